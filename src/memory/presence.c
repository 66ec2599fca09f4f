/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory/presence.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <uiommu/types.h>
#include <unistd.h>

#include "memory/areas.h"
#include "memory/copy.h"
#include "memory/demand.h"
#include "memory/load.h"
#include "memory/region.h"
#include "util/util.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

enum { PAGE_LG2_LEAST = 12, PAGE_LG2_MOST = 30, WORD_BITS = 64, PROBES_MAX = 1 << 20 >> PAGE_LG2_LEAST };

struct presence {
	struct demand *demand;
	uint64_t start;
	uint64_t length;
	unsigned int page_lg2;
	uint8_t *host;
	struct region *bitmap; /* or NULL */
	int userfaultfd; /* without bitmap */
	bool minor;
	struct cds_list_head link; /* minor: in the demand's list */
};

static int map_bitmap(struct presence *presence, const struct presence_config *config)
{
	uint64_t pages = presence->length >> presence->page_lg2, bytes = (pages + WORD_BITS - 1) / WORD_BITS * sizeof(uint64_t);

	if (config->bitmap_offset % sizeof(uint64_t))
		return -EINVAL;
	return region_file(config->bitmap_fd, config->bitmap_offset, bytes, UIOMMU_READ, true, &presence->bitmap);
}

/* Touching what the file does not have is a SIGBUS from now on; or, minor, what has not been answered. */
static int watch_pages(struct presence *presence)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MISSING_SHMEM};
	struct uffdio_register range = {.range = {(uintptr_t)presence->host, presence->length},
					.mode = UFFDIO_REGISTER_MODE_MISSING};

	if (presence->minor) {
		api.features |= UFFD_FEATURE_MINOR_SHMEM;
		range.mode |= UFFDIO_REGISTER_MODE_MINOR;
	}
	if (!copy_handler_installed())
		return -EOPNOTSUPP;
	presence->userfaultfd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (presence->userfaultfd < 0)
		return errno == EMFILE || errno == ENOMEM ? -errno : -EOPNOTSUPP;
	if (ioctl(presence->userfaultfd, UFFDIO_API, &api) || ioctl(presence->userfaultfd, UFFDIO_REGISTER, &range))
		return errno == ENOMEM ? -ENOMEM : -EOPNOTSUPP;
	return 0;
}

static int check_pages(const struct presence *presence)
{
	uint64_t mask = (UINT64_C(1) << presence->page_lg2) - 1;

	if (presence->page_lg2 < PAGE_LG2_LEAST || presence->page_lg2 > PAGE_LG2_MOST)
		return -EINVAL;
	return (presence->start | presence->length) & mask ? -EINVAL : 0;
}

int presence_create(const struct presence_config *config, uint8_t *host, uint64_t length, struct presence **out)
{
	struct presence *presence = calloc(1, sizeof(*presence));
	int error;

	if (!presence)
		return -ENOMEM;
	*presence = (struct presence){
		.demand = demand_get(config->demand),
		.start = config->start,
		.length = length,
		.page_lg2 = config->page_lg2,
		.host = host,
		.userfaultfd = -1,
		.minor = config->minor,
	};
	error = check_pages(presence);
	if (!error && config->bitmap_fd < 0 && ((UINT64_C(1) << config->page_lg2) != page_size() || (uintptr_t)host % page_size()))
		error = -EINVAL;
	if (!error)
		error = config->bitmap_fd < 0 ? watch_pages(presence) : map_bitmap(presence, config);
	if (error) {
		presence->minor = false; /* it is in no list */
		presence_free(presence);
		return error;
	}
	if (presence->minor)
		demand_add(presence->demand, presence);
	*out = presence;
	return 0;
}

void presence_free(struct presence *presence)
{
	if (!presence)
		return;
	if (presence->minor)
		demand_remove(presence->demand, presence);
	region_put(presence->bitmap);
	if (presence->userfaultfd >= 0)
		close(presence->userfaultfd);
	demand_put(presence->demand);
	free(presence);
}

bool presence_equal(const struct presence *a, const struct presence *b)
{
	if (!a || !b)
		return a == b;
	if (a->demand != b->demand || a->start != b->start || a->page_lg2 != b->page_lg2 || !a->bitmap != !b->bitmap ||
	    a->minor != b->minor)
		return false;
	return !a->bitmap || region_equal(a->bitmap, b->bitmap);
}

/* Acquire: what the supplier has written to the page comes before its bit. */
static bool bit_is_set(const struct presence *presence, uint64_t page)
{
	uint64_t word;

	return load_u64(region_host(presence->bitmap) + page / WORD_BITS * sizeof(word), &word) && word >> page % WORD_BITS & 1;
}

static bool page_is_there(const struct presence *presence, uint64_t page)
{
	uint64_t word;

	if (presence->bitmap)
		return bit_is_set(presence, page);
	if (!load_u64(presence->host + (page << presence->page_lg2), &word))
		return false;
	__asm__ volatile("" : : "r"(word)); /* it has to be loaded, for all that nobody wants to know it */
	return true;
}

uint64_t presence_length(const struct presence *presence, uint64_t offset, uint64_t length)
{
	uint64_t first = offset >> presence->page_lg2, last = (offset + (length - 1)) >> presence->page_lg2, page = first;

	last = min_u64(last, first + PROBES_MAX - 1);
	while (page <= last && page_is_there(presence, page))
		page++;
	return page == first ? 0 : min_u64(length, (page << presence->page_lg2) - offset);
}

void presence_page(const struct presence *presence, uint64_t offset, uint64_t *start, uint64_t *last)
{
	*start = presence->start + (offset >> presence->page_lg2 << presence->page_lg2);
	*last = *start + ((UINT64_C(1) << presence->page_lg2) - 1);
}

struct demand *presence_demand(const struct presence *presence)
{
	return presence->demand;
}

struct cds_list_head *presence_link(struct presence *presence)
{
	return &presence->link;
}

struct presence *presence_of_link(struct cds_list_head *link)
{
	return container_of(link, struct presence, link);
}

uint64_t presence_start(const struct presence *presence)
{
	return presence->start;
}

uint64_t presence_last(const struct presence *presence)
{
	return presence->start + (presence->length - 1);
}

/* One page at a time: those that the file does not have, or that are present already, are in nobody's way. */
void presence_answered(const struct presence *presence, uint64_t start, uint64_t last)
{
	uint64_t size = UINT64_C(1) << presence->page_lg2, offset = (start - presence->start) & ~(size - 1);
	struct uffdio_continue page = {.range.len = size, .mode = UFFDIO_CONTINUE_MODE_DONTWAKE};

	for (; offset <= last - presence->start; offset += size) {
		page.range.start = (uintptr_t)presence->host + offset;
		ioctl(presence->userfaultfd, UFFDIO_CONTINUE, &page);
	}
}

uint64_t area_offset(const struct area *area, uint64_t address)
{
	return (uint64_t)((uintptr_t)area->host - (uintptr_t)region_host(area->region)) + (address - area->start);
}

unsigned int area_absence(const struct area *area, uint64_t address)
{
	const struct presence *presence = region_presence(area->region);

	if (!presence)
		return UIOMMU_FAULT_MEMORY;
	return presence_length(presence, area_offset(area, address), 1) ? UIOMMU_FAULT_NONE : UIOMMU_FAULT_ABSENT;
}

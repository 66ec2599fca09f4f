/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory that is supplied when it is needed, once with a presence bitmap, once with the file's own pages, and once with those
 * that have been answered. What the guest has is in an image; the RAM is empty, and pages come over one by one.
 */
#ifndef TESTS_UNIT_DEMAND_H
#define TESTS_UNIT_DEMAND_H

#include "guest.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <uiommu/bind.h>
#include <uiommu/guest_memory.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

enum { WORD = 0x1234, THREADS = 4 };

static struct {
	uint8_t *image; /* what the guest has; tables are built here, at() leads here */
	uint8_t *ram; /* the VMM's mapping of the file */
	uint64_t *bits; /* of both regions, low and high; NULL: there is no bitmap */
	int bitmap_fd, userfaultfd;
	bool minor; /* what is in the file counts when it has been answered */
	bool answers; /* this is the process that can */
	uint32_t queue;
	unsigned int supplied;
} d;

/* --- the VMM's side --- */

static inline uint64_t offset_of(uint64_t gpa)
{
	return gpa < LOW_BYTES ? gpa : gpa - HOLE;
}

static inline int answer(uint64_t gpa, uint64_t length, unsigned int response)
{
	const struct uiommu_range range = {gpa, gpa + length - 1};

	return uiommu_demand_answer(g.context, d.queue, &range, response);
}

static inline void supply(uint64_t gpa)
{
	uint64_t offset = offset_of(gpa);

	assert_int_equal(gpa % PAGE, 0);
	assert_true(offset < RAM_BYTES);
	if (d.minor) {
		memcpy(d.ram + offset, d.image + offset, PAGE);
		if (d.answers)
			assert_int_equal(answer(gpa, PAGE, UIOMMU_RESPONSE_SUCCESS), 0);
	} else if (d.bits) {
		memcpy(d.ram + offset, d.image + offset, PAGE);
		__atomic_fetch_or(&d.bits[offset / PAGE / 64], UINT64_C(1) << offset / PAGE % 64, __ATOMIC_RELEASE);
	} else {
		struct uffdio_copy copy = {.dst = (uintptr_t)d.ram + offset, .src = (uintptr_t)d.image + offset, .len = PAGE};

		/* It may be there: pages are told again when something else ended. */
		assert_true(!ioctl(d.userfaultfd, UFFDIO_COPY, &copy) || errno == EEXIST);
	}
	d.supplied++;
}

static inline bool wanted(void)
{
	struct pollfd fd = {.fd = uiommu_demand_fd(g.context, d.queue), .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

/* The next page that somebody waits for. */
static inline uint64_t next_wanted(void)
{
	struct pollfd fd = {.fd = uiommu_demand_fd(g.context, d.queue), .events = POLLIN};
	struct uiommu_demand_page page;

	assert_int_equal(poll(&fd, 1, -1), 1);
	assert_int_equal(uiommu_demand_read(g.context, d.queue, &page, 1), 1);
	assert_int_equal(page.length, PAGE);
	return page.gpa;
}

static inline void give(uint64_t gpa)
{
	supply(gpa);
	assert_int_equal(answer(gpa, PAGE, UIOMMU_RESPONSE_SUCCESS), 0);
}

/* Our own mapping of the file, in which pages are put as a whole. */
static inline int watch_own(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_MISSING_SHMEM};
	struct uffdio_register range = {.range = {(uintptr_t)d.ram, RAM_BYTES}, .mode = UFFDIO_REGISTER_MODE_MISSING};

	d.userfaultfd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	return d.userfaultfd < 0 || ioctl(d.userfaultfd, UFFDIO_API, &api) || ioctl(d.userfaultfd, UFFDIO_REGISTER, &range) ? -1
															    : 0;
}

static inline struct uiommu_guest_region region(uint64_t gpa, uint64_t offset, uint64_t length)
{
	return (struct uiommu_guest_region){
		.gpa = gpa,
		.length = length,
		.offset = offset,
		.fd = g.fd,
		.access = UIOMMU_READ | UIOMMU_WRITE,
		.flags = UIOMMU_GUEST_ON_DEMAND | (d.minor ? UIOMMU_GUEST_MINOR : 0),
		.demand_id = d.queue,
		.bitmap_fd = d.bits ? d.bitmap_fd : -1,
		.page_lg2 = 12,
		.bitmap_offset = d.bits ? offset / PAGE / 8 : 0,
	};
}

static inline int change(const struct uiommu_range *remove, const struct uiommu_guest_region *add, uint32_t add_count)
{
	const struct uiommu_guest_memory memory = {.size = sizeof(memory),
						   .ioas_id = g.ioas,
						   .remove_count = remove != NULL,
						   .remove = remove,
						   .add_count = add_count,
						   .add = add};

	return uiommu_guest_memory_update(g.context, &memory);
}

static const struct uiommu_range all = {0, UINT64_MAX};

static inline int map_on_demand(void)
{
	const struct uiommu_guest_region both[] = {region(0, 0, LOW_BYTES), region(HIGH_START, LOW_BYTES, RAM_BYTES - LOW_BYTES)};

	return change(&all, both, 2);
}

static inline void make(bool bitmap)
{
	traps_on();
	guest_make(0, 0);
	memset(&d, 0, sizeof(d));
	d.ram = g.bytes;
	d.image = g.bytes = calloc(1, RAM_BYTES); /* guest.h builds here now */
	d.userfaultfd = -1;
	d.bitmap_fd = memfd_create("bitmap", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(d.bitmap_fd, RAM_PAGES / 8), 0);
	assert_int_equal(fcntl(d.bitmap_fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	if (bitmap)
		d.bits = mmap(NULL, RAM_PAGES / 8, PROT_READ | PROT_WRITE, MAP_SHARED, d.bitmap_fd, 0);
	assert_int_equal(uiommu_demand_alloc(g.context, &d.queue), 0);
}

static inline int setup_bitmap(void **state)
{
	(void)state;
	make(true);
	return map_on_demand();
}

static inline int setup_pages(void **state)
{
	(void)state;
	make(false);
	return 0;
}

/* All of the file is there from the start, and means nothing. */
static inline int setup_minor(void **state)
{
	setup_pages(state);
	d.minor = d.answers = true;
	memset(d.ram, 0, RAM_BYTES);
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	uiommu_device_put(g.device);
	assert_int_equal(uiommu_close(g.context), 0);
	if (d.userfaultfd >= 0)
		close(d.userfaultfd);
	munmap(d.ram, RAM_BYTES);
	if (d.bits)
		munmap(d.bits, RAM_PAGES / 8);
	free(d.image);
	close(d.bitmap_fd);
	close(g.fd);
	return 0;
}

/* At the beginning of each test: false: it cannot be done here, and has said why. */
static inline bool ready(void)
{
	int error;

	traps_on();
	if (d.bits)
		return true;
	if (!d.minor && watch_own()) {
		print_message("# skipped: userfaultfd: %s\n", strerror(errno));
		skip();
	}
	error = map_on_demand();
	if (error == -EOPNOTSUPP) {
		print_message("# skipped: no userfaultfd for %sshared memory\n", d.minor ? "minor faults of " : "");
		skip();
	}
	assert_int_equal(error, 0);
	return true;
}

static inline void bind_memory(void)
{
	struct uiommu_bind_shared shared = {.ioas_id = g.ioas, .access = UIOMMU_READ | UIOMMU_WRITE};
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = g.device_id,
		.pasid = PASID,
		.type = UIOMMU_BIND_SHARED,
		.data = &shared,
		.data_len = sizeof(shared),
		.fault_queue_id = g.queue,
	};

	assert_int_equal(uiommu_bind(g.context, &bind), 0);
}

/* --- threads that wait --- */

struct access {
	pthread_t thread;
	uint64_t address;
	uint64_t value;
	int error;
	struct uiommu_dma_result result;
};

static inline void *read_word(void *opaque)
{
	struct access *access = opaque;

	access->error = uiommu_dma_read(g.device, PASID, access->address, &access->value, 8, &access->result);
	return NULL;
}

static inline void start(struct access *access, uint64_t address)
{
	*access = (struct access){.address = address};
	assert_int_equal(pthread_create(&access->thread, NULL, read_word, access), 0);
}

static inline void check(struct access *access, unsigned int reason)
{
	pthread_join(access->thread, NULL);
	assert_int_equal(access->error, reason ? -EFAULT : 0);
	assert_int_equal(access->result.fault.reason, reason);
}

/* The three ways. */
#define IN_ALL(test)                                                                                                               \
	cmocka_unit_test_setup_teardown(test, setup_bitmap, tear_down), {#test "_pages", test, setup_pages, tear_down, NULL},      \
	{                                                                                                                          \
#test "_minor", test, setup_minor, tear_down, NULL                                                                 \
	}

#endif

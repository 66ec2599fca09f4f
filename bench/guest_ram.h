/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest's memory as an IOAS, and VT-d's page tables in it. */
#ifndef BENCH_GUEST_RAM_H
#define BENCH_GUEST_RAM_H

#include <sys/mman.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "support/support.h"

enum { PAGE = 4096 };

#define RAM_BYTES (UINT64_C(64) << 20)
#define VA UINT64_C(0x7f0000000000)

struct guest {
	struct uiommu_context *context;
	uint32_t ioas;
	uint8_t *ram;
	uint64_t next_page;
};

static inline void guest_make(struct guest *guest)
{
	struct uiommu_ioas_map map = {.size = sizeof(map),
				      .flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
				      .source = UIOMMU_MAP_FILE,
				      .length = RAM_BYTES};

	map.fd = memfd_create("ram", MFD_CLOEXEC);
	support_check(map.fd >= 0 && !ftruncate(map.fd, (off_t)RAM_BYTES));
	guest->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, map.fd, 0);
	support_check(guest->ram != MAP_FAILED);
	support_check(!uiommu_open(NULL, &guest->context));
	support_check(!uiommu_ioas_alloc(guest->context, &guest->ioas));
	map.ioas_id = guest->ioas;
	support_check(!uiommu_ioas_map(guest->context, &map));
	close(map.fd);
}

static inline uint64_t *words_at(const struct guest *guest, uint64_t address)
{
	return (uint64_t *)(void *)(guest->ram + address);
}

static inline uint64_t page_new(struct guest *guest)
{
	guest->next_page += PAGE;
	support_check(guest->next_page < RAM_BYTES);
	return guest->next_page;
}

/* Four levels; tables have the permissions and the accessed bit of @entry. */
static inline void map_page(struct guest *guest, uint64_t root, uint64_t address, uint64_t entry)
{
	uint64_t table = root;

	for (unsigned int shift = 39; shift > 12; shift -= 9) {
		uint64_t *next = words_at(guest, table) + (address >> shift & 511);

		if (!*next)
			*next = page_new(guest) | (entry & 0x27);
		table = *next & ~UINT64_C(0xfff);
	}
	words_at(guest, table)[address >> 12 & 511] = entry;
}

#endif

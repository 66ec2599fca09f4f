/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is mapped of a caller: a piece of its memory, or of a file. As long as page tables map it, it counts as pinned in the memory
 * of whoever has mapped it, each page once however often it is mapped. Nothing is held by that: docs/iommufd.md.
 */
#ifndef ABI_PAGES_H
#define ABI_PAGES_H

#include <urcu/list.h>

#include "abi/abi.h"
#include "iommu/ioas.h"

struct region;

/* An address of a caller's memory, or a place in a file. */
struct abi_place {
	struct abi_memory *memory; /* or NULL */
	uint64_t device, inode; /* or 0 */
	uint64_t offset; /* address, or in the file */
};

/* All that one iommufd has mapped. */
struct abi_pages_list {
	struct cds_list_head link;
	pthread_mutex_t lock; /* a leaf, also of the pages in it */
	struct cds_list_head pages;
};

void abi_pages_list_init(struct abi_pages_list *list);
void abi_pages_list_fini(struct abi_pages_list *list);

/* The opaque of a struct ioas_source with abi_pages_make(). */
struct abi_pages_source {
	struct abi_pages_list *list;
	struct abi_caller *caller;
	enum abi_accounting accounting;
};

/* Of a map of OWN, an address of the caller; of FILE, @map->fd is a descriptor of the caller. */
int abi_pages_make(void *opaque, const struct uiommu_ioas_map *map, unsigned int access, struct region **out);

/*
 * What is accounted to anybody is accounted to @memory from now on. -EINVAL: there is something that is no file's; -ENOMEM: beyond
 * the limit, and nothing has changed.
 */
int abi_pages_change(struct abi_pages_list *list, struct abi_memory *memory, enum abi_accounting accounting);

/*
 * Bytes @start to @end have gone from a file: who observes the memory that has them pinned, mapped by a descriptor, is told @how,
 * once of each map.
 */
void abi_pages_cut(uint64_t device, uint64_t inode, uint64_t start, uint64_t end, unsigned int how);

/* --- dma-bufs --- */

/* -ENOMEM, -EMFILE. */
int abi_dmabuf_create(uint64_t length, struct abi_file **out);
/* Nothing of it can be mapped any more, or used where it is; or again. -EINVAL: it is another kind of file. */
int abi_dmabuf_revoke(struct abi_file *file, bool revoked);
/* -EINVAL (it is another kind of file; beyond its end), -ENODEV (it has been revoked), -ENOMEM. */
int abi_dmabuf_region(struct abi_file *file, uint64_t start, uint64_t length, unsigned int access, struct region **out);

/* --- for those who want to know what memory is the same --- */

/* @offset: as an area's host is. False: nobody's. */
bool abi_region_place(const struct region *region, uint64_t offset, struct abi_place *out);

/* Is that what is at @address of @memory? */
bool abi_place_is(const struct abi_place *place, struct abi_memory *memory, uint64_t address);

/* How many maps of any iommufd have the page at @address of @memory pinned. */
unsigned int abi_pages_count(struct abi_memory *memory, uint64_t address);

#endif

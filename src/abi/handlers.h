/* SPDX-License-Identifier: BSD-3-Clause */
/* An iommufd as its commands' handlers see it, and the handlers. */
#ifndef ABI_HANDLERS_H
#define ABI_HANDLERS_H

#include "abi/command.h"
#include "abi/iommufd.h"
#include "abi/pages.h"
#include "abi/spec.h"
#include "abi/type1.h"

struct iommufd {
	struct abi_file file;
	struct uiommu_context *context;
	struct abi_pages_list pages;
	pthread_mutex_t lock; /* of what follows; a leaf */
	bool accounts_memory; /* IOMMU_OPTION_RLIMIT_MODE */
	bool nests; /* there has been a guest's page table; atomic */
	struct cds_list_head mmaps; /* struct abi_mmap */
	struct mock *mock; /* or NULL */
	uint32_t vfio_ioas; /* IOMMU_VFIO_IOAS; 0: none */
};

/* Who counts what is mapped by @call. */
struct abi_pages_source abi_source_of(struct abi_call *call);

/* What may be mapped of the iommufd, all of it at once: a page's offset is its number. */
struct abi_mmap {
	struct cds_list_head link;
	uint64_t offset, length;
	int fd;
	struct object *owner; /* used as often as it is mapped */
	unsigned int count;
};

/* @region->length, @fd and @owner are set; @offset is chosen. */
void abi_mmap_add(struct iommufd *iommufd, struct abi_mmap *region);
void abi_mmap_remove(struct iommufd *iommufd, struct abi_mmap *region);

int abi_ioas_alloc(struct abi_call *call);
int abi_ioas_allow_iovas(struct abi_call *call);
int abi_ioas_iova_ranges(struct abi_call *call);
int abi_ioas_map(struct abi_call *call);
int abi_ioas_map_file(struct abi_call *call);
int abi_ioas_copy(struct abi_call *call);
int abi_ioas_unmap(struct abi_call *call);
int abi_ioas_change_process(struct abi_call *call);
int abi_option(struct abi_call *call);
int abi_vfio_ioas(struct abi_call *call);

/* What is not Linux's (extensions.c). */
int abi_extension(struct abi_call *call, unsigned int command);

int abi_hwpt_alloc(struct abi_call *call);
int abi_get_hw_info(struct abi_call *call);
int abi_hwpt_set_dirty_tracking(struct abi_call *call);
int abi_hwpt_get_dirty_bitmap(struct abi_call *call);
int abi_hwpt_invalidate(struct abi_call *call);
int abi_fault_queue_alloc(struct abi_call *call);
int abi_viommu_alloc(struct abi_call *call);
int abi_vdevice_alloc(struct abi_call *call);
int abi_veventq_alloc(struct abi_call *call);
int abi_hw_queue_alloc(struct abi_call *call);

#endif

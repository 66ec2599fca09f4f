/* SPDX-License-Identifier: BSD-3-Clause */
/* Files that events are read from. They keep their iommufd, and their object from being destroyed. */
#ifndef ABI_EVENTS_H
#define ABI_EVENTS_H

#include "abi/handlers.h"

/* A fault queue as iommufd has it. Errors as uiommu_fault_queue_alloc(). */
int abi_fault_queue(struct uiommu_context *context, uint32_t *out_id);

/* -ENOENT, -EMFILE, -ENOMEM. */
int abi_fault_file(struct iommufd *iommufd, uint32_t id, struct abi_file **out);
int abi_veventq_file(struct iommufd *iommufd, uint32_t id, struct abi_file **out);

#endif

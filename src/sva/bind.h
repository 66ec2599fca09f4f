/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SVA_BIND_H
#define SVA_BIND_H

#include <uiommu/bind.h>

struct device;
struct hwpt;

/* As uiommu_bind(), but only for a process that is bound in the same way already; -ENOENT if it is not. */
int bind_again(struct uiommu_context *context, struct uiommu_bind *bind);

/* Every bind of a PASID that has been freed, however often it was bound; waits for nothing. */
void bind_end_pasid(struct uiommu_context *context, uint32_t pasid);

/* The HWPT of a bind, inside a call of it, or NULL. */
struct hwpt *bind_hwpt_get(struct uiommu_context *context, uint32_t device_id, uint32_t pasid);

/* Every bind of @device, or, if that is NULL, of a context that closes; waits for those that are draining too. */
void bind_end_all(struct uiommu_context *context, const struct device *device);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* PASID sets as objects of a context. */
#ifndef PASID_SET_H
#define PASID_SET_H

#include "iommu/object.h"
#include "pasid/pasid.h"

/*
 * The set @id, and to be put, an object, for the length of a call; NULL for the context's own set, which needs none. NULL if there
 * is no such set.
 */
struct pasid_set *set_get(struct uiommu_context *context, uint32_t id, struct object **inside);
void set_put(struct object *inside);

struct vpasid_table;

/* Of a set's object: its table of vPASIDs, which is made with the first call. -ENOMEM, -ENOSPC. */
int set_vpasids(struct object *object, struct vpasid_table **out);

#endif

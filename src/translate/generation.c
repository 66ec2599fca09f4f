/* SPDX-License-Identifier: BSD-3-Clause */
#include "translate/generation.h"

#include "translate/space.h"
#include "util/rcu.h"

uint32_t attach_generation(struct uiommu_device *device, uint32_t pasid)
{
	const struct attachment *attachment;
	uint32_t generation = 0;

	thread_self();
	rcu_enter();
	attachment = rcu_read(device->table.tables);
	if (!attachment)
		attachment = attach_table_find(&device->table, pasid);
	if (attachment && !__atomic_load_n(&attachment->draining, __ATOMIC_RELAXED))
		generation = attachment->generation;
	rcu_leave();
	return generation;
}

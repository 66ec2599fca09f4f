/* SPDX-License-Identifier: BSD-3-Clause */
#include "translate/recover.h"

#include "translate/inflight.h"
#include "translate/space.h"
#include "util/rcu.h"

bool fault_is_recoverable(const struct uiommu_fault *fault)
{
	switch (fault->reason) {
	case UIOMMU_FAULT_UNMAPPED:
	case UIOMMU_FAULT_PERMISSION:
	case UIOMMU_FAULT_MEMORY:
		return true;
	default:
		return false;
	}
}

void recover_set(bool recovers)
{
	thread_self()->recovers = recovers;
}

void recover_failed(struct uiommu_device *device, const struct uiommu_fault *fault)
{
	struct thread_state *self = thread_self();
	struct attachment *attachment;
	struct inflight_slot *slot;

	rcu_enter();
	attachment = attach_table_find(&device->table, fault->pasid);
	if (!attachment || !attachment->sink || __atomic_load_n(&attachment->draining, __ATOMIC_RELAXED)) {
		rcu_leave();
		return;
	}
	slot = inflight_enter(self, &attachment->drain);
	rcu_leave();
	attachment->sink->event(attachment->sink, fault);
	inflight_leave(slot);
}

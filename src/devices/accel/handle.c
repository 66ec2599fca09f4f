/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What PASIDs and handles stand for.
 *
 * A handle is (PASID, generation): it ends by itself when the attachment does, because what comes next has another generation.
 *
 * Generations are looked up when a task begins, and again before everything that is written for it. Most often nothing has changed,
 * and one look at the few PASIDs of the turn says so for all of its tasks.
 */
#include <errno.h>
#include <stdlib.h>

#include "devices/accel/task.h"
#include "translate/generation.h"

enum { HANDLES = 1 << 16 };

static uint64_t entry_make(uint32_t pasid, uint32_t generation)
{
	return (uint64_t)generation << 32 | pasid;
}

static bool entry_ended(struct uiommu_accel *accel, uint64_t entry)
{
	return attach_generation(accel->own.device, (uint32_t)entry) != entry >> 32;
}

/* 0 also between a reset and the end of what was before. */
static uint32_t generation_now(struct uiommu_accel *accel, uint32_t pasid)
{
	const struct engine_tenant *tenant = accel->tenant;

	return unlikely(__atomic_load_n(&tenant->barred, __ATOMIC_ACQUIRE)) ? 0 : attach_generation(tenant->device, pasid);
}

uint32_t accel_generation(struct uiommu_accel *accel, uint32_t pasid)
{
	struct place *seen = &accel->seen[pasid % SEEN];

	if (seen->pasid != pasid || !seen->generation) {
		accel->seen_overflow |= seen->generation != 0;
		seen->pasid = pasid;
		seen->generation = generation_now(accel, pasid);
	}
	return seen->generation;
}

void accel_forget(struct uiommu_accel *accel)
{
	for (unsigned int i = 0; i < SEEN; i++)
		accel->seen[i].generation = 0;
	accel->seen_overflow = false;
	accel->turn++;
}

bool accel_unchanged(struct uiommu_accel *accel)
{
	if (unlikely(accel->seen_overflow))
		return false;
	for (unsigned int i = 0; i < SEEN; i++) {
		const struct place *seen = &accel->seen[i];

		if (seen->generation && generation_now(accel, seen->pasid) != seen->generation)
			return false;
	}
	return true;
}

static uint64_t handle_entry(const struct uiommu_accel *accel, uint16_t handle)
{
	return handle && handle < accel->handles_end ? accel->handles[handle] : 0;
}

bool place_valid(struct uiommu_accel *accel, const struct place *place, uint16_t handle)
{
	if (handle && handle_entry(accel, handle) != entry_make(place->pasid, place->generation))
		return false;
	return generation_now(accel, place->pasid) == place->generation;
}

enum uiommu_accel_error_code task_resolve(struct uiommu_accel *accel, struct task *task)
{
	for (unsigned int i = 0; i < PLACE_OWN; i++) {
		uint16_t handle = desc_handle(&task->desc, i);
		uint64_t entry;

		if (!handle)
			continue;
		entry = handle_entry(accel, handle);
		task->places[i] = (struct place){(uint32_t)entry, (uint32_t)(entry >> 32)};
		if (!entry || accel_generation(accel, task->places[i].pasid) != task->places[i].generation)
			return UIOMMU_ACCEL_ERROR_HANDLE;
	}
	return UIOMMU_ACCEL_ERROR_NONE;
}

enum uiommu_accel_error_code task_verify(struct uiommu_accel *accel, const struct task *task)
{
	if (!place_valid(accel, &task->places[PLACE_OWN], 0))
		return UIOMMU_ACCEL_ERROR_PASID;
	if (likely(!task->desc.handles))
		return UIOMMU_ACCEL_ERROR_NONE;
	for (unsigned int i = 0; i < PLACE_OWN; i++) {
		uint16_t handle = desc_handle(&task->desc, i);

		if (handle && !place_valid(accel, &task->places[i], handle))
			return UIOMMU_ACCEL_ERROR_HANDLE;
	}
	return UIOMMU_ACCEL_ERROR_NONE;
}

/* A handle that is free, or whose attachment has ended; 0 if there is none. */
static uint32_t handle_find(struct uiommu_accel *accel)
{
	for (; accel->handles_free < accel->handles_end; accel->handles_free++)
		if (!accel->handles[accel->handles_free])
			return accel->handles_free;
	if (accel->handles_end < HANDLES)
		return accel->handles_end;
	for (uint32_t i = 1; i < HANDLES; i++)
		if (entry_ended(accel, accel->handles[i]))
			return i;
	return 0;
}

static int grant_locked(struct uiommu_accel *accel, uint32_t pasid, uint16_t *out_handle)
{
	uint32_t generation = attach_generation(accel->own.device, pasid), handle;

	if (!generation)
		return -ENOENT;
	if (!accel->handles) {
		accel->handles = calloc(HANDLES, sizeof(*accel->handles));
		if (!accel->handles)
			return -ENOMEM;
		accel->handles_end = 1;
		accel->handles_free = 1;
	}
	handle = handle_find(accel);
	if (!handle)
		return -ENOSPC;
	accel->handles[handle] = entry_make(pasid, generation);
	if (handle == accel->handles_end)
		accel->handles_end++;
	*out_handle = (uint16_t)handle;
	return 0;
}

int uiommu_accel_grant(struct uiommu_accel *accel, uint32_t pasid, uint16_t *out_handle)
{
	int rc;

	accel_lock(accel);
	rc = grant_locked(accel, pasid, out_handle);
	accel_unlock(accel);
	return rc;
}

int uiommu_accel_revoke(struct uiommu_accel *accel, uint16_t handle)
{
	uint64_t entry;
	int rc;

	accel_lock(accel);
	entry = handle_entry(accel, handle);
	rc = !entry || entry_ended(accel, entry) ? -ENOENT : 0;
	if (entry) {
		accel->handles[handle] = 0;
		accel->handles_free = (uint32_t)min_u64(accel->handles_free, handle);
	}
	accel_unlock(accel);
	return rc;
}

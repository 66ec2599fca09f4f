/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uiommu/types.h>
#include <unistd.h>

uint64_t page_size(void)
{
	static uint64_t cached;
	uint64_t size = __atomic_load_n(&cached, __ATOMIC_RELAXED);

	if (!size) {
		size = (uint64_t)sysconf(_SC_PAGESIZE);
		__atomic_store_n(&cached, size, __ATOMIC_RELAXED);
	}
	return size;
}

bool feature_is_off(const char *name)
{
	const char *list = secure_getenv("UIOMMU_WITHOUT");
	size_t length = strlen(name);

	while (list && *list) {
		size_t next = strcspn(list, ",");

		if (next == length && !strncmp(list, name, length))
			return true;
		list += next + (list[next] == ',');
	}
	return false;
}

int copy_struct(void *out, size_t known, size_t least, const void *in, size_t size)
{
	const uint8_t *bytes = in;

	if (size == known) {
		memcpy(out, in, known);
		return 0;
	}
	if (size < least)
		return -EINVAL;
	for (size_t i = known; i < size; i++)
		if (bytes[i])
			return -E2BIG;
	memset(out, 0, known);
	memcpy(out, in, size < known ? size : known);
	return 0;
}

const char *uiommu_version(void)
{
	return UIOMMU_VERSION;
}

const char *uiommu_fault_reason_name(unsigned int reason)
{
	static const char *const names[UIOMMU_FAULT_REASONS] = {
		[UIOMMU_FAULT_NONE] = "none",
		[UIOMMU_FAULT_NOT_ATTACHED] = "not attached",
		[UIOMMU_FAULT_DRAINING] = "draining",
		[UIOMMU_FAULT_UNMAPPED] = "unmapped",
		[UIOMMU_FAULT_PERMISSION] = "permission",
		[UIOMMU_FAULT_ATTACHMENT] = "attachment does not permit it",
		[UIOMMU_FAULT_GONE] = "process gone",
		[UIOMMU_FAULT_MEMORY] = "memory error",
		[UIOMMU_FAULT_ATOMIC] = "atomic not supported",
		[UIOMMU_FAULT_NOT_DIRECT] = "not directly accessible",
		[UIOMMU_FAULT_RANGE] = "address out of range",
		[UIOMMU_FAULT_RESERVED] = "malformed table entry",
		[UIOMMU_FAULT_PRIVILEGE] = "privilege",
		[UIOMMU_FAULT_OUTPUT] = "output address out of range",
		[UIOMMU_FAULT_ACCESS_FLAG] = "access flag",
		[UIOMMU_FAULT_UPDATE] = "table entry not writable",
		[UIOMMU_FAULT_BLOCKED] = "blocked",
		[UIOMMU_FAULT_ABSENT] = "absent",
	};

	return reason < ARRAY_SIZE(names) ? names[reason] : "unknown";
}

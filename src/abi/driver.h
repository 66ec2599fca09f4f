/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What stands behind a device of an iommufd: the formats that it knows of nested page tables, what its registers say, its vIOMMUs.
 * There are two: uiommu itself (driver.c) and the devices of the kernel's selftests (mock.c).
 */
#ifndef ABI_DRIVER_H
#define ABI_DRIVER_H

#include <uiommu/dirty.h>

#include "abi/handlers.h"

struct viommu;

/* Of an invalidation. */
struct abi_entries {
	uint32_t type;
	uint32_t count;
	const void *entries;
};

enum { ABI_ENTRIES_MAX = 64, ABI_ENTRY_MAX = 32 };

struct abi_entry_rules {
	uint32_t known; /* bytes of one; those that the caller does not have are 0, and what he has beyond has to be */
	bool together; /* all can be read, or nothing is done */
};

struct abi_driver {
	/* A paging HWPT. @flags: enum uiommu_hwpt_flags, already known. -EOPNOTSUPP, and those of uiommu_hwpt_alloc(). */
	int (*hwpt_paging)(struct abi_call *call, const struct abi_hwpt_alloc *arguments, const struct uiommu_hwpt_alloc *alloc,
			   uint32_t *out_id);
	/* A nested one on @parent_id; @viommu: on a vIOMMU, or NULL. */
	int (*hwpt_nested)(struct abi_call *call, const struct abi_hwpt_alloc *arguments, uint32_t parent_id, struct viommu *viommu,
			   uint32_t *out_id);
	/*
	 * Forget what entries say, one behind the other as they are known here: of the nested HWPT @id, or of @viommu, if that is
	 * not NULL. *@done of them are, also if the next one is -EINVAL, -EOPNOTSUPP, -EIO.
	 */
	int (*invalidate)(struct abi_call *call, uint32_t id, struct viommu *viommu, const struct abi_entries *entries,
			  uint32_t *done);
	/*
	 * What entries are like, by their type, length and number. -EINVAL: there are no such ones; -EOPNOTSUPP: nothing is to be
	 * invalidated there.
	 */
	int (*invalidation)(const struct viommu *viommu, const struct abi_hwpt_invalidate *arguments, struct abi_entry_rules *out);
	/* Up to @size bytes of the registers of type *@type, which is in (0: the device's own) and out. Bytes there are, or
	 * -EOPNOTSUPP. */
	int (*hw_info)(struct abi_call *call, uint32_t device_id, uint32_t *type, void *buffer, size_t size,
		       uint64_t *capabilities);
	int (*set_dirty)(struct abi_call *call, uint32_t hwpt_id, uint32_t flags);
	/* @bitmap: the range's, in words of 64 bits; bits are set. */
	int (*get_dirty)(struct abi_call *call, const struct uiommu_dirty_bitmap *request);
	/* -EOPNOTSUPP: no such type. */
	int (*viommu_alloc)(struct abi_call *call, struct abi_viommu_alloc *arguments, uint32_t *out_id);
	/* How many queues of hardware of @type a vIOMMU has. */
	int (*hw_queues)(struct abi_call *call, const struct viommu *viommu, uint32_t type);
	/* An object of it has been ended by a command. */
	void (*destroyed)(struct abi_call *call, uint32_t id);
};

extern const struct abi_driver abi_uiommu;

/* Whose the device, HWPT or vIOMMU is. */
const struct abi_driver *abi_driver_of(struct abi_call *call, uint32_t id);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* IOMMU_TEST_CMD of the kernel's selftests: one struct, of which each operation has members of its own. */
#include "abi/describe.h"
#include "abi/mock.h"
#include "abi/spec.h"
#include "util/util.h"

_Static_assert(sizeof(struct mock_command) == ABI_TEST_SIZE, "the table's");

static const struct abi_name operations[] = {
	{1, "ADD_RESERVED"},
	{2, "MOCK_DOMAIN"},
	{3, "MD_CHECK_MAP"},
	{4, "MD_CHECK_REFS"},
	{5, "CREATE_ACCESS"},
	{6, "DESTROY_ACCESS_PAGES"},
	{7, "ACCESS_PAGES"},
	{8, "ACCESS_RW"},
	{9, "SET_TEMP_MEMORY_LIMIT"},
	{10, "MOCK_DOMAIN_REPLACE"},
	{11, "ACCESS_REPLACE_IOAS"},
	{12, "MOCK_DOMAIN_FLAGS"},
	{13, "DIRTY"},
	{14, "MD_CHECK_IOTLB"},
	{15, "TRIGGER_IOPF"},
	{16, "DEV_CHECK_CACHE"},
	{17, "TRIGGER_VEVENT"},
	{18, "PASID_ATTACH"},
	{19, "PASID_REPLACE"},
	{20, "PASID_DETACH"},
	{21, "PASID_CHECK_HWPT"},
	{22, "DMABUF_GET"},
	{23, "DMABUF_REVOKE"},
	{0, NULL},
};
static const struct abi_name device_flags[] = {{MOCK_NO_DIRTY, "NO_DIRTY"}, {MOCK_PASID, "PASID"}, {0, NULL}};
static const struct abi_name create_flags[] = {{1, "NEEDS_PIN_PAGES"}, {0, NULL}};
static const struct abi_name pages_flags[] = {{1, "WRITE"}, {1 << 16, "SYZ"}, {0, NULL}};
static const struct abi_name rw_flags[] = {{1, "WRITE"}, {4, "SLOW_PATH"}, {0, NULL}};

/* Named as the tests name them, without the name of the union's part. */
#define PART(part, member, name, kind, which)                                                                                      \
	{                                                                                                                          \
		name, offsetof(struct mock_command, part.member), sizeof(((struct mock_command *)NULL)->part.member), kind,        \
		{                                                                                                                  \
			.names = which                                                                                             \
		}                                                                                                                  \
	}
#define PART_NUMBER(part, member) PART(part, member, #member, ABI_NUMBER, NULL)
#define PART_HEX(part, member) PART(part, member, #member, ABI_HEX, NULL)

static const struct abi_member add_reserved[] = {PART_HEX(add_reserved, start), PART_HEX(add_reserved, length)};
static const struct abi_member mock_domain[] = {
	PART_NUMBER(device, out_stdev_id),
	PART_NUMBER(device, out_hwpt_id),
	PART_NUMBER(device, out_idev_id),
};
static const struct abi_member mock_domain_flags[] = {
	PART_NUMBER(device, out_stdev_id),
	PART_NUMBER(device, out_hwpt_id),
	PART_NUMBER(device, out_idev_id),
	PART(device, dev_flags, "dev_flags", ABI_FLAGS, device_flags),
};
static const struct abi_member replace[] = {PART_NUMBER(replace, pt_id)};
static const struct abi_member check_map[] = {PART_HEX(check_map, iova), PART_HEX(check_map, length), PART_HEX(check_map, uptr)};
static const struct abi_member check_refs[] = {PART_HEX(check_refs, length), PART_HEX(check_refs, uptr),
					       PART_NUMBER(check_refs, refs)};
static const struct abi_member create_access[] = {
	PART(create_access, out_fd, "out_access_fd", ABI_FD, NULL),
	PART(create_access, flags, "flags", ABI_FLAGS, create_flags),
};
static const struct abi_member destroy_pages[] = {PART(destroy_pages, pages_id, "access_pages_id", ABI_NUMBER, NULL)};
static const struct abi_member access_pages[] = {
	PART(access_pages, flags, "flags", ABI_FLAGS, pages_flags),
	PART(access_pages, out_pages_id, "out_access_pages_id", ABI_NUMBER, NULL),
	PART_HEX(access_pages, iova),
	PART_HEX(access_pages, length),
	PART_HEX(access_pages, uptr),
};
static const struct abi_member access_rw[] = {
	PART_HEX(access_rw, iova),
	PART_HEX(access_rw, length),
	PART_HEX(access_rw, uptr),
	PART(access_rw, flags, "flags", ABI_FLAGS, rw_flags),
};
static const struct abi_member memory_limit[] = {PART_NUMBER(memory_limit, limit)};
static const struct abi_member access_replace[] = {PART_NUMBER(access_replace, ioas_id)};
static const struct abi_member dirty[] = {
	PART_HEX(dirty, flags),	       PART_HEX(dirty, iova), PART_HEX(dirty, length),
	PART_NUMBER(dirty, page_size), PART_HEX(dirty, uptr), PART(dirty, out_count, "out_nr_dirty", ABI_NUMBER, NULL),
};
static const struct abi_member check_iotlb[] = {PART(check_cache, index, "id", ABI_NUMBER, NULL),
						PART(check_cache, value, "iotlb", ABI_HEX, NULL)};
static const struct abi_member check_cache[] = {PART(check_cache, index, "id", ABI_NUMBER, NULL),
						PART(check_cache, value, "cache", ABI_HEX, NULL)};
static const struct abi_member fault[] = {
	PART_NUMBER(fault, dev_id), PART_NUMBER(fault, pasid),
	PART_NUMBER(fault, grpid),  PART(fault, perm, "perm", ABI_FLAGS, abi_fault_permissions),
	PART_HEX(fault, addr),
};
static const struct abi_member vevent[] = {PART_NUMBER(vevent, dev_id)};
static const struct abi_member pasid_attach[] = {PART_NUMBER(pasid, pasid), PART_NUMBER(pasid, pt_id)};
static const struct abi_member pasid_detach[] = {PART_NUMBER(pasid, pasid)};
static const struct abi_member pasid_check[] = {PART_NUMBER(pasid, pasid), PART(pasid, pt_id, "hwpt_id", ABI_NUMBER, NULL)};
static const struct abi_member dmabuf_get[] = {PART_HEX(dmabuf_get, length), PART_HEX(dmabuf_get, open_flags)};
static const struct abi_member dmabuf_revoke[] = {PART(dmabuf_revoke, fd, "dmabuf_fd", ABI_FD, NULL),
						  PART_NUMBER(dmabuf_revoke, revoked)};

#define PARTS(operation, members) ABI_ELEMENT(operation, sizeof(struct mock_command), members)

static const struct abi_element parts[] = {
	PARTS(1, add_reserved),	 PARTS(2, mock_domain),	  PARTS(3, check_map),	     PARTS(4, check_refs),
	PARTS(5, create_access), PARTS(6, destroy_pages), PARTS(7, access_pages),    PARTS(8, access_rw),
	PARTS(9, memory_limit),	 PARTS(10, replace),	  PARTS(11, access_replace), PARTS(12, mock_domain_flags),
	PARTS(13, dirty),	 PARTS(14, check_iotlb),  PARTS(15, fault),	     PARTS(16, check_cache),
	PARTS(17, vevent),	 PARTS(18, pasid_attach), PARTS(19, pasid_attach),   PARTS(20, pasid_detach),
	PARTS(21, pasid_check),	 PARTS(22, dmabuf_get),	  PARTS(23, dmabuf_revoke),
};
static const struct abi_array by_operation = {0, offsetof(struct mock_command, op), UINT32_MAX, ARRAY_SIZE(parts), parts};

const struct abi_member abi_test_members[ABI_TEST_MEMBERS] = {
	ENUM(mock_command, op, operations),
	NUMBER(mock_command, id),
	{"", offsetof(struct mock_command, add_reserved), 0, ABI_UNION, {.array = &by_operation}},
};

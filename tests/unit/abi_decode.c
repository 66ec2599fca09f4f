/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls as text: what a call was given, what it led to, and what it has changed, of what is known of that and of nothing else. */
#include <uiommu/fault.h>

#include "test.h"

#include "abi/decode.h"
#include "abi/mock.h"
#include "abi/spec.h"
#include "abi/vfio_spec.h"

enum { AT = 0x1000, ELSEWHERE = 0x2000 };

static struct abi_record record;
static struct abi_text text;

static void *fresh(void)
{
	abi_record_init(&record);
	text.length = 0;
	return NULL;
}

static void was_read(uint64_t address, const void *data, size_t length)
{
	abi_record_memory(&record, address, data, length, false);
}

static void was_written(uint64_t address, const void *data, size_t length)
{
	abi_record_memory(&record, address, data, length, true);
}

/* A command whose struct is at AT, and has been read. */
static void shows(enum abi_space space, unsigned int command, int64_t result, const char *expected)
{
	const struct abi_shown call = {.record = &record, .result = result};

	abi_decode_ioctl(&text, &call, space, command, AT);
	text.bytes[text.length] = 0;
	assert_string_equal(text.bytes, expected);
	fresh();
}

static void iommufd_shows(unsigned int number, const void *data, int64_t result, const char *expected)
{
	uint32_t size;

	memcpy(&size, data, sizeof(size));
	was_read(AT, data, size);
	shows(ABI_SPACE_IOMMUFD, ABI_COMMAND(number), result, expected);
}

/* One that succeeds, and that has made @after of @before. */
static void changes(enum abi_space space, unsigned int command, const void *before, const void *after, size_t length,
		    const char *expected)
{
	was_read(AT, before, length);
	was_written(AT, after, length);
	shows(space, command, 0, expected);
}

static void flags_and_enumerations(void **state)
{
	struct abi_ioas_map map = {.size = sizeof(map), .flags = 0x17, .ioas_id = 1, .user_va = 0x5000, .length = 4096};
	const struct abi_option option = {
		.size = sizeof(option), .option_id = ABI_OPTION_HUGE_PAGES, .op = ABI_OPTION_SET, .object_id = 2};
	const struct abi_option other = {.size = sizeof(other), .option_id = 9, .op = 0x1234};

	*state = fresh();
	iommufd_shows(
		ABI_IOAS_MAP, &map, -EOPNOTSUPP,
		"IOMMU_IOAS_MAP, {flags=FIXED_IOVA|WRITEABLE|READABLE|0x10, ioas_id=1, user_va=0x5000, length=0x1000, iova=0}");
	iommufd_shows(ABI_OPTION, &option, 0, "IOMMU_OPTION, {option_id=HUGE_PAGES, op=SET, object_id=2, val64=0}");
	iommufd_shows(ABI_OPTION, &other, -EOPNOTSUPP, "IOMMU_OPTION, {option_id=9, op=0x1234, object_id=0, val64=0}");
	/* Less than the struct is all that there is. */
	map.size = offsetof(struct abi_ioas_map, user_va) + 4;
	iommufd_shows(ABI_IOAS_MAP, &map, -EINVAL, "IOMMU_IOAS_MAP, {flags=FIXED_IOVA|WRITEABLE|READABLE|0x10, ioas_id=1}");
	shows(ABI_SPACE_IOMMUFD, ABI_COMMAND(ABI_IOAS_MAP), -EFAULT, "IOMMU_IOAS_MAP, 0x1000");
	shows(ABI_SPACE_IOMMUFD, ABI_COMMAND(0xff), -ENOTTY, "0x3bff, 0x1000");
}

static void arrays(void **state)
{
	const struct abi_ioas_allow_iovas allow = {.size = sizeof(allow), .ioas_id = 1, .num_iovas = 2, .allowed_iovas = ELSEWHERE};
	struct abi_ioas_iova_ranges ask = {.size = sizeof(ask), .ioas_id = 1, .num_iovas = 1, .allowed_iovas = ELSEWHERE};
	const struct uiommu_range two[] = {{0, 0xfff}, {0x10000, 0x1ffff}};
	struct uiommu_range many[20] = {{0}};

	*state = fresh();
	iommufd_shows(ABI_IOAS_ALLOW_IOVAS, &allow, -EFAULT,
		      "IOMMU_IOAS_ALLOW_IOVAS, {ioas_id=1, num_iovas=2, allowed_iovas=0x2000}");
	/* One by one is the same. */
	was_read(ELSEWHERE, &two[0], sizeof(two[0]));
	was_read(ELSEWHERE + sizeof(two[0]), &two[1], sizeof(two[1]));
	iommufd_shows(ABI_IOAS_ALLOW_IOVAS, &allow, 0,
		      "IOMMU_IOAS_ALLOW_IOVAS, {ioas_id=1, num_iovas=2, "
		      "allowed_iovas=[{start=0, last=0xfff}, {start=0x10000, last=0x1ffff}]}");
	/* One has been written of two that there are. */
	was_read(AT, &ask, sizeof(ask));
	was_written(ELSEWHERE, two, sizeof(two[0]));
	ask.num_iovas = 2;
	was_written(AT, &ask, sizeof(ask));
	shows(ABI_SPACE_IOMMUFD, ABI_COMMAND(ABI_IOAS_IOVA_RANGES), -EMSGSIZE,
	      "IOMMU_IOAS_IOVA_RANGES, {ioas_id=1, num_iovas=1, allowed_iovas=0x2000} => "
	      "{num_iovas=2, allowed_iovas=[{start=0, last=0xfff}, ...]}");
	ask.num_iovas = 20;
	was_read(AT, &ask, sizeof(ask));
	was_written(ELSEWHERE, many, sizeof(many));
	abi_decode_ioctl(&text, &(struct abi_shown){.record = &record}, ABI_SPACE_IOMMUFD, ABI_COMMAND(ABI_IOAS_IOVA_RANGES), AT);
	text.bytes[text.length] = 0;
	assert_non_null(strstr(text.bytes, "{start=0, last=0}, ...]"));
	fresh();
}

static void data_by_type(void **state)
{
	struct abi_hwpt_alloc alloc = {.size = sizeof(alloc),
				       .flags = ABI_HWPT_PASID,
				       .dev_id = 3,
				       .pt_id = 4,
				       .data_type = ABI_HWPT_DATA_VTD_S1,
				       .data_len = sizeof(struct abi_hwpt_vtd_s1),
				       .data_uptr = ELSEWHERE},
			      allocated = alloc;
	const struct abi_hwpt_vtd_s1 vtd = {.flags = ABI_VTD_S1_SRE | ABI_VTD_S1_WPE, .pgtbl_addr = 0x7000, .addr_width = 48};
	const struct abi_hwpt_arm_smmuv3 arm = {{1, 2}};
	struct abi_hwpt_invalidate invalidate = {.size = sizeof(invalidate),
						 .hwpt_id = 5,
						 .data_uptr = ELSEWHERE,
						 .data_type = ABI_HWPT_INVALIDATE_VTD_S1,
						 .entry_len = sizeof(struct abi_hwpt_vtd_s1_invalidate),
						 .entry_num = 1};
	const struct abi_hwpt_vtd_s1_invalidate entry = {.addr = 0x1000, .npages = 16, .flags = ABI_VTD_INV_LEAF};

	*state = fresh();
	was_read(ELSEWHERE, &vtd, sizeof(vtd));
	allocated.out_hwpt_id = 5;
	changes(ABI_SPACE_IOMMUFD, ABI_COMMAND(ABI_HWPT_ALLOC), &alloc, &allocated, sizeof(alloc),
		"IOMMU_HWPT_ALLOC, {flags=PASID, dev_id=3, pt_id=4, data_type=VTD_S1, data_len=24, "
		"data_uptr={flags=SRE|WPE, pgtbl_addr=0x7000, addr_width=48}, fault_id=0} => {out_hwpt_id=5}");
	alloc.data_type = ABI_HWPT_DATA_ARM_SMMUV3;
	was_read(ELSEWHERE, &arm, sizeof(arm));
	iommufd_shows(ABI_HWPT_ALLOC, &alloc, -EIO,
		      "IOMMU_HWPT_ALLOC, {flags=PASID, dev_id=3, pt_id=4, data_type=ARM_SMMUV3, data_len=24, "
		      "data_uptr={0x1, 0x2}, fault_id=0}");
	was_read(ELSEWHERE, &entry, sizeof(entry));
	iommufd_shows(ABI_HWPT_INVALIDATE, &invalidate, 0,
		      "IOMMU_HWPT_INVALIDATE, {hwpt_id=5, data_uptr=[{addr=0x1000, npages=16, flags=LEAF}], data_type=VTD_S1, "
		      "entry_len=24, entry_num=1}");
	/* Of a type that nobody knows it is an address. */
	invalidate.data_type = 77;
	was_read(ELSEWHERE, &entry, sizeof(entry));
	iommufd_shows(ABI_HWPT_INVALIDATE, &invalidate, -EINVAL,
		      "IOMMU_HWPT_INVALIDATE, {hwpt_id=5, data_uptr=0x2000, data_type=77, entry_len=24, entry_num=1}");
}

/* Each of the selftests' operations has members of its own. */
static void selftests(void **state)
{
	struct mock_command make = {.size = sizeof(make),
				    .op = 12,
				    .id = 1,
				    .device = {.dev_flags = MOCK_NO_DIRTY | MOCK_PASID | 8}},
			    made = make;
	struct mock_command access = {.size = sizeof(access), .op = 8, .id = 5, .access_rw = {0x1000000, 16, 0x5000, 1}};
	struct mock_command dirty = {.size = sizeof(dirty),
				     .op = 13,
				     .id = 2,
				     .dirty = {0, 0x1000000, 0x4000, 2048, 0x5000, UINT64_MAX}},
			    counted = dirty;
	struct mock_command other = {.size = sizeof(other), .op = 24, .id = 7, .replace = {3}};

	*state = fresh();
	made.device.out_stdev_id = 2;
	made.device.out_hwpt_id = 3;
	made.device.out_idev_id = 4;
	changes(ABI_SPACE_IOMMUFD, ABI_COMMAND(ABI_TEST), &make, &made, sizeof(make),
		"IOMMU_TEST_CMD, {op=MOCK_DOMAIN_FLAGS, id=1, dev_flags=NO_DIRTY|PASID|0x8} => "
		"{out_stdev_id=2, out_hwpt_id=3, out_idev_id=4}");
	iommufd_shows(ABI_TEST, &access, -EFAULT,
		      "IOMMU_TEST_CMD, {op=ACCESS_RW, id=5, iova=0x1000000, length=0x10, uptr=0x5000, flags=WRITE}");
	counted.dirty.out_count = 8;
	changes(ABI_SPACE_IOMMUFD, ABI_COMMAND(ABI_TEST), &dirty, &counted, sizeof(dirty),
		"IOMMU_TEST_CMD, {op=DIRTY, id=2, flags=0, iova=0x1000000, length=0x4000, page_size=2048, uptr=0x5000} => "
		"{out_nr_dirty=8}");
	/* What is missing, and what nobody knows. */
	access.size = offsetof(struct mock_command, access_rw.uptr);
	iommufd_shows(ABI_TEST, &access, -EINVAL, "IOMMU_TEST_CMD, {op=ACCESS_RW, id=5, iova=0x1000000, length=0x10}");
	iommufd_shows(ABI_TEST, &other, -EOPNOTSUPP, "IOMMU_TEST_CMD, {op=24, id=7}");
}

static void vfio(void **state)
{
	const struct {
		struct vfio_spec_irq_set set;
		int32_t fds[2];
	} irqs = {{.argsz = sizeof(irqs), .flags = 0x24, .index = VFIO_PCI_MSIX_IRQ_INDEX, .count = 2}, {7, -1}};
	const struct vfio_region_info ask = {.argsz = 64, .index = VFIO_PCI_BAR0_REGION_INDEX};
	struct vfio_region_info info = ask;
	struct vfio_spec_sparse cap = {.id = VFIO_REGION_INFO_CAP_SPARSE_MMAP, .nr_areas = 1, .offset = 0x1000, .size = 0x2000};
	const uint32_t feature[] = {8, VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT};

	*state = fresh();
	was_read(AT, &irqs, sizeof(irqs));
	shows(ABI_SPACE_DEVICE, VFIO_DEVICE_SET_IRQS, 0,
	      "VFIO_DEVICE_SET_IRQS, {argsz=28, flags=DATA_EVENTFD|ACTION_TRIGGER, index=MSIX, start=0, count=2, data=[7, -1]}");
	was_read(AT, feature, sizeof(feature));
	shows(ABI_SPACE_DEVICE, VFIO_DEVICE_FEATURE, -ENOTTY,
	      "VFIO_DEVICE_FEATURE, {argsz=8, flags=PROBE, feature=LOW_POWER_EXIT}");
	was_read(AT, "0000:01:00.0", 13);
	shows(ABI_SPACE_DEVICE, VFIO_GROUP_GET_DEVICE_FD, 5, "VFIO_GROUP_GET_DEVICE_FD, \"0000:01:00.0\"");
	info.flags = VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS;
	info.cap_offset = sizeof(info);
	was_written(AT + sizeof(info), &cap, sizeof(cap));
	changes(ABI_SPACE_DEVICE, VFIO_DEVICE_GET_REGION_INFO, &ask, &info, sizeof(info),
		"VFIO_DEVICE_GET_REGION_INFO, {argsz=64, flags=0, index=BAR0, cap_offset=0, size=0, offset=0} => "
		"{flags=MMAP|CAPS, cap_offset=32=>[{sparse_mmap=[{offset=0x1000, size=0x2000}]}]}");
	/* A list that leads back to its begin ends nevertheless. */
	info.flags = 0;
	cap.id = 9;
	cap.next = sizeof(info);
	was_written(AT + sizeof(info), &cap, sizeof(cap));
	changes(ABI_SPACE_DEVICE, VFIO_DEVICE_GET_REGION_INFO, &ask, &info, sizeof(info),
		"VFIO_DEVICE_GET_REGION_INFO, {argsz=64, flags=0, index=BAR0, cap_offset=0, size=0, offset=0} => "
		"{cap_offset=32=>[{id=9}, {id=9}, {id=9}, {id=9}, {id=9}, {id=9}, {id=9}, {id=9}]}");
}

static void data_shows(const char *file, size_t length, bool written, const char *expected)
{
	const struct abi_shown call = {.record = &record};

	abi_decode_data(&text, &call, file, AT, length, written);
	text.bytes[text.length] = 0;
	assert_string_equal(text.bytes, expected);
	fresh();
}

static void events_and_registers(void **state)
{
	static const char faults[] = "anon_inode:[iommufd-pgfault]", events[] = "anon_inode:[iommufd-viommu-event]";
	const struct uiommu_pgfault fault = {.flags = 3, .dev_id = 1, .pasid = 5, .perm = 2, .addr = 0x3000, .cookie = 1};
	const struct uiommu_pgresponse response = {.cookie = 1, .code = 1};
	const uint32_t lost[] = {ABI_VEVENT_LOST, 7};
	const uint8_t bytes[20] = {1, 2, 3};

	*state = fresh();
	was_written(AT, &fault, sizeof(fault));
	data_shows(faults, sizeof(fault), false,
		   "[{flags=PASID_VALID|LAST_PAGE, dev_id=1, pasid=5, grpid=0, perm=WRITE, addr=0x3000, cookie=1}]");
	was_read(AT, &response, sizeof(response));
	data_shows(faults, sizeof(response), true, "[{cookie=1, code=INVALID}]");
	was_written(AT, lost, sizeof(lost));
	data_shows(events, sizeof(lost), false, "[{flags=LOST_EVENTS, sequence=7}]");
	/* Of some other type. */
	was_written(AT, bytes, 12);
	data_shows(events, 12, false, "\"\\x01\\x02\\x03\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\"");
	was_written(AT, bytes, 2);
	data_shows("[vfio-device 0000:01:00.0]", 2, false, "0x0201");
	was_read(AT, bytes, 3);
	data_shows("[vfio-device 0000:01:00.0]", 3, true, "\"\\x01\\x02\\x03\"");
	was_read(AT, bytes, sizeof(bytes));
	data_shows("[vfio-device 0000:01:00.0]", sizeof(bytes), true,
		   "\"\\x01\\x02\\x03\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\"...");
	data_shows("[vfio-device 0000:01:00.0]", 4, false, "0x1000");
}

/* More than is recorded: the first bytes and pieces. */
static void long_calls(void **state)
{
	static const uint8_t bytes[2 * ABI_RECORD_BYTES] = {1};
	size_t length;

	*state = fresh();
	was_read(AT, bytes, sizeof(bytes));
	assert_non_null(abi_record_find(&record, false, AT, &length));
	assert_int_equal(length, ABI_RECORD_BYTES);
	assert_null(abi_record_find(&record, false, AT + ABI_RECORD_BYTES, &length));
	assert_null(abi_record_find(&record, true, AT, &length));
	fresh();
	for (uint64_t i = 0; i < 2 * ABI_RECORD_PIECES; i++)
		was_read(AT + 16 * i, bytes, 8);
	assert_non_null(abi_record_find(&record, false, AT + UINT64_C(16) * (ABI_RECORD_PIECES - 1), &length));
	assert_null(abi_record_find(&record, false, AT + UINT64_C(16) * ABI_RECORD_PIECES, &length));
	fresh();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags_and_enumerations),
		cmocka_unit_test(arrays),
		cmocka_unit_test(data_by_type),
		cmocka_unit_test(selftests),
		cmocka_unit_test(vfio),
		cmocka_unit_test(events_and_registers),
		cmocka_unit_test(long_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

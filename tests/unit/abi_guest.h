/* SPDX-License-Identifier: BSD-3-Clause */
/* An iommufd with a device, a guest's memory, and guests of each architecture in it. */
#ifndef TEST_ABI_GUEST_H
#define TEST_ABI_GUEST_H

#include "abi.h"

#include <uiommu/uiommu.h>

#include "abi/iommufd.h"
#include "abi/local.h"
#include "iommu/device.h"

enum { PAGE = 4096, RAM_PAGES = 64, RAM_BYTES = RAM_PAGES * PAGE, PASID = 9, VTD = 1, ARM = 2, AMD = 3, VIRT_ID = 0x55 };

#define VA UINT64_C(0x3412345000)

static struct {
	int fd;
	struct abi_file *file;
	struct uiommu_context *context;
	struct uiommu_device *device;
	uint32_t device_id, ioas, parent;
	uint64_t *ram;
	uint64_t next;
} w;

/* @by_address: the guest's memory is mapped by its address, and not by the file that it is of. */
static inline int setup_memory(bool by_address)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .rid = 8, .name = "dma0", .pasid_bits = 20};
	struct abi_ioas_map_file map = {.size = sizeof(map), .flags = 7, .length = RAM_BYTES};
	struct abi_hwpt_alloc parent = {.size = sizeof(parent), .flags = ABI_HWPT_NEST_PARENT};
	struct abi_ioas_map own = {.size = sizeof(own), .flags = 7, .length = RAM_BYTES};

	w.fd = uiommu_abi_open("/dev/iommu", NULL);
	assert_true(w.fd >= 0);
	w.file = abi_local_file(w.fd);
	w.context = iommufd_context(w.file);
	w.next = 1;
	map.fd = memfd_create("ram", MFD_CLOEXEC);
	assert_int_equal(ftruncate(map.fd, RAM_BYTES), 0);
	w.ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, map.fd, 0);
	assert_ptr_not_equal(w.ram, MAP_FAILED);
	w.ioas = map.ioas_id = own.ioas_id = abi_ioas(w.fd);
	own.user_va = (uint64_t)(uintptr_t)w.ram;
	if (by_address)
		assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_IOAS_MAP), &own), 0);
	else
		assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_IOAS_MAP_FILE), &map), 0);
	close(map.fd);
	assert_int_equal(uiommu_device_alloc(w.context, &config, &w.device_id), 0);
	w.device = uiommu_device_get(w.context, w.device_id);
	parent.dev_id = w.device_id;
	parent.pt_id = w.ioas;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_ALLOC), &parent), 0);
	w.parent = parent.out_hwpt_id;
	return 0;
}

static inline int setup(void **state)
{
	(void)state;
	return setup_memory(false);
}

static inline int setup_by_address(void **state)
{
	(void)state;
	return setup_memory(true);
}

static inline int teardown(void **state)
{
	(void)state;
	uiommu_device_put(w.device);
	abi_file_put(w.file);
	assert_int_equal(uiommu_abi_close(w.fd), 0);
	munmap(w.ram, RAM_BYTES);
	return 0;
}

static inline uint64_t page_new(void)
{
	assert_true(w.next < RAM_PAGES);
	return w.next++ * PAGE;
}

static inline uint64_t *at(uint64_t gpa)
{
	return w.ram + gpa / 8;
}

/* The leaf of VA below @root, whose index ends at bit @top; what leads to tables has @bits. */
static inline uint64_t *leaf_of(uint64_t root, unsigned int top, uint64_t bits)
{
	uint64_t table = root;

	for (unsigned int shift = top; shift > 12; shift -= 9) {
		uint64_t *entry = at(table) + (VA >> shift & 511);

		if (!*entry)
			*entry = page_new() | bits;
		table = *entry & UINT64_C(0x000ffffffffff000);
	}
	return at(table) + (VA >> 12 & 511);
}

/* A guest with a page table for VA, of an architecture. */
struct guest {
	uint32_t type, length;
	uint64_t data[4]; /* of the HWPT */
	uint64_t *leaf;
	uint64_t page_bits;
};

static inline struct guest vtd_guest(void)
{
	uint64_t root = page_new();

	return (struct guest){.type = VTD,
			      .length = sizeof(struct abi_hwpt_vtd_s1),
			      .data = {0, root, 48},
			      .leaf = leaf_of(root, 39, 7),
			      .page_bits = 7};
}

/* IHI 0070, 5.2 and 5.4: one CD, 39 bits of 4K pages in the lower half. */
static inline struct guest arm_guest(void)
{
	uint64_t root = page_new(), cd = page_new();

	at(cd)[0] = 25 | UINT64_C(1) << 30 | UINT64_C(1) << 31 | UINT64_C(5) << 32 | UINT64_C(1) << 41 | UINT64_C(3) << 45 |
		    UINT64_C(7) << 48;
	at(cd)[1] = root;
	at(cd)[3] = 0xff;
	return (struct guest){.type = ARM,
			      .length = sizeof(struct abi_hwpt_arm_smmuv3),
			      .data = {1 | 5 << 1 | cd},
			      .leaf = leaf_of(root, 30, 3),
			      .page_bits = 0x443};
}

/* 48882, 2.2.2.1: a GCR3 table of one level, which requests without PASID use, too. */
static inline struct guest amd_guest(void)
{
	uint64_t root = page_new(), gcr3 = page_new();

	at(gcr3)[0] = root | 1;
	return (struct guest){
		.type = AMD,
		.length = sizeof(struct abi_hwpt_amd_guest),
		.data = {3 | UINT64_C(3) << 54 | (gcr3 >> 12 & 7) << 58 | UINT64_C(3) << 61,
			 5 | (gcr3 >> 15 & 0xffff) << 16 | (gcr3 >> 31) << 43},
		.leaf = leaf_of(root, 39, 7),
		.page_bits = 7,
	};
}

static inline int alloc(const struct guest *guest, uint32_t pt_id, uint32_t flags, uint32_t fault_id, uint32_t *id)
{
	struct abi_hwpt_alloc arguments = {.size = sizeof(arguments),
					   .flags = flags,
					   .dev_id = w.device_id,
					   .pt_id = pt_id,
					   .data_type = guest->type,
					   .data_len = guest->length,
					   .data_uptr = (uint64_t)(uintptr_t)guest->data,
					   .fault_id = fault_id};
	int error = uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_ALLOC), &arguments);

	*id = arguments.out_hwpt_id;
	return error;
}

static inline int invalidate(uint32_t id, uint32_t type, const void *entries, uint32_t length, uint32_t *count)
{
	struct abi_hwpt_invalidate arguments = {.size = sizeof(arguments),
						.hwpt_id = id,
						.data_uptr = (uint64_t)(uintptr_t)entries,
						.data_type = type,
						.entry_len = length,
						.entry_num = *count};
	int error = uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_INVALIDATE), &arguments);

	*count = arguments.entry_num;
	return error;
}

static inline uint32_t viommu_make(void)
{
	struct abi_viommu_alloc arguments = {
		.size = sizeof(arguments), .type = ABI_VIOMMU_ARM_SMMUV3, .dev_id = w.device_id, .hwpt_id = w.parent};

	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VIOMMU_ALLOC), &arguments), 0);
	return arguments.out_viommu_id;
}

static inline int vdevice_make(uint32_t viommu, uint64_t virt_id, uint32_t *id)
{
	struct abi_vdevice_alloc arguments = {
		.size = sizeof(arguments), .viommu_id = viommu, .dev_id = w.device_id, .virt_id = virt_id};
	int error = uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VDEVICE_ALLOC), &arguments);

	*id = arguments.out_vdevice_id;
	return error;
}

static inline int command(uint32_t viommu, uint64_t first, uint64_t second)
{
	const struct abi_viommu_arm_smmuv3_invalidate entry = {.cmd = {first, second}};
	uint32_t count = 1;
	int error = invalidate(viommu, ABI_VIOMMU_INVALIDATE_ARM_SMMUV3, &entry, sizeof(entry), &count);

	assert_int_equal(count, !error);
	return error;
}

#endif

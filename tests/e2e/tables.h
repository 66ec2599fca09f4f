/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest's page tables in a program's private memory that is mapped by its address, for a device with DSA's registers. */
#ifndef TESTS_E2E_TABLES_H
#define TESTS_E2E_TABLES_H

#include "accel_driver.h"

#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/syscall.h>
#include <uiommu/abi.h>

enum { TABLES = 12, SPARE = 2, NEST_PARENT = 1, VTD_S1 = 1, ARM_SMMUV3, AMD_GUEST };

#define VA UINT64_C(0x3412345000)
#define FAR (VA + (UINT64_C(1) << 30)) /* it has a table of its own */

static uint32_t parent, nested;
static bool all_used;
static int mapping = MAP_PRIVATE; /* then it is nobody's but the program's */
static uint64_t *tables; /* behind the memory, and so for the device */
static unsigned int tables_taken;

static inline uint64_t gpa(const void *at)
{
	return IOVA + (uint64_t)((const uint8_t *)at - (const uint8_t *)memory);
}

static inline uint64_t *table_at(uint64_t address)
{
	return (uint64_t *)(void *)((uint8_t *)memory + (address - IOVA));
}

static inline uint64_t table_new(void)
{
	CHECK(tables_taken < TABLES);
	return gpa(tables + (size_t)PAGE / 8 * tables_taken++);
}

static inline uint64_t *spare_page(unsigned int i)
{
	return tables + (size_t)PAGE / 8 * (TABLES + i);
}

/* Of an entry of the device's tables. */
#define ARM_READ_ONLY UINT64_C(0x80)
#define ARM_DBM (UINT64_C(1) << 51)
#define COUNT (UINT64_C(1) << 55) /* four bits that no format looks at are a counter of ours */
#define COUNTER (15 * COUNT)

static struct format {
	const char *name;
	uint32_t type, length;
	unsigned int top; /* bit at which the top table's index ends */
	uint64_t table, used_table; /* what has an entry of a table that is not a leaf */
	uint64_t fresh; /* a leaf as nobody has used it yet */
	uint64_t read, written; /* and as it becomes */
	uint64_t data[4];
} formats[] = {
	{"vtd", VTD_S1, 24, 39, 7, 0x27, 7, 0x27, 0x67, {0}},
	{"arm", ARM_SMMUV3, 16, 30, 3, 3, 0x43 | ARM_DBM | ARM_READ_ONLY, 0x443 | ARM_DBM | ARM_READ_ONLY, 0x443 | ARM_DBM, {0}},
	{"amd", AMD_GUEST, 32, 39, 7, 0x27, 7, 0x27, 0x67, {0}},
};

#define ADDRESS UINT64_C(0x0000fffffffff000)

/* The leaf of an address of the device. */
static inline uint64_t *leaf_of(const struct format *format, uint64_t root, uint64_t address)
{
	uint64_t table = root;

	for (unsigned int shift = format->top; shift > 12; shift -= 9) {
		uint64_t *entry = table_at(table) + (address >> shift & 511);

		if (!*entry)
			*entry = table_new() | (all_used ? format->used_table : format->table);
		table = *entry & ADDRESS;
	}
	return table_at(table) + (address >> 12 & 511);
}

/* What leads to the page table, as in tests/unit/abi_guest.h. */
static inline void describe(struct format *format, uint64_t root)
{
	uint64_t table = format->type == VTD_S1 ? 0 : table_new();

	switch (format->type) {
	case VTD_S1:
		format->data[1] = root;
		format->data[2] = 48;
		break;
	case ARM_SMMUV3: /* one CD */
		table_at(table)[0] = 25 | UINT64_C(1) << 30 | UINT64_C(1) << 31 | UINT64_C(5) << 32 | UINT64_C(7) << 41 |
				     UINT64_C(3) << 45 | UINT64_C(7) << 48;
		table_at(table)[1] = root;
		table_at(table)[3] = 0xff;
		format->data[0] = 1 | 5 << 1 | table;
		break;
	default: /* a GCR3 table of one level */
		table_at(table)[0] = root | 1;
		format->data[0] = 3 | UINT64_C(3) << 54 | (table >> 12 & 7) << 58 | UINT64_C(3) << 61;
		format->data[1] = 5 | (table >> 15 & 0xffff) << 16 | (table >> 31) << 43;
	}
}

/* 0: it is refused. */
static inline uint32_t hwpt_alloc(uint32_t flags, uint32_t pt_id, const struct format *format)
{
	struct {
		uint32_t size, flags, dev_id, pt_id, out_hwpt_id, reserved, data_type, data_len;
		uint64_t data_uptr;
		uint32_t fault_id, reserved_2;
	} arguments = {.size = sizeof(arguments), .flags = flags, .dev_id = device_id, .pt_id = pt_id};

	if (format) {
		arguments.data_type = format->type;
		arguments.data_len = format->length;
		arguments.data_uptr = (uint64_t)(uintptr_t)format->data;
	}
	if (ioctl(iommufd, _IO(';', 0x89), &arguments))
		return 0;
	return arguments.out_hwpt_id;
}

static inline void forget(void)
{
	const struct uiommu_abi_invalidate all = {.npages = UINT64_MAX};
	struct {
		uint32_t size, hwpt_id;
		uint64_t data_uptr;
		uint32_t data_type, entry_len, entry_num, reserved;
	} arguments = {sizeof(arguments), nested, (uint64_t)(uintptr_t)&all, UIOMMU_ABI_INVALIDATE, sizeof(all), 1, 0};

	CHECK(!ioctl(iommufd, _IO(';', 0x8d), &arguments) && arguments.entry_num == 1);
}

static const size_t memory_bytes = (sizeof(struct memory) + PAGE - 1) / PAGE * PAGE;
static struct format *format;
static uint64_t root;

static inline uint64_t *leaf(const void *at)
{
	return leaf_of(format, root, iova(at));
}

/* All leaves become @bits. */
static inline void set_leaves(uint64_t bits)
{
	for (uint64_t at = 0; at < memory_bytes; at += PAGE)
		__atomic_store_n(leaf_of(format, root, VA + at), (IOVA + at) | bits, __ATOMIC_RELAXED);
}

static inline void begin_memory(void)
{
	tables_taken = 0;
	base = IOVA;
	memory = mmap(NULL, memory_bytes + (TABLES + SPARE) * PAGE, PROT_READ | PROT_WRITE, mapping | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED);
	tables = (uint64_t *)(void *)((uint8_t *)memory + memory_bytes);
	open_device();
	map_memory(memory, memory_bytes + (TABLES + SPARE) * PAGE);
	be_master();
}

/* Tables of the memory at VA for the device, page by page, that nobody uses yet. */
static inline void begin_tables(const char *name, bool used)
{
	all_used = used;
	for (format = formats; strcmp(format->name, name) != 0; format++)
		;
	begin_memory();
	root = table_new();
	set_leaves(used ? format->written : format->fresh);
	leaf_of(format, root, FAR);
	describe(format, root);
	parent = hwpt_alloc(NEST_PARENT, ioas, NULL);
	CHECK(parent);
}

static inline void use_tables(void)
{
	nested = hwpt_alloc(0, parent, format);
	CHECK(nested);
	attach(nested);
	base = VA;
	enable_portals();
}

static inline void begin_nested(const char *name, bool used)
{
	begin_tables(name, used);
	use_tables();
}

static inline void end_nested(void)
{
	CHECK(!close(device) && !close(iommufd));
	CHECK(!munmap(memory, memory_bytes + (TABLES + SPARE) * PAGE));
}

/* --- what a device does with them --- */

enum { WRITE_FAULT = 0x83 };

/* One page to FAR. */
static inline uint8_t move_far(unsigned int i)
{
	struct descriptor descriptor = prepare(i);

	descriptor.destination = FAR;
	descriptor.size = PAGE;
	submit(i, &descriptor);
	return status_of(i);
}

static inline bool has_source(const uint64_t *spare)
{
	return !memcmp(spare, memory->source, PAGE);
}

static inline void *table_of(const uint64_t *entry)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): the begin of its page */
	return (void *)((uintptr_t)entry & ~(uintptr_t)(PAGE - 1));
}

static inline void move_once(unsigned int i)
{
	const struct descriptor descriptor = prepare(i);

	submit(i, &descriptor);
	finish(i);
}

static inline bool leaf_is(const void *at, uint64_t bits)
{
	return (__atomic_load_n(leaf(at), __ATOMIC_ACQUIRE) & ~(ADDRESS | COUNTER)) == bits;
}

static inline void check_leaves(void)
{
	CHECK(leaf_is(memory->ring, format->fresh));
	CHECK(leaf_is(memory->records, format->written));
	CHECK(leaf_is(memory->source, format->read) && leaf_is(memory->source + PAGE, format->read));
	CHECK(leaf_is(memory->destination, format->written) && leaf_is(memory->destination + PAGE, format->written));
}

static inline void kill_at(pid_t pid, int signal)
{
	CHECK(!kill(pid, signal));
}

static volatile sig_atomic_t signals;

static inline void on_signal(int signal)
{
	(void)signal;
	signals++;
	_exit(3);
}

static inline void set_far(void)
{
	forget();
	*leaf_of(format, root, FAR) = gpa(spare_page(0)) | format->fresh;
}

static inline bool far_is(uint64_t bits)
{
	return *leaf_of(format, root, FAR) == (gpa(spare_page(0)) | bits);
}

/* Pages that can be read, but writing to them is not answered; @signal: it is SIGBUS. -1: there is no such thing. */
static inline int protect_page(void *page, bool signal)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | (signal ? UFFD_FEATURE_SIGBUS : 0)};
	struct uffdio_register range = {.range = {(uintptr_t)page, PAGE}, .mode = UFFDIO_REGISTER_MODE_WP};
	struct uffdio_writeprotect protect = {.range = {(uintptr_t)page, PAGE}, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */);

	if (fd < 0)
		return -1;
	CHECK(!ioctl(fd, UFFDIO_API, &api) && !ioctl(fd, UFFDIO_REGISTER, &range) && !ioctl(fd, UFFDIO_WRITEPROTECT, &protect));
	return fd;
}

#endif

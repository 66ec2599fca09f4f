/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables in memory that keeps whoever looks at it waiting, and that others change meanwhile. */
#include "test.h"

#include <pthread.h>
#include <uiommu/uiommu.h>

#include "iommu/ioas.h"
#include "memory/region.h"
#include "util/util.h"

#define RAM UINT64_C(0x40000)
#define BIT(n) (UINT64_C(1) << (n))
#define FOUR_LEVELS .address = 0x3412345000, .levels = 4, .entry = 8, .index_lg2 = 9
#define X86_BITS .next = 7, .used_next = 0x27, .fresh = 7, .read = 0x27, .written = 0x67, .software = BIT(9)
#define ARM_BITS                                                                                                                   \
	.next = 3, .used_next = 3, .fresh = BIT(51) | 0xc3, .read = BIT(51) | 0x4c3, .written = BIT(51) | 0x443, .software = BIT(55)
#define RISCV_BITS .next = 1, .used_next = 1, .fresh = 0x17, .read = 0x57, .written = 0xd7, .software = BIT(8), .right = 2

enum { PAGE = 4096, PAGES = 10, BYTES = PAGES * PAGE, CD = 6, SECOND = 7, NOWHERE = -1 };

/* Of a format, with the literal bits of its entries. */
static const struct layout {
	struct uiommu_page_table table;
	const char *name;
	uint64_t address; /* that is translated */
	unsigned int levels, entry, index_lg2; /* tables of 1 << @index_lg2 entries of @entry bytes */
	unsigned int right; /* so far to the right are addresses in entries */
	uint64_t next, used_next; /* what leads to a table, and what becomes of it */
	uint64_t fresh, read, written; /* the same of leaves */
	uint64_t software; /* a bit that is nobody's */
	bool structure; /* a CD leads to the page table */
} layouts[] = {
	{{.format = UIOMMU_FORMAT_VTD_FIRST, .base = {RAM}, .levels = 4, .output_lg2 = 46}, "VT-d", FOUR_LEVELS, X86_BITS},
	{{.format = UIOMMU_FORMAT_AMD_V2, .base = {RAM}, .levels = 4, .output_lg2 = 46}, "AMD", FOUR_LEVELS, X86_BITS},
	{{.format = UIOMMU_FORMAT_ARM_S1,
	  .flags = UIOMMU_ARM_HA | UIOMMU_ARM_HD | UIOMMU_ARM_EPD1,
	  .base = {RAM},
	  .input_lg2 = {48},
	  .granule_lg2 = {12},
	  .output_lg2 = 48},
	 "Arm",
	 FOUR_LEVELS,
	 ARM_BITS},
	{{0}, "SMMUv3", FOUR_LEVELS, ARM_BITS, .structure = true},
	{{.format = UIOMMU_FORMAT_RISCV_FIRST, .flags = UIOMMU_RISCV_ADUE, .base = {RAM}, .input_lg2 = {48}, .output_lg2 = 56},
	 "Sv48",
	 FOUR_LEVELS,
	 RISCV_BITS},
	{{.format = UIOMMU_FORMAT_RISCV_FIRST, .flags = UIOMMU_RISCV_ADUE, .base = {RAM}, .input_lg2 = {32}, .output_lg2 = 34},
	 "Sv32",
	 .address = 0x12345000,
	 .levels = 2,
	 .entry = 4,
	 .index_lg2 = 10,
	 RISCV_BITS},
};

/* What a test is given. */
struct variant {
	const struct layout *layout;
	bool uncached;
};

static const struct layout *layout;
static bool uncached; /* neither translations nor places of tables */

/* Whose memory it is: page 0 is the top table, others follow; pages 4 and 5 are what is mapped; from SECOND on are stage 2's. */
static struct owner {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t words[BYTES / 8];
	int64_t holds; /* the next read at this offset is kept, with what it has read */
	bool inside;
	unsigned int losses; /* so many more changes come too late */
	unsigned int swaps;
	bool refuses, fails;
} owner;

static uint64_t elsewhere[BYTES / 8]; /* more of it, which is another mapping */

static bool behind; /* stage 1 has a stage 2 behind it, which changes no address */

static struct uiommu_context *context;
static struct uiommu_device *device;
static uint32_t device_id, hwpt;

static uint64_t owner_access(void *opaque, uint64_t offset, void *buffer, uint64_t length, unsigned int access,
			     unsigned int *reason)
{
	uint8_t *bytes = (uint8_t *)opaque + offset;

	assert_true(offset + length <= BYTES);
	pthread_mutex_lock(&owner.lock);
	if (owner.fails)
		*reason = UIOMMU_FAULT_MEMORY;
	if (access == UIOMMU_WRITE)
		memcpy(bytes, buffer, length);
	else
		memcpy(buffer, bytes, length);
	if (owner.holds == (int64_t)offset) {
		owner.inside = true;
		pthread_cond_broadcast(&owner.changed);
		while (owner.holds != NOWHERE)
			pthread_cond_wait(&owner.changed, &owner.lock);
	}
	pthread_mutex_unlock(&owner.lock);
	return owner.fails ? 0 : length;
}

static uint64_t get(uint64_t offset)
{
	uint64_t value = 0;

	memcpy(&value, (uint8_t *)owner.words + offset, layout->entry);
	return value;
}

static void put(uint64_t offset, uint64_t value)
{
	memcpy((uint8_t *)owner.words + offset, &value, layout->entry);
}

static bool owner_swap(void *opaque, uint64_t offset, unsigned int length, uint64_t *expected, uint64_t value)
{
	uint64_t seen = *expected;

	(void)opaque;
	assert_int_equal(length, layout->entry);
	assert_true(length == 8 || !(seen >> 32 | value >> 32));
	owner.swaps++;
	if (owner.refuses)
		return false;
	if (owner.losses) {
		owner.losses--;
		put(offset, get(offset) ^ layout->software);
	}
	if (get(offset) == seen)
		put(offset, value);
	else
		*expected = get(offset);
	return true;
}

static void owner_nothing(void *opaque)
{
	(void)opaque;
}

static const struct region_ops with_swap = {
	.access = owner_access, .pause = owner_nothing, .free = owner_nothing, .swap = owner_swap};
static const struct region_ops without_swap = {.access = owner_access, .pause = owner_nothing, .free = owner_nothing};

static uint64_t page(unsigned int number)
{
	return RAM + (uint64_t)number * PAGE;
}

/* Of the table number @depth, from the top. */
static uint64_t entry_in(unsigned int depth)
{
	uint64_t index = layout->address >> (12 + layout->index_lg2 * (layout->levels - 1 - depth));

	return (uint64_t)depth * PAGE + (index & ((1U << layout->index_lg2) - 1)) * layout->entry;
}

static uint64_t leaf(void)
{
	return entry_in(layout->levels - 1);
}

static uint64_t leading_to(unsigned int number, uint64_t bits)
{
	return page(number) >> layout->right | bits;
}

/* IHI 0070, 5.4: T0SZ, EPD1, V, IPS, AA64, HA and HD, A, R. */
static void build_cd(void)
{
	uint64_t *cd = &owner.words[CD * PAGE / 8];

	cd[0] = 16 | BIT(30) | BIT(31) | UINT64_C(5) << 32 | BIT(41) | UINT64_C(3) << 42 | UINT64_C(3) << 45;
	cd[1] = RAM;
}

static void build(void)
{
	owner = (struct owner){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .holds = NOWHERE};
	for (unsigned int i = 0; i + 1 < layout->levels; i++)
		put(entry_in(i), leading_to(i + 1, layout->used_next));
	put(leaf(), leading_to(4, layout->written));
	owner.words[4 * PAGE / 8] = 44;
	owner.words[5 * PAGE / 8] = 55;
	build_cd();
}

enum { SECOND_FRESH = 3, SECOND_READ = 0x103, SECOND_WRITTEN = 0x303 };

/* VT-d 4.1, 9.9: its entry of page @number of the memory. */
static uint64_t *second_leaf(unsigned int number)
{
	return &owner.words[(SECOND + 2) * PAGE / 8 + (page(number) >> 12 & 511)];
}

static void build_second(struct uiommu_page_table *out)
{
	for (unsigned int i = 0; i < 2; i++)
		owner.words[(SECOND + i) * PAGE / 8] = page(SECOND + i + 1) | SECOND_FRESH;
	for (unsigned int i = 0; i < SECOND; i++)
		*second_leaf(i) = page(i) | SECOND_FRESH;
	*out = (struct uiommu_page_table){.format = UIOMMU_FORMAT_VTD_SECOND,
					  .flags = UIOMMU_VTD_SECOND_AD,
					  .base = {page(SECOND)},
					  .levels = 3,
					  .output_lg2 = 46};
}

static void alloc_table(uint32_t parent)
{
	struct uiommu_hwpt_nested nested = {.size = sizeof(nested), .parent_id = parent, .first = layout->table};
	const struct uiommu_hwpt_tables tables = {
		.size = sizeof(tables),
		.parent_id = parent,
		.tables = UIOMMU_TABLES_SMMUV3,
		.structure = UIOMMU_STRUCTURE_PASID,
		.base = page(CD),
		.capabilities = UIOMMU_SMMUV3_S1P | UIOMMU_SMMUV3_HA | UIOMMU_SMMUV3_HD | UIOMMU_SMMUV3_GRAN4K,
		.output_lg2 = 48,
		.rid_pasid = 0,
	};

	if (behind)
		build_second(&nested.second);
	assert_int_equal(layout->structure ? uiommu_hwpt_alloc_tables(context, &tables, &hwpt)
					   : uiommu_hwpt_alloc_nested(context, &nested, &hwpt),
			 0);
}

static void open_with(const struct region_ops *ops, unsigned int access)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .name = "dev", .pasid_bits = 8};
	struct uiommu_hwpt_alloc parent = {.size = sizeof(parent), .type = UIOMMU_HWPT_PAGING, .flags = UIOMMU_HWPT_NEST_PARENT};
	struct region *region;
	uint32_t parent_id;

	parent.iotlb_entries = parent.walk_entries = uncached ? UIOMMU_IOTLB_NONE : 0;
	memset(elsewhere, 0, sizeof(elsewhere));
	build();
	assert_int_equal(uiommu_open(NULL, &context), 0);
	assert_int_equal(uiommu_ioas_alloc(context, &parent.parent_id), 0);
	assert_int_equal(region_remote(ops, owner.words, BYTES, UIOMMU_READ | UIOMMU_WRITE, &region), 0);
	assert_int_equal(ioas_map_remote(context, parent.parent_id, region, access, RAM), 0);
	region_put(region);
	assert_int_equal(region_remote(ops, elsewhere, BYTES, UIOMMU_READ | UIOMMU_WRITE, &region), 0);
	assert_int_equal(ioas_map_remote(context, parent.parent_id, region, access, RAM + BYTES), 0);
	region_put(region);
	assert_int_equal(uiommu_hwpt_alloc(context, &parent, &parent_id), 0);
	alloc_table(parent_id);
	assert_int_equal(uiommu_device_alloc(context, &config, &device_id), 0);
	device = uiommu_device_get(context, device_id);
	assert_int_equal(uiommu_attach(context, device_id, UIOMMU_NO_PASID, hwpt), 0);
}

static void take(const struct variant *variant)
{
	layout = variant->layout;
	uncached = variant->uncached;
}

static int setup(void **state)
{
	take(*state);
	open_with(&with_swap, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
	return 0;
}

static int setup_behind(void **state)
{
	take(*state);
	behind = !layout->structure && layout->entry == 8;
	open_with(&with_swap, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
	return 0;
}

static int setup_read_only(void **state)
{
	take(*state);
	open_with(&with_swap, UIOMMU_MAP_READ);
	return 0;
}

static int setup_without_swap(void **state)
{
	take(*state);
	open_with(&without_swap, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	behind = false;
	uiommu_device_put(device);
	assert_int_equal(uiommu_close(context), 0);
	return 0;
}

static uint64_t read_va(void)
{
	uint64_t value = 0;

	assert_int_equal(uiommu_dma_read(device, UIOMMU_NO_PASID, layout->address, &value, 8, NULL), 0);
	return value;
}

/* The fault of a table of the last level, or of @level. */
static void refused(unsigned int access, unsigned int reason, unsigned int level)
{
	struct uiommu_dma_result result;
	uint64_t value = 1;
	int error = access == UIOMMU_READ ? uiommu_dma_read(device, UIOMMU_NO_PASID, layout->address, &value, 8, &result)
					  : uiommu_dma_write(device, UIOMMU_NO_PASID, layout->address, &value, 8, &result);

	assert_int_equal(error, -EFAULT);
	assert_int_equal(result.fault.reason, reason);
	assert_int_equal(result.fault.level, level);
	assert_true(result.fault.table);
}

static void *read_in_thread(void *opaque)
{
	*(uint64_t *)opaque = read_va();
	return NULL;
}

/* It returns, although somebody is fetching what it is about; and what that one has read has no effect. */
static void invalidation_waits_for_nobody(void **state)
{
	const struct uiommu_invalidation one = {.start = layout->address, .last = layout->address + PAGE - 1},
					 all = {.last = UINT64_MAX};

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t value = 0;
		pthread_t thread;

		put(leaf(), leading_to(4, layout->written));
		assert_int_equal(uiommu_hwpt_invalidate(context, hwpt, &all, 1), 0);
		owner.holds = (int64_t)leaf();
		owner.inside = false;
		assert_int_equal(pthread_create(&thread, NULL, read_in_thread, &value), 0);
		pthread_mutex_lock(&owner.lock);
		while (!owner.inside)
			pthread_cond_wait(&owner.changed, &owner.lock);
		put(leaf(), leading_to(5, layout->written));
		assert_int_equal(uiommu_hwpt_invalidate(context, hwpt, i ? &all : &one, 1), 0);
		owner.holds = NOWHERE;
		pthread_cond_broadcast(&owner.changed);
		pthread_mutex_unlock(&owner.lock);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_int_equal(value, 55);
		assert_int_equal(read_va(), 55);
	}
}

static void bits_are_set_there(void **state)
{
	const bool marks_tables = layout->next != layout->used_next;
	const unsigned int swaps = 1 + marks_tables + 3;
	uint64_t value = 45;

	(void)state;
	put(leaf(), leading_to(4, layout->fresh));
	put(entry_in(0), leading_to(1, layout->next));
	owner.losses = 3;
	assert_int_equal(read_va(), 44);
	assert_int_equal(owner.swaps, swaps);
	assert_int_equal(get(entry_in(0)) & ~layout->software, leading_to(1, layout->used_next));
	assert_int_equal(get(leaf()) & ~layout->software, leading_to(4, layout->read));
	/* What somebody has changed meanwhile is as he has left it. */
	assert_int_equal((get(entry_in(0)) ^ get(leaf())) & layout->software, layout->software);
	assert_int_equal(read_va(), 44);
	assert_int_equal(owner.swaps, swaps);
	assert_int_equal(uiommu_dma_write(device, UIOMMU_NO_PASID, layout->address, &value, 8, NULL), 0);
	assert_int_equal(owner.swaps, swaps + 1);
	assert_int_equal(owner.words[4 * PAGE / 8], 45);
	assert_int_equal(get(leaf()) & ~layout->software, leading_to(4, layout->written));
}

static void what_cannot_be_set(void **state)
{
	(void)state;
	put(leaf(), leading_to(4, layout->fresh));
	owner.losses = 1000;
	refused(UIOMMU_READ, UIOMMU_FAULT_UPDATE, 0);
	assert_int_equal(owner.losses, 1000 - 64);
	owner.losses = 0;
	owner.refuses = true;
	refused(UIOMMU_READ, UIOMMU_FAULT_UPDATE, 0);
	put(leaf(), leading_to(4, layout->read));
	assert_int_equal(read_va(), 44);
	refused(UIOMMU_WRITE, UIOMMU_FAULT_UPDATE, 0);
	assert_int_equal(get(leaf()), leading_to(4, layout->read));
	assert_int_equal(owner.words[4 * PAGE / 8], 44);
}

/* Nor is anybody asked for it. */
static void not_to_be_written(void **state)
{
	(void)state;
	put(leaf(), leading_to(4, layout->fresh));
	refused(UIOMMU_READ, UIOMMU_FAULT_UPDATE, 0);
	assert_int_equal(owner.swaps, 0);
	put(leaf(), leading_to(4, layout->read));
	assert_int_equal(read_va(), 44);
}

/* The first that is looked at: the top table, or what leads to it. */
static void first_unreadable(void)
{
	struct uiommu_dma_result result;
	uint64_t value;

	if (!layout->structure) {
		refused(UIOMMU_READ, UIOMMU_FAULT_MEMORY, layout->levels - 1);
		return;
	}
	assert_int_equal(uiommu_dma_read(device, UIOMMU_NO_PASID, layout->address, &value, 8, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_MEMORY);
	assert_int_equal(result.fault.structure, UIOMMU_STRUCTURE_PASID);
}

static void what_cannot_be_read(void **state)
{
	(void)state;
	owner.fails = true;
	first_unreadable();
	owner.fails = false;
	assert_int_equal(read_va(), 44);
}

/* What only messages reach. */
static void not_there(void **state)
{
	(void)state;
	first_unreadable();
}

/* Each page of an access has its own walk. */
static void many_pages(void **state)
{
	enum { MANY = 150 };
	static uint8_t data[MANY * PAGE];
	const struct uiommu_invalidation all = {.last = UINT64_MAX};
	const struct uiommu_dma_place from = {.pasid = UIOMMU_NO_PASID, .address = layout->address},
				      to = {.pasid = UIOMMU_NO_PASID, .address = layout->address + MANY / 2 * PAGE};

	(void)state;
	for (unsigned int i = 0; i < MANY; i++)
		put(leaf() + (uint64_t)i * layout->entry, leading_to(4 + i % 2, layout->fresh));
	assert_int_equal(uiommu_dma_read(device, UIOMMU_NO_PASID, layout->address, data, sizeof(data), NULL), 0);
	for (unsigned int i = 0; i < MANY; i++) {
		assert_int_equal(data[i * PAGE], i % 2 ? 55 : 44);
		assert_int_equal(get(leaf() + (uint64_t)i * layout->entry), leading_to(4 + i % 2, layout->read));
	}
	assert_int_equal(owner.swaps, MANY);
	assert_int_equal(uiommu_dma_write(device, UIOMMU_NO_PASID, layout->address, data, sizeof(data), NULL), 0);
	for (unsigned int i = 0; i < MANY; i++)
		assert_int_equal(get(leaf() + (uint64_t)i * layout->entry), leading_to(4 + i % 2, layout->written));
	assert_int_equal(owner.swaps, 2 * MANY);
	for (unsigned int i = 0; i < MANY; i++)
		put(leaf() + (uint64_t)i * layout->entry, leading_to(4 + (i >= MANY / 2), layout->fresh));
	assert_int_equal(uiommu_hwpt_invalidate(context, hwpt, &all, 1), 0);
	owner.words[4 * PAGE / 8] = 66;
	assert_int_equal(uiommu_dma_copy(device, &to, &from, MANY / 2 * PAGE, NULL), 0);
	for (unsigned int i = 0; i < MANY; i++)
		assert_int_equal(get(leaf() + (uint64_t)i * layout->entry),
				 i < MANY / 2 ? leading_to(4, layout->read) : leading_to(5, layout->written));
	assert_int_equal(owner.words[5 * PAGE / 8], 66);
	assert_int_equal(owner.swaps, 3 * MANY);
}

static bool second_is(unsigned int number, uint64_t bits)
{
	return *second_leaf(number) == (page(number) | bits);
}

/* Entries of stage 2 are used for stage 1's tables, too, where a change of stage 1's is a write. */
static void both_stages(void **state)
{
	const struct uiommu_invalidation all = {.last = UINT64_MAX};
	const bool marks_tables = layout->next != layout->used_next;
	struct uiommu_dma_result result;
	uint64_t value = 45;
	unsigned int swaps;

	(void)state;
	if (!behind)
		return;
	put(leaf(), leading_to(4, layout->fresh));
	put(entry_in(0), leading_to(1, layout->next));
	assert_int_equal(read_va(), 44);
	assert_int_equal(get(entry_in(0)), leading_to(1, layout->used_next));
	assert_int_equal(get(leaf()), leading_to(4, layout->read));
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(owner.words[(SECOND + i) * PAGE / 8], page(SECOND + i + 1) | SECOND_READ);
	assert_true(second_is(0, marks_tables ? SECOND_WRITTEN : SECOND_READ));
	assert_true(second_is(1, SECOND_READ) && second_is(2, SECOND_READ) && second_is(3, SECOND_WRITTEN));
	assert_true(second_is(4, SECOND_READ) && second_is(5, SECOND_FRESH));
	swaps = owner.swaps;
	assert_int_equal(read_va(), 44);
	assert_int_equal(owner.swaps, swaps);
	assert_int_equal(uiommu_dma_write(device, UIOMMU_NO_PASID, layout->address, &value, 8, NULL), 0);
	assert_int_equal(get(leaf()), leading_to(4, layout->written));
	assert_true(second_is(4, SECOND_WRITTEN));
	assert_int_equal(owner.swaps, swaps + 2);
	/* Where it cannot be done nothing is cached. */
	*second_leaf(2) = page(2) | SECOND_FRESH;
	owner.refuses = true;
	assert_int_equal(uiommu_hwpt_invalidate(context, hwpt, &all, 1), 0);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(uiommu_dma_read(device, UIOMMU_NO_PASID, layout->address, &value, 8, &result), -EFAULT);
		assert_int_equal(result.fault.reason, UIOMMU_FAULT_UPDATE);
		assert_int_equal(result.fault.stage, 2);
		assert_true(second_is(2, SECOND_FRESH));
	}
	owner.refuses = false;
	assert_int_equal(read_va(), 45);
	assert_true(second_is(2, SECOND_READ));
}

/* Entries at the same place of two mappings, in one walk. */
static void two_mappings(void **state)
{
	const uint64_t index = 0x45, address = index << 12 | index << 21;
	uint64_t *inner = &owner.words[2 * PAGE / 8], value = 0;

	(void)state;
	if (layout->levels != 4)
		return;
	for (unsigned int i = 0; i < 2; i++)
		put(i * PAGE, leading_to(i + 1, layout->used_next));
	inner[index] = (RAM + BYTES + 2 * PAGE) >> layout->right | layout->used_next;
	elsewhere[2 * PAGE / 8 + index] = leading_to(5, layout->written);
	assert_int_equal(uiommu_dma_read(device, UIOMMU_NO_PASID, address, &value, 8, NULL), 0);
	assert_int_equal(value, 55);
}

/* Those that do no access. */
static void looks(void **state)
{
	struct uiommu_walk_step steps[8];
	struct uiommu_walk walk = {.size = sizeof(walk),
				   .device_id = device_id,
				   .pasid = UIOMMU_NO_PASID,
				   .access = UIOMMU_READ,
				   .address = layout->address + 8,
				   .steps = steps,
				   .step_count = 8};
	struct uiommu_attachment *attachment = uiommu_attachment_get(device, UIOMMU_NO_PASID);
	struct uiommu_translation translation;

	(void)state;
	assert_int_equal(uiommu_walk(context, &walk), 0);
	assert_int_equal(walk.fault.reason, UIOMMU_FAULT_NONE);
	assert_int_equal(walk.step_count, layout->levels + layout->structure);
	assert_int_equal(steps[walk.step_count - 1].entry[0], get(leaf()));
	assert_int_equal(walk.output, page(4) + 8);
	assert_int_equal(uiommu_translate(attachment, layout->address + 16, UIOMMU_READ, &translation), 0);
	assert_int_equal(translation.address, page(4) + 16);
	uiommu_attachment_put(attachment);
}

#define CASE(name, before)                                                                                                         \
	{                                                                                                                          \
#name, name, before                                                                                                \
	}

static const struct {
	const char *name;
	void (*run)(void **state);
	int (*before)(void **state);
} cases[] = {
	CASE(invalidation_waits_for_nobody, setup),
	CASE(bits_are_set_there, setup),
	CASE(what_cannot_be_set, setup),
	CASE(not_to_be_written, setup_read_only),
	CASE(what_cannot_be_read, setup),
	CASE(not_there, setup_without_swap),
	CASE(many_pages, setup),
	CASE(two_mappings, setup),
	CASE(both_stages, setup_behind),
	CASE(looks, setup),
};

int main(void)
{
	static struct variant variants[2 * ARRAY_SIZE(layouts)];
	static struct CMUnitTest tests[ARRAY_SIZE(variants) * ARRAY_SIZE(cases)];
	static char names[ARRAY_SIZE(tests)][64];

	for (unsigned int i = 0; i < ARRAY_SIZE(variants); i++)
		variants[i] = (struct variant){&layouts[i / 2], i % 2};
	for (unsigned int i = 0; i < ARRAY_SIZE(tests); i++) {
		struct variant *variant = &variants[i / ARRAY_SIZE(cases)];
		const unsigned int of = i % ARRAY_SIZE(cases);

		snprintf(names[i], sizeof(names[i]), "%s%s: %s", variant->layout->name, variant->uncached ? ", not cached" : "",
			 cases[of].name);
		tests[i] = (struct CMUnitTest){names[i], cases[of].run, cases[of].before, teardown, variant};
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

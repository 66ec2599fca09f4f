/* SPDX-License-Identifier: BSD-3-Clause */
/* Every operation, flag and status of descriptors that meet no fault. */
#include "accel_rig.h"
#include "util/util.h"

#include <poll.h>
#include <unistd.h>

#if __has_include(<linux/idxd.h>)
#include <linux/idxd.h>
#define HAVE_IDXD 1
#endif

#ifdef HAVE_IDXD
#define SAME_FIELD(ours, theirs)                                                                                                   \
	_Static_assert(offsetof(struct uiommu_accel_desc, ours) == offsetof(struct dsa_hw_desc, theirs), #theirs)
#define SAME_RECORD(ours, theirs)                                                                                                  \
	_Static_assert(offsetof(struct uiommu_accel_record, ours) == offsetof(struct dsa_completion_record, theirs), #theirs)
#define SAME_NUMBER(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs)

_Static_assert(sizeof(struct uiommu_accel_desc) == sizeof(struct dsa_hw_desc), "descriptor");
_Static_assert(sizeof(struct uiommu_accel_record) == sizeof(struct dsa_completion_record), "record");
SAME_FIELD(completion_address, completion_addr);
SAME_FIELD(source, src_addr);
SAME_FIELD(source, pattern);
SAME_FIELD(source, desc_list_addr);
SAME_FIELD(destination, dst_addr);
SAME_FIELD(destination, src2_addr);
SAME_FIELD(destination, comp_pattern);
SAME_FIELD(transfer_size, xfer_size);
SAME_FIELD(transfer_size, desc_count);
SAME_FIELD(interrupt_handle, int_handle);
SAME_FIELD(reserved, rsvd1);
SAME_FIELD(specific, expected_res);
SAME_FIELD(specific, dest2);
SAME_FIELD(specific, crc_seed);
SAME_FIELD(seed_address, seed_addr);
SAME_RECORD(status, status);
SAME_RECORD(result, result);
SAME_RECORD(bytes_completed, bytes_completed);
SAME_RECORD(fault_address, fault_addr);
SAME_RECORD(value, crc_val);
SAME_NUMBER(UIOMMU_ACCEL_NOOP, DSA_OPCODE_NOOP);
SAME_NUMBER(UIOMMU_ACCEL_BATCH, DSA_OPCODE_BATCH);
SAME_NUMBER(UIOMMU_ACCEL_DRAIN, DSA_OPCODE_DRAIN);
SAME_NUMBER(UIOMMU_ACCEL_MEMMOVE, DSA_OPCODE_MEMMOVE);
SAME_NUMBER(UIOMMU_ACCEL_FILL, DSA_OPCODE_MEMFILL);
SAME_NUMBER(UIOMMU_ACCEL_COMPARE, DSA_OPCODE_COMPARE);
SAME_NUMBER(UIOMMU_ACCEL_COMPARE_PATTERN, DSA_OPCODE_COMPVAL);
SAME_NUMBER(UIOMMU_ACCEL_DUALCAST, DSA_OPCODE_DUALCAST);
SAME_NUMBER(UIOMMU_ACCEL_CRC, DSA_OPCODE_CRCGEN);
SAME_NUMBER(UIOMMU_ACCEL_FENCE, IDXD_OP_FLAG_FENCE);
SAME_NUMBER(UIOMMU_ACCEL_BLOCK_ON_FAULT, IDXD_OP_FLAG_BOF);
SAME_NUMBER(UIOMMU_ACCEL_RECORD_VALID, IDXD_OP_FLAG_CRAV);
SAME_NUMBER(UIOMMU_ACCEL_REQUEST_RECORD, IDXD_OP_FLAG_RCR);
SAME_NUMBER(UIOMMU_ACCEL_REQUEST_INTERRUPT, IDXD_OP_FLAG_RCI);
SAME_NUMBER(UIOMMU_ACCEL_CHECK_RESULT, IDXD_OP_FLAG_CR);
SAME_NUMBER(UIOMMU_ACCEL_CACHE_CONTROL, IDXD_OP_FLAG_CC);
SAME_NUMBER(UIOMMU_ACCEL_PENDING, DSA_COMP_NONE);
SAME_NUMBER(UIOMMU_ACCEL_SUCCESS, DSA_COMP_SUCCESS);
SAME_NUMBER(UIOMMU_ACCEL_FALSE_PREDICATE, DSA_COMP_SUCCESS_PRED);
SAME_NUMBER(UIOMMU_ACCEL_PAGE_FAULT, DSA_COMP_PAGE_FAULT_NOBOF);
SAME_NUMBER(UIOMMU_ACCEL_PAGE_FAULT_INVALID, DSA_COMP_PAGE_FAULT_IR);
SAME_NUMBER(UIOMMU_ACCEL_BATCH_FAIL, DSA_COMP_BATCH_FAIL);
SAME_NUMBER(UIOMMU_ACCEL_BATCH_PAGE_FAULT, DSA_COMP_BATCH_PAGE_FAULT);
SAME_NUMBER(UIOMMU_ACCEL_BAD_OPCODE, DSA_COMP_BAD_OPCODE);
SAME_NUMBER(UIOMMU_ACCEL_INVALID_FLAGS, DSA_COMP_INVALID_FLAGS);
SAME_NUMBER(UIOMMU_ACCEL_NONZERO_RESERVED, DSA_COMP_NOZERO_RESERVE);
SAME_NUMBER(UIOMMU_ACCEL_TRANSFER_RANGE, DSA_COMP_XFER_ERANGE);
SAME_NUMBER(UIOMMU_ACCEL_COUNT_RANGE, DSA_COMP_DESC_CNT_ERANGE);
SAME_NUMBER(UIOMMU_ACCEL_OVERLAP, DSA_COMP_OVERLAP_BUFFERS);
SAME_NUMBER(UIOMMU_ACCEL_DUALCAST_ALIGN, DSA_COMP_DCAST_ERR);
SAME_NUMBER(UIOMMU_ACCEL_LIST_ALIGN, DSA_COMP_DESCLIST_ALIGN);
SAME_NUMBER(UIOMMU_ACCEL_INTERRUPT_HANDLE, DSA_COMP_INT_HANDLE_INVAL);
SAME_NUMBER(UIOMMU_ACCEL_RECORD_FAULT, DSA_COMP_CRA_XLAT);
SAME_NUMBER(UIOMMU_ACCEL_RECORD_ALIGN, DSA_COMP_CRA_ALIGN);
SAME_NUMBER(UIOMMU_ACCEL_ADDRESS_ALIGN, DSA_COMP_ADDR_ALIGN);
SAME_NUMBER(UIOMMU_ACCEL_PRIVILEGE, DSA_COMP_PRIV_BAD);
SAME_NUMBER(UIOMMU_ACCEL_STATUS_MASK, DSA_COMP_STATUS_MASK);
SAME_NUMBER(UIOMMU_ACCEL_FAULT_WRITE, DSA_COMP_STATUS_WRITE);
#endif

static void first_words_are_dsa(void **state)
{
#ifdef HAVE_IDXD
	struct uiommu_accel_desc ours = {.pasid_priv = 0x54321, .flags_opcode = UIOMMU_ACCEL_CRC << 24 | 0x7000c};
	struct dsa_hw_desc theirs;

	memcpy(&theirs, &ours, sizeof(theirs));
	assert_int_equal(theirs.pasid, 0x54321);
	assert_int_equal(theirs.priv, 0);
	assert_int_equal(theirs.flags, 0x7000c);
	assert_int_equal(theirs.opcode, DSA_OPCODE_CRCGEN);
#else
	print_message("# skipped: there is no linux/idxd.h\n");
	skip();
#endif
	(void)state;
}

static void noop_writes_a_record(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, 7);

	memset(rig->records, 0xee, 16 * sizeof(*rig->records));
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, 0, 0, 0);
	/* Exactly that one. */
	for (unsigned int i = 0; i < 16 * sizeof(*rig->records); i++)
		if (i / sizeof(*rig->records) != 7)
			assert_int_equal(((uint8_t *)rig->records)[i], 0xee);
}

static void success_without_request_writes_none(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_NOOP, UIOMMU_ACCEL_RECORD_VALID, 0);

	rig_expect(rig_run(rig, &desc), 0, 0, 0, 0, 0);
	desc = rig_desc(UIOMMU_ACCEL_NOOP, 0, 0);
	rig_expect(rig_run(rig, &desc), 0, 0, 0, 0, 0);
	/* A failure does. */
	desc = rig_desc(0x7f, UIOMMU_ACCEL_RECORD_VALID, 0);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_BAD_OPCODE, 0, 0, 0, 0);
}

static bool readable(int fd)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};

	return poll(&pollfd, 1, 0) == 1;
}

static void interrupt_on_request(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, 0);
	uint64_t count;

	rig_run(rig, &desc);
	assert_false(readable(uiommu_queue_eventfd(rig->queue)));
	desc.flags_opcode |= UIOMMU_ACCEL_REQUEST_INTERRUPT;
	rig_run(rig, &desc);
	assert_true(readable(uiommu_queue_eventfd(rig->queue)));
	assert_int_equal(read(uiommu_queue_eventfd(rig->queue), &count, sizeof(count)), sizeof(count));
	desc.flags_opcode = UIOMMU_ACCEL_NOOP << 24 | UIOMMU_ACCEL_REQUEST_INTERRUPT;
	rig_run(rig, &desc);
	assert_true(readable(uiommu_queue_eventfd(rig->queue)));
}

/* Submit a move and compare the whole space with what memmove() does to a copy of it. */
static void move_as_libc(struct rig *rig, uint64_t destination, uint64_t source, uint32_t size)
{
	size_t bytes = (size_t)RIG_PAGES * RIG_PAGE;
	struct uiommu_accel_desc desc = rig_move(destination, source, size, 0);
	uint8_t *expected = malloc(bytes);
	bool backward = destination > source && destination - source < size;

	assert_non_null(expected);
	memcpy(expected, rig->memory[RIG_MAIN], bytes);
	memmove(expected + (destination - RIG_BASE), expected + (source - RIG_BASE), size);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, backward, size, 0, 0);
	assert_true(!memcmp(rig->memory[RIG_MAIN], expected, bytes));
	free(expected);
}

static void memmove_moves(void **state)
{
	static const uint32_t sizes[] = {1,    2,    7,	    8,	   63,	  64,	 65,	  4095,
					 4096, 4097, 16383, 16384, 16385, 65536, 1 << 20, (3 << 20) + 5};
	struct rig *rig = *state;

	rig_scramble(rig, 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		move_as_libc(rig, rig_at(32, i), rig_at(1024, 3 * i), sizes[i]);
	move_as_libc(rig, rig_at(2, 1), rig_at(3, 4090), 5000);
}

static void memmove_overlaps(void **state)
{
	static const uint32_t sizes[] = {16, 4096, 16384, 100000, (2 << 20) + 77};
	static const uint32_t distances[] = {0, 1, 15, 4096, 70000};
	struct rig *rig = *state;

	rig_scramble(rig, 2);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (unsigned int j = 0; j < ARRAY_SIZE(distances); j++) {
			move_as_libc(rig, rig_at(40, 5) + distances[j], rig_at(40, 5), sizes[i]);
			move_as_libc(rig, rig_at(40, 5), rig_at(40, 5) + distances[j], sizes[i]);
		}
	}
}

static void fill_repeats_its_pattern(void **state)
{
	static const uint32_t sizes[] = {1, 7, 8, 9, 4096, 262144, 262145, (2 << 20) + 3};
	const uint64_t pattern = 0x8877665544332211;
	struct rig *rig = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_FILL, RIG_RECORD | UIOMMU_ACCEL_CACHE_CONTROL, 0);
		uint8_t *memory = rig_memory(rig, RIG_MAIN, rig_at(64, 3));

		desc.source = pattern + i;
		desc.destination = rig_at(64, 3);
		desc.transfer_size = sizes[i];
		memset(memory - 1, 0, sizes[i] + 2);
		rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, sizes[i], 0, 0);
		for (uint32_t at = 0; at < sizes[i]; at++)
			if (memory[at] != (uint8_t)((pattern + i) >> (at % 8 * 8)))
				fail_msg("byte %u of %u", at, sizes[i]);
		assert_int_equal(memory[-1], 0);
		assert_int_equal(memory[sizes[i]], 0);
	}
}

static void compare_one(struct rig *rig, unsigned int opcode, uint32_t flags, uint64_t expected, unsigned int status,
			unsigned int result, uint32_t size, uint32_t bytes)
{
	struct uiommu_accel_desc desc = rig_desc(opcode, RIG_RECORD | flags, 0);

	desc.source = rig_at(100, 9);
	desc.destination = opcode == UIOMMU_ACCEL_COMPARE ? rig_at(900, 1) : 0x0123456789abcdef;
	desc.transfer_size = size;
	desc.specific = expected;
	rig_expect(rig_run(rig, &desc), status, result, bytes, 0, 0);
}

/* At and around @at, with every expectation, for an operation whose operands are equal but for one byte. */
static void compare_all(struct rig *rig, unsigned int opcode, uint32_t size, uint32_t at)
{
	uint8_t *memory = rig_memory(rig, RIG_MAIN, rig_at(100, 9));

	compare_one(rig, opcode, 0, 0, UIOMMU_ACCEL_SUCCESS, 0, size, size);
	compare_one(rig, opcode, UIOMMU_ACCEL_CHECK_RESULT, 0, UIOMMU_ACCEL_SUCCESS, 0, size, size);
	compare_one(rig, opcode, UIOMMU_ACCEL_CHECK_RESULT, 1, UIOMMU_ACCEL_FALSE_PREDICATE, 0, size, size);
	memory[at] ^= 0x10;
	compare_one(rig, opcode, 0, 0, UIOMMU_ACCEL_SUCCESS, 1, size, at);
	compare_one(rig, opcode, UIOMMU_ACCEL_CHECK_RESULT, 0, UIOMMU_ACCEL_FALSE_PREDICATE, 1, size, at);
	compare_one(rig, opcode, UIOMMU_ACCEL_CHECK_RESULT, 1, UIOMMU_ACCEL_SUCCESS, 1, size, at);
	compare_one(rig, opcode, 0, 0, UIOMMU_ACCEL_SUCCESS, 0, at ? at : 1, at);
	memory[at] ^= 0x10;
}

static void compare_finds_the_first_difference(void **state)
{
	struct rig *rig = *state;

	rig_scramble(rig, 3);
	memcpy(rig_memory(rig, RIG_MAIN, rig_at(900, 1)), rig_memory(rig, RIG_MAIN, rig_at(100, 9)), 3 << 20);
	compare_all(rig, UIOMMU_ACCEL_COMPARE, 8, 3);
	compare_all(rig, UIOMMU_ACCEL_COMPARE, 4096, 4095);
	compare_all(rig, UIOMMU_ACCEL_COMPARE, 3 << 20, (2 << 20) + 12345);
}

static void compare_pattern_finds_the_first_difference(void **state)
{
	const uint64_t pattern = 0x0123456789abcdef;
	struct rig *rig = *state;
	uint8_t *memory = rig_memory(rig, RIG_MAIN, rig_at(100, 9));

	for (uint32_t i = 0; i < 3 << 20; i++)
		memory[i] = (uint8_t)(pattern >> (i % 8 * 8));
	compare_all(rig, UIOMMU_ACCEL_COMPARE_PATTERN, 8, 3);
	compare_all(rig, UIOMMU_ACCEL_COMPARE_PATTERN, 4096, 4095);
	compare_all(rig, UIOMMU_ACCEL_COMPARE_PATTERN, 3 << 20, (2 << 20) + 12345);
}

static struct uiommu_accel_desc dualcast(uint64_t first, uint64_t second, uint64_t source, uint32_t size)
{
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_DUALCAST, RIG_RECORD, 0);

	desc.source = source;
	desc.destination = first;
	desc.specific = second;
	desc.transfer_size = size;
	return desc;
}

static void dualcast_writes_both(void **state)
{
	static const uint32_t sizes[] = {1, 4096, 262145, (1 << 20) + 9};
	struct rig *rig = *state;

	rig_scramble(rig, 4);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct uiommu_accel_desc desc = dualcast(rig_at(32, 100), rig_at(700, 100), rig_at(1400, 3), sizes[i]);

		rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, sizes[i], 0, 0);
		assert_true(
			!memcmp(rig_memory(rig, RIG_MAIN, rig_at(32, 100)), rig_memory(rig, RIG_MAIN, rig_at(1400, 3)), sizes[i]));
		assert_true(
			!memcmp(rig_memory(rig, RIG_MAIN, rig_at(700, 100)), rig_memory(rig, RIG_MAIN, rig_at(1400, 3)), sizes[i]));
	}
}

static void dualcast_rules(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = dualcast(rig_at(32, 100), rig_at(40, 101), rig_at(50, 0), 10);
	uint8_t before[32];

	memcpy(before, rig_memory(rig, RIG_MAIN, rig_at(32, 100)), sizeof(before));
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_DUALCAST_ALIGN, 0, 0, 0, 0);
	desc = dualcast(rig_at(32, 100), rig_at(33, 100), rig_at(50, 0), 4097);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_OVERLAP, 0, 0, 0, 0);
	desc = dualcast(rig_at(32, 100), rig_at(36, 100), rig_at(32, 109), 10);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_OVERLAP, 0, 0, 0, 0);
	desc = dualcast(rig_at(36, 100), rig_at(32, 100), rig_at(32, 91), 10);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_OVERLAP, 0, 0, 0, 0);
	assert_memory_equal(rig_memory(rig, RIG_MAIN, rig_at(32, 100)), before, sizeof(before));
	/* Side by side is no overlap. */
	desc = dualcast(rig_at(32, 100), rig_at(33, 100), rig_at(33, 90), 10);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, 10, 0, 0);
}

static uint32_t reflect(uint32_t value, unsigned int bits)
{
	uint32_t out = 0;

	for (unsigned int i = 0; i < bits; i++)
		out |= (value >> i & 1) << (bits - 1 - i);
	return out;
}

/* As the specification has it: bit by bit, the highest first. */
static uint32_t slow_crc(const uint8_t *data, size_t length, uint32_t seed, uint32_t flags)
{
	bool plain = flags & UIOMMU_ACCEL_CRC_BYPASS_REFLECTION;
	uint32_t crc = plain ? seed : ~reflect(seed, 32);

	for (size_t i = 0; i < length; i++) {
		uint32_t byte = flags & UIOMMU_ACCEL_CRC_BYPASS_DATA_REFLECTION ? data[i] : reflect(data[i], 8);

		crc ^= byte << 24;
		for (unsigned int bit = 0; bit < 8; bit++)
			crc = crc & UINT32_C(0x80000000) ? crc << 1 ^ 0x1edc6f41 : crc << 1;
	}
	return plain ? crc : ~reflect(crc, 32);
}

static struct uiommu_accel_desc crc(uint64_t source, uint32_t size, uint32_t seed, uint32_t flags)
{
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_CRC, RIG_RECORD | flags, 0);

	desc.source = source;
	desc.transfer_size = size;
	desc.specific = seed;
	return desc;
}

static void crc_known_answer(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = crc(rig_at(3, 0), 9, 0, 0);

	memcpy(rig_memory(rig, RIG_MAIN, rig_at(3, 0)), "123456789", 9);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, 9, 0, 0xe3069283);
}

static void crc_variants(void **state)
{
	static const uint32_t sizes[] = {1, 8, 4097, 262145, (1 << 20) + 1};
	struct rig *rig = *state;

	rig_scramble(rig, 5);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes) * 4; i++) {
		uint32_t flags = i % 4 * UIOMMU_ACCEL_CRC_BYPASS_REFLECTION, size = sizes[i / 4], seed = 0xdeadbeef * i;
		const uint8_t *data = rig_memory(rig, RIG_MAIN, rig_at(300, 5));
		struct uiommu_accel_desc desc = crc(rig_at(300, 5), size, seed, flags);
		uint32_t value = slow_crc(data, size, seed, flags);

		rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, size, 0, value);
		desc = crc(rig_at(300, 5), size, 0, flags | UIOMMU_ACCEL_READ_SEED);
		desc.seed_address = rig_at(4, 4);
		memcpy(rig_memory(rig, RIG_MAIN, rig_at(4, 4)), &seed, sizeof(seed));
		rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, size, 0, value);
	}
}

/* In two parts, the first part's record being the seed of the second. */
static void crc_chains(void **state)
{
	struct rig *rig = *state;
	const uint8_t *data = rig_memory(rig, RIG_MAIN, rig_at(300, 0));
	struct uiommu_accel_desc desc = crc(rig_at(300, 0), 1000, 0, 0);

	rig_scramble(rig, 6);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, 1000, 0, slow_crc(data, 1000, 0, 0));
	desc = crc(rig_at(300, 1000), 5000, 0, UIOMMU_ACCEL_READ_SEED);
	desc.completion_address = rig_record_address(1);
	desc.seed_address = rig_record_address(0) + offsetof(struct uiommu_accel_record, value);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, 5000, 0, slow_crc(data, 6000, 0, 0));
}

/* A descriptor of each operation that succeeds. */
static const struct valid {
	unsigned int opcode;
	uint32_t flags; /* beyond those about records */
	struct uiommu_accel_desc desc;
} valid[] = {
	{UIOMMU_ACCEL_NOOP, 0, {0}},
	{UIOMMU_ACCEL_DRAIN, 0, {0}},
	{UIOMMU_ACCEL_MEMMOVE,
	 UIOMMU_ACCEL_BLOCK_ON_FAULT | UIOMMU_ACCEL_CACHE_CONTROL,
	 {.source = RIG_BASE, .destination = RIG_BASE + 4096, .transfer_size = 64}},
	{UIOMMU_ACCEL_FILL,
	 UIOMMU_ACCEL_BLOCK_ON_FAULT | UIOMMU_ACCEL_CACHE_CONTROL,
	 {.destination = RIG_BASE + 4096, .transfer_size = 64}},
	{UIOMMU_ACCEL_COMPARE,
	 UIOMMU_ACCEL_BLOCK_ON_FAULT | UIOMMU_ACCEL_CHECK_RESULT,
	 {.source = RIG_BASE, .destination = RIG_BASE, .transfer_size = 64}},
	{UIOMMU_ACCEL_COMPARE_PATTERN,
	 UIOMMU_ACCEL_BLOCK_ON_FAULT | UIOMMU_ACCEL_CHECK_RESULT,
	 {.source = RIG_BASE, .transfer_size = 64}},
	{UIOMMU_ACCEL_DUALCAST,
	 UIOMMU_ACCEL_BLOCK_ON_FAULT | UIOMMU_ACCEL_CACHE_CONTROL,
	 {.source = RIG_BASE, .destination = RIG_BASE + 4096, .specific = RIG_BASE + 8192, .transfer_size = 64}},
	{UIOMMU_ACCEL_CRC,
	 UIOMMU_ACCEL_BLOCK_ON_FAULT | UIOMMU_ACCEL_READ_SEED | UIOMMU_ACCEL_CRC_BYPASS_REFLECTION |
		 UIOMMU_ACCEL_CRC_BYPASS_DATA_REFLECTION,
	 {.source = RIG_BASE, .transfer_size = 64}},
	{UIOMMU_ACCEL_BATCH, UIOMMU_ACCEL_BLOCK_ON_FAULT, {.source = RIG_BASE + 12288, .transfer_size = 2}},
};

static struct uiommu_accel_desc valid_desc(const struct valid *from)
{
	struct uiommu_accel_desc desc = rig_desc(from->opcode, RIG_RECORD, 0);

	desc.source = from->desc.source;
	desc.destination = from->desc.destination;
	desc.transfer_size = from->desc.transfer_size;
	desc.specific = from->desc.specific;
	return desc;
}

/* Zero memory: a comparison is equal, and a batch's list holds two no-ops. */
static void rig_clear(struct rig *rig)
{
	memset(rig->memory[RIG_MAIN], 0, (size_t)16 * RIG_PAGE);
}

static void every_flag(void **state)
{
	struct rig *rig = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(valid); i++) {
		for (unsigned int bit = 0; bit < 24; bit++) {
			uint32_t allowed = valid[i].flags | RIG_RECORD | UIOMMU_ACCEL_REQUEST_INTERRUPT, flag = UINT32_C(1) << bit;
			struct uiommu_accel_desc desc = valid_desc(&valid[i]);
			const struct uiommu_accel_record *record;

			rig_clear(rig);
			desc.flags_opcode |= flag;
			if (flag == UIOMMU_ACCEL_READ_SEED && allowed & flag)
				desc.seed_address = rig_at(0, 0);
			record = rig_run(rig, &desc);
			if (allowed & flag)
				assert_int_equal(record->status, UIOMMU_ACCEL_SUCCESS);
			else
				rig_expect(record, UIOMMU_ACCEL_INVALID_FLAGS, 0, 0, 0, flag);
		}
	}
}

static void request_without_an_address(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_NOOP, UIOMMU_ACCEL_REQUEST_RECORD, 0);
	struct uiommu_accel_error error;

	rig_expect(rig_run(rig, &desc), 0, 0, 0, 0, 0);
	uiommu_queue_error(rig->queue, &error);
	assert_int_equal(error.code, UIOMMU_ACCEL_ERROR_DESCRIPTOR);
	assert_int_equal(error.status, UIOMMU_ACCEL_INVALID_FLAGS);
	assert_int_equal(error.opcode, UIOMMU_ACCEL_NOOP);
	assert_int_equal(error.pasid, RIG_PASID);
}

static void every_opcode(void **state)
{
	struct rig *rig = *state;

	for (unsigned int opcode = 0; opcode < 256; opcode++) {
		struct uiommu_accel_desc desc = rig_desc(opcode, RIG_RECORD, 0);
		bool known = false;

		for (unsigned int i = 0; i < ARRAY_SIZE(valid); i++)
			known |= valid[i].opcode == opcode;
		if (!known)
			rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_BAD_OPCODE, 0, 0, 0, 0);
	}
}

static void expect_reserved(struct rig *rig, const struct uiommu_accel_desc *desc)
{
	rig_clear(rig);
	rig_expect(rig_run(rig, desc), UIOMMU_ACCEL_NONZERO_RESERVED, 0, 0, 0, 0);
}

/* Each 64-bit word that an operation does not use, each reserved bit elsewhere. */
static void every_reserved_field(void **state)
{
	struct rig *rig = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(valid); i++) {
		unsigned int opcode = valid[i].opcode;
		struct uiommu_accel_desc desc;
		bool none = opcode == UIOMMU_ACCEL_NOOP || opcode == UIOMMU_ACCEL_DRAIN, specific;

		for (unsigned int bit = 20; bit < 31; bit++) {
			desc = valid_desc(&valid[i]);
			desc.pasid_priv = UINT32_C(1) << bit;
			expect_reserved(rig, &desc);
		}
		desc = valid_desc(&valid[i]), desc.interrupt_handle = 1, expect_reserved(rig, &desc);
		desc = valid_desc(&valid[i]), desc.reserved = 0x8000, expect_reserved(rig, &desc);
		desc = valid_desc(&valid[i]), desc.handles = 1, expect_reserved(rig, &desc);
		desc = valid_desc(&valid[i]), desc.handles = UINT64_C(1) << 63, expect_reserved(rig, &desc);
		desc = valid_desc(&valid[i]), desc.seed_address = 4, expect_reserved(rig, &desc);
		specific = opcode == UIOMMU_ACCEL_DUALCAST;
		desc = valid_desc(&valid[i]), desc.specific = UINT64_C(1) << 32;
		if (!specific)
			expect_reserved(rig, &desc);
		if (none) {
			desc = valid_desc(&valid[i]), desc.source = 1, expect_reserved(rig, &desc);
			desc = valid_desc(&valid[i]), desc.transfer_size = 1, expect_reserved(rig, &desc);
		}
		if (none || opcode == UIOMMU_ACCEL_BATCH || opcode == UIOMMU_ACCEL_CRC)
			desc = valid_desc(&valid[i]), desc.destination = 1, expect_reserved(rig, &desc);
	}
}

static void seed_is_in_one_place(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = crc(rig_at(0, 0), 8, 1, UIOMMU_ACCEL_READ_SEED);

	desc.seed_address = rig_at(1, 0);
	expect_reserved(rig, &desc);
	desc.specific = 0;
	desc.seed_address = rig_at(1, 2);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_ADDRESS_ALIGN, 0, 0, 0, 0);
}

static void sizes_have_limits(void **state)
{
	struct rig *rig = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(valid); i++) {
		struct uiommu_accel_desc desc = valid_desc(&valid[i]);
		bool batch = valid[i].opcode == UIOMMU_ACCEL_BATCH;
		unsigned int status = batch ? UIOMMU_ACCEL_COUNT_RANGE : UIOMMU_ACCEL_TRANSFER_RANGE;

		if (!desc.transfer_size)
			continue;
		rig_clear(rig);
		desc.transfer_size = 0;
		rig_expect(rig_run(rig, &desc), status, 0, 0, 0, 0);
		desc.transfer_size = UIOMMU_ACCEL_TRANSFER_MAX + 1;
		rig_expect(rig_run(rig, &desc), status, 0, 0, 0, 0);
		desc.transfer_size = UINT32_MAX;
		rig_expect(rig_run(rig, &desc), status, 0, 0, 0, 0);
		if (!batch)
			continue;
		desc.transfer_size = 1;
		rig_expect(rig_run(rig, &desc), status, 0, 0, 0, 0);
		desc.transfer_size = UIOMMU_ACCEL_BATCH_MAX + 1;
		rig_expect(rig_run(rig, &desc), status, 0, 0, 0, 0);
		desc.transfer_size = 2;
		desc.source += 32;
		rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_LIST_ALIGN, 0, 0, 0, 0);
	}
}

static void not_for_users(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, 0);

	desc.pasid_priv = UINT32_C(1) << 31;
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_PRIVILEGE, 0, 0, 0, 0);
	desc = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD | UIOMMU_ACCEL_REQUEST_INTERRUPT, 0);
	desc.interrupt_handle = 1;
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_INTERRUPT_HANDLE, 0, 0, 0, 0);
}

/* On a dedicated queue the PASID is the queue's. */
static void dedicated_ignores_the_pasid(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, 0);

	desc.pasid_priv = RIG_WRONG;
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, 0, 0, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_words_are_dsa),
		TEST(noop_writes_a_record),
		TEST(success_without_request_writes_none),
		TEST(interrupt_on_request),
		TEST(memmove_moves),
		TEST(memmove_overlaps),
		TEST(fill_repeats_its_pattern),
		TEST(compare_finds_the_first_difference),
		TEST(compare_pattern_finds_the_first_difference),
		TEST(dualcast_writes_both),
		TEST(dualcast_rules),
		TEST(crc_known_answer),
		TEST(crc_variants),
		TEST(crc_chains),
		TEST(every_flag),
		TEST(request_without_an_address),
		TEST(every_opcode),
		TEST(every_reserved_field),
		TEST(seed_is_in_one_place),
		TEST(sizes_have_limits),
		TEST(not_for_users),
		TEST(dedicated_ignores_the_pasid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

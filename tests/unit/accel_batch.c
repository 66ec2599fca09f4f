/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches. */
#include "accel_rig.h"
#include "util/util.h"

enum { LIST = 1100 }; /* page where lists are */

static struct uiommu_accel_desc *list(struct rig *rig)
{
	return (struct uiommu_accel_desc *)rig_memory(rig, RIG_MAIN, rig_at(LIST, 0));
}

static struct uiommu_accel_desc batch(uint64_t address, uint32_t count)
{
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_BATCH, RIG_RECORD, 0);

	desc.source = address;
	desc.transfer_size = count;
	return desc;
}

/* Member @i copies a page's worth, to its own place and with record i + 1. */
static struct uiommu_accel_desc member_move(unsigned int i)
{
	return rig_move(rig_at(100, i * 64), rig_at(400, i * 64), 64, i + 1);
}

static bool member_moved(struct rig *rig, unsigned int i)
{
	return !memcmp(rig_memory(rig, RIG_MAIN, rig_at(100, i * 64)), rig_memory(rig, RIG_MAIN, rig_at(400, i * 64)), 64);
}

static void expect_members(struct rig *rig, unsigned int first, unsigned int end, unsigned int status)
{
	for (unsigned int i = first; i < end; i++) {
		rig_expect(&rig->records[i + 1], status, 0, status == UIOMMU_ACCEL_SUCCESS ? 64 : 0, 0, 0);
		assert_int_equal(member_moved(rig, i), status == UIOMMU_ACCEL_SUCCESS);
	}
}

static void fill_list(struct rig *rig, unsigned int count)
{
	rig_scramble(rig, count);
	memset(rig->records, 0, (count + 1) * sizeof(*rig->records));
	for (unsigned int i = 0; i < count; i++)
		list(rig)[i] = member_move(i);
}

static void every_member_is_done(void **state)
{
	static const unsigned int counts[] = {2, 3, 63, 64, 65, 200, 1024};
	struct rig *rig = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(counts); i++) {
		struct uiommu_accel_desc desc = batch(rig_at(LIST, 0), counts[i]);

		fill_list(rig, counts[i]);
		rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, counts[i], 0, 0);
		expect_members(rig, 0, counts[i], UIOMMU_ACCEL_SUCCESS);
	}
}

static void big_members(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = batch(rig_at(LIST, 0), 3);

	rig_scramble(rig, 1);
	list(rig)[0] = rig_move(rig_at(32, 0), rig_at(1200, 1), 3 << 20 >> 1, 1);
	list(rig)[1] = rig_move(rig_at(500, 0), rig_at(1300, 1), 1 << 20, 2);
	list(rig)[2] = rig_move(rig_at(900, 0), rig_at(1400, 1), 5, 3);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, 3, 0, 0);
	assert_true(!memcmp(rig_memory(rig, RIG_MAIN, rig_at(32, 0)), rig_memory(rig, RIG_MAIN, rig_at(1200, 1)), 3 << 20 >> 1));
	assert_true(!memcmp(rig_memory(rig, RIG_MAIN, rig_at(500, 0)), rig_memory(rig, RIG_MAIN, rig_at(1300, 1)), 1 << 20));
	assert_true(!memcmp(rig_memory(rig, RIG_MAIN, rig_at(900, 0)), rig_memory(rig, RIG_MAIN, rig_at(1400, 1)), 5));
}

static void a_failure_fails_the_batch(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = batch(rig_at(LIST, 0), 10);

	fill_list(rig, 10);
	list(rig)[4].flags_opcode |= 0x800000;
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_BATCH_FAIL, 0, 10, 0, 0);
	rig_expect(&rig->records[5], UIOMMU_ACCEL_INVALID_FLAGS, 0, 0, 0, 0x800000);
	expect_members(rig, 0, 4, UIOMMU_ACCEL_SUCCESS);
	expect_members(rig, 5, 10, UIOMMU_ACCEL_SUCCESS);
}

/* Each kind of failure, alone in a batch. */
static void failures_of_all_kinds(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = batch(rig_at(LIST, 0), 2), bad[5];

	bad[0] = rig_move(rig_at(0, 0), rig_at(RIG_HOLE, 0), 8, 1);
	bad[1] = rig_desc(UIOMMU_ACCEL_COMPARE_PATTERN, RIG_RECORD | UIOMMU_ACCEL_CHECK_RESULT, 1);
	bad[1].source = rig_at(0, 0);
	bad[1].destination = 1;
	bad[1].transfer_size = 8;
	/* Records that cannot be written. */
	bad[2] = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, 1);
	bad[2].completion_address = rig_at(RIG_HOLE, 0);
	bad[3] = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, 1);
	bad[3].completion_address += 8;
	/* No record at all. */
	bad[4] = rig_move(rig_at(0, 0), rig_at(RIG_HOLE, 0), 8, 1);
	bad[4].flags_opcode = UIOMMU_ACCEL_MEMMOVE << 24;
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		fill_list(rig, 2);
		list(rig)[i % 2] = bad[i];
		memset(rig_memory(rig, RIG_MAIN, rig_at(0, 0)), 0, 8);
		rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_BATCH_FAIL, 0, 2, 0, 0);
	}
}

static void no_batch_and_no_drain_inside(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = batch(rig_at(LIST, 0), 3);

	fill_list(rig, 3);
	list(rig)[0] = batch(rig_at(LIST, 0), 2);
	list(rig)[0].completion_address = rig_record_address(1);
	list(rig)[2] = rig_desc(UIOMMU_ACCEL_DRAIN, RIG_RECORD, 3);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_BATCH_FAIL, 0, 3, 0, 0);
	rig_expect(&rig->records[1], UIOMMU_ACCEL_BAD_OPCODE, 0, 0, 0, 0);
	expect_members(rig, 1, 2, UIOMMU_ACCEL_SUCCESS);
	rig_expect(&rig->records[3], UIOMMU_ACCEL_BAD_OPCODE, 0, 0, 0, 0);
}

/* The PASID of the members is the batch's, whatever they say. */
static void members_have_the_pasid_of_the_batch(void **state)
{
	struct rig *rig = *state;
	struct uiommu_queue *queue = rig_queue(rig, UIOMMU_QUEUE_SHARED, 8);
	struct uiommu_accel_desc desc = batch(rig_at(LIST, 0), 2);

	fill_list(rig, 2);
	list(rig)[0].pasid_priv = RIG_OTHER;
	list(rig)[1].pasid_priv = RIG_WRONG;
	desc.pasid_priv = RIG_PASID;
	rig_expect(rig_run_on(rig, queue, &desc), UIOMMU_ACCEL_SUCCESS, 0, 2, 0, 0);
	expect_members(rig, 0, 2, UIOMMU_ACCEL_SUCCESS);
}

/* A fence lets what was before it be seen: each member copies what the one before has written. */
static void fences_order(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = batch(rig_at(LIST, 0), 100);

	fill_list(rig, 100);
	for (unsigned int i = 1; i < 100; i++) {
		list(rig)[i].source = list(rig)[i - 1].destination;
		list(rig)[i].flags_opcode |= UIOMMU_ACCEL_FENCE;
	}
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, 100, 0, 0);
	for (unsigned int i = 0; i < 100; i++)
		assert_memory_equal(rig_memory(rig, RIG_MAIN, rig_at(100, i * 64)), rig_memory(rig, RIG_MAIN, rig_at(400, 0)), 64);
}

/* It also waits for records: a checksum continues with the value of the one before. */
static void fences_wait_for_records(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = batch(rig_at(LIST, 0), 2), whole = rig_desc(UIOMMU_ACCEL_CRC, RIG_RECORD, 9);
	struct uiommu_accel_desc *members = list(rig);

	rig_scramble(rig, 5);
	for (unsigned int i = 0; i < 2; i++) {
		members[i] = rig_desc(UIOMMU_ACCEL_CRC, RIG_RECORD, i + 1);
		members[i].source = rig_at(500, 5000 * i);
		members[i].transfer_size = 5000;
	}
	members[1].flags_opcode |= UIOMMU_ACCEL_FENCE | UIOMMU_ACCEL_READ_SEED;
	members[1].seed_address = rig_record_address(1) + offsetof(struct uiommu_accel_record, value);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, 2, 0, 0);
	whole.source = rig_at(500, 0);
	whole.transfer_size = 10000;
	assert_int_equal(rig->records[2].value, rig_run(rig, &whole)->value);
}

static void a_fence_after_a_failure_ends_the_batch(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = batch(rig_at(LIST, 0), 20);

	fill_list(rig, 20);
	list(rig)[3].source = rig_at(RIG_HOLE, 0);
	list(rig)[12].flags_opcode |= UIOMMU_ACCEL_FENCE;
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_BATCH_FAIL, 0, 12, 0, 0);
	expect_members(rig, 0, 3, UIOMMU_ACCEL_SUCCESS);
	expect_members(rig, 4, 12, UIOMMU_ACCEL_SUCCESS);
	expect_members(rig, 12, 20, UIOMMU_ACCEL_PENDING);
	/* A fence before the failure does not. */
	fill_list(rig, 20);
	list(rig)[3].source = rig_at(RIG_HOLE, 0);
	list(rig)[3].flags_opcode |= UIOMMU_ACCEL_FENCE;
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_BATCH_FAIL, 0, 20, 0, 0);
}

/* "Only if it is equal": a comparison, a fence, a copy. */
static void a_false_predicate_ends_the_batch(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = batch(rig_at(LIST, 0), 2);

	for (unsigned int expected = 0; expected < 2; expected++) {
		fill_list(rig, 2);
		list(rig)[0] = rig_desc(UIOMMU_ACCEL_COMPARE, RIG_RECORD | UIOMMU_ACCEL_CHECK_RESULT, 1);
		list(rig)[0].source = list(rig)[0].destination = rig_at(0, 0);
		list(rig)[0].transfer_size = 100;
		list(rig)[0].specific = expected;
		list(rig)[1].flags_opcode |= UIOMMU_ACCEL_FENCE;
		rig_expect(rig_run(rig, &desc), expected ? UIOMMU_ACCEL_BATCH_FAIL : UIOMMU_ACCEL_SUCCESS, 0, 2 - expected, 0, 0);
		assert_int_equal(rig->records[1].status, expected ? UIOMMU_ACCEL_FALSE_PREDICATE : UIOMMU_ACCEL_SUCCESS);
		expect_members(rig, 1, 2, expected ? UIOMMU_ACCEL_PENDING : UIOMMU_ACCEL_SUCCESS);
	}
}

/* The list runs into the hole: what could be read is done. */
static void the_list_faults(void **state)
{
	struct rig *rig = *state;
	unsigned int failed;

	for (failed = 0; failed < 2; failed++) {
		struct uiommu_accel_desc desc = batch(rig_at(RIG_HOLE, 0) - 5 * sizeof(desc), 8);

		fill_list(rig, 10);
		if (failed)
			list(rig)[2].source = rig_at(RIG_HOLE, 0);
		memcpy(rig_memory(rig, RIG_MAIN, desc.source), list(rig), 5 * sizeof(desc));
		rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_BATCH_PAGE_FAULT, failed, 5, rig_at(RIG_HOLE, 0), 0);
		expect_members(rig, 0, 2, UIOMMU_ACCEL_SUCCESS);
		expect_members(rig, 3, 5, UIOMMU_ACCEL_SUCCESS);
		expect_members(rig, 5, 8, UIOMMU_ACCEL_PENDING);
	}
	fill_list(rig, 2);
	list(rig)[0] = batch(rig_at(RIG_HOLE, 0), 2);
	rig_expect(rig_run(rig, &list(rig)[0]), UIOMMU_ACCEL_BATCH_PAGE_FAULT, 0, 0, rig_at(RIG_HOLE, 0), 0);
}

static void the_list_blocks(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = batch(rig_at(RIG_HOLE, 0) - 5 * sizeof(desc), 8);
	struct uiommu_fault_event event;

	desc.flags_opcode |= UIOMMU_ACCEL_BLOCK_ON_FAULT;
	fill_list(rig, 8);
	memcpy(rig_memory(rig, RIG_MAIN, desc.source), list(rig), 8 * sizeof(desc));
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
	event = next_request(rig);
	rig_map_pages(rig, RIG_MAIN, RIG_HOLE, RIG_HOLE + 1, UIOMMU_MAP_READ);
	respond(rig, &event, UIOMMU_RESPONSE_SUCCESS);
	rig_expect(&rig->records[0], UIOMMU_ACCEL_SUCCESS, 0, 8, 0, 0);
	expect_members(rig, 0, 8, UIOMMU_ACCEL_SUCCESS);
	assert_int_equal(uiommu_ioas_unmap(rig->context, rig->ioas[RIG_MAIN], rig_at(RIG_HOLE, 0), RIG_PAGE, NULL), 0);
	fill_list(rig, 8);
	memcpy(rig_memory(rig, RIG_MAIN, desc.source), list(rig), 5 * sizeof(desc));
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
	event = next_request(rig);
	respond(rig, &event, UIOMMU_RESPONSE_INVALID);
	rig_expect(&rig->records[0], UIOMMU_ACCEL_PAGE_FAULT_INVALID, 0, 5, rig_at(RIG_HOLE, 0), 0);
	expect_members(rig, 0, 5, UIOMMU_ACCEL_SUCCESS);
}

/* Members that wait for pages hold up fences and the end of their batch, nothing else. */
static void members_park(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = batch(rig_at(LIST, 0), 10), noop = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, 100);
	struct uiommu_fault_event event;

	fill_list(rig, 10);
	list(rig)[2].source = rig_at(RIG_HOLE, 0);
	list(rig)[2].flags_opcode |= UIOMMU_ACCEL_BLOCK_ON_FAULT;
	list(rig)[7].flags_opcode |= UIOMMU_ACCEL_FENCE;
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
	expect_members(rig, 0, 2, UIOMMU_ACCEL_SUCCESS);
	expect_members(rig, 3, 7, UIOMMU_ACCEL_SUCCESS);
	expect_members(rig, 7, 10, UIOMMU_ACCEL_PENDING);
	rig_expect(rig_run(rig, &noop), UIOMMU_ACCEL_SUCCESS, 0, 0, 0, 0);
	event = next_request(rig);
	rig_map_pages(rig, RIG_MAIN, RIG_HOLE, RIG_HOLE + 1, UIOMMU_MAP_READ);
	respond(rig, &event, UIOMMU_RESPONSE_SUCCESS);
	rig_expect(&rig->records[0], UIOMMU_ACCEL_SUCCESS, 0, 10, 0, 0);
	expect_members(rig, 7, 10, UIOMMU_ACCEL_SUCCESS);
	rig_expect(&rig->records[3], UIOMMU_ACCEL_SUCCESS, 0, 64, 0, 0);
}

/* More batches than slots, more parked members than a batch may have: everything ends when the pages come. */
static void many_batches_park(void **state)
{
	enum { BATCHES = 7, MEMBERS = 100 };
	struct rig *rig = *state;
	struct uiommu_fault_event event;
	unsigned int answered = 0;

	memset(rig->records, 0, sizeof(*rig->records) * BATCHES * (MEMBERS + 1));
	for (unsigned int i = 0; i < BATCHES; i++) {
		struct uiommu_accel_desc desc = batch(rig_at(LIST + 2 * i, 0), MEMBERS);

		desc.completion_address = rig_record_address(i);
		for (unsigned int j = 0; j < MEMBERS; j++) {
			struct uiommu_accel_desc *member = &list(rig)[(size_t)i * 2 * RIG_PAGE / sizeof(desc) + j];

			*member = rig_move(rig_at(100, 0), rig_at(RIG_HOLE, j), 8, BATCHES + i * MEMBERS + j);
			member->flags_opcode |= UIOMMU_ACCEL_BLOCK_ON_FAULT;
		}
		rig_submit(rig->queue, &desc);
	}
	rig_poll(rig);
	rig_map_pages(rig, RIG_MAIN, RIG_HOLE, RIG_HOLE + 1, UIOMMU_MAP_READ);
	while (uiommu_fault_read(rig->context, rig->faults, &event, 1) == 1) {
		respond(rig, &event, UIOMMU_RESPONSE_SUCCESS);
		answered++;
	}
	/* Those that were started before the page was there. */
	assert_int_equal(answered, 4 * 64);
	for (unsigned int i = 0; i < BATCHES; i++)
		rig_expect(&rig->records[i], UIOMMU_ACCEL_SUCCESS, 0, MEMBERS, 0, 0);
	for (unsigned int i = BATCHES; i < BATCHES * (MEMBERS + 1); i++)
		rig_expect(&rig->records[i], UIOMMU_ACCEL_SUCCESS, 0, 8, 0, 0);
}

/* Small moves, whatever is submitted when: a batch whose record is there has all that were submitted before it complete. */
static void the_oldest_goes_first(void **state)
{
	enum { BATCHES = 60, MEMBERS = 200 };
	struct rig *rig = *state;
	unsigned int submitted = 0, completed = 0;
	uint64_t seed = 1;

	memset(rig->records, 0, sizeof(*rig->records) * BATCHES);
	for (unsigned int i = 0; i < MEMBERS; i++) {
		list(rig)[i] = member_move(i);
		list(rig)[i].flags_opcode &= ~(uint32_t)RIG_RECORD;
		list(rig)[i].completion_address = 0;
	}
	while (completed < BATCHES) {
		for (unsigned int more = random_number(&seed) % 4; more && submitted < BATCHES; more--) {
			struct uiommu_accel_desc desc =
				batch(rig_at(LIST, 0), 2 + (uint32_t)(random_number(&seed) % (MEMBERS - 1)));

			desc.completion_address = rig_record_address(submitted++);
			rig_submit(rig->queue, &desc);
		}
		uiommu_accel_poll(rig->accel, 1 + (unsigned int)(random_number(&seed) % 128));
		while (completed < BATCHES && rig->records[completed].status)
			completed++;
		for (unsigned int i = completed; i < BATCHES; i++)
			assert_int_equal(rig->records[i].status, 0);
	}
}

/* Changing the list while it is worked on changes nothing. */
static void the_list_is_copied_once(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = batch(rig_at(LIST, 0), 100);

	fill_list(rig, 100);
	/* The first member overwrites the rest of the list. */
	list(rig)[0] = rig_desc(UIOMMU_ACCEL_FILL, RIG_RECORD, 1);
	list(rig)[0].source = UINT64_MAX;
	list(rig)[0].destination = rig_at(LIST, 64);
	list(rig)[0].transfer_size = 99 * 64;
	list(rig)[1].flags_opcode |= UIOMMU_ACCEL_FENCE;
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, 100, 0, 0);
	expect_members(rig, 1, 100, UIOMMU_ACCEL_SUCCESS);
}

static void the_pasid_ends_in_a_batch(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = batch(rig_at(LIST, 0), 10), noop = rig_desc(UIOMMU_ACCEL_NOOP, 0, 0);
	struct uiommu_accel_error error;

	fill_list(rig, 10);
	list(rig)[2].source = rig_at(RIG_HOLE, 0);
	list(rig)[2].flags_opcode |= UIOMMU_ACCEL_BLOCK_ON_FAULT;
	list(rig)[5].flags_opcode |= UIOMMU_ACCEL_FENCE;
	rig_run(rig, &desc);
	assert_int_equal(uiommu_detach(rig->context, rig->device, RIG_PASID), 0);
	rig_poll(rig);
	rig_expect(&rig->records[0], UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
	uiommu_queue_error(rig->queue, &error);
	assert_int_equal(error.code, UIOMMU_ACCEL_ERROR_PASID);
	/* Its slot is free again: as many as there are can begin. */
	assert_int_equal(uiommu_attach(rig->context, rig->device, RIG_PASID, rig->ioas[RIG_MAIN]), 0);
	fill_list(rig, 10);
	for (unsigned int i = 0; i < 10; i++)
		rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, 10, 0, 0);
	rig_run(rig, &noop);
}

/* Members that wait behind a fence are not for what the PASID stands for afterwards. */
static void the_pasid_is_reused_in_a_batch(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = batch(rig_at(LIST, 0), 10);

	fill_list(rig, 10);
	list(rig)[2].source = rig_at(RIG_HOLE, 0);
	list(rig)[2].flags_opcode = UIOMMU_ACCEL_MEMMOVE << 24 | UIOMMU_ACCEL_BLOCK_ON_FAULT;
	list(rig)[5].flags_opcode |= UIOMMU_ACCEL_FENCE;
	for (unsigned int i = 0; i < 10; i++)
		list(rig)[i].completion_address = rig_at(50, i * 32);
	/* Nothing in the batch fails but what is lost: the fence passes. */
	rig_run(rig, &desc);
	memset(rig->memory[RIG_SECOND], 0xcc, 500 * (size_t)RIG_PAGE);
	assert_int_equal(uiommu_detach(rig->context, rig->device, RIG_PASID), 0);
	assert_int_equal(uiommu_attach(rig->context, rig->device, RIG_PASID, rig->ioas[RIG_SECOND]), 0);
	rig_poll(rig);
	for (unsigned int i = 0; i < 500 * RIG_PAGE; i++)
		if (rig->memory[RIG_SECOND][i] != 0xcc)
			fail_msg("byte %u", i);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_member_is_done),
		TEST(big_members),
		TEST(a_failure_fails_the_batch),
		TEST(failures_of_all_kinds),
		TEST(no_batch_and_no_drain_inside),
		TEST(members_have_the_pasid_of_the_batch),
		TEST(fences_order),
		TEST(fences_wait_for_records),
		TEST(a_fence_after_a_failure_ends_the_batch),
		TEST(a_false_predicate_ends_the_batch),
		TEST(the_list_faults),
		TEST(the_list_blocks),
		TEST(members_park),
		TEST(many_batches_park),
		TEST(the_oldest_goes_first),
		TEST(the_list_is_copied_once),
		TEST(the_pasid_ends_in_a_batch),
		TEST(the_pasid_is_reused_in_a_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors that meet faults: partial completion, page requests, handles and PASIDs that end, records that cannot be written. */
#include "accel_rig.h"
#include "util/util.h"

enum { INTO = 1000 }; /* bytes that lie before the page that faults */

/* An address INTO bytes before a page. */
static uint64_t before(unsigned int page)
{
	return rig_at(page, 0) - INTO;
}

static void partial(struct rig *rig, const struct uiommu_accel_desc *desc, unsigned int status, uint64_t fault_address)
{
	rig_expect(rig_run(rig, desc), status, 0, INTO, fault_address, 0);
}

/* The first INTO bytes of a move are there, and nothing else has changed. */
static void partial_move(struct rig *rig, uint64_t destination, uint64_t source, uint32_t size, unsigned int status, uint64_t fault)
{
	struct uiommu_accel_desc desc = rig_move(destination, source, size, 0);
	size_t bytes = (size_t)RIG_PAGES * RIG_PAGE;
	uint8_t *expected = malloc(bytes);

	assert_non_null(expected);
	memcpy(expected, rig->memory[RIG_MAIN], bytes);
	memcpy(expected + (destination - RIG_BASE), expected + (source - RIG_BASE), INTO);
	partial(rig, &desc, status, fault);
	assert_true(!memcmp(rig->memory[RIG_MAIN], expected, bytes));
	free(expected);
}

static void moves_stop_at_the_page(void **state)
{
	static const uint32_t sizes[] = {INTO + 1, 8192, 16384, 100000, 3 << 20};
	const unsigned int write = UIOMMU_ACCEL_PAGE_FAULT | UIOMMU_ACCEL_FAULT_WRITE;
	struct rig *rig = *state;

	rig_scramble(rig, 1);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		partial_move(rig, rig_at(1000, 7), before(RIG_HOLE), sizes[i], UIOMMU_ACCEL_PAGE_FAULT, rig_at(RIG_HOLE, 0));
		partial_move(rig, before(RIG_HOLE), rig_at(1000, 7), sizes[i], write, rig_at(RIG_HOLE, 0));
		partial_move(rig, before(RIG_READ_ONLY), rig_at(1000, 7), sizes[i], write, rig_at(RIG_READ_ONLY, 0));
	}
}

static void first_byte_faults(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_move(rig_at(0, 0), rig_at(RIG_HOLE, 5), 16, 0);

	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_PAGE_FAULT, 0, 0, rig_at(RIG_HOLE, 5), 0);
	desc = rig_move(rig_at(RIG_READ_ONLY, 5), rig_at(0, 0), 16, 0);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_PAGE_FAULT | UIOMMU_ACCEL_FAULT_WRITE, 0, 0, rig_at(RIG_READ_ONLY, 5), 0);
}

static void read_only_can_be_read(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_move(rig_at(0, 0), rig_at(RIG_READ_ONLY, 0), RIG_PAGE, 0);

	rig_scramble(rig, 2);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, RIG_PAGE, 0, 0);
	assert_memory_equal(rig_memory(rig, RIG_MAIN, rig_at(0, 0)), rig_memory(rig, RIG_MAIN, rig_at(RIG_READ_ONLY, 0)), RIG_PAGE);
}

/*
 * Overlapping and moved upwards: done is counted from the end, and what is not done can still be done, so the source before it is
 * as it was.
 */
static void backward_move_stops_and_goes_on(void **state)
{
	static const uint32_t distances[] = {1, 100, 5000};
	struct rig *rig = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(distances); i++) {
		/* The destination's page 24 is read-only; the source is readable all over. */
		uint64_t source = rig_at(RIG_READ_ONLY, 50), destination = source + distances[i];
		uint64_t end = rig_at(RIG_READ_ONLY + 20, 77), limit = rig_at(RIG_READ_ONLY + 1, 0);
		uint32_t size = (uint32_t)(end - destination);
		struct uiommu_accel_desc desc = rig_move(destination, source, size, 0);
		uint64_t stop = destination > limit ? destination : limit, done = end - stop;
		struct uiommu_accel_record record;
		uint8_t *expected = malloc(size + distances[i]);
		const uint8_t *memory = rig_memory(rig, RIG_MAIN, source);

		assert_non_null(expected);
		rig_scramble(rig, 3 + i);
		memcpy(expected, memory, size + distances[i]);
		memmove(expected + (stop - source), expected + (stop - destination), done);
		record = *rig_run(rig, &desc);
		if (stop == destination) {
			rig_expect(&record, UIOMMU_ACCEL_SUCCESS, 1, size, 0, 0);
		} else {
			assert_int_equal(record.fault_address / RIG_PAGE, rig_at(RIG_READ_ONLY, 0) / RIG_PAGE);
			rig_expect(&record, UIOMMU_ACCEL_PAGE_FAULT | UIOMMU_ACCEL_FAULT_WRITE, 1, done, record.fault_address, 0);
		}
		assert_true(!memcmp(memory, expected, size + distances[i]));
		free(expected);
	}
}

static void backward_move_meets_a_hole(void **state)
{
	struct rig *rig = *state;
	uint64_t source = rig_at(RIG_HOLE, 0) - 3000, destination = rig_at(RIG_HOLE + 1, 0) - 3000 + 10;
	struct uiommu_accel_desc desc = rig_move(destination, source, 12000, 0);
	uint64_t done = destination + 12000 - (rig_at(RIG_HOLE + 1, 0) + (destination - source));
	uint8_t expected[12000];

	rig_scramble(rig, 7);
	memcpy(expected, rig_memory(rig, RIG_MAIN, destination), sizeof(expected));
	memmove(expected + sizeof(expected) - done, rig_memory(rig, RIG_MAIN, source + 12000 - done), done);
	/* Source pages from the end: 18, 17, then the hole. */
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_PAGE_FAULT, 1, done, rig_at(RIG_HOLE, 0), 0);
	assert_memory_equal(rig_memory(rig, RIG_MAIN, destination), expected, sizeof(expected));
}

static void fill_stops(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_FILL, RIG_RECORD, 0);
	uint8_t *memory = rig_memory(rig, RIG_MAIN, before(RIG_READ_ONLY));

	desc.source = 0x0807060504030201;
	desc.destination = before(RIG_READ_ONLY);
	desc.transfer_size = 1 << 20;
	partial(rig, &desc, UIOMMU_ACCEL_PAGE_FAULT | UIOMMU_ACCEL_FAULT_WRITE, rig_at(RIG_READ_ONLY, 0));
	for (unsigned int i = 0; i < INTO; i++)
		assert_int_equal(memory[i], i % 8 + 1);
	assert_int_equal(memory[INTO], 0);
}

static void comparisons_stop(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_COMPARE, RIG_RECORD, 0);

	desc.transfer_size = 300000;
	desc.source = before(RIG_HOLE);
	desc.destination = rig_at(100, 0);
	partial(rig, &desc, UIOMMU_ACCEL_PAGE_FAULT, rig_at(RIG_HOLE, 0));
	desc.source = rig_at(100, 0);
	desc.destination = before(RIG_HOLE);
	partial(rig, &desc, UIOMMU_ACCEL_PAGE_FAULT, rig_at(RIG_HOLE, 0));
}

static void comparison_of_two_faults(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_COMPARE, RIG_RECORD, 0);

	/* Equal as far as both can be read: all zero. The one that comes first is told. */
	desc.transfer_size = 8192;
	desc.source = before(RIG_HOLE) - 10;
	desc.destination = before(RIG_HOLE);
	partial(rig, &desc, UIOMMU_ACCEL_PAGE_FAULT, rig_at(RIG_HOLE, 0));
	desc.source = before(RIG_HOLE);
	desc.destination = before(RIG_HOLE) - 10;
	partial(rig, &desc, UIOMMU_ACCEL_PAGE_FAULT, rig_at(RIG_HOLE, 0));
}

/* A difference before the hole is a result, not a fault. */
static void difference_before_the_fault(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_COMPARE, RIG_RECORD, 0);

	desc.transfer_size = 8192;
	desc.source = before(RIG_HOLE);
	desc.destination = rig_at(100, 0);
	rig_memory(rig, RIG_MAIN, rig_at(100, 0))[INTO - 1] = 1;
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 1, INTO - 1, 0, 0);
	desc.flags_opcode = UIOMMU_ACCEL_COMPARE_PATTERN << 24 | RIG_RECORD;
	desc.destination = 0;
	partial(rig, &desc, UIOMMU_ACCEL_PAGE_FAULT, rig_at(RIG_HOLE, 0));
	rig_memory(rig, RIG_MAIN, before(RIG_HOLE))[3] = 1;
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 1, 3, 0, 0);
}

static void dualcast_stops(void **state)
{
	const unsigned int write = UIOMMU_ACCEL_PAGE_FAULT | UIOMMU_ACCEL_FAULT_WRITE;
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_DUALCAST, RIG_RECORD, 0);
	uint64_t far = rig_at(200, 0) - INTO;

	rig_scramble(rig, 8);
	desc.transfer_size = 300000;
	desc.source = rig_at(400, 1);
	desc.destination = before(RIG_HOLE);
	desc.specific = far;
	partial(rig, &desc, write, rig_at(RIG_HOLE, 0));
	assert_memory_equal(rig_memory(rig, RIG_MAIN, far), rig_memory(rig, RIG_MAIN, desc.source), INTO);
	desc.source = rig_at(500, 1);
	desc.destination = far;
	desc.specific = before(RIG_READ_ONLY);
	partial(rig, &desc, write, rig_at(RIG_READ_ONLY, 0));
	assert_memory_equal(rig_memory(rig, RIG_MAIN, before(RIG_READ_ONLY)), rig_memory(rig, RIG_MAIN, desc.source), INTO);
	desc.source = before(RIG_HOLE);
	desc.specific = rig_at(300, 0) - INTO;
	partial(rig, &desc, UIOMMU_ACCEL_PAGE_FAULT, rig_at(RIG_HOLE, 0));
	assert_memory_equal(rig_memory(rig, RIG_MAIN, desc.specific), rig_memory(rig, RIG_MAIN, desc.source), INTO);
}

/* The value of a partial completion is the seed for the rest. */
static void crc_stops_and_goes_on(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_CRC, RIG_RECORD, 0);
	struct uiommu_accel_record *record;
	uint64_t seed;

	rig_scramble(rig, 9);
	desc.source = before(RIG_HOLE);
	desc.transfer_size = INTO + 100;
	record = rig_run(rig, &desc);
	seed = record->value;
	rig_expect(record, UIOMMU_ACCEL_PAGE_FAULT, 0, INTO, rig_at(RIG_HOLE, 0), seed);
	rig_map_pages(rig, RIG_MAIN, RIG_HOLE, RIG_HOLE + 1, UIOMMU_MAP_READ);
	desc.source = rig_at(RIG_HOLE, 0);
	desc.transfer_size = 100;
	desc.specific = seed;
	seed = rig_run(rig, &desc)->value;
	desc.source = before(RIG_HOLE);
	desc.transfer_size = INTO + 100;
	desc.specific = 0;
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, INTO + 100, 0, seed);
}

static void crc_seed_faults(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_CRC, RIG_RECORD | UIOMMU_ACCEL_READ_SEED, 0);

	desc.source = rig_at(0, 0);
	desc.transfer_size = 10;
	desc.seed_address = rig_at(RIG_HOLE, 0);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_PAGE_FAULT, 0, 0, rig_at(RIG_HOLE, 0), 0);
}

static void addresses_that_wrap(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_move(UINT64_MAX - 7, rig_at(0, 0), 4096, 0);
	struct uiommu_accel_record *record = rig_run(rig, &desc);

	assert_int_equal(record->status, UIOMMU_ACCEL_PAGE_FAULT | UIOMMU_ACCEL_FAULT_WRITE);
	assert_int_equal(record->bytes_completed, 0);
	desc = rig_move(rig_at(0, 0), UINT64_MAX - 7, 1 << 20, 0);
	record = rig_run(rig, &desc);
	assert_int_equal(record->status, UIOMMU_ACCEL_PAGE_FAULT);
	assert_int_equal(record->bytes_completed, 0);
	/* Overlapping, upwards. */
	for (unsigned int i = 0; i < 4; i++) {
		desc = rig_move(UINT64_MAX - 0xfff, UINT64_MAX - 0xffff, UINT32_C(102400) << i, 0);
		record = rig_run(rig, &desc);
		assert_int_equal(record->status, UIOMMU_ACCEL_PAGE_FAULT);
		assert_int_equal(record->bytes_completed, 0);
	}
}

/* --- page requests --- */

static void nothing_told(struct rig *rig)
{
	struct uiommu_fault_event event;

	assert_int_equal(uiommu_fault_read(rig->context, rig->faults, &event, 1), 0);
}

static struct uiommu_accel_desc blocking_move(uint64_t destination, uint64_t source, uint32_t size, unsigned int record)
{
	struct uiommu_accel_desc desc = rig_move(destination, source, size, record);

	desc.flags_opcode |= UIOMMU_ACCEL_BLOCK_ON_FAULT;
	return desc;
}

static void parked_until_the_page_is_there(void **state)
{
	static const uint32_t sizes[] = {INTO + 100, 50000, 2 << 20};
	struct rig *rig = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct uiommu_accel_desc desc = blocking_move(rig_at(600, 0), before(RIG_HOLE), sizes[i], 0);
		struct uiommu_accel_desc noop = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, 1);
		struct uiommu_fault_event event;

		rig_scramble(rig, 10 + i);
		rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
		event = next_request(rig);
		assert_int_equal(event.fault.address, rig_at(RIG_HOLE, 0));
		assert_int_equal(event.fault.pasid, RIG_PASID);
		assert_int_equal(event.fault.access, UIOMMU_READ);
		assert_int_equal(event.fault.reason, UIOMMU_FAULT_UNMAPPED);
		/* Meanwhile the engine does other things. */
		rig_expect(rig_run(rig, &noop), UIOMMU_ACCEL_SUCCESS, 0, 0, 0, 0);
		rig_map_pages(rig, RIG_MAIN, RIG_HOLE, RIG_HOLE + 1, UIOMMU_MAP_READ);
		respond(rig, &event, UIOMMU_RESPONSE_SUCCESS);
		rig_expect(&rig->records[0], UIOMMU_ACCEL_SUCCESS, 0, sizes[i], 0, 0);
		assert_true(
			!memcmp(rig_memory(rig, RIG_MAIN, rig_at(600, 0)), rig_memory(rig, RIG_MAIN, before(RIG_HOLE)), sizes[i]));
		assert_int_equal(uiommu_ioas_unmap(rig->context, rig->ioas[RIG_MAIN], rig_at(RIG_HOLE, 0), RIG_PAGE, NULL), 0);
	}
}

static void refused(void **state)
{
	static const unsigned int responses[] = {UIOMMU_RESPONSE_INVALID, UIOMMU_RESPONSE_FAILURE};
	struct rig *rig = *state;

	for (unsigned int i = 0; i < ARRAY_SIZE(responses); i++) {
		struct uiommu_accel_desc desc = blocking_move(before(RIG_HOLE), rig_at(100, 0), 50000, 0);
		struct uiommu_fault_event event;

		rig_scramble(rig, 20 + i);
		rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
		event = next_request(rig);
		assert_int_equal(event.fault.access, UIOMMU_WRITE);
		respond(rig, &event, responses[i]);
		rig_expect(&rig->records[0], UIOMMU_ACCEL_PAGE_FAULT_INVALID | UIOMMU_ACCEL_FAULT_WRITE, 0, INTO,
			   rig_at(RIG_HOLE, 0), 0);
		assert_memory_equal(rig_memory(rig, RIG_MAIN, before(RIG_HOLE)), rig_memory(rig, RIG_MAIN, rig_at(100, 0)), INTO);
	}
	nothing_told(rig);
}

/* A success that changed nothing asks again. */
static void answered_without_a_page(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = blocking_move(rig_at(0, 0), rig_at(RIG_HOLE, 0), 8, 0);

	rig_run(rig, &desc);
	for (unsigned int i = 0; i < 5; i++) {
		struct uiommu_fault_event event = next_request(rig);

		respond(rig, &event, UIOMMU_RESPONSE_SUCCESS);
		rig_expect(&rig->records[0], UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
	}
}

static struct uiommu_accel_desc blocking(unsigned int opcode, uint64_t source, uint64_t destination)
{
	struct uiommu_accel_desc desc = rig_desc(opcode, RIG_RECORD | UIOMMU_ACCEL_BLOCK_ON_FAULT, 0);

	desc.source = source;
	desc.destination = destination;
	desc.transfer_size = INTO + 500;
	return desc;
}

/* Every operation goes on where it stopped. */
static void every_operation_blocks(void **state)
{
	struct rig *rig = *state;
	const struct uiommu_accel_desc descs[] = {
		blocking(UIOMMU_ACCEL_FILL, 0, before(RIG_HOLE)),
		blocking(UIOMMU_ACCEL_COMPARE, before(RIG_HOLE), rig_at(100, 0)),
		blocking(UIOMMU_ACCEL_COMPARE, rig_at(100, 0), before(RIG_HOLE)),
		blocking(UIOMMU_ACCEL_COMPARE_PATTERN, before(RIG_HOLE), 0),
		blocking(UIOMMU_ACCEL_DUALCAST, before(RIG_HOLE), rig_at(100, 0)),
		blocking(UIOMMU_ACCEL_CRC, before(RIG_HOLE), 0),
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(descs); i++) {
		struct uiommu_accel_desc desc = descs[i];
		struct uiommu_accel_record record;
		struct uiommu_fault_event event;

		if (desc.flags_opcode >> 24 == UIOMMU_ACCEL_DUALCAST)
			desc.specific = rig_at(200, 0);
		rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
		event = next_request(rig);
		assert_int_equal(event.fault.address, rig_at(RIG_HOLE, 0));
		rig_map_pages(rig, RIG_MAIN, RIG_HOLE, RIG_HOLE + 1, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
		respond(rig, &event, UIOMMU_RESPONSE_SUCCESS);
		record = rig->records[0];
		rig_expect(&record, UIOMMU_ACCEL_SUCCESS, 0, INTO + 500, 0, record.value);
		/* As if nothing had happened. */
		rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, INTO + 500, 0, record.value);
		assert_int_equal(uiommu_ioas_unmap(rig->context, rig->ioas[RIG_MAIN], rig_at(RIG_HOLE, 0), RIG_PAGE, NULL), 0);
	}
}

/* Without a fault queue nobody could answer. */
static void nobody_to_ask(void **state)
{
	struct rig *rig = *state;
	struct uiommu_queue *queue = rig_queue(rig, UIOMMU_QUEUE_HANDLES, 8);
	struct uiommu_accel_desc desc = blocking_move(rig_at(0, 0), before(RIG_HOLE), 5000, 0);
	uint16_t handle;

	assert_int_equal(uiommu_accel_grant(rig->accel, RIG_OTHER, &handle), 0);
	desc.handles = handle;
	rig_expect(rig_run_on(rig, queue, &desc), UIOMMU_ACCEL_PAGE_FAULT_INVALID, 0, INTO, rig_at(RIG_HOLE, 0), 0);
	nothing_told(rig);
}

/* A fault that there is no room to ask for is an event. */
static void no_room_to_ask(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = blocking_move(rig_at(0, 0), rig_at(RIG_HOLE, 0), 8, 0);
	struct uiommu_accel_desc plain = rig_move(rig_at(0, 0), rig_at(RIG_HOLE, 0), 8, 1);
	struct uiommu_fault_event event;
	unsigned int told = 0;

	while (told++ < 1024)
		rig_expect(rig_run(rig, &plain), UIOMMU_ACCEL_PAGE_FAULT, 0, 0, rig_at(RIG_HOLE, 0), 0);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_PAGE_FAULT_INVALID, 0, 0, rig_at(RIG_HOLE, 0), 0);
	for (told = 0; uiommu_fault_read(rig->context, rig->faults, &event, 1) == 1; told++) {
		assert_int_equal(event.cookie, 0);
		assert_int_equal(event.lost, 0);
	}
	assert_int_equal(told, 1024);
	rig_run(rig, &plain);
	assert_int_equal(uiommu_fault_read(rig->context, rig->faults, &event, 1), 1);
	assert_int_equal(event.lost, 1);
}

/* What differs before the fault decides, and nobody needs the page. */
static void nothing_to_ask_for(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_COMPARE, RIG_RECORD | UIOMMU_ACCEL_BLOCK_ON_FAULT, 0);

	desc.source = before(RIG_HOLE);
	desc.destination = rig_at(100, 0);
	desc.transfer_size = 5000;
	rig_scramble(rig, 40);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 1, 0, 0, 0);
	nothing_told(rig);
}

/* More parked than a window holds, answered in another order. */
static void many_parked(void **state)
{
	struct rig *rig = *state;
	struct uiommu_fault_event events[60];

	rig_scramble(rig, 30);
	memset(rig->records, 0, sizeof(*rig->records) * ARRAY_SIZE(events));
	for (unsigned int i = 0; i < ARRAY_SIZE(events); i++) {
		struct uiommu_accel_desc desc = blocking_move(rig_at(100 + i, 0), rig_at(RIG_HOLE, i), 64, i);

		rig_submit(rig->queue, &desc);
	}
	rig_poll(rig);
	for (unsigned int i = 0; i < ARRAY_SIZE(events); i++)
		events[i] = next_request(rig);
	rig_map_pages(rig, RIG_MAIN, RIG_HOLE, RIG_HOLE + 1, UIOMMU_MAP_READ);
	for (unsigned int i = ARRAY_SIZE(events); i-- > 0;) {
		unsigned int record = (unsigned int)(events[i].fault.address - rig_at(RIG_HOLE, 0));

		rig_expect(&rig->records[record], UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
		respond(rig, &events[i], i % 3 ? UIOMMU_RESPONSE_SUCCESS : UIOMMU_RESPONSE_INVALID);
		if (!(i % 3)) {
			rig_expect(&rig->records[record], UIOMMU_ACCEL_PAGE_FAULT_INVALID, 0, 0, rig_at(RIG_HOLE, record), 0);
			continue;
		}
		rig_expect(&rig->records[record], UIOMMU_ACCEL_SUCCESS, 0, 64, 0, 0);
		assert_memory_equal(rig_memory(rig, RIG_MAIN, rig_at(100 + record, 0)),
				    rig_memory(rig, RIG_MAIN, rig_at(RIG_HOLE, record)), 64);
	}
}

static void queue_ends_with_parked(void **state)
{
	struct rig *rig = *state;
	struct uiommu_queue *queue = rig_queue(rig, 0, 8);
	struct uiommu_accel_desc desc = blocking_move(rig_at(0, 0), rig_at(RIG_HOLE, 0), 64, 0);
	struct uiommu_fault_event event;

	rig_expect(rig_run_on(rig, queue, &desc), UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
	event = next_request(rig);
	uiommu_queue_destroy(queue);
	rig_map_pages(rig, RIG_MAIN, RIG_HOLE, RIG_HOLE + 1, UIOMMU_MAP_READ);
	respond(rig, &event, UIOMMU_RESPONSE_SUCCESS);
	/* Dropped: nothing was written. */
	rig_expect(&rig->records[0], UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
	desc = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, 1);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, 0, 0, 0);
}

static void engine_ends_with_parked(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = blocking_move(rig_at(0, 0), rig_at(RIG_HOLE, 0), 64, 0);

	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
	rig_submit(rig->queue, &desc);
	/* The teardown destroys the engine first, then the context answers. */
}

static void drain_waits_for_parked(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = blocking_move(rig_at(0, 0), rig_at(RIG_HOLE, 0), 64, 0);
	struct uiommu_accel_desc drain = rig_desc(UIOMMU_ACCEL_DRAIN, RIG_RECORD, 1);
	struct uiommu_accel_desc noop = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, 2);
	struct uiommu_fault_event event;

	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
	event = next_request(rig);
	rig_expect(rig_run(rig, &drain), UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
	/* What comes after a drain does not wait for it. */
	rig_expect(rig_run(rig, &noop), UIOMMU_ACCEL_SUCCESS, 0, 0, 0, 0);
	drain.completion_address = rig_record_address(3);
	rig_expect(rig_run(rig, &drain), UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
	respond(rig, &event, UIOMMU_RESPONSE_INVALID);
	rig_expect(&rig->records[1], UIOMMU_ACCEL_SUCCESS, 0, 0, 0, 0);
	rig_expect(&rig->records[3], UIOMMU_ACCEL_SUCCESS, 0, 0, 0, 0);
}

/* --- PASIDs, handles, records --- */

static void expect_error(struct uiommu_queue *queue, unsigned int code, unsigned int status, uint32_t pasid, uint64_t address)
{
	struct uiommu_accel_error error;

	uiommu_queue_error(queue, &error);
	assert_int_equal(error.code, code);
	assert_int_equal(error.status, status);
	if (code) {
		assert_int_equal(error.pasid, pasid);
		assert_int_equal(error.address, address);
	}
}

static void wrong_pasid_touches_nothing(void **state)
{
	struct rig *rig = *state;
	struct uiommu_queue *queue = rig_queue(rig, UIOMMU_QUEUE_SHARED | UIOMMU_QUEUE_HANDLES, 8);
	struct uiommu_accel_desc desc = rig_move(rig_at(0, 0), rig_at(1, 0), 64, 0);
	uint8_t zero[64] = {0};
	uint16_t handle;

	assert_int_equal(uiommu_accel_grant(rig->accel, RIG_PASID, &handle), 0);
	memset(rig_memory(rig, RIG_MAIN, rig_at(1, 0)), 1, 64);
	desc.pasid_priv = RIG_WRONG;
	rig_expect(rig_run_on(rig, queue, &desc), UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
	expect_error(queue, UIOMMU_ACCEL_ERROR_PASID, 0, RIG_WRONG, rig_record_address(0));
	/* Not even through handles that are good. */
	desc.handles = handle | (uint64_t)handle << 16;
	rig_expect(rig_run_on(rig, queue, &desc), UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
	expect_error(queue, UIOMMU_ACCEL_ERROR_PASID, 0, RIG_WRONG, rig_record_address(0));
	assert_memory_equal(rig_memory(rig, RIG_MAIN, rig_at(0, 0)), zero, sizeof(zero));
	desc.pasid_priv = RIG_PASID;
	rig_expect(rig_run_on(rig, queue, &desc), UIOMMU_ACCEL_SUCCESS, 0, 64, 0, 0);
	expect_error(queue, UIOMMU_ACCEL_ERROR_NONE, 0, 0, 0);
}

static void record_that_cannot_be_written(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, 0);
	struct uiommu_accel_error error;

	desc.completion_address = rig_at(RIG_HOLE, 64);
	rig_submit(rig->queue, &desc);
	desc.completion_address = rig_at(RIG_READ_ONLY, 64);
	rig_submit(rig->queue, &desc);
	desc.completion_address = rig_record_address(0) + 16;
	rig_submit(rig->queue, &desc);
	rig_poll(rig);
	uiommu_queue_error(rig->queue, &error);
	assert_int_equal(error.count, 3);
	/* Misalignment is seen at once; records are written at the end. */
	assert_int_equal(error.code, UIOMMU_ACCEL_ERROR_RECORD);
	assert_int_equal(error.status, UIOMMU_ACCEL_RECORD_ALIGN);
	assert_int_equal(error.address, rig_record_address(0) + 16);
	desc.completion_address = rig_at(RIG_HOLE, 64);
	rig_submit(rig->queue, &desc);
	rig_poll(rig);
	expect_error(rig->queue, UIOMMU_ACCEL_ERROR_RECORD, UIOMMU_ACCEL_RECORD_FAULT, RIG_PASID, rig_at(RIG_HOLE, 64));
}

static void failure_without_a_record(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_move(rig_at(0, 0), rig_at(RIG_HOLE, 5), 10, 0);

	desc.flags_opcode = UIOMMU_ACCEL_MEMMOVE << 24;
	rig_run(rig, &desc);
	expect_error(rig->queue, UIOMMU_ACCEL_ERROR_DESCRIPTOR, UIOMMU_ACCEL_PAGE_FAULT, RIG_PASID, rig_at(RIG_HOLE, 5));
}

/* One descriptor between each pair of spaces. */
static void handles_name_other_spaces(void **state)
{
	struct rig *rig = *state;
	struct uiommu_queue *queue = rig_queue(rig, UIOMMU_QUEUE_HANDLES, 8);
	uint16_t handles[RIG_SPACES] = {0};

	assert_int_equal(uiommu_accel_grant(rig->accel, RIG_OTHER, &handles[RIG_SECOND]), 0);
	assert_int_equal(uiommu_accel_grant(rig->accel, UIOMMU_NO_PASID, &handles[RIG_RID]), 0);
	assert_int_not_equal(handles[RIG_SECOND], 0);
	assert_int_not_equal(handles[RIG_SECOND], handles[RIG_RID]);
	for (unsigned int from = 0; from < RIG_SPACES; from++) {
		for (unsigned int to = 0; to < RIG_SPACES; to++) {
			uint32_t size = from == to ? 3000 : 40000;
			struct uiommu_accel_desc desc = rig_move(rig_at(50, 9), rig_at(51, 1), size, 0);

			rig_scramble(rig, 40 + from * 3 + to);
			desc.handles = handles[from] | (uint64_t)handles[to] << 16;
			rig_expect(rig_run_on(rig, queue, &desc), UIOMMU_ACCEL_SUCCESS, 0, size, 0, 0);
			assert_true(!memcmp(rig_memory(rig, to, rig_at(50, 9)), rig_memory(rig, from, rig_at(51, 1)), size));
		}
	}
}

static void dualcast_into_three_spaces(void **state)
{
	struct rig *rig = *state;
	struct uiommu_queue *queue = rig_queue(rig, UIOMMU_QUEUE_HANDLES, 8);
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_DUALCAST, RIG_RECORD, 0);
	uint16_t second, rid;

	assert_int_equal(uiommu_accel_grant(rig->accel, RIG_OTHER, &second), 0);
	assert_int_equal(uiommu_accel_grant(rig->accel, UIOMMU_NO_PASID, &rid), 0);
	rig_scramble(rig, 50);
	/* The same address three times: no overlap, because these are different spaces. */
	desc.source = desc.destination = desc.specific = rig_at(60, 4);
	desc.transfer_size = 9000;
	desc.handles = (uint64_t)second << 16 | (uint64_t)rid << 32;
	rig_expect(rig_run_on(rig, queue, &desc), UIOMMU_ACCEL_SUCCESS, 0, 9000, 0, 0);
	assert_memory_equal(rig_memory(rig, RIG_SECOND, rig_at(60, 4)), rig_memory(rig, RIG_MAIN, rig_at(60, 4)), 9000);
	assert_memory_equal(rig_memory(rig, RIG_RID, rig_at(60, 4)), rig_memory(rig, RIG_MAIN, rig_at(60, 4)), 9000);
	/* The source by a handle for its own PASID is the same space as without. */
	assert_int_equal(uiommu_accel_grant(rig->accel, RIG_PASID, &second), 0);
	desc.handles = second | (uint64_t)rid << 32;
	rig_expect(rig_run_on(rig, queue, &desc), UIOMMU_ACCEL_OVERLAP, 0, 0, 0, 0);
}

static void wrong_handle_touches_only_the_record(void **state)
{
	struct rig *rig = *state;
	struct uiommu_queue *queue = rig_queue(rig, UIOMMU_QUEUE_HANDLES, 8);
	struct uiommu_accel_desc desc = rig_move(rig_at(0, 0), rig_at(1, 0), 64, 0);
	uint8_t zero[64] = {0};
	uint16_t handle;

	memset(rig_memory(rig, RIG_MAIN, rig_at(1, 0)), 1, 64);
	desc.handles = UINT64_C(1) << 16;
	rig_expect(rig_run_on(rig, queue, &desc), UIOMMU_ACCEL_TRANSLATION, 0, 0, 0, 0);
	expect_error(queue, UIOMMU_ACCEL_ERROR_HANDLE, UIOMMU_ACCEL_TRANSLATION, RIG_PASID, rig_record_address(0));
	assert_memory_equal(rig_memory(rig, RIG_MAIN, rig_at(0, 0)), zero, sizeof(zero));
	assert_int_equal(uiommu_accel_grant(rig->accel, RIG_OTHER, &handle), 0);
	desc.handles = (uint64_t)handle << 16;
	rig_expect(rig_run_on(rig, queue, &desc), UIOMMU_ACCEL_SUCCESS, 0, 64, 0, 0);
	assert_int_equal(uiommu_accel_revoke(rig->accel, handle), 0);
	assert_int_equal(uiommu_accel_revoke(rig->accel, handle), -ENOENT);
	assert_int_equal(uiommu_accel_revoke(rig->accel, 0), -ENOENT);
	assert_int_equal(uiommu_accel_revoke(rig->accel, 65535), -ENOENT);
	rig_expect(rig_run_on(rig, queue, &desc), UIOMMU_ACCEL_TRANSLATION, 0, 0, 0, 0);
	/* A handle where the operation has no such operand. */
	desc = rig_desc(UIOMMU_ACCEL_CRC, RIG_RECORD, 0);
	desc.transfer_size = 1;
	desc.source = rig_at(0, 0);
	desc.handles = UINT64_C(1) << 16;
	rig_expect(rig_run_on(rig, queue, &desc), UIOMMU_ACCEL_NONZERO_RESERVED, 0, 0, 0, 0);
}

static void handle_ends_with_its_attachment(void **state)
{
	struct rig *rig = *state;
	struct uiommu_queue *queue = rig_queue(rig, UIOMMU_QUEUE_HANDLES, 8);
	struct uiommu_accel_desc desc = rig_move(rig_at(0, 0), rig_at(1, 0), 64, 0);
	uint16_t handle, next;

	assert_int_equal(uiommu_accel_grant(rig->accel, RIG_WRONG, &handle), -ENOENT);
	assert_int_equal(uiommu_accel_grant(rig->accel, RIG_OTHER, &handle), 0);
	desc.handles = (uint64_t)handle << 16;
	assert_int_equal(uiommu_detach(rig->context, rig->device, RIG_OTHER), 0);
	rig_expect(rig_run_on(rig, queue, &desc), UIOMMU_ACCEL_TRANSLATION, 0, 0, 0, 0);
	/* The same PASID again is another attachment. */
	assert_int_equal(uiommu_attach(rig->context, rig->device, RIG_OTHER, rig->ioas[RIG_SECOND]), 0);
	rig_expect(rig_run_on(rig, queue, &desc), UIOMMU_ACCEL_TRANSLATION, 0, 0, 0, 0);
	assert_int_equal(uiommu_accel_revoke(rig->accel, handle), -ENOENT);
	assert_int_equal(uiommu_accel_grant(rig->accel, RIG_OTHER, &next), 0);
	desc.handles = (uint64_t)next << 16;
	rig_expect(rig_run_on(rig, queue, &desc), UIOMMU_ACCEL_SUCCESS, 0, 64, 0, 0);
}

static void handles_run_out(void **state)
{
	struct rig *rig = *state;
	uint16_t handle, other;

	assert_int_equal(uiommu_accel_grant(rig->accel, RIG_OTHER, &other), 0);
	for (unsigned int i = 2; i < 65536; i++)
		if (uiommu_accel_grant(rig->accel, RIG_PASID, &handle) || !handle)
			fail_msg("grant %u", i);
	assert_int_equal(uiommu_accel_grant(rig->accel, RIG_PASID, &handle), -ENOSPC);
	/* The end of an attachment gives its handle back. */
	assert_int_equal(uiommu_detach(rig->context, rig->device, RIG_OTHER), 0);
	assert_int_equal(uiommu_accel_grant(rig->accel, RIG_PASID, &handle), 0);
	assert_int_equal(handle, other);
	assert_int_equal(uiommu_accel_revoke(rig->accel, 77), 0);
	assert_int_equal(uiommu_accel_grant(rig->accel, RIG_PASID, &handle), 0);
	assert_int_equal(handle, 77);
}

/* A descriptor waits for a page, its PASID is bound to something else meanwhile: it must not write its record there. */
static void pasid_is_reused_while_parked(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = blocking_move(rig_at(0, 0), rig_at(RIG_HOLE, 0), 64, 0);
	struct uiommu_accel_error error;

	desc.completion_address = rig_at(70, 0);
	rig_submit(rig->queue, &desc);
	rig_poll(rig);
	next_request(rig);
	assert_int_equal(uiommu_detach(rig->context, rig->device, RIG_PASID), 0);
	assert_int_equal(uiommu_attach(rig->context, rig->device, RIG_PASID, rig->ioas[RIG_SECOND]), 0);
	memset(rig->memory[RIG_SECOND], 0xcc, (size_t)100 * RIG_PAGE);
	rig_poll(rig);
	for (unsigned int i = 0; i < 100 * RIG_PAGE; i++)
		if (rig->memory[RIG_SECOND][i] != 0xcc)
			fail_msg("byte %u", i);
	uiommu_queue_error(rig->queue, &error);
	assert_int_equal(error.code, UIOMMU_ACCEL_ERROR_PASID);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(moves_stop_at_the_page),
		TEST(first_byte_faults),
		TEST(read_only_can_be_read),
		TEST(backward_move_stops_and_goes_on),
		TEST(backward_move_meets_a_hole),
		TEST(fill_stops),
		TEST(comparisons_stop),
		TEST(comparison_of_two_faults),
		TEST(difference_before_the_fault),
		TEST(dualcast_stops),
		TEST(crc_stops_and_goes_on),
		TEST(crc_seed_faults),
		TEST(addresses_that_wrap),
		TEST(parked_until_the_page_is_there),
		TEST(refused),
		TEST(answered_without_a_page),
		TEST(every_operation_blocks),
		TEST(nobody_to_ask),
		TEST(no_room_to_ask),
		TEST(nothing_to_ask_for),
		TEST(many_parked),
		TEST(queue_ends_with_parked),
		TEST(engine_ends_with_parked),
		TEST(drain_waits_for_parked),
		TEST(wrong_pasid_touches_nothing),
		TEST(record_that_cannot_be_written),
		TEST(failure_without_a_record),
		TEST(handles_name_other_spaces),
		TEST(dualcast_into_three_spaces),
		TEST(wrong_handle_touches_only_the_record),
		TEST(handle_ends_with_its_attachment),
		TEST(handles_run_out),
		TEST(pasid_is_reused_while_parked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

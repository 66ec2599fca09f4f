/* SPDX-License-Identifier: BSD-3-Clause */
/* Random descriptors against a model that does everything byte by byte. */
#include "accel_rig.h"
#include "util/util.h"

enum {
	MODEL_PAGES = 40, /* the part of each space that descriptors are about */
	MODEL_BYTES = MODEL_PAGES * RIG_PAGE,
	DESCRIPTORS = 20000,
};

struct model {
	struct rig *rig;
	struct uiommu_queue *queue; /* with handles */
	uint16_t handles[RIG_SPACES];
	uint8_t *memory[RIG_SPACES];
	uint64_t seed;
};

/* What the model expects. */
struct outcome {
	struct uiommu_accel_record record;
	bool fault_page_only; /* the address may be anywhere in the page */
};

static uint64_t below(struct model *model, uint64_t limit)
{
	return random_number(&model->seed) % limit;
}

static bool readable(uint64_t address)
{
	return address >= RIG_BASE && address < rig_at(RIG_PAGES, 0) && (address - RIG_BASE) / RIG_PAGE != RIG_HOLE;
}

static bool writable(uint64_t address)
{
	return readable(address) && (address - RIG_BASE) / RIG_PAGE != RIG_READ_ONLY;
}

static uint8_t *byte(struct model *model, enum rig_space space, uint64_t address)
{
	return model->memory[space] + (address - RIG_BASE);
}

static enum rig_space space_of(const struct model *model, const struct uiommu_accel_desc *desc, unsigned int place)
{
	uint16_t handle = (uint16_t)(desc->handles >> (16 * place));

	for (unsigned int i = 1; i < RIG_SPACES; i++)
		if (handle && handle == model->handles[i])
			return (enum rig_space)i;
	return RIG_MAIN;
}

static void set_fault(struct outcome *outcome, uint64_t address, bool write)
{
	outcome->record.status = UIOMMU_ACCEL_PAGE_FAULT | (write ? UIOMMU_ACCEL_FAULT_WRITE : 0);
	outcome->record.fault_address = address;
}

static void model_move_forward(struct model *model, const struct uiommu_accel_desc *desc, struct outcome *outcome)
{
	enum rig_space from = space_of(model, desc, 0), to = space_of(model, desc, 1);
	uint32_t i;

	for (i = 0; i < desc->transfer_size; i++) {
		if (!readable(desc->source + i)) {
			set_fault(outcome, desc->source + i, false);
			break;
		}
		if (!writable(desc->destination + i)) {
			set_fault(outcome, desc->destination + i, true);
			break;
		}
		*byte(model, to, desc->destination + i) = *byte(model, from, desc->source + i);
	}
	outcome->record.bytes_completed = i;
}

static void model_move_backward(struct model *model, const struct uiommu_accel_desc *desc, struct outcome *outcome)
{
	enum rig_space space = space_of(model, desc, 0);
	uint32_t i;

	outcome->record.result = 1;
	outcome->fault_page_only = true;
	for (i = desc->transfer_size; i; i--) {
		if (!readable(desc->source + i - 1)) {
			set_fault(outcome, desc->source + i - 1, false);
			break;
		}
		if (!writable(desc->destination + i - 1)) {
			set_fault(outcome, desc->destination + i - 1, true);
			break;
		}
		*byte(model, space, desc->destination + i - 1) = *byte(model, space, desc->source + i - 1);
	}
	outcome->record.bytes_completed = desc->transfer_size - i;
}

static void model_move(struct model *model, const struct uiommu_accel_desc *desc, struct outcome *outcome)
{
	if (space_of(model, desc, 0) == space_of(model, desc, 1) && desc->destination > desc->source &&
	    desc->destination - desc->source < desc->transfer_size)
		model_move_backward(model, desc, outcome);
	else
		model_move_forward(model, desc, outcome);
}

static void model_fill(struct model *model, const struct uiommu_accel_desc *desc, struct outcome *outcome)
{
	enum rig_space space = space_of(model, desc, 1);
	uint32_t i;

	for (i = 0; i < desc->transfer_size; i++) {
		if (!writable(desc->destination + i)) {
			set_fault(outcome, desc->destination + i, true);
			break;
		}
		*byte(model, space, desc->destination + i) = (uint8_t)(desc->source >> (i % 8 * 8));
	}
	outcome->record.bytes_completed = i;
}

static void model_compare(struct model *model, const struct uiommu_accel_desc *desc, struct outcome *outcome, bool pattern)
{
	enum rig_space first = space_of(model, desc, 0), second = space_of(model, desc, 1);
	uint32_t i;

	for (i = 0; i < desc->transfer_size; i++) {
		uint8_t other;

		if (!readable(desc->source + i)) {
			set_fault(outcome, desc->source + i, false);
			break;
		}
		if (!pattern && !readable(desc->destination + i)) {
			set_fault(outcome, desc->destination + i, false);
			break;
		}
		if (pattern)
			other = (uint8_t)(desc->destination >> (i % 8 * 8));
		else
			other = *byte(model, second, desc->destination + i);
		if (*byte(model, first, desc->source + i) != other) {
			outcome->record.result = 1;
			break;
		}
	}
	outcome->record.bytes_completed = i;
	if (outcome->record.status == UIOMMU_ACCEL_SUCCESS && desc->flags_opcode & UIOMMU_ACCEL_CHECK_RESULT &&
	    outcome->record.result != (uint8_t)desc->specific)
		outcome->record.status = UIOMMU_ACCEL_FALSE_PREDICATE;
}

static bool overlap(const struct model *model, const struct uiommu_accel_desc *desc, unsigned int a_place, uint64_t a,
		    unsigned int b_place, uint64_t b)
{
	return space_of(model, desc, a_place) == space_of(model, desc, b_place) &&
	       (a < b ? b - a < desc->transfer_size : a - b < desc->transfer_size);
}

static uint32_t model_dualcast_one(struct model *model, const struct uiommu_accel_desc *desc, struct outcome *outcome,
				   uint64_t address, unsigned int place, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++) {
		if (!writable(address + i)) {
			set_fault(outcome, address + i, true);
			return i;
		}
		*byte(model, space_of(model, desc, place), address + i) = *byte(model, space_of(model, desc, 0), desc->source + i);
	}
	return length;
}

static void model_dualcast(struct model *model, const struct uiommu_accel_desc *desc, struct outcome *outcome)
{
	uint32_t length;

	if ((desc->destination ^ desc->specific) % 4096) {
		outcome->record.status = UIOMMU_ACCEL_DUALCAST_ALIGN;
		return;
	}
	if (overlap(model, desc, 0, desc->source, 1, desc->destination) ||
	    overlap(model, desc, 0, desc->source, 2, desc->specific) ||
	    overlap(model, desc, 1, desc->destination, 2, desc->specific)) {
		outcome->record.status = UIOMMU_ACCEL_OVERLAP;
		return;
	}
	for (length = 0; length < desc->transfer_size && readable(desc->source + length);)
		length++;
	if (length < desc->transfer_size)
		set_fault(outcome, desc->source + length, false);
	length = model_dualcast_one(model, desc, outcome, desc->destination, 1, length);
	outcome->record.bytes_completed = model_dualcast_one(model, desc, outcome, desc->specific, 2, length);
}

/* The reflected algorithm, one bit at a time. */
static uint32_t crc_byte(uint32_t crc, uint8_t value)
{
	crc ^= value;
	for (unsigned int bit = 0; bit < 8; bit++)
		crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
	return crc;
}

static void model_crc(struct model *model, const struct uiommu_accel_desc *desc, struct outcome *outcome)
{
	enum rig_space space = space_of(model, desc, 0);
	uint32_t seed = (uint32_t)desc->specific, i;

	if (desc->flags_opcode & UIOMMU_ACCEL_READ_SEED) {
		if (!readable(desc->seed_address)) {
			set_fault(outcome, desc->seed_address, false);
			return;
		}
		memcpy(&seed, byte(model, RIG_MAIN, desc->seed_address), sizeof(seed));
	}
	seed = ~seed;
	for (i = 0; i < desc->transfer_size; i++) {
		if (!readable(desc->source + i)) {
			set_fault(outcome, desc->source + i, false);
			break;
		}
		seed = crc_byte(seed, *byte(model, space, desc->source + i));
	}
	outcome->record.bytes_completed = i;
	outcome->record.value = ~seed;
}

static struct outcome model_run(struct model *model, const struct uiommu_accel_desc *desc)
{
	struct outcome outcome = {.record.status = UIOMMU_ACCEL_SUCCESS};

	switch (desc->flags_opcode >> 24) {
	case UIOMMU_ACCEL_MEMMOVE:
		model_move(model, desc, &outcome);
		break;
	case UIOMMU_ACCEL_FILL:
		model_fill(model, desc, &outcome);
		break;
	case UIOMMU_ACCEL_COMPARE:
		model_compare(model, desc, &outcome, false);
		break;
	case UIOMMU_ACCEL_COMPARE_PATTERN:
		model_compare(model, desc, &outcome, true);
		break;
	case UIOMMU_ACCEL_DUALCAST:
		model_dualcast(model, desc, &outcome);
		break;
	default:
		model_crc(model, desc, &outcome);
		break;
	}
	return outcome;
}

/* Mostly inside of the model's pages; sometimes just outside of the space. */
static uint64_t random_address(struct model *model)
{
	if (!below(model, 50))
		return RIG_BASE - below(model, 5000);
	if (!below(model, 3))
		return rig_at(below(model, 2) ? RIG_HOLE : RIG_READ_ONLY, 0) - below(model, 200);
	return RIG_BASE + below(model, MODEL_BYTES - (72 << 10));
}

static uint32_t random_size(struct model *model)
{
	switch (below(model, 4)) {
	case 0:
		return 1 + (uint32_t)below(model, 64);
	case 1:
		return 1 + (uint32_t)below(model, 64 << 10);
	default:
		return 1 + (uint32_t)below(model, 8192);
	}
}

static uint64_t random_handles(struct model *model, unsigned int places)
{
	uint64_t handles = 0;

	for (unsigned int i = 0; i < 3; i++)
		if (places & 1U << i)
			handles |= (uint64_t)model->handles[below(model, RIG_SPACES)] << (16 * i);
	return handles;
}

/* A destination near the source, so that they overlap often; comparisons of equal things. */
static void relate_operands(struct model *model, struct uiommu_accel_desc *desc)
{
	unsigned int opcode = desc->flags_opcode >> 24;

	if (below(model, 2))
		desc->destination = desc->source + below(model, 6000) - 3000;
	if (opcode == UIOMMU_ACCEL_COMPARE && below(model, 2))
		desc->destination = desc->source;
	if (opcode == UIOMMU_ACCEL_DUALCAST && below(model, 8))
		desc->specific = RIG_BASE + below(model, 24) * RIG_PAGE + desc->destination % RIG_PAGE;
}

static struct uiommu_accel_desc random_desc(struct model *model)
{
	static const struct {
		unsigned int opcode;
		unsigned int places;
		uint32_t flags;
	} kinds[] = {
		{UIOMMU_ACCEL_MEMMOVE, 3, UIOMMU_ACCEL_CACHE_CONTROL},
		{UIOMMU_ACCEL_FILL, 2, UIOMMU_ACCEL_CACHE_CONTROL},
		{UIOMMU_ACCEL_COMPARE, 3, UIOMMU_ACCEL_CHECK_RESULT},
		{UIOMMU_ACCEL_COMPARE_PATTERN, 1, UIOMMU_ACCEL_CHECK_RESULT},
		{UIOMMU_ACCEL_DUALCAST, 7, UIOMMU_ACCEL_CACHE_CONTROL},
		{UIOMMU_ACCEL_CRC, 1, UIOMMU_ACCEL_READ_SEED},
	};
	unsigned int kind = (unsigned int)below(model, ARRAY_SIZE(kinds));
	struct uiommu_accel_desc desc = rig_desc(kinds[kind].opcode, RIG_RECORD, 0);

	desc.flags_opcode |= below(model, 2) ? kinds[kind].flags : 0;
	desc.source = random_address(model);
	desc.destination = random_address(model);
	desc.transfer_size = random_size(model);
	desc.handles = random_handles(model, kinds[kind].places);
	if (kinds[kind].opcode == UIOMMU_ACCEL_CRC) {
		desc.destination = 0;
		if (desc.flags_opcode & UIOMMU_ACCEL_READ_SEED)
			desc.seed_address = random_address(model) & ~UINT64_C(3);
		else
			desc.specific = (uint32_t)random_number(&model->seed);
		return desc;
	}
	if (kinds[kind].opcode == UIOMMU_ACCEL_COMPARE || kinds[kind].opcode == UIOMMU_ACCEL_COMPARE_PATTERN)
		desc.specific = below(model, 2);
	if (kinds[kind].opcode == UIOMMU_ACCEL_DUALCAST)
		desc.specific = random_address(model);
	relate_operands(model, &desc);
	return desc;
}

static void check(struct model *model, const struct uiommu_accel_desc *desc, unsigned int number)
{
	struct outcome expected = model_run(model, desc);
	struct uiommu_accel_record record = *rig_run_on(model->rig, model->queue, desc);

	if (expected.fault_page_only && record.fault_address / RIG_PAGE == expected.record.fault_address / RIG_PAGE)
		expected.record.fault_address = record.fault_address;
	if (memcmp(&record, &expected.record, sizeof(record)))
		fail_msg("descriptor %u, opcode %u: status %#x, not %#x; %u bytes, not %u; fault at %#llx, not %#llx", number,
			 desc->flags_opcode >> 24, record.status, expected.record.status, record.bytes_completed,
			 expected.record.bytes_completed, (unsigned long long)record.fault_address,
			 (unsigned long long)expected.record.fault_address);
	for (unsigned int i = 0; i < RIG_SPACES; i++)
		if (memcmp(model->rig->memory[i], model->memory[i], MODEL_BYTES))
			fail_msg("descriptor %u, opcode %u: memory of space %u", number, desc->flags_opcode >> 24, i);
}

static void random_descriptors(void **state)
{
	struct rig *rig = *state;
	struct model model = {.rig = rig, .queue = rig_queue(rig, UIOMMU_QUEUE_HANDLES, 8), .seed = 0x1234567};

	assert_int_equal(uiommu_accel_grant(rig->accel, RIG_OTHER, &model.handles[RIG_SECOND]), 0);
	assert_int_equal(uiommu_accel_grant(rig->accel, UIOMMU_NO_PASID, &model.handles[RIG_RID]), 0);
	rig_scramble(rig, 77);
	for (unsigned int i = 0; i < RIG_SPACES; i++) {
		model.memory[i] = malloc(MODEL_BYTES);
		assert_non_null(model.memory[i]);
		memcpy(model.memory[i], rig->memory[i], MODEL_BYTES);
	}
	for (unsigned int i = 0; i < scaled(DESCRIPTORS); i++) {
		struct uiommu_accel_desc desc = random_desc(&model);

		check(&model, &desc, i);
	}
	for (unsigned int i = 0; i < RIG_SPACES; i++)
		free(model.memory[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(random_descriptors, rig_setup, rig_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

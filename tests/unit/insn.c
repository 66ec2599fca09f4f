/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Instructions that are done in place of the processor: each is made at random of what is known, run by the processor on memory,
 * and done with calls on a copy of it; registers, flags and memory have to be the same.
 */
#include "test.h"

#if defined(__x86_64__)
#include "insn_processor.h"

#include <cpuid.h>

#include "util/util.h"

/* --- instructions --- */

enum special {
	PLAIN,
	MOVES_STRING,
	COMPARES_STRING,
	SHIFTS,
	ADDRESSES_BITS,
	COMPARES, /* RAX with memory, so that it is the same at times */
	COMPARES_PAIR,
	LIKES_ZERO
};

struct form {
	uint8_t prefix, map, opcode;
	int8_t extension; /* -1: it is a register */
	char immediate; /* 0, 'b', or 'z': as the operand, at most 4 */
	bool sse, bytes; /* registers; of one byte */
	bool locks;
	uint16_t undefined; /* flags */
	enum special special;
};

static struct form forms[384];
static size_t form_count;

static void form(struct form form)
{
	assert_true(form_count < ARRAY_SIZE(forms));
	forms[form_count++] = form;
}

/* Shifts and rotations, conditions. */
static void make_numbered_forms(void)
{
	for (unsigned int i = 0; i < 8; i++)
		for (unsigned int k = 0; k < 6; k++)
			form((struct form){.opcode = (uint8_t)(k < 2 ? 0xc0 + k : 0xd0 + k - 2),
					   .extension = (int8_t)i,
					   .immediate = k < 2 ? 'b' : 0,
					   .bytes = !(k & 1),
					   .special = SHIFTS});
	for (unsigned int i = 0; i < 16; i++) {
		form((struct form){.map = 1, .opcode = (uint8_t)(0x40 + i), .extension = -1});
		form((struct form){.map = 1, .opcode = (uint8_t)(0x90 + i), .extension = -1, .bytes = true});
	}
	for (unsigned int i = 0; i < 4; i++) {
		form((struct form){.map = 1,
				   .opcode = (uint8_t)(0xa3 + 8 * i),
				   .extension = -1,
				   .locks = i,
				   .undefined = OF | SF | AF | PF,
				   .special = ADDRESSES_BITS});
		form((struct form){.map = 1,
				   .opcode = 0xba,
				   .extension = (int8_t)(4 + i),
				   .immediate = 'b',
				   .locks = i,
				   .undefined = OF | SF | AF | PF});
	}
}

static bool processor_has(unsigned int leaf, bool in_b, unsigned int bit)
{
	uint32_t a, b, c, d;

	return __get_cpuid_count(leaf, 0, &a, &b, &c, &d) && (in_b ? b : c) & bit;
}

static void make_more_forms(void)
{
	const uint16_t not_zero = CF | OF | SF | AF | PF, not_carry = SF | ZF | AF | PF;

	for (unsigned int i = 0; i < 2; i++) {
		const bool bytes = !i;

		form((struct form){.map = 1,
				   .opcode = (uint8_t)(0xb0 + i),
				   .extension = -1,
				   .bytes = bytes,
				   .locks = true,
				   .special = COMPARES});
		form((struct form){.map = 1, .opcode = (uint8_t)(0xc0 + i), .extension = -1, .bytes = bytes, .locks = true});
		form((struct form){.opcode = (uint8_t)(0xa6 + i), .extension = -1, .bytes = bytes, .special = COMPARES_STRING});
		form((struct form){.opcode = (uint8_t)(0xae + i), .extension = -1, .bytes = bytes, .special = COMPARES_STRING});
		for (int8_t e = 4; e < 6; e++)
			form((struct form){.opcode = (uint8_t)(0xf6 + i), .extension = e, .bytes = bytes, .undefined = not_carry});
		form((struct form){
			.map = 1, .opcode = (uint8_t)(0xbc + i), .extension = -1, .undefined = not_zero, .special = LIKES_ZERO});
		if (processor_has(1, false, bit_MOVBE))
			form((struct form){.map = 2, .opcode = (uint8_t)(0xf0 + i), .extension = -1});
	}
	form((struct form){.map = 1, .opcode = 0xaf, .extension = -1, .undefined = not_carry});
	form((struct form){.opcode = 0x69, .extension = -1, .immediate = 'z', .undefined = not_carry});
	form((struct form){.opcode = 0x6b, .extension = -1, .immediate = 'b', .undefined = not_carry});
	form((struct form){.map = 1, .opcode = 0xc7, .extension = 1, .locks = true, .special = COMPARES_PAIR});
	if (processor_has(1, false, bit_POPCNT))
		form((struct form){.prefix = 0xf3, .map = 1, .opcode = 0xb8, .extension = -1, .special = LIKES_ZERO});
	if (processor_has(7, true, bit_BMI))
		form((struct form){.prefix = 0xf3,
				   .map = 1,
				   .opcode = 0xbc,
				   .extension = -1,
				   .undefined = OF | SF | AF | PF,
				   .special = LIKES_ZERO});
	/* LZCNT came with BMI. */
	if (processor_has(7, true, bit_BMI))
		form((struct form){.prefix = 0xf3,
				   .map = 1,
				   .opcode = 0xbd,
				   .extension = -1,
				   .undefined = OF | SF | AF | PF,
				   .special = LIKES_ZERO});
}

static void make_forms(void)
{
	static const uint8_t sse[][2] = {
		{0, 0x10},    {0x66, 0x10}, {0xf2, 0x10}, {0xf3, 0x10}, {0, 0x11},    {0x66, 0x11}, {0xf2, 0x11}, {0xf3, 0x11},
		{0, 0x28},    {0x66, 0x28}, {0, 0x29},	  {0x66, 0x29}, {0, 0x12},    {0x66, 0x12}, {0, 0x13},	  {0x66, 0x13},
		{0, 0x16},    {0x66, 0x16}, {0, 0x17},	  {0x66, 0x17}, {0xf2, 0xf0}, {0x66, 0x2b}, {0, 0x2b},	  {0x66, 0x6e},
		{0x66, 0x6f}, {0xf3, 0x6f}, {0x66, 0x7e}, {0xf3, 0x7e}, {0x66, 0x7f}, {0xf3, 0x7f}, {0x66, 0xd6}, {0x66, 0xe7}};

	form_count = 0;
	make_numbered_forms();
	make_more_forms();
	for (unsigned int op = 0; op < 8; op++) {
		const uint16_t undefined = op == 1 || op == 4 || op == 6 ? AF : 0;

		for (unsigned int i = 0; i < 4; i++)
			form((struct form){.opcode = (uint8_t)(op << 3 | i),
					   .extension = -1,
					   .bytes = !(i & 1),
					   .locks = op < 7 && i < 2,
					   .undefined = undefined});
		form((struct form){.opcode = 0x80,
				   .extension = (int8_t)op,
				   .immediate = 'b',
				   .bytes = true,
				   .locks = op < 7,
				   .undefined = undefined});
		form((struct form){
			.opcode = 0x81, .extension = (int8_t)op, .immediate = 'z', .locks = op < 7, .undefined = undefined});
		form((struct form){
			.opcode = 0x83, .extension = (int8_t)op, .immediate = 'b', .locks = op < 7, .undefined = undefined});
	}
	for (unsigned int i = 0; i < 2; i++) {
		form((struct form){.opcode = (uint8_t)(0x86 + i), .extension = -1, .bytes = !i, .locks = true});
		for (int8_t e = 0; e < 2; e++) {
			form((struct form){.opcode = (uint8_t)(0xfe + i), .extension = e, .bytes = !i, .locks = true});
			form((struct form){
				.opcode = (uint8_t)(0xf6 + i), .extension = (int8_t)(2 + e), .bytes = !i, .locks = true});
		}
		for (unsigned int k = 0; k < 3; k++)
			form((struct form){.opcode = (uint8_t)((k == 0	 ? 0xa4
								: k == 1 ? 0xaa
									 : 0xac) +
							       i),
					   .extension = -1,
					   .bytes = !i,
					   .special = MOVES_STRING});
		form((struct form){.opcode = 0xf6, .extension = (int8_t)i, .immediate = 'b', .bytes = true, .undefined = AF});
		form((struct form){.opcode = 0xf7, .extension = (int8_t)i, .immediate = 'z', .undefined = AF});
		form((struct form){.opcode = (uint8_t)(0x84 + i), .extension = -1, .bytes = !i, .undefined = AF});
		form((struct form){.opcode = (uint8_t)(0x88 + i), .extension = -1, .bytes = !i});
		form((struct form){.opcode = (uint8_t)(0x8a + i), .extension = -1, .bytes = !i});
		form((struct form){.map = 1, .opcode = (uint8_t)(0xb6 + i), .extension = -1});
		form((struct form){.map = 1, .opcode = (uint8_t)(0xbe + i), .extension = -1});
	}
	form((struct form){.opcode = 0xc6, .extension = 0, .immediate = 'b', .bytes = true});
	form((struct form){.opcode = 0xc7, .extension = 0, .immediate = 'z'});
	form((struct form){.opcode = 0x63, .extension = -1});
	form((struct form){.map = 1, .opcode = 0xc3, .extension = -1});
	for (size_t i = 0; i < ARRAY_SIZE(sse); i++)
		form((struct form){.prefix = sse[i][0], .map = 1, .opcode = sse[i][1], .extension = -1, .sse = true});
}

static unsigned int size_of(const struct made *made, const struct form *form)
{
	return form->bytes ? 1 : made->rex & 8 ? 8 : made->narrow ? 2 : 4;
}

static void prefixes(struct made *made, const struct form *form)
{
	if (any() % 8 == 0)
		byte(made, 0x3e);
	if (made->address32)
		byte(made, 0x67);
	if (form->locks && any() % 4 == 0)
		byte(made, 0xf0);
	if (made->narrow)
		byte(made, 0x66);
	if (form->prefix)
		byte(made, form->prefix);
}

static void set_memory(uint64_t at, uint8_t value, size_t length)
{
	memset(insn_memory + at, value, length);
	memset(insn_copy + at, value, length);
}

/* Some of what there is, forwards or backwards. Of comparisons many find the same. */
static void make_string(struct made *made, const struct form *form, struct registers *in)
{
	const bool compares = form->special == COMPARES_STRING;

	if (any() % 2)
		byte(made, compares && any() % 2 ? 0xf2 : 0xf3);
	if (made->has_rex)
		byte(made, made->rex);
	byte(made, form->opcode);
	in->gpr[RCX] = any() % 12;
	in->gpr[RSI] = (uintptr_t)insn_memory + 128 + any() % 200;
	in->gpr[RDI] = (uintptr_t)insn_memory + 128 + any() % 200;
	in->flags |= any() % 2 ? DF : 0;
	if (!compares || any() % 2)
		return;
	set_memory(0, 0x5a, 512);
	in->gpr[RAX] = UINT64_C(0x5a5a5a5a5a5a5a5a);
	for (unsigned int i = 0; i < 20; i++)
		set_memory(128 + any() % 200, (uint8_t)any(), 1);
}

/* The target is where the register leads to from somewhere else. */
static void lead_to_bit(struct made *made, const struct form *form, struct registers *in)
{
	const unsigned int size = size_of(made, form);
	const uint64_t bit = made->far ? any() : any() >> 44;
	const int64_t number = size == 8 ? (int64_t)bit : size == 4 ? (int32_t)bit : (int16_t)bit;

	in->gpr[made->reg] = (in->gpr[made->reg] & (size == 2	? ~UINT64_C(0xffff)
						    : size == 4 ? ~UINT64_C(0xffffffff)
								: 0)) |
			     (bit & (size == 2	 ? 0xffff
				     : size == 4 ? 0xffffffff
						 : UINT64_MAX));
	made->target -= (uint64_t)(number >> (size == 8 ? 6 : size == 4 ? 5 : 4)) * size;
}

static void undefined_of_shift(struct made *made, const struct form *form, const struct registers *in, uint8_t immediate)
{
	const unsigned int size = size_of(made, form);
	const unsigned int count = (form->immediate	   ? immediate
				    : form->opcode >= 0xd2 ? (unsigned int)in->gpr[RCX]
							   : 1) &
				   (size == 8 ? 63 : 31);

	made->undefined = count > 1 ? OF : 0;
	if (form->extension >= 4 && count)
		made->undefined |= AF | (count >= 8 * size && form->extension != 7 ? CF : 0);
}

static bool leads(const struct made *made, unsigned int reg)
{
	return made->base == reg || made->index == reg;
}

/* What is seldom so at random. */
static void prepare(struct made *made, const struct form *form, struct registers *in)
{
	const uint64_t at = made->target - (uintptr_t)insn_memory;
	const unsigned int size = size_of(made, form);

	/* Of none in 32 bits BSF and BSR leave more or less as it was. */
	if (form->special == LIKES_ZERO && any() % 4 == 0 && (form->prefix || size != 4))
		set_memory(at, 0, 8);
	if (form->special != COMPARES && form->special != COMPARES_PAIR)
		return;
	if (any() % 2 && !leads(made, RAX))
		memcpy(&in->gpr[RAX], insn_memory + at, form->special == COMPARES ? 8 : size);
	if (form->special == COMPARES_PAIR && any() % 4 && !leads(made, RDX))
		memcpy(&in->gpr[RDX], insn_memory + at + size, size);
}

static bool make(struct made *made, struct registers *in, const uint8_t *place)
{
	const struct form *form = &forms[any() % form_count];
	const uint64_t immediate = any();

	*made = (struct made){
		.extension = form->extension, .scale = (uint8_t)(any() & 3), .step = 1, .base = 16, .index = 16, .sse = form->sse};
	made->undefined = form->undefined;
	made->target = (uintptr_t)insn_memory + 64 + (any() & (form->sse || form->special == COMPARES_PAIR ? 0xf0 : 0xff));
	made->narrow = !form->sse && form->opcode != 0xc3 && form->special != COMPARES_PAIR && any() % 4 == 0;
	made->address32 = any() % 8 == 0;
	made->has_rex = any() % 4 != 0;
	made->rex = made->has_rex ? (uint8_t)(0x40 | (any() & 15)) : 0;
	made->reg = (uint8_t)((any() & 7) | (made->rex & 4 ? 8 : 0));
	made->immediate = !form->immediate ? 0 : form->immediate == 'b' ? 1 : made->narrow && !(made->rex & 8) ? 2 : 4;
	made->far = form->special == ADDRESSES_BITS && any() % 2;
	if (!form->sse && form->extension < 0 && made->reg == RSP && (made->has_rex || !form->bytes))
		return false;
	prefixes(made, form);
	if (form->special == MOVES_STRING || form->special == COMPARES_STRING) {
		make_string(made, form, in);
		return true;
	}
	if (made->has_rex)
		byte(made, made->rex);
	if (form->map)
		byte(made, 0x0f);
	if (form->map == 2)
		byte(made, 0x38);
	byte(made, form->opcode);
	if (form->special == ADDRESSES_BITS)
		lead_to_bit(made, form, in);
	operand(made, in, place);
	if (!made->target || (form->special == ADDRESSES_BITS && leads(made, made->reg)))
		return false;
	prepare(made, form, in);
	if (form->special == SHIFTS)
		undefined_of_shift(made, form, in, (uint8_t)immediate);
	bytes(made, immediate, made->immediate);
	return made->length <= INSN_LENGTH_MAX;
}

static void as_the_processor_does_it(void **test_state)
{
	(void)test_state;
	if (!insn_parts) {
		print_message("the processor has no XSAVE\n");
		skip();
	}
	make_forms();
	compare_with_the_processor(make);
}

/* --- what the processor need not have --- */

static void stores_for_devices(void **test_state)
{
	static const uint8_t direct[] = {0x66, 0x0f, 0x38, 0xf8, 0x02}, enqueue[] = {0xf2, 0x0f, 0x38, 0xf8, 0x02},
			     enqueue_privileged[] = {0xf3, 0x0f, 0x38, 0xf8, 0x02}, store[] = {0x48, 0x0f, 0x38, 0xf9, 0x10},
			     narrow[] = {0x67, 0x66, 0x0f, 0x38, 0xf8, 0x02};
	uint8_t from[65];
	struct insn_vectors none = {0};
	const struct insn_state before = {
		.gpr = {[0] = (uintptr_t)insn_memory + 64, [2] = (uintptr_t)(from + 1)}, .flags = FLAGS, .vectors = &none};
	struct insn_state state = before;

	(void)test_state;
	for (unsigned int i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)(i + 1);
	assert_int_equal(insn_do(&state, direct, sizeof(direct), &insn_bus), 0);
	assert_memory_equal(insn_copy + 64, from + 1, 64);
	assert_int_equal(state.rip, sizeof(direct));
	assert_int_equal(state.flags, FLAGS);
	memset(insn_copy, 0, sizeof(insn_copy));
	state = before;
	assert_int_equal(insn_do(&state, enqueue, sizeof(enqueue), &insn_bus), 0);
	assert_memory_equal(insn_copy + 64, from + 1, 64);
	assert_int_equal(state.flags, 0);
	assert_int_equal(insn_do(&state, enqueue_privileged, sizeof(enqueue_privileged), &insn_bus), 0);
	/* The destination has 32 bits then, and so has the source, where there is none. */
	state = before;
	state.gpr[0] |= UINT64_C(1) << 40;
	assert_int_equal(insn_do(&state, direct, sizeof(direct), &insn_bus), -ENXIO);
	state.gpr[2] = (uintptr_t)insn_memory | UINT64_C(1) << 50;
	memcpy(insn_copy, insn_memory, INSN_PAGE);
	assert_int_equal(insn_do(&state, narrow, sizeof(narrow), &insn_bus), 0);
	assert_memory_equal(insn_copy + 64, insn_memory, 64);
	/* Aligned, or it is an error of the program's. */
	state = before;
	state.gpr[0] += 8;
	assert_int_equal(insn_do(&state, direct, sizeof(direct), &insn_bus), -ENOSYS);
	state = before;
	state.gpr[2] = 0x1122334455667788;
	assert_int_equal(insn_do(&state, store, sizeof(store), &insn_bus), 0);
	assert_memory_equal(insn_copy + 64, &state.gpr[2], 8);
	assert_int_equal(state.rip, sizeof(store));
}

static void pushes(void **test_state)
{
	static const uint8_t push[] = {0xff, 0x74, 0x24, 0x08}, push_narrow[] = {0x66, 0xff, 0x30},
			     push_wide[] = {0x66, 0x48, 0xff, 0x30}, nowhere[] = {0xff, 0x30};
	const struct insn_state before = {.gpr = {[RAX] = (uintptr_t)insn_memory + 7, [RSP] = (uintptr_t)insn_memory + 256},
					  .flags = FLAGS};
	struct insn_state state = before;

	(void)test_state;
	for (unsigned int i = 0; i < INSN_PAGE; i++)
		insn_copy[i] = (uint8_t)(i * 7);
	/* Of an address that is by the stack's pointer, as this is before it. */
	assert_int_equal(insn_do(&state, push, sizeof(push), &insn_bus), 0);
	assert_memory_equal(insn_copy + 248, insn_copy + 264, 8);
	assert_int_equal(state.gpr[RSP], before.gpr[RSP] - 8);
	assert_int_equal(insn_do(&state, push_narrow, sizeof(push_narrow), &insn_bus), 0);
	assert_memory_equal(insn_copy + 246, insn_copy + 7, 2);
	assert_int_equal(state.gpr[RSP], before.gpr[RSP] - 10);
	assert_int_equal(insn_do(&state, push_wide, sizeof(push_wide), &insn_bus), 0);
	assert_int_equal(state.gpr[RSP], before.gpr[RSP] - 18);
	assert_int_equal(state.flags, FLAGS);
	state.gpr[RSP] = 64;
	assert_int_equal(insn_do(&state, nowhere, sizeof(nowhere), &insn_bus), -ENXIO);
	assert_int_equal(state.gpr[RSP], 64);
}

static unsigned int reads, writes;

static int count_read(void *opaque, uint64_t address, void *out, unsigned int size)
{
	(void)opaque, (void)address;
	memset(out, 0x11, size);
	reads++;
	return 0;
}

static int count_write(void *opaque, uint64_t address, const void *data, unsigned int size)
{
	(void)opaque, (void)address, (void)data, (void)size;
	writes++;
	return 0;
}

/* To a device each access is one, even if it changes nothing. */
static void accesses(void **test_state)
{
	static const struct {
		uint8_t bytes[6];
		size_t length;
		unsigned int reads, writes;
	} cases[] = {
		{{0x39, 0x00}, 2, 1, 0}, /* cmp [rax], eax */
		{{0x85, 0x00}, 2, 1, 0}, /* test [rax], eax */
		{{0x0f, 0xa3, 0x08}, 3, 1, 0}, /* bt [rax], ecx */
		{{0x0f, 0xba, 0x20, 3}, 4, 1, 0}, /* bt [rax], 3 */
		{{0x0f, 0xab, 0x08}, 3, 1, 1}, /* bts [rax], ecx */
		{{0x0f, 0x44, 0x08}, 3, 1, 0}, /* cmovz ecx, [rax]: it is not zero */
		{{0x0f, 0x94, 0x00}, 3, 0, 1}, /* setz [rax] */
		{{0xf7, 0x20}, 2, 1, 0}, /* mul [rax] */
		{{0x0f, 0xb1, 0x08}, 3, 1, 1}, /* cmpxchg [rax], ecx: it is another */
		{{0x48, 0x0f, 0xc7, 0x08}, 4, 1, 1}, /* cmpxchg16b [rax], the same */
		{{0x0f, 0xc1, 0x08}, 3, 1, 1}, /* xadd [rax], ecx */
		{{0xd3, 0x20}, 2, 1, 1}, /* shl [rax], cl: by nothing */
		{{0xa6}, 1, 2, 0}, /* cmpsb */
		{{0xae}, 1, 1, 0}, /* scasb */
	};
	const struct insn_bus counting = {count_read, count_write, count_read, NULL, NULL};

	(void)test_state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct insn_vectors none = {0};
		struct insn_state state = {.gpr = {[RAX] = 0x1000}, .vectors = &none};

		reads = writes = 0;
		assert_int_equal(insn_do(&state, cases[i].bytes, cases[i].length, &counting), 0);
		if (reads != cases[i].reads || writes != cases[i].writes)
			fail_msg("%zu: %u reads, %u writes", i, reads, writes);
	}
}

static void no_bit_is_found(void **test_state)
{
	static const uint8_t scan[] = {0x0f, 0xbc, 0x06};
	const struct insn_state before = {.gpr = {[RAX] = UINT64_MAX - 1, [RSI] = (uintptr_t)insn_memory}, .flags = FLAGS & ~ZF};
	struct insn_state state = before;

	(void)test_state;
	memset(insn_copy, 0, 4);
	assert_int_equal(insn_do(&state, scan, sizeof(scan), &insn_bus), 0);
	assert_int_equal(state.gpr[RAX], before.gpr[RAX]);
	assert_int_equal(state.flags, FLAGS);
}

/* A pair of 16 bytes is aligned, or it is an error of the program's. */
static void pairs(void **test_state)
{
	static const uint8_t exchange[] = {0xf0, 0x48, 0x0f, 0xc7, 0x0e}, half[] = {0xf0, 0x0f, 0xc7, 0x0e};
	const struct insn_state before = {.gpr = {[RSI] = (uintptr_t)insn_memory + 8}};
	struct insn_state state = before;

	(void)test_state;
	assert_int_equal(insn_do(&state, exchange, sizeof(exchange), &insn_bus), -ENOSYS);
	assert_memory_equal(&state, &before, sizeof(state));
	assert_int_equal(insn_do(&state, half, sizeof(half), &insn_bus), 0);
	state.gpr[RSI] += 8;
	assert_int_equal(insn_do(&state, exchange, sizeof(exchange), &insn_bus), 0);
}

static void what_is_not_known(void **test_state)
{
	static const struct {
		uint8_t bytes[9];
		size_t length;
	} unknown[] = {
		{{0x90}, 1}, /* nop */
		{{0x8b, 0xc0}, 2}, /* mov eax, eax */
		{{0x64, 0x8b, 0x00}, 3}, /* mov eax, fs:[rax] */
		{{0xf0, 0x03, 0x00}, 3}, /* lock add eax, [rax] */
		{{0xf0, 0x39, 0x00}, 3}, /* lock cmp [rax], eax */
		{{0xf0, 0x89, 0x00}, 3}, /* lock mov [rax], eax */
		{{0xf0, 0xa4}, 2}, /* lock movsb */
		{{0xf2, 0xa4}, 2}, /* repne movsb */
		{{0xf0, 0xa6}, 2}, /* lock cmpsb */
		{{0xf0, 0x0f, 0xa3, 0x00}, 4}, /* lock bt [rax], eax */
		{{0xf0, 0xd1, 0x20}, 3}, /* lock shl [rax], 1 */
		{{0xf0, 0xf7, 0x20}, 3}, /* lock mul [rax] */
		{{0xf0, 0x0f, 0x44, 0x00}, 4}, /* lock cmovz eax, [rax] */
		{{0xf2, 0x0f, 0xb1, 0x00}, 4}, /* cmpxchg with another prefix */
		{{0x0f, 0xb8, 0x00}, 3}, /* popcnt without its own */
		{{0x0f, 0xba, 0x18, 0}, 4}, /* another extension */
		{{0x66, 0x0f, 0xc7, 0x08}, 4},
		{{0x0f, 0xc7, 0x10}, 3},
		{{0xf2, 0x0f, 0x38, 0xf1, 0x00}, 5}, /* crc32 eax, [rax] */
		{{0xc4, 0xe2, 0x7c, 0xf2, 0x00}, 5}, /* andn of 32 bytes */
		{{0xc4, 0xe2, 0x78, 0xf7, 0x00}, 5}, /* bextr */
		{{0xc4, 0xe2, 0x78, 0xf3, 0x20}, 5},
		{{0xc4, 0xe3, 0x73, 0xf0, 0x00, 0}, 6}, /* rorx with a third register */
		{{0xc7, 0x08, 0, 0, 0, 0}, 6}, /* another extension */
		{{0xf7, 0x30}, 2}, /* div [rax] */
		{{0xff, 0x10}, 2}, /* call [rax] */
		{{0x8f, 0x00}, 2}, /* pop [rax] */
		{{0xc5, 0xfe, 0x6f, 0x00}, 4}, /* vmovdqu ymm0, [rax], where there is none */
		{{0x62, 0xf1, 0xfe, 0x48, 0x6f, 0x00}, 6}, /* vmovdqu64 zmm0, [rax], the same */
		{{0x0f, 0x0b}, 2}, /* ud2 */
		{{0x66, 0xf2, 0x0f, 0x38, 0xf8, 0x02}, 6},
		{{0x0f, 0x38, 0xf8, 0x02}, 4},
		{{0x0f, 0x6f, 0x00}, 3}, /* movq mm0, [rax] */
	};
	uint8_t xmm[16][16] = {{0}};
	struct insn_vectors vectors = {.xmm = xmm};
	const struct insn_state before = {
		.gpr = {(uintptr_t)insn_memory + 64, 1, (uintptr_t)insn_memory}, .flags = FLAGS, .rip = 5, .vectors = &vectors};
	static const uint8_t load[] = {0x48, 0x8b, 0x84, 0x00, 0, 0, 0, 0};
	struct insn_state state = before;

	(void)test_state;
	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		if (insn_do(&state, unknown[i].bytes, unknown[i].length, &insn_bus) != -ENOSYS)
			fail_msg("%zu is known", i);
		assert_memory_equal(&state, &before, sizeof(state));
	}
	/* Cut off anywhere. */
	for (size_t length = 0; length < sizeof(load); length++)
		assert_int_equal(insn_do(&state, load, length, &insn_bus), -ENOSYS);
	/* Not there. */
	assert_int_equal(insn_do(&state, load, sizeof(load), &insn_bus), -ENXIO);
	assert_memory_equal(&state, &before, sizeof(state));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_the_processor_does_it),
		cmocka_unit_test(stores_for_devices),
		cmocka_unit_test(pushes),
		cmocka_unit_test(accesses),
		cmocka_unit_test(no_bit_is_found),
		cmocka_unit_test(pairs),
		cmocka_unit_test(what_is_not_known),
	};

	return cmocka_run_group_tests(tests, insn_setup, NULL);
}

#else

static void instructions(void **state)
{
	(void)state;
	print_message("skipped: they are those of x86-64\n");
	skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(instructions)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif

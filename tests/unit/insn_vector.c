/* SPDX-License-Identifier: BSD-3-Clause */
/* Instructions of AVX, AVX-512, BMI1 and BMI2 that are done in place of the processor: against the processor. */
#include "test.h"

#include <cpuid.h>

#include "insn_processor.h"
#include "util/util.h"

/* --- AVX and AVX-512 --- */

enum { SCALAR = 1, HALF = 2, BY_W = 4, MASKED = 8, NO_VEX = 16, NO_EVEX = 32, STORES = 64, ANY_W = 128 };

struct vector_form {
	uint8_t pp, map, opcode, w, size; /* of EVEX; 0: the register's */
	uint8_t flags;
};

static const struct vector_form vector_forms[] = {
	{0, 1, 0x10, 0, 0, MASKED},
	{1, 1, 0x10, 1, 0, MASKED},
	{2, 1, 0x10, 0, 4, MASKED | SCALAR},
	{3, 1, 0x10, 1, 8, MASKED | SCALAR},
	{0, 1, 0x11, 0, 0, MASKED | STORES},
	{1, 1, 0x11, 1, 0, MASKED | STORES},
	{2, 1, 0x11, 0, 4, MASKED | STORES | SCALAR},
	{3, 1, 0x11, 1, 8, MASKED | STORES | SCALAR},
	{0, 1, 0x12, 0, 8, HALF},
	{1, 1, 0x12, 1, 8, HALF},
	{0, 1, 0x13, 0, 8, STORES},
	{1, 1, 0x13, 1, 8, STORES},
	{0, 1, 0x16, 0, 8, HALF},
	{1, 1, 0x16, 1, 8, HALF},
	{0, 1, 0x17, 0, 8, STORES},
	{1, 1, 0x17, 1, 8, STORES},
	{0, 1, 0x28, 0, 0, MASKED},
	{1, 1, 0x28, 1, 0, MASKED},
	{0, 1, 0x29, 0, 0, MASKED | STORES},
	{1, 1, 0x29, 1, 0, MASKED | STORES},
	{0, 1, 0x2b, 0, 0, STORES},
	{1, 1, 0x2b, 1, 0, STORES},
	{1, 1, 0x6e, 0, 4, BY_W},
	{1, 1, 0x7e, 0, 4, BY_W | STORES},
	{2, 1, 0x7e, 1, 8, 0},
	{1, 1, 0xd6, 1, 8, STORES},
	{1, 1, 0x6f, 0, 0, MASKED | ANY_W},
	{2, 1, 0x6f, 0, 0, MASKED | ANY_W},
	{3, 1, 0x6f, 0, 0, MASKED | ANY_W | NO_VEX},
	{1, 1, 0x7f, 0, 0, MASKED | STORES | ANY_W},
	{2, 1, 0x7f, 0, 0, MASKED | STORES | ANY_W},
	{3, 1, 0x7f, 0, 0, MASKED | STORES | ANY_W | NO_VEX},
	{1, 1, 0xe7, 0, 0, STORES},
	{1, 2, 0x2a, 0, 0, 0},
	{3, 1, 0xf0, 0, 0, NO_EVEX},
};

/* Of three bytes, or of two where that says all. */
static void put_vex(struct made *made, const struct vector_form *form, bool w, unsigned int third, bool is_long)
{
	const unsigned int last = (w ? 0x80U : 0) | (~third & 15) << 3 | (is_long ? 4U : 0) | form->pp;

	if (form->map == 1 && !(made->rex & 3) && !w) {
		byte(made, 0xc5);
		byte(made, (made->rex & 4 ? 0 : 0x80U) | last);
	} else {
		byte(made, 0xc4);
		byte(made, (~(unsigned int)made->rex & 7) << 5 | form->map);
		byte(made, last);
	}
}

static void put_evex(struct made *made, const struct vector_form *form, bool w, unsigned int third, unsigned int length)
{
	const unsigned int mask = form->flags & MASKED && any() % 2 ? (unsigned int)(any() & 7) : 0;
	const bool zeroes = mask && !(form->flags & STORES) && any() % 2;

	byte(made, 0x62);
	byte(made, (~(unsigned int)made->rex & 7) << 5 | (made->reg & 16 ? 0 : 0x10U) | form->map);
	byte(made, (w ? 0x80U : 0) | (~third & 15) << 3 | 4 | form->pp);
	byte(made, (zeroes ? 0x80U : 0) | length << 5 | (third & 16 ? 0 : 8U) | mask);
}

static bool make_vector(struct made *made, struct registers *in, const uint8_t *place)
{
	const struct vector_form *form = &vector_forms[any() % ARRAY_SIZE(vector_forms)];
	const bool evex = form->flags & NO_VEX || (!(form->flags & NO_EVEX) && any() % 2);
	const bool w = form->flags & (BY_W | ANY_W) || !evex ? any() % 2 : form->w;
	const unsigned int length = !form->size || form->flags & SCALAR ? (unsigned int)(any() % (evex ? 3 : 2)) : 0;
	const unsigned int third = form->flags & HALF ? (unsigned int)(any() & (evex ? 31 : 15)) : 0;
	const unsigned int size = form->flags & BY_W ? (w ? 8 : 4) : form->size ? form->size : 16U << length;

	*made = (struct made){.extension = -1, .sse = true, .scale = (uint8_t)(any() & 3), .step = evex ? size : 1};
	made->rex = (uint8_t)(any() & 7);
	made->reg = (uint8_t)((any() & 7) | (made->rex & 4 ? 8 : 0) | (evex ? any() & 16 : 0));
	made->address32 = any() % 8 == 0;
	made->target = (uintptr_t)insn_memory + 128 + (any() & 0xff & ~(uint64_t)(size - 1));
	if (made->address32)
		byte(made, 0x67);
	if (evex)
		put_evex(made, form, w, third, length);
	else
		put_vex(made, form, w, third, length);
	byte(made, form->opcode);
	operand(made, in, place);
	return made->target;
}

/* EVEX where the processor has it. */
static bool make_avx(struct made *made, struct registers *in, const uint8_t *place)
{
	return make_vector(made, in, place) && (made->bytes[made->address32] != 0x62 || insn_parts & INSN_MORE);
}

static void vectors_as_the_processor_does_it(void **test_state)
{
	(void)test_state;
	if (!(insn_parts & INSN_AVX)) {
		print_message("the processor has no AVX\n");
		skip();
	}
	compare_with_the_processor(make_avx);
}

/* --- BMI1 and BMI2 --- */

static const struct bmi_form {
	struct vector_form vex;
	int8_t extension;
	uint8_t immediate;
	bool third;
	uint8_t undefined;
} bmi_forms[] = {
	{{.map = 2, .opcode = 0xf2}, -1, 0, true, AF | PF}, /* ANDN */
	{{.map = 2, .opcode = 0xf3}, 1, 0, true, AF | PF}, /* BLSR, BLSMSK, BLSI */
	{{.map = 2, .opcode = 0xf3}, 2, 0, true, AF | PF},	{{.map = 2, .opcode = 0xf3}, 3, 0, true, AF | PF},
	{{.pp = 3, .map = 2, .opcode = 0xf6}, -1, 0, true, 0}, /* MULX */
	{{.pp = 1, .map = 2, .opcode = 0xf7}, -1, 0, true, 0}, /* SHLX, SARX, SHRX */
	{{.pp = 2, .map = 2, .opcode = 0xf7}, -1, 0, true, 0},	{{.pp = 3, .map = 2, .opcode = 0xf7}, -1, 0, true, 0},
	{{.pp = 3, .map = 3, .opcode = 0xf0}, -1, 1, false, 0}, /* RORX */
};

static bool make_bmi(struct made *made, struct registers *in, const uint8_t *place)
{
	const struct bmi_form *form = &bmi_forms[any() % ARRAY_SIZE(bmi_forms)];
	const unsigned int third = form->third ? (unsigned int)(any() & 15) : 0;

	*made = (struct made){.extension = form->extension,
			      .scale = (uint8_t)(any() & 3),
			      .step = 1,
			      .immediate = form->immediate,
			      .undefined = form->undefined};
	made->rex = (uint8_t)(any() & 7);
	made->reg = (uint8_t)((any() & 7) | (made->rex & 4 ? 8 : 0));
	if (made->reg == RSP || third == RSP)
		return false;
	made->target = (uintptr_t)insn_memory + 64 + (any() & 0xff);
	put_vex(made, &form->vex, any() % 2, third, false);
	byte(made, form->vex.opcode);
	operand(made, in, place);
	bytes(made, any(), form->immediate);
	if (any() % 4 == 0 && made->target) {
		const uint64_t at = made->target - (uintptr_t)insn_memory;

		memset(insn_memory + at, 0, 8);
		memset(insn_copy + at, 0, 8);
	}
	return made->target;
}

static void operators_as_the_processor_does_them(void **test_state)
{
	uint32_t a, b, c, d;

	(void)test_state;
	if (!(insn_parts & INSN_AVX) || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_BMI) || !(b & bit_BMI2)) {
		print_message("the processor has no BMI\n");
		skip();
	}
	compare_with_the_processor(make_bmi);
}

/* --- what is none --- */

static void encodings_that_are_none(void **test_state)
{
	static const uint8_t none[][6] = {
		{0x62, 0xf1, 0xfc, 0x48, 0x10, 0x00}, /* vmovups zmm0, [rax], with W of doubles */
		{0x62, 0xf1, 0x7d, 0x48, 0x10, 0x00}, /* vmovupd, with W of floats */
		{0x62, 0xf1, 0xfe, 0x08, 0x10, 0x00}, /* vmovss */
		{0x62, 0xf1, 0x7f, 0x08, 0x10, 0x00}, /* vmovsd */
		{0x62, 0xf1, 0x7c, 0x09, 0x12, 0x00}, /* vmovlps, masked */
		{0x62, 0xf1, 0x7c, 0xc9, 0x11, 0x00}, /* a store that clears */
		{0x62, 0xf1, 0x7c, 0xc8, 0x10, 0x00}, /* one that clears nothing */
		{0x62, 0xf1, 0x7c, 0x58, 0x10, 0x00}, /* one to many */
		{0x62, 0xf1, 0x7c, 0x68, 0x10, 0x00}, /* longer than there are */
		{0x62, 0xf1, 0x74, 0x48, 0x10, 0x00}, /* with a third register */
	};
	static const uint8_t good[] = {0x62, 0xf1, 0x7c, 0x48, 0x10, 0x00};
	static uint8_t xmm[16][16], ymm[16][16], zmm[16][32], more[16][64];
	static const uint64_t masks[8];
	struct insn_vectors vectors = {.xmm = xmm, .ymm = ymm, .zmm = zmm, .more = more, .masks = masks};
	const struct insn_state before = {.gpr = {[RAX] = (uintptr_t)insn_memory}, .vectors = &vectors};
	struct insn_state state = before;

	(void)test_state;
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		if (insn_do(&state, none[i], sizeof(none[i]), &insn_bus) != -ENOSYS)
			fail_msg("%zu is known", i);
	assert_memory_equal(&state, &before, sizeof(state));
	assert_int_equal(insn_do(&state, good, sizeof(good), &insn_bus), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors_as_the_processor_does_it),
		cmocka_unit_test(operators_as_the_processor_does_them),
		cmocka_unit_test(encodings_that_are_none),
	};

	return cmocka_run_group_tests(tests, insn_setup, NULL);
}

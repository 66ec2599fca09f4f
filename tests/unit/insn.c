/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Instructions that are done in place of the processor: each is made at random of what is known, run by the processor on memory,
 * and done with calls on a copy of it; registers, flags and memory have to be the same.
 */
#include "test.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "abi/shim/insn.h"
#include "abi/shim/xsave.h"
#include "util/util.h"

enum {
	PAGE = 4096,
	ROUNDS = 200000,
	RCX = 1,
	RSP = 4,
	RSI = 6,
	RDI = 7,
	AF = 0x10,
	DF = 0x400,
	FLAGS = 0x8d5, /* OF, SF, ZF, AF, PF, CF */
	AREA = 4096, /* XSAVE's, of the parts that are known here */
	VECTOR = 64,
};

/* A page of code and one of memory, both below 4 GiB, where an address of 32 bits reaches. */
static uint8_t *code, *memory;
static uint8_t copy[PAGE];
static uint64_t seed = 1;

static uint64_t any(void)
{
	return random_number(&seed) * UINT64_C(0x2545f4914f6cdd1d);
}

/* --- the processor --- */

struct registers {
	uint8_t area[AREA] __attribute__((aligned(64)));
	uint64_t gpr[16], flags;
};

/* Of the processor's and the kernel's: INSN_SSE and so on. */
static uint32_t parts;

static uint32_t parts_there(void)
{
	uint32_t a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return 0;
	__asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(a), "=d"(d) : "c"(0)); /* xgetbv */
	return a & (INSN_SSE | INSN_AVX | INSN_MASKS | INSN_ZMM | INSN_MORE);
}

/* An area as the kernel makes it for a signal. */
static void make_area(uint8_t *area, uint64_t used)
{
	const uint32_t magic = 0x46505853, mxcsr = 0x1f80;
	const uint64_t has = parts | 1;

	memset(area, 0, 24);
	memcpy(area + 24, &mxcsr, sizeof(mxcsr));
	memset(area + 464, 0, 112);
	memcpy(area + 464, &magic, sizeof(magic));
	memcpy(area + 472, &has, sizeof(has));
	memcpy(area + 512, &used, sizeof(used));
}

struct text {
	uint8_t *at;
};

static void put(struct text *text, const void *bytes, size_t length)
{
	memcpy(text->at, bytes, length);
	text->at += length;
}

#define PUT(text, ...) put(text, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void put_address(struct text *text, const void *address)
{
	const uint64_t value = (uintptr_t)address;

	put(text, &value, sizeof(value));
}

/* XSAVE or XRSTOR, of @area. */
static void put_area(struct text *text, const uint8_t *area, uint8_t how)
{
	PUT(text, 0x48, 0xb9); /* mov rcx, area */
	put_address(text, area);
	PUT(text, 0x31, 0xd2, 0xb8); /* xor edx, edx; mov eax, parts */
	put(text, &parts, 4);
	PUT(text, 0x48, 0x0f, 0xae, how);
}

/* What stands before the instruction; so it is where it will be, before it is known where its operand is. */
static uint8_t *put_begin(struct text *text, const struct registers *in)
{
	PUT(text, 0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57); /* push rbx, rbp, r12 to r15 */
	put_area(text, in->area, 0x29); /* xrstor */
	PUT(text, 0x48, 0xb8); /* mov rax, in */
	put_address(text, in);
	PUT(text, 0xff, 0xb0); /* push [rax + flags]; popfq */
	put(text, &(uint32_t){offsetof(struct registers, flags)}, 4);
	PUT(text, 0x9d);
	for (unsigned int i = 16; i-- > 0;) { /* mov reg, [rax + ...]; rax last */
		if (i == RSP)
			continue;
		PUT(text, i >= 8 ? 0x4c : 0x48, 0x8b, (uint8_t)(0x80 | (i & 7) << 3));
		put(text, &(uint32_t){(uint32_t)(offsetof(struct registers, gpr) + 8 * i)}, 4);
	}
	return text->at;
}

static void put_end(struct text *text, struct registers *out)
{
	PUT(text, 0x48, 0xa3); /* mov [out], rax */
	put_address(text, out->gpr);
	PUT(text, 0x48, 0xb8); /* mov rax, out */
	put_address(text, out);
	PUT(text, 0x9c, 0x8f, 0x80); /* pushfq; pop [rax + flags] */
	put(text, &(uint32_t){offsetof(struct registers, flags)}, 4);
	for (unsigned int i = 1; i < 16; i++)
		if (i != RSP) {
			PUT(text, i >= 8 ? 0x4c : 0x48, 0x89, (uint8_t)(0x80 | (i & 7) << 3));
			put(text, &(uint32_t){(uint32_t)(offsetof(struct registers, gpr) + 8 * i)}, 4);
		}
	put_area(text, out->area, 0x21); /* xsave */
	PUT(text, 0xfc); /* cld */
	PUT(text, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3);
}

/* --- calls --- */

static int bus_read(void *opaque, uint64_t address, void *out, unsigned int size)
{
	(void)opaque;
	if (address < (uintptr_t)memory || address - (uintptr_t)memory > PAGE - size)
		return -ENXIO;
	memcpy(out, copy + (address - (uintptr_t)memory), size);
	return 0;
}

static int bus_write(void *opaque, uint64_t address, const void *data, unsigned int size)
{
	(void)opaque;
	if (address < (uintptr_t)memory || address - (uintptr_t)memory > PAGE - size)
		return -ENXIO;
	memcpy(copy + (address - (uintptr_t)memory), data, size);
	return 0;
}

/* What is not in the page is the program's. */
static int bus_copy(void *opaque, uint64_t to, uint64_t from, unsigned int size)
{
	uint8_t data[VECTOR];

	(void)opaque;
	if (bus_read(NULL, from, data, size))
		memcpy(data, (const void *)(uintptr_t)from, size); /* NOLINT(performance-no-int-to-ptr) */
	return bus_write(NULL, to, data, size);
}

static const struct insn_bus bus = {bus_read, bus_write, bus_copy, NULL};

/* --- instructions --- */

struct form {
	uint8_t prefix, map, opcode;
	int8_t extension; /* -1: it is a register */
	char immediate; /* 0, 'b', or 'z': as the operand, at most 4 */
	bool sse, bytes, moves; /* registers; of one byte; flags stay */
	bool locks, string;
};

static struct form forms[256];
static size_t form_count;

static void form(struct form form)
{
	assert_true(form_count < ARRAY_SIZE(forms));
	forms[form_count++] = form;
}

static void make_forms(void)
{
	static const uint8_t sse[][2] = {
		{0, 0x10},    {0x66, 0x10}, {0xf2, 0x10}, {0xf3, 0x10}, {0, 0x11},    {0x66, 0x11}, {0xf2, 0x11}, {0xf3, 0x11},
		{0, 0x28},    {0x66, 0x28}, {0, 0x29},	  {0x66, 0x29}, {0, 0x12},    {0x66, 0x12}, {0, 0x13},	  {0x66, 0x13},
		{0, 0x16},    {0x66, 0x16}, {0, 0x17},	  {0x66, 0x17}, {0xf2, 0xf0}, {0x66, 0x2b}, {0, 0x2b},	  {0x66, 0x6e},
		{0x66, 0x6f}, {0xf3, 0x6f}, {0x66, 0x7e}, {0xf3, 0x7e}, {0x66, 0x7f}, {0xf3, 0x7f}, {0x66, 0xd6}, {0x66, 0xe7}};

	form_count = 0;
	for (unsigned int op = 0; op < 8; op++) {
		for (unsigned int i = 0; i < 4; i++)
			form((struct form){
				.opcode = (uint8_t)(op << 3 | i), .extension = -1, .bytes = !(i & 1), .locks = op < 7 && i < 2});
		form((struct form){.opcode = 0x80, .extension = (int8_t)op, .immediate = 'b', .bytes = true, .locks = op < 7});
		form((struct form){.opcode = 0x81, .extension = (int8_t)op, .immediate = 'z', .locks = op < 7});
		form((struct form){.opcode = 0x83, .extension = (int8_t)op, .immediate = 'b', .locks = op < 7});
	}
	for (unsigned int i = 0; i < 2; i++) {
		form((struct form){.opcode = (uint8_t)(0x86 + i), .extension = -1, .bytes = !i, .moves = true, .locks = true});
		for (int8_t e = 0; e < 2; e++) {
			form((struct form){.opcode = (uint8_t)(0xfe + i), .extension = e, .bytes = !i, .locks = true});
			form((struct form){.opcode = (uint8_t)(0xf6 + i),
					   .extension = (int8_t)(2 + e),
					   .bytes = !i,
					   .moves = !e,
					   .locks = true});
		}
		for (unsigned int k = 0; k < 3; k++)
			form((struct form){.opcode = (uint8_t)((k == 0	 ? 0xa4
								: k == 1 ? 0xaa
									 : 0xac) +
							       i),
					   .extension = -1,
					   .bytes = !i,
					   .moves = true,
					   .string = true});
		form((struct form){.opcode = 0xf6, .extension = (int8_t)i, .immediate = 'b', .bytes = true});
		form((struct form){.opcode = 0xf7, .extension = (int8_t)i, .immediate = 'z'});
		form((struct form){.opcode = (uint8_t)(0x84 + i), .extension = -1, .bytes = !i});
		form((struct form){.opcode = (uint8_t)(0x88 + i), .extension = -1, .bytes = !i, .moves = true});
		form((struct form){.opcode = (uint8_t)(0x8a + i), .extension = -1, .bytes = !i, .moves = true});
		form((struct form){.map = 1, .opcode = (uint8_t)(0xb6 + i), .extension = -1, .moves = true});
		form((struct form){.map = 1, .opcode = (uint8_t)(0xbe + i), .extension = -1, .moves = true});
	}
	form((struct form){.opcode = 0xc6, .extension = 0, .immediate = 'b', .bytes = true, .moves = true});
	form((struct form){.opcode = 0xc7, .extension = 0, .immediate = 'z', .moves = true});
	form((struct form){.opcode = 0x63, .extension = -1, .moves = true});
	form((struct form){.map = 1, .opcode = 0xc3, .extension = -1, .moves = true});
	for (size_t i = 0; i < ARRAY_SIZE(sse); i++)
		form((struct form){
			.prefix = sse[i][0], .map = 1, .opcode = sse[i][1], .extension = -1, .sse = true, .moves = true});
}

/* Of an instruction that is being made. */
struct made {
	const struct form *form;
	uint8_t bytes[INSN_LENGTH_MAX + 1];
	size_t length;
	uint8_t rex, reg, base, index, scale;
	bool has_rex, narrow, address32;
	unsigned int step; /* of a displacement of one byte */
	uint64_t target;
};

static void byte(struct made *made, unsigned int value)
{
	made->bytes[made->length++] = (uint8_t)value;
}

static void bytes(struct made *made, uint64_t value, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		byte(made, value >> (8 * i) & 0xff);
}

/* A register for an address: not the stack's; the other one, if there are two, gets a small number. */
static uint8_t address_register(const struct made *made, unsigned int rex_bit)
{
	uint8_t number;

	do
		number = (uint8_t)((any() & 7) | (made->rex & rex_bit ? 8 : 0));
	while (number == RSP || (number & 7) == RSP);
	return number;
}

static unsigned int immediate_size(const struct made *made)
{
	return !made->form->immediate ? 0 : made->form->immediate == 'b' ? 1 : made->narrow && !(made->rex & 8) ? 2 : 4;
}

/* ModRM and what is behind it; sets the registers so that it leads to the target. */
static void operand(struct made *made, struct registers *in, const uint8_t *place)
{
	const bool relative = any() % 8 == 0, indexed = !relative && any() % 2;
	const unsigned int reg = made->form->extension < 0 ? made->reg & 7U : (unsigned int)made->form->extension;
	unsigned int mode = relative ? 0 : (unsigned int)(any() % 3);
	int64_t displacement;

	if (relative) {
		byte(made, reg << 3 | 5);
		displacement = (int64_t)(made->target - ((uintptr_t)place + made->length + 4 + immediate_size(made)));
		bytes(made, (uint64_t)displacement, 4);
		return;
	}
	made->base = address_register(made, 1);
	made->index = address_register(made, 2);
	if (!mode && (made->base & 7) == 5)
		mode = 1;
	displacement = !mode ? 0 : mode == 1 ? (int8_t)any() : (int32_t)any() >> 8;
	byte(made, mode << 6 | reg << 3 | (indexed ? 4U : made->base & 7U));
	if (indexed)
		byte(made, (unsigned int)made->scale << 6 | (made->index & 7U) << 3 | (made->base & 7U));
	bytes(made, (uint64_t)displacement, mode == 1 ? 1 : mode ? 4 : 0);
	if (mode == 1)
		displacement *= made->step;
	if (!indexed) {
		in->gpr[made->base] = made->target - (uint64_t)displacement;
	} else if (made->base != made->index) {
		in->gpr[made->index] = any() >> 8;
		in->gpr[made->base] = made->target - (uint64_t)displacement - (in->gpr[made->index] << made->scale);
	} else { /* one register twice: the address is what it is, modulo what scale leaves */
		made->target = 0;
	}
}

static void prefixes(struct made *made)
{
	if (any() % 8 == 0)
		byte(made, 0x3e);
	if (made->address32)
		byte(made, 0x67);
	if (made->form->locks && any() % 4 == 0)
		byte(made, 0xf0);
	if (made->narrow)
		byte(made, 0x66);
	if (made->form->prefix)
		byte(made, made->form->prefix);
}

/* Some of what there is, forwards or backwards. */
static void make_string(struct made *made, struct registers *in)
{
	if (any() % 2)
		byte(made, 0xf3);
	if (made->has_rex)
		byte(made, made->rex);
	byte(made, made->form->opcode);
	in->gpr[RCX] = any() % 12;
	in->gpr[RSI] = (uintptr_t)memory + 128 + any() % 200;
	in->gpr[RDI] = (uintptr_t)memory + 128 + any() % 200;
	in->flags |= any() % 2 ? DF : 0;
}

static bool make(struct made *made, struct registers *in, const uint8_t *place)
{
	*made = (struct made){.form = &forms[any() % form_count], .scale = (uint8_t)(any() & 3), .step = 1};
	made->target = (uintptr_t)memory + 64 + (any() & (made->form->sse ? 0xf0 : 0xff));
	made->narrow = !made->form->sse && made->form->opcode != 0xc3 && any() % 4 == 0;
	made->address32 = any() % 8 == 0;
	made->has_rex = any() % 4 != 0;
	made->rex = made->has_rex ? (uint8_t)(0x40 | (any() & 15)) : 0;
	made->reg = (uint8_t)((any() & 7) | (made->rex & 4 ? 8 : 0));
	if (!made->form->sse && made->form->extension < 0 && made->reg == RSP && (made->has_rex || !made->form->bytes))
		return false;
	prefixes(made);
	if (made->form->string) {
		make_string(made, in);
		return true;
	}
	if (made->has_rex)
		byte(made, made->rex);
	if (made->form->map)
		byte(made, 0x0f);
	byte(made, made->form->opcode);
	operand(made, in, place);
	bytes(made, any(), immediate_size(made));
	return made->target && made->length <= INSN_LENGTH_MAX;
}

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
	static const struct form moves = {.extension = -1, .sse = true, .moves = true};
	const struct vector_form *form = &vector_forms[any() % ARRAY_SIZE(vector_forms)];
	const bool evex = form->flags & NO_VEX || (!(form->flags & NO_EVEX) && any() % 2);
	const bool w = form->flags & (BY_W | ANY_W) || !evex ? any() % 2 : form->w;
	const unsigned int length = !form->size || form->flags & SCALAR ? (unsigned int)(any() % (evex ? 3 : 2)) : 0;
	const unsigned int third = form->flags & HALF ? (unsigned int)(any() & (evex ? 31 : 15)) : 0;
	const unsigned int size = form->flags & BY_W ? (w ? 8 : 4) : form->size ? form->size : 16U << length;

	*made = (struct made){.form = &moves, .scale = (uint8_t)(any() & 3), .step = evex ? size : 1};
	made->rex = (uint8_t)(any() & 7);
	made->reg = (uint8_t)((any() & 7) | (made->rex & 4 ? 8 : 0) | (evex ? any() & 16 : 0));
	made->address32 = any() % 8 == 0;
	made->target = (uintptr_t)memory + 128 + (any() & 0xff & ~(uint64_t)(size - 1));
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

/* AF is undefined after logic. */
static uint64_t compared_flags(const struct made *made)
{
	const uint8_t opcode = made->form->opcode;
	const unsigned int op = opcode < 0x40 ? opcode >> 3 : opcode < 0x84 ? (unsigned int)made->form->extension : 4;
	const bool alone = opcode >= 0xfe || (opcode >= 0xf6 && made->form->extension > 1);

	return !made->form->moves && !alone && (op == 1 || op == 4 || op == 6) ? FLAGS & ~AF : FLAGS | DF;
}

static void fail_with(const struct made *made, const char *what)
{
	char text[3 * sizeof(made->bytes) + 1];

	for (size_t i = 0; i < made->length; i++)
		snprintf(text + 3 * i, 4, "%02x ", made->bytes[i]);
	fail_msg("%s: %s", text, what);
}

static void vector_of(const struct insn_vectors *vectors, unsigned int reg, uint8_t *out)
{
	memset(out, 0, VECTOR);
	if (reg >= 16) {
		if (vectors->more)
			memcpy(out, vectors->more[reg - 16], VECTOR);
		return;
	}
	memcpy(out, vectors->xmm[reg], 16);
	if (vectors->ymm)
		memcpy(out + 16, vectors->ymm[reg], 16);
	if (vectors->zmm)
		memcpy(out + 32, vectors->zmm[reg], 32);
}

static void compare_vectors(const struct made *made, uint8_t *area, uint8_t *native)
{
	struct insn_vectors a, b;
	uint8_t one[VECTOR], other[VECTOR];

	xsave_of_signal(area, &a);
	xsave_of_signal(native, &b);
	for (unsigned int i = 0; i < 32; i++) {
		vector_of(&a, i, one);
		vector_of(&b, i, other);
		if (memcmp(one, other, VECTOR) != 0)
			fail_with(made, "a register of vectors is another");
	}
}

static void compare(const struct made *made, const struct insn_state *state, const struct registers *native)
{
	for (unsigned int i = 0; i < 16; i++) {
		if (i != RSP && state->gpr[i] != native->gpr[i])
			fail_with(made, "a register is another");
	}
	if ((state->flags ^ native->flags) & compared_flags(made))
		fail_with(made, "flags are others");
	if (memcmp(copy, memory, PAGE) != 0)
		fail_with(made, "memory is another");
}

static void fill(struct registers *in)
{
	for (size_t k = 0; k < 16; k++)
		in->gpr[k] = any() >> (any() & 63);
	in->flags = 0x202 | (any() & FLAGS);
	for (size_t k = 0; k < AREA; k += 8)
		memcpy(in->area + k, &(uint64_t){any()}, 8);
	make_area(in->area, parts & any());
	for (size_t k = 0; k < 512; k++)
		copy[k] = memory[k] = (uint8_t)any();
}

/* What is repeated is done one by one. */
static void emulate(const struct made *made, struct insn_state *state)
{
	const uint64_t at = state->rip;

	do {
		if (insn_do(state, made->bytes, made->length, &bus))
			fail_with(made, "it is not known");
	} while (state->rip == at);
	if (state->rip != at + made->length)
		fail_with(made, "its length is another");
}

static void compare_with_the_processor(bool (*make_one)(struct made *, struct registers *, const uint8_t *))
{
	static struct registers in, native;
	static uint8_t area[AREA] __attribute__((aligned(64)));

	for (unsigned int i = 0; i < scaled(ROUNDS); i++) {
		struct insn_vectors vectors;
		struct insn_state state = {.vectors = &vectors};
		struct text text = {code};
		struct made made;
		uint8_t *place;

		fill(&in);
		make_area(native.area, 0);
		place = put_begin(&text, &in);
		if (!make_one(&made, &in, place))
			continue;
		put(&text, made.bytes, made.length);
		put_end(&text, &native);
		memcpy(state.gpr, in.gpr, sizeof(in.gpr));
		memcpy(area, in.area, sizeof(area));
		xsave_of_signal(area, &vectors);
		state.flags = in.flags;
		state.rip = (uintptr_t)place;
		((void (*)(void))(uintptr_t)code)();
		emulate(&made, &state);
		xsave_written(area, &vectors);
		compare(&made, &state, &native);
		compare_vectors(&made, area, native.area);
	}
}

static void as_the_processor_does_it(void **test_state)
{
	(void)test_state;
	if (!parts) {
		print_message("the processor has no XSAVE\n");
		skip();
	}
	make_forms();
	compare_with_the_processor(make);
}

/* EVEX where the processor has it. */
static bool make_avx(struct made *made, struct registers *in, const uint8_t *place)
{
	return make_vector(made, in, place) && (made->bytes[made->address32] != 0x62 || parts & INSN_MORE);
}

static void vectors_as_the_processor_does_it(void **test_state)
{
	(void)test_state;
	if (!(parts & INSN_AVX)) {
		print_message("the processor has no AVX\n");
		skip();
	}
	compare_with_the_processor(make_avx);
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
		.gpr = {[0] = (uintptr_t)memory + 64, [2] = (uintptr_t)(from + 1)}, .flags = FLAGS, .vectors = &none};
	struct insn_state state = before;

	(void)test_state;
	for (unsigned int i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)(i + 1);
	assert_int_equal(insn_do(&state, direct, sizeof(direct), &bus), 0);
	assert_memory_equal(copy + 64, from + 1, 64);
	assert_int_equal(state.rip, sizeof(direct));
	assert_int_equal(state.flags, FLAGS);
	memset(copy, 0, sizeof(copy));
	state = before;
	assert_int_equal(insn_do(&state, enqueue, sizeof(enqueue), &bus), 0);
	assert_memory_equal(copy + 64, from + 1, 64);
	assert_int_equal(state.flags, 0);
	assert_int_equal(insn_do(&state, enqueue_privileged, sizeof(enqueue_privileged), &bus), 0);
	/* The destination has 32 bits then, and so has the source, where there is none. */
	state = before;
	state.gpr[0] |= UINT64_C(1) << 40;
	assert_int_equal(insn_do(&state, direct, sizeof(direct), &bus), -ENXIO);
	state.gpr[2] = (uintptr_t)memory | UINT64_C(1) << 50;
	memcpy(copy, memory, PAGE);
	assert_int_equal(insn_do(&state, narrow, sizeof(narrow), &bus), 0);
	assert_memory_equal(copy + 64, memory, 64);
	/* Aligned, or it is an error of the program's. */
	state = before;
	state.gpr[0] += 8;
	assert_int_equal(insn_do(&state, direct, sizeof(direct), &bus), -ENOSYS);
	state = before;
	state.gpr[2] = 0x1122334455667788;
	assert_int_equal(insn_do(&state, store, sizeof(store), &bus), 0);
	assert_memory_equal(copy + 64, &state.gpr[2], 8);
	assert_int_equal(state.rip, sizeof(store));
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
		{{0xa6}, 1}, /* cmpsb */
		{{0xf0, 0x0f, 0xb1, 0x00}, 4}, /* lock cmpxchg [rax], eax */
		{{0xc7, 0x08, 0, 0, 0, 0}, 6}, /* another extension */
		{{0xf7, 0x20}, 2}, /* mul [rax] */
		{{0xff, 0x10}, 2}, /* call [rax] */
		{{0xff, 0x30}, 2}, /* push [rax] */
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
		.gpr = {(uintptr_t)memory + 64, 1, (uintptr_t)memory}, .flags = FLAGS, .rip = 5, .vectors = &vectors};
	static const uint8_t load[] = {0x48, 0x8b, 0x84, 0x00, 0, 0, 0, 0};
	struct insn_state state = before;

	(void)test_state;
	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		assert_int_equal(insn_do(&state, unknown[i].bytes, unknown[i].length, &bus), -ENOSYS);
		assert_memory_equal(&state, &before, sizeof(state));
	}
	/* Cut off anywhere. */
	for (size_t length = 0; length < sizeof(load); length++)
		assert_int_equal(insn_do(&state, load, length, &bus), -ENOSYS);
	/* Not there. */
	assert_int_equal(insn_do(&state, load, sizeof(load), &bus), -ENXIO);
	assert_memory_equal(&state, &before, sizeof(state));
}

static int setup(void **state)
{
	(void)state;
	code = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	memory = code + PAGE;
	parts = parts_there();
	xsave_init();
	return code == MAP_FAILED ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_the_processor_does_it),
		cmocka_unit_test(vectors_as_the_processor_does_it),
		cmocka_unit_test(stores_for_devices),
		cmocka_unit_test(what_is_not_known),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
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

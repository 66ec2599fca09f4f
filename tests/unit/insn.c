/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Instructions that are done in place of the processor: each is made at random of what is known, run by the processor on memory,
 * and done with calls on a copy of it; registers, flags and memory have to be the same.
 */
#include "test.h"

#if defined(__x86_64__)
#include <stdbool.h>
#include <sys/mman.h>

#include "abi/shim/insn.h"
#include "util/util.h"

enum {
	PAGE = 4096,
	ROUNDS = 200000,
	RSP = 4,
	AF = 0x10,
	FLAGS = 0x8d5, /* OF, SF, ZF, AF, PF, CF */
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
	uint64_t gpr[16], flags;
	uint8_t xmm[16][16];
};

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

/* What stands before the instruction; so it is where it will be, before it is known where its operand is. */
static uint8_t *put_begin(struct text *text, const struct registers *in)
{
	PUT(text, 0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57); /* push rbx, rbp, r12 to r15 */
	PUT(text, 0x48, 0xb8); /* mov rax, in */
	put_address(text, in);
	for (unsigned int i = 0; i < 16; i++) { /* movdqu xmm, [rax + ...] */
		const uint32_t at = (uint32_t)(offsetof(struct registers, xmm) + 16 * i);

		PUT(text, 0xf3);
		if (i >= 8)
			PUT(text, 0x44);
		PUT(text, 0x0f, 0x6f, (uint8_t)(0x80 | (i & 7) << 3));
		put(text, &at, 4);
	}
	PUT(text, 0xff, 0xb0); /* push [rax + flags]; popfq */
	put(text, &(uint32_t){offsetof(struct registers, flags)}, 4);
	PUT(text, 0x9d);
	for (unsigned int i = 16; i-- > 0;) { /* mov reg, [rax + ...]; rax last */
		if (i == RSP)
			continue;
		PUT(text, i >= 8 ? 0x4c : 0x48, 0x8b, (uint8_t)(0x40 | (i & 7) << 3), (uint8_t)(8 * i));
	}
	return text->at;
}

static void put_end(struct text *text, struct registers *out)
{
	PUT(text, 0x48, 0xa3); /* mov [out], rax */
	put_address(text, out);
	PUT(text, 0x48, 0xb8); /* mov rax, out */
	put_address(text, out);
	PUT(text, 0x9c, 0x8f, 0x80); /* pushfq; pop [rax + flags] */
	put(text, &(uint32_t){offsetof(struct registers, flags)}, 4);
	for (unsigned int i = 1; i < 16; i++)
		if (i != RSP)
			PUT(text, i >= 8 ? 0x4c : 0x48, 0x89, (uint8_t)(0x40 | (i & 7) << 3), (uint8_t)(8 * i));
	for (unsigned int i = 0; i < 16; i++) {
		const uint32_t at = (uint32_t)(offsetof(struct registers, xmm) + 16 * i);

		PUT(text, 0xf3);
		if (i >= 8)
			PUT(text, 0x44);
		PUT(text, 0x0f, 0x7f, (uint8_t)(0x80 | (i & 7) << 3));
		put(text, &at, 4);
	}
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

static int bus_direct(void *opaque, uint64_t address, uint64_t from)
{
	(void)opaque;
	if (address != (uintptr_t)memory + 64)
		return -ENXIO;
	memcpy(copy + 64, (const void *)(uintptr_t)from, 64); /* NOLINT(performance-no-int-to-ptr) */
	return 0;
}

static const struct insn_bus bus = {bus_read, bus_write, bus_direct, NULL};

/* --- instructions --- */

struct form {
	uint8_t prefix, map, opcode;
	int8_t extension; /* -1: it is a register */
	char immediate; /* 0, 'b', or 'z': as the operand, at most 4 */
	bool sse, bytes, moves; /* registers; of one byte; flags stay */
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
	static const uint8_t sse[][2] = {{0, 0x10},    {0x66, 0x10}, {0xf2, 0x10}, {0xf3, 0x10}, {0, 0x11},    {0x66, 0x11},
					 {0xf2, 0x11}, {0xf3, 0x11}, {0, 0x28},	   {0x66, 0x28}, {0, 0x29},    {0x66, 0x29},
					 {0, 0x2b},    {0x66, 0x2b}, {0x66, 0x6e}, {0x66, 0x6f}, {0xf3, 0x6f}, {0x66, 0x7e},
					 {0xf3, 0x7e}, {0x66, 0x7f}, {0xf3, 0x7f}, {0x66, 0xd6}, {0x66, 0xe7}};

	form_count = 0;
	for (unsigned int op = 0; op < 8; op++) {
		for (unsigned int i = 0; i < 4; i++)
			form((struct form){.opcode = (uint8_t)(op << 3 | i), .extension = -1, .bytes = !(i & 1)});
		form((struct form){.opcode = 0x80, .extension = (int8_t)op, .immediate = 'b', .bytes = true});
		form((struct form){.opcode = 0x81, .extension = (int8_t)op, .immediate = 'z'});
		form((struct form){.opcode = 0x83, .extension = (int8_t)op, .immediate = 'b'});
	}
	for (unsigned int i = 0; i < 2; i++) {
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
	uint8_t bytes[INSN_LENGTH_MAX];
	size_t length;
	uint8_t rex, reg, base, index, scale;
	bool has_rex, narrow, address32;
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
	if (!indexed) {
		in->gpr[made->base] = made->target - (uint64_t)displacement;
	} else if (made->base != made->index) {
		in->gpr[made->index] = any() >> 8;
		in->gpr[made->base] = made->target - (uint64_t)displacement - (in->gpr[made->index] << made->scale);
	} else { /* one register twice: the address is what it is, modulo what scale leaves */
		made->target = 0;
	}
}

static bool make(struct made *made, struct registers *in, const uint8_t *place)
{
	*made = (struct made){.form = &forms[any() % form_count], .scale = (uint8_t)(any() & 3)};
	made->target = (uintptr_t)memory + 64 + (any() & (made->form->sse ? 0xf0 : 0xff));
	made->narrow = !made->form->sse && made->form->opcode != 0xc3 && any() % 4 == 0;
	made->address32 = any() % 8 == 0;
	made->has_rex = any() % 4 != 0;
	made->rex = made->has_rex ? (uint8_t)(0x40 | (any() & 15)) : 0;
	made->reg = (uint8_t)((any() & 7) | (made->rex & 4 ? 8 : 0));
	if (!made->form->sse && made->form->extension < 0 && made->reg == RSP && (made->has_rex || !made->form->bytes))
		return false;
	if (any() % 8 == 0)
		byte(made, 0x3e);
	if (made->address32)
		byte(made, 0x67);
	if (made->narrow)
		byte(made, 0x66);
	if (made->form->prefix)
		byte(made, made->form->prefix);
	if (made->has_rex)
		byte(made, made->rex);
	if (made->form->map)
		byte(made, 0x0f);
	byte(made, made->form->opcode);
	operand(made, in, place);
	bytes(made, any(), immediate_size(made));
	return made->target;
}

/* AF is undefined after logic. */
static uint64_t compared_flags(const struct made *made)
{
	const unsigned int op = made->form->opcode < 0x40   ? made->form->opcode >> 3
				: made->form->opcode < 0x84 ? (unsigned int)made->form->extension
							    : 4;

	return !made->form->moves && (op == 1 || op == 4 || op == 6) ? FLAGS & ~AF : FLAGS;
}

static void fail_with(const struct made *made, const char *what)
{
	char text[3 * INSN_LENGTH_MAX + 1];

	for (size_t i = 0; i < made->length; i++)
		snprintf(text + 3 * i, 4, "%02x ", made->bytes[i]);
	fail_msg("%s: %s", text, what);
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

static void as_the_processor_does_it(void **test_state)
{
	static struct registers in, native;
	uint8_t xmm[16][16];

	(void)test_state;
	make_forms();
	for (unsigned int i = 0; i < scaled(ROUNDS); i++) {
		struct insn_state state = {.xmm = xmm};
		struct text text = {code};
		struct made made;
		uint8_t *place;

		for (size_t k = 0; k < 16; k++)
			in.gpr[k] = any() >> (any() & 63);
		in.flags = 0x202 | (any() & FLAGS);
		for (size_t k = 0; k < sizeof(in.xmm); k++)
			((uint8_t *)in.xmm)[k] = (uint8_t)any();
		for (size_t k = 0; k < 512; k++)
			copy[k] = memory[k] = (uint8_t)any();
		place = put_begin(&text, &in);
		if (!make(&made, &in, place))
			continue;
		put(&text, made.bytes, made.length);
		put_end(&text, &native);
		memcpy(state.gpr, in.gpr, sizeof(in.gpr));
		memcpy(xmm, in.xmm, sizeof(xmm));
		state.flags = in.flags;
		state.rip = (uintptr_t)place;
		((void (*)(void))(uintptr_t)code)();
		if (insn_do(&state, made.bytes, made.length, &bus))
			fail_with(&made, "it is not known");
		if (state.rip != (uintptr_t)place + made.length)
			fail_with(&made, "its length is another");
		compare(&made, &state, &native);
		if (memcmp(xmm, native.xmm, sizeof(xmm)) != 0)
			fail_with(&made, "a register of SSE is another");
	}
}

/* --- what the processor need not have --- */

static void stores_for_devices(void **test_state)
{
	static const uint8_t direct[] = {0x66, 0x0f, 0x38, 0xf8, 0x02}, enqueue[] = {0xf2, 0x0f, 0x38, 0xf8, 0x02},
			     enqueue_privileged[] = {0xf3, 0x0f, 0x38, 0xf8, 0x02}, store[] = {0x48, 0x0f, 0x38, 0xf9, 0x10},
			     narrow[] = {0x67, 0x66, 0x0f, 0x38, 0xf8, 0x02};
	uint8_t from[65], xmm[16][16];
	const struct insn_state before = {
		.gpr = {[0] = (uintptr_t)memory + 64, [2] = (uintptr_t)(from + 1)}, .flags = FLAGS, .xmm = xmm};
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
		uint8_t bytes[8];
		size_t length;
	} unknown[] = {
		{{0x90}, 1}, /* nop */
		{{0x8b, 0xc0}, 2}, /* mov eax, eax */
		{{0x64, 0x8b, 0x00}, 3}, /* mov eax, fs:[rax] */
		{{0xf0, 0x01, 0x00}, 3}, /* lock add [rax], eax */
		{{0xf3, 0xa4}, 2}, /* rep movsb */
		{{0xc7, 0x08, 0, 0, 0, 0}, 6}, /* another extension */
		{{0xf7, 0x10}, 2}, /* not [rax] */
		{{0xc5, 0xfe, 0x6f, 0x00}, 4}, /* vmovdqu ymm0, [rax] */
		{{0x0f, 0x0b}, 2}, /* ud2 */
		{{0x66, 0xf2, 0x0f, 0x38, 0xf8, 0x02}, 6},
		{{0x0f, 0x38, 0xf8, 0x02}, 4},
		{{0x0f, 0x6f, 0x00}, 3}, /* movq mm0, [rax] */
	};
	uint8_t xmm[16][16] = {{0}};
	const struct insn_state before = {
		.gpr = {(uintptr_t)memory + 64, 1, (uintptr_t)memory}, .flags = FLAGS, .rip = 5, .xmm = xmm};
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
	return code == MAP_FAILED ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_the_processor_does_it),
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

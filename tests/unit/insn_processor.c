/* SPDX-License-Identifier: BSD-3-Clause */
#include "test.h"

#if defined(__x86_64__)
#include "insn_processor.h"

#include <cpuid.h>
#include <sys/mman.h>

#include "abi/shim/xsave.h"

enum { PAGE = INSN_PAGE, ROUNDS = 250000, AREA = INSN_AREA, VECTOR = INSN_VECTOR };

static uint8_t *code;
uint8_t *insn_memory, insn_copy[INSN_PAGE];
uint32_t insn_parts;
static uint64_t seed = 1;

uint64_t any(void)
{
	return random_number(&seed) * UINT64_C(0x2545f4914f6cdd1d);
}

/* --- the processor --- */

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
	const uint64_t has = insn_parts | 1;

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
	PUT(text, 0x31, 0xd2, 0xb8); /* xor edx, edx; mov eax, insn_parts */
	put(text, &insn_parts, 4);
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
	if (address < (uintptr_t)insn_memory || address - (uintptr_t)insn_memory > PAGE - size)
		return -ENXIO;
	memcpy(out, insn_copy + (address - (uintptr_t)insn_memory), size);
	return 0;
}

static int bus_write(void *opaque, uint64_t address, const void *data, unsigned int size)
{
	(void)opaque;
	if (address < (uintptr_t)insn_memory || address - (uintptr_t)insn_memory > PAGE - size)
		return -ENXIO;
	memcpy(insn_copy + (address - (uintptr_t)insn_memory), data, size);
	return 0;
}

/* What is not in the page is the program's. */
static int bus_fetch(void *opaque, uint64_t address, void *out, unsigned int size)
{
	if (bus_read(opaque, address, out, size))
		memcpy(out, (const void *)(uintptr_t)address, size); /* NOLINT(performance-no-int-to-ptr) */
	return 0;
}

static int bus_copy(void *opaque, uint64_t to, uint64_t from, unsigned int size)
{
	uint8_t data[VECTOR];

	bus_fetch(opaque, from, data, size);
	return bus_write(NULL, to, data, size);
}

const struct insn_bus insn_bus = {bus_read, bus_write, bus_fetch, bus_copy, NULL};

/* --- instructions --- */

void byte(struct made *made, unsigned int value)
{
	made->bytes[made->length++] = (uint8_t)value;
}

void bytes(struct made *made, uint64_t value, unsigned int count)
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

void operand(struct made *made, struct registers *in, const uint8_t *place)
{
	const bool relative = !made->far && any() % 8 == 0, indexed = !relative && any() % 2;
	const unsigned int reg = made->extension < 0 ? made->reg & 7U : (unsigned int)made->extension;
	unsigned int mode = relative ? 0 : (unsigned int)(any() % 3);
	int64_t displacement;

	if (relative) {
		byte(made, reg << 3 | 5);
		displacement = (int64_t)(made->target - ((uintptr_t)place + made->length + 4 + made->immediate));
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

/* --- comparing --- */

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
	if ((state->flags ^ native->flags) & (FLAGS | DF) & ~made->undefined)
		fail_with(made, "flags are others");
	if (memcmp(insn_copy, insn_memory, PAGE) != 0)
		fail_with(made, "memory is another");
}

static void fill(struct registers *in)
{
	for (size_t k = 0; k < 16; k++)
		in->gpr[k] = any() >> (any() & 63);
	in->flags = 0x202 | (any() & FLAGS);
	for (size_t k = 0; k < AREA; k += 8)
		memcpy(in->area + k, &(uint64_t){any()}, 8);
	make_area(in->area, insn_parts & any());
	for (size_t k = 0; k < 512; k++)
		insn_copy[k] = insn_memory[k] = (uint8_t)any();
}

/* What is repeated is done one by one. */
static void emulate(const struct made *made, struct insn_state *state)
{
	const uint64_t at = state->rip;

	do {
		if (insn_do(state, made->bytes, made->length, &insn_bus))
			fail_with(made, "it is not known");
	} while (state->rip == at);
	if (state->rip != at + made->length)
		fail_with(made, "its length is another");
}

void compare_with_the_processor(bool (*make)(struct made *, struct registers *, const uint8_t *place))
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
		if (!make(&made, &in, place))
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

int insn_setup(void **state)
{
	(void)state;
	code = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	insn_memory = code + PAGE;
	insn_parts = parts_there();
	xsave_init();
	return code == MAP_FAILED ? -1 : 0;
}
#endif

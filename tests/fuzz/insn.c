/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes that a processor is said to have failed at: registers first, then code. No byte behind what there is is read, an access has
 * a size that there is, and what is not done leaves everything as it was.
 */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "abi/shim/insn.h"

struct seen {
	unsigned int accesses;
	unsigned int fails; /* from which one on; 0: never */
};

static int access_of(struct seen *seen, unsigned int size)
{
	CHECK(size && size <= INSN_DIRECT);
	CHECK(++seen->accesses <= INSN_DIRECT / 2);
	return seen->fails && seen->accesses >= seen->fails ? -EIO : 0;
}

static int bus_read(void *opaque, uint64_t address, void *out, unsigned int size)
{
	memset(out, (int)(address & 0xff), size);
	return access_of(opaque, size);
}

static int bus_write(void *opaque, uint64_t address, const void *data, unsigned int size)
{
	uint8_t copy[INSN_DIRECT];

	(void)address;
	CHECK(size <= sizeof(copy));
	memcpy(copy, data, size);
	return access_of(opaque, size);
}

static int bus_copy(void *opaque, uint64_t to, uint64_t from, unsigned int size)
{
	(void)from;
	CHECK(size <= 8 || (size == INSN_DIRECT && to % INSN_DIRECT == 0));
	return access_of(opaque, size);
}

/* Registers of vectors, of which the processor has more or less. */
static struct saved {
	uint8_t xmm[16][16], ymm[16][16], zmm[16][32], more[16][64];
	uint64_t masks[8];
} saved, saved_before;

static struct insn_vectors vectors_of(unsigned int how)
{
	struct insn_vectors vectors = {.xmm = saved.xmm};

	if (how & 1)
		vectors.ymm = saved.ymm;
	if (how & 2) {
		vectors.ymm = saved.ymm;
		vectors.zmm = saved.zmm;
		vectors.more = saved.more;
		vectors.masks = saved.masks;
	}
	return vectors;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen seen = {0};
	const struct insn_bus bus = {bus_read, bus_write, bus_read, bus_copy, &seen};
	struct insn_vectors vectors, vectors_before;
	struct insn_state state = {.rip = 0x1000, .flags = 0x202, .vectors = &vectors}, before;
	int error;

	if (size < sizeof(state.gpr) / 4 + 1)
		return 0;
	for (size_t i = 0; i < sizeof(state.gpr) / 4; i++)
		((uint8_t *)state.gpr)[4 * i] = data[i];
	data += sizeof(state.gpr) / 4;
	size -= sizeof(state.gpr) / 4;
	seen.fails = *data & 1 ? 1 + (*data >> 4 & 1U) : 0;
	vectors = vectors_of(*data >> 1);
	state.flags |= *data & 8 ? 0x400 : 0;
	memset(&saved, *data, sizeof(saved));
	data++;
	size--;
	before = state;
	vectors_before = vectors;
	saved_before = saved;
	error = insn_do(&state, data, size, &bus);
	if (error) {
		CHECK(error == -ENOSYS || error == -EIO);
		CHECK(!memcmp(&state, &before, sizeof(state)) && !memcmp(&vectors, &vectors_before, sizeof(vectors)));
		CHECK(!memcmp(&saved, &saved_before, sizeof(saved)));
		CHECK(error == -EIO || !seen.accesses);
	} else if (state.rip == before.rip) {
		/* One of a string of several. */
		CHECK(seen.accesses && seen.accesses <= 2 && (uint32_t)state.gpr[1] == (uint32_t)before.gpr[1] - 1);
	} else {
		CHECK(state.rip > before.rip && state.rip - before.rip <= INSN_LENGTH_MAX && state.rip - before.rip <= size);
	}
	return 0;
}

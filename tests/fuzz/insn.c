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
	int fails;
};

static int access_of(struct seen *seen, unsigned int size)
{
	CHECK(size == 1 || size == 2 || size == 4 || size == 8 || size == 16 || size == INSN_DIRECT);
	CHECK(++seen->accesses <= 2);
	return seen->fails ? -EIO : 0;
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
	memcpy(copy, data, size);
	return access_of(opaque, size);
}

static int bus_direct(void *opaque, uint64_t address, uint64_t from)
{
	(void)from;
	CHECK(address % INSN_DIRECT == 0);
	return access_of(opaque, INSN_DIRECT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen seen = {0};
	const struct insn_bus bus = {bus_read, bus_write, bus_direct, &seen};
	uint8_t xmm[16][16] = {{0}}, xmm_before[16][16];
	struct insn_state state = {.rip = 0x1000, .flags = 0x202, .xmm = xmm}, before;
	int error;

	if (size < sizeof(state.gpr) / 4 + 1)
		return 0;
	for (size_t i = 0; i < sizeof(state.gpr) / 4; i++)
		((uint8_t *)state.gpr)[4 * i] = data[i];
	data += sizeof(state.gpr) / 4;
	size -= sizeof(state.gpr) / 4;
	seen.fails = *data++ & 1;
	size--;
	before = state;
	memcpy(xmm_before, xmm, sizeof(xmm));
	error = insn_do(&state, data, size, &bus);
	if (error) {
		CHECK(error == -ENOSYS || error == -EIO);
		CHECK(!memcmp(&state, &before, sizeof(state)) && !memcmp(xmm, xmm_before, sizeof(xmm)));
		CHECK(error == -EIO || !seen.accesses);
	} else {
		CHECK(state.rip > before.rip && state.rip - before.rip <= INSN_LENGTH_MAX && state.rip - before.rip <= size);
	}
	return 0;
}

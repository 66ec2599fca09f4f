/* SPDX-License-Identifier: BSD-3-Clause */
#include "oracle.h"

#include <string.h>

struct oracle_trace oracle_trace;

static bool present(const struct oracle_memory *memory, uint64_t address, unsigned int size)
{
	if (address >= memory->size || memory->size - address < size)
		return false;
	return !memory->absent || !memory->absent[address >> 12];
}

bool oracle_read(const struct oracle_memory *memory, uint64_t address, unsigned int size, uint64_t *out)
{
	if (!present(memory, address, size))
		return false;
	*out = 0;
	memcpy(out, memory->bytes + address, size); /* both little-endian */
	if (oracle_trace.count < ORACLE_TRACE)
		oracle_trace.seen[oracle_trace.count] = (struct oracle_seen){address, *out, size};
	oracle_trace.count++;
	return true;
}

bool oracle_write(struct oracle_memory *memory, uint64_t address, unsigned int size, uint64_t value)
{
	if (!present(memory, address, size))
		return false;
	memcpy(memory->bytes + address, &value, size);
	return true;
}

uint64_t oracle_random(struct oracle_random *random)
{
	uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t oracle_below(struct oracle_random *random, uint64_t limit)
{
	return limit ? oracle_random(random) % limit : 0;
}

bool oracle_once_in(struct oracle_random *random, unsigned int n)
{
	return oracle_below(random, n) == 0;
}

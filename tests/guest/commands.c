/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs inside a guest whose kernel leaves the VT-d alone: allocates PASIDs by virtual commands until none is left, and frees them
 * (VT-d 5.0, 11.4.16). Says how many there were.
 *
 *	guest-commands
 */
#include <stdbool.h>

#include "bar.h"

enum { ECAP = 0x10, VCMD = 0xe00, VCRSP = 0xe10, VCCAP = 0xe30, PASIDS = 4096 };
enum { ALLOC = 1, FREE = 2, IN_PROGRESS = 1, NO_PASID = 16 << 1 };

static volatile uint8_t *vtd;

static uint64_t get(unsigned int offset)
{
	return *(volatile uint64_t *)(vtd + offset);
}

static uint64_t command(uint64_t value)
{
	uint64_t response;

	*(volatile uint64_t *)(vtd + VCMD) = value;
	do
		response = get(VCRSP);
	while (response & IN_PROGRESS);
	return response;
}

int main(void)
{
	static bool seen[1 << 20];
	static uint64_t pasids[PASIDS];
	unsigned int count = 0;
	uint64_t response;

	close(open_config("0000:00:10.0"));
	vtd = map_bar("0000:00:10.0");
	if (!(get(ECAP) >> 44 & 1)) {
		CHECK(get(VCCAP) == 0 && command(ALLOC) == 0);
		puts("not offered");
		return 0;
	}
	CHECK(get(VCCAP) & 2);
	while ((response = command(ALLOC)) != NO_PASID) {
		CHECK(!(response & 0xffff) && response >> 16 && response >> 16 < 1 << 20);
		CHECK(count < PASIDS && !seen[response >> 16]);
		seen[response >> 16] = true;
		pasids[count++] = response;
	}
	printf("%u PASIDs\n", count);
	for (unsigned int i = 0; i < count; i++)
		CHECK(command(pasids[i] | FREE) == 0);
	CHECK(command(pasids[0] | FREE) == NO_PASID);
	CHECK(command(ALLOC) >> 16);
	return 0;
}

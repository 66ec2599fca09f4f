/* SPDX-License-Identifier: BSD-3-Clause */
/* The DMA remapping table (VT-d specification 4.1, chapter 8). */
#include "cli/vm/vm.h"

#include <string.h>

enum {
	HOST_BITS = 48,
	TYPE_DRHD = 0,
	TYPE_ATSR = 2,
	FLAG_ALL_PORTS = 1,
	SCOPE_BRIDGE = 2,
	SCOPE_LENGTH = 8,
	DRHD_LENGTH = 16,
	ATSR_LENGTH = 8,
};

static uint8_t *put(uint8_t *at, uint64_t value, unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i++)
		*at++ = (uint8_t)(value >> 8 * i);
	return at;
}

/*
 * The unit is in charge of what is behind the root ports, and of nothing else: QEMU's own devices know nothing of it, so a guest
 * that remapped their DMA would break them.
 */
size_t vm_dmar(const struct vm *vm, uint8_t *table)
{
	uint8_t *at = table;

	at = put(at, HOST_BITS - 1, 1);
	at = put(at, 0, 11); /* flags: no interrupt remapping; reserved */

	at = put(at, TYPE_DRHD, 2);
	at = put(at, DRHD_LENGTH + (uint64_t)vm->port_count * SCOPE_LENGTH, 2);
	at = put(at, 0, 4); /* flags, size of the register page, segment */
	at = put(at, vm->base, 8);
	for (unsigned int i = 0; i < vm->port_count; i++) {
		at = put(at, SCOPE_BRIDGE, 1);
		at = put(at, SCOPE_LENGTH, 1);
		at = put(at, 0, 4); /* flags, reserved, enumeration id, bus */
		at = put(at, VM_PORT_SLOT + i / 8, 1);
		at = put(at, i % 8, 1);
	}

	at = put(at, TYPE_ATSR, 2);
	at = put(at, ATSR_LENGTH, 2);
	at = put(at, FLAG_ALL_PORTS, 1);
	at = put(at, 0, 3); /* reserved, segment */
	return (size_t)(at - table);
}

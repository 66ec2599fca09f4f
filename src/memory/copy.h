/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one routine that touches mapped memory of others' choosing. A SIGSEGV or SIGBUS inside it becomes a short count instead of a
 * dead process: the handler finds the program counter in a table of fix-ups (as the kernel's own extable) and continues there.
 * Without an installed handler (uiommu_install_fault_handler()) the signal takes its usual way.
 */
#ifndef MEMORY_COPY_H
#define MEMORY_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum copy_fault {
	COPY_OK,
	COPY_FAULT_READ, /* the source */
	COPY_FAULT_WRITE, /* the destination */
};

struct copy_result {
	size_t done;
	enum copy_fault fault;
	bool unmapped; /* SIGSEGV, SEGV_MAPERR */
	bool bus; /* SIGBUS */
};

bool copy_handler_installed(void);

/*
 * Copy upwards; dst and src overlap only if dst <= src. 1, 2, 4 and 8 bytes are one load (acquire) and one store (release), so that
 * what a device writes last is seen last.
 */
struct copy_result copy_bytes(void *dst, const void *src, size_t length);

/* Atomic operations on 4 or 8 aligned bytes; false on a fault. */
bool copy_fetch_add(void *address, unsigned int length, uint64_t operand, uint64_t *old, struct copy_result *fault);
bool copy_swap(void *address, unsigned int length, uint64_t operand, uint64_t *old, struct copy_result *fault);
bool copy_compare_swap(void *address, unsigned int length, uint64_t compare, uint64_t operand, uint64_t *old,
		       struct copy_result *fault);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where registers of vectors are in an XSAVE area of the standard format, which a signal's frame has (architecture manual, volume
 * 1, 13.4). A part that the area does not say is used (XSTATE_BV) is zeroes, whatever is there.
 */
#ifndef SHIM_XSAVE_H
#define SHIM_XSAVE_H

#include <stdint.h>

#include "abi/shim/insn.h"

/* Ask the processor, once: it may take long, and not in a signal handler. */
void xsave_init(void);

/* @has: parts that were saved, INSN_SSE and so on. */
void xsave_vectors(uint8_t *area, uint64_t has, struct insn_vectors *out);

/* As xsave_vectors(); of a signal, whose area says what was saved. */
void xsave_of_signal(uint8_t *area, struct insn_vectors *out);

/* What has been written is used from now on. */
void xsave_written(uint8_t *area, const struct insn_vectors *vectors);

#endif

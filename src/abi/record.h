/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a call has read and written of its caller's memory, and which of its descriptors it had to do with, for whoever shows calls
 * to people: nothing is read a second time, and what is shown is what was done. Of long data, and of many pieces, the first ones.
 */
#ifndef ABI_RECORD_H
#define ABI_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/abi.h"

enum { ABI_RECORD_BYTES = 2048, ABI_RECORD_PIECES = 32, ABI_RECORD_FILES = 8 };

struct abi_record_piece {
	uint64_t address;
	uint16_t at; /* in the bytes */
	uint16_t length;
	bool written;
};

struct abi_record_file {
	int number; /* the caller's */
	uint64_t inode;
	char name[ABI_NAME_BYTES];
};

struct abi_record {
	size_t piece_count, file_count, used;
	struct abi_record_piece pieces[ABI_RECORD_PIECES];
	struct abi_record_file files[ABI_RECORD_FILES];
	uint8_t bytes[ABI_RECORD_BYTES];
};

static inline void abi_record_init(struct abi_record *record)
{
	record->piece_count = record->file_count = record->used = 0;
}

/* @record: NULL: nobody wants to know. */
void abi_record_memory(struct abi_record *record, uint64_t address, const void *data, size_t length, bool written);

/* The caller's descriptor @number is one of @file; @fd: it, here. */
void abi_record_file(struct abi_record *record, int number, const struct abi_file *file, int fd);

/* What was read at @address, or written there; *@out: how many bytes of it are known. NULL: none. */
const uint8_t *abi_record_find(const struct abi_record *record, bool written, uint64_t address, size_t *out);

/* @length bytes that the caller had at @address, as they were: @data becomes what they are now. */
void abi_record_apply(const struct abi_record *record, uint64_t address, uint8_t *data, size_t length);

#endif

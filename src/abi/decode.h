/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls as text, as strace(1) would write them. */
#ifndef ABI_DECODE_H
#define ABI_DECODE_H

#include "abi/describe.h"
#include "abi/record.h"

enum { ABI_TEXT_BYTES = 4096 };

/* What does not fit is left out. */
struct abi_text {
	size_t length; /* there is always room for one more byte */
	char bytes[ABI_TEXT_BYTES];
};

__attribute__((format(printf, 2, 3))) void abi_text_add(struct abi_text *text, const char *format, ...);
void abi_text_add_flags(struct abi_text *text, const struct abi_name *names, uint64_t value);

/* A call that is over. */
struct abi_shown {
	const struct abi_record *record;
	/* What is known to have been in its caller's memory before. */
	const uint8_t *before;
	uint64_t address;
	size_t length;
	int64_t result;
};

/* The command and its argument. */
void abi_decode_ioctl(struct abi_text *text, const struct abi_shown *call, enum abi_space space, unsigned int command,
		      uint64_t argument);

/* @length bytes that were read of the file of this name, or written to it, by the caller at @address. */
void abi_decode_data(struct abi_text *text, const struct abi_shown *call, const char *file, uint64_t address, size_t length,
		     bool written);

/* "<inode:name>", if the call has had to do with the caller's descriptor @number. */
void abi_decode_file(struct abi_text *text, const struct abi_shown *call, int64_t number);

#endif

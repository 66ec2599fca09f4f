/* SPDX-License-Identifier: BSD-3-Clause */
/* What the commands and the members of their structs are called, for whoever shows calls to people. */
#ifndef ABI_DESCRIBE_H
#define ABI_DESCRIBE_H

#include <stddef.h>
#include <stdint.h>

enum abi_kind {
	ABI_NUMBER,
	ABI_SIGNED,
	ABI_BITS, /* hexadecimal */
	ABI_ADDRESS, /* hexadecimal */
};

struct abi_member {
	const char *name; /* one that begins with "out_" is only an answer */
	uint16_t offset;
	uint8_t size; /* 1, 2, 4, 8 */
	uint8_t kind; /* enum abi_kind */
};

struct abi_description {
	unsigned int command;
	const char *name;
	uint32_t size; /* of the struct; 0: the argument is a number, or nothing */
	const struct abi_member *members;
	size_t count;
};

/* Of VFIO, the same number is one command of a device and another one of a container or an iommufd. NULL: it has no name. */
enum abi_space { ABI_SPACE_IOMMUFD, ABI_SPACE_DEVICE };

const struct abi_description *abi_describe(enum abi_space space, unsigned int command);

#endif

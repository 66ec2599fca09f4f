/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One call of an extensible command, whose first 32 bits say how large the caller's struct is. The order of checks and errnos is
 * Linux's: the size can be read (EFAULT), it is the command of this number (ENOTTY), size >= least (EINVAL), what is beyond the
 * struct as it is known here is 0 (E2BIG), the handler; then as much of the struct as the caller knows is written back.
 */
#ifndef ABI_COMMAND_H
#define ABI_COMMAND_H

#include "abi/iommufd.h"

enum { ABI_STRUCT_MAX = 128 };

struct abi_call {
	struct iommufd *iommufd;
	struct uiommu_context *context;
	struct abi_caller *caller;
	uint64_t argument;
	uint32_t user_size;
	uint32_t known_size;
	union {
		uint8_t data[ABI_STRUCT_MAX]; /* the struct; its tail is 0 where the caller's is shorter */
		uint64_t aligned;
	};
	bool replies; /* set by a handler: the struct is written back though it fails */
	bool quiet; /* set by a handler: it is not written back */
	int result; /* of an ioctl that succeeds */
	/* Set by a handler that has made something: */
	uint32_t made; /* an object that ends if the caller does not get to know of it; 0: none */
	struct abi_file *file; /* a reference, for a new descriptor, whose number goes to: */
	uint64_t file_at; /* offset in the struct; 0: it is the result */
};

struct abi_command {
	unsigned int number;
	uint32_t size;
	uint32_t least;
	int (*handle)(struct abi_call *call);
};

int abi_command_run(const struct abi_command *command, struct abi_call *call, unsigned int given);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One call of an extensible command, whose first 32 bits say how large the caller's struct is. The order of checks and errnos is
 * Linux's: the size can be read (EFAULT), it is the command of this number (ENOTTY), size >= least (EINVAL), what is beyond the
 * struct as it is known here is 0 (E2BIG), the handler; then as much of the struct as the caller knows is written back.
 */
#ifndef ABI_COMMAND_H
#define ABI_COMMAND_H

#include <string.h>

#include "abi/abi.h"

enum { ABI_STRUCT_MAX = 128 };

struct iommufd;
struct uiommu_context;

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
	/* Set by a handler that has made something: */
	uint32_t made; /* an object that ends if the caller does not get to know of it; 0: none */
	void (*undo)(struct abi_call *call); /* how something else ends then; or NULL */
	bool nests; /* it is a guest's page table, if the call succeeds */
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

/* Of the caller's memory: -EFAULT. */
static inline int abi_call_read(const struct abi_call *call, uint64_t address, void *out, size_t length)
{
	return abi_caller_read(call->caller, address, out, length);
}

static inline int abi_call_write(const struct abi_call *call, uint64_t address, const void *data, size_t length)
{
	return abi_caller_write(call->caller, address, data, length);
}

/*
 * A struct of data that a driver knows @known bytes of, and whose first version has @least: the caller's @length bytes at @address.
 * -EINVAL (@length < @least), -E2BIG (more than @known that is not 0), -EFAULT.
 */
int abi_call_read_struct(const struct abi_call *call, uint64_t address, uint32_t length, void *out, size_t known, size_t least);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/command.h"

#include <errno.h>
#include <uiommu/context.h>

#include "util/util.h"

enum { TAIL_CHUNK = 4096 };

/* Is what the caller has from @known on all 0? */
static int check_tail(const struct abi_call *call, uint64_t address, uint64_t known, uint64_t length)
{
	uint8_t bytes[TAIL_CHUNK];

	while (known < length) {
		size_t part = (size_t)min_u64(length - known, TAIL_CHUNK);
		int error = abi_call_read(call, address + known, bytes, part);

		if (error)
			return error;
		for (size_t i = 0; i < part; i++)
			if (bytes[i])
				return -E2BIG;
		known += part;
	}
	return 0;
}

int abi_call_read_struct(const struct abi_call *call, uint64_t address, uint32_t length, void *out, size_t known, size_t least)
{
	int error = length < least ? -EINVAL : check_tail(call, address, known, length);

	if (error)
		return error;
	memset(out, 0, known);
	return abi_call_read(call, address, out, (size_t)min_u64(length, known));
}

static int install(struct abi_call *call)
{
	uint64_t where = call->file_at ? call->argument + call->file_at : 0;
	int result = call->caller->ops->install(call->caller, call->file, where);

	if (result >= 0)
		call->file = NULL;
	return result;
}

/* The caller gets to know what has been made. */
static int tell(struct abi_call *call)
{
	int result = 0;

	if (!call->quiet)
		result = abi_call_write(call, call->argument, call->data, (size_t)min_u64(call->user_size, call->known_size));
	if (!result && call->file)
		result = install(call);
	return result;
}

static void undo(struct abi_call *call)
{
	abi_file_put(call->file);
	if (call->made)
		uiommu_destroy(call->context, call->made);
	if (call->undo)
		call->undo(call);
}

int abi_command_run(const struct abi_command *command, struct abi_call *call, unsigned int given)
{
	int error = abi_call_read(call, call->argument, &call->user_size, sizeof(call->user_size)), result;

	if (error)
		return error;
	if (command->number != given)
		return -ENOTTY;
	call->known_size = command->size;
	error = abi_call_read_struct(call, call->argument, call->user_size, call->data, command->size, command->least);
	if (error)
		return error;
	/* Whatever another thread of the caller has made of it. */
	memcpy(call->data, &call->user_size, sizeof(call->user_size));
	error = command->handle(call);
	if (error && !call->replies)
		return error;
	result = tell(call);
	if (result < 0)
		undo(call);
	return result < 0 || !error ? result : error;
}

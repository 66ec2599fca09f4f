/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/command.h"

#include <errno.h>
#include <string.h>

#include "util/util.h"

enum { TAIL_CHUNK = 4096 };

/* Is what the caller has beyond the struct all 0? */
static int check_tail(struct abi_call *call)
{
	uint64_t at = call->known_size;
	uint8_t bytes[TAIL_CHUNK];

	while (at < call->user_size) {
		size_t length = (size_t)min_u64(call->user_size - at, TAIL_CHUNK);
		int error = abi_memory_read(call->caller->memory, call->argument + at, bytes, length);

		if (error)
			return error;
		for (size_t i = 0; i < length; i++)
			if (bytes[i])
				return -E2BIG;
		at += length;
	}
	return 0;
}

static int read_struct(struct abi_call *call)
{
	size_t length = (size_t)min_u64(call->user_size, call->known_size);
	int error = check_tail(call);

	if (error)
		return error;
	error = abi_memory_read(call->caller->memory, call->argument, call->data, length);
	/* Whatever another thread of the caller has made of it. */
	memcpy(call->data, &call->user_size, sizeof(call->user_size));
	return error;
}

static int write_struct(struct abi_call *call)
{
	size_t length = (size_t)min_u64(call->user_size, call->known_size);

	return abi_memory_write(call->caller->memory, call->argument, call->data, length);
}

static int install(struct abi_call *call)
{
	uint64_t where = call->file_at ? call->argument + call->file_at : 0;
	int result = call->caller->ops->install(call->caller, call->file, where);

	if (result >= 0)
		call->file = NULL;
	return result;
}

static void undo(struct abi_call *call)
{
	abi_file_put(call->file);
	if (call->made)
		uiommu_destroy(call->context, call->made);
}

int abi_command_run(const struct abi_command *command, struct abi_call *call, unsigned int given)
{
	int error = abi_memory_read(call->caller->memory, call->argument, &call->user_size, sizeof(call->user_size)), late;

	if (error)
		return error;
	if (command->number != given)
		return -ENOTTY;
	if (call->user_size < command->least)
		return -EINVAL;
	call->known_size = command->size;
	error = read_struct(call);
	if (error)
		return error;
	error = command->handle(call);
	if (error && !call->replies)
		return error;
	late = call->quiet ? 0 : write_struct(call);
	if (error)
		return late ? late : error;
	if (!late && call->file)
		late = install(call);
	if (late < 0) {
		undo(call);
		return late;
	}
	return call->file_at || !late ? call->result : late;
}

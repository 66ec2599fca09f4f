/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of an iommufd that are ours. */
#include <errno.h>
#include <uiommu/abi.h>
#include <uiommu/bind.h>
#include <uiommu/pasid.h>
#include <unistd.h>

#include "abi/handlers.h"
#include "util/util.h"

enum { VERSION = 1, PAYLOAD_MAX = 256 };

static int version(struct abi_call *call);

/* --- bind --- */

/* The caller's descriptors as ours, to be closed. */
static int take_bundle(struct abi_call *call, struct uiommu_process *process)
{
	int *fds[] = {&process->mem, &process->maps, &process->pidfd, &process->auxv, &process->exec};
	struct uiommu_process taken = {-1, -1, -1, -1, -1};
	int *out[] = {&taken.mem, &taken.maps, &taken.pidfd, &taken.auxv, &taken.exec};
	struct abi_file *file;
	int error = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fds) && !error; i++) {
		if (*fds[i] < 0)
			continue;
		error = call->caller->ops->descriptor(call->caller, *fds[i], &file, out[i]);
		if (!error && file) {
			abi_file_put(file);
			*out[i] = -1;
			error = -EBADF;
		}
	}
	if (error)
		uiommu_process_close(&taken);
	else
		*process = taken;
	return error;
}

/* Another process's, or the caller's, who need not be this one. */
static int bind_process(struct abi_call *call, struct uiommu_bind *bind, struct uiommu_bind_process *payload)
{
	int error;

	if (payload->flags & UIOMMU_BIND_SELF) {
		if (call->caller->memory->own)
			return uiommu_bind(call->context, bind);
		payload->flags &= ~(uint32_t)UIOMMU_BIND_SELF;
		payload->process = call->caller->memory->bundle;
		return uiommu_bind(call->context, bind);
	}
	error = take_bundle(call, &payload->process);
	if (error)
		return error;
	error = uiommu_bind(call->context, bind);
	uiommu_process_close(&payload->process);
	return error;
}

static void bind_undo(struct abi_call *call)
{
	const struct uiommu_abi_bind *arguments = (const void *)call->data;

	uiommu_unbind(call->context, arguments->device_id, arguments->pasid);
}

static int bind(struct abi_call *call)
{
	struct uiommu_abi_bind *arguments = (void *)call->data;
	uint64_t payload[PAYLOAD_MAX / 8];
	struct uiommu_bind request = {
		.size = sizeof(request),
		.flags = arguments->flags,
		.device_id = arguments->device_id,
		.pasid = arguments->pasid,
		.vpasid = arguments->vpasid,
		.type = arguments->type,
		.fault_queue_id = arguments->fault_queue_id,
		.data_len = arguments->data_len,
		.data = payload,
		.reserved = arguments->reserved,
	};
	int error = arguments->data_len > PAYLOAD_MAX ? -E2BIG : abi_call_read(call, arguments->data, payload, arguments->data_len);

	if (error)
		return error;
	call->nests = request.type == UIOMMU_BIND_PAGE_TABLE || request.type == UIOMMU_BIND_PASID_TABLE;
	if (request.type == UIOMMU_BIND_PROCESS && request.data_len == sizeof(struct uiommu_bind_process))
		error = bind_process(call, &request, (struct uiommu_bind_process *)(void *)payload);
	else
		error = request.type == UIOMMU_BIND_PROCESS ? -EINVAL : uiommu_bind(call->context, &request);
	arguments->pasid = request.pasid;
	arguments->out_hwpt_id = request.hwpt_id;
	if (!error)
		call->undo = bind_undo;
	return error;
}

static int unbind(struct abi_call *call)
{
	const struct uiommu_abi_unbind *arguments = (const void *)call->data;

	call->quiet = true;
	return uiommu_unbind(call->context, arguments->device_id, arguments->pasid);
}

/* --- sets of PASIDs --- */

static int pasid_set_alloc(struct abi_call *call)
{
	struct uiommu_abi_pasid_set_alloc *arguments = (void *)call->data;
	const struct uiommu_pasid_set_alloc alloc = {.size = sizeof(alloc), .flags = arguments->flags, .quota = arguments->quota};
	int error = uiommu_pasid_set_alloc(call->context, &alloc, &arguments->out_set_id);

	if (!error)
		call->made = arguments->out_set_id;
	return error;
}

static void pasid_undo(struct abi_call *call)
{
	const struct uiommu_abi_pasid_alloc *arguments = (const void *)call->data;

	uiommu_pasid_free(call->context, arguments->set_id, arguments->out_pasid);
}

static int pasid_alloc(struct abi_call *call)
{
	struct uiommu_abi_pasid_alloc *arguments = (void *)call->data;
	int error = uiommu_pasid_alloc(call->context, arguments->set_id, arguments->first, arguments->last, &arguments->out_pasid);

	if (!error)
		call->undo = pasid_undo;
	return error;
}

static int pasid_free(struct abi_call *call)
{
	const struct uiommu_abi_pasid_free *arguments = (const void *)call->data;

	call->quiet = true;
	return uiommu_pasid_free(call->context, arguments->set_id, arguments->pasid);
}

#define COMMAND(command, type, last, handler)                                                                                      \
	{                                                                                                                          \
		(unsigned int)(command), sizeof(struct type), offsetof(struct type, last) + sizeof(((struct type *)NULL)->last),   \
			handler                                                                                                    \
	}

static const struct abi_command commands[] = {
	COMMAND(UIOMMU_ABI_VERSION, uiommu_abi_version, out_commands, version),
	COMMAND(UIOMMU_ABI_BIND, uiommu_abi_bind, reserved, bind),
	COMMAND(UIOMMU_ABI_UNBIND, uiommu_abi_unbind, pasid, unbind),
	COMMAND(UIOMMU_ABI_PASID_SET_ALLOC, uiommu_abi_pasid_set_alloc, out_set_id, pasid_set_alloc),
	COMMAND(UIOMMU_ABI_PASID_ALLOC, uiommu_abi_pasid_alloc, out_pasid, pasid_alloc),
	COMMAND(UIOMMU_ABI_PASID_FREE, uiommu_abi_pasid_free, pasid, pasid_free),
};

static int version(struct abi_call *call)
{
	struct uiommu_abi_version *arguments = (void *)call->data;

	arguments->out_version = VERSION;
	arguments->out_commands = (UINT64_C(1) << ARRAY_SIZE(commands)) - 1;
	return 0;
}

int abi_extension(struct abi_call *call, unsigned int command)
{
	unsigned int number = command & 0xff;

	return number < ARRAY_SIZE(commands) ? abi_command_run(&commands[number], call, command) : -ENOTTY;
}

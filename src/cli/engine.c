/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/engine.h"

#include <errno.h>
#include <string.h>

const struct uiommu_queue_config engine_queue_config = {
	.size = sizeof(engine_queue_config),
	.flags = UIOMMU_QUEUE_HANDLES,
	.entries = 2,
};

enum status engine_open(struct engine *engine, const char *socket)
{
	enum status status;

	*engine = (struct engine){.socket = socket};
	status = socket ? engine_open_daemon(engine) : engine_open_embedded(engine);
	if (status)
		engine_close(engine);
	return status;
}

void engine_close(struct engine *engine)
{
	uiommu_queue_destroy(engine->queue);
	engine->queue = NULL;
	if (engine->ops)
		engine->ops->close(engine);
}

static enum status complain_process(pid_t pid, int error)
{
	if (error == -ESRCH)
		return complain(STATUS_OTHER, "process %d: there is no such process", pid);
	return complain(status_of(error), "process %d: cannot be opened: %s; uiommu doctor --pid %d says why", pid,
			strerror(-error), pid);
}

enum status engine_bind(struct engine *engine, struct end *end, unsigned int access)
{
	struct uiommu_process process;
	int error = uiommu_process_open(end->pid, access, &process);

	if (error)
		return complain_process(end->pid, error);
	process_command(end->pid, end->comm, sizeof(end->comm));
	end->pasid = UIOMMU_NO_PASID;
	error = engine->ops->bind(engine, &process, access, &end->pasid);
	uiommu_process_close(&process);
	if (error)
		return complain(status_of(error), "process %d (%s): cannot be bound: %s", end->pid, end->comm, strerror(-error));
	error = engine->ops->grant(engine, end->pasid, &end->handle);
	if (error)
		return complain(status_of(error), "process %d (%s): no handle for PASID %u: %s", end->pid, end->comm, end->pasid,
				strerror(-error));
	return STATUS_OK;
}

enum status engine_run(struct engine *engine, struct uiommu_accel_desc *desc)
{
	struct uiommu_accel_error lost;
	int error;

	memset(engine->record, 0, sizeof(*engine->record));
	desc->completion_address = (uintptr_t)engine->record;
	error = uiommu_queue_submit(engine->queue, desc);
	if (!error)
		error = engine->ops->wait(engine);
	if (!error)
		return STATUS_OK;
	uiommu_queue_error(engine->queue, &lost);
	if (lost.code)
		return complain(STATUS_OTHER, "the device gave no answer: software error %u on PASID %u at 0x%llx", lost.code,
				lost.pasid, (unsigned long long)lost.address);
	return complain(status_of(error), "the device gave no answer: %s", strerror(-error));
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The accelerator of a daemon. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/daemon.h"
#include "cli/engine.h"

static int daemon_bind(struct engine *engine, const struct uiommu_process *process, unsigned int access, uint32_t *pasid)
{
	return uiommu_client_bind(engine->client, process, access, pasid);
}

static int daemon_grant(struct engine *engine, uint32_t pasid, uint16_t *handle)
{
	return uiommu_client_grant(engine->client, pasid, handle);
}

static int daemon_wait(struct engine *engine)
{
	return uiommu_queue_wait(engine->queue, engine->record);
}

/* The daemon may know of faults of others, too: take the newest that is about this address of one of our processes. */
static bool daemon_fault(struct engine *engine, const struct end *ends, size_t count, struct uiommu_fault_report *report)
{
	struct uiommu_fault_report *reports;
	bool found = false;
	size_t known;

	if (uiommu_client_faults(engine->client, &reports, &known))
		return false;
	for (size_t i = 0; i < known && !found; i++)
		for (size_t j = 0; j < count && !found; j++)
			if (reports[i].fault.pasid == ends[j].pasid && reports[i].fault.address == engine->record->fault_address) {
				*report = reports[i];
				found = true;
			}
	free(reports);
	return found;
}

static void daemon_close(struct engine *engine)
{
	uiommu_client_close(engine->client);
}

static const struct engine_ops daemon_ops = {
	.bind = daemon_bind,
	.grant = daemon_grant,
	.wait = daemon_wait,
	.fault = daemon_fault,
	.close = daemon_close,
};

enum status engine_open_daemon(struct engine *engine)
{
	struct uiommu_queue_config queue = engine_queue_config;
	enum status status = daemon_connect(engine->socket, &engine->client);
	size_t records;
	int error;

	if (status)
		return status;
	engine->ops = &daemon_ops;
	queue.pasid = UIOMMU_NO_PASID;
	error = uiommu_client_bind(engine->client, NULL, UIOMMU_READ | UIOMMU_WRITE, &queue.pasid);
	if (!error)
		error = uiommu_client_queue(engine->client, &queue, &engine->queue);
	if (error)
		return complain(status_of(error), "%s: no queue: %s", engine->socket, strerror(-error));
	engine->record = uiommu_client_records(engine->client, &records);
	return engine->record ? STATUS_OK : complain(STATUS_OTHER, "%s: no completion records", engine->socket);
}

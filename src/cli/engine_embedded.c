/* SPDX-License-Identifier: BSD-3-Clause */
/* The accelerator in this process: its work is done in this thread, between submission and completion. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <uiommu/uiommu.h>

#include "cli/engine.h"
#include "memory/process.h"

static int bind_pasid(struct engine *engine, const struct uiommu_bind_process *payload, uint32_t *pasid)
{
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = engine->device_id,
		.pasid = *pasid,
		.type = UIOMMU_BIND_PROCESS,
		.data_len = sizeof(*payload),
		.data = payload,
		.fault_queue_id = engine->fault_queue_id,
	};
	int error = uiommu_bind(engine->context, &bind);

	*pasid = bind.pasid;
	return error;
}

static int embedded_bind(struct engine *engine, const struct uiommu_process *process, unsigned int access, uint32_t *pasid)
{
	struct uiommu_bind_process payload = {.access = access, .process = *process};

	return bind_pasid(engine, &payload, pasid);
}

static int embedded_grant(struct engine *engine, uint32_t pasid, uint16_t *handle)
{
	return uiommu_accel_grant(engine->accel, pasid, handle);
}

static bool record_written(const struct uiommu_accel_record *record)
{
	return __atomic_load_n(&record->status, __ATOMIC_ACQUIRE) != UIOMMU_ACCEL_PENDING;
}

static int embedded_wait(struct engine *engine)
{
	while (!record_written(engine->record))
		if (uiommu_accel_poll(engine->accel, 64) == 0 && !record_written(engine->record))
			return -EIO;
	return 0;
}

static void describe_mapping(pid_t pid, uint64_t address, struct uiommu_fault_report *report)
{
	struct uiommu_process bundle;
	struct process_vma vma = {0};
	struct process *process;

	if (uiommu_process_open(pid, UIOMMU_READ, &bundle))
		return;
	if (process_open(&bundle, UIOMMU_READ, 0, &process) == 0) {
		if (process_describe(process, address, &vma) == 0)
			report->vma_access = vma.access;
		report->vma_start = vma.start;
		report->vma_end = vma.end;
		snprintf(report->vma_name, sizeof(report->vma_name), "%s", vma.name);
		process_close(process);
	}
	uiommu_process_close(&bundle);
}

static bool embedded_fault(struct engine *engine, const struct end *ends, size_t count, struct uiommu_fault_report *report)
{
	struct uiommu_fault_event event;
	struct timespec now;

	if (uiommu_fault_read(engine->context, engine->fault_queue_id, &event, 1) != 1)
		return false;
	clock_gettime(CLOCK_REALTIME, &now);
	*report = (struct uiommu_fault_report){
		.fault = event.fault,
		.time_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec,
		.device = "embedded",
	};
	for (size_t i = 0; i < count; i++) {
		if (ends[i].pasid != event.fault.pasid)
			continue;
		report->pid = (uint32_t)ends[i].pid;
		snprintf(report->comm, sizeof(report->comm), "%s", ends[i].comm);
		describe_mapping(ends[i].pid, event.fault.address, report);
	}
	return true;
}

static void embedded_close(struct engine *engine)
{
	uiommu_accel_destroy(engine->accel);
	uiommu_close(engine->context);
}

static const struct engine_ops embedded_ops = {
	.bind = embedded_bind,
	.grant = embedded_grant,
	.wait = embedded_wait,
	.fault = embedded_fault,
	.close = embedded_close,
};

enum status engine_open_embedded(struct engine *engine)
{
	struct uiommu_device_config device = {.size = sizeof(device), .name = "embedded", .pasid_bits = UIOMMU_PASID_BITS};
	struct uiommu_bind_process self = {.flags = UIOMMU_BIND_SELF, .access = UIOMMU_READ | UIOMMU_WRITE};
	struct uiommu_queue_config queue = engine_queue_config;
	int error = uiommu_install_fault_handler();

	queue.pasid = UIOMMU_NO_PASID;
	engine->record = &engine->own_record;
	if (!error)
		error = uiommu_open(NULL, &engine->context);
	if (error)
		return complain(STATUS_OTHER, "no context: %s", strerror(-error));
	engine->ops = &embedded_ops;
	error = uiommu_device_alloc(engine->context, &device, &engine->device_id);
	if (!error)
		error = uiommu_fault_queue_alloc(engine->context, 16, &engine->fault_queue_id);
	if (!error)
		error = bind_pasid(engine, &self, &queue.pasid);
	if (!error)
		error = uiommu_accel_create(engine->context, engine->device_id, &engine->accel);
	if (!error)
		error = uiommu_accel_queue(engine->accel, &queue, &engine->queue);
	return error ? complain(STATUS_OTHER, "no device: %s", strerror(-error)) : STATUS_OK;
}

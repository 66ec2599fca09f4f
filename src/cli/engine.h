/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The accelerator, wherever it is: in this process, or in a daemon.
 *
 * The queue is dedicated to a PASID that this process itself is bound to: completion records go there. Source and destination are
 * named by handles.
 */
#ifndef CLI_ENGINE_H
#define CLI_ENGINE_H

#include <uiommu/client.h>

#include "cli/cli.h"

/* A process that is bound to the device. */
struct end {
	pid_t pid;
	uint32_t pasid;
	uint16_t handle;
	char comm[16];
};

struct engine {
	const struct engine_ops *ops;
	struct uiommu_queue *queue;
	struct uiommu_accel_record *record;
	/* In this process. */
	struct uiommu_context *context;
	struct uiommu_accel *accel;
	struct uiommu_accel_record own_record;
	uint32_t device_id;
	uint32_t fault_queue_id;
	/* In a daemon. */
	const char *socket;
	struct uiommu_client *client;
};

struct engine_ops {
	/* Both are 0 or -errno, as the library's calls. */
	int (*bind)(struct engine *engine, const struct uiommu_process *process, unsigned int access, uint32_t *pasid);
	int (*grant)(struct engine *engine, uint32_t pasid, uint16_t *handle);
	/* Wait for the record of what was submitted. */
	int (*wait)(struct engine *engine);
	/* Fill @report with what stopped the last descriptor. False if nothing is known but the record. */
	bool (*fault)(struct engine *engine, const struct end *ends, size_t count, struct uiommu_fault_report *report);
	void (*close)(struct engine *engine);
};

/* An engine in this process if @socket is NULL, else of the daemon there. Complains. */
enum status engine_open(struct engine *engine, const char *socket);
void engine_close(struct engine *engine);

/* Bind @end->pid and fill the rest. Complains. */
enum status engine_bind(struct engine *engine, struct end *end, unsigned int access);

/* Do one descriptor and wait for its record. Complains if it could not be done; what the record says is up to the caller. */
enum status engine_run(struct engine *engine, struct uiommu_accel_desc *desc);

enum status engine_open_embedded(struct engine *engine);
enum status engine_open_daemon(struct engine *engine);

/* The queue both kinds use. */
extern const struct uiommu_queue_config engine_queue_config;

#endif

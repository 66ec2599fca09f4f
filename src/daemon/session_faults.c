/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fault reports. The engine's thread leaves records in a short queue; the session's thread looks at what is at the address, as long
 * as it is news, and tells the broker. A storm of faults costs a counter.
 */
#include <string.h>

#include "daemon/session.h"
#include "memory/process.h"
#include "util/clock.h"

enum {
	REPORTS_BURST = 64,
	REPORT_EVERY_MS = 10,
};

void session_faults_init(struct session_faults *faults)
{
	pthread_mutex_init(&faults->lock, NULL);
	faults->tokens = REPORTS_BURST;
	faults->refilled = clock_ms();
}

static void lose(struct session_faults *faults, uint32_t count)
{
	pthread_mutex_lock(&faults->lock);
	faults->lost += count;
	pthread_mutex_unlock(&faults->lock);
}

uint64_t session_faults_lost(struct session *session)
{
	uint64_t lost;

	pthread_mutex_lock(&session->faults.lock);
	lost = session->faults.lost;
	pthread_mutex_unlock(&session->faults.lock);
	return lost;
}

void session_fault(void *opaque, const struct uiommu_fault *fault)
{
	struct session *session = opaque;
	struct session_faults *faults = &session->faults;
	bool first;

	pthread_mutex_lock(&faults->lock);
	first = faults->count == 0;
	if (faults->count < SESSION_FAULTS)
		faults->queue[faults->count++] = *fault;
	else
		faults->lost++;
	pthread_mutex_unlock(&faults->lock);
	if (first)
		session->ops->wake(session->opaque);
}

static bool may_report(struct session_faults *faults)
{
	uint64_t more = (clock_ms() - faults->refilled) / REPORT_EVERY_MS;

	if (more) {
		faults->refilled += more * REPORT_EVERY_MS;
		faults->tokens = more > REPORTS_BURST - faults->tokens ? REPORTS_BURST : faults->tokens + (uint32_t)more;
	}
	if (!faults->tokens)
		return false;
	faults->tokens--;
	return true;
}

static void report(struct session *session, const struct uiommu_fault *fault)
{
	struct link_message message = {.type = LINK_FAULT, .report.fault = *fault};
	struct process *process = session_process(session, fault->pasid);
	struct process_vma vma = {0};

	message.report.fault.device_id = 0;
	if (process && process_describe(process, fault->address, &vma) == 0)
		message.report.vma_access = vma.access;
	message.report.vma_start = vma.start;
	message.report.vma_end = vma.end;
	memcpy(message.report.vma_name, vma.name, sizeof(vma.name));
	if (!session->ops->tell(session->opaque, &message))
		lose(&session->faults, 1);
}

void session_report_faults(struct session *session)
{
	struct session_faults *faults = &session->faults;
	struct uiommu_fault queue[SESSION_FAULTS];
	uint32_t count;

	pthread_mutex_lock(&faults->lock);
	count = faults->count;
	memcpy(queue, faults->queue, count * sizeof(queue[0]));
	faults->count = 0;
	pthread_mutex_unlock(&faults->lock);
	for (uint32_t i = 0; i < count; i++) {
		if (may_report(faults))
			report(session, &queue[i]);
		else
			lose(faults, 1);
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A session's PASIDs: processes bound to the device, and the memory that they register. */
#include <errno.h>
#include <string.h>

#include "daemon/session.h"
#include "memory/process.h"
#include "sva/bind.h"
#include "translate/space.h"
#include "util/rcu.h"
#include "util/util.h"

struct binding *session_binding(struct session *session, uint32_t pasid)
{
	if (!pasid)
		return NULL;
	for (uint32_t i = 0; i < session->config.pasids_max; i++)
		if (session->bindings[i].pasid == pasid)
			return &session->bindings[i];
	return NULL;
}

static struct binding *live_binding(struct session *session, uint32_t pasid)
{
	struct binding *binding = session_binding(session, pasid);

	return binding && !binding->draining ? binding : NULL;
}

struct process *session_process(struct session *session, uint32_t pasid)
{
	struct attachment *attachment;
	struct process *process = NULL;

	if (!live_binding(session, pasid))
		return NULL;
	thread_self();
	rcu_enter();
	attachment = attach_table_find(&session->device->table, pasid);
	if (attachment)
		process = attachment->space->process;
	rcu_leave();
	/* Only this session unbinds, so it outlives the read section. */
	return process;
}

static void bundle_from(const struct request *request, struct uiommu_process *bundle)
{
	int *parts[] = {&bundle->mem, &bundle->maps, &bundle->pidfd, &bundle->auxv, &bundle->exec};
	unsigned int next = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(parts); i++)
		*parts[i] = request->bind.parts & (1u << i) ? request->fds->fds[next++] : -1;
}

/* @call: uiommu_bind() or bind_again(). */
static int bind_by(int (*call)(struct uiommu_context *context, struct uiommu_bind *bind), struct session *session,
		   const struct request *request, uint32_t *pasid)
{
	struct uiommu_bind_process data = {.access = request->bind.access};
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = session->device_id,
		.pasid = *pasid,
		.type = UIOMMU_BIND_PROCESS,
		.data = &data,
		.data_len = sizeof(data),
	};
	int rc;

	bundle_from(request, &data.process);
	rc = call(session->context, &bind);
	if (!rc)
		*pasid = bind.pasid;
	return rc;
}

static void give_back(struct session *session, uint32_t pasid)
{
	struct link_message message = {.type = LINK_PASID_FREE, .pasid.pasid = pasid};

	session_ask(session, &message);
}

static int tell_bound(struct session *session, const struct request *request, uint32_t pasid)
{
	struct link_message message = {.type = LINK_PASID_BOUND, .bound.pasid = pasid, .bound.access = request->bind.access};
	struct process *process = session_process(session, pasid);

	message.bound.pid = process ? (uint32_t)process_pid(process) : 0;
	memcpy(message.bound.comm, request->bind.comm, sizeof(message.bound.comm));
	return session_ask(session, &message);
}

/* What a bind keeps open: the bundle without auxv, and one to be told of the end. */
static uint32_t fds_kept(const struct request *request)
{
	return (uint32_t)__builtin_popcount(request->bind.parts & ~(uint32_t)PROTOCOL_BUNDLE_AUXV) + 1;
}

/* Bind under a number that the broker has given out. */
static int bind_new(struct session *session, const struct request *request, uint32_t *pasid)
{
	struct link_message message = {.type = LINK_PASID_TAKE, .pasid.pasid = request->bind.pasid, .pasid.fds = fds_kept(request)};
	struct binding *binding;
	int rc = session_ask(session, &message);

	if (rc)
		return rc;
	*pasid = message.pasid.pasid;
	rc = bind_by(uiommu_bind, session, request, pasid);
	if (rc) {
		give_back(session, message.pasid.pasid);
		return rc;
	}
	binding = &session->bindings[message.pasid.index];
	*binding = (struct binding){.session = session, .pasid = *pasid, .index = message.pasid.index, .count = 1};
	return tell_bound(session, request, *pasid);
}

int session_bind(struct session *session, const struct request *request)
{
	uint32_t pasid = request->bind.pasid;
	struct protocol_bind_reply *reply;
	int rc;

	if (request->bind.reserved)
		return -EINVAL;
	/* A process that has a PASID takes none, and nothing of the limits. */
	rc = bind_by(bind_again, session, request, &pasid);
	if (!rc)
		live_binding(session, pasid)->count++;
	else if (rc == -ENOENT)
		rc = bind_new(session, request, &pasid);
	if (rc)
		return rc;
	reply = session_reply(session, sizeof(*reply));
	reply->pasid = pasid;
	return 0;
}

/* --- unbind --- */

/* From whichever thread left the PASID last. */
static void unbind_done(void *opaque)
{
	struct binding *binding = opaque;
	struct session *session = binding->session;

	pthread_mutex_lock(&session->done_lock);
	binding->next_done = session->done;
	session->done = binding;
	pthread_mutex_unlock(&session->done_lock);
	session->ops->wake(session->opaque);
}

static void ignore(void *opaque)
{
	(void)opaque;
}

/* The last numbers of a PASID go into the client's total. */
static void stats_close(struct session *session, const struct binding *binding)
{
	struct stats *stats = session->config.stats;
	struct stats_entry none = {0};

	session_publish(session);
	stats_sum(&stats->ended, &stats->pasids[binding->index]);
	stats_copy(&stats->pasids[binding->index], &none);
}

int session_unbind(struct session *session, const struct request *request)
{
	struct binding *binding = live_binding(session, request->unbind.pasid);
	struct link_message message = {.type = LINK_PASID_DRAIN, .pasid.pasid = request->unbind.pasid};
	int rc;

	if (request->unbind.reserved)
		return -EINVAL;
	if (!binding)
		return -ENOENT;
	if (binding->count > 1) {
		rc = uiommu_unbind_start(session->context, session->device_id, binding->pasid, ignore, NULL);
		binding->count -= !rc;
		return rc;
	}
	rc = session_ask(session, &message);
	if (rc)
		return rc;
	stats_close(session, binding);
	binding->draining = true;
	binding->cookie = request->header.cookie;
	rc = uiommu_unbind_start(session->context, session->device_id, binding->pasid, unbind_done, binding);
	if (rc) {
		/* The broker has it as draining, and it will not end: only the end of the session undoes this. */
		session->ending = "a PASID cannot be unbound";
		return rc;
	}
	return SESSION_LATER;
}

int session_unbound(struct session *session)
{
	struct protocol_header header = {.type = PROTOCOL_UNBIND};
	struct binding *binding;
	int rc = 0;

	pthread_mutex_lock(&session->done_lock);
	binding = session->done;
	session->done = NULL;
	pthread_mutex_unlock(&session->done_lock);
	while (binding && !rc) {
		struct binding *next = binding->next_done;

		header.cookie = binding->cookie;
		session_area_forget(session, binding->pasid, 0, UINT64_MAX);
		give_back(session, binding->pasid);
		binding->pasid = 0;
		rc = session_answer(session, &header, 0);
		binding = next;
	}
	return rc;
}

/* --- registered memory --- */

int session_register(struct session *session, const struct request *request)
{
	const struct protocol_register *in = &request->reg;
	struct uiommu_register reg = {
		.size = sizeof(reg),
		.device_id = session->device_id,
		.pasid = in->pasid,
		.access = in->access,
		.address = in->address,
		.length = in->length,
		.fd = request->fds->fds[0],
		.offset = in->offset,
	};
	int rc;

	if (!live_binding(session, in->pasid))
		return -ENOENT;
	rc = session_area_take(session);
	if (rc)
		return rc;
	rc = uiommu_register(session->context, &reg);
	if (rc)
		session_area_give(session, 1);
	else
		session_area_add(session, in->pasid, in->address, in->length);
	return rc;
}

int session_unregister(struct session *session, const struct request *request)
{
	const struct protocol_unregister *in = &request->unreg;
	int rc;

	if (in->reserved)
		return -EINVAL;
	if (!live_binding(session, in->pasid))
		return -ENOENT;
	rc = uiommu_unregister(session->context, session->device_id, in->pasid, in->address, in->length);
	if (!rc)
		session_area_forget(session, in->pasid, in->address, in->address + in->length - 1);
	return rc;
}

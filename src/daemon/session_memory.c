/* SPDX-License-Identifier: BSD-3-Clause */
/* A session's IOAS, its queues, its completion area, and the count of its areas. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/session.h"
#include "devices/accel/engine.h"
#include "devices/accel/ring.h"

/* --- areas --- */

int session_area_take(struct session *session)
{
	struct link_message message = {.type = LINK_AREA_TAKE};
	int rc = session_ask(session, &message);

	if (rc || session->area_count < session->area_room)
		return rc;
	struct session_area *areas = reallocarray(session->areas, session->area_room + 64, sizeof(*areas));

	if (!areas) {
		session_area_give(session, 1);
		return -ENOMEM;
	}
	session->areas = areas;
	session->area_room += 64;
	return 0;
}

void session_area_give(struct session *session, uint32_t count)
{
	struct link_message message = {.type = LINK_AREA_FREE};

	for (; count; count--)
		session_ask(session, &message);
}

void session_area_add(struct session *session, uint32_t pasid, uint64_t start, uint64_t length)
{
	session->areas[session->area_count++] = (struct session_area){start, start + length - 1, pasid};
}

void session_area_forget(struct session *session, uint32_t pasid, uint64_t start, uint64_t last)
{
	uint32_t kept = 0, count = session->area_count;

	for (uint32_t i = 0; i < count; i++) {
		struct session_area area = session->areas[i];

		if (area.pasid != pasid || area.start < start || area.last > last)
			session->areas[kept++] = area;
	}
	session->area_count = kept;
	session_area_give(session, count - kept);
}

/* --- IOAS --- */

/* Without this seal the owner could cut the memory off under our copies; the fault handler would catch it, but it is a promise. */
static int check_seal(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0)
		return errno == EBADF ? -EBADF : -EINVAL;
	return seals & F_SEAL_SHRINK ? 0 : -EINVAL;
}

int session_map(struct session *session, const struct request *request)
{
	const struct protocol_map *in = &request->map;
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = in->flags,
		.ioas_id = session->ioas_id,
		.source = UIOMMU_MAP_FILE,
		.fd = request->fds->fds[0],
		.offset = in->offset,
		.length = in->length,
		.iova = in->iova,
	};
	struct protocol_map_reply *reply;
	int rc;

	if (in->reserved)
		return -EINVAL;
	rc = check_seal(map.fd);
	if (!rc)
		rc = session_area_take(session);
	if (rc)
		return rc;
	rc = uiommu_ioas_map(session->context, &map);
	if (rc) {
		session_area_give(session, 1);
		return rc;
	}
	session_area_add(session, UIOMMU_NO_PASID, map.iova, map.length);
	reply = session_reply(session, sizeof(*reply));
	reply->iova = map.iova;
	return 0;
}

int session_unmap(struct session *session, const struct request *request)
{
	const struct protocol_unmap *in = &request->unmap;
	struct protocol_unmap_reply *reply;
	uint64_t unmapped;
	int rc = uiommu_ioas_unmap(session->context, session->ioas_id, in->iova, in->length, &unmapped);

	if (rc)
		return rc;
	/* The one that covers everything has a length of UINT64_MAX. */
	session_area_forget(session, UIOMMU_NO_PASID, in->iova, in->length == UINT64_MAX ? UINT64_MAX : in->iova + in->length - 1);
	reply = session_reply(session, sizeof(*reply));
	reply->unmapped = unmapped;
	return 0;
}

/* --- handles --- */

int session_grant(struct session *session, const struct request *request)
{
	uint32_t pasid = request->grant.pasid;
	struct protocol_grant_reply *reply;
	uint16_t handle;
	int rc;

	if (request->grant.reserved)
		return -EINVAL;
	if (pasid != UIOMMU_NO_PASID && !session_binding(session, pasid))
		return -ENOENT;
	rc = uiommu_accel_grant(session->accel, pasid, &handle);
	if (rc)
		return rc;
	reply = session_reply(session, sizeof(*reply));
	reply->handle = handle;
	return 0;
}

/* --- queues --- */

static int queue_attach(struct session *session, struct session_queue *queue, uint32_t flags)
{
	struct engine_queue_config config = {
		.ring = queue->ring,
		.entries = queue->entries,
		.flags = flags,
		.pasid = queue->pasid,
		.interrupt_fd = queue->interrupt_fd,
	};

	return engine_queue_attach(session->accel, &config, &queue->engine);
}

/* Everything a queue needs. @ring_fd is for the client. On failure nothing is left. */
static int queue_make(struct session *session, struct session_queue *queue, uint32_t flags, int *ring_fd)
{
	int rc;

	*ring_fd = ring_create_memfd(queue->entries, flags);
	if (*ring_fd < 0)
		return *ring_fd;
	rc = ring_map(*ring_fd, queue->entries, &queue->ring);
	if (rc) {
		close(*ring_fd);
		return rc;
	}
	queue->interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = queue->interrupt_fd < 0 ? -errno : queue_attach(session, queue, flags);
	if (!rc)
		return 0;
	if (queue->interrupt_fd >= 0)
		close(queue->interrupt_fd);
	ring_unmap(queue->ring, queue->entries);
	close(*ring_fd);
	return rc;
}

static int queue_check(struct session *session, const struct protocol_queue *in)
{
	if (in->flags & ~(uint32_t)(UIOMMU_QUEUE_SHARED | UIOMMU_QUEUE_HANDLES))
		return -EOPNOTSUPP;
	if (in->reserved || !ring_entries_valid(in->entries))
		return -EINVAL;
	if (!(in->flags & UIOMMU_QUEUE_SHARED) && !session_binding(session, in->pasid))
		return -EINVAL;
	return 0;
}

int session_queue(struct session *session, const struct request *request)
{
	const struct protocol_queue *in = &request->queue;
	struct link_message message = {.type = LINK_QUEUE_TAKE, .queue.flags = in->flags, .queue.entries = in->entries};
	struct session_queue queue = {.entries = in->entries, .pasid = in->flags & UIOMMU_QUEUE_SHARED ? 0 : in->pasid};
	struct protocol_queue_reply *reply;
	int ring_fd, rc = queue_check(session, in);

	if (!rc)
		rc = session_ask(session, &message);
	if (rc)
		return rc;
	queue.index = message.queue.index;
	rc = queue_make(session, &queue, in->flags, &ring_fd);
	if (rc) {
		message.type = LINK_QUEUE_FREE;
		session_ask(session, &message);
		return rc;
	}
	session->queues[queue.index] = queue;
	reply = session_reply(session, sizeof(*reply));
	reply->queue = queue.index + 1;
	reply->entries = queue.entries;
	session->reply_fds[0] = ring_fd;
	session->reply_fds[1] = engine_wakeup_fd(session->accel);
	session->reply_fds[2] = queue.interrupt_fd;
	session->reply_fd_count = 3;
	session->reply_close = ring_fd;
	return 0;
}

static void queue_end(struct session_queue *queue)
{
	engine_queue_detach(queue->engine);
	ring_unmap(queue->ring, queue->entries);
	close(queue->interrupt_fd);
	queue->engine = NULL;
}

int session_queue_destroy(struct session *session, const struct request *request)
{
	struct link_message message = {.type = LINK_QUEUE_FREE};
	uint32_t index = request->queue_destroy.queue - 1; /* 0 becomes too great */
	struct stats *stats = session->config.stats;
	struct session_queue *queue;

	if (request->queue_destroy.reserved)
		return -EINVAL;
	if (index >= session->config.queues_max || !session->queues[index].engine)
		return -ENOENT;
	queue = &session->queues[index];
	stats_store(&stats->descriptors, stats->descriptors + engine_queue_completed(queue->engine));
	stats_store(&stats_queues(stats, session->config.pasids_max)[index], 0);
	queue_end(queue);
	message.queue.index = index;
	return session_ask(session, &message);
}

void session_queues_fini(struct session *session)
{
	for (uint32_t i = 0; i < session->config.queues_max; i++)
		if (session->queues[i].engine)
			queue_end(&session->queues[i]);
}

/* --- completion area --- */

static int records_make(void)
{
	int fd = memfd_create("uiommu-records", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int rc;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, PROTOCOL_RECORDS * sizeof(struct uiommu_accel_record)) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

int session_records(struct session *session, const struct request *request)
{
	struct protocol_records_reply *reply;

	(void)request;
	if (session->records_fd < 0)
		session->records_fd = records_make();
	if (session->records_fd < 0)
		return session->records_fd;
	reply = session_reply(session, sizeof(*reply));
	reply->count = PROTOCOL_RECORDS;
	session->reply_fds[0] = session->records_fd;
	session->reply_fd_count = 1;
	return 0;
}

/* --- statistics --- */

static void publish_pasid(struct session *session, uint32_t pasid, struct stats_entry *entry)
{
	struct uiommu_attach_stats in = {.size = sizeof(in)};
	struct stats_entry numbers;

	if (uiommu_attach_stats(session->context, session->device_id, pasid, &in))
		return;
	numbers = (struct stats_entry){in.bytes_read, in.bytes_written, in.faults, in.discarded};
	stats_copy(entry, &numbers);
}

static void publish_holders(struct session *session, uint32_t pasid, struct stats_entry *entry)
{
	struct uiommu_pasid_info info = {.size = sizeof(info)};

	if (!pasid || uiommu_pasid_info(session->context, UIOMMU_PASID_SET_OWN, pasid, &info))
		info.attachments = info.holders = 0;
	stats_store(&entry->holders, (uint64_t)info.attachments + info.holders);
}

void session_publish(struct session *session)
{
	struct stats *stats = session->config.stats;
	uint64_t *queues = stats_queues(stats, session->config.pasids_max);

	if (!session->open)
		return;
	publish_pasid(session, UIOMMU_NO_PASID, &stats->ioas);
	for (uint32_t i = 0; i < session->config.pasids_max; i++) {
		publish_holders(session, session->bindings[i].pasid, &stats->pasids[i]);
		if (session->bindings[i].pasid && !session->bindings[i].draining)
			publish_pasid(session, session->bindings[i].pasid, &stats->pasids[i]);
	}
	for (uint32_t i = 0; i < session->config.queues_max; i++)
		if (session->queues[i].engine)
			stats_store(&queues[i], engine_queue_completed(session->queues[i].engine));
	stats_store(&stats->lost_reports, session_faults_lost(session));
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/accel/engine.h"
#include "util/util.h"

/* How a request has to look, and who answers it. */
struct rule {
	uint16_t size; /* of the payload: what is known of it, and the least */
	uint8_t fds;
	int (*handle)(struct session *session, const struct request *request);
};

enum { FDS_BY_PARTS = 0xff };

static const struct rule rules[PROTOCOL_TYPES] = {
	[PROTOCOL_HELLO] = {sizeof(struct protocol_hello), 0, session_hello},
	[PROTOCOL_BIND] = {sizeof(struct protocol_bind), FDS_BY_PARTS, session_bind},
	[PROTOCOL_UNBIND] = {sizeof(struct protocol_unbind), 0, session_unbind},
	[PROTOCOL_REGISTER] = {sizeof(struct protocol_register), 1, session_register},
	[PROTOCOL_UNREGISTER] = {sizeof(struct protocol_unregister), 0, session_unregister},
	[PROTOCOL_MAP] = {sizeof(struct protocol_map), 1, session_map},
	[PROTOCOL_UNMAP] = {sizeof(struct protocol_unmap), 0, session_unmap},
	[PROTOCOL_GRANT] = {sizeof(struct protocol_grant), 0, session_grant},
	[PROTOCOL_QUEUE] = {sizeof(struct protocol_queue), 0, session_queue},
	[PROTOCOL_QUEUE_DESTROY] = {sizeof(struct protocol_queue_destroy), 0, session_queue_destroy},
	[PROTOCOL_RECORDS_AREA] = {0, 0, session_records},
	[PROTOCOL_LIST] = {sizeof(struct protocol_cursor), 0, session_list},
	[PROTOCOL_FAULTS] = {sizeof(struct protocol_cursor), 0, session_fault_list},
};

static const char *check_header(const struct session *session, const struct protocol_header *header, size_t length)
{
	if (header->length != length)
		return "its length is not what it says";
	if (header->flags)
		return "unknown flags";
	if (header->type >= PROTOCOL_TYPES || !rules[header->type].handle)
		return "unknown type";
	if (!header->cookie)
		return "no cookie";
	if (length - sizeof(*header) < rules[header->type].size)
		return "payload too short";
	if (session->open == (header->type == PROTOCOL_HELLO))
		return session->open ? "second hello" : "request before hello";
	return NULL;
}

static const char *check_fds(const struct request *request)
{
	unsigned int expected = rules[request->header.type].fds;

	if (request->fds->truncated)
		return "too many descriptors";
	if (expected == FDS_BY_PARTS) {
		if (request->bind.parts & ~(uint32_t)PROTOCOL_BUNDLE_ALL)
			return "unknown parts of a bundle";
		expected = (unsigned int)__builtin_popcount(request->bind.parts);
	}
	return request->fds->count == expected ? NULL : "wrong number of descriptors";
}

/* NULL, and a request; or what is wrong. */
static const char *parse(const struct session *session, const void *message, size_t length, struct request *request)
{
	const char *wrong;

	if (length < sizeof(request->header))
		return "shorter than a header";
	if (length > PROTOCOL_REQUEST_MAX)
		return "too long";
	memcpy(&request->header, message, sizeof(request->header));
	wrong = check_header(session, &request->header, length);
	if (wrong)
		return wrong;
	memset(request->bytes, 0, sizeof(request->bytes));
	memcpy(request->bytes, (const uint8_t *)message + sizeof(request->header), length - sizeof(request->header));
	return check_fds(request);
}

/* Whatever is there beyond what we know has to be zero. */
static bool tail_is_zero(const struct request *request)
{
	for (size_t i = rules[request->header.type].size; i < sizeof(request->bytes); i++)
		if (request->bytes[i])
			return false;
	return true;
}

void *session_reply(struct session *session, size_t size)
{
	memset(session->reply.bytes + sizeof(session->reply.header), 0, size);
	session->reply_length = sizeof(session->reply.header) + size;
	return session->reply.bytes + sizeof(session->reply.header);
}

int session_answer(struct session *session, const struct protocol_header *request, int error)
{
	struct protocol_status *status = (struct protocol_status *)(void *)(session->reply.bytes + sizeof(session->reply.header));
	int rc;

	if (!session->reply_length)
		session_reply(session, sizeof(*status));
	status->error = error;
	session->reply.header = (struct protocol_header){.length = (uint32_t)session->reply_length,
							 .type = request->type,
							 .flags = PROTOCOL_REPLY,
							 .cookie = request->cookie};
	rc = session->ops->send(session->opaque, &session->reply, session->reply_length, session->reply_fds,
				session->reply_fd_count);
	session->reply_length = 0;
	session->reply_fd_count = 0;
	if (session->reply_close >= 0)
		close(session->reply_close);
	session->reply_close = -1;
	return rc;
}

const char session_gone[] = "the client is gone";

static const char *answer_wrong(int rc)
{
	if (!rc)
		return NULL;
	return rc == -EAGAIN ? "it does not read its replies" : session_gone;
}

const char *session_feed(struct session *session, const void *message, size_t length, struct wire_fds *fds)
{
	struct request request = {.fds = fds};
	const char *wrong = parse(session, message, length, &request);
	int rc;

	if (wrong) {
		wire_close(fds);
		return wrong;
	}
	rc = tail_is_zero(&request) ? rules[request.header.type].handle(session, &request) : -E2BIG;
	wire_close(fds);
	if (rc != SESSION_LATER)
		wrong = answer_wrong(session_answer(session, &request.header, rc));
	if (!wrong)
		wrong = session->ending ? session->ending : session_work(session);
	return wrong;
}

const char *session_work(struct session *session)
{
	session_report_faults(session);
	return answer_wrong(session_unbound(session));
}

int session_ask(struct session *session, struct link_message *message)
{
	return session->ops->ask(session->opaque, message, NULL);
}

int session_init(struct session *session, const struct session_config *config, const struct session_ops *ops, void *opaque)
{
	memset(session, 0, sizeof(*session));
	session->config = *config;
	session->ops = ops;
	session->opaque = opaque;
	session->records_fd = -1;
	session->reply_close = -1;
	session->bindings = calloc(config->pasids_max, sizeof(*session->bindings));
	session->queues = calloc(config->queues_max, sizeof(*session->queues));
	if (!session->bindings || !session->queues) {
		free(session->bindings);
		free(session->queues);
		return -ENOMEM;
	}
	pthread_mutex_init(&session->done_lock, NULL);
	session_faults_init(&session->faults);
	return 0;
}

void session_fini(struct session *session)
{
	session_queues_fini(session);
	uiommu_accel_destroy(session->accel);
	uiommu_device_put(session->device);
	uiommu_close(session->context);
	if (session->records_fd >= 0)
		close(session->records_fd);
	pthread_mutex_destroy(&session->done_lock);
	pthread_mutex_destroy(&session->faults.lock);
	free(session->areas);
	free(session->bindings);
	free(session->queues);
}

/* --- HELLO --- */

static void session_log(void *opaque, enum uiommu_log_level level, const char *text)
{
	struct session *session = opaque;
	struct link_message message = {.type = LINK_LOG, .log.level = level};

	strncpy(message.log.text, text, sizeof(message.log.text) - 1);
	session->ops->tell(session->opaque, &message);
}

static int device_index(const struct session *session, const char *name)
{
	if (!name[0])
		return 0;
	for (uint32_t i = 0; i < session->config.device_count; i++)
		if (!strncmp(session->config.devices[i], name, PROTOCOL_NAME_MAX))
			return (int)i;
	return -ENODEV;
}

static int device_make(struct session *session, const char *name)
{
	struct uiommu_options options = {.size = sizeof(options), .log = session_log, .log_opaque = session};
	struct uiommu_device_config device = {.size = sizeof(device), .name = name, .pasid_bits = UIOMMU_PASID_BITS};
	int rc;

	rc = uiommu_open(&options, &session->context);
	if (!rc)
		rc = uiommu_device_alloc(session->context, &device, &session->device_id);
	if (!rc)
		rc = uiommu_ioas_alloc(session->context, &session->ioas_id);
	if (!rc)
		rc = uiommu_attach(session->context, session->device_id, UIOMMU_NO_PASID, session->ioas_id);
	if (!rc)
		rc = uiommu_accel_create(session->context, session->device_id, &session->accel);
	if (rc)
		return rc;
	session->device = uiommu_device_get(session->context, session->device_id);
	engine_on_fault(session->accel, session_fault, session);
	return 0;
}

static int hello_version(struct session *session)
{
	struct protocol_hello_reply *reply = session_reply(session, sizeof(*reply));

	reply->version = PROTOCOL_VERSION;
	session->ending = "another version of the protocol";
	return -EPROTO;
}

int session_hello(struct session *session, const struct request *request)
{
	const struct protocol_hello *hello = &request->hello;
	struct link_message message = {.type = LINK_OPEN};
	struct protocol_hello_reply *reply;
	int device, rc;

	if (hello->version != PROTOCOL_VERSION)
		return hello_version(session);
	if (hello->reserved)
		return -EINVAL;
	device = device_index(session, hello->device);
	if (device < 0)
		return device;
	message.open.device = (uint32_t)device;
	memcpy(message.open.comm, hello->comm, sizeof(hello->comm));
	rc = session_ask(session, &message);
	if (!rc)
		rc = device_make(session, session->config.devices[device]);
	if (rc) {
		session->ending = "no device for it";
		return rc;
	}
	session->open = true;
	session->device_index = (uint32_t)device;
	reply = session_reply(session, sizeof(*reply));
	reply->version = PROTOCOL_VERSION;
	reply->client = session->config.client;
	strncpy(reply->device, session->config.devices[device], sizeof(reply->device) - 1);
	return 0;
}

/* --- LIST and FAULTS: the broker's answer is the payload --- */

static int forward(struct session *session, const struct request *request, enum link_type type)
{
	struct link_message message = {.type = type, .cursor = request->cursor};
	void *payload = session_reply(session, sizeof(struct protocol_status));
	int length = session->ops->ask(session->opaque, &message, payload);

	if (length < 0)
		return length;
	session->reply_length = sizeof(session->reply.header) + (size_t)length;
	return 0;
}

int session_list(struct session *session, const struct request *request)
{
	return forward(session, request, LINK_LIST);
}

int session_fault_list(struct session *session, const struct request *request)
{
	return forward(session, request, LINK_FAULTS);
}

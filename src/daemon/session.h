/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One client's requests, and what it has: the control side of an executor.
 *
 * A session belongs to one thread. It reads messages that the client made, so nothing in them is believed: session_feed() is the
 * one way in. The client's socket and the broker stand behind struct session_ops; tests and the fuzzer bring their own.
 *
 * The session decides nothing about numbers and limits, that is the broker's; nor about translations, that is the library's. What
 * may sleep (a bind's verification, closing a descriptor that somebody sent) sleeps here, and holds up this client only.
 */
#ifndef DAEMON_SESSION_H
#define DAEMON_SESSION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <uiommu/uiommu.h>

#include "daemon/link.h"
#include "daemon/stats.h"
#include "daemon/wire.h"

struct session;
struct engine_queue;
struct ring_header;

struct session_ops {
	/* Send one reply; -errno: the client is gone, or does not read. */
	int (*send)(void *opaque, const void *message, size_t length, const int *fds, unsigned int count);
	/*
	 * Ask the broker. The answer is written over @message, or, with @payload, to *@payload (room for a reply; its length is
	 * returned). -errno of the broker; -EPIPE if it is gone.
	 */
	int (*ask)(void *opaque, struct link_message *message, void *payload);
	/* Tell the broker; dropped when it has no room. */
	bool (*tell)(void *opaque, const struct link_message *message);
	/* Something waits for session_work(). From any thread. */
	void (*wake)(void *opaque);
};

struct session_config {
	const char *const *devices;
	uint32_t device_count;
	uint32_t client; /* its number */
	uint32_t pasids_max;
	uint32_t queues_max;
	struct stats *stats;
};

/* One PASID of the client. */
struct binding {
	struct binding *next_done;
	struct session *session;
	uint64_t cookie; /* of the unbind that waits */
	uint32_t pasid; /* 0: free entry */
	uint32_t index;
	uint32_t count; /* binds merged in it */
	bool draining;
};

struct session_queue {
	struct engine_queue *engine; /* NULL: free entry */
	struct ring_header *ring;
	uint32_t entries;
	uint32_t index;
	uint32_t pasid; /* dedicated; 0: shared */
	int interrupt_fd;
};

/* A mapped or registered piece; counted only. */
struct session_area {
	uint64_t start;
	uint64_t last;
	uint32_t pasid; /* or UIOMMU_NO_PASID */
};

enum { SESSION_FAULTS = 32 };

/* Faults on their way from the engine's thread to the session's. */
struct session_faults {
	pthread_mutex_t lock;
	struct uiommu_fault queue[SESSION_FAULTS];
	uint32_t count;
	uint64_t lost;
	/* Reports that may be sent now, and since when (ms). */
	uint32_t tokens;
	uint64_t refilled;
};

struct session {
	const struct session_ops *ops;
	void *opaque;
	struct session_config config;

	bool open; /* HELLO has been answered */
	const char *ending; /* the last reply was the last one, because of this */
	struct uiommu_context *context;
	struct uiommu_device *device;
	uint32_t device_id;
	uint32_t ioas_id;
	uint32_t device_index; /* of config.devices */
	struct uiommu_accel *accel;

	struct binding *bindings; /* pasids_max */
	struct session_queue *queues; /* queues_max */
	struct session_area *areas;
	uint32_t area_count;
	uint32_t area_room;
	int records_fd;

	pthread_mutex_t done_lock;
	struct binding *done; /* whose unbind is complete */
	struct session_faults faults;

	union {
		struct protocol_header header;
		uint8_t bytes[PROTOCOL_REPLY_MAX];
	} reply;
	size_t reply_length;
	int reply_fds[PROTOCOL_FDS_MAX];
	unsigned int reply_fd_count;
	int reply_close; /* one of them is ours only until it is sent; -1 */
};

/* A request whose form is right: its payload has at least all that is known of it. Zeros follow. */
struct request {
	struct protocol_header header;
	union {
		struct protocol_hello hello;
		struct protocol_bind bind;
		struct protocol_unbind unbind;
		struct protocol_register reg;
		struct protocol_unregister unreg;
		struct protocol_map map;
		struct protocol_unmap unmap;
		struct protocol_grant grant;
		struct protocol_queue queue;
		struct protocol_queue_destroy queue_destroy;
		struct protocol_cursor cursor;
		uint8_t bytes[PROTOCOL_REQUEST_MAX];
	};
	const struct wire_fds *fds;
};

/* The one reason to end that is nobody's fault. */
extern const char session_gone[];

/* A handler has sent no reply and will do it later. */
enum { SESSION_LATER = 1 };

int session_init(struct session *session, const struct session_config *config, const struct session_ops *ops, void *opaque);

/* End everything the client has. Waits for accesses in flight. */
void session_fini(struct session *session);

/*
 * One message of the client. @length is its true length, of which at most PROTOCOL_REQUEST_MAX bytes are at @message. All
 * descriptors are closed. Returns NULL, or why the connection has to end.
 */
const char *session_feed(struct session *session, const void *message, size_t length, struct wire_fds *fds);

/* What other threads left to do: replies to unbinds, fault reports. NULL, or why the connection has to end. */
const char *session_work(struct session *session);

/* Bring the statistics up to date. */
void session_publish(struct session *session);

/* --- between the files of the session --- */

/* Room for the payload struct of the reply, filled with zeros. */
void *session_reply(struct session *session, size_t size);

/* Send what session_reply() has, or only @error. -errno: the connection is over. */
int session_answer(struct session *session, const struct protocol_header *request, int error);

int session_ask(struct session *session, struct link_message *message);

/* PASID @pasid of this client, or NULL. */
struct binding *session_binding(struct session *session, uint32_t pasid);

int session_hello(struct session *session, const struct request *request);
int session_bind(struct session *session, const struct request *request);
int session_unbind(struct session *session, const struct request *request);
int session_register(struct session *session, const struct request *request);
int session_unregister(struct session *session, const struct request *request);
int session_map(struct session *session, const struct request *request);
int session_unmap(struct session *session, const struct request *request);
int session_grant(struct session *session, const struct request *request);
int session_queue(struct session *session, const struct request *request);
int session_queue_destroy(struct session *session, const struct request *request);
int session_records(struct session *session, const struct request *request);
int session_list(struct session *session, const struct request *request);
int session_fault_list(struct session *session, const struct request *request);

/* Areas: take one from the limits, remember it, forget those of a range. */
int session_area_take(struct session *session);
void session_area_give(struct session *session, uint32_t count);
void session_area_add(struct session *session, uint32_t pasid, uint64_t start, uint64_t length);
void session_area_forget(struct session *session, uint32_t pasid, uint64_t start, uint64_t last);

/* The engine's thread met a fault; callback of engine_on_fault(), @opaque is the session. */
void session_fault(void *opaque, const struct uiommu_fault *fault);
void session_report_faults(struct session *session);
void session_faults_init(struct session_faults *faults);
uint64_t session_faults_lost(struct session *session);

/* Reply to the unbinds that are complete. -errno: the connection is over. */
int session_unbound(struct session *session);

void session_queues_fini(struct session *session);

/* The process behind a PASID of this session, or NULL; valid until the session unbinds it. */
struct process *session_process(struct session *session, uint32_t pasid);

#endif

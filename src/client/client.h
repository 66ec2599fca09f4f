/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection to uiommud. Requests of several threads are under way at once; there is no thread of its own. Of those that wait for
 * replies one receives, and hands the others theirs.
 */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include <pthread.h>
#include <urcu/list.h>

#include "daemon/protocol.h"

/* One request that waits for its reply. It lies on the stack of the thread that waits. */
struct call {
	struct cds_list_head link;
	uint64_t cookie;
	uint16_t type;
	void *reply; /* struct protocol_status first; filled with zeros beyond what came */
	size_t reply_size;
	int *fds;
	unsigned int fd_count; /* expected */
	bool done;
	int error; /* of the connection */
};

struct uiommu_client {
	uint32_t owner; /* fork_token() of the process that connected */
	uint32_t references; /* the caller's, and one of each queue */
	int fd; /* shut down by the caller, closed with the last reference */
	pthread_mutex_t lock;
	pthread_cond_t received;
	struct cds_list_head calls;
	bool receiving; /* a thread is in recvmsg() */
	int broken; /* 0, or what every call returns */
	uint64_t cookie;
	uint8_t buffer[PROTOCOL_REPLY_MAX];

	/* The completion area, the PASID it is registered in (0: none), and how often that is bound. */
	pthread_mutex_t records_lock;
	struct uiommu_accel_record *records;
	size_t record_count;
	int records_fd;
	uint32_t records_pasid;
	uint32_t records_binds;
};

/* A request and its reply. */
struct client_request {
	enum protocol_type type;
	const void *payload;
	size_t payload_size;
	const int *fds;
	unsigned int fd_count;
	void *reply; /* begins with struct protocol_status */
	size_t reply_size;
	int *reply_fds; /* closed again unless exactly @reply_fd_count of them come */
	unsigned int reply_fd_count;
};

/* The daemon's error, -EPIPE, -EOWNERDEAD. */
int client_call(struct uiommu_client *client, const struct client_request *request);

void client_get(struct uiommu_client *client);
void client_put(struct uiommu_client *client);

#endif

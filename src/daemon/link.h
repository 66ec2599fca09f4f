/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What executors and the broker say to each other, on a SOCK_SEQPACKET socketpair without file descriptors.
 *
 * An executor asks and waits for the answer (same type, error set); the broker never waits. FAULT, LOG and PUBLISHED have no
 * answer. The broker asks nothing but PUBLISH. The broker takes executors for what they are, processes that a client may have taken
 * over: it checks everything they say against that client's own things.
 */
#ifndef DAEMON_LINK_H
#define DAEMON_LINK_H

#include "daemon/protocol.h"

enum link_type {
	LINK_NONE,
	LINK_OPEN, /* the client has chosen its device */
	LINK_PASID_TAKE, /* number (or UIOMMU_NO_PASID) and fds in; number and index out */
	LINK_PASID_BOUND,
	LINK_PASID_DRAIN,
	LINK_PASID_FREE,
	LINK_QUEUE_TAKE, /* index out */
	LINK_QUEUE_FREE,
	LINK_AREA_TAKE,
	LINK_AREA_FREE,
	LINK_LIST,
	LINK_FAULTS,
	LINK_ASKED, /* the types before this one have an answer */
	LINK_FAULT = LINK_ASKED,
	LINK_LOG,
	LINK_PUBLISHED,
	LINK_TYPES,
	LINK_PUBLISH = LINK_TYPES, /* from the broker: bring the statistics up to date, then say PUBLISHED */
};

enum { LINK_LOG_MAX = 200 };

struct link_open {
	uint32_t device; /* index */
	char comm[PROTOCOL_COMM_MAX];
};

struct link_pasid {
	uint32_t pasid;
	uint32_t index; /* in the statistics */
	uint32_t fds; /* that the bind keeps open */
};

struct link_bound {
	uint32_t pasid;
	uint32_t pid;
	uint32_t access;
	char comm[PROTOCOL_COMM_MAX];
};

struct link_queue {
	uint32_t flags;
	uint32_t entries;
	uint32_t index;
};

struct link_log {
	uint32_t level; /* enum uiommu_log_level */
	char text[LINK_LOG_MAX];
};

struct link_message {
	uint32_t type;
	int32_t error;
	union {
		struct link_open open;
		struct link_pasid pasid;
		struct link_bound bound;
		struct link_queue queue;
		struct protocol_cursor cursor;
		struct uiommu_fault_report report; /* client, uid, device, time_ns and comm are filled in by the broker */
		struct link_log log;
	};
};

/* The answer to LIST and FAULTS: this, and the payload of the reply to the client. */
struct link_answer {
	uint32_t type;
	int32_t error;
};

#endif

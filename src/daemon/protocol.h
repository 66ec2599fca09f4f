/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What uiommud and its clients say to each other on a SOCK_SEQPACKET UNIX socket. docs/protocol.md is the specification.
 *
 * Each message is a header and a payload struct. A request has one reply: same type and cookie, PROTOCOL_REPLY set, and a payload
 * that begins with struct protocol_status. Payloads may grow. The daemon ends the connection if a request's is shorter than here,
 * and refuses with -E2BIG what it does not know and is not zero; a client takes what is missing in a reply's as zeros, and does not
 * look at what it does not know. Numbers are in host order; both ends are on one host.
 */
#ifndef DAEMON_PROTOCOL_H
#define DAEMON_PROTOCOL_H

#include <uiommu/client.h>

enum {
	PROTOCOL_VERSION = 1,
	PROTOCOL_REQUEST_MAX = 512, /* bytes, header included */
	PROTOCOL_REPLY_MAX = 16384,
	PROTOCOL_FDS_MAX = 5,
	PROTOCOL_NAME_MAX = 32, /* of a device, with its NUL */
	PROTOCOL_COMM_MAX = 16,
	PROTOCOL_ITEMS_MAX = 120, /* in one reply */
	PROTOCOL_REPORTS_MAX = 80,
	PROTOCOL_RECORDS = 4096, /* completion records of a client's completion area */
};

enum protocol_type {
	PROTOCOL_END, /* reply only: the daemon ends the connection, status says why; cookie 0 */
	PROTOCOL_HELLO,
	PROTOCOL_BIND,
	PROTOCOL_UNBIND,
	PROTOCOL_REGISTER,
	PROTOCOL_UNREGISTER,
	PROTOCOL_MAP,
	PROTOCOL_UNMAP,
	PROTOCOL_GRANT,
	PROTOCOL_QUEUE,
	PROTOCOL_QUEUE_DESTROY,
	PROTOCOL_RECORDS_AREA,
	PROTOCOL_LIST,
	PROTOCOL_FAULTS,
	PROTOCOL_TYPES,
};

/* Bits of protocol_header.flags. */
enum {
	PROTOCOL_REPLY = 1,
};

struct protocol_header {
	uint32_t length; /* of the message, this header included */
	uint16_t type;
	uint16_t flags;
	uint64_t cookie; /* the client's choice, except 0 */
};

struct protocol_status {
	int32_t error; /* 0 or a negative errno; then nothing else follows and nothing has changed */
	uint32_t reserved;
};

/* The first request. -EPROTO: another version; the reply says which, and the connection ends. */
struct protocol_hello {
	uint32_t version;
	uint32_t reserved;
	char device[PROTOCOL_NAME_MAX]; /* empty: the first one */
	char comm[PROTOCOL_COMM_MAX]; /* what the client calls itself */
};

struct protocol_hello_reply {
	struct protocol_status status;
	uint32_t version;
	uint32_t client;
	char device[PROTOCOL_NAME_MAX];
};

/* Which descriptors of a bundle come with the message, in this order. */
enum {
	PROTOCOL_BUNDLE_MEM = 1,
	PROTOCOL_BUNDLE_MAPS = 2,
	PROTOCOL_BUNDLE_PIDFD = 4,
	PROTOCOL_BUNDLE_AUXV = 8,
	PROTOCOL_BUNDLE_EXEC = 16,
	PROTOCOL_BUNDLE_ALL = 31,
};

struct protocol_bind {
	uint32_t access;
	uint32_t pasid; /* or UIOMMU_NO_PASID */
	uint32_t parts;
	uint32_t reserved;
	char comm[PROTOCOL_COMM_MAX]; /* what the client calls the process */
};

struct protocol_bind_reply {
	struct protocol_status status;
	uint32_t pasid;
	uint32_t reserved;
};

struct protocol_unbind {
	uint32_t pasid;
	uint32_t reserved;
};

/* With the memfd. */
struct protocol_register {
	uint32_t pasid;
	uint32_t access;
	uint64_t address;
	uint64_t length;
	uint64_t offset;
};

struct protocol_unregister {
	uint32_t pasid;
	uint32_t reserved;
	uint64_t address;
	uint64_t length;
};

/* With the memfd. */
struct protocol_map {
	uint32_t flags; /* enum uiommu_map_flags */
	uint32_t reserved;
	uint64_t offset;
	uint64_t length;
	uint64_t iova;
};

struct protocol_map_reply {
	struct protocol_status status;
	uint64_t iova;
};

struct protocol_unmap {
	uint64_t iova;
	uint64_t length;
};

struct protocol_unmap_reply {
	struct protocol_status status;
	uint64_t unmapped;
};

struct protocol_grant {
	uint32_t pasid; /* or UIOMMU_NO_PASID */
	uint32_t reserved;
};

struct protocol_grant_reply {
	struct protocol_status status;
	uint32_t handle;
	uint32_t reserved;
};

struct protocol_queue {
	uint32_t flags; /* enum uiommu_queue_flags */
	uint32_t entries;
	uint32_t pasid;
	uint32_t reserved;
};

/* With the ring (memfd), the eventfd that wakes the engine, and the eventfd that the engine signals. */
struct protocol_queue_reply {
	struct protocol_status status;
	uint32_t queue;
	uint32_t entries;
};

struct protocol_queue_destroy {
	uint32_t queue;
	uint32_t reserved;
};

/* With the area (memfd). */
struct protocol_records_reply {
	struct protocol_status status;
	uint32_t count;
	uint32_t reserved;
};

/* Of LIST and FAULTS. */
struct protocol_cursor {
	uint64_t cursor; /* 0: from the start */
};

struct protocol_list_reply {
	struct protocol_status status;
	uint64_t cursor; /* for the next request; 0: that was all */
	uint32_t count;
	uint32_t item_size;
	struct uiommu_item items[];
};

struct protocol_faults_reply {
	struct protocol_status status;
	uint64_t cursor;
	uint32_t count;
	uint32_t report_size;
	uint64_t lost; /* reports of this user's clients that were dropped */
	struct uiommu_fault_report reports[];
};

_Static_assert(sizeof(struct protocol_header) == 16, "header");
_Static_assert(sizeof(struct uiommu_item) == 128, "item");
_Static_assert(sizeof(struct uiommu_fault_report) == 192, "report");
_Static_assert(sizeof(struct protocol_header) + sizeof(struct protocol_list_reply) +
			       PROTOCOL_ITEMS_MAX * sizeof(struct uiommu_item) <=
		       PROTOCOL_REPLY_MAX,
	       "list");
_Static_assert(sizeof(struct protocol_header) + sizeof(struct protocol_faults_reply) +
			       PROTOCOL_REPORTS_MAX * sizeof(struct uiommu_fault_report) <=
		       PROTOCOL_REPLY_MAX,
	       "reports");

#endif

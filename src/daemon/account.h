/* SPDX-License-Identifier: BSD-3-Clause */
/* How much one client and one user may have. */
#ifndef DAEMON_ACCOUNT_H
#define DAEMON_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <urcu/list.h>

enum resource {
	RESOURCE_EXECUTORS, /* processes that serve a client, dying ones included */
	RESOURCE_PASIDS, /* allocated, bound or draining */
	RESOURCE_QUEUES,
	RESOURCE_DESCRIPTORS, /* in flight: the sum of the queues' entries */
	RESOURCE_AREAS, /* mapped or registered pieces of memory */
	RESOURCE_FDS, /* open in executors on behalf of the client */
	RESOURCE_DRAINING, /* PASIDs that drain and executors that die; when it is reached, no PASIDs are given and no clients let
			      in */
	RESOURCES,
};

struct limit {
	uint32_t client;
	uint32_t user;
};

struct limits {
	struct limit of[RESOURCES];
};

extern const struct limits limits_default;

const char *resource_name(enum resource resource);

/* NAME=CLIENT[:USER]; -EINVAL. */
int limits_parse(struct limits *limits, const char *text);

/* What one user has. It lives while one of its clients does. */
struct account {
	struct cds_list_head link;
	uid_t uid;
	unsigned int references;
	uint32_t used[RESOURCES];
};

/* What one client has. */
struct usage {
	struct account *account;
	uint32_t used[RESOURCES];
};

struct accounts {
	struct cds_list_head list;
	struct limits limits;
};

void accounts_init(struct accounts *accounts, const struct limits *limits);

/* By all users together. */
uint32_t accounts_used(const struct accounts *accounts, enum resource resource);

/* In an executor: whose they are is nothing that it has to know. They cannot be used any more. */
void accounts_wipe(struct accounts *accounts);

/* -ENOMEM */
int usage_init(struct accounts *accounts, struct usage *usage, uid_t uid);

/* Gives back everything. */
void usage_fini(struct usage *usage);

/* Whose limit it is that refuses. */
enum refusal {
	REFUSED_NOT,
	REFUSED_CLIENT,
	REFUSED_USER,
};

/* All or nothing. */
enum refusal usage_take(const struct accounts *accounts, struct usage *usage, enum resource resource, uint32_t amount);
void usage_give(struct usage *usage, enum resource resource, uint32_t amount);

/* Without a limit: what drains has been given before. */
void usage_count(struct usage *usage, enum resource resource, uint32_t amount);

/* Too much of this client's or user's is draining: no PASIDs, no clients. */
bool usage_is_draining(const struct accounts *accounts, const struct usage *usage);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* A session with its broker, both in this process, and what the daemon's own client would send: for session*.c. */
#ifndef SESSION_TEST_H
#define SESSION_TEST_H

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "daemon/account.h"
#include "devices/accel/ring.h"
#include "pasid/pasid.h"
#include "support/inside.h"
#include "util/util.h"

static struct inside inside;

static inline int start(void **state)
{
	(void)state;
	inside_options(&inside);
	return 0;
}

static inline void set_limit(enum resource resource, uint32_t client, uint32_t user)
{
	inside.options.limits.of[resource] = (struct limit){client, user};
}

static inline uint32_t used(enum resource resource)
{
	return inside.client->usage.used[resource];
}

static inline int request(enum protocol_type type, const void *payload, size_t size, const int *fds, unsigned int fd_count)
{
	unsigned int before = inside.replies;

	assert_null(inside_request(&inside, type, payload, size, fds, fd_count));
	assert_int_equal(inside.replies, before + 1);
	assert_int_equal(inside.reply.header.type, type);
	assert_true(inside.reply.header.cookie == 7);
	return inside_status(&inside);
}

/* Without the exec event, which not every user may open. */
enum { PARTS = PROTOCOL_BUNDLE_ALL & ~PROTOCOL_BUNDLE_EXEC };

static inline int bind_process(const struct child *child, unsigned int access, uint32_t *pasid)
{
	struct protocol_bind payload = {.access = access, .pasid = *pasid, .parts = PARTS, .comm = "child"};
	struct uiommu_process bundle;
	int fds[4], rc;

	assert_int_equal(uiommu_process_open(child->pid, UIOMMU_READ | UIOMMU_WRITE, &bundle), 0);
	memcpy(fds, (int[]){bundle.mem, bundle.maps, bundle.pidfd, bundle.auxv}, sizeof(fds));
	rc = request(PROTOCOL_BIND, &payload, sizeof(payload), fds, 4);
	uiommu_process_close(&bundle);
	if (!rc)
		*pasid = ((const struct protocol_bind_reply *)inside_payload(&inside))->pasid;
	return rc;
}

static inline int unbind(uint32_t pasid)
{
	struct protocol_unbind payload = {.pasid = pasid};

	return request(PROTOCOL_UNBIND, &payload, sizeof(payload), NULL, 0);
}

static inline int queue(uint32_t flags, uint32_t entries, uint32_t pasid)
{
	struct protocol_queue payload = {flags, entries, pasid, 0};

	return request(PROTOCOL_QUEUE, &payload, sizeof(payload), NULL, 0);
}

static inline int queue_destroy(uint32_t number)
{
	struct protocol_queue_destroy payload = {number, 0};

	return request(PROTOCOL_QUEUE_DESTROY, &payload, sizeof(payload), NULL, 0);
}

static inline int sealed_memfd(size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	return fd;
}

static inline int map(int fd, uint64_t length, uint64_t *iova)
{
	struct protocol_map payload = {.flags = UIOMMU_MAP_READ, .length = length};
	int rc = request(PROTOCOL_MAP, &payload, sizeof(payload), &fd, 1);

	if (!rc)
		*iova = ((const struct protocol_map_reply *)inside_payload(&inside))->iova;
	return rc;
}

static inline int unmap(uint64_t iova, uint64_t length)
{
	struct protocol_unmap payload = {iova, length};

	return request(PROTOCOL_UNMAP, &payload, sizeof(payload), NULL, 0);
}

static inline int reg(uint32_t pasid, int fd, uint64_t address, uint64_t length)
{
	struct protocol_register payload = {.pasid = pasid, .access = UIOMMU_READ, .address = address, .length = length};

	return request(PROTOCOL_REGISTER, &payload, sizeof(payload), &fd, 1);
}

static inline const struct protocol_list_reply *list(uint64_t cursor)
{
	assert_int_equal(request(PROTOCOL_LIST, &cursor, sizeof(cursor), NULL, 0), 0);
	return inside_payload(&inside);
}

static inline const struct uiommu_item *find_item(const struct protocol_list_reply *reply, enum uiommu_item_type type, uint32_t id)
{
	for (uint32_t i = 0; i < reply->count; i++)
		if (reply->items[i].type == (uint32_t)type && reply->items[i].id == id)
			return &reply->items[i];
	return NULL;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <uiommu/types.h>
#include <unistd.h>

#include "translate/inflight.h"
#include "util/util.h"

enum { POSTED = 0x8000, CHUNK_MAX = 256 << 10 };

enum request_state { WAITING, DONE, FAILED, CANCELLED, TAKEN_BACK };

/* An access that waits for its reply; lives on the stack of the thread that makes it. */
struct request {
	struct cds_list_head node; /* while WAITING, under the hub's lock */
	struct link *link;
	pthread_cond_t changed;
	enum request_state state;
	uint16_t id;
	unsigned int access;
	uint8_t *buffer;
	uint64_t length;
};

struct remote {
	struct link *link;
	uint64_t address;
};

struct hub *hub_create(bool (*registers)(void *opaque, uint64_t address, uint64_t last), void *opaque)
{
	struct hub *hub = calloc(1, sizeof(*hub));

	if (!hub)
		return NULL;
	hub->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (hub->stop_fd < 0) {
		free(hub);
		return NULL;
	}
	hub->references = 1;
	pthread_mutex_init(&hub->lock, NULL);
	pthread_cond_init(&hub->calm, NULL);
	CDS_INIT_LIST_HEAD(&hub->requests);
	hub->registers = registers;
	hub->opaque = opaque;
	return hub;
}

void hub_put(struct hub *hub)
{
	if (__atomic_sub_fetch(&hub->references, 1, __ATOMIC_ACQ_REL))
		return;
	close(hub->stop_fd);
	pthread_cond_destroy(&hub->calm);
	pthread_mutex_destroy(&hub->lock);
	free(hub);
}

void hub_stop(struct hub *hub, bool on)
{
	eventfd_t count = 1;

	if (on)
		eventfd_write(hub->stop_fd, count);
	else
		eventfd_read(hub->stop_fd, &count);
}

void hub_end(struct hub *hub)
{
	pthread_mutex_lock(&hub->lock);
	hub->registers = NULL;
	pthread_mutex_unlock(&hub->lock);
	hub_put(hub);
}

/* Under the lock. */
static void finish(struct request *request, enum request_state state)
{
	cds_list_del(&request->node);
	request->state = state;
	pthread_cond_signal(&request->changed);
}

/* Under the lock. @link: only its own. */
static void finish_all(struct hub *hub, const struct link *link, enum request_state state)
{
	struct request *request, *next;

	cds_list_for_each_entry_safe (request, next, &hub->requests, node)
		if (!link || request->link == link)
			finish(request, state);
}

/* Under the lock. */
static bool stuck(const struct hub *hub)
{
	return hub->asked && hub->waits;
}

static void check(struct hub *hub)
{
	if (stuck(hub))
		finish_all(hub, NULL, TAKEN_BACK);
	else
		pthread_cond_broadcast(&hub->calm);
}

void hub_asked(struct hub *hub)
{
	pthread_mutex_lock(&hub->lock);
	hub->asked++;
	check(hub);
	pthread_mutex_unlock(&hub->lock);
}

void hub_answered(struct hub *hub)
{
	pthread_mutex_lock(&hub->lock);
	hub->asked--;
	check(hub);
	pthread_mutex_unlock(&hub->lock);
}

static void waits(void *opaque)
{
	struct hub *hub = opaque;

	pthread_mutex_lock(&hub->lock);
	hub->waits = true;
	check(hub);
	pthread_mutex_unlock(&hub->lock);
}

void hub_done(struct hub *hub)
{
	pthread_mutex_lock(&hub->lock);
	hub->waits = false;
	check(hub);
	pthread_mutex_unlock(&hub->lock);
}

void hub_answering(struct hub *hub, bool on)
{
	pthread_mutex_lock(&hub->lock);
	hub->answers = pthread_self();
	hub->answering = on;
	pthread_mutex_unlock(&hub->lock);
	inflight_tell(on ? waits : NULL, hub);
}

struct link *link_create(struct hub *hub, int fd)
{
	struct link *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	link->references = 1;
	link->hub = hub;
	__atomic_fetch_add(&hub->references, 1, __ATOMIC_RELAXED);
	link->fd = fd;
	link->data_max = VFU_DATA_MAX;
	pthread_mutex_init(&link->send_lock, NULL);
	pthread_mutex_init(&link->post_lock, NULL);
	return link;
}

struct link *link_get(struct link *link)
{
	__atomic_fetch_add(&link->references, 1, __ATOMIC_RELAXED);
	return link;
}

void link_put(struct link *link)
{
	if (!link || __atomic_sub_fetch(&link->references, 1, __ATOMIC_ACQ_REL))
		return;
	close(link->fd);
	hub_put(link->hub);
	pthread_mutex_destroy(&link->post_lock);
	pthread_mutex_destroy(&link->send_lock);
	free(link);
}

/* The oldest one, which stays. False: there is none. */
static bool next_post(struct link *link, struct post *post)
{
	bool found;

	pthread_mutex_lock(&link->post_lock);
	found = link->post_count;
	if (found)
		*post = link->posts[0];
	pthread_mutex_unlock(&link->post_lock);
	return found;
}

static void drop_post(struct link *link)
{
	pthread_mutex_lock(&link->post_lock);
	link->post_count--;
	memmove(&link->posts[0], &link->posts[1], link->post_count * sizeof(link->posts[0]));
	pthread_mutex_unlock(&link->post_lock);
}

static void add_post(struct link *link, const struct post *post)
{
	bool found = false;

	pthread_mutex_lock(&link->post_lock);
	for (unsigned int i = 0; i < link->post_count; i++)
		found |= link->posts[i].address == post->address && link->posts[i].data == post->data;
	if (!found && link->post_count < LINK_POSTS)
		link->posts[link->post_count++] = *post;
	pthread_mutex_unlock(&link->post_lock);
}

/* With the send lock. False: there is no room. */
static bool send_post(struct link *link, const struct post *post)
{
	struct {
		struct vfu_header header;
		struct vfu_dma_access access;
		uint32_t data;
	} __attribute__((packed)) message = {
		.header = {.id = POSTED | link->posted, .command = VFU_DMA_WRITE, .size = sizeof(message), .flags = VFU_NO_REPLY},
		.access = {post->address, sizeof(post->data)},
		.data = post->data,
	};
	ssize_t sent;

	do
		sent = send(link->fd, &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent < 0 && errno == EAGAIN)
		return false;
	link->posted++;
	drop_post(link);
	/* The reader finds out that the connection has ended; a part of a message can be followed by nothing. */
	if (sent >= 0 && sent != sizeof(message))
		shutdown(link->fd, SHUT_RDWR);
	return true;
}

/* With the send lock. False: some are left. */
static bool send_posts(struct link *link)
{
	struct post post;

	while (next_post(link, &post))
		if (!send_post(link, &post))
			return false;
	return true;
}

int link_send(struct link *link, const struct vfu_header *header, const void *first, size_t first_length, const void *second,
	      size_t second_length, int with_fd)
{
	const struct iovec payload[] = {{(void *)(uintptr_t)first, first_length}, {(void *)(uintptr_t)second, second_length}};
	int error;

	pthread_mutex_lock(&link->send_lock);
	error = message_send(link->fd, link->hub->stop_fd, header, payload, with_fd);
	if (error)
		shutdown(link->fd, SHUT_RDWR);
	pthread_mutex_unlock(&link->send_lock);
	return error;
}

bool link_post(struct link *link, uint64_t address, uint32_t data)
{
	bool sent;

	add_post(link, &(struct post){address, data});
	if (pthread_mutex_trylock(&link->send_lock))
		return false;
	sent = send_posts(link);
	pthread_mutex_unlock(&link->send_lock);
	return sent;
}

void link_flush(struct link *link)
{
	pthread_mutex_lock(&link->send_lock);
	while (!send_posts(link) && message_room(link->fd, link->hub->stop_fd))
		;
	pthread_mutex_unlock(&link->send_lock);
}

void link_cancel(struct link *link, bool dead)
{
	pthread_mutex_lock(&link->hub->lock);
	link->dead |= dead;
	finish_all(link->hub, link, CANCELLED);
	pthread_cond_broadcast(&link->hub->calm);
	pthread_mutex_unlock(&link->hub->lock);
	if (dead)
		shutdown(link->fd, SHUT_RDWR);
}

/* Under the lock. False: none is free. */
static bool take_id(struct link *link, uint16_t *id)
{
	for (unsigned int i = 0; i < LINK_IDS / 64; i++)
		if (~link->used[i]) {
			unsigned int bit = (unsigned int)__builtin_ctzll(~link->used[i]);

			link->used[i] |= UINT64_C(1) << bit;
			*id = (uint16_t)(64 * i + bit);
			return true;
		}
	return false;
}

static bool send_request(const struct request *request, uint64_t address)
{
	bool write = request->access != UIOMMU_READ;
	struct vfu_dma_access access = {address, request->length};
	struct vfu_header header = {
		.id = request->id,
		.command = write ? VFU_DMA_WRITE : VFU_DMA_READ,
		.size = (uint32_t)(sizeof(header) + sizeof(access) + (write ? request->length : 0)),
	};

	return !link_send(request->link, &header, &access, sizeof(access), request->buffer, write ? request->length : 0, -1);
}

/* Under the lock: UIOMMU_FAULT_NONE, another reason, or REGION_AGAIN. */
static unsigned int may_ask(const struct link *link, uint64_t address, uint64_t length)
{
	const struct hub *hub = link->hub;

	if (link->dead || (hub->answering && pthread_equal(hub->answers, pthread_self())))
		return UIOMMU_FAULT_MEMORY;
	if (!hub->registers || hub->registers(hub->opaque, address, address + (length - 1)))
		return UIOMMU_FAULT_MEMORY;
	return stuck(hub) ? REGION_AGAIN : UIOMMU_FAULT_NONE;
}

/* With the lock held, which is left meanwhile. */
static enum request_state ask(struct request *request, uint64_t address)
{
	struct hub *hub = request->link->hub;

	cds_list_add_tail(&request->node, &hub->requests);
	pthread_mutex_unlock(&hub->lock);
	if (!send_request(request, address))
		link_cancel(request->link, true);
	pthread_mutex_lock(&hub->lock);
	while (request->state == WAITING)
		pthread_cond_wait(&request->changed, &hub->lock);
	return request->state;
}

/* How it ends; with the hub's lock held, which is left meanwhile. */
static enum request_state make(struct request *request, uint64_t address)
{
	unsigned int reason = may_ask(request->link, address, request->length);

	if (reason == REGION_AGAIN)
		return TAKEN_BACK;
	return !reason && take_id(request->link, &request->id) ? ask(request, address) : FAILED;
}

static uint64_t remote_access(void *opaque, uint64_t offset, void *buffer, uint64_t length, unsigned int access,
			      unsigned int *reason)
{
	const struct remote *remote = opaque;
	struct link *link = remote->link;
	struct request request = {.link = link, .changed = PTHREAD_COND_INITIALIZER, .access = access, .buffer = buffer};
	enum request_state state;

	request.length = min_u64(min_u64(length, link->data_max), CHUNK_MAX);
	pthread_mutex_lock(&link->hub->lock);
	state = make(&request, remote->address + offset);
	pthread_mutex_unlock(&link->hub->lock);
	if (state == DONE)
		return request.length;
	*reason = state == TAKEN_BACK ? REGION_AGAIN : UIOMMU_FAULT_MEMORY;
	return 0;
}

/* Under the lock, until nothing is to be taken back. */
static void wait_for_calm(const struct link *link)
{
	while (stuck(link->hub) && !link->dead)
		pthread_cond_wait(&link->hub->calm, &link->hub->lock);
}

static void remote_pause(void *opaque)
{
	const struct remote *remote = opaque;

	pthread_mutex_lock(&remote->link->hub->lock);
	wait_for_calm(remote->link);
	pthread_mutex_unlock(&remote->link->hub->lock);
}

int remote_touch(struct link *link, uint64_t address)
{
	enum request_state state;
	uint8_t byte;
	bool dead;

	pthread_mutex_lock(&link->hub->lock);
	do {
		struct request request = {.link = link,
					  .changed = PTHREAD_COND_INITIALIZER,
					  .access = UIOMMU_READ,
					  .buffer = &byte,
					  .length = sizeof(byte)};

		wait_for_calm(link);
		state = make(&request, address);
	} while (state == TAKEN_BACK);
	dead = link->dead;
	pthread_mutex_unlock(&link->hub->lock);
	if (state == DONE)
		return 0;
	if (dead)
		return -EPIPE;
	return state == CANCELLED ? -EAGAIN : -EFAULT;
}

static void remote_free(void *opaque)
{
	struct remote *remote = opaque;

	link_put(remote->link);
	free(remote);
}

int remote_region(struct link *link, uint64_t address, uint64_t length, unsigned int access, struct region **out)
{
	static const struct region_ops ops = {remote_access, remote_pause, remote_free};
	struct remote *remote = malloc(sizeof(*remote));
	int error;

	if (!remote)
		return -ENOMEM;
	*remote = (struct remote){.link = link, .address = address};
	error = region_remote(&ops, remote, length, access, out);
	if (error)
		free(remote);
	else
		link_get(link);
	return error;
}

static struct request *find(struct hub *hub, const struct link *link, uint16_t id)
{
	struct request *request;

	cds_list_for_each_entry (request, &hub->requests, node)
		if (request->link == link && request->id == id)
			return request;
	return NULL;
}

/* Under the lock: does the reply fit the request? */
static bool fits(const struct request *request, const struct message *message)
{
	const struct vfu_dma_access *access = (const void *)message->payload;
	bool write = request->access != UIOMMU_READ;

	if (message->header.command != (write ? VFU_DMA_WRITE : VFU_DMA_READ))
		return false;
	if (message->header.flags & VFU_ERROR)
		return true;
	if (write)
		return true; /* nothing in it matters */
	return message->length == sizeof(*access) + request->length && access->count == request->length;
}

bool link_reply(struct link *link, const struct message *message)
{
	uint16_t id = message->header.id;
	struct hub *hub = link->hub;
	struct request *request;
	bool good = true;

	if (id & POSTED)
		return message->header.command == VFU_DMA_WRITE;
	if (id >= LINK_IDS)
		return false;
	pthread_mutex_lock(&hub->lock);
	if (!(link->used[id / 64] & UINT64_C(1) << id % 64)) {
		good = false; /* nothing was asked */
	} else {
		request = find(hub, link, id);
		good = !request || fits(request, message);
		if (good)
			link->used[id / 64] &= ~(UINT64_C(1) << id % 64);
		if (request && good && !(message->header.flags & VFU_ERROR)) {
			if (request->access == UIOMMU_READ)
				memcpy(request->buffer, message->payload + sizeof(struct vfu_dma_access), request->length);
			finish(request, DONE);
		} else if (request && good) {
			finish(request, FAILED);
		}
	}
	pthread_mutex_unlock(&hub->lock);
	return good;
}

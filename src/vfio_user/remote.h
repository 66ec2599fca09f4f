/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that is reached by messages (DMA_READ, DMA_WRITE).
 *
 * The other side must never be waited for while it waits for us: it would give up. It waits from the moment a request that wants a
 * reply has come (hub_asked) until that is answered (hub_answered). The one thread that answers may itself wait for accesses of
 * others, in a drain; it is told before (hub_waits, inflight_tell()). When both are true every access by message is taken back: it
 * is left, and made again when one of the two has ended. So the thread that answers waits for nobody who waits for the other side.
 * That thread's own accesses by message are refused.
 *
 * What is taken back, or belongs to a connection that has ended or been reset, has no effect here any more: a late reply finds no
 * request and is dropped. The number of a request is not given to another before its reply has come.
 *
 * Nobody waits to post a write: an engine that does may have other guests to serve. What cannot be sent at once is left to the
 * thread that answers, which waits as it does with answers: until the other side reads, or the server is stopped.
 *
 * Lock order: the hub's lock, a function's lock, a link's send lock, its post lock.
 */
#ifndef VFIO_USER_REMOTE_H
#define VFIO_USER_REMOTE_H

#include <pthread.h>
#include <stdbool.h>

#include "memory/region.h"
#include "vfio_user/message.h"

enum {
	LINK_IDS = 256, /* of requests that wait for replies; posted ones have others */
	LINK_POSTS = 16, /* that have not been sent yet */
};

struct hub {
	unsigned int references; /* atomic */
	int stop_fd; /* while it can be read, nobody waits for the other side to read */
	pthread_mutex_t lock;
	pthread_cond_t calm; /* see hub_pause() */
	struct cds_list_head requests; /* struct request, of all links */
	/* Which addresses are registers of our own, where no DMA goes; NULL: the server has ended. Under @lock. */
	bool (*registers)(void *opaque, uint64_t address, uint64_t last);
	void *opaque;
	unsigned int asked; /* requests of the other side without an answer */
	bool waits; /* the thread that answers waits for accesses */
	pthread_t answers; /* that thread, if @answering */
	bool answering;
};

struct post {
	uint64_t address;
	uint32_t data;
};

/* One connection. */
struct link {
	unsigned int references; /* atomic */
	struct hub *hub;
	int fd;
	pthread_mutex_t send_lock;
	bool dead; /* under the hub's lock */
	uint32_t data_max; /* bytes in one message, as the other side says */
	uint16_t posted; /* under @send_lock: the next number */
	pthread_mutex_t post_lock; /* a leaf */
	struct post posts[LINK_POSTS]; /* under @post_lock: to be sent, the oldest one first */
	unsigned int post_count;
	uint64_t used[LINK_IDS / 64]; /* numbers whose reply has not come, under the hub's lock */
};

/* NULL without memory or descriptors. */
struct hub *hub_create(bool (*registers)(void *opaque, uint64_t address, uint64_t last), void *opaque);
/* Who waits for the other side to read gives up, and the connection with it; until hub_stop(hub, false). Async-signal-safe. */
void hub_stop(struct hub *hub, bool on);
/* The server has ended. */
void hub_end(struct hub *hub);
void hub_put(struct hub *hub);

/* The calling thread is the one that answers, until hub_answering(hub, false). */
void hub_answering(struct hub *hub, bool on);
void hub_asked(struct hub *hub);
void hub_answered(struct hub *hub);
/* The thread that answers has done what it was at. */
void hub_done(struct hub *hub);

/* Takes over @fd. NULL without memory. */
struct link *link_create(struct hub *hub, int fd);
struct link *link_get(struct link *link);
void link_put(struct link *link);

/* Send, together. -EPIPE. */
int link_send(struct link *link, const struct vfu_header *header, const void *first, size_t first_length, const void *second,
	      size_t second_length, int with_fd);

/*
 * 4 bytes, and no reply. Does not wait. False: link_flush() has something to send. The same write that has not been sent yet is
 * one; and who has so many of them loses some.
 */
bool link_post(struct link *link, uint64_t address, uint32_t data);
void link_flush(struct link *link);

/* End what waits on this connection, with faults; @dead: and whatever comes. */
void link_cancel(struct link *link, bool dead);

/* A reply has come. False: it makes no sense. One that nobody waits for does. */
bool link_reply(struct link *link, const struct message *message);

/*
 * Let the other side read a byte of its memory, which is not wanted here: 0, -EAGAIN (it was cancelled, but the connection lasts),
 * -EFAULT (it says that it cannot), -EPIPE.
 */
int remote_touch(struct link *link, uint64_t address);

/* The memory at @address of the other side: a region of @length bytes. -ENOMEM. */
int remote_region(struct link *link, uint64_t address, uint64_t length, unsigned int access, struct region **out);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server: ports, and two threads.
 *
 * The *worker* is the thread in uiommu_vfio_user_run(). It does what requests say, one by one, and replies. When it has nothing to
 * do it waits for connections itself, so that a request is done by the thread that wakes up for it: the other side mostly waits for
 * that, and a second thread would have to wake up, too. It reads all that has come before it does anything.
 *
 * The *reader* never waits for anything but sockets. It accepts, and receives what comes while the worker is at work, or while
 * there is none: it hands replies to whoever waits for them (remote.h), and puts requests into the queue. So the worker may wait
 * for accesses that need replies.
 *
 * Each has an epoll with all connections, EPOLLEXCLUSIVE. The worker's is the first: what comes wakes the reader only if nobody
 * waits there. The reader's is inside of another one, and is left out of it while a worker that spins sleeps, until it has read: a
 * thread that has been woken is no waiter any more, and the other side's second message would wake the reader, too. All that is a
 * matter of speed. What is relied on is that the reader hears of all that is there when the worker goes to work, and of whatever
 * comes after that.
 *
 * A connection whose requests fill its share of the queue is not read until the worker has caught up; as long as that lasts the
 * other side counts as waiting for us. A connection ends for who reads as soon as it knows: accesses by message end, no more is
 * read. For all else it ends in the queue, behind its requests; then the port listens again.
 */
#ifndef VFIO_USER_SERVER_H
#define VFIO_USER_SERVER_H

#include <pthread.h>
#include <uiommu/vfio_user.h>

#include "pci/irqs.h"
#include "vfio_user/pager.h"
#include "vfio_user/remote.h"

enum {
	PORTS_MAX = 64,
	QUEUED_MAX = 64, /* requests of one connection */
	QUEUED_BYTES_MAX = 4 << 20,
};

struct port {
	struct uiommu_vfio_user *server;
	struct uiommu_pci *pci;
	struct pci_transport transport;
	uint32_t ioas_id; /* 0: there is none */
	struct pager *pager; /* its memory is supplied when it is touched; or NULL */
	bool once, mapped_only; /* as its flags say */
	unsigned int index;
	int listen_fd;
	char *path; /* of a socket that is ours; or NULL */

	/* Under the server's read lock. */
	struct receiver receiver;
	bool is_read; /* there is a connection, and it has not ended for who reads */

	/* The connection: set by the reader, which hears of others only after the worker has cleared it. */
	struct link *link;
	unsigned int queued; /* requests in the queue; under the server's lock */
	size_t queued_bytes; /* under the server's lock */
	bool full; /* so many that it is not read; under the server's lock */

	/* The worker's. */
	bool agreed; /* on a version */

	struct pci_irqs irqs;
	pthread_mutex_t post_lock; /* below the function's lock */
	struct link *post_link; /* for messages; under @post_lock */
};

struct uiommu_vfio_user {
	struct uiommu_context *context;
	struct hub *hub;
	pthread_t reader;
	bool reading; /* there is a reader */
	int epoll_fd; /* the reader's */
	int links_epoll_fd; /* in it, while the reader hears of connections; has all of them */
	int worker_epoll_fd;
	int wake_fd; /* the worker's: something is in the queue, or @stop, or @posts */
	int end_fd; /* the reader's */
	int spare_fd; /* the reader's: given up for a moment when there are no more descriptors */
	unsigned int stop; /* atomic */
	bool posts; /* atomic: links have some that have not been sent */
	uint64_t spin_ns; /* the worker's: before it sleeps */

	pthread_mutex_t read_lock; /* above the others; nobody waits for anything with it */
	bool working; /* under it: there is a worker, */
	pthread_t worker; /* this thread */
	pthread_mutex_t lock;
	struct cds_list_head queue; /* struct message */
	struct port *ports[PORTS_MAX];
	unsigned int port_count; /* atomic; written under @lock */
	int64_t second; /* of the log, under @lock */
	unsigned int lines, left_out;
};

/* A server without a reader: for tests, which are it themselves. */
int server_make(struct uiommu_context *context, struct uiommu_vfio_user **out);
void server_free(struct uiommu_vfio_user *server);
int port_make(struct uiommu_vfio_user *server, const struct uiommu_vfio_user_port *given, struct port **out);

void port_free(struct port *port);
/* The reader hears of connections from now on. -ENOMEM. */
int server_listen(struct port *port);

/* A link_post() has left something to the worker. */
void server_has_posts(struct uiommu_vfio_user *server);

/* The reader's: a connection begins; the descriptor is taken over. */
void port_begin(struct port *port, int fd);
/* Receive what there is. */
void port_read(struct port *port);
/* The worker's: do one thing that is in the queue. False: nothing is. */
bool server_work(struct uiommu_vfio_user *server);

/* One line for the context's log, unless there are too many. */
void port_log(struct port *port, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The worker's. A request: 0, or a positive errno for the reply; -EPROTO: it is malformed. */
int port_request(struct port *port, struct message *message);

/* What a request's function replies with. */
struct reply {
	uint8_t *data; /* the first bytes */
	size_t length;
	uint8_t *more; /* malloc()ed; or NULL */
	size_t more_length;
	int fd; /* lent; -1: none */
};

int version_request(struct port *port, const struct message *message, struct reply *reply);
int irqs_request(struct port *port, struct message *message, struct reply *reply);
int memory_map(struct port *port, struct message *message, struct reply *reply);
int memory_unmap(struct port *port, const struct message *message, struct reply *reply);
/* Unmap everything. */
void memory_clear(struct port *port);

/* Interrupts: how a function sends them, and their life. -ENOMEM. */
int irqs_init(struct port *port);
void irqs_fini(struct port *port);

#endif

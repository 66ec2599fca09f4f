/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "iommu/object.h"
#include "translate/inflight.h"
#include "util/clock.h"
#include "util/thread.h"
#include "util/util.h"

enum {
	EVENTS = 16,
	LINES_PER_SECOND = 10,
};

/* What an event is about: a port's listening socket, its connection, all connections, or something of the server's. */
enum { EVENT_LISTEN, EVENT_LINK, EVENT_LINKS, EVENT_SERVER, EVENT_KINDS };

static int event_set(int epoll_fd, int operation, int fd, unsigned int index, unsigned int kind)
{
	/* The worker is woken by each write of its eventfd, and never reads it. */
	static const uint32_t more[EVENT_KINDS] = {
		[EVENT_LISTEN] = EPOLLONESHOT, [EVENT_LINK] = EPOLLEXCLUSIVE, [EVENT_SERVER] = EPOLLET};
	struct epoll_event event = {.events = EPOLLIN | more[kind], .data.u64 = (uint64_t)index * EVENT_KINDS + kind};

	return epoll_ctl(epoll_fd, operation, fd, &event) ? -ENOMEM : 0;
}

static void unwatch(const struct port *port)
{
	epoll_ctl(port->server->worker_epoll_fd, EPOLL_CTL_DEL, port->link->fd, NULL);
	epoll_ctl(port->server->links_epoll_fd, EPOLL_CTL_DEL, port->link->fd, NULL);
}

/* Its connection is read from now on. The worker's first: sockets wake one of those who wait, in this order. */
static int watch(const struct port *port)
{
	int error = event_set(port->server->worker_epoll_fd, EPOLL_CTL_ADD, port->link->fd, port->index, EVENT_LINK);

	if (!error)
		error = event_set(port->server->links_epoll_fd, EPOLL_CTL_ADD, port->link->fd, port->index, EVENT_LINK);
	if (error)
		unwatch(port);
	return error;
}

/* Does the reader hear of connections? It does at first. What came meanwhile and is still there counts as coming now. */
static void reader_hears(struct uiommu_vfio_user *server, bool hears)
{
	struct epoll_event event = {.events = hears ? EPOLLIN : 0, .data.u64 = EVENT_LINKS};

	if (epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, server->links_epoll_fd, &event))
		abort(); /* it needs no memory */
}

static bool may_log(struct uiommu_vfio_user *server, unsigned int *left_out)
{
	int64_t second = (int64_t)(clock_ms() / 1000);
	bool may;

	pthread_mutex_lock(&server->lock);
	if (second != server->second) {
		server->second = second;
		server->lines = 0;
	}
	may = server->lines < LINES_PER_SECOND;
	*left_out = may ? server->left_out : 0;
	server->left_out = may ? 0 : server->left_out + 1;
	server->lines += may;
	pthread_mutex_unlock(&server->lock);
	return may;
}

void port_log(struct port *port, const char *format, ...)
{
	char message[160];
	unsigned int left_out;
	va_list arguments;

	if (!may_log(port->server, &left_out))
		return;
	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	if (left_out)
		context_log(port->server->context, UIOMMU_LOG_WARNING, "vfio-user%u: %s (%u messages before left out)", port->index,
			    message, left_out);
	else
		context_log(port->server->context, UIOMMU_LOG_WARNING, "vfio-user%u: %s", port->index, message);
}

/* --- reading --- */

static void wake_worker(struct uiommu_vfio_user *server)
{
	static const uint64_t one = 1;

	/* It fails only if it is signalled already. */
	if (write(server->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void server_has_posts(struct uiommu_vfio_user *server)
{
	__atomic_store_n(&server->posts, true, __ATOMIC_RELEASE);
	wake_worker(server);
}

static bool wants_reply(const struct message *message)
{
	return !message->end && !(message->header.flags & VFU_NO_REPLY);
}

/*
 * A request, or the end: the worker's from now on; under the read lock. True: the connection is not read any more until the worker
 * has caught up.
 */
static bool enqueue(struct port *port, struct message *message)
{
	struct uiommu_vfio_user *server = port->server;
	bool full;

	message->port = port;
	if (wants_reply(message))
		hub_asked(server->hub);
	pthread_mutex_lock(&server->lock);
	cds_list_add_tail(&message->link, &server->queue);
	port->queued++;
	port->queued_bytes += message->length;
	full = !message->end && (port->queued >= QUEUED_MAX || port->queued_bytes >= QUEUED_BYTES_MAX);
	port->full = full;
	/* Under the lock, so that it comes before the worker adds it again. */
	if (full)
		unwatch(port);
	pthread_mutex_unlock(&server->lock);
	if (full)
		hub_asked(server->hub);
	/* The worker looks into the queue when it has read. */
	if (!server->working || !pthread_equal(pthread_self(), server->worker))
		wake_worker(server);
	return full;
}

/* Under the read lock. */
static void port_ends(struct port *port)
{
	struct message *end = calloc(1, sizeof(*end));

	if (!end)
		abort(); /* nobody would ever hear of it */
	port->is_read = false;
	link_cancel(port->link, true);
	receiver_reset(&port->receiver);
	unwatch(port);
	end->end = true;
	enqueue(port, end);
}

/* A reply goes to whoever waits for it. -EPROTO: nobody ever asked. */
static int take_reply(struct port *port, struct message *message)
{
	bool good = !message->fd_count && link_reply(port->link, message);

	message_free(message);
	return good ? 0 : -EPROTO;
}

/* One message: RECEIVE_MESSAGE, RECEIVE_NOTHING, or why the connection is over. */
static int read_one(struct port *port)
{
	struct message *message;
	int rc = message_receive(&port->receiver, port->link->fd, &message);

	if (rc != RECEIVE_MESSAGE)
		return rc;
	if ((message->header.flags & VFU_TYPE) == VFU_TYPE_REPLY) {
		rc = take_reply(port, message);
		return rc ? rc : RECEIVE_MESSAGE;
	}
	return enqueue(port, message) ? RECEIVE_NOTHING : RECEIVE_MESSAGE;
}

/* One of two threads may have heard of something before the other one has filled the queue, or ended the connection. */
static bool may_read(struct port *port)
{
	bool full;

	pthread_mutex_lock(&port->server->lock);
	full = port->full;
	pthread_mutex_unlock(&port->server->lock);
	return port->is_read && !full;
}

/*
 * All there is: a worker that has left something unread would have nobody to read it. It has an end: so many requests until the
 * connection is full, and so many replies as have been asked for.
 */
void port_read(struct port *port)
{
	int rc = RECEIVE_MESSAGE;

	pthread_mutex_lock(&port->server->read_lock);
	while (rc == RECEIVE_MESSAGE)
		rc = may_read(port) ? read_one(port) : RECEIVE_NOTHING;
	if (rc < 0) {
		if (rc != -EPIPE)
			port_log(port, rc == -ENOMEM ? "no memory for a message" : "a malformed message; the connection ends");
		port_ends(port);
	}
	pthread_mutex_unlock(&port->server->read_lock);
}

int server_listen(struct port *port)
{
	return event_set(port->server->epoll_fd, EPOLL_CTL_ADD, port->listen_fd, port->index, EVENT_LISTEN);
}

static void server_listen_again(struct port *port)
{
	event_set(port->server->epoll_fd, EPOLL_CTL_MOD, port->listen_fd, port->index, EVENT_LISTEN);
}

void port_begin(struct port *port, int fd)
{
	struct link *link = link_create(port->server->hub, fd);

	if (!link) {
		port_log(port, "no memory for a connection");
		close(fd);
		server_listen_again(port);
		return;
	}
	if (__atomic_load_n(&port->link, __ATOMIC_ACQUIRE))
		abort(); /* it does not listen while there is one */
	port->link = link;
	pthread_mutex_lock(&port->post_lock);
	port->post_link = link;
	pthread_mutex_unlock(&port->post_lock);
	pthread_mutex_lock(&port->server->read_lock);
	port->is_read = true;
	if (watch(port)) {
		port_log(port, "no memory for a connection");
		port_ends(port);
	}
	pthread_mutex_unlock(&port->server->read_lock);
}

/* There is no descriptor left: one that is kept for this lets the other side in, and out again. Otherwise it would come for ever.
 */
static void turn_away(struct port *port)
{
	int fd;

	close(port->server->spare_fd);
	fd = accept4(port->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	port->server->spare_fd = fcntl(port->server->end_fd, F_DUPFD_CLOEXEC, 0);
	port_log(port, "no descriptor for a connection");
}

static void port_accept(struct port *port)
{
	int fd = accept4(port->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0) {
		port_begin(port, fd);
		return;
	}
	if (errno == EMFILE || errno == ENFILE)
		turn_away(port);
	server_listen_again(port);
}

/* False: an event of the server's own. */
static bool handle(struct uiommu_vfio_user *server, const struct epoll_event *event)
{
	struct port *port = __atomic_load_n(&server->ports[event->data.u64 / EVENT_KINDS % PORTS_MAX], __ATOMIC_ACQUIRE);

	switch (event->data.u64 % EVENT_KINDS) {
	case EVENT_SERVER:
		return false;
	case EVENT_LISTEN:
		port_accept(port);
		break;
	default:
		port_read(port);
		break;
	}
	return true;
}

static void read_links(struct uiommu_vfio_user *server)
{
	struct epoll_event events[EVENTS];
	int count = epoll_wait(server->links_epoll_fd, events, EVENTS, 0);

	for (int i = 0; i < count; i++)
		handle(server, &events[i]);
}

static void *reader(void *opaque)
{
	struct uiommu_vfio_user *server = opaque;

	for (;;) {
		struct epoll_event events[EVENTS];
		int count = epoll_wait(server->epoll_fd, events, EVENTS, -1);

		for (int i = 0; i < count; i++)
			if (events[i].data.u64 % EVENT_KINDS == EVENT_LINKS)
				read_links(server);
			else if (!handle(server, &events[i]))
				return NULL;
	}
}

/* --- the worker --- */

static struct message *dequeue(struct uiommu_vfio_user *server)
{
	struct message *message = NULL;

	pthread_mutex_lock(&server->lock);
	if (!cds_list_empty(&server->queue)) {
		message = cds_list_first_entry(&server->queue, struct message, link);
		cds_list_del(&message->link);
	}
	pthread_mutex_unlock(&server->lock);
	return message;
}

/* One has been done: the connection is read again when there is room for a good deal more. */
static void dequeued(struct port *port, const struct message *message)
{
	struct uiommu_vfio_user *server = port->server;
	bool resumes;
	int error = 0;

	pthread_mutex_lock(&server->lock);
	port->queued--;
	port->queued_bytes -= message->length;
	resumes = port->full && port->queued <= QUEUED_MAX / 2 && port->queued_bytes <= QUEUED_BYTES_MAX / 2;
	if (resumes) {
		port->full = false;
		error = watch(port);
	}
	pthread_mutex_unlock(&server->lock);
	if (resumes)
		hub_answered(server->hub);
	if (error) {
		pthread_mutex_lock(&server->read_lock);
		port_ends(port);
		pthread_mutex_unlock(&server->read_lock);
	}
}

static void stop(struct uiommu_vfio_user *server)
{
	__atomic_store_n(&server->stop, 1, __ATOMIC_RELEASE);
	wake_worker(server);
}

/* The connection is over, and all of its requests are done with: the next one finds everything as it was at first. */
static void end_connection(struct port *port)
{
	struct link *link = port->link;

	pci_irqs_clear(&port->irqs);
	pci_reset(port->pci, UIOMMU_PCI_RESET_BUS);
	memory_clear(port);
	pthread_mutex_lock(&port->post_lock);
	port->post_link = NULL;
	pthread_mutex_unlock(&port->post_lock);
	port->agreed = false;
	/* Pairs with the load in port_begin(): the next one comes after all this. */
	__atomic_store_n(&port->link, NULL, __ATOMIC_RELEASE);
	link_put(link);
	if (port->once)
		stop(port->server);
}

static bool is_dead(const struct link *link)
{
	bool dead;

	pthread_mutex_lock(&link->hub->lock);
	dead = link->dead;
	pthread_mutex_unlock(&link->hub->lock);
	return dead;
}

bool server_work(struct uiommu_vfio_user *server)
{
	struct message *message = dequeue(server);
	struct port *port;
	bool ends;

	if (!message)
		return false;
	port = message->port;
	ends = message->end;
	if (!ends && !is_dead(port->link) && port_request(port, message) == -EPROTO) {
		port_log(port, "a malformed message; the connection ends");
		link_cancel(port->link, true);
	}
	if (ends)
		end_connection(port);
	hub_done(server->hub);
	if (wants_reply(message))
		hub_answered(server->hub);
	dequeued(port, message);
	message_free(message);
	if (ends)
		server_listen_again(port);
	return true;
}

/* What those who must not wait have left. */
static void flush_posts(struct uiommu_vfio_user *server)
{
	unsigned int count = __atomic_load_n(&server->port_count, __ATOMIC_ACQUIRE);

	for (unsigned int i = 0; i < count; i++) {
		struct port *port = server->ports[i];
		struct link *link;

		pthread_mutex_lock(&port->post_lock);
		link = port->post_link ? link_get(port->post_link) : NULL;
		pthread_mutex_unlock(&port->post_lock);
		if (link)
			link_flush(link);
		link_put(link);
	}
}

/*
 * Until something is in the queue, perhaps. All that there is to be read has been read then. Who looks for more afterwards has the
 * connections to itself while it sleeps and until it has read: a second message often comes while it wakes up for the first one.
 */
static void worker_reads(struct uiommu_vfio_user *server)
{
	struct epoll_event events[PORTS_MAX + 1];
	uint64_t until = server->spin_ns ? clock_ns() + server->spin_ns : 0;
	bool alone;
	int count = 0;

	while (!count && until && clock_ns() < until)
		count = epoll_wait(server->worker_epoll_fd, events, ARRAY_SIZE(events), 0);
	alone = !count && until;
	if (alone)
		reader_hears(server, false);
	if (!count)
		count = epoll_wait(server->worker_epoll_fd, events, ARRAY_SIZE(events), -1);
	for (int i = 0; i < count; i++)
		handle(server, &events[i]);
	if (alone)
		reader_hears(server, true);
}

static void worker_is(struct uiommu_vfio_user *server, bool working)
{
	pthread_mutex_lock(&server->read_lock);
	server->working = working;
	server->worker = pthread_self();
	pthread_mutex_unlock(&server->read_lock);
	hub_answering(server->hub, working);
}

void uiommu_vfio_user_spin(struct uiommu_vfio_user *server, uint32_t spin_us)
{
	server->spin_ns = (uint64_t)spin_us * 1000;
}

int uiommu_vfio_user_run(struct uiommu_vfio_user *server)
{
	if (thread_inside())
		return -EDEADLK;
	worker_is(server, true);
	while (!__atomic_exchange_n(&server->stop, 0, __ATOMIC_ACQUIRE)) {
		if (__atomic_exchange_n(&server->posts, false, __ATOMIC_ACQUIRE))
			flush_posts(server);
		if (!server_work(server))
			worker_reads(server);
	}
	worker_is(server, false);
	hub_stop(server->hub, false);
	return 0;
}

void uiommu_vfio_user_stop(struct uiommu_vfio_user *server)
{
	hub_stop(server->hub, true);
	stop(server);
}

/* --- its life --- */

static bool registers(void *opaque, uint64_t address, uint64_t last)
{
	struct uiommu_vfio_user *server = opaque;
	unsigned int count = __atomic_load_n(&server->port_count, __ATOMIC_ACQUIRE);

	for (unsigned int i = 0; i < count; i++)
		if (pci_decodes(server->ports[i]->pci, address, last))
			return true;
	return false;
}

int server_make(struct uiommu_context *context, struct uiommu_vfio_user **out)
{
	struct uiommu_vfio_user *server = calloc(1, sizeof(*server));
	int error;

	if (!server)
		return -ENOMEM;
	server->context = context;
	pthread_mutex_init(&server->read_lock, NULL);
	pthread_mutex_init(&server->lock, NULL);
	CDS_INIT_LIST_HEAD(&server->queue);
	server->hub = hub_create(registers, server);
	server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	server->links_epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	server->worker_epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	server->wake_fd = eventfd(0, EFD_CLOEXEC);
	server->end_fd = eventfd(0, EFD_CLOEXEC);
	server->spare_fd = server->end_fd < 0 ? -1 : fcntl(server->end_fd, F_DUPFD_CLOEXEC, 0);
	error = server->hub ? 0 : -ENOMEM;
	if (server->epoll_fd < 0 || server->links_epoll_fd < 0 || server->worker_epoll_fd < 0 || server->wake_fd < 0 ||
	    server->end_fd < 0 || server->spare_fd < 0)
		error = -EMFILE;
	if (!error)
		error = event_set(server->epoll_fd, EPOLL_CTL_ADD, server->end_fd, 0, EVENT_SERVER);
	if (!error)
		error = event_set(server->epoll_fd, EPOLL_CTL_ADD, server->links_epoll_fd, 0, EVENT_LINKS);
	if (!error)
		error = event_set(server->worker_epoll_fd, EPOLL_CTL_ADD, server->wake_fd, 0, EVENT_SERVER);
	if (error)
		server_free(server);
	else
		*out = server;
	return error;
}

static void end_port(struct port *port)
{
	if (port->link) {
		link_cancel(port->link, true);
		end_connection(port);
	}
	receiver_reset(&port->receiver);
	pci_connect(port->pci, NULL);
}

void server_free(struct uiommu_vfio_user *server)
{
	const int fds[] = {server->epoll_fd, server->links_epoll_fd, server->worker_epoll_fd,
			   server->wake_fd,  server->end_fd,	     server->spare_fd};
	struct message *message;

	for (unsigned int i = 0; i < server->port_count; i++)
		end_port(server->ports[i]);
	while ((message = dequeue(server)))
		message_free(message);
	for (unsigned int i = 0; i < server->port_count; i++)
		port_free(server->ports[i]);
	if (server->hub)
		hub_end(server->hub);
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	pthread_mutex_destroy(&server->lock);
	pthread_mutex_destroy(&server->read_lock);
	free(server);
}

int uiommu_vfio_user_open(struct uiommu_context *context, struct uiommu_vfio_user **out)
{
	struct uiommu_vfio_user *server;
	int error = uiommu_install_fault_handler();

	if (!error)
		error = server_make(context, &server);
	if (error)
		return error;
	error = thread_start(&server->reader, reader, server);
	server->reading = !error;
	if (error)
		server_free(server);
	else
		*out = server;
	return error;
}

void uiommu_vfio_user_close(struct uiommu_vfio_user *server)
{
	static const uint64_t one = 1;

	if (!server)
		return;
	/* It waits for nothing but this; a sender that the other side holds up gives way, too. */
	if (write(server->end_fd, &one, sizeof(one)) < 0)
		abort();
	pthread_join(server->reader, NULL);
	server_free(server);
}

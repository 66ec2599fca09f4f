/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/vm/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/plain.h"
#include "cli/vm/guest.h"
#include "daemon/wire.h"
#include "util/thread.h"
#include "util/util.h"

enum {
	MEMBERS = 2 * VM_GUESTS_MAX, /* those that have not said yet what they are included */
	MESSAGE_MAX = 64 << 10,
	LISTENING = 3, /* where descriptors are in the new process, */
	FIRST = 4, /* and no others */
};

/*
 * A connection, and the guest that it is. All that may take its time with a guest is done by a thread of its own, from its begin to
 * its end: the main thread, which all of them need, waits for none.
 */
struct member {
	int fd;
	int events; /* -1: it has said nothing yet. Under shared.lock for others than the main thread */
	struct vm vm;
	int sockets[VM_SOCKETS_MAX];
	unsigned int socket_count; /* so many have come */
	struct guest guest; /* the thread's */
	pthread_t thread;
	bool has_thread;
	bool made; /* it can be told to stop, under the lock */
	bool ends; /* it is to end: written by the main thread, under the lock */
	bool ended; /* nothing is left of it but the thread, which is about to end: under the lock */
};

static struct {
	struct uiommu_context *context;
	struct uiommu_model *parent;
	pthread_mutex_t lock;
	struct member *members[MEMBERS]; /* under the lock; written by the main thread alone */
	unsigned int count;
	int ended_fd; /* a member has ended */
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* --- what a guest is --- */

struct json_object *shared_describe(const struct vm *vm)
{
	struct json_object *object = json_object_new_object(), *devices = json_object_new_array();

	json_add_number(object, "launcher", (uint64_t)vm->launcher);
	json_add_string(object, "parent", vm->parent);
	json_add_string(object, "folder", vm->folder);
	json_add_number(object, "vtd_flags", vm->vtd_flags);
	json_add_number(object, "vtd_capabilities", vm->vtd_capabilities);
	json_add_number(object, "spin_us", vm->spin_us);
	for (unsigned int i = 0; i < vm->endpoint_count; i++) {
		struct json_object *device = json_object_new_object();

		json_add_string(device, "model", vm->endpoints[i].model);
		json_add_number(device, "bus", vm->endpoints[i].bus);
		json_add_number(device, "function", vm->endpoints[i].function);
		json_add_bool(device, "virtual", vm->endpoints[i].is_virtual);
		json_object_array_add(devices, device);
	}
	json_object_object_add(object, "devices", devices);
	return object;
}

static bool get_number(struct json_object *object, const char *key, uint64_t most, uint64_t *out)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) || !json_object_is_type(value, json_type_int))
		return false;
	*out = json_object_get_uint64(value);
	return *out <= most;
}

static const char *get_text(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) && json_object_is_type(value, json_type_string)
		       ? json_object_get_string(value)
		       : NULL;
}

static bool understand_device(struct json_object *object, struct vm *vm)
{
	struct vm_endpoint *endpoint = &vm->endpoints[vm->endpoint_count];
	const char *model = get_text(object, "model");
	struct json_object *is_virtual;
	uint64_t bus, function;

	if (!model || !get_number(object, "bus", UINT8_MAX, &bus) || !get_number(object, "function", 7, &function) ||
	    !json_object_object_get_ex(object, "virtual", &is_virtual))
		return false;
	*endpoint = (struct vm_endpoint){.model = strdup(model),
					 .bus = (uint8_t)bus,
					 .function = (unsigned int)function,
					 .is_virtual = json_object_get_boolean(is_virtual)};
	vm->endpoint_count += endpoint->model != NULL;
	return endpoint->model;
}

/* False: what is there is not all. */
static bool understand(struct json_object *object, struct vm *vm)
{
	const char *folder = get_text(object, "folder"), *parent = get_text(object, "parent");
	uint64_t launcher, flags, capabilities, spin_us;
	struct json_object *devices;

	if (!folder || strlen(folder) >= sizeof(vm->folder) || !parent || !get_number(object, "launcher", INT32_MAX, &launcher) ||
	    !get_number(object, "vtd_flags", UINT32_MAX, &flags) ||
	    !get_number(object, "vtd_capabilities", UINT32_MAX, &capabilities) ||
	    !get_number(object, "spin_us", VM_SPIN_US_MAX, &spin_us) || !json_object_object_get_ex(object, "devices", &devices) ||
	    !json_object_is_type(devices, json_type_array) || json_object_array_length(devices) > VM_ENDPOINTS_MAX)
		return false;
	strcpy(vm->folder, folder);
	vm->parent = strdup(parent);
	vm->launcher = (pid_t)launcher;
	vm->vtd_flags = (uint32_t)flags;
	vm->vtd_capabilities = (uint32_t)capabilities;
	vm->spin_us = (uint32_t)spin_us;
	for (size_t i = 0; i < json_object_array_length(devices); i++)
		if (!understand_device(json_object_array_get_idx(devices, i), vm))
			return false;
	return vm->parent;
}

/* --- members --- */

static void add_member(int fd)
{
	struct member *member = shared.count < MEMBERS ? calloc(1, sizeof(*member)) : NULL;

	if (!member) {
		close(fd);
		return;
	}
	member->fd = fd;
	member->events = -1;
	pthread_mutex_lock(&shared.lock);
	shared.members[shared.count++] = member;
	pthread_mutex_unlock(&shared.lock);
}

/* Its thread, if it has one, has ended. When the other side finds its connection closed, nothing is left. */
static void remove_member(unsigned int index)
{
	struct member *member = shared.members[index];

	if (member->has_thread)
		pthread_join(member->thread, NULL);
	pthread_mutex_lock(&shared.lock);
	shared.members[index] = shared.members[--shared.count];
	pthread_mutex_unlock(&shared.lock);
	for (unsigned int i = 0; i < member->vm.endpoint_count; i++)
		free(member->vm.endpoints[i].model);
	free(member->vm.parent);
	vm_sockets_close(member->sockets, member->socket_count);
	if (member->events >= 0)
		close(member->events);
	close(member->fd);
	free(member);
}

/* A number that no other guest has, or 0. */
static uint32_t free_number(void)
{
	for (uint32_t number = 1; number <= VM_GUESTS_MAX; number++) {
		bool taken = false;

		for (unsigned int i = 0; i < shared.count; i++)
			taken |= shared.members[i]->guest.number == number;
		if (!taken)
			return number;
	}
	return 0;
}

/* It has no more to say. */
static void end_member(unsigned int index)
{
	struct member *member = shared.members[index];

	if (!member->has_thread) {
		remove_member(index);
		return;
	}
	pthread_mutex_lock(&shared.lock);
	member->ends = true;
	if (member->made)
		guest_stop(&member->guest);
	pthread_mutex_unlock(&shared.lock);
}

static void remove_ended(void)
{
	eventfd_t count;

	eventfd_read(shared.ended_fd, &count);
	for (unsigned int i = shared.count; i--;) {
		bool ended;

		pthread_mutex_lock(&shared.lock);
		ended = shared.members[i]->ended;
		pthread_mutex_unlock(&shared.lock);
		if (ended)
			remove_member(i);
	}
}

/* Under the lock, so that it is there for as long as somebody tells it to stop. False: it is to end. */
static bool can_be_stopped(struct member *member, bool can)
{
	bool goes_on;

	pthread_mutex_lock(&shared.lock);
	member->made = can;
	goes_on = !member->ends;
	pthread_mutex_unlock(&shared.lock);
	return goes_on;
}

static void *member_main(void *opaque)
{
	struct member *member = opaque;
	struct guest *guest = &member->guest;

	if (guest_begin(guest) && guest_make(guest) && can_be_stopped(member, true))
		guest_run(guest);
	can_be_stopped(member, false);
	guest_end(guest);
	pthread_mutex_lock(&shared.lock);
	member->ended = true;
	pthread_mutex_unlock(&shared.lock);
	eventfd_write(shared.ended_fd, 1);
	return NULL;
}

static bool complain_to(const struct guest *guest, const char *text)
{
	struct vm_event event = {.type = VM_EVENT_FAILED};

	snprintf(event.text, sizeof(event.text), "%s", text);
	guest_say(guest, event);
	return false;
}

/* What comes first: what the guest is, and where its launcher listens. False: that has been told why not. */
static bool begin_member(struct member *member, const char *text, int events)
{
	struct json_object *description = json_tokener_parse(text);
	bool understood;

	/* One that does not read is not waited for. */
	fcntl(events, F_SETFL, O_NONBLOCK);
	pthread_mutex_lock(&shared.lock);
	member->events = events;
	pthread_mutex_unlock(&shared.lock);
	member->guest.events = events;
	understood = understand(description, &member->vm);
	json_object_put(description);
	return understood || complain_to(&member->guest, "the accelerator's process is of another version of uiommu");
}

/* It has all that it needs. */
static bool begin_guest(struct member *member)
{
	struct guest *guest = &member->guest;

	guest->number = free_number();
	if (!guest->number)
		return complain_to(guest, "the accelerator has as many guests as it can have");
	guest->vm = &member->vm;
	guest->sockets = member->sockets;
	guest->context = shared.context;
	guest->parent = shared.parent;
	member->has_thread = !thread_start(&member->thread, member_main, member);
	return member->has_thread || complain_to(guest, "no thread");
}

/* A message with one descriptor, which is taken. False: the member is to end. */
static bool take(struct member *member, const char *text, int fd)
{
	if (member->events < 0)
		return begin_member(member, text, fd);
	if (member->socket_count == vm_socket_count(&member->vm)) {
		close(fd);
		return false;
	}
	member->sockets[member->socket_count++] = fd;
	return member->socket_count < vm_socket_count(&member->vm) || begin_guest(member);
}

/* A message has come, or it is no connection any more. False: it is to end. */
static bool hear(struct member *member)
{
	static char text[MESSAGE_MAX];
	struct wire_fds fds = {.count = 0};
	ssize_t length = wire_receive(member->fd, text, sizeof(text) - 1, &fds, MSG_DONTWAIT);

	if (length == -EAGAIN)
		return true;
	if (length > 0 && (size_t)length < sizeof(text) && fds.count == 1 && !fds.truncated) {
		text[length] = '\0';
		return take(member, text, fds.fds[0]);
	}
	wire_close(&fds);
	return false;
}

/* --- the process --- */

/* The main thread has what is under the lock to itself, or has taken it; others have not. */
static void log_line(void *opaque, enum uiommu_log_level level, const char *message)
{
	struct vm_event event = {.type = VM_EVENT_LOG};

	(void)opaque;
	if (level > UIOMMU_LOG_WARNING)
		return;
	snprintf(event.text, sizeof(event.text), "%s", message);
	make_plain(event.text, sizeof(event.text), true);
	pthread_mutex_lock(&shared.lock);
	for (unsigned int i = 0; i < shared.count; i++)
		if (shared.members[i]->events >= 0)
			(void)!write(shared.members[i]->events, &event, sizeof(event));
	pthread_mutex_unlock(&shared.lock);
}

static bool make_parent(void)
{
	const struct uiommu_options options = {.size = sizeof(options), .log = log_line};

	shared.ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return shared.ended_fd >= 0 && !uiommu_open(&options, &shared.context) &&
	       !uiommu_model_create(shared.context, 0, "accel", NULL, 0, &shared.parent);
}

static void accept_all(void)
{
	int fd;

	while ((fd = accept4(LISTENING, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		add_member(fd);
}

static void serve_members(void)
{
	while (shared.count) {
		enum { LISTEN, ENDED, FIRST_MEMBER };
		struct pollfd fds[FIRST_MEMBER + MEMBERS] = {
			[LISTEN] = {.fd = LISTENING, .events = POLLIN}, [ENDED] = {.fd = shared.ended_fd, .events = POLLIN}};
		unsigned int count = shared.count;

		for (unsigned int i = 0; i < count; i++) {
			const struct member *member = shared.members[i];

			fds[FIRST_MEMBER + i] = (struct pollfd){.fd = member->ends ? -1 : member->fd, .events = POLLIN};
		}
		if (poll(fds, FIRST_MEMBER + count, -1) < 0)
			continue;
		/* From the last one on: whoever ends leaves his place to the last one. */
		for (unsigned int i = count; i--;)
			if (fds[FIRST_MEMBER + i].revents && !hear(shared.members[i]))
				end_member(i);
		if (fds[ENDED].revents)
			remove_ended();
		if (fds[LISTEN].revents)
			accept_all();
	}
}

/* As a process of its own: what it has of others is the two descriptors. */
static void begin_process(int listening, int first)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t none;
	int null = open("/dev/null", O_RDWR);

	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	/* Neither may be in the other one's place. */
	listening = fcntl(listening, F_DUPFD_CLOEXEC, FIRST + 1);
	first = fcntl(first, F_DUPFD_CLOEXEC, FIRST + 1);
	dup3(listening, LISTENING, O_CLOEXEC);
	dup3(first, FIRST, O_CLOEXEC);
	close_range(FIRST + 1, ~0U, 0);
	setsid();
	sigaction(SIGPIPE, &ignore, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_NAME, "uiommu-accel");
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* In a process of its own: when the other one has ended, in whatever way, its names go; unless they are another one's by then. */
static void keep(const struct shared_place *place, int gone) __attribute__((noreturn));
static void keep(const struct shared_place *place, int gone)
{
	struct stat before, after;
	bool found = !stat(place->socket.sun_path, &before);
	ssize_t got;
	char byte;

	prctl(PR_SET_NAME, "uiommu-keeper");
	close(LISTENING);
	close(FIRST);
	while ((got = read(gone, &byte, 1)) > 0 || (got < 0 && errno == EINTR))
		;
	if (found && shared_lock(place) >= 0 && !stat(place->socket.sun_path, &after) && is_same(&before, &after)) {
		unlink(place->socket.sun_path);
		unlink(place->lock);
	}
	_exit(0);
}

static bool start_keeper(const struct shared_place *place)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return false;
	pid = fork();
	if (!pid) {
		close(ends[1]);
		keep(place, ends[0]);
	}
	close(ends[0]);
	return pid > 0; /* the other end stays open as long as this process lives */
}

/* With the lock: nobody has come meanwhile, and nobody can. */
static bool is_over(int lock)
{
	while (flock(lock, LOCK_EX) < 0 && errno == EINTR)
		;
	accept_all();
	if (shared.count)
		flock(lock, LOCK_UN);
	else /* the end of a process gives up the lock before the socket: whoever has it then is to be refused */
		shutdown(LISTENING, SHUT_RDWR);
	return !shared.count;
}

void shared_serve(const struct shared_place *place, enum sandbox_mode mode, int listening, int first)
{
	int lock;

	begin_process(listening, first);
	if (!start_keeper(place))
		_exit(1);
	lock = open(place->lock, O_RDWR | O_CLOEXEC);
	if (lock >= 0 && make_parent() && !sandbox_server(mode, false)) {
		add_member(FIRST);
		do
			serve_members();
		while (!is_over(lock));
		uiommu_model_destroy(shared.parent);
		uiommu_close(shared.context);
	}
	_exit(0);
}

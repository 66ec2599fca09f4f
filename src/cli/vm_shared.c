/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/vm_shared.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/plain.h"
#include "cli/vm_guest.h"
#include "daemon/wire.h"
#include "util/thread.h"
#include "util/util.h"

enum {
	MEMBERS = 2 * VM_GUESTS_MAX, /* those that have not said yet what they are included */
	MESSAGE_MAX = 64 << 10,
	LISTENING = 3, /* where descriptors are in the new process, */
	FIRST = 4, /* and no others */
};

/* A connection, and the guest that it is. */
struct member {
	int fd;
	int events; /* -1: it has said nothing yet. Under shared.lock for others than the main thread */
	struct vm vm;
	struct guest guest;
	pthread_t thread;
	bool serves; /* there is the thread */
};

static struct {
	const struct shared_place *place;
	struct uiommu_context *context;
	struct uiommu_model *parent;
	pthread_mutex_t lock;
	struct member *members[MEMBERS]; /* under the lock; written by the main thread alone */
	unsigned int count;
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
	uint64_t launcher, flags, capabilities;
	struct json_object *devices;

	if (!folder || strlen(folder) >= sizeof(vm->folder) || !parent || !get_number(object, "launcher", INT32_MAX, &launcher) ||
	    !get_number(object, "vtd_flags", UINT32_MAX, &flags) ||
	    !get_number(object, "vtd_capabilities", UINT32_MAX, &capabilities) ||
	    !json_object_object_get_ex(object, "devices", &devices) || !json_object_is_type(devices, json_type_array) ||
	    json_object_array_length(devices) > VM_ENDPOINTS_MAX)
		return false;
	strcpy(vm->folder, folder);
	vm->parent = strdup(parent);
	vm->launcher = (pid_t)launcher;
	vm->vtd_flags = (uint32_t)flags;
	vm->vtd_capabilities = (uint32_t)capabilities;
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

/* When the other side finds its connection closed, nothing is left. */
static void end_member(unsigned int index)
{
	struct member *member = shared.members[index];

	if (member->serves) {
		guest_stop(&member->guest);
		pthread_join(member->thread, NULL);
	}
	pthread_mutex_lock(&shared.lock);
	shared.members[index] = shared.members[--shared.count];
	pthread_mutex_unlock(&shared.lock);
	if (member->guest.context)
		guest_end(&member->guest);
	for (unsigned int i = 0; i < member->vm.endpoint_count; i++)
		free(member->vm.endpoints[i].model);
	free(member->vm.parent);
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

static void *member_main(void *opaque)
{
	struct member *member = opaque;

	guest_run(&member->guest);
	return NULL;
}

static bool complain_to(const struct guest *guest, const char *text)
{
	struct vm_event event = {.type = VM_EVENT_FAILED};

	snprintf(event.text, sizeof(event.text), "%s", text);
	guest_say(guest, event);
	return false;
}

/* Names of files are looked for from @folder on. False: its launcher has been told why not. */
static bool begin_guest(struct member *member, struct json_object *description, int folder)
{
	struct guest *guest = &member->guest;

	guest->events = member->events;
	if (!understand(description, &member->vm))
		return complain_to(guest, "the accelerator's process is of another version of uiommu");
	guest->number = free_number();
	if (!guest->number)
		return complain_to(guest, "the accelerator has as many guests as it can have");
	if (fchdir(folder) < 0)
		return complain_to(guest, strerror(errno));
	guest->vm = &member->vm;
	guest->context = shared.context;
	guest->parent = shared.parent;
	if (!guest_begin(guest) || !guest_make(guest))
		return false;
	member->serves = !thread_start(&member->thread, member_main, member);
	return member->serves || complain_to(guest, "no thread");
}

/* Its message has come, or it is no connection any more. False: it is to end. */
static bool hear(struct member *member)
{
	static char text[MESSAGE_MAX];
	struct json_object *description;
	struct wire_fds fds = {.count = 0};
	ssize_t length = wire_receive(member->fd, text, sizeof(text) - 1, &fds, MSG_DONTWAIT);
	bool good = false;

	if (length == -EAGAIN)
		return true;
	if (length > 0 && (size_t)length < sizeof(text) && fds.count == 2 && member->events < 0) {
		text[length] = '\0';
		/* One that does not read is not waited for. */
		fcntl(fds.fds[0], F_SETFL, O_NONBLOCK);
		pthread_mutex_lock(&shared.lock);
		member->events = fds.fds[0];
		pthread_mutex_unlock(&shared.lock);
		description = json_tokener_parse(text);
		good = begin_guest(member, description, fds.fds[1]);
		json_object_put(description);
		fds.fds[0] = fds.fds[1];
		fds.count = 1;
	}
	wire_close(&fds);
	return good;
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

	return !uiommu_open(&options, &shared.context) && !uiommu_model_create(shared.context, 0, "accel", NULL, 0, &shared.parent);
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
		struct pollfd fds[1 + MEMBERS] = {{.fd = LISTENING, .events = POLLIN}};
		unsigned int count = shared.count;

		for (unsigned int i = 0; i < count; i++)
			fds[1 + i] = (struct pollfd){.fd = shared.members[i]->fd, .events = POLLIN};
		if (poll(fds, 1 + count, -1) < 0)
			continue;
		/* From the last one on: whoever ends leaves his place to the last one. */
		for (unsigned int i = count; i--;)
			if (fds[1 + i].revents && !hear(shared.members[i]))
				end_member(i);
		if (fds[0].revents)
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

void shared_serve(const struct shared_place *place, int listening, int first)
{
	bool made;
	int lock;

	begin_process(listening, first);
	shared.place = place;
	made = make_parent();
	if (made)
		add_member(FIRST);
	for (;;) {
		serve_members();
		lock = shared_lock(place); /* until the process has ended */
		accept_all();
		if (!made || !shared.count)
			break;
		if (lock >= 0)
			close(lock);
	}
	unlink(place->socket.sun_path);
	if (lock >= 0)
		unlink(place->lock);
	uiommu_model_destroy(shared.parent);
	uiommu_close(shared.context);
	_exit(0);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The server of a guest that shares nothing with others. */
#include <signal.h>
#include <stdio.h>

#include "cli/plain.h"
#include "cli/vm/guest.h"

static struct guest *running; /* for the signal handler */

static void end(int signal)
{
	(void)signal;
	guest_stop(running);
}

static void log_line(void *opaque, enum uiommu_log_level level, const char *message)
{
	char text[512];

	(void)opaque;
	if (level > UIOMMU_LOG_WARNING)
		return;
	snprintf(text, sizeof(text), "%s", message);
	make_plain(text, sizeof(text), true);
	fprintf(stderr, "uiommu: %s\n", text);
}

/* Nothing is left lying about if it is to end before it has begun. */
static void unblock_end(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static bool confine(const struct guest *guest)
{
	int error = sandbox_server(guest->vm->seccomp, guest->vm->on_demand);

	return !error || guest_failed(guest, "seccomp", error);
}

static int serve_alone(const struct vm *vm, int events, const int *sockets)
{
	struct uiommu_options options = {.size = sizeof(options), .log = log_line};
	struct guest guest = {.vm = vm, .events = events, .sockets = sockets};
	struct sigaction ends = {.sa_handler = end};
	int error = uiommu_open(&options, &guest.context);
	bool made;

	if (error) {
		guest_failed(&guest, "server", error);
		return 1;
	}
	/* From then on it has to do with what a guest says. */
	made = guest_begin(&guest) && guest_make(&guest) && confine(&guest);
	if (made) {
		running = &guest;
		sigaction(SIGTERM, &ends, NULL);
		unblock_end();
		guest_run(&guest);
	}
	guest_end(&guest);
	uiommu_close(guest.context);
	return made ? 0 : 1;
}

int vm_serve(const struct vm *vm, int events)
{
	const struct guest guest = {.vm = vm, .events = events};
	int sockets[VM_SOCKETS_MAX], status, error = vm_sockets_open(vm, sockets);

	if (error) {
		guest_failed(&guest, vm->folder, error);
		return 1;
	}
	status = vm->parent ? vm_join(vm, events, sockets) : serve_alone(vm, events, sockets);
	vm_sockets_close(sockets, vm_socket_count(vm));
	return status;
}

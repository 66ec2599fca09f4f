/* SPDX-License-Identifier: BSD-3-Clause */
/* The server: a VT-d and the devices behind it, each at a socket of its own. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "cli/plain.h"
#include "cli/vm.h"
#include "cli/vm_control.h"

struct server {
	const struct vm *vm;
	int events;
	struct uiommu_context *context;
	struct uiommu_vfio_user *ports;
	struct uiommu_vtd_pci *function;
	struct uiommu_model *models[VM_ENDPOINTS_MAX];
	struct control control;
};

static struct uiommu_vfio_user *running; /* for the signal handler */

static void end(int signal)
{
	(void)signal;
	uiommu_vfio_user_stop(running);
}

static void say(struct server *server, struct vm_event event)
{
	/* Without a launcher nobody listens, and this process is about to end. */
	(void)!write(server->events, &event, sizeof(event));
}

static bool failed(struct server *server, const char *what, int error)
{
	struct vm_event event = {.type = VM_EVENT_FAILED};

	snprintf(event.text, sizeof(event.text), "%s: %s", what, strerror(-error));
	say(server, event);
	return false;
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

/* The guest, firmware or system, has given the registers an address. */
static void placed(void *opaque, uint64_t address)
{
	say(opaque, (struct vm_event){.type = VM_EVENT_PLACED, .address = address});
}

static bool add_port(struct server *server, struct uiommu_pci *pci, const char *name, uint32_t flags, uint32_t *ioas_id)
{
	char path[VM_PATH_MAX + 16];
	struct uiommu_vfio_user_port port = {.size = sizeof(port), .flags = flags, .pci = pci, .path = path};
	int error;

	snprintf(path, sizeof(path), "%s/%s", server->vm->folder, name);
	error = uiommu_vfio_user_add(server->ports, &port);
	if (error)
		return failed(server, path, error);
	if (ioas_id)
		*ioas_id = port.ioas_id;
	return true;
}

static bool start_vtd(struct server *server, uint32_t ioas_id, struct uiommu_vtd **out)
{
	struct uiommu_hwpt_alloc alloc = {.size = sizeof(alloc), .flags = UIOMMU_HWPT_NEST_PARENT, .parent_id = ioas_id};
	struct uiommu_vtd_config config = {
		.size = sizeof(config), .flags = server->vm->vtd_flags, .capabilities = server->vm->vtd_capabilities};
	int error = uiommu_hwpt_alloc(server->context, &alloc, &config.parent_id);

	if (!error)
		error = uiommu_vtd_pci_start(server->function, &config, out);
	return !error || failed(server, "VT-d", error);
}

static bool make_vtd(struct server *server, struct uiommu_vtd **out)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .rid = VM_VTD_SLOT << 3, .name = "vtd"};
	uint32_t device_id, ioas_id;
	int error = uiommu_device_alloc(server->context, &config, &device_id);

	if (!error)
		error = uiommu_vtd_pci_create(server->context, device_id, &server->function);
	if (error)
		return failed(server, "VT-d", error);
	uiommu_vtd_pci_observe(server->function, placed, server);
	return add_port(server, uiommu_vtd_pci_function(server->function), "vtd", 0, &ioas_id) && start_vtd(server, ioas_id, out);
}

static bool make_endpoint(struct server *server, unsigned int index, struct uiommu_vtd *vtd)
{
	const struct vm_endpoint *endpoint = &server->vm->endpoints[index];
	uint32_t source_id = (uint32_t)endpoint->bus << 8 | endpoint->function;
	struct uiommu_model **model = &server->models[index];
	struct vm_event event = {.type = VM_EVENT_FAILED};
	char name[16];
	int error;

	if (uiommu_model_create(server->context, source_id, endpoint->model, event.text, sizeof(event.text), model)) {
		say(server, event);
		return false;
	}
	error = uiommu_vtd_add(vtd, uiommu_model_device(*model), source_id);
	if (error)
		return failed(server, endpoint->model, error);
	snprintf(name, sizeof(name), "device%u", index);
	return add_port(server, uiommu_model_function(*model), name, UIOMMU_VFIO_USER_TRANSLATED, NULL);
}

static bool make_all(struct server *server)
{
	struct uiommu_options options = {.size = sizeof(options), .log = log_line};
	int error = uiommu_open(&options, &server->context);
	struct uiommu_vtd *vtd;

	if (!error)
		error = uiommu_vfio_user_open(server->context, &server->ports);
	if (error)
		return failed(server, "server", error);
	if (!make_vtd(server, &vtd))
		return false;
	for (unsigned int i = 0; i < server->vm->endpoint_count; i++)
		if (!make_endpoint(server, i, vtd))
			return false;
	server->control = (struct control){.vm = server->vm, .context = server->context, .vtd = vtd, .models = server->models};
	error = control_start(&server->control);
	return !error || failed(server, "control socket", error);
}

/* Who looks first, then transports, then the unit, which answers who waits for it. */
static void end_all(struct server *server)
{
	control_stop(&server->control);
	uiommu_vfio_user_close(server->ports);
	uiommu_vtd_pci_destroy(server->function);
	for (unsigned int i = 0; i < VM_ENDPOINTS_MAX; i++)
		uiommu_model_destroy(server->models[i]);
	uiommu_close(server->context);
}

/* Nothing is left lying about if it is to end before it has begun. */
static void unblock_end(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int vm_serve(const struct vm *vm, int events)
{
	struct server server = {.vm = vm, .events = events};
	struct sigaction ends = {.sa_handler = end};
	bool made = make_all(&server);
	int error = made ? sandbox_server(vm->seccomp) : 0;

	/* From here on it has to do with what a guest says. */
	if (error)
		made = failed(&server, "seccomp", error);
	if (made) {
		running = server.ports;
		sigaction(SIGTERM, &ends, NULL);
		unblock_end();
		say(&server, (struct vm_event){.type = VM_EVENT_READY});
		uiommu_vfio_user_run(server.ports);
	}
	end_all(&server);
	return made ? 0 : 1;
}

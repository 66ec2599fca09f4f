/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/vm/guest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void guest_say(const struct guest *guest, struct vm_event event)
{
	/* Without a launcher nobody listens, and this guest is about to end. */
	(void)!write(guest->events, &event, sizeof(event));
}

bool guest_failed(const struct guest *guest, const char *what, int error)
{
	struct vm_event event = {.type = VM_EVENT_FAILED};

	snprintf(event.text, sizeof(event.text), "%s: %s", what, strerror(-error));
	guest_say(guest, event);
	return false;
}

static uint32_t requester_id(const struct guest *guest, uint32_t source_id)
{
	return guest->number << 16 | source_id;
}

/* --- PASIDs --- */

static bool is_virtual(const struct guest *guest, uint32_t device_id)
{
	for (unsigned int i = 0; i < guest->virtual_count; i++)
		if (guest->virtual_ids[i] == device_id)
			return true;
	return false;
}

static uint32_t host_pasid(void *opaque, uint32_t device_id, uint32_t pasid)
{
	const struct guest *guest = opaque;

	return is_virtual(guest, device_id) ? uiommu_vpasid_find(guest->set, pasid) : pasid;
}

static uint32_t guest_pasid(void *opaque, uint32_t device_id, uint32_t pasid)
{
	const struct guest *guest = opaque;

	return is_virtual(guest, device_id) ? uiommu_vpasid_of(guest->set, pasid) : pasid;
}

/* Each guest may have as many as any other. */
static int make_set(struct guest *guest)
{
	const struct uiommu_pasid_set_alloc alloc = {.size = sizeof(alloc), .quota = UIOMMU_PASID_LAST / (VM_GUESTS_MAX + 1)};
	int error = uiommu_pasid_set_alloc(guest->context, &alloc, &guest->set_id);

	if (error)
		return error;
	guest->set = uiommu_pasid_set_get(guest->context, guest->set_id);
	return guest->set ? 0 : -ENOMEM;
}

static void end_set(struct guest *guest)
{
	uiommu_pasid_set_put(guest->set);
	if (!guest->set_id)
		return;
	uiommu_pasid_free_all(guest->context, guest->set_id);
	uiommu_destroy(guest->context, guest->set_id);
}

/* --- parts --- */

/* The guest, firmware or system, has given the registers an address. */
static void placed(void *opaque, uint64_t address)
{
	guest_say(opaque, (struct vm_event){.type = VM_EVENT_PLACED, .address = address});
}

static bool add_port(struct guest *guest, struct uiommu_pci *pci, unsigned int socket, uint32_t flags)
{
	struct uiommu_vfio_user_port port = {.size = sizeof(port), .flags = flags, .pci = pci, .listen_fd = guest->sockets[socket]};
	int error = uiommu_vfio_user_add(guest->ports, &port);

	if (error)
		return guest_failed(guest, "socket", error);
	if (port.ioas_id)
		guest->ioas_id = port.ioas_id;
	if (port.demand_id)
		guest->control.demand_id = port.demand_id;
	return true;
}

/* From which the guest allocates its PASIDs; if it has to. */
static int allocate_from(struct guest *guest, uint32_t *out_id)
{
	struct uiommu_pasid_set_alloc alloc = {.size = sizeof(alloc), .quota = (uint32_t)guest->vm->pasid_quota};

	return alloc.quota ? uiommu_pasid_set_alloc(guest->context, &alloc, out_id) : 0;
}

static bool start_vtd(struct guest *guest, struct uiommu_vtd **out)
{
	struct uiommu_hwpt_alloc alloc = {.size = sizeof(alloc), .flags = UIOMMU_HWPT_NEST_PARENT, .parent_id = guest->ioas_id};
	struct uiommu_vtd_config config = {
		.size = sizeof(config), .flags = guest->vm->vtd_flags, .capabilities = guest->vm->vtd_capabilities};
	int error = uiommu_hwpt_alloc(guest->context, &alloc, &guest->hwpt_id);

	config.parent_id = guest->hwpt_id;
	if (!error)
		error = allocate_from(guest, &config.pasid_set_id);
	if (guest->parent) {
		config.host_pasid = host_pasid;
		config.guest_pasid = guest_pasid;
		config.opaque = guest;
	}
	if (!error)
		error = uiommu_vtd_pci_start(guest->function, &config, out);
	return !error || guest_failed(guest, "VT-d", error);
}

static bool make_vtd(struct guest *guest, struct uiommu_vtd **out)
{
	char name[24];
	const struct uiommu_device_config config = {
		.size = sizeof(config), .rid = requester_id(guest, VM_VTD_SLOT << 3), .name = name};
	uint32_t flags = 0;
	int error;

	snprintf(name, sizeof(name), "vtd.%d", guest->vm->launcher);
	error = uiommu_device_alloc(guest->context, &config, &guest->vtd_id);
	if (!error)
		error = uiommu_vtd_pci_create(guest->context, guest->vtd_id, &guest->function);
	if (error)
		return guest_failed(guest, "VT-d", error);
	uiommu_vtd_pci_observe(guest->function, placed, guest);
	if (guest->parent)
		flags = UIOMMU_VFIO_USER_MAPPED_ONLY;
	else if (guest->vm->on_demand)
		flags = UIOMMU_VFIO_USER_ON_DEMAND;
	return add_port(guest, uiommu_vtd_pci_function(guest->function), VM_SOCKET_VTD, flags) && start_vtd(guest, out);
}

static int make_model(struct guest *guest, const struct vm_endpoint *endpoint, uint32_t source_id, struct vm_event *event,
		      struct uiommu_model **model)
{
	const struct uiommu_model_virtual request = {
		.size = sizeof(request),
		.rid = requester_id(guest, source_id),
		.set_id = guest->set_id,
		.text = endpoint->model,
		.complaint = event->text,
		.complaint_size = sizeof(event->text),
	};
	int error;

	if (!endpoint->is_virtual)
		return uiommu_model_create(guest->context, request.rid, request.text, request.complaint, request.complaint_size,
					   model);
	error = uiommu_model_create_virtual(guest->parent, &request, model);
	if (!error)
		guest->virtual_ids[guest->virtual_count++] = uiommu_model_device(*model);
	return error;
}

static bool make_endpoint(struct guest *guest, unsigned int index, struct uiommu_vtd *vtd)
{
	const struct vm_endpoint *endpoint = &guest->vm->endpoints[index];
	uint32_t source_id = (uint32_t)endpoint->bus << 8 | endpoint->function;
	struct uiommu_model **model = &guest->models[index];
	struct vm_event event = {.type = VM_EVENT_FAILED};
	int error;

	if (make_model(guest, endpoint, source_id, &event, model)) {
		guest_say(guest, event);
		return false;
	}
	error = uiommu_vtd_add(vtd, uiommu_model_device(*model), source_id);
	if (error)
		return guest_failed(guest, endpoint->model, error);
	return add_port(guest, uiommu_model_function(*model), VM_SOCKET_DEVICES + index, UIOMMU_VFIO_USER_TRANSLATED);
}

/* --- the whole --- */

bool guest_begin(struct guest *guest)
{
	int error = uiommu_vfio_user_open(guest->context, &guest->ports);

	if (error)
		return guest_failed(guest, "server", error);
	uiommu_vfio_user_spin(guest->ports, guest->vm->spin_us);
	return true;
}

bool guest_make(struct guest *guest)
{
	int error = guest->parent ? make_set(guest) : 0;
	struct uiommu_vtd *vtd;

	if (error)
		return guest_failed(guest, "PASIDs", error);
	if (!make_vtd(guest, &vtd))
		return false;
	for (unsigned int i = 0; i < guest->vm->endpoint_count; i++)
		if (!make_endpoint(guest, i, vtd))
			return false;
	guest->control = (struct control){.vm = guest->vm,
					  .demand_id = guest->control.demand_id,
					  .context = guest->context,
					  .vtd = vtd,
					  .models = guest->models,
					  .set = guest->set,
					  .listen_fd = guest->sockets[VM_SOCKET_CONTROL]};
	error = control_start(&guest->control);
	return !error || guest_failed(guest, "control socket", error);
}

void guest_run(struct guest *guest)
{
	guest_say(guest, (struct vm_event){.type = VM_EVENT_READY});
	uiommu_vfio_user_run(guest->ports);
}

void guest_stop(struct guest *guest)
{
	uiommu_vfio_user_stop(guest->ports);
}

static void destroy(const struct guest *guest, uint32_t id)
{
	if (id)
		uiommu_destroy(guest->context, id);
}

/* Who looks first, then transports, then the unit, which answers who waits for it. */
void guest_end(struct guest *guest)
{
	control_stop(&guest->control);
	uiommu_vfio_user_close(guest->ports);
	uiommu_vtd_pci_destroy(guest->function);
	for (unsigned int i = 0; i < VM_ENDPOINTS_MAX; i++)
		uiommu_model_destroy(guest->models[i]);
	end_set(guest);
	destroy(guest, guest->vtd_id);
	destroy(guest, guest->hwpt_id);
	/* Otherwise it has gone with its port, and its id may be another guest's. */
	if (guest->hwpt_id)
		destroy(guest, guest->ioas_id);
}

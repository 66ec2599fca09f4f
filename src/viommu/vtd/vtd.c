/* SPDX-License-Identifier: BSD-3-Clause */
#include "viommu/vtd/vtd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "iommu/attach.h"
#include "translate/inflight.h"
#include "util/rcu.h"

enum { SELF_RID = 1 << 16, SELF_TRIES = 1 << 16, TURNS = 1 + (1 << 15) / VTD_TURN };

/* A message that an event sends. */
struct message {
	uint64_t address;
	uint32_t data;
};

void vtd_lock(struct uiommu_vtd *vtd)
{
	pthread_mutex_lock(&vtd->lock);
}

void vtd_unlock(struct uiommu_vtd *vtd)
{
	static const uint32_t controls[VTD_EVENTS] = {VTD_FECTL, VTD_IECTL, VTD_PECTL};
	struct message messages[VTD_EVENTS];
	unsigned int count = 0;

	for (enum vtd_event event = 0; event < VTD_EVENTS; event++)
		if (vtd->send & 1U << event)
			messages[count++] = (struct message){
				.address = vtd_get32(vtd, controls[event] + VTD_EVENT_ADDRESS) |
					   (uint64_t)vtd_get32(vtd, controls[event] + VTD_EVENT_UPPER) << 32,
				.data = vtd_get32(vtd, controls[event] + VTD_EVENT_DATA),
			};
	vtd->send = 0;
	pthread_mutex_unlock(&vtd->lock);
	for (unsigned int i = 0; i < count && vtd->interrupt; i++)
		vtd->interrupt(vtd->opaque, messages[i].address, messages[i].data);
}

struct vtd_device *vtd_device_of(struct uiommu_vtd *vtd, uint32_t id)
{
	struct vtd_device *device;

	cds_list_for_each_entry (device, &vtd->devices, link)
		if (device->id == id)
			return device;
	return NULL;
}

/* --- commands --- */

static const struct uiommu_invalidation everything = {.last = UINT64_MAX,
						      .flags = UIOMMU_INVALIDATE_ENTRIES | UIOMMU_INVALIDATE_KEEP_ATC};

/* SRTP, TE. Accesses see the old state or the new one, and none of the old is running when GSTS tells. */
static void run_root(struct uiommu_vtd *vtd, unsigned int commands)
{
	bool enabled, forget = commands & VTD_COMMAND_ENABLE || !(vtd->flags & UIOMMU_VTD_SOFT_ROOT);
	struct vtd_root root;

	vtd_lock(vtd);
	root = vtd->root;
	enabled = vtd->enabled;
	vtd->mode = root.mode;
	vtd_unlock(vtd);
	tables_set_root(vtd->tables, root.address, root.mode, !enabled);
	if (forget)
		tables_invalidate(vtd->tables, &everything, 1);
	vtd_lock(vtd);
	if (!enabled)
		vtd->fault_index = 0;
	if (vtd_is_current(vtd))
		vtd_set32(vtd, VTD_GSTS,
			  (vtd_get32(vtd, VTD_GSTS) & ~VTD_GCMD_TE) | (commands & VTD_COMMAND_ROOT ? VTD_GCMD_SRTP : 0) |
				  (enabled ? VTD_GCMD_TE : 0));
	vtd_unlock(vtd);
}

static void run_queue_enable(struct uiommu_vtd *vtd)
{
	uint32_t status;

	vtd_lock(vtd);
	status = vtd_get32(vtd, VTD_GSTS) & ~VTD_GCMD_QIE;
	if (vtd->queue_enabled)
		status |= VTD_GCMD_QIE;
	else
		vtd_set64(vtd, VTD_IQH, 0);
	if (vtd_is_current(vtd))
		vtd_set32(vtd, VTD_GSTS, status);
	vtd_unlock(vtd);
}

/* What devices see and have kept follows the registers. */
static void run_reset(struct uiommu_vtd *vtd)
{
	vtd->batched = 0;
	vtd_lock(vtd);
	vtd->mode = UIOMMU_VTD_TABLES_LEGACY;
	vtd_unlock(vtd);
	tables_set_root(vtd->tables, 0, UIOMMU_VTD_TABLES_LEGACY, true);
	tables_invalidate(vtd->tables, &everything, 1);
	vtd_page_reset(vtd);
}

/* 11.4.16: the response's status code, and what it returns. */
static uint64_t virtual_command(struct uiommu_vtd *vtd, uint64_t command)
{
	uint32_t last = (uint32_t)low_mask((unsigned int)FIELD_GET64(UIOMMU_VTD_TABLES_PSS, vtd->capabilities) + 1), pasid;
	unsigned int status = VTD_VCRSP_NO_PASID;

	switch (FIELD_GET64(VTD_VCMD_CMD, command)) {
	case VTD_VCMD_NULL:
		return VTD_VCRSP_SUCCESS;
	case VTD_VCMD_ALLOC:
		if (!uiommu_pasid_alloc(vtd->context, vtd->pasid_set, 1, last, &pasid))
			return FIELD_PREP64(VTD_VCRSP_PASID, pasid);
		break;
	case VTD_VCMD_FREE:
		pasid = (uint32_t)FIELD_GET64(VTD_VCMD_PASID, command);
		if (!uiommu_pasid_free(vtd->context, vtd->pasid_set, pasid))
			return VTD_VCRSP_SUCCESS;
		break;
	default:
		status = VTD_VCRSP_UNDEFINED;
		break;
	}
	return FIELD_PREP64(VTD_VCRSP_SC, status);
}

static void run_virtual_command(struct uiommu_vtd *vtd)
{
	uint64_t command, response;

	vtd_lock(vtd);
	command = vtd_get64(vtd, VTD_VCMD);
	vtd_unlock(vtd);
	response = virtual_command(vtd, command);
	vtd_lock(vtd);
	if (vtd_is_current(vtd))
		vtd_set64(vtd, VTD_VCRSP, response);
	vtd_unlock(vtd);
}

/* Under the lock. */
static bool has_work(struct uiommu_vtd *vtd)
{
	return vtd->commands || vtd_queue_is_ready(vtd) || !cds_list_empty(&vtd->answers);
}

/* Become the runner, unless there is one. */
static bool begin(struct uiommu_vtd *vtd, unsigned int *commands)
{
	bool begins;

	vtd_lock(vtd);
	begins = !vtd->running && has_work(vtd);
	if (begins) {
		vtd->running = true;
		*commands = vtd->commands;
		vtd->commands = 0;
		vtd->seen_resets = vtd->resets;
	}
	vtd_unlock(vtd);
	return begins;
}

/* True: there is more. */
static bool end(struct uiommu_vtd *vtd)
{
	bool more;

	vtd_lock(vtd);
	vtd->running = false;
	more = has_work(vtd);
	pthread_cond_broadcast(&vtd->idle);
	vtd_unlock(vtd);
	return more;
}

bool uiommu_vtd_run(struct uiommu_vtd *vtd)
{
	unsigned int commands;

	vtd_page_answers(vtd);
	/* Waiting for accesses, it would wait for itself. */
	if (thread_inside() || !begin(vtd, &commands))
		return false;
	if (commands & VTD_COMMAND_RESET)
		run_reset(vtd);
	if (commands & VTD_COMMAND_VIRTUAL)
		run_virtual_command(vtd);
	if (commands & (VTD_COMMAND_ROOT | VTD_COMMAND_ENABLE))
		run_root(vtd, commands);
	if (commands & VTD_COMMAND_QUEUE)
		run_queue_enable(vtd);
	vtd_invalidate_registers(vtd, commands);
	vtd_queue_run(vtd);
	return end(vtd);
}

/* --- registers --- */

uint64_t uiommu_vtd_read(struct uiommu_vtd *vtd, uint64_t offset, unsigned int size)
{
	uint64_t value;

	vtd_lock(vtd);
	value = registers_read(&vtd->registers, offset, size);
	vtd_unlock(vtd);
	vtd_page_answers(vtd);
	return value;
}

void uiommu_vtd_write(struct uiommu_vtd *vtd, uint64_t offset, unsigned int size, uint64_t data)
{
	bool work;

	vtd_lock(vtd);
	registers_write(&vtd->registers, offset, size, data);
	work = has_work(vtd) && !vtd->running; /* a runner sees it before it ends */
	vtd_unlock(vtd);
	if (work && vtd->work) {
		vtd->work(vtd->opaque);
		return;
	}
	vtd_page_answers(vtd);
	/* Others may go on writing. */
	for (unsigned int turn = 0; work && turn < TURNS; turn++)
		work = uiommu_vtd_run(vtd);
}

/* Until the reset has been done, by whomever. */
static void finish_reset(struct uiommu_vtd *vtd)
{
	vtd_lock(vtd);
	while (vtd->running || vtd->commands & VTD_COMMAND_RESET) {
		if (vtd->running) {
			pthread_cond_wait(&vtd->idle, &vtd->lock);
			continue;
		}
		vtd_unlock(vtd);
		uiommu_vtd_run(vtd);
		vtd_lock(vtd);
	}
	vtd_unlock(vtd);
}

int uiommu_vtd_reset(struct uiommu_vtd *vtd)
{
	if (!vtd->work && thread_inside())
		return -EDEADLK;
	vtd_lock(vtd);
	vtd_registers_reset(vtd);
	vtd->resets++;
	vtd->commands = VTD_COMMAND_RESET;
	vtd->send = vtd->fault_index = 0;
	vtd->enabled = vtd->queue_enabled = vtd->stalled = false;
	vtd->root = (struct vtd_root){.address = 0};
	vtd_unlock(vtd);
	if (vtd->work)
		vtd->work(vtd->opaque);
	else
		finish_reset(vtd);
	return 0;
}

/* --- devices --- */

static void device_free(struct vtd_device *device)
{
	uiommu_device_put(device->device);
	free(device);
}

/* It is in the list before it can report a fault. */
static int list_device(struct uiommu_vtd *vtd, struct vtd_device *device)
{
	struct vtd_device *other;
	int error = 0;

	vtd_lock(vtd);
	cds_list_for_each_entry (other, &vtd->devices, link)
		if (other->source_id == device->source_id)
			error = -EEXIST;
	if (!error)
		cds_list_add_tail(&device->link, &vtd->devices);
	vtd_unlock(vtd);
	return error;
}

static void unlist_device(struct uiommu_vtd *vtd, struct vtd_device *device)
{
	vtd_lock(vtd);
	cds_list_del(&device->link);
	vtd_unlock(vtd);
}

static int attach(struct uiommu_vtd *vtd, struct vtd_device *device)
{
	struct device *control = container_of(device->device, struct device, data);

	pthread_mutex_lock(&control->lock);
	control->source_id = device->source_id;
	pthread_mutex_unlock(&control->lock);
	return uiommu_attach(vtd->context, device->id, UIOMMU_NO_PASID, vtd->tables_id);
}

int uiommu_vtd_add(struct uiommu_vtd *vtd, uint32_t device_id, uint32_t source_id)
{
	struct vtd_device *device;
	int error;

	if (source_id > UINT16_MAX)
		return -EINVAL;
	device = calloc(1, sizeof(*device));
	if (!device)
		return -ENOMEM;
	device->id = device_id;
	device->source_id = (uint16_t)source_id;
	device->device = uiommu_device_get(vtd->context, device_id);
	error = device->device ? list_device(vtd, device) : -ENOENT;
	if (!error) {
		error = attach(vtd, device);
		if (error)
			unlist_device(vtd, device);
	}
	if (error)
		device_free(device);
	return error;
}

int uiommu_vtd_remove(struct uiommu_vtd *vtd, uint32_t device_id)
{
	struct vtd_device *device;
	int error;

	if (thread_inside())
		return -EDEADLK;
	vtd_lock(vtd);
	device = vtd_device_of(vtd, device_id);
	if (device && device->leaving)
		device = NULL;
	if (device)
		device->leaving = true;
	vtd_unlock(vtd);
	if (!device)
		return -ENOENT;
	error = uiommu_detach(vtd->context, device_id, UIOMMU_NO_PASID);
	if (error) {
		vtd_lock(vtd);
		device->leaving = false;
		vtd_unlock(vtd);
		return error;
	}
	unlist_device(vtd, device);
	device_free(device);
	return 0;
}

/* --- beginning and end --- */

static int check_config(const struct uiommu_vtd_config *config)
{
	bool maps = config->host_pasid || config->guest_pasid;

	if (config->flags & ~(uint32_t)(UIOMMU_VTD_SOFT_ROOT | UIOMMU_VTD_CACHING_MODE))
		return -EOPNOTSUPP;
	if (config->host_bits < 32 || config->host_bits > 52 || config->fault_records < 1 ||
	    config->fault_records > VTD_RECORDS_MAX || config->reserved)
		return -EINVAL;
	return maps && (!config->host_pasid || !config->guest_pasid) ? -EINVAL : 0;
}

/* Capabilities without those that they are nothing without (11.4.3). */
static bool is_consistent(uint32_t capabilities)
{
	static const struct {
		uint32_t capability, needs;
	} rules[] = {
		{UIOMMU_VTD_TABLES_FIRST, UIOMMU_VTD_TABLES_SMTS},
		{UIOMMU_VTD_TABLES_SECOND, UIOMMU_VTD_TABLES_SMTS},
		{UIOMMU_VTD_TABLES_PASID, UIOMMU_VTD_TABLES_SMTS},
		{UIOMMU_VTD_TABLES_SUPERVISOR, UIOMMU_VTD_TABLES_SMTS},
		{UIOMMU_VTD_TABLES_WALK_SNOOP, UIOMMU_VTD_TABLES_SMTS},
		{UIOMMU_VTD_TABLES_RID_PASID, UIOMMU_VTD_TABLES_SMTS},
		{UIOMMU_VTD_TABLES_PRI, UIOMMU_VTD_TABLES_SMTS | UIOMMU_VTD_TABLES_ATS},
		{UIOMMU_VTD_TABLES_RID_PRIV, UIOMMU_VTD_TABLES_SUPERVISOR},
		{UIOMMU_VTD_TABLES_FIRST_5, UIOMMU_VTD_TABLES_FIRST},
		{UIOMMU_VTD_TABLES_FIRST_1G, UIOMMU_VTD_TABLES_FIRST},
		{UIOMMU_VTD_TABLES_SECOND_AD, UIOMMU_VTD_TABLES_SECOND | UIOMMU_VTD_TABLES_WALK_SNOOP},
		{UIOMMU_VTD_TABLES_EXTENDED_ACCESSED, UIOMMU_VTD_TABLES_FIRST | UIOMMU_VTD_TABLES_WALK_SNOOP},
		{UIOMMU_VTD_TABLES_SECOND_1G, UIOMMU_VTD_TABLES_SECOND_2M},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if (capabilities & rules[i].capability && (capabilities & rules[i].needs) != rules[i].needs)
			return false;
	/* Requests that execute are no longer part of the architecture. */
	return !(capabilities & UIOMMU_VTD_TABLES_EXECUTE);
}

/* The unit's own DMA, to addresses as they are. No guest knows its requester id. */
static int make_self(struct uiommu_vtd *vtd, uint32_t parent_id)
{
	struct uiommu_device_config config = {.size = sizeof(config)};
	char name[32];
	int error = -EEXIST;

	config.name = name;
	for (uint32_t i = 0; error == -EEXIST && i < SELF_TRIES; i++) {
		snprintf(name, sizeof(name), "vtd%u", i);
		config.rid = SELF_RID + i;
		error = uiommu_device_alloc(vtd->context, &config, &vtd->self_id);
	}
	if (error)
		return error;
	vtd->self = uiommu_device_get(vtd->context, vtd->self_id);
	return uiommu_attach(vtd->context, vtd->self_id, UIOMMU_NO_PASID, parent_id);
}

static int make_tables(struct uiommu_vtd *vtd, uint32_t parent_id)
{
	const struct uiommu_hwpt_tables tables = {
		.size = sizeof(tables),
		.parent_id = parent_id,
		.tables = UIOMMU_TABLES_VTD,
		.structure = UIOMMU_STRUCTURE_DEVICE,
		.capabilities = vtd->capabilities,
		.mode = UIOMMU_VTD_TABLES_LEGACY,
		.output_lg2 = (uint8_t)vtd->host_bits,
		.rid_pasid = UIOMMU_NO_PASID,
	};
	struct object *object;
	int error = uiommu_hwpt_alloc_tables(vtd->context, &tables, &vtd->tables_id);

	if (error)
		return error;
	object = object_get(vtd->context, vtd->tables_id, UIOMMU_OBJECT_HWPT_NESTED);
	object_use(object);
	object_put(object);
	vtd->tables = object_hwpt(object);
	vtd->tables->sink = &vtd->sink;
	vtd->tables->tables->guest_pasid = vtd->guest_pasid;
	vtd->tables->tables->opaque = vtd->opaque;
	tables_set_root(vtd->tables, 0, UIOMMU_VTD_TABLES_LEGACY, true);
	return 0;
}

static void vtd_free(struct uiommu_vtd *vtd)
{
	if (vtd->tables) {
		object_unuse(&vtd->tables->object);
		uiommu_destroy(vtd->context, vtd->tables_id);
	}
	if (vtd->self) {
		uiommu_detach(vtd->context, vtd->self_id, UIOMMU_NO_PASID);
		uiommu_device_put(vtd->self);
		uiommu_destroy(vtd->context, vtd->self_id);
	}
	registers_fini(&vtd->registers);
	pthread_cond_destroy(&vtd->idle);
	pthread_mutex_destroy(&vtd->lock);
	free(vtd);
}

static struct uiommu_vtd *vtd_alloc(struct uiommu_context *context, const struct uiommu_vtd_config *config)
{
	struct uiommu_vtd *vtd = calloc(1, sizeof(*vtd));

	if (!vtd)
		return NULL;
	vtd->context = context;
	vtd->flags = config->flags;
	vtd->capabilities = config->capabilities;
	vtd->records = config->fault_records;
	vtd->host_bits = config->host_bits;
	vtd->pasid_set = config->pasid_set_id;
	vtd->host_pasid = config->host_pasid;
	vtd->guest_pasid = config->guest_pasid;
	vtd->interrupt = config->interrupt;
	vtd->work = config->work;
	vtd->opaque = config->opaque;
	vtd->sink = (struct fault_sink){
		.answers = true, .event = vtd_fault_event, .page_request = vtd_page_request, .forget = vtd_page_forget};
	pthread_mutex_init(&vtd->lock, NULL);
	pthread_cond_init(&vtd->idle, NULL);
	CDS_INIT_LIST_HEAD(&vtd->devices);
	CDS_INIT_LIST_HEAD(&vtd->pages);
	CDS_INIT_LIST_HEAD(&vtd->answers);
	return vtd;
}

int uiommu_vtd_create(struct uiommu_context *context, const struct uiommu_vtd_config *config, struct uiommu_vtd **out)
{
	struct uiommu_vtd_config given;
	struct uiommu_vtd *vtd;
	int error = copy_struct(&given, sizeof(given), sizeof(given), config, config->size);

	if (error)
		return error;
	given.capabilities = given.capabilities ? given.capabilities : (uint32_t)UIOMMU_VTD_DEFAULT_CAPABILITIES;
	given.host_bits = given.host_bits ? given.host_bits : 48;
	given.fault_records = given.fault_records ? given.fault_records : 8;
	error = check_config(&given);
	if (error)
		return error;
	if (!is_consistent(given.capabilities))
		return -EINVAL;
	if (given.pasid_set_id && uiommu_object_type(context, given.pasid_set_id) != UIOMMU_OBJECT_PASID_SET)
		return -ENOENT;
	vtd = vtd_alloc(context, &given);
	if (!vtd)
		return -ENOMEM;
	error = vtd_registers_init(vtd);
	if (!error)
		error = make_tables(vtd, given.parent_id);
	if (!error)
		error = make_self(vtd, given.parent_id);
	if (error)
		vtd_free(vtd);
	else
		*out = vtd;
	return error;
}

/* Devices that have been asked to forget still answer. */
static void wait_for_others(struct uiommu_vtd *vtd)
{
	vtd_lock(vtd);
	while (vtd->asked || vtd->calls)
		pthread_cond_wait(&vtd->idle, &vtd->lock);
	vtd_unlock(vtd);
}

int uiommu_vtd_destroy(struct uiommu_vtd *vtd)
{
	struct cds_list_head *node, *next;

	if (!vtd)
		return 0;
	if (thread_inside())
		return -EDEADLK;
	cds_list_for_each_safe (node, next, &vtd->devices) {
		struct vtd_device *device = cds_list_entry(node, struct vtd_device, link);
		struct device *control = container_of(device->device, struct device, data);

		attach_end(control, UIOMMU_NO_PASID, true);
		unlist_device(vtd, device);
		device_free(device);
	}
	wait_for_others(vtd);
	vtd_free(vtd);
	return 0;
}

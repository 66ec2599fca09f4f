/* SPDX-License-Identifier: BSD-3-Clause */
/* Contexts, devices, HWPTs, attachments and binds. */
#include "fail_nth.h"

#include <uiommu/uiommu.h>

#include "util/util.h"

static int call_open(struct world *w)
{
	struct uiommu_context *context;
	int error = uiommu_open(NULL, &context);

	(void)w;
	if (!error)
		uiommu_close(context);
	return error;
}

static int call_device_alloc(struct world *w)
{
	const struct uiommu_range range = {0, 4095};
	struct uiommu_device_config config = {
		.size = sizeof(config), .rid = 3, .name = "new", .reserved = &range, .reserved_count = 1};

	return uiommu_device_alloc(w->context, &config, &w->made);
}

static int call_hwpt_alloc(struct world *w)
{
	struct uiommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = UIOMMU_HWPT_FAULT, .parent_id = w->other, .fault_queue_id = w->queue};

	return uiommu_hwpt_alloc(w->context, &alloc, &w->made);
}

static int call_attach(struct world *w)
{
	return uiommu_attach(w->context, w->msi_id, UIOMMU_NO_PASID, w->other);
}

static int call_attach_pasid(struct world *w)
{
	return uiommu_attach(w->context, w->device_id, 5, w->other);
}

static int call_replace(struct world *w)
{
	return uiommu_replace(w->context, w->device_id, UIOMMU_NO_PASID, w->other);
}

static int bind_process(struct world *w, const struct uiommu_bind_process *process)
{
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = w->device_id,
		.pasid = UIOMMU_NO_PASID,
		.type = UIOMMU_BIND_PROCESS,
		.data = process,
		.data_len = sizeof(*process),
		.fault_queue_id = w->queue,
	};
	int error = uiommu_bind(w->context, &bind);

	w->pasid = bind.pasid;
	return error;
}

static int call_bind_self(struct world *w)
{
	const struct uiommu_bind_process self = {.flags = UIOMMU_BIND_SELF, .access = UIOMMU_READ};

	return bind_process(w, &self);
}

static int call_bind(struct world *w)
{
	const struct uiommu_bind_process process = {.access = UIOMMU_READ | UIOMMU_WRITE, .process = w->bundle};

	return bind_process(w, &process);
}

static int bind_guest(struct world *w, uint32_t type, const void *data, size_t length)
{
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = w->device_id,
		.pasid = UIOMMU_NO_PASID,
		.type = type,
		.data = data,
		.data_len = (uint32_t)length,
		.fault_queue_id = w->queue,
	};

	return uiommu_bind(w->context, &bind);
}

/* The parent, of memory. */
static int call_parent(struct world *w)
{
	struct uiommu_hwpt_alloc alloc = {.size = sizeof(alloc), .flags = UIOMMU_HWPT_NEST_PARENT, .parent_id = w->ioas};

	uiommu_detach(w->context, w->device_id, UIOMMU_NO_PASID);
	return uiommu_hwpt_alloc(w->context, &alloc, &w->made);
}

static int call_bind_page_table(struct world *w)
{
	const struct uiommu_bind_page_table table = {
		.format = UIOMMU_FORMAT_AMD_V2, .parent_id = w->made, .root = 0x10000, .address_width = 48};

	return bind_guest(w, UIOMMU_BIND_PAGE_TABLE, &table, sizeof(table));
}

static int call_bind_pasid_table(struct world *w)
{
	const struct uiommu_hwpt_tables tables = {
		.size = sizeof(tables),
		.parent_id = w->made,
		.tables = UIOMMU_TABLES_AMD,
		.structure = UIOMMU_STRUCTURE_PASID,
		.base = 0x10000,
		.size_lg2 = 9,
		.output_lg2 = 46,
		.rid_pasid = UIOMMU_NO_PASID,
	};

	return bind_guest(w, UIOMMU_BIND_PASID_TABLE, &tables, sizeof(tables));
}

static int call_bind_shared(struct world *w)
{
	const struct uiommu_bind_shared shared = {.ioas_id = w->ioas, .access = UIOMMU_READ};

	return bind_guest(w, UIOMMU_BIND_SHARED, &shared, sizeof(shared));
}

static int call_register(struct world *w)
{
	struct uiommu_register reg = {
		.size = sizeof(reg),
		.device_id = w->device_id,
		.pasid = w->pasid,
		.access = UIOMMU_READ,
		.address = CHILD_ADDRESSES,
		.length = w->page,
		.fd = w->fd,
	};

	return uiommu_register(w->context, &reg);
}

static int call_process_open(struct world *w)
{
	return uiommu_process_open(w->child, UIOMMU_READ, &w->opened);
}

static void end_process_open(struct world *w)
{
	uiommu_process_close(&w->opened);
}

void control(void **state)
{
	static const struct scenario scenarios[] = {
		{"open", call_open, NULL, NULL},
		{"device_alloc", call_device_alloc, NULL, NULL},
		{"hwpt_alloc", call_hwpt_alloc, NULL, NULL},
		{"attach", call_attach, NULL, NULL},
		{"attach a PASID", call_attach_pasid, NULL, NULL},
		{"replace", call_replace, NULL, NULL},
		{"bind self", call_bind_self, NULL, NULL},
		{"bind", call_bind, NULL, NULL},
		{"bind a page table", call_bind_page_table, NULL, call_parent},
		{"bind a PASID table", call_bind_pasid_table, NULL, call_parent},
		{"bind shared memory", call_bind_shared, NULL, NULL},
		{"register", call_register, NULL, call_bind},
		{"process_open", call_process_open, end_process_open, NULL},
	};

	sweep_all(*state, scenarios, ARRAY_SIZE(scenarios));
}

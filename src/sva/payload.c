/* SPDX-License-Identifier: BSD-3-Clause */
#include "sva/payload.h"

#include <errno.h>
#include <string.h>

#include "iommu/tables.h"
#include "memory/process.h"
#include "util/rcu.h"
#include "util/util.h"

/* A payload of @least bytes or more, as the library knows it. */
static int copy_payload(const struct uiommu_bind *bind, void *out, size_t known, size_t least)
{
	return bind->data ? copy_struct(out, known, least, bind->data, bind->data_len) : -EINVAL;
}

static bool is_access(uint32_t access)
{
	return access == UIOMMU_READ || access == (UIOMMU_READ | UIOMMU_WRITE);
}

/* --- a process --- */

int payload_process(const struct uiommu_bind *bind, struct uiommu_bind_process *out)
{
	int error = bind->type == UIOMMU_BIND_PROCESS ? copy_payload(bind, out, sizeof(*out), sizeof(*out)) : -EPROTONOSUPPORT;

	if (error)
		return error;
	if (out->flags & ~(uint32_t)UIOMMU_BIND_SELF)
		return -EOPNOTSUPP;
	return is_access(out->access) ? 0 : -EINVAL;
}

static int get_process(struct uiommu_context *context, const struct uiommu_bind *bind, struct payload *out)
{
	struct uiommu_bind_process given;
	int error = payload_process(bind, &given);

	if (error)
		return error;
	out->access = given.access;
	if (given.flags & UIOMMU_BIND_SELF)
		return process_open_self(given.access, context->without, &out->process);
	return process_open(&given.process, given.access, context->without, &out->process);
}

/* --- a guest's page table --- */

enum {
	ROOT_LG2 = 12, /* a top table's size, except Arm's */
	ENTRY_LG2 = 3,
	PAGE_TABLE_FLAGS = UIOMMU_BIND_SUPERVISOR | UIOMMU_BIND_EXECUTE | UIOMMU_BIND_WRITE_PROTECT | UIOMMU_BIND_EXTENDED_ACCESS,
};

/* Are [start, start + size) addresses of the guest's memory? */
static bool in_memory(struct hwpt *parent, uint64_t start, uint64_t size)
{
	const struct areas *areas = &parent->space->areas;
	bool found;

	thread_self();
	rcu_enter();
	found = start + (size - 1) >= start && areas_find(areas, start) && areas_find(areas, start + (size - 1));
	rcu_leave();
	return found;
}

/* Formats whose number of levels follows from the width. */
static int set_x86(const struct uiommu_bind_page_table *given, struct uiommu_page_table *out)
{
	if (given->address_width != 48 && given->address_width != 57)
		return -EINVAL;
	out->levels = (uint8_t)((given->address_width - 12) / 9);
	out->output_lg2 = given->output_width ? given->output_width : 52;
	return 0;
}

static int set_vtd(const struct uiommu_bind_page_table *given, struct uiommu_page_table *out)
{
	out->flags |= UIOMMU_VTD_FIRST_NXE;
	out->flags |= given->flags & UIOMMU_BIND_WRITE_PROTECT ? UIOMMU_VTD_FIRST_WPE : 0;
	out->flags |= given->flags & UIOMMU_BIND_EXTENDED_ACCESS ? UIOMMU_VTD_FIRST_EAFE : 0;
	return set_x86(given, out);
}

static int set_amd(const struct uiommu_bind_page_table *given, struct uiommu_page_table *out)
{
	out->flags |= given->flags & UIOMMU_BIND_WRITE_PROTECT ? 0 : UIOMMU_AMD_V2_WP_OFF;
	return set_x86(given, out);
}

/* The lower half of the addresses; a process has no more. */
static int set_arm(const struct uiommu_bind_page_table *given, struct uiommu_page_table *out)
{
	out->flags |= UIOMMU_ARM_EPD1;
	out->input_lg2[0] = given->address_width;
	out->granule_lg2[0] = given->granule_lg2;
	out->output_lg2 = given->output_width ? given->output_width : 48;
	return 0;
}

static int set_riscv(const struct uiommu_bind_page_table *given, struct uiommu_page_table *out)
{
	out->input_lg2[0] = given->address_width;
	out->output_lg2 = given->output_width ? given->output_width : 56;
	return 0;
}

static int page_table_of(const struct uiommu_bind_page_table *given, struct uiommu_page_table *out)
{
	const bool arm = given->format == UIOMMU_FORMAT_ARM_S1;

	if (given->flags & UIOMMU_BIND_EXTENDED_ACCESS && given->format != UIOMMU_FORMAT_VTD_FIRST)
		return -EOPNOTSUPP;
	if ((given->granule_lg2 && !arm) || given->root & ((UINT64_C(1) << (arm ? ENTRY_LG2 : ROOT_LG2)) - 1))
		return -EINVAL;
	*out = (struct uiommu_page_table){.format = given->format, .base = {given->root}, .flags = given->format_flags};
	switch (given->format) {
	case UIOMMU_FORMAT_VTD_FIRST:
		return set_vtd(given, out);
	case UIOMMU_FORMAT_AMD_V2:
		return set_amd(given, out);
	case UIOMMU_FORMAT_ARM_S1:
		return set_arm(given, out);
	default:
		return set_riscv(given, out);
	}
}

static bool is_first_stage(uint32_t format)
{
	return format == UIOMMU_FORMAT_VTD_FIRST || format == UIOMMU_FORMAT_AMD_V2 || format == UIOMMU_FORMAT_ARM_S1 ||
	       format == UIOMMU_FORMAT_RISCV_FIRST;
}

static int check_page_table(const struct uiommu_bind_page_table *given)
{
	static const uint8_t none[sizeof(given->reserved)];

	if (given->flags & ~(uint32_t)PAGE_TABLE_FLAGS)
		return -EOPNOTSUPP;
	if (!is_first_stage(given->format))
		return -EPROTONOSUPPORT;
	return memcmp(given->reserved, none, sizeof(none)) ? -EINVAL : 0;
}

static int get_page_table(struct uiommu_context *context, const struct uiommu_bind *bind, struct payload *out)
{
	struct uiommu_bind_page_table given;
	struct hwpt *parent;
	int error = copy_payload(bind, &given, sizeof(given), sizeof(given));

	if (!error)
		error = check_page_table(&given);
	if (error)
		return error;
	out->nested = (struct uiommu_hwpt_nested){.flags = UIOMMU_HWPT_PASID, .parent_id = given.parent_id};
	error = page_table_of(&given, &out->nested.first);
	if (!error)
		error = nested_parent_get(context, given.parent_id, &parent);
	if (error)
		return error;
	out->on = &parent->object;
	out->access = UIOMMU_READ | UIOMMU_WRITE;
	out->access |= given.flags & UIOMMU_BIND_EXECUTE ? UIOMMU_EXEC : 0;
	out->access |= given.flags & UIOMMU_BIND_SUPERVISOR ? UIOMMU_PRIVILEGED : 0;
	return in_memory(parent, given.root, UINT64_C(1) << (given.granule_lg2 ? ENTRY_LG2 : ROOT_LG2)) ? 0 : -EFAULT;
}

/* --- a guest's PASID table --- */

/* Where in its memory something has to be: behind a second stage of its own, that one's root. */
static uint64_t tables_root(const struct uiommu_hwpt_tables *tables)
{
	return tables->second.format ? tables->second.base[0] : tables->base;
}

static int check_tables(const struct uiommu_hwpt_tables *given)
{
	int error;

	if (given->flags || given->fault_queue_id)
		return -EOPNOTSUPP; /* the bind's own say it */
	if (given->tables > UIOMMU_TABLES_RISCV)
		return -EPROTONOSUPPORT;
	error = tables_check(given);
	return !error && given->structure != UIOMMU_STRUCTURE_PASID ? -EINVAL : error;
}

static int get_pasid_table(struct uiommu_context *context, const struct uiommu_bind *bind, struct payload *out)
{
	struct uiommu_hwpt_tables *given = &out->tables;
	struct hwpt *parent;
	int error = copy_payload(bind, given, sizeof(*given), sizeof(*given));

	if (!error)
		error = check_tables(given);
	if (!error)
		error = nested_parent_get(context, given->parent_id, &parent);
	if (error)
		return error;
	given->size = 0; /* means nothing any more */
	out->on = &parent->object;
	out->access = UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC;
	return in_memory(parent, tables_root(given), UINT64_C(1) << ENTRY_LG2) ? 0 : -EFAULT;
}

/* --- a guest's memory --- */

static int get_shared(struct uiommu_context *context, const struct uiommu_bind *bind, struct payload *out)
{
	struct uiommu_bind_shared given;
	int error = copy_payload(bind, &given, sizeof(given), sizeof(given));

	if (error)
		return error;
	if (!is_access(given.access))
		return -EINVAL;
	out->access = given.access;
	out->on = object_get(context, given.ioas_id, UIOMMU_OBJECT_IOAS);
	return out->on ? 0 : -ENOENT;
}

/* --- all of them --- */

static int make_process(struct uiommu_context *context, struct payload *payload, struct fault_queue *queue, struct hwpt **out)
{
	*out = hwpt_alloc_sva(context, payload->process, queue);
	if (!*out)
		process_close(payload->process);
	payload->process = NULL;
	return *out ? 0 : -ENOMEM;
}

static int make_page_table(struct uiommu_context *context, struct payload *payload, struct fault_queue *queue, struct hwpt **out)
{
	(void)context;
	return nested_make(object_hwpt(payload->on), queue, &payload->nested, out);
}

static int make_pasid_table(struct uiommu_context *context, struct payload *payload, struct fault_queue *queue, struct hwpt **out)
{
	(void)context;
	return tables_make(object_hwpt(payload->on), queue, &payload->tables, out);
}

static int make_shared(struct uiommu_context *context, struct payload *payload, struct fault_queue *queue, struct hwpt **out)
{
	(void)context;
	*out = hwpt_alloc_paging(ioas_of(payload->on), queue, UIOMMU_HWPT_PASID);
	return *out ? 0 : -ENOMEM;
}

static const struct {
	int (*get)(struct uiommu_context *context, const struct uiommu_bind *bind, struct payload *out);
	int (*make)(struct uiommu_context *context, struct payload *payload, struct fault_queue *queue, struct hwpt **out);
} types[] = {
	[UIOMMU_BIND_PROCESS] = {get_process, make_process},
	[UIOMMU_BIND_PAGE_TABLE] = {get_page_table, make_page_table},
	[UIOMMU_BIND_PASID_TABLE] = {get_pasid_table, make_pasid_table},
	[UIOMMU_BIND_SHARED] = {get_shared, make_shared},
};

int payload_get(struct uiommu_context *context, const struct uiommu_bind *bind, struct payload *out)
{
	int error;

	if (bind->type >= ARRAY_SIZE(types) || !types[bind->type].get)
		return -EPROTONOSUPPORT;
	memset(out, 0, sizeof(*out));
	out->type = bind->type;
	error = types[bind->type].get(context, bind, out);
	if (error)
		payload_put(out);
	return error;
}

void payload_put(struct payload *payload)
{
	if (payload->on)
		object_put(payload->on);
	if (payload->process)
		process_close(payload->process);
}

bool payload_equal(const struct payload *bound, const struct hwpt *hwpt, const struct payload *payload)
{
	if (bound->type != payload->type || bound->access != payload->access || bound->on != payload->on)
		return false;
	switch (payload->type) {
	case UIOMMU_BIND_PROCESS:
		return process_equal(hwpt->own.process, payload->process);
	case UIOMMU_BIND_PAGE_TABLE:
		return !memcmp(&bound->nested, &payload->nested, sizeof(bound->nested));
	case UIOMMU_BIND_PASID_TABLE:
		return !memcmp(&bound->tables, &payload->tables, sizeof(bound->tables));
	default:
		return true;
	}
}

int payload_hwpt(struct uiommu_context *context, struct payload *payload, struct fault_queue *queue, struct hwpt **out)
{
	return types[payload->type].make(context, payload, queue, out);
}

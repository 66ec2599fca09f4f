/* SPDX-License-Identifier: BSD-3-Clause */
/* Nested HWPTs: stages in front of a parent's space; and what a parent has for them all. */
#include <errno.h>
#include <uiommu/nested.h>

#include "iommu/hwpt.h"
#include "iommu/tables.h"
#include "iommu/viommu.h"
#include "util/rcu.h"
#include "util/util.h"

void nested_begin(struct hwpt *hwpt)
{
	struct hwpt *parent = hwpt->parent;

	pthread_mutex_lock(&parent->children_lock);
	cds_list_add_tail(&hwpt->sibling, &parent->children);
	pthread_mutex_unlock(&parent->children_lock);
}

int nested_begin_stages(struct hwpt *hwpt, const struct stages_config *config, struct hwpt **out)
{
	int error = stages_init(&hwpt->stages, config, &hwpt->space->areas, &hwpt->parent->cache);

	if (error) {
		hwpt_abort(hwpt);
		return error;
	}
	nested_begin(hwpt);
	*out = hwpt;
	return 0;
}

void nested_end(struct hwpt *hwpt)
{
	struct hwpt *parent = hwpt->parent;

	if (!hwpt->sibling.next)
		return; /* it has not begun */
	pthread_mutex_lock(&parent->children_lock);
	cds_list_del(&hwpt->sibling);
	pthread_mutex_unlock(&parent->children_lock);
	if (hwpt->tables)
		tables_end(hwpt->tables);
	else
		stages_fini(&hwpt->stages);
}

/* NULL: no such format. */
static const struct pgtable_format *format_of(uint32_t format)
{
	static const struct pgtable_format *const formats[] = {
		[UIOMMU_FORMAT_VTD_FIRST] = &pgtable_vtd_first,	    [UIOMMU_FORMAT_VTD_SECOND] = &pgtable_vtd_second,
		[UIOMMU_FORMAT_ARM_S1] = &pgtable_arm_s1,	    [UIOMMU_FORMAT_ARM_S2] = &pgtable_arm_s2,
		[UIOMMU_FORMAT_AMD_V1] = &pgtable_amd_v1,	    [UIOMMU_FORMAT_AMD_V2] = &pgtable_amd_v2,
		[UIOMMU_FORMAT_RISCV_FIRST] = &pgtable_riscv_first, [UIOMMU_FORMAT_RISCV_SECOND] = &pgtable_riscv_second,
	};

	return format < ARRAY_SIZE(formats) ? formats[format] : NULL;
}

int nested_page_table(const struct uiommu_page_table *table, unsigned int stage, const struct pgtable_format **format,
		      struct pgtable_config *config)
{
	*format = format_of(table->format);
	if (!*format || (*format)->stage != stage || table->reserved)
		return -EINVAL;
	*config = (struct pgtable_config){
		.base = {table->base[0], table->base[1]},
		.input_lg2 = {table->input_lg2[0], table->input_lg2[1]},
		.granule_lg2 = {table->granule_lg2[0], table->granule_lg2[1]},
		.levels = table->levels,
		.output_lg2 = table->output_lg2,
		.flags = table->flags,
		.attributes = table->attributes,
	};
	return 0;
}

int nested_make(struct hwpt *parent, struct fault_queue *queue, const struct uiommu_hwpt_nested *nested, struct hwpt **out)
{
	struct pgtable_config first, second;
	struct stages_config config = {.behind = hwpt_behind(parent)};
	struct hwpt *hwpt;
	int error = 0;

	if (nested->first.format) {
		error = nested_page_table(&nested->first, 1, &config.first_format, &first);
		config.first = &first;
	}
	if (nested->second.format && !error) {
		error = nested_page_table(&nested->second, 2, &config.second_format, &second);
		config.second = &second;
	}
	if (error || (!config.first && !config.second))
		return -EINVAL;
	hwpt = hwpt_alloc_nested(parent, queue, nested->flags);
	if (!hwpt)
		return -ENOMEM;
	return nested_begin_stages(hwpt, &config, out);
}

int nested_parent_get(struct uiommu_context *context, uint32_t id, struct hwpt **out)
{
	struct object *object = object_get(context, id, UIOMMU_OBJECT_NONE);

	if (!object)
		return -ENOENT;
	*out = object_hwpt(object);
	if (object->type == UIOMMU_OBJECT_HWPT_PAGING && (*out)->flags & UIOMMU_HWPT_NEST_PARENT)
		return 0;
	object_put(object);
	return -EINVAL;
}

int nested_alloc(struct uiommu_context *context, const struct nested_request *request, uint32_t *out_id)
{
	struct fault_queue *queue;
	struct hwpt *parent, *hwpt;
	int error = nested_parent_get(context, request->parent_id, &parent);

	if (error)
		return error;
	error = hwpt_queue_get(context, request->flags, request->fault_queue_id, &queue);
	if (!error)
		error = request->make(parent, queue, request->what, &hwpt);
	if (!error) {
		hwpt->viommu = request->viommu;
		if (hwpt->viommu)
			object_use(&hwpt->viommu->object);
		*out_id = hwpt->object.id;
		object_finalise(&hwpt->object);
	}
	if (queue)
		object_put(&queue->object);
	object_put(&parent->object);
	return error;
}

static int make_nested(struct hwpt *parent, struct fault_queue *queue, const void *what, struct hwpt **out)
{
	return nested_make(parent, queue, what, out);
}

int uiommu_hwpt_alloc_nested(struct uiommu_context *context, const struct uiommu_hwpt_nested *nested, uint32_t *out_id)
{
	return hwpt_alloc_of_viommu(context, NULL, nested, out_id);
}

int hwpt_alloc_of_viommu(struct uiommu_context *context, struct viommu *viommu, const struct uiommu_hwpt_nested *nested,
			 uint32_t *out_id)
{
	struct uiommu_hwpt_nested given;
	int error = copy_struct(&given, sizeof(given), sizeof(given), nested, nested->size);

	if (error)
		return error;
	if (given.flags & ~(uint32_t)(UIOMMU_HWPT_FAULT | UIOMMU_HWPT_PASID | UIOMMU_HWPT_STALL) ||
	    (given.flags & UIOMMU_HWPT_STALL && !(given.flags & UIOMMU_HWPT_FAULT)))
		return -EOPNOTSUPP;
	return nested_alloc(
		context, &(struct nested_request){viommu, given.parent_id, given.flags, given.fault_queue_id, make_nested, &given},
		out_id);
}

/* One page table: forget, wait for whoever found what is forgotten, and then for those who hold it; devices last. */
static void invalidate(struct hwpt *hwpt, const struct uiommu_invalidation *requests, size_t count)
{
	for (size_t i = 0; i < count; i++)
		stages_forget(&hwpt->stages, requests[i].start, requests[i].last, requests[i].flags & UIOMMU_INVALIDATE_LEAF);
	rcu_wait();
	flights_wait(&hwpt->stages.flights);
	ats_ask_invalidated(hwpt, requests, count);
}

/* The first child that is made after @last, inside a call of it. The order is that of the ids for as long as one lives. */
static struct hwpt *child_after(struct hwpt *parent, const struct hwpt *last)
{
	struct cds_list_head *place;
	struct hwpt *child = NULL;

	pthread_mutex_lock(&parent->children_lock);
	for (place = last ? last->sibling.next : parent->children.next; place != &parent->children && !child; place = place->next) {
		struct hwpt *next = cds_list_entry(place, struct hwpt, sibling);

		if (object_get(parent->object.context, next->object.id, UIOMMU_OBJECT_HWPT_NESTED))
			child = next;
	}
	pthread_mutex_unlock(&parent->children_lock);
	return child;
}

/* All of them at once, and only if somebody holds something, one after the other. */
void hwpt_forget_all(struct hwpt *hwpt)
{
	struct stages *own = hwpt_stages(hwpt);
	struct hwpt *child, *next;

	stages_cache_forget(&hwpt->cache);
	rcu_wait();
	if (inflight_quiet())
		return;
	if (own)
		flights_wait(&own->flights);
	for (child = child_after(hwpt, NULL); child; child = next) {
		if (child->tables)
			tables_wait(child->tables);
		else
			flights_wait(&child->stages.flights);
		next = child_after(hwpt, child);
		object_put(&child->object);
	}
}

/* A page table knows of addresses only. */
static uint32_t known_flags(const struct hwpt *hwpt)
{
	return hwpt->tables ? UINT32_MAX : (uint32_t)(UIOMMU_INVALIDATE_LEAF | UIOMMU_INVALIDATE_KEEP_ATC);
}

static int invalidate_child(struct hwpt *child, const struct uiommu_invalidation *requests, size_t count)
{
	struct uiommu_invalidation known[VIOMMU_REQUESTS_MAX];

	for (size_t i = 0; i < count; i++) {
		known[i] = requests[i];
		known[i].flags &= known_flags(child);
	}
	return uiommu_hwpt_invalidate(child->object.context, child->object.id, known, count);
}

int viommu_invalidate(struct viommu *viommu, const struct uiommu_invalidation *requests, size_t count)
{
	struct hwpt *child, *next;
	int error = 0;

	for (child = child_after(viommu->parent, NULL); child; child = next) {
		if (child->viommu == viommu && !error)
			error = invalidate_child(child, requests, count);
		next = child_after(viommu->parent, child);
		object_put(&child->object);
	}
	return error;
}

#define INVALIDATIONS                                                                                                              \
	((uint32_t)(UIOMMU_INVALIDATE_ENTRIES | UIOMMU_INVALIDATE_DEVICE | UIOMMU_INVALIDATE_PASID | UIOMMU_INVALIDATE_DOMAIN |    \
		    UIOMMU_INVALIDATE_ASID | UIOMMU_INVALIDATE_STAGE2 | UIOMMU_INVALIDATE_KEEP_ATC | UIOMMU_INVALIDATE_LEAF))

/* Any but @known. */
static bool has_flags(const struct uiommu_invalidation *requests, size_t count, uint32_t known)
{
	for (size_t i = 0; i < count; i++)
		if (requests[i].flags & ~known)
			return true;
	return false;
}

/* A parent: all that is nested on it. */
static void invalidate_all(struct hwpt *hwpt, const struct uiommu_invalidation *requests, size_t count)
{
	bool keep = count;

	for (size_t i = 0; i < count; i++)
		keep &= (requests[i].flags & UIOMMU_INVALIDATE_KEEP_ATC) != 0;
	hwpt_forget_all(hwpt);
	if (!keep)
		ats_ask_nested(hwpt);
}

static int invalidate_object(struct object *object, const struct uiommu_invalidation *requests, size_t count)
{
	const uint32_t keep = UIOMMU_INVALIDATE_KEEP_ATC;
	struct hwpt *hwpt = object_hwpt(object);

	if (object->type == UIOMMU_OBJECT_HWPT_NESTED && hwpt->tables)
		tables_invalidate(hwpt, requests, count);
	else if (object->type == UIOMMU_OBJECT_HWPT_NESTED && !has_flags(requests, count, keep | UIOMMU_INVALIDATE_LEAF))
		invalidate(hwpt, requests, count);
	else if (object->type == UIOMMU_OBJECT_HWPT_PAGING && hwpt->flags & UIOMMU_HWPT_NEST_PARENT &&
		 !has_flags(requests, count, keep))
		invalidate_all(hwpt, requests, count);
	else
		return -EINVAL;
	return 0;
}

int uiommu_hwpt_invalidate(struct uiommu_context *context, uint32_t id, const struct uiommu_invalidation *requests, size_t count)
{
	struct object *object;
	int error;

	for (size_t i = 0; i < count; i++)
		if (requests[i].start > requests[i].last || requests[i].flags & ~INVALIDATIONS || requests[i].reserved)
			return -EINVAL;
	if (thread_inside())
		return -EDEADLK;
	object = object_get(context, id, UIOMMU_OBJECT_NONE);
	if (!object)
		return -ENOENT;
	error = invalidate_object(object, requests, count);
	object_put(object);
	return error;
}

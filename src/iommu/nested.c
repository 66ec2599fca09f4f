/* SPDX-License-Identifier: BSD-3-Clause */
/* Nested HWPTs: stages in front of a parent's space; and what a parent has for them all. */
#include <errno.h>
#include <stdlib.h>
#include <uiommu/nested.h>

#include "iommu/hwpt.h"
#include "iommu/tables.h"
#include "util/rcu.h"
#include "util/util.h"

int nest_parent_begin(struct hwpt *hwpt, uint32_t iotlb_entries)
{
	uint32_t entries = iotlb_entries ? iotlb_entries : IOTLB_ENTRIES_DEFAULT;

	pthread_mutex_init(&hwpt->children_lock, NULL);
	CDS_INIT_LIST_HEAD(&hwpt->children);
	return iotlb_init(&hwpt->iotlb, entries == UIOMMU_IOTLB_NONE ? 0 : entries);
}

void nested_begin(struct hwpt *hwpt)
{
	struct hwpt *parent = hwpt->parent;

	pthread_mutex_lock(&parent->children_lock);
	cds_list_add_tail(&hwpt->sibling, &parent->children);
	parent->child_count++;
	pthread_mutex_unlock(&parent->children_lock);
}

void nested_end(struct hwpt *hwpt)
{
	struct hwpt *parent = hwpt->parent;

	if (!hwpt->sibling.next)
		return; /* it has not begun */
	pthread_mutex_lock(&parent->children_lock);
	cds_list_del(&hwpt->sibling);
	parent->child_count--;
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

/* Inside calls of the parent and of @queue. */
static int alloc_nested(struct hwpt *parent, struct fault_queue *queue, const struct uiommu_hwpt_nested *nested, uint32_t *out_id)
{
	struct pgtable_config first, second;
	struct stages_config config = {.first = NULL};
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
	error = stages_init(&hwpt->stages, &config, &parent->space->areas, &parent->iotlb);
	if (error) {
		hwpt_abort(hwpt);
		return error;
	}
	nested_begin(hwpt);
	*out_id = hwpt->object.id;
	object_finalise(&hwpt->object);
	return 0;
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

int uiommu_hwpt_alloc_nested(struct uiommu_context *context, const struct uiommu_hwpt_nested *nested, uint32_t *out_id)
{
	struct uiommu_hwpt_nested given;
	struct fault_queue *queue;
	struct hwpt *parent;
	int error = copy_struct(&given, sizeof(given), sizeof(given), nested, nested->size);

	if (error)
		return error;
	if (given.flags & ~(uint32_t)(UIOMMU_HWPT_FAULT | UIOMMU_HWPT_PASID))
		return -EOPNOTSUPP;
	error = nested_parent_get(context, given.parent_id, &parent);
	if (error)
		return error;
	error = hwpt_queue_get(context, given.flags, given.fault_queue_id, &queue);
	if (!error)
		error = alloc_nested(parent, queue, &given, out_id);
	if (queue)
		object_put(&queue->object);
	object_put(&parent->object);
	return error;
}

/* HWPTs whose caches are invalidated together; inside a call of each. */
struct member {
	struct hwpt *hwpt;
	unsigned int turned;
};

static void invalidate(struct member *members, unsigned int count, const struct uiommu_invalidation *requests, size_t request_count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct stages *stages = &members[i].hwpt->stages;

		if (members[i].hwpt->tables)
			continue;
		for (size_t j = 0; j < request_count; j++)
			stages_forget(stages, requests[j].start, requests[j].last);
		members[i].turned = stages_turn(stages);
	}
	rcu_wait();
	for (unsigned int i = 0; i < count; i++)
		if (members[i].hwpt->tables)
			tables_invalidate(members[i].hwpt, requests, request_count);
		else
			stages_drain(&members[i].hwpt->stages, members[i].turned);
}

/* All that are nested on @parent, in the order that everybody takes them in; NULL without memory. */
static struct member *children_of(struct hwpt *parent, unsigned int *count)
{
	struct member *members;
	struct hwpt *child;

	*count = 0;
	pthread_mutex_lock(&parent->children_lock);
	members = malloc((parent->child_count + 1) * sizeof(*members));
	if (members)
		cds_list_for_each_entry (child, &parent->children, sibling)
			if (object_get(parent->object.context, child->object.id, UIOMMU_OBJECT_HWPT_NESTED))
				members[(*count)++].hwpt = child;
	pthread_mutex_unlock(&parent->children_lock);
	return members;
}

static int invalidate_children(struct hwpt *parent)
{
	const struct uiommu_invalidation all = {.last = UINT64_MAX};
	unsigned int count;
	struct member *members = children_of(parent, &count);

	if (!members)
		return -ENOMEM;
	invalidate(members, count, &all, 1);
	for (unsigned int i = 0; i < count; i++)
		object_put(&members[i].hwpt->object);
	free(members);
	return 0;
}

#define INVALIDATIONS                                                                                                              \
	((uint32_t)(UIOMMU_INVALIDATE_ENTRIES | UIOMMU_INVALIDATE_DEVICE | UIOMMU_INVALIDATE_PASID | UIOMMU_INVALIDATE_DOMAIN |    \
		    UIOMMU_INVALIDATE_ASID))

static bool has_flags(const struct uiommu_invalidation *requests, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (requests[i].flags)
			return true;
	return false;
}

int uiommu_hwpt_invalidate(struct uiommu_context *context, uint32_t id, const struct uiommu_invalidation *requests, size_t count)
{
	struct object *object;
	struct hwpt *hwpt;
	int error = 0;

	for (size_t i = 0; i < count; i++)
		if (requests[i].start > requests[i].last || requests[i].flags & ~INVALIDATIONS || requests[i].reserved)
			return -EINVAL;
	if (thread_inside())
		return -EDEADLK;
	object = object_get(context, id, UIOMMU_OBJECT_NONE);
	if (!object)
		return -ENOENT;
	hwpt = object_hwpt(object);
	if (object->type == UIOMMU_OBJECT_HWPT_NESTED && (hwpt->tables || !has_flags(requests, count)))
		invalidate(&(struct member){.hwpt = hwpt}, 1, requests, count);
	else if (object->type == UIOMMU_OBJECT_HWPT_PAGING && hwpt->flags & UIOMMU_HWPT_NEST_PARENT && !has_flags(requests, count))
		error = invalidate_children(hwpt);
	else
		error = -EINVAL;
	object_put(object);
	return error;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A look at a translation, for debuggers: the stages of the attachment once more, which tell what they read and cache nothing. */
#include <errno.h>
#include <string.h>
#include <uiommu/walk.h>

#include "iommu/tables.h"
#include "memory/distant.h"
#include "memory/process.h"
#include "util/rcu.h"
#include "util/util.h"

struct look {
	struct pgtable_trace trace;
	struct uiommu_walk *walk;
	uint32_t room; /* in walk->steps */
	struct stages_cache nothing; /* nothing is cached in it */
	uint64_t serial; /* of all it reads (memory/distant.h) */
};

static void note(struct pgtable_trace *trace, const struct pgtable_seen *seen)
{
	struct look *look = container_of(trace, struct look, trace);
	struct uiommu_walk *walk = look->walk;
	struct uiommu_walk_step *step = walk->step_count < look->room ? &walk->steps[walk->step_count] : NULL;

	walk->step_count++;
	if (!step)
		return;
	*step = (struct uiommu_walk_step){
		.address = seen->address,
		.words = (uint8_t)seen->count,
		.structure = seen->structure,
		.stage = seen->stage,
		.level = seen->level,
	};
	memcpy(step->entry, seen->words, seen->count * sizeof(*seen->words));
}

/* What stands at the end. */
static void look_at_space(const struct space *space, bool staged, struct uiommu_walk *walk)
{
	const struct area *area = areas_find(&space->areas, walk->output);
	unsigned int permitted = 0;

	if (area) {
		walk->flags |= UIOMMU_WALK_AREA;
		permitted = area->access;
	} else if (space->process) {
		walk->flags |= UIOMMU_WALK_PROCESS;
		permitted = process_access(space->process);
	} else {
		walk->fault.reason = UIOMMU_FAULT_UNMAPPED;
	}
	walk->permitted &= permitted;
	if (!walk->fault.reason && walk->access & ~walk->permitted & (UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC))
		walk->fault.reason = UIOMMU_FAULT_PERMISSION;
	if (walk->fault.reason && staged) {
		walk->fault.stage = 2;
		walk->fault.flags = UIOMMU_FAULT_PARENT;
	}
}

static void look_through(struct look *look, struct stages_config *config, const struct space *space)
{
	struct uiommu_walk *walk = look->walk;
	unsigned int user = walk->access & UIOMMU_PRIVILEGED ? 0 : PGTABLE_USER;
	struct stages_result found;
	struct stages stages;

	config->trace = &look->trace;
	walk->stage1 = config->first ? config->first_format->name : NULL;
	walk->stage2 = config->second ? config->second_format->name : NULL;
	if (stages_init(&stages, config, &space->areas, &look->nothing)) {
		walk->fault.reason = UIOMMU_FAULT_RESERVED;
		walk->fault.structure = UIOMMU_STRUCTURE_PASID;
		return;
	}
	stages.serial = look->serial;
	stages_walk(&stages, walk->address, (walk->access & ~(unsigned int)UIOMMU_PRIVILEGED) | user | PGTABLE_QUIET, &found);
	stages_fini(&stages);
	if (found.reason) {
		walk->fault.reason = found.reason;
		walk->fault.stage = found.stage;
		walk->fault.level = found.level;
		walk->fault.table = found.table;
		walk->fault.flags = found.flags;
		return;
	}
	walk->output = found.address;
	walk->page_lg2 = found.page_lg2;
	walk->permitted &= found.access;
	look_at_space(space, config->first || config->second, walk);
}

static void look_in_tables(struct look *look, struct hwpt *hwpt, const struct device *device)
{
	struct uiommu_walk *walk = look->walk;
	struct stages_config config;
	struct tables_look seen;

	if (!tables_look(hwpt, device, walk->pasid, &look->trace, &seen)) {
		walk->guest_pasid = seen.pasid;
		walk->fault.reason = seen.fault.reason;
		walk->fault.structure = seen.fault.structure;
		walk->fault.stage = seen.fault.stage;
		walk->fault.level = seen.fault.level;
		walk->fault.table = seen.fault.table;
		walk->fault.flags = seen.fault.flags;
		return;
	}
	walk->guest_pasid = seen.pasid;
	walk->domain = seen.entry.domain;
	walk->permitted &= ~(uint32_t)seen.entry.denied;
	walk->flags |= seen.entry.mode == TABLES_PASS ? UIOMMU_WALK_PASS : 0;
	if (seen.entry.mode == TABLES_BLOCK) {
		walk->fault.reason = UIOMMU_FAULT_BLOCKED;
		walk->fault.structure = UIOMMU_STRUCTURE_PASID;
		return;
	}
	config = tables_stages(hwpt, &seen.entry);
	look_through(look, &config, hwpt->space);
}

static void look_at_hwpt(struct look *look, struct hwpt *hwpt, const struct device *device)
{
	const struct stages *own = &hwpt->stages;
	struct stages_config config = {.behind = hwpt->parent ? hwpt_behind(hwpt->parent) : NULL};

	if (hwpt->tables) {
		look_in_tables(look, hwpt, device);
		return;
	}
	if (hwpt->parent && own->first.format) {
		config.first_format = own->first.format;
		config.first = &own->first.config;
	}
	if (hwpt->parent && own->second.format) {
		config.second_format = own->second.format;
		config.second = &own->second.config;
	}
	look_through(look, &config, hwpt->space);
}

static void look_in_cache(const struct stages *stages, struct uiommu_walk *walk)
{
	struct iotlb_hit hit;

	if (!stages || !iotlb_find(&stages->cached, walk->address, !(walk->access & UIOMMU_PRIVILEGED), &hit))
		return;
	walk->flags |= UIOMMU_WALK_CACHED;
	walk->cached = hit.oa;
	walk->cached_access = hit.access;
}

/* Under the device's lock: what is attached stays. */
static void look_at_device(struct look *look, struct device *device)
{
	const struct attach_table *table = &device->data.table;
	struct attachment *found = attach_table_find(table, look->walk->pasid), *owner = table->tables ? table->tables : found;
	struct uiommu_walk *walk = look->walk;
	struct hwpt *hwpt;

	if (!owner) {
		walk->fault.reason = UIOMMU_FAULT_NOT_ATTACHED;
		return;
	}
	hwpt = container_of(owner, struct attach, data)->hwpt;
	walk->hwpt_id = hwpt->object.id;
	walk->guest_pasid = owner == found ? found->reported : walk->pasid;
	walk->permitted = UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC;
	rcu_enter();
	if (found) {
		walk->flags |= table->tables ? UIOMMU_WALK_DECODED : 0;
		walk->permitted &= found->access;
		look_in_cache(found->stages, walk);
	}
	look_at_hwpt(look, hwpt, device);
	rcu_leave();
}

/* The answer, as far as it is known before anything has been looked at. */
static struct uiommu_walk blank(const struct uiommu_walk *given)
{
	return (struct uiommu_walk){
		.size = given->size,
		.device_id = given->device_id,
		.pasid = given->pasid,
		.access = given->access,
		.address = given->address,
		.steps = given->steps,
		.fault = {.address = given->address,
			  .device_id = given->device_id,
			  .pasid = given->pasid,
			  .access = (uint8_t)given->access},
	};
}

/* Until nothing is to be fetched any more. */
static void look_until(struct look *look, struct device *device)
{
	struct thread_state *self = thread_self();

	distant_begin(self);
	do {
		*look->walk = blank(look->walk);
		pthread_mutex_lock(&device->lock);
		look_at_device(look, device);
		pthread_mutex_unlock(&device->lock);
	} while (look->walk->fault.reason == DISTANT_FIRST && distant_fetch(self));
	distant_end(self);
	if (look->walk->fault.reason == DISTANT_FIRST)
		look->walk->fault.reason = UIOMMU_FAULT_MEMORY;
}

int uiommu_walk(struct uiommu_context *context, struct uiommu_walk *walk)
{
	struct look look = {.trace.seen = note, .serial = distant_serial()};
	struct uiommu_walk given;
	struct object *object;
	int error = copy_struct(&given, sizeof(given), sizeof(given), walk, walk->size);

	if (error)
		return error;
	if (given.access & ~(uint32_t)(UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC | UIOMMU_PRIVILEGED))
		return -EINVAL;
	object = object_get(context, given.device_id, UIOMMU_OBJECT_DEVICE);
	if (!object)
		return -ENOENT;
	look.walk = &given;
	look.room = given.steps ? given.step_count : 0;
	error = stages_cache_init(&look.nothing, 0, 0);
	if (!error) {
		look_until(&look, container_of(object, struct device, object));
		stages_cache_fini(&look.nothing);
		memcpy(walk, &given, min_u64(walk->size, sizeof(given)));
	}
	object_put(object);
	return error;
}

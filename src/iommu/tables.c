/* SPDX-License-Identifier: BSD-3-Clause */
#include "iommu/tables.h"

#include <errno.h>
#include <stdlib.h>

#include "memory/distant.h"
#include "translate/absent.h"
#include "translate/piece.h"
#include "util/rcu.h"
#include "util/util.h"

static struct device *device_of(struct uiommu_device *data)
{
	return container_of(data, struct device, data);
}

/* What is looked up, at one moment. */
struct view {
	struct tables tables;
	bool bypass;
	uint64_t changes; /* how often entries have been invalidated */
};

static struct view view_of(struct guest_tables *tables)
{
	struct view view;

	pthread_mutex_lock(&tables->entries_lock);
	view = (struct view){.tables = tables->tables, .bypass = tables->bypass, .changes = tables->changes};
	pthread_mutex_unlock(&tables->entries_lock);
	return view;
}

/* Without tables. */
static bool pass(uint32_t pasid, struct tables_entry *entry)
{
	*entry = (struct tables_entry){
		.mode = pasid == UIOMMU_NO_PASID ? TABLES_PASS : TABLES_BLOCK, .asid = UIOMMU_NO_PASID, .pasid = UIOMMU_NO_PASID};
	return true;
}

/* In a read section: what the guest's tables say. */
static bool decode(const struct guest_tables *tables, const struct view *view, const struct device *device, uint32_t pasid,
		   struct tables_entry *entry, struct tables_fault *fault)
{
	struct tables_device found;

	*fault = (struct tables_fault){.reason = UIOMMU_FAULT_NONE};
	if (!tables->by_device)
		return tables->device.format->pasid(&tables->device, pasid, entry, fault);
	if (view->bypass)
		return pass(pasid, entry);
	return view->tables.format->device(&view->tables, device->source_id, &found, fault) &&
	       found.format->pasid(&found, pasid, entry, fault);
}

/* What the guest calls it; UIOMMU_NO_PASID: nothing. */
static uint32_t guest_pasid(const struct guest_tables *tables, const struct device *device, uint32_t pasid)
{
	return tables->guest_pasid && pasid != UIOMMU_NO_PASID ? tables->guest_pasid(tables->opaque, device->object.id, pasid)
							       : pasid;
}

static void entry_fault(struct uiommu_fault *fault, unsigned int reason)
{
	fault->reason = (uint8_t)reason;
	fault->structure = UIOMMU_STRUCTURE_PASID;
}

struct stages_config tables_stages(const struct hwpt *hwpt, const struct tables_entry *entry)
{
	return (struct stages_config){
		.first_format = entry->stage1_format,
		.first = entry->mode == TABLES_TRANSLATE && entry->has_stage1 ? &entry->stage1 : NULL,
		.second_format = entry->stage2_format,
		.second = entry->mode == TABLES_TRANSLATE && entry->has_stage2 ? &entry->stage2 : NULL,
		.behind = hwpt_behind(hwpt->parent),
	};
}

/* No fault of its stages is recorded. */
static bool is_quiet(const struct tables_entry *entry)
{
	return entry->flags & TABLES_NO_FAULTS || (entry->flags & TABLES_NO_FAULTS_1 && !entry->has_stage2);
}

/* Stages for what @entry says, or NULL with @fault's reason. */
static struct stages *stages_for(struct hwpt *hwpt, const struct tables_entry *entry, struct uiommu_fault *fault)
{
	const struct stages_config config = tables_stages(hwpt, entry);
	struct stages *stages = calloc(1, sizeof(*stages));

	if (!stages) {
		entry_fault(fault, UIOMMU_FAULT_MEMORY);
		return NULL;
	}
	if (stages_init(stages, &config, &hwpt->space->areas, &hwpt->parent->cache)) {
		entry_fault(fault, UIOMMU_FAULT_RESERVED);
		free(stages);
		return NULL;
	}
	return stages;
}

/* What the guest calls its PASID, if the guest's entry says that. */
static uint32_t number_of(const struct attach *attach)
{
	return attach->number == UIOMMU_NO_PASID ? attach->data.pasid : attach->number;
}

static struct cds_list_head *bucket_of(struct guest_tables *tables, uint32_t pasid)
{
	return &tables->by_pasid[pasid % TABLES_BUCKETS];
}

/* True, and it is in the lists, if no entry has been invalidated since @before. */
static bool list_entry(struct guest_tables *tables, struct attach *attach, uint64_t before)
{
	bool current;

	pthread_mutex_lock(&tables->entries_lock);
	current = tables->changes == before;
	if (current) {
		cds_list_add_tail(&attach->entry, &tables->entries);
		cds_list_add_tail(&attach->of_pasid, bucket_of(tables, number_of(attach)));
	}
	pthread_mutex_unlock(&tables->entries_lock);
	return current;
}

/*
 * Under the device's lock. What @entry says, which was read after @before, becomes an attachment; or nothing does, because it may
 * be out of date. False: @fault.
 */
static bool publish(struct device *device, uint32_t pasid, struct hwpt *hwpt, const struct tables_entry *entry, uint64_t before,
		    struct uiommu_fault *fault)
{
	unsigned int privileged = entry->flags & TABLES_PRIVILEGED ? UIOMMU_PRIVILEGED : 0;
	unsigned int access = ((UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC) & ~(unsigned int)entry->denied) | privileged;
	struct stages *stages = stages_for(hwpt, entry, fault);
	struct attach *attach;

	if (!stages)
		return false;
	attach = attach_table_prepare(&device->table, pasid) ? NULL : attach_entry(device, pasid, hwpt, access, stages);
	if (!attach) {
		entry_fault(fault, UIOMMU_FAULT_MEMORY);
		stages_fini(stages);
		free(stages);
		return false;
	}
	attach->data.quiet = is_quiet(entry);
	/* Where translated addresses are those before stage 2, ATS is not offered. */
	/* A guest's queue refuses by itself, and records that. */
	attach->data.asks = entry->flags & (TABLES_PRI | TABLES_STALL | TABLES_STALL_2) || (hwpt->sink && hwpt->sink->page_request);
	attach->data.stalls = entry->flags & (TABLES_STALL | TABLES_STALL_2);
	attach->may_keep = entry->flags & TABLES_ATS && !(entry->flags & TABLES_T2GPA);
	attach->flags = entry->flags;
	attach->domain = entry->domain;
	attach->asid = entry->asid;
	attach->number = entry->pasid;
	/* In this order: what is cached through it is forgotten with that of the others. Whoever takes it out
	 * waits for our lock. */
	if (list_entry(hwpt->tables, attach, before)) {
		device_set(device, pasid, &attach->data);
		ats_attached(attach);
	} else {
		attach->data.draining = true; /* nobody has seen it: there is nothing to wait for */
		attach_free(attach);
	}
	return true;
}

/* In the read section in which @why was met. True: look again. */
static bool ask(struct hwpt *hwpt, const struct tables_fault *why, struct uiommu_fault *fault, struct demand_wait *wait)
{
	int error = 0;

	if (wait == &absent_refused)
		error = -ECANCELED;
	else if (wait)
		error = absent_ask(&hwpt->space->areas, why->absent, wait);
	fault->reason = error ? UIOMMU_FAULT_MEMORY : UIOMMU_FAULT_ABSENT;
	return error == -EAGAIN;
}

/*
 * Under the device's lock, with its tables attached. False: @fault, which nobody is told if *@quiet; ABSENT: @wait, if there is
 * one, has asked.
 */
static bool resolve(struct device *device, uint32_t pasid, struct hwpt *hwpt, struct uiommu_fault *fault, bool *quiet,
		    struct demand_wait *wait)
{
	struct view view = view_of(hwpt->tables);
	struct tables_entry entry;
	uint32_t guest = guest_pasid(hwpt->tables, device, pasid);
	struct tables_fault why;
	bool found, again = false;

	*quiet = guest == UIOMMU_NO_PASID && pasid != guest; /* the guest knows of no such PASID */
	if (*quiet) {
		entry_fault(fault, UIOMMU_FAULT_UNMAPPED);
		return false;
	}
	if (!pasid || (pasid != UIOMMU_NO_PASID && pasid > UIOMMU_PASID_LAST)) {
		fault->reason = pasid ? UIOMMU_FAULT_RANGE : UIOMMU_FAULT_BLOCKED;
		fault->structure = pasid ? UIOMMU_STRUCTURE_DEVICE_DIR : UIOMMU_STRUCTURE_DEVICE;
		fault->flags = pasid ? 0 : UIOMMU_FAULT_VALUE;
		return false;
	}
	rcu_enter();
	distant_keep(&hwpt->tables->serial, &view.changes);
	found = decode(hwpt->tables, &view, device, guest, &entry, &why);
	fault->reason = found ? UIOMMU_FAULT_NONE : why.reason;
	if (!found && why.is_absent)
		again = ask(hwpt, &why, fault, wait);
	rcu_leave();
	if (again)
		return true;
	if (!found) {
		fault->structure = why.structure;
		fault->stage = why.stage;
		fault->level = why.level;
		fault->table = why.table;
		fault->flags = why.flags;
		*quiet = why.quiet || fault->reason == UIOMMU_FAULT_ABSENT || fault->reason == DISTANT_FIRST;
		return false;
	}
	if (entry.mode == TABLES_BLOCK) {
		entry_fault(fault, UIOMMU_FAULT_BLOCKED);
		*quiet = true;
		return false;
	}
	return publish(device, pasid, hwpt, &entry, view.changes, fault);
}

/* The table of a PASID table's own stage 2 is looked through as the rest is. */
static int trace_device(struct tables_device *device, struct pgtable_trace *trace)
{
	const struct pgtable before = device->stage2;

	device->memory.trace = trace;
	return device->has_stage2 ? pgtable_init(&device->stage2, before.format, &before.config, &device->memory) : 0;
}

bool tables_look(struct hwpt *hwpt, const struct device *device, uint32_t pasid, struct pgtable_trace *trace,
		 struct tables_look *look)
{
	struct view view = view_of(hwpt->tables);
	struct guest_tables tables = {.by_device = hwpt->tables->by_device, .device = hwpt->tables->device};
	int error = tables.by_device ? 0 : trace_device(&tables.device, trace);

	view.tables.memory.trace = trace;
	look->pasid = guest_pasid(hwpt->tables, device, pasid);
	look->fault = (struct tables_fault){.reason = UIOMMU_FAULT_UNMAPPED, .structure = UIOMMU_STRUCTURE_PASID};
	if (error || (look->pasid == UIOMMU_NO_PASID && pasid != UIOMMU_NO_PASID))
		return false;
	return decode(&tables, &view, device, look->pasid, &look->entry, &look->fault);
}

bool tables_bind(struct device *device, uint32_t pasid)
{
	struct uiommu_fault fault = {.pasid = pasid};
	struct attachment *tables;
	bool found, quiet;

	pthread_mutex_lock(&device->lock);
	tables = device->table.tables;
	found = tables && !tables->draining;
	if (found && !attach_table_find(&device->table, pasid))
		found = resolve(device, pasid, container_of(tables, struct attach, data)->hwpt, &fault, &quiet, NULL);
	pthread_mutex_unlock(&device->lock);
	return found;
}

/* The device's tables have been entered. */
static void tell(struct uiommu_device *data, struct attachment *tables, const struct uiommu_fault *fault)
{
	counter_add(thread_self(), &counters_of(thread_self(), tables)->faults, 1);
	if (tables->sink)
		tables->sink->event(tables->sink, fault);
	else
		data->report(data, fault);
}

bool tables_resolve(struct uiommu_device *data, uint32_t pasid, struct uiommu_fault *fault, struct demand_wait *wait)
{
	struct device *device = device_of(data);
	struct inflight_slot *slot = NULL;
	struct attachment *tables;
	bool found = true, quiet = true;

	pthread_mutex_lock(&device->lock);
	tables = rcu_read(data->table.tables);
	if (attach_table_find(&data->table, pasid)) {
		tables = NULL; /* it has come meanwhile, or taken the place of the tables */
	} else if (!tables || tables->draining) {
		fault->reason = tables ? UIOMMU_FAULT_DRAINING : UIOMMU_FAULT_NOT_ATTACHED;
		found = false;
		if (tables) /* the last counters are everybody's */
			__atomic_fetch_add(&tables->counters[COUNTER_SHARDS - 1].discarded, 1, __ATOMIC_RELAXED);
	} else {
		found = resolve(device, pasid, container_of(tables, struct attach, data)->hwpt, fault, &quiet, wait);
		slot = inflight_enter(thread_self(), &tables->drain);
	}
	pthread_mutex_unlock(&device->lock);
	if (!found && !quiet)
		tell(data, tables, fault);
	if (slot)
		inflight_leave(slot);
	return found;
}

static bool has_pasid(const struct attach *attach, uint32_t pasid)
{
	return (pasid == UIOMMU_NO_PASID ? attach->data.pasid : number_of(attach)) == pasid;
}

bool tables_match(const struct attach *attach, const struct uiommu_invalidation *request)
{
	uint32_t flags = request->flags;

	return !((flags & UIOMMU_INVALIDATE_DEVICE && attach->data.device_id != request->device_id) ||
		 (flags & UIOMMU_INVALIDATE_PASID && !has_pasid(attach, request->pasid)) ||
		 (flags & UIOMMU_INVALIDATE_DOMAIN && attach->domain != request->domain) ||
		 (flags & UIOMMU_INVALIDATE_ASID && attach->asid != request->asid));
}

/* Lists are walked by node: a list's head is at no place where an attach could be. */
static struct attach *entry_of(struct cds_list_head *node)
{
	return container_of(node, struct attach, entry);
}

typedef void found_fn(struct attach *attach, const struct uiommu_invalidation *request, struct cds_list_head *list);

/* Under the lock: call @found, which may take it out of the lists, for every entry that @request is about. */
static void for_matches(struct guest_tables *tables, const struct uiommu_invalidation *request, found_fn *found,
			struct cds_list_head *list)
{
	struct cds_list_head *node, *next;

	if (request->flags & UIOMMU_INVALIDATE_PASID && request->pasid != UIOMMU_NO_PASID) {
		cds_list_for_each_safe (node, next, bucket_of(tables, request->pasid))
			if (tables_match(container_of(node, struct attach, of_pasid), request))
				found(container_of(node, struct attach, of_pasid), request, list);
		return;
	}
	cds_list_for_each_safe (node, next, &tables->entries)
		if (tables_match(entry_of(node), request))
			found(entry_of(node), request, list);
}

static void take(struct attach *attach, const struct uiommu_invalidation *request, struct cds_list_head *taken)
{
	(void)request;
	cds_list_move(&attach->entry, taken);
	cds_list_del(&attach->of_pasid);
}

/* Every entry that @request is about and that goes with it leaves the lists for @gone, and the device's table. */
static void take_entries(struct guest_tables *tables, const struct uiommu_invalidation *request, struct cds_list_head *gone)
{
	struct cds_list_head *node;
	CDS_LIST_HEAD(taken);

	pthread_mutex_lock(&tables->entries_lock);
	tables->changes++;
	for_matches(tables, request, take, &taken);
	pthread_mutex_unlock(&tables->entries_lock);
	cds_list_for_each (node, &taken) {
		struct attach *attach = entry_of(node);

		attach_watch(attach);
		__atomic_store_n(&attach->data.open, 0, __ATOMIC_RELAXED);
		pthread_mutex_lock(&attach->device->lock);
		/* It may have been replaced, with its tables. */
		if (attach_table_find(&attach->device->table, attach->data.pasid) == &attach->data)
			device_set(attach->device, attach->data.pasid, NULL);
		pthread_mutex_unlock(&attach->device->lock);
	}
	cds_list_splice(&taken, gone);
}

static void forget_of(struct attach *attach, const struct uiommu_invalidation *request, struct cds_list_head *list)
{
	(void)list;
	if (request->flags & UIOMMU_INVALIDATE_STAGE2 && attach->stages->first.format)
		stages_forget(attach->stages, 0, UINT64_MAX, false);
	else
		stages_forget(attach->stages, request->start, request->last, request->flags & UIOMMU_INVALIDATE_LEAF);
}

/* What they have cached of page tables. */
static void forget(struct guest_tables *tables, const struct uiommu_invalidation *request)
{
	pthread_mutex_lock(&tables->entries_lock);
	if (request->flags & UIOMMU_INVALIDATE_STAGE2)
		tables->changes++; /* tables may lie behind it */
	for_matches(tables, request, forget_of, NULL);
	pthread_mutex_unlock(&tables->entries_lock);
}

/* Those that stay: whoever comes after the grace period enters the other half. */
static void turn(struct guest_tables *tables, struct cds_list_head *stay)
{
	struct cds_list_head *node;

	pthread_mutex_lock(&tables->entries_lock);
	cds_list_splice(&tables->entries, stay);
	CDS_INIT_LIST_HEAD(&tables->entries);
	pthread_mutex_unlock(&tables->entries_lock);
	cds_list_for_each (node, stay)
		entry_of(node)->turned = flights_turn(&entry_of(node)->stages->flights);
}

/* After a grace period. */
static void drain(struct guest_tables *tables, struct cds_list_head *stay)
{
	struct cds_list_head *node;

	cds_list_for_each (node, stay)
		flights_drain(&entry_of(node)->stages->flights, entry_of(node)->turned);
	pthread_mutex_lock(&tables->entries_lock);
	cds_list_splice(stay, &tables->entries);
	pthread_mutex_unlock(&tables->entries_lock);
}

/* Wait for those who hold something through an entry that stays. */
static void wait_for_holders(struct guest_tables *tables)
{
	CDS_LIST_HEAD(stay);

	if (inflight_quiet())
		return;
	turn(tables, &stay);
	rcu_wait();
	drain(tables, &stay);
}

void tables_wait(struct guest_tables *tables)
{
	pthread_mutex_lock(&tables->drain_lock);
	wait_for_holders(tables);
	pthread_mutex_unlock(&tables->drain_lock);
}

/* What was met of those that go, ATTACH_ACCESSED and ATTACH_ASKED. */
static unsigned int invalidate(struct hwpt *hwpt, const struct uiommu_invalidation *requests, size_t count)
{
	struct guest_tables *tables = hwpt->tables;
	struct cds_list_head *node, *next;
	CDS_LIST_HEAD(gone);
	unsigned int met = 0;

	pthread_mutex_lock(&tables->drain_lock);
	for (size_t i = 0; i < count; i++)
		if (requests[i].flags & UIOMMU_INVALIDATE_ENTRIES)
			take_entries(tables, &requests[i], &gone);
		else
			forget(tables, &requests[i]);
	rcu_wait();
	wait_for_holders(tables);
	pthread_mutex_unlock(&tables->drain_lock);
	ats_ask_invalidated(hwpt, requests, count);
	cds_list_for_each_safe (node, next, &gone)
		met |= attach_leave(entry_of(node));
	return met;
}

void tables_set_root(struct hwpt *hwpt, uint64_t base, unsigned int mode, bool bypass)
{
	struct guest_tables *tables = hwpt->tables;

	pthread_mutex_lock(&tables->entries_lock);
	tables->tables.config.base = base;
	tables->tables.config.mode = (uint8_t)mode;
	tables->bypass = bypass;
	tables->changes++; /* what is being decoded is looked up again */
	pthread_mutex_unlock(&tables->entries_lock);
}

void tables_invalidate(struct hwpt *hwpt, const struct uiommu_invalidation *requests, size_t count)
{
	invalidate(hwpt, requests, count);
}

unsigned int tables_leave(struct hwpt *hwpt, struct device *device)
{
	const struct uiommu_invalidation all = {
		.last = UINT64_MAX,
		.flags = UIOMMU_INVALIDATE_ENTRIES | UIOMMU_INVALIDATE_DEVICE,
		.device_id = device->object.id,
	};

	/* Who has seen that it is not draining is done with the device's lock. */
	pthread_mutex_lock(&device->lock);
	pthread_mutex_unlock(&device->lock);
	return invalidate(hwpt, &all, 1);
}

static struct guest_tables *tables_new(void)
{
	struct guest_tables *tables = calloc(1, sizeof(*tables));

	if (!tables)
		return NULL;
	tables->serial = distant_serial();
	pthread_mutex_init(&tables->entries_lock, NULL);
	pthread_mutex_init(&tables->drain_lock, NULL);
	CDS_INIT_LIST_HEAD(&tables->entries);
	for (unsigned int i = 0; i < TABLES_BUCKETS; i++)
		CDS_INIT_LIST_HEAD(&tables->by_pasid[i]);
	return tables;
}

void tables_end(struct guest_tables *tables)
{
	pthread_mutex_destroy(&tables->drain_lock);
	pthread_mutex_destroy(&tables->entries_lock);
	free(tables);
}

static const struct tables_format *format_of(uint32_t tables)
{
	static const struct tables_format *const formats[] = {
		[UIOMMU_TABLES_VTD] = &tables_vtd,
		[UIOMMU_TABLES_SMMUV3] = &tables_smmuv3,
		[UIOMMU_TABLES_AMD] = &tables_amd,
		[UIOMMU_TABLES_RISCV] = &tables_riscv,
	};

	return tables < ARRAY_SIZE(formats) ? formats[tables] : NULL;
}

static int set_device_table(struct guest_tables *tables, const struct uiommu_hwpt_tables *given)
{
	tables->by_device = true;
	tables->tables.config = (struct tables_config){
		.base = given->base,
		.mode = given->mode,
		.size_lg2 = given->size_lg2,
		.split = given->split,
		.output_lg2 = given->output_lg2,
		.entries = given->entries,
		.flags = given->capabilities,
	};
	return tables->tables.format->check(&tables->tables);
}

static int set_pasid_table(struct guest_tables *tables, const struct uiommu_hwpt_tables *given)
{
	const struct pgtable_format *format;
	struct pgtable_config config;
	int error = 0;

	if (given->size_lg2 > UIOMMU_PASID_BITS || given->output_lg2 > 56 ||
	    !(tables->tables.format->pasid_modes >> min_u64(given->mode, 31) & 1))
		return -EINVAL;
	tables->device = (struct tables_device){
		.format = tables->tables.format,
		.mode = TABLES_TRANSLATE,
		.flags = TABLES_PASIDS | TABLES_ATS | TABLES_PRI,
		.domain = given->domain,
		.rid_pasid = given->rid_pasid,
		.has_pasid_table = true,
		.pasid_table = given->base,
		.pasid_mode = given->mode,
		.pasid_bits = given->size_lg2,
		.output_lg2 = given->output_lg2,
		.capabilities = given->capabilities,
		.memory = tables->tables.memory,
		.extra = {given->extra[0], given->extra[1]},
		.has_stage2 = given->second.format != UIOMMU_FORMAT_NONE,
	};
	if (tables->device.has_stage2) {
		error = nested_page_table(&given->second, 2, &format, &config);
		if (!error)
			error = pgtable_init(&tables->device.stage2, format, &config, &tables->device.memory);
	}
	return error;
}

int tables_make(struct hwpt *parent, struct fault_queue *queue, const struct uiommu_hwpt_tables *given, struct hwpt **out)
{
	struct guest_tables *tables = tables_new();
	struct hwpt *hwpt;
	int error;

	if (!tables)
		return -ENOMEM;
	tables->tables.format = format_of(given->tables);
	tables->tables.memory = (struct pgtable_memory){.areas = &parent->space->areas, .stage2 = hwpt_behind(parent)};
	error = given->structure == UIOMMU_STRUCTURE_DEVICE ? set_device_table(tables, given) : set_pasid_table(tables, given);
	hwpt = error ? NULL : hwpt_alloc_nested(parent, queue, given->flags);
	if (!hwpt) {
		tables_end(tables);
		return error ? error : -ENOMEM;
	}
	hwpt->tables = tables;
	nested_begin(hwpt);
	*out = hwpt;
	return 0;
}

int tables_check(const struct uiommu_hwpt_tables *given)
{
	if (given->flags & ~(uint32_t)UIOMMU_HWPT_FAULT)
		return -EOPNOTSUPP;
	return !format_of(given->tables) || given->reserved ||
			       (given->structure != UIOMMU_STRUCTURE_DEVICE && given->structure != UIOMMU_STRUCTURE_PASID)
		       ? -EINVAL
		       : 0;
}

static int make_tables(struct hwpt *parent, struct fault_queue *queue, const void *what, struct hwpt **out)
{
	return tables_make(parent, queue, what, out);
}

int uiommu_hwpt_alloc_tables(struct uiommu_context *context, const struct uiommu_hwpt_tables *tables, uint32_t *out_id)
{
	struct uiommu_hwpt_tables given;
	int error = copy_struct(&given, sizeof(given), sizeof(given), tables, tables->size);

	if (!error)
		error = tables_check(&given);
	if (error)
		return error;
	return nested_alloc(context,
			    &(struct nested_request){NULL, given.parent_id, given.flags, given.fault_queue_id, make_tables, &given},
			    out_id);
}

/* --- an entry in hand --- */

/* With PASID: the page table of requests without PASID, or of PASID 0. */
static int page_table_of(struct hwpt *parent, struct fault_queue *queue, const struct tables_device *device, uint32_t flags,
			 struct hwpt **out)
{
	struct tables_entry entry;
	struct tables_fault fault;
	struct stages_config config;
	struct thread_state *self = thread_self();
	struct hwpt *hwpt;
	bool found;

	distant_begin(self);
	do {
		rcu_enter();
		fault = (struct tables_fault){.reason = UIOMMU_FAULT_NONE};
		found = device->format->pasid(device, UIOMMU_NO_PASID, &entry, &fault);
		if (fault.reason != DISTANT_FIRST && (!found || !entry.has_stage1))
			found = device->format->pasid(device, 0, &entry, &fault);
		rcu_leave();
	} while (!found && fault.reason == DISTANT_FIRST && distant_fetch(self));
	distant_end(self);
	if (!found || !entry.has_stage1)
		return -EINVAL;
	hwpt = hwpt_alloc_nested(parent, queue, flags);
	if (!hwpt)
		return -ENOMEM;
	config = tables_stages(hwpt, &entry);
	hwpt->quiet = is_quiet(&entry);
	return nested_begin_stages(hwpt, &config, out);
}

static int tables_of(struct hwpt *parent, struct fault_queue *queue, const struct tables_device *device, uint32_t flags,
		     struct hwpt **out)
{
	struct guest_tables *tables = tables_new();
	struct hwpt *hwpt = tables ? hwpt_alloc_nested(parent, queue, flags) : NULL;

	if (!hwpt) {
		if (tables)
			tables_end(tables);
		return -ENOMEM;
	}
	tables->tables.format = device->format;
	tables->tables.memory = device->memory;
	tables->device = *device;
	hwpt->tables = tables;
	nested_begin(hwpt);
	*out = hwpt;
	return 0;
}

static int make_given(struct hwpt *parent, struct fault_queue *queue, const void *what, struct hwpt **out)
{
	const struct tables_given *given = what;
	const struct tables tables = {
		.format = format_of(given->tables),
		.config = {.output_lg2 = 48, .flags = given->capabilities},
		.memory = {.areas = &parent->space->areas, .stage2 = hwpt_behind(parent)},
	};
	struct tables_device device;
	struct tables_fault fault;

	/* Behind it is the parent, and nothing of the entry's. */
	if (!tables.format || !tables.format->entry(&tables, given->words, &device, &fault) || device.has_stage2)
		return -EINVAL;
	return given->flags & UIOMMU_HWPT_PASID ? page_table_of(parent, queue, &device, given->flags, out)
						: tables_of(parent, queue, &device, given->flags, out);
}

int hwpt_alloc_given(struct uiommu_context *context, const struct tables_given *given, uint32_t *out_id)
{
	return nested_alloc(
		context,
		&(struct nested_request){given->viommu, given->parent_id, given->flags, given->fault_queue_id, make_given, given},
		out_id);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "memory/process.h"
#include "memory/region.h"
#include "translate/inflight.h"
#include "util/util.h"

/* So many page tables or accesses map a range. */
struct pinned {
	struct cds_list_head link; /* by first */
	uint64_t first, last; /* pages */
	uint64_t iova; /* of the first one */
	unsigned int count;
	bool cut; /* some of it has gone from its file, and somebody was told */
};

/*
 * A pinned piece of a process's memory that is a file's. A kernel keeps its pages when the process ends; here the file keeps them,
 * and they are found in the memory of another process that has it mapped, if there is one.
 */
struct segment {
	struct cds_list_head link;
	uint64_t address, length;
	struct abi_place file;
};

struct pages {
	struct cds_list_head link; /* in the list */
	struct abi_pages_list *list;
	struct abi_memory *memory; /* of the one that it is accounted to, and whose it is if it is no file's */
	enum abi_accounting accounting;
	bool is_file;
	struct abi_place file; /* of a file: its first byte */
	uint64_t skip; /* of a file: where that is in its page */
	struct cds_list_head pinned; /* struct pinned */
	struct cds_list_head segments; /* struct segment, of what has ever been pinned of another process */
	uint64_t charged; /* bytes */
	uint64_t since; /* what the memory's observer said when some of it was pinned first; atomic */
};

/* All lists. */
static pthread_mutex_t lists_lock = PTHREAD_MUTEX_INITIALIZER; /* before theirs */
static CDS_LIST_HEAD(lists);

void abi_pages_list_init(struct abi_pages_list *list)
{
	pthread_mutex_init(&list->lock, NULL);
	CDS_INIT_LIST_HEAD(&list->pages);
	pthread_mutex_lock(&lists_lock);
	cds_list_add_tail(&list->link, &lists);
	pthread_mutex_unlock(&lists_lock);
}

void abi_pages_list_fini(struct abi_pages_list *list)
{
	pthread_mutex_lock(&lists_lock);
	cds_list_del(&list->link);
	pthread_mutex_unlock(&lists_lock);
	pthread_mutex_destroy(&list->lock);
}

/* --- what is pinned, under the list's lock --- */

/* Pages of [first, last] that none of the ranges has. They are sorted by their first page. */
static uint64_t uncovered(const struct pages *pages, uint64_t first, uint64_t last)
{
	const struct pinned *pinned;
	uint64_t count = 0;

	cds_list_for_each_entry (pinned, &pages->pinned, link) {
		if (pinned->last < first)
			continue;
		if (pinned->first > last)
			break;
		if (pinned->first > first)
			count += pinned->first - first;
		if (pinned->last >= last)
			return count;
		first = pinned->last + 1;
	}
	return count + (last - first + 1);
}

static struct pinned *find(struct pages *pages, uint64_t first, uint64_t last, struct cds_list_head **before)
{
	struct pinned *pinned;

	*before = &pages->pinned;
	cds_list_for_each_entry (pinned, &pages->pinned, link) {
		if (pinned->first == first && pinned->last == last)
			return pinned;
		if (pinned->first > first)
			break;
		*before = &pinned->link;
	}
	return NULL;
}

static int charge(struct pages *pages, uint64_t bytes)
{
	int error = abi_memory_charge(pages->memory, bytes, pages->accounting);

	if (!error)
		pages->charged += bytes;
	return error;
}

static int pin_range(struct pages *pages, uint64_t first, uint64_t last, uint64_t iova)
{
	struct cds_list_head *before;
	struct pinned *pinned = find(pages, first, last, &before);
	int error;

	if (pinned) {
		pinned->count++;
		return 0;
	}
	pinned = malloc(sizeof(*pinned));
	if (!pinned)
		return -ENOMEM;
	error = charge(pages, uncovered(pages, first, last) * page_size());
	if (error) {
		free(pinned);
		return error;
	}
	*pinned = (struct pinned){.first = first, .last = last, .iova = iova, .count = 1};
	cds_list_add(&pinned->link, before);
	return 0;
}

static void unpin_range(struct pages *pages, uint64_t first, uint64_t last)
{
	struct cds_list_head *before;
	struct pinned *pinned = find(pages, first, last, &before);
	uint64_t bytes;

	if (--pinned->count)
		return;
	cds_list_del(&pinned->link);
	bytes = uncovered(pages, first, last) * page_size();
	free(pinned);
	abi_memory_uncharge(pages->memory, bytes, pages->accounting);
	pages->charged -= bytes;
}

static void range_of(const struct pages *pages, uint64_t offset, uint64_t length, uint64_t *first, uint64_t *last)
{
	*first = (pages->skip + offset) / page_size();
	*last = (pages->skip + offset + length - 1) / page_size();
}

/* Under the list's lock. */
static bool is_known(const struct pages *pages, uint64_t address, uint64_t length)
{
	const struct segment *segment;

	cds_list_for_each_entry (segment, &pages->segments, link)
		if (address >= segment->address && address + length <= segment->address + segment->length)
			return true;
	return false;
}

/* It is found again by its file. Without memory for that it is not, as if it were no file's. */
static void remember(struct pages *pages, uint64_t address, uint64_t length)
{
	const uint64_t end = address + length;
	struct process_vma vma;

	for (; address < end && !process_describe(pages->memory->process, address, &vma); address = vma.end) {
		struct segment *segment = vma.shared && vma.file.inode ? malloc(sizeof(*segment)) : NULL;

		if (!segment)
			continue;
		*segment = (struct segment){
			.address = address,
			.length = min_u64(vma.end, end) - address,
			.file = {.device = vma.file.device, .inode = vma.file.inode, .offset = vma.offset + (address - vma.start)},
		};
		pthread_mutex_lock(&pages->list->lock);
		if (is_known(pages, segment->address, segment->length))
			free(segment);
		else
			cds_list_add_tail(&segment->link, &pages->segments);
		pthread_mutex_unlock(&pages->list->lock);
	}
}

/* The memory's observer, if it has to do with memory of a process. */
static struct abi_observer *observer_of(const struct pages *pages)
{
	return pages->is_file ? NULL : pages->memory->observer;
}

static int pin(void *opaque, uint64_t offset, uint64_t length, uint64_t iova, unsigned int access)
{
	const unsigned int needed = access & UIOMMU_WRITE ? UIOMMU_WRITE : access & UIOMMU_READ;
	struct pages *pages = opaque;
	struct abi_observer *observer = observer_of(pages);
	uint64_t first, last, now;
	bool begins;
	int error;

	error = needed && !pages->is_file ? abi_memory_check(pages->memory, offset, length, needed) : 0;
	if (error)
		return error;
	if (needed && !pages->is_file && !pages->memory->own)
		remember(pages, offset, length);
	range_of(pages, offset, length, &first, &last);
	pthread_mutex_lock(&pages->list->lock);
	begins = cds_list_empty(&pages->pinned);
	error = pin_range(pages, first, last, iova - (pages->skip + offset) % page_size());
	pthread_mutex_unlock(&pages->list->lock);
	if (error || !observer)
		return error;
	now = observer->pinned(observer, offset, length, iova);
	if (begins)
		__atomic_store_n(&pages->since, now, __ATOMIC_RELAXED);
	return 0;
}

static void unpin(void *opaque, uint64_t offset, uint64_t length)
{
	struct pages *pages = opaque;
	struct abi_observer *observer = observer_of(pages);
	uint64_t first, last;

	range_of(pages, offset, length, &first, &last);
	pthread_mutex_lock(&pages->list->lock);
	unpin_range(pages, first, last);
	pthread_mutex_unlock(&pages->list->lock);
	if (observer)
		observer->unpinned(observer, offset, length);
}

/* --- a caller's memory --- */

static uint64_t move_in(struct abi_memory *memory, uint64_t address, void *buffer, uint64_t length, unsigned int access,
			unsigned int *reason)
{
	struct process_piece piece = {.address = address, .buffer = buffer, .length = length};

	if (access == UIOMMU_WRITE)
		return process_write(memory->process, address, buffer, length, reason);
	process_readv(memory->process, &piece, 1);
	if (piece.done < length)
		*reason = piece.reason;
	return piece.done;
}

/* What is at @address of a process that has ended. *@length is what of it is in one piece. */
static bool find_segment(struct pages *pages, uint64_t address, struct abi_place *file, uint64_t *length)
{
	const struct segment *segment;
	bool found = false;

	pthread_mutex_lock(&pages->list->lock);
	cds_list_for_each_entry (segment, &pages->segments, link)
		if (!found && address >= segment->address && address - segment->address < segment->length) {
			found = true;
			*file = segment->file;
			file->offset += address - segment->address;
			*length = min_u64(*length, segment->length - (address - segment->address));
		}
	pthread_mutex_unlock(&pages->list->lock);
	return found;
}

static uint64_t move_elsewhere(struct pages *pages, uint64_t address, void *buffer, uint64_t length, unsigned int access,
			       unsigned int *reason)
{
	struct abi_memory *memory;
	struct abi_place file = {0};
	uint64_t there, room;

	if (!find_segment(pages, address, &file, &length))
		return 0;
	memory = abi_memory_with(pages->memory, file.device, file.inode, file.offset, &there, &room);
	if (!memory)
		return 0;
	*reason = UIOMMU_FAULT_NONE;
	length = move_in(memory, there, buffer, min_u64(length, room), access, reason);
	abi_memory_put(memory);
	return length;
}

static void observe(const struct pages *pages, struct abi_use use)
{
	const struct thread_use *by = &thread_self()->use;
	struct abi_observer *observer = observer_of(pages);

	use.since = __atomic_load_n(&pages->since, __ATOMIC_RELAXED);
	use.device = by->device;
	use.iova = by->iova;
	use.pasid = by->pasid;
	observer->used(observer, &use);
}

static uint64_t move(void *opaque, uint64_t offset, void *buffer, uint64_t length, unsigned int access, unsigned int *reason)
{
	struct pages *pages = opaque;
	uint64_t done = move_in(pages->memory, offset, buffer, length, access, reason), more = 1;

	for (; done < length && *reason == UIOMMU_FAULT_GONE && more; done += more) {
		more = move_elsewhere(pages, offset + done, (uint8_t *)buffer + done, length - done, access, reason);
		if (done + more < length && !*reason)
			*reason = UIOMMU_FAULT_GONE;
	}
	if (done == length)
		*reason = UIOMMU_FAULT_NONE;
	if (unlikely(observer_of(pages)))
		observe(pages,
			(struct abi_use){.address = offset, .length = length, .done = done, .access = access, .reason = *reason});
	return done;
}

/* No call of the kernel does that in another process: the process does it. */
static bool swap(void *opaque, uint64_t offset, unsigned int length, uint64_t *expected, uint64_t value)
{
	struct pages *pages = opaque;
	int error = abi_memory_swap(pages->memory, offset, length, expected, value);
	struct abi_place file = {0};
	uint64_t piece = length, there;
	struct abi_memory *memory;

	if (error != -ESRCH)
		return !error;
	if (!find_segment(pages, offset, &file, &piece))
		return false;
	memory = abi_memory_with(pages->memory, file.device, file.inode, file.offset, &there, &piece);
	if (!memory)
		return false;
	error = abi_memory_swap(memory, there, length, expected, value);
	abi_memory_put(memory);
	return !error;
}

/* It never says REGION_AGAIN. */
static void pause_nothing(void *opaque)
{
	(void)opaque;
}

static void pages_free(void *opaque)
{
	struct pages *pages = opaque;
	struct segment *segment, *next;

	pthread_mutex_lock(&pages->list->lock);
	cds_list_del(&pages->link);
	pthread_mutex_unlock(&pages->list->lock);
	abi_memory_put(pages->memory);
	cds_list_for_each_entry_safe (segment, next, &pages->segments, link)
		free(segment);
	free(pages);
}

static const struct region_ops foreign_ops = {
	.access = move, .pause = pause_nothing, .free = pages_free, .pin = pin, .unpin = unpin, .swap = swap};
static const struct region_ops here_ops = {.free = pages_free, .pin = pin, .unpin = unpin};

/* --- making them --- */

static int make_file(struct abi_caller *caller, const struct uiommu_ioas_map *map, unsigned int access, struct region **out)
{
	struct abi_file *file;
	int fd, error = caller->ops->descriptor(caller, map->fd, &file, &fd);

	if (error)
		return error;
	if (file) {
		error = abi_dmabuf_region(file, map->offset, map->length, access, out);
		abi_file_put(file);
		return error;
	}
	error = region_file(fd, map->offset, map->length, access, false, out);
	close(fd);
	return error;
}

static int make_region(struct pages *pages, struct abi_caller *caller, const struct uiommu_ioas_map *map, unsigned int access,
		       struct region **out)
{
	int error;

	if (caller->memory->own && !pages->is_file)
		return region_own(&here_ops, pages, access, out);
	if (!pages->is_file)
		return region_remote(&foreign_ops, pages, UINT64_MAX, access, out);
	error = make_file(caller, map, access, out);
	if (error)
		return error;
	/* A dma-buf is pinned by its owner, and accounted to nobody here. */
	if (region_is_remote(*out)) {
		pages_free(pages);
		return 0;
	}
	region_set_ops(*out, &here_ops, pages);
	pthread_mutex_lock(&pages->list->lock);
	region_place(*out, 0, &pages->file.device, &pages->file.inode, &pages->file.offset);
	pthread_mutex_unlock(&pages->list->lock);
	return 0;
}

int abi_pages_make(void *opaque, const struct uiommu_ioas_map *map, unsigned int access, struct region **out)
{
	struct abi_pages_source *source = opaque;
	struct pages *pages = calloc(1, sizeof(*pages));
	int error;

	if (!pages)
		return -ENOMEM;
	pages->list = source->list;
	pages->memory = abi_memory_get(source->caller->memory);
	pages->accounting = source->accounting;
	pages->is_file = map->source == UIOMMU_MAP_FILE;
	pages->skip = pages->is_file ? map->offset % page_size() : 0;
	CDS_INIT_LIST_HEAD(&pages->pinned);
	CDS_INIT_LIST_HEAD(&pages->segments);
	pthread_mutex_lock(&source->list->lock);
	cds_list_add_tail(&pages->link, &source->list->pages);
	pthread_mutex_unlock(&source->list->lock);
	error = make_region(pages, source->caller, map, access, out);
	if (error)
		pages_free(pages);
	return error;
}

/* --- IOMMU_IOAS_CHANGE_PROCESS --- */

int abi_pages_change(struct abi_pages_list *list, struct abi_memory *memory, enum abi_accounting accounting)
{
	struct pages *pages;
	uint64_t bytes = 0;
	int error = 0;

	pthread_mutex_lock(&list->lock);
	cds_list_for_each_entry (pages, &list->pages, link) {
		if (!pages->is_file)
			error = -EINVAL;
		bytes += pages->memory == memory ? 0 : pages->charged;
	}
	if (!error)
		error = abi_memory_charge(memory, bytes, accounting);
	if (!error)
		cds_list_for_each_entry (pages, &list->pages, link) {
			struct abi_memory *old = pages->memory;

			if (old == memory)
				continue;
			abi_memory_uncharge(old, pages->charged, pages->accounting);
			pages->memory = abi_memory_get(memory);
			pages->accounting = accounting;
			abi_memory_put(old);
		}
	pthread_mutex_unlock(&list->lock);
	return error;
}

/* --- what files lose --- */

/* Under the list's lock. @from, @to: of the file's bytes that @pages are of, counted from the first page's begin. */
static void cut(struct pages *pages, uint64_t from, uint64_t to, unsigned int how)
{
	struct abi_observer *observer = pages->memory->observer;
	struct pinned *pinned;

	cds_list_for_each_entry (pinned, &pages->pinned, link) {
		uint64_t begin = pinned->first * page_size(), start = max_u64(begin, from);
		uint64_t end = min_u64((pinned->last + 1) * page_size(), to);

		if (pinned->cut || start >= end)
			continue;
		pinned->cut = true;
		observer->cut(observer, pinned->iova + (start - begin), end - start, how);
	}
}

void abi_pages_cut(uint64_t device, uint64_t inode, uint64_t start, uint64_t end, unsigned int how)
{
	struct abi_pages_list *list;
	struct pages *pages;

	pthread_mutex_lock(&lists_lock);
	cds_list_for_each_entry (list, &lists, link) {
		pthread_mutex_lock(&list->lock);
		cds_list_for_each_entry (pages, &list->pages, link) {
			uint64_t begin = pages->file.offset - pages->skip;

			if (pages->is_file && pages->memory->observer && pages->file.inode == inode &&
			    pages->file.device == device && end > begin)
				cut(pages, start > begin ? start - begin : 0, end - begin, how);
		}
		pthread_mutex_unlock(&list->lock);
	}
	pthread_mutex_unlock(&lists_lock);
}

/* --- what memory is the same --- */

bool abi_region_place(const struct region *region, uint64_t offset, struct abi_place *out)
{
	const struct pages *pages = region_opaque(region, &foreign_ops);

	*out = (struct abi_place){.offset = offset};
	if (!pages)
		pages = region_opaque(region, &here_ops);
	if (!pages)
		return false;
	if (!pages->is_file) {
		out->memory = pages->memory;
		return true;
	}
	return region_place(region, offset - (uint64_t)(uintptr_t)region_host(region), &out->device, &out->inode, &out->offset);
}

/* Where in a file an address is. False: in none. */
static bool file_of(struct abi_memory *memory, uint64_t address, struct abi_place *out)
{
	struct process_vma vma;

	if (process_describe(memory->process, address, &vma) || !vma.file.inode)
		return false;
	*out = (struct abi_place){.device = vma.file.device, .inode = vma.file.inode, .offset = vma.offset + (address - vma.start)};
	return true;
}

bool abi_place_is(const struct abi_place *place, struct abi_memory *memory, uint64_t address)
{
	struct abi_place mine = *place, theirs;

	if (place->memory == memory)
		return place->offset == address;
	if (place->memory && !file_of(place->memory, place->offset, &mine))
		return false;
	return file_of(memory, address, &theirs) && mine.device == theirs.device && mine.inode == theirs.inode &&
	       mine.offset == theirs.offset;
}

/* Under the list's lock. @file: what is at @address, or all 0. */
static bool has_pinned(const struct pages *pages, const struct abi_memory *memory, uint64_t address, const struct abi_place *file)
{
	const struct pinned *pinned;
	uint64_t page = address / page_size();

	if (!pages->is_file && pages->memory != memory)
		return false;
	if (pages->is_file) {
		if (pages->file.inode != file->inode || pages->file.device != file->device ||
		    file->offset < pages->file.offset - pages->skip)
			return false;
		page = (file->offset - (pages->file.offset - pages->skip)) / page_size();
	}
	cds_list_for_each_entry (pinned, &pages->pinned, link)
		if (pinned->first <= page && page <= pinned->last)
			return true;
	return false;
}

unsigned int abi_pages_count(struct abi_memory *memory, uint64_t address)
{
	struct abi_place file = {0};
	struct abi_pages_list *list;
	struct pages *pages;
	unsigned int count = 0;

	file_of(memory, address, &file);
	pthread_mutex_lock(&lists_lock);
	cds_list_for_each_entry (list, &lists, link) {
		pthread_mutex_lock(&list->lock);
		cds_list_for_each_entry (pages, &list->pages, link)
			count += has_pinned(pages, memory, address, &file);
		pthread_mutex_unlock(&list->lock);
	}
	pthread_mutex_unlock(&lists_lock);
	return count;
}

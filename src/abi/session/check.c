/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is mapped is counted where that happens, with a space locked; what the kernel has to be asked for afterwards is done by
 * check_settle(), with nothing locked but its own lock, since it may take as long as the program's other calls about its memory.
 *
 * Moments are numbers that grow: of each map, and of each time that memory went. A map that is younger than what went reaches what
 * a kernel's would.
 */
#include "abi/session/check.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "abi/pages.h"
#include "abi/session/devices.h"
#include "abi/session/session.h"
#include "abi/session/spans.h"
#include "memory/process.h"
#include "util/util.h"

/* What is registered splits mappings, of which a process may have only so many (vm.max_map_count, 65530). */
enum { REGISTERED_MAX = 16384 };

struct check {
	struct abi_observer observer;
	struct session *session;
	struct abi_memory *memory; /* whose observer it is */
	pid_t pid;
	pthread_mutex_t settling; /* who talks to the kernel; before the next one */
	int fd; /* the userfaultfd, under @settling; or -errno: why there is none */
	bool said, full; /* that there is none; that there are too many spans; under @settling */
	pthread_mutex_t lock; /* a leaf */
	struct spans spans;
	uint64_t from, to; /* what is to be settled lies in there */
	uint64_t now; /* the last moment */
	unsigned int registered; /* spans */
	bool lost; /* there was no memory for it: nothing is known any more */
	bool work, busy; /* there is something to settle; somebody does; atomic */
};

static struct check *check_of(const struct abi_memory *memory)
{
	return memory->observer ? container_of(memory->observer, struct check, observer) : NULL;
}

static const char *const gone_words[] = {
	[CHECK_UNMAPPED] = "unmapped (munmap, mmap or brk)",
	[CHECK_MOVED] = "moved (mremap)",
	[CHECK_DISCARDED] = "thrown away (madvise)",
	[CHECK_CUT_OFF] = "cut off its file (ftruncate)",
	[CHECK_CUT_OUT] = "cut out of its file (fallocate or madvise)",
};

/* --- what is mapped; under the lock --- */

static void lose(struct check *check)
{
	check->lost = true;
	spans_free(&check->spans);
}

/* No span reaches over either end. */
static bool cut_out(struct check *check, uint64_t start, uint64_t end)
{
	if (!check->lost && !(spans_split(&check->spans, start) && spans_split(&check->spans, end)))
		lose(check);
	return !check->lost;
}

static void to_be_settled(struct check *check, uint64_t start, uint64_t end)
{
	bool first = check->from == check->to;

	check->from = first ? start : min_u64(check->from, start);
	check->to = first ? end : max_u64(check->to, end);
	__atomic_store_n(&check->work, true, __ATOMIC_RELEASE);
}

static void map_again(struct span *span)
{
	if (!span->maps++) {
		span->state = span->state == SPAN_OLD ? SPAN_WATCHED : SPAN_NEW;
		span->gone = span->used = 0;
	} else if (span->state == SPAN_UNWATCHED && span->gone) {
		/* What has come in the place of what has gone is not registered. */
		span->state = SPAN_NEW;
	}
}

static void add(struct check *check, uint64_t start, uint64_t end, uint64_t iova)
{
	struct spans *spans = &check->spans;
	uint64_t at = start;

	for (size_t i = spans_find(spans, start); at < end; i++) {
		if (i == spans->count || spans->at[i].start > at) {
			struct span span = {.start = at, .end = i < spans->count ? min_u64(end, spans->at[i].start) : end};

			if (!spans_insert(spans, i, &span)) {
				lose(check);
				return;
			}
		}
		map_again(&spans->at[i]);
		spans->at[i].iova = iova + (at - start);
		spans->at[i].pinned = check->now;
		at = spans->at[i].end;
	}
}

/* What somebody registers just now will have been, when he is done. */
static void unmap_one(struct check *check, struct span *span)
{
	if (!span->maps || --span->maps)
		return;
	check->registered += span->state == SPAN_REGISTERING;
	if (span->state == SPAN_WATCHED || span->state == SPAN_REGISTERING)
		span->state = SPAN_OLD;
}

static void to_pages(uint64_t *start, uint64_t *end)
{
	*start &= ~(page_size() - 1);
	*end = (*end + page_size() - 1) & ~(page_size() - 1);
}

static uint64_t pinned(struct abi_observer *observer, uint64_t address, uint64_t length, uint64_t iova)
{
	struct check *check = container_of(observer, struct check, observer);
	uint64_t start = address, end = address + length, now;

	to_pages(&start, &end);
	pthread_mutex_lock(&check->lock);
	now = ++check->now;
	if (cut_out(check, start, end))
		add(check, start, end, iova - (address - start));
	if (!check->lost)
		spans_tidy(&check->spans, start, end);
	to_be_settled(check, start, end);
	pthread_mutex_unlock(&check->lock);
	return now;
}

static void unpinned(struct abi_observer *observer, uint64_t address, uint64_t length)
{
	struct check *check = container_of(observer, struct check, observer);
	struct spans *spans = &check->spans;
	uint64_t start = address, end = address + length;

	to_pages(&start, &end);
	pthread_mutex_lock(&check->lock);
	if (cut_out(check, start, end)) {
		for (size_t i = spans_find(spans, start); i < spans->count && spans->at[i].start < end; i++)
			unmap_one(check, &spans->at[i]);
		spans_tidy(spans, start, end);
		to_be_settled(check, start, end);
	}
	pthread_mutex_unlock(&check->lock);
}

/* --- asking the kernel; @settling is locked, and the other one only where that is said --- */

static int register_range(const struct check *check, uint64_t start, uint64_t end)
{
	struct uffdio_register range = {.range = {start, end - start}, .mode = UFFDIO_REGISTER_MODE_WP};

	if (check->fd < 0)
		return check->fd;
	return ioctl(check->fd, UFFDIO_REGISTER, &range) ? -errno : 0;
}

/*
 * Huge pages can only be registered as a whole, and not every kernel says how large they are. One of which a part is mapped here is
 * not unregistered: it may be another part's.
 */
static int register_mapping(const struct check *check, uint64_t start, uint64_t end, const struct process_vma *vma)
{
	static const unsigned int sizes_lg2[] = {16, 21, 25, 29, 30, 34};
	int error = register_range(check, start, end);

	for (size_t i = 0; error == -EINVAL && vma->file.inode && i < ARRAY_SIZE(sizes_lg2); i++) {
		uint64_t rest = (UINT64_C(1) << sizes_lg2[i]) - 1, first = start & ~rest, last = end + rest;

		if (first >= vma->start && last >= end && (last & ~rest) <= vma->end)
			error = register_range(check, first, last & ~rest);
	}
	return error;
}

static void unregister_range(const struct check *check, uint64_t start, uint64_t end)
{
	struct uffdio_range range = {start, end - start};

	if (check->fd >= 0)
		ioctl(check->fd, UFFDIO_UNREGISTER, &range);
}

/* What has been asked for is so. @vma: what is there, or NULL. */
static void settled(struct check *check, uint64_t start, uint64_t end, enum span_state state, const struct process_vma *vma)
{
	struct spans *spans = &check->spans;

	pthread_mutex_lock(&check->lock);
	if (cut_out(check, start, end)) {
		for (size_t i = spans_find(spans, start); i < spans->count && spans->at[i].start < end; i++) {
			struct span *span = &spans->at[i];

			if (span->state != SPAN_REGISTERING)
				continue;
			span->state = (uint8_t)state;
			check->registered += state == SPAN_WATCHED;
			if (vma && vma->file.inode) {
				span->device = vma->file.device;
				span->inode = vma->file.inode;
				span->offset = vma->offset + (span->start - vma->start);
				span->shared = vma->shared;
			}
		}
		spans_tidy(spans, start, end);
	}
	pthread_mutex_unlock(&check->lock);
}

static const char *reason_of(int error)
{
	switch (error) {
	case -EBUSY:
		return "it has a userfaultfd already";
	case -EPERM:
		return "it may only be read, and is a file's";
	case -EINVAL:
		return "the kernel watches no memory of that kind";
	default:
		return strerror(-error);
	}
}

static void say_unwatched(struct check *check, uint64_t start, uint64_t end, uint64_t iova, int error)
{
	static const char consequence[] = "what becomes of it is seen only where a device finds another file there, or nothing";

	if (error == -ENOSPC && !check->full)
		report_line(check->session, check->pid,
			    "of what it maps for DMA so many pieces are watched, and no more than %d: %s", REGISTERED_MAX,
			    consequence);
	check->full |= error == -ENOSPC;
	if (error == -ENOSPC)
		return;
	if (check->fd >= 0)
		report_line(check->session, check->pid,
			    "0x%" PRIx64 "-0x%" PRIx64 ", mapped for DMA at IOVA 0x%" PRIx64 "-0x%" PRIx64
			    ", is not watched (%s): %s",
			    start, end, iova, iova + (end - start), reason_of(error), consequence);
	else if (!check->said)
		report_line(check->session, check->pid, "what it maps for DMA is not watched (%s): %s",
			    check->fd == -ENOTCONN ? "nothing is preloaded into it" : strerror(-check->fd), consequence);
	check->said |= check->fd < 0;
}

/* What of @piece the program's first mapping there has: others may be of another kind. Returns where that ends. */
static uint64_t settle_mapping(struct check *check, const struct span *piece, bool full)
{
	struct process_vma vma = {0};
	bool there = !process_describe(check->memory->process, piece->start, &vma);
	uint64_t end = there ? min_u64(vma.end, piece->end) : piece->end;
	int error = !there ? -EFAULT : full ? -ENOSPC : register_mapping(check, piece->start, end, &vma);

	if (error)
		say_unwatched(check, piece->start, end, piece->iova, error);
	settled(check, piece->start, end, error ? SPAN_UNWATCHED : SPAN_WATCHED, there ? &vma : NULL);
	return end;
}

static void settle_one(struct check *check, struct span piece, bool full)
{
	if (piece.state == SPAN_OLD) {
		unregister_range(check, piece.start, piece.end);
		return;
	}
	while (piece.start < piece.end) {
		uint64_t end = settle_mapping(check, &piece, full);

		piece.iova += end - piece.start;
		piece.start = end;
	}
}

/* The next one, and from then on the caller's to settle. Under the lock. */
static bool take(struct check *check, struct span *out)
{
	struct spans *spans = &check->spans;

	for (size_t i = spans_find(spans, check->from); i < spans->count && spans->at[i].start < check->to; i++) {
		struct span *span = &spans->at[i];

		check->from = span->start;
		if (span->state != SPAN_NEW && span->state != SPAN_OLD)
			continue;
		*out = *span;
		span->state = span->state == SPAN_NEW ? SPAN_REGISTERING : SPAN_LEAVING;
		check->registered -= span->state == SPAN_LEAVING;
		return true;
	}
	check->from = check->to = 0;
	__atomic_store_n(&check->work, false, __ATOMIC_RELEASE);
	return false;
}

/* What was unregistered is nobody's; unless it has been mapped meanwhile, which made it new. Under the lock. */
static void forget_left(struct check *check, const struct span *piece)
{
	struct spans *spans = &check->spans;

	if (!cut_out(check, piece->start, piece->end))
		return;
	for (size_t i = spans_find(spans, piece->start); i < spans->count && spans->at[i].start < piece->end; i++)
		if (spans->at[i].state == SPAN_LEAVING)
			spans->at[i].state = SPAN_UNWATCHED;
	spans_tidy(spans, piece->start, piece->end);
}

static void settle(struct check *check)
{
	struct span piece;
	bool more, full, lost;

	pthread_mutex_lock(&check->settling);
	__atomic_store_n(&check->busy, true, __ATOMIC_RELEASE);
	for (;;) {
		pthread_mutex_lock(&check->lock);
		more = take(check, &piece);
		full = check->registered >= REGISTERED_MAX;
		lost = check->lost;
		pthread_mutex_unlock(&check->lock);
		if (!more)
			break;
		settle_one(check, piece, full);
		if (piece.state != SPAN_OLD)
			continue;
		pthread_mutex_lock(&check->lock);
		forget_left(check, &piece);
		pthread_mutex_unlock(&check->lock);
	}
	if (lost && !check->said)
		report_line(check->session, check->pid, "there is no memory for watching what it maps for DMA");
	check->said |= lost;
	__atomic_store_n(&check->busy, false, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&check->settling);
}

bool check_has_work(const struct abi_memory *memory)
{
	const struct check *check = check_of(memory);

	return check && __atomic_load_n(&check->work, __ATOMIC_ACQUIRE) && !__atomic_load_n(&check->busy, __ATOMIC_ACQUIRE);
}

void check_settle(struct session *session, const struct member *member)
{
	struct check *check = check_of(member->memory);
	struct member *other;

	if (check && __atomic_load_n(&check->work, __ATOMIC_ACQUIRE))
		settle(check);
	while ((other = member_with_work(session))) {
		settle(check_of(other->memory));
		member_put(session, other);
	}
}

/* --- what goes --- */

static bool is_unmapped(enum check_end how)
{
	return how == CHECK_UNMAPPED || how == CHECK_MOVED;
}

/* Under the lock. True: *@out is the first range that went while it was mapped, and of which nothing has been said. */
static bool take_away(struct check *check, uint64_t start, uint64_t end, enum check_end how, struct span *out)
{
	struct spans *spans = &check->spans;
	bool some = false;

	for (size_t i = spans_find(spans, start); i < spans->count && spans->at[i].start < end; i++) {
		struct span *span = &spans->at[i];

		if (is_unmapped(how) && (span->state == SPAN_WATCHED || span->state == SPAN_OLD)) {
			span->state = SPAN_UNWATCHED;
			check->registered--;
		}
		if (!span->maps || span->gone > span->pinned)
			continue;
		/* What is shared is the file's: only REMOVE takes it away, and of that the program tells. */
		if (how == CHECK_DISCARDED && span->shared)
			continue;
		span->gone = check->now;
		span->how = (uint8_t)how;
		if (!some)
			*out = *span;
		else if (out->end == span->start)
			out->end = span->end;
		some = true;
	}
	spans_tidy(spans, start, end);
	return some;
}

void check_gone(struct abi_memory *memory, uint64_t start, uint64_t end, enum check_end how)
{
	struct check *check = check_of(memory);
	struct span gone;
	bool some = false;

	if (!check)
		return;
	pthread_mutex_lock(&check->lock);
	check->now++;
	if (cut_out(check, start, end))
		some = take_away(check, start, end, how, &gone);
	pthread_mutex_unlock(&check->lock);
	if (some)
		report_line(check->session, check->pid,
			    "0x%" PRIx64 "-0x%" PRIx64 ", mapped for DMA at IOVA 0x%" PRIx64 "-0x%" PRIx64
			    ", was %s: a kernel's device would keep the old pages, here it reaches what comes next",
			    gone.start, gone.end, gone.iova, gone.iova + (gone.end - gone.start), gone_words[how]);
}

/* Is another file there than when it was mapped? */
static bool is_another(const struct check *check, const struct span *span, uint64_t address)
{
	struct process_vma vma = {0};

	if (process_describe(check->memory->process, address, &vma))
		return false;
	return vma.file.inode != span->inode || vma.file.device != span->device ||
	       vma.offset + (address - vma.start) != span->offset + (address - span->start);
}

/* Bytes of a file. */
struct cut {
	struct session_key file;
	uint64_t start, end;
	enum check_end how;
};

/*
 * The first piece from *@from on that these bytes were when it was mapped. Of a private mapping a hole takes only what nobody has
 * written to, and of which pages that is so is not known. Under the lock.
 */
static bool find_cut(const struct check *check, const struct cut *cut, uint64_t from, struct span *out)
{
	const struct spans *spans = &check->spans;

	for (size_t i = spans_find(spans, from); i < spans->count; i++) {
		const struct span *span = &spans->at[i];
		uint64_t length = span->end - span->start;

		if (span->start < from || !span->maps || span->inode != cut->file.inode || span->device != cut->file.device ||
		    (!span->shared && cut->how == CHECK_CUT_OUT) || span->offset >= cut->end || span->offset + length <= cut->start)
			continue;
		*out = *span;
		return true;
	}
	return false;
}

static void cut_memory(struct abi_memory *memory, const struct cut *cut)
{
	struct check *check = check_of(memory);
	struct span span = {.end = 0};
	bool found = true;

	while (check && found) {
		pthread_mutex_lock(&check->lock);
		found = find_cut(check, cut, span.end, &span);
		pthread_mutex_unlock(&check->lock);
		/* What nobody watches may have become something else. */
		if (found && !(span.state == SPAN_UNWATCHED && is_another(check, &span, span.start)))
			check_gone(memory, span.start + (cut->start > span.offset ? cut->start - span.offset : 0),
				   span.start + min_u64(span.end - span.start, cut->end - span.offset), cut->how);
	}
}

static void cut_file(struct session *session, const struct cut *cut)
{
	struct member *member = member_before(session, UINT64_MAX);

	while (member) {
		uint64_t token = member->token;

		cut_memory(member->memory, cut);
		member_put(session, member);
		member = member_before(session, token);
	}
	abi_pages_cut(cut->file.device, cut->file.inode, cut->start, cut->end, cut->how);
}

/* What is at these addresses, of each file that is there. */
static void cut_mapped(struct session *session, const struct member *member, uint64_t start, uint64_t end, enum check_end how)
{
	struct process_vma vma;

	for (; start < end && !process_describe(member->memory->process, start, &vma); start = vma.end) {
		uint64_t offset = vma.offset + (start - vma.start);
		struct cut cut = {{vma.file.device, vma.file.inode}, offset, offset + min_u64(vma.end, end) - start, how};

		if (vma.shared && vma.file.inode)
			cut_file(session, &cut);
	}
}

void check_cut(struct session *session, const struct member *member, const struct session_request *request)
{
	enum check_end how = request->command == SESSION_CUT_OUT ? CHECK_CUT_OUT : CHECK_CUT_OFF;
	bool mapped = !request->file.inode;
	uint64_t start = mapped ? request->argument : request->offset, end;
	struct cut cut = {request->file, start, 0, how};

	if (!check_of(member->memory) || __builtin_add_overflow(start, request->count, &end))
		return;
	cut.end = end;
	/* Whatever was done before is reported before. */
	watch_settle(session);
	if (mapped)
		cut_mapped(session, member, start, end, how);
	else
		cut_file(session, &cut);
}

void check_leave(struct abi_memory *memory, uint64_t start, uint64_t length)
{
	struct check *check = check_of(memory);
	struct spans *spans;
	uint64_t end;

	if (!check || __builtin_add_overflow(start, length, &end))
		return;
	to_pages(&start, &end);
	spans = &check->spans;
	pthread_mutex_lock(&check->settling);
	unregister_range(check, start, end);
	pthread_mutex_lock(&check->lock);
	if (cut_out(check, start, end))
		for (size_t i = spans_find(spans, start); i < spans->count && spans->at[i].start < end; i++)
			if (spans->at[i].state == SPAN_WATCHED || spans->at[i].state == SPAN_OLD) {
				spans->at[i].state = SPAN_UNWATCHED;
				check->registered--;
			}
	pthread_mutex_unlock(&check->lock);
	report_line(check->session, check->pid,
		    "0x%" PRIx64 "-0x%" PRIx64 " is not watched any more: the program has a userfaultfd of its own for it", start,
		    end);
	pthread_mutex_unlock(&check->settling);
}

/* --- what is used --- */

/* The first span of the access that something may have to be said of, as it is. Under the lock. */
static bool find_used(const struct check *check, const struct abi_use *use, uint64_t from, struct span *out)
{
	const struct spans *spans = &check->spans;
	bool refused = use->done < use->length && use->reason != UIOMMU_FAULT_GONE;
	uint64_t failed = use->address + use->done;

	for (size_t i = spans_find(spans, from); i < spans->count && spans->at[i].start < use->address + use->length; i++) {
		const struct span *span = &spans->at[i];
		bool stale = span->gone > use->since, file = span->inode;

		if (!span->maps || span->used > span->pinned)
			continue;
		*out = *span;
		if (stale || file || (refused && failed >= span->start && failed < span->end))
			return true;
	}
	return false;
}

/* It is said once. Under the lock. */
static void mark_used(struct check *check, uint64_t start, uint64_t end)
{
	struct spans *spans = &check->spans;

	check->now++;
	if (!cut_out(check, start, end))
		return;
	for (size_t i = spans_find(spans, start); i < spans->count && spans->at[i].start < end; i++)
		spans->at[i].used = check->now;
	spans_tidy(spans, start, end);
}

static void say_used(struct check *check, const struct abi_use *use, const struct span *span)
{
	uint64_t at = max_u64(span->start, use->address), failed = use->address + use->done;
	bool refused = use->done < use->length && failed >= span->start && failed < span->end;
	bool stale = span->gone > use->since, tables = !use->device;
	const char *device = tables ? "an IOMMU" : devices_name(check->session->devices, use->device);
	char pasid[32] = "", before[64] = "is another file's than it was", where[40] = "";

	if (refused)
		at = failed;
	if (!tables && use->pasid != UIOMMU_NO_PASID)
		snprintf(pasid, sizeof(pasid), ", PASID %" PRIu32, use->pasid);
	if (!tables)
		snprintf(where, sizeof(where), " (IOVA 0x%" PRIx64 "%s)", use->iova + (at - use->address), pasid);
	if (stale)
		snprintf(before, sizeof(before), "was %s", gone_words[span->how]);
	else if (refused)
		snprintf(before, sizeof(before), "%s",
			 use->reason == UIOMMU_FAULT_PERMISSION ? "is protected now" : "is not there any more");
	report_line(check->session, check->pid, "%s %s 0x%" PRIx64 "%s, which is mapped for DMA and %s: %s", device,
		    refused ? (use->access == UIOMMU_WRITE ? "could not write" : "could not read")
			    : (use->access == UIOMMU_WRITE ? "wrote" : "read"),
		    at, where, before,
		    refused ? "a kernel's device would have reached the page that was mapped"
			    : "it reached what is there now, a kernel's device would have reached the old page");
}

static void used(struct abi_observer *observer, const struct abi_use *use)
{
	struct check *check = container_of(observer, struct check, observer);
	uint64_t from = use->address, end = use->address + use->length;
	struct span span;

	watch_settle(check->session);
	while (from < end) {
		bool found, refused;

		pthread_mutex_lock(&check->lock);
		found = find_used(check, use, from, &span);
		pthread_mutex_unlock(&check->lock);
		if (!found)
			return;
		from = span.end;
		refused = use->done < use->length && use->address + use->done >= span.start && use->address + use->done < span.end;
		if (span.gone <= use->since && !refused && !is_another(check, &span, max_u64(span.start, use->address)))
			continue;
		pthread_mutex_lock(&check->lock);
		mark_used(check, span.start, span.end);
		pthread_mutex_unlock(&check->lock);
		say_used(check, use, &span);
	}
}

static void file_cut(struct abi_observer *observer, uint64_t iova, uint64_t length, unsigned int how)
{
	struct check *check = container_of(observer, struct check, observer);

	report_line(check->session, check->pid,
		    "what is mapped for DMA at IOVA 0x%" PRIx64 "-0x%" PRIx64
		    ", by a descriptor, was %s: a kernel's device would keep the old pages, here it reaches what comes next",
		    iova, iova + length, gone_words[how]);
}

/* --- its life --- */

static void check_free(struct abi_observer *observer)
{
	struct check *check = container_of(observer, struct check, observer);

	spans_free(&check->spans);
	pthread_mutex_destroy(&check->lock);
	pthread_mutex_destroy(&check->settling);
	free(check);
}

int check_begin(struct session *session, struct abi_memory *memory, pid_t pid)
{
	struct check *check = calloc(1, sizeof(*check));

	if (!check)
		return -ENOMEM;
	check->observer = (struct abi_observer){pinned, unpinned, used, file_cut, check_free};
	check->session = session;
	check->memory = memory;
	check->pid = pid;
	check->fd = -ENOTCONN;
	pthread_mutex_init(&check->settling, NULL);
	pthread_mutex_init(&check->lock, NULL);
	memory->observer = &check->observer;
	return 0;
}

void check_watch(struct abi_memory *memory, int fd)
{
	struct check *check = check_of(memory);

	if (!check)
		return;
	pthread_mutex_lock(&check->settling);
	check->fd = fd;
	pthread_mutex_unlock(&check->settling);
}

void check_end_watch(struct abi_memory *memory)
{
	struct check *check = check_of(memory);

	if (!check)
		return;
	pthread_mutex_lock(&check->settling);
	/* The program has ended, or does not speak to us any more: nobody has to hear of it. */
	check->fd = -ESRCH;
	check->said = true;
	pthread_mutex_unlock(&check->settling);
}

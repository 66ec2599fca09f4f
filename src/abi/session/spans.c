/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/session/spans.h"

#include <stdlib.h>
#include <string.h>

size_t spans_find(const struct spans *spans, uint64_t address)
{
	size_t low = 0, high = spans->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (spans->at[middle].end > address)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

bool spans_insert(struct spans *spans, size_t at, const struct span *span)
{
	if (spans->count == spans->room) {
		size_t room = spans->room ? 2 * spans->room : 16;
		struct span *more = realloc(spans->at, room * sizeof(*more));

		if (!more)
			return false;
		spans->at = more;
		spans->room = room;
	}
	memmove(&spans->at[at + 1], &spans->at[at], (spans->count - at) * sizeof(*span));
	spans->at[at] = *span;
	spans->count++;
	return true;
}

bool spans_split(struct spans *spans, uint64_t address)
{
	size_t at = spans_find(spans, address);
	struct span upper;
	uint64_t before;

	if (at == spans->count || spans->at[at].start >= address)
		return true;
	upper = spans->at[at];
	before = address - upper.start;
	upper.start = address;
	upper.iova += before;
	upper.offset += upper.inode ? before : 0;
	if (!spans_insert(spans, at + 1, &upper))
		return false;
	spans->at[at].end = address;
	return true;
}

static bool is_over(const struct span *span)
{
	return !span->maps && (span->state == SPAN_NEW || span->state == SPAN_UNWATCHED);
}

static bool continues(const struct span *a, const struct span *b)
{
	uint64_t length = a->end - a->start;

	return a->end == b->start && a->iova + length == b->iova && (a->pinned == b->pinned || !a->gone) && a->gone == b->gone &&
	       a->used == b->used && a->maps == b->maps && a->state == b->state && a->how == b->how && a->inode == b->inode &&
	       a->shared == b->shared && (!a->inode || (a->device == b->device && a->offset + length == b->offset));
}

static void join(struct span *a, const struct span *b)
{
	a->end = b->end;
	a->pinned = a->pinned > b->pinned ? a->pinned : b->pinned;
}

void spans_tidy(struct spans *spans, uint64_t start, uint64_t end)
{
	size_t from = spans_find(spans, start), to, kept;

	/* One before, and one behind, may be their neighbours. */
	from -= from > 0;
	to = spans_find(spans, end);
	to += to < spans->count;
	kept = from;
	for (size_t i = from; i < to; i++) {
		if (is_over(&spans->at[i]))
			continue;
		if (kept > from && continues(&spans->at[kept - 1], &spans->at[i]))
			join(&spans->at[kept - 1], &spans->at[i]);
		else
			spans->at[kept++] = spans->at[i];
	}
	memmove(&spans->at[kept], &spans->at[to], (spans->count - to) * sizeof(*spans->at));
	spans->count -= to - kept;
}

void spans_free(struct spans *spans)
{
	free(spans->at);
	*spans = (struct spans){.at = NULL};
}

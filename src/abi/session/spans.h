/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory of a program that devices can reach: spans of whole pages, sorted, none of which overlap. */
#ifndef SESSION_SPANS_H
#define SESSION_SPANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum span_state {
	SPAN_NEW, /* it is to be registered with the userfaultfd */
	SPAN_REGISTERING, /* somebody does that just now */
	SPAN_WATCHED, /* it is */
	SPAN_UNWATCHED, /* it is not, and will not be as long as it is mapped */
	SPAN_OLD, /* nobody maps it any more: to be unregistered */
	SPAN_LEAVING, /* somebody does that just now */
};

struct span {
	uint64_t start, end;
	uint64_t iova; /* of @start, as it was mapped last */
	uint64_t pinned, gone, used; /* moments: mapped last; gone, and said so; used after that, and said so; or 0 */
	uint64_t device, inode, offset; /* the file that was there, and where in it; or 0 */
	uint32_t maps; /* how many */
	uint8_t state; /* enum span_state */
	uint8_t how; /* of what has gone: enum check_end */
	bool shared; /* what is written there is in the file */
};

struct spans {
	struct span *at;
	size_t count, room;
};

/* The first one that ends behind @address; or the count. */
size_t spans_find(const struct spans *spans, uint64_t address);
/* No span reaches over @address. False: no memory. */
bool spans_split(struct spans *spans, uint64_t address);
bool spans_insert(struct spans *spans, size_t at, const struct span *span);
/* Those that nobody has mapped, and that are not registered, go; neighbours that say the same become one. */
void spans_tidy(struct spans *spans, uint64_t start, uint64_t end);
void spans_free(struct spans *spans);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which pages of a region are there: memory that somebody supplies when it is needed (demand.h). A page that is present stays so as
 * long as the region.
 *
 * Either a bitmap says so, which the supplier shares with us: he fills the page, sets its bit with release order, and answers; we
 * load the bit with acquire order before we touch the page. Or the file itself does: our mapping of it is registered with a
 * userfaultfd that makes touching what is not in the file a SIGBUS, which the copy routine survives; then he puts pages into the
 * file as a whole (UFFDIO_COPY on his mapping), and answers. Or the answer does (minor faults): what is in the file is not present
 * before our mapping has it, and it gets it with the answer, so that pages may be written in any way.
 */
#ifndef MEMORY_PRESENCE_H
#define MEMORY_PRESENCE_H

#include <stdbool.h>
#include <stdint.h>

struct area;
struct demand;
struct presence;
struct region;

struct presence_config {
	struct demand *demand; /* gets a reference */
	uint64_t start; /* the region's first address, as those who supply pages know it */
	unsigned int page_lg2; /* a bit is so much; without bitmap: the host's page */
	int bitmap_fd; /* memfd, sealed against shrinking; -1: none */
	uint64_t bitmap_offset; /* a multiple of 8 */
	bool minor; /* no bitmap: pages of the file are present when that has been answered */
};

/*
 * Of a region that is a file. -EINVAL (page size, alignment of the region, bitmap), -EBADF, -EACCES, -EOVERFLOW (bitmap),
 * -EOPNOTSUPP (no bitmap, and no userfaultfd, no fault handler installed, or a file that has none), -ENOMEM, -EMFILE.
 */
int presence_create(const struct presence_config *config, uint8_t *host, uint64_t length, struct presence **out);
void presence_free(struct presence *presence);

bool presence_equal(const struct presence *a, const struct presence *b);

/* How much is there from @offset on, of at most @length; 0: that page is absent. */
uint64_t presence_length(const struct presence *presence, uint64_t offset, uint64_t length);

/* The addresses of the page at @offset. */
void presence_page(const struct presence *presence, uint64_t offset, uint64_t *start, uint64_t *last);

/* Where @address is in the region of @area, which is a file. */
uint64_t area_offset(const struct area *area, uint64_t address);

struct demand *presence_demand(const struct presence *presence);

/*
 * Those whose pages become present with an answer are in a list of their demand's, under its lock: from presence_create() to
 * presence_free().
 */
struct cds_list_head *presence_link(struct presence *presence);
struct presence *presence_of_link(struct cds_list_head *link);

/* The addresses of the region. */
uint64_t presence_start(const struct presence *presence);
uint64_t presence_last(const struct presence *presence);

/* What the file has of the pages in [start, last], which are in the region, is present from now on. */
void presence_answered(const struct presence *presence, uint64_t start, uint64_t last);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an area maps: a piece of memory that is mapped in this process, with a reference count.
 */
#ifndef MEMORY_REGION_H
#define MEMORY_REGION_H

#include <stdbool.h>
#include <stdint.h>

struct region;

/* Memory of this process at @address. Never resident: munmap, swap and userfaultfd are the owner's business. */
int region_own(void *address, uint64_t length, struct region **out);

/*
 * A range of @fd, mapped here MAP_SHARED with @access; any offset (the mapping is widened to pages). -EINVAL beyond the end of the
 * file, -EACCES if the descriptor is not open for @access, -EBADF, -EOVERFLOW, -ENOMEM. @need_seal: -EINVAL unless sealed with
 * F_SEAL_SHRINK. Resident if it is tmpfs or hugetlbfs.
 */
int region_file(int fd, uint64_t offset, uint64_t length, unsigned int access, bool need_seal, struct region **out);

struct region *region_get(struct region *region);
void region_put(struct region *region);

uint8_t *region_host(const struct region *region);
uint64_t region_length(const struct region *region);
unsigned int region_access(const struct region *region);
bool region_resident(const struct region *region);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an area maps: a piece of a file that is mapped in this process, with a reference count. Memory of the process itself needs
 * none: its munmap, swap and userfaultfd are the owner's business, whatever we would hold.
 */
#ifndef MEMORY_REGION_H
#define MEMORY_REGION_H

#include <stdbool.h>
#include <stdint.h>

struct region;

/*
 * A range of @fd, mapped here MAP_SHARED with @access; any offset (the mapping is widened to pages). -EINVAL beyond the end of the
 * file, of length 0, or of what is no file; -EACCES if the descriptor is not open for @access; -EBADF, -EOVERFLOW, -ENOMEM.
 * @need_seal: -EINVAL unless sealed with F_SEAL_SHRINK. Resident if it is tmpfs or hugetlbfs.
 */
int region_file(int fd, uint64_t offset, uint64_t length, unsigned int access, bool need_seal, struct region **out);

/* NULL is allowed. */
struct region *region_get(struct region *region);
void region_put(struct region *region);

/* Somebody else holds a reference too. */
bool region_shared(const struct region *region);

uint8_t *region_host(const struct region *region);
uint64_t region_length(const struct region *region);
unsigned int region_access(const struct region *region);
bool region_resident(const struct region *region);

#endif

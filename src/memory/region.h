/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an area maps: a piece of a file that is mapped in this process, with a reference count. Memory of the process itself needs
 * none: its munmap, swap and userfaultfd are the owner's business, whatever we would hold.
 *
 * A remote region is mapped nowhere here: somebody else moves its bytes, and that may take as long as it likes.
 *
 * Whoever makes a region may want to know what of it is in use by page tables (*pinned*, in the words of iommufd), because that is
 * accounted. Nothing is held by that.
 */
#ifndef MEMORY_REGION_H
#define MEMORY_REGION_H

#include <stdbool.h>
#include <stdint.h>

struct presence;
struct region;

/* Beyond enum uiommu_fault_reason: nothing was done; leave everything, region_pause(), translate again. */
enum { REGION_AGAIN = 0x200 };

struct region_ops {
	/*
	 * NULL: it is not remote. Move @length bytes between @buffer and @offset on. May sleep; the caller is in no read section,
	 * and in flight. Returns bytes done, maybe not all; if none, @reason says why: enum uiommu_fault_reason or REGION_AGAIN.
	 * Once it has returned, nothing more is written to @buffer.
	 */
	uint64_t (*access)(void *opaque, uint64_t offset, void *buffer, uint64_t length, unsigned int access, unsigned int *reason);
	/* After REGION_AGAIN, with nothing held: wait until it is worth another look. */
	void (*pause)(void *opaque);
	/* The last reference has been put. */
	void (*free)(void *opaque);
	/*
	 * Of what is remote; NULL: a guest's tables are not read there. Compare-and-swap @length (4 or 8) bytes, aligned to that;
	 * *@expected becomes what was there. False: that cannot be done. As access() for the rest.
	 */
	bool (*swap)(void *opaque, uint64_t offset, unsigned int length, uint64_t *expected, uint64_t value);
	/*
	 * NULL: nobody wants to know. A page table maps @length bytes from @offset on at @iova; @access 0: another one does
	 * already. -EFAULT, -ENOMEM, … Both are called with a space locked, and take none but leaf locks.
	 */
	int (*pin)(void *opaque, uint64_t offset, uint64_t length, uint64_t iova, unsigned int access);
	void (*unpin)(void *opaque, uint64_t offset, uint64_t length);
};

/* A remote region of @length bytes; @opaque belongs to it if this succeeds. -ENOMEM. */
int region_remote(const struct region_ops *ops, void *opaque, uint64_t length, unsigned int access, struct region **out);

/*
 * A range of @fd, mapped here MAP_SHARED with @access; any offset (the mapping is widened to pages). -EINVAL beyond the end of the
 * file, of length 0, or of what is no file; -EACCES if the descriptor is not open for @access; -EBADF, -EOVERFLOW, -ENOMEM.
 * @need_seal: -EINVAL unless sealed with F_SEAL_SHRINK. Resident if it is tmpfs or hugetlbfs.
 */
int region_file(int fd, uint64_t offset, uint64_t length, unsigned int access, bool need_seal, struct region **out);

/* This process's memory: all addresses are offsets. As region_remote(), but not remote. */
int region_own(const struct region_ops *ops, void *opaque, unsigned int access, struct region **out);

/* From now on @ops are those of @region, which is a file that nobody uses yet. */
void region_set_ops(struct region *region, const struct region_ops *ops, void *opaque);

/* NULL, and who has no ops, is allowed. Errors of the op. */
int region_pin(const struct region *region, uint64_t offset, uint64_t length, uint64_t iova, unsigned int access);
void region_unpin(const struct region *region, uint64_t offset, uint64_t length);

/* The opaque of a region with these ops, or NULL. */
void *region_opaque(const struct region *region, const struct region_ops *ops);

/* False for NULL, too. The host address of what is remote is no pointer but the offset. */
bool region_is_remote(const struct region *region);
uint64_t region_remote_access(const struct region *region, uint64_t offset, void *buffer, uint64_t length, unsigned int access,
			      unsigned int *reason);
void region_pause(const struct region *region);

/* Can a guest's tables be read there (distant.h)? Not if only messages reach it. NULL: this process's memory, where they can. */
bool region_may_hold_tables(const struct region *region);
bool region_remote_swap(const struct region *region, uint64_t offset, unsigned int length, uint64_t *expected, uint64_t value);

/* No other one has it, or will have; 0 of NULL. */
uint64_t region_serial(const struct region *region);

/* The same bytes of the same file, with the same access. */
bool region_equal(const struct region *a, const struct region *b);

/*
 * From now on pages of @region, which is a file that nobody uses yet, may be absent; @presence belongs to it. It is not resident
 * any more: whoever touches it asks first.
 */
void region_set_presence(struct region *region, struct presence *presence);

/* NULL: all of it is there, always. */
const struct presence *region_presence(const struct region *region);

/* False: it is no file. Otherwise which one, and where the byte at @offset is in it. */
bool region_place(const struct region *region, uint64_t offset, uint64_t *device, uint64_t *inode, uint64_t *place);

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

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * I/O address spaces: which I/O virtual addresses map to which memory.
 *
 * Rules and errnos are those of Linux's IOMMU_IOAS_* commands (Documentation/userspace-api/iommufd.rst). A mapped range is an
 * area. Areas never overlap, are unmapped whole, and are never split (but by an unmap of VFIO's type 1).
 *
 * All calls are thread-safe. A call that fails has changed nothing.
 */
#ifndef UIOMMU_IOAS_H
#define UIOMMU_IOAS_H

#include <uiommu/context.h>

#ifdef __cplusplus
extern "C" {
#endif

/** struct uiommu_range - @start to @last, both included. */
struct uiommu_range {
	uint64_t start;
	uint64_t last;
};

/**
 * enum uiommu_map_flags - flags of a mapping (IOMMU_IOAS_MAP_*).
 * @UIOMMU_MAP_FIXED: map at @iova; otherwise the library chooses and writes it back
 * @UIOMMU_MAP_WRITE: devices may write
 * @UIOMMU_MAP_READ: devices may read
 */
enum uiommu_map_flags {
	UIOMMU_MAP_FIXED = 1,
	UIOMMU_MAP_WRITE = 2,
	UIOMMU_MAP_READ = 4,
};

/**
 * enum uiommu_map_source - what a mapping maps.
 * @UIOMMU_MAP_OWN: memory of this process at @address
 * @UIOMMU_MAP_FILE: a range of the memfd or file @fd at @offset; the library keeps its own mapping of it
 * @UIOMMU_MAP_RAM: a range of the guest-RAM object @ram_id at @offset
 */
enum uiommu_map_source {
	UIOMMU_MAP_OWN,
	UIOMMU_MAP_FILE,
	UIOMMU_MAP_RAM,
};

/**
 * struct uiommu_ioas_map - request and result of uiommu_ioas_map().
 * @size: sizeof(struct uiommu_ioas_map)
 * @flags: &enum uiommu_map_flags; at least one of READ and WRITE
 * @ioas_id: the IOAS
 * @source: &enum uiommu_map_source
 * @address: OWN: first byte; may have any alignment if no page table needs one
 * @fd: FILE: borrowed for the call
 * @ram_id: RAM: the object
 * @offset: FILE, RAM: first byte
 * @length: bytes
 * @iova: in (FIXED) or out
 */
struct uiommu_ioas_map {
	uint32_t size;
	uint32_t flags;
	uint32_t ioas_id;
	uint32_t source;
	void *address;
	int32_t fd;
	uint32_t ram_id;
	uint64_t offset;
	uint64_t length;
	uint64_t iova;
};

/**
 * uiommu_ioas_alloc() - make an empty IOAS.
 * @context: its owner
 * @out_id: its id
 *
 * Return: 0, -ENOMEM.
 */
UIOMMU_API int uiommu_ioas_alloc(struct uiommu_context *context, uint32_t *out_id);

/**
 * uiommu_ioas_map() - map memory.
 * @context: owner of the IOAS
 * @map: request; @map->iova is written on success
 *
 * A chosen address is the lowest that fits in the allowed ranges, aligned to min(length rounded up to a power of two, lowest bit
 * of the memory's address, 2 MiB), with the memory's offset in its page; never 0.
 *
 * Return: 0, or
 * -EOPNOTSUPP: unknown flag or source; -E2BIG: unknown tail of @map not zero;
 * -EOVERFLOW: iova or length is UINT64_MAX, or a sum wraps;
 * -EINVAL: @map->size, no READ or WRITE, length 0, misaligned, FIXED in a reserved range, range beyond the end of the memfd or RAM;
 * -ENOENT: no such IOAS or RAM; -EEXIST: FIXED over an area; -ENOSPC: nothing fits;
 * -EBADF: bad @fd; -EACCES: @fd is not open for the access asked for; -ENOMEM.
 */
UIOMMU_API int uiommu_ioas_map(struct uiommu_context *context, struct uiommu_ioas_map *map);

/**
 * struct uiommu_ioas_copy - request and result of uiommu_ioas_copy().
 * @size: sizeof(struct uiommu_ioas_copy)
 * @flags: &enum uiommu_map_flags, for the destination
 * @dst_ioas_id: destination
 * @src_ioas_id: source
 * @length: bytes
 * @dst_iova: in (FIXED) or out
 * @src_iova: first byte; the range must be fully mapped
 */
struct uiommu_ioas_copy {
	uint32_t size;
	uint32_t flags;
	uint32_t dst_ioas_id;
	uint32_t src_ioas_id;
	uint64_t length;
	uint64_t dst_iova;
	uint64_t src_iova;
};

/**
 * uiommu_ioas_copy() - map the same memory in another IOAS, or again in the same one.
 * @context: owner of both
 * @copy: request; @copy->dst_iova is written on success
 *
 * Return: 0, or the errors of uiommu_ioas_map(); -ENOENT also if the source range is not fully mapped, -EPERM if WRITE is asked
 * for memory that was mapped without it, -EOVERFLOW if length, src_iova or dst_iova is UINT64_MAX.
 */
UIOMMU_API int uiommu_ioas_copy(struct uiommu_context *context, struct uiommu_ioas_copy *copy);

/**
 * uiommu_ioas_unmap() - unmap whole areas.
 * @context: owner of the IOAS
 * @ioas_id: the IOAS
 * @iova: first byte; 0 with length UINT64_MAX: everything
 * @length: bytes
 * @unmapped: bytes unmapped; may be NULL
 *
 * When it returns, no access that used the areas is running or will still have an effect. Pins of the areas are asked to be put
 * by their callbacks first.
 *
 * Return: 0 (everything of an empty IOAS too), -EOVERFLOW (UINT64_MAX in either, or the sum wraps), -EINVAL (length 0), -ENOENT
 * (no such IOAS, nothing mapped, or an area is only partly inside), -EDEADLOCK (a pin was not put; nothing has changed), -EBUSY
 * (another thread is asking for the pins of an area), -EDEADLK (inside an access or callback).
 */
UIOMMU_API int uiommu_ioas_unmap(struct uiommu_context *context, uint32_t ioas_id, uint64_t iova, uint64_t length,
				 uint64_t *unmapped);

/**
 * uiommu_ioas_allow_iovas() - say where chosen addresses may lie.
 * @context: owner of the IOAS
 * @ioas_id: the IOAS
 * @ranges: replaces the whole list; not kept
 * @count: number of ranges; 0 allows everything that is not reserved
 *
 * Return: 0, -ENOENT, -EINVAL (start >= last, or ranges overlap), -EADDRINUSE (hits a reserved range), -ENOMEM.
 */
UIOMMU_API int uiommu_ioas_allow_iovas(struct uiommu_context *context, uint32_t ioas_id, const struct uiommu_range *ranges,
				       uint32_t count);

/**
 * uiommu_ioas_iova_ranges() - the usable ranges: the holes between reserved ones.
 * @context: owner of the IOAS
 * @ioas_id: the IOAS
 * @ranges: array for the result
 * @count: in: its size; out: number of ranges there are
 * @alignment: of addresses and lengths; may be NULL
 *
 * Return: 0, -ENOENT, -EMSGSIZE (array too small; the first ones, @count and @alignment are written).
 */
UIOMMU_API int uiommu_ioas_iova_ranges(struct uiommu_context *context, uint32_t ioas_id, struct uiommu_range *ranges,
				       uint32_t *count, uint64_t *alignment);

/**
 * uiommu_ram_alloc() - a guest-RAM region: shared memory mapped once, to be mapped in parts in any IOAS.
 * @context: its owner
 * @fd: a memfd or file; borrowed for the call
 * @offset: first byte, a multiple of the page size
 * @length: bytes, a multiple of the page size
 * @access: READ, or READ | WRITE
 * @out_id: its id
 *
 * While anything of it is mapped it is in use: uiommu_destroy() says -EBUSY.
 *
 * Return: 0, -EINVAL (length 0, misaligned, access, beyond the end of the file), -EOVERFLOW, -EBADF, -EACCES, -ENOMEM.
 */
UIOMMU_API int uiommu_ram_alloc(struct uiommu_context *context, int fd, uint64_t offset, uint64_t length, unsigned int access,
				uint32_t *out_id);

#ifdef __cplusplus
}
#endif
#endif

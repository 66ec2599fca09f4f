/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory/region.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <uiommu/types.h>

#include "memory/distant.h"
#include "memory/presence.h"
#include "util/util.h"

struct region {
	unsigned int references; /* atomic */
	unsigned int access;
	uint64_t serial;
	bool resident;
	struct presence *presence; /* or NULL */
	const struct region_ops *ops; /* or NULL; with access: it is remote */
	void *opaque;
	void *map; /* whole pages */
	size_t map_length;
	uint8_t *host;
	uint64_t length;
	/* Which file's, and where in it: */
	dev_t device;
	ino_t inode;
	uint64_t offset;
};

static int check_access(int fd, unsigned int access)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if (flags & O_PATH)
		return -EBADF;
	if ((flags & O_ACCMODE) == O_WRONLY || ((access & UIOMMU_WRITE) && (flags & O_ACCMODE) != O_RDWR))
		return -EACCES;
	return 0;
}

/* A sparse file may be shorter than it could be: beyond its end there is only SIGBUS. */
static int check_size(int fd, uint64_t end, bool need_seal, struct stat *status)
{

	if (need_seal) {
		int seals = fcntl(fd, F_GET_SEALS);

		if (seals < 0 || !(seals & F_SEAL_SHRINK))
			return -EINVAL;
	}
	if (fstat(fd, status))
		return -errno;
	return S_ISREG(status->st_mode) && end <= (uint64_t)status->st_size ? 0 : -EINVAL;
}

static bool file_is_memory(int fd)
{
	struct statfs status;

	return !fstatfs(fd, &status) && (status.f_type == TMPFS_MAGIC || status.f_type == HUGETLBFS_MAGIC);
}

/* hugetlbfs maps only whole huge pages; its block size is one. */
static uint64_t map_unit(int fd)
{
	struct statfs status;

	if (!fstatfs(fd, &status) && status.f_type == HUGETLBFS_MAGIC)
		return (uint64_t)status.f_bsize;
	return page_size();
}

static int map_error(void)
{
	switch (errno) {
	case EPERM: /* sealed against writing */
	case EACCES:
		return -EACCES;
	case ENODEV: /* a file without memory */
		return -EINVAL;
	default:
		return -ENOMEM;
	}
}

static int map_file(struct region *region, int fd, uint64_t offset, uint64_t length)
{
	uint64_t unit = map_unit(fd), skip = offset % unit, end;
	int protection = PROT_READ | (region->access & UIOMMU_WRITE ? PROT_WRITE : 0);

	if (__builtin_add_overflow(skip + length, unit - 1, &end) || end > SIZE_MAX)
		return -ENOMEM;
	region->map_length = end - end % unit;
	region->map = mmap(NULL, region->map_length, protection, MAP_SHARED, fd, (off_t)(offset - skip));
	if (region->map == MAP_FAILED)
		return map_error();
	region->host = (uint8_t *)region->map + skip;
	region->length = length;
	return 0;
}

int region_file(int fd, uint64_t offset, uint64_t length, unsigned int access, bool need_seal, struct region **out)
{
	struct region *region;
	struct stat status;
	uint64_t end = 0;
	int rc;

	if (length && __builtin_add_overflow(offset, length - 1, &end))
		return -EOVERFLOW;
	rc = check_access(fd, access);
	if (!rc)
		rc = length && end < INT64_MAX ? check_size(fd, end + 1, need_seal, &status) : -EINVAL;
	if (rc)
		return rc;
	region = calloc(1, sizeof(*region));
	if (!region)
		return -ENOMEM;
	region->references = 1;
	region->serial = distant_serial();
	region->access = access;
	region->resident = file_is_memory(fd);
	region->device = status.st_dev;
	region->inode = status.st_ino;
	region->offset = offset;
	rc = map_file(region, fd, offset, length);
	if (rc)
		free(region);
	else
		*out = region;
	return rc;
}

int region_remote(const struct region_ops *ops, void *opaque, uint64_t length, unsigned int access, struct region **out)
{
	struct region *region = calloc(1, sizeof(*region));

	if (!region)
		return -ENOMEM;
	region->references = 1;
	region->serial = distant_serial();
	region->access = access;
	region->ops = ops;
	region->opaque = opaque;
	region->length = length;
	*out = region;
	return 0;
}

int region_own(const struct region_ops *ops, void *opaque, unsigned int access, struct region **out)
{
	return region_remote(ops, opaque, UINT64_MAX, access, out);
}

void region_set_ops(struct region *region, const struct region_ops *ops, void *opaque)
{
	region->ops = ops;
	region->opaque = opaque;
}

int region_pin(const struct region *region, uint64_t offset, uint64_t length, uint64_t iova, unsigned int access)
{
	return region && region->ops && region->ops->pin ? region->ops->pin(region->opaque, offset, length, iova, access) : 0;
}

void region_unpin(const struct region *region, uint64_t offset, uint64_t length)
{
	if (region && region->ops && region->ops->pin)
		region->ops->unpin(region->opaque, offset, length);
}

void *region_opaque(const struct region *region, const struct region_ops *ops)
{
	return region && region->ops == ops ? region->opaque : NULL;
}

bool region_is_remote(const struct region *region)
{
	return region && region->ops && region->ops->access;
}

uint64_t region_remote_access(const struct region *region, uint64_t offset, void *buffer, uint64_t length, unsigned int access,
			      unsigned int *reason)
{
	return region->ops->access(region->opaque, offset, buffer, length, access, reason);
}

void region_pause(const struct region *region)
{
	region->ops->pause(region->opaque);
}

bool region_may_hold_tables(const struct region *region)
{
	return !region_is_remote(region) || region->ops->swap;
}

bool region_remote_swap(const struct region *region, uint64_t offset, unsigned int length, uint64_t *expected, uint64_t value)
{
	return region->ops->swap(region->opaque, offset, length, expected, value);
}

uint64_t region_serial(const struct region *region)
{
	return region ? region->serial : 0;
}

bool region_equal(const struct region *a, const struct region *b)
{
	return a->map && b->map && a->device == b->device && a->inode == b->inode && a->offset == b->offset &&
	       a->length == b->length && a->access == b->access && presence_equal(a->presence, b->presence);
}

void region_set_presence(struct region *region, struct presence *presence)
{
	region->presence = presence;
	region->resident = false;
}

const struct presence *region_presence(const struct region *region)
{
	return region ? region->presence : NULL;
}

bool region_place(const struct region *region, uint64_t offset, uint64_t *device, uint64_t *inode, uint64_t *place)
{
	if (!region->map)
		return false;
	*device = region->device;
	*inode = region->inode;
	*place = region->offset + offset;
	return true;
}

struct region *region_get(struct region *region)
{
	if (region)
		__atomic_fetch_add(&region->references, 1, __ATOMIC_RELAXED);
	return region;
}

void region_put(struct region *region)
{
	if (!region || __atomic_sub_fetch(&region->references, 1, __ATOMIC_ACQ_REL))
		return;
	presence_free(region->presence);
	if (region->map)
		munmap(region->map, region->map_length);
	if (region->ops)
		region->ops->free(region->opaque);
	free(region);
}

bool region_shared(const struct region *region)
{
	return __atomic_load_n(&region->references, __ATOMIC_ACQUIRE) > 1;
}

uint8_t *region_host(const struct region *region)
{
	return region->host;
}

uint64_t region_length(const struct region *region)
{
	return region->length;
}

unsigned int region_access(const struct region *region)
{
	return region->access;
}

bool region_resident(const struct region *region)
{
	return region->resident;
}

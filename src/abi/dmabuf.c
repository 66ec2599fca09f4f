/* SPDX-License-Identifier: BSD-3-Clause */
/* A dma-buf: memory of whoever made it, who may take it back at any time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <uiommu/types.h>
#include <unistd.h>

#include "abi/pages.h"
#include "memory/region.h"
#include "util/util.h"

struct dmabuf {
	struct abi_file file;
	uint8_t *memory;
	uint64_t length;
	pthread_rwlock_t lock;
	bool revoked;
};

/* What is mapped of one. */
struct piece {
	struct dmabuf *dmabuf; /* a reference to its file */
	uint64_t start;
};

static struct dmabuf *dmabuf_of(struct abi_file *file)
{
	return container_of(file, struct dmabuf, file);
}

static void release(struct abi_file *file)
{
	struct dmabuf *dmabuf = dmabuf_of(file);

	munmap(dmabuf->memory, dmabuf->length);
	pthread_rwlock_destroy(&dmabuf->lock);
	abi_file_fini(file);
	free(dmabuf);
}

static const struct abi_file_ops dmabuf_ops = {.name = "/dmabuf:", .release = release};

int abi_dmabuf_create(uint64_t length, struct abi_file **out)
{
	struct dmabuf *dmabuf = calloc(1, sizeof(*dmabuf));
	int fd = dmabuf ? abi_descriptor("dmabuf") : -ENOMEM;

	if (fd < 0) {
		free(dmabuf);
		return fd;
	}
	dmabuf->length = length;
	dmabuf->memory = ftruncate(fd, (off_t)length) ? MAP_FAILED : mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (dmabuf->memory == MAP_FAILED) {
		close(fd);
		free(dmabuf);
		return -ENOMEM;
	}
	pthread_rwlock_init(&dmabuf->lock, NULL);
	abi_file_init(&dmabuf->file, &dmabuf_ops, fd);
	*out = &dmabuf->file;
	return 0;
}

int abi_dmabuf_revoke(struct abi_file *file, bool revoked)
{
	struct dmabuf *dmabuf;

	if (file->ops != &dmabuf_ops)
		return -EINVAL;
	dmabuf = dmabuf_of(file);
	/* An access that has begun ends first. */
	pthread_rwlock_wrlock(&dmabuf->lock);
	dmabuf->revoked = revoked;
	pthread_rwlock_unlock(&dmabuf->lock);
	return 0;
}

/* What has been revoked is as if it were not mapped. */
static uint64_t piece_move(void *opaque, uint64_t offset, void *buffer, uint64_t length, unsigned int access, unsigned int *reason)
{
	const struct piece *piece = opaque;
	struct dmabuf *dmabuf = piece->dmabuf;

	pthread_rwlock_rdlock(&dmabuf->lock);
	if (dmabuf->revoked) {
		*reason = UIOMMU_FAULT_UNMAPPED;
		length = 0;
	} else if (access == UIOMMU_WRITE) {
		memcpy(dmabuf->memory + piece->start + offset, buffer, length);
	} else {
		memcpy(buffer, dmabuf->memory + piece->start + offset, length);
	}
	pthread_rwlock_unlock(&dmabuf->lock);
	return length;
}

/* It never says REGION_AGAIN. */
static void piece_pause(void *opaque)
{
	(void)opaque;
}

static void piece_free(void *opaque)
{
	struct piece *piece = opaque;

	abi_file_put(&piece->dmabuf->file);
	free(piece);
}

static const struct region_ops piece_ops = {.access = piece_move, .pause = piece_pause, .free = piece_free};

int abi_dmabuf_region(struct abi_file *file, uint64_t start, uint64_t length, unsigned int access, struct region **out)
{
	struct dmabuf *dmabuf = file->ops == &dmabuf_ops ? dmabuf_of(file) : NULL;
	struct piece *piece;
	bool revoked;
	int error;

	if (!dmabuf || start > dmabuf->length || length > dmabuf->length - start)
		return -EINVAL;
	pthread_rwlock_rdlock(&dmabuf->lock);
	revoked = dmabuf->revoked;
	pthread_rwlock_unlock(&dmabuf->lock);
	if (revoked)
		return -ENODEV;
	piece = malloc(sizeof(*piece));
	if (!piece)
		return -ENOMEM;
	*piece = (struct piece){.dmabuf = dmabuf, .start = start};
	error = region_remote(&piece_ops, piece, length, access, out);
	if (error)
		free(piece);
	else
		abi_file_get(file);
	return error;
}

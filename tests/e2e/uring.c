/* SPDX-License-Identifier: BSD-3-Clause */
/* A program under `uiommu run` that has a ring of the kernel's for its files, by system calls of its own, and /dev/iommu beside it.
 */
#include <linux/io_uring.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "iommu_file.h"

struct ring {
	uint8_t *ring;
	struct io_uring_sqe *entries;
	struct io_uring_params is;
	int fd;
};

static void *map(const struct ring *ring, size_t length, uint64_t what)
{
	void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, (off_t)what);

	CHECK(at != MAP_FAILED);
	return at;
}

/* One, and wait for it. Its result. */
static int submit(const struct ring *ring, uint8_t operation, int fd, void *buffer, uint32_t length)
{
	uint32_t *tail = (uint32_t *)(void *)(ring->ring + ring->is.sq_off.tail);
	uint32_t *head = (uint32_t *)(void *)(ring->ring + ring->is.cq_off.head);
	const struct io_uring_cqe *ends = (const struct io_uring_cqe *)(const void *)(ring->ring + ring->is.cq_off.cqes);
	uint32_t at = *tail & (ring->is.sq_entries - 1), end = *head & (ring->is.cq_entries - 1);

	ring->entries[at] = (struct io_uring_sqe){
		.opcode = operation, .fd = fd, .addr = (uint64_t)(uintptr_t)buffer, .len = length, .user_data = 7};
	((uint32_t *)(void *)(ring->ring + ring->is.sq_off.array))[at] = at;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	CHECK(syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
	CHECK(__atomic_load_n((uint32_t *)(void *)(ring->ring + ring->is.cq_off.tail), __ATOMIC_ACQUIRE) == *head + 1);
	CHECK(ends[end].user_data == 7);
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return ends[end].res;
}

int main(void)
{
	struct ring ring = {.fd = (int)syscall(SYS_io_uring_setup, 4, &ring.is)};
	int fd = memfd_create("data", 0), iommu = open_iommu(0);
	char text[] = "what is written", found[sizeof(text)] = "";

	if (ring.fd < 0) {
		printf("!io_uring: %s\n", strerror(errno));
		return 0;
	}
	CHECK(ring.is.features & IORING_FEAT_SINGLE_MMAP && fd >= 0);
	ring.ring = map(&ring, ring.is.cq_off.cqes + ring.is.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_SQ_RING);
	ring.entries = map(&ring, ring.is.sq_entries * sizeof(*ring.entries), IORING_OFF_SQES);
	for (int i = 1; i < 10; i++) {
		text[0] = (char)('0' + i);
		CHECK(submit(&ring, IORING_OP_WRITE, fd, text, sizeof(text)) == (int)sizeof(text));
		CHECK(submit(&ring, IORING_OP_READ, fd, found, sizeof(found)) == (int)sizeof(found));
		CHECK(!strcmp(text, found) && alloc(iommu) == i);
	}
	CHECK(submit(&ring, IORING_OP_NOP, -1, NULL, 0) == 0);
	CHECK(submit(&ring, IORING_OP_READ, -1, found, 1) == -EBADF);
	printf("ok\n");
	return 0;
}

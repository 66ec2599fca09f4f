/* SPDX-License-Identifier: BSD-3-Clause */
#include "devices/accel/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

bool ring_entries_valid(uint32_t entries)
{
	return entries >= RING_ENTRIES_MIN && entries <= RING_ENTRIES_MAX && !(entries & (entries - 1));
}

size_t ring_size(uint32_t entries)
{
	size_t page = (size_t)page_size();

	return (RING_HEADER_SIZE + entries * sizeof(struct uiommu_accel_desc) + page - 1) & ~(page - 1);
}

static void header_init(struct ring_header *header, uint32_t entries, uint32_t flags)
{
	header->magic = RING_MAGIC;
	header->version = RING_VERSION;
	header->entries = entries;
	header->flags = flags;
	/* Until an engine has looked here for the first time, nobody polls. */
	header->state = RING_NEED_WAKEUP;
}

struct ring_header *ring_create(uint32_t entries, uint32_t flags)
{
	void *memory = mmap(NULL, ring_size(entries), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	if (madvise(memory, ring_size(entries), MADV_DONTFORK)) {
		munmap(memory, ring_size(entries));
		return NULL;
	}
	header_init(memory, entries, flags);
	return memory;
}

static int memfd_init(int fd, uint32_t entries, uint32_t flags)
{
	struct ring_header *header;

	if (ftruncate(fd, (off_t)ring_size(entries)))
		return -errno;
	header = mmap(NULL, RING_HEADER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (header == MAP_FAILED)
		return -errno;
	header_init(header, entries, flags);
	munmap(header, RING_HEADER_SIZE);
	return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) ? -errno : 0;
}

int ring_create_memfd(uint32_t entries, uint32_t flags)
{
	int fd = memfd_create("uiommu-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int rc;

	if (fd < 0)
		return errno == ENFILE ? -EMFILE : -errno;
	rc = memfd_init(fd, entries, flags);
	if (rc) {
		close(fd);
		return rc;
	}
	return fd;
}

static bool header_matches(const struct ring_header *header, uint32_t entries)
{
	return header->magic == RING_MAGIC && header->version == RING_VERSION && header->entries == entries;
}

int ring_map(int fd, uint32_t entries, struct ring_header **out)
{
	struct ring_header *header;
	struct stat stat;
	int seals;

	if (!ring_entries_valid(entries) || fstat(fd, &stat) || stat.st_size < (off_t)ring_size(entries))
		return -EINVAL;
	/* Without the seal the other side could turn every access into SIGBUS. */
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || !(seals & F_SEAL_SHRINK))
		return -EINVAL;
	header = mmap(NULL, ring_size(entries), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (header == MAP_FAILED)
		return -ENOMEM;
	if (!header_matches(header, entries) || madvise(header, ring_size(entries), MADV_DONTFORK)) {
		ring_unmap(header, entries);
		return -EINVAL;
	}
	*out = header;
	return 0;
}

void ring_unmap(struct ring_header *header, uint32_t entries)
{
	munmap(header, ring_size(entries));
}

void ring_submitter_init(struct ring_submitter *ring, struct ring_header *header, uint32_t entries)
{
	*ring = (struct ring_submitter){.header = header, .entries = entries};
}

bool ring_has_room(struct ring_submitter *ring)
{
	if (likely(ring->tail - ring->head < ring->entries))
		return true;
	/* Pairs with the release in ring_release(). A head that makes no sense leaves the ring full. */
	ring->head = __atomic_load_n(&ring->header->head, __ATOMIC_ACQUIRE);
	return ring->tail - ring->head < ring->entries;
}

int ring_submit(struct ring_submitter *ring, const struct uiommu_accel_desc *desc)
{
	struct ring_header *header = ring->header;
	const uint64_t *from = (const uint64_t *)desc;
	uint64_t *to, tag;
	uint32_t state;

	if (unlikely(!ring_has_room(ring)))
		return ring_ended(header) ? -EPIPE : -EAGAIN;
	to = ring_slot(header, ring->entries, ring->tail);
	tag = ring_tag(ring->entries, ring->tail) | (desc->reserved ? RING_TAG_RESERVED : 0);
	for (unsigned int i = 0; i < RING_WORDS; i++)
		if (i != RING_TAG_WORD)
			__atomic_store_n(&to[i], from[i], __ATOMIC_RELAXED);
	/* Release: the rest of the slot before its tag, for ring_ready(). */
	__atomic_store_n(&to[RING_TAG_WORD], (from[RING_TAG_WORD] & ~(UINT64_MAX << RING_TAG_SHIFT)) | tag << RING_TAG_SHIFT,
			 __ATOMIC_RELEASE);
	ring->tail++;
	/* Our half of Dekker: the slot before the look at the state. The other half is in ring_arm(). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	state = __atomic_load_n(&header->state, __ATOMIC_RELAXED);
	if (likely(!state))
		return 0;
	if (state & RING_ENDED)
		return -EPIPE;
	/* Whoever takes the bit away wakes the engine, so a burst costs one system call. */
	return (int)(__atomic_fetch_and(&header->state, ~(uint32_t)RING_NEED_WAKEUP, __ATOMIC_RELAXED) & RING_NEED_WAKEUP);
}

bool ring_ended(const struct ring_header *header)
{
	/* Acquire: records written before the end are seen after it. */
	return __atomic_load_n(&header->state, __ATOMIC_ACQUIRE) & RING_ENDED;
}

void ring_error_take(struct ring_submitter *ring, struct uiommu_accel_error *error)
{
	struct ring_header *header = ring->header;
	/* Pairs with the release in ring_error_post(): the record is complete. */
	uint32_t posted = __atomic_load_n(&header->error_posted, __ATOMIC_ACQUIRE);

	*error = (struct uiommu_accel_error){.count = __atomic_load_n(&header->error_count, __ATOMIC_RELAXED)};
	if (posted == ring->error_taken)
		return;
	error->code = __atomic_load_n(&header->error_code, __ATOMIC_RELAXED);
	error->opcode = __atomic_load_n(&header->error_opcode, __ATOMIC_RELAXED);
	error->status = __atomic_load_n(&header->error_status, __ATOMIC_RELAXED);
	error->pasid = __atomic_load_n(&header->error_pasid, __ATOMIC_RELAXED);
	error->address = __atomic_load_n(&header->error_address, __ATOMIC_RELAXED);
	ring->error_taken = posted;
	/* Release: read before the engine may write the next one. */
	__atomic_store_n(&header->error_taken, posted, __ATOMIC_RELEASE);
}

void ring_engine_init(struct ring_engine *ring, struct ring_header *header, uint32_t entries)
{
	*ring = (struct ring_engine){.header = header, .entries = entries, .armed = true};
}

bool ring_arm(struct ring_engine *ring)
{
	ring->armed = true;
	__atomic_fetch_or(&ring->header->state, RING_NEED_WAKEUP, __ATOMIC_RELAXED);
	/* Our half of Dekker: the flag before the look at the slot. The other half is in ring_submit(). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !ring_ready(ring, 0);
}

void ring_disarm(struct ring_engine *ring)
{
	ring->armed = false;
	__atomic_fetch_and(&ring->header->state, ~(uint32_t)RING_NEED_WAKEUP, __ATOMIC_RELAXED);
}

void ring_end(struct ring_header *header)
{
	__atomic_fetch_or(&header->state, RING_ENDED, __ATOMIC_RELEASE);
}

void ring_error_post(struct ring_header *header, const struct uiommu_accel_error *error)
{
	uint32_t posted = __atomic_load_n(&header->error_posted, __ATOMIC_RELAXED);

	__atomic_fetch_add(&header->error_count, 1, __ATOMIC_RELAXED);
	/* Pairs with the release in ring_error_take(): the submitter has read the last record. */
	if (__atomic_load_n(&header->error_taken, __ATOMIC_ACQUIRE) != posted)
		return;
	__atomic_store_n(&header->error_code, error->code, __ATOMIC_RELAXED);
	__atomic_store_n(&header->error_opcode, error->opcode, __ATOMIC_RELAXED);
	__atomic_store_n(&header->error_status, error->status, __ATOMIC_RELAXED);
	__atomic_store_n(&header->error_pasid, error->pasid, __ATOMIC_RELAXED);
	__atomic_store_n(&header->error_address, error->address, __ATOMIC_RELAXED);
	/* Release: the record before its number. */
	__atomic_store_n(&header->error_posted, posted + 1, __ATOMIC_RELEASE);
}

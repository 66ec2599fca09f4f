/* SPDX-License-Identifier: BSD-3-Clause */
/* DMA through every kind of attachment: the IOAS, the calling process, another process, its registered memory. */
#include "test.h"

#include <pthread.h>

#include "world.h"

static struct world *w;

static int setup(void **state)
{
	(void)state;
	w = world_make();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	world_end(w);
	return 0;
}

/* The three places where the pattern is. */
enum { PLACES = 3 };

static struct uiommu_dma_place place(int i, uint64_t offset)
{
	const struct uiommu_dma_place places[PLACES] = {
		{.address = IOVA_FILE + offset, .pasid = UIOMMU_NO_PASID},
		{.address = (uintptr_t)MEMORY + offset, .pasid = w->self},
		{.address = (uintptr_t)MEMORY + offset, .pasid = w->other},
	};

	return places[i];
}

static void read_place(int i, uint64_t offset, void *buffer, size_t length)
{
	struct uiommu_dma_place from = place(i, offset);
	struct uiommu_dma_result result;

	assert_int_equal(uiommu_dma_read(w->device, from.pasid, from.address, buffer, length, &result), 0);
	assert_int_equal(result.done, length);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_NONE);
}

static void check_pattern(const uint8_t *buffer, uint64_t offset, size_t length)
{
	for (size_t i = 0; i < length; i++)
		assert_int_equal(buffer[i], world_byte(offset + i));
}

/* Offsets and lengths with the border between the areas inside, before and behind. */
static const uint64_t offsets[] = {0, 1, 4095, FILE_BYTES - 5000, FILE_BYTES - 9, FILE_BYTES - 1, FILE_BYTES, FILE_BYTES + 3};
static const size_t lengths[] = {0, 1, 2, 4, 8, 7, 64, 100, 4096, 10000, 300000};

static void reads_and_writes(void **state)
{
	uint8_t *buffer = malloc(300000), *back = malloc(300000);

	(void)state;
	traps_on();
	for (int i = 0; i < PLACES; i++)
		for (size_t o = 0; o < ARRAY_SIZE(offsets); o++)
			for (size_t l = 0; l < ARRAY_SIZE(lengths); l++) {
				struct uiommu_dma_place to = place(i, offsets[o]);

				read_place(i, offsets[o], buffer, lengths[l]);
				check_pattern(buffer, offsets[o], lengths[l]);
				for (size_t k = 0; k < lengths[l]; k++)
					back[k] = (uint8_t)~buffer[k];
				assert_int_equal(uiommu_dma_write(w->device, to.pasid, to.address, back, lengths[l], NULL), 0);
				read_place(i, offsets[o], back, lengths[l]);
				for (size_t k = 0; k < lengths[l]; k++)
					assert_int_equal(back[k], (uint8_t)~buffer[k]);
				assert_int_equal(uiommu_dma_write(w->device, to.pasid, to.address, buffer, lengths[l], NULL), 0);
			}
	assert_memory_equal(w->own, MEMORY + FILE_BYTES, OWN_BYTES);
	assert_memory_equal(w->file, MEMORY, FILE_BYTES);
	free(buffer);
	free(back);
}

static void expect_fault(uint32_t pasid, uint64_t address, size_t length, unsigned int access, uint64_t done, unsigned int reason,
			 unsigned int stage)
{
	struct uiommu_dma_result result;
	struct uiommu_fault_event event;
	uint8_t *buffer = calloc(1, length);
	int rc = access == UIOMMU_READ ? uiommu_dma_read(w->device, pasid, address, buffer, length, &result)
				       : uiommu_dma_write(w->device, pasid, address, buffer, length, &result);

	assert_int_equal(rc, -EFAULT);
	assert_int_equal(result.done, done);
	assert_int_equal(result.fault.address, address + done);
	assert_int_equal(result.fault.device_id, w->device_id);
	assert_int_equal(result.fault.pasid, pasid);
	assert_int_equal(result.fault.access, access);
	assert_int_equal(result.fault.reason, reason);
	assert_int_equal(result.fault.stage, stage);
	assert_int_equal(result.fault.table, 0);
	if (pasid == w->self || pasid == w->other) {
		/* The same record has gone to the owner. */
		assert_int_equal(uiommu_fault_read(w->context, w->queue, &event, 1), 1);
		assert_memory_equal(&event.fault, &result.fault, sizeof(event.fault));
		assert_int_equal(event.cookie, 0);
	}
	assert_int_equal(uiommu_fault_read(w->context, w->queue, &event, 1), 0);
	free(buffer);
}

static void faults_are_exact(void **state)
{
	size_t page = page_size();

	(void)state;
	traps_on();
	/* The IOAS. */
	expect_fault(UIOMMU_NO_PASID, IOVA_FILE - 1, 8, UIOMMU_READ, 0, UIOMMU_FAULT_UNMAPPED, 2);
	expect_fault(UIOMMU_NO_PASID, IOVA_READ_ONLY + page - 9, 100, UIOMMU_READ, 9, UIOMMU_FAULT_UNMAPPED, 2);
	expect_fault(UIOMMU_NO_PASID, IOVA_READ_ONLY - 9, 100, UIOMMU_WRITE, 9, UIOMMU_FAULT_PERMISSION, 2);
	expect_fault(UIOMMU_NO_PASID, IOVA_OWN - 100, OWN_BYTES + 200 + page, UIOMMU_READ, OWN_BYTES + 100 + page,
		     UIOMMU_FAULT_UNMAPPED, 2);
	expect_fault(UIOMMU_NO_PASID, UINT64_MAX - 3, 8, UIOMMU_READ, 0, UIOMMU_FAULT_UNMAPPED, 2);
	/* Memory that was promised and is not there. */
	assert_int_equal(mprotect(w->own + page, page, PROT_READ), 0);
	expect_fault(UIOMMU_NO_PASID, IOVA_OWN + page - 5, 10, UIOMMU_WRITE, 5, UIOMMU_FAULT_PERMISSION, 2);
	assert_int_equal(munmap(w->own + page, page), 0);
	expect_fault(UIOMMU_NO_PASID, IOVA_OWN + page - 5, 10, UIOMMU_READ, 5, UIOMMU_FAULT_UNMAPPED, 2);
	assert_int_equal(ftruncate(w->fd, (off_t)page), 0);
	expect_fault(UIOMMU_NO_PASID, IOVA_FILE + page - 7, 20, UIOMMU_READ, 7, UIOMMU_FAULT_MEMORY, 2);
	expect_fault(UIOMMU_NO_PASID, IOVA_FILE + page - 7, 20, UIOMMU_WRITE, 7, UIOMMU_FAULT_MEMORY, 2);
	/* This process. */
	expect_fault(w->self, (uintptr_t)MEMORY + MEMORY_BYTES - 50, 100, UIOMMU_READ, 50, UIOMMU_FAULT_UNMAPPED, 1);
	expect_fault(w->self, (uintptr_t)MEMORY + MEMORY_BYTES - 50, 100, UIOMMU_WRITE, 50, UIOMMU_FAULT_UNMAPPED, 1);
	expect_fault(w->self, UINT64_C(1) << 63, 8, UIOMMU_READ, 0, UIOMMU_FAULT_UNMAPPED, 1);
	/* The other one. */
	expect_fault(w->other, (uintptr_t)PAGE(HOLE) - 50, 100, UIOMMU_READ, 50, UIOMMU_FAULT_UNMAPPED, 1);
	expect_fault(w->other, (uintptr_t)PAGE(NO_ACCESS) - 50, 100, UIOMMU_WRITE, 50, UIOMMU_FAULT_PERMISSION, 1);
	expect_fault(w->other, (uintptr_t)PAGE(PRIVATE_READ_ONLY), 100, UIOMMU_WRITE, 0, UIOMMU_FAULT_PERMISSION, 1);
	expect_fault(w->other, (uintptr_t)PAGE(BEYOND_FILE), 100, UIOMMU_READ, 0, UIOMMU_FAULT_MEMORY, 1);
	kill(w->child.pid, SIGKILL);
	waitpid(w->child.pid, NULL, 0);
	expect_fault(w->other, (uintptr_t)MEMORY, 100, UIOMMU_READ, 0, UIOMMU_FAULT_GONE, 1);
	expect_fault(w->other, (uintptr_t)MEMORY, 100, UIOMMU_WRITE, 0, UIOMMU_FAULT_GONE, 1);
	assert_int_equal(uiommu_unbind(w->context, w->device_id, w->other), 0);
	child_start(&w->child);
}

static void wrong_attachments(void **state)
{
	struct uiommu_process bundle;
	struct uiommu_dma_result result;
	uint32_t narrow;

	(void)state;
	expect_fault(0, 0x1000, 8, UIOMMU_READ, 0, UIOMMU_FAULT_NOT_ATTACHED, 0);
	expect_fault(77, 0x1000, 8, UIOMMU_WRITE, 0, UIOMMU_FAULT_NOT_ATTACHED, 0);
	expect_fault(UIOMMU_PASID_LAST, 0x1000, 8, UIOMMU_READ, 0, UIOMMU_FAULT_NOT_ATTACHED, 0);
	expect_fault(UIOMMU_PASID_LAST + 1, 0x1000, 8, UIOMMU_READ, 0, UIOMMU_FAULT_NOT_ATTACHED, 0);
	assert_int_equal(uiommu_process_open(w->child.pid, UIOMMU_READ, &bundle), 0);
	narrow = world_bind(w, &bundle, UIOMMU_READ);
	assert_int_not_equal(narrow, w->other);
	assert_int_equal(uiommu_dma_write(w->device, narrow, (uintptr_t)MEMORY, "x", 1, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_ATTACHMENT);
	assert_int_equal(result.fault.address, (uintptr_t)MEMORY);
	uiommu_process_close(&bundle);
}

static void registered_memory(void **state)
{
	struct uiommu_register reg = {
		.size = sizeof(reg),
		.device_id = w->device_id,
		.pasid = w->other,
		.access = UIOMMU_READ | UIOMMU_WRITE,
		.address = (uintptr_t)PAGE(HOLE), /* nothing is there: only the promise */
		.length = page_size(),
	};
	size_t page = page_size();
	uint8_t *buffer = malloc(3 * page), *view;

	(void)state;
	traps_on();
	reg.fd = memfd_create("registered", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(reg.fd, (off_t)page), 0);
	assert_int_equal(fcntl(reg.fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	view = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, reg.fd, 0);
	memset(view, 0x99, page);
	assert_int_equal(uiommu_register(w->context, &reg), 0);
	/* The process, the promise, the process. */
	assert_int_equal(uiommu_dma_read(w->device, w->other, (uintptr_t)PAGE(PLAIN_2), buffer, 3 * page, NULL), 0);
	for (size_t i = 0; i < 3 * page; i++)
		assert_int_equal(buffer[i], i / page == 1 ? 0x99 : pattern(page + i));
	memset(buffer, 0x98, 3 * page);
	assert_int_equal(uiommu_dma_write(w->device, w->other, (uintptr_t)PAGE(PLAIN_2), buffer, 3 * page, NULL), 0);
	assert_memory_equal(view, buffer, page);
	assert_int_equal(uiommu_dma_read(w->device, w->other, (uintptr_t)PAGE(PLAIN_3), buffer, page, NULL), 0);
	assert_int_equal(buffer[page - 1], 0x98);
	assert_int_equal(uiommu_unregister(w->context, w->device_id, w->other, reg.address, reg.length), 0);
	expect_fault(w->other, (uintptr_t)PAGE(HOLE) - 8, 16, UIOMMU_READ, 8, UIOMMU_FAULT_UNMAPPED, 1);
	munmap(view, page);
	close(reg.fd);
	free(buffer);
}

/* Fill the destination with something else, copy, and look at all of it. */
static void check_copy(int from, int to, uint64_t from_offset, uint64_t to_offset, size_t length, uint8_t *buffer)
{
	struct uiommu_dma_place src = place(from, from_offset), dst = place(to, to_offset);
	struct uiommu_dma_result result;

	memset(buffer, 0xcd, length + 2);
	assert_int_equal(uiommu_dma_write(w->device, dst.pasid, dst.address - 1, buffer, length + 2, NULL), 0);
	assert_int_equal(uiommu_dma_copy(w->device, &dst, &src, length, &result), 0);
	assert_int_equal(result.done, length);
	read_place(to, to_offset - 1, buffer, length + 2);
	assert_int_equal(buffer[0], 0xcd);
	check_pattern(buffer + 1, from_offset, length);
	assert_int_equal(buffer[length + 1], 0xcd);
	/* And what was there before. */
	for (size_t i = 0; i < length + 2; i++)
		buffer[i] = world_byte(to_offset - 1 + i);
	assert_int_equal(uiommu_dma_write(w->device, dst.pasid, dst.address - 1, buffer, length + 2, NULL), 0);
}

static void copies_between_all(void **state)
{
	uint8_t *buffer = malloc(MEMORY_BYTES);

	(void)state;
	traps_on();
	for (int from = 0; from < PLACES; from++)
		for (int to = 0; to < PLACES; to++)
			for (size_t l = 0; l < ARRAY_SIZE(lengths); l++) {
				check_copy(from, to, FILE_BYTES - 30, 70000, lengths[l] > 500000 ? 500000 : lengths[l], buffer);
				check_copy(from, to, 5, FILE_BYTES - 10, lengths[l], buffer);
			}
	check_copy(2, 0, 7, FILE_BYTES / 2 + 100000, FILE_BYTES / 2, buffer);
	free(buffer);
}

static void overlapping_copies_move(void **state)
{
	static const size_t sizes[] = {1, 64, 4096, 300000, 600000};
	static const size_t distances[] = {1, 8, 63, 4096, 100000};
	uint8_t *expected = malloc(800000), *buffer = malloc(800000);

	(void)state;
	traps_on();
	for (int i = 0; i < PLACES; i++)
		for (size_t s = 0; s < ARRAY_SIZE(sizes); s++)
			for (size_t d = 0; d < ARRAY_SIZE(distances); d++)
				for (int up = 0; up < 2; up++) {
					uint64_t base = FILE_BYTES - 200000;
					uint64_t from = up ? 0 : distances[d], to = up ? distances[d] : 0;
					struct uiommu_dma_place src = place(i, base + from), dst = place(i, base + to);

					for (size_t k = 0; k < 800000; k++)
						expected[k] = world_byte(base + k);
					memmove(expected + to, expected + from, sizes[s]);
					assert_int_equal(uiommu_dma_copy(w->device, &dst, &src, sizes[s], NULL), 0);
					read_place(i, base, buffer, 800000);
					assert_memory_equal(buffer, expected, 800000);
					for (size_t k = 0; k < 800000; k++)
						expected[k] = world_byte(base + k);
					dst = place(i, base);
					assert_int_equal(
						uiommu_dma_write(w->device, dst.pasid, dst.address, expected, 800000, NULL), 0);
				}
	free(expected);
	free(buffer);
}

static void check_copy_fault(struct uiommu_dma_place dst, struct uiommu_dma_place src, size_t length, uint64_t done,
			     unsigned int access, unsigned int reason)
{
	struct uiommu_dma_place at = access == UIOMMU_READ ? src : dst;
	struct uiommu_dma_result result;

	assert_int_equal(uiommu_dma_copy(w->device, &dst, &src, length, &result), -EFAULT);
	assert_int_equal(result.done, done);
	assert_int_equal(result.fault.access, access);
	assert_int_equal(result.fault.reason, reason);
	assert_int_equal(result.fault.pasid, at.pasid);
	assert_int_equal(result.fault.address, at.address + done);
}

static void copies_say_which_end(void **state)
{
	struct uiommu_dma_place hole_in_other = {.address = (uintptr_t)PAGE(HOLE) - 100, .pasid = w->other};
	struct uiommu_dma_place sealed = {.address = (uintptr_t)PAGE(NO_ACCESS) - 100, .pasid = w->other};
	struct uiommu_dma_place end_of_ioas = {.address = IOVA_READ_ONLY - 70000, .pasid = UIOMMU_NO_PASID};
	struct uiommu_dma_place end_of_self = {.address = (uintptr_t)MEMORY + MEMORY_BYTES - 500, .pasid = w->self};
	struct uiommu_dma_place nothing = {.address = 0, .pasid = 999};

	(void)state;
	traps_on();
	for (int i = 0; i < PLACES; i++) {
		check_copy_fault(place(i, 0), hole_in_other, 3000, 100, UIOMMU_READ, UIOMMU_FAULT_UNMAPPED);
		check_copy_fault(hole_in_other, place(i, 0), 3000, 100, UIOMMU_WRITE, UIOMMU_FAULT_UNMAPPED);
		check_copy_fault(place(i, 0), sealed, 3000, 100, UIOMMU_READ, UIOMMU_FAULT_PERMISSION);
		check_copy_fault(sealed, place(i, 0), 3000, 100, UIOMMU_WRITE, UIOMMU_FAULT_PERMISSION);
		check_copy_fault(end_of_ioas, place(i, 0), 80000, 70000, UIOMMU_WRITE, UIOMMU_FAULT_PERMISSION);
		check_copy_fault(place(i, 0), end_of_self, 5000, 500, UIOMMU_READ, UIOMMU_FAULT_UNMAPPED);
		check_copy_fault(nothing, place(i, 0), 10, 0, UIOMMU_WRITE, UIOMMU_FAULT_NOT_ATTACHED);
		check_copy_fault(place(i, 0), nothing, 10, 0, UIOMMU_READ, UIOMMU_FAULT_NOT_ATTACHED);
	}
	/* Both ends fail, the source first. */
	check_copy_fault(sealed, end_of_self, 5000, 100, UIOMMU_WRITE, UIOMMU_FAULT_PERMISSION);
}

enum { OPS = 250 };

/* Op @i of a mixed vector and how it ends. */
static void make_op(int i, struct uiommu_dma_op *op, uint8_t *buffer, uint64_t *done, unsigned int *reason)
{
	struct uiommu_dma_place at = place(i / 7 % PLACES, (uint64_t)i * 1000);

	*op = (struct uiommu_dma_op){.address = at.address, .pasid = at.pasid, .buffer = buffer, .length = (size_t)(i * 37 % 900)};
	*done = op->length;
	*reason = UIOMMU_FAULT_NONE;
	if (i % 19 == 4) {
		op->address = (uintptr_t)PAGE(HOLE) - 8;
		op->pasid = w->other;
		op->length = 20;
		*done = 8;
		*reason = UIOMMU_FAULT_UNMAPPED;
	} else if (i % 19 == 9) {
		op->pasid = 12345;
		op->length = 20;
		*done = 0;
		*reason = UIOMMU_FAULT_NOT_ATTACHED;
	}
}

static void vectors_of_reads(void **state)
{
	static uint8_t buffers[OPS][1000];
	struct uiommu_dma_op ops[OPS];
	unsigned int reasons[OPS];
	uint64_t done[OPS];

	(void)state;
	traps_on();
	for (int i = 0; i < OPS; i++)
		make_op(i, &ops[i], buffers[i], &done[i], &reasons[i]);
	assert_int_equal(uiommu_dma_readv(w->device, ops, OPS), -EFAULT);
	for (int i = 0; i < OPS; i++) {
		assert_int_equal(ops[i].result.done, done[i]);
		assert_int_equal(ops[i].result.fault.reason, reasons[i]);
		if (reasons[i])
			assert_int_equal(ops[i].result.fault.address, ops[i].address + done[i]);
		else
			check_pattern(buffers[i], (uint64_t)i * 1000, done[i]);
	}
	assert_int_equal(uiommu_dma_readv(w->device, ops, 4), 0);
	assert_int_equal(uiommu_dma_readv(w->device, ops, 0), 0);
	assert_int_equal(uiommu_dma_readv(w->device, ops + 4, 1), -EFAULT);
}

static void vectors_of_writes(void **state)
{
	uint8_t data[OPS][8], seen[8];
	struct uiommu_dma_op ops[OPS];

	(void)state;
	traps_on();
	for (int i = 0; i < OPS; i++) {
		struct uiommu_dma_place at = place(i % PLACES, 100);

		memset(data[i], i, 8);
		ops[i] = (struct uiommu_dma_op){.address = at.address, .pasid = at.pasid, .buffer = data[i], .length = 8};
		if (i % 50 == 2) { /* in the middle of the others of this process */
			ops[i].address = (uintptr_t)PAGE(SHARED_READ_ONLY);
			ops[i].pasid = w->other;
		}
	}
	assert_int_equal(uiommu_dma_writev(w->device, ops, OPS), -EFAULT);
	for (int i = 0; i < OPS; i++) {
		assert_int_equal(ops[i].result.done, i % 50 == 2 ? 0 : 8);
		assert_int_equal(ops[i].result.fault.reason, i % 50 == 2 ? UIOMMU_FAULT_PERMISSION : UIOMMU_FAULT_NONE);
	}
	for (int i = 0; i < PLACES; i++) {
		read_place(i, 100, seen, 8);
		assert_memory_equal(seen, data[OPS - 1 - (OPS - 1 - i) % PLACES], 8);
	}
	/* One process only: the last write wins. */
	for (int i = 0; i < OPS; i++) {
		ops[i].pasid = w->other;
		ops[i].address = (uintptr_t)MEMORY;
	}
	assert_int_equal(uiommu_dma_writev(w->device, ops, OPS), 0);
	read_place(2, 0, seen, 8);
	assert_memory_equal(seen, data[OPS - 1], 8);
}

static void atomics(void **state)
{
	struct uiommu_dma_atomic atomic = {.address = IOVA_FILE + 8, .pasid = UIOMMU_NO_PASID, .length = 8, .operand = 5};
	struct uiommu_dma_result result;
	uint64_t *word = (uint64_t *)(void *)(w->file + 8);

	(void)state;
	traps_on();
	*word = 10;
	assert_int_equal(uiommu_dma_atomic(w->device, &atomic, &result), 0);
	assert_int_equal(atomic.old, 10);
	assert_int_equal(result.done, 8);
	assert_int_equal(*word, 15);
	atomic.type = UIOMMU_ATOMIC_COMPARE_SWAP, atomic.compare = 15, atomic.operand = 99;
	assert_int_equal(uiommu_dma_atomic(w->device, &atomic, NULL), 0);
	assert_int_equal(*word, 99);
	atomic.type = UIOMMU_ATOMIC_SWAP, atomic.length = 4, atomic.operand = 1;
	assert_int_equal(uiommu_dma_atomic(w->device, &atomic, NULL), 0);
	assert_int_equal(atomic.old, 99);
	assert_int_equal(*word, 1);
	/* This process. */
	*(uint64_t *)(void *)MEMORY = 1000;
	atomic = (struct uiommu_dma_atomic){.address = (uintptr_t)MEMORY, .pasid = w->self, .length = 8, .operand = 1};
	assert_int_equal(uiommu_dma_atomic(w->device, &atomic, NULL), 0);
	assert_int_equal(*(uint64_t *)(void *)MEMORY, 1001);
	/* Another one: never as a read and a write. */
	atomic.pasid = w->other;
	assert_int_equal(uiommu_dma_atomic(w->device, &atomic, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_ATOMIC);
	assert_int_equal(result.done, 0);
	atomic.pasid = UIOMMU_NO_PASID, atomic.address = IOVA_READ_ONLY;
	assert_int_equal(uiommu_dma_atomic(w->device, &atomic, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_PERMISSION);
	atomic.address = IOVA_FILE + 4, assert_int_equal(uiommu_dma_atomic(w->device, &atomic, NULL), -EINVAL);
	atomic.address = IOVA_FILE, atomic.length = 2, assert_int_equal(uiommu_dma_atomic(w->device, &atomic, NULL), -EINVAL);
	atomic.length = 8, atomic.type = 3, assert_int_equal(uiommu_dma_atomic(w->device, &atomic, NULL), -EINVAL);
	atomic.type = 0, atomic.reserved = 1, assert_int_equal(uiommu_dma_atomic(w->device, &atomic, NULL), -EINVAL);
}

static void counters_count(void **state)
{
	struct uiommu_attach_stats before = world_stats(w, w->other), after;
	struct uiommu_dma_place src = place(2, 0), dst = place(2, 500000);
	uint8_t buffer[100];

	(void)state;
	assert_int_equal(uiommu_dma_read(w->device, w->other, (uintptr_t)MEMORY, buffer, 100, NULL), 0);
	assert_int_equal(uiommu_dma_write(w->device, w->other, (uintptr_t)MEMORY, buffer, 60, NULL), 0);
	assert_int_equal(uiommu_dma_copy(w->device, &dst, &src, 100000, NULL), 0);
	expect_fault(w->other, (uintptr_t)PAGE(HOLE) - 50, 100, UIOMMU_READ, 50, UIOMMU_FAULT_UNMAPPED, 1);
	after = world_stats(w, w->other);
	assert_int_equal(after.bytes_read - before.bytes_read, 100 + 100000 + 50);
	assert_int_equal(after.bytes_written - before.bytes_written, 60 + 100000);
	assert_int_equal(after.faults - before.faults, 1);
	assert_int_equal(after.discarded, before.discarded);
}

enum { THREADS = 12, ROUNDS = 5000 };

static void *count_main(void *unused)
{
	uint64_t word;

	(void)unused;
	for (int i = 0; i < ROUNDS; i++)
		uiommu_dma_read(w->device, UIOMMU_NO_PASID, IOVA_FILE, &word, 8, NULL);
	return NULL;
}

/* More threads than counters of their own: nothing is lost. */
static void counters_of_many_threads(void **state)
{
	pthread_t threads[THREADS];
	uint64_t before = world_stats(w, UIOMMU_NO_PASID).bytes_read;

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_main, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(world_stats(w, UIOMMU_NO_PASID).bytes_read - before, 8 * THREADS * ROUNDS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(reads_and_writes),	    TEST(faults_are_exact),
		TEST(wrong_attachments),    TEST(registered_memory),
		TEST(copies_between_all),   TEST(overlapping_copies_move),
		TEST(copies_say_which_end), TEST(vectors_of_reads),
		TEST(vectors_of_writes),    TEST(atomics),
		TEST(counters_count),	    TEST(counters_of_many_threads),
	};

	if (traps_install())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads and writes of a live process. */
#include "test.h"

#include <sys/auxv.h>

#include "target.h"
#include "traps.h"

static void moves_bytes(void **state)
{
	size_t length = 2 * page_size();
	uint8_t *buffer = malloc(length);
	struct target target;
	unsigned int reason;

	(void)state;
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		target_start(&target, RW, ways[way]);
		for (size_t offset = 0; offset < 40; offset += 3)
			for (size_t n = 0; n < length - offset; n += n < 40 ? 1 : 1111) {
				memset(buffer, 0, length);
				assert_int_equal(read_one(target.process, ARENA + offset, buffer, n, &reason), n);
				assert_int_equal(reason, UIOMMU_FAULT_NONE);
				for (size_t i = 0; i < n; i++)
					assert_int_equal(buffer[i], pattern(offset + i));
			}
		memset(buffer, 0xa5, length);
		assert_int_equal(write_one(target.process, ARENA, buffer, length, &reason), length);
		assert_int_equal(child_call(&target.child, holds, 0xa5), 0);
		assert_int_equal(child_call(&target.child, fill_plain, 0x11), 0);
		assert_int_equal(write_one(target.process, ARENA + 3, buffer, 5, &reason), 5);
		assert_int_equal(child_call(&target.child, holds, 0x11), 3 + 1);
		assert_int_equal(read_one(target.process, ARENA, buffer, 16, &reason), 16);
		assert_memory_equal(buffer, "\x11\x11\x11\xa5\xa5\xa5\xa5\xa5\x11\x11\x11\x11\x11\x11\x11\x11", 16);
		target_end(&target);
	}
	free(buffer);
}

static uint8_t *big;

static long big_sum(uintptr_t length)
{
	long sum = 0;

	for (size_t i = 0; i < length; i++)
		sum += big[i] * (long)(i % 1009);
	return sum;
}

static void moves_many_bytes(void **state)
{
	size_t length = (5 << 20) + 12345;
	uint8_t *buffer = malloc(length);
	struct target target;
	unsigned int reason;

	(void)state;
	big = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < length; i++)
		big[i] = pattern(i);
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		target_start(&target, RW, ways[way]);
		assert_int_equal(read_one(target.process, big, buffer, length, &reason), length);
		assert_memory_equal(buffer, big, length);
		for (size_t i = 0; i < length; i++)
			buffer[i] = (uint8_t)(i * 3);
		assert_int_equal(write_one(target.process, big, buffer, length, &reason), length);
		/* The same sum over the buffer, here. */
		{
			uint8_t *kept = big;
			long sum;

			big = buffer;
			sum = big_sum(length);
			big = kept;
			assert_int_equal(child_call(&target.child, big_sum, length), sum);
		}
		target_end(&target);
	}
	munmap(big, length);
	free(buffer);
}

/* What stops an access that starts 100 bytes before a page. */
static const struct {
	int page;
	unsigned int on_read;
	unsigned int on_write;
} stops[] = {
	{HOLE, UIOMMU_FAULT_UNMAPPED, UIOMMU_FAULT_UNMAPPED},
	{NO_ACCESS, UIOMMU_FAULT_PERMISSION, UIOMMU_FAULT_PERMISSION},
	{PRIVATE_READ_ONLY, UIOMMU_FAULT_NONE, UIOMMU_FAULT_PERMISSION},
	{SHARED_READ_ONLY, UIOMMU_FAULT_NONE, UIOMMU_FAULT_PERMISSION},
	{FILE_READ_ONLY, UIOMMU_FAULT_NONE, UIOMMU_FAULT_PERMISSION},
	{BEYOND_FILE, UIOMMU_FAULT_MEMORY, UIOMMU_FAULT_MEMORY},
	{EXEC_ONLY, UIOMMU_FAULT_PERMISSION, UIOMMU_FAULT_PERMISSION},
	{PAGES, UIOMMU_FAULT_UNMAPPED, UIOMMU_FAULT_UNMAPPED},
};

/* In the child: 0 if a page that it cannot write is what it was. */
static long unchanged(uintptr_t page)
{
	/* The file behind FILE_READ_ONLY is the shared page. */
	size_t from = (page == FILE_READ_ONLY ? SHARED_READ_ONLY : page) * page_size();

	mprotect(PAGE(page), page_size(), PROT_READ);
	for (size_t i = 0; i < page_size(); i++)
		if (PAGE(page)[i] != pattern(from + i))
			return (long)i + 1;
	return 0;
}

static long can_read_page(uintptr_t page)
{
	int fds[2];
	long result;

	/* The kernel looks, without a trap: does this machine have memory that can only be executed? */
	if (pipe(fds))
		return -1;
	result = write(fds[1], PAGE(page), 1);
	close(fds[0]);
	close(fds[1]);
	return result == 1;
}

static void check_stop(struct target *target, size_t i)
{
	uint8_t buffer[200], data[200];
	size_t before = 100, done;
	unsigned int reason;

	memset(data, 0x77, sizeof(data));
	if (stops[i].on_read) {
		memset(buffer, 0xee, sizeof(buffer));
		/* The page before may be unreadable itself. */
		if (stops[i].page == HOLE || stops[i].page == NO_ACCESS || stops[i].page == PAGES) {
			done = read_one(target->process, PAGE(stops[i].page) - before, buffer, sizeof(buffer), &reason);
			assert_int_equal(done, before);
			for (size_t k = 0; k < before; k++)
				assert_int_equal(buffer[k], pattern((size_t)stops[i].page * page_size() - before + k));
			assert_int_equal(reason, stops[i].on_read);
		}
		assert_int_equal(read_one(target->process, PAGE(stops[i].page) + 8, buffer, 1, &reason), 0);
		assert_int_equal(reason, stops[i].on_read);
	} else {
		assert_int_equal(read_one(target->process, PAGE(stops[i].page) + 8, buffer, 1, &reason), 1);
	}
	assert_int_equal(write_one(target->process, PAGE(stops[i].page) + 8, data, sizeof(data), &reason), 0);
	assert_int_equal(reason, stops[i].on_write);
	if (stops[i].page == HOLE || stops[i].page == NO_ACCESS || stops[i].page == PAGES) {
		assert_int_equal(write_one(target->process, PAGE(stops[i].page) - before, data, sizeof(data), &reason), before);
		assert_int_equal(reason, stops[i].on_write);
	}
}

static void stops_where_the_process_would(void **state)
{
	struct target target;

	(void)state;
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		target_start(&target, RW, ways[way]);
		for (size_t i = 0; i < ARRAY_SIZE(stops); i++)
			if (stops[i].page != EXEC_ONLY || !child_call(&target.child, can_read_page, EXEC_ONLY))
				check_stop(&target, i);
		assert_int_equal(child_call(&target.child, unchanged, NO_ACCESS), 0);
		assert_int_equal(child_call(&target.child, unchanged, PRIVATE_READ_ONLY), 0);
		assert_int_equal(child_call(&target.child, unchanged, SHARED_READ_ONLY), 0);
		assert_int_equal(child_call(&target.child, unchanged, FILE_READ_ONLY), 0);
		assert_int_equal(child_call(&target.child, unchanged, EXEC_ONLY), 0);
		target_end(&target);
	}
}

static void impossible_addresses(void **state)
{
	static const uint64_t bad[] = {0,
				       0x800000000000,
				       0x100000000000000,
				       INT64_MAX - 3,
				       UINT64_C(1) << 63,
				       0xffff800000000000,
				       0xffffffffff600000,
				       UINT64_MAX - 3};
	struct target target;
	unsigned int reason;
	uint8_t buffer[16] = {0};

	(void)state;
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		target_start(&target, RW, ways[way]);
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			assert_int_equal(read_one(target.process, (void *)(uintptr_t)bad[i], buffer, sizeof(buffer), &reason), 0);
			assert_int_equal(reason, UIOMMU_FAULT_UNMAPPED);
			assert_int_equal(write_one(target.process, (void *)(uintptr_t)bad[i], buffer, sizeof(buffer), &reason), 0);
			assert_int_equal(reason, UIOMMU_FAULT_UNMAPPED);
		}
		target_end(&target);
	}
}

/* Piece @i of a long vector: what it reads, and how it ends. */
static void expect_piece(size_t i, struct process_piece *piece, uint8_t *buffer, size_t *done, unsigned int *reason)
{
	static const uint64_t nowhere = UINT64_MAX - 100;

	*piece = (struct process_piece){.address = (uintptr_t)ARENA + i, .buffer = buffer, .length = 1 + i % 50};
	*done = piece->length;
	*reason = UIOMMU_FAULT_NONE;
	if (i % 17 == 3) {
		piece->address = (uintptr_t)PAGE(HOLE) - i % 50;
		*done = i % 50;
		piece->length = *done + 1;
		*reason = UIOMMU_FAULT_UNMAPPED;
	} else if (i % 17 == 5) {
		piece->address = (uintptr_t)PAGE(NO_ACCESS);
		*done = 0;
		*reason = UIOMMU_FAULT_PERMISSION;
	} else if (i % 17 == 7) {
		piece->address = nowhere;
		*done = 0;
		*reason = UIOMMU_FAULT_UNMAPPED;
	} else if (i % 17 == 9) {
		piece->length = 0;
		*done = 0;
	}
}

enum { VECTOR = 300 };

static void vectors_give_each_piece_its_result(void **state)
{
	static uint8_t buffers[VECTOR][64];
	struct process_piece pieces[VECTOR];
	unsigned int reasons[VECTOR];
	size_t done[VECTOR];
	struct target target;

	(void)state;
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		target_start(&target, RW, ways[way]);
		memset(buffers, 0xee, sizeof(buffers));
		for (size_t i = 0; i < VECTOR; i++)
			expect_piece(i, &pieces[i], buffers[i], &done[i], &reasons[i]);
		process_readv(target.process, pieces, VECTOR);
		for (size_t i = 0; i < VECTOR; i++) {
			assert_int_equal(pieces[i].done, done[i]);
			assert_int_equal(pieces[i].reason, reasons[i]);
			for (size_t k = 0; k < done[i]; k++)
				assert_int_equal(buffers[i][k], pattern(pieces[i].address + k - (uintptr_t)ARENA));
			assert_int_equal(buffers[i][63], 0xee);
		}
		target_end(&target);
	}
}

static void writes_keep_their_order(void **state)
{
	struct process_piece pieces[VECTOR];
	uint8_t data[VECTOR][8];
	struct target target;
	unsigned int reason;
	uint8_t last[8];

	(void)state;
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		target_start(&target, RW, ways[way]);
		for (size_t i = 0; i < VECTOR; i++) {
			memset(data[i], (int)i, 8);
			pieces[i] = (struct process_piece){
				.address = (uintptr_t)(i % 5 ? ARENA : PAGE(HOLE) - 3), .buffer = data[i], .length = 8};
		}
		process_writev(target.process, pieces, VECTOR);
		for (size_t i = 0; i < VECTOR; i++) {
			assert_int_equal(pieces[i].done, i % 5 ? 8 : 3);
			assert_int_equal(pieces[i].reason, i % 5 ? UIOMMU_FAULT_NONE : UIOMMU_FAULT_UNMAPPED);
		}
		assert_int_equal(read_one(target.process, ARENA, last, 8, &reason), 8);
		assert_memory_equal(last, data[VECTOR - 1], 8);
		assert_int_equal(read_one(target.process, PAGE(HOLE) - 3, last, 3, &reason), 3);
		assert_memory_equal(last, data[VECTOR - 5], 3);
		target_end(&target);
	}
}

static void equality(void **state)
{
	struct process *again, *narrow, *without, *no_cookie, *elsewhere;
	struct uiommu_process bundle;
	struct target target;
	struct child other;

	(void)state;
	target_start(&target, RW, 0);
	child_start(&other); /* a fork: the same cookie at the same address */
	assert_int_equal(process_open(&target.bundle, RW, 0, &again), 0);
	assert_int_equal(process_open(&target.bundle, UIOMMU_READ, 0, &narrow), 0);
	assert_int_equal(process_open(&target.bundle, RW, UIOMMU_WITHOUT_PROCESS_VM, &without), 0);
	bundle = target.bundle, bundle.auxv = -1;
	assert_int_equal(process_open(&bundle, RW, 0, &no_cookie), 0);
	assert_int_equal(uiommu_process_open(other.pid, RW, &bundle), 0);
	assert_int_equal(process_open(&bundle, RW, 0, &elsewhere), 0);
	assert_true(process_equal(target.process, again));
	assert_false(process_equal(target.process, narrow));
	assert_false(process_equal(target.process, without));
	assert_false(process_equal(target.process, no_cookie));
	assert_false(process_equal(no_cookie, no_cookie));
	assert_false(process_equal(target.process, elsewhere));
	assert_int_equal(process_pid(again), target.child.pid);
	assert_int_equal(process_access(narrow), UIOMMU_READ);
	kill(target.child.pid, SIGKILL);
	waitpid(target.child.pid, NULL, 0);
	assert_false(process_equal(target.process, again));
	process_close(again), process_close(narrow), process_close(without), process_close(no_cookie), process_close(elsewhere);
	uiommu_process_close(&bundle);
	child_end(&other);
	process_close(target.process);
	uiommu_process_close(&target.bundle);
	close(target.child.fd);
}

static void describes(void **state)
{
	struct process_vma vma;
	struct target target;

	(void)state;
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		target_start(&target, RW, ways[way]);
		assert_int_equal(process_describe(target.process, (uintptr_t)PAGE(SHARED_READ_ONLY) + 5, &vma), 0);
		assert_int_equal(vma.start, (uintptr_t)PAGE(SHARED_READ_ONLY));
		assert_int_equal(vma.end, (uintptr_t)PAGE(SHARED_READ_ONLY + 1));
		assert_int_equal(vma.access, UIOMMU_READ);
		assert_string_equal(vma.name, "/memfd:arena (deleted)");
		assert_int_equal(process_describe(target.process, (uintptr_t)PAGE(HOLE), &vma), -ENOENT);
		assert_int_equal(vma.start, (uintptr_t)PAGE(PLAIN_3));
		assert_int_equal(vma.access, RW);
		assert_string_equal(vma.name, "");
		assert_int_equal(process_describe(target.process, getauxval(AT_RANDOM), &vma), 0);
		assert_string_equal(vma.name, "[stack]");
		assert_int_equal(process_describe(target.process, UINT64_C(1) << 62, &vma), -ENOENT);
		/* Nothing above, or only what the kernel puts at the very end. */
		assert_true(!vma.end || vma.start > UINT64_C(1) << 62);
		target_end(&target);
	}
}

/* The calling process. */
static void own_memory_by_the_kernel(void **state)
{
	struct process *process;
	struct process_vma vma;
	unsigned int reason;
	uint8_t buffer[100];

	(void)state;
	arena_make();
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		assert_int_equal(process_open_self(RW, ways[way], &process), 0);
		assert_false(process_is_direct(process));
		assert_int_equal(process_pid(process), getpid());
		assert_int_equal(read_one(process, PAGE(HOLE) - 50, buffer, sizeof(buffer), &reason), 50);
		assert_int_equal(reason, UIOMMU_FAULT_UNMAPPED);
		assert_memory_equal(buffer, PAGE(HOLE) - 50, 50);
		memset(buffer, 0x19, 50);
		assert_int_equal(write_one(process, PAGE(NO_ACCESS) - 20, buffer, sizeof(buffer), &reason), 20);
		assert_int_equal(reason, UIOMMU_FAULT_PERMISSION);
		assert_int_equal(*(PAGE(NO_ACCESS) - 20), 0x19);
		assert_int_equal(write_one(process, PAGE(PRIVATE_READ_ONLY), buffer, 1, &reason), 0);
		assert_int_equal(reason, UIOMMU_FAULT_PERMISSION);
		assert_int_equal(process_describe(process, (uintptr_t)PAGE(PLAIN), &vma), 0);
		process_close(process);
	}
	assert_int_equal(process_open_self(UIOMMU_WRITE, 0, &process), -EINVAL);
	arena_drop();
}

static void own_memory_directly(void **state)
{
	struct process *process;
	struct process_vma vma;
	unsigned int reason;
	uint8_t buffer[100];

	(void)state;
	assert_int_equal(traps_install(), 0);
	arena_make();
	assert_int_equal(process_open_self(RW, 0, &process), 0);
	assert_true(process_is_direct(process));
	assert_int_equal(process_pid(process), getpid());
	for (size_t i = 0; i < ARRAY_SIZE(stops); i++) {
		bool executable = stops[i].page == EXEC_ONLY; /* a processor may let it be read */

		if (!executable)
			assert_int_equal(read_one(process, PAGE(stops[i].page) + 8, buffer, 9, &reason), stops[i].on_read ? 0 : 9);
		if (!executable)
			assert_int_equal(reason, stops[i].on_read);
		assert_int_equal(write_one(process, PAGE(stops[i].page) + 8, buffer, 9, &reason), 0);
		assert_int_equal(reason, stops[i].on_write);
	}
	assert_int_equal(read_one(process, PAGE(HOLE) - 50, buffer, sizeof(buffer), &reason), 50);
	assert_memory_equal(buffer, PAGE(HOLE) - 50, 50);
	assert_int_equal(process_describe(process, (uintptr_t)PAGE(PLAIN), &vma), 0);
	assert_int_equal(vma.access, RW);
	process_close(process);
	arena_drop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(moves_bytes),
		cmocka_unit_test(moves_many_bytes),
		cmocka_unit_test(stops_where_the_process_would),
		cmocka_unit_test(impossible_addresses),
		cmocka_unit_test(vectors_give_each_piece_its_result),
		cmocka_unit_test(writes_keep_their_order),
		cmocka_unit_test(equality),
		cmocka_unit_test(describes),
		cmocka_unit_test(own_memory_by_the_kernel),
		cmocka_unit_test(own_memory_directly), /* last: installs the handler */
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VMM whose guest has page tables, in private memory that is mapped by its address: a driver of DSA's registers, as in
 * dma_driver.c. Each case checks itself, prints "ok", and ends with 0.
 */
#include "tables.h"

#include <pthread.h>

static void walks(char **arguments)
{
	uint64_t bits, *first, *second, *far;
	void *table;

	begin_nested(arguments[0], true);
	bits = format->written;
	first = spare_page(0);
	second = spare_page(1);
	far = leaf_of(format, root, FAR);
	table = table_of(far);
	for (unsigned int i = 0; i < 20; i++) {
		const struct descriptor descriptor = prepare(i);

		submit(i, &descriptor);
		finish(i);
	}
	/* What is not there is not cached. */
	CHECK(move_far(20) == WRITE_FAULT);
	*far = gpa(first) | bits;
	CHECK(move_far(21) == 1 && has_source(first));
	/* What is, is, until it is forgotten. */
	*far = gpa(second) | bits;
	CHECK(move_far(22) == 1 && has_source(first));
	forget();
	CHECK(move_far(23) == 1 && has_source(second) && !has_source(first));
	/* The page of the table goes, and another one comes to its place. */
	CHECK(!munmap(table, PAGE));
	CHECK(move_far(24) == 1 && has_source(second));
	forget();
	CHECK(move_far(25) == WRITE_FAULT);
	CHECK(mmap(table, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == table);
	CHECK(move_far(26) == WRITE_FAULT);
	*far = gpa(first) | bits;
	CHECK(move_far(27) == 1 && has_source(first));
}

/* --- what a device's access leaves in the tables --- */

/* Of the table above the leaf of @address. */
static uint64_t *entry_above(uint64_t address)
{
	uint64_t table = root;

	for (unsigned int shift = format->top; shift > 21; shift -= 9)
		table = table_at(table)[address >> shift & 511] & ADDRESS;
	return &table_at(table)[address >> 21 & 511];
}

static void bits(char **arguments)
{
	begin_nested(arguments[0], false);
	move_once(0);
	check_leaves();
	CHECK((*entry_above(VA) & ~ADDRESS) == format->used_table);
	CHECK((*entry_above(FAR) & ~ADDRESS) == format->table);
	/* What is read first and written then is changed twice. */
	*leaf_of(format, root, FAR) = gpa(spare_page(0)) | format->read;
	CHECK(move_far(1) == 1 && has_source(spare_page(0)));
	CHECK((*leaf_of(format, root, FAR) & ~ADDRESS) == format->written);
}

/* Where nobody can do it. */
static void refused(char **arguments)
{
	begin_nested(arguments[0], true);
	move_once(0);
	*leaf_of(format, root, FAR) = gpa(spare_page(0)) | format->fresh;
	CHECK(move_far(1) == WRITE_FAULT);
	CHECK(*leaf_of(format, root, FAR) == (gpa(spare_page(0)) | format->fresh));
}

/* What others change in the same entry at the same time is neither lost, nor in the way for ever. */
static void count_up(uint64_t *entry)
{
	uint64_t old = __atomic_load_n(entry, __ATOMIC_RELAXED);

	while (!__atomic_compare_exchange_n(entry, &old, (old & ~COUNTER) | ((old + COUNT) & COUNTER), false, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED))
		;
}

static void races(char **arguments)
{
	uint64_t counted = 0;

	begin_nested(arguments[0], false);
	for (unsigned int i = 0; i < 300; i++) {
		const struct descriptor descriptor = prepare(i);

		set_leaves(format->fresh | (counted * COUNT & COUNTER));
		forget();
		submit(i, &descriptor);
		/* Each of them is a loss at most, of 63. */
		for (unsigned int j = 0; j < 29; j++, counted++) {
			count_up(leaf(memory->destination));
			count_up(leaf(memory->records));
			sched_yield();
		}
		finish(i);
		check_leaves();
		CHECK((*leaf(memory->destination) & COUNTER) == (counted * COUNT & COUNTER));
		CHECK((*leaf(memory->records) & COUNTER) == (counted * COUNT & COUNTER));
	}
}

enum { DEVICES = 4, MANY = DEVICES * ENTRIES };

/* Number @i to a page of its own, with a record beside those of the others. */
static void submit_one_of_many(unsigned int i)
{
	const struct descriptor descriptor = {
		.flags_opcode = MEMMOVE,
		.record = FAR + MANY * PAGE + (uint64_t)i * 32,
		.source = iova(memory->source),
		.destination = FAR + (uint64_t)i * PAGE,
		.size = PAGE,
	};

	submit(i, &descriptor);
}

/* Of devices that use the same tables at once: each has its own entries, and some that all have. */
static void many(char **arguments)
{
	uint64_t *far;
	int devices[DEVICES];

	begin_nested(arguments[0], false);
	devices[0] = device;
	for (unsigned int i = 1; i < DEVICES; i++) {
		bind_device(i);
		attach(nested);
		be_master();
		enable_portals();
		devices[i] = device;
	}
	far = leaf_of(format, root, FAR);
	for (unsigned int round = 0; round < 20; round++) {
		set_leaves(format->fresh);
		for (unsigned int i = 0; i <= MANY; i++)
			far[i] = gpa(spare_page(i / MANY)) | format->fresh;
		memset(spare_page(1), 0, PAGE);
		forget();
		for (unsigned int i = 0; i < MANY; i++) {
			device = devices[i % DEVICES];
			submit_one_of_many(i);
		}
		for (unsigned int i = 0; i < MANY; i++)
			CHECK(status_in((uint8_t *)spare_page(1) + (size_t)i * 32) == 1);
		for (unsigned int i = 0; i <= MANY; i++)
			CHECK(far[i] == (gpa(spare_page(i / MANY)) | format->written));
		CHECK(leaf_is(memory->source, format->read) && leaf_is(memory->ring, format->fresh));
	}
}

/* --- tables that go --- */

static void taken(char **arguments)
{
	const uint64_t standard[4] = {0}; /* the kernel's struct */
	void *table;
	int fd;

	signal(SIGSEGV, on_signal);
	begin_nested(arguments[0], false);
	signal(SIGBUS, on_signal);
	table = table_of(leaf_of(format, root, FAR));
	set_far();
	CHECK(!mprotect(table, PAGE, PROT_READ));
	CHECK(move_far(0) == WRITE_FAULT && far_is(format->fresh));
	CHECK(!mprotect(table, PAGE, PROT_NONE));
	CHECK(move_far(1) == WRITE_FAULT);
	CHECK(!mprotect(table, PAGE, PROT_READ | PROT_WRITE));
	CHECK(move_far(2) == 1 && far_is(format->written));
	set_far();
	fd = protect_page(table, true);
	CHECK(fd >= 0 && move_far(3) == WRITE_FAULT && far_is(format->fresh) && !close(fd));
	CHECK(move_far(4) == 1 && far_is(format->written));
	/* A file's, which is cut. */
	fd = memfd_create("table", 0);
	CHECK(fd >= 0 && !ftruncate(fd, PAGE));
	CHECK(mmap(table, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == table);
	set_far();
	CHECK(move_far(5) == 1 && far_is(format->written));
	set_far();
	CHECK(!ftruncate(fd, 0));
	CHECK(move_far(6) == WRITE_FAULT);
	/* Where it is known before, there is no signal. */
	CHECK(!syscall(SYS_rt_sigaction, SIGBUS, standard, NULL, 8));
	CHECK(move_far(7) == WRITE_FAULT);
	CHECK(!munmap(table, PAGE));
	CHECK(move_far(8) == WRITE_FAULT);
	CHECK(mmap(table, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == table);
	set_far();
	CHECK(!mprotect(table, PAGE, PROT_READ) && !syscall(SYS_rt_sigaction, SIGSEGV, standard, NULL, 8));
	CHECK(move_far(9) == WRITE_FAULT && far_is(format->fresh));
	CHECK(!signals);
}

static bool stop_taking;

static void *take_and_give(void *table)
{
	while (!__atomic_load_n(&stop_taking, __ATOMIC_RELAXED)) {
		CHECK(!mprotect(table, PAGE, PROT_NONE));
		CHECK(!mprotect(table, PAGE, PROT_READ));
		CHECK(!mprotect(table, PAGE, PROT_READ | PROT_WRITE));
	}
	return NULL;
}

/* At any moment. */
static void taken_meanwhile(char **arguments)
{
	unsigned int done = 0;
	pthread_t thread;
	uint64_t *copy;
	void *table;
	int fd = memfd_create("table", 0);

	signal(SIGSEGV, on_signal);
	begin_nested(arguments[0], false);
	table = table_of(leaf_of(format, root, FAR));
	/* The table a second time, as the program's own access is not what is to fail. */
	CHECK(fd >= 0 && !ftruncate(fd, PAGE));
	CHECK(mmap(table, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == table);
	copy = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(copy != MAP_FAILED);
	CHECK(!pthread_create(&thread, NULL, take_and_give, table));
	for (unsigned int i = 0; i < 500 || !done; i++) {
		uint8_t status;

		forget();
		__atomic_store_n(&copy[FAR >> 12 & 511], gpa(spare_page(0)) | format->fresh, __ATOMIC_RELAXED);
		status = move_far(i);
		CHECK(status == 1 || status == WRITE_FAULT);
		CHECK((copy[FAR >> 12 & 511] & ~ADDRESS) == (status == 1 ? format->written : format->fresh));
		done += status == 1;
	}
	__atomic_store_n(&stop_taking, true, __ATOMIC_RELAXED);
	CHECK(!pthread_join(thread, NULL));
	CHECK(!signals);
}

static const struct test_case cases[] = {
	{"walks", walks},
	{"bits", bits},
	{"refused", refused},
	{"races", races},
	{"taken", taken},
	{"many", many},
	{"taken-meanwhile", taken_meanwhile},
};

int main(int argc, char **argv)
{
	return run_case(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "test.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/arbiter.h"

enum { SLOTS = 130, NEVER_US = 1000000000 };

/* What processes tell each other. */
struct board {
	unsigned int inside; /* that have the turn */
	unsigned int most_inside;
	unsigned int rounds[SLOTS];
	unsigned int order[64];
	unsigned int orders;
};

static struct board *board_make(void)
{
	struct board *board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(board, MAP_FAILED);
	return board;
}

static pid_t in_child(void (*run)(struct turn *turn, struct board *board), struct arbiter *arbiter, uint32_t slot,
		      struct board *board)
{
	struct turn turn;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	turn_init(&turn, arbiter, slot);
	run(&turn, board);
	_exit(0);
}

static void expect_success(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void wait_until_waiting(struct arbiter *arbiter, uint32_t slot)
{
	while (!(__atomic_load_n(&arbiter->shared->waiting[slot / 64], __ATOMIC_SEQ_CST) & UINT64_C(1) << (slot % 64)))
		sched_yield();
}

static void alone_keeps_the_turn(void **state)
{
	struct arbiter *arbiter = arbiter_create(SLOTS, 0);
	struct turn turn;

	(void)state;
	turn_init(&turn, arbiter, 7);
	assert_false(turn_is_mine(&turn));
	turn_take(&turn);
	assert_true(turn_is_mine(&turn));
	assert_true(turn_is_over(&turn)); /* a turn of 0 us */
	assert_false(turn_is_wanted(&turn));
	turn_give(&turn);
	assert_false(turn_is_mine(&turn));
	turn_give(&turn); /* what is not ours is not given */
	assert_true(arbiter->shared->lease == 0);
	arbiter_destroy(arbiter);
}

static void work_in_turn(struct turn *turn, struct board *board)
{
	for (unsigned int i = 0; i < 300; i++) {
		unsigned int inside;

		turn_take(turn);
		inside = __atomic_add_fetch(&board->inside, 1, __ATOMIC_SEQ_CST);
		if (inside > board->most_inside)
			board->most_inside = inside;
		board->rounds[turn->slot]++;
		if (i % 16 == 0)
			sched_yield();
		__atomic_sub_fetch(&board->inside, 1, __ATOMIC_SEQ_CST);
		turn_give(turn);
	}
}

static void one_at_a_time(void **state)
{
	static const uint32_t slots[] = {0, 63, 64, SLOTS - 1};
	struct arbiter *arbiter = arbiter_create(SLOTS, NEVER_US);
	struct board *board = board_make();
	pid_t pids[4];

	(void)state;
	for (unsigned int i = 0; i < 4; i++)
		pids[i] = in_child(work_in_turn, arbiter, slots[i], board);
	for (unsigned int i = 0; i < 4; i++)
		expect_success(pids[i]);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(board->rounds[slots[i]], 300);
	assert_int_equal(board->most_inside, 1);
	assert_true(arbiter->shared->taken_back == 0);
	assert_true(arbiter->shared->lease == 0);
	assert_true(arbiter->shared->summary == 0);
	munmap(board, sizeof(*board));
	arbiter_destroy(arbiter);
}

static void note_order(struct turn *turn, struct board *board)
{
	turn_take(turn);
	board->order[board->orders++] = turn->slot;
	turn_give(turn);
}

static void goes_round(void **state)
{
	static const uint32_t enlisted[] = {100, 3, 64, 127, 20}, expected[] = {64, 100, 127, 3, 20};
	struct arbiter *arbiter = arbiter_create(SLOTS, NEVER_US);
	struct board *board = board_make();
	struct turn turn;
	pid_t pids[5];

	(void)state;
	turn_init(&turn, arbiter, 50);
	turn_take(&turn);
	for (unsigned int i = 0; i < 5; i++) {
		pids[i] = in_child(note_order, arbiter, enlisted[i], board);
		wait_until_waiting(arbiter, enlisted[i]);
	}
	assert_true(turn_is_wanted(&turn));
	assert_true(turn_is_mine(&turn));
	turn_give(&turn);
	for (unsigned int i = 0; i < 5; i++)
		expect_success(pids[i]);
	assert_int_equal(board->orders, 5);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(board->order[i], expected[i]);
	munmap(board, sizeof(*board));
	arbiter_destroy(arbiter);
}

static void an_overdue_turn_is_taken_back(void **state)
{
	struct arbiter *arbiter = arbiter_create(SLOTS, 1000);
	struct board *board = board_make();
	struct turn turn;

	(void)state;
	turn_init(&turn, arbiter, 1);
	turn_take(&turn);
	/* We do not give it, as if we were stuck; the other one gets it all the same, and we find it lost. */
	expect_success(in_child(note_order, arbiter, 2, board));
	assert_int_equal(board->orders, 1);
	assert_false(turn_is_mine(&turn));
	assert_true(arbiter->shared->taken_back == 1);
	turn_give(&turn); /* changes nothing */
	assert_true(arbiter->shared->lease == 0);
	turn_take(&turn);
	assert_true(turn_is_mine(&turn));
	munmap(board, sizeof(*board));
	arbiter_destroy(arbiter);
}

static void die_with_the_turn(struct turn *turn, struct board *board)
{
	(void)board;
	turn_take(turn);
}

static void the_dead_are_forgotten(void **state)
{
	struct arbiter *arbiter = arbiter_create(SLOTS, NEVER_US);
	struct board *board = board_make();
	struct turn turn;
	pid_t waits, dies;

	(void)state;
	/* One dies with the turn while another one waits. */
	expect_success(in_child(die_with_the_turn, arbiter, 5, board));
	waits = in_child(note_order, arbiter, 9, board);
	wait_until_waiting(arbiter, 9);
	arbiter_forget(arbiter, 5);
	expect_success(waits);
	assert_int_equal(board->orders, 1);

	/* One dies while it waits: it is passed over. */
	turn_init(&turn, arbiter, 50);
	turn_take(&turn);
	dies = in_child(note_order, arbiter, 60, board);
	wait_until_waiting(arbiter, 60);
	kill(dies, SIGKILL);
	waitpid(dies, NULL, 0);
	waits = in_child(note_order, arbiter, 70, board);
	wait_until_waiting(arbiter, 70);
	arbiter_forget(arbiter, 60);
	assert_true(turn_is_mine(&turn));
	turn_give(&turn);
	expect_success(waits);
	assert_int_equal(board->order[1], 70);
	assert_true(arbiter->shared->taken_back == 0);
	munmap(board, sizeof(*board));
	arbiter_destroy(arbiter);
}

/* Killed anywhere, over and over; those that live on go on. */
static void survives_kills(void **state)
{
	struct arbiter *arbiter = arbiter_create(SLOTS, 200);
	struct board *board = board_make();
	struct turn turn;

	(void)state;
	srandom(1);
	turn_init(&turn, arbiter, 0);
	for (unsigned int i = 0; i < 200; i++) {
		uint32_t slot = 1 + i % (SLOTS - 1);
		pid_t pid = in_child(work_in_turn, arbiter, slot, board);

		for (long j = random() % 50; j; j--) {
			turn_take(&turn);
			turn_give(&turn);
		}
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		arbiter_forget(arbiter, slot);
	}
	turn_take(&turn);
	assert_true(turn_is_mine(&turn));
	turn_give(&turn);
	assert_true(arbiter->shared->lease == 0);
	for (unsigned int i = 0; i < SLOTS / 64 + 1; i++)
		assert_true(arbiter->shared->waiting[i] == 0);
	munmap(board, sizeof(*board));
	arbiter_destroy(arbiter);
}

/* --- somebody writes anything there --- */

static void scribble(struct arbiter *arbiter)
{
	uint8_t *bytes = (uint8_t *)arbiter->shared;

	for (size_t i = 0; i < arbiter_size(arbiter->slots); i++)
		bytes[i] = (uint8_t)random();
}

/* The shared memory of @arbiter ends where nothing is mapped; it begins behind memory that nobody has to touch. */
struct fenced {
	struct arbiter *arbiter;
	struct arbiter_shared *own;
	uint8_t *start;
	size_t before;
	size_t size;
};

static void fence(struct fenced *fenced, uint32_t turn_us)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = arbiter_size(SLOTS);

	fenced->arbiter = arbiter_create(SLOTS, turn_us);
	assert_non_null(fenced->arbiter);
	fenced->size = (size + page - 1) / page * page + page;
	fenced->before = fenced->size - page - size;
	fenced->start = mmap(NULL, fenced->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(fenced->start, MAP_FAILED);
	assert_int_equal(mprotect(fenced->start + fenced->size - page, page, PROT_NONE), 0);
	fenced->own = fenced->arbiter->shared;
	fenced->arbiter->shared = (struct arbiter_shared *)(void *)(fenced->start + fenced->before);
}

static void unfence(struct fenced *fenced)
{
	for (size_t i = 0; i < fenced->before; i++)
		assert_int_equal(fenced->start[i], 0);
	fenced->arbiter->shared = fenced->own;
	arbiter_destroy(fenced->arbiter);
	munmap(fenced->start, fenced->size);
}

/* Everything that anybody does with it, from every place. */
static void do_everything(struct arbiter *arbiter, uint32_t slot)
{
	uint64_t *lease = &arbiter->shared->lease;
	struct turn turn;

	arbiter_forget(arbiter, slot);
	*lease = (uint64_t)(slot + 1) << 48 | (uint64_t)random();
	arbiter_forget(arbiter, slot);
	turn_init(&turn, arbiter, slot);
	turn_take(&turn);
	turn_give(&turn);
	turn_take(&turn);
	turn.lease = *lease;
	turn_give(&turn);
}

static void nonsense_is_harmless(void **state)
{
	struct fenced fenced;

	(void)state;
	srandom(2);
	fence(&fenced, 1);
	for (unsigned int i = 0; i < 300; i++) {
		scribble(fenced.arbiter);
		do_everything(fenced.arbiter, (uint32_t)random() % SLOTS);
	}
	for (unsigned int value = 0; value < 256; value += 255) {
		for (uint32_t slot = 0; slot < SLOTS; slot++) {
			memset(fenced.arbiter->shared, (int)value, arbiter_size(SLOTS));
			do_everything(fenced.arbiter, slot);
		}
	}
	unfence(&fenced);
}

static void scribble_for_ever(struct turn *turn, struct board *board)
{
	struct arbiter_shared *shared = turn->arbiter->shared;

	for (unsigned int i = 0;; i++) {
		memset(shared->waiting, 0xff, sizeof(shared->waiting));
		__atomic_store_n(&shared->summary, UINT64_MAX, __ATOMIC_SEQ_CST);
		/* As somebody who always has had the turn for no time at all, or from tomorrow on. */
		__atomic_store_n(&shared->lease, (uint64_t)random() << 32 | (uint64_t)random(), __ATOMIC_SEQ_CST);
		__atomic_store_n(&board->rounds[0], i + 1, __ATOMIC_SEQ_CST);
	}
}

/* All of it again, while somebody never stops writing there: nobody waits for ever, and nobody works for ever. */
static void nobody_is_held_up(void **state)
{
	struct board *board = board_make();
	struct fenced fenced;
	pid_t pid;

	(void)state;
	fence(&fenced, 1);
	pid = in_child(scribble_for_ever, fenced.arbiter, 1, board);
	while (!__atomic_load_n(&board->rounds[0], __ATOMIC_SEQ_CST))
		sched_yield();
	for (unsigned int i = 0; i < 300; i++)
		do_everything(fenced.arbiter, i % SLOTS);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	munmap(board, sizeof(*board));
	unfence(&fenced);
}

/* What is left of nonsense goes away as turns are passed on. */
static void nonsense_goes_away(void **state)
{
	struct arbiter *arbiter = arbiter_create(SLOTS, 1);
	struct turn turn;

	(void)state;
	memset(arbiter->shared, 0xff, arbiter_size(SLOTS));
	turn_init(&turn, arbiter, 7);
	/* Who has been patient for long enough goes on without a turn, and then has none to pass on. */
	for (unsigned int i = 0; i <= SLOTS;) {
		turn_take(&turn);
		i += turn_is_mine(&turn);
		turn_give(&turn);
	}
	turn_take(&turn);
	assert_true(turn_is_mine(&turn));
	assert_false(turn_is_wanted(&turn));
	arbiter_destroy(arbiter);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alone_keeps_the_turn),
		cmocka_unit_test(one_at_a_time),
		cmocka_unit_test(goes_round),
		cmocka_unit_test(an_overdue_turn_is_taken_back),
		cmocka_unit_test(the_dead_are_forgotten),
		cmocka_unit_test(survives_kills),
		cmocka_unit_test(nonsense_is_harmless),
		cmocka_unit_test(nobody_is_held_up),
		cmocka_unit_test(nonsense_goes_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What a session asks of a program's thread that does compare-and-swaps, and what it makes of the answers. */
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include "abi/abi.h"
#include "support/program.h"

enum { PAGE = 4096 };

static struct session session;
static struct uiommu_process bundle;
static struct program program; /* that makes calls */
static struct program swapper; /* its thread */
static uint64_t *words;

static struct abi_memory *memory(void)
{
	struct abi_memory *of;

	pthread_mutex_lock(&session.lock);
	of = session.members->memory;
	pthread_mutex_unlock(&session.lock);
	return of;
}

/* One swap, as a device's access would do it. */
static struct swap {
	pthread_t thread;
	uint64_t expected;
	int result;
} swap;

static void *do_swap(void *opaque)
{
	(void)opaque;
	swap.result = abi_memory_swap(memory(), (uint64_t)(uintptr_t)&words[3], 8, &swap.expected, 22);
	return NULL;
}

static struct session_swap begin_swap(void)
{
	struct session_swap asked = {0};

	swap.expected = 11;
	assert_int_equal(pthread_create(&swap.thread, NULL, do_swap, NULL), 0);
	assert_int_equal(recv(swapper.socket, &asked, sizeof(asked), 0), sizeof(asked));
	assert_int_equal(asked.address, (uintptr_t)&words[3]);
	assert_int_equal(asked.length, 8);
	assert_int_equal(asked.expected, 11);
	assert_int_equal(asked.value, 22);
	return asked;
}

static void end_swap(const struct session_swap *answer, size_t length)
{
	if (length)
		assert_int_equal(send(swapper.socket, answer, length, MSG_NOSIGNAL), length);
	assert_int_equal(pthread_join(swap.thread, NULL), 0);
}

static int64_t be_swapper(struct program *who)
{
	struct session_request request = {.op = SESSION_SWAPPER};

	return program_call(who, &request, "", NULL, 0, NULL);
}

/* When the one before has ended. */
static void new_swapper(void)
{
	int64_t result = be_swapper(&program);
	struct program next;

	while (result == -EBUSY) {
		sched_yield();
		result = be_swapper(&program);
	}
	assert_int_equal(result, 0);
	assert_int_equal(program_connect(&next, &session, program.token, &bundle), 0);
	swapper = program;
	program = next;
}

static int setup(void **state)
{
	const struct session_options options = {.report = -1};
	char complaint[256];

	(void)state;
	words = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(words, MAP_FAILED);
	assert_int_equal(session_create(&session, &options, complaint, sizeof(complaint)), 0);
	assert_int_equal(uiommu_process_open(getpid(), UIOMMU_READ | UIOMMU_WRITE, &bundle), 0);
	assert_int_equal(program_connect(&program, &session, 0, &bundle), 0);
	new_swapper();
	return 0;
}

static int teardown(void **state)
{
	bool over = false;

	(void)state;
	close(program.socket);
	close(swapper.socket);
	while (!over) {
		pthread_mutex_lock(&session.lock);
		over = !session.peer_count;
		pthread_mutex_unlock(&session.lock);
		sched_yield();
	}
	session_destroy(&session);
	uiommu_process_close(&bundle);
	munmap(words, PAGE);
	return 0;
}

static void answers(void **state)
{
	struct session_swap asked = begin_swap();

	(void)state;
	end_swap(&asked, sizeof(asked));
	assert_int_equal(swap.result, 0);
	assert_int_equal(swap.expected, 11);
	asked = begin_swap();
	asked.expected = 33;
	end_swap(&asked, sizeof(asked));
	assert_int_equal(swap.result, 0);
	assert_int_equal(swap.expected, 33);
	asked = begin_swap();
	asked.error = -EFAULT;
	end_swap(&asked, sizeof(asked));
	assert_int_equal(swap.result, -EFAULT);
}

/* What is not to be written, or not there, is not asked for. */
static void known_before(void **state)
{
	uint64_t expected = 0;

	(void)state;
	assert_int_equal(mprotect(words, PAGE, PROT_READ), 0);
	assert_int_equal(abi_memory_swap(memory(), (uint64_t)(uintptr_t)words, 8, &expected, 1), -EFAULT);
	assert_int_equal(munmap(words, PAGE), 0);
	assert_int_equal(abi_memory_swap(memory(), (uint64_t)(uintptr_t)words, 8, &expected, 1), -EFAULT);
	assert_int_equal(recv(swapper.socket, &expected, sizeof(expected), MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static void one_at_a_time(void **state)
{
	struct session_swap asked;

	(void)state;
	assert_int_equal(be_swapper(&program), -EBUSY);
	assert_int_equal(be_swapper(&program), -EBUSY); /* the connection goes on */
	asked = begin_swap();
	end_swap(&asked, sizeof(asked));
	assert_int_equal(swap.result, 0);
}

/* Who does not speak as he should is hung up on, and another one may come. */
static void wrong_answers(void **state)
{
	(void)state;
	for (unsigned int wrong = 0; wrong < 4; wrong++) {
		struct session_swap asked = begin_swap(), twice[2] = {asked, asked};
		char byte;

		if (wrong == 0)
			end_swap(&asked, sizeof(asked) - 1);
		if (wrong == 1)
			end_swap(twice, sizeof(twice));
		asked.address += 8;
		if (wrong == 2)
			end_swap(&asked, sizeof(asked));
		if (wrong == 3)
			assert_int_equal(shutdown(swapper.socket, SHUT_WR), 0);
		if (wrong == 3)
			end_swap(NULL, 0);
		assert_int_equal(swap.result, -EFAULT);
		assert_int_equal(recv(swapper.socket, &byte, 1, 0), 0);
		close(swapper.socket);
		new_swapper();
		asked = begin_swap();
		end_swap(&asked, sizeof(asked));
		assert_int_equal(swap.result, 0);
	}
}

static void nobody(void **state)
{
	uint64_t expected = 0;

	(void)state;
	close(swapper.socket);
	assert_int_equal(abi_memory_swap(memory(), (uint64_t)(uintptr_t)words, 8, &expected, 1), -EFAULT);
	new_swapper();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(answers, setup, teardown),
		cmocka_unit_test_setup_teardown(known_before, setup, teardown),
		cmocka_unit_test_setup_teardown(one_at_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

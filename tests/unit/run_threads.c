/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A whole session in this process, and a program of 64 threads that make, map, attach and end everything at once, and look at what
 * there is. With a trace.
 */
#include "test.h"

#include <pthread.h>
#include <sys/mman.h>

#include "abi/spec.h"
#include "support/program.h"
#include "util/util.h"

enum { THREADS = 64, ROUNDS = 24, PAGE = 4096 };

static struct session session;
static struct uiommu_process bundle;
static uint64_t token;
static int shared; /* an iommufd */

struct mock {
	uint32_t size, op, id, reserved, stdev_id, hwpt_id, out[12];
};

static void *serve(void *opaque)
{
	session_serve(&session, *(int *)opaque);
	return NULL;
}

static uint32_t alloc(struct program *program, int fd)
{
	struct abi_ioas_alloc arguments = {.size = sizeof(arguments)};

	assert_int_equal(program_ioctl(program, fd, ABI_COMMAND(ABI_IOAS_ALLOC), &arguments, sizeof(arguments)), 0);
	return arguments.out_ioas_id;
}

static void destroy(struct program *program, int fd, uint32_t id)
{
	struct abi_destroy arguments = {.size = sizeof(arguments), .id = id};

	assert_int_equal(program_ioctl(program, fd, ABI_COMMAND(ABI_DESTROY), &arguments, sizeof(arguments)), 0);
}

static void round_of(struct program *program, uint8_t *memory)
{
	uint32_t ioas = alloc(program, shared);
	struct abi_ioas_map map = {.size = sizeof(map),
				   .flags = 7,
				   .ioas_id = ioas,
				   .user_va = (uint64_t)(uintptr_t)memory,
				   .length = PAGE,
				   .iova = 1 << 24};
	struct abi_ioas_unmap unmap = {.size = sizeof(unmap), .ioas_id = ioas, .iova = 1 << 24, .length = PAGE};
	struct mock mock = {.size = sizeof(mock), .op = 2, .id = ioas};

	assert_int_equal(program_ioctl(program, shared, ABI_COMMAND(ABI_IOAS_MAP), &map, sizeof(map)), 0);
	assert_int_equal(program_ioctl(program, shared, ABI_COMMAND(ABI_TEST), &mock, sizeof(mock)), 0);
	assert_int_equal(program_ioctl(program, shared, ABI_COMMAND(ABI_IOAS_UNMAP), &unmap, sizeof(unmap)), 0);
	destroy(program, shared, mock.stdev_id);
	destroy(program, shared, ioas);
}

/* Whoever looks keeps nothing from ending. */
static void list_all(struct program *program)
{
	struct session_request list = {.op = SESSION_LIST};
	int text = -1;

	assert_int_equal(program_call(program, &list, NULL, NULL, 0, &text), 0);
	assert_true(text >= 0);
	close(text);
}

static void *hammer(void *opaque)
{
	uint8_t *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct program program = {.socket = -1};

	(void)opaque;
	assert_ptr_not_equal(memory, MAP_FAILED);
	memset(memory, 1, PAGE);
	assert_int_equal(program_connect(&program, &session, token, &bundle), 0);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		round_of(&program, memory);
		if (i % 8 == 0) {
			int own = program_open(&program, "/dev/iommu");

			assert_true(own >= 0);
			assert_int_equal(alloc(&program, own), 1);
			close(own);
			list_all(&program);
		}
	}
	close(program.socket);
	munmap(memory, PAGE);
	return NULL;
}

static void many_threads(void **state)
{
	struct session_options options = {.mock = true, .trace = "/dev/null", .report = -1};
	pthread_t server, threads[THREADS];
	struct program program = {.socket = -1};
	char complaint[256];
	int first[2];

	(void)state;
	assert_int_equal(session_create(&session, &options, complaint, sizeof(complaint)), 0);
	assert_int_equal(uiommu_process_open(getpid(), UIOMMU_READ | UIOMMU_WRITE, &bundle), 0);
	assert_int_equal(pipe(first), 0);
	assert_int_equal(pthread_create(&server, NULL, serve, &first[0]), 0);
	assert_int_equal(program_connect(&program, &session, 0, &bundle), 0);
	token = program.token;
	shared = program_open(&program, "/dev/iommu");
	assert_true(shared >= 0);
	for (unsigned int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, NULL), 0);
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	/* Nothing is left: the first number is free. */
	assert_int_equal(alloc(&program, shared), 1);
	close(shared);
	close(program.socket);
	/* And that ends the session, once its first process has ended, too. */
	close(first[1]);
	pthread_join(server, NULL);
	assert_int_equal(session.held_count, 0);
	assert_int_equal(session.peer_count + session.peers_aside, 0);
	assert_null(session.members);
	session_destroy(&session);
	uiommu_process_close(&bundle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

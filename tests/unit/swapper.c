/* SPDX-License-Identifier: BSD-3-Clause */
/* The shim's thread that does compare-and-swaps, in this process, with a session that is this test. */
#include "test.h"

#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "abi/shim/client.h"
#include "abi/shim/signals.h"
#include "abi/shim/swap.h"
#include "abi/shim/sys.h"

enum { STARTERS = 32 };

static struct sockaddr_un name = {.sun_family = AF_UNIX};
static socklen_t name_length = sizeof(name);
static int listener, connection = -1; /* with the thread */
static bool refused; /* there is no session */
static uint64_t words[4];
static uint64_t unreadable; /* an address, as the kernel says */

/* --- what the shim has, as far as the thread needs it; all of this is called in it, which has no errno --- */

int client_connection(void)
{
	int fd = (int)sys_3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (__atomic_load_n(&refused, __ATOMIC_RELAXED))
		return -ENODEV;
	return sys_3(SYS_connect, fd, (long)&name, (long)name_length) ? -ENODEV : fd;
}

int64_t client_say(int socket, struct session_request *request)
{
	return socket >= 0 && request->op == SESSION_SWAPPER ? 0 : -EPROTO;
}

bool client_can_read(uint64_t address)
{
	return address != __atomic_load_n(&unreadable, __ATOMIC_RELAXED);
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
	if (!swap_signal(signal, info, context))
		_exit(4);
}

void signals_own(int signal)
{
	struct sigaction action = {.sa_flags = SA_SIGINFO | SA_NODEFER};

	action.sa_sigaction = on_signal;
	sigaction(signal, &action, NULL);
}

/* --- */

static bool accept_one(void)
{
	connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	return connection >= 0;
}

/* The thread has ended, and is not in this process any more. */
static void wait_for_end(void)
{
	unsigned int threads;

	do {
		DIR *all = opendir("/proc/self/task");

		assert_non_null(all);
		for (threads = 0; readdir(all); threads++)
			;
		closedir(all);
		sched_yield();
	} while (threads != 3); /* . and .. */
}

static void end(void)
{
	if (connection >= 0)
		close(connection);
	connection = -1;
	wait_for_end();
}

static void start(void)
{
	end();
	swap_start();
	assert_true(accept_one());
}

static int setup(void **state)
{
	(void)state;
	listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(listener >= 0);
	/* A name of the kernel's choice. */
	assert_int_equal(bind(listener, (struct sockaddr *)&name, sizeof(name.sun_family)), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&name, &name_length), 0);
	assert_int_equal(listen(listener, STARTERS), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	end();
	close(listener);
	return 0;
}

static struct session_swap do_swap(uint64_t address, unsigned int length, uint64_t expected, uint64_t value)
{
	struct session_swap swap = {.address = address, .expected = expected, .value = value, .length = length, .error = 99};
	ssize_t got;

	assert_int_equal(send(connection, &swap, sizeof(swap), MSG_NOSIGNAL), sizeof(swap));
	do
		got = recv(connection, &swap, sizeof(swap), 0);
	while (got < 0 && errno == EAGAIN && !sched_yield());
	assert_int_equal(got, sizeof(swap));
	assert_int_equal(swap.address, address);
	return swap;
}

static uint64_t address_of(const uint64_t *word)
{
	return (uint64_t)(uintptr_t)word;
}

static void swaps(void **state)
{
	struct session_swap swap;

	(void)state;
	start();
	words[1] = UINT64_C(0x1111111122222222);
	words[2] = 5;
	swap = do_swap(address_of(&words[1]), 8, words[1], UINT64_C(0x3333333344444444));
	assert_int_equal(swap.error, 0);
	assert_true(swap.expected == UINT64_C(0x1111111122222222) && words[1] == UINT64_C(0x3333333344444444));
	/* Who loses is told what is there. */
	swap = do_swap(address_of(&words[1]), 8, 7, 8);
	assert_int_equal(swap.error, 0);
	assert_true(swap.expected == UINT64_C(0x3333333344444444) && words[1] == UINT64_C(0x3333333344444444));
	/* Half of a word. */
	swap = do_swap(address_of(&words[1]) + 4, 4, 0x33333333, 0x55555555);
	assert_int_equal(swap.error, 0);
	assert_true(swap.expected == 0x33333333 && words[1] == UINT64_C(0x5555555544444444));
	swap = do_swap(address_of(&words[1]), 4, 0x33333333, 0x55555555);
	assert_true(!swap.error && swap.expected == 0x44444444 && words[1] == UINT64_C(0x5555555544444444));
	assert_true(!words[0] && words[2] == 5);
}

static void nothing_there(void **state)
{
	uint64_t *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct session_swap swap;

	(void)state;
	assert_ptr_not_equal(page, MAP_FAILED);
	start();
	for (unsigned int length = 4; length <= 8; length += 4) {
		swap = do_swap(address_of(page), length, 0, 1);
		assert_int_equal(swap.error, -EFAULT);
		assert_int_equal(swap.expected, 0);
	}
	assert_int_equal(munmap(page, 4096), 0);
	assert_int_equal(do_swap(address_of(page), 8, 0, 1).error, -EFAULT);
	assert_int_equal(do_swap(0, 8, 0, 1).error, -EFAULT);
	/* What the kernel says is not tried. */
	__atomic_store_n(&unreadable, address_of(&words[0]), __ATOMIC_RELAXED);
	words[0] = 1;
	assert_int_equal(do_swap(address_of(&words[0]), 8, 1, 2).error, -EFAULT);
	assert_int_equal(words[0], 1);
	__atomic_store_n(&unreadable, 0, __ATOMIC_RELAXED);
	words[0] = 1;
	assert_int_equal(do_swap(address_of(&words[0]), 8, 1, 2).error, 0);
	assert_int_equal(words[0], 2);
}

static pthread_barrier_t barrier;

static void *start_at_once(void *opaque)
{
	pthread_barrier_wait(&barrier);
	swap_start();
	return opaque;
}

/* Whoever needs it goes on when it is there, and there is one. */
static void many_start_it(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < 20; round++) {
		pthread_t threads[STARTERS];

		end();
		pthread_barrier_init(&barrier, NULL, STARTERS);
		for (unsigned int i = 0; i < STARTERS; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, start_at_once, NULL), 0);
		for (unsigned int i = 0; i < STARTERS; i++)
			assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_true(accept_one());
		assert_int_equal(accept4(listener, NULL, NULL, 0), -1);
		words[0] = round;
		assert_int_equal(do_swap(address_of(&words[0]), 8, round, round + 1).error, 0);
	}
}

static void no_session(void **state)
{
	(void)state;
	end();
	__atomic_store_n(&refused, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < 10; i++)
		swap_start();
	wait_for_end();
	assert_false(accept_one());
	__atomic_store_n(&refused, false, __ATOMIC_RELAXED);
	start();
	words[0] = 3;
	assert_int_equal(do_swap(address_of(&words[0]), 8, 3, 4).error, 0);
}

static void forbid(int call)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned int)call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {.len = 4, .filter = filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(5);
}

/* Nobody waits for what does not come: in a child each, which has no thread of its parent's. */
static void what_fails(void **state)
{
	static const int calls[] = {SYS_clone, SYS_close_range, SYS_socket, SYS_madvise};

	(void)state;
	start();
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		pid_t pid = fork();
		int status;

		assert_true(pid >= 0);
		if (!pid) {
			forbid(calls[i]);
			swap_start();
			_exit(accept_one() ? 6 : 7);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), calls[i] == SYS_madvise ? 6 : 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(swaps),      cmocka_unit_test(nothing_there), cmocka_unit_test(many_start_it),
		cmocka_unit_test(no_session), cmocka_unit_test(what_fails),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A process that ends, or becomes another in the middle of it. */
#include "test.h"

#include <pthread.h>
#include <sys/auxv.h>
#include <sys/fsuid.h>

#include "ends.h"

static void exits(void **state)
{
	struct process_vma vma;
	struct target target;
	struct process *late;

	(void)state;
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		target_start(&target, RW, ways[way]);
		kill(target.child.pid, SIGKILL);
		siginfo_t info;
		waitid(P_PID, (id_t)target.child.pid, &info, WEXITED | WNOWAIT);
		expect_gone(target.process); /* a zombie */
		assert_int_equal(process_open(&target.bundle, RW, ways[way], &late), -ESRCH);
		waitpid(target.child.pid, NULL, 0);
		expect_gone(target.process); /* nothing at all */
		assert_int_equal(process_open(&target.bundle, RW, ways[way], &late), -ESRCH);
		assert_int_equal(process_describe(target.process, (uintptr_t)ARENA, &vma), -ESRCH);
		process_close(target.process);
		uiommu_process_close(&target.bundle);
		close(target.child.fd);
	}
}

static void exits_with_the_memory_alive(void **state)
{
	struct target target;
	pid_t sibling;

	(void)state;
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		sibling = target_start_with_sibling(&target, ways[way]);
		assert_int_equal(child_call(&target.child, fill_plain, 0x22), 0);
		kill(target.child.pid, SIGKILL);
		waitpid(target.child.pid, NULL, 0);
		expect_gone(target.process);
		sibling_holds(sibling, 0x22, true);
		close(sibling_pipe[1]);
		process_close(target.process);
		uiommu_process_close(&target.bundle);
		close(target.child.fd);
	}
}

/* A new child with a chosen pid: a copy of this process, with the same cookie as any other. */
static pid_t fork_with_pid(pid_t pid, int fd)
{
	struct {
		uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
	} args = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid, .set_tid_size = 1};
	long made = syscall(SYS_clone3, &args, sizeof(args));

	if (!made) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		child_socket = fd;
		child_serve(fd);
	}
	return made < 0 ? -errno : (pid_t)made;
}

static void pid_is_recycled(void **state)
{
	struct target target;
	int fds[2];
	pid_t pid;

	(void)state;
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		target_start(&target, RW, ways[way]);
		kill(target.child.pid, SIGKILL);
		waitpid(target.child.pid, NULL, 0);
		close(target.child.fd);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		target.child.fd = fds[0];
		arena_make();
		pid = fork_with_pid(target.child.pid, fds[1]);
		arena_drop();
		if (pid < 0) {
			print_message("# skipped: a pid can be chosen with CAP_CHECKPOINT_RESTORE only (%s)\n", strerror(-pid));
			process_close(target.process);
			uiommu_process_close(&target.bundle);
			skip();
		}
		assert_int_equal(pid, target.child.pid);
		close(fds[1]);
		assert_int_equal(child_call(&target.child, fill_plain, 0x31), 0);
		expect_gone(target.process);
		assert_int_equal(child_call(&target.child, holds, 0x31), 0);
		target_end(&target);
	}
}

/* The process goes on, and its pid becomes useless. */
static long become_undumpable(uintptr_t unused)
{
	(void)unused;
	return prctl(PR_SET_DUMPABLE, 0);
}

static long overwrite_cookie(uintptr_t unused)
{
	(void)unused;
	memset((void *)getauxval(AT_RANDOM), 0x3c, 16);
	return 0;
}

static void *serve_in_thread(void *fd)
{
	child_serve((int)(intptr_t)fd);
	return NULL;
}

static long end_first_thread(uintptr_t unused)
{
	pthread_t thread;
	long ok = 0;

	(void)unused;
	pthread_create(&thread, NULL, serve_in_thread, (void *)(intptr_t)child_socket);
	if (write(child_socket, &ok, sizeof(ok)) != sizeof(ok))
		_exit(1);
	pthread_exit(NULL);
}

static void cookie_is_overwritten(void **state)
{
	struct target target;

	(void)state;
	target_start(&target, RW, 0);
	assert_int_equal(child_call(&target.child, overwrite_cookie, 0), 0);
	still_works(&target);
	assert_int_equal(child_call(&target.child, execute_image, 0), 0);
	expect_gone(target.process);
	target_end(&target);
}

/* Where nothing can be learned from the pid, an exec event cannot tell this from an exec. */
static bool first_thread_counts(unsigned int without)
{
	return without & UIOMMU_WITHOUT_PROCESS_VM && exec_is_noticed(without);
}

static void first_thread_ends(void **state)
{
	struct target target;
	unsigned int reason;
	uint8_t byte;

	(void)state;
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		target_start_with_sibling(&target, ways[way]);
		assert_int_equal(child_call(&target.child, end_first_thread, 0), 0);
		if (first_thread_counts(ways[way])) {
			while (read_one(target.process, ARENA, &byte, 1, &reason))
				sched_yield();
			expect_gone(target.process);
		} else {
			/* Until the thread is a zombie, the pid still works. */
			still_works(&target);
			still_works(&target);
		}
		assert_int_equal(child_call(&target.child, execute_image, 0), 0);
		if (exec_is_noticed(ways[way]))
			expect_gone(target.process);
		image_is_untouched(&target.child);
		close(sibling_pipe[1]);
		target_end(&target);
	}
}

static void *do_nothing(void *unused)
{
	return unused;
}

__attribute__((no_sanitize("thread"))) static int execute_true(void *unused)
{
	char *const arguments[] = {(char *)"true", NULL};

	(void)unused;
	syscall(SYS_execve, "/bin/true", arguments, NULL);
	return 1;
}

/* What a process does besides executing: names, threads, children; those execute. */
static long live_on(uintptr_t rounds)
{
	static uint8_t stack[1 << 16] __attribute__((aligned(64)));
	pthread_t thread;
	int status = 0;
	pid_t pid;

	for (uintptr_t i = 0; i < rounds; i++) {
		char name[16];

		snprintf(name, sizeof(name), "name %u", (unsigned int)i);
		prctl(PR_SET_NAME, name);
		if (pthread_create(&thread, NULL, do_nothing, NULL) || pthread_join(thread, NULL))
			return 1;
		pid = fork();
		if (!pid)
			_exit(execute_true(NULL));
		if (waitpid(pid, &status, 0) != pid || status)
			return 2;
		pid = __clone(execute_true, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
		if (waitpid(pid, &status, 0) != pid || status)
			return 3;
	}
	return 0;
}

static void lives_on(void **state)
{
	struct target target;

	(void)state;
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		target_start(&target, RW, ways[way]);
		assert_int_equal(child_call(&target.child, live_on, 20), 0);
		still_works(&target);
		target_end(&target);
	}
}

/* cmocka's assertions work here, too: a failure ends this process with a status that is not 0. */
static int undumpable_as_somebody(void)
{
	struct target target;

	EXPECT(!become(SOMEBODY, SOMEBODY, SOMEBODY));
	target_start(&target, RW, 0);
	still_works(&target);
	EXPECT(!child_call(&target.child, become_undumpable, 0));
	EXPECT(uiommu_process_open(target.child.pid, UIOMMU_READ, &target.bundle) < 0);
	still_works(&target); /* the authority was given */
	EXPECT(!child_call(&target.child, execute_image, 0));
	expect_gone(target.process);
	target_end(&target);
	return 0;
}

static void authority_is_kept(void **state)
{
	(void)state;
	if (!is_root())
		skip();
	run_apart(undumpable_as_somebody);
}

/* A program with another identity, waiting. Returns its pid. */
static pid_t stranger(uid_t real, uid_t effective, uid_t saved)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe(ready))
		return -1;
	pid = fork();
	if (!pid) {
		if (become(real, effective, saved) || write(ready[1], "", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	if (read(ready[0], &byte, 1) != 1)
		return -1;
	close(ready[0]);
	close(ready[1]);
	return pid;
}

struct ids {
	uid_t real, effective, saved, fs;
};

/* What a process with these ids, and without capabilities, gets: 0, or the errno. */
static int open_as(struct ids ids, pid_t target)
{
	struct uiommu_process bundle;
	pid_t pid = fork();
	int status;

	if (!pid) {
		if (syscall(SYS_setgroups, 0, NULL) || setresgid(SOMEBODY, SOMEBODY, SOMEBODY) ||
		    setresuid(ids.real, ids.effective, ids.saved))
			_exit(255);
		/* It tells the old one, and after a second call whether the first one worked. */
		setfsuid(ids.fs);
		if ((uid_t)setfsuid(ids.fs) != ids.fs)
			_exit(254);
		_exit(-uiommu_process_open(target, RW, &bundle));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 253;
	return WEXITSTATUS(status);
}

static bool refused(int error)
{
	return error == EPERM || error == EACCES;
}

static struct ids all(uid_t uid)
{
	return (struct ids){uid, uid, uid, uid};
}

/* Real and file-system ids both have to be the target's; the others decide nothing. */
static int credentials_body(void)
{
	const struct ids set_uid_program = {SOMEBODY, SOMEBODY_ELSE, SOMEBODY_ELSE, SOMEBODY_ELSE},
			 other_real = {SOMEBODY_ELSE, SOMEBODY, SOMEBODY, SOMEBODY},
			 other_fs = {SOMEBODY, SOMEBODY, SOMEBODY_ELSE, SOMEBODY_ELSE},
			 only_real_and_fs = {SOMEBODY, SOMEBODY_ELSE, SOMEBODY_ELSE, SOMEBODY},
			 neither = {SOMEBODY_ELSE, SOMEBODY, SOMEBODY, SOMEBODY_ELSE};
	pid_t his, roots, set_uid, without_power;

	EXPECT(!prctl(PR_CAPBSET_DROP, 19 /* CAP_SYS_PTRACE */));
	his = stranger(SOMEBODY, SOMEBODY, SOMEBODY);
	roots = getppid();
	set_uid = stranger(SOMEBODY, SOMEBODY_ELSE, SOMEBODY_ELSE);
	without_power = stranger(SOMEBODY_ELSE, SOMEBODY_ELSE, SOMEBODY_ELSE);
	EXPECT(his > 0 && set_uid > 0 && without_power > 0);
	EXPECT(open_as(all(SOMEBODY), his) == 0);
	EXPECT(open_as(only_real_and_fs, his) == 0);
	/* Root's process. */
	EXPECT(refused(open_as(all(SOMEBODY), roots)));
	EXPECT(refused(open_as(all(SOMEBODY_ELSE), roots)));
	EXPECT(refused(open_as(set_uid_program, roots)));
	/* A program that lends out the rights of who calls it, or of its owner, would let one of these through. */
	EXPECT(refused(open_as(set_uid_program, his)));
	EXPECT(refused(open_as(set_uid_program, without_power)));
	EXPECT(refused(open_as(other_real, his)));
	EXPECT(refused(open_as(other_real, without_power)));
	EXPECT(refused(open_as(other_fs, his)));
	EXPECT(refused(open_as(other_fs, without_power)));
	EXPECT(refused(open_as(neither, his)));
	EXPECT(open_as(all(SOMEBODY_ELSE), without_power) == 0);
	/* And such a program is nobody's. */
	EXPECT(refused(open_as(all(SOMEBODY), set_uid)));
	EXPECT(refused(open_as(all(SOMEBODY_ELSE), set_uid)));
	EXPECT(refused(open_as(set_uid_program, set_uid)));
	kill(without_power, SIGKILL);
	kill(his, SIGKILL);
	kill(set_uid, SIGKILL);
	return 0;
}

static void credentials_decide(void **state)
{
	(void)state;
	if (!is_root())
		skip();
	run_apart(credentials_body);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exits),
		cmocka_unit_test(exits_with_the_memory_alive),
		cmocka_unit_test(pid_is_recycled),
		cmocka_unit_test(cookie_is_overwritten),
		cmocka_unit_test(first_thread_ends),
		cmocka_unit_test(lives_on),
		cmocka_unit_test(authority_is_kept),
		cmocka_unit_test(credentials_decide),
	};

	if (argc == 4 && !strcmp(argv[1], "image"))
		return image_main(atoi(argv[2]), (uint8_t)atoi(argv[3]));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

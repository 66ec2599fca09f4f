/* SPDX-License-Identifier: BSD-3-Clause */
/* What an executor, or a guest's server, may not do even if somebody else decides what it does; and what it has to be able to do.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pci/irqs.h"
#include "sandbox/sandbox.h"

static int pair[2]; /* sockets */

static int be_executor(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || sandbox_broker(SANDBOX_ENFORCE))
		return -1;
	return sandbox_executor(SANDBOX_ENFORCE);
}

static int be_server(void)
{
	return sandbox_server(SANDBOX_ENFORCE, false);
}

static int (*confine)(void); /* one of these */

/* A process that is confined so and does only this: its status, as wait() gives it. */
static int in_confinement(void (*run)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (confine())
			_exit(100);
		run();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void expect_killed(void (*run)(void))
{
	int status = in_confinement(run);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void expect_done(void (*run)(void))
{
	int status = in_confinement(run);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void check(bool good)
{
	if (!good)
		_exit(1);
}

/* --- signals --- */

static void tgkill_parent(void)
{
	syscall(SYS_tgkill, getppid(), getppid(), 0);
}

static void tgkill_any(void)
{
	syscall(SYS_tgkill, -1, getppid(), 0);
}

static void kill_parent(void)
{
	syscall(SYS_kill, getppid(), 0);
}

static void queue_signal(void)
{
	siginfo_t info = {.si_code = SI_QUEUE};

	syscall(SYS_rt_sigqueueinfo, getppid(), 0, &info);
}

static void queue_thread_signal(void)
{
	siginfo_t info = {.si_code = SI_QUEUE};

	syscall(SYS_rt_tgsigqueueinfo, getppid(), getppid(), 0, &info);
}

static void signal_by_pidfd(void)
{
	syscall(SYS_pidfd_send_signal, 0, 0, NULL, 0);
}

static void own_a_socket(void)
{
	fcntl(pair[0], F_SETOWN, getppid());
}

static void choose_a_signal(void)
{
	fcntl(pair[0], F_SETSIG, SIGKILL);
}

static void ask_for_signals(void)
{
	fcntl(pair[0], F_SETFL, O_ASYNC);
}

static void own_by_ioctl(void)
{
	int pid = getppid();

	ioctl(pair[0], FIOSETOWN, &pid);
}

static void no_signals_to_others(void **state)
{
	(void)state;
	expect_killed(tgkill_parent);
	expect_killed(tgkill_any);
	expect_killed(kill_parent);
	expect_killed(queue_signal);
	expect_killed(queue_thread_signal);
	expect_killed(signal_by_pidfd);
	expect_killed(own_a_socket);
	expect_killed(choose_a_signal);
	expect_killed(ask_for_signals);
	expect_killed(own_by_ioctl);
}

static void no_operation(int signal)
{
	(void)signal;
}

static void signal_itself(void)
{
	struct sigaction action = {.sa_handler = no_operation};

	check(!sigaction(SIGUSR1, &action, NULL));
	check(!raise(SIGUSR1));
	check(!pthread_kill(pthread_self(), SIGUSR1));
}

static void signals_to_itself(void **state)
{
	int status;

	(void)state;
	expect_done(signal_itself);
	status = in_confinement(abort);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* --- other processes, other files --- */

static void trace(void)
{
	syscall(SYS_ptrace, 0, 0, 0, 0);
}

static void limit_parent(void)
{
	struct rlimit limit = {0, 0};

	syscall(SYS_prlimit64, getppid(), RLIMIT_CPU, &limit, NULL);
}

static void write_memory(void)
{
	syscall(SYS_process_vm_writev, getppid(), NULL, 0, NULL, 0, 0);
}

static void fork_once(void)
{
	syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void take_descriptor(void)
{
	syscall(SYS_pidfd_getfd, 0, 0, 0);
}

static void make_code(void)
{
	(void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void ask_a_driver(void)
{
	int count;

	ioctl(pair[0], FIONREAD, &count);
}

/* As PROCMAP_QUERY, type and number 'f' and 17; a file system would swap its boot inode. */
static void ask_a_namesake(void)
{
	ioctl(pair[0], _IO('f', 17));
}

static void nothing_of_others(void **state)
{
	(void)state;
	expect_killed(trace);
	expect_killed(limit_parent);
	expect_killed(write_memory);
	expect_killed(fork_once);
	expect_killed(take_descriptor);
	expect_killed(make_code);
	expect_killed(ask_a_driver);
	expect_killed(ask_a_namesake);
}

static void work_with_files(void)
{
	int fd = memfd_create("sandbox", MFD_CLOEXEC | MFD_ALLOW_SEALING), copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	check(fd >= 0 && copy >= 0);
	check(!ftruncate(fd, 4096) && !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	check(fcntl(copy, F_GET_SEALS) == F_SEAL_SHRINK);
	check((fcntl(copy, F_GETFL) & O_ACCMODE) == O_RDWR);
	check(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) >= 0);
	check(send(pair[0], "x", 1, MSG_NOSIGNAL) == 1);
}

static void *idle(void *opaque)
{
	return opaque;
}

static void make_a_thread(void)
{
	pthread_t thread;

	check(!pthread_create(&thread, NULL, idle, NULL));
	check(!pthread_join(thread, NULL));
}

static void its_own_work(void **state)
{
	(void)state;
	expect_done(work_with_files);
	expect_done(make_a_thread);
}

/* --- of a server only --- */

static void read_others(void)
{
	syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0);
}

static void execute(void)
{
	char *const arguments[] = {(char[]){"true"}, NULL};

	execv("/bin/true", arguments);
}

static void make_a_socket(void)
{
	socket(AF_UNIX, SOCK_STREAM, 0);
}

static void look_at_a_map(void)
{
	ioctl(pair[0], _IOC(_IOC_READ | _IOC_WRITE, 'f', 17, 104), NULL);
}

static void nothing_of_processes(void **state)
{
	(void)state;
	expect_killed(read_others);
	expect_killed(execute);
	expect_killed(make_a_socket);
	expect_killed(look_at_a_map);
}

static void use_names(void)
{
	check(open("/dev/null", O_RDONLY) == -1 && errno == ENOENT);
	check(open("/proc/self/maps", O_RDONLY | O_CLOEXEC) == -1 && errno == ENOENT);
	check(unlink("/nowhere/at/all") == -1 && errno == ENOENT);
	check(unlink("/") == -1 && errno == ENOENT); /* not EISDIR */
	check(access("/", F_OK) == -1 && errno == ENOENT);
}

static void serve(void)
{
	int fd = memfd_create("sandbox", MFD_CLOEXEC), event = eventfd(0, EFD_CLOEXEC);
	uint64_t count = 0;
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	check(!ftruncate(fd, 8192) && !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) && !fdatasync(fd));
	check(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
	check(!fcntl(event, F_SETFL, O_NONBLOCK) && fcntl(event, F_GETFL) & O_NONBLOCK);
	check(pci_eventfd_signal(event) && read(event, &count, sizeof(count)) == sizeof(count) && count == 1);
	check(accept4(pair[0], (struct sockaddr *)&address, &(socklen_t){sizeof(address)}, SOCK_CLOEXEC) == -1 && errno != ENOENT);
}

static void names_and_work(void **state)
{
	(void)state;
	expect_done(use_names);
	expect_done(serve);
}

static void *execute_later(void *opaque)
{
	const int *go = opaque;
	char c;

	check(read(*go, &c, 1) == 1);
	execute();
	return NULL;
}

/* A thread that has begun before is confined as all others. */
static void a_thread_that_was_there(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	assert_true(pid >= 0);
	if (!pid) {
		pthread_t thread;
		int go[2];

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		check(!pipe(go));
		check(!pthread_create(&thread, NULL, execute_later, go));
		check(!be_server() && write(go[1], "x", 1) == 1);
		pthread_join(thread, NULL);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

static void unknown_modes(void **state)
{
	enum sandbox_mode mode = SANDBOX_OFF;

	(void)state;
	assert_true(sandbox_parse("enforce", &mode) && mode == SANDBOX_ENFORCE);
	assert_true(sandbox_parse("log", &mode) && mode == SANDBOX_LOG);
	assert_true(sandbox_parse("off", &mode) && mode == SANDBOX_OFF);
	assert_false(sandbox_parse("", &mode) || sandbox_parse("of", &mode) || sandbox_parse("offf", &mode));
}

static int as_executor(void **state)
{
	(void)state;
	confine = be_executor;
	return 0;
}

static int as_server(void **state)
{
	(void)state;
	confine = be_server;
	return 0;
}

#define BOTH(test)                                                                                                                 \
	{#test " (executor)", test, as_executor, NULL, NULL},                                                                      \
	{                                                                                                                          \
#test " (server)", test, as_server, NULL, NULL                                                                     \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(no_signals_to_others),
		BOTH(signals_to_itself),
		BOTH(nothing_of_others),
		BOTH(its_own_work),
		cmocka_unit_test_setup(nothing_of_processes, as_server),
		cmocka_unit_test_setup(names_and_work, as_server),
		cmocka_unit_test(a_thread_that_was_there),
		cmocka_unit_test(unknown_modes),
	};

	if (sandbox_default() != SANDBOX_ENFORCE) {
		puts("1..0 # SKIP a sanitizer needs more calls than the program");
		return 0;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

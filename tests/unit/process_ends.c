/* SPDX-License-Identifier: BSD-3-Clause */
/* A process that ends, executes another program, or becomes another in the middle of it. */
#include "test.h"

#include <elf.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/fsuid.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "target.h"

/* Ends of the process. */
static void expect_gone(struct process *process)
{
	uint8_t buffer[64];
	unsigned int reason;

	memset(buffer, 0xee, sizeof(buffer));
	assert_int_equal(read_one(process, ARENA, buffer, sizeof(buffer), &reason), 0);
	assert_int_equal(reason, UIOMMU_FAULT_GONE);
	assert_int_equal(write_one(process, ARENA, buffer, sizeof(buffer), &reason), 0);
	assert_int_equal(reason, UIOMMU_FAULT_GONE);
}

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

/*
 * The image that a child executes maps the same addresses, fills them with another byte, and reports whether its memory is still
 * what it filled in (0): at once, and again for every byte 0 that it is sent. On another byte it executes itself once more with
 * that.
 */
enum { IMAGE_BYTE = 0x5c };

static long execute_image(uintptr_t byte)
{
	char fd[16], fill[16];

	snprintf(fd, sizeof(fd), "%d", child_socket);
	snprintf(fill, sizeof(fill), "%d", (int)(byte ? byte : IMAGE_BYTE));
	execl("/proc/self/exe", "process", "image", fd, fill, NULL);
	return -errno;
}

static int image_main(int fd, uint8_t byte)
{
	size_t length = 2 * page_size();
	uint8_t command;
	long result;

	if (mmap(ARENA, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != ARENA)
		_exit(1);
	memset(ARENA, byte, length);
	child_socket = fd;
	do {
		result = holds(byte);
		if (write(fd, &result, sizeof(result)) != sizeof(result))
			break;
		if (read(fd, &command, 1) != 1)
			break;
	} while (!command || !execute_image(command));
	return 0;
}

static void image_is_untouched(const struct child *child)
{
	assert_int_equal(write(child->fd, "", 1), 1);
	assert_int_equal(child_receive(child), 0);
}

static void executes(void **state)
{
	struct target target;

	(void)state;
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		target_start(&target, RW, ways[way]);
		assert_int_equal(child_call(&target.child, execute_image, 0), 0);
		expect_gone(target.process);
		image_is_untouched(&target.child);
		target_end(&target);
	}
}

/* A process that shares the child's memory and outlives its exec and its end. */
static int sibling_pipe[2];

/* Only system calls: ThreadSanitizer knows nothing of this process, which uses its memory. */
__attribute__((no_sanitize("thread"))) static int sibling_main(void *unused)
{
	char end;

	(void)unused;
	syscall(SYS_close, sibling_pipe[1]);
	return syscall(SYS_read, sibling_pipe[0], &end, 1) != 0;
}

/* The name that the sanitizers do not replace. */
int __clone(int (*function)(void *), void *stack, int flags, void *argument, ...);

static long start_sibling(uintptr_t unused)
{
	static uint8_t stack[1 << 16] __attribute__((aligned(64)));
	long pid = __clone(sibling_main, stack + sizeof(stack), CLONE_VM, NULL);

	(void)unused;
	close(sibling_pipe[1]);
	return pid;
}

/* Start @target with a sibling; the sibling ends when sibling_pipe[1] is closed. */
static pid_t target_start_with_sibling(struct target *target, unsigned int without)
{
	pid_t sibling;

	assert_int_equal(pipe2(sibling_pipe, O_CLOEXEC), 0);
	target_start(target, RW, without);
	sibling = (pid_t)child_call(&target->child, start_sibling, 0);
	assert_true(sibling > 0);
	close(sibling_pipe[0]);
	return sibling;
}

/* What the sibling has at PLAIN, by another way than the one that is tested. */
static void sibling_holds(pid_t sibling, uint8_t byte, bool expected)
{
	uint8_t seen;
	struct iovec local = {&seen, 1}, remote = {PLAIN + ARENA, 1};

	assert_int_equal(process_vm_readv(sibling, &local, 1, &remote, 1, 0), 1);
	assert_int_equal(seen == byte, expected);
}

static void executes_with_the_memory_alive(void **state)
{
	struct target target;
	pid_t sibling;

	(void)state;
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		if (ways[way] & UIOMMU_WITHOUT_PROCESS_VM)
			continue; /* see handle_only_reaches_the_old_memory() */
		sibling = target_start_with_sibling(&target, ways[way]);
		assert_int_equal(child_call(&target.child, fill_plain, 0x21), 0);
		assert_int_equal(child_call(&target.child, execute_image, 0), 0);
		expect_gone(target.process);
		image_is_untouched(&target.child);
		sibling_holds(sibling, 0x21, true);
		close(sibling_pipe[1]);
		target_end(&target);
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

/* The remaining risk that docs/security.md states: the old memory, never that of the new image. */
static void handle_only_reaches_the_old_memory(void **state)
{
	struct target target;
	unsigned int reason;
	uint8_t byte;

	(void)state;
	target_start_with_sibling(&target, UIOMMU_WITHOUT_PROCESS_VM);
	assert_int_equal(child_call(&target.child, fill_plain, 0x23), 0);
	assert_int_equal(child_call(&target.child, execute_image, 0), 0);
	assert_int_equal(read_one(target.process, ARENA, &byte, 1, &reason), 1);
	assert_int_equal(byte, 0x23);
	assert_int_equal(write_one(target.process, ARENA, "\x24", 1, &reason), 1);
	image_is_untouched(&target.child);
	close(sibling_pipe[1]);
	target_end(&target);
}

/* Threads that read and write while the target executes another program. */
struct racer {
	struct process *process;
	bool write;
	uint8_t byte; /* what is read and written */
	unsigned long wrong;
	unsigned long done;
};

static void *race(void *opaque)
{
	struct racer *racer = opaque;
	uint8_t buffer[5000];
	unsigned int reason = 0;

	while (reason != UIOMMU_FAULT_GONE) {
		size_t n = sizeof(buffer);

		memset(buffer, racer->byte, n);
		n = racer->write ? write_one(racer->process, ARENA, buffer, n, &reason)
				 : read_one(racer->process, ARENA, buffer, n, &reason);
		for (size_t i = 0; i < n; i++)
			racer->wrong += buffer[i] != racer->byte;
		__atomic_store_n(&racer->done, racer->done + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void race_once(unsigned int without)
{
	struct racer racers[2] = {{.write = true, .byte = 0x66}, {.byte = 0x66}};
	pthread_t threads[2];
	struct target target;

	target_start(&target, RW, without);
	assert_int_equal(child_call(&target.child, fill_plain, 0x66), 0);
	for (size_t i = 0; i < 2; i++) {
		racers[i].process = target.process;
		pthread_create(&threads[i], NULL, race, &racers[i]);
	}
	while (!__atomic_load_n(&racers[0].done, __ATOMIC_ACQUIRE) || !__atomic_load_n(&racers[1].done, __ATOMIC_ACQUIRE))
		sched_yield();
	assert_int_equal(child_call(&target.child, execute_image, 0), 0);
	image_is_untouched(&target.child);
	/* Both end by themselves: every access fails now. */
	for (size_t i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(racers[i].wrong, 0);
	}
	image_is_untouched(&target.child);
	target_end(&target);
}

static void executes_during_accesses(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++)
		for (size_t way = 0; way < ARRAY_SIZE(ways); way++)
			race_once(ways[way]);
}

/*
 * An image at the addresses of the one before, its stack and random bytes included: nothing is different but what the bytes are.
 */
static long fix_addresses(uintptr_t unused)
{
	(void)unused;
	return personality(ADDR_NO_RANDOMIZE) == -1;
}

static uint64_t random_address(const struct child *child)
{
	Elf64_auxv_t entry = {0};
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/auxv", (int)child->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (entry.a_type != AT_RANDOM)
		assert_int_equal(read(fd, &entry, sizeof(entry)), sizeof(entry));
	close(fd);
	return entry.a_un.a_val;
}

static void same_addresses_round(struct target *target, uint8_t before, uint8_t after, unsigned int without)
{
	uint64_t address = random_address(&target->child);
	struct racer racer = {.byte = before};
	pthread_t thread;

	assert_int_equal(uiommu_process_open(target->child.pid, RW, &target->bundle), 0);
	assert_int_equal(process_open(&target->bundle, RW, without, &target->process), 0);
	racer.process = target->process;
	pthread_create(&thread, NULL, race, &racer);
	while (!__atomic_load_n(&racer.done, __ATOMIC_ACQUIRE))
		sched_yield();
	assert_int_equal(write(target->child.fd, &after, 1), 1);
	assert_int_equal(child_receive(&target->child), 0);
	pthread_join(thread, NULL);
	assert_int_equal(racer.wrong, 0);
	assert_int_equal(random_address(&target->child), address);
	expect_gone(target->process);
	image_is_untouched(&target->child);
	process_close(target->process);
	uiommu_process_close(&target->bundle);
}

static void executes_at_the_same_addresses(void **state)
{
	struct target target;

	(void)state;
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		child_start(&target.child);
		assert_int_equal(child_call(&target.child, fix_addresses, 0), 0);
		assert_int_equal(child_call(&target.child, execute_image, 0x80), 0);
		for (uint8_t round = 0; round < 10; round++)
			same_addresses_round(&target, (uint8_t)(0x80 + round), (uint8_t)(0x81 + round), ways[way]);
		child_end(&target.child);
	}
}

/*
 * A process that says its random bytes are somewhere else, where they are what they will be in the next image, and a reader with
 * CAP_SYS_PTRACE who has the handle from somebody without it. He may not use the pid.
 */
static long forge_cookie(uintptr_t address)
{
	static Elf64_auxv_t vector[64];
	unsigned long field[52] = {0};
	struct prctl_mm_map map = {0};
	char text[1024], *at;
	int fd = open("/proc/self/auxv", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, vector, sizeof(vector));

	for (size_t i = 0; i < (size_t)n / sizeof(vector[0]); i++)
		if (vector[i].a_type == AT_RANDOM)
			vector[i].a_un.a_val = address;
	close(fd);
	fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	text[read(fd, text, sizeof(text) - 1)] = 0;
	close(fd);
	at = strrchr(text, ')') + 4; /* behind the state, field 3 */
	for (int i = 4; i < 52; i++)
		field[i] = strtoul(at, &at, 10);
	map = (struct prctl_mm_map){
		.start_code = field[26],
		.end_code = field[27],
		.start_stack = field[28],
		.start_data = field[45],
		.end_data = field[46],
		.start_brk = field[47],
		.brk = (uintptr_t)sbrk(0),
		.arg_start = field[48],
		.arg_end = field[49],
		.env_start = field[50],
		.env_end = field[51],
		.auxv = (void *)vector,
		.auxv_size = (uint32_t)n,
		.exe_fd = (uint32_t)-1,
	};
	return prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0) ? errno : 0;
}

static bool has_ptrace_capability(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	return !syscall(SYS_capget, &header, data) && data[0].effective & (1U << CAP_SYS_PTRACE);
}

static void forged_cookie_is_no_key(void **state)
{
	struct uiommu_process received;
	struct target target;
	unsigned int reason;
	uint8_t byte;
	long error;

	(void)state;
	if (!has_ptrace_capability()) {
		print_message("# skipped: needs CAP_SYS_PTRACE\n");
		skip();
	}
	arena_make();
	child_start(&target.child);
	arena_drop();
	assert_int_equal(child_call(&target.child, fill_plain, IMAGE_BYTE), 0);
	error = child_call(&target.child, forge_cookie, (uintptr_t)ARENA);
	if (error) {
		print_message("# skipped: PR_SET_MM_MAP: %s\n", strerror((int)error));
		child_end(&target.child);
		skip();
	}
	assert_int_equal(random_address(&target.child), (uintptr_t)ARENA);
	assert_int_equal(uiommu_process_open(target.child.pid, RW, &target.bundle), 0);
	/* As from a socket: other numbers. */
	received = (struct uiommu_process){.mem = dup(target.bundle.mem),
					   .maps = dup(target.bundle.maps),
					   .pidfd = dup(target.bundle.pidfd),
					   .auxv = dup(target.bundle.auxv)};
	assert_int_equal(process_open(&received, RW, 0, &target.process), 0);
	assert_int_equal(read_one(target.process, ARENA + 100, &byte, 1, &reason), 1);
	assert_int_equal(byte, IMAGE_BYTE);
	assert_int_equal(child_call(&target.child, execute_image, 0), 0);
	expect_gone(target.process);
	uiommu_process_close(&received);
	target_end(&target);
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

static void still_works(struct target *target)
{
	uint8_t buffer[100], data[100];
	unsigned int reason;

	assert_int_equal(child_call(&target->child, fill_plain, 0x41), 0);
	assert_int_equal(read_one(target->process, ARENA, buffer, sizeof(buffer), &reason), sizeof(buffer));
	for (size_t i = 0; i < sizeof(buffer); i++)
		assert_int_equal(buffer[i], 0x41);
	memset(data, 0x42, sizeof(data));
	assert_int_equal(write_one(target->process, ARENA, data, sizeof(data), &reason), sizeof(data));
	assert_int_equal(child_call(&target->child, holds, 0x42), 101);
	assert_int_equal(read_one(target->process, PAGE(NO_ACCESS) - 8, buffer, sizeof(buffer), &reason), 8);
	assert_int_equal(reason, UIOMMU_FAULT_PERMISSION);
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

static void first_thread_ends(void **state)
{
	struct target target;

	(void)state;
	target_start(&target, RW, 0);
	assert_int_equal(child_call(&target.child, end_first_thread, 0), 0);
	/* Until the thread is a zombie, the pid still works. */
	still_works(&target);
	still_works(&target);
	target_end(&target);
}

static bool is_root(void)
{
	if (geteuid())
		print_message("# skipped: needs root\n");
	return !geteuid();
}

enum { SOMEBODY = 65534, SOMEBODY_ELSE = 65533 };

/* A change of identity takes both settings away. */
static int become(uid_t real, uid_t effective, uid_t saved)
{
	return syscall(SYS_setgroups, 0, NULL) || setresgid(SOMEBODY, SOMEBODY, SOMEBODY) || setresuid(real, effective, saved) ||
	       prctl(PR_SET_DUMPABLE, 1) || prctl(PR_SET_PDEATHSIG, SIGKILL);
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
		cmocka_unit_test(executes),
		cmocka_unit_test(executes_with_the_memory_alive),
		cmocka_unit_test(exits_with_the_memory_alive),
		cmocka_unit_test(handle_only_reaches_the_old_memory),
		cmocka_unit_test(executes_during_accesses),
		cmocka_unit_test(executes_at_the_same_addresses),
		cmocka_unit_test(forged_cookie_is_no_key),
		cmocka_unit_test(pid_is_recycled),
		cmocka_unit_test(cookie_is_overwritten),
		cmocka_unit_test(first_thread_ends),
		cmocka_unit_test(authority_is_kept),
		cmocka_unit_test(credentials_decide),
	};

	if (argc == 4 && !strcmp(argv[1], "image"))
		return image_main(atoi(argv[2]), (uint8_t)atoi(argv[3]));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

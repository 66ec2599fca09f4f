/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The thread that sets the bits of a guest's tables, in a program that forks, ends, closes, is stopped, or forbids itself
 * something. Each case checks itself, prints "ok", and ends with 0.
 */
#include "tables.h"

#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <uiommu/bind.h>

/* --- processes --- */

static unsigned int thread_count(void)
{
	char line[128];
	unsigned int count = 0;
	FILE *status = fopen("/proc/self/status", "r");

	CHECK(status);
	while (!count && fgets(line, sizeof(line), status))
		sscanf(line, "Threads: %u", &count);
	fclose(status);
	return count;
}

/* A child has none of its parent's thread, and gets its own; what is closed is closed, and nothing of the thread's is. */
static void children(char **arguments)
{
	int pipes[2];
	char byte;
	pid_t pid;

	CHECK(thread_count() == 1);
	begin_nested(arguments[0], false);
	CHECK(thread_count() == 2);
	move_once(0);
	CHECK(!pipe(pipes));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		CHECK(thread_count() == 1);
		end_nested();
		CHECK(!close(pipes[1]) && read(pipes[0], &byte, 1) == 0); /* nobody has the device any more */
		begin_nested(arguments[0], false);
		CHECK(thread_count() == 2);
		move_once(1);
		check_leaves();
		_exit(0);
	}
	end_nested();
	CHECK(!close(pipes[1]));
	wait_for(pid);
	/* It has one, which is the session's of another file, too. */
	begin_nested(arguments[0], false);
	CHECK(thread_count() == 2);
	move_once(2);
	check_leaves();
}

/* --- the thread --- */

/* A file of the thread's below /proc; 0: there is no thread. */
static pid_t find_swapper(char *path, size_t size, const char *file)
{
	DIR *threads = opendir("/proc/self/task");
	const struct dirent *entry;
	pid_t found = 0;

	CHECK(threads);
	while (!found && (entry = readdir(threads))) {
		const pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
		char name[32] = "";
		FILE *comm;

		snprintf(path, size, "/proc/self/task/%d/comm", thread);
		comm = fopen(path, "r");
		if (comm && fgets(name, sizeof(name), comm) && !strcmp(name, "uiommu-swap\n"))
			found = thread;
		if (comm)
			fclose(comm);
	}
	closedir(threads);
	snprintf(path, size, "/proc/self/task/%d/%s", found, file);
	return found;
}

static unsigned int entries_of(const char *path)
{
	DIR *folder = opendir(path);
	unsigned int count = 0;

	CHECK(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count - 2; /* . and .. */
}

/* "NAME: hexadecimal". */
static uint64_t status_bits(const char *path, const char *name)
{
	FILE *file = fopen(path, "r");
	uint64_t value = 0;
	char line[128];

	CHECK(file);
	while (!value && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)))
			value = strtoull(line + strlen(name), NULL, 16);
	fclose(file);
	return value;
}

/* It has nothing of the program's but its memory. */
static void apart(char **arguments)
{
	const uint64_t never = UINT64_C(1) << (SIGKILL - 1) | UINT64_C(1) << (SIGSTOP - 1);
	char path[64], target[64] = "";
	sigset_t blocked, after;

	sigemptyset(&after);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	CHECK(!sigprocmask(SIG_SETMASK, &blocked, NULL));
	CHECK(!chdir("/proc/self"));
	begin_nested(arguments[0], false);
	CHECK(!sigprocmask(SIG_BLOCK, NULL, &after) && !memcmp(&after, &blocked, sizeof(after)));
	for (unsigned int i = 0; i < 2; i++) {
		CHECK(find_swapper(path, sizeof(path), "cwd") && readlink(path, target, sizeof(target) - 1) == 1 && *target == '/');
		CHECK(find_swapper(path, sizeof(path), "fd") && entries_of(path) == 1);
		CHECK(find_swapper(path, sizeof(path), "status") && status_bits(path, "SigBlk:") == ~never);
		CHECK(!access("oom_score", F_OK));
		move_once(i);
		check_leaves();
	}
}

static void move_blocked(unsigned int i, uint64_t *spare, int signal)
{
	struct descriptor descriptor = prepare(i);
	struct uffdio_writeprotect give = {.range = {(uintptr_t)table_of(leaf_of(format, root, FAR)), PAGE}};
	int fd = protect_page(table_of(leaf_of(format, root, FAR)), false);
	struct uffd_msg message;

	descriptor.destination = FAR;
	descriptor.size = PAGE;
	CHECK(fd >= 0);
	submit(i, &descriptor);
	CHECK(read(fd, &message, sizeof(message)) == sizeof(message));
	/* The instruction waits for its page; the signal comes there, and it waits again. */
	kill_at(getpid(), signal);
	while (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) != 1)
		CHECK(!__atomic_load_n(memory->records[i % ENTRIES], __ATOMIC_ACQUIRE));
	CHECK(!ioctl(fd, UFFDIO_WRITEPROTECT, &give));
	CHECK(status_of(i) == 1 && has_source(spare) && far_is(format->written));
	CHECK(!close(fd));
}

static void take_signal(const sigset_t *set, int signal)
{
	const struct timespec none = {0};

	CHECK(sigtimedwait(set, NULL, &none) == signal);
	CHECK(sigtimedwait(set, NULL, &none) == -1 && errno == EAGAIN);
}

/* What others send to the program is the program's, also where the thread is the only one that has it not blocked. */
static void sent(char **arguments)
{
	static const int all[] = {SIGUSR1, SIGSEGV, SIGBUS};
	sigset_t set;

	sigemptyset(&set);
	for (unsigned int i = 0; i < 3; i++) {
		sigaddset(&set, all[i]);
		CHECK(signal(all[i], on_signal) != SIG_ERR);
	}
	CHECK(!sigprocmask(SIG_BLOCK, &set, NULL));
	begin_nested(arguments[0], false);
	for (unsigned int i = 0; i < 3; i++) {
		kill_at(getpid(), all[i]);
		set_leaves(format->fresh);
		forget();
		move_once(i);
		check_leaves();
		take_signal(&set, all[i]);
		if (all[i] == SIGUSR1) /* the instruction would not hear of it */
			continue;
		set_far();
		move_blocked(3 + i, spare_page(0), all[i]);
		take_signal(&set, all[i]);
	}
	CHECK(!signals);
}

static bool try_bind(uint32_t type, const void *data, uint32_t length)
{
	struct uiommu_abi_bind bind = {.size = sizeof(bind),
				       .flags = UIOMMU_BIND_RID,
				       .device_id = device_id,
				       .pasid = UIOMMU_NO_PASID,
				       .type = type,
				       .data_len = length,
				       .data = (uint64_t)(uintptr_t)data};

	return !ioctl(iommufd, UIOMMU_ABI_BIND, &bind);
}

/* Tables that nothing has become of do not need a thread. */
static void nothing_made(char **arguments)
{
	const uint64_t data[16] = {0};
	struct format other;

	begin_tables(arguments[0], false);
	other = *format;
	other.type = 99;
	CHECK(!hwpt_alloc(0, parent, &other));
	CHECK(!hwpt_alloc(1U << 31, parent, format) && !hwpt_alloc(0, parent + 100, format));
	CHECK(!try_bind(UIOMMU_BIND_PAGE_TABLE, data, sizeof(data)) && !try_bind(UIOMMU_BIND_PASID_TABLE, data, sizeof(data)));
	CHECK(thread_count() == 1);
	use_tables();
	CHECK(thread_count() == 2);
	move_once(0);
	check_leaves();
}

static void begin_and_end(const char *name, int go)
{
	char byte;

	begin_nested(name, false);
	move_once(0);
	check_leaves();
	if (fork())
		_exit(0);
	CHECK(read(go, &byte, 1) == 1);
	/* Others have made the tables. */
	CHECK(thread_count() == 1);
	set_leaves(format->fresh);
	forget();
	CHECK(thread_count() == 2);
	move_once(1);
	check_leaves();
	_exit(0);
}

/* Shared memory with tables is a fork child's, too, when the process that has mapped it has ended. */
static void outlives(char **arguments)
{
	int go[2], status;
	pid_t pid;

	mapping = MAP_SHARED;
	CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 1) && !pipe(go));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid)
		begin_and_end(arguments[0], go[0]);
	wait_for(pid);
	CHECK(write(go[1], "", 1) == 1);
	CHECK(wait(&status) > 0 && WIFEXITED(status) && !WEXITSTATUS(status));
}

/* Sv32: the top table, and one of 4 MiB. */
enum { NARROW_VA = 0x12345000, VALID = 1, RISCV_LEAF = 0x17, RISCV_READ = 0x57, RISCV_WRITTEN = 0xd7 };

static uint32_t narrow_to(uint64_t address, unsigned int bits)
{
	return (uint32_t)(address >> 12 << 10) | bits;
}

static bool narrow_is(const void *at, unsigned int bits)
{
	const uint32_t *leaves = (const uint32_t *)(const void *)tables;

	return leaves[iova(at) >> 12 & 1023] == narrow_to(gpa(at), bits);
}

static void detach(void)
{
	uint32_t arguments[2] = {sizeof(arguments)};

	CHECK(!ioctl(device, _IO(';', 120), arguments));
}

/* Tables that are bound, with entries of 32 bits. */
static void bound(char **arguments)
{
	struct uiommu_bind_page_table bind = {
		.format = UIOMMU_FORMAT_RISCV_FIRST, .format_flags = UIOMMU_RISCV_ADUE, .root = 1, .address_width = 32};
	uint32_t *leaves, *top;

	(void)arguments;
	begin_memory();
	leaves = (uint32_t *)(void *)table_at(table_new());
	top = (uint32_t *)(void *)table_at(table_new());
	top[NARROW_VA >> 22] = narrow_to(gpa(leaves), VALID);
	for (unsigned int at = 0; at < memory_bytes; at += PAGE)
		leaves[(NARROW_VA + at) >> 12 & 1023] = narrow_to(IOVA + at, RISCV_LEAF);
	bind.parent_id = hwpt_alloc(NEST_PARENT, ioas, NULL);
	detach();
	CHECK(!try_bind(UIOMMU_BIND_PAGE_TABLE, &bind, sizeof(bind)) && thread_count() == 1);
	bind.root = gpa(top);
	CHECK(try_bind(UIOMMU_BIND_PAGE_TABLE, &bind, sizeof(bind)) && thread_count() == 2);
	base = NARROW_VA;
	enable_portals();
	move_once(0);
	CHECK(narrow_is(memory->ring, RISCV_LEAF) && narrow_is(memory->records, RISCV_WRITTEN));
	CHECK(narrow_is(memory->source, RISCV_READ) && narrow_is(memory->source + PAGE, RISCV_READ));
	CHECK(narrow_is(memory->destination, RISCV_WRITTEN) && narrow_is(memory->destination + PAGE, RISCV_WRITTEN));
	CHECK(top[NARROW_VA >> 22] == narrow_to(gpa(leaves), VALID));
}

/* All that the program may close has been closed. */
static void closes(char **arguments)
{
	begin_nested(arguments[0], false);
	CHECK(!close_range((unsigned int)(device > iommufd ? device : iommufd) + 1, ~0U, 0));
	CHECK(dup2(STDERR_FILENO, 0x300) == 0x300);
	move_once(0);
	check_leaves();
	CHECK(!chdir("/") && !close_range(0x300, ~0U, 0));
	set_leaves(format->fresh);
	forget();
	move_once(1);
	check_leaves();
}

static void *end_last(void *first)
{
	CHECK(!pthread_join(*(pthread_t *)first, NULL));
	return NULL;
}

/* The thread does not keep a program alive whose last thread ends, or which executes another one. */
static void ends(char **arguments)
{
	static pthread_t first;
	pthread_t last;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		begin_nested(arguments[0], false);
		move_once(0);
		first = pthread_self();
		CHECK(!pthread_create(&last, NULL, end_last, &first));
		pthread_exit(NULL);
	}
	wait_for(pid);
	begin_nested(arguments[0], false);
	move_once(1);
	CHECK(!fcntl(device, F_SETFD, FD_CLOEXEC) && !fcntl(iommufd, F_SETFD, FD_CLOEXEC));
	execl("/proc/self/exe", "tables-thread", "nothing-made", arguments[0], NULL);
	CHECK(false);
}

static _Noreturn void move_for_ever(const char *name, int progress)
{
	begin_nested(name, false);
	for (unsigned int i = 0;; i++) {
		set_leaves(format->fresh);
		forget();
		move_once(i);
		CHECK(write(progress, "", 1) == 1);
	}
}

/* kill -9 at any moment; and the next one gets the device, and it works. */
static void killed(char **arguments)
{
	for (unsigned int seed = 0; seed < 10; seed++) {
		int pipes[2], status;
		char byte;
		pid_t pid;

		CHECK(!pipe(pipes));
		pid = fork();
		CHECK(pid >= 0);
		if (!pid)
			move_for_ever(arguments[0], pipes[1]);
		close(pipes[1]);
		for (unsigned int i = 0; i < 3 + seed; i++)
			CHECK(read(pipes[0], &byte, 1) == 1);
		for (unsigned int i = 0; i < seed * 7; i++)
			sched_yield();
		kill_at(pid, SIGKILL);
		CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
		close(pipes[0]);
	}
	begin_nested(arguments[0], false);
	move_once(0);
	check_leaves();
}

static char state_of(pid_t pid)
{
	char path[32], line[256], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	CHECK(file && fgets(line, sizeof(line), file));
	CHECK(sscanf(strrchr(line, ')'), ") %c", &state) == 1);
	fclose(file);
	return state;
}

/* Others are served while a device waits for a program. */
static void be_served(void)
{
	struct {
		uint32_t size, flags, id;
	} alloc = {sizeof(alloc), 0, 0};
	int fd = open("/dev/iommu", O_RDWR);

	CHECK(fd >= 0 && !ioctl(fd, IOAS_ALLOC, &alloc) && !close(fd));
}

/* A program that is stopped does not set bits: the device waits until it goes on, or is killed. */
static void stopped(char **arguments)
{
	const bool goes_on = !strcmp(arguments[1], "continued");
	struct descriptor descriptor;
	int ready[2], status;
	char byte;
	pid_t pid;

	CHECK(!pipe(ready));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		begin_nested(arguments[0], false);
		descriptor = prepare(0);
		pid = fork();
		CHECK(pid >= 0);
		if (pid) {
			finish(0);
			check_leaves();
			wait_for(pid);
			_exit(0);
		}
		pid = getppid();
		kill_at(pid, SIGSTOP);
		while (state_of(pid) != 'T')
			sched_yield();
		submit(0, &descriptor);
		be_served();
		CHECK(write(ready[1], &pid, sizeof(pid)) == sizeof(pid));
		if (goes_on)
			kill_at(pid, SIGCONT);
		_exit(0);
	}
	close(ready[1]);
	CHECK(read(ready[0], &status, sizeof(status)) == sizeof(status) && status == pid);
	be_served();
	if (!goes_on)
		kill_at(pid, SIGKILL);
	CHECK(waitpid(pid, &status, 0) == pid && (goes_on ? WIFEXITED(status) && !WEXITSTATUS(status) : WIFSIGNALED(status)));
	CHECK(read(ready[0], &byte, 1) == 0);
	begin_nested(arguments[0], false);
	move_once(0);
	check_leaves();
}

static struct descriptor prepare_nested(const char *name)
{
	struct descriptor descriptor;

	begin_nested(name, false);
	set_far();
	descriptor = prepare(0);
	descriptor.destination = FAR;
	descriptor.size = PAGE;
	return descriptor;
}

/* The page of a table that nobody may write to for now, maybe for ever. */
static void stuck(char **arguments)
{
	const bool goes_on = !strcmp(arguments[1], "continued");
	int ready[2], status;
	pid_t pid;

	CHECK(!pipe(ready));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		struct uffdio_writeprotect give = {.mode = 0};
		struct descriptor descriptor = prepare_nested(arguments[0]);
		struct uffd_msg message;
		int fd;

		give.range.start = (uintptr_t)table_of(leaf_of(format, root, FAR));
		give.range.len = PAGE;
		fd = protect_page(table_of(leaf_of(format, root, FAR)), false);
		CHECK(fd >= 0);
		submit(0, &descriptor);
		CHECK(read(fd, &message, sizeof(message)) == sizeof(message) && message.event == UFFD_EVENT_PAGEFAULT);
		be_served();
		CHECK(write(ready[1], "", 1) == 1);
		if (!goes_on)
			pause();
		CHECK(!ioctl(fd, UFFDIO_WRITEPROTECT, &give));
		CHECK(status_of(0) == 1 && far_is(format->written));
		_exit(0);
	}
	close(ready[1]);
	CHECK(read(ready[0], &status, 1) == 1);
	be_served();
	if (!goes_on)
		kill_at(pid, SIGKILL);
	CHECK(waitpid(pid, &status, 0) == pid && (goes_on ? WIFEXITED(status) && !WEXITSTATUS(status) : WIFSIGNALED(status)));
	begin_nested(arguments[0], false);
	move_once(0);
	check_leaves();
}

/* --- programs that forbid themselves something --- */

enum { ALL_THREADS = SECCOMP_FILTER_FLAG_TSYNC, FORBIDDEN = 16 };

static void forbid(const int *calls, unsigned int count, unsigned int action, unsigned int flags)
{
	struct sock_filter filter[2 * FORBIDDEN + 2] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
	struct sock_fprog program = {.filter = filter, .len = 1};

	CHECK(count <= FORBIDDEN);
	for (unsigned int i = 0; i < count; i++) {
		filter[program.len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned int)calls[i], 0, 1);
		filter[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
	}
	filter[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	CHECK(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program));
}

#define FORBID(action, flags, ...)                                                                                                 \
	forbid((const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int), action, flags)

/* The bits are not set, and what does not need that works. */
static void check_refused(void)
{
	set_far();
	CHECK(move_far(0) == WRITE_FAULT && far_is(format->fresh));
	*leaf_of(format, root, FAR) = gpa(spare_page(0)) | format->written;
	CHECK(move_far(1) == 1 && has_source(spare_page(0)));
}

/* Before there is a session, where a new program needs some of it: */
static void forbidden_before(char **arguments)
{
	FORBID(SECCOMP_RET_KILL_PROCESS, 0, SYS_clone, SYS_clone3, SYS_close_range, SYS_chdir);
	begin_nested(arguments[0], true);
	CHECK(thread_count() == 1);
	check_refused();
}

/* And when all is open. */
static void forbidden_then(char **arguments)
{
	begin_tables(arguments[0], true);
	FORBID(SECCOMP_RET_KILL_PROCESS, 0, SYS_clone, SYS_clone3, SYS_close_range, SYS_chdir, SYS_socket, SYS_connect, SYS_capget);
	use_tables();
	CHECK(thread_count() == 1);
	check_refused();
}

static void *forbid_and_use(void *opaque)
{
	FORBID(SECCOMP_RET_KILL_PROCESS, 0, SYS_clone, SYS_clone3, SYS_close_range, SYS_socket);
	use_tables();
	return opaque;
}

/* By one of its threads to itself. */
static void forbidden_thread(char **arguments)
{
	pthread_t thread;

	begin_tables(arguments[0], true);
	CHECK(!pthread_create(&thread, NULL, forbid_and_use, NULL) && !pthread_join(thread, NULL));
	CHECK(thread_count() == 1);
	check_refused();
}

/* The thread is there by then, and needs little. */
static void forbidden_later(char **arguments)
{
	begin_nested(arguments[0], false);
	CHECK(thread_count() == 2);
	FORBID(SECCOMP_RET_KILL_PROCESS, ALL_THREADS, SYS_clone, SYS_clone3, SYS_close_range, SYS_socket, SYS_connect, SYS_openat,
	       SYS_mmap, SYS_madvise, SYS_chdir, SYS_prlimit64, SYS_capget);
	move_once(0);
	check_leaves();
	set_far();
	CHECK(move_far(1) == 1 && far_is(format->written));
	/* Who may not let a signal come may not risk one. */
	FORBID(SECCOMP_RET_ERRNO | EPERM, ALL_THREADS, SYS_rt_sigprocmask);
	check_refused();
	/* It ends, and so do those who wait for it. */
	FORBID(SECCOMP_RET_ERRNO | EPERM, ALL_THREADS, SYS_read);
	for (unsigned int i = 0; i < 3; i++)
		check_refused();
}

static const struct test_case cases[] = {
	{"children", children},
	{"nothing-made", nothing_made},
	{"apart", apart},
	{"sent", sent},
	{"outlives", outlives},
	{"bound", bound},
	{"closes", closes},
	{"ends", ends},
	{"killed", killed},
	{"stopped", stopped},
	{"stuck", stuck},
	{"forbidden-before", forbidden_before},
	{"forbidden-then", forbidden_then},
	{"forbidden-thread", forbidden_thread},
	{"forbidden-later", forbidden_later},
};

int main(int argc, char **argv)
{
	return run_case(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

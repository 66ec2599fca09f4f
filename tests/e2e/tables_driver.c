/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VMM whose guest has page tables, in private memory that is mapped by its address: a driver of DSA's registers, as in
 * dma_driver.c. Each case checks itself, prints "ok", and ends with 0.
 */
#include "tables.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <uiommu/bind.h>

enum { WRITE_FAULT = 0x83 };

/* One page to FAR. */
static uint8_t move_far(unsigned int i)
{
	struct descriptor descriptor = prepare(i);

	descriptor.destination = FAR;
	descriptor.size = PAGE;
	submit(i, &descriptor);
	return status_of(i);
}

static bool has_source(const uint64_t *spare)
{
	return !memcmp(spare, memory->source, PAGE);
}

static void *table_of(const uint64_t *entry)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): the begin of its page */
	return (void *)((uintptr_t)entry & ~(uintptr_t)(PAGE - 1));
}

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

static void move_once(unsigned int i)
{
	const struct descriptor descriptor = prepare(i);

	submit(i, &descriptor);
	finish(i);
}

static bool leaf_is(const void *at, uint64_t bits)
{
	return (__atomic_load_n(leaf(at), __ATOMIC_ACQUIRE) & ~(ADDRESS | COUNTER)) == bits;
}

static void check_leaves(void)
{
	CHECK(leaf_is(memory->ring, format->fresh));
	CHECK(leaf_is(memory->records, format->written));
	CHECK(leaf_is(memory->source, format->read) && leaf_is(memory->source + PAGE, format->read));
	CHECK(leaf_is(memory->destination, format->written) && leaf_is(memory->destination + PAGE, format->written));
}

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

static volatile sig_atomic_t signals;

static void on_signal(int signal)
{
	(void)signal;
	signals++;
	_exit(3);
}

static void set_far(void)
{
	forget();
	*leaf_of(format, root, FAR) = gpa(spare_page(0)) | format->fresh;
}

static bool far_is(uint64_t bits)
{
	return *leaf_of(format, root, FAR) == (gpa(spare_page(0)) | bits);
}

/* Pages that can be read, but writing to them is not answered; @signal: it is SIGBUS. -1: there is no such thing. */
static int protect_page(void *page, bool signal)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | (signal ? UFFD_FEATURE_SIGBUS : 0)};
	struct uffdio_register range = {.range = {(uintptr_t)page, PAGE}, .mode = UFFDIO_REGISTER_MODE_WP};
	struct uffdio_writeprotect protect = {.range = {(uintptr_t)page, PAGE}, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */);

	if (fd < 0)
		return -1;
	CHECK(!ioctl(fd, UFFDIO_API, &api) && !ioctl(fd, UFFDIO_REGISTER, &range) && !ioctl(fd, UFFDIO_WRITEPROTECT, &protect));
	return fd;
}

static void taken(char **arguments)
{
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
	CHECK(!munmap(table, PAGE));
	CHECK(move_far(7) == WRITE_FAULT);
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

static bool try_bind(uint32_t type, const void *data, uint32_t length)
{
	struct uiommu_abi_bind bind = {.size = sizeof(bind),
				       .device_id = device_id,
				       .pasid = UINT32_MAX,
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
	execl("/proc/self/exe", "tables-driver", "bits", arguments[0], NULL);
	CHECK(false);
}

static void kill_at(pid_t pid, int signal)
{
	CHECK(!kill(pid, signal));
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
	check_refused();
}

static const struct test_case cases[] = {
	{"walks", walks},
	{"bits", bits},
	{"refused", refused},
	{"races", races},
	{"taken", taken},
	{"many", many},
	{"taken-meanwhile", taken_meanwhile},
	{"children", children},
	{"nothing-made", nothing_made},
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

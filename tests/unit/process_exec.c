/* SPDX-License-Identifier: BSD-3-Clause */
/* A process that executes another program: everything that was bound is gone, and the new program untouched. */
#include "test.h"

#include <elf.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#include "ends.h"

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

static void executes_with_the_memory_alive(void **state)
{
	struct target target;
	pid_t sibling;

	(void)state;
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		if (!exec_is_noticed(ways[way]))
			continue; /* see nothing_tells_of_an_exec() */
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

/* Is @process what @bundle names, as far as can be told without a look at its memory? */
static bool is_named(struct process *process, const struct uiommu_process *bundle, unsigned int access, unsigned int without)
{
	struct process_name name;

	return process_name(bundle, access, without, &name) && process_is(process, &name);
}

/* Files that have been looked at are known again, as long as it is they, and nothing has been executed. */
static void known_by_its_files(void **state)
{
	struct uiommu_process other, mixed;
	struct target target;
	bool can;

	(void)state;
	target_start(&target, RW, 0);
	assert_int_equal(uiommu_process_open(target.child.pid, RW, &other), 0);
	can = target.bundle.exec >= 0 && fcntl(target.bundle.mem, 1027, target.bundle.mem) == 1;
	if (!can)
		print_message("# skipped: files are known again only with F_DUPFD_QUERY (Linux 6.10) and an exec event\n");
	assert_int_equal(is_named(target.process, &target.bundle, RW, 0), can);
	assert_false(is_named(target.process, &target.bundle, UIOMMU_READ, 0));
	assert_false(is_named(target.process, &target.bundle, RW, UIOMMU_WITHOUT_PROCESS_VM));
	for (size_t i = 0; i < sizeof(mixed) / sizeof(int); i++) {
		/* Auxv is not kept, and another file of the same process is as good. */
		if (&((int *)&target.bundle)[i] == &target.bundle.auxv)
			continue;
		mixed = target.bundle;
		((int *)&mixed)[i] = ((int *)&other)[i];
		assert_false(is_named(target.process, &mixed, RW, 0));
		((int *)&mixed)[i] = -1;
		assert_false(is_named(target.process, &mixed, RW, 0));
	}
	mixed = target.bundle;
	mixed.auxv = target.bundle.maps;
	assert_false(is_named(target.process, &mixed, RW, 0));
	assert_int_equal(child_call(&target.child, execute_image, 0), 0);
	assert_false(is_named(target.process, &target.bundle, RW, 0));
	uiommu_process_close(&other);
	target_end(&target);
}

static void *execute_in_thread(void *byte)
{
	execute_image((uintptr_t)byte);
	return NULL;
}

/* Its first thread is ended by that. */
static long execute_by_another_thread(uintptr_t byte)
{
	pthread_t thread;

	pthread_create(&thread, NULL, execute_in_thread, (void *)byte);
	return pause();
}

static void another_thread_executes(void **state)
{
	struct target target;
	pid_t sibling;

	(void)state;
	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		if (!exec_is_noticed(ways[way]))
			continue;
		sibling = target_start_with_sibling(&target, ways[way]);
		assert_int_equal(child_call(&target.child, fill_plain, 0x25), 0);
		assert_int_equal(child_call(&target.child, execute_by_another_thread, 0), 0);
		expect_gone(target.process);
		image_is_untouched(&target.child);
		sibling_holds(sibling, 0x25, true);
		close(sibling_pipe[1]);
		target_end(&target);
	}
}

/* The remaining risk that docs/security.md states: the old memory, never that of the new image. */
static void nothing_tells_of_an_exec(void **state)
{
	struct target target;
	unsigned int reason;
	uint8_t byte;

	(void)state;
	target_start_with_sibling(&target, UIOMMU_WITHOUT_PROCESS_VM | UIOMMU_WITHOUT_PERF_EVENT);
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

/* Several threads ask at once, and none of them may be told late. */
struct asker {
	struct process *process;
	const bool *executed;
	unsigned long late;
};

static void *ask_until_gone(void *opaque)
{
	struct asker *asker = opaque;
	unsigned int reason = 0;
	uint8_t byte;

	while (reason != UIOMMU_FAULT_GONE) {
		bool executed = __atomic_load_n(asker->executed, __ATOMIC_ACQUIRE);

		if (read_one(asker->process, ARENA, &byte, 1, &reason) && executed)
			asker->late++;
		if (write_one(asker->process, ARENA, "\x26", 1, &reason) && executed)
			asker->late++;
	}
	return NULL;
}

static void all_threads_are_told(void **state)
{
	struct asker askers[4];
	pthread_t threads[ARRAY_SIZE(askers)];
	struct target target;
	bool executed;

	(void)state;
	if (!exec_is_noticed(UIOMMU_WITHOUT_PROCESS_VM))
		skip();
	for (int round = 0; round < 50; round++) {
		executed = false;
		target_start_with_sibling(&target, UIOMMU_WITHOUT_PROCESS_VM);
		for (size_t i = 0; i < ARRAY_SIZE(askers); i++) {
			askers[i] = (struct asker){.process = target.process, .executed = &executed};
			pthread_create(&threads[i], NULL, ask_until_gone, &askers[i]);
		}
		assert_int_equal(child_call(&target.child, execute_image, 0), 0);
		__atomic_store_n(&executed, true, __ATOMIC_RELEASE);
		for (size_t i = 0; i < ARRAY_SIZE(askers); i++) {
			pthread_join(threads[i], NULL);
			assert_int_equal(askers[i].late, 0);
		}
		image_is_untouched(&target.child);
		close(sibling_pipe[1]);
		target_end(&target);
	}
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
					   .auxv = dup(target.bundle.auxv),
					   .exec = -1};
	assert_int_equal(process_open(&received, RW, 0, &target.process), 0);
	assert_int_equal(read_one(target.process, ARENA + 100, &byte, 1, &reason), 1);
	assert_int_equal(byte, IMAGE_BYTE);
	assert_int_equal(child_call(&target.child, execute_image, 0), 0);
	expect_gone(target.process);
	uiommu_process_close(&received);
	target_end(&target);
}

static long read_number(const char *path)
{
	FILE *file = fopen(path, "re");
	char line[32] = "-1";

	if (file) {
		if (!fgets(line, sizeof(line), file))
			strcpy(line, "-1");
		fclose(file);
	}
	return strtol(line, NULL, 10);
}

/* A program that everybody may execute and that changes who they are; NULL: and why not. */
static const char *set_uid_program(char *path, size_t size)
{
	char command[256];
	struct statvfs fs;

	snprintf(path, size, "/tmp/uiommu-set-uid-%d", (int)getpid());
	snprintf(command, sizeof(command), "cp /bin/sleep %s && chown %d %s && chmod 4755 %s", path, SOMEBODY_ELSE, path, path);
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0))
		return "no_new_privs is set";
	if (statvfs("/tmp", &fs) || fs.f_flag & ST_NOSUID)
		return "/tmp is mounted nosuid";
	return system(command) ? "cannot make a set-uid program" : NULL;
}

static char set_uid_path[64];

static long execute_set_uid(uintptr_t unused)
{
	(void)unused;
	execl(set_uid_path, "sleep", "infinity", NULL);
	_exit(1);
}

static uid_t effective_uid(pid_t pid)
{
	char path[40], line[128];
	unsigned int real, effective = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file) && sscanf(line, "Uid: %u %u", &real, &effective) != 2)
		;
	if (file)
		fclose(file);
	return effective;
}

static int set_uid_as_somebody(void)
{
	static const unsigned int with_event[] = {0, UIOMMU_WITHOUT_PROCESS_VM};
	struct target target;
	pid_t sibling;

	EXPECT(!become(SOMEBODY, SOMEBODY, SOMEBODY));
	for (size_t way = 0; way < ARRAY_SIZE(with_event); way++) {
		sibling = target_start_with_sibling(&target, with_event[way]);
		EXPECT(!child_call(&target.child, fill_plain, 0x27));
		child_send(&target.child, execute_set_uid, 0);
		while (effective_uid(target.child.pid) != SOMEBODY_ELSE)
			sched_yield();
		expect_gone(target.process);
		sibling_holds(sibling, 0x27, true);
		close(sibling_pipe[1]);
		target_end(&target);
	}
	return 0;
}

/* The event ends with the identity, and before the pid is of no use any more. */
static void executes_a_set_uid_program(void **state)
{
	const char *missing;

	(void)state;
	if (!is_root() || !exec_is_noticed(UIOMMU_WITHOUT_PROCESS_VM))
		skip();
	missing = set_uid_program(set_uid_path, sizeof(set_uid_path));
	if (missing) {
		print_message("# skipped: %s\n", missing);
		skip();
	}
	run_apart(set_uid_as_somebody);
	unlink(set_uid_path);
}

/* A user of whom there is nothing else: what a user may lock is one number for all of his processes. */
enum { HERMIT = 65532 };

/* What all users together may lock, as pages; and what one process may besides. */
static int events_run_out(void)
{
	const struct rlimit none = {0, 0};
	struct process **processes = NULL;
	struct uiommu_process bundle;
	struct target target;
	unsigned int count = 0;

	EXPECT(!become(HERMIT, HERMIT, HERMIT) && !setrlimit(RLIMIT_MEMLOCK, &none));
	target_start_with_sibling(&target, 0);
	for (;;) {
		processes = realloc(processes, (count + 1) * sizeof(struct process *));
		EXPECT(processes && !uiommu_process_open(target.child.pid, RW, &bundle));
		EXPECT(!process_open(&bundle, RW, 0, &processes[count++]));
		if (bundle.exec < 0)
			break;
		uiommu_process_close(&bundle);
	}
	uiommu_process_close(&bundle);
	EXPECT(count > 1);
	/* The last one has none, and does without. */
	process_close(target.process);
	target.process = processes[count - 1];
	still_works(&target);
	EXPECT(!child_call(&target.child, execute_image, 0));
	for (unsigned int i = 0; i < count; i++)
		expect_gone(processes[i]);
	for (unsigned int i = 0; i + 1 < count; i++)
		process_close(processes[i]);
	free(processes);
	close(sibling_pipe[1]);
	target_end(&target);
	return 0;
}

static void more_than_may_be_locked(void **state)
{
	long pages = read_number("/proc/sys/kernel/perf_event_mlock_kb") * 1024 / (long)page_size() * sysconf(_SC_NPROCESSORS_ONLN);

	(void)state;
	if (!is_root() || !exec_is_noticed(UIOMMU_WITHOUT_PROCESS_VM))
		skip();
	if (pages < 0 || pages > 1000) {
		print_message("# skipped: a user may lock %ld pages\n", pages);
		skip();
	}
	run_apart(events_run_out);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(executes),
		cmocka_unit_test(executes_with_the_memory_alive),
		cmocka_unit_test(known_by_its_files),
		cmocka_unit_test(another_thread_executes),
		cmocka_unit_test(nothing_tells_of_an_exec),
		cmocka_unit_test(all_threads_are_told),
		cmocka_unit_test(executes_during_accesses),
		cmocka_unit_test(executes_at_the_same_addresses),
		cmocka_unit_test(forged_cookie_is_no_key),
		cmocka_unit_test(executes_a_set_uid_program),
		cmocka_unit_test(more_than_may_be_locked),
	};

	if (argc == 4 && !strcmp(argv[1], "image"))
		return image_main(atoi(argv[2]), (uint8_t)atoi(argv[3]));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What a handle bundle must be. */
#include "test.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "target.h"

enum { PLACE = 64 };

/* Bundles. */
static void bundle_is_opened(void **state)
{
	const struct uiommu_process none = {-1, -1, -1, -1, -1};
	struct uiommu_process bundle;
	struct child child;

	(void)state;
	child_start(&child);
	for (unsigned int access = 0; access < 8; access++) {
		int rc = access == UIOMMU_READ || access == RW ? 0 : -EINVAL;

		assert_int_equal(uiommu_process_open(child.pid, access, &bundle), rc);
		if (rc) {
			assert_memory_equal(&bundle, &none, sizeof(none));
			continue;
		}
		assert_int_equal(fcntl(bundle.mem, F_GETFD), FD_CLOEXEC);
		assert_int_equal(fcntl(bundle.maps, F_GETFD), FD_CLOEXEC);
		assert_int_equal(fcntl(bundle.pidfd, F_GETFD), FD_CLOEXEC);
		assert_int_equal(fcntl(bundle.auxv, F_GETFD), FD_CLOEXEC);
		assert_true(bundle.exec == -1 || fcntl(bundle.exec, F_GETFD) == FD_CLOEXEC);
		assert_int_equal(fcntl(bundle.mem, F_GETFL) & O_ACCMODE, access == RW ? O_RDWR : O_RDONLY);
		uiommu_process_close(&bundle);
		assert_memory_equal(&bundle, &none, sizeof(none));
	}
	child_end(&child);
	assert_int_equal(uiommu_process_open(child.pid, RW, &bundle), -ESRCH);
	assert_int_equal(uiommu_process_open(0, RW, &bundle), -ESRCH);
	assert_int_equal(uiommu_process_open(-1, RW, &bundle), -ESRCH);
	assert_memory_equal(&bundle, &none, sizeof(none));
}

/* Whichever way the kernel is asked whose a pidfd is. */
static void expect_open(const struct uiommu_process *bundle, unsigned int access, int expected)
{
	static const unsigned int without[] = {0, UIOMMU_WITHOUT_PIDFD_INFO};

	for (size_t i = 0; i < ARRAY_SIZE(without); i++) {
		struct process *process = NULL;
		int rc = process_open(bundle, access, without[i], &process);

		assert_int_equal(rc, expected);
		if (!rc)
			process_close(process);
	}
}

static int open_of(pid_t pid, const char *name, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, flags | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static void bundle_is_verified(void **state)
{
	struct child child, other, ended;
	struct uiommu_process good, foreign, bundle;
	int impostors[] = {-1,
			   1000000,
			   memfd_create("mem", MFD_CLOEXEC),
			   eventfd(0, EFD_CLOEXEC),
			   open("/proc/self/status", O_RDONLY),
			   open("/proc/version", O_RDONLY),
			   open("/proc/self", O_RDONLY | O_DIRECTORY)};
	int paths, writable, thread, at_cwd;

	(void)state;
	child_start(&child);
	child_start(&other);
	assert_int_equal(uiommu_process_open(child.pid, RW, &good), 0);
	assert_int_equal(uiommu_process_open(other.pid, RW, &foreign), 0);
	expect_open(&good, RW, 0);
	for (unsigned int access = 0; access < 8; access++)
		if (access != UIOMMU_READ && access != RW)
			expect_open(&good, access, -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(impostors); i++) {
		bundle = good, bundle.mem = impostors[i], expect_open(&bundle, RW, -EBADF);
		bundle = good, bundle.pidfd = impostors[i], expect_open(&bundle, RW, -EBADF);
		/* Those three may be absent. */
		bundle = good, bundle.maps = impostors[i], expect_open(&bundle, RW, impostors[i] == -1 ? 0 : -EBADF);
		bundle = good, bundle.auxv = impostors[i], expect_open(&bundle, RW, impostors[i] == -1 ? 0 : -EBADF);
		bundle = good, bundle.exec = impostors[i], expect_open(&bundle, RW, impostors[i] == -1 ? 0 : -EBADF);
	}
	bundle = good, bundle.mem = foreign.mem, expect_open(&bundle, RW, -EBADF);
	bundle = good, bundle.maps = foreign.maps, expect_open(&bundle, RW, -EBADF);
	bundle = good, bundle.auxv = foreign.auxv, expect_open(&bundle, RW, -EBADF);
	bundle = good, bundle.pidfd = foreign.pidfd, expect_open(&bundle, RW, -EBADF);
	bundle = good, bundle.exec = good.pidfd, expect_open(&bundle, RW, -EBADF);
	bundle = good, bundle.mem = good.maps, expect_open(&bundle, RW, -EBADF);
	bundle = good, bundle.maps = good.mem, expect_open(&bundle, RW, -EBADF);
	paths = open_of(child.pid, "mem", O_PATH);
	writable = open_of(child.pid, "mem", O_WRONLY);
	thread = open_of(child.pid, "mem", O_RDONLY);
	at_cwd = open_of(child.pid, "cmdline", O_RDONLY);
	bundle = good, bundle.mem = paths, expect_open(&bundle, RW, -EBADF);
	bundle = good, bundle.mem = writable, expect_open(&bundle, RW, -EBADF);
	bundle = good, bundle.mem = at_cwd, expect_open(&bundle, RW, -EBADF);
	bundle = good, bundle.mem = thread, expect_open(&bundle, RW, -EACCES);
	bundle = good, bundle.mem = thread, expect_open(&bundle, UIOMMU_READ, 0);
	child_start(&ended);
	bundle = good, bundle.pidfd = (int)syscall(SYS_pidfd_open, ended.pid, 0);
	expect_open(&bundle, RW, -EBADF);
	child_end(&ended);
	expect_open(&bundle, RW, -ESRCH);
	close(bundle.pidfd);
	for (size_t i = 0; i < ARRAY_SIZE(impostors); i++)
		if (impostors[i] > 2 && impostors[i] != 1000000)
			close(impostors[i]);
	close(paths), close(writable), close(thread), close(at_cwd);
	uiommu_process_close(&good);
	uiommu_process_close(&foreign);
	child_end(&child);
	child_end(&other);
}

/* --- the first thread has ended --- */

static uint8_t place[PLACE];

static void *stay(void *unused)
{
	pause();
	return unused;
}

static pid_t process_without_first_thread(void)
{
	pid_t pid = fork();
	pthread_t thread;
	char path[32], text[256];

	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		memset(place, 0x5a, sizeof(place));
		if (!pthread_create(&thread, NULL, stay, NULL))
			syscall(SYS_exit, 0);
		_exit(1);
	}
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	do {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t length = read(fd, text, sizeof(text) - 1);

		assert_true(length > 0 && !close(fd));
		text[length] = '\0';
	} while (!strstr(text, ") Z "));
	return pid;
}

static void opened_by_another_thread(void **state)
{
	static const unsigned int without[] = {0, UIOMMU_WITHOUT_PIDFD_INFO, UIOMMU_WITHOUT_PROCMAP_QUERY};
	pid_t pid = process_without_first_thread();
	struct uiommu_process bundle;
	uint8_t buffer[PLACE];
	unsigned int reason;

	(void)state;
	assert_int_equal(uiommu_process_open(pid, RW, &bundle), 0);
	assert_int_equal(bundle.exec, -1);
	for (size_t i = 0; i < ARRAY_SIZE(without); i++) {
		struct process *process;

		assert_int_equal(process_open(&bundle, RW, without[i], &process), 0);
		assert_int_equal(read_one(process, place, buffer, PLACE, &reason), PLACE);
		assert_int_equal(buffer[PLACE - 1], 0x5a + i);
		memset(buffer, 0x5b + (int)i, sizeof(buffer));
		assert_int_equal(write_one(process, place, buffer, PLACE, &reason), PLACE);
		process_close(process);
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	expect_open(&bundle, RW, -ESRCH);
	uiommu_process_close(&bundle);
	assert_int_equal(uiommu_process_open(pid, RW, &bundle), -ESRCH);
}

static void incomplete_bundles(void **state)
{
	struct uiommu_process bundle;
	struct process *process;
	struct target target;
	unsigned int reason;
	uint8_t buffer[100];

	(void)state;
	target_start(&target, RW, 0);
	bundle = target.bundle;
	bundle.auxv = -1;
	assert_int_equal(process_open(&bundle, RW, 0, &process), 0);
	assert_int_equal(read_one(process, PAGE(HOLE) - 60, buffer, sizeof(buffer), &reason), 60);
	assert_int_equal(reason, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(buffer[59], pattern((size_t)HOLE * page_size() - 1));
	assert_int_equal(write_one(process, ARENA, buffer, 60, &reason), 60);
	process_close(process);
	bundle.maps = -1; /* then the handle moves no data */
	assert_int_equal(process_open(&bundle, RW, 0, &process), 0);
	assert_int_equal(read_one(process, ARENA, buffer, sizeof(buffer), &reason), 0);
	assert_int_equal(reason, UIOMMU_FAULT_PERMISSION);
	assert_int_equal(write_one(process, ARENA, buffer, sizeof(buffer), &reason), 0);
	assert_int_equal(reason, UIOMMU_FAULT_PERMISSION);
	process_close(process);
	target_end(&target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bundle_is_opened),
		cmocka_unit_test(bundle_is_verified),
		cmocka_unit_test(opened_by_another_thread),
		cmocka_unit_test(incomplete_bundles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

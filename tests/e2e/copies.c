/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies of descriptors, to be run under `uiommu run --device ...`: a group can be opened once, so its next open tells whether
 * anybody still has it. Each case checks itself, prints "ok", and ends with 0.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "cases.h"
#include "iommu_file.h"

static int take_group(void)
{
	int fd = open("/dev/vfio/0", O_RDWR);

	CHECK(fd >= 0);
	return fd;
}

static bool is_free(void)
{
	int fd = open("/dev/vfio/0", O_RDWR);

	CHECK(fd >= 0 || errno == EBUSY);
	return fd >= 0 && !close(fd);
}

/* It is the group. */
static bool is_group(int fd)
{
	uint32_t status[2] = {sizeof(status), 0};

	return !ioctl(fd, _IO(';', 103), status) && status[1] & 1;
}

static void are_duplicated(void)
{
	int fd = take_group();
	const int copies[] = {
		fd, dup(fd), dup2(fd, 100), dup3(fd, 101, O_CLOEXEC), fcntl(fd, F_DUPFD, 110), fcntl(fd, F_DUPFD_CLOEXEC, 120)};

	CHECK(copies[2] == 100 && copies[3] == 101 && copies[4] >= 110 && copies[5] >= 120);
	for (size_t i = 0; i < sizeof(copies) / sizeof(copies[0]); i++) {
		CHECK(!is_free() && is_group(copies[i]));
		CHECK(!close(copies[i]));
	}
	CHECK(is_free());
	/* What is put over it closes it; many at once. */
	fd = take_group();
	CHECK(dup2(STDERR_FILENO, fd) == fd && is_free() && !close(fd));
	fd = take_group();
	CHECK(dup2(fd, 200) == 200 && dup2(fd, 210) == 210 && !close(fd) && !is_free());
	CHECK(!close_range(200, 209, 0) && !is_free() && !close_range(200, 300, 0) && is_free());
}

static void are_opened_again(int access)
{
	int fd = take_group(), again, third;
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, access);
	third = open(path, access);
	CHECK(again >= 0 && third >= 0 && !close(fd) && !is_free());
	CHECK(is_group(again) && !close(again) && !is_free() && !close(third) && is_free());
}

/* A child that has it until a byte comes or it is killed. */
static pid_t child_with(int fd, int *wake)
{
	int ends[2];
	char byte;
	pid_t pid;

	CHECK(!pipe2(ends, O_CLOEXEC));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		close(ends[1]);
		_exit(!is_group(fd) || read(ends[0], &byte, 1) != 1);
	}
	close(ends[0]);
	*wake = ends[1];
	return pid;
}

static void are_inherited(void)
{
	int fd = take_group(), wake;
	pid_t pid = child_with(fd, &wake);

	CHECK(!close(fd) && !is_free());
	CHECK(write(wake, "", 1) == 1 && !close(wake));
	wait_for(pid);
	CHECK(is_free());
	fd = take_group();
	pid = child_with(fd, &wake);
	CHECK(!close(fd) && !is_free() && !kill(pid, SIGKILL) && waitpid(pid, NULL, 0) == pid && is_free());
	close(wake);
	/* A vfork child has a table of its own. */
	fd = take_group();
	/* NOLINTNEXTLINE(clang-analyzer-security.insecureAPI.vfork): it is what is tested */
	pid = vfork();
	if (!pid)
		_exit(close(fd)); /* NOLINT(clang-analyzer-unix.Vfork): so is that */
	wait_for(pid);
	CHECK(!is_free() && !close(fd) && is_free());
}

static int close_it(void *opaque)
{
	return close(*(int *)opaque);
}

static void *close_in_thread(void *opaque)
{
	return (void *)(intptr_t)close_it(opaque);
}

/* Whoever shares the table of descriptors closes for all. */
static void are_shared(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	int fd = take_group();
	pthread_t thread;
	void *result;

	wait_for(clone(close_it, stack + sizeof(stack), CLONE_FILES | SIGCHLD, &fd));
	CHECK(is_free() && close(fd) == -1 && errno == EBADF);
	fd = take_group();
	wait_for(clone(close_it, stack + sizeof(stack), CLONE_FILES | CLONE_VM | CLONE_VFORK | SIGCHLD, &fd));
	CHECK(is_free());
	fd = take_group();
	CHECK(!pthread_create(&thread, NULL, close_in_thread, &fd) && !pthread_join(thread, &result) && !result);
	CHECK(is_free());
}

/* Says that it has begun, and waits for the end of its input. */
static void begun(char **arguments)
{
	char byte;

	(void)arguments;
	CHECK(write(STDOUT_FILENO, "x", 1) == 1);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	_exit(0);
}

/* The child has another program, and what is close-on-exec no more, before it does anything. */
static void are_closed_by_exec(bool closes)
{
	char *self[] = {"copies", "begun", NULL};
	int fd = take_group(), in[2], out[2];
	char byte;
	pid_t pid;

	CHECK(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		if (closes)
			close_range((unsigned int)fd, (unsigned int)fd, CLOSE_RANGE_CLOEXEC);
		execv("/proc/self/exe", self);
		_exit(1);
	}
	CHECK(read(out[0], &byte, 1) == 1 && !is_free() && !close(fd) && is_free() == closes);
	CHECK(!close(in[1]) && !close(in[0]) && !close(out[0]) && !close(out[1]));
	wait_for(pid);
	CHECK(is_free());
}

static void are_on_their_way(void)
{
	int fd = take_group(), ends[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	send_fd(ends[0], fd);
	CHECK(!close(fd) && !is_free());
	fd = receive_fd(ends[1]);
	CHECK(!is_free() && is_group(fd));
	send_fd(ends[0], fd);
	CHECK(!close(fd) && !is_free());
	/* Nobody receives it. */
	CHECK(!close(ends[0]) && !close(ends[1]) && is_free());
}

static void copies(char **arguments)
{
	(void)arguments;
	are_duplicated();
	are_opened_again(O_RDWR);
	are_opened_again(O_RDONLY);
	are_opened_again(O_WRONLY);
	are_inherited();
	are_shared();
	are_closed_by_exec(true);
	are_closed_by_exec(false);
	are_on_their_way();
}

static struct sockaddr_un socket_name(const char *path)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};

	CHECK(path && strlen(path) < sizeof(name.sun_path));
	strcpy(name.sun_path, path);
	return name;
}

/* Sends a file with one object to who listens at arguments[0], or will. */
static void sends(char **arguments)
{
	const struct sockaddr_un name = socket_name(arguments[0]);
	int fd = open_iommu(0), to = socket(AF_UNIX, SOCK_STREAM, 0);

	CHECK(alloc(fd) == 1);
	while (connect(to, (const struct sockaddr *)&name, sizeof(name)))
		CHECK(errno == ENOENT || errno == ECONNREFUSED);
	send_fd(to, fd);
}

static void receives(char **arguments)
{
	const struct sockaddr_un name = socket_name(arguments[0]);
	int listening = socket(AF_UNIX, SOCK_STREAM, 0), from;

	CHECK(!bind(listening, (const struct sockaddr *)&name, sizeof(name)) && !listen(listening, 1));
	from = accept(listening, NULL, NULL);
	CHECK(from >= 0 && alloc(receive_fd(from)) == 2);
}

/* --- what a descriptor was opened for --- */

/* The first device, bound. */
static int bind_for(int access)
{
	struct {
		uint32_t argsz, flags;
		int32_t iommufd;
		uint32_t id;
	} bind = {sizeof(bind), 0, open_iommu(0), 0};
	int fd = open("/dev/vfio/devices/vfio0", access);

	CHECK(fd >= 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) == access && !ioctl(fd, _IO(';', 118), &bind));
	return fd;
}

static bool maps(int fd, int protection)
{
	void *mapped = mmap(NULL, 4096, protection, MAP_SHARED, fd, 0);

	CHECK(mapped != MAP_FAILED || errno == EACCES);
	/* It can become what it could have been. */
	CHECK(mapped == MAP_FAILED ||
	      mprotect(mapped, 4096, PROT_READ | PROT_WRITE) + 1 == ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR));
	return mapped != MAP_FAILED && !munmap(mapped, 4096);
}

static void accesses(char **arguments)
{
	const off_t config = INT64_C(7) << 40;
	int reads = open("/dev/iommu", O_RDONLY), writes = open("/dev/iommu", O_WRONLY), fd;
	char bytes[2];
	struct iovec part = {bytes, 2};

	(void)arguments;
	CHECK(alloc(reads) == 1 && alloc(writes) == 1);
	CHECK(read(reads, bytes, 1) == -1 && errno == EINVAL && write(reads, bytes, 1) == -1 && errno == EBADF);
	CHECK(write(writes, bytes, 1) == -1 && errno == EINVAL && read(writes, bytes, 1) == -1 && errno == EBADF);
	fd = bind_for(O_RDONLY);
	CHECK(pread(fd, bytes, 2, config) == 2 && preadv(fd, &part, 1, config) == 2);
	CHECK(pwrite(fd, bytes, 2, config) == -1 && errno == EBADF && pwritev(fd, &part, 1, config) == -1 && errno == EBADF);
	CHECK(maps(fd, PROT_READ) && !maps(fd, PROT_READ | PROT_WRITE));
	CHECK(!close(fd));
	fd = bind_for(O_WRONLY);
	CHECK(pread(fd, bytes, 2, config) == -1 && errno == EBADF && pwrite(fd, bytes, 2, config) == 2);
	CHECK(!maps(fd, PROT_READ) && !maps(fd, PROT_WRITE) && !close(fd));
	fd = bind_for(O_RDWR);
	CHECK(maps(fd, PROT_READ) && maps(fd, PROT_READ | PROT_WRITE));
}

static const struct test_case cases[] = {
	{"copies", copies}, {"accesses", accesses}, {"begun", begun}, {"sends", sends}, {"receives", receives},
};

int main(int argc, char **argv)
{
	return run_case(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program into which nothing is preloaded, stopped at system calls with any numbers and arguments: names that end nowhere,
 * descriptors of the session's and others, pointers to anywhere. Its memory is that of a process of its own, which never runs.
 *
 * What must hold: each call is answered, or left to the kernel; when the program has gone nothing is left of it.
 */
#include "child.h"
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi/session/session.h"
#include "abi/session/stopped.h"
#include "util/util.h"

enum { PAGES = 16, PAGE = 4096, ARENA = PAGES * PAGE, STEPS = 24, FILES = 3, INPUTS = 64 };

static struct session session;
static uint8_t *arena; /* with names at the begin of each page; behind it is nothing */
static int files[FILES];

static const char *const names[PAGES - 2] = {
	"/dev/iommu",
	"/dev/vfio/vfio",
	"/dev/vfio/0",
	"/dev/vfio/devices/vfio0",
	"/dev/vfio/devices",
	"/dev//./iommu",
	"/sys/bus/pci/devices/0000:01:00.0/vendor",
	"/sys/bus/pci/devices/0000:01:00.0",
	"/sys/kernel/iommu_groups/0",
	"/sys/class/vfio-dev/none",
	"/dev/null",
	"relative",
	"",
	"/dev/iommu/below",
};

static void end_session(void)
{
	folder_destroy(&session);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char *const devices[] = {"nvme,size=64K", NULL};
	const struct session_options options = {.devices = devices, .trace = "/dev/null", .report = -1};
	char complaint[256] = "";

	(void)argc;
	(void)argv;
	if (session_create(&session, &options, complaint, sizeof(complaint))) {
		fprintf(stderr, "%s\n", complaint);
		abort();
	}
	atexit(end_session);
	arena = mmap(NULL, ARENA + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(arena != MAP_FAILED && !munmap(arena + ARENA, PAGE));
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		memcpy(arena + (size_t)i * PAGE, names[i], strlen(names[i]));
	/* Longer than any name, and one that is not ended. */
	memset(arena + (PAGES - 2) * (size_t)PAGE, '/', (size_t)2 * PAGE);
	return 0;
}

/* What it has open, and its memory, which are those of this process now. */
static pid_t start(void)
{
	static const char *const opened[FILES] = {"/dev/iommu", "/dev/vfio/devices/vfio0", "/dev/vfio/0"};
	pid_t pid;

	for (unsigned int i = 0; i < FILES; i++) {
		struct abi_file *file;

		CHECK(!session_open(&session, opened[i], &file) && !held_open(&session, file, O_RDWR, &files[i]));
	}
	pid = sleeping_child();
	for (unsigned int i = 0; i < FILES; i++)
		close(files[i]);
	return pid;
}

static uint64_t take_argument(struct input *input)
{
	uint8_t how = take_byte(input);

	switch (how % 6) {
	case 0:
		return (uint64_t)files[how / 6 % FILES];
	case 1:
		return (uint64_t)(uintptr_t)arena + (uint64_t)(how / 6 % PAGES) * PAGE;
	case 2:
		return (uint64_t)(uintptr_t)arena + take_number(input, 3) % (ARENA + PAGE);
	case 3:
		return take_byte(input);
	case 4:
		return (uint64_t)(SESSION_IOCTL_TYPE << 8) | take_byte(input);
	default:
		return take_number(input, 8);
	}
}

static void step(struct input *input, pid_t pid)
{
	static const int numbers[] = {
		SYS_ioctl,
		SYS_read,
		SYS_write,
		SYS_pread64,
		SYS_pwrite64,
		SYS_mmap,
		SYS_openat,
		SYS_newfstatat,
		SYS_faccessat,
		SYS_faccessat2,
		SYS_readlinkat,
		SYS_execve,
		SYS_fstat,
#if defined(__x86_64__)
		SYS_open,
		SYS_stat,
		SYS_lstat,
		SYS_access,
		SYS_readlink,
#endif
		SYS_readv,
		SYS_writev,
		SYS_preadv,
		SYS_pwritev,
		SYS_preadv2,
		SYS_pwritev2,
		SYS_statx,
		SYS_openat2,
		SYS_getcwd,
	};
	struct stopped stopped = {.session = &session, .process = pid, .listener = -1};
	uint8_t number = take_byte(input);

	stopped.call.pid = (uint32_t)pid;
	stopped.call.data.nr = number & 0x80 ? (int)take_number(input, 2) : numbers[number % ARRAY_SIZE(numbers)];
	for (unsigned int i = 0; i < 6; i++)
		stopped.call.data.args[i] = take_argument(input);
	held_drain(&session);
	stopped_call(&stopped);
	if (stopped.member)
		member_put(&session, stopped.member);
}

static void end(pid_t pid)
{
	CHECK(!kill(pid, SIGKILL) && waitpid(pid, NULL, 0) == pid);
	known_end(&session);
	held_drain(&session);
	CHECK(!session.held_count && !session.members);
}

/* To make a process costs more than all the rest, so that one does for some inputs. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned int inputs;
	static pid_t pid;
	struct input input = {data, size};

	if (pid && inputs % INPUTS == 0) {
		end(pid);
		pid = 0;
	}
	if (!pid)
		pid = start();
	inputs++;
	for (unsigned int i = 0; i < STEPS && input.left; i++)
		step(&input, pid);
	return 0;
}

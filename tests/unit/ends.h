/* SPDX-License-Identifier: BSD-3-Clause */
/* Targets that end or execute another program while somebody shares their memory: for process_ends.c and process_exec.c. */
#ifndef ENDS_H
#define ENDS_H

#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "memory/watch.h"
#include "target.h"

/* Ends of the process. */
static inline void expect_gone(struct process *process)
{
	uint8_t buffer[64];
	unsigned int reason;

	memset(buffer, 0xee, sizeof(buffer));
	assert_int_equal(read_one(process, ARENA, buffer, sizeof(buffer), &reason), 0);
	assert_int_equal(reason, UIOMMU_FAULT_GONE);
	assert_int_equal(write_one(process, ARENA, buffer, sizeof(buffer), &reason), 0);
	assert_int_equal(reason, UIOMMU_FAULT_GONE);
}

/*
 * The image that a child executes maps the same addresses, fills them with another byte, and reports whether its memory is still
 * what it filled in (0): at once, and again for every byte 0 that it is sent. On another byte it executes itself once more with
 * that.
 */
enum { IMAGE_BYTE = 0x5c };

static inline long execute_image(uintptr_t byte)
{
	char fd[16], fill[16];

	snprintf(fd, sizeof(fd), "%d", child_socket);
	snprintf(fill, sizeof(fill), "%d", (int)(byte ? byte : IMAGE_BYTE));
	execl("/proc/thread-self/exe", "process", "image", fd, fill, NULL);
	return -errno;
}

static inline int image_main(int fd, uint8_t byte)
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

static inline void image_is_untouched(const struct child *child)
{
	assert_int_equal(write(child->fd, "", 1), 1);
	assert_int_equal(child_receive(child), 0);
}

/* A process that shares the child's memory and outlives its exec and its end. */
static int sibling_pipe[2];

/* Only system calls: sanitizers know nothing of this process, which uses its memory, also when the first thread has ended. */
__attribute__((no_sanitize("thread", "address"))) static inline int sibling_main(void *unused)
{
	char end;

	(void)unused;
	syscall(SYS_close, sibling_pipe[1]);
	return syscall(SYS_read, sibling_pipe[0], &end, 1) != 0;
}

/* The name that the sanitizers do not replace. */
int __clone(int (*function)(void *), void *stack, int flags, void *argument, ...);

static inline long start_sibling(uintptr_t unused)
{
	static uint8_t stack[1 << 16] __attribute__((aligned(64)));
	long pid = __clone(sibling_main, stack + sizeof(stack), CLONE_VM, NULL);

	(void)unused;
	close(sibling_pipe[1]);
	return pid;
}

/* Start @target with a sibling; the sibling ends when sibling_pipe[1] is closed. */
static inline pid_t target_start_with_sibling(struct target *target, unsigned int without)
{
	pid_t sibling;

	assert_int_equal(pipe2(sibling_pipe, O_CLOEXEC), 0);
	target_start(target, RW, without);
	sibling = (pid_t)child_call(&target->child, start_sibling, 0);
	assert_true(sibling > 0);
	close(sibling_pipe[0]);
	return sibling;
}

/* Whether an exec is noticed although somebody keeps the memory. */
static inline bool exec_is_noticed(unsigned int without)
{
	static int here;

	if (!here) {
		int event = exec_event_open(getpid());

		here = event < 0 ? -1 : 1;
		if (event < 0)
			print_message("# skipped: what needs an exec event: perf_event_open: %s\n", strerror(errno));
		else
			close(event);
	}
	return !(without & UIOMMU_WITHOUT_PROCESS_VM) || (here > 0 && !(without & UIOMMU_WITHOUT_PERF_EVENT));
}

/* What the sibling has at PLAIN, by another way than the one that is tested. */
static inline void sibling_holds(pid_t sibling, uint8_t byte, bool expected)
{
	uint8_t seen;
	struct iovec local = {&seen, 1}, remote = {PLAIN + ARENA, 1};

	assert_int_equal(process_vm_readv(sibling, &local, 1, &remote, 1, 0), 1);
	assert_int_equal(seen == byte, expected);
}

static inline void still_works(struct target *target)
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

static inline bool is_root(void)
{
	if (geteuid())
		print_message("# skipped: needs root\n");
	return !geteuid();
}

enum { SOMEBODY = 65534, SOMEBODY_ELSE = 65533 };

/* A change of identity takes both settings away. */
static inline int become(uid_t real, uid_t effective, uid_t saved)
{
	return syscall(SYS_setgroups, 0, NULL) || setresgid(SOMEBODY, SOMEBODY, SOMEBODY) || setresuid(real, effective, saved) ||
	       prctl(PR_SET_DUMPABLE, 1) || prctl(PR_SET_PDEATHSIG, SIGKILL);
}

#endif

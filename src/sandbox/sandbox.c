/* SPDX-License-Identifier: BSD-3-Clause */
#include "sandbox/sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "iommu/object.h"
#include "memory/bundle.h"
#include "util/util.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum sandbox_mode sandbox_default(void)
{
	return SANITIZED ? SANDBOX_LOG : SANDBOX_ENFORCE;
}

bool sandbox_parse(const char *text, enum sandbox_mode *mode)
{
	static const char *const modes[] = {[SANDBOX_ENFORCE] = "enforce", [SANDBOX_LOG] = "log", [SANDBOX_OFF] = "off"};

	for (unsigned int i = 0; i < ARRAY_SIZE(modes); i++)
		if (strcmp(text, modes[i]) == 0) {
			*mode = i;
			return true;
		}
	return false;
}

const char *sandbox_too_powerful(void)
{
	if (!getuid() || !geteuid())
		return "it runs as root";
	capng_get_caps_process();
	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_PTRACE) || capng_have_capability(CAPNG_PERMITTED, CAP_SYS_PTRACE))
		return "it has the capability CAP_SYS_PTRACE";
	return NULL;
}

int sandbox_drop(void)
{
	struct rlimit core = {0, 0}, files;

	capng_clear(CAPNG_SELECT_BOTH);
	/* Without CAP_SETPCAP the bounding set stays as it is, which no_new_privs makes void. */
	if (capng_apply(CAPNG_SELECT_CAPS) || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		return -EPERM;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || setrlimit(RLIMIT_CORE, &core))
		return -errno;
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	return 0;
}

/* --- filters --- */

/* What every process of ours does; some more with certain arguments only, below. */
static const int common_calls[] = {
	/* memory */
	SCMP_SYS(brk),
	SCMP_SYS(madvise),
	SCMP_SYS(membarrier),
	SCMP_SYS(mremap),
	SCMP_SYS(munmap),
	SCMP_SYS(memfd_create),
	SCMP_SYS(ftruncate),
	/* files that are open */
	SCMP_SYS(close),
	SCMP_SYS(dup),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(eventfd2),
	SCMP_SYS(fstat),
	SCMP_SYS(fstatfs),
	SCMP_SYS(lseek),
	SCMP_SYS(newfstatat),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(pread64),
	SCMP_SYS(preadv),
	SCMP_SYS(pwrite64),
	SCMP_SYS(pwritev),
	SCMP_SYS(read),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(readv),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	/* time, threads, signals, the end */
	SCMP_SYS(clock_gettime),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(futex),
	SCMP_SYS(getpid),
	SCMP_SYS(getppid),
	SCMP_SYS(getrandom),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(rseq),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_yield),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(set_tid_address),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(uname),
};

/* What binding to processes takes. */
static const int process_calls[] = {SCMP_SYS(capget), SCMP_SYS(process_vm_readv)};

/* What a guest's server does besides: QEMU connects again, devices have files, and interrupts are eventfds (src/pci/eventfd.c). */
static const int server_calls[] = {
	SCMP_SYS(accept4),  SCMP_SYS(epoll_wait), SCMP_SYS(fallocate), SCMP_SYS(fdatasync),	  SCMP_SYS(preadv2),
	SCMP_SYS(pwritev2), SCMP_SYS(setsockopt), SCMP_SYS(shutdown),  SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_create),
	SCMP_SYS(flock),    SCMP_SYS(getsockopt), SCMP_SYS(io_setup),  SCMP_SYS(io_submit),	  SCMP_SYS(io_getevents),
};

/* Its end would take its sockets' names away, which somebody else does after it (src/cli/vm/launch.c). */
static const int server_names[] = {SCMP_SYS(openat), SCMP_SYS(unlink)};

/* What the broker does besides. */
static const int broker_calls[] = {
	/* connections */
	SCMP_SYS(accept4),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(shutdown),
	SCMP_SYS(socketpair),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	/* processes */
	SCMP_SYS(clone),
	SCMP_SYS(clone3),
	SCMP_SYS(kill),
	SCMP_SYS(pidfd_open),
	SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(tgkill),
	SCMP_SYS(waitid),
	SCMP_SYS(wait4),
	/* the preparation of executors */
	SCMP_SYS(close_range),
	SCMP_SYS(dup2),
	SCMP_SYS(dup3),
	SCMP_SYS(fcntl),
	SCMP_SYS(prctl),
	SCMP_SYS(seccomp),
};

/* Opens look as if nothing were there: libraries that try to read a setting do without it. openat() has rules of its own. */
static const int opening_calls[] = {
	SCMP_SYS(open),	      SCMP_SYS(openat2), SCMP_SYS(access), SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2), SCMP_SYS(stat),	 SCMP_SYS(statx),
};

static int add_all(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
	int rc = 0;

	/* Calls that an architecture does not have are no error. */
	for (size_t i = 0; i < count && (!rc || rc == -EDOM); i++)
		rc = seccomp_rule_add(filter, action, calls[i], 0);
	return rc == -EDOM ? 0 : rc;
}

static int add_memory(scmp_filter_ctx filter)
{
	struct scmp_arg_cmp no_code = SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
	int rc = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, &no_code);

	return rc ? rc : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, &no_code);
}

/* Threads of this process only; clone3 has its flags in memory, where no filter sees them, and its callers know clone as well. */
static int add_threads(scmp_filter_ctx filter, enum sandbox_mode mode)
{
	struct scmp_arg_cmp thread = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD);
	int rc = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, &thread);

	if (!rc && mode == SANDBOX_ENFORCE)
		rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	return rc;
}

/*
 * Opening for reading only, where the kernel tells whose a pidfd is by nothing but a file under /proc (before Linux 6.13). Paths
 * are out of a filter's sight; docs/security.md says what remains.
 */
static int add_openat(scmp_filter_ctx filter)
{
	struct scmp_arg_cmp reading = SCMP_A2(SCMP_CMP_EQ, O_RDONLY | O_CLOEXEC),
			    other = SCMP_A2(SCMP_CMP_NE, O_RDONLY | O_CLOEXEC);
	int rc;

	if (!bundle_must_open(fallbacks_wanted()))
		return seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOENT), SCMP_SYS(openat), 0);
	rc = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1, &reading);
	return rc ? rc : seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(ENOENT), SCMP_SYS(openat), 1, &other);
}

/* A call with these values of an argument, of which the kernel looks at the lower 32 bits. */
static int add_values(scmp_filter_ctx filter, int call, unsigned int argument, const uint32_t *values, size_t count)
{
	int rc = 0;

	for (size_t i = 0; i < count && !rc; i++) {
		struct scmp_arg_cmp value = {argument, SCMP_CMP_MASKED_EQ, UINT32_MAX, values[i]};

		rc = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &value);
	}
	return rc;
}

/* ioctl is a door to every driver whose file somebody sends: only what the library asks. */
static int add_questions(scmp_filter_ctx filter)
{
	static const uint32_t questions[] = {
		_IOC(_IOC_READ | _IOC_WRITE, 'f', 17, 104), /* PROCMAP_QUERY, Linux 6.11 */
		_IOC(_IOC_READ | _IOC_WRITE, 0xff, 11, 64), /* PIDFD_GET_INFO, Linux 6.13 */
	};

	return add_values(filter, SCMP_SYS(ioctl), 1, questions, ARRAY_SIZE(questions));
}

/* fcntl can have signals sent to anybody (F_SETOWN), and change files under others that have them open (F_SETFL). */
static int add_file_control(scmp_filter_ctx filter)
{
	static const uint32_t commands[] = {
		F_DUPFD_CLOEXEC, F_GETFL, F_ADD_SEALS, F_GET_SEALS, 1027, /* F_DUPFD_QUERY, Linux 6.10 */
	};

	return add_values(filter, SCMP_SYS(fcntl), 1, commands, ARRAY_SIZE(commands));
}

/* What others are told of through descriptors that they lend must not wait for those who do not read. */
static int add_nonblock(scmp_filter_ctx filter)
{
	struct scmp_arg_cmp nonblock[] = {
		SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, F_SETFL),
		SCMP_A2(SCMP_CMP_MASKED_EQ, UINT32_MAX, O_NONBLOCK),
	};

	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), ARRAY_SIZE(nonblock), nonblock);
}

/* Signals to this process only: abort() needs them. */
static int add_signals(scmp_filter_ctx filter)
{
	uint32_t self = (uint32_t)getpid();

	return add_values(filter, SCMP_SYS(tgkill), 0, &self, 1);
}

static int add_common(scmp_filter_ctx filter, enum sandbox_mode mode)
{
	int rc = add_all(filter, SCMP_ACT_ALLOW, common_calls, ARRAY_SIZE(common_calls));

	if (!rc && mode == SANDBOX_ENFORCE)
		rc = add_all(filter, SCMP_ACT_ERRNO(ENOENT), opening_calls, ARRAY_SIZE(opening_calls));
	if (!rc)
		rc = add_file_control(filter);
	return rc ? rc : add_memory(filter);
}

static int add_executor(scmp_filter_ctx filter, enum sandbox_mode mode)
{
	int rc = add_common(filter, mode);

	if (!rc)
		rc = add_all(filter, SCMP_ACT_ALLOW, process_calls, ARRAY_SIZE(process_calls));
	if (!rc && mode == SANDBOX_ENFORCE)
		rc = add_openat(filter);
	return rc ? rc : add_questions(filter);
}

static int load(scmp_filter_ctx filter, int rc)
{
	if (!rc)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
	/* A binary tree by number instead of a chain: the calls of an engine are not the first ones. */
	if (!rc)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!rc)
		rc = seccomp_load(filter);
	seccomp_release(filter);
	return rc;
}

static scmp_filter_ctx begin(enum sandbox_mode mode, uint32_t refused)
{
	return seccomp_init(mode == SANDBOX_LOG ? SCMP_ACT_LOG : refused);
}

int sandbox_broker(enum sandbox_mode mode)
{
	scmp_filter_ctx filter;
	int rc;

	if (mode == SANDBOX_OFF)
		return 0;
	filter = begin(mode, SCMP_ACT_ERRNO(EPERM));
	if (!filter)
		return -ENOMEM;
	rc = add_executor(filter, mode);
	if (!rc)
		rc = add_all(filter, SCMP_ACT_ALLOW, broker_calls, ARRAY_SIZE(broker_calls));
	return load(filter, rc);
}

int sandbox_executor(enum sandbox_mode mode)
{
	scmp_filter_ctx filter;
	int rc;

	if (mode == SANDBOX_OFF)
		return 0;
	filter = begin(mode, SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return -ENOMEM;
	rc = add_executor(filter, mode);
	if (!rc)
		rc = add_threads(filter, mode);
	if (!rc)
		rc = add_signals(filter);
	return load(filter, rc);
}

/* Userfaultfds for faults of programs, not of the kernel; their pages are SIGBUS, and nobody else's (memory/presence.c). */
static int add_userfaultfd(scmp_filter_ctx filter)
{
	static const uint32_t flags[] = {O_CLOEXEC | O_NONBLOCK | 1 /* UFFD_USER_MODE_ONLY */};
	static const uint32_t questions[] = {UFFDIO_API, UFFDIO_REGISTER};
	int rc = add_values(filter, SCMP_SYS(userfaultfd), 0, flags, ARRAY_SIZE(flags));

	return rc ? rc : add_values(filter, SCMP_SYS(ioctl), 1, questions, ARRAY_SIZE(questions));
}

int sandbox_server(enum sandbox_mode mode, bool on_demand)
{
	scmp_filter_ctx filter;
	int rc;

	if (mode == SANDBOX_OFF)
		return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	filter = begin(mode, SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return -ENOMEM;
	rc = add_common(filter, mode);
	if (!rc)
		rc = add_all(filter, SCMP_ACT_ALLOW, server_calls, ARRAY_SIZE(server_calls));
	if (!rc && mode == SANDBOX_ENFORCE)
		rc = add_all(filter, SCMP_ACT_ERRNO(ENOENT), server_names, ARRAY_SIZE(server_names));
	if (!rc)
		rc = add_nonblock(filter);
	if (!rc && on_demand)
		rc = add_userfaultfd(filter);
	if (!rc)
		rc = add_threads(filter, mode);
	if (!rc)
		rc = add_signals(filter);
	if (!rc)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	return load(filter, rc);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/session/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/session/protocol.h"
#include "util/util.h"

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE AUDIT_ARCH_AARCH64
#endif

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5) /* Linux 5.19 */
#endif

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
/* The lower half: both machines are little-endian. */
#define LOAD_ARGUMENT(index) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[index]))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)
#define SKIP_UNLESS(value, count) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, count)
#define NOTIFY(number) SKIP_UNLESS(number, 1), RETURN(SECCOMP_RET_USER_NOTIF)

static const struct sock_filter instructions[] = {
	LOAD(arch),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE, 1, 0),
	RETURN(SECCOMP_RET_ALLOW),
	LOAD(nr),
	/* ioctl: of our types only. */
	SKIP_UNLESS(SYS_ioctl, 7),
	LOAD_ARGUMENT(1),
	BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff00),
	SKIP_UNLESS(SESSION_IOCTL_TYPE << 8, 1),
	RETURN(SECCOMP_RET_USER_NOTIF),
	SKIP_UNLESS(SESSION_IOCTL_OWN << 8, 1),
	RETURN(SECCOMP_RET_USER_NOTIF),
	RETURN(SECCOMP_RET_ALLOW),
	/* mmap: of files only. */
	SKIP_UNLESS(SYS_mmap, 5),
	LOAD_ARGUMENT(3),
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MAP_ANONYMOUS, 0, 1),
	RETURN(SECCOMP_RET_ALLOW),
	RETURN(SECCOMP_RET_USER_NOTIF),
	RETURN(SECCOMP_RET_ALLOW),
#if defined(__x86_64__)
	NOTIFY(SYS_open),
	NOTIFY(SYS_stat),
	NOTIFY(SYS_lstat),
	NOTIFY(SYS_access),
	NOTIFY(SYS_readlink),
#endif
	NOTIFY(SYS_openat),
	NOTIFY(SYS_openat2),
	NOTIFY(SYS_getcwd),
	NOTIFY(SYS_newfstatat),
	NOTIFY(SYS_fstat),
	NOTIFY(SYS_statx),
	NOTIFY(SYS_faccessat),
	NOTIFY(SYS_faccessat2),
	NOTIFY(SYS_readlinkat),
	NOTIFY(SYS_read),
	NOTIFY(SYS_write),
	NOTIFY(SYS_pread64),
	NOTIFY(SYS_pwrite64),
	NOTIFY(SYS_readv),
	NOTIFY(SYS_writev),
	NOTIFY(SYS_preadv),
	NOTIFY(SYS_pwritev),
	NOTIFY(SYS_preadv2),
	NOTIFY(SYS_pwritev2),
	NOTIFY(SYS_execve),
	NOTIFY(SYS_execveat),
	RETURN(SECCOMP_RET_ALLOW),
};

int filter_install(void)
{
	const struct sock_fprog program = {ARRAY_SIZE(instructions), (struct sock_filter *)(uintptr_t)instructions};
	/* A signal does not take back what the session is doing already. */
	const unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	long fd;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	return fd < 0 ? -errno : (int)fd;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A thread of a program that has been stopped at a system call. */
#ifndef SESSION_STOPPED_H
#define SESSION_STOPPED_H

#include <linux/seccomp.h>

#include "abi/session/session.h"

/* A result that no system call has: the kernel makes the call. */
#define STOPPED_GO_ON INT64_MIN

struct stopped {
	struct abi_caller caller;
	struct session *session;
	struct member *member; /* once it has been looked for; a reference */
	struct seccomp_notif call;
	pid_t process;
	int listener;
};

/* The call is decoded and made: its result, -errno, or STOPPED_GO_ON. */
int64_t stopped_call(struct stopped *stopped);

/* Now its memory is needed. -ESRCH, -EFAULT. */
int stopped_identify(struct stopped *stopped);

/* A descriptor of it: a duplicate, or -errno. */
int stopped_take(const struct stopped *stopped, int number);

/* A descriptor for it; its number there, or -errno. */
int stopped_give(const struct stopped *stopped, int fd, int flags);

/* Members by process, each until its next exec (known.c). One that is found comes with a reference. */
struct member *known_find(struct session *session, pid_t process);
void known_add(struct session *session, struct member *member);
void known_forget(struct session *session, pid_t process);
void known_end(struct session *session);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Noticing that a process has ended or executed another program.
 *
 * A pidfd tells the end of a process. An *exec event* tells more: it is a perf event of the process's first thread that counts
 * nothing and that the kernel removes in exec, before the first instruction of the new program (remove_on_exec, Linux 5.13). Its
 * file hangs up then, and when the thread ends; also if another thread executes a program, since that ends the first one. Threads,
 * fork and vfork children, changes of name or identity do not. It stays so: a file that has hung up never recovers. Who asks
 * needs no rights over the process, only the file.
 */
#ifndef MEMORY_WATCH_H
#define MEMORY_WATCH_H

#include <stdbool.h>
#include <sys/types.h>

struct watch {
	int pidfd;
	int event; /* or -1 */
	int epoll; /* of both: asking it costs half as much as asking one of them */
	void *page; /* of the event */
	bool asking; /* somebody is in the epoll */
};

/* An exec event of @pid, close-on-exec; or -1 and errno: more rights are needed (perf_event_paranoid), or the kernel has none. */
int exec_event_open(pid_t pid);

/* Has it hung up? 0, -EAGAIN (yes), or -errno: it cannot be asked. */
int exec_event_ask(int event);

/* Is it a perf event? Of which process, and of which kind, the kernel does not say. */
bool exec_event_is(int event);

/*
 * Duplicates both. @event may be -1, and is left out if the kernel does not let us ask it: it takes one page of what a user may
 * lock. 0, -EMFILE, -ENOMEM; then nothing is left, and watch_fini() may still be called.
 */
int watch_init(struct watch *watch, int pidfd, int event);
void watch_fini(struct watch *watch);

/* True: the process lives and, if there is an event, has the program and the first thread that it had. */
bool watch_quiet(struct watch *watch);

#endif

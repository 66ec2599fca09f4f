/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session: what one `uiommu run` has, in a process of its own. It hosts the files of the ABI (abi/abi.h) for the programs that
 * have the shim in them, and ends when the last of them has.
 *
 * Each connection has a thread, which waits for a request, drains what has been closed, and makes the call; so a call that
 * has to wait for a device keeps nobody else. What has been closed ends in another thread (ends.h). The first thread waits for
 * everything else: connections, ends, events.
 *
 * Lock order: session.lock is never held while a file is called, but for the poll state of its descriptor.
 */
#ifndef SESSION_SESSION_H
#define SESSION_SESSION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

#include "abi/abi.h"
#include "abi/session/devices.h"
#include "abi/session/ends.h"
#include "abi/session/protocol.h"
#include "abi/session/report.h"

enum {
	SESSION_FOLDER_MAX = 80, /* with its NUL; leaves room for a socket's name behind it */
	SESSION_BUCKETS = 256,
	SESSION_KNOWN = 64, /* programs into which nothing is preloaded */
	SESSION_PATIENCE = 3, /* seconds that is waited for what may never come back */
	SESSION_PEERS = 16, /* events of the epoll: from here on those of peers */
};

struct session_message;

struct session_options {
	const char *const *devices; /* "MODEL[,OPTION]...", NULL at the end; may be NULL */
	const char *trace; /* file for calls, or NULL */
	bool mock; /* the command of the kernel's selftests exists */
	bool check; /* report what a device with pinned pages would not see */
	bool native; /* programs map BARs from the descriptors that they have */
	int report; /* where to */
};

struct member_facts {
	uint64_t capabilities;
	uint64_t lock_limit; /* RLIMIT_MEMLOCK */
	pid_t pid;
};

/* Somebody who is served by a thread (peers.c). */
struct peer {
	struct cds_list_head link;
	uint64_t number;
	int64_t deadline; /* CLOCK_MONOTONIC, in ms: it has hung up; or 0 */
	bool aside; /* it is not waited for any more */
};

/* A program, with its memory. */
struct member {
	struct member *next;
	struct abi_memory *memory;
	uint64_t token;
	struct member_facts facts;
	unsigned int references;
	bool asked; /* for a swapper, or it is not going to be; atomic */
};

struct session {
	char folder[SESSION_FOLDER_MAX];
	int folder_lock; /* whoever has it owns the folder */
	int listening;
	int epoll; /* what the first thread waits for */
	int closing; /* an epoll: something has been closed */
	int ready; /* an epoll: files whose poll state may have changed */
	int inotify;
	int wake; /* an eventfd: look whether it is the end */
	int first; /* pidfd of the program, -1 when it has ended */
	int trace; /* a file, or -1 */
	struct session_devices *devices;
	bool mock;
	bool check;
	bool unsettled; /* held_drain() may have something to do; atomic, written under the lock */
	bool draining; /* or it is doing it; atomic, written under the next one */
	pthread_mutex_t drain_lock; /* held by whoever drains; taken before the other */
	struct ends ends;
	struct report report; /* of --check */
	pthread_mutex_t watch_lock; /* the next two (watch.c); before @lock */
	struct cds_list_head userfaults; /* of programs */
	struct cds_list_head watches; /* of registers */
	pthread_mutex_t gone_lock; /* from when it is read what has gone until it has been reported; after the one before */
	pthread_t watch_thread;
	int watching; /* an epoll of them, or -1: there is no thread yet */
	int watch_wake; /* an eventfd: it ends */
	pthread_mutex_t lock;
	/* Under the lock: */
	struct held *held[SESSION_BUCKETS]; /* by inode */
	struct member *members;
	struct member *known[SESSION_KNOWN]; /* with a reference each (known.c) */
	uint64_t last_token;
	size_t held_count;
	struct cds_list_head peers;
	uint64_t last_peer;
	unsigned int peer_count; /* but for those that have been set aside: */
	unsigned int peers_aside;
};

/* Make the folder, its socket and the devices. 0, or -errno and a line about it in @complaint. */
int session_create(struct session *session, const struct session_options *options, char *complaint, size_t complaint_size);

/* Serve, until @first (a pidfd) has ended and nobody else is left. Takes over the pidfd. */
void session_serve(struct session *session, int first);

/* Removes the folder. What has been set aside stays, and ends with the process, which has to end soon. */
void session_destroy(struct session *session);

/* What the programs have open: a file is *held* as long as any descriptor or mapping of it exists anywhere. */

/*
 * A descriptor for a program, with @flags of open(2), for the caller to send and to close. Takes over the reference to @file, if it
 * succeeds. -EMFILE, -ENOMEM.
 */
int held_open(struct session *session, struct abi_file *file, int flags, int *fd);

/* The file of a descriptor, with a reference, or NULL. */
struct abi_file *held_find(struct session *session, const struct session_key *key);

/* Is it a descriptor of ours? As held_find(). */
struct abi_file *held_find_fd(struct session *session, int fd);

/* End what has been closed until now, before anything else is done. */
void held_drain(struct session *session);

/* The poll state of a file may be another one. @taken: it has been read. */
void held_poll(struct session *session, const struct session_key *key, bool taken);

/* For files that have told of it themselves. */
void held_poll_ready(struct session *session);

/*
 * A descriptor of what @file has mapped for a SESSION_MMAP, to send and to close; abi_munmap() is said when nobody has it mapped
 * any more.
 */
int held_map(struct session *session, struct abi_file *file, const struct session_request *request,
	     const struct abi_mapping *mapping, int *fd);

/* The file that has something mapped at @offset, without a reference, or NULL. */
struct abi_file *held_mapped(struct session *session, const struct session_key *key, uint64_t offset);

/* One mapping of @offset of @file less, of those that held_map() has made. */
void held_unmapped(struct session *session, const struct abi_file *file, uint64_t offset, uint64_t length);

/*
 * A userfaultfd of @member, which is taken over: of @memory that is mapped for DMA, or of registers. -EINVAL: it is none; -EEXIST:
 * there is one; -EMFILE, -ENOMEM, -EAGAIN.
 */
int watch_take(struct session *session, const struct member *member, int fd, bool memory);
/* The features that it is to have; @attempt: from 0 on, where a kernel does not know them; 0: there are no more. */
uint64_t watch_features(bool memory, unsigned int attempt);
/*
 * Registers that @member has mapped (SESSION_WATCH). -EPERM: nobody can write there, which needs no watch; -ENXIO: it has no
 * userfaultfd for that yet; -EINVAL, -ENOMEM.
 */
int watch_start(struct session *session, const struct member *member, const struct session_request *request);

/* What a program did to its memory before it made its call, or had its device do something, has been reported (--check). */
void watch_settle(struct session *session);
/* Nobody has it mapped any more; the program has ended. */
void watch_end_mapping(struct session *session, const struct abi_file *file, uint64_t offset);
void watch_end_member(struct session *session, const struct member *member);
void watch_finish(struct session *session);

/* End all of them. */
void held_end(struct session *session);

/* A memfd, and a stream that writes to it; or NULL. */
FILE *session_memfd(const char *name, int *fd);

/* A number in /proc/PID/status, of a thread as well. */
bool status_value(pid_t pid, const char *name, int base, uint64_t *out);

/* Has it this capability (CAP_...) now? */
bool member_capable(const struct member *member, int capability);
/* Has any of its threads a seccomp filter that the session has not? */
bool member_filtered(const struct member *member);

/* /proc/PID/status of a program, as text in a memfd. -ENOENT: it is none of ours; -EMFILE. */
int session_status(struct session *session, pid_t pid, int *fd);

/* The objects, as text in a memfd (list.c). -EMFILE. */
int session_list(struct session *session, int *fd);
void session_list_file(FILE *out, uint64_t id, struct abi_file *file);
void objects_list(FILE *out, struct uiommu_context *context, uint64_t file);
void held_list(struct session *session, FILE *out);

/* What open(2) of this name makes; -EISDIR: it is a folder of the tree; -ENOENT. */
int session_open(struct session *session, const char *name, struct abi_file **out);

/* Of a bundle, which stays the caller's. Errors as abi_memory_create(). */
int member_create(struct session *session, const struct uiommu_process *bundle, const struct member_facts *facts,
		  struct member **out);
/* With a reference, or NULL. */
struct member *member_find(struct session *session, uint64_t token);
/* One that has something to settle (check.h), that nobody settles, with a reference; or NULL. */
struct member *member_with_work(struct session *session);
/* The one that came last before the one of this token, with a reference; or NULL. */
struct member *member_before(struct session *session, uint64_t token);
void member_put(struct session *session, struct member *member);

/*
 * Make the call that @message asks for, of @caller, which is @member. What the system call returns, or -errno; *@fd is a descriptor
 * to hand over, if there is one. Of a mapping it may be NULL: the caller maps the descriptor that it has.
 */
int64_t session_call(struct session *session, struct abi_caller *caller, const struct member *member,
		     struct session_message *message, struct session_reply *reply, int *fd);

/* @fd tells when it hangs up. -ENOMEM. */
int peer_add(struct session *session, struct peer *peer, int fd);
/* The last thing that is done for it: @owner, in which it is, is freed. */
void peer_end(struct session *session, struct peer *peer, void *owner);
void peers_hung_up(struct session *session, uint64_t number);
/* Set aside whose time has come. How long to wait for the next one, as epoll_wait() wants it. */
int peers_wait(struct session *session);

/* A thread that serves @fd, which it takes over. -EAGAIN, -ENOMEM. */
int connection_start(struct session *session, int fd);

/* The folder. -errno. */
int folder_create(struct session *session);
int folder_listen(struct session *session);
/* Where the folders of this user's sessions are; made if need be. */
int folder_base(char *out, size_t size);
/* In the tree, with the folders above. @name begins with a slash. A node is what the shim makes a character device of. */
int folder_node(struct session *session, const char *name, dev_t device);
/* The number of node @name, as its time of modification has it. false: there is no such node. */
bool folder_number(struct session *session, const char *name, struct timespec *out);
/* @fd is a descriptor of what the node @name stands for: it has the same number. */
void folder_mark(struct session *session, const char *name, int fd);
int folder_file(struct session *session, const char *name, const void *data, size_t length);
int folder_link(struct session *session, const char *name, const char *target);
void folder_destroy(struct session *session);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process that has one accelerator and serves all guests that name it.
 *
 * Nobody starts it: the first guest does (join.c), and it ends with the last one. A guest is a connection to its socket, in the
 * folder of all guests, which its user alone can reach. The first message says what the guest is, and brings a descriptor, where
 * the launcher listens for events; each of those that follow brings a socket of the guest's, as vm_sockets_open() has made them.
 * There are no others in either direction: the guest ends when the other side shuts the connection down, and nothing is left of it
 * when this side does.
 *
 * The process opens nothing by a name: it gives up the right to before the first guest comes. Its own names a keeper takes away.
 *
 * Who joins holds a lock from before he looks for the socket until he is connected, and the process takes the same one before it
 * ends: so nobody joins one that is ending.
 */
#ifndef CLI_VM_SHARED_H
#define CLI_VM_SHARED_H

#include <sys/un.h>

#include "cli/vm/vm.h"

struct shared_place {
	struct sockaddr_un socket;
	char lock[VM_PATH_MAX + VM_NAME_MAX + 16];
};

/* Of the accelerator @name: 0 or -ENAMETOOLONG. */
int shared_place(const char *name, struct shared_place *place);

/* The lock: a descriptor, which holds it until it is closed; or a negative errno. */
int shared_lock(const struct shared_place *place);

/* What a guest is, as a message says it. */
struct json_object *shared_describe(const struct vm *vm);

/* In the new process: serve guests, of which @first is connected, and then exit. */
void shared_serve(const struct shared_place *place, enum sandbox_mode mode, int listening, int first) __attribute__((noreturn));

#endif

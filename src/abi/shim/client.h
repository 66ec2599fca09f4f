/* SPDX-License-Identifier: BSD-3-Clause */
/* The program's side of a session: connections to its daemon, and the calls made over them. */
#ifndef SHIM_CLIENT_H
#define SHIM_CLIENT_H

#include <stdbool.h>

#include "abi/session/protocol.h"
#include "abi/shim/paths.h"

/* Is the program in a session, so that anything is to be looked at? Looks at the environment once. */
bool client_active(void);

/* Where @path really is; itself outside of a session, or if it does not begin with '/'. */
void redirect(const char *path, struct redirected *out);

/* The same of any name, which begins at @directory. */
void redirect_at(int directory, const char *path, struct redirected *out);

/* Can the 8 bytes be read that @address is in? Where a page does not come this waits, until the program is killed. */
bool client_can_read(uint64_t address);

/* Is all of it there? @length: at least 8, at most a page. Some of it may be changed. */
bool client_can_write(char *out, size_t length);

/* As undo_redirect_below(). */
size_t undo_redirect(char *name, size_t length);

/* As node_of_device(). */
bool client_device(int fd, char *name);

/* The daemon's file behind @fd. False: it is another one. */
bool client_file(int fd, struct session_key *out);

/* What is mapped for DMA is watched; known once there was a call. */
bool client_checks(void);

/*
 * One call; what the system call would return, or -errno. @inlined (may be NULL) has request->length bytes to go with it; a bad
 * pointer is the same as none. *@fd (may be NULL) is the descriptor that came with the answer: close-on-exec, unless request->flags
 * of an open say no. request->flags are the answer's afterwards.
 */
int64_t client_call(struct session_request *request, const void *inlined, int *fd, uint64_t *offset);

/* A connection that is nobody else's, and known as this process's, or -errno. */
int client_connection(void);

/* As a message of this connection's own: @request, and what DONE says to it. */
int64_t client_say(int socket, struct session_request *request);

/* Connect, so that whatever the program forbids itself later, this is done. */
void client_connect(void);

#endif

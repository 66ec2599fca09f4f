/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Telling the service manager that we serve, as sd_notify(3) does; but in two steps, because it shall be told when all rights have
 * been given up, and that is one of them: to open a socket.
 */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

/* A socket that is connected to $NOTIFY_SOCKET; -1 if nobody wants to know. */
int notify_open(void);

/* Say it, and close the socket. */
void notify_ready(int fd);

#endif

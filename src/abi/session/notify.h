/* SPDX-License-Identifier: BSD-3-Clause */
/* The session's side of filter.h. */
#ifndef SESSION_NOTIFY_H
#define SESSION_NOTIFY_H

struct session;

/* Serve the calls that @listener tells of, until nobody is left that could make one. Takes it over. -EAGAIN, -ENOMEM. */
int notify_start(struct session *session, int listener);

#endif

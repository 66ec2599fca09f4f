/* SPDX-License-Identifier: BSD-3-Clause */
/* The filter of system calls that sends those that may concern a session to it. */
#ifndef SESSION_FILTER_H
#define SESSION_FILTER_H

/*
 * Of the calling thread, and of all that it executes and forks. No new privileges from then on. The descriptor that tells of the
 * calls, or -errno: -EINVAL, the kernel has no such filters; -EBUSY, there is one already.
 */
int filter_install(void);

#endif

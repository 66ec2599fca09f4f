/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A line for each call, as strace(1) would show it:
 *
 *   12:34:56.789012 [4711] ioctl(<7:/dev/iommu>, IOMMU_IOAS_ALLOC, {flags=0} => {out_ioas_id=1}) = 0 <0.000011>
 *
 * The time is that of the call's begin, then the process, then between < and > the file's inode and name; behind => is what the
 * call has changed; at the end the seconds that the session needed. What structs lead to is what the call has read and written.
 */
#ifndef SESSION_TRACE_H
#define SESSION_TRACE_H

#include <time.h>

#include "abi/record.h"
#include "abi/session/message.h"
#include "abi/session/session.h"

struct trace {
	struct timespec begin; /* CLOCK_REALTIME */
	struct timespec start; /* CLOCK_MONOTONIC */
	uint8_t before[SESSION_INLINE]; /* what the argument pointed at */
	struct abi_record record;
};

/* Whether there is a trace at all. */
static inline bool traced(const struct session *session)
{
	return session->trace >= 0;
}

void trace_begin(struct trace *trace, struct abi_caller *caller, const struct session_message *message);

void trace_end(const struct session *session, struct trace *trace, struct abi_caller *caller, pid_t pid,
	       const struct session_message *message, struct abi_file *file, int64_t result);

/* "[PID NAME] ..." with its end, behind the time. */
void trace_line(const struct session *session, const char *line, size_t length);

#endif

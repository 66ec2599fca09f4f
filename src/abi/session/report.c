/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/session/report.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/session/session.h"
#include "abi/session/trace.h"
#include "util/clock.h"
#include "util/util.h"

enum { LINE = 512, NAME = 16 };

/*
 * The description is the program's, whose business O_NONBLOCK is. So a pipe or a terminal is opened once more; a file has one
 * position for all who write to it, and never waits for a reader.
 */
void report_init(struct report *report, int fd)
{
	char path[32];
	struct stat stat;
	int own;

	*report = (struct report){.fd = fd, .room = REPORT_BURST, .time = clock_ms()};
	pthread_mutex_init(&report->lock, NULL);
	if (fd < 0 || fstat(fd, &stat) || S_ISREG(stat.st_mode))
		return;
	report->socket = S_ISSOCK(stat.st_mode);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = report->socket ? -1 : open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	report->own = own >= 0;
	if (report->own)
		report->fd = own;
}

static bool put(const struct report *report, const char *line, size_t length)
{
	struct pollfd look = {.fd = report->fd, .events = POLLOUT};

	if (report->socket)
		return send(report->fd, line, length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
	if (!report->own && poll(&look, 1, 0) != 1)
		return false;
	return write(report->fd, line, length) >= 0;
}

/* Under the lock. */
static bool may_write(struct report *report)
{
	uint64_t now = clock_ms(), more = (now - report->time) * REPORT_RATE / 1000;

	if (more) {
		report->time = now;
		report->room = (unsigned int)min_u64(report->room + more, REPORT_BURST);
	}
	if (!report->room)
		return false;
	report->room--;
	return true;
}

/* Under the lock. */
static void say_left_out(struct report *report)
{
	char line[LINE];
	int length;

	if (!report->left_out)
		return;
	length = snprintf(line, sizeof(line), "uiommu: %" PRIu64 " more lines were left out\n", report->left_out);
	if (put(report, line, (size_t)length))
		report->left_out = 0;
}

void report_fini(struct session *session)
{
	struct report *report = &session->report;

	if (report->fd >= 0)
		say_left_out(report);
	if (report->own)
		close(report->fd);
	pthread_mutex_destroy(&report->lock);
}

/* What the program is called now; "?" when it has ended. */
static void name_of(pid_t pid, char *out, size_t size)
{
	char path[32];
	ssize_t length = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		length = read(fd, out, size - 1);
		close(fd);
	}
	if (length <= 0)
		length = snprintf(out, size, "?");
	out[length] = '\0';
	for (char *at = out; *at; at++)
		if (*at == '\n' && !at[1])
			*at = '\0';
		else if (*at < ' ' || *at > '~')
			*at = '?';
}

void report_line(struct session *session, pid_t pid, const char *format, ...)
{
	struct report *report = &session->report;
	char line[LINE], name[NAME + 2];
	va_list arguments;
	size_t length;

	pthread_mutex_lock(&report->lock);
	if (!may_write(report)) {
		report->left_out++;
		pthread_mutex_unlock(&report->lock);
		return;
	}
	say_left_out(report);
	name_of(pid, name, sizeof(name));
	length = (size_t)snprintf(line, sizeof(line), "uiommu: [%d %s] ", pid, name);
	va_start(arguments, format);
	length += (size_t)vsnprintf(line + length, sizeof(line) - length, format, arguments);
	va_end(arguments);
	length = (size_t)min_u64(length, sizeof(line) - 1);
	line[length] = '\n';
	if (report->fd < 0 || !put(report, line, length + 1))
		report->left_out++;
	if (traced(session))
		trace_line(session, line + strlen("uiommu: "), length + 1 - strlen("uiommu: "));
	pthread_mutex_unlock(&report->lock);
}

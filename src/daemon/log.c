/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	LINE_MAX_BYTES = 512, /* less than PIPE_BUF, so that a writable pipe takes it whole */
	LINES_PER_SECOND = 10,
	LINES_PER_CLIENT = 3,
};

int log_fd = STDERR_FILENO;

static struct log_source all;

static void emit(char *line, int length)
{
	struct pollfd fd = {.fd = log_fd, .events = POLLOUT};

	if (length >= LINE_MAX_BYTES)
		length = LINE_MAX_BYTES - 1;
	for (int i = 0; i < length; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[length] = '\n';
	/* Only the broker writes here, so a writable pipe stays writable until we write. */
	if (poll(&fd, 1, 0) != 1 || !(fd.revents & POLLOUT) || write(log_fd, line, (size_t)length + 1) < 0)
		all.left_out++;
}

static bool may_log(struct log_source *source, unsigned int most)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec != source->second) {
		source->second = now.tv_sec;
		source->lines = 0;
	}
	if (source->lines == most) {
		source->left_out++;
		return false;
	}
	source->lines++;
	return true;
}

void log_line(const char *format, ...)
{
	char line[LINE_MAX_BYTES + 1];
	int length = snprintf(line, LINE_MAX_BYTES, "uiommud: ");
	va_list arguments;

	va_start(arguments, format);
	length += vsnprintf(line + length, (size_t)(LINE_MAX_BYTES - length), format, arguments);
	va_end(arguments);
	emit(line, length);
}

static void say_left_out(const char *whose, unsigned long *count)
{
	if (*count)
		log_line("%lu lines about %s left out", *count, whose);
	*count = 0;
}

void log_client(struct log_source *source, const char *format, ...)
{
	char line[LINE_MAX_BYTES + 1];
	va_list arguments;
	int length;

	if (!may_log(source, LINES_PER_CLIENT) || !may_log(&all, LINES_PER_SECOND))
		return;
	say_left_out("the next client", &source->left_out);
	say_left_out("clients", &all.left_out);
	length = snprintf(line, LINE_MAX_BYTES, "uiommud: client %u (uid %u, pid %u): ", source->number, source->uid, source->pid);
	va_start(arguments, format);
	length += vsnprintf(line + length, (size_t)(LINE_MAX_BYTES - length), format, arguments);
	va_end(arguments);
	emit(line, length);
}

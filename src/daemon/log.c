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
	LINES_BURST = 30,
};

static struct {
	unsigned int tokens;
	time_t second;
	unsigned long left_out;
} rate = {.tokens = LINES_BURST};

static void emit(char *line, int length)
{
	struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};

	if (length >= LINE_MAX_BYTES)
		length = LINE_MAX_BYTES - 1;
	for (int i = 0; i < length; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[length] = '\n';
	/* Only the broker writes here, so a writable pipe stays writable until we write. */
	if (poll(&fd, 1, 0) != 1 || !(fd.revents & POLLOUT) || write(STDERR_FILENO, line, (size_t)length + 1) < 0)
		rate.left_out++;
}

static bool may_log(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec != rate.second) {
		unsigned long more = (unsigned long)(now.tv_sec - rate.second) * LINES_PER_SECOND;

		rate.tokens = more > LINES_BURST - rate.tokens ? LINES_BURST : rate.tokens + (unsigned int)more;
		rate.second = now.tv_sec;
	}
	if (!rate.tokens) {
		rate.left_out++;
		return false;
	}
	rate.tokens--;
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

void log_client(uint32_t number, uint32_t uid, uint32_t pid, const char *format, ...)
{
	char line[LINE_MAX_BYTES + 1];
	unsigned long left_out = rate.left_out;
	va_list arguments;
	int length;

	if (!may_log())
		return;
	if (left_out) {
		rate.left_out = 0;
		log_line("%lu lines left out", left_out);
	}
	length = snprintf(line, LINE_MAX_BYTES, "uiommud: client %u (uid %u, pid %u): ", number, uid, pid);
	va_start(arguments, format);
	length += vsnprintf(line + length, (size_t)(LINE_MAX_BYTES - length), format, arguments);
	va_end(arguments);
	emit(line, length);
}

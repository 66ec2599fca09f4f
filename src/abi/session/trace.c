/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/session/trace.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "abi/describe.h"
#include "util/util.h"

enum { LINE_MAX_BYTES = 1024 };

struct line {
	char text[LINE_MAX_BYTES]; /* always with room for one more byte */
	size_t length;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *format, ...)
{
	size_t room = sizeof(line->text) - line->length;
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line->text + line->length, room, format, arguments);
	va_end(arguments);
	line->length += length < (int)room ? (size_t)length : room - 1;
}

static uint64_t value_of(const struct abi_member *member, const uint8_t *data)
{
	uint64_t value = 0;

	/* Both machines are little-endian. */
	memcpy(&value, data + member->offset, member->size);
	return value;
}

static void add_member(struct line *line, const struct abi_member *member, uint64_t value, bool first)
{
	add(line, "%s%s=", first ? "" : ", ", member->name);
	switch (member->kind) {
	case ABI_NUMBER:
		add(line, "%" PRIu64, value);
		break;
	case ABI_SIGNED:
		add(line, "%" PRId32, (int32_t)value);
		break;
	default:
		add(line, value ? "0x%" PRIx64 : "%" PRIx64, value);
	}
}

static bool is_answer(const struct abi_member *member)
{
	return !strncmp(member->name, "out_", 4);
}

/* What the call was given, as far as @length says that it is known. */
static void add_before(struct line *line, const struct abi_description *command, const uint8_t *data, size_t length)
{
	bool first = true;

	add(line, "{");
	for (size_t i = 0; i < command->count; i++) {
		const struct abi_member *member = &command->members[i];

		if (is_answer(member) || (size_t)member->offset + member->size > length)
			continue;
		add_member(line, member, value_of(member, data), first);
		first = false;
	}
	add(line, "}");
}

/* What it has changed. */
static void add_after(struct line *line, const struct abi_description *command, const uint8_t *before, const uint8_t *after,
		      size_t length)
{
	bool first = true;

	for (size_t i = 0; i < command->count; i++) {
		const struct abi_member *member = &command->members[i];

		if ((size_t)member->offset + member->size > length ||
		    (!is_answer(member) && value_of(member, before) == value_of(member, after)))
			continue;
		if (first)
			add(line, " => {");
		add_member(line, member, value_of(member, after), first);
		first = false;
	}
	if (!first)
		add(line, "}");
}

/* As much of a struct as the caller has: its first 32 bits say how much that is. */
static size_t known_length(const struct abi_description *command, const uint8_t *data, size_t length)
{
	uint32_t size;

	if (length < sizeof(size) || command->size == sizeof(size))
		return length;
	memcpy(&size, data, sizeof(size));
	return (size_t)min_u64(min_u64(length, size), command->size);
}

static void add_ioctl(struct line *line, const struct trace *trace, const struct session_message *message,
		      const struct abi_file *file, int64_t result)
{
	const struct session_request *request = &message->request;
	bool iommufd = !strcmp(file->ops->name, "/dev/iommu") || !strcmp(file->ops->name, "/dev/vfio/vfio");
	const struct abi_description *command = abi_describe(iommufd ? ABI_SPACE_IOMMUFD : ABI_SPACE_DEVICE, request->command);
	size_t length = 0;

	if (!command || !command->size) {
		if (command)
			add(line, "%s, ", command->name);
		else
			add(line, "0x%x, ", request->command);
		add(line, "0x%" PRIx64, request->argument);
		return;
	}
	length = known_length(command, trace->before, request->length);
	add(line, "%s, ", command->name);
	if (!length) {
		add(line, "0x%" PRIx64, request->argument);
		return;
	}
	add_before(line, command, trace->before, length);
	if (result >= 0)
		add_after(line, command, trace->before, message->inlined, length);
}

static void add_call(struct line *line, const struct trace *trace, const struct session_message *message,
		     const struct abi_file *file, int64_t result)
{
	static const char *const names[SESSION_OPS] = {
		[SESSION_OPEN] = "open", [SESSION_IOCTL] = "ioctl", [SESSION_READ] = "read",	 [SESSION_WRITE] = "write",
		[SESSION_MMAP] = "mmap", [SESSION_READV] = "readv", [SESSION_WRITEV] = "writev",
	};
	const struct session_request *request = &message->request;

	add(line, "%s(", names[request->op] ? names[request->op] : "?");
	if (request->op == SESSION_OPEN) {
		add(line, "\"%.*s\", 0x%x", (int)request->length, (const char *)message->inlined, request->flags);
	} else {
		add(line, "<%" PRIu64 ":%s>, ", request->file.inode, file ? file->ops->name : "?");
		if (request->op == SESSION_IOCTL && file)
			add_ioctl(line, trace, message, file, result);
		else if (request->op == SESSION_MMAP)
			add(line, "0x%" PRIx64 ", 0x%x, 0x%x, 0x%" PRIx64, request->count, request->command, request->flags,
			    request->offset);
		else
			add(line, "0x%" PRIx64 ", %" PRIu64 ", 0x%" PRIx64, request->argument, request->count, request->offset);
	}
	add(line, ")");
}

void trace_begin(struct trace *trace, const struct session_message *message)
{
	memcpy(trace->before, message->inlined, message->request.length);
	clock_gettime(CLOCK_REALTIME, &trace->begin);
	clock_gettime(CLOCK_MONOTONIC, &trace->start);
}

void trace_end(const struct session *session, const struct trace *trace, pid_t pid, const struct session_message *message,
	       const struct abi_file *file, int64_t result)
{
	struct line line = {.length = 0};
	struct timespec now;
	struct tm local;
	int64_t took;

	clock_gettime(CLOCK_MONOTONIC, &now);
	took = (now.tv_sec - trace->start.tv_sec) * 1000000 + (now.tv_nsec - trace->start.tv_nsec) / 1000;
	localtime_r(&trace->begin.tv_sec, &local);
	add(&line, "%02d:%02d:%02d.%06ld [%d] ", local.tm_hour, local.tm_min, local.tm_sec, trace->begin.tv_nsec / 1000, pid);
	add_call(&line, trace, message, file, result);
	if (result < 0)
		add(&line, " = -1 %s (%s)", strerrorname_np((int)-result), strerrordesc_np((int)-result));
	else
		add(&line, " = %" PRId64, result);
	add(&line, " <%" PRId64 ".%06" PRId64 ">", took / 1000000, took % 1000000);
	/* The end of the line stays its end, however long it is; one write, so that lines of several threads do not mix. */
	line.text[line.length] = '\n';
	if (write(session->trace, line.text, line.length + 1) < 0)
		return; /* a full disk is nobody's business here */
}

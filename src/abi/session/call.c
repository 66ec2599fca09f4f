/* SPDX-License-Identifier: BSD-3-Clause */
/* A call of a program, however it came here. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "abi/iommufd.h"
#include "abi/session/check.h"
#include "abi/session/message.h"
#include "abi/session/session.h"
#include "abi/session/trace.h"
#include "util/util.h"

enum { COUNT_MAX = 0x7ffff000 }; /* of bytes, as for any file */

static int64_t open_name(struct session *session, const struct abi_caller *caller, struct session_message *message, int *fd)
{
	const struct session_request *request = &message->request;
	struct abi_file *file;
	int error;

	if (!request->length || message->inlined[request->length - 1])
		return -EINVAL;
	error = session_open(session, (const char *)message->inlined, &file);
	if (error)
		return error;
	folder_mark(session, (const char *)message->inlined, file->descriptor);
	error = held_open(session, file, (int)request->flags, fd);
	if (error)
		abi_file_put(file);
	else
		abi_record_file(caller->record, 0, file, *fd);
	return error;
}

/* What a descriptor was opened for, as the kernel has it. */
static bool may_map(const struct session_request *request)
{
	const bool writes = request->command & PROT_WRITE && (request->flags & MAP_TYPE) != MAP_PRIVATE;
	const int access = request->number & O_ACCMODE;

	return access == O_RDWR || (access == O_RDONLY && !writes);
}

/* Of what stands for an event queue, the end of a pipe, nothing is to be seen of that. */
static bool may_transfer(const struct session_request *request, const struct abi_file *file)
{
	const bool reads = request->op == SESSION_READ || request->op == SESSION_READV;
	const uint32_t access = request->flags & O_ACCMODE;
	struct stat stat;

	return access == O_RDWR || access == (reads ? O_RDONLY : O_WRONLY) || fstat(file->descriptor, &stat) ||
	       !S_ISREG(stat.st_mode);
}

static int64_t map(struct session *session, struct abi_caller *caller, struct abi_file *file, const struct session_request *request,
		   struct session_reply *reply, int *fd)
{
	struct abi_mapping mapping;
	int error;

	if (!may_map(request))
		return -EACCES;
	error = abi_mmap(file, caller, request->offset, request->count, (int)request->command, (int)request->flags, &mapping);
	if (error)
		return error;
	if (mapping.fd < 0) {
		reply->flags = SESSION_CALLS;
		return 0;
	}
	if (fd)
		error = held_map(session, file, request, &mapping, fd);
	else if (!mapping.native)
		error = -ENODEV;
	if (error)
		abi_munmap(file, request->offset, request->count);
	reply->offset = mapping.offset;
	reply->flags = mapping.watched ? SESSION_WATCHED : 0;
	return error;
}

/* One after the other, as the kernel does for files like ours, up to the first that is not done whole. */
static int64_t transfer_parts(struct abi_caller *caller, struct abi_file *file, const struct session_request *request,
			      const struct iovec *parts)
{
	size_t done = 0;

	for (size_t i = 0; i < request->count; i++)
		if (parts[i].iov_len > SSIZE_MAX)
			return -EINVAL;
	for (size_t i = 0; i < request->count && done < COUNT_MAX; i++) {
		size_t length = (size_t)min_u64(parts[i].iov_len, COUNT_MAX - done);
		uint64_t address = (uint64_t)(uintptr_t)parts[i].iov_base, offset = request->offset + done;
		int64_t part = request->op == SESSION_READV ? abi_read(file, caller, address, length, offset)
							    : abi_write(file, caller, address, length, offset);

		if (part < 0)
			return done ? (int64_t)done : part;
		done += (size_t)part;
		if ((size_t)part < length)
			break;
	}
	return (int64_t)done;
}

/* The program's struct iovec is ours. */
static int64_t transfer_vector(struct abi_caller *caller, struct abi_file *file, const struct session_request *request)
{
	struct iovec *parts;
	int64_t result;

	if (request->count > IOV_MAX)
		return -EINVAL;
	parts = calloc(request->count + 1, sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	result = abi_caller_read(caller, request->argument, parts, request->count * sizeof(*parts));
	if (!result)
		result = transfer_parts(caller, file, request, parts);
	free(parts);
	return result;
}

/* What the program did to its memory before is reported before, and what it has mapped is watched when it goes on. */
static int64_t call_ioctl(struct session *session, struct abi_caller *caller, const struct member *member, struct abi_file *file,
			  const struct session_request *request)
{
	int64_t result;

	if (!session->check)
		return abi_ioctl(file, caller, request->command, request->argument);
	watch_settle(session);
	result = abi_ioctl(file, caller, request->command, request->argument);
	check_settle(session, member);
	return result;
}

static int64_t call_file(struct session *session, struct abi_caller *caller, struct abi_file *file,
			 const struct session_request *request, struct session_reply *reply, int *fd)
{
	if (request->op != SESSION_MMAP && !may_transfer(request, file))
		return -EBADF;
	switch (request->op) {
	case SESSION_READ:
		return abi_read(file, caller, request->argument, request->count, request->offset);
	case SESSION_WRITE:
		return abi_write(file, caller, request->argument, request->count, request->offset);
	case SESSION_READV:
	case SESSION_WRITEV:
		return transfer_vector(caller, file, request);
	case SESSION_MMAP:
		return map(session, caller, file, request, reply, fd);
	default:
		return -EPROTO;
	}
}

int64_t session_call(struct session *session, struct abi_caller *caller, const struct member *member,
		     struct session_message *message, struct session_reply *reply, int *fd)
{
	const struct session_request *request = &message->request;
	bool is_open = request->op == SESSION_OPEN;
	struct abi_file *file = is_open ? NULL : held_find(session, &request->file);
	struct trace trace;
	int64_t result;

	if (!file && !is_open)
		return request->op == SESSION_IOCTL ? -ENOTTY : -EBADF;
	caller->window = !is_open && request->length ? message->inlined : NULL;
	caller->window_address = request->argument;
	caller->window_length = request->length;
	if (traced(session))
		trace_begin(&trace, caller, message);
	if (is_open)
		result = open_name(session, caller, message, fd);
	else if (request->op == SESSION_IOCTL)
		result = call_ioctl(session, caller, member, file, request);
	else
		result = call_file(session, caller, file, request, reply, fd);
	if (traced(session))
		trace_end(session, &trace, caller, member->facts.pid, message, file, result);
	abi_file_put(file);
	if (!is_open && request->op != SESSION_IOCTL && request->op != SESSION_MMAP)
		held_poll(session, &request->file, request->op == SESSION_READ || request->op == SESSION_READV);
	return result;
}

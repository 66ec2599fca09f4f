/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/session/trace.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi/decode.h"
#include "abi/iommufd.h"
#include "abi/vfio.h"
#include "abi/vfio_spec.h"
#include "util/util.h"

/* The C library's is 0. */
#if defined(__aarch64__)
enum { KERNEL_O_LARGEFILE = 0400000 };
#else
enum { KERNEL_O_LARGEFILE = 0100000 };
#endif

static const struct abi_name open_flags[] = {
	{O_RDWR, "O_RDWR"},
	{O_WRONLY, "O_WRONLY"},
	{O_CLOEXEC, "O_CLOEXEC"},
	{O_NONBLOCK, "O_NONBLOCK"},
	{O_APPEND, "O_APPEND"},
	{O_CREAT, "O_CREAT"},
	{O_EXCL, "O_EXCL"},
	{O_TRUNC, "O_TRUNC"},
	{O_NOCTTY, "O_NOCTTY"},
	{O_NOFOLLOW, "O_NOFOLLOW"},
	{O_SYNC, "O_SYNC"},
	{O_DSYNC, "O_DSYNC"},
	{O_DIRECT, "O_DIRECT"},
	{O_ASYNC, "O_ASYNC"},
	{O_NOATIME, "O_NOATIME"},
	{KERNEL_O_LARGEFILE, "O_LARGEFILE"},
	{0, NULL},
};
static const struct abi_name protections[] = {
	{PROT_READ, "PROT_READ"}, {PROT_WRITE, "PROT_WRITE"}, {PROT_EXEC, "PROT_EXEC"}, {0, NULL}};
static const struct abi_name map_flags[] = {
	{MAP_SHARED_VALIDATE, "MAP_SHARED_VALIDATE"},
	{MAP_SHARED, "MAP_SHARED"},
	{MAP_PRIVATE, "MAP_PRIVATE"},
	{MAP_FIXED, "MAP_FIXED"},
	{MAP_ANONYMOUS, "MAP_ANONYMOUS"},
	{MAP_LOCKED, "MAP_LOCKED"},
	{MAP_NORESERVE, "MAP_NORESERVE"},
	{MAP_POPULATE, "MAP_POPULATE"},
	{MAP_FIXED_NOREPLACE, "MAP_FIXED_NOREPLACE"},
	{0, NULL},
};

/* Of a device's file: the region, and where in it. */
static void add_offset(struct abi_text *text, const struct abi_file *file, uint64_t offset)
{
	static const char *const regions[VFIO_PCI_NUM_REGIONS] = {"BAR0", "BAR1", "BAR2",   "BAR3", "BAR4",
								  "BAR5", "ROM",  "CONFIG", "VGA"};
	uint64_t region = offset >> VFIO_SPEC_REGION_SHIFT;

	if (vfio_is_device(file) && region < ARRAY_SIZE(regions))
		abi_text_add(text, "%s+0x%" PRIx64, regions[region], offset & ((UINT64_C(1) << VFIO_SPEC_REGION_SHIFT) - 1));
	else
		abi_text_add(text, "0x%" PRIx64, offset);
}

static void add_open(struct abi_text *text, const struct session_message *message)
{
	const struct session_request *request = &message->request;

	abi_text_add(text, "\"%.*s\", %s", (int)request->length, (const char *)message->inlined,
		     request->flags & O_ACCMODE ? "" : "O_RDONLY");
	if (request->flags & ~(uint32_t)O_ACCMODE || request->flags & O_ACCMODE) {
		abi_text_add(text, "%s", request->flags & O_ACCMODE ? "" : "|");
		abi_text_add_flags(text, open_flags, request->flags);
	}
}

static void add_mmap(struct abi_text *text, const struct session_request *request, const struct abi_file *file)
{
	abi_text_add(text, "0x%" PRIx64 ", ", request->count);
	if (request->command)
		abi_text_add_flags(text, protections, request->command);
	else
		abi_text_add(text, "PROT_NONE");
	abi_text_add(text, ", ");
	abi_text_add_flags(text, map_flags, request->flags);
	abi_text_add(text, ", ");
	add_offset(text, file, request->offset);
}

static void add_transfer(struct abi_text *text, const struct abi_shown *call, const struct session_request *request,
			 const struct abi_file *file)
{
	bool written = request->op == SESSION_WRITE;

	if (request->op == SESSION_READV || request->op == SESSION_WRITEV)
		abi_text_add(text, "0x%" PRIx64, request->argument);
	else
		abi_decode_data(text, call, file->ops->name, request->argument,
				written		   ? request->count
				: call->result > 0 ? (size_t)call->result
						   : 0,
				written);
	abi_text_add(text, ", %" PRIu64 ", ", request->count);
	add_offset(text, file, request->offset);
}

static void add_call(struct abi_text *text, const struct abi_shown *call, const struct session_message *message,
		     struct abi_file *file)
{
	static const char *const names[SESSION_OPS] = {
		[SESSION_OPEN] = "open", [SESSION_IOCTL] = "ioctl", [SESSION_READ] = "read",	 [SESSION_WRITE] = "write",
		[SESSION_MMAP] = "mmap", [SESSION_READV] = "readv", [SESSION_WRITEV] = "writev",
	};
	const struct session_request *request = &message->request;

	abi_text_add(text, "%s(", names[request->op] ? names[request->op] : "?");
	if (request->op != SESSION_OPEN)
		abi_text_add(text, "<%" PRIu64 ":%s>, ", request->file.inode, file->name);
	if (request->op == SESSION_OPEN)
		add_open(text, message);
	else if (request->op == SESSION_IOCTL)
		abi_decode_ioctl(text, call, iommufd_context(file) ? ABI_SPACE_IOMMUFD : ABI_SPACE_DEVICE, request->command,
				 request->argument);
	else if (request->op == SESSION_MMAP)
		add_mmap(text, request, file);
	else
		add_transfer(text, call, request, file);
	abi_text_add(text, ")");
}

/* What is a descriptor, with its file. That of an open is not known yet. */
static void add_result(struct abi_text *text, const struct abi_shown *call, unsigned int op)
{
	if (call->result < 0) {
		abi_text_add(text, " = -1 %s (%s)", strerrorname_np((int)-call->result), strerrordesc_np((int)-call->result));
		return;
	}
	abi_text_add(text, " = ");
	if (op != SESSION_OPEN)
		abi_text_add(text, "%" PRId64, call->result);
	if (op == SESSION_OPEN || (op == SESSION_IOCTL && call->result))
		abi_decode_file(text, call, call->result);
}

void trace_begin(struct trace *trace, struct abi_caller *caller, const struct session_message *message)
{
	abi_record_init(&trace->record);
	caller->record = &trace->record;
	memcpy(trace->before, message->inlined, message->request.length);
	clock_gettime(CLOCK_REALTIME, &trace->begin);
	clock_gettime(CLOCK_MONOTONIC, &trace->start);
}

void trace_end(const struct session *session, struct trace *trace, struct abi_caller *caller, pid_t pid,
	       const struct session_message *message, struct abi_file *file, int64_t result)
{
	const struct abi_shown call = {.record = &trace->record,
				       .before = trace->before,
				       .address = message->request.argument,
				       .length = message->request.length,
				       .result = result};
	struct abi_text text = {.length = 0};
	struct timespec now;
	struct tm local;
	int64_t took;

	clock_gettime(CLOCK_MONOTONIC, &now);
	caller->record = NULL;
	took = (now.tv_sec - trace->start.tv_sec) * 1000000 + (now.tv_nsec - trace->start.tv_nsec) / 1000;
	localtime_r(&trace->begin.tv_sec, &local);
	abi_text_add(&text, "%02d:%02d:%02d.%06ld [%d] ", local.tm_hour, local.tm_min, local.tm_sec, trace->begin.tv_nsec / 1000,
		     pid);
	add_call(&text, &call, message, file);
	add_result(&text, &call, message->request.op);
	abi_text_add(&text, " <%" PRId64 ".%06" PRId64 ">", took / 1000000, took % 1000000);
	/* The end of the line stays its end, however long it is; one write, so that lines of several threads do not mix. */
	text.bytes[text.length] = '\n';
	if (write(session->trace, text.bytes, text.length + 1) < 0)
		return; /* a full disk is nobody's business here */
}

void trace_line(const struct session *session, const char *line, size_t length)
{
	struct abi_text text = {.length = 0};
	struct timespec now;
	struct tm local;

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &local);
	abi_text_add(&text, "%02d:%02d:%02d.%06ld %.*s", local.tm_hour, local.tm_min, local.tm_sec, now.tv_nsec / 1000, (int)length,
		     line);
	if (write(session->trace, text.bytes, text.length) < 0)
		return; /* as above */
}

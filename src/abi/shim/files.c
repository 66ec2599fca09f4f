/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls on descriptors: of the daemon's files to the daemon, of all others to the kernel. */
#include <errno.h>
#include <limits.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi/shim/client.h"
#include "abi/shim/next.h"
#include "abi/shim/swap.h"
#include "abi/shim/sys.h"
#include "abi/shim/trap.h"
#include "abi/shim/watch.h"

static bool ours(int fd, struct session_key *key)
{
	return client_active() && client_file(fd, key);
}

/* As much of what @argument points at as is on its page: if anything is mapped there, that is. */
static uint32_t sure_length(uint64_t argument)
{
	uint64_t left = 4096 - (argument & 4095);

	return left < SESSION_INLINE ? (uint32_t)left : SESSION_INLINE;
}

/* With --check the session may have registered it with a userfaultfd: then it gives way. */
static long ioctl_of_others(int fd, unsigned long command, uint64_t argument)
{
	long result = sys_3(SYS_ioctl, fd, (long)command, (long)argument);

	if (command == UFFDIO_REGISTER && result == -EBUSY && client_checks() && watch_leave(argument))
		result = sys_3(SYS_ioctl, fd, (long)command, (long)argument);
	return result;
}

ENTRY(int, ioctl, (int fd, unsigned long command, ...))
{
	struct session_request request = {.op = SESSION_IOCTL, .command = (uint32_t)command};
	va_list arguments;
	int64_t result;

	va_start(arguments, command);
	request.argument = va_arg(arguments, unsigned long);
	va_end(arguments);
	if ((_IOC_TYPE(command) != SESSION_IOCTL_TYPE && _IOC_TYPE(command) != SESSION_IOCTL_OWN) || !ours(fd, &request.file))
		return (int)next_result(ioctl_of_others(fd, command, request.argument));
	request.length = sure_length(request.argument);
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): it is one */
	result = client_call(&request, (const void *)(uintptr_t)request.argument, NULL, NULL);
	if (request.flags & SESSION_SWAPS)
		swap_start();
	return (int)next_result(result);
}

/* What it was opened for. The session knows what that means for which file. */
static uint32_t flags_of(int fd)
{
	return (uint32_t)sys_2(SYS_fcntl, fd, F_GETFL);
}

/* As much as goes with the call of what is to be written, or of what says where that is. */
static uint32_t begin_of(enum session_op op, const void *buffer, size_t count)
{
	uint32_t length = sure_length((uint64_t)(uintptr_t)buffer);
	size_t all = op == SESSION_READ ? 0 : op == SESSION_WRITE ? count : count * sizeof(struct iovec);

	return all < length ? (uint32_t)all : length;
}

/* At the file's position, which a pipe does not have. */
static ssize_t transfer(enum session_op op, int fd, const struct session_key *file, const void *buffer, size_t count)
{
	long position = sys_3(SYS_lseek, fd, 0, SEEK_CUR);
	struct session_request request = {
		.op = op,
		.file = *file,
		.argument = (uint64_t)(uintptr_t)buffer,
		.count = count,
		.offset = position < 0 ? 0 : (uint64_t)position,
		.flags = flags_of(fd),
	};
	int64_t done;

	request.length = begin_of(op, buffer, count);
	done = client_call(&request, buffer, NULL, NULL);
	if (done > 0 && position >= 0)
		sys_3(SYS_lseek, fd, position + (long)done, SEEK_SET);
	return next_result(done);
}

static ssize_t transfer_at(enum session_op op, int fd, const struct session_key *file, const void *buffer, size_t count,
			   off_t offset)
{
	struct session_request request = {
		.op = op,
		.file = *file,
		.argument = (uint64_t)(uintptr_t)buffer,
		.count = count,
		.offset = (uint64_t)offset,
		.flags = flags_of(fd),
	};

	if (offset < 0)
		return next_result(-EINVAL);
	request.length = begin_of(op, buffer, count);
	return next_result(client_call(&request, buffer, NULL, NULL));
}

ENTRY(ssize_t, read, (int fd, void *buffer, size_t count))
{
	struct session_key file;

	if (ours(fd, &file))
		return transfer(SESSION_READ, fd, &file, buffer, count);
	return next.read ? next.read(fd, buffer, count) : next_result(sys_3(SYS_read, fd, (long)buffer, (long)count));
}

ENTRY(ssize_t, __read_chk, (int fd, void *buffer, size_t count, size_t size))
{
	if (count > size)
		__builtin_trap();
	return entry_read(fd, buffer, count);
}

ENTRY(ssize_t, write, (int fd, const void *buffer, size_t count))
{
	struct session_key file;

	if (ours(fd, &file))
		return transfer(SESSION_WRITE, fd, &file, buffer, count);
	return next.write ? next.write(fd, buffer, count) : next_result(sys_3(SYS_write, fd, (long)buffer, (long)count));
}

ENTRY(ssize_t, pread, (int fd, void *buffer, size_t count, off_t offset))
{
	struct session_key file;

	if (ours(fd, &file))
		return transfer_at(SESSION_READ, fd, &file, buffer, count, offset);
	return next.pread ? next.pread(fd, buffer, count, offset)
			  : next_result(sys_4(SYS_pread64, fd, (long)buffer, (long)count, offset));
}

ENTRY(ssize_t, pread64, (int fd, void *buffer, size_t count, off_t offset))
{
	return entry_pread(fd, buffer, count, offset);
}

ENTRY(ssize_t, __pread_chk, (int fd, void *buffer, size_t count, off_t offset, size_t size))
{
	if (count > size)
		__builtin_trap();
	return entry_pread(fd, buffer, count, offset);
}

ENTRY(ssize_t, __pread64_chk, (int fd, void *buffer, size_t count, off_t offset, size_t size))
{
	return entry___pread_chk(fd, buffer, count, offset, size);
}

ENTRY(ssize_t, pwrite, (int fd, const void *buffer, size_t count, off_t offset))
{
	struct session_key file;

	if (ours(fd, &file))
		return transfer_at(SESSION_WRITE, fd, &file, buffer, count, offset);
	return next.pwrite ? next.pwrite(fd, buffer, count, offset)
			   : next_result(sys_4(SYS_pwrite64, fd, (long)buffer, (long)count, offset));
}

ENTRY(ssize_t, pwrite64, (int fd, const void *buffer, size_t count, off_t offset))
{
	return entry_pwrite(fd, buffer, count, offset);
}

/* --- of several pieces: the session looks at them --- */

enum { NO_OFFSET = -1 };

static ssize_t transfer_all(enum session_op op, int fd, const struct session_key *file, const struct iovec *parts, int count,
			    off_t offset)
{
	if (count < 0 || count > IOV_MAX || offset < NO_OFFSET)
		return next_result(-EINVAL);
	if (offset == NO_OFFSET)
		return transfer(op, fd, file, parts, (size_t)count);
	return transfer_at(op, fd, file, parts, (size_t)count, offset);
}

ENTRY(ssize_t, readv, (int fd, const struct iovec *parts, int count))
{
	struct session_key file;

	if (ours(fd, &file))
		return transfer_all(SESSION_READV, fd, &file, parts, count, NO_OFFSET);
	return next.readv ? next.readv(fd, parts, count) : next_result(sys_3(SYS_readv, fd, (long)parts, count));
}

ENTRY(ssize_t, writev, (int fd, const struct iovec *parts, int count))
{
	struct session_key file;

	if (ours(fd, &file))
		return transfer_all(SESSION_WRITEV, fd, &file, parts, count, NO_OFFSET);
	return next.writev ? next.writev(fd, parts, count) : next_result(sys_3(SYS_writev, fd, (long)parts, count));
}

ENTRY(ssize_t, preadv2, (int fd, const struct iovec *parts, int count, off_t offset, int flags))
{
	struct session_key file;

	if (ours(fd, &file))
		return flags & ~RWF_HIPRI ? next_result(-EOPNOTSUPP) : transfer_all(SESSION_READV, fd, &file, parts, count, offset);
	return next.preadv2 ? next.preadv2(fd, parts, count, offset, flags)
			    : next_result(sys_6(SYS_preadv2, fd, (long)parts, count, offset, 0, flags));
}

ENTRY(ssize_t, pwritev2, (int fd, const struct iovec *parts, int count, off_t offset, int flags))
{
	struct session_key file;

	if (ours(fd, &file))
		return flags & ~RWF_HIPRI ? next_result(-EOPNOTSUPP)
					  : transfer_all(SESSION_WRITEV, fd, &file, parts, count, offset);
	return next.pwritev2 ? next.pwritev2(fd, parts, count, offset, flags)
			     : next_result(sys_6(SYS_pwritev2, fd, (long)parts, count, offset, 0, flags));
}

#define AT_OFFSET(name, which)                                                                                                     \
	ENTRY(ssize_t, name, (int fd, const struct iovec *parts, int count, off_t offset))                                         \
	{                                                                                                                          \
		return offset < 0 ? next_result(-EINVAL) : entry_##which(fd, parts, count, offset, 0);                             \
	}
#define WITH_FLAGS(name, which)                                                                                                    \
	ENTRY(ssize_t, name, (int fd, const struct iovec *parts, int count, off_t offset, int flags))                              \
	{                                                                                                                          \
		return entry_##which(fd, parts, count, offset, flags);                                                             \
	}

AT_OFFSET(preadv, preadv2)
AT_OFFSET(preadv64, preadv2)
AT_OFFSET(pwritev, pwritev2)
AT_OFFSET(pwritev64, pwritev2)
WITH_FLAGS(preadv64v2, preadv2)
WITH_FLAGS(pwritev64v2, pwritev2)

/* --- mappings --- */

/* In the place of registers that were mapped there, maybe. */
static long map_memory(void *address, size_t length, int protection, int flags, int fd, long offset)
{
	struct trap_cut cut;
	long mapped;

	if (!(flags & MAP_FIXED))
		return sys_6(SYS_mmap, (long)address, (long)length, protection, flags, fd, offset);
	if (trap_unmap_begin(&cut, (uint64_t)(uintptr_t)address, length))
		return -ENOMEM;
	mapped = sys_6(SYS_mmap, (long)address, (long)length, protection, flags, fd, offset);
	trap_unmap_end(&cut, mapped >= 0 || mapped < -4095);
	return mapped;
}

/* The daemon says which descriptor's memory it is; what holds the mapping is then the kernel's. */
static long map_ours(void *address, size_t length, int protection, int flags, int of, const struct session_request *what)
{
	struct session_request request = *what;
	uint64_t offset = 0;
	int fd = -1;
	int64_t error;
	long mapped;

	request.number = (int32_t)flags_of(of);
	error = client_call(&request, NULL, &fd, &offset);
	if (error < 0)
		return (long)error;
	if (request.flags & SESSION_CALLS)
		return trap_map(address, length, protection, flags, of, &what->file, what->offset);
	mapped = map_memory(address, length, protection, flags, fd, (long)offset);
	sys_close(fd);
	if (request.flags & SESSION_WATCHED && (mapped > 0 || mapped < -4095))
		watch_mapping(&what->file, what->offset, (uint64_t)mapped, length);
	return mapped;
}

ENTRY(void *, mmap, (void *address, size_t length, int protection, int flags, int fd, off_t offset))
{
	struct session_request request = {.op = SESSION_MMAP,
					  .count = length,
					  .offset = (uint64_t)offset,
					  .command = (uint32_t)protection,
					  .flags = (uint32_t)flags};
	long result;

	if (flags & MAP_ANONYMOUS || !ours(fd, &request.file))
		result = map_memory(address, length, protection, flags, fd, offset);
	else
		result = map_ours(address, length, protection, flags, fd, &request);
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): an address, or MAP_FAILED */
	return (void *)next_result(result);
}

ENTRY(int, munmap, (void *address, size_t length))
{
	struct trap_cut cut;
	long error = trap_unmap_begin(&cut, (uint64_t)(uintptr_t)address, length);

	if (error)
		return (int)next_result(error);
	error = sys_2(SYS_munmap, (long)address, (long)length);
	trap_unmap_end(&cut, !error);
	return (int)next_result(error);
}

ENTRY(void *, mmap64, (void *address, size_t length, int protection, int flags, int fd, off_t offset))
{
	return entry_mmap(address, length, protection, flags, fd, offset);
}

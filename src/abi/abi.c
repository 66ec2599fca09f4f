/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/abi.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void abi_file_init(struct abi_file *file, const struct abi_file_ops *ops, int descriptor)
{
	file->ops = ops;
	file->references = 1;
	file->descriptor = descriptor;
	abi_file_call(file, "%s", ops->name);
}

void abi_file_call(struct abi_file *file, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(file->name, sizeof(file->name), format, arguments);
	va_end(arguments);
}

void abi_file_fini(struct abi_file *file)
{
	close(file->descriptor);
}

struct abi_file *abi_file_get(struct abi_file *file)
{
	__atomic_fetch_add(&file->references, 1, __ATOMIC_RELAXED);
	return file;
}

bool abi_file_get_unless_ended(struct abi_file *file)
{
	unsigned int references = __atomic_load_n(&file->references, __ATOMIC_RELAXED);

	while (references && !__atomic_compare_exchange_n(&file->references, &references, references + 1, false, __ATOMIC_RELAXED,
							  __ATOMIC_RELAXED))
		;
	return references;
}

void abi_file_put(struct abi_file *file)
{
	if (file && !__atomic_sub_fetch(&file->references, 1, __ATOMIC_ACQ_REL))
		file->ops->release(file);
}

int abi_descriptor(const char *name)
{
	/* What has no name has no number, either (session.h, folder_mark()). */
	const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {0}};
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0) {
		futimens(fd, times);
		return fd;
	}
	return errno == EMFILE || errno == ENFILE ? -EMFILE : -ENOMEM;
}

int abi_ioctl(struct abi_file *file, struct abi_caller *caller, unsigned int command, uint64_t argument)
{
	return file->ops->ioctl ? file->ops->ioctl(file, caller, command, argument) : -ENOTTY;
}

ssize_t abi_read(struct abi_file *file, struct abi_caller *caller, uint64_t address, size_t count, uint64_t offset)
{
	return file->ops->read ? file->ops->read(file, caller, address, count, offset) : -EINVAL;
}

ssize_t abi_write(struct abi_file *file, struct abi_caller *caller, uint64_t address, size_t count, uint64_t offset)
{
	return file->ops->write ? file->ops->write(file, caller, address, count, offset) : -EINVAL;
}

int abi_mmap(struct abi_file *file, struct abi_caller *caller, uint64_t offset, uint64_t length, int protection, int flags,
	     struct abi_mapping *out)
{
	return file->ops->mmap ? file->ops->mmap(file, caller, offset, length, protection, flags, out) : -ENODEV;
}

void abi_munmap(struct abi_file *file, uint64_t offset, uint64_t length)
{
	if (file->ops->munmap)
		file->ops->munmap(file, offset, length);
}

void abi_watch(struct abi_file *file, struct abi_watcher *watcher)
{
	file->ops->watch(file, watcher);
}

void abi_unwatch(struct abi_file *file, struct abi_watcher *watcher)
{
	file->ops->unwatch(file, watcher);
}

void abi_touched(struct abi_file *file)
{
	file->ops->touched(file);
}

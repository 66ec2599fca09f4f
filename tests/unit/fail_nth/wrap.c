/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the linker puts between the library and libc (--wrap, see ../meson.build): one call of it fails, and what it hands out is
 * counted.
 */
#include "wrap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

_Atomic int fail_at;
_Atomic bool failed;
_Atomic long live_blocks, live_maps;

static bool fails(int error)
{
	if (fail_at <= 0 || --fail_at)
		return false;
	failed = true;
	errno = error;
	return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__real_reallocarray(void *block, size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *block);
void *__real_mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *address, size_t length);
int __real_open64(const char *path, int flags, ...);
int __real_fcntl64(int fd, int command, ...);
int __real_eventfd(unsigned int value, int flags);
int __real_epoll_create1(int flags);
int __real_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __real_timerfd_create(int clock, int flags);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *opaque), void *opaque);
int __real_memfd_create(const char *name, unsigned int flags);
int __real_pipe2(int ends[2], int flags);
long __real_syscall(long number, ...);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_reallocarray(void *block, size_t count, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *block);
void *__wrap_mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *address, size_t length);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_eventfd(unsigned int value, int flags);
int __wrap_epoll_create1(int flags);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_timerfd_create(int clock, int flags);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *opaque), void *opaque);
int __wrap_memfd_create(const char *name, unsigned int flags);
int __wrap_pipe2(int ends[2], int flags);
long __wrap_syscall(long number, ...);

static void *counted(void *block)
{
	live_blocks += block != NULL;
	return block;
}

void *__wrap_malloc(size_t size)
{
	return fails(ENOMEM) ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails(ENOMEM) ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *block, size_t size)
{
	void *grown;

	if (fails(ENOMEM))
		return NULL;
	grown = __real_realloc(block, size);
	return block ? grown : counted(grown);
}

void *__wrap_reallocarray(void *block, size_t count, size_t size)
{
	void *grown;

	if (fails(ENOMEM))
		return NULL;
	grown = __real_reallocarray(block, count, size);
	return block ? grown : counted(grown);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return fails(ENOMEM) ? NULL : counted(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void *block)
{
	live_blocks -= block != NULL;
	__real_free(block);
}

void *__wrap_mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	void *map;

	if (fails(ENOMEM))
		return MAP_FAILED;
	map = __real_mmap64(address, length, protection, flags, fd, offset);
	live_maps += map != MAP_FAILED;
	return map;
}

int __wrap_munmap(void *address, size_t length)
{
	live_maps--;
	return __real_munmap(address, length);
}

int __wrap_open64(const char *path, int flags, ...)
{
	return fails(EMFILE) ? -1 : __real_open64(path, flags);
}

int __wrap_fcntl64(int fd, int command, ...)
{
	va_list arguments;
	long argument;

	va_start(arguments, command);
	argument = va_arg(arguments, long);
	va_end(arguments);
	return command == F_DUPFD_CLOEXEC && fails(EMFILE) ? -1 : __real_fcntl64(fd, command, argument);
}

int __wrap_eventfd(unsigned int value, int flags)
{
	return fails(EMFILE) ? -1 : __real_eventfd(value, flags);
}

int __wrap_epoll_create1(int flags)
{
	return fails(EMFILE) ? -1 : __real_epoll_create1(flags);
}

int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	return operation == EPOLL_CTL_ADD && fails(ENOSPC) ? -1 : __real_epoll_ctl(epoll, operation, fd, event);
}

int __wrap_timerfd_create(int clock, int flags)
{
	return fails(EMFILE) ? -1 : __real_timerfd_create(clock, flags);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *opaque), void *opaque)
{
	return fails(EAGAIN) ? EAGAIN : __real_pthread_create(thread, attr, start, opaque);
}

int __wrap_memfd_create(const char *name, unsigned int flags)
{
	return fails(EMFILE) ? -1 : __real_memfd_create(name, flags);
}

int __wrap_pipe2(int ends[2], int flags)
{
	return fails(EMFILE) ? -1 : __real_pipe2(ends, flags);
}

long __wrap_syscall(long number, ...)
{
	va_list arguments;
	/* No more than the library passes: the others are not there. */
	int count = number == SYS_epoll_pwait					  ? 6
		    : number == SYS_perf_event_open || number == SYS_io_getevents ? 5
		    : number == SYS_pread64 || number == SYS_pwrite64		  ? 4
										  : 3;
	long a[6] = {0};

	va_start(arguments, number);
	for (int i = 0; i < count; i++)
		a[i] = va_arg(arguments, long);
	va_end(arguments);
	return (number == SYS_pidfd_open || number == SYS_perf_event_open) && fails(EMFILE)
		       ? -1
		       : __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

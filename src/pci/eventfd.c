/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signalling an eventfd that somebody has given. Its file description is shared with whoever gave it, so that O_NONBLOCK may come
 * and go, and the counter be full, between any two looks: write(2) could be kept waiting for ever, and with it whatever else the
 * thread serves. The kernel's own signal never waits: a counter that is full stays full. It is had by a request of asynchronous I/O
 * that names the eventfd as the one to be told (io_submit(2)). The request asks whether a file is readable that always is, and so
 * is over before the call returns.
 */
#include <errno.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pci/irqs.h"

enum { EVENTS = 64, TRIES = 8 /* other threads use up what one makes room for */ };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static aio_context_t context; /* 0: the kernel has none; in a fork child there is none of that number */
static int readable = -1;

bool pci_is_eventfd(int fd)
{
	char path[32], target[32] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, target, sizeof(target) - 1) >= 0 && !strcmp(target, "anon_inode:[eventfd]");
}

static void begin(void)
{
	readable = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	if (readable < 0 || syscall(SYS_io_setup, EVENTS, &context))
		context = 0;
}

/* Of earlier requests, by any thread: they are over. */
static void take_events(void)
{
	struct io_event events[EVENTS];
	struct timespec now = {0};

	syscall(SYS_io_getevents, context, 0, EVENTS, events, &now);
}

static bool submit(int fd)
{
	struct iocb request = {
		.aio_lio_opcode = IOCB_CMD_POLL,
		.aio_fildes = (uint32_t)readable,
		.aio_buf = POLLIN,
		.aio_flags = IOCB_FLAG_RESFD,
		.aio_resfd = (uint32_t)fd,
	};
	struct iocb *requests[] = {&request};

	return syscall(SYS_io_submit, context, 1, requests) == 1;
}

/* Where the kernel has nothing better: who fills it between the two calls holds up who signals. */
static bool look_and_write(int fd)
{
	static const uint64_t one = 1;
	struct pollfd look = {.fd = fd, .events = POLLOUT};

	if (poll(&look, 1, 0) != 1)
		return true;
	return write(fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN;
}

bool pci_eventfd_signal(int fd)
{
	pthread_once(&once, begin);
	for (unsigned int i = 0; context && i < TRIES; i++) {
		if (submit(fd))
			return true;
		/* Those that nobody has taken fill the room for them. */
		if (errno != EAGAIN)
			break;
		take_events();
	}
	return look_and_write(fd);
}

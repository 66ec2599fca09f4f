/* SPDX-License-Identifier: BSD-3-Clause */
/* A page of this process whose fault is answered when the test wants it; until then an access to it sleeps. */
#ifndef SLOW_H
#define SLOW_H

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/util.h"

static int uffd = -1;
static uint8_t *slow; /* one page that nobody has touched */

/* False if this machine does not let us. */
static inline bool slow_make(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg = {.mode = UFFDIO_REGISTER_MODE_MISSING};

	/* The library touches the page itself, so faults of user mode are enough, and everybody may have those. */
	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		return false;
	slow = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	reg.range.start = (uintptr_t)slow;
	reg.range.len = page_size();
	if (!ioctl(uffd, UFFDIO_REGISTER, &reg))
		return true;
	munmap(slow, page_size());
	slow = NULL;
	return false;
}

static inline void slow_wait(void)
{
	struct pollfd poll_fd = {.fd = uffd, .events = POLLIN};
	struct uffd_msg message;

	assert_int_equal(poll(&poll_fd, 1, -1), 1);
	assert_int_equal(read(uffd, &message, sizeof(message)), sizeof(message));
	assert_int_equal(message.event, UFFD_EVENT_PAGEFAULT);
}

static inline void slow_answer(uint8_t byte)
{
	uint8_t *page = malloc(page_size());
	struct uffdio_copy copy = {.dst = (uintptr_t)slow, .src = (uintptr_t)page, .len = page_size()};

	memset(page, byte, page_size());
	assert_int_equal(ioctl(uffd, UFFDIO_COPY, &copy), 0);
	free(page);
}

static inline void need_slow(void)
{
	if (slow)
		return;
	print_message("# skipped: no userfaultfd on this machine\n");
	skip();
}

static inline void slow_end(void)
{
	if (slow)
		munmap(slow, page_size());
	if (uffd >= 0)
		close(uffd);
	slow = NULL;
	uffd = -1;
}

#endif

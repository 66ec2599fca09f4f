/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A userfaultfd is given to the session, and not kept: what it is for happens between the kernel and the session. Where there is
 * none, or the memory is of another kind, nothing is watched.
 */
#include "abi/shim/watch.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include "abi/shim/client.h"
#include "abi/shim/sys.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1 /* Linux 5.11 */
#endif

enum { PAGE = 4096 };

int watch_make(uint64_t features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};
	int fd = (int)sys_1(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY), error;

	if (fd < 0)
		return fd;
	error = (int)sys_3(SYS_ioctl, fd, UFFDIO_API, (long)&api);
	if (!error)
		return fd;
	sys_close(fd);
	return error;
}

void watch_mapping(const struct session_key *file, uint64_t offset, uint64_t address, uint64_t length)
{
	struct session_request request = {.op = SESSION_WATCH,
					  .file = *file,
					  .offset = offset,
					  .argument = address,
					  .count = (length + PAGE - 1) & ~(uint64_t)(PAGE - 1)};

	client_call(&request, NULL, NULL, NULL);
}

bool watch_leave(uint64_t argument)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): it is one */
	const struct uffdio_register *wanted = (const struct uffdio_register *)(uintptr_t)argument;
	struct session_request request = {.op = SESSION_UNWATCH, .argument = wanted->range.start, .count = wanted->range.len};

	return client_call(&request, NULL, NULL, NULL) >= 0;
}

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
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12) /* Linux 5.19 */
#endif

enum { PAGE = 4096 };

static void hand_over(struct session_request *request, uint64_t features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};
	struct uffdio_register range = {.mode = UFFDIO_REGISTER_MODE_WP};
	int fd = (int)sys_1(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	if (fd < 0)
		return;
	request->op = SESSION_WATCH;
	request->number = fd;
	range.range.start = request->argument;
	range.range.len = request->count;
	if (!sys_3(SYS_ioctl, fd, UFFDIO_API, (long)&api) && !sys_3(SYS_ioctl, fd, UFFDIO_REGISTER, (long)&range))
		client_call(request, NULL, NULL, NULL);
	sys_close(fd);
}

void watch_mapping(const struct session_key *file, uint64_t offset, uint64_t address, uint64_t length)
{
	struct session_request request = {
		.file = *file, .offset = offset, .argument = address, .count = (length + PAGE - 1) & ~(uint64_t)(PAGE - 1)};

	hand_over(&request, UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
}

void watch_memory(uint64_t address, uint64_t length)
{
	uint64_t start = address & ~(uint64_t)(PAGE - 1);
	struct session_request request = {.argument = start,
					  .count = ((address + length + PAGE - 1) & ~(uint64_t)(PAGE - 1)) - start};

	hand_over(&request, UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_REMAP |
				    UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
}

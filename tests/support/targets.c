/* SPDX-License-Identifier: BSD-3-Clause */
#include "targets.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

enum {
	PIECES_MAX = 64,
	QUESTION_BYTES = 128 << 10, /* what one question may cover: docs/security.md */
};

/* PROCMAP_QUERY of Linux 6.11 (Documentation/filesystems/proc.rst); older headers do not have it. */
struct procmap_query {
	uint64_t size;
	uint64_t flags;
	uint64_t address;
	uint64_t start, end, vma_flags, page_size, offset, inode;
	uint32_t dev_major, dev_minor, name_size, build_id_size;
	uint64_t name_address, build_id_address;
};
#define PROCMAP_QUERY_IOCTL _IOWR('f', 17, struct procmap_query)

static void find_cookie(struct target *target)
{
	Elf64_auxv_t vector[64];
	ssize_t length = pread(target->process.auxv, vector, sizeof(vector), 0);

	support_check(length > 0);
	for (size_t i = 0; i < (size_t)length / sizeof(vector[0]); i++)
		if (vector[i].a_type == AT_RANDOM)
			target->cookie_address = vector[i].a_un.a_val;
	support_check(pread(target->process.mem, target->cookie, 16, (off_t)target->cookie_address) == 16);
}

void target_start(struct target *target, size_t length)
{
	struct epoll_event event = {.events = EPOLLIN};
	int ready[2];
	char byte;

	support_check(!pipe(ready));
	target->length = length;
	target->address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	support_check(target->address != MAP_FAILED);
	target->pid = fork();
	support_check(target->pid >= 0);
	if (!target->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (size_t i = 0; i < length; i += 8)
			*(uint64_t *)(void *)(target->address + i) = i * 0x9e3779b97f4a7c15u;
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	support_check(read(ready[0], &byte, 1) == 1);
	close(ready[0]);
	close(ready[1]);
	munmap(target->address, length);
	support_check_errno(uiommu_process_open(target->pid, UIOMMU_READ | UIOMMU_WRITE, &target->process), "open the process");
	find_cookie(target);
	target->end = epoll_create1(EPOLL_CLOEXEC);
	support_check(target->end >= 0 && !epoll_ctl(target->end, EPOLL_CTL_ADD, target->process.pidfd, &event));
}

void target_stop(struct target *target)
{
	kill(target->pid, SIGKILL);
	waitpid(target->pid, NULL, 0);
	close(target->end);
	uiommu_process_close(&target->process);
}

static void bare_alive(const struct target *target)
{
	struct epoll_event event;

	support_check(epoll_wait(target->end, &event, 1, 0) == 0);
}

void bare_read(const struct target *target, const uint64_t *addresses, size_t piece, size_t count, uint8_t *buffer)
{
	struct iovec local[PIECES_MAX + 1], remote[PIECES_MAX + 1];
	uint8_t cookie[16];

	local[0] = (struct iovec){cookie, sizeof(cookie)};
	remote[0] = (struct iovec){(void *)(uintptr_t)target->cookie_address, sizeof(cookie)};
	for (size_t i = 0; i < count; i++)
		remote[i + 1] = (struct iovec){(void *)(uintptr_t)addresses[i], piece};
	local[1] = (struct iovec){buffer, piece * count};
	support_check(process_vm_readv(target->pid, local, 2, remote, count + 1, 0) == (ssize_t)(sizeof(cookie) + piece * count));
	support_check(!memcmp(cookie, target->cookie, sizeof(cookie)));
	bare_alive(target);
}

void bare_ask(const struct target *target, uint64_t address)
{
	struct procmap_query query = {.size = sizeof(query), .address = address};

	support_check(!ioctl(target->process.maps, PROCMAP_QUERY_IOCTL, &query));
	support_check(query.vma_flags & 2);
}

void bare_write(const struct target *target, uint64_t address, const void *data, size_t length)
{
	for (size_t done = 0; done < length; done += QUESTION_BYTES) {
		size_t piece = length - done < QUESTION_BYTES ? length - done : QUESTION_BYTES;

		bare_ask(target, address + done);
		support_check(pwrite(target->process.mem, (const uint8_t *)data + done, piece, (off_t)(address + done)) ==
			      (ssize_t)piece);
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * With --check: pages that the program takes out of files, of which no userfaultfd tells. The session knows what of them is mapped
 * for DMA. Only pages that are taken out whole are told of; what is left of one stays where it is, with zeros in it.
 */
#include "abi/shim/cut.h"

#include <linux/falloc.h>
#include <sys/mman.h>

#include "abi/shim/client.h"
#include "abi/shim/next.h"
#include "abi/shim/sys.h"

/* A page, or more of a file system that has larger ones. */
static uint64_t block(const struct stat *file)
{
	return file->st_blksize > 4096 ? (uint64_t)file->st_blksize : 4096;
}

static void tell(const struct stat *file, uint64_t start, uint64_t end, uint32_t how)
{
	uint64_t size = block(file), first = (start + size - 1) / size * size;
	struct session_request request = {.op = SESSION_CUT,
					  .file = {file->st_dev, file->st_ino},
					  .offset = first,
					  .count = end / size * size - first,
					  .command = how};

	if (end / size * size > first)
		client_call(&request, NULL, NULL, NULL);
}

void cut_to(const struct stat *before, uint64_t length)
{
	uint64_t size = block(before);

	/* The last page is there as a whole. */
	if (S_ISREG(before->st_mode))
		tell(before, length, ((uint64_t)before->st_size + size - 1) / size * size, SESSION_CUT_OFF);
}

ENTRY(int, ftruncate, (int fd, off_t length))
{
	struct stat before = {0};
	long error;

	if (client_checks())
		sys_fstat(fd, &before);
	error = sys_2(SYS_ftruncate, fd, length);
	if (!error)
		cut_to(&before, (uint64_t)length);
	return (int)next_result(error);
}

ENTRY(int, ftruncate64, (int fd, off_t length))
{
	return entry_ftruncate(fd, length);
}

ENTRY(int, truncate, (const char *path, off_t length))
{
	struct stat before = {0};
	long error;

	if (client_checks())
		sys_fstatat(AT_FDCWD, path, &before, 0);
	error = sys_2(SYS_truncate, (long)path, length);
	if (!error)
		cut_to(&before, (uint64_t)length);
	return (int)next_result(error);
}

ENTRY(int, truncate64, (const char *path, off_t length))
{
	return entry_truncate(path, length);
}

ENTRY(int, fallocate, (int fd, int mode, off_t offset, off_t length))
{
	struct stat file = {0};
	int error = next.fallocate ? next.fallocate(fd, mode, offset, length)
				   : (int)next_result(sys_4(SYS_fallocate, fd, mode, offset, length));

	if (!error && mode & FALLOC_FL_PUNCH_HOLE && client_checks() && !sys_fstat(fd, &file) && S_ISREG(file.st_mode))
		tell(&file, (uint64_t)offset, (uint64_t)offset + (uint64_t)length, SESSION_CUT_OUT);
	return error;
}

ENTRY(int, fallocate64, (int fd, int mode, off_t offset, off_t length))
{
	return entry_fallocate(fd, mode, offset, length);
}

/* The session knows which file's it is. */
ENTRY(int, madvise, (void *address, size_t length, int advice))
{
	struct session_request request = {
		.op = SESSION_CUT, .argument = (uint64_t)(uintptr_t)address, .count = length, .command = SESSION_CUT_OUT};
	long error = sys_3(SYS_madvise, (long)address, (long)length, advice);

	if (!error && advice == MADV_REMOVE && client_checks())
		client_call(&request, NULL, NULL, NULL);
	return (int)next_result(error);
}

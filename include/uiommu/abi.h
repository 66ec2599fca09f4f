/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Linux's iommufd ABI as C calls: what `uiommu run` gives to a program as /dev/iommu, for a process that has the library in it.
 *
 * A descriptor that is got here is one of this process, for poll(2), and for the calls below; everything else that is done to it
 * (ioctl(2), read(2), mmap(2), dup(2)) does not get to the library. Close it with uiommu_abi_close(). The structs and commands are
 * those of <linux/iommufd.h>; addresses in them are this process's, and memory that is mapped is not pinned: docs/iommufd.md.
 *
 * All calls are thread-safe. A child after fork(2) has no use of its parent's descriptors (EOWNERDEAD).
 */
#ifndef UIOMMU_ABI_H
#define UIOMMU_ABI_H

#include <uiommu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * enum uiommu_abi_flags - flags of struct uiommu_abi_options.
 * @UIOMMU_ABI_MOCK: there is the test command of the kernel's own selftests, too, with its devices (IOMMU_TEST_CMD)
 */
enum uiommu_abi_flags {
	UIOMMU_ABI_MOCK = 1,
};

/**
 * struct uiommu_abi_options - how to open a file. Zero what is not used.
 * @size: sizeof(struct uiommu_abi_options)
 * @flags: &enum uiommu_abi_flags
 */
struct uiommu_abi_options {
	uint32_t size;
	uint32_t flags;
};

/**
 * uiommu_abi_open() - open(2).
 * @path: "/dev/iommu"
 * @options: may be NULL
 *
 * Return: a descriptor, close-on-exec; -EINVAL (size), -E2BIG, -EOPNOTSUPP (flags), -ENOENT (there is no such file), -EMFILE,
 * -ENOMEM.
 */
UIOMMU_API int uiommu_abi_open(const char *path, const struct uiommu_abi_options *options);

/**
 * uiommu_abi_close() - close(2). With a file's last descriptor, and when nothing else refers to it, everything that it owned ends.
 * @fd: from one of these calls, or of an ioctl's result
 *
 * Waits for accesses of devices that are in flight.
 *
 * Return: 0, -EBADF.
 */
UIOMMU_API int uiommu_abi_close(int fd);

/**
 * uiommu_ioctl() - ioctl(2).
 * @fd: from uiommu_abi_open(), or of an ioctl's result
 * @command: IOMMU_IOAS_ALLOC, …
 * @argument: the command's struct
 *
 * Commands that take memory away wait for accesses of devices that are in flight; no other waits for anything.
 *
 * Return: what ioctl(2) returns, 0 or more; or what it would set errno to, negative. -EBADF: no descriptor of ours; -ENOTTY: no
 * such command; -EFAULT: @argument, or a pointer in it.
 */
UIOMMU_API int uiommu_ioctl(int fd, unsigned long command, void *argument);

/**
 * uiommu_abi_read() - read(2), pread(2).
 * @fd: an event queue's
 * @buffer: for what is read
 * @count: its bytes
 * @offset: 0 for read(2)
 *
 * Never blocks.
 *
 * Return: bytes, or a negative errno, as the real file does: -EBADF, -EINVAL, -ESPIPE, -EFAULT.
 */
UIOMMU_API ssize_t uiommu_abi_read(int fd, void *buffer, size_t count, uint64_t offset);

/**
 * uiommu_abi_write() - write(2), pwrite(2).
 * @fd: an event queue's
 * @buffer: what is written
 * @count: its bytes
 * @offset: 0 for write(2)
 *
 * Return: bytes, or a negative errno, as the real file does: -EBADF, -EINVAL, -ESPIPE, -EFAULT.
 */
UIOMMU_API ssize_t uiommu_abi_write(int fd, const void *buffer, size_t count, uint64_t offset);

/**
 * uiommu_abi_mmap() - mmap(2), at an address that the kernel chooses.
 * @fd: a descriptor of ours
 * @offset: in the file
 * @length: bytes
 * @protection: PROT_READ and the like
 * @flags: MAP_SHARED and the like
 *
 * Return: the address, or MAP_FAILED with errno as the real file has it: EBADF, EINVAL, EPERM, ENXIO, ENODEV, ENOMEM.
 */
UIOMMU_API void *uiommu_abi_mmap(int fd, uint64_t offset, size_t length, int protection, int flags);

/**
 * uiommu_abi_munmap() - munmap(2) of all that one uiommu_abi_mmap() has mapped.
 * @fd: as there
 * @map: what it has returned
 * @offset: as there
 * @length: as there
 *
 * Return: 0, -EBADF.
 */
UIOMMU_API int uiommu_abi_munmap(int fd, void *map, uint64_t offset, size_t length);

#ifdef __cplusplus
}
#endif
#endif

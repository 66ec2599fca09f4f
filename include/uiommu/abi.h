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
 * @fd: an event queue's, or a device's (vfio.h)
 * @buffer: for what is read
 * @count: its bytes
 * @offset: 0 for read(2) of an event queue; of a device, where VFIO has its regions
 *
 * Never blocks.
 *
 * Return: bytes, or a negative errno, as the real file does: -EBADF, -EINVAL, -ESPIPE (of an event queue), -EFAULT, -EIO (a BAR
 * that is not decoded), -ENOMEM.
 */
UIOMMU_API ssize_t uiommu_abi_read(int fd, void *buffer, size_t count, uint64_t offset);

/**
 * uiommu_abi_write() - write(2), pwrite(2).
 * @fd: an event queue's, or a device's (vfio.h)
 * @buffer: what is written
 * @count: its bytes
 * @offset: as there
 *
 * What ends a device's DMA (Bus Master, a reset) waits for accesses that are in flight.
 *
 * Return: bytes, or a negative errno: as uiommu_abi_read().
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

/*
 * What a kernel's iommufd does not have, as further ioctls of /dev/iommu. The rules of size and errno are those of iommufd's own. A
 * kernel answers ENOTTY, so UIOMMU_ABI_VERSION tells who is there.
 */

/** UIOMMU_ABI_IOCTL() - an ioctl's command; there are no others of type 'u' here. */
#define UIOMMU_ABI_IOCTL(number) ((unsigned long)('u' << 8 | (number)))

/** UIOMMU_ABI_VERSION - &struct uiommu_abi_version. */
#define UIOMMU_ABI_VERSION UIOMMU_ABI_IOCTL(0)

/** UIOMMU_ABI_BIND - &struct uiommu_abi_bind. */
#define UIOMMU_ABI_BIND UIOMMU_ABI_IOCTL(1)

/** UIOMMU_ABI_UNBIND - &struct uiommu_abi_unbind. */
#define UIOMMU_ABI_UNBIND UIOMMU_ABI_IOCTL(2)

/** UIOMMU_ABI_PASID_SET_ALLOC - &struct uiommu_abi_pasid_set_alloc. */
#define UIOMMU_ABI_PASID_SET_ALLOC UIOMMU_ABI_IOCTL(3)

/** UIOMMU_ABI_PASID_ALLOC - &struct uiommu_abi_pasid_alloc. */
#define UIOMMU_ABI_PASID_ALLOC UIOMMU_ABI_IOCTL(4)

/** UIOMMU_ABI_PASID_FREE - &struct uiommu_abi_pasid_free. */
#define UIOMMU_ABI_PASID_FREE UIOMMU_ABI_IOCTL(5)

/**
 * struct uiommu_abi_version - who answers.
 * @size: sizeof(struct uiommu_abi_version)
 * @out_version: 1
 * @out_commands: bit n: UIOMMU_ABI_IOCTL(n) is there
 */
struct uiommu_abi_version {
	uint32_t size;
	uint32_t out_version;
	uint64_t out_commands;
};

/**
 * struct uiommu_abi_bind - uiommu_bind(), with its errnos. Of a process, its own or another by a handle bundle; a guest's page
 * table, or its PASID table; or a guest's memory.
 * @size: sizeof(struct uiommu_abi_bind)
 * @flags: &enum uiommu_bind_flags
 * @device_id: the device
 * @pasid: in: the PASID, or UINT32_MAX to have one picked; out: the PASID
 * @vpasid: with VPASID
 * @type: &enum uiommu_bind_type
 * @fault_queue_id: a fault queue, or 0
 * @data_len: bytes at @data
 * @data: address of the payload struct of @type; descriptors in it are the caller's, and %UIOMMU_BIND_SELF is the caller's process
 * @out_hwpt_id: the HWPT that is attached
 * @reserved: 0
 */
struct uiommu_abi_bind {
	uint32_t size;
	uint32_t flags;
	uint32_t device_id;
	uint32_t pasid;
	uint32_t vpasid;
	uint32_t type;
	uint32_t fault_queue_id;
	uint32_t data_len;
	uint64_t data;
	uint32_t out_hwpt_id;
	uint32_t reserved;
};

/**
 * struct uiommu_abi_unbind - uiommu_unbind(), with its errnos.
 * @size: sizeof(struct uiommu_abi_unbind)
 * @device_id: the device
 * @pasid: the PASID
 */
struct uiommu_abi_unbind {
	uint32_t size;
	uint32_t device_id;
	uint32_t pasid;
};

/**
 * struct uiommu_abi_pasid_set_alloc - uiommu_pasid_set_alloc(), with its errnos.
 * @size: sizeof(struct uiommu_abi_pasid_set_alloc)
 * @flags: 0
 * @quota: at most so many PASIDs at a time
 * @out_set_id: the set, which IOMMU_DESTROY destroys
 */
struct uiommu_abi_pasid_set_alloc {
	uint32_t size;
	uint32_t flags;
	uint32_t quota;
	uint32_t out_set_id;
};

/**
 * struct uiommu_abi_pasid_alloc - uiommu_pasid_alloc(), with its errnos.
 * @size: sizeof(struct uiommu_abi_pasid_alloc)
 * @set_id: the set
 * @first: least number
 * @last: greatest one
 * @out_pasid: the lowest of them that is free
 */
struct uiommu_abi_pasid_alloc {
	uint32_t size;
	uint32_t set_id;
	uint32_t first;
	uint32_t last;
	uint32_t out_pasid;
};

/**
 * struct uiommu_abi_pasid_free - uiommu_pasid_free(), with its errnos.
 * @size: sizeof(struct uiommu_abi_pasid_free)
 * @set_id: the set
 * @pasid: the number
 */
struct uiommu_abi_pasid_free {
	uint32_t size;
	uint32_t set_id;
	uint32_t pasid;
};

/** UIOMMU_ABI_INVALIDATE - data_type of IOMMU_HWPT_INVALIDATE: of any nested HWPT, AMD's, too. */
#define UIOMMU_ABI_INVALIDATE UINT32_C(0x75696f6d)

/**
 * struct uiommu_abi_invalidate - one entry.
 * @addr: first input address, a multiple of 4096
 * @npages: pages of 4 KiB; UINT64_MAX with @addr 0: all
 * @flags: %UIOMMU_INVALIDATE_ENTRIES, %UIOMMU_INVALIDATE_PASID, %UIOMMU_INVALIDATE_LEAF (nested.h); ENTRIES and PASID of tables
 * only
 * @pasid: with PASID
 */
struct uiommu_abi_invalidate {
	uint64_t addr;
	uint64_t npages;
	uint32_t flags;
	uint32_t pasid;
};

#ifdef __cplusplus
}
#endif
#endif

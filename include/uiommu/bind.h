/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared virtual addressing: give a device a process's address space, selected by a PASID.
 *
 * A foreign process is named by a bundle of files that the kernel handed out after its own ptrace check; a pid never grants
 * anything. docs/security.md says which check does what.
 */
#ifndef UIOMMU_BIND_H
#define UIOMMU_BIND_H

#include <uiommu/device.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct uiommu_process - a handle bundle: the right to access one process's address space.
 * @mem: open /proc/PID/mem; O_RDWR, or O_RDONLY for a read-only handle
 * @maps: open /proc/PID/maps, or -1: then the handle moves no data
 * @pidfd: pidfd of the same process
 * @auxv: open /proc/PID/auxv, or -1: then memory is never read by pid
 */
struct uiommu_process {
	int mem;
	int maps;
	int pidfd;
	int auxv;
};

/**
 * uiommu_process_open() - open the handle bundle of a process, with the caller's rights.
 * @pid: the process
 * @access: READ, or READ | WRITE
 * @out: the bundle; all descriptors are close-on-exec
 *
 * All of the kernel's checks must pass: PTRACE_MODE_ATTACH with real credentials (pidfd_getfd), with file-system credentials (the
 * opens), and the process must still be the same and alive afterwards.
 *
 * Return: 0, -ESRCH (no such process, or it ended meanwhile), -EPERM (the kernel's ptrace check says no), -EACCES (a file under
 * /proc refused), -EINVAL (access), -EMFILE, -ENOMEM. Thread-safe.
 */
UIOMMU_API int uiommu_process_open(pid_t pid, unsigned int access, struct uiommu_process *out);

/**
 * uiommu_process_close() - close every descriptor of a bundle and set them to -1.
 * @process: the bundle; an existing bind keeps its own duplicates
 */
UIOMMU_API void uiommu_process_close(struct uiommu_process *process);

/** enum uiommu_bind_type - what a bind binds. */
enum uiommu_bind_type {
	UIOMMU_BIND_PROCESS = 1,
};

/**
 * enum uiommu_bind_process_flags - flags of &struct uiommu_bind_process.
 * @UIOMMU_BIND_SELF: the calling process; @process is not looked at
 */
enum uiommu_bind_process_flags {
	UIOMMU_BIND_SELF = 1,
};

/**
 * struct uiommu_bind_process - payload of %UIOMMU_BIND_PROCESS.
 * @flags: &enum uiommu_bind_process_flags
 * @access: READ, or READ | WRITE; not more than the handle's
 * @process: handle bundle; its descriptors are duplicated
 */
struct uiommu_bind_process {
	uint32_t flags;
	uint32_t access;
	struct uiommu_process process;
};

/**
 * struct uiommu_bind - request and result of uiommu_bind().
 * @size: sizeof(struct uiommu_bind)
 * @flags: 0
 * @device_id: the device
 * @pasid: in: the PASID, or %UIOMMU_NO_PASID to have one picked; out: the PASID
 * @type: &enum uiommu_bind_type
 * @data_len: bytes at @data
 * @data: payload struct of @type
 * @hwpt_id: out: the HWPT that is attached
 * @fault_queue_id: a fault queue for page requests and events, or 0
 */
struct uiommu_bind {
	uint32_t size;
	uint32_t flags;
	uint32_t device_id;
	uint32_t pasid;
	uint32_t type;
	uint32_t data_len;
	const void *data;
	uint32_t hwpt_id;
	uint32_t fault_queue_id;
};

/**
 * uiommu_bind() - make an HWPT and attach it to (device, PASID).
 * @context: owner of the device
 * @bind: request and result
 *
 * Binding the same process again (same handle mode, same identity: process, address space and access, and the same fault queue) on
 * the same device returns the PASID it has, or -EBUSY if another PASID was asked for; binds are counted, and uiommu_unbind() as
 * often ends it.
 *
 * Return: 0, or
 * -EINVAL: size, payload length, access, PASID 0 or beyond the device's width; -E2BIG: unknown tail not zero;
 * -EOPNOTSUPP: unknown flag or type, or the device has no PASIDs; -ENOENT: no such device or fault queue;
 * -EBADF: a descriptor of the bundle is not what it must be; -EACCES: more access than the handle's;
 * -ESRCH: the process has ended; -EBUSY: the PASID is in use or draining; -ENOSPC: no PASID left; -ENOMEM; -EMFILE.
 */
UIOMMU_API int uiommu_bind(struct uiommu_context *context, struct uiommu_bind *bind);

/**
 * uiommu_unbind() - undo one uiommu_bind(); the last one waits until nothing uses the PASID, and frees it if no set has it
 * (pasid.h).
 * @context: owner
 * @device_id: the device
 * @pasid: the PASID
 *
 * Works the same after the process has ended. If the PASID was freed while it was bound, this waits for the end of that bind.
 *
 * Return: 0 (also as long as a PASID that was freed while it was bound has not been allocated again), -ENOENT (no device, or no
 * bind on this PASID), -EDEADLOCK (a pin was not put; nothing has changed), -EDEADLK (inside an access or callback).
 */
UIOMMU_API int uiommu_unbind(struct uiommu_context *context, uint32_t device_id, uint32_t pasid);

/**
 * uiommu_unbind_start() - as uiommu_unbind(), without waiting for sleeping accesses.
 * @context: owner
 * @device_id: the device
 * @pasid: the PASID; from now on *draining*: its accesses fail without a record, and it cannot be bound
 * @done: called once when the last access has ended and the PASID is free, possibly before this returns, from any thread, with no
 *        lock held
 * @opaque: argument of @done
 *
 * If the bind was counted more than once, this takes one off and calls @done at once; so it does if the PASID was freed while it
 * was bound.
 *
 * Return: 0, or the errors of uiommu_unbind() (then @done is not called).
 */
UIOMMU_API int uiommu_unbind_start(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, void (*done)(void *opaque),
				   void *opaque);

/**
 * struct uiommu_register - memory of a bound process that may be accessed directly.
 * @size: sizeof(struct uiommu_register)
 * @device_id: the device
 * @pasid: the PASID of the bind
 * @access: READ, or READ | WRITE
 * @address: in the process, a multiple of the page size
 * @length: bytes, a multiple of the page size
 * @fd: memfd, sealed with F_SEAL_SHRINK, that is mapped (MAP_SHARED) there; borrowed for the call
 * @reserved: 0
 * @offset: in the memfd, a multiple of the page size
 */
struct uiommu_register {
	uint32_t size;
	uint32_t device_id;
	uint32_t pasid;
	uint32_t access;
	uint64_t address;
	uint64_t length;
	int32_t fd;
	uint32_t reserved;
	uint64_t offset;
};

/**
 * uiommu_register() - promise that a range of a bound process is this memfd; accesses then go at memcpy speed.
 * @context: owner
 * @reg: the promise, valid until uiommu_unregister() or the end of the bind
 *
 * Return: 0, -EINVAL (size, misaligned, length 0, access, no F_SEAL_SHRINK, beyond the end), -EOVERFLOW, -ENOENT (no such bind),
 * -EBADF, -EACCES (more than the bind's or the descriptor's access), -EEXIST (overlaps a registered range), -ENOMEM.
 */
UIOMMU_API int uiommu_register(struct uiommu_context *context, const struct uiommu_register *reg);

/**
 * uiommu_unregister() - end a registration; nothing uses the memfd when it returns.
 * @context: owner
 * @device_id: the device
 * @pasid: the PASID of the bind
 * @address: as registered
 * @length: as registered
 *
 * Return: 0, -ENOENT, -EDEADLOCK (a pin was not put), -EDEADLK (inside an access or callback).
 */
UIOMMU_API int uiommu_unregister(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, uint64_t address,
				 uint64_t length);

#ifdef __cplusplus
}
#endif
#endif

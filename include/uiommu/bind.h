/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Binds: give a device an address space, selected by a PASID. A process's (shared virtual addressing), a guest's page table, all of
 * a guest's PASID table, or a guest's memory itself.
 *
 * A foreign process is named by a bundle of files that the kernel handed out after its own ptrace check; a pid never grants
 * anything. docs/security.md says which check does what.
 */
#ifndef UIOMMU_BIND_H
#define UIOMMU_BIND_H

#include <uiommu/nested.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct uiommu_process - a handle bundle: the right to access one process's address space.
 * @mem: open /proc/PID/mem; O_RDWR, or O_RDONLY for a read-only handle
 * @maps: open /proc/PID/maps, or -1: then the handle moves no data
 * @pidfd: pidfd of the same process
 * @auxv: open /proc/PID/auxv, or -1: then memory is never read by pid
 * @exec: exec event: a perf event of the process that is removed when it executes another program (perf_event_open(2),
 *        remove_on_exec), or -1: then an exec is noticed by what is in memory, where that may be read by pid
 */
struct uiommu_process {
	int mem;
	int maps;
	int pidfd;
	int auxv;
	int exec;
};

/**
 * uiommu_process_open() - open the handle bundle of a process, with the caller's rights.
 * @pid: the process
 * @access: READ, or READ | WRITE
 * @out: the bundle; all descriptors are close-on-exec
 *
 * All of the kernel's checks must pass: PTRACE_MODE_ATTACH with real credentials (pidfd_getfd), with file-system credentials (the
 * opens), and the process must still be the same and alive afterwards. An exec event needs Linux 5.13, and where
 * /proc/sys/kernel/perf_event_paranoid is 3 or more it needs CAP_PERFMON; @out->exec is -1 where there is none.
 * Where the first thread has ended the files are another thread's, and there is no exec event.
 * It makes context switches of the process's first thread a little slower; who does not want it may close it and set it to -1.
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

/**
 * enum uiommu_bind_type - what a bind binds.
 * @UIOMMU_BIND_PROCESS: a process's address space; &struct uiommu_bind_process
 * @UIOMMU_BIND_PAGE_TABLE: a guest's page table, walked in its memory; &struct uiommu_bind_page_table
 * @UIOMMU_BIND_PASID_TABLE: a guest's whole PASID table, walked there; &struct uiommu_hwpt_tables (nested.h)
 * @UIOMMU_BIND_SHARED: a guest's memory itself, as it is at each moment; &struct uiommu_bind_shared
 */
enum uiommu_bind_type {
	UIOMMU_BIND_PROCESS = 1,
	UIOMMU_BIND_PAGE_TABLE = 2,
	UIOMMU_BIND_PASID_TABLE = 3,
	UIOMMU_BIND_SHARED = 4,
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
 * enum uiommu_bind_page_table_flags - flags of &struct uiommu_bind_page_table.
 * @UIOMMU_BIND_SUPERVISOR: requests may ask for privilege (VT-d SRE)
 * @UIOMMU_BIND_EXECUTE: requests may execute (ERE)
 * @UIOMMU_BIND_WRITE_PROTECT: privileged writes need write permission, too (WPE; Arm, RISC-V: always so)
 * @UIOMMU_BIND_EXTENDED_ACCESS: set the extended-accessed flag (EAFE); VT-d only
 */
enum uiommu_bind_page_table_flags {
	UIOMMU_BIND_SUPERVISOR = 1,
	UIOMMU_BIND_EXECUTE = 2,
	UIOMMU_BIND_WRITE_PROTECT = 4,
	UIOMMU_BIND_EXTENDED_ACCESS = 8,
};

/**
 * struct uiommu_bind_page_table - payload of %UIOMMU_BIND_PAGE_TABLE.
 * @flags: &enum uiommu_bind_page_table_flags
 * @format: &enum uiommu_format (nested.h), of a first stage
 * @parent_id: a paging HWPT with NEST_PARENT: the guest's memory
 * @format_flags: what else is enabled; the format's own (formats.h)
 * @root: guest-physical address of the top table
 * @address_width: of input addresses, in bits: VT-d and AMD 48 or 57, RISC-V 32, 39, 48 or 57, Arm 25 to 52
 * @output_width: of guest-physical addresses; 0: as many as the format has, Arm: 48
 * @granule_lg2: Arm: smallest page, 12, 14 or 16; else 0
 * @reserved: 0
 */
struct uiommu_bind_page_table {
	uint32_t flags;
	uint32_t format;
	uint32_t parent_id;
	uint32_t format_flags;
	uint64_t root;
	uint8_t address_width;
	uint8_t output_width;
	uint8_t granule_lg2;
	uint8_t reserved[5];
};

/**
 * struct uiommu_bind_shared - payload of %UIOMMU_BIND_SHARED.
 * @ioas_id: the guest's memory by guest-physical address, kept by uiommu_guest_memory_update() or by maps: what the device sees
 * follows it
 * @access: READ, or READ | WRITE
 */
struct uiommu_bind_shared {
	uint32_t ioas_id;
	uint32_t access;
};

/**
 * enum uiommu_bind_flags - flags of &struct uiommu_bind.
 * @UIOMMU_BIND_VPASID: @vpasid is the guest's number for @pasid, and what fault records say
 * @UIOMMU_BIND_RID: bind requests without PASID; @pasid is %UIOMMU_NO_PASID. A PASID table is always bound so
 */
enum uiommu_bind_flags {
	UIOMMU_BIND_VPASID = 1,
	UIOMMU_BIND_RID = 2,
};

/**
 * struct uiommu_bind - request and result of uiommu_bind().
 * @size: sizeof(struct uiommu_bind)
 * @flags: &enum uiommu_bind_flags
 * @device_id: the device
 * @pasid: in: the PASID, or %UIOMMU_NO_PASID to have one picked; out: the PASID
 * @vpasid: with VPASID: 1 to %UIOMMU_PASID_LAST; else 0
 * @type: &enum uiommu_bind_type
 * @fault_queue_id: a fault queue for page requests and events, or 0
 * @data_len: bytes at @data
 * @data: payload struct of @type
 * @hwpt_id: out: the HWPT that is attached
 * @reserved: 0
 *
 * A struct that is longer than the library's is taken if what it does not know is 0, a shorter one is filled up with 0; the same
 * for the payload.
 */
struct uiommu_bind {
	uint32_t size;
	uint32_t flags;
	uint32_t device_id;
	uint32_t pasid;
	uint32_t vpasid;
	uint32_t type;
	uint32_t fault_queue_id;
	uint32_t data_len;
	const void *data;
	uint32_t hwpt_id;
	uint32_t reserved;
};

/**
 * uiommu_bind() - make an HWPT and attach it to (device, PASID).
 * @context: owner of the device
 * @bind: request and result
 *
 * The same as uiommu_hwpt_alloc() and uiommu_attach(), of the same objects, but that the PASID can be picked, that the HWPT ends
 * with the bind, and that binds are counted: what is bound already, in the same way (a process by its identity, a table by its
 * payload, with the same fault queue and vPASID), is joined, and uiommu_unbind() as often ends it. Without a PASID asked for,
 * the one that it has on this device is returned. A process has one PASID per device, tables may have several. On a mediated
 * device (mdev.h) @pasid is the vPASID, which has to be given and is what fault records say.
 *
 * Return: 0, or
 * -EINVAL: size, payload length, a reserved member, access, vpasid, a PASID with RID, a value that the format does not define; of a
 * mediated device: no vPASID, VPASID, or a PASID table;
 * -E2BIG: an unknown tail is not zero; -EOPNOTSUPP: an unknown flag, a value that is not offered;
 * -EPROTONOSUPPORT: an unknown type, format or kind of tables, or no format of a first stage;
 * -ENXIO: the device has no PASIDs; -EADDRNOTAVAIL: PASID 0; -EEXIST: the device's own PASID (rid_pasid); -ERANGE: PASID beyond the
 * device's width; -EADDRINUSE: an area lies in a range that the device reserves;
 * -EFAULT: the root is not in the guest's memory; -ENOENT: no such device, parent, IOAS or fault queue;
 * -EBUSY: something else is bound or attached to the PASID, or it is draining; -ENOSPC: no PASID left; -EDQUOT: of a mediated
 * device: nor is there one in its set;
 * -EBADF: a descriptor of the bundle is not what it must be; -EACCES: more access than the handle's;
 * -ESRCH: the process has ended; -ENOMEM; -EMFILE; -EOWNERDEAD.
 */
UIOMMU_API int uiommu_bind(struct uiommu_context *context, struct uiommu_bind *bind);

/**
 * uiommu_unbind() - undo one uiommu_bind(); the last one waits until nothing uses the PASID, and frees it if no set has it
 * (pasid.h).
 * @context: owner
 * @device_id: the device
 * @pasid: the PASID; or %UIOMMU_NO_PASID
 *
 * Page requests that are not answered yet get INVALID. Works the same after the process has ended. If the PASID was freed while it
 * was bound, this waits for the end of that bind.
 *
 * Return: 0 (also as long as a PASID that was freed while it was bound has not been allocated again), -ENOENT (no device, or no
 * bind on this PASID), -EDEADLOCK (a pin was not put; nothing has changed), -EDEADLK (inside an access or callback), -EOWNERDEAD.
 */
UIOMMU_API int uiommu_unbind(struct uiommu_context *context, uint32_t device_id, uint32_t pasid);

/**
 * enum uiommu_unbind_claims - what the caller has seen to.
 * @UIOMMU_UNBIND_FLUSHED: the device does no more DMA with the PASID
 * @UIOMMU_UNBIND_CLEAN: its page requests have been answered, too
 */
enum uiommu_unbind_claims {
	UIOMMU_UNBIND_FLUSHED = 1,
	UIOMMU_UNBIND_CLEAN = 2,
};

/**
 * uiommu_unbind_claim() - as uiommu_unbind(), of a device that is said to be quiet.
 * @context: owner
 * @device_id: the device
 * @pasid: the PASID; or %UIOMMU_NO_PASID
 * @claims: &enum uiommu_unbind_claims
 *
 * What is claimed is not believed but looked at: accesses that were running or came before the end, and page requests that waited.
 * They end as with uiommu_unbind(), whatever was claimed. If the bind was counted more than once, this takes one off, and nothing
 * is looked at.
 *
 * Return: 0; those of @claims that were wrong: it is unbound all the same, but the driver or device model has an error; or the
 * errors of uiommu_unbind(), and -EOPNOTSUPP (unknown claim).
 */
UIOMMU_API int uiommu_unbind_claim(struct uiommu_context *context, uint32_t device_id, uint32_t pasid, unsigned int claims);

/**
 * uiommu_unbind_start() - as uiommu_unbind(), without waiting for sleeping accesses.
 * @context: owner
 * @device_id: the device
 * @pasid: the PASID, or %UIOMMU_NO_PASID; from now on *draining*: its accesses fail without a record, and it cannot be bound
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
 * enum uiommu_bind_scope - how much an invalidation is about.
 * @UIOMMU_BIND_SCOPE_DOMAIN: all that stands before the same guest memory as this bind
 * @UIOMMU_BIND_SCOPE_PASID: one PASID
 * @UIOMMU_BIND_SCOPE_ADDRESS: some addresses of one PASID
 */
enum uiommu_bind_scope {
	UIOMMU_BIND_SCOPE_DOMAIN,
	UIOMMU_BIND_SCOPE_PASID,
	UIOMMU_BIND_SCOPE_ADDRESS,
};

/**
 * enum uiommu_bind_invalidate_flags - flags of &struct uiommu_bind_invalidate.
 * @UIOMMU_BIND_LEAF_ONLY: only entries that map pages have changed, none that leads to a table
 * @UIOMMU_BIND_ENTRIES: a PASID table's entry or entries have changed, too; with DOMAIN or PASID
 */
enum uiommu_bind_invalidate_flags {
	UIOMMU_BIND_LEAF_ONLY = 1,
	UIOMMU_BIND_ENTRIES = 2,
};

/**
 * struct uiommu_bind_invalidate - what is to be forgotten of a bind.
 * @size: sizeof(struct uiommu_bind_invalidate)
 * @flags: &enum uiommu_bind_invalidate_flags
 * @device_id: the device
 * @pasid: the PASID of the bind; of a PASID table: the PASID there; or %UIOMMU_NO_PASID
 * @scope: &enum uiommu_bind_scope
 * @granule_lg2: ADDRESS: size of each of @count pages, 12 to 63; else 0
 * @address: ADDRESS: of the first one, a multiple of their size; else 0
 * @count: ADDRESS: how many, at least 1; else 0
 */
struct uiommu_bind_invalidate {
	uint32_t size;
	uint32_t flags;
	uint32_t device_id;
	uint32_t pasid;
	uint32_t scope;
	uint32_t granule_lg2;
	uint64_t address;
	uint64_t count;
};

/**
 * uiommu_bind_invalidate() - forget what is cached of what is bound: uiommu_hwpt_invalidate() by (device, PASID).
 * @context: owner
 * @request: what to forget
 *
 * Of processes and shared memory nothing is cached. When this returns, no access that used what was there before is running or
 * will still have an effect.
 *
 * Return: 0, -EINVAL (size, scope, a member that is not of the scope, a range that is none), -E2BIG, -EOPNOTSUPP (unknown flag;
 * ENTRIES without a PASID table), -ENOENT (no such device or bind), -EDEADLK (inside an access).
 */
UIOMMU_API int uiommu_bind_invalidate(struct uiommu_context *context, const struct uiommu_bind_invalidate *request);

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

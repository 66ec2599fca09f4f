/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VT-d for a guest: the registers of a remapping unit (Intel VT-d specification 4.1, chapter 11), its invalidation queue, its
 * fault recording and its page request queue, in front of a guest's memory.
 *
 * A VMM forwards what the guest does with the register page (uiommu_vtd_read(), uiommu_vtd_write()) and delivers interrupts;
 * devices are added with the source ids that the guest knows them by, and do DMA as any other device (dma.h). What their addresses
 * mean is then the guest's to say: while translation is off they are guest-physical, afterwards what its tables make of them.
 *
 * All calls are thread-safe. docs/vtd.md says what is offered.
 */
#ifndef UIOMMU_VTD_H
#define UIOMMU_VTD_H

#include <uiommu/nested.h>

#ifdef __cplusplus
extern "C" {
#endif

/** UIOMMU_VTD_REGISTERS_SIZE - bytes of the register page. */
#define UIOMMU_VTD_REGISTERS_SIZE 4096

struct uiommu_vtd;

/**
 * enum uiommu_vtd_flags - what a unit offers besides its tables.
 * @UIOMMU_VTD_SOFT_ROOT: without ESRTPS: a new root pointer leaves caches as they are
 * @UIOMMU_VTD_CACHING_MODE: CM: the guest says of every new entry of its PASID tables that it is there, by invalidating it; it is
 *                           looked up then, and not only when a device has a use for it
 */
enum uiommu_vtd_flags {
	UIOMMU_VTD_SOFT_ROOT = 1,
	UIOMMU_VTD_CACHING_MODE = 2,
};

/**
 * UIOMMU_VTD_DEFAULT_CAPABILITIES - what a unit offers if nothing else is said; all that Linux 7.2 has a use for: scalable mode,
 * both stages and both together, five levels in the first one, 1G pages, PASIDs of 20 bits, ATS and PRI, 2^16 domains.
 */
#define UIOMMU_VTD_DEFAULT_CAPABILITIES                                                                                            \
	(UIOMMU_VTD_TABLES_3_LEVEL | UIOMMU_VTD_TABLES_4_LEVEL | UIOMMU_VTD_TABLES_SECOND_2M | UIOMMU_VTD_TABLES_SECOND_1G |       \
	 UIOMMU_VTD_TABLES_SNOOP | UIOMMU_VTD_TABLES_PASS | UIOMMU_VTD_TABLES_ATS | UIOMMU_VTD_TABLES_SMTS |                       \
	 UIOMMU_VTD_TABLES_ADMS | UIOMMU_VTD_TABLES_FIRST | UIOMMU_VTD_TABLES_FIRST_5 | UIOMMU_VTD_TABLES_FIRST_1G |               \
	 UIOMMU_VTD_TABLES_SECOND | UIOMMU_VTD_TABLES_SECOND_AD | UIOMMU_VTD_TABLES_NESTED | UIOMMU_VTD_TABLES_PASID |             \
	 UIOMMU_VTD_TABLES_PRI | UIOMMU_VTD_TABLES_SUPERVISOR | UIOMMU_VTD_TABLES_WALK_SNOOP | UINT32_C(19) << 24 |                \
	 UINT32_C(6) << 29)

/**
 * struct uiommu_vtd_config - a new unit. Zero what is not used.
 * @size: sizeof(struct uiommu_vtd_config)
 * @flags: &enum uiommu_vtd_flags
 * @parent_id: a paging HWPT with NEST_PARENT: the guest's memory
 * @capabilities: of its tables: &enum uiommu_vtd_tables_capabilities, %UIOMMU_VTD_TABLES_PSS, %UIOMMU_VTD_TABLES_DOMAINS; 0:
 *                %UIOMMU_VTD_DEFAULT_CAPABILITIES. CAP and ECAP say what follows of it
 * @host_bits: width of guest-physical addresses, 32 to 52; 0: 48
 * @fault_records: number of fault recording registers, 1 to 32; 0: 8
 * @pasid_set_id: the guest allocates its PASIDs from this set (pasid.h), by virtual commands (VCS); 0: it allocates them itself
 * @reserved: 0
 * @host_pasid: the PASID that a device emits for what the guest calls @pasid, or %UIOMMU_NO_PASID: none. No lock is held, any
 *              thread; NULL: the same. What is emitted for a number stays the same until the guest's entries are invalidated
 * @guest_pasid: the other way round; with a lock held: it may not call anything of this library but uiommu_vpasid_of()
 * @interrupt: the guest wants @data written to @address as an interrupt message; no lock is held, any thread; may be NULL
 * @work: there is something to do for uiommu_vtd_run(), which has to be called soon, and not from here; no lock is held, any
 * thread. NULL: uiommu_vtd_write() does it before it returns
 * @opaque: first argument of these
 */
struct uiommu_vtd_config {
	uint32_t size;
	uint32_t flags;
	uint32_t parent_id;
	uint32_t capabilities;
	uint32_t host_bits;
	uint32_t fault_records;
	uint32_t pasid_set_id;
	uint32_t reserved;
	uint32_t (*host_pasid)(void *opaque, uint32_t device_id, uint32_t pasid);
	uint32_t (*guest_pasid)(void *opaque, uint32_t device_id, uint32_t pasid);
	void (*interrupt)(void *opaque, uint64_t address, uint32_t data);
	void (*work)(void *opaque);
	void *opaque;
};

/**
 * uiommu_vtd_create() - make a unit, as it is after a reset.
 * @context: owner of the HWPT
 * @config: what it is; copied
 * @out: the unit, to be destroyed before the context is closed
 *
 * Return: 0, -EINVAL (size, parent, a number out of its range, capabilities that need others, one PASID function without the
 * other, reserved), -E2BIG, -EOPNOTSUPP (flags), -ENOENT (no such HWPT or set), -ENOMEM.
 */
UIOMMU_API int uiommu_vtd_create(struct uiommu_context *context, const struct uiommu_vtd_config *config, struct uiommu_vtd **out);

/**
 * uiommu_vtd_destroy() - end a unit.
 * @vtd: from uiommu_vtd_create(); no call of it is running or comes any more; NULL does nothing
 *
 * Its devices are removed.
 *
 * Return: 0, -EDEADLK (inside an access or callback; nothing has changed).
 */
UIOMMU_API int uiommu_vtd_destroy(struct uiommu_vtd *vtd);

/**
 * uiommu_vtd_add() - put a device behind the unit.
 * @vtd: from uiommu_vtd_create()
 * @device_id: a device of the same context with nothing attached; stays in use
 * @source_id: bus, device and function as the guest knows them
 *
 * Return: 0, -ENOENT (no such device), -EINVAL (source_id beyond 16 bits), -EEXIST (source_id in use here), -EBUSY (something is
 * attached), -EADDRINUSE (guest memory lies in a range that the device reserves), -ENOMEM.
 */
UIOMMU_API int uiommu_vtd_add(struct uiommu_vtd *vtd, uint32_t device_id, uint32_t source_id);

/**
 * uiommu_vtd_remove() - take a device out.
 * @vtd: from uiommu_vtd_create()
 * @device_id: the device
 *
 * When it returns, no access of the device is running; its page requests have been answered INVALID.
 *
 * Return: 0, -ENOENT (not behind this unit), -EDEADLOCK (a pin was not put; nothing has changed), -EDEADLK (inside an access or
 * callback).
 */
UIOMMU_API int uiommu_vtd_remove(struct uiommu_vtd *vtd, uint32_t device_id);

/**
 * uiommu_vtd_read() - the guest reads registers.
 * @vtd: from uiommu_vtd_create()
 * @offset: of the first byte in the register page
 * @size: 1 to 8 bytes
 *
 * Return: the value; 0 where there is no register.
 */
UIOMMU_API uint64_t uiommu_vtd_read(struct uiommu_vtd *vtd, uint64_t offset, unsigned int size);

/**
 * uiommu_vtd_write() - the guest writes registers.
 * @vtd: from uiommu_vtd_create()
 * @offset: of the first byte in the register page
 * @size: 1 to 8 bytes
 * @data: the value
 *
 * Without @work it also does what that sets off, as uiommu_vtd_run() does, unless another thread is doing that already; from inside
 * an access or callback that is left to the next call.
 */
UIOMMU_API void uiommu_vtd_write(struct uiommu_vtd *vtd, uint64_t offset, unsigned int size, uint64_t data);

/**
 * uiommu_vtd_run() - do a part of what is to be done: commands, and at most some hundred descriptors of the invalidation queue.
 * @vtd: from uiommu_vtd_create()
 *
 * It waits for accesses in flight where the guest does. Not from a thread that they need to end.
 *
 * Return: true if there is more to do: call it again. False also inside an access, or if another thread is doing it.
 */
UIOMMU_API bool uiommu_vtd_run(struct uiommu_vtd *vtd);

/**
 * uiommu_vtd_reset() - registers are as after power-on, translation is off, nothing is cached, page requests are answered INVALID.
 * @vtd: from uiommu_vtd_create()
 *
 * With @work, of all this only the registers are so when it returns, and the rest after uiommu_vtd_run().
 *
 * Return: 0, -EDEADLK (without @work, inside an access or callback; nothing has changed).
 */
UIOMMU_API int uiommu_vtd_reset(struct uiommu_vtd *vtd);

/** UIOMMU_VTD_FAULTS - so many faults are remembered. */
#define UIOMMU_VTD_FAULTS 64

/**
 * struct uiommu_vtd_fault - a fault that the unit has recorded, or had no room to record.
 * @time_ns: when, in nanoseconds since 1970
 * @invalidated_ns: when software last invalidated what the entry is in, at that time; 0: not among its last 256 invalidations.
 *                  One that was for another domain is taken for it, too
 * @fault: what failed; its PASID is the device's
 * @source_id: of the device
 * @code: fault reason (specification 7.1.3, table 30)
 */
struct uiommu_vtd_fault {
	uint64_t time_ns;
	uint64_t invalidated_ns;
	struct uiommu_fault fault;
	uint32_t source_id;
	uint32_t code;
};

/**
 * uiommu_vtd_faults() - the last faults, the newest first.
 * @vtd: from uiommu_vtd_create()
 * @faults: array for them
 * @count: its size
 *
 * A reset of the unit does not forget them.
 *
 * Return: how many there are, at most @count and %UIOMMU_VTD_FAULTS.
 */
UIOMMU_API size_t uiommu_vtd_faults(struct uiommu_vtd *vtd, struct uiommu_vtd_fault *faults, size_t count);

/**
 * uiommu_vtd_page_requests() - how many groups of a device's page requests wait for software's answer.
 * @vtd: from uiommu_vtd_create()
 * @device_id: uiommu_vtd_add()ed
 *
 * Those count that are not in the guest's queue yet, too. Thread-safe (specification 7.4).
 *
 * Return: how many there are; 0 for a device that is not behind the unit.
 */
UIOMMU_API uint32_t uiommu_vtd_page_requests(struct uiommu_vtd *vtd, uint32_t device_id);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The accelerator: a software DMA engine that speaks the descriptors of Intel DSA
 * (Intel Data Streaming Accelerator Architecture Specification, 8 "Descriptor formats").
 *
 * Work goes through a queue: 64-byte descriptors in a ring, one PASID each. docs/accel.md has every operation, flag and status,
 * the ring's layout, and the one extension (handles).
 */
#ifndef UIOMMU_ACCEL_H
#define UIOMMU_ACCEL_H

#include <uiommu/device.h>

#ifdef __cplusplus
extern "C" {
#endif

/** enum uiommu_accel_opcode - operations. */
enum uiommu_accel_opcode {
	UIOMMU_ACCEL_NOOP = 0x00,
	UIOMMU_ACCEL_BATCH = 0x01,
	UIOMMU_ACCEL_DRAIN = 0x02,
	UIOMMU_ACCEL_MEMMOVE = 0x03,
	UIOMMU_ACCEL_FILL = 0x04,
	UIOMMU_ACCEL_COMPARE = 0x05,
	UIOMMU_ACCEL_COMPARE_PATTERN = 0x06,
	UIOMMU_ACCEL_DUALCAST = 0x09,
	UIOMMU_ACCEL_CRC = 0x10,
};

/** enum uiommu_accel_flags - descriptor flags, 24 bits. */
enum uiommu_accel_flags {
	UIOMMU_ACCEL_FENCE = 0x0001, /* wait for the batch's earlier descriptors */
	UIOMMU_ACCEL_BLOCK_ON_FAULT = 0x0002, /* park on a page fault until it is answered */
	UIOMMU_ACCEL_RECORD_VALID = 0x0004, /* completion_address is valid */
	UIOMMU_ACCEL_REQUEST_RECORD = 0x0008, /* write a record on success too */
	UIOMMU_ACCEL_REQUEST_INTERRUPT = 0x0010, /* signal the queue's eventfd */
	UIOMMU_ACCEL_CHECK_RESULT = 0x0080, /* compare: a result other than expected_result is no success */
	UIOMMU_ACCEL_CACHE_CONTROL = 0x0100, /* accepted, no effect */
	UIOMMU_ACCEL_READ_SEED = 0x10000, /* CRC: seed is read from seed_address (operation-specific flag 0) */
	UIOMMU_ACCEL_CRC_BYPASS_REFLECTION = 0x20000,
	UIOMMU_ACCEL_CRC_BYPASS_DATA_REFLECTION = 0x40000,
};

/** enum uiommu_accel_status - completion status; bit 7 is set with a page fault that was a write. */
enum uiommu_accel_status {
	UIOMMU_ACCEL_PENDING = 0x00,
	UIOMMU_ACCEL_SUCCESS = 0x01,
	UIOMMU_ACCEL_FALSE_PREDICATE = 0x02,
	UIOMMU_ACCEL_PAGE_FAULT = 0x03,
	UIOMMU_ACCEL_PAGE_FAULT_INVALID = 0x04,
	UIOMMU_ACCEL_BATCH_FAIL = 0x05,
	UIOMMU_ACCEL_BATCH_PAGE_FAULT = 0x06,
	UIOMMU_ACCEL_BAD_OPCODE = 0x10,
	UIOMMU_ACCEL_INVALID_FLAGS = 0x11,
	UIOMMU_ACCEL_NONZERO_RESERVED = 0x12,
	UIOMMU_ACCEL_TRANSFER_RANGE = 0x13,
	UIOMMU_ACCEL_COUNT_RANGE = 0x14,
	UIOMMU_ACCEL_OVERLAP = 0x16,
	UIOMMU_ACCEL_DUALCAST_ALIGN = 0x17,
	UIOMMU_ACCEL_LIST_ALIGN = 0x18,
	UIOMMU_ACCEL_INTERRUPT_HANDLE = 0x19,
	UIOMMU_ACCEL_RECORD_FAULT = 0x1a,
	UIOMMU_ACCEL_RECORD_ALIGN = 0x1b,
	UIOMMU_ACCEL_ADDRESS_ALIGN = 0x1c,
	UIOMMU_ACCEL_PRIVILEGE = 0x1d,
	UIOMMU_ACCEL_TRANSLATION = 0x22, /* a handle was not granted, or its attachment has ended */
	UIOMMU_ACCEL_STATUS_MASK = 0x7f,
	UIOMMU_ACCEL_FAULT_WRITE = 0x80,
};

/** UIOMMU_ACCEL_TRANSFER_MAX - greatest transfer of one descriptor, in bytes. */
#define UIOMMU_ACCEL_TRANSFER_MAX (UINT32_C(1) << 31)
/** UIOMMU_ACCEL_BATCH_MAX - greatest number of descriptors of a batch; the least is 2. */
#define UIOMMU_ACCEL_BATCH_MAX 1024

/**
 * struct uiommu_accel_desc - one descriptor, little-endian, 64 bytes, aligned to 64.
 * @pasid_priv: bits 0-19 PASID (on shared queues; ignored on a dedicated one, and in a batch, which has the PASID of its batch
 *              descriptor), bit 31 privileged: must be 0
 * @flags_opcode: bits 0-23 &enum uiommu_accel_flags, bits 24-31 &enum uiommu_accel_opcode
 * @completion_address: of the record, a multiple of 32
 * @source: source address; FILL and COMPARE_PATTERN: pattern; BATCH: list address
 * @destination: destination; COMPARE: second source; COMPARE_PATTERN: address is @source, pattern is here
 * @transfer_size: bytes; BATCH: count
 * @interrupt_handle: 0
 * @reserved: 0
 * @specific: COMPARE: expected result in bits 0-7; DUALCAST: second destination; CRC: seed in bits 0-31
 * @seed_address: CRC with READ_SEED
 * @handles: 0, or on a queue with %UIOMMU_QUEUE_HANDLES: one attachment each for source (bits 0-15), destination or second source
 *           (bits 16-31), second destination (bits 32-47); 0 means the descriptor's own PASID; bits 48-63 are 0
 */
struct uiommu_accel_desc {
	uint32_t pasid_priv;
	uint32_t flags_opcode;
	uint64_t completion_address;
	uint64_t source;
	uint64_t destination;
	uint32_t transfer_size;
	uint16_t interrupt_handle;
	uint16_t reserved;
	uint64_t specific;
	uint64_t seed_address;
	uint64_t handles;
} __attribute__((aligned(64)));

/**
 * struct uiommu_accel_record - completion record, little-endian, 32 bytes, aligned to 32. The status byte is written last.
 * @status: &enum uiommu_accel_status
 * @result: COMPARE, COMPARE_PATTERN: 0 equal, 1 different; MEMMOVE: 1 if bytes_completed counts from the end (overlapping, moved
 *          upwards); BATCH with BATCH_PAGE_FAULT: 1 if a descriptor before the fault had no success
 * @reserved: 0
 * @bytes_completed: bytes done; BATCH: descriptors done
 * @fault_address: of a page fault
 * @value: CRC in bits 0-31; INVALID_FLAGS: the flags in bits 0-23
 * @reserved2: 0
 */
struct uiommu_accel_record {
	uint8_t status;
	uint8_t result;
	uint16_t reserved;
	uint32_t bytes_completed;
	uint64_t fault_address;
	uint64_t value;
	uint64_t reserved2;
} __attribute__((aligned(32)));

/**
 * enum uiommu_accel_error_code - software errors: what cannot be told in a record, because there is no address for one.
 * @UIOMMU_ACCEL_ERROR_NONE: none
 * @UIOMMU_ACCEL_ERROR_PASID: the PASID is not in the submitter's set, or nothing is bound to it, or it was freed after the
 * submission; nothing was touched
 * @UIOMMU_ACCEL_ERROR_RECORD: the record could not be written
 * @UIOMMU_ACCEL_ERROR_HANDLE: a handle was not granted to the submitter; nothing was touched but the record
 * @UIOMMU_ACCEL_ERROR_DESCRIPTOR: a descriptor without RECORD_VALID failed; @status of the error says how
 * @UIOMMU_ACCEL_ERROR_DOORBELL: of a PCI function (accel_pci.h): what was written to a doorbell makes no sense, and was ignored
 * @UIOMMU_ACCEL_ERROR_RING: of a PCI function: a ring could not be read, and its queue has halted
 */
enum uiommu_accel_error_code {
	UIOMMU_ACCEL_ERROR_NONE,
	UIOMMU_ACCEL_ERROR_PASID,
	UIOMMU_ACCEL_ERROR_RECORD,
	UIOMMU_ACCEL_ERROR_HANDLE,
	UIOMMU_ACCEL_ERROR_DESCRIPTOR,
	UIOMMU_ACCEL_ERROR_DOORBELL,
	UIOMMU_ACCEL_ERROR_RING,
};

/**
 * struct uiommu_accel_error - the first software error since the last read (DSA: SWERROR register).
 * @count: errors so far
 * @code: &enum uiommu_accel_error_code
 * @opcode: of the descriptor
 * @status: what its record says or would have said; 0 if the descriptor was not looked at further
 * @reserved: 0
 * @pasid: of the descriptor, as its submitter knows it
 * @address: what could not be accessed
 */
struct uiommu_accel_error {
	uint64_t count;
	uint8_t code;
	uint8_t opcode;
	uint8_t status;
	uint8_t reserved;
	uint32_t pasid;
	uint64_t address;
};

/**
 * enum uiommu_queue_flags - what a queue is.
 * @UIOMMU_QUEUE_SHARED: the PASID comes from each descriptor; otherwise the queue has one (dedicated)
 * @UIOMMU_QUEUE_HANDLES: descriptors may name other attachments by handles
 */
enum uiommu_queue_flags {
	UIOMMU_QUEUE_SHARED = 1,
	UIOMMU_QUEUE_HANDLES = 2,
};

/**
 * struct uiommu_queue_config - a new queue.
 * @size: sizeof(struct uiommu_queue_config)
 * @flags: &enum uiommu_queue_flags
 * @entries: descriptors in flight, a power of two from 2 to 4096
 * @pasid: dedicated: the queue's PASID
 * @mdev_id: a mediated device of the engine's (mdev.h), or 0: then the queue is its portal, PASIDs are vPASIDs, and a dedicated
 * queue's may be %UIOMMU_NO_PASID
 * @reserved: 0
 */
struct uiommu_queue_config {
	uint32_t size;
	uint32_t flags;
	uint32_t entries;
	uint32_t pasid;
	uint32_t mdev_id;
	uint32_t reserved;
};

struct uiommu_accel;
struct uiommu_queue;

/**
 * uiommu_accel_create() - an engine that does its DMA as a device.
 * @context: owner of the device
 * @device_id: the device; it is referenced until uiommu_accel_destroy()
 * @out: the engine, which has no thread yet
 *
 * Return: 0, -ENOENT, -EMFILE, -ENOMEM.
 */
UIOMMU_API int uiommu_accel_create(struct uiommu_context *context, uint32_t device_id, struct uiommu_accel **out);

/**
 * uiommu_accel_destroy() - stop the thread, destroy the queues, release the device.
 * @accel: the engine; NULL does nothing. Descriptors not completed are dropped.
 */
UIOMMU_API void uiommu_accel_destroy(struct uiommu_accel *accel);

/**
 * uiommu_accel_start() - give the engine a thread of its own.
 * @accel: the engine
 * @spin_us: how long it polls after the last work before it sleeps; 0: not at all
 *
 * Return: 0, -EBUSY (it has one), -EAGAIN.
 */
UIOMMU_API int uiommu_accel_start(struct uiommu_accel *accel, uint32_t spin_us);

/**
 * uiommu_accel_poll() - let the engine do some work in the calling thread.
 * @accel: the engine; must not have been started
 * @budget: at most so many steps; one step is a descriptor, or at most 1 MiB of one
 *
 * Return: steps done; 0: nothing to do now.
 */
UIOMMU_API unsigned int uiommu_accel_poll(struct uiommu_accel *accel, unsigned int budget);

/**
 * uiommu_accel_grant() - a handle for one attachment, for descriptors of this engine's queues.
 * @accel: the engine
 * @pasid: PASID, or %UIOMMU_NO_PASID
 * @out_handle: 1 to 65535
 *
 * Return: 0, -ENOENT (nothing attached), -ENOSPC, -ENOMEM.
 */
UIOMMU_API int uiommu_accel_grant(struct uiommu_accel *accel, uint32_t pasid, uint16_t *out_handle);

/**
 * uiommu_accel_revoke() - take a handle back. It is revoked by itself when its attachment ends.
 * @accel: the engine
 * @handle: from uiommu_accel_grant()
 *
 * Return: 0, -ENOENT.
 */
UIOMMU_API int uiommu_accel_revoke(struct uiommu_accel *accel, uint16_t handle);

/**
 * uiommu_accel_queue() - make a queue in this process.
 * @accel: the engine
 * @config: what it is
 * @out: the queue
 *
 * Return: 0, -EINVAL (size, entries, dedicated without a PASID, a mediated device of another device), -E2BIG, -EOPNOTSUPP (flags;
 * handles with a mediated device; reserved), -ENOENT (no such mediated device), -EMFILE, -ENOMEM.
 */
UIOMMU_API int uiommu_accel_queue(struct uiommu_accel *accel, const struct uiommu_queue_config *config, struct uiommu_queue **out);

/**
 * uiommu_queue_destroy() - end a queue, of an engine in this process or of a daemon.
 * @queue: NULL does nothing; descriptors not completed are dropped
 *
 * Waits for the access that is being made. One that cannot end (a page that never comes) of a daemon's queue ends with
 * uiommu_client_close(); then this does not wait.
 */
UIOMMU_API void uiommu_queue_destroy(struct uiommu_queue *queue);

/**
 * uiommu_queue_submit() - submit one descriptor (MOVDIR64B, ENQCMD).
 * @queue: any queue; calls for one queue must not run at the same time
 * @desc: copied
 *
 * No system call while the engine is awake. A queue of an engine in this process remembers whose the PASID is now: if it is
 * somebody else's, or has been freed, when the engine comes to it, the descriptor is lost with %UIOMMU_ACCEL_ERROR_PASID.
 *
 * Return: 0, -EAGAIN (full; try again), -ENOENT (the vPASID stands for nothing; the owner of its set has been told, mdev.h),
 * -EOWNERDEAD (the queue belongs to the parent of this process), -EPIPE (the daemon has ended this queue).
 */
UIOMMU_API int uiommu_queue_submit(struct uiommu_queue *queue, const struct uiommu_accel_desc *desc);

/**
 * uiommu_queue_wait() - wait until a record has a status.
 * @queue: the queue the descriptor went to, submitted with REQUEST_INTERRUPT if it may have to sleep
 * @record: the record, set to 0 before the descriptor was submitted
 *
 * Spins shortly, then sleeps on the interrupt.
 *
 * Return: 0, -EPIPE (the daemon has ended this queue and the record will not be written), -EOWNERDEAD.
 */
UIOMMU_API int uiommu_queue_wait(struct uiommu_queue *queue, const struct uiommu_accel_record *record);

/**
 * uiommu_queue_eventfd() - the completion interrupt.
 * @queue: the queue
 *
 * Return: an eventfd that belongs to the queue; read it to clear it.
 */
UIOMMU_API int uiommu_queue_eventfd(const struct uiommu_queue *queue);

/**
 * uiommu_queue_error() - read and re-arm the queue's software error.
 * @queue: the queue
 * @error: the first one since the last call, with the count so far; @error->code is 0 if there was none
 */
UIOMMU_API void uiommu_queue_error(struct uiommu_queue *queue, struct uiommu_accel_error *error);

#ifdef __cplusplus
}
#endif
#endif

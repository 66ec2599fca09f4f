/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Client of uiommud: a process that uses a device of the daemon at its own addresses.
 *
 * One client is one connection, one PASID set and one executor process in the daemon. Everything it has ends with the connection.
 * After fork() the child has nothing: its calls give EOWNERDEAD. Calls are thread-safe unless said otherwise; they wait for the
 * daemon's answer.
 *
 * Every call can also return -EPIPE (the daemon has ended the connection), -EOWNERDEAD, -EDQUOT (a limit of this client or user;
 * the daemon's documentation lists them), -ENOMEM, -EMFILE.
 */
#ifndef UIOMMU_CLIENT_H
#define UIOMMU_CLIENT_H

#include <uiommu/accel.h>
#include <uiommu/bind.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uiommu_client;

/**
 * uiommu_client_connect() - connect and open a device.
 * @path: the daemon's socket; NULL: $UIOMMU_SOCKET, else $XDG_RUNTIME_DIR/uiommu/socket, else /run/uiommu/socket
 * @device: name of a device of the daemon; NULL: its first one
 * @out: the client
 *
 * Return: 0, -ENOENT or -ECONNREFUSED (no daemon), -EACCES (the socket's mode), -ENAMETOOLONG (@path), -ENODEV (no such device),
 * -EPROTO (not a uiommud, or another protocol version).
 */
UIOMMU_API int uiommu_client_connect(const char *path, const char *device, struct uiommu_client **out);

/**
 * uiommu_client_close() - end the connection and everything it owns.
 * @client: NULL does nothing
 *
 * Does not wait, whatever its accesses do. Descriptors of its queues are dropped, and submitting ends with -EPIPE; the queues
 * are destroyed before or after. No other call for the client may be running or come later.
 */
UIOMMU_API void uiommu_client_close(struct uiommu_client *client);

/**
 * uiommu_client_bind() - bind a process to the device.
 * @client: the client
 * @process: a bundle from uiommu_process_open(); NULL: the calling process
 * @access: READ, or READ | WRITE
 * @pasid: in: the PASID, or %UIOMMU_NO_PASID; out: the PASID
 *
 * Return: 0, or the errors of uiommu_bind().
 */
UIOMMU_API int uiommu_client_bind(struct uiommu_client *client, const struct uiommu_process *process, unsigned int access,
				  uint32_t *pasid);

/**
 * uiommu_client_unbind() - undo a bind and wait until the PASID is free.
 * @client: the client
 * @pasid: the PASID
 *
 * Return: 0, -ENOENT.
 */
UIOMMU_API int uiommu_client_unbind(struct uiommu_client *client, uint32_t pasid);

/**
 * uiommu_client_register() - as uiommu_register().
 * @client: the client
 * @reg: its device_id is not looked at
 *
 * Return: 0, or the errors of uiommu_register().
 */
UIOMMU_API int uiommu_client_register(struct uiommu_client *client, const struct uiommu_register *reg);

/**
 * uiommu_client_unregister() - as uiommu_unregister().
 * @client: the client
 * @pasid: the PASID of the bind
 * @address: as registered
 * @length: as registered
 *
 * Return: 0, -ENOENT.
 */
UIOMMU_API int uiommu_client_unregister(struct uiommu_client *client, uint32_t pasid, uint64_t address, uint64_t length);

/**
 * uiommu_client_map() - map a memfd in the client's IOAS, which the device reaches without PASID.
 * @client: the client
 * @map: source FILE; @map->fd is sealed with F_SEAL_SHRINK; @map->ioas_id is not looked at; @map->iova is written on success
 *
 * Return: 0, or the errors of uiommu_ioas_map(); -EINVAL also without the seal.
 */
UIOMMU_API int uiommu_client_map(struct uiommu_client *client, struct uiommu_ioas_map *map);

/**
 * uiommu_client_unmap() - as uiommu_ioas_unmap().
 * @client: the client
 * @iova: first byte
 * @length: bytes
 *
 * Return: 0, or the errors of uiommu_ioas_unmap().
 */
UIOMMU_API int uiommu_client_unmap(struct uiommu_client *client, uint64_t iova, uint64_t length);

/**
 * uiommu_client_grant() - a handle for one of the client's attachments.
 * @client: the client
 * @pasid: PASID, or %UIOMMU_NO_PASID for the IOAS
 * @out_handle: for &struct uiommu_accel_desc
 *
 * Return: 0, -ENOENT (nothing attached), -ENOSPC.
 */
UIOMMU_API int uiommu_client_grant(struct uiommu_client *client, uint32_t pasid, uint16_t *out_handle);

/**
 * uiommu_client_queue() - make a queue on the device.
 * @client: the client
 * @config: what it is
 * @out: the queue; end it with uiommu_queue_destroy()
 *
 * Return: 0, or the errors of uiommu_accel_queue().
 */
UIOMMU_API int uiommu_client_queue(struct uiommu_client *client, const struct uiommu_queue_config *config,
				   struct uiommu_queue **out);

/**
 * uiommu_client_records() - the completion area: records here are written without a system call.
 * @client: the client; it must have bound itself
 * @out_count: number of records
 *
 * The area is registered in the client's own PASID. It lives as long as the client.
 *
 * Return: the records, or NULL before the client has bound itself.
 */
UIOMMU_API struct uiommu_accel_record *uiommu_client_records(struct uiommu_client *client, size_t *out_count);

/** enum uiommu_item_type - what a &struct uiommu_item describes. */
enum uiommu_item_type {
	UIOMMU_ITEM_DEVICE = 1,
	UIOMMU_ITEM_CLIENT,
	UIOMMU_ITEM_QUEUE,
	UIOMMU_ITEM_PASID,
};

/** enum uiommu_item_state - state of a PASID (UIOMMU_ITEM_PASID). */
enum uiommu_item_state {
	UIOMMU_STATE_ALLOCATED = 1,
	UIOMMU_STATE_BOUND,
	UIOMMU_STATE_DRAINING,
};

/**
 * struct uiommu_item - one thing the daemon has. 128 bytes.
 * @type: &enum uiommu_item_type
 * @state: PASID: &enum uiommu_item_state
 * @client: number of the owning client; 0: the daemon
 * @uid: of the owning client
 * @pid: CLIENT: the client; PASID: the process that was bound, also after it has ended
 * @id: QUEUE: its number; PASID: the PASID; CLIENT: its number
 * @flags: QUEUE: &enum uiommu_queue_flags; PASID: access; CLIENT: the quota of its PASID set
 * @count: CLIENT: PASIDs in its set, draining ones included; PASID: who still holds it: attachments whose accesses have not ended,
 * and subscribers that have not let go
 * @bytes_read: PASID, CLIENT, DEVICE
 * @bytes_written: PASID, CLIENT, DEVICE
 * @descriptors: QUEUE, CLIENT, DEVICE: completed
 * @faults: recorded
 * @discarded: PASID: without record, while draining
 * @name: DEVICE: name; CLIENT, PASID: the process's command; NUL-terminated
 */
struct uiommu_item {
	uint32_t type;
	uint32_t state;
	uint32_t client;
	uint32_t uid;
	uint32_t pid;
	uint32_t id;
	uint32_t flags;
	uint32_t count;
	uint64_t bytes_read;
	uint64_t bytes_written;
	uint64_t descriptors;
	uint64_t faults;
	uint64_t discarded;
	char name[56];
};

/**
 * uiommu_client_list() - what the daemon has, as far as this user may see it (its own things; root and the daemon's user: all).
 * @client: the client
 * @out_items: free() it
 * @out_count: number of items
 *
 * Return: 0.
 */
UIOMMU_API int uiommu_client_list(struct uiommu_client *client, struct uiommu_item **out_items, size_t *out_count);

/**
 * struct uiommu_fault_report - a fault of the past, with what the daemon saw at the address when it happened.
 * @fault: the record; device_id is 0
 * @time_ns: CLOCK_REALTIME
 * @client: number of the client
 * @uid: of the client
 * @pid: of the bound process; 0: without PASID, or nothing of the client's was bound to it any more
 * @vma_access: what the mapping at the address permits; 0 and an empty range if there is none
 * @vma_start: the mapping, or the nearest one above
 * @vma_end: one past its last byte
 * @device: name of the device
 * @comm: command of the bound process
 * @vma_name: file or kind of the mapping, shortened in front
 */
struct uiommu_fault_report {
	struct uiommu_fault fault;
	uint64_t time_ns;
	uint32_t client;
	uint32_t uid;
	uint32_t pid;
	uint32_t vma_access;
	uint64_t vma_start;
	uint64_t vma_end;
	char device[32];
	char comm[16];
	char vma_name[80];
};

/**
 * uiommu_client_faults() - the last faults, newest first, as far as this user may see them.
 * @client: the client
 * @out_reports: free() it
 * @out_count: number of reports
 *
 * Return: 0.
 */
UIOMMU_API int uiommu_client_faults(struct uiommu_client *client, struct uiommu_fault_report **out_reports, size_t *out_count);

#ifdef __cplusplus
}
#endif
#endif

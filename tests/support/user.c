/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/user.h"

#include <errno.h>
#include <string.h>

#include "support/support.h"

void user_start(struct user *user, const struct service *service)
{
	struct uiommu_queue_config config = {
		.size = sizeof(config), .flags = UIOMMU_QUEUE_SHARED | UIOMMU_QUEUE_HANDLES, .entries = USER_DEPTH};
	size_t count;

	user->client = service_connect(service);
	user->pasid = UIOMMU_NO_PASID;
	support_check_errno(uiommu_client_bind(user->client, NULL, UIOMMU_READ | UIOMMU_WRITE, &user->pasid), "bind self");
	support_check_errno(uiommu_client_queue(user->client, &config, &user->queue), "make a queue");
	user->records = uiommu_client_records(user->client, &count);
	support_check(user->records && count >= USER_DEPTH);
}

void user_stop(struct user *user)
{
	/* In this order it does not matter what its accesses do. */
	uiommu_client_close(user->client);
	uiommu_queue_destroy(user->queue);
}

uint16_t user_bind(struct user *user, const struct uiommu_process *process, unsigned int access, uint32_t *pasid)
{
	uint32_t number = UIOMMU_NO_PASID;
	uint16_t handle;

	support_check_errno(uiommu_client_bind(user->client, process, access, &number), "bind a process");
	support_check_errno(uiommu_client_grant(user->client, number, &handle), "grant a handle");
	if (pasid)
		*pasid = number;
	return handle;
}

void user_submit(struct user *user, struct uiommu_accel_desc *desc, unsigned int opcode, uint32_t flags,
		 struct uiommu_accel_record *record)
{
	int error;

	memset(record, 0, sizeof(*record));
	desc->pasid_priv = user->pasid;
	desc->completion_address = (uintptr_t)record;
	desc->flags_opcode =
		opcode << 24 | flags | UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD | UIOMMU_ACCEL_REQUEST_INTERRUPT;
	do {
		error = uiommu_queue_submit(user->queue, desc);
	} while (error == -EAGAIN);
	support_check_errno(error, "submit");
}

unsigned int user_do(struct user *user, struct uiommu_accel_desc *desc, unsigned int opcode, uint32_t flags)
{
	user_submit(user, desc, opcode, flags, user->records);
	support_check_errno(uiommu_queue_wait(user->queue, user->records), "wait");
	return user->records->status;
}

unsigned int user_copy(struct user *user, uint16_t dst_handle, uint64_t dst, uint16_t src_handle, uint64_t src, uint32_t length)
{
	struct uiommu_accel_desc desc = {
		.source = src,
		.destination = dst,
		.transfer_size = length,
		.handles = src_handle | (uint64_t)dst_handle << 16,
	};

	return user_do(user, &desc, UIOMMU_ACCEL_MEMMOVE, 0);
}

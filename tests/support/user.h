/* SPDX-License-Identifier: BSD-3-Clause */
/* A client of a daemon with one shared queue, bound to itself. */
#ifndef SUPPORT_USER_H
#define SUPPORT_USER_H

#include <uiommu/client.h>

#include "support/service.h"

struct user {
	struct uiommu_client *client;
	struct uiommu_queue *queue;
	struct uiommu_accel_record *records; /* in the registered area */
	uint32_t pasid; /* our own address space */
};

enum { USER_DEPTH = 64 };

void user_start(struct user *user, const struct service *service);
void user_stop(struct user *user);

/* Bind @process, and return a handle for it. @pasid may be NULL. */
uint16_t user_bind(struct user *user, const struct uiommu_process *process, unsigned int access, uint32_t *pasid);

/* Submit with a record (zeroed before) and the interrupt; waits for room. */
void user_submit(struct user *user, struct uiommu_accel_desc *desc, unsigned int opcode, uint32_t flags,
		 struct uiommu_accel_record *record);

/* The same, and wait; returns the status. */
unsigned int user_do(struct user *user, struct uiommu_accel_desc *desc, unsigned int opcode, uint32_t flags);

/* Copy, with handles or 0 for our own memory; returns the status. The record is records[0]. */
unsigned int user_copy(struct user *user, uint16_t dst_handle, uint64_t dst, uint16_t src_handle, uint64_t src, uint32_t length);

#endif

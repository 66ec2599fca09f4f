/* SPDX-License-Identifier: BSD-3-Clause */
/* What a guest's server tells of itself. */
#ifndef CLI_VM_CONTROL_H
#define CLI_VM_CONTROL_H

#include <pthread.h>
#include <uiommu/uiommu.h>

#include "cli/vm/vm.h"

struct control {
	const struct vm *vm;
	struct uiommu_context *context;
	struct uiommu_vtd *vtd;
	struct uiommu_model *const *models; /* by endpoint */
	const struct uiommu_pasid_set *set; /* of virtual devices: what the guest calls their PASIDs; or NULL */
	uint32_t demand_id; /* of what memory is waited for; 0: it is all there */
	int listen_fd; /* a socket */
	int end_fd;
	pthread_t thread;
	bool started;
};

/* Answers questions, with a thread of its own. 0 or a negative errno. */
int control_start(struct control *control);
/* What was zeroed and never started does nothing. */
void control_stop(struct control *control);

#endif

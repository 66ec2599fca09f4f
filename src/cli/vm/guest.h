/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a server has for one guest: a VT-d and the devices behind it, each at a socket of its own.
 *
 * A server of one guest has a context for it alone. One that shares an accelerator has a context for all of its guests: in it, each
 * has requester ids, PASIDs and memory of its own, and its virtual devices emit PASIDs of its own set.
 */
#ifndef CLI_VM_GUEST_H
#define CLI_VM_GUEST_H

#include <uiommu/uiommu.h>

#include "cli/vm/control.h"
#include "cli/vm/vm.h"

enum { VM_GUESTS_MAX = 63 }; /* of a shared accelerator */

struct guest {
	/* Whoever makes it sets these. */
	const struct vm *vm;
	struct uiommu_context *context;
	struct uiommu_model *parent; /* of its virtual devices; or NULL */
	uint32_t number; /* in the upper half of its requester ids */
	int events; /* where its launcher listens */
	const int *sockets; /* of vm_sockets_open() */

	struct uiommu_vfio_user *ports; /* from guest_begin() on */
	struct uiommu_vtd_pci *function;
	uint32_t vtd_id, ioas_id, hwpt_id, set_id;
	struct uiommu_pasid_set *set; /* of its virtual devices; NULL: it has none */
	struct uiommu_model *models[VM_ENDPOINTS_MAX];
	uint32_t virtual_ids[VM_ENDPOINTS_MAX]; /* of its virtual devices */
	unsigned int virtual_count;
	struct control control;
};

/* Tell its launcher. guest_failed(): why it ends; false. */
void guest_say(const struct guest *guest, struct vm_event event);
bool guest_failed(const struct guest *guest, const char *what, int error);

/*
 * Make all of it, which begins with what guest_stop() needs. False: the launcher has been told why not. guest_end() in any case.
 */
bool guest_begin(struct guest *guest);
bool guest_make(struct guest *guest);

/* Serve until guest_stop(), which is async-signal-safe. */
void guest_run(struct guest *guest);
void guest_stop(struct guest *guest);

/* Nothing of it is left, but for the context. */
void guest_end(struct guest *guest);

#endif

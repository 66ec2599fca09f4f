/* SPDX-License-Identifier: BSD-3-Clause */
/* What the PCI functions that have an engine share: what a guest enables of ATS and PRI is what the engine may do at a fault. */
#ifndef ACCEL_FUNCTION_H
#define ACCEL_FUNCTION_H

#include <uiommu/ats.h>
#include <uiommu/pci.h>

#include "devices/accel/engine.h"

struct function {
	struct uiommu_pci *pci;
	struct uiommu_accel *accel;
	bool shares; /* @accel is somebody else's */
	struct engine_tenant *tenant;
	struct uiommu_atc *atc; /* the transport's; NULL: ATS is not enabled */
};

enum { FUNCTION_PASID_BITS = 20, FUNCTION_INVALIDATE_DEPTH = 32 };

/*
 * With a place at @engine, or NULL: at one of its own. Errors as uiommu_accel_create(). function_end() in any case; no transport
 * has it.
 */
int function_begin(struct function *function, const struct engine_tenant_config *config, struct uiommu_accel *engine);
void function_end(struct function *function);

/* Of struct uiommu_pci_ops: the part of a reset, and of a change, that is the engine's. By the transport's thread. */
void function_reset(struct function *function);
void function_changed(struct function *function, unsigned int before, unsigned int now);

#endif

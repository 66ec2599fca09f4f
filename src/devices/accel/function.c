/* SPDX-License-Identifier: BSD-3-Clause */
#include "devices/accel/function.h"

#include "pci/pci.h"
#include "pci/spec.h"

int function_begin(struct function *function, const struct engine_tenant_config *config, struct uiommu_accel *engine)
{
	int error = 0;

	function->shares = engine;
	function->accel = engine;
	if (!engine)
		error = uiommu_accel_create(config->context, config->device_id, &function->accel);
	return error ? error : engine_tenant_begin(function->accel, config, &function->tenant);
}

void function_end(struct function *function)
{
	engine_tenant_end(function->tenant);
	if (!function->shares)
		uiommu_accel_destroy(function->accel);
	uiommu_atc_destroy(function->atc);
	uiommu_pci_destroy(function->pci);
}

/* The device keeps no translations; but it may ask for them, and so it is asked to forget them. */
static void enable_ats(struct function *function, bool on)
{
	if (on && !function->atc && uiommu_atc_create(uiommu_pci_device(function->pci), 0, 0, &function->atc))
		function->atc = NULL; /* without memory: it does without */
	if (!on) {
		uiommu_atc_destroy(function->atc);
		function->atc = NULL;
	}
}

static uint32_t allocation_of(struct uiommu_pci *pci)
{
	uint8_t bytes[4] = {0};

	pci_config_read(pci, (uint64_t)pci->place[UIOMMU_PCI_PRI] + PCI_PRI_ALLOCATION, bytes, sizeof(bytes));
	return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

void function_reset(struct function *function)
{
	engine_asks(function->tenant, false, 0);
	enable_ats(function, false);
}

void function_changed(struct function *function, unsigned int before, unsigned int now)
{
	if ((before ^ now) & UIOMMU_PCI_ATS_ON)
		enable_ats(function, now & UIOMMU_PCI_ATS_ON);
	if ((before ^ now) & (UIOMMU_PCI_ATS_ON | UIOMMU_PCI_PRI_ON))
		engine_asks(function->tenant, now & (UIOMMU_PCI_ATS_ON | UIOMMU_PCI_PRI_ON),
			    now & UIOMMU_PCI_PRI_ON ? allocation_of(function->pci) : 0);
}

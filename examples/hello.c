/* SPDX-License-Identifier: BSD-3-Clause */
/* A device reaches into this process: at the process's own addresses, selected by a PASID. */
#include <stdio.h>
#include <uiommu/uiommu.h>

int main(void)
{
	char text[32] = "nothing yet";
	struct uiommu_device_config config = {.size = sizeof(config), .name = "hello", .pasid_bits = 20};
	struct uiommu_bind_process self = {.flags = UIOMMU_BIND_SELF, .access = UIOMMU_READ | UIOMMU_WRITE};
	struct uiommu_bind bind = {.size = sizeof(bind), .pasid = UIOMMU_NO_PASID, .type = UIOMMU_BIND_PROCESS};
	struct uiommu_dma_result result;
	struct uiommu_context *context;
	struct uiommu_device *device;

	bind.data = &self;
	bind.data_len = sizeof(self);
	if (uiommu_open(NULL, &context) || uiommu_device_alloc(context, &config, &bind.device_id) || uiommu_bind(context, &bind))
		return 1;
	device = uiommu_device_get(context, bind.device_id);

	/* What a device model does: (device, PASID, address), nothing else. */
	if (uiommu_dma_write(device, bind.pasid, (uintptr_t)text, "hello from the device", 22, &result))
		return 1;
	printf("%s, through PASID %u\n", text, bind.pasid);

	/* Nothing is mapped at 16, and nobody crashes: the fault is a record. */
	if (uiommu_dma_read(device, bind.pasid, 16, text, 1, &result))
		printf("fault: PASID %u, address %u, %s\n", result.fault.pasid, (unsigned int)result.fault.address,
		       uiommu_fault_reason_name(result.fault.reason));
	uiommu_device_put(device);
	return uiommu_close(context) ? 1 : 0;
}

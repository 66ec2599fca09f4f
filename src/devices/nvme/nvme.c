/* SPDX-License-Identifier: BSD-3-Clause */
/* An NVMe controller: its PCI function, and its beginning and end. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/model.h"
#include "devices/nvme/spec.h"
#include "util/util.h"

enum { OPTION_FILE, OPTION_BYTES, OPTION_RO, OPTIONS };

static const struct uiommu_model_option options[OPTIONS] = {
	[OPTION_FILE] = {"file", "PATH", "the file that holds the namespace; otherwise it is memory and begins as zeroes"},
	[OPTION_BYTES] = {"size", "SIZE", "bytes of the namespace; a file that is shorter, or not there, becomes as long"},
	[OPTION_RO] = {"ro", NULL, "the namespace cannot be written"},
};

static const struct option_rule rules[OPTIONS] = {
	[OPTION_FILE] = {OPTION_PATH},
	[OPTION_BYTES] = {OPTION_SIZE, NVME_BLOCK, INT64_MAX},
	[OPTION_RO] = {OPTION_FLAG},
};

struct nvme {
	struct uiommu_pci *pci;
	int fd; /* the namespace */
	uint64_t blocks;
	bool read_only;
};

/* --- the namespace --- */

static int open_file(struct nvme *nvme, const struct option_value *values, const struct complaint *complaint)
{
	const char *path = values[OPTION_FILE].path;
	int flags = (nvme->read_only ? O_RDONLY : O_RDWR) | (values[OPTION_BYTES].given && !nvme->read_only ? O_CREAT : 0);

	nvme->fd = path ? open(path, flags | O_CLOEXEC, 0666) : memfd_create("uiommu-nvme", MFD_CLOEXEC);
	if (nvme->fd < 0)
		return complain_about(complaint, errno == ENFILE ? -EMFILE : -errno, "nvme: %s: %s", path ? path : "memory",
				      strerror(errno));
	return 0;
}

static int size_file(struct nvme *nvme, const struct option_value *values, const struct complaint *complaint)
{
	const char *path = values[OPTION_FILE].path;
	uint64_t wanted = values[OPTION_BYTES].number;
	off_t end = lseek(nvme->fd, 0, SEEK_END);

	if (end < 0)
		return complain_about(complaint, -errno, "nvme: %s: %s", path, strerror(errno));
	if (wanted > (uint64_t)end && !(path && nvme->read_only)) {
		if (ftruncate(nvme->fd, (off_t)wanted))
			return complain_about(complaint, -errno, "nvme: size=%llu: %s", (unsigned long long)wanted,
					      strerror(errno));
		end = (off_t)wanted;
	}
	if (!wanted)
		wanted = (uint64_t)end;
	nvme->blocks = wanted / NVME_BLOCK;
	if (wanted > (uint64_t)end || !nvme->blocks)
		return complain_about(complaint, -EINVAL, "nvme: %s has %llu bytes: too few", path, (unsigned long long)end);
	return 0;
}

static int open_namespace(struct nvme *nvme, const struct option_value *values, const struct complaint *complaint)
{
	int error;

	nvme->read_only = values[OPTION_RO].given;
	if (!values[OPTION_FILE].given && !values[OPTION_BYTES].given)
		return complain_about(complaint, -EINVAL, "nvme: file or size is needed");
	error = open_file(nvme, values, complaint);
	return error ? error : size_file(nvme, values, complaint);
}

/* --- the function --- */

static uint64_t read_register(void *opaque, unsigned int bar, uint64_t offset, unsigned int size)
{
	const uint32_t registers[] = {
		[NVME_CAP / 4] = NVME_CAP_LOW, [NVME_CAP / 4 + 1] = NVME_CAP_HIGH, [NVME_VS / 4] = NVME_VERSION};
	uint64_t value = 0;

	(void)opaque;
	if (!bar && offset + size <= sizeof(registers))
		memcpy(&value, (const uint8_t *)registers + offset, size);
	return value;
}

static const struct uiommu_pci_ops ops = {.read = read_register};

static const struct uiommu_pci_capability capabilities[] = {
	{UIOMMU_PCI_PM},
	{UIOMMU_PCI_MSI, .count = 32},
	{UIOMMU_PCI_MSIX, .count = NVME_VECTORS, .bar = 4},
	{UIOMMU_PCI_EXPRESS},
};

static int make_function(struct nvme *nvme, struct uiommu_context *context, uint32_t device_id)
{
	const struct uiommu_pci_description description = {
		.size = sizeof(description),
		.vendor = 0x1234,
		.device = 0x4e56,
		.subsystem_vendor = 0x1234,
		.subsystem = 0x4e56,
		.class_code = 0x010802, /* mass storage, NVM, NVM Express */
		.interrupt_pin = 1,
		.capability_count = ARRAY_SIZE(capabilities),
		.bars = {[0] = {.size = max_u64(NVME_BAR_SIZE, page_size()), .flags = UIOMMU_PCI_BAR_64},
			 [4] = {.size = max_u64(NVME_MSIX_SIZE, page_size()), .flags = UIOMMU_PCI_BAR_64}},
		.capabilities = capabilities,
		.ops = &ops,
	};

	return uiommu_pci_create(context, device_id, &description, nvme, &nvme->pci);
}

static void nvme_destroy(void *instance)
{
	struct nvme *nvme = instance;

	uiommu_pci_destroy(nvme->pci);
	if (nvme->fd >= 0)
		close(nvme->fd);
	free(nvme);
}

static int nvme_create(struct uiommu_context *context, uint32_t device_id, const struct option_value *values,
		       const struct complaint *complaint, void **out)
{
	struct nvme *nvme = calloc(1, sizeof(*nvme));
	int error;

	if (!nvme)
		return complain_about(complaint, -ENOMEM, "nvme: no memory");
	nvme->fd = -1;
	error = open_namespace(nvme, values, complaint);
	if (!error) {
		error = make_function(nvme, context, device_id);
		if (error)
			complain_about(complaint, error, "nvme: %s", strerror(-error));
	}
	if (error)
		nvme_destroy(nvme);
	else
		*out = nvme;
	return error;
}

static struct uiommu_pci *nvme_function(const void *instance)
{
	const struct nvme *nvme = instance;

	return nvme->pci;
}

const struct model_type nvme_model = {
	.info = {.name = "nvme", .summary = "an NVMe controller with one namespace", .options = options, .option_count = OPTIONS},
	.rules = rules,
	.create = nvme_create,
	.function = nvme_function,
	.destroy = nvme_destroy,
};

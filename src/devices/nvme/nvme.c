/* SPDX-License-Identifier: BSD-3-Clause */
/* A controller's beginning and end: its options, its namespace, its PCI function. */
#include "devices/nvme/nvme.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/model.h"
#include "util/clock.h"
#include "util/util.h"

enum { OPTION_FILE, OPTION_BYTES, OPTION_RO, OPTION_BLOCK, OPTIONS };

enum { BLOCK_LG2_MIN = 9, BLOCK_LG2_MAX = 12, BAR_BYTES = 0x2000, MSIX_BYTES = 0x1000, SPIN_NS = 50000 };

static const struct uiommu_model_option options[OPTIONS] = {
	[OPTION_FILE] = {"file", "PATH", "the file that holds the namespace; otherwise it is memory and begins as zeroes"},
	[OPTION_BYTES] = {"size", "SIZE", "bytes of the namespace; a file that is shorter, or not there, becomes as long"},
	[OPTION_RO] = {"ro", NULL, "the namespace cannot be written"},
	[OPTION_BLOCK] = {"block", "SIZE", "bytes of a block: 512 (the default), 1024, 2048 or 4096"},
};

static const struct option_rule rules[OPTIONS] = {
	[OPTION_FILE] = {OPTION_PATH},
	[OPTION_BYTES] = {OPTION_SIZE, 1 << BLOCK_LG2_MIN, INT64_MAX},
	[OPTION_RO] = {OPTION_FLAG},
	[OPTION_BLOCK] = {OPTION_SIZE, 1 << BLOCK_LG2_MIN, 1 << BLOCK_LG2_MAX},
};

/* --- the namespace --- */

/* A namespace keeps its name as long as its file is the same. */
static void name_file(struct nvme *nvme, const struct stat *status)
{
	uint64_t words[2] = {status->st_ino, status->st_dev};

	for (unsigned int round = 0; round < 8; round++) {
		words[0] = (words[0] ^ words[1] >> 31) * UINT64_C(0x9e3779b97f4a7c15);
		words[1] = (words[1] ^ words[0] >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
	}
	memcpy(nvme->uuid, words, sizeof(words));
}

/* A file's descriptor, or -1 for memory; *@end: bytes there are. */
static int open_file(struct nvme *nvme, const char *path, bool create, const struct complaint *complaint, int *fd, uint64_t *end)
{
	struct stat status;
	off_t length;

	/* Whatever it is, opening does not wait. */
	*fd = open(path, (nvme->read_only ? O_RDONLY : O_RDWR) | (create ? O_CREAT : 0) | O_NONBLOCK | O_CLOEXEC, 0666);
	if (*fd < 0)
		return complain_about(complaint, errno == ENFILE ? -EMFILE : -errno, "nvme: %s: %s", path, strerror(errno));
	if (fstat(*fd, &status) || !(S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)))
		return complain_about(complaint, -EINVAL, "nvme: %s is no file", path);
	length = lseek(*fd, 0, SEEK_END);
	if (length < 0)
		return complain_about(complaint, -errno, "nvme: %s: %s", path, strerror(errno));
	*end = (uint64_t)length;
	name_file(nvme, &status);
	return 0;
}

/* *@size: of the namespace, as is asked for, or 0. */
static int size_file(const struct nvme *nvme, const char *path, int fd, uint64_t end, const struct complaint *complaint,
		     uint64_t *size)
{
	if (!*size)
		*size = end;
	if (*size > end && !nvme->read_only) {
		if (ftruncate(fd, (off_t)*size))
			return complain_about(complaint, -errno, "nvme: %s: %s", path, strerror(errno));
		end = *size;
	}
	if (*size > end || !(*size >> nvme->block_lg2))
		return complain_about(complaint, -EINVAL, "nvme: %s has %llu bytes: too few", path, (unsigned long long)end);
	return 0;
}

static void work_done(void *opaque)
{
	nvme_kick(opaque);
}

static int open_namespace(struct nvme *nvme, const struct option_value *values, const struct complaint *complaint)
{
	const char *path = values[OPTION_FILE].path;
	uint64_t size = values[OPTION_BYTES].number, end = 0;
	int fd = -1, error = 0;

	nvme->read_only = values[OPTION_RO].given;
	if (path) {
		error = open_file(nvme, path, size && !nvme->read_only, complaint, &fd, &end);
		if (!error)
			error = size_file(nvme, path, fd, end, complaint, &size);
		if (error && fd >= 0)
			close(fd);
	} else if (size >> nvme->block_lg2) {
		if (getrandom(nvme->uuid, sizeof(nvme->uuid), GRND_NONBLOCK) < 0)
			memcpy(nvme->uuid, &nvme, sizeof(nvme));
	} else {
		error = complain_about(complaint, -EINVAL,
				       size ? "nvme: size is less than a block" : "nvme: file or size is needed");
	}
	if (error)
		return error;
	nvme->uuid[6] = (uint8_t)((nvme->uuid[6] & 0xf) | 0x80); /* RFC 9562, version 8 */
	nvme->uuid[8] = (uint8_t)((nvme->uuid[8] & 0x3f) | 0x80);
	nvme->blocks = size >> nvme->block_lg2;
	nvme->store_made = true;
	error = store_open(&nvme->store, fd, size, work_done, nvme);
	return error ? complain_about(complaint, error, "nvme: %s", strerror(-error)) : 0;
}

/* --- the function --- */

static const struct uiommu_pci_capability capabilities[] = {
	{UIOMMU_PCI_PM},
	{UIOMMU_PCI_MSI, .count = 32},
	{UIOMMU_PCI_MSIX, .count = NVME_QUEUES, .bar = 4},
	{UIOMMU_PCI_EXPRESS},
};

static int make_function(struct nvme *nvme, uint32_t device_id)
{
	uint64_t size = max_u64(BAR_BYTES, page_size());
	const struct uiommu_pci_description description = {
		.size = sizeof(description),
		.vendor = 0x1234,
		.device = 0x4e56,
		.subsystem_vendor = 0x1234,
		.subsystem = 0x4e56,
		.class_code = 0x010802, /* mass storage, NVM, NVM Express */
		.interrupt_pin = 1,
		.capability_count = ARRAY_SIZE(capabilities),
		.bars = {[0] = {.size = size, .memory_length = size, .flags = UIOMMU_PCI_BAR_64 | UIOMMU_PCI_BAR_WATCHED},
			 [4] = {.size = max_u64(MSIX_BYTES, page_size()), .flags = UIOMMU_PCI_BAR_64}},
		.capabilities = capabilities,
		.ops = &nvme_ops,
	};
	int error = uiommu_pci_create(nvme->context, device_id, &description, nvme, &nvme->pci);

	if (error)
		return error;
	nvme->device = uiommu_pci_device(nvme->pci);
	nvme->words = uiommu_pci_memory(nvme->pci, 0);
	nvme_registers_reset(nvme);
	return 0;
}

/* --- beginning and end --- */

static int make_slots(struct nvme *nvme)
{
	size_t bytes = (size_t)NVME_SLOTS << NVME_TRANSFER_LG2;

	nvme->slots = calloc(NVME_SLOTS, sizeof(*nvme->slots));
	/* Most of it is never touched, and then it is no memory. */
	nvme->buffers = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (nvme->buffers == MAP_FAILED)
		nvme->buffers = NULL;
	if (!nvme->slots || !nvme->buffers)
		return -ENOMEM;
	for (unsigned int i = NVME_SLOTS; i--;) {
		nvme->slots[i].buffer = nvme->buffers + ((size_t)i << NVME_TRANSFER_LG2);
		nvme_slot_put(nvme, &nvme->slots[i]);
	}
	return 0;
}

void nvme_free(struct nvme *nvme)
{
	nvme_stop(nvme);
	if (nvme->store_made)
		store_close(&nvme->store);
	uiommu_pci_destroy(nvme->pci);
	if (nvme->buffers)
		munmap(nvme->buffers, (size_t)NVME_SLOTS << NVME_TRANSFER_LG2);
	free(nvme->slots);
	pthread_cond_destroy(&nvme->idle);
	pthread_cond_destroy(&nvme->wake);
	pthread_mutex_destroy(&nvme->lock);
	pthread_mutex_destroy(&nvme->mask_lock);
	free(nvme);
}

static int fill(struct nvme *nvme, uint32_t device_id, const struct option_value *values, const struct complaint *complaint)
{
	uint64_t block = values[OPTION_BLOCK].given ? values[OPTION_BLOCK].number : 1 << BLOCK_LG2_MIN;
	int error;

	if (block & (block - 1))
		return complain_about(complaint, -EINVAL, "nvme: block=%llu is no power of two", (unsigned long long)block);
	nvme->block_lg2 = (unsigned int)__builtin_ctzll(block);
	error = make_slots(nvme);
	if (!error)
		error = make_function(nvme, device_id);
	if (error)
		return complain_about(complaint, error, "nvme: %s", strerror(-error));
	nvme_features_reset(nvme);
	return open_namespace(nvme, values, complaint);
}

int nvme_make(struct uiommu_context *context, uint32_t device_id, const struct option_value *values,
	      const struct complaint *complaint, struct nvme **out)
{
	struct nvme *nvme = calloc(1, sizeof(*nvme));
	int error;

	if (!nvme) {
		complain_about(complaint, -ENOMEM, "nvme: no memory");
		return -ENOMEM;
	}
	nvme->context = context;
	nvme->spin_ns = SPIN_NS;
	nvme->power_on = clock_ns();
	pthread_mutex_init(&nvme->mask_lock, NULL);
	pthread_mutex_init(&nvme->lock, NULL);
	pthread_cond_init(&nvme->wake, NULL);
	pthread_cond_init(&nvme->idle, NULL);
	error = fill(nvme, device_id, values, complaint);
	if (error)
		nvme_free(nvme);
	else
		*out = nvme;
	return error;
}

static int model_create(struct uiommu_context *context, uint32_t device_id, const struct option_value *values,
			const struct complaint *complaint, void **out)
{
	struct nvme *nvme;
	int error = nvme_make(context, device_id, values, complaint, &nvme);

	if (error)
		return error;
	error = nvme_start(nvme);
	if (error) {
		nvme_free(nvme);
		return complain_about(complaint, error, "nvme: %s", strerror(-error));
	}
	*out = nvme;
	return 0;
}

static struct uiommu_pci *model_function(const void *instance)
{
	const struct nvme *nvme = instance;

	return nvme->pci;
}

static void model_destroy(void *instance)
{
	nvme_free(instance);
}

const struct model_type nvme_model = {
	.info =
		{
			.name = "nvme",
			.summary = "an NVMe controller with one namespace",
			.options = options,
			.option_count = OPTIONS,
		},
	.rules = rules,
	.create = model_create,
	.function = model_function,
	.destroy = model_destroy,
};

/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that make something whose name the caller then cannot be told: nothing of it is left. */
#include "abi.h"

#include <uiommu/uiommu.h>

#include "abi/iommufd.h"
#include "abi/local.h"
#include "iommu/object.h"

enum { PAGE = 4096 };

static struct {
	int fd;
	struct abi_file *file;
	struct uiommu_context *context;
	uint32_t device_id, ioas, parent, viommu;
	uint8_t *page; /* which structs are at the begin of */
} w;

static unsigned int objects(void)
{
	unsigned int count = 0;

	pthread_mutex_lock(&w.context->lock);
	for (uint32_t id = 1; id < w.context->capacity; id++)
		count += w.context->objects[id] != NULL;
	pthread_mutex_unlock(&w.context->lock);
	return count;
}

/* The same struct, twice: where it can be read only, then where it can be written. */
static void fails_then_works(unsigned long command, void *arguments, size_t size)
{
	unsigned int before = objects(), open_before = count_descriptors();

	memcpy(w.page, arguments, size);
	assert_int_equal(mprotect(w.page, PAGE, PROT_READ), 0);
	assert_int_equal(uiommu_ioctl(w.fd, command, w.page), -EFAULT);
	assert_int_equal(objects(), before);
	assert_int_equal(count_descriptors(), open_before);
	assert_int_equal(mprotect(w.page, PAGE, PROT_READ | PROT_WRITE), 0);
	assert_int_equal(memcmp(w.page, arguments, size), 0);
	assert_int_equal(uiommu_ioctl(w.fd, command, w.page), 0);
	memcpy(arguments, w.page, size);
}

/* What comes before @written can be written, and that cannot: the number of a descriptor, the last that is told. */
static void fails_at(unsigned long command, const void *arguments, size_t size, size_t written)
{
	unsigned int before = objects(), open_before = count_descriptors();
	uint8_t *edge = w.page + PAGE - written;

	memcpy(edge, arguments, size);
	assert_int_equal(mprotect(w.page + PAGE, PAGE, PROT_READ), 0);
	assert_int_equal(uiommu_ioctl(w.fd, command, edge), -EFAULT);
	assert_int_equal(objects(), before);
	assert_int_equal(count_descriptors(), open_before);
	assert_int_equal(mprotect(w.page + PAGE, PAGE, PROT_READ | PROT_WRITE), 0);
}

static int setup(void **state)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .rid = 8, .name = "dma0", .pasid_bits = 20};
	struct abi_hwpt_alloc parent = {.size = sizeof(parent), .flags = ABI_HWPT_NEST_PARENT};
	struct abi_viommu_alloc viommu = {.size = sizeof(viommu), .type = 1};

	(void)state;
	w.fd = uiommu_abi_open("/dev/iommu", NULL);
	assert_true(w.fd >= 0);
	w.file = abi_local_file(w.fd);
	w.context = iommufd_context(w.file);
	w.page = mmap(NULL, (size_t)2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(w.page, MAP_FAILED);
	w.ioas = abi_ioas(w.fd);
	assert_int_equal(uiommu_device_alloc(w.context, &config, &w.device_id), 0);
	parent.dev_id = viommu.dev_id = w.device_id;
	parent.pt_id = w.ioas;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_ALLOC), &parent), 0);
	w.parent = viommu.hwpt_id = parent.out_hwpt_id;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VIOMMU_ALLOC), &viommu), 0);
	w.viommu = viommu.out_viommu_id;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	abi_file_put(w.file);
	assert_int_equal(uiommu_abi_close(w.fd), 0);
	munmap(w.page, (size_t)2 * PAGE);
	return 0;
}

static void iommufd(void **state)
{
	struct abi_ioas_alloc ioas = {.size = sizeof(ioas)};
	struct abi_hwpt_alloc hwpt = {.size = sizeof(hwpt), .dev_id = w.device_id, .pt_id = w.ioas};
	struct abi_viommu_alloc viommu = {.size = sizeof(viommu), .type = 1, .dev_id = w.device_id, .hwpt_id = w.parent};
	struct abi_vdevice_alloc vdevice = {.size = sizeof(vdevice), .viommu_id = w.viommu, .dev_id = w.device_id, .virt_id = 5};

	(void)state;
	fails_then_works(ABI_COMMAND(ABI_IOAS_ALLOC), &ioas, sizeof(ioas));
	fails_then_works(ABI_COMMAND(ABI_HWPT_ALLOC), &hwpt, sizeof(hwpt));
	fails_then_works(ABI_COMMAND(ABI_VIOMMU_ALLOC), &viommu, sizeof(viommu));
	fails_then_works(ABI_COMMAND(ABI_VDEVICE_ALLOC), &vdevice, sizeof(vdevice));
}

static void files(void **state)
{
	struct abi_fault_alloc fault = {.size = sizeof(fault)};
	struct abi_veventq_alloc events = {.size = sizeof(events), .viommu_id = w.viommu, .type = 1, .veventq_depth = 8};

	(void)state;
	fails_at(ABI_COMMAND(ABI_FAULT_QUEUE_ALLOC), &fault, sizeof(fault), offsetof(struct abi_fault_alloc, out_fault_fd));
	fails_then_works(ABI_COMMAND(ABI_FAULT_QUEUE_ALLOC), &fault, sizeof(fault));
	fails_at(ABI_COMMAND(ABI_VEVENTQ_ALLOC), &events, sizeof(events), offsetof(struct abi_veventq_alloc, out_veventq_fd));
	fails_then_works(ABI_COMMAND(ABI_VEVENTQ_ALLOC), &events, sizeof(events));
	assert_int_equal(uiommu_abi_close((int)fault.out_fault_fd), 0);
	assert_int_equal(uiommu_abi_close((int)events.out_veventq_fd), 0);
}

static bool is_attached(uint32_t pasid)
{
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};

	return !uiommu_attach_stats(w.context, w.device_id, pasid, &stats);
}

static void binds(void **state)
{
	struct uiommu_bind_process self = {.flags = UIOMMU_BIND_SELF, .access = UIOMMU_READ};
	struct uiommu_abi_bind bind = {
		.size = sizeof(bind),
		.device_id = w.device_id,
		.pasid = 77,
		.type = UIOMMU_BIND_PROCESS,
		.data_len = sizeof(self),
		.data = (uint64_t)(uintptr_t)&self,
	};
	struct uiommu_abi_unbind unbind = {.size = sizeof(unbind), .device_id = w.device_id, .pasid = 77};

	(void)state;
	memcpy(w.page, &bind, sizeof(bind));
	assert_int_equal(mprotect(w.page, PAGE, PROT_READ), 0);
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_BIND, w.page), -EFAULT);
	assert_false(is_attached(77));
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_UNBIND, &unbind), -ENOENT);
	assert_int_equal(mprotect(w.page, PAGE, PROT_READ | PROT_WRITE), 0);
	fails_then_works(UIOMMU_ABI_BIND, &bind, sizeof(bind));
	/* Once more, of what is bound already: the failed one does not count, and ends nothing. */
	fails_then_works(UIOMMU_ABI_BIND, &bind, sizeof(bind));
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_UNBIND, &unbind), 0);
	assert_true(is_attached(77));
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_UNBIND, &unbind), 0);
	assert_false(is_attached(77));
	/* A PASID that was picked is free again. */
	bind.pasid = UIOMMU_NO_PASID;
	fails_then_works(UIOMMU_ABI_BIND, &bind, sizeof(bind));
	unbind.pasid = bind.pasid;
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_UNBIND, &unbind), 0);
}

static void pasids(void **state)
{
	struct uiommu_abi_pasid_set_alloc set = {.size = sizeof(set), .quota = 1};
	struct uiommu_abi_pasid_alloc pasid = {.size = sizeof(pasid), .first = 100, .last = 200};

	(void)state;
	fails_then_works(UIOMMU_ABI_PASID_SET_ALLOC, &set, sizeof(set));
	pasid.set_id = set.out_set_id;
	/* With a quota of one: what failed does not count. */
	fails_then_works(UIOMMU_ABI_PASID_ALLOC, &pasid, sizeof(pasid));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(iommufd, setup, teardown),
		cmocka_unit_test_setup_teardown(files, setup, teardown),
		cmocka_unit_test_setup_teardown(binds, setup, teardown),
		cmocka_unit_test_setup_teardown(pasids, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

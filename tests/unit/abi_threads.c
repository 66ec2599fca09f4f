/* SPDX-License-Identifier: BSD-3-Clause */
/* Many threads at one iommufd: they make, map, attach, use and destroy the same few objects. */
#include "abi.h"

#include <pthread.h>
#include <uiommu/uiommu.h>

#include "abi/iommufd.h"
#include "abi/local.h"

enum { THREADS = 64, ROUNDS = 100, IDS = 24, PAGE = 4096, DEVICES = 4 };

static struct {
	int fd;
	struct uiommu_context *context;
	uint32_t devices[DEVICES];
	uint8_t *memory;
} w;

/* Whether it succeeds depends on the others; what is asserted is that nothing else happens. */
static void one(uint64_t *seed)
{
	uint32_t id = (uint32_t)(random_number(seed) % IDS), device = w.devices[random_number(seed) % DEVICES];
	struct abi_ioas_alloc ioas = {.size = sizeof(ioas)};
	struct abi_ioas_map map = {.size = sizeof(map),
				   .flags = 7,
				   .ioas_id = id,
				   .user_va = (uint64_t)(uintptr_t)w.memory,
				   .length = PAGE,
				   .iova = (1 + random_number(seed) % 8) * PAGE};
	struct abi_ioas_unmap unmap = {.size = sizeof(unmap), .ioas_id = id, .length = UINT64_MAX};
	struct abi_hwpt_alloc hwpt = {.size = sizeof(hwpt),
				      .flags = random_number(seed) % 2 ? ABI_HWPT_NEST_PARENT : ABI_HWPT_PASID,
				      .dev_id = device,
				      .pt_id = id};
	struct abi_viommu_alloc viommu = {.size = sizeof(viommu), .type = ABI_VIOMMU_ARM_SMMUV3, .dev_id = device, .hwpt_id = id};
	struct abi_vdevice_alloc vdevice = {.size = sizeof(vdevice), .viommu_id = id, .dev_id = device, .virt_id = id};
	struct abi_fault_alloc queue = {.size = sizeof(queue)};
	/* One that lets pass, one whose CDs are nowhere. */
	const uint64_t ste[2] = {random_number(seed) % 2 ? 1 | 4 << 1 : 1 | 5 << 1};
	struct abi_hwpt_alloc nested = {.size = sizeof(nested),
					.dev_id = device,
					.pt_id = id,
					.data_type = ABI_HWPT_DATA_ARM_SMMUV3,
					.data_len = sizeof(ste),
					.data_uptr = (uint64_t)(uintptr_t)ste};
	struct abi_veventq_alloc events = {
		.size = sizeof(events), .type = ABI_VEVENTQ_ARM_SMMUV3, .veventq_depth = 2, .viommu_id = id};
	struct uiommu_device *data;
	uint64_t value;

	switch (random_number(seed) % 14) {
	case 0:
		uiommu_ioctl(w.fd, ABI_COMMAND(ABI_IOAS_ALLOC), &ioas);
		break;
	case 1:
	case 2:
		uiommu_ioctl(w.fd, ABI_COMMAND(ABI_IOAS_MAP), &map);
		break;
	case 3:
		uiommu_ioctl(w.fd, ABI_COMMAND(ABI_IOAS_UNMAP), &unmap);
		break;
	case 4:
		uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_ALLOC), &hwpt);
		break;
	case 5:
		uiommu_attach(w.context, device, UIOMMU_NO_PASID, id);
		break;
	case 6:
		uiommu_replace(w.context, device, UIOMMU_NO_PASID, id);
		break;
	case 7:
		uiommu_detach(w.context, device, UIOMMU_NO_PASID);
		break;
	case 8:
		data = uiommu_device_get(w.context, device);
		uiommu_dma_write(data, UIOMMU_NO_PASID, PAGE + random_number(seed) % (8 * PAGE), &value, 4, NULL);
		uiommu_device_put(data);
		break;
	case 9:
		uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VIOMMU_ALLOC), &viommu);
		uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VDEVICE_ALLOC), &vdevice);
		break;
	case 10:
		if (!uiommu_ioctl(w.fd, ABI_COMMAND(ABI_FAULT_QUEUE_ALLOC), &queue)) {
			assert_int_equal(uiommu_abi_close((int)queue.out_fault_fd), 0);
			abi_destroy_object(w.fd, queue.out_fault_id);
		}
		break;
	case 11:
		uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_ALLOC), &nested);
		break;
	case 12:
		if (!uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VEVENTQ_ALLOC), &events)) {
			uiommu_abi_read((int)events.out_veventq_fd, &value, sizeof(value), 0);
			assert_int_equal(uiommu_abi_close((int)events.out_veventq_fd), 0);
			abi_destroy_object(w.fd, events.out_veventq_id);
		}
		break;
	default:
		abi_destroy_object(w.fd, id);
	}
}

static void *hammer(void *seed)
{
	uint64_t state = (uintptr_t)seed;

	for (unsigned int i = 0; i < scaled(ROUNDS); i++)
		one(&state);
	return NULL;
}

static void many_threads(void **state)
{
	pthread_t threads[THREADS];
	struct abi_caller *caller;
	struct abi_file *file;

	(void)state;
	w.memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	w.fd = uiommu_abi_open("/dev/iommu", NULL);
	assert_true(w.fd >= 0);
	file = abi_local_file(w.fd);
	w.context = iommufd_context(file);
	/* Numbers that the threads do not guess. */
	for (unsigned int i = 0; i < IDS; i++)
		abi_ioas(w.fd);
	for (uint32_t i = 0; i < DEVICES; i++) {
		char name[] = {'d', (char)('0' + i), 0};
		const struct uiommu_device_config config = {.size = sizeof(config), .rid = i, .name = name, .pasid_bits = 8};

		assert_int_equal(uiommu_device_alloc(w.context, &config, &w.devices[i]), 0);
	}
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, (void *)(i * 2654435761U + 1)), 0);
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	abi_file_put(file);
	assert_int_equal(uiommu_abi_close(w.fd), 0);
	assert_int_equal(abi_local(&caller), 0);
	assert_int_equal(caller->memory->pinned, 0);
	munmap(w.memory, PAGE);
}

/* --- attaching to an IOAS --- */

enum { ATTACHERS = 8, MEETINGS = 200, AREAS = 1000 };

static struct {
	struct uiommu_context *context;
	uint32_t ioas, devices[ATTACHERS];
	pthread_barrier_t barrier;
	uint32_t hwpts[MEETINGS][ATTACHERS];
} a;

/* All at the same time; nobody detaches before all have attached. */
static void *attach_and_detach(void *opaque)
{
	const uintptr_t number = (uintptr_t)opaque;

	for (unsigned int i = 0; i < MEETINGS; i++) {
		struct uiommu_attach_stats stats = {.size = sizeof(stats)};

		pthread_barrier_wait(&a.barrier);
		if (!uiommu_attach(a.context, a.devices[number], UIOMMU_NO_PASID, a.ioas) &&
		    !uiommu_attach_stats(a.context, a.devices[number], UIOMMU_NO_PASID, &stats))
			a.hwpts[i][number] = stats.hwpt_id;
		pthread_barrier_wait(&a.barrier);
		uiommu_detach(a.context, a.devices[number], UIOMMU_NO_PASID);
	}
	return NULL;
}

/* So much that it takes a while to make a page table of it. */
static void map_much(int fd, uint8_t *memory)
{
	struct abi_ioas_map map = {
		.size = sizeof(map), .flags = 7, .ioas_id = a.ioas, .user_va = (uint64_t)(uintptr_t)memory, .length = PAGE};

	for (uint64_t i = 0; i < AREAS; i++) {
		map.iova = i * PAGE;
		assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_MAP), &map), 0);
	}
}

/* The HWPT that is made for them is one. */
static void one_automatic_hwpt(void **state)
{
	const int fd = uiommu_abi_open("/dev/iommu", NULL);
	uint8_t *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct abi_file *file = abi_local_file(fd);
	pthread_t threads[ATTACHERS];

	(void)state;
	a.context = iommufd_context(file);
	a.ioas = abi_ioas(fd);
	map_much(fd, memory);
	assert_int_equal(pthread_barrier_init(&a.barrier, NULL, ATTACHERS), 0);
	for (uint32_t i = 0; i < ATTACHERS; i++) {
		char name[] = {'d', (char)('0' + i), 0};
		const struct uiommu_device_config config = {.size = sizeof(config), .rid = i, .name = name};

		assert_int_equal(uiommu_device_alloc(a.context, &config, &a.devices[i]), 0);
	}
	for (uintptr_t i = 0; i < ATTACHERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, attach_and_detach, (void *)i), 0);
	for (unsigned int i = 0; i < ATTACHERS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned int i = 0; i < MEETINGS; i++)
		for (unsigned int j = 0; j < ATTACHERS; j++) {
			assert_true(a.hwpts[i][j]);
			assert_int_equal(a.hwpts[i][j], a.hwpts[i][0]);
		}
	assert_int_equal(uiommu_object_count(a.context), 1 + ATTACHERS);
	pthread_barrier_destroy(&a.barrier);
	abi_file_put(file);
	assert_int_equal(uiommu_abi_close(fd), 0);
	munmap(memory, PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_threads),
		cmocka_unit_test(one_automatic_hwpt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

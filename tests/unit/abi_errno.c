/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each command with each thing that can be wrong, and what is answered: the errnos of Linux 7.2, and where two things are wrong the
 * one that Linux looks at first. Sources: drivers/iommu/iommufd, and the drivers of the IOMMUs.
 */
#include "abi_guest.h"

#include "abi/driver_smmuv3.h"

/* What stands for a number that is known only when it has been made. */
enum token {
	TOKEN = 0x7e570000,
	DEVICE,
	OTHER_DEVICE,
	IOAS,
	OTHER_IOAS,
	LOST, /* an IOAS with memory that nothing is at any more */
	PARENT,
	PLAIN,
	NESTED,
	VIOMMU,
	VDEVICE,
	QUEUE,
	EVENTS,
	MEMFD,
	MEMORY,
	TOKENS,
};

enum { NOBODY = 0x7fffff, AWAY = 0x10000000, TABLE = 5 * PAGE };

static uint64_t numbers[TOKENS - TOKEN];

static uint64_t real(uint64_t value)
{
	return value > TOKEN && value < TOKENS ? numbers[value - TOKEN] : value;
}

struct patch {
	uint16_t at, width;
	uint64_t value;
};

struct probe {
	int error;
	struct patch patches[3];
};

#define AT(type, member, value)                                                                                                    \
	{                                                                                                                          \
		offsetof(struct type, member), sizeof(((struct type *)NULL)->member), value                                        \
	}

static void patch(uint8_t *arguments, const struct patch *patch)
{
	uint64_t value = real(patch->value);

	memcpy(arguments + patch->at, &value, patch->width);
}

/* @good with each of the patches, which are its own. */
static void probe(unsigned int command, const void *good, size_t size, const struct probe *probes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t arguments[16] = {0};
		int error;

		memcpy(arguments, good, size);
		for (unsigned int j = 0; j < 3; j++)
			patch((uint8_t *)arguments, &probes[i].patches[j]);
		error = uiommu_ioctl(w.fd, command, arguments);
		if (error != probes[i].error)
			fail_msg("command %#x, probe %zu: %d instead of %d", command, i, error, probes[i].error);
	}
}

#define PROBE(number, good, probes) probe(ABI_COMMAND(number), good, sizeof(*(good)), probes, ARRAY_SIZE(probes))

static uint32_t hwpt(uint32_t flags)
{
	struct abi_hwpt_alloc arguments = {.size = sizeof(arguments), .flags = flags, .dev_id = w.device_id, .pt_id = w.ioas};

	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_ALLOC), &arguments), 0);
	return arguments.out_hwpt_id;
}

static int all_setup(void **state)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .rid = 9, .name = "dma1"};
	struct abi_fault_alloc queue = {.size = sizeof(queue)};
	struct abi_veventq_alloc events = {.size = sizeof(events), .type = ABI_VEVENTQ_ARM_SMMUV3, .veventq_depth = 1};
	struct abi_ioas_map lost = {.size = sizeof(lost), .flags = 7, .user_va = PAGE, .length = PAGE, .iova = AWAY};
	struct guest guest;
	uint32_t id;

	setup(state);
	guest = vtd_guest();
	lost.ioas_id = abi_ioas(w.fd);
	numbers[LOST - TOKEN] = lost.ioas_id;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_IOAS_MAP), &lost), 0);
	numbers[DEVICE - TOKEN] = w.device_id;
	numbers[IOAS - TOKEN] = w.ioas;
	numbers[OTHER_IOAS - TOKEN] = abi_ioas(w.fd);
	numbers[PARENT - TOKEN] = w.parent;
	numbers[PLAIN - TOKEN] = hwpt(0);
	assert_int_equal(alloc(&guest, w.parent, 0, 0, &id), 0);
	numbers[NESTED - TOKEN] = id;
	numbers[VIOMMU - TOKEN] = events.viommu_id = viommu_make();
	assert_int_equal(vdevice_make(events.viommu_id, VIRT_ID, &id), 0);
	numbers[VDEVICE - TOKEN] = id;
	assert_int_equal(uiommu_device_alloc(w.context, &config, &id), 0);
	numbers[OTHER_DEVICE - TOKEN] = id;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_FAULT_QUEUE_ALLOC), &queue), 0);
	numbers[QUEUE - TOKEN] = queue.out_fault_id;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VEVENTQ_ALLOC), &events), 0);
	numbers[EVENTS - TOKEN] = events.out_veventq_id;
	numbers[MEMFD - TOKEN] = (uint64_t)memfd_create("file", MFD_CLOEXEC);
	assert_int_equal(ftruncate((int)numbers[MEMFD - TOKEN], 4 * PAGE), 0);
	numbers[MEMORY - TOKEN] = (uint64_t)(uintptr_t)w.ram;
	return 0;
}

/* The files of the queues keep the iommufd until they are closed. */
static int all_teardown(void **state)
{
	close((int)numbers[MEMFD - TOKEN]);
	return teardown(state);
}

/* --- what all commands have in common --- */

static void sizes(void **state)
{
	static const struct {
		uint8_t number, known, least;
	} commands[] = {
		{ABI_DESTROY, 8, 8},
		{ABI_IOAS_ALLOC, 12, 12},
		{ABI_IOAS_ALLOW_IOVAS, 24, 24},
		{ABI_IOAS_COPY, 40, 40},
		{ABI_IOAS_IOVA_RANGES, 32, 32},
		{ABI_IOAS_MAP, 40, 40},
		{ABI_IOAS_UNMAP, 24, 24},
		{ABI_OPTION, 24, 24},
		{ABI_VFIO_IOAS, 12, 12},
		{ABI_HWPT_ALLOC, 48, 24},
		{ABI_GET_HW_INFO, 40, 32},
		{ABI_HWPT_SET_DIRTY_TRACKING, 16, 16},
		{ABI_HWPT_GET_DIRTY_BITMAP, 48, 48},
		{ABI_HWPT_INVALIDATE, 32, 32},
		{ABI_FAULT_QUEUE_ALLOC, 16, 16},
		{ABI_IOAS_MAP_FILE, 40, 40},
		{ABI_VIOMMU_ALLOC, 40, 24},
		{ABI_VDEVICE_ALLOC, 24, 24},
		{ABI_IOAS_CHANGE_PROCESS, 8, 8},
		{ABI_VEVENTQ_ALLOC, 32, 28},
		{ABI_HW_QUEUE_ALLOC, 40, 40},
	};
	uint8_t *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_int_equal(ARRAY_SIZE(commands), ABI_LAST - ABI_FIRST + 1);
	assert_int_equal(munmap(pages + PAGE, PAGE), 0);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		unsigned int command = ABI_COMMAND(commands[i].number);
		uint32_t arguments[32] = {0};
		uint8_t *last = pages + PAGE - commands[i].least;

		/* Everything in it is wrong, and that does not matter. */
		memset(arguments, 0xff, commands[i].known);
		assert_int_equal(uiommu_ioctl(w.fd, command, abi_hole()), -EFAULT);
		assert_int_equal(uiommu_ioctl(w.fd, command | 1U << 30, arguments), -ENOTTY);
		arguments[0] = commands[i].least - 1U;
		assert_int_equal(uiommu_ioctl(w.fd, command, arguments), -EINVAL);
		arguments[0] = commands[i].known + 4U;
		arguments[commands[i].known / 4] = 1;
		assert_int_equal(uiommu_ioctl(w.fd, command, arguments), -E2BIG);
		/* All that the caller says there is has to be there. */
		arguments[0] = commands[i].least + 1U;
		memcpy(last, arguments, commands[i].least);
		assert_int_equal(uiommu_ioctl(w.fd, command, last), -EFAULT);
	}
	munmap(pages, PAGE);
}

static void destroys(void **state)
{
	const struct abi_destroy good = {.size = sizeof(good)};
	static const struct probe probes[] = {
		{-ENOENT, {AT(abi_destroy, id, 0)}},	      {-ENOENT, {AT(abi_destroy, id, NOBODY)}},
		{-ENOENT, {AT(abi_destroy, id, UINT32_MAX)}}, {-EBUSY, {AT(abi_destroy, id, DEVICE)}},
		{-EBUSY, {AT(abi_destroy, id, IOAS)}},	      {-EBUSY, {AT(abi_destroy, id, PARENT)}},
		{-EBUSY, {AT(abi_destroy, id, VIOMMU)}},      {-EBUSY, {AT(abi_destroy, id, QUEUE)}},
		{-EBUSY, {AT(abi_destroy, id, EVENTS)}},
	};

	(void)state;
	PROBE(ABI_DESTROY, &good, probes);
}

/* --- IOASs --- */

static void maps(void **state)
{
	const struct abi_ioas_map good = {.size = sizeof(good),
					  .flags = 7,
					  .ioas_id = w.ioas,
					  .user_va = numbers[MEMORY - TOKEN],
					  .length = PAGE,
					  .iova = AWAY};
	static const struct probe probes[] = {
		{-EOPNOTSUPP, {AT(abi_ioas_map, flags, 8), AT(abi_ioas_map, iova, UINT64_MAX)}},
		{-EOPNOTSUPP, {AT(abi_ioas_map, reserved, 1), AT(abi_ioas_map, iova, UINT64_MAX)}},
		{-EOVERFLOW, {AT(abi_ioas_map, iova, UINT64_MAX), AT(abi_ioas_map, flags, 0)}},
		{-EOVERFLOW, {AT(abi_ioas_map, length, UINT64_MAX), AT(abi_ioas_map, flags, 0)}},
		{-EINVAL, {AT(abi_ioas_map, flags, 1), AT(abi_ioas_map, ioas_id, NOBODY)}},
		{-ENOENT, {AT(abi_ioas_map, ioas_id, NOBODY), AT(abi_ioas_map, user_va, UINT64_MAX)}},
		{-ENOENT, {AT(abi_ioas_map, ioas_id, PARENT)}},
		{-EOVERFLOW, {AT(abi_ioas_map, user_va, UINT64_MAX), AT(abi_ioas_map, length, 1)}},
		{-EINVAL, {AT(abi_ioas_map, length, 0)}},
		{-EINVAL, {AT(abi_ioas_map, length, 0), AT(abi_ioas_map, flags, 6)}},
		{-EINVAL, {AT(abi_ioas_map, length, PAGE + 1), AT(abi_ioas_map, iova, 0)}},
		{-EINVAL, {AT(abi_ioas_map, iova, 1)}},
		{-EOVERFLOW, {AT(abi_ioas_map, iova, UINT64_MAX - PAGE + 1), AT(abi_ioas_map, length, 2 * PAGE)}},
		{-EEXIST, {AT(abi_ioas_map, iova, 0), AT(abi_ioas_map, user_va, PAGE)}},
		{-EEXIST, {AT(abi_ioas_map, iova, 0), AT(abi_ioas_map, user_va, PAGE + 1)}},
		{-EFAULT, {AT(abi_ioas_map, user_va, PAGE)}},
		{-EFAULT, {AT(abi_ioas_map, user_va, PAGE), AT(abi_ioas_map, flags, 6)}},
		/* Half of all addresses, or more, cannot be looked for. */
		{-EOVERFLOW,
		 {AT(abi_ioas_map, flags, 6), AT(abi_ioas_map, length, UINT64_MAX / 2 + 1), AT(abi_ioas_map, user_va, 0)}},
		{0, {AT(abi_ioas_map, iova, AWAY)}},
		{-EEXIST, {AT(abi_ioas_map, iova, AWAY)}},
	};

	(void)state;
	PROBE(ABI_IOAS_MAP, &good, probes);
}

static void map_files(void **state)
{
	const struct abi_ioas_map_file good = {.size = sizeof(good),
					       .flags = 7,
					       .ioas_id = w.ioas,
					       .fd = (int32_t)numbers[MEMFD - TOKEN],
					       .length = PAGE,
					       .iova = AWAY};
	static const struct probe probes[] = {
		{-EOPNOTSUPP, {AT(abi_ioas_map_file, flags, 8), AT(abi_ioas_map_file, iova, UINT64_MAX)}},
		{-EOVERFLOW, {AT(abi_ioas_map_file, iova, UINT64_MAX), AT(abi_ioas_map_file, flags, 0)}},
		{-EOVERFLOW, {AT(abi_ioas_map_file, length, UINT64_MAX), AT(abi_ioas_map_file, flags, 0)}},
		{-EINVAL, {AT(abi_ioas_map_file, flags, 1), AT(abi_ioas_map_file, ioas_id, NOBODY)}},
		{-ENOENT, {AT(abi_ioas_map_file, ioas_id, NOBODY), AT(abi_ioas_map_file, length, 0)}},
		{-EINVAL, {AT(abi_ioas_map_file, length, 0), AT(abi_ioas_map_file, fd, UINT32_MAX)}},
		{-EOVERFLOW, {AT(abi_ioas_map_file, start, UINT64_MAX - PAGE + 2), AT(abi_ioas_map_file, fd, UINT32_MAX)}},
		{-EINVAL, {AT(abi_ioas_map_file, start, UINT64_MAX - PAGE + 1)}},
		{-EBADF, {AT(abi_ioas_map_file, start, UINT64_MAX - PAGE + 1), AT(abi_ioas_map_file, fd, UINT32_MAX)}},
		{-EBADF, {AT(abi_ioas_map_file, fd, UINT32_MAX), AT(abi_ioas_map_file, iova, 1)}},
		{-EINVAL, {AT(abi_ioas_map_file, iova, 1)}},
		{-EEXIST, {AT(abi_ioas_map_file, iova, 0)}},
		{-EINVAL, {AT(abi_ioas_map_file, start, 4 * PAGE)}},
		{0, {AT(abi_ioas_map_file, start, 3 * PAGE)}},
	};

	(void)state;
	PROBE(ABI_IOAS_MAP_FILE, &good, probes);
}

static void copies(void **state)
{
	const struct abi_ioas_copy good = {.size = sizeof(good),
					   .flags = 7,
					   .dst_ioas_id = w.ioas,
					   .src_ioas_id = w.ioas,
					   .length = PAGE,
					   .dst_iova = AWAY,
					   .src_iova = 0};
	struct abi_ioas_map readable = {.size = sizeof(readable),
					.flags = 5,
					.ioas_id = w.ioas,
					.user_va = numbers[MEMORY - TOKEN],
					.length = PAGE,
					.iova = 2 * AWAY};
	static const struct probe probes[] = {
		{-EOPNOTSUPP, {AT(abi_ioas_copy, flags, 8), AT(abi_ioas_copy, length, UINT64_MAX)}},
		{-EOVERFLOW, {AT(abi_ioas_copy, length, UINT64_MAX), AT(abi_ioas_copy, flags, 0)}},
		{-EOVERFLOW, {AT(abi_ioas_copy, src_iova, UINT64_MAX), AT(abi_ioas_copy, flags, 0)}},
		{-EOVERFLOW, {AT(abi_ioas_copy, dst_iova, UINT64_MAX), AT(abi_ioas_copy, flags, 0)}},
		{-EINVAL, {AT(abi_ioas_copy, flags, 1), AT(abi_ioas_copy, src_ioas_id, NOBODY)}},
		{-ENOENT, {AT(abi_ioas_copy, src_ioas_id, NOBODY), AT(abi_ioas_copy, length, 0)}},
		{-EINVAL, {AT(abi_ioas_copy, length, 0), AT(abi_ioas_copy, dst_ioas_id, NOBODY)}},
		{-EOVERFLOW, {AT(abi_ioas_copy, src_iova, UINT64_MAX - 1), AT(abi_ioas_copy, dst_ioas_id, NOBODY)}},
		{-ENOENT, {AT(abi_ioas_copy, src_iova, 3 * (uint64_t)AWAY), AT(abi_ioas_copy, dst_iova, 1)}},
		{-ENOENT, {AT(abi_ioas_copy, length, RAM_BYTES + PAGE)}},
		{-ENOENT, {AT(abi_ioas_copy, dst_ioas_id, NOBODY), AT(abi_ioas_copy, dst_iova, 1)}},
		{-EINVAL, {AT(abi_ioas_copy, dst_iova, 1), AT(abi_ioas_copy, src_iova, 2 * (uint64_t)AWAY)}},
		{-EINVAL, {AT(abi_ioas_copy, length, 1)}},
		/* Onto what is mapped; what may only be read comes after that. */
		{-EEXIST, {AT(abi_ioas_copy, dst_iova, 0), AT(abi_ioas_copy, src_iova, 2 * (uint64_t)AWAY)}},
		{-EPERM, {AT(abi_ioas_copy, src_iova, 2 * (uint64_t)AWAY)}},
		{0, {AT(abi_ioas_copy, src_iova, 2 * (uint64_t)AWAY), AT(abi_ioas_copy, flags, 5)}},
	};

	(void)state;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_IOAS_MAP), &readable), 0);
	PROBE(ABI_IOAS_COPY, &good, probes);
}

static void unmaps(void **state)
{
	const struct abi_ioas_unmap good = {.size = sizeof(good), .ioas_id = w.ioas, .length = PAGE};
	static const struct probe probes[] = {
		{-ENOENT, {AT(abi_ioas_unmap, ioas_id, NOBODY), AT(abi_ioas_unmap, length, 0)}},
		{-ENOENT, {AT(abi_ioas_unmap, ioas_id, NOBODY), AT(abi_ioas_unmap, iova, UINT64_MAX)}},
		{-EOVERFLOW, {AT(abi_ioas_unmap, iova, UINT64_MAX), AT(abi_ioas_unmap, length, 0)}},
		{-EOVERFLOW, {AT(abi_ioas_unmap, iova, 1), AT(abi_ioas_unmap, length, UINT64_MAX)}},
		{-EINVAL, {AT(abi_ioas_unmap, length, 0)}},
		{-EOVERFLOW, {AT(abi_ioas_unmap, iova, UINT64_MAX - 1), AT(abi_ioas_unmap, length, 3)}},
		{-ENOENT, {AT(abi_ioas_unmap, length, PAGE)}},
		{-ENOENT, {AT(abi_ioas_unmap, iova, PAGE), AT(abi_ioas_unmap, length, 2 * (uint64_t)RAM_BYTES)}},
		{-ENOENT, {AT(abi_ioas_unmap, iova, AWAY)}},
		{-ENOENT, {AT(abi_ioas_unmap, ioas_id, OTHER_IOAS)}},
		{0, {AT(abi_ioas_unmap, ioas_id, OTHER_IOAS), AT(abi_ioas_unmap, length, UINT64_MAX)}},
		{0, {AT(abi_ioas_unmap, length, RAM_BYTES)}},
	};

	(void)state;
	PROBE(ABI_IOAS_UNMAP, &good, probes);
}

static void ranges(void **state)
{
	struct uiommu_range array[] = {{0, PAGE - 1}, {PAGE, 2 * PAGE - 1}};
	uint8_t *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const uint64_t pointer = (uint64_t)(uintptr_t)array;
	const struct abi_ioas_allow_iovas allow = {
		.size = sizeof(allow), .ioas_id = w.ioas, .num_iovas = 2, .allowed_iovas = pointer};
	struct abi_ioas_allow_iovas none = allow;
	const struct abi_ioas_iova_ranges get = {.size = sizeof(get), .ioas_id = w.ioas, .num_iovas = 2, .allowed_iovas = pointer};
	static const struct probe allows[] = {
		{-EOPNOTSUPP, {AT(abi_ioas_allow_iovas, reserved, 1), AT(abi_ioas_allow_iovas, ioas_id, NOBODY)}},
		{-ENOENT, {AT(abi_ioas_allow_iovas, ioas_id, NOBODY), AT(abi_ioas_allow_iovas, allowed_iovas, 16)}},
		{-EFAULT, {AT(abi_ioas_allow_iovas, allowed_iovas, 16)}},
		{0, {AT(abi_ioas_allow_iovas, num_iovas, 0), AT(abi_ioas_allow_iovas, allowed_iovas, 16)}},
		{0, {AT(abi_ioas_allow_iovas, num_iovas, 2)}},
	};
	static const struct probe gets[] = {
		{-EOPNOTSUPP, {AT(abi_ioas_iova_ranges, reserved, 1), AT(abi_ioas_iova_ranges, ioas_id, NOBODY)}},
		{-ENOENT, {AT(abi_ioas_iova_ranges, ioas_id, NOBODY), AT(abi_ioas_iova_ranges, allowed_iovas, 16)}},
		{-EFAULT, {AT(abi_ioas_iova_ranges, allowed_iovas, 16)}},
		{-EMSGSIZE, {AT(abi_ioas_iova_ranges, num_iovas, 0), AT(abi_ioas_iova_ranges, allowed_iovas, 16)}},
		{0, {AT(abi_ioas_iova_ranges, num_iovas, 2)}},
	};

	(void)state;
	PROBE(ABI_IOAS_ALLOW_IOVAS, &allow, allows);
	/* One range is none, and what comes after it cannot be read. */
	assert_int_equal(munmap(pages + PAGE, PAGE), 0);
	none.allowed_iovas = (uint64_t)(uintptr_t)(pages + PAGE - sizeof(*array));
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_IOAS_ALLOW_IOVAS), &none), -EINVAL);
	munmap(pages, PAGE);
	PROBE(ABI_IOAS_IOVA_RANGES, &get, gets);
}

static void options(void **state)
{
	const struct abi_option good = {
		.size = sizeof(good), .option_id = ABI_OPTION_HUGE_PAGES, .op = ABI_OPTION_GET, .object_id = w.ioas};
	static const struct probe probes[] = {
		{-EOPNOTSUPP, {AT(abi_option, reserved, 1), AT(abi_option, object_id, NOBODY)}},
		{-EOPNOTSUPP, {AT(abi_option, option_id, 2), AT(abi_option, object_id, NOBODY)}},
		{-EOPNOTSUPP, {AT(abi_option, option_id, ABI_OPTION_RLIMIT_MODE), AT(abi_option, object_id, IOAS)}},
		{-EOPNOTSUPP,
		 {AT(abi_option, option_id, ABI_OPTION_RLIMIT_MODE), AT(abi_option, object_id, 0), AT(abi_option, op, 2)}},
		{-ENOENT, {AT(abi_option, object_id, NOBODY), AT(abi_option, op, 2)}},
		{-EOPNOTSUPP, {AT(abi_option, op, 2), AT(abi_option, val64, 2)}},
		{-EINVAL, {AT(abi_option, op, ABI_OPTION_SET), AT(abi_option, val64, 2)}},
		/* There are page tables, and something is mapped. */
		{-EINVAL, {AT(abi_option, op, ABI_OPTION_SET), AT(abi_option, val64, 0)}},
		{0, {AT(abi_option, op, ABI_OPTION_SET), AT(abi_option, val64, 1)}},
		{0, {AT(abi_option, op, ABI_OPTION_GET)}},
	};

	(void)state;
	PROBE(ABI_OPTION, &good, probes);
}

static void smaller_ones(void **state)
{
	const struct abi_ioas_alloc ioas = {.size = sizeof(ioas), .flags = 1};
	const struct abi_fault_alloc queue = {.size = sizeof(queue), .flags = 1};
	const struct abi_ioas_change_process change = {.size = sizeof(change), .reserved = 1};
	const struct abi_vfio_ioas vfio = {.size = sizeof(vfio), .op = ABI_VFIO_IOAS_SET, .ioas_id = w.ioas};
	static const struct probe refused[] = {{-EOPNOTSUPP, {{0}}}};
	static const struct probe vfios[] = {
		{-EOPNOTSUPP, {AT(abi_vfio_ioas, reserved, 1), AT(abi_vfio_ioas, ioas_id, NOBODY)}},
		{-EOPNOTSUPP, {AT(abi_vfio_ioas, op, 3), AT(abi_vfio_ioas, ioas_id, NOBODY)}},
		{-ENOENT, {AT(abi_vfio_ioas, ioas_id, NOBODY)}},
		{-ENOENT, {AT(abi_vfio_ioas, ioas_id, 0)}},
		{-ENOENT, {AT(abi_vfio_ioas, ioas_id, PARENT)}},
		{-ENODEV, {AT(abi_vfio_ioas, op, ABI_VFIO_IOAS_GET)}},
		{0, {AT(abi_vfio_ioas, op, ABI_VFIO_IOAS_CLEAR)}},
		{0, {AT(abi_vfio_ioas, ioas_id, IOAS)}},
		{0, {AT(abi_vfio_ioas, op, ABI_VFIO_IOAS_GET)}},
	};

	(void)state;
	PROBE(ABI_IOAS_ALLOC, &ioas, refused);
	PROBE(ABI_FAULT_QUEUE_ALLOC, &queue, refused);
	PROBE(ABI_IOAS_CHANGE_PROCESS, &change, refused);
	PROBE(ABI_VFIO_IOAS, &vfio, vfios);
}

/* --- HWPTs --- */

static void hwpts(void **state)
{
	const struct abi_hwpt_alloc good = {.size = sizeof(good), .dev_id = w.device_id, .pt_id = w.ioas};
	static const struct probe probes[] = {
		{-EOPNOTSUPP, {AT(abi_hwpt_alloc, reserved, 1), AT(abi_hwpt_alloc, data_len, 4)}},
		{-EINVAL, {AT(abi_hwpt_alloc, data_len, 4), AT(abi_hwpt_alloc, dev_id, NOBODY)}},
		{-EINVAL, {AT(abi_hwpt_alloc, data_type, 1), AT(abi_hwpt_alloc, dev_id, NOBODY)}},
		{-ENOENT, {AT(abi_hwpt_alloc, dev_id, NOBODY), AT(abi_hwpt_alloc, pt_id, NOBODY)}},
		{-ENOENT, {AT(abi_hwpt_alloc, dev_id, IOAS)}},
		{-EINVAL, {AT(abi_hwpt_alloc, pt_id, NOBODY), AT(abi_hwpt_alloc, flags, 1U << 31)}},
		{-EINVAL, {AT(abi_hwpt_alloc, pt_id, DEVICE), AT(abi_hwpt_alloc, flags, 1U << 31)}},
		{-EINVAL, {AT(abi_hwpt_alloc, pt_id, NESTED), AT(abi_hwpt_alloc, flags, 1U << 31)}},
		{-EOPNOTSUPP, {AT(abi_hwpt_alloc, flags, 16)}},
		{-EOPNOTSUPP, {AT(abi_hwpt_alloc, flags, 5), AT(abi_hwpt_alloc, fault_id, NOBODY)}},
		{-ENOENT, {AT(abi_hwpt_alloc, flags, 4), AT(abi_hwpt_alloc, fault_id, NOBODY)}},
		{-ENOENT, {AT(abi_hwpt_alloc, flags, 4), AT(abi_hwpt_alloc, fault_id, IOAS)}},
		/* The queue is looked at last. */
		{-EFAULT, {AT(abi_hwpt_alloc, pt_id, LOST), AT(abi_hwpt_alloc, flags, 4), AT(abi_hwpt_alloc, fault_id, NOBODY)}},
		/* What is behind the reserved word is not looked at. */
		{0, {AT(abi_hwpt_alloc, reserved2, 1)}},
		{0, {AT(abi_hwpt_alloc, flags, 4), AT(abi_hwpt_alloc, fault_id, QUEUE)}},
		{0, {AT(abi_hwpt_alloc, flags, 11)}},
	};

	(void)state;
	PROBE(ABI_HWPT_ALLOC, &good, probes);
}

static void nested_hwpts(void **state)
{
	const struct guest vtd = vtd_guest(), arm = arm_guest();
	const struct abi_hwpt_alloc on_parent = {.size = sizeof(on_parent),
						 .dev_id = w.device_id,
						 .pt_id = w.parent,
						 .data_type = VTD,
						 .data_len = 24,
						 .data_uptr = (uint64_t)(uintptr_t)vtd.data};
	const struct abi_hwpt_alloc on_viommu = {.size = sizeof(on_viommu),
						 .dev_id = w.device_id,
						 .pt_id = (uint32_t)numbers[VIOMMU - TOKEN],
						 .data_type = ARM,
						 .data_len = 16,
						 .data_uptr = (uint64_t)(uintptr_t)arm.data};
	static const struct probe parents[] = {
		{-EOPNOTSUPP, {AT(abi_hwpt_alloc, flags, 1), AT(abi_hwpt_alloc, pt_id, PLAIN)}},
		{-EOPNOTSUPP, {AT(abi_hwpt_alloc, flags, 2)}},
		{-EOPNOTSUPP, {AT(abi_hwpt_alloc, data_type, 0), AT(abi_hwpt_alloc, data_len, 0)}},
		{-EINVAL, {AT(abi_hwpt_alloc, pt_id, PLAIN), AT(abi_hwpt_alloc, data_type, 77)}},
		{-EOPNOTSUPP, {AT(abi_hwpt_alloc, data_type, 77), AT(abi_hwpt_alloc, data_uptr, 16)}},
		{-EINVAL, {AT(abi_hwpt_alloc, data_len, 23), AT(abi_hwpt_alloc, data_uptr, 16)}},
		{-EINVAL, {AT(abi_hwpt_alloc, data_len, 25), AT(abi_hwpt_alloc, data_uptr, 16)}},
		{-EFAULT, {AT(abi_hwpt_alloc, data_uptr, 16), AT(abi_hwpt_alloc, flags, 4)}},
		{-ENOENT, {AT(abi_hwpt_alloc, flags, 4), AT(abi_hwpt_alloc, fault_id, NOBODY)}},
		{0, {AT(abi_hwpt_alloc, flags, 12), AT(abi_hwpt_alloc, fault_id, QUEUE)}},
	};
	static const struct probe viommus[] = {
		{-EOPNOTSUPP, {AT(abi_hwpt_alloc, flags, 1), AT(abi_hwpt_alloc, data_type, 77)}},
		{-EOPNOTSUPP, {AT(abi_hwpt_alloc, data_type, 0), AT(abi_hwpt_alloc, data_len, 0)}},
		{-EINVAL, {AT(abi_hwpt_alloc, data_type, 77), AT(abi_hwpt_alloc, data_uptr, 16)}},
		{-EINVAL, {AT(abi_hwpt_alloc, data_type, VTD), AT(abi_hwpt_alloc, data_len, 24)}},
		{-EINVAL, {AT(abi_hwpt_alloc, data_len, 15), AT(abi_hwpt_alloc, data_uptr, 16)}},
		{-EINVAL, {AT(abi_hwpt_alloc, data_len, 24), AT(abi_hwpt_alloc, data_uptr, 16)}},
		{-EFAULT, {AT(abi_hwpt_alloc, data_uptr, 16)}},
		{-ENOENT, {AT(abi_hwpt_alloc, flags, 4), AT(abi_hwpt_alloc, fault_id, NOBODY)}},
		{0, {AT(abi_hwpt_alloc, flags, 4), AT(abi_hwpt_alloc, fault_id, QUEUE)}},
	};

	(void)state;
	PROBE(ABI_HWPT_ALLOC, &on_parent, parents);
	PROBE(ABI_HWPT_ALLOC, &on_viommu, viommus);
}

/* What a guest's owner may pass on of an STE. */
static void stes(void **state)
{
	static const struct {
		int error;
		uint64_t ste[2];
	} rows[] = {
		{0, {0, UINT64_MAX}}, /* not valid: nothing is looked at */
		{0, {1, 0}}, /* abort */
		{0, {1 | 4 << 1, 0}}, /* bypass */
		{-EIO, {1 | 1 << 1, 0}},
		{-EIO, {1 | 6 << 1, 0}}, /* stage 2 */
		{-EIO, {1 | 7 << 1, 0}},
		{-EIO, {1 | UINT64_C(1) << 56, 0}},
		{-EIO, {1, UINT64_C(1) << 19}},
		{-EIO, {1, UINT64_C(3) << 30}}, /* STRW */
		{0, {1, UINT64_C(1) << 28}},
		{-EIO, {1, UINT64_C(2) << 28}}, /* split ATS */
		{-EIO, {1, UINT64_C(3) << 28}},
		{0, {1 | 5 << 1 | TABLE, 0xfe | UINT64_C(1) << 27}},
		{-EIO, {1 | 5 << 1 | UINT64_C(21) << 59, 0}}, /* more substreams than there can be */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct guest guest = {.type = ARM, .length = 16, .data = {rows[i].ste[0], rows[i].ste[1]}};
		uint32_t id;

		assert_int_equal(alloc(&guest, (uint32_t)numbers[VIOMMU - TOKEN], 0, 0, &id), rows[i].error);
	}
}

static void invalidations(void **state)
{
	struct abi_hwpt_vtd_s1_invalidate vtd = {.npages = UINT64_MAX};
	struct abi_viommu_arm_smmuv3_invalidate arm[2] = {{.cmd = {0x10}}, {.cmd = {0x10}}};
	const struct abi_hwpt_invalidate nested = {.size = sizeof(nested),
						   .hwpt_id = (uint32_t)numbers[NESTED - TOKEN],
						   .data_uptr = (uint64_t)(uintptr_t)&vtd,
						   .entry_len = sizeof(vtd),
						   .entry_num = 1};
	const struct abi_hwpt_invalidate viommu = {.size = sizeof(viommu),
						   .hwpt_id = (uint32_t)numbers[VIOMMU - TOKEN],
						   .data_uptr = (uint64_t)(uintptr_t)arm,
						   .data_type = ABI_VIOMMU_INVALIDATE_ARM_SMMUV3,
						   .entry_len = sizeof(*arm),
						   .entry_num = 2};
	static const struct probe of_nested[] = {
		{-EOPNOTSUPP, {AT(abi_hwpt_invalidate, reserved, 1), AT(abi_hwpt_invalidate, data_uptr, 0)}},
		{-EINVAL, {AT(abi_hwpt_invalidate, data_uptr, 0), AT(abi_hwpt_invalidate, hwpt_id, NOBODY)}},
		{-EINVAL, {AT(abi_hwpt_invalidate, entry_len, 0), AT(abi_hwpt_invalidate, hwpt_id, NOBODY)}},
		{-EINVAL, {AT(abi_hwpt_invalidate, entry_len, 1 << 30), AT(abi_hwpt_invalidate, hwpt_id, NOBODY)}},
		{-EINVAL, {AT(abi_hwpt_invalidate, entry_num, (1 << 19) + 1), AT(abi_hwpt_invalidate, hwpt_id, NOBODY)}},
		{-ENOENT, {AT(abi_hwpt_invalidate, hwpt_id, NOBODY)}},
		{-EINVAL, {AT(abi_hwpt_invalidate, hwpt_id, PARENT)}},
		{-EINVAL, {AT(abi_hwpt_invalidate, hwpt_id, IOAS)}},
		{-EINVAL, {AT(abi_hwpt_invalidate, hwpt_id, DEVICE)}},
		{-EINVAL, {AT(abi_hwpt_invalidate, data_type, 5), AT(abi_hwpt_invalidate, entry_num, 0)}},
		{-EINVAL, {AT(abi_hwpt_invalidate, entry_len, 23), AT(abi_hwpt_invalidate, data_uptr, 16)}},
		{-EINVAL, {AT(abi_hwpt_invalidate, entry_len, 32), AT(abi_hwpt_invalidate, data_uptr, 16)}},
		{-EFAULT, {AT(abi_hwpt_invalidate, data_uptr, 16)}},
		{0, {AT(abi_hwpt_invalidate, entry_num, 0), AT(abi_hwpt_invalidate, data_uptr, 0)}},
		{0, {AT(abi_hwpt_invalidate, entry_num, 1)}},
	};
	static const struct probe of_viommu[] = {
		{-EINVAL, {AT(abi_hwpt_invalidate, data_type, 0)}},
		{-EINVAL, {AT(abi_hwpt_invalidate, entry_num, 0)}},
		{-EFAULT, {AT(abi_hwpt_invalidate, data_uptr, 16)}},
		{0, {AT(abi_hwpt_invalidate, entry_num, 2)}},
		/* A part of one: what is missing is 0. */
		{0, {AT(abi_hwpt_invalidate, entry_len, 8), AT(abi_hwpt_invalidate, entry_num, 1)}},
		/* More than is known: it has to be 0, and here the second command is what is behind. */
		{-E2BIG, {AT(abi_hwpt_invalidate, entry_len, 32), AT(abi_hwpt_invalidate, entry_num, 1)}},
	};

	(void)state;
	PROBE(ABI_HWPT_INVALIDATE, &nested, of_nested);
	PROBE(ABI_HWPT_INVALIDATE, &viommu, of_viommu);
}

/* If one of an SMMUv3's commands cannot be read, none has been done. */
static void commands_are_read_together(void **state)
{
	const size_t count = 100;
	struct abi_viommu_arm_smmuv3_invalidate *commands =
		mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct abi_hwpt_invalidate arguments = {.size = sizeof(arguments),
						.hwpt_id = (uint32_t)numbers[VIOMMU - TOKEN],
						.data_type = ABI_VIOMMU_INVALIDATE_ARM_SMMUV3,
						.entry_len = sizeof(*commands),
						.entry_num = (uint32_t)count};
	uint8_t *hole = (uint8_t *)commands + PAGE;

	(void)state;
	munmap(hole, PAGE);
	commands = (void *)(hole - (count - 1) * sizeof(*commands));
	for (size_t i = 0; i < count - 1; i++)
		commands[i].cmd[0] = 0x10;
	arguments.data_uptr = (uint64_t)(uintptr_t)commands;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_INVALIDATE), &arguments), -EFAULT);
	assert_int_equal(arguments.entry_num, 0);
	commands[90].cmd[0] = 0x04; /* none of a guest's */
	arguments.entry_num = (uint32_t)count - 1;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_INVALIDATE), &arguments), -EIO);
	assert_int_equal(arguments.entry_num, 90);
	munmap(hole - PAGE, PAGE);
}

static void dirty(void **state)
{
	static uint64_t bits[RAM_PAGES / 64 + 1];
	const uint32_t id = hwpt(ABI_HWPT_DIRTY_TRACKING);
	const struct abi_hwpt_set_dirty_tracking set = {.size = sizeof(set), .flags = 1, .hwpt_id = id};
	const struct abi_hwpt_get_dirty_bitmap get = {
		.size = sizeof(get), .hwpt_id = id, .length = RAM_BYTES, .page_size = PAGE, .data = (uint64_t)(uintptr_t)bits};
	static const struct probe sets[] = {
		{-EOPNOTSUPP, {AT(abi_hwpt_set_dirty_tracking, flags, 2), AT(abi_hwpt_set_dirty_tracking, hwpt_id, NOBODY)}},
		{-ENOENT, {AT(abi_hwpt_set_dirty_tracking, hwpt_id, NOBODY)}},
		{-ENOENT, {AT(abi_hwpt_set_dirty_tracking, hwpt_id, NESTED)}},
		{-EOPNOTSUPP, {AT(abi_hwpt_set_dirty_tracking, hwpt_id, PLAIN)}},
		/* Its reserved word is not looked at. */
		{0, {AT(abi_hwpt_set_dirty_tracking, reserved, 1)}},
	};
	static const struct probe gets[] = {
		{-EOPNOTSUPP, {AT(abi_hwpt_get_dirty_bitmap, flags, 2), AT(abi_hwpt_get_dirty_bitmap, hwpt_id, NOBODY)}},
		{-EOPNOTSUPP, {AT(abi_hwpt_get_dirty_bitmap, reserved, 1), AT(abi_hwpt_get_dirty_bitmap, hwpt_id, NOBODY)}},
		{-ENOENT, {AT(abi_hwpt_get_dirty_bitmap, hwpt_id, NESTED), AT(abi_hwpt_get_dirty_bitmap, page_size, 0)}},
		{-EOVERFLOW, {AT(abi_hwpt_get_dirty_bitmap, iova, UINT64_MAX), AT(abi_hwpt_get_dirty_bitmap, page_size, 0)}},
		{-EINVAL, {AT(abi_hwpt_get_dirty_bitmap, iova, 1), AT(abi_hwpt_get_dirty_bitmap, hwpt_id, PLAIN)}},
		{-EINVAL, {AT(abi_hwpt_get_dirty_bitmap, length, 1), AT(abi_hwpt_get_dirty_bitmap, hwpt_id, PLAIN)}},
		{-EINVAL, {AT(abi_hwpt_get_dirty_bitmap, page_size, 0), AT(abi_hwpt_get_dirty_bitmap, hwpt_id, PLAIN)}},
		{-EINVAL, {AT(abi_hwpt_get_dirty_bitmap, page_size, 2 * PAGE), AT(abi_hwpt_get_dirty_bitmap, length, PAGE)}},
		{-EOPNOTSUPP, {AT(abi_hwpt_get_dirty_bitmap, hwpt_id, PLAIN)}},
		{0, {AT(abi_hwpt_get_dirty_bitmap, flags, 1)}},
	};

	(void)state;
	PROBE(ABI_HWPT_SET_DIRTY_TRACKING, &set, sets);
	PROBE(ABI_HWPT_GET_DIRTY_BITMAP, &get, gets);
}

static void hw_info(void **state)
{
	uint8_t buffer[64];
	const struct abi_hw_info good = {
		.size = sizeof(good), .dev_id = w.device_id, .data_len = sizeof(buffer), .data_uptr = (uint64_t)(uintptr_t)buffer};
	static const struct probe probes[] = {
		{-EOPNOTSUPP, {AT(abi_hw_info, flags, 2), AT(abi_hw_info, dev_id, NOBODY)}},
		{-EOPNOTSUPP, {AT(abi_hw_info, reserved[2], 1), AT(abi_hw_info, dev_id, NOBODY)}},
		{-ENOENT, {AT(abi_hw_info, dev_id, NOBODY), AT(abi_hw_info, data_uptr, 16)}},
		{-ENOENT, {AT(abi_hw_info, dev_id, IOAS)}},
		{-EOPNOTSUPP, {AT(abi_hw_info, flags, 1), AT(abi_hw_info, data_type, 77), AT(abi_hw_info, data_uptr, 16)}},
		{-EFAULT, {AT(abi_hw_info, data_uptr, 16)}},
		/* Without the flag the type is not looked at; nor is the pointer if nothing is to be written. */
		{0, {AT(abi_hw_info, data_type, 77), AT(abi_hw_info, data_len, 0), AT(abi_hw_info, data_uptr, 16)}},
		{0, {AT(abi_hw_info, data_len, 3)}},
	};

	(void)state;
	PROBE(ABI_GET_HW_INFO, &good, probes);
}

/* --- vIOMMUs --- */

static void viommus(void **state)
{
	const struct abi_viommu_alloc viommu = {
		.size = sizeof(viommu), .type = ABI_VIOMMU_ARM_SMMUV3, .dev_id = w.device_id, .hwpt_id = w.parent};
	const struct abi_vdevice_alloc vdevice = {.size = sizeof(vdevice),
						  .viommu_id = (uint32_t)numbers[VIOMMU - TOKEN],
						  .dev_id = (uint32_t)numbers[OTHER_DEVICE - TOKEN],
						  .virt_id = VIRT_ID + 1};
	static const struct probe of_viommu[] = {
		{-EOPNOTSUPP, {AT(abi_viommu_alloc, flags, 1), AT(abi_viommu_alloc, dev_id, NOBODY)}},
		{-EOPNOTSUPP, {AT(abi_viommu_alloc, type, 0), AT(abi_viommu_alloc, dev_id, NOBODY)}},
		{-ENOENT, {AT(abi_viommu_alloc, dev_id, NOBODY), AT(abi_viommu_alloc, type, 77)}},
		{-EOPNOTSUPP, {AT(abi_viommu_alloc, type, 77), AT(abi_viommu_alloc, hwpt_id, NOBODY)}},
		{-ENOENT, {AT(abi_viommu_alloc, hwpt_id, NOBODY)}},
		{-ENOENT, {AT(abi_viommu_alloc, hwpt_id, IOAS)}},
		{-ENOENT, {AT(abi_viommu_alloc, hwpt_id, NESTED)}},
		{-EINVAL, {AT(abi_viommu_alloc, hwpt_id, PLAIN)}},
		{0, {AT(abi_viommu_alloc, reserved, 1)}},
	};
	static const struct probe of_vdevice[] = {
		{-ENOENT, {AT(abi_vdevice_alloc, viommu_id, NOBODY)}}, {-ENOENT, {AT(abi_vdevice_alloc, viommu_id, PARENT)}},
		{-ENOENT, {AT(abi_vdevice_alloc, dev_id, NOBODY)}},    {-ENOENT, {AT(abi_vdevice_alloc, dev_id, IOAS)}},
		{-EEXIST, {AT(abi_vdevice_alloc, dev_id, DEVICE)}},    {-EEXIST, {AT(abi_vdevice_alloc, virt_id, VIRT_ID)}},
		{0, {AT(abi_vdevice_alloc, virt_id, VIRT_ID + 1)}},    {-EEXIST, {AT(abi_vdevice_alloc, virt_id, VIRT_ID + 2)}},
	};

	(void)state;
	PROBE(ABI_VIOMMU_ALLOC, &viommu, of_viommu);
	PROBE(ABI_VDEVICE_ALLOC, &vdevice, of_vdevice);
}

static void queues(void **state)
{
	const struct abi_veventq_alloc events = {
		.size = sizeof(events), .type = 77, .veventq_depth = 1, .viommu_id = (uint32_t)numbers[VIOMMU - TOKEN]};
	const struct abi_hw_queue_alloc queue = {
		.size = sizeof(queue), .type = 1, .length = PAGE, .viommu_id = (uint32_t)numbers[VIOMMU - TOKEN]};
	static const struct probe of_events[] = {
		{-EOPNOTSUPP, {AT(abi_veventq_alloc, flags, 1), AT(abi_veventq_alloc, veventq_depth, 0)}},
		{-EOPNOTSUPP, {AT(abi_veventq_alloc, reserved, 1), AT(abi_veventq_alloc, veventq_depth, 0)}},
		{-EOPNOTSUPP, {AT(abi_veventq_alloc, type, 0), AT(abi_veventq_alloc, veventq_depth, 0)}},
		{-EINVAL, {AT(abi_veventq_alloc, veventq_depth, 0), AT(abi_veventq_alloc, viommu_id, NOBODY)}},
		{-EINVAL, {AT(abi_veventq_alloc, veventq_depth, (1 << 19) + 1), AT(abi_veventq_alloc, viommu_id, NOBODY)}},
		{-ENOENT, {AT(abi_veventq_alloc, viommu_id, NOBODY)}},
		{-EEXIST, {AT(abi_veventq_alloc, type, ABI_VEVENTQ_ARM_SMMUV3)}},
		{0, {AT(abi_veventq_alloc, veventq_depth, 1 << 19)}},
		{-EEXIST, {AT(abi_veventq_alloc, veventq_depth, 1)}},
	};
	static const struct probe of_queue[] = {
		{-EOPNOTSUPP, {AT(abi_hw_queue_alloc, flags, 1), AT(abi_hw_queue_alloc, length, 0)}},
		{-EOPNOTSUPP, {AT(abi_hw_queue_alloc, type, 0), AT(abi_hw_queue_alloc, length, 0)}},
		{-EINVAL, {AT(abi_hw_queue_alloc, length, 0), AT(abi_hw_queue_alloc, viommu_id, NOBODY)}},
		{-EOVERFLOW, {AT(abi_hw_queue_alloc, nesting_parent_iova, UINT64_MAX), AT(abi_hw_queue_alloc, viommu_id, NOBODY)}},
		/* The last byte of all may be the queue's. */
		{-ENOENT,
		 {AT(abi_hw_queue_alloc, nesting_parent_iova, UINT64_MAX - PAGE + 1), AT(abi_hw_queue_alloc, viommu_id, NOBODY)}},
		{-EOPNOTSUPP, {AT(abi_hw_queue_alloc, type, 1)}},
	};

	(void)state;
	PROBE(ABI_VEVENTQ_ALLOC, &events, of_events);
	PROBE(ABI_HW_QUEUE_ALLOC, &queue, of_queue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sizes, all_setup, all_teardown),
		cmocka_unit_test_setup_teardown(destroys, all_setup, all_teardown),
		cmocka_unit_test_setup_teardown(maps, all_setup, all_teardown),
		cmocka_unit_test_setup_teardown(map_files, all_setup, all_teardown),
		cmocka_unit_test_setup_teardown(copies, all_setup, all_teardown),
		cmocka_unit_test_setup_teardown(unmaps, all_setup, all_teardown),
		cmocka_unit_test_setup_teardown(ranges, all_setup, all_teardown),
		cmocka_unit_test_setup_teardown(options, all_setup, all_teardown),
		cmocka_unit_test_setup_teardown(smaller_ones, all_setup, all_teardown),
		cmocka_unit_test_setup_teardown(hwpts, all_setup, all_teardown),
		cmocka_unit_test_setup_teardown(nested_hwpts, all_setup, all_teardown),
		cmocka_unit_test_setup_teardown(stes, all_setup, all_teardown),
		cmocka_unit_test_setup_teardown(invalidations, all_setup, all_teardown),
		cmocka_unit_test_setup_teardown(commands_are_read_together, all_setup, all_teardown),
		cmocka_unit_test_setup_teardown(dirty, all_setup, all_teardown),
		cmocka_unit_test_setup_teardown(hw_info, all_setup, all_teardown),
		cmocka_unit_test_setup_teardown(viommus, all_setup, all_teardown),
		cmocka_unit_test_setup_teardown(queues, all_setup, all_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of an iommufd with the selftests' devices. */
#include "fail_nth.h"

#include <linux/vfio.h>
#include <uiommu/uiommu.h>

#include "abi/spec.h"
#include "util/util.h"

static int abi(const struct world *w, unsigned int number, void *arguments)
{
	return uiommu_ioctl(w->iommufd, ABI_COMMAND(number), arguments);
}

static int call_abi_open(struct world *w)
{
	const struct uiommu_abi_options options = {.size = sizeof(options), .flags = UIOMMU_ABI_MOCK};

	w->event_fd = -1;
	w->iommufd = uiommu_abi_open("/dev/iommu", &options);
	return w->iommufd < 0 ? w->iommufd : 0;
}

static void end_abi(struct world *w)
{
	if (w->event_fd >= 0)
		assert_int_equal(uiommu_abi_close(w->event_fd), 0);
	assert_int_equal(uiommu_abi_close(w->iommufd), 0);
}

static int call_abi_ioas(struct world *w)
{
	struct abi_ioas_alloc arguments = {.size = sizeof(arguments)};
	int error = abi(w, ABI_IOAS_ALLOC, &arguments);

	w->abi_ioas = error ? w->abi_ioas : arguments.out_ioas_id;
	return error;
}

/* struct mock_command: MOCK_DOMAIN_FLAGS. */
static int call_abi_device(struct world *w)
{
	uint32_t words[18] = {72, 12, w->abi_ioas, 0, 0, 0, 0, 4};
	int error = abi(w, ABI_TEST, words);

	w->abi_device = error ? w->abi_device : words[6];
	return error;
}

static int before_abi_device(struct world *w)
{
	return call_abi_open(w) || call_abi_ioas(w);
}

static int before_abi(struct world *w)
{
	return before_abi_device(w) || call_abi_device(w);
}

static int call_abi_map(struct world *w)
{
	struct abi_ioas_map arguments = {.size = sizeof(arguments),
					 .flags = 7,
					 .ioas_id = w->abi_ioas,
					 .user_va = (uint64_t)(uintptr_t)w->memory,
					 .length = w->page,
					 .iova = 1 << 24};

	return abi(w, ABI_IOAS_MAP, &arguments);
}

static int before_abi_map(struct world *w)
{
	return before_abi(w) || call_abi_map(w);
}

static int call_abi_map_file(struct world *w)
{
	struct abi_ioas_map_file arguments = {
		.size = sizeof(arguments), .flags = 7, .ioas_id = w->abi_ioas, .fd = w->fd, .length = w->page, .iova = 1 << 24};

	return abi(w, ABI_IOAS_MAP_FILE, &arguments);
}

static int call_abi_copy(struct world *w)
{
	struct abi_ioas_copy arguments = {.size = sizeof(arguments),
					  .flags = 7,
					  .dst_ioas_id = w->abi_ioas,
					  .src_ioas_id = w->abi_ioas,
					  .length = w->page,
					  .src_iova = 1 << 24,
					  .dst_iova = 1 << 25};

	return abi(w, ABI_IOAS_COPY, &arguments);
}

/* What is mapped is pinned when the device comes. */
static int before_abi_attach(struct world *w)
{
	return before_abi_device(w) || call_abi_map(w);
}

static int abi_hwpt(struct world *w, uint32_t flags, uint32_t pt_id, const uint32_t *data)
{
	struct abi_hwpt_alloc arguments = {.size = sizeof(arguments),
					   .flags = flags,
					   .dev_id = w->abi_device,
					   .pt_id = pt_id,
					   .data_type = data ? 0xdead : 0,
					   .data_len = data ? 4 : 0,
					   .data_uptr = (uint64_t)(uintptr_t)data};
	int error = abi(w, ABI_HWPT_ALLOC, &arguments);

	w->made = error ? w->made : arguments.out_hwpt_id;
	return error;
}

static int call_abi_hwpt(struct world *w)
{
	return abi_hwpt(w, ABI_HWPT_NEST_PARENT, w->abi_ioas, NULL);
}

static int before_abi_nested(struct world *w)
{
	int error = before_abi(w) || call_abi_hwpt(w);

	w->abi_parent = w->made;
	return error;
}

static int call_abi_nested(struct world *w)
{
	return abi_hwpt(w, 0, w->abi_parent, &(uint32_t){1});
}

static int call_abi_fault_queue(struct world *w)
{
	struct abi_fault_alloc arguments = {.size = sizeof(arguments)};
	int error = abi(w, ABI_FAULT_QUEUE_ALLOC, &arguments);

	w->event_fd = error ? -1 : (int)arguments.out_fault_fd;
	return error;
}

static int call_abi_viommu(struct world *w)
{
	struct {
		uint32_t in, out;
		uint64_t offset, length;
	} data = {.in = 1};
	struct abi_viommu_alloc arguments = {.size = sizeof(arguments),
					     .type = 0xdeadbeef,
					     .dev_id = w->abi_device,
					     .hwpt_id = w->abi_parent,
					     .data_len = sizeof(data),
					     .data_uptr = (uint64_t)(uintptr_t)&data};
	int error = abi(w, ABI_VIOMMU_ALLOC, &arguments);

	w->made = error ? w->made : arguments.out_viommu_id;
	return error;
}

static int before_abi_viommu(struct world *w)
{
	return before_abi_nested(w) || call_abi_viommu(w);
}

static int call_abi_vdevice(struct world *w)
{
	struct abi_vdevice_alloc arguments = {
		.size = sizeof(arguments), .viommu_id = w->made, .dev_id = w->abi_device, .virt_id = 5};

	return abi(w, ABI_VDEVICE_ALLOC, &arguments);
}

static int call_abi_veventq(struct world *w)
{
	struct abi_veventq_alloc arguments = {
		.size = sizeof(arguments), .viommu_id = w->made, .type = 0xbeefbeef, .veventq_depth = 4};
	int error = abi(w, ABI_VEVENTQ_ALLOC, &arguments);

	w->event_fd = error ? -1 : (int)arguments.out_veventq_fd;
	return error;
}

static int before_abi_hw_queue(struct world *w)
{
	return before_abi_map(w) || call_abi_hwpt(w) || ((w->abi_parent = w->made) && call_abi_viommu(w));
}

static int call_abi_hw_queue(struct world *w)
{
	struct abi_hw_queue_alloc arguments = {.size = sizeof(arguments),
					       .viommu_id = w->made,
					       .type = 0xdeadbeef,
					       .nesting_parent_iova = 1 << 24,
					       .length = w->page};

	return abi(w, ABI_HW_QUEUE_ALLOC, &arguments);
}

/* struct mock_command: CREATE_ACCESS, and ACCESS_PAGES. */
static int call_abi_access(struct world *w)
{
	uint32_t words[18] = {72, 5, w->abi_ioas, 0, 0, 1};
	int error = abi(w, ABI_TEST, words);

	w->event_fd = error ? -1 : (int)words[4];
	return error;
}

static int before_abi_pages(struct world *w)
{
	return before_abi_map(w) || call_abi_access(w);
}

static int call_abi_pages(struct world *w)
{
	uint32_t words[18] = {72, 7, (uint32_t)w->event_fd};
	uint64_t range[] = {1 << 24, w->page, (uint64_t)(uintptr_t)w->memory};

	memcpy(&words[6], range, sizeof(range));
	return abi(w, ABI_TEST, words);
}

/* VFIO's TYPE1: an area is cut. */
static int before_abi_cut(struct world *w)
{
	struct abi_ioas_map arguments = {.size = sizeof(arguments), .flags = 7, .length = 4 * w->page, .iova = 1 << 24};
	struct abi_vfio_ioas ioas = {.size = sizeof(ioas), .op = ABI_VFIO_IOAS_SET};
	int error = before_abi(w);

	arguments.ioas_id = ioas.ioas_id = w->abi_ioas;
	arguments.user_va = (uint64_t)(uintptr_t)w->memory;
	if (!error)
		error = abi(w, ABI_VFIO_IOAS, &ioas);
	if (!error)
		error = uiommu_ioctl(w->iommufd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1_IOMMU);
	return error ? error : abi(w, ABI_IOAS_MAP, &arguments);
}

static int call_abi_cut(struct world *w)
{
	struct vfio_iommu_type1_dma_unmap arguments = {.argsz = sizeof(arguments), .iova = (1 << 24) + w->page, .size = w->page};

	return uiommu_ioctl(w->iommufd, VFIO_IOMMU_UNMAP_DMA, &arguments);
}

void iommufd_commands(void **state)
{
	static const struct scenario scenarios[] = {
		{"iommufd", call_abi_open, end_abi, NULL},
		{"IOAS_ALLOC", call_abi_ioas, end_abi, before_abi},
		{"a device", call_abi_device, end_abi, before_abi_device},
		{"IOAS_MAP", call_abi_map, end_abi, before_abi},
		{"IOAS_MAP_FILE", call_abi_map_file, end_abi, before_abi},
		{"IOAS_COPY", call_abi_copy, end_abi, before_abi_map},
		{"a device that pins", call_abi_device, end_abi, before_abi_attach},
		{"HWPT_ALLOC", call_abi_hwpt, end_abi, before_abi},
		{"HWPT_ALLOC nested", call_abi_nested, end_abi, before_abi_nested},
		{"FAULT_QUEUE_ALLOC", call_abi_fault_queue, end_abi, before_abi},
		{"VIOMMU_ALLOC", call_abi_viommu, end_abi, before_abi_nested},
		{"VDEVICE_ALLOC", call_abi_vdevice, end_abi, before_abi_viommu},
		{"VEVENTQ_ALLOC", call_abi_veventq, end_abi, before_abi_viommu},
		{"HW_QUEUE_ALLOC", call_abi_hw_queue, end_abi, before_abi_hw_queue},
		{"an access", call_abi_access, end_abi, before_abi},
		{"pinned pages", call_abi_pages, end_abi, before_abi_pages},
		{"VFIO unmap that cuts", call_abi_cut, end_abi, before_abi_cut},
	};

	sweep_all(*state, scenarios, ARRAY_SIZE(scenarios));
}

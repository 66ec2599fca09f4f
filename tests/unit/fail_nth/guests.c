/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands of an iommufd with a device that is a real one, and what it does: nested HWPTs, invalidations, events, page requests. */
#include "fail_nth.h"

#include <linux/vfio.h>
#include <sys/mman.h>

#include "abi/iommufd.h"
#include "abi/local.h"
#include "abi/spec.h"
#include "iommu/viommu.h"
#include "util/util.h"

/* In the file's memory: a page for each. */
enum { GPA = 1 << 30, CD = 0, TABLE = 1, DATA = 2, VIRT_ID = 5 };

static struct {
	struct uiommu_context *context;
	struct uiommu_device *device;
	uint32_t device_id, nested, viommu, fault_queue, veventq;
	uint64_t bits[4];
	unsigned int asked; /* page requests without an answer */
} g;

static int abi(const struct world *w, unsigned int number, void *arguments)
{
	return uiommu_ioctl(w->iommufd, ABI_COMMAND(number), arguments);
}

static void end_guest(struct world *w)
{
	uiommu_device_put(g.device);
	if (w->event_fd >= 0)
		assert_int_equal(uiommu_abi_close(w->event_fd), 0);
	assert_int_equal(uiommu_abi_close(w->iommufd), 0);
	assert_int_equal(g.asked, 0);
}

/* Page tables for address 0 of each architecture, in the file that is mapped. */
static void write_tables(const struct world *w)
{
	uint8_t *memory = mmap(NULL, PAGES * w->page, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
	const uint64_t cd[4] = {25 | UINT64_C(1) << 30 | UINT64_C(1) << 31 | UINT64_C(5) << 32 | UINT64_C(1) << 41 |
					UINT64_C(3) << 45,
				GPA + TABLE * w->page, 0, 0xff};
	const uint64_t block = GPA | 0x401 | 1 << 6; /* a gigabyte */

	assert_ptr_not_equal(memory, MAP_FAILED);
	memset(memory, 0, PAGES * w->page);
	memcpy(memory + CD * w->page, cd, sizeof(cd));
	memcpy(memory + TABLE * w->page, &block, sizeof(block));
	munmap(memory, PAGES * w->page);
}

static int before_device(struct world *w)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .rid = 8, .name = "dma0", .pasid_bits = 8};
	struct abi_ioas_alloc ioas = {.size = sizeof(ioas)};
	struct abi_file *file;
	int error;

	g.asked = 0;
	w->event_fd = -1;
	w->iommufd = uiommu_abi_open("/dev/iommu", NULL);
	if (w->iommufd < 0)
		return w->iommufd;
	file = abi_local_file(w->iommufd);
	g.context = iommufd_context(file);
	abi_file_put(file);
	error = uiommu_device_alloc(g.context, &config, &g.device_id);
	g.device = error ? NULL : uiommu_device_get(g.context, g.device_id);
	if (!error)
		error = abi(w, ABI_IOAS_ALLOC, &ioas);
	w->abi_ioas = ioas.out_ioas_id;
	write_tables(w);
	return error;
}

static int call_map(struct world *w)
{
	struct abi_ioas_map_file map = {
		.size = sizeof(map), .flags = 7, .ioas_id = w->abi_ioas, .fd = w->fd, .length = PAGES * w->page, .iova = GPA};

	return abi(w, ABI_IOAS_MAP_FILE, &map);
}

static int alloc(struct world *w, struct abi_hwpt_alloc *arguments, uint32_t *id)
{
	int error;

	arguments->size = sizeof(*arguments);
	arguments->dev_id = g.device_id;
	error = abi(w, ABI_HWPT_ALLOC, arguments);
	if (!error)
		*id = arguments->out_hwpt_id;
	return error;
}

static int before_parent(struct world *w)
{
	struct abi_hwpt_alloc parent = {.flags = ABI_HWPT_NEST_PARENT};
	int error = before_device(w) || call_map(w);

	parent.pt_id = w->abi_ioas;
	return error ? error : alloc(w, &parent, &w->abi_parent);
}

static int before_map(struct world *w)
{
	return before_device(w) || call_map(w);
}

/* --- what an IOAS is asked --- */

static int call_allow(struct world *w)
{
	struct uiommu_range ranges[] = {{0, 4095}, {1 << 24, (1 << 28) - 1}};
	struct abi_ioas_allow_iovas allow = {
		.size = sizeof(allow), .ioas_id = w->abi_ioas, .num_iovas = 2, .allowed_iovas = (uint64_t)(uintptr_t)ranges};

	return abi(w, ABI_IOAS_ALLOW_IOVAS, &allow);
}

static int call_ranges(struct world *w)
{
	struct uiommu_range ranges[4];
	struct abi_ioas_iova_ranges get = {
		.size = sizeof(get), .ioas_id = w->abi_ioas, .num_iovas = 4, .allowed_iovas = (uint64_t)(uintptr_t)ranges};

	return abi(w, ABI_IOAS_IOVA_RANGES, &get);
}

static int before_vfio(struct world *w)
{
	struct abi_vfio_ioas ioas = {.size = sizeof(ioas), .op = ABI_VFIO_IOAS_SET};
	int error = before_device(w);

	ioas.ioas_id = w->abi_ioas;
	return error ? error : abi(w, ABI_VFIO_IOAS, &ioas);
}

static int call_vfio_map(struct world *w)
{
	struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map),
					       .flags = VFIO_DMA_MAP_FLAG_READ,
					       .vaddr = (uint64_t)(uintptr_t)w->memory,
					       .iova = 1 << 24,
					       .size = w->page};

	return uiommu_ioctl(w->iommufd, VFIO_IOMMU_MAP_DMA, &map);
}

static int call_vfio_info(struct world *w)
{
	uint8_t info[128] = {sizeof(info)};

	return uiommu_ioctl(w->iommufd, VFIO_IOMMU_GET_INFO, info);
}

/* --- HWPTs --- */

static int call_attach_ioas(struct world *w)
{
	return uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, w->abi_ioas);
}

static int before_dirty(struct world *w)
{
	struct abi_hwpt_alloc hwpt = {.flags = ABI_HWPT_DIRTY_TRACKING};
	int error = before_map(w);

	hwpt.pt_id = w->abi_ioas;
	if (!error)
		error = alloc(w, &hwpt, &w->made);
	return error ? error : uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, w->made);
}

/* All that is written while it is on is found. */
static int call_dirty(struct world *w)
{
	struct abi_hwpt_set_dirty_tracking set = {.size = sizeof(set), .flags = 1, .hwpt_id = w->made};
	struct abi_hwpt_get_dirty_bitmap get = {.size = sizeof(get),
						.hwpt_id = w->made,
						.iova = GPA,
						.length = PAGES * w->page,
						.page_size = w->page,
						.data = (uint64_t)(uintptr_t)g.bits};
	int error = abi(w, ABI_HWPT_SET_DIRTY_TRACKING, &set);

	if (error)
		return error;
	memset(g.bits, 0, sizeof(g.bits));
	error = uiommu_dma_write(g.device, UIOMMU_NO_PASID, GPA + DATA * w->page, &error, 4, NULL)
			? -ENOMEM
			: abi(w, ABI_HWPT_GET_DIRTY_BITMAP, &get);
	if (!error)
		assert_int_equal(g.bits[0], 1 << DATA);
	return error;
}

static int nested(struct world *w, uint32_t type, uint32_t flags, uint32_t pt_id)
{
	const uint64_t data[3][4] = {
		{0, GPA + TABLE * w->page, 48},
		{1 | 5 << 1 | (GPA + CD * w->page) | UINT64_C(4) << 59, 2},
		{3 | UINT64_C(3) << 54 | ((uint64_t)GPA >> 12 & 7) << 58 | UINT64_C(3) << 61,
		 5 | ((uint64_t)GPA >> 15 & 0xffff) << 16 | ((uint64_t)GPA >> 31) << 43},
	};
	const uint32_t lengths[] = {24, 16, 32};
	struct abi_hwpt_alloc hwpt = {.flags = flags,
				      .pt_id = pt_id,
				      .data_type = type,
				      .data_len = lengths[type - 1],
				      .data_uptr = (uint64_t)(uintptr_t)data[type - 1],
				      .fault_id = g.fault_queue};

	return alloc(w, &hwpt, &g.nested);
}

static int call_vtd(struct world *w)
{
	return nested(w, ABI_HWPT_DATA_VTD_S1, 0, w->abi_parent);
}

static int call_arm(struct world *w)
{
	return nested(w, ABI_HWPT_DATA_ARM_SMMUV3, 0, w->abi_parent);
}

static int call_arm_pasid(struct world *w)
{
	return nested(w, ABI_HWPT_DATA_ARM_SMMUV3, ABI_HWPT_PASID, w->abi_parent);
}

static int call_amd(struct world *w)
{
	return nested(w, ABI_HWPT_DATA_AMD_GUEST, 0, w->abi_parent);
}

static int before_viommu(struct world *w)
{
	struct abi_viommu_alloc viommu = {.size = sizeof(viommu), .type = ABI_VIOMMU_ARM_SMMUV3, .dev_id = g.device_id};
	struct abi_vdevice_alloc vdevice = {.size = sizeof(vdevice), .virt_id = VIRT_ID};
	struct abi_fault_alloc queue = {.size = sizeof(queue)};
	int error = before_parent(w);

	viommu.hwpt_id = w->abi_parent;
	viommu.dev_id = vdevice.dev_id = g.device_id;
	if (!error)
		error = abi(w, ABI_VIOMMU_ALLOC, &viommu);
	g.viommu = vdevice.viommu_id = viommu.out_viommu_id;
	if (!error)
		error = abi(w, ABI_VDEVICE_ALLOC, &vdevice);
	if (!error)
		error = abi(w, ABI_FAULT_QUEUE_ALLOC, &queue);
	w->event_fd = error ? -1 : (int)queue.out_fault_fd;
	g.fault_queue = queue.out_fault_id;
	return error ? error : nested(w, ABI_HWPT_DATA_ARM_SMMUV3, ABI_HWPT_FAULT_ID_VALID, g.viommu);
}

static int call_attach_tables(struct world *w)
{
	(void)w;
	return uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, g.nested);
}

static int before_attached(struct world *w)
{
	return before_viommu(w) || call_attach_tables(w);
}

/* By the parent, and back: after a failure what was attached is. */
static int call_replace(struct world *w)
{
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};
	uint32_t before, to;
	int error;

	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, UIOMMU_NO_PASID, &stats), 0);
	before = stats.hwpt_id;
	to = before == g.nested ? w->abi_parent : g.nested;
	error = uiommu_replace(g.context, g.device_id, UIOMMU_NO_PASID, to);
	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, UIOMMU_NO_PASID, &stats), 0);
	assert_int_equal(stats.hwpt_id, error ? before : to);
	return error;
}

/* Its CD is decoded. */
static int call_access(struct world *w)
{
	uint64_t value;

	(void)w;
	return uiommu_dma_read(g.device, UIOMMU_NO_PASID, 0, &value, 8, NULL) ? -ENOMEM : 0;
}

static int call_invalidate(struct world *w)
{
	const uint64_t commands[2][2] = {{0x06 | (uint64_t)VIRT_ID << 32}, {0x10}};
	struct abi_hwpt_invalidate invalidate = {.size = sizeof(invalidate),
						 .hwpt_id = g.viommu,
						 .data_uptr = (uint64_t)(uintptr_t)commands,
						 .data_type = ABI_VIOMMU_INVALIDATE_ARM_SMMUV3,
						 .entry_len = 16,
						 .entry_num = 2};

	return abi(w, ABI_HWPT_INVALIDATE, &invalidate);
}

/* --- faults --- */

static int before_events(struct world *w)
{
	struct abi_veventq_alloc queue = {.size = sizeof(queue), .type = ABI_VEVENTQ_ARM_SMMUV3, .veventq_depth = 8};
	int error = before_attached(w) || call_access(w);

	queue.viommu_id = g.viommu;
	if (!error)
		error = abi(w, ABI_VEVENTQ_ALLOC, &queue);
	g.veventq = queue.out_veventq_id;
	if (!error) {
		assert_int_equal(uiommu_abi_close(w->event_fd), 0);
		w->event_fd = (int)queue.out_veventq_fd;
	}
	return error;
}

/* One that there is no memory for is lost, and that is told. Two are there if reading the first one was what failed. */
static int call_event(struct world *w)
{
	uint64_t record[16], value;
	ssize_t size;

	assert_int_equal(uiommu_dma_read(g.device, UIOMMU_NO_PASID, UINT64_C(3) << 30, &value, 8, NULL), -EFAULT);
	size = uiommu_abi_read(w->event_fd, record, sizeof(record), 0);
	if (size == -ENOMEM)
		return (int)size;
	assert_true(size == 8 || size == 40 || size == 80);
	assert_int_equal((uint32_t)record[0], size == 8);
	return 0;
}

static void answered(void *opaque, unsigned int response)
{
	(void)opaque;
	(void)response;
	g.asked--;
}

static int call_page_request(struct world *w)
{
	struct uiommu_dma_op op = {.address = UINT64_C(3) << 30,
				   .buffer = (uint8_t[8]){0},
				   .length = 8,
				   .pasid = UIOMMU_NO_PASID,
				   .flags = UIOMMU_DMA_RECOVERABLE};
	int error;

	(void)w;
	uiommu_dma_readv(g.device, &op, 1);
	if (!(op.result.fault.flags & UIOMMU_FAULT_RECOVERABLE))
		return -ENOMEM;
	g.asked++;
	error = uiommu_dma_page_request(g.device, &op.result.fault, answered, NULL);
	if (error)
		g.asked--;
	return error;
}

/* Without CD.S nobody waits. */
static int before_stalls(struct world *w)
{
	uint64_t *cd = mmap(NULL, w->page, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
	int error = before_attached(w);

	*cd |= UINT64_C(1) << 44;
	munmap(cd, w->page);
	return error ? error : call_invalidate(w) || call_access(w);
}

void guests(void **state)
{
	static const struct scenario scenarios[] = {
		{"IOAS_ALLOW_IOVAS", call_allow, end_guest, before_device},
		{"IOAS_IOVA_RANGES", call_ranges, end_guest, before_device},
		{"VFIO_IOMMU_MAP_DMA", call_vfio_map, end_guest, before_vfio},
		{"VFIO_IOMMU_GET_INFO", call_vfio_info, end_guest, before_vfio},
		{"attaching to an IOAS", call_attach_ioas, end_guest, before_map},
		{"dirty tracking", call_dirty, end_guest, before_dirty},
		{"HWPT_ALLOC of VT-d", call_vtd, end_guest, before_parent},
		{"HWPT_ALLOC of SMMUv3", call_arm, end_guest, before_parent},
		{"HWPT_ALLOC of SMMUv3 for a PASID", call_arm_pasid, end_guest, before_parent},
		{"HWPT_ALLOC of AMD", call_amd, end_guest, before_parent},
		{"attaching a CD table", call_attach_tables, end_guest, before_viommu},
		{"replacing it, and by it", call_replace, end_guest, before_attached},
		{"an access that looks up a CD", call_access, end_guest, before_attached},
		{"an event", call_event, end_guest, before_events},
		{"a page request", call_page_request, end_guest, before_stalls},
	};

	sweep_all(*state, scenarios, ARRAY_SIZE(scenarios));
}

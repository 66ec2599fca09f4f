/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest that does with a VT-d whatever it likes: registers, queues and tables in its own memory, and a device that does DMA
 * meanwhile. Nothing may be touched outside of that memory, and no call may go on for ever.
 *
 * The input is a byte that says how the unit is set up, and then struct step after struct step.
 */
#include "fuzz.h"

#include <sys/mman.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 16, BYTES = PAGES * PAGE, STEPS = 64, SOURCE_ID = 8, TURNS = 1000 };

struct step {
	uint8_t kind;
	uint8_t size;
	uint16_t where;
	uint64_t data;
} __attribute__((packed));

static struct {
	struct uiommu_context *context;
	struct uiommu_device *device;
	struct uiommu_vtd *vtd[2]; /* all that there is to offer, and next to nothing */
	uint32_t device_id;
	uint64_t *words;
	unsigned long interrupts;
} f;

static void on_interrupt(void *opaque, uint64_t address, uint32_t data)
{
	(void)address;
	(void)data;
	CHECK(opaque == &f);
	f.interrupts++;
}

static void on_work(void *opaque)
{
	CHECK(opaque == &f);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct uiommu_device_config device = {.size = sizeof(device), .rid = 1, .name = "nic", .pasid_bits = 20};
	struct uiommu_ioas_map map = {.size = sizeof(map),
				      .flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
				      .source = UIOMMU_MAP_FILE,
				      .length = BYTES};
	struct uiommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .type = UIOMMU_HWPT_PAGING, .flags = UIOMMU_HWPT_NEST_PARENT, .iotlb_entries = 256};
	struct uiommu_vtd_config config = {.size = sizeof(config), .interrupt = on_interrupt, .work = on_work, .opaque = &f};

	(void)argc;
	(void)argv;
	CHECK(!uiommu_install_fault_handler());
	map.fd = memfd_create("ram", MFD_CLOEXEC);
	CHECK(map.fd >= 0 && !ftruncate(map.fd, BYTES));
	f.words = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, map.fd, 0);
	CHECK(f.words != MAP_FAILED);
	CHECK(!uiommu_open(NULL, &f.context));
	CHECK(!uiommu_ioas_alloc(f.context, &map.ioas_id));
	CHECK(!uiommu_ioas_map(f.context, &map));
	alloc.parent_id = map.ioas_id;
	CHECK(!uiommu_hwpt_alloc(f.context, &alloc, &config.parent_id));
	CHECK(!uiommu_device_alloc(f.context, &device, &f.device_id));
	f.device = uiommu_device_get(f.context, f.device_id);
	config.capabilities = UIOMMU_VTD_DEFAULT_CAPABILITIES | UIOMMU_VTD_TABLES_5_LEVEL | UIOMMU_VTD_TABLES_RID_PASID |
			      UIOMMU_VTD_TABLES_EXTENDED_ACCESSED | UIOMMU_VTD_TABLES_RID_PRIV;
	CHECK(!uiommu_vtd_create(f.context, &config, &f.vtd[0]));
	config.capabilities = UIOMMU_VTD_TABLES_3_LEVEL;
	config.fault_records = 1;
	config.host_bits = 32;
	config.flags = UIOMMU_VTD_SOFT_ROOT;
	CHECK(!uiommu_vtd_create(f.context, &config, &f.vtd[1]));
	return 0;
}

/* Tables that lead on: root, context, directory, PASID table, one page table that is its own next level; a queue of two pages. */
static void set_up(struct uiommu_vtd *vtd, unsigned int how)
{
	bool wide = how & 1;

	f.words[0] = PAGE | 1;
	f.words[512 + SOURCE_ID * 4] = 2 * PAGE | 0x1d;
	f.words[2 * 512] = 3 * PAGE | 1;
	for (uint64_t pasid = 0; pasid < 4; pasid++) {
		uint64_t *entry = f.words + 3 * 512 + pasid * 8;

		entry[0] = 4 * PAGE | (pasid + 1) << 6 | 2 << 2 | 1;
		entry[2] = 4 * PAGE;
	}
	for (uint64_t i = 0; i < PAGES; i++)
		f.words[4 * 512 + i] = i * PAGE | 0x67;
	uiommu_vtd_write(vtd, 0x20, 8, wide ? 1 << 10 : 0);
	uiommu_vtd_write(vtd, 0x90, 8, 8 * PAGE | (wide ? 1 << 11 : 0) | 1);
	uiommu_vtd_write(vtd, 0xd0, 8, 10 * PAGE);
	if (how & 2)
		uiommu_vtd_write(vtd, 0x18, 4, 1 << 30);
	if (how & 4)
		uiommu_vtd_write(vtd, 0x18, 4, UINT32_C(1) << 31 | UINT32_C(1) << 26);
	if (how & 8)
		uiommu_vtd_write(vtd, 0x38, 4, 0);
}

/* As a device that waits for its page does, but for the waiting. */
static unsigned int outstanding;

static void answered(void *opaque, unsigned int response)
{
	CHECK(opaque == &f && response <= UIOMMU_RESPONSE_FAILURE && outstanding);
	outstanding--;
}

static void ask(const struct uiommu_fault *fault)
{
	if (fault->flags & UIOMMU_FAULT_RECOVERABLE && !uiommu_dma_page_request(f.device, fault, answered, &f))
		outstanding++;
}

static void run(struct uiommu_vtd *vtd)
{
	unsigned int turns = 0;

	while (uiommu_vtd_run(vtd))
		CHECK(++turns < TURNS);
}

static void access_memory(const struct step *step)
{
	static const uint32_t pasids[] = {UIOMMU_NO_PASID, 0, 1, 2, 3, 4, 0x1fff, 0xfffff, 0x100000};
	uint32_t pasid = pasids[step->size % (sizeof(pasids) / sizeof(*pasids))];
	struct uiommu_dma_op op = {.address = step->data, .length = step->where % 64, .pasid = pasid};
	uint8_t bytes[64] = {0};

	op.buffer = bytes;
	op.flags = step->kind & 16 ? UIOMMU_DMA_RECOVERABLE : 0;
	if (step->kind & 8)
		(void)uiommu_dma_writev(f.device, &op, 1);
	else
		(void)uiommu_dma_readv(f.device, &op, 1);
	CHECK(op.result.done <= sizeof(bytes));
	ask(&op.result.fault);
}

static void do_step(struct uiommu_vtd *vtd, const struct step *step)
{
	switch (step->kind & 7) {
	case 0:
	case 1:
		uiommu_vtd_write(vtd, step->where & 0xfff, 1 + step->size % 8, step->data);
		run(vtd);
		break;
	case 2:
		uiommu_vtd_write(vtd, (step->where & 0x3f) * 4, step->size & 1 ? 8 : 4, step->data);
		run(vtd);
		break;
	case 3:
		(void)uiommu_vtd_read(vtd, step->where, 1 + step->size % 8);
		break;
	case 4:
	case 5:
		f.words[step->where % (BYTES / 8)] = step->data;
		break;
	case 6: /* a descriptor, and the tail behind it */
		f.words[8 * 512 + (step->where & 0x3fc) + (step->size & 1)] = step->data;
		uiommu_vtd_write(vtd, 0x88, 8, ((step->where & 0x3fcU) * 8 + 32) & 0x1fff);
		run(vtd);
		break;
	default:
		access_memory(step);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct uiommu_vtd *vtd;
	struct step step;

	if (!size)
		return -1;
	vtd = f.vtd[data[0] >> 7];
	memset(f.words, 0, BYTES);
	CHECK(!uiommu_vtd_add(vtd, f.device_id, SOURCE_ID));
	set_up(vtd, data[0]);
	run(vtd);
	for (size_t at = 1, steps = 0; at + sizeof(step) <= size && steps < STEPS; at += sizeof(step), steps++) {
		memcpy(&step, data + at, sizeof(step));
		do_step(vtd, &step);
	}
	CHECK(!uiommu_vtd_reset(vtd));
	CHECK(!uiommu_vtd_remove(vtd, f.device_id));
	CHECK(!outstanding);
	CHECK(uiommu_vtd_read(vtd, 0x1c, 4) == 0 && uiommu_vtd_read(vtd, 0x34, 4) == 0);
	return 0;
}

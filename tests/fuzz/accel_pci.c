/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The accelerator's function, and a virtual device of its engine in another guest's hands: config space, registers, doorbells,
 * rings and records.
 *
 * The input is struct step after struct step, which begin with pages that are enabled and rings that are there.
 */
#include "function.h"

enum { FUNCTION_PAGES = 4, FUNCTIONS = 2, QUOTA = 4 };

static struct uiommu_pci *functions[FUNCTIONS];
static struct uiommu_pasid_set *set;

/* Its guest's PASIDs 1 and 2 have all that the other one's have, and so have no others. */
static void make_virtual(void)
{
	const struct uiommu_device_config device = {.size = sizeof(device), .rid = 2, .name = "virtual", .pasid_bits = 20};
	const struct uiommu_pasid_set_alloc alloc = {.size = sizeof(alloc), .quota = QUOTA};
	struct uiommu_accel_pci_config config = {.size = sizeof(config), .pages = FUNCTION_PAGES, .vectors = 4, .accel = f.engine};
	struct uiommu_accel_pci *function;
	uint32_t id, pasid;

	CHECK(!uiommu_device_alloc(f.context, &device, &id));
	CHECK(!uiommu_pasid_set_alloc(f.context, &alloc, &config.set_id));
	set = uiommu_pasid_set_get(f.context, config.set_id);
	for (uint32_t vpasid = 1; vpasid <= 2; vpasid++) {
		CHECK(!uiommu_pasid_alloc(f.context, config.set_id, 1, 100, &pasid));
		CHECK(!uiommu_vpasid_map(f.context, config.set_id, vpasid, pasid));
		CHECK(!uiommu_attach(f.context, id, pasid, f.hwpt));
	}
	CHECK(!uiommu_accel_pci_create(f.context, id, &config, &function));
	functions[1] = uiommu_accel_pci_function(function);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct uiommu_accel_pci_config config = {
		.size = sizeof(config), .flags = UIOMMU_ACCEL_PCI_POLLED, .pages = FUNCTION_PAGES, .vectors = 4};
	struct uiommu_accel_pci *function;

	(void)argc;
	(void)argv;
	make_device();
	CHECK(!uiommu_accel_pci_create(f.context, f.device, &config, &function));
	functions[0] = uiommu_accel_pci_function(function);
	f.engine = uiommu_accel_pci_engine(function);
	make_virtual();
	for (unsigned int i = 0; i < FUNCTIONS; i++) {
		f.pci = functions[i];
		connect_function();
	}
	return 0;
}

static void set_up(unsigned int i)
{
	f.pci = functions[i];
	enable_function();
	for (unsigned int page = 0; page < FUNCTION_PAGES; page++) {
		uint64_t at = 0x1000 + page * 0x40;

		bar_set(0, at + 8, 8, BASE + page * PAGE);
		bar_set(0, at + 0x10, 8, UINT64_C(0x80000001) << 32 | 4);
		bar_set(0, at + 0x18, 4, UINT32_C(1) << 31 | page);
		bar_set(0, at, 4, 1);
	}
	run(1);
}

static void do_step(const struct step *step)
{
	static const unsigned int sizes[] = {1, 2, 4, 8};
	unsigned int size = sizes[step->size % 4];
	uint64_t offset = step->where & ~(uint64_t)(size - 1);

	f.pci = functions[step->kind >> 7];
	switch (step->kind % 8) {
	case 0: /* memory */
		memcpy(f.bytes + step->where % (BYTES - 8), &step->data, 8);
		break;
	case 1: /* a descriptor in a ring: operation, flags and addresses of all kinds */
		memcpy(f.bytes + (step->where / 64 % 1024) * 64 + step->size % 8 * 8, &step->data, 8);
		break;
	case 2:
		bar_set(0, 0x1000 + offset % (FUNCTION_PAGES * 0x40), size, step->data);
		break;
	case 3:
		bar_set(0, offset % 0x2000 & ~(uint64_t)(size - 1), size, step->data);
		break;
	case 4:
		bar_set(2, step->where % FUNCTION_PAGES * PAGE, 8, step->data % 32);
		/* Whoever has the page mapped writes there what he likes. */
		if (step->size & 4)
			((uint64_t *)uiommu_pci_memory(f.pci, 2))[step->where % FUNCTION_PAGES * (PAGE / 8) + step->size / 8 % 4] =
				step->data;
		break;
	case 5:
		(void)pci_config_write(f.pci, step->where % UIOMMU_PCI_CONFIG_SIZE, &step->data, step->size % 8 + 1);
		break;
	case 6:
		answer(step->data);
		break;
	default: {
		uint64_t value;

		(void)pci_bar_read(f.pci, step->where & 1 ? 2 : 0, offset % 0x4000, &value, size);
		break;
	}
	}
	run(4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct step step;

	for (unsigned int i = 0; i < FUNCTIONS; i++)
		set_up(i);
	for (unsigned int i = 0; i < STEPS && size >= sizeof(step); i++, data += sizeof(step), size -= sizeof(step)) {
		memcpy(&step, data, sizeof(step));
		do_step(&step);
	}
	for (unsigned int i = 0; i < FUNCTIONS; i++) {
		f.pci = functions[i];
		reset_function();
		for (unsigned int page = 0; page < FUNCTION_PAGES; page++) {
			uint32_t state;

			CHECK(!pci_bar_read(f.pci, 0, 0x1004 + page * 0x40, &state, sizeof(state)));
			CHECK(!state);
		}
	}
	/* It never has more than that, and never what is another one's. */
	for (uint32_t pasid = 1, held = 0; pasid <= 100; pasid++) {
		held += uiommu_vpasid_of(set, pasid) != UIOMMU_NO_PASID;
		CHECK(held <= QUOTA && (pasid > 2 || !held));
	}
	return 0;
}

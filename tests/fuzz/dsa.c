/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DSA's function: config space, registers, commands, portals, and what descriptors name.
 *
 * The input is struct step after struct step, which begin with work queues that are enabled.
 */
#include "function.h"

#include "devices/accel/dsa.h"

static struct dsa *dsa;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	make_device();
	CHECK(!dsa_make(f.context, f.device, &dsa));
	f.pci = dsa->base.pci;
	f.engine = dsa->base.accel;
	connect_function();
	return 0;
}

static void command(uint32_t code, uint32_t operand)
{
	bar_set(0, DSA_CMD, 4, code << 20 | operand);
	run(1);
}

static void set_up(void)
{
	enable_function();
	for (unsigned int i = 0; i < 2; i++) {
		bar_set(0, DSA_GRPCFG + i * DSA_GRPCFG_SIZE, 8, UINT64_C(1) << i);
		bar_set(0, DSA_GRPCFG + i * DSA_GRPCFG_SIZE + DSA_GRPCFG_ENGINES, 8, UINT64_C(1) << i);
		bar_set(0, DSA_WQCFG + i * DSA_WQCFG_SIZE, 4, 8);
		bar_set(0, DSA_WQCFG + i * DSA_WQCFG_SIZE + 8, 8, (i ? 1 | 1 << 4 : 1 << 28 | 1 << 4) | UINT64_C(0x6a) << 32);
	}
	command(DSA_ENABLE_DEVICE, 0);
	command(DSA_ENABLE_WQ, 0);
	command(DSA_ENABLE_WQ, 1);
}

/* What is in memory as a descriptor, through a portal. */
static void submit(const struct step *step)
{
	const uint8_t *desc = f.bytes + step->where / 64 % 1024 * 64;

	CHECK(!pci_bar_write(f.pci, 2, step->data % (DSA_WQS * DSA_PORTALS * DSA_PORTAL / 64) * 64, desc,
			     step->size % 8 ? 64 : 24));
}

static void do_step(const struct step *step)
{
	static const unsigned int sizes[] = {1, 2, 4, 8};
	unsigned int size = sizes[step->size % 4];
	uint64_t offset = step->where & ~(uint64_t)(size - 1), value;

	switch (step->kind % 8) {
	case 0: /* memory, and so a word of a descriptor */
		memcpy(f.bytes + (step->where / 64 % 1024) * 64 + step->size % 8 * 8, &step->data, 8);
		break;
	case 1:
	case 2:
		submit(step);
		break;
	case 3:
		bar_set(0, offset % DSA_REGISTERS_SIZE, size, step->data);
		break;
	case 4:
		command(step->size % 16, (uint32_t)step->data & 0xfffff);
		break;
	case 5:
		(void)pci_config_write(f.pci, step->where % UIOMMU_PCI_CONFIG_SIZE, &step->data, step->size % 8 + 1);
		break;
	case 6:
		answer(step->data);
		break;
	default:
		(void)pci_bar_read(f.pci, step->where & 1 ? 2 : 0, offset % DSA_REGISTERS_SIZE, &value, size);
		break;
	}
	run(4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct step step;
	uint64_t state;

	set_up();
	for (unsigned int i = 0; i < STEPS && size >= sizeof(step); i++, data += sizeof(step), size -= sizeof(step)) {
		memcpy(&step, data, sizeof(step));
		do_step(&step);
	}
	reset_function();
	for (unsigned int i = 0; i < DSA_WQS; i++) {
		CHECK(!pci_bar_read(f.pci, 0, DSA_WQCFG + i * DSA_WQCFG_SIZE + 24, &state, 8));
		CHECK(!state && !dsa->queues[i].queue);
	}
	return 0;
}

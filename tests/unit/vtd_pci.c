/* SPDX-License-Identifier: BSD-3-Clause */
/* A VT-d behind BAR 0 of a PCI function, as a transport and a driver see it. */
#include "guest.h"

#include <sched.h>
#include <uiommu/vtd_pci.h>

#include "pci/pci.h"
#include "pci/spec.h"
#include "util/util.h"

enum { SOURCE_ID = 8 };

static struct rig {
	struct uiommu_vtd_pci *function;
	struct uiommu_pci *pci;
	struct uiommu_vtd *vtd;
	struct pci_transport transport;
	uint64_t address; /* of the last message; atomic */
	uint32_t data, messages, device_id; /* @messages: atomic */
} r;

static void on_message(struct pci_transport *transport, uint64_t address, uint32_t data)
{
	assert_ptr_equal(transport, &r.transport);
	r.address = address;
	r.data = data;
	__atomic_add_fetch(&r.messages, 1, __ATOMIC_SEQ_CST);
}

static void on_master(struct pci_transport *transport, bool on)
{
	(void)transport;
	(void)on;
}

static void on_intx(struct pci_transport *transport, bool asserted)
{
	(void)transport;
	(void)asserted;
}

static uint64_t bar_read(uint64_t offset, unsigned int size)
{
	uint64_t value = 0;

	assert_int_equal(pci_bar_read(r.pci, 0, offset, &value, size), 0);
	return value;
}

static void bar_write(uint64_t offset, unsigned int size, uint64_t value)
{
	assert_int_equal(pci_bar_write(r.pci, 0, offset, &value, size), 0);
}

static uint32_t config_read(unsigned int offset, unsigned int size)
{
	uint32_t value = 0;

	assert_int_equal(pci_config_read(r.pci, offset, &value, size), 0);
	return value;
}

/* As drivers do: until the status says so. */
static void command(uint32_t value)
{
	bar_write(0x18, 4, value);
	while ((bar_read(0x1c, 4) & (UINT32_C(1) << 31 | 1 << 26)) != (value & (UINT32_C(1) << 31 | 1 << 26)))
		sched_yield();
}

static int vtd_setup(void **state)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .rid = 16, .name = "iommu"};
	const uint16_t enable = PCI_COMMAND_MEMORY;

	(void)state;
	guest_make(0, 0);
	r = (struct rig){.transport = {.intx = on_intx, .message = on_message, .master = on_master}};
	assert_int_equal(uiommu_device_alloc(g.context, &config, &r.device_id), 0);
	assert_int_equal(uiommu_vtd_pci_create(g.context, r.device_id, &r.function), 0);
	r.pci = uiommu_vtd_pci_function(r.function);
	assert_int_equal(pci_connect(r.pci, &r.transport), 0);
	assert_int_equal(pci_config_write(r.pci, PCI_COMMAND, &enable, sizeof(enable)), 0);
	traps_on();
	return 0;
}

static int vtd_teardown(void **state)
{
	pci_connect(r.pci, NULL);
	assert_int_equal(uiommu_vtd_pci_destroy(r.function), 0);
	return teardown(state);
}

struct placement {
	uint64_t address;
	unsigned int times;
};

static void on_placed(void *opaque, uint64_t address)
{
	struct placement *placement = opaque;

	placement->address = address;
	placement->times++;
}

/* Each time that the guest has the registers decoded, and not in between. */
static void an_observer(void **state)
{
	const uint16_t none = 0, memory = PCI_COMMAND_MEMORY;
	const uint32_t address = 0xf8000000;
	struct placement placement = {0};

	(void)state;
	pci_connect(r.pci, NULL);
	uiommu_vtd_pci_observe(r.function, on_placed, &placement);
	assert_int_equal(pci_connect(r.pci, &r.transport), 0);
	assert_int_equal(pci_config_write(r.pci, PCI_COMMAND, &none, sizeof(none)), 0);
	assert_int_equal(pci_config_write(r.pci, PCI_BAR0, &address, sizeof(address)), 0);
	assert_int_equal(placement.times, 0);
	assert_int_equal(pci_config_write(r.pci, PCI_COMMAND, &memory, sizeof(memory)), 0);
	assert_int_equal(placement.times, 1);
	assert_int_equal(placement.address, address);
	assert_int_equal(pci_config_write(r.pci, PCI_COMMAND, &memory, sizeof(memory)), 0);
	assert_int_equal(placement.times, 1);
	pci_reset(r.pci, UIOMMU_PCI_RESET_BUS);
	assert_int_equal(pci_config_write(r.pci, PCI_COMMAND, &memory, sizeof(memory)), 0);
	assert_int_equal(placement.times, 2);
	assert_int_equal(placement.address, 0);
}

static void start(void)
{
	const struct uiommu_vtd_config config = {.size = sizeof(config), .parent_id = g.parent};

	assert_int_equal(uiommu_vtd_pci_start(r.function, &config, &r.vtd), 0);
	assert_int_equal(uiommu_vtd_add(r.vtd, g.device_id, SOURCE_ID), 0);
}

static void the_function(void **state)
{
	struct uiommu_vtd_config config = {.size = sizeof(config), .parent_id = g.parent};
	const uint16_t none = 0;
	const uint32_t ones = UINT32_MAX;

	(void)state;
	assert_int_equal(config_read(PCI_REVISION, 4) >> 8, 0x080000);
	assert_int_equal(pci_config_write(r.pci, PCI_COMMAND, &none, sizeof(none)), 0);
	assert_int_equal(config_read(PCI_COMMAND, 2), PCI_COMMAND_MASTER);
	assert_int_equal(pci_config_write(r.pci, PCI_BAR0, &ones, sizeof(ones)), 0);
	assert_int_equal(config_read(PCI_BAR0, 4), 0xfc000000);
	/* Nothing is there before the unit is. */
	assert_int_equal(pci_config_write(r.pci, PCI_COMMAND, &(uint16_t){PCI_COMMAND_MEMORY}, 2), 0);
	assert_int_equal(bar_read(0, 4), 0);
	bar_write(0x18, 4, UINT32_MAX);
	pci_reset(r.pci, UIOMMU_PCI_RESET_BUS);
	config.work = (void (*)(void *))abort;
	assert_int_equal(uiommu_vtd_pci_start(r.function, &config, &r.vtd), -EINVAL);
	config.work = NULL;
	config.parent_id = 1000;
	assert_int_equal(uiommu_vtd_pci_start(r.function, &config, &r.vtd), -ENOENT);
	start();
	config.parent_id = g.parent;
	assert_int_equal(uiommu_vtd_pci_start(r.function, &config, &r.vtd), -EBUSY);
	assert_int_equal(pci_config_write(r.pci, PCI_COMMAND, &(uint16_t){PCI_COMMAND_MEMORY}, 2), 0);
	assert_int_equal(bar_read(0, 4), 0x50);
	assert_int_equal(bar_read(8, 8), uiommu_vtd_read(r.vtd, 8, 8));
	assert_int_equal(bar_read(0x1000, 8), 0);
	assert_int_equal(bar_read(UIOMMU_VTD_PCI_BAR_SIZE - 8, 8), 0);
}

/* A driver's life: tables, translation, an invalidation, a fault and its interrupt; then the machine is reset. */
static void a_driver(void **state)
{
	uint64_t second = page_new(), root = page_new(), context = page_new(), queue = page_new(), status = page_new();
	uint64_t page = page_new(), *leaf, value;

	(void)state;
	start();
	leaf = leaf_of(second, VA, SECOND);
	*leaf = page | SECOND;
	*entry_at(page) = 0x77;
	entry_at(root)[0] = context | 1;
	entry_at(context)[SOURCE_ID * 2 + 1] = 7 << 8 | 2;
	entry_at(context)[SOURCE_ID * 2] = second | 1;
	bar_write(0x20, 8, root);
	bar_write(0x18, 4, 1 << 30);
	while (!(bar_read(0x1c, 4) & 1 << 30))
		sched_yield();
	bar_write(0x3c, 4, 0x4021);
	bar_write(0x40, 4, 0xfee00000);
	bar_write(0x38, 4, 0);
	bar_write(0x90, 8, queue);
	command(UINT32_C(1) << 31 | 1 << 26);
	assert_int_equal(uiommu_dma_read(g.device, UIOMMU_NO_PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(value, 0x77);
	*leaf = 0;
	entry_at(queue)[0] = 2 | 1 << 4;
	entry_at(queue)[2] = UINT64_C(5) << 32 | 1 << 5 | 5;
	entry_at(queue)[3] = status;
	bar_write(0x88, 8, 32);
	/* The thread that writes does what it sets off, as the unit's own has nothing to do. */
	assert_int_equal(*(uint32_t *)(void *)at(status), 5);
	assert_int_equal(uiommu_dma_read(g.device, UIOMMU_NO_PASID, VA, &value, 8, NULL), -EFAULT);
	assert_int_equal(__atomic_load_n(&r.messages, __ATOMIC_SEQ_CST), 1);
	assert_int_equal(r.address, 0xfee00000);
	assert_int_equal(r.data, 0x4021);
	pci_reset(r.pci, UIOMMU_PCI_RESET_BUS);
	assert_int_equal(pci_config_write(r.pci, PCI_COMMAND, &(uint16_t){PCI_COMMAND_MEMORY}, 2), 0);
	assert_int_equal(bar_read(0x1c, 4), 0);
	assert_int_equal(bar_read(0x34, 4), 0);
	while (uiommu_dma_read(g.device, UIOMMU_NO_PASID, page, &value, 8, NULL))
		sched_yield();
	assert_int_equal(value, 0x77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_function, vtd_setup, vtd_teardown),
		cmocka_unit_test_setup_teardown(an_observer, vtd_setup, vtd_teardown),
		cmocka_unit_test_setup_teardown(a_driver, vtd_setup, vtd_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* DMA of PCI functions: only of bus masters, and none that goes on behind a reset, whatever is attached and by whom. */
#include "pci.h"

#include <uiommu/uiommu.h>

#include "sleeper.h"
#include "traps.h"

enum { PASID = 7 };

#define IOVA_SLOW UINT64_C(0x40000000)
#define IOVA UINT64_C(0x10000)

static struct pci_rig rig;
static struct uiommu_device *device;
static uint64_t number = 4711;

static void map(uint32_t ioas, void *address, uint64_t length, uint64_t iova)
{
	struct uiommu_ioas_map request = {
		.size = sizeof(request),
		.flags = UIOMMU_MAP_READ | UIOMMU_MAP_WRITE | UIOMMU_MAP_FIXED,
		.ioas_id = ioas,
		.address = address,
		.length = length,
		.iova = iova,
	};

	assert_int_equal(uiommu_ioas_map(rig.context, &request), 0);
}

/* Attached by somebody else than the transport, as behind a vIOMMU. */
static int open_rig(void **state)
{
	struct uiommu_pci_description description = rig_description();
	uint8_t *page = (uint8_t *)((uintptr_t)&number & ~(page_size() - 1));
	uint32_t ioas;

	(void)state;
	rig_open(&rig, &description, true);
	device = uiommu_pci_device(rig.pci);
	assert_int_equal(uiommu_ioas_alloc(rig.context, &ioas), 0);
	map(ioas, page, page_size(), IOVA);
	if (slow_make())
		map(ioas, slow, page_size(), IOVA_SLOW);
	assert_int_equal(uiommu_attach(rig.context, rig.device, UIOMMU_NO_PASID, ioas), 0);
	assert_int_equal(uiommu_attach(rig.context, rig.device, PASID, ioas), 0);
	return 0;
}

static int close_rig(void **state)
{
	(void)state;
	assert_int_equal(uiommu_detach(rig.context, rig.device, UIOMMU_NO_PASID), 0);
	assert_int_equal(uiommu_detach(rig.context, rig.device, PASID), 0);
	rig_close(&rig);
	slow_end();
	return 0;
}

static int read_number(uint32_t pasid)
{
	uint64_t value = 0;
	int error = uiommu_dma_read(device, pasid, IOVA + ((uintptr_t)&number & (page_size() - 1)), &value, 8, NULL);

	assert_int_equal(value, error ? 0 : number);
	return error;
}

static void check_dma(int expected)
{
	assert_int_equal(read_number(UIOMMU_NO_PASID), expected);
	assert_int_equal(read_number(PASID), expected);
}

static void set_command(unsigned int value)
{
	rig_set(&rig, PCI_COMMAND, 2, value);
}

static void only_masters(void **state)
{
	struct uiommu_ats_request request = {.address = IOVA, .pasid = PASID, .access = UIOMMU_READ};
	struct uiommu_ats_completion completion;

	(void)state;
	check_dma(-EFAULT);
	assert_int_equal(uiommu_ats_translate(device, &request, &completion), -EOPNOTSUPP);
	set_command(PCI_COMMAND_MASTER);
	check_dma(0);
	set_command(PCI_COMMAND_MEMORY);
	check_dma(-EFAULT);
	/* What is attached meanwhile is found afterwards. */
	assert_int_equal(uiommu_detach(rig.context, rig.device, PASID), 0);
	set_command(PCI_COMMAND_MASTER);
	assert_int_equal(read_number(UIOMMU_NO_PASID), 0);
	assert_int_equal(read_number(PASID), -EFAULT);
	pci_reset(rig.pci, UIOMMU_PCI_RESET_FUNCTION);
	check_dma(-EFAULT);
	set_command(PCI_COMMAND_MASTER);
	pci_connect(rig.pci, NULL);
	assert_int_equal(read_number(UIOMMU_NO_PASID), -EFAULT);
}

static int sleep_without(struct sleeper *sleeper)
{
	return uiommu_dma_read(device, UIOMMU_NO_PASID, IOVA_SLOW, &sleeper->value, 8, NULL);
}

static int sleep_with_pasid(struct sleeper *sleeper)
{
	return uiommu_dma_read(device, PASID, IOVA_SLOW, &sleeper->value, 8, NULL);
}

static int reset(void *opaque)
{
	pci_reset(opaque, UIOMMU_PCI_RESET_BUS);
	return 0;
}

static int clear_master(void *opaque)
{
	const uint16_t none = 0;

	return pci_config_write(opaque, PCI_COMMAND, &none, sizeof(none));
}

static void accesses_end_before(int (*end)(void *opaque), int (*read)(struct sleeper *sleeper))
{
	struct remover remover = {.remove = end, .opaque = rig.pci};
	struct sleeper sleeper = {.read = read};

	need_slow();
	traps_on();
	set_command(PCI_COMMAND_MASTER);
	removal_waits(&sleeper, &remover);
	check_dma(-EFAULT);
}

static void a_reset_waits(void **state)
{
	(void)state;
	accesses_end_before(reset, sleep_with_pasid);
}

static void the_end_of_a_master_waits(void **state)
{
	(void)state;
	accesses_end_before(clear_master, sleep_without);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
	const struct CMUnitTest tests[] = {
		TEST(only_masters),
		TEST(a_reset_waits),
		TEST(the_end_of_a_master_waits),
	};

	if (traps_install())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The copier: copies between PASIDs, faults, what is written meanwhile, resets, its end. */
#include "test.h"

#include <sched.h>
#include <uiommu/uiommu.h>

#include "pci/pci.h"
#include "pci/spec.h"

enum { SOURCE, DESTINATION = 8, LENGTH = 16, SOURCE_PASID = 20, DESTINATION_PASID = 24, REPEAT = 28, START = 32, STATUS = 36 };
enum { REASON = 40, COPIED = 44, FAULT_ADDRESS = 48, ELAPSED = 56 };
enum { IDLE, DONE, FAULT, BUSY };
enum { PAGE = 4096, VALID = 1U << 31 };

static struct uiommu_context *context;
static struct uiommu_model *model;
static struct uiommu_pci *pci;
static _Alignas(PAGE) uint8_t memory[3][2 * PAGE]; /* without PASID, PASID 1, 2 */

static void set(unsigned int offset, uint64_t value)
{
	assert_int_equal(pci_bar_write(pci, 0, offset, &value, offset < LENGTH ? 8 : 4), 0);
}

static uint64_t get(unsigned int offset)
{
	uint64_t value = 0;

	assert_int_equal(pci_bar_read(pci, 0, offset, &value, offset < FAULT_ADDRESS && offset >= LENGTH ? 4 : 8), 0);
	return value;
}

static void enable(uint16_t command)
{
	const uint16_t on = 1;
	unsigned int at = PCI_EXTENDED_FIRST;
	uint32_t header = 0;

	assert_int_equal(pci_config_write(pci, PCI_COMMAND, &command, 2), 0);
	for (; (void)pci_config_read(pci, at, &header, 4), (header & 0xffff) != 0x1b; at = header >> 20)
		assert_int_not_equal(header >> 20, 0);
	assert_int_equal(pci_config_write(pci, at + 6, &on, 2), 0);
}

static int setup(void **state)
{
	(void)state;
	assert_int_equal(uiommu_open(NULL, &context), 0);
	assert_int_equal(uiommu_model_create(context, 1, "copier", NULL, 0, &model), 0);
	pci = uiommu_model_function(model);
	enable(6);
	for (uint32_t i = 0; i < 3; i++) {
		struct uiommu_ioas_map map = {.size = sizeof(map),
					      .flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
					      .source = UIOMMU_MAP_OWN,
					      .address = memory[i],
					      .iova = 0x10000,
					      .length = sizeof(memory[i])};

		for (unsigned int k = 0; k < sizeof(memory[i]); k++)
			memory[i][k] = (uint8_t)(k * 3 + k / 256 + i * 85);
		assert_int_equal(uiommu_ioas_alloc(context, &map.ioas_id), 0);
		assert_int_equal(uiommu_ioas_map(context, &map), 0);
		assert_int_equal(uiommu_attach(context, uiommu_model_device(model), i ? i : UIOMMU_NO_PASID, map.ioas_id), 0);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(uiommu_model_destroy(model), 0);
	return uiommu_close(context);
}

static unsigned int finish(void)
{
	while (get(STATUS) == BUSY)
		sched_yield();
	return (unsigned int)get(STATUS);
}

static unsigned int copy(uint64_t source, uint32_t from, uint64_t destination, uint32_t to, uint32_t length)
{
	set(SOURCE, source);
	set(DESTINATION, destination);
	set(LENGTH, length);
	set(SOURCE_PASID, from);
	set(DESTINATION_PASID, to);
	set(START, 1);
	return finish();
}

static void copies(void **state)
{
	(void)state;
	assert_int_equal(get(STATUS), IDLE);
	assert_int_equal(copy(0x10005, 0, 0x11007, VALID | 1, 1000), DONE);
	assert_int_equal(get(COPIED), 1000);
	assert_int_equal(get(REASON), 0);
	assert_memory_equal(memory[1] + PAGE + 7, memory[0] + 5, 1000);
	assert_int_not_equal(memory[1][PAGE + 1007], memory[0][1005]);
	assert_int_equal(copy(0x10000, VALID | 1, 0x10000, VALID | 2, 2 * PAGE), DONE);
	assert_memory_equal(memory[2], memory[1], 2 * PAGE);
	/* Often: the last one counts. */
	set(REPEAT, 1000);
	assert_int_equal(copy(0x10000, VALID | 2, 0x11000, 0, 16), DONE);
	assert_int_equal(get(COPIED), 16);
	assert_true(get(ELAPSED) > 0);
	assert_memory_equal(memory[0] + PAGE, memory[2], 16);
}

static void faults(void **state)
{
	(void)state;
	assert_int_equal(copy(0x11ff8, 0, 0x10000, VALID | 1, 16), FAULT);
	assert_int_equal(get(REASON), UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(get(FAULT_ADDRESS), 0x12000);
	assert_int_equal(get(COPIED), 8);
	assert_int_equal(copy(0x10000, 0, 0x10000, VALID | 77, 16), FAULT);
	assert_int_equal(get(REASON), UIOMMU_FAULT_NOT_ATTACHED);
	/* No bus master, no DMA; no PASIDs, and there is none. */
	enable(2);
	assert_int_equal(copy(0x10000, 0, 0x10100, 0, 16), FAULT);
	enable(6);
	assert_int_equal(copy(0x10000, 0, 0x10100, 0, 16), DONE);
}

/* What is written while it copies has no effect, and nothing is left by a copy of before a reset. */
static void meanwhile(void **state)
{
	const uint16_t flr = 0x8000;
	uint32_t header = 0;
	unsigned int at = 0;

	(void)state;
	set(REPEAT, 1 << 20);
	set(SOURCE, 0x10000);
	set(DESTINATION, 0x11000);
	set(LENGTH, PAGE);
	set(START, 1);
	set(LENGTH, 8);
	set(STATUS, 0);
	assert_int_equal(get(STATUS), BUSY);
	assert_int_equal(get(LENGTH), PAGE);
	(void)pci_config_read(pci, PCI_LIST, &at, 1);
	for (; (void)pci_config_read(pci, at, &header, 4), (header & 0xff) != 0x10; at = header >> 8 & 0xff)
		assert_int_not_equal(header >> 8 & 0xff, 0);
	assert_int_equal(pci_config_write(pci, at + 8, &flr, 2), 0);
	enable(6);
	assert_int_equal(get(STATUS), IDLE);
	assert_int_equal(copy(0x10000, 0, 0x10800, 0, 8), DONE);
	assert_int_equal(get(COPIED), 8);
	/* It ends in the middle of one. */
	set(REPEAT, 1 << 20);
	set(START, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(copies, setup, teardown),
		cmocka_unit_test_setup_teardown(faults, setup, teardown),
		cmocka_unit_test_setup_teardown(meanwhile, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

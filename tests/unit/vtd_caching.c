/* SPDX-License-Identifier: BSD-3-Clause */
/* VT-d: caching mode, where a guest's PASID need not be what a device emits, and the virtual commands that allocate PASIDs. */
#include "vtd_rig.h"

/* What a device emits for what the guest calls 1 to 63. */
enum { OFFSET = 1000 };

static uint32_t host_pasid(void *opaque, uint32_t device_id, uint32_t pasid)
{
	assert_ptr_equal(opaque, &r);
	assert_int_equal(device_id, g.device_id);
	return pasid < 64 ? pasid + OFFSET : UIOMMU_NO_PASID;
}

static uint32_t guest_pasid(void *opaque, uint32_t device_id, uint32_t pasid)
{
	assert_ptr_equal(opaque, &r);
	assert_int_equal(device_id, g.device_id);
	return pasid > OFFSET && pasid < OFFSET + 64 ? pasid - OFFSET : UIOMMU_NO_PASID;
}

static struct uiommu_vtd_config config_of(bool caching)
{
	return (struct uiommu_vtd_config){
		.flags = caching ? UIOMMU_VTD_CACHING_MODE : 0,
		.host_pasid = caching ? host_pasid : NULL,
		.guest_pasid = caching ? guest_pasid : NULL,
		.fault_records = 1,
	};
}

static bool bound(uint32_t pasid)
{
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};

	return !uiommu_attach_stats(g.context, g.device_id, pasid, &stats);
}

static void make(void)
{
	scalable_tables();
	command(TE, true);
	queue_make(true);
}

/* A flush of a PASID makes what the guest's entry says be there, and the next one takes it away, without any access. */
static void flushes_bind(void **state)
{
	struct uiommu_vtd_config config = config_of(true);
	uint64_t first, page, value;

	vtd_make(&config);
	assert_int_equal(read64(R_CAP) >> 7 & 1, 1);
	first = page_new();
	page = page_new();
	make();
	*leaf_of(first, VA, FIRST_TABLE) = page | FIRST_PAGE;
	*entry_at(page) = 77;
	pasid_first(5, first);
	assert_false(bound(OFFSET + 5));
	invalidate(D_PASID_CACHE(1, 0, 5), 0);
	assert_true(bound(OFFSET + 5));
	assert_false(bound(5));
	assert_int_equal(dma_value(OFFSET + 5, VA), 77);
	/* Pages are forgotten by the guest's number, too. */
	*leaf_of(first, VA, FIRST_TABLE) = first | FIRST_PAGE;
	invalidate(D_PASID_IOTLB(3, DOMAIN, 5), VA);
	assert_int_not_equal(dma_value(OFFSET + 5, VA), 77);
	pasid_entry_of(5)[0] = 0;
	invalidate(D_PASID_CACHE(1, DOMAIN, 5), 0);
	assert_false(bound(OFFSET + 5));
	/* What is not there is no fault until somebody uses it; then it is the guest's number that is told. */
	assert_int_equal(read32(R_FSTS), 0);
	assert_false(dma_reads(OFFSET + 5, VA, &value));
	check_record(0, VA, 5, true, 0x59);
	/* A number that the guest does not know is not the guest's business. */
	assert_false(dma_reads(5, VA, &value));
	assert_false(dma_reads(OFFSET, VA, &value));
	assert_int_equal(read32(R_FSTS), 0);
	/* Nor is one that no device has. */
	invalidate(D_PASID_CACHE(1, 0, 64), 0);
	vtd_teardown(state);
}

/* Without a mapping the numbers are the same. */
static void the_same_numbers(void **state)
{
	struct uiommu_vtd_config config = {.flags = UIOMMU_VTD_CACHING_MODE};
	uint64_t first;

	vtd_make(&config);
	first = page_new();
	make();
	*leaf_of(first, VA, FIRST_TABLE) = first | FIRST_PAGE;
	pasid_first(5, first);
	invalidate(D_PASID_CACHE(1, 0, 5), 0);
	assert_true(bound(5));
	vtd_teardown(state);
}

/* The same guest, the same accesses, directly and bound: the same bytes in memory, answers and fault records. */
enum { ACCESSES = 600 };

struct results {
	struct {
		int error;
		uint64_t value, low, high;
	} of[ACCESSES];
	uint8_t ram[RAM_BYTES];
};

static void run(bool caching, struct results *out)
{
	static const uint64_t kinds[] = {FIRST_PAGE, FIRST_READ_ONLY, 0, 0x3, FIRST_PAGE | UINT64_C(1) << 50};
	struct uiommu_vtd_config config = config_of(caching);
	uint64_t random = 88172645463325252u, first;

	vtd_make(&config);
	first = page_new();
	make();
	for (unsigned int i = 0; i < 40; i++)
		*leaf_of(first, VA + i * PAGE, i % 7 == 6 ? 0x3 : FIRST_TABLE) = page_new() | kinds[i % 5];
	for (uint32_t pasid = 1; pasid < 8; pasid++) {
		pasid_first(pasid, first);
		if (pasid == 6)
			pasid_entry_of(pasid)[0] |= 7 << 6;
		if (pasid != 7)
			invalidate(D_PASID_CACHE(1, 0, pasid), 0);
	}
	pasid_entry_of(7)[0] = 0;
	for (unsigned int i = 0; i < ACCESSES; i++) {
		uint32_t pasid = 1 + i % 8;
		uint64_t address;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		address = VA + random % (41 * PAGE);
		pasid = caching ? pasid + OFFSET : pasid;
		out->of[i].value = random;
		out->of[i].error = random >> 60 & 1 ? uiommu_dma_write(g.device, pasid, address, &out->of[i].value, 8, NULL)
						    : uiommu_dma_read(g.device, pasid, address, &out->of[i].value, 8, NULL);
		if (out->of[i].error)
			out->of[i].value = 0;
		out->of[i].low = read64(0x200);
		out->of[i].high = read64(0x208);
		write32(0x20c, UINT32_C(1) << 31);
	}
	memcpy(out->ram, g.bytes, RAM_BYTES);
	vtd_teardown(NULL);
}

static void as_walked_directly(void **state)
{
	struct results *direct = calloc(1, sizeof(*direct)), *by_binds = calloc(1, sizeof(*by_binds));
	unsigned int faults = 0;

	(void)state;
	run(false, direct);
	run(true, by_binds);
	for (unsigned int i = 0; i < ACCESSES; i++)
		faults += direct->of[i].error != 0;
	assert_true(faults > ACCESSES / 8 && faults < ACCESSES);
	assert_memory_equal(direct->of, by_binds->of, sizeof(direct->of));
	assert_memory_equal(direct->ram, by_binds->ram, RAM_BYTES);
	free(direct);
	free(by_binds);
}

static void bad_configurations(void **state)
{
	struct uiommu_vtd_config config = config_of(true);
	struct uiommu_vtd *vtd;

	(void)state;
	config.size = sizeof(config);
	config.parent_id = g.parent;
	config.guest_pasid = NULL;
	assert_int_equal(uiommu_vtd_create(g.context, &config, &vtd), -EINVAL);
	config = config_of(false);
	config.size = sizeof(config);
	config.parent_id = config.pasid_set_id = g.parent;
	assert_int_equal(uiommu_vtd_create(g.context, &config, &vtd), -ENOENT);
}

/* --- virtual commands --- */

enum { R_VCMD = 0xe00, R_VCRSP = 0xe10, R_VCCAP = 0xe30 };

static uint64_t virtual_command(uint64_t value)
{
	write64(R_VCMD, value);
	return read64(R_VCRSP);
}

static void not_offered(void **state)
{
	(void)state;
	assert_int_equal(read64(R_ECAP) >> 44 & 1, 0);
	assert_int_equal(read64(R_VCCAP), 0);
	assert_int_equal(virtual_command(1), 0);
	assert_int_equal(read64(R_VCMD), 0);
}

static unsigned int asked;

static void on_work(void *opaque)
{
	(void)opaque;
	asked++;
}

static void virtual_commands(void **state)
{
	const struct uiommu_pasid_set_alloc alloc = {.size = sizeof(alloc), .quota = 3};
	struct uiommu_vtd_config config = {.flags = 0};
	uint64_t first, second, third;
	struct uiommu_vtd *other;

	vtd_make(&config);
	config.interrupt = NULL;
	assert_int_equal(uiommu_pasid_set_alloc(g.context, &alloc, &config.pasid_set_id), 0);
	other = r.vtd;
	assert_int_equal(uiommu_vtd_create(g.context, &config, &r.vtd), 0);
	assert_int_equal(read64(R_ECAP) >> 44 & 1, 1);
	assert_int_equal(read64(R_VCCAP), 7);
	assert_int_equal(virtual_command(0), 0);
	first = virtual_command(1);
	second = virtual_command(1);
	third = virtual_command(1);
	assert_int_equal((first | second | third) & 0xffff, 0);
	assert_int_not_equal(first, second);
	assert_int_not_equal(second, third);
	assert_true(first >> 16 && second >> 16 && third >> 16);
	/* None is left; one is given back, in halves, and found again. */
	assert_int_equal(virtual_command(1), 16 << 1);
	write32(R_VCMD + 4, (uint32_t)(second >> 32));
	write32(R_VCMD, (uint32_t)second | 2);
	assert_int_equal(read64(R_VCRSP), 0);
	assert_int_equal(virtual_command(1), second);
	/* Nobody's; not a command. */
	assert_int_equal(virtual_command(UINT64_C(0xfffff) << 16 | 2), 16 << 1);
	assert_int_equal(virtual_command(2), 16 << 1);
	assert_int_equal(virtual_command(3), 1 << 1);
	assert_int_equal(virtual_command(255), 1 << 1);
	assert_int_equal(uiommu_vtd_destroy(r.vtd), 0);
	/* In progress: further commands are dropped. */
	config.work = on_work;
	assert_int_equal(uiommu_vtd_create(g.context, &config, &r.vtd), 0);
	assert_int_equal(virtual_command(first | 2), 1);
	write64(R_VCMD, second | 2);
	assert_int_equal(read64(R_VCMD), first | 2);
	while (uiommu_vtd_run(r.vtd))
		;
	assert_int_equal(read64(R_VCRSP), 0);
	assert_true(asked > 0);
	assert_int_equal(uiommu_vtd_destroy(r.vtd), 0);
	r.vtd = other;
	vtd_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flushes_bind),
		cmocka_unit_test(the_same_numbers),
		cmocka_unit_test(as_walked_directly),
		VTD_TEST(bad_configurations),
		VTD_TEST(not_offered),
		cmocka_unit_test(virtual_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

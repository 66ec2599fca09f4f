/* SPDX-License-Identifier: BSD-3-Clause */
/* VT-d: registers, capabilities, events and their interrupts. */
#include "vtd_rig.h"

/* What Linux looks at, by number. */
static void capabilities(void **state)
{
	uint64_t cap = read64(R_CAP), ecap = read64(R_ECAP);

	(void)state;
	assert_int_equal(read32(R_VER), 0x50);
	assert_int_equal(cap & 7, 6); /* 2^16 domains */
	assert_int_equal(cap >> 7 & 1, 0); /* no caching mode */
	assert_int_equal(cap >> 8 & 31, 6); /* three and four levels */
	assert_int_equal(cap >> 16 & 63, 47);
	assert_int_equal((cap >> 24 & 0x3ff) * 16, 0x200);
	assert_int_equal(cap >> 34 & 15, 3);
	assert_int_equal(cap >> 39 & 1, 1);
	assert_int_equal(cap >> 40 & 255, 7);
	assert_true((cap >> 48 & 63) >= 18);
	assert_int_equal(cap >> 54 & 3, 3);
	assert_int_equal(cap >> 56, 0x91); /* ESRTPS, FS5LP, FS1GP; no posted interrupts */
	/* C, QI, DT, PT, SC, NEST, PRS, SRS, PSS 19, PASID, PDS, SMTS, SSADS, SSTS, FSTS, SMPWCS, ADMS */
	assert_int_equal(ecap & ~UINT64_C(0x3ff00), UINT64_C(0x0011ed98a40000c7));
	assert_int_equal((ecap >> 8 & 0x3ff) * 16, 0x500);
	assert_int_equal(read64(R_CAP + 0x1000), 0);
	write64(R_CAP, 0);
	write64(R_ECAP, 0);
	assert_int_equal(read64(R_CAP), cap);
	assert_int_equal(read64(R_ECAP), ecap);
}

/* CAP and ECAP follow what is offered. */
static void fewer_capabilities(void **state)
{
	struct uiommu_vtd_config config = {
		.flags = UIOMMU_VTD_SOFT_ROOT,
		.capabilities = UIOMMU_VTD_TABLES_3_LEVEL | UINT32_C(2) << 29,
		.host_bits = 39,
		.fault_records = 1,
	};

	(void)state;
	vtd_make(&config);
	assert_int_equal(read64(R_ECAP) & ~UINT64_C(0x3ff00), 3);
	assert_int_equal(read64(R_CAP) & ~UINT64_C(0x003f0000ff000000) & ~(UINT64_C(3) << 32),
			 2 | 2 << 8 | 38 << 16 | UINT64_C(1) << 39 | UINT64_C(3) << 54);
	vtd_teardown(state);
}

static void bad_configurations(void **state)
{
	static const struct {
		struct uiommu_vtd_config config;
		int error;
	} cases[] = {
		{{.size = 8}, -EINVAL},
		{{.flags = 1U << 31}, -EOPNOTSUPP},
		{{.host_bits = 31}, -EINVAL},
		{{.host_bits = 53}, -EINVAL},
		{{.fault_records = 33}, -EINVAL},
		{{.reserved = 1}, -EINVAL},
		{{.capabilities = UIOMMU_VTD_TABLES_PASID}, -EINVAL},
		{{.capabilities = UIOMMU_VTD_DEFAULT_CAPABILITIES | UIOMMU_VTD_TABLES_EXECUTE}, -EINVAL},
		{{.capabilities = UIOMMU_VTD_DEFAULT_CAPABILITIES & ~(uint32_t)UIOMMU_VTD_TABLES_ATS}, -EINVAL},
		{{.capabilities = UIOMMU_VTD_DEFAULT_CAPABILITIES & ~(uint32_t)UIOMMU_VTD_TABLES_FIRST}, -EINVAL},
		{{.capabilities = UINT32_C(20) << 24 | 1}, -EINVAL},
		{{.parent_id = 1000}, -ENOENT},
	};
	size_t count = uiommu_object_count(g.context);
	struct uiommu_vtd *vtd;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct uiommu_vtd_config config = cases[i].config;

		config.size = config.size ? config.size : sizeof(config);
		config.parent_id = config.parent_id ? config.parent_id : g.parent;
		assert_int_equal(uiommu_vtd_create(g.context, &config, &vtd), cases[i].error);
		config.parent_id = g.device_id;
	}
	assert_int_equal(uiommu_object_count(g.context), count);
	assert_int_equal(uiommu_vtd_add(r.vtd, 1000, 1), -ENOENT);
	assert_int_equal(uiommu_vtd_add(r.vtd, g.device_id, 0x10000), -EINVAL);
	assert_int_equal(uiommu_vtd_add(r.vtd, g.device_id, SOURCE_ID), -EEXIST);
	assert_int_equal(uiommu_vtd_add(r.vtd, g.device_id, 1), -EBUSY);
	assert_int_equal(uiommu_vtd_remove(r.vtd, 1000), -ENOENT);
	assert_int_equal(uiommu_vtd_remove(r.vtd, g.device_id), 0);
	assert_int_equal(uiommu_vtd_remove(r.vtd, g.device_id), -ENOENT);
	assert_int_equal(uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, g.parent), 0);
	assert_int_equal(uiommu_vtd_add(r.vtd, g.device_id, 1), -EBUSY);
	assert_int_equal(uiommu_detach(g.context, g.device_id, UIOMMU_NO_PASID), 0);
	assert_int_equal(uiommu_vtd_add(r.vtd, g.device_id, SOURCE_ID), 0);
}

/* Commands are one-shot or switches, and status says what has been done. */
static void global_commands(void **state)
{
	(void)state;
	assert_int_equal(read32(R_GSTS), 0);
	write32(R_GCMD, 0x00ffffff);
	assert_int_equal(read32(R_GSTS), 0);
	assert_int_equal(read32(R_GCMD), 0);
	write64(R_RTADDR, UINT64_MAX);
	assert_int_equal(read64(R_RTADDR), UINT64_C(0xfffffffffffffc00));
	write64(R_RTADDR, 0);
	command(SRTP, true);
	command(TE, true);
	assert_int_equal(read32(R_GSTS), TE | SRTP);
	command(SRTP, true);
	assert_int_equal(read32(R_GSTS), TE | SRTP);
	command(QIE, true);
	assert_int_equal(read32(R_GSTS), TE | SRTP | QIE);
	/* By bytes: the highest one has it all. */
	uiommu_vtd_write(r.vtd, R_GCMD, 3, 0);
	assert_int_equal(read32(R_GSTS), TE | SRTP | QIE);
	uiommu_vtd_write(r.vtd, R_GCMD + 3, 1, QIE >> 24);
	assert_int_equal(read32(R_GSTS), SRTP | QIE);
	command(QIE, false);
	assert_int_equal(uiommu_vtd_reset(r.vtd), 0);
	assert_int_equal(read32(R_GSTS), 0);
}

/* A fault at an address without a mapping, with the tables that setup left: a root table of zeroes. */
static void make_fault(uint64_t address)
{
	uint64_t value;

	assert_false(dma_reads(UIOMMU_NO_PASID, address, &value));
}

static void fault_events(void **state)
{
	(void)state;
	write64(R_RTADDR, page_new());
	command(SRTP, true);
	command(TE, true);
	write32(R_FEDATA, 0x12345678);
	write32(R_FEADDR, 0xfee00123);
	write32(R_FEUADDR, 0x7);
	assert_int_equal(read32(R_FEDATA), 0x5678);
	assert_int_equal(read32(R_FEADDR), 0xfee00120);
	/* Masked: held pending; serviced before it is unmasked: gone. */
	assert_int_equal(read32(R_FECTL), UINT32_C(1) << 31);
	make_fault(0x1000);
	assert_int_equal(r.sent, 0);
	assert_int_equal(read32(R_FECTL), UINT32_C(3) << 30);
	assert_int_equal(read32(R_FSTS), 2);
	check_record(0, 0x1000, UIOMMU_NO_PASID, true, 1);
	assert_int_equal(read32(R_FSTS) & 0xff, 0);
	assert_int_equal(read32(R_FECTL), UINT32_C(1) << 31);
	/* Unmasked while it is pending: sent then. */
	make_fault(0x2000);
	write32(R_FECTL, 0);
	assert_int_equal(r.sent, 1);
	assert_int_equal(r.messages[0].address, UINT64_C(0x7fee00120));
	assert_int_equal(r.messages[0].data, 0x5678);
	assert_int_equal(read32(R_FECTL), 0);
	/* Not serviced yet: no other one. */
	make_fault(0x3000);
	assert_int_equal(r.sent, 1);
	assert_int_equal(read32(R_FSTS), 2 | 1 << 8);
	check_record(1, 0x2000, UIOMMU_NO_PASID, true, 1);
	assert_int_equal(read32(R_FSTS) & 2, 2);
	check_record(2, 0x3000, UIOMMU_NO_PASID, true, 1);
	assert_int_equal(read32(R_FSTS) & 2, 0);
	make_fault(0x4000);
	assert_int_equal(r.sent, 2);
	assert_int_equal(read32(R_FSTS), 2 | 3 << 8);
	check_record(3, 0x4000, UIOMMU_NO_PASID, true, 1);
}

/* Eight records are full; the ninth fault is an overflow, and so are all until software has cleared it. */
static void fault_overflow(void **state)
{
	(void)state;
	write64(R_RTADDR, page_new());
	command(SRTP, true);
	command(TE, true);
	write32(R_FECTL, 0);
	for (unsigned int i = 0; i < 8; i++)
		make_fault(i * PAGE);
	assert_int_equal(read32(R_FSTS), 2);
	make_fault(0x9000);
	assert_int_equal(read32(R_FSTS), 3);
	assert_int_equal(r.sent, 1);
	for (unsigned int i = 0; i < 8; i++)
		check_record(i, i * PAGE, UIOMMU_NO_PASID, true, 1);
	assert_int_equal(read32(R_FSTS), 1);
	make_fault(0xa000);
	assert_int_equal(read32(R_FSTS), 1);
	write32(R_FSTS, 1);
	assert_int_equal(read32(R_FSTS), 0);
	/* Records go on where they were, and begin again when translation is switched off. */
	make_fault(0xb000);
	check_record(0, 0xb000, UIOMMU_NO_PASID, true, 1);
	make_fault(0xc000);
	assert_int_equal(read32(R_FSTS), 2 | 1 << 8);
	check_record(1, 0xc000, UIOMMU_NO_PASID, true, 1);
	command(TE, false);
	assert_int_equal(dma_value(UIOMMU_NO_PASID, 0), 0);
	command(TE, true);
	make_fault(0xd000);
	check_record(0, 0xd000, UIOMMU_NO_PASID, true, 1);
}

/* Another thread asks for turns; nothing is done without. */
static unsigned int asked;

static void on_work(void *opaque)
{
	assert_ptr_equal(opaque, &r);
	asked++;
}

static void work_by_another(void **state)
{
	struct uiommu_vtd_config config = {.work = on_work};

	(void)state;
	asked = 0;
	vtd_make(&config);
	write32(R_FEDATA, 1);
	assert_int_equal(asked, 0);
	assert_false(uiommu_vtd_run(r.vtd));
	write32(R_GCMD, TE);
	assert_int_equal(asked, 1);
	assert_int_equal(read32(R_GSTS), 0);
	assert_false(uiommu_vtd_run(r.vtd));
	assert_int_equal(read32(R_GSTS), TE);
	vtd_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VTD_TEST(capabilities),
		cmocka_unit_test(fewer_capabilities),
		VTD_TEST(bad_configurations),
		VTD_TEST(global_commands),
		VTD_TEST(fault_events),
		VTD_TEST(fault_overflow),
		cmocka_unit_test(work_by_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

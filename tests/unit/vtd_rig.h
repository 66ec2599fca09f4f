/* SPDX-License-Identifier: BSD-3-Clause */
/* A VT-d in front of a guest's memory, programmed by number as a driver would, with a device behind it. */
#ifndef TESTS_UNIT_VTD_RIG_H
#define TESTS_UNIT_VTD_RIG_H

#include "guest.h"

#include <uiommu/vtd.h>

/* Registers. */
enum {
	R_VER = 0x0,
	R_CAP = 0x8,
	R_ECAP = 0x10,
	R_GCMD = 0x18,
	R_GSTS = 0x1c,
	R_RTADDR = 0x20,
	R_CCMD = 0x28,
	R_FSTS = 0x34,
	R_FECTL = 0x38,
	R_FEDATA = 0x3c,
	R_FEADDR = 0x40,
	R_FEUADDR = 0x44,
	R_IQH = 0x80,
	R_IQT = 0x88,
	R_IQA = 0x90,
	R_ICS = 0x9c,
	R_IECTL = 0xa0,
	R_IEDATA = 0xa4,
	R_IEADDR = 0xa8,
	R_IQERCD = 0xb0,
	R_PQH = 0xc0,
	R_PQT = 0xc8,
	R_PQA = 0xd0,
	R_PRS = 0xdc,
	R_PECTL = 0xe0,
	R_PEDATA = 0xe4,
	R_PEADDR = 0xe8,
};

#define TE (UINT32_C(1) << 31)
#define SRTP (UINT32_C(1) << 30)
#define QIE (UINT32_C(1) << 26)

enum { SOURCE_ID = 0x0123, DOMAIN = 0x42, MESSAGES = 64 };

struct message {
	uint64_t address;
	uint32_t data;
};

static struct rig {
	struct uiommu_vtd *vtd;
	struct message messages[MESSAGES];
	unsigned int sent; /* atomic */
	uint64_t root, context, directory, pasids; /* tables */
	uint64_t queue; /* invalidation queue, of one page */
	uint32_t tail, width; /* bytes */
	uint64_t status; /* word that wait descriptors write */
	uint32_t waits;
} r;

static inline void on_interrupt(void *opaque, uint64_t address, uint32_t data)
{
	unsigned int n = __atomic_fetch_add(&r.sent, 1, __ATOMIC_SEQ_CST);

	assert_ptr_equal(opaque, &r);
	r.messages[n % MESSAGES] = (struct message){address, data};
}

static inline uint32_t read32(uint64_t offset)
{
	return (uint32_t)uiommu_vtd_read(r.vtd, offset, 4);
}

static inline uint64_t read64(uint64_t offset)
{
	return uiommu_vtd_read(r.vtd, offset, 8);
}

static inline void write32(uint64_t offset, uint32_t value)
{
	uiommu_vtd_write(r.vtd, offset, 4, value);
}

static inline void write64(uint64_t offset, uint64_t value)
{
	uiommu_vtd_write(r.vtd, offset, 8, value);
}

/* A command, and what it is about to be. */
static inline void command(uint32_t bit, bool on)
{
	uint32_t status = read32(R_GSTS) & ~SRTP;

	write32(R_GCMD, on ? status | bit : status & ~bit);
	assert_int_equal(!!(read32(R_GSTS) & bit), on);
}

/* For the guest that there is. */
static inline void vtd_make_for(struct uiommu_vtd_config *config)
{
	r = (struct rig){.width = 32};
	config->size = sizeof(*config);
	config->parent_id = g.parent;
	assert_int_equal(uiommu_vtd_create(g.context, config, &r.vtd), 0);
	assert_int_equal(uiommu_vtd_add(r.vtd, g.device_id, SOURCE_ID), 0);
	traps_on();
}

static inline void vtd_make(struct uiommu_vtd_config *config)
{
	guest_make(0, 0);
	config->interrupt = on_interrupt;
	config->opaque = &r;
	vtd_make_for(config);
}

static inline int vtd_setup(void **state)
{
	struct uiommu_vtd_config config = {.flags = 0};

	(void)state;
	vtd_make(&config);
	return 0;
}

static inline int vtd_teardown(void **state)
{
	assert_int_equal(uiommu_vtd_destroy(r.vtd), 0);
	assert_int_equal(uiommu_object_type(g.context, g.parent), UIOMMU_OBJECT_HWPT_PAGING);
	return teardown(state);
}

#define VTD_TEST(test) cmocka_unit_test_setup_teardown(test, vtd_setup, vtd_teardown)

/* --- tables --- */

static inline uint64_t *pasid_entry_of(uint32_t pasid)
{
	return entry_at(r.pasids) + (pasid & 63) * 8;
}

static inline uint64_t *context_entry(void)
{
	return entry_at(r.context) + (SOURCE_ID & 0x7f) * 4;
}

/* Scalable mode, PASIDs below 64, and the root pointer set. */
static inline void scalable_tables(void)
{
	r.root = page_new();
	r.context = page_new();
	r.directory = page_new();
	r.pasids = page_new();
	entry_at(r.root)[(SOURCE_ID >> 8) * 2] = r.context | 1;
	context_entry()[0] = r.directory | 1 << 3 | 1; /* PASIDE */
	entry_at(r.directory)[0] = r.pasids | 1;
	write64(R_RTADDR, r.root | 1 << 10);
	command(SRTP, true);
}

/* First stage, four levels. */
static inline void pasid_first(uint32_t pasid, uint64_t first)
{
	uint64_t *entry = pasid_entry_of(pasid);

	entry[1] = DOMAIN;
	entry[2] = first;
	entry[0] = 1 << 6 | 1;
}

static inline void pasid_second(uint32_t pasid, uint64_t second)
{
	uint64_t *entry = pasid_entry_of(pasid);

	entry[1] = DOMAIN;
	entry[2] = 0;
	entry[0] = second | 2 << 6 | 2 << 2 | 1;
}

static inline void pasid_nested(uint32_t pasid, uint64_t first, uint64_t second)
{
	pasid_second(pasid, second);
	pasid_entry_of(pasid)[2] = first;
	pasid_entry_of(pasid)[0] |= 1 << 6;
}

/* Legacy mode: second stage, four levels. */
static inline void legacy_tables(uint64_t second)
{
	r.root = page_new();
	r.context = page_new();
	entry_at(r.root)[(SOURCE_ID >> 8) * 2] = r.context | 1;
	entry_at(r.context)[(SOURCE_ID & 0xff) * 2 + 1] = DOMAIN << 8 | 2;
	entry_at(r.context)[(SOURCE_ID & 0xff) * 2] = second | 1;
	write64(R_RTADDR, r.root);
	command(SRTP, true);
}

/* --- the invalidation queue --- */

static inline void queue_make(bool wide)
{
	r.queue = page_new();
	r.status = page_new();
	r.width = wide ? 32 : 16;
	r.tail = 0;
	write64(R_IQT, 0);
	write64(R_IQA, r.queue | (wide ? 1 << 11 : 0));
	command(QIE, true);
}

/* Into the queue, and nobody is told. */
static inline void queue_put(uint64_t word0, uint64_t word1)
{
	uint64_t *descriptor = entry_at(r.queue) + r.tail / 8;

	descriptor[0] = word0;
	descriptor[1] = word1;
	if (r.width == 32)
		descriptor[2] = descriptor[3] = 0;
	r.tail = (r.tail + r.width) % PAGE;
}

static inline void queue_tail(void)
{
	write64(R_IQT, r.tail);
}

/* A wait descriptor with a status write; true: it has been completed. */
static inline bool queue_wait(void)
{
	queue_put((uint64_t)++r.waits << 32 | 1 << 5 | 5, r.status);
	queue_tail();
	return __atomic_load_n((uint32_t *)(void *)at(r.status), __ATOMIC_ACQUIRE) == r.waits;
}

/* One descriptor and a wait. */
static inline void invalidate(uint64_t word0, uint64_t word1)
{
	queue_put(word0, word1);
	assert_true(queue_wait());
}

#define D_CONTEXT(granularity, did, sid) (1 | (uint64_t)(granularity) << 4 | (uint64_t)(did) << 16 | (uint64_t)(sid) << 32)
#define D_IOTLB(granularity, did) (2 | (uint64_t)(granularity) << 4 | (uint64_t)(did) << 16)
#define D_PASID_IOTLB(granularity, did, pasid) (6 | (uint64_t)(granularity) << 4 | (uint64_t)(did) << 16 | (uint64_t)(pasid) << 32)
#define D_PASID_CACHE(granularity, did, pasid) (7 | (uint64_t)(granularity) << 4 | (uint64_t)(did) << 16 | (uint64_t)(pasid) << 32)

/* --- accesses and faults --- */

static inline bool dma_reads(uint32_t pasid, uint64_t address, uint64_t *value)
{
	return !uiommu_dma_read(g.device, pasid, address, value, 8, NULL);
}

static inline uint64_t dma_value(uint32_t pasid, uint64_t address)
{
	uint64_t value = 0;

	assert_true(dma_reads(pasid, address, &value));
	return value;
}

/* The record with this number is of @address, @pasid (or none) and @code; clear it. */
static inline void check_record(unsigned int n, uint64_t address, uint32_t pasid, bool reads, unsigned int code)
{
	uint64_t at = 0x200 + n * 16, low = read64(at), high = read64(at + 8);

	assert_int_equal(high >> 63, 1);
	assert_int_equal(high >> 32 & 0xff, code);
	assert_int_equal(low, address & ~UINT64_C(0xfff));
	assert_int_equal(high & 0xffff, SOURCE_ID);
	assert_int_equal(high >> 31 & 1, pasid != UIOMMU_NO_PASID);
	if (pasid != UIOMMU_NO_PASID)
		assert_int_equal(high >> 40 & 0xfffff, pasid & 0xfffff);
	assert_int_equal(high >> 62 & 1, reads);
	write32(at + 12, UINT32_C(1) << 31);
	assert_int_equal(read64(at + 8) >> 63, 0);
}

/* All memory at its own addresses, in a second stage. */
static inline void identity(uint64_t second)
{
	for (uint64_t page = 0; page < RAM_PAGES; page++) {
		uint64_t address = page % 2 ? HIGH_START + page / 2 * PAGE : page / 2 * PAGE;

		*leaf_of(second, address, SECOND) = address | SECOND;
	}
}

#endif

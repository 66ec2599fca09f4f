/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Device and PASID tables in arbitrary memory: every format's steps end after a bounded number of reads, inside the memory, and
 * what they return is accepted by the page tables it is for.
 *
 * The input is a struct header and then pairs of a place and a word that is written there.
 */

#include "fuzz.h"

#include "translate/tables/tables.h"

/* One line for each format. */
static const struct tables_format *const formats[] = {
	&tables_amd,
	&tables_vtd,
};

enum { FORMATS = sizeof(formats) / sizeof(*formats), WORDS = 8192, READS = 4 };

struct header {
	uint8_t format;
	uint8_t mode;
	uint8_t size_lg2;
	uint8_t split;
	uint8_t output_lg2;
	uint8_t base; /* page */
	uint8_t first; /* of the memory, page */
	uint8_t entries; /* in 128 */
	uint32_t flags;
	uint32_t rid;
	uint32_t pasid;
	uint64_t address;
} __attribute__((packed));

struct write {
	uint16_t place;
	uint64_t word;
} __attribute__((packed));

static uint64_t *memory; /* of its own, so that a sanitizer sees its end */
static unsigned int reads;

bool __real_tables_read(const struct pgtable_memory *from, const struct pgtable *stage2, uint64_t address, uint64_t *words,
			unsigned int count, struct tables_fault *fault);
bool __wrap_tables_read(const struct pgtable_memory *from, const struct pgtable *stage2, uint64_t address, uint64_t *words,
			unsigned int count, struct tables_fault *fault);

/* The linker puts it in front of tables_read(). */
bool __wrap_tables_read(const struct pgtable_memory *from, const struct pgtable *stage2, uint64_t address, uint64_t *words,
			unsigned int count, struct tables_fault *fault)
{
	CHECK(++reads <= READS);
	CHECK(!(address & 7) && count >= 1 && count <= 8);
	return __real_tables_read(from, stage2, address, words, count, fault);
}

static void check_fault(const struct tables_fault *fault)
{
	CHECK(fault->reason && fault->reason < UIOMMU_FAULT_REASONS);
	CHECK(fault->structure >= UIOMMU_STRUCTURE_DEVICE_DIR && fault->structure <= UIOMMU_STRUCTURE_PASID);
	CHECK(!fault->stage || fault->stage == 2);
	CHECK(!fault->stage || fault->table);
}

static void check_entry(const struct tables_device *device, const struct tables_entry *entry, uint64_t address)
{
	struct pgtable_memory behind = device->memory;
	struct pgtable stage1, stage2;
	struct pgtable_result result;

	CHECK(entry->mode <= TABLES_TRANSLATE);
	CHECK((entry->has_stage1 || entry->has_stage2) == (entry->mode == TABLES_TRANSLATE));
	CHECK(entry->has_stage1 || entry->asid == UIOMMU_NO_PASID);
	if (entry->has_stage2) {
		CHECK(entry->stage2_format->stage == 2);
		CHECK(!pgtable_init(&stage2, entry->stage2_format, &entry->stage2, &device->memory));
		pgtable_translate(&stage2, address, UIOMMU_READ | PGTABLE_QUIET, &result);
		behind.stage2 = &stage2;
	}
	if (entry->has_stage1) {
		CHECK(entry->stage1_format->stage == 1);
		CHECK(!pgtable_init(&stage1, entry->stage1_format, &entry->stage1, &behind));
		pgtable_translate(&stage1, address, UIOMMU_READ | PGTABLE_QUIET, &result);
	}
}

static void look_up(const struct tables *tables, const struct header *header)
{
	const uint32_t pasids[] = {header->pasid, header->pasid & 0xff, 0, UIOMMU_NO_PASID};
	struct tables_device device;
	struct tables_fault fault;
	struct tables_entry entry;

	reads = 0;
	if (!tables->format->device(tables, header->rid, &device, &fault)) {
		check_fault(&fault);
		return;
	}
	CHECK(!fault.reason && device.format && device.mode <= TABLES_TRANSLATE);
	for (unsigned int i = 0; i < sizeof(pasids) / sizeof(*pasids); i++) {
		reads = 0;
		if (device.format->pasid(&device, pasids[i], &entry, &fault))
			check_entry(&device, &entry, header->address);
		else
			check_fault(&fault);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	memory = aligned_alloc(4096, WORDS * sizeof(*memory));
	CHECK(memory);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct header header;
	struct write write;
	struct tables tables = {.memory.window = {.length = WORDS * sizeof(*memory), .host = (uint8_t *)memory}};

	if (size < sizeof(header))
		return -1;
	memcpy(&header, data, sizeof(header));
	tables.format = formats[header.format % FORMATS];
	tables.config = (struct tables_config){
		.base = (uint64_t)header.base << 12,
		.mode = header.mode,
		.size_lg2 = header.size_lg2,
		.split = header.split,
		.output_lg2 = header.output_lg2,
		.flags = header.flags,
		.entries = header.entries * 128U,
	};
	tables.memory.window.first = (uint64_t)header.first << 12;
	if (tables.format->check(&tables))
		return -1;
	memset(memory, 0, WORDS * sizeof(*memory));
	for (size_t i = sizeof(header); i + sizeof(write) <= size; i += sizeof(write)) {
		memcpy(&write, data + i, sizeof(write));
		memory[write.place % WORDS] = write.word;
	}
	look_up(&tables, &header);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vtd_translate_*: a translation of a device behind a VT-d that a guest has programmed, beside the same translation of a device to
 * which the same page tables were attached by a call: cached, and walked through four levels of a first stage, without and with
 * four levels of a second one. vtd_inv_queue_256: 255 invalidations of a page and a wait descriptor, through the registers, with
 * readers registered and idle; per descriptor. vtd_inv_queue_pasids: the same with 1,000 more PASIDs in use.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uiommu/uiommu.h>

#include "guest_ram.h"
#include "harness.h"

enum { PAGES = 64, LOOKUPS = 1 << 15, REPEATS = 40, ROUNDS = 200, ENTRIES = 256, DOMAIN = 3, MORE = 1000 };

/* One guest memory, seen by a device behind a VT-d and by one with attachments by calls. */
struct run {
	struct guest guest;
	struct uiommu_vtd *vtd;
	struct uiommu_device *guests, *direct;
	struct uiommu_attachment *by_guest, *by_call;
	uint64_t first, second, directory, queue, status, page;
	uint32_t parent, guests_id, direct_id;
	uint32_t waits;
};

static void make_memory(struct run *run, uint32_t iotlb_entries)
{
	struct uiommu_hwpt_alloc alloc = {.size = sizeof(alloc),
					  .type = UIOMMU_HWPT_PAGING,
					  .flags = UIOMMU_HWPT_NEST_PARENT,
					  .iotlb_entries = iotlb_entries};

	guest_make(&run->guest);
	alloc.parent_id = run->guest.ioas;
	support_check(!uiommu_hwpt_alloc(run->guest.context, &alloc, &run->parent));
}

static void make_tables(struct run *run)
{
	run->first = page_new(&run->guest);
	run->second = page_new(&run->guest);
	run->page = page_new(&run->guest);
	for (uint64_t i = 0; i < PAGES; i++)
		map_page(&run->guest, run->first, VA + i * PAGE, run->page | 0x67);
	for (uint64_t address = 0; address < 512 * PAGE; address += PAGE)
		map_page(&run->guest, run->second, address, address | 0x3);
}

/* Root, context, directory and PASID table; PASID 1: first stage, or both. */
static void program(struct run *run, bool nested)
{
	uint64_t root = page_new(&run->guest), context = page_new(&run->guest), directory = page_new(&run->guest),
		 pasids = page_new(&run->guest);

	run->directory = directory;

	words_at(&run->guest, root)[0] = context | 1;
	words_at(&run->guest, context)[0] = directory | 9;
	words_at(&run->guest, directory)[0] = pasids | 1;
	words_at(&run->guest, pasids)[8] = run->second | (nested ? UINT64_C(3) : UINT64_C(1)) << 6 | 2 << 2 | 1;
	words_at(&run->guest, pasids)[9] = DOMAIN;
	words_at(&run->guest, pasids)[10] = run->first;
	run->status = page_new(&run->guest);
	run->queue = page_new(&run->guest);
	page_new(&run->guest);
	uiommu_vtd_write(run->vtd, 0x20, 8, root | 1 << 10);
	uiommu_vtd_write(run->vtd, 0x18, 4, 1 << 30);
	uiommu_vtd_write(run->vtd, 0x90, 8, run->queue | 1 << 11 | 1);
	uiommu_vtd_write(run->vtd, 0x18, 4, UINT32_C(1) << 31 | 1 << 26);
	support_check(uiommu_vtd_read(run->vtd, 0x1c, 4) == (UINT32_C(1) << 31 | 1 << 30 | 1 << 26));
}

static void attach_directly(struct run *run, bool nested)
{
	struct uiommu_hwpt_nested by_call = {
		.size = sizeof(by_call),
		.flags = UIOMMU_HWPT_PASID,
		.parent_id = run->parent,
		.first = {.format = UIOMMU_FORMAT_VTD_FIRST,
			  .base = {run->first},
			  .levels = 4,
			  .output_lg2 = 48,
			  .flags = UIOMMU_VTD_FIRST_NXE | UIOMMU_VTD_FIRST_1G},
	};
	uint32_t id;

	if (nested)
		by_call.second =
			(struct uiommu_page_table){.format = UIOMMU_FORMAT_VTD_SECOND,
						   .base = {run->second},
						   .levels = 4,
						   .output_lg2 = 48,
						   .flags = UIOMMU_VTD_SECOND_SNOOP | UIOMMU_VTD_SECOND_2M | UIOMMU_VTD_SECOND_1G};
	support_check(!uiommu_hwpt_alloc_nested(run->guest.context, &by_call, &id));
	support_check(!uiommu_attach(run->guest.context, run->direct_id, 1, id));
}

static void make(struct run *run, uint32_t iotlb_entries, bool nested)
{
	struct uiommu_device_config device = {.size = sizeof(device), .rid = 1, .name = "guests", .pasid_bits = 20};
	struct uiommu_vtd_config config = {.size = sizeof(config)};

	*run = (struct run){.guest.next_page = PAGE};
	make_memory(run, iotlb_entries);
	make_tables(run);
	support_check(!uiommu_device_alloc(run->guest.context, &device, &run->guests_id));
	device.rid = 2;
	device.name = "direct";
	support_check(!uiommu_device_alloc(run->guest.context, &device, &run->direct_id));
	run->guests = uiommu_device_get(run->guest.context, run->guests_id);
	run->direct = uiommu_device_get(run->guest.context, run->direct_id);
	config.parent_id = run->parent;
	support_check(!uiommu_vtd_create(run->guest.context, &config, &run->vtd));
	support_check(!uiommu_vtd_add(run->vtd, run->guests_id, 0));
	program(run, nested);
	attach_directly(run, nested);
	run->by_guest = uiommu_attachment_get(run->guests, 1);
	run->by_call = uiommu_attachment_get(run->direct, 1);
	support_check(run->by_guest && run->by_call);
}

static void end(struct run *run)
{
	uiommu_attachment_put(run->by_guest);
	uiommu_attachment_put(run->by_call);
	support_check(!uiommu_vtd_destroy(run->vtd));
	uiommu_device_put(run->guests);
	uiommu_device_put(run->direct);
	support_check(!uiommu_close(run->guest.context));
	munmap(run->guest.ram, RAM_BYTES);
}

static double translations(const struct run *run, struct uiommu_attachment *attachment)
{
	struct uiommu_translation to = {.address = 0};
	uint64_t sum = 0;
	double start = bench_now_ns();

	for (uint64_t i = 0; i < LOOKUPS; i++) {
		support_check(!uiommu_translate(attachment, VA + (i * 7 % PAGES) * PAGE, UIOMMU_READ, &to));
		sum += to.address;
	}
	start = (bench_now_ns() - start) / LOOKUPS;
	support_check(sum == run->page * LOOKUPS);
	return start;
}

static double by_guest(void *opaque)
{
	struct run *run = opaque;

	return translations(run, run->by_guest);
}

static double by_call(void *opaque)
{
	struct run *run = opaque;

	return translations(run, run->by_call);
}

static void compare(const char *name, uint32_t iotlb_entries, bool nested)
{
	struct bench_pair pair;
	struct run run;

	make(&run, iotlb_entries, nested);
	pair = bench_measure_pair(by_guest, by_call, &run, REPEATS);
	bench_report_pair(name, "ns", &pair, 1.1, "the same tables attached by a call");
	end(&run);
}

/* As a driver does: descriptors in memory, then the tail. The head is where it was before: the ring has as many entries. */
static double queue(void *opaque)
{
	struct run *run = opaque;
	uint64_t *descriptor = words_at(&run->guest, run->queue), tail = uiommu_vtd_read(run->vtd, 0x88, 8) / 8, value;
	double start = bench_now_ns();

	for (unsigned int round = 0; round < ROUNDS; round++) {
		for (uint64_t i = 0; i < ENTRIES - 1; i++, tail = (tail + 4) % (ENTRIES * 4)) {
			descriptor[tail] = 6 | 3 << 4 | DOMAIN << 16 | UINT64_C(1) << 32;
			descriptor[tail + 1] = VA + i * PAGE;
			if (i == ENTRIES / 2) /* a ring is never full */
				uiommu_vtd_write(run->vtd, 0x88, 8, tail * 8);
		}
		descriptor[tail] = (uint64_t)++run->waits << 32 | 1 << 5 | 5;
		descriptor[tail + 1] = run->status;
		tail = (tail + 4) % (ENTRIES * 4);
		uiommu_vtd_write(run->vtd, 0x88, 8, tail * 8);
		value = *words_at(&run->guest, run->status);
		support_check((uint32_t)value == run->waits);
	}
	return (bench_now_ns() - start) / (ROUNDS * ENTRIES);
}

/* PASIDs from 64 on, with the same first stage, each used once. */
static void use_more(struct run *run)
{
	uint64_t table = 0, value;

	for (uint32_t pasid = 64; pasid < 64 + MORE; pasid++) {
		if (pasid % 64 == 0) {
			table = page_new(&run->guest);
			words_at(&run->guest, run->directory)[pasid / 64] = table | 1;
		}
		words_at(&run->guest, table)[pasid % 64 * 8 + 1] = DOMAIN;
		words_at(&run->guest, table)[pasid % 64 * 8 + 2] = run->first;
		words_at(&run->guest, table)[pasid % 64 * 8] = 1 << 6 | 1;
		support_check(!uiommu_dma_read(run->guests, pasid, VA, &value, sizeof(value), NULL));
	}
}

/* Registered, inside of nothing. */
struct reader {
	struct run *run;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool ready, over;
};

static void *reader_main(void *opaque)
{
	struct reader *reader = opaque;
	uint64_t value;

	support_check(!uiommu_dma_read(reader->run->guests, 1, VA, &value, sizeof(value), NULL));
	pthread_mutex_lock(&reader->lock);
	reader->ready = true;
	pthread_cond_broadcast(&reader->cond);
	while (!reader->over)
		pthread_cond_wait(&reader->cond, &reader->lock);
	pthread_mutex_unlock(&reader->lock);
	return NULL;
}

static void invalidations(const char *name, bool more, const char *note)
{
	struct reader reader = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	struct bench_sample sample;
	pthread_t thread;
	struct run run;

	make(&run, 0, false);
	if (more)
		use_more(&run);
	reader.run = &run;
	support_check(!pthread_create(&thread, NULL, reader_main, &reader));
	pthread_mutex_lock(&reader.lock);
	while (!reader.ready)
		pthread_cond_wait(&reader.cond, &reader.lock);
	pthread_mutex_unlock(&reader.lock);
	sample = bench_measure(queue, &run, REPEATS);
	pthread_mutex_lock(&reader.lock);
	reader.over = true;
	pthread_cond_broadcast(&reader.cond);
	pthread_mutex_unlock(&reader.lock);
	pthread_join(thread, NULL);
	bench_report_value(name, "ns", sample.min, 1000, note);
	end(&run);
}

int main(void)
{
	bench_pin(0, 1);
	support_check(!uiommu_install_fault_handler());
	compare("vtd_translate_hit", 0, false);
	compare("vtd_translate_walk_fs4", UIOMMU_IOTLB_NONE, false);
	compare("vtd_translate_walk_nested", UIOMMU_IOTLB_NONE, true);
	invalidations("vtd_inv_queue_256", false, "per descriptor; 255 pages and a wait, readers idle");
	invalidations("vtd_inv_queue_pasids", true, "the same, with 1,000 more PASIDs in use");
	return 0;
}

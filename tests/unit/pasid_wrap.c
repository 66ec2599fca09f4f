/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The wrap: every PASID there is, but 0 and the RID's own, is allocated, bound, used, freed, and used again by somebody else, while
 * a descriptor of its first owner waits in the queue of the device. None of them reaches the second one.
 */
#include "test.h"

#include <sys/mman.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

enum { OWNERS = 2, ENTRIES = 4096, OWN = 123456 };

#define IOVA UINT64_C(0x10000)

struct owner {
	uint32_t set, hwpt;
	uint64_t *memory;
};

struct world {
	struct uiommu_context *context;
	struct uiommu_device *device;
	uint32_t device_id;
	struct uiommu_accel *accel;
	struct uiommu_queue *queue;
	size_t page;
	struct owner owners[OWNERS];
};

static void owner_make(struct world *w, struct owner *owner)
{
	struct uiommu_pasid_set_alloc set = {.size = sizeof(set)};
	struct uiommu_hwpt_alloc hwpt = {.size = sizeof(hwpt), .flags = UIOMMU_HWPT_PASID};
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
		.source = UIOMMU_MAP_OWN,
		.length = w->page,
		.iova = IOVA,
	};

	owner->memory = mmap(NULL, w->page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(owner->memory, MAP_FAILED);
	map.address = owner->memory;
	assert_int_equal(uiommu_ioas_alloc(w->context, &map.ioas_id), 0);
	assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	hwpt.parent_id = map.ioas_id;
	assert_int_equal(uiommu_hwpt_alloc(w->context, &hwpt, &owner->hwpt), 0);
	assert_int_equal(uiommu_pasid_set_alloc(w->context, &set, &owner->set), 0);
}

static void world_make(struct world *w)
{
	struct uiommu_device_config config = {.size = sizeof(config), .rid = 1, .name = "wrap", .pasid_bits = 20, .rid_pasid = OWN};
	struct uiommu_queue_config queue = {.size = sizeof(queue), .flags = UIOMMU_QUEUE_SHARED, .entries = ENTRIES};

	w->page = (size_t)sysconf(_SC_PAGESIZE);
	assert_int_equal(uiommu_open(NULL, &w->context), 0);
	assert_int_equal(uiommu_device_alloc(w->context, &config, &w->device_id), 0);
	w->device = uiommu_device_get(w->context, w->device_id);
	assert_int_equal(uiommu_accel_create(w->context, w->device_id, &w->accel), 0);
	assert_int_equal(uiommu_accel_queue(w->accel, &queue, &w->queue), 0);
	for (unsigned int i = 0; i < OWNERS; i++)
		owner_make(w, &w->owners[i]);
}

static void world_end(struct world *w)
{
	struct uiommu_pasid_set_info info = {.size = sizeof(info)};

	for (unsigned int i = 0; i < OWNERS; i++) {
		assert_int_equal(uiommu_pasid_set_info(w->context, w->owners[i].set, &info), 0);
		assert_int_equal(info.count, 0);
		assert_int_equal(uiommu_destroy(w->context, w->owners[i].set), 0);
		munmap(w->owners[i].memory, w->page);
	}
	uiommu_accel_destroy(w->accel);
	uiommu_device_put(w->device);
	assert_int_equal(uiommu_close(w->context), 0);
}

static uint32_t take(const struct world *w, const struct owner *owner, uint32_t first, uint32_t last)
{
	uint32_t pasid = 0;

	assert_int_equal(uiommu_pasid_alloc(w->context, owner->set, first, last, &pasid), 0);
	return pasid;
}

/* Bind it and use it: it is its owner's memory, and nobody else's. */
static void use(const struct world *w, unsigned int who, uint32_t pasid)
{
	const struct owner *owner = &w->owners[who], *other = &w->owners[!who];
	uint64_t value = (uint64_t)pasid << 8 | who;

	assert_int_equal(uiommu_attach(w->context, w->device_id, pasid, owner->hwpt), 0);
	assert_int_equal(uiommu_dma_write(w->device, pasid, IOVA, &value, sizeof(value), NULL), 0);
	assert_true(owner->memory[0] == value);
	assert_true(other->memory[0] == 0);
	owner->memory[0] = 0;
}

/* What the first owner leaves in the queue. */
static void submit(const struct world *w, uint32_t pasid)
{
	struct uiommu_accel_desc desc = {
		.pasid_priv = pasid,
		.flags_opcode = UIOMMU_ACCEL_FILL << 24,
		.source = UINT64_MAX,
		.destination = IOVA + 64,
		.transfer_size = 64,
	};

	assert_int_equal(uiommu_queue_submit(w->queue, &desc), 0);
}

static void give(const struct world *w, unsigned int who, uint32_t pasid)
{
	assert_int_equal(uiommu_pasid_free(w->context, w->owners[who].set, pasid), 0);
}

/* All that waits in the queue is lost. */
static void nothing_comes(const struct world *w, uint64_t lost)
{
	struct uiommu_accel_error error;

	while (uiommu_accel_poll(w->accel, ENTRIES))
		;
	uiommu_queue_error(w->queue, &error);
	assert_int_equal(error.code, UIOMMU_ACCEL_ERROR_PASID);
	assert_true(error.count == lost);
	for (unsigned int i = 0; i < OWNERS; i++)
		for (size_t j = 0; j < w->page / sizeof(uint64_t); j++)
			assert_true(w->owners[i].memory[j] == 0);
}

static void every_number_twice(void **state)
{
	struct world w = {.page = 0};
	uint64_t lost = 0;
	uint32_t pasid;

	(void)state;
	world_make(&w);
	for (uint32_t i = 1; i <= UIOMMU_PASID_LAST; i++)
		assert_int_equal(take(&w, &w.owners[0], 1, UIOMMU_PASID_LAST), i);
	assert_int_equal(uiommu_pasid_alloc(w.context, w.owners[1].set, 1, UIOMMU_PASID_LAST, &pasid), -ENOSPC);
	assert_int_equal(uiommu_attach(w.context, w.device_id, OWN, w.owners[0].hwpt), -EINVAL);
	for (uint32_t from = 1; from <= UIOMMU_PASID_LAST; from += ENTRIES) {
		uint32_t last = from + ENTRIES - 1 < UIOMMU_PASID_LAST ? from + ENTRIES - 1 : UIOMMU_PASID_LAST;

		for (pasid = from; pasid <= last; pasid++) {
			if (pasid != OWN) {
				use(&w, 0, pasid);
				submit(&w, pasid);
				lost++;
			}
			give(&w, 0, pasid);
			assert_int_equal(take(&w, &w.owners[1], 1, UIOMMU_PASID_LAST), pasid);
			if (pasid != OWN)
				use(&w, 1, pasid);
		}
		nothing_comes(&w, lost);
		for (pasid = from; pasid <= last; pasid++)
			give(&w, 1, pasid);
		/* They are free: keep them from being the lowest. */
		for (pasid = from; pasid <= last; pasid++)
			take(&w, &w.owners[1], pasid, pasid);
	}
	assert_true(lost == UIOMMU_PASID_LAST - 1);
	assert_int_equal(uiommu_pasid_free_all(w.context, w.owners[1].set), 0);
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_number_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What is met when a bind ends: page requests, pins and caches, and what was claimed of them. */
#include "bind.h"

/* It asks for the page, and gets the answer that the end gives. */
static void answered(void *opaque, unsigned int response)
{
	*(unsigned int *)opaque = response;
}

static void ask(unsigned int *response)
{
	struct uiommu_dma_result result;
	struct uiommu_fault_event event;
	uint8_t byte;

	*response = 99;
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA + PAGE, &byte, 1, &result), -EFAULT);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(uiommu_dma_page_request(g.device, &result.fault, answered, response), 0);
}

/* A device that does not stop: it reads while the end has begun, when it is asked for its pin. */
static void goes_on(void *opaque, struct uiommu_pin *pin)
{
	(void)opaque;
	assert_int_equal(word_at(PASID, VA), WORD);
	uiommu_dma_unpin(pin);
}

static void pin(void)
{
	struct iovec iov;
	struct uiommu_dma_pin pin = {
		.address = VA, .length = 8, .pasid = PASID, .access = UIOMMU_READ, .iov = &iov, .iov_count = 1, .unmap = goes_on};

	assert_int_equal(uiommu_dma_pin(g.device, &pin, NULL), 0);
}

/* One bind, and what is met when it ends. */
struct ending {
	struct uiommu_bind bind;
	bool asks, goes_on;
};

static void check_ending(const struct ending *ending)
{
	const unsigned int flushed = UIOMMU_UNBIND_FLUSHED, clean = UIOMMU_UNBIND_CLEAN;
	const unsigned int expected = (ending->asks ? clean : 0) | (ending->goes_on ? flushed : 0);
	struct uiommu_bind bind = ending->bind;
	unsigned int response;

	for (unsigned int claimed = 0; claimed < 4; claimed++) {
		assert_int_equal(uiommu_bind(g.context, &bind), 0);
		assert_int_equal(word_at(PASID, VA), WORD);
		if (ending->asks)
			ask(&response);
		if (ending->goes_on)
			pin();
		assert_int_equal(uiommu_unbind_claim(g.context, g.device_id, bind.pasid, claimed), expected & claimed);
		assert_true(!ending->asks || response == UIOMMU_RESPONSE_INVALID);
		unbound(PASID);
	}
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	assert_int_equal(uiommu_unbind_claim(g.context, g.device_id, bind.pasid, 4), -EOPNOTSUPP);
	/* One of two is nobody's end. */
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	if (ending->asks)
		ask(&response);
	assert_int_equal(uiommu_unbind_claim(g.context, g.device_id, bind.pasid, flushed | clean), 0);
	assert_int_equal(uiommu_unbind_claim(g.context, g.device_id, bind.pasid, flushed | clean), ending->asks ? clean : 0);
}

static void claims(void **state)
{
	uint64_t root = root_make(WORD);
	struct uiommu_bind_page_table table = table_of(root);
	struct uiommu_hwpt_tables whole = vtd_tables(root);
	struct ending ending = {.bind = request(UIOMMU_BIND_PAGE_TABLE, &table, sizeof(table))};

	(void)state;
	traps_on();
	check_ending(&ending);
	ending.asks = true;
	check_ending(&ending);
	ending.bind = request(UIOMMU_BIND_PASID_TABLE, &whole, sizeof(whole));
	ending.bind.pasid = UIOMMU_NO_PASID;
	check_ending(&ending);
	ending.asks = false;
	check_ending(&ending);
}

/* Memory that can be pinned: what is mapped at VA. */
static void claims_of_a_device_that_goes_on(void **state)
{
	struct uiommu_bind_shared shared = {.access = UIOMMU_READ};
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ,
		.source = UIOMMU_MAP_RAM,
		.ram_id = g.ram,
		.iova = VA,
		.length = PAGE,
	};
	struct ending ending = {.bind = request(UIOMMU_BIND_SHARED, &shared, sizeof(shared)), .goes_on = true};

	(void)state;
	traps_on();
	assert_int_equal(uiommu_ioas_alloc(g.context, &map.ioas_id), 0);
	assert_int_equal(uiommu_ioas_map(g.context, &map), 0);
	*entry_at(0) = WORD;
	shared.ioas_id = map.ioas_id;
	check_ending(&ending);
	ending.asks = true;
	check_ending(&ending);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_ALL_WAYS(claims),
		IN_ALL_WAYS(claims_of_a_device_that_goes_on),
	};

	traps_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The IOTLB alone: what is found, what is forgotten, and tags that have all been used. */
#include "test.h"

#include "translate/iotlb.h"
#include "util/rcu.h"

static void fill(struct iotlb *iotlb, struct iotlb_owner *owner, uint64_t address, uint64_t oa)
{
	struct iotlb_fill begun = iotlb_begin(iotlb, owner);
	struct pgtable_result result = {.oa = oa, .page_lg2 = 12, .access = UIOMMU_READ};

	iotlb_fill(iotlb, owner, &begun, address, true, &result);
}

static bool finds(const struct iotlb_owner *owner, uint64_t address, uint64_t oa)
{
	struct iotlb_hit hit;

	return iotlb_find(owner, address, true, &hit) && hit.oa == oa;
}

/* When the last tag has been given nobody finds what was there, not his own nor another's, and tags differ again. */
static void tags_begin_again(void **state)
{
	struct iotlb_owner a, b;
	struct iotlb iotlb;

	(void)state;
	a = b = (struct iotlb_owner){.tag = 0};
	assert_int_equal(iotlb_init(&iotlb, 64), 0);
	iotlb_join(&iotlb, &a);
	iotlb_join(&iotlb, &b);
	fill(&iotlb, &a, 0x1000, 0xa000);
	fill(&iotlb, &b, 0x1000, 0xb000);
	assert_true(finds(&a, 0x1000, 0xa000));
	assert_true(finds(&b, 0x1000, 0xb000));
	iotlb.tag = IOTLB_TAG;
	iotlb_renew(&iotlb, &b);
	assert_int_not_equal(a.tag, b.tag);
	assert_true(a.tag && b.tag && iotlb.tag == 2);
	assert_false(finds(&a, 0x1000, 0xa000) || finds(&a, 0x1000, 0xb000));
	assert_false(finds(&b, 0x1000, 0xb000) || finds(&b, 0x1000, 0xa000));
	fill(&iotlb, &a, 0x1000, 0xc000);
	assert_true(finds(&a, 0x1000, 0xc000));
	assert_false(finds(&b, 0x1000, 0xc000));
	iotlb_part(&iotlb, &a);
	iotlb_part(&iotlb, &b);
	iotlb_fini(&iotlb);
}

/* A fill that began before a page was cleared, or the tag changed, leaves nothing that is found. */
static void fills_that_are_late(void **state)
{
	struct pgtable_result result = {.oa = 0xa000, .page_lg2 = 12, .access = UIOMMU_READ};
	struct iotlb_owner owner = {.tag = 0};
	struct iotlb_fill begun;
	struct iotlb iotlb;

	(void)state;
	assert_int_equal(iotlb_init(&iotlb, 64), 0);
	iotlb_join(&iotlb, &owner);
	begun = iotlb_begin(&iotlb, &owner);
	iotlb_clear(&iotlb, &owner, 0x1000, 0x1fff);
	iotlb_fill(&iotlb, &owner, &begun, 0x1000, true, &result);
	assert_false(finds(&owner, 0x1000, 0xa000));
	begun = iotlb_begin(&iotlb, &owner);
	iotlb_renew(&iotlb, &owner);
	iotlb_fill(&iotlb, &owner, &begun, 0x1000, true, &result);
	assert_false(finds(&owner, 0x1000, 0xa000));
	fill(&iotlb, &owner, 0x1000, 0xa000);
	assert_true(finds(&owner, 0x1000, 0xa000));
	iotlb_part(&iotlb, &owner);
	iotlb_fini(&iotlb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tags_begin_again),
		cmocka_unit_test(fills_that_are_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

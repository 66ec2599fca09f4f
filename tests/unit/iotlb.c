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

enum { OWNERS = 16, PAGES = 1024 };

/* Of what all have filled in, so many are not found; and nothing is found that is another's. */
static unsigned int lost(struct iotlb *iotlb, struct iotlb_owner *owners)
{
	const uint64_t start = UINT64_C(0x7f0000000000);
	unsigned int count = 0;
	struct iotlb_hit hit;

	for (uint64_t i = 0; i < OWNERS; i++)
		for (uint64_t page = 0; page < PAGES; page++)
			fill(iotlb, &owners[i], start + page * 0x1000, (i + 1) << 32 | page << 12);
	for (uint64_t i = 0; i < OWNERS; i++)
		for (uint64_t page = 0; page < PAGES; page++) {
			if (!iotlb_find(&owners[i], start + page * 0x1000, true, &hit))
				count++;
			else
				assert_int_equal(hit.oa, (i + 1) << 32 | page << 12);
		}
	return count;
}

/* As many neighbours as the cache is made for, at the same addresses of many owners, find room; also when some have been renewed.
 */
static void neighbours_of_many(void **state)
{
	struct iotlb_owner owners[OWNERS];
	struct iotlb iotlb;

	(void)state;
	memset(owners, 0, sizeof(owners));
	assert_int_equal(iotlb_init(&iotlb, OWNERS * PAGES), 0);
	for (unsigned int i = 0; i < OWNERS; i++)
		iotlb_join(&iotlb, &owners[i]);
	assert_in_range(lost(&iotlb, owners), 0, OWNERS * PAGES / 10);
	for (unsigned int i = 0; i < 1000; i++)
		iotlb_renew(&iotlb, &owners[i * i % 7]);
	assert_in_range(lost(&iotlb, owners), 0, OWNERS * PAGES / 10);
	for (unsigned int i = 0; i < OWNERS; i++)
		iotlb_part(&iotlb, &owners[i]);
	iotlb_fini(&iotlb);
}

/* Pages of all sizes at one address, of both privileges, are told apart. */
static void sizes_and_privileges(void **state)
{
	static const uint8_t sizes[] = {12, 14, 16, 21, 25, 30, 39};
	struct iotlb_owner owner = {.tag = 0};
	struct iotlb iotlb;

	(void)state;
	assert_int_equal(iotlb_init(&iotlb, 64), 0);
	iotlb_join(&iotlb, &owner);
	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		struct iotlb_fill begun = iotlb_begin(&iotlb, &owner);
		struct pgtable_result result = {
			.oa = UINT64_C(1) << 40, .page_lg2 = sizes[i / 2], .access = i % 2 ? UIOMMU_READ : UIOMMU_WRITE};
		struct iotlb_hit hit = {.oa = 0};

		iotlb_fill(&iotlb, &owner, &begun, 0x1234, i % 2, &result);
		assert_true(iotlb_probe(&owner, 0x1230, i % 2, sizes[i / 2], IOTLB_WAYS, &hit));
		assert_int_equal(hit.oa, UINT64_C(1) << 40 | (0x1230 & low_mask(sizes[i / 2])));
		assert_int_equal(hit.access, result.access);
		assert_int_equal(hit.length, (UINT64_C(1) << sizes[i / 2]) - (0x1230 & low_mask(sizes[i / 2])));
		iotlb_clear(&iotlb, &owner, 0x1230, 0x1230);
		assert_false(iotlb_probe(&owner, 0x1230, i % 2, sizes[i / 2], IOTLB_WAYS, &hit));
	}
	iotlb_part(&iotlb, &owner);
	iotlb_fini(&iotlb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tags_begin_again),
		cmocka_unit_test(fills_that_are_late),
		cmocka_unit_test(neighbours_of_many),
		cmocka_unit_test(sizes_and_privileges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

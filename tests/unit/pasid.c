/* SPDX-License-Identifier: BSD-3-Clause */
#include "test.h"

#include <uiommu/types.h>

#include "pasid/pasid.h"
#include "pasid/space.h"

enum { OPERATIONS = 100000, WINDOW = 5000 };

static void use(struct pasid_set *set, uint32_t pasid)
{
	assert_int_equal(pasid_use(set, pasid), 0);
	assert_int_equal(pasid_live(set->space, pasid), 0);
}

static void unuse(struct pasid_set *set, uint32_t pasid)
{
	pasid_ending(set->space, pasid);
	pasid_unuse(set->space, pasid);
}

static void life_cycle(void **state)
{
	struct pasid_space *space = pasid_space_create();
	struct pasid_set *set = pasid_set_create(space, 10), *other = pasid_set_create(space, 10);
	uint64_t generation;
	uint32_t pasid;

	(void)state;
	assert_int_equal(pasid_alloc(set, 1, UIOMMU_PASID_LAST, &pasid), 0);
	assert_int_equal(pasid, 1);
	assert_int_equal(pasid_state(set, 1), PASID_ALLOCATED);
	assert_int_equal(pasid_state(other, 1), PASID_FREE);
	generation = pasid_generation(set, 1);
	use(set, 1);
	assert_int_equal(pasid_state(set, 1), PASID_BOUND);
	unuse(set, 1);
	assert_int_equal(pasid_state(set, 1), PASID_ALLOCATED);
	use(set, 1);
	use(set, 1);
	assert_int_equal(pasid_free(other, 1), -ENOENT);
	assert_int_equal(pasid_free(set, 1), PASID_DRAINING);
	assert_int_equal(pasid_free(set, 1), -ENOENT);
	assert_int_equal(pasid_use(set, 1), -EBUSY);
	unuse(set, 1);
	assert_int_equal(pasid_state(set, 1), PASID_DRAINING);
	assert_true(pasid_freed_bound(space, 1));

	/* Never reused while draining. */
	assert_int_equal(pasid_alloc(other, 1, 1, &pasid), -EBUSY);
	assert_int_equal(pasid_alloc(other, 1, UIOMMU_PASID_LAST, &pasid), 0);
	assert_int_equal(pasid, 2);
	unuse(set, 1);
	assert_int_equal(pasid_state(set, 1), PASID_FREE);
	assert_true(pasid_freed_bound(space, 1));
	assert_int_equal(pasid_alloc(other, 1, 1, &pasid), 0);
	assert_false(pasid_freed_bound(space, 1));
	assert_true(pasid_generation(other, 1) > generation);
	assert_int_equal(pasid_generation(set, 1), 0);

	/* Freed before it was bound: at once. */
	assert_int_equal(pasid_free(other, 2), PASID_FREE);
	assert_int_equal(pasid_set_count(other), 1);
	pasid_set_destroy(set);
	pasid_set_destroy(other);
	pasid_space_destroy(space);
}

static void ranges_and_quota(void **state)
{
	struct pasid_space *space = pasid_space_create();
	struct pasid_set *set = pasid_set_create(space, 3);
	uint32_t pasid;

	(void)state;
	assert_int_equal(pasid_alloc(set, 0, 5, &pasid), -EINVAL);
	assert_int_equal(pasid_alloc(set, 6, 5, &pasid), -EINVAL);
	assert_int_equal(pasid_alloc(set, 1, UIOMMU_PASID_LAST + 1, &pasid), -EINVAL);
	assert_int_equal(pasid_alloc(set, 70, 71, &pasid), 0);
	assert_int_equal(pasid, 70);
	assert_int_equal(pasid_alloc(set, 70, 71, &pasid), 0);
	assert_int_equal(pasid, 71);
	assert_int_equal(pasid_alloc(set, 70, 71, &pasid), -ENOSPC);
	assert_int_equal(pasid_alloc(set, 71, 71, &pasid), -EBUSY);
	assert_int_equal(pasid_alloc(set, UIOMMU_PASID_LAST, UIOMMU_PASID_LAST, &pasid), 0);
	assert_int_equal(pasid, UIOMMU_PASID_LAST);
	assert_int_equal(pasid_alloc(set, 1, 9, &pasid), -EDQUOT);
	assert_int_equal(pasid_next(set, 1), 70);
	assert_int_equal(pasid_next(set, 72), UIOMMU_PASID_LAST);
	assert_int_equal(pasid_next(set, UIOMMU_PASID_LAST + 1), 0);

	/* The end of a set: bound ones drain, the others are free. */
	use(set, 71);
	pasid_set_free_all(set);
	assert_int_equal(pasid_set_count(set), 1);
	assert_int_equal(pasid_state(set, 71), PASID_DRAINING);
	pasid_set_destroy(set);
	set = pasid_set_create(space, 1);
	assert_int_equal(pasid_alloc(set, 71, 71, &pasid), 0);
	pasid_set_destroy(set);
	pasid_space_destroy(space);
}

static void all_of_them(void **state)
{
	struct pasid_space *space = pasid_space_create();
	struct pasid_set *set = pasid_set_create(space, UINT32_MAX);
	uint32_t pasid;

	(void)state;
	for (uint32_t i = 1; i <= UIOMMU_PASID_LAST; i++) {
		assert_int_equal(pasid_alloc(set, 1, UIOMMU_PASID_LAST, &pasid), 0);
		assert_int_equal(pasid, i);
	}
	assert_int_equal(pasid_alloc(set, 1, UIOMMU_PASID_LAST, &pasid), -ENOSPC);
	assert_int_equal(pasid_free(set, 654321), PASID_FREE);
	assert_int_equal(pasid_alloc(set, 1, 654320, &pasid), -ENOSPC);
	assert_int_equal(pasid_alloc(set, 1, UIOMMU_PASID_LAST, &pasid), 0);
	assert_int_equal(pasid, 654321);
	pasid_set_destroy(set);
	pasid_space_destroy(space);
}

struct simple {
	bool allocated, draining, implicit;
	unsigned int uses;
};

static enum pasid_state simple_state(const struct simple *n)
{
	return n->draining ? PASID_DRAINING : n->uses ? PASID_BOUND : n->allocated ? PASID_ALLOCATED : PASID_FREE;
}

static void simple_settle(struct simple *n)
{
	if (!n->uses && (n->draining || n->implicit))
		*n = (struct simple){0};
}

/* Random operations against an array that is searched from its beginning. */
static void random_against_a_simple_model(void **state)
{
	static struct simple model[WINDOW + 1];
	struct pasid_space *space = pasid_space_create();
	struct pasid_set *set = pasid_set_create(space, UINT32_MAX);

	(void)state;
	srandom(7);
	for (unsigned int i = 0; i < scaled(OPERATIONS); i++) {
		uint32_t number = (uint32_t)random() % WINDOW + 1, pasid = 0, expected;
		struct simple *n = &model[number];
		bool implicit = false;

		switch (random() % 6) {
		case 0:
			implicit = true; /* fall through */
		case 1:
			for (expected = number; expected <= WINDOW && model[expected].allocated;)
				expected++;
			assert_int_equal((implicit ? pasid_pick : pasid_alloc)(set, number, WINDOW, &pasid), expected <= WINDOW ? 0
													     : number == WINDOW
														     ? -EBUSY
														     : -ENOSPC);
			if (expected > WINDOW)
				break;
			assert_int_equal(pasid, expected);
			model[pasid] = (struct simple){.allocated = true, .implicit = implicit, .uses = implicit};
			if (implicit)
				assert_int_equal(pasid_live(space, pasid), 0);
			break;
		case 2:
			assert_int_equal(pasid_use(set, number), n->draining ? -EBUSY : 0);
			if (n->draining)
				break;
			assert_int_equal(pasid_live(space, number), 0);
			n->implicit |= !n->allocated;
			n->allocated = true;
			n->uses++;
			break;
		case 3:
			if (n->allocated && !n->draining) {
				n->draining = true;
				n->implicit = false;
				simple_settle(n);
				assert_int_equal(pasid_free(set, number), simple_state(n));
			} else {
				assert_int_equal(pasid_free(set, number), -ENOENT);
			}
			break;
		default:
			if (!n->uses)
				break;
			unuse(set, number);
			n->uses--;
			simple_settle(n);
		}
		assert_int_equal(pasid_state(set, number), simple_state(n));
	}
	pasid_set_destroy(set);
	pasid_space_destroy(space);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(life_cycle),
		cmocka_unit_test(ranges_and_quota),
		cmocka_unit_test(all_of_them),
		cmocka_unit_test(random_against_a_simple_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "test.h"

#include "daemon/account.h"

static void options_are_read(void **state)
{
	static const char *const wrong[] = {"",
					    "pasids",
					    "pasids=",
					    "pasids=x",
					    "pasids=1:",
					    "pasids=1:2:3",
					    "pasids=-1",
					    "=1",
					    "pasid=1",
					    "pasidss=1",
					    "pasids =1",
					    "pasids=1 ",
					    "pasids=:5",
					    "PASIDS=1",
					    "pasids=4294967296",
					    "pasids=1:4294967296",
					    "pasids=99999999999999999999"};
	struct limits limits = limits_default;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(limits_parse(&limits, wrong[i]), -EINVAL);
	assert_memory_equal(&limits, &limits_default, sizeof(limits));
	assert_int_equal(limits_parse(&limits, "pasids=3:7"), 0);
	assert_int_equal(limits.of[RESOURCE_PASIDS].client, 3);
	assert_int_equal(limits.of[RESOURCE_PASIDS].user, 7);
	assert_int_equal(limits_parse(&limits, "fds=12"), 0);
	assert_int_equal(limits.of[RESOURCE_FDS].client, 12);
	assert_int_equal(limits.of[RESOURCE_FDS].user, 12);
	for (unsigned int i = 0; i < RESOURCES; i++)
		assert_true(limits_default.of[i].client <= limits_default.of[i].user);
}

static void clients_and_users_have_limits(void **state)
{
	struct accounts accounts;
	struct limits limits = limits_default;
	struct usage a, b, other;

	(void)state;
	limits.of[RESOURCE_PASIDS] = (struct limit){3, 5};
	accounts_init(&accounts, &limits);
	assert_int_equal(usage_init(&accounts, &a, 1000), 0);
	assert_int_equal(usage_init(&accounts, &b, 1000), 0);
	assert_int_equal(usage_init(&accounts, &other, 1001), 0);
	assert_ptr_equal(a.account, b.account);
	assert_ptr_not_equal(a.account, other.account);

	assert_int_equal(usage_take(&accounts, &a, RESOURCE_PASIDS, 3), REFUSED_NOT);
	assert_int_equal(usage_take(&accounts, &a, RESOURCE_PASIDS, 1), REFUSED_CLIENT);
	assert_int_equal(usage_take(&accounts, &a, RESOURCE_PASIDS, UINT32_MAX), REFUSED_CLIENT);
	assert_int_equal(a.used[RESOURCE_PASIDS], 3);
	assert_int_equal(usage_take(&accounts, &b, RESOURCE_PASIDS, 3), REFUSED_USER);
	assert_int_equal(usage_take(&accounts, &b, RESOURCE_PASIDS, 2), REFUSED_NOT);
	assert_int_equal(usage_take(&accounts, &other, RESOURCE_PASIDS, 3), REFUSED_NOT);
	assert_int_equal(accounts_used(&accounts, RESOURCE_PASIDS), 8);
	assert_int_equal(accounts_used(&accounts, RESOURCE_QUEUES), 0);

	/* The end of a client gives back what it had, and nothing more. */
	usage_fini(&a);
	assert_int_equal(b.account->used[RESOURCE_PASIDS], 2);
	usage_give(&b, RESOURCE_PASIDS, 100);
	assert_int_equal(b.account->used[RESOURCE_PASIDS], 0);
	usage_fini(&b);
	assert_int_equal(accounts_used(&accounts, RESOURCE_PASIDS), 3);
	usage_fini(&other);
	assert_int_equal(accounts_used(&accounts, RESOURCE_PASIDS), 0);
	assert_true(cds_list_empty(&accounts.list));
}

static void too_much_that_drains_stops_the_rest(void **state)
{
	struct accounts accounts;
	struct limits limits = limits_default;
	struct usage a, b;

	(void)state;
	limits.of[RESOURCE_DRAINING] = (struct limit){2, 3};
	accounts_init(&accounts, &limits);
	assert_int_equal(usage_init(&accounts, &a, 7), 0);
	assert_int_equal(usage_init(&accounts, &b, 7), 0);
	usage_count(&a, RESOURCE_DRAINING, 1);
	assert_false(usage_is_draining(&accounts, &a));
	usage_count(&a, RESOURCE_DRAINING, 1);
	assert_true(usage_is_draining(&accounts, &a));
	assert_false(usage_is_draining(&accounts, &b));
	usage_count(&b, RESOURCE_DRAINING, 1);
	assert_true(usage_is_draining(&accounts, &b));
	usage_fini(&a);
	assert_false(usage_is_draining(&accounts, &b));
	usage_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_read),
		cmocka_unit_test(clients_and_users_have_limits),
		cmocka_unit_test(too_much_that_drains_stops_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

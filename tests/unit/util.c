/* SPDX-License-Identifier: BSD-3-Clause */
#include "test.h"

#include <uiommu/types.h>

#include "util/util.h"

struct sample {
	uint32_t size;
	uint32_t value;
	uint64_t extra;
};

static void copy_struct_extends(void **state)
{
	struct sample in = {sizeof(in), 7, 9}, out;
	struct {
		struct sample known;
		uint64_t tail;
	} big = {.known = {sizeof(big), 7, 9}};

	(void)state;
	assert_int_equal(copy_struct(&out, sizeof(out), 8, &in, sizeof(in)), 0);
	assert_int_equal(out.extra, 9);
	assert_int_equal(copy_struct(&out, sizeof(out), 8, &in, 8), 0);
	assert_int_equal(out.value, 7);
	assert_int_equal(out.extra, 0);
	assert_int_equal(copy_struct(&out, sizeof(out), 8, &in, 7), -EINVAL);
	assert_int_equal(copy_struct(&out, sizeof(out), 8, &big, sizeof(big)), 0);
	big.tail = 1;
	assert_int_equal(copy_struct(&out, sizeof(out), 8, &big, sizeof(big)), -E2BIG);
}

static void reasons_have_names(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < UIOMMU_FAULT_REASONS; i++)
		assert_string_not_equal(uiommu_fault_reason_name(i), "unknown");
	assert_string_equal(uiommu_fault_reason_name(UIOMMU_FAULT_REASONS), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copy_struct_extends),
		cmocka_unit_test(reasons_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

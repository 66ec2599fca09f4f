/* SPDX-License-Identifier: BSD-3-Clause */
/* Register files: masks, sizes, offsets. */
#include "test.h"

#include "util/util.h"
#include "viommu/registers.h"

static struct register_write last;
static unsigned int writes;

static void written(struct registers *registers, const struct register_write *write)
{
	assert_non_null(registers);
	last = *write;
	writes++;
}

static const struct register_info table[] = {
	{.offset = 0x00, .width = 4, .reset = 0x11223344},
	{.offset = 0x08, .width = 8, .writable = UINT64_C(0xffff00000000ffff), .written = written},
	{.offset = 0x10, .width = 4, .reset = 0xff, .clears = 0xf0, .writable = 0x0f},
	{.offset = 0x20, .width = 8, .copies_less_1 = 2, .stride = 16, .writable = UINT64_MAX, .written = written},
};

static struct registers file;

static int set_up(void **state)
{
	(void)state;
	writes = 0;
	return registers_init(&file, table, ARRAY_SIZE(table), 0x60);
}

static int tear_down(void **state)
{
	(void)state;
	registers_fini(&file);
	return 0;
}

static void masks(void **state)
{
	(void)state;
	registers_write(&file, 0, 4, 0);
	assert_int_equal(registers_read(&file, 0, 4), 0x11223344);
	registers_write(&file, 8, 8, UINT64_MAX);
	assert_int_equal(registers_read(&file, 8, 8), UINT64_C(0xffff00000000ffff));
	assert_int_equal(writes, 1);
	assert_int_equal(last.before, 0);
	assert_int_equal(last.mask, UINT64_MAX);
	registers_write(&file, 0x10, 4, 0x55);
	assert_int_equal(registers_read(&file, 0x10, 4), 0xa5);
	/* Between registers, and behind them. */
	registers_write(&file, 0x14, 4, UINT32_MAX);
	assert_int_equal(registers_read(&file, 0x14, 4), 0);
	registers_write(&file, 0x60, 8, UINT64_MAX);
	registers_write(&file, UINT64_MAX, 8, UINT64_MAX);
	assert_int_equal(registers_read(&file, 0x60, 8), 0);
	assert_int_equal(registers_read(&file, UINT64_MAX - 3, 8), 0);
	assert_int_equal(registers_read(&file, 0x5c, 8), 0);
	registers_reset(&file);
	assert_int_equal(registers_read(&file, 8, 8), 0);
	assert_int_equal(registers_read(&file, 0x10, 4), 0xff);
}

/* Every size at every offset, against a plain array of bytes. */
static void sizes_and_offsets(void **state)
{
	uint8_t bytes[0x68] = {0}, mask[0x68] = {0};
	uint64_t random = 1, value;

	(void)state;
	for (unsigned int copy = 0; copy < 3; copy++)
		memset(mask + 0x20 + copy * 16, 0xff, 8);
	memset(mask + 8, 0xff, 2);
	memset(mask + 14, 0xff, 2);
	registers_write(&file, 0x10, 4, 0); /* not plain: left alone below */
	for (unsigned int i = 0; i < scaled(20000); i++) {
		unsigned int offset = (unsigned int)(random >> 8) % 0x60, size = 1 + (unsigned int)(random >> 3) % 8;

		random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		if (offset < 0x14 && offset + size > 0x10)
			continue;
		registers_write(&file, offset, size, random);
		for (unsigned int n = 0; n < size; n++)
			bytes[offset + n] = (uint8_t)((random >> 8 * n) & mask[offset + n]);
		for (offset = 0x14; offset < 0x60; offset++) {
			value = 0;
			memcpy(&value, bytes + offset, size);
			assert_int_equal(registers_read(&file, offset, size), value);
		}
	}
}

/* A part of a register is one write with a mask; several registers are several. */
static void parts(void **state)
{
	(void)state;
	registers_write(&file, 0x0c, 4, UINT32_C(0xabcd0000));
	assert_int_equal(writes, 1);
	assert_int_equal(last.offset, 8);
	assert_int_equal(last.mask, UINT64_C(0xffffffff00000000));
	assert_int_equal(last.data, UINT64_C(0xabcd000000000000));
	registers_write(&file, 0x33, 1, 0x77);
	assert_int_equal(last.offset, 0x30);
	assert_ptr_equal(last.info, &table[3]);
	assert_int_equal(last.mask, UINT64_C(0xff000000));
	assert_int_equal(registers_read(&file, 0x30, 8), UINT64_C(0x77000000));
	writes = 0;
	registers_write(&file, 0x0c, 8, UINT64_MAX);
	assert_int_equal(writes, 1);
	assert_int_equal(registers_read(&file, 0x10, 4), 0x0f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(masks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(sizes_and_offsets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(parts, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

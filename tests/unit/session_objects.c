/* SPDX-License-Identifier: BSD-3-Clause */
/* What `uiommu ls` says of a session's objects: what they are made of, what is attached to what, how much is mapped. */
#include "test.h"

#include <sys/mman.h>
#include <uiommu/uiommu.h>

#include "abi/session/session.h"
#include "util/util.h"

static struct uiommu_context *context;

/* The line of object @id, without what comes before its name. */
static void expect(uint32_t id, const char *type, const char *expected)
{
	char begin[64], *text = NULL, *line;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	assert_non_null(out);
	objects_list(out, context, 7);
	fclose(out);
	snprintf(begin, sizeof(begin), "%s\t%u\t7\t0\t", type, id);
	line = strstr(text, begin);
	assert_non_null(line);
	line = strchr(line + strlen(begin), '\t'); /* behind the users */
	assert_non_null(line);
	line[strcspn(line, "\n")] = '\0';
	assert_string_equal(line + 1, expected);
	free(text);
}

static uint32_t hwpt(uint32_t ioas, uint32_t flags, uint32_t queue)
{
	const struct uiommu_hwpt_alloc alloc = {.size = sizeof(alloc), .flags = flags, .parent_id = ioas, .fault_queue_id = queue};
	uint32_t id;

	assert_int_equal(uiommu_hwpt_alloc(context, &alloc, &id), 0);
	return id;
}

static void objects(void **state)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .name = "dev0", .pasid_bits = 20};
	struct uiommu_ioas_map map = {.size = sizeof(map), .flags = UIOMMU_MAP_READ, .length = page_size()};
	char expected[256];
	uint32_t ioas, queue, parent, with_faults, device;
	size_t at;

	(void)state;
	assert_int_equal(uiommu_open(NULL, &context), 0);
	assert_int_equal(uiommu_ioas_alloc(context, &ioas), 0);
	assert_int_equal(uiommu_fault_queue_alloc(context, 8, &queue), 0);
	assert_int_equal(uiommu_device_alloc(context, &config, &device), 0);
	expect(ioas, "ioas", "-\t areas=0 bytes=0");
	expect(device, "device", "dev0\t");
	map.ioas_id = ioas;
	map.address = mmap(NULL, page_size(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(uiommu_ioas_map(context, &map), 0);
	assert_int_equal(uiommu_ioas_map(context, &map), 0);
	snprintf(expected, sizeof(expected), "-\t areas=2 bytes=%zu", 2 * page_size());
	expect(ioas, "ioas", expected);
	expect(queue, "fault-queue", "-\t unread=0 waiting=0");

	parent = hwpt(ioas, UIOMMU_HWPT_NEST_PARENT | UIOMMU_HWPT_PASID, 0);
	snprintf(expected, sizeof(expected), "-\t ioas=%u flags=nest-parent,pasid", ioas);
	expect(parent, "hwpt", expected);
	with_faults = hwpt(ioas, UIOMMU_HWPT_FAULT, queue);
	snprintf(expected, sizeof(expected), "-\t ioas=%u fault_queue=%u", ioas, queue);
	expect(with_faults, "hwpt", expected);

	assert_int_equal(uiommu_attach(context, device, UIOMMU_NO_PASID, with_faults), 0);
	assert_int_equal(uiommu_attach(context, device, 3, parent), 0);
	assert_int_equal(uiommu_attach(context, device, 4000, parent), 0);
	snprintf(expected, sizeof(expected), "dev0\t hwpt=%u pasids=3:%u,4000:%u", with_faults, parent, parent);
	expect(device, "device", expected);
	/* The first sixteen. */
	assert_int_equal(uiommu_detach(context, device, UIOMMU_NO_PASID), 0);
	assert_int_equal(uiommu_detach(context, device, 4000), 0);
	at = (size_t)snprintf(expected, sizeof(expected), "dev0\t pasids=3:%u", parent);
	for (uint32_t pasid = 4; pasid < 20; pasid++) {
		assert_int_equal(uiommu_attach(context, device, pasid, parent), 0);
		if (pasid < 19)
			at += (size_t)snprintf(expected + at, sizeof(expected) - at, ",%u:%u", pasid, parent);
	}
	strcpy(expected + at, ",...");
	expect(device, "device", expected);
	assert_int_equal(uiommu_close(context), 0);
	munmap(map.address, page_size());
}

/* What is made by an attach is named as such, and a list does not keep it. */
static void automatic(void **state)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .name = "dev0"};
	uint32_t ioas, device;
	char expected[64];

	(void)state;
	assert_int_equal(uiommu_open(NULL, &context), 0);
	assert_int_equal(uiommu_ioas_alloc(context, &ioas), 0);
	assert_int_equal(uiommu_device_alloc(context, &config, &device), 0);
	assert_int_equal(uiommu_attach(context, device, UIOMMU_NO_PASID, ioas), 0);
	snprintf(expected, sizeof(expected), "-\t ioas=%u flags=pasid,automatic", ioas);
	expect(3, "hwpt", expected);
	assert_int_equal(uiommu_detach(context, device, UIOMMU_NO_PASID), 0);
	assert_int_equal(uiommu_object_count(context), 2);
	assert_int_equal(uiommu_close(context), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(objects), cmocka_unit_test(automatic)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

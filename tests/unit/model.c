/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices by name: what may be asked for, and what is said of what may not. */
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "pci/pci.h"
#include "pci/spec.h"

static struct uiommu_context *context;
static char folder[] = "/tmp/uiommu-model-XXXXXX";

static int setup(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chdir(folder), 0);
	return uiommu_open(NULL, &context);
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(uiommu_close(context), 0);
	unlink("disk,1.img");
	unlink("short.img");
	return chdir("/") || rmdir(folder);
}

static struct uiommu_model *make(const char *text)
{
	struct uiommu_model *model;
	char complaint[200] = "";

	if (uiommu_model_create(context, 0x100, text, complaint, sizeof(complaint), &model))
		fail_msg("%s: %s", text, complaint);
	return model;
}

static void expect_complaint(const char *text, int error, const char *expected)
{
	struct uiommu_model *model = NULL;
	size_t objects = uiommu_object_count(context);
	char complaint[200] = "";

	assert_int_equal(uiommu_model_create(context, 0x100, text, complaint, sizeof(complaint), &model), error);
	assert_string_equal(complaint, expected);
	assert_null(model);
	assert_int_equal(uiommu_object_count(context), objects);
}

static void models_are_listed(void **state)
{
	const struct uiommu_model_info *info;
	bool found = false;
	size_t count = 0;

	(void)state;
	for (; (info = uiommu_model_info(count)); count++) {
		assert_non_null(info->summary);
		found = found || !strcmp(info->name, "nvme");
		for (size_t i = 0; i < info->option_count; i++) {
			assert_non_null(info->options[i].key);
			assert_non_null(info->options[i].help);
		}
	}
	assert_true(found);
	assert_null(uiommu_model_info(count + 1));
}

static void a_model_is_a_device_and_a_function(void **state)
{
	struct uiommu_model *model = make("nvme,size=1M"), *second, *third = NULL;
	char complaint[200];
	uint32_t word;

	(void)state;
	assert_int_equal(uiommu_object_type(context, uiommu_model_device(model)), UIOMMU_OBJECT_DEVICE);
	assert_int_equal(pci_config_read(uiommu_model_function(model), PCI_REVISION, &word, 4), 0);
	assert_int_equal(word >> 8, 0x010802);
	assert_int_equal(uiommu_model_create(context, 0x101, "nvme,size=1M", NULL, 0, &second), 0);
	assert_int_equal(uiommu_model_create(context, 0x101, "nvme,size=1M", complaint, sizeof(complaint), &third), -EEXIST);
	assert_string_equal(complaint, "nvme: there is another device at 0000:01:00.1");
	assert_int_equal(uiommu_model_destroy(model), 0);
	assert_int_equal(uiommu_model_destroy(second), 0);
	assert_int_equal(uiommu_model_destroy(NULL), 0);
	assert_int_equal(uiommu_object_count(context), 0);
}

static void what_is_wrong_is_named(void **state)
{
	struct uiommu_model *model;
	char small[12];

	(void)state;
	expect_complaint("", -EINVAL, "there is no model \"\"");
	expect_complaint("nvm,size=1M", -EINVAL, "there is no model \"nvm\"");
	expect_complaint("nvmes", -EINVAL, "there is no model \"nvmes\"");
	expect_complaint("nvme,color=red", -EINVAL, "nvme has no option \"color\"");
	expect_complaint("nvme,,size=1M", -EINVAL, "nvme has no option \"\"");
	expect_complaint("nvme,size=1M,size=2M", -EINVAL, "nvme: size is given twice");
	expect_complaint("nvme,size", -EINVAL, "nvme: size needs a value");
	expect_complaint("nvme,size=", -EINVAL, "nvme: size needs a value");
	expect_complaint("nvme,file", -EINVAL, "nvme: file needs a value");
	expect_complaint("nvme,size=1M,ro=1", -EINVAL, "nvme: ro takes no value");
	expect_complaint("nvme,size=-1", -EINVAL, "nvme: size=-1 is no size");
	expect_complaint("nvme,size=1Q", -EINVAL, "nvme: size=1Q is no size");
	expect_complaint("nvme,size=1MM", -EINVAL, "nvme: size=1MM is no size");
	expect_complaint("nvme,size=16777216T", -EINVAL, "nvme: size=16777216T is no size");
	expect_complaint("nvme,size=99999999999999999999", -EINVAL, "nvme: size=99999999999999999999 is no size");
	expect_complaint("nvme,size=511", -EINVAL, "nvme: size=511 is not between 512 and 9223372036854775807");
	expect_complaint("nvme", -EINVAL, "nvme: file or size is needed");
	expect_complaint("nvme,size=1M,block=1536", -EINVAL, "nvme: block=1536 is no power of two");
	expect_complaint("nvme,size=1M,block=8K", -EINVAL, "nvme: block=8K is not between 512 and 4096");
	expect_complaint("nvme,size=1K,block=2K", -EINVAL, "nvme: size is less than a block");
	expect_complaint("nvme,size=4194304T", -ENOMEM, "nvme: Cannot allocate memory");
	expect_complaint("nvme,file=.,ro", -EINVAL, "nvme: . is no file");
	expect_complaint("nvme,file=/dev/null", -EINVAL, "nvme: /dev/null is no file");
	expect_complaint("nvme,file=none.img", -ENOENT, "nvme: none.img: No such file or directory");
	expect_complaint("nvme,file=none.img,ro,size=1M", -ENOENT, "nvme: none.img: No such file or directory");
	assert_int_equal(uiommu_model_create(context, 1, "nvme,size=1Q", small, sizeof(small), &model), -EINVAL);
	assert_string_equal(small, "nvme: size=");
	assert_int_equal(uiommu_model_create(context, 1, "nvme,size=1Q", NULL, 0, &model), -EINVAL);
}

/* What is asked of @parent with @text, and what is said of it. */
static int create_virtual(struct uiommu_model *parent, uint32_t set_id, const char *text, const char *expected,
			  struct uiommu_model **out)
{
	char complaint[200] = "";
	const struct uiommu_model_virtual request = {.size = sizeof(request),
						     .rid = 0x10100,
						     .set_id = set_id,
						     .text = text,
						     .complaint = complaint,
						     .complaint_size = sizeof(complaint)};
	int error = uiommu_model_create_virtual(parent, &request, out);

	assert_string_equal(complaint, expected);
	return error;
}

static void virtual_devices(void **state)
{
	const struct uiommu_pasid_set_alloc alloc = {.size = sizeof(alloc), .quota = 4};
	struct uiommu_model *parent = make("accel,spin=1"), *disk, *model;
	size_t objects;
	uint32_t set, pages = 0;
	const uint16_t memory = PCI_COMMAND_MEMORY;

	(void)state;
	assert_int_equal(uiommu_model_create(context, 0x101, "nvme,size=1M", NULL, 0, &disk), 0);
	assert_int_equal(uiommu_pasid_set_alloc(context, &alloc, &set), 0);
	objects = uiommu_object_count(context);
	assert_int_equal(create_virtual(disk, set, "nvme,size=1M", "nvme has no virtual devices", &model), -EOPNOTSUPP);
	assert_int_equal(create_virtual(disk, set, "accel", "accel is no virtual device of nvme", &model), -EINVAL);
	assert_int_equal(
		create_virtual(parent, set, "accel,spin=1", "accel: spin is for an engine, which a virtual device has not", &model),
		-EINVAL);
	assert_int_equal(create_virtual(parent, set, "accel,pages=0", "accel: pages=0 is not between 1 and 512", &model), -EINVAL);
	assert_int_equal(create_virtual(parent, 0, "accel", "accel: cannot be made: error 22", &model), -EINVAL);
	assert_int_equal(create_virtual(parent, set, NULL, "", &model), -EINVAL);
	assert_int_equal(uiommu_object_count(context), objects);
	assert_int_equal(create_virtual(parent, set, "accel,pages=3", "", &model), 0);
	assert_int_equal(pci_config_write(uiommu_model_function(model), PCI_COMMAND, &memory, sizeof(memory)), 0);
	assert_int_equal(pci_bar_read(uiommu_model_function(model), 0, 4, &pages, sizeof(pages)), 0);
	assert_int_equal(pages, 3);
	assert_int_equal(uiommu_model_destroy(parent), -EBUSY);
	assert_int_equal(uiommu_model_destroy(model), 0);
	assert_int_equal(uiommu_model_destroy(parent), 0);
	assert_int_equal(uiommu_model_destroy(disk), 0);
	assert_int_equal(uiommu_destroy(context, set), 0);
	assert_int_equal(uiommu_object_count(context), 0);
}

static off_t length_of(const char *path)
{
	struct stat status;

	assert_int_equal(stat(path, &status), 0);
	return status.st_size;
}

static void a_file_is_made_as_long_as_is_asked_for(void **state)
{
	(void)state;
	assert_int_equal(uiommu_model_destroy(make("nvme,file=disk,,1.img,size=3K")), 0);
	assert_int_equal(length_of("disk,1.img"), 3072);
	assert_int_equal(uiommu_model_destroy(make("nvme,size=0x400,file=disk,,1.img")), 0);
	assert_int_equal(length_of("disk,1.img"), 3072);
	assert_int_equal(uiommu_model_destroy(make("nvme,file=disk,,1.img,ro")), 0);
	expect_complaint("nvme,file=disk,,1.img,ro,size=4K", -EINVAL, "nvme: disk,1.img has 3072 bytes: too few");
	assert_int_equal(length_of("disk,1.img"), 3072);
	close(open("short.img", O_CREAT | O_RDWR, 0600));
	expect_complaint("nvme,file=short.img", -EINVAL, "nvme: short.img has 0 bytes: too few");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(models_are_listed),
		cmocka_unit_test(a_model_is_a_device_and_a_function),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(virtual_devices),
		cmocka_unit_test(a_file_is_made_as_long_as_is_asked_for),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

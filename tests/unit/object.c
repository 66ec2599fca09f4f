/* SPDX-License-Identifier: BSD-3-Clause */
/* Contexts and objects: ids, what is busy, and how everything ends. */
#include "test.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "util/util.h"

static struct uiommu_context *open_context(void)
{
	struct uiommu_context *context;

	assert_int_equal(uiommu_open(NULL, &context), 0);
	return context;
}

static uint32_t make_ioas(struct uiommu_context *context)
{
	uint32_t id = 0;

	assert_int_equal(uiommu_ioas_alloc(context, &id), 0);
	return id;
}

static uint32_t make_device(struct uiommu_context *context, const char *name, uint32_t rid)
{
	struct uiommu_device_config config = {.size = sizeof(config), .rid = rid, .name = name, .pasid_bits = 20};
	uint32_t id = 0;

	assert_int_equal(uiommu_device_alloc(context, &config, &id), 0);
	return id;
}

static uint32_t make_hwpt(struct uiommu_context *context, uint32_t ioas, uint32_t queue)
{
	struct uiommu_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.flags = UIOMMU_HWPT_PASID | (queue ? UIOMMU_HWPT_FAULT : 0),
		.parent_id = ioas,
		.fault_queue_id = queue,
	};
	uint32_t id = 0;

	assert_int_equal(uiommu_hwpt_alloc(context, &alloc, &id), 0);
	return id;
}

static void map_page(struct uiommu_context *context, uint32_t ioas, void *memory, uint64_t iova)
{
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
		.ioas_id = ioas,
		.address = memory,
		.length = page_size(),
		.iova = iova,
	};

	assert_int_equal(uiommu_ioas_map(context, &map), 0);
}

static void options_are_checked(void **state)
{
	struct {
		struct uiommu_options known;
		uint64_t tail;
	} options = {.known = {.size = sizeof(options)}};
	struct uiommu_context *context = NULL;

	(void)state;
	assert_int_equal(uiommu_open(&options.known, &context), 0);
	assert_int_equal(uiommu_close(context), 0);
	options.tail = 1;
	assert_int_equal(uiommu_open(&options.known, &context), -E2BIG);
	options.known.size = sizeof(options.known) - 1;
	assert_int_equal(uiommu_open(&options.known, &context), -EINVAL);
	options.known.size = sizeof(options.known);
	options.known.without = 1u << 31;
	assert_int_equal(uiommu_open(&options.known, &context), -EOPNOTSUPP);
	assert_int_equal(uiommu_close(NULL), 0);
}

static void ids_are_the_lowest_free(void **state)
{
	struct uiommu_context *context = open_context();

	(void)state;
	for (uint32_t i = 1; i <= 40; i++)
		assert_int_equal(make_ioas(context), i);
	assert_int_equal(uiommu_object_count(context), 40);
	assert_int_equal(uiommu_destroy(context, 17), 0);
	assert_int_equal(uiommu_destroy(context, 3), 0);
	assert_int_equal(uiommu_destroy(context, 3), -ENOENT);
	assert_int_equal(uiommu_destroy(context, 0), -ENOENT);
	assert_int_equal(uiommu_destroy(context, 41), -ENOENT);
	assert_int_equal(uiommu_destroy(context, UINT32_MAX), -ENOENT);
	assert_int_equal(uiommu_object_type(context, 3), UIOMMU_OBJECT_NONE);
	assert_int_equal(make_ioas(context), 3);
	assert_int_equal(make_ioas(context), 17);
	assert_int_equal(make_ioas(context), 41);
	for (uint32_t i = 1; i <= 41; i++)
		assert_int_equal(uiommu_destroy(context, i), 0);
	assert_int_equal(uiommu_object_count(context), 0);
	assert_int_equal(uiommu_close(context), 0);
}

static void objects_have_types(void **state)
{
	struct uiommu_context *context = open_context();
	uint32_t ioas = make_ioas(context), queue = 0, hwpt, device = make_device(context, "dev0", 1);

	(void)state;
	assert_int_equal(uiommu_fault_queue_alloc(context, 4, &queue), 0);
	hwpt = make_hwpt(context, ioas, queue);
	assert_int_equal(uiommu_object_type(context, ioas), UIOMMU_OBJECT_IOAS);
	assert_int_equal(uiommu_object_type(context, queue), UIOMMU_OBJECT_FAULT_QUEUE);
	assert_int_equal(uiommu_object_type(context, hwpt), UIOMMU_OBJECT_HWPT_PAGING);
	assert_int_equal(uiommu_object_type(context, device), UIOMMU_OBJECT_DEVICE);
	assert_null(uiommu_device_get(context, ioas));
	assert_int_equal(uiommu_fault_queue_fd(context, device), -ENOENT);
	assert_int_equal(uiommu_attach(context, ioas, UIOMMU_NO_PASID, hwpt), -ENOENT);
	assert_int_equal(uiommu_attach(context, device, UIOMMU_NO_PASID, queue), -EINVAL);
	assert_int_equal(uiommu_close(context), 0);
}

static void what_is_used_is_busy(void **state)
{
	struct uiommu_context *context = open_context();
	uint32_t ioas = make_ioas(context), queue = 0, hwpt, device_id = make_device(context, "dev0", 1);
	struct uiommu_device *device = uiommu_device_get(context, device_id);

	(void)state;
	assert_int_equal(uiommu_fault_queue_alloc(context, 4, &queue), 0);
	hwpt = make_hwpt(context, ioas, queue);
	assert_int_equal(uiommu_attach(context, device_id, 9, hwpt), 0);
	for (uint32_t id = 1; id <= 4; id++)
		assert_int_equal(uiommu_destroy(context, id), -EBUSY);
	assert_int_equal(uiommu_object_count(context), 4);
	uiommu_device_put(device);
	assert_int_equal(uiommu_destroy(context, device_id), -EBUSY);
	assert_int_equal(uiommu_detach(context, device_id, 9), 0);
	assert_int_equal(uiommu_destroy(context, ioas), -EBUSY);
	assert_int_equal(uiommu_destroy(context, queue), -EBUSY);
	assert_int_equal(uiommu_destroy(context, hwpt), 0);
	assert_int_equal(uiommu_destroy(context, device_id), 0);
	assert_int_equal(uiommu_destroy(context, queue), 0);
	assert_int_equal(uiommu_destroy(context, ioas), 0);
	assert_int_equal(uiommu_object_count(context), 0);
	assert_int_equal(uiommu_close(context), 0);
}

/* An HWPT that was made by an attach to an IOAS lives as long as its attachments, and is one for all of them. */
static void automatic_hwpts_come_and_go(void **state)
{
	struct uiommu_context *context = open_context();
	uint32_t ioas = make_ioas(context), other = make_ioas(context), one = make_device(context, "one", 1);
	uint32_t two = make_device(context, "two", 2);

	(void)state;
	assert_int_equal(uiommu_attach(context, one, UIOMMU_NO_PASID, ioas), 0);
	assert_int_equal(uiommu_object_count(context), 5);
	assert_int_equal(uiommu_attach(context, two, 5, ioas), 0);
	assert_int_equal(uiommu_object_count(context), 5);
	assert_int_equal(uiommu_attach(context, two, 5, other), -EBUSY);
	assert_int_equal(uiommu_object_count(context), 5);
	assert_int_equal(uiommu_replace(context, two, 6, other), -EINVAL);
	assert_int_equal(uiommu_object_count(context), 5);
	assert_int_equal(uiommu_replace(context, two, 5, other), 0);
	assert_int_equal(uiommu_object_count(context), 6);
	assert_int_equal(uiommu_detach(context, one, UIOMMU_NO_PASID), 0);
	assert_int_equal(uiommu_object_count(context), 5);
	assert_int_equal(uiommu_destroy(context, ioas), 0);
	assert_int_equal(uiommu_detach(context, two, 5), 0);
	assert_int_equal(uiommu_object_count(context), 3);
	assert_int_equal(uiommu_close(context), 0);
}

static struct uiommu_pin *pin_page(struct uiommu_device *device, uint64_t iova, void (*unmap)(void *, struct uiommu_pin *),
				   void *opaque)
{
	struct iovec piece;
	struct uiommu_dma_pin pin = {
		.address = iova,
		.length = page_size(),
		.pasid = UIOMMU_NO_PASID,
		.access = UIOMMU_READ,
		.iov = &piece,
		.iov_count = 1,
		.unmap = unmap,
		.opaque = opaque,
	};

	assert_int_equal(uiommu_dma_pin(device, &pin, NULL), 0);
	return pin.pin;
}

/* A refused replace leaves the old attachment as it was, and no new HWPT. */
static void refused_replace_changes_nothing(void **state)
{
	struct uiommu_context *context = open_context();
	uint32_t ioas = make_ioas(context), other = make_ioas(context), device_id = make_device(context, "dev", 1);
	struct uiommu_device *device = uiommu_device_get(context, device_id);
	uint64_t page = page_size();
	char *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), byte = 0;
	struct uiommu_pin *pin;
	size_t count;

	(void)state;
	memory[0] = 'm';
	map_page(context, ioas, memory, page);
	assert_int_equal(uiommu_attach(context, device_id, UIOMMU_NO_PASID, ioas), 0);
	pin = pin_page(device, page, NULL, NULL);
	count = uiommu_object_count(context);
	assert_int_equal(uiommu_replace(context, device_id, UIOMMU_NO_PASID, other), -EDEADLOCK);
	assert_int_equal(uiommu_detach(context, device_id, UIOMMU_NO_PASID), -EDEADLOCK);
	assert_int_equal(uiommu_object_count(context), count);
	assert_int_equal(uiommu_dma_read(device, UIOMMU_NO_PASID, page, &byte, 1, NULL), 0);
	assert_int_equal(byte, 'm');
	uiommu_dma_unpin(pin);
	assert_int_equal(uiommu_replace(context, device_id, UIOMMU_NO_PASID, other), 0);
	assert_int_equal(uiommu_dma_read(device, UIOMMU_NO_PASID, page, &byte, 1, NULL), -EFAULT);
	assert_int_equal(uiommu_object_count(context), count);
	uiommu_device_put(device);
	assert_int_equal(uiommu_close(context), 0);
	munmap(memory, page);
}

static void binds_are_not_detached(void **state)
{
	struct uiommu_context *context = open_context();
	uint32_t ioas = make_ioas(context), device_id = make_device(context, "dev", 1);
	struct uiommu_bind_process self = {.flags = UIOMMU_BIND_SELF, .access = UIOMMU_READ};
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = device_id,
		.pasid = UIOMMU_NO_PASID,
		.type = UIOMMU_BIND_PROCESS,
		.data = &self,
		.data_len = sizeof(self),
	};

	(void)state;
	assert_int_equal(uiommu_bind(context, &bind), 0);
	assert_int_equal(uiommu_object_type(context, bind.hwpt_id), UIOMMU_OBJECT_HWPT_SVA);
	assert_int_equal(uiommu_attach(context, device_id, bind.pasid, ioas), -EBUSY);
	assert_int_equal(uiommu_replace(context, device_id, bind.pasid, ioas), -EBUSY);
	assert_int_equal(uiommu_detach(context, device_id, bind.pasid), -EBUSY);
	assert_int_equal(uiommu_attach(context, device_id, bind.pasid + 1, bind.hwpt_id), -EINVAL);
	assert_int_equal(uiommu_destroy(context, bind.hwpt_id), -EBUSY);
	assert_int_equal(uiommu_object_count(context), 3);
	assert_int_equal(uiommu_unbind(context, device_id, bind.pasid), 0);
	assert_int_equal(uiommu_unbind(context, device_id, bind.pasid), -ENOENT);
	assert_int_equal(uiommu_object_count(context), 2);
	assert_int_equal(uiommu_close(context), 0);
}

static void count_put(void *opaque, struct uiommu_pin *pin)
{
	++*(int *)opaque;
	uiommu_dma_unpin(pin);
}

static void note_response(void *opaque, unsigned int response)
{
	*(unsigned int *)opaque = response;
}

/* Everything refers to everything, and somebody holds the device: closing ends it all. */
static void closing_ends_everything(void **state)
{
	struct uiommu_context *context = open_context();
	uint32_t ioas = make_ioas(context), queue = 0, hwpt, device_id = make_device(context, "dev", 1);
	struct uiommu_device *device = uiommu_device_get(context, device_id);
	uint64_t page = page_size();
	void *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uiommu_bind_process self = {.flags = UIOMMU_BIND_SELF, .access = UIOMMU_READ};
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = device_id,
		.pasid = UIOMMU_NO_PASID,
		.type = UIOMMU_BIND_PROCESS,
		.data = &self,
		.data_len = sizeof(self),
	};
	struct uiommu_dma_result result;
	unsigned int response = 99;
	int asked = 0;
	char byte;

	(void)state;
	assert_int_equal(uiommu_fault_queue_alloc(context, 4, &queue), 0);
	hwpt = make_hwpt(context, ioas, queue);
	map_page(context, ioas, memory, page);
	assert_int_equal(uiommu_attach(context, device_id, UIOMMU_NO_PASID, hwpt), 0);
	assert_int_equal(uiommu_attach(context, device_id, 7, ioas), 0);
	assert_int_equal(uiommu_bind(context, &bind), 0);
	pin_page(device, page, count_put, &asked);
	assert_int_equal(uiommu_dma_read(device, UIOMMU_NO_PASID, 0, &byte, 1, &result), -EFAULT);
	assert_int_equal(uiommu_dma_page_request(device, &result.fault, note_response, &response), 0);
	assert_int_equal(uiommu_close(context), 0);
	assert_int_equal(asked, 1);
	assert_int_equal(response, UIOMMU_RESPONSE_INVALID);
	munmap(memory, page);
}

/* A fork child cannot wait for threads that it does not have. */
static void fork_children_are_told(void **state)
{
	struct uiommu_context *context = open_context();
	uint32_t ioas = make_ioas(context), device = make_device(context, "dev", 1);
	int status = 0;
	pid_t child;

	(void)state;
	assert_int_equal(uiommu_attach(context, device, UIOMMU_NO_PASID, ioas), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		int ok = uiommu_detach(context, device, UIOMMU_NO_PASID) == -EOWNERDEAD &&
			 uiommu_destroy(context, ioas) == -EOWNERDEAD && uiommu_unbind(context, device, 5) == -EOWNERDEAD &&
			 uiommu_close(context) == -EOWNERDEAD;

		_exit(ok ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(uiommu_detach(context, device, UIOMMU_NO_PASID), 0);
	assert_int_equal(uiommu_close(context), 0);
}

/* Objects are made, used and destroyed by several threads at once, also each other's. */
enum { THREADS = 3, ROUNDS = 2000, IDS = 12 };

struct churn {
	struct uiommu_context *context;
	uint32_t device;
	void *memory;
	unsigned int seed;
};

static void churn_once(struct churn *churn)
{
	unsigned int random = (unsigned int)rand_r(&churn->seed);
	uint32_t id = 1 + random % IDS, made, pasid = 1 + random / 16 % 3;
	struct uiommu_ioas_map map = {
		.size = sizeof(map), .flags = UIOMMU_MAP_READ, .ioas_id = id, .address = churn->memory, .length = page_size()};
	int error = 0;

	switch (random / 256 % 7) {
	case 0:
		error = uiommu_ioas_alloc(churn->context, &made);
		break;
	case 1:
		error = uiommu_destroy(churn->context, id);
		break;
	case 2:
		error = uiommu_ioas_map(churn->context, &map);
		break;
	case 3:
		error = uiommu_ioas_unmap(churn->context, id, 0, UINT64_MAX, NULL);
		break;
	case 4:
		error = uiommu_attach(churn->context, churn->device, pasid, id);
		break;
	case 5:
		error = uiommu_replace(churn->context, churn->device, pasid, id);
		break;
	default:
		error = uiommu_detach(churn->context, churn->device, pasid);
		break;
	}
	assert_true(!error || error == -ENOENT || error == -EBUSY || error == -EINVAL);
}

static void *churn_main(void *opaque)
{
	for (int i = 0; i < ROUNDS; i++)
		churn_once(opaque);
	return NULL;
}

static void threads_beside_each_other(void **state)
{
	struct uiommu_context *context = open_context();
	uint32_t device = make_device(context, "dev", 1);
	struct uiommu_device *held = uiommu_device_get(context, device);
	char memory[16] = {0};
	struct churn churn[THREADS];
	pthread_t threads[THREADS];

	(void)state;
	for (unsigned int i = 0; i < THREADS; i++) {
		churn[i] = (struct churn){context, device, memory, i + 1};
		assert_int_equal(pthread_create(&threads[i], NULL, churn_main, &churn[i]), 0);
	}
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (uint32_t pasid = 1; pasid <= 3; pasid++)
		assert_int_equal(uiommu_detach(context, device, pasid), 0);
	uiommu_device_put(held);
	for (uint32_t id = 1; uiommu_object_count(context); id++)
		assert_true(uiommu_destroy(context, id) == 0 || uiommu_object_type(context, id) == UIOMMU_OBJECT_NONE);
	assert_int_equal(uiommu_close(context), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_are_checked),	       cmocka_unit_test(ids_are_the_lowest_free),
		cmocka_unit_test(objects_have_types),	       cmocka_unit_test(what_is_used_is_busy),
		cmocka_unit_test(automatic_hwpts_come_and_go), cmocka_unit_test(refused_replace_changes_nothing),
		cmocka_unit_test(binds_are_not_detached),      cmocka_unit_test(closing_ends_everything),
		cmocka_unit_test(fork_children_are_told),      cmocka_unit_test(threads_beside_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

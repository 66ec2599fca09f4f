/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every call of the API, once for each place where it may find no memory or no descriptor: it fails and has changed nothing, or
 * does without; the same call then succeeds; and in the end nothing is left over.
 */
#include "fail_nth.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "iommu/ioas.h"
#include "util/util.h"

struct uiommu_ioas_map own(const struct world *w, uint32_t ioas, uint64_t iova)
{
	return (struct uiommu_ioas_map){
		.size = sizeof(struct uiommu_ioas_map),
		.flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
		.ioas_id = ioas,
		.address = w->memory,
		.length = w->page,
		.iova = iova,
	};
}

static void world_make(struct world *w)
{
	const struct uiommu_range msi = {0xfee00000, 0xfeefffff};
	struct uiommu_device_config config = {.size = sizeof(config), .rid = 1, .name = "dev", .pasid_bits = 20};
	struct uiommu_hwpt_alloc hwpt = {.size = sizeof(hwpt), .flags = UIOMMU_HWPT_PASID | UIOMMU_HWPT_FAULT};
	struct uiommu_ioas_map map;

	assert_int_equal(uiommu_open(NULL, &w->context), 0);
	assert_int_equal(uiommu_ioas_alloc(w->context, &w->ioas), 0);
	assert_int_equal(uiommu_ioas_alloc(w->context, &w->other), 0);
	assert_int_equal(uiommu_fault_queue_alloc(w->context, 8, &w->queue), 0);
	hwpt.parent_id = w->ioas;
	hwpt.fault_queue_id = w->queue;
	assert_int_equal(uiommu_hwpt_alloc(w->context, &hwpt, &w->hwpt), 0);
	assert_int_equal(uiommu_device_alloc(w->context, &config, &w->device_id), 0);
	config = (struct uiommu_device_config){
		.size = sizeof(config), .rid = 2, .name = "msi", .reserved = &msi, .reserved_count = 1, .pasid_bits = 20};
	assert_int_equal(uiommu_device_alloc(w->context, &config, &w->msi_id), 0);
	assert_int_equal(uiommu_ram_alloc(w->context, w->fd, 0, PAGES * w->page, UIOMMU_READ | UIOMMU_WRITE, &w->ram), 0);
	w->device = uiommu_device_get(w->context, w->device_id);
	assert_int_equal(uiommu_attach(w->context, w->device_id, UIOMMU_NO_PASID, w->hwpt), 0);
	for (uint64_t i = 0; i < 3; i++) {
		map = own(w, w->ioas, 0x10000 + i * w->page);
		assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	}
	assert_int_equal(uiommu_accel_create(w->context, w->device_id, &w->accel), 0);
}

static void world_end(struct world *w)
{
	uiommu_accel_destroy(w->accel);
	uiommu_device_put(w->device);
	assert_int_equal(uiommu_close(w->context), 0);
}

uint64_t count_areas(struct world *w, uint32_t id)
{
	struct object *object = object_get(w->context, id, UIOMMU_OBJECT_IOAS);
	uint64_t count = ioas_of(object)->space.areas.count;

	object_put(object);
	return count;
}

void end_queue(struct world *w)
{
	uiommu_queue_destroy(w->work);
}

struct snapshot {
	size_t objects;
	uint64_t areas, other_areas;
	uint64_t descriptors; /* no padding: it is compared as it is */
	long maps;
	uint32_t next_id;
	unsigned int attached;
};

/* Everything that can be seen from outside. */
static struct snapshot look(struct world *w)
{
	struct snapshot snapshot = {
		.objects = uiommu_object_count(w->context),
		.areas = count_areas(w, w->ioas),
		.other_areas = count_areas(w, w->other),
		.descriptors = count_descriptors(),
		.maps = live_maps,
		.next_id = w->context->lowest_free,
	};
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};

	for (uint32_t pasid = 1; pasid < 8; pasid++)
		snapshot.attached += !uiommu_attach_stats(w->context, w->device_id, pasid, &stats);
	snapshot.attached += !uiommu_attach_stats(w->context, w->msi_id, UIOMMU_NO_PASID, &stats);
	return snapshot;
}

/* Fill the table of objects up to the next place where it grows. */
static void fill_table(struct world *w)
{
	uint32_t id;

	while (w->context->lowest_free < w->context->capacity)
		assert_int_equal(uiommu_ioas_alloc(w->context, &id), 0);
}

/* The @n-th place fails. False: there are not so many. */
static bool run_once(struct world *w, const struct scenario *scenario, unsigned int n, bool full)
{
	struct snapshot before, after;
	bool injected;
	int error;

	world_make(w);
	if (scenario->before)
		assert_int_equal(scenario->before(w), 0);
	if (full)
		fill_table(w);
	before = look(w);
	failed = false;
	fail_at = (int)n;
	error = scenario->call(w);
	fail_at = 0;
	injected = failed;
	if (error) {
		if (!injected || (error != -ENOMEM && error != -EMFILE && error != -EAGAIN))
			fail_msg("%s, place %u: %s", scenario->name, n, strerror(-error));
		after = look(w);
		if (memcmp(&before, &after, sizeof(before)))
			fail_msg("%s, place %u: something has changed", scenario->name, n);
		error = scenario->call(w);
	}
	if (error)
		fail_msg("%s after place %u failed: %s", scenario->name, n, strerror(-error));
	if (scenario->end)
		scenario->end(w);
	world_end(w);
	return injected;
}

static unsigned int sweep(struct world *w, const struct scenario *scenario, bool full)
{
	unsigned int n = 0;
	long blocks, maps;
	unsigned int descriptors;

	run_once(w, scenario, 0, full); /* what is made once per process or thread */
	blocks = live_blocks;
	maps = live_maps;
	descriptors = count_descriptors();
	while (run_once(w, scenario, ++n, full)) {
		if (live_blocks != blocks || live_maps != maps || count_descriptors() != descriptors)
			fail_msg("%s, place %u: left over: %ld blocks, %ld maps, %d descriptors", scenario->name, n,
				 live_blocks - blocks, live_maps - maps, (int)(count_descriptors() - descriptors));
	}
	return n - 1;
}

void sweep_all(struct world *w, const struct scenario *scenarios, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		unsigned int places = sweep(w, &scenarios[i], false), full = sweep(w, &scenarios[i], true);

		print_message("# %s: %u places, %u with a full table\n", scenarios[i].name, places, full);
		assert_true(places > 0 || full > 0);
	}
}

static pid_t start_child(void)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return child;
}

static int setup(void **state)
{
	static struct world w;

	w.page = page_size();
	w.child = start_child();
	w.fd = memfd_create("fail", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(w.fd, (off_t)(PAGES * w.page)), 0);
	assert_int_equal(fcntl(w.fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	w.listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(w.listening, &(struct sockaddr){.sa_family = AF_UNIX}, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(w.listening, 1), 0);
	w.memory = mmap(NULL, PAGES * w.page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(w.memory, MAP_FAILED);
	assert_int_equal(uiommu_process_open(w.child, UIOMMU_READ | UIOMMU_WRITE, &w.bundle), 0);
	*state = &w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	uiommu_process_close(&w->bundle);
	munmap(w->memory, PAGES * w->page);
	close(w->fd);
	close(w->listening);
	kill(w->child, SIGKILL);
	waitpid(w->child, NULL, 0);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory), cmocka_unit_test(control), cmocka_unit_test(pasids),		 cmocka_unit_test(faults),
		cmocka_unit_test(models), cmocka_unit_test(tables),  cmocka_unit_test(iommufd_commands), cmocka_unit_test(guests),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

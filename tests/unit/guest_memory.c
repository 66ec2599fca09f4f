/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest's memory that follows a VMM's map. */
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "util/util.h"

enum { PASID = 5, PAGES = 16, SLOTS = 24, CHANGES = 4000 };

static struct {
	struct uiommu_context *context;
	struct uiommu_device *device;
	uint32_t ioas, device_id, queue;
	uint64_t page;
	uint8_t *bytes; /* page i is full of i */
	int fd, other; /* the same size; the other's bytes are all 0xee */
} m;

static int set_up(void **state)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .name = "nic", .pasid_bits = 20};
	struct uiommu_bind_shared shared = {.access = UIOMMU_READ | UIOMMU_WRITE};
	struct uiommu_bind bind = {
		.size = sizeof(bind), .pasid = PASID, .type = UIOMMU_BIND_SHARED, .data = &shared, .data_len = sizeof(shared)};

	(void)state;
	m.page = page_size();
	m.fd = memfd_create("ram", MFD_CLOEXEC);
	m.other = memfd_create("other", MFD_CLOEXEC);
	assert_int_equal(ftruncate(m.fd, (off_t)(PAGES * m.page)) | ftruncate(m.other, (off_t)(PAGES * m.page)), 0);
	m.bytes = mmap(NULL, PAGES * m.page, PROT_READ | PROT_WRITE, MAP_SHARED, m.other, 0);
	memset(m.bytes, 0xee, PAGES * m.page);
	munmap(m.bytes, PAGES * m.page);
	m.bytes = mmap(NULL, PAGES * m.page, PROT_READ | PROT_WRITE, MAP_SHARED, m.fd, 0);
	for (unsigned int i = 0; i < PAGES; i++)
		memset(m.bytes + i * m.page, (int)i, m.page);
	assert_int_equal(uiommu_open(NULL, &m.context), 0);
	assert_int_equal(uiommu_ioas_alloc(m.context, &m.ioas), 0);
	assert_int_equal(uiommu_fault_queue_alloc(m.context, 16, &m.queue), 0);
	assert_int_equal(uiommu_device_alloc(m.context, &config, &m.device_id), 0);
	m.device = uiommu_device_get(m.context, m.device_id);
	shared.ioas_id = m.ioas;
	bind.device_id = m.device_id;
	bind.fault_queue_id = m.queue;
	assert_int_equal(uiommu_bind(m.context, &bind), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	uiommu_device_put(m.device);
	assert_int_equal(uiommu_close(m.context), 0);
	munmap(m.bytes, PAGES * m.page);
	close(m.fd);
	close(m.other);
	return 0;
}

/* @pages of the memory from @first on, at page @at of the guest's. */
static struct uiommu_guest_region region(uint64_t at, uint64_t first, uint64_t pages)
{
	return (struct uiommu_guest_region){.gpa = at * m.page,
					    .length = pages * m.page,
					    .offset = first * m.page,
					    .fd = m.fd,
					    .access = UIOMMU_READ | UIOMMU_WRITE};
}

static struct uiommu_range range(uint64_t at, uint64_t pages)
{
	return (struct uiommu_range){at * m.page, (at + pages) * m.page - 1};
}

static int update(const struct uiommu_range *remove, uint32_t remove_count, const struct uiommu_guest_region *add,
		  uint32_t add_count)
{
	const struct uiommu_guest_memory change = {.size = sizeof(change),
						   .ioas_id = m.ioas,
						   .remove_count = remove_count,
						   .add_count = add_count,
						   .remove = remove,
						   .add = add};

	return uiommu_guest_memory_update(m.context, &change);
}

/* What is in a page of the guest's memory, or -1. */
static int at(uint64_t page)
{
	uint8_t byte;

	return uiommu_dma_read(m.device, PASID, page * m.page + 7, &byte, 1, NULL) ? -1 : byte;
}

static void follows(void **state)
{
	struct uiommu_guest_region two[] = {region(1, 3, 2), region(8, 9, 1)};
	struct uiommu_range all = range(0, 100), none = range(50, 4);
	uint8_t byte = 77;

	(void)state;
	assert_int_equal(at(1), -1);
	assert_int_equal(update(NULL, 0, two, 2), 0);
	assert_int_equal(at(0), -1);
	assert_int_equal(at(1), 3);
	assert_int_equal(at(2), 4);
	assert_int_equal(at(3), -1);
	assert_int_equal(at(8), 9);
	assert_int_equal(uiommu_dma_write(m.device, PASID, m.page, &byte, 1, NULL), 0);
	assert_int_equal(m.bytes[3 * m.page], 77);
	assert_int_equal(update(&none, 1, NULL, 0), 0);
	assert_int_equal(update(NULL, 0, NULL, 0), 0);
	/* Another place in one call. */
	two[0].offset = 5 * m.page;
	assert_int_equal(update(&all, 1, two, 2), 0);
	assert_int_equal(at(1), 5);
	assert_int_equal(at(8), 9);
	two[0].fd = m.other;
	assert_int_equal(update(&all, 1, two, 1), 0);
	assert_int_equal(at(1), 0xee);
	assert_int_equal(at(8), -1);
	assert_int_equal(update(&all, 1, NULL, 0), 0);
	assert_int_equal(at(1), -1);
}

static unsigned int asked;

static void on_unmap(void *opaque, struct uiommu_pin *pin)
{
	bool *puts = opaque;

	asked++;
	if (*puts)
		uiommu_dma_unpin(pin);
}

/* What stays is not touched: its pin is asked for only when it goes. */
static void said_twice(void **state)
{
	struct uiommu_guest_region two[] = {region(1, 3, 2), region(8, 9, 1)};
	struct uiommu_range all = range(0, 100);
	struct iovec iov;
	bool puts = false;
	struct uiommu_dma_pin pin = {
		.pasid = PASID, .access = UIOMMU_READ, .iov = &iov, .iov_count = 1, .unmap = on_unmap, .opaque = &puts};

	(void)state;
	asked = 0;
	pin.address = m.page;
	pin.length = 2 * m.page;
	assert_int_equal(update(NULL, 0, two, 2), 0);
	assert_int_equal(uiommu_dma_pin(m.device, &pin, NULL), 0);
	assert_int_equal(update(NULL, 0, two, 2), 0);
	assert_int_equal(update(&all, 1, two, 2), 0);
	two[1].offset = 0;
	assert_int_equal(update(&all, 1, two, 2), 0);
	assert_int_equal(at(8), 0);
	assert_int_equal(asked, 0);
	/* It has to go, and is not put: nothing changes. */
	assert_int_equal(update(&all, 1, two + 1, 1), -EDEADLOCK);
	assert_int_equal(asked, 1);
	assert_int_equal(at(1), 3);
	assert_int_equal(at(8), 0);
	puts = true;
	assert_int_equal(update(&all, 1, two + 1, 1), 0);
	assert_int_equal(asked, 2);
	assert_int_equal(at(1), -1);
	assert_int_equal(at(8), 0);
}

static void refused(void **state)
{
	struct uiommu_guest_region two[] = {region(1, 3, 2), region(8, 9, 1)}, bad[2];
	struct uiommu_range gone[] = {range(1, 2), range(8, 1)};
	struct uiommu_guest_memory change = {.size = 8};

	(void)state;
	assert_int_equal(update(NULL, 0, two, 2), 0);
#define REFUSED(member, value, expected)                                                                                           \
	do {                                                                                                                       \
		bad[0] = region(20, 0, 1);                                                                                         \
		bad[1] = region(1, 0, 1);                                                                                          \
		bad[1].member = (value);                                                                                           \
		assert_int_equal(update(gone, 2, bad, 2), expected);                                                               \
		assert_int_equal(at(1), 3);                                                                                        \
		assert_int_equal(at(8), 9);                                                                                        \
		assert_int_equal(at(20), -1);                                                                                      \
	} while (0)
	REFUSED(length, 0, -EINVAL);
	REFUSED(access, UIOMMU_WRITE, -EINVAL);
	REFUSED(access, 8, -EINVAL);
	REFUSED(gpa, UINT64_MAX, -EOVERFLOW);
	REFUSED(offset, UINT64_MAX, -EOVERFLOW);
	REFUSED(offset, PAGES * m.page, -EINVAL);
	REFUSED(fd, -1, -EBADF);
	REFUSED(gpa, 20 * m.page, -EEXIST);
#undef REFUSED
	/* Over what stays; and partly removed. */
	bad[1] = region(8, 0, 1);
	assert_int_equal(update(gone, 1, &bad[1], 1), -EEXIST);
	gone[0] = range(0, 2);
	assert_int_equal(update(gone, 1, NULL, 0), -ENOENT);
	gone[0] = range(2, 5);
	assert_int_equal(update(gone, 1, NULL, 0), -ENOENT);
	gone[0] = (struct uiommu_range){2, 1};
	assert_int_equal(update(gone, 1, NULL, 0), -EINVAL);
	assert_int_equal(update(NULL, 1, NULL, 0), -EINVAL);
	assert_int_equal(update(NULL, 0, NULL, 1), -EINVAL);
	assert_int_equal(update(gone, UIOMMU_GUEST_REGIONS_MAX + 1, NULL, 0), -EINVAL);
	assert_int_equal(uiommu_guest_memory_update(m.context, &change), -EINVAL);
	change.size = sizeof(change);
	change.ioas_id = 999;
	assert_int_equal(uiommu_guest_memory_update(m.context, &change), -ENOENT);
	assert_int_equal(at(1), 3);
	assert_int_equal(at(8), 9);
}

/* With dirty tracking the tables come along, but for one place at a time. */
static void tracked(void **state)
{
	struct uiommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = UIOMMU_HWPT_DIRTY_TRACKING | UIOMMU_HWPT_PASID, .parent_id = m.ioas};
	struct uiommu_guest_region one = region(1, 3, 2);
	struct uiommu_range gone = range(1, 2);
	uint8_t byte = 9;
	uint64_t pages = 0;
	struct uiommu_dirty_bitmap dirty = {.size = sizeof(dirty), .page_size = m.page, .length = 8 * m.page, .bitmap = &pages};
	uint32_t hwpt;

	(void)state;
	assert_int_equal(uiommu_hwpt_alloc(m.context, &alloc, &hwpt), 0);
	assert_int_equal(uiommu_attach(m.context, m.device_id, PASID + 1, hwpt), 0);
	assert_int_equal(uiommu_hwpt_set_dirty_tracking(m.context, hwpt, UIOMMU_DIRTY_TRACKING_ENABLE), 0);
	assert_int_equal(update(NULL, 0, &one, 1), 0);
	assert_int_equal(uiommu_dma_write(m.device, PASID + 1, 2 * m.page, &byte, 1, NULL), 0);
	assert_int_equal(m.bytes[4 * m.page], 9);
	one.offset = 0;
	assert_int_equal(update(&gone, 1, &one, 1), -EADDRINUSE);
	one.gpa = 4 * m.page + 8;
	assert_int_equal(update(&gone, 1, &one, 1), -EINVAL);
	dirty.hwpt_id = hwpt;
	assert_int_equal(uiommu_hwpt_get_dirty_bitmap(m.context, &dirty), 0);
	assert_int_equal(pages, 1 << 2);
	one.gpa = 4 * m.page;
	assert_int_equal(update(&gone, 1, &one, 1), 0);
	assert_int_equal(uiommu_dma_write(m.device, PASID + 1, 2 * m.page, &byte, 1, NULL), -EFAULT);
	assert_int_equal(uiommu_dma_write(m.device, PASID + 1, 5 * m.page, &byte, 1, NULL), 0);
	assert_int_equal(m.bytes[m.page], 9);
	assert_int_equal(update(&(struct uiommu_range){0, UINT64_MAX}, 1, NULL, 0), 0);
}

/* --- against a table --- */

/* Slot i is page 2 i and has the page of the memory that is said here, or -1. */
static void random_changes(void **state)
{
	struct uiommu_guest_region add[SLOTS];
	struct uiommu_range remove[SLOTS];
	uint64_t random = 2463534242u;
	int now[SLOTS], then[SLOTS];

	(void)state;
	memset(now, 0xff, sizeof(now));
	for (unsigned int i = 0; i < scaled(CHANGES); i++) {
		uint32_t removes = 0, adds = 0;
		bool fails = false;
		int error;

		memcpy(then, now, sizeof(then));
		for (unsigned int slot = 0; slot < SLOTS; slot++) {
			uint32_t kind = (uint32_t)random_number(&random);
			int page = (int)(kind >> 8) % PAGES;

			if (kind & 3 && kind & 4) {
				remove[removes++] = range(2 * slot, 1 + (kind & 8) / 8);
				then[slot] = -1;
			}
			if (kind & 16 && kind & 32) {
				add[adds++] = region(2 * slot, (uint64_t)page, 1);
				/* What stays is in nobody's way. */
				fails |= then[slot] >= 0 && then[slot] != page;
				then[slot] = page;
			}
		}
		error = update(remove, removes, add, adds);
		assert_int_equal(error, fails ? -EEXIST : 0);
		if (!error)
			memcpy(now, then, sizeof(now));
		for (unsigned int slot = 0; slot < SLOTS; slot++)
			assert_int_equal(at(2 * slot), now[slot]);
	}
}

/* --- against accesses --- */

static unsigned int stop, rounds, surprises;

static void *reads(void *opaque)
{
	(void)opaque;
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		int changing = at(1);

		/* What stays is always there; what changes is one thing, or the other, or nothing. */
		if (at(0) != 2 || (changing != 3 && changing != 0xee && changing != -1))
			__atomic_store_n(&surprises, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&rounds, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void while_it_is_read(void **state)
{
	struct uiommu_guest_region map[] = {region(0, 2, 1), region(1, 3, 1)};
	struct uiommu_range all = range(0, 100);
	struct uiommu_fault_event events[16];
	pthread_t thread;

	(void)state;
	stop = rounds = surprises = 0;
	assert_int_equal(update(NULL, 0, map, 2), 0);
	assert_int_equal(pthread_create(&thread, NULL, reads, NULL), 0);
	for (unsigned int i = 0; i < scaled(CHANGES) || __atomic_load_n(&rounds, __ATOMIC_RELAXED) < 100; i++) {
		map[1].fd = i % 2 ? m.fd : m.other;
		assert_int_equal(update(&all, 1, map, i % 3 ? 2 : 1), 0);
		uiommu_fault_read(m.context, m.queue, events, 16);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_int_equal(surprises, 0);
}

/* Pages 0 to 3, for as long as nobody says stop. */
struct watcher {
	pthread_t thread;
	unsigned int seen, missed;
	bool stop;
};

static void *watches(void *opaque)
{
	struct watcher *watcher = opaque;

	for (unsigned int i = 0; !__atomic_load_n(&watcher->stop, __ATOMIC_ACQUIRE); i++) {
		int byte = at(i % 4);

		watcher->missed += byte != (int)(i % 4) && byte != (int)(8 + i % 4);
		__atomic_add_fetch(&watcher->seen, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* Other memory in place of some, cut in another way, by one call: an access meets the one or the other, and no hole. */
static void replaced_in_one(void **state)
{
	struct uiommu_guest_region first[] = {region(0, 0, 4)}, second[] = {region(0, 8, 1), region(1, 9, 2), region(3, 11, 1)};
	const struct uiommu_range all = range(0, 4);
	struct watcher watcher = {.stop = false};

	(void)state;
	assert_int_equal(update(NULL, 0, first, 1), 0);
	assert_int_equal(pthread_create(&watcher.thread, NULL, watches, &watcher), 0);
	for (unsigned int i = 0; i < CHANGES; i++) {
		unsigned int before = __atomic_load_n(&watcher.seen, __ATOMIC_ACQUIRE);

		assert_int_equal(i % 2 ? update(&all, 1, first, 1) : update(&all, 1, second, 3), 0);
		while (i % 4 == 0 && __atomic_load_n(&watcher.seen, __ATOMIC_ACQUIRE) == before)
			sched_yield();
	}
	__atomic_store_n(&watcher.stop, true, __ATOMIC_RELEASE);
	pthread_join(watcher.thread, NULL);
	assert_int_equal(watcher.missed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(follows, set_up, tear_down),
		cmocka_unit_test_setup_teardown(said_twice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tracked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(random_changes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(while_it_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(replaced_in_one, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

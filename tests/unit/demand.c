/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory that is supplied when it is needed, once with a presence bitmap, once with the file's own pages, and once with those
 * that have been answered. What the guest has is in an image; the RAM is empty, and pages come over one by one.
 */
#include "guest.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <uiommu/accel.h>
#include <uiommu/bind.h>
#include <uiommu/guest_memory.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

enum { WORD = 0x1234, THREADS = 4, MAX_PAGES = RAM_PAGES };

static struct {
	uint8_t *image; /* what the guest has; tables are built here, at() leads here */
	uint8_t *ram; /* the VMM's mapping of the file */
	uint64_t *bits; /* of both regions, low and high; NULL: there is no bitmap */
	int bitmap_fd, userfaultfd;
	bool minor; /* what is in the file counts when it has been answered */
	bool answers; /* this is the process that can */
	uint32_t queue;
	unsigned int supplied;
} d;

/* --- the VMM's side --- */

static uint64_t offset_of(uint64_t gpa)
{
	return gpa < LOW_BYTES ? gpa : gpa - HOLE;
}

static int answer(uint64_t gpa, uint64_t length, unsigned int response)
{
	const struct uiommu_range range = {gpa, gpa + length - 1};

	return uiommu_demand_answer(g.context, d.queue, &range, response);
}

static void supply(uint64_t gpa)
{
	uint64_t offset = offset_of(gpa);

	assert_int_equal(gpa % PAGE, 0);
	assert_true(offset < RAM_BYTES);
	if (d.minor) {
		memcpy(d.ram + offset, d.image + offset, PAGE);
		if (d.answers)
			assert_int_equal(answer(gpa, PAGE, UIOMMU_RESPONSE_SUCCESS), 0);
	} else if (d.bits) {
		memcpy(d.ram + offset, d.image + offset, PAGE);
		__atomic_fetch_or(&d.bits[offset / PAGE / 64], UINT64_C(1) << offset / PAGE % 64, __ATOMIC_RELEASE);
	} else {
		struct uffdio_copy copy = {.dst = (uintptr_t)d.ram + offset, .src = (uintptr_t)d.image + offset, .len = PAGE};

		/* It may be there: pages are told again when something else ended. */
		assert_true(!ioctl(d.userfaultfd, UFFDIO_COPY, &copy) || errno == EEXIST);
	}
	d.supplied++;
}

static bool wanted(void)
{
	struct pollfd fd = {.fd = uiommu_demand_fd(g.context, d.queue), .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

/* The next page that somebody waits for. */
static uint64_t next_wanted(void)
{
	struct pollfd fd = {.fd = uiommu_demand_fd(g.context, d.queue), .events = POLLIN};
	struct uiommu_demand_page page;

	assert_int_equal(poll(&fd, 1, -1), 1);
	assert_int_equal(uiommu_demand_read(g.context, d.queue, &page, 1), 1);
	assert_int_equal(page.length, PAGE);
	return page.gpa;
}

static void give(uint64_t gpa)
{
	supply(gpa);
	assert_int_equal(answer(gpa, PAGE, UIOMMU_RESPONSE_SUCCESS), 0);
}

/* Our own mapping of the file, in which pages are put as a whole. */
static int watch_own(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_MISSING_SHMEM};
	struct uffdio_register range = {.range = {(uintptr_t)d.ram, RAM_BYTES}, .mode = UFFDIO_REGISTER_MODE_MISSING};

	d.userfaultfd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	return d.userfaultfd < 0 || ioctl(d.userfaultfd, UFFDIO_API, &api) || ioctl(d.userfaultfd, UFFDIO_REGISTER, &range) ? -1
															    : 0;
}

static struct uiommu_guest_region region(uint64_t gpa, uint64_t offset, uint64_t length)
{
	return (struct uiommu_guest_region){
		.gpa = gpa,
		.length = length,
		.offset = offset,
		.fd = g.fd,
		.access = UIOMMU_READ | UIOMMU_WRITE,
		.flags = UIOMMU_GUEST_ON_DEMAND | (d.minor ? UIOMMU_GUEST_MINOR : 0),
		.demand_id = d.queue,
		.bitmap_fd = d.bits ? d.bitmap_fd : -1,
		.page_lg2 = 12,
		.bitmap_offset = d.bits ? offset / PAGE / 8 : 0,
	};
}

static int change(const struct uiommu_range *remove, const struct uiommu_guest_region *add, uint32_t add_count)
{
	const struct uiommu_guest_memory memory = {.size = sizeof(memory),
						   .ioas_id = g.ioas,
						   .remove_count = remove != NULL,
						   .remove = remove,
						   .add_count = add_count,
						   .add = add};

	return uiommu_guest_memory_update(g.context, &memory);
}

static const struct uiommu_range all = {0, UINT64_MAX};

static int map_on_demand(void)
{
	const struct uiommu_guest_region both[] = {region(0, 0, LOW_BYTES), region(HIGH_START, LOW_BYTES, RAM_BYTES - LOW_BYTES)};

	return change(&all, both, 2);
}

static void make(bool bitmap)
{
	traps_on();
	guest_make(0, 0);
	memset(&d, 0, sizeof(d));
	d.ram = g.bytes;
	d.image = g.bytes = calloc(1, RAM_BYTES); /* guest.h builds here now */
	d.userfaultfd = -1;
	d.bitmap_fd = memfd_create("bitmap", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(d.bitmap_fd, RAM_PAGES / 8), 0);
	assert_int_equal(fcntl(d.bitmap_fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	if (bitmap)
		d.bits = mmap(NULL, RAM_PAGES / 8, PROT_READ | PROT_WRITE, MAP_SHARED, d.bitmap_fd, 0);
	assert_int_equal(uiommu_demand_alloc(g.context, &d.queue), 0);
}

static int setup_bitmap(void **state)
{
	(void)state;
	make(true);
	return map_on_demand();
}

static int setup_pages(void **state)
{
	(void)state;
	make(false);
	return 0;
}

/* All of the file is there from the start, and means nothing. */
static int setup_minor(void **state)
{
	setup_pages(state);
	d.minor = d.answers = true;
	memset(d.ram, 0, RAM_BYTES);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	uiommu_device_put(g.device);
	assert_int_equal(uiommu_close(g.context), 0);
	if (d.userfaultfd >= 0)
		close(d.userfaultfd);
	munmap(d.ram, RAM_BYTES);
	if (d.bits)
		munmap(d.bits, RAM_PAGES / 8);
	free(d.image);
	close(d.bitmap_fd);
	close(g.fd);
	return 0;
}

/* At the beginning of each test: false: it cannot be done here, and has said why. */
static bool ready(void)
{
	int error;

	traps_on();
	if (d.bits)
		return true;
	if (!d.minor && watch_own()) {
		print_message("# skipped: userfaultfd: %s\n", strerror(errno));
		skip();
	}
	error = map_on_demand();
	if (error == -EOPNOTSUPP) {
		print_message("# skipped: no userfaultfd for %sshared memory\n", d.minor ? "minor faults of " : "");
		skip();
	}
	assert_int_equal(error, 0);
	return true;
}

static void bind_memory(void)
{
	struct uiommu_bind_shared shared = {.ioas_id = g.ioas, .access = UIOMMU_READ | UIOMMU_WRITE};
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = g.device_id,
		.pasid = PASID,
		.type = UIOMMU_BIND_SHARED,
		.data = &shared,
		.data_len = sizeof(shared),
		.fault_queue_id = g.queue,
	};

	assert_int_equal(uiommu_bind(g.context, &bind), 0);
}

/* --- threads that wait --- */

struct access {
	pthread_t thread;
	uint64_t address;
	uint64_t value;
	int error;
	struct uiommu_dma_result result;
};

static void *read_word(void *opaque)
{
	struct access *access = opaque;

	access->error = uiommu_dma_read(g.device, PASID, access->address, &access->value, 8, &access->result);
	return NULL;
}

static void start(struct access *access, uint64_t address)
{
	*access = (struct access){.address = address};
	assert_int_equal(pthread_create(&access->thread, NULL, read_word, access), 0);
}

static void check(struct access *access, unsigned int reason)
{
	pthread_join(access->thread, NULL);
	assert_int_equal(access->error, reason ? -EFAULT : 0);
	assert_int_equal(access->result.fault.reason, reason);
}

/* --- what may end the waiting --- */

static void supplied(void **state)
{
	struct access accesses[THREADS];
	uint64_t word = 5;

	(void)state;
	ready();
	bind_memory();
	*entry_at(3 * PAGE + 8) = WORD;
	*entry_at(HIGH_START) = WORD + 1;
	for (unsigned int i = 0; i < THREADS; i++)
		start(&accesses[i], 3 * PAGE + 8);
	/* However many wait: told once. */
	assert_int_equal(next_wanted(), 3 * PAGE);
	give(3 * PAGE);
	for (unsigned int i = 0; i < THREADS; i++) {
		/* Those that came later than the answer found it present; those that looked before it were answered. */
		check(&accesses[i], UIOMMU_FAULT_NONE);
		assert_int_equal(accesses[i].value, WORD);
	}
	assert_false(wanted());
	/* Present from now on, for writes, too; the next page is not. */
	assert_int_equal(uiommu_dma_write(g.device, PASID, 3 * PAGE + 16, &word, 8, NULL), 0);
	assert_int_equal(*(uint64_t *)(void *)(d.ram + 3 * PAGE + 16), 5);
	start(&accesses[0], 4 * PAGE - 4);
	assert_int_equal(next_wanted(), 4 * PAGE);
	give(4 * PAGE);
	check(&accesses[0], UIOMMU_FAULT_NONE);
	/* Supplied before anybody asks. */
	supply(HIGH_START);
	start(&accesses[0], HIGH_START);
	check(&accesses[0], UIOMMU_FAULT_NONE);
	assert_int_equal(accesses[0].value, WORD + 1);
	assert_false(wanted());
}

static void refused(void **state)
{
	struct uiommu_fault_event event;
	struct access access;

	(void)state;
	/* Not in the file, either. */
	assert_int_equal(fallocate(g.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 * PAGE, PAGE), 0);
	ready();
	bind_memory();
	start(&access, 3 * PAGE);
	assert_int_equal(next_wanted(), 3 * PAGE);
	assert_int_equal(answer(2 * PAGE, PAGE, UIOMMU_RESPONSE_SUCCESS), 0); /* of another one */
	assert_int_equal(answer(0, LOW_BYTES, UIOMMU_RESPONSE_INVALID), 0);
	check(&access, UIOMMU_FAULT_MEMORY);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(event.fault.reason, UIOMMU_FAULT_MEMORY);
	assert_int_equal(event.fault.address, 3 * PAGE);
	/* The next access asks again. A wrong claim that it is there does not help. */
	start(&access, 3 * PAGE);
	assert_int_equal(next_wanted(), 3 * PAGE);
	assert_int_equal(answer(3 * PAGE, PAGE, UIOMMU_RESPONSE_SUCCESS), 0);
	assert_int_equal(next_wanted(), 3 * PAGE);
	give(3 * PAGE);
	check(&access, UIOMMU_FAULT_NONE);
	assert_int_equal(answer(1, 0, 0), -EINVAL);
	assert_int_equal(answer(0, 1, 3), -EINVAL);
	assert_int_equal(uiommu_demand_answer(g.context, 999, &all, 0), -ENOENT);
	assert_int_equal(uiommu_demand_fd(g.context, 999), -ENOENT);
	assert_int_equal(uiommu_demand_read(g.context, 999, NULL, 0), -ENOENT);
}

/* The memory goes, the bind goes, the VMM goes: who waits meets what there is then. */
static void ended(void **state)
{
	struct access access;

	(void)state;
	ready();
	bind_memory();
	start(&access, 3 * PAGE);
	assert_int_equal(next_wanted(), 3 * PAGE);
	assert_int_equal(change(&all, NULL, 0), 0);
	check(&access, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(map_on_demand(), 0);
	start(&access, 3 * PAGE);
	assert_int_equal(next_wanted(), 3 * PAGE);
	assert_int_equal(uiommu_unbind(g.context, g.device_id, PASID), 0);
	pthread_join(access.thread, NULL);
	assert_true(access.result.fault.reason == UIOMMU_FAULT_NOT_ATTACHED || access.result.fault.reason == UIOMMU_FAULT_DRAINING);
	bind_memory();
	start(&access, 3 * PAGE);
	assert_int_equal(next_wanted(), 3 * PAGE);
	assert_int_equal(uiommu_destroy(g.context, d.queue), 0);
	check(&access, UIOMMU_FAULT_MEMORY);
	start(&access, 4 * PAGE);
	check(&access, UIOMMU_FAULT_MEMORY);
	assert_int_equal(uiommu_demand_fd(g.context, d.queue), -ENOENT);
}

static void bad_regions(void **state)
{
	struct uiommu_guest_region bad;
	int plain = memfd_create("unsealed", MFD_CLOEXEC);

	(void)state;
	ready();
	assert_int_equal(change(&all, NULL, 0), 0);
	assert_int_equal(ftruncate(plain, PAGE), 0);
#define REFUSED(member, value, expected)                                                                                           \
	do {                                                                                                                       \
		bad = region(0, 0, LOW_BYTES);                                                                                     \
		bad.member = (value);                                                                                              \
		assert_int_equal(change(NULL, &bad, 1), expected);                                                                 \
	} while (0)
	REFUSED(flags, 5, -EOPNOTSUPP);
	REFUSED(flags, UIOMMU_GUEST_MINOR, -EINVAL);
	REFUSED(flags, 0, -EINVAL);
	REFUSED(reserved, 1, -EINVAL);
	REFUSED(demand_id, 999, -ENOENT);
	REFUSED(demand_id, g.ioas, -ENOENT);
	REFUSED(page_lg2, 11, -EINVAL);
	REFUSED(page_lg2, 31, -EINVAL);
	REFUSED(page_lg2, 22, -EINVAL);
	REFUSED(gpa, 8, -EINVAL);
	REFUSED(length, LOW_BYTES - 8, -EINVAL);
	if (d.bits) {
		REFUSED(flags, UIOMMU_GUEST_ON_DEMAND | UIOMMU_GUEST_MINOR, -EINVAL);
		REFUSED(bitmap_fd, plain, -EINVAL);
		REFUSED(bitmap_fd, 9999, -EBADF);
		REFUSED(bitmap_offset, 4, -EINVAL);
		REFUSED(bitmap_offset, RAM_PAGES / 8, -EINVAL);
	}
#undef REFUSED
	bad = region(0, 0, LOW_BYTES);
	assert_int_equal(change(NULL, &bad, 1), 0);
	/* The same again is the same; another way of supplying it is not. */
	if (d.bits)
		assert_int_equal(change(NULL, &bad, 1), 0);
	bad.flags = 0;
	bad.demand_id = bad.page_lg2 = 0;
	bad.bitmap_offset = 0;
	assert_int_equal(change(NULL, &bad, 1), -EEXIST);
	close(plain);
}

/* Nothing is pinned, and atomics wait as other accesses do. */
static void *add_one(void *opaque)
{
	struct uiommu_dma_atomic *atomic = opaque;

	assert_int_equal(uiommu_dma_atomic(g.device, atomic, NULL), 0);
	return NULL;
}

static void pins_and_atomics(void **state)
{
	struct iovec iov;
	struct uiommu_dma_pin pin = {
		.address = PAGE, .length = 8, .pasid = PASID, .access = UIOMMU_READ, .iov = &iov, .iov_count = 1};
	struct uiommu_dma_atomic atomic = {
		.address = PAGE, .pasid = PASID, .type = UIOMMU_ATOMIC_FETCH_ADD, .length = 8, .operand = 1};
	struct uiommu_dma_result result;
	pthread_t thread;

	(void)state;
	ready();
	bind_memory();
	*entry_at(PAGE) = WORD;
	assert_int_equal(uiommu_dma_pin(g.device, &pin, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_NOT_DIRECT);
	assert_int_equal(pthread_create(&thread, NULL, add_one, &atomic), 0);
	assert_int_equal(next_wanted(), PAGE);
	give(PAGE);
	pthread_join(thread, NULL);
	assert_int_equal(atomic.old, WORD);
	assert_int_equal(*(uint64_t *)(void *)(d.ram + PAGE), WORD + 1);
	pin.iov_count = 1;
	assert_int_equal(uiommu_dma_pin(g.device, &pin, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_NOT_DIRECT);
}

/* --- tables that are absent --- */

static void answered(void *opaque, unsigned int response)
{
	*(unsigned int *)opaque = response;
}

/* The device parks: each page on the way is asked for by itself, top table first. */
static void walk_parked(uint64_t *order, unsigned int count)
{
	unsigned int response = 99;
	uint64_t value = 0;
	struct uiommu_dma_op op = {.address = VA, .buffer = &value, .length = 8, .pasid = PASID, .flags = UIOMMU_DMA_PARKS};

	for (unsigned int i = 0; i < count; i++) {
		assert_int_equal(uiommu_dma_readv(g.device, &op, 1), -EFAULT);
		assert_int_equal(op.result.fault.reason, UIOMMU_FAULT_ABSENT);
		assert_int_equal(op.result.fault.flags & UIOMMU_FAULT_RECOVERABLE, UIOMMU_FAULT_RECOVERABLE);
		assert_int_equal(uiommu_dma_page_request(g.device, &op.result.fault, answered, &response), 0);
		assert_int_equal(next_wanted(), order[i]);
		assert_int_equal(response, 99);
		give(order[i]);
		assert_int_equal(response, UIOMMU_RESPONSE_SUCCESS);
		response = 99;
	}
	assert_int_equal(uiommu_dma_page_request(g.device, &op.result.fault, answered, &response), -EAGAIN);
	assert_int_equal(uiommu_dma_readv(g.device, &op, 1), 0);
	assert_int_equal(value, WORD);
	assert_false(wanted());
}

/* The call sleeps: the same pages. */
static void walk_sleeping(uint64_t *order, unsigned int count)
{
	struct access access;

	start(&access, VA);
	for (unsigned int i = 0; i < count; i++) {
		assert_int_equal(next_wanted(), order[i]);
		give(order[i]);
	}
	check(&access, UIOMMU_FAULT_NONE);
	assert_int_equal(access.value, WORD);
	assert_false(wanted());
}

static void bind_table(uint64_t root)
{
	struct uiommu_bind_page_table table = {
		.format = UIOMMU_FORMAT_VTD_FIRST, .parent_id = g.parent, .root = root, .address_width = 48};
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = g.device_id,
		.pasid = PASID,
		.type = UIOMMU_BIND_PAGE_TABLE,
		.data = &table,
		.data_len = sizeof(table),
		.fault_queue_id = g.queue,
	};

	assert_int_equal(uiommu_bind(g.context, &bind), 0);
}

/* Four tables and the page, in the order in which a walk meets them. */
static uint64_t root_make(uint64_t *order)
{
	uint64_t table = page_new(), page = page_new();

	order[0] = table;
	*leaf_of(table, VA, FIRST_TABLE) = page | FIRST_PAGE;
	*entry_at(page) = WORD;
	for (unsigned int i = 1; i < 4; i++)
		order[i] = table = entry_at(table)[VA >> (48 - 9 * i) & 511] & UINT64_C(0x000ffffffffff000);
	order[4] = page;
	return order[0];
}

static void page_table(void **state)
{
	uint64_t order[5];

	(void)state;
	ready();
	bind_table(root_make(order));
	walk_parked(order, 5);
	assert_int_equal(uiommu_unbind(g.context, g.device_id, PASID), 0);
	bind_table(root_make(order));
	walk_sleeping(order, 5);
}

/* Both stages: for each address of the first one's, the second one's tables. */
static void two_stages(void **state)
{
	uint64_t second = page_new(), order[5], wanted_pages = 0;
	struct access access;
	uint32_t id;

	(void)state;
	ready();
	root_make(order);
	for (unsigned int i = 0; i < 5; i++)
		*leaf_of(second, order[i], SECOND) = order[i] | SECOND;
	id = nested_make(order[0], second);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	start(&access, VA);
	for (bool last = false; !last; wanted_pages++) {
		uint64_t gpa = next_wanted();

		last = gpa == order[4];
		give(gpa);
	}
	check(&access, UIOMMU_FAULT_NONE);
	assert_int_equal(access.value, WORD);
	assert_true(wanted_pages >= 5 + 4);
	assert_false(wanted());
}

static void pasid_table(void **state)
{
	uint64_t order[7], base = page_new(), table = page_new(), *entry = entry_at(table) + (PASID & 63) * 8;
	struct uiommu_hwpt_tables tables = {
		.size = sizeof(tables),
		.parent_id = g.parent,
		.tables = UIOMMU_TABLES_VTD,
		.structure = UIOMMU_STRUCTURE_PASID,
		.base = base,
		.capabilities = UIOMMU_VTD_TABLES_4_LEVEL | UIOMMU_VTD_TABLES_SMTS | UIOMMU_VTD_TABLES_FIRST |
				UIOMMU_VTD_TABLES_PASID | 19 << 24 | UINT32_C(6) << 29,
		.size_lg2 = 20,
		.output_lg2 = 46,
		.rid_pasid = UIOMMU_NO_PASID,
	};
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = g.device_id,
		.pasid = UIOMMU_NO_PASID,
		.type = UIOMMU_BIND_PASID_TABLE,
		.data = &tables,
		.data_len = sizeof(tables),
		.fault_queue_id = g.queue,
	};
	struct uiommu_attachment *attachment;
	struct uiommu_fault_event event;
	struct access access;

	(void)state;
	ready();
	order[0] = base;
	order[1] = table;
	entry_at(base)[PASID >> 6] = table | 1;
	entry[1] = 5;
	entry[2] = root_make(order + 2);
	entry[0] = 1 << 6 | 1;
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	walk_parked(order, 7);
	assert_int_equal(uiommu_unbind(g.context, g.device_id, UIOMMU_NO_PASID), 0);
	/* Sleeping; and the VMM goes meanwhile. */
	assert_int_equal(change(&all, NULL, 0), 0);
	if (d.bits)
		memset(d.bits, 0, RAM_PAGES / 8);
	else
		assert_int_equal(fallocate(g.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, RAM_BYTES), 0);
	assert_int_equal(map_on_demand(), 0);
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	start(&access, VA);
	assert_int_equal(next_wanted(), base);
	assert_int_equal(answer(base, PAGE, UIOMMU_RESPONSE_INVALID), 0);
	check(&access, UIOMMU_FAULT_MEMORY);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(event.fault.reason, UIOMMU_FAULT_MEMORY);
	assert_int_equal(event.fault.address, VA);
	assert_int_equal(event.fault.pasid, PASID);
	assert_int_equal(event.fault.structure, access.result.fault.structure);
	assert_int_equal(event.fault.structure, UIOMMU_STRUCTURE_PASID_DIR);
	walk_sleeping(order, 7);
	attachment = uiommu_attachment_get(g.device, PASID);
	assert_non_null(attachment);
	uiommu_attachment_put(attachment);
	start(&access, VA + UINT64_C(0x40000000)); /* nothing is there: no page is asked for */
	check(&access, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(uiommu_destroy(g.context, d.queue), 0);
}

/* --- the accelerator: only what needs the page stops --- */

static struct uiommu_accel_desc fill_of(uint64_t address, uint64_t record)
{
	return (struct uiommu_accel_desc){
		.pasid_priv = PASID,
		.flags_opcode = UIOMMU_ACCEL_FILL << 24 | UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD,
		.completion_address = record,
		.source = UINT64_C(0x0101010101010101),
		.destination = address,
		.transfer_size = 64,
	};
}

static unsigned int status_at(uint64_t gpa)
{
	return __atomic_load_n(d.ram + offset_of(gpa), __ATOMIC_ACQUIRE);
}

static void poll_all(struct uiommu_accel *accel)
{
	while (uiommu_accel_poll(accel, 8))
		;
}

static void others_go_on(void **state)
{
	const struct uiommu_queue_config config = {.size = sizeof(config), .flags = UIOMMU_QUEUE_SHARED, .entries = 16};
	const uint64_t records = PAGE, present = 2 * PAGE, absent = 5 * PAGE, record = 6 * PAGE, list = 7 * PAGE;
	struct uiommu_accel_desc desc;
	struct uiommu_accel_error error;
	struct uiommu_accel *accel;
	struct uiommu_queue *queue;

	(void)state;
	ready();
	bind_memory();
	supply(records);
	supply(present);
	assert_int_equal(uiommu_accel_create(g.context, g.device_id, &accel), 0);
	assert_int_equal(uiommu_accel_queue(accel, &config, &queue), 0);
	/* One needs a page, one does not. */
	desc = fill_of(absent, records);
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	desc = fill_of(present, records + 32);
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	poll_all(accel);
	assert_int_equal(status_at(records), UIOMMU_ACCEL_PENDING);
	assert_int_equal(status_at(records + 32), UIOMMU_ACCEL_SUCCESS);
	assert_int_equal(next_wanted(), absent);
	give(absent);
	poll_all(accel);
	assert_int_equal(status_at(records), UIOMMU_ACCEL_SUCCESS);
	assert_int_equal(d.ram[absent + 63], 1);
	/* The record's page, of a descriptor, a drain and a batch with its list. */
	desc = fill_of(present, record);
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	desc = (struct uiommu_accel_desc){
		.pasid_priv = PASID,
		.flags_opcode = UIOMMU_ACCEL_DRAIN << 24 | UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD,
		.completion_address = record + 32,
	};
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	for (unsigned int i = 0; i < 2; i++) {
		desc = fill_of(present + 64 * i, record + 64 + 32 * i);
		memcpy(at(list) + i * sizeof(desc), &desc, sizeof(desc));
	}
	desc = (struct uiommu_accel_desc){
		.pasid_priv = PASID,
		.flags_opcode = UIOMMU_ACCEL_BATCH << 24 | UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD,
		.completion_address = record + 128,
		.source = list,
		.transfer_size = 2,
	};
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	desc = fill_of(present, records + 64);
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	poll_all(accel);
	assert_int_equal(status_at(records + 64), UIOMMU_ACCEL_SUCCESS);
	assert_true(next_wanted() + next_wanted() == record + list);
	assert_false(wanted());
	give(list);
	poll_all(accel);
	give(record);
	poll_all(accel);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(status_at(record + 32 * i), UIOMMU_ACCEL_SUCCESS);
	/* Refused: the access faults; of a record that does not come the queue tells. */
	desc = fill_of(absent + 4 * PAGE, records + 96);
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	desc = fill_of(present, absent + 5 * PAGE);
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	poll_all(accel);
	assert_int_equal(answer(0, RAM_BYTES, UIOMMU_RESPONSE_FAILURE), 0);
	poll_all(accel);
	assert_int_equal(status_at(records + 96) & UIOMMU_ACCEL_STATUS_MASK, UIOMMU_ACCEL_PAGE_FAULT_INVALID);
	uiommu_queue_error(queue, &error);
	assert_int_equal(error.code, UIOMMU_ACCEL_ERROR_RECORD);
	assert_int_equal(error.status, UIOMMU_ACCEL_RECORD_FAULT);
	/* One is parked as everything ends. */
	desc = fill_of(absent + 6 * PAGE, records + 128);
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	poll_all(accel);
	uiommu_accel_destroy(accel);
}

/* --- a VM that supplies all of its RAM page by page --- */

enum { JOBS = 96, JOB_BYTES = 3 * PAGE };

static struct {
	pid_t pid;
	int connection;
	pthread_t forwarder;
	unsigned int asked;
	bool dies; /* half-way */
} vm;

/* Another process: it is told addresses, supplies them, and says so. */
static void vm_main(int connection)
{
	uint64_t gpa;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(connection, &gpa, sizeof(gpa)) == sizeof(gpa)) {
		if (vm.dies && ++vm.asked == 20)
			raise(SIGKILL);
		supply(gpa);
		if (write(connection, &gpa, sizeof(gpa)) != sizeof(gpa))
			break;
	}
	_exit(0);
}

/* The front door's part: pages go to the VM, its answers come back; when it hangs up, nobody answers any more. */
static void *forward(void *opaque)
{
	struct pollfd fds[2] = {{.fd = uiommu_demand_fd(g.context, d.queue), .events = POLLIN},
				{.fd = vm.connection, .events = POLLIN}};
	struct uiommu_demand_page page;
	uint64_t gpa;

	(void)opaque;
	for (;;) {
		assert_true(poll(fds, 2, -1) > 0);
		if (fds[1].revents) {
			if (read(vm.connection, &gpa, sizeof(gpa)) != sizeof(gpa))
				break;
			assert_int_equal(answer(gpa, PAGE, UIOMMU_RESPONSE_SUCCESS), 0);
		} else if (uiommu_demand_read(g.context, d.queue, &page, 1) == 1) {
			vm.asked++;
			if (send(vm.connection, &page.gpa, sizeof(page.gpa), MSG_NOSIGNAL) != sizeof(page.gpa))
				break;
		}
	}
	if (vm.dies)
		assert_int_equal(uiommu_destroy(g.context, d.queue), 0);
	return NULL;
}

static void vm_start(bool dies)
{
	int pair[2];

	vm.asked = 0;
	vm.dies = dies;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	vm.pid = fork();
	assert_true(vm.pid >= 0);
	if (!vm.pid) {
		close(pair[0]);
		d.answers = false;
		if (!d.bits && !d.minor) {
			close(d.userfaultfd); /* of the parent's mapping */
			if (watch_own())
				_exit(2);
		}
		vm_main(pair[1]);
	}
	close(pair[1]);
	vm.connection = pair[0];
	assert_int_equal(pthread_create(&vm.forwarder, NULL, forward, NULL), 0);
}

static void vm_end(void)
{
	kill(vm.pid, SIGKILL);
	waitpid(vm.pid, NULL, 0);
	pthread_join(vm.forwarder, NULL);
	close(vm.connection);
}

static struct uiommu_accel *accel_start(struct uiommu_queue **queue)
{
	const struct uiommu_queue_config config = {.size = sizeof(config), .flags = UIOMMU_QUEUE_SHARED, .entries = 256};
	struct uiommu_accel *accel;

	assert_int_equal(uiommu_accel_create(g.context, g.device_id, &accel), 0);
	assert_int_equal(uiommu_accel_queue(accel, &config, queue), 0);
	assert_int_equal(uiommu_accel_start(accel, 0), 0);
	return accel;
}

/* Blocks of the RAM are moved about, one after the other; @records is the last page, as it is mapped here. */
static void run_jobs(struct uiommu_queue *queue, uint8_t *records)
{
	for (uint64_t i = 0; i < JOBS; i++) {
		const struct uiommu_accel_record *record = (const struct uiommu_accel_record *)(void *)(records + 32 * i);
		uint32_t random = (uint32_t)i * 2654435761u;
		struct uiommu_accel_desc desc = {
			.pasid_priv = PASID,
			.flags_opcode = UIOMMU_ACCEL_MEMMOVE << 24 | UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD |
					UIOMMU_ACCEL_REQUEST_INTERRUPT,
			.completion_address = LOW_BYTES - PAGE + 32 * i,
			.source = random % (LOW_BYTES / PAGE - 6) * PAGE + random % 1000,
			.destination = (random >> 12) % (LOW_BYTES / PAGE - 6) * PAGE + random % 500,
			.transfer_size = JOB_BYTES,
		};

		assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
		assert_int_equal(uiommu_queue_wait(queue, record), 0);
		assert_int_equal(record->status, UIOMMU_ACCEL_SUCCESS);
	}
}

/* The same on memory that is all there; @bytes are what it is, in the end. */
static void run_jobs_present(uint8_t *bytes)
{
	struct uiommu_guest_region low = {.length = LOW_BYTES, .access = UIOMMU_READ | UIOMMU_WRITE};
	struct uiommu_accel *accel;
	struct uiommu_queue *queue;
	uint8_t *map;

	low.fd = memfd_create("present", MFD_CLOEXEC);
	assert_int_equal(pwrite(low.fd, bytes, LOW_BYTES, 0), (ssize_t)LOW_BYTES);
	map = mmap(NULL, LOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, low.fd, 0);
	assert_int_equal(change(&all, &low, 1), 0);
	accel = accel_start(&queue);
	run_jobs(queue, map + LOW_BYTES - PAGE);
	uiommu_accel_destroy(accel);
	memcpy(bytes, map, LOW_BYTES);
	munmap(map, LOW_BYTES);
	close(low.fd);
}

static void all_of_the_ram(void **state)
{
	const uint64_t pages = LOW_BYTES / PAGE;
	uint8_t *expected = malloc(LOW_BYTES), *got = malloc(LOW_BYTES);
	struct uiommu_accel *accel;
	struct uiommu_queue *queue;

	(void)state;
	ready();
	for (unsigned int i = 0; i < LOW_BYTES - PAGE; i++)
		d.image[i] = (uint8_t)(1 + (i * 31 + i / PAGE * 7) % 255);
	memcpy(expected, d.image, LOW_BYTES);
	bind_memory();
	supply(LOW_BYTES - PAGE);
	vm_start(false);
	accel = accel_start(&queue);
	run_jobs(queue, d.ram + LOW_BYTES - PAGE);
	uiommu_accel_destroy(accel);
	vm_end();
	/* Each page that was needed came once. */
	assert_true(vm.asked > pages / 2 && vm.asked < pages);
	run_jobs_present(expected);
	assert_int_equal(pread(g.fd, got, LOW_BYTES, 0), (ssize_t)LOW_BYTES);
	for (uint64_t i = 0; i < pages; i++)
		if (got[i * PAGE]) /* what nobody has needed is empty */
			assert_memory_equal(got + i * PAGE, expected + i * PAGE, PAGE);
		else
			vm.asked++;
	assert_int_equal(vm.asked, pages - 1 + (got[LOW_BYTES - PAGE] == 0));
	free(expected);
	free(got);
}

/* Killed half-way: what was supplied has been done, all else has failed, and nothing waits. */
static void the_vm_dies(void **state)
{
	struct uiommu_accel *accel;
	struct uiommu_queue *queue;
	unsigned int done = 0;

	(void)state;
	ready();
	bind_memory();
	supply(0);
	vm_start(true);
	accel = accel_start(&queue);
	for (uint64_t i = 0; i < JOBS; i++) {
		struct uiommu_accel_desc desc = fill_of((i + 1) * PAGE, 32 * i);

		desc.flags_opcode |= UIOMMU_ACCEL_REQUEST_INTERRUPT;
		assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	}
	for (uint64_t i = 0; i < JOBS; i++) {
		const struct uiommu_accel_record *record = (const struct uiommu_accel_record *)(void *)(d.ram + 32 * i);

		assert_int_equal(uiommu_queue_wait(queue, record), 0);
		if (record->status == UIOMMU_ACCEL_SUCCESS)
			done++;
		else
			assert_int_equal(record->status & UIOMMU_ACCEL_STATUS_MASK, UIOMMU_ACCEL_PAGE_FAULT_INVALID);
	}
	assert_true(done < 20);
	vm_end();
	uiommu_accel_destroy(accel);
	assert_int_equal(uiommu_unbind_claim(g.context, g.device_id, PASID, UIOMMU_UNBIND_FLUSHED | UIOMMU_UNBIND_CLEAN), 0);
	assert_int_equal(change(&all, NULL, 0), 0);
}

#define IN_ALL(test)                                                                                                               \
	cmocka_unit_test_setup_teardown(test, setup_bitmap, tear_down), {#test "_pages", test, setup_pages, tear_down, NULL},      \
	{                                                                                                                          \
#test "_minor", test, setup_minor, tear_down, NULL                                                                 \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_ALL(supplied),	  IN_ALL(refused),	  IN_ALL(ended),       IN_ALL(bad_regions),
		IN_ALL(pins_and_atomics), IN_ALL(page_table),	  IN_ALL(two_stages),  IN_ALL(pasid_table),
		IN_ALL(others_go_on),	  IN_ALL(all_of_the_ram), IN_ALL(the_vm_dies),
	};

	traps_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

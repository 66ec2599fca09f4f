/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drivers in user space for the accelerator, as anybody may write them, to be run under `uiommu run`: one that maps a doorbell
 * page, and one for DSA's registers, which submits to a portal. Each case checks itself, prints "ok", and ends with 0.
 */
#include "accel_driver.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>

#define HWPT_ALLOC _IO(';', 0x89)
#define FAULT_QUEUE_ALLOC _IO(';', 0x8e)

/* --- doorbell pages --- */

enum { NUMBER = 3, REGISTERS = 0x1000 + 0x40 * NUMBER, ENABLED = 2 };

static volatile uint64_t *page;

static void map_page(void)
{
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, device,
		    region(VFIO_PCI_BAR2_REGION_INDEX) + (off_t)PAGE * NUMBER);
	CHECK(page != MAP_FAILED);
}

static void enable_page(void)
{
	/* It was reset when it was opened. */
	while (get(0x14, 4))
		sched_yield();
	set(REGISTERS + 0x08, 8, iova(memory->ring));
	set(REGISTERS + 0x10, 8, 4);
	set(REGISTERS + 0x18, 4, 0);
	set(REGISTERS, 4, 1);
	CHECK(region_info(VFIO_PCI_BAR2_REGION_INDEX).flags & VFIO_REGION_INFO_FLAG_MMAP);
	map_page();
	while (page[2] != ENABLED)
		sched_yield();
	CHECK(get(REGISTERS + 4, 4) == ENABLED);
}

static void move(unsigned int i)
{
	memory->ring[i % ENTRIES] = prepare(i);
	__atomic_store_n(&page[0], i + 1, __ATOMIC_RELEASE);
	finish(i);
	CHECK(page[1] == i + 1);
}

static void doorbells(char **arguments)
{
	(void)arguments;
	begin();
	enable_page();
	for (unsigned int i = 0; i < 300; i++)
		move(i);
	/* A doorbell that makes no sense is an error, which is seen there as well. */
	page[0] = 300 + 2 * ENTRIES;
	while (!page[3])
		sched_yield();
	CHECK(page[3] == get(REGISTERS + 0x20, 8));
	page[0] = 300;
	move(300);
}

/* @arguments[0]: the page is mapped so many times before each move, and unmapped after that but for the last one. */
static void is_idle(char **arguments)
{
	unsigned int again = arguments[0] ? (unsigned int)atoi(arguments[0]) : 0;

	begin();
	enable_page();
	for (unsigned int i = 0; i < 3; i++) {
		for (unsigned int n = 0; n < again; n++) {
			CHECK(!munmap((void *)(uintptr_t)page, PAGE));
			map_page();
		}
		move(i);
		say_idle();
	}
}

/* What the device writes to is another page than the one that was mapped. */
static void replaced(char **arguments)
{
	uint8_t *whole;

	(void)arguments;
	begin();
	enable_page();
	move(0);
	whole = memory->destination + (PAGE - (uintptr_t)memory->destination % PAGE) % PAGE;
	CHECK(mmap(whole, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == whole);
	move(1);
}

/* A child rings with what it has inherited. */
static void forks(char **arguments)
{
	pid_t pid;

	(void)arguments;
	begin();
	enable_page();
	for (unsigned int i = 0; i < 20; i += 2) {
		pid = fork();
		CHECK(pid >= 0);
		if (!pid) {
			move(i);
			_exit(0);
		}
		wait_for(pid);
		move(i + 1);
	}
}

/* --- DSA --- */

static void portals(char **arguments)
{
	const bool maps = !strcmp(arguments[0], "maps");

	begin();
	enable_portals();
	/* One write is one descriptor; so a portal is no memory, and mapped where each access can be caught. */
	CHECK(maps == !!(region_info(VFIO_PCI_BAR2_REGION_INDEX).flags & VFIO_REGION_INFO_FLAG_MMAP));
	CHECK(maps == (mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, device, region(VFIO_PCI_BAR2_REGION_INDEX)) != MAP_FAILED));
	for (unsigned int i = 0; i < 100; i++) {
		const struct descriptor descriptor = prepare(i);

		submit(i, &descriptor);
		finish(i);
	}
}

static uint32_t make_ioas(void)
{
	struct {
		uint32_t size, flags, id;
	} arguments = {sizeof(arguments), 0, 0};

	CHECK(!ioctl(iommufd, IOAS_ALLOC, &arguments));
	return arguments.id;
}

static bool moved; /* atomic */

static void *replace(void *other)
{
	const uint32_t ids[] = {ioas, *(uint32_t *)other};

	for (unsigned int i = 0; !__atomic_load_n(&moved, __ATOMIC_RELAXED); i++)
		attach(ids[i % 2]);
	return NULL;
}

/* What a device is attached to is replaced while it is at work: nothing is lost. */
static void replaces(char **arguments)
{
	uint32_t first, other;
	pthread_t thread;

	(void)arguments;
	begin();
	first = ioas;
	ioas = other = make_ioas();
	map_memory(memory, (sizeof(*memory) + PAGE - 1) / PAGE * PAGE);
	ioas = first;
	enable_portals();
	CHECK(!pthread_create(&thread, NULL, replace, &other));
	for (unsigned int i = 0; i < 1000; i++) {
		const struct descriptor descriptor = prepare(i);

		submit(i, &descriptor);
		/* What is lost is a software error. */
		while (!__atomic_load_n(memory->records[i % ENTRIES], __ATOMIC_ACQUIRE))
			CHECK(!(get(0xc0, 8) & 1));
		finish(i);
	}
	__atomic_store_n(&moved, true, __ATOMIC_RELAXED);
	CHECK(!pthread_join(thread, NULL));
}

/* --- a fault queue --- */

enum { NOT_MAPPED = IOVA + (1 << 20), BLOCK_ON_FAULT = 2, INVALID_PAGE = 0x04 | 0x80, LAST_PAGE = 2, MAY_WRITE = 2 };

struct page_request {
	uint32_t flags, dev_id, pasid, group, access, reserved;
	uint64_t address;
	uint32_t length, cookie;
};

struct page_response {
	uint32_t cookie, code;
};

static int make_fault_queue(uint32_t *id)
{
	struct {
		uint32_t size, flags, id;
		int32_t fd;
	} arguments = {.size = sizeof(arguments)};

	CHECK(!ioctl(iommufd, FAULT_QUEUE_ALLOC, &arguments));
	CHECK(fcntl(arguments.fd, F_GETFD) == FD_CLOEXEC);
	*id = arguments.id;
	return arguments.fd;
}

static uint32_t make_hwpt(uint32_t fault_id)
{
	struct {
		uint32_t size, flags, dev_id, pt_id, out_id, reserved, type, length;
		uint64_t data;
		uint32_t fault_id, reserved_2;
	} arguments = {.size = sizeof(arguments), .flags = 4, .dev_id = device_id, .pt_id = ioas, .fault_id = fault_id};

	CHECK(!ioctl(iommufd, HWPT_ALLOC, &arguments));
	return arguments.out_id;
}

/* A move into what is not there, up to the request for its page. */
static struct page_request ask(int queue, unsigned int i)
{
	struct pollfd look = {.fd = queue, .events = POLLIN | POLLOUT};
	struct descriptor descriptor = prepare(i);
	struct page_request request, more[4];
	void *volatile nowhere = (void *)16;

	CHECK(poll(&look, 1, 0) == 1 && look.revents == POLLOUT);
	CHECK(read(queue, &request, sizeof(request)) == 0);
	descriptor.flags_opcode |= BLOCK_ON_FAULT;
	descriptor.destination = NOT_MAPPED;
	submit(i, &descriptor);
	look.events = POLLIN;
	CHECK(poll(&look, 1, -1) == 1);
	/* It stays there for whoever has no place for it, or asks for a part. */
	CHECK(read(queue, &request, 0) == -1 && errno == EINVAL);
	CHECK(read(queue, &request, sizeof(request) - 1) == -1 && errno == ESPIPE);
	CHECK(read(queue, nowhere, sizeof(request)) == -1 && errno == EFAULT);
	CHECK(read(queue, more, sizeof(more)) == sizeof(request));
	request = more[0];
	CHECK(request.flags == LAST_PAGE && request.dev_id == device_id && request.access == MAY_WRITE && request.cookie);
	CHECK(request.address == NOT_MAPPED && !request.length && !request.pasid);
	CHECK(!memory->records[i % ENTRIES][0]);
	return request;
}

/* Who waits for edges and has read a part, or all, is told of what has come since. */
static void check_edges(int queue)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	struct page_request request;
	int edges = epoll_create1(EPOLL_CLOEXEC);

	CHECK(edges >= 0 && !epoll_ctl(edges, EPOLL_CTL_ADD, queue, &event));
	for (unsigned int i = 4; i < 7; i++) {
		struct descriptor descriptor = prepare(i);

		if (i < 6) {
			descriptor.flags_opcode |= BLOCK_ON_FAULT;
			descriptor.destination = NOT_MAPPED + i * SIZE;
		}
		submit(i, &descriptor);
	}
	/* Those before it have asked by now; whoever waits is told a moment later. */
	finish(6);
	CHECK(epoll_wait(edges, &event, 1, -1) == 1);
	CHECK(epoll_wait(edges, &event, 1, 0) == 0);
	for (unsigned int i = 0; i < 2; i++) {
		struct page_response response = {.code = 1};

		CHECK(read(queue, &request, sizeof(request)) == sizeof(request));
		CHECK(epoll_wait(edges, &event, 1, 0) == (i == 0));
		response.cookie = request.cookie;
		CHECK(write(queue, &response, sizeof(response)) == sizeof(response));
	}
	CHECK(read(queue, &request, sizeof(request)) == 0 && epoll_wait(edges, &event, 1, 0) == 0);
	CHECK(status_of(4) == INVALID_PAGE && status_of(5) == INVALID_PAGE && !close(edges));
}

static void answer(int queue, uint32_t cookie, uint32_t code)
{
	const struct page_response wrong[] = {{cookie, code}, {cookie, 0}}, unknown = {cookie, 7};

	CHECK(write(queue, &unknown, sizeof(unknown)) == -1 && errno == EINVAL);
	CHECK(write(queue, wrong, sizeof(wrong) - 1) == -1 && errno == ESPIPE);
	/* The first one is done, and with it there is nothing for the second one. */
	CHECK(write(queue, wrong, sizeof(wrong)) == sizeof(wrong[0]));
	CHECK(write(queue, wrong, sizeof(wrong[0])) == -1 && errno == EINVAL);
}

static void faults(char **arguments)
{
	const uint32_t plain = ((void)arguments, begin(), ioas);
	struct {
		uint32_t size, flags, ioas, reserved;
		uint64_t address, length, iova;
	} map = {.size = sizeof(map), .flags = 7, .length = SIZE, .iova = NOT_MAPPED};
	struct page_request request;
	uint8_t *fresh;
	uint32_t id;
	int queue = make_fault_queue(&id);

	CHECK(hw_capabilities() == CAN_TRACK);
	attach(make_hwpt(id));
	enable_portals();
	request = ask(queue, 0);
	answer(queue, request.cookie, 1);
	CHECK(status_of(0) == INVALID_PAGE);
	check_edges(queue);
	/* Who is attached to something else gets no answer any more. */
	ask(queue, 1);
	attach(plain);
	CHECK(status_of(1) == INVALID_PAGE);
	attach(make_hwpt(id));
	request = ask(queue, 2);
	fresh = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(fresh != MAP_FAILED);
	map.ioas = plain;
	map.address = (uint64_t)(uintptr_t)fresh;
	CHECK(!ioctl(iommufd, IOAS_MAP, &map));
	answer(queue, request.cookie, 0);
	CHECK(status_of(2) == 1 && !memcmp(fresh, memory->source, SIZE));
	CHECK(!close(queue));
}

static const struct test_case cases[] = {
	{"replaces", replaces}, {"faults", faults}, {"doorbells", doorbells}, {"idle", is_idle},
	{"replaced", replaced}, {"forks", forks},   {"portals", portals},
};

int main(int argc, char **argv)
{
	return run_case(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

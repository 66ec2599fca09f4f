/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arbitrary messages of a client to its session, and of an executor that a client has taken over to the broker. The sockets are
 * doubles (support/inside.h); what is behind them is the daemon's own.
 *
 * The input is a sequence of steps. The first byte of a step says whom it is for, whether the header is made right (or nothing
 * would come further than that), and the second which descriptors go with it. What must hold, whatever is said: each request that
 * is not refused has one reply or none; the accounts are those of what exists; at the end nothing is left.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pasid/pasid.h"
#include "support/inside.h"
#include "support/support.h"
#include "util/util.h"

enum {
	STEP_TO_BROKER = 1,
	STEP_RAW = 2,
	STEP_FULL = 4,
	POOL = 9,
};

static struct inside inside;
static int pool[POOL]; /* a bundle of this process, and other things */

static int memfd(unsigned int seals)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	CHECK(fd >= 0 && !ftruncate(fd, 16 * (off_t)page_size()) && !fcntl(fd, F_ADD_SEALS, seals));
	return fd;
}

static void pool_fill(void)
{
	struct uiommu_process self;

	if (pool[0])
		return;
	log_fd = -1; /* it would be most of the work */
	CHECK(!uiommu_process_open(getpid(), UIOMMU_READ | UIOMMU_WRITE, &self));
	memcpy(pool, (int[]){self.mem, self.maps, self.pidfd, self.auxv, self.exec}, 5 * sizeof(int));
	if (pool[4] < 0)
		pool[4] = eventfd(0, EFD_CLOEXEC);
	pool[5] = memfd(F_SEAL_SHRINK);
	pool[6] = memfd(0);
	pool[7] = eventfd(0, EFD_CLOEXEC);
	pool[8] = open("/dev/null", O_RDWR | O_CLOEXEC);
}

/* 0: none; 1: the one that is named; 2 and more: so many from the start, which is a bundle. */
static unsigned int choose_fds(uint8_t choice, int *fds)
{
	unsigned int count = choice % 7;

	if (count == 1)
		fds[0] = pool[choice / 7 % POOL];
	else
		memcpy(fds, pool, count * sizeof(int));
	return count;
}

static uint32_t sum_of_queues(void)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < inside.session.config.queues_max; i++)
		sum += inside.session.queues[i].engine ? inside.session.queues[i].entries : 0;
	return sum;
}

/* As long as only the session spoke to the broker, both have the same accounts. */
static void check_accounts(void)
{
	const uint32_t *used = inside.client->usage.used;
	uint32_t bindings = 0;

	for (uint32_t i = 0; i < inside.session.config.pasids_max; i++)
		bindings += inside.session.bindings[i].pasid != 0;
	CHECK(used[RESOURCE_PASIDS] == bindings);
	CHECK(pasid_set_count(inside.client->set) == bindings);
	CHECK(used[RESOURCE_AREAS] == inside.session.area_count);
	CHECK(used[RESOURCE_DESCRIPTORS] == sum_of_queues());
	CHECK(used[RESOURCE_DRAINING] == 0);
	for (unsigned int i = 0; i < RESOURCES; i++)
		CHECK(used[i] <= inside.options.limits.of[i].client);
}

/* False: the connection has ended. */
static bool step(struct input *input, bool *clean)
{
	union {
		struct protocol_header header;
		uint8_t bytes[1024];
	} message = {0};
	uint8_t kind = take_byte(input), choice = take_byte(input);
	size_t size = take_number(input, 2) % sizeof(message);
	unsigned int fd_count, before = inside.replies;
	int fds[PROTOCOL_FDS_MAX + 1];
	bool ended;

	size = take(input, message.bytes, size);
	if (kind & STEP_TO_BROKER) {
		*clean = false;
		return inside_tell_broker(&inside, message.bytes, kind & STEP_RAW ? size : sizeof(struct link_message));
	}
	if (!(kind & STEP_RAW) && size >= sizeof(message.header)) {
		message.header.length = (uint32_t)size;
		message.header.flags = 0;
		message.header.type %= PROTOCOL_TYPES;
		message.header.cookie |= 1;
	}
	inside.full = (kind & STEP_FULL) && choice & 0x80;
	fd_count = choose_fds(choice, fds);
	ended = inside_feed(&inside, message.bytes, size, fds, fd_count) || inside.client->state == CLIENT_KILLED;
	/* A request has one reply; an unbind may answer later, and then two come with one request. */
	CHECK(inside.replies <= before + 2);
	if (*clean && !ended)
		check_accounts();
	return !ended;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	bool clean = true;

	pool_fill();
	inside_options(&inside);
	/* Small limits are met. */
	inside.options.executors = 1;
	inside.options.limits.of[RESOURCE_PASIDS] = (struct limit){4, 4};
	inside.options.limits.of[RESOURCE_QUEUES] = (struct limit){4, 4};
	inside.options.limits.of[RESOURCE_DESCRIPTORS] = (struct limit){512, 512};
	inside.options.limits.of[RESOURCE_AREAS] = (struct limit){4, 4};
	inside_start(&inside);
	if (size && data[0] & 0x80)
		inside_hello(&inside);
	while (input.left && step(&input, &clean))
		;
	inside_stop(&inside);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session in which one call for memory, a descriptor or a thread fails, once for each of them: the program is told, or hung up
 * on, and what it then closes leaves nothing behind.
 */
#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "abi/spec.h"
#include "fail_nth/wrap.h"
#include "support/program.h"
#include "util/util.h"

static struct session session;
static struct uiommu_process bundle;

/* What a program does: each may fail, and the next is done all the same. Returns how many have not. */
static unsigned int visit(void)
{
	struct session_request list = {.op = SESSION_LIST}, status = {.op = SESSION_STATUS, .number = getpid()};
	struct session_request map = {.op = SESSION_MMAP, .count = 4096, .command = PROT_READ, .flags = MAP_SHARED};
	struct abi_ioas_alloc ioas = {.size = sizeof(ioas)};
	struct abi_fault_alloc fault = {.size = sizeof(fault)};
	struct program program = {.socket = -1}, other = {.socket = -1};
	struct stat stat;
	unsigned int done = 0;
	int iommufd, device, text = -1;

	if (program_connect(&program, &session, 0, &bundle))
		return 0;
	iommufd = program_open(&program, "/dev/iommu");
	device = program_open(&program, "/dev/vfio/devices/vfio0");
	done += iommufd >= 0;
	done += device >= 0;
	if (iommufd >= 0) {
		if (!program_ioctl(&program, iommufd, ABI_COMMAND(ABI_IOAS_ALLOC), &ioas, sizeof(ioas)))
			done++;
		if (!program_ioctl(&program, iommufd, ABI_COMMAND(ABI_FAULT_QUEUE_ALLOC), &fault, sizeof(fault))) {
			close((int)fault.out_fault_fd);
			done++;
		}
	}
	if (device >= 0 && !fstat(device, &stat)) {
		map.file = (struct session_key){stat.st_dev, stat.st_ino};
		program_call(&program, &map, NULL, NULL, 0, NULL);
	}
	if (program_call(&program, &list, NULL, NULL, 0, &text) >= 0 && text >= 0) {
		close(text);
		done++;
	}
	text = -1;
	if (program_call(&program, &status, NULL, NULL, 0, &text) >= 0 && text >= 0) {
		close(text);
		done++;
	}
	done += !program_connect(&other, &session, program.token, &bundle);
	close(iommufd);
	close(device);
	close(program.socket);
	if (other.socket >= 0)
		close(other.socket);
	return done;
}

/* Until what the program had has ended. */
static void settle(void)
{
	struct pollfd wake = {.fd = session.wake, .events = POLLIN};
	unsigned int peers = 1;
	eventfd_t value;

	while (peers) {
		pthread_mutex_lock(&session.lock);
		peers = session.peer_count + session.peers_aside;
		pthread_mutex_unlock(&session.lock);
		if (peers && poll(&wake, 1, -1) == 1)
			eventfd_read(session.wake, &value);
	}
	held_drain(&session);
	assert_int_equal(session.held_count, 0);
	assert_null(session.members);
}

static void each_fails_once(void **state)
{
	static const char *const devices[] = {"nvme,size=64K", NULL};
	struct session_options options = {.devices = devices, .report = -1};
	unsigned int whole, open_before;
	int at = 0;
	char complaint[256];
	long blocks;

	(void)state;
	assert_int_equal(session_create(&session, &options, complaint, sizeof(complaint)), 0);
	assert_int_equal(uiommu_process_open(getpid(), UIOMMU_READ | UIOMMU_WRITE, &bundle), 0);
	/* Once without, for what is made on first use and stays. */
	whole = visit();
	settle();
	assert_int_equal(whole, 7);
	open_before = count_descriptors();
	blocks = live_blocks;
	do {
		fail_at = ++at;
		visit();
		settle();
		if (count_descriptors() != open_before)
			fail_msg("%d: %u descriptors and not %u", at, count_descriptors(), open_before);
		if (live_blocks != blocks)
			fail_msg("%d: %ld blocks and not %ld", at, live_blocks, blocks);
	} while (fail_at <= 0);
	fail_at = 0;
	print_message("# %d places\n", at - 1);
	assert_true(at > 30);
	assert_int_equal(visit(), whole);
	settle();
	session_destroy(&session);
	uiommu_process_close(&bundle);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_fails_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

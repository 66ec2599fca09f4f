/* SPDX-License-Identifier: BSD-3-Clause */
/* Queues: how they are made and end, waiting and waking, threads, forks, rings of others. */
#include "accel_rig.h"
#include "devices/accel/engine.h"
#include "devices/accel/queue.h"
#include "devices/accel/ring.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int make(struct rig *rig, struct uiommu_queue_config config)
{
	struct uiommu_queue *queue = NULL;
	int rc = uiommu_accel_queue(rig->accel, &config, &queue);

	if (!rc)
		uiommu_queue_destroy(queue);
	return rc;
}

static void configurations(void **state)
{
	struct rig *rig = *state;
	const uint32_t size = sizeof(struct uiommu_queue_config);
	struct {
		struct uiommu_queue_config config;
		uint32_t tail;
	} longer = {{sizeof(longer), 0, 16, RIG_PASID}, 1};
	struct uiommu_queue *queue;

	assert_int_equal(make(rig, (struct uiommu_queue_config){size, 0, 2, RIG_PASID}), 0);
	assert_int_equal(make(rig, (struct uiommu_queue_config){size, 0, 4096, RIG_PASID}), 0);
	assert_int_equal(make(rig, (struct uiommu_queue_config){size, UIOMMU_QUEUE_SHARED, 16, 0}), 0);
	assert_int_equal(make(rig, (struct uiommu_queue_config){12, 0, 16, RIG_PASID}), -EINVAL);
	assert_int_equal(make(rig, (struct uiommu_queue_config){16, 0, 16, RIG_PASID}), 0); /* before there were mediated devices */
	assert_int_equal(make(rig, (struct uiommu_queue_config){size, 0, 1, RIG_PASID}), -EINVAL);
	assert_int_equal(make(rig, (struct uiommu_queue_config){size, 0, 3, RIG_PASID}), -EINVAL);
	assert_int_equal(make(rig, (struct uiommu_queue_config){size, 0, 8192, RIG_PASID}), -EINVAL);
	assert_int_equal(make(rig, (struct uiommu_queue_config){size, 0, 16, 0}), -EINVAL);
	assert_int_equal(make(rig, (struct uiommu_queue_config){size, 0, 16, UIOMMU_NO_PASID}), -EINVAL);
	assert_int_equal(make(rig, (struct uiommu_queue_config){size, 0, 16, UIOMMU_PASID_LAST + 1}), -EINVAL);
	assert_int_equal(make(rig, (struct uiommu_queue_config){size, 4, 16, RIG_PASID}), -EOPNOTSUPP);
	assert_int_equal(make(rig, (struct uiommu_queue_config){size, 0, 16, RIG_PASID, 0, 1}), -EOPNOTSUPP);
	assert_int_equal(make(rig, (struct uiommu_queue_config){size, 0, 16, RIG_PASID, rig->device, 0}), -ENOENT);
	assert_int_equal(uiommu_accel_queue(rig->accel, &longer.config, &queue), -E2BIG);
	longer.tail = 0;
	assert_int_equal(uiommu_accel_queue(rig->accel, &longer.config, &queue), 0);
	uiommu_queue_destroy(queue);
	uiommu_queue_destroy(NULL);
}

static unsigned int open_descriptors(void)
{
	unsigned int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void nothing_is_left_open(void **state)
{
	struct rig *rig = *state;
	unsigned int before = open_descriptors();
	struct uiommu_accel *accel;

	assert_int_equal(uiommu_accel_create(rig->context, 9999, &accel), -ENOENT);
	for (unsigned int i = 0; i < 3; i++) {
		struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, 0);
		struct uiommu_queue *queue = rig_queue(rig, 0, 16);

		rig_submit(queue, &desc);
		uiommu_queue_destroy(queue);
		assert_int_equal(make(rig, (struct uiommu_queue_config){16, 4, 16, RIG_PASID}), -EOPNOTSUPP);
		assert_int_equal(make(rig, (struct uiommu_queue_config){16, 0, 16, 0}), -EINVAL);
	}
	assert_int_equal(open_descriptors(), before);
}

static void a_full_ring_says_so(void **state)
{
	struct rig *rig = *state;
	struct uiommu_queue *queue = rig_queue(rig, 0, 4);

	memset(rig->records, 0, 16 * sizeof(*rig->records));
	for (unsigned int i = 0; i < 4; i++) {
		struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, i);

		assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	}
	assert_int_equal(uiommu_queue_submit(queue, &(struct uiommu_accel_desc){0}), -EAGAIN);
	rig_poll(rig);
	for (unsigned int i = 0; i < 4; i++)
		rig_expect(&rig->records[i], UIOMMU_ACCEL_SUCCESS, 0, 0, 0, 0);
	assert_int_equal(uiommu_queue_submit(queue, &(struct uiommu_accel_desc){0}), 0);
}

/* No more in flight than the queue has entries, wherever they wait. */
static void parked_descriptors_count(void **state)
{
	struct rig *rig = *state;
	struct uiommu_queue *queue = rig_queue(rig, 0, 4);
	struct uiommu_accel_desc park = rig_move(rig_at(0, 0), rig_at(RIG_HOLE, 0), 8, 0);
	struct uiommu_accel_desc noop = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, 1);

	park.flags_opcode |= UIOMMU_ACCEL_BLOCK_ON_FAULT;
	for (unsigned int i = 0; i < 4; i++)
		rig_submit(queue, &park);
	rig_poll(rig);
	memset(&rig->records[1], 0, sizeof(rig->records[1]));
	for (unsigned int i = 0; i < 4; i++)
		rig_submit(queue, &noop);
	rig_poll(rig);
	assert_int_equal(uiommu_queue_submit(queue, &noop), -EAGAIN);
	rig_expect(&rig->records[1], UIOMMU_ACCEL_PENDING, 0, 0, 0, 0);
	/* Another queue is not held up. */
	rig_expect(rig_run(rig, &noop), UIOMMU_ACCEL_SUCCESS, 0, 0, 0, 0);
}

static void poll_keeps_its_budget(void **state)
{
	struct rig *rig = *state;
	struct uiommu_queue *other = rig_queue(rig, 0, 64);
	unsigned int steps = 0;

	memset(rig->records, 0, 64 * sizeof(*rig->records));
	for (unsigned int i = 0; i < 16; i++) {
		struct uiommu_accel_desc desc = rig_move(rig_at(100, 64 * i), rig_at(200, 0), 32, i);

		rig_submit(i % 2 ? other : rig->queue, &desc);
	}
	while (steps < 16) {
		unsigned int done = uiommu_accel_poll(rig->accel, 3), complete = 0;

		assert_in_range(done, 1, 3);
		steps += done;
		for (unsigned int i = 0; i < 16; i++)
			complete += rig->records[i].status == UIOMMU_ACCEL_SUCCESS;
		assert_int_equal(complete, steps);
	}
	assert_int_equal(uiommu_accel_poll(rig->accel, 3), 0);
}

/* A long one, in steps of at most 1 MiB; short ones of both queues in between. */
static void long_descriptors_let_others_through(void **state)
{
	struct rig *rig = *state;
	struct uiommu_queue *other = rig_queue(rig, 0, 8);
	struct uiommu_accel_desc noop = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, 1);
	struct uiommu_accel_desc fill = rig_desc(UIOMMU_ACCEL_FILL, RIG_RECORD, 0);

	fill.destination = rig_at(32, 0);
	fill.transfer_size = 7 << 20;
	memset(rig->records, 0, 3 * sizeof(*rig->records));
	rig_submit(rig->queue, &fill);
	assert_true(uiommu_accel_poll(rig->accel, 2) > 0);
	rig_submit(rig->queue, &noop);
	noop.completion_address = rig_record_address(2);
	rig_submit(other, &noop);
	for (unsigned int i = 0; i < 3; i++)
		assert_true(uiommu_accel_poll(rig->accel, 1) == 1);
	assert_int_equal(rig->records[0].status, UIOMMU_ACCEL_PENDING);
	assert_int_equal(rig->records[1].status, UIOMMU_ACCEL_SUCCESS);
	assert_int_equal(rig->records[2].status, UIOMMU_ACCEL_SUCCESS);
	rig_poll(rig);
	assert_int_equal(rig->records[0].status, UIOMMU_ACCEL_SUCCESS);
}

/* --- an engine with a thread --- */

enum { ROUNDS = 20000, DEPTH = 32 };

struct submitter {
	struct rig *rig;
	unsigned int index;
	pthread_t thread;
	unsigned int wrong;
};

/* A counter goes from cell to cell; each submitter has its own pages, queue and records. */
static void *submit_much(void *opaque)
{
	struct submitter *submitter = opaque;
	struct rig *rig = submitter->rig;
	struct uiommu_queue *queue = rig_queue(rig, 0, DEPTH);
	unsigned int page = 100 + submitter->index * 200, record = submitter->index * DEPTH;

	for (unsigned int round = 0; round < ROUNDS / DEPTH; round++) {
		for (unsigned int i = 0; i < DEPTH; i++) {
			struct uiommu_accel_desc desc = rig_move(rig_at(page + i, 0), rig_at(page + 100 + i, 0), 256, record + i);
			uint64_t value = (uint64_t)round << 32 | i;

			desc.flags_opcode |= UIOMMU_ACCEL_REQUEST_INTERRUPT;
			memcpy(rig_memory(rig, RIG_MAIN, rig_at(page + 100 + i, 0)), &value, sizeof(value));
			__atomic_store_n(&rig->records[record + i].status, 0, __ATOMIC_RELAXED);
			rig_submit(queue, &desc);
		}
		for (unsigned int i = 0; i < DEPTH; i++) {
			uint64_t value;

			assert_int_equal(uiommu_queue_wait(queue, &rig->records[record + i]), 0);
			memcpy(&value, rig_memory(rig, RIG_MAIN, rig_at(page + i, 0)), sizeof(value));
			submitter->wrong += value != ((uint64_t)round << 32 | i) ||
					    rig_status(&rig->records[record + i]) != UIOMMU_ACCEL_SUCCESS;
		}
	}
	uiommu_queue_destroy(queue);
	return NULL;
}

static void submit_from_threads(struct rig *rig, uint32_t spin_us)
{
	struct submitter submitters[2];

	assert_int_equal(uiommu_accel_start(rig->accel, spin_us), 0);
	assert_int_equal(uiommu_accel_start(rig->accel, spin_us), -EBUSY);
	for (unsigned int i = 0; i < 2; i++) {
		submitters[i] = (struct submitter){.rig = rig, .index = i};
		assert_int_equal(pthread_create(&submitters[i].thread, NULL, submit_much, &submitters[i]), 0);
	}
	for (unsigned int i = 0; i < 2; i++) {
		pthread_join(submitters[i].thread, NULL);
		assert_int_equal(submitters[i].wrong, 0);
	}
}

static void threads_submit_to_a_thread_that_sleeps(void **state)
{
	submit_from_threads(*state, 0);
}

static void threads_submit_to_a_thread_that_spins(void **state)
{
	submit_from_threads(*state, 200);
}

/* Queues come and go under a busy engine. */
static void busy_engine_takes_and_gives_queues(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(uiommu_accel_start(rig->accel, 1000), 0);
	for (unsigned int i = 0; i < 200; i++) {
		struct uiommu_queue *queue = rig_queue(rig, 0, 16);
		struct uiommu_accel_desc fill = rig_desc(UIOMMU_ACCEL_FILL, RIG_RECORD, 0);
		uint16_t handle;

		fill.destination = rig_at(32, 0);
		fill.transfer_size = 1 << 20;
		for (unsigned int j = 0; j < 16; j++)
			rig_submit(queue, &fill);
		assert_int_equal(uiommu_accel_grant(rig->accel, RIG_OTHER, &handle), 0);
		assert_int_equal(uiommu_accel_revoke(rig->accel, handle), 0);
		uiommu_queue_destroy(queue);
	}
}

static void destroyed_with_work_outstanding(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(uiommu_accel_start(rig->accel, 0), 0);
	for (unsigned int i = 0; i < 64; i++) {
		struct uiommu_accel_desc desc = rig_move(rig_at(32, 0), rig_at(1000, 0), 3 << 20, i);

		rig_submit(rig->queue, &desc);
	}
	/* The teardown destroys the engine. */
}

/* The answer to a page request wakes an engine that sleeps. */
static void an_answer_wakes(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_move(rig_at(0, 0), rig_at(RIG_HOLE, 0), 64, 0);
	struct uiommu_fault_event event = {0};
	struct pollfd faults = {.fd = uiommu_fault_queue_fd(rig->context, rig->faults), .events = POLLIN};

	assert_int_equal(uiommu_accel_start(rig->accel, 0), 0);
	rig_scramble(rig, 1);
	for (unsigned int i = 0; i < 100; i++) {
		desc.flags_opcode |= UIOMMU_ACCEL_BLOCK_ON_FAULT | UIOMMU_ACCEL_REQUEST_INTERRUPT;
		__atomic_store_n(&rig->records[0].status, 0, __ATOMIC_RELAXED);
		rig_submit(rig->queue, &desc);
		do
			assert_int_equal(poll(&faults, 1, -1), 1);
		while (uiommu_fault_read(rig->context, rig->faults, &event, 1) != 1 || !event.cookie);
		if (i % 2) {
			assert_int_equal(uiommu_fault_respond(rig->context, rig->faults, event.cookie, UIOMMU_RESPONSE_INVALID), 0);
			assert_int_equal(uiommu_queue_wait(rig->queue, &rig->records[0]), 0);
			rig_expect(&rig->records[0], UIOMMU_ACCEL_PAGE_FAULT_INVALID, 0, 0, rig_at(RIG_HOLE, 0), 0);
			continue;
		}
		rig_map_pages(rig, RIG_MAIN, RIG_HOLE, RIG_HOLE + 1, UIOMMU_MAP_READ);
		assert_int_equal(uiommu_fault_respond(rig->context, rig->faults, event.cookie, UIOMMU_RESPONSE_SUCCESS), 0);
		assert_int_equal(uiommu_queue_wait(rig->queue, &rig->records[0]), 0);
		rig_expect(&rig->records[0], UIOMMU_ACCEL_SUCCESS, 0, 64, 0, 0);
		assert_int_equal(uiommu_ioas_unmap(rig->context, rig->ioas[RIG_MAIN], rig_at(RIG_HOLE, 0), RIG_PAGE, NULL), 0);
	}
}

struct waiter {
	struct rig *rig;
	unsigned int record;
	pthread_t thread;
	int rc;
};

static void *wait_for_record(void *opaque)
{
	struct waiter *waiter = opaque;

	waiter->rc = uiommu_queue_wait(waiter->rig->queue, &waiter->rig->records[waiter->record]);
	return NULL;
}

/* One interrupt for several waiters: none of them sleeps on. */
static void waiters_tell_each_other(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(uiommu_accel_start(rig->accel, 0), 0);
	for (unsigned int round = 0; round < 50; round++) {
		struct waiter waiters[8];

		for (unsigned int i = 0; i < 8; i++) {
			/* Atomic, as the engine's store: the sanitizer is told of that one only after it has been seen. */
			__atomic_store_n(&rig->records[i].status, 0, __ATOMIC_RELAXED);
			waiters[i] = (struct waiter){.rig = rig, .record = i, .rc = 1};
			assert_int_equal(pthread_create(&waiters[i].thread, NULL, wait_for_record, &waiters[i]), 0);
		}
		for (unsigned int i = 0; i < 8; i++) {
			struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD | UIOMMU_ACCEL_REQUEST_INTERRUPT, i);

			rig_submit(rig->queue, &desc);
		}
		for (unsigned int i = 0; i < 8; i++) {
			pthread_join(waiters[i].thread, NULL);
			assert_int_equal(waiters[i].rc, 0);
		}
	}
}

/* --- forks --- */

static void children_have_no_queue(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, 0);
	struct uiommu_accel_error error = {.code = 1};
	int status;
	pid_t pid;

	rig_run(rig, &desc);
	pid = fork();
	if (!pid) {
		bool right = uiommu_queue_submit(rig->queue, &desc) == -EOWNERDEAD &&
			     uiommu_queue_wait(rig->queue, &rig->records[1]) == -EOWNERDEAD;

		uiommu_queue_error(rig->queue, &error);
		right &= error.code == UIOMMU_ACCEL_ERROR_NONE;
		uiommu_accel_destroy(rig->accel);
		uiommu_queue_destroy(rig->queue);
		_exit(right ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	rig_expect(rig_run(rig, &desc), UIOMMU_ACCEL_SUCCESS, 0, 0, 0, 0);
}

/* --- rings of others --- */

struct remote {
	int ring_fd;
	int wake_fd;
	int interrupt_fd;
	struct ring_header *ring;
	struct engine_queue *engine;
};

static void remote_attach(struct rig *rig, struct remote *remote, uint32_t entries, uint32_t flags)
{
	struct engine_queue_config config = {.entries = entries, .flags = flags, .pasid = RIG_PASID};

	remote->ring_fd = ring_create_memfd(entries, flags);
	assert_true(remote->ring_fd >= 0);
	assert_int_equal(ring_map(remote->ring_fd, entries, &remote->ring), 0);
	remote->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	remote->interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	config.ring = remote->ring;
	config.interrupt_fd = remote->interrupt_fd;
	assert_int_equal(engine_queue_attach(rig->accel, &config, &remote->engine), 0);
}

static void remote_close(struct remote *remote, uint32_t entries)
{
	ring_unmap(remote->ring, entries);
	close(remote->ring_fd);
	close(remote->wake_fd);
	close(remote->interrupt_fd);
}

static struct uiommu_queue *remote_open(const struct remote *remote, uint32_t entries, int hangup_fd)
{
	struct queue_open open = {.entries = entries,
				  .wake_fd = dup(remote->wake_fd),
				  .interrupt_fd = dup(remote->interrupt_fd),
				  .hangup_fd = hangup_fd};
	struct uiommu_queue *queue;

	assert_int_equal(ring_map(remote->ring_fd, entries, &open.ring), 0);
	assert_int_equal(queue_open(&open, &queue), 0);
	return queue;
}

enum { REMOTE_ROUNDS = 1000 };

/* In the child: submit, sleep until it is done, and again. The records are shared memory. */
static int remote_child(const struct remote *remote, struct uiommu_accel_record *records)
{
	struct uiommu_queue *queue = remote_open(remote, 8, -1);

	for (unsigned int i = 0; i < REMOTE_ROUNDS; i++) {
		struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD | UIOMMU_ACCEL_REQUEST_INTERRUPT, 0);

		desc.completion_address = UINT64_C(0x70000000) + i % 8 * sizeof(*records);
		memset(&records[i % 8], 0, sizeof(*records));
		if (uiommu_queue_submit(queue, &desc) || uiommu_queue_wait(queue, &records[i % 8]) ||
		    rig_status(&records[i % 8]) != 1)
			return 1;
	}
	uiommu_queue_destroy(queue);
	return 0;
}

/* As an executor does: poll, and sleep when there is nothing to do. */
static void another_process_submits(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_record *records;
	struct remote remote;
	int status, sleeps = 0;
	pid_t pid, done = 0;

	records = mmap(NULL, RIG_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(records, MAP_FAILED);
	rig_map(rig, RIG_MAIN, 0x70000000, records, RIG_PAGE, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
	remote_attach(rig, &remote, 8, 0);
	pid = fork();
	if (!pid)
		_exit(remote_child(&remote, records));
	while (engine_queue_completed(remote.engine) < REMOTE_ROUNDS && !done) {
		struct pollfd fds[2] = {{.fd = remote.wake_fd, .events = POLLIN},
					{.fd = engine_wakeup_fd(rig->accel), .events = POLLIN}};
		uint64_t count;

		if (uiommu_accel_poll(rig->accel, 8) || !engine_arm(rig->accel))
			continue;
		assert_true(poll(fds, 2, -1) > 0);
		sleeps++;
		assert_true(fds[0].revents && read(remote.wake_fd, &count, sizeof(count)) == sizeof(count));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
	assert_true(sleeps > 0);
	assert_true(engine_idle(rig->accel));
	engine_queue_detach(remote.engine);
	remote_close(&remote, 8);
	munmap(records, RIG_PAGE);
}

static void an_ended_queue_says_so(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, 0);
	struct uiommu_queue *queue;
	struct remote remote;

	memset(rig->records, 0, 2 * sizeof(*rig->records));
	remote_attach(rig, &remote, 8, 0);
	queue = remote_open(&remote, 8, -1);
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	rig_poll(rig);
	engine_queue_detach(remote.engine);
	/* What was done before the end counts. */
	assert_int_equal(uiommu_queue_wait(queue, &rig->records[0]), 0);
	assert_int_equal(uiommu_queue_wait(queue, &rig->records[1]), -EPIPE);
	assert_int_equal(uiommu_queue_submit(queue, &desc), -EPIPE);
	uiommu_queue_destroy(queue);
	remote_close(&remote, 8);
}

struct sleeper {
	struct uiommu_queue *queue;
	const struct uiommu_accel_record *record;
	pthread_t thread;
	int rc;
};

static void *sleep_on(void *opaque)
{
	struct sleeper *sleeper = opaque;

	sleeper->rc = uiommu_queue_wait(sleeper->queue, sleeper->record);
	return NULL;
}

/* The end of the queue, and the end of the connection, wake those that wait. */
static void the_end_wakes(void **state)
{
	struct rig *rig = *state;

	for (unsigned int by_connection = 0; by_connection < 2; by_connection++) {
		struct sleeper sleepers[3];
		struct remote remote;
		int connection[2];

		memset(rig->records, 0, 3 * sizeof(*rig->records));
		remote_attach(rig, &remote, 8, 0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, connection), 0);
		sleepers[0].queue = remote_open(&remote, 8, connection[0]);
		for (unsigned int i = 0; i < 3; i++) {
			sleepers[i] = (struct sleeper){.queue = sleepers[0].queue, .record = &rig->records[i]};
			assert_int_equal(pthread_create(&sleepers[i].thread, NULL, sleep_on, &sleepers[i]), 0);
		}
		if (by_connection)
			shutdown(connection[1], SHUT_RDWR);
		else
			engine_queue_detach(remote.engine);
		for (unsigned int i = 0; i < 3; i++) {
			pthread_join(sleepers[i].thread, NULL);
			assert_int_equal(sleepers[i].rc, -EPIPE);
		}
		uiommu_queue_destroy(sleepers[0].queue);
		if (by_connection)
			engine_queue_detach(remote.engine);
		remote_close(&remote, 8);
		close(connection[0]);
		close(connection[1]);
	}
}

/* Descriptors that are worth doing among those that are not, in all slots, for whatever lap comes next. */
static void scribble_slots(struct remote *remote, uint32_t head, uint64_t *seed)
{
	for (uint32_t i = 0; i < 16; i++) {
		uint64_t *slot = ring_slot(remote->ring, 16, head + i), *word;
		struct uiommu_accel_desc desc;

		for (word = (uint64_t *)&desc; word < (uint64_t *)(&desc + 1); word++)
			*word = random_number(seed);
		if (random_number(seed) % 4) {
			desc.pasid_priv = RIG_PASID;
			desc.flags_opcode = (uint32_t)(random_number(seed) % 18 << 24 | (random_number(seed) & 0x1e));
			desc.source = rig_at(0, 0) + random_number(seed) % (100 * RIG_PAGE) / 64 * 64;
			desc.destination = rig_at(200, 0) + random_number(seed) % (100 * RIG_PAGE);
			desc.transfer_size &= 0x3ffff;
			desc.interrupt_handle = 0;
			desc.specific = desc.seed_address = desc.handles = 0;
		}
		memcpy(slot, &desc, sizeof(desc));
		slot[RING_TAG_WORD] = (slot[RING_TAG_WORD] & ~(RING_TAG << RING_TAG_SHIFT)) | ring_tag(16, head + i)
												      << RING_TAG_SHIFT;
	}
}

/* A submitter that writes whatever it likes into the ring never holds up the engine. */
static void a_hostile_ring(void **state)
{
	struct rig *rig = *state;
	struct uiommu_fault_event event;
	struct remote remote;
	uint64_t seed = 99;
	uint32_t head = 0;

	remote_attach(rig, &remote, 16, UIOMMU_QUEUE_HANDLES | UIOMMU_QUEUE_SHARED);
	for (unsigned int round = 0; round < 2000; round++) {
		uint64_t *words = (uint64_t *)remote.ring;

		for (unsigned int i = 0; i < RING_HEADER_SIZE / sizeof(*words); i++)
			words[i] = random_number(&seed);
		scribble_slots(&remote, head, &seed);
		assert_in_range(uiommu_accel_poll(rig->accel, 64), 1, 64);
		head = remote.ring->head;
		while (uiommu_fault_read(rig->context, rig->faults, &event, 1) == 1)
			if (event.cookie)
				uiommu_fault_respond(rig->context, rig->faults, event.cookie, UIOMMU_RESPONSE_INVALID);
	}
	assert_true(engine_queue_completed(remote.engine) > 2000);
	engine_queue_detach(remote.engine);
	remote_close(&remote, 16);
}

static unsigned int faults_seen;
static struct uiommu_fault fault_seen;

static void see_fault(void *opaque, const struct uiommu_fault *fault)
{
	(void)opaque;
	faults_seen++;
	fault_seen = *fault;
}

static void faults_are_told(void **state)
{
	struct rig *rig = *state;
	struct uiommu_accel_desc desc = rig_move(rig_at(0, 0), rig_at(RIG_HOLE, 3), 8, 0);
	struct remote remote;

	faults_seen = 0;
	engine_on_fault(rig->accel, see_fault, NULL);
	rig_run(rig, &desc);
	assert_int_equal(faults_seen, 1);
	assert_int_equal(fault_seen.address, rig_at(RIG_HOLE, 3));
	assert_int_equal(fault_seen.reason, UIOMMU_FAULT_UNMAPPED);
	/* A record that is lost is one too. */
	desc = rig_desc(UIOMMU_ACCEL_NOOP, RIG_RECORD, 0);
	desc.completion_address = rig_at(RIG_READ_ONLY, 0);
	rig_submit(rig->queue, &desc);
	rig_poll(rig);
	assert_int_equal(faults_seen, 2);
	assert_int_equal(fault_seen.reason, UIOMMU_FAULT_PERMISSION);
	assert_int_equal(fault_seen.access, UIOMMU_WRITE);
	remote_attach(rig, &remote, 8, 0);
	assert_int_equal(engine_queue_completed(remote.engine), 0);
	engine_queue_detach(remote.engine);
	remote_close(&remote, 8);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(configurations),
		TEST(nothing_is_left_open),
		TEST(a_full_ring_says_so),
		TEST(parked_descriptors_count),
		TEST(poll_keeps_its_budget),
		TEST(long_descriptors_let_others_through),
		TEST(threads_submit_to_a_thread_that_sleeps),
		TEST(threads_submit_to_a_thread_that_spins),
		TEST(busy_engine_takes_and_gives_queues),
		TEST(destroyed_with_work_outstanding),
		TEST(an_answer_wakes),
		TEST(waiters_tell_each_other),
		TEST(children_have_no_queue),
		TEST(another_process_submits),
		TEST(an_ended_queue_says_so),
		TEST(the_end_wakes),
		TEST(a_hostile_ring),
		TEST(faults_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

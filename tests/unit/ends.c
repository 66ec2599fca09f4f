/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ends: a process exits, is killed, or executes another program, while its PASID is idle, being read from, has a page request that
 * nobody has answered, or is being freed. Afterwards there are as many PASIDs, objects, descriptors and mappings as before: each
 * case is done twice, and what the second one leaves is counted.
 */
#include "test.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#define ADDRESS UINT64_C(0x7ea010000000)

enum doing { IDLE, COPYING, FAULT_PENDING, FREEING };
enum end { EXITS, KILLED, EXECUTES };

static struct uiommu_context *context;
static struct uiommu_device *device;
static uint32_t device_id, faults, set;

/* --- the process --- */

struct peer {
	pid_t pid;
	int order; /* closed: end */
	int image; /* hangs up when the process, as it was, is no more */
	struct uiommu_process bundle;
};

static void peer_main(enum end end, int order, int image)
{
	char *const arguments[] = {"cat", NULL};
	char byte = 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(mmap((void *)ADDRESS, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), 0x5a, 4096);
	if (write(image, &byte, 1) != 1)
		_exit(1);
	/* The order comes as a byte; then what it executes reads from the same pipe until that is closed. */
	if (read(order, &byte, 1) == 1 && end == EXECUTES) {
		dup2(order, STDIN_FILENO);
		execv("/bin/cat", arguments);
	}
	_exit(0);
}

static void peer_start(struct peer *peer, enum end end)
{
	int order[2], image[2];
	char byte;

	assert_int_equal(pipe2(order, O_CLOEXEC), 0);
	assert_int_equal(pipe2(image, O_CLOEXEC), 0);
	peer->pid = fork();
	assert_true(peer->pid >= 0);
	if (!peer->pid) {
		close(order[1]);
		close(image[0]);
		peer_main(end, order[0], image[1]);
	}
	close(order[0]);
	close(image[1]);
	peer->order = order[1];
	peer->image = image[0];
	assert_int_equal(read(peer->image, &byte, 1), 1);
	assert_int_equal(uiommu_process_open(peer->pid, UIOMMU_READ, &peer->bundle), 0);
}

/* Returns when the process is gone, or another image. */
static void peer_ends(struct peer *peer, enum end end)
{
	char byte = 1;

	if (end == KILLED)
		kill(peer->pid, SIGKILL);
	else
		assert_int_equal(write(peer->order, &byte, 1), 1);
	assert_int_equal(read(peer->image, &byte, 1), 0);
	if (end != EXECUTES)
		waitpid(peer->pid, NULL, 0);
}

static void peer_clean(struct peer *peer, enum end end)
{
	uiommu_process_close(&peer->bundle);
	close(peer->order);
	close(peer->image);
	if (end == EXECUTES)
		waitpid(peer->pid, NULL, 0);
}

/* --- what goes on meanwhile --- */

static uint32_t bind_to(const struct peer *peer)
{
	struct uiommu_bind_process payload = {.access = UIOMMU_READ, .process = peer->bundle};
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = device_id,
		.type = UIOMMU_BIND_PROCESS,
		.data_len = sizeof(payload),
		.data = &payload,
		.fault_queue_id = faults,
	};

	assert_int_equal(uiommu_pasid_alloc(context, set, 1, UIOMMU_PASID_LAST, &bind.pasid), 0);
	assert_int_equal(uiommu_bind(context, &bind), 0);
	return bind.pasid;
}

static unsigned int read_once(uint32_t pasid, uint64_t address)
{
	struct uiommu_dma_result result;
	uint8_t bytes[256];

	if (!uiommu_dma_read(device, pasid, address, bytes, sizeof(bytes), &result)) {
		assert_int_equal(bytes[0], 0x5a);
		return UIOMMU_FAULT_NONE;
	}
	return result.fault.reason;
}

struct reader {
	pthread_t thread;
	uint32_t pasid;
	unsigned int reads; /* atomic */
	unsigned int reason; /* why it has ended */
};

static void *read_main(void *opaque)
{
	struct reader *reader = opaque;

	while (!(reader->reason = read_once(reader->pasid, ADDRESS)))
		__atomic_add_fetch(&reader->reads, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void reader_start(struct reader *reader, uint32_t pasid)
{
	*reader = (struct reader){.pasid = pasid};
	assert_int_equal(pthread_create(&reader->thread, NULL, read_main, reader), 0);
	while (!__atomic_load_n(&reader->reads, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void reader_end(struct reader *reader)
{
	pthread_join(reader->thread, NULL);
	assert_int_equal(reader->reason, UIOMMU_FAULT_GONE);
}

static unsigned int answers;

static void answered(void *opaque, unsigned int response)
{
	(void)opaque;
	assert_int_not_equal(response, UIOMMU_RESPONSE_SUCCESS);
	answers++;
}

static void request_page(uint32_t pasid)
{
	struct uiommu_fault fault = {.device_id = device_id, .pasid = pasid, .access = UIOMMU_READ, .address = ADDRESS + 4096};
	struct uiommu_fault_event event;

	answers = 0;
	assert_int_equal(uiommu_dma_page_request(device, &fault, answered, NULL), 0);
	assert_int_equal(uiommu_fault_read(context, faults, &event, 1), 1);
	assert_int_equal(event.fault.pasid, pasid);
}

struct holder {
	struct uiommu_pasid_subscription *subscription;
	struct uiommu_pasid_notice held;
};

static unsigned int hold(void *opaque, const struct uiommu_pasid_notice *notice)
{
	struct holder *holder = opaque;

	holder->held = *notice;
	return UIOMMU_PASID_HOLD;
}

/* Freed, and somebody holds it. */
static void free_slowly(struct holder *holder, uint32_t pasid)
{
	struct uiommu_pasid_subscribe request = {.size = sizeof(request), .notify = hold, .opaque = holder};

	assert_int_equal(uiommu_pasid_subscribe(context, set, &request, &holder->subscription), 0);
	assert_int_equal(uiommu_pasid_free(context, set, pasid), 0);
	assert_int_equal(holder->held.event, UIOMMU_PASID_FREE);
}

static void let_go(struct holder *holder, uint32_t pasid)
{
	struct uiommu_pasid_info info = {.size = sizeof(info)};

	assert_int_equal(uiommu_pasid_info(context, set, pasid, &info), 0);
	assert_int_equal(info.state, UIOMMU_PASID_STATE_DRAINING);
	assert_int_equal(uiommu_pasid_release(holder->subscription, pasid, holder->held.generation), 0);
	assert_int_equal(uiommu_pasid_unsubscribe(holder->subscription), 0);
}

/* --- counting --- */

struct counts {
	size_t objects;
	uint32_t pasids, own;
	unsigned int descriptors, mappings;
};

static uint32_t numbers_of(uint32_t id)
{
	struct uiommu_pasid_set_info info = {.size = sizeof(info)};

	assert_int_equal(uiommu_pasid_set_info(context, id, &info), 0);
	return info.count;
}

/* Those of files and shared memory; what malloc and thread stacks do is theirs. */
static unsigned int mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned int count = 0;
	char line[4096];

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		count += strchr(line, '/') || strstr(line, "anon_inode") || strstr(line, "memfd");
	fclose(maps);
	return count;
}

static struct counts count(void)
{
	return (struct counts){
		.objects = uiommu_object_count(context),
		.pasids = numbers_of(set),
		.own = numbers_of(UIOMMU_PASID_SET_OWN),
		.descriptors = count_descriptors(),
		.mappings = mappings(),
	};
}

/* --- the cases --- */

static void once(enum end end, enum doing doing)
{
	struct holder holder = {NULL};
	struct reader reader;
	struct peer peer;
	uint32_t pasid;

	peer_start(&peer, end);
	pasid = bind_to(&peer);
	assert_int_equal(read_once(pasid, ADDRESS), UIOMMU_FAULT_NONE);
	if (doing == COPYING)
		reader_start(&reader, pasid);
	else if (doing == FAULT_PENDING)
		request_page(pasid);
	else if (doing == FREEING)
		free_slowly(&holder, pasid);
	peer_ends(&peer, end);
	if (doing == COPYING)
		reader_end(&reader);
	else if (doing != FREEING)
		assert_int_equal(read_once(pasid, ADDRESS), UIOMMU_FAULT_GONE);
	/* The end of the process is not the end of its PASID. */
	if (doing == FREEING)
		let_go(&holder, pasid);
	else
		assert_int_equal(numbers_of(set), 1);
	assert_int_equal(uiommu_unbind(context, device_id, pasid), 0);
	assert_int_equal(answers, doing == FAULT_PENDING);
	assert_int_equal(uiommu_pasid_free(context, set, pasid), doing == FREEING ? -ENOENT : 0);
	answers = 0;
	peer_clean(&peer, end);
}

/* Nobody unbinds: the set is freed as a whole. */
static void whole(enum end end, enum doing doing)
{
	struct reader reader;
	struct peer peer;
	uint32_t pasid;

	peer_start(&peer, end);
	pasid = bind_to(&peer);
	if (doing == COPYING)
		reader_start(&reader, pasid);
	else if (doing == FAULT_PENDING)
		request_page(pasid);
	peer_ends(&peer, end);
	if (doing == COPYING)
		reader_end(&reader);
	assert_int_equal(uiommu_pasid_free_all(context, set), 0);
	assert_int_equal(answers, doing == FAULT_PENDING);
	answers = 0;
	peer_clean(&peer, end);
}

static void nothing_is_left(enum end end, enum doing doing)
{
	struct counts before, after;

	for (unsigned int i = 0; i < 2; i++) {
		before = count();
		once(end, doing);
		if (doing != FREEING)
			whole(end, doing);
	}
	after = count();
	assert_int_equal(after.pasids, 0);
	assert_int_equal(after.own, 0);
	assert_int_equal(after.objects, before.objects);
	assert_int_equal(after.descriptors, before.descriptors);
	assert_int_equal(after.mappings, before.mappings);
}

#define CASE(name, end, doing)                                                                                                     \
	static void name(void **state)                                                                                             \
	{                                                                                                                          \
		(void)state;                                                                                                       \
		nothing_is_left(end, doing);                                                                                       \
	}

CASE(exits_idle, EXITS, IDLE)
CASE(exits_while_it_is_read, EXITS, COPYING)
CASE(exits_with_a_fault_pending, EXITS, FAULT_PENDING)
CASE(exits_while_freeing, EXITS, FREEING)
CASE(killed_idle, KILLED, IDLE)
CASE(killed_while_it_is_read, KILLED, COPYING)
CASE(killed_with_a_fault_pending, KILLED, FAULT_PENDING)
CASE(killed_while_freeing, KILLED, FREEING)
CASE(executes_idle, EXECUTES, IDLE)
CASE(executes_while_it_is_read, EXECUTES, COPYING)
CASE(executes_with_a_fault_pending, EXECUTES, FAULT_PENDING)
CASE(executes_while_freeing, EXECUTES, FREEING)

static int setup(void **state)
{
	struct uiommu_device_config config = {.size = sizeof(config), .rid = 1, .name = "ends", .pasid_bits = 20};
	struct uiommu_pasid_set_alloc alloc = {.size = sizeof(alloc)};

	(void)state;
	assert_int_equal(uiommu_open(NULL, &context), 0);
	assert_int_equal(uiommu_device_alloc(context, &config, &device_id), 0);
	assert_int_equal(uiommu_fault_queue_alloc(context, 64, &faults), 0);
	assert_int_equal(uiommu_pasid_set_alloc(context, &alloc, &set), 0);
	device = uiommu_device_get(context, device_id);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	uiommu_device_put(device);
	assert_int_equal(uiommu_close(context), 0);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(exits_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(exits_while_it_is_read, setup, teardown),
		cmocka_unit_test_setup_teardown(exits_with_a_fault_pending, setup, teardown),
		cmocka_unit_test_setup_teardown(exits_while_freeing, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_while_it_is_read, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_with_a_fault_pending, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_while_freeing, setup, teardown),
		cmocka_unit_test_setup_teardown(executes_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(executes_while_it_is_read, setup, teardown),
		cmocka_unit_test_setup_teardown(executes_with_a_fault_pending, setup, teardown),
		cmocka_unit_test_setup_teardown(executes_while_freeing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

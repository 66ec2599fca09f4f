/* SPDX-License-Identifier: BSD-3-Clause */
/* A client's requests, from their form to what they leave with the broker. */
#include "test.h"

#include <sys/eventfd.h>

#include "session.h"

/* --- form --- */

static void expect_end(const void *message, size_t length, unsigned int fd_count, const char *why)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), fds[8];
	unsigned int asked = inside.asked, replies = inside.replies;

	for (unsigned int i = 0; i < 8; i++)
		fds[i] = null;
	assert_string_equal(inside_feed(&inside, message, length, fds, fd_count), why);
	assert_int_equal(inside.asked, asked);
	assert_int_equal(inside.replies, replies);
	close(null);
}

static void malformed_messages_end_it(void **state)
{
	struct {
		struct protocol_header header;
		uint8_t payload[1024];
	} message = {.header = {.length = 16 + 8, .type = PROTOCOL_LIST, .cookie = 1}};
	const struct protocol_header good = message.header;

	(void)state;
	inside_start(&inside);
	expect_end(&message, 24, 0, "request before hello");
	inside_hello(&inside);
	for (size_t length = 0; length < sizeof(good); length++)
		expect_end(&message, length, 0, "shorter than a header");
	message.header.length = 513;
	expect_end(&message, 513, 0, "too long");
	message.header = good;
	for (size_t length = 16; length < 40; length++)
		if (length != 24)
			expect_end(&message, length, 0, "its length is not what it says");
	message.header.flags = PROTOCOL_REPLY;
	expect_end(&message, 24, 0, "unknown flags");
	message.header = good;
	message.header.type = PROTOCOL_END;
	expect_end(&message, 24, 0, "unknown type");
	message.header.type = PROTOCOL_TYPES;
	expect_end(&message, 24, 0, "unknown type");
	message.header = good;
	message.header.cookie = 0;
	expect_end(&message, 24, 0, "no cookie");
	message.header = good;
	message.header.length = 16 + 7;
	expect_end(&message, 23, 0, "payload too short");
	message.header = good;
	expect_end(&message, 24, 1, "wrong number of descriptors");
	expect_end(&message, 24, 6, "too many descriptors");
	message.header =
		(struct protocol_header){.length = 16 + sizeof(struct protocol_hello), .type = PROTOCOL_HELLO, .cookie = 1};
	expect_end(&message, message.header.length, 0, "second hello");
	message.header = (struct protocol_header){.length = 16 + sizeof(struct protocol_bind), .type = PROTOCOL_BIND, .cookie = 1};
	((struct protocol_bind *)(void *)message.payload)->parts = 32;
	expect_end(&message, message.header.length, 1, "unknown parts of a bundle");
	((struct protocol_bind *)(void *)message.payload)->parts = 3;
	expect_end(&message, message.header.length, 1, "wrong number of descriptors");
	inside_stop(&inside);
}

static void payloads_may_grow(void **state)
{
	uint64_t payload[4] = {0};

	(void)state;
	inside_start(&inside);
	inside_hello(&inside);
	assert_int_equal(request(PROTOCOL_LIST, payload, sizeof(payload), NULL, 0), 0);
	payload[3] = UINT64_C(1) << 56;
	assert_int_equal(request(PROTOCOL_LIST, payload, sizeof(payload), NULL, 0), -E2BIG);
	inside_stop(&inside);
}

static void hello_chooses(void **state)
{
	struct protocol_hello hello = {.version = PROTOCOL_VERSION, .device = "second", .comm = "me\nyou"};
	const struct protocol_hello_reply *reply = inside_payload(&inside);

	(void)state;
	inside.options.devices[inside.options.device_count++] = "second";
	inside_start(&inside);
	strcpy(hello.device, "third");
	assert_int_equal(request(PROTOCOL_HELLO, &hello, sizeof(hello), NULL, 0), -ENODEV);
	memset(hello.device, 'x', sizeof(hello.device));
	assert_int_equal(request(PROTOCOL_HELLO, &hello, sizeof(hello), NULL, 0), -ENODEV);
	memset(hello.device, 0, sizeof(hello.device));
	strcpy(hello.device, "second");
	hello.reserved = 1;
	assert_int_equal(request(PROTOCOL_HELLO, &hello, sizeof(hello), NULL, 0), -EINVAL);
	hello.reserved = 0;
	assert_int_equal(request(PROTOCOL_HELLO, &hello, sizeof(hello), NULL, 0), 0);
	assert_string_equal(reply->device, "second");
	assert_int_equal(reply->version, PROTOCOL_VERSION);
	assert_int_equal(reply->client, inside.client->number);
	assert_int_equal(inside.client->device, 1);
	inside_stop(&inside);
}

static void another_version_is_told_and_ended(void **state)
{
	struct protocol_hello hello = {.version = PROTOCOL_VERSION + 1};

	(void)state;
	inside_start(&inside);
	assert_string_equal(inside_request(&inside, PROTOCOL_HELLO, &hello, sizeof(hello), NULL, 0),
			    "another version of the protocol");
	assert_int_equal(inside_status(&inside), -EPROTO);
	assert_int_equal(((const struct protocol_hello_reply *)inside_payload(&inside))->version, PROTOCOL_VERSION);
	inside_stop(&inside);
}

static void who_does_not_read_is_ended(void **state)
{
	uint64_t cursor = 0;

	(void)state;
	inside_start(&inside);
	inside_hello(&inside);
	inside.full = true;
	assert_string_equal(inside_request(&inside, PROTOCOL_LIST, &cursor, sizeof(cursor), NULL, 0),
			    "it does not read its replies");
	inside_stop(&inside);
}

/* --- binds --- */

static void binds_are_the_brokers(void **state)
{
	uint32_t pasid = UIOMMU_NO_PASID, again = UIOMMU_NO_PASID, other = UIOMMU_NO_PASID, asked = 77;
	struct child a, b;

	(void)state;
	child_start(&a);
	child_start(&b);
	inside_start(&inside);
	inside_hello(&inside);
	assert_int_equal(bind_process(&a, UIOMMU_READ | UIOMMU_WRITE, &pasid), 0);
	assert_int_equal(pasid_state(inside.client->set, pasid), PASID_BOUND);
	assert_int_equal(used(RESOURCE_PASIDS), 1);
	assert_int_equal(used(RESOURCE_FDS), 4);

	/* The same process again has the same number, and costs nothing. */
	assert_int_equal(bind_process(&a, UIOMMU_READ | UIOMMU_WRITE, &again), 0);
	assert_int_equal(again, pasid);
	assert_int_equal(bind_process(&a, UIOMMU_READ | UIOMMU_WRITE, &again), 0);
	assert_int_equal(used(RESOURCE_PASIDS), 1);
	/* Under another number it is refused, and the number is free again. */
	assert_int_equal(bind_process(&a, UIOMMU_READ | UIOMMU_WRITE, &asked), -EBUSY);
	assert_int_equal(pasid_state(inside.client->set, 77), PASID_FREE);
	/* Another process, or other access, is another bind. */
	assert_int_equal(bind_process(&b, UIOMMU_READ, &other), 0);
	assert_int_not_equal(other, pasid);
	assert_int_equal(bind_process(&a, UIOMMU_READ, &asked), 0);
	assert_int_equal(asked, 77);
	assert_int_equal(used(RESOURCE_PASIDS), 3);
	assert_int_equal(bind_process(&b, UIOMMU_READ | UIOMMU_WRITE, &asked), -EBUSY);

	/* Unbound as often as bound. */
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(pasid_state(inside.client->set, pasid), PASID_BOUND);
		assert_int_equal(unbind(pasid), 0);
	}
	assert_int_equal(unbind(pasid), -ENOENT);
	assert_int_equal(pasid_state(inside.client->set, pasid), PASID_FREE);
	assert_int_equal(unbind(77), 0);
	child_end(&b);
	assert_int_equal(unbind(other), 0); /* after its end as before */
	assert_int_equal(used(RESOURCE_PASIDS), 0);
	assert_int_equal(used(RESOURCE_FDS), 0);
	assert_int_equal(used(RESOURCE_DRAINING), 0);
	assert_int_equal(pasid_set_count(inside.client->set), 0);
	inside_stop(&inside);
	child_end(&a);
}

static void a_bind_that_fails_leaves_nothing(void **state)
{
	uint32_t numbers[] = {0, UIOMMU_PASID_LAST + 1, 1u << 31};
	struct protocol_bind payload = {.access = UIOMMU_READ, .pasid = UIOMMU_NO_PASID, .parts = PARTS};
	uint32_t pasid = UIOMMU_NO_PASID;
	struct child child;
	int fds[4];

	(void)state;
	child_start(&child);
	inside_start(&inside);
	inside_hello(&inside);
	for (unsigned int i = 0; i < 4; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(request(PROTOCOL_BIND, &payload, sizeof(payload), fds, 4), -EBADF);
	payload.reserved = 1;
	assert_int_equal(request(PROTOCOL_BIND, &payload, sizeof(payload), fds, 4), -EINVAL);
	for (unsigned int access = 0; access < 8; access++)
		if (access != UIOMMU_READ && access != (UIOMMU_READ | UIOMMU_WRITE))
			assert_int_equal(bind_process(&child, access, &pasid), -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		assert_int_equal(bind_process(&child, UIOMMU_READ, &numbers[i]), -EINVAL);
	assert_int_equal(used(RESOURCE_PASIDS), 0);
	assert_int_equal(used(RESOURCE_FDS), 0);
	assert_int_equal(pasid_set_count(inside.client->set), 0);
	for (unsigned int i = 0; i < 4; i++)
		close(fds[i]);
	inside_stop(&inside);
	child_end(&child);
}

/* A bundle with an exec event keeps one descriptor more; one that is none is refused. */
static void exec_events(void **state)
{
	struct protocol_bind payload = {.access = UIOMMU_READ, .pasid = UIOMMU_NO_PASID, .parts = PROTOCOL_BUNDLE_ALL};
	struct uiommu_process bundle;
	struct child child;
	int fds[5];

	(void)state;
	child_start(&child);
	inside_start(&inside);
	inside_hello(&inside);
	assert_int_equal(uiommu_process_open(child.pid, UIOMMU_READ, &bundle), 0);
	memcpy(fds, (int[]){bundle.mem, bundle.maps, bundle.pidfd, bundle.auxv, bundle.pidfd}, sizeof(fds));
	assert_int_equal(request(PROTOCOL_BIND, &payload, sizeof(payload), fds, 5), -EBADF);
	assert_int_equal(used(RESOURCE_FDS), 0);
	fds[4] = bundle.exec;
	if (bundle.exec >= 0) {
		assert_int_equal(request(PROTOCOL_BIND, &payload, sizeof(payload), fds, 5), 0);
		assert_int_equal(used(RESOURCE_FDS), 5);
		assert_int_equal(unbind(((const struct protocol_bind_reply *)inside_payload(&inside))->pasid), 0);
		assert_int_equal(used(RESOURCE_FDS), 0);
	} else {
		print_message("# skipped: a bind with an exec event: perf_event_open is not permitted\n");
	}
	uiommu_process_close(&bundle);
	inside_stop(&inside);
	child_end(&child);
}

/* --- limits, each once --- */

static void limit_of_pasids(void **state)
{
	uint32_t first = UIOMMU_NO_PASID, second = UIOMMU_NO_PASID, again = UIOMMU_NO_PASID;
	struct child a, b;

	(void)state;
	child_start(&a);
	child_start(&b);
	set_limit(RESOURCE_PASIDS, 1, 1);
	inside_start(&inside);
	inside_hello(&inside);
	assert_int_equal(bind_process(&a, UIOMMU_READ, &first), 0);
	assert_int_equal(bind_process(&b, UIOMMU_READ, &second), -EDQUOT);
	assert_int_equal(used(RESOURCE_FDS), 4);
	/* Once more is no new one, whether it asks for the number or not. */
	assert_int_equal(bind_process(&a, UIOMMU_READ, &again), 0);
	assert_int_equal(again, first);
	assert_int_equal(bind_process(&a, UIOMMU_READ, &again), 0);
	assert_int_equal(used(RESOURCE_PASIDS), 1);
	assert_int_equal(used(RESOURCE_FDS), 4);
	assert_int_equal(unbind(first), 0);
	assert_int_equal(unbind(first), 0);
	assert_int_equal(bind_process(&b, UIOMMU_READ, &second), -EDQUOT);
	assert_int_equal(unbind(first), 0);
	assert_int_equal(bind_process(&b, UIOMMU_READ, &second), 0);
	inside_stop(&inside);
	child_end(&a);
	child_end(&b);
}

static void limit_of_fds(void **state)
{
	uint32_t first = UIOMMU_NO_PASID, second = UIOMMU_NO_PASID;
	struct child a, b;

	(void)state;
	child_start(&a);
	child_start(&b);
	set_limit(RESOURCE_FDS, 7, 7);
	inside_start(&inside);
	inside_hello(&inside);
	assert_int_equal(bind_process(&a, UIOMMU_READ, &first), 0);
	assert_int_equal(bind_process(&b, UIOMMU_READ, &second), -EDQUOT);
	assert_int_equal(used(RESOURCE_PASIDS), 1);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(queue(UIOMMU_QUEUE_SHARED, 2, 0), 0);
	assert_int_equal(queue(UIOMMU_QUEUE_SHARED, 2, 0), -EDQUOT);
	assert_int_equal(used(RESOURCE_QUEUES), 3);
	assert_int_equal(used(RESOURCE_DESCRIPTORS), 6);
	inside_stop(&inside);
	child_end(&a);
	child_end(&b);
}

static void limits_of_queues_and_descriptors(void **state)
{
	(void)state;
	set_limit(RESOURCE_QUEUES, 2, 2);
	set_limit(RESOURCE_DESCRIPTORS, 64, 64);
	inside_start(&inside);
	inside_hello(&inside);
	assert_int_equal(queue(UIOMMU_QUEUE_SHARED, 128, 0), -EDQUOT);
	assert_int_equal(queue(UIOMMU_QUEUE_SHARED, 64, 0), 0);
	assert_int_equal(queue(UIOMMU_QUEUE_SHARED, 2, 0), -EDQUOT); /* descriptors */
	assert_int_equal(used(RESOURCE_QUEUES), 1);
	assert_int_equal(queue_destroy(1), 0);
	assert_int_equal(used(RESOURCE_DESCRIPTORS), 0);
	assert_int_equal(queue(UIOMMU_QUEUE_SHARED, 2, 0), 0);
	assert_int_equal(queue(UIOMMU_QUEUE_SHARED, 2, 0), 0);
	assert_int_equal(queue(UIOMMU_QUEUE_SHARED, 2, 0), -EDQUOT); /* queues */
	assert_int_equal(used(RESOURCE_DESCRIPTORS), 4);
	assert_int_equal(used(RESOURCE_FDS), 2);
	inside_stop(&inside);
}

static void limit_of_areas(void **state)
{
	int fd = sealed_memfd(4 * page_size());
	uint32_t pasid = UIOMMU_NO_PASID;
	uint64_t iova = 0, other = 0;
	struct child child;

	(void)state;
	child_start(&child);
	set_limit(RESOURCE_AREAS, 2, 2);
	inside_start(&inside);
	inside_hello(&inside);
	assert_int_equal(bind_process(&child, UIOMMU_READ, &pasid), 0);
	assert_int_equal(map(fd, 5 * page_size(), &iova), -EINVAL); /* beyond the end: gives its place back */
	assert_int_equal(map(fd, page_size(), &iova), 0);
	assert_int_equal(reg(pasid, fd, 0x10000000, page_size()), 0);
	assert_int_equal(map(fd, page_size(), &other), -EDQUOT);
	assert_int_equal(reg(pasid, fd, 0x20000000, page_size()), -EDQUOT);
	assert_int_equal(unmap(iova, page_size()), 0);
	assert_int_equal(reg(pasid, fd, 0x20000000, page_size()), 0);
	assert_int_equal(used(RESOURCE_AREAS), 2);
	/* The end of a bind ends what was registered in it. */
	assert_int_equal(unbind(pasid), 0);
	assert_int_equal(used(RESOURCE_AREAS), 0);
	assert_int_equal(map(fd, page_size(), &iova), 0);
	assert_int_equal(map(fd, page_size(), &other), 0);
	assert_int_equal(unmap(0, UINT64_MAX), 0);
	assert_int_equal(used(RESOURCE_AREAS), 0);
	inside_stop(&inside);
	child_end(&child);
	close(fd);
}

static void limit_of_what_drains(void **state)
{
	uint32_t pasid = UIOMMU_NO_PASID;
	struct child child;

	(void)state;
	child_start(&child);
	set_limit(RESOURCE_DRAINING, 1, 1);
	inside_start(&inside);
	inside_hello(&inside);
	usage_count(&inside.client->usage, RESOURCE_DRAINING, 1);
	assert_int_equal(bind_process(&child, UIOMMU_READ, &pasid), -EDQUOT);
	usage_give(&inside.client->usage, RESOURCE_DRAINING, 1);
	assert_int_equal(bind_process(&child, UIOMMU_READ, &pasid), 0);
	usage_count(&inside.client->usage, RESOURCE_DRAINING, 1);
	pasid = UIOMMU_NO_PASID;
	assert_int_equal(bind_process(&child, UIOMMU_READ, &pasid), 0);
	usage_give(&inside.client->usage, RESOURCE_DRAINING, 1);
	inside_stop(&inside);
	child_end(&child);
}

/* --- queues --- */

static void a_queue_is_sealed_memory_and_events(void **state)
{
	const struct protocol_queue_reply *reply = inside_payload(&inside);
	uint32_t pasid = UIOMMU_NO_PASID;
	struct ring_header *ring;
	struct child child;
	int seals;

	(void)state;
	child_start(&child);
	inside_start(&inside);
	inside_hello(&inside);
	assert_int_equal(queue(0, 64, 5), -EINVAL); /* not ours */
	assert_int_equal(bind_process(&child, UIOMMU_READ, &pasid), 0);
	assert_int_equal(queue(0, 64, pasid), 0);
	assert_int_equal(reply->queue, 1);
	assert_int_equal(reply->entries, 64);
	assert_int_equal(inside.reply_fd_count, 3);
	seals = fcntl(inside.reply_fds[0], F_GET_SEALS);
	assert_int_equal(seals, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_equal(ring_map(inside.reply_fds[0], 64, &ring), 0);
	assert_false(ring_ended(ring));
	assert_int_equal(queue_destroy(1), 0);
	assert_true(ring_ended(ring));
	assert_int_equal(queue_destroy(1), -ENOENT);
	assert_int_equal(queue_destroy(0), -ENOENT);
	assert_int_equal(queue_destroy(UINT32_MAX), -ENOENT);
	ring_unmap(ring, 64);
	inside_stop(&inside);
	child_end(&child);
}

static void the_completion_area_is_sealed(void **state)
{
	const struct protocol_records_reply *reply = inside_payload(&inside);

	(void)state;
	inside_start(&inside);
	inside_hello(&inside);
	assert_int_equal(request(PROTOCOL_RECORDS_AREA, NULL, 0, NULL, 0), 0);
	assert_int_equal(reply->count, PROTOCOL_RECORDS);
	assert_int_equal(inside.reply_fd_count, 1);
	assert_int_equal(fcntl(inside.reply_fds[0], F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_true(lseek(inside.reply_fds[0], 0, SEEK_END) == PROTOCOL_RECORDS * sizeof(struct uiommu_accel_record));
	inside_stop(&inside);
}

/* --- an executor that somebody has taken over --- */

static void expect_refused(struct link_message message)
{
	inside_options(&inside);
	inside_start(&inside);
	inside_hello(&inside);
	assert_false(inside_tell_broker(&inside, &message, sizeof(message)));
	assert_int_equal(inside.client->state, CLIENT_KILLED);
	inside_stop(&inside);
}

static void the_broker_believes_nothing(void **state)
{
	static const struct link_message nonsense[] = {
		{.type = LINK_NONE},
		{.type = LINK_TYPES},
		{.type = UINT32_MAX},
		{.type = LINK_OPEN, .open.device = 0},
		{.type = LINK_PASID_TAKE, .pasid = {.pasid = 1, .fds = PROTOCOL_FDS_MAX + 1}},
		{.type = LINK_PASID_TAKE, .pasid = {.pasid = 1, .fds = UINT32_MAX}},
		{.type = LINK_PASID_BOUND, .bound.pasid = 0},
		{.type = LINK_PASID_BOUND, .bound.pasid = 9},
		{.type = LINK_PASID_DRAIN, .pasid.pasid = 0},
		{.type = LINK_PASID_DRAIN, .pasid.pasid = 9},
		{.type = LINK_PASID_FREE, .pasid.pasid = 0},
		{.type = LINK_PASID_FREE, .pasid.pasid = UINT32_MAX},
		{.type = LINK_QUEUE_TAKE, .queue.entries = 0},
		{.type = LINK_QUEUE_FREE, .queue.index = 0},
		{.type = LINK_QUEUE_FREE, .queue.index = UINT32_MAX},
		{.type = LINK_AREA_FREE},
	};
	uint8_t bytes[sizeof(struct link_message) + 1] = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(nonsense); i++)
		expect_refused(nonsense[i]);
	for (size_t length = 1; length <= sizeof(bytes); length++) {
		if (length == sizeof(struct link_message))
			continue;
		inside_options(&inside);
		inside_start(&inside);
		assert_false(inside_tell_broker(&inside, bytes, length));
		inside_stop(&inside);
	}
}

static void before_hello_an_executor_asks_for_nothing(void **state)
{
	(void)state;
	for (uint32_t type = LINK_OPEN + 1; type <= LINK_FAULT; type++) {
		struct link_message message = {.type = type};

		inside_options(&inside);
		inside_start(&inside);
		assert_false(inside_tell_broker(&inside, &message, sizeof(message)));
		inside_stop(&inside);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(malformed_messages_end_it, start),
		cmocka_unit_test_setup(payloads_may_grow, start),
		cmocka_unit_test_setup(hello_chooses, start),
		cmocka_unit_test_setup(another_version_is_told_and_ended, start),
		cmocka_unit_test_setup(who_does_not_read_is_ended, start),
		cmocka_unit_test_setup(binds_are_the_brokers, start),
		cmocka_unit_test_setup(a_bind_that_fails_leaves_nothing, start),
		cmocka_unit_test_setup(exec_events, start),
		cmocka_unit_test_setup(limit_of_pasids, start),
		cmocka_unit_test_setup(limit_of_fds, start),
		cmocka_unit_test_setup(limits_of_queues_and_descriptors, start),
		cmocka_unit_test_setup(limit_of_areas, start),
		cmocka_unit_test_setup(limit_of_what_drains, start),
		cmocka_unit_test_setup(a_queue_is_sealed_memory_and_events, start),
		cmocka_unit_test_setup(the_completion_area_is_sealed, start),
		cmocka_unit_test(the_broker_believes_nothing),
		cmocka_unit_test(before_hello_an_executor_asks_for_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

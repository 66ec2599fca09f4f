/* SPDX-License-Identifier: BSD-3-Clause */
/* A client's requests, from their form to what they leave with the broker. */
#include "test.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "child.h"
#include "daemon/account.h"
#include "devices/accel/ring.h"
#include "pasid/pasid.h"
#include "support/inside.h"
#include "util/util.h"

static struct inside inside;

static int start(void **state)
{
	(void)state;
	inside_options(&inside);
	return 0;
}

static uint32_t used(enum resource resource)
{
	return inside.client->usage.used[resource];
}

static int request(enum protocol_type type, const void *payload, size_t size, const int *fds, unsigned int fd_count)
{
	unsigned int before = inside.replies;

	assert_null(inside_request(&inside, type, payload, size, fds, fd_count));
	assert_int_equal(inside.replies, before + 1);
	assert_int_equal(inside.reply.header.type, type);
	assert_true(inside.reply.header.cookie == 7);
	return inside_status(&inside);
}

/* --- what the daemon's own client would send --- */

/* Without the exec event, which not every user may open. */
enum { PARTS = PROTOCOL_BUNDLE_ALL & ~PROTOCOL_BUNDLE_EXEC };

static int bind_process(const struct child *child, unsigned int access, uint32_t *pasid)
{
	struct protocol_bind payload = {.access = access, .pasid = *pasid, .parts = PARTS, .comm = "child"};
	struct uiommu_process bundle;
	int fds[4], rc;

	assert_int_equal(uiommu_process_open(child->pid, UIOMMU_READ | UIOMMU_WRITE, &bundle), 0);
	memcpy(fds, (int[]){bundle.mem, bundle.maps, bundle.pidfd, bundle.auxv}, sizeof(fds));
	rc = request(PROTOCOL_BIND, &payload, sizeof(payload), fds, 4);
	uiommu_process_close(&bundle);
	if (!rc)
		*pasid = ((const struct protocol_bind_reply *)inside_payload(&inside))->pasid;
	return rc;
}

static int unbind(uint32_t pasid)
{
	struct protocol_unbind payload = {.pasid = pasid};

	return request(PROTOCOL_UNBIND, &payload, sizeof(payload), NULL, 0);
}

static int queue(uint32_t flags, uint32_t entries, uint32_t pasid)
{
	struct protocol_queue payload = {flags, entries, pasid, 0};

	return request(PROTOCOL_QUEUE, &payload, sizeof(payload), NULL, 0);
}

static int queue_destroy(uint32_t number)
{
	struct protocol_queue_destroy payload = {number, 0};

	return request(PROTOCOL_QUEUE_DESTROY, &payload, sizeof(payload), NULL, 0);
}

static int sealed_memfd(size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	return fd;
}

static int map(int fd, uint64_t length, uint64_t *iova)
{
	struct protocol_map payload = {.flags = UIOMMU_MAP_READ, .length = length};
	int rc = request(PROTOCOL_MAP, &payload, sizeof(payload), &fd, 1);

	if (!rc)
		*iova = ((const struct protocol_map_reply *)inside_payload(&inside))->iova;
	return rc;
}

static int unmap(uint64_t iova, uint64_t length)
{
	struct protocol_unmap payload = {iova, length};

	return request(PROTOCOL_UNMAP, &payload, sizeof(payload), NULL, 0);
}

static int reg(uint32_t pasid, int fd, uint64_t address, uint64_t length)
{
	struct protocol_register payload = {.pasid = pasid, .access = UIOMMU_READ, .address = address, .length = length};

	return request(PROTOCOL_REGISTER, &payload, sizeof(payload), &fd, 1);
}

static const struct protocol_list_reply *list(uint64_t cursor)
{
	assert_int_equal(request(PROTOCOL_LIST, &cursor, sizeof(cursor), NULL, 0), 0);
	return inside_payload(&inside);
}

static const struct uiommu_item *find_item(const struct protocol_list_reply *reply, enum uiommu_item_type type, uint32_t id)
{
	for (uint32_t i = 0; i < reply->count; i++)
		if (reply->items[i].type == (uint32_t)type && reply->items[i].id == id)
			return &reply->items[i];
	return NULL;
}

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

static void set_limit(enum resource resource, uint32_t client, uint32_t user)
{
	inside.options.limits.of[resource] = (struct limit){client, user};
}

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

/* --- lists --- */

static void lists_tell_what_there_is(void **state)
{
	uint32_t pasid = UIOMMU_NO_PASID;
	const struct protocol_list_reply *reply;
	const struct uiommu_item *item;
	struct child child;

	(void)state;
	child_start(&child);
	inside_start(&inside);
	inside_hello(&inside);
	assert_int_equal(bind_process(&child, UIOMMU_READ, &pasid), 0);
	assert_int_equal(queue(UIOMMU_QUEUE_SHARED | UIOMMU_QUEUE_HANDLES, 64, 0), 0);
	reply = list(0);
	assert_true(reply->cursor == 0);
	assert_int_equal(reply->count, 4);
	assert_int_equal(reply->item_size, sizeof(struct uiommu_item));
	item = find_item(reply, UIOMMU_ITEM_DEVICE, 0);
	assert_non_null(item);
	assert_string_equal(item->name, "accel0");
	item = find_item(reply, UIOMMU_ITEM_CLIENT, inside.client->number);
	assert_non_null(item);
	assert_int_equal(item->pid, getpid());
	item = find_item(reply, UIOMMU_ITEM_QUEUE, 1);
	assert_non_null(item);
	assert_int_equal(item->flags, UIOMMU_QUEUE_SHARED | UIOMMU_QUEUE_HANDLES);
	assert_int_equal(item->client, inside.client->number);
	item = find_item(reply, UIOMMU_ITEM_PASID, pasid);
	assert_non_null(item);
	assert_int_equal(item->pid, child.pid);
	assert_int_equal(item->flags, UIOMMU_READ);
	assert_int_equal(item->state, UIOMMU_STATE_BOUND);
	assert_string_equal(item->name, "child");
	inside_stop(&inside);
	child_end(&child);
}

static void long_lists_come_in_pages(void **state)
{
	enum { QUEUES = 300 };
	bool seen[QUEUES + 1] = {false};
	const struct protocol_list_reply *reply;
	unsigned int found = 0, pages = 0;
	uint64_t cursor = 0;

	(void)state;
	set_limit(RESOURCE_QUEUES, QUEUES, QUEUES);
	inside_start(&inside);
	inside_hello(&inside);
	for (unsigned int i = 0; i < QUEUES; i++)
		assert_int_equal(queue(UIOMMU_QUEUE_SHARED, 2, 0), 0);
	do {
		reply = list(cursor);
		for (uint32_t i = 0; i < reply->count; i++) {
			if (reply->items[i].type != UIOMMU_ITEM_QUEUE)
				continue;
			assert_false(seen[reply->items[i].id]);
			seen[reply->items[i].id] = true;
			found++;
		}
		cursor = reply->cursor;
		pages++;
	} while (cursor);
	assert_int_equal(found, QUEUES);
	assert_int_equal(pages, 3);
	reply = list(UINT64_MAX);
	assert_int_equal(reply->count, 0);
	inside_stop(&inside);
}

static void another_users_things_are_not_shown(void **state)
{
	struct client *other;

	(void)state;
	inside_start(&inside);
	inside_hello(&inside);
	other = client_new(&inside.broker, getuid() + 1, 1);
	assert_non_null(other);
	cds_list_add_tail(&other->link, &inside.broker.clients);
	other->open = true;
	/* Root and the daemon's own user see everything; our test double is both, as a rule. */
	assert_non_null(find_item(list(0), UIOMMU_ITEM_CLIENT, other->number));
	inside.client->uid = getuid() + 2;
	assert_null(find_item(list(0), UIOMMU_ITEM_CLIENT, other->number));
	assert_non_null(find_item(list(0), UIOMMU_ITEM_CLIENT, inside.client->number));
	cds_list_del(&other->link);
	client_free(&inside.broker, other);
	inside_stop(&inside);
}

/* --- faults --- */

static const struct protocol_faults_reply *faults(uint64_t cursor)
{
	assert_int_equal(request(PROTOCOL_FAULTS, &cursor, sizeof(cursor), NULL, 0), 0);
	return inside_payload(&inside);
}

static void faults_are_explained(void **state)
{
	struct uiommu_fault fault = {.address = 0x1000, .access = UIOMMU_READ, .reason = UIOMMU_FAULT_UNMAPPED, .stage = 1};
	const struct protocol_faults_reply *reply;
	uint32_t pasid = UIOMMU_NO_PASID;
	int fd = memfd_create("place", MFD_CLOEXEC);
	struct child child;
	uint8_t *place;

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)page_size()), 0);
	place = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(place, MAP_FAILED);
	child_start(&child); /* has the mapping as well */
	inside_start(&inside);
	inside_hello(&inside);
	assert_int_equal(bind_process(&child, UIOMMU_READ, &pasid), 0);
	fault.pasid = pasid;
	session_fault(&inside.session, &fault);
	assert_true(inside.woken);
	fault.address = (uintptr_t)place + 8;
	fault.reason = UIOMMU_FAULT_ATTACHMENT;
	session_fault(&inside.session, &fault);
	assert_null(session_work(&inside.session));
	reply = faults(0);
	assert_int_equal(reply->count, 2);
	assert_int_equal(reply->report_size, sizeof(struct uiommu_fault_report));
	assert_true(reply->lost == 0);
	/* The newest first. */
	assert_true(reply->reports[0].vma_start == (uintptr_t)place);
	assert_true(reply->reports[0].vma_end == (uintptr_t)place + page_size());
	assert_int_equal(reply->reports[0].vma_access, UIOMMU_READ | UIOMMU_WRITE);
	assert_non_null(strstr(reply->reports[0].vma_name, "memfd:place"));
	assert_true(reply->reports[1].fault.address == 0x1000);
	assert_int_equal(reply->reports[1].fault.reason, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(reply->reports[1].vma_access, 0);
	assert_int_equal(reply->reports[1].pid, child.pid);
	assert_string_equal(reply->reports[1].comm, "child");
	assert_string_equal(reply->reports[1].device, "accel0");
	assert_int_equal(reply->reports[1].client, inside.client->number);
	inside_stop(&inside);
	child_end(&child);
	munmap(place, page_size());
	close(fd);
}

static void a_storm_of_faults_is_counted(void **state)
{
	struct uiommu_fault fault = {.pasid = 5, .access = UIOMMU_READ, .reason = UIOMMU_FAULT_UNMAPPED};
	const struct protocol_faults_reply *reply;
	uint64_t shown = 0, cursor = 0;

	(void)state;
	inside_start(&inside);
	inside_hello(&inside);
	for (unsigned int i = 0; i < 10000; i++) {
		fault.address = i;
		session_fault(&inside.session, &fault);
		if (i % 16 == 0)
			assert_null(session_work(&inside.session));
	}
	do {
		reply = faults(cursor);
		shown += reply->count;
		cursor = reply->cursor;
	} while (cursor);
	assert_int_equal(shown, REPORTS_PER_CLIENT);
	list(0); /* brings the counter up to date */
	assert_true(faults(0)->lost >= 10000 - 64 - 64 - 1000);
	inside_stop(&inside);
}

static void nobody_pushes_out_the_others(void **state)
{
	struct uiommu_fault_report report = {.fault.address = 1};
	struct client *other;
	unsigned int kept = 0;

	(void)state;
	inside_start(&inside);
	inside_hello(&inside);
	other = client_new(&inside.broker, getuid(), 1);
	for (unsigned int i = 0; i < 10; i++) {
		report.client = other->number;
		reports_add(&inside.broker, other, &report);
	}
	report.client = inside.client->number;
	for (unsigned int i = 0; i < 10 * REPORTS_MAX; i++)
		reports_add(&inside.broker, inside.client, &report);
	for (unsigned int i = 0; i < inside.broker.reports.count; i++)
		kept += inside.broker.reports.list[i].report.client == other->number;
	assert_int_equal(kept, 10);
	assert_int_equal(inside.broker.reports.count, 10 + REPORTS_PER_CLIENT);
	client_free(&inside.broker, other);
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
		cmocka_unit_test_setup(lists_tell_what_there_is, start),
		cmocka_unit_test_setup(long_lists_come_in_pages, start),
		cmocka_unit_test_setup(another_users_things_are_not_shown, start),
		cmocka_unit_test_setup(faults_are_explained, start),
		cmocka_unit_test_setup(a_storm_of_faults_is_counted, start),
		cmocka_unit_test_setup(nobody_pushes_out_the_others, start),
		cmocka_unit_test(the_broker_believes_nothing),
		cmocka_unit_test(before_hello_an_executor_asks_for_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

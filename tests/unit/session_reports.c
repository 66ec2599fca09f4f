/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client is told of what there is, and of faults. */
#include "test.h"

#include "session.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(lists_tell_what_there_is, start),
		cmocka_unit_test_setup(long_lists_come_in_pages, start),
		cmocka_unit_test_setup(another_users_things_are_not_shown, start),
		cmocka_unit_test_setup(faults_are_explained, start),
		cmocka_unit_test_setup(a_storm_of_faults_is_counted, start),
		cmocka_unit_test_setup(nobody_pushes_out_the_others, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

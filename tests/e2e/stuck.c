/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients whose accesses never come back. While they are blocked another client does 100,000 descriptors, and SIGTERM ends the
 * daemon. What is blocked is known by events (the fault has arrived where nobody answers) and by records that stay empty.
 */
#include "unit/test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/service.h"
#include "support/stuck.h"
#include "support/support.h"
#include "support/targets.h"
#include "support/user.h"

enum { OTHERS_WORK = 100000 };

/* Where only the handle is allowed, a userfaultfd ends with EIO instead of waiting. */
static bool by_pid(void)
{
	const char *without = getenv("UIOMMU_WITHOUT");

	return !without || !strstr(without, "process_vm");
}

static bool waits(enum stuck_kind kind)
{
	return kind == STUCK_FUSE || (kind != STUCK_UFFD_USER && by_pid());
}

/* A client that reads the page of a stuck process and is blocked there when this returns (or has failed). */
static struct uiommu_accel_record *block(struct user *user, struct stuck *stuck, const struct service *service)
{
	struct uiommu_accel_desc desc = {.source = (uintptr_t)stuck->page, .transfer_size = 64};

	user_start(user, service);
	desc.handles = user_bind(user, &stuck->process, UIOMMU_READ, NULL);
	user_submit(user, &desc, UIOMMU_ACCEL_CRC, 0, user->records);
	if (waits(stuck->kind))
		stuck_wait(stuck);
	return user->records;
}

/* Copies in our own memory, each checked. */
static void work(struct user *user)
{
	static uint64_t from[USER_DEPTH], to[USER_DEPTH];

	for (unsigned int i = 0; i < OTHERS_WORK + USER_DEPTH; i++) {
		unsigned int slot = i % USER_DEPTH;
		struct uiommu_accel_record *record = &user->records[slot];
		struct uiommu_accel_desc desc = {
			.source = (uintptr_t)&from[slot],
			.destination = (uintptr_t)&to[slot],
			.transfer_size = sizeof(from[0]),
		};

		if (i >= USER_DEPTH) {
			assert_int_equal(uiommu_queue_wait(user->queue, record), 0);
			assert_int_equal(record->status, UIOMMU_ACCEL_SUCCESS);
			assert_true(to[slot] == from[slot]);
		}
		if (i < OTHERS_WORK) {
			from[slot] = i * 0x9e3779b97f4a7c15u + 1;
			user_submit(user, &desc, UIOMMU_ACCEL_MEMMOVE, 0, record);
		}
	}
}

static void others_go_on(enum stuck_kind kind)
{
	const char *missing = stuck_missing(kind);
	struct uiommu_accel_record *record;
	struct user blocked, other;
	struct service service;
	struct stuck stuck;
	int status;

	if (missing) {
		print_message("# skipped: %s\n", missing);
		skip();
	}
	service_start(&service, NULL);
	stuck_start(&stuck, kind);
	record = block(&blocked, &stuck, &service);
	if (kind == STUCK_UFFD_HELD && waits(kind))
		stuck_kill(&stuck);
	user_start(&other, &service);
	work(&other);

	if (!waits(kind)) {
		/* The kernel does not wait here; the access fails. */
		assert_int_equal(uiommu_queue_wait(blocked.queue, record), 0);
		assert_int_equal(record->status & UIOMMU_ACCEL_STATUS_MASK, UIOMMU_ACCEL_PAGE_FAULT);
		assert_int_equal(record->bytes_completed, 0);
	} else {
		assert_int_equal(__atomic_load_n(&record->status, __ATOMIC_ACQUIRE), UIOMMU_ACCEL_PENDING);
	}
	user_stop(&other);

	/* SIGTERM ends the daemon, although the access is still blocked. */
	assert_int_equal(kill(service.pid, SIGTERM), 0);
	assert_int_equal(waitpid(service.pid, &status, 0), service.pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(access(service.socket, F_OK), -1);
	user_stop(&blocked);
	rmdir(service.directory);
	stuck_stop(&stuck);
}

static void full_userfaultfd(void **state)
{
	(void)state;
	others_go_on(STUCK_UFFD);
}

static void user_mode_userfaultfd(void **state)
{
	(void)state;
	others_go_on(STUCK_UFFD_USER);
}

static void killed_target_whose_userfaultfd_is_held(void **state)
{
	(void)state;
	others_go_on(STUCK_UFFD_HELD);
}

static void fuse_page(void **state)
{
	(void)state;
	others_go_on(STUCK_FUSE);
}

/* PASIDs of other clients than @own, in @state. */
static size_t pasids(struct user *user, uint32_t own, uint32_t state)
{
	struct uiommu_item *items;
	size_t count, found = 0;

	assert_int_equal(uiommu_client_list(user->client, &items, &count), 0);
	for (size_t i = 0; i < count; i++)
		found += items[i].type == UIOMMU_ITEM_PASID && items[i].id != own && items[i].state == state;
	free(items);
	return found;
}

/* What a client of the same user gets at the limit of what drains. */
static int come_and_go(const struct service *service)
{
	struct uiommu_client *client;
	int rc = uiommu_client_connect(service->socket, NULL, &client);

	if (!rc)
		uiommu_client_close(client);
	return rc;
}

/* A daemon whose executors may not read by pid. */
static void start_by_handle(struct service *service, const char *const *options)
{
	const char *without = getenv("UIOMMU_WITHOUT");
	char *before = without ? strdup(without) : NULL;

	setenv("UIOMMU_WITHOUT", "process_vm", 1);
	service_start(service, options);
	if (before)
		setenv("UIOMMU_WITHOUT", before, 1);
	else
		unsetenv("UIOMMU_WITHOUT");
	free(before);
}

/*
 * Through the handle, not even SIGKILL ends an access to a page of a file system that does not answer. The executor counts as
 * draining, and what it has is nobody else's, until the file system has gone.
 */
static void an_executor_that_does_not_die_counts(void **state)
{
	static const char *const options[] = {"--limit", "draining=10:1", NULL};
	const char *missing = stuck_missing(STUCK_FUSE);
	struct uiommu_queue_config config = {.size = sizeof(config), .entries = 2, .flags = UIOMMU_QUEUE_SHARED};
	struct uiommu_queue *queue;
	struct user blocked, other;
	struct service service;
	struct target target;
	struct stuck stuck;
	uint32_t stuck_pasid, pasid;

	(void)state;
	if (missing) {
		print_message("# skipped: %s\n", missing);
		skip();
	}
	start_by_handle(&service, options);
	stuck_start(&stuck, STUCK_FUSE);
	user_start(&other, &service);
	block(&blocked, &stuck, &service);
	assert_int_equal(pasids(&other, other.pasid, UIOMMU_STATE_BOUND), 2);
	stuck_pasid = blocked.pasid;

	/* It has hung up. Soon its executor is killed; that is when its PASIDs begin to drain, and from then on nobody comes in. */
	user_stop(&blocked);
	while (pasids(&other, other.pasid, UIOMMU_STATE_DRAINING) != 2)
		;
	assert_int_equal(come_and_go(&service), -EDQUOT);
	pasid = UIOMMU_NO_PASID;
	assert_int_equal(uiommu_client_bind(other.client, &stuck.process, UIOMMU_READ, &pasid), -EDQUOT);
	/* Other things are given, and there is work. */
	assert_int_equal(uiommu_client_queue(other.client, &config, &queue), 0);
	uiommu_queue_destroy(queue);
	work(&other);
	assert_int_equal(pasids(&other, other.pasid, UIOMMU_STATE_DRAINING), 2);
	assert_int_equal(come_and_go(&service), -EDQUOT);

	/* The file system ends; the access fails, the executor dies, all of it can be had again. */
	stuck_stop(&stuck);
	stuck_finish();
	while (pasids(&other, other.pasid, UIOMMU_STATE_DRAINING))
		;
	assert_int_equal(come_and_go(&service), 0);
	target_start(&target, 4096);
	pasid = stuck_pasid;
	assert_int_equal(uiommu_client_bind(other.client, &target.process, UIOMMU_READ, &pasid), 0);
	assert_int_equal(pasid, stuck_pasid);
	target_stop(&target);
	user_stop(&other);
	service_stop(&service);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_userfaultfd),
		cmocka_unit_test(user_mode_userfaultfd),
		cmocka_unit_test(killed_target_whose_userfaultfd_is_held),
		cmocka_unit_test(fuse_page),
		cmocka_unit_test(an_executor_that_does_not_die_counts), /* the last one with the file system */
	};
	int failed;

	stuck_prepare();
	support_drop_privileges();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	stuck_finish();
	return failed;
}

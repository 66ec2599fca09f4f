/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Clients die by SIGKILL at any moment while the engine works for them. Afterwards the daemon has what it had before: no PASID, no
 * descriptor, no mapping, no executor more, nothing that counts for a limit; and a client that lives has lost nothing.
 */
#include "unit/test.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/service.h"
#include "support/support.h"
#include "support/targets.h"
#include "support/user.h"

enum {
	ROUNDS = 120,
	LENGTH = 1 << 20,
	ITEMS_AT_ONCE = 40, /* of victims that are still ending */
	NUMBERS = 1024,
};

/*
 * The user's part is enough for all that are there at once, and less than all of them leave behind if one thing of each is kept:
 * a victim takes an executor, three PASIDs with twelve descriptors, a queue with one and 64 entries, an area.
 */
static const char *const limits[] = {
	"--limit", "executors=1:50", "--limit", "pasids=8:100", "--limit", "queues=2:50",   "--limit", "descriptors=128:3200",
	"--limit", "areas=4:50",     "--limit", "fds=40:600",	"--limit", "draining=4:50", NULL,
};

static size_t open_descriptors(pid_t pid)
{
	char path[64];
	size_t count = 0;
	DIR *directory;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	directory = opendir(path);
	assert_non_null(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

static size_t mappings(pid_t pid)
{
	char path[64], line[512];
	size_t count = 0;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "r");
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		count += strchr(line, '\n') != NULL;
	fclose(maps);
	return count;
}

/* Items of @type that do not belong to client @own. */
static size_t others(struct user *user, uint32_t own)
{
	struct uiommu_item *items;
	size_t count, found = 0;

	assert_int_equal(uiommu_client_list(user->client, &items, &count), 0);
	for (size_t i = 0; i < count; i++)
		found += items[i].type != UIOMMU_ITEM_DEVICE && items[i].client != own;
	free(items);
	return found;
}

static uint32_t own_number(struct user *user)
{
	struct uiommu_item *items;
	uint32_t number = 0;
	size_t count;

	assert_int_equal(uiommu_client_list(user->client, &items, &count), 0);
	for (size_t i = 0; i < count; i++)
		if (items[i].type == UIOMMU_ITEM_CLIENT && items[i].pid == (uint32_t)getpid())
			number = items[i].id;
	free(items);
	assert_int_not_equal(number, 0);
	return number;
}

/* Binds, copies and never ends. Tells @progress when the first copy is done. */
static void victim(const struct service *service, const struct target *a, const struct target *b, int progress)
{
	struct user user;
	uint16_t src, dst;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 1);
	user_start(&user, service);
	src = user_bind(&user, &a->process, UIOMMU_READ, NULL);
	dst = user_bind(&user, &b->process, UIOMMU_READ | UIOMMU_WRITE, NULL);
	for (unsigned int i = 0;; i++) {
		struct uiommu_accel_desc desc = {
			.source = (uintptr_t)a->address,
			.destination = (uintptr_t)b->address,
			.transfer_size = LENGTH,
			.handles = src | (uint64_t)dst << 16,
		};
		struct uiommu_accel_record *record = &user.records[i % USER_DEPTH];

		user_submit(&user, &desc, UIOMMU_ACCEL_MEMMOVE, 0, record);
		if (i == 0) {
			support_check_errno(uiommu_queue_wait(user.queue, record), "wait");
			if (write(progress, "", 1) != 1)
				_exit(1);
		}
	}
}

/* @moment 0: right after the fork, somewhere while it connects; otherwise after its first copy, with more under way. */
static void kill_one(const struct service *service, const struct target *a, const struct target *b, unsigned int moment)
{
	int progress[2], status;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(progress), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		victim(service, a, b, progress[1]);
	close(progress[1]); /* a victim that fails says nothing, and this shall be noticed */
	if (moment)
		assert_int_equal(read(progress[0], &byte, 1), 1);
	else
		for (long turns = random() % 200; turns; turns--)
			sched_yield();
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	close(progress[0]);
}

/* Every number that a victim may have had can be had: bind @process there, and unbind it. */
static void all_numbers_are_free(struct user *user, const struct uiommu_process *process)
{
	for (uint32_t number = 1; number <= NUMBERS; number++) {
		uint32_t pasid = number;

		if (number == user->pasid)
			continue;
		assert_int_equal(uiommu_client_bind(user->client, process, UIOMMU_READ, &pasid), 0);
		assert_int_equal(pasid, number);
		assert_int_equal(uiommu_client_unbind(user->client, number), 0);
	}
}

static void nothing_is_left(void **state)
{
	uint64_t from = 0, to;
	struct service service;
	struct target a, b;
	struct user user;
	size_t descriptors, maps;
	uint32_t own;

	(void)state;
	srandom(3);
	service_start(&service, limits);
	target_start(&a, LENGTH);
	target_start(&b, LENGTH);
	user_start(&user, &service);
	own = own_number(&user);
	kill_one(&service, &a, &b, 1); /* once, so that whatever is made on first use has been made */
	while (others(&user, own))
		sched_yield();
	descriptors = open_descriptors(service.pid);
	maps = mappings(service.pid);

	for (unsigned int i = 0; i < ROUNDS; i++) {
		kill_one(&service, &a, &b, i % 2);
		from = i * 0x9e3779b97f4a7c15u + 1;
		assert_int_equal(user_copy(&user, 0, (uintptr_t)&to, 0, (uintptr_t)&from, sizeof(from)), UIOMMU_ACCEL_SUCCESS);
		assert_true(to == from);
		while (others(&user, own) > ITEMS_AT_ONCE)
			sched_yield();
	}
	while (others(&user, own))
		sched_yield();
	assert_int_equal(open_descriptors(service.pid), descriptors);
	assert_int_equal(mappings(service.pid), maps);
	assert_int_equal(service_processes(&service), 2); /* the broker, and our executor */
	all_numbers_are_free(&user, &b.process);

	/* The targets were left as they were: still there, still readable, the copy complete. */
	assert_int_equal(user_copy(&user, 0, (uintptr_t)&to, user_bind(&user, &b.process, UIOMMU_READ, NULL),
				   (uintptr_t)b.address + 4096, sizeof(to)),
			 UIOMMU_ACCEL_SUCCESS);
	assert_true(to == 4096 * 0x9e3779b97f4a7c15u);
	user_stop(&user);
	service_stop(&service);
	target_stop(&a);
	target_stop(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_left),
	};

	support_drop_privileges();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

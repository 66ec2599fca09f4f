/* SPDX-License-Identifier: BSD-3-Clause */
#include "devices/accel/ring.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

static struct uiommu_accel_desc numbered(uint64_t number)
{
	struct uiommu_accel_desc desc;

	memset(&desc, 0, sizeof(desc));
	desc.source = number;
	desc.handles = ~number;
	return desc;
}

struct ends {
	struct ring_header *header;
	struct ring_submitter submitter;
	struct ring_engine engine;
};

static void ends_open(struct ends *ends, uint32_t entries)
{
	ends->header = ring_create(entries, 0);
	assert_non_null(ends->header);
	ring_submitter_init(&ends->submitter, ends->header, entries);
	ring_engine_init(&ends->engine, ends->header, entries);
	ring_disarm(&ends->engine);
}

static void ends_close(struct ends *ends)
{
	ring_unmap(ends->header, ends->engine.entries);
}

static void expect_next(struct ends *ends, uint64_t number)
{
	struct uiommu_accel_desc desc, expected = numbered(number);

	assert_true(ring_ready(&ends->engine, 0));
	ring_copy(&ends->engine, 0, &desc);
	assert_memory_equal(&desc, &expected, sizeof(desc));
	ring_release(&ends->engine, 1);
}

static void entries_are_powers_of_two(void **state)
{
	(void)state;
	assert_true(ring_entries_valid(2));
	assert_true(ring_entries_valid(64));
	assert_true(ring_entries_valid(4096));
	assert_false(ring_entries_valid(0));
	assert_false(ring_entries_valid(1));
	assert_false(ring_entries_valid(3));
	assert_false(ring_entries_valid(8192));
	assert_false(ring_entries_valid(UINT32_C(1) << 31));
}

static void fills_and_empties(void **state)
{
	struct ends ends;

	(void)state;
	ends_open(&ends, 4);
	for (uint64_t round = 0; round < 10; round++) {
		for (uint64_t i = 0; i < 4; i++) {
			struct uiommu_accel_desc desc = numbered(round * 4 + i);

			assert_false(ring_ready(&ends.engine, (uint32_t)i));
			assert_int_equal(ring_submit(&ends.submitter, &desc), 0);
			assert_true(ring_ready(&ends.engine, (uint32_t)i));
		}
		assert_int_equal(ring_submit(&ends.submitter, &(struct uiommu_accel_desc){0}), -EAGAIN);
		for (uint64_t i = 0; i < 4; i++)
			expect_next(&ends, round * 4 + i);
		assert_false(ring_ready(&ends.engine, 0));
	}
	ends_close(&ends);
}

/* A slot is never taken for one of another lap, also where positions and laps wrap. */
static void positions_wrap(void **state)
{
	struct ends ends;

	(void)state;
	for (uint32_t entries = 2; entries <= 4096; entries *= 2) {
		uint32_t start = 0U - 3 * entries;

		ends_open(&ends, entries);
		ends.header->head = ends.submitter.tail = ends.submitter.head = ends.engine.head = start;
		/* What the lap before has left. */
		for (uint32_t i = 0; i < entries; i++)
			ring_slot(ends.header, entries, i)[RING_TAG_WORD] = ring_tag(entries, start - entries + i)
									    << RING_TAG_SHIFT;
		for (uint64_t i = 0; i < 6 * entries; i++) {
			struct uiommu_accel_desc desc = numbered(i);

			assert_false(ring_ready(&ends.engine, 0));
			assert_int_equal(ring_submit(&ends.submitter, &desc), 0);
			expect_next(&ends, i);
		}
		ends_close(&ends);
	}
}

static void tags_tell_laps_apart(void **state)
{
	(void)state;
	for (uint32_t entries = 2; entries <= 4096; entries *= 2) {
		assert_int_not_equal(ring_tag(entries, 0), 0);
		for (uint32_t lap = 0; lap < 70000; lap++)
			if (ring_tag(entries, lap * entries) == ring_tag(entries, (lap + 1) * entries) ||
			    ring_tag(entries, lap * entries) != ring_tag(entries, lap * entries + entries - 1))
				fail_msg("lap %u of %u entries", lap, entries);
	}
}

/* The reserved field makes room for the tag, and what was in it is still known to have been something. */
static void reserved_field_is_not_lost(void **state)
{
	struct uiommu_accel_desc desc = numbered(1), copy;
	struct ends ends;

	(void)state;
	ends_open(&ends, 2);
	desc.transfer_size = 0x12345678;
	desc.interrupt_handle = 0x9abc;
	desc.reserved = 1;
	assert_int_equal(ring_submit(&ends.submitter, &desc), 0);
	assert_true(ring_ready(&ends.engine, 0));
	ring_copy(&ends.engine, 0, &copy);
	assert_int_not_equal(copy.reserved, 0);
	copy.reserved = desc.reserved;
	assert_memory_equal(&copy, &desc, sizeof(desc));
	ends_close(&ends);
}

static void submitter_does_not_believe_the_head(void **state)
{
	static const uint32_t lies[] = {5, 100, UINT32_C(1) << 31, UINT32_MAX};
	struct uiommu_accel_desc desc = numbered(1);
	struct ends ends;

	(void)state;
	ends_open(&ends, 4);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(ring_submit(&ends.submitter, &desc), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(lies); i++) {
		ends.header->head = lies[i];
		assert_int_equal(ring_submit(&ends.submitter, &desc), -EAGAIN);
	}
	assert_int_equal(ends.submitter.tail, 4);
	ends_close(&ends);
}

static void wakes_once_when_armed(void **state)
{
	struct uiommu_accel_desc desc = numbered(1);
	struct ends ends;

	(void)state;
	ends_open(&ends, 8);
	assert_int_equal(ring_submit(&ends.submitter, &desc), 0);
	/* Something waits already. */
	assert_false(ring_arm(&ends.engine));
	expect_next(&ends, 1);
	assert_true(ring_arm(&ends.engine));
	assert_int_equal(ring_submit(&ends.submitter, &desc), 1);
	assert_int_equal(ring_submit(&ends.submitter, &desc), 0);
	ring_disarm(&ends.engine);
	assert_int_equal(ring_submit(&ends.submitter, &desc), 0);
	ends_close(&ends);
}

static void new_ring_asks_for_a_wakeup(void **state)
{
	struct uiommu_accel_desc desc = numbered(1);
	struct ring_submitter submitter;
	struct ring_header *header = ring_create(2, 0);

	(void)state;
	assert_non_null(header);
	ring_submitter_init(&submitter, header, 2);
	assert_int_equal(ring_submit(&submitter, &desc), 1);
	ring_unmap(header, 2);
}

static void ends(void **state)
{
	struct uiommu_accel_desc desc = numbered(1);
	struct ends ends;

	(void)state;
	ends_open(&ends, 2);
	assert_false(ring_ended(ends.header));
	ring_end(ends.header);
	assert_true(ring_ended(ends.header));
	assert_int_equal(ring_submit(&ends.submitter, &desc), -EPIPE);
	assert_int_equal(ring_submit(&ends.submitter, &desc), -EPIPE);
	/* Full: still that. */
	assert_int_equal(ring_submit(&ends.submitter, &desc), -EPIPE);
	ends_close(&ends);
}

static void error_is_the_first(void **state)
{
	struct uiommu_accel_error error = {0}, post = {.code = UIOMMU_ACCEL_ERROR_RECORD,
						       .opcode = 3,
						       .status = 0x1a,
						       .pasid = 77,
						       .address = 0x123456789abc};
	struct ends ends;

	(void)state;
	ends_open(&ends, 2);
	ring_error_take(&ends.submitter, &error);
	assert_int_equal(error.code, UIOMMU_ACCEL_ERROR_NONE);
	assert_int_equal(error.count, 0);
	ring_error_post(ends.header, &post);
	ring_error_post(ends.header, &(struct uiommu_accel_error){.code = UIOMMU_ACCEL_ERROR_HANDLE});
	ring_error_take(&ends.submitter, &error);
	post.count = 2;
	assert_memory_equal(&error, &post, sizeof(error));
	ring_error_take(&ends.submitter, &error);
	assert_int_equal(error.code, UIOMMU_ACCEL_ERROR_NONE);
	assert_int_equal(error.count, 2);
	ring_error_post(ends.header, &(struct uiommu_accel_error){.code = UIOMMU_ACCEL_ERROR_HANDLE, .pasid = 9});
	ring_error_take(&ends.submitter, &error);
	assert_int_equal(error.code, UIOMMU_ACCEL_ERROR_HANDLE);
	assert_int_equal(error.pasid, 9);
	assert_int_equal(error.count, 3);
	ends_close(&ends);
}

static void memfd_is_sealed_and_checked(void **state)
{
	struct ring_header *header;
	int fd = ring_create_memfd(16, UIOMMU_QUEUE_SHARED), plain;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ring_map(fd, 15, &header), -EINVAL);
	assert_int_equal(ring_map(fd, 32, &header), -EINVAL);
	assert_int_equal(ring_map(fd, 4096, &header), -EINVAL);
	assert_int_equal(ring_map(fd, 16, &header), 0);
	assert_int_equal(header->entries, 16);
	assert_int_equal(header->flags, UIOMMU_QUEUE_SHARED);
	header->magic = 0;
	ring_unmap(header, 16);
	assert_int_equal(ring_map(fd, 16, &header), -EINVAL);
	close(fd);
	plain = memfd_create("plain", MFD_CLOEXEC);
	assert_int_equal(ftruncate(plain, (off_t)ring_size(16)), 0);
	assert_int_equal(ring_map(plain, 16, &header), -EINVAL);
	close(plain);
}

static void is_not_inherited(void **state)
{
	struct ring_header *header = ring_create(2, 0);
	int status;
	pid_t pid;

	(void)state;
	assert_non_null(header);
	pid = fork();
	if (!pid) {
		unsigned char resident;

		_exit(mincore(header, RING_HEADER_SIZE, &resident) ? errno : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), ENOMEM);
	ring_unmap(header, 2);
}

enum { TRANSFERS = 200000 };

static void *transfer(void *opaque)
{
	struct ring_submitter *submitter = opaque;

	for (uint64_t i = 0; i < TRANSFERS; i++) {
		struct uiommu_accel_desc desc = numbered(i);

		while (ring_submit(submitter, &desc) == -EAGAIN)
			;
	}
	return NULL;
}

static void threads_see_everything_in_order(void **state)
{
	struct ends ends;
	pthread_t thread;
	uint64_t next = 0;

	(void)state;
	ends_open(&ends, 16);
	assert_int_equal(pthread_create(&thread, NULL, transfer, &ends.submitter), 0);
	while (next < TRANSFERS) {
		uint32_t count = 0;

		for (; count < 16 && ring_ready(&ends.engine, count); count++) {
			struct uiommu_accel_desc desc;

			ring_copy(&ends.engine, count, &desc);
			if (desc.source != next || desc.handles != ~next)
				fail_msg("descriptor %llu in the place of %llu", (unsigned long long)desc.source,
					 (unsigned long long)next);
			next++;
		}
		if (count)
			ring_release(&ends.engine, count);
	}
	pthread_join(thread, NULL);
	ends_close(&ends);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_are_powers_of_two),
		cmocka_unit_test(fills_and_empties),
		cmocka_unit_test(positions_wrap),
		cmocka_unit_test(tags_tell_laps_apart),
		cmocka_unit_test(reserved_field_is_not_lost),
		cmocka_unit_test(submitter_does_not_believe_the_head),
		cmocka_unit_test(wakes_once_when_armed),
		cmocka_unit_test(new_ring_asks_for_a_wakeup),
		cmocka_unit_test(ends),
		cmocka_unit_test(error_is_the_first),
		cmocka_unit_test(memfd_is_sealed_and_checked),
		cmocka_unit_test(is_not_inherited),
		cmocka_unit_test(threads_see_everything_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

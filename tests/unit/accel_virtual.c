/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One accelerator, two guests: each has a virtual device of it as a PCI function, behind a VT-d and RAM of its own, and uses the
 * same PASIDs, pages and addresses as the other one.
 */
#include "accel_pci_rig.h"

#include <sched.h>
#include <uiommu/mdev.h>

enum { GUESTS = 2, QUOTA = 8, ROUNDS = 200 };

/* Of a guest, while it is not its turn (sit()), and what is called for it at any time. */
static struct seat {
	struct guest g;
	struct rig r;
	struct driver a;
	uint32_t device_id, set_id;
	struct uiommu_pasid_set *set;
	struct pci_transport transport;
	unsigned int vectors[VECTORS]; /* atomic */
	unsigned int messages; /* of the VT-d; atomic */
} seats[GUESTS], *now;

static struct uiommu_context *context;
static struct uiommu_accel *engine;
static uint32_t parent_id;

/* Whoever drives his guest from here on. */
static void sit(unsigned int i)
{
	if (now) {
		now->g = g;
		now->r = r;
		now->a = a;
	}
	now = &seats[i];
	g = now->g;
	r = now->r;
	a = now->a;
}

static uint32_t host_pasid(void *opaque, uint32_t device_id, uint32_t pasid)
{
	const struct seat *seat = opaque;

	assert_int_equal(device_id, seat->device_id);
	return uiommu_vpasid_find(seat->set, pasid);
}

static uint32_t guest_pasid(void *opaque, uint32_t device_id, uint32_t pasid)
{
	const struct seat *seat = opaque;

	assert_int_equal(device_id, seat->device_id);
	return uiommu_vpasid_of(seat->set, pasid);
}

static void on_message(void *opaque, uint64_t address, uint32_t data)
{
	struct seat *seat = opaque;

	(void)address;
	(void)data;
	__atomic_add_fetch(&seat->messages, 1, __ATOMIC_SEQ_CST);
}

static bool on_vector(struct pci_transport *transport, enum pci_interrupt kind, unsigned int vector)
{
	struct seat *seat = (struct seat *)(void *)((char *)transport - offsetof(struct seat, transport));

	assert_int_equal(kind, PCI_MSIX);
	__atomic_add_fetch(&seat->vectors[vector], 1, __ATOMIC_SEQ_CST);
	return true;
}

static unsigned int vectors_of(const struct seat *seat, unsigned int vector)
{
	return __atomic_load_n(&seat->vectors[vector], __ATOMIC_SEQ_CST);
}

static void make_seat(unsigned int i)
{
	const char *const names[GUESTS] = {"virtual0", "virtual1"};
	const struct uiommu_device_config device = {
		.size = sizeof(device), .rid = (i + 1) << 16 | SOURCE_ID, .name = names[i], .pasid_bits = 20};
	const struct uiommu_pasid_set_alloc set = {.size = sizeof(set), .quota = QUOTA};
	struct uiommu_accel_pci_config config = {.size = sizeof(config), .accel = engine};
	struct uiommu_vtd_config vtd = {.host_pasid = host_pasid, .guest_pasid = guest_pasid, .interrupt = on_message};

	sit(i);
	*now = (struct seat){
		.transport = {.intx = take_switch, .interrupt = on_vector, .message = take_message, .master = take_switch}};
	guest_make_in(context, &device, 0, 0, 0);
	now->device_id = g.device_id;
	assert_int_equal(uiommu_pasid_set_alloc(context, &set, &now->set_id), 0);
	now->set = uiommu_pasid_set_get(context, now->set_id);
	vtd.opaque = now;
	vtd_make_for(&vtd);
	a = (struct driver){.handled = 0};
	config.set_id = now->set_id;
	assert_int_equal(uiommu_accel_pci_create(context, g.device_id, &config, &a.function), 0);
	a.pci = uiommu_accel_pci_function(a.function);
	assert_int_equal(pci_connect(a.pci, &now->transport), 0);
	make_tables();
	enable_function();
}

/* At any moment, and nothing is left of it. */
static void end_seat(unsigned int i)
{
	sit(i);
	if (!a.function)
		return;
	pci_connect(a.pci, NULL);
	assert_int_equal(uiommu_accel_pci_destroy(a.function), 0);
	assert_int_equal(uiommu_vtd_destroy(r.vtd), 0);
	uiommu_pasid_set_put(now->set);
	assert_int_equal(uiommu_pasid_free_all(context, now->set_id), 0);
	assert_int_equal(uiommu_destroy(context, now->set_id), 0);
	uiommu_device_put(g.device);
	assert_int_equal(uiommu_destroy(context, g.device_id), 0);
	assert_int_equal(uiommu_destroy(context, g.parent), 0);
	assert_int_equal(uiommu_destroy(context, g.queue), 0);
	assert_int_equal(uiommu_destroy(context, g.ioas), 0);
	assert_int_equal(uiommu_destroy(context, g.ram), 0);
	guest_unmap();
	a.function = NULL;
}

static int parent_setup(void **state)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .rid = 1, .name = "parent", .pasid_bits = 20};

	(void)state;
	now = NULL;
	assert_int_equal(uiommu_open(NULL, &context), 0);
	assert_int_equal(uiommu_device_alloc(context, &config, &parent_id), 0);
	assert_int_equal(uiommu_accel_create(context, parent_id, &engine), 0);
	for (unsigned int i = 0; i < GUESTS; i++)
		make_seat(i);
	return 0;
}

static int parent_teardown(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < GUESTS; i++)
		end_seat(i);
	uiommu_accel_destroy(engine);
	assert_int_equal(uiommu_destroy(context, parent_id), 0);
	assert_int_equal(uiommu_close(context), 0);
	return 0;
}

/* The same process in both, with other contents. */
static struct process process_of(unsigned int i, uint32_t pasid, uint32_t page)
{
	struct process process;

	sit(i);
	process = process_make(pasid, page);
	memset(at(process.memory[SOURCE]), (int)(0x10 * (i + 1) + pasid), PAGE);
	return process;
}

static bool untouched(const struct process *process)
{
	const uint8_t *bytes = at(process->memory[DESTINATION]);

	return !bytes[0] && !memcmp(bytes, bytes + 1, PAGE - 1);
}

/* --- tests --- */

static void the_same_numbers(void **state)
{
	struct process x = process_of(0, PASID_A, 0), y = process_of(1, PASID_A, 0), z = process_of(1, PASID_B, 1);
	uint32_t numbers[] = {uiommu_vpasid_find(seats[0].set, PASID_A), uiommu_vpasid_find(seats[1].set, PASID_A),
			      uiommu_vpasid_find(seats[1].set, PASID_B)};

	(void)state;
	assert_true(numbers[0] != numbers[1] && numbers[1] != numbers[2] && numbers[0] != numbers[2]);
	assert_int_equal(uiommu_vpasid_of(seats[1].set, numbers[2]), PASID_B);
	assert_int_equal(uiommu_vpasid_of(seats[0].set, numbers[2]), UIOMMU_NO_PASID);
	assert_int_equal(uiommu_vpasid_of(seats[0].set, UIOMMU_NO_PASID), UIOMMU_NO_PASID);
	sit(0);
	submit(&x, 0, UIOMMU_ACCEL_REQUEST_INTERRUPT);
	check_moved(&x, 0);
	sit(1);
	assert_true(untouched(&y) && untouched(&z));
	assert_int_equal(vectors_of(&seats[0], 0), 1);
	assert_int_equal(vectors_of(&seats[1], 0), 0);
	submit(&y, 1, 0);
	check_moved(&y, 1);
	submit(&z, 2, UIOMMU_ACCEL_REQUEST_INTERRUPT);
	check_moved(&z, 2);
	assert_false(moved(&z, 1));
	assert_int_equal(vectors_of(&seats[1], 1), 1);
	assert_int_equal(vectors_of(&seats[0], 1), 0);
	/* The number that it had is its own as long as it lives. */
	page_command(1, ABORT);
	z = process_of(1, PASID_B, 3);
	submit(&z, 3, 0);
	check_moved(&z, 3);
	assert_int_equal(uiommu_vpasid_find(seats[1].set, PASID_B), numbers[2]);
}

/* What the engine calls a process of the other one is here a number like any other, and stands for nothing. */
static void guessed_numbers(void **state)
{
	struct process x = process_of(0, PASID_A, 0), y = process_of(1, PASID_A, 0);
	uint32_t number = uiommu_vpasid_find(seats[1].set, PASID_A);

	(void)state;
	sit(0);
	assert_in_range(number, 1, 63);
	assert_int_not_equal(number, PASID_A);
	*pasid_entry_of(number) = 0;
	invalidate(D_PASID_CACHE(1, DOMAIN, number), 0);
	/* Without ATS the IOMMU tells. */
	config_set(place(UIOMMU_PCI_PRI) + PCI_PRI_CONTROL, 2, 0);
	config_set(place(UIOMMU_PCI_ATS) + PCI_ATS_CONTROL, 2, 0);
	configure(5, va(RING, 0), ENTRIES_LG2, UINT32_C(1) << 31 | number, 0);
	page_command(5, ENABLE);
	assert_int_equal(state_of(5), ENABLED);
	set(2, 5 * PAGE, 8, 1);
	poll_engine();
	assert_int_equal(state_of(5), ENABLED | HALTED);
	check_record(0, va(RING, 0), number, true, 0x59);
	submit(&x, 0, 0);
	check_moved(&x, 0);
	sit(1);
	assert_int_equal(read32(R_FSTS), 0);
	assert_int_equal(seats[1].messages, 0);
	assert_true(untouched(&y));
	submit(&y, 0, 0);
	check_moved(&y, 0);
}

/* Page requests of the same process at the same address: each has its own, and nobody answers another's. */
static void page_requests(void **state)
{
	struct process of[GUESTS];

	(void)state;
	for (unsigned int i = 0; i < GUESTS; i++) {
		of[i] = process_of(i, PASID_A, 0);
		*leaf(&of[i], SOURCE) = 0;
		flush(&of[i]);
	}
	sit(0);
	submit(&of[0], 0, BLOCK);
	assert_int_equal(asked(), 1);
	sit(1);
	assert_int_equal(asked(), 0);
	/* An answer to what it has not asked. */
	invalidate(9 | 1 << 4 | (uint64_t)SOURCE_ID << 16 | (uint64_t)PASID_A << 32, 0);
	poll_engine();
	submit(&of[1], 1, BLOCK);
	assert_int_equal(asked(), 1);
	map(&of[1], SOURCE);
	answer(PASID_A, va(SOURCE, 0), false, 0);
	check_moved(&of[1], 1);
	/* The last one that it may send: the other one may go on. */
	*leaf(&of[1], SOURCE) = 0;
	flush(&of[1]);
	submit(&of[1], 2, BLOCK);
	answer(PASID_A, va(SOURCE, 0), false, 15);
	assert_int_equal(status(&of[1], 2), UIOMMU_ACCEL_PAGE_FAULT_INVALID);
	sit(0);
	assert_int_equal(status(&of[0], 0), 0);
	map(&of[0], SOURCE);
	answer(PASID_A, va(SOURCE, 0), false, 0);
	check_moved(&of[0], 0);
	*leaf(&of[0], SOURCE) = 0;
	flush(&of[0]);
	submit(&of[0], 3, BLOCK);
	assert_int_equal(asked(), 1);
	map(&of[0], SOURCE);
	answer(PASID_A, va(SOURCE, 0), false, 0);
	check_moved(&of[0], 3);
}

/* A process that fills a page and a half, again and again, of which the engine moves no more than one at a time. */
static void fill(struct process *process, unsigned int i)
{
	struct uiommu_accel_desc desc = {
		.flags_opcode = UIOMMU_ACCEL_FILL << 24 | RECORD,
		.completion_address = va(RECORDS, i * 32),
		.source = 0x4242424242424242,
		.destination = va(DESTINATION, 0),
		.transfer_size = PAGE,
	};

	put(process, &desc);
	doorbell(process, process->tail);
}

static unsigned int taken(const struct process *process)
{
	return (unsigned int)get(2, process->page * PAGE + 8, 8);
}

/* One that has seven busy pages gets no more of the engine than one that has one. */
static void turns(void **state)
{
	enum { BUSY = 7, EACH = 4 };
	struct process many[BUSY], one = process_of(1, PASID_A, 0);
	unsigned int total = 0;

	(void)state;
	for (uint32_t i = 0; i < BUSY; i++)
		many[i] = process_of(0, i + 1, i);
	for (unsigned int i = 0; i < BUSY; i++)
		for (unsigned int k = 0; k < EACH; k++)
			fill(&many[i], k);
	sit(1);
	for (unsigned int k = 0; k < EACH; k++)
		fill(&one, k);
	for (unsigned int turn = 0; turn < (EACH - 1) * 4; turn++)
		assert_int_equal(uiommu_accel_poll(engine, 1), 1);
	/* To take one and to do it is a turn each. */
	assert_true(taken(&one) >= EACH - 1);
	sit(0);
	for (unsigned int i = 0; i < BUSY; i++)
		total += taken(&many[i]);
	assert_in_range(total, 1, (EACH - 1) * 4 / 2 + 1);
	poll_engine();
	for (unsigned int i = 0; i < BUSY; i++)
		for (unsigned int k = 0; k < EACH; k++)
			assert_int_equal(status(&many[i], k), UIOMMU_ACCEL_SUCCESS);
}

/* In the middle of work of both: of one that is reset nothing is done any more, the other one is as before. */
static void reset_of_one(void **state)
{
	struct process of[GUESTS];

	(void)state;
	of[0] = process_of(0, PASID_A, 0);
	of[1] = process_of(1, PASID_A, 0);
	for (unsigned int i = GUESTS; i--;) {
		sit(i);
		*leaf(&of[i], SOURCE) = 0;
		flush(&of[i]);
		submit(&of[i], 0, BLOCK);
		fill(&of[i], 1);
	}
	config_set(place(UIOMMU_PCI_EXPRESS) + PCI_EXP_CONTROL, 2, PCI_EXP_CONTROL_FLR);
	enable_function();
	assert_int_equal(get(0, 0x14, 4), 1);
	poll_engine();
	assert_int_equal(get(0, 0x14, 4), 0);
	assert_int_equal(status(&of[0], 0) | status(&of[0], 1), 0);
	assert_true(untouched(&of[0]));
	assert_int_equal(uiommu_vtd_reset(r.vtd), 0);
	sit(1);
	assert_int_equal(state_of(0), ENABLED);
	assert_int_equal(status(&of[1], 1), UIOMMU_ACCEL_SUCCESS);
	map(&of[1], SOURCE);
	answer(PASID_A, va(SOURCE, 0), false, 0);
	check_moved(&of[1], 0);
	/* And it begins anew. */
	sit(0);
	make_tables();
	a.handled = 0;
	enable_function();
	of[0] = process_of(0, PASID_A, 0);
	submit(&of[0], 2, 0);
	check_moved(&of[0], 2);
}

/* One is gone in the middle of everything; another one comes in its place. */
static void end_of_one(void **state)
{
	struct process of[GUESTS];

	(void)state;
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < GUESTS; i++) {
			of[i] = process_of(i, PASID_A, round);
			*leaf(&of[i], SOURCE) = 0;
			flush(&of[i]);
			submit(&of[i], 0, BLOCK);
			fill(&of[i], 1);
		}
		sit(0);
		if (round == 1)
			page_command(round, ABORT); /* which waits for an answer */
		end_seat(0);
		sit(1);
		poll_engine();
		assert_int_equal(status(&of[1], 1), UIOMMU_ACCEL_SUCCESS);
		assert_int_equal(status(&of[1], 0), 0);
		map(&of[1], SOURCE);
		answer(PASID_A, va(SOURCE, 0), false, 0);
		check_moved(&of[1], 0);
		page_command(round, ABORT);
		make_seat(0);
	}
}

/* A guest has so many numbers, and no other one misses them. */
static void quota(void **state)
{
	struct process x;

	(void)state;
	sit(0);
	for (uint32_t pasid = 1; pasid <= QUOTA + 1; pasid++) {
		configure(0, va(RING, 0), ENTRIES_LG2, UINT32_C(1) << 31 | pasid, 0);
		page_command(0, ENABLE);
		assert_int_equal(state_of(0), pasid <= QUOTA ? ENABLED : 5 << 8);
		page_command(0, ABORT);
		assert_int_equal(state_of(0) & 0xff, DISABLED);
	}
	x = process_of(0, QUOTA, 0);
	submit(&x, 0, 0);
	check_moved(&x, 0);
	x = process_of(1, QUOTA + 1, 0);
	submit(&x, 0, 0);
	check_moved(&x, 0);
}

/* The maker's own queues have their turns besides. */
static void the_parents_own(void **state)
{
	struct uiommu_queue_config config = {.size = sizeof(config), .entries = 4, .pasid = 40};
	struct uiommu_accel_record record = {0};
	struct uiommu_accel_desc desc = {
		.flags_opcode = UIOMMU_ACCEL_FILL << 24 | RECORD,
		.source = 7,
		.transfer_size = 8,
	};
	struct process x = process_of(0, PASID_A, 0);
	struct uiommu_queue *queue;

	(void)state;
	sit(0);
	assert_int_equal(uiommu_attach(context, parent_id, 40, g.ioas), 0);
	assert_int_equal(uiommu_accel_queue(engine, &config, &queue), 0);
	desc.destination = x.memory[DESTINATION];
	desc.completion_address = x.memory[RECORDS];
	assert_int_equal(uiommu_queue_submit(queue, &desc), 0);
	submit(&x, 1, 0);
	check_moved(&x, 1);
	memcpy(&record, at(x.memory[RECORDS]), sizeof(record));
	assert_int_equal(record.status, UIOMMU_ACCEL_SUCCESS);
	assert_int_equal(*entry_at(x.memory[DESTINATION]), 7);
	uiommu_queue_destroy(queue);
	assert_int_equal(uiommu_detach(context, parent_id, 40), 0);
}

/* With the engine's own thread. One goes on and checks all it gets; the other one is reset, ended and begun again in mid-DMA. */
static void with_a_thread(void **state)
{
	struct process x, y = process_of(1, PASID_A, 0);

	(void)state;
	assert_int_equal(uiommu_accel_start(engine, 0), 0);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		sit(0);
		if (round % 8 == 0) {
			end_seat(0);
			make_seat(0);
			x = (struct process){.pasid = PASID_A, .root = page_new()};
			for (unsigned int i = 0; i < PROCESS_PAGES; i++) {
				x.memory[i] = page_new();
				map(&x, i);
			}
			pasid_first(PASID_A, x.root);
			invalidate(D_PASID_CACHE(1, DOMAIN, PASID_A), 0);
		} else if (round % 8 == 4) {
			config_set(place(UIOMMU_PCI_EXPRESS) + PCI_EXP_CONTROL, 2, PCI_EXP_CONTROL_FLR);
			enable_function();
		}
		while (get(0, 0x14, 4))
			sched_yield();
		configure(0, va(RING, 0), ENTRIES_LG2, UINT32_C(1) << 31 | PASID_A, 0);
		set(0, of_page(0, 0), 4, ENABLE);
		x.tail = (uint32_t)get(2, 0, 8);
		fill(&x, 0);
		fill(&x, 1);
		sit(1);
		for (unsigned int i = 0; i < 4; i++) {
			struct uiommu_accel_desc desc = move(i, 0);

			memset(record(&y, i), 0, 32);
			memset(at(y.memory[SOURCE]) + i * 16, (int)(round + i), 16);
			put(&y, &desc);
		}
		doorbell(&y, y.tail);
		for (unsigned int i = 0; i < 4; i++) {
			while (!status(&y, i))
				sched_yield();
			check_moved(&y, i);
		}
	}
	check_error(&y, 0, 0, 0);
	assert_int_equal(read32(R_FSTS), 0);
}

static void arguments(void **state)
{
	struct uiommu_accel_pci_config config = {.size = sizeof(config), .accel = engine};
	struct uiommu_accel_pci *function;

	(void)state;
	assert_int_equal(uiommu_accel_pci_create(context, parent_id, &config, &function), -EINVAL);
	config.set_id = seats[0].set_id;
	config.spin_us = 1;
	assert_int_equal(uiommu_accel_pci_create(context, parent_id, &config, &function), -EINVAL);
	config.spin_us = 0;
	config.flags = UIOMMU_ACCEL_PCI_POLLED;
	assert_int_equal(uiommu_accel_pci_create(context, parent_id, &config, &function), -EOPNOTSUPP);
	config.flags = 0;
	config.set_id = parent_id;
	assert_int_equal(uiommu_accel_pci_create(context, parent_id, &config, &function), -ENOENT);
	config.set_id = seats[0].set_id;
	assert_int_equal(uiommu_accel_pci_create(context, 1000, &config, &function), -ENOENT);
	config.accel = NULL;
	assert_int_equal(uiommu_accel_pci_create(context, parent_id, &config, &function), -EINVAL);
}

#define PARENT_TEST(test) cmocka_unit_test_setup_teardown(test, parent_setup, parent_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PARENT_TEST(the_same_numbers),
		PARENT_TEST(guessed_numbers),
		PARENT_TEST(page_requests),
		PARENT_TEST(turns),
		PARENT_TEST(reset_of_one),
		PARENT_TEST(end_of_one),
		PARENT_TEST(quota),
		PARENT_TEST(the_parents_own),
		PARENT_TEST(with_a_thread),
		PARENT_TEST(arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

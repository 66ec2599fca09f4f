/* SPDX-License-Identifier: BSD-3-Clause */
/* The NVMe controller with its engine's thread: sleep and wake, registers that a program has mapped, and ends in the middle. */
#include "nvme_rig.h"

static struct rig rig;
static char path[] = "/tmp/uiommu-nvme-XXXXXX";

static pthread_mutex_t right = PTHREAD_MUTEX_INITIALIZER; /* to write: what page tables are otherwise */
static bool protected; /* under it */

static bool watch(struct pci_transport *transport)
{
	pthread_mutex_lock(&right);
	protected = true;
	pthread_mutex_unlock(&right);
	return rig_watch(transport);
}

static void open_threaded(const char *options, bool mapped)
{
	rig_open(&rig, options);
	rig.threaded = true;
	rig.mapped = mapped;
	rig.transport.watch = mapped ? watch : NULL;
	rig_msix(&rig, true);
	assert_int_equal(nvme_start(rig.nvme), 0);
}

static void open_file_threaded(void)
{
	char options[100];

	snprintf(options, sizeof(options), "file=%s,size=2M", path);
	open_threaded(options, false);
}

/* Commands that come while it is awake, while it falls asleep, and while it sleeps. */
static void sleeps_and_wakes(void **state)
{
	uint64_t data;

	(void)state;
	open_threaded("size=2M", false);
	rig_enable(&rig);
	rig_pair(&rig, 1, 16);
	data = rig_pages(&rig, 2);
	for (unsigned int i = 0; i < scaled(300); i++) {
		rig_fill(&rig, data, PAGE, i);
		assert_int_equal(rig_io(&rig, rig_rw(NVME_WRITE, i % 64 * 8, 8, data, 0)), NVME_SUCCESS);
		/* Mostly it sleeps by then. */
		while (i % 3 && !__atomic_load_n(&rig.nvme->asleep, __ATOMIC_ACQUIRE))
			sched_yield();
		assert_int_equal(rig_io(&rig, rig_rw(NVME_READ, i % 64 * 8, 8, data + PAGE, 0)), NVME_SUCCESS);
		rig_expect(&rig, data + PAGE, PAGE, i);
	}
	rig_close(&rig);
}

static bool outstanding; /* atomic */
static unsigned int late; /* atomic */

static void count_late(struct pci_transport *transport, bool asserted)
{
	(void)transport;
	if (asserted && !__atomic_load_n(&outstanding, __ATOMIC_ACQUIRE))
		__atomic_fetch_add(&late, 1, __ATOMIC_RELAXED);
}

/* By who does not wait for the pin, and has no reason for another access when all is taken. */
static void the_pin_is_not_raised_for_what_is_taken(void **state)
{
	struct nvme_completion completion;

	(void)state;
	open_threaded("size=2M", false);
	rig_msix(&rig, false);
	rig.transport.intx = count_late;
	rig_enable(&rig);
	for (unsigned int i = 0; i < scaled(20000); i++) {
		__atomic_store_n(&outstanding, true, __ATOMIC_RELEASE);
		rig_queue(&rig, 0, (struct nvme_command){.opcode = NVME_ADMIN_ABORT});
		rig_ring(&rig, 0);
		while (!rig_peek(&rig, 0, &completion))
			;
		rig_take(&rig, 0);
		__atomic_store_n(&outstanding, false, __ATOMIC_RELEASE);
	}
	assert_int_equal(late, 0);
	rig_close(&rig);
}

/* --- a program that has the registers mapped --- */

static void store(unsigned int offset, uint32_t value)
{
	pthread_mutex_lock(&right);
	while (protected) {
		protected = false;
		pthread_mutex_unlock(&right);
		pci_touched(rig.nvme->pci);
		pthread_mutex_lock(&right);
	}
	__atomic_store_n((uint32_t *)uiommu_pci_memory(rig.nvme->pci, 0) + offset / 4, value, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&right);
}

static uint32_t load(unsigned int offset)
{
	return __atomic_load_n((uint32_t *)uiommu_pci_memory(rig.nvme->pci, 0) + offset / 4, __ATOMIC_ACQUIRE);
}

static bool is_protected(void)
{
	bool is;

	pthread_mutex_lock(&right);
	is = protected;
	pthread_mutex_unlock(&right);
	return is;
}

static void store64(unsigned int offset, uint64_t value)
{
	store(offset, (uint32_t)value);
	store(offset + 4, (uint32_t)(value >> 32));
}

static struct nvme_completion mapped_wait(unsigned int queue)
{
	struct driver_queue *q = &rig.queues[queue];
	struct nvme_completion completion;

	while (!rig_peek(&rig, queue, &completion))
		sched_yield();
	if (++q->head == q->entries) {
		q->head = 0;
		q->phase = !q->phase;
	}
	store(nvme_head_doorbell(queue), q->head);
	return completion;
}

static unsigned int mapped_command(unsigned int queue, struct nvme_command command)
{
	rig_queue(&rig, queue, command);
	store(nvme_tail_doorbell(queue), rig.queues[queue].tail);
	return mapped_wait(queue).status >> 1;
}

static void mapped_enable(void)
{
	driver_queue_make(&rig, 0, ENTRIES);
	store(NVME_AQA, (ENTRIES - 1) | (ENTRIES - 1) << 16);
	store64(NVME_ASQ, rig.queues[0].sq);
	store64(NVME_ACQ, rig.queues[0].cq);
	store(NVME_CC, rig_cc);
	while (load(NVME_CSTS) != NVME_CSTS_RDY)
		sched_yield();
}

static void registers_that_a_program_maps(void **state)
{
	uint64_t data;

	(void)state;
	open_threaded("size=2M", true);
	mapped_enable();
	driver_queue_make(&rig, 1, 16);
	assert_int_equal(mapped_command(0, rig_create_cq(&rig, 1, 1)), NVME_SUCCESS);
	assert_int_equal(mapped_command(0, rig_create_sq(&rig, 1)), NVME_SUCCESS);
	data = rig_pages(&rig, 2);
	for (unsigned int i = 0; i < scaled(300); i++) {
		rig_fill(&rig, data, PAGE, i);
		assert_int_equal(mapped_command(1, rig_rw(NVME_WRITE, i % 64 * 8, 8, data, 0)), NVME_SUCCESS);
		while (i % 3 && !is_protected())
			sched_yield();
		assert_int_equal(mapped_command(1, rig_rw(NVME_READ, i % 64 * 8, 8, data + PAGE, 0)), NVME_SUCCESS);
		rig_expect(&rig, data + PAGE, PAGE, i);
	}
	assert_true(rig.watches > 0);
	/* Registers of which a bit is written. */
	store(NVME_INTMS, 6);
	while (load(NVME_INTMC) != 6 && !is_protected())
		sched_yield();
	store(NVME_CC, 0);
	while (load(NVME_CSTS))
		sched_yield();
	mapped_enable();
	rig_close(&rig);
}

/* --- ends --- */

static void submit_many(unsigned int count)
{
	uint64_t data = RAM + RAM_BYTES / 2;

	for (unsigned int i = 0; i < count; i++)
		rig_queue(&rig, 1, rig_rw(i % 2 ? NVME_WRITE : NVME_READ, i * 8, 8, data + i * UINT64_C(4096), 0));
	rig_ring(&rig, 1);
}

static void resets_in_the_middle(void **state)
{
	unsigned int control;

	(void)state;
	open_file_threaded();
	control = rig.nvme->pci->place[UIOMMU_PCI_EXPRESS] + PCI_EXP_CONTROL;
	for (unsigned int round = 0; round < scaled(60); round++) {
		rig.next_page = RAM;
		rig_enable(&rig);
		rig_pair(&rig, 1, 32);
		submit_many(31);
		if (round % 4)
			rig_wait(&rig, 1);
		switch (round % 3) {
		case 0:
			rig_disable(&rig);
			break;
		case 1:
			rig_config(&rig, control, 2, PCI_EXP_CONTROL_FLR);
			rig_master_on(&rig);
			rig_msix(&rig, true);
			break;
		default:
			/* No DMA, in the middle of all. */
			rig_config(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
			rig_master_on(&rig);
			rig_disable(&rig);
			break;
		}
	}
	rig_enable(&rig);
	rig_pair(&rig, 1, 32);
	assert_int_equal(rig_io(&rig, rig_rw(NVME_FLUSH, 0, 1, 0, 0)), NVME_SUCCESS);
	rig_close(&rig);
}

static void destroyed_in_the_middle(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < scaled(20); round++) {
		open_file_threaded();
		rig_enable(&rig);
		rig_pair(&rig, 1, 32);
		submit_many(31);
		if (round % 2)
			rig_wait(&rig, 1);
		rig_close(&rig);
	}
}

/* Memory of commands that are running goes, and comes back: each of them is done, or says that it was not. */
static void memory_that_goes(void **state)
{
	struct uiommu_ioas_map map = {.size = sizeof(map),
				      .flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
				      .source = UIOMMU_MAP_OWN,
				      .length = 32 * PAGE,
				      .iova = NOWHERE};
	unsigned int done = 0, failed = 0;

	(void)state;
	open_threaded("size=2M", false);
	rig_enable(&rig);
	rig_pair(&rig, 1, 32);
	map.ioas_id = rig.ioas;
	map.address = rig.ram + RAM_BYTES / 2;
	for (unsigned int round = 0; round < scaled(100); round++) {
		assert_int_equal(uiommu_ioas_map(rig.context, &map), 0);
		for (unsigned int i = 0; i < 31; i++)
			rig_queue(&rig, 1, rig_rw(NVME_READ, i * 8, 8, NOWHERE + i * UINT64_C(4096), 0));
		rig_ring(&rig, 1);
		if (round % 2)
			rig_wait(&rig, 1).status >> 1 ? failed++ : done++;
		assert_int_equal(uiommu_ioas_unmap(rig.context, rig.ioas, NOWHERE, map.length, NULL), 0);
		for (unsigned int i = round % 2; i < 31; i++) {
			unsigned int status = rig_wait(&rig, 1).status >> 1;

			assert_true(status == NVME_SUCCESS || status == NVME_DATA_TRANSFER);
			status ? failed++ : done++;
		}
	}
	assert_int_equal(done + failed, 31 * scaled(100));
	assert_int_equal(rig_get(&rig, NVME_CSTS, 4), NVME_CSTS_RDY);
	rig_close(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sleeps_and_wakes),
		cmocka_unit_test(the_pin_is_not_raised_for_what_is_taken),
		cmocka_unit_test(registers_that_a_program_maps),
		cmocka_unit_test(resets_in_the_middle),
		cmocka_unit_test(destroyed_in_the_middle),
		cmocka_unit_test(memory_that_goes),
	};
	int fd = mkstemp(path), failed;

	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return failed;
}

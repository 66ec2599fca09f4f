/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port whose other side supplies the guest's memory when it is touched. That one is a double here: what it has for a page it puts
 * into the file when it is asked for a byte of it, if the test says so.
 */
#include "vfio_user_peer.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <uiommu/uiommu.h>

#include "iommu/object.h"
#include "traps.h"
#include "util/util.h"

enum { READERS = 4, PAGES = 8, TRIES = 4 };

/* A device's access, in a thread of its own. */
struct reader {
	pthread_t thread;
	uint64_t address;
	uint64_t value;
	struct uiommu_dma_result result;
	int error;
};

static struct {
	uint32_t demand_id;
	struct reader own; /* what the thread that serves has done, when a register was written */
	size_t page;
} rig;

static void *read_word(void *opaque)
{
	struct reader *reader = opaque;

	reader->error = uiommu_dma_read(uiommu_pci_device(peer.pci), UIOMMU_NO_PASID, reader->address, &reader->value,
					sizeof(reader->value), &reader->result);
	return NULL;
}

static void start_reader(struct reader *reader, uint64_t address)
{
	*reader = (struct reader){.address = address};
	assert_int_equal(pthread_create(&reader->thread, NULL, read_word, reader), 0);
}

static void model_write(void *opaque, unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	(void)opaque;
	(void)bar;
	(void)offset;
	(void)size;
	rig.own = (struct reader){.address = value};
	read_word(&rig.own);
}

static const struct uiommu_pci_ops ops = {.write = model_write};

static struct uiommu_demand_stats stats(void)
{
	struct uiommu_demand_stats now = {.size = sizeof(now)};

	assert_int_equal(uiommu_demand_stats(peer.context, rig.demand_id, &now), 0);
	return now;
}

/* Until so many accesses have waited. */
static void until_waited(uint64_t accesses)
{
	while (stats().accesses < accesses)
		sched_yield();
}

/* --- the other side --- */

/* It asks for a byte at @address. */
static struct vfu_header hear_request(uint64_t address)
{
	struct vfu_dma_access access;
	struct vfu_header header;
	uint8_t payload[512];

	peer_hear(peer.fd, &header, payload);
	memcpy(&access, payload, sizeof(access));
	assert_int_equal(header.command, VFU_DMA_READ);
	assert_int_equal(access.address, address);
	assert_int_equal(access.count, 1);
	return header;
}

static void reply(const struct vfu_header *request, uint64_t address, bool good)
{
	struct {
		struct vfu_dma_access access;
		uint8_t byte;
	} __attribute__((packed)) payload = {{address, 1}, 0};
	struct vfu_header header = {.id = request->id, .command = VFU_DMA_READ, .flags = VFU_TYPE_REPLY | (good ? 0 : VFU_ERROR)};

	if (!good)
		header.error = EFAULT;
	peer_say(peer.fd, header, &payload, good ? sizeof(payload) : 0, -1);
}

static uint64_t word_of(uint64_t address)
{
	return address / rig.page * 1000 + 1;
}

/* The page that @address is in gets into the file, as a whole. */
static void supply(uint64_t address)
{
	uint64_t words[512] = {0};

	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++)
		words[i] = word_of(address);
	for (size_t at = 0; at < rig.page; at += sizeof(words))
		assert_int_equal(pwrite(peer.memory, words, sizeof(words), (off_t)(address / rig.page * rig.page + at)),
				 sizeof(words));
}

static void connect_other_side(void)
{
	peer_meet();
	assert_int_equal(peer_map(0, PAGES * rig.page, peer.memory), 0);
	peer_start();
}

static void open_server(uint32_t without)
{
	struct uiommu_vfio_user_port port = {.flags = UIOMMU_VFIO_USER_ON_DEMAND};

	memset(&rig, 0, sizeof(rig));
	rig.page = page_size();
	peer_open(&ops, without, &port);
	assert_true(port.ioas_id && port.demand_id);
	rig.demand_id = port.demand_id;
	peer.memory = memfd_create("guest", MFD_CLOEXEC);
	assert_int_equal(ftruncate(peer.memory, (off_t)(PAGES * rig.page)), 0);
	peer_begin();
	connect_other_side();
}

static int setup(void **state)
{
	(void)state;
	open_server(0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	traps_on();
	close(peer.fd);
	peer_close();
	close(peer.memory);
	return 0;
}

static void ends_with(struct reader *reader, unsigned int reason)
{
	pthread_join(reader->thread, NULL);
	assert_int_equal(reader->error, -EFAULT);
	assert_int_equal(reader->result.fault.reason, reason);
}

/* --- tests --- */

static void a_page_is_asked_for_once(void **state)
{
	struct reader readers[READERS];
	uint64_t at = 3 * rig.page;
	struct vfu_header request;

	(void)state;
	traps_on();
	for (unsigned int i = 0; i < READERS; i++)
		start_reader(&readers[i], at + 64 * i);
	request = hear_request(at);
	until_waited(READERS);
	assert_int_equal(stats().waiting, 1);
	supply(at);
	reply(&request, at, true);
	for (unsigned int i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].error, 0);
		assert_int_equal(readers[i].value, word_of(at));
	}
	/* There is nothing to be asked for any more: the next thing that comes is a reply. */
	start_reader(&readers[0], at + 8);
	pthread_join(readers[0].thread, NULL);
	assert_int_equal(readers[0].value, word_of(at));
	assert_int_equal(peer_map(0, PAGES * rig.page, peer.memory), 0);
	assert_int_equal(stats().pages, 1);
	assert_int_equal(stats().accesses, READERS);
	assert_int_equal(stats().waiting + stats().failed, 0);
}

static void pages_come_one_after_the_other(void **state)
{
	struct reader readers[PAGES];
	bool asked[PAGES] = {false};

	(void)state;
	traps_on();
	for (unsigned int i = 0; i < PAGES; i++)
		start_reader(&readers[i], i * rig.page);
	for (unsigned int i = 0; i < PAGES; i++) {
		struct vfu_dma_access access;
		struct vfu_header request;
		uint8_t payload[512];

		peer_hear(peer.fd, &request, payload);
		memcpy(&access, payload, sizeof(access));
		assert_true(access.address < PAGES * rig.page && !asked[access.address / rig.page]);
		asked[access.address / rig.page] = true;
		supply(access.address);
		reply(&request, access.address, true);
	}
	for (unsigned int i = 0; i < PAGES; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].error, 0);
		assert_int_equal(readers[i].value, word_of(i * rig.page));
	}
	assert_int_equal(stats().pages, PAGES);
}

static void what_the_other_side_cannot_read_is_a_fault(void **state)
{
	struct vfu_header request;
	struct reader reader;

	(void)state;
	traps_on();
	start_reader(&reader, rig.page);
	request = hear_request(rig.page);
	reply(&request, rig.page, false);
	ends_with(&reader, UIOMMU_FAULT_MEMORY);
	assert_int_equal(stats().failed, 1);
}

/* It says that it has read it, but the file does not have it: its memory is not what it gave us. */
static void what_never_gets_there_is_a_fault(void **state)
{
	struct reader reader;

	(void)state;
	traps_on();
	start_reader(&reader, 0);
	for (unsigned int i = 0; i < TRIES; i++) {
		struct vfu_header request = hear_request(0);

		reply(&request, 0, true);
	}
	ends_with(&reader, UIOMMU_FAULT_MEMORY);
	assert_int_equal(peer_map(0, PAGES * rig.page, peer.memory), 0);
}

static void the_memory_goes_meanwhile(void **state)
{
	struct vfu_dma_unmap unmap = {sizeof(unmap), 0, 0, PAGES * rig.page};
	struct vfu_header request;
	struct reader reader;

	(void)state;
	traps_on();
	start_reader(&reader, 0);
	request = hear_request(0);
	assert_int_equal(peer_ask(VFU_DMA_UNMAP, &unmap, sizeof(unmap), -1), 0);
	ends_with(&reader, UIOMMU_FAULT_UNMAPPED);
	reply(&request, 0, true);
	/* And it comes again. */
	assert_int_equal(peer_map(0, PAGES * rig.page, peer.memory), 0);
	start_reader(&reader, 8);
	request = hear_request(0);
	supply(0);
	reply(&request, 0, true);
	pthread_join(reader.thread, NULL);
	assert_int_equal(reader.value, word_of(0));
}

static void the_function_is_reset_meanwhile(void **state)
{
	struct vfu_header header = {.id = ++peer.next_id, .command = VFU_RESET}, request, other;
	struct reader reader;
	uint8_t payload[512];

	(void)state;
	traps_on();
	start_reader(&reader, 0);
	request = hear_request(0);
	peer_say(peer.fd, header, NULL, 0, -1);
	pthread_join(reader.thread, NULL);
	assert_int_equal(reader.error, -EFAULT);
	/* The page may be asked for once more, before the reset is answered or after that. */
	peer_hear(peer.fd, &header, payload);
	if ((header.flags & VFU_TYPE) == VFU_TYPE_REPLY) {
		assert_int_equal(header.id, peer.next_id);
	} else {
		assert_int_equal(header.command, VFU_DMA_READ);
		peer_hear(peer.fd, &other, payload);
		assert_int_equal(other.id, peer.next_id);
	}
	supply(0);
	reply(&request, 0, true);
	if (header.command == VFU_DMA_READ)
		reply(&header, 0, true);
}

static void the_other_side_ends_meanwhile(void **state)
{
	struct reader readers[READERS];
	struct vfu_header request;

	(void)state;
	traps_on();
	for (unsigned int i = 0; i < READERS; i++)
		start_reader(&readers[i], i * rig.page);
	until_waited(READERS);
	close(peer.fd);
	for (unsigned int i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		assert_int_equal(readers[i].error, -EFAULT);
	}
	connect_other_side();
	start_reader(&readers[0], 5 * rig.page);
	request = hear_request(5 * rig.page);
	supply(5 * rig.page);
	reply(&request, 5 * rig.page, true);
	pthread_join(readers[0].thread, NULL);
	assert_int_equal(readers[0].value, word_of(5 * rig.page));
}

/* The other side waits for it. */
static void the_thread_that_serves_does_not_wait(void **state)
{
	(void)state;
	traps_on();
	assert_int_equal(peer_write(0, 0, (uint32_t)rig.page), 0);
	assert_int_equal(rig.own.error, -EFAULT);
	assert_int_equal(rig.own.result.fault.reason, UIOMMU_FAULT_MEMORY);
	supply(rig.page);
	assert_int_equal(peer_write(0, 0, (uint32_t)rig.page), 0);
	assert_int_equal(rig.own.error, 0);
	assert_int_equal(rig.own.value, word_of(rig.page));
	assert_int_equal(stats().pages, 0);
}

/* Then all accesses are messages. */
static void without_userfaultfd(void **state)
{
	struct {
		struct vfu_dma_access access;
		uint64_t word;
	} answer = {.access = {rig.page, 8}, .word = 77};
	struct vfu_header header;
	struct reader reader;
	uint8_t payload[512];

	(void)state;
	traps_on();
	start_reader(&reader, rig.page);
	peer_hear(peer.fd, &header, payload);
	assert_int_equal(header.command, VFU_DMA_READ);
	assert_memory_equal(payload, &answer.access, sizeof(answer.access));
	header.flags = VFU_TYPE_REPLY;
	peer_say(peer.fd, header, &answer, sizeof(answer), -1);
	pthread_join(reader.thread, NULL);
	assert_int_equal(reader.error, 0);
	assert_int_equal(reader.value, 77);
	assert_int_equal(stats().pages, 0);
}

static int setup_without(void **state)
{
	(void)state;
	open_server(UIOMMU_WITHOUT_USERFAULTFD);
	return 0;
}

static void bad_calls_are_refused(void **state)
{
	struct uiommu_vfio_user_port port = {
		.size = sizeof(port), .flags = UIOMMU_VFIO_USER_ON_DEMAND | UIOMMU_VFIO_USER_TRANSLATED, .pci = peer.pci};
	struct uiommu_demand_stats out = {.size = 8};

	(void)state;
	traps_on();
	assert_int_equal(uiommu_vfio_user_add(peer.server, &port), -EINVAL);
	assert_int_equal(uiommu_demand_stats(peer.context, rig.demand_id, &out), -EINVAL);
	out.size = sizeof(out);
	assert_int_equal(uiommu_demand_stats(peer.context, peer.device_id, &out), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_page_is_asked_for_once, setup, teardown),
		cmocka_unit_test_setup_teardown(pages_come_one_after_the_other, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_other_side_cannot_read_is_a_fault, setup, teardown),
		cmocka_unit_test_setup_teardown(what_never_gets_there_is_a_fault, setup, teardown),
		cmocka_unit_test_setup_teardown(the_memory_goes_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(the_function_is_reset_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(the_other_side_ends_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(the_thread_that_serves_does_not_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(without_userfaultfd, setup_without, teardown),
		cmocka_unit_test_setup_teardown(bad_calls_are_refused, setup, teardown),
	};

	if (traps_install())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The vfio-user server with its threads, in one process with the other side. What single messages do is tests/peers' business; this
 * is about what happens at the same time.
 */
#include "vfio_user_peer.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "iommu/object.h"
#include "util/util.h"
#include "vfio_user/remote.h"

enum { ENGINES = 3, GUEST_BYTES = 1 << 20, REMOTE = 1 << 24, REMOTE_BYTES = 1 << 16 };

/* The model: engines of its own read all the time; a register makes a drain in the thread that serves. */
struct engine {
	pthread_t thread;
	unsigned int good, faults; /* reads; atomic */
};

static struct {
	uint32_t ioas_id;
	struct engine engines[ENGINES];
	bool ends; /* atomic */
	unsigned int drains; /* atomic */
	unsigned int resets; /* atomic */
	unsigned int asked; /* requests for memory that it answered */
} rig;

static void model_write(void *opaque, unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	(void)opaque;
	(void)bar;
	(void)offset;
	(void)size;
	(void)value;
	assert_int_equal(uiommu_detach(peer.context, peer.device_id, UIOMMU_NO_PASID), 0);
	assert_int_equal(uiommu_attach(peer.context, peer.device_id, UIOMMU_NO_PASID, rig.ioas_id), 0);
	__atomic_fetch_add(&rig.drains, 1, __ATOMIC_RELAXED);
}

static void model_reset(void *opaque, enum uiommu_pci_reset_type type)
{
	(void)opaque;
	(void)type;
	__atomic_fetch_add(&rig.resets, 1, __ATOMIC_RELAXED);
}

static const struct uiommu_pci_ops ops = {.write = model_write, .reset = model_reset};

static void *engine(void *opaque)
{
	struct engine *self = opaque;
	uint8_t bytes[256];

	for (unsigned int i = 0; !__atomic_load_n(&rig.ends, __ATOMIC_RELAXED); i++) {
		uint64_t address = i % 4 ? i * 64 % GUEST_BYTES : REMOTE + i * 64 % REMOTE_BYTES;
		struct uiommu_dma_result result;

		if (uiommu_dma_read(uiommu_pci_device(peer.pci), UIOMMU_NO_PASID, address, bytes, 64, &result)) {
			__atomic_fetch_add(&self->faults, 1, __ATOMIC_RELAXED);
			continue;
		}
		for (unsigned int at = 0; at < 64; at++)
			assert_int_equal(bytes[at], (uint8_t)((address + at) / 64));
		__atomic_fetch_add(&self->good, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* --- the other side --- */

static void answer(const struct vfu_header *header, const uint8_t *payload)
{
	uint8_t reply[sizeof(struct vfu_dma_access) + 256];
	struct vfu_dma_access access;

	memcpy(&access, payload, sizeof(access));
	assert_int_equal(header->command, VFU_DMA_READ);
	assert_int_equal(access.count, 64);
	memcpy(reply, &access, sizeof(access));
	for (unsigned int i = 0; i < access.count; i++)
		reply[sizeof(access) + i] = (uint8_t)((access.address + i) / 64);
	peer_say(peer.fd, (struct vfu_header){.id = header->id, .command = VFU_DMA_READ, .flags = VFU_TYPE_REPLY}, reply,
		 sizeof(access) + access.count, -1);
	rig.asked++;
}

static void open_server(uint32_t flags, uint32_t spin_us)
{
	struct uiommu_vfio_user_port port = {.flags = flags};

	memset(&rig, 0, sizeof(rig));
	peer_open(&ops, 0, &port);
	peer.answer = answer;
	rig.ioas_id = port.ioas_id;
	uiommu_vfio_user_spin(peer.server, spin_us);
	peer_begin();
}

/* Nothing waits: answer what has come. */
static void serve_memory(unsigned int most)
{
	for (unsigned int i = 0; i < most; i++) {
		struct vfu_header header;
		uint8_t payload[512];

		peer_hear(peer.fd, &header, payload);
		answer(&header, payload);
	}
}

static bool all_have_read(void)
{
	for (unsigned int i = 0; i < ENGINES; i++)
		if (!__atomic_load_n(&rig.engines[i].good, __ATOMIC_RELAXED))
			return false;
	return true;
}

static uint32_t unmap(uint64_t address, uint64_t size)
{
	struct vfu_dma_unmap request = {sizeof(request), 0, address, size};

	return peer_ask(VFU_DMA_UNMAP, &request, sizeof(request), -1);
}

static void make_memory(void)
{
	uint8_t *bytes;

	peer.memory = memfd_create("guest", MFD_CLOEXEC);
	assert_int_equal(ftruncate(peer.memory, GUEST_BYTES), 0);
	bytes = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, peer.memory, 0);
	for (unsigned int i = 0; i < GUEST_BYTES; i++)
		bytes[i] = (uint8_t)(i / 64);
	munmap(bytes, GUEST_BYTES);
}

static void start_engines(void)
{
	for (unsigned int i = 0; i < ENGINES; i++)
		assert_int_equal(pthread_create(&rig.engines[i].thread, NULL, engine, &rig.engines[i]), 0);
}

/* Nothing is mapped any more: whoever has met no hole so far does now. How often they have read. */
static unsigned int end_engines(void)
{
	unsigned int total = 0;

	for (unsigned int i = 0; i < ENGINES; i++)
		while (!__atomic_load_n(&rig.engines[i].faults, __ATOMIC_RELAXED))
			sched_yield();
	__atomic_store_n(&rig.ends, true, __ATOMIC_RELAXED);
	close(peer.fd);
	for (unsigned int i = 0; i < ENGINES; i++) {
		pthread_join(rig.engines[i].thread, NULL);
		total += rig.engines[i].good + rig.engines[i].faults;
	}
	return total;
}

/*
 * Engines read memory here and there, and the other side unmaps, drains and resets beneath them, answering nobody while it waits.
 * Nobody waits for ever, and nobody reads anything else than what is at the address.
 */
static void engines_against(uint32_t spin_us)
{
	unsigned int rounds = scaled(60), total;

	open_server(0, spin_us);
	make_memory();
	peer_meet();
	assert_int_equal(peer_write(VFU_REGION_CONFIG, 0x10, 0xe0000000), 0);
	start_engines();
	for (unsigned int round = 0; round < rounds; round++) {
		assert_int_equal(peer_write(VFU_REGION_CONFIG, 4, 6), 0);
		assert_int_equal(peer_map(0, GUEST_BYTES, peer.memory), 0);
		assert_int_equal(peer_map(REMOTE, REMOTE_BYTES, -1), 0);
		serve_memory(4 * ENGINES);
		/* Everybody has been there: the others go on to ask while one does not get to it. */
		while (!all_have_read())
			serve_memory(1);
		assert_int_equal(peer_write(0, 0, 1), 0);
		serve_memory(ENGINES);
		if (round % 3 == 0)
			assert_int_equal(peer_ask(VFU_RESET, NULL, 0, -1), 0);
		assert_int_equal(unmap(REMOTE, REMOTE_BYTES), 0);
		assert_int_equal(unmap(0, GUEST_BYTES), 0);
		if (round % 3 == 0)
			assert_int_equal(peer_write(VFU_REGION_CONFIG, 0x10, 0xe0000000), 0);
	}
	total = end_engines();
	assert_true(total >= rig.asked && rig.asked >= rounds * 5 * ENGINES);
	close(peer.memory);
	peer_close();
}

static void engines_against_requests(void **state)
{
	(void)state;
	engines_against(0);
}

/* It never sleeps, and hears of everything all the same. */
static void a_server_that_spins(void **state)
{
	(void)state;
	engines_against(1000000000);
}

/*
 * The thread that serves has slept, with all connections to itself, and waits in a drain now, for a request that is answered only
 * then: the other thread hears of the answer.
 */
static void somebody_hears_for_who_waits(void **state)
{
	unsigned int rounds = scaled(300);

	(void)state;
	open_server(0, 1);
	peer_meet();
	peer_start();
	assert_int_equal(peer_map(REMOTE, REMOTE_BYTES, -1), 0);
	start_engines();
	for (unsigned int round = 0; round < rounds; round++) {
		struct {
			struct vfu_region_access access;
			uint32_t value;
		} request = {{.count = sizeof(request.value)}, 1};
		const struct vfu_header posted = {.id = ++peer.next_id, .command = VFU_REGION_WRITE, .flags = VFU_NO_REPLY};
		struct vfu_header header;
		uint8_t payload[512];

		peer_hear(peer.fd, &header, payload);
		peer_say(peer.fd, posted, &request, sizeof(request.access) + sizeof(request.value), -1);
		answer(&header, payload);
	}
	while (__atomic_load_n(&rig.drains, __ATOMIC_RELAXED) < rounds)
		serve_memory(1);
	assert_int_equal(unmap(REMOTE, REMOTE_BYTES), 0);
	end_engines();
	peer_close();
}

/* It has all connections to itself while it sleeps, and its reader hears of what comes while it works. */
static void a_server_that_spins_a_little(void **state)
{
	(void)state;
	engines_against(5);
}

/* Connections that end at any moment, with engines in the middle of their messages. */
static void engines_against_disconnects(void **state)
{
	unsigned int rounds = scaled(100);

	(void)state;
	open_server(0, 0);
	make_memory();
	for (unsigned int i = 0; i < ENGINES; i++)
		assert_int_equal(pthread_create(&rig.engines[i].thread, NULL, engine, &rig.engines[i]), 0);
	for (unsigned int round = 0; round < rounds; round++) {
		peer_meet();
		assert_int_equal(peer_write(VFU_REGION_CONFIG, 0x10, 0xe0000000), 0);
		assert_int_equal(peer_map(REMOTE, REMOTE_BYTES, -1), 0);
		assert_int_equal(peer_map(0, GUEST_BYTES, peer.memory), 0);
		assert_int_equal(peer_write(VFU_REGION_CONFIG, 4, 6), 0);
		serve_memory(round % 7);
		close(peer.fd);
	}
	__atomic_store_n(&rig.ends, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < ENGINES; i++)
		pthread_join(rig.engines[i].thread, NULL);
	close(peer.memory);
	peer_close();
	/* At the end of each connection, and none without. */
	assert_int_equal(rig.resets, rounds);
}

static void once_ends_with_the_connection(void **state)
{
	(void)state;
	open_server(UIOMMU_VFIO_USER_ONCE, 0);
	peer_meet();
	close(peer.fd);
	pthread_join(peer.serving, NULL);
	assert_int_equal(rig.resets, 1);
	assert_int_equal(pthread_create(&peer.serving, NULL, peer_serve, NULL), 0);
	peer_close();
}

/* What would have to be asked for is no memory, and the other side may say of it what it likes. */
static void nobody_is_asked(void **state)
{
	struct uiommu_dma_result result;
	uint8_t byte;

	(void)state;
	open_server(UIOMMU_VFIO_USER_MAPPED_ONLY, 0);
	make_memory();
	peer_meet();
	assert_int_equal(peer_write(VFU_REGION_CONFIG, 4, 6), 0);
	assert_int_equal(peer_map(0, GUEST_BYTES, peer.memory), 0);
	assert_int_equal(peer_map(REMOTE, REMOTE_BYTES, -1), 0);
	assert_int_equal(peer_map(REMOTE, REMOTE_BYTES, -1), 0);
	assert_int_equal(uiommu_dma_read(uiommu_pci_device(peer.pci), UIOMMU_NO_PASID, 64, &byte, 1, &result), 0);
	assert_int_equal(byte, 1);
	assert_int_not_equal(uiommu_dma_read(uiommu_pci_device(peer.pci), UIOMMU_NO_PASID, REMOTE, &byte, 1, &result), 0);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(unmap(REMOTE, REMOTE_BYTES), 0);
	assert_int_equal(unmap(0, GUEST_BYTES), 0);
	close(peer.fd);
	close(peer.memory);
	peer_close();
}

enum { MANY_BYTES = 4 << 20 };

static bool registers_none(void *opaque, uint64_t address, uint64_t last)
{
	(void)opaque;
	(void)address;
	return !last;
}

static void *send_many(void *opaque)
{
	static uint8_t bytes[MANY_BYTES];
	const struct vfu_header header = {.command = VFU_REGION_READ, .size = sizeof(header) + MANY_BYTES, .flags = VFU_TYPE_REPLY};

	assert_int_equal(link_send(opaque, &header, bytes, sizeof(bytes), NULL, 0, -1), 0);
	return NULL;
}

static void hear_post(uint64_t address, uint32_t data)
{
	struct vfu_header header;
	uint8_t payload[512];
	uint64_t word;

	peer_hear(peer.fd, &header, payload);
	assert_int_equal(header.command, VFU_DMA_WRITE);
	assert_int_equal(header.flags, VFU_NO_REPLY);
	memcpy(&word, payload, sizeof(word));
	assert_int_equal(word, address);
	assert_memory_equal(payload + sizeof(struct vfu_dma_access), &data, sizeof(data));
}

/* The other side does not read, and somebody waits for that in the middle of a message: whoever posts does not, and nothing is
 * lost. */
static void posts_do_not_wait(void **state)
{
	struct hub *hub = hub_create(registers_none, NULL);
	struct pollfd room = {.events = POLLOUT};
	struct vfu_header header;
	pthread_t thread;
	struct link *link;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	link = link_create(hub, pair[0]);
	peer.fd = pair[1];
	assert_true(link_post(link, 0xfee00000, 1));
	hear_post(0xfee00000, 1);
	assert_int_equal(pthread_create(&thread, NULL, send_many, link), 0);
	for (room.fd = pair[0]; poll(&room, 1, 0);)
		sched_yield();
	for (uint32_t i = 0; i < 100; i++)
		assert_false(link_post(link, 0xfee00000, 2 + i % 3));
	assert_int_equal(recv(peer.fd, &header, sizeof(header), MSG_WAITALL), sizeof(header));
	for (size_t left = MANY_BYTES; left;) {
		static uint8_t bytes[64 << 10];
		ssize_t got = recv(peer.fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes), 0);

		assert_true(got > 0);
		left -= (size_t)got;
	}
	pthread_join(thread, NULL);
	link_flush(link);
	for (uint32_t data = 2; data < 5; data++)
		hear_post(0xfee00000, data);
	/* It is as before; and when nobody is there any more, it does not matter. */
	assert_true(link_post(link, 0xfee00000, 9));
	hear_post(0xfee00000, 9);
	close(peer.fd);
	assert_true(link_post(link, 0xfee00000, 10));
	link_put(link);
	hub_end(hub);
}

static void bad_ports_are_refused(void **state)
{
	struct uiommu_vfio_user_port port = {.size = sizeof(port), .path = "/tmp/uiommu-unit-never"};
	int pair[2], listening;

	(void)state;
	open_server(0, 0);
	port.pci = peer.pci;
	assert_int_equal(uiommu_vfio_user_add(peer.server, &port), -EBUSY);
	assert_int_not_equal(access(port.path, F_OK), 0);
	port.flags = 16;
	assert_int_equal(uiommu_vfio_user_add(peer.server, &port), -EOPNOTSUPP);
	port.flags = 0;
	port.reserved = 1;
	assert_int_equal(uiommu_vfio_user_add(peer.server, &port), -EOPNOTSUPP);
	port.reserved = 0;
	port.size = 8;
	assert_int_equal(uiommu_vfio_user_add(peer.server, &port), -EINVAL);
	port.size = sizeof(port);
	port.path = "";
	assert_int_equal(uiommu_vfio_user_add(peer.server, &port), -EINVAL);
	port.path = "/no/such/folder/socket";
	assert_int_equal(uiommu_vfio_user_add(peer.server, &port), -ENOENT);
	port.path = "/tmp";
	assert_int_equal(uiommu_vfio_user_add(peer.server, &port), -EADDRINUSE);
	port.path = peer.path;
	assert_int_equal(uiommu_vfio_user_add(peer.server, &port), -EADDRINUSE);
	port.path = NULL;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	for (int i = 0; i < 3; i++) {
		port.listen_fd = i < 2 ? pair[i] : -1;
		assert_int_equal(uiommu_vfio_user_add(peer.server, &port), -EINVAL);
	}
	listening = socket(AF_UNIX, SOCK_STREAM, 0);
	port.listen_fd = listening;
	assert_int_equal(bind(listening, &(struct sockaddr){.sa_family = AF_UNIX}, sizeof(sa_family_t)), 0);
	assert_int_equal(uiommu_vfio_user_add(peer.server, &port), -EINVAL);
	assert_int_equal(listen(listening, 1), 0);
	assert_int_equal(uiommu_vfio_user_add(peer.server, &port), -EBUSY); /* all is well but the function */
	port.pci = NULL;
	assert_int_equal(uiommu_vfio_user_add(peer.server, &port), -EINVAL);
	close(listening);
	close(pair[0]);
	close(pair[1]);
	peer_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(engines_against_requests),
		cmocka_unit_test(engines_against_disconnects),
		cmocka_unit_test(once_ends_with_the_connection),
		cmocka_unit_test(nobody_is_asked),
		cmocka_unit_test(posts_do_not_wait),
		cmocka_unit_test(bad_ports_are_refused),
		cmocka_unit_test(a_server_that_spins),
		cmocka_unit_test(a_server_that_spins_a_little),
		cmocka_unit_test(somebody_hears_for_who_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

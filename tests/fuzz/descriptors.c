/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arbitrary descriptors, batches and ring headers against an engine with an IOAS (PASID 5) and a bind of this very process (PASID
 * 9).
 *
 * The bind could reach all of this process, so addresses are steered: into windows around the memory that is meant, whose
 * surroundings are inaccessible for more than the greatest transfer, and into the upper half, where only the IOAS has memory. Data
 * that was moved must not become addresses: lists of batches are in memory that is read-only to the device.
 *
 * What must not change, whatever happens: pages next to the mapped ones, read-only pages, and the lists.
 */
#include "fuzz.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "devices/accel/engine.h"
#include "devices/accel/ring.h"

enum {
	PAGE = 4096,
	PAGES = 12, /* of the memory behind the IOAS, and of the arena */
	FIRST = 1, /* mapped pages; the others are canaries */
	HOLE = 5,
	READ_ONLY = 7,
	END = 11,
	LIST_PAGES = 2,
	LIST = LIST_PAGES * PAGE / sizeof(struct uiommu_accel_desc),
	IOAS_PASID = 5,
	SELF_PASID = 9,
};

#define IOVA UINT64_C(0xffff900000000000)
#define LIST_IOVA UINT64_C(0xffffa00000000000)
#define SURROUNDINGS (UINT64_C(3) << 30)

static struct {
	struct uiommu_context *context;
	uint32_t device;
	uint32_t faults;
	uint32_t ioas;
	uint32_t hwpt;
	struct uiommu_accel *accel;
	int interrupt_fd;
	uint8_t *memory; /* behind the IOAS */
	uint8_t *arena; /* what the bind is used for: RW, with a PROT_NONE hole and a read-only page */
	struct uiommu_accel_desc *list; /* ours to write */
	uint8_t *list_self; /* the same in the arena's neighbourhood, read-only */
	bool hole_mapped;
} world;

/* --- the world --- */

static void map(uint64_t iova, void *memory, uint64_t length, uint32_t access)
{
	struct uiommu_ioas_map request = {.size = sizeof(request),
					  .flags = UIOMMU_MAP_FIXED | access,
					  .ioas_id = world.ioas,
					  .source = UIOMMU_MAP_OWN,
					  .address = memory,
					  .length = length,
					  .iova = iova};

	CHECK(!uiommu_ioas_map(world.context, &request));
}

static void map_pages(unsigned int first, unsigned int end, uint32_t access)
{
	map(IOVA + (uint64_t)first * PAGE, world.memory + (size_t)first * PAGE, (uint64_t)(end - first) * PAGE, access);
}

static void bind_self(void)
{
	struct uiommu_bind_process self = {.flags = UIOMMU_BIND_SELF, .access = UIOMMU_READ | UIOMMU_WRITE};
	struct uiommu_bind bind = {.size = sizeof(bind),
				   .device_id = world.device,
				   .pasid = SELF_PASID,
				   .type = UIOMMU_BIND_PROCESS,
				   .data_len = sizeof(self),
				   .data = &self,
				   .fault_queue_id = world.faults};

	CHECK(!uiommu_bind(world.context, &bind));
}

static void *reserve(size_t size)
{
	void *memory = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK(memory != MAP_FAILED);
	return memory;
}

static void world_memory(void)
{
	size_t list = (size_t)LIST_PAGES * PAGE, size = (size_t)PAGES * PAGE;
	int fd = memfd_create("list", MFD_CLOEXEC);
	uint8_t *space = reserve(2 * SURROUNDINGS + size + list);

	world.memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(world.memory != MAP_FAILED && fd >= 0 && !ftruncate(fd, (off_t)list));
	world.arena = space + SURROUNDINGS;
	CHECK(!mprotect(world.arena, size, PROT_READ | PROT_WRITE));
	world.list = mmap(NULL, list, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	world.list_self = mmap(world.arena + size, list, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
	CHECK(world.list != MAP_FAILED && world.list_self != MAP_FAILED);
	close(fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct uiommu_device_config device = {.size = sizeof(device), .name = "fuzz", .pasid_bits = 20};
	struct uiommu_hwpt_alloc hwpt = {
		.size = sizeof(hwpt), .flags = UIOMMU_HWPT_PASID | UIOMMU_HWPT_FAULT, .type = UIOMMU_HWPT_PAGING};

	(void)argc;
	(void)argv;
	world_memory();
	CHECK(!uiommu_open(NULL, &world.context));
	CHECK(!uiommu_device_alloc(world.context, &device, &world.device));
	CHECK(!uiommu_fault_queue_alloc(world.context, 4096, &world.faults));
	CHECK(!uiommu_ioas_alloc(world.context, &world.ioas));
	map_pages(FIRST, HOLE, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
	map_pages(HOLE + 1, READ_ONLY, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
	map_pages(READ_ONLY, READ_ONLY + 1, UIOMMU_MAP_READ);
	map_pages(READ_ONLY + 1, END, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
	map(LIST_IOVA, world.list, (uint64_t)LIST_PAGES * PAGE, UIOMMU_MAP_READ);
	hwpt.parent_id = world.ioas;
	hwpt.fault_queue_id = world.faults;
	CHECK(!uiommu_hwpt_alloc(world.context, &hwpt, &world.hwpt));
	CHECK(!uiommu_attach(world.context, world.device, IOAS_PASID, world.hwpt));
	CHECK(!uiommu_attach(world.context, world.device, UIOMMU_NO_PASID, world.hwpt));
	bind_self();
	CHECK(!uiommu_accel_create(world.context, world.device, &world.accel));
	world.interrupt_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	CHECK(world.interrupt_fd >= 0);
	return 0;
}

static void world_reset(void)
{
	memset(world.memory, 0, (size_t)PAGES * PAGE);
	CHECK(!mprotect(world.arena, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE));
	memset(world.arena, 0, (size_t)PAGES * PAGE);
	memset(world.list, 0, (size_t)LIST_PAGES * PAGE);
	for (unsigned int page = 0; page < PAGES; page++) {
		bool canary = page < FIRST || page >= END || page == READ_ONLY;

		if (canary || page == HOLE)
			memset(world.memory + (size_t)page * PAGE, 0xca, PAGE);
		if (!canary)
			continue;
		memset(world.arena + (size_t)page * PAGE, 0xca, PAGE);
		CHECK(!mprotect(world.arena + (size_t)page * PAGE, PAGE, PROT_READ));
	}
	CHECK(!mprotect(world.arena + (size_t)HOLE * PAGE, PAGE, PROT_NONE));
}

static void expect_canary(const uint8_t *page)
{
	for (unsigned int i = 0; i < PAGE; i++)
		CHECK(page[i] == 0xca);
}

static void world_check(const struct uiommu_accel_desc *list)
{
	for (unsigned int page = 0; page < PAGES; page++) {
		if (page >= FIRST && page < END && page != READ_ONLY && (page != HOLE || world.hole_mapped))
			continue;
		expect_canary(world.memory + (size_t)page * PAGE);
		if (page != HOLE)
			expect_canary(world.arena + (size_t)page * PAGE);
	}
	CHECK(!memcmp(list, world.list, (size_t)LIST_PAGES * PAGE));
}

/* --- descriptors --- */

static uint64_t steer(uint64_t value)
{
	uint64_t offset = value & 0xffff; /* beyond the memory on both sides */

	switch (value >> 62) {
	case 0:
		return IOVA - PAGE + offset;
	case 1:
		return (uintptr_t)world.arena - PAGE + offset;
	case 2:
		return (uintptr_t)world.arena + offset % (PAGES * PAGE);
	default:
		return UINT64_MAX - offset;
	}
}

static uint64_t steer_list(uint64_t value)
{
	uint64_t base = value >> 63 ? LIST_IOVA : (uintptr_t)world.list_self;

	/* At both ends it may run out of the list. */
	return base + (value & 0x1fff);
}

/* Every field that is an address for some operation; what is a pattern as well stays what it is where it is a pattern. */
static void desc_steer(struct uiommu_accel_desc *desc)
{
	unsigned int opcode = desc->flags_opcode >> 24;

	desc->completion_address = steer(desc->completion_address);
	if (opcode == UIOMMU_ACCEL_BATCH)
		desc->source = steer_list(desc->source);
	else if (opcode != UIOMMU_ACCEL_FILL)
		desc->source = steer(desc->source);
	if (opcode != UIOMMU_ACCEL_COMPARE_PATTERN && desc->destination)
		desc->destination = steer(desc->destination);
	if (opcode == UIOMMU_ACCEL_DUALCAST)
		desc->specific = steer(desc->specific);
	if (desc->seed_address)
		desc->seed_address = steer(desc->seed_address);
}

/* Three bytes are enough to say where. */
static uint64_t take_address(struct input *input)
{
	uint8_t window = take_byte(input);
	uint16_t offset;

	take(input, &offset, sizeof(offset));
	return (uint64_t)window << 56 | offset;
}

/* Few bytes that make a descriptor that has something to do. */
static struct uiommu_accel_desc take_short_desc(struct input *input)
{
	struct uiommu_accel_desc desc = {0};
	uint8_t opcode = take_byte(input) % 17, places = take_byte(input);
	uint16_t flags, size;

	take(input, &flags, sizeof(flags));
	take(input, &size, sizeof(size));
	desc.pasid_priv = places & 1 ? IOAS_PASID : SELF_PASID;
	desc.flags_opcode = (uint32_t)opcode << 24 | (flags & 0x19f) | (flags & 0xe000U) << 3;
	desc.completion_address = take_address(input) & ~UINT64_C(31);
	if (opcode == UIOMMU_ACCEL_NOOP || opcode == UIOMMU_ACCEL_DRAIN)
		return desc;
	desc.source = take_address(input);
	desc.transfer_size = size;
	desc.handles = (places >> 1 & 3) | (uint64_t)(places >> 3 & 3) << 16 | (uint64_t)(places >> 5 & 3) << 32;
	if (opcode == UIOMMU_ACCEL_BATCH) {
		desc.source &= ~UINT64_C(63);
		desc.transfer_size %= LIST + 2;
	} else if (opcode != UIOMMU_ACCEL_CRC) {
		desc.destination = take_address(input) | 1;
	}
	if (opcode == UIOMMU_ACCEL_DUALCAST)
		desc.specific = (take_address(input) & ~UINT64_C(0xfff)) | (desc.destination & 0xfff);
	return desc;
}

static struct uiommu_accel_desc take_desc(struct input *input)
{
	struct uiommu_accel_desc desc;

	if (take_byte(input) & 7)
		desc = take_short_desc(input);
	else
		take(input, &desc, sizeof(desc));
	desc_steer(&desc);
	return desc;
}

/* --- what happens to a queue --- */

struct session {
	struct ring_header *ring;
	struct ring_submitter submitter;
	struct engine_queue *queue;
	uint32_t entries;
	unsigned int list_next;
	struct uiommu_accel_desc list[LIST];
};

static void session_open(struct session *session, struct input *input)
{
	struct engine_queue_config config = {.interrupt_fd = world.interrupt_fd};
	uint8_t kind = take_byte(input);

	config.entries = session->entries = 2U << (kind >> 4 & 7);
	config.flags = kind & (UIOMMU_QUEUE_SHARED | UIOMMU_QUEUE_HANDLES);
	config.pasid = kind & 4 ? IOAS_PASID : SELF_PASID;
	session->ring = ring_create(session->entries, config.flags);
	CHECK(session->ring);
	ring_submitter_init(&session->submitter, session->ring, session->entries);
	config.ring = session->ring;
	CHECK(!engine_queue_attach(world.accel, &config, &session->queue));
}

static void answer(unsigned int response, unsigned int count)
{
	struct uiommu_fault_event event;

	while (count-- && uiommu_fault_read(world.context, world.faults, &event, 1) == 1)
		if (event.cookie)
			CHECK(!uiommu_fault_respond(world.context, world.faults, event.cookie, response));
}

static void hole_toggle(void)
{
	uint64_t unmapped;

	if (world.hole_mapped) {
		CHECK(!uiommu_ioas_unmap(world.context, world.ioas, IOVA + (uint64_t)HOLE * PAGE, PAGE, &unmapped));
		/* From now on it is a canary again. */
		memset(world.memory + (size_t)HOLE * PAGE, 0xca, PAGE);
	} else {
		map_pages(HOLE, HOLE + 1, UIOMMU_MAP_READ | UIOMMU_MAP_WRITE);
	}
	world.hole_mapped = !world.hole_mapped;
}

static void list_write(struct session *session, struct input *input)
{
	unsigned int i = session->list_next++ % LIST;

	session->list[i] = take_desc(input);
	world.list[i] = session->list[i];
}

/* The submitter writes what it must not. Slots stay as they are: their addresses have been steered. */
static void scribble(struct session *session, struct input *input)
{
	uint16_t offset;
	uint64_t value;

	take(input, &offset, sizeof(offset));
	take(input, &value, sizeof(value));
	((uint64_t *)session->ring)[offset % (RING_HEADER_SIZE / sizeof(value))] = value;
}

static void control(struct input *input)
{
	uint8_t what = take_byte(input);
	uint16_t handle;

	switch (what & 7) {
	case 0:
		hole_toggle();
		break;
	case 1:
		answer(UIOMMU_RESPONSE_SUCCESS, what >> 3);
		break;
	case 2:
		answer(UIOMMU_RESPONSE_INVALID, what >> 3);
		break;
	case 3:
		uiommu_accel_grant(world.accel, what & 8 ? SELF_PASID : what & 16 ? IOAS_PASID : UIOMMU_NO_PASID, &handle);
		break;
	case 4:
		uiommu_accel_revoke(world.accel, what >> 3);
		break;
	case 5:
		CHECK(!uiommu_detach(world.context, world.device, IOAS_PASID));
		CHECK(!uiommu_attach(world.context, world.device, IOAS_PASID, world.hwpt));
		break;
	case 6:
		CHECK(!uiommu_unbind(world.context, world.device, SELF_PASID));
		bind_self();
		break;
	default:
		engine_arm(world.accel);
		break;
	}
}

static void step(struct session *session, struct input *input)
{
	struct uiommu_accel_desc desc;
	struct uiommu_accel_error error;
	uint8_t what = take_byte(input);

	switch (what & 7) {
	case 0:
		uiommu_accel_poll(world.accel, 1 + (what >> 3));
		break;
	case 1:
		scribble(session, input);
		break;
	case 2:
		control(input);
		break;
	case 3:
		list_write(session, input);
		break;
	case 4:
		ring_error_take(&session->submitter, &error);
		break;
	default:
		desc = take_desc(input);
		ring_submit(&session->submitter, &desc);
		break;
	}
}

static void session_close(struct session *session)
{
	struct uiommu_accel_desc *list = session->list;

	for (unsigned int i = 0; i < 64 && uiommu_accel_poll(world.accel, 4096); i++)
		answer(UIOMMU_RESPONSE_INVALID, UINT32_MAX);
	engine_queue_detach(session->queue);
	answer(UIOMMU_RESPONSE_INVALID, UINT32_MAX);
	CHECK(engine_idle(world.accel));
	ring_unmap(session->ring, session->entries);
	world_check(list);
	if (world.hole_mapped)
		hole_toggle();
	for (uint16_t handle = 1; handle < 64; handle++)
		uiommu_accel_revoke(world.accel, handle);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct session session;
	struct input input = {data, size};

	memset(&session, 0, sizeof(session));
	world_reset();
	session_open(&session, &input);
	while (input.left)
		step(&session, &input);
	session_close(&session);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arbitrary requests of uiommu_bind() on a guest's memory of arbitrary content: refused or not, nothing is left over, and what has
 * been bound can be used, invalidated and unbound.
 *
 * The input is a struct header and then pairs of a place and a word that is written there.
 */
#include "fuzz.h"

#include <errno.h>
#include <sys/mman.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

enum { RAM_BYTES = 64 << 12, PAYLOAD = 160, ACCESSES = 4 };

struct header {
	uint8_t size; /* of the request: a few bytes more are there */
	uint8_t data_len;
	uint8_t valid; /* bit 0: the payload's parent or IOAS, 1: no PASID asked for, 2: a queue, 3: payload of a usual size */
	uint8_t type;
	uint32_t flags;
	uint32_t pasid;
	uint32_t vpasid;
	uint32_t claims;
	uint32_t access_pasid;
	uint64_t address;
	uint8_t payload[PAYLOAD];
	uint8_t invalidation[48];
} __attribute__((packed));

struct write {
	uint16_t place;
	uint64_t word;
} __attribute__((packed));

static struct {
	struct uiommu_context *context;
	struct uiommu_device *device;
	uint32_t device_id, ioas_id, parent_id, queue_id;
	uint64_t *ram;
} world;

static void make(void)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .name = "device", .pasid_bits = 20, .rid_pasid = 3};
	struct uiommu_hwpt_alloc alloc = {.size = sizeof(alloc), .flags = UIOMMU_HWPT_NEST_PARENT};
	struct uiommu_ioas_map map = {.size = sizeof(map),
				      .flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
				      .source = UIOMMU_MAP_FILE,
				      .length = RAM_BYTES};

	map.fd = memfd_create("ram", MFD_CLOEXEC);
	CHECK(map.fd >= 0 && !ftruncate(map.fd, RAM_BYTES));
	world.ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, map.fd, 0);
	CHECK(world.ram != MAP_FAILED && !uiommu_install_fault_handler());
	CHECK(!uiommu_open(NULL, &world.context) && !uiommu_ioas_alloc(world.context, &world.ioas_id));
	map.ioas_id = alloc.parent_id = world.ioas_id;
	CHECK(!uiommu_ioas_map(world.context, &map) && !uiommu_hwpt_alloc(world.context, &alloc, &world.parent_id));
	CHECK(!uiommu_fault_queue_alloc(world.context, 4, &world.queue_id));
	CHECK(!uiommu_device_alloc(world.context, &config, &world.device_id));
	world.device = uiommu_device_get(world.context, world.device_id);
	close(map.fd);
}

static size_t usual_length(uint32_t type)
{
	switch (type) {
	case UIOMMU_BIND_PROCESS:
		return sizeof(struct uiommu_bind_process);
	case UIOMMU_BIND_PAGE_TABLE:
		return sizeof(struct uiommu_bind_page_table);
	case UIOMMU_BIND_PASID_TABLE:
		return sizeof(struct uiommu_hwpt_tables);
	default:
		return sizeof(struct uiommu_bind_shared);
	}
}

/* Numbers that no input could guess; and of a process only the calling one, whose memory is not touched. */
static void set_ids(uint8_t *payload, uint32_t type)
{
	switch (type) {
	case UIOMMU_BIND_PROCESS:
		((struct uiommu_bind_process *)(void *)payload)->flags |= UIOMMU_BIND_SELF;
		break;
	case UIOMMU_BIND_PAGE_TABLE:
		((struct uiommu_bind_page_table *)(void *)payload)->parent_id = world.parent_id;
		break;
	case UIOMMU_BIND_PASID_TABLE:
		((struct uiommu_hwpt_tables *)(void *)payload)->size = sizeof(struct uiommu_hwpt_tables);
		((struct uiommu_hwpt_tables *)(void *)payload)->parent_id = world.parent_id;
		break;
	default:
		((struct uiommu_bind_shared *)(void *)payload)->ioas_id = world.ioas_id;
	}
}

static void use(const struct header *header, uint32_t pasid, uint32_t type)
{
	struct uiommu_bind_invalidate invalidation;
	uint64_t word;

	memcpy(&invalidation, header->invalidation, sizeof(invalidation));
	if (header->valid & 1) {
		invalidation.size = sizeof(invalidation);
		invalidation.device_id = world.device_id;
		invalidation.pasid = pasid;
	} else {
		invalidation.size %= sizeof(header->invalidation);
	}
	for (unsigned int i = 0; i < ACCESSES && type != UIOMMU_BIND_PROCESS; i++) {
		uiommu_dma_read(world.device, i & 1 ? header->access_pasid : pasid, header->address + i * 8, &word, 8, NULL);
		uiommu_dma_write(world.device, i & 1 ? header->access_pasid : pasid, header->address + i * 8, &word, 8, NULL);
		if (i == 1)
			uiommu_bind_invalidate(world.context, &invalidation);
	}
}

static void bind(const struct header *header)
{
	struct {
		struct uiommu_bind bind;
		uint64_t more[2];
	} request = {.more = {header->address, 0}};
	_Alignas(8) uint8_t payload[PAYLOAD];
	struct uiommu_fault_event events[4];
	uint32_t type = header->type % 5;
	int error;

	memcpy(payload, header->payload, sizeof(payload));
	if (header->valid & 1)
		set_ids(payload, type);
	request.bind = (struct uiommu_bind){
		.size = header->valid & 8 ? sizeof(request.bind) : header->size % sizeof(request),
		.flags = header->flags,
		.device_id = world.device_id,
		.pasid = header->valid & 2 ? UIOMMU_NO_PASID : header->pasid,
		.vpasid = header->vpasid,
		.type = type,
		.fault_queue_id = header->valid & 4 ? world.queue_id : 0,
		.data_len = header->valid & 8 ? (uint32_t)usual_length(type) : header->data_len % (PAYLOAD + 1),
		.data = payload,
	};
	if (type == UIOMMU_BIND_PROCESS && !(header->valid & 1))
		return; /* descriptors of ours */
	error = uiommu_bind(world.context, &request.bind);
	if (error)
		return;
	use(header, request.bind.pasid, type);
	error = uiommu_unbind_claim(world.context, world.device_id, request.bind.pasid, header->claims & 3);
	CHECK(!error);
	CHECK(uiommu_unbind(world.context, world.device_id, request.bind.pasid) == -ENOENT);
	while (uiommu_fault_read(world.context, world.queue_id, events, 4) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct header header;
	struct write write;
	size_t objects;

	if (!world.context)
		make();
	if (size < sizeof(header))
		return 0;
	memcpy(&header, data, sizeof(header));
	memset(world.ram, 0, RAM_BYTES);
	for (size_t at = sizeof(header); at + sizeof(write) <= size; at += sizeof(write)) {
		memcpy(&write, data + at, sizeof(write));
		world.ram[write.place % (RAM_BYTES / sizeof(uint64_t))] = write.word;
	}
	objects = uiommu_object_count(world.context);
	bind(&header);
	CHECK(uiommu_object_count(world.context) == objects);
	return 0;
}

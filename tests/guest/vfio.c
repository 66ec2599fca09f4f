/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs inside a guest: a copier driven from user space through vfio's container (TYPE1): what is mapped and nothing else, in the
 * direction that was asked for, and not a moment longer.
 */
#include <poll.h>
#include <sys/eventfd.h>

#include "vfio.h"

enum { PAGES = 64, ROUNDS = 200 };
#define IOVA UINT64_C(0x12340000000)

static int container;

static void open_copier(struct copier *copier)
{
	write_file("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y"); /* none are remapped */
	find_copiers(copier, 1);
	copier->fd = open_in_container(copier->name, &container);
	start_copier(copier);
}

static void map(const uint8_t *bytes, uint64_t iova, uint64_t length, unsigned int access)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map), .flags = access, .vaddr = (uintptr_t)bytes, .iova = iova, .size = length};

	CHECK(!ioctl(container, VFIO_IOMMU_MAP_DMA, &map));
}

static void unmap(uint64_t iova, uint64_t length)
{
	struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof(unmap), .iova = iova, .size = length};

	CHECK(!ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) && unmap.size == length);
}

enum { R = VFIO_DMA_MAP_FLAG_READ, W = VFIO_DMA_MAP_FLAG_WRITE };

static void copies(const struct copier *copier, uint8_t *from, uint8_t *to)
{
	map(from, IOVA, PAGES * PAGE, R);
	map(to, IOVA + PAGES * PAGE, PAGES * PAGE, R | W);
	fill(from, PAGES * PAGE, 1);
	CHECK(copy(copier, IOVA, NO_PASID, IOVA + PAGES * PAGE, NO_PASID, PAGES * PAGE) == DONE);
	CHECK(!memcmp(from, to, PAGES * PAGE));
	CHECK(copy(copier, IOVA + 5, NO_PASID, IOVA + PAGES * PAGE + 3 * PAGE - 7, NO_PASID, PAGE) == DONE);
	CHECK(!memcmp(from + 5, to + 3 * PAGE - 7, PAGE));
	printf("memory was copied\n");
}

static void keeps_out(const struct copier *copier, uint8_t *from, uint8_t *to)
{
	uint64_t end = IOVA + 2 * PAGES * PAGE;
	uint8_t before = from[100];

	CHECK(copy(copier, IOVA, NO_PASID, end, NO_PASID, 8) == FAULT);
	CHECK(get64(copier, FAULT_ADDRESS) == end && get(copier, COPIED) == 0);
	CHECK(copy(copier, IOVA, NO_PASID, end - 16, NO_PASID, 32) == FAULT);
	CHECK(get(copier, COPIED) == 16 && get64(copier, FAULT_ADDRESS) == end);
	/* What may only be read. */
	CHECK(copy(copier, IOVA + PAGES * PAGE, NO_PASID, IOVA + 100, NO_PASID, 1) == FAULT);
	CHECK(from[100] == before);
	/* The process's own addresses are not the device's. */
	CHECK(copy(copier, (uintptr_t)from, NO_PASID, IOVA + PAGES * PAGE, NO_PASID, 8) == FAULT);
	unmap(IOVA, PAGES * PAGE);
	CHECK(copy(copier, IOVA, NO_PASID, IOVA + PAGES * PAGE, NO_PASID, 8) == FAULT);
	unmap(IOVA + PAGES * PAGE, PAGES * PAGE);
	to[0] = 1;
	printf("what is not mapped is not reached\n");
}

/* The same address, another page: never the old one. */
static void nothing_is_stale(const struct copier *copier, uint8_t *from, uint8_t *to)
{
	map(to, IOVA + PAGES * PAGE, PAGES * PAGE, R | W);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		uint8_t *page = from + i % PAGES * PAGE;

		memset(page, (int)i, PAGE);
		map(page, IOVA, PAGE, R);
		CHECK(copy(copier, IOVA, NO_PASID, IOVA + PAGES * PAGE, NO_PASID, PAGE) == DONE);
		CHECK(!memcmp(to, page, PAGE));
		unmap(IOVA, PAGE);
	}
	CHECK(copy(copier, IOVA, NO_PASID, IOVA + PAGES * PAGE, NO_PASID, 8) == FAULT);
	printf("nothing is stale\n");
}

static void interrupts(const struct copier *copier)
{
	union {
		struct vfio_irq_set set;
		uint8_t bytes[sizeof(struct vfio_irq_set) + sizeof(int32_t)];
	} request = {.set = {.argsz = sizeof(request.bytes),
			     .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			     .index = VFIO_PCI_MSIX_IRQ_INDEX,
			     .count = 1}};
	struct pollfd event = {.fd = eventfd(0, EFD_CLOEXEC), .events = POLLIN};
	uint64_t count;

	memcpy(request.set.data, &event.fd, sizeof(int32_t));
	CHECK(!ioctl(copier->fd, VFIO_DEVICE_SET_IRQS, &request));
	CHECK(copy(copier, IOVA + PAGES * PAGE, NO_PASID, IOVA + PAGES * PAGE + PAGE, NO_PASID, 8) == DONE);
	CHECK(poll(&event, 1, -1) == 1);
	CHECK(read(event.fd, &count, sizeof(count)) == sizeof(count) && count == 1);
	printf("an interrupt arrived\n");
}

/* The guest's end of it, in the middle of a copy. */
static void ends(const struct copier *copier)
{
	set(copier, REPEAT, 1 << 20);
	set(copier, LENGTH, PAGE);
	set(copier, START, 1);
	unmap(IOVA + PAGES * PAGE, PAGES * PAGE);
	while (get(copier, STATUS) == BUSY)
		sched_yield();
	CHECK(get(copier, STATUS) == FAULT);
	printf("an unmap stops it\n");
	set(copier, START, 1);
}

int main(void)
{
	uint8_t *from = memory(PAGES * PAGE), *to = memory(PAGES * PAGE);
	struct copier copier;

	setvbuf(stdout, NULL, _IOLBF, 0);
	open_copier(&copier);
	copies(&copier, from, to);
	keeps_out(&copier, from, to);
	nothing_is_stale(&copier, from, to);
	interrupts(&copier);
	ends(&copier);
	printf("passed\n");
	return 0;
}

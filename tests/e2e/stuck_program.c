/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that has memory which never comes, to be run under `uiommu run --device nvme,...`: a page of a file whose file system
 * does not answer. It uses that in the way of its first argument, of the file of the second, prints "came back" if that ever ends,
 * and waits to be killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

#define IOMMU_IOAS_ALLOC _IO(';', 0x81)
#define IOMMU_IOAS_ALLOW_IOVAS _IO(';', 0x82)
#define IOMMU_IOAS_IOVA_RANGES _IO(';', 0x84)
#define IOMMU_IOAS_MAP _IO(';', 0x85)
#define IOMMU_IOAS_UNMAP _IO(';', 0x86)
#define VFIO_DEVICE_BIND_IOMMUFD _IO(';', 100 + 18)
#define VFIO_DEVICE_ATTACH_IOMMUFD_PT _IO(';', 100 + 19)
#define CONFIG (UINT64_C(7) << 40) /* region 7 */

enum {
	PAGE = 4096,
	QUEUE = 1 << 24, /* its IOVA */
	ANSWERS = QUEUE + PAGE,
	CC = 0x14,
	CSTS = 0x1c,
	AQA = 0x24,
	ASQ = 0x28,
	ACQ = 0x30,
	DOORBELL = 0x1000,
};

static int iommu, device;
static uint32_t ioas;

static void set_up(void)
{
	struct {
		uint32_t size, flags, id;
	} alloc = {sizeof(alloc), 0, 0};

	iommu = open("/dev/iommu", O_RDWR);
	CHECK(iommu >= 0 && !ioctl(iommu, IOMMU_IOAS_ALLOC, &alloc));
	ioas = alloc.id;
}

static void map(const void *memory, uint64_t iova)
{
	struct {
		uint32_t size, flags, ioas, reserved;
		uint64_t address, length, iova;
	} arguments = {sizeof(arguments), 7, ioas, 0, (uint64_t)(uintptr_t)memory, PAGE, iova};

	CHECK(!ioctl(iommu, IOMMU_IOAS_MAP, &arguments));
}

static void open_device(void)
{
	struct {
		uint32_t argsz, flags;
		int32_t iommufd;
		uint32_t id;
	} bind = {sizeof(bind), 0, iommu, 0};
	struct {
		uint32_t argsz, flags, pt_id;
	} attach = {sizeof(attach), 0, ioas};
	const uint16_t command = 6; /* memory, bus master */

	device = open("/dev/vfio/devices/vfio0", O_RDWR);
	CHECK(device >= 0 && !ioctl(device, VFIO_DEVICE_BIND_IOMMUFD, &bind));
	CHECK(!ioctl(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach));
	CHECK(pwrite(device, &command, sizeof(command), CONFIG + 4) == sizeof(command));
}

static void set(unsigned int offset, uint32_t value)
{
	CHECK(pwrite(device, &value, sizeof(value), offset) == sizeof(value));
}

/* An NVMe controller whose admin queue is in the page, which it is told to read. */
static void ring(const void *page)
{
	static uint8_t answers[PAGE] __attribute__((aligned(PAGE)));
	uint32_t status = 0;

	open_device();
	map(page, QUEUE);
	map(answers, ANSWERS);
	set(AQA, 7 << 16 | 7);
	set(ASQ, QUEUE);
	set(ASQ + 4, 0);
	set(ACQ, ANSWERS);
	set(ACQ + 4, 0);
	set(CC, 4 << 20 | 6 << 16 | 1);
	while (!(status & 1))
		CHECK(pread(device, &status, sizeof(status), CSTS) == sizeof(status));
	set(DOORBELL, 1);
}

static void by_struct(void *page)
{
	ioctl(iommu, IOMMU_IOAS_ALLOC, page);
}

/* What a struct points at, which is read or written. */
static void by_array(void *page)
{
	struct {
		uint32_t size, id, count, reserved;
		uint64_t ranges;
	} arguments = {sizeof(arguments), ioas, 1, 0, (uint64_t)(uintptr_t)page};

	ioctl(iommu, IOMMU_IOAS_ALLOW_IOVAS, &arguments);
}

static void by_answer(void *page)
{
	struct {
		uint32_t size, id, count, reserved;
		uint64_t ranges, alignment;
	} arguments = {sizeof(arguments), ioas, 1, 0, (uint64_t)(uintptr_t)page, 0};

	ioctl(iommu, IOMMU_IOAS_IOVA_RANGES, &arguments);
}

static void by_read(void *page)
{
	open_device();
	pread(device, page, 8, 0);
}

static void by_long_read(void *page)
{
	open_device();
	pread(device, page, 2048, CONFIG);
}

static void by_write(void *page)
{
	open_device();
	pwrite(device, page, 4, CC);
}

static void by_device(void *page)
{
	ring(page);
	for (;;)
		pause();
}

/* Unmap waits for the access, once that has begun: then there is input. */
static void by_unmap(void *page)
{
	struct {
		uint32_t size, ioas;
		uint64_t iova, length;
	} arguments = {sizeof(arguments), ioas, 0, UINT64_MAX};
	char byte;

	ring(page);
	CHECK(read(STDIN_FILENO, &byte, 1) == 1);
	printf("unmapping\n");
	fflush(stdout);
	ioctl(iommu, IOMMU_IOAS_UNMAP, &arguments);
}

static const struct {
	const char *name;
	void (*use)(void *page);
} ways[] = {
	{"struct", by_struct},	     {"array", by_array}, {"answer", by_answer}, {"read", by_read},
	{"long-read", by_long_read}, {"write", by_write}, {"device", by_device}, {"unmap", by_unmap},
};

int main(int argc, char **argv)
{
	int file = argc == 3 ? open(argv[2], O_RDONLY) : -1;
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);

	CHECK(page != MAP_FAILED);
	set_up();
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (!strcmp(argv[1], ways[i].name)) {
			ways[i].use(page);
			printf("came back\n");
			fflush(stdout);
			pause();
		}
	fprintf(stderr, "no such way\n");
	return 2;
}

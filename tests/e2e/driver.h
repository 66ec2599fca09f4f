/* SPDX-License-Identifier: BSD-3-Clause */
/* What drivers in user space do with any device, by VFIO's cdev and iommufd. */
#ifndef TESTS_E2E_DRIVER_H
#define TESTS_E2E_DRIVER_H

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cases.h"
#include "check.h"

/* Linux 6.6; headers may be older. */
#define BIND_IOMMUFD _IO(';', 118)
#define ATTACH_PT _IO(';', 119)
#define IOAS_ALLOC _IO(';', 0x81)
#define IOAS_MAP _IO(';', 0x85)
#define IOAS_UNMAP _IO(';', 0x86)
#define GET_HW_INFO _IO(';', 0x8a)

enum { CAN_TRACK = 1, NEVER_ATS = 8 }; /* of out_capabilities */

enum { PAGE = 4096, IOVA = 1 << 24 };

static int iommufd, device;
static uint32_t ioas, device_id;

static inline off_t region(unsigned int index)
{
	return (off_t)index << 40;
}

static inline struct vfio_region_info region_info(unsigned int index)
{
	struct vfio_region_info info = {.argsz = sizeof(info), .index = index};

	CHECK(!ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info));
	CHECK(info.offset == (uint64_t)region(index));
	return info;
}

static inline void attach(uint32_t pt_id)
{
	struct {
		uint32_t size, flags, id;
	} arguments = {sizeof(arguments), 0, pt_id};

	CHECK(!ioctl(device, ATTACH_PT, &arguments));
}

/* Bound, by its number under /dev/vfio/devices. */
static inline void bind_device(unsigned int number)
{
	struct {
		uint32_t size, flags;
		int32_t iommufd;
		uint32_t id;
		uint64_t token;
	} bind = {.size = sizeof(bind), .iommufd = iommufd};
	char name[32];

	snprintf(name, sizeof(name), "/dev/vfio/devices/vfio%u", number);
	device = open(name, O_RDWR);
	CHECK(device >= 0);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, device, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(!ioctl(device, BIND_IOMMUFD, &bind));
	device_id = bind.id;
}

/* The first one, attached to an IOAS. */
static inline void open_device(void)
{
	struct {
		uint32_t size, flags, id;
	} arguments = {sizeof(arguments), 0, 0};

	iommufd = open("/dev/iommu", O_RDWR);
	CHECK(iommufd >= 0);
	bind_device(0);
	CHECK(!ioctl(iommufd, IOAS_ALLOC, &arguments));
	ioas = arguments.id;
	attach(ioas);
}

/* At IOVA. */
static inline void map_memory(void *memory, uint64_t length)
{
	struct {
		uint32_t size, flags, ioas, reserved;
		uint64_t address, length, iova;
	} arguments = {sizeof(arguments), 7, ioas, 0, (uint64_t)(uintptr_t)memory, length, IOVA};

	CHECK(!ioctl(iommufd, IOAS_MAP, &arguments));
}

/* What the device and its IOMMU can do. */
static inline uint64_t hw_capabilities(void)
{
	struct {
		uint32_t size, flags, dev_id, length;
		uint64_t data;
		uint32_t type;
		uint8_t pasid_lg2, reserved[3];
		uint64_t capabilities;
	} arguments = {.size = sizeof(arguments), .dev_id = device_id};

	CHECK(!ioctl(iommufd, GET_HW_INFO, &arguments));
	return arguments.capabilities;
}

static inline void unmap_memory(void)
{
	struct {
		uint32_t size, ioas;
		uint64_t iova, length;
	} arguments = {sizeof(arguments), ioas, 0, UINT64_MAX};

	CHECK(!ioctl(iommufd, IOAS_UNMAP, &arguments));
}

static inline void be_master(void)
{
	const uint16_t command = 6;

	CHECK(pwrite(device, &command, sizeof(command), region(VFIO_PCI_CONFIG_REGION_INDEX) + 4) == sizeof(command));
}

static inline void wait_for(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}

/* Say that nothing is to be done, until there is a line. */
static inline void say_idle(void)
{
	char byte;

	printf("idle\n");
	fflush(stdout);
	CHECK(read(STDIN_FILENO, &byte, 1) == 1);
}

#endif

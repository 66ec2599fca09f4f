/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For programs that run inside a guest: the copier (docs/copier.md) as vfio-pci gives it to user space.
 *
 * A program says what it has seen, a line each, and ends with status 1 at the first thing that is not as it should be.
 */
#ifndef TESTS_GUEST_VFIO_H
#define TESTS_GUEST_VFIO_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/vfio.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

enum { PAGE = 4096 };
enum { SOURCE = 0x00, DESTINATION = 0x08, LENGTH = 0x10, SOURCE_PASID = 0x14, DESTINATION_PASID = 0x18, REPEAT = 0x1c };
enum { START = 0x20, STATUS = 0x24, REASON = 0x28, COPIED = 0x2c, FAULT_ADDRESS = 0x30, ELAPSED = 0x38 };
enum { DONE = 1, FAULT = 2, BUSY = 3 };
#define NO_PASID UINT32_C(0)
#define PASID(number) (UINT32_C(1) << 31 | (number))

struct copier {
	char name[16]; /* its address on the bus */
	int fd; /* vfio's */
	volatile uint8_t *registers;
};

static inline void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	CHECK(fd >= 0);
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static inline bool is_copier(const char *name)
{
	char path[300], text[20] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/device", name);
	file = fopen(path, "re");
	if (!file)
		return false;
	CHECK(fgets(text, sizeof(text), file));
	fclose(file);
	return !strcmp(text, "0x554a\n");
}

/* The first @count on the bus, in order; vfio-pci has them then. */
static inline void find_copiers(struct copier *copiers, unsigned int count)
{
	struct dirent **entries;
	int total = scandir("/sys/bus/pci/devices", &entries, NULL, alphasort);
	unsigned int found = 0;
	char path[300];

	CHECK(total > 0);
	for (int i = 0; i < total && found < count; i++) {
		const char *name = entries[i]->d_name;

		if (!is_copier(name))
			continue;
		snprintf(copiers[found].name, sizeof(copiers[found].name), "%.15s", name);
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", name);
		write_file(path, "vfio-pci");
		write_file("/sys/bus/pci/drivers_probe", name);
		found++;
	}
	CHECK(found == count);
}

static inline int open_group(const char *name)
{
	char path[PATH_MAX], link[300];
	ssize_t length;
	int group;

	snprintf(link, sizeof(link), "/sys/bus/pci/devices/%s/iommu_group", name);
	length = readlink(link, path, sizeof(path) - 1);
	CHECK(length > 0);
	path[length] = '\0';
	snprintf(link, sizeof(link), "/dev/vfio/%.200s", strrchr(path, '/') + 1);
	group = open(link, O_RDWR);
	CHECK(group >= 0);
	return group;
}

/* The descriptor of a function that vfio-pci has, in a container (TYPE1) of its own. */
static inline int open_in_container(const char *name, int *container)
{
	struct vfio_group_status status = {.argsz = sizeof(status)};
	int group = open_group(name), fd;

	*container = open("/dev/vfio/vfio", O_RDWR);
	CHECK(*container >= 0);
	CHECK(ioctl(*container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) == 1);
	CHECK(!ioctl(group, VFIO_GROUP_GET_STATUS, &status) && status.flags & VFIO_GROUP_FLAGS_VIABLE);
	CHECK(!ioctl(group, VFIO_GROUP_SET_CONTAINER, container));
	CHECK(!ioctl(*container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name);
	CHECK(fd >= 0);
	return fd;
}

static inline void config_set(const struct copier *copier, unsigned int at, unsigned int width, uint32_t value)
{
	struct vfio_region_info info = {.argsz = sizeof(info), .index = VFIO_PCI_CONFIG_REGION_INDEX};

	CHECK(!ioctl(copier->fd, VFIO_DEVICE_GET_REGION_INFO, &info));
	CHECK(pwrite(copier->fd, &value, width, (off_t)(info.offset + at)) == (ssize_t)width);
}

/* With its descriptor: map the registers, and let it do DMA. */
static inline void start_copier(struct copier *copier)
{
	struct vfio_region_info info = {.argsz = sizeof(info), .index = VFIO_PCI_BAR0_REGION_INDEX};
	void *bar;

	CHECK(!ioctl(copier->fd, VFIO_DEVICE_GET_REGION_INFO, &info));
	bar = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, copier->fd, (off_t)info.offset);
	CHECK(bar != MAP_FAILED);
	copier->registers = bar;
	config_set(copier, 4, 2, 6);
}

static inline uint32_t get(const struct copier *copier, unsigned int offset)
{
	return *(volatile uint32_t *)(copier->registers + offset);
}

static inline uint64_t get64(const struct copier *copier, unsigned int offset)
{
	return *(volatile uint64_t *)(copier->registers + offset);
}

static inline void set(const struct copier *copier, unsigned int offset, uint32_t value)
{
	*(volatile uint32_t *)(copier->registers + offset) = value;
}

static inline void set64(const struct copier *copier, unsigned int offset, uint64_t value)
{
	*(volatile uint64_t *)(copier->registers + offset) = value;
}

/* From @source in @from to @destination in @to: DONE or FAULT. */
static inline uint32_t copy(const struct copier *copier, uint64_t source, uint32_t from, uint64_t destination, uint32_t to,
			    uint32_t length)
{
	set64(copier, SOURCE, source);
	set64(copier, DESTINATION, destination);
	set(copier, LENGTH, length);
	set(copier, SOURCE_PASID, from);
	set(copier, DESTINATION_PASID, to);
	set(copier, START, 1);
	while (get(copier, STATUS) == BUSY)
		sched_yield();
	return get(copier, STATUS);
}

static inline uint8_t *memory(size_t bytes)
{
	uint8_t *made = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(made != MAP_FAILED);
	return made;
}

static inline void fill(uint8_t *bytes, size_t count, unsigned int seed)
{
	for (size_t i = 0; i < count; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 256 * 3 + seed * 85);
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* A function as Linux gives it to root. @name: its place, 0000:00:10.0 for the VT-d. */
#ifndef TESTS_GUEST_BAR_H
#define TESTS_GUEST_BAR_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

/* The first page of BAR 0. */
static inline volatile uint8_t *map_bar(const char *name)
{
	char path[300];
	void *bar;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", name);
	fd = open(path, O_RDWR);
	bar = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(fd >= 0 && bar != MAP_FAILED);
	close(fd);
	return bar;
}

/* Its config space; it decodes its BARs, and is a bus master. */
static inline int open_config(const char *name)
{
	uint16_t command = 6;
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", name);
	fd = open(path, O_RDWR);
	CHECK(fd >= 0 && pwrite(fd, &command, 2, 4) == 2);
	return fd;
}

#endif

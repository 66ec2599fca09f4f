/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs inside a guest, as its init's only program: finds the device of examples/device.c as any driver would, and uses it. Says
 * what it has seen, a line each; "passed" is the last one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SOURCE = 0x00, DESTINATION = 0x08, LENGTH = 0x10, PASID = 0x14, START = 0x18, STATUS = 0x1c, REASON = 0x20, COPIED = 0x30 };
enum { DONE = 1, FAULT = 2, PAGE = 4096, BYTES = 3000 };
#define FIRMWARE UINT64_C(0xfffff000) /* memory that QEMU has no descriptor for */
enum { DRAINING = 2, UNMAPPED = 3, MEMORY = 7 }; /* enum uiommu_fault_reason */

static char device[300]; /* its folder in /sys */
static volatile uint8_t *registers;
static int config;

#define CHECK(condition)                                                                                                           \
	do {                                                                                                                       \
		if (!(condition)) {                                                                                                \
			printf("FAILED: line %d: %s (errno %d)\n", __LINE__, #condition, errno);                                   \
			exit(1);                                                                                                   \
		}                                                                                                                  \
	} while (0)

static int open_at(const char *folder, const char *name, int flags)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return open(path, flags);
}

static uint32_t config_get(unsigned int at, unsigned int width)
{
	uint32_t value = 0;

	CHECK(pread(config, &value, width, at) == (ssize_t)width);
	return value;
}

static void config_set(unsigned int at, unsigned int width, uint32_t value)
{
	CHECK(pwrite(config, &value, width, at) == (ssize_t)width);
}

static void find_device(void)
{
	DIR *bus = opendir("/sys/bus/pci/devices");
	const struct dirent *entry;

	CHECK(bus);
	while ((entry = readdir(bus))) {
		snprintf(device, sizeof(device), "/sys/bus/pci/devices/%s", entry->d_name);
		config = entry->d_name[0] == '.' ? -1 : open_at(device, "config", O_RDWR);
		if (config >= 0 && config_get(0, 4) == 0x55491234)
			break;
		close(config);
		device[0] = '\0';
	}
	closedir(bus);
	CHECK(device[0]);
	CHECK(config_get(8, 4) >> 8 == 0x120000);
	CHECK(config_get(6, 2) & 0x10);
	printf("found %s\n", device);
}

static unsigned int capability(unsigned int id)
{
	unsigned int at = config_get(0x34, 1);

	while (at && config_get(at, 1) != id)
		at = config_get(at + 1, 1);
	return at;
}

static volatile uint8_t *map_bar(const char *name)
{
	int fd = open_at(device, name, O_RDWR);
	void *bar = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(fd >= 0 && bar != MAP_FAILED);
	close(fd);
	return bar;
}

static uint32_t get(unsigned int offset)
{
	return *(volatile uint32_t *)(registers + offset);
}

static void set(unsigned int offset, uint32_t value)
{
	*(volatile uint32_t *)(registers + offset) = value;
}

static void set_address(unsigned int offset, uint64_t value)
{
	*(volatile uint64_t *)(registers + offset) = value;
}

/* A page, and where the device finds it. */
static uint8_t *page(uint64_t *address)
{
	uint8_t *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry;

	CHECK(memory != MAP_FAILED && fd >= 0);
	CHECK(pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)memory / PAGE * sizeof(entry))) == sizeof(entry));
	CHECK(entry >> 63 && (entry & ((UINT64_C(1) << 55) - 1)));
	*address = (entry & ((UINT64_C(1) << 55) - 1)) * PAGE;
	close(fd);
	return memory;
}

static uint32_t copy(uint64_t source, uint64_t destination, uint32_t length)
{
	set_address(SOURCE, source);
	set_address(DESTINATION, destination);
	set(LENGTH, length);
	set(START, 1);
	return get(STATUS);
}

static void copies_memory(void)
{
	uint64_t from, to;
	uint8_t *source = page(&from), *destination = page(&to);

	for (unsigned int i = 0; i < PAGE; i++)
		source[i] = (uint8_t)(i * 7 + i / 251);
	CHECK(copy(from + 5, to + 9, BYTES) == DONE);
	CHECK(get(COPIED) == BYTES);
	CHECK(!memcmp(source + 5, destination + 9, BYTES));
	CHECK(!destination[8] && !destination[9 + BYTES]);
	printf("memory was copied\n");

	CHECK(copy(UINT64_C(1) << 40, to, 8) == FAULT);
	CHECK(get(REASON) == UNMAPPED);
	CHECK(copy(FIRMWARE, to, 8) == FAULT); /* what takes a message, from the thread that serves */
	CHECK(get(REASON) == MEMORY);
	config_set(4, 2, 2);
	CHECK(copy(from, to, 8) == FAULT);
	CHECK(get(REASON) == DRAINING); /* it is no bus master */
	config_set(4, 2, 6);
	CHECK(copy(from, to, 8) == DONE);
	printf("faults are told\n");
}

/* Where MSI-X goes is up to the guest: to a page of memory, so that this program sees it arrive. */
static void sends_msix(void)
{
	unsigned int at = capability(0x11);
	volatile uint32_t *table = (volatile uint32_t *)map_bar("resource2");
	uint64_t address, from;
	volatile uint32_t *arrival = (volatile uint32_t *)page(&address);

	page(&from);
	CHECK(at);
	table[0] = (uint32_t)address;
	table[1] = (uint32_t)(address >> 32);
	table[2] = 0x600dcafe;
	table[3] = 0;
	config_set(at + 2, 2, 0x8000);
	CHECK(copy(from, from + 100, 8) == DONE);
	while (arrival[0] != 0x600dcafe)
		sched_yield();
	config_set(at + 2, 2, 0);
	printf("MSI-X arrived\n");
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* Through uio_pci_generic, which masks the pin itself each time. */
static void sends_intx(void)
{
	uint64_t from;
	int uio, count;

	page(&from);
	write_file("/sys/bus/pci/drivers/uio_pci_generic/new_id", "1234 5549");
	uio = open("/dev/uio0", O_RDWR);
	CHECK(uio >= 0);
	for (int i = 1; i <= 3; i++) {
		set(STATUS, 0);
		config_set(4, 2, 6);
		CHECK(copy(from, from + 100, 8) == DONE);
		CHECK(read(uio, &count, sizeof(count)) == sizeof(count));
		CHECK(count == i);
	}
	set(STATUS, 0);
	close(uio);
	printf("INTx arrived\n");
}

static void is_reset(void)
{
	char path[400];

	set(LENGTH, 77);
	CHECK(get(LENGTH) == 77);
	snprintf(path, sizeof(path), "%s/reset", device);
	write_file(path, "1");
	CHECK(get(LENGTH) == 0 && get(STATUS) == 0);
	printf("a function level reset was made\n");
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	find_device();
	config_set(4, 2, 6);
	CHECK(capability(0x10));
	CHECK((config_get(0x100, 4) & 0xffff) == 0x1b); /* PASID */
	registers = map_bar("resource0");
	copies_memory();
	sends_msix();
	is_reset();
	sends_intx();
	printf("passed\n");
	return 0;
}

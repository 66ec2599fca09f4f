/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs inside a guest, for bench/guest: what the kernel's own benchmark says of mapping and unmapping for DMA, and how long a read
 * of a device's register takes. Prints numbers in ns.
 *
 *	guest-map map BDF SECONDS PAGES		map and unmap, on average
 *	guest-map read BDF COUNT		a read of a register, in the fastest of ten rounds
 *	guest-map disk COUNT BYTES PATH		a read of so much, in the fastest of ten rounds
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* As of Linux 7.2 (linux/map_benchmark.h), which no Debian has yet. */
struct map_benchmark {
	uint64_t map_100ns, map_deviation, unmap_100ns, unmap_deviation;
	uint32_t threads, seconds;
	int32_t node;
	uint32_t dma_bits, direction, transmission_ns, pages;
	uint8_t mode, expansion[75];
};

_Static_assert(sizeof(struct map_benchmark) == 136, "the kernel's");

static int complain(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return 1;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), error = 0;

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		error = complain(path);
	close(fd);
	return error;
}

/* The kernel's benchmark is a driver; whoever has the device gives it up. */
static int bind_benchmark(const char *bdf)
{
	char path[200];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver/unbind", bdf);
	if (!access(path, F_OK) && write_file(path, bdf))
		return 1;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", bdf);
	return write_file(path, "dma_map_benchmark") || write_file("/sys/bus/pci/drivers_probe", bdf);
}

static int map(const char *bdf, const char *seconds, const char *pages)
{
	struct map_benchmark benchmark = {.threads = 1, .node = -1, .dma_bits = 64};
	int fd;

	benchmark.seconds = (uint32_t)atoi(seconds);
	benchmark.pages = (uint32_t)atoi(pages);
	if (access("/sys/kernel/debug/dma_map_benchmark", F_OK) && bind_benchmark(bdf))
		return 1;
	fd = open("/sys/kernel/debug/dma_map_benchmark", O_RDWR);
	if (fd < 0 || ioctl(fd, _IOWR('d', 1, struct map_benchmark), &benchmark))
		return complain("dma_map_benchmark");
	printf("%llu %llu\n", (unsigned long long)benchmark.map_100ns * 100, (unsigned long long)benchmark.unmap_100ns * 100);
	return 0;
}

static double now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* One of several equal things, in ns; negative: it could not be done. */
static double fastest(unsigned int count, int (*one)(void *opaque), void *opaque)
{
	double best = 1e18, start;

	for (unsigned int round = 0; round < 10; round++) {
		start = now_ns();
		for (unsigned int i = 0; i < count; i++)
			if (one(opaque))
				return -1;
		start = (now_ns() - start) / count;
		best = start < best ? start : best;
	}
	return best;
}

static int read_one(void *opaque)
{
	volatile uint32_t *bar = opaque;

	(void)bar[2];
	return 0;
}

static int read_register(const char *bdf, const char *count)
{
	char path[200];
	void *bar;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/enable", bdf);
	(void)write_file(path, "1");
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", bdf);
	fd = open(path, O_RDWR);
	bar = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || bar == MAP_FAILED)
		return complain(path);
	printf("%.0f\n", fastest((unsigned int)atoi(count), read_one, bar));
	return 0;
}

enum { BLOCK = 4096 };

struct disk {
	int fd;
	void *buffer;
	size_t bytes;
};

static int read_block(void *opaque)
{
	const struct disk *disk = opaque;

	return pread(disk->fd, disk->buffer, disk->bytes, 0) != (ssize_t)disk->bytes;
}

static int read_disk(const char *path, const char *count, const char *bytes)
{
	struct disk disk = {.fd = open(path, O_RDONLY | O_DIRECT), .bytes = strtoul(bytes, NULL, 0)};
	double time;

	disk.buffer = aligned_alloc(BLOCK, disk.bytes);
	if (disk.fd < 0 || !disk.buffer)
		return complain(path);
	memset(disk.buffer, 1, disk.bytes);
	time = fastest((unsigned int)atoi(count), read_block, &disk);
	if (time < 0)
		return complain(path);
	printf("%.0f\n", time);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "map"))
		return map(argv[2], argv[3], argv[4]);
	if (argc == 4 && !strcmp(argv[1], "read"))
		return read_register(argv[2], argv[3]);
	if (argc == 5 && !strcmp(argv[1], "disk"))
		return read_disk(argv[4], argv[2], argv[3]);
	fprintf(stderr, "Usage: %s map BDF SECONDS PAGES | read BDF COUNT | disk COUNT BYTES PATH\n", argv[0]);
	return 2;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A VT-d and two devices for a peer that compares it with QEMU's (test_vtd.py). It speaks QEMU's qtest protocol, as far as the peer
 * does: registers are where QEMU has its unit's, and RAM is a file.
 *
 *	peer-vtd RAM SOURCE-ID SOURCE-ID
 *
 * Beyond that: "dma_write N ADDRESS 0xDATA" and "dma_read N ADDRESS LENGTH", by device N.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#define REGISTERS UINT64_C(0xfed90000)
/* What QEMU has no RAM at. */
#define HOLE_START UINT64_C(0xa0000)
#define HOLE_END UINT64_C(0x100000)

enum { DEVICES = 2, BYTES = 8192 };

static struct {
	struct uiommu_context *context;
	struct uiommu_vtd *vtd;
	struct uiommu_device *devices[DEVICES];
	uint8_t data[BYTES];
} self;

static void must(int error, const char *what)
{
	if (!error)
		return;
	fprintf(stderr, "peer-vtd: %s: %s\n", what, strerror(-error));
	exit(1);
}

static void map(uint32_t ioas, int fd, uint64_t start, uint64_t end)
{
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
		.ioas_id = ioas,
		.source = UIOMMU_MAP_FILE,
		.fd = fd,
		.offset = start,
		.iova = start,
		.length = end - start,
	};

	must(uiommu_ioas_map(self.context, &map), "map");
}

static uint32_t make_memory(const char *path)
{
	struct uiommu_hwpt_alloc alloc = {.size = sizeof(alloc), .type = UIOMMU_HWPT_PAGING, .flags = UIOMMU_HWPT_NEST_PARENT};
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat about = {.st_size = 0};
	uint32_t parent;

	must(fd < 0 || fstat(fd, &about) ? -errno : 0, path);
	must(uiommu_ioas_alloc(self.context, &alloc.parent_id), "IOAS");
	map(alloc.parent_id, fd, 0, HOLE_START);
	map(alloc.parent_id, fd, HOLE_END, (uint64_t)about.st_size);
	close(fd);
	must(uiommu_hwpt_alloc(self.context, &alloc, &parent), "HWPT");
	return parent;
}

static void make(const char *ram, char *const *source_ids)
{
	struct uiommu_vtd_config config = {.size = sizeof(config)};
	char name[] = "device0";

	must(uiommu_open(NULL, &self.context), "context");
	config.parent_id = make_memory(ram);
	must(uiommu_vtd_create(self.context, &config, &self.vtd), "VT-d");
	for (unsigned int i = 0; i < DEVICES; i++, name[6]++) {
		const struct uiommu_device_config device = {.size = sizeof(device), .rid = i, .name = name, .pasid_bits = 20};
		uint32_t id;

		must(uiommu_device_alloc(self.context, &device, &id), "device");
		must(uiommu_vtd_add(self.vtd, id, (uint32_t)strtoul(source_ids[i], NULL, 0)), "source id");
		self.devices[i] = uiommu_device_get(self.context, id);
	}
}

static void end(void)
{
	must(uiommu_vtd_destroy(self.vtd), "end");
	for (unsigned int i = 0; i < DEVICES; i++)
		uiommu_device_put(self.devices[i]);
	must(uiommu_close(self.context), "close");
}

/* Bytes from "0x..."; how many. */
static size_t parse_bytes(const char *text)
{
	size_t count = 0;
	unsigned int byte;

	for (text += 2; count < BYTES && sscanf(text, "%2x", &byte) == 1; text += 2)
		self.data[count++] = (uint8_t)byte;
	return count;
}

static void print_bytes(size_t count)
{
	printf("OK 0x");
	for (size_t i = 0; i < count; i++)
		printf("%02x", self.data[i]);
	printf("\n");
}

/* "OK" or "FAULT", how much has been moved, and what was read. */
static bool dma(char *line)
{
	unsigned int number, length;
	char data[2 * BYTES + 3];
	struct uiommu_dma_result result;
	uint64_t address;
	int error;

	if (sscanf(line, "dma_write %u %" SCNi64 " %16386s", &number, (int64_t *)&address, data) == 3 && number < DEVICES) {
		error = uiommu_dma_write(self.devices[number], UIOMMU_NO_PASID, address, self.data, parse_bytes(data), &result);
		printf("OK %s\n", error ? "fault" : "done");
		return true;
	}
	if (sscanf(line, "dma_read %u %" SCNi64 " %u", &number, (int64_t *)&address, &length) != 3 || number >= DEVICES ||
	    length > BYTES)
		return false;
	error = uiommu_dma_read(self.devices[number], UIOMMU_NO_PASID, address, self.data, length, &result);
	if (error)
		printf("OK fault\n");
	else
		print_bytes(length);
	return true;
}

static bool registers(char *line)
{
	uint64_t address, value;
	char size;

	if (sscanf(line, "read%c %" SCNi64, &size, (int64_t *)&address) == 2 && address >= REGISTERS) {
		printf("OK 0x%016" PRIx64 "\n", uiommu_vtd_read(self.vtd, address - REGISTERS, size == 'q' ? 8 : 4));
		return true;
	}
	if (sscanf(line, "write%c %" SCNi64 " %" SCNi64, &size, (int64_t *)&address, (int64_t *)&value) != 3 || address < REGISTERS)
		return false;
	uiommu_vtd_write(self.vtd, address - REGISTERS, size == 'q' ? 8 : 4, value);
	printf("OK\n");
	return true;
}

int main(int argc, char **argv)
{
	char line[4 * BYTES];

	if (argc != 2 + DEVICES) {
		fprintf(stderr, "Usage: %s RAM SOURCE-ID SOURCE-ID\n", argv[0]);
		return 2;
	}
	must(uiommu_install_fault_handler(), "fault handler");
	make(argv[1], argv + 2);
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin))
		if (!dma(line) && !registers(line))
			printf("FAIL\n");
	end();
	return 0;
}

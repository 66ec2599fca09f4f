/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ioas SOCKET PID ADDRESS LENGTH: memory of this program and memory of a process, in one descriptor.
 *
 * A memfd is mapped in the client's I/O address space, where the device reaches it without a PASID. One descriptor copies the
 * process's memory there; this program reverses the bytes; another descriptor writes them back. Prints the two times in ns.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

static void check(const char *what, int error)
{
	if (!error)
		return;
	fprintf(stderr, "ioas: %s: %s\n", what, strerror(-error));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* Sealed against shrinking: the daemon may rely on it that the memory stays. */
static int make_memory(size_t length, uint8_t **memory)
{
	int fd = memfd_create("ioas", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)length) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK))
		check("memfd", -errno);
	*memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*memory == MAP_FAILED)
		check("mmap", -errno);
	/* Pages appear when they are touched; the times shall be those of the copies. */
	memset(*memory, 0, length);
	return fd;
}

static void reverse(uint8_t *memory, size_t length)
{
	for (size_t i = 0, j = length - 1; i < j; i++, j--) {
		uint8_t byte = memory[i];

		memory[i] = memory[j];
		memory[j] = byte;
	}
}

/* An end of a copy: an address, and a handle that says in which address space. */
struct end {
	uint64_t address;
	uint16_t handle;
};

static uint64_t copy(struct uiommu_queue *queue, struct uiommu_accel_record *record, struct end to, struct end from, size_t length)
{
	uint32_t flags = UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD | UIOMMU_ACCEL_REQUEST_INTERRUPT;
	struct uiommu_accel_desc desc = {
		.flags_opcode = flags | (uint32_t)UIOMMU_ACCEL_MEMMOVE << 24,
		.completion_address = (uintptr_t)record,
		.source = from.address,
		.destination = to.address,
		.transfer_size = (uint32_t)length,
		.handles = from.handle | (uint64_t)to.handle << 16,
	};
	uint64_t began = now();

	memset(record, 0, sizeof(*record));
	check("submit", uiommu_queue_submit(queue, &desc));
	check("wait", uiommu_queue_wait(queue, record));
	if (record->status != UIOMMU_ACCEL_SUCCESS) {
		fprintf(stderr, "ioas: status 0x%02x at 0x%llx\n", record->status, (unsigned long long)record->fault_address);
		exit(1);
	}
	return now() - began;
}

static uint32_t bind_process(struct uiommu_client *client, pid_t pid)
{
	uint32_t pasid = UIOMMU_NO_PASID;
	struct uiommu_process process;

	check("open process", uiommu_process_open(pid, UIOMMU_READ | UIOMMU_WRITE, &process));
	check("bind process", uiommu_client_bind(client, &process, UIOMMU_READ | UIOMMU_WRITE, &pasid));
	uiommu_process_close(&process);
	return pasid;
}

int main(int argc, char **argv)
{
	struct uiommu_queue_config config = {.size = sizeof(config), .flags = UIOMMU_QUEUE_HANDLES, .entries = 2};
	struct uiommu_ioas_map map = {.size = sizeof(map), .flags = UIOMMU_MAP_READ | UIOMMU_MAP_WRITE, .source = UIOMMU_MAP_FILE};
	uint32_t own = UIOMMU_NO_PASID;
	struct end process, ioas;
	struct uiommu_accel_record *record;
	struct uiommu_client *client;
	struct uiommu_queue *queue;
	uint8_t *memory;
	uint64_t there;
	size_t records;

	if (argc != 5) {
		fprintf(stderr, "usage: ioas SOCKET PID ADDRESS LENGTH\n");
		return 2;
	}
	map.length = strtoull(argv[4], NULL, 0);
	map.fd = make_memory(map.length, &memory);

	/* The queue belongs to this process, and so do its completion records; the ends of the copies are named by handles. */
	check("connect", uiommu_client_connect(argv[1], NULL, &client));
	check("bind", uiommu_client_bind(client, NULL, UIOMMU_READ | UIOMMU_WRITE, &own));
	config.pasid = own;
	check("queue", uiommu_client_queue(client, &config, &queue));
	record = uiommu_client_records(client, &records);

	check("map", uiommu_client_map(client, &map));
	ioas.address = map.iova;
	check("grant", uiommu_client_grant(client, UIOMMU_NO_PASID, &ioas.handle));
	process.address = strtoull(argv[3], NULL, 0);
	check("grant", uiommu_client_grant(client, bind_process(client, (pid_t)strtol(argv[2], NULL, 10)), &process.handle));

	there = copy(queue, record, ioas, process, map.length);
	reverse(memory, map.length);
	printf("%llu %llu\n", (unsigned long long)there, (unsigned long long)copy(queue, record, process, ioas, map.length));
	uiommu_queue_destroy(queue);
	uiommu_client_close(client);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a call costs a program in a session: this program runs itself under `uiommu run`. The floor is a bare round trip over a UNIX
 * socket to a process that sleeps in recv(2), of messages as long as those of the shim. And what a load from a mapped BAR costs,
 * beside one from memory of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi/session/protocol.h"
#include "harness.h"
#include "in_session.h"
#include "support/support.h"

enum { CALLS = 20000, LOADS = 4 << 20, BAR = 8192, REPEATS = 15, CPU = 1 };

#define IOMMU_DESTROY _IO(';', 0x80)
#define IOMMU_IOAS_ALLOC _IO(';', 0x81)
#define VFIO_BIND _IO(';', 0x76)

struct bench {
	const volatile uint64_t *bar;
	const volatile uint64_t *memory; /* as long */
	int iommu;
	int socket;
	pid_t echo;
};

static double bare(void *opaque)
{
	const struct bench *bench = opaque;
	char message[sizeof(struct session_request) + SESSION_INLINE] = {0};
	double start = bench_now_ns();

	for (unsigned int i = 0; i < CALLS; i++) {
		support_check(send(bench->socket, message, sizeof(message), 0) == sizeof(message));
		support_check(recv(bench->socket, message, sizeof(message), 0) == sizeof(struct session_reply));
	}
	return (bench_now_ns() - start) / CALLS;
}

/* A call that is served, finds nothing, and writes nothing back. */
static double destroy_nothing(void *opaque)
{
	const struct bench *bench = opaque;
	uint32_t arguments[2] = {sizeof(arguments), 1};
	double start = bench_now_ns();

	for (unsigned int i = 0; i < CALLS; i++)
		support_check(ioctl(bench->iommu, IOMMU_DESTROY, arguments) == -1 && errno == ENOENT);
	return (bench_now_ns() - start) / CALLS;
}

/* Two calls, one of which writes its struct back. */
static double alloc_and_destroy(void *opaque)
{
	const struct bench *bench = opaque;
	double start = bench_now_ns();

	for (unsigned int i = 0; i < CALLS / 2; i++) {
		uint32_t arguments[3] = {sizeof(arguments)}, end[2] = {sizeof(end)};

		support_check(!ioctl(bench->iommu, IOMMU_IOAS_ALLOC, arguments));
		end[1] = arguments[2];
		support_check(!ioctl(bench->iommu, IOMMU_DESTROY, end));
	}
	return (bench_now_ns() - start) / CALLS;
}

/* --- loads --- */

static void map_both(struct bench *bench)
{
	struct {
		uint32_t size, flags;
		int32_t iommu;
		uint32_t id;
	} bind = {.size = sizeof(bind), .iommu = bench->iommu};
	int device = open("/dev/vfio/devices/vfio0", O_RDWR | O_CLOEXEC);

	support_check(device >= 0 && !ioctl(device, VFIO_BIND, &bind));
	bench->bar = mmap(NULL, BAR, PROT_READ, MAP_SHARED, device, 0);
	bench->memory = mmap(NULL, BAR, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	support_check(bench->bar != MAP_FAILED && bench->memory != MAP_FAILED);
}

static double load(const volatile uint64_t *from)
{
	double start = bench_now_ns();
	uint64_t all = 0;

	for (unsigned int i = 0; i < LOADS; i++)
		all |= from[i % (BAR / sizeof(*from))];
	/* So that nothing is left out. */
	__asm__ volatile("" : : "r"(all));
	return (bench_now_ns() - start) / LOADS;
}

static double load_bar(void *opaque)
{
	return load(((const struct bench *)opaque)->bar);
}

static double load_memory(void *opaque)
{
	return load(((const struct bench *)opaque)->memory);
}

int main(int argc, char **argv)
{
	struct bench bench;
	struct bench_pair pair;

	(void)argc;
	support_drop_privileges();
	in_session(argv, "nvme,size=1M", CPU);
	bench.iommu = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	support_check(bench.iommu >= 0);
	bench.socket = in_session_echo(sizeof(struct session_reply), &bench.echo);
	pair = bench_measure_pair(destroy_nothing, bare, &bench, REPEATS);
	bench_report_pair("ioctl_roundtrip", "ns", &pair, 1.5,
			  "an ioctl through the shim to a sleeping session; floor: a bare round trip over a UNIX socket");
	pair = bench_measure_pair(alloc_and_destroy, bare, &bench, REPEATS);
	bench_report_pair("ioctl_alloc_destroy", "ns", &pair, 0,
			  "per call: IOAS_ALLOC, whose struct is written back, and DESTROY; same floor");
	map_both(&bench);
	pair = bench_measure_pair(load_bar, load_memory, &bench, REPEATS);
	bench_report_pair("bar_load", "ns", &pair, 1.1, "a load from a BAR that is mapped; floor: from shared memory");
	kill(bench.echo, SIGKILL);
	waitpid(bench.echo, NULL, 0);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What accessed and dirty bits cost in tables that a program of a session has mapped by address: this program runs itself under
 * `uiommu run`. A device writes to pages whose entries have the bits, and to the same ones without; the difference is the
 * compare-and-swap that the program's thread does for the session. The floor is a bare round trip over a UNIX socket of messages of
 * the same length, to a process that sleeps in recv(2).
 */
#include "../tests/e2e/tables.h"

#include <sys/socket.h>

#include "abi/session/protocol.h"
#include "harness.h"
#include "in_session.h"
#include "support/support.h"

enum { SWAPS = 256, TRIPS = 5000, TRIES = 5, REPEATS = 9, CPU = 1, FILL = 4 << 24 | 4 | 8 };

#define PAGES_AT (FAR & ~UINT64_C(0x1fffff)) /* the first of the same table */

struct bench {
	int socket;
	pid_t echo;
	double plain; /* the same access with nothing to be changed, the least so far */
};

static double bare(void *opaque)
{
	const struct bench *bench = opaque;
	struct session_swap message = {0};
	double start;

	bench_pin(0, CPU);
	start = bench_now_ns();
	for (unsigned int i = 0; i < TRIPS; i++) {
		support_check(send(bench->socket, &message, sizeof(message), 0) == sizeof(message));
		support_check(recv(bench->socket, &message, sizeof(message), 0) == sizeof(message));
	}
	return (bench_now_ns() - start) / TRIPS;
}

/* One access of many pages, whose entries have @bits. This thread waits for its end on another CPU than those who work. */
static double write_pages(uint64_t bits, uint64_t after)
{
	const struct descriptor descriptor = {
		.flags_opcode = FILL, .record = iova(memory->records), .source = 1, .destination = PAGES_AT, .size = SWAPS * PAGE};
	uint64_t *far = leaf_of(format, root, PAGES_AT);
	double start, end;

	for (unsigned int i = 0; i < SWAPS; i++)
		far[i] = gpa(spare_page(0)) | bits;
	memset(memory->records, 0, sizeof(memory->records));
	forget();
	start = bench_now_ns();
	submit(0, &descriptor);
	support_check(status_of(0) == 1);
	end = bench_now_ns();
	for (unsigned int i = 0; i < SWAPS; i++)
		support_check(far[i] == (gpa(spare_page(0)) | after));
	return (end - start) / SWAPS;
}

static double least(uint64_t bits, uint64_t after)
{
	double found = write_pages(bits, after);

	for (unsigned int i = 1; i < TRIES; i++) {
		double again = write_pages(bits, after);

		found = again < found ? again : found;
	}
	return found;
}

static double swap(void *opaque)
{
	struct bench *bench = opaque;
	double plain;

	bench_pin(0, CPU + 1);
	plain = least(format->written, format->written);
	bench->plain = plain < bench->plain ? plain : bench->plain;
	return least(format->fresh, format->written) - plain;
}

int main(int argc, char **argv)
{
	struct bench bench = {.plain = 1e9};
	struct bench_pair pair;

	(void)argc;
	support_drop_privileges();
	in_session(argv, "dsa", CPU);
	begin_nested("vtd", false);
	write_pages(format->written, format->written);
	bench.socket = in_session_echo(sizeof(struct session_swap), &bench.echo);
	pair = bench_measure_pair(swap, bare, &bench, REPEATS);
	bench_report_pair(
		"swap_by_address", "ns", &pair, 0,
		"accessed and dirty bit of an entry that is mapped by address; floor: a bare round trip over a UNIX socket");
	bench_report_value("swap_without", "ns", bench.plain, -1,
			   "the access itself, of a page whose entry has the bits: the entry is read, and the page is written to");
	kill(bench.echo, SIGKILL);
	waitpid(bench.echo, NULL, 0);
	return 0;
}

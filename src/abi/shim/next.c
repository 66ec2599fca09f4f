/* SPDX-License-Identifier: BSD-3-Clause */
/* Start: what is found once, so that nothing is looked for in a signal handler. */
#include "abi/shim/next.h"

#include <dlfcn.h>
#include <errno.h>

#include "abi/shim/client.h"

struct next next;

void *next_find(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

long next_result(long result)
{
	if (result >= 0 || result < -4095)
		return result;
	errno = (int)-result;
	return -1;
}

__attribute__((constructor)) static void start(void)
{
	next.openat = next_find("openat");
	next.read = next_find("read");
	next.write = next_find("write");
	next.pread = next_find("pread");
	next.pwrite = next_find("pwrite");
	next.readv = next_find("readv");
	next.writev = next_find("writev");
	next.preadv2 = next_find("preadv2");
	next.pwritev2 = next_find("pwritev2");
	next.fallocate = next_find("fallocate");
	next.fopen = next_find("fopen");
	next.opendir = next_find("opendir");
	next.scandir = next_find("scandir");
	next.realpath = next_find("realpath");
	next.nftw = next_find("nftw");
	next.ftw = next_find("ftw");
	next.glob = next_find("glob");
	next.getcwd = next_find("getcwd");
	next.sigaction = next_find("sigaction");
	if (!client_active())
		return;
	client_connect();
}

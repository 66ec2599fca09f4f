/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A file whose pages never come. Prints its name, or "!" and why there is none, then a line for each page that is asked for, until
 * its input ends: then whoever waits for one gets an error.
 */
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "support/stuck.h"

int main(void)
{
	struct pollfd wait[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.events = POLLIN}};
	const char *missing;
	char byte;

	stuck_prepare();
	missing = stuck_missing(STUCK_FUSE);
	printf("%s%s\n", missing ? "!" : "", missing ? missing : stuck_path());
	fflush(stdout);
	wait[1].fd = stuck_event();
	while (!missing && poll(wait, 2, -1) > 0 && !wait[0].revents)
		if (read(wait[1].fd, &byte, 1) == 1) {
			printf("asked\n");
			fflush(stdout);
		}
	stuck_finish();
	return 0;
}

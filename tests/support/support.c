/* SPDX-License-Identifier: BSD-3-Clause */
#include "support.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { ORDINARY_USER = 65534 };

void support_die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(1);
}

void support_check_errno(int error, const char *what)
{
	if (error) {
		errno = -error;
		support_die(what);
	}
}

void support_drop_privileges(void)
{
	if (geteuid() == 0) {
		if (setgroups(0, NULL) || setresgid(ORDINARY_USER, ORDINARY_USER, ORDINARY_USER) ||
		    setresuid(ORDINARY_USER, ORDINARY_USER, ORDINARY_USER))
			support_die("become an ordinary user");
	}
	prctl(PR_SET_DUMPABLE, 1);
}

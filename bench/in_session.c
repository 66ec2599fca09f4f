/* SPDX-License-Identifier: BSD-3-Clause */
#include "in_session.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "abi/session/protocol.h"
#include "harness.h"
#include "support/support.h"

void in_session(char **argv, const char *device, unsigned int cpu)
{
	char self[PATH_MAX], uiommu[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (getenv(SESSION_VARIABLE))
		return;
	support_check(length > 0);
	self[length] = '\0';
	strcpy(uiommu, self);
	slash = strrchr(uiommu, '/');
	support_check(slash && (size_t)(slash - uiommu) + sizeof("/../uiommu") < sizeof(uiommu));
	strcpy(slash, "/../uiommu");
	argv[0] = self;
	/* On two, waking the other one costs more than all the rest, and hides it. */
	bench_pin(0, cpu);
	execl(uiommu, "uiommu", "run", "--device", device, "--", self, NULL);
	support_die(uiommu);
}

int in_session_echo(size_t answer, pid_t *child)
{
	char message[sizeof(struct session_request) + SESSION_INLINE] = {0};
	int ends[2];

	support_check(answer <= sizeof(message) && !socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
	*child = fork();
	support_check(*child >= 0);
	if (!*child) {
		close(ends[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (recv(ends[1], message, sizeof(message), 0) > 0)
			send(ends[1], message, answer, MSG_NOSIGNAL);
		_exit(0);
	}
	close(ends[1]);
	return ends[0];
}

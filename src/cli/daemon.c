/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/daemon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *reason(int error)
{
	switch (error) {
	case -ENOENT:
	case -ECONNREFUSED:
		return "no daemon is listening there";
	case -EPROTO:
		return "whoever listens there is no uiommud of this version";
	default:
		return strerror(-error);
	}
}

enum status daemon_connect(const char *socket, struct uiommu_client **out)
{
	const char *environment = getenv("UIOMMU_SOCKET");
	int error = uiommu_client_connect(socket, NULL, out);

	if (!error)
		return STATUS_OK;
	if (!socket)
		socket = environment && *environment ? environment : "the daemon's usual sockets";
	return complain(status_of(error), "%s: %s", socket, reason(error));
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int notify_open(void)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t length = name ? strlen(name) : 0;
	int fd;

	if (!length || length >= sizeof(to.sun_path))
		return -1;
	memcpy(to.sun_path, name, length);
	if (*name == '@')
		to.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || !connect(fd, (struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)))
		return fd;
	close(fd);
	return -1;
}

void notify_ready(int fd)
{
	static const char text[] = "READY=1\nSTATUS=Serving";

	if (fd < 0)
		return;
	send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL);
	close(fd);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The sockets of a guest's server. Names are made here alone; the server, which gives up its rights to them, only listens. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/vm/vm.h"

static int listen_at(const struct vm *vm, unsigned int index)
{
	static const char *const names[] = {[VM_SOCKET_CONTROL] = "control", [VM_SOCKET_VTD] = "vtd"};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, error;

	_Static_assert(sizeof(address.sun_path) >= VM_PATH_MAX + sizeof("/device00"), "folders leave room for names");
	if (index < VM_SOCKET_DEVICES)
		snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", vm->folder, names[index]);
	else
		snprintf(address.sun_path, sizeof(address.sun_path), "%s/device%u", vm->folder,
			 (index - VM_SOCKET_DEVICES) % VM_ENDPOINTS_MAX);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Of the server before, which has ended: the folder is this guest's alone. */
	unlink(address.sun_path);
	if (!bind(fd, (const struct sockaddr *)&address, sizeof(address)) && !listen(fd, 8))
		return fd;
	error = -errno;
	close(fd);
	return error;
}

unsigned int vm_socket_count(const struct vm *vm)
{
	return VM_SOCKET_DEVICES + vm->endpoint_count;
}

int vm_sockets_open(const struct vm *vm, int *sockets)
{
	for (unsigned int i = 0; i < vm_socket_count(vm); i++) {
		sockets[i] = listen_at(vm, i);
		if (sockets[i] < 0) {
			vm_sockets_close(sockets, i);
			return sockets[i];
		}
	}
	return 0;
}

void vm_sockets_close(const int *sockets, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		close(sockets[i]);
}

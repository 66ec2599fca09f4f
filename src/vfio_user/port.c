/* SPDX-License-Identifier: BSD-3-Clause */
/* Ports: a function, and the socket at which it is to be had. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/util.h"
#include "vfio_user/server.h"

enum {
	KNOWN_FLAGS =
		UIOMMU_VFIO_USER_TRANSLATED | UIOMMU_VFIO_USER_ONCE | UIOMMU_VFIO_USER_MAPPED_ONLY | UIOMMU_VFIO_USER_ON_DEMAND
};

static int fd_error(void)
{
	return errno == EMFILE || errno == ENFILE ? -EMFILE : -ENOMEM;
}

/* A socket that nobody listens to is left over, and goes. */
static bool remove_stale(const struct sockaddr_un *address)
{
	struct stat status;
	bool stale = false;
	int fd;

	if (lstat(address->sun_path, &status) || !S_ISSOCK(status.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	stale = connect(fd, (const struct sockaddr *)address, sizeof(*address)) && errno == ECONNREFUSED;
	close(fd);
	return stale && !unlink(address->sun_path);
}

static int bind_at(int fd, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (!*path || strlen(path) >= sizeof(address.sun_path))
		return -EINVAL;
	strcpy(address.sun_path, path);
	/* The mode of the socket becomes that of the file. */
	if (fchmod(fd, S_IRUSR | S_IWUSR))
		return -errno;
	if (!bind(fd, (const struct sockaddr *)&address, sizeof(address)))
		return 0;
	if (errno != EADDRINUSE || !remove_stale(&address))
		return -errno;
	return bind(fd, (const struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
}

static int listen_at(struct port *port, const char *path)
{
	int error;

	port->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (port->listen_fd < 0)
		return fd_error();
	error = bind_at(port->listen_fd, path);
	if (error)
		return error;
	port->path = strdup(path);
	if (!port->path) {
		unlink(path);
		return -ENOMEM;
	}
	return listen(port->listen_fd, 4) ? -errno : 0;
}

static int option(int fd, int name)
{
	int value = -1;
	socklen_t length = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &length) ? -1 : value;
}

static int listen_with(struct port *port, int fd)
{
	if (option(fd, SO_DOMAIN) != AF_UNIX || option(fd, SO_TYPE) != SOCK_STREAM || option(fd, SO_ACCEPTCONN) != 1)
		return -EINVAL;
	port->listen_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return port->listen_fd < 0 ? fd_error() : 0;
}

void port_free(struct port *port)
{
	if (port->listen_fd >= 0)
		close(port->listen_fd);
	if (port->path) {
		unlink(port->path);
		free(port->path);
	}
	pager_stop(port->pager);
	/* It stays if somebody else uses it. */
	if (port->ioas_id)
		uiommu_destroy(port->server->context, port->ioas_id);
	irqs_fini(port);
	free(port);
}

static int fill(struct port *port, const struct uiommu_vfio_user_port *given)
{
	int error = irqs_init(port);

	if (!error && !(given->flags & UIOMMU_VFIO_USER_TRANSLATED))
		error = uiommu_ioas_alloc(port->server->context, &port->ioas_id);
	if (!error && given->flags & UIOMMU_VFIO_USER_ON_DEMAND)
		error = pager_start(port, &port->pager);
	if (!error)
		error = given->path ? listen_at(port, given->path) : listen_with(port, given->listen_fd);
	return error ? error : pci_connect(port->pci, &port->transport);
}

/* -ENOSPC, -ENOMEM. */
static int publish(struct port *port)
{
	struct uiommu_vfio_user *server = port->server;
	int error = -ENOSPC;

	pthread_mutex_lock(&server->lock);
	if (server->port_count < PORTS_MAX) {
		port->index = server->port_count;
		__atomic_store_n(&server->ports[port->index], port, __ATOMIC_RELEASE);
		error = server_listen(port);
	}
	if (!error)
		__atomic_store_n(&server->port_count, port->index + 1, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&server->lock);
	return error;
}

int port_make(struct uiommu_vfio_user *server, const struct uiommu_vfio_user_port *given, struct port **out)
{
	struct port *port;
	int error;

	if (given->flags & ~(uint32_t)KNOWN_FLAGS || given->reserved)
		return -EOPNOTSUPP;
	if (!given->pci || (given->flags & UIOMMU_VFIO_USER_ON_DEMAND &&
			    given->flags & (UIOMMU_VFIO_USER_TRANSLATED | UIOMMU_VFIO_USER_MAPPED_ONLY)))
		return -EINVAL;
	port = calloc(1, sizeof(*port));
	if (!port)
		return -ENOMEM;
	port->server = server;
	port->pci = given->pci;
	port->once = given->flags & UIOMMU_VFIO_USER_ONCE;
	port->mapped_only = given->flags & UIOMMU_VFIO_USER_MAPPED_ONLY;
	port->listen_fd = -1;
	error = fill(port, given);
	if (!error) {
		error = publish(port);
		if (error)
			pci_connect(port->pci, NULL);
	}
	if (error)
		port_free(port);
	else
		*out = port;
	return error;
}

int uiommu_vfio_user_add(struct uiommu_vfio_user *server, struct uiommu_vfio_user_port *request)
{
	struct uiommu_vfio_user_port given;
	struct port *port;
	int error = copy_struct(&given, sizeof(given), sizeof(given), request, request->size);

	if (!error)
		error = port_make(server, &given, &port);
	if (error)
		return error;
	request->ioas_id = port->ioas_id;
	request->demand_id = port->pager ? pager_demand(port->pager) : 0;
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One daemon per path: whoever holds the lock of PATH.lock owns PATH. A socket without an owner is what a killed daemon left, and
 * is replaced; one that answers is respected even if its lock file was removed. The new socket appears under its name when it
 * listens.
 */
#include "daemon/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/log.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* Linux 6.16 */
#endif

enum { BACKLOG = 128 };

static int choose_path(const struct options *options, char *path, size_t size)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char directory[PATH_MAX];
	int length;

	if (options->socket) {
		length = snprintf(path, size, "%s", options->socket);
	} else if (options->system) {
		length = snprintf(path, size, "/run/uiommu/socket");
	} else if (runtime && *runtime == '/') {
		snprintf(directory, sizeof(directory), "%s/uiommu", runtime);
		if (mkdir(directory, 0700) && errno != EEXIST) {
			log_line("%s: %s", directory, strerror(errno));
			return -errno;
		}
		length = snprintf(path, size, "%s/socket", directory);
	} else {
		log_line("XDG_RUNTIME_DIR is not set; say where to listen with --socket PATH, or --system");
		return -EINVAL;
	}
	if (length >= (int)size) {
		log_line("the socket's path is longer than %zu bytes", size - 1);
		return -ENAMETOOLONG;
	}
	return 0;
}

static int address(const char *path, struct sockaddr_un *out)
{
	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(out->sun_path))
		return -ENAMETOOLONG;
	strcpy(out->sun_path, path);
	return 0;
}

static bool answers(const char *path)
{
	struct sockaddr_un name;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc = -1;

	if (fd >= 0 && !address(path, &name))
		rc = connect(fd, (struct sockaddr *)&name, sizeof(name));
	/* Full, or of another type: somebody is there. */
	rc = !rc || (errno != ECONNREFUSED && errno != ENOENT);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* The lock file may be removed by an owner that ends; then the lock is on a file that nobody else will find. */
static int lock_take(struct listening *out)
{
	struct stat held, named;

	for (;;) {
		out->lock_fd = open(out->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (out->lock_fd < 0) {
			log_line("%s: %s", out->lock_path, strerror(errno));
			return -errno;
		}
		if (flock(out->lock_fd, LOCK_EX | LOCK_NB) || answers(out->path)) {
			close(out->lock_fd);
			log_line("%s: another uiommud is running", out->path);
			return -EADDRINUSE;
		}
		if (!fstat(out->lock_fd, &held) && !stat(out->lock_path, &named) && held.st_ino == named.st_ino &&
		    held.st_dev == named.st_dev)
			return 0;
		close(out->lock_fd);
	}
}

static int set_access(const struct options *options, const char *path)
{
	const struct group *group;

	if (!options->system)
		return chmod(path, 0600) ? -errno : 0;
	if (options->group) {
		group = getgrnam(options->group);
		if (!group) {
			log_line("--group: there is no group '%s'", options->group);
			return -ENOENT;
		}
		if (chown(path, (uid_t)-1, group->gr_gid))
			return -errno;
	}
	return chmod(path, 0660) ? -errno : 0;
}

static int socket_make(const struct options *options, struct listening *out)
{
	struct sockaddr_un name;
	char temporary[sizeof(out->path) + 16];
	mode_t mask;
	int rc;

	snprintf(temporary, sizeof(temporary), "%s.new", out->path);
	rc = address(temporary, &name);
	if (rc)
		return rc;
	out->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (out->fd < 0)
		return -errno;
	unlink(temporary);
	mask = umask(0177);
	rc = bind(out->fd, (struct sockaddr *)&name, sizeof(name)) ? -errno : 0;
	umask(mask);
	if (!rc && listen(out->fd, BACKLOG))
		rc = -errno;
	if (!rc)
		rc = set_access(options, temporary);
	if (!rc && rename(temporary, out->path))
		rc = -errno;
	if (rc) {
		unlink(temporary);
		close(out->fd);
	}
	return rc;
}

/* Of systemd: 1 if there is a socket, and it is what we need. */
static int take_over(struct listening *out)
{
	int count = sd_listen_fds(1), rc;

	if (count <= 0)
		return count;
	out->fd = SD_LISTEN_FDS_START;
	rc = sd_is_socket_unix(out->fd, SOCK_SEQPACKET, 1, NULL, 0);
	if (count > 1 || rc <= 0) {
		log_line("the service manager has to pass one listening SOCK_SEQPACKET UNIX socket (ListenSequentialPacket=)");
		return -EINVAL;
	}
	fcntl(out->fd, F_SETFL, O_NONBLOCK);
	return 1;
}

void socket_refuse_rights(int fd)
{
	int off = 0;

	setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof(off));
}

void socket_accept_rights(int fd)
{
	int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &on, sizeof(on));
}

static int listen_path(const struct options *options, struct listening *out)
{
	int rc = choose_path(options, out->path, sizeof(out->path));

	if (rc)
		return rc;
	snprintf(out->lock_path, sizeof(out->lock_path), "%s.lock", out->path);
	rc = lock_take(out);
	if (rc)
		return rc;
	rc = socket_make(options, out);
	if (rc) {
		log_line("%s: %s", out->path, strerror(-rc));
		unlink(out->lock_path);
		close(out->lock_fd);
	}
	return rc;
}

int listen_open(const struct options *options, struct listening *out)
{
	int rc;

	*out = (struct listening){.fd = -1, .lock_fd = -1};
	rc = take_over(out);
	if (rc == 0)
		rc = listen_path(options, out);
	if (rc < 0)
		return rc;
	socket_refuse_rights(out->fd);
	return 0;
}

void listen_close(struct listening *listening)
{
	if (listening->lock_fd >= 0) {
		unlink(listening->path);
		unlink(listening->lock_path);
	}
}

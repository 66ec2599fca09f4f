/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session's folder: its socket, its lock, and the tree that stands for /dev and /sys. It is below $XDG_RUNTIME_DIR/uiommu, or,
 * where there is none, below /tmp. Whoever has the lock owns the folder; one without an owner is what a killed session left, and
 * the next one removes it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "abi/session/session.h"

#define LOCK_NAME "lock"
#define PREFIX "run-"

enum { BACKLOG = 128, NODE_MAJOR = 10 /* miscellaneous devices */, NODE_MINOR = 255 };

/* A folder of this user alone; whoever made it. */
static int private_folder(const char *path)
{
	struct stat stat;

	if (mkdir(path, 0700) && errno != EEXIST)
		return -errno;
	if (lstat(path, &stat))
		return -errno;
	return S_ISDIR(stat.st_mode) && stat.st_uid == geteuid() && !(stat.st_mode & 022) ? 0 : -EPERM;
}

int folder_base(char *out, size_t size)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int length;

	if (runtime && *runtime == '/')
		length = snprintf(out, size, "%s/uiommu", runtime);
	else
		length = snprintf(out, size, "/tmp/uiommu-%u", geteuid());
	return length >= (int)size ? -ENAMETOOLONG : private_folder(out);
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	(void)stat;
	(void)type;
	(void)ftw;
	return remove(path) && errno != ENOENT ? -1 : 0;
}

static void remove_tree(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Its lock, or -errno; -EWOULDBLOCK: it has an owner. */
static int take_lock(const char *folder)
{
	char path[SESSION_FOLDER_MAX + 8];
	int fd;

	snprintf(path, sizeof(path), "%s/" LOCK_NAME, folder);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (!flock(fd, LOCK_EX | LOCK_NB))
		return fd;
	close(fd);
	return -EWOULDBLOCK;
}

/* What killed sessions have left. */
static void sweep(const char *base)
{
	DIR *directory = opendir(base);
	struct dirent *entry;

	while (directory && (entry = readdir(directory))) {
		char path[SESSION_FOLDER_MAX];
		struct stat stat;
		int lock;

		if (strncmp(entry->d_name, PREFIX, sizeof(PREFIX) - 1) != 0 ||
		    snprintf(path, sizeof(path), "%s/%s", base, entry->d_name) >= (int)sizeof(path) ||
		    fstatat(dirfd(directory), entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(stat.st_mode))
			continue;
		lock = take_lock(path);
		if (lock < 0)
			continue;
		remove_tree(path);
		close(lock);
	}
	if (directory)
		closedir(directory);
}

/* Folders up to the last slash of @path, whose modes are those of /dev and /sys: who may not see them is kept out further up. */
static int make_folders(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0700) ? errno != EEXIST : chmod(path, 0755))
			return -errno;
		*slash = '/';
	}
	return 0;
}

static int path_in_tree(struct session *session, const char *name, char *out, size_t size)
{
	if (snprintf(out, size, "%s/" SESSION_TREE "%s", session->folder, name) >= (int)size)
		return -ENAMETOOLONG;
	return make_folders(out);
}

int folder_node(struct session *session, const char *name, dev_t device)
{
	/* The shim makes a character device of it. */
	const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = major(device), .tv_nsec = minor(device)}};
	char path[PATH_MAX];
	int fd, error = path_in_tree(session, name, path, sizeof(path));

	if (error)
		return error;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	error = fchmod(fd, SESSION_NODE_MODE) || futimens(fd, times) ? -errno : 0;
	close(fd);
	return error;
}

bool folder_number(struct session *session, const char *name, struct timespec *out)
{
	struct stat node;
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s/" SESSION_TREE "%s", session->folder, name) >= sizeof(path) ||
	    stat(path, &node) || (node.st_mode & 07777) != SESSION_NODE_MODE)
		return false;
	*out = node.st_mtim;
	return true;
}

void folder_mark(struct session *session, const char *name, int fd)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};

	if (folder_number(session, name, &times[1]))
		futimens(fd, times);
}

int folder_file(struct session *session, const char *name, const void *data, size_t length)
{
	char path[PATH_MAX];
	int fd, error = path_in_tree(session, name, path, sizeof(path));

	if (error)
		return error;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	error = write(fd, data, length) == (ssize_t)length ? 0 : -EIO;
	close(fd);
	return error;
}

int folder_link(struct session *session, const char *name, const char *target)
{
	char path[PATH_MAX];
	int error = path_in_tree(session, name, path, sizeof(path));

	if (error)
		return error;
	return symlink(target, path) ? -errno : 0;
}

static int tree_node(void *session, const char *path, unsigned int major, unsigned int minor)
{
	return folder_node(session, path, makedev(major, minor));
}

static int tree_file(void *session, const char *path, const void *data, size_t length)
{
	return folder_file(session, path, data, length);
}

static int tree_link(void *session, const char *path, const char *target)
{
	return folder_link(session, path, target);
}

static int fill(struct session *session)
{
	static const struct vfio_tree_ops tree = {tree_node, tree_file, tree_link};
	static const char *const folders[] = {
		"/dev/vfio/devices/",	"/sys/bus/pci/devices/",     "/sys/bus/pci/drivers/vfio-pci/",
		"/sys/class/vfio-dev/", "/sys/kernel/iommu_groups/", "/sys/module/iommufd/",
		"/sys/module/vfio/",	"/sys/module/vfio_pci/",
	};
	char path[PATH_MAX];
	int error = 0;

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && !error; i++)
		error = path_in_tree(session, folders[i], path, sizeof(path));
	if (!error)
		error = folder_node(session, "/dev/iommu", makedev(NODE_MAJOR, NODE_MINOR));
	return error ? error : devices_tree(session->devices, &tree, session);
}

/* With its lock; or -errno. */
static int make_folder(struct session *session, const char *base)
{
	snprintf(session->folder, sizeof(session->folder), "%s/" PREFIX "XXXXXX", base);
	if (!mkdtemp(session->folder)) {
		*session->folder = '\0';
		return -errno;
	}
	session->folder_lock = take_lock(session->folder);
	return session->folder_lock < 0 ? session->folder_lock : 0;
}

int folder_create(struct session *session)
{
	char base[SESSION_FOLDER_MAX - sizeof("/" PREFIX "XXXXXX") + 1];
	int error = folder_base(base, sizeof(base)), one;

	session->folder_lock = -1;
	*session->folder = '\0';
	if (error)
		return error;
	/* One at a time: a folder without its owner's lock is one that a killed session has left. */
	one = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (one < 0)
		return -errno;
	while (flock(one, LOCK_EX) && errno == EINTR)
		;
	sweep(base);
	error = make_folder(session, base);
	close(one);
	return error ? error : fill(session);
}

int folder_listen(struct session *session)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	snprintf(name.sun_path, sizeof(name.sun_path), "%s/" SESSION_SOCKET, session->folder);
	if (bind(fd, (struct sockaddr *)&name, sizeof(name)) || listen(fd, BACKLOG)) {
		int error = -errno;

		close(fd);
		return error;
	}
	return fd;
}

void folder_destroy(struct session *session)
{
	if (*session->folder)
		remove_tree(session->folder);
	if (session->folder_lock >= 0)
		close(session->folder_lock);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program as anybody may write it, to be run under `uiommu run`: it knows /dev/iommu, and nothing of uiommu. Each case checks
 * itself, prints "ok", and ends with 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cases.h"
#include "check.h"
#include "iommu_file.h"

static void calls(char **arguments)
{
	int fd = open_iommu(O_CLOEXEC), plain = open_iommu(0);
	uint32_t *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *edge;
	struct pollfd wait = {.fd = fd, .events = POLLIN | POLLOUT};

	(void)arguments;
	CHECK(page != MAP_FAILED && !munmap(page + 1024, 4096));
	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(plain, F_GETFD) == 0);
	CHECK(alloc(fd) == 1);
	CHECK(alloc(fd) == 2 && alloc(plain) == 1);
	CHECK(destroy(fd, 1) == 0);
	CHECK(destroy(fd, 1) == -ENOENT && alloc(fd) == 1);
	/* A struct that ends with the page, one that crosses its end, and no page at all. */
	edge = page + 1024 - 3;
	memcpy(edge, (const uint32_t[]){12, 0, 0}, 12);
	CHECK(!ioctl(fd, IOMMU_IOAS_ALLOC, edge) && edge[2] == 3);
	edge[1] = 12;
	CHECK(ioctl(fd, IOMMU_IOAS_ALLOC, edge + 1) == -1 && errno == EFAULT);
	CHECK(ioctl(fd, IOMMU_IOAS_ALLOC, page + 1024) == -1 && errno == EFAULT);
	CHECK(ioctl(fd, IOMMU_IOAS_ALLOC, NULL) == -1 && errno == EFAULT);
	/* What cannot be written back has not been done. */
	CHECK(!mprotect(page, 4096, PROT_READ));
	CHECK(ioctl(fd, IOMMU_IOAS_ALLOC, edge - 8) == -1 && errno == EINVAL);
	CHECK(!mprotect(page, 4096, PROT_READ | PROT_WRITE));
	edge[-8] = 12;
	CHECK(!mprotect(page, 4096, PROT_READ));
	CHECK(ioctl(fd, IOMMU_IOAS_ALLOC, edge - 8) == -1 && errno == EFAULT);
	CHECK(alloc(fd) == 4);
	CHECK(ioctl(fd, _IO(';', 0x10), NULL) == -1 && errno == ENOTTY);
	CHECK(ioctl(fd, _IO('x', 1), NULL) == -1 && errno == ENOTTY);
	CHECK(read(fd, page, 4) == -1 && errno == EINVAL);
	CHECK(write(fd, page, 4) == -1 && errno == EINVAL);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
	CHECK(poll(&wait, 1, 0) == 1 && wait.revents == (POLLIN | POLLOUT));
	CHECK(ioctl(STDIN_FILENO, IOMMU_IOAS_ALLOC, edge) == -1 && errno == ENOTTY);
	CHECK(ioctl(-1, IOMMU_IOAS_ALLOC, edge) == -1 && errno == EBADF);
}

/* Names that are not there, or end where nothing is: as of a kernel, for every function that takes one. */
static void bad_pointers(char **arguments)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *edge = page + 4096, buffer[16];
	const char part[] = {'/', 'd', 'e', 'v', '/'}; /* which goes on where nothing is */
	/* No name at all, but not so that a compiler knows. */
	const char *none = (const char *)(uintptr_t)strtoul("0", NULL, 10); /* NOLINT(performance-no-int-to-ptr) */
	const char *bad[] = {none, (const char *)8, (const char *)(UINTPTR_MAX - 9), edge - sizeof(part), edge};
	struct statx statx_of;
	struct stat stat_of;
	int fd = open_iommu(0);

	(void)arguments;
	CHECK(page != MAP_FAILED && !munmap(edge, 4096));
	memcpy(edge - sizeof(part), part, sizeof(part));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK(open(bad[i], O_RDWR) == -1 && errno == EFAULT);
		CHECK(openat(AT_FDCWD, bad[i], O_RDONLY) == -1 && errno == EFAULT);
		CHECK(creat(bad[i], 0600) == -1 && errno == EFAULT);
		CHECK(stat(bad[i], &stat_of) == -1 && errno == EFAULT);
		CHECK(lstat(bad[i], &stat_of) == -1 && errno == EFAULT);
		/* Linux 6.11 takes no name at all for one that is empty. */
		CHECK(!i || (statx(fd, bad[i], AT_EMPTY_PATH, STATX_MODE, &statx_of) == -1 && errno == EFAULT));
		CHECK(access(bad[i], F_OK) == -1 && errno == EFAULT);
		CHECK(readlink(bad[i], buffer, sizeof(buffer)) == -1 && errno == EFAULT);
		CHECK(chdir(bad[i]) == -1 && errno == EFAULT);
		CHECK(getxattr(bad[i], "user.a", buffer, 1) == -1 && errno == EFAULT);
		CHECK(!fopen(bad[i], "r") && errno == EFAULT);
	}
	/* What is to be filled. */
	CHECK(stat("/dev/iommu", (struct stat *)(void *)edge) == -1 && errno == EFAULT);
	CHECK(fstat(fd, (struct stat *)(void *)edge) == -1 && errno == EFAULT);
	CHECK(readlink("/proc/self/exe", edge, 8) == -1 && errno == EFAULT);
	memcpy(edge - 11, "/dev/iommu", 11); /* which ends with the page */
	CHECK(!stat(edge - 11, &stat_of) && S_ISCHR(stat_of.st_mode));
	CHECK(alloc(open(edge - 11, O_RDWR)) == 1);
}

/* Who answers is known by a command that a kernel does not have. */
static void own(char **arguments)
{
	struct {
		uint32_t size, version;
		uint64_t commands;
	} version = {sizeof(version), 0, 0};
	int fd = open_iommu(0);

	(void)arguments;
	CHECK(!ioctl(fd, _IO('u', 0), &version) && version.version == 1 && version.commands == 0x3f);
	CHECK(ioctl(fd, _IO('u', 0x20), &version) == -1 && errno == ENOTTY);
	CHECK(ioctl(STDIN_FILENO, _IO('u', 0), &version) == -1 && errno == ENOTTY);
}

static void names(char **arguments)
{
	struct stat stat_of, of_fd;
	struct statx statx_of;
	int fd = open_iommu(0), folder = open("/dev/vfio", O_RDONLY | O_DIRECTORY);

	(void)arguments;
	CHECK(!stat("/dev/iommu", &stat_of) && S_ISCHR(stat_of.st_mode) && stat_of.st_rdev);
	CHECK(!fstat(fd, &of_fd) && S_ISCHR(of_fd.st_mode));
	CHECK(!access("/dev//./iommu", R_OK | W_OK));
	CHECK(access("/dev/vfio/77", F_OK) == -1 && errno == ENOENT);
	CHECK(open("/dev/vfio/77", O_RDWR) == -1 && errno == ENOENT);
	CHECK(folder >= 0 && !fstatat(folder, "devices", &stat_of, 0) && stat_of.st_mode == (S_IFDIR | 0755));
	CHECK(!stat("/dev/null", &stat_of) && S_ISCHR(stat_of.st_mode));
	CHECK(!fstat(STDERR_FILENO, &stat_of));
	CHECK(!statx(AT_FDCWD, "/dev/iommu", 0, STATX_BASIC_STATS, &statx_of) && S_ISCHR(statx_of.stx_mode));
	CHECK(statx_of.stx_rdev_major == major(of_fd.st_rdev) && statx_of.stx_rdev_minor == minor(of_fd.st_rdev));
	CHECK(!statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &statx_of) && S_ISCHR(statx_of.stx_mode) && !statx_of.stx_size);
	CHECK(statx(AT_FDCWD, "/dev/vfio/77", 0, STATX_MODE, &statx_of) == -1 && errno == ENOENT);
	CHECK(statx(fd, "", AT_EMPTY_PATH, STATX_MODE, (struct statx *)16) == -1 && errno == EFAULT);
}

/* Is @fd a device that is not bound? */
static bool is_device(int fd)
{
	bool is = fd >= 0 && ioctl(fd, IOMMU_NONE, NULL) == -1 && errno == EINVAL;

	return fd >= 0 && !close(fd) && is;
}

static bool is_iommu(int fd)
{
	return fd >= 0 && alloc(fd) == 1 && !close(fd);
}

/* It is the machine's own. */
static bool is_null(int fd)
{
	struct stat stat_of;

	return fd >= 0 && !fstat(fd, &stat_of) && stat_of.st_rdev == makedev(1, 3) && !close(fd);
}

static long open_how(int directory, const char *name, uint64_t flags, uint64_t resolve)
{
	struct {
		uint64_t flags, mode, resolve;
	} how = {flags, 0, resolve};

	return syscall(SYS_openat2, directory, name, &how, sizeof(how));
}

static void relative_openat2(int dev, int vfio, int sys)
{
	enum { NO_SYMLINKS = 4, BENEATH = 8, IN_ROOT = 16 };
	static const char vendor[] = "bus/pci/devices/0000:01:00.0/vendor";

	CHECK(is_iommu((int)open_how(AT_FDCWD, "/dev/iommu", O_RDWR, 0)));
	CHECK(is_iommu((int)open_how(dev, "iommu", O_RDWR | O_TRUNC, NO_SYMLINKS)));
	CHECK(is_device((int)open_how(dev, "vfio/devices/vfio0", O_RDWR, BENEATH)));
	CHECK(is_device((int)open_how(vfio, "devices/vfio0", O_RDWR, IN_ROOT)));
	CHECK(is_iommu((int)open_how(vfio, "../iommu", O_RDWR, 0)));
	CHECK(open_how(vfio, "../iommu", O_RDWR, BENEATH) == -1 && errno == EXDEV);
	CHECK(open_how(vfio, "devices/../../iommu", O_RDWR, BENEATH) == -1 && errno == EXDEV);
	CHECK(open_how(dev, "/dev/iommu", O_RDWR, BENEATH) == -1 && errno == EXDEV);
	CHECK(open_how(dev, "vfio/77", O_RDWR, 0) == -1 && errno == ENOENT);
	CHECK(open_how(dev, "iommu", O_RDWR, UINT64_C(1) << 40) == -1 && errno == EINVAL);
	CHECK(!close((int)open_how(sys, vendor, O_RDONLY, BENEATH)));
	CHECK(open_how(sys, vendor, O_RDONLY, NO_SYMLINKS) == -1 && errno == ELOOP);
	CHECK(is_null((int)open_how(dev, "null", O_RDWR, BENEATH)));
	CHECK(syscall(SYS_openat2, dev, "iommu", NULL, 24) == -1 && errno == EFAULT);
	CHECK(syscall(SYS_openat2, dev, "iommu", "", 8) == -1 && errno == EINVAL);
}

/* Names that do not begin at the root: whether the folder that they begin at is ours or the machine's. */
static void relative(char **arguments)
{
	int dev = open("/dev", O_RDONLY | O_DIRECTORY), vfio = open("/dev/vfio", O_PATH | O_DIRECTORY), sys = open("/sys", O_PATH),
	    fd;
	struct stat stat_of;
	struct statx statx_of;
	char text[4096];

	(void)arguments;
	CHECK(dev >= 0 && vfio >= 0 && sys >= 0);
	CHECK(is_iommu(openat(dev, "iommu", O_RDWR)) && is_iommu(openat(dev, ".//./iommu", O_RDWR)));
	CHECK(is_device(openat(dev, "vfio/devices/vfio0", O_RDWR)) && is_device(openat(vfio, "devices/vfio0", O_RDWR | O_TRUNC)));
	CHECK(is_device(openat(vfio, "devices/../devices/./vfio0", O_RDWR)));
	CHECK(is_iommu(openat(vfio, "../iommu", O_RDWR)) && is_null(openat(vfio, "../../dev/null", O_RDWR)));
	CHECK(is_iommu(open("/dev/vfio/../iommu", O_RDWR)));
	CHECK(openat(dev, "vfio/77", O_RDWR) == -1 && errno == ENOENT);
	CHECK(openat(-1, "iommu", O_RDWR) == -1 && errno == EBADF);
	CHECK(!fstatat(dev, "iommu", &stat_of, 0) && S_ISCHR(stat_of.st_mode) && stat_of.st_rdev == makedev(10, 255));
	CHECK(!fstatat(vfio, "devices/vfio0", &stat_of, AT_SYMLINK_NOFOLLOW) && S_ISCHR(stat_of.st_mode));
	CHECK(!statx(dev, "vfio/vfio", 0, STATX_BASIC_STATS, &statx_of) && S_ISCHR(statx_of.stx_mode));
	CHECK(!faccessat(dev, "vfio/devices/vfio0", R_OK | W_OK, 0));
	CHECK(faccessat(vfio, "devices/vfio1", F_OK, 0) == -1 && errno == ENOENT);
	CHECK(readlinkat(sys, "bus/pci/devices/0000:01:00.0", text, sizeof(text)) > 0 && *text == '.');
	fd = openat(sys, "bus/pci/devices/0000:01:00.0/vendor", O_RDONLY);
	CHECK(fd >= 0 && read(fd, text, 2) == 2 && !memcmp(text, "0x", 2) && !close(fd));
	relative_openat2(dev, vfio, sys);
	CHECK(!fchdir(vfio) && getcwd(text, sizeof(text)) && !strcmp(text, "/dev/vfio"));
	CHECK(!getcwd(text, 9) && errno == ERANGE);
	CHECK(is_device(open("devices/vfio0", O_RDWR)) && is_iommu(open("../iommu", O_RDWR)) && is_null(open("../null", O_RDWR)));
	CHECK(!stat("vfio", &stat_of) && S_ISCHR(stat_of.st_mode));
	CHECK(!stat(".", &stat_of) && S_ISDIR(stat_of.st_mode));
	CHECK(!fchdir(dev) && is_iommu(open("iommu", O_RDWR)) && is_device(open("vfio/devices/vfio0", O_RDWR)));
	CHECK(!access("vfio", X_OK) && !lstat("vfio", &stat_of) && S_ISDIR(stat_of.st_mode));
	CHECK(!chdir("/sys/bus") && !access("pci/devices/0000:01:00.0/config", R_OK));
}

/* All ways to the same names. Of the folder's own name nothing is seen, but by walks, which are told what they can open. */
static unsigned int walked;

static int count_node(const char *path, const struct stat *info, int type)
{
	(void)info;
	(void)type;
	walked += access(path, F_OK) == 0;
	return 0;
}

static int count_node_flags(const char *path, const struct stat *info, int type, struct FTW *where)
{
	(void)where;
	return count_node(path, info, type);
}

static void walks(char **arguments)
{
	char *volatile nowhere = (char *)16;
	const char *const device = "/dev/vfio/devices/vfio0";
	struct stat stat_of;
	char where[4096];
	glob_t found;
	int fd;

	(void)arguments;
	CHECK(!glob("/dev/vfio/dev*/*", 0, NULL, &found) && found.gl_pathc == 1 && !strcmp(found.gl_pathv[0], device));
	globfree(&found);
	CHECK(glob("/dev/vfio/x*", 0, NULL, &found) == GLOB_NOMATCH);
	CHECK(!glob("/dev/nul*", 0, NULL, &found) && !strcmp(found.gl_pathv[0], "/dev/null"));
	globfree(&found);
	CHECK(!ftw("/sys/bus/pci/devices", count_node, 8) && walked >= 2);
	walked = 0;
	CHECK(!nftw("/dev/vfio", count_node_flags, 8, FTW_PHYS) && walked >= 4);
	CHECK(!chdir("/dev/vfio/devices") && getcwd(where, sizeof(where)) && !strcmp(where, "/dev/vfio/devices"));
	CHECK(!getcwd(where, 4) && errno == ERANGE);
	CHECK(!getcwd(nowhere, 64) && errno == EFAULT);
	CHECK(!stat("vfio0", &stat_of) && S_ISCHR(stat_of.st_mode));
	fd = open("vfio0", O_RDWR);
	CHECK(fd >= 0 && ioctl(fd, IOMMU_NONE, NULL) == -1 && errno == EINVAL); /* a device that is not bound */
	CHECK(!chdir("/") && getcwd(where, sizeof(where)) && !strcmp(where, "/"));
	CHECK(getxattr("/dev/vfio/nothing", "user.a", where, 1) == -1 && errno == ENOENT);
	CHECK(listxattr("/dev/iommu", where, sizeof(where)) >= 0);
	CHECK(creat("/dev/vfio/77", 0600) == -1 && errno == ENOENT);
}

/* Pieces that cannot be read: the whole call fails, and has done nothing. */
static void bad_vectors(int fd, off_t config, const struct iovec *parts)
{
	struct iovec *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct iovec long_parts[] = {parts[0], {parts[1].iov_base, (size_t)-1}}, many[20];
	volatile int too_many = 1025, too_few = -1; /* which the compiler need not know */
	const struct iovec *nowhere[] = {NULL, (const struct iovec *)16, (const struct iovec *)(UINTPTR_MAX - 7)};

	CHECK(edge != MAP_FAILED && !munmap((uint8_t *)edge + 4096, 4096));
	edge += 4096 / sizeof(*edge) - 2;
	memcpy(edge, parts, 2 * sizeof(*edge));
	CHECK(preadv(fd, edge, 2, config) == 64);
	memset(parts[0].iov_base, 0xee, 4);
	CHECK(preadv(fd, edge + 1, 2, config) == -1 && errno == EFAULT);
	CHECK(preadv(fd, long_parts, 2, config) == -1 && errno == EINVAL);
	CHECK(*(uint8_t *)parts[0].iov_base == 0xee);
	CHECK(lseek(fd, config, SEEK_SET) == config);
	for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
		CHECK(readv(fd, nowhere[i], 1) == -1 && errno == EFAULT);
		CHECK(writev(fd, nowhere[i], 1) == -1 && errno == EFAULT);
		CHECK(preadv2(fd, nowhere[i], 1, config, 0) == -1 && errno == EFAULT);
		CHECK(pwritev(fd, nowhere[i], 1, config) == -1 && errno == EFAULT);
	}
	CHECK(lseek(fd, 0, SEEK_CUR) == config);
	CHECK(preadv(fd, NULL, 0, config) == 0);
	CHECK(preadv(fd, parts, too_many, config) == -1 && errno == EINVAL);
	CHECK(preadv(fd, parts, too_few, config) == -1 && errno == EINVAL);
	/* More than goes with a message. */
	for (unsigned int i = 0; i < 20; i++)
		many[i] = (struct iovec){(uint8_t *)parts[1].iov_base + i, 1};
	CHECK(preadv(fd, many, 20, config) == 20);
	CHECK(preadv2(fd, parts, 1, -1, 0) == 4 && lseek(fd, 0, SEEK_CUR) == config + 4);
	CHECK(!memcmp(parts[0].iov_base, parts[1].iov_base, 4));
}

/* Config space, in one piece and in several. */
static void vectors(char **arguments)
{
	const off_t config = INT64_C(7) << 40;
	struct {
		uint32_t argsz, flags;
		int32_t iommufd;
		uint32_t id;
	} bind = {sizeof(bind), 0, open_iommu(0), 0};
	uint8_t whole[64], first[4], second[60], command[2] = {6, 0};
	struct iovec parts[] = {{first, sizeof(first)}, {second, sizeof(second)}}, written[] = {{command, 1}, {command + 1, 1}};
	int fd = open("/dev/vfio/devices/vfio0", O_RDWR);

	(void)arguments;
	CHECK(fd >= 0 && !ioctl(fd, _IO(';', 118), &bind));
	CHECK(pread(fd, whole, 64, config) == 64 && (whole[0] || whole[1]));
	CHECK(preadv(fd, parts, 2, config) == 64 && !memcmp(first, whole, 4) && !memcmp(second, whole + 4, 60));
	memset(second, 0, sizeof(second));
	CHECK(preadv2(fd, parts, 2, config, 0) == 64 && !memcmp(second, whole + 4, 60));
	CHECK(preadv2(fd, parts, 2, config, RWF_NOWAIT) == -1 && errno == EOPNOTSUPP);
	CHECK(pwritev(fd, written, 2, config + 4) == 2 && pread(fd, whole, 64, config) == 64 && whole[4] == 6);
	command[0] = 0;
	CHECK(pwritev2(fd, written, 2, config + 4, 0) == 2 && pread(fd, whole, 64, config) == 64 && !whole[4]);
	/* At the file's position. */
	CHECK(lseek(fd, config, SEEK_SET) == config && readv(fd, parts, 2) == 64 && !memcmp(second, whole + 4, 60));
	CHECK(lseek(fd, 0, SEEK_CUR) == config + 64 && lseek(fd, config + 4, SEEK_SET) == config + 4);
	command[0] = 2;
	CHECK(writev(fd, written, 2) == 2 && pread(fd, whole, 1, config + 4) == 1 && whole[0] == 2);
	/* What does not fit ends it; nothing at all is an error. */
	CHECK(preadv(fd, parts, 2, config + 4096 - 4) == 4);
	parts[0].iov_base = NULL;
	CHECK(preadv(fd, parts, 2, config) == -1 && errno == EFAULT);
	CHECK(preadv(fd, parts, 2, -1) == -1 && errno == EINVAL);
	parts[0].iov_base = first;
	bad_vectors(fd, config, parts);
	/* Any other file. */
	CHECK(writev(-1, written, 2) == -1 && errno == EBADF);
}

/* --- when the first thread has ended --- */

static pthread_t first;

static bool has_ended(void)
{
	char text[256] = "";
	int fd = open("/proc/self/stat", O_RDONLY);

	CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && !close(fd));
	return strstr(text, ") Z ") != NULL;
}

static void *go_on(void *arguments)
{
	CHECK(!pthread_join(first, NULL));
	while (!has_ended())
		sched_yield();
	calls(arguments);
	vectors(arguments);
	relative(arguments);
	_exit(0);
}

/* A process that has not been heard of before, whose first thread ends first. */
static void late(char **arguments)
{
	pthread_t thread;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid) {
		wait_for(pid);
		return;
	}
	first = pthread_self();
	CHECK(!pthread_create(&thread, NULL, go_on, arguments));
	pthread_exit(NULL);
}

static void in_child(int fd)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		/* The same file, and memory of our own to pass it. */
		CHECK(alloc(fd) == 2);
		CHECK(destroy(fd, 1) == 0);
		close(fd);
		_exit(0);
	}
	wait_for(pid);
	CHECK(destroy(fd, 2) == 0 && alloc(fd) == 1);
}

static void forks(char **arguments)
{
	int fd = open_iommu(0), copy, ends[2];
	char byte;
	pid_t pid;

	(void)arguments;
	CHECK(alloc(fd) == 1);
	in_child(fd);
	copy = dup(fd);
	CHECK(!close(fd) && alloc(copy) == 2);
	/* A child of a child, whose parent has gone before. */
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		if (fork())
			_exit(0);
		CHECK(read(ends[1], &byte, 1) == 1);
		byte = (char)alloc(copy);
		_exit(write(ends[1], &byte, 1) != 1);
	}
	wait_for(pid);
	CHECK(write(ends[0], "", 1) == 1 && read(ends[0], &byte, 1) == 1 && byte == 3);
	/* NOLINTNEXTLINE(clang-analyzer-security.insecureAPI.vfork): it is what is tested */
	pid = vfork();
	if (!pid)
		_exit(destroy(copy, 1) != 0); /* NOLINT(clang-analyzer-unix.Vfork): so is that */
	wait_for(pid);
	CHECK(alloc(copy) == 1);
}

/* Argument: the descriptor, and the id that comes next. */
static void executed(char **arguments)
{
	CHECK(arguments[0] && arguments[1]);
	CHECK(alloc(atoi(arguments[0])) == atoi(arguments[1]));
}

static void execs(char **arguments)
{
	char number[16], hidden[16];
	char *self[] = {"/proc/self/exe", "executed", number, "2", NULL},
	     *again[] = {"/proc/self/exe", "executed", hidden, "1", NULL};
	int fd = open_iommu(0), closed = open_iommu(O_CLOEXEC), status;
	char path[4096];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
	pid_t pid;

	(void)arguments;
	CHECK(length > 0);
	path[length] = '\0';
	snprintf(number, sizeof(number), "%d", fd);
	snprintf(hidden, sizeof(hidden), "%d", closed);
	CHECK(alloc(fd) == 1);
	CHECK(!posix_spawn(&pid, path, NULL, NULL, self, environ));
	wait_for(pid);
	CHECK(!posix_spawn(&pid, path, NULL, NULL, again, environ));
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 1);
	/* And this process itself, with another program. */
	self[3] = "3";
	execv(path, self);
	CHECK(0);
}

static void passing(char **arguments)
{
	int ends[2], fd;
	pid_t pid;

	(void)arguments;
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		fd = receive_fd(ends[1]);
		CHECK(alloc(fd) == 2);
		_exit(0);
	}
	fd = open_iommu(0);
	CHECK(alloc(fd) == 1);
	send_fd(ends[0], fd);
	wait_for(pid);
	/* On its way it is open, too. */
	send_fd(ends[0], fd);
	close(fd);
	fd = receive_fd(ends[1]);
	CHECK(alloc(fd) == 3);
}

/* --- other ways in --- */

/* System calls that are not made by the C library's functions. */
static void raw(char **arguments)
{
	struct {
		uint32_t size, flags, id;
	} alloc_one = {sizeof(alloc_one), 0, 0};
	long fd = syscall(SYS_openat, AT_FDCWD, "/dev/iommu", O_RDWR, 0);

	(void)arguments;
	CHECK(fd >= 0 && !syscall(SYS_ioctl, fd, IOMMU_IOAS_ALLOC, &alloc_one) && alloc_one.id == 1);
	CHECK(!syscall(SYS_close, fd));
}

enum { THREADS = 16, ROUNDS = 300 };

static void *hammer(void *opaque)
{
	int fd = *(int *)opaque;

	for (int i = 0; i < ROUNDS; i++) {
		int id = alloc(fd), own = i % 30 ? -1 : open_iommu(0);

		CHECK(id > 0 && id <= THREADS + 1);
		CHECK(destroy(fd, id) == 0);
		if (own >= 0)
			CHECK(alloc(own) == 1 && !close(own));
	}
	return NULL;
}

static void threads(char **arguments)
{
	pthread_t all[THREADS];
	int fd = open_iommu(0);

	(void)arguments;
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&all[i], NULL, hammer, &fd));
	for (int i = 0; i < 20; i++)
		wait_for(({
			pid_t pid = fork();

			if (!pid)
				_exit(destroy(fd, alloc(fd)) != 0);
			pid;
		}));
	for (int i = 0; i < THREADS; i++)
		pthread_join(all[i], NULL);
}

static int signal_fd;
static volatile sig_atomic_t signals;

static void on_signal(int number)
{
	int id = alloc(signal_fd), before = errno;

	(void)number;
	if (id <= 0 || destroy(signal_fd, id))
		_exit(1);
	errno = before;
	signals++;
}

static void handlers(char **arguments)
{
	const struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};

	(void)arguments;
	signal_fd = open_iommu(0);
	signal(SIGALRM, on_signal);
	CHECK(!setitimer(ITIMER_REAL, &often, NULL));
	while (signals < 50) {
		int id = alloc(signal_fd);

		CHECK(id > 0 && !destroy(signal_fd, id));
	}
	CHECK(!setitimer(ITIMER_REAL, &never, NULL));
	CHECK(alloc(signal_fd) == 1);
}

/* A program that forbids itself whatever it does not need, and one that closes what it does not know. */
static void sandboxed(char **arguments)
{
	const struct sock_filter refuse[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	};
	struct sock_fprog program = {sizeof(refuse) / sizeof(refuse[0]), (struct sock_filter *)refuse};
	int fd, again;

	(void)arguments;
	CHECK(!close_range(3, ~0U, 0));
	fd = open_iommu(0);
	CHECK(fd == 3 && alloc(fd) == 1);
	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
	CHECK(socket(AF_UNIX, SOCK_STREAM, 0) == -1);
	CHECK(alloc(fd) == 2);
	again = open_iommu(0); /* no openat for that */
	CHECK(alloc(again) == 1);
}

static void no_descriptors(char **arguments)
{
	struct rlimit limit;
	int fd = open_iommu(0), last = -1, other;

	(void)arguments;
	CHECK(!getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = 64;
	CHECK(!setrlimit(RLIMIT_NOFILE, &limit));
	while ((other = open("/dev/null", O_RDONLY)) >= 0)
		last = other;
	CHECK(errno == EMFILE);
	CHECK(open("/dev/iommu", O_RDWR) == -1 && errno == EMFILE);
	CHECK(alloc(fd) == 1);
	CHECK(!close(last));
	CHECK(alloc(open_iommu(0)) == 1);
}

#define IOMMU_IOAS_MAP _IO(';', 0x85)
#define IOMMU_TEST _IO(';', 0xa0)

enum { PAGE = 4096, PAGES = 8 };

/* Map @memory, and attach a device. Its id. */
static uint32_t map(int fd, int ioas, uint8_t *memory)
{
	struct {
		uint32_t size, flags, ioas, reserved;
		uint64_t address, length, iova;
	} arguments = {sizeof(arguments), 7, (uint32_t)ioas, 0, (uint64_t)(uintptr_t)memory, PAGES * PAGE, 1 << 24};
	struct {
		uint32_t size, operation, id, reserved, out[14];
	} mock = {sizeof(mock), 2, (uint32_t)ioas, 0, {0}};

	CHECK(!ioctl(fd, IOMMU_IOAS_MAP, &arguments));
	CHECK(!ioctl(fd, IOMMU_TEST, &mock));
	return mock.out[2];
}

/* Prints a line when it has objects, and goes on making and ending them until it is killed. */
static void endless(char **arguments)
{
	int fd = open_iommu(0);

	(void)arguments;
	for (;;) {
		int own = open_iommu(0);

		for (int i = 0; i < 5; i++)
			CHECK(alloc(own) == i + 1);
		CHECK(alloc(fd) > 0);
		if (write(STDOUT_FILENO, "x\n", 2) != 2)
			exit(1);
		close(own);
	}
}

/* Holds a file with @arguments[0] objects until its input ends. */
static void holds(char **arguments)
{
	int fd = open_iommu(0);
	char byte;

	for (int i = 0; i < atoi(arguments[0]); i++)
		CHECK(alloc(fd) == i + 1);
	printf("held\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}

/* An object of every kind that a mock device can have, until its input ends. */
static void holds_all(char **arguments)
{
	uint8_t *memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open_iommu(0);
	int ioas = alloc(fd);
	struct {
		uint32_t size, flags, dev_id, pt_id, out, reserved, data_type, data_len;
		uint64_t data;
		uint32_t fault_id, reserved2;
	} hwpt = {.size = sizeof(hwpt), .flags = 1 /* NEST_PARENT */};
	struct {
		uint32_t size, flags, id, fd;
	} fault = {.size = sizeof(fault)};
	struct {
		uint32_t size, flags, type, dev_id, hwpt_id, out, data_len, reserved;
		uint64_t data;
	} viommu = {.size = sizeof(viommu), .type = 0xdeadbeef};
	char byte;

	(void)arguments;
	CHECK(memory != MAP_FAILED);
	hwpt.dev_id = viommu.dev_id = map(fd, ioas, memory);
	hwpt.pt_id = (uint32_t)ioas;
	CHECK(!ioctl(fd, _IO(';', 0x89), &hwpt));
	viommu.hwpt_id = hwpt.out;
	CHECK(!ioctl(fd, _IO(';', 0x90), &viommu));
	CHECK(!ioctl(fd, _IO(';', 0x8e), &fault));
	printf("held\n");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}

static const struct test_case cases[] = {
	{"own", own},
	{"bad-pointers", bad_pointers},
	{"raw", raw},
	{"holds-all", holds_all},
	{"walks", walks},
	{"vectors", vectors},
	{"calls", calls},
	{"names", names},
	{"relative", relative},
	{"late", late},
	{"forks", forks},
	{"execs", execs},
	{"executed", executed},
	{"passing", passing},
	{"threads", threads},
	{"handlers", handlers},
	{"holds", holds},
	{"endless", endless},
	{"sandboxed", sandboxed},
	{"no-descriptors", no_descriptors},
};

int main(int argc, char **argv)
{
	return run_case(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

/* SPDX-License-Identifier: BSD-3-Clause */
#define FUSE_USE_VERSION 35

#include "support/stuck.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/support.h"

enum {
	FILE_INODE = 2,
	FILE_LENGTH = 1 << 20,
	FILE_STEP = 256 << 10, /* so far apart that reading ahead at one place does not ask for the other */
};

static struct {
	int uffd_device; /* /dev/userfaultfd, -1 if it could not be opened */
	int file; /* on the file system that does not answer, -1 if there is none */
	int fuse_event; /* readable once a read of the file waits */
	int keep; /* the server serves as long as this is open somewhere */
	pid_t fuse_server;
	char mount_point[32], path[64];
} prepared = {.uffd_device = -1, .file = -1};

/* The file system: one file "stuck", whose reads are never answered. */

static void fill_attributes(fuse_ino_t inode, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = inode;
	st->st_mode = inode == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0444;
	st->st_nlink = 1;
	st->st_size = inode == FUSE_ROOT_ID ? 0 : FILE_LENGTH;
}

static void fs_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {.ino = FILE_INODE, .attr_timeout = 3600, .entry_timeout = 3600};

	if (parent != FUSE_ROOT_ID || strcmp(name, "stuck")) {
		fuse_reply_err(request, ENOENT);
		return;
	}
	fill_attributes(FILE_INODE, &entry.attr);
	fuse_reply_entry(request, &entry);
}

static void fs_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
	struct stat st;

	(void)info;
	fill_attributes(inode, &st);
	fuse_reply_attr(request, &st, 3600);
}

static void fs_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
	(void)inode;
	fuse_reply_open(request, info);
}

static void fs_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info *info)
{
	int *event = fuse_req_userdata(request);

	(void)inode;
	(void)size;
	(void)offset;
	(void)info;
	if (write(*event, "", 1) != 1)
		_exit(1);
}

static const struct fuse_lowlevel_ops operations = {.lookup = fs_lookup, .getattr = fs_getattr, .open = fs_open, .read = fs_read};

static void *watch(void *opaque)
{
	const int *keep = opaque;
	char byte;

	if (read(*keep, &byte, 1) <= 0)
		kill(getpid(), SIGTERM);
	return NULL;
}

/* Serves until the other end of @keep is closed. (No signal of a parent that has become an ordinary user would reach root.) */
static void serve(int event, int ready, int keep)
{
	char *arguments[] = {(char *)(uintptr_t) "stuck", (char *)(uintptr_t) "-o", (char *)(uintptr_t) "ro,allow_other", NULL};
	struct fuse_args args = FUSE_ARGS_INIT(geteuid() == 0 ? 3 : 1, arguments);
	struct fuse_session *session = fuse_session_new(&args, &operations, sizeof(operations), &event);

	pthread_t thread;

	if (!session || fuse_set_signal_handlers(session) || fuse_session_mount(session, prepared.mount_point) ||
	    pthread_create(&thread, NULL, watch, &keep) || pthread_detach(thread) || write(ready, "", 1) != 1)
		_exit(1);
	fuse_session_loop(session);
	fuse_session_unmount(session);
	rmdir(prepared.mount_point);
	_exit(0);
}

static void prepare_fuse(void)
{
	int ready[2], event[2], keep[2];
	char byte;

	strcpy(prepared.mount_point, "/tmp/uiommu-XXXXXX");
	support_check(!pipe2(ready, O_CLOEXEC) && !pipe2(event, O_CLOEXEC) && !pipe2(keep, O_CLOEXEC) &&
		      mkdtemp(prepared.mount_point));
	prepared.fuse_server = fork();
	support_check(prepared.fuse_server >= 0);
	if (!prepared.fuse_server) {
		close(keep[1]);
		serve(event[1], ready[1], keep[0]);
	}
	close(keep[0]);
	prepared.keep = keep[1];
	close(ready[1]);
	close(event[1]);
	prepared.fuse_event = event[0];
	if (read(ready[0], &byte, 1) == 1) {
		snprintf(prepared.path, sizeof(prepared.path), "%s/stuck", prepared.mount_point);
		prepared.file = open(prepared.path, O_RDONLY | O_CLOEXEC);
		support_check(prepared.file >= 0);
	} else {
		waitpid(prepared.fuse_server, NULL, 0);
		rmdir(prepared.mount_point);
	}
	close(ready[0]);
}

void stuck_prepare(void)
{
	prepared.uffd_device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	prepare_fuse();
}

void stuck_finish(void)
{
	if (prepared.file < 0)
		return;
	close(prepared.file);
	prepared.file = -1;
	close(prepared.keep);
}

const char *stuck_path(void)
{
	return prepared.path;
}

int stuck_event(void)
{
	return prepared.fuse_event;
}

static int open_uffd(enum stuck_kind kind)
{
	struct uffdio_api api = {.api = UFFD_API};
	int uffd;

	if (kind == STUCK_UFFD_USER)
		uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	else if (prepared.uffd_device >= 0)
		uffd = ioctl(prepared.uffd_device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	else
		uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (uffd >= 0 && ioctl(uffd, UFFDIO_API, &api)) {
		close(uffd);
		return -1;
	}
	return uffd;
}

const char *stuck_missing(enum stuck_kind kind)
{
	int uffd;

	if (kind == STUCK_FUSE)
		return prepared.file < 0 ? "no FUSE file system can be mounted here" : NULL;
	uffd = open_uffd(kind);
	if (uffd < 0)
		return kind == STUCK_UFFD_USER ? "no userfaultfd here" : "no right to a userfaultfd that handles kernel faults";
	close(uffd);
	return NULL;
}

/* Tell @event when the first fault waits in @uffd, then hold it, unanswered, as long as the test listens to @event. */
static void hold(int uffd, int event)
{
	struct pollfd fds[] = {{.fd = event}, {.fd = uffd, .events = POLLIN}};

	while (poll(fds, 2, -1) < 1)
		;
	if (fds[0].revents || write(event, "", 1) != 1)
		_exit(1);
	while (poll(fds, 1, -1) != 1)
		;
	_exit(0);
}

static void uffd_target(struct stuck *stuck, int ready, int event)
{
	struct uffdio_register reg = {.range = {(uintptr_t)stuck->page, (uint64_t)sysconf(_SC_PAGESIZE)},
				      .mode = UFFDIO_REGISTER_MODE_MISSING};
	int uffd = open_uffd(stuck->kind);
	pid_t holder = 0;

	if (uffd < 0 || ioctl(uffd, UFFDIO_REGISTER, &reg))
		_exit(1);
	if (stuck->kind == STUCK_UFFD_HELD) {
		/* It outlives its parent, the target, and so must not have the signal of its parent's death. */
		holder = fork();
		if (!holder)
			hold(uffd, event);
	}
	if (write(ready, &holder, sizeof(holder)) != sizeof(holder))
		_exit(1);
	hold(uffd, event);
}

static void fuse_target(int ready)
{
	pid_t holder = 0;

	if (write(ready, &holder, sizeof(holder)) != sizeof(holder))
		_exit(1);
	for (;;)
		pause();
}

/* A page that nobody has asked for: only the first question for a page arrives. */
static off_t file_place(void)
{
	static off_t next;
	off_t place = next;

	support_check(place < FILE_LENGTH);
	next += FILE_STEP;
	return place;
}

void stuck_start(struct stuck *stuck, enum stuck_kind kind)
{
	size_t length = (size_t)sysconf(_SC_PAGESIZE);
	int ready[2], event[2];

	support_check(!pipe(ready) && !pipe(event));
	stuck->kind = kind;
	if (kind == STUCK_FUSE)
		stuck->page = mmap(NULL, length, PROT_READ, MAP_SHARED, prepared.file, file_place());
	else
		stuck->page = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	support_check(stuck->page != MAP_FAILED);
	stuck->pid = fork();
	support_check(stuck->pid >= 0);
	if (!stuck->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ready[0]);
		close(event[0]);
		if (kind == STUCK_FUSE)
			fuse_target(ready[1]);
		uffd_target(stuck, ready[1], event[1]);
	}
	close(ready[1]);
	close(event[1]);
	munmap(stuck->page, length);
	support_check(read(ready[0], &stuck->holder, sizeof(stuck->holder)) == sizeof(stuck->holder));
	close(ready[0]);
	stuck->event = event[0];
	if (kind == STUCK_FUSE) {
		close(stuck->event);
		stuck->event = dup(prepared.fuse_event);
	}
	support_check_errno(
		uiommu_process_open(stuck->pid, kind == STUCK_FUSE ? UIOMMU_READ : UIOMMU_READ | UIOMMU_WRITE, &stuck->process),
		"open the process");
}

void stuck_wait(const struct stuck *stuck)
{
	char byte;

	support_check(read(stuck->event, &byte, 1) == 1);
}

void stuck_kill(struct stuck *stuck)
{
	kill(stuck->pid, SIGKILL);
	waitpid(stuck->pid, NULL, 0);
	stuck->pid = 0;
}

void stuck_stop(struct stuck *stuck)
{
	if (stuck->pid)
		stuck_kill(stuck);
	if (stuck->holder)
		kill(stuck->holder, SIGKILL);
	close(stuck->event);
	uiommu_process_close(&stuck->process);
}

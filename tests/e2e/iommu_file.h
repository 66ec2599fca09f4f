/* SPDX-License-Identifier: BSD-3-Clause */
/* What programs do with /dev/iommu and with any descriptor. */
#ifndef TESTS_E2E_IOMMU_FILE_H
#define TESTS_E2E_IOMMU_FILE_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "check.h"

#define IOMMU_DESTROY _IO(';', 0x80)
#define IOMMU_IOAS_ALLOC _IO(';', 0x81)
#define IOMMU_NONE _IO(';', 0x9f)

static inline int open_iommu(int flags)
{
	int fd = open("/dev/iommu", O_RDWR | flags);

	CHECK(fd >= 0);
	return fd;
}

/* Its id, or -errno. */
static inline int alloc(int fd)
{
	struct {
		uint32_t size, flags, id;
	} arguments = {sizeof(arguments), 0, 0};

	/* NOLINTNEXTLINE(bugprone-signal-handler): the shim says that it may be called there */
	return ioctl(fd, IOMMU_IOAS_ALLOC, &arguments) ? -errno : (int)arguments.id;
}

static inline int destroy(int fd, int id)
{
	struct {
		uint32_t size, id;
	} arguments = {sizeof(arguments), (uint32_t)id};

	return ioctl(fd, IOMMU_DESTROY, &arguments) ? -errno : 0;
}

static inline void wait_for(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}

static inline void send_fd(int socket_fd, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0};
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);

	*cmsg = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(fd)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	CHECK(sendmsg(socket_fd, &message, 0) == 1);
}

static inline int receive_fd(int socket_fd)
{
	char byte, control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	const struct cmsghdr *header;
	int fd;

	CHECK(recvmsg(socket_fd, &message, 0) == 1);
	header = CMSG_FIRSTHDR(&message);
	CHECK(header);
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

#endif

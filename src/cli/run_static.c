/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that nothing can be preloaded into: the kernel stops it at system calls, and tells this process, its parent, which is
 * the session. As its ancestor it may look into it wherever a parent may (Yama), and into all that comes of it.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi/session/filter.h"
#include "abi/session/notify.h"
#include "cli/run.h"

enum {
	SCRIPT_LINE = 256, /* as much of it as the kernel looks at */
	SCRIPT_DEPTH = 5, /* scripts whose interpreter is one */
};

static pid_t child;

/* Where execvp() would find it. False: nowhere. */
static bool find_program(const char *name, char *path, size_t size)
{
	const char *folders = getenv("PATH"), *end;

	if (strchr(name, '/'))
		return (size_t)snprintf(path, size, "%s", name) < size;
	for (; folders && *folders; folders = *end ? end + 1 : end) {
		end = strchrnul(folders, ':');
		if ((size_t)snprintf(path, size, "%.*s/%s", (int)(end - folders), folders, name) < size && !access(path, X_OK))
			return true;
	}
	return false;
}

/* The interpreter of a script, of its first line. False: it is none. */
static bool find_interpreter(const char *line, ssize_t length, char *path, size_t size)
{
	const char *end, *from = line + 2;

	if (length < 4 || line[0] != '#' || line[1] != '!')
		return false;
	from += strspn(from, " \t");
	end = from + strcspn(from, " \t\n");
	return *end && end > from && (size_t)snprintf(path, size, "%.*s", (int)(end - from), from) < size;
}

/* Of the program, or what in the end interprets it. -1: there is none, or it cannot be read. */
static int open_program(const char *name)
{
	char path[PATH_MAX], line[SCRIPT_LINE + 1];
	bool script = find_program(name, path, sizeof(path));
	int fd = -1;

	for (int depth = 0; script && depth < SCRIPT_DEPTH; depth++) {
		ssize_t length;

		if (fd >= 0)
			close(fd);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		length = fd < 0 ? 0 : pread(fd, line, SCRIPT_LINE, 0);
		line[length < 0 ? 0 : length] = '\0';
		script = find_interpreter(line, length, path, sizeof(path));
	}
	return fd;
}

static bool has_interpreter(int fd, const Elf64_Ehdr *header)
{
	Elf64_Phdr part;

	for (unsigned int i = 0; i < header->e_phnum; i++)
		if (pread(fd, &part, sizeof(part), (off_t)(header->e_phoff + i * sizeof(part))) != (ssize_t)sizeof(part) ||
		    part.p_type == PT_INTERP)
			return true;
	return false;
}

enum run_kind run_kind(const char *program)
{
	enum run_kind kind = RUN_PRELOADED;
	int fd = open_program(program);
	Elf64_Ehdr header;
	ssize_t length;

	if (fd < 0)
		return kind;
	length = pread(fd, &header, sizeof(header), 0);
	if (length > EI_CLASS && !memcmp(header.e_ident, ELFMAG, SELFMAG) && header.e_ident[EI_CLASS] == ELFCLASS32)
		kind = RUN_NOT;
	else if (length == (ssize_t)sizeof(header) && !memcmp(header.e_ident, ELFMAG, SELFMAG) &&
		 (header.e_type == ET_EXEC || header.e_type == ET_DYN) && !has_interpreter(fd, &header))
		kind = RUN_STOPPED;
	close(fd);
	return kind;
}

/* In the child: the listener goes to the parent, and is nowhere else. */
static void become(int parent, char **program)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = {0}, byte = 0;
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
	int listener = filter_install();

	if (listener < 0) {
		complain(STATUS_OTHER, "run: the kernel has no seccomp notifications: %s", strerror(-listener));
		_exit(STATUS_OTHER);
	}
	*cmsg = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(cmsg), &listener, sizeof(listener));
	if (sendmsg(parent, &message, MSG_NOSIGNAL) != 1)
		_exit(STATUS_OTHER);
	close(parent);
	close(listener);
	execvp(program[0], program);
	complain(STATUS_OTHER, "%s: %s", program[0], strerror(errno));
	_exit(STATUS_OTHER);
}

/* -EPIPE: the child has ended, and has said why. */
static int receive_listener(int socket_fd)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))), byte;
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *cmsg;
	int fd;

	if (recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC) != 1)
		return -EPIPE;
	cmsg = CMSG_FIRSTHDR(&message);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return -EPIPE;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

static void forward(int number)
{
	kill(child, number);
}

/* What a terminal sends goes to the program as well; what is sent to us is meant for it. */
static void set_signals(void)
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN}, pass_on = {.sa_handler = forward, .sa_flags = SA_RESTART};

	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGQUIT, &ignore, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGXFSZ, &ignore, NULL);
	sigaction(SIGTERM, &pass_on, NULL);
	sigaction(SIGHUP, &pass_on, NULL);
	sigaction(SIGUSR1, &pass_on, NULL);
	sigaction(SIGUSR2, &pass_on, NULL);
}

/* Everybody else who has been left to us has ended as well. */
static int reap(void)
{
	int status, of_child = 0;
	pid_t pid;

	while ((pid = wait(&status)) > 0 || errno == EINTR)
		if (pid == child)
			of_child = status;
	return of_child;
}

/* End as the program has. */
static enum status imitate(int status)
{
	const struct rlimit none = {0, 0};

	if (WIFSIGNALED(status)) {
		/* The core file there is, is the program's. */
		setrlimit(RLIMIT_CORE, &none);
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
	return (enum status)WEXITSTATUS(status);
}

static enum status supervise(struct session *session, int socket_fd)
{
	int listener = receive_listener(socket_fd), first = (int)syscall(SYS_pidfd_open, child, 0);
	enum status status = STATUS_OK;

	close(socket_fd);
	if (listener >= 0 && notify_start(session, listener)) {
		kill(child, SIGKILL);
		status = complain(STATUS_OTHER, "run: %s", strerror(EAGAIN));
	}
	session_serve(session, first);
	session_destroy(session);
	return status == STATUS_OK ? imitate(reap()) : status;
}

enum status run_static(const struct session_options *options, char **program, bool (*set_environment)(const char *folder))
{
	static struct session session;
	char complaint_text[256];
	int ends[2];

	if (session_create(&session, options, complaint_text, sizeof(complaint_text)))
		return complain(STATUS_OTHER, "run: %s", complaint_text);
	if (!set_environment(session.folder) || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) {
		session_destroy(&session);
		return complain(STATUS_OTHER, "run: %s", strerror(errno));
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	child = fork();
	if (!child)
		become(ends[1], program);
	close(ends[1]);
	if (child < 0) {
		session_destroy(&session);
		return complain(STATUS_OTHER, "run: %s", strerror(errno));
	}
	set_signals();
	return supervise(&session, ends[0]);
}

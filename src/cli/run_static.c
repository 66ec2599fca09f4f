/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that nothing can be preloaded into: the kernel stops it at system calls, and tells its parent, which is the session. As
 * its ancestor that may look into it wherever a parent may (Yama), and into all that comes of it.
 *
 *	launcher	what the user has started: to a shell it is the program. It stops, goes on and ends as that does, and passes
 *	|		signals on; it has nothing to do with the session.
 *	session		in a kernel's session of its own, where no terminal reaches it. It does to the launcher what is done to the
 *	|		program, and ends the program when the launcher has been killed.
 *	program		in the launcher's group, as if it were alone there.
 *
 * Whoever of them is killed, nothing stays: the session outlives the launcher and the program. The program does not outlive the
 * session (PR_SET_PDEATHSIG), and what has come of it, for which the kernel would not make any call that it stops, is ended by
 * the launcher.
 */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "abi/session/filter.h"
#include "abi/session/notify.h"
#include "cli/run.h"
#include "util/util.h"

enum {
	SCRIPT_LINE = 256, /* as much of it as the kernel looks at */
	SCRIPT_DEPTH = 5, /* scripts whose interpreter is one */
};

struct launcher {
	pid_t process;
	int pidfd;
	int socket; /* of the session, to it */
};

static int program_pidfd = -1;
static pid_t program_process, session_process;

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

/* It gets rights that the user has not: then the C library's loader preloads nothing into it. */
static bool has_rights(int fd)
{
	struct statvfs mount;
	struct stat file;
	char rights[64];

	if (fstat(fd, &file) || fstatvfs(fd, &mount) || mount.f_flag & ST_NOSUID || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0))
		return false;
	return (file.st_mode & S_ISUID && file.st_uid != geteuid()) ||
	       ((file.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && file.st_gid != getegid()) ||
	       (geteuid() && fgetxattr(fd, "security.capability", rights, sizeof(rights)) > 0);
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
	else if (has_rights(fd))
		kind = RUN_WITH_RIGHTS;
	close(fd);
	return kind;
}

/* --- between them --- */

union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static bool send_fd(int socket_fd, int fd, pid_t of)
{
	union control control = {0};
	struct iovec part = {&of, sizeof(of)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};

	control.align = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	return sendmsg(socket_fd, &message, MSG_NOSIGNAL) == (ssize_t)sizeof(of);
}

/* -EPIPE: the other one has ended, and has said why. */
static int receive_fd(int socket_fd, pid_t *of)
{
	union control control = {0};
	struct iovec part = {of, sizeof(*of)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t length;
	int fd;

	do
		length = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);
	while (length < 0 && errno == EINTR);
	if (length != (ssize_t)sizeof(*of) || message.msg_controllen < CMSG_LEN(sizeof(int)) ||
	    control.align.cmsg_type != SCM_RIGHTS)
		return -EPIPE;
	memcpy(&fd, CMSG_DATA(&control.align), sizeof(fd));
	return fd;
}

static void signal_to(int pidfd, int number)
{
	/* NOLINTNEXTLINE(bugprone-signal-handler): it is a system call, and no more */
	syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0);
}

/* All children have ended, as those have that were left to us: the status of one of them. */
static int reap(pid_t first)
{
	int status, of_first = 0;
	pid_t pid;

	while ((pid = wait(&status)) > 0 || errno == EINTR)
		if (pid == first)
			of_first = status;
	return of_first;
}

/* End as another process has. */
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

/* --- the program --- */

/* The listener goes to the session, and is nowhere else. */
static void become(int parent, pid_t session, char **program)
{
	int listener;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != session)
		_exit(STATUS_OTHER);
	listener = filter_install();
	if (listener < 0) {
		complain(STATUS_OTHER, "run: the kernel has no seccomp notifications: %s", strerror(-listener));
		_exit(STATUS_OTHER);
	}
	if (!send_fd(parent, listener, getpid()))
		_exit(STATUS_OTHER);
	close(parent);
	close(listener);
	execvp(program[0], program);
	complain(STATUS_OTHER, "%s: %s", program[0], strerror(errno));
	_exit(STATUS_OTHER);
}

/* --- the session --- */

/* The launcher has been killed. */
static void end_program(int number)
{
	(void)number;
	signal_to(program_pidfd, SIGKILL);
}

/* What the program's parent would be told is done to the launcher. By one thread, so that what it did last is what is. */
static void *reflect(void *opaque)
{
	const struct launcher *launcher = opaque;
	bool stopped = false;
	siginfo_t info;

	/* Fails when the program has ended, and leaves that to be waited for. */
	for (;;) {
		if (!waitid(P_PID, (id_t)program_process, &info, WSTOPPED | WCONTINUED)) {
			stopped = info.si_code != CLD_CONTINUED;
			signal_to(launcher->pidfd, stopped ? SIGSTOP : SIGCONT);
		} else if (errno != EINTR) {
			break;
		}
	}
	if (stopped)
		signal_to(launcher->pidfd, SIGCONT);
	return NULL;
}

/* Until the program, and everything that came of it, has ended. */
static enum status serve(struct session *session, int listener, const struct launcher *launcher)
{
	enum status status = STATUS_OK;
	bool reflected = false;
	pthread_t thread;

	if (listener >= 0 && !notify_start(session, listener))
		reflected = !pthread_create(&thread, NULL, reflect, (void *)(uintptr_t)launcher);
	if (listener >= 0 && !reflected) {
		signal_to(program_pidfd, SIGKILL);
		status = complain(STATUS_OTHER, "run: %s", strerror(EAGAIN));
	}
	session_serve(session, fcntl(program_pidfd, F_DUPFD_CLOEXEC, 0));
	if (reflected)
		pthread_join(thread, NULL);
	return status;
}

/*
 * No terminal reaches us, and the launcher's end is the program's. A process group of our own would not do: the program would then
 * be what keeps the launcher's group from being an orphaned one, and at its end the kernel would hang up (SIGHUP) all of that group
 * if one of it is stopped, as the launcher is when the program was.
 */
static void leave(const struct launcher *launcher)
{
	static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGXFSZ, SIGTSTP, SIGTTIN, SIGTTOU};

	setsid();
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGTERM, end_program);
	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	if (getppid() != launcher->process)
		end_program(SIGTERM);
}

/* -errno. *@listener: -EPIPE if the program has ended already. */
static int start_program(const struct launcher *launcher, char **program, int *listener)
{
	pid_t session = getpid(), ignored;
	int ends[2], error = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -errno;
	program_process = fork();
	if (!program_process)
		become(ends[1], session, program);
	close(ends[1]);
	program_pidfd = program_process < 0 ? -1 : (int)syscall(SYS_pidfd_open, program_process, 0);
	if (program_pidfd < 0) {
		error = -errno;
	} else {
		leave(launcher);
		send_fd(launcher->socket, program_pidfd, program_process);
		*listener = receive_fd(ends[0], &ignored);
	}
	close(ends[0]);
	return error;
}

static enum status host(const struct session_options *options, char **program, bool (*set_environment)(const char *folder),
			const struct launcher *launcher)
{
	static struct session session;
	enum status status = STATUS_OK;
	char text[256];
	int listener = -EPIPE, error;

	if (session_create(&session, options, text, sizeof(text)))
		return complain(STATUS_OTHER, "run: %s", text);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (!set_environment(session.folder))
		status = STATUS_OTHER;
	else if ((error = start_program(launcher, program, &listener)))
		status = complain(STATUS_OTHER, "run: %s", strerror(-error));
	else
		status = serve(&session, listener, launcher);
	session_destroy(&session);
	error = reap(program_process);
	return status == STATUS_OK ? imitate(error) : status;
}

/* --- the launcher --- */

/*
 * What a terminal sends, it has sent to the program's group as well, except if it is gone; what the program sends to its group it
 * has; and what the session sends is meant for us.
 */
static void forward(int number, siginfo_t *info, void *context)
{
	bool hangs_up = (number == SIGHUP || number == SIGCONT) && getsid(0) == getpid();
	int error = errno;

	(void)context;
	if (info->si_code == SI_KERNEL ? hangs_up : info->si_pid != program_process && info->si_pid != session_process)
		/* NOLINTNEXTLINE(bugprone-signal-handler): it is a system call, and no more */
		syscall(SYS_pidfd_send_signal, program_pidfd, number, info->si_code == SI_QUEUE ? info : NULL, 0);
	errno = error;
}

/* But those that tell of an error of our own. */
static void set_signals(void)
{
	static const int own[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS, SIGCHLD};
	const struct sigaction pass_on = {.sa_sigaction = forward, .sa_flags = SA_RESTART | SA_SIGINFO};

	for (int number = 1; number <= SIGRTMAX; number++) {
		bool passed = true;

		for (size_t i = 0; i < ARRAY_SIZE(own); i++)
			passed &= number != own[i];
		if (passed)
			sigaction(number, &pass_on, NULL); /* fails for those that nobody can catch */
	}
}

/* The session has been killed: then what was of it is ours. */
static void end_others(void)
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;
	uint64_t parent;

	while (processes && (entry = readdir(processes))) {
		pid_t process = (pid_t)strtol(entry->d_name, NULL, 10);

		if (process > 0 && status_value(process, "PPid:", 10, &parent) && (pid_t)parent == getpid())
			kill(process, SIGKILL);
	}
	if (processes)
		closedir(processes);
}

static enum status launch(int socket_fd)
{
	struct pollfd ended = {.fd = (int)syscall(SYS_pidfd_open, session_process, 0), .events = POLLIN};
	int status = 0;

	program_pidfd = receive_fd(socket_fd, &program_process);
	close(socket_fd);
	if (program_pidfd >= 0)
		set_signals();
	/* Where signals are handled at once, whatever checks us for races. */
	while (ended.fd >= 0 && poll(&ended, 1, -1) < 0)
		;
	while (waitpid(session_process, &status, 0) < 0 && errno == EINTR)
		;
	if (ended.fd >= 0)
		close(ended.fd);
	do
		end_others();
	while (wait(NULL) > 0 || errno == EINTR);
	return imitate(status);
}

enum status run_static(const struct session_options *options, char **program, bool (*set_environment)(const char *folder))
{
	struct launcher launcher = {.process = getpid(), .pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0)};
	int ends[2];

	if (launcher.pidfd < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return complain(STATUS_OTHER, "run: %s", strerror(errno));
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	session_process = fork();
	if (session_process < 0)
		return complain(STATUS_OTHER, "run: %s", strerror(errno));
	close(ends[session_process ? 1 : 0]);
	launcher.socket = ends[1];
	return session_process ? launch(ends[0]) : host(options, program, set_environment, &launcher);
}

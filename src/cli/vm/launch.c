/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The launcher: starts the server and QEMU, and sees to it that nobody is left when one of them ends. It has one thread and waits
 * at one place, for all that can happen. Should it be killed itself, the kernel tells its children (PR_SET_PDEATHSIG): QEMU ends,
 * and the server; then the keeper finds that nobody has its pipe any more, and cleans up.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cli/vm/vm.h"
#include "util/util.h"

enum {
	PROBE_LIMIT = 120000, /* ms: firmware that does nothing for so long does nothing */
	END_LIMIT = 5000, /* ms for QEMU to end by itself */
};

struct child {
	pid_t pid; /* 0: there is none */
	int fd; /* pidfd */
	int status; /* of waitpid(), once it has ended */
};

struct launcher {
	struct vm *vm;
	struct child server, qemu, keeper;
	int keeper_fd; /* the keeper waits until nobody has it */
	int events; /* from the server; -1: none */
	int signals;
	sigset_t handled, before;
	struct termios terminal;
	bool has_terminal;
	struct qmp qmp;
	int status_fd; /* what a guest says of the command that it ran; -1: it was not to run one */
};

enum happening {
	SERVER_SAYS,
	SERVER_ENDED,
	QEMU_ENDED,
	MONITOR_SAYS,
	SIGNALLED,
	TIME_OVER,
};

/* --- children --- */

static pid_t fork_child(struct launcher *launcher, int death)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, death);
	if (getppid() != parent)
		raise(death);
	close(launcher->signals);
	return 0;
}

static bool child_began(struct child *child, pid_t pid, const char *what)
{
	child->fd = pid > 0 ? pidfd_open(pid, 0) : -1;
	if (pid > 0 && child->fd < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	child->pid = child->fd < 0 ? 0 : pid;
	if (!child->pid)
		complain(STATUS_OTHER, "%s: %s", what, strerror(errno));
	return child->pid;
}

static void reap(struct child *child)
{
	if (!child->pid)
		return;
	while (waitpid(child->pid, &child->status, 0) < 0 && errno == EINTR)
		;
	close(child->fd);
	child->pid = 0;
}

/* Give it time to end by itself, and not more. */
static void end_child(struct child *child, int signal)
{
	struct pollfd ended = {.fd = child->fd, .events = POLLIN};

	if (!child->pid)
		return;
	kill(child->pid, signal);
	if (poll(&ended, 1, END_LIMIT) != 1)
		kill(child->pid, SIGKILL);
	reap(child);
}

static bool start_keeper(struct launcher *launcher)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return complain(STATUS_OTHER, "pipe: %s", strerror(errno)), false;
	launcher->keeper_fd = ends[1];
	pid = fork();
	if (!pid) {
		ssize_t got;
		char byte;

		prctl(PR_SET_NAME, "uiommu-keeper");
		/* What the terminal sends, and what ends the others, is not for it. */
		setpgid(0, 0);
		close(ends[1]);
		while ((got = read(ends[0], &byte, 1)) > 0 || (got < 0 && errno == EINTR))
			;
		vm_folder_remove(launcher->vm->folder);
		_exit(0);
	}
	close(ends[0]);
	return child_began(&launcher->keeper, pid, "keeper");
}

static bool start_server(struct launcher *launcher)
{
	int ends[2];
	pid_t pid;
	sigset_t blocked;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return complain(STATUS_OTHER, "pipe: %s", strerror(errno)), false;
	pid = fork_child(launcher, SIGTERM);
	if (!pid) {
		prctl(PR_SET_NAME, "uiommu-server");
		close(ends[0]);
		/* What the terminal sends is for the launcher and the guest. */
		setpgid(0, 0);
		sigemptyset(&blocked);
		sigaddset(&blocked, SIGTERM);
		sigprocmask(SIG_SETMASK, &blocked, NULL);
		_exit(vm_serve(launcher->vm, ends[1]));
	}
	close(ends[1]);
	launcher->events = ends[0];
	return child_began(&launcher->server, pid, "server");
}

static void end_server(struct launcher *launcher)
{
	end_child(&launcher->server, SIGTERM);
	if (launcher->events >= 0)
		close(launcher->events);
	launcher->events = -1;
}

static void forget_monitor(struct launcher *launcher)
{
	if (launcher->qmp.fd >= 0)
		close(launcher->qmp.fd);
	free(launcher->qmp.text);
	launcher->qmp = (struct qmp){.fd = -1};
}

static _Noreturn void be_qemu(const struct launcher *launcher, enum vm_line line, struct words *words, const int *keep,
			      size_t count)
{
	/* A probe is nothing to the terminal. */
	int null = line == VM_LINE_PROBE ? open("/dev/null", O_RDWR) : -1;

	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	for (size_t i = 0; i < count; i++)
		if (keep[i] >= 0)
			fcntl(keep[i], F_SETFD, 0);
	sigprocmask(SIG_SETMASK, &launcher->before, NULL);
	execvp(words->words[0], words->words);
	fprintf(stderr, "uiommu: %s: %s\n", words->words[0], strerror(errno));
	_exit(127);
}

/* @status: where the guest tells the status of what it ran, or -1 */
static bool start_qemu(struct launcher *launcher, enum vm_line line, int status)
{
	struct words words = {0};
	bool begun = false;
	int ends[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return complain(STATUS_OTHER, "socketpair: %s", strerror(errno)), false;
	launcher->qmp.fd = ends[0];
	vm_line(&words, launcher->vm, line, ends[1], status);
	if (words.failed) {
		complain(STATUS_OTHER, "no memory");
	} else {
		pid = fork_child(launcher, SIGTERM);
		if (!pid)
			be_qemu(launcher, line, &words, (const int[]){ends[1], status}, 2);
		begun = child_began(&launcher->qemu, pid, "QEMU");
	}
	close(ends[1]);
	words_free(&words);
	/* Until this is said there are no events. */
	if (begun && qmp_send(&launcher->qmp, "{\"execute\":\"qmp_capabilities\"}\n"))
		forget_monitor(launcher);
	return begun;
}

static void end_qemu(struct launcher *launcher, int signal)
{
	end_child(&launcher->qemu, signal);
	forget_monitor(launcher);
}

/* --- waiting --- */

static enum happening wait_for(const struct launcher *launcher, int limit)
{
	/* In the order in which they are looked at: what was said last comes before the end. */
	struct pollfd fds[] = {
		{.fd = launcher->signals, .events = POLLIN},
		{.fd = launcher->events, .events = POLLIN},
		{.fd = launcher->qmp.fd, .events = POLLIN},
		{.fd = launcher->server.pid ? launcher->server.fd : -1, .events = POLLIN},
		{.fd = launcher->qemu.pid ? launcher->qemu.fd : -1, .events = POLLIN},
	};
	static const enum happening what[] = {SIGNALLED, SERVER_SAYS, MONITOR_SAYS, SERVER_ENDED, QEMU_ENDED};
	int ready;

	while ((ready = poll(fds, ARRAY_SIZE(fds), limit)) < 0 && errno == EINTR)
		;
	if (ready == 0)
		return TIME_OVER;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i].revents & POLLIN)
			return what[i];
	/* Only hang-ups are left: of the monitor, or of the pipe, whose processes are ending. */
	return fds[2].revents ? QEMU_ENDED : SERVER_ENDED;
}

static bool hear(const struct launcher *launcher, struct vm_event *event)
{
	if (read(launcher->events, event, sizeof(*event)) != sizeof(*event))
		return false;
	event->text[sizeof(event->text) - 1] = '\0';
	if (event->type == VM_EVENT_LOG)
		fprintf(stderr, "uiommu: %s\n", event->text);
	return true;
}

/* It may have been only its end of the pipe that was seen. */
static void server_ended(struct launcher *launcher)
{
	int status;

	end_child(&launcher->server, SIGTERM);
	status = launcher->server.status;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		complain(STATUS_OTHER,
			 "the server has ended unexpectedly: it made a system call that it is not permitted (--seccomp)");
	else if (WIFSIGNALED(status))
		complain(STATUS_OTHER, "the server has ended unexpectedly: killed by signal %d", WTERMSIG(status));
	else
		complain(STATUS_OTHER, "the server has ended unexpectedly");
}

static bool ended_badly(struct launcher *launcher, enum happening what)
{
	struct signalfd_siginfo info;

	switch (what) {
	case SERVER_ENDED:
		server_ended(launcher);
		break;
	case QEMU_ENDED:
		complain(STATUS_OTHER, "QEMU has ended before the guest began");
		break;
	case TIME_OVER:
		complain(STATUS_OTHER, "the firmware has not given the IOMMU's registers an address");
		break;
	default:
		if (what == SIGNALLED && read(launcher->signals, &info, sizeof(info)) == sizeof(info))
			complain(STATUS_OTHER, "ended by signal %u", info.ssi_signo);
		break;
	}
	return false;
}

static const char *text_in(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) && value ? json_object_get_string(value) : "";
}

/* QEMU waits for somebody to look at it then, with processors that do not run. Whoever stops the guest himself goes on with it,
 * too. */
static bool is_broken(struct json_object *message)
{
	struct json_object *answer;

	return strcmp(text_in(message, "id"), "status") == 0 && json_object_object_get_ex(message, "return", &answer) &&
	       strcmp(text_in(answer, "status"), "internal-error") == 0;
}

/* What the monitor has said. @buses: where its answer of that goes; NULL: it was not asked. False: the guest cannot go on. */
static bool hear_monitor(struct launcher *launcher, struct json_object **buses)
{
	struct json_object *message;
	int error;

	while (!(error = qmp_receive(&launcher->qmp, &message))) {
		bool broken = is_broken(message);

		if (strcmp(text_in(message, "event"), "STOP") == 0)
			(void)qmp_send(&launcher->qmp, "{\"execute\":\"query-status\",\"id\":\"status\"}\n");
		if (buses && strcmp(text_in(message, "id"), "buses") == 0) {
			*buses = message;
			return true;
		}
		json_object_put(message);
		if (broken)
			return complain(STATUS_OTHER, "QEMU has stopped the guest for an internal error"), false;
	}
	/* One that has ended, or says what nobody understands, is not listened to any more. */
	if (error != -EAGAIN)
		forget_monitor(launcher);
	return true;
}

/* Until the server says @type. */
static bool wait_for_event(struct launcher *launcher, enum vm_event_type type, struct vm_event *event)
{
	for (;;) {
		enum happening what = wait_for(launcher, PROBE_LIMIT);

		if (what == MONITOR_SAYS) {
			if (!hear_monitor(launcher, NULL))
				return false;
			continue;
		}
		if (what != SERVER_SAYS)
			return ended_badly(launcher, what);
		if (!hear(launcher, event))
			return ended_badly(launcher, SERVER_ENDED);
		if (event->type == VM_EVENT_FAILED)
			return complain(STATUS_OTHER, "%s", event->text), false;
		if (event->type == type)
			return true;
	}
}

/* --- the probe --- */

/* Buses are counted by the firmware, too: ask which one is behind each root port. */
static bool find_buses(struct launcher *launcher)
{
	struct json_object *answer = NULL;
	bool found = true;

	if (qmp_send(&launcher->qmp, "{\"execute\":\"query-pci\",\"id\":\"buses\"}\n"))
		return ended_badly(launcher, QEMU_ENDED);
	while (!answer) {
		enum happening what = wait_for(launcher, PROBE_LIMIT);

		if (what != MONITOR_SAYS)
			return ended_badly(launcher, what);
		if (!hear_monitor(launcher, &answer))
			return false;
	}
	for (unsigned int i = 0; found && i < launcher->vm->endpoint_count; i++) {
		struct vm_endpoint *endpoint = &launcher->vm->endpoints[i];
		char port[24];
		int bus;

		snprintf(port, sizeof(port), "uiommu-port%u", endpoint->port);
		bus = qmp_bus_behind(answer, port);
		found = bus >= 0 && (!endpoint->wanted || endpoint->bus == bus);
		if (!found)
			complain(STATUS_OTHER, "%s: the firmware has put it on bus %02x and not %02x", endpoint->model, bus & 0xff,
				 endpoint->bus);
		endpoint->bus = (uint8_t)bus;
	}
	json_object_put(answer);
	return found;
}

static bool probe(struct launcher *launcher)
{
	struct vm_event event = {0};
	bool done;

	if (!start_server(launcher) || !wait_for_event(launcher, VM_EVENT_READY, &event))
		return false;
	done = start_qemu(launcher, VM_LINE_PROBE, -1) && wait_for_event(launcher, VM_EVENT_PLACED, &event) && find_buses(launcher);
	launcher->vm->base = event.address;
	end_qemu(launcher, SIGKILL);
	end_server(launcher);
	return done;
}

/* --- the guest --- */

static bool write_table(const struct vm *vm)
{
	char path[VM_PATH_MAX + 16];
	uint8_t table[VM_DMAR_MAX];
	size_t length = vm_dmar(vm, table);
	int error;

	snprintf(path, sizeof(path), "%s/dmar", vm->folder);
	error = vm_write_file(path, table, length);
	if (error)
		complain(STATUS_OTHER, "%s: %s", path, strerror(-error));
	return !error;
}

/* A guest with another address than its table says finds no IOMMU, or something else in its place. */
static bool placed_as_said(const struct launcher *launcher, const struct vm_event *event)
{
	if (event->address == launcher->vm->base)
		return true;
	complain(STATUS_OTHER, "the IOMMU's registers are at 0x%" PRIx64 ", and the guest's table (DMAR) says 0x%" PRIx64,
		 event->address, launcher->vm->base);
	return false;
}

/* Of the command that the guest ran, after its end. A number in a line; what else there is was written by the guest, too. */
static enum status command_status(const struct launcher *launcher)
{
	char text[16], *end;
	ssize_t got = recv(launcher->status_fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	unsigned long status;

	text[got > 0 ? got : 0] = '\0';
	status = strtoul(text, &end, 10);
	if (end == text || !strchr("\r\n", *end) || !*end || status > 255)
		return complain(STATUS_OTHER, "the guest has ended before its command did");
	return (enum status)status;
}

static enum status qemu_status(const struct launcher *launcher)
{
	int status = launcher->qemu.status;

	if (WIFSIGNALED(status))
		return complain(STATUS_OTHER, "QEMU was killed by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status))
		return complain(STATUS_OTHER, "QEMU has ended with status %d", WEXITSTATUS(status));
	return launcher->status_fd >= 0 ? command_status(launcher) : STATUS_OK;
}

/* Until somebody ends. @limit: within which firmware has to do its work; -1: none */
static enum status watch(struct launcher *launcher, int limit)
{
	for (;;) {
		enum happening what = wait_for(launcher, limit);
		struct vm_event event;

		if (what == MONITOR_SAYS) {
			if (!hear_monitor(launcher, NULL))
				return STATUS_OTHER;
			continue;
		}
		if (what == QEMU_ENDED) {
			reap(&launcher->qemu);
			return qemu_status(launcher);
		}
		if (what != SERVER_SAYS || !hear(launcher, &event)) {
			ended_badly(launcher, what == SERVER_SAYS ? SERVER_ENDED : what);
			return STATUS_OTHER;
		}
		if (event.type == VM_EVENT_PLACED && !placed_as_said(launcher, &event))
			return STATUS_OTHER;
		if (event.type == VM_EVENT_PLACED)
			limit = -1;
	}
}

/* As one writes it for a shell. */
static void print_word(const char *word, const char *before)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=,./:+@%";

	fputs(before, stdout);
	if (*word && !word[strspn(word, plain)]) {
		fputs(word, stdout);
		return;
	}
	putchar('\'');
	for (; *word; word++)
		fputs(*word == '\'' ? "'\\''" : (const char[]){*word, '\0'}, stdout);
	putchar('\'');
}

static bool print_line(const struct vm *vm)
{
	struct words words = {0};
	bool done;

	vm_line(&words, vm, VM_LINE_PRINT, -1, -1);
	for (size_t i = 0; i < words.count; i++)
		print_word(words.words[i], i ? " " : "");
	putchar('\n');
	done = fflush(stdout) == 0 && !words.failed;
	words_free(&words);
	return done;
}

static bool start_guest(struct launcher *launcher)
{
	int ends[2] = {-1, -1};
	bool begun;

	if (launcher->vm->run && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return complain(STATUS_OTHER, "socketpair: %s", strerror(errno)), false;
	launcher->status_fd = ends[0];
	begun = start_qemu(launcher, VM_LINE_BOOT, ends[1]);
	if (ends[1] >= 0)
		close(ends[1]);
	return begun;
}

static enum status boot(struct launcher *launcher, bool print)
{
	struct vm_event event;
	bool begun;

	if (!write_table(launcher->vm) || !start_server(launcher) || !wait_for_event(launcher, VM_EVENT_READY, &event))
		return STATUS_OTHER;
	begun = print ? print_line(launcher->vm) : start_guest(launcher);
	return begun ? watch(launcher, print ? -1 : PROBE_LIMIT) : STATUS_OTHER;
}

/* --- beginning and end --- */

static bool catch_signals(struct launcher *launcher)
{
	sigemptyset(&launcher->handled);
	sigaddset(&launcher->handled, SIGINT);
	sigaddset(&launcher->handled, SIGTERM);
	sigaddset(&launcher->handled, SIGHUP);
	sigprocmask(SIG_BLOCK, &launcher->handled, &launcher->before);
	launcher->signals = signalfd(-1, &launcher->handled, SFD_CLOEXEC | SFD_NONBLOCK);
	launcher->has_terminal = tcgetattr(STDIN_FILENO, &launcher->terminal) == 0;
	if (launcher->signals < 0)
		complain(STATUS_OTHER, "signalfd: %s", strerror(errno));
	return launcher->signals >= 0;
}

static void end_all(struct launcher *launcher)
{
	end_qemu(launcher, SIGTERM);
	end_server(launcher);
	if (launcher->keeper_fd >= 0)
		close(launcher->keeper_fd);
	reap(&launcher->keeper);
	/* QEMU gives the terminal back; not if it was killed. */
	if (launcher->has_terminal && tcgetpgrp(STDIN_FILENO) == getpgrp())
		tcsetattr(STDIN_FILENO, TCSANOW, &launcher->terminal);
	if (launcher->status_fd >= 0)
		close(launcher->status_fd);
	close(launcher->signals);
	sigprocmask(SIG_SETMASK, &launcher->before, NULL);
}

static bool make_initrd(struct vm *vm, char *path, size_t size)
{
	if (!vm->kernel || vm->initrd || vm->disks.count)
		return true;
	snprintf(path, size, "%s/initrd", vm->folder);
	vm->initrd = path;
	return vm_initrd(vm, path);
}

enum status vm_launch(struct vm *vm, bool print)
{
	struct launcher launcher = {.vm = vm, .events = -1, .keeper_fd = -1, .qmp = {.fd = -1}, .status_fd = -1};
	char initrd[VM_PATH_MAX + 16];
	enum status status = STATUS_OTHER;
	int error;

	if (!catch_signals(&launcher))
		return STATUS_OTHER;
	vm->launcher = getpid();
	error = vm_folder_make(vm);
	if (error)
		complain(STATUS_OTHER, "%s: %s", vm->folder, strerror(-error));
	else if (start_keeper(&launcher) && make_initrd(vm, initrd, sizeof(initrd)) && probe(&launcher))
		status = boot(&launcher, print);
	end_all(&launcher);
	return status;
}

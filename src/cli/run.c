/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uiommu run: this process becomes the program, with the shim in it. Its session is a process of its own, which is nobody's child,
 * so that the program does not find one that it has not made; it ends when the program and everything that came of it have ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/run.h"
#include "util/util.h"

#define SHIM "libuiommu-shim.so"

enum { REPORT_SIZE = 512 };

/* Nothing of whoever called us stays open because of the session, but for these. */
static void let_go(const int keep[3])
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	for (unsigned int from = 3, next = 0; next < INT_MAX; from = next + 1) {
		next = INT_MAX;
		for (int i = 0; i < 3; i++)
			if ((unsigned int)keep[i] >= from && (unsigned int)keep[i] < next)
				next = (unsigned int)keep[i];
		if (next > from)
			syscall(SYS_close_range, from, next - 1, 0);
	}
}

/* The report is the folder's name, or a complaint behind a '!'. */
static void serve(struct session_options *options, int report, int first)
{
	static struct session session;
	char text[REPORT_SIZE] = "!";

	setsid();
	signal(SIGPIPE, SIG_IGN);
	if (options->check)
		options->report = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	let_go((const int[]){report, first, options->check ? options->report : first});
	if (session_create(&session, options, text + 1, sizeof(text) - 1)) {
		(void)!write(report, text, strlen(text));
		_exit(1);
	}
	(void)!write(report, session.folder, strlen(session.folder));
	close(report);
	session_serve(&session, first);
	session_destroy(&session);
	_exit(0);
}

/* Twice, so that it is not our child. */
static int fork_away(struct session_options *options, int report, int first)
{
	pid_t pid = fork();

	if (!pid) {
		pid = fork();
		if (!pid)
			serve(options, report, first);
		_exit(pid < 0);
	}
	if (pid < 0)
		return -errno;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

/* @folder has room for REPORT_SIZE bytes. */
static enum status start_session(struct session_options *options, char *folder)
{
	int ends[2], first = (int)syscall(SYS_pidfd_open, getpid(), 0), error;
	ssize_t length = 0, n;

	if (first < 0 || pipe2(ends, O_CLOEXEC))
		return complain(STATUS_OTHER, "run: %s", strerror(errno));
	error = fork_away(options, ends[1], first);
	close(ends[1]);
	close(first);
	while (!error && (n = read(ends[0], folder + length, (size_t)(REPORT_SIZE - 1 - length))) > 0)
		length += n;
	close(ends[0]);
	folder[length] = '\0';
	if (error)
		return complain(STATUS_OTHER, "run: %s", strerror(-error));
	if (*folder != '/')
		return complain(STATUS_OTHER, "run: %s", length ? folder + 1 : "the session has ended before it began");
	return STATUS_OK;
}

static char shim[PATH_MAX];

/* @first and @second, each of which may be NULL, with a ':' between them. */
static bool set_list(const char *variable, const char *first, const char *second)
{
	bool both = first && *first && second && *second, set;
	char *list;

	if (asprintf(&list, "%s%s%s", first ? first : "", both ? ":" : "", second ? second : "") < 0)
		return false;
	set = !setenv(variable, list, 1);
	free(list);
	return set;
}

/* A name in the list ends at a space and at a ':': the shim gets another one then. NULL: it has been complained. */
static const char *shim_for_list(const char *folder)
{
	static char link[PATH_MAX];

	if (!strpbrk(shim, " :"))
		return shim;
	snprintf(link, sizeof(link), "%s/" SHIM, folder);
	if (strpbrk(link, " :"))
		complain(STATUS_OTHER, "run: nothing can be preloaded from %s or %s: there is a space or a ':' in them", shim,
			 folder);
	else if (symlink(shim, link))
		complain(STATUS_OTHER, "run: %s: %s", link, strerror(errno));
	else
		return link;
	return NULL;
}

/*
 * Behind what is preloaded already, as the kernel is. AddressSanitizer's library, where a program is linked with it, comes behind
 * the shim then, and refuses that unless it is told that this is meant. False: it has been complained.
 */
static bool set_environment(const char *folder)
{
	const char *preloaded = shim_for_list(folder);

	if (!preloaded)
		return false;
	if (set_list("LD_PRELOAD", getenv("LD_PRELOAD"), preloaded) &&
	    set_list("ASAN_OPTIONS", "verify_asan_link_order=0", getenv("ASAN_OPTIONS")) && !setenv(SESSION_VARIABLE, folder, 1))
		return true;
	complain(STATUS_OTHER, "run: %s", strerror(ENOMEM));
	return false;
}

static int find_separator(int argc, char **argv)
{
	int at = 1;

	while (at < argc && strcmp(argv[at], "--") != 0)
		at++;
	return at;
}

static enum status become(struct session_options *options, char **program)
{
	char folder[REPORT_SIZE];
	enum status status = start_session(options, folder);

	if (status != STATUS_OK)
		return status;
	if (!set_environment(folder))
		return STATUS_OTHER;
	execvp(program[0], program);
	return complain(STATUS_OTHER, "%s: %s", program[0], strerror(errno));
}

static enum status run(const struct command *command, int argc, char **argv)
{
	struct session_options options = {.report = STDERR_FILENO};
	struct arg_list devices = {.count = 0};
	const char *texts[ARG_LIST_MAX + 1] = {NULL};
	bool stop = false;
	const struct arg args[] = {
		{"device", ARG_LIST, false, &devices, "MODEL", "a device under /dev/vfio; may be given again"},
		{"trace", ARG_TEXT, false, &options.trace, "FILE", "write a line for each call, decoded"},
		{"static", ARG_FLAG, false, &stop, NULL, "stop the program at system calls; by itself if nothing can be preloaded"},
		{"check", ARG_FLAG, false, &options.check, NULL, "report memory that goes while it is mapped for DMA, and its use"},
		{"mock", ARG_FLAG, false, &options.mock, NULL, "with the commands that the kernel's selftests need"},
		{"--", ARG_REST, true, NULL, "PROGRAM...", "what is run, and its arguments"},
	};
	int separator = find_separator(argc, argv);
	char **program = argv + separator + 1;
	enum run_kind kind;
	enum status status;

	if (!args_parse(command, "Run a program with /dev/iommu and /dev/vfio of software devices.", args, ARRAY_SIZE(args),
			separator, argv, &status)) {
		if (status == STATUS_OK) {
			printf("\nDevices, as MODEL[,OPTION[=VALUE]]...[,bdf=[DOMAIN:]BUS:DEVICE.FUNCTION]:\n");
			print_models();
		}
		return status;
	}
	memcpy(texts, devices.items, devices.count * sizeof(texts[0]));
	options.devices = texts;
	if (separator + 1 >= argc)
		return complain(STATUS_USAGE, "run: no program; see uiommu run --help");
	if (!find_part(shim, sizeof(shim), "/src/abi/shim", UIOMMU_LIBDIR, SHIM))
		return complain(STATUS_OTHER, "run: " SHIM " is not installed");
	kind = run_kind(program[0]);
	if (kind == RUN_NOT)
		return complain(STATUS_OTHER, "run: %s: a program of 32 bits, which cannot have devices", program[0]);
	if (kind == RUN_WITH_RIGHTS && !stop)
		return complain(STATUS_OTHER,
				"run: %s: it is set-uid, set-gid or has capabilities, so that nothing can be preloaded into it; "
				"--static runs it without these rights",
				program[0]);
	options.native = stop || kind == RUN_STOPPED;
	if (options.native)
		return run_static(&options, program, set_environment);
	return become(&options, program);
}

const struct command command_run = {"run", "run a program with software devices", run};

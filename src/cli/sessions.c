/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/sessions.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "abi/session/session.h"

/* A line of what a session says (abi/session/list.c). */
struct line {
	char type[32];
	uint64_t id;
	uint64_t file;
	uint64_t pid;
	uint64_t users;
	char name[128];
	char details[512]; /* words "key=value" */
};

struct listing {
	struct json_object *items; /* or NULL: print */
	bool any;
};

/* A member for each: a number where it is one. @details is used up. */
static void add_details(struct json_object *object, char *details)
{
	char *rest, *word, *value;

	for (word = strtok_r(details, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		value = strchr(word, '=');
		if (!value)
			continue;
		*value++ = '\0';
		if (value[strspn(value, "0123456789")])
			json_add_string(object, word, value);
		else
			json_add_number(object, word, strtoull(value, NULL, 10));
	}
}

static void show_line(struct listing *listing, const char *session, struct line *line)
{
	struct json_object *object;

	if (!listing->items) {
		if (!listing->any)
			printf("%-12s %12s %12s %8s %6s %-28s %-*s %s\n", "TYPE", "ID", "FILE", "PID", "USERS", "NAME",
			       (int)strlen(session), "SESSION", "DETAILS");
		printf("%-12s %12" PRIu64 " %12" PRIu64 " %8" PRIu64 " %6" PRIu64 " %-28s %s%s%s\n", line->type, line->id,
		       line->file, line->pid, line->users, line->name, session, line->details[0] ? " " : "", line->details);
		listing->any = true;
		return;
	}
	object = json_object_new_object();
	json_add_string(object, "type", line->type);
	json_add_number(object, "id", line->id);
	json_add_number(object, "file", line->file);
	json_add_number(object, "pid", line->pid);
	json_add_number(object, "users", line->users);
	json_add_string(object, "name", line->name);
	json_add_string(object, "session", session);
	add_details(object, line->details);
	json_object_array_add(listing->items, object);
}

static bool parse_line(const char *text, struct line *line)
{
	line->details[0] = '\0';
	return sscanf(text, "%31s\t%" SCNu64 "\t%" SCNu64 "\t%" SCNu64 "\t%" SCNu64 "\t%127[^\t\n]\t%511[^\n]", line->type,
		      &line->id, &line->file, &line->pid, &line->users, line->name, line->details) >= 6;
}

static void show_all(struct listing *listing, const char *session, int fd)
{
	FILE *in = fdopen(fd, "r");
	struct line line;
	char text[1024];

	if (!in) {
		close(fd);
		return;
	}
	rewind(in);
	while (fgets(text, sizeof(text), in)) {
		if (!parse_line(text, &line))
			continue;
		if (line.pid)
			process_command((pid_t)line.pid, line.name, sizeof(line.name));
		show_line(listing, session, &line);
	}
	fclose(in);
}

static int receive_fd(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec part = {&byte, 1};
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *cmsg;
	int fd;

	if (recvmsg(socket, &header, MSG_CMSG_CLOEXEC) != 1)
		return -EPIPE;
	cmsg = CMSG_FIRSTHDR(&header);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return -EMFILE;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

/* What the session of @folder has, in a file; or -errno. */
static int ask(const char *folder)
{
	const struct session_request request = {.op = SESSION_LIST};
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	struct session_reply reply;
	int socket_fd, fd = -EPIPE;

	if (snprintf(name.sun_path, sizeof(name.sun_path), "%s/" SESSION_SOCKET, folder) >= (int)sizeof(name.sun_path))
		return -ENAMETOOLONG;
	socket_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (socket_fd < 0)
		return -errno;
	if (connect(socket_fd, (struct sockaddr *)&name, sizeof(name)))
		fd = -errno;
	else if (send(socket_fd, &request, sizeof(request), MSG_NOSIGNAL) == (ssize_t)sizeof(request) &&
		 recv(socket_fd, &reply, sizeof(reply), 0) == (ssize_t)sizeof(reply))
		fd = reply.result < 0 ? (int)reply.result : receive_fd(socket_fd);
	close(socket_fd);
	return fd;
}

static enum status list_one(struct listing *listing, const char *folder)
{
	int fd = ask(folder);

	if (fd < 0)
		return complain(status_of(fd), "the session %s does not answer: %s", folder, strerror(-fd));
	show_all(listing, folder, fd);
	return STATUS_OK;
}

/* One that has ended, or is just beginning, has nothing. */
static enum status list_all(struct listing *listing)
{
	char base[SESSION_FOLDER_MAX], folder[SESSION_FOLDER_MAX + 256];
	int error = folder_base(base, sizeof(base));
	struct dirent *entry;
	DIR *directory = error ? NULL : opendir(base);

	if (!directory)
		return complain(STATUS_OTHER, "%s: %s", base, strerror(error ? -error : errno));
	while ((entry = readdir(directory))) {
		int fd;

		if (strncmp(entry->d_name, "run-", 4) != 0)
			continue;
		snprintf(folder, sizeof(folder), "%s/%s", base, entry->d_name);
		fd = ask(folder);
		if (fd >= 0)
			show_all(listing, folder, fd);
	}
	closedir(directory);
	return STATUS_OK;
}

enum status list_sessions(const struct command *command, bool json)
{
	struct json_object *answer = json ? json_answer(command) : NULL;
	struct listing listing = {.items = json ? json_object_new_array() : NULL};
	const char *folder = getenv(SESSION_VARIABLE);
	enum status status = folder && *folder ? list_one(&listing, folder) : list_all(&listing);

	if (answer) {
		json_object_object_add(answer, "items", listing.items);
		json_finish(answer);
	}
	return status;
}

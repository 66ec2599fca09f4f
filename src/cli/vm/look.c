/* SPDX-License-Identifier: BSD-3-Clause */
/* walk, and ls and fault with --vm: a look into a guest's server. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cli/plain.h"
#include "cli/vm/vm.h"
#include "util/util.h"

enum { GUESTS_MAX = 256, PIECE = 16384, ANSWER_MAX = 16 << 20 };

/* --- asking --- */

static int connect_to(pid_t pid)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char folder[VM_PATH_MAX];
	int error = vm_folder_name(folder, sizeof(folder), pid), fd;

	if (error)
		return error;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/control", folder);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	error = -errno;
	if (fd >= 0)
		close(fd);
	return error;
}

static char *read_all(int fd)
{
	char *text = NULL, *larger;
	size_t length = 0;
	ssize_t got;

	do {
		larger = length < ANSWER_MAX ? realloc(text, length + PIECE + 1) : NULL;
		if (!larger)
			break;
		text = larger;
		got = read(fd, text + length, PIECE);
		length += got > 0 ? (size_t)got : 0;
		text[length] = '\0';
	} while (got > 0);
	return text;
}

/* Nothing is left that a terminal would do something with: a guest may have taken its server over. */
static void make_json_plain(struct json_object *object)
{
	char text[1024];

	if (json_object_is_type(object, json_type_string)) {
		snprintf(text, sizeof(text), "%s", json_object_get_string(object));
		make_plain(text, sizeof(text), false);
		json_object_set_string(object, text);
	} else if (json_object_is_type(object, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(object); i++)
			make_json_plain(json_object_array_get_idx(object, i));
	} else if (json_object_is_type(object, json_type_object)) {
		json_object_object_foreach(object, key, value)
		{
			(void)key;
			make_json_plain(value);
		}
	}
}

/* A descriptor of connect_to(), which is closed. */
static struct json_object *ask(int fd, struct json_object *question)
{
	const char *text = json_object_to_json_string_ext(question, JSON_C_TO_STRING_NOSLASHESCAPE);
	struct json_object *answer = NULL;
	char *said;

	if (send(fd, text, strlen(text), MSG_NOSIGNAL) > 0 && send(fd, "\n", 1, MSG_NOSIGNAL) == 1) {
		said = read_all(fd);
		answer = said ? json_tokener_parse(said) : NULL;
		free(said);
		make_json_plain(answer);
	}
	close(fd);
	return answer;
}

/* The guests that run: the launchers' pids. */
static size_t find_guests(pid_t *pids)
{
	char path[VM_PATH_MAX];
	const struct dirent *entry;
	size_t count = 0;
	DIR *folder;

	if (vm_folder_all(path, sizeof(path)))
		return 0;
	folder = opendir(path);
	while (folder && count < GUESTS_MAX && (entry = readdir(folder))) {
		uint64_t pid;
		int fd;

		if (parse_number(entry->d_name, &pid) || !pid || pid > INT32_MAX)
			continue;
		fd = connect_to((pid_t)pid);
		if (fd < 0)
			continue; /* left over, or just beginning */
		close(fd);
		pids[count++] = (pid_t)pid;
	}
	if (folder)
		closedir(folder);
	return count;
}

/* Of the guest @pid; 0: of the only one. */
static enum status ask_guest(pid_t pid, struct json_object *question, struct json_object **answer)
{
	pid_t pids[GUESTS_MAX];
	struct json_object *error;
	int fd;

	if (!pid) {
		size_t count = find_guests(pids);

		if (!count)
			return complain(STATUS_OTHER, "no guest of uiommu vm is running");
		if (count > 1)
			return complain(STATUS_USAGE, "%zu guests are running; --vm says which, and uiommu ls --vm lists them",
					count);
		pid = pids[0];
	}
	fd = connect_to(pid);
	if (fd < 0)
		return complain(status_of(fd), "guest %d: %s", pid, strerror(-fd));
	*answer = ask(fd, question);
	if (!*answer)
		return complain(STATUS_OTHER, "guest %d has not answered", pid);
	if (!json_object_object_get_ex(*answer, "error", &error))
		return STATUS_OK;
	complain(STATUS_OTHER, "guest %d: %s", pid, json_object_get_string(error));
	json_object_put(*answer);
	return STATUS_OTHER;
}

/* --- what JSON has --- */

static const char *text_in(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) ? json_object_get_string(value) : "";
}

static struct json_object *in(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	json_object_object_get_ex(object, key, &value);
	return value;
}

static size_t length_of(struct json_object *array)
{
	return json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
}

/* --- ls --vm --- */

static void print_words(struct json_object *array)
{
	for (size_t i = 0; i < length_of(array); i++)
		printf("%s%s", i ? "," : "", json_object_get_string(json_object_array_get_idx(array, i)));
}

static void print_guest(struct json_object *guest)
{
	struct json_object *vtd = in(guest, "vtd"), *devices = in(guest, "devices");

	printf("%-8s %-9s %-14s %-8s %-24s\n", text_in(guest, "pid"), text_in(vtd, "mode"), text_in(vtd, "root"), "", "VT-d");
	for (size_t i = 0; i < length_of(devices); i++) {
		struct json_object *device = json_object_array_get_idx(devices, i);
		const char *requests = text_in(device, "page_requests");
		char model[256];

		snprintf(model, sizeof(model), "%s%s%s", text_in(device, "model"), in(device, "parent") ? ",parent=" : "",
			 in(device, "parent") ? text_in(device, "parent") : "");
		printf("%-8s %-9s %-14s %-8s %-24s ", text_in(guest, "pid"), "", "", text_in(device, "bdf"), model);
		print_words(in(device, "enabled"));
		if (strcmp(requests, "0") != 0)
			printf(" (%s page requests wait)", requests);
		putchar('\n');
	}
}

/* What each guest that runs answers, as elements of an array. */
static struct json_object *ask_all(const char *what)
{
	struct json_object *question = json_object_new_object(), *answers = json_object_new_array();
	pid_t pids[GUESTS_MAX];
	size_t count = find_guests(pids);

	json_add_string(question, "execute", what);
	for (size_t i = 0; i < count; i++) {
		int fd = connect_to(pids[i]);
		struct json_object *answer = fd < 0 ? NULL : ask(fd, question);

		if (answer) /* otherwise it has ended just now */
			json_object_array_add(answers, answer);
	}
	json_object_put(question);
	return answers;
}

enum status vm_look_ls(const struct command *command, bool json)
{
	struct json_object *guests = ask_all("ls"), *answer;

	if (json) {
		answer = json_answer(command);
		json_object_object_add(answer, "guests", guests);
		json_finish(answer);
		return STATUS_OK;
	}
	printf("%-8s %-9s %-14s %-8s %-24s %s\n", "GUEST", "MODE", "ROOT", "DEVICE", "MODEL", "ENABLED");
	for (size_t i = 0; i < length_of(guests); i++)
		print_guest(json_object_array_get_idx(guests, i));
	json_object_put(guests);
	return STATUS_OK;
}

/* --- walk --- */

static void print_fields(struct json_object *fields)
{
	json_object_object_foreach(fields, key, value)
	{
		char name[32];

		snprintf(name, sizeof(name), "%s", key);
		make_plain(name, sizeof(name), false);
		if (json_object_is_type(value, json_type_boolean))
			printf(" %s", name);
		else
			printf(" %s=%s", name, json_object_get_string(value));
	}
}

static void print_step(struct json_object *step)
{
	struct json_object *words = in(step, "words"), *fields = in(step, "fields");
	char name[40];

	if (*text_in(step, "stage"))
		snprintf(name, sizeof(name), "%s level %s", text_in(step, "entry"), text_in(step, "level"));
	else
		snprintf(name, sizeof(name), "%s", text_in(step, "entry"));
	printf("  %-22s at %-14s", name, text_in(step, "address"));
	for (size_t i = 0; i < length_of(words); i++) {
		const char *word = json_object_get_string(json_object_array_get_idx(words, i));

		printf(" %s", word && strncmp(word, "0x", 2) == 0 ? word + 2 : "?");
	}
	printf("\n   ");
	if (json_object_is_type(fields, json_type_object))
		print_fields(fields);
	putchar('\n');
}

static const char *fault_words(const char *reason)
{
	static const struct {
		const char *reason, *words;
	} known[] = {
		{"not attached", "nothing is attached: there are no tables for it"},
		{"unmapped", "it is not present"},
		{"permission", "it does not permit that"},
		{"privilege", "only privileged accesses may"},
		{"blocked", "it does not let such requests through"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strcmp(known[i].reason, reason) == 0)
			return known[i].words;
	return reason;
}

/* Which entry stopped it, and why. */
static void print_reason(struct json_object *fault, const char *what)
{
	bool stage = *text_in(fault, "stage") != '0';

	if (json_object_get_boolean(in(fault, "guest_memory")))
		printf("  %s: nothing in the tables, but the guest has no such memory there\n", what);
	else
		printf("  %s: %s%s%s: %s\n", what, text_in(fault, "entry"), stage ? " level " : "",
		       stage ? text_in(fault, "level") : "", fault_words(text_in(fault, "reason")));
}

static void print_end(struct json_object *answer)
{
	struct json_object *fault = in(answer, "fault");

	if (!fault)
		printf("  leads to %s, %s, 2^%s bytes in one piece\n", text_in(answer, "output"), text_in(answer, "permitted"),
		       text_in(answer, "page_lg2"));
	else if (!length_of(in(answer, "steps")))
		printf("  leads nowhere: %s\n", fault_words(text_in(fault, "reason")));
	else
		print_reason(fault, "leads nowhere");
	if (in(answer, "cached"))
		printf("  an access goes to %s, %s: that is cached, until it is invalidated\n", text_in(answer, "cached"),
		       text_in(answer, "cached_permitted"));
}

static void print_walk(struct json_object *answer)
{
	struct json_object *steps = in(answer, "steps");

	printf("%s%s%s, address %s:%s\n", text_in(answer, "device"), in(answer, "pasid") ? ", PASID " : "",
	       text_in(answer, "pasid"), text_in(answer, "address"),
	       json_object_get_boolean(in(answer, "decoded")) ? "" : " (the entry for it has not been used yet)");
	for (size_t i = 0; i < length_of(steps); i++)
		print_step(json_object_array_get_idx(steps, i));
	print_end(answer);
}

static enum status run_walk(const struct command *command, int argc, char **argv)
{
	const char *device = NULL, *pasid = NULL;
	struct json_object *question, *answer = NULL, *object;
	uint64_t address = 0;
	pid_t guest = 0;
	bool json = false;
	const struct arg args[] = {
		{"device", ARG_TEXT, true, &device, "BDF", "as the guest knows it, such as 01:00.0"},
		{"pasid", ARG_TEXT, false, &pasid, "N", "the guest's; without it, the device's requests without PASID"},
		{"vm", ARG_PID, false, &guest, "PID", "of uiommu vm or qemu-args, if there are several"},
		{"json", ARG_FLAG, false, &json, NULL, "print JSON"},
		{"", ARG_OPERAND, true, &address, "ADDR", "the address that the device uses"},
	};
	enum status status;

	if (!args_parse(command, "Print how a guest's tables translate an address, entry by entry, and what is cached of that.",
			args, ARRAY_SIZE(args), argc, argv, &status))
		return status;
	question = json_object_new_object();
	json_add_string(question, "execute", "walk");
	json_add_string(question, "device", device);
	json_add_address(question, "address", address);
	if (pasid)
		json_add_string(question, "pasid", pasid);
	status = ask_guest(guest, question, &answer);
	json_object_put(question);
	if (status)
		return status;
	if (json) {
		object = json_answer(command);
		json_object_object_foreach(answer, key, value) json_object_object_add(object, key, json_object_get(value));
		json_finish(object);
	} else {
		print_walk(answer);
	}
	status = in(answer, "fault") ? STATUS_FAULT : STATUS_OK;
	json_object_put(answer);
	return status;
}

/* --- fault --vm --- */

static void print_guest_fault(struct json_object *fault)
{
	uint64_t when = json_object_get_uint64(in(fault, "time_ns")), before = json_object_get_uint64(in(fault, "invalidated_ns"));
	time_t seconds = (time_t)(when / 1000000000);
	bool pasid = in(fault, "pasid");
	const char *access = text_in(fault, "access");
	char text[40];
	struct tm local;

	localtime_r(&seconds, &local);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
	printf("%s.%03u guest %s, %s (%s)%s%s: could not %s at %s, fault reason 0x%02x\n", text,
	       (unsigned int)(when / 1000000 % 1000), text_in(fault, "guest"), text_in(fault, "device"), text_in(fault, "model"),
	       pasid ? ", PASID " : "", text_in(fault, "pasid"),
	       access[1] == 'w'	  ? "write"
	       : access[2] == 'x' ? "execute"
				  : "read",
	       text_in(fault, "address"), (unsigned int)json_object_get_int(in(fault, "code")));
	print_reason(fault, "stopped by");
	if (before)
		printf("  invalidated last %.3f ms before that\n", (double)(when - before) / 1e6);
	else
		printf("  not invalidated lately\n");
}

enum status vm_look_faults(const struct command *command, bool json, uint64_t count)
{
	struct json_object *guests = ask_all("faults"), *answer = json_answer(command), *all = json_object_new_array();

	for (size_t i = 0; i < length_of(guests); i++) {
		struct json_object *faults = in(json_object_array_get_idx(guests, i), "faults");

		for (size_t k = 0; k < length_of(faults) && k < count; k++) {
			struct json_object *fault = json_object_array_get_idx(faults, k);

			if (!json)
				print_guest_fault(fault);
			json_object_array_add(all, json_object_get(fault));
		}
	}
	json_object_put(guests);
	json_object_object_add(answer, "faults", all);
	if (json)
		json_finish(answer);
	else
		json_object_put(answer);
	return STATUS_OK;
}

const struct command command_walk = {"walk", "print how a guest's tables translate an address", run_walk};

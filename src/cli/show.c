/* SPDX-License-Identifier: BSD-3-Clause */
/* ls, stat, fault: what a daemon has and what it has seen. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "abi/session/protocol.h"
#include "cli/args.h"
#include "cli/daemon.h"
#include "cli/explain.h"
#include "cli/plain.h"
#include "cli/sessions.h"
#include "cli/vm/vm.h"
#include "util/util.h"

struct show {
	const char *socket;
	bool json;
	uint64_t count;
};

#define SOCKET_ARG                                                                                                                 \
	{                                                                                                                          \
		"socket", ARG_TEXT, false, &show.socket, "PATH", "the daemon's socket"                                             \
	}
#define JSON_ARG                                                                                                                   \
	{                                                                                                                          \
		"json", ARG_FLAG, false, &show.json, NULL, "print JSON"                                                            \
	}

static const char *type_name(uint32_t type)
{
	static const char *const names[] = {
		[UIOMMU_ITEM_DEVICE] = "device",
		[UIOMMU_ITEM_CLIENT] = "client",
		[UIOMMU_ITEM_QUEUE] = "queue",
		[UIOMMU_ITEM_PASID] = "pasid",
	};

	return type < ARRAY_SIZE(names) && names[type] ? names[type] : "other";
}

static const char *state_name(const struct uiommu_item *item)
{
	static const char *const names[] = {
		[UIOMMU_STATE_ALLOCATED] = "allocated",
		[UIOMMU_STATE_BOUND] = "bound",
		[UIOMMU_STATE_DRAINING] = "draining",
	};

	if (item->type != UIOMMU_ITEM_PASID)
		return "-";
	return item->state < ARRAY_SIZE(names) && names[item->state] ? names[item->state] : "other";
}

static const char *item_flags(const struct uiommu_item *item)
{
	if (item->type == UIOMMU_ITEM_PASID)
		return item->flags & UIOMMU_WRITE ? "read-write" : "read-only";
	if (item->type != UIOMMU_ITEM_QUEUE)
		return "-";
	if (item->flags & UIOMMU_QUEUE_SHARED)
		return item->flags & UIOMMU_QUEUE_HANDLES ? "shared,handles" : "shared";
	return item->flags & UIOMMU_QUEUE_HANDLES ? "dedicated,handles" : "dedicated";
}

/* This command is a client, too; nobody asked for that one. */
static uint32_t own_client(const struct uiommu_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (items[i].type == UIOMMU_ITEM_CLIENT && items[i].pid == (uint32_t)getpid())
			return items[i].id;
	return 0;
}

static bool is_own(const struct uiommu_item *item, uint32_t own)
{
	return own && (item->client == own || (item->type == UIOMMU_ITEM_CLIENT && item->id == own));
}

static enum status list_items(const struct show *show, struct uiommu_item **items, size_t *count)
{
	struct uiommu_client *client;
	enum status status = daemon_connect(show->socket, &client);
	size_t all, kept = 0;
	uint32_t own;
	int error;

	if (status)
		return status;
	error = uiommu_client_list(client, items, &all);
	uiommu_client_close(client);
	if (error)
		return complain(status_of(error), "the daemon does not list what it has: %s", strerror(-error));
	own = own_client(*items, all);
	for (size_t i = 0; i < all; i++) {
		make_plain((*items)[i].name, sizeof((*items)[i].name), false);
		if (!is_own(&(*items)[i], own))
			(*items)[kept++] = (*items)[i];
	}
	*count = kept;
	return STATUS_OK;
}

static struct json_object *json_item(const struct uiommu_item *item, bool counters)
{
	struct json_object *object = json_object_new_object();

	json_add_string(object, "type", type_name(item->type));
	json_add_number(object, "id", item->id);
	json_add_string(object, "name", item->name);
	json_add_number(object, "client", item->client);
	json_add_number(object, "uid", item->uid);
	json_add_number(object, "pid", item->pid);
	json_add_string(object, "state", state_name(item));
	json_add_string(object, "flags", item_flags(item));
	if (item->type == UIOMMU_ITEM_CLIENT) {
		json_add_number(object, "pasids", item->count);
		json_add_number(object, "quota", item->flags);
	} else if (item->type == UIOMMU_ITEM_PASID) {
		json_add_number(object, "holders", item->count);
	}
	if (counters) {
		json_add_number(object, "bytes_read", item->bytes_read);
		json_add_number(object, "bytes_written", item->bytes_written);
		json_add_number(object, "descriptors", item->descriptors);
		json_add_number(object, "faults", item->faults);
		json_add_number(object, "discarded", item->discarded);
	}
	return object;
}

static void print_json(const struct command *command, const struct uiommu_item *items, size_t count, bool counters)
{
	struct json_object *answer = json_answer(command), *array = json_object_new_array();

	for (size_t i = 0; i < count; i++)
		json_object_array_add(array, json_item(&items[i], counters));
	json_object_object_add(answer, "items", array);
	json_finish(answer);
}

static void print_ls(const struct uiommu_item *items, size_t count)
{
	printf("%-7s %7s %7s %7s %8s %-10s %6s %-18s %s\n", "TYPE", "ID", "CLIENT", "UID", "PID", "STATE", "HELD", "KIND", "NAME");
	for (size_t i = 0; i < count; i++)
		printf("%-7s %7u %7u %7u %8u %-10s %6u %-18s %s\n", type_name(items[i].type), items[i].id, items[i].client,
		       items[i].uid, items[i].pid, state_name(&items[i]), items[i].count, item_flags(&items[i]), items[i].name);
}

static void print_stat(const struct uiommu_item *items, size_t count)
{
	printf("%-7s %7s %8s %16s %16s %12s %8s %9s %s\n", "TYPE", "ID", "PID", "READ", "WRITTEN", "DESCRIPTORS", "FAULTS",
	       "DISCARDED", "NAME");
	for (size_t i = 0; i < count; i++)
		printf("%-7s %7u %8u %16" PRIu64 " %16" PRIu64 " %12" PRIu64 " %8" PRIu64 " %9" PRIu64 " %s\n",
		       type_name(items[i].type), items[i].id, items[i].pid, items[i].bytes_read, items[i].bytes_written,
		       items[i].descriptors, items[i].faults, items[i].discarded, items[i].name);
}

static enum status list_daemon(const struct command *command, const struct show *show, bool counters)
{
	struct uiommu_item *items;
	size_t count = 0;
	enum status status = list_items(show, &items, &count);

	if (status)
		return status;
	if (show->json)
		print_json(command, items, count, counters);
	else if (counters)
		print_stat(items, count);
	else
		print_ls(items, count);
	free(items);
	return STATUS_OK;
}

static enum status run_ls(const struct command *command, int argc, char **argv)
{
	struct show show = {0};
	bool sessions = false, guests = false;
	const struct arg args[] = {
		SOCKET_ARG,
		{"run", ARG_FLAG, false, &sessions, NULL, "of the sessions of uiommu run, not of a daemon"},
		{"vm", ARG_FLAG, false, &guests, NULL, "the guests of uiommu vm, not a daemon's"},
		JSON_ARG,
	};
	enum status status;

	if (!args_parse(command,
			"List the devices, clients, queues and PASIDs of a daemon, as far as you may see them; or, within uiommu "
			"run or "
			"with --run, the programs, files and objects of sessions; or, with --vm, guests and their devices.",
			args, ARRAY_SIZE(args), argc, argv, &status))
		return status;
	if ((show.socket != NULL) + sessions + guests > 1)
		return complain(STATUS_USAGE, "ls: only one of --socket, --run and --vm");
	if (guests)
		return vm_look_ls(command, show.json);
	if (!show.socket && (sessions || getenv(SESSION_VARIABLE)))
		return list_sessions(command, show.json);
	return list_daemon(command, &show, false);
}

static enum status run_stat(const struct command *command, int argc, char **argv)
{
	struct show show = {0};
	const struct arg args[] = {SOCKET_ARG, JSON_ARG};
	enum status status;

	if (!args_parse(command, "Print what the devices, clients, queues and PASIDs of a daemon have done.", args,
			ARRAY_SIZE(args), argc, argv, &status))
		return status;
	return list_daemon(command, &show, true);
}

static void print_fault(const struct uiommu_fault_report *report)
{
	time_t seconds = (time_t)(report->time_ns / 1000000000);
	char text[768], when[40];
	struct tm local;

	localtime_r(&seconds, &local);
	strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &local);
	explain_fault(report, text, sizeof(text));
	printf("%s.%03u %s\n", when, (unsigned int)(report->time_ns / 1000000 % 1000), text);
}

static void print_faults(const struct command *command, const struct show *show, const struct uiommu_fault_report *reports,
			 size_t count)
{
	struct json_object *answer = json_answer(command), *array = json_object_new_array();

	json_object_object_add(answer, "faults", array);
	for (size_t i = 0; i < count; i++) {
		if (show->json)
			json_object_array_add(array, json_fault(&reports[i]));
		else
			print_fault(&reports[i]);
	}
	if (show->json)
		json_finish(answer);
	else
		json_object_put(answer);
}

static enum status run_fault(const struct command *command, int argc, char **argv)
{
	struct show show = {.count = UINT64_MAX};
	bool guests = false;
	const struct arg args[] = {
		{"count", ARG_COUNT, false, &show.count, "N", "at most so many, the newest first"},
		{"vm", ARG_FLAG, false, &guests, NULL, "of the guests of uiommu vm, not of a daemon"},
		SOCKET_ARG,
		JSON_ARG,
	};
	struct uiommu_fault_report *reports;
	struct uiommu_client *client;
	enum status status;
	size_t count = 0;
	int error;

	if (!args_parse(command,
			"Explain the last faults of a daemon's devices, as far as you may see them. Silent if there were none.",
			args, ARRAY_SIZE(args), argc, argv, &status))
		return status;
	if (show.socket && guests)
		return complain(STATUS_USAGE, "fault: only one of --socket and --vm");
	if (guests)
		return vm_look_faults(command, show.json, show.count);
	status = daemon_connect(show.socket, &client);
	if (status)
		return status;
	error = uiommu_client_faults(client, &reports, &count);
	uiommu_client_close(client);
	if (error)
		return complain(status_of(error), "the daemon does not tell its faults: %s", strerror(-error));
	print_faults(command, &show, reports, min_u64(count, show.count));
	free(reports);
	return STATUS_OK;
}

const struct command command_ls = {"ls", "list a daemon's devices, clients, queues and PASIDs", run_ls};
const struct command command_stat = {"stat", "print what they have done", run_stat};
const struct command command_fault = {"fault", "explain the last faults", run_fault};

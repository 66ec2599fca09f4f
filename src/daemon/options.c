/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/options.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/arbiter.h"
#include "util/util.h"

enum {
	OPTION_SYSTEM = 256,
	OPTION_PRIVILEGED,
	OPTION_SOCKET,
	OPTION_GROUP,
	OPTION_DEVICE,
	OPTION_EXECUTORS,
	OPTION_LIMIT,
	OPTION_SPIN,
	OPTION_TURN,
	OPTION_DRAIN,
	OPTION_SECCOMP,
};

/* docs/man/uiommud.8.scd says more. */
static const struct argp_option known[] = {
	{"system", OPTION_SYSTEM, NULL, 0, "Serve the whole machine: socket activation, or /run/uiommu/socket", 0},
	{"socket", OPTION_SOCKET, "PATH", 0, "Listen on PATH (default: $XDG_RUNTIME_DIR/uiommu/socket)", 0},
	{"group", OPTION_GROUP, "NAME", 0, "With --system: the group that may connect", 0},
	{"device", OPTION_DEVICE, "NAME", 0, "Have a device of this name; may be repeated (default: accel0)", 0},
	{"privileged", OPTION_PRIVILEGED, NULL, 0, "Start although we are root, or may trace any process", 0},
	{"executors", OPTION_EXECUTORS, "N", 0, "At most N clients at a time (default: 1024)", 0},
	{"limit", OPTION_LIMIT, "NAME=CLIENT[:USER]", 0, "Limit per client and per user; may be repeated", 0},
	{"spin-us", OPTION_SPIN, "N", 0, "Poll N microseconds after the last work before sleeping (default: 50)", 0},
	{"turn-us", OPTION_TURN, "N", 0, "Length of a turn at the device while others wait, in microseconds (default: 500)", 0},
	{"drain-timeout", OPTION_DRAIN, "N", 0, "End a client whose unbind takes longer than N seconds (default: 30; 0: never)", 0},
	{"seccomp", OPTION_SECCOMP, "MODE", 0, "enforce, log or off (default: enforce)", 0},
	{0},
};

static uint32_t number(struct argp_state *state, const char *name, const char *text, uint32_t least, uint32_t greatest)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *text < '0' || *text > '9' || *end || value < least || value > greatest)
		argp_error(state, "--%s: '%s' is not a number from %u to %u", name, text, least, greatest);
	return (uint32_t)value;
}

static bool device_name_valid(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:";
	size_t length = strlen(name);

	return length && length < PROTOCOL_NAME_MAX && strspn(name, allowed) == length;
}

static void add_device(struct argp_state *state, struct options *options, const char *name)
{
	if (!device_name_valid(name))
		argp_error(state, "--device: '%s' is not a name: letters, digits and -_.: only, at most 31 of them", name);
	if (options->device_count == OPTIONS_DEVICES_MAX)
		argp_error(state, "--device: at most %d devices", OPTIONS_DEVICES_MAX);
	for (uint32_t i = 0; i < options->device_count; i++)
		if (!strcmp(options->devices[i], name))
			argp_error(state, "--device: '%s' twice", name);
	options->devices[options->device_count++] = name;
}

static error_t parse_one(int key, char *argument, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case OPTION_SYSTEM:
		options->system = true;
		return 0;
	case OPTION_PRIVILEGED:
		options->privileged = true;
		return 0;
	case OPTION_SOCKET:
		options->socket = argument;
		return 0;
	case OPTION_GROUP:
		options->group = argument;
		return 0;
	case OPTION_DEVICE:
		add_device(state, options, argument);
		return 0;
	case OPTION_EXECUTORS:
		options->executors = number(state, "executors", argument, 1, ARBITER_SLOTS_MAX - ARBITER_SLOTS_MAX / 8);
		return 0;
	case OPTION_LIMIT:
		if (limits_parse(&options->limits, argument))
			argp_error(state, "--limit: '%s' is not NAME=CLIENT[:USER], with a name that uiommud(8) lists", argument);
		return 0;
	case OPTION_SPIN:
		options->spin_us = number(state, "spin-us", argument, 0, 1000000);
		return 0;
	case OPTION_TURN:
		options->turn_us = number(state, "turn-us", argument, 0, 1000000);
		return 0;
	case OPTION_DRAIN:
		options->drain_timeout = number(state, "drain-timeout", argument, 0, 1000000);
		return 0;
	case OPTION_SECCOMP:
		if (!sandbox_parse(argument, &options->sandbox))
			argp_error(state, "--seccomp: '%s' is not one of enforce, log, off", argument);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void print_version(FILE *stream, struct argp_state *state)
{
	(void)state;
	fprintf(stream, "uiommud %s\n", uiommu_version());
}

void options_parse(struct options *options, int argc, char **argv)
{
	static const struct argp parser = {.options = known, .parser = parse_one, .doc = "An IOMMU in user space: the daemon."};

	argp_program_version_hook = print_version;
	argp_err_exit_status = 2;
	*options = (struct options){
		.executors = 1024,
		.limits = limits_default,
		.spin_us = 50,
		.turn_us = 500,
		.drain_timeout = 30,
		.sandbox = sandbox_default(),
	};
	argp_parse(&parser, argc, argv, ARGP_NO_ARGS, NULL, options);
	if (!options->device_count)
		options->devices[options->device_count++] = "accel0";
}

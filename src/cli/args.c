/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/args.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { ARGS_MOST = 24, OPTION_FIRST = 256, OPTION_HELP = 'h' };

static int digit_value(char letter)
{
	if (letter >= '0' && letter <= '9')
		return letter - '0';
	if (letter >= 'a' && letter <= 'f')
		return letter - 'a' + 10;
	if (letter >= 'A' && letter <= 'F')
		return letter - 'A' + 10;
	return -1;
}

/* Read digits up to @end. */
static int parse_digits(const char *text, const char *end, uint64_t *out)
{
	uint64_t base = 10, value = 0;

	if (end - text > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		base = 16;
		text += 2;
	}
	if (text == end)
		return -EINVAL;
	for (; text < end; text++) {
		int digit = digit_value(*text);

		if (digit < 0 || (uint64_t)digit >= base)
			return -EINVAL;
		if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, (uint64_t)digit, &value))
			return -ERANGE;
	}
	*out = value;
	return 0;
}

int parse_number(const char *text, uint64_t *out)
{
	return parse_digits(text, text + strlen(text), out);
}

int parse_length(const char *text, uint64_t *out)
{
	static const char suffixes[] = "KMGT";
	size_t length = strlen(text);
	const char *suffix = length ? strchr(suffixes, text[length - 1]) : NULL;
	uint64_t unit = 1, value;
	int error;

	if (suffix) {
		unit <<= 10 * (suffix - suffixes + 1);
		length--;
	}
	error = parse_digits(text, text + length, &value);
	if (error)
		return error;
	return __builtin_mul_overflow(value, unit, out) ? -ERANGE : 0;
}

static int parse_pid(const char *text, const char *end, pid_t *out)
{
	uint64_t value;
	int error = parse_digits(text, end, &value);

	if (error)
		return error;
	if (value == 0 || value > INT_MAX)
		return -ERANGE;
	*out = (pid_t)value;
	return 0;
}

int parse_place(const char *text, struct place *out)
{
	const char *colon = strchr(text, ':');
	int error;

	if (!colon)
		return -EINVAL;
	error = parse_pid(text, colon, &out->pid);
	return error ? error : parse_number(colon + 1, &out->address);
}

int parse_pattern(const char *text, uint64_t *out)
{
	uint8_t bytes[sizeof(*out)];
	size_t count;

	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
		text += 2;
	count = strlen(text) / 2;
	if (strlen(text) % 2 || (count != 1 && count != 2 && count != 4 && count != 8))
		return -EINVAL;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		const char *digits = text + 2 * (i % count);
		int high = digit_value(digits[0]), low = digit_value(digits[1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	*out = 0;
	for (size_t i = sizeof(bytes); i--;)
		*out = *out << 8 | bytes[i];
	return 0;
}

static int at_least_one(int (*parse)(const char *, uint64_t *), const char *text, uint64_t *out)
{
	int error = parse(text, out);

	return !error && *out == 0 ? -ERANGE : error;
}

static int add_to(struct arg_list *list, const char *text)
{
	if (list->count == ARG_LIST_MAX)
		return -ERANGE;
	list->items[list->count++] = text;
	return 0;
}

static int parse_value(const struct arg *arg, const char *text)
{
	switch (arg->kind) {
	case ARG_FLAG:
		*(bool *)arg->out = true;
		return 0;
	case ARG_TEXT:
		*(const char **)arg->out = text;
		return *text ? 0 : -EINVAL;
	case ARG_LIST:
		return *text ? add_to(arg->out, text) : -EINVAL;
	case ARG_REST:
		return add_to(arg->out, text);
	case ARG_OPERAND:
		return parse_number(text, arg->out);
	case ARG_COUNT:
		return at_least_one(parse_number, text, arg->out);
	case ARG_LENGTH:
		return at_least_one(parse_length, text, arg->out);
	case ARG_PID:
		return parse_pid(text, text + strlen(text), arg->out);
	case ARG_PLACE:
		return parse_place(text, arg->out);
	case ARG_PATTERN:
		return parse_pattern(text, arg->out);
	}
	return -EINVAL;
}

static const char *expected(enum arg_kind kind)
{
	switch (kind) {
	case ARG_COUNT:
		return "a number from 1 on";
	case ARG_LENGTH:
		return "a number of bytes from 1 on, perhaps with K, M, G or T";
	case ARG_PID:
		return "the number of a process";
	case ARG_PLACE:
		return "PID:ADDR, where ADDR is decimal, or hexadecimal with 0x";
	case ARG_PATTERN:
		return "1, 2, 4 or 8 bytes in hexadecimal";
	default:
		return "some text";
	}
}

static void print_help(const struct command *command, const char *description, const struct arg *args, size_t count)
{
	printf("usage: uiommu %s", command->name);
	for (size_t i = 0; i < count; i++) {
		const char *space = args[i].value ? " " : "", *value = args[i].value ? args[i].value : "";

		if (args[i].kind == ARG_REST)
			printf(args[i].required ? " -- %s" : " [-- %s]", value);
		else if (args[i].kind == ARG_OPERAND)
			printf(" %s", value);
		else
			printf(args[i].required ? " --%s%s%s" : " [--%s%s%s]", args[i].name, space, value);
	}
	printf("\n\n%s\n\n", description);
	for (size_t i = 0; i < count; i++) {
		char option[40];

		snprintf(option, sizeof(option), "%s%s %s", args[i].kind == ARG_OPERAND ? "" : "--",
			 args[i].kind == ARG_REST ? "" : args[i].name, args[i].value ? args[i].value : "");
		printf("  %-20s %s\n", option, args[i].help);
	}
	printf("  %-20s %s\n", "--help", "this text");
}

static enum status bad_usage(const struct command *command, const char *text)
{
	return complain(STATUS_USAGE, "%s: %s; see uiommu %s --help", command->name, text, command->name);
}

static enum status bad_value(const struct command *command, const struct arg *arg, const char *text, int error)
{
	char message[256];

	snprintf(message, sizeof(message), "--%s '%s': %s; expected %s", arg->name, text,
		 error == -ERANGE ? "out of range" : "not understood", expected(arg->kind));
	return bad_usage(command, message);
}

static enum status check_required(const struct command *command, const struct arg *args, size_t count, const bool *seen)
{
	for (size_t i = 0; i < count; i++) {
		char message[64];

		if (seen[i] || !args[i].required || args[i].kind == ARG_OPERAND || args[i].kind == ARG_REST)
			continue;
		snprintf(message, sizeof(message), "--%s is missing", args[i].name);
		return bad_usage(command, message);
	}
	return STATUS_OK;
}

/* What is left must be an operand, or come behind "--", and somebody must want it. */
static enum status parse_rest(const struct command *command, const struct arg *args, size_t count, int argc, char **argv)
{
	const char *hint = "";
	char message[160];

	for (size_t i = 0; i < count; i++) {
		if (args[i].kind != ARG_OPERAND)
			continue;
		if (argc - optind != 1 || parse_value(&args[i], argv[optind]))
			return bad_usage(command, "expected one address, decimal, or hexadecimal with 0x");
		return STATUS_OK;
	}
	if (optind == argc)
		return STATUS_OK;
	for (size_t i = 0; i < count; i++) {
		if (args[i].kind != ARG_REST)
			continue;
		hint = "; the rest comes behind --";
		if (strcmp(argv[optind - 1], "--") != 0)
			continue;
		for (int k = optind; k < argc; k++)
			if (parse_value(&args[i], argv[k]))
				return bad_usage(command, "too much behind --");
		return STATUS_OK;
	}
	snprintf(message, sizeof(message), "'%s': takes options only%s", argv[optind], hint);
	return bad_usage(command, message);
}

bool args_parse(const struct command *command, const char *description, const struct arg *args, size_t count, int argc, char **argv,
		enum status *status)
{
	struct option options[ARGS_MOST + 2] = {{0}};
	bool seen[ARGS_MOST] = {false};
	int option;

	/* "--" is no long option's name: getopt never finds it. */
	for (size_t i = 0; i < count; i++)
		options[i] = (struct option){args[i].name, args[i].kind != ARG_FLAG, NULL, OPTION_FIRST + (int)i};
	options[count] = (struct option){"help", no_argument, NULL, OPTION_HELP};

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		int index = option - OPTION_FIRST, error;
		char message[128];

		if (option == OPTION_HELP) {
			print_help(command, description, args, count);
			*status = STATUS_OK;
			return false;
		}
		if (index < 0) {
			snprintf(message, sizeof(message), "%s '%s'", option == ':' ? "no value for" : "bad option",
				 argv[optind - 1]);
			*status = bad_usage(command, message);
			return false;
		}
		error = parse_value(&args[index], optarg);
		if (error) {
			*status = bad_value(command, &args[index], optarg, error);
			return false;
		}
		seen[index] = true;
	}
	*status = parse_rest(command, args, count, argc, argv);
	if (*status == STATUS_OK)
		*status = check_required(command, args, count, seen);
	return *status == STATUS_OK;
}

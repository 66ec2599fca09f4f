/* SPDX-License-Identifier: BSD-3-Clause */
/* Options of the commands: one table says what there is, what it means, and how it is read. */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include "cli/cli.h"

/* An address in a process. */
struct place {
	pid_t pid;
	uint64_t address;
};

enum { ARG_LIST_MAX = 64 };

/* What was said several times. */
struct arg_list {
	const char *items[ARG_LIST_MAX];
	size_t count;
};

enum arg_kind {
	ARG_FLAG, /* bool */
	ARG_TEXT, /* const char * */
	ARG_LIST, /* struct arg_list; may be given again */
	ARG_OPERAND, /* uint64_t, an address; without "--NAME" */
	ARG_REST, /* struct arg_list: all that comes behind "--" */
	ARG_COUNT, /* uint64_t, at least 1 */
	ARG_LENGTH, /* uint64_t bytes, at least 1, with K, M, G, T for powers of 1024 */
	ARG_PID, /* pid_t */
	ARG_PLACE, /* struct place, PID:ADDR */
	ARG_PATTERN, /* uint64_t: 1, 2, 4 or 8 bytes in hexadecimal, in the order they have in memory, repeated to 8 */
};

struct arg {
	const char *name;
	enum arg_kind kind;
	bool required;
	void *out;
	const char *value; /* what the help calls it */
	const char *help;
};

/* Put @description under the usage line of --help. False: leave with *@status; the help or the mistake was printed. */
bool args_parse(const struct command *command, const char *description, const struct arg *args, size_t count, int argc, char **argv,
		enum status *status);

/* Hexadecimal with 0x, else decimal; digits only. 0, -EINVAL, -ERANGE. */
int parse_number(const char *text, uint64_t *out);
int parse_length(const char *text, uint64_t *out);
int parse_place(const char *text, struct place *out);
int parse_pattern(const char *text, uint64_t *out);

#endif

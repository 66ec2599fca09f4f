/* SPDX-License-Identifier: BSD-3-Clause */
/* What the commands of `uiommu` share: exit statuses, messages, JSON. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Exit statuses; uiommu(1) documents them. */
enum status {
	STATUS_OK,
	STATUS_FAULT, /* the device met a fault; compare: the contents differ */
	STATUS_USAGE,
	STATUS_PERMISSION,
	STATUS_OTHER, /* no such process, no daemon, no memory */
};

struct command {
	const char *name;
	const char *summary;
	enum status (*run)(const struct command *command, int argc, char **argv);
};

extern const struct command command_copy, command_fill, command_crc, command_compare;
extern const struct command command_ls, command_stat, command_fault, command_doctor, command_vm, command_qemu_args, command_run;
extern const struct command command_walk;

/* "uiommu: ..." on stderr. Returns @status, so that a command can `return complain(...)`. */
enum status complain(enum status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The last message of complain(), for JSON; "" if there was none. */
const char *complaint(void);

/* PERMISSION for what the kernel or the daemon forbids, else OTHER. @error is negative. */
enum status status_of(int error);

/* A new object with the members that every answer has. */
struct json_object *json_answer(const struct command *command);
void json_add_string(struct json_object *object, const char *key, const char *value);
void json_add_number(struct json_object *object, const char *key, uint64_t value);
void json_add_bool(struct json_object *object, const char *key, bool value);
/* Addresses are hexadecimal strings: not every reader has 64-bit integers. */
void json_add_address(struct json_object *object, const char *key, uint64_t value);
/* Print and free. */
void json_finish(struct json_object *object);

/* Flush what was printed; a full disk or a closed pipe is an error, too. */
int finish_output(enum status status);

/*
 * A file that belongs to this program: in @folder of the build that it is in, or where it has been @installed. False: it is in
 * neither.
 */
bool find_part(char *path, size_t size, const char *folder, const char *installed, const char *name);

/* The models of devices and their options, for --help. */
void print_models(void);

/* Command name of a process, "?" if it cannot be told. */
void process_command(pid_t pid, char *buffer, size_t size);

#endif

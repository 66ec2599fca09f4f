/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uiommu/model.h>
#include <unistd.h>

#include "cli/plain.h"

enum { SCHEMA_VERSION = 1 };

static char last_complaint[512];

enum status complain(enum status status, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(last_complaint, sizeof(last_complaint), format, arguments);
	va_end(arguments);
	make_plain(last_complaint, sizeof(last_complaint), true);
	fprintf(stderr, "uiommu: %s\n", last_complaint);
	return status;
}

const char *complaint(void)
{
	return last_complaint;
}

enum status status_of(int error)
{
	return error == -EPERM || error == -EACCES ? STATUS_PERMISSION : STATUS_OTHER;
}

struct json_object *json_answer(const struct command *command)
{
	struct json_object *object = json_object_new_object();

	json_add_number(object, "schema", SCHEMA_VERSION);
	json_add_string(object, "command", command->name);
	return object;
}

void json_add_string(struct json_object *object, const char *key, const char *value)
{
	char *text = strdup(value);

	if (text)
		make_plain(text, strlen(text) + 1, true);
	json_object_object_add(object, key, json_object_new_string(text ? text : ""));
	free(text);
}

void json_add_number(struct json_object *object, const char *key, uint64_t value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

void json_add_bool(struct json_object *object, const char *key, bool value)
{
	json_object_object_add(object, key, json_object_new_boolean(value));
}

void json_add_address(struct json_object *object, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "0x%" PRIx64, value);
	json_add_string(object, key, text);
}

void json_finish(struct json_object *object)
{
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}

int finish_output(enum status status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return (int)status;
	complain(STATUS_OTHER, "standard output: %s", strerror(errno));
	return status ? (int)status : STATUS_OTHER;
}

bool find_part(char *path, size_t size, const char *folder, const char *installed, const char *name)
{
	ssize_t length = readlink("/proc/self/exe", path, size - 1);
	char *slash;

	path[length < 0 ? 0 : length] = '\0';
	slash = strrchr(path, '/');
	if (slash) {
		size_t room = size - (size_t)(slash - path);

		if ((size_t)snprintf(slash, room, "%s/%s", folder, name) < room && !access(path, R_OK))
			return true;
	}
	return (size_t)snprintf(path, size, "%s/%s", installed, name) < size && !access(path, R_OK);
}

void print_models(void)
{
	const struct uiommu_model_info *info;

	for (size_t i = 0; (info = uiommu_model_info(i)); i++) {
		printf("  %-20s %s\n", info->name, info->summary);
		for (size_t k = 0; k < info->option_count; k++) {
			const struct uiommu_model_option *option = &info->options[k];
			char text[40];

			snprintf(text, sizeof(text), "%s%s%s", option->key, option->value ? "=" : "",
				 option->value ? option->value : "");
			printf("    %-18s %s\n", text, option->help);
		}
	}
}

void process_command(pid_t pid, char *buffer, size_t size)
{
	char path[64];
	FILE *file;

	snprintf(buffer, size, "?");
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "re");
	if (!file)
		return;
	if (fgets(buffer, (int)size, file))
		buffer[strcspn(buffer, "\n")] = '\0';
	make_plain(buffer, size, false);
	fclose(file);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of models: "KEY[=VALUE],...", a comma in a value is written twice. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/model.h"

int complain_about(const struct complaint *complaint, int error, const char *format, ...)
{
	va_list arguments;

	if (!complaint->size)
		return error;
	va_start(arguments, format);
	vsnprintf(complaint->text, complaint->size, format, arguments);
	va_end(arguments);
	return error;
}

static char *copy_of(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = malloc(size);

	return copy ? memcpy(copy, text, size) : NULL;
}

/* Digits with a suffix behind them, to *@out; false: it is something else, or beyond 64 bits. */
static bool number_parse(const char *text, bool suffix, uint64_t *out)
{
	static const char suffixes[] = "KMGT";
	const char *found;
	unsigned int shift = 0;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 0);
	if (errno)
		return false;
	found = *end && suffix ? strchr(suffixes, *end) : NULL;
	if (found) {
		shift = 10 * (unsigned int)(found - suffixes + 1);
		end++;
	}
	if (*end || *out > UINT64_MAX >> shift)
		return false;
	*out <<= shift;
	return true;
}

static int value_parse(const struct model_type *type, size_t i, const char *text, struct option_value *value,
		       const struct complaint *complaint)
{
	const char *name = type->info.name, *key = type->info.options[i].key;
	const struct option_rule *rule = &type->rules[i];

	if (rule->kind == OPTION_FLAG)
		return text ? complain_about(complaint, -EINVAL, "%s: %s takes no value", name, key) : 0;
	if (!text || !*text)
		return complain_about(complaint, -EINVAL, "%s: %s needs a value", name, key);
	if (rule->kind == OPTION_PATH) {
		value->path = copy_of(text);
		return value->path ? 0 : complain_about(complaint, -ENOMEM, "%s: no memory", name);
	}
	if (!number_parse(text, rule->kind == OPTION_SIZE, &value->number))
		return complain_about(complaint, -EINVAL, "%s: %s=%s is no %s", name, key, text,
				      rule->kind == OPTION_SIZE ? "size" : "number");
	if (value->number < rule->least || value->number > rule->most)
		return complain_about(complaint, -EINVAL, "%s: %s=%s is not between %llu and %llu", name, key, text,
				      (unsigned long long)rule->least, (unsigned long long)rule->most);
	return 0;
}

/* Cut the first option off *@text, in place; its value goes to *@value. */
static char *next_option(char **text, char **value)
{
	char *start = *text, *from = start, *to = start;

	*value = NULL;
	for (; *from; from++) {
		if (*from == ',' && *++from != ',')
			break;
		if (*from == '=' && !*value) {
			*to++ = '\0';
			*value = to;
		} else {
			*to++ = *from;
		}
	}
	*text = from;
	*to = '\0';
	return start;
}

static int option_parse(const struct model_type *type, const char *key, const char *text, struct option_value *values,
			const struct complaint *complaint)
{
	for (size_t i = 0; i < type->info.option_count; i++) {
		if (strcmp(type->info.options[i].key, key))
			continue;
		if (values[i].given)
			return complain_about(complaint, -EINVAL, "%s: %s is given twice", type->info.name, key);
		values[i].given = true;
		return value_parse(type, i, text, &values[i], complaint);
	}
	return complain_about(complaint, -EINVAL, "%s has no option \"%s\"", type->info.name, key);
}

int options_parse(const struct model_type *type, const char *text, struct option_value *values, const struct complaint *complaint)
{
	char *copy = copy_of(text), *rest = copy, *value;
	int error = 0;

	memset(values, 0, type->info.option_count * sizeof(*values));
	if (!copy)
		return complain_about(complaint, -ENOMEM, "%s: no memory", type->info.name);
	while (*rest && !error) {
		const char *key = next_option(&rest, &value);

		error = option_parse(type, key, value, values, complaint);
	}
	free(copy);
	return error;
}

void options_free(const struct model_type *type, struct option_value *values)
{
	for (size_t i = 0; i < type->info.option_count; i++)
		free(values[i].path);
}

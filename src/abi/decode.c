/* SPDX-License-Identifier: BSD-3-Clause */
#include "abi/decode.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/util.h"

enum { STRUCT_MAX = 128, ELEMENTS_SHOWN = 16, BYTES_SHOWN = 16, CAPABILITIES_SHOWN = 8 };

/* A struct: of the caller's memory as it was before the call, or of what the call has written there. */
struct view {
	const struct abi_shown *call;
	bool written;
	uint64_t address;
	const uint8_t *data;
	size_t length;
};

void abi_text_add(struct abi_text *text, const char *format, ...)
{
	size_t room = sizeof(text->bytes) - text->length;
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(text->bytes + text->length, room, format, arguments);
	va_end(arguments);
	text->length += length < (int)room ? (size_t)length : room - 1;
}

static void add_hex(struct abi_text *text, uint64_t value)
{
	abi_text_add(text, value ? "0x%" PRIx64 : "%" PRIx64, value);
}

void abi_text_add_flags(struct abi_text *text, const struct abi_name *names, uint64_t value)
{
	const char *between = "";

	for (; names->name; names++)
		if (names->value && (value & names->value) == names->value) {
			abi_text_add(text, "%s%s", between, names->name);
			value &= ~(uint64_t)names->value;
			between = "|";
		}
	if (value || !*between) {
		abi_text_add(text, "%s", between);
		add_hex(text, value);
	}
}

static void add_name(struct abi_text *text, const struct abi_name *names, uint64_t value)
{
	for (; names->name; names++)
		if (names->value == value) {
			abi_text_add(text, "%s", names->name);
			return;
		}
	if (value < 256)
		abi_text_add(text, "%" PRIu64, value);
	else
		add_hex(text, value);
}

void abi_decode_file(struct abi_text *text, const struct abi_shown *call, int64_t number)
{
	for (size_t i = call->record->file_count; i-- > 0;)
		if (call->record->files[i].number == number) {
			abi_text_add(text, "<%" PRIu64 ":%s>", call->record->files[i].inode, call->record->files[i].name);
			return;
		}
}

/* What is known of the caller's memory at @address: before the call, or what the call has written there. */
static const uint8_t *known(const struct abi_shown *call, bool written, uint64_t address, size_t *length)
{
	const uint8_t *data = abi_record_find(call->record, written, address, length);
	uint64_t from = address - call->address;

	if (written || from >= call->length || call->length - from <= *length)
		return data;
	*length = call->length - (size_t)from;
	return call->before + from;
}

/* --- members --- */

static bool is_in(const struct view *view, const struct abi_member *member)
{
	return (size_t)member->offset + member->size <= view->length;
}

static uint64_t value_of(const struct view *view, const struct abi_member *member)
{
	uint64_t value = 0;

	/* Both machines are little-endian. */
	memcpy(&value, view->data + member->offset, member->size);
	return value;
}

/* 32 bits of the struct. */
static uint32_t word(const struct view *view, size_t offset)
{
	uint32_t value = 0;

	if (view->data && offset + sizeof(value) <= view->length)
		memcpy(&value, view->data + offset, sizeof(value));
	return value;
}

/* Where what @member leads to begins. */
static uint64_t leads_to(const struct view *view, const struct abi_member *member)
{
	if (member->kind == ABI_ARRAY)
		return value_of(view, member);
	return view->address + (member->kind == ABI_CHAIN ? value_of(view, member) : member->offset);
}

static const struct abi_element *element_of(const struct view *view, const struct abi_array *array)
{
	uint32_t type = array->type_at ? word(view, array->type_at) & array->type_mask : array->elements->type;

	for (size_t i = 0; i < array->element_count; i++)
		if (array->elements[i].type == type)
			return &array->elements[i];
	return NULL;
}

/* How many elements there are, and as far as they are known. */
static uint32_t count_of(const struct view *view, const struct abi_array *array)
{
	return array->count_at ? word(view, array->count_at) : 1;
}

/* Is there anything where @member leads to? */
static bool leads(const struct view *view, const struct abi_member *member)
{
	size_t length;

	if (!is_in(view, member) || (member->kind == ABI_CHAIN && (!view->written || !value_of(view, member))))
		return false;
	if (member->kind != ABI_CHAIN && (!element_of(view, member->array) || !count_of(view, member->array)))
		return false;
	return known(view->call, view->written, leads_to(view, member), &length);
}

static void add_members(struct abi_text *text, const struct view *view, const struct abi_member *members, size_t count,
			bool *first);

static void add_element(struct abi_text *text, const struct view *view, const struct abi_element *element)
{
	bool bare = element->count == 1 && !*element->members->name, first = true;

	abi_text_add(text, "%s", bare ? "" : "{");
	add_members(text, view, element->members, element->count, &first);
	abi_text_add(text, "%s", bare ? "" : "}");
}

/* @count elements from the begin of @view on, as far as they are known. */
static void add_elements(struct abi_text *text, const struct view *view, const struct abi_element *element, uint32_t count)
{
	struct view one = *view;

	abi_text_add(text, "[");
	for (uint32_t i = 0; i < count; i++) {
		size_t at = (size_t)i * element->size;

		abi_text_add(text, "%s", i ? ", " : "");
		if (i == ELEMENTS_SHOWN || at >= view->length) {
			abi_text_add(text, "...");
			break;
		}
		one.address = view->address + at;
		one.data = view->data + at;
		one.length = (size_t)min_u64(element->size, view->length - at);
		add_element(text, &one, element);
	}
	abi_text_add(text, "]");
}

static void add_array(struct abi_text *text, const struct view *view, const struct abi_member *member)
{
	const struct abi_element *element = element_of(view, member->array);
	struct view there = {.call = view->call, .written = view->written, .address = leads_to(view, member)};

	there.data = known(view->call, view->written, there.address, &there.length);
	if (member->array->count_at)
		add_elements(text, &there, element, count_of(view, member->array));
	else
		add_element(text, &there, element);
}

/* VFIO's capabilities: each begins with 16 bits of id, 16 of version, and 32 of the next one's offset in the struct. */
static void add_chain(struct abi_text *text, const struct view *view, const struct abi_member *member)
{
	struct view there = {.call = view->call, .written = true};
	uint64_t next = value_of(view, member);

	abi_text_add(text, "%" PRIu64 "=>[", next);
	for (unsigned int i = 0; next && i < CAPABILITIES_SHOWN; i++) {
		const struct abi_element *element = NULL;

		there.address = view->address + next;
		there.data = known(view->call, true, there.address, &there.length);
		for (size_t j = 0; there.data && j < member->array->element_count; j++)
			if (member->array->elements[j].type == (word(&there, 0) & UINT16_MAX))
				element = &member->array->elements[j];
		abi_text_add(text, "%s", i ? ", " : "");
		if (element)
			add_element(text, &there, element);
		else
			abi_text_add(text, "{id=%u}", word(&there, 0) & UINT16_MAX);
		next = word(&there, 4);
	}
	abi_text_add(text, "]");
}

static void add_value(struct abi_text *text, const struct view *view, const struct abi_member *member)
{
	uint64_t value = value_of(view, member);

	switch (member->kind) {
	case ABI_NUMBER:
		abi_text_add(text, "%" PRIu64, value);
		break;
	case ABI_SIGNED:
		abi_text_add(text, "%" PRId32, (int32_t)value);
		break;
	case ABI_FD:
		abi_text_add(text, "%" PRId32, (int32_t)value);
		abi_decode_file(text, view->call, (int32_t)value);
		break;
	case ABI_FLAGS:
		abi_text_add_flags(text, member->names, value);
		break;
	case ABI_ENUM:
		add_name(text, member->names, value);
		break;
	case ABI_CHAIN:
		if (leads(view, member))
			add_chain(text, view, member);
		else
			abi_text_add(text, "%" PRIu64, value);
		break;
	default:
		if (member->kind != ABI_HEX && leads(view, member))
			add_array(text, view, member);
		else
			add_hex(text, value);
	}
}

static void add_member(struct abi_text *text, const struct view *view, const struct abi_member *member, bool *first)
{
	abi_text_add(text, "%s", *first ? "" : ", ");
	if (*member->name)
		abi_text_add(text, "%s=", member->name);
	add_value(text, view, member);
	*first = false;
}

static bool is_answer(const struct abi_member *member)
{
	return !strncmp(member->name, "out_", 4);
}

/* Those of a union are one level deeper. */
static void add_members(struct abi_text *text, const struct view *view, const struct abi_member *members, size_t count, bool *first)
{
	for (size_t i = 0; i < count; i++) {
		const struct abi_element *chosen = members[i].kind == ABI_UNION ? element_of(view, members[i].array) : NULL;

		if (chosen)
			add_members(text, view, chosen->members, chosen->count, first);
		else if (members[i].kind != ABI_UNION && is_in(view, &members[i]) && !(is_answer(&members[i]) && !view->written) &&
			 (members[i].kind != ABI_TAIL || leads(view, &members[i])))
			add_member(text, view, &members[i], first);
	}
}

/* --- calls --- */

static bool has_changed(const struct view *before, const struct view *after, const struct abi_member *member)
{
	if (!is_in(after, member))
		return false;
	if (member->kind == ABI_ARRAY || member->kind == ABI_TAIL || member->kind == ABI_CHAIN)
		return leads(after, member);
	return (is_answer(member) && after->call->result >= 0) || value_of(before, member) != value_of(after, member);
}

static void add_changed(struct abi_text *text, const struct view *before, const struct view *after,
			const struct abi_member *members, size_t count, bool *first)
{
	for (size_t i = 0; i < count; i++) {
		const struct abi_element *chosen = members[i].kind == ABI_UNION ? element_of(before, members[i].array) : NULL;

		if (chosen)
			add_changed(text, before, after, chosen->members, chosen->count, first);
		if (members[i].kind == ABI_UNION || !has_changed(before, after, &members[i]))
			continue;
		if (*first)
			abi_text_add(text, " => {");
		add_member(text, after, &members[i], first);
	}
}

/* What the call has changed, of the struct and of what it leads to. */
static void add_changes(struct abi_text *text, const struct view *before, const struct abi_description *command)
{
	uint8_t data[STRUCT_MAX];
	struct view after = *before;
	bool first = true;

	memcpy(data, before->data, before->length);
	abi_record_apply(before->call->record, before->address, data, before->length);
	after.data = data;
	after.written = true;
	add_changed(text, before, &after, command->members, command->count, &first);
	abi_text_add(text, "%s", first ? "" : "}");
}

static void add_string(struct abi_text *text, const struct abi_shown *call, uint64_t address)
{
	size_t length;
	const uint8_t *data = known(call, false, address, &length);

	if (!data) {
		abi_text_add(text, "0x%" PRIx64, address);
		return;
	}
	abi_text_add(text, "\"");
	for (size_t i = 0; i < length && data[i]; i++)
		abi_text_add(text, isprint(data[i]) && data[i] != '"' && data[i] != '\\' ? "%c" : "\\x%02x", data[i]);
	abi_text_add(text, "\"");
}

/* As much of a struct as the caller has: its first 32 bits say how much that is, unless that is all there is. */
static size_t struct_length(const struct abi_description *command, const struct view *view)
{
	size_t length = (size_t)min_u64(min_u64(view->length, command->size), STRUCT_MAX);

	return command->size == sizeof(uint32_t) || length < sizeof(uint32_t) ? length : (size_t)min_u64(length, word(view, 0));
}

void abi_decode_ioctl(struct abi_text *text, const struct abi_shown *call, enum abi_space space, unsigned int command,
		      uint64_t argument)
{
	const struct abi_description *description = abi_describe(space, command);
	struct view view = {.call = call, .address = argument};
	bool first = true;

	if (description)
		abi_text_add(text, "%s, ", description->name);
	else
		abi_text_add(text, "0x%x, ", command);
	if (description && description->text) {
		add_string(text, call, argument);
		return;
	}
	if (description && description->names) {
		add_name(text, description->names, argument);
		return;
	}
	view.data = description && description->size ? known(call, false, argument, &view.length) : NULL;
	view.length = view.data ? struct_length(description, &view) : 0;
	if (!view.length) {
		abi_text_add(text, "0x%" PRIx64, argument);
		return;
	}
	abi_text_add(text, "{");
	add_members(text, &view, description->members, description->count, &first);
	abi_text_add(text, "}");
	add_changes(text, &view, description);
}

void abi_decode_data(struct abi_text *text, const struct abi_shown *call, const char *file, uint64_t address, size_t length,
		     bool written)
{
	const struct abi_element *element = abi_describe_data(file, written, length);
	struct view view = {.call = call, .written = !written, .address = address};
	uint64_t value = 0;

	view.data = length ? known(call, !written, address, &view.length) : NULL;
	view.length = (size_t)min_u64(view.length, length);
	if (!view.data) {
		abi_text_add(text, "0x%" PRIx64, address);
	} else if (element) {
		add_elements(text, &view, element, (uint32_t)min_u64((length + element->size - 1) / element->size, UINT32_MAX));
	} else if (length <= sizeof(value) && length == view.length && !(length & (length - 1))) {
		/* A register's. */
		memcpy(&value, view.data, length);
		abi_text_add(text, "0x%0*" PRIx64, (int)length * 2, value);
	} else {
		abi_text_add(text, "\"");
		for (size_t i = 0; i < view.length && i < BYTES_SHOWN; i++)
			abi_text_add(text, "\\x%02x", view.data[i]);
		abi_text_add(text, "\"%s", length > BYTES_SHOWN ? "..." : "");
	}
}

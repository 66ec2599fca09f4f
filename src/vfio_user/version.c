/* SPDX-License-Identifier: BSD-3-Clause */
/* The version, and the capabilities that come with it as JSON. */
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "vfio_user/server.h"

enum { JSON_DEPTH = 8, DATA_MIN = 8 };

/* What the other side takes in one message. 0: it does not say; -1: nonsense. */
static int64_t data_max(const char *text, size_t length)
{
	struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH);
	struct json_object *all, *capabilities, *value;
	int64_t bytes = -1;

	if (!tokener)
		return -1;
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	all = json_tokener_parse_ex(tokener, text, (int)length);
	if (json_object_is_type(all, json_type_object)) {
		bytes = 0;
		if (json_object_object_get_ex(all, "capabilities", &capabilities) &&
		    json_object_object_get_ex(capabilities, "max_data_xfer_size", &value)) {
			bytes = json_object_is_type(value, json_type_int) ? json_object_get_int64(value) : -1;
			if (bytes < DATA_MIN)
				bytes = -1;
		}
	}
	json_object_put(all);
	json_tokener_free(tokener);
	return bytes;
}

/* No longer than the request, with the NUL: QEMU has no room for more. */
static void answer(const struct message *message, struct reply *reply)
{
	static const char text[] = "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576}}";
	struct vfu_version version = {0};

	_Static_assert(VFU_FDS_MAX == 16 && VFU_DATA_MAX == 1048576, "what the text says");
	memcpy(reply->data, &version, sizeof(version));
	reply->length = sizeof(version);
	if (message->length >= sizeof(version) + sizeof(text)) {
		memcpy(reply->data + sizeof(version), text, sizeof(text));
		reply->length += sizeof(text);
	}
}

int version_request(struct port *port, const struct message *message, struct reply *reply)
{
	const struct vfu_version *version = (const void *)message->payload;
	const char *text = (const char *)message->payload + sizeof(*version);
	size_t length = message->length - sizeof(*version);

	if (length) {
		int64_t bytes = text[length - 1] ? -1 : data_max(text, length);

		if (bytes < 0)
			return -EPROTO;
		if (bytes && bytes < VFU_DATA_MAX)
			port->link->data_max = (uint32_t)bytes;
	}
	if (version->major)
		return ENOTSUP;
	port->agreed = true;
	answer(message, reply);
	return 0;
}

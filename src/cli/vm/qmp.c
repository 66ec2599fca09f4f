/* SPDX-License-Identifier: BSD-3-Clause */
/* QEMU's monitor: one JSON object a line, each way. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "cli/vm/vm.h"

enum { ANSWER_MAX = 4 << 20, PIECE = 4096 };

int qmp_send(struct qmp *qmp, const char *command)
{
	size_t length = strlen(command);

	return send(qmp->fd, command, length, MSG_NOSIGNAL) == (ssize_t)length ? 0 : -EPIPE;
}

/* What there is, without waiting for more. */
static int read_piece(struct qmp *qmp)
{
	ssize_t got;

	if (qmp->room - qmp->length < PIECE) {
		char *text = qmp->room < ANSWER_MAX ? realloc(qmp->text, qmp->room + PIECE * 4) : NULL;

		if (!text)
			return -EPROTO;
		qmp->text = text;
		qmp->room += PIECE * 4;
	}
	got = recv(qmp->fd, qmp->text + qmp->length, PIECE, MSG_DONTWAIT);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : -EPIPE;
	qmp->length += (size_t)got;
	return got ? 0 : -EPIPE;
}

int qmp_receive(struct qmp *qmp, struct json_object **out)
{
	char *end;
	int error;

	while (!qmp->length || !(end = memchr(qmp->text, '\n', qmp->length))) {
		error = read_piece(qmp);
		if (error)
			return error;
	}
	*end = '\0';
	*out = json_tokener_parse(qmp->text);
	qmp->length -= (size_t)(end + 1 - qmp->text);
	memmove(qmp->text, end + 1, qmp->length);
	return *out ? 0 : -EPROTO;
}

static struct json_object *member(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	return json_object_object_get_ex(object, key, &value) ? value : NULL;
}

/* Root ports are on bus 0; nobody asks for what is behind other bridges. */
int qmp_bus_behind(struct json_object *answer, const char *id)
{
	struct json_object *buses = member(answer, "return");

	for (size_t i = 0; i < (buses ? json_object_array_length(buses) : 0); i++) {
		struct json_object *devices = member(json_object_array_get_idx(buses, i), "devices");

		for (size_t k = 0; k < (devices ? json_object_array_length(devices) : 0); k++) {
			struct json_object *device = json_object_array_get_idx(devices, k), *name = member(device, "qdev_id");
			struct json_object *bus = member(member(member(device, "pci_bridge"), "bus"), "secondary");

			if (bus && name && strcmp(json_object_get_string(name), id) == 0)
				return json_object_get_int(bus) & 0xff;
		}
	}
	return -ENOENT;
}

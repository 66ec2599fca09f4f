/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server's control socket: whoever may look into the guest's folder asks what there is, one question and one answer a
 * connection, both a JSON object in one line.
 */
#include "cli/vm/control.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/thread.h"
#include "util/util.h"

enum { QUESTION_MAX = 1024, PATIENCE = 1000 /* ms, for all of a question, and for all of an answer */ };

static struct json_object *mistake(const char *text)
{
	struct json_object *answer = json_object_new_object();

	json_add_string(answer, "error", text);
	return answer;
}

static const char *text_of(struct json_object *question, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(question, key, &value) ? json_object_get_string(value) : NULL;
}

/* --- what there is --- */

static struct json_object *vtd_state(struct uiommu_vtd *vtd)
{
	enum { CAP = 0x08, ECAP = 0x10, GSTS = 0x1c, RTADDR = 0x20, FSTS = 0x34 };
	static const char *const modes[] = {"legacy", "scalable", "reserved", "abort"};
	struct json_object *object = json_object_new_object();
	uint64_t root = uiommu_vtd_read(vtd, RTADDR, 8);
	bool on = uiommu_vtd_read(vtd, GSTS, 4) >> 31;

	json_add_bool(object, "translation", on);
	json_add_string(object, "mode", on ? modes[root >> 10 & 3] : "off");
	json_add_address(object, "root", root & ~UINT64_C(0xfff));
	json_add_address(object, "cap", uiommu_vtd_read(vtd, CAP, 8));
	json_add_address(object, "ecap", uiommu_vtd_read(vtd, ECAP, 8));
	json_add_address(object, "fault_status", uiommu_vtd_read(vtd, FSTS, 4));
	return object;
}

static struct json_object *device_state(const struct control *control, unsigned int index)
{
	static const struct {
		unsigned int bit;
		const char *name;
	} states[] = {
		{UIOMMU_PCI_MEMORY, "memory"},	{UIOMMU_PCI_BUS_MASTER, "bus_master"},
		{UIOMMU_PCI_MSI_ON, "msi"},	{UIOMMU_PCI_MSIX_ON, "msix"},
		{UIOMMU_PCI_ATS_ON, "ats"},	{UIOMMU_PCI_PRI_ON, "pri"},
		{UIOMMU_PCI_PASID_ON, "pasid"},
	};
	const struct vm_endpoint *endpoint = &control->vm->endpoints[index];
	struct uiommu_model *model = control->models[index];
	struct json_object *object = json_object_new_object(), *enabled = json_object_new_array();
	unsigned int state = uiommu_pci_state(uiommu_model_function(model));
	char bdf[16];

	snprintf(bdf, sizeof(bdf), "%02x:00.%u", endpoint->bus, endpoint->function);
	json_add_string(object, "bdf", bdf);
	json_add_string(object, "model", endpoint->model);
	if (endpoint->is_virtual)
		json_add_string(object, "parent", control->vm->parent);
	json_add_number(object, "id", uiommu_model_device(model));
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (state & states[i].bit)
			json_object_array_add(enabled, json_object_new_string(states[i].name));
	json_object_object_add(object, "enabled", enabled);
	json_add_number(object, "page_requests", uiommu_vtd_page_requests(control->vtd, uiommu_model_device(model)));
	return object;
}

static struct json_object *demand_state(const struct control *control)
{
	struct json_object *object = json_object_new_object();
	struct uiommu_demand_stats stats = {.size = sizeof(stats)};

	(void)uiommu_demand_stats(control->context, control->demand_id, &stats);
	json_add_number(object, "pages", stats.pages);
	json_add_number(object, "accesses", stats.accesses);
	json_add_number(object, "waiting", stats.waiting);
	json_add_number(object, "failed", stats.failed);
	return object;
}

static struct json_object *answer_ls(const struct control *control)
{
	struct json_object *answer = json_object_new_object(), *devices = json_object_new_array();

	json_add_number(answer, "pid", (uint64_t)control->vm->launcher);
	json_object_object_add(answer, "vtd", vtd_state(control->vtd));
	for (unsigned int i = 0; i < control->vm->endpoint_count; i++)
		json_object_array_add(devices, device_state(control, i));
	json_object_object_add(answer, "devices", devices);
	if (control->demand_id)
		json_object_object_add(answer, "on_demand", demand_state(control));
	return answer;
}

/* --- a translation --- */

/* NULL: there is none. */
static const struct vm_endpoint *find_device(const struct control *control, const char *bdf, uint32_t *device_id)
{
	unsigned int bus, function;
	char rest;

	if (sscanf(bdf, "%2x:00.%1u%c", &bus, &function, &rest) != 2)
		return NULL;
	for (unsigned int i = 0; i < control->vm->endpoint_count; i++) {
		const struct vm_endpoint *endpoint = &control->vm->endpoints[i];

		if (endpoint->bus != bus || endpoint->function != function)
			continue;
		*device_id = uiommu_model_device(control->models[i]);
		return endpoint;
	}
	return NULL;
}

static void add_access(struct json_object *object, const char *key, uint32_t access)
{
	const char text[] = {access & UIOMMU_READ ? 'r' : '-', access & UIOMMU_WRITE ? 'w' : '-', access & UIOMMU_EXEC ? 'x' : '-',
			     0};

	json_add_string(object, key, text);
}

static struct json_object *step_object(const struct uiommu_walk_step *step)
{
	struct json_object *object = json_object_new_object(), *words = json_object_new_array();

	json_add_string(object, "entry", vm_entry_name(step));
	if (step->stage) {
		json_add_number(object, "stage", step->stage);
		json_add_number(object, "level", step->level);
	}
	json_add_address(object, "address", step->address);
	for (unsigned int i = 0; i < step->words && i < UIOMMU_WALK_WORDS; i++) {
		char text[24];

		snprintf(text, sizeof(text), "0x%016" PRIx64, step->entry[i]);
		json_object_array_add(words, json_object_new_string(text));
	}
	json_object_object_add(object, "words", words);
	json_object_object_add(object, "fields", vm_entry_fields(step));
	return object;
}

static struct json_object *fault_object(const struct uiommu_fault *fault)
{
	struct uiommu_walk_step step = {.structure = fault->structure, .stage = fault->stage, .words = UIOMMU_WALK_WORDS};
	struct json_object *object = json_object_new_object();

	json_add_string(object, "reason", uiommu_fault_reason_name(fault->reason));
	json_add_string(object, "entry", vm_entry_name(&step));
	json_add_number(object, "stage", fault->stage);
	json_add_number(object, "level", fault->level);
	json_add_bool(object, "table", fault->table);
	json_add_bool(object, "guest_memory", fault->flags & UIOMMU_FAULT_PARENT);
	json_add_bool(object, "value", fault->flags & UIOMMU_FAULT_VALUE);
	return object;
}

static void add_result(struct json_object *answer, const struct uiommu_walk *walk)
{
	json_add_bool(answer, "decoded", walk->flags & UIOMMU_WALK_DECODED);
	json_add_number(answer, "domain", walk->domain);
	if (walk->stage1)
		json_add_string(answer, "stage1", walk->stage1);
	if (walk->stage2)
		json_add_string(answer, "stage2", walk->stage2);
	if (walk->fault.reason) {
		json_object_object_add(answer, "fault", fault_object(&walk->fault));
	} else {
		json_add_address(answer, "output", walk->output);
		add_access(answer, "permitted", walk->permitted);
		json_add_number(answer, "page_lg2", walk->page_lg2);
	}
	if (walk->flags & UIOMMU_WALK_CACHED) {
		json_add_address(answer, "cached", walk->cached);
		add_access(answer, "cached_permitted", walk->cached_access);
	}
}

static struct json_object *answer_walk(const struct control *control, struct json_object *question)
{
	const char *bdf = text_of(question, "device"), *address = text_of(question, "address"), *pasid = text_of(question, "pasid");
	struct uiommu_walk_step steps[UIOMMU_WALK_STEPS];
	struct uiommu_walk walk = {.size = sizeof(walk), .steps = steps, .step_count = ARRAY_SIZE(steps), .pasid = UIOMMU_NO_PASID};
	const struct vm_endpoint *endpoint = bdf ? find_device(control, bdf, &walk.device_id) : NULL;
	struct json_object *answer, *array;
	uint64_t number = 0;
	int error;

	if (!endpoint)
		return mistake("there is no such device");
	if (!address || parse_number(address, &walk.address) ||
	    (pasid && (parse_number(pasid, &number) || number > UIOMMU_PASID_LAST)))
		return mistake("the address or PASID is not understood");
	if (pasid)
		walk.pasid = endpoint->is_virtual ? uiommu_vpasid_find(control->set, (uint32_t)number) : (uint32_t)number;
	if (pasid && walk.pasid == UIOMMU_NO_PASID)
		return mistake("the accelerator has not been told of that PASID");
	error = uiommu_walk(control->context, &walk);
	if (error)
		return mistake(strerror(-error));
	answer = json_object_new_object();
	array = json_object_new_array();
	json_add_string(answer, "device", bdf);
	if (pasid)
		json_add_number(answer, "pasid", number);
	json_add_address(answer, "address", walk.address);
	for (uint32_t i = 0; i < walk.step_count && i < ARRAY_SIZE(steps); i++)
		json_object_array_add(array, step_object(&steps[i]));
	json_object_object_add(answer, "steps", array);
	add_result(answer, &walk);
	return answer;
}

/* --- faults --- */

static struct json_object *vtd_fault_object(const struct control *control, const struct uiommu_vtd_fault *record)
{
	struct json_object *object = fault_object(&record->fault);
	uint32_t pasid = record->fault.pasid;
	char bdf[16];

	snprintf(bdf, sizeof(bdf), "%02x:00.%u", record->source_id >> 8, record->source_id & 7);
	json_add_number(object, "guest", (uint64_t)control->vm->launcher);
	json_add_string(object, "device", bdf);
	for (unsigned int i = 0; i < control->vm->endpoint_count; i++) {
		const struct vm_endpoint *endpoint = &control->vm->endpoints[i];

		if (uiommu_model_device(control->models[i]) != record->fault.device_id)
			continue;
		json_add_string(object, "model", endpoint->model);
		if (endpoint->is_virtual)
			pasid = uiommu_vpasid_of(control->set, pasid);
	}
	if (pasid != UIOMMU_NO_PASID)
		json_add_number(object, "pasid", pasid);
	json_add_address(object, "address", record->fault.address);
	add_access(object, "access", record->fault.access);
	json_add_number(object, "code", record->code);
	json_add_number(object, "time_ns", record->time_ns);
	json_add_number(object, "invalidated_ns", record->invalidated_ns);
	return object;
}

static struct json_object *answer_faults(const struct control *control)
{
	struct json_object *answer = json_object_new_object(), *array = json_object_new_array();
	struct uiommu_vtd_fault faults[UIOMMU_VTD_FAULTS];
	size_t count = uiommu_vtd_faults(control->vtd, faults, ARRAY_SIZE(faults));

	for (size_t i = 0; i < count; i++)
		json_object_array_add(array, vtd_fault_object(control, &faults[i]));
	json_object_object_add(answer, "faults", array);
	return answer;
}

/* --- the socket --- */

static struct json_object *answer_to(const struct control *control, struct json_object *question)
{
	const char *what = text_of(question, "execute");

	if (what && strcmp(what, "ls") == 0)
		return answer_ls(control);
	if (what && strcmp(what, "walk") == 0)
		return answer_walk(control, question);
	if (what && strcmp(what, "faults") == 0)
		return answer_faults(control);
	return mistake("not understood");
}

/* True: there is something to do before @end. */
static bool ready_until(int fd, short events, uint64_t end)
{
	struct pollfd ready = {.fd = fd, .events = events};
	uint64_t now = clock_ms();

	return now < end && poll(&ready, 1, (int)(end - now)) == 1;
}

/* A whole line, or nothing: who says less, or takes longer for all of it, has nothing to ask. */
static struct json_object *read_question(int fd)
{
	const uint64_t end = clock_ms() + PATIENCE;
	char text[QUESTION_MAX];
	size_t length = 0;

	while (length < sizeof(text) - 1 && ready_until(fd, POLLIN, end)) {
		ssize_t got = recv(fd, text + length, sizeof(text) - 1 - length, MSG_DONTWAIT);

		if (got <= 0)
			break;
		length += (size_t)got;
		text[length] = '\0';
		if (text[length - 1] == '\n')
			return json_tokener_parse(text);
	}
	return NULL;
}

/* As much as is taken in time. */
static void send_answer(int fd, const char *text, size_t length)
{
	const uint64_t end = clock_ms() + PATIENCE;

	while (length && ready_until(fd, POLLOUT, end)) {
		ssize_t sent = send(fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent <= 0)
			break;
		text += sent;
		length -= (size_t)sent;
	}
}

static void serve_one(const struct control *control, int fd)
{
	struct json_object *question = read_question(fd), *answer;
	const char *text;
	char *line;

	answer = question && json_object_is_type(question, json_type_object) ? answer_to(control, question)
									     : mistake("not understood");
	text = json_object_to_json_string_ext(answer, JSON_C_TO_STRING_NOSLASHESCAPE);
	if (asprintf(&line, "%s\n", text) >= 0) {
		send_answer(fd, line, strlen(line));
		free(line);
	}
	json_object_put(answer);
	json_object_put(question);
}

static void *control_main(void *opaque)
{
	struct control *control = opaque;
	struct pollfd fds[] = {{.fd = control->listen_fd, .events = POLLIN}, {.fd = control->end_fd, .events = POLLIN}};

	while (poll(fds, ARRAY_SIZE(fds), -1) < 0 || !fds[1].revents) {
		int fd = fds[0].revents ? accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC) : -1;

		if (fd < 0)
			continue;
		serve_one(control, fd);
		close(fd);
	}
	return NULL;
}

int control_start(struct control *control)
{
	int error;

	control->end_fd = eventfd(0, EFD_CLOEXEC);
	error = control->end_fd < 0 ? -errno : thread_start(&control->thread, control_main, control);
	control->started = !error;
	if (error)
		control_stop(control);
	return error;
}

void control_stop(struct control *control)
{
	if (control->started) {
		eventfd_write(control->end_fd, 1);
		pthread_join(control->thread, NULL);
	}
	control->started = false;
	if (control->end_fd > 0)
		close(control->end_fd);
	control->end_fd = 0;
}

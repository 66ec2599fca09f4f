/* SPDX-License-Identifier: BSD-3-Clause */
/* copy, fill, crc, compare: one operation of the accelerator in the address spaces of one or two processes. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "cli/engine.h"
#include "cli/explain.h"
#include "util/clock.h"
#include "util/util.h"

/* One descriptor moves less than %UIOMMU_ACCEL_TRANSFER_MAX, so longer transfers are several, one after the other. */
static const uint64_t piece_most = UINT64_C(1) << 30;

struct transfer {
	const struct command *command;
	enum uiommu_accel_opcode opcode;
	const char *socket;
	bool json;
	struct place src;
	struct place dst;
	uint64_t length;
	uint64_t pattern;
	/* What came of it. */
	uint64_t done;
	uint64_t nanoseconds;
	uint32_t crc;
	bool different;
	bool has_fault;
	struct uiommu_fault_report fault;
};

static bool has_src(const struct transfer *transfer)
{
	return transfer->opcode != UIOMMU_ACCEL_FILL;
}

static bool has_dst(const struct transfer *transfer)
{
	return transfer->opcode != UIOMMU_ACCEL_CRC;
}

static bool writes_dst(const struct transfer *transfer)
{
	return transfer->opcode == UIOMMU_ACCEL_MEMMOVE || transfer->opcode == UIOMMU_ACCEL_FILL;
}

/* A move to higher addresses over itself begins with its end. */
static bool moves_upwards(const struct transfer *transfer)
{
	return transfer->opcode == UIOMMU_ACCEL_MEMMOVE && transfer->src.pid == transfer->dst.pid &&
	       transfer->dst.address > transfer->src.address && transfer->dst.address - transfer->src.address < transfer->length;
}

static struct uiommu_accel_desc piece_desc(const struct transfer *transfer, const struct end *src, const struct end *dst,
					   uint64_t offset, uint64_t length)
{
	uint32_t flags = UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD | UIOMMU_ACCEL_REQUEST_INTERRUPT;
	struct uiommu_accel_desc desc = {
		.flags_opcode = flags | (uint32_t)transfer->opcode << 24,
		.transfer_size = (uint32_t)length,
	};

	if (has_src(transfer)) {
		desc.source = transfer->src.address + offset;
		desc.handles = src->handle;
	} else {
		desc.source = transfer->pattern;
	}
	if (has_dst(transfer)) {
		desc.destination = transfer->dst.address + offset;
		desc.handles |= (uint64_t)dst->handle << 16;
	}
	if (transfer->opcode == UIOMMU_ACCEL_CRC)
		desc.specific = transfer->crc;
	return desc;
}

static enum status take_fault(struct transfer *transfer, struct engine *engine, const struct end *ends, size_t count)
{
	const struct uiommu_accel_record *record = engine->record;
	char text[768];

	transfer->has_fault = true;
	if (!engine->ops->fault(engine, ends, count, &transfer->fault)) {
		bool write = record->status & UIOMMU_ACCEL_FAULT_WRITE;

		transfer->fault = (struct uiommu_fault_report){.device = "?"};
		transfer->fault.fault.address = record->fault_address;
		transfer->fault.fault.access = write ? UIOMMU_WRITE : UIOMMU_READ;
		transfer->fault.fault.pasid = write || count == 1 ? ends[count - 1].pasid : ends[0].pasid;
	}
	explain_fault(&transfer->fault, text, sizeof(text));
	return complain(STATUS_FAULT, "%s: %" PRIu64 " of %" PRIu64 " bytes done; %s", transfer->command->name, transfer->done,
			transfer->length, text);
}

static enum status take_record(struct transfer *transfer, struct engine *engine, const struct end *ends, size_t count,
			       uint64_t length)
{
	const struct uiommu_accel_record *record = engine->record;

	switch (record->status & UIOMMU_ACCEL_STATUS_MASK) {
	case UIOMMU_ACCEL_SUCCESS:
		transfer->different = record->result && transfer->opcode == UIOMMU_ACCEL_COMPARE;
		transfer->done += transfer->different ? record->bytes_completed : length;
		transfer->crc = (uint32_t)record->value;
		return STATUS_OK;
	case UIOMMU_ACCEL_PAGE_FAULT:
		transfer->done += record->bytes_completed;
		return take_fault(transfer, engine, ends, count);
	default:
		transfer->done += record->bytes_completed;
		return complain(STATUS_FAULT,
				"%s: the device refused the descriptor with status 0x%02x; %" PRIu64 " of %" PRIu64 " bytes done",
				transfer->command->name, record->status, transfer->done, transfer->length);
	}
}

static enum status run_pieces(struct transfer *transfer, struct engine *engine, const struct end *ends, size_t count)
{
	const struct end *src = &ends[0], *dst = &ends[count - 1];
	bool upwards = moves_upwards(transfer);
	enum status status = STATUS_OK;
	uint64_t began = clock_ns();

	for (uint64_t at = 0, length; !status && at < transfer->length && !transfer->different; at += length) {
		struct uiommu_accel_desc desc;

		length = min_u64(transfer->length - at, piece_most);
		desc = piece_desc(transfer, src, dst, upwards ? transfer->length - at - length : at, length);
		status = engine_run(engine, &desc);
		if (!status)
			status = take_record(transfer, engine, ends, count, length);
	}
	transfer->nanoseconds = clock_ns() - began;
	return status;
}

static enum status run_bound(struct transfer *transfer, struct engine *engine)
{
	unsigned int dst_access = writes_dst(transfer) ? UIOMMU_READ | UIOMMU_WRITE : UIOMMU_READ;
	struct end ends[2] = {{.pid = transfer->src.pid}, {.pid = transfer->dst.pid}};
	enum status status;

	/* Within one process one bind does for both ends. */
	if (!has_src(transfer) || !has_dst(transfer) || transfer->src.pid == transfer->dst.pid) {
		ends[0].pid = has_src(transfer) ? transfer->src.pid : transfer->dst.pid;
		status = engine_bind(engine, &ends[0], has_dst(transfer) ? dst_access : UIOMMU_READ);
		return status ? status : run_pieces(transfer, engine, ends, 1);
	}
	status = engine_bind(engine, &ends[0], UIOMMU_READ);
	if (!status)
		status = engine_bind(engine, &ends[1], dst_access);
	return status ? status : run_pieces(transfer, engine, ends, 2);
}

static enum status check_range(const struct transfer *transfer, const char *name, const struct place *place)
{
	uint64_t end;

	if (__builtin_add_overflow(place->address, transfer->length - 1, &end))
		return complain(STATUS_USAGE, "%s: --%s 0x%" PRIx64 " with --len %" PRIu64 " wraps", transfer->command->name, name,
				place->address, transfer->length);
	return STATUS_OK;
}

static const char *outcome_name(const struct transfer *transfer, enum status status)
{
	if (transfer->has_fault)
		return "fault";
	if (transfer->different)
		return "different";
	return status ? "error" : "ok";
}

static void print_json(const struct transfer *transfer, enum status status)
{
	struct json_object *answer = json_answer(transfer->command);

	json_add_string(answer, "status", outcome_name(transfer, status));
	json_add_number(answer, "bytes", transfer->done);
	json_add_number(answer, "nanoseconds", transfer->nanoseconds);
	if (!status && transfer->opcode == UIOMMU_ACCEL_CRC) {
		json_add_string(answer, "algorithm", "crc32c");
		json_add_address(answer, "value", transfer->crc);
	}
	if (transfer->different)
		json_add_number(answer, "first_difference", transfer->done);
	if (transfer->has_fault)
		json_object_object_add(answer, "fault", json_fault(&transfer->fault));
	if (status && !transfer->different)
		json_add_string(answer, "message", complaint());
	json_finish(answer);
}

static void print_text(const struct transfer *transfer, enum status status)
{
	if (transfer->different)
		printf("different at byte %" PRIu64 ": %d:0x%" PRIx64 ", %d:0x%" PRIx64 "\n", transfer->done, transfer->src.pid,
		       transfer->src.address + transfer->done, transfer->dst.pid, transfer->dst.address + transfer->done);
	else if (!status && transfer->opcode == UIOMMU_ACCEL_COMPARE)
		printf("equal\n");
	else if (!status && transfer->opcode == UIOMMU_ACCEL_CRC)
		printf("0x%08x\n", transfer->crc);
}

static enum status run_transfer(struct transfer *transfer)
{
	struct engine engine;
	enum status status = STATUS_OK;

	if (has_src(transfer))
		status = check_range(transfer, "src", &transfer->src);
	if (!status && has_dst(transfer))
		status = check_range(transfer, "dst", &transfer->dst);
	if (status)
		return status;
	status = engine_open(&engine, transfer->socket);
	if (!status) {
		status = run_bound(transfer, &engine);
		engine_close(&engine);
	}
	/* As cmp(1) does. */
	if (transfer->different)
		status = STATUS_FAULT;
	if (transfer->json)
		print_json(transfer, status);
	else
		print_text(transfer, status);
	return status;
}

#define SRC_ARG                                                                                                                    \
	{                                                                                                                          \
		"src", ARG_PLACE, true, &transfer.src, "PID:ADDR", "where the data is"                                             \
	}
#define DST_ARG                                                                                                                    \
	{                                                                                                                          \
		"dst", ARG_PLACE, true, &transfer.dst, "PID:ADDR", "where it goes"                                                 \
	}
#define LEN_ARG                                                                                                                    \
	{                                                                                                                          \
		"len", ARG_LENGTH, true, &transfer.length, "N", "bytes; K, M, G, T multiply by powers of 1024"                     \
	}
#define SOCKET_ARG                                                                                                                 \
	{                                                                                                                          \
		"socket", ARG_TEXT, false, &transfer.socket, "PATH", "use the daemon there, not a device in this process"          \
	}
#define JSON_ARG                                                                                                                   \
	{                                                                                                                          \
		"json", ARG_FLAG, false, &transfer.json, NULL, "say the outcome in JSON"                                           \
	}

static enum status run_copy(const struct command *command, int argc, char **argv)
{
	struct transfer transfer = {.command = command, .opcode = UIOMMU_ACCEL_MEMMOVE};
	const struct arg args[] = {SRC_ARG, DST_ARG, LEN_ARG, SOCKET_ARG, JSON_ARG};
	enum status status;

	if (!args_parse(command, "Copy memory of one process to another one, or within one. Silent if it worked.", args,
			ARRAY_SIZE(args), argc, argv, &status))
		return status;
	return run_transfer(&transfer);
}

static enum status run_fill(const struct command *command, int argc, char **argv)
{
	struct transfer transfer = {.command = command, .opcode = UIOMMU_ACCEL_FILL};
	const struct arg args[] = {
		DST_ARG,
		LEN_ARG,
		{"pattern", ARG_PATTERN, true, &transfer.pattern, "HEX",
		 "1, 2, 4 or 8 bytes in the order they get in memory; repeated"},
		SOCKET_ARG,
		JSON_ARG,
	};
	enum status status;

	if (!args_parse(command, "Fill memory of a process with a pattern. Silent if it worked.", args, ARRAY_SIZE(args), argc,
			argv, &status))
		return status;
	return run_transfer(&transfer);
}

static enum status run_crc(const struct command *command, int argc, char **argv)
{
	struct transfer transfer = {.command = command, .opcode = UIOMMU_ACCEL_CRC};
	const struct arg args[] = {SRC_ARG, LEN_ARG, SOCKET_ARG, JSON_ARG};
	enum status status;

	if (!args_parse(command, "Print the CRC32C of memory of a process.", args, ARRAY_SIZE(args), argc, argv, &status))
		return status;
	return run_transfer(&transfer);
}

static enum status run_compare(const struct command *command, int argc, char **argv)
{
	struct transfer transfer = {.command = command, .opcode = UIOMMU_ACCEL_COMPARE};
	const struct arg args[] = {
		SRC_ARG,  {"dst", ARG_PLACE, true, &transfer.dst, "PID:ADDR", "what it is compared with"}, LEN_ARG, SOCKET_ARG,
		JSON_ARG,
	};
	enum status status;

	if (!args_parse(command,
			"Compare memory of two processes, or of one. Prints \"equal\", or where the first difference is (exit "
			"status 1).",
			args, ARRAY_SIZE(args), argc, argv, &status))
		return status;
	return run_transfer(&transfer);
}

const struct command command_copy = {"copy", "copy memory between processes", run_copy};
const struct command command_fill = {"fill", "fill memory of a process with a pattern", run_fill};
const struct command command_crc = {"crc", "checksum memory of a process (CRC32C)", run_crc};
const struct command command_compare = {"compare", "compare memory of processes", run_compare};

/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/explain.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/plain.h"

/* Text that grows in a buffer of a fixed size; what does not fit is cut. */
struct text {
	char *buffer;
	size_t size;
	size_t length;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *text, const char *format, ...)
{
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(text->buffer + text->length, text->size - text->length, format, arguments);
	va_end(arguments);
	if (length > 0)
		text->length += (size_t)length < text->size - text->length ? (size_t)length : text->size - text->length - 1;
}

static const char *verb(unsigned int access)
{
	return access == UIOMMU_WRITE ? "write" : access == UIOMMU_EXEC ? "execute" : "read";
}

static void permissions(unsigned int access, char out[4])
{
	snprintf(out, 4, "%c%c%c", access & UIOMMU_READ ? 'r' : '-', access & UIOMMU_WRITE ? 'w' : '-',
		 access & UIOMMU_EXEC ? 'x' : '-');
}

static bool has_mapping(const struct uiommu_fault_report *report)
{
	return report->vma_end > report->vma_start;
}

static bool is_mapped(const struct uiommu_fault_report *report)
{
	return report->fault.address >= report->vma_start && report->fault.address < report->vma_end;
}

static void add_who(struct text *text, const struct uiommu_fault_report *report)
{
	const struct uiommu_fault *fault = &report->fault;

	if (fault->pasid == UIOMMU_NO_PASID) {
		add(text, "device %s, without PASID: could not %s at 0x%" PRIx64 " of its IOAS", report->device,
		    verb(fault->access), fault->address);
		return;
	}
	add(text, "device %s, PASID %u: could not %s at 0x%" PRIx64, report->device, fault->pasid, verb(fault->access),
	    fault->address);
	if (report->pid)
		add(text, " of process %u (%s)", report->pid, report->comm);
}

static void add_place(struct text *text, const struct uiommu_fault_report *report)
{
	char access[4];

	permissions(report->vma_access, access);
	add(text, "\n  there: ");
	if (report->fault.reason == UIOMMU_FAULT_NOT_ATTACHED)
		add(text, "no address space");
	else if (!has_mapping(report))
		add(text, "nothing, and nothing above it");
	else if (is_mapped(report))
		add(text, "%s 0x%" PRIx64 "-0x%" PRIx64 " %s", access, report->vma_start, report->vma_end, report->vma_name);
	else
		add(text, "nothing; the next mapping begins 0x%" PRIx64 " bytes above, at 0x%" PRIx64 " %s",
		    report->vma_start - report->fault.address, report->vma_start, report->vma_name);
	/* A mapping without a name ends in a space. */
	if (text->length && text->buffer[text->length - 1] == ' ')
		text->buffer[--text->length] = '\0';
}

static void add_missing(struct text *text, const struct uiommu_fault_report *report)
{
	const char *what = verb(report->fault.access);

	add(text, "\n  missing: ");
	switch (report->fault.reason) {
	case UIOMMU_FAULT_NOT_ATTACHED:
		add(text, "nothing is bound to this PASID");
		break;
	case UIOMMU_FAULT_DRAINING:
		add(text, "the PASID is being unbound");
		break;
	case UIOMMU_FAULT_UNMAPPED:
		add(text, "a mapping at this address");
		break;
	case UIOMMU_FAULT_PERMISSION:
		add(text, "permission to %s: the process itself may not do that there", what);
		break;
	case UIOMMU_FAULT_ATTACHMENT:
		add(text, "permission to %s: the bind or mapping was made without it", what);
		break;
	case UIOMMU_FAULT_GONE:
		add(text, "the process: it has exited or executed another program");
		break;
	case UIOMMU_FAULT_MEMORY:
		add(text, "memory behind the mapping: beyond the end of its file, damaged, or kept back by a userfaultfd");
		break;
	case UIOMMU_FAULT_ATOMIC:
		add(text, "memory on which atomic operations are possible: it is not mapped in the device's process");
		break;
	case UIOMMU_FAULT_NOT_DIRECT:
		add(text, "a pointer to it: it is not mapped in the device's process");
		break;
	case UIOMMU_FAULT_RANGE:
		add(text, "such an address: it is beyond the address width, or address and length wrap");
		break;
	case UIOMMU_FAULT_RESERVED:
		add(text, "a valid table entry: a reserved bit is set, or a value that is not supported");
		break;
	case UIOMMU_FAULT_PRIVILEGE:
		add(text, "privilege to %s", what);
		break;
	case UIOMMU_FAULT_OUTPUT:
		add(text, "a table entry with an address inside the output width");
		break;
	case UIOMMU_FAULT_ACCESS_FLAG:
		add(text, "the accessed or dirty flag in the table entry, which software has to set here");
		break;
	case UIOMMU_FAULT_UPDATE:
		add(text, "a table entry whose accessed or dirty flag can be set");
		break;
	case UIOMMU_FAULT_BLOCKED:
		add(text, "leave for this kind of request in the device's or PASID's entry");
		break;
	default:
		add(text, "not known");
	}
}

static struct uiommu_fault_report plain_report(const struct uiommu_fault_report *report)
{
	struct uiommu_fault_report plain = *report;

	make_plain(plain.device, sizeof(plain.device), false);
	make_plain(plain.comm, sizeof(plain.comm), false);
	make_plain(plain.vma_name, sizeof(plain.vma_name), false);
	return plain;
}

void explain_fault(const struct uiommu_fault_report *report, char *buffer, size_t size)
{
	const struct uiommu_fault_report plain = plain_report(report);
	struct text text = {buffer, size, 0};

	buffer[0] = '\0';
	add_who(&text, &plain);
	if (plain.fault.pasid != UIOMMU_NO_PASID)
		add_place(&text, &plain);
	add_missing(&text, &plain);
}

static struct json_object *json_mapping(const struct uiommu_fault_report *report)
{
	struct json_object *mapping;
	char access[4];

	if (!has_mapping(report))
		return NULL;
	mapping = json_object_new_object();
	permissions(report->vma_access, access);
	json_add_address(mapping, "start", report->vma_start);
	json_add_address(mapping, "end", report->vma_end);
	json_add_string(mapping, "access", access);
	json_add_string(mapping, "name", report->vma_name);
	json_add_bool(mapping, "contains_address", is_mapped(report));
	return mapping;
}

struct json_object *json_fault(const struct uiommu_fault_report *report)
{
	const struct uiommu_fault_report plain = plain_report(report);
	const struct uiommu_fault *fault = &plain.fault;
	struct json_object *object = json_object_new_object();
	char text[768];

	explain_fault(report, text, sizeof(text));
	json_add_string(object, "device", plain.device);
	if (fault->pasid == UIOMMU_NO_PASID)
		json_object_object_add(object, "pasid", NULL);
	else
		json_add_number(object, "pasid", fault->pasid);
	json_add_address(object, "address", fault->address);
	json_add_string(object, "access", verb(fault->access));
	json_add_string(object, "reason", uiommu_fault_reason_name(fault->reason));
	json_add_number(object, "pid", plain.pid);
	json_add_string(object, "comm", plain.comm);
	json_add_number(object, "uid", plain.uid);
	json_add_number(object, "client", plain.client);
	json_add_number(object, "time_ns", plain.time_ns);
	json_object_object_add(object, "mapping", json_mapping(&plain));
	json_add_string(object, "text", text);
	return object;
}

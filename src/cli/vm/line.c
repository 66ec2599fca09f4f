/* SPDX-License-Identifier: BSD-3-Clause */
/* The line that QEMU is started with. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/vm/vm.h"
#include "util/util.h"

void words_add(struct words *words, const char *format, ...)
{
	va_list arguments;
	char *word;

	if (words->count + 2 > words->room) {
		size_t room = words->room ? words->room * 2 : 64;
		char **larger = realloc(words->words, room * sizeof(*larger));

		if (!larger) {
			words->failed = true;
			return;
		}
		words->words = larger;
		words->room = room;
	}
	va_start(arguments, format);
	if (vasprintf(&word, format, arguments) < 0)
		word = NULL;
	va_end(arguments);
	words->failed |= !word;
	words->words[words->count++] = word;
	words->words[words->count] = NULL;
}

void words_free(struct words *words)
{
	for (size_t i = 0; i < words->count; i++)
		free(words->words[i]);
	free(words->words);
	*words = (struct words){0};
}

static void add_machine(struct words *words, const struct vm *vm)
{
	bool kvm = strcmp(vm->accel, "kvm") == 0;

	words_add(words, "-machine");
	words_add(words, "q35,accel=%s,memory-backend=uiommu-memory", vm->accel);
	words_add(words, "-object");
	words_add(words, "memory-backend-memfd,id=uiommu-memory,size=%luM,share=on", (unsigned long)(vm->memory >> 20));
	words_add(words, "-m");
	words_add(words, "%luM", (unsigned long)(vm->memory >> 20));
	words_add(words, "-smp");
	words_add(words, "%lu", (unsigned long)vm->cpus);
	words_add(words, "-cpu");
	words_add(words, kvm ? "host" : "max");
}

static void add_function(struct words *words, const struct vm *vm, const char *socket, const char *more)
{
	words_add(words, "-device");
	words_add(words, "{\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":\"%s/%s\"},%s}", vm->folder, socket,
		  more);
}

static bool shares_port(const struct vm *vm, const struct vm_endpoint *endpoint)
{
	for (unsigned int i = 0; i < vm->endpoint_count; i++)
		if (&vm->endpoints[i] != endpoint && vm->endpoints[i].port == endpoint->port)
			return true;
	return false;
}

static void add_devices(struct words *words, const struct vm *vm)
{
	char more[96], socket[16];

	snprintf(more, sizeof(more), "\"bus\":\"pcie.0\",\"addr\":\"%x.0\"", VM_VTD_SLOT);
	add_function(words, vm, "vtd", more);
	for (unsigned int i = 0; i < vm->port_count; i++) {
		words_add(words, "-device");
		words_add(words, "pcie-root-port,id=uiommu-port%u,bus=pcie.0,addr=%x.%u,multifunction=on,chassis=%u,slot=%u", i,
			  VM_PORT_SLOT + i / 8, i % 8, i + 1, i + 1);
	}
	for (unsigned int i = 0; i < vm->endpoint_count; i++) {
		const struct vm_endpoint *endpoint = &vm->endpoints[i];

		snprintf(socket, sizeof(socket), "device%u", i);
		snprintf(more, sizeof(more), "\"bus\":\"uiommu-port%u\",\"addr\":\"0.%u\"%s", endpoint->port, endpoint->function,
			 shares_port(vm, endpoint) ? ",\"multifunction\":true" : "");
		add_function(words, vm, socket, more);
	}
}

static void add_disks(struct words *words, const struct vm *vm)
{
	for (size_t i = 0; i < vm->disks.count; i++) {
		const char *path = vm->disks.items[i];
		size_t length = strlen(path);
		bool qcow2 = length > 6 && strcmp(path + length - 6, ".qcow2") == 0;

		/* The format is never guessed from what is in it: that is the guest's to write. A comma is written twice. */
		words_add(words, "-drive");
		words_add(words, "if=virtio,format=%s,file=", qcow2 ? "qcow2" : "raw");
		if (words->failed)
			return;
		for (const char *from = path; *from; from++) {
			char **word = &words->words[words->count - 1], *longer;

			if (asprintf(&longer, *from == ',' ? "%s,%c" : "%s%c", *word, *from) < 0) {
				words->failed = true;
				return;
			}
			free(*word);
			*word = longer;
		}
	}
}

/* What a probe does without: what its user talks to, and what a guest is not to do twice. */
static size_t left_out(const char *word)
{
	static const char *const alone[] = {"-S", "-s", "-daemonize", "-nographic", "-no-reboot", "-no-shutdown"};
	static const char *const with_value[] = {"-qmp",      "-qmp-pretty", "-mon",	"-monitor", "-serial",	"-parallel",
						 "-gdb",      "-pidfile",    "-vnc",	"-spice",   "-display", "-D",
						 "-d",	      "-trace",	     "-append", "-kernel",  "-initrd",	"-dtb",
						 "-incoming", "-loadvm",     "-action"};

	word += word[0] == '-' && word[1] == '-';
	for (size_t i = 0; i < ARRAY_SIZE(alone); i++)
		if (strcmp(word, alone[i]) == 0)
			return 1;
	for (size_t i = 0; i < ARRAY_SIZE(with_value); i++)
		if (strcmp(word, with_value[i]) == 0)
			return 2;
	return 0;
}

static void add_more(struct words *words, const struct vm *vm, bool probe)
{
	for (size_t i = 0; i < vm->more.count; i++) {
		size_t skip = probe ? left_out(vm->more.items[i]) : 0;

		if (skip)
			i += skip - 1;
		else
			words_add(words, "%s", vm->more.items[i]);
	}
}

/* The kernel looks for timer interrupts for a moment, and panics on a machine where QEMU does not get it: that is left out. */
static void add_guest(struct words *words, const struct vm *vm)
{
	words_add(words, "-acpitable");
	words_add(words, "sig=DMAR,rev=1,oem_id=UIOMMU,data=%s/dmar", vm->folder);
	if (!vm->kernel)
		return;
	words_add(words, "-kernel");
	words_add(words, "%s", vm->kernel);
	if (vm->initrd) {
		words_add(words, "-initrd");
		words_add(words, "%s", vm->initrd);
	}
	words_add(words, "-append");
	words_add(words, "console=ttyS0 quiet no_timer_check intel_iommu=on,sm_on%s%s%s", vm->run ? " panic=-1" : "",
		  vm->append ? " " : "", vm->append ? vm->append : "");
}

/* The console is this terminal. As with QEMU's -nographic, Ctrl-A X ends it, and Ctrl-C is the guest's. */
static void add_console(struct words *words)
{
	bool terminal = isatty(STDIN_FILENO);

	words_add(words, "-display");
	words_add(words, "none");
	words_add(words, "-chardev");
	words_add(words, "stdio,id=uiommu-console,signal=off%s", terminal ? ",mux=on" : "");
	words_add(words, "-serial");
	words_add(words, "chardev:uiommu-console");
	if (terminal) {
		words_add(words, "-monitor");
		words_add(words, "chardev:uiommu-console");
	}
}

/* The fourth serial port, so that more of the user's come before; and a guest that panics has ended. */
static void add_status(struct words *words, int fd)
{
	words_add(words, "-chardev");
	words_add(words, "socket,id=uiommu-status,fd=%d", fd);
	words_add(words, "-device");
	words_add(words, "isa-serial,chardev=uiommu-status,index=3");
	words_add(words, "-no-reboot");
}

/* Of the launcher; the user may have others. */
static void add_monitor(struct words *words, int fd)
{
	words_add(words, "-chardev");
	words_add(words, "socket,id=uiommu-qmp,fd=%d", fd);
	words_add(words, "-qmp");
	words_add(words, "chardev:uiommu-qmp");
}

void vm_line(struct words *words, const struct vm *vm, enum vm_line line, int monitor, int status)
{
	if (line != VM_LINE_PRINT)
		words_add(words, "%s", vm->qemu);
	if (line != VM_LINE_PRINT)
		words_add(words, "-nodefaults");
	add_machine(words, vm);
	add_devices(words, vm);
	add_disks(words, vm);
	if (line != VM_LINE_PROBE)
		add_guest(words, vm);
	if (line == VM_LINE_BOOT)
		add_console(words);
	if (line == VM_LINE_BOOT && status >= 0)
		add_status(words, status);
	if (line != VM_LINE_PRINT)
		add_more(words, vm, line == VM_LINE_PROBE);
	if (line == VM_LINE_PROBE) {
		words_add(words, "-snapshot");
		words_add(words, "-display");
		words_add(words, "none");
	}
	if (line != VM_LINE_PRINT)
		add_monitor(words, monitor);
}

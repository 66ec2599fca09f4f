/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uiommu vm: a guest behind a VT-d of ours.
 *
 * The processes: the *launcher*, which the user started; the *server*, a child that has the VT-d, the devices and their sockets,
 * and gives up all rights that these do not need; QEMU, another child; the *keeper*, which removes the guest's folder when launcher
 * and server have ended, in whatever way. A table in the guest's firmware (DMAR) says where the VT-d's registers are, and the
 * guest's firmware decides that. So QEMU is started twice: a *probe* without kernel and table, which ends when the registers have
 * got their address, and then for good. A server lives as long as its QEMU, or for `uiommu qemu-args` as long as the launcher.
 *
 * Guests that share an accelerator share one more process, which has what their servers have: then a server is but the launcher's
 * connection to it (shared.h).
 */
#ifndef CLI_VM_VM_H
#define CLI_VM_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uiommu/vtd.h>
#include <uiommu/walk.h>

#include "cli/args.h"
#include "sandbox/sandbox.h"

enum {
	VM_ENDPOINTS_MAX = 32,
	VM_PORT_SLOT = 4, /* of the first root port; eight to a slot */
	VM_VTD_SLOT = 16,
	VM_SPIN_US_MAX = 1000000,
	VM_PATH_MAX = 96, /* what fits into the address of a socket */
	VM_NAME_MAX = 24, /* of an accelerator that is shared */
};

#define VM_NOWHERE UINT64_MAX

/* A device, alone behind a root port of its own unless it shares one as another function. */
struct vm_endpoint {
	char *model; /* as uiommu_model_create() takes it */
	unsigned int port, function;
	bool wanted; /* @bus was asked for */
	bool is_virtual; /* of an accelerator that is shared (struct vm's @parent) */
	uint8_t bus; /* where the firmware has put the root port's bus; until that is known, where it should */
};

/* What the guest is. */
struct vm {
	struct vm_endpoint endpoints[VM_ENDPOINTS_MAX];
	unsigned int endpoint_count, port_count;
	uint32_t vtd_flags, vtd_capabilities;
	uint64_t pasid_quota; /* of the set from which the guest allocates PASIDs, by virtual commands; 0: it needs none */
	bool on_demand; /* its memory is supplied when it is touched */
	uint64_t memory, cpus;
	const char *accel, *qemu, *kernel, *initrd, *append;
	enum sandbox_mode seccomp; /* of the server, */
	uint32_t spin_us; /* too */
	char *parent; /* name of the accelerator whose virtual devices it has, malloc()ed; NULL: it has none */
	pid_t launcher;
	char *run; /* contents of /main, malloc()ed; or NULL */
	struct arg_list disks, modules, files, more;
	char tools[VM_PATH_MAX * 4]; /* folder of --setup, "" if it is not needed */
	char folder[VM_PATH_MAX]; /* of this guest: sockets, table, initrd; ours alone */
	uint64_t base; /* of the registers; VM_NOWHERE: that is to be found out */
};

/* --- the folder --- */

/* Name the folder of all guests, or of the launcher @pid; or make it. 0 or a negative errno. */
int vm_folder_all(char *path, size_t size);
int vm_folder_name(char *path, size_t size, pid_t pid);
int vm_folder_make(struct vm *vm);
void vm_folder_remove(const char *path);
int vm_write_file(const char *path, const void *data, size_t length);

/* --- the sockets of a server --- */

enum { VM_SOCKET_CONTROL, VM_SOCKET_VTD, VM_SOCKET_DEVICES, VM_SOCKETS_MAX = VM_SOCKET_DEVICES + VM_ENDPOINTS_MAX };

unsigned int vm_socket_count(const struct vm *vm);

/* Listen in the guest's folder. 0, or a negative errno, and none is left open. */
int vm_sockets_open(const struct vm *vm, int *sockets);
void vm_sockets_close(const int *sockets, unsigned int count);

/* --- the table --- */

enum { VM_DMAR_MAX = 512 };

/* What follows the header of a DMAR. Returns the length. */
size_t vm_dmar(const struct vm *vm, uint8_t *table);

/* --- the file system of a guest that brings none --- */

/* Writes @vm's modules and files, busybox and init. False: a complaint was made. */
bool vm_initrd(const struct vm *vm, const char *path);

/* --- QEMU's line --- */

struct words {
	char **words; /* NULL at the end; malloc()ed as each of them */
	size_t count, room;
	bool failed; /* no memory */
};

void words_add(struct words *words, const char *format, ...) __attribute__((format(printf, 2, 3)));
void words_free(struct words *words);

enum vm_line {
	VM_LINE_PROBE, /* no kernel, no disk is written, nothing of the user's */
	VM_LINE_BOOT,
	VM_LINE_PRINT, /* without what is between the user and QEMU */
};

/* Descriptors for QEMU, not for PRINT: its monitor's; and BOOT: where the guest tells the status of what it ran, or -1. */
void vm_line(struct words *words, const struct vm *vm, enum vm_line line, int monitor, int status);

/* --- the server --- */

enum vm_event_type {
	VM_EVENT_READY, /* it listens */
	VM_EVENT_PLACED, /* @address: of the registers, as the firmware put it */
	VM_EVENT_FAILED, /* @text: why it ends */
	VM_EVENT_LOG, /* @text: of a server that has no standard error */
};

/* What a server says to its launcher, through a pipe. */
struct vm_event {
	uint32_t type;
	uint32_t reserved;
	uint64_t address;
	char text[240];
};

/* In a process of its own, until SIGTERM, which is blocked when it begins. Returns its exit status. */
int vm_serve(const struct vm *vm, int events);

/*
 * The same, for a guest that shares an accelerator: what it has is made in another process, which serves all guests that name the
 * same accelerator (shared.h).
 */
int vm_join(const struct vm *vm, int events, const int *sockets);

/* --- the monitor --- */

struct qmp {
	int fd;
	char *text; /* what has come and is not used yet */
	size_t length, room;
};

/* Say it. */
int qmp_send(struct qmp *qmp, const char *command);
/* The next whole message that has come, or NULL. 0, -EAGAIN (none yet), -EPIPE (it has ended), -EPROTO. */
int qmp_receive(struct qmp *qmp, struct json_object **out);
/* Of the answer to query-pci: the bus behind the bridge @id, or -ENOENT. */
int qmp_bus_behind(struct json_object *answer, const char *id);

/* --- a look into a server --- */

/* What an entry is called, and its fields: flags and addresses only if they are not 0. */
const char *vm_entry_name(const struct uiommu_walk_step *step);
struct json_object *vm_entry_fields(const struct uiommu_walk_step *step);

/* uiommu ls --vm */
enum status vm_look_ls(const struct command *command, bool json);
/* uiommu fault --vm; at most @count of each guest */
enum status vm_look_faults(const struct command *command, bool json, uint64_t count);

/* --- the launcher --- */

/*
 * Boots it and waits for its end, or prints the line and waits for a signal. A guest that was to run a command: the status of that,
 * if it has come so far.
 */
enum status vm_launch(struct vm *vm, bool print);

/* A program or script that belongs to this one: in the build, or where it has been installed. */
bool vm_find(char *path, size_t size, const char *name);

#endif

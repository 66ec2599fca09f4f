/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another process's memory, through a handle bundle.
 *
 * Everything here may sleep, for ever in the worst case. Only the data layer calls it, outside of RCU sections, with the
 * attachment entered. docs/security.md says which call is permitted for what; process.c carries the reasons.
 */
#ifndef MEMORY_PROCESS_H
#define MEMORY_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uiommu/bind.h>

struct process;

/* A file, as long as somebody has it open. */
struct file_id {
	dev_t device;
	ino_t inode;
};

/* One mapping of a process, as the kernel describes it. */
struct process_vma {
	uint64_t start;
	uint64_t end;
	unsigned int access; /* enum uiommu_access */
	struct file_id file; /* of what is mapped; 0: none */
	uint64_t offset; /* of @start in it */
	bool shared; /* what is written there is in the file */
	char name[80]; /* file or kind, shortened in front; as @file and @offset only filled by process_describe() */
};

/* One piece of a vectored read or write. */
struct process_piece {
	uint64_t address;
	void *buffer; /* read: private to the caller, so that a late one has no effect */
	size_t length;
	size_t done; /* out */
	unsigned int reason; /* out: enum uiommu_fault_reason if done < length */
};

/* True if the kernel makes handles honour protections (proc_mem.force_override), so that nobody has to ask. */
bool process_handle_honours(void);

/*
 * Verify and duplicate a bundle; record the identity (process, address space, AT_RANDOM bytes). @without: enum uiommu_fallback.
 * Errors as uiommu_bind().
 */
int process_open(const struct uiommu_process *bundle, unsigned int access, unsigned int without, struct process **out);

/* The calling process. Uses direct access where the fault handler is installed (see copy.h), else system calls on itself. */
int process_open_self(unsigned int access, unsigned int without, struct process **out);

void process_close(struct process *process);

/* A process that is to be bound, by its files. */
struct process_name {
	const struct uiommu_process *bundle;
	unsigned int access;
	unsigned int without;
	struct file_id mem;
};

/* False: it is no bundle. */
bool process_name(const struct uiommu_process *bundle, unsigned int access, unsigned int without, struct process_name *out);

/*
 * Was @process opened of these very files, in the same way, and is it still what it was? Then another process_open() would look at
 * them again only to find its equal. False where nobody can tell without looking at memory: before Linux 6.10, or without an exec
 * event.
 */
bool process_is(struct process *process, const struct process_name *name);

/* Same process, same address space, same access, same mode: may be one bind. */
bool process_equal(struct process *a, struct process *b);

/* The calling process with direct access: addresses are pointers, and memory/copy.h may touch them. */
bool process_is_direct(const struct process *process);

unsigned int process_access(const struct process *process);
pid_t process_pid(const struct process *process);

/* All its threads have ended. Never sleeps. */
bool process_has_ended(const struct process *process);

/* Read pieces; those in a row become one system call. Every piece gets its own result. */
void process_readv(struct process *process, struct process_piece *pieces, size_t count);

/* Write pieces, in their order; one does not stop those after it. */
void process_writev(struct process *process, struct process_piece *pieces, size_t count);

/* Write. Returns bytes done; @reason is set if that is less than @length, and then the byte at address + done is what failed. */
size_t process_write(struct process *process, uint64_t address, const void *data, size_t length, unsigned int *reason);

/* What is at @address: 0 and the mapping that contains it, or -ENOENT and the next one above (start 0 and end 0 if there is none),
 * or -ESRCH. */
int process_describe(struct process *process, uint64_t address, struct process_vma *out);

#endif

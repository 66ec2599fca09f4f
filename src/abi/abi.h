/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that answer ioctls as Linux's do, and those who call them.
 *
 * A *file* is what a descriptor refers to: an iommufd, one of the event queues that it hands out, a VFIO device, group or
 * container. It has references; with the last one everything that it owned ends.
 *
 * A *caller* is a process that has such descriptors: this one (local.c), or the client of a session daemon. What the files need of
 * it is its memory (struct abi_memory) and its table of descriptors (struct abi_caller_ops). They see addresses and numbers of the
 * caller, never those of whoever serves it.
 *
 * Everything here may be called from any thread, for as many callers at once as there are. What takes memory away (unmap, destroy,
 * detach, the end of a file) waits for accesses of devices that are in flight; nothing else waits. No lock is held in ops.
 */
#ifndef ABI_ABI_H
#define ABI_ABI_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uiommu/bind.h>
#include <urcu/list.h>

enum { ABI_NAME_BYTES = 40 };

struct abi_caller;
struct abi_file;
struct process;
struct uiommu_device;

/*
 * Somebody in a process who can do what nobody can do from outside. swap(): compare-and-swap of @length (4 or 8) bytes, aligned to
 * that; *@expected becomes what was there. False: it cannot be done. It is done when it returns, or never will be; so it waits for
 * as long as the process is stopped, or the page does not come, and ends with the process.
 */
struct abi_swapper {
	bool (*swap)(struct abi_swapper *swapper, uint64_t address, unsigned int length, uint64_t *expected, uint64_t value);
};

/* What a device did to memory, or tried: an access of @length bytes of which @done could be done, @reason says why not more. */
struct abi_use {
	uint64_t address, length, done;
	unsigned int access, reason;
	uint64_t since; /* what pinned() said when it was mapped */
	const struct uiommu_device *device; /* NULL: an IOMMU that walks tables */
	uint64_t iova;
	uint32_t pasid; /* or UIOMMU_NO_PASID */
};

/*
 * Somebody who is told what devices can reach of a memory, and what they reach. The first two with a space locked, so that they
 * wait for nothing, and as often as each other; used() may wait.
 */
struct abi_observer {
	/* A number, larger each time. */
	uint64_t (*pinned)(struct abi_observer *observer, uint64_t address, uint64_t length, uint64_t iova);
	void (*unpinned)(struct abi_observer *observer, uint64_t address, uint64_t length);
	void (*used)(struct abi_observer *observer, const struct abi_use *use);
	/* What was mapped by a descriptor has gone from its file (abi_pages_cut()), from @iova on. It waits for nothing, either. */
	void (*cut)(struct abi_observer *observer, uint64_t iova, uint64_t length, unsigned int how);
	/* The memory's last reference has been put. */
	void (*free)(struct abi_observer *observer);
};

/*
 * An address space, and what is accounted to it. References are a caller's, and of whatever is mapped of it: the memory of a
 * process stays what it is after the caller has gone.
 */
struct abi_memory {
	struct cds_list_head link; /* in that of all */
	unsigned int references; /* atomic */
	struct process *process;
	bool own; /* this process's: addresses are pointers */
	struct uiommu_process bundle; /* by which it can be bound; of another process's */
	uint64_t pinned; /* bytes that count as pinned, atomic: VmPin of a real kernel */
	uint64_t locked; /* of them those that are accounted to the memory and not to its user, atomic: VmLck */
	uint64_t lock_limit; /* RLIMIT_MEMLOCK, atomic */
	pthread_mutex_t swap_lock; /* a leaf; held during a swap, so that there is one at a time: */
	struct abi_swapper *swapper;
	struct abi_observer *observer; /* or NULL; set before anything is mapped */
};

/* @bundle: borrowed; NULL: this process. Errors as uiommu_bind(). The limit is that of this process until it is set. */
int abi_memory_create(const struct uiommu_process *bundle, struct abi_memory **out);
struct abi_memory *abi_memory_get(struct abi_memory *memory);
void abi_memory_put(struct abi_memory *memory);
void abi_memory_set_limit(struct abi_memory *memory, uint64_t bytes);

/* Which limit is looked at. */
enum abi_accounting {
	ABI_ACCOUNT_USER, /* of all that this process serves: they are one user's */
	ABI_ACCOUNT_MEMORY, /* of the memory */
	ABI_ACCOUNT_NONE, /* none: CAP_IPC_LOCK */
};

/* @bytes more, or less, count as pinned. -ENOMEM: beyond the limit. */
int abi_memory_charge(struct abi_memory *memory, uint64_t bytes, enum abi_accounting accounting);
void abi_memory_uncharge(struct abi_memory *memory, uint64_t bytes, enum abi_accounting accounting);

/* All @length bytes, or -EFAULT. */
int abi_memory_read(struct abi_memory *memory, uint64_t address, void *out, size_t length);
int abi_memory_write(struct abi_memory *memory, uint64_t address, const void *data, size_t length);

/* Only one: -EBUSY. It stays until it is taken away, which waits for what it is doing. */
int abi_memory_set_swapper(struct abi_memory *memory, struct abi_swapper *swapper);
void abi_memory_end_swapper(struct abi_memory *memory);

/* As its swapper does it, of another process's memory. -EFAULT: it cannot be done; -ESRCH: the process has ended. */
int abi_memory_swap(struct abi_memory *memory, uint64_t address, unsigned int length, uint64_t *expected, uint64_t value);

/*
 * Another memory that has the byte at @offset of a file mapped, shared, and where; with a reference. NULL: there is none. @alike:
 * not this one.
 */
struct abi_memory *abi_memory_with(const struct abi_memory *alike, uint64_t device, uint64_t inode, uint64_t offset,
				   uint64_t *address, uint64_t *length);

/* Is all of it mapped, with @access (enum uiommu_access)? -EFAULT; -ENOMEM: nobody can tell. */
int abi_memory_check(struct abi_memory *memory, uint64_t address, uint64_t length, unsigned int access);

struct abi_caller_ops {
	/*
	 * What its descriptor @number refers to: one of our files, with a reference, or else *@fd is a duplicate, for the one who
	 * asks to close, and *@file is NULL. -EBADF, -EMFILE.
	 */
	int (*descriptor)(struct abi_caller *caller, int number, struct abi_file **file, int *fd);
	/*
	 * A new descriptor for @file, close-on-exec, whose number is written to @where (32 bits) of its memory; if that is 0 it is
	 * what the ioctl returns. Always the last thing of a call, so that it may be done by whoever gets the answer. Takes over
	 * the reference, if it succeeds. Returns what the ioctl returns: 0, the number, -EMFILE, -EFAULT, -ENOMEM.
	 */
	int (*install)(struct abi_caller *caller, struct abi_file *file, uint64_t where);
	/* Has it this capability (CAP_...)? */
	bool (*capable)(struct abi_caller *caller, int capability);
	/*
	 * As abi_memory_read() and abi_memory_write(), by the caller itself, which then is the one that waits for memory that does
	 * not come; NULL: whoever serves the call does it.
	 */
	int (*read)(struct abi_caller *caller, uint64_t address, void *out, size_t length);
	int (*write)(struct abi_caller *caller, uint64_t address, const void *data, size_t length);
};

/* Embedded by whoever makes one. All stays for the length of a call. */
struct abi_caller {
	const struct abi_caller_ops *ops;
	struct abi_memory *memory;
	/* What is in its memory at @window_address: as it was when it called, and as it was changed since then; NULL: not known. */
	uint8_t *window;
	uint64_t window_address;
	size_t window_length;
	bool traps; /* it can map what is no memory: each access becomes a call */
	struct abi_record *record; /* of the call; NULL: nobody wants to know (abi/record.h) */
	bool swaps; /* set by a call: what it has mapped may be page tables, so that a swapper is needed */
};

/* Its memory for the length of a call: all of it, or -EFAULT. What it has sent along is not asked for. */
int abi_caller_read(struct abi_caller *caller, uint64_t address, void *out, size_t length);
/* The window has just been read by the caller, so there nobody waits. */
int abi_caller_write(struct abi_caller *caller, uint64_t address, const void *data, size_t length);

/* What is mapped of a file: a range of @fd, which is the file's and stays as long as it; -1: nothing, for a caller who @traps. */
struct abi_mapping {
	int fd;
	int protection; /* at most; PROT_... */
	uint64_t offset;
	bool watched; /* whoever can catch writes to it gives it a watcher */
	bool native; /* @fd is the file's descriptor, and @offset what was asked for: who has one can map it himself */
};

/*
 * Somebody who can catch the next write to one mapping. protect() takes the right to write from it: false, it has gone. It waits
 * for nothing. The first write then waits; the right is given back, and abi_touched() is called after that.
 */
struct abi_watcher {
	struct cds_list_head link; /* the file's */
	bool (*protect)(struct abi_watcher *watcher);
};

/* A NULL is what a file without it has in Linux: ENOTTY of ioctl, EINVAL of read and write, ENODEV of mmap. */
struct abi_file_ops {
	/* "anon_inode:[iommufd-pgfault]", "/dev/iommu": the link that it has in /proc/PID/fd of a kernel. */
	const char *name;
	/* Returns what ioctl(2) does, or -errno. */
	int (*ioctl)(struct abi_file *file, struct abi_caller *caller, unsigned int command, uint64_t argument);
	/* @address: of the caller; @offset: pread's and pwrite's; of read and write the file position. Neither blocks. */
	ssize_t (*read)(struct abi_file *file, struct abi_caller *caller, uint64_t address, size_t count, uint64_t offset);
	ssize_t (*write)(struct abi_file *file, struct abi_caller *caller, uint64_t address, size_t count, uint64_t offset);
	/*
	 * @flags: of mmap(2). After success the caller maps *@out, and says abi_munmap() of the same range once no process has it
	 * mapped any more; nothing is asked of a range that is mapped several times but that each is told.
	 */
	int (*mmap)(struct abi_file *file, struct abi_caller *caller, uint64_t offset, uint64_t length, int protection, int flags,
		    struct abi_mapping *out);
	void (*munmap)(struct abi_file *file, uint64_t offset, uint64_t length);
	/* A watcher of a mapping from now on, until it is taken away. NULL: mappings are not watched. */
	void (*watch)(struct abi_file *file, struct abi_watcher *watcher);
	void (*unwatch)(struct abi_file *file, struct abi_watcher *watcher);
	void (*touched)(struct abi_file *file);
	/* The last reference has been put: the end, from whatever thread; waits for accesses in flight. */
	void (*release)(struct abi_file *file);
};

/*
 * Embedded. @descriptor stands for the file in its callers: they get duplicates of it. poll(2) of it says what poll of the real one
 * does, and it is the file's to write to; a memfd (always ready) where nothing is ever waited for.
 */
struct abi_file {
	const struct abi_file_ops *ops;
	unsigned int references; /* atomic */
	int descriptor;
	char name[ABI_NAME_BYTES]; /* for people: the operations', until somebody knows a better one */
};

/* One reference, the creator's. @descriptor is the file's from now on, and is closed by abi_file_fini(), which release() calls. */
void abi_file_init(struct abi_file *file, const struct abi_file_ops *ops, int descriptor);
void abi_file_fini(struct abi_file *file);
/* Before anybody else has the file. */
__attribute__((format(printf, 2, 3))) void abi_file_call(struct abi_file *file, const char *format, ...);
struct abi_file *abi_file_get(struct abi_file *file);
/* False: it has none any more, and is about to end. */
bool abi_file_get_unless_ended(struct abi_file *file);
void abi_file_put(struct abi_file *file);

/* A descriptor that is always ready, and that fstat(2) tells from any other. -EMFILE, -ENOMEM. */
int abi_descriptor(const char *name);

/* The calls: what the system call returns, or -errno. @file has a reference of the caller's. */
int abi_ioctl(struct abi_file *file, struct abi_caller *caller, unsigned int command, uint64_t argument);
ssize_t abi_read(struct abi_file *file, struct abi_caller *caller, uint64_t address, size_t count, uint64_t offset);
ssize_t abi_write(struct abi_file *file, struct abi_caller *caller, uint64_t address, size_t count, uint64_t offset);
int abi_mmap(struct abi_file *file, struct abi_caller *caller, uint64_t offset, uint64_t length, int protection, int flags,
	     struct abi_mapping *out);
void abi_munmap(struct abi_file *file, uint64_t offset, uint64_t length);
/* @watcher stays until it is taken away; only of a file that has said that a mapping is watched. Somebody writes: abi_touched(). */
void abi_watch(struct abi_file *file, struct abi_watcher *watcher);
void abi_unwatch(struct abi_file *file, struct abi_watcher *watcher);
void abi_touched(struct abi_file *file);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* A caller's memory. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "abi/abi.h"
#include "abi/record.h"
#include "memory/process.h"
#include "util/util.h"

static uint64_t limit_of_this_process(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static CDS_LIST_HEAD(all); /* struct abi_memory */

static int duplicate_one(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* False: there are no more descriptors. */
static bool duplicate(const struct uiommu_process *bundle, struct uiommu_process *out)
{
	out->mem = duplicate_one(bundle->mem);
	out->maps = duplicate_one(bundle->maps);
	out->pidfd = duplicate_one(bundle->pidfd);
	out->auxv = duplicate_one(bundle->auxv);
	out->exec = duplicate_one(bundle->exec);
	if (out->mem >= 0 && out->pidfd >= 0 && (out->maps >= 0 || bundle->maps < 0) && (out->auxv >= 0 || bundle->auxv < 0) &&
	    (out->exec >= 0 || bundle->exec < 0))
		return true;
	uiommu_process_close(out);
	return false;
}

int abi_memory_create(const struct uiommu_process *bundle, struct abi_memory **out)
{
	const unsigned int access = UIOMMU_READ | UIOMMU_WRITE;
	struct abi_memory *memory = calloc(1, sizeof(*memory));
	int error;

	if (!memory)
		return -ENOMEM;
	memory->references = 1;
	memory->own = !bundle;
	memory->bundle = (struct uiommu_process){-1, -1, -1, -1, -1};
	memory->lock_limit = limit_of_this_process();
	pthread_mutex_init(&memory->swap_lock, NULL);
	error = bundle ? process_open(bundle, access, 0, &memory->process) : process_open_self(access, 0, &memory->process);
	if (!error && bundle && !duplicate(bundle, &memory->bundle)) {
		process_close(memory->process);
		error = -EMFILE;
	}
	if (error) {
		pthread_mutex_destroy(&memory->swap_lock);
		free(memory);
		return error;
	}
	pthread_mutex_lock(&all_lock);
	cds_list_add_tail(&memory->link, &all);
	pthread_mutex_unlock(&all_lock);
	*out = memory;
	return 0;
}

/* False: it has none any more. */
static bool get_unless_ended(struct abi_memory *memory)
{
	unsigned int references = __atomic_load_n(&memory->references, __ATOMIC_RELAXED);

	while (references && !__atomic_compare_exchange_n(&memory->references, &references, references + 1, false, __ATOMIC_RELAXED,
							  __ATOMIC_RELAXED))
		;
	return references;
}

/* Where in @memory it is. */
static bool find_file(const struct abi_memory *memory, const struct file_id *file, uint64_t offset, uint64_t *address,
		      uint64_t *length)
{
	struct process_vma vma = {0};
	int error;

	do {
		error = process_describe(memory->process, vma.end, &vma);
		if ((!error || error == -ENOENT) && vma.shared && vma.file.inode == file->inode &&
		    vma.file.device == file->device && offset >= vma.offset && offset - vma.offset < vma.end - vma.start) {
			*address = vma.start + (offset - vma.offset);
			*length = vma.end - *address;
			return true;
		}
	} while ((!error || error == -ENOENT) && vma.end);
	return false;
}

/* The next one, with a reference; of NULL, the first. Whoever puts the last reference waits for the lock before anything ends. */
static struct abi_memory *next_of(struct abi_memory *memory)
{
	struct cds_list_head *link;
	struct abi_memory *next = NULL;

	pthread_mutex_lock(&all_lock);
	for (link = memory ? memory->link.next : all.next; link != &all && !next; link = link->next) {
		struct abi_memory *other = cds_list_entry(link, struct abi_memory, link);

		if (get_unless_ended(other))
			next = other;
	}
	pthread_mutex_unlock(&all_lock);
	return next;
}

struct abi_memory *abi_memory_with(const struct abi_memory *alike, uint64_t device, uint64_t inode, uint64_t offset,
				   uint64_t *address, uint64_t *length)
{
	const struct file_id file = {.device = device, .inode = inode};
	struct abi_memory *memory = next_of(NULL), *next;

	/* Not under the lock: a process may keep who asks for its mappings waiting. */
	while (memory && (memory == alike || !find_file(memory, &file, offset, address, length))) {
		next = next_of(memory);
		abi_memory_put(memory);
		memory = next;
	}
	return memory;
}

struct abi_memory *abi_memory_get(struct abi_memory *memory)
{
	__atomic_fetch_add(&memory->references, 1, __ATOMIC_RELAXED);
	return memory;
}

void abi_memory_put(struct abi_memory *memory)
{
	if (__atomic_sub_fetch(&memory->references, 1, __ATOMIC_ACQ_REL))
		return;
	pthread_mutex_lock(&all_lock);
	cds_list_del(&memory->link);
	pthread_mutex_unlock(&all_lock);
	process_close(memory->process);
	if (memory->observer)
		memory->observer->free(memory->observer);
	if (!memory->own)
		uiommu_process_close(&memory->bundle);
	pthread_mutex_destroy(&memory->swap_lock);
	free(memory);
}

int abi_memory_set_swapper(struct abi_memory *memory, struct abi_swapper *swapper)
{
	int error;

	pthread_mutex_lock(&memory->swap_lock);
	error = memory->swapper ? -EBUSY : 0;
	if (!error)
		memory->swapper = swapper;
	pthread_mutex_unlock(&memory->swap_lock);
	return error;
}

void abi_memory_end_swapper(struct abi_memory *memory)
{
	pthread_mutex_lock(&memory->swap_lock);
	memory->swapper = NULL;
	pthread_mutex_unlock(&memory->swap_lock);
}

int abi_memory_swap(struct abi_memory *memory, uint64_t address, unsigned int length, uint64_t *expected, uint64_t value)
{
	struct process_vma vma;
	int error = process_describe(memory->process, address, &vma);
	bool done;

	/* What is not to be written is known without a fault, which would be the program's to handle. */
	if (error || !(vma.access & UIOMMU_WRITE))
		return error == -ESRCH ? error : -EFAULT;
	pthread_mutex_lock(&memory->swap_lock);
	done = memory->swapper && memory->swapper->swap(memory->swapper, address, length, expected, value);
	pthread_mutex_unlock(&memory->swap_lock);
	return done ? 0 : -EFAULT;
}

void abi_memory_set_limit(struct abi_memory *memory, uint64_t bytes)
{
	__atomic_store_n(&memory->lock_limit, bytes, __ATOMIC_RELAXED);
}

/* What is accounted to the user, of all memories. */
static uint64_t user_locked;

static uint64_t *counter_of(struct abi_memory *memory, enum abi_accounting accounting)
{
	return accounting == ABI_ACCOUNT_NONE ? NULL : accounting == ABI_ACCOUNT_USER ? &user_locked : &memory->locked;
}

int abi_memory_charge(struct abi_memory *memory, uint64_t bytes, enum abi_accounting accounting)
{
	uint64_t *counter = counter_of(memory, accounting), sum;
	uint64_t locked = counter ? __atomic_load_n(counter, __ATOMIC_RELAXED) : 0;

	do {
		if (!counter)
			break;
		if (__builtin_add_overflow(locked, bytes, &sum) || sum > __atomic_load_n(&memory->lock_limit, __ATOMIC_RELAXED))
			return -ENOMEM;
	} while (!__atomic_compare_exchange_n(counter, &locked, sum, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	__atomic_fetch_add(&memory->pinned, bytes, __ATOMIC_RELAXED);
	return 0;
}

void abi_memory_uncharge(struct abi_memory *memory, uint64_t bytes, enum abi_accounting accounting)
{
	uint64_t *counter = counter_of(memory, accounting);

	if (counter)
		__atomic_fetch_sub(counter, bytes, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&memory->pinned, bytes, __ATOMIC_RELAXED);
}

int abi_memory_read(struct abi_memory *memory, uint64_t address, void *out, size_t length)
{
	struct process_piece piece = {.address = address, .buffer = out, .length = length};

	if (!length)
		return 0;
	process_readv(memory->process, &piece, 1);
	return piece.done == length ? 0 : -EFAULT;
}

int abi_memory_write(struct abi_memory *memory, uint64_t address, const void *data, size_t length)
{
	unsigned int reason;

	return !length || process_write(memory->process, address, data, length, &reason) == length ? 0 : -EFAULT;
}

/* NULL: it is not in the window. */
static uint8_t *in_window(const struct abi_caller *caller, uint64_t address, size_t length)
{
	uint64_t before = address - caller->window_address;

	if (!caller->window || before > caller->window_length || length > caller->window_length - before)
		return NULL;
	return caller->window + before;
}

int abi_caller_read(struct abi_caller *caller, uint64_t address, void *out, size_t length)
{
	const uint8_t *known = in_window(caller, address, length);
	int error = 0;

	if (known)
		memcpy(out, known, length);
	else if (length && caller->ops->read)
		error = caller->ops->read(caller, address, out, length);
	else
		error = abi_memory_read(caller->memory, address, out, length);
	if (!error)
		abi_record_memory(caller->record, address, out, length, false);
	return error;
}

int abi_caller_write(struct abi_caller *caller, uint64_t address, const void *data, size_t length)
{
	uint8_t *known = in_window(caller, address, length);
	int error;

	if (!known && length && caller->ops->write)
		error = caller->ops->write(caller, address, data, length);
	else
		error = abi_memory_write(caller->memory, address, data, length);
	if (error)
		return error;
	if (known)
		memcpy(known, data, length);
	abi_record_memory(caller->record, address, data, length, true);
	return 0;
}

int abi_memory_check(struct abi_memory *memory, uint64_t address, uint64_t length, unsigned int access)
{
	struct process_vma vma;
	uint64_t end;

	if (__builtin_add_overflow(address, length, &end))
		return -EFAULT;
	while (address < end) {
		int error = process_describe(memory->process, address, &vma);

		if (error && error != -ENOENT && error != -ESRCH)
			return -ENOMEM;
		if (error || (vma.access & access) != access)
			return -EFAULT;
		address = vma.end;
	}
	return 0;
}

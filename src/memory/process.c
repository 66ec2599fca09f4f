/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another process's memory.
 *
 * There are two ways, and both have a hole. process_vm_readv() honours the protection of every page, but takes a pid: the process
 * may have executed another program, perhaps one with more rights than its own, or the pid may be another process's by now. A
 * handle (an open /proc/PID/mem) means one address space for ever, but reads PROT_NONE pages and writes read-only ones.
 *
 * Reads by pid. The first piece of every call is the cookie, the 16 random bytes that the kernel gave the program at its start. One
 * call resolves one address space, so if the cookie is what it was at bind, all the data is of that address space, provided
 * that the pid still meant this process: a recycled pid may be a fork child, which has inherited the bytes. So the pidfd is asked
 * afterwards. Otherwise nothing counts, and the buffer is wiped.
 *	A process can choose where its AT_RANDOM is (PR_SET_MM_MAP needs no privilege) and what is there, so it could give itself a
 * cookie that it finds again in a set-uid program. That gains nothing as long as the reader has no more rights than the owner of
 * the handle: the kernel refuses such a program to both. It would if the reader had CAP_SYS_PTRACE; so whoever has it reads by
 * handle only, unless it opened the bundle itself.
 *
 * Reads by handle, where the pid is of no use: the same question as for writes.
 *
 * Writes always use the handle, because a write by pid cannot be taken back. Right before every pwrite() of at most
 * WRITE_WINDOW bytes of one mapping, or a few small ones of one call that are no more together, the kernel is asked whether the
 * mapping is writable. Between the two the process itself can change the protection (mprotect, munmap and a new mapping); that is a
 * race of its own threads against a DMA of microseconds, in its own memory. What can never happen is that the bytes land in another
 * address space.
 *
 * After exec or exit the handle's address space has lost its user, and the handle gives 0 bytes: unless another process shares
 * it (CLONE_VM) and goes on. Therefore, once per call and every IDENTITY_BYTES, before anything is written, and after every read:
 * the pidfd and the exec event (watch.h) are quiet. An event that has hung up means the end, unless only the first thread is gone.
 *	A bundle may have no event. Then, before a write, the cookie by pid is as recorded, and then the pidfd says that the process
 * is alive; in this order, since only that tells whose cookie it was. Where reading by pid is not allowed the pidfd alone is
 * asked. What remains there: after an exec with such a sibling alive, the handle goes on to reach the sibling's address space, the
 * one that it was opened for.
 *
 * When the pid stops being readable later (the process became non-dumpable or changed its ids, or its first thread has
 * ended) the authority of the handle is not revoked: the same rules as if it had never been. When the cookie by pid differs, the
 * handle tells which: if it still reads the recorded bytes, the process has another address space now; if it reads something else,
 * too, the process has overwritten them itself, and only the pid is of no use any more.
 */
#include "memory/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "memory/bundle.h"
#include "memory/calls.h"
#include "memory/copy.h"
#include "memory/vma.h"
#include "memory/watch.h"
#include "util/util.h"

enum {
	GROUP_PIECES = 64, /* of one process_vm_readv() */
	GROUP_BYTES = 1 << 20,
	READ_WINDOW = 128 << 10, /* of one question and one pread() */
	WRITE_WINDOW = 128 << 10, /* of one question and one pwrite(), or of so many small ones: */
	ANSWER_PIECES = 4,
	IDENTITY_BYTES = 1 << 20,
};

/* Offsets of a file are signed; no process has memory up there. */
static const uint64_t ADDRESS_END = UINT64_C(1) << 63;

struct process {
	struct vmas vmas;
	struct watch watch;
	int mem;
	pid_t pid;
	unsigned int access;
	unsigned int without;
	bool direct;
	bool by_pid;
	bool ask; /* the handle does not honour protections */
	bool has_cookie;
	uint64_t cookie_address;
	uint8_t cookie[COOKIE_SIZE];
	struct file_id mem_id, auxv_id;
};

/* Who is behind the pid and the handle. */
enum identity {
	SAME, /* the pid has the address space of the handle */
	HANDLE_ONLY, /* the process is alive; the pid tells no more */
	GONE,
};

/*
 * The exec event has hung up because the first thread has ended, and the process goes on without it: then nothing is behind the
 * pid, until another thread executes a program. To be told so takes no rights.
 */
static bool goes_on(const struct process *process)
{
	uint8_t byte;

	return process->watch.event >= 0 && !(process->without & UIOMMU_WITHOUT_PROCESS_VM) &&
	       pid_peek(process->pid, process->cookie_address, &byte, 1) == -ESRCH && pidfd_alive(process->watch.pidfd);
}

/* With an exec event: and has the address space that was bound. */
static bool alive(struct process *process)
{
	return likely(watch_quiet(&process->watch)) || goes_on(process);
}

/* @seen: the cookie by pid, @n: bytes of it or -errno. */
static enum identity judge(struct process *process, ssize_t n, const uint8_t *seen)
{
	uint8_t now[COOKIE_SIZE];
	ssize_t through_handle;

	if (!alive(process))
		return GONE;
	if (likely(n >= COOKIE_SIZE && !memcmp(seen, process->cookie, COOKIE_SIZE)))
		return SAME;
	if (n < 0 && n != -EFAULT)
		return HANDLE_ONLY;
	through_handle = handle_peek(process->mem, process->cookie_address, now, COOKIE_SIZE);
	if (through_handle == 0 || (through_handle == COOKIE_SIZE && !memcmp(now, process->cookie, COOKIE_SIZE)))
		return GONE;
	return HANDLE_ONLY;
}

/* Before a write. */
static bool ended(struct process *process)
{
	uint8_t seen[COOKIE_SIZE] = {0};

	if (process->watch.event >= 0 || !process->by_pid)
		return !alive(process);
	return judge(process, pid_peek(process->pid, process->cookie_address, seen, COOKIE_SIZE), seen) == GONE;
}

/* What the kernel said of a mapping, and how much may still rest on it: no more pieces, and no more bytes, than one window. */
struct answer {
	struct process_vma vma;
	unsigned int pieces;
	uint64_t bytes;
};

/* May @access be done at @address? A reason; *@length is clipped to the mapping. Asks, unless @answer still covers it. */
static unsigned int ask(struct process *process, uint64_t address, unsigned int access, uint64_t *length, struct answer *answer)
{
	struct process_vma *vma = &answer->vma;
	int rc;

	if (answer->pieces && *length <= answer->bytes && address >= vma->start && address + *length <= vma->end) {
		answer->pieces--;
		answer->bytes -= *length;
		return UIOMMU_FAULT_NONE;
	}
	answer->pieces = 0;
	if (process->vmas.fd < 0)
		return UIOMMU_FAULT_PERMISSION; /* without maps a handle moves no data */
	rc = vmas_find(&process->vmas, address, false, vma);
	if (rc == -ESRCH)
		return UIOMMU_FAULT_GONE;
	if (rc == -ENOENT)
		return UIOMMU_FAULT_UNMAPPED;
	if (rc)
		return UIOMMU_FAULT_MEMORY;
	*length = min_u64(*length, vma->end - address);
	if (!(vma->access & access))
		return UIOMMU_FAULT_PERMISSION;
	answer->pieces = ANSWER_PIECES - 1;
	answer->bytes = WRITE_WINDOW - *length;
	return UIOMMU_FAULT_NONE;
}

/* Why the kernel refused to touch @address. */
static unsigned int explain(struct process *process, uint64_t address, unsigned int access)
{
	struct answer answer = {.pieces = 0};
	uint64_t length = 1;
	unsigned int reason = ask(process, address, access, &length, &answer);

	return reason ? reason : UIOMMU_FAULT_MEMORY;
}

/* One window through the handle. Bytes done; 0 with a reason. */
static uint64_t handle_window(struct process *process, uint64_t address, void *buffer, uint64_t length, unsigned int access,
			      struct answer *answer, unsigned int *reason)
{
	ssize_t n;

	*reason = process->ask || process->vmas.fd < 0 ? ask(process, address, access, &length, answer) : UIOMMU_FAULT_NONE;
	if (*reason)
		return 0;
	do
		n = access == UIOMMU_WRITE ? call_pwrite(process->mem, buffer, length, address)
					   : call_pread(process->mem, buffer, length, address);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return (uint64_t)n;
	*reason = n ? explain(process, address, access) : UIOMMU_FAULT_GONE;
	return 0;
}

/* Read through the handle up to the first byte that fails. */
static uint64_t handle_read(struct process *process, uint64_t address, void *buffer, uint64_t length, unsigned int *reason)
{
	struct answer answer = {.pieces = 0};
	uint64_t done = 0, n;

	for (*reason = UIOMMU_FAULT_NONE; done < length && !*reason; done += n) {
		n = handle_window(process, address + done, (uint8_t *)buffer + done, min_u64(length - done, READ_WINDOW),
				  UIOMMU_READ, &answer, reason);
		/* Only now is it known to be the process's memory still. */
		if (n && !alive(process)) {
			memset((uint8_t *)buffer + done, 0, n);
			*reason = UIOMMU_FAULT_GONE;
			n = 0;
		}
	}
	return done;
}

/* Where a vectored call stands: in which piece; how far is in the piece's @done. */
static bool piece_ended(struct process_piece *piece)
{
	return piece->done == piece->length || piece->reason;
}

static void piece_fail(struct process_piece *piece, unsigned int reason)
{
	if (piece->done < piece->length)
		piece->reason = reason;
}

static void fail_all(struct process_piece *pieces, size_t count, unsigned int reason)
{
	for (size_t i = 0; i < count; i++)
		if (!piece_ended(&pieces[i]))
			piece_fail(&pieces[i], reason);
}

/* Bytes of @piece that are left, as far as addresses go. */
static uint64_t piece_left(const struct process_piece *piece)
{
	uint64_t address = piece->address + piece->done;

	return address >= ADDRESS_END || address < piece->address ? 0 : min_u64(piece->length - piece->done, ADDRESS_END - address);
}

static void piece_by_handle(struct process *process, struct process_piece *piece)
{
	uint64_t left = piece_left(piece);
	unsigned int reason;

	piece->done += handle_read(process, piece->address + piece->done, (uint8_t *)piece->buffer + piece->done, left, &reason);
	piece_fail(piece, reason ? reason : UIOMMU_FAULT_UNMAPPED);
}

/* One call by pid. */
struct group {
	struct iovec local[GROUP_PIECES + 1];
	struct iovec remote[GROUP_PIECES + 1];
	uint8_t seen[COOKIE_SIZE];
	size_t pieces; /* [1] to [pieces] */
	uint64_t bytes;
};

static void group_fill(const struct process *process, struct group *group, struct process_piece *pieces, size_t count)
{
	group->local[0] = (struct iovec){group->seen, COOKIE_SIZE};
	group->remote[0] = (struct iovec){(void *)(uintptr_t)process->cookie_address, COOKIE_SIZE};
	group->bytes = 0;
	for (group->pieces = 0; group->pieces < count && group->pieces < GROUP_PIECES && group->bytes < GROUP_BYTES;
	     group->pieces++) {
		struct process_piece *piece = &pieces[group->pieces];
		uint64_t left = piece_ended(piece) ? 0 : min_u64(piece_left(piece), GROUP_BYTES - group->bytes);

		group->local[group->pieces + 1] = (struct iovec){(uint8_t *)piece->buffer + piece->done, left};
		group->remote[group->pieces + 1] = (struct iovec){(void *)(uintptr_t)(piece->address + piece->done), left};
		group->bytes += left;
	}
}

static void group_wipe(const struct group *group)
{
	for (size_t i = 1; i <= group->pieces; i++)
		if (group->local[i].iov_len)
			memset(group->local[i].iov_base, 0, group->local[i].iov_len);
}

/* The kernel stopped at the next byte of @piece. The rest of its page through the handle finds out why, or passes over. */
static void step_over(struct process *process, struct process_piece *piece)
{
	uint64_t address = piece->address + piece->done, in_page = page_size() - address % page_size();
	unsigned int reason = UIOMMU_FAULT_UNMAPPED;
	uint64_t left = piece_left(piece);

	if (left)
		piece->done +=
			handle_read(process, address, (uint8_t *)piece->buffer + piece->done, min_u64(left, in_page), &reason);
	if (reason)
		piece_fail(piece, reason);
}

/* Credit @bytes to the pieces of @group; the one where they end, if it is not the end of the group, or NULL. */
static struct process_piece *group_credit(const struct group *group, struct process_piece *pieces, uint64_t bytes)
{
	for (size_t i = 0; i < group->pieces; i++) {
		uint64_t wanted = group->local[i + 1].iov_len, got = min_u64(bytes, wanted);

		pieces[i].done += got;
		bytes -= got;
		if (got < wanted)
			return &pieces[i];
	}
	return NULL;
}

/* Some progress on @pieces: at least one of them gets further or ends. */
static enum identity read_group(struct process *process, struct process_piece *pieces, size_t count)
{
	struct process_piece *stopped;
	enum identity identity;
	struct group group;
	ssize_t n;

	group_fill(process, &group, pieces, count);
	if (!group.bytes) {
		/* Only pieces that have ended, or lie where no memory can be. */
		fail_all(pieces, group.pieces, UIOMMU_FAULT_UNMAPPED);
		return SAME;
	}
	do
		n = process_vm_readv(process->pid, group.local, group.pieces + 1, group.remote, group.pieces + 1, 0);
	while (n < 0 && errno == EINTR);
	identity = judge(process, n < 0 ? -errno : n, group.seen);
	if (identity != SAME) {
		group_wipe(&group);
		return identity;
	}
	stopped = group_credit(&group, pieces, (uint64_t)n - COOKIE_SIZE);
	if (stopped)
		step_over(process, stopped);
	return SAME;
}

static void readv_foreign(struct process *process, struct process_piece *pieces, size_t count)
{
	enum identity identity = process->by_pid ? SAME : HANDLE_ONLY;
	size_t i = 0;

	while (i < count) {
		if (piece_ended(&pieces[i]))
			i++;
		else if (identity == SAME)
			identity = read_group(process, pieces + i, count - i);
		else if (identity == HANDLE_ONLY)
			piece_by_handle(process, &pieces[i]);
		else
			piece_fail(&pieces[i], UIOMMU_FAULT_GONE);
	}
}

static unsigned int reason_of(const struct copy_result *result)
{
	if (result->fault == COPY_OK)
		return UIOMMU_FAULT_NONE;
	if (result->bus)
		return UIOMMU_FAULT_MEMORY;
	return result->unmapped ? UIOMMU_FAULT_UNMAPPED : UIOMMU_FAULT_PERMISSION;
}

static void piece_direct(struct process_piece *piece, unsigned int access)
{
	void *memory = (void *)(uintptr_t)piece->address;
	struct copy_result result = access == UIOMMU_WRITE ? copy_bytes(memory, piece->buffer, piece->length)
							   : copy_bytes(piece->buffer, memory, piece->length);

	piece->done = result.done;
	piece->reason = reason_of(&result);
}

void process_readv(struct process *process, struct process_piece *pieces, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		pieces[i].done = 0;
		pieces[i].reason = UIOMMU_FAULT_NONE;
		if (process->direct)
			piece_direct(&pieces[i], UIOMMU_READ);
	}
	if (!process->direct)
		readv_foreign(process, pieces, count);
}

/* One piece, asking again who it is when @budget has been written. A reason that ends the whole call, or none. */
static unsigned int piece_write(struct process *process, struct process_piece *piece, uint64_t *budget, struct answer *answer)
{
	while (!piece_ended(piece)) {
		uint64_t left = piece_left(piece);
		unsigned int reason = UIOMMU_FAULT_UNMAPPED;

		if (!*budget) {
			if (ended(process))
				return UIOMMU_FAULT_GONE;
			*budget = IDENTITY_BYTES;
		}
		left = min_u64(min_u64(left, WRITE_WINDOW), *budget);
		if (left)
			left = handle_window(process, piece->address + piece->done, (uint8_t *)piece->buffer + piece->done, left,
					     UIOMMU_WRITE, answer, &reason);
		piece->done += left;
		*budget -= left;
		if (!left)
			piece_fail(piece, reason);
	}
	return UIOMMU_FAULT_NONE;
}

void process_writev(struct process *process, struct process_piece *pieces, size_t count)
{
	struct answer answer = {.pieces = 0};
	uint64_t budget = 0;

	for (size_t i = 0; i < count; i++) {
		pieces[i].done = 0;
		pieces[i].reason = UIOMMU_FAULT_NONE;
	}
	for (size_t i = 0; i < count; i++)
		if (process->direct) {
			piece_direct(&pieces[i], UIOMMU_WRITE);
		} else if (piece_write(process, &pieces[i], &budget, &answer)) {
			fail_all(pieces + i, count - i, UIOMMU_FAULT_GONE);
			return;
		}
}

size_t process_write(struct process *process, uint64_t address, const void *data, size_t length, unsigned int *reason)
{
	struct process_piece piece = {.address = address, .buffer = (void *)(uintptr_t)data, .length = length};

	process_writev(process, &piece, 1);
	if (piece.done < length)
		*reason = piece.reason;
	return piece.done;
}

static int describe_self(uint64_t address, struct process_vma *out)
{
	struct vmas vmas;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	vmas_init(&vmas, fd, false);
	rc = vmas_find(&vmas, address, true, out);
	vmas_fini(&vmas);
	close(fd);
	return rc;
}

int process_describe(struct process *process, uint64_t address, struct process_vma *out)
{
	*out = (struct process_vma){0};
	if (process->direct)
		return describe_self(address, out);
	if (!alive(process))
		return -ESRCH;
	return process->vmas.fd < 0 ? -ENOENT : vmas_find(&process->vmas, address, true, out);
}

bool process_equal(struct process *a, struct process *b)
{
	if (a->direct != b->direct || a->access != b->access || a->without != b->without || a->by_pid != b->by_pid)
		return false;
	if (a->direct)
		return true;
	/* Two processes that are alive have different pids. Without a cookie nothing tells address spaces apart. */
	return a->pid == b->pid && (a->vmas.fd < 0) == (b->vmas.fd < 0) && a->has_cookie && b->has_cookie &&
	       a->cookie_address == b->cookie_address && !memcmp(a->cookie, b->cookie, COOKIE_SIZE) && alive(a) && alive(b);
}

static bool file_id(int fd, struct file_id *out)
{
	struct stat stat;

	if (fd < 0 || fstat(fd, &stat))
		return false;
	*out = (struct file_id){stat.st_dev, stat.st_ino};
	return true;
}

static bool is_file(int fd, const struct file_id *id)
{
	struct file_id its;

	return file_id(fd, &its) && its.device == id->device && its.inode == id->inode;
}

/* Since Linux 6.10; the header on the machine may be older. */
#ifndef F_DUPFD_QUERY
#define F_DUPFD_QUERY 1027
#endif

/* One descriptor is a duplicate of the other. */
static bool is_same(int a, int b)
{
	return a >= 0 && b >= 0 && fcntl(a, F_DUPFD_QUERY, b) == 1;
}

bool process_name(const struct uiommu_process *bundle, unsigned int access, unsigned int without, struct process_name *out)
{
	*out = (struct process_name){.bundle = bundle, .access = access, .without = without};
	return file_id(bundle->mem, &out->mem);
}

bool process_is(struct process *process, const struct process_name *name)
{
	const struct uiommu_process *bundle = name->bundle;

	if (process->mem_id.inode != name->mem.inode || process->mem_id.device != name->mem.device ||
	    process->access != name->access || process->without != name->without || !process->has_cookie)
		return false;
	/* Of auxv nothing is left to be learnt, and it is not kept: that it is the same file is enough. */
	return is_same(process->mem, bundle->mem) && is_same(process->vmas.fd, bundle->maps) &&
	       is_same(process->watch.pidfd, bundle->pidfd) && is_same(process->watch.event, bundle->exec) &&
	       is_file(bundle->auxv, &process->auxv_id) && (fcntl(bundle->auxv, F_GETFL) & (O_ACCMODE | O_PATH)) == O_RDONLY &&
	       watch_quiet(&process->watch);
}

bool process_is_direct(const struct process *process)
{
	return process->direct;
}

unsigned int process_access(const struct process *process)
{
	return process->access;
}

pid_t process_pid(const struct process *process)
{
	return process->direct ? getpid() : process->pid;
}

bool process_has_ended(const struct process *process)
{
	return !process->direct && !pidfd_alive(process->watch.pidfd);
}

/*
 * Write through our own handle to a read-only page. In the kernel's mode "ptrace" this says that it is honoured, which then does
 * not hold for a thread that traces the target with ptrace itself: but that thread may write what it likes anyway.
 */
static bool probe_honours(bool *known)
{
	size_t size = (size_t)page_size();
	uint8_t *page = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	bool honours;

	*known = fd >= 0 && page != MAP_FAILED;
	honours = *known && pwrite(fd, "", 1, (off_t)(uintptr_t)page) < 0 && errno == EIO;
	if (page != MAP_FAILED)
		munmap(page, size);
	if (fd >= 0)
		close(fd);
	return honours;
}

bool process_handle_honours(void)
{
	enum { UNKNOWN, NO, YES };
	static int cached;
	int answer = __atomic_load_n(&cached, __ATOMIC_RELAXED);
	bool known;

	if (answer == UNKNOWN) {
		answer = probe_honours(&known) ? YES : NO;
		if (known)
			__atomic_store_n(&cached, answer, __ATOMIC_RELAXED);
	}
	return answer == YES;
}

/* More rights than its user: whoever cannot tell assumes so. */
static bool has_ptrace_capability(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};

	return syscall(SYS_capget, &header, data) || data[0].effective & (1U << CAP_SYS_PTRACE);
}

/* See the top of the file: the cookie, and whether the pid may be used. */
static void find_cookie(struct process *process, const struct uiommu_process *bundle)
{
	uint8_t by_pid[COOKIE_SIZE];

	if (bundle->auxv < 0 || auxv_random(bundle->auxv, &process->cookie_address) ||
	    handle_peek(process->mem, process->cookie_address, process->cookie, COOKIE_SIZE) != COOKIE_SIZE)
		return;
	process->has_cookie = true;
	if (process->without & UIOMMU_WITHOUT_PROCESS_VM || (has_ptrace_capability() && !bundle_is_own(bundle)))
		return;
	process->by_pid = pid_peek(process->pid, process->cookie_address, by_pid, COOKIE_SIZE) == COOKIE_SIZE &&
			  !memcmp(by_pid, process->cookie, COOKIE_SIZE);
}

/* -1 stays -1. */
static int duplicate(int fd, int *out)
{
	*out = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return fd >= 0 && *out < 0 ? -errno : 0;
}

static int open_foreign(const struct uiommu_process *bundle, struct process *process)
{
	uint8_t byte;
	int maps, rc;

	rc = duplicate(bundle->mem, &process->mem);
	if (!rc)
		rc = watch_init(&process->watch, bundle->pidfd, process->without & UIOMMU_WITHOUT_PERF_EVENT ? -1 : bundle->exec);
	if (!rc)
		rc = duplicate(bundle->maps, &maps);
	if (rc)
		return rc;
	vmas_init(&process->vmas, maps, process->without & UIOMMU_WITHOUT_PROCMAP_QUERY);
	find_cookie(process, bundle);
	process->ask = process->without & UIOMMU_WITHOUT_FORCE_OVERRIDE || !process_handle_honours();
	/* Alive, and with an address space (a kernel thread has none; after an exec nobody has this one). */
	if (!alive(process) || handle_peek(process->mem, process->cookie_address, &byte, 1) == 0)
		return -ESRCH;
	return 0;
}

static struct process *process_new(unsigned int access, unsigned int without)
{
	struct process *process = calloc(1, sizeof(*process));

	if (process) {
		process->mem = process->watch.pidfd = process->watch.event = process->watch.epoll = -1;
		vmas_init(&process->vmas, -1, true);
		process->access = access;
		process->without = without;
	}
	return process;
}

int process_open(const struct uiommu_process *bundle, unsigned int access, unsigned int without, struct process **out)
{
	struct process *process;
	pid_t pid;
	int rc;

	if (access != UIOMMU_READ && access != (UIOMMU_READ | UIOMMU_WRITE))
		return -EINVAL;
	rc = bundle_verify(bundle, access, without, &pid);
	if (rc)
		return rc;
	process = process_new(access, without);
	if (!process)
		return -ENOMEM;
	process->pid = pid;
	file_id(bundle->mem, &process->mem_id);
	file_id(bundle->auxv, &process->auxv_id);
	rc = open_foreign(bundle, process);
	if (rc) {
		process_close(process);
		return rc;
	}
	*out = process;
	return 0;
}

int process_open_self(unsigned int access, unsigned int without, struct process **out)
{
	struct uiommu_process bundle;
	int rc;

	if (access != UIOMMU_READ && access != (UIOMMU_READ | UIOMMU_WRITE))
		return -EINVAL;
	if (copy_handler_installed()) {
		*out = process_new(access, without);
		if (!*out)
			return -ENOMEM;
		(*out)->direct = true;
		return 0;
	}
	rc = uiommu_process_open(getpid(), access, &bundle);
	if (rc)
		return rc;
	rc = process_open(&bundle, access, without, out);
	uiommu_process_close(&bundle);
	return rc;
}

void process_close(struct process *process)
{
	int fds[] = {process->mem, process->vmas.fd};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	watch_fini(&process->watch);
	vmas_fini(&process->vmas);
	free(process);
}

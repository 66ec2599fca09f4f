/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The signals are SIGSEGV, and SIGILL where the processor has not the instruction (signals.c).
 *
 * A mapping holds its file: with a descriptor of ours, as the kernel does it with a reference. Everything is read in signal
 * handlers, and in fork children of other threads: there are no locks.
 */
#include "abi/shim/trap.h"

#if defined(__x86_64__)
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "abi/shim/client.h"
#include "abi/shim/insn.h"
#include "abi/shim/next.h"
#include "abi/shim/signals.h"
#include "abi/shim/sys.h"
#include "abi/shim/xsave.h"

enum {
	TRAPS_MAX = 64,
	HIGH = 0x300, /* where the descriptors are in nobody's way */
	PAGE = 4096,
	NO_KEY = -1, /* of pkey_mprotect(2): the one that it has */
	CHANGED = 1, /* by somebody else meanwhile */
};

/* --- mappings --- */

enum { FREE, BEING_MADE, MAPPED, KINDS = 4 }; /* what is above these counts how often a place was taken */

/* Of one that is mapped only the bounds and the protection change, each by itself. */
struct trap {
	uint32_t state;
	int fd; /* or a negative number */
	uint64_t start, end;
	uint64_t shift; /* from an address to what is there of the file: the same in all parts of a mapping */
	struct session_key file;
	int protection;
};

static struct trap traps[TRAPS_MAX];

static bool swap_state(struct trap *trap, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(&trap->state, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static bool swap_bound(uint64_t *bound, uint64_t from, uint64_t to)
{
	return __atomic_compare_exchange_n(bound, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* Of a place that is being made: nobody else changes it. */
static void set_kind(struct trap *place, uint32_t kind)
{
	const uint32_t state = __atomic_load_n(&place->state, __ATOMIC_RELAXED);

	__atomic_store_n(&place->state, state / KINDS * KINDS + kind, __ATOMIC_RELEASE);
}

/* A copy, if there is a mapping; of one that goes meanwhile, none. */
static bool look(const struct trap *trap, struct trap *out)
{
	const uint32_t state = __atomic_load_n(&trap->state, __ATOMIC_ACQUIRE);

	if (state % KINDS != MAPPED)
		return false;
	*out = *trap;
	out->state = state;
	out->start = __atomic_load_n(&trap->start, __ATOMIC_SEQ_CST);
	out->end = __atomic_load_n(&trap->end, __ATOMIC_SEQ_CST);
	out->protection = __atomic_load_n(&trap->protection, __ATOMIC_SEQ_CST);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&trap->state, __ATOMIC_RELAXED) == state;
}

/* Whoever unmaps what another thread uses has no promise of what that one finds. */
static bool find(uint64_t address, uint64_t length, struct trap *out)
{
	for (size_t i = 0; i < TRAPS_MAX; i++)
		if (look(&traps[i], out) && address >= out->start && address < out->end && length <= out->end - address)
			return true;
	return false;
}

/* A place for another mapping, and what is to hold its file. False: there are too many. */
static bool reserve(struct trap_spare *spare, int fd)
{
	spare->place = NULL;
	for (size_t i = 0; i < TRAPS_MAX && !spare->place; i++) {
		const uint32_t state = __atomic_load_n(&traps[i].state, __ATOMIC_RELAXED);

		if (state % KINDS == FREE && swap_state(&traps[i], state, state + KINDS + BEING_MADE))
			spare->place = &traps[i];
	}
	if (!spare->place)
		return false;
	spare->fd = fd < 0 ? fd : (int)sys_3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HIGH);
	if (spare->fd >= 0 || fd < 0)
		return true;
	set_kind(spare->place, FREE);
	spare->place = NULL;
	return false;
}

static void give_back(struct trap_spare *spare)
{
	if (!spare->place)
		return;
	if (spare->fd >= 0)
		sys_close(spare->fd);
	set_kind(spare->place, FREE);
	spare->place = NULL;
}

/* The part of @whole from @start to @end is a mapping of its own. */
static void publish(struct trap_spare *spare, const struct trap *whole, uint64_t start, uint64_t end, int protection)
{
	struct trap *place = spare->place;

	place->fd = spare->fd;
	place->start = start;
	place->end = end;
	place->shift = whole->shift;
	place->file = whole->file;
	place->protection = protection;
	set_kind(place, MAPPED);
}

/* Only one of those who find that nothing is left of it. */
static bool end_of(struct trap *trap, const struct trap *seen)
{
	if (!swap_state(trap, seen->state, seen->state - MAPPED + BEING_MADE))
		return false;
	if (seen->fd >= 0)
		sys_close(seen->fd);
	set_kind(trap, FREE);
	return true;
}

/* --- parts that go --- */

static bool overlap(const struct trap *trap, uint64_t start, uint64_t end)
{
	return start < trap->end && end > trap->start;
}

static uint64_t whole_pages(uint64_t length)
{
	return (length + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

/* One in whose middle the range is becomes two. */
int trap_unmap_begin(struct trap_cut *cut, uint64_t address, size_t length)
{
	struct trap seen;

	*cut = (struct trap_cut){.start = address, .end = address + whole_pages(length)};
	for (size_t i = 0; i < TRAPS_MAX; i++)
		if (look(&traps[i], &seen) && cut->start < cut->end && seen.start < cut->start && seen.end > cut->end)
			return reserve(&cut->spare, seen.fd) ? 0 : -ENOMEM;
	return 0;
}

/* False: somebody else has changed it meanwhile. What is behind the range is there twice rather than not at all. */
static bool cut_one(struct trap *trap, const struct trap *seen, struct trap_cut *cut)
{
	const bool front = seen->start < cut->start;
	const bool behind = seen->end > cut->end;

	if (front && behind) {
		if (!cut->spare.place)
			return true; /* it was not there before: nobody unmaps what somebody else maps */
		publish(&cut->spare, seen, cut->end, seen->end, seen->protection);
		if (swap_bound(&trap->end, seen->end, cut->start)) {
			cut->spare.place = NULL;
			return true;
		}
		set_kind(cut->spare.place, BEING_MADE);
		return false;
	}
	if (front)
		return swap_bound(&trap->end, seen->end, cut->start);
	if (behind)
		return swap_bound(&trap->start, seen->start, cut->end);
	return end_of(trap, seen);
}

void trap_unmap_end(struct trap_cut *cut, bool unmapped)
{
	for (size_t i = 0; i < TRAPS_MAX && unmapped; i++) {
		struct trap *trap = &traps[i], seen;

		while (look(trap, &seen) && overlap(&seen, cut->start, cut->end) && !cut_one(trap, &seen, cut))
			;
		/* Two have cut it, each at an end. */
		if (look(trap, &seen) && seen.start >= seen.end)
			end_of(trap, &seen);
	}
	give_back(&cut->spare);
}

/* --- what else is done with mappings --- */

/* The first page from @start on that is of registers, and which; or @end. */
static uint64_t first_of(uint64_t start, uint64_t end, struct trap *out)
{
	uint64_t first = end;

	for (size_t i = 0; i < TRAPS_MAX; i++) {
		struct trap seen;

		if (!look(&traps[i], &seen) || !overlap(&seen, start, first))
			continue;
		*out = seen;
		first = seen.start > start ? seen.start : start;
	}
	return first;
}

static long protect_memory(uint64_t start, uint64_t length, int protection, int key)
{
	if (key == NO_KEY)
		return sys_3(SYS_mprotect, (long)start, (long)length, protection);
	return sys_4(SYS_pkey_mprotect, (long)start, (long)length, protection, key);
}

/* What lies in front of the range and behind it stays as it is. False: somebody else has changed it meanwhile. */
static bool split(struct trap *trap, const struct trap *seen, struct trap_spare spares[2], const struct trap_cut *cut,
		  int protection)
{
	bool done;

	if (!spares[0].place) {
		__atomic_store_n(&trap->protection, protection, __ATOMIC_SEQ_CST);
		return true;
	}
	publish(&spares[0], seen, cut->start, cut->end, protection);
	if (spares[1].place)
		publish(&spares[1], seen, cut->end, seen->end, seen->protection);
	done = seen->start < cut->start ? swap_bound(&trap->end, seen->end, cut->start)
					: swap_bound(&trap->start, seen->start, cut->end);
	for (unsigned int i = 0; i < 2; i++) {
		if (spares[i].place && !done)
			set_kind(spares[i].place, BEING_MADE);
		else if (done)
			spares[i].place = NULL;
	}
	return done;
}

/* The place where @seen is, if it is still that. */
static struct trap *place_of(const struct trap *seen)
{
	struct trap now;

	for (size_t i = 0; i < TRAPS_MAX; i++)
		if (look(&traps[i], &now) && now.state == seen->state && now.start == seen->start && now.end == seen->end)
			return &traps[i];
	return NULL;
}

/*
 * The kernel's protection of such pages stays what it is: none; but their key is, by which it tells who may not do what.
 * CHANGED: nothing has happened.
 */
static long protect_registers(const struct trap *seen, uint64_t start, uint64_t end, int protection, int key)
{
	const struct trap_cut cut = {.start = start, .end = end};
	const bool front = seen->start < start;
	const bool behind = seen->end > end;
	struct trap_spare spares[2] = {{NULL, -1}, {NULL, -1}};
	struct trap *trap = place_of(seen);
	long error = 0;

	if (protection & PROT_WRITE && seen->fd >= 0 && (sys_2(SYS_fcntl, seen->fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
		return -EACCES;
	if (!trap)
		return CHANGED;
	if (protection != seen->protection &&
	    (((front || behind) && !reserve(&spares[0], seen->fd)) || (front && behind && !reserve(&spares[1], seen->fd))))
		error = -ENOMEM;
	if (!error && key != NO_KEY)
		error = protect_memory(start, end - start, PROT_NONE, key);
	if (!error && protection != seen->protection && !split(trap, seen, spares, &cut, protection))
		error = CHANGED;
	give_back(&spares[0]);
	give_back(&spares[1]);
	return error;
}

/* Registers and memory, in the order in which they lie there. */
static long protect(uint64_t start, uint64_t end, int protection, int key)
{
	while (start < end) {
		struct trap trap;
		uint64_t stop = first_of(start, end, &trap);
		long error;

		if (stop > start) {
			error = protect_memory(start, stop - start, protection, key);
		} else {
			stop = trap.end < end ? trap.end : end;
			error = protect_registers(&trap, start, stop, protection, key);
		}
		if (error < 0)
			return error;
		start = error == CHANGED ? start : stop;
	}
	return 0;
}

ENTRY(int, pkey_mprotect, (void *address, size_t length, int protection, int key))
{
	const uint64_t start = (uint64_t)(uintptr_t)address, end = start + whole_pages(length);
	struct trap trap;

	if (end <= start || first_of(start, end, &trap) == end)
		return (int)next_result(protect_memory(start, length, protection, key));
	if (start % PAGE || protection & ~(PROT_READ | PROT_WRITE | PROT_EXEC))
		return (int)next_result(-EINVAL);
	return (int)next_result(protect(start, end, protection, key));
}

ENTRY(int, mprotect, (void *address, size_t length, int protection))
{
	return entry_pkey_mprotect(address, length, protection, NO_KEY);
}

/* Where they go, others may have been. */
static long move(const struct trap *trap, uint64_t from, uint64_t before, uint64_t length, int flags, uint64_t to)
{
	struct trap moved = *trap;
	struct trap_spare spare;
	struct trap_cut here = {0}, there = {0};
	bool room = reserve(&spare, trap->fd) && !trap_unmap_begin(&here, from, before) && !trap_unmap_begin(&there, to, length);
	long mapped = room ? sys_5(SYS_mremap, (long)from, (long)before, (long)length, flags, (long)to) : -ENOMEM;
	const bool done = mapped == (long)to;

	trap_unmap_end(&there, done);
	if (done) {
		moved.shift += from - to;
		publish(&spare, &moved, to, to + length, trap->protection);
		spare.place = NULL;
	}
	trap_unmap_end(&here, done);
	give_back(&spare);
	return mapped;
}

/* As Linux's vfio-pci permits it: registers move as a whole or become fewer. The pages are the kernel's, and move with it. */
static long remap(uint64_t from, uint64_t before, uint64_t length, int flags, uint64_t to)
{
	struct trap trap;
	struct trap_cut rest;
	long mapped;

	if (from % PAGE || !before || !length || flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED))
		return -EINVAL;
	if (length > before || !find(from, before, &trap))
		return -EFAULT;
	if (flags & MREMAP_FIXED)
		return move(&trap, from, before, length, flags, to);
	if (trap_unmap_begin(&rest, from + length, before - length))
		return -ENOMEM;
	mapped = sys_5(SYS_mremap, (long)from, (long)before, (long)length, flags, (long)to);
	trap_unmap_end(&rest, mapped == (long)from);
	return mapped;
}

/* Of memory, to where registers are, maybe. */
static long remap_memory(uint64_t from, size_t before, size_t length, int flags, uint64_t to)
{
	struct trap_cut cut = {0};
	long mapped;

	if (flags & MREMAP_FIXED && trap_unmap_begin(&cut, to, length))
		return -ENOMEM;
	mapped = sys_5(SYS_mremap, (long)from, (long)before, (long)length, flags, (long)to);
	trap_unmap_end(&cut, mapped == (long)to);
	return mapped;
}

ENTRY(void *, mremap, (void *from, size_t before, size_t length, int flags, ...))
{
	const uint64_t start = (uint64_t)(uintptr_t)from;
	struct trap trap;
	va_list arguments;
	long to, mapped;

	va_start(arguments, flags);
	to = va_arg(arguments, long);
	va_end(arguments);
	if (first_of(start, start + whole_pages(before ? before : 1), &trap) < start + whole_pages(before ? before : 1))
		mapped = remap(start, whole_pages(before), whole_pages(length), flags, (uint64_t)to);
	else
		mapped = remap_memory(start, before, length, flags, (uint64_t)to);
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): an address, or MAP_FAILED */
	return (void *)next_result(mapped);
}

/* --- accesses --- */

/* What a mapping that has lost its device gives to who accesses it. */
static void bus_error(uint64_t address)
{
	siginfo_t info = {.si_signo = SIGBUS, .si_code = BUS_ADRERR};

	/* NOLINTNEXTLINE(performance-no-int-to-ptr): it is one */
	info.si_addr = (void *)(uintptr_t)address;
	signals_raise(&info);
}

struct access {
	uint64_t failed; /* address: with SIGBUS */
};

static int transfer(struct access *access, enum session_op op, uint64_t address, uint64_t memory, unsigned int size)
{
	struct session_request request = {.op = op, .argument = memory, .count = size};
	struct trap trap;
	int64_t done;

	if (!find(address, size, &trap) || !(trap.protection & (op == SESSION_READ ? PROT_READ : PROT_WRITE)))
		return -ENXIO;
	request.file = trap.file;
	request.offset = address + trap.shift;
	request.flags = O_RDWR;
	request.length = op == SESSION_WRITE ? size : 0;
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): it is one */
	done = client_call(&request, (const void *)(uintptr_t)memory, NULL, NULL);
	if (done == size)
		return 0;
	if (done == -EFAULT)
		return -EFAULT;
	access->failed = address;
	return -EIO;
}

static int read_registers(void *opaque, uint64_t address, void *out, unsigned int size)
{
	return transfer(opaque, SESSION_READ, address, (uint64_t)(uintptr_t)out, size);
}

static int write_registers(void *opaque, uint64_t address, const void *data, unsigned int size)
{
	return transfer(opaque, SESSION_WRITE, address, (uint64_t)(uintptr_t)data, size);
}

/* The program's memory is looked at first, so that it is the program's fault if it is not there. */
static int fetch(void *opaque, uint64_t address, void *out, unsigned int size)
{
	struct trap trap;

	if (find(address, 1, &trap))
		return read_registers(opaque, address, out, size);
	if (!client_can_read(address) || !client_can_read(address + size - 1))
		return -EFAULT;
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): it is one */
	memcpy(out, (const void *)(uintptr_t)address, size);
	return 0;
}

/* Between both it goes through here, and between registers and the program's memory at once. */
static int copy_registers(void *opaque, uint64_t to, uint64_t from, unsigned int size)
{
	uint8_t data[INSN_DIRECT];
	struct trap trap;
	int error;

	if (!find(from, size, &trap))
		return transfer(opaque, SESSION_WRITE, to, from, size);
	if (!find(to, size, &trap))
		return transfer(opaque, SESSION_READ, from, to, size);
	error = read_registers(opaque, from, data, size);
	return error ? error : write_registers(opaque, to, data, size);
}

/* --- the signal --- */

/* In the order of their numbers. */
static const int registers[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
				  REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static int emulate(ucontext_t *context, struct access *access)
{
	const struct insn_bus bus = {read_registers, write_registers, fetch, copy_registers, access};
	greg_t *gregs = context->uc_mcontext.gregs;
	uint8_t *area = (uint8_t *)context->uc_mcontext.fpregs;
	struct insn_vectors vectors;
	struct insn_state state = {.rip = (uint64_t)gregs[REG_RIP], .flags = (uint64_t)gregs[REG_EFL], .vectors = &vectors};
	int error;

	for (size_t i = 0; i < 16; i++)
		state.gpr[i] = (uint64_t)gregs[registers[i]];
	xsave_of_signal(area, &vectors);
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): it is one */
	error = insn_do(&state, (const uint8_t *)(uintptr_t)state.rip, INSN_LENGTH_MAX, &bus);
	if (error)
		return error;
	for (size_t i = 0; i < 16; i++)
		gregs[registers[i]] = (greg_t)state.gpr[i];
	gregs[REG_RIP] = (greg_t)state.rip;
	gregs[REG_EFL] = (greg_t)state.flags;
	xsave_written(area, &vectors);
	return 0;
}

static void say_unknown(uint64_t rip)
{
	static const char digits[] = "0123456789abcdef";
	char text[] = "uiommu: a device's registers are accessed by an instruction that is not known, at 0x................\n";
	const size_t last = sizeof(text) - 3;

	for (size_t i = 0; i < 16; i++, rip >>= 4)
		text[last - i] = digits[rip & 15];
	sys_3(SYS_write, STDERR_FILENO, (long)text, sizeof(text) - 1);
}

/* What the kernel says of an instruction that has failed, and that does not lie there itself; the rest was sent by somebody. */
static bool is_access(int signal, const siginfo_t *info, uint64_t rip)
{
	struct trap trap;

	if (signal != SIGSEGV)
		return signal == SIGILL && (info->si_code == ILL_ILLOPN || info->si_code == ILL_ILLOPC);
	return (info->si_code == SEGV_ACCERR || info->si_code == SEGV_MAPERR) &&
	       find((uint64_t)(uintptr_t)info->si_addr, 1, &trap) && !find(rip, 1, &trap);
}

bool trap_signal(int signal, const siginfo_t *info, void *context)
{
	const uint64_t rip = (uint64_t)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	struct access access = {0};
	int error;

	if (!is_access(signal, info, rip))
		return false;
	error = emulate(context, &access);
	if (error == -EIO)
		bus_error(access.failed);
	else if (error == -ENOSYS && signal == SIGSEGV && signals_default(signal))
		say_unknown(rip);
	return !error || error == -EIO;
}

static bool is_error(long mapped)
{
	return mapped < 0 && mapped > -4096;
}

long trap_map(void *address, size_t length, int protection, int flags, int fd, const struct session_key *file, uint64_t offset)
{
	const int kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE));
	struct trap trap = {.file = *file};
	struct trap_spare spare;
	struct trap_cut cut = {0};
	long mapped = -ENOMEM;

	if (!reserve(&spare, -1))
		return -ENOMEM;
	if (!(flags & MAP_FIXED) || !trap_unmap_begin(&cut, (uint64_t)(uintptr_t)address, length))
		mapped = sys_6(SYS_mmap, (long)address, (long)length, PROT_NONE, kind, -1, 0);
	/* Registers may have been there that have gone unseen. */
	if (!is_error(mapped) && !(flags & MAP_FIXED) && trap_unmap_begin(&cut, (uint64_t)mapped, length)) {
		sys_2(SYS_munmap, mapped, (long)length);
		mapped = -ENOMEM;
	}
	trap_unmap_end(&cut, !is_error(mapped));
	if (is_error(mapped)) {
		give_back(&spare);
		return mapped;
	}
	xsave_init();
	signals_own(SIGSEGV);
	signals_own(SIGILL);
	trap.shift = offset - (uint64_t)mapped;
	spare.fd = (int)sys_3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HIGH);
	publish(&spare, &trap, (uint64_t)mapped, (uint64_t)mapped + whole_pages(length), protection);
	return mapped;
}

#else

long trap_map(void *address, size_t length, int protection, int flags, int fd, const struct session_key *file, uint64_t offset)
{
	(void)address, (void)length, (void)protection, (void)flags, (void)fd, (void)file, (void)offset;
	return -1;
}

int trap_unmap_begin(struct trap_cut *cut, uint64_t address, size_t length)
{
	(void)cut, (void)address, (void)length;
	return 0;
}

void trap_unmap_end(struct trap_cut *cut, bool unmapped)
{
	(void)cut, (void)unmapped;
}

bool trap_signal(int signal, const siginfo_t *info, void *context)
{
	(void)signal, (void)info, (void)context;
	return false;
}

#endif

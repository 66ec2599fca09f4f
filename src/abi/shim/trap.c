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
};

/* --- mappings --- */

/* One that is being cut is found all the same, until its parts are. */
enum { FREE, BEING_MADE, MAPPED, BEING_CUT };

struct trap {
	uint32_t state;
	int fd; /* or a negative number */
	uint64_t start, end, offset;
	struct session_key file;
	int protection;
};

static struct trap traps[TRAPS_MAX];

static bool take(struct trap *trap, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(&trap->state, &from, to, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static void set_state(struct trap *trap, uint32_t state)
{
	__atomic_store_n(&trap->state, state, __ATOMIC_RELEASE);
}

/* A place for another one, or NULL. */
static struct trap *reserve(void)
{
	for (size_t i = 0; i < TRAPS_MAX; i++)
		if (take(&traps[i], FREE, BEING_MADE))
			return &traps[i];
	return NULL;
}

static void publish(struct trap *place, const struct trap *trap)
{
	place->fd = trap->fd;
	place->start = trap->start;
	place->end = trap->end;
	place->offset = trap->offset;
	place->file = trap->file;
	place->protection = trap->protection;
	set_state(place, MAPPED);
}

static bool is_there(const struct trap *trap)
{
	const uint32_t state = __atomic_load_n(&trap->state, __ATOMIC_ACQUIRE);

	return state == MAPPED || state == BEING_CUT;
}

/* Whoever unmaps what another thread uses has no promise of what that one finds. */
static bool find(uint64_t address, uint64_t length, struct trap *out)
{
	for (size_t i = 0; i < TRAPS_MAX; i++) {
		if (!is_there(&traps[i]))
			continue;
		*out = traps[i];
		if (address >= out->start && address < out->end && length <= out->end - address)
			return true;
	}
	return false;
}

static struct trap part_of(const struct trap *whole, uint64_t start, uint64_t end)
{
	struct trap part = *whole;

	part.start = start;
	part.end = end;
	part.offset += start - whole->start;
	part.fd = whole->fd < 0 ? whole->fd : (int)sys_3(SYS_fcntl, whole->fd, F_DUPFD_CLOEXEC, whole->fd);
	return part;
}

static void end_of(struct trap *trap)
{
	if (trap->fd >= 0)
		sys_close(trap->fd);
	set_state(trap, FREE);
}

enum { GONE = -1 };

/*
 * What of a mapping lies from @start to @end has another protection, or is gone; what lies in front of it and behind it are
 * mappings of their own. False: there are too many; nothing has changed.
 */
static bool cut(struct trap *trap, uint64_t start, uint64_t end, int protection)
{
	const uint64_t bounds[] = {trap->start, start > trap->start ? start : trap->start, end < trap->end ? end : trap->end,
				   trap->end};
	struct trap *places[3] = {NULL};
	bool failed = false;

	for (unsigned int i = 0; i < 3 && !failed; i++)
		if (bounds[i] < bounds[i + 1] && (i != 1 || protection != GONE))
			failed = !(places[i] = reserve());
	for (unsigned int i = 0; i < 3; i++) {
		struct trap part;

		if (!places[i])
			continue;
		if (failed) {
			set_state(places[i], FREE);
			continue;
		}
		part = part_of(trap, bounds[i], bounds[i + 1]);
		part.protection = i == 1 ? protection : part.protection;
		publish(places[i], &part);
	}
	if (failed)
		set_state(trap, MAPPED);
	else
		end_of(trap);
	return !failed;
}

static uint64_t whole_pages(uint64_t length)
{
	return (length + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

static bool change(uint64_t start, uint64_t end, int protection)
{
	bool done = true;

	for (size_t i = 0; i < TRAPS_MAX; i++) {
		struct trap *trap = &traps[i];

		if (is_there(trap) && start < trap->end && end > trap->start && trap->protection != protection &&
		    take(trap, MAPPED, BEING_CUT))
			done &= cut(trap, start, end, protection);
	}
	return done;
}

void trap_forget(uint64_t address, size_t length)
{
	/* Where there are too many a mapping stays whole, and a part of it that nobody has any more. */
	(void)change(address, address + whole_pages(length), GONE);
}

/* --- what else is done with mappings --- */

/* The first page from @start on that is of registers, and which; or @end. */
static uint64_t first_of(uint64_t start, uint64_t end, struct trap *out)
{
	uint64_t first = end;

	for (size_t i = 0; i < TRAPS_MAX; i++) {
		const struct trap *trap = &traps[i];

		if (!is_there(trap) || trap->end <= start || trap->start >= first)
			continue;
		*out = *trap;
		first = trap->start > start ? trap->start : start;
	}
	return first;
}

/* The kernel's protection of such pages stays what it is: none. */
static long protect_registers(const struct trap *trap, uint64_t start, uint64_t end, int protection)
{
	if (protection & PROT_WRITE && trap->fd >= 0 && (sys_2(SYS_fcntl, trap->fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
		return -EACCES;
	return change(start, end, protection) ? 0 : -ENOMEM;
}

/* Registers and memory, in the order in which they lie there. */
static long protect(uint64_t start, uint64_t end, int protection)
{
	while (start < end) {
		struct trap trap;
		uint64_t stop = first_of(start, end, &trap);
		long error;

		if (stop > start) {
			error = sys_3(SYS_mprotect, (long)start, (long)(stop - start), protection);
		} else {
			stop = trap.end < end ? trap.end : end;
			error = protect_registers(&trap, start, stop, protection);
		}
		if (error)
			return error;
		start = stop;
	}
	return 0;
}

ENTRY(int, mprotect, (void *address, size_t length, int protection))
{
	const uint64_t start = (uint64_t)(uintptr_t)address, end = start + whole_pages(length);
	struct trap trap;

	if (end <= start || first_of(start, end, &trap) == end)
		return (int)next_result(sys_3(SYS_mprotect, (long)address, (long)length, protection));
	if (start % PAGE || protection & ~(PROT_READ | PROT_WRITE | PROT_EXEC))
		return (int)next_result(-EINVAL);
	return (int)next_result(protect(start, end, protection));
}

/* As Linux's vfio-pci permits it: registers move as a whole or become fewer. The pages are the kernel's, and move with it. */
static long remap(uint64_t from, uint64_t before, uint64_t length, int flags, uint64_t to)
{
	struct trap trap, *place = NULL;
	long mapped;

	if (from % PAGE || !before || !length || flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED))
		return -EINVAL;
	if (length > before || !find(from, before, &trap))
		return -EFAULT;
	if (flags & MREMAP_FIXED && !(place = reserve()))
		return -ENOMEM;
	mapped = sys_5(SYS_mremap, (long)from, (long)before, (long)length, flags, (long)to);
	if (place && mapped == (long)to) {
		struct trap moved = part_of(&trap, from, from + length);

		trap_forget(to, length);
		moved.start = to;
		moved.end = to + length;
		publish(place, &moved);
		trap_forget(from, before);
		return mapped;
	}
	if (place)
		set_state(place, FREE);
	else if (mapped == (long)from && length < before)
		trap_forget(from + length, before - length);
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
	if (first_of(start, start + whole_pages(before ? before : 1), &trap) < start + whole_pages(before ? before : 1)) {
		mapped = remap(start, whole_pages(before), whole_pages(length), flags, (uint64_t)to);
	} else {
		mapped = sys_5(SYS_mremap, (long)from, (long)before, (long)length, flags, to);
		if (flags & MREMAP_FIXED && mapped == to)
			trap_forget((uint64_t)to, length);
	}
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
	request.offset = trap.offset + (address - trap.start);
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

long trap_map(void *address, size_t length, int protection, int flags, int fd, const struct session_key *file, uint64_t offset)
{
	const int kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE));
	struct trap trap = {.offset = offset, .file = *file, .protection = protection}, *place = reserve();
	long mapped;

	if (!place)
		return -ENOMEM;
	mapped = sys_6(SYS_mmap, (long)address, (long)length, PROT_NONE, kind, -1, 0);
	if (mapped < 0 && mapped > -4096) {
		set_state(place, FREE);
		return mapped;
	}
	xsave_init();
	signals_own(SIGSEGV);
	signals_own(SIGILL);
	trap_forget((uint64_t)mapped, length);
	trap.start = (uint64_t)mapped;
	trap.end = trap.start + whole_pages(length);
	trap.fd = (int)sys_3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HIGH);
	publish(place, &trap);
	return mapped;
}

#else

long trap_map(void *address, size_t length, int protection, int flags, int fd, const struct session_key *file, uint64_t offset)
{
	(void)address, (void)length, (void)protection, (void)flags, (void)fd, (void)file, (void)offset;
	return -1;
}

void trap_forget(uint64_t address, size_t length)
{
	(void)address, (void)length;
}

bool trap_signal(int signal, const siginfo_t *info, void *context)
{
	(void)signal, (void)info, (void)context;
	return false;
}

#endif

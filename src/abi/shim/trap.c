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
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "abi/shim/client.h"
#include "abi/shim/insn.h"
#include "abi/shim/signals.h"
#include "abi/shim/sys.h"
#include "abi/shim/xsave.h"

enum {
	TRAPS_MAX = 64,
	HIGH = 0x300, /* where the descriptors are in nobody's way */
	PAGE = 4096,
	SIGNAL_BYTES = 8,
};

/* --- mappings --- */

enum { FREE, BEING_CHANGED, MAPPED };

struct trap {
	uint32_t state;
	int fd; /* or a negative number */
	uint64_t start, length, offset;
	struct session_key file;
	int protection;
};

static struct trap traps[TRAPS_MAX];

static bool add(const struct trap *trap)
{
	for (size_t i = 0; i < TRAPS_MAX; i++) {
		uint32_t free = FREE;

		if (!__atomic_compare_exchange_n(&traps[i].state, &free, BEING_CHANGED, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			continue;
		traps[i].fd = trap->fd;
		traps[i].start = trap->start;
		traps[i].length = trap->length;
		traps[i].offset = trap->offset;
		traps[i].file = trap->file;
		traps[i].protection = trap->protection;
		__atomic_store_n(&traps[i].state, MAPPED, __ATOMIC_RELEASE);
		return true;
	}
	return false;
}

/* Whoever unmaps what another thread uses has no promise of what that one finds. */
static bool find(uint64_t address, uint64_t length, struct trap *out)
{
	for (size_t i = 0; i < TRAPS_MAX; i++) {
		if (__atomic_load_n(&traps[i].state, __ATOMIC_ACQUIRE) != MAPPED)
			continue;
		*out = traps[i];
		if (address >= out->start && length <= out->length && address - out->start <= out->length - length)
			return true;
	}
	return false;
}

/* What is left of it at its end is another one. */
static void cut(struct trap *trap, uint64_t start, uint64_t end)
{
	const uint64_t trap_end = trap->start + trap->length;
	struct trap rest = *trap;
	bool is_split = start > trap->start && end < trap_end;

	if (end < trap_end) {
		rest.start = end;
		rest.length = trap_end - end;
		rest.offset += end - trap->start;
		rest.fd = is_split && trap->fd >= 0 ? (int)sys_3(SYS_fcntl, trap->fd, F_DUPFD_CLOEXEC, trap->fd) : trap->fd;
	}
	if (start > trap->start)
		trap->length = start - trap->start;
	else if (end < trap_end)
		*trap = rest;
	if (is_split && !add(&rest))
		sys_close(rest.fd);
}

void trap_forget(uint64_t address, size_t length)
{
	const uint64_t end = address + ((length + PAGE - 1) & ~(uint64_t)(PAGE - 1));

	for (size_t i = 0; i < TRAPS_MAX; i++) {
		struct trap *trap = &traps[i];
		uint32_t mapped = MAPPED;
		bool whole;

		if (__atomic_load_n(&trap->state, __ATOMIC_ACQUIRE) != MAPPED || address >= trap->start + trap->length ||
		    end <= trap->start)
			continue;
		if (!__atomic_compare_exchange_n(&trap->state, &mapped, BEING_CHANGED, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			continue;
		whole = address <= trap->start && end >= trap->start + trap->length;
		if (!whole)
			cut(trap, address, end);
		else if (trap->fd >= 0)
			sys_close(trap->fd);
		__atomic_store_n(&trap->state, whole ? FREE : MAPPED, __ATOMIC_RELEASE);
	}
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
	const struct insn_bus bus = {read_registers, write_registers, copy_registers, access};
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

/* What the kernel says of an instruction that has failed; the rest was sent by somebody. */
static bool is_access(int signal, const siginfo_t *info)
{
	struct trap trap;

	if (signal != SIGSEGV)
		return signal == SIGILL && (info->si_code == ILL_ILLOPN || info->si_code == ILL_ILLOPC);
	return (info->si_code == SEGV_ACCERR || info->si_code == SEGV_MAPERR) && find((uint64_t)(uintptr_t)info->si_addr, 1, &trap);
}

bool trap_signal(int signal, const siginfo_t *info, void *context)
{
	const uint64_t rip = (uint64_t)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	struct access access = {0};
	int error;

	if (!is_access(signal, info))
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
	struct trap trap = {
		.length = (length + PAGE - 1) & ~(uint64_t)(PAGE - 1), .offset = offset, .file = *file, .protection = protection};
	long mapped = sys_6(SYS_mmap, (long)address, (long)length, PROT_NONE, kind, -1, 0);

	if (mapped < 0 && mapped > -4096)
		return mapped;
	xsave_init();
	signals_own(SIGSEGV);
	signals_own(SIGILL);
	trap_forget((uint64_t)mapped, length);
	trap.start = (uint64_t)mapped;
	trap.fd = (int)sys_3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HIGH);
	if (add(&trap))
		return mapped;
	sys_2(SYS_munmap, mapped, (long)length);
	if (trap.fd >= 0)
		sys_close(trap.fd);
	return -ENOMEM;
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

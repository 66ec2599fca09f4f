/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver in user space for DSA's registers, to be run under `uiommu run`, which maps registers and portals and uses them as it
 * would those of hardware: loads, stores and MOVDIR64B, and what compilers and the C library make of copies. Each case checks
 * itself, prints "ok", and ends with 0.
 */
#include "driver.h"

#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>

enum { QUEUES = 4, ENTRIES = 32, SIZE = 4096, DESCRIPTOR = 64, PORTALS = 4 * PAGE, HELD = 0x300, TAKEN = 12 };
enum { VERSION = 0, GENCAP = 0x10, CMD = 0xa0, CMDSTS = 0xa8, GROUP = 0x400, QUEUE = 0x600, QUEUE_SIZE = 32 };

/* docs/accel.md */
struct descriptor {
	uint32_t pasid, flags_opcode;
	uint64_t record, source, destination;
	uint32_t size, handle;
	uint64_t reserved[3];
};

static struct memory {
	uint8_t records[QUEUES][32] __attribute__((aligned(4096)));
	uint8_t source[QUEUES][SIZE], destination[QUEUES][SIZE];
} * memory;

static volatile uint8_t *registers, *portals;

static uint32_t get(unsigned int offset)
{
	return *(const volatile uint32_t *)(registers + offset);
}

static void set(unsigned int offset, uint32_t value)
{
	*(volatile uint32_t *)(registers + offset) = value;
}

static void set_long(unsigned int offset, uint64_t value)
{
	*(volatile uint64_t *)(registers + offset) = value;
}

static void *map(unsigned int index, int protection)
{
	const struct vfio_region_info info = region_info(index);
	void *mapped;

	CHECK(info.flags & VFIO_REGION_INFO_FLAG_MMAP);
	mapped = mmap(NULL, info.size, protection, MAP_SHARED, device, (off_t)info.offset);
	CHECK(mapped != MAP_FAILED);
	return mapped;
}

static void command(uint32_t code, uint32_t operand)
{
	set(CMD, code << 20 | operand);
	while (get(CMDSTS) >> 31)
		sched_yield();
	CHECK(!get(CMDSTS));
}

static void begin(void)
{
	memory = mmap(NULL, sizeof(*memory), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED);
	open_device();
	map_memory(memory, sizeof(*memory));
	be_master();
	registers = map(VFIO_PCI_BAR0_REGION_INDEX, PROT_READ | PROT_WRITE);
	portals = map(VFIO_PCI_BAR2_REGION_INDEX, PROT_READ | PROT_WRITE);
}

static void enable(void)
{
	set_long(GROUP, (1 << QUEUES) - 1);
	set_long(GROUP + 0x20, 1);
	for (unsigned int i = 0; i < QUEUES; i++) {
		set(QUEUE + i * QUEUE_SIZE, ENTRIES);
		set(QUEUE + i * QUEUE_SIZE + 8, 1 << 4 | 1); /* dedicated, without PASID */
		set(QUEUE + i * QUEUE_SIZE + 12, 21 | 4 << 5);
	}
	command(1, 0);
	for (unsigned int i = 0; i < QUEUES; i++)
		command(6, i);
}

static volatile uint8_t *portal_of(unsigned int queue)
{
	return portals + (size_t)queue * PORTALS;
}

/* MOVDIR64B (%1), %0; assemblers may not know it. */
static void submit(volatile uint8_t *portal, const struct descriptor *descriptor)
{
	__asm__ volatile(".byte 0x66, 0x0f, 0x38, 0xf8, 0x02" : : "a"(portal), "d"(descriptor) : "memory");
}

/* ENQCMD, which says with ZF whether it was refused. */
static void enqueue(volatile uint8_t *portal, const struct descriptor *descriptor)
{
	bool refused;

	__asm__ volatile(".byte 0xf2, 0x0f, 0x38, 0xf8, 0x02\n	setz %0"
			 : "=q"(refused)
			 : "a"(portal), "d"(descriptor)
			 : "memory", "cc");
	CHECK(!refused);
}

static uint64_t iova(const void *at)
{
	return IOVA + (uint64_t)((const uint8_t *)at - (const uint8_t *)memory);
}

static void move(unsigned int queue, unsigned int round, void (*how)(volatile uint8_t *, const struct descriptor *))
{
	struct descriptor descriptor = {
		.flags_opcode = 3 << 24 | 4 | 8,
		.record = iova(memory->records[queue]),
		.source = iova(memory->source[queue]),
		.destination = iova(memory->destination[queue]),
		.size = SIZE,
	};

	for (unsigned int at = 0; at < SIZE; at++)
		memory->source[queue][at] = (uint8_t)(at * 13 + round + queue);
	memset(memory->destination[queue], 0xee, SIZE);
	memset(memory->records[queue], 0, sizeof(memory->records[queue]));
	how(portal_of(queue) + (size_t)round % (PAGE / DESCRIPTOR) * DESCRIPTOR, &descriptor);
	while (!__atomic_load_n(memory->records[queue], __ATOMIC_ACQUIRE))
		sched_yield();
	CHECK(memory->records[queue][0] == 1 && !memcmp(memory->source[queue], memory->destination[queue], SIZE));
}

static void *work(void *queue)
{
	for (unsigned int i = 0; i < 100; i++)
		move((unsigned int)(uintptr_t)queue, i, i % 4 == 3 ? enqueue : submit);
	return NULL;
}

/* A thread for each work queue. */
static void works(char **arguments)
{
	pthread_t threads[QUEUES];

	(void)arguments;
	begin();
	CHECK(get(VERSION) == 0x100 && get(GENCAP) >> 16);
	enable();
	for (uintptr_t i = 0; i < QUEUES; i++)
		CHECK(!pthread_create(&threads[i], NULL, work, (void *)i)); /* NOLINT(performance-no-int-to-ptr) */
	for (unsigned int i = 0; i < QUEUES; i++)
		CHECK(!pthread_join(threads[i], NULL));
}

/* --- the program's own handlers --- */

static sigjmp_buf back;
static volatile int caught, caught_code;
static volatile uintptr_t caught_at;
static volatile bool caught_on_stack, caught_blocked;
static uint8_t stack[65536];

static void with_info(int signal, siginfo_t *info, void *context)
{
	sigset_t blocked;

	(void)context;
	sigprocmask(SIG_SETMASK, NULL, &blocked);
	caught = signal;
	caught_code = info->si_code;
	caught_at = (uintptr_t)info->si_addr;
	caught_on_stack = (uint8_t *)&blocked >= stack && (uint8_t *)&blocked < stack + sizeof(stack);
	caught_blocked = sigismember(&blocked, SIGUSR1) && sigismember(&blocked, signal);
	siglongjmp(back, 1);
}

static void plain(int signal)
{
	caught = signal;
	siglongjmp(back, 1);
}

/* What is done at @address, which is not to go well. */
#define FAILS(expected, what)                                                                                                      \
	do {                                                                                                                       \
		caught = 0;                                                                                                        \
		if (!sigsetjmp(back, 1)) {                                                                                         \
			what;                                                                                                      \
			CHECK(caught); /* it went well */                                                                          \
		}                                                                                                                  \
		CHECK(caught == (expected));                                                                                       \
	} while (0)

/* What MOVDIR64B gets where nothing is: a processor that has it not does not look there. CPUID may know less than the processor. */
static volatile int refused;

static void find_refused(void)
{
	static uint8_t there[DESCRIPTOR] __attribute__((aligned(64)));
	static const struct descriptor descriptor;

	refused = SIGILL;
	if (sigsetjmp(back, 1))
		return;
	submit(there, &descriptor);
	refused = SIGSEGV;
}

static void set_own(int flags)
{
	struct sigaction action = {.sa_flags = SA_SIGINFO | flags}, found;

	action.sa_sigaction = with_info;
	sigaddset(&action.sa_mask, SIGUSR1);
	CHECK(!sigaction(SIGSEGV, &action, NULL) && !sigaction(SIGILL, &action, NULL) && !sigaction(SIGBUS, &action, NULL));
	CHECK(!sigaction(SIGSEGV, NULL, &found) && found.sa_sigaction == with_info && sigismember(&found.sa_mask, SIGUSR1));
	find_refused();
}

/* --- copies --- */

/* Descriptors by other stores, each in order and as a whole. */
static void by_sse(volatile uint8_t *portal, const struct descriptor *descriptor)
{
	for (unsigned int i = 0; i < DESCRIPTOR / 16; i++)
		_mm_stream_si128((__m128i *)(uintptr_t)portal + i, _mm_loadu_si128((const __m128i *)descriptor + i));
}

__attribute__((target("avx"))) static void by_avx(volatile uint8_t *portal, const struct descriptor *descriptor)
{
	for (unsigned int i = 0; i < DESCRIPTOR / 32; i++)
		_mm256_store_si256((__m256i *)(uintptr_t)portal + i, _mm256_loadu_si256((const __m256i *)descriptor + i));
}

__attribute__((target("avx512f"))) static void by_avx512(volatile uint8_t *portal, const struct descriptor *descriptor)
{
	_mm512_store_si512((void *)(uintptr_t)portal, _mm512_loadu_si512(descriptor));
}

static void by_string(volatile uint8_t *portal, const struct descriptor *descriptor)
{
	unsigned long words = DESCRIPTOR / 8;

	__asm__ volatile("rep movsq" : "+D"(portal), "+S"(descriptor), "+c"(words) : : "memory");
}

/* The configuration of a work queue that is not enabled keeps what is written. */
static void expect_queue(const uint8_t *bytes, size_t length)
{
	for (size_t at = 0; at < length; at += 4) {
		uint32_t value;

		memcpy(&value, bytes + at, sizeof(value));
		CHECK(get(QUEUE + (QUEUES - 1) * QUEUE_SIZE + (unsigned int)at) == value);
	}
}

/* Atomics: what was there, and what is there then. @words: two that are 0x5a5a5a5a. */
static void atomics(uint32_t *words)
{
	uint64_t both = 0x123, *pair = (uint64_t *)(void *)words;
	uint32_t expected = 0x107;

	CHECK(__atomic_exchange_n(words, 7, __ATOMIC_SEQ_CST) == 0x5a5a5a5a);
	__atomic_fetch_or(words, 0x100, __ATOMIC_SEQ_CST);
	CHECK(!__atomic_compare_exchange_n(words, &(uint32_t){8}, 9, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	CHECK(__atomic_compare_exchange_n(words, &expected, 0x120, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) && expected == 0x107);
	CHECK(__atomic_fetch_add(words, 5, __ATOMIC_SEQ_CST) == 0x120 && words[0] == 0x125);
	CHECK(__atomic_fetch_xor(words, 0x16, __ATOMIC_SEQ_CST) == 0x125 && words[0] == 0x133);
	CHECK(__atomic_fetch_and(words, ~16U, __ATOMIC_SEQ_CST) & 16 && words[0] == 0x123);
	CHECK(!__atomic_compare_exchange_n(pair, &both, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	CHECK(both == 0x5a5a5a5a00000123 && words[0] == 0x123 && words[1] == 0x5a5a5a5a);
}

/* What operators become, and a bit that is farther away than its operand is long. */
static void operators(volatile uint32_t *words)
{
	uint64_t pushed;
	bool was;

	*words = 0x123;
	*words <<= 4;
	CHECK(*words == 0x1230 && *words * 3 == 0x3690 && __builtin_ctz(*words) == 4);
	__asm__ volatile("lock btsl %2, %1\n	setc %0" : "=q"(was), "+m"(words[-1]) : "r"(32 + 1) : "memory", "cc");
	CHECK(!was && *words == 0x1232);
	__asm__ volatile("pushq %1\n	popq %0" : "=r"(pushed) : "m"(*(volatile uint64_t *)words));
	CHECK(pushed >> 32 == words[1] && (uint32_t)pushed == 0x1232);
}

/* Registers with memory, and memory with registers; and memory that is not there. */
static void comparisons(const uint8_t *there, const uint8_t *same, size_t length, const uint8_t *nothing)
{
	const uint8_t *a = there, *b = same;
	size_t left = length;

	__asm__ volatile("repe cmpsb" : "+S"(a), "+D"(b), "+c"(left) : : "memory", "cc");
	CHECK(!left && a == there + length && b == same + length);
	a = there, b = same, left = length / 4;
	__asm__ volatile("repe cmpsl" : "+D"(a), "+S"(b), "+c"(left) : : "memory", "cc");
	CHECK(!left && a == there + length && b == same + length);
	b = there, left = length;
	__asm__ volatile("repne scasb" : "+D"(b), "+c"(left) : "a"(there[3]) : "memory", "cc");
	CHECK(b > there && b[-1] == there[3]);
	a = there, b = nothing;
	FAILS(SIGSEGV, __asm__ volatile("cmpsl" : "+S"(a), "+D"(b) : : "memory", "cc"));
}

static void copies(char **arguments)
{
	void (*const ways[])(volatile uint8_t *,
			     const struct descriptor *) = {by_sse, by_string, __builtin_cpu_supports("avx") ? by_avx : by_sse,
							   __builtin_cpu_supports("avx512f") ? by_avx512 : by_sse};
	uint8_t *queue, pattern[24], out[24];
	unsigned long count = sizeof(out) / 4;
	void *to = out;
	volatile void *from;
	const uint8_t *nothing = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)arguments;
	begin();
	set_own(0);
	CHECK(nothing != MAP_FAILED);
	queue = (uint8_t *)(uintptr_t)registers + QUEUE + (size_t)(QUEUES - 1) * QUEUE_SIZE;
	/* The C library's, of all lengths; it takes what the processor is best at. */
	for (size_t length = 4; length <= sizeof(pattern); length += 4) {
		for (size_t i = 0; i < length; i++)
			pattern[i] = (uint8_t)(length * 31 + i * 7);
		memcpy(queue, pattern, length);
		expect_queue(pattern, length);
		memset(out, 0, sizeof(out));
		memcpy(out, queue, length);
		CHECK(!memcmp(out, pattern, length));
	}
	memset(queue, 0x5a, 16);
	memset(pattern, 0x5a, 16);
	expect_queue(pattern, sizeof(pattern));
	memset(out, 0, sizeof(out));
	from = queue;
	__asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
	CHECK(!count && to == out + sizeof(out) && from == queue + sizeof(out) && !memcmp(out, pattern, sizeof(out)));
	comparisons(queue, out, sizeof(out), nothing);
	atomics((uint32_t *)(void *)queue);
	operators((volatile uint32_t *)(void *)queue);
	enable();
	for (unsigned int i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		move(i % QUEUES, i, ways[i]);
}

/* --- whose signals they are --- */

static void handlers(char **arguments)
{
	const stack_t own = {.ss_sp = stack, .ss_size = sizeof(stack)};
	uint8_t *nothing = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sigaction found;
	const uint16_t off = 0;

	(void)arguments;
	CHECK(!sigaltstack(&own, NULL) && nothing != MAP_FAILED);
	set_own(SA_ONSTACK); /* before anything is mapped, */
	begin();
	CHECK(get(VERSION) == 0x100);
	CHECK(!sigaction(SIGSEGV, NULL, &found) && found.sa_sigaction == with_info && found.sa_flags & SA_ONSTACK);
	FAILS(SIGSEGV, nothing[8] = 1);
	CHECK(caught_at == (uintptr_t)nothing + 8 && caught_code == SEGV_ACCERR && caught_on_stack && caught_blocked);
	set_own(SA_ONSTACK); /* and after that */
	FAILS(SIGSEGV, nothing[8] = 1);
	CHECK(caught_on_stack && get(VERSION) == 0x100);
	FAILS(SIGILL, __asm__ volatile("ud2"));
	/* What such a store finds elsewhere is the program's, too. */
	FAILS(SIGILL, __asm__ volatile("ud2"));
	FAILS(SIGSEGV, __asm__ volatile("fildl (%0)" : : "r"(registers) : "memory"));
	/* Once, as it says. */
	CHECK(signal(SIGSEGV, plain) != SIG_ERR);
	FAILS(SIGSEGV, nothing[8] = 1);
	CHECK(signal(SIGSEGV, SIG_DFL) == plain);
	set_own((int)SA_RESETHAND);
	FAILS(SIGSEGV, nothing[8] = 1);
	CHECK(!sigaction(SIGSEGV, NULL, &found) && found.sa_handler == SIG_DFL);
	CHECK(get(VERSION) == 0x100);
	/* Registers that are not decoded, and a source that is not there. */
	set_own(0);
	enable();
	FAILS(refused, submit(portals, (const struct descriptor *)(const void *)nothing));
	move(0, 1, submit);
	CHECK(pwrite(device, &off, sizeof(off), region(VFIO_PCI_CONFIG_REGION_INDEX) + 4) == sizeof(off));
	FAILS(SIGBUS, get(VERSION));
	CHECK(caught_at == (uintptr_t)registers + VERSION);
	be_master();
	CHECK(get(VERSION) == 0x100);
}

/* Without a handler the program ends as it would with none of ours. */
static void dies(char **arguments)
{
	begin();
	if (!strcmp(arguments[0], "unknown"))
		__asm__ volatile("fildl (%0)" : : "r"(registers) : "memory");
	if (!strcmp(arguments[0], "read-only"))
		*(volatile uint8_t *)map(VFIO_PCI_BAR0_REGION_INDEX, PROT_READ) = 1;
	if (!strcmp(arguments[0], "sent"))
		raise(SIGSEGV);
}

/* --- mappings --- */

static uint8_t *page_of(unsigned int index, int flags, void *address)
{
	uint8_t *mapped = mmap(address, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | flags, device, region(index));

	CHECK(mapped != MAP_FAILED);
	return mapped;
}

static void mappings(char **arguments)
{
	uint8_t *first, *more;
	pid_t pid;

	(void)arguments;
	begin();
	enable();
	set_own(0);
	/* Parts go: in front, behind, in the middle; what is mapped there instead is memory. */
	CHECK(!munmap((void *)(uintptr_t)portals, PAGE) && !munmap((uint8_t *)(uintptr_t)portals + 2 * PORTALS + PAGE, PAGE));
	FAILS(refused, submit(portals, (const struct descriptor *)(const void *)memory));
	move(1, 1, submit);
	move(2, 1, submit);
	move(3, 1, submit);
	more = mmap((uint8_t *)(uintptr_t)portals + PORTALS, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		    -1, 0);
	CHECK(more == portals + PORTALS);
	*more = 1;
	first = page_of(VFIO_PCI_BAR2_REGION_INDEX, MAP_FIXED, (void *)(uintptr_t)portals);
	CHECK(first == portals);
	move(0, 2, submit);
	move(2, 2, submit);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, device, region(VFIO_PCI_BAR2_REGION_INDEX)) == MAP_FAILED &&
	      errno == EINVAL);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, device, region(VFIO_PCI_BAR2_REGION_INDEX) + 8 * PORTALS) == MAP_FAILED);
	/* A child has them, too. */
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		move(2, 3, submit);
		_exit(0);
	}
	wait_for(pid);
	/* They hold the device; and when they go, it goes. */
	close(device);
	move(2, 4, submit);
	CHECK(open("/dev/vfio/devices/vfio0", O_RDWR) >= 0);
	CHECK(!munmap((void *)(uintptr_t)registers, PAGE) && !munmap((void *)(uintptr_t)portals, 8 * PORTALS));
	FAILS(SIGSEGV, get(VERSION));
	iommufd = -1;
	open_device();
	registers = map(VFIO_PCI_BAR0_REGION_INDEX, PROT_READ | PROT_WRITE);
	CHECK(get(VERSION) == 0x100 && !get(QUEUE));
}

static uint32_t get_at(const volatile uint8_t *at)
{
	return *(const volatile uint32_t *)at;
}

/* What they may, and where they are, changes as with Linux's vfio-pci; and never is there memory in their place. */
static void changes(char **arguments)
{
	uint8_t *mapped, *moved, *memory_there;

	(void)arguments;
	begin();
	set_own(0);
	mapped = (uint8_t *)(uintptr_t)registers;
	/* Memory, registers, memory: the call changes all three. */
	memory_there = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(memory_there != MAP_FAILED && page_of(VFIO_PCI_BAR0_REGION_INDEX, MAP_FIXED, memory_there + PAGE));
	FAILS(SIGSEGV, get_at(memory_there));
	CHECK(!mprotect(memory_there, 3 * PAGE, PROT_READ));
	CHECK(!get_at(memory_there) && !get_at(memory_there + 2 * PAGE) && get_at(memory_there + PAGE) == 0x100);
	FAILS(SIGSEGV, memory_there[PAGE] = 1);
	CHECK(!mprotect(memory_there + PAGE, PAGE, PROT_NONE));
	FAILS(SIGSEGV, get_at(memory_there + PAGE));
	CHECK(!mprotect(memory_there, 3 * PAGE, PROT_READ | PROT_WRITE));
	memory_there[0] = memory_there[3 * PAGE - 1] = 1;
	*(volatile uint32_t *)(memory_there + PAGE + QUEUE) = 77;
	CHECK(get(QUEUE) == 77 && get_at(memory_there + PAGE) == 0x100);
	CHECK(mprotect(memory_there + PAGE + 1, PAGE, PROT_READ) && errno == EINVAL);
	CHECK(mprotect(memory_there + PAGE, PAGE, PROT_READ | 0x80) && errno == EINVAL);
	/* What ends before registers do, and a hole behind them. */
	CHECK(!munmap(memory_there + 2 * PAGE, PAGE));
	CHECK(mprotect(memory_there + PAGE, 2 * PAGE, PROT_READ) && errno == ENOMEM);
	FAILS(SIGSEGV, memory_there[PAGE] = 1);
	/* One page of many; the others take descriptors still. */
	enable();
	CHECK(!mprotect((uint8_t *)(uintptr_t)portals + PORTALS, PORTALS, PROT_READ));
	FAILS(refused, submit(portal_of(1), (const struct descriptor *)(const void *)memory));
	move(0, 1, submit);
	move(2, 1, submit);
	CHECK(!mprotect((uint8_t *)(uintptr_t)portals, 8 * PORTALS, PROT_WRITE));
	for (unsigned int i = 0; i < QUEUES; i++)
		move(i, 2, submit);
	CHECK(mremap(mapped, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EFAULT && get(VERSION) == 0x100);
	CHECK(mremap(mapped, 0, PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EINVAL);
	CHECK(mremap(mapped, PAGE, PAGE, 0) == mapped && get(VERSION) == 0x100);
	/* To where memory is, and memory to where registers are. */
	moved = mmap(NULL, 16 * PORTALS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(moved != MAP_FAILED);
	/* Parts that have been apart stay so. */
	CHECK(mremap((uint8_t *)(uintptr_t)portals, 8 * PORTALS, 8 * PORTALS, MREMAP_MAYMOVE | MREMAP_FIXED, moved) == MAP_FAILED);
	CHECK(errno == EFAULT && !munmap((uint8_t *)(uintptr_t)portals, 8 * PORTALS));
	portals = map(VFIO_PCI_BAR2_REGION_INDEX, PROT_READ | PROT_WRITE);
	CHECK(mremap((uint8_t *)(uintptr_t)portals, 8 * PORTALS, 8 * PORTALS, MREMAP_MAYMOVE | MREMAP_FIXED, moved) == moved);
	FAILS(refused, submit(portal_of(0), (const struct descriptor *)(const void *)memory));
	portals = moved;
	for (unsigned int i = 0; i < QUEUES; i++)
		move(i, 3, submit);
	CHECK(mremap(moved + 8 * PORTALS, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, moved + PORTALS) == moved + PORTALS);
	moved[PORTALS] = 1;
	move(0, 4, submit);
	move(2, 4, submit);
	/* Fewer. */
	CHECK(mremap(moved + 2 * PORTALS, 4 * PORTALS, PORTALS, 0) == moved + 2 * PORTALS);
	move(2, 5, submit);
	FAILS(refused, submit(portal_of(3), (const struct descriptor *)(const void *)memory));
	/* No program is there. */
	FAILS(SIGSEGV, ((void (*)(void))(uintptr_t)registers)());
	CHECK(caught_at == (uintptr_t)registers);
}

/* Descriptors that hold mappings. */
static unsigned int count_held(void)
{
	static unsigned int count;

	count = 0;
	for (int fd = HELD; fd < HELD + 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void *fixed(void *address, size_t length, int fd, off_t offset)
{
	return mmap(address, length, PROT_READ | PROT_WRITE, (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) | MAP_FIXED, fd,
		    offset);
}

#define HAS_NO_ROOM(call) CHECK((call) && errno == ENOMEM)

/* More parts than there may be: nothing of it happens, and what there is stays. What makes no more parts goes on. */
static void parts(char **arguments)
{
	const unsigned int before = count_held();
	uint8_t *whole, *single, *others[128];
	static unsigned int count;

	(void)arguments;
	begin();
	set_own(0);
	enable();
	whole = (uint8_t *)(uintptr_t)portals;
	single = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(single != MAP_FAILED);
	while ((others[count] = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, device, region(VFIO_PCI_BAR0_REGION_INDEX))) != MAP_FAILED)
		CHECK(++count < 100);
	CHECK(errno == ENOMEM && count_held() == before + count + 2);
	HAS_NO_ROOM(munmap(whole + PORTALS, PORTALS));
	HAS_NO_ROOM(mprotect(whole + PORTALS, PORTALS, PROT_READ));
	HAS_NO_ROOM(mprotect(whole, PORTALS, PROT_READ));
	HAS_NO_ROOM(fixed(whole + PORTALS, PAGE, -1, 0) == MAP_FAILED);
	HAS_NO_ROOM(fixed(whole + PORTALS, PAGE, device, region(VFIO_PCI_BAR0_REGION_INDEX)) == MAP_FAILED);
	HAS_NO_ROOM(mremap(single, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, whole + PORTALS) == MAP_FAILED);
	HAS_NO_ROOM(mremap(whole + PORTALS, PORTALS, PAGE, MREMAP_MAYMOVE) == MAP_FAILED);
	HAS_NO_ROOM(mremap(whole, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, single) == MAP_FAILED);
	*single = 1;
	for (unsigned int i = 0; i < QUEUES; i++)
		move(i, 1, submit);
	/* At the ends, and all of one: with its place. */
	CHECK(!mprotect(whole, 8 * PORTALS, PROT_READ) && !mprotect(whole, 8 * PORTALS, PROT_WRITE));
	CHECK(!munmap(whole, PAGE) && !munmap(whole + 7 * PORTALS, PORTALS));
	FAILS(refused, submit(whole, (const struct descriptor *)(const void *)memory));
	for (unsigned int i = 1; i < QUEUES; i++)
		move(i, 2, submit);
	CHECK(fixed(whole + 6 * PORTALS, PORTALS, -1, 0) == whole + 6 * PORTALS && count_held() == before + count + 2);
	whole[6 * PORTALS] = 1;
	HAS_NO_ROOM(munmap(whole + PORTALS, PORTALS));
	/* Room for one, and none for two; what fails otherwise has taken none. */
	CHECK(!munmap(others[0], PAGE));
	HAS_NO_ROOM(mprotect(whole + PORTALS, PORTALS, PROT_READ));
	HAS_NO_ROOM(fixed(whole + PORTALS, PAGE, device, region(VFIO_PCI_BAR0_REGION_INDEX)) == MAP_FAILED);
	CHECK(munmap(whole + PORTALS + 1, PAGE) && errno == EINVAL);
	CHECK(pkey_mprotect(whole + 5 * PORTALS, PORTALS, PROT_READ, 15) && errno == EINVAL);
	CHECK(!munmap(whole + PORTALS, PORTALS) && count_held() == before + count + 2);
	FAILS(refused, submit(portal_of(1), (const struct descriptor *)(const void *)memory));
	move(2, 3, submit);
	move(3, 3, submit);
	HAS_NO_ROOM(munmap(whole + 3 * PORTALS, PAGE));
	/* Over parts and holes at once. */
	CHECK(!munmap(whole, 3 * PORTALS));
	move(3, 4, submit);
	CHECK(!munmap(whole, 8 * PORTALS) && !munmap((void *)(uintptr_t)registers, PAGE));
	for (unsigned int i = 1; i < count; i++)
		CHECK(get_at(others[i]) == 0x100 && !munmap(others[i], PAGE));
	CHECK(count_held() == before);
}

static unsigned int together;

/* Both go on when both are here: at once, as far as that can be. */
static void meet(void)
{
	__atomic_add_fetch(&together, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&together, __ATOMIC_SEQ_CST) % 2)
		sched_yield();
}

/* Every second page of one mapping, one upwards and one downwards: so both are in the middle of what is left. */
static void *take_parts(void *argument)
{
	const bool downwards = argument;

	meet();
	for (unsigned int i = 0; i < TAKEN; i++) {
		const unsigned int page = downwards ? 2 * (TAKEN - i) : 2 * i + 1;
		uint8_t *at = (uint8_t *)(uintptr_t)portals + (size_t)page * PAGE;

		CHECK((i % 4 || !mprotect(at, PAGE, PROT_READ)) && !munmap(at, PAGE));
	}
	return NULL;
}

/* A half, which ends where the other one begins. */
static void *take_half(void *argument)
{
	meet();
	CHECK(!munmap((uint8_t *)(uintptr_t)portals + (uintptr_t)argument * 4 * PORTALS, (size_t)4 * PORTALS));
	return NULL;
}

static void by_two(void *(*run)(void *))
{
	pthread_t other;

	CHECK(!pthread_create(&other, NULL, run, (void *)1)); /* NOLINT(performance-no-int-to-ptr) */
	run(NULL);
	CHECK(!pthread_join(other, NULL));
}

static void at_once(char **arguments)
{
	static unsigned int before, round, page;

	(void)arguments;
	before = count_held();
	begin();
	set_own(0);
	for (round = 0; round < 200; round++) {
		by_two(take_parts);
		for (page = 1; page <= 2 * TAKEN; page++)
			FAILS(SIGSEGV, get_at(portals + (size_t)page * PAGE));
		CHECK(count_held() == before + 3 && !munmap((uint8_t *)(uintptr_t)portals, 8 * PORTALS));
		CHECK(count_held() == before + 1);
		portals = map(VFIO_PCI_BAR2_REGION_INDEX, PROT_READ | PROT_WRITE);
		by_two(take_half);
		CHECK(count_held() == before + 1);
		portals = map(VFIO_PCI_BAR2_REGION_INDEX, PROT_READ | PROT_WRITE);
	}
}

/* Protection keys, where the processor has them. */
static void keys(char **arguments)
{
	int key;

	(void)arguments;
	begin();
	set_own(0);
	CHECK(!pkey_mprotect((uint8_t *)(uintptr_t)registers, PAGE, PROT_READ, -1));
	FAILS(SIGSEGV, set(QUEUE, 1));
	CHECK(!pkey_mprotect((uint8_t *)(uintptr_t)registers, PAGE, PROT_READ | PROT_WRITE, -1));
	set(QUEUE, 2);
	CHECK(get(QUEUE) == 2);
	/* A key that nobody has. */
	CHECK(pkey_mprotect((uint8_t *)(uintptr_t)registers, PAGE, PROT_READ, 15) && errno == EINVAL);
	set(QUEUE, 3);
	CHECK(get(QUEUE) == 3);
	/* A handler begins with none, and so does what it jumps to. */
	key = pkey_alloc(0, 0);
	if (key < 0)
		return;
	CHECK(!pkey_mprotect((uint8_t *)(uintptr_t)registers, PAGE, PROT_READ | PROT_WRITE, key));
	set(QUEUE, 4);
	CHECK(get(QUEUE) == 4 && !pkey_set(key, PKEY_DISABLE_WRITE) && get(QUEUE) == 4);
	FAILS(SIGSEGV, set(QUEUE, 5));
	CHECK(caught_code == SEGV_PKUERR && !pkey_set(key, PKEY_DISABLE_ACCESS));
	FAILS(SIGSEGV, get(QUEUE));
	CHECK(caught_code == SEGV_PKUERR && !pkey_set(key, 0) && get(QUEUE) == 4);
}

static const struct test_case cases[] = {{"works", works}, {"copies", copies},	   {"handlers", handlers},
					 {"dies", dies},   {"mappings", mappings}, {"changes", changes},
					 {"parts", parts}, {"at-once", at_once},   {"keys", keys}};

int main(int argc, char **argv)
{
	return run_case(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "test.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <uiommu/context.h>
#include <unistd.h>

#include "memory/copy.h"
#include "traps.h"
#include "util/util.h"

enum { GUARD_NONE, GUARD_HOLE, GUARD_READ_ONLY, GUARD_BUS };

/* Two accessible pages and what comes after them; returns the end of the accessible part. */
static uint8_t *guarded(int guard)
{
	size_t page = page_size();
	uint8_t *base;
	int fd = memfd_create("copy", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(4 * page)), 0);
	base = mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(base != MAP_FAILED);
	if (guard == GUARD_NONE)
		assert_int_equal(mprotect(base + 2 * page, 2 * page, PROT_NONE), 0);
	else if (guard == GUARD_HOLE)
		assert_int_equal(munmap(base + 2 * page, 2 * page), 0);
	else if (guard == GUARD_READ_ONLY)
		assert_int_equal(mprotect(base + 2 * page, 2 * page, PROT_READ), 0);
	else
		assert_int_equal(ftruncate(fd, (off_t)(2 * page)), 0);
	close(fd);
	return base + 2 * page;
}

static void unguard(uint8_t *end)
{
	munmap(end - 2 * page_size(), 4 * page_size());
}

static void fill(uint8_t *bytes, size_t length, unsigned int seed)
{
	for (size_t i = 0; i < length; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251 + seed);
}

static void every_length_and_alignment(void **state)
{
	static uint8_t src[20000], dst[20000], expected[20000];
	struct copy_result result;

	(void)state;
	fill(src, sizeof(src), 1);
	for (size_t length = 0; length < 9000; length += length < 300 ? 1 : 173)
		for (size_t align = 0; align < 64; align += length < 300 ? 5 : 21) {
			memset(dst, 0xee, sizeof(dst));
			memset(expected, 0xee, sizeof(expected));
			memcpy(expected + align, src + 64 - align, length);
			result = copy_bytes(dst + align, src + 64 - align, length);
			assert_int_equal(result.done, length);
			assert_int_equal(result.fault, COPY_OK);
			assert_memory_equal(dst, expected, sizeof(dst));
		}
}

static void overlap_moves_down(void **state)
{
	static uint8_t bytes[5000], expected[5000];

	(void)state;
	for (size_t distance = 0; distance < 140; distance++)
		for (size_t length = 1; length < 4000; length += length < 130 ? 1 : 997) {
			fill(bytes, sizeof(bytes), 3);
			fill(expected, sizeof(expected), 3);
			memmove(expected + 10, expected + 10 + distance, length);
			assert_int_equal(copy_bytes(bytes + 10, bytes + 10 + distance, length).done, length);
			assert_memory_equal(bytes, expected, sizeof(bytes));
		}
}

/* @left bytes of the source are accessible. */
static void check_read_fault(uint8_t *end, int guard, size_t length, size_t left)
{
	static uint8_t dst[9000], expected[9000];
	struct copy_result result;

	memset(dst, 0xee, sizeof(dst));
	memset(expected, 0xee, sizeof(expected));
	memcpy(expected, end - left, left);
	result = copy_bytes(dst, end - left, length);
	assert_int_equal(result.done, left);
	assert_int_equal(result.fault, COPY_FAULT_READ);
	assert_int_equal(result.unmapped, guard == GUARD_HOLE);
	assert_int_equal(result.bus, guard == GUARD_BUS);
	assert_memory_equal(dst, expected, sizeof(dst));
}

static void check_write_fault(uint8_t *end, int guard, size_t length, size_t left)
{
	static uint8_t src[9000];
	struct copy_result result;

	fill(src, sizeof(src), 5);
	memset(end - 2 * page_size(), 0xee, 2 * page_size());
	result = copy_bytes(end - left, src, length);
	assert_int_equal(result.done, left);
	assert_int_equal(result.fault, COPY_FAULT_WRITE);
	assert_int_equal(result.unmapped, guard == GUARD_HOLE);
	assert_int_equal(result.bus, guard == GUARD_BUS);
	assert_memory_equal(end - left, src, left);
	assert_int_equal(end[-(ptrdiff_t)left - 1], 0xee);
}

static void every_boundary(int guard, void (*check)(uint8_t *, int, size_t, size_t))
{
	static const size_t lengths[] = {100, 128, 129, 200, 1279, 1280, 1281, 4096, 8000};
	uint8_t *end = guarded(guard);

	fill(end - 2 * page_size(), 2 * page_size(), 9);
	for (size_t length = 1; length <= 80; length++)
		for (size_t left = 0; left < length; left++)
			check(end, guard, length, left);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
		for (size_t left = 0; left < lengths[i]; left += left < 70 || lengths[i] - left < 70 ? 1 : 41)
			check(end, guard, lengths[i], left);
	unguard(end);
}

static void read_faults(void **state)
{
	(void)state;
	traps_on();
	every_boundary(GUARD_NONE, check_read_fault);
	every_boundary(GUARD_HOLE, check_read_fault);
	every_boundary(GUARD_BUS, check_read_fault);
}

static void write_faults(void **state)
{
	(void)state;
	traps_on();
	every_boundary(GUARD_NONE, check_write_fault);
	every_boundary(GUARD_HOLE, check_write_fault);
	every_boundary(GUARD_READ_ONLY, check_write_fault);
	every_boundary(GUARD_BUS, check_write_fault);
}

static void overlapping_fault_is_exact(void **state)
{
	uint8_t *end = guarded(GUARD_HOLE), expected[300];
	struct copy_result result;

	(void)state;
	traps_on();
	for (size_t distance = 1; distance < 100; distance++)
		for (size_t left = distance + 1; left < 200; left += 7) {
			fill(end - 300, 300, 11);
			memcpy(expected, end - 300, 300);
			memmove(expected + 300 - left - distance, expected + 300 - left, left);
			result = copy_bytes(end - left - distance, end - left, left + 50);
			assert_int_equal(result.done, left);
			assert_int_equal(result.fault, COPY_FAULT_READ);
			assert_true(result.unmapped);
			assert_memory_equal(end - 300, expected, 300);
		}
	unguard(end);
}

static void addresses_of_no_process(void **state)
{
	static const uintptr_t bad[] = {0, 0x800000000000, 0x8000000000000000, 0xffff800000000000, 0xffffffffffff0000};
	static const size_t lengths[] = {1, 8, 13, 64, 1000, 5000};
	uint8_t buffer[5000];
	struct copy_result result;

	(void)state;
	traps_on();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		for (size_t k = 0; k < ARRAY_SIZE(lengths); k++) {
			result = copy_bytes(buffer, (void *)bad[i], lengths[k]);
			assert_int_equal(result.done, 0);
			assert_int_equal(result.fault, COPY_FAULT_READ);
			assert_true(result.unmapped);
			result = copy_bytes((void *)bad[i], buffer, lengths[k]);
			assert_int_equal(result.done, 0);
			assert_int_equal(result.fault, COPY_FAULT_WRITE);
			assert_true(result.unmapped);
		}
}

static void atomics_compute(void **state)
{
	uint64_t word = 0xffffffff00000005, old;
	struct copy_result fault;

	(void)state;
	assert_true(copy_fetch_add(&word, 8, 0x100000000, &old, &fault));
	assert_int_equal(old, 0xffffffff00000005);
	assert_int_equal(word, 5);
	assert_true(copy_fetch_add(&word, 4, 0xffffffff, &old, &fault));
	assert_int_equal(old, 5);
	assert_int_equal(word, 4); /* no carry into the other half */
	assert_true(copy_swap(&word, 8, 0x1122334455667788, &old, &fault));
	assert_int_equal(old, 4);
	assert_true(copy_swap(&word, 4, 0xffffffff00000001, &old, &fault));
	assert_int_equal(old, 0x55667788);
	assert_int_equal(word, 0x1122334400000001);
	assert_true(copy_compare_swap(&word, 8, 1, 2, &old, &fault));
	assert_int_equal(old, 0x1122334400000001);
	assert_int_equal(word, 0x1122334400000001);
	assert_true(copy_compare_swap(&word, 8, 0x1122334400000001, 2, &old, &fault));
	assert_int_equal(word, 2);
	assert_true(copy_compare_swap(&word, 4, 2, 0xffffffff, &old, &fault));
	assert_int_equal(old, 2);
	assert_int_equal(word, 0xffffffff);
}

static void atomics_fault(void **state)
{
	static const int guards[] = {GUARD_NONE, GUARD_HOLE, GUARD_READ_ONLY, GUARD_BUS};
	struct copy_result fault;
	uint64_t old;

	(void)state;
	traps_on();
	for (size_t i = 0; i < ARRAY_SIZE(guards); i++) {
		uint8_t *end = guarded(guards[i]);

		for (unsigned int length = 4; length <= 8; length += 4)
			for (int op = 0; op < 3; op++) {
				assert_false(op == 0   ? copy_fetch_add(end, length, 1, &old, &fault)
					     : op == 1 ? copy_swap(end, length, 1, &old, &fault)
						       : copy_compare_swap(end, length, 7, 1, &old, &fault));
				assert_int_equal(fault.done, 0);
				assert_int_equal(fault.unmapped, guards[i] == GUARD_HOLE);
				assert_int_equal(fault.bus, guards[i] == GUARD_BUS);
				if (guards[i] == GUARD_READ_ONLY)
					assert_int_equal(fault.fault, COPY_FAULT_WRITE);
			}
		unguard(end);
	}
}

enum { ADDERS = 2, ADDS = 20000 };

static void *adder(void *word)
{
	struct copy_result fault;
	uint64_t old;

	for (int i = 0; i < ADDS; i++)
		copy_fetch_add(word, 8, 1, &old, &fault);
	return NULL;
}

static void atomics_are_atomic(void **state)
{
	pthread_t threads[ADDERS];
	uint64_t word = 0;

	(void)state;
	for (int i = 0; i < ADDERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, adder, &word), 0);
	for (int i = 0; i < ADDERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(word, ADDERS * ADDS);
}

static void *faulting_thread(void *end)
{
	uint8_t buffer[4000];

	for (size_t i = 0; i < 2000; i++)
		if (copy_bytes(buffer, (uint8_t *)end - i, 2 * i + 1).done != i)
			return end;
	return NULL;
}

static void faults_in_many_threads(void **state)
{
	uint8_t *end = guarded(GUARD_HOLE);
	pthread_t threads[4];
	void *failed;

	(void)state;
	traps_on();
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, faulting_thread, end), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	unguard(end);
}

/* What happens to faults of others. Handlers are per process, so each case has its own. */
static volatile sig_atomic_t seen;
static sigjmp_buf escape;
static volatile char *volatile nowhere = (volatile char *)8;

static void on_segv_info(int sig, siginfo_t *info, void *context)
{
	sigset_t mask;

	(void)context;
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	if (sig == SIGSEGV && info->si_addr == (void *)(uintptr_t)nowhere && sigismember(&mask, SIGSEGV) &&
	    sigismember(&mask, SIGUSR1))
		seen++;
	siglongjmp(escape, 1);
}

static void on_segv_plain(int sig)
{
	seen += sig == SIGSEGV;
}

static void on_bus_unexpected(int sig)
{
	(void)sig;
	_exit(99);
}

static int child_status(void (*child)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		child();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void install(void (*handler)(int), int flags, void (*info)(int, siginfo_t *, void *))
{
	struct sigaction action = {.sa_flags = flags};

	if (info)
		action.sa_sigaction = info;
	else
		action.sa_handler = handler;
	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGUSR1);
	sigaction(SIGSEGV, &action, NULL);
	signal(SIGBUS, on_bus_unexpected);
	if (uiommu_install_fault_handler())
		_exit(98);
	/* Once more does nothing. */
	if (uiommu_install_fault_handler())
		_exit(98);
}

static bool own_fault_works(void)
{
	uint8_t byte;

	return copy_bytes(&byte, (void *)(uintptr_t)nowhere, 1).fault == COPY_FAULT_READ;
}

static void child_chains_info(void)
{
	install(NULL, SA_SIGINFO, on_segv_info);
	for (int i = 0; i < 3; i++)
		if (!sigsetjmp(escape, 1))
			(void)*nowhere;
	_exit(seen == 3 && own_fault_works() ? 0 : 1);
}

static void child_chains_sent_signal(void)
{
	install(on_segv_plain, 0, NULL);
	raise(SIGSEGV);
	_exit(seen == 1 && own_fault_works() ? 0 : 1);
}

static void child_calls_once(void)
{
	install(on_segv_plain, (int)SA_RESETHAND, NULL);
	raise(SIGSEGV);
	/* The first one came back from the handler, or this would not be the signal that ends it. */
	if (seen == 1)
		raise(SIGKILL);
}

static void child_resets_handler(void)
{
	install(on_segv_plain, (int)SA_RESETHAND, NULL);
	raise(SIGSEGV);
	raise(SIGSEGV);
}

static void child_default(void)
{
	install(SIG_DFL, 0, NULL);
	if (!own_fault_works())
		_exit(1);
	(void)*nowhere;
}

static void child_default_sent(void)
{
	install(SIG_DFL, 0, NULL);
	raise(SIGSEGV);
}

static void child_ignores_sent(void)
{
	install(SIG_IGN, 0, NULL);
	raise(SIGSEGV);
	_exit(own_fault_works() ? 0 : 1);
}

static void child_ignored_fault_kills(void)
{
	install(SIG_IGN, 0, NULL);
	(void)*nowhere;
}

static void *on_small_stack(void *unused)
{
	stack_t stack = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16}, before;
	bool works;

	(void)unused;
	sigaltstack(&stack, &before);
	works = own_fault_works();
	sigaltstack(&before, NULL); /* AddressSanitizer frees its own at the end of the thread */
	return works ? NULL : stack.ss_sp;
}

static void child_alternate_stack(void)
{
	pthread_t thread;
	void *failed;

	install(SIG_DFL, 0, NULL);
	pthread_create(&thread, NULL, on_small_stack, NULL);
	pthread_join(thread, &failed);
	_exit(failed ? 1 : 0);
}

static void foreign_faults_go_on(void **state)
{
	int status;

	(void)state;
	assert_false(copy_handler_installed());
	assert_int_equal(child_status(child_chains_info), 0);
	assert_int_equal(child_status(child_chains_sent_signal), 0);
	assert_int_equal(child_status(child_ignores_sent), 0);
	assert_int_equal(child_status(child_alternate_stack), 0);
	status = child_status(child_calls_once);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	status = child_status(child_resets_handler);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	status = child_status(child_default);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	status = child_status(child_default_sent);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	status = child_status(child_ignored_fault_kills);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void handler_installs(void **state)
{
	(void)state;
	assert_int_equal(traps_install(), 0);
	assert_true(copy_handler_installed());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_length_and_alignment),
		cmocka_unit_test(overlap_moves_down),
		cmocka_unit_test(foreign_faults_go_on),
		cmocka_unit_test(handler_installs), /* the rest needs it */
		cmocka_unit_test(read_faults),
		cmocka_unit_test(write_faults),
		cmocka_unit_test(overlapping_fault_is_exact),
		cmocka_unit_test(addresses_of_no_process),
		cmocka_unit_test(atomics_compute),
		cmocka_unit_test(atomics_fault),
		cmocka_unit_test(atomics_are_atomic),
		cmocka_unit_test(faults_in_many_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Interrupts as eventfds: what may be asked for, who is signalled, and when. */
#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pci/irqs.h"

#include "pci.h"

static struct {
	struct pci_rig rig;
	struct pci_transport transport;
	struct pci_irqs irqs;
	int fds[8]; /* eventfds */
} test;

static void intx(struct pci_transport *transport, bool asserted)
{
	(void)transport;
	pci_irqs_intx(&test.irqs, asserted);
}

static bool interrupt(struct pci_transport *transport, enum pci_interrupt kind, unsigned int vector)
{
	(void)transport;
	return pci_irqs_interrupt(&test.irqs, kind, vector);
}

static void message(struct pci_transport *transport, uint64_t address, uint32_t data)
{
	(void)transport;
	fail_msg("a message to %#llx: %u", (unsigned long long)address, data);
}

static void master(struct pci_transport *transport, bool on)
{
	(void)transport;
	test.rig.master = on;
}

static int set_up(void **state)
{
	struct uiommu_pci_description description = rig_description();

	(void)state;
	memset(&test, 0, sizeof(test));
	rig_open(&test.rig, &description, true);
	pci_connect(test.rig.pci, NULL);
	test.transport = (struct pci_transport){intx, interrupt, message, master};
	assert_int_equal(pci_irqs_init(&test.irqs, test.rig.pci, PCI_IRQS_FIXED | PCI_IRQS_REQUESTS), 0);
	pci_connect(test.rig.pci, &test.transport);
	rig_set(&test.rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	for (unsigned int i = 0; i < 8; i++)
		test.fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 8; i++)
		close(test.fds[i]);
	pci_connect(test.rig.pci, NULL);
	pci_irqs_fini(&test.irqs);
	uiommu_pci_destroy(test.rig.pci);
	assert_int_equal(uiommu_destroy(test.rig.context, test.rig.device), 0);
	assert_int_equal(uiommu_close(test.rig.context), 0);
	return 0;
}

/* How often it has been signalled since the last look. */
static uint64_t signalled(unsigned int i)
{
	uint64_t count = 0;

	return read(test.fds[i], &count, sizeof(count)) == sizeof(count) ? count : 0;
}

/* @first: of test.fds; -1: nobody. What is not taken over is closed. */
static int give(uint32_t flags, uint32_t index, uint32_t start, uint32_t count, int first)
{
	int fds[8], error;
	struct pci_irq_request request = {flags | PCI_IRQ_SET_FDS, index, start, count, .fds = fds};

	for (uint32_t i = 0; i < count; i++)
		fds[i] = first < 0 ? -1 : dup(test.fds[(unsigned int)first + i]);
	error = pci_irqs_set(&test.irqs, &request);
	for (uint32_t i = 0; i < count; i++) {
		assert_true(error || fds[i] == -1);
		if (fds[i] >= 0)
			close(fds[i]);
	}
	return error;
}

static int ask(uint32_t flags, uint32_t index, uint32_t start, uint32_t count, const char *bools)
{
	struct pci_irq_request request = {flags | (bools ? PCI_IRQ_SET_BOOL : PCI_IRQ_SET_NONE), index, start, count,
					  .bools = (const uint8_t *)bools};

	return pci_irqs_set(&test.irqs, &request);
}

enum { TRIGGER = PCI_IRQ_SET_TRIGGER, MASK = PCI_IRQ_SET_MASK, UNMASK = PCI_IRQ_SET_UNMASK };

static void what_there_is(void **state)
{
	static const uint32_t counts[] = {1, 4, 70, 1, 1}, flags[] = {7, 9, 1, 9, 9};

	(void)state;
	for (uint32_t index = 0; index < PCI_IRQS; index++) {
		assert_int_equal(pci_irqs_count(&test.irqs, index), counts[index]);
		assert_int_equal(pci_irqs_flags(&test.irqs, index), flags[index]);
	}
	assert_int_equal(pci_irqs_count(&test.irqs, PCI_IRQS), 0);
}

static void ranges_and_flags(void **state)
{
	(void)state;
	assert_int_equal(ask(TRIGGER, PCI_IRQS, 0, 1, NULL), -EINVAL);
	assert_int_equal(ask(TRIGGER, PCI_IRQ_MSIX, 70, 0, NULL), -EINVAL);
	assert_int_equal(ask(TRIGGER, PCI_IRQ_MSIX, 69, 2, NULL), -EINVAL);
	assert_int_equal(ask(TRIGGER, PCI_IRQ_MSIX, 1, UINT32_MAX, NULL), -EINVAL);
	assert_int_equal(ask(TRIGGER, PCI_IRQ_MSIX, UINT32_MAX, 1, NULL), -EINVAL);
	assert_int_equal(ask(TRIGGER | 64, PCI_IRQ_MSIX, 0, 1, NULL), -EINVAL);
	assert_int_equal(ask(TRIGGER | PCI_IRQ_SET_BOOL, PCI_IRQ_MSIX, 0, 1, NULL), -EINVAL);
	assert_int_equal(ask(0, PCI_IRQ_MSIX, 0, 1, NULL), -ENOTTY);
	assert_int_equal(ask(MASK, PCI_IRQ_MSIX, 0, 1, NULL), -ENOTTY);
	assert_int_equal(ask(UNMASK, PCI_IRQ_MSI, 0, 1, NULL), -ENOTTY);
	assert_int_equal(ask(MASK, PCI_IRQ_ERROR, 0, 1, NULL), -ENOTTY);
	assert_int_equal(ask(TRIGGER | UNMASK, PCI_IRQ_INTX, 0, 1, NULL), -ENOTTY);
}

static void what_is_not_set_up_is_not_there(void **state)
{
	(void)state;
	for (uint32_t index = PCI_IRQ_INTX; index <= PCI_IRQ_MSIX; index++) {
		assert_int_equal(ask(TRIGGER, index, 0, 0, NULL), -EINVAL);
		assert_int_equal(ask(TRIGGER, index, 0, 1, NULL), -EINVAL);
		assert_int_equal(ask(TRIGGER, index, 0, 1, "\1"), -EINVAL);
	}
	assert_int_equal(ask(MASK, PCI_IRQ_INTX, 0, 1, NULL), -EINVAL);
	assert_int_equal(ask(UNMASK, PCI_IRQ_INTX, 0, 1, NULL), -EINVAL);
	assert_int_equal(give(UNMASK, PCI_IRQ_INTX, 0, 1, 0), -EINVAL);
	assert_int_equal(give(TRIGGER, PCI_IRQ_MSI, 0, 0, -1), -ERANGE);
	assert_int_equal(give(TRIGGER, PCI_IRQ_INTX, 0, 0, -1), -EINVAL);
}

static void one_of_three_is_set_up(void **state)
{
	(void)state;
	assert_int_equal(give(TRIGGER, PCI_IRQ_INTX, 0, 1, 0), 0);
	assert_int_equal(give(TRIGGER, PCI_IRQ_MSI, 0, 1, 0), -EINVAL);
	assert_int_equal(give(TRIGGER, PCI_IRQ_MSIX, 0, 1, 0), -EINVAL);
	assert_int_equal(ask(TRIGGER, PCI_IRQ_MSIX, 0, 0, NULL), -EINVAL);
	assert_int_equal(ask(TRIGGER, PCI_IRQ_INTX, 0, 0, NULL), 0);
	assert_int_equal(give(TRIGGER, PCI_IRQ_MSIX, 0, 1, 0), 0);
	assert_int_equal(give(TRIGGER, PCI_IRQ_INTX, 0, 1, 0), -EINVAL);
	assert_int_equal(ask(TRIGGER, PCI_IRQ_MSIX, 0, 0, NULL), 0);
	assert_int_equal(give(TRIGGER, PCI_IRQ_MSI, 0, 1, 0), 0);
	pci_irqs_clear(&test.irqs);
	assert_int_equal(give(TRIGGER, PCI_IRQ_INTX, 0, 1, -1), 0);
}

static void intx_masks_itself(void **state)
{
	(void)state;
	assert_int_equal(give(TRIGGER, PCI_IRQ_INTX, 0, 1, 0), 0);
	uiommu_pci_intx(test.rig.pci, true);
	assert_int_equal(signalled(0), 1);
	uiommu_pci_intx(test.rig.pci, false);
	uiommu_pci_intx(test.rig.pci, true);
	assert_int_equal(signalled(0), 0);
	assert_int_equal(ask(UNMASK, PCI_IRQ_INTX, 0, 1, "\0"), 0);
	assert_int_equal(signalled(0), 0);
	assert_int_equal(ask(UNMASK, PCI_IRQ_INTX, 0, 1, NULL), 0);
	assert_int_equal(signalled(0), 1);
	uiommu_pci_intx(test.rig.pci, false);
	assert_int_equal(ask(UNMASK, PCI_IRQ_INTX, 0, 1, "\1"), 0);
	assert_int_equal(signalled(0), 0);
	assert_int_equal(ask(MASK, PCI_IRQ_INTX, 0, 1, "\1"), 0);
	uiommu_pci_intx(test.rig.pci, true);
	assert_int_equal(signalled(0), 0);
	/* Another descriptor finds it as masked as it was. */
	assert_int_equal(give(TRIGGER, PCI_IRQ_INTX, 0, 1, 1), 0);
	assert_int_equal(signalled(1), 0);
	assert_int_equal(ask(TRIGGER, PCI_IRQ_INTX, 0, 1, NULL), 0);
	assert_int_equal(signalled(1), 1);
	assert_int_equal(signalled(0), 0);
	/* Set up anew, it is not. */
	assert_int_equal(ask(TRIGGER, PCI_IRQ_INTX, 0, 0, NULL), 0);
	assert_int_equal(give(TRIGGER, PCI_IRQ_INTX, 0, 1, 2), 0);
	assert_int_equal(signalled(2), 1);
}

/* Unless it is so made, what has been signalled is there until it is read. */
static void intx_is_taken_back(void **state)
{
	(void)state;
	assert_int_equal(give(TRIGGER, PCI_IRQ_INTX, 0, 1, 0), 0);
	uiommu_pci_intx(test.rig.pci, true);
	uiommu_pci_intx(test.rig.pci, false);
	assert_int_equal(signalled(0), 1);
	assert_int_equal(ask(UNMASK, PCI_IRQ_INTX, 0, 1, NULL), 0);
	test.irqs.takes_back = true;
	uiommu_pci_intx(test.rig.pci, true);
	uiommu_pci_intx(test.rig.pci, false);
	assert_int_equal(signalled(0), 0);
	/* It is not masked: nobody knows of it. */
	uiommu_pci_intx(test.rig.pci, true);
	assert_int_equal(signalled(0), 1);
	/* It is, by who has read it. */
	uiommu_pci_intx(test.rig.pci, false);
	uiommu_pci_intx(test.rig.pci, true);
	assert_int_equal(signalled(0), 0);
	assert_int_equal(ask(UNMASK, PCI_IRQ_INTX, 0, 1, NULL), 0);
	/* And by who has masked it. */
	assert_int_equal(ask(MASK, PCI_IRQ_INTX, 0, 1, NULL), 0);
	uiommu_pci_intx(test.rig.pci, false);
	uiommu_pci_intx(test.rig.pci, true);
	assert_int_equal(signalled(0), 1);
}

static void intx_that_is_disabled_is_not_told(void **state)
{
	(void)state;
	assert_int_equal(give(TRIGGER, PCI_IRQ_INTX, 0, 1, 0), 0);
	rig_set(&test.rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX);
	uiommu_pci_intx(test.rig.pci, true);
	assert_int_equal(signalled(0), 0);
	rig_set(&test.rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(signalled(0), 1);
}

/* Wait for the unmasker: a signal comes, or never does. */
static void wait_for(unsigned int i)
{
	struct pollfd look = {.fd = test.fds[i], .events = POLLIN};

	assert_int_equal(poll(&look, 1, -1), 1);
	assert_int_equal(signalled(i), 1);
}

static void an_eventfd_unmasks(void **state)
{
	uint64_t one = 1;

	(void)state;
	assert_int_equal(give(TRIGGER, PCI_IRQ_INTX, 0, 1, 0), 0);
	assert_int_equal(give(MASK, PCI_IRQ_INTX, 0, 1, 1), -ENOTTY);
	assert_int_equal(give(UNMASK, PCI_IRQ_INTX, 0, 1, -1), 0);
	assert_int_equal(give(UNMASK, PCI_IRQ_INTX, 0, 1, 1), 0);
	assert_int_equal(give(UNMASK, PCI_IRQ_INTX, 0, 1, 2), -EBUSY);
	uiommu_pci_intx(test.rig.pci, true);
	for (unsigned int i = 0; i < 100; i++) {
		wait_for(0);
		assert_int_equal(write(test.fds[1], &one, sizeof(one)), 8);
	}
	wait_for(0);
	assert_int_equal(signalled(1), 0);
	assert_int_equal(give(UNMASK, PCI_IRQ_INTX, 0, 1, -1), 0);
	assert_int_equal(write(test.fds[1], &one, sizeof(one)), 8);
	assert_int_equal(signalled(1), 1);
	assert_int_equal(give(UNMASK, PCI_IRQ_INTX, 0, 1, 2), 0);
}

static void vectors(void **state)
{
	(void)state;
	rig_set(&test.rig, rig_at(&test.rig, UIOMMU_PCI_MSIX, PCI_MSIX_CONTROL), 2, PCI_MSIX_ENABLE);
	assert_int_equal(give(TRIGGER, PCI_IRQ_MSIX, 5, 3, 0), 0);
	assert_int_equal(uiommu_pci_interrupt(test.rig.pci, 6), 0);
	assert_int_equal(signalled(0), 0);
	assert_int_equal(signalled(1), 1);
	/* Nobody takes it: it is pending until somebody does. */
	assert_int_equal(uiommu_pci_interrupt(test.rig.pci, 60), 0);
	assert_int_equal(give(TRIGGER, PCI_IRQ_MSIX, 60, 1, 3), 0);
	assert_int_equal(signalled(3), 1);
	assert_int_equal(ask(TRIGGER, PCI_IRQ_MSIX, 5, 3, "\1\0\1"), 0);
	assert_int_equal(signalled(0), 1);
	assert_int_equal(signalled(1), 0);
	assert_int_equal(signalled(2), 1);
	assert_int_equal(ask(TRIGGER, PCI_IRQ_MSIX, 0, 70, NULL), 0);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(signalled(i), 1);
	assert_int_equal(give(TRIGGER, PCI_IRQ_MSIX, 6, 1, -1), 0);
	assert_int_equal(ask(TRIGGER, PCI_IRQ_MSIX, 5, 3, NULL), 0);
	assert_int_equal(signalled(0) + signalled(2), 2);
	assert_int_equal(signalled(1), 0);
}

static void msi_does_not_grow(void **state)
{
	(void)state;
	rig_set(&test.rig, rig_at(&test.rig, UIOMMU_PCI_MSI, PCI_MSI_CONTROL), 2, PCI_MSI_ENABLE | 2 << PCI_MSI_ENABLED_SHIFT);
	assert_int_equal(give(TRIGGER, PCI_IRQ_MSI, 1, 1, 0), 0);
	assert_int_equal(give(TRIGGER, PCI_IRQ_MSI, 2, 1, 1), -EINVAL);
	assert_int_equal(give(TRIGGER, PCI_IRQ_MSI, 2, 1, -1), 0);
	assert_int_equal(give(TRIGGER, PCI_IRQ_MSI, 0, 1, 1), 0);
	assert_int_equal(uiommu_pci_interrupt(test.rig.pci, 1), 0);
	assert_int_equal(signalled(0), 1);
	assert_int_equal(ask(TRIGGER, PCI_IRQ_MSI, 0, 0, NULL), 0);
	assert_int_equal(give(TRIGGER, PCI_IRQ_MSI, 0, 4, 0), 0);
}

static void errors_and_requests(void **state)
{
	(void)state;
	for (uint32_t index = PCI_IRQ_ERROR; index <= PCI_IRQ_REQUEST; index++) {
		assert_int_equal(ask(TRIGGER, index, 0, 1, NULL), -EINVAL);
		assert_int_equal(ask(TRIGGER, index, 0, 0, NULL), -EINVAL);
		assert_int_equal(ask(TRIGGER, index, 0, 0, "\1"), -EINVAL);
		assert_int_equal(give(TRIGGER, index, 0, 0, -1), -EINVAL);
		assert_int_equal(ask(TRIGGER, index, 0, 1, "\1"), 0);
		assert_int_equal(give(TRIGGER, index, 0, 1, (int)index), 0);
		assert_int_equal(ask(TRIGGER, index, 0, 1, "\1"), 0);
		assert_int_equal(signalled(index), 1);
		assert_int_equal(ask(TRIGGER, index, 0, 1, NULL), 0);
		assert_int_equal(signalled(index), 1);
		assert_int_equal(ask(TRIGGER, index, 0, 0, NULL), 0);
		assert_int_equal(ask(TRIGGER, index, 0, 1, NULL), -EINVAL);
	}
}

static void only_eventfds(void **state)
{
	int ends[2], fds[2];
	struct pci_irq_request request = {TRIGGER | PCI_IRQ_SET_FDS, PCI_IRQ_MSIX, 0, 2, .fds = fds};

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	fds[0] = test.fds[0];
	fds[1] = ends[1];
	assert_int_equal(pci_irqs_set(&test.irqs, &request), -EINVAL);
	/* Nothing has changed: it is not set up, and nothing was taken. */
	assert_int_equal(fds[0], test.fds[0]);
	assert_int_equal(ask(TRIGGER, PCI_IRQ_MSIX, 0, 1, NULL), -EINVAL);
	close(ends[0]);
	close(ends[1]);
}

/* A description that blocks stays so, and holds up nobody who signals; nor does one that did not block when it was given. */
static void a_full_eventfd_that_blocks(void **state)
{
	uint64_t count = UINT64_MAX - 1;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), given = dup(fd);
	struct pci_irq_request request = {TRIGGER | PCI_IRQ_SET_FDS, PCI_IRQ_MSIX, 0, 1, .fds = &given};

	(void)state;
	rig_set(&test.rig, rig_at(&test.rig, UIOMMU_PCI_MSIX, PCI_MSIX_CONTROL), 2, PCI_MSIX_ENABLE);
	assert_int_equal(pci_irqs_set(&test.irqs, &request), 0);
	assert_int_equal(write(fd, &count, sizeof(count)), 8);
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	assert_int_equal(uiommu_pci_interrupt(test.rig.pci, 0), 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(read(fd, &count, sizeof(count)), 8);
	assert_true(count >= UINT64_MAX - 1);
	assert_int_equal(uiommu_pci_interrupt(test.rig.pci, 0), 0);
	assert_int_equal(read(fd, &count, sizeof(count)), 8);
	assert_int_equal(count, 1);
	close(fd);
}

static int filled = -1;

/* Whoever looks, before it writes, whether an eventfd has room finds that it has; and then it is full. */
int poll(struct pollfd *fds, nfds_t count, int limit)
{
	const struct timespec time = {.tv_sec = limit / 1000, .tv_nsec = limit % 1000 * 1000000L};
	static const uint64_t full = UINT64_MAX - 1;
	int ready = ppoll(fds, count, limit < 0 ? NULL : &time, NULL);

	if (ready == 1 && count == 1 && fds->fd == filled && fds->events == POLLOUT)
		assert_int_equal(write(filled, &full, sizeof(full)), 8);
	return ready;
}

static void an_eventfd_that_is_filled_in_between(void **state)
{
	uint64_t count = 0;

	(void)state;
	filled = eventfd(0, EFD_CLOEXEC);
	assert_true(pci_eventfd_signal(filled));
	assert_int_equal(read(filled, &count, sizeof(count)), 8);
	assert_int_equal(count, 1);
	close(filled);
	filled = -1;
}

/* The kernel keeps what nobody takes of it until there is no room. */
static void many_signals(void **state)
{
	enum { SIGNALS = 10000 };
	int fd = eventfd(0, EFD_CLOEXEC);
	uint64_t count = 0;

	(void)state;
	for (int i = 0; i < SIGNALS; i++)
		assert_true(pci_eventfd_signal(fd));
	assert_int_equal(read(fd, &count, sizeof(count)), 8);
	assert_int_equal(count, SIGNALS);
	close(fd);
}

/* There the kernel has nothing better than to look, and to write. */
static void in_a_fork_child(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC), status;
	uint64_t count = 0;
	pid_t child;

	(void)state;
	assert_true(pci_eventfd_signal(fd));
	child = fork();
	if (!child)
		_exit(!pci_eventfd_signal(fd));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(read(fd, &count, sizeof(count)), 8);
	assert_int_equal(count, 2);
	close(fd);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_there_is),
		TEST(ranges_and_flags),
		TEST(what_is_not_set_up_is_not_there),
		TEST(one_of_three_is_set_up),
		TEST(intx_masks_itself),
		TEST(intx_is_taken_back),
		TEST(intx_that_is_disabled_is_not_told),
		TEST(an_eventfd_unmasks),
		TEST(vectors),
		TEST(msi_does_not_grow),
		TEST(errors_and_requests),
		TEST(only_eventfds),
		TEST(a_full_eventfd_that_blocks),
		TEST(an_eventfd_that_is_filled_in_between),
		TEST(many_signals),
		TEST(in_a_fork_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

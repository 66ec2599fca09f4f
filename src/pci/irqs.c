/* SPDX-License-Identifier: BSD-3-Clause */
#include "pci/irqs.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "util/thread.h"
#include "util/util.h"

uint32_t pci_irqs_count(const struct pci_irqs *irqs, uint32_t index)
{
	return index < PCI_IRQS ? irqs->vectors[index].count : 0;
}

uint32_t pci_irqs_flags(const struct pci_irqs *irqs, uint32_t index)
{
	if (index == PCI_IRQ_INTX)
		return PCI_IRQ_EVENTFD | PCI_IRQ_MASKABLE | PCI_IRQ_AUTOMASKED;
	return PCI_IRQ_EVENTFD | (irqs->fixed && index != PCI_IRQ_MSIX ? PCI_IRQ_NORESIZE : 0);
}

/* Under the lock. False: nobody takes it. */
static bool signal_vector(const struct pci_irq_vectors *vectors, uint32_t vector)
{
	return vector < vectors->count && vectors->fds[vector] >= 0 && pci_eventfd_signal(vectors->fds[vector]);
}

/* Under the lock: the level is told once, and again when the other side has unmasked it. */
static void signal_level(struct pci_irqs *irqs)
{
	if (irqs->level && !irqs->masked && signal_vector(&irqs->vectors[PCI_IRQ_INTX], 0))
		irqs->masked = irqs->signalled = true;
}

/* Somebody else may be faster. */
static bool take(int eventfd)
{
	uint64_t count;
	struct iovec into = {&count, sizeof(count)};

	return preadv2(eventfd, &into, 1, -1, RWF_NOWAIT) == sizeof(count);
}

/* Under the lock: it is as if it had not been signalled, if nobody knows of that. */
static void take_back(struct pci_irqs *irqs)
{
	if (irqs->level || !irqs->takes_back || !irqs->signalled || !take(irqs->vectors[PCI_IRQ_INTX].fds[0]))
		return;
	irqs->masked = irqs->signalled = false;
}

void pci_irqs_intx(struct pci_irqs *irqs, bool asserted)
{
	pthread_mutex_lock(&irqs->lock);
	irqs->level = asserted;
	take_back(irqs);
	signal_level(irqs);
	pthread_mutex_unlock(&irqs->lock);
}

bool pci_irqs_interrupt(struct pci_irqs *irqs, enum pci_interrupt kind, unsigned int vector)
{
	bool taken;

	pthread_mutex_lock(&irqs->lock);
	taken = signal_vector(&irqs->vectors[kind == PCI_MSIX ? PCI_IRQ_MSIX : PCI_IRQ_MSI], vector);
	pthread_mutex_unlock(&irqs->lock);
	return taken;
}

static void set_masked(struct pci_irqs *irqs, bool masked)
{
	pthread_mutex_lock(&irqs->lock);
	irqs->masked = masked;
	irqs->signalled = false;
	signal_level(irqs);
	pthread_mutex_unlock(&irqs->lock);
}

/* --- an eventfd that unmasks INTx --- */

struct pci_irq_unmasker {
	struct pci_irqs *irqs;
	pthread_t thread;
	int fd, end_fd;
};

static void *unmask_when_told(void *opaque)
{
	struct pci_irq_unmasker *unmasker = opaque;
	struct pollfd fds[] = {{.fd = unmasker->fd, .events = POLLIN}, {.fd = unmasker->end_fd, .events = POLLIN}};

	while (poll(fds, ARRAY_SIZE(fds), -1) > 0 || errno == EINTR) {
		if (fds[1].revents)
			break;
		if (fds[0].revents & POLLIN && take(unmasker->fd))
			set_masked(unmasker->irqs, false);
	}
	return NULL;
}

static void unmasker_end(struct pci_irqs *irqs)
{
	static const uint64_t one = 1;
	struct pci_irq_unmasker *unmasker = irqs->unmasker;

	if (!unmasker)
		return;
	irqs->unmasker = NULL;
	if (write(unmasker->end_fd, &one, sizeof(one)) < 0)
		abort();
	pthread_join(unmasker->thread, NULL);
	close(unmasker->end_fd);
	close(unmasker->fd);
	free(unmasker);
}

/* Takes @fd over, if it succeeds. */
static int unmasker_begin(struct pci_irqs *irqs, int fd)
{
	struct pci_irq_unmasker *unmasker;
	int error;

	if (irqs->unmasker)
		return -EBUSY;
	unmasker = malloc(sizeof(*unmasker));
	if (!unmasker)
		return -ENOMEM;
	*unmasker = (struct pci_irq_unmasker){.irqs = irqs, .fd = fd, .end_fd = eventfd(0, EFD_CLOEXEC)};
	error = unmasker->end_fd < 0 ? -EMFILE : thread_start(&unmasker->thread, unmask_when_told, unmasker);
	if (error) {
		if (unmasker->end_fd >= 0)
			close(unmasker->end_fd);
		free(unmasker);
		return error;
	}
	irqs->unmasker = unmasker;
	return 0;
}

/* --- their life --- */

static int vectors_init(struct pci_irq_vectors *vectors, uint32_t count)
{
	vectors->fds = malloc((count ? count : 1) * sizeof(*vectors->fds));
	if (!vectors->fds)
		return -ENOMEM;
	vectors->count = count;
	for (uint32_t i = 0; i < count; i++)
		vectors->fds[i] = -1;
	return 0;
}

int pci_irqs_init(struct pci_irqs *irqs, struct uiommu_pci *pci, unsigned int flags)
{
	const uint32_t counts[PCI_IRQS] = {
		[PCI_IRQ_INTX] = pci->pin ? 1 : 0,
		[PCI_IRQ_MSI] = pci->msi_count,
		[PCI_IRQ_MSIX] = pci->msix.count,
		/* Errors are never told, but VMMs warn of a function that could not. */
		[PCI_IRQ_ERROR] = pci->place[UIOMMU_PCI_EXPRESS] ? 1 : 0,
		[PCI_IRQ_REQUEST] = flags & PCI_IRQS_REQUESTS ? 1 : 0,
	};
	int error = 0;

	*irqs = (struct pci_irqs){
		.pci = pci, .fixed = flags & PCI_IRQS_FIXED, .takes_back = flags & PCI_IRQS_TAKES_BACK, .mode = PCI_IRQS};
	pthread_mutex_init(&irqs->lock, NULL);
	for (unsigned int index = 0; index < PCI_IRQS && !error; index++)
		error = vectors_init(&irqs->vectors[index], counts[index]);
	return error;
}

/* Under the lock. Takes *@fd over; -1: nobody. */
static void set_vector(struct pci_irqs *irqs, uint32_t index, uint32_t vector, int *fd)
{
	int *at = &irqs->vectors[index].fds[vector];

	if (*at >= 0)
		close(*at);
	*at = *fd;
	*fd = -1;
}

static void clear(struct pci_irqs *irqs, uint32_t index)
{
	pthread_mutex_lock(&irqs->lock);
	for (uint32_t vector = 0; vector < irqs->vectors[index].count; vector++) {
		int none = -1;

		set_vector(irqs, index, vector, &none);
	}
	pthread_mutex_unlock(&irqs->lock);
}

/* What is set up ends. */
static void end(struct pci_irqs *irqs)
{
	unmasker_end(irqs);
	if (irqs->mode != PCI_IRQS)
		clear(irqs, irqs->mode);
	irqs->mode = PCI_IRQS;
}

void pci_irqs_clear(struct pci_irqs *irqs)
{
	end(irqs);
	clear(irqs, PCI_IRQ_ERROR);
	clear(irqs, PCI_IRQ_REQUEST);
}

void pci_irqs_fini(struct pci_irqs *irqs)
{
	pci_irqs_clear(irqs);
	for (uint32_t index = 0; index < PCI_IRQS; index++)
		free(irqs->vectors[index].fds);
	pthread_mutex_destroy(&irqs->lock);
}

/* --- requests --- */

int pci_irqs_check(const struct pci_irqs *irqs, const struct pci_irq_request *request)
{
	uint32_t count = pci_irqs_count(irqs, request->index), data = request->flags & PCI_IRQ_SET_DATA;

	if (request->index >= PCI_IRQS || request->start >= count || request->count > count - request->start)
		return -EINVAL;
	if (request->flags & ~(uint32_t)(PCI_IRQ_SET_DATA | PCI_IRQ_SET_ACTION))
		return -EINVAL;
	return data == PCI_IRQ_SET_NONE || data == PCI_IRQ_SET_BOOL || data == PCI_IRQ_SET_FDS ? 0 : -EINVAL;
}

static int check_fds(const struct pci_irq_request *request)
{
	for (uint32_t i = 0; i < request->count; i++)
		if (request->fds[i] >= 0 && !pci_is_eventfd(request->fds[i]))
			return -EINVAL;
	return 0;
}

static bool has_fds(const struct pci_irq_request *request)
{
	return request->flags & PCI_IRQ_SET_FDS;
}

/* Of what is no FDS: is the vector @i of the range meant? */
static bool meant(const struct pci_irq_request *request, uint32_t i)
{
	return request->flags & PCI_IRQ_SET_NONE || request->bools[i];
}

static int loop_back(struct pci_irqs *irqs, const struct pci_irq_request *request)
{
	pthread_mutex_lock(&irqs->lock);
	for (uint32_t i = 0; i < request->count; i++)
		if (meant(request, i))
			signal_vector(&irqs->vectors[request->index], request->start + i);
	pthread_mutex_unlock(&irqs->lock);
	return 0;
}

static int set_fds(struct pci_irqs *irqs, const struct pci_irq_request *request)
{
	pthread_mutex_lock(&irqs->lock);
	for (uint32_t i = 0; i < request->count; i++)
		set_vector(irqs, request->index, request->start + i, &request->fds[i]);
	pthread_mutex_unlock(&irqs->lock);
	return 0;
}

static bool ends(const struct pci_irqs *irqs, const struct pci_irq_request *request)
{
	return irqs->mode == request->index && !request->count && request->flags & PCI_IRQ_SET_NONE;
}

static int allow_intx(const struct pci_irqs *irqs, const struct pci_irq_request *request, uint32_t action)
{
	bool none = irqs->mode == PCI_IRQS && action == PCI_IRQ_SET_TRIGGER;

	if (action == PCI_IRQ_SET_TRIGGER && ends(irqs, request))
		return 0;
	if ((irqs->mode != PCI_IRQ_INTX && !none) || request->count != 1)
		return -EINVAL;
	return action == PCI_IRQ_SET_MASK && has_fds(request) ? -ENOTTY : 0;
}

int pci_irqs_allow(const struct pci_irqs *irqs, const struct pci_irq_request *request)
{
	uint32_t action = request->flags & PCI_IRQ_SET_ACTION, index = request->index;

	if (index == PCI_IRQ_INTX && (action == PCI_IRQ_SET_MASK || action == PCI_IRQ_SET_UNMASK))
		return allow_intx(irqs, request, action);
	if (action != PCI_IRQ_SET_TRIGGER)
		return -ENOTTY;
	if (index == PCI_IRQ_INTX)
		return allow_intx(irqs, request, action);
	if (index == PCI_IRQ_MSI || index == PCI_IRQ_MSIX)
		return irqs->mode == index || irqs->mode == PCI_IRQS ? 0 : -EINVAL;
	if (!request->count)
		return request->flags & PCI_IRQ_SET_NONE ? 0 : -EINVAL;
	return has_fds(request) && request->fds[0] < -1 ? -EINVAL : 0;
}

/* A new descriptor of what is set up already finds it as masked as it was. */
static int set_intx(struct pci_irqs *irqs, const struct pci_irq_request *request)
{
	if (check_fds(request))
		return -EINVAL;
	pthread_mutex_lock(&irqs->lock);
	set_vector(irqs, PCI_IRQ_INTX, 0, &request->fds[0]);
	if (irqs->mode != PCI_IRQ_INTX)
		irqs->masked = false;
	signal_level(irqs);
	pthread_mutex_unlock(&irqs->lock);
	irqs->mode = PCI_IRQ_INTX;
	return 0;
}

static int trigger_intx(struct pci_irqs *irqs, struct pci_irq_request *request)
{
	if (ends(irqs, request)) {
		end(irqs);
		return 0;
	}
	if (has_fds(request))
		return set_intx(irqs, request);
	return irqs->mode == PCI_IRQ_INTX ? loop_back(irqs, request) : -EINVAL;
}

static int mask_intx(struct pci_irqs *irqs, struct pci_irq_request *request)
{
	int error;

	if (!has_fds(request)) {
		if (meant(request, 0))
			set_masked(irqs, request->flags & PCI_IRQ_SET_MASK);
		return 0;
	}
	if (request->fds[0] < 0) {
		unmasker_end(irqs);
		return 0;
	}
	if (check_fds(request))
		return -EINVAL;
	error = unmasker_begin(irqs, request->fds[0]);
	if (!error)
		request->fds[0] = -1;
	return error;
}

/* More vectors than MSI was set up with? */
static bool beyond(const struct pci_irqs *irqs, const struct pci_irq_request *request)
{
	if (!irqs->fixed || request->index != PCI_IRQ_MSI || irqs->mode != PCI_IRQ_MSI)
		return false;
	for (uint32_t i = 0; i < request->count; i++)
		if (request->fds[i] >= 0 && request->start + i >= irqs->enabled)
			return true;
	return false;
}

static int trigger_vectors(struct pci_irqs *irqs, struct pci_irq_request *request)
{
	enum pci_interrupt kind = request->index == PCI_IRQ_MSIX ? PCI_MSIX : PCI_MSI;

	if (ends(irqs, request)) {
		end(irqs);
		return 0;
	}
	if (!has_fds(request))
		return irqs->mode == request->index ? loop_back(irqs, request) : -EINVAL;
	if (check_fds(request) || beyond(irqs, request))
		return -EINVAL;
	if (irqs->mode == PCI_IRQS && !(irqs->enabled = request->start + request->count))
		return -ERANGE;
	irqs->mode = request->index;
	set_fds(irqs, request);
	for (uint32_t i = 0; i < request->count; i++)
		pci_interrupt_ready(irqs->pci, kind, request->start + i);
	return 0;
}

/* Errors, and requests to give the device back. */
static int trigger_single(struct pci_irqs *irqs, struct pci_irq_request *request)
{
	bool none = irqs->vectors[request->index].fds[0] < 0;

	if (request->flags & PCI_IRQ_SET_NONE) {
		if (none)
			return -EINVAL;
		if (!request->count)
			clear(irqs, request->index);
		return loop_back(irqs, request);
	}
	if (!has_fds(request))
		return loop_back(irqs, request);
	return check_fds(request) ? -EINVAL : set_fds(irqs, request);
}

int pci_irqs_set(struct pci_irqs *irqs, struct pci_irq_request *request)
{
	int error = pci_irqs_check(irqs, request);

	if (!error)
		error = pci_irqs_allow(irqs, request);
	if (error)
		return error;
	if (!(request->flags & PCI_IRQ_SET_TRIGGER))
		return mask_intx(irqs, request);
	switch (request->index) {
	case PCI_IRQ_INTX:
		return trigger_intx(irqs, request);
	case PCI_IRQ_MSI:
	case PCI_IRQ_MSIX:
		return trigger_vectors(irqs, request);
	default:
		return trigger_single(irqs, request);
	}
}

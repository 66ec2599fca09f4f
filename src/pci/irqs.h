/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interrupts as eventfds: what VFIO and vfio-user offer to whoever has a function. Kinds, flags and rules are those of Linux's
 * VFIO_DEVICE_SET_IRQS for PCI (linux/vfio.h).
 *
 * Of INTx, MSI and MSI-X one at most is set up: the first descriptors set it up, "none, of nobody" (count 0) ends it. INTx masks
 * itself when it is signalled, and has a level: unmasked while the pin is asserted it is signalled again. TAKES_BACK: a signal that
 * nobody has read yet when the level falls is taken back. A vector without a descriptor is pending in the function. Errors and
 * requests to give the device back have one descriptor each, whatever else is set up.
 *
 * Signals come from any thread; all other calls one at a time.
 */
#ifndef PCI_IRQS_H
#define PCI_IRQS_H

#include "pci/pci.h"

enum pci_irq { PCI_IRQ_INTX, PCI_IRQ_MSI, PCI_IRQ_MSIX, PCI_IRQ_ERROR, PCI_IRQ_REQUEST, PCI_IRQS };

/* What an interrupt can: pci_irqs_flags(). */
enum { PCI_IRQ_EVENTFD = 1, PCI_IRQ_MASKABLE = 2, PCI_IRQ_AUTOMASKED = 4, PCI_IRQ_NORESIZE = 8 };

/* Of a request: one kind of data, one action. */
enum {
	PCI_IRQ_SET_NONE = 1,
	PCI_IRQ_SET_BOOL = 2,
	PCI_IRQ_SET_FDS = 4,
	PCI_IRQ_SET_DATA = 7,
	PCI_IRQ_SET_MASK = 8,
	PCI_IRQ_SET_UNMASK = 16,
	PCI_IRQ_SET_TRIGGER = 32,
	PCI_IRQ_SET_ACTION = 56,
};

struct pci_irq_request {
	uint32_t flags;
	uint32_t index; /* enum pci_irq */
	uint32_t start;
	uint32_t count;
	const uint8_t *bools; /* BOOL: @count */
	int *fds; /* FDS: @count, -1: nobody. Those that are taken over are -1 afterwards. */
};

struct pci_irq_vectors {
	int *fds; /* -1: nobody takes it */
	uint32_t count;
};

struct pci_irq_unmasker;

struct pci_irqs {
	struct uiommu_pci *pci;
	bool fixed; /* MSI cannot have more vectors than it was set up with */
	bool takes_back;
	enum pci_irq mode; /* what is set up; PCI_IRQS: nothing */
	uint32_t enabled; /* vectors that MSI was set up with */
	struct pci_irq_unmasker *unmasker; /* unmasks INTx when an eventfd says so; or NULL */

	pthread_mutex_t lock; /* below the function's lock */
	struct pci_irq_vectors vectors[PCI_IRQS]; /* their contents under @lock */
	/* INTx, under @lock */
	bool level, masked;
	bool signalled; /* and not masked or unmasked by the other side since */
};

enum { PCI_IRQS_FIXED = 1, PCI_IRQS_REQUESTS = 2, PCI_IRQS_TAKES_BACK = 4 };

/*
 * @flags: FIXED, TAKES_BACK; REQUESTS: whoever has the function can be asked to give it back. -ENOMEM: pci_irqs_fini() all the
 * same.
 */
int pci_irqs_init(struct pci_irqs *irqs, struct uiommu_pci *pci, unsigned int flags);
void pci_irqs_fini(struct pci_irqs *irqs);

/* Nothing is set up any more. */
void pci_irqs_clear(struct pci_irqs *irqs);

uint32_t pci_irqs_count(const struct pci_irqs *irqs, uint32_t index);
uint32_t pci_irqs_flags(const struct pci_irqs *irqs, uint32_t index);

/* Is there such an index, range, kind of data? -EINVAL. */
int pci_irqs_check(const struct pci_irqs *irqs, const struct pci_irq_request *request);

/*
 * Of what pci_irqs_check() has let through, before its descriptors are looked at: -EINVAL (not what is set up; a descriptor below
 * -1 of what has one vector), -ENOTTY (no such action of this index).
 */
int pci_irqs_allow(const struct pci_irqs *irqs, const struct pci_irq_request *request);

/*
 * Do it: -EINVAL (as above; not an eventfd; not what is set up), -ERANGE (set up with no vector), -ENOTTY (no such action of this
 * index), -EBUSY (there is an unmask descriptor), -EAGAIN (no thread), -EMFILE, -ENOMEM. After an error everything is as before.
 */
int pci_irqs_set(struct pci_irqs *irqs, struct pci_irq_request *request);

/* Nothing else is signalled: what was given might be a file that keeps whoever writes waiting. */
bool pci_is_eventfd(int fd);

/* Never waits, whatever others do with it. A full one has been signalled. False: it cannot be signalled. */
bool pci_eventfd_signal(int fd);

/* For the transport's functions of the same names. */
void pci_irqs_intx(struct pci_irqs *irqs, bool asserted);
bool pci_irqs_interrupt(struct pci_irqs *irqs, enum pci_interrupt kind, unsigned int vector);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI function as its transport sees it, and its parts.
 *
 * Accesses come from one thread of the transport at a time; interrupts from any. The lock covers config space, MSI-X table and
 * what is pending; it is a leaf but for the transport's interrupt ops, which are called with it held and must not come back. The
 * model's ops are called without it.
 */
#ifndef PCI_PCI_H
#define PCI_PCI_H

#include <pthread.h>
#include <uiommu/pci.h>

struct pci_capability_type;

enum pci_interrupt { PCI_INTX, PCI_MSI, PCI_MSIX };

/* What carries a function's DMA and interrupts. */
struct pci_transport {
	/* The level of the pin. */
	void (*intx)(struct pci_transport *transport, bool asserted);
	/*
	 * Send @vector of MSI or MSI-X: false if nobody is there to take it, and it stays pending until pci_interrupt_ready().
	 * NULL: the transport knows of no vectors, and MSI-X is sent as a message to where the guest's table says. Otherwise table
	 * and masks of MSI-X are kept by whoever is behind the transport, as a VMM does, and the table here has no effect.
	 */
	bool (*interrupt)(struct pci_transport *transport, enum pci_interrupt kind, unsigned int vector);
	/* Write 4 bytes as the function would, and wait for nothing. */
	void (*message)(struct pci_transport *transport, uint64_t address, uint32_t data);
	/* DMA is let through, or is no longer. Without the lock. */
	void (*master)(struct pci_transport *transport, bool on);
	/*
	 * For a transport that lets programs map the memory of WATCHED BARs (UIOMMU_PCI_BAR_WATCHED); NULL: it does not, and each
	 * of their accesses is a pci_bar_read() or pci_bar_write(). Take the right to write from every mapping of that memory. The
	 * first write after that, whoever makes it, waits until the transport has called pci_touched() and has given the right
	 * back; so a value that is written is always seen by whoever looks after touched(). A new mapping begins with the right,
	 * and with a call of pci_touched(). Where a write cannot be caught (nothing of ours runs in the program) the transport
	 * looks by a timer instead, and calls pci_touched() when what is there is not what it was. False: there is no mapping.
	 */
	bool (*watch)(struct pci_transport *transport);
};

/* The bits of config space. */
struct pci_config {
	uint8_t value[UIOMMU_PCI_CONFIG_SIZE];
	uint8_t reset[UIOMMU_PCI_CONFIG_SIZE];
	uint8_t writable[UIOMMU_PCI_CONFIG_SIZE];
	uint8_t clears[UIOMMU_PCI_CONFIG_SIZE]; /* writing 1 makes it 0 */
};

struct pci_msix {
	uint32_t count; /* 0: there is none */
	unsigned int bar;
	uint64_t table, pending; /* where they are in it */
	uint32_t (*entries)[4];
	uint64_t *bits;
};

enum { PCI_CAPABILITIES = UIOMMU_PCI_ACS + 1 };

struct uiommu_pci {
	struct uiommu_device *device;
	const struct uiommu_pci_ops *ops;
	void *opaque;
	bool always_master;
	uint8_t pin; /* 0: none */
	struct uiommu_pci_bar bars[UIOMMU_PCI_BARS];
	int memory_fd[UIOMMU_PCI_BARS]; /* -1: none; who may map it is said by pci_shared() and WATCHED */
	uint64_t memory_at[UIOMMU_PCI_BARS]; /* where there the BAR's first byte is */
	void *memory[UIOMMU_PCI_BARS];

	pthread_mutex_t lock;
	struct pci_transport *transport; /* under @lock */
	struct pci_config config; /* under @lock */
	uint16_t place[PCI_CAPABILITIES]; /* of a capability in config space, by type; 0: there is none */
	struct pci_msix msix; /* its contents under @lock */
	uint32_t msi_count;
	uint32_t msi_pending; /* under @lock */
	bool asserted; /* INTx as the model wants it, under @lock */
	bool level; /* INTx as the transport was told, under @lock */
	unsigned int state; /* enum uiommu_pci_state; atomic, written under @lock */
	bool response_failed; /* atomic: since config space was looked at last */
};

/* Begin with a transport: -EBUSY, there is one; or with NULL end with it. The state is that after a reset; the model is not told.
 */
int pci_connect(struct uiommu_pci *pci, struct pci_transport *transport);

/*
 * Config space: any range in it. -EINVAL: outside. A write takes effect register by register, and then the model hears of it; one
 * that asks for a reset (FLR) makes it before it returns.
 */
int pci_config_read(struct uiommu_pci *pci, uint64_t offset, void *buffer, size_t length);
int pci_config_write(struct uiommu_pci *pci, uint64_t offset, const void *buffer, size_t length);

/*
 * A BAR: any range in it, made of aligned accesses of 8, 4, 2 and 1 bytes. A BAR that does not decode reads as all ones and
 * ignores writes. -EINVAL: there is no such BAR, or outside of it; -EDEADLK: the calling thread is inside an access to a function
 * (a device's DMA that came back to registers): nothing was done, and what was read is all ones.
 */
int pci_bar_read(struct uiommu_pci *pci, unsigned int bar, uint64_t offset, void *buffer, size_t length);
int pci_bar_write(struct uiommu_pci *pci, unsigned int bar, uint64_t offset, const void *buffer, size_t length);

/* See pci_transport.watch(). Any thread. */
void pci_touched(struct uiommu_pci *pci);

/* Let its DMA through, or no longer: then none is running when it returns. Without the lock; @transport may be NULL. */
void pci_master(struct uiommu_pci *pci, struct pci_transport *transport, bool on);

void pci_reset(struct uiommu_pci *pci, enum uiommu_pci_reset_type type);

/*
 * The memory of @bar is that of another file from now on, with what is in it: there its first byte is at @at, which is a multiple
 * of the page size. Nobody can shorten the file. Whoever has mapped it before keeps what is no longer the BAR's. While nobody is
 * connected, or the transport's thread; a model that writes there meanwhile may lose that. -EMFILE, -ENOMEM.
 */
int pci_memory_move(struct uiommu_pci *pci, unsigned int bar, int fd, uint64_t at);

/* Has @bar memory that needs no calls, so that a guest may map it? */
static inline bool pci_shared(const struct uiommu_pci *pci, unsigned int bar)
{
	return pci->bars[bar].memory_length && !(pci->bars[bar].flags & UIOMMU_PCI_BAR_WATCHED);
}

/* Does [@address, @last] meet one of its BARs, where the guest has put them? */
bool pci_decodes(struct uiommu_pci *pci, uint64_t address, uint64_t last);

/* Somebody takes @vector now: send it if it is pending. */
void pci_interrupt_ready(struct uiommu_pci *pci, enum pci_interrupt kind, unsigned int vector);

/* The parts. */

uint32_t pci_config_get(const struct pci_config *config, unsigned int offset, unsigned int width);
void pci_config_set(struct pci_config *config, unsigned int offset, unsigned int width, uint32_t value);

/* Lay out header and capabilities: -EINVAL, -ENOSPC. */
int pci_layout(struct uiommu_pci *pci, const struct uiommu_pci_description *description);

/* Under the lock: what the values say. */
unsigned int pci_state_of(const struct uiommu_pci *pci);

/* Under the lock: the bytes from @offset on have been written; put right what must not be. @before: the values before. */
void pci_written(struct uiommu_pci *pci, unsigned int offset, size_t length, const struct pci_config *before);

/* Under the lock: bring into config space what was told without it. */
void pci_collect(struct uiommu_pci *pci);

/* Under the lock, after what is enabled or masked may have changed: send what can be sent, forget what can never be. */
void pci_interrupts_update(struct uiommu_pci *pci);
void pci_interrupts_reset(struct uiommu_pci *pci);

/* Is [@offset, @offset + @size) of @bar the MSI-X table or its pending bits? An access is made of such pieces, of 4 bytes at most.
 */
bool pci_msix_hit(const struct uiommu_pci *pci, unsigned int bar, uint64_t offset);
uint32_t pci_msix_read(struct uiommu_pci *pci, uint64_t offset, unsigned int size);
void pci_msix_write(struct uiommu_pci *pci, uint64_t offset, unsigned int size, uint32_t value);

#endif

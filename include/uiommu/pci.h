/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI functions: what a device model is on a bus.
 *
 * A model describes its function (ids, BARs, capabilities) by constant tables and gets calls when somebody reads or writes its
 * registers. Config space, the MSI-X table and resets are the library's. DMA is that of any device: uiommu_dma_*() with
 * uiommu_pci_device(). Who carries accesses and interrupts between function and guest is a transport (vfio_user.h).
 */
#ifndef UIOMMU_PCI_H
#define UIOMMU_PCI_H

#include <uiommu/device.h>

#ifdef __cplusplus
extern "C" {
#endif

/** UIOMMU_PCI_BARS - base address registers of a function. */
#define UIOMMU_PCI_BARS 6
/** UIOMMU_PCI_CONFIG_SIZE - bytes of config space (PCIe 6.0, 7.2.2). */
#define UIOMMU_PCI_CONFIG_SIZE 4096

/**
 * enum uiommu_pci_bar_flags - what a BAR is.
 * @UIOMMU_PCI_BAR_64: 64 bits wide; the next BAR is its upper half and stays empty
 * @UIOMMU_PCI_BAR_PREFETCHABLE: reading it has no effect
 * @UIOMMU_PCI_BAR_WATCHED: its memory holds registers that the model keeps up to date there. Accesses by a transport are calls all
 * the same, and the model stores what they write. A program's own driver, which must be able to map them, reads and writes the
 * memory; uiommu_pci_watch() and the op touched() tell the model of that
 */
enum uiommu_pci_bar_flags {
	UIOMMU_PCI_BAR_64 = 1,
	UIOMMU_PCI_BAR_PREFETCHABLE = 2,
	UIOMMU_PCI_BAR_WATCHED = 4,
};

/**
 * struct uiommu_pci_bar - one memory BAR. All 0: there is none.
 * @size: bytes, a power of two from 16 to 2^31, or to 2^46 with BAR_64
 * @memory_offset: where memory begins that needs no calls, a multiple of the page size
 * @memory_length: its bytes, a multiple of the page size; 0: every access is a call. The guest may map it and see it change at any
 *                 moment, and so may the model: uiommu_pci_memory()
 * @flags: &enum uiommu_pci_bar_flags
 * @registers: of WATCHED: bytes at the beginning of each page of that memory where programs write registers, a multiple of 8; 0:
 * all. Without it 0
 */
struct uiommu_pci_bar {
	uint64_t size;
	uint64_t memory_offset;
	uint64_t memory_length;
	uint32_t flags;
	uint32_t registers;
};

/**
 * enum uiommu_pci_capability_type - capabilities (PCIe 6.0, 7.5 to 7.9).
 * @UIOMMU_PCI_PM: power management: D0 and D3hot, no reset between them
 * @UIOMMU_PCI_MSI: @count: vectors, a power of two up to 32; 64-bit addresses, vectors are masked one by one
 * @UIOMMU_PCI_MSIX: @count: vectors, up to 2048; table and pending bits are in @bar from @offset on
 * @UIOMMU_PCI_EXPRESS: a PCI Express endpoint that can be reset (FLR); what every capability below needs
 * @UIOMMU_PCI_ATS: @count: invalidate queue depth, 1 to 32
 * @UIOMMU_PCI_PRI: @count: outstanding page requests
 * @UIOMMU_PCI_PASID: @count: bits, 1 to 20
 * @UIOMMU_PCI_ACS: access control, without anything to control
 */
enum uiommu_pci_capability_type {
	UIOMMU_PCI_PM = 1,
	UIOMMU_PCI_MSI,
	UIOMMU_PCI_MSIX,
	UIOMMU_PCI_EXPRESS,
	UIOMMU_PCI_ATS,
	UIOMMU_PCI_PRI,
	UIOMMU_PCI_PASID,
	UIOMMU_PCI_ACS,
};

/**
 * struct uiommu_pci_capability - one capability, at most one of each type.
 * @type: &enum uiommu_pci_capability_type
 * @count: what the type says; 0 otherwise
 * @bar: MSIX: which BAR; not its memory
 * @offset: MSIX: of the table, a multiple of 8; @count * 16 bytes, and the pending bits behind them from a multiple of 8 on
 */
struct uiommu_pci_capability {
	uint32_t type;
	uint32_t count;
	uint32_t bar;
	uint32_t offset;
};

/**
 * enum uiommu_pci_state - what the guest has enabled, a bit mask.
 * @UIOMMU_PCI_MEMORY: BARs decode (Command)
 * @UIOMMU_PCI_BUS_MASTER: the function may do DMA (Command)
 * @UIOMMU_PCI_D3: it is in D3hot: no BAR, no DMA
 * @UIOMMU_PCI_MSI_ON: MSI is enabled
 * @UIOMMU_PCI_MSIX_ON: MSI-X is enabled
 * @UIOMMU_PCI_ATS_ON: ATS is enabled
 * @UIOMMU_PCI_PRI_ON: page requests are enabled
 * @UIOMMU_PCI_PASID_ON: PASIDs are enabled
 */
enum uiommu_pci_state {
	UIOMMU_PCI_MEMORY = 1,
	UIOMMU_PCI_BUS_MASTER = 2,
	UIOMMU_PCI_D3 = 4,
	UIOMMU_PCI_MSI_ON = 8,
	UIOMMU_PCI_MSIX_ON = 16,
	UIOMMU_PCI_ATS_ON = 32,
	UIOMMU_PCI_PRI_ON = 64,
	UIOMMU_PCI_PASID_ON = 128,
};

/**
 * enum uiommu_pci_reset_type - why a function is reset.
 * @UIOMMU_PCI_RESET_BUS: its bus is, or the machine (conventional reset)
 * @UIOMMU_PCI_RESET_FUNCTION: a driver has asked for it (FLR)
 */
enum uiommu_pci_reset_type {
	UIOMMU_PCI_RESET_BUS,
	UIOMMU_PCI_RESET_FUNCTION,
};

/**
 * struct uiommu_pci_ops - what a model does. Calls come from the transport's thread (vfio.h: from that of whoever makes the
 * access), one at a time for each function, and with no lock held that a call of this library needs: they may do DMA, raise
 * interrupts and wait for what does not itself wait for the guest. Any may be NULL.
 * @read: the value of @size bytes (1, 2, 4 or 8, aligned to their size) at @offset of @bar; NULL: 0
 * @write: the same, written
 * @reset: config space has its first values again, DMA of the device is not let through, and none is running; forget everything
 * @changed: the guest has changed what is enabled, from @before to @now (&enum uiommu_pci_state). What was taken away is off
 *           already: of a function that is no bus master any more no DMA is let through, and none is running. ATS and PRI are the
 *           model's to end (uiommu_ats_disable(), uiommu_pri_disable())
 * @touched: the memory of a WATCHED BAR is about to be written, for the first time since uiommu_pci_watch(), by somebody who has it
 *           mapped; or it has another value than it had. Called from any thread, at any moment: wake up whoever looks at it, and
 * wait for nothing
 */
struct uiommu_pci_ops {
	uint64_t (*read)(void *opaque, unsigned int bar, uint64_t offset, unsigned int size);
	void (*write)(void *opaque, unsigned int bar, uint64_t offset, unsigned int size, uint64_t value);
	void (*reset)(void *opaque, enum uiommu_pci_reset_type type);
	void (*changed)(void *opaque, unsigned int before, unsigned int now);
	void (*touched)(void *opaque);
};

/**
 * enum uiommu_pci_flags - flags of a description.
 * @UIOMMU_PCI_ALWAYS_MASTER: Bus Master reads as 1 and cannot be cleared: a function whose messages must arrive although no driver
 *                            thinks of it as one that does DMA (an IOMMU)
 */
enum uiommu_pci_flags {
	UIOMMU_PCI_ALWAYS_MASTER = 1,
};

/**
 * struct uiommu_pci_description - what a function is. Zero what is not used.
 * @size: sizeof(struct uiommu_pci_description)
 * @flags: &enum uiommu_pci_flags
 * @vendor: vendor id
 * @device: device id
 * @subsystem_vendor: subsystem vendor id
 * @subsystem: subsystem id
 * @class_code: base class, subclass and programming interface, 24 bits
 * @revision: revision id
 * @interrupt_pin: 0: no INTx; 1 to 4: INTA to INTD
 * @capability_count: number of @capabilities
 * @bars: its BARs
 * @capabilities: in the order in which they are to be found
 * @ops: the model
 */
struct uiommu_pci_description {
	uint32_t size;
	uint32_t flags;
	uint16_t vendor;
	uint16_t device;
	uint16_t subsystem_vendor;
	uint16_t subsystem;
	uint32_t class_code;
	uint8_t revision;
	uint8_t interrupt_pin;
	uint16_t capability_count;
	struct uiommu_pci_bar bars[UIOMMU_PCI_BARS];
	const struct uiommu_pci_capability *capabilities;
	const struct uiommu_pci_ops *ops;
};

struct uiommu_pci;

/**
 * uiommu_pci_create() - make a PCI function.
 * @context: owner of the device
 * @device_id: the device that does its DMA, from now on only as a bus master; it is referenced until uiommu_pci_destroy(), and
 *             should have as many PASID bits as the PASID capability
 * @description: what it is; copied, but @ops, and what it points to, must stay
 * @opaque: first argument of the ops
 * @out: the function, in the state after a reset
 *
 * Return: 0, -EINVAL (size; a BAR's size, place or memory; a capability's type, count or place, one that is there twice or lacks
 * EXPRESS; no ops), -E2BIG, -EOPNOTSUPP (flags), -ENOENT (no such device), -ENOSPC (config space is full), -EMFILE, -ENOMEM.
 */
UIOMMU_API int uiommu_pci_create(struct uiommu_context *context, uint32_t device_id,
				 const struct uiommu_pci_description *description, void *opaque, struct uiommu_pci **out);

/**
 * uiommu_pci_destroy() - end a function that no transport has any more.
 * @pci: the function; NULL does nothing
 */
UIOMMU_API void uiommu_pci_destroy(struct uiommu_pci *pci);

/**
 * uiommu_pci_device() - the device, for the DMA calls.
 * @pci: the function
 *
 * Return: the device, for as long as the function lives. Thread-safe.
 */
UIOMMU_API struct uiommu_device *uiommu_pci_device(const struct uiommu_pci *pci);

/**
 * uiommu_pci_state() - what the guest has enabled.
 * @pci: the function
 *
 * Return: &enum uiommu_pci_state. Thread-safe.
 */
UIOMMU_API unsigned int uiommu_pci_state(struct uiommu_pci *pci);

/**
 * uiommu_pci_bar_address() - where the guest has put a BAR.
 * @pci: the function
 * @bar: which one
 *
 * Return: its address, or UINT64_MAX while BARs do not decode, or there is none. Thread-safe.
 */
UIOMMU_API uint64_t uiommu_pci_bar_address(struct uiommu_pci *pci, unsigned int bar);

/**
 * uiommu_pci_memory() - the memory of a BAR.
 * @pci: the function
 * @bar: which one
 *
 * The guest may write it at any moment: copy once, then check, then use.
 *
 * Return: the byte at @memory_offset, or NULL if the BAR has none. It stays for as long as the function lives. Thread-safe.
 */
UIOMMU_API void *uiommu_pci_memory(const struct uiommu_pci *pci, unsigned int bar);

/**
 * uiommu_pci_watch() - be told of the next write to the memory of WATCHED BARs.
 * @pci: the function
 *
 * For a model that has looked at the memory for a while and found nothing new: look once more afterwards, and sleep until touched()
 * or a call comes. From then on writes come without being told, until this is called again.
 *
 * Return: true if somebody has it mapped, and will be heard; false if every write is a call. Thread-safe; not in touched().
 */
UIOMMU_API bool uiommu_pci_watch(struct uiommu_pci *pci);

/**
 * uiommu_pci_response_failed() - a page request was answered with &UIOMMU_RESPONSE_FAILURE.
 * @pci: the function
 *
 * Shows in its Page Request Status as Response Failure, until the guest clears that or resets the interface (PCIe 6.0, 7.8.10.3,
 * 10.4.2.2). Without the capability nothing does. The model sends no further requests until they are enabled again.
 *
 * Thread-safe; takes no lock and waits for nothing.
 */
UIOMMU_API void uiommu_pci_response_failed(struct uiommu_pci *pci);

/**
 * uiommu_pci_interrupt() - send a message-signalled interrupt.
 * @pci: the function
 * @vector: which one
 *
 * With MSI-X if it is enabled, with MSI otherwise; of MSI the low bits of the vector count if the guest has enabled fewer vectors.
 * One that is masked is pending, and sent when it no longer is.
 *
 * Return: 0, -EINVAL (there is no such vector), -ENODEV (neither is enabled, or the function is no bus master: nothing is sent).
 * Thread-safe; may be called in an op.
 */
UIOMMU_API int uiommu_pci_interrupt(struct uiommu_pci *pci, unsigned int vector);

/**
 * uiommu_pci_intx() - set the level of the interrupt pin.
 * @pci: the function
 * @asserted: true for as long as there is something to serve
 *
 * While MSI or MSI-X is enabled, or INTx disabled, nothing is sent. Thread-safe; may be called in an op.
 */
UIOMMU_API void uiommu_pci_intx(struct uiommu_pci *pci, bool asserted);

/**
 * uiommu_pci_message() - send an interrupt whose address and data are in registers of the function's own.
 * @pci: the function
 * @address: where it goes
 * @data: what is written there, 4 bytes
 *
 * It is posted: that it has arrived is not known.
 *
 * Return: 0, -ENODEV (the function is no bus master, or there is no transport). Thread-safe; may be called in an op.
 */
UIOMMU_API int uiommu_pci_message(struct uiommu_pci *pci, uint64_t address, uint32_t data);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* A transport that counts MSI-X vectors, and config space as a driver writes it, for tests of functions that have an engine. */
#ifndef TESTS_UNIT_VECTORS_H
#define TESTS_UNIT_VECTORS_H

#include "test.h"

#include "pci/pci.h"
#include "pci/spec.h"

enum { VECTORS = 64 };

static unsigned int interrupts[VECTORS]; /* by vector; atomic */

static inline bool take_vector(struct pci_transport *transport, enum pci_interrupt kind, unsigned int vector)
{
	(void)transport;
	assert_int_equal(kind, PCI_MSIX);
	__atomic_add_fetch(&interrupts[vector], 1, __ATOMIC_SEQ_CST);
	return true;
}

static inline void take_message(struct pci_transport *transport, uint64_t address, uint32_t data)
{
	(void)transport;
	(void)address;
	(void)data;
}

static inline void take_switch(struct pci_transport *transport, bool on)
{
	(void)transport;
	(void)on;
}

static inline void vectors_connect(struct uiommu_pci *pci)
{
	static struct pci_transport transport = {
		.intx = take_switch, .interrupt = take_vector, .message = take_message, .master = take_switch};

	memset(interrupts, 0, sizeof(interrupts));
	assert_int_equal(pci_connect(pci, &transport), 0);
}

static inline unsigned int interrupts_of(unsigned int vector)
{
	return __atomic_load_n(&interrupts[vector], __ATOMIC_SEQ_CST);
}

static inline uint32_t function_config_get(struct uiommu_pci *pci, unsigned int offset, unsigned int size)
{
	uint32_t value = 0;

	assert_int_equal(pci_config_read(pci, offset, &value, size), 0);
	return value;
}

static inline void function_config_set(struct uiommu_pci *pci, unsigned int offset, unsigned int size, uint32_t value)
{
	assert_int_equal(pci_config_write(pci, offset, &value, size), 0);
}

#endif

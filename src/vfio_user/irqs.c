/* SPDX-License-Identifier: BSD-3-Clause */
/* Interrupts: the transport's functions, and what the other side says of its eventfds. */
#include <errno.h>
#include <stdlib.h>

#include "translate/space.h"
#include "util/util.h"
#include "vfio_user/server.h"

static struct port *port_of(struct pci_transport *transport)
{
	return container_of(transport, struct port, transport);
}

static void intx(struct pci_transport *transport, bool asserted)
{
	pci_irqs_intx(&port_of(transport)->irqs, asserted);
}

static bool interrupt(struct pci_transport *transport, enum pci_interrupt kind, unsigned int vector)
{
	return pci_irqs_interrupt(&port_of(transport)->irqs, kind, vector);
}

static void message(struct pci_transport *transport, uint64_t address, uint32_t data)
{
	struct port *port = port_of(transport);

	bool sent;

	pthread_mutex_lock(&port->post_lock);
	sent = !port->post_link || link_post(port->post_link, address, data);
	pthread_mutex_unlock(&port->post_lock);
	if (!sent)
		server_has_posts(port->server);
}

static void master(struct pci_transport *transport, bool on)
{
	struct port *port = port_of(transport);
	struct uiommu_context *context = port->server->context;
	uint32_t device = uiommu_pci_device(port->pci)->id;
	int error;

	if (!port->ioas_id)
		return;
	if (on)
		error = uiommu_attach(context, device, UIOMMU_NO_PASID, port->ioas_id);
	else
		error = uiommu_detach(context, device, UIOMMU_NO_PASID);
	if (error)
		port_log(port, "cannot %s the guest's memory: error %d", on ? "attach to" : "detach from", -error);
}

int irqs_init(struct port *port)
{
	pthread_mutex_init(&port->post_lock, NULL);
	port->transport = (struct pci_transport){intx, interrupt, message, master};
	/*
	 * QEMU lowers its line when the guest accesses the function, and raises it whenever it comes to read the signal: which may
	 * be after the guest has done everything that there was to do, and makes no more accesses.
	 */
	return pci_irqs_init(&port->irqs, port->pci, PCI_IRQS_TAKES_BACK);
}

void irqs_fini(struct port *port)
{
	pci_irqs_fini(&port->irqs);
	pthread_mutex_destroy(&port->post_lock);
}

/* Lengths and numbers that fit each other; it is malformed otherwise. */
static bool well_formed(const struct vfu_set_irqs *set, const struct message *message)
{
	uint32_t data = set->flags & PCI_IRQ_SET_DATA, action = set->flags & PCI_IRQ_SET_ACTION;

	if (set->argsz < sizeof(*set) || set->flags & ~(uint32_t)(PCI_IRQ_SET_DATA | PCI_IRQ_SET_ACTION))
		return false;
	if (!data || data & (data - 1) || !action || action & (action - 1))
		return false;
	if (message->length != sizeof(*set) + (data == PCI_IRQ_SET_BOOL ? set->count : 0))
		return false;
	return data == PCI_IRQ_SET_FDS ? !message->fd_count || message->fd_count == set->count : !message->fd_count;
}

/* The other side lends its descriptions; or, with none, nobody takes the vectors any more. */
static void take_fds(struct message *message, int *fds, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		fds[i] = message->fd_count ? message->fds[i] : -1;
}

int irqs_request(struct port *port, struct message *message, struct reply *reply)
{
	const struct vfu_set_irqs *set = (const void *)message->payload;
	struct pci_irq_request request = {.bools = (const uint8_t *)(set + 1)};
	int *fds = NULL, error;

	(void)reply;
	if (!well_formed(set, message))
		return -EPROTO;
	request.flags = set->flags;
	request.index = set->index;
	request.start = set->start;
	request.count = set->count;
	error = pci_irqs_check(&port->irqs, &request);
	if (error)
		return -error;
	if (set->flags & PCI_IRQ_SET_FDS) {
		fds = malloc((set->count ? set->count : 1) * sizeof(*fds));
		if (!fds)
			return ENOMEM;
		take_fds(message, fds, set->count);
	}
	request.fds = fds;
	error = pci_irqs_set(&port->irqs, &request);
	for (uint32_t i = 0; fds && i < message->fd_count; i++)
		message->fds[i] = fds[i];
	free(fds);
	return -error;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A PCI function's life: made, connected, reset, destroyed. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "iommu/device.h"
#include "pci/capability.h"
#include "pci/pci.h"
#include "pci/spec.h"
#include "util/util.h"

enum { BAR_SIZE_MIN = 16, BAR_LG2_MAX = 31, BAR_64_LG2_MAX = 46 };

static bool memory_valid(const struct uiommu_pci_bar *bar)
{
	if (bar->flags & UIOMMU_PCI_BAR_WATCHED ? !bar->memory_length : bar->registers)
		return false;
	if (bar->registers % sizeof(uint64_t) || bar->registers > page_size())
		return false;
	return !(bar->memory_offset % page_size()) && !(bar->memory_length % page_size()) && bar->memory_length <= bar->size &&
	       bar->memory_offset <= bar->size - bar->memory_length;
}

static bool bar_valid(const struct uiommu_pci_bar *bars, unsigned int i)
{
	static const struct uiommu_pci_bar none;
	const struct uiommu_pci_bar *bar = &bars[i];
	bool wide = bar->flags & UIOMMU_PCI_BAR_64;

	if (!memcmp(bar, &none, sizeof(none)))
		return true;
	if (i && (bars[i - 1].flags & UIOMMU_PCI_BAR_64))
		return false;
	if (bar->size < BAR_SIZE_MIN || bar->size & (bar->size - 1) ||
	    bar->size > UINT64_C(1) << (wide ? BAR_64_LG2_MAX : BAR_LG2_MAX))
		return false;
	if (bar->flags & ~(uint32_t)(UIOMMU_PCI_BAR_64 | UIOMMU_PCI_BAR_PREFETCHABLE | UIOMMU_PCI_BAR_WATCHED))
		return false;
	return !(wide && i == UIOMMU_PCI_BARS - 1) && memory_valid(bar);
}

static int check_description(const struct uiommu_pci_description *given)
{
	if (given->flags & ~(uint32_t)UIOMMU_PCI_ALWAYS_MASTER)
		return -EOPNOTSUPP;
	if (!given->ops || (given->capability_count && !given->capabilities) || given->interrupt_pin > 4 || given->class_code >> 24)
		return -EINVAL;
	for (unsigned int i = 0; i < UIOMMU_PCI_BARS; i++)
		if (!bar_valid(given->bars, i))
			return -EINVAL;
	return 0;
}

/* Bytes are where they are in the BAR. Nobody can shorten it, so that no access meets SIGBUS. */
static int make_memory(struct uiommu_pci *pci, unsigned int bar)
{
	size_t offset = pci->bars[bar].memory_offset, length = pci->bars[bar].memory_length;
	int fd = memfd_create("uiommu-bar", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return errno == EMFILE || errno == ENFILE ? -EMFILE : -ENOMEM;
	pci->memory_fd[bar] = fd;
	if (ftruncate(fd, (off_t)(offset + length)) || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return -ENOMEM;
	pci->memory[bar] = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
	if (pci->memory[bar] == MAP_FAILED) {
		pci->memory[bar] = NULL;
		return -ENOMEM;
	}
	return 0;
}

int pci_memory_move(struct uiommu_pci *pci, unsigned int bar, int fd, uint64_t at)
{
	size_t length = pci->bars[bar].memory_length;
	off_t start = (off_t)(at + pci->bars[bar].memory_offset);
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (own < 0)
		return -EMFILE;
	/* In one step: whoever looks at it meanwhile finds one or the other. */
	if (pwrite(own, pci->memory[bar], length, start) != (ssize_t)length ||
	    mmap(pci->memory[bar], length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, own, start) == MAP_FAILED) {
		close(own);
		return -ENOMEM;
	}
	close(pci->memory_fd[bar]);
	pci->memory_fd[bar] = own;
	pci->memory_at[bar] = at;
	return 0;
}

static int fill(struct uiommu_pci *pci, const struct uiommu_pci_description *given)
{
	int error = pci_layout(pci, given);

	for (unsigned int bar = 0; bar < UIOMMU_PCI_BARS && !error; bar++)
		if (pci->bars[bar].memory_length)
			error = make_memory(pci, bar);
	if (error)
		return error;
	pci_interrupts_reset(pci);
	pci->state = pci_state_of(pci);
	container_of(pci->device, struct device, data)->never_ats = !pci->place[UIOMMU_PCI_ATS];
	if (!pci_state_masters(pci->state))
		device_suspend(pci->device);
	return 0;
}

int uiommu_pci_create(struct uiommu_context *context, uint32_t device_id, const struct uiommu_pci_description *description,
		      void *opaque, struct uiommu_pci **out)
{
	struct uiommu_pci_description given;
	struct uiommu_pci *pci;
	int error = copy_struct(&given, sizeof(given), sizeof(given), description, description->size);

	if (!error)
		error = check_description(&given);
	if (error)
		return error;
	pci = calloc(1, sizeof(*pci));
	if (!pci)
		return -ENOMEM;
	pthread_mutex_init(&pci->lock, NULL);
	pci->ops = given.ops;
	pci->pin = given.interrupt_pin;
	pci->opaque = opaque;
	pci->always_master = given.flags & UIOMMU_PCI_ALWAYS_MASTER;
	memcpy(pci->bars, given.bars, sizeof(pci->bars));
	memset(pci->memory_fd, 0xff, sizeof(pci->memory_fd));
	pci->device = uiommu_device_get(context, device_id);
	error = pci->device ? fill(pci, &given) : -ENOENT;
	if (error)
		uiommu_pci_destroy(pci);
	else
		*out = pci;
	return error;
}

void uiommu_pci_destroy(struct uiommu_pci *pci)
{
	if (!pci)
		return;
	for (unsigned int bar = 0; bar < UIOMMU_PCI_BARS; bar++) {
		if (pci->memory[bar])
			munmap(pci->memory[bar], pci->bars[bar].memory_length);
		if (pci->memory_fd[bar] >= 0)
			close(pci->memory_fd[bar]);
	}
	free(pci->msix.entries);
	free(pci->msix.bits);
	if (pci->device) { /* it is a device again, no more */
		container_of(pci->device, struct device, data)->never_ats = false;
		device_resume(pci->device);
	}
	uiommu_device_put(pci->device);
	pthread_mutex_destroy(&pci->lock);
	free(pci);
}

struct uiommu_device *uiommu_pci_device(const struct uiommu_pci *pci)
{
	return pci->device;
}

unsigned int uiommu_pci_state(struct uiommu_pci *pci)
{
	return __atomic_load_n(&pci->state, __ATOMIC_ACQUIRE);
}

void *uiommu_pci_memory(const struct uiommu_pci *pci, unsigned int bar)
{
	return bar < UIOMMU_PCI_BARS ? pci->memory[bar] : NULL;
}

bool uiommu_pci_watch(struct uiommu_pci *pci)
{
	bool mapped;

	pthread_mutex_lock(&pci->lock);
	mapped = pci->transport && pci->transport->watch && pci->transport->watch(pci->transport);
	pthread_mutex_unlock(&pci->lock);
	return mapped;
}

void uiommu_pci_response_failed(struct uiommu_pci *pci)
{
	__atomic_store_n(&pci->response_failed, true, __ATOMIC_RELAXED);
}

void pci_touched(struct uiommu_pci *pci)
{
	if (pci->ops->touched)
		pci->ops->touched(pci->opaque);
}

uint64_t uiommu_pci_bar_address(struct uiommu_pci *pci, unsigned int bar)
{
	uint64_t address = UINT64_MAX;

	if (bar >= UIOMMU_PCI_BARS || !pci->bars[bar].size)
		return address;
	pthread_mutex_lock(&pci->lock);
	if (pci->state & UIOMMU_PCI_MEMORY) {
		address = pci_config_get(&pci->config, PCI_BAR0 + 4 * bar, 4) & ~(uint32_t)PCI_BAR_FLAGS;
		if (pci->bars[bar].flags & UIOMMU_PCI_BAR_64)
			address |= (uint64_t)pci_config_get(&pci->config, PCI_BAR0 + 4 * bar + 4, 4) << 32;
	}
	pthread_mutex_unlock(&pci->lock);
	return address;
}

bool pci_decodes(struct uiommu_pci *pci, uint64_t address, uint64_t last)
{
	for (unsigned int bar = 0; bar < UIOMMU_PCI_BARS; bar++) {
		uint64_t start = uiommu_pci_bar_address(pci, bar);

		if (start != UINT64_MAX && address <= start + (pci->bars[bar].size - 1) && last >= start)
			return true;
	}
	return false;
}

void pci_master(struct uiommu_pci *pci, struct pci_transport *transport, bool on)
{
	if (!on)
		device_suspend(pci->device);
	if (transport)
		transport->master(transport, on);
	if (on)
		device_resume(pci->device);
}

int pci_connect(struct uiommu_pci *pci, struct pci_transport *transport)
{
	struct pci_transport *old;
	bool was, is;

	pthread_mutex_lock(&pci->lock);
	old = pci->transport;
	if (old && transport) {
		pthread_mutex_unlock(&pci->lock);
		return -EBUSY;
	}
	pci->transport = NULL; /* nobody is told of the changes */
	was = pci_state_masters(pci->state);
	memcpy(pci->config.value, pci->config.reset, sizeof(pci->config.value));
	__atomic_store_n(&pci->state, 0, __ATOMIC_RELEASE);
	pci_interrupts_reset(pci);
	__atomic_store_n(&pci->state, pci_state_of(pci), __ATOMIC_RELEASE);
	pci->transport = transport;
	is = pci_state_masters(pci->state);
	pthread_mutex_unlock(&pci->lock);
	if (was)
		pci_master(pci, old, false);
	if (is)
		pci_master(pci, transport, true);
	return 0;
}

/* Under the lock. 6.6.2: what is the link's, and the greatest payload, are not a function's to reset. */
static void config_reset(struct uiommu_pci *pci, enum uiommu_pci_reset_type type)
{
	unsigned int at = type == UIOMMU_PCI_RESET_FUNCTION ? pci->place[UIOMMU_PCI_EXPRESS] : 0;
	uint32_t control = pci_config_get(&pci->config, at + PCI_EXP_CONTROL, 2);
	uint32_t link = pci_config_get(&pci->config, at + PCI_EXP_LINK_CONTROL, 2);

	memcpy(pci->config.value, pci->config.reset, sizeof(pci->config.value));
	if (!at)
		return;
	pci_config_set(&pci->config, at + PCI_EXP_CONTROL, 2, PCI_EXP_CONTROL_RESET | (control & PCI_EXP_CONTROL_PAYLOAD));
	pci_config_set(&pci->config, at + PCI_EXP_LINK_CONTROL, 2, link);
}

void pci_reset(struct uiommu_pci *pci, enum uiommu_pci_reset_type type)
{
	struct pci_transport *transport;
	bool was, is;

	pthread_mutex_lock(&pci->lock);
	transport = pci->transport;
	was = pci_state_masters(pci->state);
	/* First of all nothing more begins. */
	__atomic_store_n(&pci->state, 0, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&pci->lock);
	if (was)
		pci_master(pci, transport, false);
	pthread_mutex_lock(&pci->lock);
	pci_collect(pci);
	config_reset(pci, type);
	pci_interrupts_reset(pci);
	pthread_mutex_unlock(&pci->lock);
	if (pci->ops->reset)
		pci->ops->reset(pci->opaque, type);
	pthread_mutex_lock(&pci->lock);
	is = pci_state_masters(pci_state_of(pci));
	__atomic_store_n(&pci->state, pci_state_of(pci), __ATOMIC_RELEASE);
	pthread_mutex_unlock(&pci->lock);
	if (is)
		pci_master(pci, transport, true);
}

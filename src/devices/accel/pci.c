/* SPDX-License-Identifier: BSD-3-Clause */
/* The accelerator as a PCI function: config space, registers, resets, and what the guest has enabled. */
#include "devices/accel/pci.h"

#include <errno.h>
#include <stdlib.h>

#include "devices/model.h"
#include "translate/inflight.h"
#include "util/util.h"

enum { PAGES_DEFAULT = 128, VECTORS_DEFAULT = 16 };

/* --- registers, 4 bytes each --- */

static struct page *page_at(struct uiommu_accel_pci *function, uint64_t offset, uint64_t stride)
{
	return offset / stride < function->page_count ? &function->pages[offset / stride] : NULL;
}

static uint32_t read_events(struct uiommu_accel_pci *function, uint64_t offset)
{
	uint64_t word;

	pthread_mutex_lock(&function->lock);
	word = function->events[(offset - ACCEL_EVENTS) / 8];
	pthread_mutex_unlock(&function->lock);
	return (uint32_t)(offset & 4 ? word >> 32 : word);
}

static uint32_t read_function(struct uiommu_accel_pci *function, uint64_t offset)
{
	uint32_t value = 0;

	switch (offset) {
	case ACCEL_VERSION:
		return 1;
	case ACCEL_PAGES:
		return function->page_count;
	case ACCEL_VECTORS:
		return function->vector_count;
	case ACCEL_ENTRIES_MAX:
		return 4096;
	}
	if (offset >= ACCEL_EVENTS && offset < ACCEL_EVENTS_END)
		return read_events(function, offset);
	pthread_mutex_lock(&function->lock);
	if (offset == ACCEL_STATUS)
		value = function->resetting ? ACCEL_STATUS_RESETTING : 0;
	else if (offset == ACCEL_EVENT_INTERRUPT)
		value = function->event_interrupt;
	pthread_mutex_unlock(&function->lock);
	return value;
}

static uint32_t read_register(struct uiommu_accel_pci *function, uint64_t offset)
{
	struct page *page;

	if (offset < ACCEL_PAGE_REGISTERS)
		return read_function(function, offset);
	page = page_at(function, offset - ACCEL_PAGE_REGISTERS, ACCEL_PAGE_STRIDE);
	return page ? page_read(page, offset % ACCEL_PAGE_STRIDE) : 0;
}

/* All pages: the runner has to end what they are at before one is used again. */
static void forget(struct uiommu_accel_pci *function)
{
	pthread_mutex_lock(&function->lock);
	function->resetting = true;
	engine_bar(function->base.tenant);
	function->event_interrupt = 0;
	for (unsigned int i = 0; i < ARRAY_SIZE(function->events); i++)
		function->events[i] = 0;
	for (uint32_t i = 0; i < function->page_count; i++)
		page_reset(&function->pages[i]);
	pthread_mutex_unlock(&function->lock);
	engine_kick(function->base.tenant);
}

static void write_function(struct uiommu_accel_pci *function, uint64_t offset, uint32_t value)
{
	if (offset == ACCEL_CONTROL && value == ACCEL_CONTROL_RESET) {
		forget(function);
		return;
	}
	pthread_mutex_lock(&function->lock);
	if (offset == ACCEL_EVENT_INTERRUPT)
		function->event_interrupt = (value & ~ACCEL_VALID) < function->vector_count ? value : 0;
	else if (offset >= ACCEL_EVENTS && offset < ACCEL_EVENTS_END)
		function->events[(offset - ACCEL_EVENTS) / 8] &= ~((uint64_t)value << (offset & 4 ? 32 : 0));
	pthread_mutex_unlock(&function->lock);
}

static void write_register(struct uiommu_accel_pci *function, uint64_t offset, uint32_t value)
{
	struct page *page;

	if (offset < ACCEL_PAGE_REGISTERS) {
		write_function(function, offset, value);
		return;
	}
	page = page_at(function, offset - ACCEL_PAGE_REGISTERS, ACCEL_PAGE_STRIDE);
	if (page)
		page_write(page, offset % ACCEL_PAGE_STRIDE, value);
}

/* --- what the guest does --- */

static uint64_t read_bar(void *opaque, unsigned int bar, uint64_t offset, unsigned int size)
{
	struct uiommu_accel_pci *function = opaque;
	struct page *page;
	uint64_t value;

	if (bar == ACCEL_BAR_DOORBELLS) {
		page = page_at(function, offset, ACCEL_DOORBELL_SIZE);
		return page && size == 8 ? page_doorbell_read(page, offset % ACCEL_DOORBELL_SIZE) : 0;
	}
	if (bar != ACCEL_BAR_REGISTERS || size < 4)
		return 0;
	value = read_register(function, offset);
	if (size == 8)
		value |= (uint64_t)read_register(function, offset + 4) << 32;
	return value;
}

static void write_bar(void *opaque, unsigned int bar, uint64_t offset, unsigned int size, uint64_t value)
{
	struct uiommu_accel_pci *function = opaque;
	struct page *page;

	if (bar == ACCEL_BAR_DOORBELLS) {
		page = page_at(function, offset, ACCEL_DOORBELL_SIZE);
		if (page && size == 8 && offset % ACCEL_DOORBELL_SIZE == ACCEL_DOORBELL)
			page_doorbell(page, value);
		return;
	}
	if (bar != ACCEL_BAR_REGISTERS || size < 4)
		return;
	write_register(function, offset, (uint32_t)value);
	if (size == 8)
		write_register(function, offset + 4, (uint32_t)(value >> 32));
}

/* Nothing that was begun before may be done with what the guest enables afterwards. */
static void reset(void *opaque, enum uiommu_pci_reset_type type)
{
	struct uiommu_accel_pci *function = opaque;

	(void)type;
	forget(function);
	function_reset(&function->base);
}

static void changed(void *opaque, unsigned int before, unsigned int now)
{
	struct uiommu_accel_pci *function = opaque;

	function_changed(&function->base, before, now);
	if (before & ~now & UIOMMU_PCI_PASID_ON) {
		for (uint32_t i = 0; i < function->page_count; i++)
			page_lose_pasid(&function->pages[i]);
		engine_kick(function->base.tenant);
	}
}

static void touched(void *opaque)
{
	struct uiommu_accel_pci *function = opaque;

	engine_ring(function->base.accel);
}

static const struct uiommu_pci_ops ops = {
	.read = read_bar, .write = write_bar, .reset = reset, .changed = changed, .touched = touched};

/* --- the runner --- */

/* Has every page ended what it was at? */
static void reset_done(struct uiommu_accel_pci *function)
{
	bool done = true;

	pthread_mutex_lock(&function->lock);
	for (uint32_t i = 0; function->resetting && i < function->page_count; i++)
		done &= page_state(&function->pages[i]) == ACCEL_STATE_DISABLED;
	if (function->resetting && done) {
		function->resetting = false;
		engine_unbar(function->base.tenant);
	}
	pthread_mutex_unlock(&function->lock);
}

static bool control(void *opaque)
{
	struct uiommu_accel_pci *function = opaque;
	bool more = false;

	for (uint32_t i = 0; i < function->page_count; i++)
		more |= page_control(&function->pages[i]);
	reset_done(function);
	return more;
}

/* --- beginning and end --- */

static int create_function(struct uiommu_accel_pci *function, struct uiommu_context *context, uint32_t device_id)
{
	const struct uiommu_pci_capability capabilities[] = {
		{.type = UIOMMU_PCI_EXPRESS},
		{.type = UIOMMU_PCI_PM},
		{.type = UIOMMU_PCI_MSIX, .count = function->vector_count, .bar = ACCEL_BAR_MSIX},
		{.type = UIOMMU_PCI_ATS, .count = FUNCTION_INVALIDATE_DEPTH},
		{.type = UIOMMU_PCI_PRI, .count = ACCEL_PCI_REQUESTS},
		{.type = UIOMMU_PCI_PASID, .count = FUNCTION_PASID_BITS},
	};
	struct uiommu_pci_description description = {
		.size = sizeof(description),
		.vendor = ACCEL_PCI_VENDOR,
		.device = ACCEL_PCI_DEVICE,
		.class_code = ACCEL_PCI_CLASS,
		.revision = ACCEL_PCI_REVISION,
		.capabilities = capabilities,
		.capability_count = ARRAY_SIZE(capabilities),
		.ops = &ops,
	};
	uint64_t registers = ACCEL_PAGE_REGISTERS + (uint64_t)function->page_count * ACCEL_PAGE_STRIDE;
	uint64_t doorbells = round_up_pow2(max_u64((uint64_t)function->page_count * ACCEL_DOORBELL_SIZE, page_size()));
	int error;

	description.bars[ACCEL_BAR_REGISTERS].size = round_up_pow2(registers);
	description.bars[ACCEL_BAR_DOORBELLS] = (struct uiommu_pci_bar){
		.size = doorbells,
		.memory_length = doorbells,
		.flags = UIOMMU_PCI_BAR_WATCHED,
		/* On hosts with larger pages several are in one. */
		.registers = page_size() == ACCEL_DOORBELL_SIZE ? ACCEL_DOORBELL_END : 0,
	};
	description.bars[ACCEL_BAR_MSIX].size = ACCEL_BAR_MSIX_SIZE;
	error = uiommu_pci_create(context, device_id, &description, function, &function->base.pci);
	for (uint32_t i = 0; i < function->page_count && !error; i++)
		function->pages[i].shown = (uint64_t *)uiommu_pci_memory(function->base.pci, ACCEL_BAR_DOORBELLS) +
					   i * (ACCEL_DOORBELL_SIZE / sizeof(uint64_t));
	if (!error)
		engine_function(function->base.tenant, function->base.pci, true);
	return error;
}

static int config_check(const struct uiommu_accel_pci_config *config)
{
	if (config->flags & ~(config->accel ? 0 : (uint32_t)UIOMMU_ACCEL_PCI_POLLED))
		return -EOPNOTSUPP;
	if (config->accel ? !config->set_id || config->spin_us : config->set_id)
		return -EINVAL;
	return config->pages > ACCEL_PCI_PAGES_MAX || config->vectors > ACCEL_PCI_VECTORS_MAX ? -EINVAL : 0;
}

static struct uiommu_accel_pci *function_alloc(const struct uiommu_accel_pci_config *config)
{
	uint32_t pages = config->pages ? config->pages : PAGES_DEFAULT;
	struct uiommu_accel_pci *function = calloc(1, sizeof(*function) + pages * sizeof(function->pages[0]));

	if (!function)
		return NULL;
	pthread_mutex_init(&function->lock, NULL);
	function->page_count = pages;
	function->vector_count = config->vectors ? config->vectors : VECTORS_DEFAULT;
	for (uint32_t i = 0; i < pages; i++)
		function->pages[i].function = function;
	return function;
}

/* @set_id 0: it is not to be one. */
static int begin_virtual(struct uiommu_accel_pci *function, struct uiommu_context *context, uint32_t set_id)
{
	function->context = context;
	function->set_id = set_id;
	if (!set_id)
		return 0;
	function->set = uiommu_pasid_set_get(context, set_id);
	if (function->set)
		return 0;
	return uiommu_object_type(context, set_id) == UIOMMU_OBJECT_PASID_SET ? -ENOMEM : -ENOENT;
}

int uiommu_accel_pci_create(struct uiommu_context *context, uint32_t device_id, const struct uiommu_accel_pci_config *config,
			    struct uiommu_accel_pci **out)
{
	const size_t least = offsetof(struct uiommu_accel_pci_config, accel);
	struct engine_tenant_config tenant = {.context = context, .device_id = device_id, .control = control};
	struct uiommu_accel_pci_config given;
	struct uiommu_accel_pci *function;
	int error = copy_struct(&given, sizeof(given), least, config, config->size);

	if (!error)
		error = config_check(&given);
	if (error)
		return error;
	function = function_alloc(&given);
	if (!function)
		return -ENOMEM;
	tenant.share = ACCEL_PCI_REQUESTS / function->page_count;
	tenant.opaque = function;
	error = begin_virtual(function, context, given.set_id);
	if (!error)
		error = function_begin(&function->base, &tenant, given.accel);
	if (!error)
		error = create_function(function, context, device_id);
	if (!error && !given.accel && !(given.flags & UIOMMU_ACCEL_PCI_POLLED))
		error = uiommu_accel_start(function->base.accel, given.spin_us);
	if (error)
		uiommu_accel_pci_destroy(function);
	else
		*out = function;
	return error;
}

struct uiommu_pci *uiommu_accel_pci_function(const struct uiommu_accel_pci *function)
{
	return function->base.pci;
}

struct uiommu_accel *uiommu_accel_pci_engine(const struct uiommu_accel_pci *function)
{
	return function->base.accel;
}

int uiommu_accel_pci_destroy(struct uiommu_accel_pci *function)
{
	if (!function)
		return 0;
	if (thread_inside())
		return -EDEADLK;
	function_end(&function->base);
	uiommu_pasid_set_put(function->set);
	pthread_mutex_destroy(&function->lock);
	free(function);
	return 0;
}

/* --- the model --- */

enum { OPTION_PAGES, OPTION_VECTORS, OPTION_SPIN };

static const struct uiommu_model_option options[] = {
	[OPTION_PAGES] = {"pages", "N", "doorbell pages, one for each process that uses it at the same time (128)"},
	[OPTION_VECTORS] = {"vectors", "N", "MSI-X vectors (16)"},
	[OPTION_SPIN] = {"spin", "MICROSECONDS", "how long it polls for more work before it sleeps (0)"},
};

static const struct option_rule rules[ARRAY_SIZE(options)] = {
	[OPTION_PAGES] = {OPTION_NUMBER, 1, ACCEL_PCI_PAGES_MAX},
	[OPTION_VECTORS] = {OPTION_NUMBER, 1, ACCEL_PCI_VECTORS_MAX},
	[OPTION_SPIN] = {OPTION_NUMBER, 0, 1000000},
};

static int model_create(struct uiommu_context *context, uint32_t device_id, const struct option_value *values,
			const struct complaint *complaint, void **out)
{
	const struct uiommu_accel_pci_config config = {
		.size = sizeof(config),
		.pages = (uint32_t)values[OPTION_PAGES].number,
		.vectors = (uint32_t)values[OPTION_VECTORS].number,
		.spin_us = (uint32_t)values[OPTION_SPIN].number,
	};
	struct uiommu_accel_pci *function;
	int error = uiommu_accel_pci_create(context, device_id, &config, &function);

	if (error)
		return complain_about(complaint, error, "accel: cannot be made: error %d", -error);
	*out = function;
	return 0;
}

static int model_create_virtual(const void *parent, const struct model_virtual *device, const struct option_value *values,
				const struct complaint *complaint, void **out)
{
	const struct uiommu_accel_pci_config config = {
		.size = sizeof(config),
		.pages = (uint32_t)values[OPTION_PAGES].number,
		.vectors = (uint32_t)values[OPTION_VECTORS].number,
		.set_id = device->set_id,
		.accel = uiommu_accel_pci_engine(parent),
	};
	struct uiommu_accel_pci *function;
	int error;

	if (values[OPTION_SPIN].given)
		return complain_about(complaint, -EINVAL, "accel: spin is for an engine, which a virtual device has not");
	error = uiommu_accel_pci_create(device->context, device->device_id, &config, &function);
	if (error)
		return complain_about(complaint, error, "accel: cannot be made: error %d", -error);
	*out = function;
	return 0;
}

static struct uiommu_pci *model_function(const void *instance)
{
	return uiommu_accel_pci_function(instance);
}

static void model_destroy(void *instance)
{
	uiommu_accel_pci_destroy(instance);
}

const struct model_type accel_model = {
	.info = {"accel", "DMA engine with DSA's descriptors, shared virtual addressing", options, ARRAY_SIZE(options)},
	.rules = rules,
	.pasid_bits = FUNCTION_PASID_BITS,
	.create = model_create,
	.create_virtual = model_create_virtual,
	.function = model_function,
	.destroy = model_destroy,
};

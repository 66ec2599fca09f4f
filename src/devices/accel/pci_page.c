/* SPDX-License-Identifier: BSD-3-Clause */
/* Doorbell pages: their registers, their states, and the queue behind each. */
#include "devices/accel/pci.h"

#include "devices/accel/ring.h"

static unsigned int index_of(const struct page *page)
{
	return (unsigned int)(page - page->function->pages);
}

static void show(const struct page *page, unsigned int offset, uint64_t value)
{
	__atomic_store_n(&page->shown[offset / sizeof(value)], value, __ATOMIC_RELEASE);
}

/* Under the lock. */
static void set_state(struct page *page, uint32_t state)
{
	__atomic_store_n(&page->state, state, __ATOMIC_RELEASE);
	show(page, ACCEL_DOORBELL_STATE, state);
}

/* Under the lock: the first one since it was cleared, and how many there have been. */
static uint64_t error_word(const struct page *page)
{
	const struct uiommu_accel_error *error = &page->error;
	uint64_t word = error->count << 32;

	if (error->code)
		word |= (uint64_t)error->status << 16 | (uint64_t)error->opcode << 8 | error->code;
	return word;
}

void page_event(struct page *page)
{
	struct uiommu_accel_pci *function = page->function;
	unsigned int i = index_of(page);
	uint32_t interrupt;

	pthread_mutex_lock(&function->lock);
	function->events[i / 64] |= UINT64_C(1) << i % 64;
	interrupt = function->event_interrupt;
	pthread_mutex_unlock(&function->lock);
	/* Without MSI-X nobody waits for it. */
	if (interrupt & ACCEL_VALID)
		(void)uiommu_pci_interrupt(function->base.pci, interrupt & ~ACCEL_VALID);
}

/* --- the driver --- */

static bool pasid_valid(uint32_t value)
{
	uint32_t pasid = value & ~ACCEL_VALID;

	return value & ACCEL_VALID && pasid && pasid <= UIOMMU_PASID_LAST;
}

/*
 * What a virtual device emits for its guest's @vpasid, which stays the same as long as the set has it: so nothing that was looked
 * up for one number is ever found by another. UIOMMU_NO_PASID: the set has none left.
 */
static uint32_t virtual_pasid(const struct uiommu_accel_pci *function, uint32_t vpasid)
{
	uint32_t pasid = uiommu_vpasid_find(function->set, vpasid);

	if (pasid != UIOMMU_NO_PASID || uiommu_pasid_alloc(function->context, function->set_id, 1, UIOMMU_PASID_LAST, &pasid))
		return pasid;
	if (!uiommu_vpasid_map(function->context, function->set_id, vpasid, pasid))
		return pasid;
	/* Another virtual device of the set was quicker, or there is no memory. */
	(void)uiommu_pasid_free(function->context, function->set_id, pasid);
	return uiommu_vpasid_find(function->set, vpasid);
}

/* For ENABLE, which a page without PASID does without. */
static uint32_t emitted_pasid(const struct page *page)
{
	if (!pasid_valid(page->pasid))
		return UIOMMU_NO_PASID;
	return page->function->set ? virtual_pasid(page->function, page->pasid & ~ACCEL_VALID) : page->pasid & ~ACCEL_VALID;
}

/* Under the lock: why it cannot be enabled. */
static unsigned int enable_check(const struct page *page)
{
	const struct uiommu_accel_pci *function = page->function;
	uint64_t bytes;

	if (page->size > 12 || !ring_entries_valid(UINT32_C(1) << page->size))
		return ACCEL_REASON_SIZE;
	bytes = sizeof(struct uiommu_accel_desc) << page->size;
	if (page->ring % sizeof(struct uiommu_accel_desc) || page->ring > UINT64_MAX - (bytes - 1))
		return ACCEL_REASON_RING;
	if (page->pasid && (!pasid_valid(page->pasid) || !(uiommu_pci_state(function->base.pci) & UIOMMU_PCI_PASID_ON)))
		return ACCEL_REASON_PASID;
	if (page->interrupt && (!(page->interrupt & ACCEL_VALID) || (page->interrupt & ~ACCEL_VALID) >= function->vector_count))
		return ACCEL_REASON_INTERRUPT;
	return page->pasid && page->emits == UIOMMU_NO_PASID ? ACCEL_REASON_MEMORY : ACCEL_REASON_NONE;
}

/* Under the lock: what its last use has left. */
static void clear(struct page *page)
{
	__atomic_store_n(&page->head, 0, __ATOMIC_RELAXED);
	page->error = (struct uiommu_accel_error){0};
	show(page, ACCEL_DOORBELL, 0);
	show(page, ACCEL_DOORBELL_HEAD, 0);
	show(page, ACCEL_DOORBELL_ERRORS, 0);
}

/* Under the lock. */
static void enable(struct page *page, uint32_t emits)
{
	unsigned int reason;

	if (page->function->resetting)
		return;
	page->emits = emits;
	reason = enable_check(page);
	clear(page);
	set_state(page, reason ? reason << ACCEL_STATE_REASON_SHIFT : ACCEL_STATE_ENABLING);
}

/* Under the lock. True: the runner has something to do. @emits: for ENABLE */
static bool command(struct page *page, uint32_t value, uint32_t emits)
{
	uint32_t state = page_state(page), plain = state & PAGE_STATE;

	if (value == ACCEL_COMMAND_ENABLE && plain == ACCEL_STATE_DISABLED)
		enable(page, emits);
	else if (value == ACCEL_COMMAND_DRAIN && (plain == ACCEL_STATE_ENABLED || plain == ACCEL_STATE_ENABLING))
		set_state(page, ACCEL_STATE_DRAINING | (state & ACCEL_STATE_HALTED));
	else if (value == ACCEL_COMMAND_ABORT && plain != ACCEL_STATE_DISABLED)
		set_state(page, ACCEL_STATE_ABORTING);
	return page_state(page) != state;
}

static void set_half(uint64_t *value, bool high, uint32_t half)
{
	*value = high ? (*value & UINT32_MAX) | (uint64_t)half << 32 : (*value & ~(uint64_t)UINT32_MAX) | half;
}

/* Under the lock: what stays as it is while the page is in use. */
static void configure(struct page *page, unsigned int offset, uint32_t value)
{
	if ((page_state(page) & PAGE_STATE) != ACCEL_STATE_DISABLED)
		return;
	switch (offset) {
	case ACCEL_PAGE_RING:
	case ACCEL_PAGE_RING + 4:
		set_half(&page->ring, offset != ACCEL_PAGE_RING, value);
		break;
	case ACCEL_PAGE_SIZE:
		page->size = value;
		break;
	case ACCEL_PAGE_PASID:
		page->pasid = value;
		break;
	case ACCEL_PAGE_INTERRUPT:
		page->interrupt = value;
		break;
	}
}

void page_write(struct page *page, unsigned int offset, uint32_t value)
{
	struct uiommu_accel_pci *function = page->function;
	bool enables = offset == ACCEL_PAGE_COMMAND && value == ACCEL_COMMAND_ENABLE, kick = false;
	/* Only this thread writes registers. */
	uint32_t emits = enables ? emitted_pasid(page) : UIOMMU_NO_PASID;

	pthread_mutex_lock(&function->lock);
	if (offset == ACCEL_PAGE_COMMAND) {
		kick = command(page, value, emits);
	} else if (offset == ACCEL_PAGE_ERROR) {
		page->error.code = 0;
		show(page, ACCEL_DOORBELL_ERRORS, error_word(page));
	} else {
		configure(page, offset, value);
	}
	pthread_mutex_unlock(&function->lock);
	if (kick)
		engine_kick(function->base.tenant);
}

static uint64_t read_locked(const struct page *page, unsigned int offset)
{
	switch (offset & ~7u) {
	case ACCEL_PAGE_COMMAND:
		return (uint64_t)page_state(page) << 32;
	case ACCEL_PAGE_RING:
		return page->ring;
	case ACCEL_PAGE_SIZE:
		return page->size | (uint64_t)page->pasid << 32;
	case ACCEL_PAGE_INTERRUPT:
		return page->interrupt;
	case ACCEL_PAGE_ERROR:
		return error_word(page);
	case ACCEL_PAGE_ERROR_ADDRESS:
		return page->error.code ? page->error.address : 0;
	case ACCEL_PAGE_HEAD:
		return __atomic_load_n(&page->head, __ATOMIC_ACQUIRE) | (uint64_t)__atomic_load_n(page_tail(page), __ATOMIC_ACQUIRE)
										<< 32;
	default:
		return 0;
	}
}

uint32_t page_read(struct page *page, unsigned int offset)
{
	uint64_t value;

	pthread_mutex_lock(&page->function->lock);
	value = read_locked(page, offset);
	pthread_mutex_unlock(&page->function->lock);
	return (uint32_t)(offset & 4 ? value >> 32 : value);
}

/* --- the process --- */

void page_doorbell(struct page *page, uint64_t value)
{
	uint32_t state = page_state(page) & PAGE_STATE;

	if (state != ACCEL_STATE_ENABLED && state != ACCEL_STATE_ENABLING)
		return;
	/* Release: pairs with the look that takes the descriptors. */
	__atomic_store_n(page_tail(page), (uint32_t)value, __ATOMIC_RELEASE);
	engine_ring(page->function->base.accel);
}

uint64_t page_doorbell_read(struct page *page, unsigned int offset)
{
	uint64_t value = 0;

	switch (offset) {
	case ACCEL_DOORBELL:
		return __atomic_load_n(page_tail(page), __ATOMIC_ACQUIRE);
	case ACCEL_DOORBELL_HEAD:
		return __atomic_load_n(&page->head, __ATOMIC_ACQUIRE);
	case ACCEL_DOORBELL_STATE:
		return page_state(page);
	case ACCEL_DOORBELL_ERRORS:
		pthread_mutex_lock(&page->function->lock);
		value = error_word(page);
		pthread_mutex_unlock(&page->function->lock);
		return value;
	default:
		return 0;
	}
}

/* --- the runner --- */

static void on_interrupt(void *opaque, uint64_t handles)
{
	const struct page *page = opaque;

	(void)handles;
	/* Without MSI-X nobody waits for it. */
	if (page->vector & ACCEL_VALID)
		(void)uiommu_pci_interrupt(page->function->base.pci, page->vector & ~ACCEL_VALID);
}

static void on_error(void *opaque, const struct uiommu_accel_error *error)
{
	struct page *page = opaque;
	uint64_t count;
	bool tell;

	pthread_mutex_lock(&page->function->lock);
	if (page->function->resetting) {
		pthread_mutex_unlock(&page->function->lock);
		return; /* of what was before */
	}
	count = page->error.count + 1;
	tell = !page->error.code;
	if (tell)
		page->error = *error;
	page->error.count = count & UINT32_MAX;
	show(page, ACCEL_DOORBELL_ERRORS, error_word(page));
	if (error->code == UIOMMU_ACCEL_ERROR_RING)
		set_state(page, page_state(page) | ACCEL_STATE_HALTED);
	pthread_mutex_unlock(&page->function->lock);
	if (tell)
		page_event(page);
}

/* As the driver has configured it, which does not change unless there is a reset. */
static int attach(struct page *page)
{
	struct engine_fetch fetch = {
		.tail = page_tail(page),
		.head = &page->head,
		.shown = &page->shown[ACCEL_DOORBELL_HEAD / sizeof(uint64_t)],
		.interrupt = on_interrupt,
		.error = on_error,
		.opaque = page,
	};
	struct engine_queue_config config = {.interrupt_fd = -1, .fetch = &fetch};

	pthread_mutex_lock(&page->function->lock);
	fetch.address = page->ring;
	config.entries = UINT32_C(1) << page->size;
	config.pasid = page->emits;
	page->vector = page->interrupt;
	pthread_mutex_unlock(&page->function->lock);
	page->closed = false;
	return engine_queue_attach_locked(page->function->base.tenant, &config, &page->queue);
}

/* Unless the driver was quicker. *@tell: the driver may want to know. */
static bool advance(struct page *page, uint32_t from, uint32_t to, bool *tell)
{
	bool done;

	pthread_mutex_lock(&page->function->lock);
	done = (page_state(page) & PAGE_STATE) == from;
	if (done)
		set_state(page, to);
	*tell = done && !page->function->resetting;
	pthread_mutex_unlock(&page->function->lock);
	return done;
}

/* These return true if something is left to do. */
static bool begin(struct page *page)
{
	bool failed = attach(page), tell;

	if (failed)
		page->queue = NULL;
	return !advance(page, ACCEL_STATE_ENABLING,
			failed ? ACCEL_REASON_MEMORY << ACCEL_STATE_REASON_SHIFT : (uint32_t)ACCEL_STATE_ENABLED, &tell);
}

static bool end(struct page *page, uint32_t from)
{
	bool done, tell;

	if (page->queue)
		engine_queue_detach_locked(page->queue);
	page->queue = NULL;
	done = advance(page, from, ACCEL_STATE_DISABLED, &tell);
	if (tell)
		page_event(page);
	return !done;
}

/* What has been rung before is still done; it is told to the queue once. */
static bool drain(struct page *page)
{
	if (page->queue && !page->closed)
		engine_queue_close(page->queue);
	page->closed = true;
	return page->queue && !engine_queue_drained(page->queue) ? true : end(page, ACCEL_STATE_DRAINING);
}

static bool is_resetting(struct page *page)
{
	bool resetting;

	pthread_mutex_lock(&page->function->lock);
	resetting = page->function->resetting;
	pthread_mutex_unlock(&page->function->lock);
	return resetting;
}

/*
 * A PASID has been stopped when its page requests have been answered (PCIe 6.0, 10.4.1.2): software may take it that none comes,
 * and that no answer is owed, when it has been told that the page is disabled. A reset forgets them.
 */
static bool stop(struct page *page)
{
	if (page->queue) {
		engine_queue_stop_locked(page->queue);
		if (engine_queue_asks(page->queue) && !is_resetting(page))
			return true;
	}
	return end(page, ACCEL_STATE_ABORTING);
}

bool page_control(struct page *page)
{
	switch (page_state(page) & PAGE_STATE) {
	case ACCEL_STATE_ENABLING:
		return begin(page);
	case ACCEL_STATE_DRAINING:
		return drain(page);
	case ACCEL_STATE_ABORTING:
		return stop(page);
	default:
		return false;
	}
}

void page_reset(struct page *page)
{
	bool idle = (page_state(page) & PAGE_STATE) == ACCEL_STATE_DISABLED;

	clear(page);
	page->ring = 0;
	page->size = page->pasid = page->interrupt = 0;
	page->emits = UIOMMU_NO_PASID;
	set_state(page, idle ? ACCEL_STATE_DISABLED : ACCEL_STATE_ABORTING);
}

void page_lose_pasid(struct page *page)
{
	pthread_mutex_lock(&page->function->lock);
	if (page->pasid && (page_state(page) & PAGE_STATE) != ACCEL_STATE_DISABLED)
		set_state(page, ACCEL_STATE_ABORTING);
	pthread_mutex_unlock(&page->function->lock);
}

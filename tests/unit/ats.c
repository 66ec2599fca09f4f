/* SPDX-License-Identifier: BSD-3-Clause */
/* ATS: translation requests, translated accesses, and what a device is asked to forget. */
#include "clock.h"
#include "keeper.h"

/* --- requests --- */

static void requests_of_an_ioas(void **state)
{
	struct uiommu_ats_completion completion;

	(void)state;
	assert_int_equal(translate(PASID, PAGE, UIOMMU_READ, &completion), -EOPNOTSUPP);
	assert_int_equal(keeper_enable(0), 0);
	assert_int_equal(keeper_enable(0), -EBUSY);
	assert_int_equal(translate(PASID, PAGE, UIOMMU_READ, &completion), -EOPNOTSUPP);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, g.ioas), 0);
	assert_int_equal(translate(PASID, PAGE, 0, &completion), -EINVAL);
	assert_int_equal(translate(PASID, PAGE, 8, &completion), -EINVAL);
	/* The largest block of the area around it. */
	assert_int_equal(translate(PASID, 5 * PAGE + 17, UIOMMU_READ | UIOMMU_WRITE, &completion), 0);
	assert_int_equal(completion.address, 0);
	assert_int_equal(UINT64_C(1) << completion.size_lg2, LOW_BYTES);
	assert_int_equal(completion.access, UIOMMU_READ | UIOMMU_WRITE);
	assert_int_equal(completion.flags, 0);
	/* No write without having asked for it, no execution where there is none. */
	assert_int_equal(translate(PASID, PAGE, UIOMMU_READ, &completion), 0);
	assert_int_equal(completion.access, UIOMMU_READ);
	assert_int_equal(translate(PASID, PAGE, UIOMMU_READ | UIOMMU_EXEC, &completion), 0);
	assert_int_equal(completion.access, UIOMMU_READ);
	/* HIGH_START is 144 pages: the block has to be aligned. */
	assert_int_equal(translate(PASID, HIGH_START, UIOMMU_READ, &completion), 0);
	assert_int_equal(completion.address, HIGH_START);
	assert_int_equal(completion.size_lg2, 16);
	/* Nothing there: an answer, not a fault. */
	assert_int_equal(translate(PASID, LOW_BYTES, UIOMMU_READ, &completion), 0);
	assert_int_equal(completion.access, 0);
	assert_int_equal(uiommu_ats_disable(g.device), 0);
	assert_int_equal(uiommu_ats_disable(g.device), 0);
	assert_int_equal(translate(PASID, PAGE, UIOMMU_READ, &completion), -EOPNOTSUPP);
}

static void requests_of_a_guest(void **state)
{
	uint64_t root = page_new(), page = page_new(), *leaf = leaf_of(root, VA, FIRST_TABLE);
	struct uiommu_ats_completion completion;
	struct uiommu_fault_event event;

	(void)state;
	*leaf = page | FIRST_PAGE;
	leaf[1] = page | FIRST_READ_ONLY;
	leaf[3] = page | FIRST_PAGE | UINT64_C(1) << 51; /* reserved */
	leaf[4] = LOW_BYTES | FIRST_PAGE; /* the hole */
	assert_int_equal(keeper_enable(0), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, nested_make(root, 0)), 0);
	/* A promise not to write sets no dirty bit, and does not get WRITE. */
	assert_int_equal(translate(PASID, VA + 5, UIOMMU_READ, &completion), 0);
	assert_int_equal(completion.access, UIOMMU_READ);
	assert_int_equal(completion.address, page);
	assert_int_equal(completion.size_lg2, 12);
	assert_int_equal(*leaf & (ACCESSED | DIRTY), ACCESSED);
	assert_int_equal(translate(PASID, VA, UIOMMU_READ | UIOMMU_WRITE, &completion), 0);
	assert_int_equal(completion.access, UIOMMU_READ | UIOMMU_WRITE);
	assert_int_equal(*leaf & (ACCESSED | DIRTY), ACCESSED | DIRTY);
	assert_int_equal(translate(PASID, VA + PAGE, UIOMMU_READ | UIOMMU_WRITE, &completion), 0);
	assert_int_equal(completion.access, UIOMMU_READ);
	assert_int_equal(leaf[1] & DIRTY, 0);
	assert_int_equal(translate(PASID, VA + 2 * PAGE, UIOMMU_READ | UIOMMU_WRITE, &completion), 0);
	assert_int_equal(completion.access, 0);
	assert_int_equal(translate(PASID, VA + 4 * PAGE, UIOMMU_READ, &completion), 0);
	assert_int_equal(completion.access, 0);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 0);
	/* What is malformed is told. */
	assert_int_equal(translate(PASID, VA + 3 * PAGE, UIOMMU_READ, &completion), -EFAULT);
	check_fault(VA + 3 * PAGE, UIOMMU_FAULT_RESERVED, 1, 0, false);
}

static void a_process_has_nothing_to_keep(void **state)
{
	struct uiommu_bind_process payload = {.flags = UIOMMU_BIND_SELF, .access = UIOMMU_READ};
	struct uiommu_bind bind = {.size = sizeof(bind),
				   .device_id = g.device_id,
				   .pasid = 9,
				   .type = UIOMMU_BIND_PROCESS,
				   .data_len = sizeof(payload),
				   .data = &payload};
	struct uiommu_ats_completion completion;
	uint64_t number = 4711, value = 0;

	(void)state;
	assert_int_equal(uiommu_bind(g.context, &bind), 0);
	assert_int_equal(keeper_enable(0), 0);
	assert_int_equal(translate(9, (uintptr_t)&number, UIOMMU_READ | UIOMMU_WRITE, &completion), 0);
	assert_int_equal(completion.flags, UIOMMU_ATS_UNTRANSLATED_ONLY);
	assert_int_equal(completion.access, UIOMMU_READ);
	/* All the same it can reach no more so than otherwise. */
	assert_int_equal(translated_read(9, (uintptr_t)&number, &value, NULL), 0);
	assert_int_equal(value, 4711);
	assert_int_equal(translated_write(9, (uintptr_t)&number, 1, NULL), -EFAULT);
	assert_int_equal(number, 4711);
	assert_int_equal(uiommu_unbind(g.context, g.device_id, 9), 0);
}

/* --- translated accesses --- */

static void translated_accesses(void **state)
{
	uint64_t root = page_new(), page = page_new(), *leaf = leaf_of(root, VA, FIRST_TABLE), value = 0;
	struct uiommu_dma_place place = {.address = page, .pasid = PASID, .flags = UIOMMU_DMA_TRANSLATED};
	struct uiommu_dma_place to = {.address = VA + 8, .pasid = PASID};
	struct uiommu_dma_atomic atomic = {
		.address = page, .pasid = PASID, .length = 8, .operand = 1, .flags = UIOMMU_DMA_TRANSLATED};
	struct uiommu_dma_result result;
	struct uiommu_fault_event event;

	(void)state;
	*leaf = page | FIRST_PAGE;
	*entry_at(page) = 0x1234;
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, nested_make(root, 0)), 0);
	/* Not without ATS. */
	assert_int_equal(translated_read(PASID, page, &value, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_BLOCKED);
	assert_int_equal(uiommu_fault_read(g.context, g.queue, &event, 1), 1);
	assert_int_equal(event.fault.reason, UIOMMU_FAULT_BLOCKED);
	assert_int_equal(keeper_enable(0), 0);
	assert_int_equal(translated_read(PASID, page, &value, NULL), 0);
	assert_int_equal(value, 0x1234);
	assert_int_equal(translated_write(PASID, page, 0x5678, NULL), 0);
	assert_int_equal(*entry_at(page), 0x5678);
	assert_int_equal(uiommu_dma_copy(g.device, &to, &place, 8, NULL), 0);
	assert_int_equal(entry_at(page)[1], 0x5678);
	assert_int_equal(uiommu_dma_atomic(g.device, &atomic, NULL), 0);
	assert_int_equal(*entry_at(page), 0x5679);
	/* Only what is mapped there, and only with what is permitted. */
	assert_int_equal(translated_read(PASID, LOW_BYTES, &value, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(translated_read(PASID + 1, page, &value, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_NOT_ATTACHED);
	assert_int_equal(uiommu_ioas_unmap(g.context, g.ioas, 0, LOW_BYTES, NULL), 0);
	assert_int_equal(translated_read(PASID, 2 * PAGE, &value, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_UNMAPPED);
	assert_int_equal(uiommu_ats_disable(g.device), 0);
	assert_int_equal(translated_read(PASID, HIGH_START, &value, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_BLOCKED);
}

static bool is_dirty(uint64_t gpa)
{
	uint64_t bitmap = 0;
	const struct uiommu_dirty_bitmap request = {
		.size = sizeof(request), .hwpt_id = g.parent, .iova = gpa, .length = PAGE, .page_size = PAGE, .bitmap = &bitmap};

	assert_int_equal(uiommu_hwpt_get_dirty_bitmap(g.context, &request), 0);
	return bitmap;
}

/* However long a device has kept a translation: what it writes after a look is told by the next one. */
static void translated_writes_are_tracked(void **state)
{
	uint64_t root = page_new(), page = page_new();
	struct uiommu_ats_completion completion;
	struct uiommu_dma_op op = {.address = VA, .buffer = &root, .length = 8, .pasid = PASID};
	struct uiommu_atc *atc;

	(void)state;
	*leaf_of(root, VA, FIRST_TABLE) = page | FIRST_PAGE;
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, nested_make(root, 0)), 0);
	assert_int_equal(keeper_enable(0), 0);
	assert_int_equal(translate(PASID, VA, UIOMMU_READ | UIOMMU_WRITE, &completion), 0);
	is_dirty(page);
	assert_false(is_dirty(page));
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(translated_write(PASID, completion.address, i, NULL), 0);
		assert_true(is_dirty(page));
		assert_false(is_dirty(page));
	}
	assert_int_equal(uiommu_ats_disable(g.device), 0);
	assert_int_equal(uiommu_atc_create(g.device, 64, 0, &atc), 0);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(uiommu_atc_write(atc, &op), 0);
		assert_true(is_dirty(page));
		assert_int_equal(uiommu_atc_read(atc, &op), 0);
		assert_false(is_dirty(page));
	}
	assert_int_equal(uiommu_atc_destroy(atc), 0);
}

static void note_response(void *opaque, unsigned int response)
{
	note_done(opaque, (int)response);
}

/* Of a guest's tables, its entry for the device has to permit it. */
static void a_guest_permits_ats(void **state)
{
	uint64_t root = page_new(), page = page_new(), table = page_new(), directory = page_new(), context = page_new();
	uint64_t device_root = page_new(), *entry = entry_at(table) + (PASID & 63) * 8, value;
	struct uiommu_hwpt_tables tables = {
		.size = sizeof(tables),
		.flags = UIOMMU_HWPT_FAULT,
		.parent_id = g.parent,
		.fault_queue_id = g.queue,
		.tables = UIOMMU_TABLES_VTD,
		.structure = UIOMMU_STRUCTURE_DEVICE,
		.base = device_root,
		.capabilities = 1 << 1 | 1 << 8 | 1 << 10 | 1 << 16 | 19 << 24 | UINT32_C(6) << 29 | UIOMMU_VTD_TABLES_ATS |
				UIOMMU_VTD_TABLES_PRI,
		.mode = 1,
		.output_lg2 = 46,
	};
	struct uiommu_invalidation all = {.last = UINT64_MAX, .flags = UIOMMU_INVALIDATE_ENTRIES};
	struct uiommu_dma_op missing = {
		.address = VA + PAGE, .buffer = &value, .length = 8, .pasid = PASID, .flags = UIOMMU_DMA_RECOVERABLE};
	struct done done = {0};
	struct uiommu_ats_completion completion;
	struct uiommu_dma_result result;
	uint32_t id;

	(void)state;
	*leaf_of(root, VA, FIRST_TABLE) = page | FIRST_PAGE;
	*entry_at(page) = 0x1234;
	entry_at(directory)[PASID >> 6] = table | 1;
	entry[1] = 5;
	entry[2] = root;
	entry[0] = 1 << 6 | 1;
	/* Bus 0, device 1, function 0. */
	entry_at(device_root)[0] = context | 1;
	entry_at(context)[8 * 4] = directory | UINT64_C(7) << 9 | 1 << 3 | 1;
	assert_int_equal(keeper_enable(0), 0);
	assert_int_equal(uiommu_hwpt_alloc_tables(g.context, &tables, &id), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, id), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, VA, &value, 8, &result), 0);
	assert_int_equal(translate(PASID, VA, UIOMMU_READ, &completion), -EOPNOTSUPP);
	assert_int_equal(translated_read(PASID, page, &value, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_BLOCKED);
	entry_at(context)[8 * 4] |= 1 << 2; /* DTE */
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &all, 1), 0);
	assert_int_equal(k.asked, 0);
	assert_int_equal(translate(PASID, VA, UIOMMU_READ, &completion), 0);
	assert_int_equal(completion.address, page);
	assert_int_equal(translated_read(PASID, page, &value, NULL), 0);
	assert_int_equal(value, 0x1234);
	/* The same of page requests: an access that could wait does not, and nobody asks. */
	assert_int_equal(uiommu_dma_readv(g.device, &missing, 1), -EFAULT);
	assert_int_equal(missing.result.fault.flags & UIOMMU_FAULT_RECOVERABLE, 0);
	assert_int_equal(uiommu_dma_page_request(g.device, &missing.result.fault, note_response, &done), -ENOENT);
	entry_at(context)[8 * 4] |= 1 << 4; /* PRE */
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &all, 1), 0);
	check_asked(1, PASID, 0, UINT64_MAX);
	assert_int_equal(uiommu_dma_readv(g.device, &missing, 1), -EFAULT);
	assert_int_equal(missing.result.fault.flags & UIOMMU_FAULT_RECOVERABLE, UIOMMU_FAULT_RECOVERABLE);
	assert_int_equal(uiommu_dma_page_request(g.device, &missing.result.fault, note_response, &done), 0);
	assert_int_equal(translate(PASID, VA, UIOMMU_READ, &completion), 0);
	/* With the entry goes what the device has kept of it, and what it has asked. */
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &all, 1), 0);
	check_asked(2, PASID, 0, UINT64_MAX);
	assert_int_equal(done.calls, 1);
	assert_int_equal(done.error, UIOMMU_RESPONSE_INVALID);
	assert_int_equal(translate(PASID, VA, UIOMMU_READ, &completion), 0);
	assert_int_equal(uiommu_detach(g.context, g.device_id, UIOMMU_NO_PASID), 0);
	check_asked(3, PASID, 0, UINT64_MAX);
}

/* --- what a device is asked --- */

static void keep(uint32_t pasid, uint64_t address)
{
	struct uiommu_ats_completion completion;

	assert_int_equal(translate(pasid, address, UIOMMU_READ, &completion), 0);
}

static void who_is_asked_what(void **state)
{
	uint64_t root = page_new(), page = page_new();
	uint32_t nested, other;
	struct uiommu_invalidation part = {.start = VA, .last = VA + PAGE - 1};

	(void)state;
	*leaf_of(root, VA, FIRST_TABLE) = page | FIRST_PAGE;
	nested = nested_make(root, 0);
	other = nested_make(root, 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, nested), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, 9, g.ioas), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, 10, g.ioas), 0);
	assert_int_equal(keeper_enable(0), 0);
	/* It has kept nothing. */
	assert_int_equal(uiommu_hwpt_invalidate(g.context, nested, &part, 1), 0);
	assert_int_equal(k.asked, 0);
	keep(PASID, VA);
	assert_int_equal(uiommu_hwpt_invalidate(g.context, nested, &part, 1), 0);
	check_asked(1, PASID, VA, VA + PAGE - 1);
	part.flags = UIOMMU_INVALIDATE_KEEP_ATC;
	assert_int_equal(uiommu_hwpt_invalidate(g.context, nested, &part, 1), 0);
	assert_int_equal(uiommu_hwpt_invalidate(g.context, other, &part, 1), 0);
	assert_int_equal(uiommu_hwpt_invalidate(g.context, g.parent, &part, 1), 0);
	assert_int_equal(k.asked, 1);
	part.flags = 0;
	assert_int_equal(uiommu_hwpt_invalidate(g.context, other, &part, 1), 0);
	assert_int_equal(k.asked, 1);
	assert_int_equal(uiommu_hwpt_invalidate(g.context, g.parent, &part, 1), 0);
	check_asked(2, PASID, 0, UINT64_MAX);
	/* An unmap: what is in front of a guest's tables is not known. */
	keep(9, 0);
	assert_int_equal(uiommu_ioas_unmap(g.context, g.ioas, HIGH_START, RAM_BYTES - LOW_BYTES, NULL), 0);
	assert_int_equal(k.asked, 4);
	assert_int_equal(k.what[2].pasid, PASID);
	assert_int_equal(k.what[2].last, UINT64_MAX);
	check_asked(4, 9, HIGH_START, HIGH_START + (RAM_BYTES - LOW_BYTES) - 1);
	assert_int_equal(uiommu_replace(g.context, g.device_id, PASID, other), 0);
	check_asked(5, PASID, 0, UINT64_MAX);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	assert_int_equal(uiommu_detach(g.context, g.device_id, 10), 0);
	assert_int_equal(k.asked, 5);
	assert_int_equal(uiommu_detach(g.context, g.device_id, 9), 0);
	check_asked(6, 9, 0, UINT64_MAX);
	assert_int_equal(k.answered, 6);
	assert_int_equal(uiommu_ats_invalidated(g.device, k.tags[5]), -EINVAL);
	assert_int_equal(uiommu_ats_disable(g.device), 0);
}

/* More than are asked at the same time. */
static void many_are_asked(void **state)
{
	enum { MANY = 30 };

	(void)state;
	assert_int_equal(keeper_enable(0), 0);
	for (uint32_t pasid = 100; pasid < 100 + MANY; pasid++) {
		assert_int_equal(uiommu_attach(g.context, g.device_id, pasid, g.ioas), 0);
		if (pasid % 3)
			keep(pasid, 0);
	}
	assert_int_equal(uiommu_ioas_unmap(g.context, g.ioas, 0, LOW_BYTES, NULL), 0);
	assert_int_equal(k.asked, MANY * 2 / 3);
	for (unsigned int i = 0, pasid = 100; i < k.asked; i++, pasid++) {
		pasid += !(pasid % 3);
		assert_int_equal(k.what[i].pasid, pasid);
	}
}

struct caller {
	pthread_t thread;
	int (*call)(void);
	int rc;
	bool returned;
};

static void *caller_main(void *opaque)
{
	struct caller *caller = opaque;

	caller->rc = caller->call();
	__atomic_store_n(&caller->returned, true, __ATOMIC_RELEASE);
	return NULL;
}

static int call_unmap(void)
{
	return uiommu_ioas_unmap(g.context, g.ioas, 0, LOW_BYTES, NULL);
}

static int call_detach(void)
{
	return uiommu_detach(g.context, g.device_id, PASID);
}

static int call_replace(void)
{
	return uiommu_replace(g.context, g.device_id, PASID, g.ioas);
}

/* Whatever waits for a device, waits until it has answered. */
static void a_late_answer(void **state)
{
	static int (*const calls[])(void) = {call_unmap, call_replace, call_detach};

	(void)state;
	assert_int_equal(keeper_enable(0), 0);
	k.late = true;
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, g.ioas), 0);
	for (unsigned int i = 0; i < 3; i++) {
		struct caller caller = {.call = calls[i]};

		keep(PASID, 0);
		assert_int_equal(pthread_create(&caller.thread, NULL, caller_main, &caller), 0);
		keeper_wait(i + 1);
		assert_false(__atomic_load_n(&caller.returned, __ATOMIC_ACQUIRE));
		assert_int_equal(uiommu_ats_invalidated(g.device, k.tags[i] + 1), -EINVAL);
		assert_false(__atomic_load_n(&caller.returned, __ATOMIC_ACQUIRE));
		assert_int_equal(uiommu_ats_invalidated(g.device, k.tags[i]), 0);
		assert_int_equal(uiommu_ats_invalidated(g.device, k.tags[i]), -EINVAL);
		pthread_join(caller.thread, NULL);
		assert_int_equal(caller.rc, 0);
	}
	assert_int_equal(k.asked, 3);
}

/* A device that ends ATS has nothing kept. */
static void the_end_of_ats_answers(void **state)
{
	struct caller caller = {.call = call_unmap};

	(void)state;
	assert_int_equal(keeper_enable(0), 0);
	k.late = true;
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, g.ioas), 0);
	keep(PASID, 0);
	assert_int_equal(pthread_create(&caller.thread, NULL, caller_main, &caller), 0);
	keeper_wait(1);
	assert_int_equal(uiommu_ats_disable(g.device), 0);
	pthread_join(caller.thread, NULL);
	assert_int_equal(caller.rc, 0);
	assert_int_equal(uiommu_ats_invalidated(g.device, k.tags[0]), -EINVAL);
}

/* What a guest's own commands ask for. */
static void commands(void **state)
{
	struct uiommu_ats_invalidation what = {.start = VA, .last = VA + 7, .pasid = PASID};
	static struct done done;

	(void)state;
	assert_int_equal(uiommu_ats_invalidate(g.context, g.device_id, &what, note_done, &done), -EOPNOTSUPP);
	assert_int_equal(keeper_enable(0), 0);
	assert_int_equal(uiommu_ats_invalidate(g.context, 999, &what, note_done, &done), -ENOENT);
	what.flags = 2;
	assert_int_equal(uiommu_ats_invalidate(g.context, g.device_id, &what, note_done, &done), -EINVAL);
	what.flags = UIOMMU_ATS_GLOBAL;
	what.last = VA - 1;
	assert_int_equal(uiommu_ats_invalidate(g.context, g.device_id, &what, note_done, &done), -EINVAL);
	what.last = VA;
	what.pasid = UIOMMU_PASID_LAST + 1;
	assert_int_equal(uiommu_ats_invalidate(g.context, g.device_id, &what, note_done, &done), -EINVAL);
	assert_int_equal(done.calls, 0);
	what.pasid = UIOMMU_NO_PASID;
	assert_int_equal(uiommu_ats_invalidate(g.context, g.device_id, &what, note_done, &done), 0);
	assert_int_equal(done.calls, 1);
	assert_int_equal(done.error, 0);
	assert_int_equal(k.what[0].flags, UIOMMU_ATS_GLOBAL);
	assert_int_equal(uiommu_ats_invalidate(g.context, g.device_id, &what, NULL, NULL), 0);
	k.late = true;
	assert_int_equal(uiommu_ats_invalidate(g.context, g.device_id, &what, note_done, &done), 0);
	assert_int_equal(uiommu_ats_invalidate(g.context, g.device_id, &what, note_done, &done), 0);
	assert_int_equal(done.calls, 1);
	assert_int_equal(uiommu_destroy(g.context, g.device_id), -EBUSY);
	assert_int_equal(uiommu_ats_invalidated(g.device, k.tags[3]), 0);
	assert_int_equal(done.calls, 2);
	/* The other one is left to the end of the context. */
}

/* --- a device that does not answer --- */

static void a_device_is_cut_off(void **state)
{
	struct uiommu_ats_invalidation all = {.last = UINT64_MAX, .pasid = PASID};
	struct caller caller = {.call = call_unmap};
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};
	struct done done = {0};
	uint64_t value;

	(void)state;
	assert_int_equal(keeper_enable(20), 0);
	k.late = true;
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, g.ioas), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, UIOMMU_NO_PASID, g.ioas), 0);
	/* In time. */
	assert_int_equal(uiommu_ats_invalidate(g.context, g.device_id, &all, note_done, &done), 0);
	assert_int_equal(fake.armed, 1000 + 20000000);
	fake.now = fake.armed - 1;
	uiommu_expire(g.context);
	assert_int_equal(done.calls, 0);
	assert_int_equal(uiommu_ats_invalidated(g.device, k.tags[0]), 0);
	assert_int_equal(done.error, 0);
	clock_pass(1000);
	assert_int_equal(uiommu_dma_read(g.device, PASID, PAGE, &value, 8, NULL), 0);
	/* Not in time: nobody waits any more, and it does nothing any more. */
	keep(PASID, 0);
	assert_int_equal(uiommu_ats_invalidate(g.context, g.device_id, &all, note_done, &done), 0);
	assert_int_equal(pthread_create(&caller.thread, NULL, caller_main, &caller), 0);
	keeper_wait(3);
	assert_false(__atomic_load_n(&caller.returned, __ATOMIC_ACQUIRE));
	clock_pass(20000000);
	pthread_join(caller.thread, NULL);
	assert_int_equal(caller.rc, 0);
	assert_int_equal(done.calls, 2);
	assert_int_equal(done.error, -ETIMEDOUT);
	assert_int_equal(uiommu_ats_invalidated(g.device, k.tags[1]), -EINVAL);
	assert_int_equal(uiommu_ats_invalidated(g.device, k.tags[2]), -EINVAL);
	assert_int_equal(uiommu_dma_read(g.device, PASID, HIGH_START, &value, 8, NULL), -EFAULT);
	assert_int_equal(uiommu_dma_read(g.device, UIOMMU_NO_PASID, HIGH_START, &value, 8, NULL), -EFAULT);
	assert_int_equal(translated_read(PASID, HIGH_START, &value, NULL), -EFAULT);
	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, PASID, &stats), 0);
	assert_int_equal(stats.faults, 0);
	assert_int_equal(stats.discarded, 2);
	assert_int_equal(uiommu_attach(g.context, g.device_id, 9, g.ioas), -ENODEV);
	assert_int_equal(uiommu_replace(g.context, g.device_id, PASID, g.ioas), -ENODEV);
	assert_int_equal(uiommu_ats_invalidate(g.context, g.device_id, &all, note_done, &done), 0);
	assert_int_equal(done.error, -ETIMEDOUT);
	assert_int_equal(done.calls, 3);
	assert_int_equal(uiommu_detach(g.context, g.device_id, PASID), 0);
	/* A reset. */
	assert_int_equal(uiommu_ats_disable(g.device), 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, g.ioas), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, HIGH_START, &value, 8, NULL), 0);
	assert_int_equal(uiommu_detach(g.context, g.device_id, UIOMMU_NO_PASID), 0);
}

static int unmap_high(void)
{
	return uiommu_ioas_unmap(g.context, g.ioas, HIGH_START, RAM_BYTES - LOW_BYTES, NULL);
}

/* The same by the system's clock, as short as there is. */
static void the_systems_clock(void **state)
{
	struct uiommu_options half = {.size = sizeof(half), .clock = &(struct uiommu_clock){.now = fake_now}};
	struct uiommu_context *context;
	uint64_t value;

	(void)state;
	assert_int_equal(uiommu_open(&half, &context), -EINVAL);
	assert_int_equal(keeper_enable(1), 0);
	k.late = true;
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, g.ioas), 0);
	keep(PASID, 0);
	assert_int_equal(unmap_high(), 0);
	assert_int_equal(uiommu_dma_read(g.device, PASID, PAGE, &value, 8, NULL), -EFAULT);
}

/* --- the ready-made ATC --- */

static uint64_t walks(void)
{
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};

	assert_int_equal(uiommu_attach_stats(g.context, g.device_id, PASID, &stats), 0);
	return stats.walks;
}

static void a_ready_made_atc(void **state)
{
	uint64_t root = page_new(), page = page_new(), other = page_new(), *leaf = leaf_of(root, VA, FIRST_TABLE), value = 0;
	struct uiommu_dma_op op = {.address = VA + 8, .buffer = &value, .length = 8, .pasid = PASID};
	struct uiommu_invalidation part = {.start = VA, .last = VA + PAGE - 1, .flags = UIOMMU_INVALIDATE_KEEP_ATC};
	struct uiommu_ats_invalidation what = {.start = VA, .last = VA, .pasid = PASID};
	struct uiommu_atc *atc;
	struct done done = {0};
	uint64_t before;
	uint32_t id;

	(void)state;
	assert_int_equal(uiommu_atc_create(g.device, (1 << 20) + 1, 0, &atc), -EINVAL);
	assert_int_equal(uiommu_atc_create(g.device, 64, 0, &atc), 0);
	assert_int_equal(keeper_enable(0), -EBUSY);
	*leaf = page | FIRST_READ_ONLY;
	entry_at(page)[1] = 0x1234;
	entry_at(other)[1] = 0x5678;
	id = nested_make(root, 0);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, id), 0);
	assert_int_equal(uiommu_atc_read(atc, &op), 0);
	assert_int_equal(op.result.done, 8);
	assert_int_equal(value, 0x1234);
	before = walks();
	assert_true(before > 0);
	assert_int_equal(uiommu_atc_read(atc, &op), 0);
	assert_int_equal(walks(), before);
	/* A write is asked for, and refused: by an untranslated access, which tells. */
	assert_int_equal(uiommu_atc_write(atc, &op), -EFAULT);
	check_fault(VA + 8, UIOMMU_FAULT_PERMISSION, 1, 0, false);
	/* The device keeps it until it is asked to forget. */
	*leaf = other | FIRST_PAGE;
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &part, 1), 0);
	assert_int_equal(uiommu_atc_read(atc, &op), 0);
	assert_int_equal(value, 0x1234);
	assert_int_equal(uiommu_ats_invalidate(g.context, g.device_id, &what, note_done, &done), 0);
	assert_int_equal(done.calls, 1);
	assert_int_equal(uiommu_atc_read(atc, &op), 0);
	assert_int_equal(value, 0x5678);
	value = 0x9abc;
	assert_int_equal(uiommu_atc_write(atc, &op), 0);
	assert_int_equal(entry_at(other)[1], 0x9abc);
	/* Everything of everybody. */
	*leaf = page | FIRST_PAGE;
	assert_int_equal(uiommu_hwpt_invalidate(g.context, id, &part, 1), 0);
	what = (struct uiommu_ats_invalidation){.last = UINT64_MAX, .flags = UIOMMU_ATS_GLOBAL};
	assert_int_equal(uiommu_ats_invalidate(g.context, g.device_id, &what, NULL, NULL), 0);
	assert_int_equal(uiommu_atc_read(atc, &op), 0);
	assert_int_equal(value, 0x1234);
	op.flags = UIOMMU_DMA_TRANSLATED;
	assert_int_equal(uiommu_atc_read(atc, &op), -EINVAL);
	assert_int_equal(uiommu_atc_destroy(atc), 0);
	assert_int_equal(uiommu_atc_destroy(NULL), 0);
}

/* Without a cache, and where there is nothing to translate. */
static void an_atc_that_keeps_nothing(void **state)
{
	uint64_t value = 0;
	struct uiommu_dma_op op = {.address = PAGE, .buffer = &value, .length = 8, .pasid = PASID};
	struct uiommu_atc *atc;

	(void)state;
	assert_int_equal(uiommu_atc_create(g.device, 0, 0, &atc), 0);
	assert_int_equal(uiommu_atc_read(atc, &op), -EFAULT);
	assert_int_equal(op.result.fault.reason, UIOMMU_FAULT_NOT_ATTACHED);
	assert_int_equal(uiommu_attach(g.context, g.device_id, PASID, g.ioas), 0);
	*entry_at(PAGE) = 77;
	assert_int_equal(uiommu_atc_read(atc, &op), 0);
	assert_int_equal(value, 77);
	/* Into a hole, and over its edge. */
	op.address = LOW_BYTES - 4;
	assert_int_equal(uiommu_atc_read(atc, &op), -EFAULT);
	assert_int_equal(op.result.done, 4);
	assert_int_equal(op.result.fault.address, LOW_BYTES);
	assert_int_equal(uiommu_atc_destroy(atc), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(requests_of_an_ioas, setup, teardown),
		IN_ALL_WAYS(requests_of_a_guest),
		cmocka_unit_test_setup_teardown(a_process_has_nothing_to_keep, setup, teardown),
		IN_ALL_WAYS(translated_accesses),
		cmocka_unit_test_setup_teardown(translated_writes_are_tracked, setup_tracked, teardown),
		IN_ALL_WAYS(a_guest_permits_ats),
		cmocka_unit_test_setup_teardown(who_is_asked_what, setup, teardown),
		cmocka_unit_test_setup_teardown(many_are_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(a_late_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_of_ats_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(commands, setup, teardown),
		cmocka_unit_test_setup_teardown(a_device_is_cut_off, setup_clock, teardown),
		cmocka_unit_test_setup_teardown(the_systems_clock, setup, teardown),
		IN_ALL_WAYS(a_ready_made_atc),
		cmocka_unit_test_setup_teardown(an_atc_that_keeps_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

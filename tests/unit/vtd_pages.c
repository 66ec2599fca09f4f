/* SPDX-License-Identifier: BSD-3-Clause */
/* VT-d: page requests and their answers, and devices that are asked to forget translations. */
#include "vtd_rig.h"

#include <uiommu/pri.h>

#include "clock.h"
#include "keeper.h"

/* What a page request was answered. */
struct answer {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned int calls, response;
	int inside;
};

#define ANSWER                                                                                                                     \
	{                                                                                                                          \
		.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER                                                \
	}

static void answered(void *opaque, unsigned int response)
{
	struct answer *answer = opaque;

	pthread_mutex_lock(&answer->lock);
	answer->calls++;
	answer->response = response;
	answer->inside = uiommu_vtd_remove(r.vtd, g.device_id);
	pthread_cond_broadcast(&answer->cond);
	pthread_mutex_unlock(&answer->lock);
}

static void check_answer(const struct answer *answer, unsigned int calls, unsigned int response)
{
	assert_int_equal(answer->calls, calls);
	if (calls) {
		assert_int_equal(answer->response, response);
		assert_int_equal(answer->inside, -EDEADLK);
	}
}

static uint64_t first, page;

/* PASID 1: a first stage where VA is mapped, and nothing else; page requests are let through; a queue of one page. */
static uint64_t make_pages(void)
{
	uint64_t queue = page_new();

	first = page_new();
	page = page_new();
	scalable_tables();
	context_entry()[0] |= 1 << 4 | 1 << 2; /* PRE, DTE */
	pasid_first(1, first);
	*leaf_of(first, VA, FIRST_TABLE) = page | FIRST_PAGE;
	write64(R_PQA, queue);
	write32(R_PEDATA, 0x99);
	write32(R_PEADDR, 0xfee02000);
	write32(R_PECTL, 0);
	command(TE, true);
	queue_make(true);
	return queue;
}

/* One access that can wait for its page, and the request for it. */
static int ask(uint32_t pasid, uint64_t address, bool writes, struct answer *answer)
{
	uint64_t value = 0;
	struct uiommu_dma_op op = {
		.address = address, .buffer = &value, .length = 8, .pasid = pasid, .flags = UIOMMU_DMA_RECOVERABLE};

	assert_int_equal(writes ? uiommu_dma_writev(g.device, &op, 1) : uiommu_dma_readv(g.device, &op, 1), -EFAULT);
	return uiommu_dma_page_request(g.device, &op.result.fault, answered, answer);
}

#define D_RESPONSE(pasid, code) (9 | 1 << 4 | (uint64_t)(code) << 12 | (uint64_t)SOURCE_ID << 16 | (uint64_t)(pasid) << 32)

static void request_and_response(void **state)
{
	static const struct {
		unsigned int code, response;
	} codes[] = {{0, UIOMMU_RESPONSE_SUCCESS},
		     {1, UIOMMU_RESPONSE_INVALID},
		     {15, UIOMMU_RESPONSE_FAILURE},
		     {7, UIOMMU_RESPONSE_FAILURE}};
	uint64_t queue = make_pages(), *leaf = leaf_of(first, VA + PAGE, FIRST_TABLE);
	const uint64_t *entry;

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		struct answer answer = ANSWER;
		uint64_t group;

		assert_int_equal(ask(1, VA + PAGE + 8, i % 2, &answer), 0);
		entry = entry_at(queue + i * 32);
		group = entry[1] >> 3 & 0x1ff;
		assert_int_equal(uiommu_vtd_page_requests(r.vtd, g.device_id), 1);
		assert_int_equal(entry[0], 1 | 1 << 8 | (uint64_t)SOURCE_ID << 16 | UINT64_C(1) << 32);
		assert_int_equal(entry[1], (VA + PAGE) | group << 3 | 4 | (i % 2 ? 2 : 1));
		assert_int_equal(entry[2] | entry[3], 0);
		assert_int_equal(read64(R_PQT), (i + 1) * 32);
		assert_int_equal(read32(R_PRS), 1);
		assert_int_equal(r.sent, i + 1);
		assert_int_equal(r.messages[i].address, 0xfee02000);
		assert_int_equal(r.messages[i].data, 0x99);
		write64(R_PQH, (i + 1) * 32);
		write32(R_PRS, 1);
		/* Answers to what has not been asked: another PASID, none, another group, another device. */
		invalidate(D_RESPONSE(2, 0), group << 3);
		invalidate(D_RESPONSE(1, 0) & ~UINT64_C(16), group << 3);
		invalidate(D_RESPONSE(1, 0), (group ^ 1) << 3);
		invalidate(D_RESPONSE(1, 0) ^ 1 << 16, group << 3);
		check_answer(&answer, 0, 0);
		*leaf = page | FIRST_PAGE;
		invalidate(D_RESPONSE(1, codes[i].code), group << 3 | 4);
		check_answer(&answer, 1, codes[i].response);
		assert_int_equal(uiommu_vtd_page_requests(r.vtd, g.device_id), 0);
		assert_int_equal(dma_value(1, VA + PAGE), 0);
		*leaf = 0;
		invalidate(D_PASID_IOTLB(2, DOMAIN, 1), 0);
		/* Once. */
		invalidate(D_RESPONSE(1, 0), group << 3);
		check_answer(&answer, 1, codes[i].response);
	}
	assert_int_equal(uiommu_vtd_page_requests(r.vtd, g.device_id + 1), 0);
	assert_int_equal(read32(R_FSTS), 0);
}

/* One interrupt until software has serviced it; held while it is masked. */
static void events(void **state)
{
	struct answer answers[3] = {ANSWER, ANSWER, ANSWER};

	(void)state;
	make_pages();
	write32(R_PECTL, UINT32_C(1) << 31);
	assert_int_equal(ask(1, VA + PAGE, false, &answers[0]), 0);
	assert_int_equal(r.sent, 0);
	assert_int_equal(read32(R_PECTL), UINT32_C(3) << 30);
	write32(R_PECTL, 0);
	assert_int_equal(r.sent, 1);
	assert_int_equal(ask(1, VA + PAGE, false, &answers[1]), 0);
	assert_int_equal(r.sent, 1);
	write32(R_PRS, 1);
	assert_int_equal(ask(1, VA + PAGE, false, &answers[2]), 0);
	assert_int_equal(r.sent, 2);
	/* A reset answers them all. */
	assert_int_equal(uiommu_vtd_reset(r.vtd), 0);
	for (unsigned int i = 0; i < 3; i++)
		check_answer(&answers[i], 1, UIOMMU_RESPONSE_INVALID);
	assert_int_equal(read64(R_PQT), 0);
}

/* 128 entries, one of which stays empty. What comes then may ask again, once software has looked. */
static void overflow(void **state)
{
	uint64_t queue = make_pages();
	struct answer answers[130];

	(void)state;
	for (unsigned int i = 0; i < 130; i++) {
		answers[i] = (struct answer)ANSWER;
		assert_int_equal(ask(1, VA + (i + 1) * PAGE, false, &answers[i]), 0);
		if (i == 126)
			write32(R_PRS, 1);
	}
	assert_int_equal(r.sent, 2);
	check_answer(&answers[127], 0, 0);
	assert_int_equal(read32(R_PRS), 2);
	assert_int_equal(read64(R_PQT), 127 * 32);
	for (unsigned int i = 0; i < 130; i++)
		check_answer(&answers[i], i < 127 ? 0 : 1, UIOMMU_RESPONSE_SUCCESS);
	/* Room alone is not enough. */
	write64(R_PQH, 127 * 32);
	assert_int_equal(ask(1, VA + PAGE, false, &answers[127]), 0);
	assert_int_equal(read32(R_PRS), 2);
	check_answer(&answers[127], 2, UIOMMU_RESPONSE_SUCCESS);
	write32(R_PRS, 2);
	assert_int_equal(ask(1, VA + 200 * PAGE, false, &answers[127]), 0);
	assert_int_equal(read64(R_PQT), 0);
	assert_int_equal(entry_at(queue)[127 * 4 + 1] & ~UINT64_C(0xfff), VA + 200 * PAGE);
	assert_int_equal(read32(R_PRS), 1);
	assert_int_equal(uiommu_vtd_reset(r.vtd), 0);
}

/* No more than there are groups. */
static void all_groups(void **state)
{
	struct answer *answers = calloc(513, sizeof(*answers));
	bool seen[512] = {false};
	uint64_t queue;

	(void)state;
	make_pages();
	g.next = (g.next + 1) & ~UINT64_C(1);
	queue = page_new();
	g.next += 30; /* the pages of a queue lie in a row: every other page number */
	write64(R_PQA, queue | 3);
	for (unsigned int i = 0; i < 512; i++) {
		uint64_t group;

		answers[i] = (struct answer)ANSWER;
		assert_int_equal(ask(1, VA + PAGE, false, &answers[i]), 0);
		group = entry_at(queue)[i * 4 + 1] >> 3 & 0x1ff;
		assert_false(seen[group]);
		seen[group] = true;
	}
	assert_int_equal(ask(1, VA + PAGE, false, &answers[512]), -ENOBUFS);
	/* That is an event, after all. */
	check_record(0, VA + PAGE, 1, true, 0x71);
	invalidate(D_RESPONSE(1, 0), 77 << 3);
	answers[512] = (struct answer)ANSWER;
	assert_int_equal(ask(1, VA + PAGE, false, &answers[512]), 0);
	assert_int_equal(uiommu_vtd_remove(r.vtd, g.device_id), 0);
	for (unsigned int i = 0; i <= 512; i++)
		assert_int_equal(answers[i].calls, 1);
	check_answer(&answers[512], 1, UIOMMU_RESPONSE_INVALID);
	free(answers);
}

/* A device that may not ask is answered INVALID, and it is a fault. */
static void refused(void **state)
{
	struct answer answer = ANSWER;

	(void)state;
	make_pages();
	context_entry()[0] ^= 1 << 4;
	assert_int_equal(ask(1, VA + PAGE, true, &answer), 0);
	check_answer(&answer, 0, 0);
	assert_int_equal(read64(0x208) >> 28 & 1, 1); /* T2: a page request */
	check_answer(&answer, 1, UIOMMU_RESPONSE_INVALID);
	check_record(0, VA + PAGE, 1, false, 0x47);
	assert_int_equal(read64(R_PQT), 0);
	/* No entry, no request: it is a fault of its own. */
	pasid_entry_of(1)[0] = 0;
	invalidate(D_PASID_CACHE(3, 0, 0), 0);
	assert_int_equal(ask(1, VA + PAGE, true, &answer), -ENOENT);
	check_answer(&answer, 1, UIOMMU_RESPONSE_INVALID);
	/* The queue is not in memory. */
	context_entry()[0] ^= 1 << 4;
	write64(R_PQA, LOW_BYTES);
	pasid_first(1, first);
	invalidate(D_CONTEXT(1, 0, 0), 0);
	assert_int_equal(ask(1, VA + PAGE, true, &answer), 0);
	assert_int_equal(read64(R_PQT), 0);
	check_answer(&answer, 2, UIOMMU_RESPONSE_INVALID);
}

static void refused_in_legacy_mode(void **state)
{
	struct answer answer = ANSWER;

	(void)state;
	legacy_tables(page_new());
	command(TE, true);
	assert_int_equal(ask(UIOMMU_NO_PASID, VA, false, &answer), 0);
	assert_int_equal(read32(R_FSTS), 2);
	check_answer(&answer, 1, UIOMMU_RESPONSE_INVALID);
	check_record(0, VA, UIOMMU_NO_PASID, false, 0x32);
	command(TE, false);
}

/* A device's own messages: a group of pages is one in the guest's queue, too, and has one answer. */
struct response {
	unsigned int calls;
	struct uiommu_page_response last;
};

static void on_response(void *opaque, const struct uiommu_page_response *response)
{
	struct response *responses = opaque;

	responses->calls++;
	responses->last = *response;
}

static const struct uiommu_pri_ops pri_ops = {.response = on_response};

static void pri_enable(struct response *response)
{
	const struct uiommu_pri_config config = {
		.size = sizeof(config), .allocation = 256, .flags = UIOMMU_PRI_RESPONSE_PASID, .ops = &pri_ops, .opaque = response};

	assert_int_equal(uiommu_pri_enable(g.device, &config), 0);
}

/* @count pages from VA + PAGE, read, written, and so on. */
static void send_group(unsigned int index, unsigned int count)
{
	struct uiommu_page_request request = {.address = VA, .pasid = 1, .group = (uint16_t)index};

	for (unsigned int i = 0; i < count; i++) {
		request.address += PAGE;
		request.access = (uint8_t)(i % 3 + 1);
		request.flags = i == 1 ? UIOMMU_PAGE_PRIVILEGED : 0;
		request.flags |= i == count - 1 ? UIOMMU_PAGE_LAST : 0;
		assert_int_equal(uiommu_pri_request(g.device, &request), 0);
	}
}

static void check_response(const struct response *response, unsigned int calls, unsigned int index, unsigned int code)
{
	assert_int_equal(response->calls, calls);
	assert_int_equal(response->last.group, index);
	assert_int_equal(response->last.pasid, 1);
	assert_int_equal(response->last.response, code);
}

static void a_devices_group(void **state)
{
	struct response response = {.calls = 0};
	uint64_t queue = make_pages(), index;

	(void)state;
	pri_enable(&response);
	send_group(5, 3);
	assert_int_equal(read64(R_PQT), 96);
	index = entry_at(queue)[1] & 0xff8;
	for (unsigned int i = 0; i < 3; i++) {
		const uint64_t *entry = entry_at(queue + i * 32);

		assert_int_equal(entry[0],
				 1 | 1 << 8 | (uint64_t)SOURCE_ID << 16 | UINT64_C(1) << 32 | (i == 1 ? UINT64_C(1) << 53 : 0));
		assert_int_equal(entry[1], (VA + (i + 1) * PAGE) | index | (i == 2 ? 4 : 0) | (i + 1));
	}
	assert_int_equal(response.calls, 0);
	invalidate(D_RESPONSE(1, 1), index);
	check_response(&response, 1, 5, UIOMMU_RESPONSE_INVALID);
	/* Once. */
	invalidate(D_RESPONSE(1, 0), index);
	assert_int_equal(response.calls, 1);
	/* One that waits when the device is reset: nobody is told. */
	send_group(6, 2);
	assert_int_equal(uiommu_pri_disable(g.device), 0);
	invalidate(D_RESPONSE(1, 0), entry_at(queue + 96)[1] & 0xff8);
	assert_int_equal(response.calls, 1);
}

/* No room for all of a group: the rest is dropped, its last request, too, and the device asks once more. */
static void a_group_that_does_not_fit(void **state)
{
	struct response response = {.calls = 0};
	uint64_t queue = make_pages();

	(void)state;
	pri_enable(&response);
	write64(R_PQH, 4 * 32);
	send_group(9, 5);
	assert_int_equal(read32(R_PRS), 3);
	assert_int_equal(read64(R_PQT), 3 * 32);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(entry_at(queue + i * 32)[1] & 4, 0);
	check_response(&response, 1, 9, UIOMMU_RESPONSE_SUCCESS);
	write32(R_PRS, 3);
	write64(R_PQH, 3 * 32);
	send_group(9, 5);
	assert_int_equal(read64(R_PQT), 8 * 32);
	assert_int_equal(response.calls, 1);
	/* The queue is not in memory: none of it is known to have arrived. */
	write64(R_PQA, LOW_BYTES);
	send_group(10, 2);
	(void)read32(R_PRS);
	check_response(&response, 2, 10, UIOMMU_RESPONSE_INVALID);
	assert_int_equal(uiommu_vtd_reset(r.vtd), 0);
	check_response(&response, 3, 9, UIOMMU_RESPONSE_INVALID);
	assert_int_equal(uiommu_pri_disable(g.device), 0);
}

/* The entry is invalidated while a request waits, and before one is made: the request is the device's. */
static void entries_come_and_go(void **state)
{
	struct answer answer = ANSWER;
	uint64_t value = 0, group;
	struct uiommu_dma_op op = {
		.address = VA + PAGE, .buffer = &value, .length = 8, .pasid = 1, .flags = UIOMMU_DMA_RECOVERABLE};
	uint64_t queue = make_pages();

	(void)state;
	assert_int_equal(uiommu_dma_readv(g.device, &op, 1), -EFAULT);
	invalidate(D_PASID_CACHE(3, 0, 0), 0);
	assert_int_equal(uiommu_dma_page_request(g.device, &op.result.fault, answered, &answer), 0);
	invalidate(D_PASID_CACHE(3, 0, 0), 0);
	check_answer(&answer, 0, 0);
	group = entry_at(queue)[1] >> 3 & 0x1ff;
	invalidate(D_RESPONSE(1, 0), group << 3);
	check_answer(&answer, 1, UIOMMU_RESPONSE_SUCCESS);
}

/*
 * A device's access waits for its page. The guest maps it, flushes the PASID's translations, waits for that, and only behind it in
 * the queue is the answer: the wait does not wait for the access that waits for the answer.
 */
struct blocked {
	pthread_t thread;
	struct answer answer;
	uint64_t value;
	int error;
};

static void *blocked_main(void *opaque)
{
	struct blocked *blocked = opaque;

	assert_int_equal(ask(1, VA + PAGE, false, &blocked->answer), 0);
	pthread_mutex_lock(&blocked->answer.lock);
	while (!blocked->answer.calls)
		pthread_cond_wait(&blocked->answer.cond, &blocked->answer.lock);
	pthread_mutex_unlock(&blocked->answer.lock);
	blocked->error = uiommu_dma_read(g.device, 1, VA + PAGE, &blocked->value, 8, NULL);
	return NULL;
}

static void a_flush_before_the_answer(void **state)
{
	uint64_t queue = make_pages(), group;
	struct blocked blocked = {.answer = ANSWER};

	(void)state;
	*entry_at(page) = 0xabcdef;
	assert_int_equal(pthread_create(&blocked.thread, NULL, blocked_main, &blocked), 0);
	while (!read64(R_PQT))
		sched_yield();
	group = entry_at(queue)[1] >> 3 & 0x1ff;
	*leaf_of(first, VA + PAGE, FIRST_TABLE) = page | FIRST_PAGE;
	queue_put(D_PASID_IOTLB(2, DOMAIN, 1), 0);
	queue_put((uint64_t)++r.waits << 32 | 1 << 5 | 5 | 1 << 6 | 1 << 7, r.status);
	queue_put(D_RESPONSE(1, 0), group << 3);
	assert_true(queue_wait());
	pthread_join(blocked.thread, NULL);
	check_answer(&blocked.answer, 1, UIOMMU_RESPONSE_SUCCESS);
	assert_int_equal(blocked.error, 0);
	assert_int_equal(blocked.value, 0xabcdef);
}

/* --- devices that keep translations --- */

static void device_tlb(void **state)
{
	static const struct {
		uint64_t word0, word1;
		struct uiommu_ats_invalidation what;
	} cases[] = {
		{3 | (uint64_t)SOURCE_ID << 32, VA, {VA, VA + PAGE - 1, UIOMMU_NO_PASID, 0}},
		{3 | (uint64_t)SOURCE_ID << 32 | 7 << 16, VA | 1, {VA & ~UINT64_C(0x1fff), VA | 0x1fff, UIOMMU_NO_PASID, 0}},
		{3 | (uint64_t)SOURCE_ID << 32, 0x5fff001, {0x4000000, 0x5ffffff + 0x2000000, UIOMMU_NO_PASID, 0}},
		{3 | (uint64_t)SOURCE_ID << 32, UINT64_C(0x7ffffffffffff001), {0, UINT64_MAX, UIOMMU_NO_PASID, 0}},
		{3 | (uint64_t)SOURCE_ID << 32, UINT64_C(0xfffffffffffff001), {0, UINT64_MAX, UIOMMU_NO_PASID, 0}},
		{8 | (uint64_t)SOURCE_ID << 16 | UINT64_C(9) << 32, VA, {VA, VA + PAGE - 1, 9, 0}},
		{8 | (uint64_t)SOURCE_ID << 16 | 31 << 4, UINT64_C(0x7ffffffffffff801), {0, UINT64_MAX, 0, UIOMMU_ATS_GLOBAL}},
		{8 | (uint64_t)SOURCE_ID << 16 | UINT64_C(9) << 32, 0x3000 | 1 << 11, {0, 0x7fff, 9, 0}},
	};
	uint64_t value;
	struct uiommu_ats_completion completion;

	(void)state;
	make_pages();
	/* To nobody, and to a device that keeps nothing. */
	invalidate(3 | UINT64_C(0x7777) << 32, VA);
	invalidate(cases[0].word0, cases[0].word1);
	assert_int_equal(keeper_enable(0), 0);
	assert_int_equal(translate(1, VA, UIOMMU_READ, &completion), 0);
	assert_int_equal(completion.address, page);
	assert_int_equal(translated_read(1, page, &value, NULL), 0);
	/* What the unit forgets by itself, software tells the device. */
	invalidate(D_PASID_IOTLB(2, DOMAIN, 1), 0);
	invalidate(D_PASID_CACHE(3, 0, 0), 0);
	invalidate(D_CONTEXT(1, 0, 0), 0);
	assert_int_equal(k.asked, 0);
	for (unsigned int i = 0; i < 8; i++) {
		invalidate(cases[i].word0, cases[i].word1);
		assert_int_equal(k.asked, i + 1);
		assert_int_equal(k.what[i].start, cases[i].what.start);
		assert_int_equal(k.what[i].last, cases[i].what.last);
		assert_int_equal(k.what[i].flags, cases[i].what.flags);
		if (!cases[i].what.flags)
			assert_int_equal(k.what[i].pasid, cases[i].what.pasid);
	}
	/* Reserved bits, PFSID among them. */
	queue_put(cases[0].word0 | 1 << 12, VA);
	queue_tail();
	assert_int_equal(read64(R_IQERCD) & 15, 4);
	assert_int_equal(k.asked, 8);
}

/* The queue goes on when the device has answered, in a turn that is asked for. */
static unsigned int asked_for_turns;

static void on_work(void *opaque)
{
	(void)opaque;
	__atomic_add_fetch(&asked_for_turns, 1, __ATOMIC_SEQ_CST);
}

static void run_all(void)
{
	while (uiommu_vtd_run(r.vtd))
		;
}

static void a_device_that_is_slow(void **state)
{
	struct uiommu_vtd_config config = {.work = on_work};
	uint32_t *status;

	vtd_make(&config);
	r.queue = page_new();
	r.status = page_new();
	status = (uint32_t *)(void *)at(r.status);
	write64(R_IQA, r.queue | 1 << 11);
	write32(R_GCMD, QIE);
	run_all();
	assert_int_equal(keeper_enable(0), 0);
	k.late = true;
	queue_put(3 | (uint64_t)SOURCE_ID << 32, VA);
	queue_put(3 | (uint64_t)SOURCE_ID << 32, VA + PAGE);
	queue_put(D_IOTLB(1, 0), 0);
	assert_false(queue_wait());
	queue_put(5, 0);
	queue_tail();
	run_all();
	assert_int_equal(k.asked, 2);
	assert_int_equal(*status, 0);
	assert_int_equal(read64(R_IQH), 3 * 32);
	assert_int_equal(uiommu_ats_invalidated(g.device, k.tags[1]), 0);
	run_all();
	assert_int_equal(*status, 0);
	asked_for_turns = 0;
	assert_int_equal(uiommu_ats_invalidated(g.device, k.tags[0]), 0);
	assert_int_equal(asked_for_turns, 1);
	assert_int_equal(*status, 0);
	run_all();
	assert_int_equal(*status, 1);
	assert_int_equal(read64(R_IQH), r.tail);
	/* The end waits for nobody who has been cut off. */
	queue_put(3 | (uint64_t)SOURCE_ID << 32, VA);
	queue_tail();
	run_all();
	assert_int_equal(k.asked, 3);
	assert_int_equal(uiommu_ats_disable(g.device), 0);
	vtd_teardown(state);
}

/* A device that does not answer in time: ITE, the wait is not completed, and software goes on when it has cleared it. */
static void a_device_that_times_out(void **state)
{
	struct uiommu_vtd_config config = {.work = on_work};
	uint32_t *status;

	clock_enter();
	vtd_make(&config);
	clock_leave();
	r.queue = page_new();
	r.status = page_new();
	status = (uint32_t *)(void *)at(r.status);
	write64(R_IQA, r.queue | 1 << 11);
	write32(R_GCMD, QIE);
	write32(R_FECTL, 0);
	run_all();
	assert_int_equal(keeper_enable(10), 0);
	k.late = true;
	queue_put(3 | (uint64_t)SOURCE_ID << 32, VA);
	assert_false(queue_wait());
	run_all();
	clock_pass(10000001);
	assert_int_equal(read32(R_FSTS), 0x40);
	assert_int_equal(read64(R_IQERCD) >> 32, SOURCE_ID);
	assert_int_equal(r.sent, 1);
	run_all();
	assert_int_equal(*status, 0);
	assert_int_equal(read64(R_IQH), 32);
	write32(R_FSTS, 0x40);
	run_all();
	assert_int_equal(*status, 1);
	assert_int_equal(uiommu_ats_disable(g.device), 0);
	vtd_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		VTD_TEST(request_and_response),
		VTD_TEST(events),
		VTD_TEST(overflow),
		VTD_TEST(all_groups),
		VTD_TEST(refused),
		VTD_TEST(refused_in_legacy_mode),
		VTD_TEST(a_devices_group),
		VTD_TEST(a_group_that_does_not_fit),
		VTD_TEST(entries_come_and_go),
		VTD_TEST(a_flush_before_the_answer),
		VTD_TEST(device_tlb),
		cmocka_unit_test(a_device_that_is_slow),
		cmocka_unit_test(a_device_that_times_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

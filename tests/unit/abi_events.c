/* SPDX-License-Identifier: BSD-3-Clause */
/* What a guest is told of its device's faults: records of an SMMUv3, by accesses that a device makes. */
#include "abi_guest.h"

#include <poll.h>

#include "translate/tables/smmuv3.h"
#include "util/bits.h"

enum { CLASS_INPUT = 2, CD_R = 45, SUBSTREAMS_LG2 = 4, DSS_BYPASS = 1, DSS_SUBSTREAM_0 = 2, RECORD = 8 + 32, LOST = 1 };

/* The second word of a record. */
enum { READ = 1, EXECUTE = 2, WRITE = 4 };

static uint64_t kind(unsigned int access)
{
	return (uint64_t)CLASS_INPUT << 40 | (access == WRITE ? 0 : UINT64_C(1) << 35) |
	       (access == EXECUTE ? UINT64_C(1) << 34 : 0);
}

struct record {
	uint32_t flags;
	uint32_t sequence;
	uint64_t evt[4];
};

/* A guest with a vIOMMU, in which the device is VIRT_ID, and its queue. */
static struct {
	struct guest guest;
	uint32_t viommu, vdevice, hwpt, queue;
	int fd;
	uint32_t sequence; /* of the next event */
} g;

static void queue_make(uint32_t depth)
{
	struct abi_veventq_alloc queue = {
		.size = sizeof(queue), .type = ABI_VEVENTQ_ARM_SMMUV3, .veventq_depth = depth, .viommu_id = g.viommu};

	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VEVENTQ_ALLOC), &queue), 0);
	g.queue = queue.out_veventq_id;
	g.fd = (int)queue.out_veventq_fd;
	g.sequence = 0;
}

static int guest_setup(void **state)
{
	setup(state);
	g.guest = arm_guest();
	g.viommu = viommu_make();
	assert_int_equal(vdevice_make(g.viommu, VIRT_ID, &g.vdevice), 0);
	queue_make(8);
	return 0;
}

static int guest_teardown(void **state)
{
	assert_int_equal(uiommu_abi_close(g.fd), 0);
	return teardown(state);
}

static void attach(uint32_t pasid, uint32_t flags)
{
	assert_int_equal(alloc(&g.guest, g.viommu, flags, 0, &g.hwpt), 0);
	assert_int_equal(uiommu_attach(w.context, w.device_id, pasid, g.hwpt), 0);
}

static void detach(uint32_t pasid)
{
	assert_int_equal(uiommu_detach(w.context, w.device_id, pasid), 0);
	assert_int_equal(abi_destroy_object(w.fd, g.hwpt), 0);
}

static bool readable(void)
{
	struct pollfd wait = {.fd = g.fd, .events = POLLIN};

	return poll(&wait, 1, 0) == 1;
}

/* The access fails, and that is told so. */
static void fails(uint32_t pasid, uint64_t address, unsigned int access, const uint64_t *evt)
{
	uint64_t value = 0;
	struct record record;

	assert_false(readable());
	if (access == WRITE)
		assert_int_equal(uiommu_dma_write(w.device, pasid, address, &value, 8, NULL), -EFAULT);
	else
		assert_int_equal(uiommu_dma_read(w.device, pasid, address, &value, 8, NULL), -EFAULT);
	if (!evt) {
		assert_false(readable());
		assert_int_equal(uiommu_abi_read(g.fd, &record, sizeof(record), 0), 0);
		return;
	}
	assert_true(readable());
	assert_int_equal(uiommu_abi_read(g.fd, &record, sizeof(record), 0), RECORD);
	assert_int_equal(record.flags, 0);
	assert_int_equal(record.sequence, g.sequence++);
	for (unsigned int i = 0; i < 4; i++)
		assert_true(record.evt[i] == evt[i]);
	assert_false(readable());
}

/* What stands in the first word. */
static uint64_t header(unsigned int event, uint32_t pasid)
{
	uint64_t word = event | (uint64_t)VIRT_ID << 32;

	if (pasid != UIOMMU_NO_PASID)
		word |= (uint64_t)pasid << 12 | (event == SMMUV3_C_BAD_SUBSTREAMID ? 0 : 1 << 11);
	return word;
}

static void of_page(unsigned int event, uint32_t pasid, uint64_t address, unsigned int access)
{
	const uint64_t evt[4] = {header(event, pasid), kind(access), address};

	fails(pasid, address, access, evt);
}

static void of_entry(unsigned int event, uint32_t pasid)
{
	const uint64_t evt[4] = {header(event, pasid)};

	fails(pasid, VA, READ, evt);
}

static void forget_all(void)
{
	assert_int_equal(command(g.viommu, 0x10, 0), 0);
}

/* Each kind of fault that a page table can have. */
static void page_tables(uint32_t pasid)
{
	uint64_t page = page_new(), value = 0;

	of_page(SMMUV3_F_TRANSLATION, pasid, VA + 16, READ);
	of_page(SMMUV3_F_TRANSLATION, pasid, VA + 24, WRITE);
	of_page(SMMUV3_F_TRANSLATION, pasid, UINT64_C(1) << 39, READ); /* beyond T0SZ */
	*g.guest.leaf = page | g.guest.page_bits | 1 << 7; /* read only */
	of_page(SMMUV3_F_PERMISSION, pasid, VA + 8, WRITE);
	assert_int_equal(uiommu_dma_read(w.device, pasid, VA, &value, 8, NULL), 0);
	assert_false(readable());
	forget_all();
	*g.guest.leaf = page | (g.guest.page_bits & ~(UINT64_C(1) << 10)); /* no access flag */
	of_page(SMMUV3_F_ACCESS, pasid, VA, READ);
	*g.guest.leaf = 1; /* no descriptor of a page */
	of_page(SMMUV3_F_TRANSLATION, pasid, VA, READ);
	/* The guest's memory ends before. That is none of the guest's faults, but the host's. */
	*g.guest.leaf = (RAM_BYTES + PAGE) | g.guest.page_bits;
	fails(pasid, VA, READ, NULL);
	*g.guest.leaf = 0;
	forget_all();
}

static void of_page_tables(void **state)
{
	(void)state;
	attach(UIOMMU_NO_PASID, 0);
	page_tables(UIOMMU_NO_PASID);
	detach(UIOMMU_NO_PASID);
	/* One page table, on a PASID. */
	attach(PASID, ABI_HWPT_PASID);
	page_tables(PASID);
	detach(PASID);
}

/* A CD table: of 16 substreams PASID has one. */
static uint64_t *with_substreams(unsigned int dss)
{
	uint64_t *cds = at(g.guest.data[0] & ~UINT64_C(0xfff));

	memcpy(cds + PASID * 8, cds, 64);
	g.guest.data[0] |= (uint64_t)SUBSTREAMS_LG2 << 59;
	g.guest.data[1] = dss;
	return cds;
}

static void of_entries(void **state)
{
	uint64_t *cds = with_substreams(0);

	(void)state;
	attach(UIOMMU_NO_PASID, 0);
	page_tables(PASID);
	of_entry(SMMUV3_F_STREAM_DISABLED, UIOMMU_NO_PASID);
	of_entry(SMMUV3_C_BAD_SUBSTREAMID, 1 << SUBSTREAMS_LG2);
	of_entry(SMMUV3_C_BAD_CD, PASID - 1);
	cds[(PASID - 1) * 8] = cds[PASID * 8] & ~(UINT64_C(1) << 41); /* VMSAv8-32 */
	of_entry(SMMUV3_C_BAD_CD, PASID - 1);
	detach(UIOMMU_NO_PASID);
	g.guest.data[1] = DSS_SUBSTREAM_0;
	attach(UIOMMU_NO_PASID, 0);
	page_tables(UIOMMU_NO_PASID);
	detach(UIOMMU_NO_PASID);
	/* A device that has none. */
	g.guest.data[0] &= low_mask(59);
	attach(UIOMMU_NO_PASID, 0);
	of_entry(SMMUV3_C_BAD_SUBSTREAMID, PASID);
	detach(UIOMMU_NO_PASID);
}

/* CD.R says that faults are not recorded. */
static void not_recorded(void **state)
{
	uint64_t *cd = at(g.guest.data[0] & ~UINT64_C(0xfff));

	(void)state;
	cd[0] &= ~(UINT64_C(1) << CD_R);
	attach(UIOMMU_NO_PASID, 0);
	fails(UIOMMU_NO_PASID, VA, READ, NULL);
	detach(UIOMMU_NO_PASID);
	attach(PASID, ABI_HWPT_PASID);
	fails(PASID, VA, READ, NULL);
	detach(PASID);
}

static void nothing_to_read(void)
{
	uint64_t value;

	assert_int_equal(uiommu_dma_read(w.device, UIOMMU_NO_PASID, VA, &value, 8, NULL), -EFAULT);
}

/* --- accesses that can wait --- */

static unsigned int answers[4], answer_count;

static void answered(void *opaque, unsigned int response)
{
	(void)opaque;
	answers[answer_count++] = response;
}

/* A read that fails, of a device that would wait. */
static struct uiommu_fault waits_at(uint64_t address)
{
	uint64_t value;
	struct uiommu_dma_op op = {
		.address = address, .buffer = &value, .length = 8, .pasid = UIOMMU_NO_PASID, .flags = UIOMMU_DMA_RECOVERABLE};

	assert_int_equal(uiommu_dma_readv(w.device, &op, 1), -EFAULT);
	return op.result.fault;
}

static void answer(int fd, const struct uiommu_pgfault *fault, uint32_t code)
{
	const struct uiommu_pgresponse response = {.cookie = fault->cookie, .code = code};

	assert_int_equal(uiommu_abi_write(fd, &response, sizeof(response), 0), sizeof(response));
}

/* With CD.S faults stall: they are page requests in the HWPT's fault queue, and no events. */
static void stalls(void **state)
{
	struct abi_fault_alloc queue = {.size = sizeof(queue)};
	uint64_t *cd = at(g.guest.data[0] & ~UINT64_C(0xfff)), page = page_new(), value = 0;
	struct uiommu_pgfault request;
	struct uiommu_fault fault;
	int fd;

	(void)state;
	answer_count = 0;
	cd[0] |= UINT64_C(1) << 44;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_FAULT_QUEUE_ALLOC), &queue), 0);
	fd = (int)queue.out_fault_fd;
	assert_int_equal(alloc(&g.guest, g.viommu, ABI_HWPT_FAULT_ID_VALID, queue.out_fault_id, &g.hwpt), 0);
	assert_int_equal(uiommu_attach(w.context, w.device_id, UIOMMU_NO_PASID, g.hwpt), 0);
	for (uint32_t code = 0; code < 2; code++) {
		fault = waits_at(VA + 16);
		assert_true(fault.flags & UIOMMU_FAULT_RECOVERABLE);
		assert_int_equal(uiommu_dma_page_request(w.device, &fault, answered, NULL), 0);
		assert_int_equal(uiommu_abi_read(fd, &request, sizeof(request), 0), sizeof(request));
		assert_int_equal(request.flags, 2); /* the last one of its group, without PASID */
		assert_int_equal(request.dev_id, w.device_id);
		assert_int_equal(request.perm, UIOMMU_READ);
		assert_int_equal(request.addr, VA);
		assert_int_equal(answer_count, code);
		/* The second time there is nothing. */
		*g.guest.leaf = code ? 0 : page | g.guest.page_bits;
		at(page)[2] = 4711;
		answer(fd, &request, code);
		assert_int_equal(answer_count, code + 1);
		assert_int_equal(answers[code], code ? UIOMMU_RESPONSE_INVALID : UIOMMU_RESPONSE_SUCCESS);
		if (code)
			break;
		assert_int_equal(uiommu_dma_read(w.device, UIOMMU_NO_PASID, VA + 16, &value, 8, NULL), 0);
		assert_int_equal(value, 4711);
		*g.guest.leaf = 0;
		forget_all();
	}
	assert_false(readable());
	/* What cannot wait is an event. */
	of_page(SMMUV3_F_TRANSLATION, UIOMMU_NO_PASID, VA + 8, WRITE);
	detach(UIOMMU_NO_PASID);
	/* Nor can anything wait if nobody would answer. */
	attach(UIOMMU_NO_PASID, 0);
	fault = waits_at(VA);
	assert_false(fault.flags & UIOMMU_FAULT_RECOVERABLE);
	assert_true(readable());
	detach(UIOMMU_NO_PASID);
	assert_int_equal(uiommu_abi_close(fd), 0);
}

/* There is room for two; what is lost has a number all the same. */
static void overflow(void **state)
{
	struct record records[4];
	uint32_t lost[2];

	(void)state;
	assert_int_equal(uiommu_abi_close(g.fd), 0);
	assert_int_equal(abi_destroy_object(w.fd, g.queue), 0);
	queue_make(2);
	attach(UIOMMU_NO_PASID, 0);
	for (unsigned int i = 0; i < 4; i++)
		nothing_to_read();
	assert_int_equal(uiommu_abi_read(g.fd, records, 7, 0), -EINVAL);
	assert_int_equal(uiommu_abi_read(g.fd, records, RECORD - 1, 0), -EINVAL);
	/* Nothing is lost by a reader without a place for it. */
	assert_int_equal(uiommu_abi_read(g.fd, abi_hole(), RECORD, 0), -EFAULT);
	assert_int_equal(uiommu_abi_read(g.fd, records, RECORD + 7, 0), RECORD);
	assert_int_equal(records[0].sequence, 0);
	assert_int_equal(uiommu_abi_read(g.fd, records, sizeof(records), 0), RECORD + 8);
	assert_int_equal(records[0].sequence, 1);
	memcpy(lost, &records[1], sizeof(lost));
	assert_int_equal(lost[0], LOST);
	assert_int_equal(lost[1], 3);
	assert_false(readable());
	/* When another one comes its number says it. */
	for (unsigned int i = 0; i < 3; i++)
		nothing_to_read();
	assert_int_equal(uiommu_abi_read(g.fd, records, RECORD, 0), RECORD);
	assert_int_equal(records[0].sequence, 4);
	nothing_to_read();
	assert_int_equal(uiommu_abi_read(g.fd, records, sizeof(records), 0), 2 * RECORD);
	assert_int_equal(records[0].sequence, 5);
	assert_int_equal(records[1].sequence, 7);
	detach(UIOMMU_NO_PASID);
}

/* The guest has to have a number for what translates, and it is the one that the device had then. */
static void numbers(void **state)
{
	uint64_t value = 0;

	(void)state;
	attach(UIOMMU_NO_PASID, 0);
	assert_int_equal(abi_destroy_object(w.fd, g.vdevice), 0);
	of_page(SMMUV3_F_TRANSLATION, UIOMMU_NO_PASID, VA, READ);
	assert_int_equal(uiommu_detach(w.context, w.device_id, UIOMMU_NO_PASID), 0);
	assert_int_equal(uiommu_attach(w.context, w.device_id, UIOMMU_NO_PASID, g.hwpt), -ENOENT);
	assert_int_equal(uiommu_attach(w.context, w.device_id, UIOMMU_NO_PASID, w.parent), 0);
	assert_int_equal(uiommu_replace(w.context, w.device_id, UIOMMU_NO_PASID, g.hwpt), -ENOENT);
	at(16)[0] = 99;
	assert_int_equal(uiommu_dma_read(w.device, UIOMMU_NO_PASID, 16, &value, 8, NULL), 0);
	assert_int_equal(value, 99);
	detach(UIOMMU_NO_PASID);
	/* What does not translate needs none: an STE that is not valid, one that aborts, and one that lets pass. */
	for (unsigned int i = 0; i < 3; i++) {
		g.guest.data[0] = i == 2 ? 4 << 1 | 1 : i;
		attach(UIOMMU_NO_PASID, 0);
		assert_int_equal(uiommu_dma_read(w.device, UIOMMU_NO_PASID, 16, &value, 8, NULL), i == 2 ? 0 : -EFAULT);
		assert_false(readable());
		detach(UIOMMU_NO_PASID);
	}
}

/* Of a type that never comes; and without a queue. */
static void elsewhere(void **state)
{
	struct abi_veventq_alloc queue = {.size = sizeof(queue), .type = 77, .veventq_depth = 1, .viommu_id = g.viommu};

	(void)state;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VEVENTQ_ALLOC), &queue), 0);
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VEVENTQ_ALLOC), &queue), -EEXIST);
	assert_int_equal(uiommu_abi_close((int)queue.out_veventq_fd), 0);
	assert_int_equal(uiommu_abi_close(g.fd), 0);
	assert_int_equal(abi_destroy_object(w.fd, g.queue), 0);
	attach(UIOMMU_NO_PASID, 0);
	nothing_to_read();
	queue_make(8);
	assert_false(readable());
	of_page(SMMUV3_F_TRANSLATION, UIOMMU_NO_PASID, VA, READ);
	detach(UIOMMU_NO_PASID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(of_page_tables, guest_setup, guest_teardown),
		cmocka_unit_test_setup_teardown(of_entries, guest_setup, guest_teardown),
		cmocka_unit_test_setup_teardown(not_recorded, guest_setup, guest_teardown),
		cmocka_unit_test_setup_teardown(stalls, guest_setup, guest_teardown),
		cmocka_unit_test_setup_teardown(overflow, guest_setup, guest_teardown),
		cmocka_unit_test_setup_teardown(numbers, guest_setup, guest_teardown),
		cmocka_unit_test_setup_teardown(elsewhere, guest_setup, guest_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

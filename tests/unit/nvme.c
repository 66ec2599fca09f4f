/* SPDX-License-Identifier: BSD-3-Clause */
/* The NVMe controller but for its I/O: registers and states, admin commands, queues, doorbells, events, interrupts, resets. */
#include "nvme_rig.h"

static struct rig rig;

enum { BLOCKS = 4096 };

static int open_disabled(void **state)
{
	(void)state;
	rig_open(&rig, "size=2M");
	return 0;
}

static int open_enabled(void **state)
{
	(void)state;
	rig_open(&rig, "size=2M");
	rig_msix(&rig, true);
	rig_enable(&rig);
	return 0;
}

static int close_rig(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

static struct nvme_command admin(unsigned int opcode)
{
	return (struct nvme_command){.opcode = (uint8_t)opcode};
}

/* --- registers --- */

static void registers_are_those_of_a_controller(void **state)
{
	uint64_t cap = rig_get(&rig, NVME_CAP, 8);

	(void)state;
	assert_int_equal(cap & NVME_CAP_MQES, 1023);
	assert_true(cap & NVME_CAP_CQR);
	assert_true(cap & NVME_CAP_CSS_NVM);
	assert_int_equal(cap >> 32 & 0xf, 0); /* doorbells of 4 bytes */
	assert_int_equal(cap >> 48 & 0xf, 0); /* pages of 4 KiB */
	assert_int_equal(cap >> NVME_CAP_MPSMAX_SHIFT & 0xf, 4);
	assert_int_equal(cap >> NVME_CAP_TO_SHIFT & 0xff, 20);
	assert_int_equal(rig_get(&rig, NVME_VS, 4), 0x10400);
	assert_int_equal(rig_get(&rig, NVME_VS + 2, 1), 1);
	assert_int_equal(rig_get(&rig, NVME_CSTS, 4), 0);
	/* What is read-only stays, and what is not written whole. */
	rig_set(&rig, NVME_CAP, 8, 0);
	rig_set(&rig, NVME_VS, 4, 0);
	rig_set(&rig, NVME_CSTS, 4, UINT32_MAX);
	rig_set(&rig, NVME_CC, 2, 1);
	assert_int_equal(rig_get(&rig, NVME_CAP, 8), cap);
	assert_int_equal(rig_get(&rig, NVME_VS, 4), 0x10400);
	assert_int_equal(rig_get(&rig, NVME_CSTS, 4), 0);
	assert_int_equal(rig_get(&rig, NVME_CC, 4), 0);
	/* Reserved bits read as 0. */
	rig_set(&rig, NVME_CC, 4, UINT32_C(0xff00000e));
	assert_int_equal(rig_get(&rig, NVME_CC, 4), 0);
	rig_set(&rig, NVME_AQA, 4, UINT32_MAX);
	assert_int_equal(rig_get(&rig, NVME_AQA, 4), 0x0fff0fff);
	rig_set(&rig, NVME_ASQ, 8, UINT64_MAX);
	assert_int_equal(rig_get(&rig, NVME_ASQ, 8), ~UINT64_C(0xfff));
	rig_set(&rig, NVME_ACQ + 4, 4, 7);
	assert_int_equal(rig_get(&rig, NVME_ACQ, 8), UINT64_C(7) << 32);
	assert_int_equal(rig_get(&rig, NVME_DOORBELLS, 4), 0);
	assert_int_equal(rig_get(&rig, 0xff8, 8), 0);
}

static void masks_are_set_and_cleared(void **state)
{
	(void)state;
	rig_set(&rig, NVME_INTMS, 4, 0x81);
	rig_set(&rig, NVME_INTMS, 4, 0x10);
	assert_int_equal(rig_get(&rig, NVME_INTMS, 4), 0x91);
	assert_int_equal(rig_get(&rig, NVME_INTMC, 4), 0x91);
	rig_set(&rig, NVME_INTMC, 4, 0x11);
	assert_int_equal(rig_get(&rig, NVME_INTMS, 4), 0x80);
	assert_int_equal(nvme_mask(rig.nvme), 0x80);
	/* As a program writes them that has mapped them. */
	nvme_word_set(rig.nvme, NVME_INTMS, 3);
	assert_int_equal(nvme_mask(rig.nvme), 0x83);
	nvme_word_set(rig.nvme, NVME_INTMC, 0x81);
	assert_int_equal(nvme_mask(rig.nvme), 2);
	assert_int_equal(rig_get(&rig, NVME_INTMS, 4), 2);
	assert_int_equal(rig_get(&rig, NVME_INTMC, 4), 2);
}

static void try_to_enable(uint32_t cc, uint32_t aqa, uint64_t asq, uint64_t acq, uint32_t expected)
{
	rig_set(&rig, NVME_AQA, 4, aqa);
	rig_set(&rig, NVME_ASQ, 8, asq);
	rig_set(&rig, NVME_ACQ, 8, acq);
	rig_set(&rig, NVME_CC, 4, cc);
	rig_until(&rig, expected);
	rig_disable(&rig);
}

static void it_is_ready_with_what_is_possible_only(void **state)
{
	uint64_t a = rig_pages(&rig, 1), b = rig_pages(&rig, 1);

	(void)state;
	try_to_enable(rig_cc, 1 | 1 << 16, a, b, NVME_CSTS_RDY);
	try_to_enable(NVME_CC_EN, 1 | 1 << 16, a, b, NVME_CSTS_RDY); /* sizes of I/O entries come later */
	try_to_enable(rig_cc, 1, a, b, NVME_CSTS_CFS);
	try_to_enable(rig_cc, 1 << 16, a, b, NVME_CSTS_CFS);
	try_to_enable(rig_cc | 1 << 4, 1 | 1 << 16, a, b, NVME_CSTS_CFS); /* command set */
	try_to_enable(rig_cc | 1 << 11, 1 | 1 << 16, a, b, NVME_CSTS_CFS); /* arbitration */
	try_to_enable(rig_cc | 5 << 7, 1 | 1 << 16, 0, 0, NVME_CSTS_CFS); /* page size */
	try_to_enable(rig_cc | 1 << 7, 1 | 1 << 16, 0x41000000, 0x41001000, NVME_CSTS_CFS); /* not a page */
	try_to_enable(rig_cc | 1 << 7, 1 | 1 << 16, 0x41000000, 0x41002000, NVME_CSTS_RDY);
	try_to_enable(rig_cc, 0xfff | 0xfff << 16, a, b, NVME_CSTS_RDY);
}

static void queues_that_cannot_be_reached_are_fatal(void **state)
{
	uint64_t page = rig_pages(&rig, 1);

	(void)state;
	/* Commands. */
	rig_set(&rig, NVME_AQA, 4, 3 | 3 << 16);
	rig_set(&rig, NVME_ASQ, 8, NOWHERE);
	rig_set(&rig, NVME_ACQ, 8, page);
	rig_set(&rig, NVME_CC, 4, rig_cc);
	rig_until(&rig, NVME_CSTS_RDY);
	rig_set(&rig, nvme_tail_doorbell(0), 4, 1);
	rig_until(&rig, NVME_CSTS_RDY | NVME_CSTS_CFS);
	rig_set(&rig, nvme_tail_doorbell(0), 4, 2);
	rig_run(&rig);
	rig_disable(&rig);
	/* Completions. */
	rig_set(&rig, NVME_ASQ, 8, page);
	rig_set(&rig, NVME_ACQ, 8, NOWHERE);
	rig_set(&rig, NVME_CC, 4, rig_cc);
	rig_until(&rig, NVME_CSTS_RDY);
	rig_set(&rig, nvme_tail_doorbell(0), 4, 1);
	rig_until(&rig, NVME_CSTS_RDY | NVME_CSTS_CFS);
	rig_disable(&rig);
	/* It works again. */
	rig_enable(&rig);
	assert_int_equal(rig_admin(&rig, admin(NVME_ADMIN_ABORT), NULL), NVME_SUCCESS);
}

/* --- identify --- */

static const uint8_t *identify(unsigned int cns, uint32_t nsid, unsigned int expected)
{
	struct nvme_command command = admin(NVME_ADMIN_IDENTIFY);

	command.prp1 = rig_pages(&rig, 1);
	command.cdw10 = cns;
	command.nsid = nsid;
	memset(rig_memory(&rig, command.prp1), 0xee, PAGE);
	assert_int_equal(rig_admin(&rig, command, NULL), expected);
	return rig_memory(&rig, command.prp1);
}

static uint64_t field(const uint8_t *data, unsigned int offset, unsigned int width)
{
	uint64_t value = 0;

	memcpy(&value, data + offset, width);
	return value;
}

static void identify_controller(void **state)
{
	const uint8_t *data = identify(NVME_CNS_CONTROLLER, 0, NVME_SUCCESS);

	(void)state;
	assert_int_equal(field(data, 0, 2), 0x1234);
	assert_memory_equal(data + 24, "uiommu NVMe     ", 16);
	assert_int_equal(data[77], 7); /* 512 KiB */
	assert_int_equal(field(data, 80, 4), 0x10400);
	assert_int_equal(data[111], 1);
	assert_int_equal(data[259], 3);
	assert_int_equal(data[262], 63);
	assert_int_equal(data[512], 0x66);
	assert_int_equal(data[513], 0x44);
	assert_int_equal(field(data, 516, 4), 1);
	assert_int_equal(field(data, 520, 2), 0x1d);
	assert_int_equal(data[525], 7);
	assert_memory_equal(data + 768, "nqn.2014-08.org.nvmexpress:uuid:", 32);
	for (unsigned int i = 4; i < 72; i++)
		assert_in_range(data[i], ' ', '~');
}

static void identify_namespace(void **state)
{
	const uint8_t *data = identify(NVME_CNS_NAMESPACE, 1, NVME_SUCCESS), *list, *names;

	(void)state;
	assert_int_equal(field(data, 0, 8), BLOCKS);
	assert_int_equal(field(data, 8, 8), BLOCKS);
	assert_int_equal(data[25], 0);
	assert_int_equal(data[99], 0);
	assert_int_equal(field(data, 128, 4), 9 << 16);
	list = identify(NVME_CNS_LIST, 0, NVME_SUCCESS);
	assert_int_equal(field(list, 0, 8), 1);
	list = identify(NVME_CNS_LIST, 1, NVME_SUCCESS);
	assert_int_equal(field(list, 0, 8), 0);
	names = identify(NVME_CNS_DESCRIPTORS, 1, NVME_SUCCESS);
	assert_int_equal(field(names, 0, 4), 3 | 16 << 8);
	assert_memory_equal(names + 4, data + 104, 16);
	assert_int_equal(names[4 + 6] >> 4, 8); /* the version of the UUID */
	assert_int_equal(field(names, 20, 4), 2 | 16 << 8);
	assert_int_equal(field(names, 40, 4), 0);
}

static void bad_identifies(void **state)
{
	struct nvme_command command = admin(NVME_ADMIN_IDENTIFY);

	(void)state;
	identify(NVME_CNS_NAMESPACE, 0, NVME_INVALID_NAMESPACE);
	identify(NVME_CNS_NAMESPACE, 2, NVME_INVALID_NAMESPACE);
	identify(NVME_CNS_NAMESPACE, NVME_BROADCAST, NVME_INVALID_NAMESPACE);
	identify(NVME_CNS_DESCRIPTORS, 2, NVME_INVALID_NAMESPACE);
	identify(NVME_CNS_LIST, NVME_BROADCAST, NVME_INVALID_NAMESPACE);
	identify(NVME_CNS_LIST, NVME_BROADCAST - 1, NVME_INVALID_NAMESPACE);
	identify(0x1c, 1, NVME_INVALID_FIELD);
	command.cdw10 = NVME_CNS_CONTROLLER;
	command.prp1 = NOWHERE;
	assert_int_equal(rig_admin(&rig, command, NULL), NVME_DATA_TRANSFER);
	for (unsigned int opcode = 0x0d; opcode < 256; opcode++)
		assert_int_equal(rig_admin(&rig, admin(opcode), NULL), NVME_INVALID_OPCODE);
	assert_int_equal(rig_admin(&rig, admin(3), NULL), NVME_INVALID_OPCODE);
}

/* --- features --- */

static uint32_t feature(unsigned int which, unsigned int select, uint32_t cdw11)
{
	struct nvme_command command = admin(NVME_ADMIN_GET_FEATURES);
	uint32_t result;

	command.cdw10 = which | select << 8;
	command.cdw11 = cdw11;
	assert_int_equal(rig_admin(&rig, command, &result), NVME_SUCCESS);
	return result;
}

static unsigned int set_feature(unsigned int which, uint32_t value)
{
	struct nvme_command command = admin(NVME_ADMIN_SET_FEATURES);

	command.cdw10 = which;
	command.cdw11 = value;
	return rig_admin(&rig, command, NULL);
}

static void features_are_kept(void **state)
{
	static const struct {
		unsigned int which;
		uint32_t first, value;
	} features[] = {
		{NVME_FEATURE_ARBITRATION, 0, 0x01020303},
		{NVME_FEATURE_POWER, 0, 0x20},
		{NVME_FEATURE_RECOVERY, 0, 100},
		{NVME_FEATURE_CACHE, 1, 0},
		{NVME_FEATURE_COALESCING, 0, 0x0508},
		{NVME_FEATURE_ATOMICITY, 0, 1},
		{NVME_FEATURE_EVENTS, 0, 0x1f},
		{NVME_FEATURE_TEMPERATURE, 343, 300},
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(features); i++) {
		assert_int_equal(feature(features[i].which, 0, 0), features[i].first);
		assert_int_equal(set_feature(features[i].which, features[i].value), NVME_SUCCESS);
		assert_int_equal(feature(features[i].which, 0, 0), features[i].value);
		assert_int_equal(feature(features[i].which, 1, 0), features[i].first);
		assert_int_equal(feature(features[i].which, 2, 0), features[i].first);
		assert_int_equal(feature(features[i].which, 3, 0), 4);
	}
	/* Each vector has its own, and each threshold. */
	assert_int_equal(set_feature(NVME_FEATURE_VECTOR, 5 | 1 << 16), NVME_SUCCESS);
	assert_int_equal(feature(NVME_FEATURE_VECTOR, 0, 5), 5 | 1 << 16);
	assert_int_equal(feature(NVME_FEATURE_VECTOR, 0, 6), 6);
	assert_int_equal(set_feature(NVME_FEATURE_TEMPERATURE, 1 << 20 | 200), NVME_SUCCESS);
	assert_int_equal(feature(NVME_FEATURE_TEMPERATURE, 0, 1 << 20), 200);
	assert_int_equal(feature(NVME_FEATURE_TEMPERATURE, 0, 0), 300);
	rig_disable(&rig);
	rig_enable(&rig);
	assert_int_equal(feature(NVME_FEATURE_CACHE, 0, 0), 1);
	assert_int_equal(feature(NVME_FEATURE_VECTOR, 0, 5), 5);
}

static void bad_features(void **state)
{
	struct nvme_command command = admin(NVME_ADMIN_GET_FEATURES);

	(void)state;
	assert_int_equal(set_feature(0, 0), NVME_INVALID_FIELD);
	assert_int_equal(set_feature(3, 0), NVME_INVALID_FIELD);
	assert_int_equal(set_feature(0x7f, 0), NVME_INVALID_FIELD);
	assert_int_equal(set_feature(NVME_FEATURE_POWER, 1), NVME_INVALID_FIELD);
	assert_int_equal(set_feature(NVME_FEATURE_VECTOR, NVME_QUEUES), NVME_INVALID_FIELD);
	assert_int_equal(set_feature(NVME_FEATURE_TEMPERATURE, 1 << 16), NVME_INVALID_FIELD);
	assert_int_equal(set_feature(NVME_FEATURE_QUEUES, 0xffff), NVME_INVALID_FIELD);
	assert_int_equal(set_feature(NVME_FEATURE_QUEUES, UINT32_C(0xffff0000)), NVME_INVALID_FIELD);
	assert_int_equal(set_feature(NVME_FEATURE_CACHE | UINT32_C(1) << 31, 0), NVME_NOT_SAVEABLE);
	assert_int_equal(feature(NVME_FEATURE_CACHE, 0, 0), 1);
	command.cdw10 = NVME_FEATURE_CACHE | 4 << 8;
	assert_int_equal(rig_admin(&rig, command, NULL), NVME_INVALID_FIELD);
	command.cdw10 = 0xff;
	assert_int_equal(rig_admin(&rig, command, NULL), NVME_INVALID_FIELD);
}

/* --- queues --- */

static unsigned int create(unsigned int opcode, uint32_t cdw10, uint32_t cdw11, uint64_t address)
{
	struct nvme_command command = admin(opcode);

	command.cdw10 = cdw10;
	command.cdw11 = cdw11;
	command.prp1 = address;
	return rig_admin(&rig, command, NULL);
}

static unsigned int delete (unsigned int opcode, uint32_t id)
{
	return create(opcode, id, 0, 0);
}

static void bad_queues(void **state)
{
	uint64_t page = rig_pages(&rig, 1);
	uint32_t most = NVME_QUEUES - 1;

	(void)state;
	assert_int_equal(create(NVME_ADMIN_CREATE_CQ, 0 | 7 << 16, 1, page), NVME_QID_INVALID);
	assert_int_equal(create(NVME_ADMIN_CREATE_CQ, (most + 1) | 7 << 16, 1, page), NVME_QID_INVALID);
	assert_int_equal(create(NVME_ADMIN_CREATE_CQ, 0xffff | 7 << 16, 1, page), NVME_QID_INVALID);
	assert_int_equal(create(NVME_ADMIN_CREATE_CQ, 1, 1, page), NVME_QSIZE_INVALID);
	assert_int_equal(create(NVME_ADMIN_CREATE_CQ, 1 | 1024 << 16, 1, page), NVME_QSIZE_INVALID);
	assert_int_equal(create(NVME_ADMIN_CREATE_CQ, 1 | 7 << 16, 0, page), NVME_INVALID_FIELD);
	assert_int_equal(create(NVME_ADMIN_CREATE_CQ, 1 | 7 << 16, 1, page + 64), NVME_PRP_OFFSET_INVALID);
	assert_int_equal(create(NVME_ADMIN_CREATE_CQ, 1 | 7 << 16, 3 | NVME_QUEUES << 16, page), NVME_VECTOR_INVALID);
	assert_int_equal(create(NVME_ADMIN_CREATE_SQ, 1 | 7 << 16, 1 | 1 << 16, page), NVME_CQ_INVALID);
	assert_int_equal(create(NVME_ADMIN_CREATE_SQ, 1 | 7 << 16, 1, page), NVME_CQ_INVALID);
	assert_int_equal(create(NVME_ADMIN_CREATE_SQ, 1 | 7 << 16, 1 | UINT32_C(0xffff) << 16, page), NVME_CQ_INVALID);

	assert_int_equal(create(NVME_ADMIN_CREATE_CQ, 1 | 1023 << 16, 1, page), NVME_SUCCESS);
	assert_int_equal(create(NVME_ADMIN_CREATE_CQ, 1 | 7 << 16, 1, page), NVME_QID_INVALID);
	assert_int_equal(create(NVME_ADMIN_CREATE_SQ, 0 | 7 << 16, 1 | 1 << 16, page), NVME_QID_INVALID);
	assert_int_equal(create(NVME_ADMIN_CREATE_SQ, (most + 1) | 7 << 16, 1 | 1 << 16, page), NVME_QID_INVALID);
	assert_int_equal(create(NVME_ADMIN_CREATE_SQ, 1, 1 | 1 << 16, page), NVME_QSIZE_INVALID);
	assert_int_equal(create(NVME_ADMIN_CREATE_SQ, 1 | 7 << 16, 1 << 16, page), NVME_INVALID_FIELD);
	assert_int_equal(create(NVME_ADMIN_CREATE_SQ, 1 | 7 << 16, 1 | 1 << 16, page + 8), NVME_PRP_OFFSET_INVALID);
	assert_int_equal(create(NVME_ADMIN_CREATE_SQ, most | 7 << 16, 1 | 1 << 16, page), NVME_SUCCESS);
	assert_int_equal(create(NVME_ADMIN_CREATE_SQ, most | 7 << 16, 1 | 1 << 16, page), NVME_QID_INVALID);
	assert_int_equal(set_feature(NVME_FEATURE_QUEUES, 0), NVME_SEQUENCE);

	assert_int_equal(delete (NVME_ADMIN_DELETE_CQ, 1), NVME_QUEUE_DELETION);
	assert_int_equal(delete (NVME_ADMIN_DELETE_SQ, 0), NVME_QID_INVALID);
	assert_int_equal(delete (NVME_ADMIN_DELETE_CQ, 0), NVME_QID_INVALID);
	assert_int_equal(delete (NVME_ADMIN_DELETE_SQ, 1), NVME_QID_INVALID);
	assert_int_equal(delete (NVME_ADMIN_DELETE_SQ, most + NVME_QUEUES), NVME_QID_INVALID);
	assert_int_equal(delete (NVME_ADMIN_DELETE_CQ, 0xffff), NVME_QID_INVALID);
	assert_int_equal(delete (NVME_ADMIN_DELETE_SQ, most), NVME_SUCCESS);
	assert_int_equal(delete (NVME_ADMIN_DELETE_CQ, 1), NVME_SUCCESS);
	assert_int_equal(delete (NVME_ADMIN_DELETE_CQ, 1), NVME_QID_INVALID);
}

static void as_many_queues_as_were_agreed_on(void **state)
{
	uint64_t page = rig_pages(&rig, 1);
	struct nvme_command command = admin(NVME_ADMIN_SET_FEATURES);
	uint32_t result;

	(void)state;
	command.cdw10 = NVME_FEATURE_QUEUES;
	command.cdw11 = 1 | 500 << 16;
	assert_int_equal(rig_admin(&rig, command, &result), NVME_SUCCESS);
	assert_int_equal(result, 1 | 31 << 16);
	assert_int_equal(feature(NVME_FEATURE_QUEUES, 0, 0), 1 | 31 << 16);
	assert_int_equal(create(NVME_ADMIN_CREATE_CQ, 32 | 7 << 16, 1, page), NVME_SUCCESS);
	assert_int_equal(create(NVME_ADMIN_CREATE_SQ, 2 | 7 << 16, 1 | 32 << 16, page), NVME_SUCCESS);
	assert_int_equal(create(NVME_ADMIN_CREATE_SQ, 3 | 7 << 16, 1 | 32 << 16, page), NVME_QID_INVALID);
}

static void entries_have_one_size(void **state)
{
	uint64_t page = rig_pages(&rig, 1);

	(void)state;
	rig_disable(&rig);
	driver_queue_make(&rig, 0, ENTRIES);
	rig_set(&rig, NVME_ASQ, 8, rig.queues[0].sq);
	rig_set(&rig, NVME_ACQ, 8, rig.queues[0].cq);
	rig_set(&rig, NVME_CC, 4, NVME_CC_EN | 5 << NVME_CC_IOCQES_SHIFT | 6 << NVME_CC_IOSQES_SHIFT);
	rig_until(&rig, NVME_CSTS_RDY);
	assert_int_equal(create(NVME_ADMIN_CREATE_CQ, 1 | 7 << 16, 1, page), NVME_INVALID_FIELD);
	rig_set(&rig, NVME_CC, 4, NVME_CC_EN | 4 << NVME_CC_IOCQES_SHIFT | 7 << NVME_CC_IOSQES_SHIFT);
	assert_int_equal(create(NVME_ADMIN_CREATE_CQ, 1 | 7 << 16, 1, page), NVME_SUCCESS);
	assert_int_equal(create(NVME_ADMIN_CREATE_SQ, 1 | 7 << 16, 1 | 1 << 16, page), NVME_INVALID_FIELD);
}

/* Commands that workers have: a queue is deleted when they have come back. */
static void a_deleted_queue_ends_its_commands_first(void **state)
{
	struct nvme_command command = admin(NVME_ADMIN_DELETE_SQ);
	struct nvme_completion completion;
	uint16_t deletion;

	(void)state;
	for (unsigned int round = 0; round < 50; round++) {
		rig_pair(&rig, 1, 16);
		for (unsigned int i = 0; i < 8; i++)
			rig_queue(&rig, 1, rig_rw(NVME_WRITE_ZEROES, i * 8, 8, 0, 0));
		rig_ring(&rig, 1);
		nvme_turn(rig.nvme);
		command.cdw10 = 1;
		deletion = rig_queue(&rig, 0, command);
		rig_ring(&rig, 0);
		completion = rig_wait(&rig, 0);
		assert_int_equal(completion.cid, deletion);
		assert_int_equal(completion.status >> 1, NVME_SUCCESS);
		for (unsigned int i = 0; i < 8; i++) {
			assert_true(rig_peek(&rig, 1, &completion));
			assert_int_equal(completion.status >> 1, NVME_SUCCESS);
			rig_take(&rig, 1);
		}
		rig.queues[1].next_cid = 0;
		assert_int_equal(delete (NVME_ADMIN_DELETE_CQ, 1), NVME_SUCCESS);
	}
}

/* --- logs and events --- */

static const uint8_t *get_log(unsigned int which, uint32_t offset, uint32_t bytes, unsigned int expected)
{
	struct nvme_command command = admin(NVME_ADMIN_GET_LOG);

	command.nsid = NVME_BROADCAST;
	command.prp1 = rig_pages(&rig, 2);
	command.prp2 = command.prp1 + PAGE;
	command.cdw10 = which | (bytes / 4 - 1) << 16;
	command.cdw12 = offset;
	memset(rig_memory(&rig, command.prp1), 0xee, 2 * PAGE);
	assert_int_equal(rig_admin(&rig, command, NULL), expected);
	return rig_memory(&rig, command.prp1);
}

static void errors_are_logged(void **state)
{
	struct nvme_command wrong = admin(0xc0);
	const struct nvme_error *error;
	uint16_t cid = rig.queues[0].next_cid;

	(void)state;
	for (unsigned int i = 0; i < 70; i++)
		assert_int_equal(rig_admin(&rig, wrong, NULL), NVME_INVALID_OPCODE);
	error = (const void *)get_log(NVME_LOG_ERRORS, 0, 64 * 64, NVME_SUCCESS);
	for (unsigned int i = 0; i < 64; i++) {
		assert_int_equal(error[i].count, 70 - i);
		assert_int_equal(error[i].sq_id, 0);
		assert_int_equal(error[i].cid, cid + 69 - i);
		assert_int_equal(error[i].status >> 1, NVME_INVALID_OPCODE | NVME_DNR);
	}
	error = (const void *)get_log(NVME_LOG_ERRORS, 63 * 64, 2 * 64, NVME_SUCCESS);
	assert_int_equal(error[0].count, 7);
	assert_int_equal(error[1].count, 0); /* beyond it */
	assert_int_equal(((const uint8_t *)error)[128], 0xee); /* and no more than that */
}

static void logs(void **state)
{
	uint64_t page = rig_pages(&rig, 1);
	const uint8_t *data;
	struct nvme_command command = admin(NVME_ADMIN_GET_LOG);

	(void)state;
	rig_pair(&rig, 1, 16);
	for (unsigned int i = 0; i < 251; i++)
		assert_int_equal(rig_io(&rig, rig_rw(NVME_READ, 0, 8, page, 0)), NVME_SUCCESS);
	assert_int_equal(rig_io(&rig, rig_rw(NVME_WRITE, 0, 1, page, 0)), NVME_SUCCESS);
	data = get_log(NVME_LOG_HEALTH, 0, 512, NVME_SUCCESS);
	assert_int_equal(data[0], 0);
	assert_int_equal(field(data, 32, 8), 3); /* 251 * 8 blocks, rounded up to thousands */
	assert_int_equal(field(data, 48, 8), 1);
	assert_int_equal(field(data, 64, 8), 251);
	assert_int_equal(field(data, 80, 8), 1);
	data = get_log(NVME_LOG_FIRMWARE, 0, 512, NVME_SUCCESS);
	assert_int_equal(data[0], 1);
	assert_memory_equal(data + 8, UIOMMU_VERSION, strlen(UIOMMU_VERSION));
	data = get_log(NVME_LOG_FIRMWARE, 508, 16, NVME_SUCCESS);
	assert_int_equal(field(data, 0, 8), 0);
	get_log(NVME_LOG_FIRMWARE, 516, 16, NVME_INVALID_FIELD);
	get_log(NVME_LOG_FIRMWARE, 2, 16, NVME_INVALID_FIELD);
	get_log(0, 0, 16, NVME_LOG_INVALID);
	get_log(0xc0, 0, 16, NVME_LOG_INVALID);
	command.cdw10 = NVME_LOG_HEALTH | 1 << 16;
	command.nsid = 1;
	command.prp1 = page;
	assert_int_equal(rig_admin(&rig, command, NULL), NVME_INVALID_FIELD);
	command.nsid = 0;
	command.cdw11 = 0xffff;
	assert_int_equal(rig_admin(&rig, command, NULL), NVME_INVALID_FIELD);
}

static void expect_event(uint16_t cid, unsigned int information)
{
	struct nvme_completion completion = rig_wait(&rig, 0);

	assert_int_equal(completion.cid, cid);
	assert_int_equal(completion.status >> 1, NVME_SUCCESS);
	assert_int_equal(completion.result, information << 8 | 1 << 16);
}

static void bad_doorbells_are_events(void **state)
{
	struct nvme_completion completion;
	uint16_t cids[5];

	(void)state;
	rig_pair(&rig, 1, 16);
	for (unsigned int i = 0; i < 5; i++)
		cids[i] = rig_queue(&rig, 0, admin(NVME_ADMIN_EVENT));
	rig_ring(&rig, 0);
	completion = rig_wait(&rig, 0);
	assert_int_equal(completion.cid, cids[4]);
	assert_int_equal(completion.status >> 1, NVME_EVENT_LIMIT | NVME_DNR);

	rig_set(&rig, nvme_tail_doorbell(1), 4, 16);
	expect_event(cids[0], NVME_EVENT_INVALID_VALUE);
	/* No more before the log has been read. */
	rig_set(&rig, nvme_head_doorbell(1), 4, 16);
	rig_set(&rig, nvme_tail_doorbell(2), 4, 1);
	rig_run(&rig);
	assert_false(rig_peek(&rig, 0, &completion));
	get_log(NVME_LOG_ERRORS | 1 << 15, 0, 64, NVME_SUCCESS); /* but not so that it counts */
	rig_run(&rig);
	assert_false(rig_peek(&rig, 0, &completion));
	rig_queue(&rig, 0, (struct nvme_command){.opcode = NVME_ADMIN_GET_LOG, .prp1 = rig_pages(&rig, 1), .cdw10 = 1 | 15 << 16});
	rig_ring(&rig, 0);
	completion = rig_wait(&rig, 0);
	assert_int_equal(completion.status >> 1, NVME_SUCCESS);
	expect_event(cids[1], NVME_EVENT_INVALID_DOORBELL);
	get_log(NVME_LOG_ERRORS, 0, 64, NVME_SUCCESS);
	expect_event(cids[2], NVME_EVENT_INVALID_VALUE); /* the head that cannot be */
	get_log(NVME_LOG_ERRORS, 0, 64, NVME_SUCCESS);
	/* A head that nothing has been posted before; a doorbell that does not exist. */
	rig_set(&rig, nvme_head_doorbell(1), 4, 5);
	expect_event(cids[3], NVME_EVENT_INVALID_VALUE);
	rig_set(&rig, NVME_DOORBELLS + 0xffc, 4, 1);
	get_log(NVME_LOG_ERRORS, 0, 64, NVME_SUCCESS);
	/* What is pending waits for a request. */
	cids[0] = rig_queue(&rig, 0, admin(NVME_ADMIN_EVENT));
	rig_ring(&rig, 0);
	expect_event(cids[0], NVME_EVENT_INVALID_DOORBELL);
	assert_int_equal(rig_io(&rig, rig_rw(NVME_FLUSH, 0, 1, 0, 0)), NVME_SUCCESS);
}

/* --- interrupts --- */

static void msix_vectors(void **state)
{
	(void)state;
	rig_pair(&rig, 1, 16);
	rig_pair(&rig, 2, 16);
	assert_int_equal(rig.vectors[1], 0);
	assert_int_equal(rig_io(&rig, rig_rw(NVME_FLUSH, 0, 1, 0, 0)), NVME_SUCCESS);
	assert_int_equal(rig_command(&rig, 2, rig_rw(NVME_FLUSH, 0, 1, 0, 0), NULL), NVME_SUCCESS);
	assert_int_equal(rig.vectors[1], 1);
	assert_int_equal(rig.vectors[2], 1);
	assert_int_equal(rig.vectors[0], 4);
	assert_int_equal(rig.level, 0);
	/* Several that are completed together have one. */
	for (unsigned int i = 0; i < 4; i++)
		rig_queue(&rig, 1, rig_rw(NVME_FLUSH, 0, 1, 0, 0));
	rig_ring(&rig, 1);
	for (unsigned int i = 0; i < 4; i++)
		rig_wait(&rig, 1);
	assert_int_equal(rig.vectors[1], 2);
	/* A queue without. */
	driver_queue_make(&rig, 3, 16);
	assert_int_equal(create(NVME_ADMIN_CREATE_CQ, 3 | 15 << 16, 1 | 3 << 16, rig.queues[3].cq), NVME_SUCCESS);
	assert_int_equal(rig_admin(&rig, rig_create_sq(&rig, 3), NULL), NVME_SUCCESS);
	assert_int_equal(rig_command(&rig, 3, rig_rw(NVME_FLUSH, 0, 1, 0, 0), NULL), NVME_SUCCESS);
	assert_int_equal(rig.vectors[3], 0);
}

static void the_pin_has_a_level(void **state)
{
	struct nvme_completion completion;

	(void)state;
	rig_enable(&rig);
	assert_int_equal(create(NVME_ADMIN_CREATE_CQ, 1 | 7 << 16, 3 | 1 << 16, rig.queues[0].cq), NVME_VECTOR_INVALID);
	rig_run(&rig);
	assert_int_equal(rig.level, 0);
	rig_queue(&rig, 0, admin(NVME_ADMIN_ABORT));
	rig_queue(&rig, 0, admin(NVME_ADMIN_ABORT));
	rig_ring(&rig, 0);
	rig_run(&rig);
	assert_int_equal(rig.level, 1);
	assert_true(rig_peek(&rig, 0, &completion));
	rig_take(&rig, 0);
	rig_run(&rig);
	assert_int_equal(rig.level, 1); /* one is left */
	/* It is lowered by the access itself. */
	rig_set(&rig, NVME_INTMS, 4, 1);
	assert_int_equal(rig.level, 0);
	rig_set(&rig, NVME_INTMC, 4, 1);
	rig_run(&rig);
	assert_int_equal(rig.level, 1);
	rig_take(&rig, 0);
	assert_int_equal(rig.level, 0);
	/* A reset takes it back. */
	rig_queue(&rig, 0, admin(NVME_ADMIN_ABORT));
	rig_ring(&rig, 0);
	rig_run(&rig);
	assert_int_equal(rig.level, 1);
	rig_disable(&rig);
	assert_int_equal(rig.level, 0);
	assert_int_equal(rig.interrupts, 0);
}

static void masked_msi_waits(void **state)
{
	(void)state;
	rig_config(&rig, rig.nvme->pci->place[UIOMMU_PCI_MSI] + PCI_MSI_CONTROL, 2, PCI_MSI_ENABLE | 2 << PCI_MSI_ENABLED_SHIFT);
	rig_enable(&rig);
	driver_queue_make(&rig, 1, 16);
	assert_int_equal(create(NVME_ADMIN_CREATE_CQ, 1 | 15 << 16, 3 | 32 << 16, rig.queues[1].cq), NVME_VECTOR_INVALID);
	assert_int_equal(rig_admin(&rig, rig_create_cq(&rig, 1, 3), NULL), NVME_SUCCESS);
	assert_int_equal(rig_admin(&rig, rig_create_sq(&rig, 1), NULL), NVME_SUCCESS);
	assert_int_equal(rig.vectors[0], 3);
	rig_set(&rig, NVME_INTMS, 4, 1 << 3);
	assert_int_equal(rig_io(&rig, rig_rw(NVME_FLUSH, 0, 1, 0, 0)), NVME_SUCCESS);
	rig_run(&rig);
	assert_int_equal(rig.vectors[3], 0);
	rig_set(&rig, NVME_INTMC, 4, 1 << 3);
	rig_run(&rig);
	assert_int_equal(rig.vectors[3], 1);
	rig_run(&rig);
	assert_int_equal(rig.vectors[3], 1);
	assert_int_equal(rig.level, 0);
}

/* --- ends --- */

static void a_reset_forgets(void **state)
{
	(void)state;
	rig_pair(&rig, 1, 16);
	for (unsigned int i = 0; i < 8; i++)
		rig_queue(&rig, 1, rig_rw(NVME_WRITE_ZEROES, i * 8, 8, 0, 0));
	rig_ring(&rig, 1);
	nvme_turn(rig.nvme);
	rig_disable(&rig);
	assert_int_equal(rig.nvme->busy, 0);
	rig_enable(&rig);
	assert_int_equal(delete (NVME_ADMIN_DELETE_SQ, 1), NVME_QID_INVALID);
	rig_pair(&rig, 1, 16);
	assert_int_equal(rig_io(&rig, rig_rw(NVME_FLUSH, 0, 1, 0, 0)), NVME_SUCCESS);
	/* Cleared and set before the engine has looked: it was cleared. */
	rig_set(&rig, NVME_CC, 4, 0);
	rig_set(&rig, NVME_CC, 4, rig_cc);
	driver_queue_make(&rig, 0, ENTRIES);
	rig_run(&rig);
	assert_int_equal(rig_get(&rig, NVME_CSTS, 4), NVME_CSTS_RDY);
	assert_false(rig.nvme->sqs[1].exists);
}

static void a_function_level_reset_forgets(void **state)
{
	unsigned int at = rig.nvme->pci->place[UIOMMU_PCI_EXPRESS];
	uint64_t page = rig_pages(&rig, 1);

	(void)state;
	rig_pair(&rig, 1, 16);
	for (unsigned int i = 0; i < 8; i++)
		rig_queue(&rig, 1, rig_rw(NVME_WRITE_ZEROES, i * 8, 8, 0, 0));
	rig_queue(&rig, 1, rig_rw(NVME_READ, 0, 1, page, 0));
	rig_ring(&rig, 1);
	nvme_turn(rig.nvme);
	rig_set(&rig, NVME_INTMS, 4, 1);
	rig_config(&rig, at + PCI_EXP_CONTROL, 2, PCI_EXP_CONTROL_FLR);
	rig_config(&rig, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(rig_get(&rig, NVME_CSTS, 4), 0);
	assert_int_equal(rig_get(&rig, NVME_CC, 4), 0);
	assert_int_equal(rig_get(&rig, NVME_INTMS, 4), 0);
	assert_int_equal(rig_get(&rig, NVME_ASQ, 8), 0);
	/* Ready, and then no worker has anything of before. */
	rig_enable(&rig);
	assert_int_equal(rig.nvme->busy, 0);
	rig_pair(&rig, 1, 16);
	assert_int_equal(rig_io(&rig, rig_rw(NVME_FLUSH, 0, 1, 0, 0)), NVME_SUCCESS);
}

static void a_shutdown_ends_what_was_begun(void **state)
{
	struct nvme_completion completion;

	(void)state;
	rig_pair(&rig, 1, 16);
	for (unsigned int i = 0; i < 8; i++)
		rig_queue(&rig, 1, rig_rw(NVME_WRITE_ZEROES, i * 8, 8, 0, 0));
	rig_ring(&rig, 1);
	nvme_turn(rig.nvme);
	rig_set(&rig, NVME_CC, 4, rig_cc | 1 << 14);
	rig_until(&rig, NVME_CSTS_RDY | NVME_CSTS_SHST_COMPLETE);
	assert_int_equal(rig.nvme->busy, 0);
	for (unsigned int i = 0; i < 8; i++) {
		assert_true(rig_peek(&rig, 1, &completion));
		rig_take(&rig, 1);
	}
	/* Nothing is begun any more. */
	rig_queue(&rig, 1, rig_rw(NVME_FLUSH, 0, 1, 0, 0));
	rig_ring(&rig, 1);
	rig_run(&rig);
	assert_false(rig_peek(&rig, 1, &completion));
	rig_disable(&rig);
	/* Without having been enabled. */
	rig_set(&rig, NVME_CC, 4, 2 << 14);
	rig_until(&rig, NVME_CSTS_SHST_COMPLETE);
	rig_set(&rig, NVME_CC, 4, 0);
	rig_enable(&rig);
	assert_int_equal(rig_admin(&rig, admin(NVME_ADMIN_ABORT), NULL), NVME_SUCCESS);
}

static void an_abort_comes_too_late(void **state)
{
	struct nvme_command command = admin(NVME_ADMIN_ABORT);
	uint32_t result = 0;

	(void)state;
	command.cdw10 = 77 << 16;
	assert_int_equal(rig_admin(&rig, command, &result), NVME_SUCCESS);
	assert_int_equal(result, 1);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, open_enabled, close_rig)
#define TEST_DISABLED(test) cmocka_unit_test_setup_teardown(test, open_disabled, close_rig)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_DISABLED(registers_are_those_of_a_controller),
		TEST_DISABLED(masks_are_set_and_cleared),
		TEST_DISABLED(it_is_ready_with_what_is_possible_only),
		TEST_DISABLED(queues_that_cannot_be_reached_are_fatal),
		TEST(identify_controller),
		TEST(identify_namespace),
		TEST(bad_identifies),
		TEST(features_are_kept),
		TEST(bad_features),
		TEST(bad_queues),
		TEST(as_many_queues_as_were_agreed_on),
		TEST(entries_have_one_size),
		TEST(a_deleted_queue_ends_its_commands_first),
		TEST(errors_are_logged),
		TEST(logs),
		TEST(bad_doorbells_are_events),
		TEST(msix_vectors),
		TEST_DISABLED(the_pin_has_a_level),
		TEST_DISABLED(masked_msi_waits),
		TEST(a_reset_forgets),
		TEST(a_function_level_reset_forgets),
		TEST(a_shutdown_ends_what_was_begun),
		TEST(an_abort_comes_too_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* The NVMe controller's I/O commands: where data goes and comes from, and what is said of what cannot be done. */
#include "nvme_rig.h"

#include <fcntl.h>
#include <sys/stat.h>

static struct rig rig;
static char path[] = "/tmp/uiommu-nvme-XXXXXX";

enum { BLOCK = 512, BLOCKS = 4096 };

static void open_with(const char *options)
{
	rig_open(&rig, options);
	rig_msix(&rig, true);
	rig_enable(&rig);
	rig_pair(&rig, 1, 16);
}

static int open_memory(void **state)
{
	(void)state;
	open_with("size=2M");
	return 0;
}

static int open_file(void **state)
{
	char options[100];

	(void)state;
	snprintf(options, sizeof(options), "file=%s,size=2M", path);
	open_with(options);
	return 0;
}

static int close_rig(void **state)
{
	(void)state;
	rig_close(&rig);
	return 0;
}

static unsigned int rw(unsigned int opcode, uint64_t block, unsigned int blocks, uint64_t prp1, uint64_t prp2)
{
	return rig_io(&rig, rig_rw(opcode, block, blocks, prp1, prp2));
}

/* A list of @count pages from the one at @pages on, every second one. */
static uint64_t scattered(uint64_t list, uint64_t pages, unsigned int count)
{
	uint64_t *entries = rig_memory(&rig, list);

	for (unsigned int i = 0; i < count; i++)
		entries[i] = pages + UINT64_C(2) * i * PAGE;
	return list;
}

static void data_comes_back(void **state)
{
	uint64_t from = rig_pages(&rig, 1), to = rig_pages(&rig, 1);

	(void)state;
	rig_fill(&rig, from, PAGE, 1);
	assert_int_equal(rw(NVME_WRITE, 8, 8, from, 0), NVME_SUCCESS);
	assert_int_equal(rw(NVME_READ, 8, 8, to, 0), NVME_SUCCESS);
	rig_expect(&rig, to, PAGE, 1);
	/* One block of them, and nothing beside it. */
	memset(rig_memory(&rig, to), 0xee, PAGE);
	assert_int_equal(rw(NVME_READ, 10, 1, to + BLOCK, 0), NVME_SUCCESS);
	rig_expect(&rig, to + BLOCK, BLOCK, 1 + 2 * BLOCK);
	for (unsigned int i = 0; i < BLOCK; i++) {
		assert_int_equal(((uint8_t *)rig_memory(&rig, to))[i], 0xee);
		assert_int_equal(((uint8_t *)rig_memory(&rig, to))[2 * BLOCK + i], 0xee);
	}
	/* What was never written. */
	assert_int_equal(rw(NVME_READ, BLOCKS - 1, 1, to, 0), NVME_SUCCESS);
	for (unsigned int i = 0; i < BLOCK; i++)
		assert_int_equal(((uint8_t *)rig_memory(&rig, to))[i], 0);
	assert_int_equal(rw(NVME_FLUSH, 0, 1, 0, 0), NVME_SUCCESS);
}

static void prps(void **state)
{
	uint64_t from = rig_pages(&rig, 64), to = rig_pages(&rig, 512), list = rig_pages(&rig, 4);
	uint64_t *entries = rig_memory(&rig, list);

	(void)state;
	rig_fill(&rig, from, 64 * PAGE, 9);
	/* Two pages, the first from its middle on. */
	assert_int_equal(rw(NVME_WRITE, 0, 9, from + 2048, from + PAGE), NVME_SUCCESS);
	assert_int_equal(rw(NVME_READ, 0, 9, to + 512, to + 3 * PAGE), NVME_SUCCESS);
	rig_expect(&rig, to + 512, PAGE - 512, 9 + 2048);
	rig_expect(&rig, to + 3 * PAGE, 1024, 9 + 2048 + PAGE - 512);
	/* A list, of pages that are together and of others. */
	for (unsigned int i = 0; i < 63; i++)
		entries[i] = from + (i + 1) * UINT64_C(4096);
	assert_int_equal(rw(NVME_WRITE, 100, 512, from, list), NVME_SUCCESS);
	assert_int_equal(rw(NVME_READ, 100, 512, to, scattered(list, to + 2 * PAGE, 63)), NVME_SUCCESS);
	for (unsigned int i = 0; i < 64; i++)
		rig_expect(&rig, to + UINT64_C(2) * i * PAGE, PAGE, 9 + i * UINT64_C(4096));
	/* A list that begins with the last two places of its page, goes on in the next, and is read in parts. */
	entries[510] = to + 2 * PAGE;
	entries[511] = list + 2 * PAGE;
	scattered(list + 2 * PAGE, to + 4 * PAGE, 61);
	memset(rig_memory(&rig, to), 0, 128 * PAGE);
	assert_int_equal(rw(NVME_READ, 100, 504, to, list + 510 * 8), NVME_SUCCESS);
	for (unsigned int i = 0; i < 63; i++)
		rig_expect(&rig, to + UINT64_C(2) * i * PAGE, PAGE, 9 + i * UINT64_C(4096));
	/* One place, for two pages. */
	entries[511] = list + 2 * PAGE;
	memset(rig_memory(&rig, to), 0, 8 * PAGE);
	assert_int_equal(rw(NVME_READ, 100, 24, to, list + 511 * 8), NVME_SUCCESS);
	rig_expect(&rig, to, PAGE, 9);
	rig_expect(&rig, to + 4 * PAGE, PAGE, 9 + PAGE);
	rig_expect(&rig, to + 6 * PAGE, PAGE, 9 + 2 * PAGE);
	/* As much as one command may move, with its last entry the last of a page: it leads nowhere. */
	scattered(list + (512 - 127) * 8, to + 2 * PAGE, 127);
	assert_int_equal(rw(NVME_READ, 100, 1024, to, list + (512 - 127) * 8), NVME_SUCCESS);
	for (unsigned int i = 0; i < 64; i++)
		rig_expect(&rig, to + UINT64_C(2) * i * PAGE, PAGE, 9 + i * UINT64_C(4096));
}

static void bad_prps(void **state)
{
	uint64_t page = rig_pages(&rig, 1), list = rig_pages(&rig, 1);
	uint64_t *entries = rig_memory(&rig, list);

	(void)state;
	assert_int_equal(rw(NVME_READ, 0, 1, page + 2, 0), NVME_PRP_OFFSET_INVALID);
	assert_int_equal(rw(NVME_READ, 0, 9, page, page + 4), NVME_PRP_OFFSET_INVALID);
	assert_int_equal(rw(NVME_READ, 0, 17, page, list + 4), NVME_PRP_OFFSET_INVALID);
	entries[0] = page;
	entries[1] = page + 8;
	assert_int_equal(rw(NVME_READ, 0, 17, page, list), NVME_PRP_OFFSET_INVALID);
	assert_int_equal(rw(NVME_READ, 0, 17, page, NOWHERE), NVME_DATA_TRANSFER);
	entries[1] = NOWHERE;
	assert_int_equal(rw(NVME_READ, 0, 17, page, list), NVME_DATA_TRANSFER);
	assert_int_equal(rw(NVME_WRITE, 0, 17, page, list), NVME_DATA_TRANSFER);
	assert_int_equal(rw(NVME_READ, 0, 1, NOWHERE, 0), NVME_DATA_TRANSFER);
	assert_int_equal(rw(NVME_READ, 0, 1, UINT64_MAX - 3, 0), NVME_DATA_TRANSFER);
	entries[511] = list + 8; /* leads into the middle of a page */
	assert_int_equal(rw(NVME_READ, 0, 25, page, list + 511 * 8), NVME_PRP_OFFSET_INVALID);
	/* It goes on. */
	assert_int_equal(rw(NVME_READ, 0, 1, page, 0), NVME_SUCCESS);
}

static struct nvme_sgl sgl(unsigned int type, uint64_t address, uint32_t length)
{
	return (struct nvme_sgl){.address = address, .length = length, .type = (uint8_t)type};
}

static unsigned int rw_sgl(unsigned int opcode, unsigned int blocks, struct nvme_sgl first)
{
	struct nvme_command command = rig_rw(opcode, 0, blocks, 0, 0);

	command.flags = NVME_PSDT_SGL << NVME_PSDT_SHIFT;
	memcpy(&command.prp1, &first, sizeof(first));
	return rig_io(&rig, command);
}

static void sgls(void **state)
{
	uint64_t from = rig_pages(&rig, 4), to = rig_pages(&rig, 4), lists = rig_pages(&rig, 2);
	struct nvme_sgl *first = rig_memory(&rig, lists), *second = rig_memory(&rig, lists + PAGE);

	(void)state;
	rig_fill(&rig, from, 4 * PAGE, 77);
	assert_int_equal(rw_sgl(NVME_WRITE, 16, sgl(NVME_SGL_DATA, from + 1, 2 * PAGE)), NVME_SUCCESS);
	/* Pieces of any length, one of them empty, in two segments; the last is longer than what is left. */
	first[0] = sgl(NVME_SGL_DATA, to + 3, 5);
	first[1] = sgl(NVME_SGL_DATA, 0, 0);
	first[2] = sgl(NVME_SGL_DATA, to + 100, 1000);
	first[3] = sgl(NVME_SGL_LAST, lists + PAGE, 2 * sizeof(*second));
	second[0] = sgl(NVME_SGL_DATA, to + 2000, 3);
	second[1] = sgl(NVME_SGL_DATA, to + 3000, 4 * PAGE);
	assert_int_equal(rw_sgl(NVME_READ, 16, sgl(NVME_SGL_SEGMENT, lists, 4 * sizeof(*first))), NVME_SUCCESS);
	rig_expect(&rig, to + 3, 5, 78);
	rig_expect(&rig, to + 100, 1000, 83);
	rig_expect(&rig, to + 2000, 3, 1083);
	rig_expect(&rig, to + 3000, 2 * PAGE - 1008, 1086);
	assert_int_equal(*((uint8_t *)rig_memory(&rig, to) + 3000 + 2 * PAGE - 1008), 0);
	/* More than are read at once. */
	for (unsigned int i = 0; i < 128; i++)
		first[i] = sgl(NVME_SGL_DATA, to + i * 96, 64);
	assert_int_equal(rw_sgl(NVME_READ, 16, sgl(NVME_SGL_LAST, lists, 128 * sizeof(*first))), NVME_SUCCESS);
	for (unsigned int i = 0; i < 128; i++)
		rig_expect(&rig, to + i * 96, 64, 78 + i * 64);
}

static void bad_sgls(void **state)
{
	uint64_t page = rig_pages(&rig, 2), list = rig_pages(&rig, 3);
	struct nvme_sgl *entries = rig_memory(&rig, list);
	struct nvme_command command = rig_rw(NVME_READ, 0, 1, page, 0);
	const struct nvme_sgl one = sgl(NVME_SGL_LAST, list, 16), two = sgl(NVME_SGL_SEGMENT, list, 32);

	(void)state;
	command.flags = 3 << NVME_PSDT_SHIFT;
	assert_int_equal(rig_io(&rig, command), NVME_INVALID_FIELD);
	assert_int_equal(rw_sgl(NVME_READ, 1, sgl(0x10, page, 512)), NVME_SGL_TYPE_INVALID);
	assert_int_equal(rw_sgl(NVME_READ, 1, sgl(0x01, page, 512)), NVME_SGL_TYPE_INVALID);
	assert_int_equal(rw_sgl(NVME_READ, 1, sgl(NVME_SGL_DATA, page, 511)), NVME_SGL_LENGTH_INVALID);
	assert_int_equal(rw_sgl(NVME_READ, 1, sgl(NVME_SGL_SEGMENT, list, 0)), NVME_SGL_SEGMENT_INVALID);
	assert_int_equal(rw_sgl(NVME_READ, 1, sgl(NVME_SGL_LAST, list, 17)), NVME_SGL_SEGMENT_INVALID);
	assert_int_equal(rw_sgl(NVME_READ, 1, sgl(NVME_SGL_LAST, NOWHERE, 16)), NVME_DATA_TRANSFER);
	assert_int_equal(rw_sgl(NVME_READ, 1, sgl(NVME_SGL_LAST, list, 16 * 257)), NVME_SGL_COUNT_INVALID);
	entries[0] = sgl(NVME_SGL_LAST, list, 16);
	assert_int_equal(rw_sgl(NVME_READ, 1, one), NVME_SGL_SEGMENT_INVALID);
	entries[1] = sgl(NVME_SGL_DATA, page, 512);
	assert_int_equal(rw_sgl(NVME_READ, 1, two), NVME_SGL_SEGMENT_INVALID); /* one in the middle */
	entries[0] = sgl(NVME_SGL_DATA, page, 256);
	assert_int_equal(rw_sgl(NVME_READ, 1, two), NVME_SGL_SEGMENT_INVALID); /* none at the end */
	assert_int_equal(rw_sgl(NVME_READ, 1, one), NVME_SGL_LENGTH_INVALID);
	entries[0] = sgl(NVME_SGL_DATA, NOWHERE, 512);
	assert_int_equal(rw_sgl(NVME_READ, 1, one), NVME_DATA_TRANSFER);
	entries[0] = sgl(NVME_SGL_SEGMENT, list, 16); /* for ever */
	assert_int_equal(rw_sgl(NVME_READ, 1, sgl(NVME_SGL_SEGMENT, list, 16)), NVME_SGL_COUNT_INVALID);
	for (unsigned int i = 0; i < 512; i++)
		entries[i] = sgl(NVME_SGL_DATA, page + i % 2 * 512, 1);
	entries[255] = sgl(NVME_SGL_LAST, list + PAGE, 16 * 256);
	assert_int_equal(rw_sgl(NVME_READ, 1, sgl(NVME_SGL_SEGMENT, list, 16 * 256)), NVME_SGL_COUNT_INVALID);
	assert_int_equal(rw_sgl(NVME_READ, 1, sgl(NVME_SGL_DATA, page, 512)), NVME_SUCCESS);
	/* Admin commands have PRPs. */
	command = (struct nvme_command){.opcode = NVME_ADMIN_IDENTIFY, .flags = NVME_PSDT_SGL << NVME_PSDT_SHIFT, .cdw10 = 1};
	assert_int_equal(rig_admin(&rig, command, NULL), NVME_INVALID_FIELD);
}

static void bad_commands(void **state)
{
	uint64_t page = rig_pages(&rig, 1);
	struct nvme_command command = rig_rw(NVME_READ, 0, 1, page, 0);

	(void)state;
	assert_int_equal(rw(NVME_READ, BLOCKS, 1, page, 0), NVME_LBA_RANGE);
	assert_int_equal(rw(NVME_READ, BLOCKS - 1, 2, page, 0), NVME_LBA_RANGE);
	assert_int_equal(rw(NVME_WRITE, BLOCKS - 1, 2, page, 0), NVME_LBA_RANGE);
	assert_int_equal(rw(NVME_READ, UINT64_MAX, 1, page, 0), NVME_LBA_RANGE);
	assert_int_equal(rw(NVME_READ, UINT64_MAX - 1, 2, page, 0), NVME_LBA_RANGE);
	assert_int_equal(rw(NVME_WRITE_ZEROES, BLOCKS - 1, 2, 0, 0), NVME_LBA_RANGE);
	assert_int_equal(rw(NVME_READ, 0, 1025, page, 0), NVME_INVALID_FIELD); /* more than MDTS */
	assert_int_equal(rw(0x7f, 0, 1, page, 0), NVME_INVALID_OPCODE);
	assert_int_equal(rw(0xff, 0, 1, page, 0), NVME_INVALID_OPCODE);
	for (unsigned int nsid = 0; nsid < 3; nsid += 2) {
		command.nsid = nsid;
		for (unsigned int opcode = 0; opcode < 10; opcode++) {
			command.opcode = (uint8_t)opcode;
			assert_int_equal(rig_io(&rig, command), opcode < 3 || opcode == NVME_COMPARE || opcode > 7
									? NVME_INVALID_NAMESPACE
									: NVME_INVALID_OPCODE);
		}
	}
	command = rig_rw(NVME_FLUSH, 0, 1, 0, 0);
	command.nsid = NVME_BROADCAST;
	assert_int_equal(rig_io(&rig, command), NVME_SUCCESS);
	command = rig_rw(NVME_READ, 0, 1, page, 0);
	command.flags = 1; /* fused */
	assert_int_equal(rig_io(&rig, command), NVME_INVALID_FIELD);
	/* What cannot succeed says so, what might does not. */
	assert_int_equal(rig_command(&rig, 1, rig_rw(NVME_READ, BLOCKS, 1, page, 0), NULL), NVME_LBA_RANGE | NVME_DNR);
	assert_int_equal(rig_command(&rig, 1, rig_rw(NVME_READ, 0, 1, NOWHERE, 0), NULL), NVME_DATA_TRANSFER);
}

/* Blocks 0 to 31 hold a pattern, but for those from @first on. */
static void expect_hole(uint64_t data, unsigned int first, unsigned int blocks)
{
	const uint8_t *bytes = rig_memory(&rig, data);
	uint64_t list = rig_pages(&rig, 1);

	for (unsigned int i = 1; i < 4; i++)
		((uint64_t *)rig_memory(&rig, list))[i - 1] = data + i * UINT64_C(4096);
	memset(rig_memory(&rig, data), 0xee, 4 * PAGE);
	assert_int_equal(rw(NVME_READ, 0, 32, data, list), NVME_SUCCESS);
	for (unsigned int i = 0; i < 32; i++) {
		if (i < first || i >= first + blocks)
			rig_expect(&rig, data + i * BLOCK, BLOCK, 5 + i * BLOCK);
		else
			for (unsigned int j = 0; j < BLOCK; j++)
				assert_int_equal(bytes[i * BLOCK + j], 0);
	}
}

static void write_pattern(uint64_t data)
{
	uint64_t list = rig_pages(&rig, 1);

	for (unsigned int i = 1; i < 4; i++)
		((uint64_t *)rig_memory(&rig, list))[i - 1] = data + i * UINT64_C(4096);
	rig_fill(&rig, data, 4 * PAGE, 5);
	assert_int_equal(rw(NVME_WRITE, 0, 32, data, list), NVME_SUCCESS);
	expect_hole(data, 0, 0);
}

static void zeroes_and_holes(void **state)
{
	uint64_t data = rig_pages(&rig, 4), list = rig_pages(&rig, 1);
	struct nvme_range *ranges = rig_memory(&rig, list);
	struct nvme_command command = {.opcode = NVME_DATASET, .nsid = 1, .prp1 = list, .cdw11 = NVME_DATASET_DEALLOCATE};

	(void)state;
	write_pattern(data);
	assert_int_equal(rw(NVME_WRITE_ZEROES, 3, 21, 0, 0), NVME_SUCCESS);
	expect_hole(data, 3, 21);
	write_pattern(data);
	ranges[0] = (struct nvme_range){.first = 2, .blocks = 9};
	ranges[1] = (struct nvme_range){.first = BLOCKS + 5}; /* empty */
	ranges[2] = (struct nvme_range){.first = 11, .blocks = 15};
	command.cdw10 = 2;
	assert_int_equal(rig_io(&rig, command), NVME_SUCCESS);
	expect_hole(data, 2, 24);
	/* One of them cannot be: nothing is done. */
	write_pattern(data);
	ranges[1] = (struct nvme_range){.first = BLOCKS - 1, .blocks = 2};
	assert_int_equal(rig_io(&rig, command), NVME_LBA_RANGE);
	ranges[1] = (struct nvme_range){.first = UINT64_MAX, .blocks = 2};
	assert_int_equal(rig_io(&rig, command), NVME_LBA_RANGE);
	command.prp1 = NOWHERE;
	assert_int_equal(rig_io(&rig, command), NVME_DATA_TRANSFER);
	command.prp1 = list;
	command.cdw10 = 0;
	command.cdw11 = 3; /* advice */
	assert_int_equal(rig_io(&rig, command), NVME_SUCCESS);
	expect_hole(data, 0, 0);
}

static void compares(void **state)
{
	uint64_t data = rig_pages(&rig, 4);

	(void)state;
	write_pattern(data);
	assert_int_equal(rw(NVME_COMPARE, 8, 8, data + PAGE, 0), NVME_SUCCESS);
	assert_int_equal(rw(NVME_COMPARE, 4, 9, data + 2048, data + PAGE), NVME_SUCCESS);
	((uint8_t *)rig_memory(&rig, data))[PAGE + 511] ^= 1;
	assert_int_equal(rw(NVME_COMPARE, 4, 9, data + 2048, data + PAGE), NVME_COMPARE_FAILURE);
	assert_int_equal(rw(NVME_COMPARE, 8, 8, data + PAGE, 0), NVME_COMPARE_FAILURE);
	assert_int_equal(rw(NVME_COMPARE, 8, 8, NOWHERE, 0), NVME_DATA_TRANSFER);
}

/* Completions fill their queue and wait until the host takes them; nothing is lost. */
static void a_full_completion_queue_waits(void **state)
{
	uint64_t page = rig_pages(&rig, 1);
	struct nvme_completion completion;
	uint16_t next;
	unsigned int seen = 0;

	(void)state;
	/* A submission queue of 16 for a completion queue of 4. */
	driver_queue_make(&rig, 2, 4);
	assert_int_equal(rig_admin(&rig, rig_create_cq(&rig, 2, 2), NULL), NVME_SUCCESS);
	driver_queue_make(&rig, 3, 16);
	assert_int_equal(rig_admin(&rig,
				   (struct nvme_command){.opcode = NVME_ADMIN_CREATE_SQ,
							 .prp1 = rig.queues[3].sq,
							 .cdw10 = 3 | 15 << 16,
							 .cdw11 = NVME_QUEUE_CONTIGUOUS | 2 << 16},
				   NULL),
			 NVME_SUCCESS);
	for (unsigned int round = 0; round < 5; round++) {
		next = rig.queues[3].next_cid;
		for (unsigned int i = 0; i < 15; i++)
			rig_queue(&rig, 3, rig_rw(NVME_READ, i, 1, page, 0));
		rig_ring(&rig, 3);
		for (unsigned int i = 0; i < 15; i++) {
			rig_run(&rig);
			completion = rig_wait(&rig, 2);
			assert_int_equal(completion.cid, (uint16_t)(next + i));
			assert_int_equal(completion.sq_id, 3);
			assert_int_equal(completion.status >> 1, NVME_SUCCESS);
			seen++;
		}
		rig_run(&rig);
		assert_false(rig_peek(&rig, 2, &completion));
	}
	assert_int_equal(seen, 75);
}

/* Random reads, writes, zeroes and holes, several at once, beside an array that has the same done to it. */
static void random_against_an_array(void **state)
{
	enum { DEPTH = 8, MOST = 40, PAGES = MOST * BLOCK / PAGE + 1 };
	static uint8_t expected[BLOCKS * BLOCK];
	uint64_t data[DEPTH], lists[DEPTH];
	uint32_t random = 12345;
	unsigned int rounds = scaled(300);

	(void)state;
	memset(expected, 0, sizeof(expected));
	for (unsigned int i = 0; i < DEPTH; i++) {
		data[i] = rig_pages(&rig, PAGES);
		lists[i] = rig_pages(&rig, 1);
		for (unsigned int j = 1; j < PAGES; j++)
			((uint64_t *)rig_memory(&rig, lists[i]))[j - 1] = data[i] + j * UINT64_C(4096);
	}
	assert_int_equal(rw(NVME_WRITE_ZEROES, 0, BLOCKS, 0, 0), NVME_SUCCESS);
	for (unsigned int round = 0; round < rounds; round++) {
		uint32_t opcode[DEPTH], first[DEPTH], count[DEPTH], base = rig.queues[1].next_cid;

		for (unsigned int i = 0; i < DEPTH; i++) {
			random = random * 1664525 + 1013904223;
			opcode[i] = random >> 30 == 3 ? NVME_WRITE_ZEROES : random >> 30 == 2 ? NVME_READ : NVME_WRITE;
			count[i] = (random >> 8) % MOST + 1;
			/* Each has its own part of the blocks: commands have no order. */
			first[i] = i * (BLOCKS / DEPTH) + (random >> 16) % (BLOCKS / DEPTH - MOST);
			if (opcode[i] == NVME_WRITE) {
				rig_fill(&rig, data[i], count[i] * BLOCK, random);
				memcpy(expected + first[i] * BLOCK, rig_memory(&rig, data[i]), count[i] * BLOCK);
			} else if (opcode[i] == NVME_WRITE_ZEROES) {
				memset(expected + first[i] * BLOCK, 0, count[i] * BLOCK);
			}
			rig_queue(&rig, 1,
				  rig_rw(opcode[i], first[i], count[i], data[i], count[i] <= 16 ? data[i] + PAGE : lists[i]));
		}
		rig_ring(&rig, 1);
		for (unsigned int i = 0; i < DEPTH; i++) {
			struct nvme_completion completion = rig_wait(&rig, 1);
			unsigned int which = (uint16_t)(completion.cid - base);

			assert_int_equal(completion.status >> 1, NVME_SUCCESS);
			assert_true(which < DEPTH);
			if (opcode[which] == NVME_READ)
				assert_memory_equal(rig_memory(&rig, data[which]), expected + first[which] * BLOCK,
						    count[which] * BLOCK);
			opcode[which] = 0; /* it comes once */
		}
	}
}

static void a_file_has_the_bytes(void **state)
{
	uint64_t data = rig_pages(&rig, 1);
	uint8_t bytes[PAGE];
	int fd = open(path, O_RDWR);
	struct stat status;

	(void)state;
	rig_fill(&rig, data, PAGE, 42);
	assert_int_equal(rw(NVME_WRITE, 16, 8, data, 0), NVME_SUCCESS);
	assert_int_equal(pread(fd, bytes, PAGE, 16 * BLOCK), PAGE);
	assert_memory_equal(bytes, rig_memory(&rig, data), PAGE);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(status.st_size, BLOCKS * BLOCK);
	bytes[7] ^= 0x55;
	assert_int_equal(pwrite(fd, bytes, PAGE, 24 * BLOCK), PAGE);
	assert_int_equal(rw(NVME_READ, 24, 8, data, 0), NVME_SUCCESS);
	assert_memory_equal(bytes, rig_memory(&rig, data), PAGE);
	/* A file that somebody has made shorter. */
	assert_int_equal(ftruncate(fd, 30 * BLOCK), 0);
	assert_int_equal(rw(NVME_READ, 24, 8, data, 0), NVME_READ_ERROR);
	assert_int_equal(rw(NVME_READ, 0, 8, data, 0), NVME_SUCCESS);
	assert_int_equal(ftruncate(fd, BLOCKS * BLOCK), 0);
	close(fd);
}

static void a_write_can_be_durable(void **state)
{
	uint64_t data = rig_pages(&rig, 1), back = rig_pages(&rig, 1);
	struct nvme_command command = rig_rw(NVME_WRITE, 0, 8, data, 0);

	(void)state;
	rig_fill(&rig, data, PAGE, 43);
	command.cdw12 |= NVME_FUA;
	assert_int_equal(rig_io(&rig, command), NVME_SUCCESS);
	command.cdw10 = 8;
	command.opcode = NVME_WRITE_ZEROES;
	assert_int_equal(rig_io(&rig, command), NVME_SUCCESS);
	/* Without a write cache all of them are. */
	command = (struct nvme_command){.opcode = NVME_ADMIN_SET_FEATURES, .cdw10 = NVME_FEATURE_CACHE};
	assert_int_equal(rig_admin(&rig, command, NULL), NVME_SUCCESS);
	assert_int_equal(rw(NVME_WRITE, 4, 4, data, 0), NVME_SUCCESS);
	assert_int_equal(rw(NVME_READ, 0, 8, back, 0), NVME_SUCCESS);
	rig_expect(&rig, back, 4 * BLOCK, 43);
	rig_expect(&rig, back + 4 * BLOCK, 4 * BLOCK, 43);
}

static void what_is_read_only_is_not_written(void **state)
{
	char options[100];
	uint64_t page;
	struct nvme_command command = {.opcode = NVME_DATASET, .nsid = 1, .cdw11 = NVME_DATASET_DEALLOCATE};

	(void)state;
	snprintf(options, sizeof(options), "ro,file=%s", path);
	open_with(options);
	page = command.prp1 = rig_pages(&rig, 1);
	assert_int_equal(rw(NVME_WRITE, 0, 1, page, 0), NVME_WRITE_PROTECTED);
	assert_int_equal(rw(NVME_WRITE_ZEROES, 0, 1, 0, 0), NVME_WRITE_PROTECTED);
	assert_int_equal(rig_io(&rig, command), NVME_WRITE_PROTECTED);
	assert_int_equal(rw(NVME_READ, 0, 1, page, 0), NVME_SUCCESS);
	assert_int_equal(rw(NVME_FLUSH, 0, 1, 0, 0), NVME_SUCCESS);
	rig_close(&rig);
}

static void blocks_may_be_larger(void **state)
{
	uint64_t data, back;

	(void)state;
	open_with("size=1025K,block=4K");
	data = rig_pages(&rig, 2);
	back = rig_pages(&rig, 2);
	rig_fill(&rig, data, 2 * PAGE, 8);
	assert_int_equal(rw(NVME_WRITE, 254, 2, data, data + PAGE), NVME_SUCCESS);
	assert_int_equal(rw(NVME_READ, 254, 2, back, back + PAGE), NVME_SUCCESS);
	rig_expect(&rig, back, 2 * PAGE, 8);
	assert_int_equal(rw(NVME_READ, 255, 2, back, back + PAGE), NVME_LBA_RANGE); /* the last KiB is no block */
	assert_int_equal(rw(NVME_READ, 0, 129, back, back), NVME_INVALID_FIELD);
	rig_close(&rig);
}

static void pages_may_be_larger(void **state)
{
	uint64_t data;

	(void)state;
	rig_open(&rig, "size=2M");
	rig.next_page = (rig.next_page + 0xffff) & ~UINT64_C(0xffff);
	rig.queues[0] = (struct driver_queue){.sq = rig_pages(&rig, 16), .cq = rig_pages(&rig, 16), .entries = 16, .phase = true};
	rig_set(&rig, NVME_AQA, 4, 15 | 15 << 16);
	rig_set(&rig, NVME_ASQ, 8, rig.queues[0].sq);
	rig_set(&rig, NVME_ACQ, 8, rig.queues[0].cq);
	rig_set(&rig, NVME_CC, 4, rig_cc | 4 << NVME_CC_MPS_SHIFT);
	rig_until(&rig, NVME_CSTS_RDY);
	rig.queues[1] = (struct driver_queue){.sq = rig_pages(&rig, 16), .cq = rig_pages(&rig, 16), .entries = 16, .phase = true};
	assert_int_equal(rig_admin(&rig, rig_create_cq(&rig, 1, 0), NULL), NVME_SUCCESS);
	assert_int_equal(rig_admin(&rig, rig_create_sq(&rig, 1), NULL), NVME_SUCCESS);
	data = rig_pages(&rig, 64);
	rig_fill(&rig, data, 64 * PAGE, 17);
	assert_int_equal(rw(NVME_WRITE, 0, 128, data, 0), NVME_SUCCESS); /* one page */
	assert_int_equal(rw(NVME_READ, 0, 128, data + 0x18000, data + 0x20000), NVME_SUCCESS); /* of two */
	rig_expect(&rig, data + 0x18000, 0x10000, 17);
	assert_int_equal(rw(NVME_READ, 0, 129, data, data + PAGE), NVME_PRP_OFFSET_INVALID);
	rig_close(&rig);
}

#define BOTH(test)                                                                                                                 \
	cmocka_unit_test_setup_teardown(test, open_memory, close_rig), cmocka_unit_test_setup_teardown(test, open_file, close_rig)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(data_comes_back),
		BOTH(prps),
		BOTH(bad_prps),
		BOTH(sgls),
		BOTH(bad_sgls),
		BOTH(bad_commands),
		BOTH(zeroes_and_holes),
		BOTH(compares),
		BOTH(a_full_completion_queue_waits),
		BOTH(random_against_an_array),
		cmocka_unit_test_setup_teardown(a_file_has_the_bytes, open_file, close_rig),
		BOTH(a_write_can_be_durable),
		cmocka_unit_test(what_is_read_only_is_not_written),
		cmocka_unit_test(blocks_may_be_larger),
		cmocka_unit_test(pages_may_be_larger),
	};
	int fd = mkstemp(path), failed;

	close(fd);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return failed;
}

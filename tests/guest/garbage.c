/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs inside a guest whose kernel leaves the VT-d alone: writes garbage into its registers, into the tables and queues that they
 *lead to, and into everything of two copiers, which do DMA meanwhile. Addresses are those of this program's own memory, or nowhere,
 *so that the guest lives to tell.
 *
 *	guest-garbage SEED COUNT
 */
#include "bar.h"
#include "vfio.h"

enum { REGION = 2 << 20, VTD_REGISTERS = 0x1000, CONFIG = 4096 };
enum { GCMD = 0x18, GSTS = 0x1c };

static uint64_t state;
static uint8_t *region; /* 2 MiB in a row, */
static uint64_t where; /* here */
static volatile uint8_t *vtd;
static struct copier copiers[2];
static int configs[3];

static uint64_t any(void)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return state >> 20 ^ state << 30;
}

static uint64_t below(uint64_t count)
{
	return any() % count;
}

static void find_region(void)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry;

	region = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	CHECK(region != MAP_FAILED && pagemap >= 0);
	CHECK(pread(pagemap, &entry, sizeof(entry), (off_t)((uintptr_t)region / PAGE * sizeof(entry))) == sizeof(entry));
	where = (entry & ((UINT64_C(1) << 55) - 1)) * PAGE;
	CHECK(where && !(where % REGION));
	close(pagemap);
}

/* A page of the region: few of them, so that they are met again. */
static uint64_t page(void)
{
	return where + below(24) * PAGE;
}

/* Beyond all memory, so that nothing of the guest's is hit by chance. */
static uint64_t nowhere(void)
{
	return any() | UINT64_C(1) << 45;
}

static uint64_t value(void)
{
	switch (below(4)) {
	case 0:
		return nowhere();
	case 1:
		return below(4) ? page() : below(4096);
	default:
		return page() | below(4096);
	}
}

static void write_vtd(unsigned int offset, unsigned int size, uint64_t data)
{
	if (size == 8)
		*(volatile uint64_t *)(vtd + offset) = data;
	else
		*(volatile uint32_t *)(vtd + offset) = (uint32_t)data;
}

static void registers(void)
{
	static const uint16_t known[] = {0x18, 0x20, 0x28, 0x34, 0x38, 0x80,  0x88,  0x90,  0x9c,  0xa0,
					 0xc0, 0xc8, 0xd0, 0xdc, 0xe0, 0x208, 0x20c, 0x500, 0x508, 0xe00};
	static const uint16_t messages[] = {0x40, 0xa8, 0xe8};
	unsigned int offset = below(8) ? known[below(sizeof(known) / sizeof(*known))] : (unsigned int)below(VTD_REGISTERS / 8) * 8;

	for (unsigned int i = 0; i < 3; i++)
		if (offset == messages[i]) {
			write_vtd(offset, 8, page());
			return;
		}
	write_vtd(offset, below(2) ? 8 : 4, value());
	if (!below(16))
		(void)*(volatile uint64_t *)(vtd + offset);
}

/* An entry, or a descriptor. */
static void memory_word(void)
{
	uint64_t *word = (uint64_t *)(void *)(region + (page() - where)) + (below(4) ? below(16) : below(512));

	switch (below(3)) {
	case 0:
		*word = value();
		break;
	case 1:
		*word = page() | 7 | below(16) << 3;
		break;
	default:
		*word = (1 + below(9)) | below(4) << 4 | below(256) << 16 | below(8) << 32;
		break;
	}
}

/* What a driver does: a root table, the queues, translation on or off. */
static void commands(void)
{
	write_vtd(0x20, 8, page() | below(4) << 10);
	write_vtd(0x90, 8, page() | below(8) | below(2) << 11);
	write_vtd(0x88, 8, below(512) * 16);
	write_vtd(GCMD, 4, (below(2) ? UINT32_C(1) << 30 : 0) | UINT32_C(1) << 26 | (below(4) ? UINT32_C(1) << 31 : 0));
	write_vtd(0x34, 4, UINT32_MAX);
}

static void dma(void)
{
	const struct copier *copier = &copiers[below(2)];
	static const uint32_t pasids[] = {0, PASID(0), PASID(1), PASID(2), PASID(0xfffff)};

	/* Without translation it would be the guest's memory, wherever that is. */
	set64(copier, SOURCE,
	      below(2) ? page() | below(PAGE) : below(8) << 12 | below(8) << 21 | below(8) << 30 | UINT64_C(1) << 44);
	set64(copier, DESTINATION, below(4) ? page() | below(PAGE) : nowhere());
	set(copier, LENGTH, (uint32_t)below(2 * PAGE));
	set(copier, SOURCE_PASID, pasids[below(5)]);
	set(copier, DESTINATION_PASID, pasids[below(5)]);
	set(copier, REPEAT, (uint32_t)below(100));
	set(copier, START, 1);
}

/* Beyond the header, whose BARs are where they are. */
static void config(void)
{
	uint32_t word = (uint32_t)any();
	int fd = configs[below(3)];

	/* Not all of them have so much of it. */
	(void)!pwrite(fd, &word, below(2) ? 4 : 2, (off_t)(0x40 + below((CONFIG - 0x40) / 4) * 4));
}

int main(int argc, char **argv)
{
	unsigned long count;

	CHECK(argc == 3);
	setvbuf(stdout, NULL, _IOLBF, 0);
	state = strtoull(argv[1], NULL, 0);
	count = strtoul(argv[2], NULL, 0);
	find_region();
	vtd = map_bar("0000:00:10.0");
	configs[0] = open_config("0000:00:10.0");
	for (unsigned int i = 0; i < 2; i++) {
		snprintf(copiers[i].name, sizeof(copiers[i].name), "0000:%02u:00.0", i + 1);
		copiers[i].registers = map_bar(copiers[i].name);
		configs[1 + i] = open_config(copiers[i].name);
	}
	for (unsigned long i = 0; i < count; i++) {
		unsigned int what = (unsigned int)below(100);

		if (what < 40)
			memory_word();
		else if (what < 70)
			registers();
		else if (what < 80)
			commands();
		else if (what < 98)
			dma();
		else
			config();
	}
	(void)*(volatile uint32_t *)(vtd + GSTS); /* all of it has arrived */
	printf("%lu pieces of garbage\n", count);
	return 0;
}

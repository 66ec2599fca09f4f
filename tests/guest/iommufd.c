/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs inside a guest whose kernel has iommufd: a copier driven from user space through VFIO's devices: an IOAS for each of several
 * PASIDs, and page tables of this program's own in front of an IOAS (nested), alone and for a PASID.
 */
#include "abi/spec.h"
#include "vfio.h"

/* As of Linux 6.15; Debian 12's headers are older. */
#define BIND_IOMMUFD _IO(VFIO_TYPE, VFIO_BASE + 18)
#define ATTACH_PT _IO(VFIO_TYPE, VFIO_BASE + 19)
#define DETACH_PT _IO(VFIO_TYPE, VFIO_BASE + 20)

struct bind {
	uint32_t argsz, flags;
	int32_t iommufd;
	uint32_t out_devid;
};

/* With bit 0 of @flags: of a PASID. */
struct attach {
	uint32_t argsz, flags, pt_id, pasid;
};

struct detach {
	uint32_t argsz, flags, pasid;
};

enum { PAGES = 16, PASIDS = 4, FIRST = 5 };
#define IOVA UINT64_C(0x7000000000)
#define RAM UINT64_C(0x40000000) /* of the parent of nested ones */
#define VA UINT64_C(0x123456789000)

static int iommufd;
static uint32_t device_id;

static uint32_t ioas_alloc(void)
{
	struct abi_ioas_alloc alloc = {.size = sizeof(alloc)};

	CHECK(!ioctl(iommufd, ABI_COMMAND(ABI_IOAS_ALLOC), &alloc));
	return alloc.out_ioas_id;
}

static void ioas_map(uint32_t ioas, const uint8_t *bytes, uint64_t iova, uint64_t length, bool writable)
{
	struct abi_ioas_map map = {.size = sizeof(map),
				   .flags = 1 | 4 | (writable ? 2 : 0), /* fixed, readable */
				   .ioas_id = ioas,
				   .user_va = (uintptr_t)bytes,
				   .length = length,
				   .iova = iova};

	CHECK(!ioctl(iommufd, ABI_COMMAND(ABI_IOAS_MAP), &map));
}

static void ioas_unmap(uint32_t ioas, uint64_t iova, uint64_t length)
{
	struct abi_ioas_unmap unmap = {.size = sizeof(unmap), .ioas_id = ioas, .iova = iova, .length = length};

	CHECK(!ioctl(iommufd, ABI_COMMAND(ABI_IOAS_UNMAP), &unmap) && unmap.length == length);
}

static uint32_t hwpt_alloc(uint32_t parent, uint32_t flags, const struct abi_hwpt_vtd_s1 *first)
{
	struct abi_hwpt_alloc alloc = {.size = sizeof(alloc),
				       .flags = flags,
				       .dev_id = device_id,
				       .pt_id = parent,
				       .data_type = first ? ABI_HWPT_DATA_VTD_S1 : ABI_HWPT_DATA_NONE,
				       .data_len = first ? sizeof(*first) : 0,
				       .data_uptr = (uintptr_t)first};

	CHECK(!ioctl(iommufd, ABI_COMMAND(ABI_HWPT_ALLOC), &alloc));
	return alloc.out_hwpt_id;
}

static void destroy(uint32_t id)
{
	struct abi_destroy destroy = {.size = sizeof(destroy), .id = id};

	CHECK(!ioctl(iommufd, ABI_COMMAND(ABI_DESTROY), &destroy));
}

/* @pasid 0: none. */
static void attach(const struct copier *copier, uint32_t pasid, uint32_t id)
{
	struct attach attach = {.argsz = sizeof(attach), .flags = pasid ? 1 : 0, .pt_id = id, .pasid = pasid};

	CHECK(!ioctl(copier->fd, ATTACH_PT, &attach));
}

static void detach(const struct copier *copier, uint32_t pasid)
{
	struct detach detach = {.argsz = sizeof(detach), .flags = pasid ? 1 : 0, .pasid = pasid};

	CHECK(!ioctl(copier->fd, DETACH_PT, &detach));
}

static void open_copier(struct copier *copier)
{
	struct abi_hw_info_vtd vtd;
	struct abi_hw_info info = {.size = sizeof(info), .data_len = sizeof(vtd), .data_uptr = (uintptr_t)&vtd};
	struct bind bind = {.argsz = sizeof(bind)};
	char path[300];
	const struct dirent *entry;
	DIR *folder;

	write_file("/sys/module/iommufd/parameters/allow_unsafe_interrupts", "Y"); /* none are remapped */
	find_copiers(copier, 1);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", copier->name);
	folder = opendir(path);
	CHECK(folder);
	while ((entry = readdir(folder)) && entry->d_name[0] == '.')
		;
	CHECK(entry);
	snprintf(path, sizeof(path), "/dev/vfio/devices/%.200s", entry->d_name);
	closedir(folder);
	copier->fd = open(path, O_RDWR);
	iommufd = open("/dev/iommu", O_RDWR);
	CHECK(copier->fd >= 0 && iommufd >= 0);
	bind.iommufd = iommufd;
	CHECK(!ioctl(copier->fd, BIND_IOMMUFD, &bind));
	device_id = bind.out_devid;
	start_copier(copier);
	info.dev_id = device_id;
	CHECK(!ioctl(iommufd, ABI_COMMAND(ABI_GET_HW_INFO), &info));
	CHECK(info.data_type == ABI_HW_INFO_VTD && vtd.ecap_reg >> 26 & 1);
	printf("PASIDs of %u bits\n", info.out_max_pasid_log2);
}

/* An IOAS for each PASID, all with the same addresses: each sees its own memory only. */
static void pasids(const struct copier *copier)
{
	uint32_t ioas[PASIDS], hwpt[PASIDS]; /* 0: without a PASID */
	uint8_t *bytes[PASIDS], expected[PAGE];

	for (unsigned int i = 0; i < PASIDS; i++) {
		bytes[i] = memory(PAGES * PAGE);
		fill(bytes[i], PAGES * PAGE, i);
		ioas[i] = ioas_alloc();
		ioas_map(ioas[i], bytes[i], IOVA, PAGES * PAGE, true);
		hwpt[i] = hwpt_alloc(ioas[i], ABI_HWPT_PASID, NULL);
		attach(copier, i ? FIRST + i : 0, hwpt[i]);
	}
	for (unsigned int from = 0; from < PASIDS; from++)
		for (unsigned int to = 0; to < PASIDS; to++) {
			uint32_t source = from ? PASID(FIRST + from) : NO_PASID, destination = to ? PASID(FIRST + to) : NO_PASID;
			uint64_t at = (1 + from) * PAGE;

			if (from == to)
				continue;
			fill(expected, PAGE, from);
			CHECK(copy(copier, IOVA, source, IOVA + at, destination, PAGE) == DONE);
			CHECK(!memcmp(bytes[to] + at, expected, PAGE));
		}
	printf("each PASID has its own memory\n");

	CHECK(copy(copier, IOVA, PASID(FIRST), IOVA, NO_PASID, 8) == FAULT);
	/* Another IOAS for a PASID; a part that is taken away. */
	attach(copier, FIRST + 1, hwpt[2]);
	CHECK(copy(copier, IOVA, PASID(FIRST + 1), IOVA + 8 * PAGE, NO_PASID, PAGE) == DONE);
	CHECK(!memcmp(bytes[0] + 8 * PAGE, bytes[2], PAGE));
	ioas_unmap(ioas[2], IOVA, PAGES * PAGE);
	CHECK(copy(copier, IOVA, PASID(FIRST + 1), IOVA, NO_PASID, 8) == FAULT);
	CHECK(copy(copier, IOVA, PASID(FIRST + 2), IOVA, NO_PASID, 8) == FAULT);
	CHECK(copy(copier, IOVA, PASID(FIRST + 3), IOVA + 9 * PAGE, NO_PASID, PAGE) == DONE);
	CHECK(!memcmp(bytes[0] + 9 * PAGE, bytes[3], PAGE));
	detach(copier, FIRST + 3);
	CHECK(copy(copier, IOVA, PASID(FIRST + 3), IOVA, NO_PASID, 8) == FAULT);
	printf("what has been taken away is gone\n");

	detach(copier, FIRST + 1);
	detach(copier, FIRST + 2);
	detach(copier, 0);
	CHECK(copy(copier, IOVA, NO_PASID, IOVA + PAGE, NO_PASID, 8) == FAULT);
	for (unsigned int i = 0; i < PASIDS; i++) {
		destroy(hwpt[i]);
		destroy(ioas[i]);
	}
}

/* Page tables of four levels in memory that is at @RAM for the IOAS; the pages behind them are there, too. */
struct nested {
	uint8_t *bytes;
	uint64_t *leaf; /* of @VA */
	uint32_t parent, ioas, hwpt;
};

static uint64_t *word(const struct nested *nested, unsigned int page, uint64_t index)
{
	return (uint64_t *)(void *)(nested->bytes + page * PAGE) + index;
}

/* Pages 0 to 3 are tables, @VA leads to page 8, and the page behind it to 9. */
static void make_tables(struct nested *nested)
{
	for (unsigned int level = 3; level; level--)
		*word(nested, 3 - level, VA >> (12 + 9 * level) & 511) = (RAM + (4 - level) * PAGE) | 0x27;
	nested->leaf = word(nested, 3, VA >> 12 & 511);
	for (uint64_t i = 0; i < 2; i++)
		nested->leaf[i] = (RAM + (8 + i) * PAGE) | 0x7;
}

/* @pages from @address on; UINT64_MAX from 0: all. */
static void forget(const struct nested *nested, uint64_t address, uint64_t pages)
{
	struct abi_hwpt_vtd_s1_invalidate entry = {.addr = address, .npages = pages};
	struct abi_hwpt_invalidate request = {.size = sizeof(request),
					      .hwpt_id = nested->hwpt,
					      .data_uptr = (uintptr_t)&entry,
					      .data_type = ABI_HWPT_INVALIDATE_VTD_S1,
					      .entry_len = sizeof(entry),
					      .entry_num = 1};

	CHECK(!ioctl(iommufd, ABI_COMMAND(ABI_HWPT_INVALIDATE), &request) && request.entry_num == 1);
}

static void nested(const struct copier *copier, uint32_t pasid)
{
	struct nested nested = {.bytes = memory(PAGES * PAGE)};
	const struct abi_hwpt_vtd_s1 first = {.pgtbl_addr = RAM, .addr_width = 48};
	uint32_t by = pasid ? PASID(pasid) : NO_PASID, rid = 0;

	nested.ioas = ioas_alloc();
	ioas_map(nested.ioas, nested.bytes, RAM, PAGES * PAGE, true);
	nested.parent = hwpt_alloc(nested.ioas, ABI_HWPT_NEST_PARENT, NULL);
	make_tables(&nested);
	nested.hwpt = hwpt_alloc(nested.parent, pasid ? ABI_HWPT_PASID : 0, &first);
	if (pasid) {
		rid = hwpt_alloc(nested.ioas, ABI_HWPT_PASID, NULL);
		attach(copier, 0, rid);
	}
	attach(copier, pasid, nested.hwpt);
	fill(nested.bytes + 8 * PAGE, PAGE, 3);
	CHECK(copy(copier, VA + 16, by, VA + PAGE + 32, by, 1000) == DONE);
	CHECK(!memcmp(nested.bytes + 9 * PAGE + 32, nested.bytes + 8 * PAGE + 16, 1000));
	CHECK((nested.leaf[0] & 0x60) == 0x20 && (nested.leaf[1] & 0x60) == 0x60); /* accessed; and dirty */
	/* Without tables there is nothing, and what they lead to has to be in the IOAS. */
	CHECK(copy(copier, VA + 2 * PAGE, by, VA, by, 8) == FAULT);
	nested.leaf[2] = (RAM + PAGES * PAGE) | 0x7;
	CHECK(copy(copier, VA + 2 * PAGE, by, VA, by, 8) == FAULT);
	/* Other pages behind the same addresses, once that has been said. */
	nested.leaf[0] = (RAM + 10 * PAGE) | 0x5;
	forget(&nested, VA, 1);
	fill(nested.bytes + 10 * PAGE, PAGE, 4);
	CHECK(copy(copier, VA, by, VA + PAGE, by, PAGE) == DONE);
	CHECK(!memcmp(nested.bytes + 9 * PAGE, nested.bytes + 10 * PAGE, PAGE));
	CHECK(copy(copier, VA + PAGE, by, VA, by, 8) == FAULT); /* read-only */
	nested.leaf[0] = 0;
	forget(&nested, 0, UINT64_MAX);
	CHECK(copy(copier, VA, by, VA + PAGE, by, 8) == FAULT);
	nested.leaf[0] = (RAM + 10 * PAGE) | 0x7;
	CHECK(copy(copier, VA, by, VA + PAGE, by, 8) == DONE);
	/* What is taken out of the parent. */
	ioas_unmap(nested.ioas, RAM, PAGES * PAGE);
	CHECK(copy(copier, VA, by, VA + PAGE, by, 8) == FAULT);
	detach(copier, pasid);
	if (pasid) {
		detach(copier, 0);
		destroy(rid);
	}
	destroy(nested.hwpt);
	destroy(nested.parent);
	destroy(nested.ioas);
	printf("own page tables %s a PASID were walked\n", pasid ? "for" : "without");
}

int main(void)
{
	struct copier copier;

	setvbuf(stdout, NULL, _IOLBF, 0);
	open_copier(&copier);
	pasids(&copier);
	nested(&copier, 0);
	nested(&copier, FIRST);
	printf("passed\n");
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The devices and the command of the kernel's own selftests (tools/testing/selftests/iommu), which a kernel has if it is built with
 * CONFIG_IOMMUFD_TEST. They are a peer's rules: nothing else here knows them.
 */
#ifndef ABI_MOCK_H
#define ABI_MOCK_H

#include "abi/driver.h"

enum {
	MOCK_CACHES = 4,
	MOCK_PAGE_LG2 = 11,
	MOCK_HUGE_LG2 = 20,
	MOCK_PASID_BITS = 20,
	MOCK_PASID_FAILS = 1024, /* attaching something there a second time fails */
	MOCK_NO_DIRTY = 1, /* flags of a device */
	MOCK_PASID = 4,
};

#define MOCK_APERTURE_START (UINT64_C(1) << 24)
#define MOCK_APERTURE_LAST ((UINT64_C(1) << 31) - 1)

/* A device, in front of control's. */
struct mock_device {
	struct other_object object; /* the test's own handle */
	struct cds_list_head link;
	struct iommufd *iommufd;
	uint32_t id; /* control's device, used */
	uint32_t flags;
	uint32_t cache[MOCK_CACHES];
	bool fails; /* the next attachment to MOCK_PASID_FAILS */
};

/* An HWPT. */
struct mock_hwpt {
	struct cds_list_head link;
	uint32_t id;
	uint32_t viommu_id; /* nested: or 0 */
	uint32_t iotlb[MOCK_CACHES]; /* nested */
	bool nested, dirty, huge;
	uint64_t *dirty_bits; /* while tracking is on, of the first 2 GiB */
};

struct mock_viommu {
	struct cds_list_head link;
	uint32_t id;
	struct abi_mmap region;
	bool mapped; /* there is a region */
};

struct mock {
	pthread_mutex_t lock; /* before the iommufd's */
	struct cds_list_head devices, hwpts, viommus;
};

extern const struct abi_driver abi_mock;

struct mock *mock_create(void);
/* After the context has been closed. */
void mock_free(struct mock *mock);

/* Is it a device, HWPT or vIOMMU of the mock? */
bool mock_owns(struct mock *mock, uint32_t id);

/* IOMMU_TEST_CMD. */
int mock_ioctl(struct abi_call *call, unsigned int command);

/* Under the lock; or NULL. */
struct mock_device *mock_device(struct mock *mock, uint32_t id);
struct mock_hwpt *mock_hwpt(struct mock *mock, uint32_t id);
struct mock_viommu *mock_viommu(struct mock *mock, uint32_t id);

/* --- the command --- */

struct mock_command {
	uint32_t size;
	uint32_t op;
	uint32_t id;
	uint32_t reserved;
	union {
		struct {
			uint64_t start, length;
		} add_reserved;
		struct {
			uint32_t out_stdev_id, out_hwpt_id, out_idev_id, dev_flags;
		} device;
		struct {
			uint32_t pt_id;
		} replace;
		struct {
			uint64_t iova, length, uptr;
		} check_map;
		struct {
			uint64_t length, uptr;
			uint32_t refs;
		} check_refs;
		struct {
			uint32_t out_fd, flags;
		} create_access;
		struct {
			uint32_t pages_id;
		} destroy_pages;
		struct {
			uint32_t flags, out_pages_id;
			uint64_t iova, length, uptr;
		} access_pages;
		struct {
			uint64_t iova, length, uptr;
			uint32_t flags;
		} access_rw;
		struct {
			uint32_t limit;
		} memory_limit;
		struct {
			uint32_t ioas_id;
		} access_replace;
		struct {
			uint32_t flags;
			uint64_t iova, length, page_size, uptr, out_count;
		} dirty;
		struct {
			uint32_t index, value;
		} check_cache; /* of an HWPT or a device */
		struct {
			uint32_t dev_id, pasid, grpid, perm;
			uint64_t addr;
		} fault;
		struct {
			uint32_t dev_id;
		} vevent;
		struct {
			uint32_t pasid, pt_id; /* the HWPT, when it is checked */
		} pasid;
		struct {
			uint32_t length, open_flags;
		} dmabuf_get;
		struct {
			int32_t fd;
			uint32_t revoked;
		} dmabuf_revoke;
	};
	uint32_t last;
};

_Static_assert(sizeof(struct mock_command) == 72 && offsetof(struct mock_command, last) == 64, "the tests'");

/* Handlers of its operations (mock_access.c). */
int mock_create_access(struct abi_call *call, struct mock_command *command);
int mock_destroy_pages(struct abi_call *call, struct mock_command *command);
int mock_access_pages(struct abi_call *call, struct mock_command *command);
int mock_access_rw(struct abi_call *call, struct mock_command *command);
int mock_access_replace(struct abi_call *call, struct mock_command *command);
int mock_dmabuf_get(struct abi_call *call, struct mock_command *command);
int mock_dmabuf_revoke(struct abi_call *call, struct mock_command *command);

/* Are bytes of the space, every 2 KiB, what the caller has at @uptr? -EINVAL, -EFAULT. */
int mock_check_map(struct abi_call *call, struct space *space, uint64_t iova, uint64_t length, uint64_t uptr);

/* Of the dirty bits (mock_driver.c). */
int mock_set_dirty(struct abi_call *call, struct mock_command *command);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Nested HWPTs as commands make them: of each architecture, on a device and on a PASID; faults; and uiommu's own commands. */
#include "abi_guest.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>

/* What a device does through the guest's page, which is moved. @forget: makes it known. */
static void use(struct guest *guest, uint32_t pasid, void (*forget)(uint32_t id), uint32_t id)
{
	uint64_t first = page_new(), second = page_new(), value = 0x1122334455667788, back = 0;

	*guest->leaf = first | guest->page_bits;
	assert_int_equal(uiommu_dma_write(w.device, pasid, VA + 16, &value, 8, NULL), 0);
	assert_int_equal(at(first)[2], value);
	*guest->leaf = second | guest->page_bits;
	at(second)[2] = 99;
	forget(id);
	assert_int_equal(uiommu_dma_read(w.device, pasid, VA + 16, &back, 8, NULL), 0);
	assert_int_equal(back, 99);
	*guest->leaf = 0;
	forget(id);
	assert_int_equal(uiommu_dma_read(w.device, pasid, VA + 16, &back, 8, NULL), -EFAULT);
}

static void forget_vtd(uint32_t id)
{
	const struct abi_hwpt_vtd_s1_invalidate entry = {.addr = VA, .npages = 1, .flags = ABI_VTD_INV_LEAF};
	uint32_t count = 1;

	assert_int_equal(invalidate(id, ABI_HWPT_INVALIDATE_VTD_S1, &entry, sizeof(entry), &count), 0);
	assert_int_equal(count, 1);
}

static void forget_own(uint32_t id)
{
	const struct uiommu_abi_invalidate entry = {.npages = UINT64_MAX};
	uint32_t count = 1;

	assert_int_equal(invalidate(id, UIOMMU_ABI_INVALIDATE, &entry, sizeof(entry), &count), 0);
	assert_int_equal(count, 1);
}

/* On the device and, made for that, on a PASID. */
static void both(struct guest *guest, uint32_t pt_id, void (*forget)(uint32_t id), uint32_t forget_id)
{
	uint32_t id;

	assert_int_equal(alloc(guest, pt_id, 0, 0, &id), 0);
	assert_int_equal(uiommu_attach(w.context, w.device_id, UIOMMU_NO_PASID, id), 0);
	use(guest, UIOMMU_NO_PASID, forget, forget_id ? forget_id : id);
	assert_int_equal(abi_destroy_object(w.fd, id), -EBUSY);
	assert_int_equal(uiommu_attach(w.context, w.device_id, PASID, id), -EINVAL);
	/* As VFIO's second attach does. */
	assert_int_equal(uiommu_replace(w.context, w.device_id, UIOMMU_NO_PASID, w.parent), 0);
	assert_int_equal(uiommu_replace(w.context, w.device_id, UIOMMU_NO_PASID, id), 0);
	use(guest, UIOMMU_NO_PASID, forget, forget_id ? forget_id : id);
	assert_int_equal(uiommu_detach(w.context, w.device_id, UIOMMU_NO_PASID), 0);
	assert_int_equal(abi_destroy_object(w.fd, id), 0);
	assert_int_equal(alloc(guest, pt_id, ABI_HWPT_PASID, 0, &id), 0);
	assert_int_equal(uiommu_attach(w.context, w.device_id, PASID, id), 0);
	use(guest, PASID, forget, forget_id ? forget_id : id);
	assert_int_equal(uiommu_detach(w.context, w.device_id, PASID), 0);
	assert_int_equal(abi_destroy_object(w.fd, id), 0);
}

static void vtd(void **state)
{
	struct guest guest = vtd_guest(), bad = guest;
	uint32_t id;

	(void)state;
	bad.data[2] = 39;
	assert_int_equal(alloc(&bad, w.parent, 0, 0, &id), -EINVAL);
	bad = guest;
	bad.data[0] = 8;
	assert_int_equal(alloc(&bad, w.parent, 0, 0, &id), -EOPNOTSUPP);
	bad = guest;
	bad.length--;
	assert_int_equal(alloc(&bad, w.parent, 0, 0, &id), -EINVAL);
	bad = guest;
	bad.type = 77;
	assert_int_equal(alloc(&bad, w.parent, 0, 0, &id), -EOPNOTSUPP);
	both(&guest, w.parent, forget_vtd, 0);
}

static void amd(void **state)
{
	struct guest guest = amd_guest(), bad = guest;
	uint32_t id;

	(void)state;
	bad.data[0] |= UINT64_C(4) << 9; /* host tables of its own */
	assert_int_equal(alloc(&bad, w.parent, 0, 0, &id), -EINVAL);
	both(&guest, w.parent, forget_own, 0);
}

/* By address and ASID; the CD's has 7. */
static void forget_arm(uint32_t viommu)
{
	assert_int_equal(command(viommu, 0x12 | UINT64_C(7) << 48, VA), 0);
}

static void forget_arm_all(uint32_t viommu)
{
	assert_int_equal(command(viommu, 0x10, 0), 0);
}

static void arm(void **state)
{
	struct guest guest = arm_guest(), other = arm_guest(), bad = guest;
	uint32_t viommu = viommu_make(), vdevice, id;
	uint64_t *cd = at(guest.data[0] & ~UINT64_C(0xfff)), page = page_new(), value;

	(void)state;
	bad.data[0] |= 2 << 1; /* a stage 2 of its own */
	assert_int_equal(alloc(&bad, viommu, 0, 0, &id), -EIO);
	assert_int_equal(command(viommu, 0x05 | (uint64_t)VIRT_ID << 32, 0), -EIO); /* no such device */
	assert_int_equal(command(viommu, 0x04, 0), -EIO); /* the whole stream table is nobody's */
	assert_int_equal(vdevice_make(viommu, VIRT_ID, &vdevice), 0);
	assert_int_equal(vdevice_make(viommu, VIRT_ID + 1, &id), -EEXIST);
	both(&guest, viommu, forget_arm, viommu);
	both(&guest, viommu, forget_arm_all, viommu);
	/* Another CD is another page table, once the device is told. */
	*other.leaf = page | other.page_bits;
	at(page)[0] = 4711;
	assert_int_equal(alloc(&guest, viommu, 0, 0, &id), 0);
	assert_int_equal(uiommu_attach(w.context, w.device_id, UIOMMU_NO_PASID, id), 0);
	assert_int_equal(uiommu_dma_read(w.device, UIOMMU_NO_PASID, VA, &value, 8, NULL), -EFAULT);
	cd[1] = at(other.data[0] & ~UINT64_C(0xfff))[1];
	assert_int_equal(command(viommu, 0x05 | (uint64_t)VIRT_ID << 32, 0), 0);
	assert_int_equal(uiommu_dma_read(w.device, UIOMMU_NO_PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(value, 4711);
	assert_int_equal(abi_destroy_object(w.fd, viommu), -EBUSY);
	assert_int_equal(uiommu_detach(w.context, w.device_id, UIOMMU_NO_PASID), 0);
	assert_int_equal(abi_destroy_object(w.fd, id), 0);
	assert_int_equal(abi_destroy_object(w.fd, vdevice), 0);
	assert_int_equal(abi_destroy_object(w.fd, viommu), 0);
}

/* --- replacing --- */

struct reader {
	uint32_t pasid;
	bool stop;
	unsigned int failures, reads, values[4];
};

static void *read_on(void *opaque)
{
	struct reader *reader = opaque;

	do {
		uint64_t value = 0;

		if (uiommu_dma_read(w.device, reader->pasid, VA, &value, 8, NULL) || !value || value > 3)
			reader->failures++;
		else
			reader->values[value]++;
		__atomic_add_fetch(&reader->reads, 1, __ATOMIC_RELAXED);
	} while (!__atomic_load_n(&reader->stop, __ATOMIC_RELAXED));
	return NULL;
}

/* The page at VA has @value. */
static void give(const struct guest *guest, uint64_t value)
{
	uint64_t page = page_new();

	*guest->leaf = page | guest->page_bits;
	at(page)[0] = value;
}

/* Whole tables by each other, by the parent, and back: a device that reads meanwhile meets one or the other. */
static void replaced_in_one_step(void **state)
{
	struct guest guests[] = {arm_guest(), amd_guest()};
	struct abi_ioas_map map = {.size = sizeof(map), .flags = 7, .ioas_id = w.ioas, .length = PAGE, .iova = VA};
	struct reader reader = {.pasid = UIOMMU_NO_PASID};
	uint64_t page = page_new(), value;
	uint32_t ids[3] = {[2] = w.parent};
	pthread_t thread;

	(void)state;
	map.user_va = (uint64_t)(uintptr_t)at(page);
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_IOAS_MAP), &map), 0);
	at(page)[0] = 3;
	for (unsigned int i = 0; i < 2; i++) {
		give(&guests[i], i + 1);
		assert_int_equal(alloc(&guests[i], w.parent, 0, 0, &ids[i]), 0);
	}
	assert_int_equal(uiommu_attach(w.context, w.device_id, UIOMMU_NO_PASID, ids[0]), 0);
	assert_int_equal(pthread_create(&thread, NULL, read_on, &reader), 0);
	for (unsigned int i = 1; i < scaled(300); i++) {
		unsigned int turn = i % 5, to = turn < 3 ? turn : 4 - turn, before;

		assert_int_equal(uiommu_replace(w.context, w.device_id, UIOMMU_NO_PASID, ids[to]), 0);
		assert_int_equal(uiommu_dma_read(w.device, UIOMMU_NO_PASID, VA, &value, 8, NULL), 0);
		assert_int_equal(value, to + 1);
		/* It has seen this one. */
		before = __atomic_load_n(&reader.reads, __ATOMIC_RELAXED);
		while (__atomic_load_n(&reader.reads, __ATOMIC_RELAXED) < before + 2)
			sched_yield();
	}
	__atomic_store_n(&reader.stop, true, __ATOMIC_RELAXED);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(reader.failures, 0);
	assert_true(reader.values[1] && reader.values[2] && reader.values[3]);
}

/* Tables are for all PASIDs: they come where none is attached, and take with them what they say of them. */
static void tables_and_pasids(void **state)
{
	struct guest guest = arm_guest();
	struct abi_hwpt_alloc hwpt = {.size = sizeof(hwpt), .flags = ABI_HWPT_PASID, .dev_id = w.device_id, .pt_id = w.ioas};
	uint64_t *cds = at(guest.data[0] & ~UINT64_C(0xfff)), value;
	uint32_t id;

	(void)state;
	memcpy(cds + PASID * 8, cds, 64);
	guest.data[0] |= UINT64_C(4) << 59;
	give(&guest, 7);
	assert_int_equal(alloc(&guest, w.parent, 0, 0, &id), 0);
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_ALLOC), &hwpt), 0);
	assert_int_equal(uiommu_attach(w.context, w.device_id, UIOMMU_NO_PASID, hwpt.out_hwpt_id), 0);
	assert_int_equal(uiommu_attach(w.context, w.device_id, PASID, hwpt.out_hwpt_id), 0);
	assert_int_equal(uiommu_replace(w.context, w.device_id, UIOMMU_NO_PASID, id), -EINVAL);
	assert_int_equal(uiommu_dma_read(w.device, PASID, 0, &value, 8, NULL), 0);
	assert_int_equal(uiommu_detach(w.context, w.device_id, PASID), 0);
	assert_int_equal(uiommu_replace(w.context, w.device_id, UIOMMU_NO_PASID, id), 0);
	assert_int_equal(uiommu_dma_read(w.device, PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(value, 7);
	assert_int_equal(uiommu_replace(w.context, w.device_id, UIOMMU_NO_PASID, id), 0);
	assert_int_equal(uiommu_dma_read(w.device, PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(uiommu_replace(w.context, w.device_id, UIOMMU_NO_PASID, hwpt.out_hwpt_id), 0);
	assert_int_equal(uiommu_dma_read(w.device, PASID, VA, &value, 8, NULL), -EFAULT);
	assert_int_equal(uiommu_attach(w.context, w.device_id, PASID, hwpt.out_hwpt_id), 0);
	assert_int_equal(abi_destroy_object(w.fd, id), 0);
}

/* What can be said of an invalidation before anything is done, and how far it has come. */
static void invalidations(void **state)
{
	struct guest guest = vtd_guest();
	struct abi_hwpt_vtd_s1_invalidate entries[200];
	uint32_t id, count = 1;

	(void)state;
	for (unsigned int i = 0; i < 200; i++)
		entries[i] = (struct abi_hwpt_vtd_s1_invalidate){.addr = VA, .npages = 1};
	assert_int_equal(alloc(&guest, w.parent, 0, 0, &id), 0);
	assert_int_equal(invalidate(99, 0, entries, sizeof(*entries), &count), -ENOENT);
	assert_int_equal(count, 0);
	count = 1;
	assert_int_equal(invalidate(w.parent, 0, entries, sizeof(*entries), &count), -EINVAL);
	count = 1;
	assert_int_equal(invalidate(id, 5, entries, sizeof(*entries), &count), -EINVAL);
	count = 1;
	assert_int_equal(invalidate(id, 0, NULL, sizeof(*entries), &count), -EINVAL);
	count = 1;
	assert_int_equal(invalidate(id, 0, abi_hole(), sizeof(*entries), &count), -EFAULT);
	count = 1;
	assert_int_equal(invalidate(id, 0, entries, 8, &count), -EINVAL);
	count = (1 << 19) + 1;
	assert_int_equal(invalidate(id, 0, entries, sizeof(*entries), &count), -EINVAL);
	count = 0;
	assert_int_equal(invalidate(id, 5, NULL, 0, &count), -EINVAL);
	assert_int_equal(invalidate(id, 0, NULL, 0, &count), 0);
	count = 200;
	assert_int_equal(invalidate(id, 0, entries, sizeof(*entries), &count), 0);
	assert_int_equal(count, 200);
	entries[130].flags = 8;
	assert_int_equal(invalidate(id, 0, entries, sizeof(*entries), &count), -EOPNOTSUPP);
	assert_int_equal(count, 130);
	entries[70].addr++;
	count = 200;
	assert_int_equal(invalidate(id, 0, entries, sizeof(*entries), &count), -EINVAL);
	assert_int_equal(count, 70);
}

/* --- bits that are set, and what is out of date --- */

enum { ACCESSED = 0x20, DIRTY = 0x40 };

/* Accessed bits all the way down, dirty ones by writes. */
static void marks(void **state)
{
	struct guest guest = vtd_guest();
	uint64_t page = page_new(), root = guest.data[1], *top = at(root) + (VA >> 39 & 511), value = 5, back = 0;
	uint32_t id;

	(void)state;
	*guest.leaf = page | guest.page_bits;
	at(page)[0] = 77;
	assert_int_equal(alloc(&guest, w.parent, 0, 0, &id), 0);
	assert_int_equal(uiommu_attach(w.context, w.device_id, UIOMMU_NO_PASID, id), 0);
	assert_int_equal(*top & (ACCESSED | DIRTY), 0);
	assert_int_equal(uiommu_dma_read(w.device, UIOMMU_NO_PASID, VA, &back, 8, NULL), 0);
	assert_int_equal(back, 77);
	assert_int_equal(*guest.leaf, page | guest.page_bits | ACCESSED);
	assert_int_equal(*top & (ACCESSED | DIRTY), ACCESSED);
	assert_int_equal(uiommu_dma_write(w.device, UIOMMU_NO_PASID, VA, &value, 8, NULL), 0);
	assert_int_equal(at(page)[0], 5);
	assert_int_equal(*guest.leaf, page | guest.page_bits | ACCESSED | DIRTY);
	assert_int_equal(*top & (ACCESSED | DIRTY), ACCESSED);
	assert_int_equal(uiommu_detach(w.context, w.device_id, UIOMMU_NO_PASID), 0);
}

/* The parent lets the tables be read only: what would have to be marked is refused, and what is marked is used. */
static void no_marks(void **state)
{
	struct guest guest = vtd_guest();
	struct abi_ioas_unmap unmap = {.size = sizeof(unmap), .ioas_id = w.ioas, .length = RAM_BYTES};
	struct abi_ioas_map map = {.size = sizeof(map), .flags = 5, .ioas_id = w.ioas, .length = RAM_BYTES};
	struct uiommu_dma_result result;
	uint64_t page = page_new(), back = 0;
	uint32_t id;

	(void)state;
	*guest.leaf = page | guest.page_bits | ACCESSED;
	map.user_va = (uint64_t)(uintptr_t)w.ram;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_IOAS_UNMAP), &unmap), 0);
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_IOAS_MAP), &map), 0);
	assert_int_equal(alloc(&guest, w.parent, 0, 0, &id), 0);
	assert_int_equal(uiommu_attach(w.context, w.device_id, UIOMMU_NO_PASID, id), 0);
	assert_int_equal(uiommu_dma_read(w.device, UIOMMU_NO_PASID, VA, &back, 8, &result), -EFAULT);
	assert_int_equal(result.fault.reason, UIOMMU_FAULT_UPDATE);
	assert_true(result.fault.table);
	for (uint64_t gpa = 0; gpa < RAM_BYTES; gpa += 8)
		*at(gpa) |= *at(gpa) ? ACCESSED : 0;
	at(page)[0] = 78;
	assert_int_equal(uiommu_dma_read(w.device, UIOMMU_NO_PASID, VA, &back, 8, NULL), 0);
	assert_int_equal(back, 78);
	assert_int_equal(uiommu_detach(w.context, w.device_id, UIOMMU_NO_PASID), 0);
}

struct looker {
	uint64_t known; /* no access that begins now may see less */
	bool stop;
	unsigned int stale, reads;
};

static void *look_on(void *opaque)
{
	struct looker *looker = opaque;

	do {
		uint64_t value = 0, known = __atomic_load_n(&looker->known, __ATOMIC_ACQUIRE);

		if (uiommu_dma_read(w.device, UIOMMU_NO_PASID, VA, &value, 8, NULL) || value < known)
			looker->stale++;
		__atomic_add_fetch(&looker->reads, 1, __ATOMIC_RELAXED);
	} while (!__atomic_load_n(&looker->stop, __ATOMIC_RELAXED));
	return NULL;
}

/* When an invalidation has returned, what was read before it has no effect, whoever is fetching what. */
static void never_stale(void **state)
{
	struct guest guest = vtd_guest();
	struct looker looker = {.known = 1};
	uint64_t pages[] = {page_new(), page_new()};
	pthread_t threads[2];
	uint32_t id;

	(void)state;
	at(pages[1])[0] = 1;
	*guest.leaf = pages[1] | guest.page_bits;
	assert_int_equal(alloc(&guest, w.parent, 0, 0, &id), 0);
	assert_int_equal(uiommu_attach(w.context, w.device_id, UIOMMU_NO_PASID, id), 0);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, look_on, &looker), 0);
	for (uint64_t value = 2; value < scaled(2000); value++) {
		__atomic_store_n(at(pages[value % 2]), value, __ATOMIC_RELAXED);
		__atomic_store_n(guest.leaf, pages[value % 2] | guest.page_bits, __ATOMIC_RELEASE);
		forget_vtd(id);
		__atomic_store_n(&looker.known, value, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&looker.stop, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(looker.stale, 0);
	assert_true(looker.reads > 2);
	assert_int_equal(uiommu_detach(w.context, w.device_id, UIOMMU_NO_PASID), 0);
}

/* --- faults --- */

static uint16_t responses[4];
static unsigned int response_count;

static void response(void *opaque, const struct uiommu_page_response *message)
{
	(void)opaque;
	responses[response_count++] = message->response;
}

static void faults(void **state)
{
	const struct uiommu_pri_ops ops = {.response = response};
	const struct uiommu_pri_config config = {.size = sizeof(config), .allocation = 8, .ops = &ops};
	struct uiommu_page_request request = {
		.address = VA, .pasid = PASID, .group = 3, .access = UIOMMU_WRITE, .flags = UIOMMU_PAGE_LAST};
	struct abi_fault_alloc arguments = {.size = sizeof(arguments)};
	struct guest guest = vtd_guest();
	struct uiommu_pgfault fault;
	struct uiommu_pgresponse answer = {0};
	struct pollfd wait;
	uint32_t id;

	(void)state;
	response_count = 0;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_FAULT_QUEUE_ALLOC), &arguments), 0);
	wait = (struct pollfd){.fd = (int)arguments.out_fault_fd, .events = POLLIN | POLLOUT};
	assert_int_equal(alloc(&guest, w.parent, ABI_HWPT_FAULT_ID_VALID | ABI_HWPT_PASID, 99, &id), -ENOENT);
	assert_int_equal(alloc(&guest, w.parent, ABI_HWPT_FAULT_ID_VALID | ABI_HWPT_PASID, arguments.out_fault_id, &id), 0);
	assert_int_equal(uiommu_attach(w.context, w.device_id, PASID, id), 0);
	assert_int_equal(uiommu_pri_enable(w.device, &config), 0);
	assert_int_equal(poll(&wait, 1, 0), 1);
	assert_int_equal(wait.revents, POLLOUT);
	assert_int_equal(uiommu_abi_read(wait.fd, &fault, sizeof(fault), 0), 0);
	assert_int_equal(uiommu_pri_request(w.device, &request), 0);
	assert_int_equal(poll(&wait, 1, 0), 1);
	assert_int_equal(wait.revents, POLLIN | POLLOUT);
	assert_int_equal(uiommu_abi_read(wait.fd, &fault, sizeof(fault), 8), -ESPIPE);
	assert_int_equal(uiommu_abi_read(wait.fd, &fault, sizeof(fault) - 1, 0), -ESPIPE);
	assert_int_equal(uiommu_abi_read(wait.fd, abi_hole(), sizeof(fault), 0), -EFAULT);
	assert_int_equal(uiommu_abi_read(wait.fd, &fault, 0, 0), -EINVAL);
	assert_int_equal(uiommu_abi_read(wait.fd, &fault, sizeof(fault), 0), sizeof(fault));
	assert_int_equal(fault.flags, 3);
	assert_int_equal(fault.dev_id, w.device_id);
	assert_int_equal(fault.pasid, PASID);
	assert_int_equal(fault.grpid, 3);
	assert_int_equal(fault.perm, UIOMMU_WRITE);
	assert_int_equal(fault.addr, VA);
	assert_int_equal(fault.cookie, 1);
	answer.cookie = 77;
	assert_int_equal(uiommu_abi_write(wait.fd, &answer, sizeof(answer), 0), -EINVAL);
	answer.cookie = fault.cookie;
	answer.code = 2;
	assert_int_equal(uiommu_abi_write(wait.fd, &answer, sizeof(answer), 0), -EINVAL);
	answer.code = 0;
	assert_int_equal(uiommu_abi_write(wait.fd, abi_hole(), sizeof(answer), 0), -EFAULT);
	assert_int_equal(uiommu_abi_write(wait.fd, &answer, 4, 0), -ESPIPE);
	assert_int_equal(uiommu_abi_write(wait.fd, &answer, sizeof(answer), 0), sizeof(answer));
	assert_int_equal(response_count, 1);
	assert_int_equal(responses[0], UIOMMU_RESPONSE_SUCCESS);
	/* What waits when it is detached is answered. */
	assert_int_equal(uiommu_pri_request(w.device, &request), 0);
	assert_int_equal(uiommu_detach(w.context, w.device_id, PASID), 0);
	assert_int_equal(response_count, 2);
	assert_int_equal(responses[1], UIOMMU_RESPONSE_INVALID);
	assert_int_equal(uiommu_pri_disable(w.device), 0);
	assert_int_equal(abi_destroy_object(w.fd, id), 0);
	assert_int_equal(abi_destroy_object(w.fd, arguments.out_fault_id), -EBUSY);
	assert_int_equal(uiommu_abi_close(wait.fd), 0);
	assert_int_equal(abi_destroy_object(w.fd, arguments.out_fault_id), 0);
}

/* A file of events keeps its iommufd. */
static void event_files_outlive(void **state)
{
	struct abi_fault_alloc arguments = {.size = sizeof(arguments)};
	struct uiommu_pgfault fault;
	int fd = uiommu_abi_open("/dev/iommu", NULL);

	(void)state;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_FAULT_QUEUE_ALLOC), &arguments), 0);
	assert_int_equal(uiommu_abi_close(fd), 0);
	assert_int_equal(uiommu_abi_read((int)arguments.out_fault_fd, &fault, sizeof(fault), 0), 0);
	assert_int_equal(uiommu_abi_close((int)arguments.out_fault_fd), 0);
}

/* --- a device's registers, and its end --- */

static void hw_info(void **state)
{
	static const uint32_t sizes[] = {
		[ABI_HW_INFO_VTD] = sizeof(struct abi_hw_info_vtd),
		[ABI_HW_INFO_ARM_SMMUV3] = sizeof(struct abi_hw_info_arm_smmuv3),
		[ABI_HW_INFO_TEGRA241] = 0,
		[ABI_HW_INFO_AMD] = sizeof(struct abi_hw_info_amd),
	};
	uint8_t buffer[64];

	(void)state;
	for (uint32_t type = 0; type < ARRAY_SIZE(sizes); type++) {
		struct abi_hw_info arguments = {.size = sizeof(arguments),
						.flags = type ? ABI_HW_INFO_INPUT_TYPE : 0,
						.dev_id = w.device_id,
						.data_len = sizeof(buffer),
						.data_uptr = (uint64_t)(uintptr_t)buffer,
						.data_type = type};
		uint32_t size = sizes[type ? type : ABI_HW_INFO_VTD];

		memset(buffer, 0xff, sizeof(buffer));
		assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_GET_HW_INFO), &arguments), size ? 0 : -EOPNOTSUPP);
		if (!size)
			continue;
		assert_int_equal(arguments.data_len, size);
		assert_int_equal(arguments.data_type, type ? type : ABI_HW_INFO_VTD);
		assert_int_equal(arguments.out_max_pasid_log2, 20);
		assert_int_equal(arguments.out_capabilities, ABI_HW_CAP_DIRTY_TRACKING);
		for (uint32_t i = size; i < sizeof(buffer); i++)
			assert_int_equal(buffer[i], 0);
		arguments.data_uptr = 8;
		assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_GET_HW_INFO), &arguments), -EFAULT);
		arguments.dev_id = w.ioas;
		assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_GET_HW_INFO), &arguments), -ENOENT);
	}
}

/* The id of the vDEVICE of a device that has gone is nobody's for ever. */
static void tombstones(void **state)
{
	uint32_t viommu = viommu_make(), vdevice, next;

	(void)state;
	assert_int_equal(vdevice_make(99, VIRT_ID, &vdevice), -ENOENT);
	assert_int_equal(vdevice_make(viommu, VIRT_ID, &vdevice), 0);
	uiommu_device_put(w.device);
	assert_int_equal(uiommu_destroy(w.context, w.device_id), 0);
	w.device = NULL;
	assert_int_equal(abi_destroy_object(w.fd, vdevice), -ENOENT);
	for (unsigned int i = 0; i < 4; i++) {
		next = abi_ioas(w.fd);
		assert_int_not_equal(next, vdevice);
	}
	assert_int_equal(abi_destroy_object(w.fd, viommu), 0);
}

static void refusals(void **state)
{
	struct abi_viommu_alloc viommu = {.size = sizeof(viommu), .dev_id = w.device_id, .hwpt_id = w.parent};
	struct abi_veventq_alloc queue = {.size = sizeof(queue), .type = ABI_VEVENTQ_ARM_SMMUV3};
	struct abi_hw_queue_alloc hw_queue = {.size = sizeof(hw_queue), .type = 1};
	uint8_t buffer[64];

	(void)state;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VIOMMU_ALLOC), &viommu), -EOPNOTSUPP);
	viommu.type = ABI_VIOMMU_TEGRA241;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VIOMMU_ALLOC), &viommu), -EOPNOTSUPP);
	viommu.type = ABI_VIOMMU_ARM_SMMUV3;
	viommu.hwpt_id = 99;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VIOMMU_ALLOC), &viommu), -ENOENT);
	viommu.hwpt_id = w.ioas;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VIOMMU_ALLOC), &viommu), -ENOENT);
	viommu.dev_id = w.ioas;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VIOMMU_ALLOC), &viommu), -ENOENT);
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VEVENTQ_ALLOC), &queue), -EINVAL);
	queue.veventq_depth = 1;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VEVENTQ_ALLOC), &queue), -ENOENT);
	queue.viommu_id = viommu_make();
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_VEVENTQ_ALLOC), &queue), 0);
	assert_int_equal(uiommu_abi_read((int)queue.out_veventq_fd, buffer, 0, 0), -EINVAL);
	assert_int_equal(uiommu_abi_read((int)queue.out_veventq_fd, buffer, 64, 1), -ESPIPE);
	assert_int_equal(uiommu_abi_read((int)queue.out_veventq_fd, buffer, 64, 0), 0);
	assert_int_equal(uiommu_abi_write((int)queue.out_veventq_fd, buffer, 64, 0), -EINVAL);
	assert_int_equal(abi_destroy_object(w.fd, queue.out_veventq_id), -EBUSY);
	assert_int_equal(uiommu_abi_close((int)queue.out_veventq_fd), 0);
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HW_QUEUE_ALLOC), &hw_queue), -EINVAL);
	hw_queue.length = PAGE;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HW_QUEUE_ALLOC), &hw_queue), -ENOENT);
	hw_queue.viommu_id = queue.viommu_id;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HW_QUEUE_ALLOC), &hw_queue), -EOPNOTSUPP);
	assert_true(uiommu_abi_mmap(w.fd, 0, PAGE, PROT_READ, MAP_SHARED) == MAP_FAILED && errno == ENXIO);
	assert_true(uiommu_abi_mmap(w.fd, 0, 100, PROT_READ, MAP_SHARED_VALIDATE) == MAP_FAILED && errno == ENXIO);
	assert_true(uiommu_abi_mmap(w.fd, 0, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED) == MAP_FAILED && errno == EPERM);
	assert_true(uiommu_abi_mmap(w.fd, 0, PAGE, PROT_READ, MAP_PRIVATE) == MAP_FAILED && errno == EINVAL);
}

/* --- dirty bits, of a real device --- */

static void dirty(void **state)
{
	struct abi_hwpt_alloc hwpt = {
		.size = sizeof(hwpt), .flags = ABI_HWPT_DIRTY_TRACKING, .dev_id = w.device_id, .pt_id = w.ioas};
	struct abi_hwpt_set_dirty_tracking set = {.size = sizeof(set), .flags = 1};
	struct abi_hwpt_get_dirty_bitmap get = {.size = sizeof(get), .length = RAM_BYTES, .page_size = PAGE};
	uint8_t bitmap[1 + RAM_PAGES / 8] = {0}, byte = 1;

	(void)state;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_ALLOC), &hwpt), 0);
	get.hwpt_id = set.hwpt_id = hwpt.out_hwpt_id;
	get.data = (uint64_t)(uintptr_t)(bitmap + 1); /* any byte will do */
	assert_int_equal(uiommu_attach(w.context, w.device_id, UIOMMU_NO_PASID, hwpt.out_hwpt_id), 0);
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_SET_DIRTY_TRACKING), &set), 0);
	assert_int_equal(uiommu_dma_write(w.device, UIOMMU_NO_PASID, 5 * PAGE, &byte, 1, NULL), 0);
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_GET_DIRTY_BITMAP), &get), 0);
	assert_int_equal(bitmap[0], 0);
	assert_int_equal(bitmap[1], 1 << 5);
	bitmap[1] = 1; /* stays */
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_GET_DIRTY_BITMAP), &get), 0);
	assert_int_equal(bitmap[1], 1);
	get.page_size = 3 * PAGE;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_GET_DIRTY_BITMAP), &get), -EINVAL);
	get.page_size = PAGE;
	get.iova = UINT64_MAX;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_GET_DIRTY_BITMAP), &get), -EOVERFLOW);
	get.iova = 0;
	get.data = 8;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_GET_DIRTY_BITMAP), &get), -EFAULT);
	get.hwpt_id = w.ioas;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_GET_DIRTY_BITMAP), &get), -ENOENT);
	set.flags = 2;
	assert_int_equal(uiommu_ioctl(w.fd, ABI_COMMAND(ABI_HWPT_SET_DIRTY_TRACKING), &set), -EOPNOTSUPP);
}

/* --- uiommu's own --- */

static void extensions(void **state)
{
	struct uiommu_abi_version version = {.size = sizeof(version)};
	struct uiommu_abi_pasid_set_alloc set = {.size = sizeof(set), .quota = 1};
	struct uiommu_abi_pasid_alloc pasid = {.size = sizeof(pasid), .first = 100, .last = 200};
	struct uiommu_abi_pasid_free release = {.size = sizeof(release)};
	struct uiommu_bind_process payload = {.flags = UIOMMU_BIND_SELF, .access = UIOMMU_READ | UIOMMU_WRITE};
	struct uiommu_abi_bind bind = {.size = sizeof(bind),
				       .device_id = w.device_id,
				       .type = UIOMMU_BIND_PROCESS,
				       .data_len = sizeof(payload),
				       .data = (uint64_t)(uintptr_t)&payload};
	struct uiommu_abi_unbind unbind = {.size = sizeof(unbind), .device_id = w.device_id};
	uint64_t value = 0, mine = 12345;

	(void)state;
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_VERSION, &version), 0);
	assert_int_equal(version.out_version, 1);
	assert_int_equal(version.out_commands, 0x3f);
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_IOCTL(6), &version), -ENOTTY);
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_PASID_SET_ALLOC, &set), 0);
	pasid.set_id = release.set_id = set.out_set_id;
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_PASID_ALLOC, &pasid), 0);
	assert_int_equal(pasid.out_pasid, 100);
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_PASID_ALLOC, &pasid), -EDQUOT);
	bind.pasid = unbind.pasid = release.pasid = 100;
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_BIND, &bind), 0);
	assert_int_equal(uiommu_dma_read(w.device, 100, (uint64_t)(uintptr_t)&mine, &value, 8, NULL), 0);
	assert_int_equal(value, mine);
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_UNBIND, &unbind), 0);
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_UNBIND, &unbind), -ENOENT);
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_PASID_FREE, &release), 0);
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_PASID_FREE, &release), -ENOENT);
	/* Of another process, by a bundle, whose descriptors are numbers of the caller's. */
	payload.flags = 0;
	assert_int_equal(uiommu_process_open(getpid(), UIOMMU_READ | UIOMMU_WRITE, &payload.process), 0);
	bind.pasid = UIOMMU_NO_PASID;
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_BIND, &bind), 0);
	assert_int_equal(uiommu_dma_read(w.device, bind.pasid, (uint64_t)(uintptr_t)&mine, &value, 8, NULL), 0);
	unbind.pasid = bind.pasid;
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_UNBIND, &unbind), 0);
	uiommu_process_close(&payload.process);
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_BIND, &bind), -EBADF);
	payload.process.mem = w.fd;
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_BIND, &bind), -EBADF);
	bind.data = 8;
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_BIND, &bind), -EFAULT);
	bind.data_len = 4096;
	assert_int_equal(uiommu_ioctl(w.fd, UIOMMU_ABI_BIND, &bind), -E2BIG);
}

/* The same where tables are only known by address. */
#define BY_ADDRESS(name)                                                                                                           \
	{                                                                                                                          \
#name "_by_address", name, setup_by_address, teardown, NULL                                                        \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(vtd, setup, teardown),
		cmocka_unit_test_setup_teardown(amd, setup, teardown),
		cmocka_unit_test_setup_teardown(arm, setup, teardown),
		cmocka_unit_test_setup_teardown(replaced_in_one_step, setup, teardown),
		cmocka_unit_test_setup_teardown(tables_and_pasids, setup, teardown),
		BY_ADDRESS(vtd),
		BY_ADDRESS(amd),
		BY_ADDRESS(arm),
		BY_ADDRESS(replaced_in_one_step),
		BY_ADDRESS(tables_and_pasids),
		BY_ADDRESS(faults),
		BY_ADDRESS(marks),
		BY_ADDRESS(no_marks),
		BY_ADDRESS(never_stale),
		cmocka_unit_test_setup_teardown(marks, setup, teardown),
		cmocka_unit_test_setup_teardown(never_stale, setup, teardown),
		cmocka_unit_test_setup_teardown(invalidations, setup, teardown),
		cmocka_unit_test_setup_teardown(faults, setup, teardown),
		cmocka_unit_test_setup_teardown(event_files_outlive, setup, teardown),
		cmocka_unit_test_setup_teardown(hw_info, setup, teardown),
		cmocka_unit_test_setup_teardown(tombstones, setup, teardown),
		cmocka_unit_test_setup_teardown(refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(dirty, setup, teardown),
		cmocka_unit_test_setup_teardown(extensions, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

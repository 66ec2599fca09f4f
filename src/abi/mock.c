/* SPDX-License-Identifier: BSD-3-Clause */
/* The selftests' devices, and what the tests want to see of page tables. */
#include "abi/mock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "iommu/device.h"
#include "iommu/hwpt.h"
#include "iommu/viommu.h"
#include "memory/region.h"
#include "util/util.h"

enum { CACHE_DEFAULT = 0xbaddad, VEVENTQ_TYPE = (int)0xbeefbeef };

static const struct geometry geometry = {.aperture = {MOCK_APERTURE_START, MOCK_APERTURE_LAST}, .page_lg2 = MOCK_PAGE_LG2};

struct mock *mock_create(void)
{
	struct mock *mock = calloc(1, sizeof(*mock));

	if (!mock)
		return NULL;
	pthread_mutex_init(&mock->lock, NULL);
	CDS_INIT_LIST_HEAD(&mock->devices);
	CDS_INIT_LIST_HEAD(&mock->hwpts);
	CDS_INIT_LIST_HEAD(&mock->viommus);
	return mock;
}

struct mock_device *mock_device(struct mock *mock, uint32_t id)
{
	struct mock_device *device;

	cds_list_for_each_entry (device, &mock->devices, link)
		if (device->id == id)
			return device;
	return NULL;
}

/* By the test's own handle, for the length of a call. */
static struct mock_device *by_handle(struct abi_call *call, uint32_t id)
{
	struct object *object = object_get(call->context, id, UIOMMU_OBJECT_OTHER);

	/* There are no other ones. */
	return object ? container_of(object, struct mock_device, object.object) : NULL;
}

static void handle_put(struct mock_device *device)
{
	object_put(&device->object.object);
}

bool mock_owns(struct mock *mock, uint32_t id)
{
	bool found;

	pthread_mutex_lock(&mock->lock);
	found = mock_device(mock, id) || mock_hwpt(mock, id) || mock_viommu(mock, id);
	pthread_mutex_unlock(&mock->lock);
	return found;
}

const struct abi_driver *abi_driver_of(struct abi_call *call, uint32_t id)
{
	struct mock *mock = call->iommufd->mock;

	return mock && mock_owns(mock, id) ? &abi_mock : &abi_uiommu;
}

/* --- devices --- */

static void no_response(void *opaque, const struct uiommu_page_response *response)
{
	(void)opaque;
	(void)response;
}

static const struct uiommu_pri_ops pri_ops = {.response = no_response};

static struct device *control_device(struct abi_call *call, uint32_t id)
{
	struct object *object = object_get(call->context, id, UIOMMU_OBJECT_DEVICE);

	return object ? container_of(object, struct device, object) : NULL;
}

/* Everything of it ends: attachments, and control's device. */
static void device_ends(struct other_object *object)
{
	struct mock_device *device = container_of(object, struct mock_device, object);
	struct uiommu_context *context = object->object.context;
	struct mock *mock = device->iommufd->mock;
	struct uiommu_device *data = uiommu_device_get(context, device->id);
	const struct attach_table *table;
	uint32_t pasid = 0;

	pthread_mutex_lock(&mock->lock);
	cds_list_del(&device->link);
	pthread_mutex_unlock(&mock->lock);
	if (data) {
		uiommu_pri_disable(data);
		uiommu_detach(context, device->id, UIOMMU_NO_PASID);
		table = &container_of(data, struct device, data)->table;
		while ((pasid = attach_table_next(table, pasid + 1)))
			uiommu_detach(context, device->id, pasid);
		uiommu_device_put(data);
		uiommu_device_put(data); /* as it was got when it was made */
		uiommu_destroy(context, device->id);
	}
	free(device);
}

static int make_control_device(struct abi_call *call, uint32_t flags, uint32_t *id)
{
	static uint32_t number;
	const struct uiommu_pri_config pri = {.size = sizeof(pri), .allocation = 512, .ops = &pri_ops};
	struct uiommu_device_config config = {.size = sizeof(config), .pasid_bits = flags & MOCK_PASID ? MOCK_PASID_BITS : 0};
	char name[DEVICE_NAME_MAX];
	struct device *device;
	int error;

	config.rid = __atomic_fetch_add(&number, 1, __ATOMIC_RELAXED);
	snprintf(name, sizeof(name), "mock%u", config.rid);
	config.name = name;
	error = uiommu_device_alloc(call->context, &config, id);
	if (error)
		return error;
	device = control_device(call, *id);
	device->geometry = &geometry;
	error = uiommu_pri_enable(&device->data, &pri);
	if (!error)
		uiommu_device_get(call->context, *id);
	object_put(&device->object);
	if (error)
		uiommu_destroy(call->context, *id);
	return error;
}

static int make_device(struct abi_call *call, uint32_t flags, struct mock_device **out)
{
	struct mock *mock = call->iommufd->mock;
	struct mock_device *device = calloc(1, sizeof(*device));
	int error = device ? object_alloc(call->context, &device->object.object, UIOMMU_OBJECT_OTHER) : -ENOMEM;

	if (error) {
		free(device);
		return error;
	}
	error = make_control_device(call, flags, &device->id);
	if (error) {
		object_abort(&device->object.object);
		free(device);
		return error;
	}
	device->object.end = device_ends;
	device->iommufd = call->iommufd;
	device->flags = flags;
	for (unsigned int i = 0; i < MOCK_CACHES; i++)
		device->cache[i] = CACHE_DEFAULT;
	pthread_mutex_lock(&mock->lock);
	cds_list_add_tail(&device->link, &mock->devices);
	pthread_mutex_unlock(&mock->lock);
	object_finalise(&device->object.object);
	*out = device;
	return 0;
}

/* What the mock's own driver says of an attachment. */
static int check_attach(struct abi_call *call, const struct mock_device *device, uint32_t pt_id)
{
	struct mock *mock = call->iommufd->mock;
	const struct mock_hwpt *hwpt;
	bool refused;

	pthread_mutex_lock(&mock->lock);
	hwpt = mock_hwpt(mock, pt_id);
	refused = hwpt && hwpt->dirty && device->flags & MOCK_NO_DIRTY;
	pthread_mutex_unlock(&mock->lock);
	return refused ? -EINVAL : 0;
}

/* What is attached; 0: nothing. */
static uint32_t attached_to(struct abi_call *call, uint32_t device_id, uint32_t pasid)
{
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};

	return uiommu_attach_stats(call->context, device_id, pasid, &stats) ? 0 : stats.hwpt_id;
}

static int op_device(struct abi_call *call, struct mock_command *command)
{
	uint32_t flags = command->op == 12 ? command->device.dev_flags : 0;
	struct mock_device *device;
	int error;

	if (flags & ~(uint32_t)(MOCK_NO_DIRTY | MOCK_PASID))
		return -EINVAL;
	error = make_device(call, flags, &device);
	if (error)
		return error;
	call->made = device->object.object.id;
	error = check_attach(call, device, command->id);
	if (!error)
		error = uiommu_attach(call->context, device->id, UIOMMU_NO_PASID, command->id);
	if (error) {
		uiommu_destroy(call->context, call->made);
		return error;
	}
	command->device.out_stdev_id = call->made;
	command->device.out_idev_id = device->id;
	command->device.out_hwpt_id = attached_to(call, device->id, UIOMMU_NO_PASID);
	return 0;
}

static int op_replace(struct abi_call *call, struct mock_command *command)
{
	struct mock_device *device = by_handle(call, command->id);
	int error;

	if (!device)
		return -ENOENT;
	error = check_attach(call, device, command->replace.pt_id);
	if (!error)
		error = uiommu_replace(call->context, device->id, UIOMMU_NO_PASID, command->replace.pt_id);
	if (!error)
		command->replace.pt_id = attached_to(call, device->id, UIOMMU_NO_PASID);
	handle_put(device);
	return error;
}

/* --- PASIDs --- */

static int set_pasid(struct abi_call *call, struct mock_device *device, const struct mock_command *command, bool replace)
{
	uint32_t pasid = command->pasid.pasid, pt_id = command->pasid.pt_id;
	bool fails = pasid == MOCK_PASID_FAILS && device->fails;
	int error = check_attach(call, device, pt_id);

	if (error)
		return error;
	if (replace && !attached_to(call, device->id, pasid))
		return -EINVAL;
	if (!replace && attached_to(call, device->id, pasid))
		return -EBUSY;
	if (pasid == MOCK_PASID_FAILS)
		device->fails = !device->fails;
	if (fails)
		return -ENOMEM;
	error = replace ? uiommu_replace(call->context, device->id, pasid, pt_id)
			: uiommu_attach(call->context, device->id, pasid, pt_id);
	return error == -EOPNOTSUPP ? -EINVAL : error; /* it has no PASIDs */
}

static int op_pasid(struct abi_call *call, struct mock_command *command)
{
	struct mock_device *device = by_handle(call, command->id);
	int error;

	if (!device)
		return -ENOENT;
	switch (command->op) {
	case 18:
	case 19:
		error = set_pasid(call, device, command, command->op == 19);
		break;
	case 20:
		error = uiommu_detach(call->context, device->id, command->pasid.pasid);
		break;
	default:
		error = attached_to(call, device->id, command->pasid.pasid) == command->pasid.pt_id ? 0 : -EINVAL;
		break;
	}
	handle_put(device);
	return error;
}

/* --- what is mapped --- */

static int op_add_reserved(struct abi_call *call, struct mock_command *command)
{
	struct object *object = object_get(call->context, command->id, UIOMMU_OBJECT_IOAS);
	struct uiommu_range range = {.start = command->add_reserved.start};
	int error;

	if (!object)
		return -ENOENT;
	if (!command->add_reserved.length)
		error = -EINVAL;
	else if (__builtin_add_overflow(range.start, command->add_reserved.length - 1, &range.last))
		error = -EOVERFLOW;
	else
		error = ioas_reserve_for_ever(ioas_of(object), &range);
	object_put(object);
	return error;
}

/* Is what is mapped at @iova, of an area, the same as what the caller has at @uptr? */
static int check_backing(struct abi_call *call, const struct area *area, uint64_t iova, uint64_t uptr)
{
	struct abi_place place;
	int error = abi_memory_check(call->caller->memory, uptr, 1, UIOMMU_READ);

	if (error)
		return error;
	if (!area || !abi_region_place(area->region, (uint64_t)(uintptr_t)area->host + (iova - area->start), &place))
		return -EINVAL;
	return abi_place_is(&place, call->caller->memory, uptr) ? 0 : -EINVAL;
}

int mock_check_map(struct abi_call *call, struct space *space, uint64_t iova, uint64_t length, uint64_t uptr)
{
	int error = 0;

	for (uint64_t at = 0; at < length && !error; at += 1 << MOCK_PAGE_LG2) {
		pthread_mutex_lock(&space->lock);
		error = check_backing(call, areas_find(&space->areas, iova + at), iova + at, uptr + at);
		pthread_mutex_unlock(&space->lock);
	}
	return error;
}

static int op_check_map(struct abi_call *call, struct mock_command *command)
{
	const uint64_t bits = command->check_map.iova | command->check_map.length | command->check_map.uptr;
	struct object *object = object_get(call->context, command->id, UIOMMU_OBJECT_HWPT_PAGING);
	int error;

	if (!object)
		return -EINVAL;
	error = bits % (1 << MOCK_PAGE_LG2) ? -EINVAL
					    : mock_check_map(call, object_hwpt(object)->space, command->check_map.iova,
							     command->check_map.length, command->check_map.uptr);
	object_put(object);
	return error;
}

static int op_check_refs(struct abi_call *call, struct mock_command *command)
{
	uint64_t uptr = command->check_refs.uptr, length = command->check_refs.length;

	if ((uptr | length) % page_size())
		return -EINVAL;
	if (abi_memory_check(call->caller->memory, uptr, length, UIOMMU_READ))
		return -EFAULT;
	for (uint64_t at = 0; at < length; at += page_size())
		if (abi_pages_count(call->caller->memory, uptr + at) != command->check_refs.refs)
			return -EIO;
	return 0;
}

/* --- caches, faults, events --- */

static int op_check_cache(struct abi_call *call, struct mock_command *command)
{
	struct mock *mock = call->iommufd->mock;
	const uint32_t *cache = NULL;
	uint32_t index = command->check_cache.index;
	int error = -EINVAL;

	if (index >= MOCK_CACHES)
		return -EINVAL;
	pthread_mutex_lock(&mock->lock);
	if (command->op == 14) {
		const struct mock_hwpt *hwpt = mock_hwpt(mock, command->id);

		cache = hwpt && hwpt->nested ? hwpt->iotlb : NULL;
	} else {
		const struct mock_device *device = mock_device(mock, command->id);

		cache = device ? device->cache : NULL;
	}
	if (cache)
		error = cache[index] == command->check_cache.value ? 0 : -EINVAL;
	pthread_mutex_unlock(&mock->lock);
	return error;
}

/* A page request, to whatever the PASID is attached to, or else the device. */
static int op_fault(struct abi_call *call, struct mock_command *command)
{
	struct uiommu_device *device = uiommu_device_get(call->context, command->fault.dev_id);
	struct uiommu_page_request request = {
		.address = command->fault.addr & ~(uint64_t)4095,
		.pasid = command->fault.pasid,
		.group = (uint16_t)(command->fault.grpid % UIOMMU_PAGE_GROUPS),
		.access = command->fault.perm & (UIOMMU_READ | UIOMMU_WRITE | UIOMMU_EXEC),
		.flags = UIOMMU_PAGE_LAST,
	};

	if (!device)
		return -ENOENT;
	if (!attached_to(call, command->fault.dev_id, request.pasid))
		request.pasid = UIOMMU_NO_PASID;
	uiommu_pri_request(device, &request);
	uiommu_device_put(device);
	return 0;
}

static int op_vevent(struct abi_call *call, struct mock_command *command)
{
	struct mock *mock = call->iommufd->mock;
	uint32_t device_id = command->vevent.dev_id, viommu_id;
	struct mock_hwpt *hwpt;
	uint64_t virt_id = 0;

	pthread_mutex_lock(&mock->lock);
	hwpt = mock_hwpt(mock, attached_to(call, device_id, UIOMMU_NO_PASID));
	viommu_id = hwpt ? hwpt->viommu_id : 0;
	pthread_mutex_unlock(&mock->lock);
	if (!viommu_id || !viommu_virt_id(call->context, NULL, device_id, &virt_id) || !virt_id)
		return -ENOENT;
	return viommu_tell(call->context, device_id, (uint32_t)VEVENTQ_TYPE, &(uint32_t){(uint32_t)virt_id}, sizeof(uint32_t));
}

static int op_memory_limit(struct abi_call *call, struct mock_command *command)
{
	(void)call;
	return command->memory_limit.limit < 12 ? -EINVAL : 0;
}

/* --- the command --- */

static int (*const ops[])(struct abi_call *call, struct mock_command *command) = {
	[1] = op_add_reserved,
	[2] = op_device,
	[3] = op_check_map,
	[4] = op_check_refs,
	[5] = mock_create_access,
	[6] = mock_destroy_pages,
	[7] = mock_access_pages,
	[8] = mock_access_rw,
	[9] = op_memory_limit,
	[10] = op_replace,
	[11] = mock_access_replace,
	[12] = op_device,
	[13] = mock_set_dirty,
	[14] = op_check_cache,
	[15] = op_fault,
	[16] = op_check_cache,
	[17] = op_vevent,
	[18] = op_pasid,
	[19] = op_pasid,
	[20] = op_pasid,
	[21] = op_pasid,
	[22] = mock_dmabuf_get,
	[23] = mock_dmabuf_revoke,
};

static int handle(struct abi_call *call)
{
	struct mock_command *command = (void *)call->data;

	if (command->op >= ARRAY_SIZE(ops) || !ops[command->op])
		return -EOPNOTSUPP;
	return ops[command->op](call, command);
}

int mock_ioctl(struct abi_call *call, unsigned int given)
{
	static const struct abi_command test = {ABI_COMMAND(ABI_TEST), sizeof(struct mock_command),
						offsetof(struct mock_command, last) + sizeof(uint32_t), handle};

	return abi_command_run(&test, call, given);
}

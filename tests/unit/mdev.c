/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One accelerator, several VMs: each has a virtual device, vPASIDs of its own, and its own RAM behind them.
 *
 * A VM is a process in a VMM's place: it shares its RAM as a memfd, writes its page tables there, holds a connection, and can be
 * killed.
 */
#include "test.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

enum {
	PAGE = 4096,
	RAM_PAGES = 64,
	RAM_BYTES = RAM_PAGES * PAGE,
	VMS = 2,
	ENTRIES = 8,
	/* Guest-physical pages: tables from ROOT on, then what is mapped at VA, page by page. */
	ROOT = 1,
	SOURCE = 8,
	DESTINATION = 9,
	RECORDS = 10,
	V = 5, /* the vPASID that every VM uses */
};

#define VA UINT64_C(0x7f1234500000)
#define RECORD (UIOMMU_ACCEL_RECORD_VALID | UIOMMU_ACCEL_REQUEST_RECORD)

struct vm {
	pid_t pid;
	int connection, ram_fd;
	uint8_t *bytes;
	uint8_t mark; /* its source is full of these */
	uint32_t ioas, parent, hwpt, set, mdev;
	struct uiommu_queue *portal;
	unsigned int untold; /* submissions with a vPASID that stands for nothing */
	uint32_t last_mdev, last_vpasid;
};

static struct uiommu_context *context;
static uint32_t device_id, faults;
static struct uiommu_accel *accel;
static struct vm vms[VMS];

/* --- in the VM's process --- */

static void write_tables(uint8_t *ram)
{
	uint64_t table = ROOT, next = ROOT + 1;

	for (unsigned int shift = 39; shift > 12; shift -= 9) {
		((uint64_t *)(void *)(ram + table * PAGE))[VA >> shift & 511] = next * PAGE | 7;
		table = next++;
	}
	for (unsigned int i = 0; i < 3; i++)
		((uint64_t *)(void *)(ram + table * PAGE))[(VA >> 12 & 511) + i] = (uint64_t)(SOURCE + i) * PAGE | 7;
}

static void vm_main(int connection, int ram_fd, uint8_t mark)
{
	uint8_t *ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd, 0);
	char byte = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	write_tables(ram);
	memset(ram + SOURCE * PAGE, mark, PAGE);
	if (write(connection, &byte, 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* --- around it --- */

static void untranslated(void *opaque, uint32_t mdev_id, uint32_t vpasid)
{
	struct vm *vm = opaque;

	vm->untold++;
	vm->last_mdev = mdev_id;
	vm->last_vpasid = vpasid;
}

static void vm_process(struct vm *vm)
{
	int pair[2];
	char byte;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	vm->ram_fd = memfd_create("vm", MFD_CLOEXEC);
	assert_int_equal(ftruncate(vm->ram_fd, RAM_BYTES), 0);
	vm->bytes = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, vm->ram_fd, 0);
	vm->pid = fork();
	assert_true(vm->pid >= 0);
	if (!vm->pid) {
		close(pair[0]);
		vm_main(pair[1], vm->ram_fd, vm->mark);
	}
	close(pair[1]);
	vm->connection = pair[0];
	assert_int_equal(read(vm->connection, &byte, 1), 1);
}

static void vm_tables(struct vm *vm)
{
	struct uiommu_hwpt_alloc alloc = {.size = sizeof(alloc), .flags = UIOMMU_HWPT_NEST_PARENT};
	struct uiommu_hwpt_nested nested = {
		.size = sizeof(nested),
		.flags = UIOMMU_HWPT_PASID | UIOMMU_HWPT_FAULT,
		.fault_queue_id = faults,
		.first = {.format = UIOMMU_FORMAT_VTD_FIRST, .base = {ROOT * PAGE}, .levels = 4, .output_lg2 = 46, .flags = 3}};
	struct uiommu_ioas_map map = {
		.size = sizeof(map),
		.flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
		.source = UIOMMU_MAP_FILE,
		.fd = vm->ram_fd,
		.length = RAM_BYTES,
	};

	assert_int_equal(uiommu_ioas_alloc(context, &vm->ioas), 0);
	map.ioas_id = vm->ioas;
	assert_int_equal(uiommu_ioas_map(context, &map), 0);
	alloc.parent_id = vm->ioas;
	assert_int_equal(uiommu_hwpt_alloc(context, &alloc, &vm->parent), 0);
	nested.parent_id = vm->parent;
	assert_int_equal(uiommu_hwpt_alloc_nested(context, &nested, &vm->hwpt), 0);
}

static struct uiommu_queue *portal_of(const struct vm *vm, uint32_t flags, uint32_t vpasid)
{
	struct uiommu_queue_config config = {
		.size = sizeof(config), .flags = flags, .entries = ENTRIES, .pasid = vpasid, .mdev_id = vm->mdev};
	struct uiommu_queue *portal;

	assert_int_equal(uiommu_accel_queue(accel, &config, &portal), 0);
	return portal;
}

static void vm_start(struct vm *vm, uint8_t mark)
{
	struct uiommu_pasid_set_alloc set = {.size = sizeof(set), .quota = 4};
	struct uiommu_mdev_config mdev = {.size = sizeof(mdev), .device_id = device_id, .untranslated = untranslated, .opaque = vm};

	*vm = (struct vm){.mark = mark};
	vm_process(vm);
	vm_tables(vm);
	assert_int_equal(uiommu_pasid_set_alloc(context, &set, &vm->set), 0);
	mdev.set_id = vm->set;
	assert_int_equal(uiommu_mdev_alloc(context, &mdev, &vm->mdev), 0);
	vm->portal = portal_of(vm, UIOMMU_QUEUE_SHARED, 0);
}

static void vm_attach(const struct vm *vm)
{
	assert_int_equal(uiommu_attach(context, vm->mdev, V, vm->hwpt), 0);
}

static void vm_kill(struct vm *vm)
{
	struct pollfd hang_up = {.fd = vm->connection, .events = POLLRDHUP};

	kill(vm->pid, SIGKILL);
	assert_int_equal(poll(&hang_up, 1, -1), 1);
	waitpid(vm->pid, NULL, 0);
	vm->pid = 0;
}

/* Whatever its process has left is taken away; nothing refers to anything afterwards. */
static void vm_end(struct vm *vm)
{
	struct uiommu_pasid_set_info info = {.size = sizeof(info)};

	if (vm->pid)
		vm_kill(vm);
	assert_int_equal(uiommu_pasid_free_all(context, vm->set), 0);
	uiommu_queue_destroy(vm->portal);
	assert_int_equal(uiommu_destroy(context, vm->mdev), 0);
	assert_int_equal(uiommu_pasid_set_info(context, vm->set, &info), 0);
	assert_int_equal(info.count, 0);
	assert_int_equal(uiommu_destroy(context, vm->set), 0);
	assert_int_equal(uiommu_destroy(context, vm->hwpt), 0);
	assert_int_equal(uiommu_destroy(context, vm->parent), 0);
	assert_int_equal(uiommu_destroy(context, vm->ioas), 0);
	munmap(vm->bytes, RAM_BYTES);
	close(vm->ram_fd);
	close(vm->connection);
}

static int setup(void **state)
{
	struct uiommu_device_config config = {.size = sizeof(config), .rid = 1, .name = "accel", .pasid_bits = 20};

	(void)state;
	assert_int_equal(uiommu_open(NULL, &context), 0);
	assert_int_equal(uiommu_device_alloc(context, &config, &device_id), 0);
	assert_int_equal(uiommu_fault_queue_alloc(context, 64, &faults), 0);
	assert_int_equal(uiommu_accel_create(context, device_id, &accel), 0);
	for (unsigned int i = 0; i < VMS; i++)
		vm_start(&vms[i], (uint8_t)(0xa0 + i));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < VMS; i++)
		if (vms[i].mdev)
			vm_end(&vms[i]);
	uiommu_accel_destroy(accel);
	assert_int_equal(uiommu_object_count(context), 2); /* the device and the fault queue */
	assert_int_equal(uiommu_close(context), 0);
	return 0;
}

static struct uiommu_accel_record *record_of(const struct vm *vm)
{
	return (struct uiommu_accel_record *)(void *)(vm->bytes + RECORDS * PAGE);
}

static struct uiommu_accel_desc copy_of(uint32_t vpasid, uint32_t flags)
{
	return (struct uiommu_accel_desc){
		.pasid_priv = vpasid,
		.flags_opcode = UIOMMU_ACCEL_MEMMOVE << 24 | RECORD | flags,
		.completion_address = VA + 2 * PAGE,
		.source = VA,
		.destination = VA + PAGE,
		.transfer_size = PAGE,
	};
}

static void run(void)
{
	while (uiommu_accel_poll(accel, 100))
		;
}

/* Its destination is as @mark says, and the record, if @mark is not 0. */
static void has(const struct vm *vm, uint8_t mark)
{
	for (unsigned int i = 0; i < PAGE; i++)
		assert_int_equal(vm->bytes[DESTINATION * PAGE + i], mark);
	assert_int_equal(record_of(vm)->status, mark ? UIOMMU_ACCEL_SUCCESS : 0);
}

static void clear(struct vm *vm)
{
	memset(vm->bytes + DESTINATION * PAGE, 0, PAGE);
	memset(record_of(vm), 0, sizeof(*record_of(vm)));
}

static void copies(struct vm *vm)
{
	struct uiommu_accel_desc desc = copy_of(V, 0);

	clear(vm);
	assert_int_equal(uiommu_queue_submit(vm->portal, &desc), 0);
	run();
	has(vm, vm->mark);
	clear(vm);
}

static uint32_t stands_for(const struct vm *vm, uint32_t vpasid)
{
	struct uiommu_pasid_set *set = uiommu_pasid_set_get(context, vm->set);
	uint32_t pasid = uiommu_vpasid_find(set, vpasid);

	uiommu_pasid_set_put(set);
	return pasid;
}

/* --- the tests --- */

static void tables(void **state)
{
	const struct vm *vm = &vms[0];
	struct uiommu_pasid_set *own = uiommu_pasid_set_get(context, UIOMMU_PASID_SET_OWN);
	struct uiommu_pasid_set_info info = {.size = sizeof(info)};
	uint32_t first, second;

	(void)state;
	assert_int_equal(uiommu_pasid_alloc(context, vm->set, 100, 200, &first), 0);
	assert_int_equal(uiommu_pasid_alloc(context, vm->set, 100, 200, &second), 0);
	assert_int_equal(stands_for(vm, 7), UIOMMU_NO_PASID);
	assert_int_equal(uiommu_vpasid_map(context, vm->set, 0, first), -EINVAL);
	assert_int_equal(uiommu_vpasid_map(context, vm->set, UIOMMU_PASID_LAST + 1, first), -EINVAL);
	assert_int_equal(uiommu_vpasid_map(context, UIOMMU_PASID_SET_OWN, 7, first), -ENOENT);
	assert_int_equal(uiommu_vpasid_map(context, vms[1].set, 7, first), -ENOENT);
	assert_int_equal(uiommu_vpasid_map(context, vm->set, 7, 99), -ENOENT);
	assert_int_equal(uiommu_vpasid_map(context, vm->set, 7, first), 0);
	assert_int_equal(uiommu_vpasid_map(context, vm->set, 7, second), -EEXIST);
	assert_int_equal(uiommu_vpasid_map(context, vm->set, 8, first), -EBUSY);
	assert_int_equal(uiommu_vpasid_map(context, vm->set, UIOMMU_PASID_LAST, second), 0);
	assert_int_equal(stands_for(vm, 7), first);
	assert_int_equal(stands_for(vm, UIOMMU_PASID_LAST), second);
	assert_int_equal(stands_for(&vms[1], 7), UIOMMU_NO_PASID);
	assert_int_equal(stands_for(vm, UIOMMU_NO_PASID), UIOMMU_NO_PASID);
	assert_int_equal(uiommu_vpasid_find(own, 7), UIOMMU_NO_PASID);
	uiommu_pasid_set_put(own);
	assert_int_equal(uiommu_pasid_set_info(context, vm->set, &info), 0);
	assert_int_equal(info.subscriptions, 0);

	/* Who attaches it takes what it stands for. */
	assert_int_equal(uiommu_attach(context, vm->mdev, 7, vm->hwpt), 0);
	assert_int_equal(stands_for(vm, 7), first);
	assert_int_equal(uiommu_vpasid_unmap(context, vm->set, 7), -EBUSY);
	assert_int_equal(uiommu_detach(context, vm->mdev, 7), 0);
	assert_int_equal(stands_for(vm, 7), first);
	assert_int_equal(uiommu_vpasid_unmap(context, vm->set, 7), 0);
	assert_int_equal(uiommu_vpasid_unmap(context, vm->set, 7), -ENOENT);
	assert_int_equal(stands_for(vm, 7), UIOMMU_NO_PASID);

	/* A number that is freed stands for nothing. */
	assert_int_equal(uiommu_pasid_free(context, vm->set, second), 0);
	assert_int_equal(stands_for(vm, UIOMMU_PASID_LAST), UIOMMU_NO_PASID);
	assert_int_equal(uiommu_vpasid_map(context, vm->set, UIOMMU_PASID_LAST, first), 0);
}

static void devices(void **state)
{
	struct uiommu_device_config plain = {.size = sizeof(plain), .rid = 2, .name = "plain"};
	struct uiommu_mdev_config config = {.size = sizeof(config), .device_id = device_id, .set_id = vms[0].set};
	struct uiommu_queue_config queue = {.size = sizeof(queue), .entries = 8, .flags = UIOMMU_QUEUE_SHARED};
	struct uiommu_accel *other;
	struct uiommu_queue *none;
	uint32_t id, plain_id;

	(void)state;
	assert_int_equal(uiommu_object_type(context, vms[0].mdev), UIOMMU_OBJECT_MDEV);
	assert_int_equal(uiommu_device_alloc(context, &plain, &plain_id), 0);
	config.flags = 1;
	assert_int_equal(uiommu_mdev_alloc(context, &config, &id), -EOPNOTSUPP);
	config.flags = 0;
	config.set_id = UIOMMU_PASID_SET_OWN;
	assert_int_equal(uiommu_mdev_alloc(context, &config, &id), -EINVAL);
	config.set_id = device_id;
	assert_int_equal(uiommu_mdev_alloc(context, &config, &id), -ENOENT);
	config.set_id = vms[0].set;
	config.device_id = plain_id;
	assert_int_equal(uiommu_mdev_alloc(context, &config, &id), -EOPNOTSUPP);
	config.device_id = vms[0].mdev;
	assert_int_equal(uiommu_mdev_alloc(context, &config, &id), -ENOENT);

	assert_int_equal(uiommu_accel_create(context, plain_id, &other), 0);
	queue.mdev_id = vms[0].mdev;
	assert_int_equal(uiommu_accel_queue(other, &queue, &none), -EINVAL);
	uiommu_accel_destroy(other);
	assert_int_equal(uiommu_destroy(context, plain_id), 0);
	queue.flags = UIOMMU_QUEUE_SHARED | UIOMMU_QUEUE_HANDLES;
	assert_int_equal(uiommu_accel_queue(accel, &queue, &none), -EOPNOTSUPP);
	queue.flags = 0;
	assert_int_equal(uiommu_accel_queue(accel, &queue, &none), -EINVAL); /* dedicated, to PASID 0 */
	assert_int_equal(uiommu_destroy(context, vms[0].mdev), -EBUSY);
	assert_int_equal(uiommu_destroy(context, vms[0].set), -EBUSY);
	assert_int_equal(uiommu_destroy(context, device_id), -EBUSY);
}

/* One interface for both kinds of device. */
static void attaching(void **state)
{
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};
	const struct vm *vm = &vms[0];
	uint32_t pasid;

	(void)state;
	assert_int_equal(uiommu_attach(context, vm->mdev, 0, vm->hwpt), -EINVAL);
	assert_int_equal(uiommu_attach(context, vm->mdev, UIOMMU_PASID_LAST + 1, vm->hwpt), -EINVAL);
	assert_int_equal(uiommu_attach(context, vm->mdev, V, 12345), -ENOENT);
	assert_int_equal(stands_for(vm, V), UIOMMU_NO_PASID);
	assert_int_equal(uiommu_attach(context, vm->mdev, V, vm->parent), -EINVAL); /* not for PASIDs */
	assert_int_equal(stands_for(vm, V), UIOMMU_NO_PASID);
	assert_int_equal(uiommu_attach_stats(context, vm->mdev, V, &stats), -ENOENT);
	assert_int_equal(uiommu_replace(context, vm->mdev, V, vm->hwpt), -ENOENT);
	assert_int_equal(uiommu_detach(context, vm->mdev, V), 0);

	vm_attach(vm);
	pasid = stands_for(vm, V);
	assert_int_not_equal(pasid, UIOMMU_NO_PASID);
	assert_int_equal(uiommu_attach(context, vm->mdev, V, vm->hwpt), -EBUSY);
	assert_int_equal(stands_for(vm, V), pasid);
	assert_int_equal(uiommu_attach_stats(context, vm->mdev, V, &stats), 0);
	assert_int_equal(stats.hwpt_id, vm->hwpt);
	assert_int_equal(uiommu_attach_stats(context, device_id, pasid, &stats), 0);
	assert_int_equal(uiommu_replace(context, vm->mdev, V, vm->ioas), 0);
	assert_int_equal(uiommu_attach_stats(context, vm->mdev, V, &stats), 0);
	assert_int_not_equal(stats.hwpt_id, vm->hwpt);
	assert_int_equal(uiommu_detach(context, vm->mdev, V), 0);
	assert_int_equal(stands_for(vm, V), UIOMMU_NO_PASID);

	/* The set's quota is four. */
	for (uint32_t vpasid = 10; vpasid < 14; vpasid++)
		assert_int_equal(uiommu_attach(context, vm->mdev, vpasid, vm->hwpt), 0);
	assert_int_equal(uiommu_attach(context, vm->mdev, 14, vm->hwpt), -EDQUOT);
	assert_int_equal(stands_for(vm, 14), UIOMMU_NO_PASID);
}

static int vm_bind(const struct vm *vm, uint32_t vpasid, uint32_t flags)
{
	struct uiommu_bind_page_table table = {
		.format = UIOMMU_FORMAT_VTD_FIRST, .parent_id = vm->parent, .root = ROOT * PAGE, .address_width = 48};
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.flags = flags,
		.device_id = vm->mdev,
		.pasid = vpasid,
		.type = UIOMMU_BIND_PAGE_TABLE,
		.data_len = sizeof(table),
		.data = &table,
	};
	int error = uiommu_bind(context, &bind);

	if (!error)
		assert_int_equal(bind.pasid, vpasid);
	return error;
}

/* Binds take vPASIDs, too. */
static void binding(void **state)
{
	struct vm *vm = &vms[0];
	uint32_t pasid;

	(void)state;
	assert_int_equal(vm_bind(vm, UIOMMU_NO_PASID, 0), -EINVAL);
	assert_int_equal(vm_bind(vm, 0, 0), -EADDRNOTAVAIL);
	assert_int_equal(vm_bind(vm, UIOMMU_PASID_LAST + 1, 0), -ERANGE);
	assert_int_equal(vm_bind(vm, V, UIOMMU_BIND_RID), -EINVAL);
	assert_int_equal(vm_bind(vm, V, UIOMMU_BIND_VPASID), -EINVAL);
	assert_int_equal(vm_bind(vm, V, 0), 0);
	pasid = stands_for(vm, V);
	assert_int_not_equal(pasid, UIOMMU_NO_PASID);
	copies(vm);
	assert_int_equal(vm_bind(vm, V, 0), 0);
	assert_int_equal(uiommu_attach(context, vm->mdev, V, vm->hwpt), -EBUSY);
	assert_int_equal(uiommu_detach(context, vm->mdev, V), -EBUSY);
	assert_int_equal(vm_bind(vm, V + 1, 0), 0); /* a table may have several */
	assert_int_not_equal(stands_for(vm, V + 1), pasid);

	/* As often as it was bound. */
	assert_int_equal(uiommu_unbind(context, device_id, pasid), -ENOENT);
	assert_int_equal(uiommu_unbind(context, vm->mdev, V), 0);
	copies(vm);
	assert_int_equal(uiommu_unbind(context, vm->mdev, V), 0);
	assert_int_equal(stands_for(vm, V), UIOMMU_NO_PASID);
	assert_int_equal(uiommu_unbind(context, vm->mdev, V), 0);

	/* Freed while it is bound: a later unbind finds nothing. */
	assert_int_equal(uiommu_pasid_free(context, vm->set, stands_for(vm, V + 1)), 0);
	assert_int_equal(stands_for(vm, V + 1), UIOMMU_NO_PASID);
	assert_int_equal(uiommu_unbind(context, vm->mdev, V + 1), 0);

	/* Its requests without PASID. */
	assert_int_equal(vm_bind(vm, UIOMMU_NO_PASID, UIOMMU_BIND_RID), 0);
	assert_int_equal(uiommu_attach(context, vm->mdev, UIOMMU_NO_PASID, vm->hwpt), -EBUSY);
	assert_int_equal(uiommu_unbind(context, vm->mdev, UIOMMU_NO_PASID), 0);
}

/* The PASID that stands for the physical device's own requests is picked for nobody. */
static void not_the_devices_own(void **state)
{
	struct uiommu_device_config config = {.size = sizeof(config), .rid = 7, .name = "own", .pasid_bits = 2, .rid_pasid = 1};
	struct uiommu_mdev_config mdev = {.size = sizeof(mdev), .set_id = vms[0].set};
	const struct vm *vm = &vms[0];
	uint32_t id;

	(void)state;
	assert_int_equal(uiommu_device_alloc(context, &config, &mdev.device_id), 0);
	assert_int_equal(uiommu_mdev_alloc(context, &mdev, &id), 0);
	assert_int_equal(uiommu_attach(context, id, 10, vm->hwpt), 0);
	assert_int_equal(uiommu_attach(context, id, 11, vm->hwpt), 0);
	assert_int_equal(stands_for(vm, 10) + stands_for(vm, 11), 2 + 3);
	assert_int_equal(uiommu_attach(context, id, 12, vm->hwpt), -ENOSPC);
	assert_int_equal(uiommu_detach(context, id, 10), 0);
	assert_int_equal(uiommu_detach(context, id, 11), 0);
	assert_int_equal(uiommu_destroy(context, id), 0);
	assert_int_equal(uiommu_destroy(context, mdev.device_id), 0);
}

/* The same vPASID, the same addresses, and each in its own RAM. */
static void each_in_its_own(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < VMS; i++)
		vm_attach(&vms[i]);
	assert_int_not_equal(stands_for(&vms[0], V), stands_for(&vms[1], V));
	for (unsigned int i = 0; i < VMS; i++) {
		clear(&vms[!i]);
		copies(&vms[i]);
		has(&vms[!i], 0);
	}
}

static void what_stands_for_nothing(void **state)
{
	struct vm *vm = &vms[0];
	struct uiommu_accel_desc good = copy_of(V, 0), bad = copy_of(9, 0), foreign;
	struct uiommu_accel_error error;

	(void)state;
	vm_attach(vm);
	vm_attach(&vms[1]);
	foreign = copy_of(stands_for(&vms[1], V), 0);
	clear(vm);
	clear(&vms[1]);
	assert_int_equal(uiommu_queue_submit(vm->portal, &bad), -ENOENT);
	assert_int_equal(vm->untold, 1);
	assert_int_equal(vm->last_mdev, vm->mdev);
	assert_int_equal(vm->last_vpasid, 9);
	assert_int_equal(uiommu_queue_submit(vm->portal, &foreign), -ENOENT);
	assert_int_equal(vm->untold, 2);
	assert_int_equal(vms[1].untold, 0);

	/* "Try again" means that the queue is full, and nothing else does. None of the others has reached it. */
	for (unsigned int i = 0; i < ENTRIES; i++)
		assert_int_equal(uiommu_queue_submit(vm->portal, &good), 0);
	assert_int_equal(uiommu_queue_submit(vm->portal, &good), -EAGAIN);
	assert_int_equal(uiommu_queue_submit(vm->portal, &bad), -ENOENT);
	run();
	has(vm, vm->mark);
	has(&vms[1], 0);
	uiommu_queue_error(vm->portal, &error);
	assert_int_equal(error.count, 0);
}

/* Its own requests: without PASID for it, with one for the physical device. */
static void without_pasid(void **state)
{
	struct vm *vm = &vms[0];
	struct uiommu_queue *portal = portal_of(vm, 0, UIOMMU_NO_PASID), *dedicated = portal_of(vm, 0, V);
	struct uiommu_accel_desc desc = copy_of(0, 0);

	(void)state;
	assert_int_equal(uiommu_queue_submit(portal, &desc), -ENOENT);
	assert_int_equal(vm->last_vpasid, UIOMMU_NO_PASID);
	assert_int_equal(uiommu_attach(context, vm->mdev, UIOMMU_NO_PASID, vm->hwpt), 0);
	clear(vm);
	assert_int_equal(uiommu_queue_submit(portal, &desc), 0);
	run();
	has(vm, vm->mark);
	assert_int_equal(uiommu_queue_submit(dedicated, &desc), -ENOENT);
	assert_int_equal(vm->last_vpasid, V);
	vm_attach(vm);
	clear(vm);
	assert_int_equal(uiommu_queue_submit(dedicated, &desc), 0);
	run();
	has(vm, vm->mark);
	uiommu_queue_destroy(portal);
	uiommu_queue_destroy(dedicated);
	assert_int_equal(uiommu_detach(context, vm->mdev, UIOMMU_NO_PASID), 0);
	assert_int_equal(uiommu_detach(context, vm->mdev, UIOMMU_NO_PASID), 0);
}

/* What waits in the ring while its PASID becomes somebody else's reaches nobody. */
static void an_old_generation(void **state)
{
	struct vm *old = &vms[0], *new = &vms[1];
	struct uiommu_accel_desc desc = copy_of(V, 0);
	struct uiommu_accel_error error;
	uint32_t pasid;

	(void)state;
	vm_attach(old);
	pasid = stands_for(old, V);
	clear(old);
	clear(new);
	assert_int_equal(uiommu_queue_submit(old->portal, &desc), 0);
	assert_int_equal(uiommu_detach(context, old->mdev, V), 0);
	vm_attach(new);
	assert_int_equal(stands_for(new, V), pasid);
	run();
	has(old, 0);
	has(new, 0);
	uiommu_queue_error(old->portal, &error);
	assert_int_equal(error.count, 1);
	assert_int_equal(error.code, UIOMMU_ACCEL_ERROR_PASID);
	assert_int_equal(error.pasid, V); /* as the VM knows it */
	copies(new);

	/* In the same set, too. */
	assert_int_equal(uiommu_queue_submit(new->portal, &desc), 0);
	assert_int_equal(uiommu_detach(context, new->mdev, V), 0);
	vm_attach(new);
	assert_int_equal(stands_for(new, V), pasid);
	run();
	has(new, 0);
	uiommu_queue_error(new->portal, &error);
	assert_int_equal(error.count, 1);
}

/* What its process leaves when it is killed: @leave is done before. The other VM goes on. */
static void killed(void (*leave)(struct vm *vm))
{
	struct vm *vm = &vms[0];
	uint32_t mdev;

	vm_attach(vm);
	vm_attach(&vms[1]);
	leave(vm);
	vm_kill(vm);
	mdev = vm->mdev;
	vm_end(vm);
	vm->mdev = 0;
	assert_int_equal(uiommu_object_type(context, mdev), UIOMMU_OBJECT_NONE);
	run();
	copies(&vms[1]);
	/* Another one takes its place. */
	vm_start(vm, 0xb7);
	vm_attach(vm);
	copies(vm);
}

static void nothing(struct vm *vm)
{
	(void)vm;
}

static void in_the_queue(struct vm *vm)
{
	struct uiommu_accel_desc desc = copy_of(V, 0);

	for (unsigned int i = 0; i < ENTRIES; i++)
		assert_int_equal(uiommu_queue_submit(vm->portal, &desc), 0);
}

static void at_a_fault(struct vm *vm)
{
	struct uiommu_accel_desc desc = copy_of(V, UIOMMU_ACCEL_BLOCK_ON_FAULT);
	struct uiommu_fault_event event;

	desc.source = VA + 3 * PAGE;
	assert_int_equal(uiommu_queue_submit(vm->portal, &desc), 0);
	run();
	assert_int_equal(uiommu_fault_read(context, faults, &event, 1), 1);
	assert_int_not_equal(event.cookie, 0);
	/* As the VM knows it. */
	assert_int_equal(event.fault.device_id, vm->mdev);
	assert_int_equal(event.fault.pasid, V);
	assert_int_equal(event.fault.address, VA + 3 * PAGE);
}

static void half_freed(struct vm *vm)
{
	in_the_queue(vm);
	assert_int_equal(uiommu_pasid_free_all(context, vm->set), 0);
}

static void killed_idle(void **state)
{
	(void)state;
	killed(nothing);
}

static void killed_with_work(void **state)
{
	(void)state;
	killed(in_the_queue);
}

static void killed_with_a_fault_pending(void **state)
{
	(void)state;
	killed(at_a_fault);
}

static void killed_while_freeing(void **state)
{
	(void)state;
	killed(half_freed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(tables, setup, teardown),
		cmocka_unit_test_setup_teardown(devices, setup, teardown),
		cmocka_unit_test_setup_teardown(attaching, setup, teardown),
		cmocka_unit_test_setup_teardown(binding, setup, teardown),
		cmocka_unit_test_setup_teardown(not_the_devices_own, setup, teardown),
		cmocka_unit_test_setup_teardown(each_in_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(what_stands_for_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(without_pasid, setup, teardown),
		cmocka_unit_test_setup_teardown(an_old_generation, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_with_work, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_with_a_fault_pending, setup, teardown),
		cmocka_unit_test_setup_teardown(killed_while_freeing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

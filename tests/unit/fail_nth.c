/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every call of the API, once for each place where it may find no memory or no descriptor: it fails and has changed nothing, or
 * does without; the same call then succeeds; and in the end nothing is left over.
 *
 * The linker puts the functions below between the library and libc (--wrap, see meson.build).
 */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "abi/spec.h"
#include "iommu/ioas.h"
#include "pci/pci.h"
#include "pci/spec.h"
#include "pgtable/vtd_build.h"
#include "util/util.h"

/* Counts down to the call that fails; 0: none does. */
static unsigned int fail_at;
static bool failed;
static long live_blocks, live_maps;

static bool fails(int error)
{
	if (!fail_at || --fail_at)
		return false;
	failed = true;
	errno = error;
	return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *block);
void *__real_mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *address, size_t length);
int __real_open64(const char *path, int flags, ...);
int __real_fcntl64(int fd, int command, ...);
int __real_eventfd(unsigned int value, int flags);
int __real_epoll_create1(int flags);
int __real_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __real_timerfd_create(int clock, int flags);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *opaque), void *opaque);
int __real_memfd_create(const char *name, unsigned int flags);
long __real_syscall(long number, ...);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *block);
void *__wrap_mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *address, size_t length);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_eventfd(unsigned int value, int flags);
int __wrap_epoll_create1(int flags);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_timerfd_create(int clock, int flags);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *opaque), void *opaque);
int __wrap_memfd_create(const char *name, unsigned int flags);
long __wrap_syscall(long number, ...);

static void *counted(void *block)
{
	live_blocks += block != NULL;
	return block;
}

void *__wrap_malloc(size_t size)
{
	return fails(ENOMEM) ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails(ENOMEM) ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *block, size_t size)
{
	if (fails(ENOMEM))
		return NULL;
	live_blocks += !block;
	return __real_realloc(block, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return fails(ENOMEM) ? NULL : counted(__real_aligned_alloc(alignment, size));
}

void __wrap_free(void *block)
{
	live_blocks -= block != NULL;
	__real_free(block);
}

void *__wrap_mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	void *map;

	if (fails(ENOMEM))
		return MAP_FAILED;
	map = __real_mmap64(address, length, protection, flags, fd, offset);
	live_maps += map != MAP_FAILED;
	return map;
}

int __wrap_munmap(void *address, size_t length)
{
	live_maps--;
	return __real_munmap(address, length);
}

int __wrap_open64(const char *path, int flags, ...)
{
	return fails(EMFILE) ? -1 : __real_open64(path, flags);
}

int __wrap_fcntl64(int fd, int command, ...)
{
	va_list arguments;
	long argument;

	va_start(arguments, command);
	argument = va_arg(arguments, long);
	va_end(arguments);
	return command == F_DUPFD_CLOEXEC && fails(EMFILE) ? -1 : __real_fcntl64(fd, command, argument);
}

int __wrap_eventfd(unsigned int value, int flags)
{
	return fails(EMFILE) ? -1 : __real_eventfd(value, flags);
}

int __wrap_epoll_create1(int flags)
{
	return fails(EMFILE) ? -1 : __real_epoll_create1(flags);
}

int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
	return fails(ENOSPC) ? -1 : __real_epoll_ctl(epoll, operation, fd, event);
}

int __wrap_timerfd_create(int clock, int flags)
{
	return fails(EMFILE) ? -1 : __real_timerfd_create(clock, flags);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *opaque), void *opaque)
{
	return fails(EAGAIN) ? EAGAIN : __real_pthread_create(thread, attr, start, opaque);
}

int __wrap_memfd_create(const char *name, unsigned int flags)
{
	return fails(EMFILE) ? -1 : __real_memfd_create(name, flags);
}

long __wrap_syscall(long number, ...)
{
	va_list arguments;
	/* No more than the library passes: the others are not there. */
	int count = number == SYS_epoll_pwait			      ? 6
		    : number == SYS_perf_event_open		      ? 5
		    : number == SYS_pread64 || number == SYS_pwrite64 ? 4
								      : 3;
	long a[6] = {0};

	va_start(arguments, number);
	for (int i = 0; i < count; i++)
		a[i] = va_arg(arguments, long);
	va_end(arguments);
	return (number == SYS_pidfd_open || number == SYS_perf_event_open) && fails(EMFILE)
		       ? -1
		       : __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* What a call may need, made before the first one can fail. */
struct world {
	struct uiommu_context *context;
	uint32_t ioas, other, hwpt, queue, ram, device_id, msi_id;
	struct uiommu_device *device;
	struct uiommu_accel *accel;
	uint64_t page;
	uint8_t *memory;
	int fd; /* sealed memfd of four pages */
	int listening; /* a socket */
	pid_t child;
	struct uiommu_process bundle; /* of the child */
	uint32_t made; /* what the call has made */
	uint32_t set;
	struct uiommu_pin *pin;
	struct uiommu_queue *work;
	struct uiommu_process opened;
	uint32_t pasid;
	int iommufd, event_fd;
	uint32_t abi_ioas, abi_device, abi_parent; /* of it */
};

enum { PAGES = 4, CHILD_ADDRESSES = 0x10000000 };

static struct uiommu_ioas_map own(const struct world *w, uint32_t ioas, uint64_t iova)
{
	return (struct uiommu_ioas_map){
		.size = sizeof(struct uiommu_ioas_map),
		.flags = UIOMMU_MAP_FIXED | UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
		.ioas_id = ioas,
		.address = w->memory,
		.length = w->page,
		.iova = iova,
	};
}

static void world_make(struct world *w)
{
	const struct uiommu_range msi = {0xfee00000, 0xfeefffff};
	struct uiommu_device_config config = {.size = sizeof(config), .rid = 1, .name = "dev", .pasid_bits = 20};
	struct uiommu_hwpt_alloc hwpt = {.size = sizeof(hwpt), .flags = UIOMMU_HWPT_PASID | UIOMMU_HWPT_FAULT};
	struct uiommu_ioas_map map;

	assert_int_equal(uiommu_open(NULL, &w->context), 0);
	assert_int_equal(uiommu_ioas_alloc(w->context, &w->ioas), 0);
	assert_int_equal(uiommu_ioas_alloc(w->context, &w->other), 0);
	assert_int_equal(uiommu_fault_queue_alloc(w->context, 8, &w->queue), 0);
	hwpt.parent_id = w->ioas;
	hwpt.fault_queue_id = w->queue;
	assert_int_equal(uiommu_hwpt_alloc(w->context, &hwpt, &w->hwpt), 0);
	assert_int_equal(uiommu_device_alloc(w->context, &config, &w->device_id), 0);
	config = (struct uiommu_device_config){
		.size = sizeof(config), .rid = 2, .name = "msi", .reserved = &msi, .reserved_count = 1, .pasid_bits = 20};
	assert_int_equal(uiommu_device_alloc(w->context, &config, &w->msi_id), 0);
	assert_int_equal(uiommu_ram_alloc(w->context, w->fd, 0, PAGES * w->page, UIOMMU_READ | UIOMMU_WRITE, &w->ram), 0);
	w->device = uiommu_device_get(w->context, w->device_id);
	assert_int_equal(uiommu_attach(w->context, w->device_id, UIOMMU_NO_PASID, w->hwpt), 0);
	for (uint64_t i = 0; i < 3; i++) {
		map = own(w, w->ioas, 0x10000 + i * w->page);
		assert_int_equal(uiommu_ioas_map(w->context, &map), 0);
	}
	assert_int_equal(uiommu_accel_create(w->context, w->device_id, &w->accel), 0);
}

static void world_end(struct world *w)
{
	uiommu_accel_destroy(w->accel);
	uiommu_device_put(w->device);
	assert_int_equal(uiommu_close(w->context), 0);
}

static uint64_t count_areas(struct world *w, uint32_t id)
{
	struct object *object = object_get(w->context, id, UIOMMU_OBJECT_IOAS);
	uint64_t count = ioas_of(object)->space.areas.count;

	object_put(object);
	return count;
}

static unsigned int count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

struct snapshot {
	size_t objects;
	uint64_t areas, other_areas;
	uint64_t descriptors; /* no padding: it is compared as it is */
	long maps;
	uint32_t next_id;
	unsigned int attached;
};

/* Everything that can be seen from outside. */
static struct snapshot look(struct world *w)
{
	struct snapshot snapshot = {
		.objects = uiommu_object_count(w->context),
		.areas = count_areas(w, w->ioas),
		.other_areas = count_areas(w, w->other),
		.descriptors = count_descriptors(),
		.maps = live_maps,
		.next_id = w->context->lowest_free,
	};
	struct uiommu_attach_stats stats = {.size = sizeof(stats)};

	for (uint32_t pasid = 1; pasid < 8; pasid++)
		snapshot.attached += !uiommu_attach_stats(w->context, w->device_id, pasid, &stats);
	snapshot.attached += !uiommu_attach_stats(w->context, w->msi_id, UIOMMU_NO_PASID, &stats);
	return snapshot;
}

static int call_ioas_alloc(struct world *w)
{
	return uiommu_ioas_alloc(w->context, &w->made);
}

static int call_fault_queue_alloc(struct world *w)
{
	return uiommu_fault_queue_alloc(w->context, 16, &w->made);
}

static int call_ram_alloc(struct world *w)
{
	return uiommu_ram_alloc(w->context, w->fd, 0, w->page, UIOMMU_READ, &w->made);
}

static int call_device_alloc(struct world *w)
{
	const struct uiommu_range range = {0, 4095};
	struct uiommu_device_config config = {
		.size = sizeof(config), .rid = 3, .name = "new", .reserved = &range, .reserved_count = 1};

	return uiommu_device_alloc(w->context, &config, &w->made);
}

static int call_hwpt_alloc(struct world *w)
{
	struct uiommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = UIOMMU_HWPT_FAULT, .parent_id = w->other, .fault_queue_id = w->queue};

	return uiommu_hwpt_alloc(w->context, &alloc, &w->made);
}

static int track(struct world *w)
{
	return uiommu_hwpt_set_dirty_tracking(w->context, w->made, UIOMMU_DIRTY_TRACKING_ENABLE);
}

static int call_hwpt_alloc_tracked(struct world *w)
{
	struct uiommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = UIOMMU_HWPT_DIRTY_TRACKING | UIOMMU_HWPT_NEST_PARENT, .parent_id = w->other};

	return uiommu_hwpt_alloc(w->context, &alloc, &w->made);
}

/* More than the tables have pages for; nothing touches it. */
static int call_map_tracked(struct world *w)
{
	struct uiommu_ioas_map map = own(w, w->other, UINT64_C(1) << 40);

	map.length = 64 << 20;
	return uiommu_ioas_map(w->context, &map);
}

static int call_hwpt_alloc_and_map(struct world *w)
{
	return call_hwpt_alloc_tracked(w) || call_map_tracked(w);
}

/* Two: what one has mapped when the other one cannot is to be undone. */
static int call_track_both(struct world *w)
{
	return call_hwpt_alloc_tracked(w) || track(w) || call_hwpt_alloc_tracked(w) || track(w);
}

static int call_map_own(struct world *w)
{
	struct uiommu_ioas_map map = own(w, w->other, 0x1000);

	return uiommu_ioas_map(w->context, &map);
}

static int call_map_file(struct world *w)
{
	struct uiommu_ioas_map map = own(w, w->other, 0x1000);

	map.source = UIOMMU_MAP_FILE;
	map.fd = w->fd;
	return uiommu_ioas_map(w->context, &map);
}

static int call_map_ram(struct world *w)
{
	struct uiommu_ioas_map map = own(w, w->other, 0x1000);

	map.source = UIOMMU_MAP_RAM;
	map.ram_id = w->ram;
	return uiommu_ioas_map(w->context, &map);
}

static int call_copy(struct world *w)
{
	struct uiommu_ioas_copy copy = {
		.size = sizeof(copy),
		.flags = UIOMMU_MAP_READ | UIOMMU_MAP_WRITE,
		.src_ioas_id = w->ioas,
		.dst_ioas_id = w->other,
		.src_iova = 0x10000,
		.length = 3 * w->page,
	};

	return uiommu_ioas_copy(w->context, &copy);
}

static int call_allow(struct world *w)
{
	const struct uiommu_range ranges[] = {{0x1000, 0xffff}, {0x20000, 0x2ffff}};

	return uiommu_ioas_allow_iovas(w->context, w->other, ranges, 2);
}

static int call_attach(struct world *w)
{
	return uiommu_attach(w->context, w->msi_id, UIOMMU_NO_PASID, w->other);
}

static int call_attach_pasid(struct world *w)
{
	return uiommu_attach(w->context, w->device_id, 5, w->other);
}

static int call_replace(struct world *w)
{
	return uiommu_replace(w->context, w->device_id, UIOMMU_NO_PASID, w->other);
}

static int bind_process(struct world *w, const struct uiommu_bind_process *process)
{
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = w->device_id,
		.pasid = UIOMMU_NO_PASID,
		.type = UIOMMU_BIND_PROCESS,
		.data = process,
		.data_len = sizeof(*process),
		.fault_queue_id = w->queue,
	};
	int error = uiommu_bind(w->context, &bind);

	w->pasid = bind.pasid;
	return error;
}

static int call_bind_self(struct world *w)
{
	const struct uiommu_bind_process self = {.flags = UIOMMU_BIND_SELF, .access = UIOMMU_READ};

	return bind_process(w, &self);
}

static int call_bind(struct world *w)
{
	const struct uiommu_bind_process process = {.access = UIOMMU_READ | UIOMMU_WRITE, .process = w->bundle};

	return bind_process(w, &process);
}

static int bind_guest(struct world *w, uint32_t type, const void *data, size_t length)
{
	struct uiommu_bind bind = {
		.size = sizeof(bind),
		.device_id = w->device_id,
		.pasid = UIOMMU_NO_PASID,
		.type = type,
		.data = data,
		.data_len = (uint32_t)length,
		.fault_queue_id = w->queue,
	};

	return uiommu_bind(w->context, &bind);
}

/* The parent, of memory. */
static int call_parent(struct world *w)
{
	struct uiommu_hwpt_alloc alloc = {.size = sizeof(alloc), .flags = UIOMMU_HWPT_NEST_PARENT, .parent_id = w->ioas};

	uiommu_detach(w->context, w->device_id, UIOMMU_NO_PASID);
	return uiommu_hwpt_alloc(w->context, &alloc, &w->made);
}

static int call_bind_page_table(struct world *w)
{
	const struct uiommu_bind_page_table table = {
		.format = UIOMMU_FORMAT_AMD_V2, .parent_id = w->made, .root = 0x10000, .address_width = 48};

	return bind_guest(w, UIOMMU_BIND_PAGE_TABLE, &table, sizeof(table));
}

static int call_bind_pasid_table(struct world *w)
{
	const struct uiommu_hwpt_tables tables = {
		.size = sizeof(tables),
		.parent_id = w->made,
		.tables = UIOMMU_TABLES_AMD,
		.structure = UIOMMU_STRUCTURE_PASID,
		.base = 0x10000,
		.size_lg2 = 9,
		.output_lg2 = 46,
		.rid_pasid = UIOMMU_NO_PASID,
	};

	return bind_guest(w, UIOMMU_BIND_PASID_TABLE, &tables, sizeof(tables));
}

static int call_bind_shared(struct world *w)
{
	const struct uiommu_bind_shared shared = {.ioas_id = w->ioas, .access = UIOMMU_READ};

	return bind_guest(w, UIOMMU_BIND_SHARED, &shared, sizeof(shared));
}

static int update_memory(struct world *w, uint32_t ioas, uint32_t remove_count)
{
	const struct uiommu_range gone = {0x10000, 0x10000 + 2 * w->page - 1};
	const uint64_t base = remove_count ? 0x10000 : 0x100000;
	struct uiommu_guest_region add[2];
	const struct uiommu_guest_memory change = {
		.size = sizeof(change), .ioas_id = ioas, .remove = &gone, .remove_count = remove_count, .add = add, .add_count = 2};

	for (uint64_t i = 0; i < 2; i++)
		add[i] = (struct uiommu_guest_region){
			.gpa = base + i * w->page, .length = w->page, .offset = i * w->page, .fd = w->fd, .access = UIOMMU_READ};
	return uiommu_guest_memory_update(w->context, &change);
}

static int call_memory_add(struct world *w)
{
	return update_memory(w, w->ioas, 0);
}

static int call_memory_replace(struct world *w)
{
	return update_memory(w, w->ioas, 1);
}

static int call_memory_tracked(struct world *w)
{
	return update_memory(w, w->other, 0);
}

static int call_demand_alloc(struct world *w)
{
	return uiommu_demand_alloc(w->context, &w->made);
}

static int call_memory_on_demand(struct world *w)
{
	const struct uiommu_guest_region region = {
		.gpa = 0x100000,
		.length = w->page,
		.fd = w->fd,
		.access = UIOMMU_READ,
		.flags = UIOMMU_GUEST_ON_DEMAND,
		.demand_id = w->made,
		.bitmap_fd = w->fd,
		.page_lg2 = 12,
		.bitmap_offset = 2 * w->page,
	};
	const struct uiommu_guest_memory change = {.size = sizeof(change), .ioas_id = w->ioas, .add = &region, .add_count = 1};

	return uiommu_guest_memory_update(w->context, &change);
}

static int call_absent(struct world *w)
{
	return call_demand_alloc(w) || call_memory_on_demand(w);
}

static int call_register(struct world *w)
{
	struct uiommu_register reg = {
		.size = sizeof(reg),
		.device_id = w->device_id,
		.pasid = w->pasid,
		.access = UIOMMU_READ,
		.address = CHILD_ADDRESSES,
		.length = w->page,
		.fd = w->fd,
	};

	return uiommu_register(w->context, &reg);
}

static int call_process_open(struct world *w)
{
	return uiommu_process_open(w->child, UIOMMU_READ, &w->opened);
}

static void end_process_open(struct world *w)
{
	uiommu_process_close(&w->opened);
}

static int call_pin(struct world *w)
{
	struct iovec pieces[3];
	struct uiommu_dma_pin pin = {
		.address = 0x10000,
		.length = 3 * w->page,
		.pasid = UIOMMU_NO_PASID,
		.access = UIOMMU_READ,
		.iov = pieces,
		.iov_count = 3,
	};
	int error = uiommu_dma_pin(w->device, &pin, NULL);

	w->pin = pin.pin;
	return error;
}

static void end_pin(struct world *w)
{
	uiommu_dma_unpin(w->pin);
}

static void ignore_response(void *opaque, unsigned int response)
{
	(void)opaque;
	(void)response;
}

/* A page that is absent is asked for. */
static int call_absent_request(struct world *w)
{
	const struct uiommu_fault fault = {
		.address = 0x100000, .pasid = UIOMMU_NO_PASID, .access = UIOMMU_READ, .reason = UIOMMU_FAULT_ABSENT};

	return uiommu_dma_page_request(w->device, &fault, ignore_response, NULL);
}

static int call_page_request(struct world *w)
{
	struct uiommu_fault fault = {.address = 1, .device_id = w->device_id, .pasid = UIOMMU_NO_PASID, .access = UIOMMU_READ};

	return uiommu_dma_page_request(w->device, &fault, ignore_response, NULL);
}

static void ignore_group(void *opaque, const struct uiommu_page_response *response)
{
	unsigned int *told = opaque;

	*told += response->group == 0;
}

static unsigned int groups_told;

static int call_pri_enable(struct world *w)
{
	static const struct uiommu_pri_ops ops = {.response = ignore_group};
	const struct uiommu_pri_config config = {.size = sizeof(config), .allocation = 16, .ops = &ops, .opaque = &groups_told};

	return uiommu_pri_enable(w->device, &config);
}

/* A group of four. Without memory the device is told to try again, and does. */
static int call_pri_request(struct world *w)
{
	struct uiommu_fault_event events[4];
	bool waits;

	groups_told = 0;
	for (unsigned int i = 0; i < 4; i++) {
		const struct uiommu_page_request request = {.address = i * 4096,
							    .pasid = UIOMMU_NO_PASID,
							    .access = UIOMMU_READ,
							    .flags = i == 3 ? UIOMMU_PAGE_LAST : 0};

		assert_int_equal(uiommu_pri_request(w->device, &request), 0);
	}
	waits = uiommu_fault_read(w->context, w->queue, events, 4) > 0;
	assert_int_equal(groups_told, !waits);
	if (waits)
		assert_int_equal(uiommu_fault_respond(w->context, w->queue, events[0].cookie, UIOMMU_RESPONSE_SUCCESS), 0);
	assert_int_equal(groups_told, 1);
	return 0;
}

static int call_fault_queue_limit(struct world *w)
{
	const struct uiommu_fault_limits limits = {.size = sizeof(limits), .response_ms = 1000000};

	return uiommu_fault_queue_limit(w->context, w->queue, &limits);
}

static int call_atc_create(struct world *w)
{
	struct uiommu_atc *atc;
	int error = uiommu_atc_create(w->device, 64, 0, &atc);

	if (!error)
		uiommu_atc_destroy(atc);
	return error;
}

static void ignore_invalidation(void *opaque, uint32_t tag, const struct uiommu_ats_invalidation *what)
{
	(void)opaque;
	(void)tag;
	(void)what;
}

static int call_ats_enable(struct world *w)
{
	static const struct uiommu_ats_ops ops = {.invalidate = ignore_invalidation};
	const struct uiommu_ats_config config = {.size = sizeof(config), .timeout_ms = 1000000, .ops = &ops};

	return uiommu_ats_enable(w->device, &config);
}

static int call_ats_invalidate(struct world *w)
{
	const struct uiommu_ats_invalidation all = {.last = UINT64_MAX, .pasid = UIOMMU_NO_PASID};

	return uiommu_ats_invalidate(w->context, w->device_id, &all, NULL, NULL);
}

/* It keeps nothing then. */
static int call_atc_read(struct world *w)
{
	uint64_t value;
	struct uiommu_dma_op op = {.address = 0x10000, .buffer = &value, .length = 8, .pasid = UIOMMU_NO_PASID};
	struct uiommu_atc *atc;
	unsigned int at = fail_at;

	fail_at = 0;
	assert_int_equal(uiommu_atc_create(w->device, 64, 0, &atc), 0);
	fail_at = at;
	assert_int_equal(uiommu_atc_read(atc, &op), 0);
	at = fail_at;
	fail_at = 0;
	assert_int_equal(uiommu_atc_destroy(atc), 0);
	fail_at = at;
	return 0;
}

static int call_accel_create(struct world *w)
{
	struct uiommu_accel *accel;
	int error = uiommu_accel_create(w->context, w->msi_id, &accel);

	if (!error)
		uiommu_accel_destroy(accel);
	return error;
}

/* With an MSI-X table and memory in a BAR. */
static int call_pci_create(struct world *w)
{
	static const struct uiommu_pci_ops ops = {NULL};
	static const struct uiommu_pci_capability msix = {UIOMMU_PCI_MSIX, .count = 8};
	struct uiommu_pci_description description = {
		.size = sizeof(description),
		.capability_count = 1,
		.bars = {{.size = 4 * w->page, .memory_offset = 2 * w->page, .memory_length = w->page}},
		.capabilities = &msix,
		.ops = &ops,
	};
	struct uiommu_pci *pci;
	int error = uiommu_pci_create(w->context, w->msi_id, &description, NULL, &pci);

	if (!error)
		uiommu_pci_destroy(pci);
	return error;
}

static int make_nest_parent(struct world *w)
{
	struct uiommu_hwpt_alloc alloc = {.size = sizeof(alloc), .flags = UIOMMU_HWPT_NEST_PARENT, .parent_id = w->other};

	return uiommu_hwpt_alloc(w->context, &alloc, &w->made);
}

static int call_vtd(struct world *w)
{
	const struct uiommu_vtd_config config = {.size = sizeof(config), .parent_id = w->made};
	struct uiommu_vtd *vtd;
	int error = uiommu_vtd_create(w->context, &config, &vtd);

	if (error)
		return error;
	error = uiommu_vtd_add(vtd, w->msi_id, 1);
	assert_int_equal(uiommu_vtd_destroy(vtd), 0);
	return error;
}

static int call_vtd_pci(struct world *w)
{
	const struct uiommu_vtd_config config = {.size = sizeof(config), .parent_id = w->made};
	struct uiommu_vtd_pci *function;
	struct uiommu_vtd *vtd;
	int error = uiommu_vtd_pci_create(w->context, w->device_id, &function);

	if (error)
		return error;
	error = uiommu_vtd_pci_start(function, &config, &vtd);
	assert_int_equal(uiommu_vtd_pci_destroy(function), 0);
	return error;
}

static const struct uiommu_pci_ops pci_ops;

/* A server with a port, whose socket is this test's. */
static int call_vfio_user(struct world *w)
{
	struct uiommu_pci_description description = {.size = sizeof(description), .ops = &pci_ops};
	struct uiommu_vfio_user_port port = {.size = sizeof(port), .listen_fd = w->listening};
	struct uiommu_vfio_user *server = NULL;
	int error = uiommu_pci_create(w->context, w->msi_id, &description, NULL, &port.pci);

	if (error)
		return error;
	error = uiommu_vfio_user_open(w->context, &server);
	if (!error)
		error = uiommu_vfio_user_add(server, &port);
	uiommu_vfio_user_close(server);
	uiommu_pci_destroy(port.pci);
	return error;
}

static int use_vfio(struct uiommu_vfio *vfio, int iommufd, int cdev)
{
	struct {
		uint32_t set[5];
		int32_t fd;
	} irqs = {{24, 0x24, 0, 0, 1}, eventfd(0, EFD_CLOEXEC)};
	uint32_t bind[4] = {16, 0, (uint32_t)iommufd};
	int error = irqs.fd < 0 ? -EMFILE : uiommu_ioctl(cdev, ';' << 8 | 118, bind), group;

	if (!error)
		error = uiommu_ioctl(cdev, VFIO_DEVICE_SET_IRQS, &irqs);
	if (!error) {
		group = uiommu_vfio_open(vfio, "/dev/vfio/0");
		error = group == -EBUSY ? 0 : group;
	}
	if (irqs.fd >= 0)
		close(irqs.fd);
	return error;
}

/* A table with one function, which is bound and has an interrupt. */
static int call_vfio(struct world *w)
{
	struct uiommu_pci_description description = {.size = sizeof(description), .ops = &pci_ops, .interrupt_pin = 1};
	struct uiommu_vfio *vfio = NULL;
	struct uiommu_pci *pci = NULL;
	int iommufd = -1, cdev = -1, error = uiommu_pci_create(w->context, w->msi_id, &description, NULL, &pci);

	if (!error)
		error = uiommu_vfio_create(&vfio);
	if (!error)
		error = uiommu_vfio_add(vfio, pci, 0);
	if (!error) {
		iommufd = uiommu_abi_open("/dev/iommu", NULL);
		cdev = uiommu_vfio_open(vfio, "/dev/vfio/devices/vfio0");
		error = iommufd < 0 ? iommufd : cdev < 0 ? cdev : use_vfio(vfio, iommufd, cdev);
	}
	if (cdev >= 0)
		uiommu_abi_close(cdev);
	if (iommufd >= 0)
		uiommu_abi_close(iommufd);
	uiommu_vfio_destroy(vfio);
	uiommu_pci_destroy(pci);
	return error;
}

static int call_model(struct world *w)
{
	struct uiommu_model *model;
	int error = uiommu_model_create(w->context, 0x4242, "nvme,file=/proc/self/exe,ro", NULL, 0, &model);

	return error ? error : uiommu_model_destroy(model);
}

/* A function, ATS as its driver enables it, and a page that is enabled without PASID. Without memory for ATS it does without. */
static int enable_page(struct uiommu_accel_pci *function)
{
	struct uiommu_pci *pci = uiommu_accel_pci_function(function);
	const uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, ats = PCI_ATS_ENABLE;
	const uint32_t size = 5, enable = 1;
	uint32_t state = 0;

	assert_int_equal(pci_config_write(pci, PCI_COMMAND, &command, sizeof(command)), 0);
	assert_int_equal(pci_config_write(pci, pci->place[UIOMMU_PCI_ATS] + PCI_ATS_CONTROL, &ats, sizeof(ats)), 0);
	assert_int_equal(pci_bar_write(pci, 0, 0x1010, &size, sizeof(size)), 0);
	assert_int_equal(pci_bar_write(pci, 0, 0x1000, &enable, sizeof(enable)), 0);
	uiommu_accel_poll(uiommu_accel_pci_engine(function), 1);
	assert_int_equal(pci_bar_read(pci, 0, 0x1004, &state, sizeof(state)), 0);
	assert_true(state == 2 || state == 5 << 8);
	return state == 2 ? 0 : -ENOMEM;
}

static int call_accel_pci(struct world *w)
{
	const struct uiommu_accel_pci_config config = {.size = sizeof(config), .flags = UIOMMU_ACCEL_PCI_POLLED, .pages = 2};
	struct uiommu_accel_pci *function;
	int error = uiommu_accel_pci_create(w->context, w->device_id, &config, &function);

	if (error)
		return error;
	error = enable_page(function);
	assert_int_equal(uiommu_accel_pci_destroy(function), 0);
	return error;
}

static int call_model_accel(struct world *w)
{
	struct uiommu_model *model;
	int error = uiommu_model_create(w->context, 0x4242, "accel,pages=3,vectors=2,spin=1", NULL, 0, &model);

	return error ? error : uiommu_model_destroy(model);
}

static int call_model_dsa(struct world *w)
{
	struct uiommu_model *model;
	int error = uiommu_model_create(w->context, 0x4242, "dsa,spin=1", NULL, 0, &model);

	return error ? error : uiommu_model_destroy(model);
}

static int call_accel_queue(struct world *w)
{
	struct uiommu_queue_config config = {.size = sizeof(config), .entries = 8, .flags = UIOMMU_QUEUE_SHARED};

	return uiommu_accel_queue(w->accel, &config, &w->work);
}

static void end_accel_queue(struct world *w)
{
	uiommu_queue_destroy(w->work);
}

static int call_accel_grant(struct world *w)
{
	uint16_t handle;

	return uiommu_accel_grant(w->accel, UIOMMU_NO_PASID, &handle);
}

static int call_pasid_set_alloc(struct world *w)
{
	struct uiommu_pasid_set_alloc alloc = {.size = sizeof(alloc)};

	return uiommu_pasid_set_alloc(w->context, &alloc, &w->made);
}

static int call_pasid_alloc(struct world *w)
{
	return uiommu_pasid_alloc(w->context, UIOMMU_PASID_SET_OWN, 5000, 6000, &w->pasid);
}

static unsigned int ignore_notice(void *opaque, const struct uiommu_pasid_notice *notice)
{
	(void)opaque;
	(void)notice;
	return UIOMMU_PASID_DONE;
}

static int call_pasid_subscribe(struct world *w)
{
	struct uiommu_pasid_subscribe request = {.size = sizeof(request), .notify = ignore_notice};
	struct uiommu_pasid_subscription *subscription;

	return uiommu_pasid_subscribe(w->context, UIOMMU_PASID_SET_OWN, &request, &subscription);
}

static int call_mdev_alloc(struct world *w)
{
	struct uiommu_mdev_config config = {.size = sizeof(config), .device_id = w->device_id, .set_id = w->set};

	return uiommu_mdev_alloc(w->context, &config, &w->made);
}

static int call_pasid_set(struct world *w)
{
	struct uiommu_pasid_set_alloc alloc = {.size = sizeof(alloc)};

	return uiommu_pasid_set_alloc(w->context, &alloc, &w->set);
}

static int call_mdev(struct world *w)
{
	return call_pasid_set(w) || call_mdev_alloc(w);
}

static int call_attach_mdev(struct world *w)
{
	return uiommu_attach(w->context, w->made, 3000, w->other);
}

static int call_attach_mdev_own(struct world *w)
{
	return uiommu_attach(w->context, w->made, UIOMMU_NO_PASID, w->other);
}

static int call_portal(struct world *w)
{
	struct uiommu_queue_config config = {
		.size = sizeof(config), .entries = 8, .flags = UIOMMU_QUEUE_SHARED, .mdev_id = w->made};

	return uiommu_accel_queue(w->accel, &config, &w->work);
}

static int call_open(struct world *w)
{
	struct uiommu_context *context;
	int error = uiommu_open(NULL, &context);

	(void)w;
	if (!error)
		uiommu_close(context);
	return error;
}

/* Two hundred areas: the map grows, splits and gets a second level. */
static int call_map_many(struct world *w)
{
	uint64_t before = count_areas(w, w->other);

	for (uint64_t i = 0; i < 200; i++) {
		struct uiommu_ioas_map map = own(w, w->other, (1 + i * 37 % 200) * 0x10000);
		int error = uiommu_ioas_map(w->context, &map);

		if (error) {
			unsigned int at = fail_at;

			fail_at = 0;
			assert_int_equal(count_areas(w, w->other), before + i);
			if (i)
				assert_int_equal(uiommu_ioas_unmap(w->context, w->other, 0, UINT64_MAX, NULL), 0);
			fail_at = at;
			return error;
		}
	}
	return 0;
}

static void count_leaf(void *opaque, const struct vtd_leaf *leaf)
{
	uint64_t *bytes = opaque;

	*bytes += leaf->last - leaf->first + 1;
}

static uint64_t mapped(const struct vtd_tables *tables)
{
	uint64_t bytes = 0;

	vtd_tables_iterate(tables, 0, UINT64_MAX, count_leaf, &bytes);
	return bytes;
}

/* Two chunks of pages. */
static int call_tables_map(struct world *w)
{
	const uint64_t length = UINT64_C(2) << 30;
	struct vtd_tables tables;
	int error = vtd_tables_init(&tables, 4, UIOMMU_VTD_SECOND_2M);

	(void)w;
	if (error)
		return error;
	error = vtd_tables_map(&tables, length, length, 4096, UIOMMU_READ);
	assert_int_equal(mapped(&tables), error ? 0 : length);
	vtd_tables_fini(&tables);
	return error;
}

/* The second split of a large page finds nothing. */
static int call_tables_unmap(struct world *w)
{
	const uint64_t huge = UINT64_C(1) << 30;
	struct vtd_tables tables;
	uint64_t i = 0, before;
	int error = vtd_tables_init(&tables, 4, UIOMMU_VTD_SECOND_2M | UIOMMU_VTD_SECOND_1G);

	(void)w;
	if (!error)
		error = vtd_tables_map(&tables, 0, 2 * huge, 0, UIOMMU_READ);
	while (!error && tables.pages.free > 2)
		error = vtd_tables_map(&tables, (8 + i++) * huge, 4096, 0, UIOMMU_READ);
	if (!error) {
		before = mapped(&tables);
		error = vtd_tables_unmap(&tables, 4096, huge + 4095, NULL, NULL);
		assert_int_equal(mapped(&tables), error ? before : before - huge);
	}
	vtd_tables_fini(&tables);
	return error;
}

struct scenario {
	const char *name;
	int (*call)(struct world *w);
	void (*end)(struct world *w); /* of what a successful call has made and closing does not end */
	int (*before)(struct world *w);
};

/* --- commands of an iommufd with the selftests' devices --- */

static int abi(const struct world *w, unsigned int number, void *arguments)
{
	return uiommu_ioctl(w->iommufd, ABI_COMMAND(number), arguments);
}

static int call_abi_open(struct world *w)
{
	const struct uiommu_abi_options options = {.size = sizeof(options), .flags = UIOMMU_ABI_MOCK};

	w->event_fd = -1;
	w->iommufd = uiommu_abi_open("/dev/iommu", &options);
	return w->iommufd < 0 ? w->iommufd : 0;
}

static void end_abi(struct world *w)
{
	if (w->event_fd >= 0)
		assert_int_equal(uiommu_abi_close(w->event_fd), 0);
	assert_int_equal(uiommu_abi_close(w->iommufd), 0);
}

static int call_abi_ioas(struct world *w)
{
	struct abi_ioas_alloc arguments = {.size = sizeof(arguments)};
	int error = abi(w, ABI_IOAS_ALLOC, &arguments);

	w->abi_ioas = error ? w->abi_ioas : arguments.out_ioas_id;
	return error;
}

/* struct mock_command: MOCK_DOMAIN_FLAGS. */
static int call_abi_device(struct world *w)
{
	uint32_t words[18] = {72, 12, w->abi_ioas, 0, 0, 0, 0, 4};
	int error = abi(w, ABI_TEST, words);

	w->abi_device = error ? w->abi_device : words[6];
	return error;
}

static int before_abi_device(struct world *w)
{
	return call_abi_open(w) || call_abi_ioas(w);
}

static int before_abi(struct world *w)
{
	return before_abi_device(w) || call_abi_device(w);
}

static int call_abi_map(struct world *w)
{
	struct abi_ioas_map arguments = {.size = sizeof(arguments),
					 .flags = 7,
					 .ioas_id = w->abi_ioas,
					 .user_va = (uint64_t)(uintptr_t)w->memory,
					 .length = w->page,
					 .iova = 1 << 24};

	return abi(w, ABI_IOAS_MAP, &arguments);
}

static int before_abi_map(struct world *w)
{
	return before_abi(w) || call_abi_map(w);
}

static int call_abi_map_file(struct world *w)
{
	struct abi_ioas_map_file arguments = {
		.size = sizeof(arguments), .flags = 7, .ioas_id = w->abi_ioas, .fd = w->fd, .length = w->page, .iova = 1 << 24};

	return abi(w, ABI_IOAS_MAP_FILE, &arguments);
}

static int call_abi_copy(struct world *w)
{
	struct abi_ioas_copy arguments = {.size = sizeof(arguments),
					  .flags = 7,
					  .dst_ioas_id = w->abi_ioas,
					  .src_ioas_id = w->abi_ioas,
					  .length = w->page,
					  .src_iova = 1 << 24,
					  .dst_iova = 1 << 25};

	return abi(w, ABI_IOAS_COPY, &arguments);
}

/* What is mapped is pinned when the device comes. */
static int before_abi_attach(struct world *w)
{
	return before_abi_device(w) || call_abi_map(w);
}

static int abi_hwpt(struct world *w, uint32_t flags, uint32_t pt_id, const uint32_t *data)
{
	struct abi_hwpt_alloc arguments = {.size = sizeof(arguments),
					   .flags = flags,
					   .dev_id = w->abi_device,
					   .pt_id = pt_id,
					   .data_type = data ? 0xdead : 0,
					   .data_len = data ? 4 : 0,
					   .data_uptr = (uint64_t)(uintptr_t)data};
	int error = abi(w, ABI_HWPT_ALLOC, &arguments);

	w->made = error ? w->made : arguments.out_hwpt_id;
	return error;
}

static int call_abi_hwpt(struct world *w)
{
	return abi_hwpt(w, ABI_HWPT_NEST_PARENT, w->abi_ioas, NULL);
}

static int before_abi_nested(struct world *w)
{
	int error = before_abi(w) || call_abi_hwpt(w);

	w->abi_parent = w->made;
	return error;
}

static int call_abi_nested(struct world *w)
{
	return abi_hwpt(w, 0, w->abi_parent, &(uint32_t){1});
}

static int call_abi_fault_queue(struct world *w)
{
	struct abi_fault_alloc arguments = {.size = sizeof(arguments)};
	int error = abi(w, ABI_FAULT_QUEUE_ALLOC, &arguments);

	w->event_fd = error ? -1 : (int)arguments.out_fault_fd;
	return error;
}

static int call_abi_viommu(struct world *w)
{
	struct {
		uint32_t in, out;
		uint64_t offset, length;
	} data = {.in = 1};
	struct abi_viommu_alloc arguments = {.size = sizeof(arguments),
					     .type = 0xdeadbeef,
					     .dev_id = w->abi_device,
					     .hwpt_id = w->abi_parent,
					     .data_len = sizeof(data),
					     .data_uptr = (uint64_t)(uintptr_t)&data};
	int error = abi(w, ABI_VIOMMU_ALLOC, &arguments);

	w->made = error ? w->made : arguments.out_viommu_id;
	return error;
}

static int before_abi_viommu(struct world *w)
{
	return before_abi_nested(w) || call_abi_viommu(w);
}

static int call_abi_vdevice(struct world *w)
{
	struct abi_vdevice_alloc arguments = {
		.size = sizeof(arguments), .viommu_id = w->made, .dev_id = w->abi_device, .virt_id = 5};

	return abi(w, ABI_VDEVICE_ALLOC, &arguments);
}

static int call_abi_veventq(struct world *w)
{
	struct abi_veventq_alloc arguments = {
		.size = sizeof(arguments), .viommu_id = w->made, .type = 0xbeefbeef, .veventq_depth = 4};
	int error = abi(w, ABI_VEVENTQ_ALLOC, &arguments);

	w->event_fd = error ? -1 : (int)arguments.out_veventq_fd;
	return error;
}

static int before_abi_hw_queue(struct world *w)
{
	return before_abi_map(w) || call_abi_hwpt(w) || ((w->abi_parent = w->made) && call_abi_viommu(w));
}

static int call_abi_hw_queue(struct world *w)
{
	struct abi_hw_queue_alloc arguments = {.size = sizeof(arguments),
					       .viommu_id = w->made,
					       .type = 0xdeadbeef,
					       .nesting_parent_iova = 1 << 24,
					       .length = w->page};

	return abi(w, ABI_HW_QUEUE_ALLOC, &arguments);
}

/* struct mock_command: CREATE_ACCESS, and ACCESS_PAGES. */
static int call_abi_access(struct world *w)
{
	uint32_t words[18] = {72, 5, w->abi_ioas, 0, 0, 1};
	int error = abi(w, ABI_TEST, words);

	w->event_fd = error ? -1 : (int)words[4];
	return error;
}

static int before_abi_pages(struct world *w)
{
	return before_abi_map(w) || call_abi_access(w);
}

static int call_abi_pages(struct world *w)
{
	uint32_t words[18] = {72, 7, (uint32_t)w->event_fd};
	uint64_t range[] = {1 << 24, w->page, (uint64_t)(uintptr_t)w->memory};

	memcpy(&words[6], range, sizeof(range));
	return abi(w, ABI_TEST, words);
}

/* VFIO's TYPE1: an area is cut. */
static int before_abi_cut(struct world *w)
{
	struct abi_ioas_map arguments = {.size = sizeof(arguments), .flags = 7, .length = 4 * w->page, .iova = 1 << 24};
	struct abi_vfio_ioas ioas = {.size = sizeof(ioas), .op = ABI_VFIO_IOAS_SET};
	int error = before_abi(w);

	arguments.ioas_id = ioas.ioas_id = w->abi_ioas;
	arguments.user_va = (uint64_t)(uintptr_t)w->memory;
	if (!error)
		error = abi(w, ABI_VFIO_IOAS, &ioas);
	if (!error)
		error = uiommu_ioctl(w->iommufd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1_IOMMU);
	return error ? error : abi(w, ABI_IOAS_MAP, &arguments);
}

static int call_abi_cut(struct world *w)
{
	struct vfio_iommu_type1_dma_unmap arguments = {.argsz = sizeof(arguments), .iova = (1 << 24) + w->page, .size = w->page};

	return uiommu_ioctl(w->iommufd, VFIO_IOMMU_UNMAP_DMA, &arguments);
}

static const struct scenario scenarios[] = {
	{"open", call_open, NULL, NULL},
	{"ioas_alloc", call_ioas_alloc, NULL, NULL},
	{"fault_queue_alloc", call_fault_queue_alloc, NULL, NULL},
	{"ram_alloc", call_ram_alloc, NULL, NULL},
	{"device_alloc", call_device_alloc, NULL, NULL},
	{"hwpt_alloc", call_hwpt_alloc, NULL, NULL},
	{"hwpt_alloc tracked", call_hwpt_alloc_tracked, NULL, NULL},
	{"set_dirty_tracking", track, NULL, call_hwpt_alloc_and_map},
	{"map tracked", call_map_tracked, NULL, call_track_both},
	{"map own", call_map_own, NULL, NULL},
	{"map file", call_map_file, NULL, NULL},
	{"map RAM", call_map_ram, NULL, NULL},
	{"map many", call_map_many, NULL, NULL},
	{"copy", call_copy, NULL, NULL},
	{"allow_iovas", call_allow, NULL, NULL},
	{"attach", call_attach, NULL, NULL},
	{"attach a PASID", call_attach_pasid, NULL, NULL},
	{"replace", call_replace, NULL, NULL},
	{"bind self", call_bind_self, NULL, NULL},
	{"bind", call_bind, NULL, NULL},
	{"bind a page table", call_bind_page_table, NULL, call_parent},
	{"bind a PASID table", call_bind_pasid_table, NULL, call_parent},
	{"bind shared memory", call_bind_shared, NULL, NULL},
	{"add guest memory", call_memory_add, NULL, NULL},
	{"replace guest memory", call_memory_replace, NULL, NULL},
	{"add guest memory tracked", call_memory_tracked, NULL, call_track_both},
	{"demand_alloc", call_demand_alloc, NULL, NULL},
	{"add memory on demand", call_memory_on_demand, NULL, call_demand_alloc},
	{"page_request of absent memory", call_absent_request, NULL, call_absent},
	{"register", call_register, NULL, call_bind},
	{"process_open", call_process_open, end_process_open, NULL},
	{"pin", call_pin, end_pin, NULL},
	{"page_request", call_page_request, NULL, NULL},
	{"fault_queue_limit", call_fault_queue_limit, NULL, NULL},
	{"pri_enable", call_pri_enable, NULL, NULL},
	{"pri_request", call_pri_request, NULL, call_pri_enable},
	{"atc_create", call_atc_create, NULL, NULL},
	{"atc_read", call_atc_read, NULL, NULL},
	{"ats_enable", call_ats_enable, NULL, NULL},
	{"ats_invalidate", call_ats_invalidate, NULL, call_ats_enable},
	{"accel_create", call_accel_create, NULL, NULL},
	{"vtd", call_vtd, NULL, make_nest_parent},
	{"vtd_pci", call_vtd_pci, NULL, make_nest_parent},
	{"model", call_model, NULL, NULL},
	{"model accel", call_model_accel, NULL, NULL},
	{"model dsa", call_model_dsa, NULL, NULL},
	{"accel_pci", call_accel_pci, NULL, NULL},
	{"accel_queue", call_accel_queue, end_accel_queue, NULL},
	{"accel_grant", call_accel_grant, NULL, NULL},
	{"pci_create", call_pci_create, NULL, NULL},
	{"pasid_set_alloc", call_pasid_set_alloc, NULL, NULL},
	{"pasid_alloc", call_pasid_alloc, NULL, NULL},
	{"pasid_subscribe", call_pasid_subscribe, NULL, NULL},
	{"mdev_alloc", call_mdev_alloc, NULL, call_pasid_set},
	{"attach a vPASID", call_attach_mdev, NULL, call_mdev},
	{"attach a mediated device", call_attach_mdev_own, NULL, call_mdev},
	{"portal", call_portal, end_accel_queue, call_mdev},
	{"vfio_user", call_vfio_user, NULL, NULL},
	{"vfio", call_vfio, NULL, NULL},
	{"tables_map", call_tables_map, NULL, NULL},
	{"iommufd", call_abi_open, end_abi, NULL},
	{"IOAS_ALLOC", call_abi_ioas, end_abi, before_abi},
	{"a device", call_abi_device, end_abi, before_abi_device},
	{"IOAS_MAP", call_abi_map, end_abi, before_abi},
	{"IOAS_MAP_FILE", call_abi_map_file, end_abi, before_abi},
	{"IOAS_COPY", call_abi_copy, end_abi, before_abi_map},
	{"a device that pins", call_abi_device, end_abi, before_abi_attach},
	{"HWPT_ALLOC", call_abi_hwpt, end_abi, before_abi},
	{"HWPT_ALLOC nested", call_abi_nested, end_abi, before_abi_nested},
	{"FAULT_QUEUE_ALLOC", call_abi_fault_queue, end_abi, before_abi},
	{"VIOMMU_ALLOC", call_abi_viommu, end_abi, before_abi_nested},
	{"VDEVICE_ALLOC", call_abi_vdevice, end_abi, before_abi_viommu},
	{"VEVENTQ_ALLOC", call_abi_veventq, end_abi, before_abi_viommu},
	{"HW_QUEUE_ALLOC", call_abi_hw_queue, end_abi, before_abi_hw_queue},
	{"an access", call_abi_access, end_abi, before_abi},
	{"pinned pages", call_abi_pages, end_abi, before_abi_pages},
	{"VFIO unmap that cuts", call_abi_cut, end_abi, before_abi_cut},
	{"tables_unmap", call_tables_unmap, NULL, NULL},
};

/* Fill the table of objects up to the next place where it grows. */
static void fill_table(struct world *w)
{
	uint32_t id;

	while (w->context->lowest_free < w->context->capacity)
		assert_int_equal(uiommu_ioas_alloc(w->context, &id), 0);
}

/* The @n-th place fails. False: there are not so many. */
static bool run_once(struct world *w, const struct scenario *scenario, unsigned int n, bool full)
{
	struct snapshot before, after;
	bool injected;
	int error;

	world_make(w);
	if (scenario->before)
		assert_int_equal(scenario->before(w), 0);
	if (full)
		fill_table(w);
	before = look(w);
	failed = false;
	fail_at = n;
	error = scenario->call(w);
	fail_at = 0;
	injected = failed;
	if (error) {
		if (!injected || (error != -ENOMEM && error != -EMFILE && error != -EAGAIN))
			fail_msg("%s, place %u: %s", scenario->name, n, strerror(-error));
		after = look(w);
		if (memcmp(&before, &after, sizeof(before)))
			fail_msg("%s, place %u: something has changed", scenario->name, n);
		error = scenario->call(w);
	}
	if (error)
		fail_msg("%s after place %u failed: %s", scenario->name, n, strerror(-error));
	if (scenario->end)
		scenario->end(w);
	world_end(w);
	return injected;
}

static unsigned int sweep(struct world *w, const struct scenario *scenario, bool full)
{
	unsigned int n = 0;
	long blocks, maps;
	unsigned int descriptors;

	run_once(w, scenario, 0, full); /* what is made once per process or thread */
	blocks = live_blocks;
	maps = live_maps;
	descriptors = count_descriptors();
	while (run_once(w, scenario, ++n, full)) {
		if (live_blocks != blocks || live_maps != maps || count_descriptors() != descriptors)
			fail_msg("%s, place %u: left over: %ld blocks, %ld maps, %d descriptors", scenario->name, n,
				 live_blocks - blocks, live_maps - maps, (int)(count_descriptors() - descriptors));
	}
	return n - 1;
}

static pid_t start_child(void)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return child;
}

static void every_place(void **state)
{
	struct world w = {.page = page_size(), .child = start_child()};

	(void)state;
	w.fd = memfd_create("fail", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(w.fd, (off_t)(PAGES * w.page)), 0);
	assert_int_equal(fcntl(w.fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	w.listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(w.listening, &(struct sockaddr){.sa_family = AF_UNIX}, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(w.listening, 1), 0);
	w.memory = mmap(NULL, PAGES * w.page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(uiommu_process_open(w.child, UIOMMU_READ | UIOMMU_WRITE, &w.bundle), 0);
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
		unsigned int places = sweep(&w, &scenarios[i], false), full = sweep(&w, &scenarios[i], true);

		print_message("# %s: %u places, %u with a full table\n", scenarios[i].name, places, full);
		assert_true(places > 0 || full > 0);
	}
	uiommu_process_close(&w.bundle);
	munmap(w.memory, PAGES * w.page);
	close(w.fd);
	close(w.listening);
	kill(w.child, SIGKILL);
	waitpid(w.child, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

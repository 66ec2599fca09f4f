/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands about I/O address spaces, errno by errno, and VFIO's TYPE1 ones. */
#include "abi.h"

#include <linux/vfio.h>
#include <uiommu/dma.h>

#include "abi/iommufd.h"
#include "abi/local.h"
#include "iommu/object.h"

enum { FIXED = 1, WRITE = 2, READ = 4, PAGES = 64 };

static uint8_t *memory; /* PAGES pages */
static uint64_t page;

static int setup(void **state)
{
	page = page_size();
	memory = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(memory, MAP_FAILED);
	return abi_setup(state);
}

static int teardown(void **state)
{
	munmap(memory, PAGES * page);
	return abi_teardown(state);
}

static struct abi_ioas_map a_map(uint32_t ioas, uint64_t iova)
{
	return (struct abi_ioas_map){
		.size = sizeof(struct abi_ioas_map),
		.flags = FIXED | WRITE | READ,
		.ioas_id = ioas,
		.user_va = (uint64_t)(uintptr_t)memory,
		.length = page,
		.iova = iova,
	};
}

static int map(int fd, struct abi_ioas_map *arguments)
{
	return uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_MAP), arguments);
}

static int unmap(int fd, uint32_t ioas, uint64_t iova, uint64_t length, uint64_t *unmapped)
{
	struct abi_ioas_unmap arguments = {.size = sizeof(arguments), .ioas_id = ioas, .iova = iova, .length = length};
	int error = uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_UNMAP), &arguments);

	if (!error && unmapped)
		*unmapped = arguments.length;
	return error;
}

/* A device of the context behind @fd, attached to the IOAS: there are page tables now. */
static uint32_t attach(int fd, uint32_t ioas)
{
	const struct uiommu_device_config config = {.size = sizeof(config), .rid = 8, .name = "dma0", .pasid_bits = 8};
	struct abi_file *file = abi_local_file(fd);
	struct uiommu_context *context = iommufd_context(file);
	uint32_t id;

	assert_int_equal(uiommu_device_alloc(context, &config, &id), 0);
	assert_int_equal(uiommu_attach(context, id, UIOMMU_NO_PASID, ioas), 0);
	abi_file_put(file);
	return id;
}

static int attach_again(int fd, uint32_t device, uint32_t ioas)
{
	struct abi_file *file = abi_local_file(fd);
	int error = uiommu_attach(iommufd_context(file), device, UIOMMU_NO_PASID, ioas);

	abi_file_put(file);
	return error;
}

static void detach(int fd, uint32_t device)
{
	struct abi_file *file = abi_local_file(fd);

	assert_int_equal(uiommu_detach(iommufd_context(file), device, UIOMMU_NO_PASID), 0);
	abi_file_put(file);
}

/* The order in which a map is refused: each one has what the one before is refused for, but that. */
static void maps(void **state)
{
	int fd = *(int *)*state;
	uint32_t ioas = abi_ioas(fd);
	struct abi_ioas_map arguments = {.size = sizeof(arguments), .flags = 8, .iova = UINT64_MAX};

	assert_int_equal(map(fd, &arguments), -EOPNOTSUPP);
	arguments.flags = 0;
	arguments.reserved = 1;
	assert_int_equal(map(fd, &arguments), -EOPNOTSUPP);
	arguments.reserved = 0;
	assert_int_equal(map(fd, &arguments), -EOVERFLOW);
	arguments.iova = 0;
	arguments.length = UINT64_MAX;
	assert_int_equal(map(fd, &arguments), -EOVERFLOW);
	arguments.length = 1;
	arguments.user_va = UINT64_MAX;
	assert_int_equal(map(fd, &arguments), -EINVAL);
	arguments.flags = READ | FIXED;
	assert_int_equal(map(fd, &arguments), -ENOENT);
	arguments.ioas_id = ioas;
	assert_int_equal(map(fd, &arguments), -EOVERFLOW);
	arguments.user_va = (uint64_t)(uintptr_t)memory;
	arguments.length = 0;
	assert_int_equal(map(fd, &arguments), -EINVAL);
	/* Without page tables nothing is looked at, and nothing has to be aligned. */
	arguments = a_map(ioas, 3);
	arguments.user_va = 16;
	arguments.length = 5;
	assert_int_equal(map(fd, &arguments), 0);
	assert_int_equal(map(fd, &arguments), -EEXIST);
	assert_int_equal(unmap(fd, ioas, 3, 5, NULL), 0);
	attach(fd, ioas);
	assert_int_equal(map(fd, &arguments), -EINVAL);
	arguments.length = page;
	assert_int_equal(map(fd, &arguments), -EINVAL);
	arguments.iova = page;
	assert_int_equal(map(fd, &arguments), -EINVAL);
	arguments.user_va = 0;
	assert_int_equal(map(fd, &arguments), -EFAULT);
	arguments = a_map(ioas, 0);
	arguments.flags &= ~(uint32_t)FIXED;
	assert_int_equal(map(fd, &arguments), 0);
	assert_int_equal(arguments.iova, page);
}

/* What cannot be had: of a range the middle, or writing. Nothing is left of it. */
static void memory_that_is_not_there(void **state)
{
	int fd = *(int *)*state;
	uint32_t ioas = abi_ioas(fd);
	struct abi_ioas_map arguments = a_map(ioas, page);

	attach(fd, ioas);
	arguments.length = 3 * page;
	munmap(memory + page, page);
	assert_int_equal(map(fd, &arguments), -EFAULT);
	assert_true(mmap(memory + page, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
	assert_int_equal(map(fd, &arguments), -EFAULT);
	assert_int_equal(unmap(fd, ioas, 0, UINT64_MAX, NULL), 0);
	arguments.flags = FIXED | READ;
	assert_int_equal(map(fd, &arguments), 0);
}

/* A page table makes what has been mapped lazily true, or is refused. */
static void page_tables_that_come_later(void **state)
{
	int fd = *(int *)*state;
	uint32_t ioas = abi_ioas(fd), other = abi_ioas(fd), device;
	struct abi_ioas_map good = a_map(ioas, page), bad = a_map(ioas, 2 * page), odd = a_map(ioas, 4 * page + 1);

	bad.user_va = page;
	assert_int_equal(map(fd, &good), 0);
	assert_int_equal(map(fd, &bad), 0);
	assert_int_equal(map(fd, &odd), 0);
	device = attach(fd, other);
	detach(fd, device);
	assert_int_equal(attach_again(fd, device, ioas), -EADDRINUSE);
	assert_int_equal(unmap(fd, ioas, odd.iova, page, NULL), 0);
	assert_int_equal(attach_again(fd, device, ioas), -EFAULT);
	assert_int_equal(unmap(fd, ioas, bad.iova, page, NULL), 0);
	assert_int_equal(attach_again(fd, device, ioas), 0);
	assert_int_equal(abi_destroy_object(fd, ioas), -EBUSY);
	detach(fd, device);
	assert_int_equal(abi_destroy_object(fd, ioas), 0);
}

static void files(void **state)
{
	int fd = *(int *)*state, memfd = memfd_create("test", MFD_CLOEXEC);
	uint32_t ioas = abi_ioas(fd);
	struct abi_ioas_map_file arguments = {.size = sizeof(arguments),
					      .flags = FIXED | READ | WRITE,
					      .ioas_id = ioas,
					      .fd = memfd,
					      .length = page,
					      .iova = page};

	assert_int_equal(ftruncate(memfd, (off_t)(4 * page)), 0);
	arguments.start = UINT64_MAX;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_MAP_FILE), &arguments), -EOVERFLOW);
	arguments.start = 4 * page;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_MAP_FILE), &arguments), -EINVAL);
	arguments.start = 3 * page;
	arguments.fd = -1;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_MAP_FILE), &arguments), -EBADF);
	arguments.fd = fd;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_MAP_FILE), &arguments), -EINVAL);
	arguments.fd = memfd;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_MAP_FILE), &arguments), 0);
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_MAP_FILE), &arguments), -EEXIST);
	close(memfd);
}

static void copies(void **state)
{
	int fd = *(int *)*state;
	uint32_t src = abi_ioas(fd), dst = abi_ioas(fd);
	struct abi_ioas_map arguments = a_map(src, page);
	struct abi_ioas_copy copy = {.size = sizeof(copy), .flags = 8, .src_iova = UINT64_MAX};

	arguments.flags = FIXED | READ;
	assert_int_equal(map(fd, &arguments), 0);
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_COPY), &copy), -EOPNOTSUPP);
	copy.flags = FIXED;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_COPY), &copy), -EOVERFLOW);
	copy.src_iova = page;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_COPY), &copy), -EINVAL);
	copy.flags = FIXED | WRITE;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_COPY), &copy), -ENOENT);
	copy.src_ioas_id = src;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_COPY), &copy), -EINVAL);
	copy.length = page + 1;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_COPY), &copy), -ENOENT);
	copy.dst_ioas_id = dst;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_COPY), &copy), -ENOENT);
	copy.length = page;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_COPY), &copy), -EPERM);
	copy.flags = READ;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_COPY), &copy), 0);
	assert_int_equal(unmap(fd, dst, copy.dst_iova, page, NULL), 0);
}

static void unmaps(void **state)
{
	int fd = *(int *)*state;
	uint32_t ioas = abi_ioas(fd);
	struct abi_ioas_map arguments = a_map(ioas, 8 * page);
	uint64_t unmapped = 0;

	assert_int_equal(unmap(fd, ioas, 1, UINT64_MAX, NULL), -EOVERFLOW);
	assert_int_equal(unmap(fd, ioas, UINT64_MAX, 1, NULL), -EOVERFLOW);
	assert_int_equal(unmap(fd, ioas, 1, 0, NULL), -EINVAL);
	assert_int_equal(unmap(fd, ioas, UINT64_MAX - 1, 3, NULL), -EOVERFLOW);
	assert_int_equal(unmap(fd, 99, 0, page, NULL), -ENOENT);
	assert_int_equal(unmap(fd, ioas, 0, page, NULL), -ENOENT);
	assert_int_equal(unmap(fd, ioas, 0, UINT64_MAX, &unmapped), 0);
	arguments.length = 2 * page;
	assert_int_equal(map(fd, &arguments), 0);
	assert_int_equal(unmap(fd, ioas, 8 * page, page, NULL), -ENOENT);
	assert_int_equal(unmap(fd, ioas, 0, 20 * page, &unmapped), 0);
	assert_int_equal(unmapped, 2 * page);
}

static void ranges(void **state)
{
	int fd = *(int *)*state;
	uint32_t ioas = abi_ioas(fd);
	struct uiommu_range array[2] = {{page, 3 * page - 1}, {2 * page, 4 * page - 1}};
	struct abi_ioas_allow_iovas allow = {.size = sizeof(allow), .num_iovas = 2, .allowed_iovas = 8};
	struct abi_ioas_iova_ranges get = {.size = sizeof(get), .ioas_id = ioas, .allowed_iovas = 8};
	struct abi_ioas_map arguments = a_map(ioas, 0);

	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_ALLOW_IOVAS), &allow), -ENOENT);
	allow.ioas_id = ioas;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_ALLOW_IOVAS), &allow), -EFAULT);
	allow.allowed_iovas = (uint64_t)(uintptr_t)array;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_ALLOW_IOVAS), &allow), -EINVAL);
	array[1].start = array[1].last;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_ALLOW_IOVAS), &allow), -EINVAL);
	array[1] = (struct uiommu_range){10 * page, 11 * page - 1};
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_ALLOW_IOVAS), &allow), 0);
	arguments.flags = READ;
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(map(fd, &arguments), 0);
	assert_int_equal(arguments.iova, 10 * page);
	assert_int_equal(map(fd, &arguments), -ENOSPC);
	allow.num_iovas = 0;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_ALLOW_IOVAS), &allow), 0);
	assert_int_equal(map(fd, &arguments), 0);
	allow.reserved = 1;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_ALLOW_IOVAS), &allow), -EOPNOTSUPP);
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_IOVA_RANGES), &get), -EMSGSIZE);
	assert_int_equal(get.num_iovas, 1);
	assert_int_equal(get.out_iova_alignment, 1);
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_IOVA_RANGES), &get), -EFAULT);
	get.allowed_iovas = (uint64_t)(uintptr_t)array;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_IOVA_RANGES), &get), 0);
	assert_int_equal(array[0].start, 0);
	assert_true(array[0].last == UINT64_MAX);
	attach(fd, ioas);
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_IOVA_RANGES), &get), 0);
	assert_int_equal(get.out_iova_alignment, 4096);
	get.ioas_id = 99;
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_IOVA_RANGES), &get), -ENOENT);
}

static int option(int fd, uint32_t id, uint16_t op, uint32_t object, uint64_t *value)
{
	struct abi_option arguments = {.size = sizeof(arguments), .option_id = id, .op = op, .object_id = object, .val64 = *value};
	int error = uiommu_ioctl(fd, ABI_COMMAND(ABI_OPTION), &arguments);

	*value = arguments.val64;
	return error;
}

static void options(void **state)
{
	int fd = *(int *)*state;
	uint32_t ioas = abi_ioas(fd);
	struct abi_ioas_map arguments = a_map(ioas, 1);
	uint64_t value = 7;

	assert_int_equal(option(fd, 2, ABI_OPTION_GET, 0, &value), -EOPNOTSUPP);
	assert_int_equal(option(fd, ABI_OPTION_RLIMIT_MODE, ABI_OPTION_GET, 1, &value), -EOPNOTSUPP);
	assert_int_equal(option(fd, ABI_OPTION_RLIMIT_MODE, 2, 0, &value), -EOPNOTSUPP);
	assert_int_equal(option(fd, ABI_OPTION_RLIMIT_MODE, ABI_OPTION_GET, 0, &value), 0);
	assert_int_equal(value, 0);
	assert_int_equal(option(fd, ABI_OPTION_HUGE_PAGES, ABI_OPTION_GET, 99, &value), -ENOENT);
	assert_int_equal(option(fd, ABI_OPTION_HUGE_PAGES, ABI_OPTION_GET, ioas, &value), 0);
	assert_int_equal(value, 1);
	value = 2;
	assert_int_equal(option(fd, ABI_OPTION_HUGE_PAGES, ABI_OPTION_SET, ioas, &value), -EINVAL);
	assert_int_equal(map(fd, &arguments), 0);
	value = 0;
	assert_int_equal(option(fd, ABI_OPTION_HUGE_PAGES, ABI_OPTION_SET, ioas, &value), -EADDRINUSE);
	assert_int_equal(unmap(fd, ioas, 1, page, NULL), 0);
	assert_int_equal(option(fd, ABI_OPTION_HUGE_PAGES, ABI_OPTION_SET, ioas, &value), 0);
	assert_int_equal(option(fd, ABI_OPTION_HUGE_PAGES, ABI_OPTION_SET, ioas, &value), 0);
	assert_int_equal(map(fd, &arguments), -EINVAL);
	value = 1;
	assert_int_equal(option(fd, ABI_OPTION_HUGE_PAGES, ABI_OPTION_SET, ioas, &value), 0);
	assert_int_equal(map(fd, &arguments), 0);
	assert_int_equal(unmap(fd, ioas, 1, page, NULL), 0);
	arguments.iova = page;
	assert_int_equal(map(fd, &arguments), 0);
	attach(fd, ioas);
	value = 0;
	assert_int_equal(option(fd, ABI_OPTION_HUGE_PAGES, ABI_OPTION_SET, ioas, &value), -EINVAL);
	/* What is so already may be asked for at any time. */
	assert_int_equal(unmap(fd, ioas, page, page, NULL), 0);
	assert_int_equal(option(fd, ABI_OPTION_HUGE_PAGES, ABI_OPTION_SET, ioas, &value), 0);
	assert_int_equal(map(fd, &arguments), 0);
	assert_int_equal(option(fd, ABI_OPTION_HUGE_PAGES, ABI_OPTION_SET, ioas, &value), 0);
}

/* What page tables map counts as pinned in who has mapped it, each page once. */
static void accounting(void **state)
{
	int fd = *(int *)*state, memfd = memfd_create("test", MFD_CLOEXEC);
	uint32_t ioas = abi_ioas(fd), device;
	struct abi_ioas_map arguments = a_map(ioas, 4 * page);
	struct abi_ioas_copy copy = {.size = sizeof(copy),
				     .flags = FIXED | READ,
				     .dst_ioas_id = ioas,
				     .src_ioas_id = ioas,
				     .length = page,
				     .src_iova = 4 * page,
				     .dst_iova = 100 * page};
	struct abi_ioas_map_file of_file = {
		.size = sizeof(of_file), .flags = FIXED | READ, .ioas_id = ioas, .fd = memfd, .length = page, .iova = 200 * page};
	struct abi_ioas_change_process change = {.size = sizeof(change)};
	struct abi_caller *caller;
	uint64_t before;

	assert_int_equal(abi_local(&caller), 0);
	before = caller->memory->pinned;
	assert_int_equal(ftruncate(memfd, (off_t)page), 0);
	arguments.length = 3 * page;
	assert_int_equal(map(fd, &arguments), 0);
	assert_int_equal(caller->memory->pinned, before);
	device = attach(fd, ioas);
	assert_int_equal(caller->memory->pinned, before + 3 * page);
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_COPY), &copy), 0);
	assert_int_equal(caller->memory->pinned, before + 3 * page);
	assert_int_equal(unmap(fd, ioas, 4 * page, 3 * page, NULL), 0);
	assert_int_equal(caller->memory->pinned, before + page);
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_CHANGE_PROCESS), &change), -EINVAL);
	assert_int_equal(unmap(fd, ioas, 100 * page, page, NULL), 0);
	assert_int_equal(caller->memory->pinned, before);
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_MAP_FILE), &of_file), 0);
	assert_int_equal(caller->memory->pinned, before + page);
	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_CHANGE_PROCESS), &change), 0);
	detach(fd, device);
	assert_int_equal(caller->memory->pinned, before);
	close(memfd);
}

/* Beyond the limit: ENOMEM, and nothing is left of it. Those who may lock what they like are not asked. */
static void limit(void **state)
{
	int fd = *(int *)*state;
	uint32_t ioas = abi_ioas(fd);
	struct abi_ioas_map arguments = a_map(ioas, 4 * page);
	struct abi_caller *caller;
	uint64_t old;

	assert_int_equal(abi_local(&caller), 0);
	old = caller->memory->lock_limit;
	attach(fd, ioas);
	abi_memory_set_limit(caller->memory, 2 * page);
	assert_int_equal(abi_memory_charge(caller->memory, 3 * page, ABI_ACCOUNT_MEMORY), -ENOMEM);
	assert_int_equal(abi_memory_charge(caller->memory, 3 * page, ABI_ACCOUNT_USER), -ENOMEM);
	assert_int_equal(abi_memory_charge(caller->memory, 3 * page, ABI_ACCOUNT_NONE), 0);
	abi_memory_uncharge(caller->memory, 3 * page, ABI_ACCOUNT_NONE);
	arguments.length = 3 * page;
	if (!caller->ops->capable(caller, 14 /* CAP_IPC_LOCK */)) {
		assert_int_equal(map(fd, &arguments), -ENOMEM);
		arguments.length = 2 * page;
	}
	assert_int_equal(map(fd, &arguments), 0);
	abi_memory_set_limit(caller->memory, old);
}

/* --- VFIO --- */

static int vfio_ioas(int fd, uint16_t op, uint32_t *ioas)
{
	struct abi_vfio_ioas arguments = {.size = sizeof(arguments), .op = op, .ioas_id = *ioas};
	int error = uiommu_ioctl(fd, ABI_COMMAND(ABI_VFIO_IOAS), &arguments);

	*ioas = arguments.ioas_id;
	return error;
}

static void vfio_ioas_is_forgotten(void **state)
{
	int fd = *(int *)*state;
	uint32_t ioas = 0;

	assert_int_equal(vfio_ioas(fd, ABI_VFIO_IOAS_GET, &ioas), -ENODEV);
	assert_int_equal(vfio_ioas(fd, ABI_VFIO_IOAS_SET, &ioas), -ENOENT);
	assert_int_equal(vfio_ioas(fd, 3, &ioas), -EOPNOTSUPP);
	ioas = abi_ioas(fd);
	assert_int_equal(vfio_ioas(fd, ABI_VFIO_IOAS_SET, &ioas), 0);
	assert_int_equal(abi_destroy_object(fd, ioas), 0);
	/* Another one of the same number is not it. */
	assert_int_equal(abi_ioas(fd), ioas);
	assert_int_equal(vfio_ioas(fd, ABI_VFIO_IOAS_GET, &ioas), -ENODEV);
}

static void type1(void **state)
{
	int fd = *(int *)*state;
	uint32_t ioas = abi_ioas(fd);
	struct vfio_iommu_type1_dma_map dma_map = {.argsz = sizeof(dma_map),
						   .flags = VFIO_DMA_MAP_FLAG_READ,
						   .vaddr = (uint64_t)(uintptr_t)memory,
						   .iova = page,
						   .size = 8 * page};
	struct vfio_iommu_type1_dma_unmap dma_unmap = {.argsz = sizeof(dma_unmap), .iova = 3 * page, .size = 2 * page};

	assert_int_equal(uiommu_ioctl(fd, VFIO_GET_API_VERSION, NULL), 0);
	assert_int_equal(uiommu_ioctl(fd, VFIO_CHECK_EXTENSION, (void *)VFIO_TYPE1_IOMMU), 1);
	assert_int_equal(uiommu_ioctl(fd, VFIO_CHECK_EXTENSION, (void *)VFIO_SPAPR_TCE_IOMMU), 0);
	assert_int_equal(uiommu_ioctl(fd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1_IOMMU), -ENODEV);
	assert_int_equal(uiommu_ioctl(fd, VFIO_IOMMU_MAP_DMA, &dma_map), -ENODEV);
	assert_int_equal(uiommu_ioctl(fd, VFIO_IOMMU_MAP_DMA, abi_hole()), -EFAULT);
	assert_int_equal(uiommu_ioctl(fd, VFIO_IOMMU_DIRTY_PAGES, abi_hole()), -ENOTTY);
	assert_int_equal(vfio_ioas(fd, ABI_VFIO_IOAS_SET, &ioas), 0);
	assert_int_equal(uiommu_ioctl(fd, VFIO_SET_IOMMU, (void *)VFIO_SPAPR_TCE_IOMMU), -EINVAL);
	assert_int_equal(uiommu_ioctl(fd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1v2_IOMMU), 0);
	assert_int_equal(uiommu_ioctl(fd, VFIO_IOMMU_MAP_DMA, &dma_map), 0);
	assert_int_equal(uiommu_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &dma_unmap), -ENOENT);
	assert_int_equal(dma_unmap.size, 0);
	assert_int_equal(uiommu_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &dma_unmap), -EINVAL);
	dma_unmap.size = 2 * page;
	assert_int_equal(uiommu_ioctl(fd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1_IOMMU), 0);
	assert_int_equal(uiommu_ioctl(fd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1v2_IOMMU), 0);
	/* From the middle: what is left on both sides stays. */
	assert_int_equal(uiommu_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &dma_unmap), 0);
	assert_int_equal(dma_unmap.size, 2 * page);
	dma_unmap.size = 2 * page;
	assert_int_equal(uiommu_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &dma_unmap), 0);
	assert_int_equal(dma_unmap.size, 0);
	dma_unmap = (struct vfio_iommu_type1_dma_unmap){.argsz = sizeof(dma_unmap), .flags = VFIO_DMA_UNMAP_FLAG_ALL};
	assert_int_equal(uiommu_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &dma_unmap), 0);
	assert_int_equal(dma_unmap.size, 6 * page);
	/* The last address. */
	dma_unmap = (struct vfio_iommu_type1_dma_unmap){.argsz = sizeof(dma_unmap), .iova = UINT64_MAX, .size = 1};
	assert_int_equal(uiommu_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &dma_unmap), 0);
	assert_int_equal(dma_unmap.size, 0);
	dma_map.iova = UINT64_MAX;
	assert_int_equal(uiommu_ioctl(fd, VFIO_IOMMU_MAP_DMA, &dma_map), -EINVAL);
	dma_map.vaddr = UINT64_MAX;
	assert_int_equal(uiommu_ioctl(fd, VFIO_IOMMU_MAP_DMA, &dma_map), -EOVERFLOW);
}

/* VFIO_IOMMU_GET_INFO with each size: what is written, what is pointed to, and what would be needed. */
static void type1_info(void **state)
{
	enum { HEAD = 24, FIRST = HEAD, SECOND = 40, RANGES = 56, ALL = 72, UNTOUCHED = 0xa5 };
	int fd = *(int *)*state;
	uint32_t ioas = abi_ioas(fd);
	uint8_t buffer[ALL + 8];

	assert_int_equal(uiommu_ioctl(fd, VFIO_IOMMU_GET_INFO, abi_hole()), -EFAULT);
	for (uint32_t size = 15; size <= sizeof(buffer); size++) {
		struct vfio_iommu_type1_info info;
		struct vfio_iommu_type1_info_dma_avail available;
		struct vfio_iommu_type1_info_cap_iova_range iovas;
		struct vfio_iova_range range;
		uint32_t none = 0;

		assert_int_equal(vfio_ioas(fd, ABI_VFIO_IOAS_CLEAR, &none), 0);
		memset(buffer, UNTOUCHED, sizeof(buffer));
		memcpy(buffer, &size, sizeof(size));
		assert_int_equal(uiommu_ioctl(fd, VFIO_IOMMU_GET_INFO, buffer), size < 16 ? -EINVAL : -ENODEV);
		if (size < 16)
			continue;
		assert_int_equal(vfio_ioas(fd, ABI_VFIO_IOAS_SET, &ioas), 0);
		assert_int_equal(uiommu_ioctl(fd, VFIO_IOMMU_GET_INFO, buffer), 0);
		memcpy(&info, buffer, sizeof(info));
		memcpy(&available, buffer + FIRST, sizeof(available));
		memcpy(&iovas, buffer + SECOND, sizeof(iovas));
		memcpy(&range, buffer + RANGES, sizeof(range));
		assert_int_equal(info.argsz, ALL);
		assert_int_equal(info.flags, VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS);
		assert_true(info.iova_pgsizes == -page);
		if (size >= HEAD)
			assert_int_equal(info.cap_offset, size >= ALL ? FIRST : 0);
		if (size >= FIRST + sizeof(available)) {
			assert_int_equal(available.header.id, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL);
			assert_int_equal(available.header.version, 1);
			assert_int_equal(available.header.next, size >= SECOND ? SECOND : 0);
			assert_int_equal(available.avail, UINT32_MAX);
		}
		if (size >= ALL) {
			assert_int_equal(iovas.header.id, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
			assert_int_equal(iovas.header.version, 1);
			assert_int_equal(iovas.header.next, 0);
			assert_int_equal(iovas.nr_iovas, 1);
			assert_int_equal(range.start, 0);
			assert_true(range.end == UINT64_MAX);
		}
		for (uint32_t i = size; i < sizeof(buffer); i++)
			assert_int_equal(buffer[i], UNTOUCHED);
	}
}

/* A device goes on with what is left, and what it does meanwhile meets no hole. */
static void cut_while_used(void **state)
{
	int fd = *(int *)*state;
	uint32_t ioas = abi_ioas(fd), id = attach(fd, ioas);
	struct abi_file *file = abi_local_file(fd);
	struct uiommu_device *device = uiommu_device_get(iommufd_context(file), id);
	struct vfio_iommu_type1_dma_unmap dma_unmap = {.argsz = sizeof(dma_unmap)};
	struct abi_ioas_map arguments = a_map(ioas, page);
	uint8_t byte;

	arguments.length = PAGES * page;
	assert_int_equal(map(fd, &arguments), 0);
	assert_int_equal(unmap(fd, ioas, page, PAGES * page, NULL), 0);
	assert_int_equal(vfio_ioas(fd, ABI_VFIO_IOAS_SET, &ioas), 0);
	assert_int_equal(uiommu_ioctl(fd, VFIO_SET_IOMMU, (void *)VFIO_TYPE1_IOMMU), 0);
	assert_int_equal(map(fd, &arguments), 0);
	for (unsigned int i = 0; i < PAGES; i++)
		memory[i * page] = (uint8_t)i;
	/* Every second page, from the outside and from inside. */
	for (unsigned int i = 1; i < PAGES; i += 2) {
		dma_unmap.iova = page + (i * 37 % PAGES) * page;
		dma_unmap.size = page;
		assert_int_equal(uiommu_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &dma_unmap), 0);
		assert_int_equal(dma_unmap.size, page);
	}
	for (unsigned int i = 0; i < PAGES; i++) {
		int error = uiommu_dma_read(device, UIOMMU_NO_PASID, page + i * page, &byte, 1, NULL);

		assert_int_equal(error, i % 2 ? -EFAULT : 0);
		if (!error)
			assert_int_equal(byte, i);
	}
	uiommu_device_put(device);
	abi_file_put(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(maps, setup, teardown),
		cmocka_unit_test_setup_teardown(memory_that_is_not_there, setup, teardown),
		cmocka_unit_test_setup_teardown(page_tables_that_come_later, setup, teardown),
		cmocka_unit_test_setup_teardown(files, setup, teardown),
		cmocka_unit_test_setup_teardown(copies, setup, teardown),
		cmocka_unit_test_setup_teardown(unmaps, setup, teardown),
		cmocka_unit_test_setup_teardown(ranges, setup, teardown),
		cmocka_unit_test_setup_teardown(options, setup, teardown),
		cmocka_unit_test_setup_teardown(accounting, setup, teardown),
		cmocka_unit_test_setup_teardown(limit, setup, teardown),
		cmocka_unit_test_setup_teardown(vfio_ioas_is_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(type1, setup, teardown),
		cmocka_unit_test_setup_teardown(type1_info, setup, teardown),
		cmocka_unit_test_setup_teardown(cut_while_used, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * This process as a caller. Its descriptors are numbers of its own table: duplicates of the files' own descriptors, so that they
 * can be waited for, and this table says which file each of them is.
 */
#include "abi/local.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <uiommu/abi.h>
#include <unistd.h>

#include "abi/iommufd.h"
#include "util/util.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct abi_file **files; /* by descriptor; with a reference */
static int capacity;
static struct abi_memory *memory;

/* Under the lock. */
static int make_room(int fd)
{
	int wanted = capacity ? capacity : 64;
	struct abi_file **grown;

	while (wanted <= fd)
		wanted *= 2;
	if (wanted == capacity)
		return 0;
	grown = realloc(files, (size_t)wanted * sizeof(*files));
	if (!grown)
		return -ENOMEM;
	memset(grown + capacity, 0, (size_t)(wanted - capacity) * sizeof(*files));
	files = grown;
	capacity = wanted;
	return 0;
}

int abi_local_install(struct abi_file *file)
{
	int fd = fcntl(file->descriptor, F_DUPFD_CLOEXEC, 0), error;

	if (fd < 0)
		return -EMFILE;
	pthread_mutex_lock(&lock);
	error = make_room(fd);
	if (!error)
		files[fd] = file;
	pthread_mutex_unlock(&lock);
	if (error)
		close(fd);
	return error ? error : fd;
}

int abi_local_give(struct abi_file *file)
{
	int fd = abi_local_install(file);

	if (fd < 0)
		abi_file_put(file);
	return fd;
}

struct abi_file *abi_local_file(int fd)
{
	struct abi_file *file;

	pthread_mutex_lock(&lock);
	file = fd >= 0 && fd < capacity ? files[fd] : NULL;
	if (file)
		abi_file_get(file);
	pthread_mutex_unlock(&lock);
	return file;
}

/* Its reference, or NULL: the number refers to nothing of ours any more. */
static struct abi_file *take(int fd)
{
	struct abi_file *file = NULL;

	pthread_mutex_lock(&lock);
	if (fd >= 0 && fd < capacity) {
		file = files[fd];
		files[fd] = NULL;
	}
	pthread_mutex_unlock(&lock);
	return file;
}

static int descriptor(struct abi_caller *caller, int number, struct abi_file **file, int *fd)
{
	(void)caller;
	*file = abi_local_file(number);
	*fd = *file ? -1 : fcntl(number, F_DUPFD_CLOEXEC, 0);
	return *file || *fd >= 0 ? 0 : -errno;
}

static int install(struct abi_caller *caller, struct abi_file *file, uint64_t where)
{
	int fd = abi_local_install(file), error;

	error = fd >= 0 && where ? abi_caller_write(caller, where, &fd, sizeof(fd)) : 0;
	if (error) {
		take(fd);
		close(fd);
		return error;
	}
	return fd >= 0 && where ? 0 : fd;
}

static bool capable(struct abi_caller *caller, int capability)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};

	(void)caller;
	return !syscall(SYS_capget, &header, data) && data[capability / 32].effective >> (capability % 32) & 1;
}

int abi_local(struct abi_caller **out)
{
	static const struct abi_caller_ops ops = {.descriptor = descriptor, .install = install, .capable = capable};
	static struct abi_caller caller = {.ops = &ops};
	int error = 0;

	pthread_mutex_lock(&lock);
	if (!memory) {
		error = abi_memory_create(NULL, &memory);
		caller.memory = memory;
	}
	pthread_mutex_unlock(&lock);
	*out = &caller;
	return error;
}

int uiommu_abi_open(const char *path, const struct uiommu_abi_options *options)
{
	struct uiommu_abi_options given = {.size = sizeof(given)};
	struct abi_file *file;
	int result = options ? copy_struct(&given, sizeof(given), sizeof(given), options, options->size) : 0;

	if (result)
		return result;
	if (given.flags & ~(uint32_t)UIOMMU_ABI_MOCK)
		return -EOPNOTSUPP;
	if (strcmp(path, "/dev/iommu") != 0)
		return -ENOENT;
	result = iommufd_open(given.flags & UIOMMU_ABI_MOCK ? IOMMUFD_MOCK : 0, &file);
	if (result)
		return result;
	return abi_local_give(file);
}

int uiommu_abi_close(int fd)
{
	struct abi_file *file = take(fd);

	if (!file)
		return -EBADF;
	close(fd);
	abi_file_put(file);
	return 0;
}

/* The file of a call and this process as its caller. */
static int begin(int fd, struct abi_file **file, struct abi_caller **caller)
{
	int error = abi_local(caller);

	if (error)
		return error;
	*file = abi_local_file(fd);
	return *file ? 0 : -EBADF;
}

int uiommu_ioctl(int fd, unsigned long command, void *argument)
{
	struct abi_caller *caller;
	struct abi_file *file;
	int result = begin(fd, &file, &caller);

	if (result)
		return result;
	result = abi_ioctl(file, caller, (unsigned int)command, (uint64_t)(uintptr_t)argument);
	abi_file_put(file);
	return result;
}

static ssize_t transfer(int fd, uint64_t buffer, size_t count, uint64_t offset,
			ssize_t (*how)(struct abi_file *file, struct abi_caller *caller, uint64_t buffer, size_t count,
				       uint64_t offset))
{
	struct abi_caller *caller;
	struct abi_file *file;
	ssize_t result = begin(fd, &file, &caller);

	if (result)
		return result;
	result = how(file, caller, buffer, count, offset);
	abi_file_put(file);
	return result;
}

ssize_t uiommu_abi_read(int fd, void *buffer, size_t count, uint64_t offset)
{
	return transfer(fd, (uint64_t)(uintptr_t)buffer, count, offset, abi_read);
}

ssize_t uiommu_abi_write(int fd, const void *buffer, size_t count, uint64_t offset)
{
	return transfer(fd, (uint64_t)(uintptr_t)buffer, count, offset, abi_write);
}

void *uiommu_abi_mmap(int fd, uint64_t offset, size_t length, int protection, int flags)
{
	struct abi_mapping mapping;
	struct abi_caller *caller;
	struct abi_file *file;
	int error = begin(fd, &file, &caller);
	void *map;

	if (!error) {
		error = abi_mmap(file, caller, offset, length, protection, flags, &mapping);
		if (error)
			abi_file_put(file);
	}
	if (error) {
		errno = -error;
		return MAP_FAILED;
	}
	map = mmap(NULL, length, protection, flags, mapping.fd, (off_t)mapping.offset);
	if (map == MAP_FAILED)
		abi_munmap(file, offset, length);
	abi_file_put(file);
	return map;
}

int uiommu_abi_munmap(int fd, void *map, uint64_t offset, size_t length)
{
	struct abi_file *file = abi_local_file(fd);

	if (!file)
		return -EBADF;
	munmap(map, length);
	abi_munmap(file, offset, length);
	abi_file_put(file);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* An iommufd of this process, for the tests of its commands. */
#ifndef TEST_ABI_H
#define TEST_ABI_H

#include "test.h"

#include <sys/mman.h>
#include <uiommu/abi.h>
#include <unistd.h>

#include "abi/spec.h"
#include "util/util.h"

/* What nothing is mapped at. */
static inline void *abi_hole(void)
{
	return (void *)(uintptr_t)16;
}

static inline int abi_setup(void **state)
{
	int *fd = malloc(sizeof(*fd));

	*fd = uiommu_abi_open("/dev/iommu", NULL);
	assert_true(*fd >= 0);
	*state = fd;
	return 0;
}

static inline int abi_teardown(void **state)
{
	int *fd = *state;

	assert_int_equal(uiommu_abi_close(*fd), 0);
	free(fd);
	return 0;
}

static inline int abi_destroy_object(int fd, uint32_t id)
{
	struct abi_destroy arguments = {.size = sizeof(arguments), .id = id};

	return uiommu_ioctl(fd, ABI_COMMAND(ABI_DESTROY), &arguments);
}

static inline uint32_t abi_ioas(int fd)
{
	struct abi_ioas_alloc arguments = {.size = sizeof(arguments)};

	assert_int_equal(uiommu_ioctl(fd, ABI_COMMAND(ABI_IOAS_ALLOC), &arguments), 0);
	return arguments.out_ioas_id;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The iommufd file: /dev/iommu. */
#ifndef ABI_IOMMUFD_H
#define ABI_IOMMUFD_H

#include <pthread.h>
#include <uiommu/context.h>
#include <urcu/list.h>

#include "abi/abi.h"

enum iommufd_flags {
	IOMMUFD_MOCK = 1, /* the command of the kernel's selftests exists (mock.c) */
	IOMMUFD_CONTAINER = 2, /* VFIO's: what is pinned is accounted by process, until somebody sets IOMMU_OPTION_RLIMIT_MODE */
};

/* What open("/dev/iommu") or open("/dev/vfio/vfio") makes. @flags: enum iommufd_flags. -ENOMEM, -EMFILE. */
int iommufd_open(unsigned int flags, struct abi_file **out);

/* NULL: it is another kind of file. The context stays as long as somebody has a reference to the file. */
struct uiommu_context *iommufd_context(struct abi_file *file);

/* The IOAS of VFIO's (IOMMU_VFIO_IOAS); with @make, one that is made if there is none. -ENODEV, -ENOMEM. */
int iommufd_compat_ioas(struct abi_file *file, bool make, uint32_t *out_id);

#endif

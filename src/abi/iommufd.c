/* SPDX-License-Identifier: BSD-3-Clause */
/* The iommufd file and its commands' table. */
#include "abi/iommufd.h"

#include <errno.h>
#include <stdlib.h>
#include <uiommu/ioas.h>
#include <unistd.h>

#include "abi/command.h"
#include "abi/spec.h"
#include "util/util.h"

struct iommufd {
	struct abi_file file;
	struct uiommu_context *context;
	unsigned int flags;
};

static int destroy(struct abi_call *call)
{
	const struct abi_destroy *arguments = (const void *)call->data;

	call->quiet = true;
	return uiommu_destroy(call->context, arguments->id);
}

static int ioas_alloc(struct abi_call *call)
{
	struct abi_ioas_alloc *arguments = (void *)call->data;
	int error;

	if (arguments->flags)
		return -EOPNOTSUPP;
	error = uiommu_ioas_alloc(call->context, &arguments->out_ioas_id);
	if (!error)
		call->made = arguments->out_ioas_id;
	return error;
}

/* The struct has grown beyond @last, which the first version ended with. */
#define COMMAND(which, type, last, handler)                                                                                        \
	[which - ABI_FIRST] = {ABI_COMMAND(which), sizeof(type), offsetof(type, last) + sizeof(((type *)NULL)->last), handler}

static const struct abi_command commands[] = {
	COMMAND(ABI_DESTROY, struct abi_destroy, id, destroy),
	COMMAND(ABI_IOAS_ALLOC, struct abi_ioas_alloc, out_ioas_id, ioas_alloc),
};

static int iommufd_ioctl(struct abi_file *file, struct abi_caller *caller, unsigned int command, uint64_t argument)
{
	struct iommufd *iommufd = container_of(file, struct iommufd, file);
	struct abi_call call = {.iommufd = iommufd, .context = iommufd->context, .caller = caller, .argument = argument};
	unsigned int number = (command & 0xff) - ABI_FIRST;

	if (number >= ARRAY_SIZE(commands) || !commands[number].handle)
		return -ENOTTY;
	return abi_command_run(&commands[number], &call, command);
}

static void iommufd_release(struct abi_file *file)
{
	struct iommufd *iommufd = container_of(file, struct iommufd, file);

	uiommu_close(iommufd->context);
	abi_file_fini(file);
	free(iommufd);
}

static const struct abi_file_ops iommufd_ops = {
	.name = "/dev/iommu",
	.ioctl = iommufd_ioctl,
	.release = iommufd_release,
};

int iommufd_open(unsigned int flags, struct abi_file **out)
{
	struct iommufd *iommufd = calloc(1, sizeof(*iommufd));
	int descriptor, error;

	if (!iommufd)
		return -ENOMEM;
	iommufd->flags = flags;
	descriptor = abi_descriptor("iommufd");
	error = descriptor < 0 ? descriptor : uiommu_open(NULL, &iommufd->context);
	if (error) {
		if (descriptor >= 0)
			close(descriptor);
		free(iommufd);
		return error;
	}
	abi_file_init(&iommufd->file, &iommufd_ops, descriptor);
	*out = &iommufd->file;
	return 0;
}

struct uiommu_context *iommufd_context(struct abi_file *file)
{
	return file->ops == &iommufd_ops ? container_of(file, struct iommufd, file)->context : NULL;
}

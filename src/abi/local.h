/* SPDX-License-Identifier: BSD-3-Clause */
/* This process as a caller: its descriptors, as far as they refer to files of ours. */
#ifndef ABI_LOCAL_H
#define ABI_LOCAL_H

#include "abi/abi.h"

/* The caller, for the length of a call; made with the first one. -ENOMEM, -EMFILE, and those of uiommu_process_open(). */
int abi_local(struct abi_caller **out);

/* A new descriptor for @file, whose reference it takes over if it succeeds. -EMFILE, -ENOMEM. */
int abi_local_install(struct abi_file *file);
/* The same, and the reference is dropped if it fails. */
int abi_local_give(struct abi_file *file);

/* With a reference, or NULL. */
struct abi_file *abi_local_file(int fd);

#endif

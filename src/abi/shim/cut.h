/* SPDX-License-Identifier: BSD-3-Clause */
/* Pages of files that are taken away. */
#ifndef SHIM_CUT_H
#define SHIM_CUT_H

#include <stdint.h>
#include <sys/stat.h>

/* The file that was @before has only @length bytes now. */
void cut_to(const struct stat *before, uint64_t length);

#endif

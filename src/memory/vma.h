/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a process's mappings permit, asked of the kernel: PROCMAP_QUERY on an open /proc/PID/maps, or its lines where the kernel is
 * older than 6.11.
 */
#ifndef MEMORY_VMA_H
#define MEMORY_VMA_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "memory/process.h"

struct vmas {
	int fd; /* open /proc/PID/maps; borrowed */
	bool query; /* PROCMAP_QUERY is there */
	pthread_mutex_t lock; /* readers of lines: they share the file's read position */
};

/* @parse: do without PROCMAP_QUERY. */
void vmas_init(struct vmas *vmas, int fd, bool parse);
void vmas_fini(struct vmas *vmas);

/*
 * 0 and the mapping that contains @address; -ENOENT and the next one above, or one from 0 to 0 if there is none; -ESRCH: the
 * address space has no user any more. Other errors: the question could not be answered. @name: fill in the name, too.
 */
int vmas_find(struct vmas *vmas, uint64_t address, bool name, struct process_vma *out);

#endif

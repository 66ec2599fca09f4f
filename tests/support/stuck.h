/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processes with a page that never comes: what an access to it meets is decided by somebody who does not answer.
 */
#ifndef SUPPORT_STUCK_H
#define SUPPORT_STUCK_H

#include <uiommu/bind.h>

enum stuck_kind {
	STUCK_UFFD, /* a full userfaultfd: kernel accesses wait too */
	STUCK_UFFD_USER, /* a user-mode-only userfaultfd: kernel accesses fail at once */
	STUCK_UFFD_HELD, /* as the first, and another process holds the userfaultfd, whatever happens to the target */
	STUCK_FUSE, /* a file page whose file system does not answer */
	STUCK_KINDS,
};

struct stuck {
	enum stuck_kind kind;
	pid_t pid;
	pid_t holder; /* STUCK_UFFD_HELD */
	uint8_t *page;
	struct uiommu_process process;
	int event; /* readable once an access waits for the page */
};

/* Before privileges are dropped: open what only root may open, start the file system that does not answer. */
void stuck_prepare(void);

/* NULL, or why this machine cannot do it. */
const char *stuck_missing(enum stuck_kind kind);

void stuck_start(struct stuck *stuck, enum stuck_kind kind);

/* Wait until an access is blocked on the page. Not for STUCK_UFFD_USER. */
void stuck_wait(const struct stuck *stuck);

/* Kill the target; with STUCK_UFFD_HELD blocked accesses stay blocked. */
void stuck_kill(struct stuck *stuck);
void stuck_stop(struct stuck *stuck);

/* The file of STUCK_FUSE, and what is readable once a page of it is asked for. */
const char *stuck_path(void);
int stuck_event(void);

/* The end of the file system, now or with this process: accesses that wait for it fail. */
void stuck_finish(void);

#endif

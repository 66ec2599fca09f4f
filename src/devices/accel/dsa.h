/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The accelerator with DSA's registers: work queues that a driver configures and enables by commands, and portals that descriptors
 * are written to.
 *
 * The transport's thread reads and writes registers and never waits for the engine: a command that has to is left to the engine's
 * runner (dsa_control()), and is active until that has done it. @lock covers registers, the tails of work queues and what a
 * command has to do; it is taken with the engine's lock held, and nothing is called with it.
 */
#ifndef ACCEL_DSA_H
#define ACCEL_DSA_H

#include <pthread.h>

#include "devices/accel/dsa_spec.h"
#include "devices/accel/function.h"

struct dsa;

enum { DSA_WQ_WORDS = DSA_WQCFG_SIZE / 4, DSA_DESC_WORDS = sizeof(struct uiommu_accel_desc) / 8 };

struct dsa_wq {
	struct dsa *dsa;
	uint32_t config[DSA_WQ_WORDS]; /* as written; its state is below */
	bool enabled;
	bool taken; /* the runner takes it away: what is submitted goes with the rest */
	uint32_t tail; /* atomic: descriptors submitted */
	uint32_t head; /* atomic: those that the engine has taken */
	/* A descriptor whose words come one after another. The transport's thread only. */
	uint64_t words[DSA_DESC_WORDS];
	unsigned int word_count;
	/* The runner's. */
	struct engine_queue *queue;
	bool closed;
	struct uiommu_accel_desc ring[DSA_WQ_TOTAL];
};

struct dsa {
	struct function base;
	pthread_mutex_t lock;
	bool resetting; /* the runner has not ended yet what was before a reset */
	bool enabled;
	unsigned int transfer_lg2; /* bytes, at most */
	uint32_t gencfg, genctrl, intcause, cmdsts;
	uint64_t swerr[4];
	uint64_t group_wqs[DSA_GROUPS], group_engines[DSA_GROUPS], group_flags[DSA_GROUPS];
	uint64_t permissions[DSA_VECTORS];
	/* The command that is active. */
	uint32_t command; /* enum dsa_command, or 0 */
	uint32_t targets; /* work queues that it is still to be done to */
	bool tells; /* with an interrupt */
	uint32_t lost; /* work queues with a PASID that is none any more: they end */
	struct dsa_wq queues[DSA_WQS];
};

/*
 * The function of a device with 20 PASID bits, whose engine has no thread yet. Errors as uiommu_accel_pci_create(). dsa_destroy():
 * no transport has it any more.
 */
int dsa_make(struct uiommu_context *context, uint32_t device_id, struct dsa **out);
void dsa_destroy(void *instance);

/* --- dsa_wq.c --- */

/* Under the lock: may it be enabled? enum dsa_command_error. */
unsigned int dsa_wq_check(const struct dsa_wq *wq);

/* Under the lock: registers, one word of 4 bytes. */
uint32_t dsa_wq_read(const struct dsa_wq *wq, unsigned int word);
void dsa_wq_write(struct dsa_wq *wq, unsigned int word, uint32_t value);

/* 8 bytes at @offset of its portals. */
void dsa_wq_portal(struct dsa_wq *wq, uint64_t offset, uint64_t value);

/* By the runner: @command, on it. False: it is not over yet. */
bool dsa_wq_run(struct dsa_wq *wq, unsigned int command);

/* --- dsa_command.c --- */

/* Under the lock: begin what was written to the command register. True: the runner has to do it. */
bool dsa_command_begin(struct dsa *dsa, uint32_t value);

/* struct engine's control. */
bool dsa_control(void *opaque);

/* --- dsa.c --- */

/* Note the error, unless there is one already. Without the lock. */
void dsa_error(struct dsa *dsa, unsigned int wq, unsigned int error, const struct uiommu_accel_error *about);

/* Why interrupt 0 is sent. Without the lock. */
void dsa_tell(struct dsa *dsa, uint32_t cause);

/* Under the lock: everything that a driver has configured. */
void dsa_forget(struct dsa *dsa);

#endif

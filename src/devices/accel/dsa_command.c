/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands: what can be refused at once is, and the rest is done by the runner, work queue by work queue. */
#include "devices/accel/dsa.h"

enum { ALL_WQS = (1 << DSA_WQS) - 1 };

static uint32_t enabled_wqs(const struct dsa *dsa)
{
	uint32_t queues = 0;

	for (unsigned int i = 0; i < DSA_WQS; i++)
		queues |= dsa->queues[i].enabled ? UINT32_C(1) << i : 0;
	return queues;
}

/* Every work queue and every engine is in one group at most, and a group that has the one has the other. */
static unsigned int check_groups(const struct dsa *dsa)
{
	uint64_t queues = 0, engines = 0;

	for (unsigned int i = 0; i < DSA_GROUPS; i++) {
		if (queues & dsa->group_wqs[i] || engines & dsa->group_engines[i])
			return DSA_WQ_IN_GROUPS;
		if (!dsa->group_wqs[i] != !dsa->group_engines[i])
			return DSA_NO_ENGINE;
		queues |= dsa->group_wqs[i];
		engines |= dsa->group_engines[i];
	}
	return DSA_OK;
}

static unsigned int enable_device(struct dsa *dsa)
{
	uint64_t total = 0;
	unsigned int error;

	if (dsa->enabled)
		return DSA_IS_ENABLED;
	if (!(uiommu_pci_state(dsa->base.pci) & UIOMMU_PCI_BUS_MASTER))
		return DSA_NOT_MASTER;
	for (unsigned int i = 0; i < DSA_WQS; i++)
		total += FIELD_GET64(DSA_WQ_SIZES_SIZE, dsa->queues[i].config[DSA_WQ_SIZES]);
	error = total > DSA_WQ_TOTAL ? DSA_TOTAL_SIZE : check_groups(dsa);
	dsa->enabled = !error;
	return error;
}

static bool in_a_group(const struct dsa *dsa, unsigned int wq)
{
	uint64_t queues = 0;

	for (unsigned int i = 0; i < DSA_GROUPS; i++)
		queues |= dsa->group_wqs[i];
	return queues >> wq & 1;
}

static unsigned int enable_wq(struct dsa *dsa, uint32_t operand)
{
	unsigned int error;

	if (operand >= DSA_WQS)
		return DSA_BAD_WQ;
	if (!dsa->enabled)
		return DSA_DEVICE_DISABLED;
	error = dsa_wq_check(&dsa->queues[operand]);
	if (!error && !in_a_group(dsa, operand))
		error = DSA_WQ_SIZE;
	dsa->targets = error ? 0 : UINT32_C(1) << operand;
	return error;
}

/* A mask of 16 work queues, and which 16. */
static unsigned int some_wqs(struct dsa *dsa, uint32_t operand, bool resets)
{
	if (operand >> 16 || !operand || operand & ~(uint32_t)ALL_WQS)
		return DSA_BAD_WQ;
	if (operand & ~enabled_wqs(dsa) && !resets)
		return DSA_WQ_NOT_ENABLED;
	dsa->targets = operand;
	return DSA_OK;
}

/* Set the targets. What has none is done. */
static unsigned int prepare(struct dsa *dsa, unsigned int command, uint32_t operand)
{
	dsa->targets = 0;
	switch (command) {
	case DSA_ENABLE_DEVICE:
		return enable_device(dsa);
	case DSA_ENABLE_WQ:
		return enable_wq(dsa, operand);
	case DSA_DISABLE_WQ:
	case DSA_DRAIN_WQ:
	case DSA_ABORT_WQ:
		return some_wqs(dsa, operand, false);
	case DSA_RESET_WQ:
		return some_wqs(dsa, operand, true);
	case DSA_DISABLE_DEVICE:
		if (!dsa->enabled)
			return DSA_NOT_ENABLED;
		dsa->targets = enabled_wqs(dsa);
		return DSA_OK;
	case DSA_RESET_DEVICE:
		dsa->targets = ALL_WQS;
		return DSA_OK;
	case DSA_DRAIN_ALL:
	case DSA_ABORT_ALL:
	case DSA_DRAIN_PASID: /* of all that have been submitted, those of the PASID are some */
		dsa->targets = enabled_wqs(dsa);
		return DSA_OK;
	default:
		return DSA_BAD_COMMAND;
	}
}

static void clear_wq(struct dsa_wq *wq)
{
	for (unsigned int i = 0; i < DSA_WQ_WORDS; i++)
		wq->config[i] = 0;
}

/* Under the lock: it has been done to all of its targets. */
static void finish(struct dsa *dsa, unsigned int command, uint32_t error)
{
	if (command == DSA_DISABLE_DEVICE)
		dsa->enabled = false;
	if (command == DSA_RESET_DEVICE)
		dsa_forget(dsa);
	dsa->command = 0;
	dsa->cmdsts = error;
}

bool dsa_command_begin(struct dsa *dsa, uint32_t value)
{
	unsigned int command = (unsigned int)FIELD_GET64(DSA_CMD_CODE, value), error;

	if (dsa->cmdsts & DSA_CMDSTS_ACTIVE)
		return false;
	error = prepare(dsa, command, (uint32_t)FIELD_GET64(DSA_CMD_OPERAND, value));
	dsa->tells = value & DSA_CMD_INTERRUPT;
	dsa->command = error ? 0 : command;
	dsa->cmdsts = error ? error : (uint32_t)DSA_CMDSTS_ACTIVE;
	/* An interrupt is sent by the runner, too: that what is refused is one is no reason to be quicker. */
	return true;
}

/* --- the runner --- */

static void end_wqs(struct dsa *dsa, uint32_t queues)
{
	for (; queues; queues &= queues - 1)
		dsa_wq_run(&dsa->queues[__builtin_ctz(queues)], DSA_RESET_WQ);
}

/* What is no command's: what was before a reset, and work queues that have lost their PASID. */
static void end_others(struct dsa *dsa)
{
	bool resetting;
	uint32_t lost;

	pthread_mutex_lock(&dsa->lock);
	resetting = dsa->resetting;
	lost = resetting ? (uint32_t)ALL_WQS : dsa->lost;
	dsa->lost = 0;
	pthread_mutex_unlock(&dsa->lock);
	end_wqs(dsa, lost);
	if (!resetting)
		return;
	pthread_mutex_lock(&dsa->lock);
	dsa->resetting = false;
	engine_unbar(dsa->base.tenant);
	pthread_mutex_unlock(&dsa->lock);
}

/* One target. True: there is more to do at once. */
static bool run_one(struct dsa *dsa, unsigned int command, unsigned int target)
{
	if (!dsa_wq_run(&dsa->queues[target], command))
		return false;
	pthread_mutex_lock(&dsa->lock);
	if (command == DSA_RESET_WQ && dsa->command == command)
		clear_wq(&dsa->queues[target]);
	dsa->targets &= ~(UINT32_C(1) << target);
	pthread_mutex_unlock(&dsa->lock);
	return true;
}

/* True: it waits. */
static bool run_command(struct dsa *dsa)
{
	uint32_t targets, command;
	bool tells, done;

	do {
		pthread_mutex_lock(&dsa->lock);
		targets = dsa->resetting ? 0 : dsa->targets;
		command = dsa->command;
		done = !dsa->resetting && command && !targets;
		if (done)
			finish(dsa, command, DSA_OK);
		tells = dsa->tells && !dsa->command && !dsa->resetting;
		dsa->tells &= !tells;
		pthread_mutex_unlock(&dsa->lock);
	} while (targets && run_one(dsa, command, (unsigned int)__builtin_ctz(targets)));
	if (tells)
		dsa_tell(dsa, DSA_INTCAUSE_COMMAND);
	return targets;
}

bool dsa_control(void *opaque)
{
	struct dsa *dsa = opaque;

	end_others(dsa);
	return run_command(dsa);
}

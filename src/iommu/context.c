/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iommu/attach.h"
#include "iommu/object.h"
#include "pasid/pasid.h"
#include "sva/bind.h"
#include "translate/inflight.h"
#include "util/fork.h"
#include "util/util.h"

static const struct {
	const char *name;
	unsigned int bit;
} fallbacks[] = {
	{"procmap_query", UIOMMU_WITHOUT_PROCMAP_QUERY},   {"process_vm", UIOMMU_WITHOUT_PROCESS_VM},
	{"force_override", UIOMMU_WITHOUT_FORCE_OVERRIDE}, {"pidfd_info", UIOMMU_WITHOUT_PIDFD_INFO},
	{"perf_event", UIOMMU_WITHOUT_PERF_EVENT},	   {"userfaultfd", UIOMMU_WITHOUT_USERFAULTFD},
};

unsigned int fallbacks_wanted(void)
{
	unsigned int bits = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fallbacks); i++)
		if (feature_is_off(fallbacks[i].name))
			bits |= fallbacks[i].bit;
	return bits;
}

static void context_free(struct uiommu_context *context)
{
	timers_fini(&context->timers);
	pthread_mutex_destroy(&context->viommu_lock);
	pthread_mutex_destroy(&context->page_lock);
	pasid_set_destroy(context->pasid_set);
	pasid_space_destroy(context->pasids);
	pthread_cond_destroy(&context->calls_done);
	pthread_cond_destroy(&context->bind_ended);
	pthread_mutex_destroy(&context->bind_lock);
	pthread_mutex_destroy(&context->lock);
	free(context->objects);
	free(context);
}

static struct uiommu_context *context_alloc(const struct uiommu_options *options)
{
	struct uiommu_context *context = calloc(1, sizeof(*context));

	if (!context)
		return NULL;
	pthread_mutex_init(&context->lock, NULL);
	pthread_cond_init(&context->calls_done, NULL);
	pthread_mutex_init(&context->bind_lock, NULL);
	pthread_cond_init(&context->bind_ended, NULL);
	CDS_INIT_LIST_HEAD(&context->binds);
	pthread_mutex_init(&context->page_lock, NULL);
	pthread_mutex_init(&context->viommu_lock, NULL);
	timers_init(&context->timers, options->clock);
	context->lowest_free = 1;
	context->without = options->without | fallbacks_wanted();
	context->log = options->log;
	context->log_opaque = options->log_opaque;
	context->pasids = pasid_space_create();
	if (context->pasids)
		context->pasid_set = pasid_set_create(context->pasids, UINT32_MAX);
	if (context->pasid_set && !fork_token(&context->owner))
		return context;
	context_free(context);
	return NULL;
}

int uiommu_open(const struct uiommu_options *options, struct uiommu_context **out)
{
	const unsigned int known = UIOMMU_WITHOUT_PROCMAP_QUERY | UIOMMU_WITHOUT_PROCESS_VM | UIOMMU_WITHOUT_FORCE_OVERRIDE |
				   UIOMMU_WITHOUT_PIDFD_INFO | UIOMMU_WITHOUT_PERF_EVENT | UIOMMU_WITHOUT_USERFAULTFD;
	struct uiommu_options given = {.size = sizeof(given)};
	int error;

	if (options) {
		error = copy_struct(&given, sizeof(given), sizeof(given), options, options->size);
		if (error)
			return error;
	}
	if (given.without & ~known)
		return -EOPNOTSUPP;
	if (given.clock && (!given.clock->now || !given.clock->arm))
		return -EINVAL;
	*out = context_alloc(&given);
	return *out ? 0 : -ENOMEM;
}

int uiommu_close(struct uiommu_context *context)
{
	if (!context)
		return 0;
	/* In a fork child what the parent's other threads held may be locked for ever. */
	if (!fork_is_owner(context->owner))
		return -EOWNERDEAD;
	if (thread_inside())
		return -EDEADLK;
	attach_abandon_pins(context);
	bind_end_all(context, NULL);
	attach_end_all(context);
	object_end_all(context);
	context_free(context);
	return 0;
}

void uiommu_expire(struct uiommu_context *context)
{
	timers_run(&context->timers);
}

int context_check_owner(const struct uiommu_context *context)
{
	return likely(fork_is_owner(context->owner)) ? 0 : -EOWNERDEAD;
}

void context_log(const struct uiommu_context *context, enum uiommu_log_level level, const char *format, ...)
{
	char message[256];
	va_list arguments;

	if (!context->log)
		return;
	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	context->log(context->log_opaque, level, message);
}

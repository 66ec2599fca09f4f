/* SPDX-License-Identifier: BSD-3-Clause */
/* What a bind binds: payloads of uiommu_bind(), decoded, and the HWPTs that are made of them. */
#ifndef SVA_PAYLOAD_H
#define SVA_PAYLOAD_H

#include <uiommu/bind.h>

#include "iommu/hwpt.h"

struct process;

struct payload {
	uint32_t type; /* enum uiommu_bind_type */
	unsigned int access; /* what the attachment permits */
	struct object *on; /* the nest parent, or the IOAS: inside a call of it until payload_put(); or NULL */
	struct process *process; /* as long as no HWPT has taken it over; or NULL */
	union {
		struct uiommu_hwpt_nested nested;
		struct uiommu_hwpt_tables tables;
	};
};

/* What @bind says of a process; -EPROTONOSUPPORT: it is about something else. */
int payload_process(const struct uiommu_bind *bind, struct uiommu_bind_process *out);

/* Errors as uiommu_bind(); nothing is left to be put then. */
int payload_get(struct uiommu_context *context, const struct uiommu_bind *bind, struct payload *out);
void payload_put(struct payload *payload);

/* Would both be one bind? @bound has been bound to @hwpt. */
bool payload_equal(const struct payload *bound, const struct hwpt *hwpt, const struct payload *payload);

/* Allocated, not finalised; inside calls of what it is made of and of @queue, which may be NULL. Takes over the process, also on
 * failure. */
int payload_hwpt(struct uiommu_context *context, struct payload *payload, struct fault_queue *queue, struct hwpt **out);

#endif

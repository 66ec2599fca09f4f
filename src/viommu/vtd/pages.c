/* SPDX-License-Identifier: BSD-3-Clause */
/* Page requests (7.4). */
#include "viommu/vtd/vtd.h"

#include <errno.h>

int vtd_page_request(struct fault_sink *sink, struct attachment *attachment, const struct uiommu_fault *fault,
		     void (*done)(void *opaque, unsigned int response), void *opaque)
{
	(void)sink;
	(void)attachment;
	(void)fault;
	(void)done;
	(void)opaque;
	return -ENOENT;
}

bool vtd_page_forget(struct fault_sink *sink, const struct attachment *attachment)
{
	(void)sink;
	(void)attachment;
	return false;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Translation requests of devices.
 *
 * What a device keeps is forgotten in this order: whoever takes a translation away makes it unreachable and waits for a grace
 * period. A request is answered inside a read section, and its answer is in the device's cache before that ends; so after the grace
 * period every device that has kept the translation can be asked to forget it, and attachment.kept says which have.
 */
#ifndef TRANSLATE_ATS_H
#define TRANSLATE_ATS_H

#include <uiommu/ats.h>

#include "translate/space.h"

/* Why a request was not answered: an enum uiommu_fault_reason, and where, as in struct uiommu_fault. */
struct ats_refusal {
	uint8_t stage;
	uint8_t level;
	bool table;
	uint64_t absent; /* with ABSENT: where in the space */
};

/*
 * In a read section, with the attachment found in it. A reason means that a table is malformed or cannot be read; that there is no
 * page, or not for this access, is none.
 */
unsigned int ats_find(struct attachment *attachment, uint64_t address, unsigned int access, struct uiommu_ats_completion *out,
		      struct ats_refusal *refusal);

#endif

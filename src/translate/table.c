/* SPDX-License-Identifier: BSD-3-Clause */
/* A device's attachments by PASID: two levels of 1024 pointers, made when a PASID of theirs is attached first. */
#include <errno.h>
#include <stdlib.h>

#include "translate/space.h"
#include "util/rcu.h"

enum { FANOUT = TABLE_FANOUT };

_Static_assert(FANOUT *FANOUT == UIOMMU_PASID_LAST + 1, "two levels are all PASIDs");

void attach_table_init(struct attach_table *table)
{
	*table = (struct attach_table){0};
}

void attach_table_fini(struct attach_table *table)
{
	if (table->by_pasid)
		for (unsigned int i = 0; i < FANOUT; i++)
			free(table->by_pasid[i]);
	free(table->by_pasid);
	*table = (struct attach_table){0};
}

int attach_table_prepare(struct attach_table *table, uint32_t pasid)
{
	void *level;

	if (pasid == UIOMMU_NO_PASID)
		return 0;
	if (!table->by_pasid) {
		level = calloc(FANOUT, sizeof(*table->by_pasid));
		if (!level)
			return -ENOMEM;
		rcu_publish(table->by_pasid, level);
	}
	if (!table->by_pasid[pasid >> TABLE_FANOUT_LG2]) {
		level = calloc(FANOUT, sizeof(**table->by_pasid));
		if (!level)
			return -ENOMEM;
		rcu_publish(table->by_pasid[pasid >> TABLE_FANOUT_LG2], level);
	}
	return 0;
}

void attach_table_set(struct attach_table *table, uint32_t pasid, struct attachment *attachment)
{
	struct attachment **slot = pasid == UIOMMU_NO_PASID ? &table->rid : attach_table_place(table, pasid);

	rcu_publish(*slot, attachment);
}

uint32_t attach_table_next(const struct attach_table *table, uint32_t from)
{
	for (uint32_t pasid = from; pasid <= UIOMMU_PASID_LAST; pasid++) {
		struct attachment **slot = attach_table_place(table, pasid);

		if (!slot)
			pasid |= FANOUT - 1;
		else if (rcu_read(*slot))
			return pasid;
	}
	return 0;
}

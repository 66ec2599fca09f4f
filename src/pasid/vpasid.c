/* SPDX-License-Identifier: BSD-3-Clause */
#include "pasid/vpasid.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "util/util.h"

/* Of a pPASID: the word that stands for it, and where that is. */
struct named {
	uint64_t *word; /* NULL: none does */
	uint32_t vpasid; /* atomic; 0: none does; UIOMMU_NO_PASID: no vPASID but a word of the user's */
};

struct vpasid_table {
	struct vpasid_view view;
	struct pasid_set *set;
	struct uiommu_pasid_subscription *subscription;
	pthread_mutex_t lock;
	struct named *names[VPASID_FANOUT]; /* by pPASID; RCU; leaves are made on demand, freed with the table */
};

const struct vpasid_view *vpasid_view(const struct vpasid_table *table)
{
	return &table->view;
}

/* The place of @pasid; NULL if there is no room for it. */
static struct named *name_of(const struct vpasid_table *table, uint32_t pasid)
{
	struct named *leaf = rcu_read(table->names[pasid >> VPASID_FANOUT_LG2]);

	return leaf ? &leaf[pasid & (VPASID_FANOUT - 1)] : NULL;
}

uint32_t vpasid_of(const struct vpasid_table *table, uint32_t pasid)
{
	const struct named *name = pasid <= UIOMMU_PASID_LAST ? name_of(table, pasid) : NULL;
	uint32_t vpasid = name ? __atomic_load_n(&name->vpasid, __ATOMIC_RELAXED) : 0;

	return vpasid ? vpasid : UIOMMU_NO_PASID;
}

/* Under the lock. */
static void take_out(struct vpasid_table *table, uint32_t pasid)
{
	struct named *name = name_of(table, pasid);

	__atomic_store_n(name->word, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&name->vpasid, 0, __ATOMIC_RELAXED);
	name->word = NULL;
}

/* Of the set. What was looked up before is of an old generation from now on, so nothing has to be waited for. */
static unsigned int notify(void *opaque, const struct uiommu_pasid_notice *notice)
{
	struct vpasid_table *table = opaque;
	const struct named *name;

	if (notice->event != UIOMMU_PASID_FREE)
		return UIOMMU_PASID_DONE;
	pthread_mutex_lock(&table->lock);
	name = name_of(table, notice->pasid);
	if (name && name->word &&
	    *name->word >> VPASID_GENERATION_SHIFT << VPASID_GENERATION_SHIFT == notice->generation << VPASID_GENERATION_SHIFT)
		take_out(table, notice->pasid);
	pthread_mutex_unlock(&table->lock);
	return UIOMMU_PASID_DONE;
}

int vpasid_table_create(struct pasid_set *set, struct vpasid_table **out)
{
	struct vpasid_table *table = calloc(1, sizeof(*table));
	struct uiommu_pasid_subscribe request = {.notify = notify, .opaque = table};
	int error;

	if (!table)
		return -ENOMEM;
	table->set = set;
	error = pasid_subscribe(set, &request, &table->subscription);
	if (error) {
		free(table);
		return error;
	}
	pthread_mutex_init(&table->lock, NULL);
	*out = table;
	return 0;
}

void vpasid_table_destroy(struct vpasid_table *table)
{
	if (!table)
		return;
	pasid_unsubscribe(table->subscription);
	for (unsigned int i = 0; i < VPASID_FANOUT; i++) {
		free(table->view.leaves[i]);
		free(table->names[i]);
	}
	pthread_mutex_destroy(&table->lock);
	free(table);
}

/* Under the lock. The word of @vpasid, or NULL without memory. */
static uint64_t *word_make(struct vpasid_table *table, uint32_t vpasid)
{
	uint64_t **leaf = &table->view.leaves[vpasid >> VPASID_FANOUT_LG2], *made;

	if (!*leaf) {
		made = calloc(VPASID_FANOUT, sizeof(*made));
		if (!made)
			return NULL;
		rcu_publish(*leaf, made);
	}
	return &(*leaf)[vpasid & (VPASID_FANOUT - 1)];
}

static int name_make(struct vpasid_table *table, uint32_t pasid)
{
	struct named **leaf = &table->names[pasid >> VPASID_FANOUT_LG2], *made;

	if (*leaf)
		return 0;
	made = calloc(VPASID_FANOUT, sizeof(*made));
	if (!made)
		return -ENOMEM;
	rcu_publish(*leaf, made);
	return 0;
}

/* Under the lock. The word is there before the look at the number: if it is freed after that, notify() finds the word. */
static int put_in(struct vpasid_table *table, uint32_t vpasid, uint64_t *word, uint32_t pasid)
{
	uint64_t generation = pasid_generation(table->set, pasid);
	struct named *name;

	if (!generation)
		return -ENOENT;
	if (*word)
		return -EEXIST;
	if (name_make(table, pasid))
		return -ENOMEM;
	name = name_of(table, pasid);
	if (name->word)
		return -EBUSY;
	name->word = word;
	__atomic_store_n(&name->vpasid, vpasid, __ATOMIC_RELAXED);
	__atomic_store_n(word, generation << VPASID_GENERATION_SHIFT | VPASID_VALID | pasid, __ATOMIC_RELAXED);
	if (pasid_generation(table->set, pasid) == generation && pasid_state(table->set, pasid) != PASID_DRAINING)
		return 0;
	take_out(table, pasid);
	return -ENOENT;
}

int vpasid_map(struct vpasid_table *table, uint32_t vpasid, uint32_t pasid)
{
	uint64_t *word;
	int error;

	pthread_mutex_lock(&table->lock);
	word = word_make(table, vpasid);
	error = word ? put_in(table, vpasid, word, pasid) : -ENOMEM;
	pthread_mutex_unlock(&table->lock);
	return error;
}

int vpasid_unmap(struct vpasid_table *table, uint32_t vpasid)
{
	uint64_t word;
	uint32_t pasid;
	int error = -ENOENT;

	pthread_mutex_lock(&table->lock);
	word = vpasid_look(&table->view, vpasid);
	pasid = (uint32_t)(word & VPASID_PASID);
	if (word && pasid_state(table->set, pasid) == PASID_BOUND) {
		error = -EBUSY;
	} else if (word) {
		take_out(table, pasid);
		error = 0;
	}
	pthread_mutex_unlock(&table->lock);
	return error;
}

/* Under the lock. */
static int use_new(struct vpasid_table *table, uint64_t *word, const struct vpasid_use *use, uint32_t *pasid)
{
	int error = pasid_pick_for(table->set, use->bits, use->not, pasid);

	if (error)
		return error;
	error = put_in(table, use->own ? UIOMMU_NO_PASID : use->vpasid, word, *pasid);
	if (error)
		pasid_unuse(pasid_set_space(table->set), *pasid);
	return error;
}

int vpasid_use(struct vpasid_table *table, const struct vpasid_use *use, uint32_t *pasid)
{
	uint64_t *word;
	int error;

	*pasid = UIOMMU_NO_PASID;
	pthread_mutex_lock(&table->lock);
	word = use->own ? use->own : word_make(table, use->vpasid);
	if (!word) {
		error = -ENOMEM;
	} else if (*word) {
		*pasid = (uint32_t)(*word & VPASID_PASID);
		error = pasid_use(table->set, *pasid);
	} else {
		error = use_new(table, word, use, pasid);
	}
	pthread_mutex_unlock(&table->lock);
	return error;
}

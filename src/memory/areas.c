/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A B+-tree whose nodes never change their keys, so that readers need neither locks nor retries.
 *
 * What a reader sees of a node is constant but for its pointers, to children or areas, each read and written atomically.
 *  - Taking an area out stores NULL for it, and nothing else: it needs no memory and cannot fail. The last one of a leaf frees the
 *    leaf and stores NULL into its parent, and so on up to the root. So every node holds at least one area.
 *  - Putting one in makes a copy of the leaf with the area (and without the empty entries) and stores the copy into the parent.
 * Only a split copies the parent too. If the same start was mapped there before, its empty entry is used again as it is.
 *  - Replaced nodes are retired: a reader that still is in one sees the map as it was when he came.
 * Nodes are not merged when they become sparse ("free at empty"): what is mapped and unmapped in turn fills them again.
 *
 * An entry of an inner node stands for the addresses from its key to the next entry's key; the first one has no lower bound, the
 * last one the bound of the node above. An area always lies inside its leaf's addresses. One that would reach beyond them (over the
 * empty space that a neighbour is responsible for) first moves the bound, see widen(). Hence no search ever looks at a neighbour.
 *
 * An inner node with one child left is replaced by that child, so depth follows what is there and not what was.
 *
 * Searching is a matter of cache misses. A node is a few lines, each with its keys and their pointers together. The first keys of
 * all lines are compared, so that all misses are under way at once; then the keys of one line; the pointer is in it. No step
 * branches on data. Unused keys are the greatest there is. The low bits of a leaf's pointers say how long the area is at most, so
 * that putting another one behind it rarely has to look at it.
 */
#include "memory/areas.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "util/rcu.h"
#include "util/util.h"

enum {
	PER_LINE = AREAS_PER_LINE,
	LINES = AREAS_LINES,
	ENTRIES = PER_LINE * LINES - 1, /* numbered from 1; the header is in the place of number 0 */
	HEIGHT_MAX = AREAS_HEIGHT_MAX,
};

enum { TAG = AREAS_TAG };

_Static_assert(sizeof(struct areas_line) == TAG + 1 && sizeof(struct area) == TAG + 1, "cache lines");

static inline uint64_t *key_of(struct areas_node *node, unsigned int entry)
{
	return &node->line[entry / PER_LINE].key[entry % PER_LINE];
}

static inline uintptr_t *pointer_of(struct areas_node *node, unsigned int entry)
{
	return &node->line[entry / PER_LINE].pointer[entry % PER_LINE];
}

static inline struct areas_node *child_of(struct areas_node *node, unsigned int entry)
{
	return (struct areas_node *)*pointer_of(node, entry);
}

static inline struct area *area_of(struct areas_node *leaf, unsigned int entry)
{
	return (struct area *)(*pointer_of(leaf, entry) & ~(uintptr_t)TAG);
}

/* @area is at most 2 << (tag) bytes long. */
static inline uintptr_t tagged(const struct area *area)
{
	uint64_t beyond = area->last - area->start;

	return (uintptr_t)area | (beyond ? 63u - (unsigned int)__builtin_clzll(beyond) : 0);
}

void areas_init(struct areas *areas)
{
	*areas = (struct areas){0};
	pool_init(&areas->nodes, sizeof(struct areas_node));
	pool_init(&areas->pool, sizeof(struct area));
}

void areas_fini(struct areas *areas)
{
	pool_fini(&areas->nodes);
	pool_fini(&areas->pool);
	areas_init(areas);
}

struct area *areas_alloc(struct areas *areas)
{
	struct area *area = pool_alloc(&areas->pool);

	if (area)
		*area = (struct area){0};
	return area;
}

void areas_free(struct areas *areas, struct area *area)
{
	pool_free(&areas->pool, area);
}

/* The last entry whose key is <= @address, or 0. */
static inline unsigned int search(const struct areas_node *node, uint64_t address)
{
	unsigned int line = 0, entry = 0;

	for (unsigned int i = 1; i < LINES; i++)
		line += node->line[i].key[0] <= address;
	for (unsigned int i = 1; i < PER_LINE; i++)
		entry += node->line[line].key[i] <= address;
	entry += line * PER_LINE;
	return entry < node->count ? entry : node->count; /* UINT64_MAX is an address too */
}

/* The first entry has no lower bound. */
static inline unsigned int search_inner(const struct areas_node *node, uint64_t address)
{
	unsigned int entry = search(node, address);

	return entry ? entry : 1;
}

static inline void *follow(const struct areas_node *node, unsigned int entry)
{
	return areas_follow(node, entry);
}

struct area *areas_find_any(const struct areas *areas, uint64_t address)
{
	const struct areas_node *node = rcu_read(areas->root);
	const struct area *area;
	unsigned int entry;

	while (node && node->inner)
		node = follow(node, search_inner(node, address));
	entry = node ? search(node, address) : 0;
	if (!entry)
		return NULL;
	area = follow(node, entry);
	return area && address <= area->last ? (struct area *)area : NULL;
}

struct area *areas_find_again(const struct areas *areas, uint64_t address)
{
	struct area *area;
	uint64_t before;

	/* Pairs with areas_begin(): who has met nothing because of a change sees that it has begun. */
	while ((before = __atomic_load_n(&areas->changes, __ATOMIC_ACQUIRE)) & 1)
		sched_yield();
	area = areas_find_any(areas, address);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (likely(area || __atomic_load_n(&areas->changes, __ATOMIC_RELAXED) == before))
		return area;
	return areas_find_again(areas, address);
}

/* What changes after this is published with release. */
void areas_begin(struct areas *areas)
{
	__atomic_store_n(&areas->changes, areas->changes + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

void areas_end(struct areas *areas)
{
	__atomic_store_n(&areas->changes, areas->changes + 1, __ATOMIC_RELEASE);
}

static struct area *first_below(const struct areas_node *node, uint64_t address)
{
	for (unsigned int entry = search_inner(node, address); entry <= node->count; entry++) {
		void *pointer = follow(node, entry);
		struct area *area = pointer;

		if (pointer && node->inner)
			area = first_below(pointer, address);
		else if (area && area->last < address)
			area = NULL;
		if (area)
			return area;
	}
	return NULL;
}

struct area *areas_first(const struct areas *areas, uint64_t address)
{
	const struct areas_node *root = rcu_read(areas->root);

	return root ? first_below(root, address) : NULL;
}

static void descend(const struct areas *areas, struct areas_path *path, uint64_t address)
{
	struct areas_node *node = areas->root;

	path->last = UINT64_MAX;
	for (path->depth = 0; node && node->inner; path->depth++) {
		unsigned int entry = search_inner(node, address);

		path->node[path->depth] = node;
		path->entry[path->depth] = entry;
		if (entry < node->count)
			path->last = *key_of(node, entry + 1) - 1;
		node = child_of(node, entry);
	}
	path->node[path->depth] = node;
	path->entry[path->depth] = node ? search(node, address) : 0;
}

struct area *areas_seek(struct areas *areas, uint64_t address)
{
	struct areas_path *path = &areas->found;
	struct area *area = NULL;

	descend(areas, path, address);
	if (path->entry[path->depth])
		area = area_of(path->node[path->depth], path->entry[path->depth]);
	areas->found_area = area;
	return area && area->last >= address ? area : areas_first(areas, address);
}

static void retire(struct areas *areas, struct areas_node *node)
{
	node->next = areas->retired;
	areas->retired = node;
	areas->retired_count++;
}

struct areas_node *areas_retired(struct areas *areas)
{
	struct areas_node *retired = areas->retired;

	areas->retired = NULL;
	areas->retired_count = 0;
	return retired;
}

void areas_reclaim(struct areas *areas, struct areas_node *retired)
{
	struct areas_node *next;

	for (; retired; retired = next) {
		next = retired->next;
		pool_free(&areas->nodes, retired);
	}
}

/* Put @node where the path's node of @depth is. */
static void publish(struct areas *areas, const struct areas_path *path, unsigned int depth, struct areas_node *node)
{
	if (depth)
		rcu_publish(*pointer_of(path->node[depth - 1], path->entry[depth - 1]), (uintptr_t)node);
	else
		rcu_publish(areas->root, node);
}

/* The only child of @node. */
static struct areas_node *only_child(struct areas_node *node)
{
	unsigned int entry = 1;

	while (!child_of(node, entry))
		entry++;
	return child_of(node, entry);
}

void areas_remove(struct areas *areas, struct area *area)
{
	struct areas_path *path = &areas->found;
	struct areas_node *node;
	unsigned int depth;

	if (areas->found_area != area)
		descend(areas, path, area->start);
	areas->found_area = NULL;
	areas->count--;
	depth = path->depth;
	node = path->node[depth];
	rcu_publish(*pointer_of(node, path->entry[depth]), 0);
	while (!--node->live) {
		publish(areas, path, depth, NULL);
		retire(areas, node);
		if (!depth--)
			return;
		node = path->node[depth];
	}
	if (node->inner && node->live == 1) {
		publish(areas, path, depth, only_child(node));
		retire(areas, node);
	}
}

/* A new node that is being filled. */
static struct areas_node *node_make(struct areas *areas, bool inner)
{
	struct areas_node *node = pool_alloc(&areas->nodes);

	if (node) {
		node->inner = inner;
		node->count = 0;
	}
	return node;
}

static inline void node_add(struct areas_node *node, uint64_t key, uintptr_t pointer)
{
	unsigned int entry = ++node->count;

	*key_of(node, entry) = key;
	*pointer_of(node, entry) = pointer;
}

/* The entries of @from from @first to @last that hold something. */
static inline void node_add_from(struct areas_node *node, struct areas_node *from, unsigned int first, unsigned int last)
{
	unsigned int at = node->count + 1u;

	for (unsigned int i = first; i <= last && at <= ENTRIES; i++) {
		uintptr_t pointer = *pointer_of(from, i);

		/* No branch: what is empty is written over by the next one. When @node is full nothing but empty ones is left. */
		*key_of(node, at) = *key_of(from, i);
		*pointer_of(node, at) = pointer;
		at += pointer != 0;
	}
	node->count = (uint16_t)(at - 1);
}

/* It holds all that it shall hold. A search looks at the first keys of all lines, and at the others of lines that begin before. */
static void node_finish(struct areas_node *node)
{
	unsigned int entry = node->count + 1u;

	node->live = node->count;
	for (; entry % PER_LINE; entry++)
		*key_of(node, entry) = UINT64_MAX;
	for (unsigned int line = entry / PER_LINE; line < LINES; line++)
		node->line[line].key[0] = UINT64_MAX;
	if (node->inner)
		*key_of(node, 1) = 0; /* whatever bound it had when it was not the first */
}

/*
 * No area lies between the path's leaf and @last: make the leaf responsible for all of that, by copies of the nodes above in which
 * the entries there are left out, or begin behind @last. Changes nothing that a reader could find, so it may stop half-way.
 */
static int widen(struct areas *areas, struct areas_path *path, uint64_t last)
{
	for (unsigned int depth = path->depth; depth--;) {
		struct areas_node *old = path->node[depth], *node;
		unsigned int taken = path->entry[depth], next = taken + 1;

		if (next > old->count || *key_of(old, next) > last)
			continue;
		node = node_make(areas, true);
		if (!node)
			return -ENOMEM;
		node_add_from(node, old, 1, taken - 1);
		node_add(node, *key_of(old, taken), *pointer_of(old, taken)); /* may be 0: the way to a new leaf */
		path->entry[depth] = node->count;
		while (next <= old->count && !*pointer_of(old, next))
			next++;
		if (next <= old->count)
			node_add(node, max_u64(*key_of(old, next), last + 1), *pointer_of(old, next));
		node_add_from(node, old, next + 1, old->count);
		node_finish(node);
		node->live -= !*pointer_of(node, path->entry[depth]);
		publish(areas, path, depth, node);
		path->node[depth] = node;
		retire(areas, old);
	}
	return 0;
}

/* What comes in the place of a node: one node, or two and the key that parts them. */
struct halves {
	struct areas_node *left;
	struct areas_node *right;
	uint64_t key;
};

/* All entries of one node, or of two that will be. */
struct entries {
	unsigned int count;
	uint64_t key[ENTRIES + 1];
	uintptr_t pointer[ENTRIES + 1];
};

static void entries_add(struct entries *entries, uint64_t key, uintptr_t pointer)
{
	entries->key[entries->count] = key;
	entries->pointer[entries->count++] = pointer;
}

static void entries_add_from(struct entries *entries, struct areas_node *from, unsigned int first, unsigned int last)
{
	for (unsigned int i = first; i <= last; i++)
		if (*pointer_of(from, i))
			entries_add(entries, *key_of(from, i), *pointer_of(from, i));
}

static struct areas_node *node_of(struct areas *areas, bool inner, const struct entries *entries, unsigned int first,
				  unsigned int end)
{
	struct areas_node *node = node_make(areas, inner);

	if (!node)
		return NULL;
	for (unsigned int i = first; i < end; i++)
		node_add(node, entries->key[i], entries->pointer[i]);
	node_finish(node);
	return node;
}

/* One node for @entries, or two if they don't fit, the first one with @low of them. */
static int nodes_of(struct areas *areas, bool inner, const struct entries *entries, unsigned int low, struct halves *out)
{
	if (entries->count <= ENTRIES)
		low = entries->count;
	*out = (struct halves){.left = node_of(areas, inner, entries, 0, low)};
	if (!out->left)
		return -ENOMEM;
	if (low == entries->count)
		return 0;
	out->key = entries->key[low];
	out->right = node_of(areas, inner, entries, low, entries->count);
	if (out->right)
		return 0;
	pool_free(&areas->nodes, out->left);
	return -ENOMEM;
}

/* A copy of @leaf (NULL: nothing), which is not full, with @area behind entry @entry. */
static int leaf_with(struct areas *areas, struct areas_node *leaf, unsigned int entry, struct area *area, struct halves *out)
{
	struct areas_node *node = node_make(areas, false);

	if (!node)
		return -ENOMEM;
	if (leaf)
		node_add_from(node, leaf, 1, entry);
	node_add(node, area->start, tagged(area));
	if (leaf)
		node_add_from(node, leaf, entry + 1, leaf->count);
	node_finish(node);
	*out = (struct halves){.left = node};
	return 0;
}

/* The same for a full one. What is mapped upwards leaves full leaves behind. */
static int leaf_split(struct areas *areas, struct areas_node *leaf, unsigned int entry, struct area *area, struct halves *out)
{
	struct entries entries;

	entries.count = 0;
	if (entry == ENTRIES) {
		entries_add(&entries, area->start, tagged(area));
		*out = (struct halves){leaf, node_of(areas, false, &entries, 0, 1), area->start};
		return out->right ? 0 : -ENOMEM;
	}
	entries_add_from(&entries, leaf, 1, entry);
	entries_add(&entries, area->start, tagged(area));
	entries_add_from(&entries, leaf, entry + 1, ENTRIES);
	return nodes_of(areas, false, &entries, entries.count / 2, out);
}

/* A copy of @old in which @below takes the place of the child in @entry. */
static int inner_with(struct areas *areas, struct areas_node *old, unsigned int entry, const struct halves *below,
		      struct halves *out)
{
	struct entries entries;

	entries.count = 0;
	entries_add_from(&entries, old, 1, entry - 1);
	entries_add(&entries, *key_of(old, entry), (uintptr_t)below->left);
	entries_add(&entries, below->key, (uintptr_t)below->right);
	entries_add_from(&entries, old, entry + 1, old->count);
	return nodes_of(areas, true, &entries, entry == old->count ? ENTRIES : entries.count / 2, out);
}

/* A root above two halves of the old one. */
static int root_over(struct areas *areas, const struct halves *below, struct halves *out)
{
	struct entries entries;

	entries.count = 0;
	entries_add(&entries, 0, (uintptr_t)below->left);
	entries_add(&entries, below->key, (uintptr_t)below->right);
	return nodes_of(areas, true, &entries, 2, out);
}

/* Nodes that were made and not published. */
struct fresh {
	unsigned int count;
	struct areas_node *node[2 * HEIGHT_MAX + 2];
};

static void fresh_add(struct fresh *fresh, const struct halves *halves, const struct areas_node *old)
{
	if (halves->left != old)
		fresh->node[fresh->count++] = halves->left;
	if (halves->right)
		fresh->node[fresh->count++] = halves->right;
}

static void fresh_free(struct areas *areas, struct fresh *fresh)
{
	while (fresh->count)
		pool_free(&areas->nodes, fresh->node[--fresh->count]);
}

/* What comes in the place of the path's nodes from @depth down. */
struct replacement {
	struct halves halves; /* at last only a left one */
	unsigned int depth;
	bool leaf_stays;
	struct fresh fresh;
};

/* The leaf with @area, and copies of the nodes above it as far up as there are two of them. All or nothing. */
static int prepare(struct areas *areas, const struct areas_path *path, struct area *area, struct replacement *out)
{
	struct areas_node *leaf = path->node[path->depth];
	struct halves *halves = &out->halves;
	int rc = leaf && leaf->live == ENTRIES ? leaf_split(areas, leaf, path->entry[path->depth], area, halves)
					       : leaf_with(areas, leaf, path->entry[path->depth], area, halves);

	out->depth = path->depth;
	out->fresh.count = 0;
	if (rc)
		return rc;
	out->leaf_stays = halves->left == leaf;
	fresh_add(&out->fresh, halves, leaf);
	while (halves->right) {
		struct halves below = *halves;

		if (out->depth)
			rc = inner_with(areas, path->node[out->depth - 1], path->entry[out->depth - 1], &below, halves);
		else
			rc = path->depth + 1 < HEIGHT_MAX ? root_over(areas, &below, halves) : -ENOMEM;
		if (rc) {
			fresh_free(areas, &out->fresh);
			return rc;
		}
		fresh_add(&out->fresh, halves, NULL);
		if (out->depth)
			out->depth--;
	}
	return 0;
}

static void commit(struct areas *areas, const struct areas_path *path, const struct replacement *replacement)
{
	struct areas_node *leaf = path->node[path->depth];

	publish(areas, path, replacement->depth, replacement->halves.left);
	for (unsigned int i = replacement->depth; i < path->depth; i++)
		retire(areas, path->node[i]);
	if (leaf && !replacement->leaf_stays)
		retire(areas, leaf);
	if (!leaf && path->depth)
		path->node[path->depth - 1]->live++;
}

/* In the path's leaf, which nothing reaches into from outside: does the next area begin inside of @area? */
static bool overlaps_above(const struct areas_path *path, const struct area *area)
{
	struct areas_node *leaf = path->node[path->depth];

	for (unsigned int i = path->entry[path->depth] + 1; leaf && i <= leaf->count; i++)
		if (*pointer_of(leaf, i))
			return *key_of(leaf, i) <= area->last;
	return false;
}

/*
 * The area that begins before @area, or with it, if it is so long that it might reach into it. All that is known without a look at
 * it is what its pointer says.
 */
static const struct area *suspect_below(const struct areas_path *path, const struct area *area)
{
	struct areas_node *leaf = path->node[path->depth];

	for (unsigned int i = path->entry[path->depth]; i; i--) {
		uintptr_t pointer = *pointer_of(leaf, i);

		if (pointer)
			return (area->start - *key_of(leaf, i)) >> (pointer & TAG) >= 2 ? NULL : area_of(leaf, i);
	}
	return NULL;
}

/* Something with this start was mapped before, and its entry is still there. No other empty entry may lie inside of @area. */
static bool may_reuse_entry(const struct areas_path *path, const struct area *area)
{
	struct areas_node *leaf = path->node[path->depth];
	unsigned int entry = path->entry[path->depth];

	return entry && *key_of(leaf, entry) == area->start && !*pointer_of(leaf, entry) &&
	       (entry == leaf->count || *key_of(leaf, entry + 1) > area->last);
}

/* Nothing begins inside of @area in its leaf: see to it that nothing does beyond, and that all of @area is the leaf's. */
static int claim(struct areas *areas, struct areas_path *path, const struct area *area)
{
	const struct area *above;

	if (area->last <= path->last)
		return 0;
	above = areas_first(areas, path->last);
	if (above && above->start <= area->last)
		return -EEXIST;
	return widen(areas, path, area->last);
}

/* @over: it may overlap that. */
static int insert(struct areas *areas, struct area *area, const struct area *over)
{
	struct replacement replacement;
	const struct area *below;
	struct areas_path path;
	bool reuse;
	int rc;

	areas->found_area = NULL;
	descend(areas, &path, area->start);
	if (overlaps_above(&path, area))
		return -EEXIST;
	below = suspect_below(&path, area);
	if (below)
		__builtin_prefetch(below);
	rc = claim(areas, &path, area);
	if (rc)
		return rc;
	reuse = may_reuse_entry(&path, area);
	if (!reuse)
		rc = prepare(areas, &path, area, &replacement);
	if (rc)
		return rc;
	if (below && below != over && below->last >= area->start) { /* asked last: its cache line has been on the way meanwhile */
		if (!reuse)
			fresh_free(areas, &replacement.fresh);
		return -EEXIST;
	}
	if (reuse) {
		rcu_publish(*pointer_of(path.node[path.depth], path.entry[path.depth]), tagged(area));
		path.node[path.depth]->live++;
	} else {
		commit(areas, &path, &replacement);
	}
	areas->count++;
	return 0;
}

int areas_insert(struct areas *areas, struct area *area)
{
	return insert(areas, area, NULL);
}

int areas_split(struct areas *areas, struct area *area, struct area *left, struct area *right)
{
	struct areas_path path;
	int error = insert(areas, right, area);

	if (error)
		return error;
	descend(areas, &path, area->start);
	rcu_publish(*pointer_of(path.node[path.depth], path.entry[path.depth]), tagged(left));
	return 0;
}

/*
 * An insertion replaces the path's nodes by two each and adds a root, after widening has copied those above the leaf. What has been
 * allocated and given back is in the pool as long as something of it lives: one node stays out.
 */
int areas_reserve(struct areas *areas, unsigned int count, struct areas_node **spare)
{
	struct areas_path *path = &areas->found;
	struct areas_node *list = NULL, *node = NULL;
	uint64_t needed;

	areas->found_area = NULL;
	descend(areas, path, 0);
	needed = 1 + (uint64_t)count * (3 * (path->depth + 2) + 1);
	for (uint64_t i = 0; i < needed; i++) {
		node = pool_alloc(&areas->nodes);
		if (!node)
			break;
		node->next = list;
		list = node;
	}
	*spare = node ? list : NULL;
	if (node)
		list = list->next;
	areas_reclaim(areas, list);
	return node ? 0 : -ENOMEM;
}

void areas_unreserve(struct areas *areas, struct areas_node *spare)
{
	pool_free(&areas->nodes, spare);
}

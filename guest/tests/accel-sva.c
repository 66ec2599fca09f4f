/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A list, moved node by node by the device to memory that nothing has touched, at the process's own addresses: each node it copies
 * it finds by the pointer that it has copied before. Then the list is checked by the processor, and by the device.
 */
#include <stdlib.h>
#include <string.h>

#include "accel.h"

enum { NODES = 500, PAYLOAD = 1000 };

struct node {
	struct node *next;
	unsigned int number;
	uint8_t payload[PAYLOAD];
};

static struct node *make_list(void)
{
	struct node *first = NULL;

	for (unsigned int i = NODES; i--;) {
		struct node *node = malloc(sizeof(*node));

		CHECK(node);
		node->number = i;
		node->next = first;
		scramble(node->payload, PAYLOAD, i);
		first = node;
	}
	return first;
}

static struct node *move_list(struct accel *accel, const struct node *from)
{
	struct node *first = NULL, **link = &first;
	uint8_t *room = fresh((NODES * sizeof(struct node) + PAGE - 1) / PAGE);

	for (; from; room += sizeof(struct node)) {
		struct uiommu_accel_desc desc = accel_move(room, from, sizeof(*from), BLOCK);

		CHECK(accel_do(accel, &desc, NULL) == UIOMMU_ACCEL_SUCCESS);
		*link = (void *)room;
		link = &(*link)->next;
		from = *link;
	}
	return first;
}

static void check_list(struct accel *accel, const struct node *moved, struct node *original)
{
	struct uiommu_accel_record record;
	struct node *next;
	unsigned int i = 0;

	for (; moved; moved = moved->next, original = next, i++) {
		struct uiommu_accel_desc compare = accel_move((void *)(uintptr_t)moved->payload, original->payload, PAYLOAD, BLOCK);

		compare.flags_opcode = UIOMMU_ACCEL_COMPARE << 24 | BLOCK;
		CHECK(moved->number == i && moved != original);
		CHECK(scrambled(moved->payload, PAYLOAD, i));
		CHECK(accel_do(accel, &compare, &record) == UIOMMU_ACCEL_SUCCESS && !record.result);
		original->payload[i] ^= 1;
		CHECK(accel_do(accel, &compare, &record) == UIOMMU_ACCEL_SUCCESS && record.result == 1 &&
		      record.bytes_completed == i);
		next = original->next;
		free(original);
	}
	CHECK(i == NODES && !original);
}

int main(void)
{
	struct node *list = make_list(), *moved;
	struct accel accel;

	accel_open(&accel, 16);
	CHECK(accel.pasid);
	moved = move_list(&accel, list);
	check_list(&accel, moved, list);
	accel_close(&accel);
	printf("PASID %u, %u nodes\npassed\n", accel.pasid, NODES);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A list that processor and device work on together, at the process's own addresses, in words: the device moves it node by node to
 * pages that nothing has touched, then whoever started this looks at it from outside, and says so on the FIFO that is named.
 *
 *	accel-demo FIFO
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "accel.h"

enum { NODES = 4 };

struct node {
	struct node *next;
	char text[56];
};

static bool is_there(void *page)
{
	unsigned char resident = 0;

	CHECK(!mincore(page, PAGE, &resident));
	return resident & 1;
}

int main(int argc, char **argv)
{
	struct node *nodes = calloc(NODES, sizeof(*nodes)), *from = nodes, *moved = NULL, **link = &moved;
	uint8_t *pages = fresh(NODES);
	struct accel accel;
	FILE *fifo;

	CHECK(argc == 2 && nodes);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 0; i < NODES; i++) {
		nodes[i].next = i + 1 < NODES ? &nodes[i + 1] : NULL;
		snprintf(nodes[i].text, sizeof(nodes[i].text), "node %d, written by the processor", i);
	}
	accel_open(&accel, 16);
	printf("process %d is bound: PASID %u\n", getpid(), accel.pasid);
	for (uint8_t *page = pages; from; page += PAGE) {
		struct uiommu_accel_desc desc = accel_move(page, from, sizeof(*from), BLOCK);

		CHECK(!is_there(page));
		CHECK(accel_do(&accel, &desc, NULL) == UIOMMU_ACCEL_SUCCESS);
		CHECK(is_there(page));
		printf("the device moved a node from %p to %p, whose page was not there: it asked for it\n", (void *)from,
		       (void *)page);
		/* The copy still points to the next original: from there it goes on. */
		*link = (struct node *)(void *)page;
		link = &(*link)->next;
		from = *link;
	}
	printf("look %u %p\n", accel.pasid, (void *)moved->next);
	fifo = fopen(argv[1], "r");
	CHECK(fifo && fgetc(fifo) == '.');
	for (const struct node *node = moved; node; node = node->next)
		printf("the processor reads at %p: %s\n", (const void *)node, node->text);
	accel_close(&accel);
	printf("passed\n");
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* What the daemon has, and what went wrong there: as many replies as it takes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"

/* A list whose elements come in several replies. */
struct list {
	char *elements;
	size_t count;
	size_t size; /* of one here; the daemon's may be longer or shorter */
};

static int append(struct list *list, const char *elements, uint32_t count, uint32_t size)
{
	size_t common = size < list->size ? size : list->size;
	char *grown = reallocarray(list->elements, list->count + count + 1, list->size);

	if (!grown)
		return -ENOMEM;
	list->elements = grown;
	for (uint32_t i = 0; i < count; i++) {
		char *to = grown + (list->count + i) * list->size;

		memset(to, 0, list->size);
		memcpy(to, elements + (size_t)i * size, common);
	}
	list->count += count;
	return 0;
}

union page {
	struct protocol_list_reply list;
	struct protocol_faults_reply faults;
	char bytes[PROTOCOL_REPLY_MAX];
};

/* One reply: where its elements are. */
static int fetch(struct uiommu_client *client, enum protocol_type type, uint64_t *cursor, struct list *list, union page *page)
{
	size_t head = type == PROTOCOL_LIST ? sizeof(page->list) : sizeof(page->faults);
	struct protocol_cursor payload = {*cursor};
	struct client_request request = {type, &payload, sizeof(payload), NULL, 0, page, sizeof(*page), NULL, 0};
	int rc = client_call(client, &request);

	if (rc)
		return rc;
	/* Both begin alike. */
	if ((uint64_t)page->list.count * page->list.item_size > sizeof(*page) - head)
		return -EPROTO;
	*cursor = page->list.cursor;
	return append(list, page->bytes + head, page->list.count, page->list.item_size);
}

static int fetch_all(struct uiommu_client *client, enum protocol_type type, struct list *list)
{
	union page *page = malloc(sizeof(*page));
	uint64_t cursor = 0;
	int rc = page ? 0 : -ENOMEM;

	do
		rc = rc ? rc : fetch(client, type, &cursor, list, page);
	while (!rc && cursor);
	free(page);
	if (rc)
		free(list->elements);
	return rc;
}

int uiommu_client_list(struct uiommu_client *client, struct uiommu_item **out_items, size_t *out_count)
{
	struct list list = {.size = sizeof(struct uiommu_item)};
	int rc = fetch_all(client, PROTOCOL_LIST, &list);

	if (rc)
		return rc;
	*out_items = (struct uiommu_item *)(void *)list.elements;
	*out_count = list.count;
	return 0;
}

int uiommu_client_faults(struct uiommu_client *client, struct uiommu_fault_report **out_reports, size_t *out_count)
{
	struct list list = {.size = sizeof(struct uiommu_fault_report)};
	int rc = fetch_all(client, PROTOCOL_FAULTS, &list);

	if (rc)
		return rc;
	*out_reports = (struct uiommu_fault_report *)(void *)list.elements;
	*out_count = list.count;
	return 0;
}

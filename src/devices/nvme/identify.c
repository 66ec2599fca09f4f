/* SPDX-License-Identifier: BSD-3-Clause */
/* Identify (NVMe 5.15): what there is. */
#include <stdio.h>
#include <string.h>

#include "devices/nvme/nvme.h"
#include "util/util.h"

enum { VENDOR = 0x1234, ERROR_ENTRIES = NVME_ERRORS - 1, DESCRIPTOR_NGUID = 2, DESCRIPTOR_UUID = 3 };

static void put(uint8_t *data, unsigned int offset, unsigned int width, uint64_t value)
{
	memcpy(data + offset, &value, width);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "put");

void nvme_put_text(uint8_t *data, unsigned int offset, unsigned int width, const char *text)
{
	for (unsigned int i = 0; i < width; i++)
		data[offset + i] = *text ? (uint8_t)*text++ : ' ';
}

static void put_names(const struct nvme *nvme, uint8_t *data)
{
	const uint8_t *id = nvme->uuid;
	char text[100];

	/* NVM subsystem's qualified name, which ends with a zero byte. */
	snprintf((char *)data + 768, 256,
		 "nqn.2014-08.org.nvmexpress:uuid:%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", id[0],
		 id[1], id[2], id[3], id[4], id[5], id[6], id[7], id[8], id[9], id[10], id[11], id[12], id[13], id[14], id[15]);
	snprintf(text, sizeof(text), "%02x%02x%02x%02x%02x%02x%02x%02x%02x%02x", id[0], id[1], id[2], id[3], id[4], id[5], id[10],
		 id[11], id[12], id[13]);
	nvme_put_text(data, 4, 20, text); /* serial number */
	nvme_put_text(data, 24, 40, "uiommu NVMe"); /* model number */
	nvme_put_text(data, 64, 8, UIOMMU_VERSION); /* firmware revision */
}

/* Figure 247 */
static unsigned int controller(const struct nvme *nvme, uint8_t *data)
{
	put(data, 0, 2, VENDOR);
	put(data, 2, 2, VENDOR);
	put_names(nvme, data);
	put(data, 77, 1, NVME_TRANSFER_LG2 - NVME_PAGE_LG2); /* MDTS */
	put(data, 78, 2, 1); /* CNTLID */
	put(data, 80, 4, NVME_VERSION);
	put(data, 111, 1, 1); /* CNTRLTYPE: I/O controller */
	put(data, 258, 1, 3); /* ACL, 0-based */
	put(data, 259, 1, NVME_EVENTS - 1); /* AERL */
	put(data, 260, 1, 1 | 1 << 1); /* FRMW: one slot, read-only */
	put(data, 261, 1, 1 << 2); /* LPA: offsets in logs */
	put(data, 262, 1, ERROR_ENTRIES); /* ELPE */
	put(data, 266, 2, 343); /* WCTEMP, kelvin */
	put(data, 268, 2, 353); /* CCTEMP */
	put(data, 512, 1, NVME_SQE_LG2 | NVME_SQE_LG2 << 4); /* SQES */
	put(data, 513, 1, NVME_CQE_LG2 | NVME_CQE_LG2 << 4); /* CQES */
	put(data, 516, 4, 1); /* NN */
	put(data, 520, 2, 1 | 1 << 2 | 1 << 3 | 1 << 4); /* ONCS: compare, dataset management, write zeroes, select of features */
	put(data, 525, 1, 1 | 3 << 1); /* VWC: there is one, and all namespaces can be flushed at once */
	put(data, 536, 4, 1 | 1 << 18); /* SGLS: no alignment; may be longer than the data */
	put(data, 2048, 2, 1); /* power state 0 */
	return NVME_SUCCESS;
}

/* Figure 245 */
static unsigned int name_space(const struct nvme *nvme, uint32_t nsid, uint8_t *data)
{
	unsigned int status = nvme_check_namespace(nsid, false);

	if (status)
		return status;
	put(data, 0, 8, nvme->blocks); /* NSZE */
	put(data, 8, 8, nvme->blocks); /* NCAP */
	put(data, 16, 8, nvme->blocks); /* NUSE */
	put(data, 33, 1, 1 | 1 << 3); /* DLFEAT: what is deallocated reads as zeroes, by write zeroes, too */
	put(data, 99, 1, nvme->read_only); /* NSATTR */
	memcpy(data + 104, nvme->uuid, sizeof(nvme->uuid)); /* NGUID */
	put(data, 128 + 2, 1, nvme->block_lg2); /* LBAF0 */
	return NVME_SUCCESS;
}

static unsigned int list(uint32_t nsid, uint8_t *data)
{
	if (nsid >= NVME_BROADCAST - 1)
		return NVME_INVALID_NAMESPACE | NVME_DNR;
	put(data, 0, 4, nsid < 1);
	return NVME_SUCCESS;
}

/* Figure 249 */
static unsigned int descriptors(const struct nvme *nvme, uint32_t nsid, uint8_t *data)
{
	static const uint8_t types[] = {DESCRIPTOR_UUID, DESCRIPTOR_NGUID};
	unsigned int status = nvme_check_namespace(nsid, false);

	for (unsigned int i = 0; i < ARRAY_SIZE(types) && !status; i++) {
		put(data, 0, 1, types[i]);
		put(data, 1, 1, sizeof(nvme->uuid));
		memcpy(data + 4, nvme->uuid, sizeof(nvme->uuid));
		data += 4 + sizeof(nvme->uuid);
	}
	return status;
}

unsigned int nvme_identify(struct nvme *nvme, struct nvme_slot *slot)
{
	uint32_t nsid = slot->command.nsid;

	memset(slot->buffer, 0, NVME_IDENTIFY_SIZE);
	switch (slot->command.cdw10 & 0xff) {
	case NVME_CNS_NAMESPACE:
		return name_space(nvme, nsid, slot->buffer);
	case NVME_CNS_CONTROLLER:
		return controller(nvme, slot->buffer);
	case NVME_CNS_LIST:
		return list(nsid, slot->buffer);
	case NVME_CNS_DESCRIPTORS:
		return descriptors(nvme, nsid, slot->buffer);
	default:
		return NVME_INVALID_FIELD | NVME_DNR;
	}
}

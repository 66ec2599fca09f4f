/* SPDX-License-Identifier: BSD-3-Clause */
/* NVM Express Base Specification 1.4: types and constants only. All is little-endian. */
#ifndef NVME_SPEC_H
#define NVME_SPEC_H

#include <stdint.h>

/* 3.1: registers in BAR 0. */
enum {
	NVME_CAP = 0x00,
	NVME_VS = 0x08,
	NVME_INTMS = 0x0c,
	NVME_INTMC = 0x10,
	NVME_CC = 0x14,
	NVME_CSTS = 0x1c,
	NVME_AQA = 0x24,
	NVME_ASQ = 0x28,
	NVME_ACQ = 0x30,
	NVME_DOORBELLS = 0x1000, /* 3.1.24: tail of SQ 0, head of CQ 0, tail of SQ 1, ..., 4 bytes each */
};

#define NVME_VERSION UINT32_C(0x00010400)

/* 3.1.1 CAP */
#define NVME_CAP_MQES UINT64_C(0xffff) /* 0-based */
#define NVME_CAP_CQR (UINT64_C(1) << 16)
#define NVME_CAP_TO_SHIFT 24 /* in 500 ms */
#define NVME_CAP_CSS_NVM (UINT64_C(1) << 37)
#define NVME_CAP_MPSMAX_SHIFT 52 /* pages of 4 KiB << n */

/* 3.1.5 CC */
enum {
	NVME_CC_EN = 1,
	NVME_CC_CSS = 7 << 4,
	NVME_CC_MPS = 15 << 7,
	NVME_CC_MPS_SHIFT = 7,
	NVME_CC_AMS = 7 << 11,
	NVME_CC_SHN = 3 << 14,
	NVME_CC_IOSQES = 15 << 16,
	NVME_CC_IOSQES_SHIFT = 16,
	NVME_CC_IOCQES = 15 << 20,
	NVME_CC_IOCQES_SHIFT = 20,
	NVME_CC_WRITABLE = 0x00fffff1,
};

/* 3.1.6 CSTS */
enum {
	NVME_CSTS_RDY = 1,
	NVME_CSTS_CFS = 2,
	NVME_CSTS_SHST = 3 << 2,
	NVME_CSTS_SHST_OCCURRING = 1 << 2,
	NVME_CSTS_SHST_COMPLETE = 2 << 2,
};

/* 3.1.8 AQA: sizes of the admin queues, 0-based */
#define NVME_AQA_SIZE UINT32_C(0xfff)
#define NVME_AQA_ACQS_SHIFT 16

/* 4.2: submission queue entry, 64 bytes. */
struct nvme_command {
	uint8_t opcode;
	uint8_t flags; /* PSDT, fused */
	uint16_t cid;
	uint32_t nsid;
	uint32_t cdw2, cdw3;
	uint64_t metadata;
	uint64_t prp1, prp2; /* or the first SGL descriptor */
	uint32_t cdw10, cdw11, cdw12, cdw13, cdw14, cdw15;
};
_Static_assert(sizeof(struct nvme_command) == 64, "submission queue entry");

enum {
	NVME_PSDT_SHIFT = 6,
	NVME_PSDT_PRP = 0,
	NVME_PSDT_SGL = 1, /* metadata is one buffer */
	NVME_PSDT_SGL_SGL = 2, /* metadata has an SGL */
	NVME_FUSED = 3,
};

/* 4.6: completion queue entry, 16 bytes. */
struct nvme_completion {
	uint32_t result;
	uint32_t reserved;
	uint16_t sq_head;
	uint16_t sq_id;
	uint16_t cid;
	uint16_t status; /* bit 0: phase */
};
_Static_assert(sizeof(struct nvme_completion) == 16, "completion queue entry");

enum { NVME_SQE_LG2 = 6, NVME_CQE_LG2 = 4 };

/* 4.4: SGL descriptor. */
struct nvme_sgl {
	uint64_t address;
	uint32_t length;
	uint8_t reserved[3];
	uint8_t type; /* type << 4 | subtype */
};
_Static_assert(sizeof(struct nvme_sgl) == 16, "SGL descriptor");

enum {
	NVME_SGL_DATA = 0x00,
	NVME_SGL_SEGMENT = 0x20,
	NVME_SGL_LAST = 0x30,
};

/* 4.6.1: status field without phase: code, type << 8, do not retry << 14. */
enum nvme_status {
	NVME_SUCCESS = 0x0000,
	NVME_INVALID_OPCODE = 0x0001,
	NVME_INVALID_FIELD = 0x0002,
	NVME_DATA_TRANSFER = 0x0004,
	NVME_INTERNAL = 0x0006,
	NVME_INVALID_NAMESPACE = 0x000b,
	NVME_SEQUENCE = 0x000c,
	NVME_SGL_SEGMENT_INVALID = 0x000d,
	NVME_SGL_COUNT_INVALID = 0x000e,
	NVME_SGL_LENGTH_INVALID = 0x000f,
	NVME_SGL_TYPE_INVALID = 0x0011,
	NVME_PRP_OFFSET_INVALID = 0x0013,
	NVME_WRITE_PROTECTED = 0x0020,
	NVME_LBA_RANGE = 0x0080,
	NVME_CAPACITY = 0x0081,
	NVME_CQ_INVALID = 0x0100,
	NVME_QID_INVALID = 0x0101,
	NVME_QSIZE_INVALID = 0x0102,
	NVME_EVENT_LIMIT = 0x0105,
	NVME_VECTOR_INVALID = 0x0108,
	NVME_LOG_INVALID = 0x0109,
	NVME_QUEUE_DELETION = 0x010c,
	NVME_NOT_SAVEABLE = 0x010d,
	NVME_NOT_CHANGEABLE = 0x010e,
	NVME_WRITE_FAULT = 0x0280,
	NVME_READ_ERROR = 0x0281,
	NVME_COMPARE_FAILURE = 0x0285,
	NVME_DNR = 0x4000,
};

/* 5: admin commands. */
enum {
	NVME_ADMIN_DELETE_SQ = 0x00,
	NVME_ADMIN_CREATE_SQ = 0x01,
	NVME_ADMIN_GET_LOG = 0x02,
	NVME_ADMIN_DELETE_CQ = 0x04,
	NVME_ADMIN_CREATE_CQ = 0x05,
	NVME_ADMIN_IDENTIFY = 0x06,
	NVME_ADMIN_ABORT = 0x08,
	NVME_ADMIN_SET_FEATURES = 0x09,
	NVME_ADMIN_GET_FEATURES = 0x0a,
	NVME_ADMIN_EVENT = 0x0c,
};

/* 5.3, 5.4: create a queue. */
enum { NVME_QUEUE_CONTIGUOUS = 1, NVME_CQ_INTERRUPTS = 2 };

/* 5.14: log pages. */
enum {
	NVME_LOG_ERRORS = 1,
	NVME_LOG_HEALTH = 2,
	NVME_LOG_FIRMWARE = 3,
	NVME_LOG_HEALTH_SIZE = 512,
	NVME_LOG_FIRMWARE_SIZE = 512,
};

struct nvme_error {
	uint64_t count;
	uint16_t sq_id;
	uint16_t cid;
	uint16_t status; /* with the phase's place */
	uint16_t location;
	uint64_t lba;
	uint32_t nsid;
	uint8_t vendor;
	uint8_t transport;
	uint8_t reserved[2];
	uint64_t specific;
	uint8_t reserved2[24];
};
_Static_assert(sizeof(struct nvme_error) == 64, "error log entry");

/* 5.2: asynchronous events. */
enum {
	NVME_EVENT_ERROR = 0,
	NVME_EVENT_INVALID_DOORBELL = 0,
	NVME_EVENT_INVALID_VALUE = 1,
};

/* 5.15: identify. */
enum {
	NVME_CNS_NAMESPACE = 0,
	NVME_CNS_CONTROLLER = 1,
	NVME_CNS_LIST = 2,
	NVME_CNS_DESCRIPTORS = 3,
	NVME_IDENTIFY_SIZE = 4096,
};

/* 5.21: features. */
enum {
	NVME_FEATURE_ARBITRATION = 0x01,
	NVME_FEATURE_POWER = 0x02,
	NVME_FEATURE_TEMPERATURE = 0x04,
	NVME_FEATURE_RECOVERY = 0x05,
	NVME_FEATURE_CACHE = 0x06,
	NVME_FEATURE_QUEUES = 0x07,
	NVME_FEATURE_COALESCING = 0x08,
	NVME_FEATURE_VECTOR = 0x09,
	NVME_FEATURE_ATOMICITY = 0x0a,
	NVME_FEATURE_EVENTS = 0x0b,
	NVME_FEATURES = 0x0c,
};

/* 6: NVM commands. */
enum {
	NVME_FLUSH = 0x00,
	NVME_WRITE = 0x01,
	NVME_READ = 0x02,
	NVME_COMPARE = 0x05,
	NVME_WRITE_ZEROES = 0x08,
	NVME_DATASET = 0x09,
};

#define NVME_FUA (UINT32_C(1) << 30) /* in dword 12 of read and write */
#define NVME_DATASET_DEALLOCATE UINT32_C(4)

struct nvme_range {
	uint32_t attributes;
	uint32_t blocks;
	uint64_t first;
};
_Static_assert(sizeof(struct nvme_range) == 16, "dataset management range");

#define NVME_BROADCAST UINT32_MAX

#endif

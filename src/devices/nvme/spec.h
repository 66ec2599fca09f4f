/* SPDX-License-Identifier: BSD-3-Clause */
/* NVM Express Base Specification 1.4: types and constants only. */
#ifndef NVME_SPEC_H
#define NVME_SPEC_H

#include <stdint.h>

/* 3.1: registers in BAR 0. */
enum {
	NVME_CAP = 0x00,
	NVME_VS = 0x08,
};

enum {
	NVME_BAR_SIZE = 0x2000,
	NVME_MSIX_SIZE = 0x1000,
	NVME_VECTORS = 33,
	NVME_BLOCK = 512,
	NVME_VERSION = 0x00010400,
};

/* 3.1.1: 1024 entries (0-based) in contiguous queues, 10 s to be ready, NVM command set, pages of 4 KiB to 64 KiB. */
#define NVME_CAP_LOW (UINT32_C(1023) | UINT32_C(1) << 16 | UINT32_C(20) << 24)
#define NVME_CAP_HIGH (UINT32_C(1) << 5 | UINT32_C(4) << 20)

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of this test share: main.c sweeps over the calls that the others describe. */
#ifndef FAIL_NTH_H
#define FAIL_NTH_H

#include "test.h"

#include <stdbool.h>
#include <sys/types.h>
#include <uiommu/uiommu.h>

#include "wrap.h"

/* What a call may need, made before the first one can fail. */
struct world {
	struct uiommu_context *context;
	uint32_t ioas, other, hwpt, queue, ram, device_id, msi_id;
	struct uiommu_device *device;
	struct uiommu_accel *accel;
	uint64_t page;
	uint8_t *memory;
	int fd; /* sealed memfd of four pages */
	int listening; /* a socket */
	pid_t child;
	struct uiommu_process bundle; /* of the child */
	uint32_t made; /* what the call has made */
	uint32_t set;
	struct uiommu_pin *pin;
	struct uiommu_queue *work;
	struct uiommu_process opened;
	uint32_t pasid;
	int iommufd, event_fd;
	uint32_t abi_ioas, abi_device, abi_parent; /* of it */
};

enum { PAGES = 4, CHILD_ADDRESSES = 0x10000000 };

struct scenario {
	const char *name;
	int (*call)(struct world *w);
	void (*end)(struct world *w); /* of what a successful call has made and closing does not end */
	int (*before)(struct world *w);
};

/* A page of the test's own memory, to be mapped. */
struct uiommu_ioas_map own(const struct world *w, uint32_t ioas, uint64_t iova);
uint64_t count_areas(struct world *w, uint32_t id);
void end_queue(struct world *w);

/* Each scenario once for each place where it can fail, with a table of objects that has room and with one that has to grow. */
void sweep_all(struct world *w, const struct scenario *scenarios, size_t count);

/* A file each. */
void memory(void **state);
void control(void **state);
void pasids(void **state);
void faults(void **state);
void models(void **state);
void tables(void **state);
void iommufd_commands(void **state);
void guests(void **state);

#endif

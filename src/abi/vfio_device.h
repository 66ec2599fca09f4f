/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A function as VFIO has it, its files, and their commands.
 *
 * Locks of a device, in this order: @lock (who has opened it), @irq_lock (what SET_IRQS sets up), @access_lock (config space and
 * BARs: one access at a time; nothing is replaced while Bus Master changes), @attach_lock (what is attached). Of several devices,
 * those of lower numbers come first. The function's own lock is below all of them.
 */
#ifndef ABI_VFIO_DEVICE_H
#define ABI_VFIO_DEVICE_H

#include <pthread.h>
#include <uiommu/device.h>

#include "abi/vfio.h"
#include "abi/vfio_spec.h"
#include "pci/irqs.h"
#include "pci/spec.h"

enum {
	VFIO_DEVICES = 256,
	VFIO_NAME = 16, /* "0000:01:00.0" */
};

/* What a program has mapped of a WATCHED BAR's memory: from the first byte to the last, wherever there are holes. */
struct vfio_mapped {
	uint64_t start, end;
	uint64_t *seen; /* what was there when the model went to sleep */
};

/* WATCHED BARs that programs have mapped (vfio_watch.c). Its lock is below the function's. */
struct vfio_watch {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	pthread_t thread;
	unsigned int mappings;
	struct vfio_mapped mapped[UIOMMU_PCI_BARS];
	uint64_t ticks; /* how often the thread has looked; atomic */
	struct cds_list_head watchers; /* struct abi_watcher: of mappings whose writes are caught */
	bool running; /* there is a thread */
	bool armed; /* the model wants to know */
	bool end;
};

struct vfio_device {
	struct uiommu_vfio *vfio;
	struct uiommu_pci *pci;
	struct pci_transport transport;
	uint32_t address;
	unsigned int number;
	char name[VFIO_NAME]; /* its address as text */
	uint64_t bars[UIOMMU_PCI_BARS]; /* where the BARs are to be found after a reset */

	pthread_mutex_t lock;
	struct abi_file *group; /* the group's file, if it is open; not a reference */
	struct abi_file *native; /* in whose descriptor the memory of BARs is; not a reference */
	struct abi_file *iommufd; /* while the device is open; a reference */
	struct uiommu_context *context; /* its */
	uint32_t id; /* there */
	unsigned int opens;
	bool cdev; /* it was opened by BIND_IOMMUFD */

	pthread_mutex_t irq_lock;
	struct pci_irqs irqs;
	unsigned int msi_lg2; /* how many MSI vectors SET_IRQS has set up last, as a power; under @access_lock */
	bool msi_set_up; /* it is what SET_IRQS has set up; under @access_lock */
	uint8_t msi[PCI_MSI_LENGTH]; /* the capability's registers that a program has a copy of; under @access_lock */

	pthread_mutex_t access_lock;
	bool low_power; /* LOW_POWER_ENTRY; under @access_lock */
	int wakeup; /* an eventfd, or -1; under @access_lock */

	pthread_mutex_t attach_lock;

	struct vfio_watch watch;
};

struct uiommu_vfio {
	pthread_mutex_t lock; /* the table */
	struct vfio_device *devices[VFIO_DEVICES];
	unsigned int count;
	uint64_t next_address, next_low; /* for BARs: of 64 bits, of 32 */
	bool native; /* vfio_map_natively() */
};

/* A device's file: of the cdev, or of a group. */
struct vfio_file {
	struct abi_file file;
	struct vfio_device *device;
	struct abi_file *group; /* a reference; NULL: the cdev's */
	bool granted; /* the device is open; atomic */
	bool native; /* the memory of its BARs lies in the file's descriptor; before @granted */
};

/* One ioctl. */
struct vfio_call {
	struct vfio_file *file;
	struct vfio_device *device;
	struct abi_caller *caller;
	uint64_t argument;
	uint32_t argsz;
	size_t reply; /* set by a handler: bytes of @data that go back */
	union {
		uint8_t data[64]; /* the struct, as far as it was read */
		uint64_t aligned;
	};
};

/* vfio_open.c: under the device's lock. The first open gives it to @iommufd, the last close takes it back. */
int vfio_device_open(struct vfio_file *file, struct abi_file *iommufd);
void vfio_device_close(struct vfio_device *device);
int vfio_transport_init(struct vfio_device *device);

/* vfio_group.c */
int vfio_group_open(struct vfio_device *device, struct abi_file **out);
bool vfio_is_group(const struct abi_file *file);
struct vfio_device *vfio_group_device(struct abi_file *group);

/* vfio_file.c: the cdev's file, or one for a group's, which then has a reference to the group's file. */
int vfio_file_open(struct vfio_device *device, struct abi_file *group, struct abi_file **out);

/* The commands: 0 or more, or -errno. */
int vfio_bind(struct vfio_call *call);
int vfio_attach_pt(struct vfio_call *call);
int vfio_detach_pt(struct vfio_call *call);
int vfio_get_info(struct vfio_call *call);
int vfio_get_region_info(struct vfio_call *call);
int vfio_get_irq_info(struct vfio_call *call);
int vfio_set_irqs(struct vfio_call *call);
int vfio_reset(struct vfio_call *call);
int vfio_hot_reset_info(struct vfio_call *call);
int vfio_hot_reset(struct vfio_call *call);
int vfio_feature(struct vfio_call *call);

/* Reset the function, and put config space back to what it was. Under @access_lock. */
void vfio_device_reset(struct vfio_device *device, enum uiommu_pci_reset_type type);

/* Set config space as it is for a program that begins. Under @access_lock, after a reset. */
void vfio_config_begin(struct vfio_device *device);
/* SET_IRQS has set up something else. Under @irq_lock. */
void vfio_config_mode(struct vfio_device *device, enum pci_irq before, enum pci_irq now);

/* Regions, at @offset of the file. */
ssize_t vfio_region_read(struct vfio_device *device, struct abi_caller *caller, uint64_t address, size_t count, uint64_t offset);
ssize_t vfio_region_write(struct vfio_device *device, struct abi_caller *caller, uint64_t address, size_t count, uint64_t offset);
int vfio_region_mmap(struct vfio_file *file, const struct abi_caller *caller, uint64_t offset, uint64_t length, int flags,
		     struct abi_mapping *out);
void vfio_region_munmap(struct vfio_device *device, uint64_t offset);

void vfio_watch_init(struct vfio_device *device);
void vfio_watch_fini(struct vfio_device *device);
/* The transport's watch(). */
bool vfio_watch(struct vfio_device *device);
/*
 * A mapping of @length bytes at @start of a WATCHED BAR's memory begins (-EAGAIN: there is no thread; -ENOMEM) or ends, or there is
 * none any more. Of native mappings nobody hears the end before that of the file: they are one.
 */
int vfio_watch_mapped(struct vfio_device *device, unsigned int bar, uint64_t start, uint64_t length);
void vfio_watch_unmapped(struct vfio_device *device);
void vfio_watch_add(struct vfio_device *device, struct abi_watcher *watcher);
void vfio_watch_remove(struct vfio_device *device, struct abi_watcher *watcher);
void vfio_watch_end(struct vfio_device *device);

/* Config space, under @access_lock. @length: to its end at most. */
void vfio_config_read(struct vfio_device *device, unsigned int offset, uint8_t *buffer, size_t length);
void vfio_config_write(struct vfio_device *device, unsigned int offset, const uint8_t *buffer, size_t length);
unsigned int vfio_config_size(const struct vfio_device *device);

/* Any access ends low power. Under @access_lock. */
void vfio_wake(struct vfio_device *device);

#endif

// SPDX-License-Identifier: GPL-2.0-only
/*
 * Driver of uiommu's accelerator (docs/accel.md, "PCI function").
 *
 * A file is a process that is bound, and a doorbell page of the device:
 *
 *	open	takes a page and binds the process (PASID)
 *	ioctl	enables the page for the process's ring
 *	mmap	maps its doorbell
 *	release	aborts the page, waits until the device has let go of it, and only then unbinds
 *
 * A process that exits or executes another program loses its memory before its files. What the device does in between finds
 * nothing, and the IOMMU may tell of it.
 *
 * The device can go at any time (hot-unplug, unbinding the driver): what it is used for is ended then, and files stay as what can
 * do nothing more. Lock order: device->alive, file->lock; device->list_lock is a leaf.
 */
#include <linux/delay.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/iommu.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/poll.h>
#include <linux/rwsem.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include "uiommu_accel.h"

#define NAME "uiommu_accel"

/* BAR 0. */
#define REG_VERSION 0x00
#define REG_PAGES 0x04
#define REG_VECTORS 0x08
#define REG_CONTROL 0x10
#define CONTROL_RESET 1
#define REG_STATUS 0x14
#define STATUS_RESETTING 1
#define REG_EVENT_INTERRUPT 0x18
#define REG_EVENTS 0x40
#define REG_PAGE(n) (0x1000 + (n)*0x40)

/* Of a page. */
#define PAGE_COMMAND 0x00
#define COMMAND_ENABLE 1
#define COMMAND_DRAIN 2
#define COMMAND_ABORT 3
#define PAGE_STATE 0x04
#define STATE_MASK 0xf
#define STATE_DISABLED 0
#define STATE_ENABLED 2
#define STATE_REASON 0xff00
#define REASON_MEMORY (5 << 8)
#define PAGE_RING 0x08
#define PAGE_SIZE_LG2 0x10
#define PAGE_PASID 0x14
#define PAGE_INTERRUPT 0x18

#define VALID BIT(31)
#define PAGES_MAX 512
#define VECTORS_MAX 16
#define DOORBELL_BAR 2
#define PATIENCE_MS 10000 /* for what the device does by itself */

struct accel_page {
	wait_queue_head_t wait;
	atomic64_t interrupts;
	unsigned int vector;
};

struct accel_device {
	struct kref kref;
	struct pci_dev *pdev;
	void __iomem *registers;
	struct miscdevice misc;
	int id;
	unsigned int page_count, vector_count;
	int irqs[VECTORS_MAX]; /* of the vectors: to ask for them may sleep */
	struct rw_semaphore alive; /* read by whoever uses registers */
	bool gone; /* under @alive */
	struct mutex list_lock;
	struct list_head files; /* under @list_lock */
	DECLARE_BITMAP(used, PAGES_MAX); /* under @list_lock */
	struct address_space *mapping; /* of the node, for all files; under @list_lock */
	struct accel_page pages[];
};

struct accel_file {
	struct accel_device *device;
	struct list_head link;
	struct mutex lock;
	struct mm_struct *mm; /* whose process it is; counted, but not its memory */
	struct iommu_sva *sva; /* NULL: the device is gone */
	u32 pasid;
	unsigned int page;
	bool ring; /* the page is in use */
};

static DEFINE_IDA(accel_ids);

static void accel_free(struct kref *kref)
{
	kfree(container_of(kref, struct accel_device, kref));
}

static void __iomem *page_register(const struct accel_device *device, unsigned int page, unsigned int offset)
{
	return device->registers + REG_PAGE(page) + offset;
}

static u32 page_state(const struct accel_device *device, unsigned int page)
{
	return readl(page_register(device, page, PAGE_STATE));
}

static bool page_disabled(const struct accel_device *device, unsigned int page)
{
	return (page_state(device, page) & STATE_MASK) == STATE_DISABLED;
}

/* --- pages; with the file's lock, and the device alive --- */

/* When this returns 0 the device does nothing with the page's PASID any more. */
static int page_abort(struct accel_file *file)
{
	struct accel_device *device = file->device;

	if (!file->ring)
		return 0;
	writel(COMMAND_ABORT, page_register(device, file->page, PAGE_COMMAND));
	if (!wait_event_timeout(device->pages[file->page].wait, page_disabled(device, file->page), msecs_to_jiffies(PATIENCE_MS))) {
		dev_err(&device->pdev->dev, "page %u does not end\n", file->page);
		return -ENODEV;
	}
	file->ring = false;
	return 0;
}

static int page_enable(struct accel_file *file, const struct uiommu_accel_ring *ring)
{
	struct accel_device *device = file->device;
	struct accel_page *page = &device->pages[file->page];
	u32 state;

	if (file->ring)
		return -EBUSY;
	writeq(ring->address, page_register(device, file->page, PAGE_RING));
	writel(ilog2(ring->entries), page_register(device, file->page, PAGE_SIZE_LG2));
	writel(VALID | file->pasid, page_register(device, file->page, PAGE_PASID));
	writel(VALID | page->vector, page_register(device, file->page, PAGE_INTERRUPT));
	writel(COMMAND_ENABLE, page_register(device, file->page, PAGE_COMMAND));
	state = page_state(device, file->page);
	if ((state & STATE_MASK) == STATE_DISABLED)
		return (state & STATE_REASON) == REASON_MEMORY ? -ENOMEM : -EINVAL;
	file->ring = true;
	return 0;
}

/* It takes as long as its page faults take. A device that is reset because it goes tells nobody, so it is looked at each second. */
static int page_drain(struct accel_file *file)
{
	struct accel_device *device = file->device;
	long left;

	if (!file->ring)
		return 0;
	writel(COMMAND_DRAIN, page_register(device, file->page, PAGE_COMMAND));
	do
		left = wait_event_killable_timeout(device->pages[file->page].wait, page_disabled(device, file->page), HZ);
	while (!left);
	if (left < 0)
		return page_abort(file) ?: -EINTR;
	file->ring = false;
	return 0;
}

/* --- files --- */

static int page_take(struct accel_device *device, struct accel_file *file, struct address_space *mapping)
{
	mutex_lock(&device->list_lock);
	file->page = find_first_zero_bit(device->used, device->page_count);
	if (file->page < device->page_count) {
		set_bit(file->page, device->used);
		list_add(&file->link, &device->files);
		device->mapping = mapping;
	}
	mutex_unlock(&device->list_lock);
	return file->page < device->page_count ? 0 : -EBUSY;
}

/* @reusable: the device has let go of it. */
static void page_give(struct accel_file *file, bool reusable)
{
	mutex_lock(&file->device->list_lock);
	if (reusable)
		clear_bit(file->page, file->device->used);
	list_del(&file->link);
	mutex_unlock(&file->device->list_lock);
}

static struct iommu_sva *bind(struct device *dev, struct mm_struct *mm)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
	return iommu_sva_bind_device(dev, mm, NULL);
#else
	return iommu_sva_bind_device(dev, mm);
#endif
}

static int file_bind(struct accel_file *file, struct address_space *mapping)
{
	struct accel_device *device = file->device;
	int error;

	if (device->gone)
		return -ENODEV;
	error = page_take(device, file, mapping);
	if (error)
		return error;
	file->sva = bind(&device->pdev->dev, file->mm);
	if (IS_ERR(file->sva)) {
		page_give(file, true);
		return PTR_ERR(file->sva);
	}
	file->pasid = iommu_sva_get_pasid(file->sva);
	atomic64_set(&device->pages[file->page].interrupts, 0);
	return 0;
}

/* Once; with the device alive, or as it goes. */
static void file_unbind(struct accel_file *file)
{
	bool ended;

	mutex_lock(&file->lock);
	if (file->sva) {
		/* A device that does not let go keeps page and PASID, so that it reaches nobody else's memory. */
		ended = !page_abort(file);
		if (ended)
			iommu_sva_unbind_device(file->sva);
		page_give(file, ended);
		file->sva = NULL;
	}
	mutex_unlock(&file->lock);
}

static int accel_open(struct inode *inode, struct file *filp)
{
	struct accel_device *device = container_of(filp->private_data, struct accel_device, misc);
	struct accel_file *file = kzalloc(sizeof(*file), GFP_KERNEL);
	int error;

	if (!file)
		return -ENOMEM;
	mutex_init(&file->lock);
	file->device = device;
	file->mm = current->mm;
	down_read(&device->alive);
	error = file_bind(file, inode->i_mapping);
	up_read(&device->alive);
	if (error) {
		kfree(file);
		return error;
	}
	mmgrab(file->mm);
	kref_get(&device->kref); /* misc_open() keeps it until here */
	filp->private_data = file;
	return nonseekable_open(inode, filp);
}

static int accel_release(struct inode *inode, struct file *filp)
{
	struct accel_file *file = filp->private_data;
	struct accel_device *device = file->device;

	down_read(&device->alive);
	file_unbind(file);
	up_read(&device->alive);
	mmdrop(file->mm);
	kfree(file);
	kref_put(&device->kref, accel_free);
	return 0;
}

/* Only the process that is bound: what another one puts into a ring would be done at this one's addresses. */
static int file_check(const struct accel_file *file)
{
	if (current->mm != file->mm)
		return -EPERM;
	return file->sva ? 0 : -ENODEV;
}

static int file_map(struct accel_file *file, struct vm_area_struct *vma)
{
	struct pci_dev *pdev = file->device->pdev;
	unsigned long pfn = (pci_resource_start(pdev, DOORBELL_BAR) >> PAGE_SHIFT) + file->page;
	int error = file_check(file);

	if (error)
		return error;
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
	vma->vm_flags |= VM_DONTCOPY | VM_DONTEXPAND;
#else
	vm_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND);
#endif
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	return io_remap_pfn_range(vma, vma->vm_start, pfn, PAGE_SIZE, vma->vm_page_prot);
}

static int accel_mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct accel_file *file = filp->private_data;
	int error;

	/* Doorbells lie 4096 bytes apart, and a page has to be one process's alone. */
	BUILD_BUG_ON(PAGE_SIZE != 4096);
	if (vma->vm_pgoff || vma->vm_end - vma->vm_start != PAGE_SIZE || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	/* Not the file's lock: what waits with it may need the lock that our caller holds. */
	down_read(&file->device->alive);
	error = file_map(file, vma);
	up_read(&file->device->alive);
	return error;
}

static int ioctl_info(struct accel_file *file, void __user *argument)
{
	struct uiommu_accel_info info = {.pasid = file->pasid, .page = file->page, .state = page_state(file->device, file->page)};

	return copy_to_user(argument, &info, sizeof(info)) ? -EFAULT : 0;
}

static int ioctl_locked(struct accel_file *file, unsigned int command, void __user *argument, const struct uiommu_accel_ring *ring)
{
	int error = file_check(file);

	if (error)
		return error;
	switch (command) {
	case UIOMMU_ACCEL_INFO:
		return ioctl_info(file, argument);
	case UIOMMU_ACCEL_RING:
		return page_enable(file, ring);
	case UIOMMU_ACCEL_DRAIN:
		return page_drain(file);
	default:
		return -ENOTTY;
	}
}

static long accel_ioctl(struct file *filp, unsigned int command, unsigned long argument)
{
	struct accel_file *file = filp->private_data;
	struct uiommu_accel_ring ring;
	long error;

	if (command == UIOMMU_ACCEL_RING) {
		if (copy_from_user(&ring, (void __user *)argument, sizeof(ring)))
			return -EFAULT;
		if (ring.flags || ring.entries < 2 || ring.entries > 4096 || !is_power_of_2(ring.entries))
			return -EINVAL;
	}
	down_read(&file->device->alive);
	mutex_lock(&file->lock);
	error = ioctl_locked(file, command, (void __user *)argument, &ring);
	mutex_unlock(&file->lock);
	up_read(&file->device->alive);
	return error;
}

static ssize_t accel_read(struct file *filp, char __user *buffer, size_t size, loff_t *offset)
{
	struct accel_file *file = filp->private_data;
	struct accel_page *page = &file->device->pages[file->page];
	u64 count;
	int error;

	if (size < sizeof(count))
		return -EINVAL;
	if (current->mm != file->mm)
		return -EPERM;
	if (filp->f_flags & O_NONBLOCK) {
		if (!atomic64_read(&page->interrupts))
			return -EAGAIN;
	} else {
		error = wait_event_interruptible(page->wait, atomic64_read(&page->interrupts) || READ_ONCE(file->device->gone));
		if (error)
			return error;
	}
	count = atomic64_xchg(&page->interrupts, 0);
	if (!count && READ_ONCE(file->device->gone))
		return -ENODEV;
	return copy_to_user(buffer, &count, sizeof(count)) ? -EFAULT : sizeof(count);
}

static __poll_t accel_poll(struct file *filp, struct poll_table_struct *table)
{
	struct accel_file *file = filp->private_data;
	struct accel_page *page = &file->device->pages[file->page];

	poll_wait(filp, &page->wait, table);
	if (READ_ONCE(file->device->gone))
		return EPOLLERR | EPOLLHUP;
	return atomic64_read(&page->interrupts) ? EPOLLIN | EPOLLRDNORM : 0;
}

static const struct file_operations accel_fops = {
	.owner = THIS_MODULE,
	.open = accel_open,
	.release = accel_release,
	.mmap = accel_mmap,
	.unlocked_ioctl = accel_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.read = accel_read,
	.poll = accel_poll,
};

/* --- interrupts --- */

/* Work of one of the pages with this vector has been completed. */
static irqreturn_t on_completion(int irq, void *opaque)
{
	struct accel_device *device = opaque;

	for (unsigned int i = 0; i < device->page_count; i++) {
		struct accel_page *page = &device->pages[i];

		if (device->irqs[page->vector] != irq || !test_bit(i, device->used))
			continue;
		atomic64_inc(&page->interrupts);
		wake_up(&page->wait);
	}
	return IRQ_HANDLED;
}

/* Pages have ended, or have met an error: reading registers may take a while. */
static irqreturn_t on_events(int irq, void *opaque)
{
	struct accel_device *device = opaque;

	for (unsigned int first = 0; first < device->page_count; first += 32) {
		void __iomem *word = device->registers + REG_EVENTS + first / 8;
		unsigned long events = readl(word);
		unsigned int i;

		if (!events)
			continue;
		writel(events, word);
		for_each_set_bit(i, &events, 32)
		{
			if (first + i < device->page_count)
				wake_up(&device->pages[first + i].wait);
		}
	}
	return IRQ_HANDLED;
}

/* With one vector it is both. */
static irqreturn_t on_first(int irq, void *opaque)
{
	struct accel_device *device = opaque;

	if (device->vector_count == 1)
		on_completion(irq, opaque);
	return IRQ_WAKE_THREAD;
}

static int interrupts_on(struct accel_device *device)
{
	struct pci_dev *pdev = device->pdev;
	unsigned int wanted = min(readl(device->registers + REG_VECTORS), VECTORS_MAX);
	int count = pci_alloc_irq_vectors(pdev, 1, wanted, PCI_IRQ_MSIX);
	int error;

	if (count < 0)
		return count;
	device->vector_count = count;
	for (int i = 0; i < count; i++)
		device->irqs[i] = pci_irq_vector(pdev, i);
	for (unsigned int i = 0; i < device->page_count; i++)
		device->pages[i].vector = count > 1 ? 1 + i % (count - 1) : 0;
	error = request_threaded_irq(device->irqs[0], on_first, on_events, 0, NAME, device);
	if (error) {
		pci_free_irq_vectors(pdev);
		return error;
	}
	for (int i = 1; i < count; i++) {
		error = request_irq(device->irqs[i], on_completion, 0, NAME, device);
		if (!error)
			continue;
		while (--i >= 0)
			free_irq(device->irqs[i], device);
		pci_free_irq_vectors(pdev);
		return error;
	}
	writel(VALID, device->registers + REG_EVENT_INTERRUPT);
	return 0;
}

static void interrupts_off(struct accel_device *device)
{
	writel(0, device->registers + REG_EVENT_INTERRUPT);
	for (unsigned int i = 0; i < device->vector_count; i++)
		free_irq(device->irqs[i], device);
	pci_free_irq_vectors(device->pdev);
}

/* --- the device --- */

/* Until Linux 6.16 drivers say that they want this; since then it comes with the first bind. */
static int sva_on(struct device *dev)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
	int error = iommu_dev_enable_feature(dev, IOMMU_DEV_FEAT_IOPF);

	if (error)
		return error;
	error = iommu_dev_enable_feature(dev, IOMMU_DEV_FEAT_SVA);
	if (error)
		iommu_dev_disable_feature(dev, IOMMU_DEV_FEAT_IOPF);
	return error;
#else
	return 0;
#endif
}

static void sva_off(struct device *dev)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
	iommu_dev_disable_feature(dev, IOMMU_DEV_FEAT_SVA);
	iommu_dev_disable_feature(dev, IOMMU_DEV_FEAT_IOPF);
#endif
}

static int accel_reset(struct accel_device *device)
{
	unsigned long end = jiffies + msecs_to_jiffies(PATIENCE_MS);

	writel(CONTROL_RESET, device->registers + REG_CONTROL);
	while (readl(device->registers + REG_STATUS) & STATUS_RESETTING) {
		if (time_after(jiffies, end))
			return -ETIMEDOUT;
		usleep_range(50, 200);
	}
	return 0;
}

static int register_node(struct accel_device *device)
{
	int error;

	device->id = ida_alloc(&accel_ids, GFP_KERNEL);
	if (device->id < 0)
		return device->id;
	device->misc.minor = MISC_DYNAMIC_MINOR;
	device->misc.name = devm_kasprintf(&device->pdev->dev, GFP_KERNEL, "uiommu%d", device->id);
	device->misc.fops = &accel_fops;
	device->misc.parent = &device->pdev->dev;
	device->misc.mode = 0600;
	error = device->misc.name ? misc_register(&device->misc) : -ENOMEM;
	if (error)
		ida_free(&accel_ids, device->id);
	return error;
}

static struct accel_device *accel_alloc(struct pci_dev *pdev, void __iomem *registers)
{
	unsigned int count = readl(registers + REG_PAGES);
	struct accel_device *device;

	if (!count || count > PAGES_MAX || pci_resource_len(pdev, DOORBELL_BAR) < count * 4096ul)
		return ERR_PTR(-ENODEV);
	device = kzalloc(struct_size(device, pages, count), GFP_KERNEL);
	if (!device)
		return ERR_PTR(-ENOMEM);
	kref_init(&device->kref);
	device->pdev = pdev;
	device->registers = registers;
	device->page_count = count;
	init_rwsem(&device->alive);
	mutex_init(&device->list_lock);
	INIT_LIST_HEAD(&device->files);
	for (unsigned int i = 0; i < count; i++)
		init_waitqueue_head(&device->pages[i].wait);
	return device;
}

static int accel_start(struct accel_device *device)
{
	int error = accel_reset(device);

	if (error)
		return error;
	error = interrupts_on(device);
	if (error)
		return error;
	error = sva_on(&device->pdev->dev);
	if (error)
		goto no_sva;
	error = register_node(device);
	if (!error)
		return 0;
	sva_off(&device->pdev->dev);
no_sva:
	interrupts_off(device);
	return error;
}

static int accel_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct accel_device *device;
	void __iomem *registers;
	int error = pcim_enable_device(pdev);

	if (error)
		return error;
	registers = pcim_iomap(pdev, 0, 0);
	if (!registers)
		return -ENOMEM;
	if (readl(registers + REG_VERSION) != 1)
		return dev_err_probe(&pdev->dev, -ENODEV, "unknown version\n");
	error = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (error)
		return error;
	pci_set_master(pdev);
	device = accel_alloc(pdev, registers);
	if (IS_ERR(device))
		return PTR_ERR(device);
	pci_set_drvdata(pdev, device);
	error = accel_start(device);
	if (error) {
		pci_clear_master(pdev);
		kref_put(&device->kref, accel_free);
		return error;
	}
	dev_info(&pdev->dev, "%s: %u pages\n", device->misc.name, device->page_count);
	return 0;
}

static void accel_remove(struct pci_dev *pdev)
{
	struct accel_device *device = pci_get_drvdata(pdev);
	struct accel_file *file, *next;

	misc_deregister(&device->misc);
	/* Whoever drains is told to stop. */
	writel(CONTROL_RESET, device->registers + REG_CONTROL);
	for (unsigned int i = 0; i < device->page_count; i++)
		wake_up(&device->pages[i].wait);
	down_write(&device->alive);
	WRITE_ONCE(device->gone, true);
	if (device->mapping)
		unmap_mapping_range(device->mapping, 0, 0, 1);
	list_for_each_entry_safe(file, next, &device->files, link) file_unbind(file);
	interrupts_off(device);
	up_write(&device->alive);
	for (unsigned int i = 0; i < device->page_count; i++)
		wake_up(&device->pages[i].wait);
	sva_off(&pdev->dev);
	pci_clear_master(pdev);
	ida_free(&accel_ids, device->id);
	kref_put(&device->kref, accel_free);
}

static const struct pci_device_id accel_id_table[] = {{PCI_DEVICE(0x1234, 0x5541)}, {}};
MODULE_DEVICE_TABLE(pci, accel_id_table);

static struct pci_driver accel_driver = {
	.name = NAME,
	.id_table = accel_id_table,
	.probe = accel_probe,
	.remove = accel_remove,
};
module_pci_driver(accel_driver);

MODULE_DESCRIPTION("uiommu's accelerator: shared virtual addressing for processes");
MODULE_LICENSE("GPL");

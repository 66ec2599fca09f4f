/* SPDX-License-Identifier: BSD-3-Clause */
/* Device models, a vIOMMU, and what carries PCI functions to their users. */
#include "fail_nth.h"

#include <linux/vfio.h>
#include <sys/eventfd.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "pci/pci.h"
#include "pci/spec.h"
#include "util/util.h"

static int call_accel_create(struct world *w)
{
	struct uiommu_accel *accel;
	int error = uiommu_accel_create(w->context, w->msi_id, &accel);

	if (!error)
		uiommu_accel_destroy(accel);
	return error;
}

static int call_accel_queue(struct world *w)
{
	struct uiommu_queue_config config = {.size = sizeof(config), .entries = 8, .flags = UIOMMU_QUEUE_SHARED};

	return uiommu_accel_queue(w->accel, &config, &w->work);
}

static int call_accel_grant(struct world *w)
{
	uint16_t handle;

	return uiommu_accel_grant(w->accel, UIOMMU_NO_PASID, &handle);
}

static const struct uiommu_pci_ops pci_ops;

/* With an MSI-X table and memory in a BAR. */
static int call_pci_create(struct world *w)
{
	static const struct uiommu_pci_ops ops = {NULL};
	static const struct uiommu_pci_capability msix = {UIOMMU_PCI_MSIX, .count = 8};
	struct uiommu_pci_description description = {
		.size = sizeof(description),
		.capability_count = 1,
		.bars = {{.size = 4 * w->page, .memory_offset = 2 * w->page, .memory_length = w->page}},
		.capabilities = &msix,
		.ops = &ops,
	};
	struct uiommu_pci *pci;
	int error = uiommu_pci_create(w->context, w->msi_id, &description, NULL, &pci);

	if (!error)
		uiommu_pci_destroy(pci);
	return error;
}

/* A function, ATS as its driver enables it, and a page that is enabled without PASID. Without memory for ATS it does without. */
static int enable_page(struct uiommu_accel_pci *function)
{
	struct uiommu_pci *pci = uiommu_accel_pci_function(function);
	const uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, ats = PCI_ATS_ENABLE;
	const uint32_t size = 5, enable = 1;
	uint32_t state = 0;

	assert_int_equal(pci_config_write(pci, PCI_COMMAND, &command, sizeof(command)), 0);
	assert_int_equal(pci_config_write(pci, pci->place[UIOMMU_PCI_ATS] + PCI_ATS_CONTROL, &ats, sizeof(ats)), 0);
	assert_int_equal(pci_bar_write(pci, 0, 0x1010, &size, sizeof(size)), 0);
	assert_int_equal(pci_bar_write(pci, 0, 0x1000, &enable, sizeof(enable)), 0);
	uiommu_accel_poll(uiommu_accel_pci_engine(function), 1);
	assert_int_equal(pci_bar_read(pci, 0, 0x1004, &state, sizeof(state)), 0);
	assert_true(state == 2 || state == 5 << 8);
	return state == 2 ? 0 : -ENOMEM;
}

static int call_accel_pci(struct world *w)
{
	const struct uiommu_accel_pci_config config = {.size = sizeof(config), .flags = UIOMMU_ACCEL_PCI_POLLED, .pages = 2};
	struct uiommu_accel_pci *function;
	int error = uiommu_accel_pci_create(w->context, w->device_id, &config, &function);

	if (error)
		return error;
	error = enable_page(function);
	assert_int_equal(uiommu_accel_pci_destroy(function), 0);
	return error;
}

static int call_model(struct world *w)
{
	struct uiommu_model *model;
	int error = uiommu_model_create(w->context, 0x4242, "nvme,file=/proc/self/exe,ro", NULL, 0, &model);

	return error ? error : uiommu_model_destroy(model);
}

/* A virtual device of @w's engine, and a page whose PASID gets a number. Without memory for that it is not enabled. */
static int enable_virtual(struct uiommu_accel_pci *function)
{
	struct uiommu_pci *pci = uiommu_accel_pci_function(function);
	const uint16_t pasid = PCI_PASID_ENABLE;
	const uint32_t number = UINT32_C(1) << 31 | 1;

	assert_int_equal(pci_config_write(pci, pci->place[UIOMMU_PCI_PASID] + PCI_PASID_CONTROL, &pasid, sizeof(pasid)), 0);
	assert_int_equal(pci_config_write(pci, PCI_COMMAND, &(const uint16_t){PCI_COMMAND_MEMORY}, 2), 0);
	assert_int_equal(pci_bar_write(pci, 0, 0x1014, &number, sizeof(number)), 0);
	return enable_page(function);
}

static int call_accel_virtual(struct world *w)
{
	struct uiommu_pasid_set_alloc alloc = {.size = sizeof(alloc), .quota = 1};
	struct uiommu_accel_pci_config config = {.size = sizeof(config), .accel = w->accel, .pages = 2};
	struct uiommu_accel_pci *function;
	int error = uiommu_pasid_set_alloc(w->context, &alloc, &config.set_id);

	if (error)
		return error;
	error = uiommu_accel_pci_create(w->context, w->device_id, &config, &function);
	if (!error) {
		error = enable_virtual(function);
		assert_int_equal(uiommu_accel_pci_destroy(function), 0);
	}
	assert_int_equal(uiommu_pasid_free_all(w->context, config.set_id), 0);
	assert_int_equal(uiommu_destroy(w->context, config.set_id), 0);
	return error;
}

static int call_model_virtual(struct world *w)
{
	struct uiommu_pasid_set_alloc alloc = {.size = sizeof(alloc), .quota = 1};
	struct uiommu_model_virtual request = {.size = sizeof(request), .rid = 0x4343, .text = "accel,pages=3"};
	struct uiommu_model *parent, *model;
	int error = uiommu_model_create(w->context, 0x4242, "accel", NULL, 0, &parent);

	if (error)
		return error;
	error = uiommu_pasid_set_alloc(w->context, &alloc, &request.set_id);
	if (!error) {
		error = uiommu_model_create_virtual(parent, &request, &model);
		if (!error)
			assert_int_equal(uiommu_model_destroy(model), 0);
		assert_int_equal(uiommu_destroy(w->context, request.set_id), 0);
	}
	assert_int_equal(uiommu_model_destroy(parent), 0);
	return error;
}

static int call_model_accel(struct world *w)
{
	struct uiommu_model *model;
	int error = uiommu_model_create(w->context, 0x4242, "accel,pages=3,vectors=2,spin=1", NULL, 0, &model);

	return error ? error : uiommu_model_destroy(model);
}

static int call_model_dsa(struct world *w)
{
	struct uiommu_model *model;
	int error = uiommu_model_create(w->context, 0x4242, "dsa,spin=1", NULL, 0, &model);

	return error ? error : uiommu_model_destroy(model);
}

static int make_nest_parent(struct world *w)
{
	struct uiommu_hwpt_alloc alloc = {.size = sizeof(alloc), .flags = UIOMMU_HWPT_NEST_PARENT, .parent_id = w->other};

	return uiommu_hwpt_alloc(w->context, &alloc, &w->made);
}

static int call_vtd(struct world *w)
{
	const struct uiommu_vtd_config config = {.size = sizeof(config), .parent_id = w->made};
	struct uiommu_vtd *vtd;
	int error = uiommu_vtd_create(w->context, &config, &vtd);

	if (error)
		return error;
	error = uiommu_vtd_add(vtd, w->msi_id, 1);
	assert_int_equal(uiommu_vtd_destroy(vtd), 0);
	return error;
}

static int call_vtd_pci(struct world *w)
{
	const struct uiommu_vtd_config config = {.size = sizeof(config), .parent_id = w->made};
	struct uiommu_vtd_pci *function;
	struct uiommu_vtd *vtd;
	int error = uiommu_vtd_pci_create(w->context, w->device_id, &function);

	if (error)
		return error;
	error = uiommu_vtd_pci_start(function, &config, &vtd);
	assert_int_equal(uiommu_vtd_pci_destroy(function), 0);
	return error;
}

/* A server with a port, whose socket is this test's. */
static int serve(struct world *w, uint32_t flags)
{
	struct uiommu_pci_description description = {.size = sizeof(description), .ops = &pci_ops};
	struct uiommu_vfio_user_port port = {.size = sizeof(port), .flags = flags, .listen_fd = w->listening};
	struct uiommu_vfio_user *server = NULL;
	int error = uiommu_pci_create(w->context, w->msi_id, &description, NULL, &port.pci);

	if (error)
		return error;
	error = uiommu_vfio_user_open(w->context, &server);
	if (!error)
		error = uiommu_vfio_user_add(server, &port);
	uiommu_vfio_user_close(server);
	uiommu_pci_destroy(port.pci);
	return error;
}

static int call_vfio_user(struct world *w)
{
	return serve(w, 0);
}

static int call_vfio_user_on_demand(struct world *w)
{
	return serve(w, UIOMMU_VFIO_USER_ON_DEMAND);
}

static int use_vfio(struct uiommu_vfio *vfio, int iommufd, int cdev)
{
	struct {
		uint32_t set[5];
		int32_t fd;
	} irqs = {{24, 0x24, 0, 0, 1}, eventfd(0, EFD_CLOEXEC)};
	uint32_t bind[4] = {16, 0, (uint32_t)iommufd};
	int error = irqs.fd < 0 ? -EMFILE : uiommu_ioctl(cdev, ';' << 8 | 118, bind), group;

	if (!error)
		error = uiommu_ioctl(cdev, VFIO_DEVICE_SET_IRQS, &irqs);
	if (!error) {
		group = uiommu_vfio_open(vfio, "/dev/vfio/0");
		error = group == -EBUSY ? 0 : group;
	}
	if (irqs.fd >= 0)
		close(irqs.fd);
	return error;
}

/* A table with one function, which is bound and has an interrupt. */
static int call_vfio(struct world *w)
{
	struct uiommu_pci_description description = {.size = sizeof(description), .ops = &pci_ops, .interrupt_pin = 1};
	struct uiommu_vfio *vfio = NULL;
	struct uiommu_pci *pci = NULL;
	int iommufd = -1, cdev = -1, error = uiommu_pci_create(w->context, w->msi_id, &description, NULL, &pci);

	if (!error)
		error = uiommu_vfio_create(&vfio);
	if (!error)
		error = uiommu_vfio_add(vfio, pci, 0);
	if (!error) {
		iommufd = uiommu_abi_open("/dev/iommu", NULL);
		cdev = uiommu_vfio_open(vfio, "/dev/vfio/devices/vfio0");
		error = iommufd < 0 ? iommufd : cdev < 0 ? cdev : use_vfio(vfio, iommufd, cdev);
	}
	if (cdev >= 0)
		uiommu_abi_close(cdev);
	if (iommufd >= 0)
		uiommu_abi_close(iommufd);
	uiommu_vfio_destroy(vfio);
	uiommu_pci_destroy(pci);
	return error;
}

void models(void **state)
{
	static const struct scenario scenarios[] = {
		{"accel_create", call_accel_create, NULL, NULL},
		{"vtd", call_vtd, NULL, make_nest_parent},
		{"vtd_pci", call_vtd_pci, NULL, make_nest_parent},
		{"model", call_model, NULL, NULL},
		{"model accel", call_model_accel, NULL, NULL},
		{"model dsa", call_model_dsa, NULL, NULL},
		{"a virtual device", call_accel_virtual, NULL, NULL},
		{"a virtual device by name", call_model_virtual, NULL, NULL},
		{"accel_pci", call_accel_pci, NULL, NULL},
		{"accel_queue", call_accel_queue, end_queue, NULL},
		{"accel_grant", call_accel_grant, NULL, NULL},
		{"pci_create", call_pci_create, NULL, NULL},
		{"vfio_user", call_vfio_user, NULL, NULL},
		{"vfio_user on demand", call_vfio_user_on_demand, NULL, NULL},
		{"vfio", call_vfio, NULL, NULL},
	};

	sweep_all(*state, scenarios, ARRAY_SIZE(scenarios));
}

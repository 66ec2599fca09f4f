/* SPDX-License-Identifier: BSD-3-Clause */
#include "viommu/vtd/vtd.h"

static struct uiommu_vtd *vtd_of(struct registers *registers)
{
	return container_of(registers, struct uiommu_vtd, registers);
}

/* Where an event's registers are. */
struct event {
	uint32_t status;
	uint32_t conditions; /* bits of it */
	uint32_t control;
};

static const struct event events[VTD_EVENTS] = {
	[VTD_EVENT_FAULT] = {VTD_FSTS, VTD_FSTS_CONDITIONS, VTD_FECTL},
	[VTD_EVENT_INVALIDATION] = {VTD_ICS, VTD_ICS_IWC, VTD_IECTL},
	[VTD_EVENT_PAGES] = {VTD_PRS, VTD_PRS_PPR | VTD_PRS_PRO, VTD_PECTL},
};

/* Send what is pending, if it is not masked. */
static void try_to_send(struct uiommu_vtd *vtd, enum vtd_event event)
{
	uint32_t control = vtd_get32(vtd, events[event].control);

	if (!(control & VTD_EVENT_IP) || control & VTD_EVENT_IM)
		return;
	vtd_set32(vtd, events[event].control, control & ~VTD_EVENT_IP);
	vtd->send |= 1U << event;
}

void vtd_event(struct uiommu_vtd *vtd, enum vtd_event event, uint32_t condition)
{
	uint32_t status = vtd_get32(vtd, events[event].status);

	vtd_set32(vtd, events[event].status, status | condition);
	/* What has been reported and not been serviced needs no further interrupt. Nor is an overflow of faults one. */
	if (status & events[event].conditions || (event == VTD_EVENT_FAULT && condition == VTD_FSTS_PFO))
		return;
	vtd_set32(vtd, events[event].control, vtd_get32(vtd, events[event].control) | VTD_EVENT_IP);
	try_to_send(vtd, event);
}

/* Software has serviced some condition. */
static void serviced(struct uiommu_vtd *vtd, enum vtd_event event)
{
	if (!(vtd_get32(vtd, events[event].status) & events[event].conditions))
		vtd_set32(vtd, events[event].control, vtd_get32(vtd, events[event].control) & ~VTD_EVENT_IP);
}

static void write_status(struct registers *registers, const struct register_write *write)
{
	for (enum vtd_event event = 0; event < VTD_EVENTS; event++)
		if (events[event].status == write->offset)
			serviced(vtd_of(registers), event);
}

static void write_control(struct registers *registers, const struct register_write *write)
{
	for (enum vtd_event event = 0; event < VTD_EVENTS; event++)
		if (events[event].control == write->offset)
			try_to_send(vtd_of(registers), event);
}

/* F of a fault record: PPF is all of them. */
static void write_record(struct registers *registers, const struct register_write *write)
{
	struct uiommu_vtd *vtd = vtd_of(registers);
	uint32_t status = vtd_get32(vtd, VTD_FSTS) & ~VTD_FSTS_PPF;

	(void)write;
	for (unsigned int i = 0; i < vtd->records; i++)
		if (vtd_get64(vtd, VTD_FRCD + i * 16 + 8) & VTD_FRCD_F)
			status |= VTD_FSTS_PPF;
	vtd_set32(vtd, VTD_FSTS, status);
	serviced(vtd, VTD_EVENT_FAULT);
}

static void write_global_command(struct registers *registers, const struct register_write *write)
{
	struct uiommu_vtd *vtd = vtd_of(registers);
	uint32_t set = (uint32_t)(write->data & write->mask), mask = (uint32_t)write->mask;

	if (set & VTD_GCMD_SRTP) {
		uint64_t address = vtd_get64(vtd, VTD_RTADDR);

		vtd->root.address = address & VTD_RTADDR_RTA & low_mask(vtd->host_bits);
		vtd->root.mode = (unsigned int)FIELD_GET64(VTD_RTADDR_TTM, address);
		vtd->commands |= VTD_COMMAND_ROOT;
		vtd_set32(vtd, VTD_GSTS, vtd_get32(vtd, VTD_GSTS) & ~VTD_GCMD_SRTP);
	}
	if (mask & VTD_GCMD_TE && vtd->enabled != !!(set & VTD_GCMD_TE)) {
		vtd->enabled = !vtd->enabled;
		vtd->commands |= VTD_COMMAND_ENABLE;
	}
	if (mask & VTD_GCMD_QIE && vtd->queue_enabled != !!(set & VTD_GCMD_QIE)) {
		vtd->queue_enabled = !vtd->queue_enabled;
		vtd->commands |= VTD_COMMAND_QUEUE;
	}
}

static void write_context_command(struct registers *registers, const struct register_write *write)
{
	if (write->data & write->mask & VTD_CCMD_ICC)
		vtd_of(registers)->commands |= VTD_COMMAND_CONTEXT;
}

static void write_iotlb(struct registers *registers, const struct register_write *write)
{
	if (write->data & write->mask & VTD_IOTLB_IVT)
		vtd_of(registers)->commands |= VTD_COMMAND_IOTLB;
}

/* Both halves may be written apart, the lower one last. */
static void write_virtual_command(struct registers *registers, const struct register_write *write)
{
	struct uiommu_vtd *vtd = vtd_of(registers);

	if (!vtd->pasid_set) {
		vtd_set64(vtd, VTD_VCMD, 0);
	} else if (vtd_get64(vtd, VTD_VCRSP) & VTD_VCRSP_IP) {
		vtd_set64(vtd, VTD_VCMD, write->before); /* dropped */
	} else if (write->mask & VTD_VCMD_CMD) {
		vtd_set64(vtd, VTD_VCRSP, VTD_VCRSP_IP);
		vtd->commands |= VTD_COMMAND_VIRTUAL;
	}
}

enum { RECORDS = VTD_RECORDS_MAX - 1 };

/* Of a message: data, address and upper address. */
#define MESSAGE(data, address, upper)                                                                                              \
	{.offset = (data), .width = 4, .writable = 0xffff}, {.offset = (address), .width = 4, .writable = 0xfffffffc},             \
	{                                                                                                                          \
		.offset = (upper), .width = 4, .writable = 0xffffffff                                                              \
	}
#define CONTROL(at)                                                                                                                \
	{                                                                                                                          \
		.offset = (at), .width = 4, .reset = VTD_EVENT_IM, .writable = VTD_EVENT_IM, .written = write_control              \
	}

/* What depends on the configuration is set in vtd_registers_reset(). */
static const struct register_info table[] = {
	{.offset = VTD_VER, .width = 4, .reset = VTD_VER_5_0},
	{.offset = VTD_CAP, .width = 8},
	{.offset = VTD_ECAP, .width = 8},
	{.offset = VTD_GCMD, .width = 4, .written = write_global_command},
	{.offset = VTD_GSTS, .width = 4},
	{.offset = VTD_RTADDR, .width = 8, .writable = VTD_RTADDR_RTA | VTD_RTADDR_TTM},
	{.offset = VTD_CCMD,
	 .width = 8,
	 .writable = VTD_CCMD_ICC | VTD_CCMD_CIRG | VTD_CCMD_FM | VTD_CCMD_SID | VTD_CCMD_DID,
	 .written = write_context_command},
	{.offset = VTD_FSTS,
	 .width = 4,
	 .clears = VTD_FSTS_PFO | VTD_FSTS_IQE | VTD_FSTS_ICE | VTD_FSTS_ITE,
	 .written = write_status},
	CONTROL(VTD_FECTL),
	MESSAGE(VTD_FEDATA, VTD_FEADDR, VTD_FEUADDR),
	{.offset = VTD_IQH, .width = 8},
	{.offset = VTD_IQT, .width = 8, .writable = VTD_QUEUE_OFFSET},
	{.offset = VTD_IQA, .width = 8, .writable = VTD_QUEUE_ADDRESS | VTD_QUEUE_WIDE | VTD_QUEUE_SIZE},
	{.offset = VTD_ICS, .width = 4, .clears = VTD_ICS_IWC, .written = write_status},
	CONTROL(VTD_IECTL),
	MESSAGE(VTD_IEDATA, VTD_IEADDR, VTD_IEUADDR),
	{.offset = VTD_IQERCD, .width = 8},
	{.offset = VTD_PQH, .width = 8, .writable = VTD_PAGE_QUEUE_OFFSET},
	{.offset = VTD_PQT, .width = 8, .writable = VTD_PAGE_QUEUE_OFFSET},
	{.offset = VTD_PQA, .width = 8, .writable = VTD_QUEUE_ADDRESS | VTD_QUEUE_SIZE},
	{.offset = VTD_PRS, .width = 4, .clears = VTD_PRS_PPR | VTD_PRS_PRO, .written = write_status},
	CONTROL(VTD_PECTL),
	MESSAGE(VTD_PEDATA, VTD_PEADDR, VTD_PEUADDR),
	{.offset = VTD_FRCD, .width = 8, .copies_less_1 = RECORDS, .stride = 16},
	{.offset = VTD_FRCD + 8, .width = 8, .copies_less_1 = RECORDS, .stride = 16, .clears = VTD_FRCD_F, .written = write_record},
	{.offset = VTD_VCMD, .width = 8, .writable = VTD_VCMD_CMD | VTD_VCMD_OA, .written = write_virtual_command},
	{.offset = VTD_VCRSP, .width = 8},
	{.offset = VTD_VCCAP, .width = 8},
	{.offset = VTD_IVA, .width = 8, .writable = VTD_IVA_ADDR | VTD_IVA_IH | VTD_IVA_AM},
	{.offset = VTD_IOTLB,
	 .width = 8,
	 .writable = VTD_IOTLB_IVT | VTD_IOTLB_IIRG | VTD_IOTLB_DRAIN | VTD_IOTLB_DID,
	 .written = write_iotlb},
};

static uint64_t widest(uint32_t capabilities)
{
	return capabilities & UIOMMU_VTD_TABLES_5_LEVEL ? 57 : capabilities & UIOMMU_VTD_TABLES_4_LEVEL ? 48 : 39;
}

/* A bit of CAP or ECAP that says the same as one of the tables' capabilities. */
struct bit {
	uint32_t capability;
	uint64_t bit;
};

static uint64_t bits_of(const struct bit *bits, size_t count, uint32_t capabilities)
{
	uint64_t value = 0;

	for (size_t i = 0; i < count; i++)
		value |= capabilities & bits[i].capability ? bits[i].bit : 0;
	return value;
}

static uint64_t cap(const struct uiommu_vtd *vtd)
{
	static const struct bit bits[] = {
		{UIOMMU_VTD_TABLES_SECOND_2M, VTD_CAP_SSLPS_2M}, {UIOMMU_VTD_TABLES_SECOND_1G, VTD_CAP_SSLPS_1G},
		{UIOMMU_VTD_TABLES_FIRST_1G, VTD_CAP_FS1GP},	 {UIOMMU_VTD_TABLES_FIRST_5, VTD_CAP_FS5LP},
		{UIOMMU_VTD_TABLES_3_LEVEL, BIT64(9)},		 {UIOMMU_VTD_TABLES_4_LEVEL, BIT64(10)},
		{UIOMMU_VTD_TABLES_5_LEVEL, BIT64(11)},
	};
	uint64_t value = bits_of(bits, ARRAY_SIZE(bits), vtd->capabilities);

	value |= FIELD_PREP64(VTD_CAP_ND, FIELD_GET64(UIOMMU_VTD_TABLES_DOMAINS, vtd->capabilities));
	value |= FIELD_PREP64(VTD_CAP_MGAW, max_u64(widest(vtd->capabilities), vtd->host_bits) - 1);
	value |= FIELD_PREP64(VTD_CAP_FRO, VTD_FRCD / 16) | FIELD_PREP64(VTD_CAP_NFR, vtd->records - 1);
	value |= FIELD_PREP64(VTD_CAP_MAMV, VTD_MAMV) | VTD_CAP_PSI | VTD_CAP_DWD | VTD_CAP_DRD;
	value |= vtd->flags & UIOMMU_VTD_SOFT_ROOT ? 0 : VTD_CAP_ESRTPS;
	value |= vtd->flags & UIOMMU_VTD_CACHING_MODE ? VTD_CAP_CM : 0;
	return value;
}

static uint64_t ecap(const struct uiommu_vtd *vtd)
{
	static const struct bit bits[] = {
		{UIOMMU_VTD_TABLES_ATS, VTD_ECAP_DT | VTD_ECAP_PDS},
		{UIOMMU_VTD_TABLES_PASS, VTD_ECAP_PT},
		{UIOMMU_VTD_TABLES_SNOOP, VTD_ECAP_SC},
		{UIOMMU_VTD_TABLES_NESTED, VTD_ECAP_NEST},
		{UIOMMU_VTD_TABLES_PRI, VTD_ECAP_PRS},
		{UIOMMU_VTD_TABLES_SUPERVISOR, VTD_ECAP_SRS},
		{UIOMMU_VTD_TABLES_PASID, VTD_ECAP_PASID},
		{UIOMMU_VTD_TABLES_SMTS, VTD_ECAP_SMTS},
		{UIOMMU_VTD_TABLES_SECOND_AD, VTD_ECAP_SSADS},
		{UIOMMU_VTD_TABLES_SECOND, VTD_ECAP_SSTS},
		{UIOMMU_VTD_TABLES_FIRST, VTD_ECAP_FSTS},
		{UIOMMU_VTD_TABLES_WALK_SNOOP, VTD_ECAP_SMPWCS},
		{UIOMMU_VTD_TABLES_RID_PASID, VTD_ECAP_RPS},
		{UIOMMU_VTD_TABLES_ADMS, VTD_ECAP_ADMS},
		{UIOMMU_VTD_TABLES_RID_PRIV, VTD_ECAP_RPRIVS},
		{UIOMMU_VTD_TABLES_EXTENDED_ACCESSED, VTD_ECAP_EAFS},
	};
	uint64_t value = bits_of(bits, ARRAY_SIZE(bits), vtd->capabilities) | VTD_ECAP_C | VTD_ECAP_QI;

	if (vtd->capabilities & UIOMMU_VTD_TABLES_SMTS)
		value |= FIELD_PREP64(VTD_ECAP_PSS, FIELD_GET64(UIOMMU_VTD_TABLES_PSS, vtd->capabilities));
	value |= vtd->pasid_set ? VTD_ECAP_VCS : 0;
	return value | FIELD_PREP64(VTD_ECAP_IRO, VTD_IVA / 16);
}

void vtd_registers_reset(struct uiommu_vtd *vtd)
{
	registers_reset(&vtd->registers);
	vtd_set64(vtd, VTD_CAP, cap(vtd));
	vtd_set64(vtd, VTD_ECAP, ecap(vtd));
	if (vtd->pasid_set)
		vtd_set64(vtd, VTD_VCCAP, VTD_VCCAP_NS | VTD_VCCAP_PAS | VTD_VCCAP_FPS);
}

int vtd_registers_init(struct uiommu_vtd *vtd)
{
	int error = registers_init(&vtd->registers, table, ARRAY_SIZE(table), VTD_REGISTERS_SIZE);

	if (!error)
		vtd_registers_reset(vtd);
	return error;
}

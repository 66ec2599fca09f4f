/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Histories of an iommufd: one command after the other on objects that those before have made, with the selftests' devices among
 * them, and a real one, which is attached to them and does DMA. Whatever is answered, in the end nothing is left: no object, no
 * descriptor, nothing that counts as pinned, no page request without an answer.
 *
 * What is mapped is the arena, which begins with the input: there are a guest's tables in it, if the input has some.
 *
 * The input is a list of struct step. What a word of a command's struct is made of says the command's line in the table below.
 */
#include "fuzz.h"

#include <linux/vfio.h>
#include <sys/mman.h>
#include <uiommu/uiommu.h>
#include <unistd.h>

#include "abi/iommufd.h"
#include "abi/local.h"
#include "abi/spec.h"
#include "util/util.h"

enum { ARENA_PAGES = 64, STEPS_MAX = 64, FDS_MAX = 64, WORDS_MAX = 18, IDS = 16 };

struct step {
	uint8_t command;
	uint8_t odd; /* bit 0: the size is not the struct's; 1: a pointer leads nowhere */
	uint8_t words[WORDS_MAX][2];
} __attribute__((packed));

/*
 * Of each word after the size: i: an object's id; f: flags, or a small number; p: a pointer into the arena (two words); a: an
 * address of a device (two); l: a length (two); h: half of an address's width, two words as they come; d: a descriptor that has
 * been got, or the arena's; o: one that is got by it, if it succeeds; x: as it comes; t: a type.
 */
static const struct {
	unsigned int command;
	const char *words;
} commands[] = {
	{ABI_COMMAND(ABI_DESTROY), "i"},
	{ABI_COMMAND(ABI_IOAS_ALLOC), "ff"},
	{ABI_COMMAND(ABI_IOAS_ALLOW_IOVAS), "iffp"},
	{ABI_COMMAND(ABI_IOAS_COPY), "fiilaa"},
	{ABI_COMMAND(ABI_IOAS_IOVA_RANGES), "iffpl"},
	{ABI_COMMAND(ABI_IOAS_MAP), "fifpla"},
	{ABI_COMMAND(ABI_IOAS_UNMAP), "ial"},
	{ABI_COMMAND(ABI_OPTION), "ffih"},
	{ABI_COMMAND(ABI_VFIO_IOAS), "if"},
	{ABI_COMMAND(ABI_HWPT_ALLOC), "fiifftfpif"},
	{ABI_COMMAND(ABI_GET_HW_INFO), "fifptfh"},
	{ABI_COMMAND(ABI_HWPT_SET_DIRTY_TRACKING), "fif"},
	{ABI_COMMAND(ABI_HWPT_GET_DIRTY_BITMAP), "iffallp"},
	{ABI_COMMAND(ABI_HWPT_INVALIDATE), "iptfff"},
	{ABI_COMMAND(ABI_FAULT_QUEUE_ALLOC), "ffo"},
	{ABI_COMMAND(ABI_IOAS_MAP_FILE), "fidlla"},
	{ABI_COMMAND(ABI_VIOMMU_ALLOC), "ftiifffp"},
	{ABI_COMMAND(ABI_VDEVICE_ALLOC), "iifh"},
	{ABI_COMMAND(ABI_IOAS_CHANGE_PROCESS), "f"},
	{ABI_COMMAND(ABI_VEVENTQ_ALLOC), "fitffof"},
	{ABI_COMMAND(ABI_HW_QUEUE_ALLOC), "fitffal"},
	/* The test command: its operation, and then what that takes. */
	{ABI_COMMAND(ABI_TEST), "1ifal"},
	{ABI_COMMAND(ABI_TEST), "2iffff"},
	{ABI_COMMAND(ABI_TEST), "3ifalp"},
	{ABI_COMMAND(ABI_TEST), "4iflpf"},
	{ABI_COMMAND(ABI_TEST), "5ifof"},
	{ABI_COMMAND(ABI_TEST), "6dff"},
	{ABI_COMMAND(ABI_TEST), "7dfffalp"},
	{ABI_COMMAND(ABI_TEST), "8dfalpf"},
	{ABI_COMMAND(ABI_TEST), ":ifi"},
	{ABI_COMMAND(ABI_TEST), ";dfi"},
	{ABI_COMMAND(ABI_TEST), "<iffffff"},
	{ABI_COMMAND(ABI_TEST), "=iffhallp"},
	{ABI_COMMAND(ABI_TEST), "?ffiffffa"},
	{ABI_COMMAND(ABI_TEST), "Affi"},
	{ABI_COMMAND(ABI_TEST), "Biffi"},
	{ABI_COMMAND(ABI_TEST), "Ciffi"},
	{ABI_COMMAND(ABI_TEST), "Diff"},
	{ABI_COMMAND(ABI_TEST), "Fffxf"},
	{ABI_COMMAND(ABI_TEST), "Gffdf"},
	{VFIO_SET_IOMMU, ""},
	{VFIO_IOMMU_MAP_DMA, "fpal"},
	{VFIO_IOMMU_UNMAP_DMA, "fal"},
	{VFIO_IOMMU_GET_INFO, ""},
	{(unsigned int)UIOMMU_ABI_VERSION, "fff"},
	{(unsigned int)UIOMMU_ABI_BIND, "fifffifpff"},
	{(unsigned int)UIOMMU_ABI_UNBIND, "if"},
	{(unsigned int)UIOMMU_ABI_PASID_SET_ALLOC, "fff"},
	{(unsigned int)UIOMMU_ABI_PASID_ALLOC, "ifff"},
	{(unsigned int)UIOMMU_ABI_PASID_FREE, "if"},
};

enum { DO_READ = ARRAY_SIZE(commands), DO_WRITE, DO_CLOSE, DO_MMAP, DO_ATTACH, DO_DETACH, DO_DMA, CHOICES };

static struct {
	int fd, fds[FDS_MAX];
	unsigned int count; /* of fds */
	uint8_t *arena;
	int memory; /* the arena's: page tables are read only where a descriptor has led to */
	struct uiommu_context *context;
	struct uiommu_device *device;
	uint32_t device_id;
	unsigned int asked; /* atomic: page requests without an answer */
} world;

static uint32_t value_of(const uint8_t word[2])
{
	return (uint32_t)(word[0] | word[1] << 8);
}

static int a_descriptor(uint32_t value)
{
	if (value & 0x8000)
		return world.memory;
	return world.count ? world.fds[value % world.count] : world.fd;
}

static uint32_t a_type(uint32_t value)
{
	static const uint32_t types[] = {0, 1, 2, 3, 0xdead, 0xdeadbeef, 0xbeefbeef, 0xfeedbeef, UIOMMU_ABI_INVALIDATE};

	return types[value % ARRAY_SIZE(types)];
}

static void put64(uint32_t *words, uint64_t value)
{
	memcpy(words, &value, sizeof(value));
}

static uint64_t a_length(uint32_t value)
{
	return value == 0xffff ? UINT64_MAX : value & 1 ? value : (uint64_t)(value & 0x3f) << 11;
}

/* One word, or two. */
static unsigned int fill(uint32_t *word, char kind, uint32_t value, bool nowhere)
{
	switch (kind) {
	case 'i':
		*word = value % IDS;
		return 1;
	case 'f':
	case 'o':
		*word = value;
		return 1;
	case 'd':
		*word = (uint32_t)a_descriptor(value);
		return 1;
	case 't':
		*word = a_type(value);
		return 1;
	case 'x':
		*word = value * 64;
		return 1;
	case 'p':
		put64(word, nowhere ? value : (uint64_t)(uintptr_t)world.arena + value % (ARENA_PAGES / 2 * 4096));
		return 2;
	case 'a':
		put64(word, value == 0xffff ? UINT64_MAX : (UINT64_C(1) << 24) + ((uint64_t)(value & 0x1ff) << 11));
		return 2;
	case 'l':
		put64(word, a_length(value));
		return 2;
	case 'h':
		put64(word, value);
		return 2;
	default: /* an operation of the test command */
		*word = (uint32_t)(kind - '0');
		return 1;
	}
}

static void keep(int fd)
{
	if (world.count < FDS_MAX)
		world.fds[world.count++] = fd;
	else
		CHECK(!uiommu_abi_close(fd));
}

static void command(const struct step *step)
{
	const char *kinds = commands[step->command % CHOICES].words;
	unsigned int number = commands[step->command % CHOICES].command, at = 1, made = 0;
	/* The end of the arena: what is behind is not there. */
	uint32_t words[WORDS_MAX + 2] = {0}, *arguments;
	uint32_t size;
	int result;

	for (unsigned int i = 0; kinds[i]; i++) {
		made = kinds[i] == 'o' ? at : made;
		at += fill(&words[at], kinds[i], value_of(step->words[i]), step->odd & 2);
	}
	size = number == ABI_COMMAND(ABI_TEST) ? 72 : number == VFIO_IOMMU_GET_INFO ? 24 : at * 4;
	words[0] = step->odd & 1 ? value_of(step->words[WORDS_MAX - 1]) % 256 : size;
	arguments = (uint32_t *)(void *)(world.arena + ARENA_PAGES * 4096 - sizeof(words));
	memcpy(arguments, words, sizeof(words));
	if (number == VFIO_SET_IOMMU)
		result = uiommu_ioctl(world.fd, number, (void *)(uintptr_t)(value_of(step->words[0]) % 5));
	else
		result = uiommu_ioctl(world.fd, number, arguments);
	if (!result && made)
		keep((int)arguments[made]);
	if (result > 2 && number == ABI_COMMAND(ABI_TEST))
		keep(result);
}

static void close_one(unsigned int index)
{
	CHECK(!uiommu_abi_close(world.fds[index]));
	world.fds[index] = world.fds[--world.count];
}

/* --- the device --- */

static uint32_t a_pasid(uint32_t value)
{
	return value & 1 ? value % 32 : UIOMMU_NO_PASID;
}

static void answered(void *opaque, unsigned int response)
{
	(void)opaque;
	(void)response;
	__atomic_sub_fetch(&world.asked, 1, __ATOMIC_RELAXED);
}

static void attach(const struct step *step)
{
	uint32_t pasid = a_pasid(value_of(step->words[0])), id = value_of(step->words[1]) % IDS;

	if (step->odd & 1)
		(void)uiommu_replace(world.context, world.device_id, pasid, id);
	else
		(void)uiommu_attach(world.context, world.device_id, pasid, id);
}

/* Where maps are, or where indices of page tables are 199, 400 and the next ones. */
static uint64_t a_device_address(uint32_t value)
{
	const uint64_t window = UINT64_C(1) << 24,
		       indices = UINT64_C(199) << 39 | UINT64_C(400) << 30 | UINT64_C(401) << 21 | UINT64_C(402) << 12;

	return value & 0x8000 ? indices + (value & 0x1fff) : window + (value & 0x7fff) * 16;
}

static void dma(const struct step *step)
{
	uint32_t pasid = a_pasid(value_of(step->words[0]));
	uint64_t address = a_device_address(value_of(step->words[1])), length = value_of(step->words[2]) % 64;
	unsigned int flags = step->odd & 2 ? UIOMMU_DMA_RECOVERABLE : 0;
	uint8_t data[64] = {0};
	struct uiommu_dma_op op = {.address = address, .buffer = data, .length = length, .pasid = pasid, .flags = flags};

	if (step->odd & 1)
		(void)uiommu_dma_writev(world.device, &op, 1);
	else
		(void)uiommu_dma_readv(world.device, &op, 1);
	if (!(op.result.fault.flags & UIOMMU_FAULT_RECOVERABLE))
		return;
	__atomic_add_fetch(&world.asked, 1, __ATOMIC_RELAXED);
	if (uiommu_dma_page_request(world.device, &op.result.fault, answered, NULL))
		answered(NULL, 0);
}

static void one(const struct step *step)
{
	uint32_t value = value_of(step->words[0]), length = value_of(step->words[1]) % 8192;
	int fd = a_descriptor(value);
	void *map;

	switch (step->command % CHOICES) {
	case DO_READ:
		uiommu_abi_read(fd, world.arena, length, step->odd & 1);
		break;
	case DO_WRITE:
		uiommu_abi_write(fd, world.arena, length, step->odd & 1);
		break;
	case DO_CLOSE:
		if (world.count)
			close_one(value % world.count);
		break;
	case DO_MMAP:
		map = uiommu_abi_mmap(world.fd, (uint64_t)(value % 8) << 12, (size_t)(length % 4) << 12, PROT_READ, MAP_SHARED);
		if (map != MAP_FAILED)
			CHECK(!uiommu_abi_munmap(world.fd, map, (uint64_t)(value % 8) << 12, (size_t)(length % 4) << 12));
		break;
	case DO_ATTACH:
		attach(step);
		break;
	case DO_DETACH:
		(void)uiommu_detach(world.context, world.device_id, a_pasid(value));
		break;
	case DO_DMA:
		dma(step);
		break;
	default:
		command(step);
	}
}

static void make(void)
{
	CHECK(!uiommu_install_fault_handler());
	world.memory = memfd_create("arena", MFD_CLOEXEC);
	CHECK(world.memory >= 0 && !ftruncate(world.memory, ARENA_PAGES * 4096));
	world.arena = mmap(NULL, (ARENA_PAGES + 1) * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, world.memory, 0);
	CHECK(world.arena != MAP_FAILED && !munmap(world.arena + ARENA_PAGES * 4096, 4096));
}

static void begin(void)
{
	const struct uiommu_abi_options options = {.size = sizeof(options), .flags = UIOMMU_ABI_MOCK};
	const struct uiommu_device_config config = {.size = sizeof(config), .rid = 8, .name = "dma0", .pasid_bits = 20};
	struct abi_file *file;

	world.count = 0;
	world.fd = uiommu_abi_open("/dev/iommu", &options);
	CHECK(world.fd >= 0);
	file = abi_local_file(world.fd);
	world.context = iommufd_context(file);
	CHECK(!uiommu_device_alloc(world.context, &config, &world.device_id));
	world.device = uiommu_device_get(world.context, world.device_id);
	abi_file_put(file);
}

static void end(void)
{
	struct abi_caller *caller;

	uiommu_device_put(world.device);
	while (world.count)
		close_one(0);
	CHECK(!uiommu_abi_close(world.fd));
	CHECK(!abi_local(&caller) && !caller->memory->pinned && !caller->memory->locked);
	CHECK(!__atomic_load_n(&world.asked, __ATOMIC_RELAXED));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct step step;

	if (!world.arena)
		make();
	memset(world.arena, 0, ARENA_PAGES * 4096);
	memcpy(world.arena, data, size < 4096 ? size : 4096);
	begin();
	for (unsigned int i = 0; i < STEPS_MAX && size >= sizeof(step); i++, data += sizeof(step), size -= sizeof(step)) {
		memcpy(&step, data, sizeof(step));
		one(&step);
	}
	end();
	return 0;
}

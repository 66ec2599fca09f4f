/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A driver for NVMe as anybody may write it in user space, to be run under `uiommu run`: it knows VFIO and iommufd, maps the
 * controller's registers and rings its doorbells there. Each case checks itself, prints "ok", and ends with 0.
 */
#include "driver.h"

#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

enum {
	QUEUES = 5, /* of them 4 for I/O */
	ENTRIES = 16,
	BUFFER = 16 * PAGE, /* of each queue */
	MEMORY = (3 * QUEUES + 1) * PAGE + QUEUES * BUFFER,
	BLOCK = 512,
	BLOCKS = BUFFER / 2 / BLOCK, /* of one command */
};

enum { CC = 0x14, CSTS = 0x1c, AQA = 0x24, ASQ = 0x28, ACQ = 0x30, DOORBELLS = 0x1000 };
enum { FLUSH = 0, WRITE = 1, READ = 2, ZEROES = 8, CREATE_SQ = 1, CREATE_CQ = 5, IDENTIFY = 6 };

struct command {
	uint32_t opcode, nsid;
	uint64_t reserved, metadata, prp1, prp2;
	uint32_t cdw[6];
};

/* In memory that fork children share. */
struct queue {
	uint32_t tail, head, phase;
};

struct shared {
	struct queue queues[QUEUES];
	uint8_t memory[MEMORY] __attribute__((aligned(4096)));
};

static struct shared *shared;
static int event = -1;
static volatile uint8_t *registers;

static uint8_t *submissions(unsigned int queue)
{
	return shared->memory + (size_t)3 * queue * PAGE;
}

static volatile uint8_t *completions(unsigned int queue)
{
	return submissions(queue) + PAGE;
}

static uint8_t *list(unsigned int queue)
{
	return submissions(queue) + (ptrdiff_t)2 * PAGE;
}

static uint8_t *buffer(unsigned int queue)
{
	return shared->memory + (ptrdiff_t)(3 * QUEUES + 1) * PAGE + (size_t)queue * BUFFER;
}

static uint64_t iova(const volatile void *at)
{
	return IOVA + (uint64_t)((const volatile uint8_t *)at - shared->memory);
}

static void put(unsigned int offset, uint32_t value)
{
	*(volatile uint32_t *)(registers + offset) = value;
}

static uint32_t get(unsigned int offset)
{
	return *(volatile uint32_t *)(registers + offset);
}

/* --- the function --- */

/* What is written to registers, which may lie in the descriptor itself, does not change what that is. */
static void check_number(void)
{
	struct stat named, opened;
	struct statx more;

	CHECK(!stat("/dev/vfio/devices/vfio0", &named) && !fstat(device, &opened) && S_ISCHR(opened.st_mode));
	CHECK(opened.st_rdev && opened.st_rdev == named.st_rdev);
	CHECK(!statx(device, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &more));
	CHECK(makedev(more.stx_rdev_major, more.stx_rdev_minor) == named.st_rdev);
}

static void map_registers(void)
{
	const struct vfio_region_info info = region_info(VFIO_PCI_BAR0_REGION_INDEX);

	CHECK(info.flags & VFIO_REGION_INFO_FLAG_MMAP);
	/* What is wrong is refused, whoever makes the mapping. */
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, device, (off_t)info.offset) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(NULL, info.size + PAGE, PROT_READ, MAP_SHARED, device, (off_t)info.offset) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, device, (off_t)7 << 40) == MAP_FAILED && errno == EINVAL);
	registers = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, (off_t)info.offset);
	CHECK(registers != MAP_FAILED);
}

static void set_interrupt(void)
{
	struct {
		uint32_t size, flags, index, start, count;
		int fds[2];
	} arguments = {
		sizeof(arguments), VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_PCI_MSIX_IRQ_INDEX, 0, 2, {-1}};

	event = eventfd(0, EFD_CLOEXEC);
	CHECK(event >= 0);
	arguments.fds[1] = event;
	CHECK(!ioctl(device, VFIO_DEVICE_SET_IRQS, &arguments));
}

static void get_memory(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
}

/* --- the controller --- */

/* Its status. */
static unsigned int run(unsigned int number, struct command command)
{
	struct queue *queue = &shared->queues[number];
	const volatile uint8_t *done = completions(number) + (size_t)queue->head * 16;
	uint16_t status;
	uint64_t signalled;

	memcpy(submissions(number) + (size_t)queue->tail * sizeof(command), &command, sizeof(command));
	queue->tail = (queue->tail + 1) % ENTRIES;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	put(DOORBELLS + 8 * number, queue->tail);
	if (number == 1 && event >= 0)
		CHECK(read(event, &signalled, sizeof(signalled)) == sizeof(signalled));
	do
		status = __atomic_load_n((const volatile uint16_t *)(done + 14), __ATOMIC_ACQUIRE);
	while ((status & 1) == queue->phase);
	queue->head = (queue->head + 1) % ENTRIES;
	if (!queue->head)
		queue->phase ^= 1;
	put(DOORBELLS + 8 * number + 4, queue->head);
	return status >> 1;
}

static void enable(void)
{
	put(CC, 0);
	while (get(CSTS) & 1)
		;
	memset(shared, 0, sizeof(*shared));
	put(AQA, (ENTRIES - 1) << 16 | (ENTRIES - 1));
	put(ASQ, (uint32_t)iova(submissions(0)));
	put(ASQ + 4, 0);
	put(ACQ, (uint32_t)iova(completions(0)));
	put(ACQ + 4, 0);
	put(CC, 4 << 20 | 6 << 16 | 1);
	while (!(get(CSTS) & 1))
		CHECK(!(get(CSTS) & 2));
}

/* Vector 1 is that of queue 1's completions. */
static void make_queues(void)
{
	for (uint32_t i = 1; i < QUEUES; i++) {
		uint32_t interrupts = i == 1 && event >= 0 ? 1 << 16 | 2 : 0;

		CHECK(!run(0, (struct command){.opcode = CREATE_CQ,
					       .prp1 = iova(completions(i)),
					       .cdw = {(ENTRIES - 1) << 16 | i, interrupts | 1}}));
		CHECK(!run(0, (struct command){.opcode = CREATE_SQ,
					       .prp1 = iova(submissions(i)),
					       .cdw = {(ENTRIES - 1) << 16 | i, i << 16 | 1}}));
	}
}

static void identify(void)
{
	CHECK(!run(0, (struct command){.opcode = IDENTIFY, .prp1 = iova(buffer(0)), .cdw = {1}}));
	CHECK(!memcmp(buffer(0) + 24, "uiommu", 6));
}

static void begin(void)
{
	get_memory();
	open_device();
	map_memory(shared->memory, MEMORY);
	be_master();
	set_interrupt();
	map_registers();
	enable();
	make_queues();
}

/* @at: in the queue's buffer. */
static void transfer(unsigned int queue, uint32_t opcode, uint8_t *at, uint64_t block)
{
	uint64_t *pages = (uint64_t *)(void *)list(queue);

	for (unsigned int i = 1; i < BUFFER / 2 / PAGE; i++)
		pages[i - 1] = iova(at) + (uint64_t)i * PAGE;
	CHECK(!run(queue, (struct command){.opcode = opcode,
					   .nsid = 1,
					   .prp1 = iova(at),
					   .prp2 = iova(pages),
					   .cdw = {(uint32_t)block, (uint32_t)(block >> 32), BLOCKS - 1}}));
}

/* Written, durable, read back, and zero after it has been made so. */
static void io(unsigned int queue, unsigned int seed)
{
	uint8_t *from = buffer(queue), *to = from + BUFFER / 2;
	uint64_t block = (uint64_t)queue * BLOCKS;

	for (unsigned int i = 0; i < BUFFER / 2; i++)
		from[i] = (uint8_t)(i * 31 + i / 251 + seed);
	memset(to, 0xee, BUFFER / 2);
	transfer(queue, WRITE, from, block);
	CHECK(!run(queue, (struct command){.opcode = FLUSH, .nsid = 1}));
	transfer(queue, READ, to, block);
	CHECK(!memcmp(from, to, BUFFER / 2));
	CHECK(!run(queue, (struct command){.opcode = ZEROES, .nsid = 1, .cdw = {(uint32_t)block, 0, 0}}));
	transfer(queue, READ, to, block);
	for (unsigned int i = 0; i < BLOCK; i++)
		CHECK(!to[i]);
	CHECK(!memcmp(from + BLOCK, to + BLOCK, BUFFER / 2 - BLOCK));
}

/* --- cases --- */

static void does_io(char **arguments)
{
	(void)arguments;
	begin();
	identify();
	for (unsigned int i = 0; i < 100; i++)
		io(1 + i % (QUEUES - 1), i);
	CHECK(!munmap((void *)(uintptr_t)registers, (size_t)2 * PAGE));
	map_registers();
	io(2, 7);
	check_number();
	CHECK(hw_capabilities() == (CAN_TRACK | NEVER_ATS));
}

/* Of registers, through a descriptor by which nobody can write. */
static void look_at_registers(void)
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", device);
	fd = open(name, O_RDONLY);
	CHECK(fd >= 0 && mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED && !close(fd));
}

/* @arguments[0]: it "looks" while the device sleeps, after the first time. */
static void is_idle(char **arguments)
{
	begin();
	for (unsigned int i = 0; i < 3; i++) {
		if (i && arguments[0]) {
			look_at_registers();
		} else {
			io(1, i);
			io(2, i);
		}
		say_idle();
	}
}

/* What a child inherits is the same mapping of the same registers; but if @arguments[0] is "maps" it makes its own. */
static void forks(char **arguments)
{
	bool maps = !strcmp(arguments[0], "maps");
	pid_t pid;

	begin();
	for (unsigned int i = 0; i < 5; i++) {
		pid = fork();

		CHECK(pid >= 0);
		if (!pid) {
			if (maps)
				map_registers();
			io(1, i);
			io(3, i);
			_exit(0);
		}
		wait_for(pid);
		io(3, i + 1);
	}
	/* The device stays as long as a child has a mapping of it. */
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		if (maps)
			map_registers();
		close(device);
		close(iommufd);
		io(2, 1);
		_exit(0);
	}
	close(device);
	CHECK(!munmap((void *)(uintptr_t)registers, (size_t)2 * PAGE));
	wait_for(pid);
}

/* Its descriptors are the same device in another program; its mappings and its memory have gone. */
static void execs(char **arguments)
{
	char numbers[2][12], name[] = "nvme-driver", next[] = "executed";

	(void)arguments;
	begin();
	io(1, 1);
	snprintf(numbers[0], sizeof(numbers[0]), "%d", iommufd);
	snprintf(numbers[1], sizeof(numbers[1]), "%d", device);
	execv("/proc/self/exe", (char *[]){name, next, numbers[0], numbers[1], NULL});
	CHECK(false);
}

static void executed(char **arguments)
{
	iommufd = atoi(arguments[0]);
	device = atoi(arguments[1]);
	ioas = 2; /* behind the device's own id */
	get_memory();
	unmap_memory();
	map_memory(shared->memory, MEMORY);
	map_registers();
	enable();
	make_queues();
	io(1, 2);
	io(4, 3);
}

static void *thread(void *opaque)
{
	unsigned int queue = (unsigned int)(uintptr_t)opaque;

	for (unsigned int i = 0; i < 50; i++)
		io(queue, i + queue);
	return NULL;
}

static void threads(char **arguments)
{
	pthread_t all[QUEUES];

	(void)arguments;
	begin();
	for (uintptr_t i = 1; i < QUEUES; i++)
		CHECK(!pthread_create(&all[i], NULL, thread, (void *)i));
	for (unsigned int i = 1; i < QUEUES; i++)
		CHECK(!pthread_join(all[i], NULL));
}

/* Killed at some moment, which @arguments[0] chooses; then the device is free and works. */
static void killed(char **arguments)
{
	int ends[2];
	char byte;

	srand((unsigned int)atoi(arguments[0]));
	for (unsigned int i = 0; i < 10; i++) {
		int count = rand() % 20;
		pid_t pid;

		CHECK(!pipe(ends));
		pid = fork();
		CHECK(pid >= 0);
		if (!pid) {
			CHECK(write(ends[1], "x", 1) == 1);
			begin();
			for (unsigned int n = 0;; n++) {
				CHECK(write(ends[1], "x", 1) == 1);
				io(1 + n % (QUEUES - 1), n);
			}
		}
		close(ends[1]);
		for (int n = 0; n < count; n++)
			CHECK(read(ends[0], &byte, 1) == 1);
		CHECK(!kill(pid, SIGKILL) && waitpid(pid, NULL, 0) == pid);
		close(ends[0]);
	}
	begin();
	io(1, 1);
}

enum { FILES = 3 };

/* By the group, several times; @device is the last. */
static int open_group(int *files)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map), .flags = 3, .vaddr = (uint64_t)(uintptr_t)shared->memory, .iova = IOVA, .size = MEMORY};
	int group = open("/dev/vfio/0", O_RDWR);

	iommufd = open("/dev/vfio/vfio", O_RDWR);
	CHECK(group >= 0 && iommufd >= 0);
	CHECK(!ioctl(group, VFIO_GROUP_SET_CONTAINER, &iommufd) && !ioctl(iommufd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	for (unsigned int i = 0; i < FILES; i++) {
		files[i] = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:01:00.0");
		CHECK(files[i] >= 0);
	}
	device = files[FILES - 1];
	CHECK(!ioctl(iommufd, VFIO_IOMMU_MAP_DMA, &map));
	return group;
}

/* Each of a group's files can be mapped, in any order, and the device is the program's until the last one has gone. */
static void groups(char **arguments)
{
	int files[FILES], group;

	(void)arguments;
	get_memory();
	for (unsigned int round = 0; round < 5; round++) {
		volatile uint8_t *mapped[FILES];

		group = open_group(files);
		for (unsigned int i = 0; i < FILES; i++) {
			device = files[(i + round) % FILES];
			map_registers();
			mapped[i] = registers;
		}
		be_master();
		enable();
		make_queues();
		io(1, round);
		/* Positions are each one's own. */
		CHECK(lseek(files[0], 7, SEEK_SET) == 7 && lseek(files[1], 0, SEEK_CUR) == 0);
		CHECK(!close(files[0]) && !close(files[1]));
		CHECK(open("/dev/vfio/0", O_RDWR) == -1 && errno == EBUSY);
		for (unsigned int i = 0; i < FILES; i++) {
			registers = mapped[i];
			CHECK(get(CSTS) == 1);
			io(2, round);
		}
		CHECK(!close(files[2]) && !close(group) && !close(iommufd));
		/* Mappings are what is left. */
		CHECK(open("/dev/vfio/0", O_RDWR) == -1 && errno == EBUSY);
		for (unsigned int i = 0; i < FILES; i++)
			CHECK(!munmap((void *)(uintptr_t)mapped[i], (size_t)2 * PAGE));
	}
	open_device();
}

static const struct test_case cases[] = {
	{"groups", groups}, {"io", does_io},	    {"idle", is_idle},	  {"forks", forks},
	{"execs", execs},   {"executed", executed}, {"threads", threads}, {"killed", killed},
};

int main(int argc, char **argv)
{
	return run_case(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}

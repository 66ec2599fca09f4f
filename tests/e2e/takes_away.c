/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program that takes memory away that is mapped for DMA, in the way that it is told, and then has a device of the kernel's
 * selftests use it: what the device read, or could not, is the program's output, and what `uiommu run --check` says of it what is
 * looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define IOMMU_IOAS_ALLOC _IO(';', 0x81)
#define IOMMU_IOAS_MAP _IO(';', 0x85)
#define IOMMU_IOAS_UNMAP _IO(';', 0x86)
#define IOMMU_IOAS_MAP_FILE _IO(';', 0x8f)
#define IOMMU_TEST _IO(';', 0xa0)

/* Headers may be older. */
#define GUARD_INSTALL 102
#define OF_2_MIB (21U << 26)

enum { PAGE = 4096, PAGES = 8, LENGTH = PAGES * PAGE, IOVA = 1 << 24, WRITEABLE = 2, READABLE = 4, BEFORE = 0x5a, AFTER = 0xa5 };
enum { MOCK_DOMAIN = 2, CREATE_ACCESS = 5, ACCESS_RW = 8 };

static int iommu;
static uint32_t ioas, device;
static uint8_t *memory;

struct mock {
	uint32_t size, operation, id, reserved;
	union {
		uint32_t words[14];
		struct {
			uint64_t iova, length, pointer;
			uint32_t flags;
		} access;
	};
};

static void test(struct mock *mock)
{
	mock->size = sizeof(*mock);
	CHECK(!ioctl(iommu, IOMMU_TEST, mock));
}

/* An IOAS with a domain, so that what is mapped is pinned, and with somebody who reads and writes. */
static void begin(void)
{
	struct {
		uint32_t size, flags, id;
	} arguments = {sizeof(arguments), 0, 0};
	struct mock domain = {.operation = MOCK_DOMAIN}, access = {.operation = CREATE_ACCESS};

	iommu = open("/dev/iommu", O_RDWR);
	CHECK(iommu >= 0 && !ioctl(iommu, IOMMU_IOAS_ALLOC, &arguments));
	ioas = domain.id = access.id = arguments.id;
	test(&domain);
	test(&access);
	device = access.words[0];
}

static void map(void *address, uint64_t length, uint64_t iova, unsigned int access)
{
	struct {
		uint32_t size, flags, ioas, reserved;
		uint64_t address, length, iova;
	} arguments = {sizeof(arguments), 1 | access, ioas, 0, (uint64_t)(uintptr_t)address, length, iova};

	CHECK(!ioctl(iommu, IOMMU_IOAS_MAP, &arguments));
}

static void map_file(int fd, uint64_t length, uint64_t iova, unsigned int access)
{
	struct {
		uint32_t size, flags, ioas;
		int32_t fd;
		uint64_t start, length, iova;
	} arguments = {sizeof(arguments), 1 | access, ioas, fd, 0, length, iova};

	CHECK(!ioctl(iommu, IOMMU_IOAS_MAP_FILE, &arguments));
}

static void unmap(void)
{
	struct {
		uint32_t size, ioas;
		uint64_t iova, length;
	} arguments = {sizeof(arguments), ioas, 0, UINT64_MAX};

	CHECK(!ioctl(iommu, IOMMU_IOAS_UNMAP, &arguments));
}

static bool use(uint64_t offset, uint8_t *byte, bool write)
{
	struct mock mock = {.size = sizeof(mock), .operation = ACCESS_RW, .id = device};

	mock.access.iova = IOVA + offset;
	mock.access.length = 1;
	mock.access.pointer = (uint64_t)(uintptr_t)byte;
	mock.access.flags = write;
	return !ioctl(iommu, IOMMU_TEST, &mock);
}

static uint8_t *anonymous(int flags)
{
	uint8_t *made = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);

	CHECK(made != MAP_FAILED);
	return made;
}

/* Something else in the place of the third page. */
static void replace(int flags, int fd)
{
	CHECK(mmap(memory + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_FIXED | flags, fd, 0) == memory + 2 * PAGE);
}

/* --- kinds of memory --- */

static void make_private(void)
{
	memory = anonymous(MAP_PRIVATE);
}

static void make_shared(void)
{
	memory = anonymous(MAP_SHARED);
}

static int file;

static void make_memfd(void)
{
	file = memfd_create("taken", MFD_CLOEXEC);
	CHECK(file >= 0 && !ftruncate(file, LENGTH));
	memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	CHECK(memory != MAP_FAILED);
}

/* Its pages are the file's, as long as nobody writes to them. */
static void make_private_memfd(void)
{
	make_memfd();
	memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	CHECK(memory != MAP_FAILED);
}

enum { HUGE = 2 << 20 };

/* What is mapped is a part of one page. */
static void make_huge_of(int flags, int fd)
{
	memory = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (memory != MAP_FAILED)
		return;
	printf("no huge pages\n");
	exit(0);
}

static void make_huge(void)
{
	make_huge_of(MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (int)OF_2_MIB, -1);
}

static void make_huge_shared(void)
{
	make_huge_of(MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | (int)OF_2_MIB, -1);
}

static void make_huge_memfd(void)
{
	file = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | OF_2_MIB);
	CHECK(file < 0 || !ftruncate(file, HUGE));
	make_huge_of(MAP_SHARED, file);
}

/* Of a file system: this program's own text. */
static void make_private_file(void)
{
	file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	CHECK(memory != MAP_FAILED);
}

static void make_readable_file(void)
{
	file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	memory = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, file, 0);
	CHECK(memory != MAP_FAILED);
}

static void make_heap(void)
{
	uint8_t *end = sbrk(0);

	CHECK(sbrk(LENGTH + PAGE) == end);
	memory = end + (PAGE - (uintptr_t)end % PAGE) % PAGE;
}

static uint8_t *block;

static void make_block(void)
{
	block = malloc(1 << 20);
	CHECK(block);
	memory = block + (PAGE - (uintptr_t)block % PAGE);
}

static void make_segment(void)
{
	int segment = shmget(IPC_PRIVATE, LENGTH, 0600);

	memory = shmat(segment, NULL, 0);
	CHECK(segment >= 0 && memory != (void *)-1 && !shmctl(segment, IPC_RMID, NULL));
}

static pthread_t thread;
static pthread_barrier_t made, done;

static void *with_a_stack(void *opaque)
{
	uint8_t room[2 * LENGTH];

	(void)opaque;
	memory = room + (PAGE - (uintptr_t)room % PAGE);
	memset(memory, BEFORE, LENGTH);
	pthread_barrier_wait(&made);
	pthread_barrier_wait(&done);
	/* NOLINTNEXTLINE(clang-analyzer-core.StackAddressEscape): that is what it is about */
	return NULL;
}

static void make_stack(void)
{
	pthread_barrier_init(&made, NULL, 2);
	pthread_barrier_init(&done, NULL, 2);
	CHECK(!pthread_create(&thread, NULL, with_a_stack, NULL));
	pthread_barrier_wait(&made);
}

static int own = -1;

static void watch_itself(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register range = {.range = {(uintptr_t)memory, LENGTH}, .mode = UFFDIO_REGISTER_MODE_MISSING};

	own = (int)syscall(SYS_userfaultfd, O_CLOEXEC | 1);
	CHECK(own >= 0 && !ioctl(own, UFFDIO_API, &api));
	CHECK(!ioctl(own, UFFDIO_REGISTER, &range));
}

static void make_watched(void)
{
	make_private();
	watch_itself();
	/* All of it is there, so that nothing waits for anybody. */
	for (int i = 0; i < PAGES; i++) {
		struct uffdio_zeropage zero = {.range = {(uintptr_t)memory + (uintptr_t)i * PAGE, PAGE}};

		CHECK(!ioctl(own, UFFDIO_ZEROPAGE, &zero));
	}
}

/* --- ways to take it away --- */

static void by_nothing(void)
{
}

static void by_munmap(void)
{
	CHECK(!munmap(memory + 2 * PAGE, PAGE));
}

static void by_munmap_and_mmap(void)
{
	by_munmap();
	replace(MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static void by_mmap(void)
{
	replace(MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static void by_another_file(void)
{
	int other = memfd_create("another", MFD_CLOEXEC);

	CHECK(other >= 0 && !ftruncate(other, PAGE));
	replace(MAP_SHARED, other);
}

static void by_moving(void)
{
	CHECK(mremap(memory + 2 * PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE) != MAP_FAILED);
}

static void by_moving_pages(void)
{
	CHECK(mremap(memory + 2 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP) != MAP_FAILED);
}

static void by_shrinking(void)
{
	CHECK(mremap(memory, LENGTH, 2 * PAGE, 0) == memory);
}

static void advise(int advice)
{
	if (!madvise(memory + 2 * PAGE, PAGE, advice))
		return;
	CHECK(errno == EINVAL);
	printf("not in this kernel\n");
	exit(0);
}

static void by_dontneed(void)
{
	advise(MADV_DONTNEED);
}

static void by_free(void)
{
	advise(MADV_FREE);
}

static void by_remove(void)
{
	advise(MADV_REMOVE);
}

static void by_guards(void)
{
	advise(GUARD_INSTALL);
}

static void by_process_madvise(void)
{
	struct iovec range = {memory + 2 * PAGE, PAGE};
	int self = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (syscall(SYS_process_madvise, self, &range, 1L, MADV_DONTNEED, 0L) == PAGE)
		return;
	printf("not in this kernel\n");
	exit(0);
}

static void by_brk(void)
{
	CHECK(!brk(memory + 2 * PAGE));
}

static void by_mprotect(void)
{
	CHECK(!mprotect(memory + 2 * PAGE, PAGE, PROT_NONE));
}

static void by_write_protection(void)
{
	CHECK(!mprotect(memory + 2 * PAGE, PAGE, PROT_READ));
}

/* What the parent writes afterwards is not the child's; what the device writes is the parent's. */
static void by_fork(void)
{
	uint8_t byte = AFTER;
	int ends[2], status;
	pid_t child;

	CHECK(!pipe2(ends, O_CLOEXEC));
	child = fork();
	if (!child) {
		CHECK(read(ends[0], &byte, 1) == 1);
		_exit(memory[2 * PAGE] != BEFORE || memory[3 * PAGE] != BEFORE);
	}
	CHECK(child > 0);
	memory[2 * PAGE] = BEFORE + 1;
	CHECK(use(3 * PAGE, &byte, true) && memory[3 * PAGE] == AFTER);
	CHECK(write(ends[1], &byte, 1) == 1);
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status));
}

static void by_the_end_of_a_thread(void)
{
	pthread_barrier_wait(&done);
	CHECK(!pthread_join(thread, NULL));
}

static void by_freeing(void)
{
	free(block);
}

static void by_truncation(void)
{
	CHECK(!ftruncate(file, 0));
}

static void punch(off_t offset, off_t length)
{
	CHECK(!fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length));
}

static void by_a_hole(void)
{
	punch(2 * PAGE, PAGE);
}

/* Parts of two pages, which stay. */
static void by_a_hole_in_no_page(void)
{
	punch(PAGE + 1, 2 * PAGE - 2);
	punch(2 * PAGE + 1, PAGE - 2);
}

static void by_a_hole_and_half_of_two_pages(void)
{
	punch(PAGE + 1, 2 * PAGE);
}

static void by_a_hole_of_a_child(void)
{
	int status;
	pid_t child = fork();

	if (!child) {
		by_a_hole();
		_exit(0);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status));
}

/* Only what was behind the first byte of the third page's. */
static void by_truncation_within_a_page(void)
{
	CHECK(!ftruncate(file, PAGE + 1));
}

static void by_length(void)
{
	CHECK(!ftruncate(file, LENGTH) && !ftruncate(file, 2 * LENGTH));
	CHECK(!ftruncate(file, LENGTH));
}

static void name_of_file(char *out, size_t size)
{
	snprintf(out, size, "/proc/self/fd/%d", file);
}

static void by_truncation_of_a_name(void)
{
	char name[32];

	name_of_file(name, sizeof(name));
	CHECK(!truncate(name, 2 * PAGE));
}

static void by_opening(void)
{
	char name[32];

	name_of_file(name, sizeof(name));
	CHECK(open(name, O_RDWR | O_TRUNC | O_CLOEXEC) >= 0);
}

/* Through another mapping, of which nobody knows anything. */
static void by_removing_elsewhere(void)
{
	uint8_t *other = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

	CHECK(other != MAP_FAILED && !madvise(other + 2 * PAGE, PAGE, MADV_REMOVE));
}

static void by_munmap_of_huge(void)
{
	CHECK(!munmap(memory, HUGE));
}

static void by_dontneed_of_huge(void)
{
	CHECK(!madvise(memory, HUGE, MADV_DONTNEED));
}

static void by_a_huge_hole(void)
{
	/* A part of the page is nothing. */
	punch(2 * PAGE, PAGE);
	CHECK(memory[PAGE] == BEFORE);
	punch(0, HUGE);
}

static void by_shmdt(void)
{
	CHECK(!shmdt(memory));
}

static void by_another_segment(void)
{
	int segment = shmget(IPC_PRIVATE, LENGTH, 0600);

	CHECK(!shmdt(memory));
	CHECK(segment >= 0 && shmat(segment, memory, 0) == memory && !shmctl(segment, IPC_RMID, NULL));
}

/* It makes no userfaultfd any more, nor a connection, and does not live if it tries. */
static void by_munmap_in_a_sandbox(void)
{
	struct sock_filter instructions[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(instructions) / sizeof(instructions[0]), instructions};

	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	CHECK(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
	map(memory + 2 * PAGE, PAGE, IOVA + LENGTH, READABLE);
	by_munmap();
}

static const struct way {
	const char *name;
	void (*make)(void);
	void (*take)(void);
	bool reads; /* it can only be read */
	bool by_file; /* it is mapped by its descriptor */
} ways[] = {
	{"nothing", make_private, by_nothing, false},
	{"munmap", make_private, by_munmap, false},
	{"munmap-mmap", make_private, by_munmap_and_mmap, false},
	{"mmap", make_private, by_mmap, false},
	{"shared", make_shared, by_mmap, false},
	{"memfd", make_memfd, by_another_file, false},
	{"private-file", make_private_file, by_mmap, false},
	{"readable-file", make_readable_file, by_another_file, true},
	{"move", make_private, by_moving, false},
	{"move-pages", make_private, by_moving_pages, false},
	{"shrink", make_private, by_shrinking, false},
	{"dontneed", make_private, by_dontneed, false},
	{"free", make_private, by_free, false},
	{"remove", make_shared, by_remove, false},
	{"guards", make_private, by_guards, false},
	{"process-madvise", make_private, by_process_madvise, false},
	{"brk", make_heap, by_brk, false},
	{"mprotect", make_private, by_mprotect, false},
	{"write-protection", make_private, by_write_protection, false},
	{"fork", make_private, by_fork, false},
	{"stack", make_stack, by_the_end_of_a_thread, false},
	{"malloc", make_block, by_freeing, false},
	{"truncate", make_memfd, by_truncation, false},
	{"truncate-within", make_memfd, by_truncation_within_a_page, false},
	{"truncate-private", make_private_memfd, by_truncation, false},
	{"truncate-name", make_memfd, by_truncation_of_a_name, false},
	{"truncate-file", make_memfd, by_truncation, false, true},
	{"open", make_memfd, by_opening, false},
	{"length", make_memfd, by_length, false},
	{"hole", make_memfd, by_a_hole, false},
	{"hole-half", make_memfd, by_a_hole_and_half_of_two_pages, false},
	{"hole-nowhere", make_memfd, by_a_hole_in_no_page, false},
	{"hole-private", make_private_memfd, by_a_hole, false},
	{"hole-child", make_memfd, by_a_hole_of_a_child, false},
	{"hole-file", make_memfd, by_a_hole, false, true},
	{"remove-elsewhere", make_memfd, by_removing_elsewhere, false},
	{"remove-file", make_memfd, by_removing_elsewhere, false, true},
	{"dontneed-shared", make_memfd, by_dontneed, false},
	{"huge", make_huge, by_munmap_of_huge, false},
	{"huge-dontneed", make_huge, by_dontneed_of_huge, false},
	{"huge-shared", make_huge_shared, by_munmap_of_huge, false},
	{"huge-dontneed-shared", make_huge_shared, by_dontneed_of_huge, false},
	{"huge-hole", make_huge_memfd, by_a_huge_hole, false},
	{"shmdt", make_segment, by_shmdt, false},
	{"shmdt-shmat", make_segment, by_another_segment, false},
	{"watched", make_watched, by_mmap, false},
	{"watches-later", make_private, watch_itself, false},
	{"sandbox", make_private, by_munmap_in_a_sandbox, false},
};

static void report(const char *what, bool could)
{
	printf("%s %s\n", what, could ? "done" : "failed");
}

static void run(const struct way *way)
{
	unsigned int access = READABLE | (way->reads ? 0 : WRITEABLE);
	uint8_t byte = AFTER;

	begin();
	way->make();
	if (!way->reads && own < 0)
		memset(memory, BEFORE, LENGTH);
	printf("%p\n", (void *)memory);
	if (way->by_file)
		map_file(file, LENGTH, IOVA, access);
	else
		map(memory, LENGTH, IOVA, access);
	way->take();
	report("read", use(2 * PAGE, &byte, false));
	report("read", use(2 * PAGE + 1, &byte, false));
	if (!way->reads)
		report("write", use(2 * PAGE, &byte, true));
	unmap();
	printf("ok\n");
}

/* --- many --- */

static void wait_for_line(const char *what)
{
	char byte;

	printf("%s\n", what);
	fflush(stdout);
	CHECK(read(STDIN_FILENO, &byte, 1) == 1);
}

static void map_and_unmap(unsigned int count)
{
	begin();
	make_private();
	map(memory, PAGE, IOVA, READABLE);
	unmap();
	wait_for_line("begun");
	for (unsigned int i = 0; i < count; i++) {
		map(memory + i % PAGES * PAGE, PAGE, IOVA, READABLE);
		unmap();
	}
	wait_for_line("done");
	/* It is watched as at first. */
	map(memory, PAGE, IOVA, READABLE);
	CHECK(!munmap(memory, PAGE));
	unmap();
}

static void take_away_often(unsigned int count)
{
	begin();
	make_private();
	for (unsigned int i = 0; i < count; i++) {
		map(memory + 2 * PAGE, PAGE, IOVA, READABLE);
		by_munmap_and_mmap();
		unmap();
	}
}

/* Every other page, so that they are pieces; all of them go at once. */
static void map_pieces(unsigned int count)
{
	uint8_t *all = mmap(NULL, 2UL * PAGE * count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(all != MAP_FAILED);
	begin();
	for (unsigned int i = 0; i < count; i++)
		map(all + 2UL * PAGE * i, PAGE, IOVA + 2UL * PAGE * i, READABLE);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	CHECK(!munmap(all, 2UL * PAGE * count));
	unmap();
}

int main(int argc, char **argv)
{
	static char buffer[512];

	/* Not in memory that is taken away. */
	CHECK(argc > 1 && !setvbuf(stdout, buffer, _IOFBF, sizeof(buffer)));
	if (argc > 2 && !strcmp(argv[1], "loop"))
		return map_and_unmap((unsigned int)atoi(argv[2])), 0;
	if (argc > 2 && !strcmp(argv[1], "often"))
		return take_away_often((unsigned int)atoi(argv[2])), 0;
	if (argc > 2 && !strcmp(argv[1], "pieces"))
		return map_pieces((unsigned int)atoi(argv[2])), 0;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (!strcmp(argv[1], ways[i].name)) {
			run(&ways[i]);
			return 0;
		}
	fprintf(stderr, "no such way\n");
	return 2;
}

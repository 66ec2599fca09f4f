/* SPDX-License-Identifier: BSD-3-Clause */
/* A bound process forks, and executes another program: only the process that has opened the file has the device. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "accel.h"

static void wait_for(pid_t child)
{
	int status;

	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status));
}

/* Of a file that another address space has opened. */
static void nothing_is_to_be_had(int fd)
{
	struct uiommu_accel_ring ring = {.address = PAGE, .entries = 2};
	struct uiommu_accel_info info;
	uint64_t count;

	CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
	CHECK(ioctl(fd, UIOMMU_ACCEL_RING, &ring) == -1 && errno == EPERM);
	CHECK(ioctl(fd, UIOMMU_ACCEL_INFO, &info) == -1 && errno == EPERM);
	CHECK(ioctl(fd, UIOMMU_ACCEL_DRAIN) == -1 && errno == EPERM);
	CHECK(read(fd, &count, sizeof(count)) == -1 && errno == EPERM);
}

/* The child has pages of its own from now on; what the device writes is seen by the parent, whoever of the two has touched them. */
static void forks(void)
{
	struct accel accel, own;
	uint8_t *page = fresh(2), *from = fresh(1);
	struct uiommu_accel_desc desc = accel_move(page, from, PAGE, BLOCK);
	int go[2];
	unsigned char present;
	pid_t child;
	char c;

	accel_open(&accel, 8);
	scramble(from, PAGE, 1);
	scramble(page, 2 * PAGE, 2);
	CHECK(accel_do(&accel, &desc, NULL) == UIOMMU_ACCEL_SUCCESS);
	CHECK(!pipe(go));
	child = fork();
	if (!child) {
		CHECK(read(go[0], &c, 1) == 1);
		CHECK(scrambled(page, PAGE, 1));
		CHECK(mincore((void *)(uintptr_t)accel.doorbell, PAGE, &present) == -1 && errno == ENOMEM);
		nothing_is_to_be_had(accel.fd);
		/* One of its own. */
		accel_open(&own, 8);
		CHECK(own.pasid != accel.pasid && own.page != accel.page);
		scramble(from, PAGE, 4);
		CHECK(accel_do(&own, &desc, NULL) == UIOMMU_ACCEL_SUCCESS && scrambled(page, PAGE, 4));
		_exit(0);
	}
	scramble(from, PAGE, 3);
	CHECK(accel_do(&accel, &desc, NULL) == UIOMMU_ACCEL_SUCCESS && scrambled(page, PAGE, 3));
	CHECK(write(go[1], "", 1) == 1);
	wait_for(child);
	CHECK(scrambled(page, PAGE, 3));
	/* The child has closed its copy of the file. */
	scramble(from, PAGE, 5);
	CHECK(accel_do(&accel, &desc, NULL) == UIOMMU_ACCEL_SUCCESS && scrambled(page, PAGE, 5));
	accel_close(&accel);
	close(go[0]);
	close(go[1]);
	printf("a child has nothing of it\n");
}

/* With work under way and the file open. */
static void execs(const char *self)
{
	pid_t child = fork();
	struct uiommu_accel_desc desc;
	struct accel accel;
	char number[16];

	if (!child) {
		uint8_t *memory = fresh(8192);

		accel_open(&accel, 64);
		CHECK(!fcntl(accel.fd, F_SETFD, 0));
		desc = accel_fill(memory, UINT64_C(0x4242424242424242), (size_t)8192 * PAGE, BLOCK);
		for (unsigned int i = 0; i < 16; i++)
			accel_submit(&accel, &desc);
		snprintf(number, sizeof(number), "%d", accel.fd);
		execl(self, self, number, NULL);
		_exit(1);
	}
	wait_for(child);
	printf("nor has another program\n");
}

static int executed(int fd)
{
	uint8_t *from = fresh(1), *to = fresh(1);
	struct uiommu_accel_desc desc = accel_move(to, from, PAGE, BLOCK);
	struct accel accel;

	nothing_is_to_be_had(fd);
	accel_open(&accel, 8);
	scramble(from, PAGE, 9);
	CHECK(accel_do(&accel, &desc, NULL) == UIOMMU_ACCEL_SUCCESS && scrambled(to, PAGE, 9));
	close(fd);
	CHECK(accel_do(&accel, &desc, NULL) == UIOMMU_ACCEL_SUCCESS);
	accel_close(&accel);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return executed(atoi(argv[1]));
	forks();
	execs("/proc/self/exe");
	printf("passed\n");
	return 0;
}

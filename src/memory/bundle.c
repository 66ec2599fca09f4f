/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A bundle is a right to one process's address space, made of files that the kernel gave out after its own ptrace check.
 *
 * Opening. Three checks have to pass, since each looks at something else. pidfd_getfd() of a descriptor that cannot exist is a pure
 * PTRACE_MODE_ATTACH_REALCREDS check: EBADF means yes, EPERM no. Opening the files under /proc is the same check with the
 * file-system ids. A set-uid program that has only one of the two must not lend it. And the pidfd must still be alive afterwards:
 * then the pid meant the same process all the time. What is left is an exec between two opens, so that mem and maps would be of
 * different address spaces: the exec event, which was opened first, must not have hung up at the end, and the random bytes at
 * AT_RANDOM, by pid and through the handle, must be equal. mem was opened before the others and an address space never comes back,
 * so then all files are of the one that the process has now.
 *	When the first thread has ended there is nothing under the process's own number, and another one's files are opened.
 *
 * Receiving. Whoever sends a bundle had the right to open it; what has to be verified is only that it is one. The file system must
 * be procfs, the link of each descriptor must name the right file of one directory, and that directory must be of the pidfd's
 * process (as one of the pids that it has in its namespaces).
 */
#include "memory/bundle.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "memory/watch.h"
#include "util/util.h"

enum { OPEN_ATTEMPTS = 16, PIDFD_OF_THREAD = O_EXCL /* Linux 6.9 */ };

bool pidfd_alive(int pidfd)
{
	struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
	int n;

	do
		n = poll(&poll_fd, 1, 0);
	while (n < 0 && errno == EINTR);
	return n == 0;
}

ssize_t handle_peek(int mem, uint64_t address, void *buffer, size_t count)
{
	ssize_t n;

	if (address > INT64_MAX)
		return -EIO;
	do
		n = pread(mem, buffer, count, (off_t)address);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t pid_peek(pid_t pid, uint64_t address, void *buffer, size_t count)
{
	struct iovec local = {buffer, count}, remote = {(void *)(uintptr_t)address, count};
	ssize_t n;

	do
		n = process_vm_readv(pid, &local, 1, &remote, 1, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int auxv_random(int auxv, uint64_t *address)
{
	Elf64_auxv_t vector[64]; /* of a 32-bit process, no entry looks like this one */
	ssize_t n = pread(auxv, vector, sizeof(vector), 0);

	for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(vector[0]) && vector[i].a_type != AT_NULL; i++)
		if (vector[i].a_type == AT_RANDOM) {
			*address = vector[i].a_un.a_val;
			return 0;
		}
	return -ENOENT;
}

/* Bundles that this process has opened, by the descriptor of mem. */
struct own {
	struct own *next;
	int mem;
	dev_t device;
	ino_t inode;
};

static pthread_mutex_t own_lock = PTHREAD_MUTEX_INITIALIZER;
static struct own *own_list;

static struct own **own_find(int mem)
{
	struct own **link = &own_list;

	while (*link && (*link)->mem != mem)
		link = &(*link)->next;
	return link;
}

/* A bundle that cannot be remembered for want of memory is treated as one received. */
static void own_remember(int mem)
{
	struct own *own = malloc(sizeof(*own)), **link;
	struct stat stat;

	if (!own || fstat(mem, &stat)) {
		free(own);
		return;
	}
	pthread_mutex_lock(&own_lock);
	link = own_find(mem);
	*own = (struct own){.mem = mem, .device = stat.st_dev, .inode = stat.st_ino, .next = *link ? (*link)->next : NULL};
	free(*link);
	*link = own;
	pthread_mutex_unlock(&own_lock);
}

static void own_forget(int mem)
{
	struct own **link, *own;

	pthread_mutex_lock(&own_lock);
	link = own_find(mem);
	own = *link;
	if (own)
		*link = own->next;
	pthread_mutex_unlock(&own_lock);
	free(own);
}

bool bundle_is_own(const struct uiommu_process *bundle)
{
	struct stat stat;
	struct own *own;
	bool is;

	if (fstat(bundle->mem, &stat))
		return false;
	pthread_mutex_lock(&own_lock);
	own = *own_find(bundle->mem);
	is = own && own->device == stat.st_dev && own->inode == stat.st_ino;
	pthread_mutex_unlock(&own_lock);
	return is;
}

/* What @length of @path ends with is "/<number>": where that begins, or NULL. */
static char *last_number(char *path, size_t length, pid_t *number)
{
	char *slash = memrchr(path, '/', length), *end;

	if (!slash || slash[1] < '1' || slash[1] > '9')
		return NULL;
	*number = (pid_t)strtol(slash + 1, &end, 10);
	return end == path + length ? slash : NULL;
}

/* The directory that the link of @fd names: it ends in "/<number>/<name>", or "/<number>/task/<thread>/<name>". 0 or -EBADF. */
static int proc_link(int fd, const char *name, char *path, size_t size, pid_t *number)
{
	static const char threads[] = "/task";
	char self[32];
	char *slash;
	ssize_t length;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	length = readlink(self, path, size - 1);
	if (length <= 0 || (size_t)length == size - 1)
		return -EBADF;
	path[length] = 0;
	slash = strrchr(path, '/');
	if (!slash || strcmp(slash + 1, name))
		return -EBADF;
	*slash = 0;
	slash = last_number(path, strlen(path), number);
	if (slash && slash - path > (ptrdiff_t)strlen(threads) && !memcmp(slash - strlen(threads), threads, strlen(threads)))
		slash = last_number(path, (size_t)(slash - path) - strlen(threads), number);
	return slash ? 0 : -EBADF;
}

static bool is_procfs(int fd, dev_t *device)
{
	struct statfs fs;
	struct stat stat;

	if (fstatfs(fd, &fs) || fs.f_type != PROC_SUPER_MAGIC || fstat(fd, &stat))
		return false;
	*device = stat.st_dev;
	return true;
}

/* From <linux/pidfd.h> of Linux 6.13; the ABI is fixed, and the header on the machine may be older. */
struct pidfd_info {
	uint64_t mask;
	uint64_t cgroup;
	uint32_t pid;
	uint32_t tgid;
	uint32_t ppid;
	uint32_t ids[8];
	uint32_t exit_code;
};
_Static_assert(sizeof(struct pidfd_info) == 64, "PIDFD_INFO_SIZE_VER0");
#define PIDFD_GET_INFO_IOCTL _IOWR(0xff, 11, struct pidfd_info)

enum {
	PIDFD_INFO_PID_BIT = 1,
	PIDFS_MAGIC = 0x50494446,
};

/* The pids of a pidfd's process: in the namespace of our /proc, and in those below it. */
struct pids {
	pid_t own;
	pid_t all[34]; /* the kernel nests 32 namespaces at most */
	size_t count;
};

static void pids_parse(char *line, struct pids *pids)
{
	char *save, *word;

	if (!strncmp(line, "Pid:", 4))
		pids->own = (pid_t)strtol(line + 4, NULL, 10);
	if (strncmp(line, "NSpid:", 6))
		return;
	for (word = strtok_r(line + 6, "\t ", &save); word && pids->count < ARRAY_SIZE(pids->all);
	     word = strtok_r(NULL, "\t ", &save))
		pids->all[pids->count++] = (pid_t)strtol(word, NULL, 10);
}

/* Only a pidfd has such lines. -EBADF if there are none or it is not of our namespace, -ESRCH if its process has been reaped. */
static int pidfd_pids(int pidfd, struct pids *pids)
{
	char path[40], text[2048], *save, *line;
	ssize_t n;
	int fd;

	*pids = (struct pids){0};
	if (pidfd < 0)
		return -EBADF;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -EBADF : -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -EBADF;
	text[n] = 0;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		pids_parse(line, pids);
	if (pids->own < 0)
		return -ESRCH;
	return pids->own ? 0 : -EBADF;
}

/* What kind of file it is first: a driver may do anything when it is asked a question that is not its own. */
static int pidfd_ask(int pidfd, pid_t *pid)
{
	struct pidfd_info info = {.mask = PIDFD_INFO_PID_BIT};
	struct statfs fs;

	if (pidfd < 0 || fstatfs(pidfd, &fs) || fs.f_type != PIDFS_MAGIC)
		return -EBADF;
	if (ioctl(pidfd, PIDFD_GET_INFO_IOCTL, &info))
		return errno == ESRCH ? -ESRCH : -EBADF;
	*pid = (pid_t)info.pid;
	return 0;
}

static bool pidfd_can_be_asked(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	pid_t pid = 0;
	bool can = pidfd >= 0 && !pidfd_ask(pidfd, &pid) && pid == getpid();

	if (pidfd >= 0)
		close(pidfd);
	return can;
}

bool bundle_must_open(unsigned int without)
{
	static int cached;
	int known = __atomic_load_n(&cached, __ATOMIC_RELAXED);

	if (without & UIOMMU_WITHOUT_PIDFD_INFO)
		return true;
	if (!known) {
		known = pidfd_can_be_asked() ? 2 : 1;
		__atomic_store_n(&cached, known, __ATOMIC_RELAXED);
	}
	return known == 1;
}

static bool pids_contain(const struct pids *pids, pid_t pid)
{
	for (size_t i = 0; i < pids->count; i++)
		if (pids->all[i] == pid)
			return true;
	return pids->own == pid;
}

/* -EBADF if it is not open for reading (@access) at all, -EACCES if it is for less than @access. */
static int check_mode(int fd, unsigned int access)
{
	int flags = fcntl(fd, F_GETFL), mode = flags & O_ACCMODE;

	if (flags < 0 || flags & O_PATH || mode == O_WRONLY)
		return -EBADF;
	return access & UIOMMU_WRITE && mode != O_RDWR ? -EACCES : 0;
}

/* Another file of the directory @directory on @device; absent (-1) is fine. */
static int check_sibling(int fd, const char *name, dev_t device, const char *directory)
{
	char path[PATH_MAX];
	dev_t its_device;
	pid_t number;

	if (fd == -1)
		return 0;
	if (!is_procfs(fd, &its_device) || its_device != device || proc_link(fd, name, path, sizeof(path), &number) ||
	    strcmp(path, directory))
		return -EBADF;
	return check_mode(fd, UIOMMU_READ);
}

static int bundle_pids(int pidfd, unsigned int without, struct pids *pids)
{
	if (bundle_must_open(without))
		return pidfd_pids(pidfd, pids);
	*pids = (struct pids){0};
	return pidfd_ask(pidfd, &pids->own);
}

/* A number that is not ours may be one of another namespace, which only the file tells; where it may be opened. */
static bool is_number_of(int pidfd, struct pids *pids, pid_t number)
{
	if (pids_contain(pids, number))
		return true;
	return !pids->count && !pidfd_pids(pidfd, pids) && pids_contain(pids, number);
}

int bundle_verify(const struct uiommu_process *bundle, unsigned int access, unsigned int without, pid_t *pid)
{
	char directory[PATH_MAX];
	struct pids pids;
	dev_t device;
	pid_t number;
	int rc = bundle_pids(bundle->pidfd, without, &pids);

	if (rc)
		return rc;
	if (!pidfd_alive(bundle->pidfd))
		return -ESRCH;
	if (!is_procfs(bundle->mem, &device) || proc_link(bundle->mem, "mem", directory, sizeof(directory), &number))
		/* The link of a process that has just been reaped says so. */
		return pidfd_alive(bundle->pidfd) ? -EBADF : -ESRCH;
	if (!is_number_of(bundle->pidfd, &pids, number))
		return -EBADF;
	rc = check_mode(bundle->mem, access);
	if (!rc)
		rc = check_sibling(bundle->maps, "maps", device, directory);
	if (!rc)
		rc = check_sibling(bundle->auxv, "auxv", device, directory);
	if (!rc && bundle->exec != -1 && !exec_event_is(bundle->exec))
		rc = -EBADF;
	*pid = pids.own;
	return rc;
}

/* A process, and a thread of it through which its memory is reached: the first one, whose number is the process's, if that lives.
 */
struct task {
	pid_t process, thread;
};

/* What opening a file under /proc/PID says. A process that is alive and cannot be seen is hidden (hidepid). */
static int open_file(const struct task *task, const char *name, int flags, int pidfd, int *out)
{
	char path[64];

	if (task->thread == task->process)
		snprintf(path, sizeof(path), "/proc/%d/%s", (int)task->process, name);
	else
		snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)task->process, (int)task->thread, name);
	*out = open(path, flags | O_CLOEXEC);
	if (*out >= 0)
		return 0;
	if (errno == ENOENT)
		return pidfd_alive(pidfd) ? -EACCES : -ESRCH;
	return -errno;
}

static int check_real_credentials(int pidfd, const struct task *task)
{
	int thread = task->thread == task->process ? -1 : (int)syscall(SYS_pidfd_open, task->thread, PIDFD_OF_THREAD);
	int fd = (int)syscall(SYS_pidfd_getfd, thread < 0 ? pidfd : thread, INT_MAX, 0), error = errno;

	if (thread >= 0)
		close(thread);
	if (fd >= 0) {
		close(fd); /* somebody has raised the limit on descriptors that far; the answer is yes all the same */
		return 0;
	}
	return error == EBADF ? 0 : -error;
}

/* All of one address space? 0, -EAGAIN (it was executing another program meanwhile), -ESRCH (it has none). */
static int check_address_space(pid_t thread, const struct uiommu_process *bundle)
{
	unsigned char by_handle[COOKIE_SIZE], by_pid[COOKIE_SIZE];
	uint64_t address = 0;
	ssize_t here, there;

	if (auxv_random(bundle->auxv, &address))
		return handle_peek(bundle->mem, 0, by_handle, 1) == 0 ? -ESRCH : 0; /* 32 bits: cannot be told */
	here = handle_peek(bundle->mem, address, by_handle, COOKIE_SIZE);
	if (here == 0)
		return -EAGAIN;
	there = pid_peek(thread, address, by_pid, COOKIE_SIZE);
	if (there == -ENOSYS || there == -EPERM) /* not built in, or filtered: cannot be told */
		return 0;
	if (here != COOKIE_SIZE || there != COOKIE_SIZE)
		return here < 0 && there == -EFAULT ? 0 : -EAGAIN; /* the process itself has unmapped them */
	return memcmp(by_handle, by_pid, COOKIE_SIZE) ? -EAGAIN : 0;
}

/* 0, or -EAGAIN: it was executing another program meanwhile, or its first thread was ending. One that is of no use is closed. */
static int check_exec_event(struct uiommu_process *bundle)
{
	int rc = bundle->exec < 0 ? 0 : exec_event_ask(bundle->exec);

	if (!rc || rc == -EAGAIN)
		return rc;
	close(bundle->exec);
	bundle->exec = -1;
	return 0;
}

static int open_files(const struct task *task, unsigned int access, struct uiommu_process *out)
{
	int rc;

	out->pidfd = (int)syscall(SYS_pidfd_open, task->process, 0); /* close-on-exec by itself */
	if (out->pidfd < 0)
		return errno == EINVAL || errno == ENOENT ? -ESRCH : -errno; /* those: not a thread group */
	rc = check_real_credentials(out->pidfd, task);
	if (!rc && task->thread == task->process)
		out->exec = exec_event_open(task->process);
	if (!rc)
		rc = open_file(task, "mem", access & UIOMMU_WRITE ? O_RDWR : O_RDONLY, out->pidfd, &out->mem);
	if (!rc)
		rc = open_file(task, "maps", O_RDONLY, out->pidfd, &out->maps);
	if (!rc)
		rc = open_file(task, "auxv", O_RDONLY, out->pidfd, &out->auxv);
	if (!rc)
		rc = check_address_space(task->thread, out);
	if (!rc)
		rc = check_exec_event(out);
	if ((!rc || rc == -EAGAIN) && !pidfd_alive(out->pidfd))
		rc = -ESRCH;
	return rc;
}

static void close_files(struct uiommu_process *bundle)
{
	int *fds[] = {&bundle->mem, &bundle->maps, &bundle->pidfd, &bundle->auxv, &bundle->exec};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

static int open_stable(const struct task *task, unsigned int access, struct uiommu_process *out)
{
	int rc = -EAGAIN;

	for (int i = 0; i < OPEN_ATTEMPTS && rc == -EAGAIN; i++) {
		rc = open_files(task, access, out);
		if (rc)
			close_files(out);
	}
	/* It never stood still; whatever program it was, it has ended. */
	return rc == -EAGAIN ? -ESRCH : rc;
}

/* Its first thread has ended, and with it what there is under the process's own number. */
static int open_by_thread(pid_t pid, unsigned int access, struct uiommu_process *out)
{
	struct task task = {.process = pid};
	struct dirent *entry;
	char path[32];
	DIR *threads;
	int rc = -ESRCH;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	threads = opendir(path);
	while (rc == -ESRCH && threads && (entry = readdir(threads))) {
		task.thread = (pid_t)strtol(entry->d_name, NULL, 10);
		if (task.thread > 0 && task.thread != pid)
			rc = open_stable(&task, access, out);
	}
	if (threads)
		closedir(threads);
	return rc;
}

int uiommu_process_open(pid_t pid, unsigned int access, struct uiommu_process *out)
{
	int rc;

	*out = (struct uiommu_process){-1, -1, -1, -1, -1};
	if (access != UIOMMU_READ && access != (UIOMMU_READ | UIOMMU_WRITE))
		return -EINVAL;
	if (pid <= 0)
		return -ESRCH;
	rc = open_stable(&(struct task){pid, pid}, access, out);
	if (rc == -ESRCH)
		rc = open_by_thread(pid, access, out);
	if (!rc)
		own_remember(out->mem);
	return rc;
}

void uiommu_process_close(struct uiommu_process *process)
{
	if (process->mem >= 0)
		own_forget(process->mem);
	close_files(process);
}

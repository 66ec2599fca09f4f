/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections. A process has as many as it has calls at the same time, and a call takes the first that is free: no thread owns one,
 * so none has to be told of a thread's end, and a signal handler or a vfork child takes another one than what it interrupted.
 *
 * They are in a page that fork children get empty (MADV_WIPEONFORK), so that a child never speaks over its parent's: who a
 * connection belongs to was said when it began. Copies of their numbers outside of that page let the child close them.
 *
 * The program may close any descriptor, ours too, and open others at the same number. So before each use the connection's inode
 * is compared; one that is lost is made again.
 *
 * All signals are blocked during a call: as for a system call of the kernel, a handler runs before it or after it.
 */
#include "abi/shim/client.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include "abi/shim/sys.h"
#include "abi/shim/trap.h"
#include "abi/shim/watch.h"

enum {
	SLOTS = 64,
	HIGH = 0x300, /* descriptors are put here, where they are in nobody's way, if there may be so many */
	SIGNAL_BYTES = 8,
	PAGE = 4096, /* or a multiple of it */
};

struct slot {
	uint32_t busy;
	int fd; /* plus 1; 0: none */
	uint64_t inode;
};

/* Zero: nothing is connected. */
struct connections {
	uint64_t token; /* of this process, from the daemon */
	uint32_t connecting; /* a lock: 0, 1, or 2: somebody waits */
	uint32_t released; /* counts calls that have ended while somebody waited */
	uint32_t waiting;
	struct slot slots[SLOTS];
};

static struct connections *connections;
static bool checks; /* the session said SESSION_CHECKS; atomic, and a fork child's as well */
static struct slot inherited[SLOTS]; /* copies, for fork children */
static char folder[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
static int state; /* 0: not known; 1: in a session; 2: not in one */

static void find_session(void)
{
	static const char variable[] = SESSION_VARIABLE "=";
	size_t length = 0;
	char **entry = environ;

	if (!entry)
		return; /* too early to know */
	while (*entry && strncmp(*entry, variable, sizeof(variable) - 1) != 0)
		entry++;
	if (*entry)
		length = strlen(*entry + sizeof(variable) - 1);
	if (length && length + sizeof("/" SESSION_SOCKET) <= sizeof(folder)) {
		memcpy(folder, *entry + sizeof(variable) - 1, length + 1);
		__atomic_store_n(&state, 1, __ATOMIC_RELEASE);
	} else {
		__atomic_store_n(&state, 2, __ATOMIC_RELEASE);
	}
}

bool client_active(void)
{
	int known = __atomic_load_n(&state, __ATOMIC_ACQUIRE);

	if (!known) {
		find_session();
		known = __atomic_load_n(&state, __ATOMIC_ACQUIRE);
	}
	return known == 1;
}

/*
 * What cannot be done is not allowed to be a fault of ours: so the kernel is asked first, by the cheapest call that reads from, or
 * writes to, where it is told. It reads 8 bytes, and then finds that it does not know what to do with them; it writes 8 bytes,
 * which are to be overwritten.
 */
bool client_can_read(uint64_t address)
{
	address &= ~(uint64_t)(SIGNAL_BYTES - 1);
	/* 0 would be no set at all. */
	return address && sys_4(SYS_rt_sigprocmask, -1, (long)address, 0, SIGNAL_BYTES) != -EFAULT;
}

static bool can_write_word(char *at)
{
	return sys_4(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)at, SIGNAL_BYTES) != -EFAULT;
}

bool client_can_write(char *out, size_t length)
{
	return can_write_word(out) && can_write_word(out + length - SIGNAL_BYTES);
}

/* A page at a time. What else is wrong with it the kernel says. */
static bool is_name(const char *path)
{
	for (size_t length = 0, part; length < PATH_MAX; length += part) {
		part = PAGE - (uint64_t)(uintptr_t)(path + length) % PAGE;
		if (!client_can_read((uint64_t)(uintptr_t)(path + length)))
			return false;
		if (memchr(path + length, '\0', part))
			return true;
	}
	return false;
}

void redirect(const char *path, struct redirected *out)
{
	out->path = path;
	out->name = NULL;
	out->checked = client_active() && is_name(path) ? path : NULL;
	if (out->checked)
		redirect_below(folder, path, out);
}

static void redirect_relative(int directory, struct redirected *out)
{
	char where[PATH_MAX];
	long length = link_of(0, directory, where);

	if (length > 0)
		redirect_from(folder, where, (size_t)length, out->checked, out);
}

void redirect_at(int directory, const char *path, struct redirected *out)
{
	redirect(path, out);
	if (out->checked && *path && *path != '/')
		redirect_relative(directory, out);
}

bool client_device(int fd, char *name)
{
	return client_active() && node_of_device(folder, fd, name);
}

size_t undo_redirect(char *name, size_t length)
{
	return client_active() ? undo_redirect_below(folder, name, length) : length;
}

bool client_file(int fd, struct session_key *out)
{
	struct stat stat = {0};

	if (fd < 0 || sys_fstat(fd, &stat) || (stat.st_mode & 07777) != SESSION_MODE)
		return false;
	*out = (struct session_key){stat.st_dev, stat.st_ino};
	return true;
}

/* The page, made by whoever needs it first. */
static struct connections *page(void)
{
	struct connections *have = __atomic_load_n(&connections, __ATOMIC_ACQUIRE), *made;
	long address;

	if (have)
		return have;
	address = sys_6(SYS_mmap, 0, sizeof(*have), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (address < 0 && address > -4096)
		return NULL;
	made = (struct connections *)address;
	sys_3(SYS_madvise, address, sizeof(*made), MADV_WIPEONFORK);
	if (__atomic_compare_exchange_n(&connections, &have, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return made;
	sys_2(SYS_munmap, address, sizeof(*made));
	return have;
}

static void lock(uint32_t *word)
{
	uint32_t free = 0;

	if (__atomic_compare_exchange_n(word, &free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	while (__atomic_exchange_n(word, 2, __ATOMIC_ACQUIRE))
		sys_futex(word, FUTEX_WAIT_PRIVATE, 2);
}

static void unlock(uint32_t *word)
{
	if (__atomic_exchange_n(word, 0, __ATOMIC_RELEASE) == 2)
		sys_futex(word, FUTEX_WAKE_PRIVATE, 1);
}

/* One that is connected and free, else any that is free if @any; waits if there is none. */
static struct slot *slot_take(struct connections *all, bool any)
{
	for (;;) {
		uint32_t seen = __atomic_load_n(&all->released, __ATOMIC_ACQUIRE);

		for (int pass = 0; pass < (any ? 2 : 1); pass++)
			for (size_t i = 0; i < SLOTS; i++) {
				struct slot *slot = &all->slots[i];
				uint32_t idle = 0;

				if (!pass && !__atomic_load_n(&slot->fd, __ATOMIC_RELAXED))
					continue;
				if (__atomic_compare_exchange_n(&slot->busy, &idle, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
					return slot;
			}
		__atomic_fetch_add(&all->waiting, 1, __ATOMIC_SEQ_CST);
		sys_futex(&all->released, FUTEX_WAIT_PRIVATE, seen);
		__atomic_fetch_sub(&all->waiting, 1, __ATOMIC_RELAXED);
	}
}

static void slot_release(struct connections *all, struct slot *slot)
{
	__atomic_store_n(&slot->busy, 0, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&all->waiting, __ATOMIC_SEQ_CST)) {
		__atomic_fetch_add(&all->released, 1, __ATOMIC_SEQ_CST);
		sys_futex(&all->released, FUTEX_WAKE_PRIVATE, SLOTS);
	}
}

/* Somebody has a connection, so that it is worth waiting for it. */
static bool connected(const struct connections *all)
{
	for (size_t i = 0; i < SLOTS; i++)
		if (__atomic_load_n(&all->slots[i].fd, __ATOMIC_RELAXED))
			return true;
	return false;
}

union control {
	char bytes[CMSG_SPACE(SESSION_HELLO_FDS * sizeof(int))];
	struct cmsghdr align;
};

static long send_message(int fd, struct iovec *parts, size_t count, const int *fds, unsigned int fd_count)
{
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
	union control control;
	long sent;

	if (fd_count) {
		memset(&control, 0, sizeof(control));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, fd_count * sizeof(int));
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
	}
	do
		sent = sys_sendmsg(fd, &message, MSG_NOSIGNAL);
	while (sent == -EINTR);
	return sent;
}

/* The descriptor in the message of one byte that was announced; -EMFILE: there was no room for it. -ENODEV. */
static int receive_fd(int socket, int flags)
{
	char byte;
	struct iovec part = {&byte, 1};
	union control control = {0};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_LEN(sizeof(int))};
	long length;
	int fd;

	do
		length = sys_recvmsg(socket, &message, flags);
	while (length == -EINTR);
	if (length != 1)
		return -ENODEV;
	if (message.msg_controllen < CMSG_LEN(sizeof(int)) || control.align.cmsg_type != SCM_RIGHTS)
		return -EMFILE;
	memcpy(&fd, CMSG_DATA(&control.align), sizeof(fd));
	return fd;
}

/*
 * A reply, and what is behind it straight to @data, of @room bytes, by the kernel: it finds out what cannot be written. Length;
 * -EFAULT: it cannot, and what came is lost, but for the reply.
 */
static long receive_data(int socket, struct session_reply *reply, void *data, size_t room)
{
	struct iovec parts[] = {{reply, sizeof(*reply)}, {data, room}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	long length;

	reply->kind = SESSION_KINDS;
	do
		length = sys_recvmsg(socket, &message, 0);
	while (length == -EINTR);
	if (length != -EFAULT || reply->kind != SESSION_KINDS)
		return length;
	/* No address at all: the kernel did not even look for a message. */
	do
		length = sys_6(SYS_recvfrom, socket, (long)reply, sizeof(*reply), MSG_TRUNC, 0, 0);
	while (length == -EINTR);
	return length > (long)sizeof(*reply) ? -EFAULT : length;
}

/*
 * 0; -ENODEV: the daemon has gone; -EFAULT: what is behind it is not wanted at @data, for which there are @room bytes. *@fd: what
 * came with it, -EMFILE if that did not fit, else -1.
 */
static int receive_reply(int socket, struct session_reply *reply, int flags, int *fd, void *data, size_t room)
{
	long length;

	*fd = -1;
	if (room)
		length = receive_data(socket, reply, data, room);
	else
		do
			length = sys_6(SYS_recvfrom, socket, (long)reply, sizeof(*reply), 0, 0, 0);
		while (length == -EINTR);
	if (length < (long)sizeof(*reply))
		return length == -EFAULT ? -EFAULT : -ENODEV;
	if (reply->flags & SESSION_FD)
		*fd = receive_fd(socket, flags);
	return *fd == -ENODEV ? -ENODEV : 0;
}

/* Where nobody expects it. */
static int move_up(int fd)
{
	int moved = (int)sys_3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HIGH);

	if (moved < 0)
		return fd;
	sys_close(fd);
	return moved;
}

static int open_socket(void)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd = (int)sys_3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	long error;

	if (fd < 0)
		return fd;
	strcpy(name.sun_path, folder);
	strcat(name.sun_path, "/" SESSION_SOCKET);
	do
		error = sys_3(SYS_connect, fd, (long)&name, sizeof(name));
	while (error == -EINTR);
	if (error) {
		sys_close(fd);
		return -ENODEV;
	}
	return move_up(fd);
}

/* What the kernel gives us of ourselves: the right to our memory. Number of descriptors. */
static unsigned int open_bundle(int *fds)
{
	/* The former is the first thread, which may have ended: then there is no memory. */
	static const char *const names[][3] = {{"/proc/self/mem", "/proc/self/maps", "/proc/self/auxv"},
					       {"/proc/thread-self/mem", "/proc/thread-self/maps", "/proc/thread-self/auxv"}};
	unsigned int count = 0, whose = 0;
	char byte = 0;

	fds[0] = sys_openat(AT_FDCWD, names[0][0], O_RDWR | O_CLOEXEC, 0);
	if (fds[0] < 0 || sys_4(SYS_pread64, fds[0], (long)&byte, 1, (long)&byte) != 1) {
		if (fds[0] >= 0)
			sys_close(fds[0]);
		whose = 1;
		fds[0] = sys_openat(AT_FDCWD, names[1][0], O_RDWR | O_CLOEXEC, 0);
	}
	if (fds[count++] < 0)
		return 0;
	for (size_t i = 1; i < sizeof(names[0]) / sizeof(names[0][0]); i++) {
		fds[count] = sys_openat(AT_FDCWD, names[whose][i], O_RDONLY | O_CLOEXEC, 0);
		if (fds[count++] < 0)
			return count - 1;
	}
	fds[count] = (int)sys_2(SYS_pidfd_open, sys_0(SYS_getpid), 0);
	return fds[count] < 0 ? count : count + 1;
}

static uint64_t capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};

	if (sys_2(SYS_capget, (long)&header, (long)data))
		return 0;
	return (uint64_t)data[1].effective << 32 | data[0].effective;
}

static uint64_t lock_limit(void)
{
	struct rlimit limit = {0};

	if (sys_4(SYS_prlimit64, 0, RLIMIT_MEMLOCK, 0, (long)&limit))
		return 0;
	return limit.rlim_cur; /* RLIM_INFINITY is UINT64_MAX */
}

/* Before each use: is it there, and is it ours? */
static bool slot_is_whole(const struct slot *slot)
{
	struct stat stat = {0};

	return slot->fd && !sys_fstat(slot->fd - 1, &stat) && S_ISSOCK(stat.st_mode) && stat.st_ino == slot->inode;
}

/*
 * A fork child has its own connection now, and lets go of its parent's. Not earlier: as long as it has them, the session knows that
 * somebody is there.
 */
static void close_inherited(void)
{
	for (size_t i = 0; i < SLOTS; i++) {
		if (slot_is_whole(&inherited[i]))
			sys_close(inherited[i].fd - 1);
		inherited[i] = (struct slot){0};
	}
}

static int64_t exchange(int socket, struct session_request *request, const void *inlined, int *fd, uint64_t *offset);

/* Before anything is mapped for DMA, and before the program forbids itself what it takes. */
static void be_watched(int socket)
{
	struct session_request request = {.op = SESSION_WATCH};
	uint64_t offset;
	int fd;

	exchange(socket, &request, NULL, &fd, &offset);
}

/* Say who we are. The token stands for the process from its second connection on. */
static int hello(struct connections *all, int socket)
{
	struct session_request request = {
		.op = SESSION_HELLO,
		.file = {SESSION_VERSION, all->token},
		.argument = lock_limit(),
		.count = capabilities(),
		.flags = TRAPS,
	};
	struct iovec part = {&request, sizeof(request)};
	struct session_reply reply = {0};
	int fds[SESSION_HELLO_FDS], fd;
	unsigned int count = request.file.inode ? 0 : open_bundle(fds);
	long error = send_message(socket, &part, 1, fds, count);

	for (unsigned int i = 0; i < count; i++)
		sys_close(fds[i]);
	if (error >= 0)
		error = receive_reply(socket, &reply, MSG_CMSG_CLOEXEC, &fd, NULL, 0);
	if (error < 0 || reply.kind != SESSION_DONE)
		return -ENODEV;
	if (reply.result < 0)
		return (int)reply.result;
	if (!all->token)
		close_inherited();
	if (!all->token && reply.flags & SESSION_CHECKS)
		be_watched(socket);
	all->token = (uint64_t)reply.result;
	__atomic_store_n(&checks, reply.flags & SESSION_CHECKS, __ATOMIC_RELAXED);
	return 0;
}

/* A socket with which we are known, or -errno. */
static int introduce(struct connections *all)
{
	int fd = open_socket(), error;

	if (fd < 0)
		return fd;
	error = hello(all, fd);
	if (!error)
		return fd;
	sys_close(fd);
	return error;
}

static int slot_connect(struct connections *all, struct slot *slot)
{
	struct stat stat = {0};
	int fd;

	__atomic_store_n(&slot->fd, 0, __ATOMIC_RELAXED);
	lock(&all->connecting);
	fd = introduce(all);
	if (fd == -EBADF && all->token) {
		/* All our connections were closed, and we were forgotten. */
		all->token = 0;
		fd = introduce(all);
	}
	unlock(&all->connecting);
	if (fd < 0)
		return fd;
	sys_fstat(fd, &stat);
	slot->inode = stat.st_ino;
	__atomic_store_n(&slot->fd, fd + 1, __ATOMIC_RELAXED);
	inherited[slot - all->slots] = *slot;
	return 0;
}

/* A connection that works. Where no more can be made, those that there are have to do. */
static int acquire(struct connections *all, struct slot **out)
{
	bool any = true;

	for (;;) {
		struct slot *slot = slot_take(all, any);
		int error = slot_is_whole(slot) ? 0 : slot_connect(all, slot);

		if (!error) {
			*out = slot;
			return 0;
		}
		slot_release(all, slot);
		any = false;
		if (!connected(all))
			return error;
	}
}

/* @number is what the daemon wants to know; *@fd (may be NULL) goes with it. */
static int answer(int socket, int number, const int *fd)
{
	struct session_request request = {.op = SESSION_ANSWER, .number = number};
	struct iovec part = {&request, sizeof(request)};
	long error = send_message(socket, &part, 1, fd, fd ? 1 : 0);

	if (error == -EBADF && fd) {
		request.number = -EBADF;
		error = send_message(socket, &part, 1, NULL, 0);
	}
	return error < 0 ? -ENODEV : 0;
}

/* A piece of our memory, which the kernel reads: it finds out what is not there. */
static int fetch(int socket, const struct session_reply *question)
{
	struct session_request request = {.op = SESSION_ANSWER, .number = (int)question->result};
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): it is one */
	struct iovec parts[] = {{&request, sizeof(request)}, {(void *)(uintptr_t)question->offset, (size_t)question->result}};
	long sent = send_message(socket, parts, 2, NULL, 0);

	if (sent == -EFAULT)
		return answer(socket, -EFAULT, NULL);
	return sent < 0 ? -ENODEV : 0;
}

static int store(int socket, const struct session_reply *question)
{
	struct session_reply behind;
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): it is one */
	long length = receive_data(socket, &behind, (void *)(uintptr_t)question->offset, (size_t)question->result);

	if (length < 0 && length != -EFAULT)
		return -ENODEV;
	return answer(socket, length < 0 ? -EFAULT : (int)question->result, NULL);
}

/* The answers to a request, up to the last one. */
static int64_t converse(int socket, const struct session_request *request, int flags, int *fd, uint64_t *offset, uint32_t *out)
{
	size_t room = request->op != SESSION_READ ? 0 : request->count < SESSION_INLINE ? request->count : SESSION_INLINE;
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): it is one */
	void *data = (void *)(uintptr_t)request->argument;

	for (;;) {
		struct session_reply reply = {0};
		int came, number, error = receive_reply(socket, &reply, flags, &came, data, room);

		if (error)
			return error;
		number = (int)reply.result;
		switch (reply.kind) {
		case SESSION_INSTALL:
			error = answer(socket, came, NULL);
			break;
		case SESSION_HAND_OVER:
			error = answer(socket, number, &number);
			break;
		case SESSION_CLOSE:
			sys_close(number);
			error = answer(socket, 0, NULL);
			break;
		case SESSION_USERFAULTFD:
			number = watch_make(reply.offset);
			error = answer(socket, number, number < 0 ? NULL : &number);
			if (number >= 0)
				sys_close(number);
			break;
		case SESSION_FETCH:
			error = fetch(socket, &reply);
			break;
		case SESSION_STORE:
			error = store(socket, &reply);
			break;
		default:
			if (came == -EMFILE && reply.result >= 0)
				return -EMFILE;
			*fd = came;
			*offset = reply.offset;
			*out = reply.flags;
			return reply.result;
		}
		if (error)
			return error;
	}
}

static int64_t exchange(int socket, struct session_request *request, const void *inlined, int *fd, uint64_t *offset)
{
	struct iovec parts[] = {{request, sizeof(*request)}, {(void *)(uintptr_t)inlined, request->length}};
	/* What an ioctl makes is close-on-exec, and so are the mappings' descriptors. */
	bool opens = request->op == SESSION_OPEN || request->op == SESSION_STATUS;
	int flags = opens && !(request->flags & O_CLOEXEC) ? 0 : MSG_CMSG_CLOEXEC;
	long sent = send_message(socket, parts, request->length ? 2 : 1, NULL, 0);

	if (sent == -EFAULT) {
		request->length = 0;
		sent = send_message(socket, parts, 1, NULL, 0);
	}
	return sent < 0 ? -ENODEV : converse(socket, request, flags, fd, offset, &request->flags);
}

int64_t client_call(struct session_request *request, const void *inlined, int *fd, uint64_t *offset)
{
	struct connections *all = page();
	uint64_t every = ~0ULL, before = 0, no_offset = 0;
	struct slot *slot;
	int64_t result;
	int no_fd = -1;

	if (!all)
		return -ENOMEM;
	sys_4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&every, (long)&before, SIGNAL_BYTES);
	result = acquire(all, &slot);
	if (!result) {
		result = exchange(slot->fd - 1, request, inlined, fd ? fd : &no_fd, offset ? offset : &no_offset);
		slot_release(all, slot);
	}
	sys_4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, SIGNAL_BYTES);
	return result;
}

int client_connection(void)
{
	struct connections *all = page();
	int fd;

	if (!all)
		return -ENOMEM;
	lock(&all->connecting);
	fd = introduce(all);
	unlock(&all->connecting);
	return fd;
}

int64_t client_say(int socket, struct session_request *request)
{
	uint64_t no_offset;
	int no_fd;

	return exchange(socket, request, NULL, &no_fd, &no_offset);
}

bool client_checks(void)
{
	return __atomic_load_n(&checks, __ATOMIC_RELAXED);
}

void client_connect(void)
{
	struct connections *all = page();
	struct slot *slot;

	if (all && !acquire(all, &slot))
		slot_release(all, slot);
}

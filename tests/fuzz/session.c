/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program of a session that says whatever it likes: requests of any kind and length, with any descriptors, and any answers when
 * it is asked back. Its memory is that of a process of its own, which never runs, so that nothing of what is written there hurts
 * anybody.
 *
 * What must hold: each request has an end, or the connection has one; and when the program has gone nothing is left of it, no file,
 * no member, no descriptor.
 */
#include "child.h"
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <uiommu/bind.h>
#include <unistd.h>

#include "abi/session/message.h"
#include "abi/session/session.h"
#include "util/util.h"

enum { KNOWN = 8, POOL = 12, STEPS = 48, ARENA = 1 << 18, REQUEST = 200 };

static struct session session;
static struct uiommu_process memory; /* the program's */
static uint8_t *arena; /* where some of it is; what is there in this process is not used */
static int pool[POOL];
static unsigned int descriptors; /* that are open between two inputs */

/* What the program has got. */
static struct {
	int socket;
	uint64_t token;
	int fds[KNOWN];
	struct session_key keys[KNOWN];
	unsigned int next;
} program;

/* --- before all --- */

static unsigned int count_descriptors(bool show)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned int count = 0;
	struct dirent *entry;

	CHECK(folder);
	while ((entry = readdir(folder))) {
		char link[128] = "";

		count++;
		if (show && readlinkat(dirfd(folder), entry->d_name, link, sizeof(link) - 1) > 0)
			fprintf(stderr, "%s: %s\n", entry->d_name, link);
	}
	closedir(folder);
	return count;
}

static void start_memory(void)
{
	arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(arena != MAP_FAILED);
	CHECK(!uiommu_process_open(sleeping_child(), UIOMMU_READ | UIOMMU_WRITE, &memory));
}

static void fill_pool(void)
{
	int ends[2];

	CHECK(!pipe2(ends, O_CLOEXEC | O_NONBLOCK));
	pool[0] = memory.mem;
	pool[1] = memory.maps;
	pool[2] = memory.auxv;
	pool[3] = memory.pidfd;
	pool[4] = ends[0];
	pool[5] = ends[1];
	pool[6] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pool[7] = memfd_create("fuzz", MFD_CLOEXEC);
	pool[8] = open("/dev/null", O_RDWR | O_CLOEXEC);
	pool[9] = open("/", O_PATH | O_CLOEXEC);
	pool[10] = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1 /* UFFD_USER_MODE_ONLY */);
	pool[11] = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	CHECK(!ftruncate(pool[7], ARENA));
	for (unsigned int i = 0; i < POOL; i++)
		if (pool[i] < 0)
			pool[i] = pool[8];
}

static void end_session(void)
{
	folder_destroy(&session);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char *const devices[] = {"copier", "nvme,size=256K", NULL};
	struct session_options options = {.devices = devices, .mock = true, .check = true};
	char complaint[256] = "";

	(void)argc;
	(void)argv;
	start_memory();
	options.report = open("/dev/null", O_WRONLY | O_CLOEXEC);
	options.trace = "/dev/null";
	if (session_create(&session, &options, complaint, sizeof(complaint))) {
		fprintf(stderr, "%s\n", complaint);
		abort();
	}
	atexit(end_session);
	fill_pool();
	return 0;
}

/* --- messages --- */

static void send_all(const void *data, size_t size, const int *fds, unsigned int count)
{
	char control[CMSG_SPACE(8 * sizeof(int))] __attribute__((aligned(8))) = {0};
	struct iovec part = {(void *)(uintptr_t)data, size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	if (count) {
		struct cmsghdr *header = (struct cmsghdr *)(void *)control;

		header->cmsg_len = CMSG_LEN(count * sizeof(int));
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(header), fds, count * sizeof(int));
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
	}
	sendmsg(program.socket, &message, MSG_NOSIGNAL);
}

/* Any of them, as the input says. */
static unsigned int choose(struct input *input, int *fds)
{
	unsigned int count = take_byte(input) % 8;

	for (unsigned int i = 0; i < count; i++) {
		uint8_t which = take_byte(input);

		fds[i] = which & 0x80 ? program.fds[which % KNOWN] : pool[which % POOL];
		if (fds[i] < 0)
			fds[i] = pool[8];
	}
	return count;
}

static void keep(int fd)
{
	unsigned int at = program.next++ % KNOWN;
	struct stat stat = {0};

	if (program.fds[at] >= 0)
		close(program.fds[at]);
	fstat(fd, &stat);
	program.fds[at] = fd;
	program.keys[at] = (struct session_key){stat.st_dev, stat.st_ino};
}

/* -1: none came, or the connection has ended. */
static int receive_fd(void)
{
	char byte, control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec part = {&byte, 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	int fd;

	if (recvmsg(program.socket, &message, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&message))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	keep(fd);
	return fd;
}

static void answer(struct input *input, const struct session_reply *question, const void *data, size_t length)
{
	uint8_t how = take_byte(input);
	int fds[8], number = how & 1 ? -EBADF : (int)question->result;
	unsigned int count = 0;
	struct {
		struct session_request request;
		uint8_t data[SESSION_PIECE];
	} message = {.request = {.op = SESSION_ANSWER, .number = number}};

	if (question->kind == SESSION_HAND_OVER && !(how & 2))
		count = choose(input, fds);
	/* Not what was asked for. */
	if (how & 4)
		message.request.op = take_byte(input);
	if (how & 8)
		length = take_number(input, 2) % SESSION_PIECE;
	if (how & 16)
		message.request.number = (int)take_number(input, 4);
	if (data && !(how & 1))
		memcpy(message.data, data, length);
	send_all(&message, sizeof(message.request) + (how & 1 ? 0 : length), fds, count);
}

/* Without more input there is no memory: nobody asks for ever. */
static void ask_memory(struct input *input, const struct session_reply *question)
{
	static uint8_t data[SESSION_PIECE + sizeof(struct session_reply)];
	struct input none = {(const uint8_t *)"\1", 1};

	CHECK(question->result > 0 && question->result <= SESSION_PIECE);
	if (question->kind == SESSION_STORE && recv(program.socket, data, sizeof(data), 0) <= 0)
		return;
	if (!input->left) {
		answer(&none, question, NULL, 0);
		return;
	}
	if (question->kind == SESSION_FETCH)
		take(input, data, (size_t)question->result);
	answer(input, question, data, question->kind == SESSION_FETCH ? (size_t)question->result : 0);
}

/* Up to the end of the request. False: of the connection. */
static bool converse(struct input *input, struct session_reply *reply)
{
	uint8_t message[sizeof(*reply) + SESSION_INLINE];
	ssize_t length;

	for (;;) {
		length = recv(program.socket, message, sizeof(message), MSG_TRUNC);
		if (length <= 0)
			return false;
		CHECK(length >= (ssize_t)sizeof(*reply) && length <= (ssize_t)sizeof(message));
		memcpy(reply, message, sizeof(*reply));
		CHECK(reply->kind < SESSION_KINDS);
		if (reply->flags & SESSION_FD && receive_fd() < 0)
			return false;
		if (reply->kind == SESSION_DONE)
			return true;
		if (reply->kind == SESSION_FETCH || reply->kind == SESSION_STORE)
			ask_memory(input, reply);
		else
			answer(input, reply, NULL, 0);
	}
}

/* --- the program --- */

static bool begin(struct input *input)
{
	struct session_request request = {.op = SESSION_HELLO, .file = {SESSION_VERSION, program.token}, .argument = UINT64_MAX};
	const int bundle[] = {memory.mem, memory.maps, memory.auxv, memory.pidfd};
	struct session_reply reply;
	int ends[2];

	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
	if (program.socket >= 0)
		close(program.socket);
	program.socket = ends[0];
	CHECK(!connection_start(&session, ends[1]));
	send_all(&request, sizeof(request), bundle, program.token ? 0 : 4);
	if (!converse(input, &reply) || reply.result < 0) {
		program.token = 0;
		return false;
	}
	program.token = (uint64_t)reply.result;
	return true;
}

static const char *const names[] = {
	"/dev/iommu", "/dev/vfio/vfio", "/dev/vfio/0", "/dev/vfio/1", "/dev/vfio/devices/vfio0", "/dev/vfio/devices/vfio1",
};

static uint64_t take_address(struct input *input)
{
	uint8_t how = take_byte(input);

	return how & 1 ? take_number(input, 8) : (uint64_t)(uintptr_t)arena + take_number(input, 3) % (ARENA + 4096);
}

/* A request that is one: or nothing would come further than that. */
static void make(struct input *input, struct session_request *request, uint8_t *inlined)
{
	uint8_t how = take_byte(input), file = take_byte(input);

	request->op = how % SESSION_OPS;
	request->file = program.keys[file % KNOWN];
	request->number = (int)take_number(input, 2);
	if (request->op == SESSION_OPEN) {
		const char *name = names[file % ARRAY_SIZE(names)];

		request->length = (uint32_t)strlen(name) + 1;
		memcpy(inlined, name, request->length);
		request->flags = take_byte(input) & 1 ? O_CLOEXEC : O_NONBLOCK;
		return;
	}
	request->argument = take_address(input);
	request->command = (uint32_t)take_byte(input) | (file & 0x80 ? 'u' << 8 : SESSION_IOCTL_TYPE << 8);
	request->offset = file & 0x40 ? take_number(input, 8) : take_number(input, 2) | (uint64_t)(file >> 3 & 7) << 40;
	request->count = take_number(input, 2);
	request->flags = take_byte(input);
	if (request->op == SESSION_IOCTL || request->op == SESSION_WRITE || request->op >= SESSION_READV)
		request->length = (uint32_t)take(input, inlined, take_byte(input) % (SESSION_INLINE + 1));
	if (request->op == SESSION_STATUS)
		request->number = getpid();
}

/* False: a new connection is needed. */
static bool step(struct input *input)
{
	struct {
		struct session_request request;
		uint8_t inlined[SESSION_INLINE];
	} message = {0};
	uint8_t kind = take_byte(input);
	struct session_reply reply;
	unsigned int count = 0;
	uint32_t op = SESSION_OPS;
	int fds[8];

	if (kind % 8 == 7) {
		uint8_t which = take_byte(input) % KNOWN;

		if (program.fds[which] >= 0)
			close(program.fds[which]);
		program.fds[which] = -1;
		return true;
	}
	if (kind % 8 == 6) {
		uint8_t raw[REQUEST + 64];
		size_t size = take(input, raw, take_byte(input));

		if (size >= sizeof(op))
			memcpy(&op, raw, sizeof(op));
		send_all(raw, size, fds, choose(input, fds));
	} else {
		make(input, &message.request, message.inlined);
		if (kind & 0x80)
			count = choose(input, fds);
		op = message.request.op;
		send_all(&message, sizeof(message.request) + message.request.length, fds, count);
	}
	if (kind & 0x40 && !input->left)
		return false; /* it ends in the middle of a call */
	/* From then on only the session says anything there. */
	return converse(input, &reply) && !(op == SESSION_SWAPPER && !reply.result);
}

static void finish(void)
{
	struct pollfd wake = {.fd = session.wake, .events = POLLIN};
	bool more = true;
	eventfd_t value;

	close(program.socket);
	for (unsigned int i = 0; i < KNOWN; i++)
		if (program.fds[i] >= 0)
			close(program.fds[i]);
	while (more) {
		pthread_mutex_lock(&session.lock);
		more = session.peer_count || session.peers_aside;
		pthread_mutex_unlock(&session.lock);
		if (more && poll(&wake, 1, -1) == 1)
			eventfd_read(session.wake, &value);
	}
	held_drain(&session);
	held_poll_ready(&session);
	CHECK(!session.held_count && !session.members);
	/* Some are made later, and stay: two for watches, two for libFuzzer's symbolizer. What is lost each time gets beyond that.
	 */
	if (!descriptors)
		descriptors = count_descriptors(false) + 4;
	CHECK(count_descriptors(false) <= descriptors || !count_descriptors(true));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	bool connected;

	program.token = 0;
	program.socket = -1;
	program.next = 0;
	for (unsigned int i = 0; i < KNOWN; i++)
		program.fds[i] = -1;
	memset(program.keys, 0, sizeof(program.keys));
	connected = begin(&input);
	for (unsigned int i = 0; i < STEPS && input.left; i++)
		if (!connected || !step(&input))
			connected = begin(&input);
	finish();
	return 0;
}

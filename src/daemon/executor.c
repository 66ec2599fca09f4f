/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/executor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/listen.h"
#include "devices/accel/engine.h"
#include "util/clock.h"
#include "util/cpu.h"
#include "util/util.h"

enum {
	POLL_BUDGET = 64,
	SPINS_PER_LOOK = 128, /* empty rounds between two looks at the clock */
};

struct executor {
	struct executor_config config;
	struct session session;
	int wake_fd;
	union {
		struct link_answer head;
		struct link_message message;
		uint8_t bytes[sizeof(struct link_answer) + PROTOCOL_REPLY_MAX];
	} answer;
};

/* --- the broker --- */

static bool tell(void *opaque, const struct link_message *message)
{
	const struct executor *executor = opaque;

	return send(executor->config.link_fd, message, sizeof(*message), MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(*message);
}

static void publish(struct executor *executor)
{
	struct link_message done = {.type = LINK_PUBLISHED};

	session_publish(&executor->session);
	tell(executor, &done);
}

/* One message of the broker, which has to be there. Its length; without a broker there is nothing left to do. */
static size_t from_broker(struct executor *executor)
{
	ssize_t length;

	do
		length = recv(executor->config.link_fd, &executor->answer, sizeof(executor->answer), 0);
	while (length < 0 && errno == EINTR);
	if (length < (ssize_t)sizeof(struct link_answer))
		_exit(0);
	return (size_t)length;
}

static int ask(void *opaque, struct link_message *message, void *payload)
{
	struct executor *executor = opaque;
	uint32_t type = message->type;
	size_t length;

	if (send(executor->config.link_fd, message, sizeof(*message), MSG_NOSIGNAL) != (ssize_t)sizeof(*message))
		return -EPIPE;
	while (length = from_broker(executor), executor->answer.head.type != type)
		publish(executor);
	if (executor->answer.head.error)
		return executor->answer.head.error;
	if (!payload) {
		*message = executor->answer.message;
		return 0;
	}
	length -= sizeof(struct link_answer);
	memcpy(payload, executor->answer.bytes + sizeof(struct link_answer), length);
	return (int)length;
}

/* --- the client --- */

static int reply(void *opaque, const void *message, size_t length, const int *fds, unsigned int count)
{
	const struct executor *executor = opaque;

	return wire_send(executor->config.client_fd, message, length, fds, count);
}

static void wake(void *opaque)
{
	const struct executor *executor = opaque;
	uint64_t one = 1;

	/* Full, and so readable already, is as good. */
	while (write(executor->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static const struct session_ops ops = {.send = reply, .ask = ask, .tell = tell, .wake = wake};

static void say_end(const struct executor *executor, int error)
{
	struct {
		struct protocol_header header;
		struct protocol_status status;
	} message = {{sizeof(message), PROTOCOL_END, PROTOCOL_REPLY, 0}, {error, 0}};

	wire_send(executor->config.client_fd, &message, sizeof(message), NULL, 0);
}

/* The client is served no more. What it had goes with this process; its engine stops where it is. */
static void __attribute__((noreturn)) finish(struct executor *executor, const char *why)
{
	struct link_message message = {.type = LINK_LOG, .log.level = UIOMMU_LOG_WARNING};

	if (why != session_gone) {
		strncpy(message.log.text, why, sizeof(message.log.text) - 1);
		tell(executor, &message);
		say_end(executor, -EPROTO);
	}
	session_publish(&executor->session);
	/* Nobody has to wait until our turn is overdue. */
	if (executor->session.open)
		arbiter_forget(executor->config.arbiters[executor->session.device_index], executor->config.slot);
	_exit(0);
}

static void serve_client(struct executor *executor)
{
	uint8_t message[PROTOCOL_REQUEST_MAX];
	struct wire_fds fds;
	ssize_t length = wire_receive(executor->config.client_fd, message, sizeof(message), &fds, MSG_DONTWAIT);
	const char *wrong;

	if (length == -EAGAIN)
		return;
	if (length <= 0) {
		wire_close(&fds);
		finish(executor, session_gone);
	}
	wrong = session_feed(&executor->session, message, (size_t)length, &fds);
	if (wrong)
		finish(executor, wrong);
}

static void serve(struct executor *executor)
{
	struct pollfd fds[] = {
		{.fd = executor->config.client_fd, .events = POLLIN},
		{.fd = executor->config.link_fd, .events = POLLIN},
		{.fd = executor->wake_fd, .events = POLLIN},
	};
	const char *wrong;
	uint64_t count;

	if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
		return;
	if (fds[1].revents) {
		from_broker(executor);
		publish(executor);
	}
	if (fds[2].revents && read(executor->wake_fd, &count, sizeof(count)) > 0) {
		wrong = session_work(&executor->session);
		if (wrong)
			finish(executor, wrong);
	}
	if (fds[0].revents)
		serve_client(executor);
}

static void *control_thread(void *opaque)
{
	for (;;)
		serve(opaque);
	return NULL;
}

/* --- the engine --- */

static bool bored(const struct executor *executor, unsigned int spins, uint64_t *since)
{
	if (!executor->config.spin_us)
		return true;
	if (spins % SPINS_PER_LOOK)
		return false;
	if (spins == SPINS_PER_LOOK)
		*since = clock_us();
	return clock_us() - *since >= executor->config.spin_us;
}

/* Work until the turn is over: true if there may be more to do. */
static bool engine_turn(struct executor *executor, struct turn *turn)
{
	struct uiommu_accel *accel = executor->session.accel;
	unsigned int spins = 0;
	uint64_t since = 0;

	for (;;) {
		unsigned int done = uiommu_accel_poll(accel, POLL_BUDGET);
		bool wanted = turn_is_wanted(turn);

		if (unlikely(!turn_is_mine(turn)))
			return true;
		if (done) {
			spins = 0;
			if (wanted && turn_is_over(turn)) {
				turn_give(turn);
				return true;
			}
		} else if (wanted || bored(executor, ++spins, &since)) {
			turn_give(turn);
			return false;
		} else {
			cpu_relax();
		}
	}
}

static void __attribute__((noreturn)) engine_loop(struct executor *executor, const struct arbiter *arbiter)
{
	struct uiommu_accel *accel = executor->session.accel;
	struct pollfd fd = {.fd = engine_wakeup_fd(accel), .events = POLLIN};
	struct turn turn;

	turn_init(&turn, arbiter, executor->config.slot);
	for (;;) {
		/* Whatever the reason to wake up, the next round looks at everything. */
		if (engine_arm(accel))
			ppoll(&fd, 1, NULL, NULL);
		do
			turn_take(&turn);
		while (engine_turn(executor, &turn));
	}
}

/* --- the process --- */

static void close_others(int a, int b)
{
	unsigned int low = (unsigned int)(a < b ? a : b), high = (unsigned int)(a < b ? b : a);

	if (low > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, low - 1, 0);
	if (high > low + 1)
		close_range(low + 1, high - 1, 0);
	close_range(high + 1, ~0u, 0);
}

/*
 * Nobody limits what is written to stderr, and the broker, which waits for nobody, has it to itself: an executor's lines go through
 * the broker. What a sanitizer has to say is worth more.
 */
static void leave_log(const struct executor_config *config)
{
	if (config->sandbox == SANDBOX_ENFORCE)
		dup2(STDOUT_FILENO, STDERR_FILENO);
}

static void unmap_others(const struct executor_config *config)
{
	char *start = config->all_stats, *mine = (char *)config->session.stats, *end = start + config->all_stats_size;
	size_t size = stats_size(config->session.pasids_max, config->session.queues_max);

	if (mine > start)
		munmap(start, (size_t)(mine - start));
	if (mine + size < end)
		munmap(mine + size, (size_t)(end - mine - (ptrdiff_t)size));
}

/* The broker died before we asked for the signal. */
static bool orphaned(const struct executor_config *config)
{
	return prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != config->broker;
}

static void start_control(struct executor *executor)
{
	sigset_t all, old;
	pthread_t thread;

	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&thread, NULL, control_thread, executor))
		finish(executor, "no thread for it");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void executor_main(const struct executor_config *config)
{
	static struct executor executor;

	executor.config = *config;
	if (orphaned(config))
		_exit(0);
	close_others(config->client_fd, config->link_fd);
	leave_log(config);
	unmap_others(config);
	prctl(PR_SET_NAME, "uiommud-exec");
	if (config->refusal) {
		say_end(&executor, config->refusal);
		_exit(0);
	}
	socket_accept_rights(config->client_fd);
	executor.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (executor.wake_fd < 0 || uiommu_install_fault_handler() || sandbox_executor(config->sandbox) ||
	    session_init(&executor.session, &config->session, &ops, &executor))
		_exit(1);
	while (!executor.session.open)
		serve(&executor);
	start_control(&executor);
	engine_loop(&executor, config->arbiters[executor.session.device_index]);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* uiommud: serves devices to many processes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/broker.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "iommu/object.h"
#include "memory/bundle.h"
#include "memory/process.h"

/* Descriptors 0 to 2 are open, and nothing is read or printed there by accident. */
static int standard_files(void)
{
	int fd = open("/dev/null", O_RDWR);

	if (fd < 0 || dup2(fd, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0)
		return -errno;
	if (fcntl(STDERR_FILENO, F_GETFD) < 0 && dup2(fd, STDERR_FILENO) < 0)
		return -errno;
	if (fd > STDERR_FILENO)
		close(fd);
	return 0;
}

static int refuse_power(const struct options *options)
{
	const char *why = options->privileged ? NULL : sandbox_too_powerful();

	if (!why)
		return 0;
	log_line("will not start because %s: clients could then reach more than their own.", why);
	log_line("Run it as an ordinary user (for instance: setpriv --reuid=USER --regid=GROUP --init-groups --inh-caps=-all "
		 "uiommud),");
	log_line("or say --privileged if that is what you want.");
	return -EPERM;
}

/* In system mode the daemon's user is nobody else's, and no process of that user has business in our memory. */
static int hide(const struct options *options)
{
	return options->system && prctl(PR_SET_DUMPABLE, 0) ? -errno : 0;
}

/* The library looks at the kernel once per process, and remembers; the executors are forks of this one, and may not look. */
static void look_at_kernel(void)
{
	process_handle_honours();
	if (bundle_must_open(fallbacks_wanted()))
		log_line("this kernel is older than Linux 6.13: executors may open files for reading (see docs/security.md)");
}

static int give_up_rights(const struct options *options)
{
	int rc = sandbox_drop();

	if (!rc)
		rc = hide(options);
	return rc ? rc : sandbox_broker(options->sandbox);
}

static int prepare(struct broker *broker, const struct options *options)
{
	int rc = standard_files(), notify;

	if (!rc)
		rc = refuse_power(options);
	if (rc)
		return rc;
	look_at_kernel();
	rc = broker_init(broker, options);
	if (rc)
		return rc;
	notify = notify_open();
	rc = give_up_rights(options);
	if (rc) {
		log_line("cannot give up rights: %s", strerror(-rc));
		broker_fini(broker);
		return rc;
	}
	notify_ready(notify);
	return 0;
}

int main(int argc, char **argv)
{
	static struct broker broker;
	struct options options;

	options_parse(&options, argc, argv);
	if (prepare(&broker, &options))
		return 1;
	broker_run(&broker);
	broker_fini(&broker);
	return 0;
}

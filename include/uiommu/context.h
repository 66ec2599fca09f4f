/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A context owns objects, as one open /dev/iommu does in Linux.
 *
 * Objects have ids (lowest free, from 1), a reference count and a type. uiommu_destroy() is the one way to end one of them;
 * uiommu_close() ends all of them.
 *
 * A context is of use to the process that has opened it. In a child after fork(2) calls that attach, bind, allocate a PASID, or end
 * any of that, say -EOWNERDEAD, and so do uiommu_destroy() and uiommu_close(); others are not to be made there.
 */
#ifndef UIOMMU_CONTEXT_H
#define UIOMMU_CONTEXT_H

#include <uiommu/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uiommu_context;

/**
 * enum uiommu_fallback - kernel features to do without, a bit mask (for tests and for `uiommu doctor`).
 * @UIOMMU_WITHOUT_PROCMAP_QUERY: parse /proc/PID/maps, as before Linux 6.11
 * @UIOMMU_WITHOUT_PROCESS_VM: never read by pid; all foreign memory goes through the handle
 * @UIOMMU_WITHOUT_FORCE_OVERRIDE: ask for the protection even where the handle honours it
 * @UIOMMU_WITHOUT_PIDFD_INFO: read from /proc whose a pidfd is, as before Linux 6.13
 * @UIOMMU_WITHOUT_PERF_EVENT: bundles without an exec event, as where perf_event_paranoid is 3 or more
 * @UIOMMU_WITHOUT_USERFAULTFD: no userfaultfd, as where it is forbidden: what a file does not have yet is not noticed
 */
enum uiommu_fallback {
	UIOMMU_WITHOUT_PROCMAP_QUERY = 1,
	UIOMMU_WITHOUT_PROCESS_VM = 2,
	UIOMMU_WITHOUT_FORCE_OVERRIDE = 4,
	UIOMMU_WITHOUT_PIDFD_INFO = 8,
	UIOMMU_WITHOUT_PERF_EVENT = 16,
	UIOMMU_WITHOUT_USERFAULTFD = 32,
};

/** enum uiommu_log_level - how much a message matters. */
enum uiommu_log_level {
	UIOMMU_LOG_ERROR,
	UIOMMU_LOG_WARNING,
	UIOMMU_LOG_INFO,
	UIOMMU_LOG_DEBUG,
};

/**
 * struct uiommu_clock - somebody else's time, for the time limits that are configured.
 * @now: nanoseconds since some point in the past
 * @arm: uiommu_expire() is to be called when it is @deadline, by now(); also for one that is sooner than the one before. It may be
 *       called from any thread, and must not call this library
 * @opaque: first argument of both
 *
 * Without one, a context with time limits has a thread that sleeps on a timerfd.
 */
struct uiommu_clock {
	uint64_t (*now)(void *opaque);
	void (*arm)(void *opaque, uint64_t deadline);
	void *opaque;
};

/**
 * struct uiommu_options - how to open a context. Zero everything that is not used.
 * @size: sizeof(struct uiommu_options)
 * @without: features to do without (&enum uiommu_fallback); the environment variable UIOMMU_WITHOUT adds to it
 * @log: called with one message, without newline, that names the object; may be NULL. Called without any lock held,
 *       possibly from several threads at once
 * @log_opaque: first argument of @log
 * @clock: copied; NULL for the system's
 */
struct uiommu_options {
	uint32_t size;
	uint32_t without;
	void (*log)(void *opaque, enum uiommu_log_level level, const char *message);
	void *log_opaque;
	const struct uiommu_clock *clock;
};

/**
 * uiommu_open() - make a context.
 * @options: may be NULL for the defaults
 * @out: the new context
 *
 * Return: 0, -EINVAL (bad @options->size, half a clock), -E2BIG (unknown tail not zero), -EOPNOTSUPP (unknown @options->without
 * bit), -ENOMEM.
 */
UIOMMU_API int uiommu_open(const struct uiommu_options *options, struct uiommu_context **out);

/**
 * uiommu_expire() - do what is due by the context's clock.
 * @context: opened with a clock of its own
 *
 * Return: nothing. Thread-safe, but not inside an access or callback.
 */
UIOMMU_API void uiommu_expire(struct uiommu_context *context);

/**
 * uiommu_close() - end every object of a context and the context.
 * @context: must not be in use by another thread's call; NULL does nothing
 *
 * Waits for accesses in flight. Everything is released, whatever refers to what. Holders of pins are asked to put them; a pin that
 * is left then ends, too, and must not be put afterwards. Not from inside an access or a callback.
 *
 * Return: 0, -EDEADLK (inside an access or callback of this context; nothing has changed), -EOWNERDEAD (the context was made
 * before a fork; nothing is done).
 */
UIOMMU_API int uiommu_close(struct uiommu_context *context);

/**
 * uiommu_destroy() - end one object.
 * @context: the owner
 * @id: any object's id
 *
 * A device's attachments are not objects: detach them first. Waits for accesses in flight that use the object.
 *
 * Return: 0, -ENOENT (no such object), -EBUSY (in use; nothing has changed), -EDEADLK (inside an access or callback), -EOWNERDEAD.
 */
UIOMMU_API int uiommu_destroy(struct uiommu_context *context, uint32_t id);

/** enum uiommu_object_type - what an id names. */
enum uiommu_object_type {
	UIOMMU_OBJECT_NONE,
	UIOMMU_OBJECT_IOAS,
	UIOMMU_OBJECT_HWPT_PAGING,
	UIOMMU_OBJECT_HWPT_NESTED,
	UIOMMU_OBJECT_HWPT_SVA,
	UIOMMU_OBJECT_DEVICE,
	UIOMMU_OBJECT_FAULT_QUEUE,
	UIOMMU_OBJECT_RAM,
	UIOMMU_OBJECT_PASID_SET,
	UIOMMU_OBJECT_DEMAND,
	UIOMMU_OBJECT_MDEV,
	UIOMMU_OBJECT_VIOMMU,
	UIOMMU_OBJECT_VDEVICE,
	UIOMMU_OBJECT_VEVENTQ,
	UIOMMU_OBJECT_HW_QUEUE,
	UIOMMU_OBJECT_OTHER,
};

/**
 * uiommu_object_type() - the type of an object.
 * @context: the owner
 * @id: an id
 *
 * Return: &enum uiommu_object_type, %UIOMMU_OBJECT_NONE if there is no such object. Thread-safe.
 */
UIOMMU_API enum uiommu_object_type uiommu_object_type(struct uiommu_context *context, uint32_t id);

/**
 * uiommu_object_count() - number of live objects; 0 after everything has been destroyed.
 * @context: the owner
 *
 * Return: the number. Thread-safe.
 */
UIOMMU_API size_t uiommu_object_count(struct uiommu_context *context);

/**
 * uiommu_install_fault_handler() - let accesses to mapped memory survive SIGSEGV and SIGBUS.
 *
 * Installs one handler for both signals in this process. A fault inside the library's copy routine becomes a fault record; every
 * other one is passed to the handler that was installed before (or to the default action). Without it, own memory that is
 * not mapped as it was promised kills the process, as with any memcpy(); a bind of the own process then goes through the kernel.
 * Call it once, after other handlers have been installed.
 *
 * Return: 0 (also when it is already installed), or -errno of sigaction(2). Thread-safe.
 */
UIOMMU_API int uiommu_install_fault_handler(void);

#ifdef __cplusplus
}
#endif
#endif

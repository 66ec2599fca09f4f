/* SPDX-License-Identifier: BSD-3-Clause */
/* A uiommud of our own: started, watched, ended. */
#ifndef SUPPORT_SERVICE_H
#define SUPPORT_SERVICE_H

#include <sys/types.h>
#include <uiommu/client.h>

struct service {
	pid_t pid;
	char directory[64];
	char socket[96];
};

/* $UIOMMU_STAGE/uiommud (a copy for who may not look into the build), $UIOMMUD, or ../uiommud seen from this program's folder.
 * @options: NULL-terminated, or NULL. */
void service_start(struct service *service, const char *const *options);
void service_stop(struct service *service);

/* Pin the broker and every executor. */
void service_pin(const struct service *service, unsigned int cpu);

/* Processes of the daemon: the broker and its executors. */
size_t service_processes(const struct service *service);

/* CPU time in ms of the broker and its executors, and their resident memory in MiB. */
double service_cpu_ms(const struct service *service);
double service_rss_mib(const struct service *service);

struct uiommu_client *service_connect(const struct service *service);

#endif

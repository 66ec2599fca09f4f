/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/pager.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <uiommu/fault.h>
#include <uiommu/guest_memory.h>
#include <unistd.h>

#include "iommu/ioas.h"
#include "util/thread.h"
#include "util/util.h"
#include "vfio_user/server.h"

/* A page that has been read so often and is not in the file all the same will never be. */
enum { TRIES = 4 };

struct pager {
	struct port *port;
	uint32_t demand_id;
	int end_fd;
	pthread_t thread;
};

static struct link *current_link(struct port *port)
{
	struct link *link;

	pthread_mutex_lock(&port->post_lock);
	link = port->post_link ? link_get(port->post_link) : NULL;
	pthread_mutex_unlock(&port->post_lock);
	return link;
}

/* True: it is there, or nobody needs it any more. */
static bool fetch(const struct pager *pager, struct link *link, uint64_t address)
{
	struct port *port = pager->port;

	for (unsigned int i = 0; i < TRIES; i++) {
		int error;

		do {
			if (!demand_is_absent(port->server->context, port->ioas_id, address))
				return true;
			error = remote_touch(link, address);
		} while (error == -EAGAIN);
		if (error)
			break;
	}
	return !demand_is_absent(port->server->context, port->ioas_id, address);
}

static void supply(const struct pager *pager, const struct uiommu_demand_page *page)
{
	const struct uiommu_range range = {page->gpa, page->gpa + (page->length - 1)};
	struct link *link = current_link(pager->port);
	bool there = link && fetch(pager, link, page->gpa);

	link_put(link);
	(void)uiommu_demand_answer(pager->port->server->context, pager->demand_id, &range,
				   there ? UIOMMU_RESPONSE_SUCCESS : UIOMMU_RESPONSE_FAILURE);
}

static void *pager_main(void *opaque)
{
	const struct pager *pager = opaque;
	struct uiommu_context *context = pager->port->server->context;
	struct pollfd fds[] = {{.fd = uiommu_demand_fd(context, pager->demand_id), .events = POLLIN},
			       {.fd = pager->end_fd, .events = POLLIN}};
	struct uiommu_demand_page page;

	while (poll(fds, ARRAY_SIZE(fds), -1) < 0 || !fds[1].revents)
		if (uiommu_demand_read(context, pager->demand_id, &page, 1) == 1)
			supply(pager, &page);
	return NULL;
}

int pager_start(struct port *port, struct pager **out)
{
	struct pager *pager = calloc(1, sizeof(*pager));
	int error;

	if (!pager)
		return -ENOMEM;
	pager->port = port;
	pager->end_fd = eventfd(0, EFD_CLOEXEC);
	error = pager->end_fd < 0 ? -EMFILE : uiommu_demand_alloc(port->server->context, &pager->demand_id);
	if (!error) {
		error = thread_start(&pager->thread, pager_main, pager);
		if (error)
			uiommu_destroy(port->server->context, pager->demand_id);
	}
	if (error) {
		if (pager->end_fd >= 0)
			close(pager->end_fd);
		free(pager);
	} else {
		*out = pager;
	}
	return error;
}

void pager_stop(struct pager *pager)
{
	static const uint64_t one = 1;

	if (!pager)
		return;
	if (write(pager->end_fd, &one, sizeof(one)) < 0)
		abort();
	pthread_join(pager->thread, NULL);
	uiommu_destroy(pager->port->server->context, pager->demand_id);
	close(pager->end_fd);
	free(pager);
}

uint32_t pager_demand(const struct pager *pager)
{
	return pager->demand_id;
}

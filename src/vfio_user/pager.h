/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of the other side that it supplies when it is touched: postcopy, or a guest that is restored page by page. Its handler
 * (userfaultfd) sees what it touches itself, and what is touched here it does not. So it is made to touch a page that an access
 * here needs and the file does not have: it is asked for a byte of it (DMA_READ), and once it answers the file has the page. A page
 * that nobody supplies is the next zero page then, as it would be without all this.
 *
 * Accesses wait in a demand queue (memory/demand.h). A thread for each port takes pages out of it, one at a time, because the other
 * side answers one after the other. It waits as long as that takes, and nobody waits for it but them: the thread that answers
 * requests is not let wait there (translate/absent.h), because the other side may wait for it.
 */
#ifndef VFIO_USER_PAGER_H
#define VFIO_USER_PAGER_H

#include <stdint.h>

struct pager;
struct port;

/* -EMFILE, -EAGAIN (no thread), -ENOMEM. */
int pager_start(struct port *port, struct pager **out);
/* The port has no connection any more. NULL does nothing. */
void pager_stop(struct pager *pager);

/* The demand queue of the port's memory. */
uint32_t pager_demand(const struct pager *pager);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * PCI functions for QEMU: a vfio-user server.
 *
 * A server has ports, one for each function; each listens on a UNIX socket and has one connection at a time. The guest's RAM, which
 * the other side shares by descriptors, is mapped in the port's IOAS and follows what it says. What it does not share is reached by
 * messages.
 *
 * The server begins and ends with the other side: a new connection finds the function as after a reset, whatever was before.
 */
#ifndef UIOMMU_VFIO_USER_H
#define UIOMMU_VFIO_USER_H

#include <uiommu/pci.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uiommu_vfio_user;

/**
 * enum uiommu_vfio_user_flags - flags of a port.
 * @UIOMMU_VFIO_USER_TRANSLATED: the function's DMA is translated by an IOMMU, and what it is attached to is somebody else's
 *                               business. The port has no IOAS; what the other side says of memory is answered and has no effect
 * @UIOMMU_VFIO_USER_ONCE: when a connection ends, uiommu_vfio_user_run() returns
 * @UIOMMU_VFIO_USER_MAPPED_ONLY: memory that the other side does not share by a descriptor that can be mapped is none: accesses to
 * it fault, and so none ever waits for the other side. For devices of which one engine serves several guests
 * @UIOMMU_VFIO_USER_ON_DEMAND: the other side may supply the guest's RAM page by page, when it is touched. An access that needs a
 * page which is not in the file yet waits until the other side, asked for a byte of it, has it. Not with TRANSLATED, which
 * has no memory, or MAPPED_ONLY, which waits for none
 */
enum uiommu_vfio_user_flags {
	UIOMMU_VFIO_USER_TRANSLATED = 1,
	UIOMMU_VFIO_USER_ONCE = 2,
	UIOMMU_VFIO_USER_MAPPED_ONLY = 4,
	UIOMMU_VFIO_USER_ON_DEMAND = 8,
};

/**
 * struct uiommu_vfio_user_port - a new port.
 * @size: sizeof(struct uiommu_vfio_user_port)
 * @flags: &enum uiommu_vfio_user_flags
 * @pci: the function; no other transport has it. Its device has nothing attached: the port attaches it, without PASID, to its IOAS
 *       while the function is a bus master
 * @path: where to make the socket, which only this user can reach; one that is left there and that nobody listens to is replaced.
 *        NULL: use @listen_fd
 * @listen_fd: a listening UNIX stream socket; duplicated
 * @ioas_id: out: the port's IOAS, or 0
 * @demand_id: out: with ON_DEMAND, the queue of pages that are waited for, to be looked at with uiommu_demand_stats(); or 0
 * @reserved: 0
 */
struct uiommu_vfio_user_port {
	uint32_t size;
	uint32_t flags;
	struct uiommu_pci *pci;
	const char *path;
	int32_t listen_fd;
	uint32_t ioas_id;
	uint32_t demand_id;
	uint32_t reserved;
};

/**
 * uiommu_vfio_user_open() - make a server without ports.
 * @context: owner of the functions' devices; messages go to its log, at most ten lines a second
 * @out: the server
 *
 * Installs the handler of uiommu_install_fault_handler(): a guest's RAM may turn out to be shorter than it was.
 *
 * Return: 0, -EMFILE, -EAGAIN (no thread), -ENOMEM.
 */
UIOMMU_API int uiommu_vfio_user_open(struct uiommu_context *context, struct uiommu_vfio_user **out);

/**
 * uiommu_vfio_user_add() - add a port, which listens from now on.
 * @server: the server
 * @port: what it is; @port->ioas_id and @port->demand_id are written
 *
 * Return: 0, -EINVAL (size, no function, ON_DEMAND with TRANSLATED or MAPPED_ONLY, a path that is too long, @listen_fd does not
 * listen), -E2BIG, -EOPNOTSUPP (flags, reserved), -EBUSY (the function has a transport), -EADDRINUSE (somebody listens at @path, or
 * something else is there), another errno of bind(2), -ENOSPC (64 ports), -EMFILE, -EAGAIN (no thread), -ENOMEM. Thread-safe.
 */
UIOMMU_API int uiommu_vfio_user_add(struct uiommu_vfio_user *server, struct uiommu_vfio_user_port *port);

/**
 * uiommu_vfio_user_spin() - let uiommu_vfio_user_run() look for more before it sleeps.
 * @server: the server
 * @spin_us: so many microseconds after the last message; 0, which it is at first: it sleeps at once
 *
 * A guest that waits for a register often asks for the next thing at once, and a thread that sleeps takes longer to wake up than to
 * answer. When nothing comes for so long, nothing is used. Called while uiommu_vfio_user_run() does not run.
 */
UIOMMU_API void uiommu_vfio_user_spin(struct uiommu_vfio_user *server, uint32_t spin_us);

/**
 * uiommu_vfio_user_run() - serve.
 * @server: the server; one thread at a time
 *
 * The calling thread makes all calls of the functions' ops. DMA that it does itself does not reach memory that would take a
 * message: that meets %UIOMMU_FAULT_MEMORY.
 *
 * Return: 0 after uiommu_vfio_user_stop(), or when the connection of a port with ONCE has ended; -EDEADLK (inside an access).
 */
UIOMMU_API int uiommu_vfio_user_run(struct uiommu_vfio_user *server);

/**
 * uiommu_vfio_user_stop() - let uiommu_vfio_user_run() return, now or when it is called next.
 * @server: the server
 *
 * It does not wait for another side that does not read what it has been sent: such a connection ends.
 *
 * Thread-safe, and async-signal-safe.
 */
UIOMMU_API void uiommu_vfio_user_stop(struct uiommu_vfio_user *server);

/**
 * uiommu_vfio_user_close() - end every connection, port and the server.
 * @server: no call runs in it; NULL does nothing
 *
 * The functions have no transport then and may be destroyed. Their IOAS have ended; only what else uses one keeps it.
 */
UIOMMU_API void uiommu_vfio_user_close(struct uiommu_vfio_user *server);

#ifdef __cplusplus
}
#endif
#endif

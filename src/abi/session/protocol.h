/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the shim in a program and the session's daemon say to each other: one SOCK_SEQPACKET message each.
 *
 * A connection is one thread's at a time. A request is struct session_request and, behind it, what the argument of an ioctl points
 * at, as far as it was sure to be there, or the begin of what is written: most calls need no other look at the program's memory.
 * The daemon may ask back before it is done: to install a descriptor, to hand over one, to close one that it should not have
 * installed, or for more of the program's memory. SESSION_DONE ends the request.
 *
 * The program's thread reads and writes its own memory, so that it is the one that waits where a page does not come (a file system
 * or a userfaultfd that nobody answers), and that kill(2) ends. Only the struct that was sent with an ioctl is written back by the
 * daemon itself, to where the program has just read it.
 *
 * Descriptors come in messages of one byte behind those that announce them, so that all others may be received in the cheapest way.
 * Only the first message of a connection has them itself, and answers to SESSION_HAND_OVER.
 *
 * What a descriptor is: a file of its own (memfd or pipe) whose inode is the key. Marked by its mode, so that whoever has a
 * descriptor knows without a question whether the session has to be asked.
 *
 * Both sides are of one version, of one user, and on one host. The daemon believes nothing else.
 */
#ifndef SESSION_PROTOCOL_H
#define SESSION_PROTOCOL_H

#include <stdint.h>
#include <sys/stat.h>

#define SESSION_VARIABLE "UIOMMU_SESSION" /* the session's folder */
#define SESSION_SOCKET "socket"
#define SESSION_TREE "tree" /* what /dev/vfio and some of /sys look like */

enum {
	SESSION_VERSION = 1,
	SESSION_INLINE = 128, /* bytes of an argument, of data, or of a path with its NUL */
	SESSION_PIECE = 32768, /* bytes of memory in one message */
	SESSION_HELLO_FDS = 5, /* mem, maps, auxv, pidfd, exec event or none */
	SESSION_MODE = S_ISVTX | S_IRUSR | S_IWUSR, /* of our files */
	SESSION_NODE_MODE =
		S_ISVTX | 0666, /* of what stands for a device in the tree; mtime is its number: major seconds, minor ns */
	SESSION_IOCTL_TYPE = ';', /* iommufd's and VFIO's */
	SESSION_IOCTL_OWN = 'u', /* uiommu/abi.h */
};

enum session_op {
	SESSION_HELLO, /* file.device: version, file.inode: token of the process or 0, argument: RLIMIT_MEMLOCK, count:
			  capabilities, flags: SESSION_TRAPS */
	SESSION_OPEN, /* the path is inline; flags: open(2)'s */
	SESSION_IOCTL, /* file, command, argument */
	SESSION_READ, /* file, argument: address, count, offset; flags: of the descriptor (F_GETFL) */
	SESSION_WRITE, /* the same; the begin of the data is inline */
	SESSION_MMAP, /* file, count: length, offset, flags, command: protection, number: the descriptor's flags */
	SESSION_WATCH, /* what is at argument, count bytes, is a mapping of file at offset; no file: what is mapped for DMA is to be
			  watched. The daemon asks for a userfaultfd */
	SESSION_UNWATCH, /* the program wants to have a userfaultfd of its own at argument, count bytes */
	SESSION_LIST, /* the session's objects, as text; the reply has a memfd of it */
	SESSION_STATUS, /* number: a pid; flags: open(2)'s; the reply has a memfd of its /proc/PID/status */
	SESSION_ANSWER, /* to what the daemon asked; number: a descriptor's, bytes, or -errno */
	SESSION_READV, /* file, argument: address of count struct iovec, whose begin is inline; offset */
	SESSION_WRITEV, /* the same */
	SESSION_SWAPPER, /* from the answer on, the connection has struct session_swap only, and the daemon begins */
	SESSION_CUT, /* count bytes from offset on have gone from a file of a file system, or what is at argument from its files;
			command: enum session_cut */
	SESSION_OPS,
};

enum session_cut {
	SESSION_CUT_OFF, /* it has become shorter */
	SESSION_CUT_OUT, /* it has a hole there */
};

/* An inode. */
struct session_key {
	uint64_t device;
	uint64_t inode;
};

struct session_request {
	uint32_t op;
	int32_t number;
	struct session_key file;
	uint64_t argument;
	uint64_t count;
	uint64_t offset;
	uint32_t command;
	uint32_t flags;
	uint32_t length; /* of what is inline */
	uint32_t reserved;
};

enum session_kind {
	/*
	 * result: what the call returns, or -errno; OPEN, MMAP, LIST and STATUS have a descriptor; HELLO: the token; of READ, the
	 * begin of the data is behind it
	 */
	SESSION_DONE,
	SESSION_INSTALL, /* a descriptor. Answer with its number */
	SESSION_HAND_OVER, /* result: a number. Answer with that descriptor */
	SESSION_CLOSE, /* result: a number that was installed. Answer when it is closed */
	SESSION_FETCH, /* result: bytes at offset, an address. Answer with their number, and them behind it */
	SESSION_USERFAULTFD, /* of the features in offset. Answer with it, or with -errno */
	SESSION_STORE, /* the same; what is to be there is behind another one of this kind. Answer when it is */
	SESSION_KINDS,
};

/* Of a program that can make calls of accesses. */
enum { SESSION_TRAPS = 1 };

enum {
	/* flags: */
	SESSION_FD = 1, /* a descriptor comes in the next message */
	SESSION_WATCHED = 2, /* MMAP: the program is asked for SESSION_WATCH */
	SESSION_CHECKS = 4, /* HELLO: and so it is of what is mapped for DMA */
	SESSION_SWAPS = 16, /* IOCTL: the program is asked for a SESSION_SWAPPER */
	SESSION_CALLS = 8, /* MMAP: there is no descriptor and no memory; each access is to be a read or a write */
};

/* Compare-and-swap of the program's memory. In the answer @expected is what was there. */
struct session_swap {
	uint64_t address; /* aligned to @length */
	uint64_t expected, value;
	uint32_t length; /* 4 or 8 */
	int32_t error; /* of the answer: 0 or -EFAULT */
};

struct session_reply {
	uint32_t kind;
	uint32_t flags;
	int64_t result;
	uint64_t offset; /* MMAP: in the descriptor; FETCH, STORE: an address */
};

#endif

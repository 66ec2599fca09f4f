# SPDX-License-Identifier: BSD-3-Clause
"""A submitter of descriptors, written from "Submitting" and "Completion" of docs/protocol.md, and from docs/accel.md."""

import ctypes
import fcntl
import mmap
import os
import select
import struct

from peer import PATIENCE, SHARED, eventually

MAGIC = 0x55494F52
HEADER, SLOT = 4096, 64
HEAD, STATE = 256, 384
NEED_WAKEUP, ENDED = 1, 2

NOOP, MEMMOVE, FILL, CRC = 0x00, 0x03, 0x04, 0x10
BLOCK_ON_FAULT, RECORD_VALID, REQUEST_RECORD, REQUEST_INTERRUPT = 2, 4, 8, 16
SUCCESS, PAGE_FAULT, WROTE = 0x01, 0x03, 0x80

# Python has no atomic operations; this library is the compilers' own.
atomic = ctypes.CDLL("libatomic.so.1")
RELAXED, ACQUIRE, RELEASE, SEQ_CST = 0, 2, 3, 5
for name, result in {"__atomic_load_1": ctypes.c_uint8, "__atomic_load_4": ctypes.c_uint32, "__atomic_fetch_and_4": ctypes.c_uint32,
                     "__atomic_store_8": None}.items():
    getattr(atomic, name).restype = result


def load_1(address):
    return getattr(atomic, "__atomic_load_1")(ctypes.c_void_p(address), ACQUIRE)


def load_4(address, order):
    return getattr(atomic, "__atomic_load_4")(ctypes.c_void_p(address), order)


def fetch_and_4(address, mask):
    return getattr(atomic, "__atomic_fetch_and_4")(ctypes.c_void_p(address), ctypes.c_uint32(mask), SEQ_CST)


def store_8(address, value):
    getattr(atomic, "__atomic_store_8")(ctypes.c_void_p(address), ctypes.c_uint64(value), RELEASE)


class Memory:
    """Pages of our own: private, or those of a descriptor."""

    def __init__(self, length, fd=-1):
        flags = mmap.MAP_SHARED if fd >= 0 else mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self.map = mmap.mmap(fd, length, flags)
        self.length = length
        self.view = (ctypes.c_char * length).from_buffer(self.map)
        self.address = ctypes.addressof(self.view)

    def close(self):
        del self.view
        self.map.close()


def descriptor(opcode, flags=0, pasid=0, record=0, source=0, destination=0, size=0, handles=0):
    """64 bytes; with a record it is asked for."""
    if record:
        flags |= RECORD_VALID | REQUEST_RECORD
    return struct.pack("=IIQQQIHHQQQ", pasid, opcode << 24 | flags, record, source, destination, size, 0, 0, 0, 0, handles)


class Queue:
    def __init__(self, client, entries, flags=SHARED, pasid=0):
        reply = client.try_queue(entries, flags, pasid).good()
        self.client, self.entries = client, entries
        self.number, told = struct.unpack_from("=II", reply.payload, 8)
        assert told == entries
        ring, self.wakeup, self.interrupt = reply.fds
        size = (HEADER + SLOT * entries + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE
        assert os.fstat(ring).st_size == size
        assert fcntl.fcntl(ring, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK
        self.memory = Memory(size, ring)
        self.memory.map.madvise(mmap.MADV_DONTFORK)
        os.close(ring)
        assert struct.unpack_from("=IIII", self.memory.map) == (MAGIC, 1, entries, flags)
        self.tail = self.head = 0

    def state(self):
        return load_4(self.memory.address + STATE, ACQUIRE)

    def submit(self, data):
        """False: the ring is full."""
        if (self.tail - self.head) % 2**32 >= self.entries:
            self.head = load_4(self.memory.address + HEAD, ACQUIRE)
            if (self.tail - self.head) % 2**32 >= self.entries:
                return False
        slot = HEADER + SLOT * (self.tail % self.entries)
        lap = (self.tail // self.entries + 1) % 2**15
        self.memory.map[slot:slot + 32] = data[:32]
        self.memory.map[slot + 40:slot + 64] = data[40:]
        value = int.from_bytes(data[32:38], "little") | lap << 48 | (data[38:40] != bytes(2)) << 63
        store_8(self.memory.address + slot + 32, value)
        self.tail = (self.tail + 1) % 2**32
        atomic.atomic_thread_fence(SEQ_CST)
        state = load_4(self.memory.address + STATE, RELAXED)
        assert not state & ENDED
        if state & NEED_WAKEUP and fetch_and_4(self.memory.address + STATE, ~NEED_WAKEUP & 0xFFFFFFFF) & NEED_WAKEUP:
            os.eventfd_write(self.wakeup, 1)
        return True

    def wait_interrupt(self):
        """For the interrupt, or the end of the connection: True if it was the first."""
        poll = select.poll()
        poll.register(self.interrupt, select.POLLIN)
        poll.register(self.client.socket, select.POLLRDHUP)
        ready = [fd for fd, _ in poll.poll(PATIENCE * 1000)]
        assert ready, "neither"
        if self.interrupt not in ready:
            return False
        os.eventfd_read(self.interrupt)
        return True

    def close(self):
        if self.memory:
            self.memory.close()
            os.close(self.wakeup)
            os.close(self.interrupt)
        self.memory = None


class Record:
    """A completion record at an address of ours."""

    def __init__(self, memory, offset):
        self.memory, self.offset, self.address = memory, offset, memory.address + offset
        self.clear()

    def clear(self):
        self.memory.map[self.offset:self.offset + 32] = bytes(32)

    def status(self):
        return load_1(self.address)

    def wait(self):
        """Look until it is complete: (status, result, bytes completed, fault address, value)."""
        eventually(self.status, "the record is complete")
        status, result, _, completed, address, value = struct.unpack_from("=BBHIQQ", self.memory.map, self.offset)
        return status, result, completed, address, value

# SPDX-License-Identifier: BSD-3-Clause
"""The other side of a vfio-user server, as QEMU is it; written from the protocol, with nothing but the standard library."""

import array
import collections
import json
import os
import select
import signal
import socket
import struct
import subprocess
import tempfile

HEADER = struct.Struct("<HHIII")
VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, REGION_INFO, IO_FDS, IRQ_INFO, SET_IRQS = range(1, 9)
REGION_READ, REGION_WRITE, DMA_READ, DMA_WRITE, RESET, DIRTY_PAGES, WRITE_MULTI, FEATURE = range(9, 17)
REPLY, NO_REPLY, ERROR = 1, 16, 32
READ, WRITE = 1, 2
CONFIG = 7
INTX, MSI, MSIX, ERR, REQ = range(5)
NONE, BOOL, FDS, MASK, UNMASK, TRIGGER = 1, 2, 4, 8, 16, 32
PATIENCE = 120  # seconds, after which what has not happened will not

CAPABILITIES = {"capabilities": {"max_msg_fds": 16, "max_data_xfer_size": 1048576, "max_dma_maps": 65535, "pgsizes": 4096,
                                 "write_multiple": True}}

Message = collections.namedtuple("Message", "id command flags error payload fds")


def version_payload(capabilities=None, major=0, minor=0):
    text = b"" if capabilities is None else capabilities if isinstance(capabilities, bytes) else json.dumps(capabilities).encode() + b"\0"
    return struct.pack("<HH", major, minor) + text


def map_payload(address, size, flags=READ | WRITE, offset=0, argsz=32):
    return struct.pack("<IIQQQ", argsz, flags, offset, address, size)


def unmap_payload(address, size, flags=0, argsz=24):
    return struct.pack("<IIQQ", argsz, flags, address, size)


def irqs_payload(index, start, count, flags, data=b"", argsz=20):
    return struct.pack("<IIIII", argsz, flags, index, start, count) + data


class Ended(Exception):
    """The server has ended the connection."""


class Device:
    """A server of its own, and its socket."""

    def __init__(self, program, *options):
        self.folder = tempfile.TemporaryDirectory(prefix="uiommu-vfio-user-")
        self.path = os.path.join(self.folder.name, "socket")
        self.process = subprocess.Popen([program, self.path, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"

    def stop(self):
        """What it has said on its standard error."""
        self.process.send_signal(signal.SIGTERM)
        out, said = self.process.communicate(timeout=PATIENCE)
        self.folder.cleanup()
        assert self.process.returncode == 0, said.decode()
        assert out == b"ended\n"
        assert not os.path.exists(self.path)
        return said.decode()


class Peer:
    """One connection."""

    def __init__(self, path, agree=True):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        self.socket.settimeout(PATIENCE)
        self.next_id = 0
        self.requests = []  # of the server, that came while something else was waited for
        if agree:
            assert self.call(VERSION, version_payload(CAPABILITIES)).error == 0

    def close(self):
        self.socket.close()
        for message in self.requests:
            for fd in message.fds:
                os.close(fd)

    def send_raw(self, data, fds=()):
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            sent = self.socket.sendmsg([data], control)
            if sent < len(data):
                self.socket.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError):
            raise Ended from None

    def send(self, command, payload=b"", fds=(), flags=0, error=0, size=None, number=None):
        if number is None:
            number = self.next_id = (self.next_id + 1) & 0xFFFF
        self.send_raw(HEADER.pack(number, command, HEADER.size + len(payload) if size is None else size, flags, error) + payload, fds)
        return number

    def bytes(self, length):
        data, fds = b"", []
        while len(data) < length:
            try:
                more, control, _, _ = self.socket.recvmsg(length - len(data), socket.CMSG_SPACE(64 * 4))
            except ConnectionResetError:
                raise Ended from None
            for _, _, value in control:
                fds += array.array("i", value)
            if not more:
                raise Ended
            data += more
        return data, fds

    def receive(self):
        head, fds = self.bytes(HEADER.size)
        number, command, size, flags, error = HEADER.unpack(head)
        payload, more = self.bytes(size - HEADER.size)
        return Message(number, command, flags, error, payload, fds + more)

    def reply(self, number, command):
        """The reply to that; requests that come before it are kept."""
        while True:
            message = self.receive()
            if message.flags & 15 == REPLY:
                assert (message.id, message.command) == (number, command)
                assert bool(message.flags & ERROR) == bool(message.error)
                return message
            self.requests.append(message)

    def call(self, command, payload=b"", fds=(), **options):
        return self.reply(self.send(command, payload, fds, **options), command)

    def request(self):
        """The server's next one."""
        if self.requests:
            return self.requests.pop(0)
        message = self.receive()
        assert message.flags & 15 == 0
        return message

    def ends(self):
        """The server ends the connection, and says nothing before."""
        try:
            message = self.receive()
        except Ended:
            return True
        raise AssertionError(f"{message}")

    # What a guest does.

    def enable(self):
        """BARs have addresses and decode, and the function may do DMA."""
        for bar, address in ((0, 0xE0000000), (2, 0xE0100000), (3, 0xE0200000), (4, 0xE0400000), (5, 0)):
            self.write(CONFIG, 0x10 + 4 * bar, address.to_bytes(4, "little"))
        self.write(CONFIG, 4, b"\6\0")

    def read(self, region, offset, length):
        message = self.call(REGION_READ, struct.pack("<QII", offset, region, length))
        assert message.error == 0
        assert struct.unpack_from("<QII", message.payload) == (offset, region, length)
        return message.payload[16:]

    def write(self, region, offset, data, posted=False):
        payload = struct.pack("<QII", offset, region, len(data)) + data
        if posted:
            self.send(REGION_WRITE, payload, flags=NO_REPLY)
            return
        message = self.call(REGION_WRITE, payload)
        assert message.error == 0
        assert message.payload == payload[:16]

    def get(self, offset, width=4, region=0):
        return int.from_bytes(self.read(region, offset, width), "little")

    def set(self, offset, value, width=4, region=0, posted=False):
        self.write(region, offset, value.to_bytes(width, "little"), posted)

    def map(self, address, size, fd=None, **options):
        return self.call(DMA_MAP, map_payload(address, size, **options), [fd] if fd is not None else []).error

    def unmap(self, address, size, **options):
        return self.call(DMA_UNMAP, unmap_payload(address, size, **options))

    def irqs(self, index, start, count, flags, fds=(), data=b""):
        return self.call(SET_IRQS, irqs_payload(index, start, count, flags, data), fds).error


def memory(size):
    fd = os.memfd_create("guest")
    os.ftruncate(fd, size)
    return fd


def eventfd():
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) if hasattr(os, "eventfd") else None


def signalled(fd, wait=True):
    """How often; waits for the first."""
    if wait:
        assert select.select([fd], [], [], PATIENCE)[0]
    try:
        return int.from_bytes(os.read(fd, 8), "little")
    except BlockingIOError:
        return 0

# SPDX-License-Identifier: BSD-3-Clause
"""A client of uiommud that shares no code with libuiommu: written from docs/protocol.md, with nothing but the standard library."""

import array
import errno
import os
import pathlib
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile

HEADER = struct.Struct("=IHHQ")
STATUS = struct.Struct("=iI")
REPLY = 1
NO_PASID = 0xFFFFFFFF
READ, WRITE = 1, 2
ORDINARY_USER = 65534

(END, HELLO, BIND, UNBIND, REGISTER, UNREGISTER, MAP, UNMAP, GRANT, QUEUE, QUEUE_DESTROY, RECORDS_AREA, LIST, FAULTS) = range(14)

NAMES = ["END", "HELLO", "BIND", "UNBIND", "REGISTER", "UNREGISTER", "MAP", "UNMAP", "GRANT", "QUEUE", "QUEUE_DESTROY",
         "RECORDS_AREA", "LIST", "FAULTS"]

# Size of each request's payload, and the number of descriptors that belong to it.
PAYLOAD = {HELLO: 56, BIND: 32, UNBIND: 8, REGISTER: 32, UNREGISTER: 24, MAP: 32, UNMAP: 16, GRANT: 8, QUEUE: 16,
           QUEUE_DESTROY: 8, RECORDS_AREA: 0, LIST: 8, FAULTS: 8}
DESCRIPTORS = {REGISTER: 1, MAP: 1}


def hello_payload(version=1, device=b"", comm=b"peer"):
    return struct.pack("=II32s16s", version, 0, device, comm)


def bind_payload(access=READ | WRITE, pasid=NO_PASID, parts=15, comm=b"target"):
    return struct.pack("=IIII16s", access, pasid, parts, 0, comm)


class Ended(Exception):
    """The daemon has ended the connection."""


class Refused(Exception):
    """The kernel does not let these descriptors through."""


class Reply:
    def __init__(self, kind, cookie, payload, fds):
        self.kind, self.cookie, self.payload, self.fds = kind, cookie, payload, fds
        self.error = STATUS.unpack_from(payload)[0] if len(payload) >= STATUS.size else 0

    def close(self):
        for fd in self.fds:
            os.close(fd)


class Peer:
    """One connection."""

    def __init__(self, path, hello=True):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(path)
        self.cookie = 0
        if hello:
            reply = self.call(HELLO, hello_payload())
            assert reply.error == 0

    def close(self):
        self.socket.close()

    def send_raw(self, message, fds=()):
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        try:
            self.socket.sendmsg([message], ancillary, socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Ended from error
        except PermissionError as error:
            # Before HELLO is answered, the kernel itself may keep descriptors out (SO_PASSRIGHTS, Linux 6.16).
            raise Refused from error

    def send(self, kind, payload=b"", fds=(), length=None, flags=0, cookie=None):
        self.cookie += 1
        if length is None:
            length = HEADER.size + len(payload)
        if cookie is None:
            cookie = self.cookie
        self.send_raw(HEADER.pack(length & 0xFFFFFFFF, kind, flags, cookie) + payload, fds)

    def receive_raw(self):
        return self.socket.recvmsg(65536, socket.CMSG_SPACE(64))[:2]

    def receive(self):
        """The next reply; Ended if the daemon ends the connection, with or without telling why."""
        try:
            message, ancillary = self.receive_raw()
        except ConnectionResetError:
            # Said once, if the daemon left requests unread; its last replies come after it.
            message, ancillary = self.receive_raw()
        fds = array.array("i")
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        if not message:
            raise Ended
        length, kind, flags, cookie = HEADER.unpack_from(message)
        assert length == len(message)
        assert flags == REPLY
        reply = Reply(kind, cookie, message[HEADER.size:], list(fds))
        if kind == END:
            reply.close()
            raise Ended(reply.error)
        return reply

    def call(self, kind, payload=b"", fds=(), **changed):
        self.send(kind, payload, fds, **changed)
        reply = self.receive()
        assert reply.kind == kind
        return reply

    def expect_end(self):
        """Whatever still comes, the connection ends. The reason, if the daemon has said one."""
        try:
            while True:
                reply = self.receive()
                reply.close()
                assert reply.error != 0, f"{NAMES[reply.kind]} succeeded"
        except Ended as end:
            return end.args[0] if end.args else None


class Target:
    """A live process that knows nothing of uiommu, and its handle bundle."""

    def __init__(self, process):
        self.process = process
        pid = process.pid
        self.mem = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
        self.maps = os.open(f"/proc/{pid}/maps", os.O_RDONLY | os.O_CLOEXEC)
        self.pidfd = os.pidfd_open(pid)
        self.auxv = os.open(f"/proc/{pid}/auxv", os.O_RDONLY | os.O_CLOEXEC)

    @property
    def bundle(self):
        return [self.mem, self.maps, self.pidfd, self.auxv]

    def close(self):
        for fd in self.bundle:
            os.close(fd)
        self.process.kill()
        self.process.wait()


def as_ordinary_user():
    """What a child of root does before it executes another program."""
    if os.geteuid() == 0:
        return {"user": ORDINARY_USER, "group": ORDINARY_USER, "extra_groups": []}
    return {}


class Daemon:
    """A uiommud of our own, run by an ordinary user, from a folder that every user may enter."""

    def __init__(self, program, options=()):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="uiommu-"))
        self.directory.chmod(0o755)
        self.program = self.directory / "uiommud"
        shutil.copy(program, self.program)
        self.log = self.directory / "log"
        runtime = self.directory / "run"
        runtime.mkdir()
        if os.geteuid() == 0:
            os.chown(runtime, ORDINARY_USER, ORDINARY_USER)
        self.path = str(runtime / "socket")
        # It says when it is ready as it does to systemd: one datagram.
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(self.directory / "notify"))
        (self.directory / "notify").chmod(0o777)
        environment = dict(os.environ, NOTIFY_SOCKET=str(self.directory / "notify"))
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([self.program, "--socket", self.path, *options], stderr=log, env=environment,
                                            **as_ordinary_user())
        ended = os.pidfd_open(self.process.pid)
        ready, _, _ = select.select([notify, ended], [], [])
        assert notify in ready, f"uiommud has not started: {self.log.read_text()}"
        assert b"READY=1" in notify.recv(4096)
        os.close(ended)
        notify.close()

    @property
    def pid(self):
        return self.process.pid

    def sanitized(self):
        return b"__sanitizer_" in self.program.read_bytes()

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def executors(self):
        return pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()

    def log_lines(self):
        return self.log.read_text(errors="replace").splitlines()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait()
        shutil.rmtree(self.directory)
        return status


def error_name(number):
    return errno.errorcode.get(-number, str(number))

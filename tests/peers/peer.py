# SPDX-License-Identifier: BSD-3-Clause
"""A client of uiommud that shares no code with libuiommu: written from docs/protocol.md, with nothing but the standard library."""

import array
import collections
import contextlib
import ctypes
import errno
import fcntl
import os
import pathlib
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

HEADER = struct.Struct("=IHHQ")
STATUS = struct.Struct("=iI")
REPLY = 1
NO_PASID = 0xFFFFFFFF
READ, WRITE = 1, 2
SHARED, HANDLES = 1, 2
ORDINARY_USER = 65534
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
PATIENCE = 120  # seconds, after which what has not happened will not

(END, HELLO, BIND, UNBIND, REGISTER, UNREGISTER, MAP, UNMAP, GRANT, QUEUE, QUEUE_DESTROY, RECORDS_AREA, LIST, FAULTS) = range(14)

NAMES = ["END", "HELLO", "BIND", "UNBIND", "REGISTER", "UNREGISTER", "MAP", "UNMAP", "GRANT", "QUEUE", "QUEUE_DESTROY",
         "RECORDS_AREA", "LIST", "FAULTS"]

# Size of each request's payload, and the number of descriptors that belong to it.
PAYLOAD = {HELLO: 56, BIND: 32, UNBIND: 8, REGISTER: 32, UNREGISTER: 24, MAP: 32, UNMAP: 16, GRANT: 8, QUEUE: 16,
           QUEUE_DESTROY: 8, RECORDS_AREA: 0, LIST: 8, FAULTS: 8}
DESCRIPTORS = {REGISTER: 1, MAP: 1}


DEVICE, CLIENT, RING, PASID = 1, 2, 3, 4
ALLOCATED, BOUND, DRAINING = 1, 2, 3
ITEM = struct.Struct("=8I5Q56s")
Item = collections.namedtuple("Item", "type state client uid pid id flags count bytes_read bytes_written descriptors faults discarded "
                              "name")
REPORT = struct.Struct("=QIIBBBBIQIIIIQQ32s16s80s")
Report = collections.namedtuple("Report", "address device_id pasid access reason stage table reserved time_ns client uid pid vma_access "
                                "vma_start vma_end device comm vma_name")


def text(name):
    """A name as it travels: everything behind its end is 0."""
    name, _, rest = name.partition(b"\0")
    assert not rest.strip(b"\0")
    return name.decode()


def hello_payload(version=1, device=b"", comm=b"peer"):
    return struct.pack("=II32s16s", version, 0, device, comm)


def bind_payload(access=READ | WRITE, pasid=NO_PASID, parts=15, comm=b"target"):
    return struct.pack("=IIII16s", access, pasid, parts, 0, comm)


class Ended(Exception):
    """The daemon has ended the connection; `error` is what its END said, None if there was none."""

    def __init__(self, error=None):
        super().__init__(error)
        self.error = error


class Refused(Exception):
    """The kernel does not let these descriptors through."""


class Reply:
    def __init__(self, kind, cookie, payload, fds):
        self.kind, self.cookie, self.payload, self.fds = kind, cookie, payload, fds
        self.error = STATUS.unpack_from(payload)[0] if len(payload) >= STATUS.size else 0

    def close(self):
        for fd in self.fds:
            os.close(fd)

    def good(self):
        assert self.error == 0, f"{NAMES[self.kind]}: {error_name(self.error)}"
        return self

    def number(self, layout="=I"):
        """What nearly all replies have behind the status."""
        return struct.unpack_from(layout, self.payload, STATUS.size)[0]


@contextlib.contextmanager
def identity(uid=None, gid=None):
    """Root as somebody else: it is the effective ids that the kernel tells the other end of a connection."""
    groups = os.getgroups()
    try:
        if gid is not None:
            os.setgroups([])
            os.setegid(gid)
        if uid is not None:
            os.seteuid(uid)
        yield
    finally:
        if uid is not None:
            os.seteuid(0)
        if gid is not None:
            os.setegid(0)
            os.setgroups(groups)


class Peer:
    """One connection; as root, of any user."""

    def __init__(self, path, hello=True, uid=None, gid=None, comm=b"peer"):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with identity(uid, gid):
            self.socket.connect(path)
        self.socket.settimeout(PATIENCE)
        self.cookie = 0
        self.number = None
        if hello:
            self.hello(comm)

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
        except Ended as ended:
            return ended.error

    # Requests, as docs/protocol.md has them. They return the reply, or what it says if it has to succeed.

    def hello(self, comm=b"peer"):
        reply = self.call(HELLO, hello_payload(comm=comm)).good()
        version, self.number, device = struct.unpack_from("=II32s", reply.payload, 8)
        assert version == 1
        return text(device)

    def try_bind(self, bundle, pasid=NO_PASID, access=READ | WRITE, comm=b"target"):
        return self.call(BIND, bind_payload(access, pasid, comm=comm), bundle)

    def bind(self, bundle, *arguments, **options):
        return self.try_bind(bundle, *arguments, **options).good().number()

    def unbind(self, pasid):
        return self.call(UNBIND, struct.pack("=II", pasid, 0)).error

    def try_register(self, pasid, fd, address, length, access=READ | WRITE, offset=0):
        return self.call(REGISTER, struct.pack("=IIQQQ", pasid, access, address, length, offset), [fd])

    def unregister(self, pasid, address, length):
        return self.call(UNREGISTER, struct.pack("=IIQQ", pasid, 0, address, length)).error

    def try_map(self, fd, length, iova=None, offset=0):
        """For both reading and writing."""
        return self.call(MAP, struct.pack("=IIQQQ", 6 if iova is None else 7, 0, offset, length, iova or 0), [fd])

    def map(self, *arguments, **options):
        return self.try_map(*arguments, **options).good().number("=Q")

    def try_unmap(self, iova, length):
        return self.call(UNMAP, struct.pack("=QQ", iova, length))

    def unmap(self, iova, length):
        return self.try_unmap(iova, length).good().number("=Q")

    def grant(self, pasid=NO_PASID):
        return self.call(GRANT, struct.pack("=II", pasid, 0)).good().number()

    def try_queue(self, entries, flags=SHARED, pasid=0):
        return self.call(QUEUE, struct.pack("=IIII", flags, entries, pasid, 0))

    def queue(self, entries, flags=SHARED, pasid=0):
        """Its number; the descriptors are closed."""
        reply = self.try_queue(entries, flags, pasid).good()
        reply.close()
        assert len(reply.fds) == 3
        return reply.number()

    def destroy(self, queue):
        return self.call(QUEUE_DESTROY, struct.pack("=II", queue, 0)).error

    def elements(self, kind, layout, head):
        """All elements of LIST or FAULTS, however many requests it takes."""
        cursor, found = 0, []
        while True:
            payload = self.call(kind, struct.pack("=Q", cursor)).good().payload
            cursor, count, size = struct.unpack_from("=QII", payload, 8)
            assert size == layout.size and len(payload) == head + count * size
            found += layout.iter_unpack(payload[head:])
            if not cursor:
                return found

    def list(self):
        items = [Item._make(fields) for fields in self.elements(LIST, ITEM, 24)]
        return [item._replace(name=text(item.name)) for item in items]

    def faults(self):
        reports = [Report._make(fields) for fields in self.elements(FAULTS, REPORT, 32)]
        return [report._replace(device=text(report.device), comm=text(report.comm), vma_name=text(report.vma_name)) for report in reports]

    def objects(self):
        """What there is, without the numbers that count."""
        return [(item.type, item.client, item.id, item.state, item.flags, item.pid, item.uid, item.name) for item in self.list()]

    def clients(self):
        return [item.id for item in self.list() if item.type == CLIENT]

    def wait_without(self, number):
        """Until client @number is not there any more, with all that it had."""
        eventually(lambda: number not in self.clients(), f"client {number} is gone")


def exec_event(pid, remove_on_exec=True):
    """A perf event that hangs up when the process executes another program; None where the kernel does not give one."""
    attributes = struct.pack("=IIQQQQQ", 1, 128, 9, 0, 0, 0, 1 | 1 << 5 | 1 << 6 | remove_on_exec << 36).ljust(128, b"\0")
    call = {"x86_64": 298, "aarch64": 241}[os.uname().machine]
    event = LIBC.syscall(call, attributes, pid, -1, -1, 8)
    return event if event >= 0 else None


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


def own_bundle():
    """The four files of the calling process."""
    return [os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC), os.open("/proc/self/maps", os.O_RDONLY | os.O_CLOEXEC),
            os.pidfd_open(os.getpid()), os.open("/proc/self/auxv", os.O_RDONLY | os.O_CLOEXEC)]


def memfd(size=4096, seals=fcntl.F_SEAL_SHRINK):
    fd = os.memfd_create("peer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if seals:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def eventually(condition, what):
    """Ask, and ask again. There is no time after which it is assumed: only one after which it is given up."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not in {PATIENCE} s: {what}"


def end_with_parent():
    """For a child before it executes another program: nothing of ours outlives us, however we end."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def ordinary():
    """A process of ours: root's are an ordinary user's."""
    user = {"user": ORDINARY_USER, "group": ORDINARY_USER, "extra_groups": []} if os.geteuid() == 0 else {}
    return {**user, "preexec_fn": end_with_parent}


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
                                            **ordinary())
        ended = os.pidfd_open(self.process.pid)
        ready, _, _ = select.select([notify, ended], [], [], PATIENCE)
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
        children = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def log_lines(self):
        return self.log.read_text(errors="replace").splitlines()

    def stop(self):
        """Its exit status; it may be stopped already."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()
            shutil.rmtree(self.directory)
        return self.process.returncode


def error_name(number):
    return errno.errorcode.get(-number, str(number))

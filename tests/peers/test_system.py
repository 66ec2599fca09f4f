# SPDX-License-Identifier: BSD-3-Clause
"""uiommud --system: with a socket that is passed to it, with one of its own, and the units that start it."""

import errno
import grp
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile

import pytest

import peer
from conftest import program
from peer import BIND, CLIENT, HANDLES, ORDINARY_USER, PASID, SHARED, Peer, Target, ordinary
from ring import FILL, PAGE_FAULT, SUCCESS, WROTE, Memory, Queue, Record, descriptor

ROOT = os.geteuid() == 0
SERVICE_USER, SERVICE_GROUP = 61184, 61184  # no names: as with DynamicUser=
CLIENT_USER, CLIENT_GROUP = 61185, 61186
GONE = 6  # enum uiommu_fault_reason
BUILD = pathlib.Path(os.environ.get("UIOMMU_BUILD", "build"))

# What a service manager does between fork and exec.
ACTIVATE = """
import os, sys
for number, fd in enumerate(sys.argv[1].split(",")):
    os.dup2(int(fd), 3 + number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(number + 1))
os.execv(sys.argv[2], sys.argv[2:])
"""


class Folder:
    """The program, where every user may execute it, and a socket that hears when it is ready."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="uiommu-"))
        self.path.chmod(0o755)
        self.run = self.path / "run"
        self.run.mkdir()
        self.socket = str(self.run / "socket")
        self.program = str(self.path / "uiommud")
        shutil.copy(program("uiommud"), self.program)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.notify.bind(str(self.path / "notify"))
        (self.path / "notify").chmod(0o777)
        self.log = self.path / "log"
        self.started = []

    def owned_by(self, who):
        if ROOT:
            os.chown(self.run, who["user"], who["group"])

    def start(self, command, who):
        environment = {**os.environ, "NOTIFY_SOCKET": str(self.path / "notify")}
        with open(self.log, "ab") as log:
            self.started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, env=environment, close_fds=False,
                                                 **{**who, "preexec_fn": peer.end_with_parent}))
        return self.started[-1]

    def activate(self, listening, options, who):
        """Start with these sockets as descriptors 3 and on."""
        for one in listening:
            os.set_inheritable(one.fileno(), True)
        process = self.start(["/usr/bin/python3", "-c", ACTIVATE, ",".join(str(one.fileno()) for one in listening), self.program, *options],
                             who)
        for one in listening:
            os.set_inheritable(one.fileno(), False)
        return process

    def wait_ready(self, process):
        """READY=1, from the main process itself, as Type=notify wants it."""
        ended = os.pidfd_open(process.pid)
        ready, _, _ = select.select([self.notify, ended], [], [], peer.PATIENCE)
        os.close(ended)
        assert self.notify in ready, f"not ready: {self.log.read_text()}"
        message, ancillary, _, _ = self.notify.recvmsg(4096, socket.CMSG_SPACE(12))
        assert b"READY=1" in message.split(b"\n")
        assert [struct.unpack("=iII", data)[0] for _, kind, data in ancillary if kind == socket.SCM_CREDENTIALS] == [process.pid]

    def close(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.notify.close()
        shutil.rmtree(self.path)


@pytest.fixture
def folder():
    made = Folder()
    yield made
    made.close()


def listen(path, kind=socket.SOCK_SEQPACKET):
    listening = socket.socket(socket.AF_UNIX, kind)
    listening.bind(path)
    listening.listen(16)
    return listening


def identity_of(path):
    facts = os.stat(path)
    return facts.st_dev, facts.st_ino, stat.S_IFMT(facts.st_mode), stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid


def terminate(process, number=signal.SIGTERM):
    process.send_signal(number)
    return process.wait()


def is_served(path, **who):
    """A client from HELLO to UNBIND. What it sees is itself, as the user that it is."""
    client = Peer(path, **who)
    target = Target(subprocess.Popen(["/bin/sleep", "infinity"], stdin=subprocess.DEVNULL, **ordinary()))
    pasid = client.bind(target.bundle)
    own = [item for item in client.list() if item.client == client.number]
    assert [(item.type, item.uid, item.pid) for item in own] == [(CLIENT, who.get("uid", os.geteuid()), os.getpid()),
                                                                 (PASID, who.get("uid", os.geteuid()), target.process.pid)]
    assert client.unbind(pasid) == 0
    target.close()
    return client


def is_hidden(process):
    """No process of the daemon's user may trace it: its files in /proc are root's."""
    return os.stat(f"/proc/{process.pid}/fd").st_uid == 0


@pytest.mark.skipif(not ROOT, reason="needs root, to be a service manager for several users")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_activated_by_root(folder, number):
    """An ordinary service user, a socket of root's for a group, as systemd/uiommud.socket says."""
    listening = listen(folder.socket)
    os.chown(folder.socket, 0, CLIENT_GROUP)
    os.chmod(folder.socket, 0o660)
    before = identity_of(folder.socket)
    who = {"user": SERVICE_USER, "group": SERVICE_GROUP, "extra_groups": []}
    # --group is not looked at: the unit has decided.
    process = folder.activate([listening], ["--system", "--group", "no such group"], who)
    folder.wait_ready(process)
    assert identity_of(folder.socket) == before
    assert os.listdir(folder.run) == ["socket"]
    assert is_hidden(process)

    inside = is_served(folder.socket, uid=CLIENT_USER, gid=CLIENT_GROUP)
    with pytest.raises(PermissionError):
        Peer(folder.socket, uid=CLIENT_USER, gid=CLIENT_USER)
    # A user sees its own, root and the daemon's user see all. (The service user is of the group for once.)
    another = is_served(folder.socket, uid=CLIENT_USER + 1, gid=CLIENT_GROUP)
    roots, services = Peer(folder.socket), Peer(folder.socket, uid=SERVICE_USER, gid=CLIENT_GROUP)
    everybody = [inside.number, another.number, roots.number, services.number]
    assert (inside.clients(), another.clients()) == ([inside.number], [another.number])
    assert roots.clients() == services.clients() == everybody

    assert terminate(process, number) == 0
    for client in (inside, another, roots, services):
        assert client.expect_end() is None
    # The socket is the service manager's: who connects now waits for the next daemon.
    assert identity_of(folder.socket) == before
    early = Peer(folder.socket, hello=False, uid=CLIENT_USER, gid=CLIENT_GROUP)
    again = folder.activate([listening], ["--system"], who)
    folder.wait_ready(again)
    assert early.hello() == "accel0"
    assert early.clients() == [early.number]
    assert terminate(again) == 0
    assert identity_of(folder.socket) == before
    listening.close()


def test_activated_by_an_ordinary_user(folder):
    """For themselves, as systemd/user-uiommud.socket says."""
    folder.owned_by(ordinary())
    with peer.identity(*((ORDINARY_USER, ORDINARY_USER) if ROOT else ())):
        listening = listen(folder.socket)
        os.chmod(folder.socket, 0o600)
    before = identity_of(folder.socket)
    process = folder.activate([listening], ["--system"], ordinary())
    folder.wait_ready(process)
    assert is_hidden(process)
    client = is_served(folder.socket, **({"uid": ORDINARY_USER, "gid": ORDINARY_USER} if ROOT else {}))
    if ROOT:
        with pytest.raises(PermissionError):
            Peer(folder.socket, uid=CLIENT_USER)
    assert identity_of(folder.socket) == before
    assert terminate(process) == 0
    assert client.expect_end() is None
    assert identity_of(folder.socket) == before
    assert os.listdir(folder.run) == ["socket"]
    listening.close()


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="systemd-socket-activate is not installed")
def test_activated_by_systemd(folder):
    """systemd's own activator, which starts the daemon when the first client connects."""
    folder.owned_by(ordinary())
    process = folder.start(["systemd-socket-activate", "--seqpacket", "-l", folder.socket, "-E", f"NOTIFY_SOCKET={folder.path}/notify",
                            folder.program, "--system"], ordinary())
    peer.eventually(lambda: "Listening on" in folder.log.read_text() or process.poll() is not None, "it listens")
    before = identity_of(folder.socket)
    client = Peer(folder.socket, hello=False)
    folder.wait_ready(process)
    assert pathlib.Path(f"/proc/{process.pid}/comm").read_text() == "uiommud\n"
    assert client.hello() == "accel0"
    assert is_served(folder.socket).number == client.number + 1
    assert terminate(process) == 0
    assert identity_of(folder.socket) == before
    assert client.expect_end() is None
    with pytest.raises(ConnectionRefusedError):
        Peer(folder.socket)


@pytest.mark.parametrize("sockets", ["a stream", "two", "a client's"])
def test_what_cannot_be_taken_over(folder, sockets):
    folder.owned_by(ordinary())
    listening = [listen(folder.socket, socket.SOCK_STREAM if sockets == "a stream" else socket.SOCK_SEQPACKET)]
    if sockets == "two":
        listening.append(listen(folder.socket + "2"))
    elif sockets == "a client's":
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.connect(folder.socket)
        listening.insert(0, client)
    process = folder.activate(listening[:2 if sockets == "two" else 1], ["--system"], ordinary())
    assert process.wait() == 1
    assert "ListenSequentialPacket=" in folder.log.read_text()
    assert os.path.exists(folder.socket)
    for one in listening:
        one.close()


def a_group():
    """One with a name that the daemon's user can be in, and is not in otherwise: (name, gid)."""
    if ROOT:
        return next((group.gr_name, group.gr_gid) for group in grp.getgrall() if group.gr_gid not in (0, ORDINARY_USER))
    own = [gid for gid in os.getgroups() if gid != os.getegid()] or [os.getegid()]
    return grp.getgrgid(own[0]).gr_name, own[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_its_own_socket_for_a_group(folder, number):
    """Mode 0660, group of --group; it is removed at the end."""
    name, gid = a_group()
    who = {**ordinary(), "extra_groups": [gid]} if ROOT else {}
    folder.owned_by(ordinary())
    process = folder.start([folder.program, "--system", "--socket", folder.socket, "--group", name], who)
    folder.wait_ready(process)
    _, _, kind, mode, uid, group = identity_of(folder.socket)
    assert (kind, mode, uid, group) == (stat.S_IFSOCK, 0o660, ORDINARY_USER if ROOT else os.geteuid(), gid)
    assert is_hidden(process)
    if ROOT:
        is_served(folder.socket, uid=CLIENT_USER, gid=gid)
        with pytest.raises(PermissionError):
            Peer(folder.socket, uid=CLIENT_USER, gid=CLIENT_USER)
    client = is_served(folder.socket)
    assert terminate(process, number) == 0
    assert client.expect_end() is None
    assert os.listdir(folder.run) == []


def test_without_a_group(folder):
    """The daemon's own group, and in user mode nobody else's."""
    folder.owned_by(ordinary())
    for options, mode in ((["--system"], 0o660), ([], 0o600)):
        process = folder.start([folder.program, "--socket", folder.socket, *options], ordinary())
        folder.wait_ready(process)
        assert identity_of(folder.socket)[3:] == (mode, *((ORDINARY_USER,) * 2 if ROOT else (os.geteuid(), os.getegid())))
        assert terminate(process) == 0
        assert os.listdir(folder.run) == []


@pytest.mark.parametrize("group", ["no such group", "a group of others"])
def test_a_group_that_cannot_be_had(folder, group):
    folder.owned_by(ordinary())
    if group == "a group of others":
        own = {ORDINARY_USER} if ROOT else {os.getegid(), *os.getgroups()}
        group = next(entry.gr_name for entry in grp.getgrall() if entry.gr_gid not in own)
    process = folder.start([folder.program, "--system", "--socket", folder.socket, "--group", group], ordinary())
    assert process.wait() == 1
    assert os.listdir(folder.run) == []
    assert re.search(f"there is no group '{group}'" if group == "no such group" else os.strerror(errno.EPERM), folder.log.read_text())


@pytest.mark.skipif(not ROOT, reason="needs root, to be refused for it")
def test_root_is_refused(folder):
    """Also with --system; nothing is made, nobody hears that it is ready."""
    process = folder.start([folder.program, "--system", "--socket", folder.socket], {})
    assert process.wait() == 1
    assert os.listdir(folder.run) == []
    assert "--privileged" in folder.log.read_text()
    assert select.select([folder.notify], [], [], 0)[0] == []


# A process that executes another program while a child that shares its memory (CLONE_VM) goes on.
SHARER = """
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None)
stack, memory = mmap.mmap(-1, 1 << 16), mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
place = [ctypes.addressof(ctypes.c_char.from_buffer(one)) for one in (stack, memory)]
memory.write(b"before")
child = libc.clone(libc.pause, ctypes.c_void_p(place[0] + (1 << 16)), 0x100, None)
print(place[1], child, flush=True)
sys.stdin.readline()
os.execv("/bin/sleep", ["sleep", "infinity"])
"""


class Sharer(Target):
    def __init__(self, **who):
        super().__init__(subprocess.Popen(["/usr/bin/python3", "-c", SHARER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                          **who))
        self.address, self.child = (int(word) for word in self.process.stdout.readline().split())

    def execute(self):
        self.process.stdin.write("\n")
        self.process.stdin.close()
        comm = pathlib.Path(f"/proc/{self.process.pid}/comm")
        peer.eventually(lambda: comm.read_text() == "sleep\n", "it executes another program")

    def old_memory(self):
        with open(f"/proc/{self.child}/mem", "rb", buffering=0) as memory:
            memory.seek(self.address)
            return memory.read(6)

    def close(self):
        os.kill(self.child, signal.SIGKILL)
        self.process.stdout.close()
        super().close()


def write_to(client, pasid, own, sharer):
    """One fill of 6 bytes: the record's status, and how much was done."""
    queue, memory = Queue(client, 2, SHARED | HANDLES), Memory(4096)
    record = Record(memory, 0)
    data = descriptor(FILL, pasid=own, record=record.address, source=0x2323232323232323, destination=sharer.address, size=6,
                      handles=client.grant(pasid) << 16)
    assert queue.submit(data)
    status, _, done, _, _ = record.wait()
    queue.close()
    memory.close()
    return status, done


@pytest.mark.skipif(not ROOT, reason="needs root, for a daemon of another user")
@pytest.mark.parametrize("event", ["an exec event", "one of another process", "one that stays", "none"])
def test_exec_with_the_memory_alive(folder, event):
    """The daemon has nothing but the handle, and the process another user than both: the exec ends the bind all the same."""
    folder.owned_by({"user": SERVICE_USER, "group": SERVICE_GROUP})
    process = folder.start([folder.program, "--system", "--socket", folder.socket], {"user": SERVICE_USER, "group": SERVICE_GROUP,
                                                                                  "extra_groups": []})
    folder.wait_ready(process)
    client, sharer = Peer(folder.socket), Sharer(**ordinary())
    made = {"an exec event": lambda: peer.exec_event(sharer.process.pid), "one of another process": lambda: peer.exec_event(os.getpid()),
            "one that stays": lambda: peer.exec_event(sharer.process.pid, False), "none": lambda: None}[event]()
    if event != "none" and made is None:
        pytest.skip("perf_event_open is not permitted")
    bundle = [*sharer.bundle, *([made] if made is not None else [])]
    pasid = client.call(BIND, peer.bind_payload(parts=15 if made is None else 31), bundle).good().number()
    own = client.bind(peer.own_bundle())

    assert write_to(client, pasid, own, sharer) == (SUCCESS, 6)
    assert sharer.old_memory() == b"######"
    with open(f"/proc/{sharer.child}/mem", "r+b", buffering=0) as memory:
        memory.seek(sharer.address)
        memory.write(b"before")
    sharer.execute()
    if event == "an exec event" and "perf_event" not in os.environ.get("UIOMMU_WITHOUT", ""):
        assert write_to(client, pasid, own, sharer) == (PAGE_FAULT | WROTE, 0)
        assert [(report.pasid, report.reason) for report in client.faults()] == [(pasid, GONE)]
        assert sharer.old_memory() == b"before"
    else:
        # What docs/security.md says of it: the memory that the client has given, and nobody else's.
        assert write_to(client, pasid, own, sharer) == (SUCCESS, 6)
        assert sharer.old_memory() == b"######"
    assert client.unbind(pasid) == 0
    if made is not None:
        os.close(made)
    sharer.close()
    assert terminate(process) == 0


# The units.

def unit(name):
    """Where the build has it, or the source."""
    for place in (BUILD / "systemd" / name, pathlib.Path(__file__).parents[2] / "systemd" / name):
        if place.exists():
            return place.read_text(encoding="utf-8")
    pytest.fail(f"there is no unit {name}")


def settings(text):
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("which", ["system", "user"])
def test_units_are_valid(folder, which):
    prefix = "" if which == "system" else "user-"
    service = re.sub(r"^ExecStart=\S+", f"ExecStart={folder.program}", unit(f"{prefix}uiommud.service"), flags=re.M)
    units = folder.path / "units"
    units.mkdir()
    (units / "uiommud.service").write_text(service, encoding="utf-8")
    (units / "uiommud.socket").write_text(unit(f"{prefix}uiommud.socket"), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", f"--{which}", units / "uiommud.service", units / "uiommud.socket"],
                          env={**os.environ, "XDG_RUNTIME_DIR": str(folder.run)}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False)
    # What it does not know it ignores, and only says so. Other units of this machine are not ours to judge.
    assert [line for line in done.stderr.splitlines() if "uiommud" in line] == []
    assert done.returncode == 0


def test_units_say_what_the_daemon_does():
    """The command lines of the units start it, with a socket as the units have it."""
    for prefix, options, path, mode in (("", ["--system"], "/run/uiommu/socket", "0660"), ("user-", [], "%t/uiommu/socket", "0600")):
        service, sockets = settings(unit(f"{prefix}uiommud.service")), settings(unit(f"{prefix}uiommud.socket"))
        command = service["ExecStart"].split()
        assert (pathlib.Path(command[0]).name, command[1:], service["Type"]) == ("uiommud", options, "notify")
        assert (sockets["ListenSequentialPacket"], sockets["SocketMode"]) == (path, mode)
    assert settings(unit("uiommud.socket"))["SocketGroup"] == "uiommu"
    assert (settings(unit("uiommud.service"))["DynamicUser"], "User" in settings(unit("uiommud.service"))) == ("yes", False)
    # LimitNOFILE bounds what clients may have at once: one client's own limit has to fit.
    assert int(settings(unit("uiommud.service"))["LimitNOFILE"]) > 8192

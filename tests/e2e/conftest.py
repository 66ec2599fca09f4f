# SPDX-License-Identifier: BSD-3-Clause
"""Programs to test, processes to do it to, a daemon. As root all of them run as an ordinary user."""

import json
import os
import pathlib
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("UIOMMU_BUILD", os.path.join(TOP, "build")))
PAGE = os.sysconf("SC_PAGESIZE")
# The client in Python says what libuiommu would not.
sys.path.append(os.path.join(TOP, "tests", "peers"))

import peer  # noqa: E402

ORDINARY = peer.ordinary()


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


class Bystander:
    """A process with memory that knows nothing of uiommu."""

    def __init__(self, stage, length, **options):
        self.process = subprocess.Popen(["/usr/bin/python3", os.path.join(stage, "bystander.py"), str(length)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, **{**ORDINARY, **options})
        facts = json.loads(self.process.stdout.readline())
        self.pid, self.address, self.length = facts["pid"], facts["address"], facts["length"]

    def ask(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()

    def peek(self, offset, length):
        return bytes.fromhex(self.ask("peek", offset, length))

    def poke(self, offset, data):
        assert self.ask("poke", offset, data.hex()) == "ok"

    def place(self, offset=0):
        return f"{self.pid}:{self.address + offset:#x}"

    def kill(self):
        self.process.kill()
        self.process.communicate()


class Outcome:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture(scope="session")
def stage():
    """A copy of the programs that an ordinary user may run wherever the build is."""
    with tempfile.TemporaryDirectory(prefix="uiommu-") as folder:
        os.chmod(folder, 0o755)
        for name in ("uiommu", "uiommud"):
            shutil.copy(os.path.join(BUILD, name), folder)
        shutil.copy(os.path.join(TOP, "examples", "bystander.py"), folder)
        yield folder


@pytest.fixture
def bystander(stage):
    started = []

    def start(length=16 * PAGE, **options):
        started.append(Bystander(stage, length, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()


class Uiommu:
    """The command; **options go to subprocess (as another user, with another environment)."""

    def __init__(self, stage):
        self.program = os.path.join(stage, "uiommu")

    def start(self, *arguments, **options):
        defaults = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **ORDINARY}
        return subprocess.Popen([self.program, *[str(argument) for argument in arguments]], text=True, **{**defaults, **options})

    def __call__(self, *arguments, **options):
        with self.start(*arguments, **options) as process:
            out, err = process.communicate()
            return Outcome(process.returncode, out, err)


@pytest.fixture(scope="session")
def run(stage):
    return Uiommu(stage)


class Sessions:
    """Where this test's sessions have their folders."""

    def __init__(self, runtime):
        self.runtime = runtime
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}

    def folders(self):
        return sorted(self.runtime.glob("uiommu/run-*"))

    def daemon_pid(self):
        """Of the only session's daemon."""
        (folder,) = self.folders()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as own:
            own.connect(str(folder / "socket"))
            return struct.unpack("3i", own.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]

    def daemon(self):
        return os.pidfd_open(self.daemon_pid())


@pytest.fixture
def sessions(staged):  # pylint: disable=unused-argument
    """In a folder of its own: the path of a socket is short, and pytest's have the test's name in them."""
    with tempfile.TemporaryDirectory(prefix="uiommu-") as folder:
        if "user" in ORDINARY:
            os.chown(folder, ORDINARY["user"], ORDINARY["group"])
        yield Sessions(pathlib.Path(folder))


@pytest.fixture(scope="session")
def staged(stage):
    """Where programs that run under `uiommu run` are, beside what is preloaded into them."""
    folder = pathlib.Path(stage, "src", "abi", "shim")
    folder.mkdir(parents=True)
    for made in (folder, folder.parent, folder.parent.parent):
        made.chmod(0o755)
    shutil.copy(os.path.join(BUILD, "src", "abi", "shim", "libuiommu-shim.so"), folder)
    for name in ("in-session", "copies", "nvme-driver", "dma-driver", "tables-driver", "tables-thread", "takes-away", "uring"):
        shutil.copy(os.path.join(BUILD, "tests", "e2e", name), stage)
        shutil.copy(os.path.join(BUILD, "tests", "e2e", f"{name}-static"), stage)
    for name in ("stuck-program", "stuck-program-static", "mapped-driver"):
        if os.path.exists(path := os.path.join(BUILD, "tests", "e2e", name)):
            shutil.copy(path, stage)
    return stage


class Daemon:
    def __init__(self, stage, folder):
        self.socket = os.path.join(folder, "socket")
        self.log = open(os.path.join(folder, "log"), "w+", encoding="utf-8")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(os.path.join(folder, "notify"))
            os.chmod(notify.getsockname(), 0o777)
            self.process = subprocess.Popen([os.path.join(stage, "uiommud"), "--socket", self.socket], stdin=subprocess.DEVNULL, cwd="/",
                                            stdout=self.log, stderr=self.log, env={**os.environ, "NOTIFY_SOCKET": notify.getsockname()},
                                            **ORDINARY)
            ended = os.pidfd_open(self.process.pid)
            ready, _, _ = select.select([notify, ended], [], [])
            os.close(ended)
            assert notify in ready, "uiommud has not started"

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


@pytest.fixture
def daemon(stage):
    with tempfile.TemporaryDirectory(prefix="uiommu-") as folder:
        if "user" in ORDINARY:
            os.chown(folder, ORDINARY["user"], ORDINARY["group"])
        service = Daemon(stage, folder)
        yield service
        service.stop()

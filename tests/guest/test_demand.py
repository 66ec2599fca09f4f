# SPDX-License-Identifier: BSD-3-Clause
"""A guest whose memory comes page by page, when it is touched: QEMU's own postcopy. What the devices need and is not there they wait for."""

import contextlib
import os
import pathlib
import random
import socket
import struct
import subprocess
import threading

import pytest

import guest
from test_accel import driver, passes
from test_nvme import MODULES, THERE, digest, image, in_guest

__all__ = ["driver", "image"]
MIB, PAGE = 1 << 20, 4096
MEMORY = 512 * MIB
# What the guest's kernel leaves alone, and what is in it.
START, SIZE = 256 * MIB, 64 * MIB
PATTERN = random.Random(1).randbytes(MIB)
SLOW = 10  # bytes a second: the least that comes without being asked for
PAGES, READS = 64, 4
REQUEST, REQUEST_WITH_NAME = 4, 3  # MIG_RP_MSG_REQ_PAGES, MIG_RP_MSG_REQ_PAGES_ID


def content(start, length):
    """Of physical memory, before anybody has changed it: each page is another one."""
    pages = (PATTERN[at % MIB:][:PAGE - 8] + at.to_bytes(8, "little") for at in range(start, start + length, PAGE))
    return b"".join(pages)


class Requests(threading.Thread):
    """Between the two QEMUs: pages of a range that the guest's asks for are asked for later, when that is wanted."""

    def __init__(self, path, to):
        super().__init__()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.to, self.block = to, b""
        self.lock, self.held, self.kept, self.ends = threading.Lock(), range(0), [], []

    def hold(self, start, length):
        with self.lock:
            self.held = range(start, start + length)

    def let_go(self):
        with self.lock:
            self.held = range(0)
            for message in self.kept:
                self.source.sendall(message)
            self.kept.clear()

    def run(self):
        """The first connection has what comes by itself, and the requests; the second what has been asked for."""
        threads = []
        for number in range(2):
            try:
                source, there = self.listener.accept()[0], socket.socket(socket.AF_UNIX)
            except OSError:
                break
            there.connect(self.to)
            self.ends += [source, there]
            threads.append(threading.Thread(target=self.forward, args=(source, there)))
            if number == 0:
                self.source, self.guest = source, there
                threads.append(threading.Thread(target=self.answers))
            for thread in threads[-2 + number:]:
                thread.start()
        for thread in threads:
            thread.join()

    def forward(self, source, there):
        while data := self.receive(source, 1 << 16):
            try:
                there.sendall(data)
            except OSError:
                break
        self.end()

    @staticmethod
    def receive(source, size):
        with contextlib.suppress(OSError):
            return source.recv(size)
        return b""

    def receive_all(self, size):
        data = b""
        while len(data) < size and (more := self.receive(self.guest, size - len(data))):
            data += more
        return data

    def answers(self):
        """What the guest's QEMU says: a type, a length, and requests for pages among it, of the memory that was named last."""
        while len(header := self.receive_all(4)) == 4:
            kind, length = struct.unpack(">HH", header)
            payload = self.receive_all(length)
            if kind in (REQUEST, REQUEST_WITH_NAME):
                self.block = payload[12:] if kind == REQUEST_WITH_NAME else self.block
                payload = payload[:12] + self.block
                message = struct.pack(">HH", REQUEST_WITH_NAME, len(payload)) + payload
                is_held = self.block.endswith(b"uiommu-memory") and int.from_bytes(payload[:8]) in self.held
            else:
                message, is_held = header + payload, False
            with self.lock:
                if is_held:
                    self.kept.append(message)
                else:
                    try:
                        self.source.sendall(message)
                    except OSError:
                        break
        self.end()

    def end(self):
        for end in [self.listener, *self.ends]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Postcopy(guest.Machine):
    """The memory is that of another QEMU, which has never run. QEMU cannot migrate functions of ours: that one has others in their place."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, options=["--on-demand"], memory=f"{MEMORY // MIB}M",
                         append=f"memmap={SIZE // MIB}M${START // MIB}M init_on_alloc=0", **more)
        self.source, self.listeners["source"] = None, self.listen("source")
        self.content = os.memfd_create("source")
        os.ftruncate(self.content, MEMORY)
        os.pwrite(self.content, content(MIB, MEMORY - MIB), MIB)

    def start_source(self):
        line, words = [self.tools / "qemu", "-nodefaults", "-S", "-display", "none"], iter(self.arguments)
        for word, value in zip(words, words):
            if value.startswith("memory-backend-memfd"):
                value = value.replace("memfd", "file", 1) + f",mem-path=/proc/{os.getpid()}/fd/{self.content}"
            if "vfio-user" not in value:
                line += [word, value]
            if value.startswith("pcie-root-port"):
                line += ["-device", f"pci-testdev,bus={value.split('id=')[1].split(',')[0]}"]
        line += ["-serial", "null", "-serial", "null", "-qmp", f"unix:{self.folder.name}/source"]
        self.source = subprocess.Popen(list(map(str, line)), stdin=subprocess.DEVNULL)
        self.source_stream = self.listeners["source"].accept()[0].makefile("rw")
        self.source_stream.readline()
        self.ask_source("qmp_capabilities")

    def ask_source(self, command, **arguments):
        return guest.execute(self.source_stream, command, arguments)

    def boot(self, *more):
        self.start_source()
        super().boot("-incoming", "defer", *more)

    def begin(self):
        here, there = f"{self.folder.name}/requests", f"{self.folder.name}/pages"
        wanted = [{"capability": name, "state": True} for name in ("postcopy-ram", "postcopy-preempt")]
        self.monitor("migrate-set-capabilities", capabilities=wanted)
        self.monitor("migrate-incoming", uri=f"unix:{there}")
        self.requests = Requests(here, there)
        self.requests.start()
        self.ask_source("migrate-set-capabilities", capabilities=wanted)
        self.ask_source("migrate-set-parameters", **{"max-bandwidth": 4096, "max-postcopy-bandwidth": SLOW})
        self.ask_source("migrate", uri=f"unix:{here}")
        while self.ask_source("query-migrate")["status"] != "active":
            pass
        self.ask_source("migrate-start-postcopy")
        while self.monitor("query-status")["status"] == "inmigrate":
            pass
        self.monitor("cont")

    def finish_qemu(self):
        super().finish_qemu()
        self.source.kill()
        self.source.wait()
        self.source_stream.close()
        self.requests.end()
        self.requests.join()
        os.unlink(f"{self.folder.name}/requests")

    def demand(self):
        return self.seen()["on_demand"]

    def until_demand(self, condition):
        while not condition(now := self.demand()):
            assert self.server.poll() is None
        return now


@pytest.fixture(autouse=True)
def postcopy():
    """What QEMU's own faults need, those of the kernel in its name among them."""
    allowed = pathlib.Path("/proc/sys/vm/unprivileged_userfaultfd")
    if os.geteuid() and not os.access("/dev/userfaultfd", os.R_OK | os.W_OK) and (not allowed.exists() or allowed.read_text().strip() != "1"):
        pytest.skip("QEMU's postcopy needs /dev/userfaultfd, vm.unprivileged_userfaultfd=1, or root")


def machine(tools, driver, image):
    return Postcopy(tools, f"nvme,file={image}", "accel", modules=[*MODULES, driver],
                    programs=[guest.program(f"guest/tests/accel-{name}") for name in ("absent", "sva")])


def saved(vm):
    """What the guest's program has made a file of."""
    return vm.run("md5sum /saved")[0].split()[0]


def waited(before, now):
    return {key: now[key] - before[key] for key in ("pages", "accesses", "failed")}


def test_what_was_absent_is_what_was_supplied(tools, driver, image):
    """Read and written by the accelerator, before any processor of the guest has seen it; and by a disk, wherever the kernel wants that."""
    with machine(tools, driver, image) as vm:
        vm.boot()
        vm.run(THERE)
        before, start = vm.demand(), START + 16 * MIB
        passes(vm, f"accel-absent read {start} {PAGES} /saved")
        assert saved(vm) == digest(content(start, PAGES * PAGE))
        # Each page was asked for once; who came to it after that has not waited.
        told = waited(before, now := vm.demand())
        assert PAGES <= told.pop("accesses") <= PAGES * READS and told == {"pages": PAGES, "failed": 0}
        # The rest of each page is as it was.
        before, start = now, START + 32 * MIB
        expected = bytearray(content(start, PAGES * PAGE))
        for page in range(0, len(expected), PAGE):
            expected[page + 1024:page + 1024 + 64] = b"\x5a" * 64
        passes(vm, f"accel-absent write {start} {PAGES} /saved")
        assert saved(vm) == digest(expected)
        assert waited(before, now := vm.demand()) == {"pages": PAGES, "accesses": PAGES, "failed": 0}
        # What is there now is not asked for again.
        passes(vm, f"accel-absent read {start} {PAGES} /saved")
        assert saved(vm) == digest(expected)
        assert vm.demand() == now
        # The accelerator is idle: what is waited for while the disk is read, it waits for. How many of the file's pages are new to the
        # guest is its kernel's business.
        before = now
        assert in_guest(vm) == digest(image.read_bytes())
        told = waited(before, vm.demand())
        assert told["pages"] > PAGES and not told["failed"]
        passes(vm, "accel-sva")
        now = vm.demand()
        assert now["pages"] > 2 * PAGES and not now["waiting"] and not now["failed"]


def test_all_wait_for_one_request(tools, driver, image):
    """
    Pages that are late: whoever needs one waits, each is asked for once, and nothing has been read meanwhile. Then QEMU is asked for a
    reset while they are waited for, and can do it when the page has come that its main loop waits for.
    """
    with machine(tools, driver, image) as vm:
        vm.boot()
        before, start = vm.demand(), START + 16 * MIB
        vm.requests.hold(start, PAGES * PAGE)
        job = vm.start(f"accel-absent read {start} {PAGES} /saved")
        now = vm.until_demand(lambda now: now["accesses"] - before["accesses"] >= PAGES * READS and vm.requests.kept)
        assert waited(before, now) == {"pages": PAGES, "accesses": PAGES * READS, "failed": 0}
        assert now["waiting"] == PAGES and len(vm.requests.kept) == 1 and job.status is None
        vm.requests.let_go()
        assert job.output()[-1] == "passed"
        assert saved(vm) == digest(content(start, PAGES * PAGE))
        assert waited(before, now := vm.demand()) == {"pages": PAGES, "accesses": PAGES * READS, "failed": 0}
        assert not now["waiting"]
        start = START + 32 * MIB
        vm.requests.hold(start, PAGE)
        vm.start(f"accel-absent read {start} {PAGES} /saved")
        vm.until_demand(lambda now: now["waiting"] == PAGES and vm.requests.kept)
        vm.is_ready = False
        guest.say(vm.monitor_stream, "system_reset", {})
        vm.requests.let_go()
        guest.answer_of(vm.monitor_stream)
        vm.ready()
        assert not vm.demand()["waiting"]
        passes(vm, f"accel-absent read {start} {PAGES} /saved")
        assert saved(vm) == digest(content(start, PAGES * PAGE))
        passes(vm, "accel-sva")


def test_ends_while_pages_are_waited_for(tools, driver, image):
    """QEMU is killed, and the next guest of the server finds nothing of it; then the server is told to end."""
    with machine(tools, driver, image) as vm:
        start = START + 16 * MIB
        for ends in ("QEMU", "server"):
            vm.boot()
            passes(vm, f"accel-absent read {START + 32 * MIB} {PAGES} /saved")
            assert saved(vm) == digest(content(START + 32 * MIB, PAGES * PAGE))
            vm.requests.hold(start, PAGES * PAGE)
            vm.start(f"accel-absent read {start} {PAGES} /saved")
            vm.until_demand(lambda now: now["waiting"] == PAGES)
            said = vm.stop_server() if ends == "server" else ""
            vm.kill_qemu()
            assert not said
            if ends == "QEMU":
                vm.until_demand(lambda now: not now["waiting"])

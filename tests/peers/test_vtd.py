# SPDX-License-Identifier: BSD-3-Clause
"""The same DMA, through the same tables in the guest's memory, behind QEMU's own VT-d (intel-iommu) and behind ours: which bytes
were moved, which bits were set in tables, and what was recorded. No guest runs: QEMU is driven by its qtest protocol, with its
iommu-testdev that writes and its edu that reads."""

import contextlib
import mmap
import os
import pathlib
import random
import socket
import struct
import subprocess

import pytest

from conftest import program

TOP = pathlib.Path(__file__).resolve().parents[2]

MB = 1 << 20
RAM = 16 * MB
PAGE = 4096
REGISTERS = 0xfed90000
CAP, GCMD, GSTS, RTADDR, FSTS, IQT, IQA = 0x08, 0x18, 0x1c, 0x20, 0x34, 0x88, 0x90
TE, SRTP, QIE = 1 << 31, 1 << 30, 1 << 26
TESTDEV, EDU = 4, 5  # slots
PATTERN = bytes.fromhex("78563412")  # what iommu-testdev writes

ROOT, CONTEXT, DIRECTORY, PASIDS, QUEUE, STATUS, TABLES, PAGES, END = (MB + n * PAGE for n in (0, 1, 2, 3, 4, 5, 6, 22, 46))


class Machine:
    """RAM that this program maps, too, and a line protocol."""

    def __init__(self, folder):
        self.ram_file = os.memfd_create("ram")
        os.ftruncate(self.ram_file, RAM)
        self.ram = mmap.mmap(self.ram_file, RAM)
        self.ram_path = f"/proc/{os.getpid()}/fd/{self.ram_file}"
        self.tail = self.waits = 0

    def ask(self, line):
        self.output.write(line + "\n")
        self.output.flush()
        answer = self.input.readline()
        assert answer.startswith("OK"), (line, answer)
        return answer[2:].strip()

    def read32(self, offset):
        return int(self.ask(f"readl {REGISTERS + offset:#x}"), 0)

    def read64(self, offset):
        return int(self.ask(f"readq {REGISTERS + offset:#x}"), 0)

    def write32(self, offset, value):
        self.ask(f"writel {REGISTERS + offset:#x} {value:#x}")

    def write64(self, offset, value):
        self.ask(f"writeq {REGISTERS + offset:#x} {value:#x}")

    def start(self, scalable):
        self.records = (self.read64(CAP) >> 24 & 0x3ff) * 16
        self.width = 32 if scalable else 16
        self.write64(RTADDR, ROOT | (1 << 10 if scalable else 0))
        self.write32(GCMD, SRTP)
        self.write64(IQA, QUEUE | (1 << 11 if scalable else 0))
        self.write32(GCMD, QIE)
        self.write32(GCMD, QIE | TE)
        assert self.read32(GSTS) & (TE | SRTP | QIE) == TE | SRTP | QIE

    def invalidate_all(self):
        """What was cached of any table."""
        wait = self.waits = self.waits + 1
        descriptors = [(1 | 1 << 4, 0), (2 | 1 << 4, 0), (5 | 1 << 5 | wait << 32, STATUS)]
        if self.width == 32:
            descriptors.insert(1, (7 | 3 << 4, 0))
        for low, high in descriptors:
            self.ram[QUEUE + self.tail:QUEUE + self.tail + self.width] = struct.pack("<QQ", low, high).ljust(self.width, b"\0")
            self.tail = (self.tail + self.width) % PAGE
        self.write64(IQT, self.tail)
        assert struct.unpack_from("<I", self.ram, STATUS)[0] == wait, hex(self.read32(FSTS))

    def fault(self):
        """The record there is, (code, source id, is a read, PASID or None, page), which is cleared; or None."""
        status = self.read32(FSTS)
        if not status & 2:
            return None
        at = self.records + (status >> 8 & 0xff) * 16
        low, high = self.read64(at), self.read64(at + 8)
        self.write32(at + 12, 1 << 31)
        assert not self.read32(FSTS) & 3
        return (high >> 32 & 0xff, high & 0xffff, high >> 62 & 1, high >> 40 & 0xfffff if high >> 31 & 1 else None, low)


class Qemu(Machine):
    def __init__(self, folder, qemu, options):
        super().__init__(folder)
        path = str(folder / "qtest")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)
        line = [qemu, "-machine", "q35,accel=qtest,memory-backend=mem", "-nodefaults", "-display", "none", "-monitor", "none", "-m", str(RAM // MB),
                "-object", f"memory-backend-file,id=mem,mem-path={self.ram_path},size={RAM},share=on", "-qtest", f"unix:{path}", "-qtest-log", "none",
                "-device", f"intel-iommu{options}", "-device", f"iommu-testdev,addr={TESTDEV}",
                "-device", f"edu,addr={EDU},dma_mask={(1 << 64) - 1}"]
        self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        listener.settimeout(60)
        self.link = listener.accept()[0]
        self.link.settimeout(60)
        listener.close()
        self.input, self.output = self.link.makefile("r"), self.link.makefile("w")
        self.testdev = self.bar(TESTDEV, 0xe0000000)
        self.edu = self.bar(EDU, 0xe1000000)

    def bar(self, slot, address):
        for register, value in ((0x10, address), (4, 6)):
            self.ask(f"outl 0xcf8 {1 << 31 | slot << 11 | register:#x}")
            self.ask(f"outl 0xcfc {value:#x}")
        return address

    def write(self, address, length):
        """True: all of it was written."""
        for register, value in ((0x04, address & 0xffffffff), (0x08, address >> 32), (0x0c, length), (0x14, 1)):
            self.ask(f"writel {self.testdev + register:#x} {value:#x}")
        self.ask(f"readl {self.testdev:#x}")
        return int(self.ask(f"readl {self.testdev + 0x10:#x}"), 0) != 0xdead0002

    def edu_dma(self, source, destination, length, command):
        for register, value in ((0x80, source), (0x88, destination), (0x90, length), (0x98, command)):
            self.ask(f"writeq {self.edu + register:#x} {value:#x}")
        self.ask("clock_step 200000000")
        assert not int(self.ask(f"readq {self.edu + 0x98:#x}"), 0) & 1

    def read(self, address, length):
        """Into the device."""
        self.edu_dma(address, 0x40000, length, 1)

    def write_back(self, address, length):
        """What was read."""
        self.edu_dma(0x40000, address, length, 3)

    def end(self):
        self.process.kill()
        self.process.communicate()
        self.link.close()


class Ours(Machine):
    def __init__(self, folder):
        super().__init__(folder)
        self.process = subprocess.Popen([program("tests/peers/peer-vtd"), self.ram_path, hex(TESTDEV << 3), hex(EDU << 3)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.input, self.output = self.process.stdout, self.process.stdin

    def write(self, address, length):
        data = (PATTERN * (length // 4 + 1))[:length]
        return self.ask(f"dma_write 0 {address:#x} 0x{data.hex()}") == "done"

    def read(self, address, length):
        """True: it was possible. (QEMU's device does not know.)"""
        self.data = self.ask(f"dma_read 1 {address:#x} {length}")
        return self.data != "fault"

    def write_back(self, address, _):
        self.ask(f"dma_write 1 {address:#x} {self.data}")

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0


class Tables:
    """Tables at random, mostly good, and addresses that lead somewhere in them."""

    def __init__(self, seed, kind):
        self.random = random.Random(f"{kind}{seed}")
        self.kind = kind
        self.levels = 3 if kind != "first" and self.random.random() < 0.3 else 4
        self.image = bytearray(END - ROOT)
        self.context()
        pages = [list(range(TABLES + n * PAGE, PAGES, 4 * PAGE)) for n in range(4)]
        for level in range(self.levels):
            for table in pages[level]:
                for index in range(4):
                    self.put(table, index, self.entry(level, pages))
        for page in range(PAGES, END, PAGE):
            self.image[page - ROOT:page - ROOT + PAGE] = self.random.randbytes(PAGE)

    def put(self, table, index, value):
        struct.pack_into("<Q", self.image, table - ROOT + index * 8, value)

    def one_in(self, count):
        return self.random.randrange(count) == 0

    def context(self):
        top, odd = TABLES + (self.levels - 1) * PAGE, self.one_in(3)
        self.put(ROOT, 0, CONTEXT | (0 if odd and self.one_in(6) else 1) | (2 << self.random.randrange(11) if odd and self.one_in(6) else 0))
        for slot in (TESTDEV, EDU):
            devfn = slot << 3
            present = 0 if odd and self.one_in(4) else 1
            reserved = 1 << 4 if odd and self.one_in(4) else 0
            quiet = 2 if odd and not reserved and self.one_in(4) else 0
            domain = 1 + self.random.randrange(3)
            if self.kind == "legacy":
                kind = self.random.choice((0, 0, 0, 2)) if not odd else self.random.randrange(4)
                self.put(CONTEXT, devfn * 2, top | kind << 2 | reserved | quiet | present)
                self.put(CONTEXT, devfn * 2 + 1, domain << 8 | (self.levels - 2 if not odd else self.random.randrange(8)))
            else:
                self.put(CONTEXT, devfn * 4, DIRECTORY | quiet | present)
                self.put(DIRECTORY, 0, PASIDS | (0 if odd and self.one_in(6) else 1))
                mode = 4 if self.one_in(8) else 1 if self.kind == "first" else 2
                stage2 = top if mode == 2 else 0
                self.put(PASIDS, 0, stage2 | mode << 6 | (self.levels - 2) << 2 | (0 if odd and self.one_in(6) else 1))
                self.put(PASIDS, 1, domain)
                self.put(PASIDS, 2, top if mode == 1 else 0)

    def entry(self, level, pages):
        """Of a table; level 0 has pages."""
        value = 1 | 2 | (4 if self.kind == "first" else 0)
        leaf = level == 0 or (level < 3 and self.one_in(8))
        if self.one_in(10):
            value &= self.random.randrange(8)
        elif self.one_in(40):
            value |= 1 << self.random.choice((50, 51))
        if level == 3 and self.one_in(20):
            value |= 1 << 7
        if not leaf:
            return value | self.random.choice(pages[level - 1])
        if level:
            # Nothing of it is where QEMU has something else than RAM.
            return value | 1 << 7 | (self.random.randrange(1, 8) << 21 if level == 1 else 0)
        if self.one_in(12):
            return value | self.random.choice((0xfee00000, 0x7ff00000, 1 << 46, RAM))
        return value | self.random.randrange(PAGES, END, PAGE)

    def address(self):
        value = self.random.randrange(PAGE - 64)
        for level in range(self.levels):
            value |= self.random.randrange(5 if self.one_in(8) else 4) << (12 + 9 * level)
        if self.one_in(25):
            value |= 1 << self.random.randrange(39, 63)
        # What is there without tables, too.
        return self.random.randrange(PAGES, END, PAGE) | value % PAGE if self.one_in(10) else value


# In scalable mode QEMU has legacy codes for what root and context entries and the second stage say.
SCALABLE = {1: {0x39}, 2: {0x41}, 3: {0x43}, 8: {0x38}, 9: {0x40}, 0xa: {0x3a}, 0xb: {0x42},
            4: {0x84}, 5: {0x79, 0x85}, 6: {0x79, 0x86}, 0xc: {0x7a}}
# What comes up at least.
CODES = {
    "legacy": {None, 0x1, 0x2, 0x3, 0x4, 0x5, 0x6, 0xa, 0xb, 0xc, 0xe},
    "second": {None, 0x39, 0x41, 0x51, 0x59, 0x79, 0x7a, 0x83, 0x84, 0x85, 0x86, 0x87},
    "first": {None, 0x39, 0x3a, 0x41, 0x51, 0x59, 0x71, 0x72, 0x80, 0x81, 0x83, 0x85, 0x87},
}
KINDS = {"legacy": "", "second": ",scalable-mode=on", "first": ",scalable-mode=on,fsts=on"}
SEEDS, ACCESSES = 60, 20


def same(kind, qemus, ours):
    """Are two results the same, or two records?"""
    if isinstance(ours, tuple) and not qemus:
        return ours[0] in (0x04, 0x83) and ours[4] >> 48  # beyond all addresses, passing through: QEMU records nothing
    if not isinstance(qemus, tuple) or not isinstance(ours, tuple):
        return qemus == ours
    codes = {qemus[0]} if kind == "legacy" else SCALABLE.get(qemus[0], {qemus[0]})
    # QEMU judges permissions entry by entry, on the way to one that is absent or has reserved bits.
    if qemus[0] in (5, 6):
        codes = codes | ({0xc} if kind == "legacy" else {0x7a})
    if qemus[0] in (0x81, 0x85):
        codes = codes | {0x71, 0x72, 0x81}
    return ours[0] in codes and qemus[1:] == ours[1:]


def same_tables(kind, qemus, ours):
    """Bits that are accessed and dirty bits: QEMU leaves out some, such as a dirty bit where the page was accessed before."""
    if kind != "first" or qemus == ours:
        return qemus == ours
    theirs, mine = (int.from_bytes(memory, "little") for memory in (qemus, ours))
    bits = int.from_bytes(b"\x60\0\0\0\0\0\0\0" * (len(ours) // 8), "little")
    return theirs | bits == mine | bits and not theirs & ~mine


def forget(tables, machines):
    """QEMU's IOTLB does not always say what the tables say: it lets writes through that only a page's own entry permits."""
    machines[0].invalidate_all()
    if tables.one_in(2):
        machines[1].invalidate_all()


def one_access(tables, machines):
    """Of each, whether a write was possible, and the records."""
    address, length = tables.address(), tables.random.randrange(1, 64)
    forget(tables, machines)
    if tables.one_in(2):
        results = [(machine.write(address, length), machine.fault()) for machine in machines]
        return f"write {address:#x}, {length} bytes", results
    possible = [machine.read(address, length) for machine in machines][1]
    records = [machine.fault() for machine in machines]
    into = tables.address()
    forget(tables, machines)
    for machine in machines:
        if possible:
            machine.write_back(into, length)
    return f"read {address:#x} to {into:#x}, {length} bytes", [(record, machine.fault()) for record, machine in zip(records, machines)]


def compare(qemu, ours, seed, kind):
    """Our fault codes that came up; None: there was an access without a fault."""
    tables = Tables(seed, kind)
    seen = set()
    for machine in (qemu, ours):
        machine.ram[:] = bytes(RAM)
        machine.ram[ROOT:END] = bytes(tables.image)
        machine.invalidate_all()
    for number in range(ACCESSES):
        what, results = one_access(tables, (qemu, ours))
        what = f"{kind}, seed {seed}, access {number}: {what}"
        assert all(same(kind, *pair) for pair in zip(*results)), f"{what}: {results}"
        seen |= {result[0] if isinstance(result, tuple) else None for result in results[1]}
        assert same_tables(kind, qemu.ram[TABLES:PAGES], ours.ram[TABLES:PAGES]), what
    for machine in (qemu, ours):
        machine.ram[ROOT:PAGES] = bytes(PAGES - ROOT)  # has been compared
    assert qemu.ram[:] == ours.ram[:], f"{kind}, seed {seed}"
    return seen


@pytest.fixture(scope="module")
def qemu():
    if os.uname().machine != "x86_64":
        pytest.skip("QEMU for x86-64 is got for x86-64 machines")
    done = subprocess.run([TOP / "src/cli/vm/vm-setup"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip((done.stderr.strip() or "vm-setup failed").splitlines()[-1])
    return pathlib.Path(done.stdout.strip()) / "qemu"


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_as_behind_qemus(qemu, tmp_path, kind):
    with contextlib.ExitStack() as stack:
        machines = Qemu(tmp_path, qemu, KINDS[kind]), Ours(tmp_path)
        for machine in machines:
            stack.callback(machine.end)
            machine.start(kind != "legacy")
        seen = set()
        for seed in range(min(int(os.environ.get("UIOMMU_TEST_SCALE", "1")), 10) * SEEDS):
            seen |= compare(*machines, seed, kind)
        assert not CODES[kind] - seen, [hex(code) for code in CODES[kind] - seen if code]

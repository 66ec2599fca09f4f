# SPDX-License-Identifier: BSD-3-Clause
"""uiommu run --check: what it says of memory that goes while it is mapped for DMA (takes_away.c), and of its use."""

import contextlib
import fcntl
import os
import re
import subprocess
import time

import huge
import pytest

from conftest import PAGE

OK = 0
IOVA = 1 << 24
TOLD = re.compile(r"uiommu: \[\d+ takes-away(?:-stat)?\] (.*)")
GONE = re.compile(r"0x([0-9a-f]+)-0x([0-9a-f]+), mapped for DMA at IOVA 0x([0-9a-f]+)-0x([0-9a-f]+), was (unmapped|moved|thrown away|cut off its file|cut out of its file) \(")
USED = re.compile(r"a device (read|wrote|could not read|could not write) 0x([0-9a-f]+) \(IOVA 0x([0-9a-f]+)\), "
                  r"which is mapped for DMA and (was unmapped|was moved|was thrown away|was cut off its file|was cut out of its file|is not there any more|is protected now|"
                  r"is another file's than it was)")
GONE_FILE = re.compile(r"what is mapped for DMA at IOVA 0x([0-9a-f]+)-0x([0-9a-f]+), by a descriptor, was (cut off its file|cut out of its file) \(")
UNWATCHED = re.compile(r"0x([0-9a-f]+)-0x([0-9a-f]+), mapped for DMA at IOVA 0x([0-9a-f]+)-0x([0-9a-f]+), is not watched \((.*?)\): ")
LEFT_OUT = re.compile(r"uiommu: (\d+) more lines were left out")
LATER = "is not watched any more: the program has a userfaultfd of its own for it"

THIRD, LAST, ALL = (2, 3), (2, 8), (0, 8)


def went(how, pages=THIRD):
    return ("went", how, *pages)


def went_of_file(how, pages=THIRD):
    return ("went, by a descriptor", how, *pages)


def used(what, why, page=2):
    return ("used", what, why, page)


def not_watched(why):
    return ("not watched", why)


# What is said, and whether the device could read and write what is there then.
WAYS = {
    "nothing": ([], True),
    "munmap": ([went("unmapped"), used("could not read", "was unmapped")], False),
    "munmap-mmap": ([went("unmapped"), used("read", "was unmapped")], True),
    "mmap": ([went("unmapped"), used("read", "was unmapped")], True),
    "shared": ([went("unmapped"), used("read", "was unmapped")], True),
    "memfd": ([went("unmapped"), used("read", "was unmapped")], True),
    "readable-file": ([not_watched("it may only be read, and is a file's"), used("read", "is another file's than it was")], True),
    "move": ([went("moved"), used("could not read", "was moved")], False),
    "move-pages": ([went("moved"), used("read", "was moved")], True),
    "shrink": ([went("unmapped", LAST), used("could not read", "was unmapped")], False),
    "dontneed": ([went("thrown away"), used("read", "was thrown away")], True),
    "free": ([went("thrown away"), used("read", "was thrown away")], True),
    "remove": ([went("cut out of its file"), used("read", "was cut out of its file")], True),
    "process-madvise": ([went("thrown away"), used("read", "was thrown away")], True),
    "brk": ([went("unmapped", LAST), used("could not read", "was unmapped")], False),
    "stack": ([went("thrown away", (0, 8)), used("read", "was thrown away")], True),
    "malloc": ([went("unmapped", (0, 8)), used("could not read", "was unmapped")], False),
    "sandbox": ([("went", "unmapped", 8, 9), used("could not read", "was unmapped")], False),
    # Of these the kernel says nothing: they are noticed when they are used.
    "guards": ([used("could not read", "is not there any more")], False),
    "mprotect": ([used("could not read", "is protected now")], False),
    "shmdt": ([used("could not read", "is not there any more")], False),
    "shmdt-shmat": ([used("read", "is another file's than it was")], True),
    # Of files the program tells, whose mapping it is.
    "truncate": ([went("cut off its file", ALL), used("could not read", "was cut off its file")], False),
    "truncate-within": ([went("cut off its file", LAST), used("could not read", "was cut off its file")], False),
    "truncate-private": ([went("cut off its file", ALL), used("could not read", "was cut off its file")], False),
    "truncate-name": ([went("cut off its file", LAST), used("could not read", "was cut off its file")], False),
    "open": ([went("cut off its file", ALL), used("could not read", "was cut off its file")], False),
    "hole": ([went("cut out of its file"), used("read", "was cut out of its file")], True),
    "hole-half": ([went("cut out of its file"), used("read", "was cut out of its file")], True),
    "hole-child": ([went("cut out of its file"), used("read", "was cut out of its file")], True),
    "remove-elsewhere": ([went("cut out of its file"), used("read", "was cut out of its file")], True),
    # What is mapped by a descriptor: of its use nothing is known.
    "truncate-file": ([went_of_file("cut off its file", ALL)], False),
    "hole-file": ([went_of_file("cut out of its file")], True),
    "remove-file": ([went_of_file("cut out of its file")], True),
    # Nothing has gone that a device with pinned pages would have.
    "length": ([], True),
    "hole-nowhere": ([], True),
    "dontneed-shared": ([], True),
    # And this is not noticed at all: docs/run.md.
    "hole-private": ([], True),
    # Of huge pages, of one of which a part is mapped.
    "huge": ([went("unmapped", ALL), used("could not read", "was unmapped")], False),
    "huge-dontneed": ([went("thrown away", ALL), used("read", "was thrown away")], True),
    "huge-shared": ([went("unmapped", ALL), used("could not read", "was unmapped")], False),
    "huge-dontneed-shared": ([], True),
    "huge-hole": ([went("cut out of its file", ALL), used("read", "was cut out of its file")], True),
    # As with pinned pages: the parent has them, and the device's.
    "fork": ([], True),
    "watched": ([not_watched("it has a userfaultfd already")], True),
    "watches-later": ([("left",)], True),
}


def understand(line, start):
    told = TOLD.fullmatch(line)
    assert told, line
    if (match := GONE.match(told[1])):
        first, end, iova, iova_end = (int(match[i], 16) for i in range(1, 5))
        assert iova_end - iova == end - first
        # By its IOVA: some of it is mapped twice.
        return ("went", match[5], (iova - IOVA) // PAGE, (iova_end - IOVA) // PAGE)
    if (match := GONE_FILE.match(told[1])):
        return ("went, by a descriptor", match[3], *((int(match[i], 16) - IOVA) // PAGE for i in (1, 2)))
    if (match := USED.match(told[1])):
        address, iova = int(match[2], 16), int(match[3], 16)
        assert address - start == iova - IOVA
        return ("used", match[1], match[4], (iova - IOVA) // PAGE)
    if (match := UNWATCHED.match(told[1])):
        return ("not watched", match[5])
    assert told[1].endswith(LATER), line
    return ("left",)


@pytest.fixture(scope="session")
def program(staged):
    return os.path.join(staged, "takes-away")


@pytest.fixture(scope="module")
def huge_pages():
    """A few, made when they are needed, which only root can permit. Without them the program says so."""
    with huge.pages(huge.ON_DEMAND, 4):
        yield


@pytest.fixture
def take_away(run, program, sessions):
    """What the program says of what the device did, and what was said of it."""

    def take(way, *options, program=program, environment=None):
        ended = run("run", "--mock", "--check", *options, "--", program, way, env={**sessions.environment, **(environment or {})})
        assert ended.status == OK, ended.err
        for reason in ("not in this kernel", "no huge pages"):
            if reason in ended.out:
                pytest.skip(f"{way}: {reason}")
        start, *did, last = ended.out.splitlines()
        assert last == "ok"
        return int(start, 16), did, ended.err.splitlines()

    return take


@pytest.mark.parametrize("way", WAYS)
def test_ways(take_away, huge_pages, way):  # pylint: disable=unused-argument
    expected, could = WAYS[way]
    start, did, lines = take_away(way)
    assert [understand(line, start) for line in lines] == expected
    assert {line.split()[1] for line in did} == {"done" if could else "failed"}


def test_write_protection(take_away):
    """What can still be read is no news."""
    start, did, lines = take_away("write-protection")
    assert did == ["read done", "read done", "write failed"]
    assert [understand(line, start) for line in lines] == [used("could not write", "is protected now")]


def test_private_file(take_away):
    """Since Linux 6.7 they are watched."""
    start, did, lines = take_away("private-file")
    assert did == ["read done", "read done", "write done"]
    told = [understand(line, start) for line in lines]
    assert told in ([went("unmapped"), used("read", "was unmapped")],
                    [not_watched("the kernel watches no memory of that kind"), used("read", "is another file's than it was")])


def test_quiet(run, program, sessions):
    """Nobody asks, nobody is told."""
    for way in ("munmap", "mmap", "watched"):
        ended = run("run", "--mock", "--", program, way, env=sessions.environment)
        assert (ended.status, ended.err) == (OK, "")


@pytest.mark.parametrize("way, expected", [("munmap", [used("could not read", "is not there any more")]), ("mmap", []),
                                           ("shmdt-shmat", WAYS["shmdt-shmat"][0]), ("mprotect", WAYS["mprotect"][0])])
@pytest.mark.parametrize("static", [False, True], ids=["without", "static"])
def test_without_userfaultfd(take_away, program, way, expected, static):
    """Then one line says so, and what a device meets is reported all the same."""
    if static:
        start, _, lines = take_away(way, program=f"{program}-static")
        why = "nothing is preloaded into it"
    else:
        start, _, lines = take_away(way, environment={"UIOMMU_WITHOUT": "userfaultfd"})
        why = "Operation not supported"
    assert f"] what it maps for DMA is not watched ({why}): " in lines[0]
    assert [understand(line, start) for line in lines[1:]] == expected


@pytest.mark.parametrize("way, static, expected", [("hole", False, WAYS["hole"][0]), ("truncate", False, WAYS["truncate"][0]),
                                                   ("hole", True, []), ("truncate", True, [used("could not read", "is not there any more")])])
def test_files_without_userfaultfd(take_away, program, way, static, expected):
    """What goes from files the shim tells, and where there is none, nobody does."""
    if static:
        start, _, lines = take_away(way, program=f"{program}-static")
    else:
        start, _, lines = take_away(way, environment={"UIOMMU_WITHOUT": "userfaultfd"})
    assert "] what it maps for DMA is not watched (" in lines[0]
    assert [understand(line, start) for line in lines[1:]] == expected


def test_trace(take_away, tmp_path_factory, sessions):  # pylint: disable=unused-argument
    """The same lines, between the calls."""
    trace = sessions.runtime / "trace"
    _, _, lines = take_away("mmap", "--trace", trace)
    written = [line.split(" ", 1)[1] for line in trace.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 2
    assert [line for line in written if " takes-away] " in line] == [line.removeprefix("uiommu: ") for line in lines]
    assert "IOAS_MAP" in written[written.index(lines[0].removeprefix("uiommu: ")) - 1]
    assert any(re.search(r"IOMMU_TEST_CMD, \{op=ACCESS_RW, id=4, iova=0x1002000, length=0x1, uptr=0x[0-9a-f]+, flags=WRITE\}\) = 0", line)
               for line in written)


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def userfaultfds(pid):
    count = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"/proc/{pid}/fd/{name}") == "anon_inode:[userfaultfd]"
    return count


def test_loop(run, program, sessions):
    """A hundred thousand maps and unmaps take no more descriptors than one."""
    with run.start("run", "--mock", "--check", "--", program, "loop", "100000", stdin=subprocess.PIPE, env=sessions.environment) as process:
        assert process.stdout.readline() == "begun\n"
        # The connection that has asked for the process may not have ended yet.
        pid = sessions.daemon_pid()
        before = descriptors(pid)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"
        assert descriptors(pid) <= before and userfaultfds(pid) == 1
        _, err = process.communicate("\n")
        assert process.returncode == OK
    assert [understand(line, 0) for line in err.splitlines()] == [went("unmapped", (0, 1))]


@pytest.mark.skipif(os.getuid(), reason="an ordinary user may not lock so much memory")
def test_pieces(run, program, sessions):
    """There is a limit, so that the program's own mappings do not run into the kernel's; it is said once."""
    ended = run("run", "--mock", "--check", "--", program, "pieces", "17000", env=sessions.environment,
                user=0, group=0, extra_groups=[])
    assert ended.status == OK
    limits = [line for line in ended.err.splitlines() if " so many pieces are watched, and no more than 16384: " in line]
    assert len(limits) == 1


def test_rate(run, program, sessions):
    """All of it is said or counted, and not more than so much a second."""
    begun = time.monotonic()
    ended = run("run", "--mock", "--check", "--", program, "often", "1000", env=sessions.environment)
    seconds = time.monotonic() - begun
    lines = ended.err.splitlines()
    left_out = sum(int(match[1]) for line in lines if (match := LEFT_OUT.fullmatch(line)))
    said = [understand(line, 0)[0] for line in lines if not LEFT_OUT.fullmatch(line)]
    assert ended.status == OK and set(said) == {"went"}
    assert len(said) + left_out == 1000
    assert len(said) <= 64 + 16 * (seconds + 1)


def test_reader_who_does_not_read(run, program, sessions):
    """Nobody waits for him."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with run.start("run", "--mock", "--check", "--", program, "often", "200", stderr=writer, env=sessions.environment) as process:
        os.close(writer)
        assert process.wait() == OK
    with os.fdopen(reader, encoding="utf-8") as pipe:
        assert TOLD.fullmatch(pipe.readline().rstrip())


def test_device(run, staged, sessions):
    """By its place, with what it did."""
    ended = run("run", "--check", "--device", "accel,bdf=0000:05:00.0", "--", os.path.join(staged, "dma-driver"), "replaced",
                env=sessions.environment)
    assert (ended.status, ended.out) == (OK, "ok\n")
    lines = ended.err.splitlines()
    assert len(lines) == 2 and ", was unmapped (munmap, mmap or brk): " in lines[0]
    assert re.match(r"uiommu: \[\d+ dma-driver\] 0000:05:00\.0 wrote 0x[0-9a-f]+ \(IOVA 0x10[0-9a-f]+\), which is mapped for DMA and was unmapped",
                    lines[1])


def test_map_and_unmap_registers(run, staged, sessions):
    """Registers that are mapped and unmapped again and again take no more descriptors than one mapping."""
    with run.start("run", "--device", "accel", "--", os.path.join(staged, "dma-driver"), "idle", "3000", stdin=subprocess.PIPE,
                   env=sessions.environment) as process:
        counts = []
        for i in range(3):
            assert process.stdout.readline() == "idle\n"
            if not i:
                pid = sessions.daemon_pid()
            counts.append(descriptors(pid))
            assert userfaultfds(pid) == 1
            process.stdin.write("\n")
            process.stdin.flush()
        out, err = process.communicate()
        assert (process.returncode, out, err) == (OK, "ok\n", "")
        assert counts[0] >= max(counts)

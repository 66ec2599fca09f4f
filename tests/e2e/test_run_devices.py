# SPDX-License-Identifier: BSD-3-Clause
"""uiommu run: drivers in user space (nvme_driver.c, dma_driver.c, tables_driver.c, tables_thread.c), with the shim in them and not."""

import os
import pathlib
import platform
import re
import signal
import subprocess

import pytest

from conftest import ORDINARY, children

OK = 0
MAPPED = platform.machine() == "x86_64"
STATIC = pytest.mark.parametrize("static", [False, True], ids=["preloaded", "static"])


@pytest.fixture
def disk(sessions):
    path = sessions.runtime / "disk"
    path.write_bytes(bytes(4 << 20))
    if "user" in ORDINARY:
        os.chown(path, ORDINARY["user"], ORDINARY["group"])
    return path


@pytest.fixture
def drive(run, staged, sessions):
    """Start a case of a driver, for a device, or several."""

    def start(device, program, static, *case):
        path = os.path.join(staged, f"{program}-static" if static else program)
        devices = [device] if isinstance(device, str) else device
        options = [word for each in devices for word in ("--device", each)]
        return run.start("run", *options, "--", path, *case, stdin=subprocess.PIPE, env=sessions.environment)

    return start


@pytest.fixture
def nvme(drive, disk):
    return lambda *case: drive(f"nvme,file={disk}", "nvme-driver", *case)


@pytest.fixture
def accel(drive):
    return lambda *case: drive("accel", "dma-driver", *case)


def finish(process):
    out, err = process.communicate()
    return process.returncode, out, err


def test_places(run, staged, sessions):  # pylint: disable=unused-argument
    """A device whose place is asked for has it, and the others are where nobody wants to be."""
    devices = ["accel", "nvme,size=1M,bdf=0000:01:00.0", "accel", "nvme,size=1M,bdf=03:00.0"]
    look = 'for function in /sys/bus/pci/devices/*; do echo ${function##*/} $(cat $function/class); done'
    done = run("run", *[word for device in devices for word in ("--device", device)], "--", "sh", "-c", look, env=sessions.environment)
    kinds = [(place, kind == "0x010802") for place, kind in (line.split() for line in done.out.splitlines())]
    assert kinds == [("0000:01:00.0", True), ("0000:02:00.0", False), ("0000:03:00.0", True), ("0000:04:00.0", False)], done.err


def test_a_place_that_two_want(run, staged, sessions):  # pylint: disable=unused-argument
    done = run("run", "--device", "accel,bdf=02:00.0", "--device", "nvme,size=1M,bdf=02:00.0", "--", "true", env=sessions.environment)
    assert done.status and "there is another device at 0000:02:00.0" in done.err


@STATIC
@pytest.mark.parametrize("case", ["io", "execs", "threads", "groups"])
def test_nvme(nvme, sessions, disk, static, case):
    assert finish(nvme(static, case)) == (OK, "ok\n", "")
    # The pattern of the last one on queue 1 or 2, whose first block has been made zeroes.
    queue, seed = {"io": (2, 7), "execs": (1, 2), "threads": (1, 50), "groups": (2, 4)}[case]
    want = bytes((i * 31 + i // 251 + seed) % 256 for i in range(32768))
    assert disk.read_bytes()[queue * 32768:][:32768] == bytes(512) + want[512:]
    if static:
        assert sessions.folders() == []


@STATIC
@pytest.mark.parametrize("tables", ["vtd", "arm", "amd"])
def test_tables_by_address(drive, static, tables):
    """A guest's page table in anonymous memory of the program, which is mapped by its address."""
    assert finish(drive("dsa", "tables-driver", static, "walks", tables)) == (OK, "ok\n", "")


@pytest.mark.parametrize("tables", ["vtd", "arm", "amd"])
@pytest.mark.parametrize("case", ["bits", "races", "taken", "taken-meanwhile", "many"])
def test_bits_by_address(drive, case, tables):
    """Accessed and dirty bits of such a table are set in the program, by a thread of the shim."""
    devices = "dsa" if case != "many" else ["dsa"] * 4
    assert finish(drive(devices, "tables-driver", False, case, tables)) == (OK, "ok\n", "")


THREAD = ["children", "outlives", "nothing-made", "apart", "sent", "closes", "ends", "killed",
          "stopped continued", "stopped killed", "stuck continued", "stuck killed",
          "forbidden-before", "forbidden-then", "forbidden-thread", "forbidden-later"]


@pytest.mark.parametrize("tables", ["vtd", "arm", "amd"])
@pytest.mark.parametrize("case", THREAD)
def test_bits_by_address_thread(drive, case, tables):
    """And it is in nobody's way."""
    name, *how = case.split()
    assert finish(drive("dsa", "tables-thread", False, name, tables, *how)) == (OK, "ok\n", "")


def test_bits_by_address_of_a_bound_table(drive):
    assert finish(drive("dsa", "tables-thread", False, "bound")) == (OK, "ok\n", "")


def test_bits_by_address_and_no_shim(drive):
    assert finish(drive("dsa", "tables-driver", True, "refused", "vtd")) == (OK, "ok\n", "")


@STATIC
def test_trace(run, staged, sessions, static):
    """What structs lead to, which file a descriptor is that a call takes, and where in a device's file an access is."""
    trace = sessions.runtime / "trace"
    driver = os.path.join(staged, "tables-driver-static" if static else "tables-driver")
    ended = run("run", "--device", "dsa", "--trace", trace, "--", driver, "walks", "vtd", env=sessions.environment)
    assert (ended.status, ended.out, ended.err) == (OK, "ok\n", "")
    calls = [re.sub(r"<\d+:", "<N:", line).split("] ", 1)[1].rsplit(" <", 1)[0]
             for line in trace.read_text(encoding="utf-8").splitlines()]
    device, iommu = "<N:/dev/vfio/devices/vfio0>", "<N:/dev/iommu>"
    for call in (f'open("/dev/vfio/devices/vfio0", O_RDWR) = {device}',
                 f"ioctl({device}, VFIO_DEVICE_BIND_IOMMUFD, {{argsz=24, flags=0, iommufd=3{iommu}, token_uuid_ptr=0}} => {{out_devid=1}}) = 0",
                 f"ioctl({device}, VFIO_DEVICE_ATTACH_IOMMUFD_PT, {{argsz=12, flags=0, pt_id=2}} => {{pt_id=3}}) = 0",
                 f"write({device}, 0x0006, 2, CONFIG+0x4) = 2",
                 f"ioctl({iommu}, IOMMU_HWPT_ALLOC, {{flags=0, dev_id=1, pt_id=4, data_type=VTD_S1, data_len=24, "
                 "data_uptr={flags=0, pgtbl_addr=0x1006000, addr_width=48}, fault_id=0} => {out_hwpt_id=5}) = 0",
                 f"ioctl({iommu}, IOMMU_HWPT_INVALIDATE, {{hwpt_id=5, "
                 "data_uptr=[{addr=0, npages=18446744073709551615, flags=0, pasid=0}], data_type=UIOMMU, entry_len=24, entry_num=1}) = 0"):
        assert call in calls, call


@pytest.mark.parametrize("static, how", [(False, "maps"), (True, "inherits"), (True, "maps")])
def test_forks(nvme, sessions, static, how):
    """Writes of a child to what it has inherited are not caught by the shim, but seen by the timer."""
    assert finish(nvme(static, "forks", how)) == (OK, "ok\n", "")


@STATIC
@pytest.mark.parametrize("seed", range(4))
def test_killed_driver(nvme, sessions, static, seed):
    """kill -9 at any moment, and the device is free, and works, before the next request is answered."""
    assert finish(nvme(static, "killed", str(seed))) == (OK, "ok\n", "")


@pytest.mark.parametrize("case", [["io"], ["execs"], ["forks", "maps"]], ids=" ".join)
def test_stopped(run, staged, sessions, disk, case):
    """A program that has the shim may be stopped all the same."""
    ended = run("run", "--static", "--device", f"nvme,file={disk}", "--", os.path.join(staged, "nvme-driver"), *case,
                env=sessions.environment)
    assert (ended.status, ended.out, ended.err) == (OK, "ok\n", "")


def switches(pid):
    """How often each thread has begun to wait, or was made to."""
    counts = {}
    for task in pathlib.Path("/proc", str(pid), "task").iterdir():
        status = dict(line.split(":\t", 1) for line in (task / "status").read_text(encoding="utf-8").splitlines())
        counts[task.name] = int(status["voluntary_ctxt_switches"])
    return counts


@STATIC
def test_accel(accel, static):
    assert finish(accel(static, "doorbells")) == (OK, "ok\n", "")


def test_accel_forks(accel):
    assert finish(accel(True, "forks")) == (OK, "ok\n", "")


@STATIC
def test_dsa(drive, static):
    """Writes to portals are descriptors. Without the shim in a program its registers cannot be mapped."""
    assert finish(drive("dsa", "dma-driver", static, "portals", "calls" if static or not MAPPED else "maps")) == (OK, "ok\n", "")


@STATIC
@pytest.mark.parametrize("case", ["replaces", "faults"])
def test_dsa_in_an_iommufd(drive, static, case):
    """What it is attached to is replaced while it is at work; it asks for pages, and the program answers."""
    assert finish(drive("dsa", "dma-driver", static, case)) == (OK, "ok\n", "")


@pytest.mark.skipif(not MAPPED, reason="registers are mapped on x86-64 only")
@pytest.mark.parametrize("case", ["works", "copies", "handlers", "mappings", "changes", "parts", "at-once", "keys"])
def test_mapped_registers(drive, case):
    assert finish(drive("dsa", "mapped-driver", False, case)) == (OK, "ok\n", "")


@pytest.mark.skipif(not MAPPED, reason="registers are mapped on x86-64 only")
@pytest.mark.parametrize("how", ["unknown", "read-only", "sent"])
def test_mapped_registers_and_death(drive, how):
    status, out, err = finish(drive("dsa", "mapped-driver", False, "dies", how))
    assert (status, out) == (-signal.SIGSEGV, "")
    assert ("accessed by an instruction that is not known, at 0x" in err) == (how == "unknown")


def moved(pid, clock):
    """Threads of a process that have run while those of another one have 200 times."""
    was, began = switches(pid), sum(switches(clock).values())
    while sum(switches(clock).values()) < began + 200:
        pass
    return [task for task, count in switches(pid).items() if count != was.get(task)]


def settled(pid, clock, count):
    """Whoever has worked goes to sleep; after that @count threads still run."""
    return any(len(moved(pid, clock)) == count for _ in range(50))


def skip_if_watched(run):
    if b"__tsan_" in pathlib.Path(run.program).read_bytes():
        pytest.skip("ThreadSanitizer has a thread of its own, which does run")


DEVICES = pytest.mark.parametrize("device", ["nvme", "accel"])


@DEVICES
def test_idle(request, run, device):
    """While a mapped device has nothing to do, the timer's thread looks, and no other thread runs at all."""
    skip_if_watched(run)
    with request.getfixturevalue(device)(True, "idle") as process:
        for _ in range(3):
            assert process.stdout.readline() == "idle\n"
            (session,) = children(process.pid)
            assert settled(session, session, 1)
            process.stdin.write("\n")
            process.stdin.flush()
        assert finish(process) == (OK, "ok\n", "")


@pytest.mark.parametrize("device, how", [("nvme", []), ("nvme", ["looks"]), ("accel", []), ("accel", ["1000"])])
def test_idle_preloaded(request, run, sessions, accel, device, how):
    """Where writes can be caught, nothing runs, however often registers have been mapped and unmapped, and whoever can read them."""
    skip_if_watched(run)
    if tuple(int(part) for part in platform.release().split(".")[:2]) < (5, 19):
        pytest.skip("this kernel cannot catch writes to files that are mapped")
    with request.getfixturevalue(device)(False, "idle", *how) as process:
        assert process.stdout.readline() == "idle\n"
        daemon = sessions.daemon()
        facts = pathlib.Path("/proc/self/fdinfo", str(daemon)).read_text(encoding="utf-8")
        pid = int(next(line for line in facts.splitlines() if line.startswith("Pid:")).split()[1])
        os.close(daemon)
        # A session that has the timer, as a clock.
        with accel(True, "idle") as clock:
            assert clock.stdout.readline() == "idle\n"
            (ticking,) = children(clock.pid)
            for line in ("idle\n", "idle\n", "ok\n"):
                assert settled(pid, ticking, 0)
                process.stdin.write("\n")
                process.stdin.flush()
                assert process.stdout.readline() == line
            assert finish(process) == (OK, "", "")
            clock.communicate("\n\n\n")

# SPDX-License-Identifier: BSD-3-Clause
"""uiommu run: drivers in user space (nvme_driver.c, dma_driver.c) that map registers, with the shim in them and without."""

import os
import pathlib
import subprocess

import pytest

from conftest import ORDINARY

OK = 0
STATIC = pytest.mark.parametrize("static", [False, True], ids=["preloaded", "static"])


@pytest.fixture
def disk(sessions):
    path = sessions.runtime / "disk"
    path.write_bytes(bytes(4 << 20))
    if ORDINARY:
        os.chown(path, ORDINARY["user"], ORDINARY["group"])
    return path


@pytest.fixture
def drive(run, staged, sessions):
    """Start a case of a driver, for a device."""

    def start(device, program, static, *case):
        path = os.path.join(staged, f"{program}-static" if static else program)
        return run.start("run", "--device", device, "--", path, *case, stdin=subprocess.PIPE, env=sessions.environment)

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


@STATIC
@pytest.mark.parametrize("case", ["io", "execs", "threads"])
def test_nvme(nvme, sessions, disk, static, case):
    assert finish(nvme(static, case)) == (OK, "ok\n", "")
    # The pattern of the last one on queue 1 or 2, whose first block has been made zeroes.
    queue, seed = {"io": (2, 7), "execs": (1, 2), "threads": (1, 50)}[case]
    want = bytes((i * 31 + i // 251 + seed) % 256 for i in range(32768))
    assert disk.read_bytes()[queue * 32768:][:32768] == bytes(512) + want[512:]
    if static:
        assert sessions.folders() == []


@pytest.mark.parametrize("static, how", [(False, "maps"), (True, "inherits"), (True, "maps")])
def test_forks(nvme, sessions, static, how):
    """Writes of a child to what it has inherited are not caught by the shim, but seen by the timer."""
    assert finish(nvme(static, "forks", how)) == (OK, "ok\n", "")


@STATIC
@pytest.mark.parametrize("seed", range(4))
def test_killed_driver(nvme, sessions, static, seed):
    """kill -9 at any moment, and the device is free, and works, before the next request is answered."""
    assert finish(nvme(static, "killed", str(seed))) == (OK, "ok\n", "")


def switches(process):
    """How often each thread has begun to wait, or was made to."""
    counts = {}
    for task in pathlib.Path("/proc", str(process.pid), "task").iterdir():
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
    """Portals cannot be mapped; writes are descriptors."""
    assert finish(drive("dsa", "dma-driver", static, "portals")) == (OK, "ok\n", "")


@pytest.mark.parametrize("device", ["nvme", "accel"])
def test_idle(request, run, device):
    """While a mapped device has nothing to do, the timer's thread looks, and no other thread runs at all."""
    if b"__tsan_" in pathlib.Path(run.program).read_bytes():
        pytest.skip("ThreadSanitizer has a thread of its own, which does run")
    with request.getfixturevalue(device)(True, "idle") as process:
        for _ in range(3):
            assert process.stdout.readline() == "idle\n"
            # Whoever has worked goes to sleep; after that all stand still but for one.
            for _ in range(50):
                was = switches(process)
                while sum(switches(process).values()) < sum(was.values()) + 200:
                    pass
                now = switches(process)
                moved = [task for task in now if now[task] != was.get(task)]
                if len(moved) == 1:
                    break
            assert len(moved) == 1
            process.stdin.write("\n")
            process.stdin.flush()
        assert finish(process) == (OK, "ok\n", "")

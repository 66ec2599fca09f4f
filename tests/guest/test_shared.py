# SPDX-License-Identifier: BSD-3-Clause
"""Two guests, each with a virtual device of one accelerator: the same PASIDs in both at the same time, and the end of one in mid-DMA."""

import concurrent.futures
import os
import pathlib
import re
import select
import signal
import struct
import sys

import guest
import pytest
from test_accel import driver, passes
from test_look import ask, walk

sys.path.append(str(guest.TOP / "tests/peers"))
import vfio_user  # noqa: E402

__all__ = ["driver"]
PROGRAMS = [guest.program(f"guest/tests/accel-{name}") for name in ("many", "steady", "sva")]


@pytest.fixture
def pair(tools, driver, tmp_path, monkeypatch):
    """Two guests that share an accelerator; their sockets are in a folder of their own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    machines = [guest.Machine(tools, "accel,pages=8,parent=lab", *more, modules=[driver], programs=PROGRAMS, memory="256M")
                for more in ((), ("copier",))]
    with machines[0], machines[1]:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(guest.Machine.boot, machines))
        yield machines
        keeper = os.pidfd_open(guest.children(process_with(tmp_path / "uiommu-vm/accel-lab"))["uiommu-keeper"])
    # The last guest has gone, and so does the accelerator.
    select.select([keeper], [], [])
    os.close(keeper)
    assert not os.listdir(tmp_path / "uiommu-vm")


def process_with(path):
    """Who listens at this socket, and has begun the others there."""
    inodes = [line.split()[6] for line in pathlib.Path("/proc/net/unix").read_text().splitlines() if line.endswith(f" {path}")]
    assert inodes
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) == f"socket:[{inodes[0]}]" for fd in (folder / "fd").iterdir()):
                return int(folder.name)
        except OSError:
            continue
    raise AssertionError(path)


def steady(machine, seed):
    """Begun, and busy."""
    job = machine.start(f"accel-steady {seed} /enough")
    job.until("turn 2$")
    return job


def goes_on(job):
    """It is in the middle of turns that began after this was called."""
    turn = max(int(re.search(r"turn (\d+)$", line)[1]) for line in job.lines)
    job.until(f"turn {turn + 2}$")


def place(job):
    return re.match(r"PASID 1 at (0x[0-9a-f]+),", job.lines[0])[1]


def test_one_ends_in_mid_dma(pair):
    """Killed, with its server, or reset: of the other one all is as it should be."""
    one, other = pair
    jobs = [each.start("accel-many 4 1") for each in pair]
    assert [job.output() for job in jobs] == [["4 processes, 1 times, PASIDs up to 4", "passed"]] * 2
    assert ask("ls", "--vm").count("accel,pages=8,parent=lab") == 2
    left, right = steady(one, 1), steady(other, 2)
    for machine, job in ((one, left), (other, right)):
        answer = walk(machine, "--device", "01:00.0", "--pasid", 1, place(job))
        assert answer["stage1"] and "output" in answer
        assert "has not been told" in ask("walk", "--vm", machine.server.pid, "--device", "01:00.0", "--pasid", 77, "0", status=4)
    one.kill_qemu()
    goes_on(right)
    one.boot()
    passes(one, "accel-sva")
    steady(one, 3)
    goes_on(right)
    assert "the server has ended unexpectedly" in one.kill_server()
    one.kill_qemu()
    goes_on(right)
    one.serve()
    one.boot()
    passes(one, "accel-sva")
    one.run("echo 0000:01:00.0 >/sys/bus/pci/drivers/uiommu_accel/unbind")
    one.run("echo 1 >/sys/bus/pci/devices/0000:01:00.0/reset")
    one.run("echo 0000:01:00.0 >/sys/bus/pci/drivers/uiommu_accel/bind")
    passes(one, "accel-sva")
    goes_on(right)
    other.run("touch /enough")
    assert right.output()[-1] == "passed"


def test_the_accelerator_ends(pair, tmp_path):
    """With it all of its guests do, and what comes next finds nothing in the way."""
    for machine in pair:
        steady(machine, 1)
    os.kill(process_with(tmp_path / "uiommu-vm/accel-lab"), signal.SIGKILL)
    for machine in pair:
        _, said = machine.server.communicate()
        assert machine.server.returncode == 4 and "the server has ended unexpectedly" in said
        machine.server = None
        machine.kill_qemu()
    machine.serve()
    machine.boot()
    passes(machine, "accel-sva")


def test_one_whose_qemu_does_not_read(tools, driver, tmp_path, monkeypatch):
    """Its guest ends all the same; another one begins before, goes on and ends, and a third one comes."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with (guest.Machine(tools, "accel,pages=256,parent=lab") as stuck,
          guest.Machine(tools, "accel,pages=8,parent=lab", modules=[driver], programs=PROGRAMS, memory="256M") as other):
        peer = vfio_user.Peer(str(tmp_path / "uiommu-vm" / str(stuck.server.pid) / "device0"))
        # A reply that no socket has room for: when some of it is there, the rest is waited with.
        peer.send(vfio_user.REGION_READ, struct.pack("<QII", 0, 2, 256 * 4096))
        select.select([peer.socket], [], [])
        other.boot()
        job = steady(other, 1)
        stuck.stop_server()
        goes_on(job)
        with pytest.raises(vfio_user.Ended):
            peer.receive()
        peer.close()
        stuck.serve()
        assert ask("ls", "--vm").count("parent=lab") == 2
        goes_on(job)
        other.run("touch /enough")
        assert job.output()[-1] == "passed"


@pytest.mark.parametrize("devices, complaint", [
    (["accel,parent=a", "nvme,file=x"], "beside a device with a parent, none has a file"),
    (["accel,parent=a", "accel,parent=b"], "a guest's devices have one parent, and there is a"),
    (["accel,parent=a/b"], "expected a name: letters"),
    (["accel,parent="], "expected a name: letters"),
    (["accel,parent=" + 25 * "a"], "at most 24"),
])
def test_what_cannot_be(devices, complaint):
    assert complaint in ask("qemu-args", *(word for device in devices for word in ("--device", device)), status=2)


def test_what_has_no_virtual_devices(tools, tmp_path, monkeypatch):
    """The accelerator's process says so, and ends."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    line = ["qemu-args", "--kernel", tools / "vmlinuz", "--qemu", tools / "qemu", "--device"]
    assert "nvme has no virtual devices" in ask(*line, "nvme,size=1M,parent=lab", status=4)
    assert "spin is for an engine" in ask(*line, "accel,spin=1,parent=lab", status=4)

# SPDX-License-Identifier: BSD-3-Clause
"""Two guests, each with a virtual device of one accelerator: the same PASIDs in both at the same time, and the end of one in mid-DMA."""

import concurrent.futures
import os
import pathlib
import re
import subprocess

import guest
from test_accel import driver, passes

__all__ = ["driver"]
PROGRAMS = [guest.program(f"guest/tests/accel-{name}") for name in ("many", "steady", "sva")]


def machine(tools, driver, name, *devices):
    return guest.Machine(tools, f"accel,pages=8,parent={name}", *devices, modules=[driver], programs=PROGRAMS, memory="256M")


def folder():
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return pathlib.Path(f"{runtime}/uiommu-vm" if runtime.startswith("/") else f"/tmp/uiommu-vm-{os.getuid()}")


def steady(machine, seed):
    """Begun, and busy."""
    job = machine.start(f"accel-steady {seed} /enough")
    job.until("turn 2$")
    return job


def goes_on(job):
    """It is in the middle of turns that began after this was called."""
    turn = max(int(re.search(r"turn (\d+)$", line)[1]) for line in job.lines)
    job.until(f"turn {turn + 2}$")


def test_two_guests(tools, driver):
    name = f"test-{os.getpid()}"
    with machine(tools, driver, name) as one, machine(tools, driver, name, "copier") as other:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(guest.Machine.boot, (one, other)))
        jobs = [each.start("accel-many 4 1") for each in (one, other)]
        assert [job.output() for job in jobs] == [["4 processes, 1 times, PASIDs up to 4", "passed"]] * 2
        # One engine has both, and each guest its own view.
        listed = subprocess.run([guest.program("uiommu"), "ls", "--vm"], capture_output=True, text=True, check=True).stdout
        assert listed.count(name) == 2 and (folder() / f"accel-{name}").is_socket()
        left, right = steady(one, 1), steady(other, 2)
        assert left.lines[0].startswith("PASID 1,") and right.lines[0].startswith("PASID 1,")
        # Killed in mid-DMA; and another one, with what is left of its server.
        one.kill_qemu()
        goes_on(right)
        one.boot()
        passes(one, "accel-sva")
        steady(one, 3)
        goes_on(right)
        # The server of one of them.
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
    # Who came last has made the light go out.
    assert not list(folder().glob(f"accel-{name}*"))

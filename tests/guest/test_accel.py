# SPDX-License-Identifier: BSD-3-Clause
"""The accelerator behind the VT-d, Linux's shared virtual addressing, and our driver: processes that share their addresses with it."""

import os
import subprocess

import pytest

import guest

SCALE = min(int(os.environ.get("UIOMMU_TEST_SCALE", "1")), 10)
PROGRAMS = ["sva", "faults", "fork", "exit", "race", "many", "pages"]
# A process that ends loses its page table before its files; until the driver hears of that, the device finds nothing. Linux clears the
# PASID's entry without saying that faults there are no news.
ENDED = [r"DMAR: DRHD: handling fault status reg", r"DMAR: \[DMA (Read|Write) PASID 0x[0-9a-f]+\] .*\[fault reason 0x59\]"]


@pytest.fixture(scope="module")
def driver(tools):
    """guest/linux, built for the kernel of the tools."""
    assert tools
    done = subprocess.run([guest.TOP / "src/cli/vm/vm-setup", "--module", guest.TOP / "guest/linux"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    return done.stdout.strip() + "/uiommu_accel.ko"


def accel(tools, driver, options="pages=128", **more):
    return guest.Machine(tools, f"accel,{options}", modules=[driver],
                         programs=[guest.program(f"guest/tests/accel-{name}") for name in PROGRAMS], **more)


def passes(machine, command):
    lines = machine.run(command)
    assert lines[-1] == "passed", lines
    return lines


def test_processes(tools, driver):
    """All that processes can do with it, in one boot; and after each, the next finds it as good as new."""
    with accel(tools, driver) as machine:
        machine.boot()
        assert passes(machine, "accel-sva")[0].endswith("500 nodes")
        assert passes(machine, "accel-faults")[:-1] == ["untouched pages", "protected pages", "unmapped pages", "read-only pages",
                                                       "a lost record and a lost ring"]
        assert passes(machine, "accel-race")[:-1] == ["mmap", "munmap", "mprotect", "mremap", "madvise"]
        passes(machine, "accel-many 100 1")
        passes(machine, f"accel-many 1 {SCALE * 1000}")
        machine.check_log()
        for pattern in ENDED:
            machine.expect(pattern)
        passes(machine, "accel-fork")
        passes(machine, "accel-exit")
        passes(machine, "accel-sva")


def test_four_processors(tools, driver):
    """The same at the same time."""
    with accel(tools, driver, cpus=4) as machine:
        for pattern in ENDED:
            machine.expect(pattern)
        machine.boot()
        jobs = [machine.start(command) for command in ("accel-race", "accel-many 20 3", "accel-sva", "accel-faults")]
        for job in jobs:
            assert job.output()[-1] == "passed"


def test_the_device_goes(tools, driver):
    """The driver is unbound from it, and bound again; it is reset; the machine is."""
    with accel(tools, driver) as machine:
        machine.boot()
        passes(machine, "accel-sva")
        machine.run("echo 0000:01:00.0 >/sys/bus/pci/drivers/uiommu_accel/unbind")
        assert machine.run("ls /dev/uiommu0 2>/dev/null || echo gone") == ["gone"]
        machine.run("echo 1 >/sys/bus/pci/devices/0000:01:00.0/reset")
        machine.run("echo 0000:01:00.0 >/sys/bus/pci/drivers/uiommu_accel/bind")
        passes(machine, "accel-sva")
        machine.check_log()
        machine.monitor("system_reset")
        machine.ready()
        passes(machine, "accel-sva")


def test_caching_mode(tools, driver):
    """The guest says of each PASID's entry that it is there, and the entry is read then."""
    with guest.Machine(tools, "accel", modules=[driver], options=["--caching-mode"],
                       programs=[guest.program(f"guest/tests/accel-{name}") for name in ("sva", "faults", "many")]) as machine:
        machine.boot()
        passes(machine, "accel-sva")
        passes(machine, "accel-faults")
        passes(machine, "accel-many 10 2")

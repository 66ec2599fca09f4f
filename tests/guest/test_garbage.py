# SPDX-License-Identifier: BSD-3-Clause
"""A guest that writes garbage everywhere: registers, tables, queues, config space, while devices do DMA. It hurts itself only: the
server says nothing, does not grow, and gives the next guest what it gave the first one."""

import os
import pathlib

import pytest

import guest

COUNT = 20000
GROWTH = 64 << 10  # KiB


def size(pid):
    """Resident memory in KiB, and the number of open files."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]), len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize("seed", [1, 2])
def test_garbage(tools, iommufd_kernel, seed):
    programs = [guest.program(f"tests/guest/guest-{name}") for name in ("garbage", "iommufd")]
    scale = min(int(os.environ.get("UIOMMU_TEST_SCALE", "1")), 5)
    with guest.Machine(tools, "copier", "copier", kernel=iommufd_kernel, programs=programs, append="hugepages=2 intel_iommu=off") as machine:
        machine.boot()
        before = size(machine.server_pid())
        for turn in range(2 * scale):
            assert machine.run(f"guest-garbage {seed * 1000 + turn} {COUNT}") == [f"{COUNT} pieces of garbage"]
        after = size(machine.server_pid())
        assert after[0] - before[0] < GROWTH and after[1] <= before[1] + 2, (before, after)
        # Nothing is left of it: neither after a reset nor for another QEMU, whose guest uses the unit as ever.
        machine.monitor("system_reset")
        machine.ready()
        machine.kill_qemu()
        machine.arguments = [word.replace("intel_iommu=off", "") for word in machine.arguments]
        machine.boot()
        assert machine.run("guest-iommufd")[-1] == "passed"
        machine.expect(r"DMAR: (DRHD: handling fault|\[DMA)")
        machine.expect(r"MSI interrupts are not secure")

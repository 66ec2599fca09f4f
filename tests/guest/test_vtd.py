# SPDX-License-Identifier: BSD-3-Clause
"""Linux's own driver of the VT-d: what it makes of it, and that it comes again after every way to begin anew."""

import pytest

import guest


def has(log, text):
    return any(text in line for _, line in log)


def in_use(machine, scalable=True):
    """The unit translates for the device behind it, and for nothing else."""
    log = machine.log()
    assert has(log, "DMAR: dmar0: Using Queued invalidation")
    assert has(log, "DMAR: Intel(R) Virtualization Technology for Directed I/O")
    assert machine.run("ls /sys/class/iommu/dmar0/devices") == ["0000:00:04.0", "0000:01:00.0"]
    extended = int(machine.run("cat /sys/class/iommu/dmar0/intel-iommu/ecap")[0], 16)
    assert bool(extended >> 43 & 1) == scalable
    return log


@pytest.mark.parametrize("append, more, scalable", [
    ("", [], True),
    ("intel_iommu=sm_off", [], True),
    ("", ["--without", "scalable"], False),
    ("", ["--caching-mode"], True),
    ("iommu.strict=1", ["--caching-mode"], True),
])
def test_linux_uses_the_unit(tools, append, more, scalable):
    with guest.Machine(tools, "nvme,size=16M", append=append, options=more) as machine:
        machine.boot()
        log = in_use(machine, scalable)
        assert has(log, "TLB invalidation policy: strict mode") == ("strict" in append)


def test_beginning_anew(tools):
    with guest.Machine(tools, "nvme,size=16M") as machine:
        machine.boot()
        in_use(machine)
        machine.reboot()
        in_use(machine)
        machine.monitor("system_reset")
        machine.ready()
        in_use(machine)
        machine.kill_qemu()
        machine.boot()
        in_use(machine)


def test_a_server_that_is_killed(tools):
    """QEMU ends with it; both begin anew."""
    with guest.Machine(tools, "nvme,size=16M") as machine:
        machine.boot()
        in_use(machine)
        assert "the server has ended unexpectedly" in machine.kill_server()
        machine.kill_qemu()
        machine.serve()
        machine.boot()
        in_use(machine)


def test_four_processors(tools):
    with guest.Machine(tools, "nvme,size=16M", cpus=4) as machine:
        machine.boot()
        assert machine.run("nproc") == ["4"]
        in_use(machine)

# SPDX-License-Identifier: BSD-3-Clause
"""examples/device.c, given to a guest: a driver's view of it, and what becomes of it when either side begins anew."""

import pytest

import guest

SEEN = ["memory was copied", "faults are told", "MSI-X arrived", "a function level reset was made", "INTx arrived", "passed"]


@pytest.fixture
def device():
    running = guest.Device(guest.program("examples/device"))
    yield running
    if running.process.returncode is None:
        assert running.stop() == ""


def machine(tools, *qemu):
    return guest.Machine(tools, programs=[guest.program("tests/guest/guest-copier")], modules=["uio", "uio_pci_generic"], qemu=qemu)


def check_run(running):
    lines = running.run("guest-copier")
    assert lines[0].startswith("found /sys/bus/pci/devices/"), lines
    assert lines[1:] == SEEN


def test_a_guest_uses_the_device(tools, device):
    """In one boot and, after a reset of the machine, in the next; then with another QEMU and the same server."""
    with machine(tools, *guest.vfio_user(device.path)) as running:
        running.boot()
        check_run(running)
        running.monitor("system_reset")
        running.ready()
        check_run(running)
        running.kill_qemu()
        running.boot()
        check_run(running)


def test_behind_a_root_port(tools, device):
    """A server that is killed is the end of the guest; another one serves the next guest."""
    port = ("-device", "pcie-root-port,id=rp0,bus=pcie.0,addr=3.0,chassis=101,slot=101")
    with machine(tools, *port, *guest.vfio_user(device.path, bus="rp0", addr="0.0")) as running:
        running.boot()
        check_run(running)
        device.kill()
        running.kill_qemu()
        device.start()
        running.boot()
        check_run(running)


def test_the_line_that_the_example_prints(device):
    assert device.line.split(" ", 1)[0] == "-device"
    assert device.line.split(" ", 1)[1].strip() == "'" + guest.vfio_user(device.path)[1].replace(": ", ":").replace(", ", ",") + "'"

# SPDX-License-Identifier: BSD-3-Clause
"""examples/device.c, given to a guest: a driver's view of it, and what becomes of it when either side begins anew."""

import pytest

import guest
from conftest import program

SEEN = ["memory was copied", "faults are told", "MSI-X arrived", "a function level reset was made", "INTx arrived", "passed"]


@pytest.fixture(scope="module")
def image(tools):
    return guest.initrd(tools, [program("tests/guest/guest-copier")], ["uio", "uio_pci_generic"])


@pytest.fixture
def device():
    running = guest.Device(program("examples/device"))
    yield running
    if running.process.returncode is None:
        assert running.stop() == ""


def check_run(running):
    lines = [line.removeprefix("guest: ") for line in running.until("guest: idle") if line.startswith("guest: ")]
    assert lines[0] == "run guest-copier"
    assert lines[1].startswith("found /sys/bus/pci/devices/"), lines
    assert lines[2:-1] == SEEN


def test_a_guest_uses_the_device(tools, image, device):
    """In one boot and, after a reset of the machine, in the next; then with another QEMU and the same server."""
    for boots in (2, 1):
        running = guest.Guest(tools, image, *guest.vfio_user(device.path))
        try:
            for boot in range(boots):
                if boot:
                    running.monitor("system_reset")
                check_run(running)
        finally:
            running.end()


def test_behind_a_root_port(tools, image, device):
    """And QEMU ends by itself when the server is killed."""
    running = guest.Guest(tools, image, "-device", "pcie-root-port,id=rp0,bus=pcie.0,addr=3.0,chassis=1,slot=1",
                          *guest.vfio_user(device.path, bus="rp0", addr="0.0"))
    try:
        check_run(running)
        device.kill()
    finally:
        running.end()


def test_the_line_that_the_example_prints(device):
    assert device.line.split(" ", 1)[0] == "-device"
    assert device.line.split(" ", 1)[1].strip() == "'" + guest.vfio_user(device.path)[1].replace(": ", ":").replace(", ", ",") + "'"

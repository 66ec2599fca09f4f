# SPDX-License-Identifier: BSD-3-Clause
"""QEMU is killed, whatever a guest's processes are at with the accelerator, and the next guest of the same server finds nothing of it."""

from test_accel import ENDED, accel, driver, passes

__all__ = ["driver"]
# What a guest does when its end comes.
WORK = {
    "copying": "accel-race",
    "faulting": "accel-faults",
    "freeing": "accel-exit",
    "coming and going": "accel-many 20 3",
}


def test_qemu_is_killed(tools, driver):
    with accel(tools, driver) as machine:
        for pattern in ENDED:
            machine.expect(pattern)
        machine.boot()
        for work in WORK.values():
            job = machine.start(f"while {work} >/dev/null; do echo round; done")
            job.until("round")
            machine.kill_qemu()
            machine.boot()
            passes(machine, "accel-sva")
        machine.kill_qemu()


def test_the_server_is_killed(tools, driver):
    with accel(tools, driver) as machine:
        machine.boot()
        machine.start("while accel-faults >/dev/null; do echo round; done").until("round")
        assert "the server has ended unexpectedly" in machine.kill_server()
        machine.kill_qemu()
        machine.serve()
        machine.boot()
        passes(machine, "accel-sva")

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


def stop_with_a_request(machine):
    """The processors stop, and the accelerator does not, until it needs a page: the guest has a request and cannot answer it."""
    machine.start("accel-pages").until("begun")
    machine.monitor("stop")
    while not machine.seen()["devices"][0]["page_requests"]:
        assert machine.server.poll() is None and machine.process.poll() is None


def without_requests(machine):
    while machine.seen()["devices"][0]["page_requests"]:
        assert machine.server.poll() is None


def test_a_page_request_is_pending(tools, driver):
    """QEMU is killed then, the machine is reset, and the server is told to end."""
    with accel(tools, driver) as machine:
        machine.boot()
        stop_with_a_request(machine)
        machine.kill_qemu()
        without_requests(machine)
        machine.boot()
        passes(machine, "accel-sva")
        stop_with_a_request(machine)
        machine.monitor("system_reset")
        without_requests(machine)
        machine.monitor("cont")
        machine.ready()
        passes(machine, "accel-sva")
        machine.check_log()
        stop_with_a_request(machine)
        assert not machine.stop_server()
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

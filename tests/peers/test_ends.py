# SPDX-License-Identifier: BSD-3-Clause
"""Ends of a client and of the daemon, whatever a client is doing: afterwards there are as many PASIDs, queues, executors and descriptors
as before. What ends of a process that is bound mean is in tests/unit/ends.c, of a VM in tests/unit/mdev.c."""

import ctypes
import mmap
import os
import signal
import struct

import pytest

import peer
from peer import HANDLES, READ, SHARED, Peer, own_bundle
from ring import CRC, MEMMOVE, REQUEST_INTERRUPT, Queue, descriptor
from stuck import Stuck
from test_life import Child, Watch, ended, wait_ended

SIZE = 512 << 10

doings = pytest.mark.parametrize("doing", ["idle", "copying", "fault pending", "freeing"])


class Work:
    """A client in the middle of something. @stuck: a process with a page that does not come, which is bound, too."""

    def __init__(self, path, doing, stuck):
        self.client, self.bundle = Peer(path), own_bundle()
        self.own = self.client.bind(self.bundle)
        self.queue = Queue(self.client, 16, SHARED | HANDLES)
        self.memory = mmap.mmap(-1, 2 * SIZE)
        if stuck:
            self.pasid = self.client.bind(stuck.bundle, access=READ)
        if doing == "copying":
            self.copy()
        elif doing != "idle":
            self.wait_for_page(stuck)
        if doing == "freeing":
            self.client.send(peer.UNBIND, struct.pack("=II", self.pasid, 0))

    def copy(self):
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        for _ in range(16):
            assert self.queue.submit(descriptor(MEMMOVE, pasid=self.own, source=address, destination=address + SIZE, size=SIZE))

    def wait_for_page(self, stuck):
        handle = self.client.grant(self.pasid)
        self.queue.submit(descriptor(CRC, REQUEST_INTERRUPT, pasid=self.own, source=stuck.address, size=64, handles=handle))
        stuck.wait_until_blocked(self.queue)

    def pasids(self):
        return [item.id for item in self.client.list() if item.type == peer.PASID and item.client == self.client.number]

    def close(self):
        self.queue.close()
        self.client.close()
        for fd in self.bundle:
            os.close(fd)


@pytest.fixture
def one_stuck():
    made = Stuck()
    yield made
    made.close()


@pytest.fixture
def stuck(doing, request):
    """For what needs one."""
    return request.getfixturevalue("one_stuck") if doing in ("fault pending", "freeing") else None


@doings
def test_client_is_killed(daemon, doing, stuck):
    watch = Watch(daemon)

    def victim(report, hold):
        try:
            work = Work(daemon.path, doing, stuck)
        except pytest.skip.Exception as reason:
            report(f"skip {reason}")
            return
        report(str(work.client.number))
        hold()

    child = Child(victim)
    said = child.says()
    if said.startswith("skip"):
        child.wait()
        pytest.skip(said)
    assert child.kill() == -signal.SIGKILL
    watch.nothing_is_left(int(said))
    watch.client.close()


@doings
def test_client_disconnects(daemon, doing, stuck):
    """Its process goes on."""
    watch = Watch(daemon)
    work = Work(daemon.path, doing, stuck)
    work.client.close()
    watch.nothing_is_left(work.client.number)
    watch.client.close()
    work.close()


@doings
def test_bound_process_ends(daemon, doing, one_stuck):
    """The client goes on, and what it does with the PASID that is left ends."""
    watch = Watch(daemon)
    work = Work(daemon.path, doing, one_stuck)
    one_stuck.close()
    if doing == "freeing":
        reply = work.client.receive()
        assert (reply.kind, reply.error) == (peer.UNBIND, 0)
    else:
        assert work.client.unbind(work.pasid) == 0
    assert work.pasids() == [work.own]
    work.close()
    watch.nothing_is_left(work.client.number)
    watch.client.close()


@doings
def test_daemon_is_stopped(start, doing, stuck):
    service = start()
    work = Work(service.path, doing, stuck)
    executors = [ended(pid) for pid in service.executors()]
    assert executors
    assert service.stop() == 0
    for executor in executors:
        wait_ended(executor)
    with pytest.raises((peer.Ended, OSError)):
        while True:  # a reply to what it asked for may be there still
            work.client.receive()
    work.close()

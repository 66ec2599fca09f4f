# SPDX-License-Identifier: BSD-3-Clause
"""The life of a client, by nothing but docs/protocol.md and docs/accel.md: all of it, and its end at every point."""

import errno
import mmap
import os
import select
import signal
import socket
import struct
import time

import pytest

import peer
from peer import (BOUND, CLIENT, DEVICE, HANDLES, LIST, NO_PASID, PASID, READ, RING, SHARED, WRITE, Ended, Item, Peer, Report, eventually,
                  memfd, own_bundle)
from ring import (ENDED, FILL, MEMMOVE, NEED_WAKEUP, NOOP, PAGE_FAULT, REQUEST_INTERRUPT, SUCCESS, WROTE, Memory, Queue, Record,
                  descriptor)

PAGE = mmap.PAGESIZE
UNMAPPED = 3  # enum uiommu_fault_reason
NOWHERE = 0x1000 + 16  # nothing is ever mapped so low
RECORDS = 4096
MORE_THAN_FITS = 50000  # messages into a socket
U64 = (1 << 64) - 1


def first_mapping():
    with open("/proc/self/maps", encoding="utf-8") as maps:
        fields = maps.readline().split(maxsplit=5)
    start, end = (int(number, 16) for number in fields[0].split("-"))
    return start, end, fields[5].strip()


class Life:
    """One client and what it has; each step needs those before it."""

    def __init__(self, path):
        self.path = path
        self.client = self.queue = self.records = self.memory = self.shared = None
        self.bundle, self.fds = [], []
        self.comm = f"life{os.getpid()}".encode()[:15]

    # What a step changes is noted here, and LIST has to show exactly that.
    descriptors = bytes_read = bytes_written = faults = 0

    def connect(self):
        self.client = Peer(self.path, hello=False)

    def hello(self):
        assert self.client.hello(self.comm) == "accel0"

    def open_bundle(self):
        self.bundle = own_bundle()

    def bind(self):
        self.pasid = self.client.bind(self.bundle, comm=b"myself")
        assert 1 <= self.pasid <= 0xFFFFF

    def completion_area(self):
        for _ in range(2):
            reply = self.client.call(peer.RECORDS_AREA).good()
            assert reply.number() == RECORDS
            self.fds += reply.fds
        first, second = (os.fstat(fd) for fd in self.fds)
        assert (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)
        assert first.st_size == RECORDS * 32
        self.records = Memory(RECORDS * 32, self.fds[0])
        self.records.map.madvise(mmap.MADV_DONTFORK)
        self.client.try_register(self.pasid, self.fds[0], self.records.address, self.records.length).good()
        assert self.client.try_register(self.pasid, self.fds[0], self.records.address, PAGE).error == -errno.EEXIST

    def make_queue(self):
        self.queue = Queue(self.client, 4, SHARED | HANDLES)
        assert self.queue.number == 1
        assert self.queue.state() == NEED_WAKEUP
        self.memory = Memory(16 * PAGE)

    def record(self, index=0):
        return Record(self.records, 32 * index)

    def do(self, opcode, size=0, **fields):
        """Submit, look until it is complete; the record but for its status 0 in front."""
        record = self.record()
        assert self.queue.submit(descriptor(opcode, pasid=self.pasid, record=record.address, size=size, **fields))
        self.descriptors += 1
        return record.wait()

    def move(self):
        """Private memory to private memory, more descriptors than the ring has slots."""
        for lap in range(10):
            data = os.urandom(3 * PAGE)
            self.memory.map[100:100 + len(data)] = data
            assert self.do(MEMMOVE, len(data), source=self.memory.address + 100,
                           destination=self.memory.address + 8 * PAGE + lap) == (SUCCESS, 0, len(data), 0, 0)
            assert self.memory.map[8 * PAGE + lap:11 * PAGE + lap] == data
            self.bytes_read += len(data)
            self.bytes_written += len(data)

    def map(self):
        """A memfd in the IOAS, written through a handle."""
        self.fds.append(memfd(4 * PAGE))
        self.shared = Memory(4 * PAGE, self.fds[-1])
        self.iova = self.client.map(self.fds[-1], 2 * PAGE, offset=PAGE)
        self.handle = self.client.grant()
        assert 1 <= self.handle <= 65535
        self.memory.map[:100] = bytes(range(100))
        assert self.do(MEMMOVE, 100, source=self.memory.address, destination=self.iova + 5,
                       handles=self.handle << 16) == (SUCCESS, 0, 100, 0, 0)
        assert self.shared.map[PAGE:PAGE + 110] == bytes(5) + bytes(range(100)) + bytes(5)
        self.bytes_read += 100
        # What goes to the IOAS is the client's, and of no PASID.
        self.ioas_written = 100

    def grant(self):
        """Another handle for the PASID itself; both name the same."""
        handles = [self.client.grant(self.pasid) for _ in range(2)]
        assert len({self.handle, *handles}) == 3
        assert self.do(FILL, 24, source=0x0807060504030201, destination=self.memory.address + 1,
                       handles=handles[1] << 16) == (SUCCESS, 0, 24, 0, 0)
        assert self.memory.map[:26] == b"\0" + bytes(range(1, 9)) * 3 + b"\x19"
        self.bytes_written += 24

    def interrupt(self):
        assert self.do(NOOP, flags=REQUEST_INTERRUPT) == (SUCCESS, 0, 0, 0, 0)
        assert self.queue.wait_interrupt()
        with pytest.raises(BlockingIOError):
            os.eventfd_read(self.queue.interrupt)

    def fault(self):
        """An access to an address where nothing is: the record says where, and the daemon what is there instead."""
        before = time.time_ns()
        # The second half of the source would be beyond; nothing is moved.
        self.memory.map[:32] = bytes(32)
        status, result, completed, address, value = self.do(MEMMOVE, 32, source=NOWHERE, destination=self.memory.address)
        assert (status, result, completed, address // PAGE, value) == (PAGE_FAULT, 0, 0, NOWHERE // PAGE, 0)
        assert self.memory.map[:32] == bytes(32)
        status, result, completed, address, value = self.do(MEMMOVE, 32, source=self.memory.address, destination=NOWHERE)
        assert (status, result, completed, address // PAGE, value) == (PAGE_FAULT | WROTE, 0, 0, NOWHERE // PAGE, 0)
        self.faults += 2
        self.bytes_read += 32  # the source of the second one was there
        own = [report for report in self.client.faults() if report.client == self.client.number]
        start, end, name = first_mapping()
        expected = Report(address=NOWHERE, device_id=0, pasid=self.pasid, access=READ, reason=UNMAPPED, stage=own[0].stage, table=0,
                          reserved=0, time_ns=0, client=self.client.number, uid=os.geteuid(), pid=os.getpid(), vma_access=0,
                          vma_start=start, vma_end=end, device="accel0", comm="myself", vma_name=name[-79:])
        newest, oldest = (report._replace(time_ns=0) for report in own)
        assert (newest, oldest) == (expected._replace(access=WRITE), expected)
        assert own[0].stage in (1, 2)
        assert before <= own[1].time_ns <= own[0].time_ns <= time.time_ns()

    def client_item(self, pasids):
        """What LIST has to say of the client as a whole: it has done what its queues and PASIDs have, also those that it had."""
        return Item(type=CLIENT, state=0, client=self.client.number, uid=os.geteuid(), pid=os.getpid(), id=self.client.number, flags=1024,
                    count=pasids, bytes_read=self.bytes_read, bytes_written=self.bytes_written + 32 * self.descriptors + self.ioas_written,
                    descriptors=self.descriptors, faults=self.faults, discarded=0, name=self.comm.decode())

    def list(self):
        """Exactly what was made, with exact numbers."""
        items = self.client.list()
        assert [(item.id, item.name) for item in items if item.type == DEVICE] == [(0, "accel0")]
        owner = {"client": self.client.number, "uid": os.geteuid()}
        none = {"bytes_read": 0, "bytes_written": 0, "faults": 0, "discarded": 0, "descriptors": 0}
        # Records and seeds are no data of an operation, but they are bytes of the process that the device writes.
        numbers = {"bytes_read": self.bytes_read, "bytes_written": self.bytes_written + 32 * self.descriptors, "faults": self.faults,
                   "discarded": 0}
        assert [item for item in items if item.client == self.client.number] == [
            self.client_item(1),
            Item(type=RING, state=0, pid=0, count=0, id=self.queue.number, flags=SHARED | HANDLES, name="",
                 **owner, **{**none, "descriptors": self.descriptors}),
            Item(type=PASID, state=BOUND, pid=os.getpid(), count=1, id=self.pasid, flags=READ | WRITE, descriptors=0, name="myself",
                 **owner, **numbers)]

    def destroy(self):
        """The queue's end is told in the ring, and by an interrupt."""
        assert self.client.destroy(self.queue.number) == 0
        assert self.queue.state() & ENDED
        assert self.queue.wait_interrupt()
        assert self.client.destroy(self.queue.number) == -errno.ENOENT

    def unmap(self):
        assert self.client.try_unmap(self.iova, PAGE).error == -errno.ENOENT  # a part
        assert self.client.unmap(self.iova, 2 * PAGE) == 2 * PAGE
        assert self.client.unmap(0, U64) == 0

    def unregister(self):
        assert self.client.unregister(self.pasid, self.records.address, PAGE) == -errno.ENOENT  # a part
        assert self.client.unregister(self.pasid, self.records.address, self.records.length) == 0
        assert self.client.unregister(self.pasid, self.records.address, self.records.length) == -errno.ENOENT

    def unbind(self):
        assert self.client.unbind(self.pasid) == 0
        assert self.client.unbind(self.pasid) == -errno.ENOENT
        assert [item for item in self.client.list() if item.client == self.client.number] == [self.client_item(0)]

    STEPS = [connect, hello, open_bundle, bind, completion_area, make_queue, move, map, grant, interrupt, fault, list, destroy, unmap,
             unregister, unbind]

    def live(self, steps=len(STEPS)):
        for step in self.STEPS[:steps]:
            step(self)
        return self

    def hang_up(self):
        self.client.close()

    def close(self):
        """What is only ours."""
        self.hang_up()
        for memory in (self.records, self.memory, self.shared, self.queue):
            if memory:
                memory.close()
        for fd in self.bundle + self.fds:
            os.close(fd)


class Watch:
    """What the daemon has, seen by another client; and that it comes back to it."""

    def __init__(self, service):
        self.service, self.client = service, Peer(service.path)
        self.before = self.look()

    def look(self):
        return self.client.objects(), self.service.descriptors(), self.service.executors()

    def executor_of(self, number):
        """The process that serves a client: the one whose coming has been watched."""
        assert number in self.client.clients()
        new = [pid for pid in self.service.executors() if pid not in self.before[2]]
        assert len(new) == 1
        return new[0]

    def nothing_is_left(self, number=None):
        """Of whoever came since. The broker forgets an executor in the moment when it notices its end."""
        eventually(lambda: self.client.objects() == self.before[0], "only the watcher's own is there")
        assert self.look() == self.before
        if number:
            assert number not in self.client.clients()


def ended(pid):
    """A pidfd that is readable once the process has ended."""
    return os.pidfd_open(pid)


def wait_ended(pidfd):
    ready, _, _ = select.select([pidfd], [], [], peer.PATIENCE)
    assert ready, "the executor goes on"
    os.close(pidfd)


class Stopped:
    """An executor that does nothing, until it goes on or is killed."""

    def __init__(self, pid):
        self.pid, self.pidfd = pid, os.pidfd_open(pid)
        signal.pidfd_send_signal(self.pidfd, signal.SIGSTOP)
        eventually(self.stands, "all threads have stopped")

    def stands(self):
        states = []
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{task}/stat", encoding="utf-8") as stat:
                states.append(stat.read().rpartition(") ")[2][0])
        return set(states) == {"T"}

    def go_on(self):
        signal.pidfd_send_signal(self.pidfd, signal.SIGCONT)


@pytest.fixture
def daemon(start):
    """One for each test: what is there before is the watcher, and nothing that is still ending."""
    return start()


@pytest.fixture
def watch(daemon):
    return Watch(daemon)


def test_all_of_it(daemon, watch):
    life = Life(daemon.path).live()
    life.close()
    watch.nothing_is_left(life.client.number)


def test_twice_at_once(daemon, watch):
    """Neither sees the other in what it gets: same queue numbers, other PASIDs, a record each."""
    lives = [Life(daemon.path).live(Life.STEPS.index(Life.list) + 1) for _ in range(2)]
    assert lives[0].pasid != lives[1].pasid
    for life in lives:
        life.list()
    for life in lives:
        life.close()
    watch.nothing_is_left()


@pytest.mark.parametrize("how", ["close", "half"])
@pytest.mark.parametrize("steps", range(1, len(Life.STEPS) + 1), ids=lambda steps: "after " + Life.STEPS[steps - 1].__name__)
def test_disconnect(daemon, watch, steps, how):
    """At every point: the executor ends, and with it everything that it had."""
    life = Life(daemon.path).live(steps)
    eventually(lambda: len(daemon.executors()) == len(watch.before[2]) + 1, "its executor is there")
    executor = ended(next(pid for pid in daemon.executors() if pid not in watch.before[2]))
    if how == "half":
        life.client.socket.shutdown(socket.SHUT_WR)
        # It has been read to its end, and hung up, without a word.
        assert life.client.expect_end() is None
    else:
        life.hang_up()
    wait_ended(executor)
    watch.nothing_is_left(life.client.number)
    # The ring is still ours; nobody serves it, and it does not say so.
    if life.queue and life.queue.memory and Life.STEPS[steps - 1] is not Life.destroy and steps <= Life.STEPS.index(Life.destroy):
        assert not life.queue.state() & ENDED
        if how == "half":
            assert not life.queue.wait_interrupt()
    life.close()


def test_disconnect_from_an_executor_that_does_nothing(daemon, watch):
    """It cannot notice; the broker does, and kills it."""
    for how in ("close", "half"):
        life = Life(daemon.path).live(Life.STEPS.index(Life.make_queue) + 1)
        executor = Stopped(watch.executor_of(life.client.number))
        if how == "close":
            life.hang_up()
        else:
            life.client.socket.shutdown(socket.SHUT_WR)
        wait_ended(executor.pidfd)
        watch.nothing_is_left(life.client.number)
        life.close()


def test_nothing_is_left_in_the_executor(daemon, watch):
    """What has been undone one by one: no descriptor, no mapping of a memfd."""
    def look():
        with open(f"/proc/{executor}/maps", encoding="utf-8") as maps:
            return sorted(os.readlink(f"/proc/{executor}/fd/{fd}") for fd in os.listdir(f"/proc/{executor}/fd")), maps.read().count("memfd:")

    client, bundle, memory = Peer(daemon.path), own_bundle(), memfd()
    executor = watch.executor_of(client.number)
    before = look()
    for _ in range(3):
        pasid = client.bind(bundle)
        assert client.bind(bundle) == pasid
        client.try_register(pasid, memory, PAGE, PAGE).good()
        client.try_register(pasid, memory, 2 * PAGE, PAGE).good()
        iova = client.map(memory, PAGE)
        queues = [client.queue(2) for _ in range(3)]
        files, mapped = look()
        # Three queues have an eventfd and a ring each, the process has at least mem and pidfd.
        assert mapped >= before[1] + 3
        assert len(files) >= len(before[0]) + 3 + 2
        # What fails in between.
        assert client.try_map(memory, 2 * PAGE).error == -errno.EINVAL
        assert client.try_bind(bundle[::-1]).error == -errno.EBADF
        assert client.try_queue(3).error == -errno.EINVAL
        for number in queues:
            assert client.destroy(number) == 0
        assert client.unmap(iova, PAGE) == PAGE
        assert client.unregister(pasid, PAGE, PAGE) == 0
        assert [client.unbind(pasid) for _ in range(2)] == [0, 0]
        assert look() == before
    client.close()
    for fd in [*bundle, memory]:
        os.close(fd)


def test_requests_before_half_an_end_are_served(daemon, watch):
    client = Peer(daemon.path)
    # None of this is read before all of it is there.
    executor = Stopped(watch.executor_of(client.number))
    for cookie in range(1, 6):
        client.send(peer.GRANT, struct.pack("=II", NO_PASID, 0), cookie=cookie)
    client.socket.shutdown(socket.SHUT_WR)
    executor.go_on()
    answers = []
    with pytest.raises(Ended):
        while True:
            answers.append(client.receive())
    # The broker gives it 100 ms for what is left; nothing that was answered is wrong.
    assert [answer.cookie for answer in answers] == list(range(1, len(answers) + 1))
    assert all(answer.kind == peer.GRANT and answer.error == 0 for answer in answers)
    wait_ended(executor.pidfd)
    client.close()
    watch.nothing_is_left(client.number)


# Other processes than ours.

class Child:
    """A fork that runs a function of a pipe and of one that is never written; it ends if we do."""

    def __init__(self, function):
        progress, report = os.pipe()
        hold, self.hold = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            status = 1
            try:
                os.close(progress)
                os.close(self.hold)
                function(lambda text: os.write(report, text.encode() + b"\n"), lambda: os.read(hold, 1))
                status = 0
            finally:
                os._exit(status)
        os.close(report)
        os.close(hold)
        self.progress = os.fdopen(progress)

    def says(self):
        return self.progress.readline().strip()

    def go_on(self):
        os.close(self.hold)
        self.hold = -1

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self):
        if self.hold >= 0:
            os.close(self.hold)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.progress.close()
        return status


def test_killed_with_requests_in_flight(daemon, watch):
    """Requests that nobody has read, with descriptors beside them, and transfers that nobody has done."""
    def victim(report, hold):
        life = Life(daemon.path).live(Life.STEPS.index(Life.map) + 1)
        report(str(life.client.number))
        hold_first = os.read(sync[0], 1)
        assert hold_first
        for index in range(4):
            assert life.queue.submit(descriptor(MEMMOVE, pasid=life.pasid, record=life.record(index).address, size=8 * PAGE,
                                                source=life.memory.address, destination=life.memory.address + 8 * PAGE))
        for index in range(16):
            life.client.send(peer.BIND, peer.bind_payload(access=READ), life.bundle)
            life.client.send(peer.QUEUE, struct.pack("=IIII", SHARED, 64, 0, 0))
            life.client.send(peer.MAP, struct.pack("=IIQQQ", 4, 0, 0, PAGE, 0), [life.fds[-1]])
            life.client.send(peer.UNBIND, struct.pack("=II", life.pasid, 0))
        report("sent")
        hold()

    sync = os.pipe()
    for _ in range(5):
        child = Child(victim)
        number = int(child.says())
        executor = Stopped(watch.executor_of(number))
        os.write(sync[1], b"x")
        assert child.says() == "sent"
        assert child.kill() == -signal.SIGKILL
        # It cannot end by itself; the broker notices, and kills it.
        wait_ended(executor.pidfd)
        watch.nothing_is_left(number)
    for fd in sync:
        os.close(fd)


def test_killed_while_requests_are_served(daemon, watch):
    """At any moment of it: the parent looks at nothing but what has been answered so far."""
    def victim(report, hold):
        del hold
        client, bundle = Peer(daemon.path), own_bundle()
        report(str(client.number))
        memory = memfd()
        while True:
            pasid = client.bind(bundle)
            client.map(memory, PAGE)
            number = client.queue(2, pasid=pasid, flags=0)
            report(str(number))
            assert client.unbind(pasid) == 0

    for rounds in range(0, 40, 4):
        child = Child(victim)
        number = int(child.says())
        for count in range(rounds):
            assert int(child.says()) == count + 1
        assert child.kill() == -signal.SIGKILL
        watch.nothing_is_left(number)


def test_a_fork_child_is_the_same_client(daemon, watch):
    """To the daemon whoever writes on the connection is its client."""
    parent = Peer(daemon.path)
    pasid = parent.bind(own_bundle_kept := own_bundle())

    def in_child(report, hold):
        report(" ".join(f"{item.id}/{item.pid}" for item in parent.list() if item.client == parent.number))
        report(str(parent.unbind(pasid)))
        hold()

    child = Child(in_child)
    assert child.says() == f"{parent.number}/{os.getpid()} {pasid}/{os.getpid()}"
    assert child.says() == "0"
    # The child's end is not the client's; and what it asked for has happened.
    assert child.kill() == -signal.SIGKILL
    assert parent.unbind(pasid) == -errno.ENOENT
    assert [item.id for item in parent.list() if item.client == parent.number] == [parent.number]
    parent.close()
    for fd in own_bundle_kept:
        os.close(fd)
    watch.nothing_is_left(parent.number)


@pytest.mark.parametrize("way", ["exits", "is killed"])
def test_the_end_of_who_connected(daemon, watch, way):
    """It ends the client, although a child still has the connection."""
    heir_says, heir_report = os.pipe()

    def owner(report, hold):
        client = Peer(daemon.path)
        if not os.fork():
            os.close(heir_says)
            assert client.call(LIST, bytes(8)).error == 0
            os.write(heir_report, b"%d\n" % client.number)
            os.write(heir_report, repr(client.expect_end()).encode() + b"\n")
            with pytest.raises(Ended):
                client.send(LIST, bytes(8))
                client.receive()
            os.write(heir_report, b"done\n")
            os._exit(0)
        report("ready")
        hold()

    child = Child(owner)
    os.close(heir_report)
    assert child.says() == "ready"
    with os.fdopen(heir_says) as heir:
        number = int(heir.readline())
        assert number in watch.client.clients()
        if way == "exits":
            child.go_on()
            assert child.wait() == 0
        else:
            assert child.kill() == -signal.SIGKILL
        # Hung up, without END; and then nothing can be sent.
        assert heir.readline() == "None\n"
        assert heir.readline() == "done\n"
    watch.nothing_is_left(number)


# A client that does not read.

def test_a_client_that_never_reads(daemon, watch):
    """It is ended when a reply does not fit any more; others are served before, while and after."""
    silent = Peer(daemon.path)
    executor = os.pidfd_open(watch.executor_of(silent.number))
    other = Peer(daemon.path)
    bundle = own_bundle()
    pasid = silent.bind(bundle)
    number = silent.queue(64)
    assert number == 1
    sent = 0
    with pytest.raises(Ended):
        while sent < MORE_THAN_FITS:
            silent.send(LIST, bytes(8))
            sent += 1
            assert other.unbind(other.bind(bundle)) == 0
    wait_ended(executor)
    # What it did not read is there, whole and in order, and behind it the end without END.
    silent.cookie, received = 0, 0
    with pytest.raises(Ended) as end:
        while True:
            reply = silent.receive()
            received += 1
            assert (reply.kind, reply.error) == (LIST, 0)
            assert len(reply.payload) == 24 + 128 * struct.unpack_from("=I", reply.payload, 16)[0]
    assert end.value.error is None
    assert 0 < received < sent
    assert "it does not read its replies" in "\n".join(daemon.log_lines())
    other.wait_without(silent.number)
    assert other.bind(bundle, pasid=pasid) == pasid
    silent.close()
    other.close()
    for fd in bundle:
        os.close(fd)
    watch.nothing_is_left()


def test_a_client_whose_requests_are_not_read(daemon, watch):
    """Its own executor is held up; it waits in sendmsg(), and nobody else."""
    slow = Peer(daemon.path)
    executor = Stopped(watch.executor_of(slow.number))
    other = Peer(daemon.path)
    slow.socket.setblocking(False)
    sent = 0
    with pytest.raises(BlockingIOError):
        while sent < MORE_THAN_FITS:
            slow.send(peer.GRANT, struct.pack("=II", 77, 0), cookie=sent + 1)
            sent += 1
    assert sent > 0
    for _ in range(3):
        assert slow.number in other.clients()
    slow.socket.setblocking(True)
    executor.go_on()
    for cookie in range(1, sent + 1):
        reply = slow.receive()
        assert (reply.cookie, reply.error) == (cookie, -errno.ENOENT)
    os.close(executor.pidfd)
    slow.close()
    other.close()
    watch.nothing_is_left()

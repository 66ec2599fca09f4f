# SPDX-License-Identifier: BSD-3-Clause
"""Each limit of uiommud(8): what fits is given, one more is refused and changes nothing, and what is given back can be had again."""

import errno
import os
import select
import struct
import subprocess

import pytest

import peer
from peer import (BOUND, CLIENT, DRAINING, HANDLES, PASID, READ, RING, SHARED, Ended, Peer, Target, eventually, memfd,
                  own_bundle)
from ring import CRC, REQUEST_INTERRUPT, Queue, descriptor
from stuck import Stuck

PAGE = os.sysconf("SC_PAGESIZE")
STRANGER = 65533  # neither root nor the daemon's user
SEVERAL = 3


@pytest.fixture(scope="module")
def processes():
    """Live processes to bind; a client can bind each of them once."""
    made = [Target(subprocess.Popen(["/bin/sleep", "infinity"], stdin=subprocess.DEVNULL, **peer.ordinary()))
            for _ in range(SEVERAL + 2)]
    yield made
    for target in made:
        target.close()


# What counts: how to take number @index of a client, how much of the limit that is, how to give it back. What is refused is not there:
# asking to give it back says ENOENT.

class Pasids:
    limit, unit = "pasids", 1

    def __init__(self, processes, client, first):
        self.processes, self.client, self.first = processes, client, first

    def take(self, index):
        return self.client.try_bind(self.processes[index].bundle, pasid=self.first + index).error

    def give(self, index):
        return self.client.unbind(self.first + index)


class Bundles(Pasids):
    """A bundle: its descriptors without auxv, and one."""
    limit, unit = "fds", 4


class Queues:
    limit, unit, entries = "queues", 1, 2

    def __init__(self, processes, client, first):
        del processes, first
        self.client, self.given = client, []

    def take(self, index):
        reply = self.client.try_queue(self.entries)
        reply.close()
        if not reply.error:
            # The least number that is free: what was refused has used up none.
            assert reply.number() == index + 1
        return reply.error

    def give(self, index):
        return self.client.destroy(index + 1)


class Entries(Queues):
    limit, unit, entries = "descriptors", 8, 8


class QueueDescriptors(Queues):
    limit, unit = "fds", 1


class Mapped:
    limit, unit = "areas", 1

    def __init__(self, processes, client, first):
        del processes, first
        self.client = client

    def take(self, index):
        memory = memfd()
        error = self.client.try_map(memory, PAGE, iova=index * PAGE).error
        os.close(memory)
        return error

    def give(self, index):
        return self.client.try_unmap(index * PAGE, PAGE).error


class Registered:
    limit, unit = "areas", 1

    def __init__(self, processes, client, first):
        self.client, self.pasid = client, first
        client.bind(processes[0].bundle, pasid=first)

    def take(self, index):
        memory = memfd()
        error = self.client.try_register(self.pasid, memory, (index + 100) * PAGE, PAGE).error
        os.close(memory)
        return error

    def give(self, index):
        return self.client.unregister(self.pasid, (index + 100) * PAGE, PAGE)


RESOURCES = [Pasids, Bundles, Queues, Entries, QueueDescriptors, Mapped, Registered]
each_resource = pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.__name__)


def refused(service, client, things, index, whose):
    """Number @index is one too many."""
    before = client.objects()
    assert things.take(index) == -errno.EDQUOT
    assert client.objects() == before
    assert things.give(index) == -errno.ENOENT
    assert any(f"the {whose} has reached the limit '{things.limit}'" in line for line in service.log_lines())


@each_resource
@pytest.mark.parametrize("rest", ["exactly", "and too little for another"])
def test_of_a_client(start, processes, resource, rest):
    limit = resource.unit * SEVERAL + (0 if rest == "exactly" else resource.unit - 1)
    service = start("--limit", f"{resource.limit}={limit}:1000")
    client = Peer(service.path)
    things = resource(processes, client, 100)
    assert [things.take(index) for index in range(SEVERAL)] == [0] * SEVERAL
    refused(service, client, things, SEVERAL, "client")
    # Another client of the same user has a limit of its own.
    other = Peer(service.path)
    others = resource(processes, other, 200)
    assert [others.take(index) for index in range(SEVERAL)] == [0] * SEVERAL
    refused(service, other, others, SEVERAL, "client")
    # One back, one again, whichever it was; and no more than that.
    for index in (0, SEVERAL - 1):
        assert things.give(index) == 0
        assert things.take(index) == 0
        refused(service, client, things, SEVERAL, "client")


@each_resource
def test_of_a_user(start, processes, resource):
    service = start("--limit", f"{resource.limit}=1000:{resource.unit * SEVERAL}")
    clients = [Peer(service.path) for _ in range(2)]
    many, few = (resource(processes, client, 100 * number) for number, client in enumerate(clients, 1))
    assert [many.take(index) for index in range(SEVERAL - 1)] == [0] * (SEVERAL - 1)
    assert few.take(0) == 0
    refused(service, clients[0], many, SEVERAL - 1, "user")
    refused(service, clients[1], few, 1, "user")
    # What one of them gives back the other may have.
    assert many.give(0) == 0
    assert few.take(1) == 0
    refused(service, clients[0], many, 0, "user")
    # And what it leaves behind, once its executor is gone.
    clients[0].close()
    clients[1].wait_without(clients[0].number)
    assert [few.take(index) for index in range(2, SEVERAL)] == [0] * (SEVERAL - 2)
    refused(service, clients[1], few, SEVERAL, "user")


@each_resource
def test_of_another_user(strangers, processes, resource):
    service = strangers("--limit", f"{resource.limit}=1000:{resource.unit * SEVERAL}")
    ours, theirs = Peer(service.path), Peer(service.path, uid=STRANGER)
    things, others = resource(processes, ours, 100), resource(processes, theirs, 200)
    assert [things.take(index) for index in range(SEVERAL)] == [0] * SEVERAL
    refused(service, ours, things, SEVERAL, "user")
    assert [others.take(index) for index in range(SEVERAL)] == [0] * SEVERAL
    refused(service, theirs, others, SEVERAL, "user")
    # They count apart in both directions.
    assert others.give(0) == 0
    refused(service, ours, things, SEVERAL, "user")
    assert others.take(0) == 0


def test_binds_of_a_process_that_has_a_pasid(start, processes):
    """They are counted to it and take nothing, also at the limit and whether they name the number or not."""
    client = Peer(start("--limit", "pasids=1:10", "--limit", "fds=4:4").path)
    pasid = client.bind(processes[0].bundle)
    before = client.objects()
    assert client.try_bind(processes[1].bundle).error == -errno.EDQUOT
    assert client.bind(processes[0].bundle) == pasid
    assert client.bind(processes[0].bundle, pasid=pasid) == pasid
    assert client.objects() == before
    # Three binds, three unbinds; the PASID counts until the last.
    for _ in range(2):
        assert client.unbind(pasid) == 0
        assert client.try_bind(processes[1].bundle).error == -errno.EDQUOT
    assert client.unbind(pasid) == 0
    assert client.unbind(pasid) == -errno.ENOENT
    assert client.bind(processes[1].bundle) > 0


def test_binds_that_fail_count_nothing(start, processes):
    client = Peer(start("--limit", "pasids=2:2", "--limit", "fds=8:8").path)
    taken = client.bind(processes[0].bundle)
    for _ in range(10):
        assert client.try_bind(processes[1].bundle, pasid=taken).error == -errno.EBUSY
        assert client.try_bind(processes[1].bundle[::-1]).error == -errno.EBADF
        assert client.bind(processes[0].bundle) == taken
    assert client.bind(processes[1].bundle) != taken


def test_areas_are_mapped_and_registered_ones(start, processes):
    client = Peer(start("--limit", "areas=4:4").path)
    pasid = client.bind(processes[0].bundle)
    memory = memfd(8 * PAGE)
    iovas = [client.map(memory, PAGE) for _ in range(2)]
    for index in range(2):
        client.try_register(pasid, memory, (100 + index) * PAGE, PAGE).good()
    assert client.try_map(memory, PAGE).error == -errno.EDQUOT
    assert client.try_register(pasid, memory, 200 * PAGE, PAGE).error == -errno.EDQUOT
    # The last UNBIND gives back what was registered, and UNMAP of everything what was mapped.
    assert client.unbind(pasid) == 0
    iovas += [client.map(memory, PAGE) for _ in range(2)]
    assert len(set(iovas)) == 4
    assert client.try_map(memory, PAGE).error == -errno.EDQUOT
    assert client.unmap(0, (1 << 64) - 1) == 4 * PAGE
    pasid = client.bind(processes[0].bundle)
    for index in range(4):
        client.try_register(pasid, memory, (100 + index) * PAGE, PAGE).good()
    assert client.try_register(pasid, memory, 200 * PAGE, PAGE).error == -errno.EDQUOT
    # What fails for another reason counts nothing.
    assert client.unregister(pasid, 100 * PAGE, PAGE) == 0
    for _ in range(10):
        assert client.try_register(pasid, memory, 101 * PAGE, PAGE).error == -errno.EEXIST
        assert client.try_map(memory, 9 * PAGE).error == -errno.EINVAL
    assert client.map(memory, PAGE) >= 0
    os.close(memory)


def test_fds_are_of_bundles_and_queues(start, processes):
    client = Peer(start("--limit", "fds=9:9").path)
    pasids = [client.bind(target.bundle) for target in processes[:2]]
    queue = client.queue(2)
    assert client.try_queue(2).error == -errno.EDQUOT
    assert client.try_bind(processes[2].bundle).error == -errno.EDQUOT
    assert client.destroy(queue) == 0
    assert client.try_bind(processes[2].bundle).error == -errno.EDQUOT  # 8 and 4
    assert client.unbind(pasids[0]) == 0
    assert [client.queue(2) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert client.try_queue(2).error == -errno.EDQUOT


def test_what_one_limit_refuses_counts_for_no_other(start, processes):
    """A queue is a queue, its entries and a descriptor; a PASID is a PASID and its descriptors."""
    client = Peer(start("--limit", "queues=3:3", "--limit", "descriptors=8:8", "--limit", "fds=4:4", "--limit", "pasids=2:2").path)
    queue = client.queue(8)
    for _ in range(5):
        assert client.try_queue(2).error == -errno.EDQUOT  # the entries
        assert client.try_bind(processes[0].bundle).error == -errno.EDQUOT  # the descriptors
    assert client.destroy(queue) == 0
    pasid = client.bind(processes[0].bundle)
    for _ in range(5):
        assert client.try_queue(2).error == -errno.EDQUOT  # the descriptors
        assert client.try_bind(processes[1].bundle).error == -errno.EDQUOT
    assert client.unbind(pasid) == 0
    # All of each can still be had.
    assert [client.queue(entries) for entries in (2, 2, 4)] == [1, 2, 3]
    assert client.try_queue(2).error == -errno.EDQUOT  # the queues
    assert [client.destroy(number) for number in (1, 2, 3)] == [0] * 3
    # mem and pidfd alone make a bundle, and take one less than maps with them.
    small = [[target.bundle[0], target.bundle[2]] for target in processes]
    answers = [client.call(peer.BIND, peer.bind_payload(parts=5), bundle).error for bundle in small[:2]]
    assert answers == [0, -errno.EDQUOT]
    assert client.queue(2) == 1
    assert client.try_queue(2).error == -errno.EDQUOT


def test_descriptors_are_entries(start):
    client = Peer(start("--limit", "descriptors=96:96").path)
    assert client.try_queue(128).error == -errno.EDQUOT
    assert (client.queue(64), client.queue(32)) == (1, 2)
    assert client.try_queue(2).error == -errno.EDQUOT
    assert client.destroy(2) == 0
    assert client.try_queue(64).error == -errno.EDQUOT
    assert [client.queue(16) for _ in range(2)] == [2, 3]
    assert client.try_queue(2).error == -errno.EDQUOT


# Executors: one for each connection.

def expect_refused(path, **options):
    """A connection that is told why it is not served, instead of any service."""
    client = Peer(path, hello=False, **options)
    with pytest.raises(Ended) as ended:
        client.receive()
    client.close()
    assert ended.value.error == -errno.EDQUOT


def test_executors_of_a_user(start):
    service = start("--limit", "executors=1:2")
    first, second = Peer(service.path), Peer(service.path)
    assert first.clients() == [first.number, second.number]
    for _ in range(2):
        expect_refused(service.path)
    assert "the user has reached the limit 'executors'" in "\n".join(service.log_lines())
    assert first.clients() == [first.number, second.number]
    second.close()
    first.wait_without(second.number)
    third = Peer(service.path)
    assert third.clients() == [first.number, third.number]
    expect_refused(service.path)


def test_executors_of_another_user(strangers):
    service = strangers("--limit", "executors=1:1")
    ours = Peer(service.path)
    expect_refused(service.path)
    theirs = Peer(service.path, uid=STRANGER)
    assert theirs.clients() == [theirs.number]
    expect_refused(service.path, uid=STRANGER)
    expect_refused(service.path)
    assert ours.call(peer.LIST, bytes(8)).error == 0


def test_executors_of_a_client(start):
    """One is what a client takes: with less there are none."""
    expect_refused(start("--limit", "executors=0:100").path)


def refused_for_places(service, places, **options):
    """As above. Whoever comes while the one before is still being told is hung up on without a reason."""
    for _ in range(3):
        eventually(lambda: len(service.executors()) == places, "nobody is being refused")
        expect_refused(service.path, **options)
    for _ in range(20):
        extra = Peer(service.path, hello=False, **options)
        assert extra.expect_end() in (-errno.EDQUOT, None)
        extra.close()
    assert "as many clients as --executors permits" in "\n".join(service.log_lines())


@pytest.mark.parametrize("places", [1, 2, 9])
def test_places_for_executors(start, places):
    """--executors: that many clients are served."""
    service = start("--executors", str(places), "--limit", "executors=1:100")
    clients = [Peer(service.path) for _ in range(places)]
    numbers = [client.number for client in clients]
    refused_for_places(service, places)
    assert clients[0].clients() == numbers
    # One goes, one comes.
    clients.pop().close()
    numbers.pop()
    eventually(lambda: len(service.executors()) == places - 1, "its executor is gone")
    clients.append(Peer(service.path))
    assert clients[-1].clients() == [*numbers, clients[-1].number]
    refused_for_places(service, places)


def test_places_are_for_all_users(strangers):
    service = strangers("--executors", "2")
    ours, theirs = Peer(service.path), Peer(service.path, uid=STRANGER)
    refused_for_places(service, 2, uid=STRANGER - 1)
    assert ours.clients() == [ours.number, theirs.number]
    number = theirs.number
    theirs.close()
    ours.wait_without(number)
    third = Peer(service.path, uid=STRANGER - 1)
    assert third.clients() == [third.number]
    refused_for_places(service, 2)


# What drains: an access that does not end keeps a PASID.

class Drainer:
    """A client with a PASID that drains as long as a process does not provide a page."""

    def __init__(self, service, **options):
        self.stuck = Stuck()
        self.client = Peer(service.path, **options)
        self.pasid = self.client.bind(self.stuck.bundle, access=READ)
        own = self.client.bind(own_bundle())
        self.queue = Queue(self.client, 2, SHARED | HANDLES)
        self.queue.submit(descriptor(CRC, REQUEST_INTERRUPT, pasid=own, source=self.stuck.address, size=64,
                                     handles=self.client.grant(self.pasid)))
        self.stuck.wait_until_blocked(self.queue)
        self.client.send(peer.UNBIND, struct.pack("=II", self.pasid, 0))

    def state(self, viewer):
        return [item.state for item in viewer.list() if item.type == PASID and item.id == self.pasid]

    def let_go(self):
        """The page's owner ends, and with it the access."""
        self.stuck.close()
        reply = self.client.receive()
        assert (reply.kind, reply.error) == (peer.UNBIND, 0)

    def close(self):
        self.queue.close()
        self.client.close()
        self.stuck.close()


@pytest.fixture
def drain():
    made = []

    def make(service, **options):
        made.append(Drainer(service, **options))
        return made[-1]

    yield make
    for drainer in made:
        drainer.close()


def still_given(client):
    """At the limit of what drains: everything but PASIDs."""
    memory = memfd()
    iova = client.map(memory, PAGE)
    assert client.unmap(iova, PAGE) == PAGE
    os.close(memory)
    return iova


def test_draining_of_a_client(start, processes, drain):
    service = start("--limit", "draining=1:2", "--drain-timeout", "0")
    viewer = Peer(service.path)
    drainer = drain(service)
    blocked = drainer.client
    # Requests are done in their order, and LIST comes after the UNBIND.
    before = blocked_objects(drainer)
    assert (PASID, blocked.number, drainer.pasid, DRAINING) in before
    blocked.send(peer.BIND, peer.bind_payload(), processes[0].bundle)
    assert (blocked.receive().error, blocked_objects(drainer)) == (-errno.EDQUOT, before)
    assert "has reached the limit 'draining'" in "\n".join(service.log_lines())
    still_given(blocked)
    # It is this client's limit: others are let in, and bind.
    other = Peer(service.path)
    assert other.bind(processes[0].bundle) > 0
    drainer.let_go()
    assert drainer.state(viewer) == []
    assert blocked.bind(processes[0].bundle) > 0


def blocked_objects(drainer):
    return [item[:4] for item in drainer.client.objects() if item[0] != peer.DEVICE]


def test_draining_of_a_user(start, processes, drain):
    service = start("--limit", "draining=10:2", "--drain-timeout", "0")
    viewer = Peer(service.path)
    drainers = [drain(service) for _ in range(2)]
    eventually(lambda: [drainer.state(viewer) for drainer in drainers] == [[DRAINING]] * 2, "both PASIDs drain")
    numbers = viewer.clients()
    # Nobody of this user gets a PASID, nobody is let in, everything else is given.
    for client in (viewer, *(drainer.client for drainer in drainers)):
        assert client.try_bind(processes[0].bundle).error == -errno.EDQUOT
        still_given(client)
    assert viewer.queue(2) == 1
    expect_refused(service.path)
    assert "the user has reached the limit 'draining'" in "\n".join(service.log_lines())
    assert viewer.clients() == numbers
    assert [drainer.state(viewer) for drainer in drainers] == [[DRAINING]] * 2
    # One less, and it is as before.
    drainers[0].let_go()
    assert [drainer.state(viewer) for drainer in drainers] == [[], [DRAINING]]
    assert Peer(service.path).bind(processes[0].bundle) > 0
    assert viewer.bind(processes[0].bundle) > 0


def test_draining_of_another_user(strangers, processes, drain):
    service = strangers("--limit", "draining=1:1", "--drain-timeout", "0")
    viewer = Peer(service.path)
    drainer = drain(service)
    eventually(lambda: drainer.state(viewer) == [DRAINING], "the PASID drains")
    expect_refused(service.path)
    theirs = Peer(service.path, uid=STRANGER)
    assert theirs.bind(processes[0].bundle) > 0
    assert [(item.type, item.state) for item in theirs.list() if item.type in (CLIENT, PASID)] == [(CLIENT, 0), (PASID, BOUND)]


def test_several_pasids_of_a_client_drain(start, processes):
    """Each counts, and the number of each that ends is given back."""
    service = start("--limit", "draining=2:10", "--drain-timeout", "0")
    stuck = [Stuck() for _ in range(2)]
    client = Peer(service.path)
    own = client.bind(own_bundle())
    pasids = [client.bind(one.bundle, access=READ) for one in stuck]
    queue = Queue(client, 2, SHARED | HANDLES)
    queue.submit(descriptor(CRC, REQUEST_INTERRUPT, pasid=own, source=stuck[0].address, size=64,
                            handles=client.grant(pasids[0])))
    stuck[0].wait_until_blocked(queue)
    client.send(peer.UNBIND, struct.pack("=II", pasids[0], 0))
    # An unbind that nothing holds up drains for a moment only, and is given back with its answer.
    for _ in range(5):
        assert client.unbind(client.bind(processes[0].bundle)) == 0
    assert client.unbind(pasids[1]) == 0
    # Who holds it is its attachment, which the access has not left; the set has it, and the client's own one.
    assert [(item.id, item.count) for item in client.list() if item.type == PASID and item.state == DRAINING] == [(pasids[0], 1)]
    assert [item.count for item in client.list() if item.type == CLIENT and item.id == client.number] == [2]
    stuck[0].close()
    assert client.receive().kind == peer.UNBIND
    queue.close()
    stuck[1].close()


def test_an_unbind_that_takes_too_long(start, processes, drain):
    """--drain-timeout: its client is ended, and others get the number."""
    service = start("--drain-timeout", "1")
    viewer = Peer(service.path)
    drainer = drain(service)
    # The connection hangs up without a word; the daemon's own clock decides when.
    ready, _, _ = select.select([drainer.client.socket], [], [], peer.PATIENCE)
    assert ready
    assert drainer.client.expect_end() is None
    assert "an access does not let go of a PASID that it unbinds" in "\n".join(service.log_lines())
    viewer.wait_without(drainer.client.number)
    assert viewer.bind(processes[0].bundle, pasid=drainer.pasid) == drainer.pasid
    assert [item.id for item in viewer.list() if item.type == RING] == []

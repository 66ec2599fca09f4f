# SPDX-License-Identifier: BSD-3-Clause
"""Everything malformed that a client can send. Each case leaves the daemon serving others, with nothing more than it had."""

import errno
import fcntl
import os
import pathlib
import socket
import struct

import pytest

from peer import (BIND, DESCRIPTORS, END, FAULTS, GRANT, HEADER, HELLO, LIST, MAP, NAMES, NO_PASID, PAYLOAD, QUEUE, QUEUE_DESTROY, READ,
                  RECORDS_AREA, REGISTER, UNBIND, UNMAP, UNREGISTER, WRITE, Ended, Peer, Refused, bind_payload, exec_event, hello_payload, memfd)

U64 = 0xFFFFFFFFFFFFFFFF
REQUESTS = sorted(PAYLOAD)
pytestmark = pytest.mark.usefixtures("good")


def name(kind):
    return NAMES[kind] if kind < len(NAMES) else f"type{kind}"


def descriptors_for(kind):
    return [memfd() for _ in range(DESCRIPTORS.get(kind, 0))]


def send_and_close(client, kind, payload, fds, **changed):
    client.send(kind, payload, fds, **changed)
    for fd in fds:
        os.close(fd)


# Headers.

@pytest.mark.parametrize("length", [0, 1, 3, 4, 7, 8, 15])
def test_shorter_than_a_header(bad, length):
    bad.send_raw(bytes(length) if length else b"\0")
    assert bad.expect_end() == -errno.EPROTO


@pytest.mark.parametrize("delta", [-16, -8, -1, 1, 8, 4096, 2**31, 2**32 - 17, 2**32 - 1])
@pytest.mark.parametrize("kind", REQUESTS, ids=name)
def test_length_that_lies(bad, kind, delta):
    payload = hello_payload() if kind == HELLO else bytes(PAYLOAD[kind])
    length = (HEADER.size + len(payload) + delta) & 0xFFFFFFFF
    send_and_close(bad, kind, payload, descriptors_for(kind), length=length)
    assert bad.expect_end() == -errno.EPROTO


@pytest.mark.parametrize("kind", [END, len(NAMES), len(NAMES) + 1, 100, 255, 256, 0x7FFF, 0x8000, 0xFFFF], ids=name)
def test_unknown_type(bad, kind):
    bad.send(kind, bytes(16))
    assert bad.expect_end() == -errno.EPROTO


@pytest.mark.parametrize("flags", [1, 2, 4, 0x8000, 0xFFFF])
@pytest.mark.parametrize("kind", [HELLO, BIND, LIST, QUEUE], ids=name)
def test_unknown_flags(bad, kind, flags):
    bad.send(kind, bytes(PAYLOAD[kind]), flags=flags)
    assert bad.expect_end() == -errno.EPROTO


@pytest.mark.parametrize("kind", REQUESTS, ids=name)
def test_cookie_zero(bad, kind):
    send_and_close(bad, kind, bytes(PAYLOAD[kind]), descriptors_for(kind), cookie=0)
    assert bad.expect_end() == -errno.EPROTO


def test_reason_is_heard_behind_unread_requests(bad):
    bad.send(END, bytes(16))
    try:
        for _ in range(50):
            bad.send(LIST, bytes(8))
    except Ended:
        pass
    assert bad.expect_end() == -errno.EPROTO


# Payloads.

@pytest.mark.parametrize("missing", [1, 4, 8])
@pytest.mark.parametrize("kind", [kind for kind in REQUESTS if PAYLOAD[kind]], ids=name)
def test_payload_too_short(bad, kind, missing):
    send_and_close(bad, kind, bytes(max(0, PAYLOAD[kind] - missing)), descriptors_for(kind))
    assert bad.expect_end() == -errno.EPROTO


@pytest.mark.parametrize("extra", [1, 8, 100])
@pytest.mark.parametrize("kind", [kind for kind in REQUESTS if kind != HELLO], ids=name)
def test_unknown_tail_that_is_not_zero(bad, kind, extra):
    fds = descriptors_for(kind)
    bad.send(kind, bytes(PAYLOAD[kind]) + bytes(extra - 1) + b"\1", fds)
    for fd in fds:
        os.close(fd)
    assert bad.receive().error == -errno.E2BIG


def test_unknown_tail_of_zeros(bad):
    assert bad.call(LIST, bytes(8 + 64)).error == 0


@pytest.mark.parametrize("size", [513, 4096, 60000])
@pytest.mark.parametrize("kind", [HELLO, BIND, LIST, MAP], ids=name)
def test_too_long(bad, kind, size):
    bad.send(kind, bytes(size - HEADER.size))
    assert bad.expect_end() == -errno.EPROTO


# Descriptors.

@pytest.mark.parametrize("count", [1, 2, 4, 5, 8, 64, 253])
@pytest.mark.parametrize("kind", [HELLO, UNBIND, UNREGISTER, UNMAP, GRANT, QUEUE, QUEUE_DESTROY, RECORDS_AREA, LIST, FAULTS], ids=name)
def test_descriptors_where_none_belong(bad, kind, count):
    fd = os.open("/dev/null", os.O_RDONLY)
    try:
        bad.send(kind, bytes(PAYLOAD[kind]), [fd] * count)
    finally:
        os.close(fd)
    assert bad.expect_end() == -errno.EPROTO


@pytest.mark.parametrize("count", [0, 2, 3, 4, 5, 100])
@pytest.mark.parametrize("kind", [REGISTER, MAP], ids=name)
def test_wrong_number_of_descriptors(bad, kind, count):
    fd = memfd()
    bad.send(kind, bytes(PAYLOAD[kind]), [fd] * count)
    os.close(fd)
    assert bad.expect_end() == -errno.EPROTO


@pytest.fixture
def event(target):
    made = exec_event(target.process.pid)
    if made is None:
        pytest.skip("perf_event_open is not permitted")
    yield made
    os.close(made)


@pytest.mark.parametrize("parts", [0, 1, 2, 3, 4, 5, 6, 7, 8, 14, 15, 16, 21, 31, 32, 37, 0xFFFFFFFF])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_bundle_parts_and_descriptors(bad, target, event, parts, count):
    """As many descriptors as parts, in this order; {mem, pidfd} with or without maps, auxv and exec make a bundle."""
    everything = [*target.bundle, event]
    chosen = [fd for bit, fd in enumerate(everything) if parts >> bit & 1] if count == bin(parts).count("1") else everything[:count]
    bad.send(BIND, bind_payload(access=READ, parts=parts), chosen)
    try:
        reply = bad.receive()
    except Ended:
        assert bin(parts).count("1") != count or parts > 31
        return
    # Without auxv nothing is read by pid, without maps no data moves; without the other two it is no bundle.
    if parts & 5 == 5:
        assert reply.error == 0
    else:
        assert reply.error == -errno.EBADF


def wrong_descriptors():
    read_end, write_end = os.pipe()
    left, right = socket.socketpair()
    return {
        "a regular file": os.open(__file__, os.O_RDONLY),
        "a directory": os.open("/", os.O_RDONLY),
        "/dev/null": os.open("/dev/null", os.O_RDWR),
        "/dev/zero": os.open("/dev/zero", os.O_RDWR),
        "a pipe": read_end,
        "a pipe's write end": write_end,
        "a socket": left.detach(),
        "another socket": right.detach(),
        "a memfd": memfd(),
        "an eventfd": os.eventfd(0),
        "/proc/self/status": os.open("/proc/self/status", os.O_RDONLY),
        "/proc/self/maps": os.open("/proc/self/maps", os.O_RDONLY),
        "/proc/self/mem": os.open("/proc/self/mem", os.O_RDONLY),
        "/proc/self": os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY),
        "O_PATH": os.open("/proc/self/mem", os.O_PATH),
        "own pidfd": os.pidfd_open(os.getpid()),
    }


@pytest.mark.parametrize("position", range(5), ids=["mem", "maps", "pidfd", "auxv", "exec"])
@pytest.mark.parametrize("which", sorted(wrong_descriptors()))
def test_bundle_with_a_wrong_descriptor(bad, target, position, which):
    wrong = wrong_descriptors()
    fds = list(target.bundle)
    fds[position:position + 1] = [wrong[which]]
    reply = bad.call(BIND, bind_payload(parts=15 | 1 << position), fds)
    for fd in wrong.values():
        os.close(fd)
    assert reply.error == -errno.EBADF
    # The connection goes on, and a good bundle binds.
    assert bad.call(BIND, bind_payload(), target.bundle).error == 0


@pytest.mark.parametrize("kind", [REGISTER, MAP], ids=name)
@pytest.mark.parametrize("which", sorted(set(wrong_descriptors()) - {"a memfd"}))
def test_memory_that_is_no_memfd(bad, target, kind, which):
    pasid = struct.unpack_from("=I", bad.call(BIND, bind_payload(), target.bundle).payload, 8)[0]
    wrong = wrong_descriptors()
    if kind == REGISTER:
        payload = struct.pack("=IIQQQ", pasid, READ, 0x10000000, 4096, 0)
    else:
        payload = struct.pack("=IIQQQ", 4, 0, 0, 4096, 0)
    error = bad.call(kind, payload, [wrong[which]]).error
    for fd in wrong.values():
        os.close(fd)
    assert error in (-errno.EBADF, -errno.EINVAL, -errno.EACCES)


@pytest.mark.parametrize("seals", [0, fcntl.F_SEAL_GROW, fcntl.F_SEAL_WRITE])
def test_memory_that_may_shrink(bad, seals):
    fd = memfd(seals=seals)
    assert bad.call(MAP, struct.pack("=IIQQQ", 4, 0, 0, 4096, 0), [fd]).error == -errno.EINVAL
    os.close(fd)


# Values.

@pytest.mark.parametrize("version", [0, 2, 0xFFFFFFFF])
def test_another_version(daemon, version):
    client = Peer(daemon.path, hello=False)
    client.send(HELLO, hello_payload(version=version))
    reply = client.receive()
    assert reply.error == -errno.EPROTO
    assert client.expect_end() == -errno.EPROTO
    client.close()


@pytest.mark.parametrize("kind", [kind for kind in REQUESTS if kind != HELLO], ids=name)
def test_before_hello(daemon, kind):
    client = Peer(daemon.path, hello=False)
    try:
        send_and_close(client, kind, bytes(PAYLOAD[kind]), descriptors_for(kind))
        assert client.expect_end() == -errno.EPROTO
    except Refused:
        assert DESCRIPTORS.get(kind)
    client.close()


def test_hello_twice(bad):
    bad.send(HELLO, hello_payload())
    assert bad.expect_end() == -errno.EPROTO


@pytest.mark.parametrize("device", [b"nope", b"x" * 32, b"../../etc", b"\xff\xfe", b"accel0x"])
def test_no_such_device(daemon, device):
    client = Peer(daemon.path, hello=False)
    client.send(HELLO, hello_payload(device=device))
    try:
        assert client.receive().error == -errno.ENODEV
    except Ended:
        pass
    client.close()


@pytest.mark.parametrize("access", [0, 4, 8, 5, 0xFFFFFFFF])
def test_bind_access(bad, target, access):
    assert bad.call(BIND, bind_payload(access=access), target.bundle).error == -errno.EINVAL


@pytest.mark.parametrize("pasid", [0, 1 << 20, 1 << 31, 0xFFFFFFFE])
def test_bind_pasid(bad, target, pasid):
    assert bad.call(BIND, bind_payload(pasid=pasid), target.bundle).error == -errno.EINVAL


@pytest.mark.parametrize("pasid", [0, 77, (1 << 20) - 1, 1 << 20, NO_PASID])
def test_unbind_what_is_not_bound(bad, pasid):
    assert bad.call(UNBIND, struct.pack("=II", pasid, 0)).error == -errno.ENOENT


@pytest.mark.parametrize("pasid", [0, 77, (1 << 20) - 1, 1 << 20])
def test_grant_what_is_not_bound(bad, pasid):
    assert bad.call(GRANT, struct.pack("=II", pasid, 0)).error == -errno.ENOENT


@pytest.mark.parametrize("flags, entries, pasid", [
    (1, 0, 0), (1, 1, 0), (1, 3, 0), (1, 8192, 0), (1, 0x80000000, 0), (1, 0xFFFFFFFF, 0), (4, 64, 0), (0x80000000, 64, 0),
    (0xFFFFFFFF, 64, 0), (0, 64, 0), (0, 64, NO_PASID), (0, 64, 1 << 20),
])
def test_queue_values(bad, flags, entries, pasid):
    assert bad.call(QUEUE, struct.pack("=IIII", flags, entries, pasid, 0)).error in (-errno.EINVAL, -errno.EOPNOTSUPP, -errno.ENOENT)


@pytest.mark.parametrize("queue", [0, 1, 2, 1000, 0x7FFFFFFF, 0xFFFFFFFF])
def test_destroy_a_queue_that_is_not(bad, queue):
    assert bad.call(QUEUE_DESTROY, struct.pack("=II", queue, 0)).error == -errno.ENOENT


@pytest.mark.parametrize("flags, offset, length, iova, expected", [
    (4, 0, 0, 0, errno.EINVAL), (0, 0, 4096, 0, errno.EINVAL), (8, 0, 4096, 0, errno.EOPNOTSUPP),
    (4, 0, U64, 0, errno.EOVERFLOW), (5, 0, 4096, U64, errno.EOVERFLOW), (5, 0, 4096, U64 - 2047, errno.EOVERFLOW),
    (4, 4096, 4096, 0, errno.EINVAL), (4, 0, 8192, 0, errno.EINVAL), (4, U64 - 4094, 4096, 0, errno.EOVERFLOW),
    (4, U64 - 4095, 4096, 0, errno.EINVAL), (4, U64, 1, 0, errno.EINVAL), (4, 1 << 63, 4096, 0, errno.EINVAL), (4, 0, 1 << 63, 0, errno.EINVAL),
])
def test_map_values(bad, flags, offset, length, iova, expected):
    fd = memfd()
    error = bad.call(MAP, struct.pack("=IIQQQ", flags, 0, offset, length, iova), [fd]).error
    os.close(fd)
    assert error == -expected


@pytest.mark.parametrize("iova, length", [(0, 4096), (4096, 0), (U64, 1), (1, U64), (U64 - 4095, 8192)])
def test_unmap_values(bad, iova, length):
    assert bad.call(UNMAP, struct.pack("=QQ", iova, length)).error in (-errno.ENOENT, -errno.EINVAL, -errno.EOVERFLOW)


@pytest.mark.parametrize("access, address, length, offset", [
    (0, 0x10000, 4096, 0), (4, 0x10000, 4096, 0), (READ, 0x10001, 4096, 0), (READ, 0x10000, 4095, 0), (READ, 0x10000, 0, 0),
    (READ, 0x10000, 4096, 1), (READ, 0x10000, 4096, 4096), (READ, 0x10000, 8192, 0), (READ, U64 - 4095, 8192, 0),
    (READ, 0x10000, 1 << 63, 0), (READ, 0x10000, 4096, 1 << 63), (READ, U64 - 4095, 4096, U64 - 4095),
])
def test_register_values(bad, target, access, address, length, offset):
    pasid = struct.unpack_from("=I", bad.call(BIND, bind_payload(), target.bundle).payload, 8)[0]
    fd = memfd()
    error = bad.call(REGISTER, struct.pack("=IIQQQ", pasid, access, address, length, offset), [fd]).error
    os.close(fd)
    assert error in (-errno.EINVAL, -errno.EOVERFLOW)


# Behaviour over time.

def test_same_cookie_twice(bad):
    for _ in range(2):
        bad.send(LIST, bytes(8), cookie=5)
    assert [bad.receive().cookie for _ in range(2)] == [5, 5]


def test_many_requests_at_once_are_all_answered(bad):
    for cookie in range(1, 33):
        bad.send(GRANT, struct.pack("=II", 77, 0), cookie=cookie)
    assert sorted(bad.receive().cookie for _ in range(32)) == list(range(1, 33))


def test_a_client_that_does_not_read_is_ended(bad):
    with pytest.raises(Ended):
        for _ in range(50000):
            bad.send(LIST, bytes(8))


@pytest.mark.parametrize("how", [socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR])
def test_half_a_connection(bad, how):
    bad.socket.shutdown(how)
    try:
        bad.send(LIST, bytes(8))
    except Ended:
        pass


def test_close_with_requests_under_way(daemon, target):
    for _ in range(20):
        client = Peer(daemon.path)
        for _ in range(8):
            client.send(BIND, bind_payload(), target.bundle)
            client.send(QUEUE, struct.pack("=IIII", 1, 64, 0, 0))
        client.close()


def test_connect_and_say_nothing(daemon):
    clients = [Peer(daemon.path, hello=False) for _ in range(20)]
    for client in clients:
        client.close()


def test_as_many_clients_as_executors(small_daemon):
    def refused():
        """Hung up on without a reason: the place for those who are refused was taken."""
        end = None
        while end is None:
            end = Peer(small_daemon.path, hello=False).expect_end()
        return end == -errno.EDQUOT

    def comes_in():
        try:
            Peer(small_daemon.path).close()
            return True
        except Ended:
            return False

    clients = [Peer(small_daemon.path) for _ in range(2)]
    assert all(refused() for _ in range(5))
    assert any("as many clients as --executors permits" in line for line in small_daemon.log_lines())
    clients.pop().close()
    while not comes_in():
        pass
    assert clients[0].call(LIST, bytes(8)).error == 0
    clients[0].close()


def test_ready_without_rights(small_daemon):
    """When it says that it is ready it has given up what it does not need."""
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{small_daemon.pid}/status").read_text().splitlines())
    assert status["Seccomp"].strip() == "2"
    assert status["NoNewPrivs"].strip() == "1"
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 0


def test_an_executor_cannot_fill_the_log(small_daemon):
    if small_daemon.sanitized():
        pytest.skip("a sanitizer's reports go there")
    client = Peer(small_daemon.path)
    files = [os.readlink(f"/proc/{pid}/fd/2") for pid in small_daemon.executors()]
    assert files == ["/dev/null"]
    client.close()


def writable_memory(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            place, access = line.split()[:2]
            if not access.startswith("rw"):
                continue
            start, end = (int(number, 16) for number in place.split("-"))
            memory.seek(start)
            try:
                yield memory.read(end - start)
            except OSError:
                pass


def test_an_executor_knows_nothing_of_others(small_daemon, target):
    if small_daemon.sanitized():
        pytest.skip("a sanitizer has memory of its own, and much of it")
    words = [b"of-the-client-1", b"of-its-process2", b"of-the-client-3", b"of-its-process4"]

    def connect(comm, process):
        client = Peer(small_daemon.path, hello=False)
        client.call(HELLO, hello_payload(comm=comm))
        for access in (READ, READ | WRITE):
            assert client.call(BIND, bind_payload(access=access, comm=process), target.bundle).error == 0
        assert client.call(LIST, bytes(8)).error == 0
        return client

    def known(pid):
        try:
            return {word for memory in writable_memory(pid) for word in words if word in memory}
        except PermissionError:
            pytest.skip("may not look into processes of the same user")

    # One that ends, and one that does not.
    connect(*words[:2]).close()
    while small_daemon.executors():
        pass
    client = connect(*words[2:])
    own = small_daemon.executors()
    assert known(own[0]) == set(words[2:])
    other = Peer(small_daemon.path)
    assert [known(pid) for pid in small_daemon.executors() if pid not in own] == [set()]
    other.close()
    client.close()


def test_nothing_is_left(daemon, good):
    """Runs last: the only client is `good`."""
    def settled():
        return len(daemon.executors()) <= 1

    while not settled():
        assert good.call(LIST, bytes(8)).error == 0
    before = daemon.descriptors()
    other = Peer(daemon.path)
    assert daemon.descriptors() > before
    other.close()
    while daemon.descriptors() > before:
        assert good.call(LIST, bytes(8)).error == 0
    assert before < 40


def test_the_log_is_bounded(daemon):
    """Hundreds of malformed messages, and few lines: they are limited by rate, and say how many were left out."""
    for _ in range(300):
        client = Peer(daemon.path, hello=False)
        client.send_raw(b"garbage")
        client.close()
    assert len(daemon.log_lines()) < 1000

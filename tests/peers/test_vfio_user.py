# SPDX-License-Identifier: BSD-3-Clause
"""The vfio-user server: correct sessions, and what each malformed message does. The device is tests/peers/device.c."""

import errno
import json
import mmap
import os
import struct
import subprocess
import threading

import pytest

import vfio_user
from conftest import program
from vfio_user import (BOOL, CONFIG, DMA_MAP, DMA_READ, DMA_UNMAP, DMA_WRITE, ERROR, FDS, GET_INFO, HEADER, IRQ_INFO, MASK, MSI, MSIX, NONE,
                       NO_REPLY, READ, REGION_INFO, REGION_READ, REGION_WRITE, REPLY, RESET, SET_IRQS, TRIGGER, UNMASK, VERSION, WRITE)

ADDRESS, LENGTH, COMMAND, STATUS, REASON, DONE_BYTES = 0, 8, 12, 16, 20, 24
PIN, VECTOR, MESSAGE_ADDRESS, MESSAGE, MASTER, RESETS, STATE, LAST_ERROR = 0x20, 0x24, 0x28, 0x30, 0x34, 0x38, 0x3C, 0x40
BUFFER = 0x10000
IN, OUT, HERE = 1, 2, 0x100
BUSY, DONE, FAULT = 1, 2, 3
NOT_ATTACHED, DRAINING, UNMAPPED, PERMISSION, MEMORY = 1, 2, 3, 4, 7
ON = (6).to_bytes(2, "little")  # memory space and bus master
PAGE = mmap.PAGESIZE


@pytest.fixture
def device():
    running = vfio_user.Device(program("tests/peers/peer-device"))
    yield running
    if running.process.returncode is None:
        running.stop()


@pytest.fixture
def peer(device):
    made = vfio_user.Peer(device.path)
    made.enable()
    yield made
    made.close()


@pytest.fixture
def ram():
    fd = vfio_user.memory(16 * PAGE)
    view = mmap.mmap(fd, 16 * PAGE)
    view[:] = bytes(range(256)) * (16 * PAGE // 256)
    yield fd, view
    view.close()
    os.close(fd)


def transfer(peer, command, address, length):
    """Start it; its end is an interrupt, and a status."""
    peer.set(ADDRESS, address, 8)
    peer.set(LENGTH, length)
    peer.set(COMMAND, command)


def finished(peer):
    while True:
        status = peer.get(STATUS)
        if status != BUSY:
            return status, peer.get(REASON), peer.get(DONE_BYTES)


def answer(peer, request, data=None, **options):
    """To a request for memory: the bytes that were asked for, or that some have been taken."""
    payload = request.payload[:16] + (data if data is not None else b"")
    peer.send(request.command, payload, flags=REPLY | options.pop("flags", 0), number=request.id, **options)


def place_of(request):
    address, count = struct.unpack_from("<QQ", request.payload)
    return address, count


# --- sessions ---


def test_version(device):
    peer = vfio_user.Peer(device.path, agree=False)
    payload = vfio_user.version_payload(vfio_user.CAPABILITIES)
    reply = peer.call(VERSION, payload)
    assert struct.unpack_from("<HH", reply.payload) == (0, 0)
    assert len(reply.payload) <= len(payload)
    assert reply.payload[-1] == 0
    assert json.loads(reply.payload[4:-1])["capabilities"] == {"max_msg_fds": 16, "max_data_xfer_size": 1048576}
    peer.close()


def test_version_without_capabilities(device):
    peer = vfio_user.Peer(device.path, agree=False)
    assert peer.call(VERSION, vfio_user.version_payload()).payload == bytes(4)
    peer.close()


def test_version_that_is_not_ours(device):
    peer = vfio_user.Peer(device.path, agree=False)
    assert peer.call(VERSION, vfio_user.version_payload(major=1)).error == errno.ENOTSUP
    assert peer.call(VERSION, vfio_user.version_payload(minor=7)).error == 0
    peer.close()


def test_device_info(peer):
    info = peer.call(GET_INFO, struct.pack("<IIII", 16, 0, 0, 0))
    assert struct.unpack("<IIII", info.payload) == (16, 3, 9, 5)
    assert peer.call(GET_INFO, struct.pack("<IIII", 15, 0, 0, 0)).error == errno.EINVAL


def region(peer, index, argsz=64):
    message = peer.call(REGION_INFO, struct.pack("<IIIIQQ", argsz, 0, index, 0, 0, 0))
    return message.error, struct.unpack_from("<IIIIQQ", message.payload) if not message.error else None, message


def test_region_info(peer):
    assert region(peer, 0)[1] == (32, 3, 0, 0, 1 << 20, 0)
    assert region(peer, 1)[1] == (32, 0, 1, 0, 0, 0)
    assert region(peer, CONFIG)[1] == (32, 3, CONFIG, 0, 4096, 0)
    assert region(peer, 6)[1] == (32, 0, 6, 0, 0, 0)
    assert region(peer, 8)[1] == (32, 0, 8, 0, 0, 0)
    assert region(peer, 9)[0] == errno.EINVAL
    assert region(peer, 0xFFFFFFFF)[0] == errno.EINVAL
    assert region(peer, 0, argsz=31)[0] == errno.EINVAL


def test_memory_of_a_bar(peer):
    """All of one, and an area of another; the guest sees what it writes there by itself."""
    _, info, whole = region(peer, 3)
    assert info == (32, 7, 3, 0, 65536, 0) and len(whole.fds) == 1
    _, info, message = region(peer, 4)
    assert info == (64, 15, 4, 32, 1 << 20, 0) and len(message.fds) == 1
    assert struct.unpack_from("<HHIIIQQ", message.payload, 32) == (1, 1, 0, 1, 0, 65536, 131072)
    _, info, short = region(peer, 4, argsz=32)
    assert info == (64, 15, 4, 0, 1 << 20, 0) and len(short.payload) == 32
    with mmap.mmap(message.fds[0], 131072, offset=65536) as view:
        view[10:14] = b"abcd"
        assert peer.read(4, 65536 + 10, 4) == b"abcd"
        peer.write(4, 65536 + 131072 - 2, b"xy")
        assert view[-2:] == b"xy"
    assert peer.get(8, 8, region=4) == 8
    for message in (whole, message, short):
        os.close(message.fds[0])


def test_irq_info(peer):
    def info(index):
        message = peer.call(IRQ_INFO, struct.pack("<IIII", 16, 0, index, 0))
        return message.error or struct.unpack("<IIII", message.payload)

    assert [info(index) for index in range(6)] == [(16, 7, 0, 1), (16, 1, 1, 4), (16, 1, 2, 40), (16, 1, 3, 1), (16, 0, 4, 0), errno.EINVAL]


def test_config_space(peer):
    config = peer.read(CONFIG, 0, 4096)
    assert config[:4] == struct.pack("<HH", 0x1234, 0x5501)
    assert config[4:6] == ON
    peer.write(CONFIG, 0x10, b"\xff\xff\xff\xff")
    assert peer.get(0x10, region=CONFIG) == 0xFFF00000


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_registers(peer, width):
    value = int.from_bytes(bytes(range(0x81, 0x81 + width)), "little")
    peer.set(BUFFER + 16, value, width)
    assert peer.get(BUFFER + 16, width) == value


def test_posted_writes_are_done_in_order(peer):
    for i in range(1000):
        peer.set(BUFFER, i, posted=True)
    assert peer.get(BUFFER) == 999


def test_large_accesses(peer):
    data = os.urandom(0x10000)
    peer.write(0, BUFFER, data)
    assert peer.read(0, BUFFER, 0x10000) == data
    assert len(peer.read(0, 0, 1 << 20)) == 1 << 20


@pytest.mark.parametrize("region_index, offset, count", [
    (0, (1 << 20) - 3, 4), (0, 0xFFFFFFFFFFFFFFFF, 1), (0, 0xFFFFFFFFFFFFFFFD, 4), (1, 0, 4), (6, 0, 4), (8, 0, 4), (9, 0, 1),
    (0xFFFFFFFF, 0, 1), (CONFIG, 4096, 1), (CONFIG, 4094, 4), (0, 0, 0)])
def test_accesses_outside(peer, region_index, offset, count):
    head = struct.pack("<QII", offset, region_index, count)
    assert peer.call(REGION_READ, head).error == errno.EINVAL
    assert peer.call(REGION_WRITE, head + bytes(count)).error == errno.EINVAL
    assert peer.get(RESETS) >= 0


def test_reads_that_are_too_large(peer):
    assert peer.call(REGION_READ, struct.pack("<QII", 0, 0, (1 << 20) + 1)).error == errno.EINVAL
    assert peer.call(REGION_READ, struct.pack("<QII", 0, 0, 0xFFFFFFFF)).error == errno.EINVAL


def test_commands_that_are_not_known(peer):
    for command in (0, vfio_user.IO_FDS, vfio_user.DIRTY_PAGES, vfio_user.WRITE_MULTI, vfio_user.FEATURE, DMA_READ, 0xFFFF):
        assert peer.call(command, bytes(16)).error == errno.ENOTSUP


def test_no_reply_means_none(peer):
    """Not even an error."""
    peer.send(REGION_WRITE, struct.pack("<QII", 1 << 40, 0, 1) + b"x", flags=NO_REPLY)
    peer.send(DMA_MAP, vfio_user.map_payload(0, 0), flags=NO_REPLY)
    assert peer.get(STATUS) == 0


# --- memory ---


def test_guest_memory(peer, ram):
    fd, view = ram
    assert peer.map(0x100000, 8 * PAGE, fd, offset=4 * PAGE) == 0
    transfer(peer, IN, 0x100000 + 3, 5000)
    assert finished(peer) == (DONE, 0, 5000)
    assert peer.read(0, BUFFER, 5000) == view[4 * PAGE + 3:4 * PAGE + 5003]
    peer.write(0, BUFFER, b"from the device")
    transfer(peer, OUT, 0x100000 + 8 * PAGE - 15, 15)
    assert finished(peer) == (DONE, 0, 15)
    assert view[12 * PAGE - 15:12 * PAGE] == b"from the device"
    transfer(peer, IN, 0x100000 + 8 * PAGE - 4, 8)
    assert finished(peer) == (FAULT, UNMAPPED, 4)


def test_unmap(peer, ram):
    fd, _ = ram
    assert peer.map(0, 2 * PAGE, fd) == 0
    assert peer.map(2 * PAGE, 2 * PAGE, fd, offset=2 * PAGE) == 0
    assert peer.unmap(PAGE, PAGE).error == errno.ENOENT
    reply = peer.unmap(0, 4 * PAGE)
    assert reply.error == 0 and reply.payload == vfio_user.unmap_payload(0, 4 * PAGE)
    assert peer.unmap(0, 4 * PAGE).error == errno.ENOENT
    transfer(peer, IN, 0, 8)
    assert finished(peer) == (FAULT, UNMAPPED, 0)


def test_unmap_all(peer, ram):
    fd, _ = ram
    for i in range(8):
        assert peer.map(i * 0x100000, PAGE, fd, offset=i * PAGE) == 0
    reply = peer.unmap(0, 0, flags=2)
    assert reply.error == 0 and reply.payload == vfio_user.unmap_payload(0, 8 * PAGE, flags=2)
    assert peer.unmap(0, 0, flags=2).error == 0
    assert peer.unmap(0, PAGE, flags=2).error == errno.EINVAL
    assert peer.unmap(0, PAGE, flags=1).error == errno.ENOTSUP
    assert peer.unmap(0, PAGE, flags=4).error == errno.EINVAL


def test_the_same_map_again(peer, ram):
    fd, view = ram
    assert peer.map(0, 2 * PAGE, fd) == 0
    assert peer.map(0, 2 * PAGE, fd) == 0
    assert peer.map(0, 2 * PAGE, fd, offset=6 * PAGE + 0) == 0
    view[6 * PAGE:6 * PAGE + 4] = b"anew"
    transfer(peer, IN, 0, 4)
    assert finished(peer) == (DONE, 0, 4)
    assert peer.read(0, BUFFER, 4) == b"anew"
    assert peer.map(PAGE, 2 * PAGE, fd) == errno.EEXIST
    assert peer.unmap(0, 2 * PAGE).error == 0


def test_permissions(peer, ram):
    fd, _ = ram
    assert peer.map(0, PAGE, fd, flags=READ) == 0
    assert peer.map(PAGE, PAGE, fd, flags=WRITE) == 0
    transfer(peer, OUT, 0, 8)
    assert finished(peer) == (FAULT, PERMISSION, 0)
    transfer(peer, IN, PAGE, 8)
    assert finished(peer) == (FAULT, PERMISSION, 0)


@pytest.mark.parametrize("payload", [
    vfio_user.map_payload(0, 0), vfio_user.map_payload(1 << 63, 1 << 63), vfio_user.map_payload(0xFFFFFFFFFFFFF000, 0x2000),
    vfio_user.map_payload(0, PAGE, flags=0), vfio_user.map_payload(0, PAGE, flags=4), vfio_user.map_payload(0, 0xFFFFFFFFFFFFFFFF),
    vfio_user.map_payload(0, PAGE, offset=0xFFFFFFFFFFFFFFFF), vfio_user.map_payload(0, PAGE, argsz=0)])
def test_maps_that_cannot_be(peer, ram, payload):
    assert peer.call(DMA_MAP, payload, [ram[0]]).error == errno.EINVAL
    assert peer.call(DMA_MAP, payload).error == errno.EINVAL


def test_bus_master_is_needed(peer, ram):
    assert peer.map(0, PAGE, ram[0]) == 0
    peer.set(4, 2, 2, region=CONFIG)
    transfer(peer, IN, 0, 8)
    assert finished(peer) == (FAULT, DRAINING, 0)
    peer.set(4, 6, 2, region=CONFIG)
    transfer(peer, IN, 0, 8)
    assert finished(peer) == (DONE, 0, 8)


def test_memory_that_gets_shorter(peer):
    """What is not there any more is a fault, and nobody dies."""
    fd = vfio_user.memory(4 * PAGE)
    assert peer.map(0, 4 * PAGE, fd) == 0
    os.ftruncate(fd, PAGE)
    transfer(peer, IN, 0, 2 * PAGE)
    assert finished(peer) == (FAULT, MEMORY, PAGE)
    transfer(peer, OUT, 3 * PAGE, 8)
    assert finished(peer) == (FAULT, MEMORY, 0)
    os.close(fd)


def test_a_translated_function_has_no_memory_of_its_own(ram):
    device = vfio_user.Device(program("tests/peers/peer-device"), "translated")
    peer = vfio_user.Peer(device.path)
    peer.enable()
    assert peer.map(0, PAGE, ram[0]) == 0
    assert peer.map(0, 2 * PAGE, ram[0]) == 0
    transfer(peer, IN, 0, 8)
    assert finished(peer) == (FAULT, NOT_ATTACHED, 0)
    assert peer.unmap(0, 123 * PAGE).error == 0
    peer.close()
    device.stop()


# --- memory by messages ---


def test_memory_without_a_descriptor(peer):
    assert peer.map(0xA0000, 0x20000) == 0
    transfer(peer, IN, 0xA0010, 600)
    request = peer.request()
    assert (request.command, request.flags) == (DMA_READ, 0)
    assert request.payload == struct.pack("<QQ", 0xA0010, 600)
    answer(peer, request, bytes(range(200)) * 3)
    assert finished(peer) == (DONE, 0, 600)
    assert peer.read(0, BUFFER, 600) == bytes(range(200)) * 3
    peer.write(0, BUFFER, b"eight by")
    transfer(peer, OUT, 0xBFFFC, 8)
    request = peer.request()
    assert request.command == DMA_WRITE
    assert request.payload == struct.pack("<QQ", 0xBFFFC, 4) + b"eigh"
    answer(peer, request)
    assert finished(peer) == (FAULT, UNMAPPED, 4)


def test_what_cannot_be_mapped_is_reached_by_messages(peer):
    read_end, write_end = os.pipe()
    small = vfio_user.memory(PAGE)
    assert peer.map(0, PAGE, read_end) == 0
    assert peer.map(0x100000, 2 * PAGE, small) == 0
    for address in (0, 0x100000):
        transfer(peer, IN, address, 8)
        answer(peer, peer.request(), b"12345678")
        assert finished(peer) == (DONE, 0, 8)
    for fd in (read_end, write_end, small):
        os.close(fd)


def test_the_other_side_says_how_much_it_takes(device):
    peer = vfio_user.Peer(device.path, agree=False)
    assert peer.call(VERSION, vfio_user.version_payload({"capabilities": {"max_data_xfer_size": 100}})).error == 0
    peer.enable()
    assert peer.map(0, 4096) == 0
    transfer(peer, IN, 0, 250)
    counts = []
    for _ in range(3):
        request = peer.request()
        counts.append(place_of(request))
        answer(peer, request, bytes(place_of(request)[1]))
    assert counts == [(0, 100), (100, 100), (200, 50)]
    assert finished(peer) == (DONE, 0, 250)
    assert peer.call(REGION_READ, struct.pack("<QII", 0, 0, 101)).error == errno.EINVAL
    peer.close()


def test_an_error_is_a_fault(peer):
    assert peer.map(0, 4096) == 0
    for command in (IN, OUT):
        transfer(peer, command, 0, 8)
        answer(peer, peer.request(), flags=ERROR, error=errno.EFAULT)
        assert finished(peer) == (FAULT, MEMORY, 0)


def test_an_unmap_ends_an_access(peer):
    """It is answered although the access never is, and the late reply has no effect."""
    assert peer.map(0, 4096) == 0
    peer.write(0, BUFFER, b"untouched")
    transfer(peer, IN, 0, 9)
    request = peer.request()
    assert peer.unmap(0, 4096).error == 0
    assert finished(peer) == (FAULT, UNMAPPED, 0)
    answer(peer, request, b"too late!")
    assert peer.read(0, BUFFER, 9) == b"untouched"


def test_a_reset_ends_an_access(peer):
    assert peer.map(0, 4096) == 0
    transfer(peer, IN, 0, 8)
    request = peer.request()
    assert peer.call(RESET).error == 0
    answer(peer, request, bytes(8))
    peer.enable()
    assert finished(peer)[0] == FAULT


def test_a_drain_does_not_wait_for_the_other_side(peer):
    """Who answers waits for an access that waits for the other side, which waits for the answer. The access is made again."""
    assert peer.map(0, 4096) == 0
    transfer(peer, IN, 0, 8)
    first = peer.request()
    peer.set(MASTER, 1)
    assert peer.get(LAST_ERROR) == 0
    if peer.get(STATUS) == BUSY:  # it found the device attached again
        again = peer.request()
        assert again.id != first.id and again.payload == first.payload
        answer(peer, again, b"answered")
        assert finished(peer) == (DONE, 0, 8)
        assert peer.read(0, BUFFER, 8) == b"answered"
    else:
        assert finished(peer) == (FAULT, DRAINING, 0)
    answer(peer, first, b"too late")
    assert peer.get(RESETS) >= 0


def test_the_thread_that_serves_asks_nobody(peer):
    assert peer.map(0, 4096) == 0
    transfer(peer, IN | HERE, 0, 8)
    assert finished(peer) == (FAULT, MEMORY, 0)
    assert not peer.requests


def test_registers_are_no_memory(peer):
    """A DMA to where a BAR is goes nowhere."""
    peer.set(0x18, 0xE1000000, region=CONFIG)
    assert peer.map(0xDFFFF000, 0x201000) == 0
    transfer(peer, OUT, 0xE0000000, 8)
    assert finished(peer) == (FAULT, MEMORY, 0)
    transfer(peer, OUT, 0xDFFFFFFC, 8)
    assert finished(peer) == (FAULT, MEMORY, 0)
    transfer(peer, OUT, 0xE0100000, 8)
    answer(peer, peer.request())
    assert finished(peer) == (DONE, 0, 8)
    assert not peer.requests


def test_lost_replies(peer):
    """Replies that never come cost numbers; when there are no more, accesses fail."""
    for i in range(257):
        assert peer.map(0, 4096) == 0
        transfer(peer, IN, 0, 8)
        if i < 256:
            peer.request()
        else:
            assert finished(peer) == (FAULT, MEMORY, 0)
        assert peer.unmap(0, 4096).error == 0
        finished(peer)


# --- interrupts ---


def test_intx(peer):
    fd = vfio_user.eventfd()
    assert peer.irqs(0, 0, 1, FDS | TRIGGER, [fd]) == 0
    peer.set(PIN, 1)
    assert vfio_user.signalled(fd) == 1
    peer.set(PIN, 1)
    peer.set(PIN, 0)
    peer.set(PIN, 1)
    assert vfio_user.signalled(fd, wait=False) == 0  # masked by itself
    assert peer.irqs(0, 0, 1, NONE | UNMASK) == 0
    assert vfio_user.signalled(fd) == 1
    peer.set(PIN, 0)
    assert peer.irqs(0, 0, 1, BOOL | UNMASK, data=b"\1") == 0
    assert vfio_user.signalled(fd, wait=False) == 0
    assert peer.irqs(0, 0, 1, NONE | MASK) == 0
    peer.set(PIN, 1)
    assert vfio_user.signalled(fd, wait=False) == 0
    assert peer.irqs(0, 0, 1, NONE | UNMASK) == 0
    peer.set(PIN, 0)
    assert vfio_user.signalled(fd, wait=False) == 0  # taken back, and not masked
    peer.set(PIN, 1)
    assert vfio_user.signalled(fd) == 1
    assert peer.irqs(0, 0, 0, NONE | TRIGGER) == 0
    assert peer.irqs(0, 0, 1, NONE | UNMASK) == errno.EINVAL  # it is not set up any more
    assert vfio_user.signalled(fd, wait=False) == 0
    os.close(fd)


def enable_msix(peer):
    at = peer.read(CONFIG, 0, 256)[0x34]
    config = peer.read(CONFIG, 0, 256)
    while config[at] != 0x11:
        at = config[at + 1]
    peer.set(at + 2, 0x8000, 2, region=CONFIG)


def test_msix(peer):
    fds = [vfio_user.eventfd() for _ in range(3)]
    enable_msix(peer)
    assert peer.irqs(MSIX, 5, 3, FDS | TRIGGER, fds) == 0
    peer.set(VECTOR, 6)
    assert vfio_user.signalled(fds[1]) == 1
    assert vfio_user.signalled(fds[0], wait=False) == 0
    assert peer.irqs(MSIX, 6, 1, FDS | TRIGGER) == 0
    peer.set(VECTOR, 6)
    assert peer.get(LAST_ERROR) == 0
    assert vfio_user.signalled(fds[1], wait=False) == 0
    assert peer.irqs(MSIX, 6, 1, FDS | TRIGGER, [fds[1]]) == 0
    assert vfio_user.signalled(fds[1]) == 1  # it was pending
    peer.set(VECTOR, 40)
    assert peer.get(LAST_ERROR) == errno.EINVAL
    assert peer.irqs(MSIX, 5, 2, BOOL | TRIGGER, data=b"\0\1") == 0
    assert vfio_user.signalled(fds[1]) == 1
    assert peer.irqs(MSIX, 0, 0, NONE | TRIGGER) == 0
    peer.set(VECTOR, 5)
    assert vfio_user.signalled(fds[0], wait=False) == 0
    for fd in fds:
        os.close(fd)


@pytest.mark.parametrize("index, start, count, flags, data, fds", [
    (MSIX, 40, 1, NONE | TRIGGER, b"", 0), (MSIX, 0, 41, NONE | TRIGGER, b"", 0), (MSIX, 0xFFFFFFFF, 1, NONE | TRIGGER, b"", 0),
    (MSIX, 1, 0xFFFFFFFF, NONE | TRIGGER, b"", 0), (4, 0, 1, NONE | TRIGGER, b"", 0), (5, 0, 0, NONE | TRIGGER, b"", 0),
    (0xFFFFFFFF, 0, 0, NONE | TRIGGER, b"", 0), (MSI, 0, 1, NONE | TRIGGER, b"", 0), (MSI, 3, 2, BOOL | TRIGGER, b"\1\1", 0)])
def test_interrupts_that_are_not_there(peer, index, start, count, flags, data, fds):
    assert not fds
    assert peer.irqs(index, start, count, flags, data=data) == errno.EINVAL


def test_only_the_pin_has_a_mask(peer):
    fd = vfio_user.eventfd()
    assert peer.irqs(MSIX, 0, 1, FDS | TRIGGER, [fd]) == 0
    assert peer.irqs(MSIX, 0, 1, NONE | MASK) == errno.ENOTTY
    assert peer.irqs(MSIX, 0, 1, NONE | UNMASK) == errno.ENOTTY
    assert peer.irqs(0, 0, 1, FDS | TRIGGER, [fd]) == errno.EINVAL  # one of pin, MSI, MSI-X is set up
    os.close(fd)


def test_only_eventfds_are_signalled(peer, ram):
    read_end, write_end = os.pipe()
    assert peer.irqs(0, 0, 1, FDS | TRIGGER, [write_end]) == errno.EINVAL
    assert peer.irqs(0, 0, 1, FDS | TRIGGER, [ram[0]]) == errno.EINVAL
    os.close(read_end)
    os.close(write_end)


def test_a_full_eventfd_holds_up_nobody(peer):
    fd = vfio_user.eventfd()
    os.write(fd, (0xFFFFFFFFFFFFFFFE).to_bytes(8, "little"))
    enable_msix(peer)
    assert peer.irqs(MSIX, 0, 1, FDS | TRIGGER, [fd]) == 0
    peer.set(VECTOR, 0)
    assert peer.get(LAST_ERROR) == 0
    os.close(fd)


def test_messages_of_the_function(peer):
    """Interrupts whose address is in a register: posted writes, and nobody minds an error."""
    peer.set(MESSAGE_ADDRESS, 0xFEE01000, 8)
    peer.set(MESSAGE, 0x4041, posted=True)
    request = peer.request()
    assert (request.command, request.flags) == (DMA_WRITE, NO_REPLY)
    assert request.payload == struct.pack("<QQI", 0xFEE01000, 4, 0x4041)
    answer(peer, request, flags=ERROR, error=errno.EINVAL)
    peer.set(4, 2, 2, region=CONFIG)
    peer.set(MESSAGE, 1)
    assert peer.get(LAST_ERROR) == errno.ENODEV


# --- life ---


def test_reset(peer, ram):
    assert peer.map(0, PAGE, ram[0]) == 0
    resets = peer.get(RESETS)
    assert peer.call(RESET).error == 0
    assert peer.read(CONFIG, 4, 2) == b"\0\0"
    assert peer.get(RESETS) == 0xFFFFFFFF  # BARs do not decode
    peer.enable()
    assert peer.get(RESETS) == resets + 1
    transfer(peer, IN, 0, 4)
    assert finished(peer) == (DONE, 0, 4)  # memory is not the function's


def test_a_new_connection_finds_nothing_of_the_old(device, ram):
    first = vfio_user.Peer(device.path)
    first.enable()
    fd = vfio_user.eventfd()
    assert first.irqs(0, 0, 1, FDS | TRIGGER, [fd]) == 0
    assert first.map(0, PAGE, ram[0]) == 0
    resets = first.get(RESETS)
    second = vfio_user.Peer(device.path, agree=False)  # waits until the first one has ended
    second.send(VERSION, vfio_user.version_payload(vfio_user.CAPABILITIES))
    assert first.get(RESETS) == resets
    first.close()
    assert second.receive().command == VERSION
    assert second.read(CONFIG, 4, 2) == b"\0\0"
    second.enable()
    assert second.get(RESETS) == resets + 1
    transfer(second, IN, 0, 4)
    assert finished(second) == (FAULT, UNMAPPED, 0)
    second.set(PIN, 1)
    assert vfio_user.signalled(fd, wait=False) == 0
    second.close()
    os.close(fd)


def test_a_disconnect_in_the_middle_of_an_access(device):
    for _ in range(20):
        peer = vfio_user.Peer(device.path)
        peer.enable()
        while peer.get(STATUS) == BUSY:
            pass
        assert peer.map(0, 4096) == 0
        transfer(peer, IN, 0, 8)
        assert peer.request().command == DMA_READ
        peer.close()
    assert device.stop() == ""


def test_a_disconnect_in_the_middle_of_a_message(device):
    whole = HEADER.pack(1, VERSION, 24, 0, 0) + bytes(8)
    for length in range(1, len(whole)):
        peer = vfio_user.Peer(device.path, agree=False)
        peer.send_raw(whole[:length])
        peer.close()
    assert device.stop() == ""


def test_messages_in_pieces(device):
    peer = vfio_user.Peer(device.path, agree=False)
    payload = vfio_user.version_payload(vfio_user.CAPABILITIES)
    for byte in HEADER.pack(9, VERSION, HEADER.size + len(payload), 0, 0) + payload:
        peer.send_raw(bytes([byte]))
    assert peer.receive().id == 9
    peer.close()


def test_more_requests_than_are_kept(peer):
    """The server reads on when it has caught up; nothing is lost and nothing comes twice."""
    sender = threading.Thread(target=lambda: [peer.send(REGION_READ, struct.pack("<QII", RESETS, 0, 4), number=n) for n in range(3000)])
    sender.start()
    assert [peer.receive().id for _ in range(3000)] == list(range(3000))
    sender.join()


def test_a_server_that_ends_with_a_connection(device, ram):
    peer = vfio_user.Peer(device.path)
    peer.enable()
    assert peer.map(0, PAGE, ram[0]) == 0
    assert peer.map(0x100000, PAGE) == 0
    transfer(peer, IN, 0x100000, 8)
    peer.request()
    assert device.stop() == ""
    assert peer.ends()
    peer.close()


# --- what is malformed ---


def lines(said):
    return [line for line in said.splitlines() if "malformed" in line]


def sizes(command, right):
    """short, long, zero, max, wrap"""
    return [(command, bytes(max(right - 1, 0)), None), (command, bytes(right + 1), None), (command, bytes(right), 0), (command, bytes(right), 15),
            (command, bytes(right), 0xFFFFFFFF), (command, bytes(right), (1 << 20) + 65)]


EXACT = {DMA_MAP: 32, DMA_UNMAP: 24, REGION_READ: 16}
BAD = [case for command, right in EXACT.items() for case in sizes(command, right)]
BAD += [(RESET, b"x", None), (GET_INFO, bytes(15), None), (GET_INFO, bytes(4097), None), (REGION_INFO, bytes(31), None),
        (IRQ_INFO, bytes(15), None), (SET_IRQS, bytes(19), None), (REGION_WRITE, bytes(15), None),
        (REGION_WRITE, struct.pack("<QII", 0, 0, 4) + bytes(3), None), (REGION_WRITE, struct.pack("<QII", 0, 0, 4) + bytes(5), None),
        (REGION_WRITE, struct.pack("<QII", 0, 0, 0xFFFFFFFF) + bytes(4), None), (VERSION, vfio_user.version_payload(), None)]
BAD += [(SET_IRQS, payload, None) for payload in (
    vfio_user.irqs_payload(0, 0, 1, FDS | TRIGGER, b"x"), vfio_user.irqs_payload(0, 0, 1, BOOL | TRIGGER),
    vfio_user.irqs_payload(0, 0, 1, BOOL | TRIGGER, b"xx"), vfio_user.irqs_payload(0, 0, 0xFFFFFFFF, BOOL | TRIGGER, b"x"),
    vfio_user.irqs_payload(0, 0, 1, NONE | FDS | TRIGGER), vfio_user.irqs_payload(0, 0, 1, TRIGGER),
    vfio_user.irqs_payload(0, 0, 1, NONE), vfio_user.irqs_payload(0, 0, 1, NONE | MASK | UNMASK),
    vfio_user.irqs_payload(0, 0, 1, NONE | TRIGGER | 64), vfio_user.irqs_payload(0, 0, 1, NONE | TRIGGER, argsz=19))]


@pytest.mark.parametrize("command, payload, size", BAD)
def test_malformed(device, command, payload, size):
    peer = vfio_user.Peer(device.path)
    peer.send(command, payload, size=size)
    if size is None or size < 16 or size > 1 << 20:
        assert peer.ends()
    peer.close()
    good = vfio_user.Peer(device.path)
    good.enable()
    assert good.get(RESETS) >= 1
    good.close()
    assert len(lines(device.stop())) == 1


@pytest.mark.parametrize("flags", [2, 15, 64, 0x80000000])
def test_malformed_flags(device, flags):
    peer = vfio_user.Peer(device.path)
    peer.send(RESET, flags=flags)
    assert peer.ends()
    peer.close()
    assert len(lines(device.stop())) == 1


@pytest.mark.parametrize("command, payload, count", [
    (RESET, b"", 1), (DMA_MAP, vfio_user.map_payload(0, PAGE), 2), (DMA_UNMAP, vfio_user.unmap_payload(0, PAGE), 1),
    (GET_INFO, struct.pack("<IIII", 16, 0, 0, 0), 1), (REGION_READ, struct.pack("<QII", 0, 0, 4), 1), (0xFFFF, b"", 1),
    (SET_IRQS, vfio_user.irqs_payload(MSIX, 0, 3, FDS | TRIGGER), 2), (SET_IRQS, vfio_user.irqs_payload(MSIX, 0, 3, FDS | TRIGGER), 4),
    (SET_IRQS, vfio_user.irqs_payload(MSIX, 0, 17, FDS | TRIGGER), 17), (SET_IRQS, vfio_user.irqs_payload(MSIX, 0, 16, FDS | TRIGGER), 60),
    (SET_IRQS, vfio_user.irqs_payload(MSIX, 0, 0, NONE | TRIGGER), 1)])
def test_wrong_number_of_descriptors(device, command, payload, count):
    peer = vfio_user.Peer(device.path)
    fds = [os.eventfd(0) for _ in range(count)] if hasattr(os, "eventfd") else [os.dup(0) for _ in range(count)]
    before = len(os.listdir(f"/proc/{device.process.pid}/fd"))
    peer.send(command, payload, fds)
    assert peer.ends()
    peer.close()
    vfio_user.Peer(device.path).close()
    good = vfio_user.Peer(device.path)
    assert len(os.listdir(f"/proc/{device.process.pid}/fd")) == before
    good.close()
    for fd in fds:
        os.close(fd)
    assert len(lines(device.stop())) == 1


@pytest.mark.parametrize("text", [
    b"{}", b"\0", b"nonsense\0", b"{\0", b"[]\0", b"{}{}\0", b"{}\0\0x", b'{"capabilities":{"max_data_xfer_size":7}}\0',
    b'{"capabilities":{"max_data_xfer_size":-1}}\0', b'{"capabilities":{"max_data_xfer_size":"x"}}\0', b"[" * 1000 + b"\0",
    b'{"a":' * 9 + b"1" + b"}" * 9 + b"\0", b"x" * 5000])
def test_malformed_versions(device, text):
    peer = vfio_user.Peer(device.path, agree=False)
    peer.send(VERSION, vfio_user.version_payload(text))
    assert peer.ends()
    peer.close()
    assert len(lines(device.stop())) == 1


@pytest.mark.parametrize("command", [GET_INFO, RESET, DMA_MAP, 0, 0xFFFF])
def test_nothing_comes_before_the_version(device, command):
    peer = vfio_user.Peer(device.path, agree=False)
    peer.send(command, bytes(EXACT.get(command, 0) or 16 * (command == GET_INFO)))
    assert peer.ends()
    peer.close()
    assert len(lines(device.stop())) == 1


@pytest.mark.parametrize("number, command", [(0, DMA_READ), (255, DMA_WRITE), (256, DMA_READ), (0x7FFF, DMA_READ), (0x8000, DMA_READ), (0, RESET)])
def test_replies_that_nobody_asked_for(device, number, command):
    peer = vfio_user.Peer(device.path)
    peer.send(command, bytes(16), flags=REPLY, number=number)
    assert peer.ends()
    peer.close()
    assert len(lines(device.stop())) == 1


@pytest.mark.parametrize("payload", [b"", bytes(16), bytes(15), struct.pack("<QQ", 0, 9) + bytes(9), struct.pack("<QQ", 0, 7) + bytes(7),
                                     struct.pack("<QQ", 0, 9) + bytes(8), struct.pack("<QQ", 0, 1 << 63) + bytes(8)])
def test_replies_that_do_not_fit(device, payload):
    peer = vfio_user.Peer(device.path)
    peer.enable()
    assert peer.map(0, 4096) == 0
    transfer(peer, IN, 0, 8)
    request = peer.request()
    peer.send(DMA_READ, payload, flags=REPLY, number=request.id)
    assert peer.ends()
    peer.close()
    assert len(lines(device.stop())) == 1


def test_the_log_is_bounded(device):
    for _ in range(300):
        peer = vfio_user.Peer(device.path, agree=False)
        peer.send_raw(bytes(16))
        assert peer.ends()
        peer.close()
    said = lines(device.stop())
    assert 1 <= len(said) < 300


def test_a_path_that_is_taken(device):
    done = subprocess.run([program("tests/peers/peer-device"), device.path], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "in use" in done.stderr
    vfio_user.Peer(device.path).close()


def test_a_socket_that_was_left_behind(device):
    device.process.kill()
    device.process.wait()
    device.process.stdout.close()
    device.process.stderr.close()
    assert os.path.exists(device.path)
    device.process = subprocess.Popen([program("tests/peers/peer-device"), device.path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE)
    assert device.process.stdout.readline() == b"ready\n"
    vfio_user.Peer(device.path).close()


def test_only_this_user_reaches_it(device):
    assert os.stat(device.path).st_mode & 0o777 == 0o600

# SPDX-License-Identifier: BSD-3-Clause
"""Linux's own NVMe driver with our controller, behind the VT-d: what one side writes the other has, whatever happens meanwhile."""

import hashlib
import os
import random

import pytest

import guest

MODULES = ["nvme-keyring", "nvme-auth", "nvme-core", "nvme"]
MIB = 1 << 20
SIZE = 16 * MIB
THERE = "until [ -b /dev/nvme0n1 ]; do sleep 0.1; done"
FORGET = "echo 3 >/proc/sys/vm/drop_caches"


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(random.Random(7).randbytes(SIZE))
    return path


def digest(data):
    return hashlib.md5(data).hexdigest()


def in_guest(machine, source="/dev/nvme0n1", size=SIZE):
    """The digest of what the guest reads, from the device and not from its own cache."""
    return machine.run(f"{FORGET}; head -c {size} {source} | md5sum")[0].split()[0]


def write_all(machine, name):
    """The guest makes a file of random bytes and writes it to the device; its digest."""
    machine.run(f"head -c {SIZE} /dev/urandom >/{name}; dd if=/{name} of=/dev/nvme0n1 bs=64k conv=fsync")
    return machine.run(f"md5sum /{name}; rm /{name}")[0].split()[0]


def errors(machine):
    """What the kernel says of the disk that is no good."""
    return [text for level, text in machine.log() if level <= 4 and ("nvme" in text or "I/O error" in text)]


@pytest.mark.parametrize("append", ["", "iommu=pt", "pci=nomsi"])
def test_both_sides_have_the_same(tools, image, append):
    with guest.Machine(tools, f"nvme,file={image}", modules=MODULES, append=append) as machine:
        machine.boot()
        machine.run(THERE)
        assert machine.run("cat /sys/class/nvme/nvme0/state /sys/block/nvme0n1/size") == ["live", str(SIZE // 512)]
        assert in_guest(machine) == digest(image.read_bytes())
        assert write_all(machine, "new") == digest(image.read_bytes())
        # Holes are zeroes, and their neighbours stay.
        before = image.read_bytes()
        machine.run(f"blkdiscard -o {MIB} -l {2 * MIB} /dev/nvme0n1")
        expected = before[:MIB] + bytes(2 * MIB) + before[3 * MIB:]
        assert image.read_bytes() == expected
        assert in_guest(machine) == digest(expected)
        assert not errors(machine)


def test_several_at_once(tools, image):
    """Readers and writers of parts of their own, on four processors with queues of their own."""
    with guest.Machine(tools, f"nvme,file={image}", modules=MODULES, cpus=4) as machine:
        machine.boot()
        machine.run(THERE)
        assert any("4/0/0 default/read/poll queues" in text for _, text in machine.log())
        part = SIZE // 8
        jobs = [machine.start(f"head -c {part} /dev/urandom >/part{i}; dd if=/part{i} of=/dev/nvme0n1 bs=16k seek={i * part // 16384} conv=fsync; "
                              f"{FORGET}; dd if=/dev/nvme0n1 bs=16k skip={i * part // 16384} count={part // 16384} | cmp - /part{i} && "
                              f"md5sum /part{i}") for i in range(8)]
        lines = [[line for line in job.output() if line.endswith(f"/part{i}")] for i, job in enumerate(jobs)]
        data = image.read_bytes()
        for i, found in enumerate(lines):
            assert found[0].split()[0] == digest(data[i * part:(i + 1) * part])
        assert not errors(machine)


def test_resets(tools, image):
    """Of the controller while it is used; of its function; of the machine; another driver in between; and the bytes stay."""
    with guest.Machine(tools, f"nvme,file={image}", modules=MODULES) as machine:
        machine.boot()
        machine.run(THERE)
        written = write_all(machine, "first")
        job = machine.start("for i in 1 2 3 4 5 6; do echo 3 >/proc/sys/vm/drop_caches; md5sum </dev/nvme0n1; done")
        machine.run("for i in 1 2 3; do echo 1 >/sys/class/nvme/nvme0/reset_controller; done")
        assert {line.split()[0] for line in job.output()} == {written}
        machine.run("address=$(basename $(readlink /sys/class/nvme/nvme0/device)); echo $address >/sys/bus/pci/drivers/nvme/unbind; "
                    f"echo 1 >/sys/bus/pci/devices/$address/reset; echo $address >/sys/bus/pci/drivers/nvme/bind; {THERE}")
        assert in_guest(machine) == written
        machine.reboot()
        machine.run(THERE)
        assert in_guest(machine) == written == digest(image.read_bytes())
        machine.monitor("system_reset")
        machine.ready()
        machine.run(THERE)
        assert in_guest(machine) == written
        machine.kill_qemu()
        machine.boot()
        machine.run(THERE)
        assert in_guest(machine) == written


def test_what_is_written_is_there_after_a_kill(tools, image):
    """Whatever has been flushed is in the file when server and QEMU are killed."""
    with guest.Machine(tools, f"nvme,file={image}", modules=MODULES) as machine:
        machine.boot()
        machine.run(THERE)
        written = write_all(machine, "first")
        machine.kill_server()
        machine.kill_qemu()
        assert digest(image.read_bytes()) == written


def test_read_only(tools, image):
    os.chmod(image, 0o400)
    before = image.read_bytes()
    with guest.Machine(tools, f"nvme,file={image},ro,block=4K", modules=MODULES) as machine:
        machine.boot()
        machine.run(THERE)
        assert machine.run("cat /sys/block/nvme0n1/ro /sys/block/nvme0n1/queue/logical_block_size") == ["1", "4096"]
        assert machine.start("dd if=/dev/zero of=/dev/nvme0n1 bs=4k count=1 conv=fsync").end() != 0
        assert in_guest(machine) == digest(before)
    assert image.read_bytes() == before

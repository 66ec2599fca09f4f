# SPDX-License-Identifier: BSD-3-Clause
"""QEMU's own user-space NVMe driver (qemu-utils) finds our controller under /dev/vfio: group, container, TYPE1, BARs that are mapped, eventfds."""

import hashlib
import os
import re
import shutil
import subprocess

import pytest

from conftest import program

MIB = 1 << 20
SCALE = int(os.environ.get("UIOMMU_TEST_SCALE", "1"))
SIZE = (1024 if SCALE == 1 else 4096) * MIB
DISK = "nvme://0000:01:00.0/1"

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="needs qemu-img of Debian's package qemu-utils")


def qemu(device, *arguments, **options):
    command = [program("uiommu"), "run", "--device", device, "--", *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options)


def succeeds(device, *arguments, **options):
    done = qemu(device, *arguments, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_pattern(path, size):
    """Bytes that are different everywhere, made fast: a mebibyte of noise, with its number in front of each page."""
    noise = bytearray(os.urandom(MIB))
    digest = hashlib.blake2b()
    with open(path, "wb") as out:
        for chunk in range(size // MIB):
            for page in range(0, MIB, 4096):
                noise[page:page + 8] = (chunk * MIB + page).to_bytes(8, "little")
            out.write(noise)
            digest.update(noise)
    return digest.digest()


def digest_of(path):
    digest = hashlib.blake2b()
    with open(path, "rb") as file:
        while chunk := file.read(MIB):
            digest.update(chunk)
    return digest.digest()


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A disk that QEMU has filled through the controller, and what it was filled with."""
    folder = tmp_path_factory.mktemp("nvme")
    source, file = folder / "source.raw", folder / "disk.img"
    digest = write_pattern(source, SIZE)
    device = f"nvme,file={file},size={SIZE}"
    succeeds(device, "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", source, DISK)
    yield device, file, source, digest
    shutil.rmtree(folder)


def test_what_is_found(disk):
    device, _, _, _ = disk
    assert f"({SIZE} bytes)" in succeeds(device, "qemu-img", "info", DISK)


def test_written(disk):
    _, file, _, digest = disk
    assert digest_of(file) == digest


def test_compared(disk):
    device, _, source, _ = disk
    assert "Images are identical" in succeeds(device, "qemu-img", "compare", "-f", "raw", "-F", "raw", source, DISK)


def test_a_difference_is_seen(disk, tmp_path):
    device, _, source, _ = disk
    changed = tmp_path / "changed.raw"
    shutil.copyfile(source, changed)
    with open(changed, "r+b") as out:
        out.seek(SIZE - 4096)
        out.write(b"different")
    done = qemu(device, "qemu-img", "compare", "-f", "raw", "-F", "raw", changed, DISK)
    assert done.returncode == 1 and f"offset {SIZE - 4096}" in done.stdout, done.stdout + done.stderr


def test_read_back(disk, tmp_path):
    device, _, _, digest = disk
    back = tmp_path / "back.raw"
    succeeds(device, "qemu-img", "convert", "-f", "raw", "-O", "raw", DISK, back)
    assert digest_of(back) == digest


@pytest.mark.parametrize("depth", [1, 32])
def test_bench(disk, depth):
    device, _, _, _ = disk
    said = succeeds(device, "qemu-img", "bench", "-f", "raw", "-c", "20000", "-d", str(depth), "-s", "4096", "-S", "65536", DISK)
    assert re.search(r"Run completed in [0-9.]+ seconds", said), said


def test_another_place(tmp_path):
    device = f"nvme,bdf=0002:7f:1f.3,file={tmp_path / 'small.img'},size=1M"
    assert "(1048576 bytes)" in succeeds(device, "qemu-img", "info", "nvme://0002:7f:1f.3/1")


@pytest.mark.parametrize("device, complaint", [
    ("nvme,size=1M,bdf=1:2", "bdf=1:2"), ("nvme,bdf=00:00.8,size=1M", "bdf=00:00.8"), ("nothing", "nothing"), ("nvme,colour=red", "colour")])
def test_devices_that_are_not_there(device, complaint):
    done = qemu(device, "true")
    assert done.returncode and complaint in done.stderr, done.stderr

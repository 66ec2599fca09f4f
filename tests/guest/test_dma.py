# SPDX-License-Identifier: BSD-3-Clause
"""DMA of the guest's own drivers, and of its user space through vfio and iommufd, in every mode of the unit that Linux uses."""

import re

import pytest

import guest

NVME = ["nvme-keyring", "nvme-auth", "nvme-core", "nvme"]
VFIO = ["irqbypass", "vfio", "vfio_iommu_type1", "vfio-pci-core", "vfio-pci"]
# What the unit offers: first stage, second stage, legacy mode, and that the guest says of new entries that they are there.
OFFERS = {"first": [], "second": ["--without", "first"], "legacy": ["--without", "scalable"], "caching": ["--caching-mode"]}

# Of which stage a fault is (7.1.3): a mode that is not what the test says would show here.
REASONS = {"first": "0x71|0x85", "second": "0x79|0x85", "legacy": "0x05|0x06", "caching": "0x71|0x85"}


@pytest.mark.parametrize("offer, policy", [(offer, policy) for offer in OFFERS for policy in ("strict", "lazy")
                                           if (offer, policy) != ("caching", "strict")])
def test_a_disk(tools, offer, policy):
    """Written and read with direct I/O, by several at once; the driver maps and unmaps all of it."""
    with guest.Machine(tools, "nvme,size=32M", modules=NVME, options=OFFERS[offer], append=f"iommu.strict={int(policy == 'strict')}") as machine:
        machine.boot()
        group = machine.run("readlink /sys/bus/pci/devices/0000:01:00.0/iommu_group")[0].rsplit("/", 1)[1]
        kind = machine.run(f"cat /sys/kernel/iommu_groups/{group}/type")
        assert kind == ["DMA" if policy == "strict" else "DMA-FQ"]
        machine.run("test -b /dev/nvme0n1")
        machine.run("dd if=/dev/urandom of=/data bs=1M count=8 2>/dev/null")
        jobs = [machine.start(f"dd if=/data of=/dev/nvme0n1 bs={size} seek={8 * n}M oflag=direct,seek_bytes 2>/dev/null")
                for n, size in enumerate(("4k", "64k", "1M"))]
        for job in jobs:
            assert job.output() == []
        jobs = [machine.start(f"dd if=/dev/nvme0n1 bs={size} skip={8 * n}M count=8M iflag=direct,skip_bytes,count_bytes 2>/dev/null | md5sum")
                for n, size in enumerate(("64k", "1M", "4k"))]
        expected = machine.run("md5sum </data")
        assert [job.output() for job in jobs] == [expected] * 3


def check_faults(machine, offer):
    """There were some, and all of them were those of the copier that were to be expected."""
    machine.expect(r"DMAR: DRHD: handling fault status")
    machine.expect(rf"DMAR: \[DMA .*\[0000:01:00\.0\] .*fault reason ({REASONS[offer]})\]")
    assert any(re.search("fault reason", line) for _, line in machine.log())


@pytest.mark.parametrize("offer", OFFERS)
def test_vfio(tools, offer):
    with guest.Machine(tools, "copier", modules=VFIO, programs=[guest.program("tests/guest/guest-vfio")], options=OFFERS[offer]) as machine:
        machine.boot()
        assert machine.run("guest-vfio") == ["memory was copied", "what is not mapped is not reached", "nothing is stale", "an interrupt arrived",
                                             "an unmap stops it", "passed"]
        check_faults(machine, offer)


@pytest.mark.parametrize("offer", ["first", "caching"])
def test_iommufd(tools, iommufd_kernel, offer):
    with guest.Machine(tools, "copier", kernel=iommufd_kernel, programs=[guest.program("tests/guest/guest-iommufd")],
                       options=OFFERS[offer]) as machine:
        machine.boot()
        assert machine.run("guest-iommufd") == ["PASIDs of 20 bits", "each PASID has its own memory", "what has been taken away is gone",
                                                "own page tables without a PASID were walked", "own page tables for a PASID were walked", "passed"]
        machine.expect(r"\[0000:01:00\.0\] .*fault reason 0x59\]")
        machine.expect(r"MSI interrupts are not secure")
        check_faults(machine, offer)

# SPDX-License-Identifier: BSD-3-Clause
"""A VMM that is a program of `uiommu run`: QEMU as it is gives its guest our NVMe controller by vfio-pci and iommufd, behind QEMU's own VT-d.

The guest's page tables lie in QEMU's memory, which has no name but its address, and are walked here: a nested HWPT.
"""

import re

import guest
from test_nvme import MODULES, THERE, errors, digest, image, in_guest, write_all

__all__ = ["image"]


class Vmm(guest.Machine):
    """Of the server of its own only kernel and initrd are used."""

    def __init__(self, tools, disk, trace):
        super().__init__(tools, modules=MODULES)
        self.command = [guest.program("uiommu"), "run", "--device", f"nvme,file={disk},bdf=0000:01:00.0", "--trace", trace, "--",
                        tools / "qemu"]

    def serve(self):
        super().serve()
        words = iter(self.arguments)
        kept = [part for word, value in zip(words, words) if word in ("-kernel", "-initrd", "-append") for part in (word, value)]
        self.arguments = ["-machine", "q35,accel=tcg", "-cpu", "max", "-m", "512M", *kept, "-object", "iommufd,id=iommufd", "-device",
                          "intel-iommu,scalable-mode=on,fsts=on,caching-mode=on,intremap=off", "-device",
                          "vfio-pci,host=0000:01:00.0,iommufd=iommufd"]


def test_a_vmm_nests(tools, image, tmp_path):
    trace = tmp_path / "trace"
    with Vmm(tools, image, trace) as machine:
        machine.boot()
        machine.run(THERE)
        assert in_guest(machine) == digest(image.read_bytes())
        assert write_all(machine, "new") == digest(image.read_bytes())
        assert not errors(machine)
        said = trace.read_text()
        assert re.search(r" IOMMU_IOAS_MAP, .* = 0 ", said) and "IOAS_MAP_FILE" not in said
        assert re.search(r" IOMMU_HWPT_ALLOC, .*data_type=VTD_S1, data_len=24, data_uptr={flags=.*} => .* = 0 ", said)
        assert len(re.findall(r" IOMMU_HWPT_INVALIDATE, .* = 0 ", said)) > 100

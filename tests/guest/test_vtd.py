# SPDX-License-Identifier: BSD-3-Clause
"""Linux's own driver of the VT-d: what it makes of it, and that it comes again after every way to begin anew."""

import pytest

import guest

NVME = ["nvme-keyring", "nvme-auth", "nvme-core", "nvme"]
# Bytes that a disk has had, read back without the page cache.
DISK = ("dd if=/dev/urandom of=/tmp/data bs=64k count=24 2>/dev/null; dd if=/tmp/data of=/dev/nvme0n1 bs=64k conv=fsync 2>/dev/null; "
        "dd if=/dev/nvme0n1 iflag=direct bs=64k count=24 2>/dev/null | cmp - /tmp/data && echo same")


def machine(tools, *devices, **more):
    return guest.Machine(tools, "nvme,size=16M", *devices, modules=NVME, **more)


def has(log, text):
    return any(text in line for _, line in log)


def in_use(running, scalable=True):
    """The unit translates for the devices behind it, and for nothing else."""
    log = running.log()
    assert has(log, "DMAR: dmar0: Using Queued invalidation")
    assert has(log, "DMAR: Intel(R) Virtualization Technology for Directed I/O")
    assert running.run("ls /sys/class/iommu/dmar0/devices") == ["0000:00:04.0", "0000:01:00.0"]
    extended = int(running.run("cat /sys/class/iommu/dmar0/intel-iommu/ecap")[0], 16)
    assert bool(extended >> 43 & 1) == scalable
    assert running.run(DISK) == ["same"]
    return log


@pytest.mark.parametrize("append, more, scalable", [
    ("", [], True),
    ("intel_iommu=sm_off", [], True),
    ("", ["--without", "scalable"], False),
    ("", ["--without", "first"], True),
    ("iommu.strict=1", ["--caching-mode"], True),
    ("intel_iommu=sm_off iommu.strict=1", [], True),
    ("iommu.passthrough=1", [], True),
])
def test_linux_uses_the_unit(tools, append, more, scalable):
    with machine(tools, append=append, options=more) as running:
        running.boot()
        log = in_use(running, scalable)
        kinds = running.run("cat /sys/kernel/iommu_groups/*/type")
        if "passthrough" in append:
            assert kinds == ["identity"] * 2
        else:
            strict = "strict" in append or "--caching-mode" in more
            assert kinds == ["DMA" if strict else "DMA-FQ"] * 2
        assert has(log, "TLB invalidation policy: strict mode") == ("strict" in append)


def is_busy(running):
    """The disk is read without end, from now on."""
    job = running.start("while dd if=/dev/nvme0n1 of=/dev/null iflag=direct bs=64k 2>/dev/null; do echo round; done")
    job.until("round")


def test_beginning_anew(tools):
    """By the guest, by QEMU, and with another QEMU; the disk is at work when it is not asked."""
    with machine(tools) as running:
        running.boot()
        in_use(running)
        running.reboot()
        in_use(running)
        is_busy(running)
        running.monitor("system_reset")
        running.ready()
        in_use(running)
        is_busy(running)
        running.kill_qemu()
        running.boot()
        in_use(running)


def test_another_kernel_without_a_reset(tools):
    """The unit is on, and its devices have been left as they were, when the next kernel finds them."""
    with machine(tools, memory="1G", programs=[guest.program("tests/guest/guest-kexec")], files=[f"{tools / 'vmlinuz'}:/vmlinuz"]) as running:
        running.boot()
        in_use(running)
        running.run("cd / && { find init main bin modules; printf '%s\\n' dev proc run sys tmp; } | cpio -o -H newc >/initrd 2>/dev/null")
        running.reboot("guest-kexec /vmlinuz /initrd")
        assert running.run("ls /vmlinuz 2>/dev/null || echo none") == ["none"]
        in_use(running)


def test_an_endpoint_of_all(tools):
    """ATS, page requests and PASIDs of 20 bits are on as soon as Linux has the device."""
    with guest.Machine(tools, "accel") as running:
        running.boot()
        words = running.run("hexdump -v -s 256 -n 64 -e '1/4 \"%08x\\n\"' /sys/bus/pci/devices/0000:01:00.0/config")
        words = [int(word, 16) for word in words]
        assert [(words[at] & 0xffff) for at in (0, 2, 6)] == [0x0f, 0x13, 0x1b]
        assert words[1] >> 31 == 1  # ATS: enabled
        assert words[3] & 1 == 1 and words[3] >> 31 == 1  # page requests: enabled, answers have the PASID
        assert words[7] >> 16 & 1 == 1 and words[7] >> 8 & 31 == 20  # PASIDs: enabled, 20 bits


def test_a_server_that_is_killed(tools):
    """While the disk is at work. QEMU ends with it; both begin anew."""
    with machine(tools) as running:
        running.boot()
        in_use(running)
        is_busy(running)
        assert "the server has ended unexpectedly" in running.kill_server()
        running.kill_qemu()
        running.serve()
        running.boot()
        in_use(running)


def test_four_processors(tools):
    with machine(tools, cpus=4) as running:
        running.boot()
        assert running.run("nproc") == ["4"]
        in_use(running)


@pytest.mark.parametrize("options, said", [(["--virtual-commands", "300"], "300 PASIDs"), ([], "not offered")])
def test_virtual_commands(tools, iommufd_kernel, options, said):
    """By registers: Linux does not use them. This kernel leaves the unit alone; Debian's keeps its place for interrupts."""
    with guest.Machine(tools, "copier", kernel=iommufd_kernel, append="intel_iommu=off", options=options,
                       programs=[guest.program("tests/guest/guest-commands")]) as running:
        running.boot()
        assert running.run("guest-commands") == [said]

# SPDX-License-Identifier: BSD-3-Clause
"""A function as programs see it through VFIO: given by Linux's own vfio-pci, in a guest whose QEMU has it, and by `uiommu run`.

Regions, interrupts, each byte of config space, and each bit that a program can change or not. DIFFERENT has what must not be the same,
and what it is on either side; all else is.
"""

import re
import subprocess

import pytest

import guest

MODELS = ["accel", "dsa", "nvme,size=16M"]
# BARs whose memory can be mapped: of Linux all, of ours those that have memory.
MAPPED = {"accel": [2], "dsa": [], "nvme,size=16M": [0]}
MSIX_BAR = 4
MAP, CAPABILITIES, MSIX_MAPPABLE = 4, 8, 3

# Bytes: what they are for, and whether (Linux's, ours) is right.
DIFFERENT = {
    0x05: ("SERR, which the guest's firmware enables", lambda linux, ours: (linux, ours) == (1, 0)),
    0x3c: ("the line of the pin, a number of the firmware's", lambda linux, ours: ours == 0),
}


def parse(lines):
    """By what a line is about; config space as bytes."""
    facts = dict(line.split(": ", 1) for line in lines if not line.startswith("config "))
    config = bytearray(4096)
    for line in lines:
        if found := re.fullmatch(r"config ([0-9a-f]{3}): (.*)", line):
            row = bytes.fromhex(found[2])
            at = int(found[1], 16)
            config[at:at + len(row)] = row
    return facts, config


@pytest.fixture(scope="module")
def linux(tools, iommufd_kernel):
    """What each model is in one guest."""
    with guest.Machine(tools, *MODELS, kernel=iommufd_kernel, programs=[guest.program("tests/guest/guest-config")],
                       append="vfio_pci.disable_denylist=1") as machine:
        machine.boot()
        machine.expect(r"vfio.*denylist")
        machine.expect(r"MSI interrupts are not secure")
        machine.run("echo Y >/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts")
        found = {}
        for bus, model in enumerate(MODELS, 1):
            name = f"0000:{bus:02x}:00.0"
            machine.run(f"cd /sys/bus/pci/devices/{name}; [ ! -e driver ] || echo {name} >driver/unbind; echo vfio-pci >driver_override; "
                        f"echo {name} >/sys/bus/pci/drivers_probe")
            found[model] = parse(machine.run(f"guest-config {name}"))
    return found


def ours(model):
    done = subprocess.run([guest.program("uiommu"), "run", "--device", model, "--", guest.program("tests/guest/guest-config"), "0000:01:00.0"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return parse(done.stdout.splitlines())


def address_bits(facts, bar):
    """Of a BAR: those that can be written."""
    found = re.fullmatch(r"([0-9a-f]+) ones ([0-9a-f]+) zeroes ([0-9a-f]+)", facts.get(f"write {0x10 + 4 * bar:03x}", "0 ones 0 zeroes 0"))
    return int(found[2], 16) & ~int(found[3], 16)


def check_config(there, here):
    """Byte by byte; of BARs what is not address."""
    (facts, linux), (_, own) = there, here
    fixed = b"".join((~address_bits(facts, bar) & 0xffffffff).to_bytes(4, "little") for bar in range(6))
    for at, (theirs, mine) in enumerate(zip(linux, own)):
        if at in DIFFERENT:
            what, right = DIFFERENT[at]
            assert right(theirs, mine), f"{what}: {theirs:#x}, {mine:#x}"
            continue
        mask = fixed[at - 0x10] if 0x10 <= at < 0x28 else 0xff
        assert theirs & mask == mine & mask, f"byte {at:#x}: {theirs:#x} in Linux, {mine:#x} here"


def check_writes(there, here):
    """The same registers can be changed, to the same; what they were before is check_config()'s."""
    def changes(facts):
        return {name: text.split(" ", 1)[1] for name, text in facts.items() if name.startswith("write ")}
    assert changes(there) == changes(here)


def check_region(model, index, there, here):
    size, flags, more = re.fullmatch(r"size (\S+) flags (\S+)(.*)", there).groups()
    own_size, own_flags, own_more = re.fullmatch(r"size (\S+) flags (\S+)(.*)", here).groups()
    flags, own_flags = int(flags, 16), int(own_flags, 16)
    assert size == own_size and flags & ~(MAP | CAPABILITIES) == own_flags & ~(MAP | CAPABILITIES)
    is_bar = index < 6 and size != "0"
    assert bool(flags & MAP) == is_bar and bool(own_flags & MAP) == (index in MAPPED[model])
    # Linux lets the table of MSI-X be mapped where interrupts are isolated by other means, and says so.
    assert (more, flags & CAPABILITIES) == ((f" capability {MSIX_MAPPABLE}", CAPABILITIES) if index == MSIX_BAR else ("", 0))
    assert (own_more, own_flags & CAPABILITIES) == ("", 0)


@pytest.mark.parametrize("model", MODELS, ids=["accel", "dsa", "nvme"])
def test_linux_and_we_show_the_same(linux, model):
    there, here = linux[model], ours(model)
    facts, own = there[0], here[0]
    for index in range(8):
        check_region(model, index, facts.pop(f"region {index}"), own.pop(f"region {index}"))
    check_config(there, here)
    check_writes(facts, own)
    # Interrupts, what is beyond, and what MSI and MSI-X change in config space. A reset, an FLR and the writes have left nothing.
    rest = {name: text for name, text in facts.items() if not name.startswith("write ")}
    assert rest == {name: text for name, text in own.items() if not name.startswith("write ")}
    assert not [name for name in rest if name.split()[0] in ("written", "flr", "reset", "disabled")]

# SPDX-License-Identifier: BSD-3-Clause
"""uiommu ls --vm and uiommu walk: what a guest's tables are, seen from outside."""

import json
import os
import socket
import subprocess

import guest
import pytest

NVME = ["nvme-keyring", "nvme-auth", "nvme-core", "nvme"]
TOP = 0xFFFFF000  # where Linux's first mappings are


def ask(*arguments, status=0):
    done = subprocess.run([guest.program("uiommu"), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status < 2 else done.stderr


def walk(machine, *arguments, status=0):
    return json.loads(ask("walk", "--vm", machine.server.pid, "--json", *arguments, status=status))


def one(machine):
    """What ls says of this guest."""
    found = [item for item in json.loads(ask("ls", "--vm", "--json"))["guests"] if item["pid"] == machine.server.pid]
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def machine(tools):
    with guest.Machine(tools, "nvme,size=16M", "accel", modules=NVME) as running:
        running.boot()
        yield running


def test_ls(machine):
    found = one(machine)
    assert found["vtd"]["translation"] is True and found["vtd"]["mode"] == "scalable"
    assert [(device["bdf"], device["model"]) for device in found["devices"]] == [("01:00.0", "nvme,size=16M"), ("02:00.0", "accel")]
    assert {"memory", "bus_master", "msix"} <= set(found["devices"][0]["enabled"])
    assert {"ats", "pri", "pasid"} <= set(found["devices"][1]["enabled"])
    assert [device["page_requests"] for device in found["devices"]] == [0, 0]
    text = ask("ls", "--vm")
    assert f"{machine.server.pid}" in text and "scalable" in text and "ats,pri,pasid" in text


def test_a_translation_entry_by_entry(machine):
    """The guest's own numbers: its root pointer, and each entry leads to the next."""
    answer = walk(machine, "--device", "01:00.0", hex(TOP))
    steps = answer["steps"]
    assert [step["entry"] for step in steps] == ["root entry", "context entry", "PASID directory entry", "PASID entry"] + ["first stage"] * 4
    assert [step["level"] for step in steps[4:]] == [3, 2, 1, 0]
    assert int(steps[0]["address"], 16) == int(one(machine)["vtd"]["root"], 16) + 16
    assert steps[1]["address"] == steps[0]["fields"]["CTP"]
    assert steps[2]["address"] == steps[1]["fields"]["PASIDDIRPTR"]
    assert steps[3]["address"] == steps[2]["fields"]["SMPTBLPTR"]
    assert steps[3]["fields"]["PGTT"] == 1
    leads = steps[3]["fields"]["FSPTPTR"]
    for step, shift in zip(steps[4:], (39, 30, 21, 12)):
        assert int(step["address"], 16) == int(leads, 16) + (TOP >> shift & 511) * 8
        assert step["fields"]["P"] is True
        leads = step["fields"]["ADDR"]
    assert answer["output"] == leads and answer["page_lg2"] == 12 and answer["permitted"].startswith("rw")
    text = ask("walk", "--vm", machine.server.pid, "--device", "01:00.0", hex(TOP))
    assert f"leads to {leads}, rw" in text and "PGTT=1" in text


def test_a_translation_that_leads_nowhere(machine):
    answer = walk(machine, "--device", "01:00.0", "0x1000", status=1)
    assert answer["fault"]["reason"] == "unmapped" and answer["fault"]["entry"] == "first stage"
    assert "output" not in answer
    assert not answer["steps"][-1]["fields"].get("P")
    assert "leads nowhere: first stage level " in ask("walk", "--vm", machine.server.pid, "--device", "01:00.0", "0x1000", status=1)


def test_questions_that_make_no_sense(machine):
    pid = machine.server.pid
    assert "no such device" in ask("walk", "--vm", pid, "--device", "07:00.0", "0", status=4)
    assert "not understood" in ask("walk", "--vm", pid, "--device", "01:00.0", "--pasid", "0x100000", "0", status=4)
    assert "expected one address" in ask("walk", "--vm", pid, "--device", "01:00.0", status=2)
    assert "expected one address" in ask("walk", "--vm", pid, "--device", "01:00.0", "1", "2", status=2)
    path = os.path.join(os.environ.get("XDG_RUNTIME_DIR") or "/tmp", "uiommu-vm" if os.environ.get("XDG_RUNTIME_DIR") else f"uiommu-vm-{os.getuid()}",
                        str(pid), "control")
    for question in (b"", b"\n", b"null\n", b"[1]\n", b"{", b'{"execute":7}\n', b'{"execute":"walk","device":{}}\n', b"x" * 1023):
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(path)
            link.sendall(question)
            link.shutdown(socket.SHUT_WR)
            assert "error" in json.loads(link.makefile().read())
    assert one(machine)


def test_faults(tools):
    """A device that is told to read where nothing is, as Linux reports it, and as it looks from outside."""
    with guest.Machine(tools, "copier") as running:
        running.boot()
        assert not [fault for fault in json.loads(ask("fault", "--vm", "--json"))["faults"] if fault["guest"] == running.server.pid]
        running.expect(r"DMAR: DRHD: handling fault status reg 2")
        running.expect(r"DMAR: \[DMA Read NO_PASID\] Request device \[0000:01:00.0\] fault addr 0x1000 \[fault reason 0x71\]")
        running.run("cd /sys/bus/pci/devices/0000:01:00.0; printf '\\006' | dd of=config bs=1 seek=4 conv=notrunc 2>/dev/null; "
                    "bar=$(head -n1 resource | cut -d' ' -f1); devmem $bar 64 0x1000; devmem $((bar+8)) 64 0x2000; "
                    "devmem $((bar+16)) 32 8; devmem $((bar+32)) 32 1; devmem $((bar+36)) 32")
        fault, = [fault for fault in json.loads(ask("fault", "--vm", "--json"))["faults"] if fault["guest"] == running.server.pid]
        assert (fault["device"], fault["model"], fault["address"], fault["access"], fault["code"]) == ("01:00.0", "copier", "0x1000", "r--", 0x71)
        assert (fault["entry"], fault["reason"]) == ("first stage", "unmapped") and "pasid" not in fault
        text = ask("fault", "--vm")
        assert "01:00.0 (copier): could not read at 0x1000, fault reason 0x71" in text
        assert f"stopped by: first stage level {fault['level']}: it is not present" in text


def test_faults_behind_an_invalidation(tools):
    """A program unmaps what the device is at: the guest has invalidated that before the device finds nothing."""
    modules = ["irqbypass", "vfio", "vfio_iommu_type1", "vfio-pci-core", "vfio-pci"]
    with guest.Machine(tools, "copier", modules=modules, programs=[guest.program("tests/guest/guest-vfio")]) as running:
        running.expect(r"DMAR: (DRHD: handling fault status|\[DMA )")
        running.boot()
        assert running.run("guest-vfio")[-2:] == ["an unmap stops it", "passed"]
        faults = [fault for fault in json.loads(ask("fault", "--vm", "--json"))["faults"] if fault["guest"] == running.server.pid]
        behind = [fault for fault in faults if fault["invalidated_ns"]]
        assert behind and all(fault["invalidated_ns"] < fault["time_ns"] for fault in behind)
        assert "  invalidated last " in ask("fault", "--vm")


def test_legacy_mode(tools):
    with guest.Machine(tools, "nvme,size=16M", modules=NVME, append="intel_iommu=sm_off") as running:
        running.boot()
        assert one(running)["vtd"]["mode"] == "legacy"
        steps = walk(running, "--device", "01:00.0", hex(TOP))["steps"]
        assert [step["entry"] for step in steps[:2]] == ["root entry", "context entry"]
        assert steps[1]["fields"]["SSPTPTR"] and steps[2]["entry"] == "second stage"


def test_a_guest_that_is_none():
    assert "No such file" in ask("walk", "--vm", os.getpid(), "--device", "01:00.0", "0", status=4)


def test_the_demonstration(tools):
    """What make demo-vm shows."""
    assert tools
    done = subprocess.run([guest.TOP / "scripts/demo-vm", os.environ.get("UIOMMU_BUILD", guest.TOP / "build")], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    if done.returncode and "vm-setup: " in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("whose page was not there: it asked for it") == 4
    assert "host     PASID entry" in done.stdout and "host     leads to 0x" in done.stdout
    assert done.stdout.count("guest  the processor reads at 0x") == 4 and "guest  passed" in done.stdout

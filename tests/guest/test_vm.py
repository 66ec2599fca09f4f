# SPDX-License-Identifier: BSD-3-Clause
"""uiommu vm and uiommu qemu-args: what they start, and that nothing is left of it, whoever ends first."""

import os
import pathlib
import select
import shutil
import signal
import struct
import subprocess

import pytest

import guest

IDLE = "echo guest is idle; sleep 10000"


class Launcher:
    """uiommu vm, in a folder for its sockets of its own."""

    def __init__(self, folder, *options):
        self.folder = folder
        self.process = subprocess.Popen([guest.program("uiommu"), "vm", "--memory", "256M", *map(str, options)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                                        env={**os.environ, "XDG_RUNTIME_DIR": str(folder)})

    def until(self, text):
        for line in self.process.stdout:
            if text in line:
                return
        raise AssertionError(f"ended with status {self.process.wait()}")

    def children(self):
        """Of the server and of QEMU, descriptors that tell of their end."""
        found = guest.children(self.process.pid)
        self.server = found.pop("uiommu-server")
        del found["uiommu-keeper"]
        self.qemu, = found.values()
        return [os.pidfd_open(child) for child in (self.server, self.qemu)]

    def end(self):
        """What it said, and its exit status."""
        said, _ = self.process.communicate(timeout=guest.PATIENCE)
        return said, self.process.returncode

    def nothing_is_left(self):
        return not os.listdir(self.folder / "uiommu-vm")


def test_a_command_in_a_guest(tools, tmp_path):
    launcher = Launcher(tmp_path, "--device", "nvme,size=16M,bdf=02:00.0", "--run",
                        "cat /proc/cmdline; grep dmar0 /proc/iomem; ls /sys/bus/pci/devices; exit 7", "--append", "one two")
    said, status = launcher.end()
    assert status == 7, said
    assert "intel_iommu=on,sm_on panic=-1 one two\n" in said
    assert " : dmar0\n" in said
    assert "0000:02:00.0\n" in said and "0000:01:00.0\n" not in said
    assert launcher.nothing_is_left()


@pytest.mark.parametrize("end", ["echo c >/proc/sysrq-trigger", "reboot -f", "echo nonsense >/dev/ttyS3"])
def test_a_command_that_does_not_end(tools, tmp_path, end):
    launcher = Launcher(tmp_path, "--run", end)
    said, status = launcher.end()
    assert status == 4 and "the guest has ended before its command did" in said
    assert launcher.nothing_is_left()


def check_confined(pid):
    """All threads, and there are several."""
    tasks = [dict(line.split(":\t", 1) for line in path.read_text().splitlines() if ":\t" in line)
             for path in pathlib.Path(f"/proc/{pid}/task").glob("*/status")]
    assert len(tasks) > 2 and all((task["Seccomp"].strip(), task["NoNewPrivs"].strip()) == ("2", "1") for task in tasks)


@pytest.mark.parametrize("who", ["server", "QEMU", "launcher", "launcher, politely"])
def test_whoever_ends_first(tools, tmp_path, who):
    launcher = Launcher(tmp_path, "--device", "nvme,size=16M", "--run", IDLE)
    launcher.until("guest is idle")
    ends = launcher.children()
    check_confined(launcher.server)
    pid = {"server": launcher.server, "QEMU": launcher.qemu}.get(who, launcher.process.pid)
    os.kill(pid, signal.SIGTERM if "politely" in who else signal.SIGKILL)
    for end in ends:
        assert select.select([end], [], [], guest.PATIENCE)[0]
        os.close(end)
    said, status = launcher.end()
    assert status == {"launcher": -signal.SIGKILL}.get(who, 4)
    assert {"server": "the server has ended unexpectedly: killed by signal 9", "QEMU": "QEMU was killed by signal 9", "launcher": "",
            "launcher, politely": "ended by signal 15"}[who] in said
    assert launcher.nothing_is_left()


def test_registers_that_are_not_where_the_table_says(tools, tmp_path):
    """A QEMU whose firmware has something else to place the second time."""
    qemu = tmp_path / "qemu"
    qemu.write_text(f"""#!/bin/sh
case "$*" in *-acpitable*) more="-device secondary-vga,vgamem_mb=64" ;; esac
exec {tools}/qemu "$@" $more
""")
    qemu.chmod(0o755)
    launcher = Launcher(tmp_path, "--qemu", qemu, "--run", IDLE)
    said, status = launcher.end()
    assert status == 4
    assert "the guest's table (DMAR) says 0x" in said
    assert launcher.nothing_is_left()


# A QEMU that reads what it is told, and says that it has stopped.
STOPPED = """import json, socket, sys
fd = next(word.split("fd=")[1] for word in sys.argv if word.startswith("socket,id=uiommu-qmp"))
monitor = socket.socket(fileno=int(fd)).makefile("rw")
for line in monitor:
    asked = json.loads(line)
    if asked["execute"] == "query-status":
        print("was asked", flush=True)
    print(json.dumps({{"return": {{"status": {status!r}, "running": False}}, "id": asked.get("id", 0)}}), file=monitor, flush=True)
    if asked["execute"] == "qmp_capabilities":
        print(json.dumps({{"event": "STOP"}}), file=monitor, flush=True)
"""


@pytest.mark.parametrize("why", ["internal-error", "paused"])
def test_a_qemu_that_has_stopped(tools, tmp_path, why):
    """For an internal error, as with a KVM that meets what it cannot run: nothing more will happen. Paused by its user, it goes on later."""
    qemu, script = tmp_path / "qemu", tmp_path / "stopped"
    script.write_text(STOPPED.format(status=why))
    qemu.write_text(f"""#!/bin/sh
case "$*" in *-acpitable*) exec python3 {script} "$@" ;; esac
exec {tools}/qemu "$@"
""")
    qemu.chmod(0o755)
    launcher = Launcher(tmp_path, "--qemu", qemu, "--run", IDLE)
    if why == "paused":
        launcher.until("was asked")
        os.kill(launcher.process.pid, signal.SIGTERM)
    said, status = launcher.end()
    assert status == 4
    assert {"internal-error": "QEMU has stopped the guest for an internal error", "paused": "ended by signal 15"}[why] in said
    assert launcher.nothing_is_left()


def test_a_bus_that_is_another(tools, tmp_path):
    """A bridge before ours takes its number."""
    launcher = Launcher(tmp_path, "--device", "nvme,size=16M,bdf=01:00.0", "--", "-device", "pcie-root-port,bus=pcie.0,addr=2.0,chassis=100,slot=100")
    said, status = launcher.end()
    assert status == 4
    assert "nvme,size=16M: the firmware has put it on bus 02 and not 01" in said
    assert launcher.nothing_is_left()


@pytest.mark.parametrize("options, complaint", [
    (["--device", "nvme,size=16M,bdf=00:00.0"], "bdf=00:00.0: expected BUS:0.FUNCTION"),
    (["--device", "nvme,size=16M,bdf=01:01.0"], "bdf=01:01.0"),
    (["--device", "nvme,size=16M,bdf=01:00.1"], "there is no function 0 on that bus"),
    (["--device", "nvme,size=16M,bdf=01:00.0", "--device", "nvme,size=16M,bdf=01:00.0"], "another device is there"),
    (["--memory", "1000000"], "not a multiple of 1M"),
    (["--accel", "xen"], "expected tcg or kvm"),
    (["--without", "ats,nonsense"], "'nonsense' is no feature"),
    (["--disk", "x", "--append", "y"], "need --kernel"),
    (["--disk", "x", "--run", "y"], "--run, --file and --module are for the initrd that is made"),
    (["--kernel", "x", "--initrd", "y", "--module", "z"], "--run, --file and --module are for the initrd that is made"),
    (["--spin-us", "1000001"], "--spin-us '1000001': expected a number up to 1000000"),
    (["--spin-us", "x"], "--spin-us 'x': expected a number"),
    (["--seccomp", "on"], "--seccomp 'on': expected enforce, log or off"),
    (["stray"], "takes options only"),
    (["--device", "nvme,size=16M"] + ["--", *["-x"] * 65], "too much behind --"),
])
def test_mistakes(tmp_path, options, complaint):
    said, status = Launcher(tmp_path, *options).end()
    assert status == 2 and complaint in said


@pytest.mark.parametrize("options, complaint", [
    (["--kernel", "/nowhere"], "--kernel /nowhere: No such file or directory"),
    (["--kernel", "/"], "--kernel /: Is a directory"),
    (["--kernel", "/dev/null", "--initrd", "/nowhere"], "--initrd /nowhere: No such file or directory"),
    (["--disk", "/nowhere"], "--disk /nowhere: No such file or directory"),
])
def test_files_that_are_none(tmp_path, options, complaint):
    said, status = Launcher(tmp_path, *options).end()
    assert status == 4 and complaint in said


def test_a_qemu_that_is_none(tools, tmp_path):
    launcher = Launcher(tmp_path, "--qemu", "/nowhere", "--run", IDLE)
    said, status = launcher.end()
    assert status == 4 and "/nowhere: No such file or directory" in said
    assert launcher.nothing_is_left()


def test_without_kvm(tmp_path):
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm can be used here")
    said, status = Launcher(tmp_path, "--accel", "kvm").end()
    assert status == 4 and "--accel kvm: /dev/kvm: " in said


# What firmware reads of a disk and jumps to. It reads the second sector, counts there and writes it back; says so; switches off.
BOOT_SECTOR = bytes.fromhex(
    "31c0 8ed8 8ec0"        # xor ax, ax; mov ds, ax; mov es, ax
    "be327c b442 cd13"      # mov si, packet; mov ah, 0x42; int 0x13: read
    "fe060080"              # inc byte [0x8000]
    "be327c b80043 cd13"    # mov si, packet; mov ax, 0x4300; int 0x13: write
    "be427c"                # mov si, text
    "ac 84c0 7406"          # next: lodsb; test al, al; jz done
    "baf803 ee ebf5"        # mov dx, 0x3f8; out dx, al; jmp next
    "ba0406 b80020 ef"      # done: mov dx, 0x604; mov ax, 0x2000; out dx, ax: the chipset's way to switch off
    "f4 ebfd"               # hlt; jmp $ - 1
).ljust(0x32, b"\x90") + struct.pack("<BBHHHQ", 16, 0, 1, 0x8000, 0, 1) + b"the disk was booted\r\n\0"


@pytest.mark.parametrize("name", ["a,disk.img", "disk.qcow2"])
def test_a_disk_is_booted(tools, tmp_path, name):
    """Once: the probe before it writes nothing. Its name may have a comma, and what is in it does not say what it is."""
    raw, path = tmp_path / "raw", tmp_path / name
    raw.write_bytes(BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))
    if name.endswith(".qcow2"):
        if not shutil.which("qemu-img"):
            pytest.skip("there is no qemu-img to make a qcow2 with")
        subprocess.run(["qemu-img", "convert", "-q", "-O", "qcow2", raw, path], check=True)
    else:
        raw.rename(path)
    launcher = Launcher(tmp_path, "--disk", path, "--device", "nvme,size=16M")
    said, status = launcher.end()
    assert status == 0 and "the disk was booted" in said, said
    assert launcher.nothing_is_left()
    if name.endswith(".qcow2"):
        subprocess.run(["qemu-img", "convert", "-q", "-O", "raw", path, raw], check=True)
        path = raw
    assert path.read_bytes()[512] == 1


def test_a_model_that_is_none(tools, tmp_path):
    launcher = Launcher(tmp_path, "--device", "nothing,size=3")
    said, status = launcher.end()
    assert status == 4 and "nothing" in said
    assert launcher.nothing_is_left()

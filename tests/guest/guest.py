# SPDX-License-Identifier: BSD-3-Clause
"""Guests: a kernel of Debian as it is, busybox, and programs of ours, in QEMU (TCG). The tools come from src/cli/vm-setup."""

import gzip
import json
import lzma
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading

TOP = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 300  # seconds, after which what has not happened will not


class NoTools(Exception):
    """Why there is no QEMU and no kernel."""


def tools():
    """The folder with QEMU and a kernel, made if it is not there."""
    done = subprocess.run([TOP / "src/cli/vm-setup"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise NoTools(said[-1] if said else f"vm-setup: exit status {done.returncode}")
    return pathlib.Path(done.stdout.strip())


def cpio_entry(number, name, mode, data):
    def pad(text):
        return text + b"\0" * (-len(text) % 4)

    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    return pad(b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0") + pad(data)


def initrd(folder, programs, modules):
    """A file system for the guest: init, busybox, modules, and the programs that init runs."""
    entries = [("bin", 0o40755, b""), ("programs", 0o40755, b""), ("modules", 0o40755, b"")]
    entries += [("init", 0o100755, (TOP / "tests/guest/init").read_bytes()), ("bin/busybox", 0o100755, (folder / "busybox").read_bytes())]
    for number, name in enumerate(modules):
        found = next(folder.joinpath("modules").resolve().rglob(name + ".ko*"), None)
        assert found, f"the kernel has no module {name}"
        data = found.read_bytes()
        entries.append((f"modules/{number}-{name}.ko", 0o100644, lzma.decompress(data) if found.suffix == ".xz" else data))
    entries += [(f"programs/{path.name}", 0o100755, path.read_bytes()) for path in programs]
    entries.append(("TRAILER!!!", 0, b""))
    return gzip.compress(b"".join(cpio_entry(number, *entry) for number, entry in enumerate(entries)), compresslevel=1)


class Device:
    """A server of a PCI function: a program that takes the path of a socket and prints a line once it listens."""

    def __init__(self, program):
        self.folder = tempfile.TemporaryDirectory(prefix="uiommu-guest-")
        self.program = program
        self.path = os.path.join(self.folder.name, "socket")
        self.start()

    def start(self):
        self.process = subprocess.Popen([self.program, self.path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.line = self.process.stdout.readline().decode()

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def stop(self):
        """What it has said on its standard error."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=PATIENCE)
        self.folder.cleanup()
        assert self.process.returncode == 0, said.decode()
        return said.decode()


class Guest:
    """One QEMU; its serial console is read line by line."""

    def __init__(self, folder, image, *arguments, memory="512M"):
        self.folder = tempfile.TemporaryDirectory(prefix="uiommu-guest-")
        image_path = os.path.join(self.folder.name, "initrd")
        with open(image_path, "wb") as file:
            file.write(image)
        self.monitor_path = os.path.join(self.folder.name, "monitor")
        line = [folder / "qemu", "-machine", "q35,accel=tcg,memory-backend=mem", "-object", f"memory-backend-memfd,id=mem,size={memory},share=on",
                "-cpu", "max", "-m", memory, "-kernel", folder / "vmlinuz", "-initrd", image_path,
                "-append", "console=ttyS0 panic=1 quiet", "-nic", "none", "-display", "none", "-monitor", "none", "-serial", "stdio",
                "-qmp", f"unix:{self.monitor_path},server=on,wait=off", *arguments]
        self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.said = []
        self.timer = threading.Timer(PATIENCE, self.process.kill)
        self.timer.start()

    def lines(self):
        for line in self.process.stdout:
            text = re.sub(r"\x1b\[[0-9;?=]*[A-Za-z]", "", line.decode(errors="replace")).strip()
            self.said.append(text)
            yield text

    def until(self, pattern):
        """The lines up to the first that matches."""
        seen = []
        for line in self.lines():
            seen.append(line)
            if re.search(pattern, line):
                return seen
        raise AssertionError("the guest has ended:\n" + "\n".join(self.said[-60:]))

    def monitor(self, command):
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(PATIENCE)
            link.connect(self.monitor_path)
            stream = link.makefile("rw")
            stream.readline()
            for request in ("qmp_capabilities", command):
                stream.write(json.dumps({"execute": request}) + "\n")
                stream.flush()
                while "return" not in json.loads(stream.readline()):
                    pass

    def end(self):
        """Whatever it is at."""
        self.timer.cancel()
        self.process.kill()
        self.process.communicate()
        self.folder.cleanup()


def vfio_user(path, **more):
    """QEMU's options for a function behind that socket."""
    return "-device", json.dumps({"driver": "vfio-user-pci", "socket": {"type": "unix", "path": path}, **more})

# SPDX-License-Identifier: BSD-3-Clause
"""Programs of Debian under `uiommu run`, as they are: shells, interpreters, lspci, debuggers, another library that is preloaded."""

import glob
import os
import re
import shutil
import subprocess
import tempfile

import pytest

from conftest import fetched, program

DEVICES = ["--device", "nvme,size=1M", "--device", "dsa"]
FUNCTIONS = ["0000:01:00.0", "0000:02:00.0"]


@pytest.fixture
def run():
    """With a session of its own. What it says on both ways, in lines; it must succeed."""
    with tempfile.TemporaryDirectory(prefix="uiommu-") as folder:

        def run_one(*command, options=(), **variables):
            done = subprocess.run([program("uiommu").resolve(), "run", *DEVICES, *options, "--", *command], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                                  env={**os.environ, "XDG_RUNTIME_DIR": folder, **variables})
            assert done.returncode == 0, done.stdout
            return done.stdout.splitlines()

        yield run_one


def needed(name):
    found = shutil.which(name)
    if not found:
        pytest.skip(f"there is no {name} on this machine")
    return found


def in_session():
    return program("tests/e2e/in-session").resolve()


def test_busybox(run):
    """All of it in one program that is linked statically: its shell runs the others without the kernel's exec."""
    script = """
        ls /dev/vfio
        ls -l /dev/iommu /dev/vfio/devices
        stat -c '%F %t:%T' /dev/iommu
        cat /sys/bus/pci/devices/*/vendor
        readlink /sys/bus/pci/devices/0000:02:00.0
        test -c /dev/vfio/vfio && echo char
        ls -d /dev/vfio/2 2>&1
        dd if=/dev/vfio/devices/vfio0 bs=4 count=1 2>&1
        dd if=/sys/bus/pci/devices/0000:02:00.0/config bs=4 count=1 2>/dev/null | od -An -tx1
        cd /dev && dd if=vfio/0 bs=4 count=1 2>&1
        true
    """
    said = run(needed("busybox"), "sh", "-c", script)
    assert said[:4] == ["0", "1", "devices", "vfio"]
    assert re.fullmatch(r"crw-rw-rw- .* 10, 255 .* /dev/iommu", said[4])
    assert [line.split()[-1] for line in said[8:10]] == ["vfio0", "vfio1"] and said[8][0] == said[9][0] == "c"
    assert said[10:] == ["character special file a:ff", "0x1234", "0x8086", "../../../devices/uiommu/0000:02:00.0", "char",
                        "ls: /dev/vfio/2: No such file or directory", "dd: /dev/vfio/devices/vfio0: Invalid argument",
                        " 86 80 25 0b", "dd: vfio/0: Invalid argument"]


PYTHON = """
import ctypes, fcntl, glob, os, struct
iommu = os.open("/dev/iommu", os.O_RDWR)
words = bytearray(struct.pack("3I", 12, 0, 0))
fcntl.ioctl(iommu, 0x3b81, words)
print(struct.unpack("3I", words)[2])
words = ctypes.create_string_buffer(struct.pack("3I", 12, 0, 0), 12)
print(ctypes.CDLL(None).ioctl(iommu, 0x3b81, words), struct.unpack("3I", words.raw)[2])
print(sorted(entry.name for entry in os.scandir("/sys/bus/pci/devices")))
print(sorted((entry.name, entry.is_dir()) for entry in os.scandir("/dev/vfio")))
folder = os.open("/dev", os.O_RDONLY)
print(os.listdir(os.open("vfio/devices", os.O_RDONLY, dir_fd=folder)), hex(os.stat("vfio/vfio", dir_fd=folder).st_mode))
os.chdir("/dev/vfio")
print(os.getcwd(), sorted(os.listdir()), os.path.exists("../null"), os.path.realpath("/sys/bus/pci/devices/0000:01:00.0"))
print(sorted(glob.glob("/sys/kernel/iommu_groups/*/devices/*")))
group = os.open("0", os.O_RDWR)
try:
    os.read(group, 4)
except OSError as error:
    print(error.strerror)
"""


def test_python(run):
    said = run("/usr/bin/python3", "-c", PYTHON)
    assert said == ["1", "0 2", repr(FUNCTIONS), repr([("0", False), ("1", False), ("devices", True), ("vfio", False)]),
                    said[4], "/dev/vfio ['0', '1', 'devices', 'vfio'] True /sys/devices/uiommu/0000:01:00.0",
                    repr([f"/sys/kernel/iommu_groups/{n}/devices/{function}" for n, function in enumerate(FUNCTIONS)]), "Invalid argument"]
    assert said[4] in ("['vfio0', 'vfio1'] 0x21b6", "['vfio1', 'vfio0'] 0x21b6")


PERL = """
open(my $iommu, "+<", "/dev/iommu") or die $!;
my $words = pack("L3", 12, 0, 0);
ioctl($iommu, 0x3b81, $words) or die $!;
print join(" ", unpack("L3", $words)), "\n", join(" ", glob("/sys/bus/pci/devices/*")), "\n";
opendir(my $folder, "/dev/vfio") or die $!;
print join(" ", sort grep { !/^[.]/ } readdir $folder), "\n", -c "/dev/vfio/0" ? "char" : "no", "\n";
chdir("/dev/vfio") && -c "1" && -d "../vfio" or die $!;
"""


def test_perl(run):
    assert run(needed("perl"), "-e", PERL.replace('"\n"', r'"\n"')) == [
        "12 0 1", " ".join(f"/sys/bus/pci/devices/{function}" for function in FUNCTIONS), "0 1 devices vfio", "char"]


def test_lspci(run):
    """What it finds in /sys and in config space."""
    folder = fetched("pci-programs", "lspci")
    libraries = os.path.dirname(glob.glob(f"{folder}/usr/lib/*/libpci.so.3")[0])
    assert run(f"{folder}/usr/bin/lspci", "-D", "-n", LD_LIBRARY_PATH=libraries) == [
        f"{FUNCTIONS[0]} 0108: 1234:4e56", f"{FUNCTIONS[1]} 0880: 8086:0b25"]
    said = "\n".join(run(f"{folder}/usr/bin/lspci", "-vv", "-n", "-s", FUNCTIONS[1], LD_LIBRARY_PATH=libraries))
    for part in ("IOMMU group: 1", "Region 2: Memory at", "[size=128K]", "Capabilities: [84] MSI-X: Enable- Count=9",
                 "Address Translation Service (ATS)", "Page Request Interface (PRI)", "Process Address Space ID (PASID)",
                 "Kernel driver in use: vfio-pci"):
        assert part in said


@pytest.mark.parametrize("options", [[], ["--static"]], ids=["preloaded", "stopped"])
def test_strace(run, options):
    said = run(needed("strace"), "-f", "-e", "trace=openat,getcwd", in_session(), "forks", options=options)
    assert "ok" in said and said[-1] == "+++ exited with 0 +++"
    assert sum("+++ exited with 0 +++" in line for line in said) >= 4


def test_gdb(run):
    """It stops in the middle of what the program does, and goes on."""
    words = ["-nx", "-batch", "-ex", "set breakpoint pending on", "-ex", "break fork", "-ex", "run", "-ex", "delete", "-ex", "continue"]
    said = run(needed("gdb"), *words, "--args", in_session(), "forks")
    assert "ok" in said and any(re.match(r"\[Inferior 1 \(process \d+\) exited normally\]", line) for line in said)
    assert any("Breakpoint 1, " in line for line in said)


OTHER_LIBRARY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>

int open64(const char *path, int flags, ...)
{
	int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
	va_list rest;
	int mode, fd;

	va_start(rest, flags);
	mode = flags & O_CREAT ? va_arg(rest, int) : 0;
	va_end(rest);
	fd = next(path, flags, mode);
	dprintf(2, "other: %s %s\n", path, fd < 0 ? "no" : "yes");
	return fd;
}
"""


def test_another_library_that_is_preloaded(run, tmp_path):
    """It sees all that the program does, and for it the shim is what the kernel would be."""
    source, library = tmp_path / "other.c", tmp_path / "other.so"
    source.write_text(OTHER_LIBRARY, encoding="utf-8")
    subprocess.run([needed("cc"), "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    said = run("/bin/sh", "-c", '"$0" own && exec "$0" calls', in_session(), LD_PRELOAD=str(library))
    assert [line for line in said if not line.startswith("other: ")] == ["ok", "ok"]
    assert said.count("other: /dev/iommu yes") == 3


SANITIZED = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

int main(int count, char **arguments)
{
	unsigned int *words = malloc(12);

	words[0] = 12, words[1] = words[2] = 0;
	if (ioctl(open("/dev/iommu", O_RDWR), 0x3b81, words))
		return 1;
	printf("%u\n", words[2]);
	fflush(stdout);
	count = words[count + 1] != 1; /* behind its end, with an argument */
	free(words);
	return count;
}
"""


@pytest.mark.parametrize("kind", ["address", "thread"])
def test_sanitizer(run, tmp_path, kind):
    """Its library begins, and what it is for it does."""
    source, sanitized = tmp_path / "sanitized.c", tmp_path / "sanitized"
    source.write_text(SANITIZED, encoding="utf-8")
    built = subprocess.run([needed("cc"), f"-fsanitize={kind}", "-o", sanitized, source], check=False, capture_output=True, text=True)
    if built.returncode:
        pytest.skip(f"the compiler has no -fsanitize={kind}: {built.stderr.strip().splitlines()[-1]}")
    assert run("setarch", "-R", sanitized) == ["1"]
    if kind == "address":
        said = run("/bin/sh", "-c", '"$0" more || echo found', sanitized, ASAN_OPTIONS="abort_on_error=0")
        assert said[0] == "1" and said[-1] == "found" and any("heap-buffer-overflow" in line for line in said)

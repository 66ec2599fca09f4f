# SPDX-License-Identifier: BSD-3-Clause
"""A process with a page that never comes. Run as a program it is that process."""

import ctypes
import fcntl
import mmap
import os
import select
import struct
import subprocess
import sys

import pytest

import peer

UFFD_API, UFFDIO_API, UFFDIO_REGISTER, USERFAULTFD_IOC_NEW = 0xAA, 0xC018AA3F, 0xC020AA00, 0xAA00
SYS_USERFAULTFD = {"x86_64": 323, "aarch64": 282}
PR_SET_DUMPABLE = 4


class Stuck(peer.Target):
    """Its page blocks who reads it by pid, as the daemon's executors do with a process of their own user."""

    def __init__(self):
        if "process_vm" in os.environ.get("UIOMMU_WITHOUT", ""):
            pytest.skip("nothing is read by pid, and through a handle an access fails instead of waiting")
        process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        answer = process.stdout.readline().split(maxsplit=1)
        if answer[0] != "page":
            process.communicate()
            pytest.skip(answer[1].strip())
        self.address = int(answer[1], 16)
        super().__init__(process)

    def wait_until_blocked(self, queue):
        """Until an access of this queue waits for the page. Its descriptor asks for an interrupt, which must not come."""
        ready, _, _ = select.select([self.process.stdout, queue.interrupt], [], [], peer.PATIENCE)
        if self.process.stdout not in ready and yama():
            pytest.skip("kernel.yama.ptrace_scope: nothing is read by pid")
        assert self.process.stdout in ready, "the access was not blocked"
        assert self.process.stdout.readline() == "blocked\n"

    def close(self):
        if self.process.returncode is None:
            super().close()
            self.process.stdin.close()
            self.process.stdout.close()


def yama():
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", encoding="ascii") as scope:
            return int(scope.read())
    except FileNotFoundError:
        return 0


def userfaultfd():
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        with open("/dev/userfaultfd", "rb") as device:
            fd = fcntl.ioctl(device, USERFAULTFD_IOC_NEW, os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        fd = libc.syscall(SYS_USERFAULTFD[os.uname().machine], os.O_CLOEXEC | os.O_NONBLOCK)
    if fd < 0:
        return -1
    fcntl.ioctl(fd, UFFDIO_API, struct.pack("=QQQ", UFFD_API, 0, 0))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(*[peer.ORDINARY_USER] * 3)
        os.setresuid(*[peer.ORDINARY_USER] * 3)
        libc.prctl(PR_SET_DUMPABLE, 1)
    return fd


def main():
    fd = userfaultfd()
    if fd < 0:
        print("missing no right to a userfaultfd that handles kernel faults", flush=True)
        return
    memory = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(fd, UFFDIO_REGISTER, struct.pack("=QQQQ", address, mmap.PAGESIZE, 1, 0))
    print(f"page {address:x}", flush=True)
    ready, _, _ = select.select([fd, sys.stdin], [], [])
    if fd in ready:
        print("blocked", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()

#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Run a command for at most so many seconds; what it has started has to end with it.

family.py SECONDS COMMAND...

The exit status is the command's. What still runs when the command has ended, and does not end by itself, is ended, and named in a line
`left running: ...`; so is, in a line `crashed: ...`, what was not the command's own child any more and ended by an error of its own. A
command that was fine has failed then. Nothing is left if this process is told to end, or its parent ends.
"""

import ctypes
import os
import re
import signal
import subprocess
import sys

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LEFT = 99
CRASHES = (signal.SIGILL, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV, signal.SIGSYS)
PATIENCE = 20  # seconds for what ends by itself after the command, as the server of a session does


class Over(Exception):
    """Time is up, or this process shall end."""


def over(number, _):
    raise Over(f"ended by signal {number}")


def children():
    """Orphans of the whole family are among them."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as pids:
        return [int(pid) for pid in pids.read().split()]


def name(pid):
    """Its command, and the test that started it."""
    with open(f"/proc/{pid}/cmdline", "rb") as line, open(f"/proc/{pid}/environ", "rb") as environment:
        command = line.read().replace(b"\0", b" ").decode(errors="replace").strip()
        test = re.search(rb"(?:^|\0)PYTEST_CURRENT_TEST=([^\0]*)", environment.read())
    return f"{command or pid} ({test.group(1).decode(errors='replace')})" if test else command or str(pid)


def wait_for_one(crashed):
    """The next child that ends, and its status."""
    ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    if ended.si_code != os.CLD_EXITED and ended.si_status in CRASHES:
        with open(f"/proc/{ended.si_pid}/comm", encoding="utf-8") as comm:
            crashed.append(f"{comm.read().strip()} (signal {ended.si_status})")
    return os.waitpid(ended.si_pid, 0)


def wait_for_all(seconds, crashed):
    """Whether nothing runs any more."""
    signal.alarm(seconds)
    try:
        while True:
            wait_for_one(crashed)
    except ChildProcessError:
        return True
    except Over:
        return False
    finally:
        signal.alarm(0)


def end_all(tell):
    """One generation after the other: whose parent has ended is a child of ours."""
    while pids := children():
        for pid in pids:
            try:
                tell(name(pid))
            except OSError:
                pass  # it has ended meanwhile, or does not say
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)


def take_no_notice_of_the_caller():
    """Who starts something in the background, or nohup, has it ignore signals that tests send."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def main():
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    take_no_notice_of_the_caller()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, over)
    crashed = []
    with subprocess.Popen(sys.argv[2:]) as process:
        signal.alarm(int(sys.argv[1]))
        try:
            while (ended := wait_for_one(crashed))[0] != process.pid:
                pass
            process.returncode = os.waitstatus_to_exitcode(ended[1])
        except Over as reason:
            signal.alarm(0)
            end_all(lambda text: print(f"was running: {text}", flush=True))
            process.returncode = -1
            print(reason, flush=True)
            return 1
        signal.alarm(0)
    left = []
    if not wait_for_all(PATIENCE, crashed):
        end_all(left.append)
    for what, which in (("left running", left), ("crashed", crashed)):
        for one in which:
            print(f"{what}: {one}", flush=True)
    status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return status or (LEFT if left or crashed else 0)


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: BSD-3-Clause
"""Run commands, count cases, say what happened."""

import concurrent.futures
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOG_LINES = 120
# A command that takes longer hangs; the limit is there so that a hang is reported and the rest still runs.
SCALE = int(os.environ.get("UIOMMU_TEST_SCALE", "1"))
COMMAND_LIMIT = 1200 * SCALE
# `make check` runs this, and this runs make.
MAKE_VARIABLES = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "DESTDIR", "PREFIX", "BUILD")


class Done:
    def __init__(self, status, output):
        self.status = status
        self.output = output
        self.left = re.findall(r"^((?:left running|crashed): .*)$", output, flags=re.M)


def run(argv, env=None, cwd=TOP, limit=COMMAND_LIMIT):
    """Run without stdin, in a group of its own; status is -1 after the limit. Output is stdout and stderr together."""
    outside = {name: value for name, value in os.environ.items() if name not in MAKE_VARIABLES}
    environment = {**outside, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1", **(env or {})}
    with subprocess.Popen(argv, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, start_new_session=True) as process:
        try:
            output, _ = process.communicate(timeout=limit)
            status = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            output += b"\n(stopped after %d s)\n" % limit
            status = -1
    return Done(status, output.decode(errors="replace"))


def run_family(argv, env=None):
    """Run what starts processes that are not its children for long: Done.left are those that it has left
    running, or that have crashed unseen."""
    family = [sys.executable, os.path.join(TOP, "scripts", "checks", "family.py"), str(COMMAND_LIMIT)]
    return run([*family, *argv], env=env, limit=COMMAND_LIMIT + 60)


def at_once(function, items):
    """Call it for each item, for as many at a time as there are processors. A failure is reported whole, with its own output."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, items))


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Report:
    """It may be told by several threads at once."""

    def __init__(self):
        self.lock = threading.Lock()
        self.passed = 0
        self.failures = []
        self.skips = []
        self.last_log = ""
        self.began = time.monotonic()

    def title(self, text):
        print(f"== {text} ({time.monotonic() - self.began:.0f} s, processors {processor_seconds():.0f} s)", flush=True)

    def ok(self, count=1):
        with self.lock:
            self.passed += count

    def skip(self, name, reason):
        with self.lock:
            self.skips.append((name, reason))
            print(f"skipped: {name}: {reason}", flush=True)

    def fail(self, name, log=""):
        with self.lock:
            self.tell_failure(name, log)

    def tell_failure(self, name, log):
        self.failures.append(name)
        print(f"FAILED: {name}")
        if log and log == self.last_log:
            log = "(as before)"
        else:
            self.last_log = log
        lines = log.rstrip().splitlines()
        if len(lines) > LOG_LINES:
            print(f"    ({len(lines) - LOG_LINES} lines before)")
        for line in lines[-LOG_LINES:]:
            print("    " + line)
        sys.stdout.flush()

    def case(self, name, done):
        """One case: a command that is fine when it exits with 0."""
        if done.status == 0:
            self.ok()
            return True
        self.fail(name, done.output + f"\n(exit status {done.status})")
        return False

    def command(self, name, argv, **options):
        try:
            return self.case(name, run(argv, **options))
        except FileNotFoundError as error:
            self.fail(name, str(error))
            return False

    def finish(self):
        print()
        for name, reason in self.skips:
            print(f"skipped: {name}: {reason}")
        for name in self.failures:
            print(f"FAILED: {name}")
        line = f"{self.passed} passed, {len(self.failures)} failed"
        if self.skips:
            line += f", {len(self.skips)} skipped"
        print(f"took {time.monotonic() - self.began:.0f} s, processors {processor_seconds():.0f} s")
        print(line, flush=True)
        return 1 if self.failures or not self.passed else 0

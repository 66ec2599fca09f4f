# SPDX-License-Identifier: BSD-3-Clause
"""The machine's huge pages, which suites that run at the same time have one after the other."""

import contextlib
import fcntl
import pathlib

SETTINGS = pathlib.Path("/proc/sys/vm")
POOL, ON_DEMAND = "nr_hugepages", "nr_overcommit_hugepages"


@contextlib.contextmanager
def pages(setting, count):
    """At least so many, where one may set that: how many there are. They are nobody else's meanwhile."""
    limit = SETTINGS / setting
    with open(SETTINGS / POOL, encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = int(limit.read_text(encoding="ascii"))
        with contextlib.suppress(OSError):
            limit.write_text(str(max(before, count)), encoding="ascii")
        yield int(limit.read_text(encoding="ascii"))
        with contextlib.suppress(OSError):
            limit.write_text(str(before), encoding="ascii")

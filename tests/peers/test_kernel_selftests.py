# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's own selftest of iommufd, unmodified, on uiommu: `uiommu run --mock` is its kernel."""

import os
import pathlib
import re
import subprocess

import pytest

from conftest import program

ROOT = os.geteuid() == 0
HUGE_PAGES = pathlib.Path("/proc/sys/vm/nr_hugepages")
TESTS, SKIPPED = 246, 5


@pytest.fixture(scope="module")
def selftest():
    made = subprocess.run(
        [pathlib.Path(__file__).parent / "kernel-selftests"], capture_output=True, text=True, timeout=1200, check=False
    )
    if made.returncode:
        pytest.skip(f"the kernel's source cannot be had: {made.stderr.strip().splitlines()[-1]}")
    return pathlib.Path(made.stdout.strip()) / "iommufd"


@pytest.fixture(scope="module")
def huge_pages():
    """64 huge pages, which 24 tests need and only root can make."""
    before = int(HUGE_PAGES.read_text())
    if ROOT and before < 64:
        try:
            HUGE_PAGES.write_text("64")
        except OSError:
            pass
    yield int(HUGE_PAGES.read_text()) >= 64
    if ROOT and before < 64:
        try:
            HUGE_PAGES.write_text(str(before))
        except OSError:
            pass


def results(output):
    """The tests by name, and what became of them."""
    found = {}
    for outcome, name, skip in re.findall(r"^(ok|not ok) \d+ (\S+)(?: # (SKIP))?", output, re.MULTILINE):
        found[name] = "skip" if skip else outcome
    return found


def needs_huge_pages(name):
    return "hug" in name or "access_domain_destory" in name


def test_iommufd(selftest, huge_pages):
    run = subprocess.run(
        [program("uiommu"), "run", "--mock", "--", selftest], capture_output=True, text=True, timeout=600, check=False
    )
    found = results(run.stdout)
    assert len(found) == TESTS, run.stdout[-2000:] + run.stderr[-2000:]
    assert sum(outcome == "skip" for outcome in found.values()) == SKIPPED
    failed = {name for name, outcome in found.items() if outcome == "not ok"}
    if not huge_pages:
        skipped = {name for name in failed if needs_huge_pages(name)}
        print("\n".join(f"skipped without huge pages: {name}" for name in sorted(skipped)))
        assert len(skipped) <= 24
        failed -= skipped
    assert not failed

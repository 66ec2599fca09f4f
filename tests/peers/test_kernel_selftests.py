# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's own selftest of iommufd, unmodified, on uiommu: `uiommu run --mock` is its kernel."""

import os
import pathlib
import re
import resource
import subprocess

import huge
import pytest

from conftest import fetched, program

ROOT = os.geteuid() == 0
TESTS, SKIPPED, HUGE = 246, 5, 24


@pytest.fixture(scope="module")
def selftest():
    return pathlib.Path(fetched("kernel-selftests", "the kernel's source")) / "iommufd"


@pytest.fixture(scope="module")
def huge_pages():
    """64 huge pages, which 24 tests need and only root can make."""
    with huge.pages(huge.POOL, 64) as there:
        yield there >= 64


def results(output):
    """The tests by name, and what became of them."""
    found = {}
    for outcome, name, skip in re.findall(r"^(ok|not ok) \d+ (\S+)(?: # (SKIP))?", output, re.MULTILINE):
        found[name] = "skip" if skip else outcome
    return found


def needs_huge_pages(name):
    return "hug" in name or "access_domain_destory" in name


def locks_much(name):
    """64 MiB and more, in small pages."""
    return re.search(r"dirty(64|128|256)M\.get_dirty_bitmap", name)


@pytest.fixture(scope="module")
def outcomes(selftest, huge_pages):  # pylint: disable=unused-argument
    run = subprocess.run(
        [program("uiommu"), "run", "--mock", "--", selftest], capture_output=True, text=True, timeout=600, check=False
    )
    found = results(run.stdout)
    assert len(found) == TESTS, run.stdout[-2000:] + run.stderr[-2000:]
    assert sum(outcome == "skip" for outcome in found.values()) == SKIPPED
    return found


def all_pass(outcomes, names, missing):
    """Those that lack something are skipped, each by its name."""
    failed = sorted(name for name in names if outcomes[name] == "not ok")
    if failed and missing:
        pytest.skip(f"{missing}: {', '.join(failed)}")
    assert not failed


def test_iommufd(outcomes):
    all_pass(outcomes, [name for name in outcomes if not needs_huge_pages(name) and not locks_much(name)], None)


def test_iommufd_with_huge_pages(outcomes, huge_pages):
    names = [name for name in outcomes if needs_huge_pages(name)]
    assert sum(outcomes[name] == "not ok" for name in names) == (0 if huge_pages else HUGE)
    all_pass(outcomes, names, None if huge_pages else "there are no 64 huge pages")


def test_iommufd_with_much_memory(outcomes):
    """What is mapped counts against RLIMIT_MEMLOCK, as with the kernel."""
    names = [name for name in outcomes if locks_much(name)]
    assert names
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    small = not ROOT and limit != resource.RLIM_INFINITY and limit < 256 << 20
    all_pass(outcomes, names, "RLIMIT_MEMLOCK is less than 256 MiB" if small else None)

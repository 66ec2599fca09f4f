# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's own selftests of VFIO (linux-source-7.2, tools/testing/selftests/vfio), unmodified, on our NVMe controller."""

import os
import platform
import re
import resource
import subprocess

import pytest

from conftest import fetched, program

BDF = "0000:01:00.0"
MAPPED = (1 << 30) + (2 << 20)  # by the test of a driver
REGISTERS = pytest.mark.skipif(platform.machine() != "x86_64", reason="registers are mapped on x86-64 only")
TYPE1 = ("-v", "vfio_type1_iommu", "-v", "vfio_type1v2_iommu")


@pytest.fixture(scope="session")
def selftests():
    return fetched("kernel-selftests", "the kernel's selftests")


def run(selftests, name, *arguments, device="nvme,size=16M"):
    """How many have passed, and how many were skipped."""
    command = [program("uiommu"), "run", "--device", device, "--", os.path.join(selftests, name), *arguments, BDF]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    totals = re.search(r"# Totals: pass:(\d+) fail:0 xfail:0 xpass:0 skip:(\d+) error:0", done.stdout)
    assert totals and done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return int(totals.group(1)), int(totals.group(2))


def huge_pages():
    with open("/proc/meminfo", encoding="ascii") as file:
        return int(re.search(r"HugePages_Free:\s+(\d+)", file.read()).group(1))


def test_iommufd_setup(selftests):
    """Bind, attach, and what they refuse."""
    assert run(selftests, "vfio_iommufd_setup_test") == (6, 0)


@pytest.mark.parametrize("device, expected", [("nvme,size=16M", (5, 0)), pytest.param("dsa", (4, 1), marks=REGISTERS)])
def test_pci_device(selftests, device, expected):
    """Config space, BARs, MSI and MSI-X, reset. The DSA has no MSI."""
    assert run(selftests, "vfio_pci_device_test", device=device) == expected


def test_dma_mapping(selftests):
    """All five ways of a container and an iommufd. Those with pages of 1 GiB, and of 2 MiB where there are none free, are skipped."""
    passed, skipped = run(selftests, "vfio_dma_mapping_test")
    assert passed + skipped == 30
    assert skipped <= (5 if huge_pages() else 10) and passed >= 20


def test_dma_mapping_of_bars(selftests):
    """As a container does it; of an iommufd the test wants to see that it cannot, which is no promise of ours."""
    assert run(selftests, "vfio_dma_mapping_mmio_test", *TYPE1) == (6, 0)


@REGISTERS
def test_dsa_driver(selftests):
    """
    The driver of Intel's DSA that they contain, which maps registers and portals; a CPU without MOVDIR64B does not matter, as the
    instruction is done for the program where it leads to a portal. One test moves as many of the largest transfers as fit into
    250 GiB: of 2 GiB that takes a CPU longer than it waits.
    """
    if os.geteuid() and resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] < MAPPED:
        pytest.skip("RLIMIT_MEMLOCK is less than the 1026 MiB that it maps")
    assert run(selftests, "vfio_pci_driver_test", device="dsa,transfer=64K") == (35, 0)

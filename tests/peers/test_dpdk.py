# SPDX-License-Identifier: BSD-3-Clause
"""DPDK of Debian's packages, with its own driver for Intel's DSA: it finds our model by VFIO's groups, maps registers and portals, and tests it."""

import glob
import os
import platform
import re
import subprocess

import pytest

from conftest import fetched, program

BDF = "0000:01:00.0"
QUEUES = 2
# What fits into Debian's own limit of locked memory (8 MiB), so that nobody has to be root.
MEGABYTES = 7

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the driver is for x86-64")


@pytest.fixture(scope="session")
def dpdk():
    return fetched("dpdk-programs", "DPDK's programs")


def run(folder, tmp_path, test, options=()):
    """What one of dpdk-test's tests says, a line for each of its lines, and the trace."""
    processors = sorted(os.sched_getaffinity(0))[:2]
    libraries = os.path.dirname(glob.glob(f"{folder}/usr/lib/*/librte_dma_idxd.so.23")[0])
    command = [program("uiommu"), "run", "--trace", tmp_path / "trace", "--device", "dsa", "--", f"{folder}/usr/bin/dpdk-test",
               "--no-huge", "--no-shconf", "-m", str(MEGABYTES), "--iova-mode=va", "-l", ",".join(map(str, processors)),
               "-d", "librte_dma_idxd.so.23", "-d", "librte_mempool_ring.so.23", "-a", f"{BDF},max_queues={QUEUES}", *options]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                          env={**os.environ, "LD_LIBRARY_PATH": libraries, "DPDK_TEST": test})
    # Tests go on after what they say, in the same line.
    return re.split(r"[\r\n]+", done.stdout), (tmp_path / "trace").read_text(encoding="utf-8")


def test_driver(dpdk, tmp_path):
    """
    Copies and fills of all kinds, whose data it looks at; batches until a queue is full; descriptors that fault at the beginning, in the
    middle and at the end of batches, whose status it looks at.
    """
    said, trace = run(dpdk, tmp_path, "dmadev_autotest")
    assert "Test OK" in said, "\n".join(said[-40:])
    for queue in range(QUEUES):
        assert f"### Test dmadev instance {queue} [{BDF}-q{queue}]" in said
        for kind in ("copy Tests", "burst capacity Tests", "error handling Tests (errors expected)", "fill Tests"):
            assert any(line.startswith(f"DMA Dev {queue}: Running {kind}") for line in said), kind
    counts = [re.match(r"Ops submitted: (\d+)\s+Ops completed: (\d+)\s+Errors: (\d+)", line) for line in said]
    errors = [count.groups() for count in counts if count and int(count.group(3))]
    assert errors == [("448", "448", "64")] * QUEUES
    # All of that has come by us.
    assert len(re.findall(r"write\(.*, 64, BAR2\+0x[0-9a-f]+\) = 64 <", trace)) > 10000
    assert re.search(rf"VFIO_IOMMU_MAP_DMA, \{{.*size={MEGABYTES << 20:#x}\}}\) = 0", trace)


@pytest.mark.parametrize("interrupts, index, count", [("msix", "MSIX", 9), ("msi", "MSI", 0), ("legacy", "INTX", 0)])
def test_interrupts(dpdk, tmp_path, interrupts, index, count):
    """Whichever it asks for; the device has MSI-X only."""
    said, trace = run(dpdk, tmp_path, "version_autotest", options=[f"--vfio-intr={interrupts}"])
    assert "Test OK" in said and not any("cannot be used" in line for line in said), "\n".join(said[-40:])
    answer = re.search(r"VFIO_DEVICE_GET_IRQ_INFO, \{.*index=([A-Z]+), count=0\} => \{([^}]*)\}\) = 0", trace)
    assert answer.group(1) == index
    assert ("count=9" in answer.group(2)) == (count == 9)

# SPDX-License-Identifier: BSD-3-Clause
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import guest  # noqa: E402


@pytest.fixture(scope="session")
def tools():
    if os.uname().machine != "x86_64":
        pytest.skip("guests are x86-64, and so are the programs that are built for them")
    try:
        return guest.tools()
    except guest.NoTools as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def iommufd_kernel(tools):
    """A kernel that has iommufd, which Debian's has not; it needs no modules."""
    try:
        return guest.tools("--kernel", guest.TOP / "tests/guest/iommufd.config") / "vmlinuz"
    except guest.NoTools as reason:
        pytest.skip(str(reason))

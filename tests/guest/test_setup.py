# SPDX-License-Identifier: BSD-3-Clause
"""uiommu vm --setup: what it makes, and what it says when it cannot."""

import os
import subprocess

import guest


def ask(environment, *options):
    return subprocess.run([guest.program("uiommu"), "vm", "--setup", *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          env={**os.environ, **environment})


def test_a_folder_that_is_whole_is_used(tools):
    done = ask({})
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(tools), "")
    assert subprocess.run([tools / "qemu", "--version"], capture_output=True, text=True, check=True).stdout.startswith("QEMU emulator version ")
    assert os.access(tools / "vmlinuz", os.R_OK) and os.access(tools / "busybox", os.X_OK)
    assert any((tools / "modules").resolve().rglob("uio_pci_generic.ko*"))


def fake(folder, name, text):
    path = folder / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def test_without_a_mirror_nothing_is_made(tmp_path):
    fake(tmp_path, "apt-get", "exit 0\n")
    done = ask({"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.returncode == 1 and done.stdout == ""
    assert "no mirror" in done.stderr
    assert sorted(os.listdir(tmp_path / "cache" / "uiommu")) in (["lock"], ["lock", "vm-1.new"])


def test_without_a_network_nothing_is_made(tmp_path):
    fake(tmp_path, "apt-get", 'case $1 in indextargets) echo "http://mirror.invalid/ Debian Debian" ;; *) exit 100 ;; esac\n')
    done = ask({"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.splitlines()[-1].endswith("the packages' lists cannot be had (no network?)")


def test_a_mistake(tmp_path):
    for options, complaint in ((["--nonsense"], "usage"), (["--kernel"], "cannot read"), (["--kernel", "/nowhere"], "/nowhere")):
        done = subprocess.run([guest.TOP / "src/cli/vm/vm-setup", *options], capture_output=True, text=True, check=False,
                              env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)})
        assert done.returncode == 1 and complaint in done.stderr
        assert not os.listdir(tmp_path)


def test_a_kernel_that_cannot_be_built(tmp_path):
    """Nothing is left of it but room for another try."""
    config = tmp_path / "config"
    config.write_text("CONFIG_64BIT=y\n")
    fake(tmp_path, "apt-get", 'case $1 in indextargets) echo "http://mirror.invalid/ Debian Debian" ;; *) exit 100 ;; esac\n')
    done = subprocess.run([guest.TOP / "src/cli/vm/vm-setup", "--kernel", config], capture_output=True, text=True, check=False,
                          env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.returncode == 1 and done.stdout == ""
    assert "cannot be had" in done.stderr or "needs " in done.stderr
    assert not [name for name in os.listdir(tmp_path / "cache" / "uiommu") if "." not in name]

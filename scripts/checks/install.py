# SPDX-License-Identifier: BSD-3-Clause
"""Install somewhere, use what was installed as anybody would, uninstall."""

import os
import tempfile

from checks import headers
from checks.report import TOP, run


def installed_files(root):
    found = []
    for place, folders, names in os.walk(root):
        found += [os.path.relpath(os.path.join(place, name), root) for name in names]
        found += [os.path.relpath(os.path.join(place, name), root) for name in folders if os.path.islink(os.path.join(place, name))]
    return sorted(found)


def expected(pages):
    names = ["bin/uiommu", "bin/uiommud", "libuiommu.a", "libuiommu.so", "libuiommu.so.0", "pkgconfig/uiommu.pc", "libexec/uiommu/vm-setup",
             "uiommu/libuiommu-shim.so", "bash-completion/completions/uiommu"]
    names += ["include/uiommu/" + os.path.basename(path) for path in headers.headers()]
    return names + pages


def check_files(report, root, pages):
    found = installed_files(root)
    missing = [name for name in expected(pages) if not any(path.endswith("/" + name) for path in found)]
    if missing:
        report.fail("make install: files", "not installed: " + " ".join(missing) + "\ninstalled:\n" + "\n".join(found))
    else:
        report.ok()


def find(root, name):
    return next((os.path.join(root, path) for path in installed_files(root) if path.endswith("/" + name)), None)


def check_program(report, root, build):
    """The README's program against the installed library: shared, and static."""
    config = find(root, "pkgconfig/uiommu.pc")
    library = find(root, "libuiommu.so")
    if not config or not library:
        report.fail("pkg-config file or library not installed")
        return
    env = {"PKG_CONFIG_PATH": os.path.dirname(config), "PKG_CONFIG_SYSROOT_DIR": root}
    # libisal comes without an archive, so "static" is about libuiommu only.
    flags = {
        "shared": "$(pkg-config --cflags --libs uiommu)",
        "static": "$(pkg-config --cflags --libs-only-L uiommu) -l:libuiommu.a $(pkg-config --libs --static uiommu | sed s/-luiommu//)",
    }
    for kind, line in flags.items():
        program = os.path.join(build, f"hello-{kind}")
        command = f'gcc -std=c99 -Wall -Werror -o "{program}" examples/hello.c {line}'
        if report.command(f"examples/hello.c with the installed {kind} library", ["sh", "-c", command], env=env):
            report.command(f"examples/hello.c, {kind}, runs", [program], env={"LD_LIBRARY_PATH": os.path.dirname(library)})


def check_versions(report, root):
    for name in ("bin/uiommu", "bin/uiommud"):
        done = run([find(root, name) or name, "--version"])
        if done.status == 0 and done.output.startswith(os.path.basename(name) + " "):
            report.ok()
        else:
            report.fail(f"{name} --version", done.output)


def check(report, build):
    pages = [name[:-len(".scd")] for name in sorted(os.listdir(os.path.join(TOP, "docs", "man"))) if name.endswith(".scd")]
    with tempfile.TemporaryDirectory() as folder:
        root = os.path.join(folder, "root")
        make = ["make", "BUILD=" + os.path.relpath(build, TOP), "DESTDIR=" + root]
        if not report.command("make install", [*make, "install"]):
            return
        check_files(report, root, pages)
        check_versions(report, root)
        check_program(report, root, build)
        static = find(root, "libuiommu.a")
        headers.check_symbols(report, find(root, "libuiommu.so") or "", static or "")
        report.command("make uninstall", [*make, "uninstall"])
        left = installed_files(root) + [os.path.join(place, name) for place, names, _ in os.walk(root) for name in names if "uiommu" in name]
        if left:
            report.fail("make uninstall leaves", "\n".join(left))
        else:
            report.ok()

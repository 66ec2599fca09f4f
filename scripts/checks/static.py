# SPDX-License-Identifier: BSD-3-Clause
"""Checks that look at files only."""

import json
import os
import re
import tempfile

from checks.report import TOP, at_once

FOLDERS = ["bench", "docs", "examples", "guest", "include", "scripts", "src", "tests"]
TOP_FILES = [name for name in ("README.md", "Makefile", "meson.build") if os.path.exists(os.path.join(TOP, name))]


def files(*endings, folders=tuple(FOLDERS)):
    """Without asking git: it may be absent, and the sources may belong to somebody else."""
    found = []
    for folder in folders:
        for place, inner, names in os.walk(os.path.join(TOP, folder)):
            inner[:] = sorted(name for name in inner if name not in ("__pycache__", "corpus"))
            found += [os.path.join(place, name) for name in sorted(names) if not endings or name.endswith(endings)]
    return [os.path.relpath(path, TOP) for path in found]


def first_line(path):
    with open(os.path.join(TOP, path), "rb") as file:
        return file.readline()


def layout(report):
    report.command("clang-format", ["clang-format", "--dry-run", "-Werror", *files(".c", ".h")])


def spelling(report):
    report.command("codespell", ["codespell", "--quiet-level=2", "--check-hidden", "--ignore-words", "scripts/checks/words",
                                 *TOP_FILES, *files()])


def shell(report):
    scripts = [path for path in [".ci/run", *files()] if re.match(rb"#!.*\b(sh|bash)$", first_line(path).rstrip())]
    completion = [path for path in files(folders=("src",)) if path.endswith(".bash")]
    report.command("shellcheck", ["shellcheck", "-x", *scripts])
    if completion:
        report.command("shellcheck, bash completion", ["shellcheck", "--shell=bash", *completion])


def licences(report):
    sources = [path for path in files(".c", ".h", ".py", ".build", ".map")] + ["Makefile", "meson.build"]
    bad = []
    for path in sources:
        with open(os.path.join(TOP, path), encoding="utf-8") as file:
            head = file.read(400)
        licence = "GPL-2.0-only" if path.startswith("guest/linux/") else "BSD-3-Clause"
        if head and f"SPDX-License-Identifier: {licence}" not in head:
            bad.append(path)
    if bad:
        report.fail("licence lines", "no SPDX line: " + " ".join(bad))
    else:
        report.ok()


# What may be included from where: folders of src/, from the lowest layer up. A folder sees its own layer and those below.
LAYERS = [
    {"util"},
    {"memory", "pgtable", "translate"},
    {"iommu", "pasid", "sva"},
    {"pci"},
    {"devices", "sandbox"},
    {"abi", "client", "cli", "daemon", "vfio_user", "viommu"},
]


def layers(report):
    """docs/architecture.md: calls go down only."""
    level = {folder: i for i, layer in enumerate(LAYERS) for folder in layer}
    bad = []
    for path in files(".c", ".h", folders=("src",)):
        with open(os.path.join(TOP, path), encoding="utf-8") as file:
            included = re.findall(r'#include "(\w+)/', file.read())
        bad += [f"{path} includes of {folder}/" for folder in included if level[folder] > level[path.split("/")[1]]]
    if bad:
        report.fail("layers", "\n".join(bad))
    else:
        report.ok()


def sizes(report):
    long = []
    for path in files(".c", ".h", ".py"):
        with open(os.path.join(TOP, path), encoding="utf-8") as file:
            lines = sum(1 for line in file)
        if lines > 800:
            long.append(f"{path} has {lines} lines")
    if long:
        report.fail("files of more than 800 lines have two subjects", "\n".join(long))
    else:
        report.ok()


def tidy(report, build):
    """One case a file; .clang-tidy says which checks, all of them are errors."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    paths = sorted({os.path.relpath(os.path.join(command["directory"], command["file"]), TOP) for command in commands})
    paths = [path for path in paths if not path.startswith(("..", "build"))]
    at_once(lambda path: report.command(f"clang-tidy: {path}", ["clang-tidy", "--quiet", "-p", build, path]), paths)


def man_pages(report):
    with tempfile.TemporaryDirectory() as folder:
        for path in files(".scd"):
            page = os.path.join(folder, os.path.basename(path)[:-len(".scd")])
            report.command(f"{path}", ["sh", "-c", 'scdoc < "$0" > "$1" && test -s "$1"', path, page])


def links(report):
    """Relative links of the Markdown files lead somewhere, and files named in `backquotes` with a slash exist."""
    for path in [*[name for name in TOP_FILES if name.endswith(".md")], *files(".md")]:
        with open(os.path.join(TOP, path), encoding="utf-8") as file:
            text = re.sub(r"```.*?```", "", file.read(), flags=re.S)
        base = os.path.dirname(path)
        missing = [target for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
                   if not os.path.exists(os.path.join(TOP, base, target))]
        missing += [target for target in re.findall(r"`((?:src|include|tests|docs|scripts|examples|bench|guest)/[\w./-]+)`", text)
                    if not os.path.exists(os.path.join(TOP, target))]
        if missing:
            report.fail(f"links of {path}", "\n".join(missing))
        else:
            report.ok()


def readme_program(report):
    """The program in the README is examples/hello.c."""
    with open(os.path.join(TOP, "examples", "hello.c"), encoding="utf-8") as file:
        program = file.read()
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as file:
        shown = re.findall(r"```c\n(.*?)```", file.read(), flags=re.S)
    if program in shown:
        report.ok()
    else:
        report.fail("README.md does not show examples/hello.c as it is")

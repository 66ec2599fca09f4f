# SPDX-License-Identifier: BSD-3-Clause
"""Build in several ways and run the test suites of a build."""

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

from checks.report import SCALE, TOP, at_once, run, run_family

OUT = os.path.join(TOP, "build-check")

SANITIZERS = {
    "ASAN_OPTIONS": "abort_on_error=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


def build_dir(name):
    return os.path.join(OUT, name)


def build(report, name, compiler, options=()):
    """Configure and build; the warnings of both compilers are errors."""
    path = build_dir(name)
    env = {"CC": compiler}
    options = ["-Dwerror=true", *options]
    if os.path.exists(os.path.join(path, "build.ninja")):
        setup = run(["meson", "configure", path, *options])
    else:
        shutil.rmtree(path, ignore_errors=True)
        setup = run(["meson", "setup", path, *options], env=env)
    if setup.status != 0:
        report.fail(f"{name}: configure", setup.output)
        return False
    return report.command(f"{name}: build", ["ninja", "-C", path])


def without_randomisation():
    """Sanitizers of 2022 do not know today's address-space layouts: run them with a fixed one where that is permitted."""
    wrapper = ["setarch", "-R"]
    return wrapper if run([*wrapper, "true"]).status == 0 else []


TAP_PLAN = re.compile(r"1\.\.(\d+)$")
TAP_RESULT = re.compile(r"(not )?ok (\d+)(?:\s+-)?\s*(.*)$")
TAP_SKIP = re.compile(r"#\s*skip\S*\s*", flags=re.I)


def tap(stdout):
    """The cases of a program: (title, outcome, reason). What is planned and does not come has failed.

    The reason for a skip is the comment before it.
    """
    planned, cases, comments = 0, [], []
    for line in (stdout or "").splitlines():
        plan, result = TAP_PLAN.match(line), TAP_RESULT.match(line)
        if plan:
            planned += int(plan.group(1))
        elif result:
            bad, number, rest = result.groups()
            skip = TAP_SKIP.search(rest)
            title = f"{number} {TAP_SKIP.sub('', rest)}".strip()
            cases.append((title, "skipped" if skip else "failed" if bad else "passed", "; ".join(comments)))
        if line.startswith(("#", "skipped:")):
            comments.append(re.sub(r"^(#\s*)?(skipped:\s*)?", "", line))
        else:
            comments = []
    cases += [(f"case {number + 1} of {planned}", "failed", "it did not come so far") for number in range(len(cases), planned)]
    return cases


def count_program(report, label, program):
    """Whether nothing has failed."""
    name = program["name"].split(" / ")[-1].split(":")[-1]
    cases = tap(program.get("stdout"))
    if not cases and program["result"] == "SKIP":
        reason = (program.get("stdout") or program.get("stderr") or "").strip().splitlines()
        report.skip(f"{label}: {name}", reason[-1] if reason else "no reason given")
        return True
    outcomes = [outcome for _, outcome, _ in cases]
    for title, outcome, reason in cases:
        if outcome == "skipped":
            report.skip(f"{label}: {name}: {title}", reason or "no reason given")
        elif outcome == "failed":
            report.fail(f"{label}: {name}: {title}")
        else:
            report.ok()
    good = program["result"] in ("OK", "EXPECTEDFAIL", "SKIP")
    if good and not cases:
        report.ok()
    if not good:
        if "failed" not in outcomes:
            report.fail(f"{label}: {name} ({program['result'].lower()})")
        print_log(program)
    return good and "failed" not in outcomes


def count_meson(report, label, path):
    """Every case of every program, from meson's own records. Whether nothing has failed."""
    with open(os.path.join(path, "meson-logs", "testlog.json"), encoding="utf-8") as lines:
        return all([count_program(report, label, json.loads(line)) for line in lines])


def print_log(program):
    text = (program.get("stdout") or "") + (program.get("stderr") or "")
    for line in text.rstrip().splitlines()[-200:]:
        print("    " + line)
    sys.stdout.flush()


@contextlib.contextmanager
def staged(name):
    """The environment in which suites find the programs. As root they start these as an ordinary user, who may not look into the build."""
    if os.geteuid() != 0:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="uiommu-check-") as folder:
        os.chmod(folder, 0o755)
        for program in ("uiommu", "uiommud"):
            shutil.copy(os.path.join(build_dir(name), program), folder)
        yield {"UIOMMU_STAGE": folder}


@contextlib.contextmanager
def sanitizers(report, label):
    """The environment for programs that sanitizers are in. What these say of a process that nobody listens to is a failure, too."""
    with tempfile.TemporaryDirectory(prefix="uiommu-check-") as folder:
        os.chmod(folder, 0o1777)
        yield {name: f"{options}:log_path={os.path.join(folder, 'said')}" for name, options in SANITIZERS.items()}
        for name in list_dir(folder):
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as said:
                report.fail(f"{label}: a sanitizer's report", said.read())


def python_suites(report, label, name, **options):
    at_once(lambda folder: pytest_suite(report, label, name, folder, **options), ("tests/peers", "tests/e2e"))


def guests(report, name):
    """Each has a QEMU and a server of its own, so that two files do not notice each other."""
    folder = os.path.join("tests", "guest")
    files = [os.path.join(folder, file) for file in list_dir(os.path.join(TOP, folder)) if file.startswith("test_")]
    at_once(lambda file: pytest_suite(report, "guest", name, file), files)


def nothing_left(report, label, done):
    for one in done.left:
        report.fail(f"{label}: {one}")
    return not done.left


def meson_suite(report, label, name, env=None, wrapper=(), slow=1):
    path = build_dir(name)
    log = os.path.join(path, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    with staged(name) as programs:
        done = run_family([*wrapper, "meson", "test", "-C", path, "--no-rebuild", "-t", str(slow * SCALE)],
                          env={**SANITIZERS, **programs, **(env or {})})
    fine = nothing_left(report, label, done)
    try:
        if count_meson(report, label, path) and done.status != 0 and fine:
            report.fail(f"{label}: meson test", done.output)
    except (OSError, ValueError) as error:
        report.fail(f"{label}: meson test: {error}", done.output)


def pytest_suite(report, label, name, suite, env=None, wrapper=()):
    """A suite in Python, a folder or a file; it finds the build to test in UIOMMU_BUILD."""
    results = os.path.join(build_dir(name), f"pytest-{os.path.basename(suite)}.xml")
    if os.path.exists(results):
        os.unlink(results)
    with staged(name) as programs, sanitizers(report, f"{label}: {suite}") as options:
        done = run_family([*wrapper, "/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml", results, suite],
                          env={**options, "UIOMMU_BUILD": build_dir(name), **programs, **(env or {})})
    fine = nothing_left(report, label, done)
    try:
        root = ElementTree.parse(results).getroot()
    except (OSError, ElementTree.ParseError) as error:
        report.fail(f"{label}: {suite}: pytest (exit status {done.status}): {error}", done.output)
        return
    for case in root.iter("testcase"):
        title = f"{label}: {case.get('classname')}.{case.get('name')}"
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        if bad is not None:
            fine = False
            report.fail(title, "\n".join(text for text in (bad.text, case.findtext("system-out"), case.findtext("system-err")) if text))
        elif case.find("skipped") is not None:
            report.skip(title, case.find("skipped").get("message") or "no reason given")
        else:
            report.ok()
    if done.status != 0 and fine:
        report.fail(f"{label}: {suite}: pytest (exit status {done.status})", done.output)


def list_dir(path):
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def fuzz_targets():
    path = os.path.join(build_dir("fuzz"), "tests", "fuzz")
    return [os.path.join(path, name) for name in list_dir(path) if name.startswith("fuzz-") and os.access(os.path.join(path, name), os.X_OK)
            and os.path.isfile(os.path.join(path, name))]


def corpus(target):
    """Inputs kept in the repository; the target works on a copy."""
    return os.path.join(TOP, "tests", "fuzz", "corpus", os.path.basename(target).removeprefix("fuzz-"))


# What anybody's program can say to the ABI: in a long check for as long as it is asked to last.
DISPATCHERS = ("fuzz-iommufd", "fuzz-vfio")


def fuzz(report, runs, long):
    at_once(lambda target: fuzz_one(report, target, runs, long), fuzz_targets())


def fuzz_one(report, target, runs, long):
    name = os.path.basename(target)
    limits, title = [f"-runs={runs}", "-max_total_time=30"], f"{runs} runs, or for 30 s"
    if long:
        limits, title = ([f"-runs={runs}"], f"{runs} runs") if name not in DISPATCHERS else (["-max_total_time=3600"], "for an hour")
    work = target + ".corpus"
    shutil.rmtree(work, ignore_errors=True)
    os.mkdir(work)
    kept = [corpus(target)] if os.path.isdir(corpus(target)) else []
    done = run_family([*without_randomisation(), target, *limits, "-seed=1", "-timeout=60", "-artifact_prefix=" + work + "/", work, *kept],
                      env=SANITIZERS)
    report.case(f"fuzz: {name}, {title}", done)

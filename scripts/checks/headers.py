# SPDX-License-Identifier: BSD-3-Clause
"""What the public headers declare, and whether each of it is documented (kernel-doc)."""

import os
import re

from checks.report import TOP, run

INCLUDE = os.path.join(TOP, "include")


def headers():
    folder = os.path.join(INCLUDE, "uiommu")
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".h")]


def without_comments(text):
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.S)


def split_parameters(text):
    """Parameters at the top level of parentheses."""
    parts, depth, part = [], 0, ""
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += letter
    return [part.strip() for part in [*parts, part] if part.strip() not in ("", "void")]


def parameter_name(text):
    pointer = re.search(r"\(\s*\*\s*(\w+)\s*\)", text)
    if pointer:
        return pointer.group(1)
    return re.findall(r"\w+", re.sub(r"\[[^]]*\]", "", text))[-1]


def functions(text):
    """(name, return type, parameters) of every exported function."""
    found = []
    for match in re.finditer(r"^UIOMMU_API\s+([^;]*?)\b(\w+)\(([^;]*)\);", without_comments(text), flags=re.M):
        kind = " ".join(match.group(1).split())
        found.append((match.group(2), kind, [parameter_name(part) for part in split_parameters(match.group(3))]))
    return found


def exported():
    names = set()
    for path in headers():
        with open(path, encoding="utf-8") as file:
            names.update(name for name, _, _ in functions(file.read()))
    return names


def members(body):
    """Names of a struct's members; function pointers and arrays too."""
    return [parameter_name(declarator) for line in without_comments(body).split(";") for declarator in split_parameters(line)]


def comments(text):
    """Kernel-doc comments by what they document: "struct x", "enum x", "x()" or "X"."""
    found = {}
    for match in re.finditer(r"/\*\*\s*(.*?)\*/", text, flags=re.S):
        body = re.sub(r"^[ \t]*\*[ \t]?", "", match.group(1), flags=re.M)
        first = re.match(r"((?:struct|enum|union) \w+|\w+(?:\(\))?)\s+-\s", body)
        if first:
            found[first.group(1)] = body
    return found


def check_functions(text, docs):
    for name, kind, parameters in functions(text):
        comment = docs.get(f"{name}()")
        if comment is None:
            yield f"{name}() is not documented"
            continue
        described = set(re.findall(r"^@(\w+):", comment, flags=re.M))
        for parameter in parameters:
            if parameter not in described:
                yield f"{name}(): @{parameter} is not described"
        for extra in sorted(described - set(parameters)):
            yield f"{name}(): @{extra} is described and is no parameter"
        if kind != "void" and not re.search(r"^Return:", comment, flags=re.M):
            yield f"{name}(): no Return:"


def check_types(text, docs):
    for match in re.finditer(r"^(struct|enum|union) (\w+) \{(.*?)^\}", text, flags=re.M | re.S):
        kind, name, body = match.groups()
        comment = docs.get(f"{kind} {name}")
        if comment is None:
            yield f"{kind} {name} is not documented"
            continue
        mentioned = set(re.findall(r"@(\w+)", comment))
        names = re.findall(r"^\s*(\w+)\s*(?:=|,|$)", without_comments(body), flags=re.M) if kind == "enum" else members(body)
        if kind == "enum" and not mentioned:
            continue
        for member in names:
            if member not in mentioned and not member.startswith("reserved"):
                yield f"{kind} {name}: @{member} is not described"
    for name in re.findall(r"^#define (UIOMMU_(?!API\b)\w+)(?= \S)", text, flags=re.M):
        if name not in docs:
            yield f"{name} is not documented"


def check_documentation(report):
    for path in headers():
        with open(path, encoding="utf-8") as file:
            text = file.read()
        problems = [*check_functions(text, comments(text)), *check_types(text, comments(text))]
        name = f"documentation of {os.path.relpath(path, TOP)}"
        if problems:
            report.fail(name, "\n".join(problems))
        else:
            report.ok()


def check_alone(report):
    """Each header compiles by itself, in C and in C++."""
    dialects = [("gcc", "c", "c99"), ("clang", "c", "gnu17"), ("g++", "c++", "c++11"), ("clang++", "c++", "c++17")]
    for path in headers():
        for compiler, language, standard in dialects:
            report.command(f"{os.path.relpath(path, TOP)} alone, {compiler} -std={standard}",
                           [compiler, "-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
                            "-D_DEFAULT_SOURCE", "-include", path, "-I", INCLUDE, "/dev/null"])


def defined(path, *options):
    symbols = run(["nm", *options, "--defined-only", "--format=posix", path])
    names = set()
    for line in symbols.output.splitlines():
        fields = line.split()
        if len(fields) >= 3 and fields[1] in "TDBRWV":
            names.add(fields[0].split("@")[0])
    return names


def check_symbols(report, shared, static):
    """What the libraries export is what the headers declare: in both directions, and nothing else."""
    declared = exported()
    for label, symbols in (("libuiommu.so", defined(shared, "-D", "-g")), ("libuiommu.a", defined(static, "-g"))):
        problems = [f"declared and not exported: {name}" for name in sorted(declared - symbols)]
        problems += [f"exported and not declared: {name}" for name in sorted(symbols - declared) if not name.startswith("UIOMMU_")]
        if problems:
            report.fail(f"symbols of {label}", "\n".join(problems))
        else:
            report.ok()

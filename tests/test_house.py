"""The rules of the house, held by a test each: who may import whom, what a module is called, what no file may say."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import adapters

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("spir", "adapters")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAPPINGS = sorted((ROOT / "mappings").glob("*.toml"))

FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "core", "manager", "base", "misc"}
PRINTERS = ("adapters/cli.py", "adapters/demo.py", "adapters/commands/")

# Spelled in pieces, so that this file does not trip over itself.
REGISTRIES = [
    *(
        f"{host}.{domain}"
        for host, domain in [("pypi", "org"), ("files.pythonhosted", "org"), ("registry.npmjs", "org")]
    ),
    *(f"{host}.{domain}" for host, domain in [("deb.debian", "org"), ("static.crates", "io"), ("proxy.golang", "org")]),
]
MACHINE_PATHS = [f"/{place}/" for place in ("home", "root", "work", "Users")]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@functools.cache
def tracked() -> list[Path]:
    """Files that git knows or would take; those of the working copy where git is not there."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("git does not know this folder")
    return [ROOT / name for name in said.splitlines() if (ROOT / name).is_file()]


def lines(path: Path) -> list[str]:
    """The lines of a text file; none for a binary one."""
    try:
        return path.read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        return []


def test_the_import_contracts_hold():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_both_packages_are_ours():
    assert adapters.OWNER == "spir-suite"
    for package in PACKAGES:
        assert Path(importlib.import_module(package).__file__).parent == ROOT / package


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_every_module_says_what_it_is(path):
    assert (ast.get_docstring(tree(path)) or "").strip()


def test_no_module_has_a_name_that_says_nothing():
    assert [relative(path) for path in MODULES if FORBIDDEN_NAMES & {path.stem, path.parent.name}] == []


def test_no_package_file_holds_code():
    """`__init__.py` has a docstring, constants and public names: nothing that runs, and no function or class."""
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    lazy = {"__getattr__", "__dir__"}  # PEP 562: public names without their cost at import
    for path in (path for path in MODULES if path.name == "__init__.py"):
        odd = [n for n in tree(path).body if not isinstance(n, allowed) and getattr(n, "name", "") not in lazy]
        assert [type(node).__name__ for node in odd if not isinstance(node, ast.If)] == [], relative(path)


def test_nothing_inside_a_package_imports_from_its_package_file():
    found = []
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                target = ROOT / node.module.replace(".", "/")
                inside = target.is_dir() and node.module.split(".")[0] == path.relative_to(ROOT).parts[0]
                names = [
                    a.name for a in node.names if not ((target / f"{a.name}.py").exists() or (target / a.name).is_dir())
                ]
                if inside and names and path.name != "__init__.py":
                    found.append(f"{relative(path)}: from {node.module} import {', '.join(names)}")
    allowed = re.compile(r"from adapters import OWNER$")
    assert [line for line in found if not allowed.search(line)] == []


def test_only_the_command_line_and_the_demo_print():
    calls = (
        f"{relative(path)}:{node.lineno}"
        for path in MODULES
        if not relative(path).startswith(PRINTERS)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    )
    assert list(calls) == []


def test_no_exception_is_swallowed():
    """`except ...: pass` hides what went wrong; `contextlib.suppress` at least names what it expects."""
    found = [
        f"{relative(path)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ExceptHandler) and [type(inner) for inner in node.body] == [ast.Pass]
    ]
    assert found == []


@pytest.mark.parametrize("path", MAPPINGS, ids=relative)
def test_every_mapping_table_is_toml_and_cites_its_source(path):
    table = tomllib.loads(path.read_text("utf-8"))
    assert _sources(table), "no `source` anywhere in this file"


def test_there_are_mapping_tables():
    assert MAPPINGS


def test_no_file_names_a_registry_or_a_place_on_somebodys_machine():
    bad = re.compile("|".join(re.escape(text) for text in REGISTRIES + MACHINE_PATHS))
    found = [
        f"{relative(path)}:{number}"
        for path in tracked()
        for number, line in enumerate(lines(path), 1)
        if bad.search(line) and path != Path(__file__)
    ]
    assert found == []


def test_no_file_is_marked_as_unfinished():
    marks = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
    found = [
        f"{relative(path)}:{number}"
        for path in tracked()
        if path.suffix in {".py", ".toml", ".md", ".yaml", ".mjs", ".sh"}
        for number, line in enumerate(lines(path), 1)
        if marks.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_pinned_requirements_have_hashes_and_no_addresses(name):
    text = (ROOT / name).read_text("utf-8")
    pins = re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE)
    blocks = re.split(r"\n(?=[a-z0-9])", text.strip())
    assert len(blocks) == len(pins) and all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text and "--index" not in text and "--find-links" not in text


def test_every_declared_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    for name, wanted in [
        ("requirements.txt", project["dependencies"]),
        ("requirements-dev.txt", [*project["dependencies"], *extras["dev"]]),
    ]:
        pinned = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / name).read_text("utf-8"), re.MULTILINE))
        declared = {
            re.match(r"[A-Za-z0-9_.-]+", line)[0].lower().replace("_", "-").replace(".", "-") for line in wanted
        }
        assert declared <= pinned, name


@pytest.mark.parametrize("path", ["spir", "adapters"])
def test_a_bare_import_of_a_package_is_cheap(path):
    """The command line answers `--version` at once only if the packages themselves load nothing heavy."""
    heavy = "{'pydicom', 'pynetdicom', 'hl7apy', 'aiohttp', 'uvicorn', 'cryptography', 'yaml'}"
    code = f"import sys, {path}; print(*sorted({heavy} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""


def test_pynetdicom_writes_no_identifier_into_a_log():
    """In a process of its own: these settings hold for a whole process."""
    code = (
        "import logging; from pynetdicom import _config as c; from adapters.sandbox.quiet import hush, LOGGERS; hush();"
        "assert not c.LOG_REQUEST_IDENTIFIERS and not c.LOG_RESPONSE_IDENTIFIERS and c.LOG_HANDLER_LEVEL == 'none';"
        "assert all(logging.getLogger(name).level >= logging.WARNING for name in LOGGERS)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_every_module_that_uses_pynetdicom_silences_it():
    users = [path for path in MODULES if path.name != "quiet.py" and _imports(path, "pynetdicom")]
    assert [relative(path) for path in users if "hush()" not in path.read_text("utf-8")] == []


def _imports(path: Path, package: str) -> bool:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == package for alias in node.names):
            return True
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
            return True
    return False


def _sources(value) -> list[str]:
    if isinstance(value, dict):
        own = [value["source"]] if isinstance(value.get("source"), str) and value["source"] else []
        return own + [source for item in value.values() for source in _sources(item)]
    if isinstance(value, list):
        return [source for item in value for source in _sources(item)]
    return []

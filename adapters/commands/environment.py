"""`spir doctor`, `spir config`: is this installation sound, and is this configuration?"""

from __future__ import annotations

import importlib
import importlib.metadata
import shutil
import socket
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adapters import mappings, settings
from adapters.commands.output import FINDING, OK, say
from spir.errors import SpirError

__all__ = ["config_check", "config_schema", "doctor"]

SQLITE_SAFE = (3, 51, 3)  # the first release without the WAL-reset race


@dataclass(frozen=True, slots=True)
class Finding:
    ok: bool
    subject: str
    text: str

    def line(self) -> str:
        return f"{'ok  ' if self.ok else 'FAIL'}  {self.subject}: {self.text}"


def config_schema(arguments: Namespace) -> int:
    import json

    print(json.dumps(settings.schema(), indent=2))
    return OK


def config_check(arguments: Namespace) -> int:
    """Read the configuration and everything it names; the listeners' ports are not touched."""
    found = list(_configuration(Path(arguments.config)))
    return _report(arguments, found)


def doctor(arguments: Namespace) -> int:
    """The installation, then the configuration if there is one, then whether its ports are free and peers answer."""
    found = [*_installation()]
    path = Path(arguments.config)
    if path.exists():
        found += _configuration(path)
        found += _network(path)
    else:
        found.append(Finding(True, "configuration", f"no `{path}` here: only the installation was checked"))
    return _report(arguments, found)


def _report(arguments: Namespace, found: list[Finding]) -> int:
    data = [{"ok": f.ok, "subject": f.subject, "text": f.text} for f in found]
    say(arguments, data, (f.line() for f in found))
    return OK if all(f.ok for f in found) else FINDING


def _installation() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(sys.version_info >= (3, 11), "python", f"{version} (3.11 or newer is needed)")
    for package in ("spir", "adapters"):
        owners = importlib.metadata.packages_distributions().get(package, [])
        alone = set(owners) <= {"spir-suite"}
        yield Finding(alone, f"package {package}", "one owner" if alone else f"also claimed by {', '.join(owners)}")
    owner = getattr(importlib.import_module("adapters"), "OWNER", "")
    yield Finding(
        owner == "spir-suite", "adapters sentinel", "ours" if owner else "missing: the package was overwritten"
    )
    yield _sqlite()
    yield _tables()
    free = shutil.disk_usage(".").free // 2**20
    yield Finding(free > 512, "disk", f"{free} MB free here")


def _sqlite() -> Finding:
    try:
        import apsw
    except ImportError:
        return Finding(False, "sqlite", "the `apsw` package is missing")
    version = tuple(int(n) for n in apsw.sqlite_lib_version().split("."))
    safe = "has" if version < SQLITE_SAFE else "is free of"
    return Finding(version >= SQLITE_SAFE, "sqlite", f"{apsw.sqlite_lib_version()} {safe} the WAL-reset race")


def _tables() -> Finding:
    try:
        names = sorted(path.stem for path in mappings.folder().glob("*.toml"))
        for name in names:
            mappings.read(name)
    except (SpirError, ValueError) as error:
        return Finding(False, "mapping tables", str(error))
    return Finding(bool(names), "mapping tables", ", ".join(names))


def _configuration(path: Path) -> Iterator[Finding]:
    from adapters.parts import inspected

    found = settings.load(path)
    yield Finding(True, "configuration", f"{path}: organisation {found.site.organization}")
    for subject, text in inspected(found):
        yield Finding(True, subject, text)


def _network(path: Path) -> Iterator[Finding]:
    found = settings.load(path)
    listeners = {"hl7v2": found.hl7v2, "dicom": found.dicom, "fhir": found.fhir, "pdp": found.pdp}
    for name, section in listeners.items():
        if section is not None:
            yield _port(name, settings.address(section.listen))
    if found.dicom is not None and found.dicom.pacs is not None:
        yield _answers("pacs", settings.address(found.dicom.pacs.address))


def _port(name: str, where: settings.Address) -> Finding:
    with socket.socket(socket.AF_INET6 if ":" in where.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((where.host, where.port))
        except OSError as error:
            return Finding(False, f"{name} port", f"{where.host}:{where.port} cannot be used: {error.strerror}")
    return Finding(True, f"{name} port", f"{where.host}:{where.port} is free")


def _answers(name: str, where: settings.Address) -> Finding:
    try:
        with socket.create_connection((where.host, where.port), timeout=2):
            return Finding(True, name, f"{where.host}:{where.port} answers")
    except OSError as error:
        return Finding(False, name, f"{where.host}:{where.port} does not answer: {error.strerror or error}")

"""`spir check`: are these policies consistent? Parse, types, and the checks of the validator.

Everything that is wrong with the files is said at once, then nothing is
checked: findings on half a set of policies would be about another one.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters.asked import operations_asked
from adapters.commands.moment import moment
from adapters.commands.output import FINDING, OK, USAGE, say
from adapters.version import VERSION
from spir.assurance.checks.examination import Surroundings
from spir.assurance.checks.registry import CHECKS, manual
from spir.assurance.finding import Severity
from spir.assurance.report import Report
from spir.assurance.sarif import to_sarif
from spir.assurance.suppression import Suppression, read_suppressions, stubs
from spir.assurance.validator import validate
from spir.embed import collect, default_vocabulary, library_templates
from spir.engine.ruleset import RuleSet, Site
from spir.errors import DocumentError, RequestError
from spir.language.document import Documents, read_documents
from spir.language.nearest import suggestion

__all__ = ["check"]

MOST_BROKEN = 20  # files that are reported before we give up
WIDTH = 24
QUIET = 1.0  # seconds before a bar is shown


def check(arguments: Namespace) -> int:
    """0 if nothing is found that is as bad as `--fail-on`, 1 if something is, 2 for bad input."""
    if arguments.manual is not None:
        print(manual(_ids(arguments.manual)), end="")
        return OK
    given = _given(arguments)
    if given is None:
        return USAGE
    at = moment(arguments.at) or datetime.now(UTC).replace(microsecond=0)
    given.documents.check_templates(at)
    bar = _Bar(arguments.within)
    found = validate(
        given.documents,
        given.rules,
        at=at,
        surroundings=given.surroundings,
        suppressions=given.suppressions,
        only=_ids(arguments.only),
        step=bar.step,
    )
    bar.end()
    return _said(arguments, found)


@dataclass(frozen=True, slots=True)
class _Given:
    documents: Documents
    rules: RuleSet
    suppressions: tuple[Suppression, ...]
    surroundings: Surroundings


def _given(arguments: Namespace) -> _Given | None:
    """What the command line names; None where documents are broken, which is then said already."""
    settings = _settings(arguments)
    files = _files(arguments, settings)
    documents = _documents(files)
    if documents is None:
        return None
    site = Site(settings.site.organization, settings.zone) if settings else Site()
    rules = RuleSet.of(documents.policy_sets, documents.fingerprint, site)
    name = arguments.suppressions
    suppressions = read_suppressions(_text(name), name) if name else ()
    return _Given(documents, rules, suppressions, Surroundings(_people(arguments, settings), operations_asked()))


def _settings(arguments: Namespace) -> Any:
    """The configuration, if it is named or if nothing else says where the policies are."""
    if not arguments.config and (arguments.paths or not Path("spir.toml").exists()):
        return None
    from adapters.settings import load

    return load(Path(arguments.config or "spir.toml"))


def _files(arguments: Namespace, settings: Any) -> Mapping[str, str]:
    """Texts of the documents by name; the suppressions may lie among them."""
    if arguments.paths:
        found = collect(*arguments.paths)
    elif settings is not None:
        from adapters.bundles import read_source

        found = dict(read_source(settings).documents)
    else:
        raise RequestError("no policies are given", hint="name files or folders, or use -c spir.toml")
    aside = {Path(name).resolve() for name in (arguments.suppressions, arguments.directory) if name}
    return {name: text for name, text in found.items() if Path(name).resolve() not in aside}


def _documents(files: Mapping[str, str]) -> Documents | None:
    """Read them all; a broken one is said and left out, so that the next one is said too."""
    left, broken = dict(files), 0
    while True:
        try:
            found = read_documents(left, vocabulary_text=default_vocabulary(), templates=library_templates())
        except DocumentError as error:
            print(f"spir: {error}", file=sys.stderr)
            broken += 1
            name = error.location.file if error.location else ""
            if broken == MOST_BROKEN or name not in left or "kind: Vocabulary" in left.pop(name):
                return None
        else:
            return None if broken else found


def _people(arguments: Namespace, settings: Any) -> Any:
    """Those of the directory, or None where none is named."""
    from adapters.identity.directory import Directory

    if arguments.directory:
        directory = Directory.parse(_text(arguments.directory), arguments.directory)
    elif settings is not None and settings.directory.file:
        from adapters.parts import directory_of

        directory = directory_of(settings)
    else:
        return None
    return tuple(directory.entities.values())


def _text(name: str) -> str:
    try:
        return Path(name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"`{name}` cannot be read as UTF-8 text", hint=str(error)) from error


def _ids(text: str) -> tuple[str, ...]:
    """Ids of checks, divided by commas; none of them means all. Raises RequestError."""
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in found:
        if name not in CHECKS:
            raise RequestError(f"there is no check `{name[:60]}`", hint=suggestion(name, CHECKS))
    return found


def _said(arguments: Namespace, found: Report) -> int:
    if arguments.sarif:
        _write(arguments.sarif, to_sarif(found, (CHECKS[id] for id in found.checks), VERSION))
    if arguments.suggest:
        print(stubs(found.acknowledgeable), end="")
    elif arguments.sarif != "-":
        again = "spir eval " + " ".join(f"-p {path}" for path in arguments.paths) if arguments.paths else "spir eval"
        say(arguments, found.to_json(), found.lines(f"{again} -c {arguments.config}" if arguments.config else again))
    return FINDING if found.at_least(Severity[arguments.fail_on.upper()]) else OK


def _write(name: str, data: Any) -> None:
    text = f"{json.dumps(data, ensure_ascii=False, indent=2)}\n"
    if name == "-":
        print(text, end="")
        return
    try:
        Path(name).write_text(text, "utf-8")
    except OSError as error:
        raise RequestError(f"`{name}` cannot be written", hint=error.strerror or "") from error


@dataclass(slots=True)
class _Bar:
    """How far it is, on a terminal; and when it has been long enough."""

    within: float
    began: float = field(default_factory=time.monotonic)
    shown: float = 0.0

    def step(self, check: str, done: int, total: int) -> bool:
        """Whether to go on."""
        now = time.monotonic()
        if sys.stderr.isatty() and now - self.began > QUIET and now - self.shown > 0.1:
            self.shown = now
            full = WIDTH * done // max(total, 1)
            print(f"\r[{'#' * full}{'.' * (WIDTH - full)}] {check} {done}/{total}\x1b[K", end="", file=sys.stderr)
        return now - self.began < self.within

    def end(self) -> None:
        if self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

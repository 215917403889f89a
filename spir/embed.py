"""The engine for programs that embed it: `Engine.load("policies/").decide(request)`.

The one module of the core that reads files and has a default clock, as a
convenience for embedders; the gateway builds its rule sets itself and passes
time in. Nothing else in the core imports this module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from spir.engine.attributes import NoFacts
from spir.engine.compiler import Compiled, compile_rules
from spir.engine.explain import Explanation, explain
from spir.engine.ruleset import RuleSet, Site
from spir.engine.ruling import Judged, rule
from spir.errors import DocumentError, Location
from spir.language.document import Documents, read_documents
from spir.model.decision import Decision
from spir.model.facts import View
from spir.model.policy import PolicySet
from spir.model.request import Request
from spir.model.value import Value, freeze

__all__ = ["SUFFIXES", "Engine", "collect", "default_vocabulary", "library_templates", "only_jurisdiction"]

SUFFIXES = (".yaml", ".yml", ".json")

Clock = Callable[[], datetime]

WALL_CLOCK: Clock = partial(datetime.now, UTC)


@dataclass(frozen=True, slots=True)
class Engine:
    """Decides by one immutable set of rules. Load a new engine to change them."""

    compiled: Compiled
    documents: Documents
    clock: Clock = WALL_CLOCK

    @property
    def rules(self) -> RuleSet:
        return self.compiled.rules

    @classmethod
    def load(
        cls, *paths: str | Path, organization: str = "", timezone: str = "UTC", clock: Clock | None = None
    ) -> Engine:
        """Read documents from files and folders (recursively). Raises DocumentError.

        `organization` is that of requests which name none; without one they
        belong to the only jurisdiction the documents have, if it is only one.
        """
        documents = read_documents(collect(*paths), vocabulary_text=default_vocabulary(), templates=library_templates())
        site = Site(organization or only_jurisdiction(documents.policy_sets), ZoneInfo(timezone))
        rules = RuleSet.of(documents.policy_sets, documents.fingerprint, site)
        return cls(compile_rules(rules), documents, clock or WALL_CLOCK)

    def decide(
        self, request: Request | Mapping[str, Any], facts: View | None = None, at: datetime | None = None
    ) -> Decision:
        """Decide on a request, or on AuthZEN JSON that says one. Raises RequestError for malformed JSON."""
        return self.compiled.decide(_request(request), facts or NoFacts(), at or self.clock())

    def rule(
        self, request: Request | Mapping[str, Any], facts: View | None = None, at: datetime | None = None
    ) -> Judged:
        """Like `decide`, for judging rows by the decision afterwards."""
        at = at or self.clock()
        return rule(self.rules, _request(request), facts or NoFacts(), at, self.compiled.decide)

    def explain(
        self, request: Request | Mapping[str, Any], facts: View | None = None, at: datetime | None = None
    ) -> Explanation:
        """Decide and say why, with the smallest change that would flip the answer."""
        enums = self.documents.vocabulary.enums()
        at = at or self.clock()
        return explain(self.rules, _request(request), facts or NoFacts(), at, enums, self.compiled.decide)


def collect(*paths: str | Path) -> dict[str, str]:
    """Texts of all documents at these paths, by path. Raises DocumentError for what cannot be read."""
    files: dict[str, str] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise DocumentError(f"`{path}` does not exist")
        found = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES) if path.is_dir() else [path]
        for file in found:
            files[str(file)] = _text(file)
    return files


def default_vocabulary() -> str:
    """The text of the vocabulary that ships with the distribution. Raises DocumentError where it is missing."""
    return _text(_mappings() / "vocabulary.yaml")


def library_templates() -> Mapping[str, str]:
    """The texts of the templates that ship with the distribution, by id. Each is read when it is asked for."""
    return _Library()


class _Library(Mapping[str, str]):
    """One file for each template, `<template_id>.yaml`; those of their tests are none."""

    def __getitem__(self, id: str) -> str:
        if id not in self:
            raise KeyError(id)
        return _text(self._file(id))

    def __contains__(self, id: object) -> bool:
        # the names of templates come from documents, and must not lead out of the folder
        return isinstance(id, str) and _TEMPLATE.fullmatch(id) is not None and self._file(id).is_file()

    def __iter__(self) -> Iterator[str]:
        names = (path.stem for path in sorted((_mappings() / "templates").glob("*.yaml")))
        return (name for name in names if _TEMPLATE.fullmatch(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _file(self, id: str) -> Path:
        return _mappings() / "templates" / f"{id}.yaml"


_TEMPLATE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)


def _mappings() -> Path:
    package = Path(__file__).resolve().parent
    for place in (package.parent / "mappings", package / "data" / "mappings"):
        if (place / "vocabulary.yaml").is_file():
            return place
    raise DocumentError("the default vocabulary is not installed", hint="install spir-suite again")


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError("cannot be read as UTF-8 text", location=Location(str(file))) from error


def _request(given: Request | Mapping[str, Any]) -> Request:
    if not isinstance(given, Request):
        return Request.from_json(given)
    subject, action, resource = given.subject, given.action, given.resource
    if all(map(_is_plain, (subject.properties, action.properties, resource.properties, given.context))):
        return given
    return Request(
        replace(subject, properties=_plain(subject.properties)),
        replace(action, properties=_plain(action.properties)),
        replace(resource, properties=_plain(resource.properties)),
        _plain(given.context),
        given.deferred,
    )


def _plain(found: Mapping[str, Value]) -> Mapping[str, Value]:
    return MappingProxyType({name: freeze(value) for name, value in found.items()})


def _is_plain(found: Mapping[str, Value]) -> bool:
    """Whether it has the members that it holds and no others: a `defaultdict` would have every one it is asked for."""
    return type(found) in (dict, MappingProxyType)


def only_jurisdiction(sets: Iterable[PolicySet]) -> str:
    """The one that all others lie around; "" where there are several."""
    paths = {found.jurisdiction for found in sets}
    longest = max(paths, key=len, default="")
    return longest if all(longest == path or longest.startswith(f"{path}/") or not path for path in paths) else ""

"""Searches: who may do this, on what it may be done, what may be done. No I/O.

The candidates are those that the site knows: people and systems of the
directory, the vocabulary's verbs, patients with facts, resources of its own. Each is decided for real,
like an evaluation, and only plain permits are found. A residual of the whole
search narrows the candidates first, which saves work and decides nothing.

Bounded: a page looks at no more than `MOST_LOOKED_AT` candidates; where it
stops, the next page goes on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from adapters.authzen.answer import Verdict
from adapters.authzen.ground import Ground
from adapters.authzen.port import PdpPort
from adapters.authzen.reading import Search
from spir.model.facts import Snapshot
from spir.model.request import Action, Request

__all__ = ["DEFAULT_LIMIT", "MOST_LOOKED_AT", "MOST_RESULTS", "Candidates", "Found", "Looking"]

DEFAULT_LIMIT = 50
MOST_RESULTS = 200
MOST_LOOKED_AT = 1000

PATIENT = "patient"


@dataclass
class Candidates:
    """Ids by name order. The patients of a snapshot are sorted once and remembered as long as it is the current one."""

    port: PdpPort
    aliases: Mapping[str, str] = field(default_factory=dict)
    _seen: Snapshot | None = None
    _patients: tuple[str, ...] = ()

    def of(self, search: Search, ground: Ground) -> Sequence[str]:
        match search.wanted:
            case "subject":
                kinds = (search.subject.type, self.aliases.get(search.subject.type))
                return sorted(id for id, entity in ground.entities.items() if entity.type in kinds)
            case "action":
                known = search.resource.type in self.port.vocabulary.types
                return sorted(self.port.vocabulary.verbs) if known else ()
            case _:
                return self._resources(search, ground)

    def _resources(self, search: Search, ground: Ground) -> Sequence[str]:
        """Those of the type that the decision on the type as a whole does not rule out."""
        whole = replace(_request(search, "", ground), deferred=frozenset(("resource",)))
        decision = self.port.decide(whole)
        if decision.denied:
            return ()
        kind = search.resource.type
        if kind in ground.resources:
            return sorted(ground.resources[kind])
        if kind != PATIENT:
            return ()
        allowed = decision.residual.allowed("resource.patient.id")
        known = self._all_patients(ground.snapshot)
        return known if allowed is None else [id for id in known if id in allowed]

    def _all_patients(self, snapshot: Snapshot) -> tuple[str, ...]:
        if snapshot is not self._seen:
            self._patients = tuple(sorted(id for kind, id in snapshot.every_key() if kind == PATIENT))
            self._seen = snapshot
        return self._patients


@dataclass
class Found:
    """A page in the making. `after`: the last candidate that was looked at, "" once all have been."""

    results: list[dict[str, Any]] = field(default_factory=list)
    looked_at: int = 0
    after: str = ""


@dataclass(frozen=True)
class Looking:
    """One page of one search."""

    port: PdpPort
    search: Search
    ground: Ground
    candidates: Sequence[str]
    after: str = ""

    def page(self, found: Found) -> Iterator[None]:
        """Fill `found`, candidate by candidate; pauses after each, so that its driver may let others go first."""
        limit = min(self.search.limit or DEFAULT_LIMIT, MOST_RESULTS)
        start = bisect_right(self.candidates, self.after) if self.after else 0
        rest = len(self.candidates) - start
        for name in self.candidates[start : start + MOST_LOOKED_AT]:
            found.looked_at += 1
            result = self._result(name)
            if result is not None:
                found.results.append(result)
            if len(found.results) == limit or found.looked_at == MOST_LOOKED_AT:
                found.after = name if found.looked_at < rest else ""
                return
            yield
        found.after = ""

    def _result(self, name: str) -> dict[str, Any] | None:
        request = _request(self.search, name, self.ground)
        decision = self.port.decide(request)
        verdict = Verdict.of(request, decision)
        if not verdict.permitted:
            return None
        result = _named(self.search, name)
        if verdict.duties:
            result["context"] = {"obligations": [item.to_json() for item in verdict.duties]}
        return result


def _named(search: Search, name: str) -> dict[str, Any]:
    match search.wanted:
        case "subject":
            return {"type": search.subject.type, "id": name}
        case "resource":
            return {"type": search.resource.type, "id": name}
        case _:
            return {"name": name}


def _request(search: Search, name: str, ground: Ground) -> Request:
    """The evaluation that this candidate stands for."""
    subject, action, resource = search.subject, search.action, search.resource
    match search.wanted:
        case "subject":
            subject = replace(subject, id=name)
        case "resource":
            resource = replace(resource, id=name)
        case _:
            action = Action(name)
    return ground.settled(Request(subject, action, resource, search.context))

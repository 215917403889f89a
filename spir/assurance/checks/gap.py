"""The check `gap`: operations that nobody may."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from spir.assurance.checks.examination import Examination
from spir.assurance.finding import Finding, Severity
from spir.model.policy import Kind
from spir.model.request import Entity, Request

__all__ = ["gap"]

SOMEBODY = Entity("person", "somebody")

# So many names are said in words; the rest is counted.
SHOWN = 8


def gap(examined: Examination) -> Iterator[Finding]:
    """Operations of the vocabulary that no policy permits.

    - **note**, one for all of them: what no policy permits is denied, so a gap is safe. It may
      be an oversight all the same: a type of document that nobody can read, a verb that was
      forgotten.

    Where it is known which operations the gateway's protocols ask about, only those count.
    Permits are counted as they are written: one that never grants is reported by
    the checks `dead`, `conflict` and `weakening`.

    *Mend:* permit the operation to somebody; or leave it, if nobody should do it.
    """
    gaps = [(verb, kind) for verb, kind in _operations(examined) if not _permitted(examined, verb, kind)]
    for verb, kind in gaps[:1]:
        request = Request.build(SOMEBODY, f"{verb}:{kind}", context={"organization": _somewhere(examined)})
        shown = examined.replayed(request, examined.at, lambda decision: decision.denied)
        if shown is not None:
            text = f"{len(gaps)} operations are permitted to nobody"
            mend = "permit them to somebody, or leave them denied"
            yield Finding("gap", Severity.NOTE, text, (), _words(gaps), shown, mend, len(gaps))


def _operations(examined: Examination) -> list[tuple[str, str]]:
    vocabulary, asked = examined.vocabulary, examined.surroundings.asked
    every = [(verb, kind) for verb in sorted(vocabulary.verbs) for kind in sorted(vocabulary.types)]
    if asked is None:
        return every
    known = {(pattern.verb, pattern.type) for pattern in asked}
    return [pair for pair in every if pair in known]


def _permitted(examined: Examination, verb: str, kind: str) -> bool:
    return any(rule.policy.kind is Kind.PERMIT for rule in examined.rules.rules(verb, kind))


def _somewhere(examined: Examination) -> str:
    """An organisation for a request: the site's, else the deepest that a document is for."""
    found = examined.rules.site.organization or max((s.jurisdiction for s in examined.rules.sets), key=len, default="")
    return found or "anywhere"


def _words(gaps: Iterable[tuple[str, str]]) -> str:
    """By verb, as in `delete: allergy, audit and 20 more; export: report`."""
    types: dict[str, list[str]] = {}
    for verb, kind in gaps:
        types.setdefault(verb, []).append(kind)
    return "; ".join(f"{verb}: {_some(kinds)}" for verb, kinds in _alike(types).items())


def _alike(types: Mapping[str, list[str]]) -> Mapping[str, list[str]]:
    """Verbs with the same types together."""
    found: dict[tuple[str, ...], list[str]] = {}
    for verb, kinds in types.items():
        found.setdefault(tuple(kinds), []).append(verb)
    return {", ".join(verbs): list(kinds) for kinds, verbs in found.items()}


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:SHOWN])} and {more} more"

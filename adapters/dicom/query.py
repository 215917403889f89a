"""Narrow a C-FIND identifier by a decision's residual (PS3.4 C.2.2, C.4.1).

Pure: no data set leaves or enters the process here. Narrowing saves the peer
work; it does not enforce. Enforcement is `adapters.dicom.rows`, on every response.

What the client asked is intersected with what it may see, never overwritten. A
wild card stays as it was asked. `None` means that nothing can match, and that the
peer must be asked nothing: an empty key would ask it for everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from adapters.dicom.identifier import LEVEL, MODALITIES_IN_STUDY, UNIQUE, Query, is_uid, is_wild
from adapters.dicom.tables import Level, Service, tables
from spir.model.decision import Residual
from spir.model.identity import PatientIdentifiers
from spir.model.request import Entity, Request

__all__ = ["MAX_QUERIES", "narrow", "narrow_key", "request_for"]

MAX_QUERIES = 64  # upstream queries that one client query may become; beyond, patients are not pushed down

MODALITY, ISSUER = 0x00080060, 0x00100021
# What the judgement of a row needs, asked for at its level whether the client wants it or not.
NEEDED: Mapping[Level, tuple[int, ...]] = {
    Level.PATIENT: (0x00100020, ISSUER),
    Level.STUDY: (0x00080020, 0x00080030, MODALITIES_IN_STUDY, 0x00100020, ISSUER, 0x0020000D),
    Level.SERIES: (MODALITY, 0x0020000D, 0x0020000E),
    Level.IMAGE: (0x00080016, 0x00080018, 0x0020000D, 0x0020000E),
}


def request_for(subject: Entity, service: Service, context: Mapping[str, Any]) -> Request:
    """The request to decide for a query or retrieve: everything about the resource is still to come.

    No key of the client's becomes a property of the resource. A property would
    stand in for what a row does not say, and the row decides, not the question.
    """
    return Request.build(subject, tables().operations[service], context=context, deferred=("resource",))


def narrow(
    query: Query,
    residual: Residual,
    identifiers: PatientIdentifiers,
    *,
    lists: bool = True,
    issuers: bool = True,
    cap: int = MAX_QUERIES,
) -> tuple[bytes, ...] | None:
    """The identifiers to send to the peer, in the client's encoding; None if nothing can match.

    One for each patient that may be seen, if there are at most `cap`: several values in
    one Patient ID are not legal. `lists` tells whether the peer takes a list of
    modalities as alternatives; if not, there is one identifier for each modality too.
    `issuers` tells whether it has patients of several issuers: then the issuer is asked for.
    """
    needed = (tag for tag in NEEDED[query.level] if issuers or tag != ISSUER)
    fixed: dict[int, bytes | None] = dict.fromkeys(query.dropped)
    fixed.update({tag: b"" for tag in needed if tag not in query.asked})
    fixed[LEVEL] = query.level.name.encode("ascii")
    alternatives: list[list[tuple[int, bytes]]] = []
    for tag, choices, splits in (
        (UNIQUE[Level.PATIENT], _patients(query, residual, identifiers, cap), True),
        (UNIQUE[Level.STUDY], _uids(query, residual, Level.STUDY), False),
        (UNIQUE[Level.SERIES], _uids(query, residual, Level.SERIES), False),
        (_modality_tag(query.level), _modalities(query, residual), not lists),
    ):
        if choices is None:
            return None
        if choices:
            values = choices if splits else ("\\".join(choices),)
            alternatives.append([(tag, value.encode("ascii")) for value in values])
    return tuple(query.asked.edited({**fixed, **dict(choice)}) for choice in product(*alternatives))


def narrow_key(asked: tuple[str, ...], allowed: frozenset[str] | None) -> tuple[str, ...] | None:
    """Values to ask for when only `allowed` may be seen; `allowed` None means no bound.

    `asked` empty means universal matching (PS3.4 C.2.2.2.3). Returns values in the
    caller's order, or sorted if none were asked; an empty tuple only if there is
    nothing to push (no bound, a wild card, a value that cannot be a key); `None` if
    nothing can match.
    """
    if allowed is None:
        return ()
    if not allowed:
        return None
    if any(map(is_wild, asked)) or not all(map(_can_be_key, allowed)):
        return ()
    return tuple(value for value in asked or sorted(allowed) if value in allowed) or None


def _patients(query: Query, residual: Residual, identifiers: PatientIdentifiers, cap: int) -> tuple[str, ...] | None:
    """Patient IDs to ask for. Without an issuer: a row of another issuer is judged by its own."""
    bound = _texts(residual.allowed("resource.patient.id"))
    values = None if bound is None else frozenset(identifiers.value(canonical) for canonical in bound)
    tag = UNIQUE[Level.PATIENT]
    above = query.above.get(Level.PATIENT)
    chosen = narrow_key((above,) if above else query.values(tag), values)
    pushable = query.level <= Level.STUDY and above is None
    return chosen if chosen is None or (pushable and len(chosen) <= cap) else ()


def _uids(query: Query, residual: Residual, level: Level) -> tuple[str, ...] | None:
    bound = _texts(residual.allowed(f"resource.{level.name.lower()}"))
    above = query.above.get(level)
    if above is not None:
        return None if bound is not None and above not in bound else ()
    if level is not query.level:
        return None if bound is not None and not bound else ()
    asked = query.values(UNIQUE[level])
    return narrow_key(asked, bound) if all(map(is_uid, asked)) else narrow_key(("*",), bound)


def _modalities(query: Query, residual: Residual) -> tuple[str, ...] | None:
    bound = _texts(residual.allowed("resource.modality"))
    if query.level not in (Level.STUDY, Level.SERIES):
        return None if bound is not None and not bound else ()
    chosen = narrow_key(query.values(_modality_tag(query.level)), bound)
    # A list of modalities within one study saves nothing, and not every peer takes one.
    return () if chosen and len(chosen) > 1 and query.level is Level.SERIES else chosen


def _modality_tag(level: Level) -> int:
    return MODALITY if level is Level.SERIES else MODALITIES_IN_STUDY


def _texts(values: Iterable[Any] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(value for value in values if isinstance(value, str))


def _can_be_key(value: str) -> bool:
    """Whether a value matches only itself as a key: plain text without wild cards or separators."""
    return bool(value.strip()) and value.isascii() and value.isprintable() and not is_wild(value) and "\\" not in value

"""Facts for compiled rules: what a snapshot says, remembered while the facts of a key stay the very same.

Only attributes none of whose facts begins or ends are remembered; for all
others the snapshot is asked each time, and so is every other kind of view.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeAlias

from spir.engine.attributes import NoFacts, patient_id
from spir.model.facts import Held, Key, Snapshot, View
from spir.model.request import Request
from spir.model.value import Unknown, Value, Why

__all__ = ["FAILED", "GONE", "Facts", "Read", "fact_of"]

Read: TypeAlias = Callable[[Request, View, datetime], Value | Unknown]

# Stand for a value whose source is down, and for one that the source itself says is none.
FAILED = Unknown.of("facts", Why.FAILED)
GONE = Unknown.of("facts", Why.MISSING)

MAX_KEYS = 4096


@lru_cache(maxsize=4096)
def fact_of(path: str) -> tuple[str, str] | None:
    """(`patient` or `staff`, attribute) for a path that facts may answer."""
    match path.split("."):
        case ["resource", "patient", name] if name != "id":
            return "patient", name
        case ["subject", name] if name not in ("id", "type"):
            return "staff", name
    return None


class Facts:
    """Reads facts; one for all buckets of a compiled rule set."""

    def __init__(self) -> None:
        self._known: dict[Key, _Known] = {}
        # INVARIANT: replaced as a whole, never changed to another view: another thread may be looking.
        self._seen: tuple[View | None, dict[Key, _Known | None]] = (None, {})

    def reader(self, kind: str, attribute: str) -> Read:
        """A function that reads one attribute; None if there is no value, FAILED or GONE if there will be none."""

        def read(request: Request, view: View, at: datetime) -> Value | Unknown:
            if view.__class__ is NoFacts:
                return None
            ident = request.subject.id if kind == "staff" else patient_id(request)
            if ident is None:
                return None
            key = (kind, ident)
            known = self._about(view, key)
            if known is _NOTHING:
                return None
            if known is None or attribute in known.dated:
                return _asked(view, key, attribute, at)
            if attribute not in known.values:
                known.values[attribute] = _asked(view, key, attribute, at)
            return known.values[attribute]

        return read

    def edge(
        self, request: Request, view: View, at: datetime, staff: frozenset[str], patient: frozenset[str]
    ) -> datetime | None:
        """When a fact of these attributes begins or ends next."""
        found = self._edge(view, ("staff", request.subject.id), staff, at) if staff else None
        ident = patient_id(request) if patient else None
        if ident is None:
            return found
        other = self._edge(view, ("patient", ident), patient, at)
        return other if found is None else found if other is None else min(found, other)

    def _edge(self, view: View, key: Key, names: frozenset[str], at: datetime) -> datetime | None:
        known = self._about(view, key)
        if known is not None:
            if not known.dated:
                return None
            names = names & known.dated
        edges = (view.next_change(key, name, at) for name in names)
        return min((edge for edge in edges if edge is not None), default=None)

    def _about(self, view: View, key: Key) -> _Known | None:
        """What is remembered of a key; None for views that are no snapshots, and for keys in doubt."""
        seen = self._seen
        if seen[0] is not view or len(seen[1]) >= MAX_KEYS:
            seen = self._seen = (view, {})
        try:
            return seen[1][key]
        except KeyError:
            found = seen[1][key] = self._looked_up(view, key)
            return found

    def _looked_up(self, view: View, key: Key) -> _Known | None:
        if not isinstance(view, Snapshot):
            return None
        if view.aliases:
            key = view.resolve(key)
        if key in view.doubted:
            return None
        rows = view.rows(key)
        if not rows:
            return _NOTHING
        known = self._known.get(key)
        if known is None or known.rows is not rows or known.joins is not view.joins:
            known = _Known(rows, view.joins)
            if len(self._known) >= MAX_KEYS:
                self._known.clear()
            self._known[key] = known
        return known


class _Known:
    """The facts of one key: the names of those that begin or end, and values of the others."""

    __slots__ = ("dated", "joins", "rows", "values")

    def __init__(self, rows: Any, joins: Any) -> None:
        self.rows = rows
        self.joins = joins
        facts = (fact for fact in rows.values() if fact.valid_from is not None or fact.valid_until is not None)
        self.dated = frozenset(fact.attribute for fact in facts)
        self.values: dict[str, Value | Unknown] = {}


# A key without any facts.
_NOTHING = _Known({}, {})


def _asked(view: View, key: Key, attribute: str, at: datetime) -> Value | Unknown:
    held = view.get(key, attribute, at)
    if isinstance(held, Held):
        return GONE if held.value is None else held.value
    return FAILED if any(lack.why is Why.FAILED for lack in held.lacks) else None

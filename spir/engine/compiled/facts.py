"""Facts for compiled rules: what a snapshot says, remembered while the facts of a key stay the very same.

Only attributes none of whose facts begins or ends are remembered; for all
others the snapshot is asked each time, and so is every other kind of view.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeAlias

from spir.engine.attributes import NoFacts, is_deferred, patient_id
from spir.model.facts import Held, Key, Snapshot, View
from spir.model.request import Request
from spir.model.value import Unknown, Value, Why

__all__ = ["FAILED", "GONE", "Absence", "Facts", "Read", "fact_of"]

Read: TypeAlias = Callable[[Request, View, datetime], Value | Unknown]
Absence: TypeAlias = Callable[[Request, View, datetime], Value | Unknown]

# Stand for a value whose source is down, and for one that the source itself says is none.
FAILED = Unknown.of("facts", Why.FAILED)
GONE = Unknown.of("facts", Why.MISSING)

MAX_KEYS = 4096
MAX_DEFERRALS = 256
MAX_TEXT = 256


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
        # Each of them replaced as a whole, too.
        self._last: dict[str, _Last] = {"staff": _NOBODY, "patient": _NOBODY}
        self._absences: dict[str, Absence] = {}

    def reader(self, kind: str, attribute: str) -> Read:
        """A function that reads one attribute; None if there is no value, FAILED or GONE if there will be none."""

        def read(request: Request, view: View, at: datetime) -> Value | Unknown:
            if view.__class__ is NoFacts:
                return None
            last = self._last[kind]
            key, known = last[2:] if last[0] is request and last[1] is view else self._of(kind, request, view)
            if key is None or known is _NOTHING:
                return None
            if known is None or attribute in known.dated:
                return _asked(view, key, attribute, at)
            if attribute not in known.values:
                known.values[attribute] = _asked(view, key, attribute, at)
            return known.values[attribute]

        return read

    def absence(self, path: str) -> Absence:
        """The function for what stands for a path that the request says nothing of; one for all who ask."""
        found = self._absences.get(path)
        if found is None:
            fact = fact_of(path)
            found = self._absences[path] = _absence(path, self.reader(*fact) if fact else None)
        return found

    def _of(self, kind: str, request: Request, view: View) -> tuple[Key | None, _Known | None]:
        """Whom facts of this kind are about, and what is remembered of them: several are asked for in a row."""
        ident = request.subject.id if kind == "staff" else patient_id(request)
        key = None if ident is None else (kind, ident)
        known = None if key is None else self._about(view, key)
        self._last[kind] = (request, view, key, known)
        return key, known

    def edge(
        self, request: Request, view: View, at: datetime, staff: frozenset[str], patient: frozenset[str]
    ) -> datetime | None:
        """When a fact of these attributes begins or ends next."""
        found = self._edge("staff", request, view, staff, at) if staff else None
        other = self._edge("patient", request, view, patient, at) if patient else None
        return other if found is None else found if other is None else min(found, other)

    def _edge(self, kind: str, request: Request, view: View, names: frozenset[str], at: datetime) -> datetime | None:
        last = self._last[kind]
        key, known = last[2:] if last[0] is request and last[1] is view else self._of(kind, request, view)
        if key is None:
            return None
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


# What was asked for last: request, view, whom it is about, and what is remembered of them.
_Last: TypeAlias = tuple[Request | None, View | None, Key | None, _Known | None]
_NOBODY: _Last = (None, None, None, None)

# A key without any facts.
_NOTHING = _Known({}, {})


def _asked(view: View, key: Key, attribute: str, at: datetime) -> Value | Unknown:
    held = view.get(key, attribute, at)
    if isinstance(held, Held):
        return GONE if held.value is None else held.value
    return FAILED if any(lack.why is Why.FAILED for lack in held.lacks) else None


def _absence(path: str, read: Read | None) -> Absence:
    missing, to_come, failed = (Unknown.of(path, why) for why in (Why.MISSING, Why.DEFERRED, Why.FAILED))
    by_deferral: dict[frozenset[str], Unknown] = {}

    def absent(request: Request, view: View, at: datetime) -> Value | Unknown:
        value = None if read is None else read(request, view, at)
        if value is not None:
            return value if not isinstance(value, Unknown) else failed if value is FAILED else missing
        deferred = request.deferred
        if not deferred:
            return missing
        found = by_deferral.get(deferred)
        if found is None:
            if len(by_deferral) >= MAX_DEFERRALS:
                by_deferral.clear()
            found = to_come if is_deferred(path, deferred) else missing
            if sum(map(len, deferred)) <= MAX_TEXT:
                by_deferral[deferred] = found
        return found

    return absent

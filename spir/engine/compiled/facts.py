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
        self._seen: _Seen = _unseen(None)
        self._absences: dict[str, Absence] = {}

    def reader(self, kind: str, attribute: str) -> Read:
        """A function that reads one attribute; None if there is no value, FAILED or GONE if there will be none."""
        who: Callable[[Request], str | None] = _subject_id if kind == "staff" else patient_id

        def read(request: Request, view: View, at: datetime) -> Value | Unknown:
            seen = self._seen
            if seen[0] is not view:
                if view.__class__ is NoFacts:
                    return None
                seen = self._turned(view)
            ident = who(request)
            if ident is None:
                return None
            known = seen[1][kind].get(ident) or self._met(kind, ident, view)
            values = known.values
            if attribute in values:
                return values[attribute]
            if known is _NOTHING:
                return None
            found = _asked(view, (kind, ident), attribute, at)
            if known is not _UNSURE and attribute not in known.dated:
                values[attribute] = found
            return found

        return read

    def absence(self, path: str) -> Absence:
        """The function for what stands for a path that the request says nothing of; one for all who ask."""
        found = self._absences.get(path)
        if found is None:
            fact = fact_of(path)
            found = self._absences[path] = _absence(path, self.reader(*fact) if fact else None)
        return found

    def edge(
        self, request: Request, view: View, at: datetime, staff: frozenset[str], patient: frozenset[str]
    ) -> datetime | None:
        """When a fact of these attributes begins or ends next."""
        seen = self._seen
        if seen[0] is not view:
            if view.__class__ is NoFacts:
                return None
            seen = self._turned(view)
        found = other = None
        if staff:
            known = seen[1]["staff"].get(request.subject.id) or self._met("staff", request.subject.id, view)
            if not known.still:
                found = _next(view, ("staff", request.subject.id), known, staff, at)
        if patient and (ident := patient_id(request)) is not None:
            known = seen[1]["patient"].get(ident) or self._met("patient", ident, view)
            if not known.still:
                other = _next(view, ("patient", ident), known, patient, at)
        return other if found is None else found if other is None else min(found, other)

    def _turned(self, view: View) -> _Seen:
        """To another view, of which nothing has been seen yet."""
        self._seen = seen = _unseen(view)
        return seen

    def _met(self, kind: str, ident: str, view: View) -> _Known:
        """What is remembered of somebody from now on."""
        seen = self._seen
        if seen[0] is not view or len(seen[1][kind]) >= MAX_KEYS:
            seen = self._turned(view)
        found = seen[1][kind][ident] = self._looked_up(view, (kind, ident))
        return found

    def _looked_up(self, view: View, key: Key) -> _Known:
        if not isinstance(view, Snapshot):
            return _UNSURE
        if view.aliases:
            key = view.resolve(key)
        if key in view.doubted:
            return _UNSURE
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
    """The facts of one key: the names of those that begin or end (`still`: none does), and values of the others."""

    __slots__ = ("dated", "joins", "rows", "still", "values")

    def __init__(self, rows: Any, joins: Any) -> None:
        self.rows = rows
        self.joins = joins
        facts = (fact for fact in rows.values() if fact.valid_from is not None or fact.valid_until is not None)
        self.dated = frozenset(fact.attribute for fact in facts)
        self.still = not self.dated
        self.values: dict[str, Value | Unknown] = {}


# A view, and what is remembered of members of staff and of patients whom its facts have been asked about.
_Seen: TypeAlias = tuple[View | None, dict[str, dict[str, _Known]]]


def _unseen(view: View | None) -> _Seen:
    return view, {"staff": {}, "patient": {}}


# A key without any facts; and one about which the view itself is asked each time: it is in doubt, or the view is
# no snapshot.
_NOTHING = _Known({}, {})
_UNSURE = _Known({}, {})
_UNSURE.still = False


def _subject_id(request: Request) -> str:
    return request.subject.id


def _next(view: View, key: Key, known: _Known, names: frozenset[str], at: datetime) -> datetime | None:
    """When the first of these facts begins or ends."""
    dated = names if known is _UNSURE else names & known.dated
    edges = (view.next_change(key, name, at) for name in dated)
    return min((edge for edge in edges if edge is not None), default=None)


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

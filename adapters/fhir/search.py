"""Read a search, refuse what would tell more than its results, and narrow it by a decision.

A parameter is used only if its table row says what it reads; one that reads a
masked element is refused before the upstream is asked, whatever the data.
Narrowing saves the upstream work; it does not enforce. Enforcement is
`rows.judge`, on every resource that comes back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from adapters.fhir.interaction import Pairs, is_id
from adapters.fhir.mask import Mask, covers
from adapters.fhir.outcome import Refused
from adapters.fhir.tables import Parameter, Path, Tables, TypeRow

__all__ = ["CURSOR", "MAX_PUSHED", "Bounds", "Search", "View", "looks_at_masked", "narrow", "read_search", "read_view"]

CURSOR = "_page"  # our own parameter: the opaque cursor of a next link
MAX_PUSHED = 64  # ids pushed into one query; more are left to the check of every row

_SUMMARIES = frozenset(("true", "false", "text", "data"))
_LITERAL = re.compile(r"(?:([A-Z][A-Za-z]{1,63})/)?([A-Za-z0-9\-.]{1,64})")
_MODIFIERS = {
    "string": frozenset(("exact", "contains", "missing")),
    "token": frozenset(("not", "missing")),
    "date": frozenset(("missing",)),
    "number": frozenset(("missing",)),
    "quantity": frozenset(("missing",)),
    "reference": frozenset(("missing",)),
    "uri": frozenset(("missing",)),
}
_RESULT = frozenset(("_sort", "_count", "_elements", "_summary", "_total", "_format", "_pretty"))


@dataclass(frozen=True, slots=True)
class View:
    """What of a resource the caller wants to see: names of `elements` (empty: all), and `summary` ("": none)."""

    elements: tuple[str, ...] = ()
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What can be admitted at all: logical ids of `patients`, resource `ids`, `modalities`; None where not bounded."""

    patients: frozenset[str] | None = None
    ids: frozenset[str] | None = None
    modalities: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """`filters` and `sort` go upstream; `count` is a wish; `reads` are the element paths they look at."""

    type: str
    filters: Pairs = ()
    sort: str = ""
    count: int | None = None
    view: View = View()
    reads: frozenset[Path] = frozenset()
    cursor: str = ""

    @property
    def query(self) -> Pairs:
        """What the upstream is asked, before it is narrowed; paging is added by whoever asks."""
        return (*self.filters, *((("_sort", self.sort),) if self.sort else ()))


def read_search(row: TypeRow, query: Pairs, tables: Tables) -> Search:
    """The search of these parameters. Raises Refused for anything that is not listed or not understood."""
    if any(name == CURSOR for name, _ in query):
        return _continued(row, query)
    results = {name: value for name, value in query if name in _RESULT}
    filters = tuple((name, value) for name, value in query if name not in _RESULT)
    if len(results) + len(filters) != len(query):
        raise Refused(400, "invalid", "a result parameter is there twice")
    reads: set[Path] = set()
    for name, value in filters:
        reads.update(_filter(row, name, value, tables).paths)
    for name in _sorted_by(results.get("_sort", "")):
        reads.update(_known(row, name).paths)
    _refuse_counting(results)
    sort, count = results.get("_sort", ""), _count(results.get("_count"))
    return Search(row.fhir, filters, sort, count, _view(row, results), frozenset(reads))


def read_view(row: TypeRow, query: Pairs) -> View:
    """What a read asks to see. Raises Refused for any parameter that a read does not take."""
    given = dict(query)
    if len(given) != len(query) or given.keys() - {"_elements", "_summary", "_format", "_pretty"}:
        raise Refused(400, "not-supported", "a read takes _elements, _summary and _format only, each once")
    return _view(row, given)


def looks_at_masked(search: Search, mask: Mask, tables: Tables) -> bool:
    """Whether the search reads anything that is masked: then its results would tell it."""
    return bool(mask) and any(covers(mask, search.type, path, tables) for path in search.reads)


def narrow(row: TypeRow, query: Pairs, bounds: Bounds) -> Pairs | None:
    """The query with what the decision leaves, as further parameters of their own; None if nothing can match.

    Repeated parameters are ANDed (FHIR R4 search.html, 3.1.1.2), so what is
    added can only take away. INVARIANT: nothing is ever joined to a value of
    the caller's, for a comma in one value is OR.
    """
    added: list[tuple[str, str]] = []
    modality = "modality" if row.modality else ""
    for name, allowed in ((row.push, bounds.patients), ("_id", bounds.ids), (modality, bounds.modalities)):
        if allowed is None:
            continue
        if not allowed:
            return None
        if name and len(allowed) <= MAX_PUSHED and all(is_id(value) for value in allowed):
            prefix = "Patient/" if name not in ("_id", modality) else ""
            added.append((name, ",".join(f"{prefix}{value}" for value in sorted(allowed))))
    return (*query, *added)


def _continued(row: TypeRow, query: Pairs) -> Search:
    """A next link carries nothing but its cursor: what it continues is inside."""
    if [name for name, _ in query if name not in ("_format", "_pretty")] != [CURSOR]:
        raise Refused(400, "invalid", "a next link takes no further parameters")
    return Search(row.fhir, cursor=dict(query)[CURSOR])


def _filter(row: TypeRow, name: str, value: str, tables: Tables) -> Parameter:
    bare, _, modifier = name.partition(":")
    if bare.startswith("_has") or "." in bare or "." in modifier:
        raise Refused(400, "not-supported", "chained search is not supported")
    parameter = _known(row, bare)
    target = parameter.type == "reference" and modifier in tables.types
    if modifier and not target and modifier not in _MODIFIERS[parameter.type]:
        raise Refused(400, "not-supported", f"this modifier of `{bare}` is not supported")
    if not value or value.startswith(",") or value.endswith(",") or ",," in value:
        raise Refused(400, "invalid", f"`{bare}` has an empty value")
    if modifier == "missing":
        if value not in ("true", "false"):
            raise Refused(400, "invalid", "`:missing` is true or false")
    elif parameter.type == "reference":
        _literal(bare, value, tables)
    elif bare == "_id" and not all(is_id(id) for id in value.split(",")):
        raise Refused(400, "invalid", "`_id` takes logical ids")
    return parameter


def _known(row: TypeRow, name: str) -> Parameter:
    """INVARIANT: a parameter that no table lists is refused, for nobody knows what it reads."""
    parameter = row.parameters.get(name)
    if parameter is None:
        raise Refused(400, "not-supported", f"{row.fhir} has no such search parameter here", hint="see /metadata")
    return parameter


def _literal(name: str, value: str, tables: Tables) -> None:
    """References are literal and local: no URL of elsewhere, no chain in disguise, no type that is not served."""
    for item in value.split(","):
        found = _LITERAL.fullmatch(item)
        if found is None or (found[1] and found[1] not in tables.types):
            raise Refused(400, "invalid", f"`{name}` takes references as Type/id, of types that are served")


def _sorted_by(text: str) -> list[str]:
    names = [name.removeprefix("-") for name in text.split(",")] if text else []
    if len(names) > 4 or not all(names):
        raise Refused(400, "invalid", "`_sort` takes up to four parameter names")
    return names


def _refuse_counting(results: dict[str, str]) -> None:
    """Counts tell of what is not shown, so they are not given (`Bundle.total` is, where everything is shown)."""
    if results.get("_summary") == "count" or results.get("_total", "none") != "none":
        raise Refused(403, "security", "counts are not given: they would tell of what you may not see")


def _count(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 6 or int(text) == 0:
        raise Refused(403 if text == "0" else 400, "invalid", "`_count` is a number from 1")
    return int(text)


def _view(row: TypeRow, results: dict[str, str]) -> View:
    summary = results.get("_summary", "false")
    if summary == "count":
        raise Refused(403, "security", "counts are not given: they would tell of what you may not see")
    if summary not in _SUMMARIES:
        raise Refused(400, "invalid", "`_summary` is true, false, text or data")
    names = tuple(results["_elements"].split(",")) if "_elements" in results else ()
    if any(name not in {element.removesuffix("[x]") for element in row.elements} for name in names):
        raise Refused(400, "invalid", f"`_elements` takes names of elements of {row.fhir}")
    if names and summary != "false":
        raise Refused(400, "invalid", "`_elements` and `_summary` exclude each other")
    return View(names, "" if summary == "false" else summary)

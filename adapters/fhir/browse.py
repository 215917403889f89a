"""search-type: narrow, ask, judge every match, refill a bounded number of times (FHIR R4 search.html).

`total` is given only where it equals what is shown. How many upstream pages
were read is not a measure of what is hidden: they are read in one size,
whatever the caller's `_count`, when a decision leaves anything to be checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from adapters.fhir.bundle import Entry, Page, read_page, searchset
from adapters.fhir.interaction import is_id
from adapters.fhir.mask import Mask, Unmaskable, mask_paths
from adapters.fhir.outcome import JSON, Refused, Response
from adapters.fhir.paging import Cursor
from adapters.fhir.patients import relative
from adapters.fhir.peer import below, target
from adapters.fhir.rows import Verdict, release_limit
from adapters.fhir.search import CURSOR, MAX_PUSHED, Bounds, Search, looks_at_masked, narrow, read_search
from adapters.fhir.steps import (
    Call,
    Denied,
    Result,
    Rulings,
    Site,
    Steps,
    ask,
    judged,
    look_up,
    mask_of,
    permitted,
    resolve,
    show,
)
from spir.model.obligation import Obligation
from spir.record.event import Outcome

__all__ = ["search"]

DEFAULT_COUNT = 50
MAX_COUNT = 200
REFILLS = 4  # further upstream pages for one answer
MAX_SOUGHT = 16  # patients of one search that are looked up for its record alone

# Parameters by which a caller asks for somebody, or for one thing of somebody's.
_NAMING = frozenset(("_id", "identifier", "patient", "subject"))


@dataclass(slots=True)
class _Harvest:
    """What one answer has collected so far, and where the next one goes on: (upstream page, entries to skip)."""

    wanted: int
    found: list[tuple[str, bytes]] = field(default_factory=list)
    patients: dict[str, None] = field(default_factory=dict)
    sought: dict[str, None] = field(default_factory=dict)  # whom the caller named, and did not get to see
    obligations: dict[Obligation, None] = field(default_factory=dict)
    withheld: int = 0
    masked: int = 0
    pages: int = 0
    next: tuple[str, int] | None = None

    @property
    def full(self) -> bool:
        return len(self.found) >= self.wanted


def search(call: Call, site: Site) -> Steps[Result]:
    """A searchset of what may be seen; 403 if the type may not be searched or the search looks at what is masked."""
    row = site.row(call)
    asked = read_search(row, call.interaction.query, site.reading.tables)
    cursor = site.sealer.open(asked.cursor, call.who, row.fhir, call.now) if asked.cursor else None
    rulings: Rulings = yield from permitted(call, "search", row)
    if cursor is not None:
        if cursor.bundle != _bundle(rulings):
            raise Refused(404, "expired", "there is no such page", hint="search again from the start")
        asked = cursor.search()
    if looks_at_masked(asked, _widest_mask(site, rulings), site.reading.tables):
        raise _denied(rulings, "security", "a search or sort parameter reads an element that is masked for you")
    harvest = _Harvest(_wanted(asked, rulings, cursor.released if cursor else 0))
    start = yield from _start(call, site, asked, rulings, cursor)
    if start is not None and harvest.wanted > 0:
        rulings = yield from _gather(call, site, asked, harvest, start)
    if not harvest.found and cursor is None:
        yield from _note_sought(call, site, asked, harvest)
    return _result(call, site, asked, rulings, harvest, cursor)


def _start(
    call: Call, site: Site, asked: Search, rulings: Rulings, cursor: Cursor | None
) -> Steps[tuple[str, int] | None]:
    """The first upstream page and the entries of it to skip; None if nothing can match."""
    if cursor is not None:
        return cursor.url, cursor.skip
    bounds = yield from _bounds(call, site, rulings)
    query = narrow(site.row(call), asked.query, bounds)
    if query is None:
        return None
    count = min(asked.count or DEFAULT_COUNT, MAX_COUNT)
    everything = all(ruling.decision.permitted for ruling in rulings.values())
    size = count if everything else max(count, DEFAULT_COUNT)
    return target(asked.type, (*query, ("_count", str(size)))), 0


def _bounds(call: Call, site: Site, rulings: Rulings) -> Steps[Bounds]:
    """What the rulings leave: over all of them, since a resource may be of any of their types."""
    patients = _allowed(rulings, "resource.patient.id")
    ids, modalities = _allowed(rulings, "resource.id"), _allowed(rulings, "resource.modality")
    logical: frozenset[str] | None = patients
    if patients and site.row(call).push:
        logical = (yield from look_up(call, site, patients)) if len(patients) <= MAX_PUSHED else None
    return Bounds(logical, ids, modalities)


def _allowed(rulings: Rulings, attribute: str) -> frozenset[str] | None:
    found: frozenset[str] = frozenset()
    for ruling in rulings.values():
        values = ruling.decision.residual.allowed(attribute)
        if values is None:
            return None
        found |= {str(value) for value in values}
    return found


def _gather(call: Call, site: Site, asked: Search, harvest: _Harvest, start: tuple[str, int]) -> Steps[Rulings]:
    """Read pages until the answer is full, they end, or `REFILLS` is used up. Returns the rulings made last."""
    url, skip = start
    while True:
        page = yield from _page(url, asked.type)
        entries = page.entries[skip:]
        verdicts, rulings = yield from judged(call, site, entries, "search")
        harvest.pages += 1
        for index, (entry, verdict) in enumerate(zip(entries, verdicts, strict=True)):
            if not _take(site, asked, harvest, entry, verdict):
                harvest.next = (url, skip + index)
                return rulings
        onward = below(site.reading.base, page.next)
        harvest.next = (onward, 0) if onward else None
        if not onward or harvest.full or harvest.pages > REFILLS:
            return rulings
        url, skip = onward, 0


def _page(url: str, type: str) -> Steps[Page]:
    heard = yield from ask("GET", url)
    if heard.status != 200:
        raise Refused(400, "not-supported", "the FHIR server refuses this search", hint="it may lack a parameter")
    return read_page(heard.body, type)


def _take(site: Site, asked: Search, harvest: _Harvest, entry: Entry, verdict: Verdict) -> bool:
    """Add the entry to the harvest if it may be seen. False if it may but there is no room left."""
    id = entry.resource.get("id")
    shown = None
    if isinstance(id, str) and is_id(id) and not _looked_at(site, asked, verdict):
        shown = show(site, entry, verdict, asked.view)
    if shown is None:
        harvest.withheld += 1
        if any(name.partition(":")[0] in _NAMING for name, _ in asked.filters):
            harvest.sought.update(dict.fromkeys(verdict.patients[:MAX_SOUGHT]))
        return True
    if harvest.full:
        return False
    harvest.found.append((f"{asked.type}/{id}", shown.raw))
    harvest.patients.update(dict.fromkeys(verdict.patients))
    harvest.obligations.update(dict.fromkeys(verdict.obligations))
    harvest.masked += shown.masked
    return True


def _note_sought(call: Call, site: Site, asked: Search, harvest: _Harvest) -> Steps[None]:
    """Whom a search named that has nothing to show: the trail of a patient has the attempts too, whether the search
    was narrowed to others or there was nothing to find."""
    logical: set[str] = set()
    for name, value in asked.filters:
        bare, _, modifier = name.partition(":")
        kind = site.row(call).parameters[bare].type
        for item in value.split(","):
            if kind == "reference" and modifier != "missing":
                target = relative(item)
                if target is None and bare == "patient" and is_id(item):
                    target = "Patient", item
                logical |= {target[1]} if target is not None and target[0] == "Patient" else set()
            elif asked.type == "Patient" and bare == "_id":
                logical.add(item)
            elif asked.type == "Patient" and bare == "identifier" and not modifier:
                system, _, text = item.rpartition("|")
                named = site.reading.identifiers.canonical(text, system) if system else None
                harvest.sought.update({named: None} if named else {})
    known = yield from resolve(call, site, frozenset(sorted(logical)[:MAX_SOUGHT]))
    for ids in known.values():
        harvest.sought.update(dict.fromkeys(sorted(ids)))


def _looked_at(site: Site, asked: Search, verdict: Verdict) -> bool:
    """Whether the search read what is masked in this row alone: then its being found would tell."""
    if not verdict.paths or not asked.reads:
        return False
    try:
        return looks_at_masked(asked, mask_of(site, verdict.paths), site.reading.tables)
    except Unmaskable:
        return True


def _widest_mask(site: Site, rulings: Rulings) -> Mask:
    """Everything that could be masked in some row. Raises Denied where a mask cannot be understood."""
    obligations: list[Obligation] = []
    for ruling in rulings.values():
        obligations.extend(ruling.decision.obligations)
        obligations.extend(tied.obligation for tied in ruling.decision.tied)
    try:
        return mask_of(site, mask_paths(obligations))
    except Unmaskable:
        raise _denied(rulings, "forbidden", "this search cannot be masked as the policy demands") from None


def _denied(rulings: Rulings, code: str, message: str) -> Denied:
    return Denied(next(iter(rulings.values())), 403, code, message)


def _wanted(asked: Search, rulings: Rulings, released: int) -> int:
    """How many to show at most: the caller's wish, our bound, and what limits leave."""
    limits = [
        release_limit(item) - released
        for ruling in rulings.values()
        for item in (*ruling.decision.obligations, *(tied.obligation for tied in ruling.decision.tied))
        if item.type == "limit"
    ]
    return max(0, min(asked.count or DEFAULT_COUNT, MAX_COUNT, *limits))


def _result(
    call: Call, site: Site, asked: Search, rulings: Rulings, harvest: _Harvest, cursor: Cursor | None
) -> Result:
    released = (cursor.released if cursor else 0) + len(harvest.found)
    exhausted = harvest.next is None or _wanted(asked, rulings, released) == 0
    onward = ""
    if not exhausted and harvest.next is not None:
        token = Cursor.of(asked, (*harvest.next, released), call.who, _bundle(rulings), call.now)
        onward = f"{site.base}/{target(asked.type, ((CURSOR, site.sealer.seal(token)),))}"
    # INVARIANT: a total never says more than what is shown.
    total = len(harvest.found) if cursor is None and harvest.next is None else None
    own = f"{site.base}/{target(asked.type, call.interaction.query)}"
    body = searchset(site.base, own, harvest.found, onward, total)
    partial = harvest.masked or harvest.withheld
    return Result(
        Response(200, body, (("Content-Type", JSON),)),
        Outcome.PARTIAL if partial else Outcome.SUCCESS,
        next(iter(rulings.values())),
        tuple({**harvest.patients, **harvest.sought}),
        tuple(harvest.obligations),
        {
            "returned": len(harvest.found),
            "withheld": harvest.withheld,
            "masked": harvest.masked,
            "pages": harvest.pages,
        },
    )


def _bundle(rulings: Rulings) -> str:
    return "+".join(sorted({ruling.decision.bundle for ruling in rulings.values()}))

"""Steps that every session of this adapter takes: decide, ask the upstream, find out whose it is, show it.

Each step is a generator of `spir.exchange` words, or pure. What is shown has
been judged by rulings made after all data had arrived, so that a change of
facts or policy while the upstream was thinking counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

from adapters.fhir import document
from adapters.fhir.bundle import Entry, read_page, resource_type
from adapters.fhir.interaction import Interaction, is_id
from adapters.fhir.mask import Mask, Unmaskable, bites, compile_mask, locate
from adapters.fhir.outcome import Refused, Response
from adapters.fhir.paging import Sealer
from adapters.fhir.patients import Known, canonical_ids
from adapters.fhir.peer import Ask, Heard, target
from adapters.fhir.projection import project
from adapters.fhir.rows import UNDERSTOOD, Judge, Reading, Verdict
from adapters.fhir.search import View
from adapters.fhir.tables import TypeRow
from spir.errors import PeerError
from spir.exchange import AskPeer, Decide, Ruling
from spir.model.obligation import Obligation, unmet
from spir.model.request import Entity, Request
from spir.record.event import AuditEvent, EventKind, Outcome

__all__ = [
    "Call",
    "Denied",
    "Result",
    "Rulings",
    "Shown",
    "Site",
    "Steps",
    "about",
    "as_entry",
    "ask",
    "audit_event",
    "decide",
    "fetch",
    "hidden",
    "judged",
    "look_up",
    "mask_of",
    "permitted",
    "resolve",
    "show",
]

T = TypeVar("T")
Steps: TypeAlias = Generator[Any, Any, T]
Rulings: TypeAlias = Mapping[str, Ruling]  # by vocabulary type

MAX_MASKS = 256  # compiled masks that are kept
BATCH = 32  # patients asked for in one query


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request. `context` is what we know of it ourselves; nothing of it comes from the caller."""

    interaction: Interaction
    subject: Entity
    context: Mapping[str, Any]
    now: datetime
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    requests: dict[str, Request] = field(default_factory=dict)  # by operation, as they are built

    @property
    def who(self) -> tuple[str, str]:
        return self.subject.type, self.subject.id


@dataclass(frozen=True, slots=True)
class Site:
    """What all sessions share. `base`: our own URL, without a slash at its end.

    `check` looks at a body that is to be written: None if it is good, else what is wrong, without its values.
    """

    reading: Reading
    base: str
    sealer: Sealer
    known: Known = field(default_factory=Known)
    masks: dict[frozenset[str], Mask] = field(default_factory=dict)
    check: Callable[[str, bytes], str | None] | None = None

    def row(self, call: Call) -> TypeRow:
        return self.reading.tables.types[call.interaction.type]


@dataclass(frozen=True, slots=True)
class Result:
    """How a session ends: what is answered, and what is remembered of it."""

    response: Response
    outcome: Outcome
    ruling: Ruling | None = None
    patients: tuple[str, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)
    asked: Request | None = None  # what the record says was asked, if it is not the ruling's request


class Denied(Refused):
    """Refused by a decision, which the audit trail shows, with the `patients` it was about as far as they are known."""

    def __init__(
        self,
        ruling: Ruling | None,
        status: int,
        code: str,
        message: str,
        hint: str = "",
        verdicts: Iterable[Verdict] = (),
    ):
        super().__init__(status, code, message, hint=hint)
        self.ruling = ruling
        self.patients = about(verdicts)


@dataclass(frozen=True, slots=True)
class Shown:
    """A resource as it may go out, and whether anything of it was hidden."""

    raw: bytes
    masked: bool


def about(verdicts: Iterable[Verdict]) -> tuple[str, ...]:
    """The patients of these verdicts, admitted or not, each once."""
    return tuple(dict.fromkeys(patient for verdict in verdicts for patient in verdict.patients))


def decide(call: Call, verb: str, kinds: Iterable[str]) -> Steps[dict[str, Ruling]]:
    """One ruling for each vocabulary type, on a resource that is still to come."""
    rulings = {}
    for kind in sorted(kinds):
        rulings[kind] = yield Decide(_request(call, f"{verb}:{kind}"))
    return rulings


def _request(call: Call, operation: str) -> Request:
    """Asked more than once in a session, and always the same."""
    held = call.requests.get(operation)
    if held is None:
        held = call.requests[operation] = Request.build(
            call.subject, operation, id=call.interaction.id, context=call.context, deferred={"resource"}
        )
    return held


def permitted(call: Call, verb: str, row: TypeRow) -> Steps[dict[str, Ruling]]:
    """The rulings that could admit something. Raises Denied (403) if there are none: no upstream is asked then."""
    rulings: dict[str, Ruling] = yield from decide(call, verb, row.types)
    usable = {kind: ruling for kind, ruling in rulings.items() if _usable(ruling)}
    if not usable:
        first = next(iter(rulings.values()))
        raise Denied(first, 403, "forbidden", "this interaction with this type is not permitted to you")
    return usable


def ask(method: str, where: str, body: bytes = b"", if_match: str = "") -> Steps[Heard]:
    """One exchange with the upstream. What it says when it fails is not passed on."""
    heard: Heard = yield AskPeer(Ask(method, where, body, if_match))
    if heard.status in (401, 403, 407, 429) or heard.status >= 500 or 300 <= heard.status < 400:
        raise PeerError("the FHIR server did not answer as it should", hint=f"it answered {heard.status}")
    return heard


def fetch(call: Call, version: str = "") -> Steps[Entry | None]:
    """The resource the call names, or that version of it; None if it is not there (any more). Raises PeerError."""
    asked = call.interaction
    path = f"{asked.type}/{asked.id}" + (f"/_history/{version}" if version else "")
    heard = yield from ask("GET", path)
    if heard.status != 200:
        return None
    return as_entry(heard.body, asked.type, asked.id)


def as_entry(body: bytes, type: str, id: str) -> Entry:
    """A body that must be this resource. Raises PeerError."""
    try:
        resource, _ = document.read(body)
    except document.Malformed:
        raise PeerError("the FHIR server's resource cannot be read") from None
    if resource_type(resource) != type or resource.get("id") != id:
        raise PeerError("the FHIR server answered with another resource")
    return Entry(body, resource)


def judged(call: Call, site: Site, entries: Sequence[Entry], verb: str) -> Steps[tuple[list[Verdict], Rulings]]:
    """A verdict on each entry, by rulings made now."""
    looked = [site.reading.parts(entry.resource) for entry in entries]
    logical = frozenset[str]().union(*(part.patients.logical for parts in looked for part in parts))
    known = yield from resolve(call, site, logical)
    kinds = frozenset(site.row(call).types).union(*(part.kinds for parts in looked for part in parts))
    rulings = yield from decide(call, verb, kinds)
    judge = Judge(site.reading, rulings, known, many=len(entries) > 2)
    return [judge.verdict(parts) for parts in looked], rulings


def look_up(call: Call, site: Site, ids: frozenset[str]) -> Steps[frozenset[str] | None]:
    """Logical ids of the patients with these canonical ids; None if the upstream has too many to name."""
    generation = site.known.generation
    found = site.known.logical(ids, call.now)
    missing = sorted(ids - found.keys())
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        tokens = [token for token in (_token(site, id) for id in batch) if token]
        page: dict[str, set[str]] = {id: set() for id in batch}
        if tokens:
            answer = yield from ask("GET", target("Patient", (("identifier", ",".join(tokens)), ("_count", "200"))))
            listed, complete = _patients(answer)
            if not complete:
                return None
            for logical, patient in listed.items():
                for id in canonical_ids(patient, site.reading.identifiers):
                    page.setdefault(id, set()).add(logical)
        fresh = {id: frozenset(page[id]) for id in batch}
        site.known.learn_logical(fresh, call.now, generation)
        found |= fresh
    return frozenset[str]().union(*found.values())


def mask_of(site: Site, paths: frozenset[str]) -> Mask:
    """The mask of these paths, compiled once. Raises Unmaskable."""
    mask = site.masks.get(paths)
    if mask is None:
        mask = compile_mask(paths, site.reading.tables)
        if len(site.masks) < MAX_MASKS:
            site.masks[paths] = mask
    return mask


def show(site: Site, entry: Entry, verdict: Verdict, view: View) -> Shown | None:
    """The resource as it may be seen; None if it may not, or cannot be made fit to be seen."""
    row = site.reading.tables.types.get(resource_type(entry.resource))
    if not verdict.admitted or row is None:
        return None
    left: bytes | None = entry.raw
    if verdict.paths or verdict.where:
        try:
            where = hidden(site, entry, verdict)
        except (Unmaskable, document.Malformed):
            return None
        left = document.cut(entry.raw, where) if bites(where) else entry.raw
    if left is None:
        return None
    clean = _rewritten(project(left, row, view), site)
    return None if clean is None else Shown(clean, left is not entry.raw)


def hidden(site: Site, entry: Entry, verdict: Verdict) -> document.Cut:
    """Where this resource is cut for the subject of the verdict; {} if nowhere. Raises Unmaskable, Malformed."""
    where = locate(mask_of(site, verdict.paths), entry.resource, entry.raw)
    if verdict.where:
        where = document.merge(where, verdict.where)
        if "text" in entry.resource:
            where["text"] = document.REMOVE
    return where


def audit_event(call: Call, result: Result) -> AuditEvent:
    """What is remembered of a result: counts and codes, never content."""
    asked = call.interaction
    ruling = result.ruling
    return AuditEvent(
        time=call.now,
        kind=EventKind.REFUSAL if ruling is None else EventKind.DECISION,
        protocol="fhir",
        operation=asked.verb.value if ruling is None else ruling.request.operation,
        subject=call.subject.id,
        outcome=result.outcome,
        patients=result.patients,
        decision=None if ruling is None else ruling.decision,
        request=None if ruling is None else result.asked or ruling.request,
        detail={"interaction": asked.verb.value, "type": asked.type, "status": result.response.status, **result.detail},
    )


def _usable(ruling: Ruling) -> bool:
    return not ruling.decision.denied and not unmet(ruling.decision.obligations, UNDERSTOOD)


def resolve(call: Call, site: Site, logical: frozenset[str]) -> Steps[Mapping[str, frozenset[str]]]:
    """Canonical ids by logical id of these patients, as far as the upstream knows them."""
    generation = site.known.generation
    known = site.known.ids(logical, call.now)
    missing = sorted(logical - known.keys())
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        answer = yield from ask("GET", target("Patient", (("_id", ",".join(batch)), ("_count", str(2 * BATCH)))))
        listed, _ = _patients(answer)
        fresh = {id: canonical_ids(listed.get(id, {}), site.reading.identifiers) for id in batch}
        site.known.learn(fresh, call.now, generation)
        known |= fresh
    return known


def _patients(heard: Heard) -> tuple[dict[str, Any], bool]:
    """The patients of a searchset by logical id, and whether that is all of them."""
    if heard.status != 200:
        raise PeerError("the FHIR server does not find patients", hint=f"it answered {heard.status}")
    page = read_page(heard.body, "Patient")
    found = {entry.resource.get("id"): entry.resource for entry in page.entries}
    return {id: patient for id, patient in found.items() if isinstance(id, str) and is_id(id)}, not page.next


def _token(site: Site, id: str) -> str:
    """`system|value` as a search value; "" for an authority without a system."""
    found = site.reading.identifiers.system(id)
    if found is None:
        return ""
    escaped = (part.replace("\\", "\\\\").replace(",", "\\,").replace("$", "\\$") for part in found)
    return "|".join(escaped)


def _rewritten(raw: bytes, site: Site) -> bytes | None:
    """The resource with the upstream's URL replaced by ours; None if the upstream's host is still in it."""
    if site.reading.host not in raw and b"\\/" not in raw and b"\\u" not in raw:
        return raw
    for spell in (str, _escaped):
        ours = spell(site.base).encode().replace(b"\\", b"\\\\")
        raw = re.sub(re.escape(spell(site.reading.base).encode()) + _END, ours, raw)
    left = re.search(re.escape(site.reading.host) + _END, document.read(raw)[1])
    return None if left else raw


# What does not follow a host or a path where it ends: `:80` must not be found in `:8090`.
_END = rb"(?![0-9A-Za-z_-]|[.:][0-9A-Za-z])"


def _escaped(url: str) -> str:
    return url.replace("/", "\\/")

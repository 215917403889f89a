"""create, update and delete (FHIR R4 http.html, 3.1.0.4 to 3.1.0.8): decided on what is stored and on what would be.

What is written was fetched, judged before and after, and goes out with If-Match
on the version that was judged. It is recorded before it is done and again when
it is done. One who may not read a resource cannot change or delete it either:
its absence and its invisibility are one answer. A PUT never creates.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from adapters.fhir import document
from adapters.fhir.bundle import Entry, resource_type
from adapters.fhir.interaction import Interaction, is_id
from adapters.fhir.mask import Unmaskable
from adapters.fhir.outcome import Refused, Response
from adapters.fhir.peer import Heard
from adapters.fhir.restore import restored
from adapters.fhir.retrieve import completed, headers_for, unseen, version_of
from adapters.fhir.rows import Verdict
from adapters.fhir.search import View
from adapters.fhir.steps import (
    Call,
    Result,
    Rulings,
    Site,
    Steps,
    as_entry,
    ask,
    audit_event,
    fetch,
    hidden,
    judged,
    permitted,
    show,
)
from adapters.fhir.submission import (
    check_valid,
    composed,
    forbidden,
    put_meta,
    read_body,
    references,
    refuse_invisible,
    refuse_masked,
)
from spir.errors import PeerError
from spir.exchange import Commit, Record, Ruling
from spir.record.event import Outcome

__all__ = ["create", "delete", "update"]


def create(call: Call, site: Site) -> Steps[Result]:
    """A new resource, with an id of the server's choice; what is masked for its author cannot be in it."""
    row = site.row(call)
    yield from permitted(call, "create", row)
    given = read_body(call)
    parts = document.members(given.raw)
    parts.pop("id", None)
    put_meta(parts, given.resource.get("meta"), {})
    entry = composed(document.join(parts))
    (verdict,), rulings = yield from judged(call, site, [entry], "create")
    (readable,), _ = yield from judged(call, site, [entry], "read")
    ruling = completed(rulings, verdict)
    if not verdict.admitted or verdict.where:
        raise forbidden(ruling, "this resource is not yours to create", verdict)
    refuse_masked(site, entry.resource, ruling, verdict, readable)
    yield from refuse_invisible(call, site, ruling, entry.resource, frozenset(), verdict)
    check_valid(site, row.fhir, entry.raw)
    yield from _intend(call, ruling, verdict)
    heard = yield from ask("POST", row.fhir, entry.raw)
    _changed(call, site)
    if heard.status not in (200, 201):
        raise _rejected()
    id = _new_id(heard, row.fhir)
    made = replace(call, interaction=replace(call.interaction, id=id), requests={})
    return (yield from _echo(made, site, heard, 201, ruling, verdict))


def update(call: Call, site: Site) -> Steps[Result]:
    """A new version of a resource that the caller may read and change, with what is hidden from the caller kept."""
    row = site.row(call)
    yield from permitted(call, "update", row)
    rulings: Rulings = yield from permitted(call, "read", row)
    given = read_body(call)
    if given.resource.get("id") != call.interaction.id:
        raise Refused(400, "invalid", "the body's id is not that of the URL")
    stored, readable, ruling, before = yield from _stored(call, site, rulings)
    if stored is None:
        return unseen(rulings, "absent or not admitted", *([readable] if readable else []))
    after = _after(site, given, stored, ruling, before, readable)
    (verdict,), _ = yield from judged(call, site, [after], "update")
    if not verdict.admitted or _foreign(verdict, readable, given, stored, after):
        raise forbidden(ruling, "this resource is not yours to change in this way", verdict, before)
    refuse_masked(site, given.resource, ruling, verdict)
    yield from refuse_invisible(call, site, ruling, after.resource, references(stored.resource), verdict)
    check_valid(site, row.fhir, after.raw)
    yield from _intend(call, ruling, verdict)
    path = f"{row.fhir}/{call.interaction.id}"
    heard = yield from ask("PUT", path, after.raw, if_match=_version(stored))
    _changed(call, site)
    if heard.status not in (200, 201):
        raise _conflict(heard) or _rejected()
    return (yield from _echo(call, site, heard, 200, ruling, verdict))


def delete(call: Call, site: Site) -> Steps[Result]:
    """The end of a resource that the caller may read and delete."""
    row = site.row(call)
    yield from permitted(call, "delete", row)
    rulings: Rulings = yield from permitted(call, "read", row)
    stored, readable, ruling, verdict = yield from _stored(call, site, rulings)
    if stored is None:
        return unseen(rulings, "absent or not admitted", *([readable] if readable else []))
    yield from _intend(call, ruling, verdict)
    heard = yield from ask("DELETE", f"{row.fhir}/{call.interaction.id}", if_match=_version(stored))
    _changed(call, site)
    if heard.status not in (200, 202, 204):
        raise _conflict(heard) or _rejected()
    done = {"stage": "done"}
    return Result(Response(204), Outcome.SUCCESS, ruling, verdict.patients, verdict.obligations, done)


def _stored(call: Call, site: Site, rulings: Rulings) -> Steps[tuple[Any, Any, Any, Any]]:
    """(entry, verdict on reading, ruling, verdict on this verb); no entry if it cannot be seen, no verdict
    either if it is not there.

    Raises Denied (403) if it may be read but not changed, Refused (412) if the
    caller's If-Match names another version.
    """
    stored = yield from fetch(call)
    if stored is None:
        return None, None, None, None
    (readable,), _ = yield from judged(call, site, [stored], "read")
    if show(site, stored, readable, View()) is None:
        return None, readable, None, None
    (verdict,), rulings = yield from judged(call, site, [stored], call.interaction.verb.operation)
    ruling = completed(rulings, verdict)
    if not verdict.admitted:
        raise forbidden(ruling, "this resource is not yours to change", verdict)
    wanted, version = call.headers.get("if-match"), _version(stored)
    if wanted is not None and wanted.strip().removeprefix("W/").strip('"') != version:
        raise Refused(412, "conflict", "the resource has another version now", hint="read it again")
    return stored, readable, ruling, verdict


def _after(site: Site, given: Entry, stored: Entry, ruling: Ruling, before: Verdict, readable: Verdict) -> Entry:
    """What the resource would be: the caller's body, with everything put back that is hidden from the caller."""
    both = replace(readable, paths=readable.paths | before.paths)
    refuse_masked(site, given.resource, ruling, both)
    try:
        where = hidden(site, stored, both)
    except Unmaskable:
        raise forbidden(ruling, "this write cannot be masked as the policy demands", before) from None
    parts = document.members(restored(stored.raw, where, given.raw))
    put_meta(parts, given.resource.get("meta"), stored.resource.get("meta") or {})
    return composed(document.join(parts))


def _foreign(verdict: Verdict, readable: Verdict, given: Entry, stored: Entry, after: Entry) -> bool:
    """Whether the client brings a contained resource that it may not write.

    One that it was shown may come back as it was. One that was hidden from it
    may not: else it could guess at what is there.
    """
    own, held = len(given.resource.get("contained") or ()), stored.resource.get("contained") or ()
    unseen_places = _places(readable)
    shown = [item for place, item in enumerate(held) if place not in unseen_places]
    return any(place < own and after.resource["contained"][place] not in shown for place in _places(verdict))


def _places(verdict: Verdict) -> frozenset[int]:
    """The contained resources that are not admitted, by their place."""
    inner = (verdict.where or {}).get("contained")
    return frozenset(inner) if isinstance(inner, dict) else frozenset()


def _intend(call: Call, ruling: Ruling, verdict: Verdict) -> Steps[None]:
    """INVARIANT: nothing is written that has not been recorded first."""
    planned = Result(Response(0), Outcome.SUCCESS, ruling, verdict.patients, detail={"stage": "intended"})
    yield Commit(Record(audit_event(call, planned)))


def _changed(call: Call, site: Site) -> None:
    """Whoever was who before this write may be somebody else now, whether or not it succeeded."""
    if call.interaction.type == "Patient":
        site.known.clear()


def _echo(call: Call, site: Site, heard: Heard, status: int, ruling: Ruling, written_as: Verdict) -> Steps[Result]:
    """The answer to a write: the resource as its author may read it, or nothing of it."""
    asked = call.interaction
    location = (("Location", f"{site.base}/{asked.type}/{asked.id}"),) if status == 201 else ()
    response, masked = Response(status, b"", location), False
    entry = _returned(heard, asked) or (yield from fetch(call))
    if entry is not None:
        (verdict,), _ = yield from judged(call, site, [entry], "read")
        shown = show(site, entry, verdict, View())
        if shown is not None:
            headers, masked = headers_for(entry, shown), shown.masked
            body = b"" if "return=minimal" in call.headers.get("prefer", "") else shown.raw
            response = Response(status, body, (*(headers if body else headers[1:]), *location))
    seen = Outcome.PARTIAL if masked else Outcome.SUCCESS
    return Result(response, seen, ruling, written_as.patients, written_as.obligations, {"stage": "done"})


def _returned(heard: Heard, asked: Interaction) -> Entry | None:
    try:
        return as_entry(heard.body, asked.type, asked.id)
    except PeerError:
        return None  # it returned nothing, or an outcome: then the resource is read


def _new_id(heard: Heard, type: str) -> str:
    """The id the server chose, from its Location or its body. Raises PeerError."""
    parts = heard.location.partition("/_history/")[0].split("/")
    if len(parts) >= 2 and parts[-2] == type and is_id(parts[-1]):
        return parts[-1]
    try:
        resource, _ = document.read(heard.body)
    except document.Malformed:
        resource = None
    id = resource.get("id") if resource_type(resource) == type else None
    if not isinstance(id, str) or not is_id(id):
        raise PeerError("the FHIR server does not say what it created")
    return id


def _version(stored: Entry) -> str:
    """INVARIANT: a write is tied to the version that was judged; a server without versions cannot be written to."""
    version = version_of(stored.resource.get("meta"))
    if not version:
        raise PeerError("the FHIR server has no versions, so that a write could overtake its decision")
    return version


def _conflict(heard: Heard) -> Refused | None:
    if heard.status in (404, 410):
        return Refused(404, "not-found", "no such resource")
    if heard.status in (409, 412):
        return Refused(412, "conflict", "the resource was changed meanwhile", hint="read it again")
    return None


def _rejected() -> Refused:
    """INVARIANT: why the server refuses may quote what it holds, so its words stay here."""
    return Refused(422, "processing", "the FHIR server does not accept this resource")

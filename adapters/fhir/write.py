"""create, update and delete (FHIR R4 http.html, 3.1.0.4 to 3.1.0.8): decided on what is stored and on what would be.

What is written was fetched, judged before and after, and goes out with If-Match
on the version that was judged. It is recorded before it is done and again when
it is done. One who may not read a resource cannot change or delete it either:
its absence and its invisibility are one answer. A PUT never creates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
from msgspec import Raw

from adapters.fhir import document
from adapters.fhir.bundle import Entry, resource_type
from adapters.fhir.interaction import Interaction, Verb, body_form, is_id
from adapters.fhir.mask import Unmaskable, bites, written
from adapters.fhir.outcome import Refused, Response
from adapters.fhir.patients import local_reference
from adapters.fhir.peer import Heard
from adapters.fhir.restore import restored
from adapters.fhir.retrieve import completed, headers_for, unseen, version_of
from adapters.fhir.rows import Verdict
from adapters.fhir.search import View
from adapters.fhir.steps import (
    Call,
    Denied,
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
    mask_of,
    permitted,
    show,
)
from spir.errors import PeerError
from spir.exchange import Commit, Record, Ruling
from spir.record.event import Outcome

__all__ = ["create", "delete", "update"]

MAX_REFERENCES = 32  # new ones in one body, each of which is looked at
_ASSIGNED = ("versionId", "lastUpdated")  # the server's to say
_FREE = ("profile", "source")  # the client's to say


def create(call: Call, site: Site) -> Steps[Result]:
    """A new resource, with an id of the server's choice; what is masked for its author cannot be in it."""
    row = site.row(call)
    yield from permitted(call, "create", row)
    given = _body(call)
    parts = document.members(given.raw)
    parts.pop("id", None)
    _put_meta(parts, given.resource.get("meta"), {})
    entry = _entry(document.join(parts))
    (verdict,), rulings = yield from judged(call, site, [entry], "create")
    (readable,), _ = yield from judged(call, site, [entry], "read")
    ruling = completed(rulings, verdict)
    if not verdict.admitted or verdict.where:
        raise _forbidden(ruling, "this resource is not yours to create")
    _refuse_masked(site, entry.resource, ruling, verdict, readable)
    yield from _visible_references(call, site, ruling, entry.resource, frozenset())
    _check(site, row.fhir, entry.raw)
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
    given = _body(call)
    if given.resource.get("id") != call.interaction.id:
        raise Refused(400, "invalid", "the body's id is not that of the URL")
    stored, readable, ruling, before = yield from _stored(call, site, rulings)
    if stored is None:
        return unseen(rulings, "absent or not admitted")
    after = _after(site, given, stored, ruling, before, readable)
    (verdict,), _ = yield from judged(call, site, [after], "update")
    own = len(given.resource.get("contained") or ())
    foreign = any(place < own for place in _places(verdict))
    if not verdict.admitted or foreign:
        raise _forbidden(ruling, "this resource is not yours to change in this way")
    _refuse_masked(site, given.resource, ruling, verdict)
    yield from _visible_references(call, site, ruling, after.resource, _references(stored.resource))
    _check(site, row.fhir, after.raw)
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
    stored, _, ruling, verdict = yield from _stored(call, site, rulings)
    if stored is None:
        return unseen(rulings, "absent or not admitted")
    yield from _intend(call, ruling, verdict)
    heard = yield from ask("DELETE", f"{row.fhir}/{call.interaction.id}", if_match=_version(stored))
    _changed(call, site)
    if heard.status not in (200, 202, 204):
        raise _conflict(heard) or _rejected()
    done = {"stage": "done"}
    return Result(Response(204), Outcome.SUCCESS, ruling, verdict.patients, verdict.obligations, done)


def _stored(call: Call, site: Site, rulings: Rulings) -> Steps[tuple[Any, Any, Any, Any]]:
    """(entry, verdict on reading, ruling, verdict on this verb); (None, ...) if it cannot be seen.

    Raises Denied (403) if it may be read but not changed, Refused (412) if the
    caller's If-Match names another version.
    """
    nothing = (None, None, None, None)
    stored = yield from fetch(call)
    if stored is None:
        return nothing
    (readable,), _ = yield from judged(call, site, [stored], "read")
    if show(site, stored, readable, View()) is None:
        return nothing
    (verdict,), rulings = yield from judged(call, site, [stored], call.interaction.verb.operation)
    ruling = completed(rulings, verdict)
    if not verdict.admitted:
        raise _forbidden(ruling, "this resource is not yours to change")
    wanted = call.headers.get("if-match")
    if wanted is not None and wanted.strip().removeprefix("W/").strip('"') != _version(stored):
        raise Refused(412, "conflict", "the resource has another version now", hint="read it again")
    return stored, readable, ruling, verdict


def _after(site: Site, given: Entry, stored: Entry, ruling: Ruling, before: Verdict, readable: Verdict) -> Entry:
    """What the resource would be: the caller's body, with everything put back that is hidden from the caller."""
    both = replace(readable, paths=readable.paths | before.paths)
    _refuse_masked(site, given.resource, ruling, both)
    try:
        where = hidden(site, stored, both)
    except Unmaskable:
        raise _forbidden(ruling, "this write cannot be masked as the policy demands") from None
    parts = document.members(restored(stored.raw, where, given.raw))
    _put_meta(parts, given.resource.get("meta"), stored.resource.get("meta") or {})
    return _entry(document.join(parts))


def _body(call: Call) -> Entry:
    """The body as a resource of the URL's type. Raises Refused (400, 415, 422)."""
    body_form(call.headers, form=False)
    try:
        resource, _ = document.read(call.body)
    except document.Malformed as error:
        raise Refused(400, "structure", error.message) from None
    if document.depth(resource) > document.MAX_DEPTH:
        raise Refused(400, "structure", "the body is nested too deeply")
    if resource_type(resource) != call.interaction.type:
        raise Refused(400, "structure", "the body is no resource of the URL's type")
    if not isinstance(resource.get("contained", []), list) or not isinstance(resource.get("meta", {}), dict):
        raise Refused(400, "structure", "`contained` is a list and `meta` an object")
    return Entry(call.body, resource)


def _entry(raw: bytes) -> Entry:
    """A body that we have put together ourselves."""
    resource = orjson.loads(raw)
    if document.depth(resource) > document.MAX_DEPTH:
        raise PeerError("the FHIR server's resource is nested too deeply")
    return Entry(raw, resource)


def _places(verdict: Verdict) -> tuple[int, ...]:
    """The contained resources that are not admitted, by their place."""
    inner = (verdict.where or {}).get("contained")
    return tuple(inner) if isinstance(inner, dict) else ()


def _put_meta(parts: dict[str, Raw], given: Any, stored: Any) -> None:
    """Set `meta`: labels and tags as stored, profile and source as given. Raises Refused (403) if labels change."""
    asked = given or {}
    for name, value in asked.items():
        if name not in (*_ASSIGNED, *_FREE) and value != stored.get(name):
            raise Refused(403, "security", f"`meta.{name}` cannot be changed here", hint="leave it as it was read")
    kept = {name: value for name, value in stored.items() if name not in (*_ASSIGNED, *(_FREE if given else ()))}
    kept.update((name, asked[name]) for name in _FREE if name in asked)
    parts.pop("meta", None)
    if kept:
        parts["meta"] = Raw(orjson.dumps(kept))


def _refuse_masked(site: Site, resource: Any, ruling: Ruling, *verdicts: Verdict) -> None:
    """Raises Denied (403) if the body holds an element that is masked for the caller, whatever its value."""
    try:
        mask = mask_of(site, frozenset[str]().union(*(verdict.paths for verdict in verdicts)))
        masked = bool(mask) and bites(written(mask, resource))
    except (Unmaskable, document.Malformed):
        masked = True
    if masked:
        raise Denied(ruling, 403, "security", "the body holds an element that is masked for you", "leave it out")


def _visible_references(call: Call, site: Site, ruling: Ruling, resource: Any, known: frozenset[str]) -> Steps[None]:
    """Raises Denied (403) for a reference to what the caller may not see, alike whether it is there or not.

    The resource's own patients have been judged with it, and a directory holds no patient's data.
    """
    own = site.reading.parts(resource)[0].patients.logical
    fresh = sorted(_references(resource) - known)
    if len(fresh) > MAX_REFERENCES:
        raise Refused(400, "too-costly", "too many new references", hint=f"at most {MAX_REFERENCES}")
    for text in fresh:
        target = _local(text, site)
        if target is None or target == (call.interaction.type, call.interaction.id):
            continue
        if target[0] == "Patient" and target[1] in own:
            continue
        row = site.reading.tables.types.get(target[0])
        if row is None:
            raise _forbidden(ruling, "the body refers to a type that is not served")
        if not row.directory and not (yield from _seen(call, site, target)):
            raise _forbidden(ruling, "the body refers to what is not there, or not for you")


def _seen(call: Call, site: Site, target: tuple[str, str]) -> Steps[bool]:
    other = replace(call, interaction=Interaction(Verb.READ, *target), requests={})
    entry = yield from fetch(other)
    if entry is None:
        return False
    (verdict,), _ = yield from judged(other, site, [entry], "read")
    return bool(verdict.admitted)


def _references(resource: Any) -> frozenset[str]:
    return frozenset(text for text in _texts(resource) if not text.startswith("#"))


def _texts(node: Any) -> Iterator[str]:
    """Every literal reference, at any depth (bodies are bounded in depth before)."""
    if isinstance(node, list):
        for item in node:
            yield from _texts(item)
    elif isinstance(node, dict):
        for name, value in node.items():
            if name == "reference" and isinstance(value, str):
                yield value
            elif isinstance(value, (dict, list)):
                yield from _texts(value)


def _local(text: str, site: Site) -> tuple[str, str] | None:
    """(type, id) of a relative reference; None for one that leads elsewhere. Raises Refused (400) for any other."""
    if "?" in text:
        raise Refused(400, "not-supported", "conditional references are not supported")
    if text.startswith((f"{site.base}/", f"{site.reading.base}/")):
        raise Refused(400, "invalid", "a reference to this server is written as Type/id")
    if ":" in text:
        return None
    local = local_reference(text, site.reading.base)
    if local is None:
        raise Refused(400, "invalid", "a reference is none to this server or elsewhere", hint="write Type/id")
    return local


def _check(site: Site, type: str, raw: bytes) -> None:
    wrong = site.check(type, raw) if site.check is not None else None
    if wrong is not None:
        raise Refused(422, "invariant", f"the body is no valid resource of R4: {wrong}")


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


def _forbidden(ruling: Ruling, message: str) -> Denied:
    return Denied(ruling, 403, "forbidden", message)

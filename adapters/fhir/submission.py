"""What a client wants to be written, before anything is: is it a resource, is it the client's to say?

Refused here, whatever the stored data: bodies that two readers could read
differently, elements that are masked for their author, changes of labels,
match URLs, and references to what the author may not see.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
from msgspec import Raw

from adapters.fhir import document
from adapters.fhir.bundle import Entry, resource_type
from adapters.fhir.interaction import Interaction, Verb, body_form
from adapters.fhir.mask import Unmaskable, bites, written
from adapters.fhir.outcome import Refused
from adapters.fhir.patients import local_reference
from adapters.fhir.rows import Verdict
from adapters.fhir.steps import Call, Denied, Site, Steps, fetch, judged, mask_of
from spir.errors import PeerError
from spir.exchange import Ruling

__all__ = [
    "check_valid",
    "composed",
    "forbidden",
    "put_meta",
    "read_body",
    "references",
    "refuse_invisible",
    "refuse_masked",
]

MAX_REFERENCES = 32  # new ones in one body, each of which is looked at
_ASSIGNED = ("versionId", "lastUpdated")  # the server's to say
_FREE = ("profile", "source")  # the client's to say


def read_body(call: Call) -> Entry:
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


def composed(raw: bytes) -> Entry:
    """A body that we have put together ourselves."""
    resource = orjson.loads(raw)
    if document.depth(resource) > document.MAX_DEPTH:
        raise PeerError("the FHIR server's resource is nested too deeply")
    return Entry(raw, resource)


def put_meta(parts: dict[str, Raw], given: Any, stored: Any) -> None:
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


def refuse_masked(site: Site, resource: Any, ruling: Ruling, *verdicts: Verdict) -> None:
    """Raises Denied (403) if the body holds an element that is masked for the caller, whatever its value."""
    try:
        mask = mask_of(site, frozenset[str]().union(*(verdict.paths for verdict in verdicts)))
        masked = bool(mask) and bites(written(mask, resource))
    except (Unmaskable, document.Malformed):
        masked = True
    if masked:
        text = "the body holds an element that is masked for you"
        raise Denied(ruling, 403, "security", text, "leave it out", verdicts)


def refuse_invisible(
    call: Call, site: Site, ruling: Ruling, resource: Any, known: frozenset[str], verdict: Verdict
) -> Steps[None]:
    """Raises Denied (403) for a reference to what the caller may not see, alike whether it is there or not.

    The resource's own patients have been judged with it, and a directory holds no patient's data.
    """
    own = site.reading.parts(resource)[0].patients.logical
    fresh = sorted(references(resource) - known)
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
            raise forbidden(ruling, "the body refers to a type that is not served", verdict)
        if not row.directory and not (yield from _seen(call, site, target)):
            raise forbidden(ruling, "the body refers to what is not there, or not for you", verdict)


def _seen(call: Call, site: Site, target: tuple[str, str]) -> Steps[bool]:
    other = replace(call, interaction=Interaction(Verb.READ, *target), requests={})
    entry = yield from fetch(other)
    if entry is None:
        return False
    (verdict,), _ = yield from judged(other, site, [entry], "read")
    return bool(verdict.admitted)


def references(resource: Any) -> frozenset[str]:
    """Every literal reference that leads out of the resource."""
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


def check_valid(site: Site, type: str, raw: bytes) -> None:
    """Raises Refused (422) if the site has bodies checked and this one is not good."""
    wrong = site.check(type, raw) if site.check is not None else None
    if wrong is not None:
        raise Refused(422, "invariant", f"the body is no valid resource of R4: {wrong}")


def forbidden(ruling: Ruling, message: str, *verdicts: Verdict) -> Denied:
    """403, because of a decision; `verdicts` say whom it was about."""
    return Denied(ruling, 403, "forbidden", message, verdicts=verdicts)

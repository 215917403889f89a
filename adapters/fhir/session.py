"""One request, from what was read to what is answered: a generator of `spir.exchange` words.

read - decide - narrow - ask - admit - mask - record - answer. Whether a type
may be used at all is answered with 403 before the upstream is asked; whether a
resource may be seen is never told apart from whether it is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from adapters.fhir.browse import search
from adapters.fhir.document import Malformed
from adapters.fhir.interaction import Verb, format_wanted
from adapters.fhir.outcome import Refused, Response, outcome, refusal
from adapters.fhir.retrieve import read, vread
from adapters.fhir.steps import Call, Denied, Result, Site, Steps, audit_event
from adapters.fhir.write import create, delete, update
from spir.errors import PeerError, SpirError, Unavailable
from spir.exchange import Answer, Commit, Notify, Record, Session, notification
from spir.model.decision import Decision
from spir.record.event import AuditEvent, EventKind, Outcome

__all__ = ["refuse", "serve"]

POLICY_VERSION = "X-Policy-Version"


def serve(call: Call, site: Site) -> Session:
    """Answer one authenticated request. Ends with exactly one `Answer`, after its audit record is durable."""
    try:
        result = yield from _interaction(call, site)
    except Refused as error:
        result = _refused(error)
    except (PeerError, Unavailable, Malformed) as error:
        result = _failed(error)
    event = audit_event(call, result)
    notices = [Notify(notification(item, _notice(call, result))) for item in _to_tell(result)]
    try:
        yield Commit(Record(event), *notices)
    except SpirError:
        # INVARIANT: what cannot be recorded is not released.
        yield Answer(outcome(503, "transient", "the audit trail cannot be written"))
        return
    yield Answer(_final(call, result))


def refuse(subject: str, now: datetime, operation: str, response: Response, detail: Mapping[str, Any]) -> Session:
    """Answer a request that is refused before anything of it is decided: unreadable, or nobody's."""
    known = Outcome.REFUSED if response.status < 500 else Outcome.ERROR
    event = AuditEvent(now, EventKind.REFUSAL, "fhir", operation, subject, known, detail=detail)
    try:
        yield Commit(Record(event))
    except SpirError:
        yield Answer(outcome(503, "transient", "the audit trail cannot be written"))
        return
    yield Answer(response)


def _interaction(call: Call, site: Site) -> Steps[Result]:
    format_wanted(call.headers, call.interaction.query)
    match call.interaction.verb:
        case Verb.READ:
            return (yield from read(call, site))
        case Verb.VREAD:
            return (yield from vread(call, site))
        case Verb.SEARCH:
            return (yield from search(call, site))
        case Verb.CREATE:
            return (yield from create(call, site))
        case Verb.UPDATE:
            return (yield from update(call, site))
        case Verb.DELETE:
            return (yield from delete(call, site))


def _refused(error: Refused) -> Result:
    detail = {"refused": error.code}
    if isinstance(error, Denied):
        return Result(refusal(error), Outcome.REFUSED, error.ruling, error.patients, detail=detail)
    return Result(refusal(error), Outcome.REFUSED, detail=detail)


def _failed(error: SpirError) -> Result:
    """The upstream's or our own failure: nothing of what went wrong goes out."""
    status = 502 if isinstance(error, PeerError) else 503
    response = outcome(status, "transient", "the request could not be carried out; nothing is known of its result")
    return Result(response, Outcome.ERROR, detail={"error": type(error).__name__})


def _to_tell(result: Result) -> list[Any]:
    """Notify and trigger obligations of what was released, each once."""
    if result.outcome not in (Outcome.SUCCESS, Outcome.PARTIAL):
        return []
    return [item for item in dict.fromkeys(result.obligations) if item.type in ("notify", "trigger")]


def _notice(call: Call, result: Result) -> dict[str, Any]:
    asked = call.interaction
    return {
        "operation": result.ruling.request.operation if result.ruling else asked.verb.value,
        "subject": call.subject.id,
        "resource": f"{asked.type}/{asked.id}" if asked.id else asked.type,
        "patients": list(result.patients),
        "time": call.now.isoformat(),
    }


def _final(call: Call, result: Result) -> Response:
    """With the policy version, and without anything that a HEAD does not carry (the shell drops its body)."""
    decision: Decision | None = result.ruling.decision if result.ruling else None
    if decision is None or not decision.bundle:
        return result.response
    return replace(result.response, headers=(*result.response.headers, (POLICY_VERSION, decision.bundle)))

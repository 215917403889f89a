"""read and vread (FHIR R4 http.html, 3.1.0.2 and 3.1.0.3).

An older version is shown only to one who may see both it and the current one:
what was open then and is labelled now stays closed, and the other way round.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from typing import Any

import orjson

from adapters.fhir.bundle import Entry
from adapters.fhir.interaction import is_id
from adapters.fhir.outcome import JSON, NOT_FOUND, Response
from adapters.fhir.rows import Verdict
from adapters.fhir.search import View, read_view
from adapters.fhir.steps import Call, Result, Rulings, Shown, Site, Steps, about, fetch, judged, permitted, show
from spir.exchange import Ruling
from spir.record.event import Outcome

__all__ = ["completed", "headers_for", "read", "unseen", "version_of", "vread"]


def read(call: Call, site: Site) -> Steps[Result]:
    """The current version, if it may be seen."""
    row = site.row(call)
    view = read_view(row, call.interaction.query)
    rulings: Rulings = yield from permitted(call, "read", row)
    entry = yield from fetch(call)
    if entry is None:
        return unseen(rulings, "absent")
    verdicts, rulings = yield from judged(call, site, [entry], "read")
    return _answered(call, site, entry, verdicts[0], rulings, view)


def vread(call: Call, site: Site) -> Steps[Result]:
    """One version, if both it and the current one may be seen; it is masked as both are."""
    row = site.row(call)
    view = read_view(row, call.interaction.query)
    rulings: Rulings = yield from permitted(call, "read", row)
    current = yield from fetch(call)
    asked = yield from fetch(call, call.interaction.version)
    if current is None or asked is None:
        found = [entry for entry in (current, asked) if entry is not None]
        verdicts, rulings = yield from judged(call, site, found, "read")
        return unseen(rulings, "absent", *verdicts)
    (now, then), rulings = yield from judged(call, site, [current, asked], "read")
    both = replace(
        then,
        admitted=now.admitted and then.admitted,
        obligations=tuple(dict.fromkeys((*now.obligations, *then.obligations))),
        paths=now.paths | then.paths,
        patients=about((now, then)),
        asked=now.asked or then.asked,
    )
    return _answered(call, site, asked, both, rulings, view)


def unseen(rulings: Rulings, why: str, *verdicts: Verdict) -> Result:
    """The one 404; only the audit trail says why, and about whom: who is looked for in vain is found there."""
    asked = next((verdict.asked for verdict in verdicts if verdict.asked is not None), None)
    ruling = next(iter(rulings.values()))
    if asked is not None:
        ruling = next((one for one in rulings.values() if one.request.resource.type == asked.resource.type), ruling)
    return Result(NOT_FOUND, Outcome.REFUSED, ruling, about(verdicts), detail={"unseen": why}, asked=asked)


def completed(rulings: Rulings, verdict: Verdict) -> Ruling:
    """The ruling that the audit trail shows for a resource: the first that let it pass."""
    return next((ruling for ruling in rulings.values() if not ruling.decision.denied), next(iter(rulings.values())))


def headers_for(entry: Entry, shown: Shown) -> tuple[tuple[str, str], ...]:
    """Content type, ETag and Last-Modified of a resource that is shown; the last two only if `meta` still is."""
    found = [("Content-Type", JSON)]
    meta = orjson.loads(shown.raw).get("meta") if shown.masked else entry.resource.get("meta")
    version = version_of(meta)
    if version:
        found.append(("ETag", f'W/"{version}"'))
    changed = meta.get("lastUpdated") if isinstance(meta, dict) else None
    moment = _http_date(changed) if isinstance(changed, str) else ""
    if moment:
        found.append(("Last-Modified", moment))
    return tuple(found)


def version_of(meta: Any) -> str:
    """`meta.versionId`; "" if there is none that could go into a header."""
    version = meta.get("versionId") if isinstance(meta, dict) else None
    return version if isinstance(version, str) and is_id(version) else ""


def _answered(call: Call, site: Site, entry: Entry, verdict: Verdict, rulings: Rulings, view: View) -> Result:
    shown = show(site, entry, verdict, view)
    if shown is None:
        return unseen(rulings, "not admitted" if not verdict.admitted else "not presentable", verdict)
    headers = headers_for(entry, shown)
    fresh = _unchanged(call, dict(headers))
    response = Response(304, b"", headers[1:]) if fresh else Response(200, shown.raw, headers)
    return Result(
        response,
        Outcome.PARTIAL if shown.masked else Outcome.SUCCESS,
        completed(rulings, verdict),
        verdict.patients,
        verdict.obligations,
        {"masked": int(shown.masked)},
    )


def _unchanged(call: Call, headers: dict[str, str]) -> bool:
    """Whether the caller has it already (RFC 9110, 13.1.2 and 13.1.3). Asked only of what may be seen."""
    tags = call.headers.get("if-none-match")
    if tags is not None:
        tag = headers.get("ETag", "").removeprefix("W/")
        return bool(tag) and (
            tags.strip() == "*" or tag in [item.strip().removeprefix("W/") for item in tags.split(",")]
        )
    since, changed = call.headers.get("if-modified-since"), headers.get("Last-Modified")
    if since is None or changed is None:
        return False
    try:
        return parsedate_to_datetime(changed) <= parsedate_to_datetime(since).astimezone(UTC)
    except (ValueError, TypeError):
        return False


@lru_cache(maxsize=1024)
def _http_date(text: str) -> str:
    """An instant as a header says it; "" for what is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return ""
    return format_datetime(moment.astimezone(UTC), usegmt=True) if moment.tzinfo is not None else ""

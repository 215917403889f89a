"""Read a FHIR interaction from a request line and its headers, strictly (FHIR R4 http.html).

Everything that is not read, vread, search, create, update or delete of a known
type is refused here, by name, before anybody decides anything. The path is
taken as it came over the wire: an escape, a dot segment or a double slash in
it is refused, not repaired, because two servers may repair it differently.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote_to_bytes

from adapters.fhir.outcome import Refused

__all__ = [
    "MAX_PARAMETERS",
    "Interaction",
    "Pairs",
    "Verb",
    "body_form",
    "format_wanted",
    "headers_of",
    "is_id",
    "pairs",
    "read",
]

Pairs = tuple[tuple[str, str], ...]

MAX_PARAMETERS = 64
MAX_QUERY = 16_384  # bytes, of a URL or of a form

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_JSON_TYPES = frozenset(("application/fhir+json", "application/json", "text/json", "json"))
_RANGES = frozenset(("*/*", "application/*"))

# Headers that would make another request of this one, in some server or other.
_OVERRIDES = ("x-http-method-override", "x-http-method", "x-method-override")
# Headers that must not come twice: two readers could follow different ones.
_SINGLE = frozenset(
    (
        "authorization",
        "content-type",
        "content-length",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-exist",
        "if-none-match",
    )
)


class Verb(Enum):
    """The interactions, by their code in the value set type-restful-interaction."""

    READ = "read"
    VREAD = "vread"
    SEARCH = "search-type"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"

    @property
    def operation(self) -> str:
        """The verb of our operation codes."""
        return {"vread": "read", "search-type": "search"}.get(self.value, self.value)


@dataclass(frozen=True, slots=True)
class Interaction:
    """One interaction with one type. `head`: answer without the body. `query`: decoded, in order."""

    verb: Verb
    type: str
    id: str = ""
    version: str = ""
    head: bool = False
    query: Pairs = ()


def read(method: str, raw_path: bytes, query: bytes, types: Collection[str], form: bytes = b"") -> Interaction:
    """The interaction of this request line; `form` is the body of a POST _search. Raises Refused."""
    segments = _segments(raw_path)
    asked = pairs(query) + pairs(form)
    if len(asked) > MAX_PARAMETERS:
        raise Refused(400, "too-costly", "too many parameters", hint=f"at most {MAX_PARAMETERS} are read")
    verb, name, id, version = _route(method, segments)
    if name not in types:
        raise Refused(404, "not-supported", "this resource type is not served", hint="see /metadata")
    if verb is not Verb.SEARCH and verb not in (Verb.READ, Verb.VREAD):
        _refuse_conditional(asked)
    return Interaction(verb, name, id, version, head=method == "HEAD", query=asked)


def is_id(text: str) -> bool:
    """Whether `text` is a logical id (FHIR R4 datatypes, id) that no server takes for a dot segment."""
    return bool(_ID.fullmatch(text)) and text not in (".", "..")


def pairs(query: bytes) -> Pairs:
    """Names and values of a query or form, decoded once. Only `&` separates; `;` does not. Raises Refused."""
    if not query:
        return ()
    if len(query) > MAX_QUERY:
        raise Refused(414, "too-long", "the query is too long", hint=f"at most {MAX_QUERY} bytes are read")
    return tuple(_pair(part) for part in query.split(b"&") if part)


def headers_of(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name. Raises Refused for one that must not be there, or not twice."""
    found: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1").lower()
        if key in found and key in _SINGLE:
            raise Refused(400, "invalid", f"the header `{key}` is there twice")
        text = value.decode("latin-1").strip()
        found[key] = f"{found[key]}, {text}" if key in found else text
    if any(name in found for name in _OVERRIDES):
        raise Refused(400, "not-supported", "the method cannot be overridden by a header")
    if "if-none-exist" in found:
        raise Refused(400, "not-supported", "conditional create is not supported")
    return found


def format_wanted(headers: Mapping[str, str], query: Pairs) -> None:
    """JSON is all there is: raises Refused (406) if the caller takes nothing but something else."""
    chosen = [value for name, value in query if name == "_format"]
    if chosen:
        if len(chosen) > 1 or _media(chosen[0]) not in _JSON_TYPES or not _version_fits(chosen[0]):
            raise Refused(406, "not-supported", "only JSON of FHIR 4.0 is served", hint="use application/fhir+json")
        return
    offers = [offer for offer in headers.get("accept", "*/*").split(",") if offer.strip()]
    if not any(_acceptable(offer) for offer in offers or ["*/*"]):
        raise Refused(406, "not-supported", "only JSON of FHIR 4.0 is served", hint="accept application/fhir+json")


def body_form(headers: Mapping[str, str], form: bool) -> None:
    """Raises Refused (415) unless the body is JSON, or a form where a form is due; both in UTF-8."""
    given = headers.get("content-type", "")
    media = _media(given)
    fits = media == "application/x-www-form-urlencoded" if form else media in _JSON_TYPES - {"json"}
    charset = re.search(r'charset\s*=\s*"?([^";\s]+)', given, re.IGNORECASE)
    if not fits or not _version_fits(given) or (charset and charset[1].lower() != "utf-8"):
        wanted = "application/x-www-form-urlencoded" if form else "application/fhir+json"
        raise Refused(415, "not-supported", "this content type is not read", hint=f"send {wanted} in UTF-8")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "not-supported", "compressed bodies are not read")


def _segments(raw_path: bytes) -> list[str]:
    try:
        text = raw_path.decode("ascii")
    except UnicodeDecodeError:
        raise Refused(400, "invalid", "the path is not ASCII") from None
    if "%" in text or "\\" in text or ";" in text:
        raise Refused(400, "invalid", "the path holds an escape or a parameter", hint="ids need none")
    segments = text.removeprefix("/").split("/") if text not in ("", "/") else []
    if any(segment in ("", ".", "..") for segment in segments):
        raise Refused(400, "invalid", "the path has an empty or dotted segment")
    return segments


def _route(method: str, segments: list[str]) -> tuple[Verb, str, str, str]:
    """The verb, the type, the id and the version, the last two as far as there are any."""
    if any(segment.startswith("$") for segment in segments):
        raise Refused(404, "not-supported", "operations are not supported")
    if method == "HEAD":
        method = "GET"
    match (method, segments):
        case ("GET", [name]):
            return Verb.SEARCH, name, "", ""
        case ("POST", [name, "_search"]):
            return Verb.SEARCH, name, "", ""
        case ("POST", [name]) if not name.startswith("_"):
            return Verb.CREATE, name, "", ""
        case ("GET", [name, id]) if is_id(id):
            return Verb.READ, name, id, ""
        case ("GET", [name, id, "_history", version]) if is_id(id) and is_id(version):
            return Verb.VREAD, name, id, version
        case ("PUT", [name, id]) if is_id(id):
            return Verb.UPDATE, name, id, ""
        case ("DELETE", [name, id]) if is_id(id):
            return Verb.DELETE, name, id, ""
    raise _unsupported(method, segments)


def _unsupported(method: str, segments: list[str]) -> Refused:
    """Why there is no such route, as far as the request line alone tells."""
    if method not in ("GET", "POST", "PUT", "DELETE"):
        hint = "PATCH and other methods are not supported"
        return Refused(405, "not-supported", hint, headers=(("Allow", "GET, HEAD, POST, PUT, DELETE"),))
    if not segments:
        return Refused(404, "not-supported", "batch, transaction and search across types are not supported")
    if "_history" in segments:
        return Refused(404, "not-supported", "history is not supported")
    if method in ("PUT", "DELETE") and len(segments) == 1:
        return Refused(405, "not-supported", "conditional update and delete are not supported")
    if len(segments) > 2:
        return Refused(404, "not-supported", "compartments are not supported", hint="search the type with `patient`")
    return Refused(400, "invalid", "this is not the URL of an interaction", hint="see /metadata")


def _refuse_conditional(asked: Pairs) -> None:
    for name, _ in asked:
        if name not in ("_format", "_pretty"):
            raise Refused(400, "not-supported", "a write takes no search parameters")


def _pair(part: bytes) -> tuple[str, str]:
    name, equals, value = part.partition(b"=")
    if not equals or not name:
        raise Refused(400, "invalid", "a parameter has no name or no value")
    return _decoded(name), _decoded(value)


def _decoded(raw: bytes) -> str:
    if _ESCAPE.search(raw):
        raise Refused(400, "invalid", "a parameter is badly escaped")
    try:
        text = unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(400, "invalid", "a parameter is not UTF-8") from None
    if _CONTROL.search(text):
        raise Refused(400, "invalid", "a parameter holds a control character")
    return text


def _media(text: str) -> str:
    return text.partition(";")[0].strip().lower().replace(" ", "+")


def _version_fits(text: str) -> bool:
    """No fhirVersion, or 4.0 (FHIR R4 http.html, FHIR version parameter)."""
    asked = re.search(r'fhirversion\s*=\s*"?([^";,\s]+)', text, re.IGNORECASE)
    return asked is None or asked[1] in ("4.0", "4.0.1")


def _acceptable(offer: str) -> bool:
    quality = re.search(r";\s*q\s*=\s*([0-9.]+)", offer)
    if quality and not quality[1].strip("0."):
        return False
    return (_media(offer) in _JSON_TYPES or _media(offer) in _RANGES) and _version_fits(offer)

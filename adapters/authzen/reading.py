"""Read what callers send: evaluations, batches, searches and plans, from JSON or msgpack. Pure.

Anything may arrive here. What is no request becomes a RequestError that says
where, and never what was sent; unknown members are ignored, as AuthZEN asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from spir.errors import RequestError
from spir.model.request import EMPTY, Action, Entity, Request
from spir.model.value import MAX_DEPTH, Value, freeze

__all__ = [
    "JSON",
    "MAX_BATCH",
    "MSGPACK",
    "Batch",
    "Codec",
    "Greeting",
    "Search",
    "batch",
    "evaluation",
    "frame",
    "nothing",
    "plan",
    "search",
    "spelled",
]

MAX_BATCH = 1000
MAX_DEFERRED = 64

NOTHING: frozenset[str] = frozenset()
_PLAIN = frozenset((str, int, float, bool, type(None)))

Name = Annotated[str, Meta(min_length=1)]
Properties = dict[str, Any]
Paths = Annotated[list[str], Meta(max_length=MAX_DEFERRED)]
Semantic = Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"]
T = TypeVar("T")


# -- what may arrive ---------------------------------------------------------------------------


class _Party(Struct):
    """A subject or a resource. A resource that has no id of its own has the id ""."""

    type: Name
    id: str
    properties: Properties = {}


class _Action(Struct):
    name: Name
    properties: Properties = {}


class _Evaluation(Struct):
    subject: _Party
    action: _Action
    resource: _Party
    context: Properties = {}
    deferred: Paths = []


class _Frame(_Evaluation):
    """An evaluation, unless it says otherwise: quick to read, for most frames are evaluations."""

    evaluations: msgspec.Raw = msgspec.Raw()
    bearer: str = ""


class _Options(Struct, frozen=True):
    evaluations_semantic: Semantic = "execute_all"


class _Batch(Struct):
    """Defaults, which items may complete; or, without items, an evaluation."""

    subject: Properties | UnsetType = UNSET
    action: Properties | UnsetType = UNSET
    resource: Properties | UnsetType = UNSET
    context: Properties | UnsetType = UNSET
    deferred: Paths | UnsetType = UNSET
    evaluations: Annotated[list[Any], Meta(max_length=MAX_BATCH)] = []
    options: _Options = _Options()
    bearer: str = ""


class _Typed(Struct):
    """What is searched for: its id, if there is one, is ignored."""

    type: Name
    properties: Properties = {}


class _Page(Struct, frozen=True):
    token: str = ""
    limit: Annotated[int, Meta(ge=1)] | None = None


class _SubjectSearch(Struct):
    subject: _Typed
    action: _Action
    resource: _Party
    context: Properties = {}
    page: _Page = _Page()


class _ResourceSearch(Struct):
    subject: _Party
    action: _Action
    resource: _Typed
    context: Properties = {}
    page: _Page = _Page()


class _ActionSearch(Struct):
    subject: _Party
    resource: _Party
    context: Properties = {}
    page: _Page = _Page()


class _Planned(Struct):
    """A resource of a plan need not have an id; `unknown` is another name of `deferred`."""

    subject: _Party
    action: _Action
    resource: Properties
    context: Properties = {}
    deferred: Paths = []
    unknown: Paths = []


class _Nothing(Struct):
    """An object."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How one endpoint's bodies are written. `tag` keeps their digests apart."""

    tag: bytes
    name: str
    decoder: Callable[[type[Any]], Any]
    encode: Callable[[Any], bytes]


JSON = Codec(b"j", "JSON", msgspec.json.Decoder, msgspec.json.Encoder().encode)
MSGPACK = Codec(b"m", "msgpack", msgspec.msgpack.Decoder, msgspec.msgpack.Encoder().encode)

_DECODERS: dict[tuple[bytes, type[Any]], Any] = {
    (codec.tag, kind): codec.decoder(kind) for codec in (JSON, MSGPACK) for kind in (_Evaluation, _Batch)
} | {
    (JSON.tag, kind): JSON.decoder(kind)
    for kind in (_SubjectSearch, _ResourceSearch, _ActionSearch, _Planned, _Nothing)
}
_FRAME = MSGPACK.decoder(_Frame)


# -- what it is --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """Several requests: `items` are what each of them says, with the defaults filled in, not read yet."""

    items: tuple[Any, ...]
    semantic: str

    def read(self, item: Any) -> Request:
        """Raises RequestError: the error of this item alone."""
        return _request(_converted(item, _Evaluation))


@dataclass(frozen=True, slots=True)
class Greeting:
    """Who speaks on this connection from now on."""

    bearer: str


@dataclass(frozen=True, slots=True)
class Search:
    """`wanted`: subject, resource or action. `limit` None: ours. `asked` binds page tokens to this very search."""

    wanted: Literal["subject", "resource", "action"]
    subject: Entity
    action: Action
    resource: Entity
    context: Mapping[str, Value]
    token: str
    limit: int | None
    asked: bytes


def evaluation(body: bytes) -> Request:
    """An evaluation in JSON. Raises RequestError."""
    return _request(_decoded(JSON, _Evaluation, body))


def batch(body: bytes) -> Request | Batch:
    """Several evaluations in JSON; or one, where there are no items. Raises RequestError."""
    return _several(_decoded(JSON, _Batch, body))


def frame(body: bytes) -> Greeting | Request | Batch:
    """A msgpack map: an access token, one evaluation or several. Raises RequestError."""
    try:
        found: _Frame | None = _FRAME.decode(body)
    except (ValueError, RecursionError):
        found = None  # a greeting, defaults that are not whole, or an error that comes again below
    if found is not None and not found.evaluations and not found.bearer:
        return _request(found)
    loose: _Batch = _decoded(MSGPACK, _Batch, body)
    return Greeting(loose.bearer) if loose.bearer else _several(loose)


def search(wanted: Literal["subject", "resource", "action"], body: bytes) -> Search:
    """Raises RequestError."""
    kind = {"subject": _SubjectSearch, "resource": _ResourceSearch, "action": _ActionSearch}[wanted]
    found: Any = _decoded(JSON, kind, body)
    asked = spelled(JSON, [wanted, *(getattr(found, name) for name in found.__struct_fields__ if name != "page")])
    subject = _typed(found.subject) if wanted == "subject" else _subject(found.subject)
    resource = found.resource
    resource = Entity(resource.type, "" if wanted == "resource" else resource.id, _properties(resource.properties))
    action = Action(found.action.name, _properties(found.action.properties)) if wanted != "action" else Action("")
    page: _Page = found.page
    return Search(wanted, subject, action, resource, _properties(found.context), page.token, page.limit, asked)


def plan(body: bytes) -> Request:
    """A request some of which is not known yet; all of the resource, if it does not say what. Raises RequestError."""
    found: _Planned = _decoded(JSON, _Planned, body)
    resource = _converted({"id": "", **found.resource}, _Party)
    paths = [*found.deferred, *found.unknown] or ["resource"]
    return _request(_Evaluation(found.subject, found.action, resource, found.context, paths))


def nothing(body: bytes) -> None:
    """An object, none of whose members means anything. Raises RequestError."""
    _decoded(JSON, _Nothing, body)


def spelled(codec: Codec, data: Any) -> bytes:
    """What a decoder read, written again: the same for the same data. Raises RequestError for what is too deep."""
    try:
        return codec.encode(data)
    except RecursionError as error:
        raise _unreadable(error, codec.name) from error


# -- inner -------------------------------------------------------------------------------------


def _decoded(codec: Codec, kind: type[Any], body: bytes) -> Any:
    try:
        return _DECODERS[codec.tag, kind].decode(body)
    except (ValueError, RecursionError) as error:
        raise _unreadable(error, codec.name) from error


def _converted(data: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(data, kind)
    except (ValueError, RecursionError) as error:
        raise _unreadable(error, "a request") from error


def _unreadable(error: Exception, form: str) -> RequestError:
    """What a decoder raised, in our words. Its validation errors name places and types, not what stands there."""
    if isinstance(error, msgspec.ValidationError):
        text = str(error)
        return RequestError(f"this is no request: {text[:1].lower()}{text[1:]}")
    if isinstance(error, RecursionError):
        return RequestError("the body is nested too deeply")
    return RequestError(f"the body is not {form}")


def _several(found: _Batch) -> Request | Batch:
    defaults = {
        name: value
        for name in ("subject", "action", "resource", "context", "deferred")
        if (value := getattr(found, name)) is not UNSET
    }
    if not found.evaluations:
        return _request(_converted(defaults, _Evaluation))
    items = tuple(_completed(defaults, item) for item in found.evaluations)
    return Batch(items, found.options.evaluations_semantic)


def _completed(defaults: Mapping[str, Any], item: Any) -> Any:
    """An item with what it lacks taken from the defaults: whole entities, and the required members of an entity."""
    if not isinstance(item, dict):
        return item
    whole = {**defaults, **item}
    for name in ("subject", "action", "resource"):
        given, default = item.get(name), defaults.get(name)
        if isinstance(given, dict) and default:
            required = {key: default[key] for key in ("type", "id", "name") if key in default}
            whole[name] = {**required, **given}
    return whole


def _request(found: _Evaluation) -> Request:
    subject, action, resource = found.subject, found.action, found.resource
    return Request(
        _subject(subject),
        Action(action.name, _properties(action.properties)),
        Entity(resource.type, resource.id, _properties(resource.properties)),
        _properties(found.context),
        frozenset(found.deferred) if found.deferred else NOTHING,
    )


def _subject(given: _Party) -> Entity:
    if not given.id:
        raise RequestError("`subject.id` must be text that is not empty")
    return Entity(given.type, given.id, _properties(given.properties))


def _typed(given: _Typed) -> Entity:
    return Entity(given.type, "", _properties(given.properties))


def _properties(given: Properties) -> Mapping[str, Value]:
    """A decoder's own map, which nobody else holds: only what lies inside it is to be copied."""
    if not given:
        return EMPTY
    for name, item in given.items():
        if type(item) not in _PLAIN:
            given[name] = freeze(item, MAX_DEPTH - 1)
    return MappingProxyType(given)

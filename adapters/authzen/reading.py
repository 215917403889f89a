"""Read what callers send: evaluations, batches, searches and plans, from JSON or msgpack. Pure.

Anything may arrive here. What is no request becomes a RequestError that says
where, and never what was sent; unknown members are ignored, as AuthZEN asks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
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

# What has something inside; a msgpack extension is for `freeze` to refuse.
_DEEP = frozenset((dict, list, msgspec.msgpack.Ext))

Name = Annotated[str, Meta(min_length=1)]
Properties = dict[str, Any]
Paths = Annotated[list[str], Meta(max_length=MAX_DEFERRED)]
Semantic = Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"]
T = TypeVar("T")


# -- what may arrive ---------------------------------------------------------------------------


class _Struct(Struct, omit_defaults=True):
    """What is not said is not written either: so what was written twice can be told (`_checked`)."""


class _Party(_Struct):
    """A subject or a resource. A resource that has no id of its own has the id ""."""

    type: Name
    id: str
    properties: Properties = {}


class _Action(_Struct):
    name: Name
    properties: Properties = {}


class _Evaluation(_Struct):
    subject: _Party
    action: _Action
    resource: _Party
    context: Properties = {}
    deferred: Paths = []


class _Frame(_Evaluation):
    """An evaluation, unless it says otherwise: quick to read, for most frames are evaluations."""

    evaluations: msgspec.Raw = msgspec.Raw()
    bearer: str = ""


class _Options(Struct, frozen=True, omit_defaults=True):
    evaluations_semantic: Semantic = "execute_all"


class _PartParty(_Struct):
    """A subject or a resource, of which another one may give what is not said."""

    type: Name | UnsetType = UNSET
    id: str | UnsetType = UNSET
    properties: Properties = {}


class _PartAction(_Struct):
    name: Name | UnsetType = UNSET
    properties: Properties = {}


class _Item(_Struct):
    """An evaluation of a batch: the defaults give what it does not say."""

    subject: _PartParty | UnsetType = UNSET
    action: _PartAction | UnsetType = UNSET
    resource: _PartParty | UnsetType = UNSET
    context: Properties | UnsetType = UNSET
    deferred: Paths | UnsetType = UNSET


class _Batch(_Item):
    """Defaults, which items may complete; or, without items, an evaluation. Items are read one by one."""

    evaluations: Annotated[list[msgspec.Raw], Meta(max_length=MAX_BATCH)] = []
    options: _Options = _Options()
    bearer: str = ""


class _Typed(_Struct):
    """What is searched for: its id, if there is one, is ignored."""

    type: Name
    properties: Properties = {}


class _Page(Struct, frozen=True, omit_defaults=True):
    token: str = ""
    limit: Annotated[int, Meta(ge=1)] | None = None


class _SubjectSearch(_Struct):
    subject: _Typed
    action: _Action
    resource: _Party
    context: Properties = {}
    page: _Page = _Page()


class _ResourceSearch(_Struct):
    subject: _Party
    action: _Action
    resource: _Typed
    context: Properties = {}
    page: _Page = _Page()


class _ActionSearch(_Struct):
    subject: _Party
    resource: _Party
    context: Properties = {}
    page: _Page = _Page()


class _PlanResource(_Struct):
    type: Name
    id: str = ""
    properties: Properties = {}


class _Planned(_Struct):
    """A resource of a plan need not have an id; `unknown` is another name of `deferred`."""

    subject: _Party
    action: _Action
    resource: _PlanResource
    context: Properties = {}
    deferred: Paths = []
    unknown: Paths = []


class _Nothing(_Struct):
    """An object."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How one endpoint's bodies are written. `tag` keeps their digests apart."""

    tag: bytes
    name: str
    decoder: Callable[[type[Any]], Any]
    encode: Callable[[Any], bytes]

    def several(self, answers: Sequence[bytes]) -> bytes:
        """The answer to a batch, of answers that are written already."""
        if self.tag == b"j":
            return b'{"evaluations":[%b]}' % b",".join(answers)
        return b"\x81\xabevaluations\xdd%b%b" % (len(answers).to_bytes(4, "big"), b"".join(answers))


JSON = Codec(b"j", "JSON", msgspec.json.Decoder, msgspec.json.Encoder().encode)
MSGPACK = Codec(b"m", "msgpack", msgspec.msgpack.Decoder, msgspec.msgpack.Encoder().encode)

_DECODE: dict[tuple[bytes, type[Any]], Callable[[bytes], Any]] = {
    (codec.tag, kind): codec.decoder(kind).decode for codec in (JSON, MSGPACK) for kind in (_Evaluation, _Batch, _Item)
} | {
    (JSON.tag, kind): JSON.decoder(kind).decode
    for kind in (_SubjectSearch, _ResourceSearch, _ActionSearch, _Planned, _Nothing)
}
_FRAME = MSGPACK.decoder(_Frame)


# -- what it is --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Defaults:
    """What items of a batch take where they say nothing; with an entity of their own its required members only.

    Entities and their properties are made once for all items; None where a default is not whole.
    """

    parts: _Item
    subject: Entity | None
    action: Action | None
    resource: Entity | None
    context: Mapping[str, Value]
    deferred: frozenset[str]

    @classmethod
    def of(cls, parts: _Item) -> Defaults:
        return cls(
            parts,
            _whole(lambda: _subject(_party(parts.subject, UNSET))),
            _whole(lambda: _action(parts.action, UNSET)),
            _whole(lambda: _party(parts.resource, UNSET)),
            EMPTY if parts.context is UNSET else _properties(parts.context),
            NOTHING if parts.deferred is UNSET else frozenset(parts.deferred),
        )

    def completed(self, item: _Item) -> Request:
        """Raises RequestError for an item that is not whole even so."""
        subject, action, resource, parts = self.subject, self.action, self.resource, self.parts
        if subject is None or item.subject is not UNSET:
            subject = _subject(_party(item.subject, parts.subject))
        if action is None or item.action is not UNSET:
            action = _action(item.action, parts.action)
        if resource is None or item.resource is not UNSET:
            resource = _party(item.resource, parts.resource)
        context = self.context if item.context is UNSET else _properties(item.context)
        return Request(
            subject, action, resource, context, self.deferred if item.deferred is UNSET else frozenset(item.deferred)
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Several requests: `items` as they came, not read yet. `asked` tells these defaults from others."""

    items: tuple[bytes, ...]
    semantic: str
    defaults: Defaults
    asked: bytes
    codec: Codec

    def read(self, item: bytes) -> Request:
        """Raises RequestError: the error of this item alone."""
        found: _Item = _decoded(self.codec, _Item, item)
        return self.defaults.completed(found)


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
    return _several(_decoded(JSON, _Batch, body), JSON)


def frame(body: bytes) -> Greeting | Request | Batch:
    """A msgpack map: an access token, one evaluation or several. Raises RequestError."""
    try:
        found: _Frame | None = _FRAME.decode(body)
    except (ValueError, RecursionError):
        found = None  # a greeting, defaults that are not whole, or an error that comes again below
    if found is not None and not found.evaluations and not found.bearer:
        return _request(found)
    loose: _Batch = _decoded(MSGPACK, _Batch, body)
    return Greeting(loose.bearer) if loose.bearer else _several(loose, MSGPACK)


def search(wanted: Literal["subject", "resource", "action"], body: bytes) -> Search:
    """Raises RequestError."""
    kind = {"subject": _SubjectSearch, "resource": _ResourceSearch, "action": _ActionSearch}[wanted]
    found: Any = _decoded(JSON, kind, body)
    asked = spelled(JSON, [wanted, *(getattr(found, name) for name in found.__struct_fields__ if name != "page")])
    given = found.subject
    if wanted == "subject":
        subject = _typed(given)
    else:
        subject = _subject(Entity(given.type, given.id, _properties(given.properties)))
    resource = found.resource
    resource = Entity(resource.type, "" if wanted == "resource" else resource.id, _properties(resource.properties))
    action = Action(found.action.name, _properties(found.action.properties)) if wanted != "action" else Action("")
    page: _Page = found.page
    return Search(wanted, subject, action, resource, _properties(found.context), page.token, page.limit, asked)


def plan(body: bytes) -> Request:
    """A request some of which is not known yet; all of the resource, if it does not say what. Raises RequestError."""
    found: _Planned = _decoded(JSON, _Planned, body)
    resource = _Party(found.resource.type, found.resource.id, found.resource.properties)
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
        found = _DECODE[codec.tag, kind](body)
    except (ValueError, RecursionError) as error:
        raise _unreadable(error, codec.name) from error
    if codec is JSON:
        _check_single(body, found)
    return found


def _check_single(body: bytes, found: Any) -> None:
    """Raises RequestError where a member stands twice: whoever reads it elsewhere might take the other one.

    Written anew, what was read has a colon for each of its members and those inside of texts; a body has more of them
    only if it has more members, unless a text has one escaped (U+003A). Such bodies are looked through.
    """
    if b"\\u003" in body or body.count(b":") != JSON.encode(found).count(b":"):
        try:
            json.loads(body, object_pairs_hook=_single)
        except (ValueError, RecursionError) as error:
            raise _unreadable(error, JSON.name) from error


def _single(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) != len({name for name, _ in pairs}):
        raise RequestError("a member stands there twice")


def _unreadable(error: Exception, form: str) -> RequestError:
    """What a decoder raised, in our words. Its validation errors name places and types, not what stands there."""
    if isinstance(error, msgspec.ValidationError):
        text = str(error)
        return RequestError(f"this is no request: {text[:1].lower()}{text[1:]}")
    if isinstance(error, RecursionError):
        return RequestError("the body is nested too deeply")
    return RequestError(f"the body is not {form}")


def _several(found: _Batch, codec: Codec) -> Request | Batch:
    said = spelled(codec, _Item(found.subject, found.action, found.resource, found.context, found.deferred))
    defaults = Defaults.of(found)
    if not found.evaluations:
        return defaults.completed(_Item())
    return Batch(tuple(map(bytes, found.evaluations)), found.options.evaluations_semantic, defaults, said, codec)


def _whole(make: Callable[[], T]) -> T | None:
    try:
        return make()
    except RequestError:
        return None


def _party(given: _PartParty | UnsetType, default: _PartParty | UnsetType) -> Entity:
    """The item's own, or the default if it has none. Raises RequestError for one that is not whole."""
    if given is UNSET:
        given = default
    if given is UNSET:
        raise _lacking("`subject` and `resource`")
    kind, id = given.type, given.id
    if kind is UNSET and default is not UNSET:
        kind = default.type
    if id is UNSET and default is not UNSET:
        id = default.id
    if kind is UNSET or id is UNSET:
        raise _lacking("`type` and `id`")
    return Entity(kind, id, _properties(given.properties))


def _action(given: _PartAction | UnsetType, default: _PartAction | UnsetType) -> Action:
    """The same for actions."""
    if given is UNSET:
        given = default
    if given is UNSET:
        raise _lacking("`action`")
    name = given.name
    if name is UNSET and default is not UNSET:
        name = default.name
    if name is UNSET:
        raise _lacking("`action.name`")
    return Action(name, _properties(given.properties))


def _lacking(what: str) -> RequestError:
    return RequestError(f"this is no request: it lacks {what}")


def _request(found: _Evaluation) -> Request:
    subject, action, resource = found.subject, found.action, found.resource
    return Request(
        _subject(Entity(subject.type, subject.id, _properties(subject.properties))),
        Action(action.name, _properties(action.properties)),
        Entity(resource.type, resource.id, _properties(resource.properties)),
        _properties(found.context),
        frozenset(found.deferred) if found.deferred else NOTHING,
    )


def _subject(given: Entity) -> Entity:
    if not given.id:
        raise RequestError("`subject.id` must be text that is not empty")
    return given


def _typed(given: _Typed) -> Entity:
    return Entity(given.type, "", _properties(given.properties))


def _properties(given: Properties) -> Mapping[str, Value]:
    """A decoder's own map, which nobody else holds: it is not copied, but what lies inside is made immutable."""
    if not given:
        return EMPTY
    for name, item in given.items():
        if item.__class__ in _DEEP:
            given[name] = _inside(item, MAX_DEPTH - 1)
    return MappingProxyType(given)


def _inside(item: Any, depth: int) -> Value:
    """`freeze`, for what a decoder made. Raises RequestError."""
    if item.__class__ is dict and depth > 0:
        for name, inner in item.items():
            if inner.__class__ in _DEEP:
                item[name] = _inside(inner, depth - 1)
            if name.__class__ is not str:
                raise RequestError("keys of a map must be text")
        return MappingProxyType(item)
    if item.__class__ is list and depth > 0:
        return tuple([_inside(inner, depth - 1) if inner.__class__ in _DEEP else inner for inner in item])
    return freeze(item, depth)

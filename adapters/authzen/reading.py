"""Read what callers send: evaluations, batches, searches and plans, from JSON or msgpack. Pure.

Anything may arrive here. What is no request becomes a RequestError that says
where, and never what was sent; unknown members are ignored, as AuthZEN asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from adapters.authzen import forms
from adapters.authzen.codec import (
    JSON,
    MSGPACK,
    Codec,
    decoded,
    framed_evaluation,
    plain_batch,
    plain_evaluation,
    spelled,
)
from spir.errors import RequestError
from spir.model.request import EMPTY, Action, Entity, Request
from spir.model.value import Value

__all__ = [
    "Batch",
    "Greeting",
    "Search",
    "batch",
    "evaluation",
    "frame",
    "nothing",
    "plan",
    "search",
]

NOTHING: frozenset[str] = frozenset()

T = TypeVar("T")


# -- what it is --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Defaults:
    """What items of a batch take where they say nothing; with an entity of their own its required members only.

    Entities and their properties are made once for all items; None where a default is not whole.
    """

    parts: forms.Item[Any]
    subject: Entity | None
    action: Action | None
    resource: Entity | None
    context: Mapping[str, Value]
    deferred: frozenset[str]

    @classmethod
    def of(cls, parts: forms.Item[Any]) -> Defaults:
        return cls(
            parts,
            _whole(lambda: _subject(_party(parts.subject, UNSET))),
            _whole(lambda: _action(parts.action, UNSET)),
            _whole(lambda: _party(parts.resource, UNSET)),
            EMPTY if parts.context is UNSET else MappingProxyType(parts.context),
            NOTHING if parts.deferred is UNSET else frozenset(parts.deferred),
        )

    def completed(self, item: forms.Item[Any]) -> Request:
        """Raises RequestError for an item that is not whole even so."""
        subject, action, resource, parts = self.subject, self.action, self.resource, self.parts
        if subject is None or item.subject is not UNSET:
            subject = _subject(_party(item.subject, parts.subject))
        if action is None or item.action is not UNSET:
            action = _action(item.action, parts.action)
        if resource is None or item.resource is not UNSET:
            resource = _party(item.resource, parts.resource)
        context = self.context if item.context is UNSET else MappingProxyType(item.context)
        return Request(
            subject, action, resource, context, self.deferred if item.deferred is UNSET else frozenset(item.deferred)
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Several requests: items that have been read already, or as they came."""

    items: Sequence[forms.Item[Any] | bytes]
    semantic: str
    defaults: Defaults
    codec: Codec

    def read(self, item: forms.Item[Any] | bytes) -> Request:
        """Raises RequestError: the error of this item alone."""
        found = decoded(self.codec, forms.Item, item) if isinstance(item, bytes) else item
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
    return _request(plain_evaluation(body) or decoded(JSON, forms.Evaluation, body))


def batch(body: bytes) -> Request | Batch:
    """Several evaluations in JSON; or one, where there are no items. Raises RequestError."""
    return _several(JSON, body)


def frame(body: bytes) -> Greeting | Request | Batch:
    """A msgpack map: an access token, one evaluation or several. Raises RequestError."""
    found = framed_evaluation(body)
    if found is not None:
        return _request(found)
    loose: forms.Several = decoded(MSGPACK, forms.Several, body)
    return Greeting(loose.bearer) if loose.bearer else _several(MSGPACK, body)


def search(wanted: Literal["subject", "resource", "action"], body: bytes) -> Search:
    """Raises RequestError."""
    kind = {"subject": forms.SubjectSearch, "resource": forms.ResourceSearch, "action": forms.ActionSearch}[wanted]
    found: Any = decoded(JSON, kind, body)
    asked = spelled(JSON, [wanted, *(getattr(found, name) for name in found.__struct_fields__ if name != "page")])
    given = found.subject
    if wanted == "subject":
        subject = _typed(given)
    else:
        subject = _subject(Entity(given.type, given.id, MappingProxyType(given.properties)))
    resource = found.resource
    resource = Entity(resource.type, "" if wanted == "resource" else resource.id, MappingProxyType(resource.properties))
    action = Action(found.action.name, MappingProxyType(found.action.properties)) if wanted != "action" else Action("")
    page: forms.Page = found.page
    return Search(wanted, subject, action, resource, MappingProxyType(found.context), page.token, page.limit, asked)


def plan(body: bytes) -> Request:
    """A request some of which is not known yet; all of the resource, if it does not say what. Raises RequestError."""
    found: forms.Planned = decoded(JSON, forms.Planned, body)
    resource = forms.Party(found.resource.type, found.resource.id, found.resource.properties)
    paths = [*found.deferred, *found.unknown] or ["resource"]
    given = forms.Evaluation[forms.Loose](found.subject, found.action, resource, found.context, paths)
    return _request(given)


def nothing(body: bytes) -> None:
    """An object, none of whose members means anything. Raises RequestError."""
    decoded(JSON, forms.Nothing, body)


# -- inner -------------------------------------------------------------------------------------


def _several(codec: Codec, body: bytes) -> Request | Batch:
    found: forms.Whole | forms.Several | None = plain_batch(codec, body)
    if found is None:
        found = decoded(codec, forms.Several, body)
    defaults = Defaults.of(found)
    if not found.evaluations:
        return defaults.completed(forms.Item())
    items = [bytes(item) if isinstance(item, msgspec.Raw) else item for item in found.evaluations]
    return Batch(items, found.options.evaluations_semantic, defaults, codec)


def _whole(make: Callable[[], T]) -> T | None:
    try:
        return make()
    except RequestError:
        return None


def _party(given: forms.PartParty[Any] | UnsetType, default: forms.PartParty[Any] | UnsetType) -> Entity:
    """The item's own, or the default if it has none. Raises RequestError for one that is not whole."""
    if given is UNSET:
        given = default
    if given is UNSET:
        raise _lacking("`subject` and `resource`")
    kind, id = given.type, given.id
    if kind is UNSET or id is UNSET:
        if default is not UNSET:
            kind = default.type if kind is UNSET else kind
            id = default.id if id is UNSET else id
        if kind is UNSET or id is UNSET:
            raise _lacking("`type` and `id`")
    return Entity(kind, id, MappingProxyType(given.properties))


def _action(given: forms.PartAction[Any] | UnsetType, default: forms.PartAction[Any] | UnsetType) -> Action:
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
    return Action(name, MappingProxyType(given.properties))


def _lacking(what: str) -> RequestError:
    return RequestError(f"this is no request: it lacks {what}")


def _request(found: forms.Evaluation[Any]) -> Request:
    """The maps are the decoder's own: nobody else holds them, and what lies inside is immutable already."""
    subject, action, resource = found.subject, found.action, found.resource
    if not subject.id:
        raise _nobody()
    return Request(
        Entity(subject.type, subject.id, MappingProxyType(subject.properties)),
        Action(action.name, MappingProxyType(action.properties)),
        Entity(resource.type, resource.id, MappingProxyType(resource.properties)),
        MappingProxyType(found.context),
        frozenset(found.deferred) if found.deferred else NOTHING,
    )


def _subject(given: Entity) -> Entity:
    if not given.id:
        raise _nobody()
    return given


def _nobody() -> RequestError:
    return RequestError("`subject.id` must be text that is not empty")


def _typed(given: forms.Typed) -> Entity:
    return Entity(given.type, "", MappingProxyType(given.properties))

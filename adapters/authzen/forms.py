"""The forms of what callers send, as decoders check them: AuthZEN 1.0, and what is ours beside it. Pure.

Properties are `Plain` where a decoder can make immutable values of them by
itself, which is nearly always; else they are `Loose`: anything at all.
"""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

__all__ = [
    "MAX_BATCH",
    "ActionSearch",
    "Evaluation",
    "Frame",
    "Item",
    "Loose",
    "Nothing",
    "PartAction",
    "PartParty",
    "Party",
    "Plain",
    "Planned",
    "ResourceSearch",
    "Several",
    "SubjectSearch",
    "Typed",
    "Whole",
]

MAX_BATCH = 1000
MAX_DEFERRED = 64

Name = Annotated[str, Meta(min_length=1)]
Loose: TypeAlias = dict[str, Any]
Scalar: TypeAlias = str | int | float | bool | None
Flat: TypeAlias = Scalar | tuple[Scalar, ...]
Plain: TypeAlias = dict[str, Flat | dict[str, Flat]]
P = TypeVar("P")  # Plain or Loose
NONE: Any = {}  # each form gets a map of its own
Paths = Annotated[list[str], Meta(max_length=MAX_DEFERRED)]
Semantic = Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"]


class Form(Struct, omit_defaults=True):
    """What is not said is not written either: so what was written twice can be told (`codec.decoded`)."""


class Party(Form, Generic[P]):
    """A subject or a resource. A resource that has no id of its own has the id ""."""

    type: Name
    id: str
    properties: P = NONE


class Act(Form, Generic[P]):
    name: Name
    properties: P = NONE


class Evaluation(Form, Generic[P]):
    subject: Party[P]
    action: Act[P]
    resource: Party[P]
    context: P = NONE
    deferred: Paths = []


class Frame(Evaluation[P], Generic[P]):
    """An evaluation, unless it says otherwise: quick to read, for most frames are evaluations."""

    evaluations: msgspec.Raw = msgspec.Raw()
    bearer: str = ""


class Options(Struct, frozen=True, omit_defaults=True):
    evaluations_semantic: Semantic = "execute_all"


class PartParty(Form, Generic[P]):
    """A subject or a resource, of which another one may give what is not said."""

    type: Name | UnsetType = UNSET
    id: str | UnsetType = UNSET
    properties: P = NONE


class PartAction(Form, Generic[P]):
    name: Name | UnsetType = UNSET
    properties: P = NONE


class Item(Form, Generic[P]):
    """An evaluation of a batch: the defaults give what it does not say."""

    subject: PartParty[P] | UnsetType = UNSET
    action: PartAction[P] | UnsetType = UNSET
    resource: PartParty[P] | UnsetType = UNSET
    context: P | UnsetType = UNSET
    deferred: Paths | UnsetType = UNSET


class Several(Item[Loose]):
    """Defaults, which items may complete; or, without items, an evaluation. Items are read one by one."""

    evaluations: Annotated[list[msgspec.Raw], Meta(max_length=MAX_BATCH)] = []
    options: Options = Options()
    bearer: str = ""


class Whole(Item[Plain]):
    """Several, everything about which is plain."""

    evaluations: Annotated[list[Item[Plain]], Meta(max_length=MAX_BATCH)] = []
    options: Options = Options()
    bearer: str = ""


class Typed(Form):
    """What is searched for: its id, if there is one, is ignored."""

    type: Name
    properties: Loose = {}


class Page(Struct, frozen=True, omit_defaults=True):
    token: str = ""
    limit: Annotated[int, Meta(ge=1)] | None = None


class SubjectSearch(Form):
    subject: Typed
    action: Act[Loose]
    resource: Party[Loose]
    context: Loose = {}
    page: Page = Page()


class ResourceSearch(Form):
    subject: Party[Loose]
    action: Act[Loose]
    resource: Typed
    context: Loose = {}
    page: Page = Page()


class ActionSearch(Form):
    subject: Party[Loose]
    resource: Party[Loose]
    context: Loose = {}
    page: Page = Page()


class PlanResource(Form):
    type: Name
    id: str = ""
    properties: Loose = {}


class Planned(Form):
    """A resource of a plan need not have an id; `unknown` is another name of `deferred`."""

    subject: Party[Loose]
    action: Act[Loose]
    resource: PlanResource
    context: Loose = {}
    deferred: Paths = []
    unknown: Paths = []


class Nothing(Form):
    """An object."""

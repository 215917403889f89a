"""The forms of what callers send, as decoders check them: AuthZEN 1.0, and what is ours beside it. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

__all__ = [
    "MAX_BATCH",
    "ActionSearch",
    "Evaluation",
    "Frame",
    "Item",
    "Nothing",
    "PartAction",
    "PartParty",
    "Party",
    "Planned",
    "Properties",
    "ResourceSearch",
    "Several",
    "SubjectSearch",
    "Typed",
]

MAX_BATCH = 1000
MAX_DEFERRED = 64

Name = Annotated[str, Meta(min_length=1)]
Properties = dict[str, Any]
Paths = Annotated[list[str], Meta(max_length=MAX_DEFERRED)]
Semantic = Literal["execute_all", "deny_on_first_deny", "permit_on_first_permit"]


class Form(Struct, omit_defaults=True):
    """What is not said is not written either: so what was written twice can be told (`codec.decoded`)."""


class Party(Form):
    """A subject or a resource. A resource that has no id of its own has the id ""."""

    type: Name
    id: str
    properties: Properties = {}


class Act(Form):
    name: Name
    properties: Properties = {}


class Evaluation(Form):
    subject: Party
    action: Act
    resource: Party
    context: Properties = {}
    deferred: Paths = []


class Frame(Evaluation):
    """An evaluation, unless it says otherwise: quick to read, for most frames are evaluations."""

    evaluations: msgspec.Raw = msgspec.Raw()
    bearer: str = ""


class Options(Struct, frozen=True, omit_defaults=True):
    evaluations_semantic: Semantic = "execute_all"


class PartParty(Form):
    """A subject or a resource, of which another one may give what is not said."""

    type: Name | UnsetType = UNSET
    id: str | UnsetType = UNSET
    properties: Properties = {}


class PartAction(Form):
    name: Name | UnsetType = UNSET
    properties: Properties = {}


class Item(Form):
    """An evaluation of a batch: the defaults give what it does not say."""

    subject: PartParty | UnsetType = UNSET
    action: PartAction | UnsetType = UNSET
    resource: PartParty | UnsetType = UNSET
    context: Properties | UnsetType = UNSET
    deferred: Paths | UnsetType = UNSET


class Several(Item):
    """Defaults, which items may complete; or, without items, an evaluation. Items are read one by one."""

    evaluations: Annotated[list[msgspec.Raw], Meta(max_length=MAX_BATCH)] = []
    options: Options = Options()
    bearer: str = ""


class Typed(Form):
    """What is searched for: its id, if there is one, is ignored."""

    type: Name
    properties: Properties = {}


class Page(Struct, frozen=True, omit_defaults=True):
    token: str = ""
    limit: Annotated[int, Meta(ge=1)] | None = None


class SubjectSearch(Form):
    subject: Typed
    action: Act
    resource: Party
    context: Properties = {}
    page: Page = Page()


class ResourceSearch(Form):
    subject: Party
    action: Act
    resource: Typed
    context: Properties = {}
    page: Page = Page()


class ActionSearch(Form):
    subject: Party
    resource: Party
    context: Properties = {}
    page: Page = Page()


class PlanResource(Form):
    type: Name
    id: str = ""
    properties: Properties = {}


class Planned(Form):
    """A resource of a plan need not have an id; `unknown` is another name of `deferred`."""

    subject: Party
    action: Act
    resource: PlanResource
    context: Properties = {}
    deferred: Paths = []
    unknown: Paths = []


class Nothing(Form):
    """An object."""

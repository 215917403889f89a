"""Policies: what a document says after it has been read and checked.

Layers are ordered: national above provincial above institution. A lower layer
may only tighten (see `spir.engine.formula` for the exact meaning).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum

from spir.errors import Location, RequestError
from spir.model.condition import TRUE, Condition
from spir.model.obligation import Obligation

__all__ = [
    "Emergency",
    "Kind",
    "Layer",
    "OnMissing",
    "OperationPattern",
    "Origin",
    "Policy",
    "PolicySet",
    "Validity",
    "lies_under",
]


class Layer(IntEnum):
    """Smaller is higher: `Layer.NATIONAL < Layer.INSTITUTION`."""

    NATIONAL = 0
    PROVINCIAL = 1
    INSTITUTION = 2

    __hash__ = int.__hash__  # an enum asks for its name first

    @property
    def label(self) -> str:
        return self.name.lower()


class Kind(Enum):
    """A policy's effect, as documents spell it."""

    PERMIT = "permit"
    DENY = "deny"
    REQUIRE = "require"
    DELEGATE = "delegate"
    OBLIGE = "oblige"

    __hash__ = object.__hash__  # there is one of each; an enum asks for its name first


class OnMissing(Enum):
    """What an unknown condition means in a deny, a require or an oblige."""

    DENY = "deny"  # it denies (an oblige applies): the safe side
    IGNORE = "ignore"

    __hash__ = object.__hash__


class Emergency(Enum):
    NEVER = "never"
    OVERRIDABLE = "overridable"


@dataclass(frozen=True, slots=True)
class OperationPattern:
    """`verb:type[:category]`; `*` in a place matches anything.

    `search:imaging` and `search:imaging:*` mean the same: every category, and none.
    """

    verb: str
    type: str
    category: str = "*"

    @classmethod
    def parse(cls, text: str) -> OperationPattern:
        """Raises RequestError for anything but two or three non-empty parts."""
        parts = text.split(":")
        if len(parts) not in (2, 3) or not all(parts):
            raise RequestError(f"`{text}` is not an operation pattern", hint="write verb:type[:category]")
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.verb}:{self.type}:{self.category}"


@dataclass(frozen=True, slots=True)
class Validity:
    """In force from `start` (inclusive) to `end` (exclusive); None is open."""

    start: datetime | None = None
    end: datetime | None = None

    def holds(self, at: datetime) -> bool:
        return (self.start is None or self.start <= at) and (self.end is None or at < self.end)

    def next_change(self, at: datetime) -> datetime | None:
        """The first moment after `at` at which `holds` may answer otherwise."""
        later = [edge for edge in (self.start, self.end) if edge is not None and edge > at]
        return min(later, default=None)


ALWAYS = Validity()


@dataclass(frozen=True, slots=True)
class Origin:
    """The template that a policy was made from."""

    template: str
    version: str

    def __str__(self) -> str:
        return f"{self.template} {self.version}"


@dataclass(frozen=True, slots=True)
class Policy:
    """One rule. `location` is where it was written, `origin` the template it came from: no part of its meaning."""

    id: str
    kind: Kind
    operations: tuple[OperationPattern, ...]
    when: Condition = TRUE
    obligations: tuple[Obligation, ...] = ()
    valid: Validity = ALWAYS
    emergency: Emergency = Emergency.NEVER
    on_missing: OnMissing = OnMissing.DENY
    description: str = ""
    location: Location | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class PolicySet:
    """The policies of one document. It applies to requests whose organisation lies under `jurisdiction`."""

    name: str
    layer: Layer
    jurisdiction: str
    version: str
    policies: tuple[Policy, ...]
    location: Location | None = None


def lies_under(path: str, jurisdiction: str) -> bool:
    """`cn/zj/hospital-a` lies under `cn/zj` and under itself; everything lies under the empty path."""
    return not jurisdiction or path == jurisdiction or path.startswith(f"{jurisdiction}/")

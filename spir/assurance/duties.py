"""Obligations taken apart into single duties, so that two sets of them can be compared by what they demand.

Joining makes one obligation of several (`spir.model.obligation.joined`). Whether
a joined obligation demands a thing can be said of each part alone: a path is
masked if some mask names it, a limit holds if some limit is as small. So what is
demanded differs exactly if the parts that demand some one duty differ. Names of
obligations demand nothing: a policy that is only renamed changes nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from spir.language.document import canonical
from spir.model.obligation import PROFILES, Incomparable, Obligation, joined
from spir.model.value import thaw

__all__ = ["Duty", "Other", "clash", "demanded", "duties_of", "meets"]


@dataclass(frozen=True, slots=True)
class Masked:
    path: str

    def __str__(self) -> str:
        return f"mask {self.path}"


@dataclass(frozen=True, slots=True)
class AtMost:
    """At most `value` of `what`: met by every limit as small."""

    what: str
    value: float

    def __str__(self) -> str:
        return f"limit {self.what} to {self.value:g}"


@dataclass(frozen=True, slots=True)
class Deidentified:
    """By the profile of this place in PROFILES, or a stronger one."""

    rank: int

    def __str__(self) -> str:
        return f"de-identify by `{PROFILES[self.rank]}`"


@dataclass(frozen=True, slots=True)
class Other:
    """What has no order: exactly this. `properties` is canonical JSON."""

    type: str
    properties: str

    def __str__(self) -> str:
        return f"{self.type} {self.properties}"


Duty: TypeAlias = Masked | AtMost | Deidentified | Other


def duties_of(obligation: Obligation) -> frozenset[Duty]:
    """The duties that it names itself. It may meet weaker ones, too."""
    properties: Any = obligation.properties
    match obligation.type:
        case "mask" if isinstance(properties.get("paths"), tuple):
            return frozenset(Masked(str(path)) for path in properties["paths"])
        case "limit" if all(_is_number(value) for value in properties.values()):
            return frozenset(AtMost(key, value) for key, value in properties.items())
        case "deidentify" if properties.get("profile") in PROFILES:
            return frozenset((Deidentified(PROFILES.index(properties["profile"])),))
        case _:
            return frozenset((Other(obligation.type, canonical(thaw(properties))),))


def meets(obligation: Obligation, duty: Duty) -> bool:
    """Whether who carries the obligation out has done the duty."""
    return any(_covers(own, duty) for own in duties_of(obligation))


def demanded(obligations: Iterable[Obligation]) -> frozenset[Duty]:
    """What these demand together, said in one way only: equal sets are equal demands. Raises Incomparable."""
    return frozenset(duty for obligation in joined(obligations) for duty in duties_of(obligation))


def clash(one: Obligation, other: Obligation) -> bool:
    """Whether the two cannot be joined, so that a request that owes both is denied.

    Any number of obligations can be joined if and only if every two of them can.
    """
    try:
        joined((one, other))
    except Incomparable:
        return True
    return False


def _covers(own: Duty, duty: Duty) -> bool:
    match own, duty:
        case AtMost(key, value), AtMost(asked, most):
            return key == asked and value <= most
        case Deidentified(rank), Deidentified(least):
            return rank >= least
        case _:
            return own == duty


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

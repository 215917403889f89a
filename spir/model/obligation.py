"""Obligations: what must be done with a decision, in the envelope of AuthZEN's obligations profile.

`{id, type, properties}`. An enforcement point that does not understand an
obligation must deny (`unmet`). Several are joined into one duty (`joined`):
masks unite, limits take the smaller, de-identification the stronger profile;
what has no order cannot be joined and denies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from spir.errors import SpirError
from spir.model.request import EMPTY
from spir.model.value import Value, thaw

__all__ = ["KNOWN_TYPES", "PROFILES", "Incomparable", "Obligation", "joined", "unmet"]

# type -> what its properties mean
KNOWN_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "mask": "`paths`: elements to remove, as `patient.telecom` or `Observation.note`",
        "deidentify": "`profile`: one of PROFILES, weakest first",
        "limit": "`count`, `days`, `bytes`: the most that may be released",
        "notify": "`channel`, `priority`: an alert to deliver",
        "trigger": "`workflow`, `urgency`: a workflow to start",
        "audit": "`level`: how much to record",
    }
)

# De-identification profiles, weakest first: each removes all that the one before it removes.
PROFILES = ("pseudonymise", "basic", "strict")


class Incomparable(SpirError):
    """Two obligations of one type have no common strongest: the request must be denied."""


@dataclass(frozen=True, slots=True)
class Obligation:
    id: str
    type: str
    properties: Mapping[str, Value] = field(default_factory=lambda: EMPTY)

    def __hash__(self) -> int:
        return hash((self.id, self.type))

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "type": self.type, "properties": thaw(self.properties)}


def unmet(obligations: Iterable[Obligation], understood: frozenset[str]) -> tuple[Obligation, ...]:
    """Those that an enforcement point which understands `understood` cannot carry out."""
    return tuple(item for item in obligations if item.type not in understood)


def joined(obligations: Iterable[Obligation]) -> tuple[Obligation, ...]:
    """One obligation per duty, order-free. Raises Incomparable.

    mask, limit and deidentify join to one each; notify and trigger are kept
    apart by channel or workflow (the same one twice is one).
    """
    groups: dict[tuple[str, str], list[Obligation]] = {}
    for item in dict.fromkeys(obligations):
        groups.setdefault((item.type, _lane(item)), []).append(item)
    return tuple(_join(kind, group) for (kind, _), group in sorted(groups.items()))


def _lane(item: Obligation) -> str:
    """What keeps two obligations of one type apart."""
    if item.type in ("mask", "limit", "deidentify", "audit"):
        return ""
    if item.type == "notify":
        return str(item.properties.get("channel", item.id))
    if item.type == "trigger":
        return str(item.properties.get("workflow", item.id))
    return item.id


def _join(kind: str, group: list[Obligation]) -> Obligation:
    if len(group) == 1:
        return group[0]
    # ids of what was joined before are taken apart again, so that joining in two steps gives the same
    name = "+".join(sorted({part for item in group for part in item.id.split("+")}))
    match kind:
        case "mask":
            paths = sorted({str(p) for item in group for p in _paths(item)})
            return Obligation(name, kind, MappingProxyType({"paths": tuple(paths)}))
        case "limit":
            return Obligation(name, kind, MappingProxyType(_smallest(group)))
        case "deidentify":
            return Obligation(name, kind, MappingProxyType({"profile": _strongest(group)}))
        case _:
            return Obligation(name, kind, _same(group))


def _paths(item: Obligation) -> tuple[Value, ...]:
    paths = item.properties.get("paths", ())
    if not isinstance(paths, tuple):
        raise Incomparable(f"obligation `{item.id}`: `paths` must be a list")
    return paths


def _smallest(group: list[Obligation]) -> dict[str, Value]:
    least: dict[str, Value] = {}
    for item in group:
        for key, value in item.properties.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise Incomparable(f"limit `{item.id}`: `{key}` is not a number")
            held = least.get(key, value)
            assert isinstance(held, (int, float))
            least[key] = min(held, value)
    return least


def _strongest(group: list[Obligation]) -> str:
    profiles = [item.properties.get("profile") for item in group]
    for profile in profiles:
        if profile not in PROFILES:
            raise Incomparable(f"de-identification profile {profile!r} is none of {', '.join(PROFILES)}")
    return max((str(p) for p in profiles), key=PROFILES.index)


def _same(group: list[Obligation]) -> Mapping[str, Value]:
    first, *rest = group
    for item in rest:
        if thaw(item.properties) != thaw(first.properties):
            ids = f"`{first.id}` and `{item.id}`"
            raise Incomparable(f"obligations {ids} of type `{first.type}` ask for different things")
    return first.properties

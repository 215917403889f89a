"""The tables of `mappings/notify.toml` as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from adapters import mappings

__all__ = ["Tables", "tables"]


@dataclass(frozen=True, slots=True)
class Tables:
    """`urgency`: FHIR priorities, least pressing first; `words` lead to them. `systems`: URIs by HL7 v2 name."""

    urgency: tuple[str, ...]
    words: Mapping[str, str]
    systems: Mapping[str, str]


@cache
def tables() -> Tables:
    read = mappings.read("notify")
    return Tables(
        tuple(read["priority"]["order"]),
        MappingProxyType(dict(read["priority"]["rows"])),
        MappingProxyType(dict(read["code_systems"]["rows"])),
    )

"""Semantic versions (semver.org 2.0.0): their order, and ranges of them as `>=1.0 <2`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from operator import eq, ge, gt, le, lt
from types import MappingProxyType
from typing import Any

__all__ = ["Range", "order"]

_VERSION = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII)
_BOUND = re.compile(r"\s*(>=|<=|>|<|=|)\s*([0-9][^\s,<>=]*)\s*,?", re.ASCII)
MAX_BOUNDS = 8

Order = tuple[Any, ...]
_SIGNS: Mapping[str, Callable[[Order, Order], bool]] = MappingProxyType(
    {">=": ge, "<=": le, ">": gt, "<": lt, "=": eq, "": eq}
)


@lru_cache(maxsize=1024)  # policies name few versions, many times
def order(version: str) -> Order:
    """What versions are compared by (semver 11); parts that are left out are 0. Raises ValueError."""
    found = _VERSION.fullmatch(version)
    if found is None:
        raise ValueError(version)
    numbers = tuple(int(part or 0) for part in found.groups()[:3])
    before = found[4]
    # a version before the release is lower than it; numbers in its name are lower than words
    names = tuple((0, int(name), "") if name.isdecimal() else (1, 0, name) for name in (before or "").split("."))
    return (*numbers, not before, names)


@dataclass(frozen=True, slots=True)
class Range:
    """All the bounds must hold. Versions before a release (`2.0.0-rc.1`) are in it only where it names them."""

    text: str
    bounds: tuple[tuple[str, Order], ...] = ()

    @classmethod
    def read(cls, text: str) -> Range:
        """As `>=1.0 <2`, `1.2.0`; the empty text is any version. Raises ValueError."""
        bounds: list[tuple[str, Order]] = []
        at = 0
        while at < len(text):
            found = _BOUND.match(text, at)
            if found is None or len(bounds) == MAX_BOUNDS:
                raise ValueError(text)
            bounds.append((found[1], order(found[2])))
            at = found.end()
        return cls(text, tuple(bounds))

    def __contains__(self, version: str) -> bool:
        found = order(version)
        if "-" in version.partition("+")[0] and not any(found == bound for _, bound in self.bounds):
            return False
        return all(_SIGNS[sign](found, bound) for sign, bound in self.bounds)

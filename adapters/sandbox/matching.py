"""Attribute matching of the sandbox PACS (PS3.4 C.2.2.2): one key against one value.

Pure. A key matches when it is empty (universal), when any of its values does
(list matching, which is also how ModalitiesInStudy works as an OR), by wild
card, or by range for dates and times.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

__all__ = ["matches", "texts"]

_RANGES = frozenset({"DA", "TM", "DT"})
_WILD = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})


def texts(value: object) -> tuple[str, ...]:
    """The values of an element as text: none for an empty one, several for a multi-valued one."""
    if value is None or value == "":
        return ()
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)) and not hasattr(value, "components"):
        return tuple(str(item) for item in value)
    return (str(value),)


def matches(vr: str, wanted: Sequence[str], held: Sequence[str]) -> bool:
    """Whether any of the `wanted` values matches any of the `held` ones. No wanted value matches everything."""
    wanted = [item for item in wanted if item != ""]
    if not wanted:
        return True
    if not held:
        return all(set(item) == {"*"} for item in wanted)
    return any(_one(vr, key, value) for key in wanted for value in held)


def _one(vr: str, key: str, value: str) -> bool:
    if vr in _RANGES and "-" in key:
        low, _, high = key.partition("-")
        return (not low or low <= value[: len(low)]) and (not high or value[: len(high)] <= high)
    if vr == "PN":
        groups = value.split("=")
        return any(_pattern(key, fold=True).fullmatch(group) for group in (value, *groups))
    if vr in _WILD:
        return _pattern(key, fold=False).fullmatch(value) is not None
    return key.strip() == value.strip()


@lru_cache(maxsize=512)
def _pattern(key: str, fold: bool) -> re.Pattern[str]:
    """`*` is any text and `?` any character (PS3.4 C.2.2.2.4). Runs of `*` are one, so that matching stays fast."""
    parts = re.split(r"(\*+|\?)", key)
    body = "".join(".*" if part.startswith("*") else "." if part == "?" else re.escape(part) for part in parts)
    return re.compile(body, re.DOTALL | (re.IGNORECASE if fold else 0))

"""Read the identifiers of query and retrieve, and refuse what their information model does not allow.

The hierarchical search of PS3.4 C.4.1 and nothing beyond: one value of
the unique key of every level above, no matching on attributes of other levels.
A relational query is refused even where the PACS would serve it, because a
match on a hidden series would show through a visible study.

Empty keys are only wishes for an answer. A wish that may not be granted is
dropped, and the answers say so (0xFF01); it is no reason to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from adapters.dicom.dataset import DataSet
from adapters.dicom.status import IdentifierError
from adapters.dicom.tables import Key, KeyKind, Level, Root, tables

__all__ = [
    "CHARACTER_SET",
    "LEVEL",
    "MODALITIES_IN_STUDY",
    "UNIQUE",
    "Query",
    "Retrieval",
    "is_uid",
    "is_wild",
    "read_find",
    "read_retrieval",
]

CHARACTER_SET, LEVEL, MODALITIES_IN_STUDY = 0x00080005, 0x00080052, 0x00080061
UNIQUE: Mapping[Level, int] = {
    Level.PATIENT: 0x00100020,
    Level.STUDY: 0x0020000D,
    Level.SERIES: 0x0020000E,
    Level.IMAGE: 0x00080018,
}
_UID = re.compile(r"[0-9.]{1,64}")
_CLAUSE = "PS3.4 C.4.1"


@dataclass(frozen=True, slots=True)
class Query:
    """A C-FIND identifier that keeps the rules.

    `above` holds the one value of each unique key above the level. `kept` are
    the tags of the elements to pass on, `dropped` of those that are not: the
    client asked for or matched on something that it may not have. `answerable`
    are the tags an answer may contain: the kept ones, and those of every answer.
    """

    root: Root
    level: Level
    asked: DataSet
    above: Mapping[Level, str]
    kept: frozenset[int]
    dropped: frozenset[int]
    answerable: frozenset[int]

    def values(self, tag: int) -> tuple[str, ...]:
        """What the client wants `tag` to match; empty for universal matching (PS3.4 C.2.2.2.3)."""
        return self.asked.values(tag) if tag in self.kept else ()

    @property
    def summaries_matched(self) -> bool:
        """Whether the client matches on a count or list of what lies below, other than the modalities."""
        known = tables().keys
        summaries = (tag for tag in self.kept if tag in known and known[tag].kind is KeyKind.SUMMARY)
        return any(tag != MODALITIES_IN_STUDY and self.asked.has_value(tag) for tag in summaries)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """A C-MOVE or C-GET identifier: one value per level above, a list of UIDs at its level."""

    root: Root
    level: Level
    above: Mapping[Level, str]
    wanted: tuple[str, ...]


def read_find(root: Root, data: bytes, explicit: bool) -> Query:
    """Raises IdentifierError for a broken rule, DatasetError for bytes that are no data set."""
    asked = DataSet.parse(data, explicit)
    level = _level(asked, root)
    above = _above(asked, root, level)
    tags = frozenset(tag for tag in asked.index if tag & 0xFFFF)
    kept = frozenset(tag for tag in tags if _passes(tag, asked, root, level))
    answerable = kept | tables().always | {LEVEL} | {UNIQUE[step] for step in above}
    return Query(root, level, asked, above, kept, tags - kept - {LEVEL}, answerable)


def read_retrieval(root: Root, data: bytes, explicit: bool) -> Retrieval:
    """Unique keys only (PS3.4 C.4.2.1.4, C.4.3): any other key with a value is refused, because a peer may
    ignore it and send more, or obey it and send what was never resolved. Raises as `read_find`."""
    asked = DataSet.parse(data, explicit)
    level = _level(asked, root)
    above = _above(asked, root, level)
    unique = {UNIQUE[step] for step in _steps(root) if step <= level}
    for tag in asked.index:
        if tag & 0xFFFF and tag not in unique and tag not in (CHARACTER_SET, LEVEL) and asked.has_value(tag):
            raise IdentifierError(f"{_spelled(tag)} is no key of a retrieve", clause="PS3.4 C.4.2.1.4")
    wanted = tuple(dict.fromkeys(asked.values(UNIQUE[level])))
    if not wanted or not all(_is_exact(level, value) for value in wanted):
        raise IdentifierError(f"{_spelled(UNIQUE[level])} must say what to retrieve", clause="PS3.4 C.4.2.1.4")
    if level is Level.PATIENT and len(wanted) > 1:
        raise IdentifierError("only one patient may be retrieved at a time", clause="PS3.4 C.4.2.1.4")
    return Retrieval(root, level, above, wanted)


def is_wild(value: str) -> bool:
    """Whether a key is a wild card (PS3.4 C.2.2.2.4)."""
    return "*" in value or "?" in value


def is_uid(value: str) -> bool:
    return _UID.fullmatch(value) is not None


def _level(asked: DataSet, root: Root) -> Level:
    name = asked.text(LEVEL)
    level = Level.__members__.get(name or "")
    if level is None or level not in _steps(root):
        raise IdentifierError(
            "the query/retrieve level is missing or not of this model", hint="PATIENT, STUDY, SERIES or IMAGE"
        )
    return level


def _steps(root: Root) -> tuple[Level, ...]:
    return tuple(Level) if root is Root.PATIENT else (Level.STUDY, Level.SERIES, Level.IMAGE)


def _above(asked: DataSet, root: Root, level: Level) -> Mapping[Level, str]:
    found: dict[Level, str] = {}
    for step in _steps(root):
        if step >= level:
            break
        values = asked.values(UNIQUE[step])
        if len(values) != 1 or not _is_exact(step, values[0]):
            raise IdentifierError(f"{_spelled(UNIQUE[step])} must have exactly one value here", clause=_CLAUSE)
        found[step] = values[0]
    return found


def _is_exact(level: Level, value: str) -> bool:
    return (bool(value) and not is_wild(value)) if level is Level.PATIENT else is_uid(value)


def _passes(tag: int, asked: DataSet, root: Root, level: Level) -> bool:
    """Whether a key is passed on; IdentifierError if it has a value and belongs to another level."""
    known = tables()
    if tag == LEVEL or tag in known.never or tag >> 16 & 1:
        return False
    if tag in known.always:
        return True
    key = known.keys.get(tag)
    if key is None:
        return level >= Level.SERIES  # see the table: above, a PACS might answer from a hidden series
    place = max(key.level, Level.STUDY) if root is Root.STUDY else key.level
    if place == level:
        return not _counts_more(key, level)
    if key.kind is KeyKind.UNIQUE and place < level:
        return True
    if asked.has_value(tag) and not asked.is_sequence(tag):
        raise IdentifierError(f"{_spelled(tag)} is no key of the {level.name} level", clause=_CLAUSE)
    return False


def _counts_more(key: Key, level: Level) -> bool:
    """A count over the patient, asked at study level of the study root: it counts studies nobody has judged."""
    return key.kind is KeyKind.SUMMARY and key.level < level


def _spelled(tag: int) -> str:
    key = tables().keys.get(tag)
    name = f" {key.keyword}" if key else ""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X}){name}"

"""The adapter's tables as frozen Python values (SHELL: reads `mappings/hl7v2*.toml`).

What the tables mean is said in the files. Here they are checked when they are
read, so that a slip in a table stops the start and not a message.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from adapters import mappings
from adapters.hl7v2.message import Path
from spir.errors import DocumentError

__all__ = ["Event", "Flag", "MessageType", "Tables", "load", "read"]

GROUPS = frozenset({"team", "class", "place", "flags", "restrictions"})
VISITS = frozenset({"", "open", "reopen", "finish", "cancel", "merge", "person"})


@dataclass(frozen=True, slots=True)
class Event:
    """A trigger event whose facts we read; see `[events]`."""

    operation: str
    visit: str
    takes: frozenset[str]
    late: int
    revokes: bool


@dataclass(frozen=True, slots=True)
class MessageType:
    operation: str
    content: str  # visit | order | result | other


@dataclass(frozen=True, slots=True)
class Flag:
    """A restricting fact: `of` is person or visit."""

    attribute: str
    path: Path
    of: str
    yes: frozenset[str]
    no: frozenset[str]


@dataclass(frozen=True, slots=True)
class Tables:
    """All tables. Mappings are from the standard's code to our word."""

    events: Mapping[str, Event]
    messages: Mapping[str, MessageType]
    content: frozenset[str]
    visit_numbers: tuple[Path, ...]
    team: tuple[tuple[str, Path], ...]
    roles: Mapping[str, bool]
    roles_gone: frozenset[str]
    class_path: Path
    classes: Mapping[str, str]
    place: Path
    flags: tuple[Flag, ...]
    restrictions: Mapping[str, str]
    restrictions_gone: frozenset[str]
    restriction_unknown: str
    confidentiality_paths: tuple[Path, ...]
    confidentiality: Mapping[str, str]
    confidentiality_unknown: str
    priority_paths: tuple[Path, ...]
    priorities: Mapping[str, str]
    priority_none: str
    priority_other: str
    controls: Mapping[str, str]
    control_other: str
    critical: frozenset[str]
    counts: frozenset[str]
    statuses: Mapping[str, str]
    identifier_types: tuple[str, ...]
    charsets: Mapping[str, str]
    pins: frozenset[str]

    def with_vip(self, codes: frozenset[str]) -> Tables:
        """The same tables where PV1-16 means a VIP for `codes` only, and not one for any other code."""
        flags = (
            replace(flag, yes=codes, no=frozenset("*")) if flag.attribute == "vip" else flag for flag in self.flags
        )
        return replace(self, flags=tuple(flags))


@lru_cache(maxsize=1)
def load() -> Tables:
    """The tables of this installation. Raises Unavailable or DocumentError."""
    return read(mappings.read("hl7v2"), mappings.read("hl7v2_charset"))


def read(table: Mapping[str, Any], charset: Mapping[str, Any]) -> Tables:
    """The tables from decoded TOML. Raises DocumentError, which names the table."""
    try:
        return _read(table, charset)
    except (KeyError, TypeError, ValueError, LookupError) as error:
        raise DocumentError(
            f"the table `hl7v2` is damaged: {error!r}", hint="compare it with the one shipped"
        ) from None


def _read(table: Mapping[str, Any], charset: Mapping[str, Any]) -> Tables:
    return Tables(
        events={name: _event(row) for name, *row in _rows(table, "events")},
        messages={name: MessageType(*row) for name, *row in _rows(table, "messages")},
        content=frozenset(table["messages"]["content"]),
        visit_numbers=_paths(table["visit"]["numbers"]),
        team=tuple((role, Path.of(path)) for role, path in _rows(table, "team")),
        roles=dict(_rows(table, "roles")),
        roles_gone=frozenset(table["roles"]["gone"]),
        class_path=Path.of(table["class"]["path"]),
        classes=dict(_rows(table, "class")),
        place=Path.of(table["place"]["path"]),
        flags=tuple(_flag(row) for row in table["flags"]["rows"]),
        restrictions=dict(_rows(table, "restrictions")),
        restrictions_gone=frozenset(table["restrictions"]["gone"]),
        restriction_unknown=table["restrictions"]["strictest"],
        confidentiality_paths=_paths(table["confidentiality"]["paths"]),
        confidentiality=dict(_rows(table, "confidentiality")),
        confidentiality_unknown=table["confidentiality"]["strictest"],
        priority_paths=_paths(table["priority"]["paths"]),
        priorities=dict(_rows(table, "priority")),
        priority_none=table["priority"]["none"],
        priority_other=table["priority"]["other"],
        controls=dict(_rows(table, "control")),
        control_other=table["control"]["other"],
        critical=frozenset(table["result"]["critical"]),
        counts=frozenset(table["result"]["counts"]),
        statuses=dict(_rows(table, "result")),
        identifier_types=tuple(table["patient"]["types"]),
        charsets={name: codecs.lookup(codec).name for name, codec in charset["rows"]},
        pins=frozenset(codecs.lookup(name).name for name in charset["pins"]),
    )


def _rows(table: Mapping[str, Any], name: str) -> list[list[Any]]:
    rows: list[list[Any]] = table[name]["rows"]
    firsts = [row[0] for row in rows]
    if len(set(firsts)) != len(firsts):
        raise ValueError(f"[{name}] has a code twice")
    return rows


def _event(row: list[Any]) -> Event:
    operation, visit, takes, late, revokes = row
    if visit not in VISITS or not GROUPS.issuperset(takes) or not 0 <= late < 100:
        raise ValueError(f"[events] `{operation}` has an unknown word")
    return Event(operation, visit, frozenset(takes), late, revokes)


def _flag(row: list[Any]) -> Flag:
    attribute, path, of, yes, no = row
    if of not in ("person", "visit"):
        raise ValueError(f"[flags] `{attribute}` is of neither person nor visit")
    return Flag(attribute, Path.of(path), of, frozenset(yes), frozenset(no))


def _paths(texts: list[str]) -> tuple[Path, ...]:
    return tuple(Path.of(text) for text in texts)

"""JSON as it is judged is JSON as it is passed on: strict reading, and surgery on the bytes.

A resource that is not changed is passed on byte for byte. One that is changed
is changed member by member: what is not touched keeps its bytes, so a decimal
of `0.40` stays `0.40` (FHIR decimals carry their precision). Duplicate keys,
invalid UTF-8, byte order marks, numbers out of range and deep nesting are
refused, because two readers could see two different resources in them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
import orjson
from msgspec import Raw

from spir.errors import SpirError

__all__ = ["MAX_DEPTH", "REMOVE", "Cut", "Malformed", "cut", "depth", "items", "join", "members", "merge", "read"]

MAX_DEPTH = 64


class Malformed(SpirError):
    """A document that is not JSON, or not JSON that every reader reads alike."""


class Remove:
    """What a `Cut` says of a member or an item that goes as a whole."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "REMOVE"


REMOVE = Remove()

# Where to cut: by member name or array index. An array item that is named here, even with
# nothing below it, lies on a masked path (see `adapters.fhir.restore`).
Cut: TypeAlias = dict[Any, "Cut | Remove"]

_object = msgspec.json.Decoder(dict[str, Raw])
_array = msgspec.json.Decoder(list[Raw])
_encode = msgspec.json.Encoder().encode


def read(raw: bytes) -> tuple[Any, bytes]:
    """The decoded document and its canonical bytes. Raises Malformed.

    A duplicate member is lost in decoding and takes at least one colon with it;
    colons within text stay. So equal counts of colons prove that there was none.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise Malformed("the document is not valid JSON", clause="RFC 8259") from None
    canonical = orjson.dumps(value)
    if b"\\u003a" in raw or b"\\u003A" in raw:
        _refuse_duplicates(raw)
    elif raw.count(b":") != canonical.count(b":"):
        raise Malformed("a member is there twice", clause="RFC 8259 section 4")
    return value, canonical


def depth(value: Any) -> int:
    """How deep arrays and objects nest; counting stops at one more than MAX_DEPTH."""
    level, deepest = [value], 0
    while level and deepest <= MAX_DEPTH:
        inside: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                inside.extend(node.values())
            elif isinstance(node, list):
                inside.extend(node)
        level = [node for node in inside if isinstance(node, (dict, list))]
        deepest += 1
    return deepest


def members(raw: bytes | Raw) -> dict[str, Raw]:
    """The members of an object, each as the bytes it came in."""
    return _object.decode(raw)


def items(raw: bytes | Raw) -> list[Raw]:
    """The items of an array, each as the bytes it came in."""
    return _array.decode(raw)


def join(parts: Mapping[str, Raw] | list[Raw]) -> bytes:
    """The object or array of these parts."""
    return _encode(parts)


def merge(first: Cut, second: Cut) -> Cut:
    """What either of them cuts."""
    merged: Cut = dict(first)
    for key, below in second.items():
        held = merged.get(key, {})
        whole = isinstance(held, Remove) or isinstance(below, Remove)
        merged[key] = REMOVE if whole else merge(held, below)  # type: ignore[arg-type]
    return merged


def cut(raw: bytes | Raw, where: Cut | Remove) -> bytes | None:
    """The document without what `where` names; None if nothing is left of it.

    An object or array that becomes empty goes too: FHIR has no empty ones. One
    that `where` does not take anything from is left as it is.
    """
    if isinstance(where, Remove):
        return None
    if not where:
        return bytes(raw)
    return _cut_array(raw, where) if isinstance(next(iter(where)), int) else _cut_object(raw, where)


def _cut_object(raw: bytes | Raw, where: Cut) -> bytes | None:
    parts = members(raw)
    for name, below in where.items():
        if name in parts:
            left = cut(parts.pop(name), below) if isinstance(below, Remove) else cut(parts[name], below)
            if left is None:
                parts.pop(name, None)
            else:
                parts[name] = Raw(left)
    return join(parts) if parts else None


def _cut_array(raw: bytes | Raw, where: Cut) -> bytes | None:
    parts = items(raw)
    left = [cut(part, where[index]) if index in where else bytes(part) for index, part in enumerate(parts)]
    kept = [Raw(part) for part in left if part is not None]
    return join(kept) if kept else None


def _refuse_duplicates(raw: bytes) -> None:
    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise Malformed("a member is there twice", clause="RFC 8259 section 4")
        return dict(pairs)

    try:
        json.loads(raw, object_pairs_hook=check)
    except (ValueError, RecursionError):
        raise Malformed("the document is not valid JSON", clause="RFC 8259") from None

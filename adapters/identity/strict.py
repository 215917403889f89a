"""Strict reading of what tokens and key sets are made of: base64url and JSON, one way to write each value.

Ordinary decoders skip characters that do not belong and let the last of two
equal keys win. Here both are errors: what two readers could read differently
is not read at all.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, NoReturn

__all__ = ["Malformed", "base64url", "json_object", "unpadded"]

_ALPHABET = re.compile(rb"[A-Za-z0-9_-]*")


class Malformed(ValueError):
    """The input is not in its one canonical form; says how."""


def base64url(data: bytes) -> bytes:
    """Decode base64url without padding (RFC 7515 2). Raises Malformed, also for stray bits at the end."""
    if not _ALPHABET.fullmatch(data):
        raise Malformed("characters outside base64url")
    try:
        decoded = base64.urlsafe_b64decode(data + b"=" * (-len(data) % 4))
    except binascii.Error as error:
        raise Malformed("a length that base64url cannot have") from error
    if unpadded(decoded).encode() != data:
        raise Malformed("bits left over at the end of base64url")
    return decoded


def unpadded(data: bytes) -> str:
    """Encode as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def json_object(data: bytes) -> dict[str, Any]:
    """Decode a JSON object in UTF-8. Raises Malformed: duplicate keys, NaN, any other value, nesting without end."""
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_constant)
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:
        raise Malformed("no JSON in UTF-8") from error
    if not isinstance(found, dict):
        raise Malformed("no JSON object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("a key that is there twice")
    return found


def _constant(name: str) -> NoReturn:
    raise Malformed(f"`{name}`, which is no number of JSON")

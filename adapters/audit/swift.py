"""The canonical bytes, written and read ten times faster where that is possible.

`spir.record.canonical` defines them; orjson writes the same bytes for all it
writes at all (a test compares them). What it refuses, numbers beyond 64 bits
and lone surrogates, goes the slow way.
"""

from __future__ import annotations

from typing import Any

import orjson

from spir.record.canonical import decode, encode

__all__ = ["dumps", "loads"]


def dumps(packed: Any) -> bytes:
    """As `canonical.encode`."""
    try:
        return orjson.dumps(packed, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return encode(packed)


def loads(data: bytes) -> Any:
    """As `canonical.decode`. Raises RequestError."""
    try:
        return orjson.loads(data)
    except ValueError:
        return decode(data)

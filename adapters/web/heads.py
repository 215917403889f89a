"""Heads of requests that were read before, found again without reading them: whoever asks often sends the same one.

The server's parser says what a head means; here its bytes are remembered, but
for the few lines that differ from request to request. A head is only found if
it is one of those, byte for byte, and the request came in one piece; everything
else is left to the parser. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeVar

__all__ = ["Found", "Head", "Heads", "Pairs", "parted"]

Pairs: TypeAlias = list[tuple[bytes, bytes]]

K = TypeVar("K")
V = TypeVar("V")

MOST = 256  # heads that are remembered
LONGEST = 4096  # bytes of one, with all of its lines
MOST_LINES = 64

LENGTH = b"content-length"
DIGITS = 7  # of a length
OWN = frozenset((LENGTH, b"x-request-id", b"traceparent"))  # what differs from request to request

# INVARIANT: what is cut out are whole lines, with a plain value that no folded line goes on with. So the lines that
# are left mean what they mean without them.
_OWN_LINE = re.compile(rb"\r\n(?i:(content-length|x-request-id|traceparent)): ([\x21-\x7e]{1,256})(?=\r\n[^ \t])")
# Stricter than the parser: what may be remembered.
_PLAIN = re.compile(
    rb"POST [\x21-\x7e]+ HTTP/1\.1(?:\r\n[A-Za-z0-9!#$%&'*+.^_`|~-]+:[ \t]*[\x20-\x7e\x80-\xff]*)+\r\n\r\n"
)


class Head:
    """The lines that requests have in common. `known`: what the application made of them, for the next time."""

    __slots__ = ("headers", "known", "path")

    def __init__(self, path: str, headers: Pairs) -> None:
        self.path = path
        self.headers = headers
        self.known: Any = None


class Found(NamedTuple):
    """A head that is known. `own`: the request's own lines, by their names in lower case; `length`: of its body."""

    head: Head
    own: Mapping[bytes, bytes]
    length: int


def parted(headers: Iterable[tuple[bytes, bytes]]) -> tuple[Pairs, dict[bytes, bytes]] | None:
    """Lines that requests have in common, and a request's own; None where one of these stands there twice."""
    common: Pairs = []
    own: dict[bytes, bytes] = {}
    for name, value in headers:
        if name not in OWN:
            common.append((name, value))
        elif own.setdefault(name, value) is not value:
            return None
    return common, own


class Heads:
    """Those that one server knows: whole ones, and those whose own lines were cut out."""

    def __init__(self) -> None:
        self._same: dict[bytes, Found] = {}
        self._alike: dict[tuple[bytes, ...], Head] = {}

    def find(self, data: bytes, end: int) -> Found | None:
        """What is known of the head that ends at `end`, its last line end included."""
        raw = data[:end]
        return self._same.get(raw) or self._find_alike(raw)

    def learn(self, data: bytes, end: int, head: Head, own: Mapping[bytes, bytes]) -> None:
        """Remember a head that the parser has read as `head` and `own`."""
        raw = data[:end]
        if end > LONGEST or len(head.headers) > MOST_LINES or _PLAIN.fullmatch(raw) is None:
            return
        pieces = _OWN_LINE.split(raw)
        found = _found(head, pieces)
        if found is not None and found.own == own:
            _put(self._alike, tuple(pieces[::3]), head)

    def _find_alike(self, raw: bytes) -> Found | None:
        if len(raw) > LONGEST:
            return None
        pieces = _OWN_LINE.split(raw)
        head = self._alike.get(tuple(pieces[::3]))
        found = None if head is None else _found(head, pieces)
        if found is not None and len(found.own) == 1:  # it differs by its length only: it will come again
            _put(self._same, raw, found)
        return found


def _found(head: Head, pieces: list[bytes]) -> Found | None:
    """None where there is no sound length, or something stands there twice."""
    names = [name.lower() for name in pieces[1::3]]
    own = dict(zip(names, pieces[2::3], strict=True))
    length = own.get(LENGTH, b"")
    if len(own) < len(names) or len(length) > DIGITS or not length.isdigit():
        return None
    return Found(head, own, int(length))


def _put(memory: dict[K, V], key: K, value: V) -> None:
    if len(memory) >= MOST:
        memory.clear()
    memory[key] = value

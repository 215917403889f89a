"""A small reader of protobuf's text format: enough for the conformance tests of CEL."""

from __future__ import annotations

import re
from typing import Any

_TOKEN = re.compile(
    r"""
    (?P<space> (?: [\s,;]+ | \#[^\n]* )+ )
  | (?P<text>  " (?: [^"\\\n] | \\. )* " | ' (?: [^'\\\n] | \\. )* ' )
  | (?P<name>  \[ [A-Za-z0-9_./]+ \] | [A-Za-z_][A-Za-z0-9_.]* )
  | (?P<number> -? [0-9.] [0-9A-Za-z.+-]* )
  | (?P<sign>  [:{}<>\[\]-] )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}

Message = dict[str, list[Any]]


def read(text: str) -> Message:
    """Fields to the list of their values: messages as dicts, texts as bytes, all else as it is written."""
    reader = _Reader(list(_tokens(text)))
    return reader.message("")


def _tokens(text: str) -> Any:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        assert found is not None, f"no token at {text[at : at + 40]!r}"
        if found.lastgroup != "space":
            yield found.lastgroup, found.group()
        at = found.end()
    yield "end", ""


def unescaped(text: str) -> bytes:
    def meant(found: re.Match[bytes]) -> bytes:
        byte, octal, short, long, letter = found.groups()
        if byte:
            return bytes([int(byte, 16)])
        if octal:
            return bytes([int(octal, 8)])
        if short or long:
            return chr(int(short or long, 16)).encode()
        return _LETTERS.get(letter, letter)

    return _ESCAPE.sub(meant, text[1:-1].encode())


class _Reader:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.index = 0

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.index]

    def next(self) -> tuple[str, str]:
        self.index += 1
        return self.tokens[self.index - 1]

    def take(self, sign: str) -> bool:
        if self.peek() == ("sign", sign):
            self.index += 1
            return True
        return False

    def message(self, closing: str) -> Message:
        found: Message = {}
        while not (self.take(closing) if closing else self.peek()[0] == "end"):
            kind, name = self.next()
            assert kind == "name", f"a field is expected, not {name!r}"
            colon = self.take(":")
            values = found.setdefault(name, [])
            if colon and self.take("["):
                while not self.take("]"):
                    values.append(self.value())
            else:
                values.append(self.value())
        return found

    def value(self) -> Any:
        if self.take("{"):
            return self.message("}")
        if self.take("<"):
            return self.message(">")
        kind, text = self.next()
        if text == "-":
            return f"-{self.next()[1]}"
        if kind != "text":
            return text
        parts = [unescaped(text)]
        while self.peek()[0] == "text":
            parts.append(unescaped(self.next()[1]))
        return b"".join(parts)

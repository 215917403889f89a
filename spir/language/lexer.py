"""The words of a CEL condition: text to tokens, each with its place.

The lexical grammar is CEL's, without unsigned integers. Nothing is decided
here about meaning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from spir.errors import ConditionError, Location

__all__ = ["PLAIN_TEXT", "ROOTS", "Source", "Token", "TokenStream", "Word", "short", "tokens"]

MAX_TEXT = 64 * 1024


class Word(StrEnum):  # a text too: hashed without calling Python
    NAME = "name"
    PATH = "path"
    QUOTED_NAME = "quoted name"
    INT = "whole number"
    DOUBLE = "number"
    STRING = "text"
    BYTES = "bytes"
    SIGN = "sign"
    END = "end of the condition"


# Python 3.11 takes longer to find a member than to make a token.
_NAME, _PATH, _STRING, _END = Word.NAME, Word.PATH, Word.STRING, Word.END


class Token(NamedTuple):  # nothing is made more often while documents are read, and a tuple is made fastest
    """`text` as it is written; `value` of a literal as it is meant; `at` is the offset into the text.

    A PATH is a name of `ROOTS` and all plain names after it up to a method, `subject.role`: most of what is read.
    """

    word: Word
    text: str
    at: int
    value: int | float | str | bytes | None = None


class Source(NamedTuple):
    """A condition's text, and where it begins in its document."""

    text: str
    location: Location | None = None

    def place(self, at: int) -> Location:
        """The place of an offset: in the document if it is known, else in the text itself.

        A column of 0 in `location` says that columns of the document are not known.
        """
        line = self.text.count("\n", 0, at)
        column = at - (self.text.rfind("\n", 0, at) + 1)
        if self.location is None:
            return Location("condition", line + 1, column + 1)
        start = self.location
        return Location(start.file, start.line + line, start.column + column if start.column else 0)

    def error(self, message: str, at: int, hint: str = "") -> ConditionError:
        return ConditionError(message, hint=hint, location=self.place(at))


# The dimensions, and the words that the source document uses for them.
ROOTS: Mapping[str, str] = MappingProxyType(
    {
        "subject": "subject",
        "resource": "resource",
        "action": "action",
        "context": "context",
        "object": "resource",
        "operation": "action",
        "environment": "context",
    }
)
# A text without escapes, on one line; for verbose patterns.
PLAIN_TEXT = r""" (?: "(?!"") [^"\\\r\n]*+ " | '(?!'') [^'\\\r\n]*+ ' ) """
_SPACE = r"[\t\n\f\r ]*+(?://[^\n]*+[\t\n\f\r ]*+)*+"  # possessive: nothing is gone through twice
# What is met most often comes first.
_TOKEN = re.compile(
    rf"""(?x: {_SPACE} (?:
    (?P<sign>   [=!<>]= | && | \|\| | [<>+\-*/%!?:,()\[\]{{}}] | \.(?!\d) )
  | (?P<path>   (?:{"|".join(ROOTS)}) (?:\.[A-Za-z_][A-Za-z0-9_]*)+ (?! [A-Za-z0-9_] | {_SPACE} \( ) )
  | (?P<simple> {PLAIN_TEXT} )
  | (?P<text>   (?:[bB][rR]?|[rR])? (?: \"\"\" | ''' | " | ' ) )
  | (?P<name>   [A-Za-z_][A-Za-z0-9_]* )
  | (?P<double> (?: \d*\.\d+ (?:[eE][+-]?\d+)? | \d+[eE][+-]?\d+ ) )
  | (?P<int>    (?: 0[xX][0-9a-fA-F]+ | \d+ ) )
  | (?P<quoted> `[A-Za-z0-9_./\ -]+` )
  | (?P<end>    \Z )
  | (?P<stray>  . )
    ))""",
    re.ASCII,
)

_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\?\"'`])|([0-3][0-7][0-7])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))|\\", re.ASCII
)
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def tokens(source: Source) -> list[Token]:
    """All tokens, the last of them END. Raises ConditionError."""
    if len(source.text) > MAX_TEXT:
        raise source.error("the condition is too long", 0, hint=f"at most {MAX_TEXT} characters are read")
    made: list[Token] = []
    at: int | None = 0
    while at is not None:
        at = _run(source, at, made)
    return made


def _run(source: Source, at: int, made: list[Token]) -> int | None:
    """Add tokens from an offset on, up to one that ends elsewhere than its pattern; where it does, None after END."""
    text = source.text
    for found in _TOKEN.finditer(text, at):
        group = found.lastindex or 0
        written, start, word = found[group], found.start(group), _WORDS[group]
        if word is _PATH and made and made[-1].text == ".":
            word, written = _NAME, written.partition(".")[0]  # a field of something else
        # the tuple itself: a third of the time of calling the class
        token = _tuple(Token, (word, written, start, None)) if word else _VALUES[group](source, written, start)
        made.append(token)
        if len(token[1]) != found.end() - start:
            return start + len(token.text)
    return None


def _stray(source: Source, letter: str, at: int) -> Token:
    hints = {"=": "equality is `==`", "&": "and is `&&`", "|": "or is `||`", ";": "a condition is one expression"}
    raise source.error(f"`{letter}` means nothing here", at, hint=hints.get(letter, ""))


def _int(source: Source, text: str, at: int) -> Token:
    _refuse_suffix(source, text, at)
    return Token(Word.INT, text, at, _whole(text))


def _double(source: Source, text: str, at: int) -> Token:
    _refuse_suffix(source, text, at)
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise source.error(f"`{text}` is too large for a number", at)
    return Token(Word.DOUBLE, text, at, number)


def _whole(text: str) -> int:
    """Longer than 20 digits is out of range whatever it is: not computed, as that takes quadratic time."""
    digits = text[2:].lstrip("0") if text[:2] in ("0x", "0X") else text.lstrip("0")
    if len(digits) > 20:
        return 10**20
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text)


def _refuse_suffix(source: Source, text: str, at: int) -> None:
    end = at + len(text)
    after = source.text[end : end + 1]
    if after in ("u", "U"):
        raise source.error(
            f"`{text}{after}`: unsigned numbers are not part of the language", at, hint="leave out the u"
        )
    if after.isalnum() or after == "_":
        raise source.error(f"`{text}{after}` is neither a number nor a name", at)


def _quoted(source: Source, opening: str, at: int) -> Token:
    quote = opening.lstrip("bBrR")
    prefix = opening[: len(opening) - len(quote)].lower()
    end = _closing(source, at + len(opening), quote, raw="r" in prefix)
    if end < 0:
        raise source.error(f"the text that begins with `{opening}` does not end", at, hint=f"close it with `{quote}`")
    body = source.text[at + len(opening) : end]
    whole = source.text[at : end + len(quote)]
    if "b" in prefix:
        return Token(Word.BYTES, whole, at, _bytes(source, body, at, raw="r" in prefix))
    return Token(Word.STRING, whole, at, body if "r" in prefix else _unescaped(source, body, at + len(opening)))


def _closing(source: Source, at: int, quote: str, raw: bool) -> int:
    """The offset of the closing quote; -1 if there is none (a short quote must close on its line)."""
    text = source.text
    while at < len(text):
        if text.startswith(quote, at):
            return at
        if text[at] in "\r\n" and len(quote) == 1:
            return -1
        at += 2 if text[at] == "\\" and not raw else 1
    return -1


def _unescaped(source: Source, body: str, at: int) -> str:
    def meant(found: re.Match[str]) -> str:
        letter, octal, byte, short, long = found.groups()
        if letter is not None:
            return _LETTERS.get(letter, letter)
        digits = byte or short or long
        if octal is None and digits is None:
            raise source.error(f"`{body[found.start() : found.start() + 2]}` is no escape", at + found.start())
        code = int(octal, 8) if octal else int(digits, 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise source.error(f"`{found.group()}` is no character", at + found.start())
        return chr(code)

    return _ESCAPE.sub(meant, body)


def _bytes(source: Source, body: str, at: int, raw: bool) -> bytes:
    if raw:
        return body.encode("utf-8")
    made, last = bytearray(), 0
    for found in _ESCAPE.finditer(body):
        made += body[last : found.start()].encode("utf-8") + _byte(source, found, at)
        last = found.end()
    return bytes(made + body[last:].encode("utf-8"))


def _byte(source: Source, found: re.Match[str], at: int) -> bytes:
    letter, octal, byte, _, _ = found.groups()
    if letter is not None:
        return _LETTERS.get(letter, letter).encode("ascii")
    if octal is None and byte is None:
        raise source.error(
            f"`{found.group()}` is no escape in bytes", at + found.start(), hint="write \\x and two digits"
        )
    return bytes((int(octal, 8) if octal else int(byte, 16),))


_tuple: Any = tuple.__new__
_PLAIN: Mapping[str, Word] = MappingProxyType(
    {"name": Word.NAME, "path": Word.PATH, "sign": Word.SIGN, "end": Word.END}
)
_READERS: Mapping[str, Callable[[Source, str, int], Token]] = MappingProxyType(
    {
        "simple": lambda source, text, at: _tuple(Token, (_STRING, text, at, text[1:-1])),
        "text": _quoted,
        "double": _double,
        "int": _int,
        "quoted": lambda source, text, at: Token(Word.QUOTED_NAME, text, at, text[1:-1]),
        "stray": _stray,
    }
)
# The same by the number of the group, for the loop.
_WORDS = (None, *map(_PLAIN.get, _TOKEN.groupindex))
_VALUES = (_stray, *(_READERS.get(name, _stray) for name in _TOKEN.groupindex))


class TokenStream:
    """The tokens of a condition, one after the other. It never goes past END."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.tokens = tokens(source)
        self.index = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    def following(self, ahead: int = 1) -> Token:
        return self.tokens[min(self.index + ahead, len(self.tokens) - 1)]

    def advance(self) -> Token:
        token = self.tokens[self.index]
        if token.word is not _END:
            self.index += 1
        return token

    def at(self, sign: str) -> bool:
        return self.tokens[self.index].text == sign  # no other token is written like a sign

    def take(self, sign: str) -> bool:
        """Go past this sign if it is the next token."""
        if self.tokens[self.index].text != sign:
            return False
        self.index += 1
        return True

    def expect(self, sign: str) -> None:
        """Go past this sign. Raises ConditionError if something else comes."""
        if not self.take(sign):
            raise self.unexpected(self.token, f"`{sign}` is expected here")

    def error(self, message: str, token: Token, hint: str = "") -> ConditionError:
        return self.source.error(message, token.at, hint)

    def unexpected(self, token: Token, hint: str = "") -> ConditionError:
        if token.word is Word.END:
            return self.error("the condition ends too early", token, hint)
        return self.error(f"`{short(token.text)}` is not expected here", token, hint)


def short(text: str) -> str:
    """Quoted input in a message: one line, not too long."""
    plain = " ".join(text.split())
    return plain if len(plain) <= 60 else f"{plain[:57]}..."

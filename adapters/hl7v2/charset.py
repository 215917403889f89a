"""Which character set a message is in, and its text (HL7 v2.5.1 MSH-18, table 0211).

A pin of the connection wins over MSH-18, and that over the default. Decoding
is strict and happens once: a message that is not what it says it is, is
unreadable. Replacing what does not fit would turn a wrong label into wrong
facts, because a lost lead byte sets a delimiter free.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping

from adapters.hl7v2.delimiters import Delimiters
from adapters.hl7v2.error import MessageError

__all__ = ["codec_of", "declared", "decode", "first_line", "pinned", "salvage"]

WHERE = "MSH^1^18"
_FIELD_18 = 17  # of a header cut at the field separator: MSH-1 is the separator itself


def decode(body: bytes, charsets: Mapping[str, str], *, pin: str = "", default: str = "utf-8") -> tuple[str, str]:
    """The text of a message and the codec it was in. Raises MessageError.

    `charsets` is table 0211 as codecs; `pin` and `default` are codecs.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    codec = pin or declared(body, charsets) or default
    try:
        return body.decode(codec), codec
    except UnicodeDecodeError:
        hint = "correct MSH-18 or pin the connection's character set"
        raise MessageError(f"the message is not valid {codec}", where=WHERE, hint=hint, clause="MSH-18") from None


def salvage(body: bytes, charsets: Mapping[str, str], *, pin: str = "", default: str = "utf-8") -> str:
    """What can be had of a message that `decode` refuses: only for finding out whom it is about."""
    try:
        codec = pin or declared(body, charsets) or default
    except MessageError:
        codec = default
    return body.decode(codec, "replace")


def pinned(name: str, charsets: Mapping[str, str], pins: frozenset[str]) -> str:
    """The codec of an operator's pin: a name of table 0211, or a codec in `pins`. Raises MessageError."""
    if name in charsets:
        return charsets[name]
    try:
        codec = codecs.lookup(name).name
    except LookupError:
        codec = ""
    if codec not in pins:
        raise MessageError(f"`{name}` is no character set to pin to", hint=f"one of {', '.join(sorted(pins))}")
    return codec


def declared(body: bytes, charsets: Mapping[str, str]) -> str:
    """The codec that MSH-18 names; "" if it is empty. Raises MessageError for a set we do not know.

    The header is read as bytes, so a name in MSH-3 to MSH-6 may shift it: a
    second byte may be a delimiter. Hence a set counts only if the header,
    decoded by it, says so itself.
    """
    line = first_line(body)
    if line.isascii():
        return codec_of(_eighteenth(line.decode("ascii")), charsets)
    for field in line.split(line[3:4] or b"|")[_FIELD_18:]:
        try:
            codec = codec_of(field.decode("ascii"), charsets)
            if codec and codec_of(_eighteenth(line.decode(codec)), charsets) == codec:
                return codec
        except (UnicodeDecodeError, MessageError):
            continue
    return codec_of(_eighteenth(line.decode("latin-1")), charsets)


def codec_of(field: str, charsets: Mapping[str, str]) -> str:
    """The codec of MSH-18 as sent. Repetitions are sets that one codec covers together. Raises MessageError."""
    if not field:
        return ""
    if field in charsets:
        return charsets[field]
    names = [name.strip() for name in field.split("~")]
    if not any(names):
        return ""
    unknown = [name for name in names if name and name not in charsets]
    found = {charsets.get(name, "ascii") for name in names} - {"ascii"}
    if unknown or len(found) > 1:
        raise MessageError("the character set is not supported", code=103, where=WHERE, clause="table 0211")
    return found.pop() if found else "ascii"


def first_line(body: bytes) -> bytes:
    """The header's bytes: a CR or LF is never the second byte of a character in a set we know."""
    end = body.find(b"\r")
    line = body if end < 0 else body[:end]
    return line.partition(b"\n")[0] if b"\n" in line else line


def _eighteenth(header: str) -> str:
    """MSH-18 of a decoded header; "" if it has none. Repetitions are written with ~ whatever MSH-2 says."""
    fields = header.split(header[3:4] or "|", _FIELD_18 + 1)
    if len(fields) <= _FIELD_18 or not fields[_FIELD_18]:
        return ""
    mark = Delimiters.of(header).repetition
    return fields[_FIELD_18].replace(mark, "~")

"""Escape sequences of text (HL7 v2.5.1 chapter 2, use of escape sequences in text fields).

What stands for a delimiter becomes the delimiter; line breaks and hexadecimal
data become what they stand for; highlighting, character set switches and
locally defined sequences are left out of the text. What is no sequence at all
(a Windows path, a lone mark) stays as it was sent: nothing is lost by reading.
"""

from __future__ import annotations

import re

from adapters.hl7v2.delimiters import Delimiters

__all__ = ["escape", "unescape"]

_LEFT_OUT = re.compile(r"[HN]|Z.*|C[0-9A-Fa-f]{4}|M[0-9A-Fa-f]{4,6}", re.DOTALL)
_FORMAT = re.compile(r"\.(br|sp|ce|sk|fi|nf|in|ti)\s*([+-]?\d{0,4})")
_HEX = re.compile(r"X((?:[0-9A-Fa-f]{2})+)")
_LONGEST_SPACE = 20  # seven characters must not become a thousand


def unescape(text: str, marks: Delimiters, charset: str = "utf-8") -> str:
    """`text` with its sequences undone. `charset` is the codec of hexadecimal data; what it cannot decode stays."""
    pieces = text.split(marks.escape)
    out, at, last = [pieces[0]], 1, len(pieces) - 1
    while at <= last:
        known = _meaning(pieces[at], marks, charset) if at < last else None
        if known is None:
            out += (marks.escape, pieces[at])  # no sequence: this mark stands for itself, the next may begin one
            at += 1
        else:
            out += (known, pieces[at + 1])
            at += 2
    return "".join(out)


def escape(text: str, marks: Delimiters) -> str:
    """`text` with the delimiters and line ends of a message written as sequences; the rest as it is."""
    mark = marks.escape
    if not mark:
        return text
    letters = {mark: "E", marks.field: "F", marks.component: "S", marks.repetition: "R", marks.subcomponent: "T"}
    letters |= {marks.truncation: "P", "\r": "X0D", "\n": "X0A"}
    return "".join(f"{mark}{letters[c]}{mark}" if c in letters else c for c in text)


def _meaning(body: str, marks: Delimiters, charset: str) -> str | None:
    """What the sequence between two escape marks stands for; None if it is no sequence."""
    match body:
        case "F":
            return marks.field
        case "S":
            return marks.component
        case "R":
            return marks.repetition
        case "T":
            return marks.subcomponent
        case "P" if marks.truncation:
            return marks.truncation
        case "E":
            return marks.escape
    if _LEFT_OUT.fullmatch(body):
        return ""
    if found := _FORMAT.fullmatch(body):
        return _formatted(*found.groups())
    if found := _HEX.fullmatch(body):
        return _decoded(bytes.fromhex(found[1]), charset)
    return None


def _formatted(command: str, count: str) -> str | None:
    number = min(int(count), _LONGEST_SPACE) if count.isdigit() else 1
    if command in ("br", "ce"):
        return "\n"
    if command == "sp":
        return "\n" * number
    return " " * number if command == "sk" else ""


def _decoded(data: bytes, charset: str) -> str | None:
    try:
        return data.decode(charset)
    except UnicodeDecodeError:
        return None

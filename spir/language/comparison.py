"""The commonest parts of conditions, read at sight: an attribute, or a comparison of two simple operands.

Nothing is decided here that the parser (`spir.language.cel`) does not decide:
what is not as plain as this is left to it, and a test holds one against the other.
"""

from __future__ import annotations

import re

from spir.language.lexer import PLAIN_TEXT, ROOTS
from spir.model.condition import Attribute, Compare, Condition, Literal, Not

__all__ = ["comparison"]

_SPACE = r"[\t\n\f\r\ ]*+"
_PATH = rf"(?:{'|'.join(ROOTS)}) (?:\.[A-Za-z_][A-Za-z0-9_]*+)++"
_LIST = rf"\[ {_SPACE} (?: {PLAIN_TEXT} {_SPACE} (?: , {_SPACE} {PLAIN_TEXT} {_SPACE} )*+ )? \]"
_OPERAND = rf"( {_PATH} | {PLAIN_TEXT} | {_LIST} | -?[0-9]{{1,18}} | true | false )"
_COMPARISON = re.compile(
    rf""" ! {_SPACE} ({_PATH})
    | {_OPERAND} (?: {_SPACE} (==|!=|<=|>=|<|>|in(?![A-Za-z0-9_])) {_SPACE} {_OPERAND} )? """,
    re.VERBOSE | re.ASCII,
)
_TEXTS = re.compile(PLAIN_TEXT, re.VERBOSE)


def comparison(text: str) -> Condition | None:
    """As `parse` reads the text where no names are bound; None if that is not to be seen at once."""
    found = _COMPARISON.fullmatch(text)
    if found is None:
        return None
    denied, left, op, right = found.groups()
    if denied:
        return Not(_operand(denied))
    return Compare(op, _operand(left), _operand(right)) if op else _operand(left)


def _operand(text: str) -> Condition:
    first = text[0]
    if first in "\"'":
        return Literal(text[1:-1])
    if first == "[":
        return Literal(tuple([one[1:-1] for one in _TEXTS.findall(text)]))
    if first in "-0123456789":
        return Literal(int(text))
    root, _, path = text.partition(".")
    return Attribute(f"{ROOTS[root]}.{path}") if path else Literal(text == "true")

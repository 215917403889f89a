"""Scopes: what a token's issuer says that its holder may at most do. Pure.

Three families are known; each is read into one normal form. Anything else
(`openid`, `launch`) is kept, and grants nothing. ABNF (RFC 5234)::

    scope     = medical / operation / smart
    medical   = %s"med:" word ":" word ":" class [":" %s"level" %x31-35]
                ; med:record:read:phi:level3 = area, verb, class of data, highest level
    class     = word
    operation = verb ":" word [":" word]            ; read:patient:allergy, an operation code
    verb      = %s"search" / %s"read" / %s"view" / %s"retrieve" / %s"create" / %s"update" / %s"delete"
              / %s"export" / %s"notify" / %s"trigger" / %s"execute"
    smart     = level "/" type "." access ["?" 1*VCHAR]   ; patient/Observation.rs?category=...
    level     = %s"patient" / %s"user" / %s"system"
    type      = "*" / UPALPHA *ALPHA
    access    = 1*5( "c" / "r" / "u" / "d" / "s" )  ; SMART 2: each at most once, in this order
              / %s"read" / %s"write" / "*"          ; SMART 1
    word      = LOALPHA *( LOALPHA / DIGIT / "-" )
    UPALPHA   = %x41-5A
    LOALPHA   = %x61-7A
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from spir.errors import Unauthenticated

__all__ = ["Family", "Scope", "granted", "parse", "split"]

MOST_SCOPES = 128
VERBS = "search|read|view|retrieve|create|update|delete|export|notify|trigger|execute"

_TOKENS = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")  # RFC 6749 A.4
_WORD = r"[a-z][a-z0-9-]*"
_MEDICAL = re.compile(rf"med:({_WORD}):({_WORD}):({_WORD})(?::level([1-5]))?")
_OPERATION = re.compile(rf"({VERBS}):({_WORD})(?::({_WORD}))?")
_SMART = re.compile(
    r"(patient|user|system)/(\*|[A-Z][A-Za-z]*)\.(?:((?=[cruds])c?r?u?d?s?)|(read|write|\*))(?:\?([\x21-\x7e]+))?"
)
_FIRST_VERSION = {"read": "rs", "write": "cud", "*": "cruds"}


class Family(Enum):
    MEDICAL = "medical"
    OPERATION = "operation"
    SMART = "smart"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Scope:
    """`parts`: medical (area, verb, class, level or ""); operation (verb, type, category or "");
    smart (level, type, access as in SMART 2, query or ""); unknown: none. `text` is as it was given."""

    family: Family
    parts: tuple[str, ...]
    text: str


def parse(text: str) -> Scope:
    """One scope. Never fails: what is not known is `Family.UNKNOWN`."""
    if found := _MEDICAL.fullmatch(text):
        return Scope(Family.MEDICAL, tuple(part or "" for part in found.groups()), text)
    if found := _OPERATION.fullmatch(text):
        return Scope(Family.OPERATION, tuple(part or "" for part in found.groups()), text)
    if found := _SMART.fullmatch(text):
        level, kind, second, first, query = found.groups()
        return Scope(Family.SMART, (level, kind, second or _FIRST_VERSION[first], query or ""), text)
    return Scope(Family.UNKNOWN, (), text)


def split(text: str) -> tuple[str, ...]:
    """The scopes in a claim, each once, sorted. Raises Unauthenticated (RFC 6749 3.3)."""
    if text and not _TOKENS.fullmatch(text):
        raise Unauthenticated("the token's scopes are malformed", clause="RFC 6749 3.3")
    found = sorted(set(text.split(" "))) if text else []
    if len(found) > MOST_SCOPES:
        raise Unauthenticated(f"the token has more than {MOST_SCOPES} scopes")
    return tuple(found)


def granted(scopes: Iterable[str]) -> tuple[str, ...]:
    """The operation codes among scopes, which become permissions."""
    return tuple(text for text in scopes if parse(text).family in (Family.MEDICAL, Family.OPERATION))

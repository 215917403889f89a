"""The family of errors: every one says what is wrong, how to mend it, and by which clause.

Messages start in lower case, carry no full stop, quote input in backticks and
never contain patient data. Foreign exceptions are translated into these once,
at the boundary where they arise.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "BundleError",
    "ConditionError",
    "DocumentError",
    "FactError",
    "Location",
    "PeerError",
    "RequestError",
    "SpirError",
    "Unauthenticated",
    "Unavailable",
]


class Location(NamedTuple):  # documents have one for each of their words, and a tuple is made fastest
    """A place in a document: `file`, and 1-based `line` and `column` (0 when not known)."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])


class SpirError(Exception):
    """Any error of ours. `hint` says how to mend it; `clause` names a standard's clause."""

    def __init__(self, message: str, *, hint: str = "", clause: str = "", location: Location | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.clause = clause
        self.location = location

    def __str__(self) -> str:
        text = f"{self.location}: {self.message}" if self.location else self.message
        text = f"{text} ({self.clause})" if self.clause else text
        return f"{text}; {self.hint}" if self.hint else text


class DocumentError(SpirError):
    """The policy author's: a document cannot be read, or says what cannot be meant."""


class ConditionError(DocumentError):
    """The policy author's: a condition does not parse or uses what is not declared."""


class RequestError(SpirError):
    """The caller's: a request is malformed or lacks what every request must have."""


class FactError(SpirError):
    """A source's: a fact or a change of facts is malformed."""


class BundleError(SpirError):
    """A bundle cannot be verified or may not be activated."""


class Unauthenticated(SpirError):
    """The caller's: nobody we know presented these credentials."""


class PeerError(SpirError):
    """A peer's: it broke its protocol, answered with an error, or did not answer in time."""


class Unavailable(SpirError):
    """Ours: a part that a safe answer needs (audit, facts, upstream) does not work now."""

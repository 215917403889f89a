"""What the facade says of its own accord: OperationOutcome and the answer that hides whether there is anything.

No answer built here ever holds a byte of the upstream's. `NOT_FOUND` is one
constant, so that invisible, deleted and absent cannot be told apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from spir.errors import RequestError

__all__ = ["JSON", "NOT_FOUND", "Refused", "Response", "outcome", "refusal"]

JSON = "application/fhir+json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Response:
    """What goes out. `headers` are those of this answer; the shell adds those of every answer."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class Refused(RequestError):
    """The caller's request is refused: `status` of HTTP, `code` of the value set issue-type.

    The message says what, never whether anything exists; `hint` says how to ask instead.
    """

    def __init__(
        self, status: int, code: str, message: str, *, hint: str = "", headers: Iterable[tuple[str, str]] = ()
    ):
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.headers = tuple(headers)


def outcome(status: int, code: str, text: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """An OperationOutcome with one error."""
    issue = {"severity": "error", "code": code, "details": {"text": text}}
    return Response(status, orjson.dumps({"resourceType": "OperationOutcome", "issue": [issue]}), headers)


def refusal(error: Refused) -> Response:
    """The answer to a refused request; 404 is always the same 404."""
    if error.status == 404 and error.code == "not-found":
        return NOT_FOUND
    text = f"{error.message}; {error.hint}" if error.hint else error.message
    return outcome(error.status, error.code, text, error.headers)


# INVARIANT: the only answer for "you may not see it" and "there is none".
NOT_FOUND = outcome(404, "not-found", "no such resource")

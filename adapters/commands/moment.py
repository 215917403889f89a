"""Moments on the command line: RFC 3339, in local time where no offset is given."""

from __future__ import annotations

from datetime import datetime

from spir.errors import RequestError

__all__ = ["moment"]


def moment(text: str) -> datetime | None:
    """The moment, aware; None for no text. Raises RequestError."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise RequestError(f"`{text}` is not a time", hint="write RFC 3339, as 2026-11-21T08:30:00+08:00") from error
    return found if found.tzinfo else found.astimezone()

"""What an answer means for a delivery, and how long to wait before the next attempt.

Pure: chance and time are passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum

from spir.errors import DocumentError

__all__ = ["Retry", "Verdict", "asked_pause", "judge"]

# 4xx that say "not now" and not "never": Request Timeout, Conflict, Misdirected Request (RFC 9110),
# Locked (RFC 4918), Too Early (RFC 8470), Too Many Requests (RFC 6585).
PASSING = frozenset({408, 409, 421, 423, 425, 429})


class Verdict(Enum):
    DELIVERED = "delivered"
    AGAIN = "again"
    DEAD = "dead"


def judge(status: int, present: frozenset[int] = frozenset()) -> Verdict:
    """What an HTTP status means. `present` are those that say that the receiver has it already.

    A redirect is not followed: it may be a site's page for maintenance, so it
    is tried again and not given up.
    """
    if 200 <= status < 300 or status in present:
        return Verdict.DELIVERED
    if 400 <= status < 500 and status not in PASSING:
        return Verdict.DEAD
    return Verdict.AGAIN


@dataclass(frozen=True, slots=True)
class Retry:
    """At most `attempts` in all; pauses in seconds, doubled from `first` up to `ceiling`.

    As set here, a receiver may be away for an hour and a half before its
    notifications are given up. Raises DocumentError.
    """

    attempts: int = 100
    first: float = 0.5
    ceiling: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0 < self.first <= self.ceiling < float("inf"):
            raise DocumentError("retries need at least one attempt, and 0 < first <= ceiling")

    def pause(self, failed: int, chance: float) -> float:
        """Seconds to wait after the `failed`th failure (from 1); `chance` is in [0, 1).

        Between half of the step and all of it, so that many that failed
        together do not come back together.
        """
        doublings = min(max(failed - 1, 0), 64)  # more would leave the range of a float
        step = min(self.first * 2.0**doublings, self.ceiling)
        return step * (0.5 + 0.5 * chance)

    def exhausted(self, failed: int) -> bool:
        return failed >= self.attempts


def asked_pause(header: str, now: datetime) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110 10.2.3); 0 for what is not one."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((aware - now).total_seconds(), 0.0)

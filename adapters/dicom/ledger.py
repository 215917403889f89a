"""How many instances of which series an association has stored: one durable record stands for many instances.

A modality stores a series instance by instance and waits for each response. A
record of its own for each would cost a disk flush each, some milliseconds. So
the first permitted instance of a series gets a durable record before it is
answered, and the last words on the series, with their number, follow when the
association ends or moves on. Every instance is still decided on its own, and
a refusal or failure always has its own record.

INVARIANT: no instance is answered with success whose series has no durable record.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from adapters.dicom.session import Trail
from spir.exchange import Commit, Record

__all__ = ["Ledger"]

MAX_OPEN = 64  # series that one association is storing at a time


@dataclass(slots=True)
class _Entry:
    trail: Trail
    instances: int


class Ledger:
    """Of one association. `key` names a series as it was judged, with the rules it was judged by."""

    def __init__(self) -> None:
        self._open: dict[Hashable, _Entry] = {}

    def knows(self, key: Hashable) -> bool:
        """Whether a durable record covers the next instance of `key`."""
        return key in self._open

    def opening(self, trail: Trail) -> Commit:
        """The record for the first instance of a series, and the last words on those that have to make room."""
        closed = [self._open.pop(next(iter(self._open))) for _ in range(len(self._open) - MAX_OPEN + 1)]
        return Commit(*trail.opening().items, *_last_words(closed))

    def begin(self, key: Hashable, trail: Trail) -> None:
        """`opening` has become durable."""
        self._open[key] = _Entry(trail, 0)

    def count(self, key: Hashable) -> None:
        """One more instance of `key` was stored."""
        if key in self._open:
            self._open[key].instances += 1

    def closing(self) -> Commit | None:
        """The last words on everything that is open; None if there is nothing to say."""
        words = _last_words(list(self._open.values()))
        self._open.clear()
        return Commit(*words) if words else None


def _last_words(entries: list[_Entry]) -> list[Record]:
    return [entry.trail.closing(entry.instances) for entry in entries if entry.instances]

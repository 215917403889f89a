"""SHELL: how long a gate may take, while others have their turn."""

from __future__ import annotations

import time

from adapters.yielding import Turns

__all__ = ["UNIONS", "Patience"]

# Checks that ask about several policies together, and may take as long as they like: each has a share only.
UNIONS = frozenset(("shadowing", "redundancy", "indeterminate", "layers"))
SHARE = 0.03


class Patience:
    """So many seconds from now. Whoever asks in a thread beside the event loop lets it go first now and then."""

    def __init__(self, seconds: float) -> None:
        self._share = seconds * SHARE
        self._end = time.monotonic() + seconds
        self._ends: dict[str, float] = {}
        self._turns = Turns()

    def left(self) -> bool:
        self._turns.give()
        return time.monotonic() < self._end

    def step(self, check: str, done: int, total: int) -> bool:
        """As the validator asks."""
        if check in UNIONS:
            end = self._ends.setdefault(check, time.monotonic() + self._share)
            return self.left() and time.monotonic() < end
        return self.left()

"""SHELL: how long a gate may take, while others have their turn."""

from __future__ import annotations

import threading
import time

__all__ = ["UNIONS", "Patience"]

# Checks that ask about several policies together, and may take as long as they like: each has a share only.
UNIONS = frozenset(("shadowing", "redundancy", "indeterminate", "layers"))
SHARE = 0.03

TURN = 0.001  # seconds


class Patience:
    """So many seconds from now. Whoever asks in a thread beside the event loop lets it go first, once in `TURN`."""

    def __init__(self, seconds: float) -> None:
        self._share = seconds * SHARE
        self._end = time.monotonic() + seconds
        self._ends: dict[str, float] = {}
        self._turn = 0.0
        self._beside = threading.current_thread() is not threading.main_thread()

    def left(self) -> bool:
        now = time.monotonic()
        if self._beside and now >= self._turn:
            time.sleep(0)  # it takes 50 µs: not for every question
            self._turn = now + TURN
        return now < self._end

    def step(self, check: str, done: int, total: int) -> bool:
        """As the validator asks."""
        if check in UNIONS:
            end = self._ends.setdefault(check, time.monotonic() + self._share)
            return self.left() and time.monotonic() < end
        return self.left()

"""SHELL: long work in a thread beside the event loop, without the loop having to wait for it.

Three things hold up a loop while a thread works. Threads take turns every 5 ms
by default: `giving_way` makes that a fraction of a millisecond. The collector
looks through a large heap at one go: it is off meanwhile. And what one call
into C does is not divided: whoever builds something large does so in slices,
and `finished` lets others go first between two of them.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Generator
from types import TracebackType
from typing import Any

__all__ = ["Turns", "finished", "giving_way"]

SWITCH = 0.0002  # seconds after which a thread gives way
TURN = 0.001  # seconds that a thread works between two slices before it lets others go first


class _GivingWay:
    """While anybody is inside, threads switch often and the collector does not run.

    Enter it on the thread that shall not wait, before the work begins elsewhere:
    until the interval is short, that thread may have to wait for the long one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = (0.0, False)

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before = sys.getswitchinterval(), gc.isenabled()
                sys.setswitchinterval(SWITCH)
                gc.disable()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                interval, collecting = self._before
                sys.setswitchinterval(interval)
                if collecting:
                    gc.enable()

    def keep(self) -> None:
        """What was built here is large and stays: the collector shall not go through it as soon as it is on again.

        It is taken out of the collector's sight. Rules hold no rings, they go when nothing refers to them any
        more; what rings others have left behind in this moment stay for good, which is why small things are not kept.
        """
        gc.freeze()


giving_way = _GivingWay()


class Turns:
    """Lets others go first, from a thread beside the event loop; once in `TURN`, for it takes 50 µs."""

    def __init__(self) -> None:
        self._beside = threading.current_thread() is not threading.main_thread()
        self._next = 0.0

    def give(self) -> None:
        if self._beside and time.monotonic() >= self._next:
            time.sleep(0)
            self._next = time.monotonic() + TURN


def finished(steps: Generator[Any, None, Any]) -> Any:
    """Run to the end; between slices whoever waits has a turn."""
    turns = Turns()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
        turns.give()

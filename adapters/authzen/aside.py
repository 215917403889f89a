"""SHELL: what takes long, in one thread beside the event loop, so that no decision waits for an explanation.

Bounded: one works, some wait, more are refused; and nobody waits longer than
`seconds`. A thread cannot be stopped from outside, so work that may be long asks
its `Patience` on the way and comes to an end by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from adapters.authzen.answer import Refused

__all__ = ["Aside", "Patience"]

T = TypeVar("T")

SECONDS = 5.0
MOST = 16  # that work or wait

# True once no more time should be spent. Asking it lets the event loop go first.
Patience = Callable[[], bool]


class Aside:
    """`seconds`: for a piece of work and its waiting. The thread is started with the first piece of work."""

    def __init__(self, seconds: float = SECONDS, most: int = MOST) -> None:
        self._seconds, self._most = seconds, most
        self._count = 0
        self._thread: ThreadPoolExecutor | None = None

    async def run(self, work: Callable[[Patience], T]) -> T:
        """What `work` returns or raises. Raises Refused (503) where too many wait, or it takes too long."""
        if self._count >= self._most:
            raise Refused(503, "too much of this is asked for at once", hint="try again later")
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "spir-aside")
        self._count += 1
        end = time.monotonic() + self._seconds
        running = asyncio.get_running_loop().run_in_executor(self._thread, _begun, work, end)
        running.add_done_callback(self._over)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(running)
        except TimeoutError:
            raise _late() from None

    async def close(self) -> None:
        """What waits is not begun; what runs comes to its own end."""
        if self._thread is not None:
            thread, self._thread = self._thread, None
            stopping = partial(thread.shutdown, wait=True, cancel_futures=True)
            await asyncio.get_running_loop().run_in_executor(None, stopping)

    def _over(self, future: asyncio.Future[T]) -> None:
        self._count -= 1
        if not future.cancelled():
            future.exception()  # seen: whoever asked may have gone


def _begun(work: Callable[[Patience], T], end: float) -> T:
    if time.monotonic() > end:
        raise _late()
    half = time.monotonic() + (end - time.monotonic()) / 2

    def over() -> bool:
        time.sleep(0)  # the event loop's thread may have the interpreter
        return time.monotonic() > half

    return work(over)


def _late() -> Refused:
    return Refused(503, "it takes too long", hint="try again later")

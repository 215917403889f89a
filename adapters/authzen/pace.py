"""SHELL: long work on the event loop in short pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

__all__ = ["TURN", "paced"]

TURN = 0.004  # seconds of work before others go first


async def paced(steps: Iterable[None], turn: float = TURN) -> None:
    """Take all steps, one by one; after each `turn` seconds of that, whoever waits goes first."""
    loop = asyncio.get_running_loop()
    until = loop.time() + turn
    for _ in steps:
        if loop.time() > until:
            await asyncio.sleep(0)
            until = loop.time() + turn

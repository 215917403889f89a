"""SHELL: long work on the event loop in short pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TypeVar

__all__ = ["TURN", "drawn"]

T = TypeVar("T")

TURN = 0.004  # seconds of work before others go first


async def drawn(items: Iterable[T], turn: float = TURN) -> list[T]:
    """All items, computed one by one; after each `turn` seconds of that, whoever waits goes first."""
    loop = asyncio.get_running_loop()
    until = loop.time() + turn
    found = []
    for item in items:
        found.append(item)
        if loop.time() > until:
            await asyncio.sleep(0)
            until = loop.time() + turn
    return found

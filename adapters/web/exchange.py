"""A request that has arrived whole, and its answer: for applications that answer some without a task of their own.

uvicorn makes a task, an event and a scope for every request, and looks at every
header of an answer again. What is asked most often is spared that: it is handed
over as it stands, and its answer is written as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Exchange", "Quick"]


class _Nobody:
    """Stands for the event that a task would wait for."""

    def set(self) -> None:
        """Nobody waits."""


class Exchange:
    """One request and its answer. What uvicorn's protocol looks at in a cycle of its own is here, too."""

    __slots__ = (
        "_default",
        "_over",
        "_transport",
        "body",
        "disconnected",
        "headers",
        "keep_alive",
        "path",
        "response_complete",
    )

    message_event = _Nobody()
    more_body = False

    def __init__(
        self,
        path: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        keep_alive: bool,
        default: list[tuple[bytes, bytes]],
        transport: asyncio.WriteTransport,
        over: Callable[[], None],
    ) -> None:
        self.path, self.headers, self.body, self.keep_alive = path, headers, body, keep_alive
        self.disconnected = self.response_complete = False
        self._default, self._transport, self._over = default, transport, over

    def reply(self, head: bytes, body: bytes) -> None:
        """Send the answer. `head`: status line and headers, each with its line end."""
        if self.disconnected or self.response_complete:
            return
        self.response_complete = True
        more = b"".join([b"%b: %b\r\n" % line for line in self._default])  # the server's own: the date
        if not self.keep_alive:
            more += b"connection: close\r\n"
        self._transport.write(b"%b%b\r\n%b" % (head, more, body))
        if not self.keep_alive:
            self._transport.close()
        self._over()


@dataclass(frozen=True, slots=True)
class Quick:
    """`paths` (POST) whose requests `answer` may take, if their bodies have at most `longest` bytes.

    `answer` is told the request, the client's address ("" on a Unix socket) and its certificate (DER). It says
    whether it takes it: then it calls `reply`, now or later. If not, it has done nothing, and the request goes to
    the application like all others.
    """

    paths: frozenset[bytes]
    longest: int
    answer: Callable[[Exchange, str, bytes], bool]

"""A request that has arrived whole, and its answer: for applications that answer some without a task of their own.

uvicorn makes a task, an event and a scope for every request, and looks at every
header of an answer again. What is asked most often is spared that: it is handed
over as it stands, and its answer is written as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import msgspec

from adapters.web.heads import Head, Pairs

__all__ = ["Exchange", "Quick"]


class _Nobody:
    """Stands for the event that a task would wait for."""

    def set(self) -> None:
        """Nobody waits."""


class Connection(Protocol):
    """What an exchange needs of the connection that it came on."""

    def send(self, head: bytes, body: bytes, last: bool) -> None:
        """Write an answer whole, with the server's own headers; close after the `last`."""
        ...


class Exchange(msgspec.Struct, eq=False):
    """One request and its answer. What uvicorn's protocol looks at in a cycle of its own is here, too.

    `head` and `own`: the lines that it has in common with other requests, and its own.
    """

    connection: Connection
    head: Head
    own: Mapping[bytes, bytes]
    body: bytes
    keep_alive: bool
    disconnected: bool = False
    response_complete: bool = False

    message_event: ClassVar[_Nobody] = _Nobody()
    more_body: ClassVar[bool] = False

    @property
    def path(self) -> str:
        return self.head.path

    @property
    def headers(self) -> Pairs:
        """All lines, their names in lower case."""
        return [*self.head.headers, *self.own.items()]

    def reply(self, head: bytes, body: bytes) -> None:
        """Send the answer. `head`: status line and headers, each with its line end."""
        if self.disconnected or self.response_complete:
            return
        self.response_complete = True
        self.connection.send(head, body, not self.keep_alive)


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

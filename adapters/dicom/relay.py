"""SHELL: the rest of one data set, passed from one connection to another as it arrives.

It works inside the source's callback, with no task and no future for each fragment. Where PDUs fit
the target as they are, they go through as bytes, uncopied and even before they are complete; else
their fragments are wrapped anew. Back-pressure: while the target is choked, the source is not read.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from adapters.dicom.association import Association, PeerSilent
from adapters.dicom.dimse import DataFragment
from adapters.dicom.framing import Through
from spir.errors import PeerError

__all__ = ["Relay", "Target"]


class Target(Protocol):
    """What a relay needs of the connection it writes to."""

    association: Association

    @property
    def choked(self) -> bool: ...

    @property
    def aligned(self) -> bool: ...

    def write_through(self, raw: memoryview, unfinished: bool) -> None: ...

    def send_data(self, context: int, data: bytes | memoryview, *, last: bool, exact: bool = False) -> None: ...


class Relay:
    """To `target`, there on `context`. `size`: bytes of the data set passed; `done`: no more to pass.

    `through`: PDUs go as they are, and fragments that had to be framed go in their own sizes between
    them. Decided once: an odd byte held back by the target would be overtaken otherwise.
    """

    __slots__ = ("_context", "_outcome", "done", "size", "target", "through")

    def __init__(self, target: Target, context: int, source_context: int) -> None:
        self.target = target
        self.size = 0
        self.done = False
        self.through = target.aligned and context == source_context
        self._context = context
        self._outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self, event: DataFragment) -> None:
        """Pass on a fragment that was framed, in PDUs of our own."""
        try:
            self.target.send_data(self._context, event.fragment, last=event.last, exact=self.through)
        except PeerError as error:
            self.fail(error)
            return
        self.size += len(event.fragment)
        if event.last:
            self._succeed()

    def take_through(self, piece: Through) -> None:
        """Pass on bytes of PDUs as they are."""
        self.target.write_through(piece.raw, piece.open)
        self.size += piece.size
        if piece.last:
            self._succeed()

    def _succeed(self) -> None:
        self.done = True
        if not self._outcome.done():
            self._outcome.set_result(None)

    def fail(self, error: PeerError) -> None:
        if not self.done:
            self.done = True
            if not self._outcome.done():
                self._outcome.set_exception(error)

    async def finish(self, stall: float) -> int:
        """Wait until the data set has passed; its size. Raises what ended either side, and PeerSilent
        when nothing has moved for `stall` seconds."""
        size = -1
        while not self._outcome.done():
            if size == self.size:
                raise PeerSilent("a data set stopped on its way", hint="one of its two peers does not go on")
            size = self.size
            await asyncio.wait((self._outcome,), timeout=stall)
        self._outcome.result()
        return self.size

"""SHELL: the rest of one data set, passed from one connection to another as it arrives.

It works inside the source's callback: no task and no future for each fragment, and no copy where the
PDUs fit the target as they are. Back-pressure: while the target is choked, the source is not read.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from adapters.dicom.association import Association, PeerSilent
from adapters.dicom.dimse import DataFragment
from adapters.dicom.framing import Frame
from spir.errors import PeerError

__all__ = ["Relay", "Target"]

_PDU_AND_PDV_HEADS = 12


class Target(Protocol):
    """What a relay needs of the connection it writes to."""

    association: Association

    @property
    def choked(self) -> bool: ...

    @property
    def aligned(self) -> bool: ...

    def write_parts(self, parts: list[bytes | memoryview]) -> None: ...

    def send_data(self, context: int, data: bytes | memoryview, *, last: bool) -> None: ...


class Relay:
    """To `target`, there on `context`. `size`: bytes of the data set passed; `done`: no more to pass."""

    __slots__ = ("_context", "_outcome", "_parts", "done", "size", "target")

    def __init__(self, target: Target, context: int) -> None:
        self.target = target
        self.size = 0
        self.done = False
        self._context = context
        self._parts: list[bytes | memoryview] = []
        self._outcome: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self, event: DataFragment, frame: Frame | None = None) -> None:
        """Pass a fragment on; as the PDU that it came in, where it came alone and may go so."""
        if self._fits(event, frame):
            assert frame is not None
            self._parts.append(frame.raw)
        else:
            self.flush()
            try:
                self.target.send_data(self._context, event.fragment, last=event.last)
            except PeerError as error:
                self.fail(error)
                return
        self.size += len(event.fragment)
        if event.last:
            self.flush()
            self.done = True
            if not self._outcome.done():
                self._outcome.set_result(None)

    def _fits(self, event: DataFragment, frame: Frame | None) -> bool:
        return (
            frame is not None
            and len(frame.raw) == len(event.fragment) + _PDU_AND_PDV_HEADS
            and len(frame.raw) - 6 <= self.target.association.send_max
            and event.context == self._context
            and self.target.aligned
            and self.target.association.established
        )

    def flush(self) -> None:
        """Write what was taken since the last time."""
        if self._parts:
            parts, self._parts = self._parts, []
            self.target.write_parts(parts)

    def fail(self, error: PeerError) -> None:
        if not self.done:
            self.done = True
            self._parts.clear()
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

"""SHELL: the limits of a connection, and its deadlines on one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from adapters.dicom.association import Association
from adapters.dicom.state_table import State

__all__ = ["Deadline", "Deadlines", "Limits"]


class Deadline(Enum):
    ARTIM = "artim"  # of the state machine (PS3.8 9.1.5)
    PDU = "pdu"  # of one whole PDU
    CLOSE = "close"  # of writing what was left when we closed


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds, sizes in bytes."""

    artim: float = 15.0  # to begin an association, and to close after its end
    pdu: float = 30.0  # for one whole PDU, from its first byte
    idle: float = 300.0  # the longest silence where no other wait is given
    stall: float = 60.0  # the longest pause within a message, either way
    queue: int = 512 * 1024
    write: int = 512 * 1024


class Deadlines:
    """The deadlines of a connection on one timer, which is moved only when one comes nearer."""

    __slots__ = ("_association", "_at", "_count", "_expire", "_limits", "_loop", "_state", "_timer")

    def __init__(self, association: Association, limits: Limits, expire: Callable[[Deadline], None]) -> None:
        self._association = association
        self._limits = limits
        self._expire = expire
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._at: dict[Deadline, float] = {}
        self._state: State | None = None
        self._count = -1

    def settle(self, reading: bool) -> None:
        """ARTIM runs afresh in each state; a PDU's deadline runs while we let the peer go on."""
        association, limits = self._association, self._limits
        if not association.artim:
            self._at.pop(Deadline.ARTIM, None)
            self._state = None
        elif association.state is not self._state:
            self._state = association.state
            self._set(Deadline.ARTIM, limits.artim)
        if not (association.partial and reading):
            self._at.pop(Deadline.PDU, None)
        elif Deadline.PDU not in self._at or association.frames != self._count:
            self._count = association.frames
            self._set(Deadline.PDU, limits.pdu)

    def kill_later(self) -> None:
        self._set(Deadline.CLOSE, self._limits.artim)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at.clear()

    def _set(self, name: Deadline, seconds: float) -> None:
        at = self._at[name] = self._loop.time() + seconds
        if self._timer is None or at < self._timer.when():
            self._arm(at)

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        self._timer = None
        for name, at in sorted(self._at.items(), key=lambda item: item[1]):
            if self._at.get(name) != at:
                continue  # an expiry has changed it
            if at > self._loop.time():
                self._arm(at)
                return
            del self._at[name]
            self._expire(name)

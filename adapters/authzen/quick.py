"""SHELL: one evaluation, answered without a task: what is asked most often, and nothing else.

The answer is the one that the service gives on the ordinary way, after the same
record; so is a refusal.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from http import HTTPStatus

from adapters.authzen import events
from adapters.authzen.call import Arrived, Reply, head, quick_head
from adapters.authzen.deciding import Deciding, Evaluated
from adapters.authzen.operations import Operation
from adapters.authzen.port import PdpPort
from adapters.authzen.recorder import Recorder
from adapters.authzen.tally import Tally
from adapters.web.exchange import Exchange
from spir.errors import SpirError, Unavailable
from spir.exchange import Record

__all__ = ["LONGEST", "Quickly"]

LONGEST = 32 * 1024  # bytes of an evaluation

MOST_TOGETHER = 32  # that are decided before others go first

_Arrival = tuple[Exchange, str, bytes, float]
_Decided = tuple[Exchange, Arrived, Evaluated, float]


@dataclass(frozen=True)
class Quickly:
    """`admitted` and `refused` are the service's own."""

    operation: Operation
    services: PdpPort
    admitted: Callable[[Arrived, Operation], tuple[events.Call, datetime]]
    refused: Callable[[Arrived, Operation, Exception], Awaitable[Reply]]
    deciding: Deciding
    recorder: Recorder
    tally: Tally
    numbers: random.Random
    arrived: list[_Arrival] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def answer(self, exchange: Exchange, address: str, certificate: bytes) -> bool:
        """See `adapters.web.exchange.Quick`. Those that arrive together are decided one after the other, and recorded
        in one commit: the same work on many costs less than all the work on each."""
        self.arrived.append((exchange, address, certificate, time.perf_counter()))
        if len(self.arrived) == 1:
            asyncio.get_running_loop().call_soon(self._decide)
        return True

    def _decide(self) -> None:
        some, self.arrived[:MOST_TOGETHER] = self.arrived[:MOST_TOGETHER], []
        decided: list[_Decided] = []
        records: list[Record] = []
        for exchange, address, certificate, started in some:
            arrived = Arrived("POST", exchange.path, exchange.headers, address, certificate, self.numbers)
            try:
                arrived.check(exchange.headers)
                arrived.check_type()
                call, now = self.admitted(arrived, self.operation)
                done = self.deciding.evaluated(exchange.body, now)
                records += events.evaluated(call, (done,), now)
            except Exception as error:
                self._refuse(exchange, arrived, started, error)
                continue
            decided.append((exchange, arrived, done, started))
        if self.arrived:
            asyncio.get_running_loop().call_soon(self._decide)
        if decided:
            self._record(records, decided)

    def _record(self, records: list[Record], decided: list[_Decided]) -> None:
        try:
            self.recorder.then(records, partial(self._recorded, decided))
        except SpirError as error:
            self._recorded(decided, error.message)

    def _recorded(self, decided: list[_Decided], problem: str) -> None:
        """INVARIANT: no decision is answered that is not recorded."""
        for exchange, arrived, done, started in decided:
            if problem:
                self._refuse(exchange, arrived, started, Unavailable("not recorded", hint=problem))
                continue
            self.tally.over_http(done)
            bundle = done.decision.bundle if done.decision else ""
            exchange.reply(quick_head(len(done.encoded), arrived, bundle), done.encoded)
            self.tally.served(self.operation.id, 200, time.perf_counter() - started)

    def _refuse(self, exchange: Exchange, arrived: Arrived, started: float, error: Exception) -> None:
        task = asyncio.create_task(self._refused(exchange, arrived, started, error))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _refused(self, exchange: Exchange, arrived: Arrived, started: float, error: Exception) -> None:
        reply = await self.refused(arrived, self.operation, error)
        lines = [b"%b: %b\r\n" % line for line in head(reply, arrived, self.services.bundle)]
        phrase = HTTPStatus(reply.status).phrase.encode()
        exchange.reply(b"HTTP/1.1 %d %b\r\n%b" % (reply.status, phrase, b"".join(lines)), reply.body)
        self.tally.served(self.operation.id, reply.status, time.perf_counter() - started)

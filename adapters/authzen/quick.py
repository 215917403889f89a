"""SHELL: one evaluation, answered without a task: what is asked most often, and nothing else.

The answer is the one that the service gives on the ordinary way, after the same
record. Whatever is to be refused goes that way, too: here it is not taken.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from adapters.authzen import events
from adapters.authzen.call import Arrived, Reply, head, quick_head
from adapters.authzen.deciding import Deciding, Evaluated
from adapters.authzen.operations import Operation
from adapters.authzen.port import PdpPort
from adapters.authzen.recorder import Recorder
from adapters.authzen.tally import Tally
from adapters.web.exchange import Exchange
from spir.errors import SpirError, Unavailable

__all__ = ["LONGEST", "PHRASES", "Quickly"]

LONGEST = 32 * 1024  # bytes of an evaluation

PHRASES = {
    400: b"Bad Request",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}


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
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def answer(self, exchange: Exchange, address: str, certificate: bytes) -> bool:
        """See `adapters.web.exchange.Quick`."""
        started = time.perf_counter()
        arrived = Arrived("POST", exchange.path, exchange.headers, address, certificate, self.numbers)
        try:
            arrived.check(exchange.headers)
            arrived.check_type()
            call, now = self.admitted(arrived, self.operation)
            done = self.deciding.evaluated(exchange.body, now)
            records = events.evaluated(call, (done,), now)
            self.recorder.then(records, partial(self._recorded, exchange, arrived, done, started))
        except SpirError:
            return False
        return True

    def _recorded(self, exchange: Exchange, arrived: Arrived, done: Evaluated, started: float, problem: str) -> None:
        """INVARIANT: no decision is answered that is not recorded."""
        if problem:
            task = asyncio.create_task(self._unrecorded(exchange, arrived, started, problem))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            return
        self.tally.over_http(done)
        bundle = done.decision.bundle if done.decision else ""
        exchange.reply(quick_head(len(done.encoded), arrived, bundle), done.encoded)
        self.tally.served(self.operation.id, 200, time.perf_counter() - started)

    async def _unrecorded(self, exchange: Exchange, arrived: Arrived, started: float, problem: str) -> None:
        reply = await self.refused(arrived, self.operation, Unavailable("not recorded", hint=problem))
        lines = [b"%b: %b\r\n" % line for line in head(reply, arrived, self.services.bundle)]
        exchange.reply(b"HTTP/1.1 %d %b\r\n%b" % (reply.status, PHRASES[reply.status], b"".join(lines)), reply.body)
        self.tally.served(self.operation.id, reply.status, time.perf_counter() - started)

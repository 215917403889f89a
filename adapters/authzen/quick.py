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
from adapters.authzen.call import Arrived, Ids, Reply, credentials_of, head, quick_head
from adapters.authzen.deciding import Deciding, Evaluated
from adapters.authzen.gate import Gate
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
_Decided = tuple[_Arrival, Ids, Evaluated]


@dataclass(frozen=True)
class Quickly:
    """`refused` is the service's own."""

    operation: Operation
    services: PdpPort
    gate: Gate
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
        now = self.services.now()
        decided: list[_Decided] = []
        records: list[Record] = []
        for arrival in some:
            try:
                ids, caller = self._admitted(arrival, now)
                exchange, address, _, _ = arrival
                done = self.deciding.evaluated(exchange.body, now)
                records += events.evaluated(events.Call(self.operation.id, caller, address, ids.trace), (done,), now)
            except Exception as error:
                self._refuse(arrival, error)
                continue
            decided.append((arrival, ids, done))
        if self.arrived:
            asyncio.get_running_loop().call_soon(self._decide)
        if decided:
            self._record(records, decided)

    def _admitted(self, arrival: _Arrival, now: datetime) -> tuple[Ids, str]:
        """The ids of a call, and its caller, who may make it. Raises what the ordinary way raises."""
        exchange, address, certificate, _ = arrival
        own, authorization = exchange.own, exchange.head.known
        ids = Ids.of(own.get(b"traceparent"), own.get(b"x-request-id"), self.numbers)
        if authorization is None or own.get(b"x-request-id", ids.request) is not ids.request:
            arrived = self._arrived(arrival)
            arrived.check(exchange.headers)
            arrived.check_type()
            exchange.head.known = authorization = arrived.headers.get(b"authorization", b"")
        shown = (authorization, certificate, address)
        return ids, self.gate.admit(shown, partial(credentials_of, shown), self.operation.permission, now).id

    def _record(self, records: list[Record], decided: list[_Decided]) -> None:
        try:
            self.recorder.then(records, partial(self._recorded, decided))
        except SpirError as error:
            self._recorded(decided, error.message)

    def _recorded(self, decided: list[_Decided], problem: str) -> None:
        """INVARIANT: no decision is answered that is not recorded."""
        for arrival, ids, done in decided:
            if problem:
                self._refuse(arrival, Unavailable("not recorded", hint=problem))
                continue
            exchange, _, _, started = arrival
            self.tally.over_http(done)
            bundle = done.decision.bundle if done.decision else ""
            exchange.reply(quick_head(len(done.encoded), ids, bundle), done.encoded)
            self.tally.served(self.operation.id, 200, time.perf_counter() - started)

    def _arrived(self, arrival: _Arrival) -> Arrived:
        exchange, address, certificate, _ = arrival
        return Arrived("POST", exchange.path, exchange.headers, address, certificate, self.numbers)

    def _refuse(self, arrival: _Arrival, error: Exception) -> None:
        task = asyncio.create_task(self._refused(arrival, error))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _refused(self, arrival: _Arrival, error: Exception) -> None:
        exchange, _, _, started = arrival
        arrived = self._arrived(arrival)
        reply = await self.refused(arrived, self.operation, error)
        lines = [b"%b: %b\r\n" % line for line in head(reply, arrived, self.services.bundle)]
        phrase = HTTPStatus(reply.status).phrase.encode()
        exchange.reply(b"HTTP/1.1 %d %b\r\n%b" % (reply.status, phrase, b"".join(lines)), reply.body)
        self.tally.served(self.operation.id, reply.status, time.perf_counter() - started)

"""SHELL: evaluations, one or a few, answered without a task: what is asked most often, and nothing else.

The answer is the one that the service gives on the ordinary way, after the same
record; so is a refusal.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec

from adapters.authzen import events, reading
from adapters.authzen.call import Arrived, Ids, Reply, credentials_of, head, quick_head
from adapters.authzen.codec import JSON
from adapters.authzen.deciding import Deciding, Evaluated
from adapters.authzen.gate import Gate, Shown
from adapters.authzen.operations import Operation
from adapters.authzen.pace import TURN, paced
from adapters.authzen.port import PdpPort
from adapters.authzen.reading import Batch
from adapters.authzen.recorder import Recorder
from adapters.authzen.tally import Tally
from adapters.web.exchange import Exchange
from spir.errors import SpirError, Unavailable
from spir.exchange import Record
from spir.model.request import Request

__all__ = ["LONGEST", "Quickly"]

ONE = "evaluate"  # the operation that takes one evaluation; the other takes several

LONGEST = 32 * 1024  # bytes of a request

MOST_TOGETHER = 32  # calls that are answered together
MOST_ITEMS = 64  # of a batch that is decided at one go

_Arrival = tuple[Exchange, str, bytes, float]


class _Answer(msgspec.Struct, frozen=True):
    """What was decided for one call, and is told once it is recorded. `given`: the answers, `encoded`: all of them."""

    arrival: _Arrival
    operation: Operation
    ids: Ids
    given: Sequence[Evaluated]
    encoded: bytes


class _Turn(msgspec.Struct):
    """What is decided together, and recorded in one commit. `callers`: who may make calls, looked at once a turn."""

    now: datetime
    callers: dict[tuple[Shown, str], str] = {}
    answers: list[_Answer] = []
    records: list[Record] = []


@dataclass(frozen=True)
class Quickly:
    """`operations`: one evaluation and several, by path. `refused` is the service's own."""

    operations: Mapping[str, Operation]
    services: PdpPort
    gate: Gate
    refused: Callable[[Arrived, Operation, Exception], Awaitable[Reply]]
    deciding: Deciding
    recorder: Recorder
    tally: Tally
    numbers: random.Random
    arrived: deque[_Arrival] = field(default_factory=deque)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def answer(self, exchange: Exchange, address: str, certificate: bytes) -> bool:
        """See `adapters.web.exchange.Quick`. Those that arrive together are decided one after the other, and recorded
        in one commit: the same work on many costs less than all the work on each."""
        self.arrived.append((exchange, address, certificate, time.perf_counter()))
        if len(self.arrived) == 1:
            asyncio.get_running_loop().call_soon(self._decide)
        return True

    def _decide(self) -> None:
        """Decide for those who wait, as long as a turn lasts; then others go first."""
        turn, until = _Turn(self.services.now()), time.perf_counter() + TURN
        for _ in range(min(len(self.arrived), MOST_TOGETHER)):
            arrival = self.arrived.popleft()
            try:
                self._one(arrival, turn)
            except Exception as error:
                self._start(self._refused(arrival, error))
            if time.perf_counter() > until:
                break
        if self.arrived:
            asyncio.get_running_loop().call_soon(self._decide)
        if turn.answers:
            self._record(turn.records, turn.answers)

    def _one(self, arrival: _Arrival, turn: _Turn) -> None:
        """Decide for one call. Raises what the ordinary way raises."""
        exchange, address, _, _ = arrival
        operation = self.operations[exchange.path]
        ids, caller = self._admitted(arrival, operation, turn)
        call = events.Call(operation.id, caller, address, ids.trace)
        if operation.id == ONE:
            done = self.deciding.evaluated(exchange.body, turn.now)
            answer = _Answer(arrival, operation, ids, (done,), done.encoded)
        else:
            found = reading.batch(exchange.body)
            if isinstance(found, Batch) and len(found.items) > MOST_ITEMS:
                self._start(self._slowly(arrival, operation, ids, call, found, turn.now))
                return
            answer = self._several(arrival, operation, ids, found, turn.now)
        turn.records += events.evaluated(call, answer.given, turn.now)
        turn.answers.append(answer)

    def _several(
        self, arrival: _Arrival, operation: Operation, ids: Ids, found: Request | Batch, now: datetime
    ) -> _Answer:
        if isinstance(found, Request):
            done = self.deciding.decide(found, JSON, now)
            return _Answer(arrival, operation, ids, (done,), done.encoded)
        given: list[Evaluated] = []
        for _ in self.deciding.many(found, given):
            pass
        return _Answer(arrival, operation, ids, given, JSON.several([one.encoded for one in given]))

    async def _slowly(
        self, arrival: _Arrival, operation: Operation, ids: Ids, call: events.Call, batch: Batch, now: datetime
    ) -> None:
        """A batch that is longer than a turn."""
        try:
            given: list[Evaluated] = []
            await paced(self.deciding.many(batch, given))
            await self.recorder.record(events.evaluated(call, given, now))
        except Exception as error:
            await self._refused(arrival, error)
        else:
            self._tell(_Answer(arrival, operation, ids, given, JSON.several([one.encoded for one in given])))

    def _admitted(self, arrival: _Arrival, operation: Operation, turn: _Turn) -> tuple[Ids, str]:
        """The ids of a call, and its caller, who may make it. Raises what the ordinary way raises."""
        exchange, address, certificate, _ = arrival
        own, authorization = exchange.own, exchange.head.known
        named = own.get(b"x-request-id")
        ids = Ids.of(own.get(b"traceparent"), named, self.numbers)
        if authorization is None or (named is not None and named is not ids.request):
            arrived = self._arrived(arrival)
            arrived.check(exchange.headers)
            arrived.check_type()
            exchange.head.known = authorization = arrived.headers.get(b"authorization", b"")
        shown, permission = (authorization, certificate, address), operation.permission
        caller = turn.callers.get((shown, permission))
        if caller is None:
            caller = self.gate.admit(shown, partial(credentials_of, shown), permission, turn.now).id
            turn.callers[shown, permission] = caller
        return ids, caller

    def _record(self, records: list[Record], answers: list[_Answer]) -> None:
        try:
            self.recorder.then(records, partial(self._recorded, answers))
        except SpirError as error:
            self._recorded(answers, error.message)

    def _recorded(self, answers: list[_Answer], problem: str) -> None:
        """INVARIANT: no decision is answered that is not recorded."""
        for answer in answers:
            if problem:
                self._start(self._refused(answer.arrival, Unavailable("not recorded", hint=problem)))
            else:
                self._tell(answer)

    def _tell(self, answer: _Answer) -> None:
        exchange, _, _, started = answer.arrival
        self.tally.over_http(answer.given)
        bundle = ""
        for done in answer.given:
            if done.decision is not None:
                bundle = done.decision.bundle
                break
        exchange.reply(quick_head(len(answer.encoded), answer.ids, bundle or self.services.bundle), answer.encoded)
        self.tally.served(answer.operation.id, 200, time.perf_counter() - started)

    def _arrived(self, arrival: _Arrival) -> Arrived:
        exchange, address, certificate, _ = arrival
        return Arrived("POST", exchange.path, exchange.headers, address, certificate, self.numbers)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _refused(self, arrival: _Arrival, error: Exception) -> None:
        exchange, _, _, started = arrival
        operation, arrived = self.operations[exchange.path], self._arrived(arrival)
        reply = await self.refused(arrived, operation, error)
        lines = [b"%b: %b\r\n" % line for line in head(reply, arrived, self.services.bundle)]
        phrase = HTTPStatus(reply.status).phrase.encode()
        exchange.reply(b"HTTP/1.1 %d %b\r\n%b" % (reply.status, phrase, b"".join(lines)), reply.body)
        self.tally.served(operation.id, reply.status, time.perf_counter() - started)

"""The MLLP listener (SHELL): accepts connections, runs a session for each message, carries out what it asks.

An acknowledgement goes out only after `Services.commit` has come back. Answers
on a connection keep the order of its messages; messages of several connections
share commits. Only peers that some source of the configuration admits are let
in; the others are cut off and counted in the audit trail.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from importlib.util import find_spec
from typing import Any

from adapters.hl7v2 import header, tables
from adapters.hl7v2.acknowledge import Problem, Verdict, answers
from adapters.hl7v2.charset import pinned
from adapters.hl7v2.connection import Bounds, Connection
from adapters.hl7v2.facts import Reader
from adapters.hl7v2.intake import Arrival, Desk, Identify, Recall, Recalled, Validate
from adapters.hl7v2.session import receive
from adapters.hl7v2.source import Source, admitted
from spir.errors import DocumentError, SpirError
from spir.exchange import Answer, Commit, Decide, Record, Services, converse
from spir.record.event import AuditEvent, EventKind, Outcome

__all__ = ["Listener", "ListenerConfig", "Remember"]

log = logging.getLogger("spir.hl7v2")

# (source, control id, SHA-256 of the body) -> ("same" | "other" | None, the code that was answered then)
Remember = Callable[[str, str, bytes], tuple[str | None, str]]

_STRANGERS = 1024  # addresses that are told apart between two entries of the audit trail


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """`zone` is the time zone of messages that name none; None for that of the site's clock.

    `vip_codes` are the values of PV1-16 that mean a VIP; empty for the table's
    own rule, by which every code does. `held` bounds the bytes of unfinished
    frames over all connections; `drain` the seconds that stopping may take.
    """

    sources: tuple[Source, ...]
    host: str = "127.0.0.1"
    port: int = 2575
    connections: int = 1024
    connections_per_address: int = 512
    held: int = 256 * 1024 * 1024
    drain: float = 5.0
    processing: frozenset[str] = frozenset({"P"})
    vip_codes: frozenset[str] = frozenset()
    zone: tzinfo | None = None
    bounds: Bounds = field(default_factory=Bounds)


class Listener:
    """Serves MLLP. `port` is the bound one after `start`."""

    def __init__(
        self,
        config: ListenerConfig,
        services: Services,
        recall: Remember,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Raises MessageError for a character set to pin to that is none, DocumentError for what is not installed."""
        self.config = config
        self.services = services
        self.recall = recall
        self.tls = tls
        self.port = config.port
        self.bounds = config.bounds
        self._desk = Desk(_reader(config, services), config.processing)
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._connections: dict[Connection, None] = {}
        self._addresses: Counter[str] = Counter()
        self._held = 0
        self._offences: Counter[tuple[str, str]] = Counter()
        self._telling: asyncio.Task[None] | None = None
        self._underway: dict[tuple[str, bytes], asyncio.Future[None]] = {}
        self._validating = asyncio.Semaphore(1)

    # -- start and stop ----------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. Raises OSError if the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self, loop.time),
            self.config.host,
            self.config.port,
            ssl=self.tls,
            ssl_handshake_timeout=10.0 if self.tls else None,
            backlog=1024,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._sweeper = loop.create_task(self._sweep())
        log.info("listening for MLLP on port %d", self.port)

    async def stop(self) -> None:
        """Take no more, finish what is under way, hang up: within `drain` seconds and a moment."""
        if self._server is None or self._sweeper is None:
            return
        self._server.close()
        self._sweeper.cancel()
        tasks = [connection.task for connection in self._connections if connection.task is not None]
        for connection in list(self._connections):
            connection.finish()
        late = (await asyncio.wait(tasks, timeout=self.config.drain))[1] if tasks else set()
        for connection in list(self._connections):
            connection.abort()
        for task in late:
            task.cancel()
        await asyncio.gather(*late, self._sweeper, *filter(None, [self._telling]), return_exceptions=True)
        self._server = None
        log.info("stopped, %d messages were cut off", len(late))

    # -- connections -------------------------------------------------------------------------

    def opened(self, connection: Connection, address: str, certificate: bytes) -> tuple[Source, ...]:
        sources = admitted(self.config.sources, address, certificate)
        if not sources:
            self._offend(address, "not-admitted")
            return ()
        crowded = len(self._connections) >= self.config.connections
        if crowded or self._addresses[address] >= self.config.connections_per_address:
            self._offend(address, "too-many-connections")
            return ()
        self._connections[connection] = None
        self._addresses[address] += 1
        return sources

    def lost(self, connection: Connection) -> None:
        if connection not in self._connections:
            return  # it was never let in
        del self._connections[connection]
        self._addresses[connection.address] -= 1
        if not self._addresses[connection.address]:
            del self._addresses[connection.address]

    def held(self, connection: Connection, change: int) -> bool:
        self._held += change
        return self._held <= self.config.held

    def broke(self, connection: Connection, why: str) -> None:
        self._offend(connection.address, why)

    async def _sweep(self) -> None:
        """End what is overdue."""
        loop = asyncio.get_running_loop()
        pace = min(1.0, self.bounds.frame_time / 4, self.bounds.idle_time / 4)
        while True:
            await asyncio.sleep(pace)
            now = loop.time()
            for connection in list(self._connections):
                if why := connection.overdue(now):
                    connection.expire(why)

    # -- messages ----------------------------------------------------------------------------

    async def handle(self, connection: Connection, body: bytes) -> None:
        """One message. Whatever goes wrong on our side, the sender hears that nothing was done."""
        now = self.services.now()
        arrival = Arrival(body, connection.address, connection.sources, now, connection.certificate)
        performer = _Performer(self, connection)
        try:
            await converse(receive(arrival, self._desk), performer)
        except Exception as error:
            # The text of an error that nobody foresaw might hold what the message says: only its kind is logged.
            log.error("a message could not be handled: %s", type(error).__name__)
            if not performer.answered:
                self._apologise(connection, arrival)
        finally:
            performer.release()

    def _apologise(self, connection: Connection, arrival: Arrival) -> None:
        head = header.read(arrival.body, self._desk.reader.tables.charsets)
        found = Problem(207, "the message could not be handled", own="internal")
        for message in answers(head, Verdict.REJECTED, serial="0", now=arrival.received, problems=(found,)):
            connection.answer(message)

    async def validate(self, text: str) -> None:
        """See `Validate`: in a thread, one message at a time, for it takes a hundred times as long as all the rest."""
        from adapters.hl7v2 import profile  # hl7apy is an extra, and slow to import: see `_reader`

        async with self._validating:
            await asyncio.to_thread(profile.check, text)

    async def claim(self, key: tuple[str, bytes]) -> None:
        """Wait until nobody else handles this very message, and make it ours."""
        while (other := self._underway.get(key)) is not None:
            await asyncio.wait([other])
        self._underway[key] = asyncio.get_running_loop().create_future()

    def unclaim(self, key: tuple[str, bytes]) -> None:
        self._underway.pop(key).set_result(None)

    # -- what the audit trail is told of connections -----------------------------------------

    def _offend(self, address: str, why: str) -> None:
        """Count it; one entry per address and reason, however many there are while the last is being written."""
        key = (address, why) if len(self._offences) < _STRANGERS else ("others", why)
        self._offences[key] += 1
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        while self._offences:
            told, self._offences = self._offences, Counter()
            try:
                await self.services.commit(*(Record(self._refusal(*key, count)) for key, count in told.items()))
            except SpirError as error:
                log.error("%d refused connections could not be recorded: %s", told.total(), type(error).__name__)

    def _refusal(self, address: str, why: str, count: int) -> AuditEvent:
        detail = {"address": address, "why": why, "count": count}
        return AuditEvent(
            self.services.now(), EventKind.REFUSAL, "hl7v2", "connect", "unknown", Outcome.REFUSED, detail=detail
        )


class _Performer:
    """Does what the session of one message asks."""

    def __init__(self, listener: Listener, connection: Connection) -> None:
        self.listener = listener
        self.connection = connection
        self.answered = False
        self._claimed: tuple[str, bytes] | None = None

    async def __call__(self, command: Any) -> Any:
        services = self.listener.services
        match command:
            case Identify(credentials):
                return services.identify(credentials)
            case Recall(source, control_id, digest):
                return await self._recalled(source, control_id, digest)
            case Validate(text):
                return await self.listener.validate(text)
            case Decide(request):
                return services.rule(request)
            case Commit(items):
                return await services.commit(*items)
            case Answer(message):
                self.answered = True
                return self.connection.answer(message)
        raise TypeError(f"no session of this adapter says `{type(command).__name__}`")

    def release(self) -> None:
        """Let others handle the same message."""
        if self._claimed is not None:
            self.listener.unclaim(self._claimed)
            self._claimed = None

    async def _recalled(self, source: str, control_id: str, digest: bytes) -> Recalled | None:
        key = (source, digest)
        await self.listener.claim(key)
        self._claimed = key
        found, code = self.listener.recall(source, control_id, digest)
        return None if found is None else Recalled(found == "same", code)


def _reader(config: ListenerConfig, services: Services) -> Reader:
    known = tables.load()
    for source in config.sources:
        if source.charset:
            pinned(source.charset, known.charsets, known.pins)
        if source.validate and find_spec("hl7apy") is None:
            hint = "install spir-suite[hl7v2], or set validate = false"
            raise DocumentError(
                f"the source `{source.name}` is to be validated, but hl7apy is not installed", hint=hint
            )
    if config.vip_codes:
        known = known.with_vip(config.vip_codes)
    zone = config.zone or services.now().tzinfo or UTC
    return Reader(services.identifiers, services.staff, zone, known)

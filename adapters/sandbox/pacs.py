"""A small PACS in memory, for the demo and the tests. Never for patients.

It is built on pynetdicom and not on our own upper layer, so that what is
proven against it is proven against somebody else's reading of the standard.
C-ECHO, C-FIND, C-MOVE to known destinations, C-GET and C-STORE; Patient Root
and Study Root.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, evt

from adapters.sandbox.archive import Archive, BadIdentifier, Full
from adapters.sandbox.fence import fence
from adapters.sandbox.images import everything
from adapters.sandbox.models import ROOTS, SOP_CLASSES, VERIFICATION
from adapters.sandbox.quiet import hush

__all__ = ["PacsConfig", "SandboxPacs", "no_delay"]

# DIMSE status codes (PS3.4 B.2.3, C.4.1.1.4, C.4.2.1.5, C.4.3.1.4)
_SUCCESS = 0x0000
_PENDING = 0xFF00
_CANCELLED = 0xFE00
_NO_ROOM = 0xA700
_NOT_THE_SOP_CLASS = 0xA900
_CANNOT_UNDERSTAND = 0xC000


@dataclass(frozen=True, slots=True)
class PacsConfig:
    """`destinations`: AE title -> (address, port), what a C-MOVE may name. `port` 0 takes a free one."""

    ae_title: str = "SANDBOXPACS"
    host: str = "127.0.0.1"
    port: int = 0
    destinations: Mapping[str, tuple[str, int]] = field(default_factory=lambda: MappingProxyType({}))
    capacity: int = 10_000


class SandboxPacs:
    """Holds the invented patients' studies unless given other `instances`.

    `asked` keeps the identifiers of the last queries, so that a test can see
    what reached the PACS and what did not. Threads are pynetdicom's own.
    """

    def __init__(
        self, config: PacsConfig | None = None, *, sandbox: bool = False, instances: Iterable[Dataset] | None = None
    ) -> None:
        self._config = config or PacsConfig()
        fence("sandbox PACS", self._config.host, sandbox)
        hush()
        self.archive = Archive(everything() if instances is None else instances, self._config.capacity)
        self.asked: list[Dataset] = []
        self.destinations = dict(self._config.destinations)
        self.port = 0
        self._server: Any = None

    def start(self) -> None:
        """Listen; `port` is the bound one afterwards."""
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, no_delay),
            (evt.EVT_C_ECHO, lambda event: _SUCCESS),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_C_MOVE, self._move),
            (evt.EVT_C_GET, self._get),
            (evt.EVT_C_STORE, self._store),
        ]
        place = (self._config.host, self._config.port)
        self._server = self._entity().start_server(place, block=False, evt_handlers=handlers)
        self.port = self._server.socket.getsockname()[1]

    def stop(self) -> None:
        """Stop listening and abort what is open. Safe to call twice."""
        if self._server is not None:
            self._server.ae.shutdown()
            self._server = None

    def _entity(self) -> AE:
        entity = AE(ae_title=self._config.ae_title)
        entity.maximum_associations = 50
        entity.network_timeout = 60
        for model in (VERIFICATION, *ROOTS):
            entity.add_supported_context(model)
        for sop_class in SOP_CLASSES.values():
            entity.add_supported_context(sop_class, scu_role=True, scp_role=True)
        return entity

    # -- handlers, in pynetdicom's form: generators of (status, data set) ----------------------

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        try:
            rows = self.archive.find(*self._question(event))
        except BadIdentifier:
            yield _NOT_THE_SOP_CLASS, None
            return
        for row in rows:
            if event.is_cancelled:
                yield _CANCELLED, None
                return
            yield _PENDING, row

    def _move(self, event: Any) -> Iterator[Any]:
        place = self.destinations.get(event.move_destination)
        if place is None:
            yield None, None
            return
        found = self._wanted(event)
        used = {str(made.SOPClassUID) for made in found or ()} or {SOP_CLASSES["CT"]}
        contexts = [build_context(sop_class) for sop_class in sorted(used)]
        yield *place, {"contexts": contexts, "evt_handlers": [(evt.EVT_CONN_OPEN, no_delay)]}
        yield from self._deliver(event, found)

    def _get(self, event: Any) -> Iterator[Any]:
        yield from self._deliver(event, self._wanted(event))

    def _deliver(self, event: Any, found: list[Dataset] | None) -> Iterator[Any]:
        """The number of sub-operations, then each instance. A bad identifier (None) is one that fails at once."""
        yield 1 if found is None else len(found)
        if found is None:
            yield _NOT_THE_SOP_CLASS, None
            return
        for made in found:
            if event.is_cancelled:
                yield _CANCELLED, None
                return
            yield _PENDING, made

    def _store(self, event: Any) -> int:
        try:
            made = event.dataset
            made.file_meta = event.file_meta
            self.archive.store(made)
        except Full:
            return _NO_ROOM
        except AttributeError:
            return _CANNOT_UNDERSTAND
        return _SUCCESS

    def _wanted(self, event: Any) -> list[Dataset] | None:
        try:
            return self.archive.retrieve(*self._question(event))
        except BadIdentifier:
            return None

    def _question(self, event: Any) -> tuple[str, Dataset]:
        """The information model's top level and the identifier, which is remembered."""
        identifier = event.identifier
        self.asked.append(identifier)
        del self.asked[:-1000]
        return ROOTS[event.context.abstract_syntax], identifier


def no_delay(event: Any) -> None:
    """TCP_NODELAY: without it each small message waits some 40 ms for a delayed acknowledgement."""
    wrapped = event.assoc.dul.socket
    if wrapped is not None and wrapped.socket is not None:
        wrapped.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

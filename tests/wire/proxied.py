"""A proxy in a thread of its own, with services that a test gives it; and a client of our own to talk to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from adapters.dicom.connection import Connection
from adapters.dicom.dataset import encode
from adapters.dicom.dimse import CommandArrived
from adapters.dicom.negotiation import own_user
from adapters.dicom.pdu import AssociateRequest, PresentationContextItem
from adapters.dicom.proxy import Proxy, ProxyConfig
from spir.exchange import Record
from spir.model.condition import TRUE
from spir.model.decision import Atom, Clause, Decision, Effect, Residual
from spir.model.request import Request
from spir.record.event import AuditEvent
from tests.given import GivenRuling, GivenServices
from tests.wire.odd_pacs import OwnLoop

__all__ = ["EXPLICIT", "FIND", "MOVE", "Running", "answers", "finding", "radiographs", "request"]

FIND, MOVE = (f"1.2.840.10008.5.1.4.1.2.2.{number}" for number in (1, 2))
EXPLICIT = "1.2.840.10008.1.2.1"
LEVEL = 0x00080052


def radiographs(*patients: str) -> Callable[[Request], GivenRuling]:
    """CR and DX of these patients; a store is decided on what the request says."""
    ids = tuple(f"HIS|{patient}" for patient in patients)
    atoms = (Atom("resource.modality", "in", ("CR", "DX")), Atom("resource.patient.id", "in", ids))

    def judge(row: Mapping[str, Any]) -> bool:
        return row.get("modality") in ("CR", "DX") and (row.get("patient") or {}).get("id") in ids

    def rule(request: Request) -> GivenRuling:
        if request.action.name == "create":
            permitted = judge(request.resource.properties)
            effect = Effect.PERMIT if permitted else Effect.DENY
            return GivenRuling(Decision(effect, request.operation), request)
        residual = Residual(TRUE, (Clause(atoms),))
        return GivenRuling(Decision(Effect.CONDITIONAL, request.operation, residual), request, judge)

    return rule


class Running:
    """A proxy in a thread of its own, and the services that it was given."""

    def __init__(self, config: ProxyConfig, services: GivenServices) -> None:
        self.services = services
        self._own = OwnLoop()
        self.proxy: Proxy = self._own.do(self._start(config))
        self.port = self.proxy.port

    async def _start(self, config: ProxyConfig) -> Proxy:
        proxy = Proxy(config, self.services)
        await proxy.start()
        return proxy

    def do(self, scene: Callable[[], Any]) -> Any:
        """Run a scene of our own client in the proxy's loop."""
        return self._own.do(scene())

    def stop(self) -> None:
        self._own.do(self.proxy.stop(grace=0.1))
        self._own.stop()

    @property
    def events(self) -> list[AuditEvent]:
        return [item.event for item in self.services.committed if isinstance(item, Record)]


def request(*contexts: PresentationContextItem, **user: Any) -> AssociateRequest:
    return AssociateRequest("SPIR", "VIEWER1", contexts, own_user(**user))


def finding() -> PresentationContextItem:
    return PresentationContextItem(1, FIND, (EXPLICIT,))


async def answers(
    connection: Connection, rq: Any, keys: Mapping[int, str], level: str = "STUDY", context: int = 1
) -> AsyncIterator[tuple[int, bytes | None]]:
    """(status, data) of each response."""
    texts = {LEVEL: level, **keys}
    connection.send(context, rq, encode({tag: text.encode() for tag, text in texts.items()}, True))
    while True:
        event = await connection.next(10)
        assert isinstance(event, CommandArrived)
        data = await connection.read_data() if event.command.has_data else None
        yield event.command.status, data
        if event.command.status not in (0xFF00, 0xFF01):
            return

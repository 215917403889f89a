"""A PACS of our own for what a good one never does: one that never ends its answers, one that sends what
nobody asked it for. It speaks through our own upper layer, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from adapters.dicom.connection import Connection, Limits
from adapters.dicom.dataset import DataSet, encode
from adapters.dicom.dimse import (
    CCancelRq,
    CFindRq,
    CFindRsp,
    CGetRq,
    CGetRsp,
    CommandArrived,
    CStoreRq,
    CStoreRsp,
)
from adapters.dicom.negotiation import negotiate
from adapters.dicom.pdu import AssociateRequest, ReleaseRequest
from adapters.dicom.transport import Listener, ListenerConfig
from spir.errors import PeerError

__all__ = ["EndlessPacs", "LyingPacs", "OwnLoop"]

EXPLICIT = "1.2.840.10008.1.2.1"
LEVEL, STUDY_UID, SERIES_UID, PATIENT_ID = 0x00080052, 0x0020000D, 0x0020000E, 0x00100020
SOP_CLASS, SOP_UID, MODALITY, MODALITIES = 0x00080016, 0x00080018, 0x00080060, 0x00080061
CR_CLASS = "1.2.840.10008.5.1.4.1.1.1"


class OwnLoop:
    """An event loop in a thread, for a test that is not a coroutine."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, coroutine: Coroutine[Any, Any, Any], timeout: float = 30.0) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class _OddPacs:
    """`ended` says how each association ended, as it was seen here."""

    ae_title = "ODD"

    def __init__(self) -> None:
        self.ended: list[str] = []
        self._own = OwnLoop()
        self._listener = self._own.do(self._start())
        self.port = self._listener.port

    def stop(self) -> None:
        self._own.do(self._listener.stop(0.1))
        self._own.stop()

    async def _start(self) -> Listener:
        listener = Listener(self._serve, ListenerConfig(port=0, limits=Limits(idle=30.0)))
        await listener.start()
        return listener

    async def _serve(self, connection: Connection, asked: AssociateRequest) -> None:
        connection.accept(negotiate(asked, lambda item: (0, item.transfer_syntaxes[0]), role=lambda role: role))
        try:
            while not isinstance(event := await connection.next(), ReleaseRequest):
                assert isinstance(event, CommandArrived)
                await self._answer(connection, event.context, event.command)
            connection.reply_release()
            self.ended.append("released")
        except PeerError as error:
            self.ended.append(type(error).__name__)
            raise

    async def _answer(self, connection: Connection, context: int, command: Any) -> None:
        raise NotImplementedError


def _explicit(connection: Connection, context: int) -> bool:
    return connection.association.contexts[context].transfer_syntax == EXPLICIT


class EndlessPacs(_OddPacs):
    """Answers a query with one row, again and again, until it is cancelled. `sent`: rows so far."""

    def __init__(self, study: str) -> None:
        self.study = study
        self.sent = 0
        self.cancelled: list[int] = []
        super().__init__()

    async def _answer(self, connection: Connection, context: int, command: Any) -> None:
        assert isinstance(command, CFindRq)
        await connection.read_data()
        keys = {PATIENT_ID: b"P001", STUDY_UID: self.study.encode(), MODALITIES: b"CR", LEVEL: b"STUDY"}
        row = encode(keys, _explicit(connection, context))
        while not connection.ready:
            connection.send(context, CFindRsp(command.message_id, command.sop_class, 0xFF00, has_data=True), row)
            self.sent += 1
            await connection.drain()
            await asyncio.sleep(0)
        event = await connection.next()
        assert isinstance(event, CommandArrived) and isinstance(event.command, CCancelRq)
        self.cancelled.append(event.command.message_id)
        connection.send(context, CFindRsp(command.message_id, command.sop_class, 0xFE00))


class LyingPacs(_OddPacs):
    """Has one CR series of P001; in a C-GET it sends an instance of it, then one of another patient's.

    `answers`: the statuses that its C-STORE sub-operations got.
    """

    def __init__(self) -> None:
        self.answers: list[int] = []
        super().__init__()

    async def _answer(self, connection: Connection, context: int, command: Any) -> None:
        asked = DataSet.parse(await connection.read_data(), _explicit(connection, context))
        match command:
            case CFindRq():
                row = {PATIENT_ID: "P001", STUDY_UID: "1.1", SERIES_UID: "1.1.1", MODALITY: "CR", MODALITIES: "CR"}
                row[LEVEL] = asked.text(LEVEL) or ""
                found = encode({tag: text.encode() for tag, text in row.items()}, _explicit(connection, context))
                pending = CFindRsp(command.message_id, command.sop_class, 0xFF00, has_data=True)
                connection.send(context, pending, found)
                connection.send(context, CFindRsp(command.message_id, command.sop_class, 0))
            case CGetRq():
                for number, patient in ((1, "P001"), (2, "P002")):
                    await self._store(connection, number, patient)
                failed = sum(status != 0 for status in self.answers)
                counts = {"completed": 2 - failed, "failed": failed, "warning": 0}
                status = 0xB000 if failed else 0
                connection.send(context, CGetRsp(command.message_id, command.sop_class, status, **counts))

    async def _store(self, connection: Connection, number: int, patient: str) -> None:
        contexts = connection.association.contexts.values()
        context = next(one.id for one in contexts if one.abstract_syntax == CR_CLASS)
        keys = {SOP_CLASS: CR_CLASS, SOP_UID: f"1.1.1.{number}", MODALITY: "CR", PATIENT_ID: patient}
        keys |= {STUDY_UID: "1.1", SERIES_UID: "1.1.1", 0x7FE00010: "x" * 200_000}
        data = encode({tag: text.encode() for tag, text in keys.items()}, _explicit(connection, context))
        connection.send(context, CStoreRq(number, CR_CLASS, f"1.1.1.{number}"), data)
        event = await connection.next()
        assert isinstance(event, CommandArrived) and isinstance(event.command, CStoreRsp)
        self.answers.append(event.command.status)

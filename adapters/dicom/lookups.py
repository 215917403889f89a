"""SHELL: our own queries to the PACS (see `session.Lookup`).

`ask` uses an association that is idle at the moment, `LookupPool` a few that
are kept. The first is preferred: a PACS may serve few associations at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass

from adapters.dicom.connection import Connection
from adapters.dicom.dataset import DataSet, encode
from adapters.dicom.dimse import CFindRq, CommandArrived
from adapters.dicom.identifier import LEVEL
from adapters.dicom.message import CFindRsp, is_pending
from adapters.dicom.requestor import STUDY_ROOT_FIND, PacsClient, PacsConfig, StatusError
from adapters.dicom.session import Lookup
from adapters.dicom.status import Status
from spir.errors import PeerError

__all__ = ["LookupConfig", "LookupPool", "ask"]


MESSAGE_ID = 0xFFFF  # of a question of ours on a client's association, which is idle then


@dataclass(frozen=True, slots=True)
class LookupConfig:
    """`associations` with the PACS at most; `rows` and `seconds` that one lookup may take."""

    associations: int = 2
    rows: int = 10_000
    seconds: float = 30.0


async def ask(connection: Connection, context: int, lookup: Lookup, config: LookupConfig) -> tuple[DataSet, ...]:
    """One lookup on an idle association of the client's to the PACS. Raises PeerError; StatusError
    and DatasetError leave the association as it was, anything else leaves it to be given up."""
    request = CFindRq(MESSAGE_ID, STUDY_ROOT_FIND)
    connection.send(context, request, _identifier(lookup))
    rows: list[bytes] = []
    while True:
        event = await connection.next(config.seconds)
        match event:
            case CommandArrived(_, CFindRsp(message_id=number) as answer) if number == MESSAGE_ID:
                data = await connection.read_data() if answer.has_data else b""
                if not is_pending(answer.status):
                    break
                if len(rows) >= config.rows:
                    raise _too_many()
                rows.append(data)
            case _:
                raise PeerError("the PACS answered with what does not belong to the question")
    if answer.status != Status.SUCCESS:
        raise StatusError("C-FIND", answer.status)
    return tuple(DataSet.parse(row, explicit=False) for row in rows)


class LookupPool:
    """Calls like a function: `await pool(lookup)` gives the rows. Raises PeerError."""

    def __init__(self, pacs: PacsConfig, config: LookupConfig, tls: ssl.SSLContext | None = None) -> None:
        self.config = config
        self._clients = [PacsClient(pacs, tls=tls) for _ in range(config.associations)]
        self._free: asyncio.LifoQueue[PacsClient] = asyncio.LifoQueue()
        for client in self._clients:
            self._free.put_nowait(client)

    async def __call__(self, lookup: Lookup) -> tuple[DataSet, ...]:
        identifier = _identifier(lookup)
        try:
            async with asyncio.timeout(self.config.seconds):
                client = await self._free.get()
                try:
                    return await self._ask(client, identifier)
                finally:
                    self._free.put_nowait(client)
        except TimeoutError as error:
            raise PeerError("the PACS does not resolve in time", hint="see whether it is overloaded") from error

    async def _ask(self, client: PacsClient, identifier: bytes) -> tuple[DataSet, ...]:
        rows: list[DataSet] = []
        async with contextlib.aclosing(client.find(STUDY_ROOT_FIND, identifier)) as answers:
            async for _, data in answers:
                if len(rows) >= self.config.rows:
                    raise _too_many()
                rows.append(DataSet.parse(data, explicit=False))
        return tuple(rows)

    async def close(self) -> None:
        """Release what is open."""
        await asyncio.gather(*(client.close() for client in self._clients), return_exceptions=True)


def _identifier(lookup: Lookup) -> bytes:
    return encode({**lookup.keys, LEVEL: lookup.level.encode("ascii")}, explicit=False)


def _too_many() -> PeerError:
    return PeerError("a resolution has too many rows", hint="ask for less at a time")

"""SHELL: our own queries to the PACS, over a few associations that are kept (see `session.Lookup`)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import cast

from adapters.dicom.dataset import DataSet, encode
from adapters.dicom.identifier import LEVEL
from adapters.dicom.message import CFindRsp
from adapters.dicom.requestor import STUDY_ROOT_FIND, PacsClient, PacsConfig
from adapters.dicom.session import Lookup
from spir.errors import PeerError

__all__ = ["LookupConfig", "LookupPool"]


@dataclass(frozen=True, slots=True)
class LookupConfig:
    """`associations` with the PACS at most; `rows` and `seconds` that one lookup may take."""

    associations: int = 2
    rows: int = 10_000
    seconds: float = 30.0


class LookupPool:
    """Calls like a function: `await pool(lookup)` gives the rows. Raises PeerError."""

    def __init__(self, pacs: PacsConfig, config: LookupConfig, tls: ssl.SSLContext | None = None) -> None:
        self._config = config
        self._clients = [PacsClient(pacs, tls=tls) for _ in range(config.associations)]
        self._free: asyncio.LifoQueue[PacsClient] = asyncio.LifoQueue()
        for client in self._clients:
            self._free.put_nowait(client)

    async def __call__(self, lookup: Lookup) -> tuple[DataSet, ...]:
        identifier = encode({**lookup.keys, LEVEL: lookup.level.encode("ascii")}, explicit=False)
        try:
            async with asyncio.timeout(self._config.seconds):
                client = await self._free.get()
                try:
                    return await self._ask(client, identifier)
                finally:
                    self._free.put_nowait(client)
        except TimeoutError as error:
            raise PeerError("the PACS does not resolve in time", hint="see whether it is overloaded") from error

    async def _ask(self, client: PacsClient, identifier: bytes) -> tuple[DataSet, ...]:
        rows: list[DataSet] = []
        found = cast(AsyncGenerator[tuple[CFindRsp, bytes], None], client.find(STUDY_ROOT_FIND, identifier))
        async with contextlib.aclosing(found) as answers:
            async for _, data in answers:
                if len(rows) >= self._config.rows:
                    raise PeerError("a resolution has too many rows", hint="ask for less at a time")
                rows.append(DataSet.parse(data, explicit=False))
        return tuple(rows)

    async def close(self) -> None:
        """Release what is open."""
        await asyncio.gather(*(client.close() for client in self._clients), return_exceptions=True)

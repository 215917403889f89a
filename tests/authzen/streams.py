"""Conversations with a decision point byte by byte: the server's own protocol on a transport in memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from adapters.authzen.service import Pdp
from adapters.web.bounds import Bounds
from adapters.web.exchange import Quick
from adapters.web.guarded import CERTIFICATE, UNIX, GuardedProtocol
from adapters.web.heads import Found, Heads

__all__ = ["Forgetful", "Noting", "conversation", "same"]

TURNS = 25  # of the event loop, within which everything is answered


class Forgetful(Heads):
    """Knows no head, so that the parser reads each."""

    def find(self, data: bytes, end: int) -> Found | None:
        return None


class Noting(Heads):
    """Counts the heads that were found."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def find(self, data: bytes, end: int) -> Found | None:
        found = super().find(data, end)
        self.count += found is not None
        return found


class Memory(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        if not self.closed:
            self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 40000) if name == "peername" else default

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


def conversation(app: Pdp, heads: Heads, pieces: Sequence[bytes], quick: bool = True) -> tuple[bytes, bool]:
    """What is said to the pieces of one connection, and whether it was closed."""
    return asyncio.run(_spoken(app, heads, pieces, app.quick if quick else None))


async def _spoken(app: Pdp, heads: Heads, pieces: Sequence[bytes], quick: Quick | None) -> tuple[bytes, bool]:
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, log_level="critical", server_header=False)
    config.load()
    members = {"plain": staticmethod(app._plain), "bounds": Bounds(), "quick": quick, "heads": heads}
    kind = type("Served", (GuardedProtocol,), members)
    protocol = kind(config=config, server_state=ServerState(), app_state={UNIX: False, CERTIFICATE: b""})
    transport = Memory()
    protocol.connection_made(transport)
    for piece in pieces:
        if not transport.closed:
            protocol.data_received(piece)
        for _ in range(TURNS):
            await asyncio.sleep(0)
    closed = transport.closed
    protocol.connection_lost(None)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    return transport.written, closed


def same(said: bytes) -> bytes:
    """An answer without what differs from call to call."""
    said = re.sub(rb"traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}", b"traceparent: 00-T-S", said)
    return re.sub(rb"x-request-id: [0-9a-f]{32}\r", b"x-request-id: R\r", said)

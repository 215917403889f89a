"""A transport that sends the head of an answer together with its body: uvicorn would write each by itself."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["OneWrite"]

_ANSWER = (b"HTTP/1.1 2", b"HTTP/1.1 4", b"HTTP/1.1 5")  # how the head of one begins; 100 Continue is none
_SMALL = 64 * 1024  # bytes that are worth copying to save a write


class OneWrite:
    """Everything but writing is the transport's own business. `direct`: the transport itself."""

    __slots__ = ("_held", "_transport", "direct")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.direct = self._transport = transport
        self._held = b""

    def write(self, data: bytes) -> None:
        if not self._held and data.startswith(_ANSWER):
            self._held = data
            return
        if self._held and len(data) <= _SMALL:
            data, self._held = self._held + data, b""
        self.flush()
        self._transport.write(data)

    def flush(self) -> None:
        """An answer without a body is over."""
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

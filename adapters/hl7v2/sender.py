"""Send messages over MLLP and wait for each acknowledgement (SHELL).

One message is under way at a time. An acknowledgement must be about the
message that was sent (MSA-2): after anything else, or nothing in time, the
connection is closed, because a late answer would be taken for the next one's.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable

from adapters.hl7v2 import header, tables
from adapters.hl7v2.acknowledge import expected
from adapters.hl7v2.header import Header
from adapters.hl7v2.mllp import Framer, encode
from spir.errors import PeerError

__all__ = ["send"]

_READ = 65536


async def send(
    host: str, port: int, messages: Iterable[bytes], *, timeout: float = 30.0, tls: ssl.SSLContext | None = None
) -> list[bytes]:
    """Send messages (without framing) over one connection, in order; the last acknowledgement of each.

    In enhanced mode that is the application's, if the message asks for one; b""
    if it asks for none at all. Raises PeerError if the peer cannot be reached,
    does not answer within `timeout` seconds, or answers about something else.
    """
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port, ssl=tls), timeout)
    except (OSError, TimeoutError) as error:
        reason = type(error).__name__
        raise PeerError(f"nobody answers at {host}:{port} ({reason})", hint="is the listener running?") from None
    try:
        return [await asyncio.wait_for(_said(reader, writer, Framer(), body), timeout) for body in messages]
    except TimeoutError:
        raise PeerError("no acknowledgement came in time", hint=f"it was waited for {timeout:g} seconds") from None
    except OSError as error:
        raise PeerError(f"the connection broke ({type(error).__name__})") from None
    finally:
        writer.close()


async def _said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, framer: Framer, body: bytes) -> bytes:
    head = header.read(body, tables.load().charsets)
    writer.write(encode(body))
    await writer.drain()
    answer = b""
    frames: list[bytes] = []
    while expected(head, _code(answer, head) if answer else ""):
        while not frames:
            frames = await _frames(reader, framer)
        answer = frames.pop(0)
    if frames:
        raise PeerError("the peer answers more often than it was asked to")
    return answer


async def _frames(reader: asyncio.StreamReader, framer: Framer) -> list[bytes]:
    data = await reader.read(_READ)
    if not data:
        raise PeerError("the peer closed the connection without an acknowledgement")
    frames = framer.feed(data)
    if framer.broken is not None:
        raise framer.broken
    return frames


def _code(answer: bytes, about: Header) -> str:
    """MSA-1 of an answer that is about the message. Raises PeerError."""
    head = header.read(answer, tables.load().charsets)
    mark = head.delimiters.field
    for segment in answer.replace(b"\n", b"\r").split(b"\r"):
        if segment.startswith(b"MSA"):
            _, code, control_id, *_ = [*segment.decode(head.codec, "replace").split(mark), "", ""]
            if control_id != about.control_id:
                raise PeerError("the acknowledgement is about another message", clause="MSA-2")
            return code
    raise PeerError("the answer is no acknowledgement", hint="it has no MSA")

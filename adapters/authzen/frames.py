"""Frames of the pipelined endpoint: four bytes of length, big-endian, then one msgpack map. Sans-IO."""

from __future__ import annotations

from spir.errors import PeerError

__all__ = ["LENGTH", "Frames", "framed"]

LENGTH = 4  # bytes


class Frames:
    """Bytes in, whole frames out, in order. `limit`: the most bytes that one frame may hold."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def __len__(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are complete now. Raises PeerError for one that would be too long: then nothing more is read.

        Frames before the one that is too long are lost: whoever sends it breaks the protocol.
        """
        buffer = self._buffer
        buffer += data
        found: list[bytes] = []
        start, size = 0, len(buffer)
        while size - start >= LENGTH:
            length = int.from_bytes(buffer[start : start + LENGTH], "big")
            if length > self.limit:
                buffer.clear()
                raise PeerError("the frame is too long", hint=f"at most {self.limit} bytes are read")
            end = start + LENGTH + length
            if end > size:
                break
            found.append(bytes(buffer[start + LENGTH : end]))
            start = end
        del buffer[:start]
        return found


def framed(body: bytes) -> bytes:
    """One frame around a body."""
    return len(body).to_bytes(LENGTH, "big") + body

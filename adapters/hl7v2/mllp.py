"""MLLP framing: bytes in, whole frames out, and the other way round.

A block is VT, content, FS, CR (HL7 Minimal Lower Layer Protocol, release 1).
Pure: no socket is touched here. How the bytes were cut on their way makes no
difference to what comes out. Nothing grows without bound: a frame, and the
junk between two frames, have a limit; past it the stream is `broken` and
yields nothing more, because where the next frame begins can only be guessed.

Only the end marker ends a frame. A VT inside one is content, which the reader
of messages will refuse; guessing that a new frame began would let a sender
smuggle a message past whoever looks at frames before us.
"""

from __future__ import annotations

from spir.errors import PeerError

__all__ = ["FRAME_LIMIT", "JUNK_LIMIT", "Framer", "FramingError", "encode"]

FRAME_LIMIT = 16 * 1024 * 1024
JUNK_LIMIT = 64 * 1024

_VT, _FS, _CR = 0x0B, 0x1C, 0x0D
_END = b"\x1c\x0d"


class FramingError(PeerError):
    """The peer's: what it sends cannot be cut into frames any more."""


def encode(content: bytes) -> bytes:
    """One block around `content`."""
    return b"\x0b" + content + _END


class Framer:
    """Cuts one direction of one connection into frames.

    `lenient` also accepts FS alone as the end of a frame, for senders that
    leave out the CR (a CR that does follow is then skipped).
    """

    __slots__ = ("_buffer", "_end", "_inside", "_junk", "_scanned", "broken", "junk_limit", "limit")

    def __init__(self, limit: int = FRAME_LIMIT, junk_limit: int = JUNK_LIMIT, lenient: bool = False) -> None:
        self.limit = limit
        self.junk_limit = junk_limit
        self.broken: FramingError | None = None
        self._end = b"\x1c" if lenient else _END
        self._buffer = bytearray()
        self._inside = False
        self._junk = 0
        self._scanned = 0  # the content before this offset holds no end marker

    @property
    def inside(self) -> bool:
        """Whether a frame has begun and not ended: the peer owes us bytes."""
        return self._inside

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished frame are held."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The contents of the frames that `data` completes, in order; see `broken` afterwards."""
        if self.broken is not None:
            return []
        frames: list[bytes] = []
        self._buffer += data
        start = 0
        while self.broken is None:
            step = self._content(start, frames) if self._inside else self._gap(start)
            if step is None:
                break
            start = step
        del self._buffer[: len(self._buffer) if self.broken else start]
        return frames

    def _gap(self, start: int) -> int | None:
        """Skip to the next frame; the offset of its content, or None if it has not begun."""
        at = self._buffer.find(_VT, start)
        end = at if at >= 0 else len(self._buffer)
        self._junk += end - start
        if self._junk > self.junk_limit:
            self._break("too much between two frames", f"at most {self.junk_limit} bytes are skipped")
        if at < 0:
            self._buffer.clear()
            return None
        self._inside, self._junk, self._scanned = True, 0, 0
        return at + 1

    def _content(self, start: int, frames: list[bytes]) -> int | None:
        """Complete the frame; the offset after it, or None if its end has not come."""
        at = self._buffer.find(self._end, start + self._scanned)
        size = (at if at >= 0 else self._unfinished()) - start
        if size > self.limit:
            self._break("a frame is too long", f"at most {self.limit} bytes are read")
            return None
        if at < 0:
            self._scanned = size
            return None
        frames.append(bytes(self._buffer[start:at]))
        self._inside = False
        return at + len(self._end)

    def _unfinished(self) -> int:
        """Where the content ends so far: a last FS may be the first half of the end."""
        length = len(self._buffer)
        return length - 1 if length and self._buffer[-1] == _FS else length

    def _break(self, message: str, hint: str) -> None:
        self.broken = FramingError(message, hint=hint)

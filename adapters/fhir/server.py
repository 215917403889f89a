"""What the facade asks of the HTTP server under it, and how it says what never became a request. Pure."""

from __future__ import annotations

from adapters.fhir.outcome import JSON, outcome
from adapters.web.bounds import Bounds

__all__ = ["BOUNDS", "plain"]

# Bodies may be long and slow: the facade itself says when one is late.
BOUNDS = Bounds(arrival_seconds=10.0, with_body=False, keep_alive_seconds=5.0)

_SAID = {
    400: ("Bad Request", "structure", "the HTTP request cannot be read"),
    431: ("Request Header Fields Too Large", "too-long", "the head of the HTTP request is too long"),
    503: ("Service Unavailable", "throttled", "there are too many connections"),
}


def plain(status: int) -> bytes:
    """A whole response, after which the connection is closed."""
    phrase, code, text = _SAID[status]
    said = outcome(status, code, text)
    head = (
        f"HTTP/1.1 {status} {phrase}\r\ncontent-type: {JSON}\r\ncache-control: no-store\r\n"
        f"content-length: {len(said.body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + said.body

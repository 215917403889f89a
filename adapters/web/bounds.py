"""How much a client may ask of a server before it has been understood, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Bounds"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """`head`: bytes of the URL and all headers; what comes in one piece may be as long as one reading.

    `arrival_seconds`: for a head, and with `with_body` for its body too. A
    client must take `pace` bytes of an answer that waits for it in
    `stalled_seconds`, or all of it. `keep_alive_seconds`: between two requests.
    `watch_seconds`: how often it is looked who is late. `patience`: seconds for
    requests under way when the server stops.
    """

    head: int = 32 * 1024
    headers: int = 100
    arrival_seconds: float = 15.0
    with_body: bool = True
    stalled_seconds: float = 30.0
    pace: int = 64 * 1024
    keep_alive_seconds: float = 75.0
    connections: int = 1000
    watch_seconds: float = 1.0
    patience: int = 5

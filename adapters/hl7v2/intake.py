"""What a session of one message is given, and the words it uses beside those of `spir.exchange`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from adapters.hl7v2.facts import Reader
from adapters.hl7v2.source import Source
from spir.exchange import Credentials

__all__ = ["Arrival", "Desk", "Identify", "Recall", "Recalled", "Validate"]


@dataclass(frozen=True, slots=True)
class Identify:
    """Who is it? The event sent back is an `Identity`; raises Unauthenticated."""

    credentials: Credentials


@dataclass(frozen=True, slots=True)
class Recall:
    """Was this message here before? The event sent back is a `Recalled`, or None."""

    source: str
    control_id: str
    digest: bytes  # SHA-256 of the body


@dataclass(frozen=True, slots=True)
class Recalled:
    """`same` says that the bytes were the same too; `code` is what was answered, as in original mode: AA, AE or AR."""

    same: bool
    code: str = "AA"


@dataclass(frozen=True, slots=True)
class Validate:
    """Check a message's structure against the standard. Comes back with None; raises MessageError."""

    text: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as it came in: `sources` are those that the connection may speak for."""

    body: bytes
    address: str
    sources: tuple[Source, ...]
    received: datetime
    certificate: bytes = b""  # DER of the verified TLS client certificate


@dataclass(frozen=True, slots=True)
class Desk:
    """What does not change from message to message. `processing` are the values of MSH-11 that are ours."""

    reader: Reader
    processing: frozenset[str] = frozenset({"P"})

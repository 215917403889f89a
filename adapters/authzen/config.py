"""How the decision point is to be served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from adapters.authzen.cache import CAPACITY
from spir.errors import DocumentError

__all__ = ["PdpConfig"]


@dataclass(frozen=True, slots=True)
class PdpConfig:
    """`base`: our URL as callers see it ("": from host and port). `socket`, `pipelined`: paths of Unix sockets
    ("" for none) that serve the same HTTP API, and pipelined msgpack; `socket_mode`: their permission bits.

    `open`: ask nobody who it is; for loopback only. `page_key`: 32 bytes shared
    by all processes behind one name; b"" makes one for this process.
    `subject_types`: other names of subject types. `max_explained`: of a request that is to be explained, for what
    it says comes back with every policy that looks at it. Times in seconds, sizes in bytes.
    """

    host: str = "127.0.0.1"
    port: int = 8181
    base: str = ""
    socket: str = ""
    pipelined: str = ""
    socket_mode: int = 0o600
    open: bool = False
    page_key: bytes = b""
    subject_types: Mapping[str, str] = field(default_factory=lambda: {"user": "person"})
    identity_seconds: float = 2.0
    max_body: int = 256 * 1024
    max_explained: int = 16 * 1024
    remembered: int = CAPACITY

    def __post_init__(self) -> None:
        if self.open and not _loopback(self.host):
            raise DocumentError(
                f"a decision point on `{self.host}` cannot be open to everybody", hint="listen on loopback"
            )
        if len(self.page_key) not in (0, 32):
            raise DocumentError("the page key must have 32 bytes")


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

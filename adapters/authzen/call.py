"""SHELL: one HTTP call of an ASGI server: how it arrived, and how it is answered."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, MutableMapping
from ipaddress import ip_address
from typing import Any, NamedTuple

import msgspec

from adapters.authzen.answer import Refused
from adapters.authzen.gate import Shown
from adapters.web.guarded import CERTIFICATE, UNIX
from spir.exchange import Credentials

__all__ = ["Arrived", "Ids", "Receive", "Reply", "Scope", "Send", "credentials_of", "head", "quick_head"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_TRACE = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")  # W3C trace context, level 1
_ECHOED = re.compile(rb"[\x20-\x7e\x80-\xff]{1,256}")
_BEARER = re.compile(rb"(?i:bearer) +([A-Za-z0-9\-._~+/]+=*)")  # RFC 6750 section 2.1

# Headers that mean something here: given twice, they would mean two things.
_ONCE = frozenset((b"authorization", b"content-type", b"x-request-id", b"traceparent"))

JSON_TYPE = b"application/json"

_NOT_ZERO = 1 << 64 | 1  # neither id may be: the last bit of each is set


class Reply(NamedTuple):
    """`bundle`: the fingerprint of what decided; "" for what is in force."""

    status: int
    body: bytes
    bundle: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    type: bytes = JSON_TYPE


class Ids(msgspec.Struct, frozen=True):
    """The W3C trace id and our span in it, in hexadecimal digits, and what is echoed as X-Request-ID."""

    trace: str
    span: str
    request: bytes

    @classmethod
    def of(cls, traceparent: bytes | None, request_id: bytes | None, numbers: random.Random) -> Ids:
        """Those that a call brings, if sound, else ours. `numbers` are not secret: they tell calls apart."""
        fresh = "%048x" % (numbers.getrandbits(192) | _NOT_ZERO)
        found = _TRACE.fullmatch(traceparent) if traceparent else None
        trace = found[1].decode() if found else fresh[:32]
        sound = request_id and _ECHOED.fullmatch(request_id)
        return cls(trace, fresh[32:], request_id if request_id and sound else trace.encode())


class Arrived:
    """One request, with ids of ours where it brings none."""

    __slots__ = (
        "_receive",
        "_unix",
        "address",
        "certificate",
        "headers",
        "ids",
        "method",
        "path",
    )

    def __init__(
        self,
        method: str,
        path: str,
        headers: list[tuple[bytes, bytes]],
        address: str,
        certificate: bytes,
        numbers: random.Random,
        *,
        unix: bool = False,
        receive: Receive | None = None,
    ) -> None:
        self.method, self.path, self.address, self.certificate = method, path, address, certificate
        self.headers = dict(headers)
        self._unix = unix
        self.ids = Ids.of(self.headers.get(b"traceparent"), self.headers.get(b"x-request-id"), numbers)
        self._receive = receive or _nothing

    @classmethod
    def of(cls, scope: Scope, receive: Receive, numbers: random.Random) -> Arrived:
        """A call of an ASGI server."""
        client, state = scope.get("client"), scope.get("state", {})
        address, certificate = client[0] if client else "", state.get(CERTIFICATE, b"")
        method, path, headers = scope["method"], scope["path"], scope["headers"]
        return cls(method, path, headers, address, certificate, numbers, unix=state.get(UNIX, False), receive=receive)

    @property
    def local(self) -> bool:
        """Whether it comes from this machine: over a Unix socket or loopback."""
        if self.address:
            return ip_address(self.address.partition("%")[0]).is_loopback
        return self._unix

    @property
    def shown(self) -> Shown:
        """What the caller shows of itself, as it came: the same for the same credentials."""
        return self.headers.get(b"authorization", b""), self.certificate, self.address

    def credentials(self) -> Credentials:
        return credentials_of(self.shown)

    def check(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Refuse what is ambiguous. Raises Refused (400)."""
        if len(self.headers) != len(headers):
            names = [name for name, _ in headers if name in _ONCE]
            if len(names) != len(set(names)):
                raise Refused(400, "a header that means something stands there twice")
        if b"x-request-id" in self.headers and self.ids.request is not self.headers[b"x-request-id"]:
            raise Refused(400, "the X-Request-ID cannot be echoed", hint="send at most 256 printable characters")

    def check_type(self) -> None:
        """Raises Refused (400) for a body that does not call itself JSON."""
        given = self.headers.get(b"content-type", b"")
        if given != JSON_TYPE and given.partition(b";")[0].strip().lower() != JSON_TYPE:
            raise Refused(400, "the body must be JSON", hint="send Content-Type: application/json")

    async def body(self, limit: int) -> bytes:
        """The whole body, which must call itself JSON. Raises Refused (400, 413)."""
        self.check_type()
        declared = self.headers.get(b"content-length", b"")
        if declared.isdigit() and (len(declared) > 18 or int(declared) > limit):
            raise _too_long(limit)
        message = await self._receive()
        whole: bytes = message.get("body", b"")
        while message.get("more_body"):
            if len(whole) > limit:
                raise _too_long(limit)
            message = await self._receive()
            whole += message.get("body", b"")
        if message["type"] == "http.disconnect":
            raise Refused(400, "the body ended early")
        if len(whole) > limit:
            raise _too_long(limit)
        return whole


def credentials_of(shown: Shown) -> Credentials:
    authorization, certificate, address = shown
    bearer = _BEARER.fullmatch(authorization)
    return Credentials("pdp", address, bearer=bearer[1].decode() if bearer else "", certificate=certificate)


def head(reply: Reply, arrived: Arrived, bundle: str) -> list[tuple[bytes, bytes]]:
    """The headers of an answer; every answer has the same ones."""
    return [
        (b"content-type", reply.type),
        (b"content-length", b"%d" % len(reply.body)),
        (b"x-request-id", arrived.ids.request),
        (b"x-policy-version", (reply.bundle or bundle).encode()),
        (b"traceparent", f"00-{arrived.ids.trace}-{arrived.ids.span}-01".encode()),
        *reply.headers,
    ]


def quick_head(size: int, ids: Ids, bundle: str) -> bytes:
    """The status line and headers of an answer with a decision, as they are written: those of `head`."""
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
        b"x-request-id: %b\r\nx-policy-version: %b\r\ntraceparent: 00-%b-%b-01\r\n"
    ) % (size, ids.request, bundle.encode(), ids.trace.encode(), ids.span.encode())


async def _nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}


def _too_long(limit: int) -> Refused:
    # the rest of it is not read, so the connection cannot go on
    return Refused(
        413, "the body is too long", hint=f"at most {limit} bytes are read", headers=((b"connection", b"close"),)
    )

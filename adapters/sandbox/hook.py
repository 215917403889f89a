"""A webhook receiver for the demo and the tests: keeps what it got, and checks who signed it.

The signature is HMAC-SHA-256 over the body, in hexadecimal after `sha256=`.
What is not signed with the shared secret is refused with 401 and not kept.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from adapters.sandbox.asgi import Reply, Request, ThreadedAsgi, application

__all__ = ["SIGNATURE", "Delivery", "SandboxHook", "signature"]

SIGNATURE = "x-spir-signature"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One accepted request: its path, header names in lower case, and the decoded JSON body."""

    path: str
    headers: Mapping[str, str]
    body: Any


def signature(secret: bytes, body: bytes) -> str:
    return f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"


class SandboxHook(ThreadedAsgi):
    """`deliveries` grows with what was accepted, at most the last 1000. Without a `secret` nothing is checked.

    `failing` > 0 answers that many requests with 503 first: for tests of retries.
    """

    def __init__(
        self, *, sandbox: bool = False, secret: bytes = b"", host: str = "127.0.0.1", port: int = 0, failing: int = 0
    ) -> None:
        self._secret = secret
        self.failing = failing
        self.refused = 0
        self.deliveries: list[Delivery] = []
        self._arrived = threading.Condition()
        super().__init__(application(self.answer), "sandbox webhook", host, port, sandbox=sandbox)

    def wait(self, count: int, timeout: float = 10.0) -> bool:
        """Whether at least `count` deliveries have arrived, waiting up to `timeout` seconds for them."""
        with self._arrived:
            return self._arrived.wait_for(lambda: len(self.deliveries) >= count, timeout)

    def answer(self, request: Request) -> Reply:
        if request.method != "POST":
            return Reply(405)
        if self.failing > 0:
            self.failing -= 1
            return Reply(503)
        if self._secret and not self._signed(request):
            self.refused += 1
            return Reply(401)
        try:
            body = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            return Reply(400)
        with self._arrived:
            self.deliveries.append(Delivery(request.path, request.headers, body))
            del self.deliveries[:-1000]
            self._arrived.notify_all()
        return Reply(204)

    def _signed(self, request: Request) -> bool:
        given = request.headers.get(SIGNATURE, "").encode("latin-1", "replace")
        return hmac.compare_digest(given, signature(self._secret, request.body).encode())

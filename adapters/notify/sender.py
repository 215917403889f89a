"""SHELL: one HTTP request out, one verdict back.

Nothing of an answer is kept but its status and what Retry-After asks for: a
receiver cannot fill our memory, lead us elsewhere or write into our log.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import aiohttp
from yarl import URL

from adapters.notify.message import Message
from adapters.notify.retry import Verdict, asked_pause, judge
from spir.errors import Unavailable

__all__ = ["Result", "Sender"]

# As much of an answer's body is read as makes the connection worth keeping.
MOST_READ = 4096
READING = 1.0  # seconds

_OF_A_WRITE = frozenset({"Content-Type", "Prefer", "If-None-Match"})


@dataclass(frozen=True, slots=True)
class Result:
    """`problem` is in our own words; `pause` is the least number of seconds the receiver asks us to wait."""

    verdict: Verdict
    problem: str = ""
    pause: float = 0.0


class Sender:
    """A pool of connections, made by `start`. `timeout` is in seconds, for a whole request."""

    def __init__(
        self, now: Callable[[], datetime], *, timeout: float, connections: int, tls: ssl.SSLContext | None
    ) -> None:
        self._now = now
        self._timeout = timeout
        self._connections = connections
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, ssl=self._tls or True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            trust_env=False,
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, message: Message, *, again: bool) -> Result:
        """Deliver. `again`: an earlier attempt may have arrived, so ask first where one can ask.

        Raises Unavailable if not started, and nothing for what a receiver does.
        """
        if again and message.probe:
            found = await self._ask("GET", message.probe, message, b"")
            if found.status in (200, 410):
                return Result(Verdict.DELIVERED)
            if found.status == 0 or judge(found.status) is Verdict.AGAIN:
                return self._result(found, message)
        return self._result(await self._ask(message.method, message.url, message, message.body), message)

    async def _ask(self, method: str, url: str, message: Message, body: bytes) -> _Heard:
        if self._session is None:
            raise Unavailable("notifications are not being delivered now")
        headers = message.headers if body else {n: v for n, v in message.headers.items() if n not in _OF_A_WRITE}
        try:
            async with self._session.request(
                method, URL(url, encoded=True), data=body or None, headers=headers, allow_redirects=False
            ) as response:
                await _drain(response)
                return _Heard(response.status, retry_after=response.headers.get("Retry-After", ""))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            return _Heard(0, problem=type(error).__name__)

    def _result(self, heard: _Heard, message: Message) -> Result:
        if heard.status == 0:
            return Result(Verdict.AGAIN, f"no answer: {heard.problem}")
        verdict = judge(heard.status, message.present)
        if verdict is Verdict.DELIVERED:
            return Result(verdict)
        return Result(verdict, f"answered {heard.status}", asked_pause(heard.retry_after, self._now()))


@dataclass(frozen=True, slots=True)
class _Heard:
    """`status` is 0 where there was no answer."""

    status: int
    retry_after: str = ""
    problem: str = ""


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read a short body to its end, so that the connection can be used again; close it on any other.

    The verdict stands with the status: what happens to the body changes nothing.
    """
    left = MOST_READ
    try:
        async with asyncio.timeout(READING):
            while left > 0 and not response.content.at_eof():
                left -= len(await response.content.read(left))
    except (TimeoutError, aiohttp.ClientError, OSError):
        response.close()
        return
    if not response.content.at_eof():
        response.close()

"""The FHIR server behind us, over a pool of connections (SHELL).

Only what a session says goes out: no header of the client's does. Redirects
are not followed, cookies are not kept, proxies of the environment are not
used, and an answer that grows past its bound is dropped.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass

import aiohttp
from yarl import URL

from adapters.fhir.peer import Ask, Heard, target
from spir.errors import PeerError

__all__ = ["Upstream", "UpstreamConfig"]

log = logging.getLogger("spir.fhir")

FHIR_JSON = "application/fhir+json"


@dataclass(frozen=True, slots=True)
class UpstreamConfig:
    """`base`: URL without a slash at its end. `token`: bearer token of our own, "" for none. Times in seconds."""

    base: str
    token: str = ""
    timeout: float = 30.0
    connections: int = 100
    max_body: int = 32 * 1024 * 1024


class Upstream:
    """`async with`-free: `start`, `send` any number of times at once, `stop`."""

    def __init__(self, config: UpstreamConfig, tls: ssl.SSLContext | None = None) -> None:
        self.config = config
        self.lenient: bool | None = None  # whether it ignores parameters it does not know; None: not known
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        connector = aiohttp.TCPConnector(limit=self.config.connections, ssl=self._tls or True)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self.config.timeout),
            trust_env=False,
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, ask: Ask, trace: str = "") -> Heard:
        """One request, one answer. Raises PeerError; its words hold no URL, since a URL names patients."""
        if self._session is None:
            raise PeerError("the FHIR server is not connected")
        try:
            async with self._session.request(
                ask.method,
                URL(self._url(ask.target), encoded=True),
                data=ask.body or None,
                headers=self._headers(ask, trace),
                allow_redirects=False,
            ) as response:
                return Heard(response.status, await self._read(response), response.headers.get("Location", ""))
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise PeerError(f"the FHIR server does not answer: {type(error).__name__}") from None

    async def probe(self) -> None:
        """Find out whether it ignores parameters it does not know. A server that is down is asked again by nobody."""
        try:
            heard = await self.send(Ask("GET", target("Patient", (("spir-no-such-parameter", "1"), ("_count", "1")))))
        except PeerError as error:
            log.warning("fhir upstream not probed: %s", error)
            return
        self.lenient = heard.status == 200
        if self.lenient:
            log.warning("fhir upstream ignores unknown parameters: narrowing is economy only")

    def _url(self, where: str) -> str:
        return f"{self.config.base}{'' if where.startswith('?') else '/'}{where}"

    def _headers(self, ask: Ask, trace: str) -> dict[str, str]:
        headers = {"Accept": FHIR_JSON, "Accept-Encoding": "identity", "Prefer": "handling=strict"}
        if ask.body:
            headers["Content-Type"] = FHIR_JSON
            headers["Prefer"] = "return=representation"
        if ask.if_match:
            headers["If-Match"] = f'W/"{ask.if_match}"'
        if trace:
            headers["traceparent"] = trace
        if self.config.token:
            headers["Authorization"] = f"Bearer {self.config.token}"
        return headers

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise PeerError("the FHIR server compresses what it was asked not to")
        whole = bytearray()
        async for chunk in response.content.iter_any():
            whole += chunk
            if len(whole) > self.config.max_body:
                raise PeerError("the FHIR server's answer is too large", hint="ask for fewer with _count")
        return bytes(whole)

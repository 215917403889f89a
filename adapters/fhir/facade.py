"""The FHIR REST facade (SHELL): an ASGI application between clients and any R4 server.

It owns the sockets and the clock; what is answered is decided by sessions. The
subject comes from the bearer token or the client certificate and from nowhere
else: no header and no parameter says who somebody is, or why they ask.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from adapters import mappings
from adapters.fhir import interaction, outcome
from adapters.fhir.capability import capability_statement, smart_configuration
from adapters.fhir.outcome import Refused, Response
from adapters.fhir.paging import Sealer
from adapters.fhir.patients import Known
from adapters.fhir.rows import Reading
from adapters.fhir.server import BOUNDS, plain
from adapters.fhir.session import refuse, serve
from adapters.fhir.steps import Call, Site
from adapters.fhir.tables import Tables
from adapters.fhir.upstream import Upstream, UpstreamConfig
from adapters.fhir.validate import check
from adapters.version import __version__
from adapters.web.guarded import CERTIFICATE
from adapters.web.server import HttpServer
from spir.errors import Unauthenticated
from spir.exchange import Answer, AskPeer, Commit, Credentials, Decide, Identity, Services, Session, converse

__all__ = ["Facade", "FacadeConfig", "load_tables"]

log = logging.getLogger("spir.fhir")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_TRACE = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")  # W3C trace context, level 1
_BEARER = re.compile(r"[Bb]earer +([A-Za-z0-9\-._~+/]+=*)")  # RFC 6750 section 2.1


@dataclass(frozen=True, slots=True)
class FacadeConfig:
    """`base`: our URL as clients see it ("": from host and port). `prefix`: path before the types, as `/fhir`.

    `page_key`: 32 bytes shared by all processes behind one name; b"" makes one
    for this process. `smart`: members of the SMART configuration. Times in seconds.
    """

    upstream: UpstreamConfig
    host: str = "127.0.0.1"
    port: int = 8080
    base: str = ""
    prefix: str = ""
    validate_writes: bool = False
    page_key: bytes = b""
    smart: Mapping[str, Any] = field(default_factory=dict)
    identity_seconds: float = 30.0
    request_seconds: float = 60.0
    body_seconds: float = 30.0
    max_body: int = 4 * 1024 * 1024


class Facade:
    """`start`, `port`, `stop`; and an ASGI application, to be mounted elsewhere.

    `tls`: of the listener, with client certificates if the site wants them.
    `upstream_tls`: for an upstream whose certificate is the site's own.
    """

    def __init__(
        self,
        config: FacadeConfig,
        services: Services,
        tls: ssl.SSLContext | None = None,
        upstream_tls: ssl.SSLContext | None = None,
    ) -> None:
        self.config = config
        self.services = services
        self.port = config.port
        self.upstream = Upstream(config.upstream, upstream_tls)
        self.site: Site | None = None
        self._scheme = "http" if tls is None else "https"
        self._server = HttpServer(self, plain, tls, bounds=BOUNDS)

    async def start(self) -> None:
        """Take the port, connect and serve. Raises OSError where the port is taken."""
        self.port = self._server.bind(self.config.host, self.config.port)
        try:
            await self.open()
            await self._server.start()
        except BaseException:
            await self.stop()
            raise
        log.info("fhir facade serves on port %d", self.port)

    async def stop(self) -> None:
        await self._server.stop()
        await self.close()

    async def open(self) -> None:
        """Everything but the port: for a facade that is mounted in another server."""
        await self.upstream.start()
        await self.upstream.probe()
        self.site = self._site(load_tables())

    async def close(self) -> None:
        await self.upstream.stop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = _Arrived(scope, receive)
        response = await self._respond(request)
        await _deliver(response, request, send)

    def _site(self, tables: Tables) -> Site:
        config = self.config
        base = config.base or f"{self._scheme}://{config.host}:{self.port}{config.prefix}"

        def staff(reference: str) -> str | None:
            return self.services.staff("fhir", reference)

        return Site(
            reading=Reading(tables, self.services.identifiers, config.upstream.base, staff),
            base=base,
            sealer=Sealer(config.page_key or os.urandom(32), lambda: os.urandom(12)),
            known=Known(timedelta(seconds=config.identity_seconds)),
            check=check if config.validate_writes else None,
        )

    async def _respond(self, request: _Arrived) -> Response:
        """The answer, whatever happens. INVARIANT: an error of ours says nothing but that there was one."""
        try:
            async with asyncio.timeout(self.config.request_seconds):
                return self._open_to_all(request) or await self._answer(request)
        except TimeoutError:
            failed = outcome.outcome(504, "timeout", "the request took too long; nothing is known of its result")
        except Exception as error:
            # A defect, not a refusal: its text could quote what was asked, so only its kind and place are logged.
            log.error("fhir request %s failed: %s in %s", request.id, type(error).__name__, _place(error))
            failed = outcome.outcome(500, "exception", "the request failed")
        try:
            return await self._refusal(request, failed, {"error": failed.status})
        except Exception as error:
            log.error("fhir request %s cannot be recorded: %s in %s", request.id, type(error).__name__, _place(error))
            return failed

    def _open_to_all(self, request: _Arrived) -> Response | None:
        """What needs no identity and tells nothing of any patient."""
        if self.site is None:
            return outcome.outcome(503, "transient", "not ready yet")
        if request.method not in ("GET", "HEAD"):
            return None
        match request.path.removeprefix(self.config.prefix):
            case "/healthz":
                return Response(200, b'{"status":"ok"}', (("Content-Type", "application/json"),))
            case "/metadata":
                return capability_statement(self.site.reading.tables, self.site.base, __version__, self.services.now())
            case "/.well-known/smart-configuration":
                return smart_configuration(self.config.smart)
        return None

    async def _answer(self, request: _Arrived) -> Response:
        identity: Identity | None = None
        try:
            headers = interaction.headers_of(request.raw_headers)
            identity = self.services.identify(self._credentials(request, headers))
            call = await self._call(request, headers, identity)
        except Unauthenticated:
            return await self._refusal(request, _unauthenticated(headers), {"refused": "login"})
        except Refused as error:
            who = identity.subject.id if identity else ""
            return await self._refusal(request, outcome.refusal(error), {"refused": error.code}, who)
        assert self.site is not None
        return await self._run(serve(call, self.site), request)

    async def _call(self, request: _Arrived, headers: Mapping[str, str], identity: Identity) -> Call:
        assert self.site is not None
        body = await self._body(request, headers)
        path = request.raw_path
        prefix = self.config.prefix.encode()
        if not path.startswith(prefix):
            raise Refused(404, "not-supported", "there is nothing here", hint="see /metadata")
        form = request.method == "POST" and path.endswith(b"/_search")
        if form:
            interaction.body_form(headers, form=True)
        found = interaction.read(
            request.method,
            path[len(prefix) :],
            request.query,
            self.site.reading.tables.types,
            form=body if form else b"",
        )
        purpose = identity.subject.properties.get("purpose")
        context = {"ip": request.address, "protocol": "fhir", "purpose": purpose if isinstance(purpose, str) else None}
        return Call(found, identity.subject, context, self.services.now(), headers, body)

    def _credentials(self, request: _Arrived, headers: Mapping[str, str]) -> Credentials:
        bearer = _BEARER.fullmatch(headers.get("authorization", ""))
        return Credentials(
            protocol="fhir",
            address=request.address,
            bearer=bearer[1] if bearer else "",
            certificate=request.certificate,
        )

    async def _body(self, request: _Arrived, headers: Mapping[str, str]) -> bytes:
        """The whole body of a POST or PUT. Raises Refused (408, 413)."""
        if request.method not in ("POST", "PUT"):
            return b""
        bound = self.config.max_body
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > bound:
            raise Refused(413, "too-long", "the body is too long", hint=f"at most {bound} bytes are read")
        whole = bytearray()
        try:
            async with asyncio.timeout(self.config.body_seconds):
                async for part in request.parts():
                    whole += part
                    if len(whole) > bound:
                        raise Refused(413, "too-long", "the body is too long", hint=f"at most {bound} bytes are read")
        except TimeoutError:
            raise Refused(408, "timeout", "the body did not arrive in time") from None
        return bytes(whole)

    async def _refusal(
        self, request: _Arrived, response: Response, detail: Mapping[str, Any], subject: str = ""
    ) -> Response:
        """The answer to what never became a session; recorded like everything else."""
        full = {**detail, "status": response.status, "request": request.id}
        return await self._run(refuse(subject, self.services.now(), request.method.lower(), response, full), request)

    async def _run(self, session: Session, request: _Arrived) -> Response:
        answers: list[Response] = []

        async def perform(command: Any) -> Any:
            match command:
                case Decide(asked):
                    return self.services.rule(asked)
                case AskPeer(message):
                    return await self.upstream.send(message, request.trace)
                case Commit(items):
                    return await self.services.commit(*items)
                case Answer(message):
                    answers.append(message)
                    return None
            raise TypeError(f"a session asked for {type(command).__name__}")

        await converse(session, perform)
        return answers[-1]


def load_tables() -> Tables:
    """The shipped mapping tables."""
    names = ("fhir", "fields", "fhir_search", "fhir_elements")
    return Tables.build(*(mappings.read(name) for name in names))


class _Arrived:
    """One request as it arrived, with ids of ours for it."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self.raw_headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        self.address: str = scope["client"][0] if scope.get("client") else ""
        self.certificate: bytes = scope.get("state", {}).get(CERTIFICATE, b"")
        self.id = os.urandom(16).hex()
        self.trace = self._trace()
        self._receive = receive

    async def parts(self) -> Any:
        """The body, as it comes. Raises Refused if the client has gone."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "incomplete", "the body ended early")
            yield message.get("body", b"")
            if not message.get("more_body"):
                return

    def _trace(self) -> str:
        """The caller's trace with a span of ours, or a trace of our own."""
        given = next((value for name, value in self.raw_headers if name == b"traceparent"), b"")
        found = _TRACE.fullmatch(given.decode("latin-1"))
        return f"00-{found[1] if found else os.urandom(16).hex()}-{os.urandom(8).hex()}-01"


async def _deliver(response: Response, request: _Arrived, send: Send) -> None:
    headers = [
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-request-id", request.id.encode()),
        (b"traceparent", request.trace.encode()),
        *((name.lower().encode(), value.encode("latin-1")) for name, value in response.headers),
    ]
    if response.body and not any(name == b"content-type" for name, _ in headers):
        headers.append((b"content-type", outcome.JSON.encode()))
    if response.status not in (204, 304):
        headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else response.body})


def _unauthenticated(headers: Mapping[str, str]) -> Response:
    """401 with a challenge (RFC 6750 section 3): whether the token was wrong or there was none."""
    error = ', error="invalid_token"' if "authorization" in headers else ""
    return outcome.outcome(
        401, "login", "who is asking is not known", (("WWW-Authenticate", f'Bearer realm="spir"{error}'),)
    )


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace is not None else "?"

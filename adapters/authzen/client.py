"""SHELL: ask a decision point: `evaluate(subject, resource, action, context) -> Allowed`. For any AuthZEN 1.0 server.

    allowed = Client("https://pdp.example", token).evaluate(
        Entity("person", "dr.li"), Entity("result", "r1", {"patient": {"id": "HIS|P001"}}), "read"
    )
    if allowed: ...

Many questions at once cost a fraction each: `evaluate_many(requests)`.

Fails closed: an answer that cannot be had or read raises PeerError, and one that
demands an obligation the caller has not said it understands is not allowed.
"""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from spir.errors import PeerError, RequestError
from spir.model.obligation import Obligation, unmet
from spir.model.request import EMPTY, Action, Entity, Request
from spir.model.value import freeze

__all__ = ["Allowed", "AsyncClient", "Client"]

EVALUATION, EVALUATIONS = "/access/v1/evaluation", "/access/v1/evaluations"
ALL = "execute_all"
LONGEST_ANSWER = 4 * 1024 * 1024  # bytes


@dataclass(frozen=True, slots=True)
class Allowed:
    """The answer; true only if the access may go forward, after the `obligations` have been carried out.

    `conditional`: it depends on data; `context` holds the residual. `bundle`: the
    fingerprint of the policies that decided, "" if the server does not say.
    """

    allowed: bool
    obligations: tuple[Obligation, ...] = ()
    conditional: bool = False
    context: Mapping[str, Any] = field(default_factory=dict)
    bundle: str = ""

    def __bool__(self) -> bool:
        return self.allowed

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why not, for an administrator; not for the user."""
        given = self.context.get("reasons", ())
        texts = (one.get("reason_admin", {}) for one in given if isinstance(one, dict))
        return tuple(str(text.get("en", "")) for text in texts if isinstance(text, dict))


@dataclass(frozen=True)
class Client:
    """Asks over HTTP, blocking. `understood`: obligation types that the caller carries out. `timeout` in seconds."""

    base: str
    token: str = ""
    understood: frozenset[str] = frozenset()
    timeout: float = 5.0
    tls: ssl.SSLContext | None = None

    def evaluate(
        self, subject: Entity, resource: Entity, action: str | Action, context: Mapping[str, Any] = EMPTY
    ) -> Allowed:
        """Whether `subject` may do `action` to `resource`. Raises PeerError; RequestError for values that are none."""
        data, bundle = self._post(EVALUATION, _body(subject, resource, action, context, self.understood))
        return _allowed(_decoded(data), bundle, self.understood)

    def evaluate_many(self, requests: Sequence[Request], semantic: str = ALL) -> tuple[Allowed, ...]:
        """The answers to several requests, in their order; fewer of them if `semantic` ends it early. Raises alike."""
        if not requests:
            return ()
        data, bundle = self._post(EVALUATIONS, _many_body(requests, semantic, self.understood))
        return _all_allowed(data, bundle, self.understood, len(requests), semantic)

    def _post(self, path: str, body: bytes) -> tuple[bytes, str]:
        """What comes back, and the bundle that decided."""
        request = urllib.request.Request(f"{self.base.rstrip('/')}{path}", body, _headers(self.token))
        https = urllib.request.HTTPSHandler(context=self.tls)
        # no redirect and no proxy: `base` alone says who is asked, and who sees the token
        opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}), https)
        try:
            with opener.open(request, timeout=self.timeout) as response:
                return response.read(LONGEST_ANSWER), response.headers.get("X-Policy-Version", "")
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error.code) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise PeerError("the decision point does not answer", hint=type(error).__name__) from error


class AsyncClient:
    """Like `Client`, for asyncio; keeps connections. `unix`: path of a Unix socket, instead of host and port."""

    def __init__(
        self,
        base: str = "http://localhost",
        token: str = "",
        *,
        understood: frozenset[str] = frozenset(),
        timeout: float = 5.0,
        tls: ssl.SSLContext | bool = True,
        unix: str = "",
    ) -> None:
        self._base = base.rstrip("/")
        self._token, self._understood, self._timeout, self._tls, self._unix = token, understood, timeout, tls, unix
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> AsyncClient:
        connector = aiohttp.UnixConnector(self._unix) if self._unix else aiohttp.TCPConnector(ssl=self._tls)
        limit = aiohttp.ClientTimeout(total=self._timeout)
        self._session = aiohttp.ClientSession(connector=connector, timeout=limit, headers=_headers(self._token))
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def evaluate(
        self, subject: Entity, resource: Entity, action: str | Action, context: Mapping[str, Any] = EMPTY
    ) -> Allowed:
        """See `Client.evaluate`."""
        data, bundle = await self._post(EVALUATION, _body(subject, resource, action, context, self._understood))
        return _allowed(_decoded(data), bundle, self._understood)

    async def evaluate_many(self, requests: Sequence[Request], semantic: str = ALL) -> tuple[Allowed, ...]:
        """See `Client.evaluate_many`."""
        if not requests:
            return ()
        data, bundle = await self._post(EVALUATIONS, _many_body(requests, semantic, self._understood))
        return _all_allowed(data, bundle, self._understood, len(requests), semantic)

    async def _post(self, path: str, body: bytes) -> tuple[bytes, str]:
        if self._session is None:
            raise PeerError("the client is not open", hint="use `async with AsyncClient(...) as client`")
        try:
            async with self._session.post(f"{self._base}{path}", data=body, allow_redirects=False) as response:
                data = await _read(response)
                status, bundle = response.status, response.headers.get("X-Policy-Version", "")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PeerError("the decision point does not answer", hint=type(error).__name__) from error
        if status != 200:
            raise _refused(status)
        return data, bundle


async def _read(response: aiohttp.ClientResponse) -> bytes:
    whole = bytearray()
    async for part in response.content.iter_any():
        whole += part
        if len(whole) > LONGEST_ANSWER:
            raise PeerError("the decision point's answer is too long")
    return bytes(whole)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to somewhere else."""

    def redirect_request(self, *arguments: Any, **more: Any) -> None:
        return None


def _headers(token: str) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    return {**headers, "Authorization": f"Bearer {token}"} if token else headers


def _body(
    subject: Entity, resource: Entity, action: str | Action, context: Mapping[str, Any], understood: frozenset[str]
) -> bytes:
    named = Action(action) if isinstance(action, str) else action
    frozen = freeze(context)
    assert isinstance(frozen, Mapping)
    return _written(_asked(Request(subject, named, resource, frozen), understood))


def _many_body(requests: Sequence[Request], semantic: str, understood: frozenset[str]) -> bytes:
    items = [_asked(request, understood) for request in requests]
    return _written({"evaluations": items, "options": {"evaluations_semantic": semantic}})


def _asked(request: Request, understood: frozenset[str]) -> dict[str, Any]:
    """INVARIANT: every question says what its asker understands."""
    said = request.to_json()
    return {**said, "context": {**said.get("context", {}), "obligations_supported": sorted(understood)}}


def _written(body: Any) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (TypeError, ValueError) as error:
        raise RequestError("the request cannot be written as JSON") from error


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (ValueError, RecursionError) as error:
        raise PeerError("the decision point's answer is not JSON") from error


def _all_allowed(
    data: bytes, bundle: str, understood: frozenset[str], asked: int, semantic: str
) -> tuple[Allowed, ...]:
    """INVARIANT: an answer belongs to a request by its place, so none may be missing in between."""
    body = _decoded(data)
    answers = body.get("evaluations") if isinstance(body, dict) else None
    if not isinstance(answers, list) or not 1 <= len(answers) <= asked or (semantic == ALL and len(answers) != asked):
        raise PeerError("the decision point does not answer every request")
    return tuple(_allowed(answer, bundle, understood) for answer in answers)


def _allowed(body: Any, bundle: str, understood: frozenset[str]) -> Allowed:
    if not isinstance(body, dict) or not isinstance(body.get("decision"), bool):
        raise PeerError("the decision point's answer is no decision")
    context = body.get("context", {})
    if not isinstance(context, dict):
        raise PeerError("the decision point's answer has no context that can be read")
    obligations = tuple(_obligation(one) for one in _several(context.get("obligations", ())))
    allowed = body["decision"] and not unmet(obligations, understood)
    return Allowed(bool(allowed), obligations, context.get("conditional") is True, context, bundle)


def _several(given: Any) -> list[Any]:
    if not isinstance(given, (list, tuple)):
        raise PeerError("the decision point's obligations cannot be read")
    return list(given)


def _obligation(given: Any) -> Obligation:
    """Raises PeerError for one that cannot be read: what is not known cannot be carried out."""
    match given:
        case {"id": str(id), "type": str(type), **rest}:
            properties = rest.get("properties", rest)
            if isinstance(properties, dict):
                frozen = freeze(properties)
                assert isinstance(frozen, Mapping)
                return Obligation(id, type, frozen)
    raise PeerError("the decision point's obligations cannot be read")


def _refused(status: int) -> PeerError:
    return PeerError(f"the decision point answers with status {status}")

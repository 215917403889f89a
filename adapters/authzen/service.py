"""SHELL: the policy decision point: AuthZEN 1.0, plans and explanations, over HTTP and local sockets.

A bare ASGI application on uvicorn. It owns sockets and ids; who may call is the
gate's business, what is decided is the engine's. Every answer with a decision
goes out after its audit record is durable. Whatever arrives, nothing but a
decision of the engine is ever answered with `true`.
"""

from __future__ import annotations

import logging
import os
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Literal

from adapters import mappings
from adapters.authzen import events, reading
from adapters.authzen.answer import Refused, planned, refusal
from adapters.authzen.aside import Aside, Patience
from adapters.authzen.call import Arrived, Receive, Reply, Scope, Send, head
from adapters.authzen.codec import JSON
from adapters.authzen.config import PdpConfig
from adapters.authzen.deciding import Deciding, Evaluated
from adapters.authzen.faults import place_of, refusal_of
from adapters.authzen.gate import Forbidden, Gate
from adapters.authzen.metrics import CONTENT_TYPE
from adapters.authzen.openapi import configuration, description
from adapters.authzen.operations import Operation, Operations
from adapters.authzen.pace import paced
from adapters.authzen.page import Pages
from adapters.authzen.pipelined import Desk, PipelinedServer
from adapters.authzen.port import PdpPort
from adapters.authzen.quick import LONGEST, Quickly
from adapters.authzen.recorder import Recorder
from adapters.authzen.search import Candidates, Found, Looking
from adapters.authzen.shorten import shortened
from adapters.authzen.tally import Tally
from adapters.version import VERSION
from adapters.web.bounds import Bounds
from adapters.web.exchange import Quick
from adapters.web.server import HttpServer
from spir.engine.explain import Explanation
from spir.errors import Unavailable
from spir.model.decision import Decision
from spir.model.request import Request

__all__ = ["Describe", "Pdp", "PdpConfig"]

log = logging.getLogger("spir.pdp")

# What an adapter would ask its peer for under a decision, JSON-ready; None if the request is not of its kind.
Describe = Callable[[Request, Decision], Any]
Handler = Callable[[Arrived, Operation], Awaitable[Reply]]

BOUNDS = Bounds()

RELOADED = ("policies", "directory")  # parts that are read again
UNREADABLE = 422


class Pdp:
    """`start`, `port`, `stop`; and an ASGI application, to be mounted elsewhere.

    `describe`: for plans, by adapter. `quick`: what a server of ours answers without a task.
    """

    def __init__(
        self,
        config: PdpConfig,
        services: PdpPort,
        tls: ssl.SSLContext | None = None,
        *,
        describe: Mapping[str, Describe] | None = None,
    ) -> None:
        self.config = config
        self.services = services
        self.port = config.port
        self.operations = Operations.build(mappings.read("pdp"))
        self._describe = dict(describe or {})
        self._scheme = "http" if tls is None else "https"
        self._tally = Tally(self.operations)
        self._gate = Gate(services, config.open, config.identity_seconds)
        self._deciding = Deciding(services, config.subject_types, config.remembered)
        self._recorder = Recorder(services.commit)
        self._candidates = Candidates(services, config.subject_types)
        self._pages = Pages(config.page_key or os.urandom(32), partial(os.urandom, 12))
        self._numbers = random.Random()
        self._aside = Aside()
        self._reloading = False
        self._stopping = False
        self._routes = self._routed()
        quickest = {one.path: one for one in map(self.operations.by_id.__getitem__, ("evaluate", "evaluateMany"))}
        quickly = Quickly(
            quickest,
            services,
            self._gate,
            self._refused,
            self._deciding,
            self._recorder,
            self._tally,
            self._numbers,
        )
        self.quick = Quick(frozenset(map(str.encode, quickest)), min(LONGEST, config.max_body), quickly.answer)
        self._http = HttpServer(self, self._plain, tls, bounds=BOUNDS, quick=self.quick)
        self._local = HttpServer(self, self._plain, bounds=BOUNDS, quick=self.quick)
        self._pipelined = PipelinedServer(self._desk())

    async def start(self) -> None:
        """Take the port and the sockets, and serve. Raises OSError where one is taken."""
        config = self.config
        self.port = self._http.bind(config.host, config.port)
        try:
            if config.socket:
                self._local.bind_unix(config.socket, config.socket_mode)
                await self._local.start()
            if config.pipelined:
                await self._pipelined.start(config.pipelined, config.socket_mode)
            await self._http.start()
        except BaseException:
            await self.stop()
            raise
        if config.open:
            log.warning("the decision point on port %d is open: it asks nobody who it is", self.port)
        log.info("decision point serves on port %d", self.port)

    async def stop(self) -> None:
        """Answer what has arrived, for a while. Safe to call twice."""
        self._stopping = True
        await self._http.stop()
        await self._local.stop()
        await self._pipelined.stop()
        await self._aside.close()
        await self._recorder.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        arrived = Arrived.of(scope, receive, self._numbers)
        operation, handler = self._routes.get((arrived.method, arrived.path), (None, None))
        try:
            arrived.check(scope["headers"])
            if operation is None or handler is None:
                raise self._unknown(arrived)
            reply = await handler(arrived, operation)
        except Exception as error:
            reply = await self._refused(arrived, operation, error)
        self._tally.served(operation.id if operation else "", reply.status, time.perf_counter() - started)
        headers = head(reply, arrived, self.services.bundle)
        if arrived.method != "POST":
            headers.append((b"cache-control", b"no-store"))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if arrived.method == "HEAD" else reply.body})

    # -- operations ----------------------------------------------------------------------------

    async def _evaluate(self, arrived: Arrived, operation: Operation) -> Reply:
        call, now = self._admitted(arrived, operation)
        body = await arrived.body(self.config.max_body)
        return await self._one(call, self._deciding.evaluated(body, now), now)

    async def _evaluate_many(self, arrived: Arrived, operation: Operation) -> Reply:
        call, now = self._admitted(arrived, operation)
        found = reading.batch(await arrived.body(self.config.max_body))
        if isinstance(found, Request):
            return await self._one(call, self._deciding.decide(found, JSON, now), now)
        several: list[Evaluated] = []
        await paced(self._deciding.many(found, several))
        await self._recorder.record(events.evaluated(call, several, now))
        self._tally.over_http(several)
        bundle = next((one.decision.bundle for one in several if one.decision), "")
        return Reply(200, JSON.several([one.encoded for one in several]), bundle)

    async def _one(self, call: events.Call, done: Evaluated, now: datetime) -> Reply:
        await self._recorder.record(events.evaluated(call, (done,), now))
        self._tally.over_http((done,))
        return Reply(200, done.encoded, done.decision.bundle if done.decision else "")

    async def _search(
        self, wanted: Literal["subject", "resource", "action"], arrived: Arrived, operation: Operation
    ) -> Reply:
        call, now = self._admitted(arrived, operation)
        search = reading.search(wanted, await arrived.body(self.config.max_body))
        after = self._pages.open(search.token, call.peer, search.asked, now) if search.token else ""
        ground = self._deciding.ground()
        found = Found()
        await paced(Looking(self.services, search, ground, self._candidates.of(search, ground), after).page(found))
        token = self._pages.seal(found.after, call.peer, search.asked, now) if found.after else ""
        request = Request(search.subject, search.action, search.resource, search.context)
        counts = {"count": found.looked_at, "results": len(found.results)}
        await self._recorder.record((events.searched(call, request, counts, now),))
        page = {"next_token": token, "count": len(found.results)}
        return Reply(200, JSON.encode({"results": found.results, "page": page}))

    async def _plan(self, arrived: Arrived, operation: Operation) -> Reply:
        call, now = self._admitted(arrived, operation)
        request = self._deciding.ground().settled(reading.plan(await arrived.body(self.config.max_body)))
        decision = self.services.decide(request)
        encoded = await self._aside.run(lambda over: self._planned(request, decision))
        await self._recorder.record((events.told(call, request, decision, now),))
        return Reply(200, encoded, decision.bundle)

    def _planned(self, request: Request, decision: Decision) -> bytes:
        asked = ((name, describe(request, decision)) for name, describe in self._describe.items())
        return JSON.encode(planned(decision, {name: pushed for name, pushed in asked if pushed is not None}))

    async def _explain(self, arrived: Arrived, operation: Operation) -> Reply:
        call, now = self._admitted(arrived, operation)
        request = self._deciding.ground().settled(reading.evaluation(await arrived.body(self.config.max_explained)))
        said, encoded = await self._aside.run(partial(self._explained, request))
        await self._recorder.record((events.told(call, request, said.decision, now),))
        return Reply(200, encoded, said.decision.bundle)

    def _explained(self, request: Request, over: Patience) -> tuple[Explanation, bytes]:
        said = self.services.explain(request, over)
        return said, JSON.encode(shortened(said.to_json(), JSON.encode))

    async def _reload(self, arrived: Arrived, operation: Operation) -> Reply:
        """INVARIANT: only on behalf of somebody, whom a policy permits it; where everybody may ask, nobody may do."""
        if self.config.open:
            raise Refused(403, "an open decision point changes nothing for its callers", hint="send it SIGHUP")
        call, _ = self._admitted(arrived, operation)
        reading.nothing(await arrived.body(self.config.max_body))
        if self._reloading:
            later = ((b"retry-after", b"1"),)
            raise Refused(409, "they are being read at this moment", hint="try again later", headers=later)
        self._reloading = True
        try:
            changed = await self.services.reload()
        finally:
            self._reloading = False
        return await self._reloaded(call, operation, changed)

    async def _reloaded(self, call: events.Call, operation: Operation, changed: bool) -> Reply:
        services = self.services
        problems = {part: text for part, text in services.health().items() if part in RELOADED}
        force = {"bundle": services.bundle, "generation": services.generation}
        await self._recorder.record((events.reloaded(call, operation.permission, force, not problems, services.now()),))
        said: dict[str, Any] = {"changed": changed, **force, "problems": problems}
        if problems:
            said |= refusal(UNREADABLE, "; ".join(problems.values()))
        return Reply(UNREADABLE if problems else 200, JSON.encode(said), services.bundle)

    # -- what needs no permission --------------------------------------------------------------

    async def _configuration(self, arrived: Arrived, operation: Operation) -> Reply:
        return Reply(200, JSON.encode(configuration(self._base(), self.operations)))

    async def _description(self, arrived: Arrived, operation: Operation) -> Reply:
        return Reply(200, JSON.encode(description(self._base(), VERSION, self.operations)))

    async def _metrics(self, arrived: Arrived, operation: Operation) -> Reply:
        if not arrived.local:
            self._admitted(arrived, operation)
        return Reply(200, self._tally.text(self.services, self._deciding.cache), type=CONTENT_TYPE)

    async def _alive(self, arrived: Arrived, operation: Operation) -> Reply:
        return Reply(200, b'{"status":"ok"}')

    async def _ready(self, arrived: Arrived, operation: Operation) -> Reply:
        problems = dict(self.services.health())
        if self._recorder.problem:
            problems["audit"] = self._recorder.problem
        if self._stopping:
            problems["service"] = "it stops"
        if not problems:
            return Reply(200, b'{"status":"ready"}')
        said: dict[str, Any] = {"status": "not ready"}
        return Reply(503, JSON.encode({**said, "problems": problems} if arrived.local else said))

    # -- inner ---------------------------------------------------------------------------------

    def _admitted(self, arrived: Arrived, operation: Operation) -> tuple[events.Call, datetime]:
        """The call of somebody who may make it. Raises Unauthenticated, Forbidden."""
        now = self.services.now()
        caller = self._gate.admit(arrived.shown, arrived.credentials, operation.permission, now)
        return events.Call(operation.id, caller.id, arrived.address, arrived.ids.trace), now

    def _unknown(self, arrived: Arrived) -> Refused:
        allowed = sorted(method for method, path in self._routes if path == arrived.path)
        if not allowed:
            return Refused(404, "there is nothing here", hint="see /openapi.json")
        return Refused(405, "not in this way", headers=((b"allow", ", ".join(allowed).encode()),))

    async def _refused(self, arrived: Arrived, operation: Operation | None, error: Exception) -> Reply:
        """The answer to what was not decided. INVARIANT: an error of ours says nothing but that there was one."""
        said = refusal_of(error)
        if said.status == 500:
            # A defect: its text could quote what was asked, so only its kind and place are logged.
            log.error("call %s failed: %s in %s", arrived.ids.trace, type(error).__name__, place_of(error))
        peer = error.caller.id if isinstance(error, Forbidden) else ""
        gate = (error.request, error.decision) if isinstance(error, Forbidden) else None
        id, permission = (operation.id, operation.permission) if operation else ("unknown", "")
        call = events.Call(id, peer, arrived.address, arrived.ids.trace)
        record = events.refused(call, permission or id, said.status, self.services.now(), gate)
        try:
            await self._recorder.record((record,))
        except Unavailable as problem:
            log.error("call %s cannot be recorded: %s", arrived.ids.trace, problem)
            said = Refused(503, "the decision cannot be recorded", hint="try again later")
        return Reply(said.status, JSON.encode(refusal(said.status, said.message, said.hint)), headers=said.headers)

    def _plain(self, status: int) -> bytes:
        """A whole response to what never became a request."""
        reply = Reply(status, JSON.encode(refusal(status, "the HTTP request cannot be read")))
        headers = head(reply, Arrived("", "", [], "", b"", self._numbers), self.services.bundle)
        lines = [b"%b: %b\r\n" % line for line in (*headers, (b"connection", b"close"))]
        return (
            b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())
            + b"".join(lines)
            + b"\r\n"
            + reply.body
        )

    def _base(self) -> str:
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        return self.config.base.rstrip("/") or f"{self._scheme}://{host}:{self.port}"

    def _desk(self) -> Desk:
        permission = self.operations.by_id["evaluate"].permission
        count = self._tally.over_pipeline
        return Desk(self.services, self._deciding, self._gate, self._recorder, count, permission, self.config.max_body)

    def _routed(self) -> dict[tuple[str, str], tuple[Operation, Handler]]:
        handlers: dict[str, Handler] = {
            "evaluate": self._evaluate,
            "evaluateMany": self._evaluate_many,
            "searchSubject": partial(self._search, "subject"),
            "searchResource": partial(self._search, "resource"),
            "searchAction": partial(self._search, "action"),
            "plan": self._plan,
            "explain": self._explain,
            "reload": self._reload,
            "configuration": self._configuration,
            "description": self._description,
            "metrics": self._metrics,
            "alive": self._alive,
            "ready": self._ready,
        }
        routes = {(one.method, one.path): (one, handlers[id]) for id, one in self.operations.by_id.items()}
        heads = {("HEAD", path): found for (method, path), found in routes.items() if method == "GET"}
        return {**routes, **heads}

"""The composition root: settings -> objects -> a running gateway.

Nothing here decides, speaks a protocol or knows a standard: it reads what the
settings name, builds the parts, and starts and stops them in the right order.
Whatever cannot be read or opened refuses the start; nothing runs half.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, astuple, replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import adapters
from adapters.activation import Event, InForce, Policies
from adapters.audit.journal import Journal
from adapters.audit.notary import Notary, NotaryConfig
from adapters.authzen.port import Measure
from adapters.authzen.service import Pdp, PdpConfig
from adapters.backbone.embedded import Embedded, Options
from adapters.dicom.proxy import Destination, Peer, Proxy, ProxyConfig
from adapters.dicom.status import Status
from adapters.fhir.facade import Facade, FacadeConfig
from adapters.fhir.upstream import UpstreamConfig
from adapters.gates.every import gates_of
from adapters.hl7v2.listener import Listener, ListenerConfig
from adapters.hl7v2.source import Source
from adapters.identity.directory import Directory
from adapters.identity.resolver import Resolver
from adapters.notify.channel import Channel, FhirCommunication, FhirTask, Webhook
from adapters.notify.courier import Courier
from adapters.parts import identifiers_of, resolver_of, tls_of
from adapters.pushdown import DICOM, PUSHDOWN, Dicom
from adapters.settings import Settings, address
from adapters.version import VERSION
from spir.engine.compiler import Compiled, compile_in_slices
from spir.engine.explain import Explanation, explain
from spir.engine.inputs import with_facts
from spir.engine.ruleset import RuleSet
from spir.engine.ruling import Judged, rule
from spir.errors import DocumentError, Unavailable
from spir.exchange import Credentials, Durable, Identity, Record
from spir.language.vocabulary import Vocabulary
from spir.model.decision import Decision
from spir.model.facts import Fact, Key, Snapshot, View
from spir.model.identity import PatientIdentifiers
from spir.model.request import Entity, Request
from spir.record.event import AuditEvent, EventKind, Outcome

__all__ = ["Gateway"]

log = logging.getLogger("spir.gateway")

NO_RESOURCES: Mapping[str, Mapping[str, Entity]] = MappingProxyType({})  # one object: caches compare identity
TIDY_EVERY, TIDY_PAUSE = 3600.0, 0.2  # seconds


class Serving(Protocol):
    """What every listener offers."""

    @property
    def port(self) -> int: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Gateway:
    """All of SPIR in one process, and `spir.exchange.Services` for its listeners.

    Make it with `open`, then `start`; `stop` once. `ports` are the bound ones by listener.
    """

    def __init__(
        self, settings: Settings, store: Embedded, journal: Journal, notary: Notary, policies: Policies
    ) -> None:
        self.settings = settings
        self.store = store
        self.journal = journal
        self.policies = policies
        self.rules: RuleSet = policies.current.rules
        self.compiled: Compiled = policies.current.prepared
        self.identifiers: PatientIdentifiers = identifiers_of(settings)
        self.directory: Directory = policies.current.directory
        self.resolver: Resolver = resolver_of(settings, self.directory, self.now)
        self.notary = notary
        self.courier = Courier(store, _channels(settings), self.identifiers, self.now)
        self._zone = settings.zone
        self._listeners: dict[str, Serving] = {}
        self._running = AsyncExitStack()

    @classmethod
    async def open(cls, settings: Settings) -> Gateway:
        """Read and open everything but the ports. Raises DocumentError, Unavailable."""
        if getattr(adapters, "OWNER", "") != "spir-suite":
            raise Unavailable("another distribution has overwritten `adapters`", hint="run `spir doctor`")
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        policies = Policies(settings, gates_of(settings), compile_in_slices)
        documents = policies.load().documents
        journal = Journal.open(settings.data)
        store = Embedded.open(
            settings.database,
            journal.append,
            prepare=(journal.prepare,),
            options=Options(joins=documents.vocabulary.joins()),
        )
        try:
            config = NotaryConfig(
                settings.origin, settings.signing_key, settings.checkpoints, settings.audit.checkpoint_seconds
            )
            return cls(settings, store, journal, Notary(config, journal, store.write), policies)
        except BaseException:
            await store.close()
            raise

    @property
    def ports(self) -> Mapping[str, int]:
        return {name: listener.port for name, listener in self._listeners.items()}

    async def start(self, only: frozenset[str] = frozenset()) -> None:
        """Start the listeners of the configuration, or those in `only`; the last to start is the first to stop.

        If one cannot start, those before it are stopped again.
        """
        self._running.push_async_callback(self.store.close)
        await self._begin(self.notary.start, self.notary.stop)
        await self.commit(Record(self._lifecycle("start")))
        self._running.push_async_callback(self._record_stop)
        await self._begin(partial(self.policies.begin, self._record_change, self._put), self.policies.end)
        await self._begin(self.courier.start, self.courier.stop)
        tidying = asyncio.create_task(self._tidy())
        self._running.callback(tidying.cancel)
        for name, where in self.settings.in_clear_text():
            if not only or name in only:
                log.warning("%s speaks clear text on %s, beyond this machine, as it is configured to", name, where)
        for name, build in _BUILDERS.items():
            listener = build(self) if not only or name in only else None
            if listener is not None:
                await self._begin(listener.start, listener.stop)
                self._listeners[name] = listener
        if not self._listeners:
            await self.stop()
            raise DocumentError("there is no listener to start", hint="configure [hl7v2], [dicom], [fhir] or [pdp]")

    async def _begin(self, start: Callable[[], Any], stop: Callable[[], Any]) -> None:
        try:
            await start()
        except OSError as error:
            await self.stop()
            raise Unavailable("a listener cannot start", hint=str(error)) from error
        except BaseException:
            await self.stop()
            raise
        self._running.push_async_callback(stop)

    async def stop(self) -> None:
        """Bounded in time; what was acknowledged is durable already. Safe to call twice."""
        running, self._running = self._running.pop_all(), AsyncExitStack()
        self._listeners = {}
        await running.aclose()

    @property
    def problems(self) -> Mapping[str, str]:
        """What is not as it should be, by part: policies or a directory that were refused."""
        return self.policies.problems

    def reload(self) -> asyncio.Task[bool]:
        """Read the policies and the directory again; what cannot be read leaves the old ones in force.

        The task says whether something else is in force.
        """
        self._reloading = asyncio.create_task(self.policies.reload())
        return self._reloading

    def _put(self, found: InForce) -> None:
        self.rules, self.compiled = found.rules, found.prepared
        self.directory = self.resolver.directory = found.directory

    async def _record_change(self, event: Event) -> None:
        outcome = Outcome.SUCCESS if event.ok else Outcome.ERROR
        await self.commit(Record(self._lifecycle(event.what, outcome, event.detail)))

    # -- spir.exchange.Services --------------------------------------------------------------

    def now(self) -> datetime:
        return datetime.now(self._zone)

    def identify(self, credentials: Credentials) -> Identity:
        return self.resolver.identify(credentials)

    def staff(self, authority: str, value: str) -> str | None:
        return self.directory.staff(authority, value)

    def rule(self, request: Request) -> Judged:
        """Decide on one snapshot of facts by one set of rules."""
        return rule(self.rules, request, self.store.facts.snapshot, self.now(), self.compiled.decide)

    async def commit(self, *items: Durable) -> int:
        return await self.store.commit([self._kept(item) for item in items])

    def _kept(self, item: Durable) -> Durable:
        """An audit event with the facts of its decision written into the request: so it can be explained later."""
        match item:
            case Record(AuditEvent(request=Request() as asked) as event):
                request = with_facts(self.rules, asked, self.store.facts.snapshot, event.time)
                return item if request is asked else Record(replace(event, request=request))
            case _:
                return item

    # -- adapters.authzen.port.PdpPort -------------------------------------------------------

    @property
    def bundle(self) -> str:
        return self.rules.fingerprint

    @property
    def generation(self) -> int:
        return self.policies.current.generation

    @property
    def vocabulary(self) -> Vocabulary:
        return self.policies.current.documents.vocabulary

    @property
    def entities(self) -> Mapping[str, Entity]:
        return self.directory.entities

    @property
    def resources(self) -> Mapping[str, Mapping[str, Entity]]:
        """None but patients, whom the decision point knows from their facts."""
        return NO_RESOURCES

    @property
    def snapshot(self) -> Snapshot:
        return self.store.facts.snapshot

    def decide(self, request: Request) -> Decision:
        """Like `rule`, where no row will be judged by it."""
        return self.compiled.decide(request, self.snapshot, self.now())

    def explain(self, request: Request, over: Callable[[], bool]) -> Explanation:
        """In any thread: what is in force is taken once, and is immutable."""
        now, view, at = self.policies.current, self.snapshot, self.now()
        compiled: Compiled = now.prepared
        said = compiled.decide(request, view, at)

        def decide(changed: Request, facts: View, moment: datetime) -> Decision:
            """After its time is over every change is said to change nothing: the search ends without a find."""
            return said if over() else compiled.decide(changed, facts, moment)

        return explain(now.rules, request, view, at, now.documents.vocabulary.enums(), decide)

    def health(self) -> Mapping[str, str]:
        """What is wrong, by part; empty if every answer is sound."""
        stopped = {} if self.store.sound else {"database": "it cannot be written to"}
        return {**self.problems, **stopped}

    def measures(self) -> Iterable[Measure]:
        yield Measure("spir_facts_revision", self.snapshot.revision, help="revision of the facts")
        yield Measure("spir_audit_records", self.journal.size, kind="counter", help="records in the audit trail")
        yield Measure(
            "spir_policy_reloads", self.policies.reloads, kind="counter", help="changes of policy put in force"
        )
        yield Measure("spir_policy_failures", self.policies.failures, kind="counter", help="changes of policy refused")
        for outcome, number in asdict(self.courier.tally).items():
            labels = {"outcome": outcome}
            yield Measure("spir_notifications", number, labels, "counter", "notifications since the start")

    # -- the rest ----------------------------------------------------------------------------

    def facts(self, key: Key) -> tuple[Fact, ...]:
        return self.store.facts.snapshot.facts(key)

    def _lifecycle(
        self, what: str, outcome: Outcome = Outcome.SUCCESS, more: Mapping[str, Any] = MappingProxyType({})
    ) -> AuditEvent:
        detail = {"what": what, "bundle": self.rules.fingerprint, "version": VERSION, **more}
        return AuditEvent(self.now(), EventKind.LIFECYCLE, "spir", what, "spir", outcome, detail=detail)

    async def _tidy(self) -> None:
        """Forget what is over, a little at a time, so that no writer waits for it."""
        while True:
            await asyncio.sleep(TIDY_EVERY)
            try:
                while any(astuple(await self.store.purge(self.settings.site.keep_days))):
                    await asyncio.sleep(TIDY_PAUSE)
            except Unavailable as error:
                log.error("old messages and facts were not deleted: %s", error)

    async def _record_stop(self) -> None:
        await self.commit(Record(self._lifecycle("stop")))


# -- listeners from settings -----------------------------------------------------------------


def _hl7v2(gateway: Gateway) -> Serving | None:
    section = gateway.settings.hl7v2
    if section is None:
        return None
    where = address(section.listen)
    sources = tuple(
        Source(
            one.application,
            one.facility,
            one.addresses,
            one.charset,
            one.certificate,
            validate=one.validate,
            numbered=one.numbered,
        )
        for one in section.sources
    )
    config = ListenerConfig(sources, host=where.host, port=where.port, vip_codes=frozenset(section.vip_codes))
    return Listener(config, gateway, gateway.store.recall, tls_of(gateway.settings, section.tls))


def _dicom(gateway: Gateway) -> Serving | None:
    section = gateway.settings.dicom
    if section is None or section.pacs is None:
        return None
    where, pacs = address(section.listen), address(section.pacs.address)
    config = ProxyConfig(
        pacs_host=pacs.host,
        pacs_port=pacs.port,
        pacs_ae_title=section.pacs.ae_title,
        peers=tuple(Peer(one.ae_title, tuple(one.addresses)) for one in section.peers),
        host=where.host,
        port=where.port,
        ae_title=section.ae_title,
        destinations=tuple(Destination(one.ae_title, one.upstream) for one in section.destinations),
        calling_ae_title=section.calling_ae_title,
        modality_lists=section.modality_lists,
        issuers=section.issuers,
        find_denial=Status.NOT_AUTHORISED if section.loud_denials else Status.SUCCESS,
    )
    return Proxy(config, gateway, tls_of(gateway.settings, section.tls))


def _fhir(gateway: Gateway) -> Serving | None:
    section = gateway.settings.fhir
    if section is None:
        return None
    where = address(section.listen)
    token = gateway.settings.secret(section.upstream_token_file)
    config = FacadeConfig(
        UpstreamConfig(section.upstream.rstrip("/"), token),
        host=where.host,
        port=where.port,
        validate_writes=section.validate_writes,
    )
    return Facade(config, gateway, tls_of(gateway.settings, section.tls))


def _pdp(gateway: Gateway) -> Serving | None:
    section = gateway.settings.pdp
    if section is None:
        return None
    where, dicom = address(section.listen), gateway.settings.dicom
    config = PdpConfig(
        host=where.host,
        port=where.port,
        base=section.base,
        socket=section.socket,
        pipelined=section.pipelined,
        open=section.open,
    )
    queries = Dicom(dicom.modality_lists, dicom.issuers) if dicom is not None else Dicom()
    tls = tls_of(gateway.settings, section.tls)
    return Pdp(config, gateway, tls, describe={**PUSHDOWN, DICOM: queries})


_BUILDERS: Mapping[str, Callable[[Gateway], Serving | None]] = {
    "hl7v2": _hl7v2,
    "dicom": _dicom,
    "fhir": _fhir,
    "pdp": _pdp,
}


def _channels(settings: Settings) -> dict[str, Channel]:
    """Channels of the configuration. FHIR ones that go to our upstream use its token."""
    found: dict[str, Channel] = {}
    for name, one in settings.notify.channels.items():
        match one.kind:
            case "webhook":
                found[name] = Webhook(one.url, settings.secret(one.secret_file).encode(), one.allow_clear_text)
            case "fhir-task":
                found[name] = FhirTask(one.url, _authorization(settings, one.url), one.allow_clear_text)
            case "fhir-communication":
                found[name] = FhirCommunication(one.url, _authorization(settings, one.url), one.allow_clear_text)
            case other:
                hint = "webhook, fhir-task or fhir-communication"
                raise DocumentError(f"channel `{name}` has the unknown kind `{other}`", hint=hint)
    return found


def _authorization(settings: Settings, url: str) -> dict[str, str]:
    fhir = settings.fhir
    if fhir is None or not fhir.upstream_token_file or url.rstrip("/") != fhir.upstream.rstrip("/"):
        return {}
    return {"Authorization": f"Bearer {settings.secret(fhir.upstream_token_file)}"}

"""SHELL: the DICOM proxy in front of a PACS: a listener, and for each association one to the PACS.

`Proxy(config, services, tls=None, pacs_tls=None)`, `start()`, `port`, `stop()`.

An association is admitted by called AE title, peer and identity, in this
order of tests, and rejected in the standard's own terms; every refusal is in
the audit trail. Nothing of a peer is believed before `Services.identify`.
"""

from __future__ import annotations

import logging
import ssl
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from adapters.dicom.admission import (
    Peer,
    accepted,
    credentials_of,
    is_known,
    lookup_context,
    offered,
    refused,
    upstream_request,
)
from adapters.dicom.connection import Connection, Limits
from adapters.dicom.conversation import Conversation
from adapters.dicom.lookups import LookupConfig, LookupPool
from adapters.dicom.masks import shipped
from adapters.dicom.pdu import AssociateReject, AssociateRequest, Rejection
from adapters.dicom.requestor import STUDY_ROOT_FIND, PacsConfig, connect
from adapters.dicom.session import Bounds, Caller, Site
from adapters.dicom.status import Status
from adapters.dicom.transport import Listener, ListenerConfig
from spir.errors import PeerError, SpirError, Unauthenticated
from spir.exchange import Identity, Record, Services
from spir.record.event import AuditEvent, EventKind, Outcome

__all__ = ["Destination", "Peer", "Proxy", "ProxyConfig"]

log = logging.getLogger("spir.dicom")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a C-MOVE may send to: the AE title clients name, and the one the PACS knows it by ("" the same)."""

    ae_title: str
    upstream: str = ""


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """`calling_ae_title` is who we are to the PACS ("" our own AE title). Times in seconds.

    `modality_lists`: whether the PACS takes several modalities in one key. `issuers`: whether it has
    patients of several issuers; if all are of the site's own authority, not asking for it is quicker
    (Orthanc reads the files of each study for it). `find_denial`: the status of a denied C-FIND; 0
    looks like a query that finds nothing.
    """

    pacs_host: str
    pacs_port: int
    pacs_ae_title: str
    peers: tuple[Peer, ...]
    host: str = "127.0.0.1"
    port: int = 11112
    ae_title: str = "SPIR"
    calling_ae_title: str = ""
    destinations: tuple[Destination, ...] = ()
    associations: int = 1000
    connect_timeout: float = 10.0
    reuse_port: bool = False
    modality_lists: bool = True
    issuers: bool = True
    find_denial: int = Status.SUCCESS
    limits: Limits = field(default_factory=Limits)
    bounds: Bounds = field(default_factory=Bounds)
    lookups: LookupConfig = field(default_factory=LookupConfig)

    @property
    def calling(self) -> str:
        return self.calling_ae_title or self.ae_title

    def registry(self) -> Mapping[str, str]:
        return {one.ae_title: one.upstream or one.ae_title for one in self.destinations}


class Proxy:
    """Serves until `stop`. One instance for each listening port and PACS."""

    def __init__(
        self,
        config: ProxyConfig,
        services: Services,
        tls: ssl.SSLContext | None = None,
        pacs_tls: ssl.SSLContext | None = None,
    ) -> None:
        self._config = config
        self._services = services
        self._pacs_tls = pacs_tls
        listening = ListenerConfig(
            config.host, config.port, config.limits, config.associations, reuse_port=config.reuse_port
        )
        self._listener = Listener(self._serve, listening, tls=tls)
        pacs = PacsConfig(
            config.pacs_host,
            config.pacs_port,
            config.pacs_ae_title,
            config.calling,
            models=(STUDY_ROOT_FIND,),
            timeout=config.connect_timeout,
            limits=config.limits,
        )
        self._pool = LookupPool(pacs, config.lookups, pacs_tls)
        self._site = Site(
            services.identifiers,
            services.now,
            config.ae_title,
            shipped(),
            config.registry(),
            config.bounds,
            config.modality_lists,
            config.issuers,
            config.find_denial,
        )

    @property
    def port(self) -> int:
        """The bound port, after `start`."""
        return self._listener.port

    @property
    def associations(self) -> int:
        return self._listener.associations

    async def start(self) -> None:
        """Bind and listen. Raises OSError where the address is taken."""
        await self._listener.start()

    async def stop(self, grace: float = 5.0) -> None:
        """Listen no more, give associations `grace` seconds to end, abort the others."""
        await self._listener.stop(grace)
        await self._pool.close()

    # -- one association

    async def _serve(self, client: Connection, request: AssociateRequest) -> None:
        identity = await self._identified(client, request)
        if isinstance(identity, AssociateReject):
            client.reject(identity)
            return
        caller = Caller(identity, {"protocol": "dicom", "ip": client.address, "session": uuid.uuid4().hex})
        try:
            peer = await self._admitted(client, request, caller)
        except SpirError as error:
            log.warning("an association was rejected: %s", type(error).__name__)
            await self._note_failure(error, caller)
            if not client.ended:
                client.reject(Rejection.CONGESTION)
            return
        own = lookup_context(request)
        context = own.id if own is not None and peer is not None and own.id in peer.association.contexts else 0
        conversation = Conversation(client, peer, self._site, caller, self._services, self._pool, context)
        try:
            await conversation.run()
            if peer is not None:
                await peer.release()
        finally:
            if peer is not None and not peer.ended:
                peer.abort()
                peer.close()
            log.info("association %s ended after %d operations", caller.context["session"], conversation.operations)

    async def _identified(self, client: Connection, request: AssociateRequest) -> Identity | AssociateReject:
        """Who it is, or how it is rejected. The record of a refusal is durable before the rejection."""
        try:
            if request.called != self._config.ae_title:
                await self._refuse("called AE title", "")
                return Rejection.CALLED_AE
            if not is_known(self._config.peers, request.calling, client.address):
                await self._refuse("calling AE title or address", "")
                return Rejection.CALLING_AE
            return await self._identify(client, request)
        except SpirError as error:
            log.error("an association could not be judged: %s", type(error).__name__)
            return Rejection.CONGESTION

    async def _identify(self, client: Connection, request: AssociateRequest) -> Identity | AssociateReject:
        try:
            identity = self._services.identify(credentials_of(request, client.address, client.certificate))
        except Unauthenticated:
            await self._refuse("identity", "")
            return Rejection.USER_IDENTITY if request.user.identity else Rejection.CALLING_AE
        if identity.expires is not None and identity.expires <= self._services.now():
            await self._refuse("identity has expired", identity.subject.id)
            return Rejection.USER_IDENTITY if request.user.identity else Rejection.CALLING_AE
        return identity

    async def _admitted(self, client: Connection, request: AssociateRequest, caller: Caller) -> Connection | None:
        """Associate with the PACS and accept what it accepts; None if there is nothing to relay."""
        unsupported = refused(request)
        if unsupported:
            await self._refuse("abstract syntax", caller.identity.subject.id, unsupported)
        if not offered(request):
            client.accept(accepted(request, None))
            return None
        config = self._config
        peer = await connect(
            config.pacs_host,
            config.pacs_port,
            upstream_request(request, config.pacs_ae_title, config.calling),
            tls=self._pacs_tls,
            timeout=config.connect_timeout,
            limits=config.limits,
        )
        try:
            client.accept(accepted(request, peer.association.accepted))
        except PeerError:
            peer.abort()
            peer.close()
            raise
        return peer

    async def _note_failure(self, error: SpirError, caller: Caller) -> None:
        """Record that somebody known was turned away. Where even that fails, it is turned away all the same."""
        try:
            await self._refuse(f"PACS: {type(error).__name__}", caller.identity.subject.id, outcome=Outcome.ERROR)
        except SpirError as unrecorded:
            log.error("a rejection could not be recorded: %s", type(unrecorded).__name__)

    async def _refuse(
        self, what: str, subject: str, names: tuple[str, ...] = (), outcome: Outcome = Outcome.REFUSED
    ) -> None:
        event = AuditEvent(
            time=self._services.now(),
            kind=EventKind.REFUSAL,
            protocol="dicom",
            operation="A-ASSOCIATE",
            subject=subject,
            outcome=outcome,
            detail={"refused": what, **({"names": names} if names else {})},
        )
        await self._services.commit(Record(event))

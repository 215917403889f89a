"""SHELL: one client association and the PACS association behind it, operation by operation.

Each request of the client's runs one session; this module does what the session
asks. One operation is outstanding at a time (PS3.7 D.3.3.3). A data set that a
session has to judge is held back after its head and passed on, or let go by,
as the session says.

An operation that ends while the PACS is still busy with it ends both
associations: nobody could tell any more which answer belongs to what.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from adapters.dicom.connection import Connection, either
from adapters.dicom.dataset import DataSet, DatasetError, HeadReader
from adapters.dicom.dimse import (
    CCancelRq,
    CEchoRq,
    CFindRq,
    CGetRq,
    CMoveRq,
    Command,
    CommandArrived,
    CStoreRq,
    CStoreRsp,
    DataFragment,
    Request,
    Response,
    is_pending,
    response_to,
)
from adapters.dicom.echo import echo
from adapters.dicom.find import find
from adapters.dicom.get import get
from adapters.dicom.ledger import Ledger
from adapters.dicom.lookups import LookupPool, ask
from adapters.dicom.move import move
from adapters.dicom.pdu import ReleaseRequest
from adapters.dicom.requestor import StatusError
from adapters.dicom.session import (
    Call,
    Caller,
    ClientGone,
    Lookup,
    Message,
    PassOn,
    PeerGone,
    Said,
    Sends,
    Side,
    Site,
    Skip,
)
from adapters.dicom.status import Status
from adapters.dicom.store import HEAD_LAST, store
from adapters.dicom.tables import Model, Service, tables
from spir.errors import PeerError
from spir.exchange import Answer, AskPeer, Await, Commit, Decide, Record, Services, Session, converse
from spir.record.event import AuditEvent, EventKind, Outcome

__all__ = ["Conversation"]

log = logging.getLogger("spir.dicom")

HEAD_MAX = 1024 * 1024
SERVICES: dict[type[Any], Service] = {
    CEchoRq: Service.ECHO,
    CFindRq: Service.FIND,
    CMoveRq: Service.MOVE,
    CGetRq: Service.GET,
    CStoreRq: Service.STORE,
}


@dataclass(slots=True)
class _Held:
    """The part of an arriving data set that was read to judge its head."""

    fragments: list[DataFragment]

    @property
    def last(self) -> bool:
        return bool(self.fragments) and self.fragments[-1].last

    def data(self) -> bytes | memoryview:
        if len(self.fragments) == 1:
            return self.fragments[0].fragment
        return b"".join(one.fragment for one in self.fragments)


class Conversation:
    """Serves `client` until it releases or either side is lost. Without a `peer` no context was accepted."""

    def __init__(
        self,
        client: Connection,
        peer: Connection | None,
        site: Site,
        caller: Caller,
        services: Services,
        lookups: LookupPool,
        lookup_context: int = 0,
    ) -> None:
        self.client = client
        self.peer = peer
        self.site = site
        self.caller = caller
        self.services = services
        self.lookups = lookups
        self.lookup_context = lookup_context  # on the PACS's association; 0 if there is none
        self.operations = 0
        self._outstanding: Request | None = None  # what the PACS is busy with
        self._held = _Held([])
        self._ledger = Ledger()

    async def run(self) -> None:
        """Returns after a release. Raises PeerError when either association was lost."""
        try:
            await self._run()
        finally:
            closing = self._ledger.closing()
            if closing is not None:
                await self.services.commit(*closing.items)

    async def _run(self) -> None:
        while True:
            event = await self._next()
            match event:
                case CommandArrived(context, command):
                    await self._serve(context, command)
                case ReleaseRequest():
                    self.client.reply_release()
                    return
                case _:
                    raise ClientGone("the client sent what cannot come between operations")

    async def _next(self) -> Any:
        """The client's next event; a PACS that ends the association meanwhile ends this one."""
        if self.peer is not None and not self.client.ready:
            await either(self.client, self.peer)
            if not self.client.ready:
                raise PeerGone("the PACS ended the association between operations")
        return await self.client.next()

    # -- one operation

    async def _serve(self, context: int, command: Command) -> None:
        if self._expired():
            await self._refuse(command, "the identity has expired")
            raise ClientGone("the identity has expired")
        match command:
            case CCancelRq():
                return  # of an operation that is over (PS3.7 9.3.2.3)
            case CEchoRq() | CFindRq() | CMoveRq() | CGetRq() | CStoreRq():
                model = self._model(context, command)
                if model is not None:
                    await self._operate(context, model, command)
                    return
        await self._unsupported(context, command)

    def _expired(self) -> bool:
        expires = self.caller.identity.expires
        return expires is not None and expires <= self.services.now()

    def _model(self, context: int, command: Request) -> Model | None:
        """The model of the context, if the command belongs to it."""
        abstract_syntax = self.client.association.contexts[context].abstract_syntax
        model = tables().model(abstract_syntax)
        fits = model is not None and model.service is SERVICES[type(command)] and self.peer is not None
        return model if fits and command.sop_class == abstract_syntax else None

    async def _operate(self, context: int, model: Model, command: Request) -> None:
        self.operations += 1
        explicit = self._explicit(self.client, context)
        session: Session
        if isinstance(command, CStoreRq):
            head = await self._head(self.client, explicit, ClientGone)
            session = store(self.site, self.caller, Call(context, model, explicit, command), head, self._ledger)
        else:
            data = await self.client.read_data() if command.has_data else b""
            call = Call(context, model, explicit, command, data)
            session = self._begin(call)
        try:
            await converse(session, self._perform)
            await self.client.skip_data()
        finally:
            self._held = _Held([])
        if self._outstanding is not None or (self.peer is not None and self.peer.ended):
            raise PeerGone("the PACS is gone, or busy with an operation that is over")

    def _begin(self, call: Call) -> Session:
        match call.model.service:
            case Service.FIND:
                return find(self.site, self.caller, call)
            case Service.MOVE:
                return move(self.site, self.caller, call)
            case Service.GET:
                return get(self.site, self.caller, call)
            case _:
                return echo(self.site, self.caller, call)

    async def _unsupported(self, context: int, command: Command) -> None:
        """A message that no accepted context has a meaning for: refused, with a record, and the association goes on."""
        if isinstance(command, Response):
            raise ClientGone("the client responds to nothing")
        await self.client.skip_data()
        await self._refuse(command, "the operation does not belong to its presentation context")
        assert not isinstance(command, CCancelRq)
        known = type(command) in SERVICES
        status = Status.SOP_CLASS_NOT_SUPPORTED if known else Status.UNRECOGNISED_OPERATION
        self.client.send(context, response_to(command, status))

    async def _refuse(self, command: Command, why: str) -> None:
        event = AuditEvent(
            time=self.services.now(),
            kind=EventKind.REFUSAL,
            protocol="dicom",
            operation=type(command).__name__,
            subject=self.caller.identity.subject.id,
            outcome=Outcome.REFUSED,
            detail={"why": why},
        )
        await self.services.commit(Record(event))

    # -- what a session asks

    async def _perform(self, command: Any) -> Any:
        match command:
            case Await():
                return await self._await()
            case Answer(Message(context, message, data)):
                await self._send(self.client, ClientGone, context, message, data)
            case AskPeer(Message(context, message, data)):
                self._note(message)
                await self._send(self._pacs(), PeerGone, context, message, data)
            case Decide(request):
                return self.services.rule(request)
            case Commit(items):
                return await self.services.commit(*items)
            case AskPeer(Lookup() as lookup):
                return await self._look_up(lookup)
            case AskPeer(PassOn(context, message)):
                self._note(message)
                await self._pass_on(self.client, self._pacs(), context, message)
            case Answer(PassOn(context, message)):
                await self._pass_on(self._pacs(), self.client, context, message)
            case Skip(side):
                await self._skip(side)
            case _:
                raise TypeError(f"a session says {type(command).__name__}, which means nothing here")
        return None

    async def _look_up(self, lookup: Lookup) -> tuple[DataSet, ...]:
        """On our own association with the PACS while it is idle; while it is answering the client, on another."""
        if self.peer is None or self._outstanding is not None or not self.lookup_context:
            return await self.lookups(lookup)
        try:
            return await ask(self.peer, self.lookup_context, lookup, self.lookups.config)
        except (StatusError, DatasetError):
            raise
        except PeerError as error:
            self.peer.abort()
            raise PeerGone(f"{_name(PeerGone)} was lost: {error.message}") from error

    def _pacs(self) -> Connection:
        if self.peer is None:
            raise PeerGone("there is no association with the PACS")
        return self.peer

    def _note(self, message: Command) -> None:
        """Remember what the PACS is busy with from now on; a response or a cancel changes nothing of it."""
        if isinstance(message, CEchoRq | CFindRq | CMoveRq | CGetRq | CStoreRq):
            self._outstanding = message

    async def _send(
        self, to: Connection, gone: type[PeerError], context: int, message: Command, data: bytes | None
    ) -> None:
        try:
            to.send(context, message, data)
            if to.choked:
                await to.drain()
        except PeerError as error:
            raise gone(f"{_name(gone)} was lost: {error.message}") from error

    async def _pass_on(self, source: Connection, target: Connection, context: int, message: CStoreRq) -> None:
        """Write what was held back, then relay the rest as it comes."""
        held, self._held = self._held, _Held([])
        try:
            target.send(context, message, held.data(), last=held.last)
            if not held.last:
                await source.relay_data(target, context)
            if target.choked:
                await target.drain()
        except PeerError as error:
            slow = target.choked or (target.ended and not source.ended)
            lost = self._loser(target if slow else source)
            raise lost(f"{_name(lost)} was lost: {error.message}") from error

    def _loser(self, lost: Connection) -> type[PeerError]:
        return ClientGone if lost is self.client else PeerGone

    async def _skip(self, side: Side) -> None:
        source, gone = (self.client, ClientGone) if side is Side.CLIENT else (self._pacs(), PeerGone)
        self._held = _Held([])
        try:
            await source.skip_data()
        except PeerError as error:
            raise gone(f"{_name(gone)} was lost: {error.message}") from error

    # -- what a session hears

    async def _await(self) -> Said | Sends:
        peer = self._pacs()
        try:
            ready = await either(self.client, peer)
        except PeerError as error:
            raise PeerGone(f"the PACS does not answer: {error.message}") from error
        if ready is self.client:
            return await self._client_said()
        try:
            event = await peer.next()
            return await self._peer_said(peer, event)
        except DatasetError:
            raise
        except PeerError as error:
            raise PeerGone(f"{_name(PeerGone)} was lost: {error.message}") from error

    async def _client_said(self) -> Said:
        try:
            event = await self.client.next()
        except PeerError as error:
            raise ClientGone(f"{_name(ClientGone)} was lost: {error.message}") from error
        match event:
            case CommandArrived(_, CCancelRq() | CStoreRsp() as command):
                return Said(Side.CLIENT, command)
            case _:
                self.client.abort()
                raise ClientGone("the client sent what cannot come within an operation", clause="PS3.7 D.3.3.3")

    async def _peer_said(self, peer: Connection, event: Any) -> Said | Sends:
        match event:
            case CommandArrived(context, CStoreRq() as command) if isinstance(self._outstanding, CGetRq):
                if context not in self.client.association.contexts:
                    raise PeerGone("the PACS uses a context that the client does not have")
                head = await self._head(peer, self._explicit(peer, context), PeerGone)
                return Sends(context, command, head)
            case CommandArrived(_, command) if self._answers(command):
                data = await peer.read_data() if command.has_data else None
                if not is_pending(command.status):  # type: ignore[union-attr]
                    self._outstanding = None
                return Said(Side.PEER, command, data)
            case _:
                raise PeerGone("the PACS sent what does not belong to the operation")

    def _answers(self, command: Command) -> bool:
        """Whether a command of the PACS's is a response to what it is busy with."""
        asked = self._outstanding
        if asked is None or not isinstance(command, Response):
            return False
        return command.message_id == asked.message_id and type(command) is type(response_to(asked, 0))

    async def _head(self, source: Connection, explicit: bool, gone: type[PeerError]) -> DataSet | DatasetError:
        """Hold back the arriving data set until its head is read; the error if it cannot be."""
        reader, fragments = HeadReader(explicit, HEAD_LAST, HEAD_MAX), list[DataFragment]()
        self._held = _Held(fragments)
        try:
            while not reader.complete:
                fragment = await source.next_fragment()
                fragments.append(fragment)
                reader.feed(fragment.fragment, fragment.last)
            return reader.head
        except DatasetError as error:
            return error
        except PeerError as error:
            raise gone(f"{_name(gone)} was lost: {error.message}") from error

    @staticmethod
    def _explicit(connection: Connection, context: int) -> bool:
        return connection.association.contexts[context].transfer_syntax != tables().implicit


def _name(gone: type[PeerError]) -> str:
    return "the client" if gone is ClientGone else "the PACS"

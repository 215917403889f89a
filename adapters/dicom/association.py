"""The upper layer's state machine (PS3.8 9.2, Table 9-10) without I/O, for acceptor and requestor.

It runs the table of `state_table`. An association is fed with what came
(`receive(bytes) -> Iterator[Event]`, `transport_closed()`, `artim_expired()`) and told what its user
wants (`connected`, `accept`, `reject`, `send`, `release`, `reply_release`, `abort`); the latter
return the bytes to be written. Timers and sockets are the shell's: it runs the ARTIM timer afresh
after each change of `state` while `artim` is true, and closes the transport, once everything is
written, when `closing` is true.

Events are the PDUs themselves, `Frame` or `Through` for P-DATA-TF, and three of our own: `Violation` and `Refused`
carry a reply that the shell must write; `Closed` says the transport went away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from adapters.dicom.framing import ACCEPTOR_FIRST, DATA_MAX, REQUESTOR_FIRST, Frame, PduReader, Through
from adapters.dicom.item import AbortReason, AbortSource, PduError
from adapters.dicom.negotiation import AcceptedContext, agreed
from adapters.dicom.pdu import (
    APPLICATION_CONTEXT,
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    Pdu,
    PduType,
    Rejection,
    ReleaseReply,
    ReleaseRequest,
    decode,
    encode,
)
from adapters.dicom.state_table import EFFECTS, TABLE, Action, Cue, State
from spir.errors import PeerError

__all__ = [
    "Association",
    "AssociationError",
    "Closed",
    "Event",
    "PeerSilent",
    "Refused",
    "State",
    "Violation",
]

SEND_MAX = 128 * 1024  # the largest P-DATA-TF body that we send, even where the peer sets no limit


class AssociationError(PeerError):
    """What was asked for cannot be done in this state: mostly because the peer is gone already."""


class PeerSilent(PeerError):
    """Nothing came, or nothing was read, for as long as one may wait."""


_ARRIVALS: dict[int, Cue] = {
    PduType.ASSOCIATE_RQ: Cue.REQUEST_ARRIVED,
    PduType.ASSOCIATE_AC: Cue.ACCEPT_ARRIVED,
    PduType.ASSOCIATE_RJ: Cue.REJECT_ARRIVED,
    PduType.P_DATA_TF: Cue.DATA_ARRIVED,
    PduType.RELEASE_RQ: Cue.RELEASE_ARRIVED,
    PduType.RELEASE_RP: Cue.RELEASE_REPLY_ARRIVED,
    PduType.ABORT: Cue.ABORT_ARRIVED,
}
_INDICATED = frozenset(
    (
        *(Action.CONFIRM_ACCEPT, Action.CONFIRM_REJECT, Action.INDICATE_RELEASE, Action.CONFIRM_RELEASE),
        *(Action.INDICATE_COLLISION, Action.CONFIRM_COLLISION, Action.INDICATE_ABORT),
    )
)


@dataclass(frozen=True, slots=True)
class Violation:
    """The peer broke the protocol: the association is over; `reply` (an A-ABORT) is to be written."""

    error: PduError
    reply: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """The request cannot be meant for us, whoever asks: `reply` (an A-ASSOCIATE-RJ) is to be written."""

    reject: AssociateReject
    reply: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The transport went away without a release."""


Event: TypeAlias = Pdu | Frame | Through | Violation | Refused | Closed


class Association:
    """One association, from the transport's birth to its end. Make it by `acceptor` or `requestor`.

    `contexts`: the accepted presentation contexts by id. `send_max`: the largest P-DATA-TF body that
    may be sent. Both are empty before the association exists.
    """

    def __init__(self, requestor: bool) -> None:
        self.is_requestor = requestor
        self.state = State.IDLE
        self.artim = False
        self.closing = False
        self.request: AssociateRequest | None = None
        self.accepted: AssociateAccept | None = None
        self.contexts: dict[int, AcceptedContext] = {}
        self.send_max = 0
        self._reader = PduReader(REQUESTOR_FIRST if requestor else ACCEPTOR_FIRST)
        self._deaf = False

    @classmethod
    def acceptor(cls) -> Association:
        """The side that listens, on a transport that has just been opened to it."""
        association = cls(requestor=False)
        association._step(Cue.CONNECTION_ARRIVED)
        return association

    @classmethod
    def requestor(cls, request: AssociateRequest) -> Association:
        """The side that opens the transport; `connected` follows when it is open."""
        association = cls(requestor=True)
        association.request = request
        association._step(Cue.REQUEST_WANTED)
        return association

    @property
    def established(self) -> bool:
        """Whether data may be sent."""
        return self.state in (State.READY, State.RELEASING)

    @property
    def partial(self) -> bool:
        """Whether a PDU has begun to arrive and is not complete: a deadline should run."""
        return self._reader.partial

    @property
    def frames(self) -> int:
        """How many whole PDUs have arrived."""
        return self._reader.count

    # -- what its user wants; each raises AssociationError where the table has no entry

    def connected(self) -> bytes:
        """The transport is open: the A-ASSOCIATE-RQ."""
        assert self.request is not None
        self._step(Cue.CONNECTED)
        return encode(self.request)

    def accept(self, accept: AssociateAccept) -> bytes:
        assert self.request is not None
        contexts, reply = agreed(self.request, accept), encode(accept)
        self._step(Cue.ACCEPT_WANTED)
        self._establish(accept, contexts)
        return reply

    def reject(self, reject: AssociateReject) -> bytes:
        self._step(Cue.REJECT_WANTED)
        return encode(reject)

    def send(self) -> None:
        """Permission to write P-DATA-TF PDUs; the caller makes them with `framing`."""
        if self.state is not State.READY:
            self._step(Cue.DATA_WANTED)

    def let_through(self, context: int, largest: int) -> None:
        """Pass the rest of the data set on `context` on raw, as `Through`; see `framing.PduReader`."""
        self._reader.let_through(context, largest)

    def hold_back(self) -> None:
        """Frame everything again."""
        self._reader.hold_back()

    def release(self) -> bytes:
        self._step(Cue.RELEASE_WANTED)
        return encode(ReleaseRequest())

    def reply_release(self) -> bytes:
        self._step(Cue.RELEASE_REPLY_WANTED)
        return encode(ReleaseReply())

    def abort(self, source: int = AbortSource.SERVICE_USER, reason: int = AbortReason.NOT_SPECIFIED) -> bytes:
        """The A-ABORT; empty where there is nobody to tell."""
        action = self._step(Cue.ABORT_WANTED)
        return encode(Abort(source, reason)) if action is Action.SEND_ABORT else b""

    def violate(self, error: PduError) -> Violation | None:
        """The user of the association found the violation (in a message, say); None if it is over."""
        return None if self._over else self._violation(error)

    # -- what comes from the transport

    def receive(self, data: bytes | memoryview) -> Iterator[Event]:
        """The events in `data`; exhaust the iterator before anything else is received."""
        if self._over:
            return
        try:
            for frame in self._reader.feed(data):
                if self._over:
                    return
                if self.state is State.READY and (isinstance(frame, Through) or frame.type == PduType.P_DATA_TF):
                    yield frame
                    continue
                event = self._arrive(frame)
                if event is not None:
                    yield event
        except PduError as error:
            if not self._over:
                yield self._violation(error)

    @property
    def _over(self) -> bool:
        """Whether nothing that comes has a meaning any more; so may it be between two events."""
        return self._deaf or self.state is State.IDLE

    def transport_closed(self) -> Closed | None:
        """The transport has ended; `Closed` if an association ended with it."""
        if (Cue.TRANSPORT_CLOSED, self.state) not in TABLE:
            return None
        return Closed() if self._step(Cue.TRANSPORT_CLOSED) is Action.INDICATE_LOSS else None

    def artim_expired(self) -> None:
        self._step(Cue.ARTIM_EXPIRED)

    # -- inside

    def _step(self, cue: Cue) -> Action:
        action = TABLE.get((cue, self.state))
        if action is None:
            raise AssociationError(f"the association is in {self.state.value}, which has no {cue.value}")
        effect = EFFECTS[action]
        if action is Action.INDICATE_COLLISION:
            requestor, acceptor = State.COLLISION_REQUESTOR_REPLIES, State.COLLISION_ACCEPTOR_WAITS
            self.state = requestor if self.is_requestor else acceptor
        elif effect.state is not None:
            self.state = effect.state
        if effect.artim is not None:
            self.artim = effect.artim
        self.closing = self.closing or effect.close
        return action

    def _arrive(self, frame: Frame | Through) -> Event | None:
        """One PDU outside the plain flow of data."""
        if isinstance(frame, Through):
            return frame if self.state is State.AWAITING_RELEASE else None
        pdu = None if frame.type == PduType.P_DATA_TF else decode(frame.type, frame.body)
        contexts = agreed(self.request, pdu) if self.request and isinstance(pdu, AssociateAccept) else {}
        action = self._step(_ARRIVALS[frame.type])
        if action is Action.INDICATE_LATE_DATA:
            return frame
        if action in (Action.SEND_ABORT, Action.ABORT_AGAIN, Action.ABORT_VIOLATION):
            unexpected = PduError("a PDU came that cannot come now", AbortReason.UNEXPECTED_PDU, clause="PS3.8 9.2")
            return self._aborted(action, unexpected)
        if isinstance(pdu, AssociateRequest) and action is Action.INDICATE_REQUEST:
            return self._judge_request(pdu)
        if isinstance(pdu, AssociateAccept) and action is Action.CONFIRM_ACCEPT:
            self._establish(pdu, contexts)
        return pdu if action in _INDICATED else None

    def _judge_request(self, request: AssociateRequest) -> Event:
        """AE-6: the provider itself refuses what is of another protocol; all else is its user's."""
        if not request.protocol_version & 1:
            reject = Rejection.PROTOCOL_VERSION
        elif request.application_context != APPLICATION_CONTEXT:
            reject = Rejection.APPLICATION_CONTEXT
        else:
            self.request = request
            return request
        return Refused(reject, self.reject(reject))

    def _establish(self, accept: AssociateAccept, contexts: dict[int, AcceptedContext]) -> None:
        assert self.request is not None
        ours, theirs = self.request.user, accept.user
        if not self.is_requestor:
            ours, theirs = theirs, ours
        self.accepted, self.contexts = accept, contexts
        self.send_max = min(theirs.max_length or SEND_MAX, SEND_MAX)
        self._reader.data_max = ours.max_length or DATA_MAX

    def _violation(self, error: PduError) -> Violation:
        return self._aborted(self._step(Cue.INVALID_ARRIVED), error)

    def _aborted(self, action: Action, error: PduError) -> Violation:
        """After a violation nothing that comes is listened to; the source of AA-1 is the user."""
        self._deaf = True
        source = AbortSource.SERVICE_USER if action is Action.SEND_ABORT else error.source
        return Violation(error, encode(Abort(source, error.reason)))

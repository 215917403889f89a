"""The upper layer's protocol data units as values, and their encoding (PS3.8 9.3).

Public: `decode(pdu_type, body) -> Pdu` and `encode(pdu) -> bytes` for every PDU except P-DATA-TF,
which is bulk and lives in `framing` (`PduReader`, `pdvs`, `message_pdus`); the values themselves;
`PduError`, which says with what source and reason the association has to be aborted; and the
rejections of Table 9-21 by name. The user information's values come from `user_information`.

Strict about lengths: an item that does not end where its parent says refuses the whole PDU. Lenient
only where the standard is: items of an unknown type are skipped (9.3.1). Nothing here logs, and no
message of an error holds a value the peer sent, because AE titles and identities are people's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from adapters.dicom.item import AbortReason, AbortSource, PduError, item, items, only, printable, uid
from adapters.dicom.user_information import (
    NOTHING_SAID,
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    RoleSelection,
    UserIdentityAc,
    UserIdentityRq,
    UserInformation,
    decode_user,
    encode_user,
)

__all__ = [
    "APPLICATION_CONTEXT",
    "Abort",
    "AbortReason",
    "AbortSource",
    "AssociateAccept",
    "AssociateReject",
    "AssociateRequest",
    "CommonExtendedNegotiation",
    "ExtendedNegotiation",
    "Pdu",
    "PduError",
    "PduType",
    "PresentationContextItem",
    "PresentationResultItem",
    "Rejection",
    "ReleaseReply",
    "ReleaseRequest",
    "ResultReason",
    "RoleSelection",
    "UserIdentityAc",
    "UserIdentityRq",
    "UserInformation",
    "decode",
    "encode",
]

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"


class PduType(IntEnum):
    ASSOCIATE_RQ = 0x01
    ASSOCIATE_AC = 0x02
    ASSOCIATE_RJ = 0x03
    P_DATA_TF = 0x04
    RELEASE_RQ = 0x05
    RELEASE_RP = 0x06
    ABORT = 0x07


class ResultReason(IntEnum):
    """Answer to one presentation context (PS3.8 Table 9-18)."""

    ACCEPTANCE = 0
    USER_REJECTION = 1
    NO_REASON = 2
    ABSTRACT_SYNTAX_NOT_SUPPORTED = 3
    TRANSFER_SYNTAXES_NOT_SUPPORTED = 4


# -- the values ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PresentationContextItem:
    """A proposed context: `id` odd, 1 to 255; transfer syntaxes in the requestor's order."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PresentationResultItem:
    """The answer to one context. `result` is a `ResultReason`, or whatever number the peer sent;
    `transfer_syntax` has a meaning only where it is 0 and is dropped by the reader elsewhere."""

    id: int
    result: int
    transfer_syntax: str = ""

    @property
    def accepted(self) -> bool:
        return self.result == ResultReason.ACCEPTANCE


@dataclass(frozen=True, slots=True)
class AssociateRequest:
    """A-ASSOCIATE-RQ (9.3.2). AE titles without padding."""

    called: str
    calling: str
    contexts: tuple[PresentationContextItem, ...]
    user: UserInformation = NOTHING_SAID
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateAccept:
    """A-ASSOCIATE-AC (9.3.3). The AE titles repeat the request's and are not tested."""

    called: str
    calling: str
    contexts: tuple[PresentationResultItem, ...]
    user: UserInformation = NOTHING_SAID
    application_context: str = APPLICATION_CONTEXT
    protocol_version: int = 1


@dataclass(frozen=True, slots=True)
class AssociateReject:
    """A-ASSOCIATE-RJ (9.3.4): result 1 permanent, 2 transient; source and reason by Table 9-21."""

    result: int
    source: int
    reason: int

    @property
    def transient(self) -> bool:
        return self.result == 2


class Rejection:
    """The rejections that we send, by name (Table 9-21)."""

    NO_REASON = AssociateReject(1, 1, 1)
    APPLICATION_CONTEXT = AssociateReject(1, 1, 2)
    CALLING_AE = AssociateReject(1, 1, 3)
    CALLED_AE = AssociateReject(1, 1, 7)
    USER_IDENTITY = AssociateReject(1, 2, 1)
    PROTOCOL_VERSION = AssociateReject(1, 2, 2)
    CONGESTION = AssociateReject(2, 3, 1)
    LOCAL_LIMIT = AssociateReject(2, 3, 2)


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """A-RELEASE-RQ (9.3.6)."""


@dataclass(frozen=True, slots=True)
class ReleaseReply:
    """A-RELEASE-RP (9.3.7)."""


@dataclass(frozen=True, slots=True)
class Abort:
    """A-ABORT (9.3.8). Plain numbers: a peer may send values that the table does not have."""

    source: int = AbortSource.SERVICE_USER
    reason: int = AbortReason.NOT_SPECIFIED


Pdu: TypeAlias = AssociateRequest | AssociateAccept | AssociateReject | ReleaseRequest | ReleaseReply | Abort


# -- encoding --------------------------------------------------------------------------------

_HEADER = struct.Struct(">BxI")
_FIXED = struct.Struct(">H2x16s16s32x")


def encode(pdu: Pdu) -> bytes:
    """The whole PDU, header included. Raises PduError for what does not fit its field."""
    try:
        kind, body = _body(pdu)
    except (struct.error, ValueError) as error:
        raise PduError("a value does not fit into its field of the PDU") from error
    return _HEADER.pack(kind, len(body)) + body


def _body(pdu: Pdu) -> tuple[PduType, bytes]:
    match pdu:
        case AssociateRequest():
            return PduType.ASSOCIATE_RQ, _associate(pdu, b"".join(map(_encode_context, pdu.contexts)))
        case AssociateAccept():
            return PduType.ASSOCIATE_AC, _associate(pdu, b"".join(map(_encode_result, pdu.contexts)))
        case AssociateReject():
            return PduType.ASSOCIATE_RJ, bytes((0, pdu.result, pdu.source, pdu.reason))
        case ReleaseRequest():
            return PduType.RELEASE_RQ, bytes(4)
        case ReleaseReply():
            return PduType.RELEASE_RP, bytes(4)
        case Abort():
            return PduType.ABORT, bytes((0, 0, pdu.source, pdu.reason))


def _associate(pdu: AssociateRequest | AssociateAccept, contexts: bytes) -> bytes:
    return b"".join(
        (
            _FIXED.pack(pdu.protocol_version, _padded(pdu.called), _padded(pdu.calling)),
            item(0x10, pdu.application_context.encode("ascii")),
            contexts,
            item(0x50, encode_user(pdu.user)),
        )
    )


def _padded(title: str) -> bytes:
    raw = title.encode("ascii")
    if len(raw) > 16:
        raise PduError("an AE title is longer than 16 characters", clause="PS3.5 6.2")
    return raw.ljust(16)


def _encode_context(context: PresentationContextItem) -> bytes:
    syntaxes = b"".join(item(0x40, name.encode("ascii")) for name in context.transfer_syntaxes)
    return item(0x20, bytes((context.id, 0, 0, 0)) + item(0x30, context.abstract_syntax.encode("ascii")) + syntaxes)


def _encode_result(context: PresentationResultItem) -> bytes:
    syntax = item(0x40, context.transfer_syntax.encode("ascii"))
    return item(0x21, bytes((context.id, 0, context.result, 0)) + syntax)


# -- decoding --------------------------------------------------------------------------------

_UNEXPECTED = AbortReason.UNEXPECTED_PARAMETER


def decode(pdu_type: int, body: bytes | memoryview) -> Pdu:
    """Read the body (what follows the six bytes of header) of any PDU but P-DATA-TF.

    Raises PduError, and nothing else, for whatever cannot be meant by the standard.
    """
    decoder = _DECODERS.get(pdu_type)
    if decoder is None:
        raise PduError("not a PDU type that can be decoded", AbortReason.UNRECOGNIZED_PDU)
    return decoder(bytes(body))


def _decode_request(body: bytes) -> AssociateRequest:
    version, called, calling, parts = _fixed(body)
    name, user, found = _variable(parts, 0x20)
    contexts = tuple(map(_decode_context, found))
    _distinct(contexts)
    if not contexts:
        raise PduError("no presentation context is proposed", clause="PS3.8 9.3.2")
    if user.identity_response is not None:
        raise PduError("a user identity response came with a request", _UNEXPECTED, clause="PS3.7 D.3.3.7")
    return AssociateRequest(called, calling, contexts, user, name, version)


def _decode_accept(body: bytes) -> AssociateAccept:
    version, called, calling, parts = _fixed(body)
    name, user, found = _variable(parts, 0x21)
    contexts = tuple(map(_decode_result, found))
    _distinct(contexts)
    if user.identity is not None:
        raise PduError("a user identity came with an acceptance", _UNEXPECTED, clause="PS3.7 D.3.3.7")
    return AssociateAccept(called, calling, contexts, user, name, version)


def _fixed(body: bytes) -> tuple[int, str, str, Iterator[tuple[int, bytes]]]:
    if len(body) < _FIXED.size:
        raise PduError("an A-ASSOCIATE PDU is shorter than its fixed fields", clause="PS3.8 9.3.2")
    version, called, calling = _FIXED.unpack_from(body)
    return version, printable(called, "an AE title"), printable(calling, "an AE title"), items(body, _FIXED.size)


def _variable(parts: Iterator[tuple[int, bytes]], context: int) -> tuple[str, UserInformation, list[bytes]]:
    """The application context, the user information, and the values of the items of type `context`."""
    found: dict[int, list[bytes]] = {0x10: [], context: [], 0x50: []}
    for kind, value in parts:
        if kind in found:
            found[kind].append(value)
    name = uid(only(found[0x10], "application context"))
    return name, decode_user(only(found[0x50], "user information")), found[context]


def _distinct(contexts: tuple[PresentationContextItem, ...] | tuple[PresentationResultItem, ...]) -> None:
    if len({context.id for context in contexts}) != len(contexts):
        raise PduError("a presentation context id comes twice", clause="PS3.8 9.3.2.2")


def _decode_context(value: bytes) -> PresentationContextItem:
    identifier = _context_id(value)
    names: dict[int, list[bytes]] = {0x30: [], 0x40: []}
    for kind, name in items(value, 4):
        if kind in names:
            names[kind].append(name)
    if not names[0x40]:
        raise PduError("a presentation context proposes no transfer syntax", clause="PS3.8 9.3.2.2")
    return PresentationContextItem(identifier, uid(only(names[0x30], "abstract syntax")), tuple(map(uid, names[0x40])))


def _decode_result(value: bytes) -> PresentationResultItem:
    identifier, result = _context_id(value), value[2]
    syntaxes = [name for kind, name in items(value, 4) if kind == 0x40]
    if result != ResultReason.ACCEPTANCE:
        return PresentationResultItem(identifier, result)
    return PresentationResultItem(identifier, result, uid(only(syntaxes, "transfer syntax")))


def _context_id(value: bytes) -> int:
    if len(value) < 4:
        raise PduError("a presentation context item is shorter than its fixed fields", clause="PS3.8 9.3.2.2")
    if value[0] % 2 == 0:
        raise PduError("a presentation context id is not odd", clause="PS3.8 9.3.2.2")
    return value[0]


def _decode_reject(body: bytes) -> AssociateReject:
    return AssociateReject(*_four(body)[1:])


def _decode_abort(body: bytes) -> Abort:
    return Abort(*_four(body)[2:])


def _decode_release_request(body: bytes) -> ReleaseRequest:
    _four(body)
    return ReleaseRequest()


def _decode_release_reply(body: bytes) -> ReleaseReply:
    _four(body)
    return ReleaseReply()


def _four(body: bytes) -> bytes:
    if len(body) != 4:
        raise PduError("the PDU must have a length of four bytes")
    return body


_DECODERS: dict[int, Callable[[bytes], Pdu]] = {
    PduType.ASSOCIATE_RQ: _decode_request,
    PduType.ASSOCIATE_AC: _decode_accept,
    PduType.ASSOCIATE_RJ: _decode_reject,
    PduType.RELEASE_RQ: _decode_release_request,
    PduType.RELEASE_RP: _decode_release_reply,
    PduType.ABORT: _decode_abort,
}

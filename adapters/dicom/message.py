"""The DIMSE messages as values: one frozen dataclass for each C-* message, two for the N-* family (PS3.7).

`message_id` is the Message ID of a request and the Message ID Being Responded To of a response or a
C-CANCEL. `has_data` says whether a data set follows. Absent optional elements are None, "" or ().
Public names are re-exported by `dimse`, which reads and writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, TypeAlias

from adapters.dicom.item import AbortReason, AbortSource, PduError

__all__ = [
    "CCancelRq",
    "CEchoRq",
    "CEchoRsp",
    "CFindRq",
    "CFindRsp",
    "CGetRq",
    "CGetRsp",
    "CMoveRq",
    "CMoveRsp",
    "CStoreRq",
    "CStoreRsp",
    "Command",
    "CommandField",
    "DimseError",
    "NRq",
    "NRsp",
    "Priority",
    "Request",
    "Response",
    "is_pending",
    "response_to",
]


class DimseError(PduError):
    """The peer sent a message that PS3.7 does not know; ends the association as its user would."""

    def __init__(self, message: str, *, hint: str = "", clause: str = "PS3.7 9.3") -> None:
        super().__init__(message, AbortReason.NOT_SPECIFIED, source=AbortSource.SERVICE_USER, hint=hint, clause=clause)


class CommandField(IntEnum):
    """(0000,0100), PS3.7 E.1."""

    C_STORE_RQ = 0x0001
    C_STORE_RSP = 0x8001
    C_GET_RQ = 0x0010
    C_GET_RSP = 0x8010
    C_FIND_RQ = 0x0020
    C_FIND_RSP = 0x8020
    C_MOVE_RQ = 0x0021
    C_MOVE_RSP = 0x8021
    C_ECHO_RQ = 0x0030
    C_ECHO_RSP = 0x8030
    N_EVENT_REPORT_RQ = 0x0100
    N_EVENT_REPORT_RSP = 0x8100
    N_GET_RQ = 0x0110
    N_GET_RSP = 0x8110
    N_SET_RQ = 0x0120
    N_SET_RSP = 0x8120
    N_ACTION_RQ = 0x0130
    N_ACTION_RSP = 0x8130
    N_CREATE_RQ = 0x0140
    N_CREATE_RSP = 0x8140
    N_DELETE_RQ = 0x0150
    N_DELETE_RSP = 0x8150
    C_CANCEL_RQ = 0x0FFF


class Priority(IntEnum):
    MEDIUM = 0
    HIGH = 1
    LOW = 2


# -- the messages ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CEchoRq:
    message_id: int
    sop_class: str = "1.2.840.10008.1.1"
    has_data: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class CEchoRsp:
    message_id: int
    sop_class: str
    status: int
    comment: str = ""
    has_data: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class CStoreRq:
    """`move_originator` and `move_originator_id` are set where a C-MOVE caused it, by some senders."""

    message_id: int
    sop_class: str
    sop_instance: str
    priority: int = Priority.MEDIUM
    move_originator: str = ""
    move_originator_id: int | None = None
    has_data: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class CStoreRsp:
    message_id: int
    sop_class: str
    sop_instance: str
    status: int
    comment: str = ""
    offending: tuple[int, ...] = ()
    has_data: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class CFindRq:
    message_id: int
    sop_class: str
    priority: int = Priority.MEDIUM
    has_data: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class CFindRsp:
    message_id: int
    sop_class: str
    status: int
    comment: str = ""
    offending: tuple[int, ...] = ()
    has_data: bool = False


@dataclass(frozen=True, slots=True)
class CGetRq:
    message_id: int
    sop_class: str
    priority: int = Priority.MEDIUM
    has_data: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class CGetRsp:
    """The counters are numbers of sub-operations."""

    message_id: int
    sop_class: str
    status: int
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    comment: str = ""
    offending: tuple[int, ...] = ()
    has_data: bool = False


@dataclass(frozen=True, slots=True)
class CMoveRq:
    message_id: int
    sop_class: str
    destination: str
    priority: int = Priority.MEDIUM
    has_data: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class CMoveRsp:
    """The counters are numbers of sub-operations."""

    message_id: int
    sop_class: str
    status: int
    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    comment: str = ""
    offending: tuple[int, ...] = ()
    has_data: bool = False


@dataclass(frozen=True, slots=True)
class CCancelRq:
    """`message_id` is that of the C-FIND, C-GET or C-MOVE to be cancelled."""

    message_id: int
    has_data: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class NRq:
    """Any N-* request, as `operation` says; what the operation does not define is absent."""

    operation: CommandField
    message_id: int
    sop_class: str = ""
    sop_instance: str = ""
    requested_class: str = ""
    requested_instance: str = ""
    event_type: int | None = None
    action_type: int | None = None
    attributes: tuple[int, ...] = ()
    has_data: bool = False


@dataclass(frozen=True, slots=True)
class NRsp:
    """Any N-* response, as `operation` says."""

    operation: CommandField
    message_id: int
    status: int
    sop_class: str = ""
    sop_instance: str = ""
    event_type: int | None = None
    action_type: int | None = None
    attributes: tuple[int, ...] = ()
    comment: str = ""
    error_id: int | None = None
    has_data: bool = False


Request: TypeAlias = CEchoRq | CStoreRq | CFindRq | CGetRq | CMoveRq | NRq
Response: TypeAlias = CEchoRsp | CStoreRsp | CFindRsp | CGetRsp | CMoveRsp | NRsp
Command: TypeAlias = Request | Response | CCancelRq


def is_pending(status: int) -> bool:
    """Whether more responses follow (PS3.7 Annex C: 0xFF00 and 0xFF01)."""
    return status in (0xFF00, 0xFF01)


def response_to(request: Request, status: int, comment: str = "", *, has_data: bool = False) -> Response:
    """The response that belongs to `request`; `comment` is cut to the 64 characters of an LO."""
    comment = comment[:64]
    match request:
        case CEchoRq():
            return CEchoRsp(request.message_id, request.sop_class, status, comment)
        case CStoreRq():
            return CStoreRsp(request.message_id, request.sop_class, request.sop_instance, status, comment)
        case CFindRq():
            return CFindRsp(request.message_id, request.sop_class, status, comment, has_data=has_data)
        case CGetRq():
            return CGetRsp(request.message_id, request.sop_class, status, comment=comment, has_data=has_data)
        case CMoveRq():
            return CMoveRsp(request.message_id, request.sop_class, status, comment=comment, has_data=has_data)
        case NRq():
            return _n_response(request, status, comment, has_data)


def _n_response(request: NRq, status: int, comment: str, has_data: bool) -> NRsp:
    return NRsp(
        CommandField(request.operation | 0x8000),
        request.message_id,
        status,
        request.sop_class or request.requested_class,
        request.sop_instance or request.requested_instance,
        request.event_type,
        request.action_type,
        comment=comment,
        has_data=has_data,
    )

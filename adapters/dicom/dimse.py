"""DIMSE messages: the command set as values, and the assembly of messages out of PDVs (PS3.7).

Public: the messages of `message` (a frozen dataclass for each C-*, `NRq` and `NRsp` for N-*),
`decode_command(bytes) -> Command`, `encode_command(command) -> bytes`, `response_to(request, status)`,
and `MessageAssembler.feed(pdv) -> CommandArrived | DataFragment | None`.

Elements that a message does not define are ignored and not kept: whoever forwards a message encodes
`command` again, so that the peer behind us reads what we judged. For the same reason tags must rise
(6.3.1): a repeated element that two readers take differently is an attack. Commands are implicit VR
little endian whatever was negotiated, and at most 64 KiB here.

Data sets are not accumulated: fragments pass as views. `DataCollector` gathers one, with a cap.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Container
from typing import Any, NamedTuple

from adapters.dicom.framing import Pdv
from adapters.dicom.item import PduError
from adapters.dicom.message import (
    CCancelRq,
    CEchoRq,
    CEchoRsp,
    CFindRq,
    CFindRsp,
    CGetRq,
    CGetRsp,
    CMoveRq,
    CMoveRsp,
    Command,
    CommandField,
    CStoreRq,
    CStoreRsp,
    DimseError,
    NRq,
    NRsp,
    Priority,
    Request,
    Response,
    is_pending,
    response_to,
)

__all__ = [
    "COMMAND_MAX",
    "IDENTIFIER_MAX",
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
    "CommandArrived",
    "CommandField",
    "DataCollector",
    "DataFragment",
    "DimseError",
    "MessageAssembler",
    "NRq",
    "NRsp",
    "Priority",
    "Request",
    "Response",
    "decode_command",
    "encode_command",
    "is_pending",
    "response_to",
]

COMMAND_MAX = 64 * 1024
IDENTIFIER_MAX = 1024 * 1024


# -- the elements ----------------------------------------------------------------------------

_ELEMENT = struct.Struct("<HHI")
_UID = re.compile(rb"[0-9.]{1,64}")
_UNPRINTABLE = re.compile(rb"[^\x20-\x7e]")
_TITLE = re.compile(rb"[\x20-\x5b\x5d-\x7e]{0,16}")


def _read_us(value: bytes) -> int:
    if len(value) != 2:
        raise DimseError("a number of the command set is not two bytes long", clause="PS3.5 6.2")
    return value[0] | value[1] << 8


def _write_us(value: int) -> bytes:
    return value.to_bytes(2, "little")


def _read_ui(value: bytes) -> str:
    text = value[:-1] if value[-1:] == b"\0" else value
    if not _UID.fullmatch(text):
        raise DimseError("a UID of the command set is malformed", clause="PS3.5 9")
    return text.decode("ascii")


def _write_ui(value: str) -> bytes:
    raw = value.encode("ascii")
    return raw + b"\0" if len(raw) % 2 else raw


def _read_ae(value: bytes) -> str:
    text = value.strip(b" \0")
    if not _TITLE.fullmatch(text):
        raise DimseError("an AE title of the command set is malformed", clause="PS3.5 6.2")
    return text.decode("ascii")


def _read_lo(value: bytes) -> str:
    """Text for people, from peers that take liberties: what is not printable ASCII becomes a question mark."""
    return _UNPRINTABLE.sub(b"?", value.strip(b" \0")[:64]).decode("ascii").strip()


def _write_text(value: str) -> bytes:
    raw = value.encode("ascii", "replace")
    return raw + b" " if len(raw) % 2 else raw


def _read_at(value: bytes) -> tuple[int, ...]:
    if len(value) % 4:
        raise DimseError("a list of tags of the command set is cut off", clause="PS3.5 6.2")
    halves = struct.unpack(f"<{len(value) // 2}H", value)
    return tuple(group << 16 | element for group, element in zip(halves[::2], halves[1::2], strict=True))


def _write_at(value: tuple[int, ...]) -> bytes:
    return b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in value)


class _Element(NamedTuple):
    """Where an attribute of a message stands; without a default it is mandatory."""

    number: int
    attribute: str
    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]
    default: Any = ...


_US, _UI, _AE, _LO, _AT = (
    (_read_us, _write_us),
    (_read_ui, _write_ui),
    (_read_ae, _write_text),
    (_read_lo, _write_text),
    (_read_at, _write_at),
)
_MESSAGE_ID = _Element(0x0110, "message_id", *_US)
_RESPONDED = _Element(0x0120, "message_id", *_US)
_CLASS = _Element(0x0002, "sop_class", *_UI)
_CLASS_MAYBE = _Element(0x0002, "sop_class", *_UI, "")
_INSTANCE = _Element(0x1000, "sop_instance", *_UI)
_INSTANCE_MAYBE = _Element(0x1000, "sop_instance", *_UI, "")
_REQUESTED_CLASS = _Element(0x0003, "requested_class", *_UI, "")
_REQUESTED_INSTANCE = _Element(0x1001, "requested_instance", *_UI, "")
_DESTINATION = _Element(0x0600, "destination", *_AE)
_PRIORITY = _Element(0x0700, "priority", *_US, Priority.MEDIUM)
_STATUS = _Element(0x0900, "status", *_US)
_OFFENDING = _Element(0x0901, "offending", *_AT, ())
_COMMENT = _Element(0x0902, "comment", *_LO, "")
_ERROR_ID = _Element(0x0903, "error_id", *_US, None)
_EVENT_TYPE = _Element(0x1002, "event_type", *_US, None)
_ATTRIBUTES = _Element(0x1005, "attributes", *_AT, ())
_ACTION_TYPE = _Element(0x1008, "action_type", *_US, None)
_COUNTERS = (
    _Element(0x1020, "remaining", *_US, None),
    _Element(0x1021, "completed", *_US, None),
    _Element(0x1022, "failed", *_US, None),
    _Element(0x1023, "warning", *_US, None),
)
_ORIGINATOR = _Element(0x1030, "move_originator", *_AE, "")
_ORIGINATOR_ID = _Element(0x1031, "move_originator_id", *_US, None)

_REQUEST = (_MESSAGE_ID, _CLASS, _PRIORITY)
_RETRIEVE_RSP = (_RESPONDED, _CLASS_MAYBE, _STATUS, *_COUNTERS, _COMMENT, _OFFENDING)
_N_RQ = (
    *(_MESSAGE_ID, _CLASS_MAYBE, _INSTANCE_MAYBE, _REQUESTED_CLASS, _REQUESTED_INSTANCE),
    *(_EVENT_TYPE, _ACTION_TYPE, _ATTRIBUTES),
)
_N_RSP = (
    *(_RESPONDED, _STATUS, _CLASS_MAYBE, _INSTANCE_MAYBE),
    *(_EVENT_TYPE, _ACTION_TYPE, _ATTRIBUTES, _COMMENT, _ERROR_ID),
)

# The elements of each message in the order of its attributes (PS3.7 9.3 and 10.3).
_MESSAGES: dict[CommandField, tuple[type[Any], tuple[_Element, ...]]] = {
    CommandField.C_ECHO_RQ: (CEchoRq, (_MESSAGE_ID, _CLASS)),
    CommandField.C_ECHO_RSP: (CEchoRsp, (_RESPONDED, _CLASS_MAYBE, _STATUS, _COMMENT)),
    CommandField.C_STORE_RQ: (CStoreRq, (_MESSAGE_ID, _CLASS, _INSTANCE, _PRIORITY, _ORIGINATOR, _ORIGINATOR_ID)),
    CommandField.C_STORE_RSP: (
        CStoreRsp,
        (_RESPONDED, _CLASS_MAYBE, _INSTANCE_MAYBE, _STATUS, _COMMENT, _OFFENDING),
    ),
    CommandField.C_FIND_RQ: (CFindRq, _REQUEST),
    CommandField.C_FIND_RSP: (CFindRsp, (_RESPONDED, _CLASS_MAYBE, _STATUS, _COMMENT, _OFFENDING)),
    CommandField.C_GET_RQ: (CGetRq, _REQUEST),
    CommandField.C_GET_RSP: (CGetRsp, _RETRIEVE_RSP),
    CommandField.C_MOVE_RQ: (CMoveRq, (_MESSAGE_ID, _CLASS, _DESTINATION, _PRIORITY)),
    CommandField.C_MOVE_RSP: (CMoveRsp, _RETRIEVE_RSP),
    CommandField.C_CANCEL_RQ: (CCancelRq, (_RESPONDED,)),
}
_FIELDS = {kind: field for field, (kind, _elements) in _MESSAGES.items()}
_BY_NUMBER = {
    kind: sorted(elements, key=lambda element: element.number)
    for kind, elements in [*_MESSAGES.values(), (NRq, _N_RQ), (NRsp, _N_RSP)]
}
_MAY_HAVE_DATA = frozenset((CFindRsp, CGetRsp, CMoveRsp))
_NO_DATA = 0x0101
_ANY_DATA = 0x0001


# -- the command set -------------------------------------------------------------------------


def encode_command(command: Command) -> bytes:
    """The command set with its group length, implicit VR little endian (PS3.7 6.3.1)."""
    kind = type(command)
    field = command.operation if isinstance(command, NRq | NRsp) else _FIELDS[kind]
    values = {0x0100: _write_us(field), 0x0800: _write_us(_ANY_DATA if command.has_data else _NO_DATA)}
    for element in _BY_NUMBER[kind]:
        value = getattr(command, element.attribute)
        if value != element.default or element.number == 0x0700:
            values[element.number] = element.write(value)
    body = b"".join(_ELEMENT.pack(0, number, len(values[number])) + values[number] for number in sorted(values))
    return _ELEMENT.pack(0, 0, 4) + len(body).to_bytes(4, "little") + body


def decode_command(raw: bytes) -> Command:
    """Read a command set. Raises DimseError, and nothing else."""
    values = _elements(raw)
    number = _read_us(_mandatory(values, 0x0100))
    has_data = _read_us(_mandatory(values, 0x0800)) != _NO_DATA
    message = _MESSAGES.get(number)  # type: ignore[call-overload]
    if message is None:
        return _decode_n(number, values, has_data)
    kind, elements = message
    arguments = _arguments(values, elements)
    if kind in _MAY_HAVE_DATA:
        arguments.append(has_data)
    elif kind.has_data is not has_data:
        raise DimseError("a message says of its data set what it cannot have")
    command: Command = kind(*arguments)
    return command


def _decode_n(number: int, values: dict[int, bytes], has_data: bool) -> NRq | NRsp:
    try:
        operation = CommandField(number)
    except ValueError:
        raise DimseError("the command field is of no message", clause="PS3.7 E.1") from None
    response = bool(operation & 0x8000)
    arguments: list[Any] = [operation, *_arguments(values, _N_RSP if response else _N_RQ), has_data]
    return NRsp(*arguments) if response else NRq(*arguments)


def _arguments(values: dict[int, bytes], elements: tuple[_Element, ...]) -> list[Any]:
    arguments = []
    for element in elements:
        value = values.get(element.number)
        found = element.read(value) if value else element.default
        if element.default is ... and found in (..., ""):
            raise DimseError(f"the command set lacks (0000,{element.number:04X})")
        arguments.append(found)
    return arguments


def _mandatory(values: dict[int, bytes], number: int) -> bytes:
    value = values.get(number)
    if value is None:
        raise DimseError(f"the command set lacks (0000,{number:04X})")
    return value


def _elements(raw: bytes) -> dict[int, bytes]:
    values: dict[int, bytes] = {}
    at, end, before = 0, len(raw), -1
    while at < end:
        if end - at < 8:
            raise DimseError("the command set is cut off within an element", clause="PS3.7 6.3.1")
        group, number, length = _ELEMENT.unpack_from(raw, at)
        at += 8 + length
        if group != 0 or number <= before or at > end:
            raise DimseError("the command set holds an element that cannot stand there", clause="PS3.7 6.3.1")
        values[number] = raw[at - length : at]
        before = number
    counted = values.get(0)
    if counted is not None and (len(counted) != 4 or int.from_bytes(counted, "little") != end - 12):
        raise DimseError("the group length of the command set is wrong", clause="PS3.7 6.3.1")
    return values


# -- messages out of PDVs --------------------------------------------------------------------


class CommandArrived(NamedTuple):
    """A whole command set, on the presentation context `context`."""

    context: int
    command: Command


class DataFragment(NamedTuple):
    """The next bytes of the data set of the last command; valid as long as somebody holds it."""

    context: int
    fragment: memoryview
    last: bool


class MessageAssembler:
    """Makes events of one direction's PDVs. `contexts` are the ids that may be used.

    A message is its command fragments, then, if the command says so, its data fragments, all on one
    presentation context, with nothing of another message between them (PS3.7 6.3, PS3.8 Annex E).
    """

    __slots__ = ("_command", "_context", "_data", "contexts")

    def __init__(self, contexts: Container[int] = frozenset()) -> None:
        self.contexts = contexts
        self._command = bytearray()
        self._context = 0  # of the message under way; 0 between messages
        self._data = False  # whether its data set is awaited

    @property
    def data_context(self) -> int:
        """The context on which data fragments are awaited; 0 if none are."""
        return self._context if self._data else 0

    def feed(self, pdv: Pdv) -> CommandArrived | DataFragment | None:
        """What this PDV completes, if anything. Raises PduError or DimseError."""
        context, command, last, fragment = pdv
        if self._data and not command and context == self._context:
            if last:
                self._data, self._context = False, 0
            return DataFragment(context, fragment, last)
        self._judge(context, command)
        if len(self._command) + len(fragment) > COMMAND_MAX:
            raise DimseError("a command set is longer than is read", hint="at most 64 KiB")
        self._command += fragment
        self._context = context
        return self._arrive() if last else None

    def finish_data(self) -> None:
        """The last of the data set has gone by another way (`framing.Through`)."""
        self._data, self._context = False, 0

    def _judge(self, context: int, command: bool) -> None:
        if context not in self.contexts:
            raise PduError("a value came on a presentation context that was not accepted", clause="PS3.8 9.3.5.1")
        if self._data or not command or (self._context and context != self._context):
            raise PduError("the fragments of a message are out of their order", clause="PS3.8 E.2")

    def _arrive(self) -> CommandArrived:
        command = decode_command(bytes(self._command))
        self._command.clear()
        arrived = CommandArrived(self._context, command)
        self._data = command.has_data
        if not self._data:
            self._context = 0
        return arrived


class DataCollector:
    """Gathers one data set from its fragments, up to `limit` bytes."""

    __slots__ = ("_data", "limit")

    def __init__(self, limit: int = IDENTIFIER_MAX) -> None:
        self.limit = limit
        self._data = bytearray()

    def add(self, event: DataFragment) -> bytes | None:
        """The whole data set with its last fragment, else None. Raises DimseError beyond the limit."""
        if len(self._data) + len(event.fragment) > self.limit:
            raise DimseError("a data set is longer than is read here", hint=f"at most {self.limit} bytes")
        self._data += event.fragment
        if not event.last:
            return None
        whole = bytes(self._data)
        self._data.clear()
        return whole

"""The user information of an association and its sub-items (PS3.7 D.3.3, maximum length PS3.8 D.1).

`encode_user` writes the sub-items in the order of their type, the optional ones only where there is
something to say. `decode_user` skips types it does not know, refuses a wrong length, and refuses a
second occurrence of what can be said once. Public names are re-exported by `pdu`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from adapters.dicom.item import AbortReason, PduError, counted, item, items, printable, take, uid

__all__ = [
    "NOTHING_SAID",
    "CommonExtendedNegotiation",
    "ExtendedNegotiation",
    "RoleSelection",
    "UserIdentityAc",
    "UserIdentityRq",
    "UserInformation",
    "decode_user",
    "encode_user",
]


@dataclass(frozen=True, slots=True)
class RoleSelection:
    """SCP/SCU role selection (D.3.3.4): the roles of the association requestor."""

    sop_class: str
    scu: bool
    scp: bool


@dataclass(frozen=True, slots=True)
class ExtendedNegotiation:
    """SOP class extended negotiation (D.3.3.5); the information is the service class's own."""

    sop_class: str
    information: bytes


@dataclass(frozen=True, slots=True)
class CommonExtendedNegotiation:
    """SOP class common extended negotiation (D.3.3.6)."""

    sop_class: str
    service_class: str
    related: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserIdentityRq:
    """User identity (D.3.3.7): type 1 name, 2 name and passcode, 3 Kerberos, 4 SAML, 5 JWT."""

    type: int
    primary: bytes
    secondary: bytes = b""
    response_requested: bool = False

    def __repr__(self) -> str:
        return f"UserIdentityRq(type={self.type})"  # credentials never reach a log through a repr


@dataclass(frozen=True, slots=True)
class UserIdentityAc:
    """The acceptor's server response: a Kerberos ticket, a SAML response, a JWT, or nothing."""

    response: bytes = b""

    def __repr__(self) -> str:
        return f"UserIdentityAc({len(self.response)} bytes)"


@dataclass(frozen=True, slots=True)
class UserInformation:
    """`max_length`: the largest P-DATA-TF variable field the sender receives, in bytes; 0 is no limit,
    as is its absence. `async_window`: operations (invoked, performed); None where it was not sent."""

    max_length: int = 0
    implementation_class: str = ""
    implementation_version: str = ""
    async_window: tuple[int, int] | None = None
    roles: tuple[RoleSelection, ...] = ()
    extended: tuple[ExtendedNegotiation, ...] = ()
    common_extended: tuple[CommonExtendedNegotiation, ...] = ()
    identity: UserIdentityRq | None = None
    identity_response: UserIdentityAc | None = None


NOTHING_SAID = UserInformation()


def encode_user(user: UserInformation) -> bytes:
    """The value of the user information item. struct.error where a number or field is too large."""
    parts = [item(0x51, struct.pack(">I", user.max_length))]
    if user.implementation_class:
        parts.append(item(0x52, user.implementation_class.encode("ascii")))
    if user.async_window is not None:
        parts.append(item(0x53, struct.pack(">HH", *user.async_window)))
    for role in user.roles:
        parts.append(item(0x54, _name(role.sop_class) + bytes((role.scu, role.scp))))
    if user.implementation_version:
        parts.append(item(0x55, user.implementation_version.encode("ascii")))
    for offer in user.extended:
        parts.append(item(0x56, _name(offer.sop_class) + offer.information))
    for common in user.common_extended:
        related = b"".join(map(_name, common.related))
        parts.append(item(0x57, _name(common.sop_class) + _name(common.service_class) + counted(related)))
    if (identity := user.identity) is not None:
        head = bytes((identity.type, identity.response_requested))
        parts.append(item(0x58, head + counted(identity.primary) + counted(identity.secondary)))
    if user.identity_response is not None:
        parts.append(item(0x59, counted(user.identity_response.response)))
    return b"".join(parts)


def _name(value: str) -> bytes:
    return counted(value.encode("ascii"))


def decode_user(value: bytes) -> UserInformation:
    """Read the value of the user information item. Raises PduError."""
    once: dict[str, Any] = {}
    several: dict[str, list[Any]] = {}
    for kind, part in items(value):
        if kind in _ONCE:
            name, read = _ONCE[kind]
            if name in once:
                raise PduError("a sub-item of the user information comes twice", AbortReason.UNEXPECTED_PARAMETER)
            once[name] = read(part)
        elif kind in _SEVERAL:
            name, read = _SEVERAL[kind]
            several.setdefault(name, []).append(read(part))
    once.update((name, tuple(parts)) for name, parts in several.items())
    return UserInformation(**once)


def _number(value: bytes) -> int:
    return _numbers(">I", value)[0]


def _window(value: bytes) -> tuple[int, int]:
    invoked, performed = _numbers(">HH", value)
    return invoked, performed


def _numbers(shape: str, value: bytes) -> tuple[int, ...]:
    if len(value) != struct.calcsize(shape):
        raise PduError("a sub-item of the user information has a wrong length", clause="PS3.7 D.3.3")
    return struct.unpack(shape, value)


def _version(value: bytes) -> str:
    if len(value) > 16:
        raise PduError("an implementation version name is longer than 16 characters", clause="PS3.7 D.3.3.2")
    return printable(value, "an implementation version name")


def _role(value: bytes) -> RoleSelection:
    name, rest = take(value)
    if len(rest) != 2 or max(rest) > 1:
        raise PduError("a role selection is malformed", clause="PS3.7 D.3.3.4")
    return RoleSelection(uid(name), bool(rest[0]), bool(rest[1]))


def _extended(value: bytes) -> ExtendedNegotiation:
    name, information = take(value)
    return ExtendedNegotiation(uid(name), information)


def _common(value: bytes) -> CommonExtendedNegotiation:
    name, rest = take(value)
    service, rest = take(rest)
    related, _reserved = take(rest)  # what follows is reserved to later versions of the sub-item
    names: list[str] = []
    while related:
        field, related = take(related)
        names.append(uid(field))
    return CommonExtendedNegotiation(uid(name), uid(service), tuple(names))


def _identity(value: bytes) -> UserIdentityRq:
    if len(value) < 2 or value[1] > 1:
        raise PduError("a user identity is malformed", clause="PS3.7 D.3.3.7")
    primary, rest = take(value[2:])
    secondary, rest = take(rest)
    if rest:
        raise PduError("a user identity is longer than its fields", clause="PS3.7 D.3.3.7")
    return UserIdentityRq(value[0], primary, secondary, bool(value[1]))


def _identity_response(value: bytes) -> UserIdentityAc:
    response, rest = take(value)
    if rest:
        raise PduError("a user identity response is longer than its field", clause="PS3.7 D.3.3.7")
    return UserIdentityAc(response)


_ONCE: dict[int, tuple[str, Callable[[bytes], Any]]] = {
    0x51: ("max_length", _number),
    0x52: ("implementation_class", uid),
    0x53: ("async_window", _window),
    0x55: ("implementation_version", _version),
    0x58: ("identity", _identity),
    0x59: ("identity_response", _identity_response),
}

_SEVERAL: dict[int, tuple[str, Callable[[bytes], Any]]] = {
    0x54: ("roles", _role),
    0x56: ("extended", _extended),
    0x57: ("common_extended", _common),
}

"""Where notifications go: the kinds of channel and what each must have.

Pure. A channel that could not protect what it carries is refused at birth:
clear text beyond this machine only where somebody asked for it, and no
webhook without a secret, since its receiver could not tell our alerts from
anybody else's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import MappingProxyType
from typing import TypeAlias
from urllib.parse import SplitResult, urlsplit

from spir.errors import DocumentError

__all__ = ["Channel", "FhirCommunication", "FhirTask", "Webhook"]

_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Webhook:
    """POST of signed JSON to `url`; `secret` is the key of the signature. Raises DocumentError."""

    url: str
    secret: bytes = field(repr=False)
    allow_clear_text: bool = False

    def __post_init__(self) -> None:
        _sound(self.url, self.allow_clear_text)
        if not self.secret:
            raise DocumentError("a webhook has no secret", hint="name a file with `secret_file`")


@dataclass(frozen=True, slots=True)
class FhirTask:
    """A Task for each notification, at the FHIR R4 server `base`; `headers` go with it, as Authorization.

    Raises DocumentError.
    """

    base: str
    headers: Mapping[str, str] = field(default_factory=lambda: _NONE, repr=False)
    allow_clear_text: bool = False

    def __post_init__(self) -> None:
        _sound(self.base, self.allow_clear_text)
        _plain(self.headers)


@dataclass(frozen=True, slots=True)
class FhirCommunication:
    """A Communication for each notification; otherwise as `FhirTask`."""

    base: str
    headers: Mapping[str, str] = field(default_factory=lambda: _NONE, repr=False)
    allow_clear_text: bool = False

    def __post_init__(self) -> None:
        _sound(self.base, self.allow_clear_text)
        _plain(self.headers)


Channel: TypeAlias = Webhook | FhirTask | FhirCommunication


def _sound(url: str, allow_clear_text: bool) -> None:
    """Refuse what is not a URL to send patients' data to. The error does not show it: it may hold a token."""
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise DocumentError("a channel's URL is not one", hint="write https://host/path")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise DocumentError(f"the URL of the channel to `{parts.hostname}` holds more than a place")
    if parts.scheme == "http" and not (allow_clear_text or _loopback(parts.hostname)):
        raise DocumentError(
            f"the channel to `{parts.hostname}` sends in clear text", hint="use https, or allow_clear_text = true"
        )


def _split(url: str) -> SplitResult | None:
    """None for what has white space, a control character, or no sense."""
    if not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port  # is only looked at when asked for
    except ValueError:
        return None
    return parts


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _plain(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not name.isascii() or not name.isprintable() or " " in name or not value.isprintable():
            raise DocumentError("a header of a channel holds what a header cannot hold")

"""Client certificates: who they name, and whether a token belongs to their holder. Pure.

TLS has verified the chain before a certificate comes here. What is read:
SHA-256 of the DER, the SPIFFE id in the URI of the subject alternative name,
the distinguished name. A token may be bound to a certificate (RFC 8705 3.1).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import sha256

from cryptography import x509

from adapters.identity.strict import unpadded
from spir.errors import Unauthenticated

__all__ = ["Certificate", "canonical_name", "check_binding", "read_certificate"]

LARGEST = 64 * 1024

_SPIFFE = re.compile(r"spiffe://[a-z0-9._-]{1,255}(/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+")
_FINGERPRINT = re.compile(r"(?:sha256:)?((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Certificate:
    """`fingerprint` is hexadecimal; `spiffe` is "" if there is none; `name` is the subject as RFC 4514 writes it."""

    fingerprint: str
    thumbprint: str  # x5t#S256 of RFC 8705
    spiffe: str
    name: str
    begins: datetime
    ends: datetime

    @property
    def names(self) -> tuple[str, ...]:
        """How a directory may list it, most exact first."""
        return tuple(name for name in (f"sha256:{self.fingerprint}", self.spiffe, self.name) if name)


# What the parser raises for bytes that are no certificate; InvalidVersion is no ValueError.
UNREADABLE = (ValueError, TypeError, x509.InvalidVersion, x509.UnsupportedGeneralNameType, x509.DuplicateExtension)


@lru_cache(maxsize=256)
def read_certificate(der: bytes) -> Certificate:
    """Raises Unauthenticated."""
    if len(der) > LARGEST:
        raise Unauthenticated("the client certificate is too large")
    try:
        found = x509.load_der_x509_certificate(der)
        name, uris = found.subject.rfc4514_string(), _uris(found)
        begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    except UNREADABLE as error:
        raise Unauthenticated("the client certificate cannot be read") from error
    digest = sha256(der).digest()
    # An X.509-SVID has exactly one URI; with several, nobody can say which one is meant.
    spiffe = uris[0] if len(uris) == 1 and _is_spiffe(uris[0]) else ""
    return Certificate(digest.hex(), unpadded(digest), spiffe, name, begins, ends)


def check_binding(confirmation: Mapping[str, str], certificate: Certificate | None, required: bool = False) -> None:
    """Whether whoever holds `certificate` may use a token with this `cnf`. Raises Unauthenticated.

    A way of binding that is not known here refuses the token: ignoring it
    would make a stolen token as good as its owner's.
    """
    if unknown := confirmation.keys() - {"x5t#S256"}:
        raise Unauthenticated(f"the token is bound in a way that is not known: {len(unknown)}", clause="RFC 7800 3.1")
    expected = confirmation.get("x5t#S256")
    if expected is None:
        if required:
            raise Unauthenticated("the token is not bound to its sender", clause="RFC 8705 3")
        return
    if certificate is None or not hmac.compare_digest(expected.encode(), certificate.thumbprint.encode()):
        raise Unauthenticated("the token is bound to another certificate", clause="RFC 8705 3")


def canonical_name(text: str) -> str | None:
    """A certificate's name in a directory: fingerprint, SPIFFE id or distinguished name; None if it is none."""
    if found := _FINGERPRINT.fullmatch(text):
        return f"sha256:{found[1].replace(':', '').lower()}"
    if text.startswith("spiffe:"):
        return text if _is_spiffe(text) else None
    try:
        return x509.Name.from_rfc4514_string(text).rfc4514_string() or None
    except ValueError:
        return None


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _is_spiffe(text: str) -> bool:
    return len(text) <= 2048 and _SPIFFE.fullmatch(text) is not None

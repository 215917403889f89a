"""Who may speak from where: AE titles and HL7 applications bound to addresses. Pure.

A name that anybody can type is no identity. It becomes a weak one by the
address it comes from, and a strong one by a certificate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from adapters.identity.certificate import Certificate, canonical_name
from spir.errors import DocumentError
from spir.model.address import Network, lies_in, networks_of

__all__ = ["Peer", "Place", "Source", "is_ae_title", "matching"]


@dataclass(frozen=True, slots=True)
class Place:
    """Addresses and networks (CIDR), and certificates if the connection must have one. No address: nowhere."""

    networks: tuple[Network, ...] = ()
    certificates: frozenset[str] = frozenset()

    @classmethod
    def of(cls, addresses: Iterable[str], certificates: Iterable[str] = ()) -> Place:
        """Raises DocumentError."""
        networks = networks_of(addresses)
        names = [(text, canonical_name(text)) for text in certificates]
        if wrong := [text for text, name in names if name is None]:
            raise DocumentError(f"`{wrong[0]}` names no certificate", hint="sha256:..., spiffe://... or CN=...")
        return cls(networks, frozenset(name for _, name in names if name is not None))

    def admits(self, address: str, certificate: Certificate | None) -> bool:
        """Whether a connection is from here. An IPv4 address inside IPv6 counts as itself."""
        if self.certificates and not (certificate and self.certificates.intersection(certificate.names)):
            return False
        return lies_in(address, self.networks)


@dataclass(frozen=True, slots=True)
class Peer:
    """A DICOM node. `vouches`: it has authenticated the user whom it names (user identity type 1)."""

    ae_title: str
    place: Place
    vouches: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """An HL7 v2 sender: MSH-3, and MSH-4 ("": any)."""

    application: str
    facility: str
    place: Place

    @property
    def names(self) -> tuple[str, ...]:
        """How a directory may list it, most exact first."""
        return (f"{self.application}|{self.facility}", self.application) if self.facility else (self.application,)


def is_ae_title(text: str) -> bool:
    """1 to 16 characters of the default repertoire, not only spaces, no backslash (PS3.5 6.2, AE)."""
    return 0 < len(text) <= 16 and text.strip() == text and all(" " <= c <= "~" and c != "\\" for c in text)


def matching(peers: Sequence[Peer], ae_title: str, address: str, certificate: Certificate | None) -> Peer | None:
    """The registered node that calls by this title from this place."""
    title = ae_title.strip()
    return next((p for p in peers if p.ae_title == title and p.place.admits(address, certificate)), None)

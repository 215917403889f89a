"""Who may send us messages, from where, and how they write them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from spir.model.address import lies_in, networks_of

__all__ = ["Source", "admitted", "matching"]


@dataclass(frozen=True, slots=True)
class Source:
    """One sending application.

    `application` and `facility` are the namespace ids of MSH-3 and MSH-4.
    `addresses` are addresses or networks; without any, nobody is let in.
    `certificate` binds it to a TLS client certificate: the SHA-256 of its DER
    in hexadecimal, colons allowed. `charset` pins the character set over
    MSH-18. `validate` has the structure checked by the standard's own tables.
    `numbered` says that its visits have numbers: a discharge without one then
    puts the patient in doubt, because nobody can tell which visit it ends.
    """

    application: str
    facility: str = ""
    addresses: tuple[str, ...] = ()
    charset: str = ""
    certificate: str = ""
    validate: bool = False
    numbered: bool = True

    def __post_init__(self) -> None:
        networks_of(self.addresses)

    @property
    def name(self) -> str:
        """What facts and the audit trail call it: `HIS|H1`."""
        return f"{self.application}|{self.facility}"

    def admits(self, address: str, certificate: bytes = b"") -> bool:
        """Whether a peer at `address`, with this DER certificate if it showed one, may be this source."""
        if self.certificate and _fingerprint(self.certificate) != hashlib.sha256(certificate).hexdigest():
            return False
        return lies_in(address, networks_of(self.addresses))


def admitted(sources: Iterable[Source], address: str, certificate: bytes = b"") -> tuple[Source, ...]:
    """The sources that a peer may be. None: the connection is refused."""
    return tuple(source for source in sources if source.admits(address, certificate))


def matching(sources: Iterable[Source], sender: tuple[str, str]) -> Source | None:
    """The source whose application and facility are exactly those of a message."""
    return next((source for source in sources if (source.application, source.facility) == sender), None)


def _fingerprint(text: str) -> str:
    return text.replace(":", "").strip().lower()

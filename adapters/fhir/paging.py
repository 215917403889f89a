"""The cursor of a next link: opaque, authenticated, bound to who asked, what was asked and under which policy.

The upstream's own links are never shown: they would tell how the search was
narrowed, and could be edited. A cursor is decided anew when it is used; all it
saves is the place.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapters.fhir.interaction import Pairs
from adapters.fhir.outcome import Refused
from adapters.fhir.search import Search, View

__all__ = ["Cursor", "Sealer"]

LIFETIME = timedelta(minutes=15)
MAX_TOKEN = 24_000  # characters


@dataclass(frozen=True, slots=True)
class Cursor:
    """`url`: the upstream's page, as path and query below its base; `skip`: entries of it that are done with.

    `released`: how many resources went out so far. The rest says for whom and
    for which search the cursor is good.
    """

    url: str
    skip: int
    released: int
    subject: tuple[str, str]
    bundle: str
    expires: datetime
    type: str
    filters: Pairs
    sort: str
    count: int
    elements: tuple[str, ...]
    summary: str
    reads: tuple[tuple[str, ...], ...]

    @classmethod
    def of(
        cls, search: Search, place: tuple[str, int, int], subject: tuple[str, str], bundle: str, now: datetime
    ) -> Cursor:
        """The cursor to `place` (url, skip, released) in this search."""
        view = search.view
        return cls(
            *place,
            subject,
            bundle,
            now + LIFETIME,
            search.type,
            search.filters,
            search.sort,
            search.count or 0,
            view.elements,
            view.summary,
            tuple(sorted(search.reads)),
        )

    def search(self) -> Search:
        """The search this continues."""
        view = View(self.elements, self.summary)
        return Search(self.type, self.filters, self.sort, self.count or None, view, frozenset(self.reads))


@dataclass(frozen=True, slots=True)
class Sealer:
    """`key`: 32 bytes; `nonce` gives 12 fresh random bytes at every call (NIST SP 800-38D, 8.2.2)."""

    key: bytes
    nonce: Callable[[], bytes]

    def seal(self, cursor: Cursor) -> str:
        """The cursor as URL-safe text that only this key opens."""
        nonce = self.nonce()
        sealed = AESGCM(self.key).encrypt(nonce, msgspec.json.encode(asdict(cursor)), b"spir-page")
        return base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()

    def open(self, token: str, subject: tuple[str, str], type: str, now: datetime) -> Cursor:
        """Raises Refused (404) alike for a token that is forged, expired, another's or of another type."""
        try:
            raw = base64.b64decode(token[:MAX_TOKEN] + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            text = AESGCM(self.key).decrypt(raw[:12], raw[12:], b"spir-page")
        except (binascii.Error, ValueError, InvalidTag):
            raise _gone() from None
        cursor = msgspec.json.decode(text, type=Cursor)
        if cursor.subject != subject or cursor.type != type or cursor.expires <= now:
            raise _gone()
        return cursor


def _gone() -> Refused:
    return Refused(404, "expired", "there is no such page", hint="search again from the start")

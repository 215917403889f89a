"""Page tokens of searches: opaque, authenticated, bound to who asked and what was asked. Pure.

A token holds the last candidate that was looked at, which may be a patient: it
is encrypted. Every candidate behind it is decided anew when it is used; all it
saves is the place.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from spir.errors import RequestError

__all__ = ["LIFETIME", "Pages"]

LIFETIME = timedelta(minutes=15)
MAX_TOKEN = 4096  # characters
NONCE = 12  # bytes


class _Place(msgspec.Struct):
    after: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class Pages:
    """`key`: 32 bytes; `nonce` gives 12 fresh random bytes at every call (NIST SP 800-38D, 8.2.2)."""

    key: bytes
    nonce: Callable[[], bytes]

    def seal(self, after: str, caller: str, asked: bytes, now: datetime) -> str:
        """The place behind the candidate `after`, as URL-safe text that only this key opens."""
        nonce = self.nonce()
        text = msgspec.json.encode(_Place(after, now + LIFETIME))
        sealed = AESGCM(self.key).encrypt(nonce, text, _bound(caller, asked))
        return base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()

    def open(self, token: str, caller: str, asked: bytes, now: datetime) -> str:
        """Raises RequestError alike for a token that is forged, expired, another caller's or of another search."""
        try:
            raw = base64.b64decode(token[:MAX_TOKEN] + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            text = AESGCM(self.key).decrypt(raw[:NONCE], raw[NONCE:], _bound(caller, asked))
        except (binascii.Error, ValueError, InvalidTag):
            raise _gone() from None
        place = msgspec.json.decode(text, type=_Place)
        if place.expires <= now:
            raise _gone()
        return place.after


def _bound(caller: str, asked: bytes) -> bytes:
    return b"spir-pdp-page" + sha256(caller.encode()).digest() + sha256(asked).digest()


def _gone() -> RequestError:
    return RequestError("`page.token` is not valid for this search", hint="search again from the start")

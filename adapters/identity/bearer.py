"""Access tokens (RFC 9068), verified as if every one were forged. Pure: time and keys are passed in.

A library checks the signature; all else is checked here, because none of the
libraries is strict enough by itself: size before decoding, one canonical
encoding, a header of `alg`, `typ` and `kid` and nothing more, the type of an
access token, the algorithm that belongs to the key, every required claim, a
bounded life. A token that passed is remembered by its digest for a minute at
most; one that failed is not remembered at all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from adapters.identity.jwks import ALGORITHMS, KEY_ID, Key
from adapters.identity.scope import split
from adapters.identity.strict import Malformed, base64url, json_object
from spir.errors import DocumentError, Unauthenticated

__all__ = ["Bearer", "Claims", "Issuer", "Keys"]

Keys = Callable[[], Mapping[str, Key]]

LARGEST = 8 * 1024
REMEMBERED = 4096
REMEMBER_SECONDS = 60
LATEST = 2**40  # seconds: no date beyond is meant
CLAUSE = "RFC 9068 4"


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who may issue tokens for us, under which rules. `lifetime` and `skew` are seconds.

    `token_types` are accepted in `typ` beside `at+jwt`. Scopes are taken from
    `scope` and from `scp`, which some issuers write as a list.
    """

    name: str
    audience: str
    algorithms: Sequence[str]
    token_types: Sequence[str] = ()
    lifetime: int = 7200
    skew: int = 30

    def __post_init__(self) -> None:
        unknown = [name for name in self.algorithms if name not in ALGORITHMS]
        if unknown or not self.algorithms:
            hint = f"known: {', '.join(ALGORITHMS)}"
            raise DocumentError(f"issuer `{self.name}` has no algorithm `{', '.join(unknown)}`", hint=hint)
        if not self.name or not self.audience or not 0 <= self.skew <= 30:
            raise DocumentError("an issuer needs a name, an audience, and a skew of 30 seconds at most")

    def types(self) -> frozenset[str]:
        given = {"at+jwt", *(name.lower() for name in self.token_types)}
        return frozenset(given | {f"application/{name}" for name in given if "/" not in name})


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. `confirmation` is its `cnf`: the key it is bound to."""

    issuer: str
    subject: str
    client: str
    token: str
    issued: datetime
    expires: datetime
    scopes: tuple[str, ...] = ()
    confirmation: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Remembered:
    claims: Claims
    key: Key
    until: float


class Bearer:
    """Verifies the tokens of some issuers. Its memory is bounded; use it from one thread."""

    def __init__(self, issuers: Sequence[tuple[Issuer, Keys]]) -> None:
        self._issuers = {issuer.name: (issuer, issuer.types(), keys) for issuer, keys in issuers}
        if len(self._issuers) != len(issuers):
            raise DocumentError("an issuer is there twice")
        self._memory: OrderedDict[bytes, _Remembered] = OrderedDict()

    @property
    def single(self) -> bool:
        """Whether there is one issuer only, so that a subject's name alone says who it is."""
        return len(self._issuers) == 1

    def verify(self, token: str, now: datetime) -> Claims:
        """Raises Unauthenticated, and nothing else, for whatever it is given."""
        at = now.timestamp()
        if not token or len(token) > LARGEST or not token.isascii():
            raise _refused("no token, or one that is too large")
        digest = sha256(token.encode()).digest()
        if (found := self._recall(digest, at)) is not None:
            return found
        try:
            claims, key = self._checked(token.encode(), at)
        except Malformed as error:
            raise _refused(f"the token holds {error}") from error
        self._remember(digest, claims, key, at)
        return claims

    def _checked(self, token: bytes, at: float) -> tuple[Claims, Key]:
        parts = token.split(b".")
        if len(parts) != 3:
            raise _refused("a signed token has three parts")
        header, payload, signature = json_object(base64url(parts[0])), json_object(base64url(parts[1])), parts[2]
        issuer, types, keys = self._issuer(payload)
        key = _key(header, types, keys)
        if not key.verifies(parts[0] + b"." + parts[1], base64url(signature)):
            raise _refused("the token's signature is wrong")
        return _claims(payload, issuer, at), key

    def _issuer(self, payload: Mapping[str, Any]) -> tuple[Issuer, frozenset[str], Keys]:
        name = payload.get("iss")
        found = self._issuers.get(name) if isinstance(name, str) else None
        if found is None:
            raise _refused("the token's issuer is not known")
        return found

    def _recall(self, digest: bytes, at: float) -> Claims | None:
        found = self._memory.get(digest)
        if found is None:
            return None
        _, _, keys = self._issuers[found.claims.issuer]
        if at < found.until and keys().get(found.key.id) is found.key:
            return found.claims
        del self._memory[digest]
        return None

    def _remember(self, digest: bytes, claims: Claims, key: Key, at: float) -> None:
        self._memory[digest] = _Remembered(claims, key, min(claims.expires.timestamp(), at + REMEMBER_SECONDS))
        if len(self._memory) > REMEMBERED:
            self._memory.popitem(last=False)


def _refused(message: str, hint: str = "") -> Unauthenticated:
    return Unauthenticated(message, hint=hint, clause=CLAUSE)


def _key(header: Mapping[str, Any], types: frozenset[str], keys: Keys) -> Key:
    """The key that the header may mean: of the known ones, with its own algorithm."""
    if header.keys() - {"alg", "typ", "kid"}:
        raise _refused("the token's header says more than alg, typ and kid")
    kind, id = header.get("typ"), header.get("kid")
    if not isinstance(kind, str) or kind.lower() not in types:
        raise _refused("this is not an access token", "its `typ` is at+jwt, or one that is configured")
    if not isinstance(id, str) or not KEY_ID.fullmatch(id):
        raise _refused("the token names no key")
    key = keys().get(id)
    if key is None:
        raise _refused("the token's key is not known", "the key set may be out of date")
    if header.get("alg") != key.algorithm:
        raise _refused("the token's algorithm is not that of its key")
    return key


def _claims(payload: Mapping[str, Any], issuer: Issuer, at: float) -> Claims:
    issued, expires = _second(payload, "iat"), _second(payload, "exp")
    begins = _second(payload, "nbf") if "nbf" in payload else issued
    _check_audience(payload.get("aud"), issuer.audience)
    if expires <= at - issuer.skew:
        raise _refused("the token has expired")
    if max(issued, begins) > at + issuer.skew:
        raise _refused("the token is not valid yet")
    if not 0 < expires - issued <= issuer.lifetime:
        raise _refused("the token lives too long", f"at most {issuer.lifetime} seconds")
    return Claims(
        issuer.name,
        _text(payload, "sub"),
        _text(payload, "client_id"),
        _text(payload, "jti"),
        datetime.fromtimestamp(issued, UTC),
        datetime.fromtimestamp(expires, UTC),
        _scopes(payload),
        _confirmation(payload.get("cnf", {})),
    )


def _text(payload: Mapping[str, Any], name: str) -> str:
    found = payload.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= 256 or not found.isprintable():
        raise _refused(f"the token has no `{name}`")
    return found


def _second(payload: Mapping[str, Any], name: str) -> int:
    found = payload.get(name)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < LATEST:
        raise _refused(f"the token has no `{name}`", "a whole number of seconds")
    return found


def _check_audience(given: Any, audience: str) -> None:
    names = given if isinstance(given, list) else [given]
    if len(names) > 16 or not all(isinstance(name, str) for name in names) or audience not in names:
        raise _refused("the token is not meant for this gateway")


def _scopes(payload: Mapping[str, Any]) -> tuple[str, ...]:
    found = [payload.get("scope", ""), payload.get("scp", "")]
    if isinstance(found[1], list) and all(isinstance(scope, str) for scope in found[1]):
        found[1] = " ".join(found[1])
    if not all(isinstance(text, str) for text in found):
        raise _refused("the token's scopes are malformed")
    return split(" ".join(text for text in found if text))


def _confirmation(given: Any) -> Mapping[str, str]:
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise _refused("the token's `cnf` is malformed")
    return given

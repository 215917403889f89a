"""An issuer's public keys (RFC 7517). Pure: text in, keys out.

Each key is bound to one algorithm when it is read; a token has no say in it.
Symmetric keys and keys with private parts are refused with the whole file:
somebody has published a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from adapters.identity.strict import Malformed, json_object
from spir.errors import DocumentError, Location

__all__ = ["ALGORITHMS", "KEY_ID", "Key", "read_keys"]

KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
LARGEST = 256 * 1024
MOST_KEYS = 100

# algorithm -> (key type, curve)
ALGORITHMS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", "")),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
SECRETS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@dataclass(frozen=True, slots=True, eq=False)
class Key:
    """One key and the only algorithm that it verifies. Compared by identity: a new file, a new key."""

    id: str
    algorithm: str
    public: Any

    def verifies(self, text: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's over `text`. Never raises."""
        try:
            return bool(jwt.get_algorithm_by_name(self.algorithm).verify(text, self.public, signature))
        except (jwt.PyJWTError, ValueError, TypeError):
            return False


def read_keys(text: str, algorithms: Sequence[str], file: str) -> Mapping[str, Key]:
    """The signing keys in a key set by key id, for an issuer that uses `algorithms`.

    Keys for other uses and of other algorithms are left out. Raises
    DocumentError: malformed, dangerous, or no usable key.
    """
    where = Location(file)
    if len(text) > LARGEST:
        raise DocumentError("the key set is too large", location=where)
    try:
        keys = json_object(text.encode("utf-8", "surrogatepass")).get("keys")
    except Malformed as error:
        raise DocumentError(f"the key set holds {error}", location=where) from error
    if not isinstance(keys, list) or len(keys) > MOST_KEYS or not all(isinstance(key, dict) for key in keys):
        raise DocumentError("this is not a key set", hint=f"{{'keys': [...]}}, at most {MOST_KEYS}", location=where)
    found: dict[str, Key] = {}
    for given in keys:
        if (key := _key(given, algorithms, where)) is not None:
            if key.id in found:
                raise DocumentError(f"the key id `{key.id}` is there twice", location=where)
            found[key.id] = key
    if not found:
        hint = f"it needs keys with `kid` for {', '.join(algorithms)}"
        raise DocumentError("the key set has no key that could be used", hint=hint, location=where)
    return found


def _key(given: Mapping[str, Any], algorithms: Sequence[str], where: Location) -> Key | None:
    if given.get("kty") == "oct" or SECRETS & given.keys():
        raise DocumentError(
            "the key set holds a secret", hint="publish only public keys, and make new ones", location=where
        )
    id, algorithm = given.get("kid"), _algorithm(given, algorithms)
    if algorithm is None or given.get("use", "sig") != "sig":
        return None
    if not isinstance(id, str) or not KEY_ID.fullmatch(id):
        raise DocumentError("a key has no usable `kid`", hint="1 to 64 letters, digits and . _ -", location=where)
    try:
        public = jwt.PyJWK(dict(given), algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise DocumentError(f"the key `{id}` is malformed", location=where) from error
    if isinstance(public, RSAPublicKey) and public.key_size < 2048:
        raise DocumentError(f"the key `{id}` is too short", hint="RSA keys have 2048 bits or more", location=where)
    return Key(id, algorithm, public)


def _algorithm(given: Mapping[str, Any], algorithms: Sequence[str]) -> str | None:
    """The one algorithm for a key: as it says itself, else the only one of the issuer's that fits."""
    kind = (given.get("kty"), given.get("crv", ""))
    fitting = [name for name in algorithms if ALGORITHMS.get(name) == kind and given.get("alg", name) == name]
    return fitting[0] if len(fitting) == 1 else None

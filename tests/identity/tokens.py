"""An issuer for the tests: real keys, good tokens, and tokens bent in one place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from adapters.identity.bearer import Bearer, Issuer
from adapters.identity.jwks import read_keys
from adapters.identity.strict import unpadded
from tests.given import NOON

NAME = "https://idp.example"
AUDIENCE = "spir"
NOW = int(NOON.timestamp())

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
STRANGER = rsa.generate_private_key(65537, 2048)
PRIVATE: Mapping[str, tuple[str, Any]] = {"rsa": ("RS256", RSA), "ec": ("ES256", EC), "ed": ("EdDSA", ED)}

CLAIMS: Mapping[str, Any] = {
    "iss": NAME,
    "aud": AUDIENCE,
    "sub": "dr.li",
    "client_id": "viewer",
    "iat": NOW,
    "exp": NOW + 600,
    "jti": "token-1",
}


def public_jwk(kid: str) -> dict[str, Any]:
    algorithm, private = PRIVATE[kid]
    found = jwt.get_algorithm_by_name(algorithm).to_jwk(private.public_key())
    return {**json.loads(found), "kid": kid, "alg": algorithm, "use": "sig"}


JWKS = json.dumps({"keys": [public_jwk(kid) for kid in PRIVATE]})
ALGORITHMS = ("RS256", "ES256", "EdDSA")
KEYS = read_keys(JWKS, ALGORITHMS, "jwks.json")


def bearer(**rules: Any) -> Bearer:
    return Bearer([(Issuer(NAME, AUDIENCE, ALGORITHMS, **rules), lambda: KEYS)])


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in CLAIMS.items() if name not in names}


def signed(header: bytes, payload: bytes, kid: str = "rsa", private: Any = None) -> str:
    """A token over exactly these bytes, signed by the key `kid` or by `private`."""
    algorithm, own = PRIVATE[kid]
    text = f"{unpadded(header)}.{unpadded(payload)}"
    return f"{text}.{unpadded(jwt.get_algorithm_by_name(algorithm).sign(text.encode(), private or own))}"


def token(claims: Mapping[str, Any] = CLAIMS, kid: str = "rsa", private: Any = None, **header: Any) -> str:
    """A token with these claims; a header field of None is left out."""
    given = {"alg": PRIVATE[kid][0], "typ": "at+jwt", "kid": kid, **header}
    kept = {name: value for name, value in given.items() if value is not None}
    return signed(json.dumps(kept).encode(), json.dumps(claims).encode(), kid, private)


def with_claims(**more: Any) -> str:
    return token({**CLAIMS, **more})

"""Tokens: the good ones are read whole, and of the attacks none gets through."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
from collections.abc import Callable
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from adapters.identity.bearer import LARGEST, REMEMBERED, Bearer, Claims, Issuer
from adapters.identity.jwks import read_keys
from adapters.identity.strict import unpadded
from spir.errors import DocumentError, Unauthenticated
from tests.given import NOON
from tests.identity.tokens import (
    ALGORITHMS,
    AUDIENCE,
    CLAIMS,
    JWKS,
    KEYS,
    NAME,
    NOW,
    RSA,
    STRANGER,
    bearer,
    public_jwk,
    signed,
    token,
    with_claims,
    without,
)

GOOD = token()
HEADER = json.dumps({"alg": "RS256", "typ": "at+jwt", "kid": "rsa"}).encode()
PAYLOAD = json.dumps(dict(CLAIMS)).encode()
PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hmac_signed(key: bytes, **header: object) -> str:
    head = json.dumps({"alg": "HS256", "typ": "at+jwt", "kid": "rsa", **header}).encode()
    text = f"{unpadded(head)}.{unpadded(PAYLOAD)}"
    return f"{text}.{unpadded(hmac.digest(key, text.encode(), 'sha256'))}"


def unsigned(algorithm: str) -> str:
    head = json.dumps({"alg": algorithm, "typ": "at+jwt", "kid": "rsa"}).encode()
    return f"{unpadded(head)}.{unpadded(PAYLOAD)}."


def part(number: int, change: Callable[[str], str]) -> str:
    parts = GOOD.split(".")
    parts[number] = change(parts[number])
    return ".".join(parts)


def raw(payload: str) -> str:
    return signed(HEADER, payload.encode())


def flipped(text: str) -> str:
    return text[:20] + ("A" if text[20] != "A" else "B") + text[21:]


def stray_bits(text: str) -> str:
    """Another last character that an ordinary decoder takes for the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]


def headed(**fields: object) -> str:
    """Signed by the RSA key under a header of our making; a field of None is left out."""
    given = {"alg": "RS256", "typ": "at+jwt", "kid": "rsa", **fields}
    return signed(json.dumps({name: value for name, value in given.items() if value is not None}).encode(), PAYLOAD)


SUB = '"sub": "dr.li"'
EMBEDDED = public_jwk("rsa")

ATTACKS: dict[str, str] = {
    # the signature and its algorithm
    "no signature, alg none": unsigned("none"),
    "alg None in another case": unsigned("nOnE"),
    "alg is empty": unsigned(""),
    "signature left out": unsigned("RS256"),
    "signature of another": token(private=STRANGER),
    "signature changed": part(2, flipped),
    "signature cut": part(2, lambda text: text[:-4]),
    "signature of zeros": part(2, lambda text: unpadded(bytes(256))),
    "HS256 keyed with the public PEM": hmac_signed(PEM),
    "HS256 keyed with the public JWK": hmac_signed(json.dumps(EMBEDDED).encode()),
    "HS256 with an empty key": hmac_signed(b""),
    "HS256 keyed with the hash of the PEM": hmac_signed(hashlib.sha256(PEM).digest()),
    "another algorithm than the key's": token(alg="RS384"),
    "PS256 for an RS256 key": token(alg="PS256"),
    "alg is a list": token(alg=["RS256"]),
    "alg is missing": token(alg=None),
    # the header
    "typ is missing": token(typ=None),
    "typ JWT": token(typ="JWT"),
    "typ of an id token": token(typ="id+jwt"),
    "typ of a logout token": token(typ="logout+jwt"),
    "typ is a number": token(typ=1),
    "kid is missing": headed(kid=None),
    "kid of nobody": headed(kid="other"),
    "kid of another key": headed(kid="ec"),
    "kid and algorithm of another key": headed(kid="ec", alg="ES256"),
    "kid is a path": headed(kid="../../dev/null"),
    "kid is SQL": headed(kid="x' union select 1 --"),
    "kid is a URL": headed(kid="https://evil.example/k"),
    "kid is empty": headed(kid=""),
    "kid is a list": headed(kid=["rsa"]),
    "kid is very long": headed(kid="a" * 65),
    "a key in the header": token(jwk=EMBEDDED),
    "a stranger's key in the header": token(private=STRANGER, jwk=EMBEDDED),
    "jku": token(jku="https://evil.example/jwks.json"),
    "x5u": token(x5u="https://evil.example/cert.pem"),
    "x5c": token(x5c=["MIIB"]),
    "x5t": token(x5t="abc"),
    "crit of something unknown": token(crit=["exp"], exp=1),
    "crit that is empty": token(crit=[]),
    "b64 false": token(b64=False),
    "zip": token(zip="DEF"),
    "cty": token(cty="JWT"),
    "header with alg twice": signed(b'{"alg":"none","alg":"RS256","typ":"at+jwt","kid":"rsa"}', PAYLOAD),
    "header is a list": signed(b"[]", PAYLOAD),
    # who, for whom
    "another issuer": with_claims(iss="https://evil.example"),
    "issuer with a slash more": with_claims(iss=NAME + "/"),
    "issuer in capitals": with_claims(iss=NAME.upper()),
    "issuer is missing": token(without("iss")),
    "issuer is a list": with_claims(iss=[NAME]),
    "issuer is null": with_claims(iss=None),
    "another audience": with_claims(aud="billing"),
    "audience is missing": token(without("aud")),
    "audience is part of a word": with_claims(aud="spirit"),
    "audience is empty": with_claims(aud=[]),
    "audience is a map": with_claims(aud={"spir": True}),
    "audience with a number": with_claims(aud=["spir", 1]),
    "audience of hundreds": with_claims(aud=["spir"] * 100),
    "subject is missing": token(without("sub")),
    "subject is empty": with_claims(sub=""),
    "subject is a number": with_claims(sub=7),
    "subject is a list": with_claims(sub=["dr.li"]),
    "subject with a line end": with_claims(sub="dr.li\n"),
    "subject with a zero byte": with_claims(sub="dr.li\x00"),
    "subject is very long": with_claims(sub="x" * 257),
    "subject twice": raw(PAYLOAD.decode().replace(SUB, SUB + ', "sub": "dr.wu"')),
    "subject twice, once in escapes": raw(PAYLOAD.decode().replace(SUB, SUB + ', "s\\u0075b": "x"')),
    "client is missing": token(without("client_id")),
    "token id is missing": token(without("jti")),
    "token id is a number": with_claims(jti=1),
    # when
    "expired": with_claims(iat=NOW - 700, exp=NOW - 31),
    "expiry is missing": token(without("exp")),
    "expiry is text": with_claims(exp=str(NOW + 600)),
    "expiry is a fraction": with_claims(exp=NOW + 600.5),
    "expiry is true": with_claims(exp=True),
    "expiry is null": with_claims(exp=None),
    "expiry is negative": with_claims(exp=-1),
    "expiry is huge": with_claims(exp=10**30),
    "expiry of a thousand digits": raw(PAYLOAD.decode().replace(str(NOW + 600), "9" * 5000)),
    "expiry is infinite": raw(PAYLOAD.decode().replace(str(NOW + 600), "Infinity")),
    "expiry is not a number": raw(PAYLOAD.decode().replace(str(NOW + 600), "NaN")),
    "expiry is an exponent": raw(PAYLOAD.decode().replace(str(NOW + 600), "1e400")),
    "issued at is missing": token(without("iat")),
    "issued in the future": with_claims(iat=NOW + 31, exp=NOW + 600),
    "not valid before the future": with_claims(nbf=NOW + 31),
    "not before is text": with_claims(nbf="soon"),
    "lives too long": with_claims(exp=NOW + 7201),
    "expires before it is issued": with_claims(iat=NOW + 20, exp=NOW + 10),
    # what else it says
    "scopes are a number": with_claims(scope=1),
    "scopes with a quote": with_claims(scope='a"b'),
    "scopes with two spaces": with_claims(scope="a  b"),
    "scopes with a line end": with_claims(scope="a\nb"),
    "too many scopes": with_claims(scope=" ".join(f"s{n}" for n in range(129))),
    "scp of numbers": with_claims(scp=[1]),
    "scp is a map": with_claims(scp={}),
    "cnf is text": with_claims(cnf="x"),
    "cnf holds a map": with_claims(cnf={"jwk": {}}),
    # the form
    "empty": "",
    "two parts": ".".join(GOOD.split(".")[:2]),
    "four parts": GOOD + ".x",
    "five parts, as if encrypted": GOOD + ".x.y",
    "only dots": "..",
    "a space before it": " " + GOOD,
    "a line end after it": GOOD + "\n",
    "padding": part(0, lambda text: text + "="),
    "plain base64": part(2, lambda text: text.replace("-", "+").replace("_", "/") + "+"),
    "stray bits at the end": part(2, stray_bits),
    "a character that decoders skip": part(1, lambda text: text[:8] + "!" + text[8:]),
    "a character beyond ASCII": part(1, lambda text: text[:8] + "é" + text[8:]),
    "payload is no JSON": raw("x"),
    "payload is a list": raw("[]"),
    "payload is text": raw('"x"'),
    "payload is empty": raw(""),
    "payload with a comment": raw(PAYLOAD.decode() + "//"),
    "payload with a mark of byte order": signed(HEADER, b"\xef\xbb\xbf" + PAYLOAD),
    "payload in UTF-16": signed(HEADER, PAYLOAD.decode().encode("utf-16")),
    "payload in Latin-1": signed(HEADER, PAYLOAD.replace(b"dr.li", b"dr.l\xec")),
    "payload nested without end": raw("[" * 3000),
    "payload nested in a claim": raw(PAYLOAD.decode()[:-1] + ',"x":' + "[" * 2500 + "]" * 2500 + "}"),
    "too large": token({**CLAIMS, "x": "y" * LARGEST}),
    "ten megabytes": "x" * 10_000_000,
    "the JSON form": json.dumps({"payload": "x", "signatures": []}),
}  # fmt: skip


def test_there_are_enough_attacks():
    assert len(ATTACKS) >= 100


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused(name: str):
    with pytest.raises(Unauthenticated) as refusal:
        bearer().verify(ATTACKS[name], NOON)
    assert "dr.li" not in str(refusal.value)


@pytest.mark.parametrize("name", ["lives too long", "typ JWT", "another audience"])
def test_the_attacks_are_close_misses(name: str):
    """What a token is refused for is the one thing that is wrong with it."""
    lenient = {
        "lives too long": bearer(lifetime=10_000),
        "typ JWT": bearer(token_types=["JWT"]),
        "another audience": Bearer([(Issuer(NAME, "billing", ALGORITHMS), lambda: KEYS)]),
    }
    assert lenient[name].verify(ATTACKS[name], NOON).subject == "dr.li"


def test_a_good_token_is_read_whole():
    expected = Claims(
        NAME,
        "dr.li",
        "viewer",
        "token-1",
        NOON,
        NOON + timedelta(seconds=600),
        ("patient/*.rs", "read:patient:allergy"),
        {"x5t#S256": "abc"},
    )
    given = with_claims(
        scope="read:patient:allergy patient/*.rs", scp=["read:patient:allergy"], cnf={"x5t#S256": "abc"}
    )
    assert bearer().verify(given, NOON) == expected


@pytest.mark.parametrize("kid", ["rsa", "ec", "ed"])
def test_every_configured_algorithm_verifies(kid: str):
    assert bearer().verify(token(kid=kid), NOON).subject == "dr.li"


@pytest.mark.parametrize(
    "given",
    [
        token(typ="application/at+jwt"),
        token(typ="AT+JWT"),
        with_claims(aud=["other", AUDIENCE]),
        with_claims(iat=NOW - 600, exp=NOW - 29),
        with_claims(iat=NOW + 29),
        with_claims(nbf=NOW - 1),
        with_claims(scope=""),
        with_claims(scp="a b"),
        with_claims(name="李", roles=["x"], nested={"a": [1.5]}),
    ],
)
def test_what_the_standard_allows_is_allowed(given: str):
    assert bearer().verify(given, NOON).subject == "dr.li"


def test_an_ordinary_library_agrees_on_the_good_token():
    lenient = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(GOOD, RSA.public_key(), ["RS256"], audience=AUDIENCE, options=lenient)  # type: ignore[arg-type]
    assert claims == dict(CLAIMS)


def test_a_remembered_token_still_expires():
    verifier = bearer()
    assert verifier.verify(GOOD, NOON) is verifier.verify(GOOD, NOON + timedelta(seconds=59))
    with pytest.raises(Unauthenticated, match="expired"):
        verifier.verify(GOOD, NOON + timedelta(seconds=631))
    short = with_claims(exp=NOW + 10)
    assert verifier.verify(short, NOON) is verifier.verify(short, NOON + timedelta(seconds=9))
    with pytest.raises(Unauthenticated, match="expired"):
        verifier.verify(short, NOON + timedelta(seconds=40))


def test_a_token_is_forgotten_with_its_key():
    keys = dict(KEYS)
    verifier = Bearer([(Issuer(NAME, AUDIENCE, ALGORITHMS), lambda: keys)])
    verifier.verify(GOOD, NOON)
    del keys["rsa"]
    with pytest.raises(Unauthenticated, match="key is not known"):
        verifier.verify(GOOD, NOON)
    keys.update(read_keys(JWKS, ALGORITHMS, "jwks.json"))
    assert verifier.verify(GOOD, NOON).subject == "dr.li"


def test_a_failure_is_not_remembered():
    keys: dict[str, object] = {}
    verifier = Bearer([(Issuer(NAME, AUDIENCE, ALGORITHMS), lambda: keys)])  # type: ignore[arg-type]
    with pytest.raises(Unauthenticated):
        verifier.verify(GOOD, NOON)
    keys.update(KEYS)
    assert verifier.verify(GOOD, NOON).subject == "dr.li"


def test_memory_is_bounded():
    verifier = bearer()
    for n in range(REMEMBERED + 10):
        verifier._remember(str(n).encode(), verifier.verify(GOOD, NOON), KEYS["rsa"], NOW)
    assert len(verifier._memory) == REMEMBERED


def test_an_issuer_is_configured_with_care():
    for rules in (
        {"algorithms": ("HS256",)},
        {"algorithms": ("none",)},
        {"algorithms": ()},
        {"audience": ""},
        {"name": ""},
        {"skew": 31},
    ):
        with pytest.raises(DocumentError):
            Issuer(**{"name": NAME, "audience": AUDIENCE, "algorithms": ("RS256",), **rules})  # type: ignore[arg-type]
    with pytest.raises(DocumentError, match="twice"):
        Bearer([(Issuer(NAME, AUDIENCE, ALGORITHMS), lambda: KEYS)] * 2)


def mutant(text: str, chance: random.Random) -> str:
    data = bytearray(text.encode())
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[place] ^= 1 << chance.randrange(7)
            case 1:
                del data[place]
            case 2:
                data.insert(place, chance.choice(b"ABCxyz019-_.=+/ "))
            case _:
                data[place] = chance.choice(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    return data.decode("latin-1")


def test_no_mutant_is_accepted_and_nothing_else_is_raised():
    verifier, chance = bearer(), random.Random(7)
    for text in (GOOD, token(kid="ec"), token(kid="ed")):
        for _ in range(3000):
            if (changed := mutant(text, chance)) != text:
                with pytest.raises(Unauthenticated):
                    verifier.verify(changed, NOON)


@given(st.text() | st.binary().map(lambda data: f"{unpadded(HEADER)}.{unpadded(data)}.x"))
def test_any_text_is_refused(text: str):
    with pytest.raises(Unauthenticated):
        bearer().verify(text, NOON)


names = st.sampled_from([*CLAIMS, "scope", "scp", "cnf", "nbf"])
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
nonsense = st.none() | st.booleans() | numbers | st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.text())


@given(st.dictionaries(names, nonsense))
def test_signed_nonsense_is_read_or_refused(claims: dict[str, object]):
    try:
        found = bearer().verify(token({**CLAIMS, **claims}), NOON)
    except Unauthenticated:
        return
    assert (found.issuer, found.subject) == (NAME, claims.get("sub", "dr.li"))

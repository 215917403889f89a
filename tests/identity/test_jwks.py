"""Key sets: each key bound to one algorithm, secrets refused, a bad file changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from adapters.identity.jwks import read_keys
from adapters.identity.key_file import KeyFile
from spir.errors import DocumentError
from tests.identity.tokens import ALGORITHMS, JWKS, RSA, public_jwk


def keys_of(*keys: Any, algorithms: tuple[str, ...] = ALGORITHMS) -> dict[str, str]:
    found = read_keys(json.dumps({"keys": keys}), algorithms, "jwks.json")
    return {id: key.algorithm for id, key in found.items()}


def other(**fields: Any) -> dict[str, Any]:
    given = {**public_jwk("rsa"), **fields}
    return {name: value for name, value in given.items() if value is not None}


def test_each_key_has_its_algorithm():
    assert keys_of(*json.loads(JWKS)["keys"]) == {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}


def test_a_key_that_does_not_say_gets_the_only_one_that_fits():
    assert keys_of(other(alg=None)) == {"rsa": "RS256"}
    with pytest.raises(DocumentError, match="no key that could be used"):
        keys_of(other(alg=None), algorithms=("RS256", "PS256"))


def test_keys_for_other_uses_are_left_out():
    rest = [other(kid="enc", use="enc"), other(kid="old", alg="RS512"), {"kty": "EC", "crv": "secp256k1", "kid": "odd"}]
    assert keys_of(public_jwk("rsa"), *rest) == {"rsa": "RS256"}


def private_jwk() -> dict[str, Any]:
    return {**json.loads(jwt.get_algorithm_by_name("RS256").to_jwk(RSA)), "kid": "rsa"}


def short_jwk() -> dict[str, Any]:
    key = rsa.generate_private_key(65537, 1024).public_key()
    return {**json.loads(jwt.get_algorithm_by_name("RS256").to_jwk(key)), "kid": "short"}


def off_curve() -> dict[str, Any]:
    return {**public_jwk("ec"), "x": public_jwk("ec")["y"]}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}], "holds a secret"),
        ([private_jwk()], "holds a secret"),
        ([short_jwk()], "too short"),
        ([off_curve()], "malformed"),
        ([other(n="AQ")], "too short|malformed"),
        ([other(n=None)], "malformed"),
        ([other(n=5)], "malformed"),
        ([other(kid=None)], "no usable `kid`"),
        ([other(kid="../x")], "no usable `kid`"),
        ([public_jwk("rsa"), public_jwk("rsa")], "there twice"),
        ([], "no key that could be used"),
        ([public_jwk("rsa")] * 101, "not a key set"),
        (["x"], "not a key set"),
    ],
)
def test_a_dangerous_key_set_is_refused(keys: list[Any], message: str):
    with pytest.raises(DocumentError, match=message):
        keys_of(*keys)


@pytest.mark.parametrize("text", ["", "x", "[]", "{}", '{"keys":{}}', '{"keys":[],"keys":[]}', " " * 300_000, "\ud800"])
def test_what_is_no_key_set_is_refused(text: str):
    with pytest.raises(DocumentError):
        read_keys(text, ALGORITHMS, "jwks.json")


names = st.sampled_from([*public_jwk("rsa"), "crv", "x", "y"])
nonsense = st.none() | st.text() | st.integers() | st.lists(st.text())


@given(st.dictionaries(names, nonsense))
def test_any_key_is_read_or_refused(fields: dict[str, Any]):
    try:
        assert keys_of({**public_jwk("rsa"), **fields})
    except DocumentError:
        return


def test_a_verifying_key_never_raises():
    keys = read_keys(JWKS, ALGORITHMS, "jwks.json")
    for key in keys.values():
        for signature in (b"", b"x", bytes(64), bytes(256), bytes(1000)):
            assert key.verifies(b"text", signature) is False


def replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def test_a_changed_file_is_read_again_after_a_second(tmp_path: Path):
    path, clock = tmp_path / "jwks.json", [0.0]
    path.write_text(json.dumps({"keys": [public_jwk("rsa")]}))
    keys = KeyFile(path, ALGORITHMS, lambda: clock[0])
    first = keys()
    replace(path, JWKS)
    assert keys() is first
    clock[0] = 1.0
    assert sorted(keys()) == ["ec", "ed", "rsa"]
    again = keys()
    clock[0] = 5.0
    assert keys() is again


@pytest.mark.parametrize("content", ["", "{}", None])
def test_a_file_that_goes_wrong_changes_nothing(tmp_path: Path, content: str | None, caplog: pytest.LogCaptureFixture):
    path, clock = tmp_path / "jwks.json", [0.0]
    path.write_text(JWKS)
    keys = KeyFile(path, ALGORITHMS, lambda: clock[0])
    first = keys()
    if content is None:
        path.unlink()
    else:
        replace(path, content)
    clock[0] = 2.0
    assert keys() is first
    assert "stay as they were" in caplog.text
    replace(path, JWKS)
    clock[0] = 4.0
    assert sorted(keys()) == ["ec", "ed", "rsa"]


def test_there_is_no_start_without_keys(tmp_path: Path):
    with pytest.raises(DocumentError):
        KeyFile(tmp_path / "missing.json", ALGORITHMS)


def test_a_curve_must_be_the_algorithms_own():
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    found = {**json.loads(jwt.get_algorithm_by_name("ES384").to_jwk(key)), "kid": "a"}
    assert keys_of(found, algorithms=("ES384",)) == {"a": "ES384"}
    with pytest.raises(DocumentError):
        keys_of({**found, "alg": "ES256"})

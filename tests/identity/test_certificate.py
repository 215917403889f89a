"""Certificates: what they name, and tokens that are bound to them."""

from __future__ import annotations

import base64
import contextlib
from datetime import timedelta
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.identity.certificate import Certificate, canonical_name, check_binding, read_certificate
from spir.errors import Unauthenticated
from tests.given import NOON
from tests.identity.certificates import issued

SPIFFE = "spiffe://hospital-a.example/lab/analyser-1"
DER = issued(uris=(SPIFFE,))
DIGEST = sha256(DER).digest()
THUMBPRINT = base64.urlsafe_b64encode(DIGEST).rstrip(b"=").decode()


def test_a_certificate_is_read_whole():
    assert read_certificate(DER) == Certificate(
        DIGEST.hex(), THUMBPRINT, SPIFFE, "CN=viewer-1,O=hospital-a", NOON - timedelta(days=1), NOON + timedelta(days=1)
    )
    assert read_certificate(DER).names == (f"sha256:{DIGEST.hex()}", SPIFFE, "CN=viewer-1,O=hospital-a")


def test_with_two_uris_there_is_no_spiffe_id():
    assert read_certificate(issued(uris=(SPIFFE, "spiffe://hospital-a.example/admin"))).spiffe == ""
    assert read_certificate(issued(uris=(SPIFFE, "https://x.example"))).spiffe == ""
    assert read_certificate(issued()).names[1:] == ("CN=viewer-1,O=hospital-a",)


@pytest.mark.parametrize(
    "uri",
    [
        "https://hospital-a.example/lab",
        "spiffe://hospital-a.example",
        "spiffe://Hospital-A.example/lab",
        "spiffe://hospital-a.example/",
        "spiffe://hospital-a.example/lab/",
        "spiffe://hospital-a.example//lab",
        "spiffe://hospital-a.example/../admin",
        "spiffe://hospital-a.example/lab/..",
        "spiffe://hospital-a.example/./lab",
        "spiffe://hospital-a.example:1/lab",
        "spiffe://u@hospital-a.example/lab",
        "spiffe://hospital-a.example/lab?x",
        "spiffe://hospital-a.example/lab#x",
        "spiffe://hospital-a.example/l%61b",
        "SPIFFE://hospital-a.example/lab",
        "spiffe://hospital-a.example/" + "x" * 2048,
    ],
)
def test_what_is_no_spiffe_id_names_nobody(uri: str):
    assert read_certificate(issued(uris=(uri,))).spiffe == ""


@pytest.mark.parametrize("der", [b"x", DER[:-1], DER + b"x", b"\x30\x80" + DER, bytes(100_000)])
def test_what_is_no_certificate_is_refused(der: bytes):
    with pytest.raises(Unauthenticated):
        read_certificate(der)


@example(place=11, byte=1)  # a version that X.509 does not have
@given(st.integers(0, len(DER) - 1), st.integers(0, 255))
def test_any_bytes_are_read_or_refused(place: int, byte: int):
    with contextlib.suppress(Unauthenticated):
        assert read_certificate(DER[:place] + bytes([byte]) + DER[place + 1 :]).fingerprint


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"sha256:{DIGEST.hex()}", f"sha256:{DIGEST.hex()}"),
        (DIGEST.hex().upper(), f"sha256:{DIGEST.hex()}"),
        (":".join(f"{byte:02X}" for byte in DIGEST), f"sha256:{DIGEST.hex()}"),
        (SPIFFE, SPIFFE),
        ("CN=viewer-1,O=hospital-a", "CN=viewer-1,O=hospital-a"),
        ("CN=viewer-1, O=hospital-a", None),
        ("spiffe://x", None),
        ("sha256:abc", None),
        ("viewer-1", None),
        ("", None),
    ],
)
def test_names_in_a_directory_have_one_form(text: str, name: str | None):
    assert canonical_name(text) == name


@given(st.text())
def test_any_text_names_a_certificate_or_none(text: str):
    found = canonical_name(text)
    assert found is None or canonical_name(found) == found


def test_a_token_is_for_the_holder_of_its_certificate():
    mine, other = read_certificate(DER), read_certificate(issued(serial=2))
    check_binding({"x5t#S256": THUMBPRINT}, mine)
    for thief in (other, None):
        with pytest.raises(Unauthenticated, match="another certificate"):
            check_binding({"x5t#S256": THUMBPRINT}, thief)
    with pytest.raises(Unauthenticated, match="another certificate"):
        check_binding({"x5t#S256": ""}, mine)


@pytest.mark.parametrize("confirmation", [{"jkt": "x"}, {"x5t#S256": THUMBPRINT, "jkt": "x"}, {"kid": "x"}])
def test_a_binding_that_is_not_known_refuses(confirmation: dict[str, str]):
    with pytest.raises(Unauthenticated, match="not known"):
        check_binding(confirmation, read_certificate(DER))


def test_a_token_that_is_not_bound_is_taken_only_where_it_may_be():
    check_binding({}, None)
    with pytest.raises(Unauthenticated, match="not bound"):
        check_binding({}, read_certificate(DER), required=True)

"""Bundles: what was built is read again, what was changed is not, and nothing old is taken for news."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from adapters.audit.keys import verify
from spir.bundle import DOCUMENTS, MANIFEST, SIGNATURES, Bundle, Manifest, Part, built, newer
from spir.errors import BundleError, SpirError
from spir.record.checkpoint import Key
from tests.given import NOON

PRINT = f"sha256:{'a' * 64}"
TEXTS = {"b.yaml": "kind: B\n", "a/c.json": "{}"}
OURS, THEIRS = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def key_of(private: Ed25519PrivateKey, name: str = "ours") -> Key:
    return Key(name, private.public_key().public_bytes_raw())


def bundle(generation: int = 1) -> Bundle:
    return built(TEXTS, PRINT, generation, NOON)


def signed(by: Ed25519PrivateKey = OURS) -> Bundle:
    return bundle().signed(key_of(by).public, by.sign)


def test_what_was_built_is_read_again() -> None:
    made = signed()
    assert Bundle.read(made.members()) == made
    assert made.documents == TEXTS
    assert [part.name for part in made.manifest.parts] == ["a/c.json", "b.yaml"]


def test_the_manifest_is_one_text_whatever_the_order_of_the_documents() -> None:
    turned = built(dict(reversed(TEXTS.items())), PRINT, 1, NOON)
    assert turned.manifest.text() == bundle().manifest.text()
    assert turned.manifest.digest == bundle().manifest.digest != bundle(2).manifest.digest


def test_a_signature_of_a_trusted_key_is_enough_whoever_else_signed() -> None:
    made = signed(THEIRS).signed(key_of(OURS).public, OURS.sign)
    assert made.verified([key_of(OURS)], verify) == key_of(OURS)


def test_signing_again_takes_the_place_of_the_older_signature() -> None:
    assert len(signed().signed(key_of(OURS).public, OURS.sign).signatures) == 1


@pytest.mark.parametrize("made", [bundle(), signed(THEIRS)])
def test_a_bundle_that_no_trusted_key_signed_is_refused(made: Bundle) -> None:
    with pytest.raises(BundleError, match="no trusted key has signed"):
        made.verified([key_of(OURS)], verify)


def test_a_signature_of_another_manifest_is_refused() -> None:
    moved = replace(bundle(2), signatures=signed().signatures)
    with pytest.raises(BundleError, match="the signature of `ours` is wrong"):
        moved.verified([key_of(OURS)], verify)


def test_a_signature_without_its_context_is_refused() -> None:
    bare = bundle().signed(key_of(OURS).public, lambda text: OURS.sign(text.partition(b"\n")[2]))
    with pytest.raises(BundleError, match="is wrong"):
        bare.verified([key_of(OURS)], verify)


@pytest.mark.parametrize("highest", [3, 4])
def test_a_generation_that_is_not_above_the_highest_is_refused(highest: int) -> None:
    with pytest.raises(BundleError, match="is not newer"):
        newer(bundle(3), highest)


def test_a_generation_above_the_highest_is_news() -> None:
    newer(bundle(3), 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({f"{DOCUMENTS}b.yaml": b"kind: C\n"}, "is not the document that the manifest lists"),
        ({f"{DOCUMENTS}more.yaml": b""}, "the very documents"),
        ({"stray": b""}, "the very documents"),
        ({MANIFEST: b"{"}, "is not JSON"),
        ({MANIFEST: b"[" * 100_000}, "is not JSON"),
        ({MANIFEST: b"{}"}, "the manifest is malformed"),
        ({MANIFEST: bundle().manifest.text() + b"\n"}, "canonical form"),
        ({SIGNATURES: b"{}"}, "no list"),
        ({SIGNATURES: b'[{"key": "a", "signature": "="}]'}, "a signature is malformed"),
        ({SIGNATURES: b'[{"key": "a", "signature": 1}]'}, "a signature is malformed"),
    ],
)
def test_an_archive_that_was_changed_is_refused(change: dict[str, bytes], said: str) -> None:
    with pytest.raises(BundleError, match=said):
        Bundle.read(bundle().members() | change)


def test_an_archive_without_a_manifest_is_no_bundle() -> None:
    with pytest.raises(BundleError, match="no manifest"):
        Bundle.read({f"{DOCUMENTS}b.yaml": b""})


@pytest.mark.parametrize(
    "name", ["../a.yaml", "/a.yaml", "a/../b.yaml", "a\\b.yaml", "c:a.yaml", "a//b.yaml", ".a.yaml", "a\n.yaml", ""]
)
def test_a_name_that_could_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(BundleError, match="a name that none may have"):
        built({name: ""}, PRINT, 1, NOON)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"generation": 0}, "generation"),
        ({"generation": True}, "generation"),
        ({"generation": 2**60}, "generation"),
        ({"created": "yesterday"}, "time of creation"),
        ({"created": "2026-11-21T12:00:00"}, "no offset"),
        ({"fingerprint": "a"}, "fingerprint"),
        ({"previous": 0}, "previous"),
        ({"parts": []}, "no documents"),
        ({"parts": [{"name": "a.yaml", "sha256": "x"}]}, "digest"),
        ({"parts": [{"name": "a.exe", "sha256": "0" * 64}]}, "is no document"),
        ({"parts": [{"name": "a.yaml", "sha256": "0" * 64}] * 2}, "there twice"),
        ({"format": "other"}, "another format"),
    ],
)
def test_a_manifest_says_what_is_wrong_with_it(fields: dict[str, object], said: str) -> None:
    data = json.loads(bundle().manifest.text()) | fields
    with pytest.raises(BundleError, match=said):
        Manifest.read(json.dumps(data, sort_keys=True, separators=(",", ":")).encode())


@given(
    st.integers(1, 2**53 - 1),
    st.datetimes(timezones=st.timezones()).filter(lambda at: isinstance(at, datetime)),
    st.sets(st.from_regex(r"[a-z0-9][a-z0-9 .-]{0,8}/[a-z][a-z]{0,8}\.yaml", fullmatch=True), min_size=1),
)
def test_any_manifest_is_read_as_what_it_was(generation: int, created: datetime, names: set[str]) -> None:
    offset = created.utcoffset()
    whole = created if offset is not None and not offset.microseconds else NOON
    parts = tuple(Part(name, "0" * 64) for name in sorted(names))
    made = Manifest(generation, whole, PRINT, "", parts)
    assert Manifest.read(made.text()).text() == made.text()


@given(st.data())
def test_a_mutated_bundle_is_read_or_refused_and_never_passes_for_the_signed_one(data: st.DataObject) -> None:
    members = signed().members()
    name = data.draw(st.sampled_from(sorted(members)))
    text = bytearray(members[name])
    at = data.draw(st.integers(0, len(text) - 1))
    text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        found = Bundle.read({**members, name: bytes(text)})
        found.verified([key_of(OURS)], verify)
    except SpirError:
        return
    assert found.manifest == signed().manifest and found.documents == TEXTS


@given(st.dictionaries(st.sampled_from([MANIFEST, SIGNATURES, f"{DOCUMENTS}a.yaml"]), st.binary(max_size=200)))
def test_any_members_are_a_bundle_or_our_error(members: dict[str, bytes]) -> None:
    with pytest.raises(BundleError):
        Bundle.read(members)

"""Signed checkpoints: the note format, and what is not accepted as one."""

from __future__ import annotations

import base64

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from spir.errors import SpirError
from spir.record.checkpoint import Checkpoint, CheckpointError, Key, opened, read, signed

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = Key("audit.example/hospital-a", PRIVATE.public_key().public_bytes_raw())
POINT = Checkpoint("audit.example/hospital-a", 42, bytes(range(100, 132)))
NOTE = signed(POINT, KEY, PRIVATE.sign)


def verify(public: bytes, signature: bytes, text: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, text)
    except InvalidSignature:
        return False
    return True


def test_the_text_is_origin_size_and_root_a_line_each():
    assert POINT.text() == f"audit.example/hospital-a\n42\n{base64.b64encode(POINT.root).decode()}\n"


def test_a_published_checkpoint_is_read():
    # The example of the checkpoint specification.
    note = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo"
        "+zyWE+xeMcTOAYQ8=\n"
    )
    assert (read(note).origin, read(note).size) == ("example.com/behind-the-sofa", 20852163)


def test_what_was_signed_is_opened_again():
    assert opened(NOTE, KEY, verify) == POINT
    longer = Checkpoint("o", 0, bytes(32), ("an extension",))
    assert opened(signed(longer, KEY, PRIVATE.sign), KEY, verify) == longer


def test_signatures_of_others_are_ignored():
    witness = Key("witness", bytes(32))
    line = f"\u2014 witness {base64.b64encode(witness.id + b'x' * 64).decode()}\n"
    assert opened(NOTE + line, KEY, verify) == POINT


def test_a_key_is_written_and_read_as_text():
    assert Key.parse(str(KEY)) == KEY
    assert str(KEY).startswith(f"audit.example/hospital-a+{KEY.id.hex()}+A")


@pytest.mark.parametrize(
    "note",
    [
        "",
        "a\n1\n",
        NOTE.replace("\n42\n", "\n43\n"),
        NOTE.replace("\n42\n", "\n042\n"),
        NOTE.replace("\n42\n", "\n-1\n"),
        NOTE.replace("\n42\n", "\n\u0664\u0662\n"),
        NOTE.replace("hospital-a\n42", "hospital-b\n42"),
        NOTE.replace("\n\n", "\nmore\n\n"),
        NOTE.replace("\u2014 ", "- "),
        NOTE.replace("\u2014 audit.example/hospital-a", "\u2014 somebody.else"),
        NOTE[:-1],
        NOTE + "\n",
        NOTE + "\u2014 x\n",
        NOTE.replace("42", "42\r"),
        NOTE + "\udc80",
        "x" * 70_000,
    ],
)
def test_a_changed_note_is_refused(note: str):
    with pytest.raises(CheckpointError):
        opened(note, KEY, verify)


def test_a_bad_signature_beside_a_good_one_refuses_the_note():
    bad = f"\u2014 {KEY.name} {base64.b64encode(KEY.id + bytes(64)).decode()}\n"
    with pytest.raises(CheckpointError):
        opened(NOTE + bad, KEY, verify)


def test_another_key_of_the_same_name_does_not_open_it():
    other = Key(KEY.name, Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw())
    with pytest.raises(CheckpointError, match="not signed by"):
        opened(NOTE, other, verify)


@pytest.mark.parametrize(
    "point", [Checkpoint("a\nb", 1, bytes(32)), Checkpoint("", 1, bytes(32)), Checkpoint("a", 1, b"x")]
)
def test_what_would_not_read_is_not_signed(point: Checkpoint):
    with pytest.raises(CheckpointError):
        signed(point, KEY, PRIVATE.sign)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b"])
def test_key_names_have_no_spaces(name: str):
    with pytest.raises(CheckpointError):
        Key(name, bytes(32))


@pytest.mark.parametrize("text", ["", "a+b", str(KEY)[:-2], str(KEY).replace("+A", "+B"), f"x{KEY}"])
def test_a_malformed_key_is_refused(text: str):
    with pytest.raises(CheckpointError):
        Key.parse(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str):
    for reader in (lambda: opened(text, KEY, verify), lambda: Key.parse(text)):
        with pytest.raises(SpirError):
            reader()


@given(st.integers(0, len(NOTE) - 1), st.characters())
def test_no_mutation_is_accepted(place: int, char: str):
    mutant = NOTE[:place] + char + NOTE[place + 1 :]
    if mutant != NOTE:
        with pytest.raises(CheckpointError):
            opened(mutant, KEY, verify)

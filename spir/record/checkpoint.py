"""Signed checkpoints of the audit trail: how long it is, and its Merkle root, for others to keep.

A chain in one's own hands cannot show that its end was cut off; a checkpoint
in somebody else's can. The text is a C2SP tlog-checkpoint, which is a C2SP
signed note: origin, size, root in base64, a blank line, signature lines.

Pure: signing and checking Ed25519 are functions that the caller brings.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from spir.errors import SpirError

__all__ = ["Checkpoint", "CheckpointError", "Key", "Sign", "Verify", "opened", "read", "signed"]

Sign = Callable[[bytes], bytes]  # text -> 64 bytes
Verify = Callable[[bytes, bytes, bytes], bool]  # public key (32 bytes), signature, text

ED25519 = b"\x01"
MARK = "\u2014 "
MAX_NOTE = 64 * 1024
MAX_SIGNATURES = 100


class CheckpointError(SpirError):
    """A checkpoint is malformed, or not signed by the key that it should be signed by."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`size` leaves with Merkle root `root` (32 bytes) in the log called `origin`."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The note text, ending in a newline."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extensions))


@dataclass(frozen=True, slots=True)
class Key:
    """A verification key: its name, as in signature lines, and 32 bytes of Ed25519 (RFC 8032)."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not self.name or "+" in self.name or any(c.isspace() for c in self.name):
            raise CheckpointError(f"`{self.name}` cannot be a key name", hint="no spaces, no +")
        if len(self.public) != 32:
            raise CheckpointError("an Ed25519 public key has 32 bytes")

    @property
    def id(self) -> bytes:
        """Four bytes that tell keys of one name apart."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        """The key as others configure it: `name+id+base64`."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> Key:
        """Read what `str` writes. Raises CheckpointError."""
        parts = text.strip().split("+", 2)
        if len(parts) != 3:
            raise CheckpointError("this is not a verification key", hint="it looks like name+id+base64")
        data = _base64(parts[2])
        if data[:1] != ED25519:
            raise CheckpointError("the key is not an Ed25519 key")
        key = cls(parts[0], data[1:])
        if key.id.hex() != parts[1]:
            raise CheckpointError("the key's id does not belong to it")
        return key


def signed(checkpoint: Checkpoint, key: Key, sign: Sign) -> str:
    """The signed note."""
    text = checkpoint.text()
    if _parse_text(text) != checkpoint:
        raise CheckpointError("the checkpoint would not read as what it says", hint="one line of text each")
    mark = base64.b64encode(key.id + sign(text.encode())).decode()
    return f"{text}\n{MARK}{key.name} {mark}\n"


def read(note: str) -> Checkpoint:
    """What a note says, signed by whomever. Raises CheckpointError."""
    text, _ = _split(note)
    return _parse_text(text)


def opened(note: str, key: Key, verify: Verify) -> Checkpoint:
    """What a note says, if `key` signed it. Raises CheckpointError.

    Signatures of other keys are ignored; a bad one under our key's name and id
    refuses the note.
    """
    text, lines = _split(note)
    checkpoint = _parse_text(text)
    ours = [data[4:] for name, data in map(_signature, lines) if name == key.name and data[:4] == key.id]
    if not ours:
        raise CheckpointError(f"the checkpoint is not signed by `{key.name}`", hint="is this the right public key?")
    if not all(verify(key.public, signature, text.encode()) for signature in ours):
        raise CheckpointError(f"the signature of `{key.name}` is wrong")
    return checkpoint


def _split(note: str) -> tuple[str, list[str]]:
    if len(note) > MAX_NOTE or any((c < " " and c != "\n") or "\ud800" <= c <= "\udfff" for c in note):
        raise CheckpointError("this is not a signed note")
    text, gap, tail = note.rpartition("\n\n")
    lines = tail.removesuffix("\n").split("\n")
    if not gap or not tail.endswith("\n") or len(lines) > MAX_SIGNATURES:
        raise CheckpointError("this is not a signed note", hint="text, a blank line, signature lines")
    return f"{text}\n", lines


def _signature(line: str) -> tuple[str, bytes]:
    name, _, data = line.removeprefix(MARK).partition(" ")
    if not line.startswith(MARK) or not name or len(signature := _base64(data)) < 5:
        raise CheckpointError("a signature line is malformed")
    return name, signature


def _parse_text(text: str) -> Checkpoint:
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(lines):
        raise CheckpointError("a checkpoint begins with origin, size and root, and has no empty line")
    origin, size, root, *extensions = lines
    if not (size.isascii() and size.isdecimal()) or len(size) > 18 or size != str(int(size)):
        raise CheckpointError("the size of a checkpoint is a plain decimal number")
    if len(data := _base64(root)) != 32:
        raise CheckpointError("the root of a checkpoint has 32 bytes")
    return Checkpoint(origin, int(size), data, tuple(extensions))


def _base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CheckpointError("base64 is malformed") from error
    if base64.b64encode(data).decode() != text:
        raise CheckpointError("base64 is not in its one canonical form")
    return data

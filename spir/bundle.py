"""Signed, versioned, immutable sets of documents: from those who write policies to those who run them.

A bundle is a manifest, the documents it lists, and signatures over the
manifest. The manifest holds the SHA-256 of every document, so a signature over
it covers them all; its generation grows with every bundle, so an old one,
however well signed, is never taken for news.

Pure: members come in as bytes and go out as bytes; signing and checking
Ed25519 are functions that the caller brings.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from spir.errors import BundleError
from spir.language.document import canonical
from spir.record.checkpoint import Key

__all__ = ["DOCUMENTS", "MANIFEST", "SIGNATURES", "Bundle", "Manifest", "Part", "Signature", "built", "newer"]

MANIFEST, SIGNATURES, DOCUMENTS = "manifest.json", "signatures.json", "documents/"
FORMAT = "spir-bundle-1"
SUFFIXES = (".yaml", ".yml", ".json")

# What is signed begins with this, so that no signature of another thing is one of a bundle.
CONTEXT = b"spir bundle manifest 1\n"

MAX_PARTS = 10_000
MAX_PART = 16 * 1024 * 1024
MAX_TOTAL = 64 * 1024 * 1024
MAX_SIGNATURES = 16
MAX_NAME = 200
MAX_GENERATION = 2**53 - 1

_HASH = re.compile(r"[0-9a-f]{64}")
_FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[\w][\w .+@-]*(/[\w][\w .+@-]*)*")

Sign = Callable[[bytes], bytes]  # text -> 64 bytes
Verify = Callable[[bytes, bytes, bytes], bool]  # public key (32 bytes), signature, text


@dataclass(frozen=True, slots=True)
class Part:
    """One document: its name, relative and with `/`, and the SHA-256 of its UTF-8 text, in hexadecimal."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`fingerprint` is that of what the documents mean (`Documents.fingerprint`); `previous` that of the bundle
    before, "" for the first. `created` is aware. Parts are sorted by name."""

    generation: int
    created: datetime
    fingerprint: str
    previous: str
    parts: tuple[Part, ...]

    def text(self) -> bytes:
        """The canonical JSON: what is stored, and what signatures are over."""
        data = {
            "format": FORMAT,
            "generation": self.generation,
            "created": self.created.isoformat(),
            "fingerprint": self.fingerprint,
            "previous": self.previous,
            "parts": [{"name": part.name, "sha256": part.sha256} for part in self.parts],
        }
        return canonical(data).encode()

    @property
    def digest(self) -> str:
        """The bundle's own name: two bundles are one if and only if their manifests are."""
        return f"sha256:{hashlib.sha256(self.text()).hexdigest()}"

    @classmethod
    def read(cls, text: bytes) -> Manifest:
        """Read what `text` writes, and nothing else that means the same. Raises BundleError."""
        fields = ("format", "generation", "created", "fingerprint", "previous", "parts")
        data = _object(_json(text, "the manifest"), fields, "the manifest")
        if data["format"] != FORMAT:
            raise BundleError("the bundle is of another format", hint=f"this version reads {FORMAT}")
        found = cls(
            _generation(data["generation"]),
            _moment(data["created"]),
            _matching(data["fingerprint"], _FINGERPRINT, "the fingerprint"),
            "" if data["previous"] == "" else _matching(data["previous"], _FINGERPRINT, "the previous fingerprint"),
            tuple(_parts(data["parts"])),
        )
        if found.text() != text:
            raise BundleError("the manifest is not in its canonical form", hint="build the bundle again")
        return found


@dataclass(frozen=True, slots=True)
class Signature:
    """Ed25519 (RFC 8032) over the manifest; `key` is the first 8 bytes of the SHA-256 of the public key, in hex."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Bundle:
    """A manifest with the very documents that it lists, by name. `read` and `built` are the ways to one."""

    manifest: Manifest
    documents: Mapping[str, str]
    signatures: tuple[Signature, ...] = ()

    @classmethod
    def read(cls, members: Mapping[str, bytes]) -> Bundle:
        """A bundle from the members of an archive. Raises BundleError unless they are those that the manifest lists."""
        if MANIFEST not in members:
            raise BundleError("the archive holds no manifest", hint="is this a bundle? see `spir bundle build`")
        manifest = Manifest.read(members[MANIFEST])
        signatures = tuple(_signatures(members[SIGNATURES])) if SIGNATURES in members else ()
        expected = {MANIFEST, *(f"{DOCUMENTS}{part.name}" for part in manifest.parts)}
        if members.keys() - {SIGNATURES} != expected:
            raise BundleError("the archive does not hold the very documents that its manifest lists")
        return cls(manifest, {part.name: _checked(part, members) for part in manifest.parts}, signatures)

    def members(self) -> dict[str, bytes]:
        """The members of the archive, in the order they are written."""
        listed = [{"key": one.key, "signature": base64.b64encode(one.value).decode()} for one in self.signatures]
        members = {MANIFEST: self.manifest.text()}
        if listed:
            members[SIGNATURES] = canonical(listed).encode()
        return members | {f"{DOCUMENTS}{name}": text.encode() for name, text in self.documents.items()}

    def signed(self, public: bytes, sign: Sign) -> Bundle:
        """The bundle with a signature by the key whose public half is given, in the place of an older one by it."""
        mine = Signature(key_id(public), sign(CONTEXT + self.manifest.text()))
        others = tuple(one for one in self.signatures if one.key != mine.key)
        return replace(self, signatures=(*others, mine))

    def verified(self, trusted: Iterable[Key], verify: Verify) -> Key:
        """The first trusted key that signed it. Raises BundleError if none did, or if one's signature is wrong."""
        found = self.signers(trusted, verify)
        if not found:
            raise BundleError("no trusted key has signed the bundle", hint="see [policy] trusted_keys")
        return found[0]

    def signers(self, trusted: Iterable[Key], verify: Verify) -> tuple[Key, ...]:
        """All trusted keys that signed it. Raises BundleError if one's signature is wrong.

        Signatures of keys that are not trusted are ignored.
        """
        text = CONTEXT + self.manifest.text()
        by = {signature.key: signature.value for signature in self.signatures}
        found = tuple(key for key in trusted if key_id(key.public) in by)
        for key in found:
            if not verify(key.public, by[key_id(key.public)], text):
                raise BundleError(f"the signature of `{key.name}` is wrong", hint="the bundle was changed")
        return found


def built(
    documents: Mapping[str, str], fingerprint: str, generation: int, created: datetime, previous: str = ""
) -> Bundle:
    """A bundle of documents by name, unsigned. Raises BundleError for names and sizes that none may have."""
    ordered = dict(sorted(documents.items()))
    parts = tuple(Part(name, _digest(text)) for name, text in ordered.items())
    manifest = Manifest.read(Manifest(generation, created, fingerprint, previous, parts).text())
    return Bundle.read(Bundle(manifest, ordered).members())


def newer(bundle: Bundle, generation: int) -> None:
    """Raises BundleError unless the bundle's generation is above the highest that has been in force."""
    if bundle.manifest.generation <= generation:
        raise BundleError(
            f"generation {bundle.manifest.generation} is not newer than {generation}",
            hint="build it with a higher generation; `spir bundle rollback` goes back",
        )


def key_id(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:16]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _checked(part: Part, members: Mapping[str, bytes]) -> str:
    data = members[f"{DOCUMENTS}{part.name}"]
    if len(data) > MAX_PART:
        raise BundleError(f"`{part.name}` is too large", hint=f"at most {MAX_PART} bytes")
    if hashlib.sha256(data).hexdigest() != part.sha256:
        raise BundleError(f"`{part.name}` is not the document that the manifest lists", hint="the bundle was changed")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"`{part.name}` is not UTF-8 text") from error


def _parts(data: Any) -> Iterable[Part]:
    if not isinstance(data, list) or not 0 < len(data) <= MAX_PARTS:
        raise BundleError("the manifest lists no documents, or too many", hint=f"at most {MAX_PARTS}")
    before = ""
    for item in data:
        fields = _object(item, ("name", "sha256"), "a part of the manifest")
        name = _name(fields["name"])
        if name <= before:
            raise BundleError("the parts of the manifest are not in order, or one is there twice")
        before = name
        yield Part(name, _matching(fields["sha256"], _HASH, f"the digest of `{name}`"))


def _name(given: Any) -> str:
    """A path that stays where it is put, on any system."""
    if not isinstance(given, str) or len(given) > MAX_NAME or not _NAME.fullmatch(given):
        raise BundleError("a document has a name that none may have", hint="letters, digits, `_.-+@`, and / between")
    if PurePosixPath(given).suffix not in SUFFIXES:
        raise BundleError(f"`{given}` is no document", hint=f"names end in {', '.join(SUFFIXES)}")
    return given


def _signatures(text: bytes) -> Iterable[Signature]:
    data = _json(text, "the list of signatures")
    if not isinstance(data, list) or len(data) > MAX_SIGNATURES:
        raise BundleError("the signatures are no list, or too many", hint=f"at most {MAX_SIGNATURES}")
    for item in data:
        fields = _object(item, ("key", "signature"), "a signature")
        if not all(isinstance(value, str) for value in fields.values()):
            raise BundleError("a signature is malformed")
        try:
            value = base64.b64decode(fields["signature"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise BundleError("a signature is malformed") from error
        yield Signature(fields["key"], value)


def _json(text: bytes, what: str) -> Any:
    if len(text) > MAX_PART:
        raise BundleError(f"{what} is too large", hint=f"at most {MAX_PART} bytes")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{what} is not JSON") from error


def _object(data: Any, fields: tuple[str, ...], what: str) -> Mapping[str, Any]:
    if not isinstance(data, dict) or data.keys() != set(fields):
        raise BundleError(f"{what} is malformed", hint=f"it has {', '.join(fields)}")
    return data


def _matching(given: Any, pattern: re.Pattern[str], what: str) -> str:
    if not isinstance(given, str) or not pattern.fullmatch(given):
        raise BundleError(f"{what} is malformed")
    return given


def _generation(given: Any) -> int:
    if type(given) is not int or not 1 <= given <= MAX_GENERATION:
        raise BundleError("the generation is a whole number from 1", hint=f"at most {MAX_GENERATION}")
    return given


def _moment(given: Any) -> datetime:
    try:
        found = datetime.fromisoformat(given)
    except (TypeError, ValueError) as error:
        raise BundleError("the time of creation is malformed") from error
    if found.tzinfo is None:
        raise BundleError("the time of creation has no offset")
    return found

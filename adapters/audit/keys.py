"""SHELL: the keys of the trail, made at first start, readable by their owner only.

`site.key` makes patients' digests; who has it and the trail can search by
patient. The signing key makes checkpoints; its public half lies beside it,
for those who verify.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from spir.errors import Unavailable
from spir.record.checkpoint import CheckpointError, Key

__all__ = ["public_key", "signing_key", "site_key", "verify"]


def site_key(path: Path) -> bytes:
    """The 32 bytes of the site's digest key; makes the file if there is none. Raises Unavailable."""
    text = _secret(path, lambda: base64.b64encode(secrets.token_bytes(32)) + b"\n")
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error as error:
        raise Unavailable(f"`{path}` is not a site key") from error
    if len(key) != 32:
        raise Unavailable(f"`{path}` is not a site key", hint="it holds 32 bytes in base64")
    return key


def signing_key(path: Path, name: str) -> tuple[Ed25519PrivateKey, Key]:
    """The key that signs checkpoints, and its public half under `name`.

    Makes the PEM file if there is none; writes the public half beside it, as
    PEM (`.pub`) and in the form that witnesses use (`.vkey`). Raises Unavailable.
    """
    text = _secret(path, lambda: _pem(Ed25519PrivateKey.generate()))
    try:
        private = load_pem_private_key(text, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Unavailable(f"`{path}` is not a private key in PEM form without a password") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise Unavailable(f"`{path}` is not an Ed25519 key")
    public = private.public_key()
    key = Key(name, public.public_bytes_raw())
    _publish(path.with_suffix(".pub"), public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    _publish(path.with_suffix(".vkey"), f"{key}\n".encode())
    return private, key


def public_key(text: str, name: str) -> Key:
    """A public key from PEM or from `name+id+base64`; in that form it brings its own name. Raises CheckpointError."""
    if not text.lstrip().startswith("-----BEGIN"):
        return Key.parse(text)
    try:
        found = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CheckpointError("this is not a public key in PEM form") from error
    if not isinstance(found, Ed25519PublicKey):
        raise CheckpointError("the public key is not an Ed25519 key")
    return Key(name, found.public_bytes_raw())


def verify(public: bytes, signature: bytes, text: bytes) -> bool:
    """Check an Ed25519 signature, as `spir.record.checkpoint.opened` wants it."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, text)
    except InvalidSignature:
        return False
    return True


def _pem(private: Ed25519PrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _secret(path: Path, make: Callable[[], bytes]) -> bytes:
    """The bytes of a secret file that only its owner may read; made if it is not there."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _write(path, make(), os.O_EXCL, 0o600)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Unavailable(f"`{path}` can be read by others", hint=f"chmod 600 {path}")
        return path.read_bytes()
    except OSError as error:
        raise Unavailable(f"the key `{path}` cannot be read", hint=str(error)) from error


def _publish(path: Path, data: bytes) -> None:
    try:
        if not path.exists() or path.read_bytes() != data:
            _write(path, data, os.O_TRUNC, 0o644)
    except OSError as error:
        raise Unavailable(f"`{path}` cannot be written", hint=str(error)) from error


def _write(path: Path, data: bytes, flag: int, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flag, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

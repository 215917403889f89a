"""SHELL: a channel's secret, from a file that only its owner may read."""

from __future__ import annotations

import stat
from pathlib import Path

from spir.errors import Unavailable

__all__ = ["read_secret"]


def read_secret(path: Path) -> bytes:
    """The bytes of the file without the line end at its end. Raises Unavailable: unreadable, open to others, empty."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Unavailable(f"`{path}` can be read by others", hint=f"chmod 600 {path}")
        secret = path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise Unavailable(f"the secret `{path}` cannot be read", hint=str(error)) from error
    if not secret:
        raise Unavailable(f"the secret `{path}` is empty", hint="put some 32 random bytes in hexadecimal there")
    return secret

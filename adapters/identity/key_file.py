"""SHELL: an issuer's key set in a local file, read again when the file changes.

A file that becomes unreadable or wrong changes nothing: the keys that were
good stay, and the log says so until it is mended.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from adapters.identity.jwks import Key, read_keys
from spir.errors import DocumentError, Location

__all__ = ["KeyFile"]

log = logging.getLogger("spir.identity")

LOOK_EVERY = 1.0  # seconds


class KeyFile:
    """Call it for the keys of now. Made only if the file is good: raises DocumentError."""

    def __init__(self, path: Path, algorithms: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._algorithms = tuple(algorithms)
        self._clock = clock
        self._looked = clock()
        self._seen = _stamp(path)
        self._keys = self._read()

    def __call__(self) -> Mapping[str, Key]:
        now = self._clock()
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            self._look()
        return self._keys

    def _look(self) -> None:
        seen = _stamp(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._keys = self._read()
        except DocumentError as error:
            log.error("the keys of an issuer stay as they were: %s", error)
        else:
            log.info("the keys of an issuer were read again: %d", len(self._keys))

    def _read(self) -> Mapping[str, Key]:
        try:
            text = self._path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            where = Location(str(self._path))
            raise DocumentError("the key set cannot be read", hint=str(error), location=where) from error
        return read_keys(text, self._algorithms, str(self._path))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

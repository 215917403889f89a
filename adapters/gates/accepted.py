"""SHELL: which policies have passed the validator, so that a restart brings back what ran before it.

An acknowledgement may expire, and a newer version may find more, while the
policies stay as they are. Neither is a reason not to start: what has passed
once is only asked again when something has changed.
"""

from __future__ import annotations

import json
from pathlib import Path

from adapters.bundles import write_whole
from spir.errors import Unavailable

__all__ = ["Accepted"]

KEPT = 50  # fingerprints


class Accepted:
    """Fingerprints in one file, the last one last."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __contains__(self, fingerprint: str) -> bool:
        return fingerprint in self._read()

    def add(self, fingerprint: str) -> None:
        """Raises Unavailable."""
        others = [known for known in self._read() if known != fingerprint]
        write_whole(self._file, json.dumps([*others, fingerprint][-KEPT:]).encode())

    def _read(self) -> list[str]:
        """What cannot be read is as if it were not there: then the validator is asked again."""
        try:
            found = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise Unavailable(f"`{self._file}` cannot be read", hint=str(error)) from error
        return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []

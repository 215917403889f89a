"""SHELL: which policies have passed the validator, so that a restart brings back what ran before it.

An acknowledgement may expire, and a newer version may find more, while the
policies stay as they are. Neither is a reason not to start: what has passed
once is only asked again when something has changed.

A site that starts for the first time brings policies that were there before the
validator. Their warnings stand until they are mended; only new ones must be
acknowledged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.bundles import write_whole
from spir.errors import Unavailable

__all__ = ["Accepted"]

KEPT = 50  # fingerprints


@dataclass(frozen=True, slots=True)
class _Kept:
    """`fingerprints` of what has passed, the last one last; `standing` are marks of warnings."""

    fingerprints: tuple[str, ...] = ()
    standing: frozenset[str] = frozenset()


class Accepted:
    """What has passed, in one file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __contains__(self, fingerprint: str) -> bool:
        return fingerprint in self._read().fingerprints

    @property
    def is_empty(self) -> bool:
        """Nothing has passed here yet: the site starts for the first time."""
        return not self._read().fingerprints

    @property
    def standing(self) -> frozenset[str]:
        return self._read().standing

    def add(self, fingerprint: str, standing: Iterable[str] = ()) -> None:
        """Raises Unavailable."""
        others = [known for known in self._read().fingerprints if known != fingerprint]
        kept = {"fingerprints": [*others, fingerprint][-KEPT:], "standing": sorted(standing)}
        write_whole(self._file, json.dumps(kept).encode())

    def _read(self) -> _Kept:
        """What cannot be understood is as if nothing had passed. Raises Unavailable."""
        try:
            found = json.loads(self._file.read_bytes())
        except FileNotFoundError:
            return _Kept()
        except (OSError, ValueError) as error:
            raise Unavailable(f"`{self._file}` cannot be read", hint=str(error)) from error
        if not isinstance(found, dict):
            return _Kept()
        return _Kept(_texts(found.get("fingerprints")), frozenset(_texts(found.get("standing"))))


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(one for one in found if isinstance(one, str)) if isinstance(found, list) else ()

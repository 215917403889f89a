"""What a session says to the FHIR server behind us and hears from it, without any socket."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from adapters.fhir.interaction import Pairs

__all__ = ["Ask", "Heard", "below", "target"]

_FORBIDDEN = ("..", "//", "\\", "#", " ")


@dataclass(frozen=True, slots=True)
class Ask:
    """`target`: path and query below the server's base, as `Patient/abc` or `?_getpages=1`, escaped."""

    method: str
    target: str
    body: bytes = b""
    if_match: str = ""  # a version id


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer. `location`: the header of that name, "" if there is none."""

    status: int
    body: bytes = b""
    location: str = ""


def target(path: str, query: Pairs = ()) -> str:
    """`path` with its query; names and values are escaped completely."""
    if not query:
        return path
    return f"{path}?" + "&".join(f"{quote(name, safe=':')}={quote(value, safe='')}" for name, value in query)


def below(base: str, url: str) -> str:
    """The part of `url` below `base`, or "" if it is not there, or could be taken for something that is not.

    A link that leads elsewhere is never followed: it would carry our credentials there.
    """
    rest = url.removeprefix(base) if url.startswith(base) else ""
    if rest[:1] not in ("/", "?") or any(part in rest for part in _FORBIDDEN) or not rest.isprintable():
        return ""
    return rest.removeprefix("/")

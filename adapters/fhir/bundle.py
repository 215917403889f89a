"""Searchset Bundles: take the upstream's apart without copying, and build our own.

Of an upstream's Bundle only the resources survive, byte for byte. Everything
around them (links, full URLs, totals, scores, outcomes) is written anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson
from msgspec import UNSET, Raw, Struct, UnsetType

from adapters.fhir import document
from spir.errors import PeerError

__all__ = ["Entry", "Page", "read_page", "resource_type", "searchset"]


class _Entry(Struct):
    resource: Raw | UnsetType = UNSET


class _Bundle(Struct):
    entry: list[_Entry] | UnsetType = UNSET


_decode = msgspec.json.Decoder(_Bundle).decode


@dataclass(frozen=True, slots=True)
class Entry:
    """One resource: its bytes as they came, and what they say."""

    raw: bytes
    resource: Any


@dataclass(frozen=True, slots=True)
class Page:
    """The matches of one page, in order, and the URL of the next one ("" if this is the last)."""

    entries: tuple[Entry, ...]
    next: str


def read_page(body: bytes, type: str) -> Page:
    """Take a searchset apart; what is not a match of `type` is left out. Raises PeerError."""
    try:
        bundle, _ = document.read(body)
        raws = _decode(body).entry
    except (document.Malformed, msgspec.DecodeError, RecursionError):
        raise PeerError("the FHIR server's Bundle cannot be read") from None
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle" or bundle.get("type") != "searchset":
        raise PeerError("the FHIR server did not answer a search with a searchset")
    entries = bundle.get("entry", [])
    pairs = zip(entries, raws or (), strict=True)
    return Page(
        tuple(
            Entry(bytes(raw.resource), entry["resource"])
            for entry, raw in pairs
            if isinstance(raw.resource, Raw) and _is_match(entry, type)
        ),
        _next(bundle),
    )


def resource_type(resource: Any) -> str:
    """The type of a decoded resource; "" for what is none."""
    name = resource.get("resourceType") if isinstance(resource, dict) else None
    return name if isinstance(name, str) else ""


def searchset(
    base: str, self_url: str, found: Iterable[tuple[str, bytes]], next_url: str = "", total: int | None = None
) -> bytes:
    """A searchset of (`Type/id`, resource) under our own `base`; no total unless one is given."""
    links = [{"relation": "self", "url": self_url}]
    if next_url:
        links.append({"relation": "next", "url": next_url})
    head: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
    if total is not None:
        head["total"] = total
    start = orjson.dumps({**head, "link": links})
    root = base.encode()
    entries = b",".join(
        b'{"fullUrl":"%s/%s","resource":%s,"search":{"mode":"match"}}' % (root, place.encode(), raw)
        for place, raw in found
    )
    return b'%s,"entry":[%s]}' % (start[:-1], entries) if entries else start


def _is_match(entry: Any, type: str) -> bool:
    search = entry.get("search", {})
    mode = search.get("mode", "match") if isinstance(search, dict) else ""
    return mode == "match" and resource_type(entry["resource"]) == type


def _next(bundle: Any) -> str:
    links = bundle.get("link")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("relation") == "next" and isinstance(link.get("url"), str):
            return str(link["url"])
    return ""

"""The sandbox FHIR store's memory: every version of every resource. No HTTP here.

A deleted resource keeps its place as a version without content, so that a read
of it answers 410 and not 404 (FHIR R4 http.html#delete).
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from spir.errors import SpirError

__all__ = ["Conflict", "NoRoom", "Resource", "Shelf", "Version"]

Resource: TypeAlias = dict[str, Any]


class Conflict(SpirError):
    """The version given in If-Match is not the current one (HTTP 412)."""


class NoRoom(SpirError):
    """The store is full (HTTP 507)."""


@dataclass(frozen=True, slots=True)
class Version:
    """`number` counts from 1; `resource` is None for a deletion."""

    number: int
    updated: datetime
    resource: Resource | None


class Shelf:
    """Resources by (type, id), at most `capacity` of them. One thread at a time uses it."""

    def __init__(self, capacity: int = 10_000, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._capacity = capacity
        self._now = now
        self._held: dict[tuple[str, str], list[Version]] = {}

    def fill(self, resources: Iterable[Resource]) -> None:
        for resource in resources:
            self.put(resource["resourceType"], resource["id"], resource)

    def current(self, kind: str, id: str) -> Version | None:
        versions = self._held.get((kind, id))
        return versions[-1] if versions else None

    def versions(self, kind: str, id: str) -> tuple[Version, ...]:
        """Oldest first."""
        return tuple(self._held.get((kind, id), ()))

    def all(self, kind: str) -> Iterator[Resource]:
        """The current resources of a type, in the order of their creation."""
        for (held, _), versions in self._held.items():
            if held == kind and versions[-1].resource is not None:
                yield versions[-1].resource

    def create(self, kind: str, resource: Resource) -> Version:
        """Under an id of our own choice, whatever the resource says."""
        return self.put(kind, str(uuid.uuid4()), resource)

    def put(self, kind: str, id: str, resource: Resource, if_match: int | None = None) -> Version:
        """A new version, the first one too. Raises Conflict and NoRoom."""
        number = self._next(kind, id, if_match)
        now = self._now()
        kept = copy.deepcopy(resource)
        stamp = {"versionId": str(number), "lastUpdated": now.isoformat(timespec="milliseconds")}
        kept = {"resourceType": kind, "id": id, **kept, "meta": {**kept.get("meta", {}), **stamp}}
        kept["id"] = id
        return self._add(kind, id, Version(number, now, kept))

    def delete(self, kind: str, id: str, if_match: int | None = None) -> bool:
        """Whether there was anything to delete. Raises Conflict."""
        current = self.current(kind, id)
        if current is None or current.resource is None:
            return False
        self._add(kind, id, Version(self._next(kind, id, if_match), self._now(), None))
        return True

    def _next(self, kind: str, id: str, if_match: int | None) -> int:
        versions = self._held.get((kind, id), [])
        if if_match is not None and (not versions or versions[-1].number != if_match):
            raise Conflict("the resource has another version now", hint="read it again")
        if not versions and len(self._held) >= self._capacity:
            raise NoRoom("the sandbox store is full")
        return len(versions) + 1

    def _add(self, kind: str, id: str, version: Version) -> Version:
        self._held.setdefault((kind, id), []).append(version)
        return version

"""Which elements a mask obligation empties: the `dicom` column of `mappings/fields.toml`.

A path that is not in the table cannot be carried out, and then the row may not
be shown at all. A path with an empty column says that DICOM has no such element.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from adapters import mappings
from spir.model.obligation import Obligation

__all__ = ["Masks", "shipped"]


@dataclass(frozen=True, slots=True)
class Masks:
    """`tags` by path, neutral (`patient.telecom`) or FHIR (`Patient.telecom`)."""

    tags: Mapping[str, frozenset[int]]

    def emptied(self, obligation: Obligation) -> frozenset[int] | None:
        """The tags whose values a mask removes; None if one of its paths is unknown to us."""
        paths = obligation.properties.get("paths")
        if not isinstance(paths, tuple) or any(path not in self.tags for path in paths):
            return None
        return frozenset().union(*(self.tags[path] for path in paths))


@cache
def shipped() -> Masks:
    """The table that comes with the installation; without one, every mask is one we cannot carry out."""
    try:
        rows = mappings.read("fields")["rows"]
    except FileNotFoundError:
        return Masks({})
    return Masks(_by_path(rows))


def _by_path(rows: Iterable[Mapping[str, object]]) -> dict[str, frozenset[int]]:
    found: dict[str, frozenset[int]] = {}
    for row in rows:
        tags = frozenset(int(str(tag), 16) for tag in _listed(row, "dicom"))
        for path in (str(row["path"]), *map(str, _listed(row, "fhir"))):
            found[path] = found.get(path, frozenset()) | tags
    return found


def _listed(row: Mapping[str, object], column: str) -> Iterable[object]:
    value = row.get(column, ())
    return value if isinstance(value, list) else ()

"""The properties of a resource by their names in the vocabulary, each read from where its row says.

What is not there, or not of the kind that a policy could use, is None: missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeAlias

from adapters.fhir.patients import relative
from adapters.fhir.tables import Path, Tables, TypeRow, values

__all__ = ["PROPERTIES", "STRICTEST"]

Staff: TypeAlias = Callable[[str], str | None]
Reader: TypeAlias = Callable[[Any, TypeRow, str, Tables, Staff], Any]

STRICTEST = 5  # the level of a confidentiality that no table knows

_CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_UID_SYSTEM, _UID_PREFIX = "urn:dicom:uid", "urn:oid:"  # FHIR R4 ImagingStudy.identifier


def _category(resource: Any, row: TypeRow, kind: str, tables: Tables, staff: Staff) -> str | None:
    """By the first rule of this vocabulary type that fits."""
    for rule in row.categories:
        if rule.type != kind:
            continue
        found = [value for value in values(resource, rule.path) if isinstance(value, str)] if rule.path else []
        if not rule.path or any(value in rule.codes for value in found):
            return rule.category
        if not rule.codes and found:
            return found[0]
    return None


def _status(resource: Any, row: TypeRow, kind: str, tables: Tables, staff: Staff) -> str | None:
    return _text(resource, row.status)


def _priority(resource: Any, row: TypeRow, kind: str, tables: Tables, staff: Staff) -> str | None:
    return _text(resource, row.priority)


def _created(resource: Any, row: TypeRow, kind: str, tables: Tables, staff: Staff) -> datetime | None:
    """The first of its moments that is one. A date without a time is not, and stays missing."""
    for steps in row.created:
        text = _text(resource, steps)
        if text is not None:
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                return None
            return moment if moment.tzinfo is not None else None
    return None


def _author(resource: Any, row: TypeRow, kind: str, tables: Tables, staff: Staff) -> str | None:
    """The staff id of the author, if there is exactly one whom we know."""
    for steps in row.author:
        texts = {text for text in values(resource, (*steps, "reference")) if isinstance(text, str)}
        if texts:
            local = relative(texts.pop()) if len(texts) == 1 else None
            return staff("/".join(local)) if local else None
    return None


def _study(resource: Any, row: TypeRow, kind: str, tables: Tables, staff: Staff) -> str | None:
    """The Study Instance UID."""
    for given in values(resource, ("identifier",)) if row.fhir == "ImagingStudy" else ():
        if isinstance(given, dict) and given.get("system") == _UID_SYSTEM and isinstance(given.get("value"), str):
            return str(given["value"]).removeprefix(_UID_PREFIX)
    return None


def _labels(resource: Any, row: TypeRow, kind: str, tables: Tables, staff: Staff) -> list[str]:
    """Codes of `meta.security` with the names they have elsewhere. No label is the empty list, which is known."""
    labels: dict[str, None] = {}
    for system, code in _security(resource):
        found = tables.labels.get((system, code))
        labels.update(dict.fromkeys(name for name in (code, found.label if found else "") if name))
    return list(labels)


def _sensitivity(resource: Any, row: TypeRow, kind: str, tables: Tables, staff: Staff) -> int | None:
    """The highest level among the labels."""
    levels = [0]
    for system, code in _security(resource):
        found = tables.labels.get((system, code))
        levels.append(found.level if found else STRICTEST if system == _CONFIDENTIALITY else 0)
    return max(levels) or None


PROPERTIES: Mapping[str, Reader] = MappingProxyType(
    {
        "category": _category,
        "status": _status,
        "priority": _priority,
        "created": _created,
        "author": _author,
        "study": _study,
        "labels": _labels,
        "sensitivity": _sensitivity,
    }
)


def _security(resource: Any) -> list[tuple[str, str]]:
    meta = resource.get("meta")
    if not isinstance(meta, dict) or "security" not in meta:
        return []
    codings = [coding for coding in values(meta, ("security",)) if isinstance(coding, dict)]
    return [(str(coding.get("system")), coding["code"]) for coding in codings if isinstance(coding.get("code"), str)]


def _text(resource: Any, steps: Path) -> str | None:
    found = next(values(resource, steps), None) if steps else None
    return found if isinstance(found, str) else None

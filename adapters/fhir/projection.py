"""`_elements` and `_summary`, done here: the upstream always gives the whole resource, so that it can be judged.

An incomplete resource says so with the tag SUBSETTED (FHIR R4 search.html,
`_summary` and `_elements`), and cannot be written back through this facade.
"""

from __future__ import annotations

from typing import Any

import orjson
from msgspec import Raw

from adapters.fhir.document import join, members
from adapters.fhir.search import View
from adapters.fhir.tables import TypeRow

__all__ = ["project"]

_TAG = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
_ALWAYS = frozenset(("resourceType", "id", "meta", "implicitRules"))


def project(raw: bytes, row: TypeRow, view: View) -> bytes:
    """The resource as `view` asks for it; mandatory elements stay (they are what makes it readable)."""
    if not view.elements and not view.summary:
        return raw
    parts = members(raw)
    kept = {name: part for name, part in parts.items() if _kept(name, row, view)}
    if "resourceType" in kept:
        kept["meta"] = Raw(orjson.dumps(_tagged(kept.get("meta"))))
    return join(kept)


def _kept(name: str, row: TypeRow, view: View) -> bool:
    bare = name.removeprefix("_")
    if bare in _ALWAYS:
        return True
    if view.summary == "data":
        return bare != "text"
    if view.summary == "text":
        return bare == "text" or _named(bare, row.required)
    if view.summary == "true":
        return _named(bare, row.summary | row.required)
    return _named(bare, row.required | frozenset(view.elements))


def _named(name: str, wanted: frozenset[str]) -> bool:
    """Whether `valueQuantity` is among them, as `value[x]`, as `value`, or by its own name."""
    if name in wanted:
        return True
    return any(
        name.startswith(base) and name[len(base) : len(base) + 1].isupper()
        for base in (item.removesuffix("[x]") for item in wanted)
    )


def _tagged(meta: Raw | None) -> Any:
    held = orjson.loads(bytes(meta)) if meta is not None else {}
    tags = held.get("tag")
    return {**held, "tag": [*(tags if isinstance(tags, list) else []), _TAG]}

"""The source that reads attributes of a request: what the request itself says, in the order of
`spir.engine.attributes`. Facts come after it (`spir.engine.compiled.facts`).
"""

from __future__ import annotations

from spir.engine.attributes import is_map, patient_id
from spir.engine.compiled.source import Draft
from spir.model.value import Value

__all__ = ["Reads"]


class Reads:
    """The source lines that read attributes of a request into Python names."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.lines: list[str] = []
        self._bound: dict[str, str] = {}

    def expression(self, path: str) -> str:
        """Python for what the request itself says of the path; None where it says nothing."""
        match path.split("."):
            case ["context", "now"]:
                return "at"
            case ["action", "name"]:
                return "request.action.name"
            case ["resource", "patient", "id"]:
                return f"{self.draft.constant(patient_id)}(request)"
            case ["subject" | "resource" as side, "id" | "type" as name]:
                return f"(request.{side}.{name} or None)"
            case [_]:
                return "None"
            case [dimension, name]:
                return f"{self._get(dimension)}({self.draft.constant(name)})"
            case [dimension, name, *rest]:
                inside, names = self.draft.constant(_inside), self.draft.constant(tuple(rest))
                return f"{inside}({self._get(dimension)}({self.draft.constant(name)}), {names})"
        raise AssertionError(path)

    def _get(self, dimension: str) -> str:
        """The name of the `get` of one dimension's properties, bound once."""
        place = _PLACES.get(dimension, "request.context")
        name = self._bound.get(place)
        if name is None:
            name = self._bound[place] = f"g{len(self._bound)}"
            self.lines.append(f"{name} = {place}.get")
        return name


_PLACES = {
    "subject": "request.subject.properties",
    "resource": "request.resource.properties",
    "action": "request.action.properties",
}


def _inside(value: Value, names: tuple[str, ...]) -> Value:
    for name in names:
        if not is_map(value):
            return None
        value = value.get(name)
    return value

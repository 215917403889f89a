"""The source that reads attributes of a request: what the request itself says, in the order of
`spir.engine.attributes`. Facts come after it (`spir.engine.compiled.facts`).
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from spir.engine.attributes import is_map, patient_id
from spir.engine.compiled.source import Draft
from spir.model.value import Value

__all__ = ["Reads", "is_property"]


class Reads:
    """The source lines that read attributes of a request into Python names.

    `lines` come before all that uses them.
    """

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.lines: list[str] = []
        self._bound: dict[str, str] = {}
        self._maps: dict[str, str] = {}
        self._read: dict[str, str] = {}
        self.resolved: dict[str, str] = {}  # path -> name of the value, or of the Unknown that stands for it

    def expression(self, path: str) -> str:
        """Python for what the request itself says of the path; None where it says nothing."""
        if path in self._read:
            return self._read[path]
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
                return self._within(self._map(dimension, name), rest)
        raise AssertionError(path)

    def ahead(self, paths: Iterable[str]) -> None:
        """Read the plain properties among these paths before anything else, those of a dimension together."""
        by_place: dict[str, list[str]] = {}
        for path in filter(is_property, paths):
            by_place.setdefault(_PLACES.get(path.partition(".")[0], CONTEXT), []).append(path)
        for number, (place, several) in enumerate(by_place.items()):
            self._together(f"p{number}", place, several)

    def _together(self, properties: str, place: str, paths: list[str]) -> None:
        """Python reads a member faster than it asks whether there is one, if there is."""
        constants = [self.draft.constant(path.partition(".")[2]) for path in paths]
        for path in paths:
            self._read[path] = f"v{len(self._read)}"
        known = [(self._read[path], constant) for path, constant in zip(paths, constants, strict=True)]
        self.lines += [
            f"{properties} = {place}",
            "try:",
            *(f"    {name} = {properties}[{constant}]" for name, constant in known),
            f"except {self.draft.constant(KeyError)}:",
            *(f"    {name} = {properties}.get({constant})" for name, constant in known),
        ]

    def _map(self, dimension: str, name: str) -> str:
        """The name of a property that has properties, read once."""
        path = f"{dimension}.{name}"
        known = self._maps.get(path)
        if known is None:
            known = self._maps[path] = f"m{len(self._maps)}"
            self.lines.append(f"{known} = {self._get(dimension)}({self.draft.constant(name)})")
        return known

    def _within(self, known: str, names: list[str]) -> str:
        constant = self.draft.constant
        slowly = f"{constant(_inside)}({known}, {constant(tuple(names))})"
        if len(names) > 1:
            return slowly
        name, kinds = constant(names[0]), (constant(dict), constant(MappingProxyType))
        plain = " or ".join(f"{known}.__class__ is {kind}" for kind in kinds)
        return f"({known}.get({name}) if {plain} else {slowly})"

    def _get(self, dimension: str) -> str:
        """The name of the `get` of one dimension's properties, bound once."""
        place = _PLACES.get(dimension, CONTEXT)
        name = self._bound.get(place)
        if name is None:
            name = self._bound[place] = f"g{len(self._bound)}"
            self.lines.append(f"{name} = {place}.get")
        return name


CONTEXT = "request.context"
_PLACES = {
    "subject": "request.subject.properties",
    "resource": "request.resource.properties",
    "action": "request.action.properties",
}
_NO_PROPERTIES = frozenset(("context.now", "action.name", "subject.id", "subject.type", "resource.id", "resource.type"))


def is_property(path: str) -> bool:
    """Whether it is a property of a dimension, and no part of one."""
    return path.count(".") == 1 and path not in _NO_PROPERTIES


def _inside(value: Value, names: tuple[str, ...]) -> Value:
    for name in names:
        if not is_map(value):
            return None
        value = value.get(name)
    return value

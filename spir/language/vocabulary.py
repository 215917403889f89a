"""The vocabulary: every verb, type, category and attribute that policies may name.

What is not declared is an error when a document is loaded, with the nearest
declared name: a misspelt attribute would otherwise be missing for ever. A
site's own vocabularies add to the default one and never take away from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from spir.errors import DocumentError, Location
from spir.language.nearest import nearest, suggestion
from spir.language.typecheck import Kind, Where, check_types
from spir.language.values.scalars import duration_text
from spir.model.condition import Condition
from spir.model.facts import Join
from spir.model.policy import OperationPattern

__all__ = ["PATIENT", "Declaration", "NativeAction", "Vocabulary"]

# Facts about a patient are the attributes below this one.
PATIENT = "resource.patient."


@dataclass(frozen=True, slots=True)
class Declaration:
    """One attribute. `source` says who knows it; `join` how the parts of a fact make one value."""

    path: str
    kind: Kind
    required: bool = False
    source: str = ""
    max_age: timedelta | None = None
    join: Join | None = None
    description: str = ""
    location: Location | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "type": self.kind.type,
            "enum": list(self.kind.enum),
            "interval": [self.kind.least, self.kind.most] if self.kind.least != self.kind.most else None,
            "required": self.required,
            "source": self.source,
            "max_age": duration_text(self.max_age) if self.max_age is not None else None,
            "join": {"kind": self.join.kind.value, "order": list(self.join.order)} if self.join else None,
        }
        return {key: value for key, value in body.items() if value}


@dataclass(frozen=True, slots=True)
class NativeAction:
    """An action in another system's words, and what it is here.

    `operations` may hold `{parameter}`, which stands for each of that
    parameter's values. `parameters` gives the attribute that a parameter
    bounds, "" for one that is only a part of the operations.
    """

    name: str
    operations: tuple[str, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"operations": list(self.operations), "parameters": dict(self.parameters)}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`types` are the resource types with their categories; `short` are the short spelling's names."""

    verbs: frozenset[str] = frozenset()
    types: Mapping[str, frozenset[str]] = field(default_factory=dict)
    attributes: Mapping[str, Declaration] = field(default_factory=dict)
    short: Mapping[str, str] = field(default_factory=dict)
    actions: Mapping[str, NativeAction] = field(default_factory=dict)

    # -- conditions --

    def check(self, condition: Condition, where: Where = lambda node: None) -> None:
        """Raises ConditionError for an undeclared attribute or a comparison that can never be decided.

        `where` gives the place of a node, for the error.
        """
        check_types(condition, self, where)

    def declared(self, path: str) -> Declaration | None:
        """The attribute's own declaration, or that of the map it lies in."""
        found = self.attributes.get(path)
        while found is None and path.count(".") > 1:
            path = path.rpartition(".")[0]
            above = self.attributes.get(path)
            if above is not None:
                return above if above.kind.type == "map" and not self._has_parts(path) else None
        return found

    def _has_parts(self, path: str) -> bool:
        return any(known.startswith(f"{path}.") for known in self.attributes)

    def kind(self, path: str) -> Kind | None:
        found = self.declared(path)
        if found is None:
            return None
        return found.kind if found.path == path else Kind("")

    def hint(self, path: str) -> str:
        return suggestion(path, self.attributes, "Vocabulary")

    def similar(self, name: str) -> str | None:
        """The full path that a bare name probably stands for: `role` for `subject.role`."""
        if name in self.short:
            return self.short[name]
        ends: dict[str, str] = {}
        for path in self.attributes:
            ends.setdefault(path.rpartition(".")[2], path)
        found = nearest(name, ends)
        return ends[found] if found else None

    def joins(self) -> Mapping[str, Join]:
        """How the facts about a patient are joined, by the attribute's name in the fact store."""
        return MappingProxyType(
            {
                path.removeprefix(PATIENT): declaration.join
                for path, declaration in self.attributes.items()
                if path.startswith(PATIENT) and declaration.join is not None
            }
        )

    def enums(self) -> Mapping[str, tuple[str, ...]]:
        """The values of every attribute that has a closed set of them."""
        return MappingProxyType({path: found.kind.enum for path, found in self.attributes.items() if found.kind.enum})

    # -- operations --

    def check_operation(self, pattern: OperationPattern, location: Location | None) -> None:
        """Raises DocumentError for a verb, type or category that is not declared; `*` always is."""
        if pattern.verb != "*" and pattern.verb not in self.verbs:
            raise _undeclared("verb", pattern.verb, self.verbs, location)
        if pattern.type != "*" and pattern.type not in self.types:
            raise _undeclared("type", pattern.type, self.types, location)
        categories = self.categories(pattern.type)
        if pattern.category != "*" and pattern.category not in categories:
            raise _undeclared(f"category of `{pattern.type}`", pattern.category, categories, location)

    def categories(self, type: str) -> frozenset[str]:
        """Those of a type; of all types for `*`."""
        return frozenset().union(*self.types.values()) if type == "*" else self.types.get(type, frozenset())

    # -- making one of several --

    def extended(self, other: Vocabulary) -> Vocabulary:
        """This one and what `other` adds. Raises DocumentError if an attribute would change its type."""
        for path, declaration in other.attributes.items():
            known = self.attributes.get(path)
            if known is not None and known.kind.type != declaration.kind.type:
                raise DocumentError(
                    f"`{path}` is a {known.kind.type} already and cannot become a {declaration.kind.type}",
                    hint="declare an attribute of another name",
                    location=declaration.location,
                )
        types = {name: self.categories(name) | other.categories(name) for name in [*self.types, *other.types]}
        return replace(
            self,
            verbs=self.verbs | other.verbs,
            types=MappingProxyType(types),
            attributes=MappingProxyType({**self.attributes, **other.attributes}),
            short=MappingProxyType({**self.short, **other.short}),
            actions=MappingProxyType({**self.actions, **other.actions}),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "verbs": sorted(self.verbs),
            "types": {name: sorted(categories) for name, categories in sorted(self.types.items())},
            "attributes": {path: found.to_json() for path, found in sorted(self.attributes.items())},
            "short": dict(self.short),
            "actions": {name: action.to_json() for name, action in sorted(self.actions.items())},
        }


def _undeclared(
    kind: str, name: str, known: frozenset[str] | Mapping[str, object], at: Location | None
) -> DocumentError:
    return DocumentError(
        f"the {kind} `{name[:60]}` is not declared", hint=suggestion(name, known, "Vocabulary"), location=at
    )

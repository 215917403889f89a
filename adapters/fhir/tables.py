"""The mapping tables of this adapter as typed values: what a type is to a policy, what a parameter reads.

Pure: the decoded TOML comes in as an argument. A table that contradicts itself
is refused at start, not at the first request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from spir.errors import DocumentError

__all__ = ["CategoryRule", "KindRule", "LabelRow", "Parameter", "Path", "Tables", "TypeRow", "path", "values"]

Path: TypeAlias = tuple[str, ...]  # element names below the resource: ("name", "family")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A search parameter: its FHIR type and the element paths it reads."""

    name: str
    type: str
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class KindRule:
    """A resource with one of `codes` at `path` is of the vocabulary's `type`."""

    path: Path
    codes: frozenset[str]
    type: str


@dataclass(frozen=True, slots=True)
class CategoryRule:
    """Of a resource of `type`: `category` if one of `codes` is at `path`; the value itself if there are no codes."""

    type: str
    path: Path
    codes: frozenset[str]
    category: str


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One R4 type. `elements` are all names at its top level, choices as `value[x]`."""

    fhir: str
    type: str
    patient: tuple[Path, ...]
    push: str
    directory: bool
    status: Path
    priority: Path
    created: tuple[Path, ...]
    author: tuple[Path, ...]
    modality: tuple[Path, ...]
    kinds: tuple[KindRule, ...]
    categories: tuple[CategoryRule, ...]
    required: frozenset[str]
    summary: frozenset[str]
    elements: frozenset[str]
    parameters: Mapping[str, Parameter]

    @property
    def types(self) -> tuple[str, ...]:
        """Every vocabulary type that a resource of this R4 type can be, its own first."""
        return tuple(dict.fromkeys((self.type, *(rule.type for rule in self.kinds))))


@dataclass(frozen=True, slots=True)
class LabelRow:
    """What a security label's code is called elsewhere ("" nothing), and its level of sensitivity (0: none)."""

    label: str
    level: int


@dataclass(frozen=True, slots=True)
class Tables:
    """`fields`: neutral mask path -> FHIR mask paths. `choices`: base names of choice elements.

    `labels` by (system, code).
    """

    types: Mapping[str, TypeRow]
    fields: Mapping[str, tuple[str, ...]]
    choices: frozenset[str]
    labels: Mapping[tuple[str, str], LabelRow]

    @classmethod
    def build(cls, fhir: Any, fields: Any, search: Any, elements: Any) -> Tables:
        """From the decoded tables of those names. Raises DocumentError for a row that is incomplete or twice there."""
        try:
            types = {row["fhir"]: _row(row, fhir, search, elements) for row in fhir["rows"]}
            paths = {row["path"]: tuple(row["fhir"]) for row in fields["rows"]}
            labels = {(row["system"], row["code"]): LabelRow(row["label"], row["level"]) for row in fhir["labels"]}
        except KeyError as error:
            raise DocumentError(f"a mapping table of FHIR lacks `{error.args[0]}`") from error
        if len(types) != len(fhir["rows"]) or len(paths) != len(fields["rows"]):
            raise DocumentError("a mapping table of FHIR has a row twice")
        return cls(types, paths, frozenset(elements["choices"]), labels)

    def base_name(self, name: str) -> str:
        """`value` for `value`, `value[x]` and `valueQuantity`; every other name as it is."""
        name = name.removesuffix("[x]")
        for length in range(1, len(name)):
            if name[length].isupper() and name[:length] in self.choices:
                return name[:length]
        return name


def path(text: str) -> Path:
    """`name.family` as a path; the empty text is the empty path."""
    return tuple(text.split(".")) if text else ()


def values(node: Any, steps: Path) -> Iterator[Any]:
    """Everything at `steps` below `node`, through arrays; nulls and arrays in arrays (FHIR has none) are left out."""
    if isinstance(node, list):
        for item in node:
            if not isinstance(item, list):
                yield from values(item, steps)
    elif not steps:
        if node is not None:
            yield node
    elif isinstance(node, dict) and steps[0] in node:
        yield from values(node[steps[0]], steps[1:])


def _row(row: Mapping[str, Any], fhir: Any, search: Any, elements: Any) -> TypeRow:
    name = row["fhir"]
    known = elements["types"][name]
    return TypeRow(
        fhir=name,
        type=row["type"],
        patient=_paths(row.get("patient", ())),
        push=row.get("push", ""),
        directory=row.get("directory", False),
        status=path(row.get("status", "")),
        priority=path(row.get("priority", "")),
        created=_paths(row.get("created", ())),
        author=_paths(row.get("author", ())),
        modality=_paths(row.get("modality", ())),
        kinds=tuple(_kind(rule) for rule in fhir["kinds"] if rule["fhir"] == name),
        categories=tuple(_category(rule) for rule in fhir["categories"] if rule["fhir"] == name),
        required=frozenset(known["required"]),
        summary=frozenset(known["summary"]),
        elements=frozenset(known["summary"]) | frozenset(known["other"]),
        parameters=_parameters({**search["common"], **search["types"][name]}),
    )


def _paths(texts: Any) -> tuple[Path, ...]:
    return tuple(path(text) for text in texts)


def _kind(rule: Mapping[str, Any]) -> KindRule:
    return KindRule(path(rule["path"]), frozenset(rule["codes"]), rule["type"])


def _category(rule: Mapping[str, Any]) -> CategoryRule:
    return CategoryRule(rule["type"], path(rule["path"]), frozenset(rule["codes"]), rule.get("category", ""))


def _parameters(rows: Mapping[str, list[str]]) -> dict[str, Parameter]:
    return {name: Parameter(name, kind, _paths(reads)) for name, (kind, *reads) in rows.items()}

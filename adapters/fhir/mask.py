"""Masks: from the paths of an obligation to the places in one resource that have to go.

A path names an element of a type, neutral (`patient.telecom`) or native
(`Patient.telecom`, `Observation.value[x]`, `Patient.contact.telecom`). It hides
the element through arrays at any depth, in contained resources too, with its
`_sibling`, and a choice element in all its forms. The narrative goes whenever
a mask applies, and so do displays and extensions that repeat what was hidden.

A path that cannot be understood is not skipped: it raises, and the caller denies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from adapters.fhir.document import MAX_DEPTH, REMOVE, Cut, Malformed, Remove, merge
from adapters.fhir.tables import Path, Tables
from spir.errors import SpirError
from spir.model.obligation import Obligation

__all__ = ["NOTHING", "Mask", "Unmaskable", "bites", "compile_mask", "covers", "locate", "mask_paths", "written"]

Spec: TypeAlias = dict[str, "Spec | Remove"]

_ELEMENT = re.compile(r"[a-z][A-Za-z0-9]*(\[x\])?")
_REFERENCE = re.compile(r"Reference\(Patient\)\.([a-z]+)")
_INFRASTRUCTURE = frozenset(
    ("meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension")
)
_REFERENCE_MEMBERS = frozenset(("id", "extension", "type", "identifier", "display"))
# Members whose text says what kind of thing it is, not who: it may recur without giving anything away.
_CODED = frozenset(
    (
        "code",
        "contentType",
        "language",
        "rank",
        "reference",
        "relationship",
        "resourceType",
        "status",
        "system",
        "type",
        "unit",
        "url",
        "use",
    )
)
_TELLING = 4  # characters: shorter texts recur by accident


class Unmaskable(SpirError):
    """The policy's: a mask path that this protocol does not know, so that it cannot be carried out."""


@dataclass(frozen=True, slots=True)
class Mask:
    """What to hide: `elements` by R4 type, and `references`: members of any reference to a patient.

    A mask that hides no element here (its path has no FHIR column) still
    applies: the narrative could tell what other protocols hide.
    """

    elements: Mapping[str, Spec]
    references: frozenset[str] = frozenset()
    choices: frozenset[str] = frozenset()
    applies: bool = True

    def __bool__(self) -> bool:
        return self.applies


NOTHING = Mask({}, applies=False)


def mask_paths(obligations: Iterable[Obligation]) -> frozenset[str]:
    """The paths of all mask obligations. Raises Unmaskable where `paths` is not a list."""
    found: set[str] = set()
    for obligation in obligations:
        if obligation.type == "mask":
            paths = obligation.properties.get("paths")
            if not isinstance(paths, tuple) or not paths:
                raise Unmaskable(f"the mask `{obligation.id}` names no paths")
            found.update(str(item) for item in paths)
    return frozenset(found)


def compile_mask(paths: frozenset[str], tables: Tables) -> Mask:
    """The mask of these paths. Raises Unmaskable for one that is in no table."""
    if not paths:
        return NOTHING
    elements: dict[str, Spec] = {}
    references: set[str] = set()
    for given in paths:
        for native in _native(given, tables):
            matched = _REFERENCE.fullmatch(native)
            if matched:
                references.add(matched[1])
            else:
                _enter(elements, native, tables)
    return Mask(elements, frozenset(references), tables.choices)


def covers(mask: Mask, type: str, path: Path, tables: Tables) -> bool:
    """Whether reading the element at `path` of `type` would tell anything of what is hidden."""
    node: Spec | Remove | None = mask.elements.get(type)
    for step in path:
        if node is None or isinstance(node, Remove):
            break
        node = node.get(tables.base_name(step))
    return node is not None


def locate(mask: Mask, resource: Any, raw: bytes) -> Cut:
    """Where the mask hides something of this resource, contained ones included; `raw` is its bytes.

    Raises Malformed where the resource is nested too deeply to be looked through.
    """
    if not mask:
        return {}
    found = written(mask, resource)
    secrets = _texts(resource, found)
    if secrets and _recur(secrets, raw):
        found = merge(found, _repeats(resource, secrets))
    if "text" in resource:
        found["text"] = REMOVE
    for index, inner in _contained(resource):
        if "text" in inner:
            found = merge(found, {"contained": {index: {"text": REMOVE}}})
    return found


def written(mask: Mask, resource: Any) -> Cut:
    """The masked elements themselves, without narrative and repetitions: what a client may not write."""
    found = _elements(mask, resource)
    for index, inner in _contained(resource):
        below = _elements(mask, inner)
        if below:
            found = merge(found, {"contained": {index: below}})
    return merge(found, _references(mask, resource)) if mask.references else found


def bites(where: Cut | Remove) -> bool:
    """Whether anything is taken away there."""
    return isinstance(where, Remove) or any(bites(below) for below in where.values())


def _native(given: str, tables: Tables) -> tuple[str, ...]:
    if given[:1].isupper():
        return (given,)
    if given not in tables.fields:
        raise Unmaskable(f"the mask path `{given}` is in no table", hint="add a row to mappings/fields.toml")
    return tables.fields[given]


def _enter(elements: dict[str, Spec], native: str, tables: Tables) -> None:
    """Add a native path to the tree of its type. A path that is there already as a whole stays whole."""
    type, _, rest = native.partition(".")
    steps = rest.split(".")
    row = tables.types.get(type)
    if row is None or not all(_ELEMENT.fullmatch(step) for step in steps):
        raise Unmaskable(f"`{native}` is not the path of an element we know", hint="write Type.element.element")
    names = [tables.base_name(step) for step in steps]
    if names[0] not in {tables.base_name(name) for name in row.elements} | _INFRASTRUCTURE:
        raise Unmaskable(f"`{type}` has no element `{steps[0]}` that can be hidden")
    node = elements.setdefault(type, {})
    for name in names[:-1]:
        below = node.setdefault(name, {})
        if isinstance(below, Remove):
            return
        node = below
    node[names[-1]] = REMOVE


def _elements(mask: Mask, resource: Any) -> Cut:
    spec = mask.elements.get(str(resource.get("resourceType", "")))
    found = _walk(resource, spec, mask.choices) if spec else {}
    return found if isinstance(found, dict) else {}


def _walk(node: Any, spec: Spec, choices: frozenset[str]) -> Cut:
    """The cuts of `spec` in `node`. Every item of an array on the way is named, hidden content or not.

    FHIR has no arrays in arrays: what hides in one is taken away with it.
    """
    if isinstance(node, list):
        return {
            index: REMOVE if isinstance(item, list) else _walk(item, spec, choices) for index, item in enumerate(node)
        }
    found: Cut = {}
    if isinstance(node, dict):
        for name, below in spec.items():
            for key in _forms(node, name, choices):
                found[key] = below if isinstance(below, Remove) else _walk(node[key], below, choices)
    return found


def _forms(node: Mapping[str, Any], name: str, choices: frozenset[str]) -> list[str]:
    """The members that are this element: itself, every form of a choice, and their `_siblings`."""
    if name not in choices:
        return [key for key in (name, f"_{name}") if key in node]
    size = len(name)
    bare = ((key, key.removeprefix("_")) for key in node)
    return [key for key, text in bare if text == name or (text.startswith(name) and text[size].isupper())]


def _contained(resource: Any) -> list[tuple[int, Any]]:
    inner = resource.get("contained")
    found = enumerate(inner) if isinstance(inner, list) else ()
    return [(index, item) for index, item in found if isinstance(item, dict)]


def _references(mask: Mask, resource: Any) -> Cut:
    """Hide the named members of every reference that is, or may be, to a patient."""
    own = {f"#{item.get('id')}" for _, item in _contained(resource) if item.get("resourceType") == "Patient"}
    names = [key for name in mask.references for key in (name, f"_{name}")]

    def look(node: Mapping[str, Any]) -> Cut:
        return {name: REMOVE for name in names if name in node} if _refers_to_patient(node, own) else {}

    return _sift(resource, look)


def _refers_to_patient(node: Mapping[str, Any], own: set[str]) -> bool:
    target = node.get("reference")
    if isinstance(target, str):
        return "Patient/" in target or target in own or node.get("type") == "Patient"
    if node.get("type", "Patient") != "Patient":
        return False
    logical = "display" in node or isinstance(node.get("identifier"), dict)
    return logical and node.keys() <= _REFERENCE_MEMBERS


def _texts(resource: Any, where: Cut) -> list[str]:
    """The telling texts below what is cut, each as often as it is there."""
    found: list[str] = []
    for key, below in where.items():
        if isinstance(below, Remove):
            found.extend(text for text in _leaves(resource[key], key) if len(text) >= _TELLING)
        elif below:
            found.extend(_texts(resource[key], below))
    return found


def _leaves(node: Any, name: Any) -> Iterator[str]:
    """Every text below `node` that is not a code."""
    waiting = [(name, node)]
    while waiting:
        key, item = waiting.pop()
        if isinstance(item, str):
            if key not in _CODED:
                yield item.casefold()
        elif isinstance(item, dict):
            waiting.extend(item.items())
        elif isinstance(item, list):
            waiting.extend((key, inner) for inner in item)


def _recur(secrets: list[str], raw: bytes) -> bool:
    """Whether a hidden text may be there more often than where it is hidden. Escapes make it a maybe."""
    if b"\\" in raw:
        return True
    text = raw.decode("utf-8").casefold()
    for secret in set(secrets):
        hidden = sum(other.count(secret) for other in secrets)
        if text.count(secret) - text.count(f'"{secret}":') > hidden:  # a member's name tells nothing
            return True
    return False


def _repeats(resource: Any, secrets: list[str]) -> Cut:
    """Displays and extensions that hold a hidden text."""
    hidden = frozenset(secrets)

    def look(node: Mapping[str, Any]) -> Cut:
        found: Cut = {}
        display = node.get("display")
        if isinstance(display, str) and _tells(display.casefold(), hidden):
            found["display"] = REMOVE
        for name in ("extension", "modifierExtension"):
            listed = node.get(name)
            for index, item in enumerate(listed if isinstance(listed, list) else ()):
                if any(_tells(text, hidden) for text in _leaves(item, name)):
                    found = merge(found, {name: {index: REMOVE}})
        return found

    return _sift(resource, look)


def _tells(text: str, hidden: frozenset[str]) -> bool:
    return any(secret in text for secret in hidden)


def _sift(node: Any, look: Callable[[Mapping[str, Any]], Cut], level: int = 0) -> Cut:
    """What `look` cuts out of every object in `node`. Raises Malformed below MAX_DEPTH."""
    if level > MAX_DEPTH:
        raise Malformed("the resource is nested too deeply")
    found = look(node) if isinstance(node, dict) else {}
    for key, item in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(item, (dict, list)):
            below = _sift(item, look, level + 1)
            if below:
                found = merge(found, {key: below})
    return found

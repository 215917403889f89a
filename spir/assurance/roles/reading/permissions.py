"""What permissions are about: the single operations that can be asked for, and which of them a permission covers.

A permission is an operation code or a pattern of them, or an action in another
system's words with its bounds (`retrieve-study;modality=CR,DX`). They overlap,
so they are compared by *points*: an operation, with one value for every
attribute that some permission for it bounds. A set of points is an integer, a
bit for each. A permission that nobody has told us the meaning of is a point of
its own: it can be compared with itself, and not be put into a policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod

from spir.errors import DocumentError, Location, RequestError
from spir.language.kinds.permission_map import read_action
from spir.language.vocabulary import Vocabulary
from spir.model.condition import Attribute, Compare, Literal
from spir.model.policy import OperationPattern

__all__ = ["OTHER", "Catalogue", "Permission", "Point", "bits", "read_permissions"]

# Stands for any value that no permission names; no parameter can be spelt like this.
OTHER = "(any other)"

MOST = 256  # points of one operation


@dataclass(frozen=True, slots=True)
class Permission:
    """`problem` is why it is not known here; then it has no operations."""

    text: str
    operations: tuple[OperationPattern, ...] = ()
    bounds: Mapping[str, frozenset[str]] = field(default_factory=dict)
    problem: DocumentError | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """`category` is "" for none, and for any that no permission names. `unknown` is a permission without meaning."""

    verb: str
    type: str
    category: str = ""
    values: tuple[tuple[str, str], ...] = ()
    unknown: str = ""

    def __str__(self) -> str:
        if self.unknown:
            return self.unknown
        code = ":".join(part for part in (self.verb, self.type, self.category) if part)
        bounds = "".join(f";{path.rpartition('.')[2]}={value}" for path, value in self.values)
        return f"{code}{bounds}"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All points, and by the text of each permission the set of those it covers."""

    points: tuple[Point, ...]
    covers: Mapping[str, int]
    unknown: tuple[Permission, ...] = ()

    def of(self, texts: Iterable[str]) -> int:
        found = 0
        for text in texts:
            found |= self.covers[text]
        return found

    def named(self, points: int) -> tuple[str, ...]:
        return tuple(str(self.points[number]) for number in bits(points))


def bits(number: int) -> Iterator[int]:
    """The places of the bits that are set, from the lowest."""
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low


def read_permissions(texts: Mapping[str, Location], vocabulary: Vocabulary) -> Catalogue:
    """Raises DocumentError only where a permission has so many bounds that its points are too many."""
    permissions = tuple(_permission(text, vocabulary, at) for text, at in texts.items())
    codes = _Codes(permissions, vocabulary)
    numbers: dict[Point, int] = {}
    covers: dict[str, int] = {}
    for permission in permissions:
        covered = dict.fromkeys(codes.points(permission))
        # INVARIANT: an operation has all of its points, or a bound would seem to bound nothing
        for point in codes.beside(covered):
            numbers.setdefault(point, len(numbers))
        covers[permission.text] = sum(1 << numbers[point] for point in covered)
    return Catalogue(tuple(numbers), covers, tuple(one for one in permissions if one.problem))


def _permission(text: str, vocabulary: Vocabulary, at: Location) -> Permission:
    """An action that the vocabulary declares, in whatever case, else an operation code."""
    name, divider, parameters = text.partition(";")
    try:
        if name.lower() in vocabulary.actions or divider:
            operations, bounds = read_action(f"{name.lower()}{divider}{parameters}", vocabulary, at)
            return Permission(text, operations, dict(_bound(one) for one in bounds))
        pattern = OperationPattern.parse(text)
        vocabulary.check_operation(pattern, at)
    except RequestError as error:
        hint = "write verb:type[:category], or declare it under `actions` in a document of kind Vocabulary"
        return Permission(text, problem=DocumentError(error.message, hint=hint, location=at))
    except DocumentError as error:
        return Permission(text, problem=error)
    return Permission(text, (pattern,))


def _bound(condition: object) -> tuple[str, frozenset[str]]:
    match condition:
        case Compare("in", Attribute(path), Literal(tuple() as values)):
            return path, frozenset(map(str, values))
        case _:
            raise AssertionError("a parameter bounds an attribute by a list of values")


class _Codes:
    """The operations that the permissions of one export name, once patterns are written out."""

    def __init__(self, permissions: Iterable[Permission], vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._categories: dict[tuple[str, str], dict[str, None]] = {}
        self._bounds: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
        self._points: dict[tuple[str, str, str], tuple[Point, ...]] = {}
        for permission in permissions:
            for pattern in permission.operations:
                for code in self._pairs(pattern):
                    self._note(code, pattern, permission.bounds)

    def points(self, permission: Permission) -> Iterator[Point]:
        if permission.problem is not None:
            yield Point("", "", unknown=permission.text)
        for pattern in permission.operations:
            for verb, kind in self._pairs(pattern):
                for category in self._categories[verb, kind]:
                    if pattern.category in ("*", category):
                        yield from filter(_within(permission.bounds), self._every(verb, kind, category))

    def beside(self, points: Iterable[Point]) -> Iterator[Point]:
        """The points of the same operations, these among them."""
        for verb, kind, category, unknown in dict.fromkeys((p.verb, p.type, p.category, p.unknown) for p in points):
            yield from (Point("", "", unknown=unknown),) if unknown else self._every(verb, kind, category)

    def _pairs(self, pattern: OperationPattern) -> Iterator[tuple[str, str]]:
        """Verbs and types that a pattern names; where a category is named, only of types that have it."""
        verbs = sorted(self.vocabulary.verbs) if pattern.verb == "*" else (pattern.verb,)
        kinds = tuple(self.vocabulary.types) if pattern.type == "*" else (pattern.type,)
        known = (k for k in kinds if pattern.category == "*" or pattern.category in self.vocabulary.categories(k))
        return product(verbs, tuple(known))

    def _note(self, code: tuple[str, str], pattern: OperationPattern, bounds: Mapping[str, frozenset[str]]) -> None:
        category = "" if pattern.category == "*" else pattern.category
        self._categories.setdefault(code, {})[category] = None
        for path, values in bounds.items():
            self._bounds.setdefault(code, {}).setdefault(path, {}).update(dict.fromkeys(sorted(values)))

    def _every(self, verb: str, kind: str, category: str) -> tuple[Point, ...]:
        key = (verb, kind, category)
        if key not in self._points:
            bounds = self._bounds.get((verb, kind), {})
            if prod(len(values) + 1 for values in bounds.values()) > MOST:
                hint = f"the bounds of `{verb}:{kind}` have too many values together"
                raise DocumentError("these permissions cannot be compared", hint=hint)
            combined = product(*([(path, value) for value in (*values, OTHER)] for path, values in bounds.items()))
            self._points[key] = tuple(Point(verb, kind, category, values) for values in combined)
        return self._points[key]


def _within(bounds: Mapping[str, frozenset[str]]) -> Callable[[Point], bool]:
    if not bounds:
        return lambda point: True
    return lambda point: all(value in bounds[path] for path, value in point.values if path in bounds)

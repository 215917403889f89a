"""The parameters of a template: a subset of JSON Schema, and values read by it.

    parameters:
      departments: {type: array, items: {type: string}, minItems: 1}
      from: {type: string, format: clock, default: "08:00"}

A value is refused, never bent into shape: no text becomes a number, no single
value a list. Formats beyond those of JSON Schema are the small texts of
conditions: `clock` (08:00), `span` (15m, 24h), `network` (10.1.0.0/16).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeAlias

from spir.errors import DocumentError, Location
from spir.language.form import Form, form_of
from spir.language.nodes import Items, Node, Scalar, plain
from spir.language.typecheck import Kind
from spir.language.values.operators import MAX_INT, MIN_INT, Invalid
from spir.language.values.scalars import read_clock, read_duration, read_network, read_pattern, read_timestamp
from spir.model.value import Value

__all__ = ["FORMATS", "KEYWORDS", "PARAMETER_FIELDS", "TYPES", "Argument", "Parameter", "read_parameter"]

MAX_TEXT = 2000
MAX_ITEMS = 1000

_ANNOTATIONS = ("title", "description", "examples")
# type -> the keywords that bound it
KEYWORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "string": ("enum", "pattern", "format", "minLength", "maxLength"),
        "integer": ("enum", "minimum", "maximum"),
        "number": ("enum", "minimum", "maximum"),
        "boolean": (),
        "array": ("items", "minItems", "maxItems", "uniqueItems"),
    }
)
PARAMETER_FIELDS = (
    "type",
    *_ANNOTATIONS[:2],
    *dict.fromkeys(keyword for keywords in KEYWORDS.values() for keyword in keywords),
    "default",
    "examples",
)

# type of JSON Schema -> type of conditions, for scalars
TYPES: Mapping[str, str] = MappingProxyType(
    {"string": "string", "integer": "int", "number": "double", "boolean": "bool"}
)


def _checked(read: Callable[[str], object]) -> Callable[[str], Value]:
    """The text itself, once it was found that it can be read."""

    def take(text: str) -> Value:
        read(text)
        return text

    return take


# format -> type of conditions, reader (raises Invalid), what it should look like
FORMATS: Mapping[str, tuple[str, Callable[[str], Value], str]] = MappingProxyType(
    {
        "date-time": ("timestamp", read_timestamp, "a time as `2026-01-31T08:00:00+08:00`"),
        "span": ("duration", read_duration, "a duration as `15m` or `24h`"),
        "clock": ("string", _checked(read_clock), "a time of day as `08:00`"),
        "network": ("string", _checked(read_network), "a network as `10.1.0.0/16`"),
    }
)


@dataclass(frozen=True, slots=True)
class Argument:
    """A value that was given for a parameter, and what it was read from."""

    value: Value
    node: Node

    @property
    def location(self) -> Location:
        return self.node.location


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What one value, or each member of a list, must keep to. `least` and `most` bound numbers, or lengths of texts."""

    type: str
    format: str = ""
    enum: tuple[Value, ...] = ()
    pattern: str = ""
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Parameter:
    """`schema` is the JSON Schema as it was written; `default` is None where the parameter must be given."""

    name: str
    schema: Mapping[str, Any]
    bounds: _Bounds
    many: bool = False
    least: int = 0
    most: int = MAX_ITEMS
    unique: bool = False
    default: Argument | None = None
    example: Argument | None = None

    @property
    def kind(self) -> Kind:
        """Its type as conditions know it."""
        type = FORMATS[self.bounds.format][0] if self.bounds.format else TYPES[self.bounds.type]
        return Kind(f"list<{type}>" if self.many else type)

    def read(self, node: Node) -> Argument:
        """Raises DocumentError, with the place of the value, for what the schema does not allow."""
        return Argument(self._list(node) if self.many else _scalar(node, f"`{self.name}`", self.bounds), node)

    def _list(self, node: Node) -> Value:
        if not isinstance(node, Items):
            hint = "write [a, b], or [a] for one"
            raise DocumentError(f"`{self.name}` must be a list", hint=hint, location=node.location)
        if not self.least <= len(node.items) <= self.most:
            allowed = f"it takes from {self.least} to {self.most}"
            raise DocumentError(f"`{self.name}` has {len(node.items)} members", hint=allowed, location=node.location)
        values = tuple(_scalar(item, f"each of `{self.name}`", self.bounds) for item in node.items)
        if self.unique and len(set(values)) < len(values):
            raise DocumentError(f"`{self.name}` has a member twice", location=node.location)
        return values


# -- values ----------------------------------------------------------------------------------


def _scalar(node: Node, what: str, bounds: _Bounds) -> Value:
    if not isinstance(node, Scalar):
        raise DocumentError(f"{what} must be a {bounds.type}", location=node.location)
    try:
        value = _READERS[bounds.type](node.value, bounds)
    except (Invalid, OverflowError) as error:
        raise DocumentError(
            f"{what} must be {_form(bounds)}", hint=_hint(node, bounds), location=node.location
        ) from error
    if bounds.enum and value not in bounds.enum:
        known = ", ".join(str(item) for item in bounds.enum)
        raise DocumentError(f"{what} is none of the values it may have", hint=f"known: {known}", location=node.location)
    return value


def _form(bounds: _Bounds) -> str:
    if bounds.format:
        return FORMATS[bounds.format][2]
    article = "an" if bounds.type == "integer" else "a"
    return f"{article} {bounds.type}{_limits(bounds)}"


def _limits(bounds: _Bounds) -> str:
    if bounds.pattern:
        return f" that matches `{bounds.pattern}`"
    length = " of a length" if bounds.type == "string" else ""
    ends = [f"{word} {end:g}" for word, end in (("from", bounds.least), ("to", bounds.most)) if end is not None]
    return f"{length} {' '.join(ends)}" if ends else ""


def _hint(node: Scalar, bounds: _Bounds) -> str:
    quoted = bounds.type == "string" and not isinstance(node.value, str) and node.value is not None
    return "put it in quotes" if quoted else ""


def _text(value: object, bounds: _Bounds) -> Value:
    if not isinstance(value, str) or not _inside(len(value), bounds) or len(value) > MAX_TEXT:
        raise Invalid
    if bounds.pattern and read_pattern(bounds.pattern).search(value) is None:
        raise Invalid
    return FORMATS[bounds.format][1](value) if bounds.format else value


def _integer(value: object, bounds: _Bounds) -> Value:
    if not isinstance(value, int) or isinstance(value, bool) or not MIN_INT <= value <= MAX_INT:
        raise Invalid
    return _within(value, bounds)


def _number(value: object, bounds: _Bounds) -> Value:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise Invalid
    return _within(float(value), bounds)


def _within(value: int | float, bounds: _Bounds) -> Value:
    if not _inside(value, bounds):
        raise Invalid
    return value


def _inside(value: float, bounds: _Bounds) -> bool:
    return (bounds.least is None or bounds.least <= value) and (bounds.most is None or value <= bounds.most)


def _truth(value: object, bounds: _Bounds) -> Value:
    if not isinstance(value, bool):
        raise Invalid
    return value


_Reader: TypeAlias = Callable[[object, _Bounds], Value]
_READERS: Mapping[str, _Reader] = MappingProxyType(
    {"string": _text, "integer": _integer, "number": _number, "boolean": _truth}
)


# -- schemas ---------------------------------------------------------------------------------


def read_parameter(name: str, node: Node) -> Parameter:
    """Raises DocumentError for a schema outside of the subset, or whose own default it does not allow."""
    what = f"the parameter `{name[:60]}`"
    form = _keywords(node, what, (*_ANNOTATIONS, "default"), KEYWORDS)
    many = form.text("type") == "array"
    item = _keywords(form.node("items"), f"`items` of {what}", (), _SCALARS) if many else form
    least, most = _ends(form, "minItems", "maxItems")
    found = Parameter(
        name,
        MappingProxyType(plain(form.fields)),
        _bounds(item),
        many,
        int(least or 0),
        min(int(MAX_ITEMS if most is None else most), MAX_ITEMS),
        form.truth("uniqueItems", False),
    )
    return _with_values(found, form)


_SCALARS: Mapping[str, tuple[str, ...]] = MappingProxyType({name: KEYWORDS[name] for name in TYPES})


def _keywords(node: Node, what: str, always: tuple[str, ...], by_type: Mapping[str, tuple[str, ...]]) -> Form:
    form = form_of(node, what)
    type = form.choice("type", {name: name for name in by_type})
    return form_of(node, f"{what} of type {type}", ("type", *always, *by_type[type]))


def _with_values(found: Parameter, form: Form) -> Parameter:
    """With its default and its first example, all of them read by the schema itself."""
    for key in ("title", "description"):
        form.text(key, "")
    examples = [found.read(node) for node in form.items("examples")]
    default = found.read(form.node("default")) if "default" in form else None
    return replace(found, default=default, example=examples[0] if examples else default)


def _bounds(form: Form) -> _Bounds:
    type = form.text("type")
    least, most = _ends(form, *(("minLength", "maxLength") if type == "string" else ("minimum", "maximum")))
    format = form.choice("format", _FORMAT_NAMES) if "format" in form else ""
    bounds = _Bounds(type, format, (), _pattern(form), least, most)
    enum = tuple(_scalar(node, "each of `enum`", bounds) for node in form.items("enum"))
    if "enum" in form and not enum:
        raise form.error("`enum` is empty", "enum")
    return replace(bounds, enum=enum)


_FORMAT_NAMES = MappingProxyType({name: name for name in FORMATS})


def _pattern(form: Form) -> str:
    found = form.text("pattern", "")
    try:
        read_pattern(found)
    except Invalid as error:
        raise form.error("`pattern` is no RE2 expression", "pattern") from error
    return found


def _ends(form: Form, low: str, high: str) -> tuple[float | None, float | None]:
    least, most = _number_at(form, low), _number_at(form, high)
    if least is not None and most is not None and least > most:
        raise form.error(f"`{low}` is above `{high}`", low)
    return least, most


def _number_at(form: Form, key: str) -> float | None:
    if key not in form:
        return None
    if key not in ("minimum", "maximum"):
        count = form.whole(key)
        if not 0 <= count <= MAX_ITEMS * MAX_TEXT:
            raise form.error(f"`{key}` is out of range", key)
        return count
    node = form.node(key)
    if isinstance(node, Scalar) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return node.value
    raise form.error(f"`{key}` must be a number", key)

"""Read a document of kind Vocabulary."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from types import MappingProxyType

from spir.errors import DocumentError, RequestError
from spir.language.cel import RESERVED, ROOTS
from spir.language.form import Form, choice_of, form_of, text_of
from spir.language.nodes import Node, Scalar
from spir.language.typecheck import Kind
from spir.language.values.operators import Invalid
from spir.language.values.scalars import read_duration
from spir.language.vocabulary import Declaration, NativeAction, Vocabulary
from spir.model.facts import Join, Joining
from spir.model.policy import OperationPattern

__all__ = ["ATTRIBUTE_FIELDS", "FIELDS", "TYPES", "read_vocabulary"]

FIELDS = ("spir", "kind", "name", "version", "description", "verbs", "types", "attributes", "short", "actions")
ATTRIBUTE_FIELDS = ("type", "enum", "interval", "required", "source", "max_age", "join", "description")
ACTION_FIELDS = ("operations", "parameters")
PLAIN = ("string", "int", "double", "bool", "bytes", "timestamp", "duration")
TYPES = (*PLAIN, *(f"list<{name}>" for name in PLAIN), "map", "list<map>")

_WORD = re.compile(r"[a-z][a-z0-9_-]{0,59}", re.ASCII)
_PATH = re.compile(r"(subject|resource|action|context)(\.[A-Za-z_][A-Za-z0-9_]*){1,6}", re.ASCII)
_PLACE = re.compile(r"\{[a-z][a-z0-9_-]*\}", re.ASCII)
_SHORT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,59}", re.ASCII)
_JOINS = MappingProxyType({kind.value: kind for kind in Joining if kind is not Joining.PRIORITY})


def read_vocabulary(form: Form) -> Vocabulary:
    """What this one document declares. Raises DocumentError."""
    attributes = {path: _declaration(path, form, node) for path, node in _entries(form, "attributes")}
    return Vocabulary(
        frozenset(_words(form, "verbs")),
        MappingProxyType({name: _categories(name, form, node) for name, node in _entries(form, "types")}),
        MappingProxyType(attributes),
        MappingProxyType({name: _short(name, form, node) for name, node in _entries(form, "short")}),
        MappingProxyType({name: _action(name, form, node) for name, node in _entries(form, "actions")}),
    )


def _entries(form: Form, key: str) -> Iterator[tuple[str, Node]]:
    if key in form:
        yield from form_of(form.node(key), f"`{key}`")


def _words(form: Form, key: str) -> Iterator[str]:
    for node in form.items(key):
        yield _word(text_of(node, f"each of `{key}`"), node)


def _word(text: str, node: Node) -> str:
    if not _WORD.fullmatch(text):
        hint = "small letters, digits, _ and -"
        raise DocumentError(f"`{text[:60]}` is no word of a vocabulary", hint=hint, location=node.location)
    return text


def _categories(name: str, form: Form, node: Node) -> frozenset[str]:
    types = form_of(form.node("types"), "`types`")
    _word(name, node)
    return frozenset(_words(types, name))


def _declaration(path: str, form: Form, node: Node) -> Declaration:
    place = form_of(form.node("attributes"), "`attributes`").fields.keys[path]
    if not _PATH.fullmatch(path):
        hint = "begin with subject, resource, action or context, as subject.role"
        raise DocumentError(f"`{path[:80]}` is no attribute path", hint=hint, location=place)
    entry = form_of(node, f"the attribute `{path}`", ATTRIBUTE_FIELDS)
    return Declaration(
        path,
        _kind(entry),
        entry.truth("required", False),
        entry.text("source", ""),
        _max_age(entry),
        _join(entry),
        entry.text("description", ""),
        place,
    )


def _kind(entry: Form) -> Kind:
    type = entry.choice("type", {name: name for name in TYPES})
    enum = entry.texts("enum")
    if enum and type not in ("string", "list<string>"):
        raise entry.error("only texts can have an `enum`", "enum", "bound numbers with `interval: [least, most]`")
    least, most = _interval(entry, type)
    return Kind(type, enum, least, most)


def _interval(entry: Form, type: str) -> tuple[float | None, float | None]:
    if "interval" not in entry:
        return None, None
    bounds = [node.value if isinstance(node, Scalar) else "" for node in entry.items("interval")]
    if type not in ("int", "double") or len(bounds) != 2:
        raise entry.error("`interval` is [least, most] of a number", "interval", "null leaves an end open")
    least, most = (_bound(entry, bound) for bound in bounds)
    if least is not None and most is not None and least >= most:
        raise entry.error("`interval` is empty", "interval")
    return least, most


def _bound(entry: Form, value: object) -> float | None:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    raise entry.error("the ends of `interval` must be numbers", "interval", "null leaves an end open")


def _max_age(entry: Form) -> timedelta | None:
    if "max_age" not in entry:
        return None
    try:
        return read_duration(entry.text("max_age"))
    except Invalid as error:
        raise entry.error("`max_age` must be a duration", "max_age", "as 15m or 24h") from error


def _join(entry: Form) -> Join | None:
    """`join: union`, or `join: {priority: [first, second]}`."""
    if "join" not in entry:
        return None
    node = entry.node("join")
    if isinstance(node, Scalar):
        return Join(choice_of(node, "`join`", _JOINS))
    order = form_of(node, "`join`", ("priority",)).texts("priority")
    if not order:
        raise entry.error("`priority` needs an order", "join", "as [in-progress, finished]")
    return Join(Joining.PRIORITY, order)


def _short(name: str, form: Form, node: Node) -> str:
    path = text_of(node, f"the short name `{name[:60]}`")
    if not _SHORT.fullmatch(name) or name in RESERVED or name in ROOTS:
        raise DocumentError(f"`{name[:60]}` cannot be a short name", location=node.location)
    if not _PATH.fullmatch(path):
        raise DocumentError(f"`{path[:80]}` is no attribute path", location=node.location)
    return path


def _action(name: str, form: Form, node: Node) -> NativeAction:
    _word(name, node)
    entry = form_of(node, f"the action `{name}`", ACTION_FIELDS)
    operations = entry.texts("operations")
    if not operations:
        raise entry.error(f"the action `{name}` has no operations")
    for operation in operations:
        _check_pattern(entry, operation)
    parameters: dict[str, str] = {}
    for key, value in _entries(entry, "parameters"):
        empty = isinstance(value, Scalar) and value.value == ""
        parameters[key] = "" if empty else text_of(value, f"the parameter `{key[:60]}`")
        if not empty and not _PATH.fullmatch(parameters[key]):
            raise DocumentError(f"`{parameters[key][:80]}` is no attribute path", location=value.location)
    return NativeAction(name, operations, MappingProxyType(parameters))


def _check_pattern(entry: Form, operation: str) -> None:
    try:
        OperationPattern.parse(_PLACE.sub("x", operation))
    except RequestError as error:
        raise entry.error(error.message, "operations", error.hint) from error

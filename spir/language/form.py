"""Reading a document as a form: known fields only, each of its type, every error with its place."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from spir.errors import DocumentError, Location
from spir.language.nearest import suggestion
from spir.language.nodes import Fields, Items, Node, Scalar
from spir.language.values.operators import Invalid
from spir.language.values.scalars import read_timestamp

__all__ = ["Form", "choice_of", "form_of", "items_of", "moment_of", "text_of"]

T = TypeVar("T")

_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?",
    re.ASCII,
)
_JURISDICTION = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,119}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of one mapping; `what` names it in messages."""

    what: str
    fields: Fields

    @property
    def location(self) -> Location:
        return self.fields.location

    def __contains__(self, key: str) -> bool:
        return key in self.fields.entries

    def __iter__(self) -> Iterator[tuple[str, Node]]:
        return iter(self.fields.entries.items())

    def only(self, allowed: Collection[str]) -> Form:
        """The form itself. Raises DocumentError if it has a field that is not allowed."""
        for key in self.fields.entries:
            if key not in allowed:
                message = f"{self.what} has no field `{key[:60]}`"
                raise DocumentError(message, hint=suggestion(key, allowed), location=self.fields.keys[key])
        return self

    def error(self, message: str, key: str = "", hint: str = "") -> DocumentError:
        """At the value of `key` if it is there, else where the form begins."""
        node = self.fields.entries.get(key)
        return DocumentError(message, hint=hint, location=node.location if node else self.location)

    def node(self, key: str) -> Node:
        """Raises DocumentError if the field is missing."""
        node = self.fields.entries.get(key)
        if node is None:
            raise self.error(f"{self.what} has no `{key}`")
        return node

    def text(self, key: str, default: str | None = None) -> str:
        """Text that is not empty. Without a default the field must be there."""
        if default is not None and key not in self:
            return default
        return text_of(self.node(key), f"`{key}`")

    def name(self, key: str, default: str | None = None) -> str:
        """Letters, digits and `._:/+-`, at most 120."""
        found = self.text(key, default)
        if not _IDENTIFIER.fullmatch(found) and found != default:
            raise self.error(f"`{key}` is no name", key, "letters, digits and . _ : / + - may stand in it")
        return found

    def whole(self, key: str) -> int:
        node = self.node(key)
        if isinstance(node, Scalar) and isinstance(node.value, int) and not isinstance(node.value, bool):
            return node.value
        raise self.error(f"`{key}` must be a whole number", key)

    def truth(self, key: str, default: bool) -> bool:
        if key not in self:
            return default
        node = self.node(key)
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        raise self.error(f"`{key}` must be true or false", key)

    def choice(self, key: str, choices: Mapping[str, T], default: T | None = None) -> T:
        """One of the names of `choices`; what it stands for."""
        if default is not None and key not in self:
            return default
        return choice_of(self.node(key), f"`{key}`", choices)

    def items(self, key: str) -> tuple[Node, ...]:
        """The nodes of a list; none if the field is not there."""
        return items_of(self.node(key), f"`{key}`") if key in self else ()

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(text_of(node, f"each of `{key}`") for node in self.items(key))

    def form(self, key: str, allowed: Collection[str]) -> Form:
        return form_of(self.node(key), f"`{key}`", allowed)

    def moment(self, key: str) -> datetime | None:
        """An RFC 3339 time; None if the field is not there."""
        return moment_of(self.node(key), f"`{key}`") if key in self else None

    def version(self, key: str, default: str | None = None) -> str:
        found = self.text(key, default)
        if not _SEMVER.fullmatch(found):
            raise self.error(f"`{key}` must be a semantic version", key, "as 1.2.0, in quotes if it has two parts")
        return found

    def jurisdiction(self, key: str, default: str | None = None) -> str:
        """A path as `cn/zj/hospital-a`; the empty text is everywhere."""
        node = self.fields.entries.get(key)
        if isinstance(node, Scalar) and node.value == "":
            return ""
        found = self.text(key, default)
        if found and not _JURISDICTION.fullmatch(found):
            raise self.error(
                f"`{key}` must be a path of names", key, "as cn/zj/hospital-a, without a slash at its ends"
            )
        return found


def form_of(node: Node, what: str, allowed: Collection[str] | None = None) -> Form:
    """Raises DocumentError if it is no mapping, or has a field that is not allowed (None: any field)."""
    if not isinstance(node, Fields):
        raise DocumentError(f"{what} must be a mapping", hint="write `key: value` lines", location=node.location)
    form = Form(what, node)
    return form if allowed is None else form.only(allowed)


def text_of(node: Node, what: str) -> str:
    if isinstance(node, Scalar):
        value = node.value
        if isinstance(value, str) and value and not value.isspace():
            return value
    hint = "put it in quotes" if isinstance(node, Scalar) and node.value not in (None, "") else ""
    raise DocumentError(f"{what} must be text", hint=hint, location=node.location)


def items_of(node: Node, what: str) -> tuple[Node, ...]:
    if not isinstance(node, Items):
        raise DocumentError(f"{what} must be a list", hint="write [a, b] or `- a` lines", location=node.location)
    return node.items


def choice_of(node: Node, what: str, choices: Mapping[str, T]) -> T:
    found = text_of(node, what)
    if found not in choices:
        raise DocumentError(f"{what} cannot be `{found[:60]}`", hint=suggestion(found, choices), location=node.location)
    return choices[found]


def moment_of(node: Node, what: str) -> datetime:
    try:
        return read_timestamp(text_of(node, what))
    except Invalid as error:
        hint = "as 2026-01-31T08:00:00+08:00, always with its zone"
        raise DocumentError(f"{what} must be a time", hint=hint, location=node.location) from error

"""Read the obligations of a policy: known types only, each with its own properties."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from spir.errors import DocumentError
from spir.language.form import Form, form_of
from spir.language.nearest import suggestion
from spir.language.nodes import Node
from spir.model.obligation import KNOWN_TYPES, PROFILES, Obligation
from spir.model.value import Value

__all__ = ["PROPERTIES", "read_obligation"]

Properties = Mapping[str, Value]

PROPERTIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mask": ("paths",),
        "deidentify": ("profile",),
        "limit": ("count", "days", "bytes"),
        "notify": ("channel", "priority"),
        "trigger": ("workflow", "urgency"),
        "audit": ("level",),
    }
)

_ELEMENT = re.compile(r"[A-Za-z][A-Za-z0-9]*(\.[A-Za-z][A-Za-z0-9_-]*(\[[A-Za-z0-9]+\])?)+", re.ASCII)


def read_obligation(node: Node, policy: str) -> Obligation:
    """An obligation of the policy of this id. Its own id, if it has none, is made of that and its type."""
    form = form_of(node, "the obligation")
    kind = form.choice("type", {name: name for name in KNOWN_TYPES})
    allowed = ("id", "type", *PROPERTIES[kind])
    for key in form.fields.entries:
        if key not in allowed:
            message = f"an obligation of type `{kind}` has no property `{key[:60]}`"
            raise DocumentError(message, hint=suggestion(key, allowed), location=form.fields.keys[key])
    return Obligation(form.name("id", f"{policy}-{kind}"), kind, MappingProxyType(dict(_READERS[kind](form))))


def _mask(form: Form) -> Properties:
    paths = form.texts("paths")
    if not paths:
        raise form.error("a mask needs `paths`", "paths", 'as ["patient.telecom"]')
    for path in paths:
        if not _ELEMENT.fullmatch(path):
            raise form.error(
                f"`{path[:80]}` is no path of an element", "paths", "as patient.telecom or Patient.telecom"
            )
    return {"paths": paths}


def _deidentify(form: Form) -> Properties:
    return {"profile": form.choice("profile", {name: name for name in PROFILES})}


def _limit(form: Form) -> Properties:
    found = {key: form.whole(key) for key in PROPERTIES["limit"] if key in form}
    if not found:
        raise form.error("a limit needs `count`, `days` or `bytes`")
    for key, number in found.items():
        if number < 0:
            raise form.error(f"`{key}` must not be negative", key)
    return found


def _named(*keys: str) -> Callable[[Form], Properties]:
    """Properties that are names; the first of them must be there."""

    def read(form: Form) -> Properties:
        return {key: form.name(key) for key in keys if key in form or key == keys[0]}

    return read


_READERS: Mapping[str, Callable[[Form], Properties]] = MappingProxyType(
    {
        "mask": _mask,
        "deidentify": _deidentify,
        "limit": _limit,
        "notify": _named("channel", "priority"),
        "trigger": _named("workflow", "urgency"),
        "audit": _named("level"),
    }
)

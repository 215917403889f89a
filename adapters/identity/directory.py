"""The directory: people and systems of the site, with their names elsewhere. Pure: text in.

One YAML file, a list of entries::

    - id: dr.li
      type: person                 # person (if not said) or system
      properties: {role: physician, department: cardiology, permissions: ["read:patient:allergy"]}
      hl7v2: ["1001"]              # staff ids in XCN fields; of a system, MSH-3 or MSH-3|MSH-4
      ae_titles: [VIEWER1]
      tokens: [dr.li]              # `sub` of tokens; issuer|sub where there are several issuers
      certificates: ["sha256:...", "spiffe://...", "CN=..."]

A name belongs to one entry only. What must come from verified credentials
(scopes, certificate, spiffe) cannot be written here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from adapters.identity.certificate import canonical_name
from adapters.identity.place import is_ae_title
from spir.errors import DocumentError
from spir.language.form import Form, form_of, items_of, text_of
from spir.language.nodes import Node, Scalar, plain, read_nodes
from spir.model.request import EMPTY, Entity
from spir.model.value import Value, freeze

__all__ = ["Directory"]

TYPES = {"person": "person", "system": "system"}
FIELDS = ("id", "type", "properties", "hl7v2", "ae_titles", "tokens", "certificates")
VERIFIED = ("scopes", "certificate", "spiffe")

_AUTHORITIES: Mapping[str, Callable[[str], str | None]] = {
    "hl7v2": lambda text: text if text.strip() == text else None,
    "ae_titles": lambda text: text if is_ae_title(text) else None,
    "tokens": lambda text: text if text.isprintable() else None,
    "certificates": canonical_name,
}


@dataclass(frozen=True, slots=True)
class Directory:
    """Entities by id, and ids by (authority, name); authorities are hl7v2, ae_titles, tokens, certificates."""

    entities: Mapping[str, Entity] = field(default_factory=dict)
    names: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, file: str) -> Directory:
        """Raises DocumentError with file, line and column."""
        entities: dict[str, Entity] = {}
        names: dict[tuple[str, str], str] = {}
        for node in _entries(text, file):
            form = form_of(node, "an entry", FIELDS)
            entity = _entity(form)
            if entity.id in entities:
                raise form.error(f"`{entity.id}` is there twice", "id")
            entities[entity.id] = entity
            for authority, place, name in _names(form):
                if (owner := names.setdefault((authority, name), entity.id)) != entity.id:
                    message = f"this name in `{authority}` belongs to `{owner}` already"
                    raise DocumentError(message, location=place.location)
        return cls(MappingProxyType(entities), MappingProxyType(names))

    def staff(self, authority: str, name: str) -> str | None:
        """The id behind a name elsewhere."""
        return self.names.get((authority, name))

    def find(self, authority: str, name: str) -> Entity | None:
        id = self.names.get((authority, name))
        return None if id is None else self.entities[id]


def _entries(text: str, file: str) -> tuple[Node, ...]:
    nodes = read_nodes(text, file)
    if len(nodes) > 1:
        raise DocumentError("the directory is one document", location=nodes[1].location)
    return items_of(nodes[0], "the directory") if nodes else ()


def _entity(form: Form) -> Entity:
    kind = form.choice("type", TYPES, "person")
    return Entity(kind, form.name("id"), _properties(form) if "properties" in form else EMPTY)


def _properties(form: Form) -> Mapping[str, Value]:
    given = form_of(form.node("properties"), "`properties`")
    for key, node in given:
        if key in VERIFIED:
            raise given.error(f"`{key}` cannot be written here", key, "it comes from a verified token or certificate")
        if key == "permissions":
            given.texts(key)
        if isinstance(node, Scalar) and node.value is None:
            raise given.error(f"`{key}` has no value", key)
    properties = freeze(plain(given.fields))
    assert isinstance(properties, Mapping)
    return properties


def _names(form: Form) -> list[tuple[str, Node, str]]:
    found = []
    for authority, canonical in _AUTHORITIES.items():
        for node in form.items(authority):
            name = canonical(text_of(node, f"each of `{authority}`"))
            if name is None:
                raise DocumentError(f"this cannot be a name in `{authority}`", location=node.location)
            found.append((authority, node, name))
    return found

"""Templates: policies with parameters, found by id and range of versions, and turned into policies.

A template's digest is over what it means (canonical JSON of its parts, its
condition as the printer writes it), so that comments and layout may change and
nothing else. Values are bound after parsing (see `spir.language.binding`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from spir.errors import BundleError, DocumentError, Location
from spir.language.binding import bound
from spir.language.canonical import canonical
from spir.language.nearest import suggestion
from spir.language.nodes import Fields, Items, Node, Scalar, plain
from spir.language.parameters import Argument, Parameter
from spir.language.printer import to_cel
from spir.language.versions import Range, order
from spir.language.vocabulary import Vocabulary
from spir.language.walk import nodes
from spir.model.condition import Condition, Literal
from spir.model.policy import ALWAYS, Emergency, Kind, OnMissing, OperationPattern, Validity

__all__ = [
    "Catalogue",
    "Found",
    "Signature",
    "Template",
    "Use",
    "condition_of",
    "filled",
    "find",
    "mentions",
    "no_parameter",
    "values_of",
]

# What is signed begins with this, so that no signature of another thing is one of a template.
CONTEXT = b"spir template 1\n"

Verify = Callable[[bytes, bytes, bytes], bool]  # public key (32 bytes), signature, text


@dataclass(frozen=True, slots=True)
class Signature:
    """Ed25519 (RFC 8032) over the digest; `key` is the first 8 bytes of the SHA-256 of the public key, in hex."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Template:
    """`operations` may be empty: then each policy made from it names its own. Texts are by language, `en` and `zh`.

    `obligations` are as they were written: values may stand in them for parameters.
    """

    id: str
    version: str
    kind: Kind
    operations: tuple[OperationPattern, ...]
    when: Condition
    parameters: Mapping[str, Parameter]
    obligations: tuple[Node, ...] = ()
    valid: Validity = ALWAYS
    emergency: Emergency = Emergency.NEVER
    on_missing: OnMissing = OnMissing.DENY
    title: Mapping[str, str] = field(default_factory=dict)
    description: Mapping[str, str] = field(default_factory=dict)
    cert_fingerprint: str = ""
    signature: Signature | None = None
    location: Location | None = None

    def meaning(self) -> dict[str, Any]:
        """What the digest is over, as JSON."""
        edges = (self.valid.start, self.valid.end)
        return {
            "template_id": self.id,
            "version": self.version,
            "effect": self.kind.value,
            "operations": [str(pattern) for pattern in self.operations],
            "when": to_cel(self.when),
            "parameters": {name: dict(parameter.schema) for name, parameter in self.parameters.items()},
            "obligations": [plain(node) for node in self.obligations],
            "valid": [edge.isoformat() if edge else None for edge in edges],
            "emergency": self.emergency.value,
            "on_missing": self.on_missing.value,
            "title": dict(self.title),
            "description": dict(self.description),
            "cert_fingerprint": self.cert_fingerprint,
        }

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(canonical(self.meaning()).encode()).hexdigest()}"

    def to_be_signed(self) -> bytes:
        return CONTEXT + self.digest.encode()

    def signed_by(self, trusted: Mapping[str, bytes], verify: Verify) -> str:
        """The trusted key (name -> public key) that signed it; "" if none did.

        Raises BundleError for a signature in a trusted key's name that is wrong.
        """
        for name, public in trusted.items():
            if self.signature is not None and self.signature.key == hashlib.sha256(public).hexdigest()[:16]:
                if not verify(public, self.signature.value, self.to_be_signed()):
                    raise BundleError(f"the signature of `{name}` under the template `{self.id}` is wrong")
                return name
        return ""

    def arguments_schema(self) -> dict[str, Any]:
        """The JSON Schema of `with`."""
        needed = [name for name, parameter in self.parameters.items() if parameter.default is None]
        properties = {name: dict(parameter.schema) for name, parameter in self.parameters.items()}
        return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}


# -- finding one -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Use:
    """One policy that names a template: what it asked for, where, and for when it says it is to hold."""

    id: str
    range: Range
    location: Location
    valid: Validity = ALWAYS


@dataclass(frozen=True, slots=True)
class Found:
    """What a use was answered with."""

    use: Use
    template: Template

    def check(self, at: datetime) -> None:
        """Raises DocumentError if the template is not valid at a moment, unless the policy itself says as much."""
        own, given = self.use.valid, self.template.valid
        if given.start is not None and at < given.start and not (own.start and own.start >= given.start):
            self._refuse(f"is not valid before {given.start.isoformat()}", "say `valid: {from: ...}` no earlier")
        if given.end is not None and at >= given.end and not (own.end and own.end <= given.end):
            self._refuse(f"is not valid since {given.end.isoformat()}", "take a newer version, or remove the policy")

    def _refuse(self, problem: str, hint: str) -> None:
        raise DocumentError(f"the template `{self.use.id}` {problem}", hint=hint, location=self.use.location)


class Catalogue(Protocol):
    """Where templates are looked for."""

    def versions(self, id: str) -> tuple[Template, ...]:
        """All versions of one template."""

    def names(self) -> Iterable[str]: ...


def find(catalogue: Catalogue, use: Use) -> Found:
    """The highest version in the range. Raises DocumentError."""
    known = catalogue.versions(use.id)
    if not known:
        names = suggestion(use.id, catalogue.names()) or "see `spir template list`"
        raise DocumentError(f"there is no template `{use.id}`", hint=names, location=use.location)
    fitting = [template for template in known if template.version in use.range]
    if not fitting:
        there = ", ".join(sorted((template.version for template in known), key=order))
        problem = f"no version of the template `{use.id}` is in `{use.range.text}`"
        raise DocumentError(problem, hint=f"there is {there}", location=use.location)
    return Found(use, max(fitting, key=lambda template: order(template.version)))


# -- using one -------------------------------------------------------------------------------


def values_of(template: Template, given: Fields, at: Location) -> dict[str, Argument]:
    """A value for each parameter, from what was given and the defaults. Raises DocumentError."""
    for name in given.entries:
        if name not in template.parameters:
            problem = f"the template `{template.id}` has no parameter `{name[:60]}`"
            hint = suggestion(name, template.parameters) or "it takes none"
            raise DocumentError(problem, hint=hint, location=given.keys[name])
    parameters = template.parameters.items()
    return {name: _argument(template, parameter, given.entries.get(name), at) for name, parameter in parameters}


def _argument(template: Template, parameter: Parameter, node: Node | None, at: Location) -> Argument:
    if node is not None:
        return parameter.read(node)
    if parameter.default is None:
        problem = f"the template `{template.id}` needs the parameter `{parameter.name}`"
        raise DocumentError(problem, hint=f"write with: {{{parameter.name}: ...}}", location=at)
    return parameter.default


def condition_of(template: Template, values: Mapping[str, Argument], vocabulary: Vocabulary, at: Location) -> Condition:
    """The template's condition with these values. Raises ConditionError, at the value that does not fit."""
    literals = {name: Literal(argument.value) for name, argument in values.items()}
    places = {id(literals[name]): argument.location for name, argument in values.items()}

    def place(node: Condition) -> Location:
        return next((places[id(part)] for part in nodes(node) if id(part) in places), at)

    found = bound(template.when, literals, place)
    vocabulary.check(found, place)
    return found


def filled(node: Node, values: Mapping[str, Argument]) -> Node:
    """The node with values for what says `{parameter: name}`."""
    match node:
        case Fields(entries, keys, location):
            name = _mentioned(node)
            if name is not None:
                return values[str(name.value)].node
            return Fields({key: filled(item, values) for key, item in entries.items()}, keys, location)
        case Items(items, location):
            return Items(tuple(filled(item, values) for item in items), location)
        case _:
            return node


def mentions(node: Node) -> Iterator[Scalar]:
    """Every name in a `{parameter: name}`, in the order they are written."""
    match node:
        case Fields(entries):
            name = _mentioned(node)
            inner = () if name is not None else tuple(entries.values())
            yield from () if name is None else (name,)
        case Items(items):
            inner = items
        case _:
            inner = ()
    for item in inner:
        yield from mentions(item)


def no_parameter(name: Scalar, known: Iterable[str]) -> DocumentError:
    problem = f"there is no parameter `{str(name.value)[:60]}`"
    return DocumentError(problem, hint=suggestion(str(name.value), known), location=name.location)


def _mentioned(node: Fields) -> Scalar | None:
    name = node.entries.get("parameter")
    return name if len(node.entries) == 1 and isinstance(name, Scalar) else None

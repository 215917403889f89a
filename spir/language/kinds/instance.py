"""Read a policy that is made from a template.

    - id: cardiology-reads-its-documents
      template: own-department
      version: ">=1.0 <2"
      with: {departments: [cardiology]}

It may name fewer operations than the template, never others; add obligations;
and say for when it holds, within the time for which the template is valid.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from spir.errors import DocumentError, Location
from spir.language.form import Form, form_of
from spir.language.kinds.policy_parts import (
    EMERGENCY,
    read_obligations,
    read_on_missing,
    read_operations,
    read_validity,
)
from spir.language.nodes import Fields, Node
from spir.language.phrases import Operations, Phrases
from spir.language.template import Catalogue, Found, Template, Use, condition_of, filled, find, values_of
from spir.language.versions import Range
from spir.model.policy import OperationPattern, Origin, Policy, Validity

__all__ = ["INSTANCE_FIELDS", "Making"]

INSTANCE_FIELDS = (
    "id",
    "description",
    "template",
    "version",
    "with",
    "operations",
    "obligations",
    "valid",
    "emergency",
    "on_missing",
)
_NOTHING = Fields({}, {}, Location(""))


@dataclass(frozen=True, slots=True)
class Making:
    """Makes policies from the templates there are, and remembers in `found` which it took."""

    phrases: Phrases
    catalogue: Catalogue
    found: list[Found] = field(default_factory=list)

    def policy(self, form: Form) -> Policy:
        """Raises DocumentError."""
        at = form.node("template").location
        use = Use(form.name("template"), _range(form), at, read_validity(form))
        taken = find(self.catalogue, use)
        self.found.append(taken)
        return _made(form, taken.template, use.valid, self.phrases, at)


def _range(form: Form) -> Range:
    try:
        return Range.read(form.text("version", "") if "version" in form else "")
    except ValueError as error:
        raise form.error("`version` is no range of versions", "version", 'as ">=1.0 <2"') from error


def _made(form: Form, template: Template, own: Validity, phrases: Phrases, at: Location) -> Policy:
    name, kind = form.name("id"), template.kind
    given = form_of(form.node("with"), "`with`").fields if "with" in form else _NOTHING
    values = values_of(template, given, at)
    duties = (*(filled(node, values) for node in template.obligations), *form.items("obligations"))
    return Policy(
        name,
        kind,
        _operations(form, template, phrases.operations),
        condition_of(template, values, phrases.vocabulary, at),
        read_obligations(form, duties, name, kind),
        _validity(form, template, own),
        form.choice("emergency", EMERGENCY, template.emergency),
        read_on_missing(form, kind, template.on_missing),
        form.text("description", template.title.get("en", "")),
        form.location,
        Origin(template.id, template.version),
    )


def _operations(form: Form, template: Template, known: Operations) -> tuple[OperationPattern, ...]:
    if "operations" not in form:
        if not template.operations:
            hint = 'as operations: ["read:document"]'
            raise form.error(f"the template `{template.id}` leaves `operations` to the policy", "template", hint)
        return template.operations
    found = read_operations(form, known)
    for pattern, node in zip(found, form.items("operations"), strict=True):
        if template.operations and not any(_covers(wide, pattern) for wide in template.operations):
            raise _beyond(pattern, template, node)
    return found


def _covers(wide: OperationPattern, narrow: OperationPattern) -> bool:
    pairs = ((wide.verb, narrow.verb), (wide.type, narrow.type), (wide.category, narrow.category))
    return all(one in ("*", other) for one, other in pairs)


def _beyond(pattern: OperationPattern, template: Template, node: Node) -> DocumentError:
    known = ", ".join(str(wide).removesuffix(":*") for wide in template.operations)
    problem = f"the template `{template.id}` is not about `{str(pattern).removesuffix(':*')}`"
    return DocumentError(problem, hint=f"it is about {known}", location=node.location)


def _validity(form: Form, template: Template, own: Validity) -> Validity:
    """The time that both have in common."""
    given = template.valid
    start = max((edge for edge in (own.start, given.start) if edge is not None), default=None)
    end = min((edge for edge in (own.end, given.end) if edge is not None), default=None)
    if start is not None and end is not None and start >= end:
        problem = f"the template `{template.id}` is never valid while the policy is"
        edges = (f"{word} {edge.isoformat()}" for word, edge in (("from", given.start), ("until", given.end)) if edge)
        raise form.error(problem, "valid", f"it is valid {' '.join(edges)}")
    return Validity(start, end)

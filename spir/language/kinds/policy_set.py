"""Read a document of kind PolicySet."""

from __future__ import annotations

from types import MappingProxyType

from spir.errors import ConditionError, DocumentError, Location, RequestError
from spir.language.cel import ROOTS, parse
from spir.language.form import Form, form_of, items_of, text_of
from spir.language.kinds.obligations import read_obligation
from spir.language.nodes import Fields, Node, Scalar
from spir.language.short import parse_short
from spir.language.vocabulary import Vocabulary
from spir.model.condition import TRUE, Condition, both
from spir.model.obligation import Obligation
from spir.model.policy import (
    ALWAYS,
    Emergency,
    Kind,
    Layer,
    OnMissing,
    OperationPattern,
    Policy,
    PolicySet,
    Validity,
)

__all__ = ["FIELDS", "LAYERS", "POLICY_FIELDS", "read_condition", "read_operation", "read_policy_set"]

FIELDS = ("spir", "kind", "name", "layer", "jurisdiction", "version", "description", "policies")
POLICY_FIELDS = (
    "id",
    "description",
    "effect",
    "operations",
    "when",
    "obligations",
    "valid",
    "emergency",
    "on_missing",
)
LAYERS = MappingProxyType({layer.label: layer for layer in Layer})
_KINDS = MappingProxyType({kind.value: kind for kind in Kind})
_EMERGENCY = MappingProxyType({item.value: item for item in Emergency})
_ON_MISSING = MappingProxyType({item.value: item for item in OnMissing})


def read_policy_set(form: Form, vocabulary: Vocabulary) -> PolicySet:
    """Raises DocumentError (ConditionError for what stands in a condition)."""
    return PolicySet(
        form.name("name"),
        form.choice("layer", LAYERS),
        form.jurisdiction("jurisdiction"),
        form.version("version"),
        tuple(_policy(node, vocabulary) for node in items_of(form.node("policies"), "`policies`")),
        form.location,
    )


def _policy(node: Node, vocabulary: Vocabulary) -> Policy:
    form = form_of(node, "the policy", POLICY_FIELDS)
    kind = form.choice("effect", _KINDS)
    name = form.name("id")
    return Policy(
        name,
        kind,
        _operations(form, vocabulary),
        read_condition(form.node("when"), vocabulary) if "when" in form else TRUE,
        _obligations(form, name, kind),
        _validity(form),
        form.choice("emergency", _EMERGENCY, Emergency.NEVER),
        _on_missing(form, kind),
        form.text("description", ""),
        form.location,
    )


def _operations(form: Form, vocabulary: Vocabulary) -> tuple[OperationPattern, ...]:
    found = tuple(read_operation(node, vocabulary) for node in items_of(form.node("operations"), "`operations`"))
    if not found:
        raise form.error("`operations` is empty", "operations", 'write ["*:*"] for all')
    return found


def read_operation(node: Node, vocabulary: Vocabulary) -> OperationPattern:
    """A declared operation or a pattern of them: verb:type or verb:type:category, `*` for any."""
    text = text_of(node, "an operation")
    try:
        pattern = OperationPattern.parse(text)
    except RequestError as error:
        raise DocumentError(error.message, hint=error.hint, location=node.location) from error
    vocabulary.check_operation(pattern, node.location)
    return pattern


def read_condition(node: Node, vocabulary: Vocabulary) -> Condition:
    """CEL text, or lists of conditions in the short spelling under their dimensions, all of which must hold."""
    if isinstance(node, Fields):
        return _dimensions(node, vocabulary)
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return parse(node.value, vocabulary=vocabulary, location=node.content)
    raise ConditionError(
        "`when` must be a condition in CEL, or lists of short conditions by dimension",
        hint="leave it out where there is no condition",
        location=node.location,
    )


def _dimensions(node: Fields, vocabulary: Vocabulary) -> Condition:
    form = form_of(node, "`when`", tuple(ROOTS))
    found = [
        parse_short(text_of(item, "a condition"), vocabulary, dimension=dimension, location=_content(item))
        for dimension, listed in form
        for item in items_of(listed, f"`{dimension}`")
    ]
    if not found:
        raise form.error("`when` is empty", hint="leave it out where there is no condition")
    return both(*found)


def _content(node: Node) -> Location | None:
    return node.content if isinstance(node, Scalar) else None


def _obligations(form: Form, policy: str, kind: Kind) -> tuple[Obligation, ...]:
    found = tuple(read_obligation(node, policy) for node in form.items("obligations"))
    if found and kind not in (Kind.PERMIT, Kind.OBLIGE):
        raise form.error(
            f"a policy that says {kind.value} has no obligations", "obligations", "write an oblige of its own"
        )
    if kind is Kind.OBLIGE and not found:
        raise form.error("an oblige needs `obligations`")
    names = [item.id for item in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise form.error(f"the obligation `{twice}` is there twice", "obligations", "give each an `id` of its own")
    return found


def _validity(form: Form) -> Validity:
    if "valid" not in form:
        return ALWAYS
    valid = form.form("valid", ("from", "until"))
    start, end = valid.moment("from"), valid.moment("until")
    if start is not None and end is not None and start >= end:
        raise valid.error("`until` must be later than `from`", "until")
    return Validity(start, end)


def _on_missing(form: Form, kind: Kind) -> OnMissing:
    if "on_missing" in form and kind in (Kind.PERMIT, Kind.DELEGATE):
        hint = "what is unknown never grants"
        raise form.error(f"a policy that says {kind.value} has no `on_missing`", "on_missing", hint)
    return form.choice("on_missing", _ON_MISSING, OnMissing.DENY)

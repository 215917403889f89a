"""The parts that policies and templates have in common: operations, conditions, obligations, validity."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from spir.errors import ConditionError, Location
from spir.language.form import Form, form_of, items_of, text_of
from spir.language.kinds.obligations import read_obligation
from spir.language.lexer import ROOTS
from spir.language.nodes import Fields, Node, Scalar
from spir.language.phrases import Conditions, Operations
from spir.model.condition import Condition, both
from spir.model.obligation import Obligation
from spir.model.policy import ALWAYS, Emergency, Kind, OnMissing, OperationPattern, Validity

__all__ = [
    "EMERGENCY",
    "KINDS",
    "read_condition",
    "read_obligations",
    "read_on_missing",
    "read_operations",
    "read_validity",
    "validity",
]

KINDS = MappingProxyType({kind.value: kind for kind in Kind})
EMERGENCY = MappingProxyType({item.value: item for item in Emergency})
_OBLIGE = Kind.OBLIGE  # Python 3.11 takes its time to find a member, and each policy is asked
_ON_MISSING = MappingProxyType({item.value: item for item in OnMissing})


def read_operations(form: Form, operations: Operations) -> tuple[OperationPattern, ...]:
    found = tuple(map(operations.read, items_of(form.node("operations"), "`operations`")))
    if not found:
        raise form.error("`operations` is empty", "operations", 'write ["*:*"] for all')
    return found


def read_condition(node: Node, conditions: Conditions, what: str = "`when`") -> Condition:
    """CEL text, or lists of conditions in the short spelling under their dimensions, all of which must hold."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return conditions.cel(node.value, node.content)
    if isinstance(node, Fields):
        return _dimensions(node, conditions, what)
    raise ConditionError(
        f"{what} must be a condition in CEL, or lists of short conditions by dimension",
        hint="leave it out where there is no condition",
        location=node.location,
    )


def _dimensions(node: Fields, conditions: Conditions, what: str) -> Condition:
    form = form_of(node, what, tuple(ROOTS))
    found = [
        conditions.short(text_of(item, "a condition"), dimension, _content(item))
        for dimension, listed in form
        for item in items_of(listed, f"`{dimension}`")
    ]
    if not found:
        raise form.error(f"{what} is empty", hint="leave it out where there is no condition")
    return both(*found)


def _content(node: Node) -> Location | None:
    return node.content if isinstance(node, Scalar) else None


def read_obligations(form: Form, nodes: Iterable[Node], policy: str, kind: Kind) -> tuple[Obligation, ...]:
    """The obligations of the policy of this id and effect."""
    found = tuple([read_obligation(node, policy) for node in nodes])
    if not found:
        if kind is _OBLIGE:
            raise form.error("an oblige needs `obligations`")
        return found
    if kind not in (Kind.PERMIT, Kind.OBLIGE):
        raise form.error(
            f"a policy that says {kind.value} has no obligations", "obligations", "write an oblige of its own"
        )
    names = [item.id for item in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise form.error(f"the obligation `{twice}` is there twice", "obligations", "give each an `id` of its own")
    return found


def read_validity(form: Form) -> Validity:
    return validity(form.form("valid", ("from", "until")), "from", "until") if "valid" in form else ALWAYS


def validity(form: Form, first: str, last: str) -> Validity:
    """From two fields of a form, either of which may be left out."""
    start, end = form.moment(first), form.moment(last)
    if start is not None and end is not None and start >= end:
        raise form.error(f"`{last}` must be later than `{first}`", last)
    return Validity(start, end)


def read_on_missing(form: Form, kind: Kind, default: OnMissing = OnMissing.DENY) -> OnMissing:
    if "on_missing" in form and kind in (Kind.PERMIT, Kind.DELEGATE):
        hint = "what is unknown never grants"
        raise form.error(f"a policy that says {kind.value} has no `on_missing`", "on_missing", hint)
    return form.choice("on_missing", _ON_MISSING, default)

"""Read a document of kind PolicySet. A policy is written out, or made from a template."""

from __future__ import annotations

from types import MappingProxyType

from spir.language.form import Form, form_of, items_of
from spir.language.kinds.instance import INSTANCE_FIELDS, Making
from spir.language.kinds.policy_parts import (
    EMERGENCY,
    KINDS,
    read_condition,
    read_obligations,
    read_on_missing,
    read_operations,
    read_validity,
)
from spir.language.nodes import Node
from spir.language.phrases import Phrases
from spir.model.condition import TRUE
from spir.model.policy import Emergency, Layer, Policy, PolicySet

__all__ = ["FIELDS", "LAYERS", "POLICY_FIELDS", "read_policy_set"]

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
_NEVER = Emergency.NEVER
LAYERS = MappingProxyType({layer.label: layer for layer in Layer})


def read_policy_set(form: Form, phrases: Phrases, making: Making) -> PolicySet:
    """Raises DocumentError (ConditionError for what stands in a condition)."""
    return PolicySet(
        form.name("name"),
        form.choice("layer", LAYERS),
        form.jurisdiction("jurisdiction"),
        form.version("version"),
        tuple([_policy(node, phrases, making) for node in items_of(form.node("policies"), "`policies`")]),
        form.location,
    )


def _policy(node: Node, phrases: Phrases, making: Making) -> Policy:
    form = form_of(node, "the policy")
    if "template" in form:
        return making.policy(form_of(node, "a policy made from a template", INSTANCE_FIELDS))
    form.only(POLICY_FIELDS)
    kind = form.choice("effect", KINDS)
    name = form.name("id")
    return Policy(
        name,
        kind,
        read_operations(form, phrases.operations),
        read_condition(form.node("when"), phrases.conditions) if "when" in form else TRUE,
        read_obligations(form, form.items("obligations"), name, kind),
        read_validity(form),
        form.choice("emergency", EMERGENCY, _NEVER),
        read_on_missing(form, kind),
        form.text("description", ""),
        form.location,
    )

"""Read a document of kind PermissionMap, and compile it to a policy set.

    {holds: "read:patient:allergy", grants: "retrieve-study;modality=CR,DX"}

permits the native action to whoever holds the permission, within the bounds of
the parameters; and

    {event: "view:result:critical", does: "notify:alert:priority=high"}

obliges whoever lets that operation through to raise the alert. What no rule
names is denied, as everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

from spir.errors import Location, RequestError
from spir.language.form import Form, form_of, items_of
from spir.language.kinds.obligations import PROPERTIES
from spir.language.kinds.policy_parts import read_condition
from spir.language.kinds.policy_set import LAYERS
from spir.language.nearest import suggestion
from spir.language.nodes import Fields, Scalar
from spir.language.phrases import Conditions
from spir.language.typecheck import Kind as Type
from spir.language.vocabulary import NativeAction, Vocabulary
from spir.model.condition import TRUE, Attribute, Compare, Condition, Literal, both
from spir.model.obligation import Obligation
from spir.model.policy import Kind, Layer, OperationPattern, Policy, PolicySet

__all__ = ["FIELDS", "RULE_FIELDS", "PermissionMap", "read_action", "read_permission_map"]

FIELDS = ("spir", "kind", "name", "layer", "jurisdiction", "version", "description", "rules", "default")
RULE_FIELDS = ("id", "holds", "grants", "event", "does", "when", "description")

PERMISSIONS = Attribute("subject.permissions")

_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class PermissionMap:
    """One document: `policies` is what its rules were compiled to."""

    name: str
    rules: tuple[Mapping[str, str], ...]
    policies: PolicySet
    location: Location | None = None


def read_permission_map(form: Form, vocabulary: Vocabulary) -> PermissionMap:
    """Raises DocumentError for a permission, action, parameter or event that is not known."""
    name = form.name("name", "permission-map")
    if form.text("default", "deny") != "deny":
        raise form.error("`default` must be deny", "default", "what no rule names is always denied")
    nodes = items_of(form.node("rules"), "`rules`")
    rules = [form_of(node, "the rule", RULE_FIELDS) for node in nodes]
    policies = tuple(_Rule(rule, vocabulary).policy(f"{name}-{n}") for n, rule in enumerate(rules, 1))
    compiled = PolicySet(
        name,
        form.choice("layer", LAYERS, Layer.INSTITUTION),
        form.jurisdiction("jurisdiction", ""),
        form.version("version", "1.0.0"),
        policies,
        form.location,
    )
    texts = tuple(MappingProxyType({key: str(n.value) for key, n in rule if isinstance(n, Scalar)}) for rule in rules)
    return PermissionMap(name, texts, compiled, form.location)


def read_action(
    text: str, vocabulary: Vocabulary, at: Location
) -> tuple[tuple[OperationPattern, ...], tuple[Condition, ...]]:
    """What an action in another system's words is here, as `grants` has it: its operations and its bounds.

    Raises DocumentError for an action or a parameter that is not known.
    """
    grants = Fields({"grants": Scalar(text, at, at)}, {"grants": at}, at)
    operations, bounds = _Rule(Form("the action", grants), vocabulary).granted()
    return operations, tuple(bounds)


@dataclass(frozen=True, slots=True)
class _Rule:
    form: Form
    vocabulary: Vocabulary

    def policy(self, name: str) -> Policy:
        form = self.form
        keys = {key for key in ("holds", "grants", "event", "does") if key in form}
        name = form.name("id", name)
        if keys == {"holds", "grants"}:
            return self.permit(name)
        if keys == {"event", "does"}:
            return self.oblige(name)
        raise form.error("a rule has `holds` and `grants`, or `event` and `does`")

    def permit(self, name: str) -> Policy:
        held = str(self.operation("holds"))
        operations, bounds = self.granted()
        holds = Compare("in", Literal(held.removesuffix(":*")), PERMISSIONS)
        condition = both(holds, *bounds, self.when())
        return Policy(name, Kind.PERMIT, operations, condition, description=self.description(), location=self.at)

    def oblige(self, name: str) -> Policy:
        event = self.operation("event")
        obligation = self.obligation(f"{name}-does")
        return Policy(
            name,
            Kind.OBLIGE,
            (event,),
            self.when(),
            (obligation,),
            description=self.description(),
            location=self.at,
        )

    @property
    def at(self) -> Location:
        return self.form.location

    def when(self) -> Condition:
        return read_condition(self.form.node("when"), Conditions(self.vocabulary)) if "when" in self.form else TRUE

    def description(self) -> str:
        return self.form.text("description", "")

    def operation(self, key: str) -> OperationPattern:
        """A declared operation code, without wildcards: a permission and an event are one thing each."""
        text = self.form.text(key)
        place = self.form.node(key).location
        try:
            found = OperationPattern.parse(text)
        except RequestError as error:
            raise self.form.error(error.message, key, error.hint) from error
        if "*" in text:
            raise self.form.error(f"`{key}` names one operation, without `*`", key)
        self.vocabulary.check_operation(found, place)
        return found

    # -- grants --

    def granted(self) -> tuple[tuple[OperationPattern, ...], list[Condition]]:
        """The operations of `action;parameter=value,value;...`, and the bounds that its parameters set."""
        name, *rest = self.form.text("grants").split(";")
        action = self.vocabulary.actions.get(name)
        if action is None:
            hint = suggestion(name, self.vocabulary.actions)
            raise self.form.error(f"the action `{name[:60]}` is not known", "grants", hint)
        values = dict(self.parameters(action, rest))
        operations = tuple(self.expanded(action, values))
        bounds = [self.bound(action.parameters[key], found) for key, found in values.items() if action.parameters[key]]
        return operations, bounds

    def parameters(self, action: NativeAction, texts: list[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
        seen: set[str] = set()
        for text in texts:
            key, sign, listed = text.partition("=")
            if key not in action.parameters:
                hint = suggestion(key, action.parameters)
                raise self.form.error(f"`{action.name}` has no parameter `{key[:60]}`", "grants", hint)
            if not sign or key in seen or not all(_VALUE.fullmatch(value) for value in listed.split(",")):
                raise self.form.error(f"the parameter `{key}` is malformed", "grants", f"write {key}=value,value once")
            seen.add(key)
            yield key, tuple(listed.split(","))

    def bound(self, path: str, values: tuple[str, ...]) -> Condition:
        condition = Compare("in", Attribute(path), Literal(values))
        kind = self.vocabulary.kind(path) or Type("")
        if kind.type.startswith("list"):
            raise self.form.error(f"`{path}` is a list and cannot be bounded by a parameter", "grants")
        self.vocabulary.check(condition, lambda node: self.form.node("grants").location)
        return condition

    def expanded(self, action: NativeAction, values: Mapping[str, tuple[str, ...]]) -> Iterator[OperationPattern]:
        """The action's operations with each combination of the values that stand for `{parameter}`."""
        places = [key for key, path in action.parameters.items() if not path]
        for key in places:
            if key not in values:
                raise self.form.error(f"`{action.name}` needs the parameter `{key}`", "grants", f"write {key}=value")
        for chosen in product(*(values[key] for key in places)):
            for operation in action.operations:
                for key, value in zip(places, chosen, strict=True):
                    operation = operation.replace(f"{{{key}}}", value)
                pattern = OperationPattern.parse(operation)
                self.vocabulary.check_operation(pattern, self.form.node("grants").location)
                yield pattern

    # -- does --

    def obligation(self, name: str) -> Obligation:
        """`type:target:property=value`: as notify:alert:priority=high, trigger:workflow:urgency=immediate."""
        kind, _, rest = self.form.text("does").partition(":")
        if kind not in ("notify", "trigger"):
            hint = "an event can do notify or trigger"
            raise self.form.error(f"`{kind[:60]}` is nothing that an event can do", "does", hint)
        first, *known = PROPERTIES[kind]
        target, *texts = rest.split(":")
        if not _VALUE.fullmatch(target):
            raise self.form.error(f"`{kind}` needs a {first}", "does", f"write {kind}:name")
        properties = {first: target}
        for text in texts:
            key, sign, value = text.partition("=")
            if key not in known or key in properties:
                raise self.form.error(f"`{kind}` has no property `{key[:60]}`", "does", suggestion(key, known))
            if not sign or not _VALUE.fullmatch(value):
                raise self.form.error(f"the property `{key}` is malformed", "does", f"write {key}=value")
            properties[key] = value
        return Obligation(name, kind, MappingProxyType(dict(properties)))

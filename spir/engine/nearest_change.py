"""The smallest change of a request or its facts that would flip the answer.

Single attributes are tried first, then pairs. What to try is taken from the
conditions of the rules about the operation, from the enums of the vocabulary
and from the boundaries of time; every find is verified by really deciding. The
search is bounded: none found does not prove that there is none.

What is about the object is tried before the environment, then the facts, and
the person last: a different role is the least useful advice of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from enum import Enum
from functools import partial
from itertools import combinations
from types import MappingProxyType
from typing import Any, TypeAlias

from spir.engine import reference
from spir.engine.attributes import Attributes, organization_of, patient_id
from spir.engine.ruleset import Rule, RuleSet
from spir.language.walk import children, nodes
from spir.model.condition import And, Attribute, Call, Compare, Condition, Conditional, Has, Literal, Not, Or
from spir.model.decision import Decision, Effect
from spir.model.facts import View
from spir.model.policy import lies_under
from spir.model.request import Request
from spir.model.value import Unknown, Value, thaw

__all__ = ["NO_ENUMS", "Decide", "Edit", "Flip", "How", "nearest_change"]

MAX_TRIES = 1000  # decisions
MAX_WORK = 10_000  # rules weighed in all of them, by the plain interpreter: about a second
MAX_VALUES = 12  # for one attribute

NOW = "context.now"
NO_ENUMS: Mapping[str, tuple[Value, ...]] = MappingProxyType({})
MOMENT = timedelta(seconds=1)

Lookup: TypeAlias = Callable[[str], Value | Unknown]
Decide: TypeAlias = Callable[[Request, View, datetime], Decision]


class How(Enum):
    """In what way an attribute would be different; worded as it is reported."""

    WERE = "were"
    HELD = "held"
    LACKED = "did not hold"
    PRESENT = "were present"
    ABSENT = "were absent"


@dataclass(frozen=True, slots=True)
class Edit:
    """One attribute changed. `shown` is the constant or member that matters, `value` all of it (None: gone)."""

    attribute: str
    how: How
    shown: Value
    value: Value

    def __str__(self) -> str:
        if self.how in (How.PRESENT, How.ABSENT):
            return f"{self.attribute} {self.how.value}"
        return f"{self.attribute} {self.how.value} {thaw(self.shown)}"

    def to_json(self) -> dict[str, Any]:
        body = {"attribute": self.attribute, "change": self.how.value}
        return body if self.how in (How.PRESENT, How.ABSENT) else {**body, "value": thaw(self.shown)}


@dataclass(frozen=True, slots=True)
class Flip:
    """The edits, all of which are needed, and the answer that they would bring."""

    effect: Effect
    edits: tuple[Edit, ...]

    def __str__(self) -> str:
        words = {Effect.PERMIT: "permitted", Effect.DENY: "denied", Effect.CONDITIONAL: "permitted for some data"}
        return f"would be {words[self.effect]} if {' and '.join(map(str, self.edits))}"

    def to_json(self) -> dict[str, Any]:
        return {"effect": self.effect.value, "edits": [edit.to_json() for edit in self.edits], "text": str(self)}


def nearest_change(
    rules: RuleSet,
    request: Request,
    view: View,
    at: datetime,
    found: Decision,
    enums: Mapping[str, tuple[Value, ...]] = NO_ENUMS,
    decide: Decide | None = None,
) -> Flip | None:
    """The first change that flips `found`, the decision on this request; None if the search finds none.

    A denial flips to a permit (or, while data is deferred, to a condition on it), a
    permit to a denial, a condition to a permit. `enums` gives the values that an attribute may have.
    `decide` is a faster engine with the same rules; without it, the more rules the fewer changes are tried.
    """
    about = _about(rules, request)
    edits = _edits(rules, about, request, Attributes(request, view, at), at, enums)
    tries = MAX_TRIES if decide else max(4, min(MAX_TRIES, MAX_WORK // max(1, len(about))))
    decide = decide or partial(reference.decide, rules)
    for chosen in _choices(edits, tries):
        changed, moment = _edited(request, at, chosen)
        decision = decide(changed, view, moment)
        if _flips(found, decision):
            return Flip(decision.effect, chosen)
    return None


def _flips(before: Decision, after: Decision) -> bool:
    if before.permitted:
        return after.denied
    return after.permitted or (before.denied and not after.denied)


def _about(rules: RuleSet, request: Request) -> tuple[Rule, ...]:
    """Rules on the verb and the type, whatever the category and the moment: both may be what is changed."""
    organization = organization_of(request, rules.site.organization)
    named = rules.rules(request.action.name, request.resource.type)
    return tuple(rule for rule in named if lies_under(organization, rule.jurisdiction))


def _choices(edits: list[Edit], tries: int) -> Iterator[tuple[Edit, ...]]:
    """Singles in order, then pairs of different attributes: those of the most useful kinds first."""
    singles = edits[:tries]
    yield from ((edit,) for edit in singles)
    pairs = [pair for pair in combinations(singles, 2) if pair[0].attribute != pair[1].attribute]
    pairs.sort(key=lambda pair: max(_rank(edit.attribute) for edit in pair))
    yield from pairs[: tries - len(singles)]


def _rank(path: str) -> int:
    dimension, _, rest = path.partition(".")
    if dimension == "resource":
        return 2 if rest.startswith("patient.") else 0
    if dimension == "context":
        return 1
    return 4 if rest in ("id", "type", "role", "roles") else 3


# -- what to try -----------------------------------------------------------------------------


def _edits(
    rules: RuleSet,
    about: tuple[Rule, ...],
    request: Request,
    lookup: Lookup,
    at: datetime,
    enums: Mapping[str, tuple[Value, ...]],
) -> list[Edit]:
    """Each once, at most MAX_VALUES of an attribute, the useful first."""
    found: dict[Edit, None] = {}
    for rule in about:
        found.update(dict.fromkeys(edit for edit in _of_rule(rule, lookup, rules, at) if _is_plain(edit.value)))
    for path in dict.fromkeys(edit.attribute for edit in tuple(found)):
        found.update(dict.fromkeys(_were(path, value) for value in enums.get(path, ())))
    return _bounded(edit for edit in found if _is_change(edit, lookup, request))


def _of_rule(rule: Rule, lookup: Lookup, rules: RuleSet, at: datetime) -> Iterator[Edit]:
    """From its condition, its categories and its edges of validity."""
    for node in nodes(rule.policy.when):
        yield from _suggested(node, lookup, rules, at)
    for pattern in rule.policy.operations:
        if pattern.category != "*":
            yield _were("resource.category", pattern.category)
    if rule.policy.valid.start is not None:
        yield _were(NOW, rule.policy.valid.start)
    if rule.policy.valid.end is not None:
        yield from (_were(NOW, rule.policy.valid.end - step) for step in (MOMENT, timedelta(0)))


def _is_plain(value: Value) -> bool:
    """A scalar or a list of scalars: a map is no value that anybody would change as a whole."""
    members = value if isinstance(value, tuple) else (value,)
    return not any(isinstance(member, (tuple, Mapping)) for member in members)


def _bounded(edits: Iterable[Edit]) -> list[Edit]:
    counts: dict[str, int] = {}
    kept = []
    for edit in edits:
        counts[edit.attribute] = counts.get(edit.attribute, 0) + 1
        if counts[edit.attribute] <= MAX_VALUES:
            kept.append(edit)
    return sorted(kept, key=lambda edit: _rank(edit.attribute))


def _is_change(edit: Edit, lookup: Lookup, request: Request) -> bool:
    """Whether it can be made and makes a difference. The operation is the question itself and is never changed."""
    dimension, _, rest = edit.attribute.partition(".")
    if dimension == "action" or (dimension == "resource" and rest in ("type", "patient", "patient.id")):
        return False
    if rest.startswith("patient.") and dimension == "resource" and not patient_id(request):
        return False
    return lookup(edit.attribute) != edit.value


def _suggested(node: Condition, lookup: Lookup, rules: RuleSet, at: datetime) -> Iterator[Edit]:
    """Changes that could turn this node around."""
    match node:
        case Compare(op, Attribute(path), Literal(value)):
            yield from _compared(op, path, value)
        case Compare("in", Literal(value), Attribute(path)):
            yield from _member(path, value, lookup)
        case Compare(op, Literal(value), Attribute(path)):
            yield from _compared(op, path, value)
        case Compare(op, Attribute(left), Attribute(right)):
            yield from _related(op, left, right, lookup)
        case Has(Attribute(path)):
            yield Edit(path, How.PRESENT, True, "present") if _known(lookup(path)) is None else _gone(path)
        case Call(function, arguments):
            yield from _called(function, arguments, rules, at)
        case And() | Or() | Not() | Conditional():
            for part in children(node):
                if isinstance(part, Attribute):
                    yield from (_were(part.path, truth) for truth in (True, False))
        case Attribute(path):
            # alone it is a condition of its own; elsewhere the change makes no sense and verifies as none
            if isinstance(_known(lookup(path)), bool):
                yield from (_were(path, truth) for truth in (True, False))


def _compared(op: str, path: str, value: Value) -> Iterator[Edit]:
    if op == "in":
        yield from (_were(path, one) for one in (value if isinstance(value, tuple) else ()))
        return
    yield _were(path, value)
    if op in ("==", "!=") and isinstance(value, bool):
        yield _were(path, not value)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from (_were(path, value + step) for step in (1, -1))
    elif isinstance(value, datetime):
        yield from (_were(path, value + step) for step in (MOMENT, -MOMENT))


def _related(op: str, left: str, right: str, lookup: Lookup) -> Iterator[Edit]:
    """Two attributes: the one as the other is, or in it."""
    if op != "in":
        yield from (_were(one, _known(lookup(other))) for one, other in ((left, right), (right, left)))
        return
    yield from _member(right, _known(lookup(left)), lookup)
    members = _known(lookup(right))
    yield from (_were(left, one) for one in (members if isinstance(members, tuple) else ()))


def _member(path: str, value: Value, lookup: Lookup) -> Iterator[Edit]:
    """The list with the value, or without it."""
    if value is None:
        return
    known = _known(lookup(path))
    members = known if isinstance(known, tuple) else ()
    if value in members:
        yield Edit(path, How.LACKED, value, tuple(one for one in members if one != value))
    else:
        yield Edit(path, How.HELD, value, (*members, value))


def _called(function: str, arguments: tuple[Condition, ...], rules: RuleSet, at: datetime) -> Iterator[Edit]:
    match function, arguments:
        case ("startsWith" | "endsWith" | "contains" | "org.under", (Attribute(path), Literal(value))):
            yield _were(path, value)
        case ("time.between", (Literal(str(start)), Literal(str(end)))):
            yield from (_were(NOW, moment) for moment in _clock((start, end), rules, at))
        case ("within", (Attribute(path), *_)):
            yield _were(path, at)


def _clock(texts: Iterable[str], rules: RuleSet, at: datetime) -> Iterator[datetime]:
    """These times of the site's clock, on the day of `at`."""
    here = at.astimezone(rules.site.timezone)
    for text in texts:
        try:
            clock = time.fromisoformat(text)
        except ValueError:
            continue  # 24:00 has no moment of its own on this day
        yield here.replace(hour=clock.hour, minute=clock.minute, second=clock.second, microsecond=0)


def _were(path: str, value: Value) -> Edit:
    return Edit(path, How.WERE, value, value)


def _gone(path: str) -> Edit:
    return Edit(path, How.ABSENT, None, None)


def _known(value: Value | Unknown) -> Value:
    return None if isinstance(value, Unknown) else value


# -- making the change -----------------------------------------------------------------------


def _edited(request: Request, at: datetime, edits: tuple[Edit, ...]) -> tuple[Request, datetime]:
    """The request and the moment after the edits. What a request says itself stands before the facts."""
    for edit in edits:
        if edit.attribute == NOW:
            at = edit.value if isinstance(edit.value, datetime) else at
        else:
            request = _with(request, edit.attribute.split("."), edit.value)
    return request, at


def _with(request: Request, names: list[str], value: Value) -> Request:
    match names:
        case ["subject", "id"] if isinstance(value, str):
            return replace(request, subject=replace(request.subject, id=value))
        case ["subject", "type"] if isinstance(value, str):
            return replace(request, subject=replace(request.subject, type=value))
        case ["resource", "id"] if isinstance(value, str):
            return replace(request, resource=replace(request.resource, id=value))
        case ["subject", *rest]:
            properties = _put(request.subject.properties, rest, value)
            return replace(request, subject=replace(request.subject, properties=properties))
        case ["resource", "patient", *rest]:
            patient = request.resource.properties.get("patient")
            inner: Mapping[str, Value] = patient if isinstance(patient, Mapping) else {"id": patient}
            properties = _put(request.resource.properties, ["patient"], _put(inner, rest, value))
            return replace(request, resource=replace(request.resource, properties=properties))
        case ["resource", *rest]:
            properties = _put(request.resource.properties, rest, value)
            return replace(request, resource=replace(request.resource, properties=properties))
        case [_, *rest]:
            return replace(request, context=_put(request.context, rest, value))
        case _:
            return request


def _put(properties: Mapping[str, Value], names: list[str], value: Value) -> Mapping[str, Value]:
    """A copy in which the value at the path is this one; None takes it away."""
    name, *rest = names
    if rest:
        inner = properties.get(name)
        value = _put(inner if isinstance(inner, Mapping) else {}, rest, value)
    changed = {**properties, name: value}
    return MappingProxyType({key: item for key, item in changed.items() if item is not None})

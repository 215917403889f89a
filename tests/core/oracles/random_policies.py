"""Random policy sets and requests in what SPIR, Cedar and Rego can all say.

Plain `random` with a seed: a failure names the seed, and one set costs
microseconds. Every attribute has one type, so that nothing but absence
separates the three languages.
"""

from __future__ import annotations

from random import Random
from typing import Any

from spir.engine.ruleset import RuleSet
from spir.model.condition import And, Attribute, Call, Compare, Condition, Conditional, Has, Literal, Not, Or
from spir.model.policy import Kind, Layer, OnMissing, OperationPattern, Policy, PolicySet
from spir.model.request import Entity, Request

ROLES = ("physician", "nurse", "clerk")
DEPARTMENTS = ("cardiology", "radiology", "surgery")
MODALITIES = ("CR", "DX", "CT")
PEOPLE = ("dr.li", "dr.wang", "nurse.sun")
LABELS = ("genetic", "hiv", "research")
CATEGORIES = ("chest", "head")
VERBS = ("search", "read")

TEXTS = {
    "subject.role": ROLES,
    "subject.department": DEPARTMENTS,
    "resource.department": DEPARTMENTS,
    "resource.modality": MODALITIES,
    "resource.author": PEOPLE,
    "subject.id": PEOPLE,
}
NUMBERS = {"subject.clearance": 3, "resource.sensitivity": 5, "context.hour": 23}  # each from 0 to this
LISTS = ("resource.labels", "subject.roles")
SWITCHES = ("context.trusted", "resource.vip")
PAIRS = (
    ("subject.department", "==", "resource.department"),
    ("resource.author", "==", "subject.id"),
    ("resource.author", "!=", "subject.id"),
    ("subject.clearance", ">=", "resource.sensitivity"),
    ("resource.sensitivity", "<", "subject.clearance"),
)
OPTIONAL = (*(path for path in TEXTS if path != "subject.id"), *NUMBERS, *LISTS, *SWITCHES)


class RandomPolicies:
    """`lenient`: every policy says `on_missing: ignore`."""

    def __init__(self, seed: int, *, lenient: bool = False) -> None:
        self.random = Random(seed)
        self.choose = self.random.choice
        self.lenient = lenient

    # -- conditions --------------------------------------------------------------------------

    def condition(self, depth: int = 2) -> Condition:
        kind = self.random.random() if depth else 0.0
        if kind < 0.3:
            return self.atom()
        if kind < 0.7:
            return And(self.several(depth))
        if kind < 0.87:
            return Or(self.several(depth))
        if kind < 0.95:
            return Not(self.condition(depth - 1))
        return Conditional(self.condition(depth - 1), self.condition(depth - 1), self.condition(depth - 1))

    def several(self, depth: int) -> tuple[Condition, ...]:
        return tuple(self.condition(depth - 1) for _ in range(self.choose((2, 2, 3))))

    def conjunction(self) -> Condition:
        return And(tuple(self.atom() for _ in range(self.choose((1, 2, 3)))))

    def atom(self) -> Condition:
        plain = (self.text, self.text, self.member, self.number, self.number, self.between)
        return self.choose((*plain, self.pair, self.label, self.switch, self.has, self.prefix))()

    def text(self) -> Condition:
        path = self.choose(tuple(TEXTS))
        return Compare(self.choose(("==", "==", "!=")), Attribute(path), Literal(self.choose(TEXTS[path])))

    def member(self) -> Condition:
        path = self.choose(tuple(TEXTS))
        return Compare("in", Attribute(path), Literal(self.some(TEXTS[path])))

    def number(self) -> Condition:
        path = self.choose(tuple(NUMBERS))
        number = Literal(self.random.randint(0, NUMBERS[path]))
        op = self.choose(("<", "<=", ">", ">=", "==", "!="))
        sides = (Attribute(path), number) if self.random.random() < 0.8 else (number, Attribute(path))
        return Compare(op, *sides)

    def between(self) -> Condition:
        path = self.choose(tuple(NUMBERS))
        low, high = sorted(self.random.randint(0, NUMBERS[path]) for _ in range(2))
        return And((Compare(">=", Attribute(path), Literal(low)), Compare("<=", Attribute(path), Literal(high))))

    def pair(self) -> Condition:
        left, op, right = self.choose(PAIRS)
        return Compare(op, Attribute(left), Attribute(right))

    def label(self) -> Condition:
        return Compare("in", Literal(self.choose((*LABELS, "physician"))), Attribute(self.choose(LISTS)))

    def switch(self) -> Condition:
        path = Attribute(self.choose(SWITCHES))
        return self.choose((path, Compare("==", path, Literal(self.choose((True, False))))))

    def has(self) -> Condition:
        return Has(Attribute(self.choose(OPTIONAL)))

    def prefix(self) -> Condition:
        return Call("startsWith", (Attribute("resource.author"), Literal(self.choose(("dr.", "nurse.")))))

    def some(self, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self.random.sample(values, self.random.randint(0, len(values))))

    # -- policies ----------------------------------------------------------------------------

    def policy(self, id: str) -> Policy:
        kind = self.choose((Kind.PERMIT, Kind.PERMIT, Kind.PERMIT, Kind.DENY, Kind.DENY, Kind.REQUIRE))
        condition = self.conjunction() if self.random.random() < 0.5 else self.condition()
        missing = OnMissing.IGNORE if self.lenient else self.choose((OnMissing.DENY, OnMissing.DENY, OnMissing.IGNORE))
        category = self.choose(("*", "*", "*", *CATEGORIES))
        operation = OperationPattern(self.choose((*VERBS, "*")), "imaging", category)
        return Policy(id, kind, (operation,), condition, on_missing=missing)

    def rules(self) -> RuleSet:
        count = self.random.randint(2, 7)
        found = PolicySet("random", Layer.INSTITUTION, "", "1.0.0", tuple(self.policy(f"p{n}") for n in range(count)))
        return RuleSet.of((found,))

    # -- requests ----------------------------------------------------------------------------

    def request(self, absent: int = 0) -> Request:
        """A request with every attribute but `absent` of them."""
        given: dict[str, Any] = {path: self.choose(values) for path, values in TEXTS.items()}
        given |= {path: self.random.randint(0, most) for path, most in NUMBERS.items()}
        given |= {"resource.labels": self.some(LABELS), "subject.roles": self.some(ROLES)}
        given |= {path: self.choose((True, False)) for path in SWITCHES}
        for path in self.random.sample(OPTIONAL, absent):
            del given[path]
        subject = Entity("person", given.pop("subject.id"), _under("subject", given))
        operation = f"{self.choose(VERBS)}:imaging{self.choose(('', ':chest', ':head'))}"
        context = {"organization": "cn", **_under("context", given)}
        return Request.build(subject, operation, _under("resource", given), context=context)


def _under(dimension: str, given: dict[str, Any]) -> dict[str, Any]:
    names = ((path.partition("."), value) for path, value in given.items())
    return {name: value for (first, _, name), value in names if first == dimension}

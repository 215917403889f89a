"""Random policies of three layers and requests about them, from a seed: small enough to meet, and quick to make.

All of it keeps to the default vocabulary, so that it could have been written in documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Any

from spir.engine.ruleset import RuleSet, Site
from spir.model.condition import And, Attribute, Call, Compare, Condition, Conditional, Has, Literal, Not, Or
from spir.model.obligation import Obligation
from spir.model.policy import ALWAYS, Kind, Layer, OnMissing, OperationPattern, Policy, PolicySet, Validity
from spir.model.request import Entity, Request
from tests.given import NOON

SITE = Site("cn/zj/hospital-a")
PLACES = ("cn/zj/hospital-a", "cn/zj/hospital-b", "cn/js/hospital-c", "cn")
PEOPLE = ("dr.li", "dr.wang")
TEXTS: Mapping[str, tuple[str, ...]] = {
    "subject.role": ("physician", "nurse"),
    "subject.department": ("cardiology", "surgery"),
    "resource.department": ("cardiology", "surgery"),
    "resource.modality": ("CR", "DX", "CT"),
    "resource.author": PEOPLE,
}
KINDS = (*(Kind.PERMIT,) * 4, *(Kind.DENY,) * 3, Kind.REQUIRE, Kind.DELEGATE, Kind.DELEGATE, Kind.OBLIGE)


class RandomPolicies:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.choose = self.random.choice

    # -- policies ----------------------------------------------------------------------------

    def rules(self) -> RuleSet:
        sets = []
        for number in range(self.choose((1, 2, 2, 3))):
            layer, place = self.choose(tuple(Layer)), self.choose(("", "cn", "cn", "cn/zj", "cn/js"))
            found = tuple(self.policy(f"{layer.label}-{number}-{n}") for n in range(self.random.randint(1, 4)))
            sets.append(PolicySet(f"set-{number}", layer, place, "1.0.0", found))
        return RuleSet.of(sets, "sha256:test", SITE)

    def policy(self, name: str) -> Policy:
        kind = self.choose(KINDS)
        operation = OperationPattern(self.choose(("read", "read", "*")), "result", self.choose(("*", "*", "critical")))
        owed = self.obligations(name) if kind in (Kind.PERMIT, Kind.OBLIGE) else ()
        missing = self.choose(tuple(OnMissing)) if kind not in (Kind.PERMIT, Kind.DELEGATE) else OnMissing.DENY
        return Policy(name, kind, (operation,), self.condition(), owed, self.validity(), on_missing=missing)

    def obligations(self, name: str) -> tuple[Obligation, ...]:
        alert = Obligation(f"{name}-alert", "notify", {"channel": "ward", "priority": self.choose(("low", "high"))})
        mask = Obligation(f"{name}-mask", "mask", {"paths": (self.choose(("patient.name", "patient.telecom")),)})
        return self.choose(((), (), (mask,), (alert,), (alert, mask)))

    def validity(self) -> Validity:
        edge = NOON + timedelta(seconds=self.random.randint(-2, 2))
        return self.choose((ALWAYS, ALWAYS, ALWAYS, Validity(edge), Validity(None, edge)))

    def condition(self, depth: int = 2) -> Condition:
        kind = self.random.random() if depth else 0.0
        if kind < 0.35:
            return self.atom()
        if kind < 0.75:
            return And(self.several(depth))
        if kind < 0.9:
            return Or(self.several(depth))
        if kind < 0.96:
            return Not(self.condition(depth - 1))
        return Conditional(self.condition(depth - 1), self.condition(depth - 1), self.condition(depth - 1))

    def several(self, depth: int) -> tuple[Condition, ...]:
        return tuple(self.condition(depth - 1) for _ in range(self.choose((2, 2, 3))))

    def atom(self) -> Condition:
        made = (self.text, self.text, self.among, self.number, self.number, self.flag, self.has, self.pair, self.listed)
        return self.choose((*made, self.clock, lambda: Literal(True)))()

    def text(self) -> Condition:
        path = self.choose(tuple(TEXTS))
        return Compare(self.choose(("==", "==", "!=")), Attribute(path), Literal(self.choose(TEXTS[path])))

    def among(self) -> Condition:
        path = self.choose(tuple(TEXTS))
        values = tuple(sorted(self.random.sample(TEXTS[path], self.random.randint(1, len(TEXTS[path])))))
        return Compare("in", Attribute(path), Literal(values))

    def number(self) -> Condition:
        op = self.choose(("<", "<=", ">", ">=", "=="))
        return Compare(op, Attribute("resource.sensitivity"), Literal(self.random.randint(1, 5)))

    def flag(self) -> Condition:
        return Attribute("resource.patient.vip")

    def has(self) -> Condition:
        return Has(Attribute(self.choose(("subject.role", "resource.modality", "resource.patient.vip"))))

    def pair(self) -> Condition:
        sides = self.choose(
            (
                ("subject.department", "resource.department"),
                ("resource.author", "subject.id"),
                ("subject.id", "resource.author"),
            )
        )
        return Compare(self.choose(("==", "!=")), *map(Attribute, sides))

    def listed(self) -> Condition:
        team = Compare("in", Attribute("subject.id"), Attribute("resource.patient.care_team"))
        return self.choose((team, team, Compare("in", Literal("a"), Attribute("resource.labels"))))

    def clock(self) -> Condition:
        return Call("time.between", (Literal("08:00"), Literal(self.choose(("11:00", "17:00")))))

    # -- requests ----------------------------------------------------------------------------

    def question(self) -> tuple[Request, datetime]:
        """A request that keeps to the vocabulary, and when it is asked."""
        texts = {path: self.maybe(self.choose(values)) for path, values in TEXTS.items()}
        patient = {
            "care_team": self.maybe([one for one in PEOPLE if self.random.random() < 0.5]),
            "vip": self.maybe(self.choose((True, False))),
        }
        properties: dict[str, Any] = {
            **{path.removeprefix("resource."): value for path, value in texts.items() if path.startswith("resource.")},
            "sensitivity": self.maybe(self.random.randint(1, 5)),
            "labels": self.maybe(self.choose(([], ["a"], ["b"]))),
            "category": self.maybe(self.choose(("critical", "routine"))),
            "organization": self.maybe(self.choose(PLACES)),
            "patient": self.maybe({name: value for name, value in patient.items() if value is not None}),
        }
        said = {path.removeprefix("subject."): value for path, value in texts.items() if path.startswith("subject.")}
        who = Entity("person", self.choose(PEOPLE), {name: value for name, value in said.items() if value is not None})
        request = Request.build(who, self.choose(("read:result", "view:result")), properties)
        return request, NOON + timedelta(seconds=self.random.randint(-3, 3))

    def maybe(self, value: Any) -> Any:
        return value if self.random.random() < 0.75 else None

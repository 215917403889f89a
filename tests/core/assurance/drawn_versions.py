"""Small random policies, and a second version of them with a change or two: so small that requests meet the change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from spir.assurance.change import Version
from spir.engine.ruleset import RuleSet
from spir.model.condition import And, Attribute, Compare, Condition, Has, Literal, Not, Or
from spir.model.obligation import Obligation
from spir.model.policy import ALWAYS, Kind, Layer, OnMissing, OperationPattern, Policy, PolicySet, Validity
from tests.core.assurance.proof.worlds import (
    CATEGORIES,
    LABELS,
    MOMENTS,
    ROLES,
    TYPES,
    VERBS,
    VOCABULARY,
    Cases,
    world,
)

__all__ = ["Drawn"]

KINDS = (*[Kind.PERMIT] * 4, Kind.DELEGATE, Kind.DENY, Kind.DENY, Kind.REQUIRE, Kind.OBLIGE)
JURISDICTIONS = ("", "cn", "cn", "cn/zj", "cn/zj/hospital-a")


class Drawn(Cases):
    """`version` draws policies; `changed` draws what they may become."""

    def atom(self) -> Condition:
        role, level = Attribute("subject.role"), Attribute("resource.sensitivity")
        vip, labels = Attribute("resource.patient.vip"), Attribute("resource.labels")
        return self.choose(
            (
                Compare(self.choose(("==", "!=")), role, Literal(self.choose(ROLES))),
                Compare("in", role, Literal(tuple(self.random.sample(ROLES, 2)))),
                Compare(self.choose(("<", "<=", ">", ">=")), level, Literal(self.choose((2, 3, 4)))),
                Compare(self.choose(("==", "!=")), Attribute("resource.author"), Attribute("subject.id")),
                Compare("==", vip, Literal(self.choose((True, False)))),
                Compare("in", Literal(self.choose(LABELS[:2])), labels),
                Has(self.choose((role, level, vip, labels))),
                Literal(True),
                self.clock(),
            )
        )

    def condition(self, depth: int = 2) -> Condition:
        shape = self.choose(("atom", "atom", "and", "and", "or", "not")) if depth else "atom"
        match shape:
            case "and":
                return And((self.condition(depth - 1), self.condition(depth - 1)))
            case "or":
                return Or((self.condition(depth - 1), self.condition(depth - 1)))
            case "not":
                return Not(self.condition(depth - 1))
        return self.atom()

    def obligations(self) -> tuple[Obligation, ...]:
        path, level = self.choose(("patient.telecom", "patient.address")), self.choose(("full", "basic"))
        return self.choose(
            (
                (),
                (),
                (Obligation(f"m-{path}", "mask", {"paths": (path,)}),),
                (Obligation(f"a-{level}", "audit", {"level": level}),),
                (Obligation("l", "limit", {"count": self.choose((1, 5))}),),
                (Obligation("d", "deidentify", {"profile": self.choose(("basic", "strict"))}),),
            )
        )

    def policy(self, name: str) -> Policy:
        kind = self.choose(KINDS)
        pattern = OperationPattern(
            self.choose((*VERBS[:2], "*")), self.choose((*TYPES, "*")), self.choose(("*", "*", *CATEGORIES))
        )
        owes = self.obligations() if kind in (Kind.PERMIT, Kind.OBLIGE) else ()
        valid = Validity(*(self.choose((None, *MOMENTS)) for _ in range(2))) if self.chance(0.1) else ALWAYS
        missing = self.choose(tuple(OnMissing))
        return Policy(name, kind, (pattern,), self.condition(), owes, valid, on_missing=missing)

    def sets(self) -> tuple[PolicySet, ...]:
        found = []
        for number in range(self.choose((1, 2, 2, 3))):
            policies = tuple(self.policy(f"p{number}{at}") for at in range(self.choose((2, 3, 4))))
            layer = self.choose((*Layer, Layer.INSTITUTION))
            found.append(PolicySet(f"s{number}", layer, self.choose(JURISDICTIONS), "1.0.0", policies))
        return tuple(found)

    def changed(self, sets: tuple[PolicySet, ...]) -> tuple[PolicySet, ...]:
        found = sets
        for _ in range(self.choose((0, 1, 1, 1, 2))):
            at = self.random.randrange(len(found)) if found else 0
            found = (
                *found[:at],
                *(change for one in found[at : at + 1] for change in self.change(one)),
                *found[at + 1 :],
            )
        return tuple(self.random.sample(found, len(found)))

    def change(self, one: PolicySet) -> tuple[PolicySet, ...]:
        changes: tuple[Callable[[PolicySet], tuple[PolicySet, ...]], ...] = (
            self.shuffled,
            self.shortened,
            self.extended,
            self.edited,
            self.edited,
            self.edited,
            self.moved,
            lambda found: (),
        )
        return self.choose(changes)(one)

    def shuffled(self, one: PolicySet) -> tuple[PolicySet, ...]:
        return (replace(one, policies=tuple(self.random.sample(one.policies, len(one.policies)))),)

    def shortened(self, one: PolicySet) -> tuple[PolicySet, ...]:
        return (replace(one, policies=one.policies[1:]),)

    def extended(self, one: PolicySet) -> tuple[PolicySet, ...]:
        return (replace(one, policies=(*one.policies, self.policy(f"new{self.random.randrange(1000)}"))),)

    def moved(self, one: PolicySet) -> tuple[PolicySet, ...]:
        layer = self.choose(tuple(Layer))
        return (replace(one, layer=layer, jurisdiction=self.choose(JURISDICTIONS)),)

    def edited(self, one: PolicySet) -> tuple[PolicySet, ...]:
        if not one.policies:
            return (one,)
        at = self.random.randrange(len(one.policies))
        was, drawn = one.policies[at], self.policy("")
        found = self.choose(
            (
                replace(was, when=drawn.when),
                replace(was, when=Or((was.when, drawn.when))),
                replace(was, when=Not(Not(was.when))),
                replace(was, operations=drawn.operations),
                replace(was, on_missing=drawn.on_missing),
                replace(was, obligations=self.obligations() if was.kind in (Kind.PERMIT, Kind.OBLIGE) else ()),
                replace(drawn, id=was.id),
            )
        )
        return (replace(one, policies=(*one.policies[:at], found, *one.policies[at + 1 :])),)


def version(sets: tuple[PolicySet, ...]) -> Version:
    return Version(RuleSet.of(sets, "sha256:drawn", world().site), VOCABULARY)

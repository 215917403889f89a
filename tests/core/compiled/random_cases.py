"""Random rule sets, facts, requests and rows from a seed: fast enough for a million pairs.

Wider than a document can be: every node of the condition tree, values of wrong
types, attributes that are missing in half of the requests, all that can be
deferred, all layers, jurisdictions, validity to the second, obligations with
and without a common strongest, facts that begin, end, are closed or in doubt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from spir.engine.attributes import NoFacts
from spir.engine.ruleset import RuleSet, Site
from spir.model.condition import (
    TRUE,
    And,
    Arithmetic,
    Attribute,
    Call,
    Compare,
    Comprehension,
    Condition,
    Conditional,
    Has,
    Index,
    ListOf,
    Literal,
    MapOf,
    Negate,
    Not,
    Or,
    Select,
    Variable,
)
from spir.model.facts import (
    CLOSED,
    Assert,
    Change,
    Doubt,
    Fact,
    FactStore,
    Held,
    Join,
    Joining,
    Key,
    Merge,
    Snapshot,
    View,
    empty_snapshot,
)
from spir.model.obligation import Obligation
from spir.model.policy import ALWAYS, Kind, Layer, OnMissing, OperationPattern, Policy, PolicySet, Validity
from spir.model.request import Action, Entity, Request
from spir.model.value import Unknown, Value, freeze
from tests.given import NOON

SHANGHAI = ZoneInfo("Asia/Shanghai")
PATIENTS = ("HIS|P1", "HIS|P2", "HIS|P3")
PEOPLE = ("dr.li", "dr.wang", "n.zhao")
CATEGORIES = ("chest", "head")
TEXTS = ("CT", "CR", "MR", "physician", "nurse", "dr.li", "dr.wang", "10.1.2.3", "chest", "a", "")
LISTS = ((), ("a",), ("a", "b"), ("CT", "CR"), ("dr.li", "n.zhao"), (1, "a"), (True, 1.0))
NUMBERS = (0, 1, 2, 3, 5, -1, 2**63 - 1, 0.0, -0.0, 1.0, 2.5, float("nan"))
MOMENTS = tuple(NOON + timedelta(seconds=n) for n in (-2, -1, 0, 1, 2, 3600))

PATHS = (
    *(f"subject.{name}" for name in ("id", "type", "role", "department", "clearance", "roles", "on_duty")),
    *(f"resource.{name}" for name in ("id", "type", "modality", "sensitivity", "labels", "author", "created")),
    *(f"resource.{name}" for name in ("category", "device.site", "patient.id", "patient.care_team", "patient.vip")),
    *("resource.patient.status", "context.ip", "context.hour", "context.trusted", "context.now"),
    *("action.name", "action.reason", "resource", "odd"),
)

OPERATORS = ("==", "==", "!=", "<", "<=", ">", ">=", "in")


@dataclass(frozen=True)
class Foreign:
    """A view that is not one of ours: it can be asked, not looked into."""

    inside: Snapshot

    @property
    def revision(self) -> int:
        return self.inside.revision

    def get(self, key: Key, attribute: str, at: datetime) -> Held | Unknown:
        return self.inside.get(key, attribute, at)

    def who(self, kind: str, attribute: str, value: Value, at: datetime) -> frozenset[str]:
        return self.inside.who(kind, attribute, value, at)

    def next_change(self, key: Key, attribute: str, at: datetime) -> datetime | None:
        return self.inside.next_change(key, attribute, at)

    def next_who(self, kind: str, attribute: str, value: Value, at: datetime) -> datetime | None:
        return self.inside.next_who(kind, attribute, value, at)


class Cases:
    """Everything comes from one seed."""

    def __init__(self, seed: int | str) -> None:
        self.random = Random(seed)
        self.choose = self.random.choice

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    # -- conditions --------------------------------------------------------------------------

    def value(self) -> Any:
        kind = self.random.random()
        if kind < 0.55:
            return self.choose(TEXTS)
        if kind < 0.75:
            return self.choose(NUMBERS)
        if kind < 0.83:
            return self.chance(0.5)
        if kind < 0.93:
            return self.choose(LISTS)
        return self.choose((*MOMENTS, timedelta(hours=1), b"a", None))

    def attribute(self) -> Attribute:
        return Attribute(self.choose(PATHS))

    def condition(self, depth: int = 3) -> Condition:
        kind = self.random.random()
        if depth == 0 or kind < 0.4:
            return self.atom()
        if kind < 0.75:
            return And(self.several(depth))
        if kind < 0.88:
            return Or(self.several(depth))
        if kind < 0.95:
            return Not(self.condition(depth - 1))
        return Conditional(self.condition(depth - 1), self.condition(depth - 1), self.condition(depth - 1))

    def several(self, depth: int) -> tuple[Condition, ...]:
        return tuple(self.condition(depth - 1) for _ in range(self.choose((1, 2, 2, 3, 4))))

    def atom(self) -> Condition:
        kind = self.random.random()
        if kind < 0.45:
            return self.likely()
        if kind < 0.6:
            return Compare(self.choose(OPERATORS), *self.sides())
        return self.choose(
            (self.attribute, self.clock, self.clock, self.has, self.called, self.loop, self.odd, self.constant)
        )()

    def likely(self) -> Condition:
        """What a policy would say."""
        text = self.choose
        return self.choose(
            (
                lambda: Compare(text(("==", "!=")), Attribute("subject.role"), Literal(text(("physician", "nurse")))),
                lambda: Compare("==", Literal(text(("CT", "CR"))), Attribute("resource.modality")),
                lambda: Compare("in", Attribute("resource.modality"), Literal(text((("CT", "CR"), ("MR",), ())))),
                lambda: Compare(text(("<", ">=")), Attribute("resource.sensitivity"), Literal(text((1, 2, 3)))),
                lambda: Compare(">=", Attribute("subject.clearance"), Attribute("resource.sensitivity")),
                lambda: Compare("in", Attribute("subject.id"), Attribute("resource.patient.care_team")),
                lambda: Compare(text(("==", "!=")), Attribute("resource.author"), Attribute("subject.id")),
                lambda: Compare("==", Attribute("resource.patient.id"), Literal(text(PATIENTS))),
                lambda: Compare("==", Attribute("resource.patient.vip"), Literal(self.chance(0.5))),
                lambda: Compare("==", Attribute("resource.patient.status"), Literal("in-progress")),
                lambda: Compare("in", Literal("a"), Attribute("resource.labels")),
                lambda: Compare("==", Attribute("context.trusted"), Literal(True)),
                lambda: Attribute("resource.patient.vip"),
                lambda: Compare("==", Attribute("subject.department"), Attribute("resource.device.site")),
            )
        )()

    def sides(self) -> tuple[Condition, Condition]:
        found: list[Condition] = [self.operand(), self.operand()]
        self.random.shuffle(found)
        return found[0], found[1]

    def operand(self) -> Condition:
        kind = self.random.random()
        if kind < 0.5:
            return self.attribute()
        if kind < 0.85:
            return Literal(self.value())
        number = Attribute(self.choose(("resource.sensitivity", "subject.clearance", "context.hour")))
        return self.choose(
            (
                lambda: Arithmetic(self.choose("+-*/%"), number, Literal(self.choose(NUMBERS))),
                lambda: Negate(number),
                lambda: Call("size", (Attribute(self.choose(("resource.labels", "subject.role"))),)),
                lambda: ListOf((number, Literal("a"))),
                lambda: Index(Attribute("resource.labels"), Literal(self.choose((0, 1, 7)))),
                lambda: Select(Attribute("resource.device"), self.choose(("site", "none"))),
                lambda: Conditional(Attribute("context.trusted"), number, Literal(1)),
                lambda: Call("string", (number,)),
            )
        )()

    def clock(self) -> Condition:
        now = Attribute("context.now")
        return self.choose(
            (
                lambda: Call("time.between", (Literal("08:00"), Literal(self.choose(("12:00", "20:00", "20:00:01"))))),
                lambda: Compare(self.choose(("<", ">=", "==")), now, Literal(self.choose(MOMENTS))),
                lambda: Compare("<", Arithmetic("-", now, Attribute("resource.created")), Literal(timedelta(hours=1))),
                lambda: Call("within", (Attribute("resource.created"), Literal("1h"), Literal("1s"))),
                lambda: Call("within", (Literal(self.choose(MOMENTS)), Literal("0s"), Literal("1s"))),
                lambda: Compare("==", Call("getHours", (now,)), Literal(12)),
                lambda: Compare("==", Call("getSeconds", (now,)), Attribute("resource.sensitivity")),
            )
        )()

    def has(self) -> Condition:
        return Has(self.choose((self.attribute(), Select(Attribute("resource.device"), "site"))))

    def called(self) -> Condition:
        return self.choose(
            (
                lambda: Call(self.choose(("startsWith", "endsWith", "contains")), (self.attribute(), Literal("dr"))),
                lambda: Call("matches", (self.attribute(), Literal("^C[TR]$"))),
                lambda: Call("ip.in", (Attribute("context.ip"), Literal("10.1.0.0/16"))),
                lambda: Call("org.under", (Attribute("subject.department"), Literal("CT"))),
                lambda: Call("unheard.of", (self.attribute(),)),
            )
        )()

    def loop(self) -> Condition:
        over = Attribute(self.choose(("resource.labels", "subject.roles", "resource.patient.care_team")))
        item = Variable(self.choose("xxxy"))
        body = Compare(self.choose(("==", "!=", "in")), item, self.operand())
        if self.chance(0.2):
            listed = self.choose(
                (
                    lambda: Comprehension("filter", over, "x", body),
                    lambda: Comprehension("map", over, "x", body, item),
                    lambda: Comprehension("map", over, "x", item),
                )
            )()
            return Compare(self.choose(("==", ">")), Call("size", (listed,)), Literal(self.choose((0, 1, 2))))
        if self.chance(0.15):
            inside = Comprehension(self.choose(("exists", "all")), over, "y", Compare("==", item, Variable("y")))
            body = Compare("==", inside, Literal(True))
        return Comprehension(self.choose(("exists", "all", "exists_one")), over, "x", body)

    def odd(self) -> Condition:
        return self.choose(
            (
                lambda: Literal(self.value()),
                lambda: Variable("x"),
                lambda: MapOf(((Literal("a"), self.attribute()),)),
                lambda: Negate(self.attribute()),
                lambda: And(()),
                lambda: Or(()),
            )
        )()

    def constant(self) -> Condition:
        return self.choose((TRUE, Literal(False), Compare("==", Literal(1), Literal("a"))))

    # -- policies ----------------------------------------------------------------------------

    def obligations(self) -> tuple[Obligation, ...]:
        def one() -> Obligation:
            path = self.choose(("patient.telecom", "patient.address"))
            profile = self.choose(("basic", "basic", "strict", "unheard-of"))
            return self.choose(
                (
                    Obligation(f"mask-{path}", "mask", freeze({"paths": [path]})),
                    Obligation(f"deid-{profile}", "deidentify", freeze({"profile": profile})),
                    Obligation("few", "limit", freeze({"count": self.choose((5, 10, "x"))})),
                    Obligation(
                        "tell", "notify", freeze({"channel": "alert", "priority": self.choose(("high", "low"))})
                    ),
                )
            )

        return tuple(one() for _ in range(self.choose((0, 0, 1, 1, 2))))

    def edge(self) -> datetime | None:
        if self.chance(0.6):
            return None
        return (NOON + timedelta(seconds=self.choose(range(-3, 4)))).astimezone(self.choose((UTC, SHANGHAI)))

    def policy(self, id: str) -> Policy:
        kind = self.choose((Kind.PERMIT, Kind.PERMIT, Kind.DELEGATE, Kind.DENY, Kind.REQUIRE, Kind.OBLIGE))
        obligations = self.obligations() if kind in (Kind.PERMIT, Kind.OBLIGE) else ()
        valid = Validity(self.edge(), self.edge()) if self.chance(0.25) else ALWAYS
        missing = self.choose(tuple(OnMissing))
        return Policy(id, kind, self.operations(), self.condition(), obligations, valid, on_missing=missing)

    def operations(self) -> tuple[OperationPattern, ...]:
        def one() -> OperationPattern:
            category = self.choose(("*", "*", *CATEGORIES))
            return OperationPattern(
                self.choose(("search", "search", "*")), self.choose(("imaging", "imaging", "*")), category
            )

        return tuple(one() for _ in range(self.choose((1, 1, 2))))

    def rules(self, most: int = 4, least: int = 1) -> RuleSet:
        """One to three sets, each of `least` to `most` policies."""
        sets = []
        for number in range(self.choose((1, 1, 2, 3))):
            layer = self.choose(tuple(Layer))
            path = self.choose(("", "", "cn", "cn/zj", "cn/js"))
            found = tuple(self.policy(f"p{number}-{n}") for n in range(self.random.randint(least, most)))
            sets.append(PolicySet(f"set-{number}", layer, path, "1.0.0", found))
        return RuleSet.of(sets, "sha256:random", Site("cn/zj/hospital-a", SHANGHAI))

    # -- facts -------------------------------------------------------------------------------

    def view(self) -> View:
        if self.chance(0.2):
            return NoFacts()
        snapshot = self.snapshot()
        return Foreign(snapshot) if self.chance(0.15) else snapshot

    def snapshot(self) -> Snapshot:
        joins = {"care_team": Join(Joining.UNION), "vip": Join(Joining.ANY), "status": Join(Joining.LATEST)}
        store = FactStore(empty_snapshot(joins))
        store.apply([change for patient in PATIENTS if self.chance(0.7) for change in self.about_patient(patient)])
        store.apply([change for person in PEOPLE if self.chance(0.4) for change in self.about_person(person)])
        return store.snapshot

    def about_patient(self, patient: str) -> list[Change]:
        key, found = ("patient", patient), []
        for visit in ("visit:1", "visit:2"):
            team = tuple(person for person in PEOPLE if self.chance(0.4))
            found += self.fact(key, "care_team", team, f"{visit}/team") if team else []
            found += self.fact(key, "vip", self.chance(0.3), visit) if self.chance(0.5) else []
            found += self.fact(key, "status", self.choose(("in-progress", "finished", None)), visit)
            found += self.fact(key, CLOSED, True, visit) if self.chance(0.2) else []
        if self.chance(0.1):
            found.append(Doubt(key, "test", NOON))
        if self.chance(0.1):
            found.append(Merge(("patient", "HIS|P9"), key, "test", NOON))
        return found

    def about_person(self, person: str) -> list[Change]:
        key = ("staff", person)
        found = self.fact(key, "on_duty", self.chance(0.7), "")
        return found + (self.fact(key, "role", self.choose(("physician", "nurse")), "") if self.chance(0.5) else [])

    def fact(self, key: tuple[str, str], attribute: str, value: Any, part: str) -> list[Change]:
        start, end = (self.edge(), self.edge()) if self.chance(0.25) else (None, None)
        as_of = NOON + timedelta(seconds=self.choose((-1, 0)))
        return [Assert(Fact(key, attribute, value, "test", as_of, part, start, end))]

    # -- requests ----------------------------------------------------------------------------

    def properties(self, given: dict[str, Any], present: float) -> dict[str, Any]:
        """Those that are present; a few with a value of any type."""
        return {
            name: self.value() if self.chance(0.05) else value for name, value in given.items() if self.chance(present)
        }

    def resource(self, present: float) -> dict[str, Any]:
        patient: Any = {"id": self.choose((*PATIENTS, "HIS|P9"))}
        if self.chance(0.15):
            patient |= {"vip": self.chance(0.5), "status": "in-progress"}
        return self.properties(
            {
                "modality": self.choose(("CT", "CR", "MR")),
                "sensitivity": self.choose((1, 2, 3, 4)),
                "labels": self.choose(LISTS),
                "author": self.choose(PEOPLE),
                "created": self.choose(MOMENTS),
                "category": self.choose((*CATEGORIES, "foot")),
                "device": {"site": self.choose(("CT", "cn"))},
                "patient": self.choose((patient, patient, patient["id"])),
            },
            present,
        )

    def request(self) -> Request:
        present = self.choose((1.0, 1.0, 0.8, 0.5))
        subject = {"role": self.choose(("physician", "nurse")), "department": self.choose(("CT", "cn"))}
        subject |= {"clearance": self.choose((1, 2, 3)), "roles": self.choose(LISTS)}
        context = {"ip": self.choose(("10.1.2.3", "10.2.0.1", "x")), "hour": self.choose((7, 12)), "trusted": True}
        resource = self.resource(present if self.chance(0.5) else 0.2)
        if self.chance(0.1):
            resource["organization"] = self.choose(("cn/zj/hospital-a", "cn/js/hospital-b", "us", 3))
        deferred = self.choose(
            (
                (),
                (),
                ("resource",),
                ("resource",),
                ("resource.patient", "resource.modality"),
                ("subject", "context"),
                ("resource.category",),
                ("resource.patient.care_team", "resource.labels", "context.ip"),
                ("action", "resource.device", "subject.roles"),
            )
        )
        return Request(
            Entity(self.choose(("person", "system")), self.choose(PEOPLE), freeze(self.properties(subject, present))),
            Action(
                self.choose(("search", "search", "search", "read", "*")), freeze(self.properties({"reason": "x"}, 0.5))
            ),
            Entity(self.choose(("imaging", "imaging", "imaging", "report")), self.choose(("", "1")), freeze(resource)),
            freeze(self.properties(context, present)),
            frozenset(deferred),
        )

    def row(self) -> dict[str, Any]:
        found: dict[str, Any] = self.resource(self.choose((1.0, 0.8, 0.3)))
        if self.chance(0.05):
            found["organization"] = self.choose(("cn/zj/hospital-a", "us"))
        if self.chance(0.1):
            found[self.choose(("modality", "labels"))] = None
        return found

    def moment(self) -> datetime:
        at = NOON + timedelta(seconds=self.choose((0, 0, 0, -2, -1, 1, 2, 0.5)))
        return at.astimezone(self.choose((UTC, UTC, SHANGHAI, timezone(timedelta(hours=8)))))

    def another(self, request: Request) -> Request:
        """Almost the same request: what is remembered of the first must not leak into it."""
        subject = replace(request.subject, id=self.choose(PEOPLE))
        return replace(request, subject=subject) if self.chance(0.5) else request.completed(self.row())

"""A decision stays what it is until `valid_until`, to the microsecond: never may it change before.

Random policies, facts and requests full of clocks; plain `random` with a
seed, so that a failure names it. From a moment on the test goes from edge to
edge, and between two of them asks again at moments where something could be.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from spir.engine.reference import decide
from spir.engine.ruleset import RuleSet, Site
from spir.model.condition import (
    And,
    Arithmetic,
    Attribute,
    Call,
    Compare,
    Comprehension,
    Condition,
    Conditional,
    Literal,
    Not,
    Or,
    Variable,
)
from spir.model.decision import Decision, Effect
from spir.model.facts import Assert, Fact, FactStore, Join, Joining, Snapshot, View, empty_snapshot
from spir.model.obligation import Obligation
from spir.model.policy import Kind, Layer, OnMissing, OperationPattern, Policy, PolicySet, Validity
from spir.model.request import Entity, Request
from tests.given import NOON

CASES = int(os.environ.get("SPIR_VALIDITY_CASES", "400"))
STEPS = 4
TICK = timedelta(microseconds=1)
BERLIN = ZoneInfo("Europe/Berlin")
# An ordinary noon, and the moments at which Berlin's clocks go back and forward.
MOMENTS = (NOON, datetime(2026, 10, 25, 1, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=UTC))
NOW = Attribute("context.now")
CREATED, TIMES = Attribute("resource.created"), Attribute("resource.times")
ADMITTED = Attribute("resource.patient.admitted")
PATIENTS = ("HIS|P1", "HIS|P2", "HIS|P3")
IMAGES = (OperationPattern("search", "imaging"),)


class Clocks:
    """One random case around `start`."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.choose = self.random.choice
        self.start = self.choose(MOMENTS)

    def near(self) -> datetime:
        return self.start + timedelta(seconds=self.choose((-3600, -3, -2, -1, 0, 1, 2, 3, 0.5, 3600)))

    def edge(self) -> datetime | None:
        return self.near() if self.random.random() < 0.4 else None

    # -- conditions --------------------------------------------------------------------------

    def condition(self, depth: int = 2) -> Condition:
        kind = self.random.random() if depth else 0.0
        if kind < 0.35:
            return self.clock() if self.random.random() < 0.6 else self.plain()
        several = tuple(self.condition(depth - 1) for _ in range(2))
        if kind < 0.65:
            return And(several)
        if kind < 0.85:
            return Or(several)
        return Not(several[0]) if kind < 0.93 else Conditional(self.clock(), *several)

    def plain(self) -> Condition:
        team, vip = Attribute("resource.patient.care_team"), Attribute("resource.patient.vip")
        return self.choose(
            (
                Compare("in", Attribute("subject.id"), team),
                Compare("==", vip, Literal(True)),
                vip,
                Compare("==", Attribute("subject.on_duty"), Literal(True)),
                Compare("==", Attribute("resource.modality"), Literal("CT")),
            )
        )

    def clock(self) -> Condition:
        op = self.choose(("<", "<=", ">", ">=", "==", "!="))
        moment = self.choose((Literal(self.near()), CREATED, ADMITTED))
        second = Literal(self.choose((timedelta(seconds=1), timedelta(hours=1))))
        zone = self.choose(((), (Literal("Europe/Berlin"),)))
        local = (self.start + timedelta(seconds=self.choose((-1, 1, 3600)))).astimezone(BERLIN)
        bounds = [f"{local:%H:%M:%S}", self.choose(("08:00", "20:00", "02:30", "03:00"))]
        self.random.shuffle(bounds)
        return self.choose(
            (
                Compare(op, NOW, moment),
                Compare(op, moment, NOW),
                Compare(op, Arithmetic("-", NOW, moment), second),
                Compare(op, Arithmetic("+", NOW, second), moment),
                Compare(op, Arithmetic("-", moment, NOW), second),
                Compare(op, moment, Arithmetic("-", NOW, second)),
                Call("time.between", tuple(Literal(bound) for bound in bounds)),
                Call("time.between", (Literal(bounds[0]), Attribute("resource.closing"))),
                Call("within", (moment, Literal("1s"), Literal(self.choose(("2s", "1h"))))),
                Compare(op, Call("getSeconds", (NOW,)), Literal(self.choose((0, 2, 59)))),
                Compare(op, Call("getHours", (NOW, *zone)), Literal(self.choose((1, 2, 3, 12)))),
                Compare("==", Call("getDayOfWeek", (NOW, *zone)), Literal(6)),
                Compare("in", NOW, Literal((self.near(), self.near()))),
                Comprehension(self.choose(("exists", "all")), TIMES, "t", Compare(op, Variable("t"), NOW)),
                Comprehension("exists_one", TIMES, "t", Call("within", (Variable("t"), Literal("1s"), Literal("1s")))),
            )
        )

    # -- policies, facts, requests -----------------------------------------------------------

    def rules(self) -> RuleSet:
        layers = self.choose(((Layer.INSTITUTION,), (Layer.NATIONAL, Layer.INSTITUTION)))
        sets = tuple(
            PolicySet(layer.label, layer, "", "1.0.0", tuple(self.policy(f"{layer.label}-{n}") for n in range(3)))
            for layer in layers
        )
        return RuleSet.of(sets, "", Site("cn", BERLIN))

    def policy(self, id: str) -> Policy:
        kind = self.choose((Kind.PERMIT, Kind.PERMIT, Kind.DELEGATE, Kind.DENY, Kind.REQUIRE, Kind.OBLIGE))
        duty = (Obligation(f"mask-{id}", "mask", {"paths": (id,)}),) if kind in (Kind.PERMIT, Kind.OBLIGE) else ()
        valid = Validity(self.edge(), self.edge())
        return Policy(id, kind, IMAGES, self.condition(), duty, valid, on_missing=self.choose(tuple(OnMissing)))

    def facts(self) -> Snapshot:
        store = FactStore(empty_snapshot({"care_team": Join(Joining.UNION), "vip": Join(Joining.ANY)}))
        for patient in PATIENTS:
            for part in ("visit:1", "visit:2"):
                given = {"care_team": ("dr.li",), "vip": self.choose((True, False)), "admitted": self.near()}
                for attribute in self.random.sample(sorted(given), self.random.randint(0, 3)):
                    self.learn(store, ("patient", patient), attribute, given[attribute], part)
        self.learn(store, ("staff", "dr.li"), "on_duty", True, "")
        return store.snapshot

    def learn(self, store: FactStore, key: tuple[str, str], attribute: str, value: Any, part: str) -> None:
        as_of = self.start - timedelta(days=self.choose((1, 2)))
        store.apply([Assert(Fact(key, attribute, value, "test", as_of, part, self.edge(), self.edge()))])

    def request(self) -> Request:
        given = {
            "modality": self.choose(("CT", "MR")),
            "created": self.near(),
            "times": (self.near(), self.near()),
            "closing": "12:00:02",
            "patient": {"id": self.choose(PATIENTS)},
        }
        known = self.choose((list(given), list(given), self.random.sample(sorted(given), 2), []))
        deferred = self.choose(((), ("resource",)))
        properties = {name: given[name] for name in known}
        return Request.build(Entity("person", "dr.li"), "search:imaging", properties, deferred=deferred)

    def between(self, at: datetime, until: datetime | None) -> set[datetime]:
        """Moments in [at, until): just before its end, around all that the case knows of, and anywhere."""
        end = until or self.start + timedelta(days=3)
        shifts = (0.0, 0.25, 1, 2, 3, 4, 60, 3599, 3600, 3601, 7200, 10_800, 43_200, 86_400)
        found = {self.start + sign * timedelta(seconds=n) + tick for n in shifts for sign in (1, -1) for tick in _TICKS}
        chosen = set(self.random.sample(sorted(found), 8)) | {end - TICK, at + TICK, at + (end - at) / 2}
        return {moment for moment in chosen if at < moment < end}


_TICKS = (-TICK, timedelta(), TICK)


def test_no_decision_changes_before_its_end() -> None:
    ended = changed = 0
    for seed in range(CASES):
        case = Clocks(seed)
        rules, facts, request, at = case.rules(), case.facts(), case.request(), case.near()
        for _ in range(STEPS):
            decision = decide(rules, request, facts, at)
            assert decision.valid_until is None or decision.valid_until > at, seed
            for moment in case.between(at, decision.valid_until):
                later = decide(rules, request, facts, moment)
                assert _said(later) == _said(decision), (seed, at, moment)
            if decision.valid_until is None:
                break
            at = decision.valid_until
            ended += 1
            changed += _said(decide(rules, request, facts, at)) != _said(decision)
    assert ended > CASES and changed > CASES // 4  # the ends are not all too early


def _said(decision: Decision) -> Decision:
    return replace(decision, valid_until=None)


# -- each kind of end, to the microsecond ------------------------------------------------------


def permitted(when: Condition, valid: Validity = Validity()) -> RuleSet:
    policy = Policy("p", Kind.PERMIT, IMAGES, when, valid=valid)
    return RuleSet.of((PolicySet("s", Layer.INSTITUTION, "", "1.0.0", (policy,)),), "", Site("cn", BERLIN))


def asked(*deferred: str, **properties: Any) -> Request:
    return Request.build(Entity("person", "dr.li"), "search:imaging", properties, deferred=deferred)


def team_of(patient: str, start: datetime | None = None, end: datetime | None = None) -> View:
    store = FactStore(empty_snapshot({"care_team": Join(Joining.UNION)}))
    store.apply([Assert(Fact(("patient", patient), "care_team", ("dr.li",), "test", NOON, "v", start, end))])
    return store.snapshot


SOON = NOON + timedelta(seconds=2)
IN_TEAM = Compare("in", Attribute("subject.id"), Attribute("resource.patient.care_team"))


@pytest.mark.parametrize(
    ("rules", "facts", "request_"),
    (
        (permitted(Literal(True), Validity(None, SOON)), empty_snapshot(), asked()),
        (permitted(IN_TEAM), team_of("HIS|P1", end=SOON), asked(patient={"id": "HIS|P1"})),
        (permitted(Compare("<", NOW, Literal(SOON))), empty_snapshot(), asked()),
        (permitted(Call("time.between", (Literal("12:00"), Literal("13:00:02")))), empty_snapshot(), asked()),
    ),
    ids=("a policy", "a fact", "a deadline", "a time of day"),
)
def test_a_permit_ends_exactly_at_its_edge(rules: RuleSet, facts: View, request_: Request) -> None:
    decision = decide(rules, request_, facts, NOON)
    assert (decision.effect, decision.valid_until) == (Effect.PERMIT, SOON)
    assert decide(rules, request_, facts, SOON - TICK).permitted
    assert decide(rules, request_, facts, SOON).denied


@pytest.mark.parametrize(("start", "end"), ((None, SOON), (SOON, None)))
def test_a_residual_ends_when_a_patient_joins_or_leaves(start: datetime | None, end: datetime | None) -> None:
    """Its clauses list the patients: the list is right until a fact of any of them begins or ends."""
    rules, facts, request = permitted(IN_TEAM), team_of("HIS|P1", start, end), asked("resource")
    now, later = decide(rules, request, facts, NOON), decide(rules, request, facts, SOON)
    allowed = [decision.residual.allowed("resource.patient.id") for decision in (now, later)]
    assert now.valid_until == SOON
    assert set(map(frozenset, (a or () for a in allowed))) == {frozenset(), frozenset({"HIS|P1"})}


def test_a_residual_that_measures_rows_by_the_clock_is_for_this_moment_only() -> None:
    """What it admits moves with every tick: kept for longer it would admit rows that are too old."""
    rules = permitted(Compare("<", Arithmetic("-", NOW, CREATED), Literal(timedelta(hours=1))))
    assert decide(rules, asked("resource"), empty_snapshot(), NOON).valid_until == NOON + TICK


def test_a_list_of_moments_is_watched_member_by_member() -> None:
    rules = permitted(Comprehension("exists", TIMES, "t", Compare("<=", Variable("t"), NOW)))
    decision = decide(rules, asked(times=(SOON,)), empty_snapshot(), NOON)
    assert decision.denied and decision.valid_until is not None and decision.valid_until <= SOON

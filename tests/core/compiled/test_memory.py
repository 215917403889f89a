"""What compiled rules remember: it is bounded, keeps apart what is different, and ends when it must."""

from __future__ import annotations

import gc
import tracemalloc
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from spir.engine import compiler
from spir.engine.attributes import NoFacts
from spir.engine.compiled import column, facts, place, question, sieve
from spir.engine.compiled.assembly import STEP
from spir.engine.compiler import Compiled, compile_in_slices, compile_rules
from spir.engine.reference import decide
from spir.engine.ruleset import RuleSet, Site
from spir.model.condition import TRUE, And, Attribute, Call, Compare, Condition, Literal
from spir.model.decision import Decision, Effect
from spir.model.facts import Assert, Fact, FactStore, Join, Joining, View, empty_snapshot
from spir.model.policy import ALWAYS, Kind, Layer, OperationPattern, Policy, PolicySet, Validity
from spir.model.request import Request
from tests.core.compiled.random_cases import Cases
from tests.core.compiled.test_same_decisions import assert_same
from tests.given import DR_LI, NOON

IMAGES = (OperationPattern("search", "imaging"),)
SENSITIVITY = Attribute("resource.sensitivity")
TEAM = Compare("in", Attribute("subject.id"), Attribute("resource.patient.care_team"))


def permit(id: str, when: Condition = TRUE, valid: Validity = ALWAYS, kind: Kind = Kind.PERMIT) -> Policy:
    return Policy(id, kind, IMAGES, when, valid=valid)


def rules_of(*policies: Policy, zone: str = "UTC") -> RuleSet:
    return RuleSet.of([PolicySet("s", Layer.INSTITUTION, "", "1.0.0", policies)], "", Site("cn", ZoneInfo(zone)))


def asked(compiled: Compiled, properties: dict[str, Any], view: View | None = None, at: datetime = NOON) -> Decision:
    """The decision, which is also that of the reference."""
    request, view = Request.build(DR_LI, "search:imaging", properties), view or NoFacts()
    decision = compiled.decide(request, view, at)
    assert decision == decide(compiled.rules, request, view, at)
    return decision


def test_values_that_python_holds_equal_are_kept_apart() -> None:
    compiled = compile_rules(rules_of(permit("p", Compare("==", SENSITIVITY, Literal(1)))))
    for _ in range(2):
        assert asked(compiled, {"sensitivity": 1}).effect is Effect.PERMIT
        assert asked(compiled, {"sensitivity": True}).effect is Effect.DENY
        assert asked(compiled, {"sensitivity": 1.0}).effect is Effect.PERMIT
        assert asked(compiled, {"sensitivity": [1]}).effect is Effect.DENY
        assert asked(compiled, {"sensitivity": [True]}).effect is Effect.DENY


def test_both_zeros_and_no_number_are_kept_apart() -> None:
    turned = Compare("==", Call("string", (SENSITIVITY,)), Literal("-0"))
    compiled = compile_rules(rules_of(permit("p", turned)))
    for value in (0.0, -0.0, float("nan"), 0.0, 0):
        asked(compiled, {"sensitivity": value})


def test_strangers_values_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column, "MAX_MARKS", 8)
    monkeypatch.setattr(question, "MAX_OUTCOMES", 8)
    monkeypatch.setattr(compiler, "MAX_PLACES", 8)
    monkeypatch.setattr(compiler, "MAX_HELD", 16)
    monkeypatch.setattr(place, "MAX_DUTIES", 4)
    rules = rules_of(
        permit("a", Compare("<", SENSITIVITY, Literal(10))),
        permit("b", Compare("==", Attribute("resource.modality"), Literal("CT"))),
        permit("c", Compare("==", Attribute("resource.modality"), SENSITIVITY)),
    )
    compiled = compile_rules(rules)
    for n in range(50):
        for value in (n, f"x{n}", n + 0.5, [n], {"a": n}, [f"t{n}"]):
            asked(compiled, {"sensitivity": value, "modality": value, "category": f"c{n}", "organization": f"cn/{n}"})
    assert len(compiled._places) <= 8
    assert sum(len(by_category) for by_kind in compiled._near.values() for by_category in by_kind.values()) <= 8
    for known in compiled._places.values():
        assert sum(map(len, known._memories.values())) <= 16


def test_long_texts_are_not_remembered() -> None:
    """However many and however long strangers' values are, what is kept of them is small."""
    rules = rules_of(
        permit("a", Call("startsWith", (Attribute("resource.modality"), Literal("CT")))),
        permit("b", Compare("<", SENSITIVITY, Attribute("resource.modality"))),
        permit("c", Compare("in", Literal("x"), Attribute("resource.labels"))),
    )
    compiled = compile_rules(rules)
    asked(compiled, {})
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for n in range(60):
            text = f"CT{n}" * 5000
            given = {"modality": text, "sensitivity": text, "labels": [text], "organization": f"cn/{text}"}
            for name in (*given, "category"):
                asked(compiled, {**given, name: text})
            unknown = Request.build(DR_LI, "search:imaging", deferred=(f"resource.{text}", "resource.labels"))
            compiled.decide(unknown, NoFacts(), NOON)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1_000_000


def test_facts_are_remembered_until_they_change() -> None:
    store = FactStore(empty_snapshot({"care_team": Join(Joining.UNION)}))
    compiled = compile_rules(rules_of(permit("p", TEAM)))
    chart = {"patient": {"id": "HIS|P1"}}
    assert asked(compiled, chart, store.snapshot).effect is Effect.DENY
    key = ("patient", "HIS|P1")
    before = store.apply([Assert(Fact(key, "care_team", ("dr.li",), "test", NOON))])
    assert asked(compiled, chart, before).effect is Effect.PERMIT
    after = store.apply([Assert(Fact(key, "care_team", ("dr.wang",), "test", NOON))])
    assert asked(compiled, chart, after).effect is Effect.DENY
    assert asked(compiled, chart, before).effect is Effect.PERMIT
    assert asked(compiled, chart, after).facts == after.revision


def test_facts_that_end_are_asked_each_time() -> None:
    store = FactStore(empty_snapshot({"care_team": Join(Joining.UNION)}))
    end = NOON + timedelta(seconds=1)
    fact = Fact(("patient", "HIS|P1"), "care_team", ("dr.li",), "test", NOON, valid_until=end)
    view = store.apply([Assert(fact)])
    compiled = compile_rules(rules_of(permit("p", TEAM)))
    chart = {"patient": {"id": "HIS|P1"}}
    assert asked(compiled, chart, view).valid_until == end
    assert asked(compiled, chart, view, end).effect is Effect.DENY
    assert asked(compiled, chart, view).effect is Effect.PERMIT


def test_the_facts_of_many_patients_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "MAX_KEYS", 8)
    store = FactStore(empty_snapshot({"care_team": Join(Joining.UNION)}))
    view = store.apply([Assert(Fact(("patient", f"HIS|P{n}"), "care_team", ("dr.li",), "t", NOON)) for n in range(30)])
    compiled = compile_rules(rules_of(permit("p", TEAM)))
    for n in range(30):
        assert asked(compiled, {"patient": {"id": f"HIS|P{n}"}}, view).effect is Effect.PERMIT
    assert len(compiled._facts._known) <= 8


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_a_window_ends_with_a_policy_or_a_clock(zone: str) -> None:
    end = NOON + timedelta(seconds=2)
    hours = Call("time.between", (Literal("08:00"), Literal("20:00")))
    night = permit("night", hours, kind=Kind.REQUIRE)
    compiled = compile_rules(rules_of(permit("p", valid=Validity(None, end)), night, zone=zone))
    for seconds in (0, 1, 2, 3, 2, 1, 0, 3600 * 7, 3600 * 8, 3600 * 7, 3600 * 20 + 1, 3600 * 21, 3600 * 22, 0):
        for at in (NOON + timedelta(seconds=seconds), (NOON + timedelta(seconds=seconds)).astimezone(ZoneInfo(zone))):
            asked(compiled, {}, at=at)


def test_a_window_holds_through_the_night_the_clocks_go_back() -> None:
    """The end of a policy in the very zone of the clock is compared by wall time, which then repeats itself."""
    berlin = ZoneInfo("Europe/Berlin")
    end = datetime(2026, 10, 25, 2, 30, tzinfo=berlin)
    compiled = compile_rules(rules_of(permit("p", valid=Validity(None, end)), zone="Europe/Berlin"))
    start = datetime(2026, 10, 24, 23, 30, tzinfo=UTC)
    for minutes in range(0, 240, 5):
        asked(compiled, {}, at=(start + timedelta(minutes=minutes)).astimezone(berlin))
        asked(compiled, {}, at=start + timedelta(minutes=minutes))


def test_many_questions_are_asked_in_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sieve, "MAX_QUESTIONS", 1)
    monkeypatch.setattr(sieve, "MAX_JOINED", 4)
    for seed in range(40):
        cases = Cases(seed)
        compiled = compile_rules(cases.rules(most=8))
        views = [cases.view()]
        for _ in range(10):
            assert_same(cases, compiled, views, f"seed {seed}")


def test_tails_are_made_for_what_comes_often_and_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sieve, "MAX_TAILS", 4)
    paths = [Attribute(f"resource.{name}") for name in ("modality", "status", "labels", "owner", "series", "study")]
    rules = rules_of(
        *(
            permit(f"p{n}", And(tuple(Compare("==", path, Literal(f"{n % (2 + place)}")) for place, path in some)))
            for n, some in enumerate(combinations(enumerate(paths), 3))
        )
    )
    compiled = compile_rules(rules)
    charts = [{path.path.partition(".")[2]: str(n % (2 + p)) for p, path in enumerate(paths)} for n in range(60)]
    for _ in range(sieve.OFTEN - 1):
        asked(compiled, charts[0])
    (place,) = compiled._places.values()
    constants = place.bucket.sieve.__defaults__[0]
    tails = next(one.__self__ for one in constants if isinstance(getattr(one, "__self__", None), sieve._Tails))
    assert not tails.own
    asked(compiled, charts[0])
    assert len(tails.own) == 1
    for chart in charts * sieve.OFTEN:
        asked(compiled, chart)
    assert len(tails.own) == 4
    assert len(tails.met) <= 4


def test_verbs_and_types_that_no_policy_names_share_their_rules() -> None:
    everything = Policy("all", Kind.PERMIT, (OperationPattern("*", "*"),))
    rules = rules_of(everything, permit("p"))
    assert rules.rules("read", "report") is rules.rules("view", "report") is rules.rules("*", "*")
    assert [rule.policy.id for rule in rules.rules("search", "imaging")] == ["all", "p"]
    assert [rule.policy.id for rule in rules.rules("search", "report")] == ["all"]


def test_a_category_that_is_no_text_is_about_no_category_in_particular() -> None:
    chest = Policy("chest", Kind.PERMIT, (OperationPattern("search", "imaging", "chest"),))
    compiled = compile_rules(rules_of(chest, permit("p")))
    for category in ({"a": 1}, [["chest"]], 1, True, "", "*", "chest", "foot", None):
        asked(compiled, {"category": category})


def test_slices_are_small() -> None:
    """Not by the clock, which a test must not ask, but by how much is done in one: a bounded number of policies."""
    policies = [
        permit(f"p{n}", And((Compare("==", SENSITIVITY, Literal(n)), Compare("<", SENSITIVITY, Literal(n)))))
        for n in range(STEP * 20)
    ]
    steps = sum(1 for _ in compile_in_slices(rules_of(*policies)))
    assert steps >= 60

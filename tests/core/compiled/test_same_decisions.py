"""Compiled rules decide as the reference interpreter does: the very same decision, in every field.

Two sources of cases: the strategies of the engine's property tests, and a
plain generator that is wider and fast enough for a million pairs
(`SPIR_COMPILED_PAIRS=1000000`).
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spir.engine.compiled import sieve, source
from spir.engine.compiler import Compiled, compile_in_slices, compile_rules
from spir.engine.reference import decide
from spir.engine.ruleset import RuleSet
from spir.engine.ruling import rule
from spir.model.facts import Snapshot
from spir.model.request import Request
from tests.core.compiled.random_cases import Cases
from tests.core.engine.strategies import requests, rows, rule_sets, snapshots
from tests.given import NOON

PAIRS = int(os.environ.get("SPIR_COMPILED_PAIRS", "3000"))
SEED = int(os.environ.get("SPIR_COMPILED_SEED", "1"))
SIZES = ((4, 1),) * 23 + ((12, 1),) * 8 + ((70, 51),)  # most and least policies of a set
LIMITS = ((sieve, "OFTEN"), (sieve, "HEAD"), (sieve, "SPARED"), (sieve, "MAX_WEIGHT"), (source, "MAX_NODES"))
AS_IN_USE = tuple(getattr(module, name) for module, name in LIMITS)
EAGER, IN_PIECES = (1, 1, 0, 1000, 1000), (1, 1, 3, 4, 3)
REQUESTS = 50  # to each rule set: what is remembered of one must not change another

many = settings(max_examples=150, deadline=None)


@many
@given(rule_sets(), requests(), snapshots(), rows(), st.data())
def test_compiled_rules_decide_and_judge_rows_as_the_reference_does(
    rules: RuleSet, request: Request, facts: Snapshot, row: dict[str, Any], data: st.DataObject
) -> None:
    compiled = compile_rules(rules)
    known = data.draw(st.sets(st.sampled_from(sorted(row)))) if row else set()
    for asked in (request, request.completed({name: row[name] for name in known}), request.completed(row), request):
        assert compiled.decide(asked, facts, NOON) == decide(rules, asked, facts, NOON)
    ours = rule(rules, request, facts, NOON, decide=compiled.decide)
    assert ours.admit(row) == rule(rules, request, facts, NOON).admit(row)


def test_compiled_rules_decide_as_the_reference_does_on_many_random_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the rule sets make tails for what comes often, as in use. Of the others some make one for whatever they
    meet, at once; and some ask a few things in each function."""
    for seed in range(SEED * 1_000_000, SEED * 1_000_000 + -(-PAIRS // REQUESTS)):
        for (module, name), value in zip(LIMITS, (AS_IN_USE, EAGER, AS_IN_USE, IN_PIECES)[seed % 4], strict=True):
            monkeypatch.setattr(module, name, value)
        cases = Cases(seed)
        rules = cases.rules(*cases.choose(SIZES))
        compiled = compile_rules(rules)
        views = [cases.view() for _ in range(3)]
        for _ in range(REQUESTS):
            assert_same(cases, compiled, views, f"seed {seed}")


def assert_same(cases: Cases, compiled: Compiled, views: list[Any], seed: str) -> None:
    """One decision, and again when it is remembered; every fourth time also one of a similar request, and of a row."""
    view, at, request = cases.choose(views), cases.moment(), cases.request()
    expected = decide(compiled.rules, request, view, at)
    for _ in range(2):
        assert compiled.decide(request, view, at) == expected, seed
    if cases.chance(0.25):
        other, row, id = cases.another(request), cases.row(), cases.choose((None, None, "1", "2"))
        assert compiled.decide(other, view, at) == decide(compiled.rules, other, view, at), seed
        ours = rule(compiled.rules, request, view, at, decide=compiled.decide)
        assert ours.admit(row, id) == rule(compiled.rules, request, view, at).admit(row, id), seed


def test_compiling_in_slices_gives_the_same() -> None:
    cases = Cases(5)
    rules = cases.rules(most=40)
    steps = compile_in_slices(rules)
    count = 0
    while True:
        try:
            next(steps)
            count += 1
        except StopIteration as end:
            compiled = end.value
            break
    assert count > 20
    assert_same(cases, compiled, [cases.view()], "seed 5")

"""Large structures are let go of from the top down, and what others need stays."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.retire import held, let_go
from spir.engine.ruleset import RuleSet
from spir.model.policy import Kind, Layer, OperationPattern, Policy, PolicySet


def policy_set(name: str) -> PolicySet:
    return PolicySet(name, Layer.NATIONAL, "", "1.0.0", (Policy(name, Kind.PERMIT, (OperationPattern("read", "x"),)),))


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_parts_come_after_what_they_are_part_of() -> None:
    inner: Any = {"a": (1,)}
    outer: Any = [inner, [inner]]
    found = held(outer, iter(()))
    assert found[0] is outer and found.index(inner) > 0 and len(found) == 4


def test_what_is_kept_is_left_out_with_all_that_it_holds() -> None:
    kept: Any = {"a": [1]}
    assert held([kept], iter([kept])) == [[kept]]


def test_functions_and_modules_are_not_looked_into() -> None:
    assert held([gc, held], iter(())) == [[gc, held]]


def test_a_structure_in_a_ring_is_held_once() -> None:
    ring: Any = []
    ring.append(ring)
    assert len(held(ring, iter(()))) <= 2


@pytest.mark.usefixtures("no_collector")
def test_rules_go_without_the_collector_and_leave_the_policies_that_are_kept() -> None:
    sets = (policy_set("a"), policy_set("b"))
    rules = RuleSet.of(sets)
    assert rules.rules("read", "x")
    gone = weakref.ref(rules)
    objects = held([rules], iter(sets))
    del rules
    assert len(objects) > 3
    let_go(objects)
    assert objects == [] and gone() is None
    assert sets[0].policies[0].id == "a"

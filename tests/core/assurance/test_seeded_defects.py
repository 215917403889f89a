"""One defect of each kind hidden among clean policies: all are found, and nothing else is said.

`SPIR_SEEDED_ROUNDS` and `SPIR_SEEDED_POLICIES` ask for more.
"""

from __future__ import annotations

import os

import pytest

from spir.assurance.checks.registry import CHECKS
from spir.assurance.finding import Finding, Named, Severity
from spir.model.policy import Layer
from tests.core.assurance.seeded import DEFECTS, NEVER, Clean, Defect, dead, judge, validated

ROUNDS = int(os.environ.get("SPIR_SEEDED_ROUNDS", "3"))
POLICIES = int(os.environ.get("SPIR_SEEDED_POLICIES", "120"))

# theorems of the engine, which no policy can break
THEOREMS = {"layers"}


def defects(clean: Clean) -> tuple[Defect, ...]:
    return tuple(defect for defect in (make(clean) for make in DEFECTS.values()) if defect.check in CHECKS)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_of_clean_policies_nothing_is_said(seed: int):
    assert validated(Clean(seed, POLICIES)).findings == ()


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_every_hidden_defect_is_found_and_nothing_else(seed: int):
    clean = Clean(seed, POLICIES)
    hidden = defects(clean)
    report = validated(clean, hidden)
    assert judge(hidden, report.findings) == ([], [])
    assert report.policies == POLICIES + sum(len(one.lines) for one in hidden)


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_defect_alone_is_found_and_nothing_else(kind: str):
    clean = Clean(99, POLICIES)
    defect = DEFECTS[kind](clean)
    if defect.check not in CHECKS:
        pytest.skip(f"there is no check `{defect.check}`")
    report = validated(clean, (defect,))
    assert judge((defect,), report.findings) == ([], [])
    shown = [one for one in report.findings if one.check == defect.check]
    assert all(one.region and one.mend for one in shown if one.policies and one.counterexample)


def test_no_way_to_ask_for_what_cannot_be_is_overlooked():
    clean = Clean(5, POLICIES)
    hidden = tuple(dead(clean, atoms, f"s-dead-{number}") for number, atoms in enumerate(NEVER))
    assert judge(hidden, validated(clean, hidden).findings) == ([], [])


def test_there_is_a_defect_of_every_check():
    clean = Clean(0, POLICIES)
    assert {make(clean).check for make in DEFECTS.values()} >= set(CHECKS) - THEOREMS


def test_what_is_missed_and_what_is_wrong_would_be_noticed():
    named = Finding("dead", Severity.ERROR, "", (Named("a", Layer.INSTITUTION),))
    dead = Defect("dead", "dead", Severity.ERROR, named=frozenset(("a",)))
    assert judge((dead,), (named,)) == ([], [])
    other = Finding("dead", Severity.ERROR, "", (Named("b", Layer.INSTITUTION),))
    assert judge((dead,), (other,)) == (["dead"], [other])
    lesser = Finding("dead", Severity.NOTE, "", named.policies)
    assert judge((dead,), (lesser,)) == (["dead"], [])

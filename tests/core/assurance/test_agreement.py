"""The exact core and z3 give one answer to every question about two rules. `SPIR_PAIRS` asks for more pairs."""

from __future__ import annotations

import os

from spir.assurance.proof.box import Box
from tests.core.assurance.agreement import Agreement, agreement, pairs
from tests.core.assurance.proof.worlds import world
from tests.core.oracles.peer import library

PAIRS = int(os.environ.get("SPIR_PAIRS", "500"))


def test_the_boxes_and_z3_say_the_same_of_every_pair():
    library("z3", "z3-solver")
    found = agreement(PAIRS)
    assert not found.differences
    # otherwise the pairs say too little
    assert found.there > found.asked / 10 and found.asked - found.there > found.asked / 10
    assert found.undecided + found.untold < found.asked / 20


def test_a_relation_with_what_is_always_there_takes_nothing_of_a_wider_rule():
    """Once the boxes left a part of a rule outside of the same rule with one more alternative: found by this seed."""
    library("z3", "z3-solver")
    assert not agreement(50, seed=127550).differences


def test_the_pairs_are_the_same_for_the_same_seed_and_half_of_them_are_kin():
    assert list(pairs(3, 30)) == list(pairs(3, 30))
    kin = [one.policy.operations == other.policy.operations for one, other in pairs(3, 400)]
    assert 120 < sum(kin) < 320


def test_a_difference_is_noticed_and_named():
    counted, some = Agreement(), Box(world())
    counted.add("seed 1", True, some)
    counted.add("seed 2", False, None)
    assert not counted.differences
    counted.add("seed 3", True, None)
    counted.add("seed 4", False, some)
    assert counted.differences == ["seed 3: the boxes", "seed 4: z3"]
    assert (counted.asked, counted.there, counted.undecided, counted.untold) == (4, 2, 0, 0)

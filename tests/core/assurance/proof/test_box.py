"""Boxes are sets of requests: they meet, are subtracted and cover one another as sets do, on sampled requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest

from spir.assurance.proof.box import Box, boxes, covered
from spir.assurance.proof.scope import region
from spir.assurance.proof.terms import ALWAYS, NEVER
from spir.assurance.proof.truth import surely
from spir.assurance.proof.witness import Witness, holds, lies_in, witness
from spir.assurance.proof.world import negation
from spir.language.cel import parse
from spir.model.request import Request
from tests.core.assurance.proof.worlds import Cases, world

SEEDS = range(30)


def some_boxes(cases: Cases, here: object = None, most: int = 3) -> list[Box]:
    """Of random conjunctions; and of one and the same with a part left out, so that they overlap."""
    within = world()
    found: list[Box] = []
    while len(found) < 6:
        condition = cases.conjunction(most)
        found += boxes(surely(condition, within), within) or ()
    return found


def samples(cases: Cases, near: list[Box]) -> Iterator[tuple[Request, datetime]]:
    """Random requests, and those of the boxes and their common parts."""
    for _ in range(15):
        yield cases.request(), cases.moment()
    for box in (*near, *(one & other for one in near for other in near)):
        found = witness(box)
        if found is not None:
            yield found.request, found.at


@pytest.mark.parametrize("seed", SEEDS)
def test_boxes_hold_what_the_statement_holds(seed: int) -> None:
    cases, here = Cases(seed), world()
    decided = 0
    for _ in range(25):
        statement = surely(cases.condition(), here)
        if cases.chance(0.5):
            statement = negation(surely(cases.conjunction(3), here), here)
        found = boxes(statement, here, 60)
        if found is None:
            continue
        decided += 1
        for request, at in samples(cases, list(found[:2])):
            assert any(lies_in(box, request, at) for box in found) == holds(statement, here, request, at)
    assert decided > 15


@pytest.mark.parametrize("seed", SEEDS)
def test_one_box_less_another_and_their_common_part_are_the_first(seed: int) -> None:
    cases = Cases(seed)
    found = some_boxes(cases)
    tried = list(samples(cases, found))
    for one in found:
        for other in found:
            rest, common = one.minus(other), one & other
            assert not any(piece.is_empty for piece in rest)
            assert one.meets(other) == other.meets(one) == (not common.is_empty)
            for request, at in tried:
                parts = [lies_in(piece, request, at) for piece in (*rest, common)]
                assert sum(parts) == lies_in(one, request, at)
                assert parts[-1] == (lies_in(one, request, at) and lies_in(other, request, at))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_box_lies_within_another_if_nothing_is_left_of_it(seed: int) -> None:
    cases = Cases(seed)
    found = some_boxes(cases, most=2)
    found += [found[0] & other for other in found[1:3]]
    for one in found:
        assert one <= one
        for other in found:
            assert (one <= other) == (not one.minus(other))
            assert one & other <= other
            if one <= other:
                assert all(lies_in(other, r, at) for r, at in samples(cases, [one]) if lies_in(one, r, at))


@pytest.mark.parametrize("seed", range(60))
def test_a_box_that_is_not_empty_has_a_witness_of_which_the_condition_is_true(seed: int) -> None:
    cases, here = Cases(seed, plain=True), world("cn/zj/hospital-a" if seed % 2 else "")
    for _ in range(20):
        rule = cases.rule(cases.conjunction())
        statement = region(rule, here)
        found = boxes(statement, here)
        assert found is not None
        for box in found:
            shown = witness(box)
            assert isinstance(shown, Witness), box
            assert holds(statement, here, shown.request, shown.at)
        if not found:
            assert not any(holds(statement, here, cases.request(), cases.moment()) for _ in range(30))


@pytest.mark.parametrize("seed", SEEDS)
def test_parts_taken_as_a_whole_mostly_have_a_witness_too(seed: int) -> None:
    cases, here = Cases(seed), world()
    shown = [witness(box) for _ in range(20) for box in boxes(surely(cases.odd(), here), here) or ()]
    # what is not declared, and the number that is none, cannot be had
    assert sum(found is not None for found in shown) >= 0.5 * len(shown) > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_boxes_cover_a_box_if_no_request_is_left(seed: int) -> None:
    cases = Cases(seed)
    found = some_boxes(cases, most=1)
    for at, one in enumerate(found):
        others = [*found[:at], *found[at + 1 :]]
        for union in (others, [*one.minus(others[0]), *others[:1]], [*one.minus(others[0]), *others[1:]]):
            answer = covered(one, union)
            assert answer.whole is not None
            if answer.whole:
                for request, moment in samples(cases, [one, *union]):
                    assert not lies_in(one, request, moment) or any(lies_in(b, request, moment) for b in union)
            else:
                assert answer.rest is not None and answer.rest <= one
                assert not any(answer.rest.meets(other) for other in union)
        assert covered(one, [*one.minus(others[0]), others[0]]).whole is True


def test_beyond_the_bound_nothing_is_decided() -> None:
    here = world()
    statement = surely(parse(" && ".join(f"(context.hour == {n} || subject.clearance != {n})" for n in range(8))), here)
    assert boxes(statement, here, 3) is None
    found = boxes(statement, here, 400)
    assert found
    everything = Box(here)
    assert covered(everything, found, 1).whole is None
    assert covered(everything, [everything], 10).whole is True


def test_always_is_everything_and_never_nothing() -> None:
    here = world()
    assert boxes(ALWAYS, here) == (Box(here),) and boxes(NEVER, here) == ()
    assert Box(here).words() == "" and not Box(here).is_empty
    assert len({Box(here), Box(here)}) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'resource.sensitivity >= 4 && resource.modality in ["DX", "CR"] && subject.role == "physician"',
            "role is physician, modality CR or DX, sensitivity 4 to 5",
        ),
        (
            'subject.department == resource.department && subject.role != "clerk"',
            "role is not clerk, resource.department is subject.department",
        ),
        ('"hiv" in resource.labels && subject.role == "nurse"', 'role is nurse, `"hiv" in resource.labels`'),
        ('!("hiv" in resource.labels)', 'not `"hiv" in resource.labels`'),
        ("time.between('08:00', '17:00') && !has(resource.author)", "time of day 08:00 to 17:00, author absent"),
        ("ip.in(context.ip, '10.1.0.0/16')", "ip 10.1.0.0 to 10.1.255.255"),
        ("resource.author.startsWith('dr.')", "author starting with dr."),
    ],
)
def test_words(text: str, words: str) -> None:
    here = world()
    (box,) = boxes(surely(parse(text), here), here) or ()
    assert box.words() == words

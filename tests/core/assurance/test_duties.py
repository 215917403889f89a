"""Obligations taken apart say what the joined ones say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spir.assurance.duties import clash, demanded, duties_of, meets
from spir.model.obligation import Incomparable, Obligation, joined

NAMES = st.sampled_from(("a", "b", "c"))


def obligations() -> st.SearchStrategy[Obligation]:
    paths = st.lists(st.sampled_from(("patient.telecom", "patient.address", "result.note")), min_size=1, max_size=2)
    counts = st.dictionaries(st.sampled_from(("count", "days")), st.integers(0, 3), min_size=1)
    profiles = st.sampled_from(("pseudonymise", "basic", "strict", "unheard-of"))
    return st.one_of(
        st.builds(lambda id, p: Obligation(id, "mask", {"paths": tuple(p)}), NAMES, paths),
        st.builds(lambda id, p: Obligation(id, "limit", p), NAMES, counts),
        st.builds(lambda id, p: Obligation(id, "deidentify", {"profile": p}), NAMES, profiles),
        st.builds(lambda id, c, p: Obligation(id, "notify", {"channel": c, "priority": p}), NAMES, NAMES, NAMES),
        st.builds(lambda id, p: Obligation(id, "audit", {"level": p}), NAMES, NAMES),
        st.builds(lambda id, p: Obligation(id, "unheard-of", {"level": p}), NAMES, NAMES),
    )


def several() -> st.SearchStrategy[list[Obligation]]:
    return st.lists(obligations(), max_size=4)


def conflict(found: list[Obligation]) -> bool:
    try:
        joined(found)
    except Incomparable:
        return True
    return False


@given(several())
def test_several_cannot_be_joined_exactly_if_two_of_them_cannot(found: list[Obligation]) -> None:
    pairs = any(clash(one, other) for number, one in enumerate(found) for other in found[:number])
    assert pairs is conflict(found)


@given(several().filter(lambda found: not conflict(found)), several())
def test_a_joined_obligation_meets_what_some_part_of_it_meets(found: list[Obligation], other: list[Obligation]) -> None:
    for duty in {duty for obligation in (*found, *other) for duty in duties_of(obligation)}:
        assert any(meets(o, duty) for o in joined(found)) is any(meets(o, duty) for o in found)


@given(*[several().filter(lambda found: not conflict(found))] * 2)
def test_demands_differ_exactly_if_the_parts_that_meet_some_duty_do(
    old: list[Obligation], new: list[Obligation]
) -> None:
    duties = {duty for obligation in (*old, *new) for duty in duties_of(obligation)}
    same = all(any(meets(o, duty) for o in old) is any(meets(o, duty) for o in new) for duty in duties)
    assert same is (demanded(old) == demanded(new))


def test_the_name_of_an_obligation_demands_nothing() -> None:
    one, other = (Obligation(id, "mask", {"paths": ("patient.telecom",)}) for id in "ab")
    assert demanded([one]) == demanded([other])

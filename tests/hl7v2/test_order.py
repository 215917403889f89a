"""However messages are ordered on the way, nobody ends with more access than in order."""

from __future__ import annotations

from itertools import permutations
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hl7v2.message import parse
from spir.model.facts import Change, FactStore, Held, Key, Snapshot, empty_snapshot
from spir.model.value import Value
from tests.hl7v2.given_messages import READER, RECEIVED, SOURCE, adt, merge
from tests.hl7v2.test_facts import JOINS

P1: Key = ("patient", "HIS|P001")
P12 = "P012^^^HIS^MR"
SIX = [
    adt("A01", 1),
    adt("A02", 2, place="CICU"),
    adt("A54", 3, attending="1002"),
    adt("A08", 4, attending="1002", consulting="1003", protection="Y"),
    adt("A03", 5, attending="1002"),
    adt("A13", 6, attending="1003", protection="N"),
]


def changes(text: str) -> tuple[Change, ...]:
    return READER.read(parse(text), SOURCE, RECEIVED).changes


def doubts(text: str) -> tuple[Change, ...]:
    return READER.doubts(parse(text), SOURCE, RECEIVED)


def after(batches: list[tuple[Change, ...]]) -> Snapshot:
    made = FactStore(empty_snapshot(JOINS))
    for batch in batches:
        made.apply(batch)
    return made.snapshot


def seen(snapshot: Snapshot) -> dict[str, Value]:
    """What a decision about P001 would see; a team as a set."""
    found: dict[str, Value] = {}
    for attribute in ("care_team", "encounter_status", "encounter_class", "location", "vip", "protection", "labels"):
        held = snapshot.get(P1, attribute, RECEIVED)
        value = held.value if isinstance(held, Held) else None
        found[attribute] = frozenset(value) if isinstance(value, tuple) else value
    return found


def team(snapshot: Snapshot) -> frozenset[Value]:
    value = seen(snapshot)["care_team"]
    return value if isinstance(value, frozenset) else frozenset()


def test_all_720_orders_of_a_stay_end_alike():
    batches = [changes(text) for text in SIX]
    expected = seen(after(batches))
    assert expected["care_team"] == frozenset({"dr.zhao"})
    for order in permutations(batches):
        assert seen(after(list(order))) == expected


def test_all_orders_of_a_stay_that_ends_in_discharge_leave_nobody():
    texts = [*SIX[:5], adt("A08", 6, attending="1001", consulting="1002")]
    for order in permutations([changes(text) for text in texts]):
        assert seen(after(list(order))) | {"protection": None} == {
            "care_team": None,
            "encounter_status": "finished",
            "encounter_class": None,
            "location": None,
            "vip": None,
            "protection": None,
            "labels": None,
        }


def test_all_orders_of_a_merge_among_them_end_alike():
    texts = [
        adt("A01", 1),
        adt("A01", 2, patient=P12, visit="V9", attending="1002", protection="Y"),
        adt("A54", 3, patient=P12, visit="V9", attending="1003"),
        merge(4, ("P001", "P012")),
        adt("A03", 5, patient=P12, visit="V9"),
        adt("A08", 6, protection="N", vip="V"),
    ]
    expected = seen(after([changes(text) for text in texts]))
    assert (expected["care_team"], expected["protection"]) == (frozenset({"dr.li"}), True)
    for order in permutations([changes(text) for text in texts]):
        assert seen(after(list(order))) == expected


def test_of_messages_of_one_instant_the_one_that_closes_wins():
    texts = [adt("A01", 1), adt("A08", 1, consulting="1003"), adt("A54", 1, attending="1002"), adt("A03", 1)]
    for order in permutations([changes(text) for text in texts]):
        assert team(after(list(order))) == frozenset()


# -- any stay --------------------------------------------------------------------------------

DOCTORS = st.sampled_from(["", '""', "1001", "1002", "1003", "1001~1003", "^X"])
VISITS = st.sampled_from(["V1", "V2", ""])
FLAGS = st.sampled_from(["", '""', "Y", "N", "?"])


@st.composite
def stays(draw: st.DrawFn) -> list[str]:
    """Messages in the order of their times: one admission of each of two visits, and whatever comes after."""
    texts = [adt("A01", 1, protection=draw(FLAGS)), adt("A01", 2, visit="V2", attending="1002")]
    for minute in range(3, 3 + draw(st.integers(1, 5))):
        trigger = draw(st.sampled_from(["A02", "A03", "A08", "A11", "A13", "A54", "A40", "A31"]))
        if trigger == "A40":
            texts.append(merge(minute, ("P001", "P012")))
            continue
        texts.append(
            adt(
                trigger,
                minute,
                patient=draw(st.sampled_from(["P001^^^HIS^MR", P12])),
                visit=draw(VISITS),
                attending="1003" if trigger == "A54" else draw(DOCTORS),
                consulting=draw(DOCTORS),
                protection=draw(FLAGS),
                vip=draw(st.sampled_from(["", "V", "N"])),
            )
        )
    return texts


@settings(max_examples=150, deadline=None)
@given(stays(), st.randoms(use_true_random=False))
def test_any_order_of_any_stay_ends_alike_or_in_doubt(texts: list[str], random: Random):
    batches = [changes(text) for text in texts]
    expected = after(batches)
    random.shuffle(batches)
    found = after(batches)
    if P1 not in found.doubted:
        assert P1 not in expected.doubted
        assert seen(found) == seen(expected)


@settings(max_examples=150, deadline=None)
@given(stays(), st.randoms(use_true_random=False), st.integers(2, 7))
def test_a_message_that_could_not_be_applied_gives_nobody_more(texts: list[str], random: Random, failing: int):
    expected = after([changes(text) for text in texts])
    batches = [doubts(text) if at == failing else changes(text) for at, text in enumerate(texts)]
    random.shuffle(batches)
    found = after(batches)
    assert team(found) <= team(expected)
    if P1 not in found.doubted and seen(expected)["protection"] is True:
        assert seen(found)["protection"] is True


def test_applying_a_message_twice_changes_nothing():
    batches = [changes(text) for text in SIX]
    assert seen(after([batch for batch in batches for _ in range(2)])) == seen(after(batches))

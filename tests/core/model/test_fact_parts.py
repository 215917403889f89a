"""Parts under parts, scoped doubts, and what a merge keeps."""

from datetime import UTC, datetime, timedelta

from spir.model.facts import (
    CLOSED,
    Assert,
    Doubt,
    Fact,
    FactStore,
    Held,
    Join,
    Joining,
    Key,
    Merge,
    Retract,
    Settle,
    empty_snapshot,
)
from spir.model.value import Unknown, Value

P1: Key = ("patient", "HIS|P001")
P2: Key = ("patient", "HIS|P002")
START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
NOW = START + timedelta(days=1)


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def fact(attribute: str, value: Value, minute: int, part: str, key: Key = P1) -> Assert:
    return Assert(Fact(key, attribute, value, "test", at(minute), part))


def store(*changes: object) -> FactStore:
    made = FactStore(empty_snapshot({"care_team": Join(Joining.UNION)}))
    made.apply(changes)  # type: ignore[arg-type]
    return made


def team(made: FactStore, key: Key = P1) -> Value:
    held = made.snapshot.get(key, "care_team", NOW)
    return held.value if isinstance(held, Held) else None


def test_a_closed_part_hides_the_parts_under_it_whenever_they_were_learnt():
    made = store(fact("care_team", ("a",), 1, "visit:V1/attending"), fact(CLOSED, True, 2, "visit:V1"))
    made.apply([fact("care_team", ("b",), 3, "visit:V1/attending")])
    assert team(made) is None
    assert made.snapshot.who("patient", "care_team", "b", NOW) == frozenset()


def test_opening_the_part_again_shows_what_lies_under_it():
    made = store(fact("care_team", ("a",), 1, "visit:V1/attending"), fact(CLOSED, True, 2, "visit:V1"))
    made.apply([fact(CLOSED, False, 3, "visit:V1")])
    assert team(made) == ("a",)


def test_a_closed_part_hides_neither_itself_nor_its_neighbours():
    made = store(
        fact("encounter_status", "finished", 2, "visit:V1"),
        fact(CLOSED, True, 2, "visit:V1"),
        fact("care_team", ("a",), 1, "visit:V1/attending"),
        fact("care_team", ("b",), 1, "visit:V10/attending"),
    )
    assert team(made) == ("b",)
    assert made.snapshot.get(P1, "encounter_status", NOW) == Held("finished")


def test_each_scope_of_a_doubt_is_settled_by_itself():
    made = store(fact("care_team", ("a",), 1, "visit:V1"), Doubt(P1, "test", at(2), ("x", "y")))
    made.apply([Settle(P1, "test", at(3), ("x",))])
    assert isinstance(made.snapshot.get(P1, "care_team", NOW), Unknown)
    made.apply([Settle(P1, "test", at(3), ("y",))])
    assert team(made) == ("a",)


def test_an_older_message_settles_no_newer_doubt_but_an_operator_settles_all():
    made = store(fact("care_team", ("a",), 1, "visit:V1"), Doubt(P1, "test", at(5), ("x",)), Doubt(P1, "test", at(6)))
    made.apply([Settle(P1, "test", at(4), ("x", ""))])
    assert P1 in made.snapshot.doubted
    made.apply([Settle(P1, "operator", at(4))])
    assert made.snapshot.doubted == frozenset()
    assert team(made) == ("a",)


def test_a_doubt_about_a_prior_name_is_a_doubt_about_the_survivor():
    made = store(Doubt(P2, "test", at(1), ("x",)), Merge(P2, P1, "test", at(2)))
    assert made.snapshot.doubted == frozenset({P1})
    made.apply([Settle(P2, "test", at(3), ("x",))])
    assert made.snapshot.doubted == frozenset()


def test_a_merge_keeps_the_newer_fact_of_a_part_both_names_had():
    made = store(
        fact("care_team", ("a",), 1, "visit:V1/attending", P2),
        Retract(P1, "care_team", "visit:V1/attending", "test", at(2)),
        Merge(P2, P1, "test", at(3)),
    )
    assert team(made) is None


def test_a_merge_does_not_settle_a_doubt_by_what_was_settled_for_the_other_name():
    for doubted, settled in ((P2, P1), (P1, P2)):
        made = store(
            Doubt(settled, "test", at(1), ("any visit",)),
            Doubt(doubted, "test", at(2), ("any visit",)),
            Settle(settled, "test", at(5), ("any visit",)),
            Merge(P2, P1, "test", at(6)),
        )
        assert made.snapshot.doubted == frozenset({P1})
        made.apply([Settle(P1, "test", at(7), ("any visit",))])
        assert made.snapshot.doubted == frozenset()

"""What each message changes, and what each may not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from adapters.hl7v2.error import MessageError
from adapters.hl7v2.facts import Reader
from adapters.hl7v2.message import parse
from adapters.hl7v2.reading import Reading
from adapters.hl7v2.source import Source
from spir.model.facts import Assert, Doubt, FactStore, Held, Join, Joining, Key, Merge, Retract, empty_snapshot
from spir.model.value import Value
from tests.hl7v2.given_messages import READER, RECEIVED, SOURCE, adt, merge, moment, read_fixture

P1: Key = ("patient", "HIS|P001")
JOINS = {
    "care_team": Join(Joining.UNION),
    "labels": Join(Joining.UNION),
    "vip": Join(Joining.ANY),
    "protection": Join(Joining.ANY),
    "encounter_status": Join(Joining.PRIORITY, ("in-progress", "finished", "cancelled")),
}


def read(text: str, source: Source = SOURCE, reader: Reader = READER) -> Reading:
    return reader.read(parse(text), source, RECEIVED)


def store(*texts: str) -> FactStore:
    made = FactStore(empty_snapshot(JOINS))
    for text in texts:
        made.apply(read(text).changes)
    return made


def held(made: FactStore, attribute: str, key: Key = P1) -> Value:
    found = made.snapshot.get(key, attribute, RECEIVED)
    return found.value if isinstance(found, Held) else None


def slots(reading: Reading) -> dict[tuple[str, str], Value]:
    found: dict[tuple[str, str], Value] = {}
    for change in reading.changes:
        match change:
            case Assert(fact):
                found[fact.attribute, fact.part] = fact.value
            case Retract(_, attribute, part):
                found[attribute, part] = None
    return found


def test_an_admission_says_who_cares_for_whom_where():
    reading = READER.read(read_fixture("adt_a01"), SOURCE, RECEIVED)
    assert [(m.operation, m.patient) for m in reading.matters] == [("update:encounter:admit", "HIS|P001")]
    assert slots(reading) == {
        ("closed", "visit:V1"): False,
        ("encounter_status", "visit:V1"): "in-progress",
        ("care_team", "visit:V1/attending"): ("dr.li",),
        ("encounter_class", "visit:V1/class"): "inpatient",
        ("location", "visit:V1/place"): "CARD",
        ("protection", "person:HIS|P001"): False,
    }
    assert {c.fact.as_of for c in reading.changes if isinstance(c, Assert)} == {
        datetime(2026, 11, 21, 0, 30, tzinfo=UTC)
    }


def test_the_stay_of_the_fixtures_ends_with_nobody():
    made = FactStore(empty_snapshot(JOINS))
    teams = []
    for name in ("adt_a01", "adt_a02", "adt_a08", "adt_a54", "adt_a03"):
        made.apply(READER.read(read_fixture(name), SOURCE, RECEIVED).changes)
        teams.append((held(made, "care_team"), held(made, "location"), held(made, "encounter_status")))
    assert teams == [
        (("dr.li",), "CARD", "in-progress"),
        (("dr.li",), "CICU", "in-progress"),
        (("dr.li", "dr.zhao"), "CICU", "in-progress"),
        (("dr.chen", "dr.zhao"), "CICU", "in-progress"),
        (None, None, "finished"),
    ]
    made.apply(READER.read(read_fixture("adt_a13"), SOURCE, RECEIVED).changes)
    assert held(made, "care_team") == ("dr.li",)


@pytest.mark.parametrize("name", ["adt_a01", "adt_a02", "adt_a03", "adt_a08", "adt_a11", "adt_a13", "adt_a54"])
def test_every_fixture_is_an_operation_of_its_own(name: str):
    words = {
        "adt_a01": "admit",
        "adt_a02": "transfer",
        "adt_a03": "discharge",
        "adt_a08": "update",
        "adt_a11": "cancel-admit",
        "adt_a13": "cancel-discharge",
        "adt_a54": "attending",
    }
    assert READER.read(read_fixture(name), SOURCE, RECEIVED).matters[0].operation == f"update:encounter:{words[name]}"


def test_a_cancelled_admission_leaves_nothing_of_the_visit():
    made = store(adt("A01", 1, more=("PV2|" + "|" * 20 + "|Y",)), adt("A11", 2))
    assert [held(made, a) for a in ("care_team", "location", "encounter_class", "protection")] == [None] * 4
    assert held(made, "encounter_status") == "cancelled"


def test_a_discharge_ends_one_visit_and_not_the_other():
    made = store(adt("A01", 1), adt("A01", 2, visit="V2", attending="1002"), adt("A03", 3))
    assert held(made, "care_team") == ("dr.chen",)
    assert held(made, "encounter_status") == "in-progress"


def test_an_update_after_the_discharge_opens_nothing():
    made = store(adt("A01", 1), adt("A03", 2), adt("A08", 3, consulting="1003"))
    assert held(made, "care_team") is None
    assert made.snapshot.who("patient", "care_team", "dr.zhao", RECEIVED) == frozenset()


def test_an_empty_field_says_nothing_and_a_deleted_one_ends_the_role():
    assert held(store(adt("A01", 1), adt("A08", 2, attending="")), "care_team") == ("dr.li",)
    assert held(store(adt("A01", 1), adt("A08", 2, attending='""')), "care_team") is None


def test_a_doctor_without_an_id_replaces_the_one_before():
    text = adt("A08", 2, attending="^Nobody")
    assert held(store(adt("A01", 1), text), "care_team") is None
    assert read(text).warnings == ("doctor-without-id",)


def test_doctors_we_do_not_know_keep_a_name_that_is_nobody_of_ours():
    team = adt("A01", 1, attending="7777~1002^A^B^^^^^^HIS~1001^X^Y^^^^^^ELSEWHERE~1003^^^^^^^^H1")
    assert held(store(team), "care_team") == ("hl7v2:7777", "dr.chen", "hl7v2:ELSEWHERE|1001", "dr.zhao")


def test_roles_come_and_go_by_their_action_code():
    both = ("ROL||AD|CP|1002", "ROL||AD|CP|1003", "ROL||AD|PP|9999")
    assert held(store(adt("A01", 1, more=both)), "care_team") == ("dr.li", "dr.chen", "dr.zhao")
    assert held(store(adt("A01", 1, more=both), adt("A08", 2, more=("ROL||DE|CP|1002",))), "care_team") == (
        "dr.zhao",
        "dr.li",
    )
    assert held(store(adt("A01", 1, before=("ROL||AD|CP|1002",))), "care_team") == ("dr.li",)


def test_a_new_attending_doctor_by_role_replaces_the_old_one():
    first = adt("A01", 1, attending="", more=("ROL||AD|AT|1001",))
    assert held(store(first, adt("A08", 2, attending="", more=("ROL||UP|AT|1002",))), "care_team") == ("dr.chen",)
    assert held(store(first, adt("A54", 2, attending="1003")), "care_team") == ("dr.zhao",)


def test_a_change_of_attending_must_name_one():
    with pytest.raises(MessageError, match="nobody is named"):
        read(adt("A54", 1, attending=""))
    assert held(store(adt("A01", 1), adt("A54", 2, attending='""')), "care_team") is None


@pytest.mark.parametrize(
    ("code", "value", "warning"), [("VIP", True, ()), ("N", False, ()), ("0", False, ()), ("", None, ())]
)
def test_any_vip_code_is_one_unless_it_says_no(code: str, value: Value, warning: tuple[str, ...]):
    reading = read(adt("A01", 1, vip=code))
    assert slots(reading).get(("vip", "person:HIS|P001")) == value
    assert reading.warnings == warning


def test_a_site_may_say_which_vip_codes_count():
    reader = replace(READER, tables=READER.tables.with_vip(frozenset({"S"})))
    found = [slots(read(adt("A01", 1, vip=code), reader=reader))["vip", "person:HIS|P001"] for code in ("S", "02")]
    assert found == [True, False]


def test_a_protection_indicator_nobody_knows_counts_as_yes():
    reading = read(adt("A08", 1, protection="Q"))
    assert slots(reading)["protection", "person:HIS|P001"] is True
    assert reading.warnings == ("unknown-protection",)


def test_protection_of_a_visit_does_not_lift_that_of_the_person():
    made = store(adt("A01", 1, protection="Y"), adt("A08", 2, more=("PV2|" + "|" * 20 + "|N",)))
    assert held(made, "protection") is True


def test_an_unknown_class_is_none_and_not_the_one_before():
    reading = read(adt("A02", 2, patient_class="?"))
    assert reading.warnings == ("unknown-class",)
    assert slots(reading)["encounter_class", "visit:V1/class"] is None


def test_restrictions_are_labels_and_an_unknown_one_is_the_strictest():
    arv = ("ARV|1|A|HIV", "ARV|2|A|WHAT", "ARV|3|A|NO")
    reading = read(adt("A01", 1, before=arv, more=("ARV|1|A|PSY",)))
    assert reading.warnings == ("unknown-restriction",)
    assert {k[1]: v for k, v in slots(reading).items() if k[0] == "labels"} == {
        "person:HIS|P001:restriction:HIV": ("hiv",),
        "person:HIS|P001:restriction:WHAT": ("restricted",),
        "visit:V1:restriction:PSY": ("psychiatry",),
    }
    made = store(adt("A01", 1, before=arv), adt("A08", 2, before=("ARV|1|D|WHAT",)))
    assert held(made, "labels") == ("hiv",)


def test_person_events_change_what_is_of_the_person():
    reading = read(adt("A31", 1, protection="Y"))
    assert [m.operation for m in reading.matters] == ["update:encounter:a31"]
    assert slots(reading) == {("protection", "person:HIS|P001"): True}


def test_other_events_are_decided_by_name_and_teach_nothing():
    reading = read(adt("A05", 1))
    assert (reading.matters[0].operation, reading.changes) == ("update:encounter:a05", ())


@pytest.mark.parametrize("kind", ["SIU^S12", "QRY", "ACK^A01", "", "AD\\F\\T^A01"])
def test_a_message_type_that_is_not_ours_is_refused(kind: str):
    with pytest.raises(MessageError) as caught:
        read(f"MSH|^~\\&|HIS|H1|||20261121||{kind}|1|P|2.5.1\r")
    assert caught.value.code == 200


# -- merges ----------------------------------------------------------------------------------


def test_a_merge_may_hold_several_pairs():
    reading = read(merge(1, ("P001", "P012"), ("P002", "P011")))
    assert [c for c in reading.changes if isinstance(c, Merge)] == [
        Merge(("patient", "HIS|P012"), P1, "HIS|H1", reading.changes[0].as_of),  # type: ignore[union-attr]
        Merge(("patient", "HIS|P011"), ("patient", "HIS|P002"), "HIS|H1", reading.changes[0].as_of),  # type: ignore[union-attr]
    ]
    assert [(m.operation, m.patient, m.merged) for m in reading.matters] == [
        ("update:patient:merge", "HIS|P001", ("HIS|P012",)),
        ("update:patient:merge", "HIS|P002", ("HIS|P011",)),
    ]


def test_a_merge_adds_up_restrictions():
    made = store(
        adt("A08", 1, protection="N"),
        adt("A08", 2, patient="P012^^^HIS^MR", visit="V9", protection="Y"),
        merge(3, ("P001", "P012")),
    )
    assert held(made, "protection") is True
    made.apply(read(adt("A08", 4, protection="N")).changes)
    assert held(made, "protection") is True  # what was said of P012 is lifted by what is said of P012
    made.apply(read(adt("A08", 5, patient="P012^^^HIS^MR", visit="V9", protection="N")).changes)
    assert held(made, "protection") is False


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("PID|1||P001^^^HIS", 100),
        ("PID|1||P001^^^HIS\rMRG|P001^^^HIS", 204),
        ("PID|1||P001^^^HIS\rMRG|P1^^^MARS", 204),
        ("MRG|P1^^^HIS", 100),
        ("PID|1||P001^^^HIS\rMRG|P2^^^HIS\rPID|1||P3^^^HIS", 100),
        ("PID|1||P001^^^HIS\rMRG|P2^^^HIS\rMRG|P3^^^HIS", 100),
        ("PID|1||P001^^^HIS\rMRG|P2^^^HIS\rMRG|P3^^^HIS\rPID|1||P4^^^HIS", 100),
    ],
)
def test_a_merge_without_two_known_names_is_refused(text: str, code: int):
    with pytest.raises(MessageError) as caught:
        read(merge(1) + text)
    assert caught.value.code == code


# -- identifiers, visits, times --------------------------------------------------------------


@pytest.mark.parametrize("pid3", ["P001^^^HIS&9.9.9&ISO^MR", "P001^^^HIS&1.2.9&ISO^MR", "P001^^^CITY&1.2.3&ISO^MR"])
def test_an_authority_of_our_name_with_another_oid_is_not_ours(pid3: str):
    with pytest.raises(MessageError) as raised:
        read(adt("A01", patient=pid3))
    assert raised.value.code == 204


@pytest.mark.parametrize(
    ("pid3", "patient"),
    [
        ("P001", "HIS|P001"),
        ("P001^^^HIS&1.2.3&ISO^MR", "HIS|P001"),
        ("P001^^^&1.2.3&ISO^MR", "HIS|P001"),
        ("77^^^MARS^MR~P001^^^HIS^MR", "HIS|P001"),
        ("110101^^^HIS^SS~P001^^^HIS^MR", "HIS|P001"),
        ("P9^^^HIS^PI~P001^^^HIS^MR~P002^^^HIS^MR", "HIS|P001"),
        ("C7^^^CITY^MR", "CITY|C7"),
    ],
)
def test_the_patient_is_named_by_a_known_authority(pid3: str, patient: str):
    assert read(adt("A08", 1, patient=pid3)).matters[0].patient == patient


@pytest.mark.parametrize(
    ("pid3", "code"), [("", 101), ('""', 101), ("P1^^^MARS^MR", 204), ("1^^^HIS^SS", 204), ("A\\F\\B^^^HIS", 204)]
)
def test_a_patient_nobody_knows_is_refused(pid3: str, code: int):
    with pytest.raises(MessageError) as caught:
        read(adt("A08", 1, patient=pid3))
    assert caught.value.code == code


def test_the_visit_may_be_named_elsewhere():
    text = adt("A03", 1, visit="").replace("||X^Y", "||X^Y|||||||||||||ACC/7")
    assert ("closed", "visit:ACC%2F7") in slots(read(text))


@pytest.mark.parametrize("trigger", ["A03", "A11", "A54"])
def test_what_ends_something_without_saying_which_visit_puts_the_patient_in_doubt(trigger: str):
    reading = read(adt(trigger, 2, visit="", attending="1002"))
    assert reading.warnings == ("visit-without-number",)
    made = store(adt("A01", 1), adt(trigger, 2, visit="", attending="1002"))
    assert made.snapshot.doubted == {P1}
    made.apply(read(adt("A03", 3)).changes)
    assert made.snapshot.doubted == {P1}  # it may have meant another visit


def test_where_visits_have_no_numbers_a_discharge_ends_the_only_one_there_is():
    unnumbered = replace(SOURCE, numbered=False)
    made = FactStore(empty_snapshot(JOINS))
    for text in (adt("A01", 1, visit=""), adt("A03", 2, visit="")):
        made.apply(read(text, unnumbered).changes)
    assert (held(made, "care_team"), held(made, "encounter_status")) == (None, "finished")
    made.apply(read(adt("A01", 3, visit=""), unnumbered).changes)
    assert held(made, "care_team") == ("dr.li",)


def test_an_admission_without_a_number_lifts_the_doubt_of_a_discharge_without_one():
    made = store(adt("A01", 1, visit=""), adt("A03", 2, visit=""))
    assert made.snapshot.doubted == {P1}
    made.apply(read(adt("A01", 3, visit="", attending="1002")).changes)
    assert held(made, "care_team") == ("dr.chen",)


def test_any_discharge_ends_the_visit_without_a_number_too():
    made = store(adt("A01", 1), adt("A08", 2, visit="", attending="1002"), adt("A03", 3))
    assert held(made, "care_team") is None


@pytest.mark.parametrize("trigger", ["A01", "A03", "A11", "A13", "A54"])
def test_an_event_of_a_visit_needs_pv1(trigger: str):
    with pytest.raises(MessageError) as caught:
        read("\r".join(adt(trigger, 1).split("\r")[:4]))
    assert (caught.value.code, caught.value.where) == (100, "PV1")


def test_an_update_without_pv1_is_about_the_person():
    reading = read("\r".join(adt("A08", 1, protection="Y").split("\r")[:4]))
    assert slots(reading) == {("protection", "person:HIS|P001"): True}


def as_of(text: str) -> datetime:
    change = read(text).changes[0]
    assert isinstance(change, Assert)
    return change.fact.as_of


def test_when_it_happened_goes_before_when_it_was_recorded_or_sent():
    text = adt("A01", 10)
    happened = text.replace(f"EVN|A01|{moment(10)}||||{moment(10)}", f"EVN|A01|{moment(11)}||||{moment(9)}")
    recorded = text.replace(f"EVN|A01|{moment(10)}||||{moment(10)}", f"EVN|A01|{moment(11)}")
    sent = text.replace(f"EVN|A01|{moment(10)}||||{moment(10)}", "EVN|A01")
    start = datetime(2026, 11, 21, 0, 0, tzinfo=UTC)
    assert [as_of(t) - start for t in (happened, recorded, sent)] == [timedelta(minutes=n) for n in (9, 11, 10)]


def test_a_time_without_a_zone_is_the_sites():
    assert as_of(adt("A01", 10).replace("+0800", "")) == datetime(2026, 11, 21, 0, 10, tzinfo=UTC)


def test_a_clock_far_ahead_of_ours_does_not_overrule_what_follows():
    text = adt("A01", 1).replace("20261121", "20621121")
    assert as_of(text) == RECEIVED + READER.skew
    assert read(text).warnings == ("clock-ahead",)


def test_a_day_begins_for_an_admission_and_ends_for_a_discharge():
    begin, end = (as_of(adt(t, 1).replace(moment(1), "20261120")) for t in ("A01", "A03"))
    assert begin == datetime(2026, 11, 19, 16, 0, tzinfo=UTC)
    assert end == datetime(2026, 11, 20, 15, 59, 59, 999903, tzinfo=UTC)


def test_no_time_at_all_is_refused():
    with pytest.raises(MessageError, match="when it happened"):
        read(adt("A01", 1).replace(moment(1), ""))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (adt("A08", 1, visit="V" * 65), "PV1^1^19^1^1"),
        (adt("A08", 1, visit="V\x07"), "PV1^1^19^1^1"),
        (adt("A08", 1, place="W" * 65), "PV1^1^3^1^1"),
        (adt("A08", 1, attending="~".join(map(str, range(101)))), "PV1^1^7"),
        (adt("A08", 1, more=("ROL||AD|CP|1",) * 1001), "ROL"),
        (adt("A08", 1, before=("ARV|1|A|" + "X" * 65,)), "ARV^1^3^1^1"),
        (adt("A08", 1, attending="\\F\\" * 30_000), ""),
    ],
)
def test_more_than_a_person_could_mean_is_refused(text: str, where: str):
    with pytest.raises(MessageError) as caught:
        read(text)
    assert caught.value.where == where


# -- doubts ----------------------------------------------------------------------------------


def doubts(text: str, source: Source = SOURCE) -> list[tuple[str, tuple[str, ...]]]:
    return [(d.key[1], d.scopes) for d in READER.doubts(parse(text), source, RECEIVED)]


@pytest.mark.parametrize(
    ("text", "scopes"),
    [
        (adt("A01", 1), ()),
        (adt("A01", 1, vip="V"), ("vip person:HIS|P001",)),
        (adt("A03", 1), ("closed visit:V1",)),
        (adt("A03", 1, visit=""), ("any visit", "closed visit:@HIS|P001")),
        (adt("A11", 1), ("closed visit:V1",)),
        (adt("A54", 1, attending=""), ("care_team visit:V1/attending",)),
        (adt("A08", 1, protection="Y"), ("care_team visit:V1/attending", "protection person:HIS|P001")),
        (adt("A08", 1, attending="", before=("ARV|1|A|HIV",)), ("labels person:HIS|P001:restriction:HIV",)),
        (
            adt("A08", 1, attending="", more=("ROL||DE|CP|1002", "ROL||AD|AT|1003")),
            ("care_team visit:V1/role:CP:dr.chen", "care_team visit:V1/role:AT"),
        ),
        (adt("A05", 1), ()),
    ],
)
def test_what_could_not_be_applied_is_in_doubt_as_far_as_it_takes_access_away(text: str, scopes: tuple[str, ...]):
    assert doubts(text) == ([("HIS|P001", scopes)] if scopes else [])


def test_a_failed_merge_puts_both_names_in_doubt():
    scopes = ("merge HIS|P012",)
    assert doubts(merge(1, ("P001", "P012"))) == [("HIS|P001", scopes), ("HIS|P012", scopes)]
    assert doubts(merge(1) + "PID|1||P001^^^HIS") == [("HIS|P001", ("merge ?",))]


@pytest.mark.parametrize("text", [adt("A03", 1, visit="V" * 65), adt("A03", 1, more=("ROL||AD|CP|1",) * 1001)])
def test_a_discharge_of_a_visit_nobody_can_name_is_still_a_doubt(text: str):
    assert doubts(text) == [("HIS|P001", ("any visit",))]


def test_everybody_a_refused_message_names_is_in_doubt():
    two = adt("A03", 1) + "PID|2||P002^^^HIS^MR\rPID|3||P003^^^MARS\r"
    assert doubts(two) == [("HIS|P001", ("closed visit:V1",)), ("HIS|P002", ("closed visit:V1",))]


def test_nobody_is_in_doubt_when_nobody_is_named():
    assert doubts(adt("A03", 1, patient="P1^^^MARS")) == []
    assert doubts("MSH|^~\\&|HIS|H1|||20261121||ORU^R01|1|P|2.5.1\rPID|1||P001") == []


def failed(made: FactStore, text: str) -> None:
    made.apply(READER.doubts(parse(text), SOURCE, RECEIVED))


@pytest.mark.parametrize(
    ("bad", "good", "settled"),
    [
        (adt("A03", 3), adt("A03", 3), True),
        (adt("A03", 3), adt("A11", 4), True),
        (adt("A03", 3), adt("A13", 4), True),
        (adt("A03", 3), adt("A08", 4), False),
        (adt("A03", 3), adt("A01", 1), False),
        (adt("A03", 3), adt("A03", 4, visit="V2"), False),
        (adt("A54", 3, attending="1002"), adt("A08", 4), True),
        (adt("A54", 3, attending="1002"), adt("A08", 4, attending=""), False),
        (adt("A08", 3, protection="Y", attending=""), adt("A31", 4, protection="N"), True),
        (merge(3, ("P001", "P012")), merge(3, ("P001", "P012")), True),
        (merge(3, ("P001", "P012")), merge(4, ("P001", "P011")), False),
    ],
)
def test_a_doubt_is_lifted_by_what_writes_the_same_and_is_not_older(bad: str, good: str, settled: bool):
    made = store(adt("A01", 1))
    failed(made, bad)
    assert made.snapshot.doubted
    made.apply(read(good).changes)
    assert (not made.snapshot.doubted) is settled


def test_every_doubt_has_to_be_lifted_by_itself():
    made = store(adt("A01", 1))
    failed(made, adt("A03", 3))
    failed(made, adt("A54", 2, attending="1002"))
    made.apply(read(adt("A03", 3)).changes)
    assert made.snapshot.doubted == frozenset()  # a discharge ends the attending doctor's role, too
    failed(made, merge(4, ("P001", "P012")))
    made.apply(read(adt("A03", 5)).changes)
    assert P1 in made.snapshot.doubted


def test_doubt_changes_are_of_the_message_that_failed():
    text = adt("A03", 3)
    (doubt,) = READER.doubts(parse(text), SOURCE, RECEIVED)
    assert doubt == Doubt(P1, "HIS|H1", as_of(text), ("closed visit:V1",))
